//! Why TLS failed, in words.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::printable;

/// A handshake that failed, or a connection that broke later. The text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer closed the connection in the middle of the handshake, or later without ending TLS.
    #[error("the peer closed the connection in the middle of TLS, without saying why")]
    Closed,
    /// The connection below failed.
    #[error("the connection failed during TLS: {0}")]
    Io(io::Error),
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS here: it sent plain text (or another protocol)")]
    NotTls,
    /// The peer ended TLS with an alert.
    #[error("the peer ended TLS with the alert “{alert}”: {meaning}")]
    Alert {
        /// The alert by its name in RFC 8446.
        alert: String,
        /// What it means for us.
        meaning: &'static str,
    },
    /// There is no cipher suite that both sides know.
    #[error("the peer and we have no common cipher suite ({0})")]
    NoCommonSuite(&'static str),
    /// There is no version, group or signature scheme that both sides know.
    #[error("the peer and we have no common {0}")]
    NothingInCommon(&'static str),
    /// The peer's certificate cannot be used for TLS at all.
    #[error("the peer's certificate cannot be used: {0}")]
    Certificate(&'static str),
    /// The peer does not hold the key of the certificate that it presented.
    #[error("the peer did not prove that it holds the key of its certificate (bad signature)")]
    BadSignature,
    /// The peer broke the TLS protocol.
    #[error("the peer broke the TLS protocol: {0}")]
    Protocol(String),
    /// The name of the server is none.
    #[error("“{0}” is neither a host name nor an IP address")]
    ServerName(String),
    /// Our own set-up failed.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl TlsError {
    /// Whether the reason why a server and we cannot agree may be that it has no cipher suite of ours. It need not say so: it
    /// sends the alert for everything that does not fit, or just drops the connection.
    pub fn suggests_old_suites(&self) -> bool {
        match self {
            Self::NoCommonSuite(_) | Self::Closed => true,
            Self::Alert { alert, .. } => alert == "handshake_failure",
            Self::Io(error) => error.kind() == io::ErrorKind::ConnectionReset,
            _ => false,
        }
    }

    pub(super) fn setup(error: Error) -> Self {
        Self::Setup(error.to_string())
    }

    pub(super) fn alert(alert: AlertDescription) -> Self {
        Self::Alert { alert: alert_name(alert), meaning: alert_meaning(alert) }
    }
}

impl From<io::Error> for TlsError {
    /// The error of a handshake, or of reading or writing afterwards.
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return Self::from(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Error::PeerIncompatible(what) => incompatible(what),
            Error::InvalidCertificate(what) => bad_certificate(what),
            Error::PeerMisbehaved(what) => Self::Protocol(printable(&format!("{what:?}"))),
            Error::General(_) | Error::InconsistentKeys(_) => Self::setup(error.clone()),
            other => Self::Protocol(printable(&other.to_string())),
        }
    }
}

fn incompatible(what: &PeerIncompatible) -> TlsError {
    use PeerIncompatible::*;
    if *what == NoCipherSuitesInCommon {
        return TlsError::NoCommonSuite("ours use ECDHE with AES-GCM or ChaCha20-Poly1305");
    }
    TlsError::NothingInCommon(match what {
        NoKxGroupsInCommon | NamedGroupsExtensionRequired | NoEcPointFormatsInCommon => {
            "key exchange group (ours are X25519, P-256 and P-384)"
        }
        NoSignatureSchemesInCommon
        | NoCertificateRequestSignatureSchemesInCommon
        | SignatureAlgorithmsExtensionRequired => "signature scheme for the certificates in use",
        ServerDoesNotSupportTls12Or13
        | ServerTlsVersionIsDisabledByOurConfig
        | SupportedVersionsExtensionRequired
        | Tls12NotOffered
        | Tls12NotOfferedOrEnabled => "version of TLS (ours are 1.2 and 1.3)",
        _ => "way of doing TLS (a feature that we require is missing)",
    })
}

fn bad_certificate(what: &CertificateError) -> TlsError {
    match what {
        CertificateError::BadSignature => TlsError::BadSignature,
        CertificateError::BadEncoding => TlsError::Certificate("it is not a well-formed X.509 certificate"),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            TlsError::Certificate("the algorithm of its key is not accepted")
        }
        CertificateError::Other(other)
            if other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::UnsupportedCertVersion) =>
        {
            TlsError::Certificate(
                "it is an X.509 version 1 or 2 certificate; only version 3 is accepted: have it issued anew",
            )
        }
        _ => TlsError::Certificate("it is not acceptable for TLS"),
    }
}

/// The name as RFC 8446 writes it: `UnknownCA` becomes `unknown_ca`.
fn alert_name(alert: AlertDescription) -> String {
    if alert == AlertDescription::UnrecognisedName {
        return "unrecognized_name".to_owned();
    }
    let mut name = String::new();
    let mut after_lower = false;
    for c in format!("{alert:?}").chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase();
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn alert_meaning(alert: AlertDescription) -> &'static str {
    use AlertDescription as A;
    match alert {
        A::AccessDenied => "our certificate is good, but it does not let us in",
        A::BadCertificate | A::CertificateUnknown => "it does not accept our certificate",
        A::UnsupportedCertificate => {
            "it cannot use our certificate (often: its key usage is not for TLS clients)"
        }
        A::CertificateExpired => "our certificate has expired, or its clock is wrong",
        A::CertificateRevoked => "our certificate is revoked",
        A::CertificateRequired => "it wants a certificate from us",
        A::UnknownCA => {
            "it does not know the issuer of our certificate; is the chain complete, the root trusted there?"
        }
        A::UnrecognisedName => "it does not serve the name that we asked for",
        A::HandshakeFailure => "it found no acceptable parameters, or wants a certificate from us",
        A::InsufficientSecurity => "it wants stronger cryptography than we offered",
        A::ProtocolVersion => "it knows neither TLS 1.2 nor TLS 1.3",
        A::DecryptError => "a signature or checksum of ours did not verify there",
        A::InternalError => "it had an error of its own",
        A::UserCanceled => "it was stopped",
        A::CloseNotify => "it closed TLS",
        _ => "it did not accept what we sent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_rfc() {
        for (alert, name) in [
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
            (AlertDescription::UnrecognisedName, "unrecognized_name"),
            (AlertDescription::CertificateRequired, "certificate_required"),
            (AlertDescription::BadRecordMac, "bad_record_mac"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }

    #[test]
    fn errors_below_tls_stay_what_they_are() {
        let reset = TlsError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(matches!(reset, TlsError::Io(ref error) if error.kind() == io::ErrorKind::ConnectionReset));
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe] {
            assert!(matches!(TlsError::from(io::Error::from(kind)), TlsError::Closed));
        }
    }
}
