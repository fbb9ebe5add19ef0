//! Copies of one request that arrive over different ways (RFC 3261 §8.2.2.2; IM-18): the first one counts.
//!
//! A proxy on the way has forked the request, or tries another way because the connection of the first was lost. Copies for one
//! addressee differ in their Via, so they are other transactions, and often come on other connections. What is forked to several
//! addressees is one request for each of them: behind us each is a server of his own. The table of those that are under way
//! is therefore one for all connections that copies of one request may come on; it is the caller's ([`Merging`]), for it has
//! to be shared between them.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hasher as _;
use std::time::Instant;

use siphasher::sip128::SipHasher13;

use super::RING_AGE;
use super::keys::{Domain, Key, KeyMap, finish, write};
use crate::{HeaderName, Host, Message, Method};

/// What all copies of one request have in common, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    key: Key,
    /// Whether it brings something that must not arrive twice.
    delivers: bool,
}

/// The requests that are under way on some connections.
pub trait Merging: fmt::Debug + Send + Sync {
    /// Random bytes: nobody outside can foresee a [`Copies`].
    fn secret(&self) -> &[u8; 16];

    /// A copy has come. False: there has been another one, which is under way, or has been [`delivered`](Merging::end) of late.
    fn begin(&self, copies: Copies, now: Instant) -> bool;

    /// The one that had begun is over. `delivered`: when, if another copy that comes later would be one too many. Anything
    /// else may be tried once more, and is: whoever is answered 503 asks for the same on another way (RFC 3263 §4.3).
    fn end(&self, copies: Copies, delivered: Option<Instant>);
}

/// A table for [`Merging`], or a part of one: all copies of a request have to come to the same part.
#[derive(Debug, Default)]
pub struct Merged {
    /// Under way, or delivered.
    known: KeyMap<()>,
    /// Those delivered, the one of longest ago first.
    delivered: VecDeque<(Instant, Key)>,
}

impl Copies {
    /// Of a request that has passed the check. `None`: it is inside a dialog, where there is nothing to merge.
    pub fn of(request: &Message, secret: &[u8; 16]) -> Option<Self> {
        if request.to_tag().is_some() {
            return None;
        }
        let mut hasher = SipHasher13::new_with_key(secret);
        hasher.write_u8(Domain::Merged as u8);
        write(&mut hasher, request.from_tag().unwrap_or_default());
        write(&mut hasher, request.header(HeaderName::CallId)?);
        // Blanks between number and method could differ only where somebody rewrote the field.
        write(&mut hasher, request.header(HeaderName::CSeq)?);
        write_addressee(&mut hasher, request);
        Some(Self { key: finish(&hasher), delivers: request.method() == Method::Message })
    }

    /// Which of so many parts of a table it belongs to.
    pub fn part(self, parts: usize) -> usize {
        self.key.part(parts)
    }

    /// Whether it is one too many once another copy has got 2xx.
    pub(super) fn delivers(self) -> bool {
        self.delivers
    }
}

/// User and host of the Request-URI: each way may add parameters of its own. Of contacts case means nothing (RFC 7622 §3.3.1).
fn write_addressee(hasher: &mut SipHasher13, request: &Message) {
    match request.uri().map(|uri| (uri.user(), uri.host())) {
        Ok((user, Host::Name(name))) => {
            let user = user.unwrap_or_default();
            for byte in user.bytes().chain(*b"@").chain(name.bytes()) {
                hasher.write_u8(byte.to_ascii_lowercase());
            }
        }
        // No address of a contact.
        _ => write(hasher, request.request_uri()),
    }
}

impl Merged {
    /// Deliveries that are remembered; the oldest makes room.
    pub const DELIVERED: usize = 256;

    /// As [`Merging::begin`].
    pub fn begin(&mut self, copies: Copies, now: Instant) -> bool {
        while self.delivered.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > RING_AGE) {
            self.forget_first();
        }
        self.known.insert(copies.key, ()).is_none()
    }

    /// As [`Merging::end`].
    pub fn end(&mut self, copies: Copies, delivered: Option<Instant>) {
        let Some(at) = delivered else {
            self.known.remove(&copies.key);
            return;
        };
        if self.delivered.len() >= Self::DELIVERED {
            self.forget_first();
        }
        self.delivered.push_back((at, copies.key));
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.delivered.pop_front() {
            self.known.remove(&key);
        }
    }
}
