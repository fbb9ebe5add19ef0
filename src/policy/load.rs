//! The configuration with what is stored. A stored entry that does not go with the rest is set aside instead of standing in the
//! way of everything: it stays stored, is shown as what it is, and can be changed and removed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{
    Config, Entry, GLOBAL, Kind, Loaded, PartnerType, Problem, Report, SetAside, Severity, Sources,
    Text as _, Verdict,
};
use crate::renew;
use crate::tls::Identity;

/// Loads the configuration at the start. A stored entry that does not go with the files any more is set aside: a gateway that does
/// not start could not be told to remove it. In its place is what allows less: a partner who is switched off, a rule that denies
/// everybody. Everything else that is wrong is an error.
///
/// # Errors
/// Everything that is wrong.
pub fn load(sources: &Sources) -> Result<Loaded, Report> {
    // What is wrong with the others is found by the check, or ends the start.
    let files = |_: &Sources, loaded: &Loaded| files(sources, loaded, false);
    settle(sources, Vec::new(), &identity, (|_| true, |_| false), files).map(|(loaded, ())| loaded)
}

/// Whether a certificate and its key can be used, and belong together.
pub(super) fn identity(certificate: &Path, key: &Path) -> Result<(), String> {
    Identity::load(certificate, key).map(drop).map_err(|error| error.to_string())
}

/// Whether what the certificates of others are held against can be used, as it is on the disk now: roots and revocation lists of
/// stored partners, who can be set aside for it, or of `all` peers.
pub(super) fn files(sources: &Sources, loaded: &Loaded, all: bool) -> Result<(), Report> {
    let stored = sources.stored_entries();
    let partners = loaded.config.partners.iter();
    let partners =
        partners.filter(|partner| all || stored.get(Kind::Partner, partner.domain.as_str()).is_some());
    let partners = partners.filter(|partner| !sources.holds(partner.domain.as_str()));
    let mut faults: Vec<_> = named(sources, renew::unusable(partners)).collect();
    if all {
        let of_all = renew::unusable_for_all(&loaded.config).into_iter();
        faults.extend(of_all.map(|(key, why)| (key.to_owned(), None, why)));
    }
    if faults.is_empty() { Ok(()) } else { Err(Report::of_files(faults)) }
}

/// What is wrong with files of partners, as a report that knows which of them are stored.
pub(super) fn of_partners(
    sources: &Sources,
    unusable: impl IntoIterator<Item = (crate::config::Domain, String)>,
) -> Report {
    Report::of_files(named(sources, unusable))
}

/// The same of partners that do not go with what the gateway was started with.
pub(super) fn of_early(
    sources: &Sources,
    early: impl IntoIterator<Item = (crate::config::Domain, String)>,
) -> Report {
    Report::of_entries(named(sources, early))
}

/// Each with its place, and the stored entry that it is of.
fn named(
    sources: &Sources,
    unusable: impl IntoIterator<Item = (crate::config::Domain, String)>,
) -> impl Iterator<Item = (String, Option<(Kind, String)>, String)> {
    let stored = sources.stored_entries();
    unusable.into_iter().map(|(domain, why)| {
        let (place, entry) = match stored.get(Kind::Partner, domain.as_str()) {
            Some(_) => ("stored partner", Some((Kind::Partner, domain.as_str().to_owned()))),
            None => ("partner", None),
        };
        (format!("{place} {}", domain.to_unicode()), entry, why)
    })
}

/// Loads the configuration without what is set aside already, and checks the rest of it with `usable`. What is wrong with stored
/// entries that `may_be` set aside puts them aside, too; but where it is a file of a partner whose proof `is_in_use`, that goes on
/// being used, with a warning.
///
/// # Errors
/// Everything that is wrong with the rest.
pub(super) fn settle<T>(
    sources: &Sources,
    mut set_aside: Vec<SetAside>,
    identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    (may_be, is_in_use): (impl Fn(&Problem) -> bool, impl Fn(&str) -> bool),
    usable: impl Fn(&Sources, &Loaded) -> Result<T, Report>,
) -> Result<(Loaded, T), Report> {
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let stored = sources.stored_entries().without(&set_aside);
        let trying = sources.clone().holding(held.keys().cloned());
        let tried = Config::load_whole(&trying.clone().stored(stored), identity);
        let report = match tried.and_then(|loaded| usable(&trying, &loaded).map(|used| (loaded, used))) {
            Ok((mut loaded, used)) => {
                loaded.set_aside.extend(set_aside);
                loaded.report = loaded.report.with_warnings(held.into_iter().map(stays_in_use));
                return Ok((loaded, used));
            }
            Err(report) => report,
        };
        let mut progress = false;
        for problem in report.problems().iter().filter(|problem| problem.severity == Severity::Error) {
            let Some((kind, name)) = &problem.stored else { continue };
            // Held already, there is more to it than a file that is not opened then.
            if problem.of_file && *kind == Kind::Partner && !trying.holds(name) && is_in_use(name) {
                held.entry(name.clone()).or_default().push(problem.text.clone());
                progress = true;
            } else if may_be(problem)
                && let Some(whole) = sources.stored_entries().get(*kind, name)
            {
                held.remove(name);
                progress |= put_aside(&mut set_aside, (*kind, name), whole, &problem.text);
            }
        }
        if !progress {
            return Err(report);
        }
    }
}

/// What is to be known of a stored partner whose files cannot be used any more, while what was made of them before can.
fn stays_in_use((name, why): (String, Vec<String>)) -> (String, Option<(Kind, String)>, String) {
    let text = format!(
        "{}; what was read there before stays in use, but with a start he would be set aside: put the file right, or name \
         another (nuncio partner set {name})",
        why.join("; ")
    );
    (format!("stored partner {name}"), Some((Kind::Partner, name)), text)
}

/// Notes that an entry is set aside. False: that changes nothing.
fn put_aside(set_aside: &mut Vec<SetAside>, (kind, name): (Kind, &str), whole: &Entry, why: &str) -> bool {
    let less = match kind {
        Kind::Partner => Some(disabled(whole)),
        // The address alone.
        Kind::Block => Some(Entry::new()),
        Kind::Policy => closed(name, whole),
    };
    let denies = kind == Kind::Policy && less.is_some();
    match set_aside.iter_mut().find(|aside| aside.is(kind, name)) {
        None => {
            let instead = less.filter(|less| less != whole);
            // Without it more would be allowed.
            if denies && instead.is_none() {
                return false;
            }
            let (name, why) = (name.to_owned(), vec![why.to_owned()]);
            set_aside.push(SetAside { kind, name, why, declared: false, instead });
            true
        }
        // Another reason that was found together with the first; or not even what is in its place goes with the rest.
        Some(aside) if !aside.why.iter().any(|known| known == why) => {
            aside.why.push(why.to_owned());
            true
        }
        Some(_) if denies => false,
        Some(aside) => aside.instead.take().is_some(),
    }
}

/// The partner with his domains and his type, and nothing else. Switched off he keeps what is known of his users.
fn disabled(whole: &Entry) -> Entry {
    let known = |kind: &&str| PartnerType::parse(kind).is_ok();
    let kind = whole.get("type").and_then(serde_json::Value::as_str).filter(known);
    let mut entry = Entry::new();
    entry.insert("type".to_owned(), kind.unwrap_or(PartnerType::PublicUnverified.as_str()).into());
    entry.insert("enabled".to_owned(), false.into());
    if let Some(more) = whole.get("additional_domains") {
        entry.insert("additional_domains".to_owned(), more.clone());
    }
    entry
}

/// What allows nobody more than this does, whatever it was meant to say. A rule that allows may be left out. Whom one denies is not
/// known, so it is everybody: there is no federation then, but a gateway that can be told what to do about it. `[policy]` itself is
/// switched off.
fn closed(name: &str, whole: &Entry) -> Option<Entry> {
    let mut entry = Entry::new();
    if name == GLOBAL {
        entry.insert("enabled".to_owned(), false.into());
        return Some(entry);
    }
    if whole.get("verdict").and_then(serde_json::Value::as_str) == Some(Verdict::Allow.as_str()) {
        return None;
    }
    entry.insert("users".to_owned(), vec!["*"].into());
    entry.insert("verdict".to_owned(), Verdict::Deny.as_str().into());
    Some(entry)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Domain, Stored};

    fn sources(entries: &[(&str, serde_json::Value)]) -> Sources {
        let mut stored = Stored::default();
        for (domain, entry) in entries {
            stored.put(Kind::Partner, domain, entry.as_object().cloned().unwrap());
        }
        let text = include_str!("../../tests/config/right/minimal.toml");
        Sources::new().toml("nuncio.toml", text).trusting_paths().stored(stored)
    }

    #[test]
    fn a_stored_partner_that_cannot_be_used_any_more_is_switched_off_and_the_others_are_not() {
        let wrong = json!({ "type": "federated", "tls": "not-supported", "sasl": "required" });
        let loaded =
            load(&sources(&[("a.example", wrong), ("b.example", json!({ "type": "federated" }))])).unwrap();
        let set_aside = &loaded.set_aside;
        let enabled =
            |domain| loaded.config.partners.of(&Domain::new(domain).unwrap()).map(|partner| partner.enabled);
        assert_eq!((enabled("a.example"), enabled("b.example")), (Some(false), Some(true)));
        assert_eq!(set_aside.len(), 1);
        assert_eq!(set_aside[0].name, "a.example");
        assert!(set_aside[0].why[0].contains("cannot be used"), "{set_aside:?}");
    }

    #[test]
    fn one_whose_domain_is_served_by_now_is_left_out_and_one_that_is_declared_by_now_gives_way() {
        let federated = || json!({ "type": "federated" });
        let loaded = load(&sources(&[
            ("contoso.com", federated()),
            ("fabrikam.com", json!({ "type": "public-verified" })),
        ]))
        .unwrap();
        assert_eq!(loaded.config.partners.len(), 1);
        let partner = loaded.config.partners.iter().next().unwrap();
        assert_eq!(partner.partner_type, PartnerType::Federated, "the file wins");
        let given_way = |aside: &SetAside| (aside.name.as_str() == "fabrikam.com", aside.declared);
        let given_way: Vec<_> = loaded.set_aside.iter().map(given_way).collect();
        assert_eq!(given_way, [(true, true), (false, false)]);
        assert_eq!(loaded.report.problems().len(), 1, "{}", loaded.report);
    }

    #[test]
    fn a_block_of_a_domain_that_is_served_by_now_is_left_out() {
        let mut stored = Stored::default();
        for address in ["contoso.com", "mallory@contoso.com", "192.0.2.7"] {
            stored.put(Kind::Block, address, Entry::new());
        }
        let loaded = load(&sources(&[]).stored(stored.clone())).unwrap();
        assert_eq!((loaded.config.blocks.len(), loaded.set_aside.len()), (1, 2), "{:?}", loaded.set_aside);
    }

    /// What holds then: whether it is on, and its rules, each with its verdict and its users.
    fn policy(name: &str, entry: serde_json::Value) -> (bool, Vec<String>) {
        let mut stored = Stored::default();
        stored.put(Kind::Policy, name, entry.as_object().cloned().unwrap());
        let loaded = load(&sources(&[]).stored(stored)).unwrap();
        let aside: Vec<_> = loaded.set_aside.iter().map(|aside| (aside.kind, aside.name.as_str())).collect();
        assert_eq!(aside, [(Kind::Policy, name)]);
        let policy = &loaded.config.policy;
        let rule = |rule: &crate::config::PolicyRule| {
            let users: Vec<_> = rule.users.iter().map(ToString::to_string).collect();
            format!("{} {}", rule.verdict, users.join(" "))
        };
        (policy.enabled, policy.rules.iter().map(rule).collect())
    }

    #[test]
    fn in_place_of_a_rule_that_cannot_be_read_is_what_allows_no_more() {
        let deny_all = || (true, vec!["deny *".to_owned()]);
        assert_eq!(policy("wards", json!({ "verdict": "deny" })), deny_all());
        assert_eq!(
            policy("wards", json!({ "users": ["alice@contoso.com"], "verdict": "deni" })),
            deny_all(),
            "nobody knows what it was meant to say"
        );
        assert_eq!(policy("wards", json!({ "users": ["alice@"], "verdict": "allow" })), (true, Vec::new()));
        assert_eq!(policy("global", json!({ "consent": "never" })), (false, Vec::new()));
    }

    #[test]
    fn a_block_with_more_than_can_be_read_holds_all_the_same() {
        let mut stored = Stored::default();
        stored.put(Kind::Block, "192.0.2.7", json!({ "until": "2030" }).as_object().cloned().unwrap());
        let loaded = load(&sources(&[]).stored(stored)).unwrap();
        assert_eq!((loaded.config.blocks.len(), loaded.set_aside.len()), (1, 1));
    }
}
