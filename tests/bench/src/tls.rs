//! TLS of generator, sink and relay: provider and versions as the gateway's.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::pki::ROOT;

/// One party's certificate, in both roles.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Tls {
    /// Reads a certificate of [`crate::pki`].
    pub(crate) fn load(folder: &Path, name: &str) -> Result<Self> {
        Self::load_with(folder, name, true)
    }

    /// The same for whole handshakes only: no session is resumed, and none is kept.
    pub(crate) fn load_without_resumption(folder: &Path, name: &str) -> Result<Self> {
        Self::load_with(folder, name, false)
    }

    fn load_with(folder: &Path, name: &str, resumption: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join(ROOT))?)?;
        let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem")))?];
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(ALL_VERSIONS)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(ALL_VERSIONS)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        if !resumption {
            client.resumption = Resumption::disabled();
            server.send_tls13_tickets = 0;
            server.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// TLS as client; the server must be `name`.
    pub(crate) async fn connect(&self, stream: TcpStream, name: &str) -> Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned())?;
        Ok(self.connector.connect(name, stream).await.context("TLS as client")?.into())
    }

    /// TLS as server.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        Ok(self.acceptor.accept(stream).await.context("TLS as server")?.into())
    }
}
