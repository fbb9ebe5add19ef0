//! OpenSSL's errors as those of any other TLS.

use std::io;

use openssl::error::ErrorStack;
use openssl::ssl;
use tokio_rustls::rustls::AlertDescription;

use super::super::{TlsError, printable};

/// The number of OpenSSL's TLS library in its errors (`ERR_LIB_SSL`).
const LIBRARY: i32 = 20;
/// What is added to the number of an alert that the peer sent (`SSL_AD_REASON_OFFSET`).
const ALERTS: i32 = 1000;

/// Reasons, by their names in `openssl/sslerr.h`.
const BAD_SIGNATURE: i32 = 123;
const HTTP_REQUEST: i32 = 156;
const HTTPS_PROXY_REQUEST: i32 = 155;
const NO_SHARED_CIPHER: i32 = 193;
const NO_SHARED_GROUPS: i32 = 410;
const NO_SHARED_SIGNATURE_ALGORITHMS: i32 = 376;
const NO_SUITABLE_SIGNATURE_ALGORITHM: i32 = 118;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const VERSION_TOO_LOW: i32 = 396;
const WRONG_SIGNATURE_TYPE: i32 = 370;
const WRONG_VERSION_NUMBER: i32 = 267;

/// The error of a handshake, or of what follows.
pub(crate) fn ssl_error(error: ssl::Error) -> TlsError {
    match error.into_io_error() {
        Ok(error) => error.into(),
        Err(error) => match error.ssl_error() {
            Some(errors) => reason(errors),
            None => TlsError::Closed,
        },
    }
}

/// The error of reading or writing, such that [`TlsError::from`] finds its reason.
pub(super) fn io_error(error: io::Error) -> io::Error {
    let Some(ssl) = error.get_ref().and_then(|inner| inner.downcast_ref::<ssl::Error>()) else {
        return error;
    };
    match ssl.ssl_error() {
        Some(errors) => io::Error::other(reason(errors)),
        None => error,
    }
}

fn reason(errors: &ErrorStack) -> TlsError {
    // The first one says what happened, the others who passed it on.
    let Some(error) = errors.errors().iter().find(|error| error.library_code() == LIBRARY) else {
        return TlsError::Protocol(printable(&errors.to_string()));
    };
    match error.reason_code() {
        NO_SHARED_CIPHER => TlsError::NoCommonSuite(
            "ours use ECDHE with AES-GCM or, for this setting, AES-CBC where our certificate is an RSA one",
        ),
        NO_SHARED_GROUPS => {
            TlsError::NothingInCommon("key exchange group (ours are X25519, P-256 and P-384)")
        }
        NO_SHARED_SIGNATURE_ALGORITHMS | NO_SUITABLE_SIGNATURE_ALGORITHM | WRONG_SIGNATURE_TYPE => {
            TlsError::NothingInCommon(
                "signature scheme for the certificates in use (none of ours is with SHA-1)",
            )
        }
        UNSUPPORTED_PROTOCOL | VERSION_TOO_LOW => {
            TlsError::NothingInCommon("version of TLS (by OpenSSL ours is TLS 1.2 only)")
        }
        WRONG_VERSION_NUMBER | HTTP_REQUEST | HTTPS_PROXY_REQUEST => TlsError::NotTls,
        BAD_SIGNATURE => TlsError::BadSignature,
        code => match code.checked_sub(ALERTS).and_then(|alert| u8::try_from(alert).ok()) {
            Some(alert) => TlsError::alert(AlertDescription::from(alert)),
            None => TlsError::Protocol(printable(error.reason().unwrap_or("it gives no reason"))),
        },
    }
}
