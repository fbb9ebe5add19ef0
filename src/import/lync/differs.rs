//! In what a partner who is configured already is another one than in the export: whoever runs an import a second time wants
//! to know what it leaves as it is.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::partner::PartnerEntry;
use crate::config::{Partner, PartnerType, written};

/// A partner who is there and says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// What he goes by.
    pub domain: String,
    /// Each key with what it is here and in the export.
    pub keys: Vec<String>,
    /// The command that takes over what the export says.
    pub command: String,
}

/// The keys that an export can say, with what holds where it says nothing. The description is free text, and connection limits of
/// partners are only said where they are not those of all.
const KEYS: [(&str, &str); 9] = [
    ("type", ""),
    ("additional_domains", "[]"),
    ("tls", "\"required\""),
    ("sasl", "\"required\""),
    ("dialback", "true"),
    (RULES, "\"strict\""),
    ("accept_spoofable", "false"),
    ("keep_alive", "true"),
    ("proxy", ""),
];

/// Which rules judge the three before. Where nobody says so, those of all do.
const RULES: &str = "negotiation_rules";

/// The keys of which an entry tells what holds although nobody has set them, as the control API names them.
const DEFAULTS: &str = "defaults";

/// Compares with an entry as the control API tells it, or as [`told`] does.
pub(super) fn differs(planned: &PartnerEntry, there: &Map<String, Value>) -> Option<Differs> {
    let planned = serde_json::to_value(planned).ok()?;
    let (mut keys, mut sets) = (Vec::new(), Vec::new());
    let inherited = |key| {
        let defaults = there.get(DEFAULTS).and_then(Value::as_array);
        defaults.is_some_and(|defaults| defaults.iter().any(|default| default == key))
    };
    for (key, default) in KEYS {
        // Neither says anything, and what holds for all need not be the usual.
        if planned.get(key).is_none() && inherited(key) {
            continue;
        }
        let default = || serde_json::from_str(default).ok();
        let said = planned.get(key).cloned().or_else(default);
        let holds = there.get(key).filter(|value| !value.is_null()).cloned().or_else(default);
        if compared(key, said.as_ref()) == compared(key, holds.as_ref()) {
            continue;
        }
        let shown = |value: Option<&Value>| value.map_or_else(|| "not set".to_owned(), written);
        keys.push(format!("{key} is {} here, {} in the export", shown(holds.as_ref()), shown(said.as_ref())));
        sets.push(format!("{key}={}", said.as_ref().map(plain).unwrap_or_default()));
    }
    let domain = planned.get("domain").and_then(Value::as_str)?.to_owned();
    let command = format!("nuncio partner set {domain} {}", sets.join(" "));
    (!keys.is_empty()).then_some(Differs { domain, keys, command })
}

/// An entry of the configuration, as the control API tells it.
pub(super) fn told(partner: &Partner) -> Map<String, Value> {
    let domains: Vec<&str> = partner.additional_domains.iter().map(|domain| domain.as_str()).collect();
    // Without it, such a partner is not loaded.
    let spoofable = partner.partner_type == PartnerType::Federated && partner.methods().dialback_tcp;
    let told = json!({
        "type": partner.partner_type.as_str(),
        "additional_domains": domains,
        "tls": partner.negotiation.tls.as_str(),
        "sasl": partner.negotiation.sasl.as_str(),
        "dialback": partner.negotiation.dialback,
        RULES: partner.rules.as_str(),
        "accept_spoofable": spoofable,
        // Whether they are his own is not known any more.
        DEFAULTS: [RULES],
        "keep_alive": partner.keep_alive,
        "proxy": partner.proxy.as_ref().map(ToString::to_string),
    });
    told.as_object().cloned().unwrap_or_default()
}

/// Domains in any order and either form, and the port of XMPP servers said or not, are the same.
fn compared(key: &str, value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| match (key, value.as_str()) {
        ("additional_domains", Some(domain)) => crate::config::both_forms(domain).0,
        ("proxy", Some(host)) => host.trim_end_matches(":5269").to_ascii_lowercase(),
        _ => value.to_string(),
    };
    let mut list: Vec<String> = match value {
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        other => other.map(text).into_iter().collect(),
    };
    list.sort_unstable();
    list
}

/// As it is written behind KEY= on the command line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
