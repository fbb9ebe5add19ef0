//! The rules of each moment, written down a second time: as the administrator would tell them.

use std::time::Instant;

pub(crate) const ALICE: &str = "alice@contoso.com";
/// A rule about him comes and goes.
pub(crate) const DAVE: &str = "dave@contoso.com";

/// Of the partner that nothing ever changes for.
pub(crate) const CAROL: &str = "carol@wingtip.com";
/// Of the same; he is blocked from time to time.
pub(crate) const CARL: &str = "carl@wingtip.com";
/// Of the partner that is switched off and on.
pub(crate) const URSULA: &str = "ursula@fabrikam.com";
/// Of the partner whose type changes, and how much he may send. Both SIP users write to him.
pub(crate) const TOM: &str = "tom@tailspin.com";
/// Of the same. Nobody ever writes to her.
pub(crate) const TINA: &str = "tina@tailspin.com";

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    ToXmpp,
    ToSip,
}

/// What the administrator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) fabrikam_enabled: bool,
    /// tailspin.com is `public-unverified`, not `federated`.
    pub(crate) tailspin_public: bool,
    pub(crate) dave_denied: bool,
    pub(crate) carl_blocked: bool,
}

impl Rules {
    /// Whether a message of one may go to the other.
    pub(crate) fn allow(self, way: Way, user: &str, contact: &str) -> bool {
        let partner = !contact.ends_with("@fabrikam.com") || self.fabrikam_enabled;
        let policy = user != DAVE || !self.dave_denied;
        let block = contact != CARL || !self.carl_blocked;
        // Tom answers; Tina would begin.
        let trust = way == Way::ToXmpp || contact != TINA || !self.tailspin_public;
        partner && policy && block && trust
    }
}

/// Which rules there were, and when.
pub(crate) struct History {
    rules: Vec<Rules>,
    /// When the administrator asked for each, from the second on.
    asked: Vec<Instant>,
    /// When he was told that it is in force.
    told: Vec<Instant>,
}

impl History {
    pub(crate) fn new(first: Rules) -> Self {
        Self { rules: vec![first], asked: Vec::new(), told: Vec::new() }
    }

    pub(crate) fn last(&self) -> Rules {
        self.rules[self.rules.len() - 1]
    }

    pub(crate) fn ask(&mut self, rules: Rules) {
        self.asked.push(Instant::now());
        self.rules.push(rules);
    }

    pub(crate) fn told(&mut self) {
        self.told.push(Instant::now());
    }

    /// All rules that may have been in force at some moment from the one to the other: new ones from when they were asked for,
    /// old ones until it was said that the next are in force.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = Rules> + '_ {
        let holds = move |(at, _): &(usize, &Rules)| {
            let begun = *at == 0 || self.asked[*at - 1] <= to;
            begun && self.told.get(*at).is_none_or(|over| *over >= from)
        };
        self.rules.iter().enumerate().filter(holds).map(|(_, rules)| *rules)
    }
}
