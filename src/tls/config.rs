//! The TLS set-up of both roles: TLS 1.2 and 1.3 only, forward secrecy and authenticated encryption only (TLS-06).

use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ProtocolVersion, ServerConfig, SupportedProtocolVersion, version,
};

#[cfg(feature = "openssl-legacy")]
use super::legacy::Legacy;
use super::store::Chooser;
use super::tickets::Tickets;
use super::verifier::AcceptThenJudge;
use super::{Backend, Identity, IdentityStore, TlsError, XMPP_SERVER_ALPN};

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What accepting connections needs: asks for a client certificate but does not insist on it, names no CAs, takes any
/// certificate (see the [module](super)).
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    store: Arc<IdentityStore>,
    #[cfg(feature = "openssl-legacy")]
    legacy: Option<Arc<Legacy>>,
}

/// What opening connections needs. Sessions are kept for resumption, apart for each identity: a session resumed under
/// another one would show the peer a certificate of ours that we did not choose.
pub struct ClientTls {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
    anonymous: Arc<ClientConfig>,
    named: Mutex<Vec<Named>>,
    #[cfg(feature = "openssl-legacy")]
    legacy: Legacy,
}

impl ServerTls {
    /// With the identities of that side.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] when the system has no randomness for the keys of session tickets.
    pub fn new(store: Arc<IdentityStore>) -> Result<Self, TlsError> {
        Self::with_versions(store, ALL_VERSIONS)
    }

    /// As [`Self::new`], with only one version of TLS.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn only(store: Arc<IdentityStore>, version: TlsVersion) -> Result<Self, TlsError> {
        Self::with_versions(store, version.supported())
    }

    fn with_versions(
        store: Arc<IdentityStore>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(AcceptThenJudge { provider: provider.clone() });
        let chooser = Chooser { store: store.clone(), domain: None };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TlsError::setup)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(chooser));
        // The peers keep the sessions, not we: what is kept here could neither be bounded per peer nor end with our
        // certificates.
        config.ticketer = Arc::new(Tickets::new(store.clone())?);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A ticket carries the peer's chain; one is enough, since each resumption brings a new one.
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
            store,
            #[cfg(feature = "openssl-legacy")]
            legacy: None,
        })
    }

    /// Peers that share no cipher suite with rustls are served by this library ([`super::accept`] only: partners are never
    /// that old).
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] when this build does not have it.
    pub fn also_by(self, backend: Backend) -> Result<Self, TlsError> {
        match backend {
            Backend::Rustls => Ok(self),
            #[cfg(feature = "openssl-legacy")]
            Backend::OpensslLegacy => Ok(Self { legacy: Some(Arc::default()), ..self }),
            #[cfg(not(feature = "openssl-legacy"))]
            Backend::OpensslLegacy => Err(Backend::is_missing()),
        }
    }

    /// The set-up for handshakes that begin a connection between XMPP servers.
    pub(super) fn direct_config(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![XMPP_SERVER_ALPN.to_vec()];
        Arc::new(config)
    }

    #[cfg(feature = "openssl-legacy")]
    pub(super) fn legacy(&self) -> Option<&Legacy> {
        self.legacy.as_deref()
    }

    /// The identity that is shown to who asks for this name.
    #[cfg(feature = "openssl-legacy")]
    pub(super) fn identity(&self, server_name: Option<&str>) -> Arc<Identity> {
        self.store.choose(server_name)
    }

    #[cfg(feature = "openssl-legacy")]
    pub(super) fn provider(&self) -> &CryptoProvider {
        self.config.crypto_provider()
    }

    /// The set-up for one handshake, with the domain that the protocol has named already.
    pub(super) fn config(&self, domain: Option<&str>) -> Arc<ServerConfig> {
        let Some(domain) = domain else {
            return self.config.clone();
        };
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver =
            Arc::new(Chooser { store: self.store.clone(), domain: Some(domain.to_owned()) });
        Arc::new(config)
    }
}

impl ClientTls {
    /// For connections to any peer.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] when the cryptographic library lacks what we need.
    pub fn new() -> Result<Self, TlsError> {
        Self::with_versions(ALL_VERSIONS)
    }

    /// As [`Self::new`], with only one version of TLS.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn only(version: TlsVersion) -> Result<Self, TlsError> {
        Self::with_versions(version.supported())
    }

    fn with_versions(versions: &[&'static SupportedProtocolVersion]) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anonymous = client_config(&provider, versions, None)?;
        Ok(Self {
            versions: versions.to_vec(),
            provider,
            anonymous,
            named: Mutex::default(),
            #[cfg(feature = "openssl-legacy")]
            legacy: Legacy::default(),
        })
    }

    #[cfg(feature = "openssl-legacy")]
    pub(super) fn legacy(&self) -> &Legacy {
        &self.legacy
    }

    /// The set-up for connections under that identity.
    pub(super) fn config(&self, identity: Option<&Arc<Identity>>) -> Result<Arc<ClientConfig>, TlsError> {
        let Some(identity) = identity else {
            return Ok(self.anonymous.clone());
        };
        let mut named = self.named.lock();
        // Compared as objects, not by content: an identity loaded anew gets sessions of its own.
        if let Some(known) =
            named.iter().find(|known| std::ptr::eq(known.identity.as_ptr(), Arc::as_ptr(identity)))
        {
            return Ok(known.config.clone());
        }
        // Identities that were replaced take their sessions with them.
        named.retain(|known| known.identity.strong_count() > 0);
        let config = client_config(&self.provider, &self.versions, Some(identity))?;
        named.push(Named { identity: Arc::downgrade(identity), config: config.clone() });
        Ok(config)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("identities", &self.named.lock().len()).finish_non_exhaustive()
    }
}

impl TlsVersion {
    pub(super) fn from_rustls(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }

    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => TLS12,
            Self::Tls13 => TLS13,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

static TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// The set-up of one identity. The weak reference keeps its place in memory from being used by another identity.
struct Named {
    identity: Weak<Identity>,
    config: Arc<ClientConfig>,
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Arc<Identity>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(AcceptThenJudge { provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(TlsError::setup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some(identity) => {
            let resolver: Arc<dyn ResolvesClientCert> =
                Arc::new(SingleCertAndKey::from(identity.key().clone()));
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
