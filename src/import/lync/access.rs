//! What becomes of external access policies: whether SIP users may talk to partners.

use serde::Serialize;

use super::parameters::Kind;
use super::plan::{LeftOut, Mapping};
use super::value::{Expected, Object, Value};

/// What `[policy]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PolicyEntry {
    /// `default`
    pub default: &'static str,
}

/// A policy of a site or of users: whom it is granted to stands in no export of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherPolicy {
    /// `Site:Redmond`, `Tag:NoXmpp`
    pub identity: String,
    /// What a rule for its users would say.
    pub verdict: &'static str,
    /// It says the same as the global one: no rule is needed.
    pub same: bool,
}

/// The global policy, the others, and what cannot be taken over.
pub(super) fn plan<'a>(
    objects: impl Iterator<Item = &'a Object>,
    mapping: &mut Mapping<'_>,
) -> (Option<PolicyEntry>, Vec<OtherPolicy>, Vec<LeftOut>) {
    let (mut global, mut others, mut left_out) = (None::<PolicyEntry>, Vec::new(), Vec::new());
    for object in objects {
        let identity =
            object.get("Identity").and_then(|value| value.text().ok().flatten()).unwrap_or_default();
        let what = format!("the external access policy {}", crate::config::quoted(identity));
        let verdict = match verdict(object) {
            Ok(verdict) => verdict,
            Err(why) => {
                left_out.push(LeftOut { of: Kind::Access, what, why: vec![why] });
                continue;
            }
        };
        if identity.is_empty() {
            left_out.push(LeftOut { of: Kind::Access, what, why: vec!["it has no Identity".to_owned()] });
            continue;
        }
        mapping.note(Kind::Access, &what, object);
        if !identity.eq_ignore_ascii_case("Global") {
            others.push(OtherPolicy { identity: identity.to_owned(), verdict, same: false });
        } else if global.is_some_and(|known| known.default != verdict) {
            left_out.push(LeftOut {
                of: Kind::Access,
                what,
                why: vec!["there is another one, which says otherwise".to_owned()],
            });
        } else {
            global = Some(PolicyEntry { default: verdict });
        }
    }
    for other in &mut others {
        other.same = global.is_some_and(|global| global.default == other.verdict);
    }
    (global, others, left_out)
}

/// Whether its users may talk to XMPP partners: federation has to be on as well.
fn verdict(object: &Object) -> Result<&'static str, String> {
    let read = |name: &str| match object.get(name).map(|value| (value.bool(), value)) {
        None => Ok(None),
        Some((Ok(on), _)) => Ok(on),
        Some((Err(Expected(what)), value)) => {
            Err(format!("{name}: expected {what}, found {}", Value::shown(value)))
        }
    };
    let xmpp = read("EnableXmppAccess")?.unwrap_or(false);
    let federation = read("EnableFederationAccess")?.unwrap_or(true);
    Ok(if xmpp && federation { "allow" } else { "deny" })
}
