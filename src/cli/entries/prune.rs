//! What `apply --prune` takes away.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Value, json};

use super::Names;
use crate::cli::client::{printable, text};
use crate::config::{GLOBAL, Kind};

/// Stored entries that are not in the file.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// Their names.
    gone: Vec<String>,
    /// How many are in the file as well.
    stay: usize,
}

impl Names {
    /// Of the entries that there are, those that are stored and not in the file. The keys of `[policy]` are never among them, nor is
    /// what is set aside.
    pub(super) fn removal(&self, there: &Value, wanted: &[Value]) -> Removal {
        let named_by = self.kind.named_by();
        let wanted: HashSet<String> =
            wanted.iter().map(|entry| self.kind.normalise(text(entry, named_by))).collect();
        let stored = there.as_array().into_iter().flatten();
        let stored = stored.filter(|entry| entry.get("origin") == Some(&json!("stored")));
        let stored = stored.filter(|entry| entry.get("set_aside").is_none());
        let stored = stored.map(|entry| text(entry, named_by).to_owned());
        let stored = stored.filter(|name| !(self.kind == Kind::Policy && name == GLOBAL));
        let (stay, gone): (Vec<_>, Vec<_>) =
            stored.partition(|name| wanted.contains(&self.kind.normalise(name)));
        Removal { gone, stay: stay.len() }
    }
}

impl Removal {
    /// Whoever removes more than he leaves may have taken another file for this one.
    pub(super) fn wants_confirmation(&self, kind: Kind) -> Option<String> {
        let (gone, all) = (self.gone.len(), self.gone.len() + self.stay);
        let names = printable(&self.gone.join(", "));
        (gone > self.stay).then(|| {
            format!(
                "this removes {gone} of the {all} stored ({kind}), which are not in the file: {names}. If that is meant, say so with \
                 --confirm-removal"
            )
        })
    }
}

/// A line for each.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.gone
            .iter()
            .try_for_each(|name| writeln!(f, "  is not in the file, and is removed: {}", printable(name)))
    }
}
