//! Stanzas of partners that are to be acknowledged (XEP-0198), from where they are done with back to their stream.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The stanzas of one inbound stream that were settled since it looked last.
#[derive(Debug)]
pub struct Settling {
    numbers: Mutex<Vec<u64>>,
    wake: Arc<Notify>,
}

impl Settling {
    /// For the stream whose session is woken by `wake`.
    pub fn new(wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { numbers: Mutex::default(), wake })
    }

    /// What was settled since the last time.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.numbers.lock())
    }

    fn settle(&self, number: u64) {
        let mut numbers = self.numbers.lock();
        numbers.push(number);
        // Whoever left the first one has rung already.
        if numbers.len() == 1 {
            self.wake.notify_one();
        }
    }
}

/// A stanza that is not settled. It is when this is dropped: it travels with what its sender is owed.
#[derive(Debug)]
pub struct Unsettled {
    stream: Arc<Settling>,
    number: u64,
}

impl Unsettled {
    /// The stanza of this number on that stream.
    pub fn new(stream: &Arc<Settling>, number: u64) -> Self {
        Self { stream: Arc::clone(stream), number }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.stream.settle(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_settled_once_and_the_stream_hears_of_it() {
        let wake = Arc::new(Notify::new());
        let settling = Settling::new(Arc::clone(&wake));
        let (first, second) = (Unsettled::new(&settling, 1), Unsettled::new(&settling, 2));
        assert!(settling.take().is_empty());
        drop(second);
        drop(first);
        wake.notified().await;
        assert_eq!(settling.take(), [2, 1]);
        assert!(settling.take().is_empty());
    }
}
