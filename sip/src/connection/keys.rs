//! What makes two messages belong to one transaction (RFC 3261 §17.1.3, §17.2.3), as one number.
//!
//! The numbers are 128-bit keyed hashes: the tables hold 16 bytes instead of strings, and a peer that
//! does not know the key can neither make two transactions collide nor fill one bucket of a table.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::{Message, Method, Via};

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
    pub(super) fn server(&self, request: &Message, via: &Via<'_>) -> Option<MethodlessKey> {
        self.server_to(request, via, None)
    }

    /// The key of the INVITE that began a dialog, for an ACK that goes by the rules of RFC 2543: it carries the tag that
    /// the INVITE could not have.
    pub(super) fn acknowledged_by_older_rules(&self, ack: &Message, via: &Via<'_>) -> Option<Key> {
        let by_branch = via.transaction_branch().is_some();
        (!by_branch).then(|| self.server_to(ack, via, Some("")))?.map(|key| key.with(Method::Invite))
    }

    fn server_to(&self, request: &Message, via: &Via<'_>, to_tag: Option<&str>) -> Option<MethodlessKey> {
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
                let own_tag = request.to_header().ok()?.tag().unwrap_or_default();
                write(&mut hasher, to_tag.unwrap_or(own_tag));
                write(&mut hasher, request.from_header().ok()?.tag().unwrap_or_default());
                write(&mut hasher, request.call_id().ok()?);
                hasher.write_u32(request.cseq().ok()?.number);
                write(&mut hasher, via.as_str());
            }
        }
        Some(MethodlessKey(hasher))
    }

    /// A number for whoever needs one that others cannot guess.
    pub(super) fn seed(&self) -> u64 {
        let mut hasher = self.hasher;
        hasher.write_u8(Domain::Seed as u8);
        finish(&hasher).0 as u64
    }

    /// The key of a client transaction: ours, or the one a response names.
    pub(super) fn client(&self, branch: &str, method: Method<'_>) -> Key {
        let mut hasher = self.hasher;
        hasher.write_u8(Domain::Client as u8);
        write(&mut hasher, branch);
        write(&mut hasher, method.as_str());
        finish(&hasher)
    }
}

impl Key {
    /// One of so many parts; it says nothing of where the key stands in a table.
    pub(super) fn part(self, parts: usize) -> usize {
        usize::try_from((self.0 >> 64) as u64 % parts.max(1) as u64).unwrap_or_default()
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

/// Keeps the kinds of key apart within one secret.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Domain {
    Server,
    ServerOld,
    Merged,
    Client,
    Seed,
}

/// The terminator keeps ("ab", "c") and ("a", "bc") apart; it stands in no header value.
pub(super) fn write(hasher: &mut SipHasher13, text: &str) {
    hasher.write(text.as_bytes());
    hasher.write_u8(0);
}

pub(super) fn finish(hasher: &SipHasher13) -> Key {
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
