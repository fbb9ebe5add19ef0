//! What holds, and the only way to change it. The files and the stored entries together are read, checked and loaded beside what
//! is in use; if all of it can be used it is put in force in one go, and otherwise nothing is changed. The start, a reload
//! and every change by the control plane go this way.

mod change;
mod effect;
mod load;
pub(crate) mod made;
mod running;
mod said;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::{Config, Loaded, Report, Sources, Stored};
use crate::control::access::{Access, NewAccess};
use crate::gateway::{Federation, Gateway};
use crate::net::now;
use crate::renew::{InUse, Renewal};
use crate::store::{AuditEntry, Keep, Outcome, Store, Ticket};
use crate::tls::Proof;

pub use change::{Edit, Refused};
pub use effect::{Changed, Effect};
pub use load::{SetAside, load};
pub use said::lines;

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
    /// Keys whose values, of now or of before, wait for the next start.
    pub pending: Vec<Changed>,
    /// What the checks warn of.
    pub warnings: Vec<String>,
    /// Streams that end for it.
    pub streams_closed: usize,
    /// Why it is not on the disk, if it is not. It holds until the gateway stops.
    pub unsaved: Option<String>,
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
}

/// See the [module](self).
pub struct Authority {
    /// Without stored entries.
    sources: Sources,
    /// As the gateway started.
    start: Loaded,
    governed: Governed,
    in_force: ArcSwap<InForce>,
    /// One change at a time.
    turn: Mutex<u64>,
}

/// How long a change waits for the disk before it is answered without.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

impl Authority {
    /// For a gateway that was started with what was loaded from these sources, stored entries included.
    pub fn new(sources: Sources, start: Loaded, governed: Governed) -> Self {
        let stored = sources.stored_entries().clone();
        let in_force = InForce { running: start.config.clone(), loaded: start.clone(), stored };
        governed.gateway.set_blocked_networks(made::networks(&start.config));
        Self {
            sources: sources.trusting_paths(),
            start,
            governed,
            in_force: ArcSwap::from_pointee(in_force),
            turn: Mutex::new(1),
        }
    }

    /// What is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// How streams with partners are made when their certificates are held against these. Called where nobody can change the
    /// partners meanwhile.
    ///
    /// # Errors
    /// A domain that has no normalised form.
    pub fn federation(&self, proofs: &[Arc<Proof>]) -> anyhow::Result<Federation> {
        made::federation(&self.in_force.load().running, proofs)
    }

    /// Reads the files again and puts in force what they say. It reads files: not for a thread that carries messages.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    pub fn reload(&self, who: &str) -> Result<Applied, Refused> {
        let mut turn = self.turn.lock();
        let stored = self.in_force.load().stored.clone();
        let prepared = self.prepare(stored)?;
        let mut applied = self.put_in_force(prepared, &mut turn)?;
        drop(turn);
        let text = lines(&applied.changed);
        for line in &text {
            info!("reloaded: {line}");
        }
        info!(changes = text.len(), by = who, "the configuration was read again and is in force");
        if !text.is_empty() {
            applied.unsaved = self.audit(who, "configuration.reloaded", "files", None, Some(text.join("; ")));
        }
        Ok(applied)
    }

    /// What the files and the stored entries amount to now, as a reload would find it. Nothing is changed.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn look(&self) -> Result<Loaded, Refused> {
        let stored = self.in_force.load().stored.clone();
        self.prepare(stored).map(|prepared| prepared.in_force.loaded)
    }

    /// Loads and checks everything; nothing is changed.
    fn prepare(&self, stored: Stored) -> Result<Prepared, Refused> {
        let loaded = Config::load_whole(&self.sources.clone().stored(stored.clone()), &|_, _| Ok(()))
            .map_err(Refused::Configuration)?;
        if let Some(domain) = running::still_served(&self.start.config, &loaded.config) {
            return Err(Refused::Unusable(format!(
                "{} is to be a partner's, and is served here until the next start: restart the gateway for it",
                domain.to_unicode()
            )));
        }
        let running = running::running(&self.start.config, &loaded.config);
        let access = NewAccess::load(&running).map_err(|error| Refused::Unusable(format!("{error:#}")))?;
        let before = self.in_force.load();
        let differences = |of: &Loaded| -> Vec<Changed> {
            of.effective.differences(&loaded.effective).into_iter().map(Changed::from).collect()
        };
        let changed = differences(&before.loaded);
        let pending = differences(&self.start).into_iter();
        let pending = pending.filter(|change| change.takes_effect == Effect::NextStart).collect();
        let warnings = warnings(&loaded.report);
        Ok(Prepared { in_force: InForce { loaded, running, stored }, access, changed, pending, warnings })
    }

    /// The last things that can fail, and then what cannot.
    fn put_in_force(&self, prepared: Prepared, turn: &mut u64) -> Result<Applied, Refused> {
        let Prepared { in_force, access, changed, pending, warnings } = prepared;
        let Governed { gateway, renewal, in_use, access: in_use_access, .. } = &self.governed;
        let unusable = |error: anyhow::Error| Refused::Unusable(format!("{error:#}"));
        let snapshot = made::snapshot(&in_force.running).map_err(unusable)?;
        let mut renewal = renewal.lock();
        let files = renewal.prepare(&in_force.running, SystemTime::now()).map_err(unusable)?;

        let before = self.in_force.load_full();
        let renegotiated = running::renegotiated(&before.running, &in_force.running);
        let renegotiated = made::names(&renegotiated).map_err(unusable)?;
        let networks = made::networks(&in_force.running);
        renewal.adopt(files, in_use);
        let federation = made::federation(&in_force.running, &renewal.proofs()).map_err(unusable)?;
        in_use_access.adopt(access);
        let in_force = Arc::new(in_force);
        self.in_force.store(Arc::clone(&in_force));
        *turn += 1;
        gateway.set_federation(federation, now());
        // Not before: whoever looks at the files meanwhile would put newer proofs in force, and these would take their place.
        drop(renewal);
        gateway.set_policy(snapshot.with_generation(*turn));
        gateway.set_blocked_networks(networks);
        let streams_closed = gateway.end_forbidden_streams(&renegotiated);
        if streams_closed > 0 {
            info!(
                streams_closed,
                "streams end that the configuration does not allow any more, or wants to be made anew"
            );
        }
        Ok(Applied { in_force, changed, pending, warnings, streams_closed, unsaved: None })
    }

    /// Adds to the audit trail; why it could not be kept.
    fn audit(
        &self,
        who: &str,
        what: &str,
        subject: &str,
        from: Option<String>,
        to: Option<String>,
    ) -> Option<String> {
        let entry = AuditEntry {
            at: now().unix(),
            actor: who.into(),
            what: what.into(),
            subject: subject.into(),
            from: from.map(Into::into),
            to: to.map(Into::into),
        };
        let _ = self.governed.store.audit(entry);
        self.governed.store.health().failing.map(|failing| failing.text)
    }
}

/// Loaded, checked, and not in force.
struct Prepared {
    in_force: InForce,
    access: NewAccess,
    changed: Vec<Changed>,
    pending: Vec<Changed>,
    warnings: Vec<String>,
}

fn warnings(report: &Report) -> Vec<String> {
    report.problems().iter().map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
}

/// Tells in the log what a reload met.
pub fn tell(refused: &Refused) {
    warn!("the configuration stays as it was: {refused}");
}
