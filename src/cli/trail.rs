//! Entries of the audit trail in lines.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::client::{in_both_forms, printable, text};
use crate::config::{GLOBAL, reference, written};

/// The entries, a line each.
pub(super) fn lines(list: &Value) -> String {
    let mut out = String::new();
    for entry in list.as_array().into_iter().flatten() {
        let at = entry.get("at").and_then(Value::as_i64).unwrap_or_default();
        let at = jiff::Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
        let section = section(text(entry, "what"), text(entry, "subject"));
        let change = match change(section, text(entry, "from"), text(entry, "to")) {
            nothing if nothing.is_empty() => nothing,
            change => format!(": {change}"),
        };
        let line = format!(
            "{at}  {}  {}  {}{change}",
            text(entry, "actor"),
            text(entry, "what"),
            in_both_forms(text(entry, "subject"))
        );
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", printable(&line));
    }
    out
}

/// In which section of the configuration the keys of an entry are.
fn section(what: &str, subject: &str) -> &'static str {
    match what.split_once('.') {
        Some(("partner", _)) => "partner",
        Some(("policy", _)) if subject == GLOBAL => "policy",
        Some(("policy", _)) => "policy.rule",
        Some(("block", _)) => "block",
        _ => "",
    }
}

/// From what to what. Of entries, which are kept as JSON, only the keys that are different, with the default of one that is or
/// was not set.
fn change(section: &str, from: &str, to: &str) -> String {
    // A text that is empty says no more than that there is none.
    let default = |key: &str| reference::default_of(&format!("{section}.{key}")).map(|value| written(&value));
    let default = |key: &str| default(key).filter(|default| default != "\"\"");
    let keys = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let all = |keys: Map<String, Value>| {
        let keys = keys.iter().map(|(key, value)| format!("{key} = {}", written(value)));
        keys.collect::<Vec<_>>().join(", ")
    };
    match (keys(from), keys(to)) {
        (Some(from), Some(to)) => {
            let gone = from.iter().filter(|(key, _)| !to.contains_key(*key));
            let gone = gone.map(|(key, was)| match default(key) {
                Some(default) => format!("{key}: {} → {default} (the default)", written(was)),
                None => format!("{key}: not set any more, was {}", written(was)),
            });
            let other = to.iter().filter_map(|(key, is)| match from.get(key) {
                Some(was) if was == is => None,
                Some(was) => Some(format!("{key}: {} → {}", written(was), written(is))),
                None => Some(match default(key) {
                    Some(default) => format!("{key}: {default} (the default) → {}", written(is)),
                    None => format!("{key}: {}, was not set", written(is)),
                }),
            });
            other.chain(gone).collect::<Vec<_>>().join("; ")
        }
        (None, Some(to)) if from.is_empty() => all(to),
        (Some(from), None) if to.is_empty() => match all(from) {
            nothing if nothing.is_empty() => nothing,
            was => format!("was {was}"),
        },
        _ => match (from, to) {
            ("", to) => to.to_owned(),
            (from, "") => format!("was {from}"),
            (from, to) => format!("{from} → {to}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_an_entry_is_told_by_the_keys_that_changed() {
        let (old, new) = (
            r#"{"type":"federated","sasl":"optional"}"#,
            r#"{"type":"public-verified","enabled":false,"proxy":"x"}"#,
        );
        for (from, to, expected) in [
            (
                old,
                new,
                "type: \"federated\" → \"public-verified\"; enabled: true (the default) → false; proxy: \"x\", was not set; sasl: \
                 \"optional\" → \"required\" (the default)",
            ),
            ("", old, "type = \"federated\", sasl = \"optional\""),
            (old, "", "was type = \"federated\", sasl = \"optional\""),
            ("", "{}", ""),
            ("", "limits.drain: 1 → 2", "limits.drain: 1 → 2"),
            ("a", "b", "a → b"),
        ] {
            assert_eq!(change(section("partner.changed", "a.example"), from, to), expected);
        }
        let entry = json!([{ "at": 0, "actor": "root", "what": "partner.created", "subject": "xn--bcher-kva.example", "to": "{}" }]);
        let line = lines(&entry);
        assert!(line.ends_with("root  partner.created  xn--bcher-kva.example (bücher.example)\n"), "{line}");
    }
}
