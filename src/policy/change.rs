//! Changes of stored entries. What a change makes of the entry that it finds is made in its turn: of two at once, none is lost.

use std::collections::HashSet;

use serde_json::Value;

use super::refused::{Refused, stays_aside};
use super::{Applied, Authority, Changed, InForce, Prepared, cut_off};
use crate::config::{Block, Config, Domain, Entry, GLOBAL, Kind, Origin, Problem, SetAside};
use crate::store::{Keep, Ticket};

/// A change of stored entries.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// There is none of this name, and this is to be it.
    Create(Kind, String, Entry),
    /// It is to be this, whatever it was.
    Put(Kind, String, Entry),
    /// It is there, and these of its keys are to be so; `null` takes one away.
    Patch(Kind, String, Entry),
    /// It is to be gone.
    Remove(Kind, String),
    /// These are to be so, each by its name, and with `prune` those that are stored and not among them are to be gone, but for
    /// those that are set aside.
    Bring { kind: Kind, entries: Vec<(String, Entry)>, prune: bool },
}

/// What an edit comes to for one entry.
struct Step {
    kind: Kind,
    /// As it was given.
    name: String,
    old: Option<Entry>,
    new: Option<Entry>,
}

impl Authority {
    /// Makes this change, all of it or nothing, and keeps it. With `dry_run` it only says what it would amount to, having made the
    /// same checks. It opens files and waits for the disk: not for a thread that carries messages.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn change(&self, who: &str, edit: Edit, dry_run: bool) -> Result<Applied, Refused> {
        let turn = self.turn.lock();
        let before = self.in_force();
        let mut stored = before.stored.clone();
        let left = left(&before, &edit);
        let steps = self.steps(&before, edit)?;
        for Step { kind, name, new, .. } in &steps {
            match new {
                Some(entry) => stored.put(*kind, name, entry.clone()),
                None => stored.remove(*kind, name),
            };
        }
        // What was set aside stays so until the next reload, unless it is this that is changed.
        let stays = before.loaded.set_aside.iter().filter(|aside| !aside.declared);
        let stays = stays.filter(|aside| !steps.iter().any(|step| aside.is(step.kind, &step.name)));
        let sources = turn.clone().trusting_paths().stored(stored.clone());
        let named = steps.iter().map(|step| (step.kind, step.name.as_str()));
        let prepared = self.prepare(&sources, stays.cloned().collect(), |_| false);
        let mut prepared = prepared.map_err(|refused| stays_aside(refused, &before, named))?;
        // Of what was so before, nobody needs to hear with every change, unless it is of what is changed.
        let of_it = |problem: &Problem| {
            problem.stored.as_ref().is_some_and(|(kind, name)| {
                steps.iter().any(|step| step.kind == *kind && kind.normalise(&step.name) == *name)
            })
        };
        let known = super::warnings(&before.loaded.report, |problem| !of_it(problem));
        prepared.applied.warnings.retain(|warning| !known.contains(warning));
        prepared.applied.warnings.extend(left);
        for Step { kind, name, new, .. } in &steps {
            match new {
                Some(entry) => must_count(&prepared, *kind, name, entry)?,
                None => prepared.applied.warnings.extend(forgotten(
                    &before,
                    &prepared.applied.in_force,
                    *kind,
                    name,
                )),
            }
        }
        prepared.applied.warnings.extend(steps.iter().filter_map(wider));
        self.must_spare_front_ends(&prepared.applied.in_force.running, &steps)?;
        prepared.applied.unseen = unseen(&steps, &prepared.applied.changed);
        if dry_run {
            return Ok(Applied { dry_run, ..prepared.applied });
        }
        let mut applied = self.put_in_force(prepared);
        let ticket = self.keep(who, steps);
        drop(turn);
        applied.unsaved = self.wait(ticket);
        Ok(applied)
    }

    /// What the edit comes to, beside what is in force now.
    fn steps(&self, before: &InForce, edit: Edit) -> Result<Vec<Step>, Refused> {
        let stored = &before.stored;
        let put = |kind, name: String, new: Entry| {
            must_not_be_declared(before, kind, &name)?;
            let (old, new) = (stored.get(kind, &name).cloned(), Some(without_nulls(&new)));
            Ok(Step { kind, name, old, new })
        };
        let step = match edit {
            Edit::Create(kind, name, entry) => {
                let is_global = kind == Kind::Policy && name == GLOBAL;
                must_not_be_declared(before, kind, &name)?;
                let is_there = before.loaded.effective.get(&path(kind, &name)).is_some();
                if is_global || is_there || stored.get(kind, &name).is_some() {
                    return Err(Refused::Exists(kind, kind.normalise(&name)));
                }
                put(kind, name, entry)?
            }
            Edit::Put(kind, name, entry) => put(kind, name, entry)?,
            Edit::Patch(kind, name, part) => {
                must_not_be_declared(before, kind, &name)?;
                let mut whole = match stored.get(kind, &name) {
                    Some(entry) => entry.clone(),
                    // There is always a [policy].
                    None if kind == Kind::Policy && name == GLOBAL => Entry::new(),
                    None => return Err(Refused::Absent(kind, name)),
                };
                whole.extend(part);
                put(kind, name, whole)?
            }
            Edit::Remove(kind, name) => match stored.get(kind, &name) {
                // Also one that gives way to a file.
                Some(old) => Step { kind, old: Some(old.clone()), new: None, name },
                None => {
                    must_not_be_declared(before, kind, &name)?;
                    return Err(Refused::Absent(kind, name));
                }
            },
            Edit::Bring { kind, entries, prune } => return bring(before, kind, entries, prune, put),
        };
        Ok(vec![step])
    }

    /// Whoever blocks an address wants somebody kept out, not his own front ends; a block that is in a file is only warned of.
    fn must_spare_front_ends(&self, config: &Config, steps: &[Step]) -> Result<(), Refused> {
        let put = |block: &Block| {
            steps.iter().any(|Step { kind, name, new, .. }| {
                *kind == Kind::Block && new.is_some() && kind.normalise(name) == block.address.to_string()
            })
        };
        match cut_off::all(&self.governed.gateway, config, put).into_iter().next() {
            Some(text) => Err(Refused::Unusable(text)),
            None => Ok(()),
        }
    }

    fn keep(&self, who: &str, steps: Vec<Step>) -> Ticket {
        let mut last = Ticket::default();
        for Step { kind, name, old, new } in steps {
            let word = match (&old, &new) {
                (old, new) if old == new => continue,
                (None, _) => "created",
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
            };
            let name = kind.normalise(&name);
            let text = |entry: &Entry| Value::Object(entry.clone()).to_string();
            self.audit(who, &format!("{kind}.{word}"), &name, old.as_ref().map(text), new.as_ref().map(text));
            last = self.governed.store.set_entry(kind, &name, new.as_ref());
            tracing::info!(by = who, "{kind} {name} was {word}");
        }
        last
    }
}

/// Those that are not as they are to be. The keys of `[policy]` are no entry like others: they go when they are named, or
/// removed by name, and not because a list of rules does not have them. Nor does what is set aside: no list could have it.
fn bring(
    before: &InForce,
    kind: Kind,
    entries: Vec<(String, Entry)>,
    prune: bool,
    put: impl Fn(Kind, String, Entry) -> Result<Step, Refused>,
) -> Result<Vec<Step>, Refused> {
    let stored = &before.stored;
    let aside = &before.loaded.set_aside;
    let named = names(kind, &entries);
    let gone = stored.iter().filter(|(other, name, _)| {
        prune && *other == kind && !named.contains(*name) && !(kind == Kind::Policy && *name == GLOBAL)
    });
    let gone = gone.filter(|(_, name, _)| !aside.iter().any(|aside| aside.is(kind, name)));
    let gone =
        gone.map(|(_, name, old)| Step { kind, name: name.to_owned(), old: Some(old.clone()), new: None });
    let new =
        entries.into_iter().filter(|(name, entry)| stored.get(kind, name) != Some(&without_nulls(entry)));
    let new = new.map(|(name, entry)| put(kind, name, entry));
    new.chain(gone.map(Ok)).collect()
}

/// What would go with `prune` if it were not set aside, each in a sentence.
fn left(before: &InForce, edit: &Edit) -> Vec<String> {
    let Edit::Bring { kind, entries, prune: true } = edit else { return Vec::new() };
    let named = names(*kind, entries);
    let left = before.loaded.set_aside.iter();
    let left = left.filter(|aside| aside.kind == *kind && !named.contains(&aside.name));
    let sentence = |aside: &SetAside| {
        let name = &aside.name;
        format!(
            "the stored {kind} {name} is set aside, and is left as it is: nuncio {kind} remove {name} removes it"
        )
    };
    left.map(sentence).collect()
}

/// The names of these entries, as they are compared.
fn names(kind: Kind, entries: &[(String, Entry)]) -> HashSet<String> {
    entries.iter().map(|(name, _)| kind.normalise(name)).collect()
}

/// What goes with an entry that is removed, if anything does: what is known of users is kept as long as their domain is a
/// partner's, be it by a file, or by an entry that is set aside and replaced by one that allows nothing.
fn forgotten(before: &InForce, after: &InForce, kind: Kind, name: &str) -> Option<String> {
    let domain = Domain::new(name).ok().filter(|_| kind == Kind::Partner)?;
    before.running.partners.of(&domain).filter(|_| after.running.partners.of(&domain).is_none())?;
    let instead = match before.loaded.set_aside.iter().any(|aside| aside.is(kind, name)) {
        true => "leave him set aside, or mend him (nuncio partner set)",
        false => "disable him instead",
    };
    Some(format!(
        "with {name} goes what is known of his users, also who has added them; to keep it, {instead}"
    ))
}

/// What is declared in a file is changed there.
fn must_not_be_declared(before: &InForce, kind: Kind, name: &str) -> Result<(), Refused> {
    let declared = before.loaded.effective.get(&path(kind, name)).map(|setting| &setting.origin);
    match declared {
        Some(Origin::Declared(place)) if !(kind == Kind::Policy && name == GLOBAL) => {
            let (place, stored) = (place.clone(), before.stored.get(kind, name).is_some());
            Err(Refused::Declared { kind, name: name.to_owned(), place, stored })
        }
        _ => Ok(()),
    }
}

/// What the file says wins: an entry that would say nothing is not stored.
fn must_count(prepared: &Prepared<'_>, kind: Kind, name: &str, entry: &Entry) -> Result<(), Refused> {
    let keys: Vec<String> = match (kind, name) {
        (Kind::Policy, GLOBAL) => entry.keys().map(|key| format!("policy.{key}")).collect(),
        _ => vec![path(kind, name)],
    };
    for key in keys {
        match prepared.applied.in_force.loaded.effective.get(&key).map(|setting| &setting.origin) {
            Some(Origin::Stored) => {}
            Some(Origin::Declared(place)) => {
                let (name, place) = (name.to_owned(), place.clone());
                return Err(Refused::Declared { kind, name, place, stored: false });
            }
            _ => {
                // It gives way, and the reason says to whom.
                let mut aside = prepared.applied.in_force.loaded.set_aside.iter();
                let why = aside.find(|aside| aside.is(kind, name)).map(|aside| aside.why.join("; "));
                let why = why.unwrap_or_else(|| "a file says something else, which wins".to_owned());
                return Err(Refused::Unusable(format!("{why}; the entry would say nothing")));
            }
        }
    }
    Ok(())
}

/// A block that keeps out more than the address that it was written with.
fn wider(step: &Step) -> Option<String> {
    let Step { kind: Kind::Block, name, new: Some(_), .. } = step else { return None };
    let (address, _) = name.split_once('/')?;
    let network = Kind::Block.normalise(name);
    let first = network.split_once('/')?.0.parse::<std::net::IpAddr>().ok()?;
    let written = address.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok()?.to_canonical();
    (written != first).then(|| {
        format!(
            "{name} keeps out all of {network}; to keep out {written} alone, remove this one (nuncio block remove {network}), and \
             nuncio block add {written}"
        )
    })
}

/// What becomes of stored entries of whom nothing holds that did not before: those that are set aside for a file, or that say
/// what was so already.
fn unseen(steps: &[Step], changed: &[Changed]) -> Vec<String> {
    let seen: HashSet<&str> =
        changed.iter().filter_map(|change| change.path.rsplit_once('.')).map(|(entry, _)| entry).collect();
    let other = steps.iter().filter(|step| step.old != step.new);
    let other = other.filter(|Step { kind, name, .. }| match (kind, name.as_str()) {
        (Kind::Policy, GLOBAL) => !seen.contains("policy"),
        _ => path(*kind, name).rsplit_once('.').is_none_or(|(entry, _)| !seen.contains(entry)),
    });
    let line = |Step { kind, name, old, new }: &Step| {
        let what = match (old, new) {
            (None, _) => "added",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        };
        format!("stored {kind} {}: {what}", kind.normalise(name))
    };
    other.map(line).collect()
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
