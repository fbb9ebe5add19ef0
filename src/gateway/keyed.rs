//! How names that strangers choose are hashed: by a key that they do not know, drawn where all that is left to chance is drawn, so
//! that a simulation walks its pairs in the same order each time.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

use super::Environment;

/// Makes hashers with one key.
#[derive(Debug, Clone)]
pub(super) struct Keyed(DefaultHasher);

impl Keyed {
    pub(super) fn new(environment: &dyn Environment) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(environment.random());
        hasher.write_u64(environment.random());
        Self(hasher)
    }
}

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}
