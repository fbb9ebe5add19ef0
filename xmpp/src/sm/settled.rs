//! Which of the stanzas that came are settled, in whatever order that happened.

use std::collections::BTreeSet;

/// Counts the stanzas of a stream as they come, and knows how many of them, from the first one on without a gap, are
/// settled: nobody has to do anything for them any more. That is what may be acknowledged.
///
/// It holds one entry for each stanza that came and is not settled, however many came after it.
#[derive(Debug, Default)]
pub struct Settled {
    begun: u64,
    open: BTreeSet<u64>,
}

impl Settled {
    /// The next stanza came. Its number is what [`settle`](Self::settle) wants.
    pub fn begin(&mut self) -> u64 {
        let number = self.begun;
        self.begun += 1;
        self.open.insert(number);
        number
    }

    /// The stanza of this number is settled. Said twice, or of a stanza that never came, it means nothing.
    pub fn settle(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Stanzas that came.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// So many stanzas came and are settled, as if long ago.
    #[cfg(test)]
    pub(super) fn pass(&mut self, count: u64) {
        self.begun += count;
    }

    /// Stanzas that came and are settled, and all before them as well.
    pub fn settled(&self) -> u64 {
        self.open.first().copied().unwrap_or(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gap_holds_back_what_came_after_it() {
        let mut settled = Settled::default();
        let numbers: Vec<_> = (0..3).map(|_| settled.begin()).collect();
        assert_eq!((settled.begun(), settled.settled()), (3, 0));
        settled.settle(numbers[1]);
        settled.settle(numbers[2]);
        assert_eq!(settled.settled(), 0, "the first one is still open");
        settled.settle(numbers[0]);
        assert_eq!(settled.settled(), 3);
    }

    #[test]
    fn what_is_settled_twice_or_never_came_changes_nothing() {
        let mut settled = Settled::default();
        settled.settle(0);
        let first = settled.begin();
        assert_eq!(settled.settled(), 0, "settled before it came is not settled");
        settled.settle(first);
        settled.settle(first);
        settled.settle(7);
        assert_eq!((settled.begun(), settled.settled()), (1, 1));
    }

    proptest! {
        /// Against the obvious: a list of flags.
        #[test]
        fn the_count_is_the_length_of_the_prefix_without_a_gap(
            steps in prop::collection::vec(prop::option::of(0u64..40), 0..120)
        ) {
            let mut settled = Settled::default();
            let mut flags = Vec::new();
            for step in steps {
                match step {
                    None => {
                        settled.begin();
                        flags.push(false);
                    }
                    Some(number) => {
                        settled.settle(number);
                        if let Some(flag) = flags.get_mut(number as usize) {
                            *flag = true;
                        }
                    }
                }
                let prefix = flags.iter().take_while(|flag| **flag).count();
                prop_assert_eq!(settled.settled(), prefix as u64);
            }
        }
    }
}
