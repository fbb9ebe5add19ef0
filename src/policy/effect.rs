//! When a key takes effect that was changed while the gateway runs.

use serde::Serialize;
use serde_json::Value;

use crate::config::{Difference, Effective};

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// At once, also on what stands.
    Now,
    /// For connections and streams made from now on.
    NewConnections,
    /// When the gateway starts the next time.
    NextStart,
}

/// Keys that wait for the next start, unlike others of their section.
const NEXT_START: [&str; 2] = ["policy.idle_times", "policy.mixed_scripts"];

/// Keys that take effect at once, and sections all of whose other keys do.
const NOW: [&str; 13] = [
    "log.level",
    "partner",
    "policy",
    "block",
    "sip.roots",
    "sip.crls",
    "xmpp.roots",
    "xmpp.negotiation_rules",
    "limits.xmpp.stanzas_per_second",
    "limits.xmpp.bytes_per_second",
    "control.admin_group",
    "control.viewer_group",
    "control.tokens",
];

/// The same for new connections.
const NEW_CONNECTIONS: [&str; 9] = [
    "certificate",
    "sip.certificate",
    "sip.key",
    "control.certificate",
    "control.key",
    "limits.xmpp.connections_per_partner",
    "limits.xmpp.stanza",
    "limits.xmpp.depth",
    "limits.xmpp.attributes",
];

impl Effect {
    /// When a change of the key at this path takes effect.
    pub fn of(path: &str) -> Self {
        let is = |key: &str| match path.strip_prefix(key) {
            Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
            None => false,
        };
        if NEXT_START.into_iter().any(is) {
            Self::NextStart
        } else if NOW.into_iter().any(is) {
            Self::Now
        } else if NEW_CONNECTIONS.into_iter().any(is) {
            Self::NewConnections
        } else {
            Self::NextStart
        }
    }
}

/// One key that has another value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    /// `partner[fabrikam.com].type`
    pub path: String,
    /// Absent: it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Absent: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    pub takes_effect: Effect,
    /// It waited for the next start, and is what the gateway runs by again.
    #[serde(skip)]
    pub taken_back: bool,
}

impl Changed {
    /// What is different in `new`, which is read by a gateway that was started with `start`.
    pub(super) fn all(before: &Effective, new: &Effective, start: &Effective) -> Vec<Self> {
        let differences = before.differences(new).into_iter().map(Self::from);
        let value = |path: &str| start.get(path).map(|setting| &setting.value);
        let seen = |change: Self| match change.takes_effect == Effect::NextStart
            && value(&change.path) == change.to.as_ref()
        {
            true => Self { takes_effect: Effect::Now, taken_back: true, ..change },
            false => change,
        };
        differences.map(seen).collect()
    }
}

impl From<Difference> for Changed {
    fn from(difference: Difference) -> Self {
        let Difference { path, from, to } = difference;
        Self { takes_effect: Effect::of(&path), path, from, to, taken_back: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference;

    #[test]
    fn every_key_that_is_named_here_is_a_key_or_a_section() {
        let keys = reference::keys();
        for named in NOW.into_iter().chain(NEW_CONNECTIONS).chain(NEXT_START) {
            let below = format!("{named}.");
            assert!(keys.iter().any(|key| key == named || key.starts_with(&below)), "{named}");
        }
    }

    #[test]
    fn entries_of_lists_go_by_their_section_and_no_key_by_the_beginning_of_another() {
        assert_eq!(Effect::of("partner[fabrikam.com].type"), Effect::Now);
        assert_eq!(Effect::of("policy.rule[wards].verdict"), Effect::Now);
        assert_eq!(Effect::of("policy.default"), Effect::Now);
        assert_eq!(Effect::of("policy.mixed_scripts"), Effect::NextStart, "conversations are set up with it");
        assert_eq!(Effect::of("sip.certificate"), Effect::NewConnections);
        assert_eq!(Effect::of("sip.crls"), Effect::Now, "what they do not let in any more ends");
        assert_eq!(Effect::of("sip.certificates"), Effect::NextStart);
        assert_eq!(Effect::of("sip.listener[0.0.0.0:5061].bind"), Effect::NextStart);
    }
}
