//! The `id` of every stanza we send, and what it tells us when it comes back.
//!
//! An error or a ping answer may arrive minutes later, on another stream, even at another node. Nothing is remembered per
//! message; the id itself says which node sent what, and when. A keyed check over it and the two bare addresses
//! makes sure that the remote side cannot invent one, move it to another conversation, or change the time in it.
//!
//! Form: node label, kind and sequence, send time, check, for example `n1.m2k.1jf0q8c3f.7h2ncm6d8kq0x4vz`. The numbers are
//! base32 (Crockford's alphabet in lower case), so nothing in an id ever needs escaping in XML.

use std::fmt::{self, Write as _};
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
/// Digits that stand for a pair: 60 bits.
const PAIR_DIGITS: usize = 12;
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
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// An instant message of a contact: for logs only, no stanza has such an id.
    Received,
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Message => b'm',
            Self::Presence => b'p',
            Self::Ping => b'i',
            Self::Query => b'q',
            Self::Received => b'c',
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

/// An id without its check, by which everything about one message is found in a log: `n1.m2k.1jf0q8c3f`. The id of a stanza
/// begins with it, here and at the partner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stem<'a> {
    /// The node's label.
    pub label: &'a str,
    pub kind: Kind,
    /// The node's running number.
    pub sequence: u64,
    /// When it came, in milliseconds of Unix time.
    pub at_ms: u64,
}

impl<'a> From<&'a StanzaId> for Stem<'a> {
    fn from(id: &'a StanzaId) -> Self {
        Self { label: &id.label, kind: id.kind, sequence: id.sequence, at_ms: millis(id.sent) }
    }
}

impl fmt::Display for Stem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.label, char::from(self.kind.letter()))?;
        show_number(f, self.sequence)?;
        f.write_char('.')?;
        show_number(f, self.at_ms)
    }
}

/// What stands in a log for the two of a pair: for their subscriptions and sessions, in all processes of a node. Whoever has not
/// the key cannot tell who they are. Worked out when it is shown.
#[derive(Clone, Copy, Debug)]
pub struct PairId<'a> {
    pub key: &'a Key,
    pub sip_user: &'a str,
    pub contact: &'a str,
}

impl fmt::Display for PairId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No id begins so: the check of none can be read here.
        let digits = check(self.key, b"pair", self.sip_user, self.contact);
        f.write_str("pair.")?;
        digits.iter().take(PAIR_DIGITS).try_for_each(|digit| f.write_char(char::from(*digit)))
    }
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

fn digits(number: u64) -> impl Iterator<Item = u8> {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(5).max(1);
    (0..digits).rev().map(move |place| base32_digit(number >> (5 * place)))
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend(digits(number));
}

fn show_number(f: &mut fmt::Formatter<'_>, number: u64) -> fmt::Result {
    digits(number).try_for_each(|digit| f.write_char(char::from(digit)))
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
    fn a_stem_is_what_the_id_begins_with_and_what_a_read_one_says() {
        let id = minted(Kind::Message, 41, 1_795_000_000_123);
        let stem = Stem { label: "n1", kind: Kind::Message, sequence: 41, at_ms: 1_795_000_000_123 };
        assert_eq!(id.rsplit_once('.').unwrap().0, stem.to_string());
        assert_eq!(Stem::from(&verify(&key(), &id, FROM, TO).unwrap()), stem);
    }

    #[test]
    fn what_is_for_logs_only_is_no_id_of_a_stanza() {
        let id = minted(Kind::Received, 41, 1_795_000_000_123);
        assert_eq!(verify(&key(), &id, FROM, TO), Err(IdError::Foreign));
    }

    #[test]
    fn a_pair_stands_under_the_same_id_as_long_as_the_key_is_the_same() {
        let (key, other) = (Key::new([1; 16]), Key::new([2; 16]));
        let id = |key, contact| PairId { key, sip_user: FROM, contact }.to_string();
        assert_eq!(id(&key, TO), id(&key, TO));
        assert_ne!(id(&key, TO), id(&key, "nurse@fabrikam.com"));
        assert_ne!(id(&key, TO), id(&other, TO));
        assert_eq!(id(&key, TO).len(), "pair.".len() + PAIR_DIGITS);
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
