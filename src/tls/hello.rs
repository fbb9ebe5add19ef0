//! What a client offers, read before it is known which library will answer.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::{Accepted, Acceptor};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CipherSuite, SupportedCipherSuite};

/// Bytes read at a time; nearly every hello is shorter.
const READ: usize = 4096;

/// What a client began with.
pub(super) struct Hello {
    /// All that was read: whoever does the handshake has to begin with it.
    pub(super) bytes: Vec<u8>,
    /// `None`: it is no hello of TLS that could be read; rustls will say why.
    pub(super) offer: Option<Offer>,
}

/// What a ClientHello offers, as far as the choice of the library depends on it.
pub(super) struct Offer {
    pub(super) server_name: Option<String>,
    suites: Vec<CipherSuite>,
}

impl Hello {
    /// Reads from the client until its hello is whole. Its size is bounded by rustls.
    ///
    /// # Errors
    ///
    /// Those of the connection; its end is none.
    pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Self> {
        let (mut acceptor, mut bytes) = (Acceptor::default(), Vec::new());
        loop {
            let known = bytes.len();
            bytes.reserve(READ);
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(Self { bytes, offer: None });
            }
            let mut new = bytes.get(known..).unwrap_or_default();
            while !new.is_empty() {
                let accepted = match acceptor.read_tls(&mut new) {
                    Ok(1..) => acceptor.accept(),
                    Ok(0) | Err(_) => return Ok(Self { bytes, offer: None }),
                };
                match accepted {
                    Ok(None) => {}
                    Ok(Some(accepted)) => {
                        return Ok(Self { bytes, offer: Some(Offer::of(&accepted)) });
                    }
                    Err(_) => return Ok(Self { bytes, offer: None }),
                }
            }
        }
    }
}

impl Offer {
    fn of(accepted: &Accepted) -> Self {
        let hello = accepted.client_hello();
        Self { server_name: hello.server_name().map(str::to_owned), suites: hello.cipher_suites().to_vec() }
    }

    /// Whether rustls has a suite in common with the client for this certificate of ours.
    pub(super) fn suits_rustls(&self, provider: &CryptoProvider, key: &CertifiedKey) -> bool {
        provider.cipher_suites.iter().filter(|ours| self.suites.contains(&ours.suite())).any(
            |ours| match ours {
                SupportedCipherSuite::Tls13(_) => true,
                SupportedCipherSuite::Tls12(_) => ours.usable_for_signature_algorithm(key.key.algorithm()),
            },
        )
    }

    /// Whether it offers one of these.
    pub(super) fn has_any(&self, suites: &[CipherSuite]) -> bool {
        suites.iter().any(|suite| self.suites.contains(suite))
    }
}
