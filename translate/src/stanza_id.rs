//! The `id` of every stanza we send, and what it tells us when it comes back.
//!
//! An error or a ping answer may arrive minutes later, on another stream, even at another node. Nothing is remembered per
//! message; the id itself says which node sent what, and when. A keyed check over it and the two bare addresses
//! makes sure that the remote side cannot invent one, move it to another conversation, or change the time in it.
//!
//! Form: node label, kind and sequence, send time, check, for example `n1.m2k.1jf0q8c3f.7h2ncm6d8kq0x4vz`. The numbers are
//! base32 (Crockford's alphabet in lower case), so nothing in an id ever needs escaping in XML.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compact_str::CompactString;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Longest node label, as the configuration allows it.
pub const LABEL_MAX: usize = 16;
/// Longest id [`mint`] can produce, in octets.
pub const ID_MAX: usize = LABEL_MAX + 1 + 1 + 13 + 1 + 13 + 1 + CHECK_LEN;

/// Base32 digits of the check: 80 bits of a 128-bit SipHash-2-4. Guessing happens online and every miss is counted.
const CHECK_LEN: usize = 16;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The secret behind the check. One per deployment: every node of it must be able to verify.
#[derive(Clone)]
pub struct Key([u8; 16]);

impl Key {
    /// Makes a key from 128 random bits.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// Never shows the secret.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What kind of stanza an id was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An instant message of a SIP user.
    Message,
    /// A presence notification or subscription stanza.
    Presence,
    /// A XEP-0199 ping that confirms what was sent before it.
    Ping,
    /// Any other request of our own.
    Query,
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Message => b'm',
            Self::Presence => b'p',
            Self::Ping => b'i',
            Self::Query => b'q',
        }
    }

    const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'm' => Some(Self::Message),
            b'p' => Some(Self::Presence),
            b'i' => Some(Self::Ping),
            b'q' => Some(Self::Query),
            _ => None,
        }
    }
}

/// What a verified id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StanzaId {
    /// The node that sent the stanza.
    pub label: CompactString,
    /// What it was.
    pub kind: Kind,
    /// The node's running number.
    pub sequence: u64,
    /// When it was sent, to the millisecond.
    pub sent: SystemTime,
}

/// Why an id is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It does not have our form. Probably the other side's own id: harmless.
    #[error("the id was not made by this gateway")]
    Foreign,
    /// It has our form but the check fails: forged, altered, or returned for two other addresses.
    #[error("the id fails its keyed check for these two addresses")]
    Forged,
}

/// Appends a fresh id to `out`.
///
/// `label` is the node's (1–16 of `a`–`z`, `0`–`9`), `from` and `to` the bare addresses the stanza carries, exactly as
/// written on the wire. Times before 1970 count as 1970.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different thing the check covers, and a struct would only rename them"
)]
pub fn mint(
    key: &Key,
    label: &str,
    kind: Kind,
    sequence: u64,
    sent: SystemTime,
    from: &str,
    to: &str,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(&[b'.', kind.letter()]);
    push_number(out, sequence);
    out.push(b'.');
    push_number(out, millis(sent));
    let check = check(key, out.get(start..).unwrap_or_default(), from, to);
    out.push(b'.');
    out.extend_from_slice(&check);
}

/// Reads an id that came back in a stanza between the same two bare addresses: `from` and `to` are those of the stanza
/// *we* sent, so a caller that holds an answer swaps them.
pub fn verify(key: &Key, id: &str, from: &str, to: &str) -> Result<StanzaId, IdError> {
    if id.len() > ID_MAX {
        return Err(IdError::Foreign);
    }
    let (signed, given) = id.rsplit_once('.').ok_or(IdError::Foreign)?;
    let parsed = parse(signed).ok_or(IdError::Foreign)?;
    if given.len() != CHECK_LEN {
        return Err(IdError::Foreign);
    }
    // The text is what is signed, not the numbers: no second spelling of an id verifies.
    let expected = check(key, signed.as_bytes(), from, to);
    let difference = expected.iter().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    if std::hint::black_box(difference) == 0 { Ok(parsed) } else { Err(IdError::Forged) }
}

fn parse(signed: &str) -> Option<StanzaId> {
    let mut parts = signed.split('.');
    let (label, middle, time) = (parts.next()?, parts.next()?, parts.next()?);
    let label_ok = (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if parts.next().is_some() || !label_ok {
        return None;
    }
    let (kind, sequence) = middle.split_at_checked(1)?;
    let sent = UNIX_EPOCH.checked_add(Duration::from_millis(read_number(time)?))?;
    Some(StanzaId {
        label: CompactString::from(label),
        kind: Kind::from_letter(kind.bytes().next()?)?,
        sequence: read_number(sequence)?,
        sent,
    })
}

fn check(key: &Key, signed: &[u8], from: &str, to: &str) -> [u8; CHECK_LEN] {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    for part in [signed, from.as_bytes(), to.as_bytes()] {
        hasher.write(part);
        // No address and no id holds a NUL, so the three parts cannot run into each other.
        hasher.write(&[0]);
    }
    let hash = u128::from(hasher.finish128());
    let mut text = [0; CHECK_LEN];
    for (place, digit) in text.iter_mut().enumerate() {
        *digit = base32_digit((hash >> (5 * place)) as u64);
    }
    text
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(5).max(1);
    out.extend((0..digits).rev().map(|place| base32_digit(number >> (5 * place))));
}

fn read_number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        number.checked_mul(32)?.checked_add(digit as u64)
    })
}

#[expect(clippy::indexing_slicing, reason = "five bits cannot exceed an alphabet of 32")]
const fn base32_digit(number: u64) -> u8 {
    ALPHABET[(number & 31) as usize]
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FROM: &str = "romeo@contoso.com";
    const TO: &str = "juliet@fabrikam.com";

    fn key() -> Key {
        Key::new(*b"sixteen byte key")
    }

    fn minted(kind: Kind, sequence: u64, ms: u64) -> String {
        let mut out = Vec::new();
        mint(&key(), "n1", kind, sequence, UNIX_EPOCH + Duration::from_millis(ms), FROM, TO, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_id_comes_back_with_all_it_said() {
        for kind in [Kind::Message, Kind::Presence, Kind::Ping, Kind::Query] {
            let id = minted(kind, 41, 1_795_000_000_123);
            let read = verify(&key(), &id, FROM, TO).unwrap();
            assert_eq!(read.label, "n1");
            assert_eq!((read.kind, read.sequence), (kind, 41));
            assert_eq!(read.sent, UNIX_EPOCH + Duration::from_millis(1_795_000_000_123));
        }
    }

    #[test]
    fn numbers_at_their_ends_survive() {
        for number in [0, 1, 31, 32, u64::MAX] {
            let id = minted(Kind::Message, number, 0);
            assert_eq!(verify(&key(), &id, FROM, TO).unwrap().sequence, number);
        }
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let id = minted(Kind::Message, 77_777, 1_795_000_000_123);
        for place in 0..id.len() {
            for replacement in (0x21..0x7f).map(|b: u8| b as char) {
                let mut altered: Vec<char> = id.chars().collect();
                if altered[place] == replacement {
                    continue;
                }
                altered[place] = replacement;
                let altered: String = altered.into_iter().collect();
                assert!(verify(&key(), &altered, FROM, TO).is_err(), "{altered}");
            }
        }
    }

    #[test]
    fn a_longer_spelling_of_the_same_numbers_is_noticed() {
        let id = minted(Kind::Message, 5, 9);
        assert!(id.starts_with("n1.m5.9."));
        assert_eq!(verify(&key(), &id.replacen("m5", "m05", 1), FROM, TO), Err(IdError::Forged));
    }

    #[test]
    fn other_addresses_and_other_keys_fail() {
        let id = minted(Kind::Message, 5, 9);
        assert_eq!(verify(&key(), &id, FROM, "nurse@fabrikam.com"), Err(IdError::Forged));
        assert_eq!(verify(&key(), &id, TO, FROM), Err(IdError::Forged));
        assert_eq!(verify(&key(), &id, "romeo@contoso.co", "mjuliet@fabrikam.com"), Err(IdError::Forged));
        assert_eq!(verify(&Key::new([0; 16]), &id, FROM, TO), Err(IdError::Forged));
    }

    #[test]
    fn other_peoples_ids_are_foreign() {
        for id in [
            "",
            "purple1a2b",
            "8d3b4f8e-5a52-4a4f-9d0e-3c1c6b9f2a11",
            "a.b.c",
            "a.b.c.d",
            "n1.m5.9.short",
            "....",
            "N1.m5.9.0000000000000000",
            "n1.z5.9.0000000000000000",
            "n1.m.9.0000000000000000",
            "n1.m5..0000000000000000",
            "n1.m5.9.9.0000000000000000",
            "abcdefghijklmnopq.m5.9.0000000000000000",
            "n1.mü.9.0000000000000000",
            "n1.m5.9.000000000000000ü",
        ] {
            assert_eq!(verify(&key(), id, FROM, TO), Err(IdError::Foreign), "{id}");
        }
    }

    #[test]
    fn the_key_is_never_shown() {
        assert_eq!(format!("{:?}", key()), "Key(…)");
    }

    proptest! {
        #[test]
        fn minted_ids_are_legal_attribute_text_and_within_their_bound(sequence: u64, ms in 0u64..1 << 45) {
            let id = minted(Kind::Ping, sequence, ms);
            prop_assert!(id.len() <= ID_MAX);
            prop_assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.'));
            prop_assert_eq!(verify(&key(), &id, FROM, TO).unwrap().sequence, sequence);
        }

        #[test]
        fn any_text_is_judged_without_trouble(id: String) {
            prop_assert!(verify(&key(), &id, FROM, TO).is_err());
        }
    }
}
