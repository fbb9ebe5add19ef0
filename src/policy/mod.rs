//! What holds, and the only way to change it. The files and the stored entries together are read, checked and loaded beside what
//! is in use; if all of it can be used it is put in force in one go, and otherwise nothing is changed. The start, a reload
//! and every change by the control plane go this way. Files are read by the first two only.

mod change;
mod cut_off;
mod effect;
mod load;
pub(crate) mod made;
mod refused;
mod running;
mod said;
pub(crate) mod sweeping;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use nuncio_translate::judge::Snapshot;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::checks::{self, Finding, Level};
use crate::config::{Block, Config, Kind, Loaded, Problem, Report, SetAside, Sources, Stored};
use crate::control::access::{Access, NewAccess};
use crate::gateway::{Federation, Gateway};
use crate::log_level::LogLevel;
use crate::net::now;
use crate::renew::{self, InUse, Renewal, Unusable};
use crate::store::{AuditEntry, Keep, Outcome, Store, Ticket};
use crate::tls::{IdentityStore, Proof};

pub use change::Edit;
pub use effect::{Changed, Effect};
pub use load::load;
pub use refused::Refused;
pub use said::{keys, lines, set_aside};

/// What of the configuration is in force.
pub struct InForce {
    /// As it was read last.
    pub loaded: Loaded,
    /// What the gateway runs by: keys that take effect with the next start are as they were at this one.
    pub running: Config,
    /// The stored entries among it.
    pub stored: Stored,
}

/// What a change amounts to.
#[derive(Clone)]
pub struct Applied {
    /// What is in force then.
    pub in_force: Arc<InForce>,
    /// Every key that has another value.
    pub changed: Vec<Changed>,
    /// Tokens that are other ones, in lines.
    pub tokens: Vec<String>,
    /// Keys whose values, of now or of before, wait for the next start.
    pub pending: Vec<Changed>,
    /// What the checks warn of.
    pub warnings: Vec<String>,
    /// Stored entries that are other ones without anything else being so, in lines.
    pub unseen: Vec<String>,
    /// Streams that end for it.
    pub streams_closed: usize,
    /// It was only asked what it would come to: nothing of it holds.
    pub dry_run: bool,
    /// Why it is not on the disk, if it is not. It holds until the gateway stops.
    pub unsaved: Option<String>,
}

/// What the files say and the gateway does not go by.
#[derive(Debug, Clone)]
pub struct Unread {
    /// What a reload would find.
    pub reload: Vec<Changed>,
    /// What waits for the next start, read already or not.
    pub next_start: Vec<Changed>,
}

/// The disk's last word on tickets: all up to this one are done.
pub type Done = (Ticket, Outcome);

/// The parts of the running program that an [`Authority`] governs.
pub struct Governed {
    pub gateway: Arc<Gateway>,
    pub store: Arc<Store>,
    pub renewal: Arc<Mutex<Renewal>>,
    pub in_use: InUse,
    pub access: Access,
    /// Says what is on the disk.
    pub done: watch::Receiver<Done>,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// See the [module](self).
pub struct Authority {
    /// As the gateway started.
    start: Loaded,
    governed: Governed,
    in_force: ArcSwap<InForce>,
    /// One change at a time: what the files said when they were read last, without stored entries. A change goes by that, and
    /// looks at no file but those that it names anew.
    turn: Mutex<Sources>,
}

/// How long a change waits for the disk before it is answered without.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

impl Authority {
    /// For a gateway that was started with what was loaded from these sources, stored entries included. Their files are
    /// [read](Sources::read_now), so that a change of a stored entry finds in them what the start did.
    pub fn new(sources: Sources, start: Loaded, governed: Governed) -> Self {
        let stored = sources.stored_entries().clone();
        let in_force = InForce { running: start.config.clone(), loaded: start.clone(), stored };
        for text in cut_off::all(&governed.gateway, &in_force.running, |_| true) {
            warn!("{text}");
        }
        Self { start, governed, in_force: ArcSwap::from_pointee(in_force), turn: Mutex::new(sources) }
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// What is shown to administrators, if they are served over TCP.
    pub fn control_identities(&self) -> Option<&Arc<IdentityStore>> {
        self.governed.in_use.control_identities.as_ref()
    }

    /// How streams with partners are made when their certificates are held against these. Called where nobody can change the
    /// partners meanwhile.
    ///
    /// # Errors
    /// A domain that has no normalised form.
    pub fn federation(&self, proofs: &[Arc<Proof>]) -> anyhow::Result<Federation> {
        made::federation(&self.in_force.load().running, proofs)
    }

    /// Reads the files again, those that they name as well, and puts in force what they say: what a start would refuse is refused
    /// here. Stored entries that were set aside are tried again. Of those whose own files cannot be used any more, what was made of
    /// these before stays in use, as it does between reloads, with a warning; where there is nothing, they are put aside as at a
    /// start: they are nobody else's hindrance. What does not go with what the files say now is an error of these, and refused. It
    /// reads files and waits for the disk: not for a thread that carries messages.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    pub fn reload(&self, who: &str) -> Result<Applied, Refused> {
        let mut turn = self.turn.lock();
        let before = self.in_force();
        let sources = turn.clone().read_now().stored(before.stored.clone());
        let mut prepared = self.prepare(&sources, Vec::new(), may_be_set_aside(&before))?;
        let access = NewAccess::load(&prepared.applied.in_force.running);
        let access = access.map_err(|error| Refused::Unusable(format!("{error:#}")))?;
        prepared.applied.tokens = self.governed.access.differences(&access);
        prepared.access = Some(access);
        let mut applied = self.put_in_force(prepared);
        *turn = sources.stored(Stored::default());
        drop(turn);
        let Loaded { set_aside, .. } = &applied.in_force.loaded;
        applied.warnings.extend(set_aside.iter().filter(|aside| !aside.declared).map(said::set_aside));
        applied.warnings.extend(certificates(&applied.in_force.running));
        let mut last = Ticket::default();
        let lines = lines(&applied.changed);
        for line in lines.iter().chain(&applied.tokens) {
            info!("reloaded: {line}");
        }
        for warning in &applied.warnings {
            warn!(by = who, "reloaded, but: {warning}");
        }
        let changes = lines.len() + applied.tokens.len();
        info!(changes, by = who, "the configuration was read again and is in force");
        for (what, lines) in [("configuration.reloaded", &lines), ("tokens.changed", &applied.tokens)] {
            if !lines.is_empty() {
                last = self.audit(who, what, "files", None, Some(lines.join("; ")));
            }
        }
        applied.unsaved = self.wait(last);
        Ok(applied)
    }

    /// What the files say now that is not in force: what a reload would change, as far as it can be told without the files that
    /// they name, and what waits for the next start. Nothing is changed.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn unread(&self) -> Result<Unread, Report> {
        let sources = self.turn.lock().clone();
        let before = self.in_force();
        let sources = sources.read_now().stored(before.stored.clone()).trusting_paths();
        let set_aside = before.loaded.set_aside.iter().filter(|aside| !aside.declared).cloned().collect();
        let (loaded, ()) = load::settle(
            &sources,
            set_aside,
            &|_, _| Ok(()),
            (may_be_set_aside(&before), |_| false),
            |_, _| Ok(()),
        )?;
        let start = &self.start.effective;
        let differences =
            |of: &Loaded| -> Vec<Changed> { Changed::all(&of.effective, &loaded.effective, start) };
        let waits = |change: &Changed| change.takes_effect == Effect::NextStart;
        let next_start = differences(&self.start).into_iter().filter(waits).collect();
        Ok(Unread { reload: differences(&before.loaded), next_start })
    }

    /// What the files and the stored entries amount to now, as a reload would find it. Nothing is changed.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn look(&self) -> Result<Arc<InForce>, Refused> {
        let turn = self.turn.lock();
        let before = self.in_force();
        let sources = turn.clone().read_now().stored(before.stored.clone());
        self.prepare(&sources, Vec::new(), may_be_set_aside(&before))
            .map(|prepared| prepared.applied.in_force)
    }

    /// Loads and checks everything; nothing is changed. Stored entries that are set aside already stay so, and others that `may_be`
    /// are put aside if need be.
    fn prepare(
        &self,
        sources: &Sources,
        set_aside: Vec<SetAside>,
        may_be: impl Fn(&Problem) -> bool,
    ) -> Result<Prepared<'_>, Refused> {
        let before = self.in_force();
        let usable = |sources: &Sources, loaded: &Loaded| {
            let early = running::still_served(&self.start.config, &loaded.config);
            if !early.is_empty() {
                return Err(load::of_early(sources, early));
            }
            if !sources.trusts_paths() {
                load::files(sources, loaded, true)?;
            }
            let running = running::running(&self.start.config, &before.running, &loaded.config);
            // Whoever looks at the files meanwhile would put newer proofs in force, and these would take their place: not before
            // all of it is done.
            let renewal = self.governed.renewal.lock();
            match renewal.prepare(&running, SystemTime::now()) {
                Ok(files) => Ok((running, renewal, files)),
                Err(Unusable::Partners(faults)) => Err(load::of_partners(sources, faults)),
                Err(Unusable::Other(error)) => {
                    Err(Report::of_files([("files".to_owned(), None, format!("{error:#}"))]))
                }
            }
        };
        let was_aside = |name: &str| {
            before.loaded.set_aside.iter().any(|aside| !aside.declared && aside.is(Kind::Partner, name))
        };
        // What he is held against was made of the same files, unless he was set aside.
        let is_in_use = |name: &str| {
            let known = before.stored.get(Kind::Partner, name);
            known.is_some() && known == sources.stored_entries().get(Kind::Partner, name) && !was_aside(name)
        };
        let settled = load::settle(sources, set_aside, &load::identity, (may_be, is_in_use), usable);
        let (loaded, (running, renewal, files)) = settled.map_err(Refused::Configuration)?;
        let unusable = |error: anyhow::Error| Refused::Unusable(format!("{error:#}"));
        let snapshot = made::snapshot(&running).map_err(unusable)?;
        let federation = made::federation(&running, &renewal.proofs_with(&files)).map_err(unusable)?;
        let start = &self.start.effective;
        let differences =
            |of: &Loaded| -> Vec<Changed> { Changed::all(&of.effective, &loaded.effective, start) };
        let changed = differences(&before.loaded);
        let pending = differences(&self.start).into_iter();
        let pending = pending.filter(|change| change.takes_effect == Effect::NextStart).collect();
        let mut warnings = warnings(&loaded.report, |_| true);
        let is_new = |block: &Block| !before.running.blocks.contains(block);
        warnings.extend(cut_off::all(&self.governed.gateway, &running, is_new));
        warnings.extend(sweeping::all(&before.running, &running));
        Ok(Prepared {
            is_new: !before.loaded.effective.says_the_same(&loaded.effective),
            renewal,
            files,
            snapshot,
            federation,
            access: None,
            applied: Applied {
                in_force: Arc::new(InForce { loaded, running, stored: sources.stored_entries().clone() }),
                changed,
                tokens: Vec::new(),
                pending,
                warnings,
                unseen: Vec::new(),
                streams_closed: 0,
                dry_run: false,
                unsaved: None,
            },
        })
    }

    /// Nothing of it can fail. What is as it was is left alone: nobody looks at his work again for nothing.
    fn put_in_force(&self, prepared: Prepared<'_>) -> Applied {
        let Prepared { is_new, mut renewal, files, snapshot, federation, access, applied } = prepared;
        let Governed { gateway, in_use, access: in_use_access, log_level, .. } = &self.governed;
        let in_force = Arc::clone(&applied.in_force);
        let level = &in_force.running.log.level;
        if *level != self.in_force.load().running.log.level {
            log_level.set(level.as_str());
        }
        if let Some(access) = access {
            in_use_access.adopt(access);
        }
        let (mut streams_closed, mut connections_closed) = (0, 0);
        if is_new {
            renewal.adopt(files, in_use);
            self.in_force.store(Arc::clone(&in_force));
            gateway.set_federation(federation, now());
            drop(renewal);
            let generation = gateway.policy().generation();
            if snapshot.clone().with_generation(generation) != **gateway.policy() {
                gateway.set_policy(snapshot.with_generation(generation + 1));
            }
            gateway.blocked_networks().replace(made::networks(&in_force.running));
            streams_closed = gateway.end_forbidden_streams();
            connections_closed = gateway.end_forbidden_connections();
        } else {
            self.in_force.store(Arc::clone(&in_force));
        }
        if streams_closed > 0 {
            info!(
                streams_closed,
                "streams end that the configuration does not allow any more, or wants to be made anew"
            );
        }
        if connections_closed > 0 {
            info!(connections_closed, "SIP connections end that the configuration does not allow any more");
        }
        Applied { streams_closed, ..applied }
    }

    /// Adds to the audit trail.
    pub fn audit(
        &self,
        who: &str,
        what: &str,
        subject: &str,
        from: Option<String>,
        to: Option<String>,
    ) -> Ticket {
        self.governed.store.audit(AuditEntry {
            at: now().unix(),
            actor: who.into(),
            what: what.into(),
            subject: subject.into(),
            from: from.map(Into::into),
            to: to.map(Into::into),
        })
    }

    /// Waits until it is on the disk; why it is not. Not for a thread that carries messages.
    pub fn wait(&self, ticket: Ticket) -> Option<String> {
        // There is nothing to wait for.
        if ticket == Ticket::default() {
            return None;
        }
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
}

/// Loaded, checked, and not in force.
struct Prepared<'a> {
    /// Whether any key has another value, or stands in another order.
    is_new: bool,
    renewal: MutexGuard<'a, Renewal>,
    files: renew::Prepared,
    snapshot: Snapshot,
    federation: Federation,
    access: Option<NewAccess>,
    /// What it will amount to.
    applied: Applied,
}

/// Whether the entry that has this problem may be set aside by a reload: its own files cannot be used, or it was set aside before,
/// other than for a file that declares it.
fn may_be_set_aside(before: &InForce) -> impl Fn(&Problem) -> bool {
    |problem| {
        let mut known = before.loaded.set_aside.iter().filter(|aside| !aside.declared);
        problem.of_file
            || problem.stored.as_ref().is_some_and(|(kind, name)| known.any(|aside| aside.is(*kind, name)))
    }
}

/// What is wrong with our certificates as they are on the disk, or soon will be: that they can be read is not all that matters.
fn certificates(config: &Config) -> Vec<String> {
    let findings = checks::certificates(config, SystemTime::now()).into_iter();
    let bad = findings.filter(|finding| finding.level >= Level::Warning);
    bad.map(|Finding { subject, text, fix, .. }| match fix {
        Some(fix) => format!("{subject}: {text}; {fix}"),
        None => format!("{subject}: {text}"),
    })
    .collect()
}

fn warnings(report: &Report, which: impl Fn(&Problem) -> bool) -> Vec<String> {
    let problems = report.problems().iter().filter(|problem| which(problem));
    problems.map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
}

/// Tells in the log what a reload met, with every reason.
pub fn tell(refused: &Refused, who: &str) {
    warn!(by = who, "the configuration stays as it was: {}", refused.in_a_line());
}
