//! TLS by OpenSSL, for front ends that share no cipher suite with rustls.
//!
//! Windows Server 2012 and 2012 R2, on which Lync Server 2013 runs, offer for RSA certificates only suites with CBC
//! beside forward secrecy. Nothing else of rustls' rules is given up: TLS 1.2, forward secrecy, certificates taken first
//! and judged afterwards, signatures without SHA-1. There is no renegotiation and no compression, and no session is resumed:
//! what was agreed under an earlier certificate ends with its connection.

use std::pin::Pin;
use std::sync::{Arc, Weak};

use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;
use tokio_rustls::rustls::CipherSuite;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::handshake::broken_off;
use super::{Backend, Gathering, Identity, PeerFacts, TlsError, TlsStream, TlsVersion};

pub(super) use stream::LegacyStream;
pub(super) use words::ssl_error;

mod stream;
#[cfg(test)]
mod tests;
mod words;

/// The suites for which OpenSSL is there, by OpenSSL's names; those with authenticated encryption come first. No
/// key exchange by RSA: without forward secrecy a stolen key opens all that was ever recorded.
const SUITES: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
                      ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                      ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA";

/// Those of them that rustls does not have.
pub(super) const CBC_SUITES: [CipherSuite; 4] = [
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
];

/// Those of rustls, as far as TLS 1.2 has them. Never SHA-1.
const SIGNATURES: &str = "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:\
                          rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";

/// As rustls has them.
const GROUPS: &str = "X25519:P-256:P-384";

/// OpenSSL's own floor: 112 bits, RSA of 2048.
const SECURITY_LEVEL: u32 = 2;
/// The same floor for the key of a peer's certificate, as rustls has it.
const LEAST_RSA_BITS: u32 = 2048;

/// The private key of an identity as OpenSSL holds it.
pub(super) type LegacyKey = PKey<Private>;

/// Reads a key, PKCS #8, PKCS #1 or SEC 1. `None`: OpenSSL cannot use it; rustls may.
pub(super) fn key(der: &[u8]) -> Option<LegacyKey> {
    PKey::private_key_from_der(der).ok()
}

/// The set-ups of OpenSSL, one for each identity in use, for both roles.
#[derive(Default)]
pub(super) struct Legacy {
    contexts: Mutex<Vec<(Weak<Identity>, SslContext)>>,
}

impl Legacy {
    /// The handshake of a connection that a peer opened.
    pub(super) async fn accept<S>(
        &self,
        stream: Gathering<S>,
        identity: &Arc<Identity>,
        server_name: Option<String>,
    ) -> Result<(TlsStream<S>, PeerFacts), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = SslStream::new(self.ssl(identity)?, stream.endless()).map_err(setup)?;
        match Pin::new(&mut stream).accept().await {
            Ok(()) => finished(stream, server_name),
            Err(error) => Err(broken_off(stream.get_mut(), ssl_error(error)).await),
        }
    }

    /// The handshake of a connection that we opened. A `server_name` goes out as SNI.
    pub(super) async fn connect<S>(
        &self,
        stream: Gathering<S>,
        identity: &Arc<Identity>,
        server_name: Option<String>,
    ) -> Result<(TlsStream<S>, PeerFacts), TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut ssl = self.ssl(identity)?;
        if let Some(name) = &server_name {
            ssl.set_hostname(name).map_err(setup)?;
        }
        let mut stream = SslStream::new(ssl, stream.endless()).map_err(setup)?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => finished(stream, server_name),
            Err(error) => Err(broken_off(stream.get_mut(), ssl_error(error)).await),
        }
    }

    fn ssl(&self, identity: &Arc<Identity>) -> Result<Ssl, TlsError> {
        let context = self.context(identity)?;
        Ssl::new(&context).map_err(setup)
    }

    fn context(&self, identity: &Arc<Identity>) -> Result<SslContext, TlsError> {
        let mut contexts = self.contexts.lock();
        // Compared as objects, as the set-ups of rustls are.
        if let Some((_, context)) =
            contexts.iter().find(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(identity)))
        {
            return Ok(context.clone());
        }
        contexts.retain(|(of, _)| of.strong_count() > 0);
        let context = set_up(identity)?.build();
        contexts.push((Arc::downgrade(identity), context.clone()));
        Ok(context)
    }
}

impl std::fmt::Debug for Legacy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Legacy").field("identities", &self.contexts.lock().len()).finish()
    }
}

/// Everything is said here: what the system's configuration of OpenSSL says counts for other programs.
fn set_up(identity: &Identity) -> Result<SslContextBuilder, TlsError> {
    let unusable = || TlsError::Setup("OpenSSL cannot use the private key of our certificate".to_owned());
    let key = identity.legacy_key().ok_or_else(unusable)?;
    let mut chain = identity.chain().iter().map(|der| X509::from_der(der).map_err(setup));
    let mut context = SslContext::builder(SslMethod::tls()).map_err(setup)?;
    let only = Some(SslVersion::TLS1_2);
    context.set_min_proto_version(only).map_err(setup)?;
    context.set_max_proto_version(only).map_err(setup)?;
    context.set_security_level(SECURITY_LEVEL);
    context.set_cipher_list(SUITES).map_err(setup)?;
    context.set_sigalgs_list(SIGNATURES).map_err(setup)?;
    context.set_groups_list(GROUPS).map_err(setup)?;
    // What the system's configuration has turned on or off of these as well.
    let of_the_system = context.options();
    context.clear_options(of_the_system);
    context.set_options(
        SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_TICKET
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_session_id_context(b"nuncio").map_err(setup)?;
    context.set_mode(
        // A write that could not go out is tried again with what the driver has then.
        SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::AUTO_RETRY
            | SslMode::RELEASE_BUFFERS,
    );
    // Asked for, not insisted on, and judged after the handshake, as with rustls. That the peer holds the key is checked.
    context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    if let Some(own) = chain.next().transpose()? {
        context.set_certificate(&own).map_err(setup)?;
    }
    for issuer in chain {
        context.add_extra_chain_cert(issuer?).map_err(setup)?;
    }
    context.set_private_key(key).map_err(setup)?;
    Ok(context)
}

fn finished<S>(
    mut stream: SslStream<Gathering<S>>,
    server_name: Option<String>,
) -> Result<(TlsStream<S>, PeerFacts), TlsError> {
    stream.get_mut().pass_on();
    let ssl = stream.ssl();
    let unfinished = || TlsError::Setup("the handshake is not finished".to_owned());
    let suite = ssl.current_cipher().ok_or_else(unfinished)?.standard_name().unwrap_or("unknown");
    let facts =
        PeerFacts::new(Backend::OpensslLegacy, TlsVersion::Tls12, suite, false, server_name, chain(ssl)?);
    Ok((TlsStream::legacy(LegacyStream::new(stream)), facts))
}

/// The peer's chain as sent.
fn chain(ssl: &SslRef) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let Some(own) = ssl.peer_certificate() else {
        return Ok(Vec::new());
    };
    // That every certificate passes the handshake lifts OpenSSL's own floor for its key, too.
    let short = |key: &PKeyRef<Public>| key.rsa().is_ok_and(|_| key.bits() < LEAST_RSA_BITS);
    if own.public_key().is_ok_and(|key| short(&key)) {
        return Err(TlsError::Certificate("its RSA key is shorter than 2048 bits"));
    }
    let mut chain = vec![CertificateDer::from(own.to_der().map_err(setup)?)];
    // Of a server it has the server's own as well, of a client it does not.
    let skipped = usize::from(!ssl.is_server());
    for issuer in ssl.peer_cert_chain().into_iter().flatten().skip(skipped) {
        chain.push(CertificateDer::from(issuer.to_der().map_err(setup)?));
    }
    Ok(chain)
}

fn setup(errors: openssl::error::ErrorStack) -> TlsError {
    TlsError::Setup(super::printable(&format!("OpenSSL: {errors}")))
}
