//! Tables by a fingerprint of a text instead of the text, where there may be hundreds of thousands of them.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use dashmap::DashMap;

/// By [`Prints::of`].
pub(super) type PrintMap<V> = DashMap<u64, V, BuildHasherDefault<AsIs>>;

/// Makes fingerprints that nobody outside can foresee: two different texts have the same one by chance only, once in
/// 10^7 lives of a process that knows a million texts.
#[derive(Debug, Default)]
pub(super) struct Prints(RandomState);

impl Prints {
    pub(super) fn of(&self, text: &str) -> u64 {
        self.0.hash_one(text)
    }
}

/// A fingerprint is a hash already.
#[derive(Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
