//! Which library does TLS.

#[cfg(not(feature = "openssl-legacy"))]
use super::TlsError;

/// The library that does the handshake and what follows. It changes nothing about who is believed: chains, names,
/// revocation and our identities are the same for all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Backend {
    /// rustls: TLS 1.2 and 1.3, authenticated encryption only.
    #[default]
    Rustls,
    /// OpenSSL, TLS 1.2 only: for peers so old that with an RSA certificate they know no suites but those of CBC.
    OpensslLegacy,
}

impl Backend {
    /// Whether this build has it.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Rustls => true,
            Self::OpensslLegacy => cfg!(feature = "openssl-legacy"),
        }
    }

    #[cfg(not(feature = "openssl-legacy"))]
    pub(super) fn is_missing() -> TlsError {
        TlsError::Setup(
            "this build has no OpenSSL; build it with the cargo feature “openssl-legacy”".to_owned(),
        )
    }
}
