//! What the log says while a test listens.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

thread_local! {
    /// What the log has said on this thread, if somebody listens.
    static SAID: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Everything the log says on this thread, as long as it lives.
pub(crate) struct Log;

struct Ear;

impl io::Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SAID.with_borrow_mut(|said| said.iter_mut().for_each(|said| said.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// One subscriber for all threads, and not one of this thread: while there is just one, `tracing` asks that of the thread
    /// that comes to a line first whether anybody wants it, and remembers its answer for all of them. Then a line that another
    /// test caused before, and did not listen, was not said here either.
    pub(crate) fn listen() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Ear).finish();
            tracing::subscriber::set_global_default(subscriber).expect("nobody else sets one");
            // What was come to between the making of it and now.
            tracing::callsite::rebuild_interest_cache();
        });
        SAID.set(Some(Vec::new()));
        Self
    }

    pub(crate) fn lines_with(&self, words: &str) -> usize {
        SAID.with_borrow(|said| {
            String::from_utf8_lossy(said.as_deref().unwrap_or_default()).matches(words).count()
        })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        SAID.set(None);
    }
}
