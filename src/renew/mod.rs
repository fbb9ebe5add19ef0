//! Certificates, keys, roots and revocation lists that are replaced on disk while the gateway runs (TLS-19).
//!
//! The files are looked at from time to time, and at once when somebody says so (SIGHUP). What they hold is put in use for
//! new handshakes. Connections go on as they are, but for those whose peer was let in by a certificate that is not believed
//! any more: they end. What cannot be used is refused, loudly, and what was in use stays.

mod adopt;
mod look;
mod slot;
mod sources;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::certs::expiry::{self, Told};
use crate::checks::Level;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::net::contain::contained_now;
use crate::tls::{Identity, IdentityStore, NoIdentity, Proof, RootsStore, date};
pub use adopt::{Prepared, Unusable, unusable, unusable_for_all};
use slot::{Occasion, Slot, Step};
use sources::{IdentityFiles, ProofFiles, RootsFile, said};

/// Identities with the domains they are for.
type Identities = Vec<(Vec<String>, Arc<Identity>)>;

/// Everything that is looked at.
pub struct Renewal {
    /// In the order of [`config::Sip::called`](crate::config::Sip::called).
    sip_identities: Vec<Slot<IdentityFiles>>,
    xmpp_identities: Vec<Slot<IdentityFiles>>,
    /// One, if administration is served over TCP.
    control_identities: Vec<Slot<IdentityFiles>>,
    sip_roots: Slot<RootsFile>,
    xmpp_roots: Slot<RootsFile>,
    sip_proof: Slot<ProofFiles>,
    /// In the order of the partners.
    proofs: Vec<Slot<ProofFiles>>,
    /// What was told of the ends of `sip_identities`, then `xmpp_identities`, then `control_identities`.
    told: Vec<Told>,
}

/// What is in use, for handshakes.
#[derive(Clone)]
pub struct InUse {
    /// Towards front ends.
    pub sip_identities: Arc<IdentityStore>,
    /// Towards partners.
    pub xmpp_identities: Arc<IdentityStore>,
    /// Towards administrators; absent if the gateway started without serving them over TCP.
    pub control_identities: Option<Arc<IdentityStore>>,
    /// For front ends.
    pub sip_roots: Arc<RootsStore>,
    /// For partners.
    pub xmpp_roots: Arc<RootsStore>,
    /// What front ends' certificates are held against besides.
    pub sip_proof: Arc<ArcSwap<Proof>>,
    /// What was loaded for each partner, in their order.
    pub proofs: Vec<Arc<Proof>>,
}

impl Renewal {
    /// Loads everything that the configuration names.
    ///
    /// # Errors
    /// A file that cannot be used, with what to do about it.
    pub fn open(config: &Config, now: SystemTime) -> anyhow::Result<Self> {
        let shared = Arc::new(config.clone());
        let mut xmpp_identities = Vec::new();
        for (files, domains) in config.certificates.iter() {
            let domains = domains.into_iter().cloned().collect();
            let source = IdentityFiles::of_domains(&shared, files, domains);
            xmpp_identities.push(open(source, now, "[[certificate]]")?);
        }
        let sip_identities = IdentityFiles::of_front_ends(&shared)
            .map(|source| open(source, now, "sip.certificate"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let control_identities = IdentityFiles::of_control(&shared)
            .map(|source| open(source, now, "control.certificate"))
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?;
        let all = sip_identities.iter().chain(&xmpp_identities).chain(&control_identities);
        Ok(Self {
            told: all.map(|slot| said_at_start(slot.current(), now)).collect(),
            sip_identities,
            xmpp_identities,
            control_identities,
            sip_roots: open(RootsFile::new(Some(&config.sip.roots)), now, "sip.roots")?,
            xmpp_roots: open(RootsFile::new(config.xmpp.roots.as_ref()), now, "xmpp.roots")?,
            sip_proof: open(ProofFiles::of_front_ends(config), now, "sip.crls")?,
            proofs: config
                .partners
                .iter()
                .map(|partner| open(ProofFiles::of(partner), now, "[[partner]]"))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    /// What was loaded.
    ///
    /// # Errors
    /// There is no certificate for the XMPP side.
    pub fn in_use(&self) -> Result<InUse, NoIdentity> {
        Ok(InUse {
            sip_identities: Arc::new(IdentityStore::new(identities(&self.sip_identities))?),
            xmpp_identities: Arc::new(IdentityStore::new(identities(&self.xmpp_identities))?),
            control_identities: match self.control_identities.as_slice() {
                [] => None,
                slots => Some(Arc::new(IdentityStore::new(identities(slots))?)),
            },
            sip_roots: Arc::new(RootsStore::new(Arc::clone(self.sip_roots.current()))),
            xmpp_roots: Arc::new(RootsStore::new(Arc::clone(self.xmpp_roots.current()))),
            sip_proof: Arc::new(ArcSwap::new(Arc::clone(self.sip_proof.current()))),
            proofs: self.proofs(),
        })
    }

    /// What partners' certificates are held against, in the order of the partners.
    pub fn proofs(&self) -> Vec<Arc<Proof>> {
        self.proofs.iter().map(|slot| Arc::clone(slot.current())).collect()
    }

    /// Looks at everything, puts in use what is new, and then says so in the log.
    /// Says whether certificates of peers are held against something else now, and how much of what is on the disk is not used.
    fn step(&mut self, occasion: Occasion, in_use: &InUse, federate: &impl Fn(&[Arc<Proof>])) -> (bool, u64) {
        let (instant, now) = (Instant::now(), SystemTime::now());
        let each = self.sip_identities.iter_mut().map(|slot| slot.step(occasion, instant, now));
        let sip: Vec<Step> = each.collect();
        let each = self.xmpp_identities.iter_mut().map(|slot| slot.step(occasion, instant, now));
        let xmpp: Vec<Step> = each.collect();
        let each = self.control_identities.iter_mut().map(|slot| slot.step(occasion, instant, now));
        let control: Vec<Step> = each.collect();
        let sip_roots = self.sip_roots.step(occasion, instant, now);
        let xmpp_roots = self.xmpp_roots.step(occasion, instant, now);
        let sip_proof = self.sip_proof.step(occasion, instant, now);
        let each = self.proofs.iter_mut().map(|slot| slot.step(occasion, instant, now));
        let proofs: Vec<Step> = each.collect();

        if sip.contains(&Step::Renewed) {
            put_in_use(&in_use.sip_identities, identities(&self.sip_identities));
        }
        if xmpp.contains(&Step::Renewed) {
            put_in_use(&in_use.xmpp_identities, identities(&self.xmpp_identities));
        }
        if control.contains(&Step::Renewed)
            && let Some(store) = &in_use.control_identities
        {
            put_in_use(store, identities(&self.control_identities));
        }
        if sip_roots == Step::Renewed {
            in_use.sip_roots.replace(Arc::clone(self.sip_roots.current()));
        }
        if xmpp_roots == Step::Renewed {
            in_use.xmpp_roots.replace(Arc::clone(self.xmpp_roots.current()));
        }
        if sip_proof == Step::Renewed {
            in_use.sip_proof.store(Arc::clone(self.sip_proof.current()));
        }
        if proofs.contains(&Step::Renewed) {
            federate(&self.proofs());
        }

        let slots = self.sip_identities.iter().chain(&self.xmpp_identities).chain(&self.control_identities);
        let steps = sip.iter().chain(&xmpp).chain(&control);
        for ((slot, step), told) in slots.zip(steps).zip(&mut self.told) {
            tell_of_identity(slot, step, now);
            tell_of_end(slot, step, told, now);
        }
        tell_of_roots(&self.sip_roots, &sip_roots, "sip.roots");
        tell_of_roots(&self.xmpp_roots, &xmpp_roots, "xmpp.roots");
        let partners = self.proofs.iter().zip(&proofs);
        for (slot, step) in std::iter::once((&self.sip_proof, &sip_proof)).chain(partners) {
            tell(
                step,
                || slot.source().name(),
                |name| {
                    info!("{name}: renewed; all connections are judged by it");
                },
            );
        }
        let others = || [&sip_roots, &xmpp_roots, &sip_proof].into_iter().chain(&proofs);
        let all = others().chain(&sip).chain(&xmpp).chain(&control);
        let refused = all.filter(|step| matches!(step, Step::Refused(_))).count() as u64;
        (others().any(|step| *step == Step::Renewed), refused)
    }
}

/// Looks at the files every so often, and when `order` rings, until the process ends; `looked_after` is called when the latter
/// is done. `federate` gets the proofs of partners while nobody else can change what partners there are.
pub async fn serve(
    renewal: Arc<Mutex<Renewal>>,
    in_use: InUse,
    gateway: Arc<Gateway>,
    every: Duration,
    order: Arc<Notify>,
    federate: impl Fn(&[Arc<Proof>]) + Clone + Send + 'static,
    looked_after: impl Fn() + Send + 'static,
) {
    loop {
        let occasion = tokio::select! {
            () = order.notified() => Occasion::Order,
            () = tokio::time::sleep(every) => Occasion::Interval,
        };
        let (in_use, gateway, federate) = (in_use.clone(), Arc::clone(&gateway), federate.clone());
        let renewal = Arc::clone(&renewal);
        // A file may be on a disk that does not answer.
        let looked = tokio::task::spawn_blocking(move || {
            let panics = &gateway.counters().tasks_panicked;
            let step = || {
                let (judges_anew, refused) = renewal.lock().step(occasion, &in_use, &federate);
                gateway.counters().files_not_used.add(refused);
                if judges_anew {
                    end_disbelieved(&gateway);
                }
            };
            let _ = contained_now("a look at certificates and roots", panics, step);
        });
        // The runtime is going down.
        if looked.await.is_err() {
            return;
        }
        if occasion == Occasion::Order {
            info!("certificates, keys, roots and revocation lists were looked at");
            looked_after();
        }
    }
}

/// Whoever was let in by a certificate that is not believed any more goes: new lists and roots count for all.
fn end_disbelieved(gateway: &Gateway) {
    let (streams, connections) = (gateway.end_forbidden_streams(), gateway.end_forbidden_connections());
    if streams + connections > 0 {
        info!(
            streams,
            connections, "streams and SIP connections end whose certificates are not believed any more"
        );
    }
}

fn open<S: slot::Source>(source: S, now: SystemTime, what: &'static str) -> anyhow::Result<Slot<S>> {
    Slot::open(source, now).map_err(|why| anyhow!(why)).context(what)
}

fn identities(slots: &[Slot<IdentityFiles>]) -> Identities {
    slots.iter().map(|slot| (slot.source().names(), Arc::clone(slot.current()))).collect()
}

fn put_in_use(store: &IdentityStore, identities: Identities) {
    if let Err(error) = store.replace(identities) {
        error!("new certificates are not used: {error}");
    }
}

fn tell_of_identity(slot: &Slot<IdentityFiles>, step: &Step, now: SystemTime) {
    let certificate = slot.current().certificate();
    tell(
        step,
        || slot.source().name(),
        |name| {
            let (serial, sha256) = (&certificate.serial, hex(&certificate.sha256));
            let until = date(certificate.not_after);
            info!(serial, sha256, until, "{name}: renewed; new connections are shown it");
            for finding in slot.source().findings(slot.current(), now) {
                match finding.level {
                    Level::Good | Level::Note => {}
                    Level::Warning => warn!("{name}: {}", said(&finding)),
                    Level::Wrong => error!("{name}: {}", said(&finding)),
                }
            }
        },
    );
    if matches!(step, Step::Refused(_)) {
        info!("in use stays {certificate}");
    }
}

/// What the start says of a certificate that runs out ([`crate::checks`]) need not be said again at once. Of issuers it says
/// nothing.
fn said_at_start(identity: &Identity, now: SystemTime) -> Told {
    let (mut told, end) = (Told::default(), identity.ends());
    if end == identity.certificate().not_after {
        let _ = told.due(end, now);
    }
    told
}

/// Says so when what is shown runs out. Of what is new that was said with it.
fn tell_of_end(slot: &Slot<IdentityFiles>, step: &Step, told: &mut Told, now: SystemTime) {
    if *step == Step::Renewed {
        *told = said_at_start(slot.current(), now);
    }
    let Some((left, text)) = end_of(slot, told, now) else { return };
    let certificate = slot.current().certificate();
    let (serial, until) = (&certificate.serial, date(slot.current().ends()));
    match left.is_zero() {
        true => error!(serial, until, "{text}"),
        false => warn!(serial, until, "{text}"),
    }
}

/// What is to be said now of the end of what is shown, and how much time is left.
fn end_of(slot: &Slot<IdentityFiles>, told: &mut Told, now: SystemTime) -> Option<(Duration, String)> {
    let identity = slot.current();
    let left = told.due(identity.ends(), now)?;
    let own = identity.ends() == identity.certificate().not_after;
    let what = if own { "it" } else { "an issuer in its chain" };
    let so = if left.is_zero() { "no peer accepts it; " } else { "" };
    let (name, words) = (slot.source().name(), expiry::words(left));
    Some((left, format!("{name}: {what} {words}: {so}renew it (nuncio cert request)")))
}

fn tell_of_roots(slot: &Slot<RootsFile>, step: &Step, key: &str) {
    tell(
        step,
        || key.to_owned(),
        |name| {
            let (roots, source) = (slot.current().len(), slot.current().source());
            info!(roots, source, "{name}: renewed; all connections are judged by it");
        },
    );
}

fn tell(step: &Step, name: impl Fn() -> String, renewed: impl FnOnce(&str)) {
    match step {
        Step::Same => {}
        Step::Refused(why) => {
            error!("{}: what is on disk now is not used: {why}; what was used before stays in use", name());
        }
        Step::Recovered => info!("{}: the files hold again what is in use", name()),
        Step::Renewed => renewed(&name()),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::sources::tests::{opened, put};
    use super::*;
    use crate::tls::testing::{Ca, San, now, san, validity};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn what_runs_out_is_told_in_time_and_a_renewed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = Ca::new("Root");
        std::fs::write(folder.path().join("roots.pem"), root.pem()).unwrap();
        let until = |year| {
            root.issue("contoso.com", |params| {
                san(params, &[San::Dns("contoso.com")]);
                validity(params, 2020, year);
            })
        };
        put(folder.path(), &until(2027));
        let mut slot = opened(folder.path());
        let end = slot.current().certificate().not_after;
        let mut told = said_at_start(slot.current(), now());
        let mut at = |slot: &Slot<IdentityFiles>, left: Duration| {
            end_of(slot, &mut told, end - left)
                .map(|(_, text)| text.rsplit_once(".pem: ").unwrap().1.to_owned())
        };
        assert_eq!(at(&slot, DAY * 31), None);
        assert_eq!(at(&slot, DAY * 14).unwrap(), "it expires in 14 days: renew it (nuncio cert request)");
        assert_eq!(at(&slot, DAY * 14 - Duration::from_secs(60)), None);
        let over = "it has expired: no peer accepts it; renew it (nuncio cert request)";
        assert_eq!(at(&slot, Duration::ZERO).unwrap(), over);
        put(folder.path(), &until(2040));
        assert_eq!(slot.step(Occasion::Order, Instant::now(), now()), Step::Renewed);
        assert_eq!(at(&slot, Duration::ZERO), None);
    }

    #[test]
    fn an_issuer_that_runs_out_first_is_told_too_also_right_after_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let root = Ca::new("Root");
        std::fs::write(folder.path().join("roots.pem"), root.pem()).unwrap();
        let between = root.intermediate_with("Between", |params| validity(params, 2020, 2027));
        let mut issued = between.server(&["contoso.com"]);
        issued.chain.push(between.der());
        put(folder.path(), &issued);
        let slot = opened(folder.path());
        let soon = slot.current().ends() - DAY;
        let mut told = said_at_start(slot.current(), soon);
        let (_, text) = end_of(&slot, &mut told, soon).unwrap();
        assert!(text.contains("an issuer in its chain expires in 1 day"), "{text}");
    }
}
