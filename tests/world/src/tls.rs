//! TLS for the world's own peers: strict towards the gateway, free in what they present.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::pki::{Credential, Pki};
use crate::wait::within;

/// Starts TLS as a client, presenting the credential; the server must prove to be `name`.
pub async fn connect(
    pki: &Pki,
    presents: Option<&Credential>,
    name: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    connect_for(pki, presents, name, &[], tcp).await
}

/// The same, naming these protocols (ALPN).
pub async fn connect_for(
    pki: &Pki,
    presents: Option<&Credential>,
    name: &str,
    protocols: &[&str],
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(pki)?);
    let mut config = match presents {
        Some(credential) => {
            builder.with_client_auth_cert(vec![credential.certificate.clone()], credential.key())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned())?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = within("a TLS handshake", connector.connect(name, tcp))
        .await?
        .context("the TLS handshake as a client failed")?;
    Ok(stream.into())
}

/// Connects and starts TLS as a client.
pub async fn dial(
    pki: &Pki,
    presents: Option<&Credential>,
    name: &str,
    address: SocketAddr,
) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    // Else an answer may wait 40 ms for the acknowledgement of what was said before.
    tcp.set_nodelay(true)?;
    connect(pki, presents, name, tcp).await
}

/// Accepts TLS as a server with the credential. The client must present a certificate that its root vouches for.
pub fn acceptor(pki: &Pki, presents: &Credential) -> Result<TlsAcceptor> {
    acceptor_for(pki, presents, &[])
}

/// The same for some protocols (ALPN); none: whatever the client wants.
pub fn acceptor_for(pki: &Pki, presents: &Credential, protocols: &[&str]) -> Result<TlsAcceptor> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pki)?), Arc::clone(&provider)).build()?;
    // TLS 1.2 is left on: old front ends have nothing newer.
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![presents.certificate.clone()], presents.key())?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate that the other side presented.
pub fn presented(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.clone().into_owned())
}

fn roots(pki: &Pki) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(pki.root())?;
    Ok(roots)
}
