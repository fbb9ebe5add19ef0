//! Copies of one request on several connections of the front ends (RFC 3261 §8.2.2.2; IM-18): the table of those that are under
//! way. One for all of them, for a request that an edge has forked comes by as many edges as it likes.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use nuncio_sip::connection::{Copies, Merged, Merging};
use parking_lot::Mutex;

/// Each request takes a lock twice, each time for less than the time in which two cores meet at one of so many.
const PARTS: usize = 64;

/// All requests of front ends, outside of dialogs, that wait for their answer, and messages delivered of late.
#[derive(Debug)]
pub(super) struct MergedRequests {
    secret: [u8; 16],
    parts: [Mutex<Merged>; PARTS],
}

impl Default for MergedRequests {
    fn default() -> Self {
        // What keeps tables from being filled on purpose is random enough here.
        let random = RandomState::new();
        let mut secret = [0; 16];
        let halves = [random.hash_one(0u8).to_le_bytes(), random.hash_one(1u8).to_le_bytes()];
        secret.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
        Self { secret, parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl MergedRequests {
    fn part_of(&self, copies: Copies) -> Option<&Mutex<Merged>> {
        self.parts.get(copies.part(PARTS))
    }
}

impl Merging for MergedRequests {
    fn secret(&self) -> &[u8; 16] {
        &self.secret
    }

    fn begin(&self, copies: Copies, now: Instant) -> bool {
        self.part_of(copies).is_none_or(|part| part.lock().begin(copies, now))
    }

    fn end(&self, copies: Copies, delivered: Option<Instant>) {
        if let Some(part) = self.part_of(copies) {
            part.lock().end(copies, delivered);
        }
    }
}
