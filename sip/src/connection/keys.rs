//! What makes two messages belong to one transaction (RFC 3261 §17.1.3, §17.2.3), as one number.
//!
//! The numbers are 128-bit keyed hashes: the tables hold 16 bytes instead of strings, and a peer that
//! does not know the key can neither make two transactions collide nor fill one bucket of a table.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{HeaderName, Message, Method};

/// Names one transaction on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u128);

/// A table by [`Key`].
pub(super) type KeyMap<V> = HashMap<Key, V, BuildHasherDefault<Take>>;

/// Makes keys; holds the secret.
pub(super) struct Keys {
    hasher: SipHasher13,
}

/// A key that lacks only the method, so that a CANCEL can look for what it cancels.
pub(super) struct MethodlessKey(SipHasher13);

impl Keys {
    pub(super) fn new(secret: &[u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(secret) }
    }

    /// The key of the server transaction a request belongs to. `None`: the request lacks what a
    /// transaction is known by, so it cannot be one.
    pub(super) fn server(&self, request: &Message) -> Option<MethodlessKey> {
        let via = request.top_via().ok()?;
        let mut hasher = self.hasher;
        match via.transaction_branch() {
            Some(branch) => {
                hasher.write_u8(Domain::Server as u8);
                write(&mut hasher, branch);
                write(&mut hasher, via.sent_by());
            }
            // Not from an RFC 3261 client (Lync clients send no branch): what RFC 2543 went by.
            None => {
                hasher.write_u8(Domain::ServerOld as u8);
                write(&mut hasher, request.request_uri());
                write(&mut hasher, request.to_header().ok()?.tag().unwrap_or_default());
                write(&mut hasher, request.from_header().ok()?.tag().unwrap_or_default());
                write(&mut hasher, request.call_id().ok()?);
                hasher.write_u32(request.cseq().ok()?.number);
                write(&mut hasher, via.as_str());
            }
        }
        Some(MethodlessKey(hasher))
    }

    /// What merged copies of one request have in common (RFC 3261 §8.2.2.2). `None`: the request is
    /// inside a dialog, where there is nothing to merge. The request must have passed the check.
    pub(super) fn merged(&self, request: &Message) -> Option<Key> {
        if tag(request.header(HeaderName::To)?).is_some() {
            return None;
        }
        let mut hasher = self.hasher;
        hasher.write_u8(Domain::Merged as u8);
        write(&mut hasher, tag(request.header(HeaderName::From)?).unwrap_or_default());
        write(&mut hasher, request.header(HeaderName::CallId)?);
        // Blanks between number and method could differ only where somebody rewrote the field.
        write(&mut hasher, request.header(HeaderName::CSeq)?);
        Some(finish(&hasher))
    }

    /// A number for whoever needs one that others cannot guess.
    pub(super) fn seed(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(Domain::Seed as u8);
        finish(&hasher).0 as u64
    }

    /// The key of the client transaction a response belongs to, which must have passed the check.
    pub(super) fn response(&self, response: &Message) -> Option<Key> {
        let via = response.header(HeaderName::Via)?;
        let branch = match branch(via) {
            Some(branch) => branch,
            None => response.top_via().ok()?.branch()?,
        };
        Some(self.client(branch, response.method()))
    }

    /// The key of our own client transaction.
    pub(super) fn client(&self, branch: &str, method: Method<'_>) -> Key {
        let mut hasher = self.hasher;
        hasher.write_u8(Domain::Client as u8);
        write(&mut hasher, branch);
        write(&mut hasher, method.as_str());
        finish(&hasher)
    }
}

impl fmt::Debug for Keys {
    /// The state of the hasher is the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl MethodlessKey {
    pub(super) fn with(&self, method: Method<'_>) -> Key {
        let mut hasher = self.0;
        write(&mut hasher, method.as_str());
        finish(&hasher)
    }
}

/// The branch as we write it ourselves; anything unusual is left to the parser of Via.
fn branch(via: &str) -> Option<&str> {
    let (before, value) = via.split_once(BRANCH)?;
    let end = value.find([';', ',', ' ', '\t', '"']).unwrap_or(value.len());
    (!before.contains(['"', ','])).then(|| value.get(..end)).flatten()
}

const BRANCH: &str = ";branch=";

/// The tag of a From or To that has been checked, without reading the address again: parameters of the field
/// stand behind the last `>`, or behind the first `;` of an address without brackets.
fn tag(field: &str) -> Option<&str> {
    let params = field.get(memchr::memrchr(b'>', field.as_bytes()).map_or(0, |at| at + 1)..)?;
    params.split(';').skip(1).find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("tag").then(|| value.trim())
    })
}

/// Keeps the kinds of key apart within one secret.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Domain {
    Server,
    ServerOld,
    Merged,
    Client,
    Seed,
}

/// The terminator keeps ("ab", "c") and ("a", "bc") apart; it stands in no header value.
fn write(hasher: &mut SipHasher13, text: &str) {
    hasher.write(text.as_bytes());
    hasher.write_u8(0);
}

fn finish(hasher: &SipHasher13) -> Key {
    Key(hasher.finish128().into())
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

/// Takes the hash that a [`Key`] already is.
#[derive(Clone, Copy, Default)]
pub(super) struct Take(u64);

impl Hasher for Take {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_where_a_parser_finds_it() {
        for (field, expected) in [
            ("<sip:a@b>;tag=1", Some("1")),
            ("\"x>;tag=0\" <sip:a@b;tag=2>;q=1 ; Tag = 1", Some("1")),
            ("sip:a@b;tag=1", Some("1")),
            ("<sip:a@b;tag=2>", None),
            ("<sip:a@b>;stag=2", None),
            ("sip:a@b", None),
        ] {
            assert_eq!(tag(field), expected, "{field}");
            assert_eq!(crate::NameAddr::parse(field).unwrap().tag(), expected, "{field}");
        }
    }

    #[test]
    fn a_branch_is_found_where_a_parser_finds_it() {
        for (via, shortcut) in [
            ("SIP/2.0/TLS a;branch=z9hG4bK1", true),
            ("SIP/2.0/TLS a;branch=z9hG4bK1;received=::1", true),
            ("SIP/2.0/TLS a;rport;branch=z9hG4bK1 ;x", true),
            ("SIP/2.0/TLS a; branch = z9hG4bK1", false),
            ("SIP/2.0/TLS a;BRANCH=z9hG4bK1", false),
            ("SIP/2.0/TLS a;x=\";branch=z9hG4bK2\";branch=z9hG4bK1", false),
        ] {
            assert_eq!(branch(via), shortcut.then_some("z9hG4bK1"), "{via}");
            assert_eq!(crate::Via::parse(via).unwrap().branch(), Some("z9hG4bK1"), "{via}");
        }
    }
}
