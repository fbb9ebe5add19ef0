//! Changes of stored entries.

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Applied, Authority, SAVE_PATIENCE, cut_off};
use crate::config::{Block, Config, Entry, GLOBAL, Kind, Origin, Report, Stored};
use crate::store::{Keep, Outcome, Ticket};

/// A change of one stored entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// It is to be this, whatever it was.
    Put(Kind, String, Entry),
    /// It is to be gone.
    Remove(Kind, String),
}

/// Why nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// It could not be loaded.
    #[error("{0}")]
    Configuration(Report),
    /// It could be read, and not be put in force.
    #[error("{0}")]
    Unusable(String),
    /// There is no such entry.
    #[error("there is no {0} {1}")]
    Absent(Kind, String),
    /// It is in a file.
    #[error(
        "{kind} {name} is declared at {place}: what is in a file is changed there, and takes effect with nuncio reload"
    )]
    Declared { kind: Kind, name: String, place: String },
}

impl Edit {
    fn subject(&self) -> (Kind, &str) {
        match self {
            Self::Put(kind, name, _) | Self::Remove(kind, name) => (*kind, name),
        }
    }
}

impl Authority {
    /// Makes these changes, all or none, and keeps them. With `dry_run` it only says what they would amount to. It reads files and
    /// waits for the disk: not for a thread that carries messages.
    ///
    /// # Errors
    /// Why none was made.
    pub fn change(&self, who: &str, edits: &[Edit], dry_run: bool) -> Result<Applied, Refused> {
        let mut turn = self.turn.lock();
        let before = self.in_force();
        let mut stored = before.stored.clone();
        let mut histories = Vec::with_capacity(edits.len());
        for edit in edits {
            let (kind, name) = edit.subject();
            self.must_not_be_declared(kind, name)?;
            let old = match edit {
                Edit::Put(_, _, entry) => stored.put(kind, name, without_nulls(entry)),
                Edit::Remove(..) => {
                    let old = stored.remove(kind, name);
                    Some(old.ok_or_else(|| Refused::Absent(kind, name.to_owned()))?)
                }
            };
            histories.push(old);
        }
        let prepared = self.prepare(stored.clone())?;
        for edit in edits {
            if let Edit::Put(kind, name, entry) = edit {
                Self::must_count(&prepared.in_force.loaded.effective, *kind, name, entry)?;
            }
        }
        self.must_spare_front_ends(&prepared.in_force.running, edits)?;
        let mut prepared = prepared;
        for edit in edits {
            if let Edit::Remove(Kind::Partner, name) = edit {
                prepared.warnings.push(format!(
                    "with {name} goes what is known of his users, also who has added them; to keep it, disable him instead"
                ));
            }
        }
        if dry_run {
            let super::Prepared { in_force, changed, pending, warnings, .. } = prepared;
            let in_force = std::sync::Arc::new(in_force);
            return Ok(Applied { in_force, changed, pending, warnings, streams_closed: 0, unsaved: None });
        }
        let mut applied = self.put_in_force(prepared, &mut turn)?;
        let ticket = self.keep(who, edits, histories, &stored);
        drop(turn);
        applied.unsaved = self.wait(ticket);
        Ok(applied)
    }

    /// The entry as it is stored, for somebody who wants to change part of it.
    ///
    /// # Errors
    /// There is none, or it is in a file.
    pub fn stored(&self, kind: Kind, name: &str) -> Result<Entry, Refused> {
        self.must_not_be_declared(kind, name)?;
        let entry = self.in_force.load().stored.get(kind, name).cloned();
        entry.ok_or_else(|| Refused::Absent(kind, name.to_owned()))
    }

    fn keep(&self, who: &str, edits: &[Edit], histories: Vec<Option<Entry>>, stored: &Stored) -> Ticket {
        let store = &self.governed.store;
        let mut last = Ticket::default();
        for (edit, old) in edits.iter().zip(histories) {
            let (kind, name) = edit.subject();
            let name = kind.normalise(name);
            let new = stored.get(kind, &name);
            let word = match (&old, new) {
                (None, _) => "created",
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
            };
            let text = |entry: &Entry| Value::Object(entry.clone()).to_string();
            self.audit(who, &format!("{kind}.{word}"), &name, old.as_ref().map(text), new.map(text));
            last = store.set_entry(kind, &name, new);
            tracing::info!(by = who, "{kind} {name} was {word}");
        }
        last
    }

    /// Waits until it is on the disk; why it is not.
    fn wait(&self, ticket: Ticket) -> Option<String> {
        let mut done = self.governed.done.clone();
        let Ok(runtime) = Handle::try_current() else { return Some("nobody waited for the disk".to_owned()) };
        let waiting = runtime.block_on(async {
            timeout(SAVE_PATIENCE, done.wait_for(|(up_to, _)| *up_to >= ticket))
                .await
                .map(|done| done.map(|done| done.1).unwrap_or(Outcome::Unsaved))
        });
        match waiting {
            Ok(Outcome::Saved) => None,
            Ok(Outcome::Unsaved) => {
                let failing = self.governed.store.health().failing;
                Some(
                    failing.map_or_else(|| "the store could not write it".to_owned(), |failing| failing.text),
                )
            }
            Err(_) => Some(format!("the disk has said nothing for {} s", SAVE_PATIENCE.as_secs())),
        }
    }

    /// Whoever blocks an address wants somebody kept out, not his own front ends; a block that is in a file is only warned of.
    fn must_spare_front_ends(&self, config: &Config, edits: &[Edit]) -> Result<(), Refused> {
        let put = |block: &Block| {
            edits.iter().any(|edit| match edit {
                Edit::Put(Kind::Block, name, _) => Kind::Block.normalise(name) == block.address.to_string(),
                _ => false,
            })
        };
        match cut_off::all(&self.governed.gateway, config, put).into_iter().next() {
            Some(text) => Err(Refused::Unusable(text)),
            None => Ok(()),
        }
    }

    fn must_not_be_declared(&self, kind: Kind, name: &str) -> Result<(), Refused> {
        let in_force = self.in_force.load();
        let declared = in_force.loaded.effective.get(&path(kind, name)).map(|setting| &setting.origin);
        match declared {
            Some(Origin::Declared(place)) if !(kind == Kind::Policy && name == GLOBAL) => {
                Err(Refused::Declared { kind, name: name.to_owned(), place: place.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What the file says wins: an entry that would say nothing is not stored.
    fn must_count(
        effective: &crate::config::Effective,
        kind: Kind,
        name: &str,
        entry: &Entry,
    ) -> Result<(), Refused> {
        let keys: Vec<String> = match (kind, name) {
            (Kind::Policy, GLOBAL) => {
                without_nulls(entry).keys().map(|key| format!("policy.{key}")).collect()
            }
            _ => vec![path(kind, name)],
        };
        for key in keys {
            match effective.get(&key).map(|setting| &setting.origin) {
                Some(Origin::Stored) => {}
                Some(Origin::Declared(place)) => {
                    return Err(Refused::Declared { kind, name: name.to_owned(), place: place.clone() });
                }
                _ => {
                    return Err(Refused::Unusable(format!(
                        "one of the domains of {name} is that of a partner who is declared in a file, which wins; the entry would \
                         say nothing"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The path of the key that names an entry.
fn path(kind: Kind, name: &str) -> String {
    let name = kind.normalise(name);
    match kind {
        Kind::Partner => format!("partner[{name}].domain"),
        Kind::Policy => format!("policy.rule[{name}].name"),
        Kind::Block => format!("block[{name}].address"),
    }
}

/// `null` takes a key away.
fn without_nulls(entry: &Entry) -> Entry {
    entry
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
