//! Entries of the audit trail in lines.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::client::{in_both_forms, printable, text};
use crate::config::written;

/// The entries, a line each.
pub(super) fn lines(list: &Value) -> String {
    let mut out = String::new();
    for entry in list.as_array().into_iter().flatten() {
        let at = entry.get("at").and_then(Value::as_i64).unwrap_or_default();
        let at = jiff::Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
        let change = match change(text(entry, "from"), text(entry, "to")) {
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

/// From what to what. Of entries, which are kept as JSON, only the keys that are different.
fn change(from: &str, to: &str) -> String {
    let keys = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let all = |keys: Map<String, Value>| {
        let keys = keys.iter().map(|(key, value)| format!("{key} = {}", written(value)));
        keys.collect::<Vec<_>>().join(", ")
    };
    match (keys(from), keys(to)) {
        (Some(from), Some(to)) => {
            let gone = from.iter().filter(|(key, _)| !to.contains_key(*key));
            let gone = gone.map(|(key, was)| format!("{key}: not set any more, was {}", written(was)));
            let other = to.iter().filter_map(|(key, is)| match from.get(key) {
                Some(was) if was == is => None,
                Some(was) => Some(format!("{key}: {} → {}", written(was), written(is))),
                None => Some(format!("{key}: {}, was not set", written(is))),
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
        let (old, new) =
            (r#"{"type":"federated","sasl":"optional"}"#, r#"{"type":"public-verified","enabled":false}"#);
        for (from, to, expected) in [
            (
                old,
                new,
                "type: \"federated\" → \"public-verified\"; enabled: false, was not set; sasl: not set any more, was \"optional\"",
            ),
            ("", old, "type = \"federated\", sasl = \"optional\""),
            (old, "", "was type = \"federated\", sasl = \"optional\""),
            ("", "{}", ""),
            ("", "limits.drain: 1 → 2", "limits.drain: 1 → 2"),
            ("a", "b", "a → b"),
        ] {
            assert_eq!(change(from, to), expected);
        }
        let entry = json!([{ "at": 0, "actor": "root", "what": "partner.created", "subject": "xn--bcher-kva.example", "to": "{}" }]);
        let line = lines(&entry);
        assert!(line.ends_with("root  partner.created  xn--bcher-kva.example (bücher.example)\n"), "{line}");
    }
}
