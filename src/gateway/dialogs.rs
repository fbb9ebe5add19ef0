//! Where requests inside a dialog belong: our tag → the pair.

use nuncio_translate::pair::PairKey;

use super::prints::{PrintMap, Prints};

/// The dialogs of all pairs, in both roles. A tag may find a pair that does not know it, though by chance hardly ever:
/// pairs ask themselves, and answer 481.
#[derive(Debug, Default)]
pub(super) struct Dialogs {
    prints: Prints,
    pairs: PrintMap<PairKey>,
}

impl Dialogs {
    /// The dialog is of this pair from now on.
    pub(super) fn bind(&self, tag: &str, key: &PairKey) {
        self.pairs.insert(self.prints.of(tag), key.clone());
    }

    /// There is no such dialog any more.
    pub(super) fn release(&self, tag: &str) {
        self.pairs.remove(&self.prints.of(tag));
    }

    pub(super) fn pair_of(&self, tag: &str) -> Option<PairKey> {
        self.pairs.get(&self.prints.of(tag)).map(|key| key.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }
}
