//! Handshakes, and the facts they leave.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, CommonState, HandshakeKind, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    Backend, CertificateError, ChainStatus, ClientTls, Gathering, Identity, PeerCertificate, Roots,
    ServerTls, TlsError, TlsStream, TlsVersion, judge_chain,
};
#[cfg(feature = "openssl-legacy")]
use super::{
    hello::Hello,
    legacy::{CBC_SUITES, Legacy},
};

#[cfg(test)]
mod tests;

/// What a finished handshake established, as plain data. Whether to believe it is decided later.
#[derive(Clone, Debug)]
pub struct PeerFacts {
    /// Who did the handshake.
    pub backend: Backend,
    /// The version of TLS.
    pub version: TlsVersion,
    /// The cipher suite by its name at IANA, or nearly so, for example `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: &'static str,
    /// Whether an earlier session was resumed. The chain is then the one of that session.
    pub resumed: bool,
    /// The server's name that the client asked for (SNI). On our own connections: the one we asked for.
    pub server_name: Option<String>,
    /// What the peer presented.
    pub presented: Presented,
    /// The peer's chain as sent, its own certificate first; empty if it presented none.
    pub chain: Vec<CertificateDer<'static>>,
}

/// The certificate that a peer presented.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presented {
    /// None: only clients can do that.
    Nothing,
    /// A certificate.
    Certificate(Box<PeerCertificate>),
    /// Something that cannot be read as one.
    Unreadable(CertificateError),
}

/// Does the handshake of a connection that a peer opened. The certificate shown is chosen by SNI. A peer that shares no
/// cipher suite with rustls is served by OpenSSL where the set-up allows it ([`ServerTls::also_by`]).
///
/// What the handshake ends with goes out with what is written next, or when the stream is flushed, read or shut down: the
/// caller is to do one of these. Bounding the time is the caller's part.
///
/// # Errors
///
/// In words that name the cause. With TLS 1.3 a client may finish its handshake before it learns that we refused its
/// certificate's signature, and the other way round: such errors then come out of the first read; give them to
/// [`TlsError::from`].
pub async fn accept<S>(stream: S, tls: &ServerTls) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[cfg(feature = "openssl-legacy")]
    if let Some(legacy) = tls.legacy() {
        return accept_by_either(stream, tls, legacy).await;
    }
    accept_by(Gathering::new(stream), tls.config(None)).await
}

/// As [`accept`], where the protocol has named the domain already (the stream header's `to`): its certificate is shown if
/// there is one, whatever SNI says.
///
/// # Errors
///
/// As [`accept`].
pub async fn accept_for<S>(
    stream: S,
    tls: &ServerTls,
    domain: &str,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_by(Gathering::new(stream), tls.config(Some(domain))).await
}

/// As [`accept`], for Direct TLS: a peer that says in the handshake which protocol follows must mean XMPP between servers.
/// It need not say so.
///
/// # Errors
///
/// As [`accept`].
pub async fn accept_direct<S>(stream: S, tls: &ServerTls) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_by(Gathering::new(stream), tls.direct_config()).await
}

/// Does the handshake of a connection that we opened. `server_name` goes out as SNI (an IP address does not); with an
/// `identity` we present its certificate when asked.
///
/// What the handshake ends with goes out as after [`accept`]. Bounding the time is the caller's part.
///
/// # Errors
///
/// As [`accept`].
pub async fn connect<S>(
    stream: S,
    tls: &ClientTls,
    server_name: &str,
    identity: Option<&Arc<Identity>>,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connect_with(stream, tls.config(identity)?, server_name).await
}

/// As [`connect`], by the library that is wanted for this peer.
///
/// # Errors
///
/// As [`accept`]; and when this build does not have the library.
pub async fn connect_by<S>(
    backend: Backend,
    stream: S,
    tls: &ClientTls,
    server_name: &str,
    identity: &Arc<Identity>,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match backend {
        Backend::Rustls => connect(stream, tls, server_name, Some(identity)).await,
        #[cfg(feature = "openssl-legacy")]
        Backend::OpensslLegacy => {
            let name = sent_name(&sni(server_name)?);
            tls.legacy().connect(Gathering::new(stream), identity, name).await
        }
        #[cfg(not(feature = "openssl-legacy"))]
        Backend::OpensslLegacy => Err(Backend::is_missing()),
    }
}

/// The protocol of XMPP servers in ALPN, where TLS begins with the first byte (XEP-0368 §5).
pub const XMPP_SERVER_ALPN: &[u8] = b"xmpp-server";

/// As [`connect`], for Direct TLS: says in the handshake that XMPP follows. A peer that knows nothing of it need not
/// confirm it.
///
/// # Errors
///
/// As [`accept`].
pub async fn connect_direct<S>(
    stream: S,
    tls: &ClientTls,
    server_name: &str,
    identity: Option<&Arc<Identity>>,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The copy shares the sessions to resume.
    let mut config = ClientConfig::clone(&*tls.config(identity)?);
    config.alpn_protocols = vec![XMPP_SERVER_ALPN.to_vec()];
    connect_with(stream, Arc::new(config), server_name).await
}

async fn connect_with<S>(
    stream: S,
    config: Arc<ClientConfig>,
    server_name: &str,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = sni(server_name)?;
    let sent = sent_name(&name);
    let connecting = TlsConnector::from(config).connect(name, Gathering::new(stream)).into_fallible();
    let mut stream = match connecting.await {
        Ok(stream) => stream,
        Err((error, mut stream)) => return Err(broken_off(&mut stream, error.into()).await),
    };
    stream.get_mut().0.pass_on();
    let facts = PeerFacts::from_connection(stream.get_ref().1, sent)?;
    Ok((TlsStream::rustls(stream), facts))
}

impl PeerFacts {
    /// Whether the peer's chain leads to one of these roots now.
    pub fn judge(&self, roots: &Roots, now: SystemTime) -> ChainStatus {
        judge_chain(&self.chain, roots, now)
    }

    /// The peer's certificate, if it presented one that can be read.
    pub fn certificate(&self) -> Option<&PeerCertificate> {
        match &self.presented {
            Presented::Certificate(certificate) => Some(certificate),
            Presented::Nothing | Presented::Unreadable(_) => None,
        }
    }

    fn from_connection(connection: &CommonState, server_name: Option<String>) -> Result<Self, TlsError> {
        let unfinished = || TlsError::Setup("the handshake is not finished".to_owned());
        let version =
            connection.protocol_version().and_then(TlsVersion::from_rustls).ok_or_else(unfinished)?;
        let suite = connection.negotiated_cipher_suite().ok_or_else(unfinished)?.suite();
        let chain: Vec<_> = connection
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let suite = suite.as_str().unwrap_or("unknown");
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Self::new(Backend::Rustls, version, suite, resumed, server_name, chain))
    }

    pub(super) fn new(
        backend: Backend,
        version: TlsVersion,
        cipher_suite: &'static str,
        resumed: bool,
        server_name: Option<String>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        let presented = match chain.first().map(|leaf| PeerCertificate::from_der(leaf)) {
            None => Presented::Nothing,
            Some(Ok(certificate)) => Presented::Certificate(Box::new(certificate)),
            Some(Err(error)) => Presented::Unreadable(error),
        };
        Self { backend, version, cipher_suite, resumed, server_name, presented, chain }
    }
}

/// By OpenSSL only if rustls cannot and OpenSSL can.
#[cfg(feature = "openssl-legacy")]
async fn accept_by_either<S>(
    mut stream: S,
    tls: &ServerTls,
    legacy: &Legacy,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Hello { bytes, offer } = Hello::read(&mut stream).await?;
    let stream = Gathering::after(stream, bytes);
    if let Some(offer) = offer {
        let identity = tls.identity(offer.server_name.as_deref());
        if !offer.suits_rustls(tls.provider(), identity.key()) && offer.has_any(&CBC_SUITES) {
            return legacy.accept(stream, &identity, offer.server_name).await;
        }
    }
    accept_by(stream, tls.config(None)).await
}

async fn accept_by<S>(
    stream: Gathering<S>,
    config: Arc<ServerConfig>,
) -> Result<(TlsStream<S>, PeerFacts), TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = TlsAcceptor::from(config).accept(stream).into_fallible();
    let mut stream = match accepting.await {
        Ok(stream) => stream,
        Err((error, mut stream)) => return Err(broken_off(&mut stream, error.into()).await),
    };
    stream.get_mut().0.pass_on();
    let connection = stream.get_ref().1;
    let facts = PeerFacts::from_connection(connection, connection.server_name().map(str::to_owned))?;
    Ok((TlsStream::rustls(stream), facts))
}

fn sni(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bad = || TlsError::ServerName(super::printable(name));
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    let ascii = idna::domain_to_ascii(name.strip_suffix('.').unwrap_or(name)).map_err(|_| bad())?;
    ServerName::try_from(ascii).map_err(|_| bad())
}

/// The name that goes out as SNI.
fn sent_name(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}

/// The peer learns from an alert why there is no stream, if it can still be reached.
pub(super) async fn broken_off<S: AsyncWrite + Unpin>(
    stream: &mut Gathering<S>,
    error: TlsError,
) -> TlsError {
    stream.pass_on();
    let _ = stream.flush().await;
    error
}
