//! Our identities in use, replaceable while connections run (TLS-19).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{Identity, Roots};

/// The identities of one side: on the XMPP side one for each served domain, the first being the default; on the SIP side one.
pub struct IdentityStore {
    current: ArcSwap<Identities>,
    generation: AtomicU64,
}

/// The roots of one side in use, replaceable while connections run. Whoever is connected stays; new handshakes, resumed
/// sessions among them, are judged by the new ones.
#[derive(Debug)]
pub struct RootsStore {
    current: ArcSwap<Roots>,
}

/// There must be at least one identity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no certificate is configured")]
pub struct NoIdentity;

impl IdentityStore {
    /// Identities with the domains each is for; the first is also for everything else. Of several for one domain the first
    /// counts.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn new(identities: Vec<(Vec<String>, Arc<Identity>)>) -> Result<Self, NoIdentity> {
        Ok(Self::of(Identities::new(identities)?))
    }

    /// One identity for everything.
    pub fn single(identity: Arc<Identity>) -> Self {
        Self::of(Identities { default: identity, by_domain: HashMap::new() })
    }

    fn of(identities: Identities) -> Self {
        Self { current: ArcSwap::from_pointee(identities), generation: AtomicU64::new(0) }
    }

    /// Replaces all identities. New handshakes use the new ones, and no session from before can be resumed; connections
    /// go on.
    ///
    /// # Errors
    ///
    /// When there is none; the old ones then stay.
    pub fn replace(&self, identities: Vec<(Vec<String>, Arc<Identity>)>) -> Result<(), NoIdentity> {
        self.current.store(Arc::new(Identities::new(identities)?));
        // After the identities: a session begun under the old ones in between gets a ticket of the old keys.
        self.generation.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Grows when the identities are replaced.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The identity for a domain, else the default one.
    pub fn choose(&self, domain: Option<&str>) -> Arc<Identity> {
        let current = self.current.load();
        domain.and_then(|domain| current.exact(domain)).unwrap_or(&current.default).clone()
    }

    /// Every identity with a name: once for each domain it is for, in their order. The default one, if it is for none, is
    /// there with what its certificate says it is for.
    pub fn named(&self) -> Vec<(String, Arc<Identity>)> {
        let current = self.current.load();
        let named = current.by_domain.iter();
        let mut named: Vec<_> = named.map(|(name, of)| (name.to_string(), Arc::clone(of))).collect();
        if !named.iter().any(|(_, identity)| Arc::ptr_eq(identity, &current.default)) {
            named.push((current.default.certificate().subject.clone(), Arc::clone(&current.default)));
        }
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        named
    }

    /// The identity for exactly this domain.
    pub fn exact(&self, domain: &str) -> Option<Arc<Identity>> {
        self.current.load().exact(domain).cloned()
    }
}

impl RootsStore {
    /// With the roots to begin with.
    pub fn new(roots: Arc<Roots>) -> Self {
        Self { current: ArcSwap::new(roots) }
    }

    /// Replaces them.
    pub fn replace(&self, roots: Arc<Roots>) {
        self.current.store(roots);
    }

    /// Those of this moment.
    pub fn current(&self) -> Arc<Roots> {
        self.current.load_full()
    }
}

impl fmt::Debug for IdentityStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("IdentityStore")
            .field("default", &current.default.certificate().subject)
            .field("domains", &current.by_domain.keys())
            .finish()
    }
}

/// Chooses a certificate in one handshake: by the domain that the protocol has named already, else by SNI, else the default.
/// A domain named in the stream header goes first, because that is what the peer will look for (TLS-05, TLS-10).
#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) store: Arc<IdentityStore>,
    pub(super) domain: Option<String>,
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = self.domain.as_deref().and_then(|domain| self.store.exact(domain));
        let identity = named.unwrap_or_else(|| self.store.choose(hello.server_name()));
        Some(identity.key().clone())
    }
}

struct Identities {
    default: Arc<Identity>,
    by_domain: HashMap<String, Arc<Identity>>,
}

impl Identities {
    fn new(identities: Vec<(Vec<String>, Arc<Identity>)>) -> Result<Self, NoIdentity> {
        let (_, default) = identities.first().ok_or(NoIdentity)?;
        let default = default.clone();
        let mut by_domain = HashMap::new();
        for (domains, identity) in identities {
            for domain in domains {
                by_domain.entry(key(&domain)).or_insert_with(|| identity.clone());
            }
        }
        Ok(Self { default, by_domain })
    }

    fn exact(&self, domain: &str) -> Option<&Arc<Identity>> {
        self.by_domain.get(&key(domain))
    }
}

/// Domains compare as A-labels without case.
fn key(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_ascii_lowercase())
}
