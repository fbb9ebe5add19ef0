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
    versions: Versions,
}

/// The versions of TLS that a client offers, of those that we have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Versions {
    tls12: bool,
    tls13: bool,
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
                        let offer = Offer::of(&accepted, &bytes);
                        return Ok(Self { bytes, offer: Some(offer) });
                    }
                    Err(_) => return Ok(Self { bytes, offer: None }),
                }
            }
        }
    }
}

impl Offer {
    fn of(accepted: &Accepted, bytes: &[u8]) -> Self {
        let hello = accepted.client_hello();
        let (server_name, suites) = (hello.server_name().map(str::to_owned), hello.cipher_suites().to_vec());
        // rustls has read the same hello, so that this finds what it looks for.
        let versions = Versions::of(bytes).unwrap_or(Versions { tls12: true, tls13: true });
        Self { server_name, suites, versions }
    }

    /// Whether rustls has a suite in common with the client for this certificate of ours.
    pub(super) fn suits_rustls(&self, provider: &CryptoProvider, key: &CertifiedKey) -> bool {
        provider.cipher_suites.iter().filter(|ours| self.suites.contains(&ours.suite())).any(
            |ours| match ours {
                SupportedCipherSuite::Tls13(_) => self.versions.tls13,
                SupportedCipherSuite::Tls12(_) => {
                    self.versions.tls12 && ours.usable_for_signature_algorithm(key.key.algorithm())
                }
            },
        )
    }

    /// Whether it offers one of these, with TLS 1.2.
    pub(super) fn has_any(&self, suites: &[CipherSuite]) -> bool {
        self.versions.tls12 && suites.iter().any(|suite| self.suites.contains(suite))
    }
}

impl Versions {
    const TLS12: u16 = 0x0303;
    const TLS13: u16 = 0x0304;
    /// `supported_versions` (RFC 8446 §4.2.1).
    const EXTENSION: u16 = 43;

    /// Of the hello in these records, which may be cut anywhere. rustls does not say what it has read of them.
    fn of(records: &[u8]) -> Option<Self> {
        let hello = hello_in(records)?;
        let mut rest = Reader(&hello);
        let highest = rest.u16()?;
        let _random = rest.take(32)?;
        let session = rest.u8()?.into();
        let _session = rest.take(session)?;
        let suites = rest.u16()?.into();
        let _suites = rest.take(suites)?;
        let compression = rest.u8()?.into();
        let _compression = rest.take(compression)?;
        let extensions = rest.u16()?.into();
        let mut extensions = Reader(rest.take(extensions)?);
        while let Some(kind) = extensions.u16() {
            let length = extensions.u16()?.into();
            let mut content = Reader(extensions.take(length)?);
            if kind == Self::EXTENSION {
                let length = content.u8()?.into();
                let mut list = Reader(content.take(length)?);
                let offered: Vec<u16> = std::iter::from_fn(|| list.u16()).collect();
                let has = |version| offered.contains(&version);
                return Some(Self { tls12: has(Self::TLS12), tls13: has(Self::TLS13) });
            }
        }
        // Without it the old field says which is the highest, and that is never TLS 1.3.
        Some(Self { tls12: highest >= Self::TLS12, tls13: false })
    }
}

/// The ClientHello in these records, without its head.
fn hello_in(records: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = 4;
    let (mut rest, mut message) = (Reader(records), Vec::new());
    loop {
        let _kind_and_version = rest.take(3)?;
        let length = rest.u16()?.into();
        message.extend_from_slice(rest.take(length)?);
        if let [_kind, high, middle, low, hello @ ..] = &message[..]
            && let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low)
            && hello.len() >= length
        {
            message.truncate(HEAD + length);
            message.drain(..HEAD);
            return Some(message);
        }
    }
}

/// Reads numbers from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

    use super::*;
    use crate::tls::testing::Ca;

    const AES_GCM_13: u16 = 0x1301;
    const ECDHE_RSA_CBC: u16 = 0xc013;
    const ECDHE_ECDSA_GCM: u16 = 0xc02b;
    const CBC: [CipherSuite; 1] = [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA];

    fn with_length(content: &[u8], bytes: usize) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - bytes..], content].concat()
    }

    fn numbers(list: &[u16]) -> Vec<u8> {
        list.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// A hello in records of at most `cut` bytes.
    fn hello(suites: &[u16], versions: Option<&[u16]>, cut: usize) -> Vec<u8> {
        let extension = |kind: u16, content: &[u8]| [numbers(&[kind]), with_length(content, 2)].concat();
        let mut extensions = extension(13, &with_length(&numbers(&[0x0403, 0x0804, 0x0401]), 2));
        extensions.extend(extension(10, &with_length(&numbers(&[0x001d, 0x0017]), 2)));
        if let Some(versions) = versions {
            extensions.extend(extension(43, &with_length(&numbers(versions), 1)));
        }
        let body = [
            numbers(&[0x0303]),
            vec![7; 32],
            vec![0],
            with_length(&numbers(suites), 2),
            vec![1, 0],
            with_length(&extensions, 2),
        ]
        .concat();
        let message = [vec![1], with_length(&body, 3)].concat();
        message.chunks(cut).flat_map(|part| [vec![0x16, 3, 1], with_length(part, 2)].concat()).collect()
    }

    async fn offer(suites: &[u16], versions: Option<&[u16]>, cut: usize) -> Offer {
        let bytes = hello(suites, versions, cut);
        let read = Hello::read(&mut &bytes[..]).await.unwrap();
        assert_eq!(read.bytes, bytes);
        read.offer.expect("rustls can read it")
    }

    #[tokio::test]
    async fn a_suite_counts_only_with_a_version_that_has_it() {
        let (provider, ecdsa) = (default_provider(), Ca::new("Root").server(&["a.ex"]).identity());
        let both = [AES_GCM_13, ECDHE_RSA_CBC];
        for (versions, rustls, old) in [
            (Some(&[0x0304, 0x0303][..]), true, true),
            // It knows the suite of TLS 1.3, but does not want that version.
            (Some(&[0x0303][..]), false, true),
            (None, false, true),
            (Some(&[0x0304][..]), true, false),
            (Some(&[0x0302][..]), false, false),
        ] {
            for cut in [5, 16_000] {
                let offer = offer(&both, versions, cut).await;
                assert_eq!(offer.suits_rustls(&provider, ecdsa.key()), rustls, "{versions:04x?}");
                assert_eq!(offer.has_any(&CBC), old, "{versions:04x?}");
            }
        }
        let only_13 = offer(&[ECDHE_ECDSA_GCM], Some(&[0x0304]), 16_000).await;
        assert!(!only_13.suits_rustls(&provider, ecdsa.key()));
        let tls12 = offer(&[ECDHE_ECDSA_GCM], None, 16_000).await;
        assert!(tls12.suits_rustls(&provider, ecdsa.key()));
    }

    #[test]
    fn half_a_hello_says_nothing() {
        let whole = hello(&[AES_GCM_13], Some(&[0x0304]), 16_000);
        assert!(Versions::of(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(Versions::of(&whole[..length]), None, "{length}");
        }
    }
}
