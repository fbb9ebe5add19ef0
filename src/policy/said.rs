//! A difference in words.

use std::collections::HashMap;

use super::{Changed, Effect};
use crate::config::{Kind, SetAside, written};

/// The difference in lines that a person understands. An entry that came or went is one line.
pub fn lines(changed: &[Changed]) -> Vec<String> {
    let whole = whole(changed);
    let mut lines = Vec::new();
    let mut last = "";
    for Changed { path, from, to, takes_effect, taken_back } in changed {
        let when = match takes_effect {
            Effect::Now if *taken_back => {
                " (as it is in force: what waited for the next start is taken back)"
            }
            Effect::Now | Effect::NewConnections => "",
            Effect::NextStart => " (with the next start)",
        };
        let entry = path.rsplit_once('.').map_or("", |(entry, _)| entry);
        if let Some(what) = whole.get(entry) {
            if entry != last {
                lines.push(format!("{entry}: {what}{when}"));
                last = entry;
            }
            continue;
        }
        let change = match (from.as_ref().map(written), to.as_ref().map(written)) {
            (Some(from), Some(to)) => format!("{from} → {to}"),
            (None, Some(to)) => format!("{to}, was not set"),
            (Some(from), None) => format!("not set any more, was {from}"),
            (None, None) => continue,
        };
        lines.push(format!("{path}: {change}{when}"));
    }
    lines
}

/// What is different, without what it was and is: the entries that came or went, and else the keys.
pub fn keys(changed: &[Changed]) -> Vec<String> {
    let whole = whole(changed);
    let mut keys: Vec<String> = Vec::new();
    for Changed { path, .. } in changed {
        let entry = path.rsplit_once('.').map_or("", |(entry, _)| entry);
        let key = if whole.contains_key(entry) { entry } else { path };
        if keys.last().is_none_or(|last| last != key) {
            keys.push(key.to_owned());
        }
    }
    keys
}

/// The entries that came or went, and which of the two.
fn whole(changed: &[Changed]) -> HashMap<&str, &'static str> {
    let mut whole = HashMap::new();
    for change in changed {
        let Some((entry, "domain" | "name" | "address" | "bind")) = change.path.rsplit_once('.') else {
            continue;
        };
        match (&change.from, &change.to) {
            _ if !entry.ends_with(']') => {}
            (None, Some(_)) => drop(whole.insert(entry, "added")),
            (Some(_), None) => drop(whole.insert(entry, "removed")),
            _ => {}
        }
    }
    whole
}

/// A stored entry that does not hold, for whoever may not know of it yet.
pub fn set_aside(aside: &SetAside) -> String {
    let SetAside { kind, name, why, .. } = aside;
    let instead = match kind {
        Kind::Partner => "there is no federation with him",
        Kind::Policy => "what is in its place allows no more than it did, and perhaps nobody anything,",
        Kind::Block => "it may not hold",
    };
    format!(
        "the stored {kind} {name} is set aside, and {instead} until it is changed, or a reload finds it usable: {}; see nuncio \
         {kind} list",
        why.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn change(path: &str, from: Value, to: Value) -> Changed {
        let some = |value: Value| (!value.is_null()).then_some(value);
        Changed {
            path: path.to_owned(),
            from: some(from),
            to: some(to),
            takes_effect: Effect::of(path),
            taken_back: false,
        }
    }

    #[test]
    fn an_entry_that_came_is_one_line_and_a_change_says_from_and_to() {
        let changed = [
            change("limits.drain", json!("20s"), json!("30s")),
            change("partner[a.com].domain", Value::Null, json!("a.com")),
            change("partner[a.com].type", Value::Null, json!("federated")),
            change("partner[b.com].type", json!("federated"), json!("public-verified")),
            change("partner[c.com].domain", json!("c.com"), Value::Null),
            change("partner[d.com].proxy", json!("x:1"), Value::Null),
        ];
        assert_eq!(
            lines(&changed),
            [
                "limits.drain: \"20s\" → \"30s\" (with the next start)",
                "partner[a.com]: added",
                "partner[b.com].type: \"federated\" → \"public-verified\"",
                "partner[c.com]: removed",
                "partner[d.com].proxy: not set any more, was \"x:1\"",
            ]
        );
    }
}
