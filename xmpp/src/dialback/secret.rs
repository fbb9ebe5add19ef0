use std::fmt;

use compact_str::CompactString;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::jid::Domain;

/// What makes our dialback keys ours (XEP-0185). Every server that answers for our domains has to have the same one.
#[derive(Clone)]
pub struct DialbackSecret {
    /// DEC-20: the HMAC key is the hexadecimal *text* of the hash.
    hmac_key: [u8; 64],
}

impl DialbackSecret {
    /// From the configured secret, or from random bytes.
    pub fn new(secret: &[u8]) -> Self {
        let mut hmac_key = [0; 64];
        hex(&Sha256::digest(secret), &mut hmac_key);
        Self { hmac_key }
    }

    /// The key for a stream from `originating` to `receiving` whose responder gave it `stream_id` (DB-03).
    pub fn key(&self, receiving: &Domain, originating: &Domain, stream_id: &str) -> DialbackKey {
        let mut text = [0; 64];
        hex(&self.mac(receiving, originating, stream_id), &mut text);
        DialbackKey(CompactString::from_utf8_lossy(&text))
    }

    /// Whether `key` is ours for that stream. Takes the same time wherever a wrong key differs (DB-15).
    pub fn knows(
        &self,
        receiving: &Domain,
        originating: &Domain,
        stream_id: &str,
        key: &DialbackKey,
    ) -> bool {
        let mut text = [0; 64];
        hex(&self.mac(receiving, originating, stream_id), &mut text);
        text.as_slice().ct_eq(key.as_str().as_bytes()).into()
    }

    fn mac(&self, receiving: &Domain, originating: &Domain, stream_id: &str) -> [u8; 32] {
        // Keys of any length are taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.hmac_key) else { return [0; 32] };
        for piece in [receiving.as_str(), " ", originating.as_str(), " ", stream_id] {
            mac.update(piece.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

impl Drop for DialbackSecret {
    fn drop(&mut self) {
        self.hmac_key.zeroize();
    }
}

impl fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialbackSecret(…)")
    }
}

/// A dialback key: ours, which is hexadecimal, or a peer's, which may be any short text.
#[derive(Clone, PartialEq, Eq)]
pub struct DialbackKey(CompactString);

impl DialbackKey {
    /// Octets of the longest key that is taken from a peer (DB-15).
    pub const MAX: usize = 256;

    /// A peer's key, white space around it left out. `None` for none at all and for one that is too long.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        (!text.is_empty() && text.len() <= Self::MAX).then(|| Self(text.into()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who reads a log need not be able to answer for a stream that is being verified.
impl fmt::Debug for DialbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialbackKey({} octets)", self.0.len())
    }
}

fn hex(bytes: &[u8], out: &mut [u8; 64]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    for (byte, pair) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str, receiving: &str, originating: &str, id: &str) -> DialbackKey {
        let domain = |name| Domain::parse(name).unwrap();
        DialbackSecret::new(secret.as_bytes()).key(&domain(receiving), &domain(originating), id)
    }

    #[test]
    fn db_03_and_dec_20_tv_30_to_32_the_published_keys() {
        for (secret, receiving, originating, id, expected) in [
            (
                "s3cr3tf0rd14lb4ck",
                "xmpp.example.com",
                "example.org",
                "D60000229F",
                "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643",
            ),
            (
                "s3cr3tf0rd14lb4ck",
                "montague.example",
                "capulet.example",
                "D60000229F",
                "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3",
            ),
            (
                "d14lb4ck43v3r",
                "capulet.example",
                "montague.example",
                "417GAF25",
                "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d",
            ),
        ] {
            assert_eq!(key(secret, receiving, originating, id).as_str(), expected);
        }
    }

    #[test]
    fn db_09_a_key_is_known_for_its_own_stream_and_domains_only() {
        let domain = |name| Domain::parse(name).unwrap();
        let secret = DialbackSecret::new(b"secret");
        let key = secret.key(&domain("fabrikam.com"), &domain("contoso.com"), "id");
        for (receiving, originating, id, known) in [
            ("fabrikam.com", "contoso.com", "id", true),
            ("Fabrikam.com", "contoso.com", "id", true),
            ("fabrikam.com", "contoso.com", "id2", false),
            ("fabrikam.com", "sales.contoso.com", "id", false),
            ("it.fabrikam.com", "contoso.com", "id", false),
            ("contoso.com", "fabrikam.com", "id", false),
        ] {
            let answer = secret.knows(&domain(receiving), &domain(originating), id, &key);
            assert_eq!(answer, known, "{receiving} {originating} {id}");
        }
        let other = DialbackSecret::new(b"Secret");
        assert!(!other.knows(&domain("fabrikam.com"), &domain("contoso.com"), "id", &key));
        for (cut, wrong) in [(63, ""), (64, "0"), (63, "x")] {
            let wrong = DialbackKey::parse(&format!("{}{wrong}", &key.as_str()[..cut])).unwrap();
            assert!(!secret.knows(&domain("fabrikam.com"), &domain("contoso.com"), "id", &wrong));
        }
    }

    #[test]
    fn db_15_a_key_has_256_octets_at_most_and_one_at_least() {
        assert_eq!(DialbackKey::parse(&"k".repeat(256)).unwrap().as_str().len(), 256);
        assert_eq!(DialbackKey::parse(&"k".repeat(257)), None);
        assert_eq!(DialbackKey::parse(&"é".repeat(129)), None);
        assert_eq!(DialbackKey::parse(" \n "), None);
        assert_eq!(DialbackKey::parse("\n  key ").unwrap().as_str(), "key");
    }

    #[test]
    fn neither_secret_nor_key_shows_in_debug_output() {
        let secret = DialbackSecret::new(b"s3cr3t");
        assert_eq!(format!("{secret:?}"), "DialbackSecret(…)");
        let key = key("s3cr3t", "a.example", "b.example", "id");
        assert_eq!(format!("{key:?}"), "DialbackKey(64 octets)");
    }
}
