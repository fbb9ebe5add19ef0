//! The configuration at the start, with what is stored.

use crate::config::{Config, Entry, Kind, Loaded, PartnerType, Report, Severity, Sources, Text as _};
use crate::tls::Identity;

/// A stored partner that cannot be used beside the files as they are now, and is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// His primary domain.
    pub domain: String,
    /// What is wrong.
    pub why: Vec<String>,
}

/// Loads the configuration. A stored partner that does not go with the files any more is switched off: less is allowed then,
/// and a gateway that does not start could not be told to remove him. Everything else that is wrong is an error.
///
/// # Errors
/// Everything that is wrong.
pub fn load(sources: &Sources) -> Result<(Loaded, Vec<SetAside>), Report> {
    let mut sources = sources.clone();
    let mut set_aside: Vec<SetAside> = Vec::new();
    let identity = |certificate: &std::path::Path, key: &std::path::Path| {
        Identity::load(certificate, key).map(drop).map_err(|error| error.to_string())
    };
    loop {
        let report = match Config::load_whole(&sources, &identity) {
            Ok(loaded) => return Ok((loaded, set_aside)),
            Err(report) => report,
        };
        let mut stored = sources.stored_entries().clone();
        let before = set_aside.len();
        for problem in report.problems().iter().filter(|problem| problem.severity == Severity::Error) {
            let Some((Kind::Partner, domain)) = &problem.stored else { continue };
            let text = problem.text.clone();
            match set_aside.iter_mut().find(|aside| aside.domain == *domain) {
                Some(aside) if aside.why.contains(&text) => {}
                Some(aside) => aside.why.push(text),
                None => set_aside.push(SetAside { domain: domain.clone(), why: vec![text] }),
            }
            let whole = stored.remove(Kind::Partner, domain);
            // Switched off he keeps what is known of his users. Only if not even that goes with the files, there is none of him.
            if let Some(disabled) = whole.and_then(|whole| disabled(&whole)) {
                stored.put(Kind::Partner, domain, disabled);
            }
        }
        if set_aside.len() == before && stored == *sources.stored_entries() {
            return Err(report);
        }
        sources = sources.stored(stored);
    }
}

/// The partner with his domains and his type, and nothing else. `None`: it is that already.
fn disabled(whole: &Entry) -> Option<Entry> {
    let known = |kind: &&str| PartnerType::parse(kind).is_ok();
    let kind = whole.get("type").and_then(serde_json::Value::as_str).filter(known);
    let mut entry = Entry::new();
    entry.insert("type".to_owned(), kind.unwrap_or(PartnerType::PublicUnverified.as_str()).into());
    entry.insert("enabled".to_owned(), false.into());
    if let Some(more) = whole.get("additional_domains") {
        entry.insert("additional_domains".to_owned(), more.clone());
    }
    (entry != *whole).then_some(entry)
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
        let (loaded, set_aside) =
            load(&sources(&[("a.example", wrong), ("b.example", json!({ "type": "federated" }))])).unwrap();
        let enabled =
            |domain| loaded.config.partners.of(&Domain::new(domain).unwrap()).map(|partner| partner.enabled);
        assert_eq!((enabled("a.example"), enabled("b.example")), (Some(false), Some(true)));
        assert_eq!(set_aside.len(), 1);
        assert_eq!(set_aside[0].domain, "a.example");
        assert!(set_aside[0].why[0].contains("cannot be used"), "{set_aside:?}");
    }

    #[test]
    fn one_whose_domain_is_served_by_now_is_left_out_and_one_that_is_declared_by_now_gives_way() {
        let federated = || json!({ "type": "federated" });
        let (loaded, set_aside) = load(&sources(&[
            ("contoso.com", federated()),
            ("fabrikam.com", json!({ "type": "public-verified" })),
        ]))
        .unwrap();
        assert_eq!(loaded.config.partners.len(), 1);
        let partner = loaded.config.partners.iter().next().unwrap();
        assert_eq!(partner.partner_type, PartnerType::Federated, "the file wins");
        assert_eq!(set_aside.len(), 1);
        assert_eq!(loaded.report.problems().len(), 1, "{}", loaded.report);
    }
}
