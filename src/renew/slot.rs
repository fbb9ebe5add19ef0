//! One thing that is made of files and made anew when they change.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::look::Look;
use crate::tls::digest;

/// Files that belong together are replaced one after the other. What does not fit yet is not called wrong before this time
/// has passed without another change.
const SETTLE: Duration = Duration::from_secs(5);

/// What the files of a slot hold.
pub(super) type Contents = Vec<Vec<u8>>;

/// How something is read from files, and made of what they hold.
pub(super) trait Source: Send {
    /// What it is.
    type Thing: Send + Sync;

    /// The files to watch; none: it is read when somebody says so.
    fn files(&self) -> &[PathBuf];

    /// Reads them.
    ///
    /// # Errors
    /// In a sentence.
    fn read(&self) -> Result<Contents, String> {
        read(self.files())
    }

    /// Makes the thing, or says why it must not replace the one in use.
    ///
    /// # Errors
    /// In a sentence.
    fn make(
        &self,
        contents: &[Vec<u8>],
        in_use: Option<&Self::Thing>,
        now: SystemTime,
    ) -> Result<Self::Thing, String>;
}

/// Reads files, all of them.
///
/// # Errors
/// In a sentence.
pub(super) fn read(files: &[PathBuf]) -> Result<Contents, String> {
    let one =
        |file: &PathBuf| fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    files.iter().map(one).collect()
}

/// A thing in use, and what its files were like when they were looked at last.
pub(super) struct Slot<S: Source> {
    source: S,
    current: Arc<S::Thing>,
    /// Of what `current` was made of.
    content: [u8; 32],
    look: Look,
    trouble: Option<Trouble>,
}

/// The files hold something that cannot replace what is in use.
struct Trouble {
    /// Of what the files hold, or of why they cannot be read.
    content: [u8; 32],
    since: Instant,
    told: bool,
}

/// What came of looking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to tell.
    Same,
    /// There is a new one.
    Renewed,
    /// What the files hold was refused; what is in use stays.
    Refused(String),
    /// After a refusal the files hold again what is in use.
    Recovered,
}

/// When somebody orders it, everything is read, and nothing is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    Interval,
    Order,
}

impl<S: Source> Slot<S> {
    /// Makes the thing for the first time.
    pub(super) fn open(source: S, now: SystemTime) -> Result<Self, String> {
        // Before reading: what changes meanwhile is a change.
        let look = Look::at(source.files(), now);
        let contents = source.read()?;
        let current = Arc::new(source.make(&contents, None, now)?);
        Ok(Self { source, current, content: digest(&contents), look, trouble: None })
    }

    /// The same thing, of the same files, as another source has it that makes no other thing of them.
    pub(super) fn under(self, source: S) -> Self {
        Self { source, ..self }
    }

    /// What is in use.
    pub(super) fn current(&self) -> &Arc<S::Thing> {
        &self.current
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// Looks whether the files hold something new.
    pub(super) fn step(&mut self, occasion: Occasion, instant: Instant, now: SystemTime) -> Step {
        let look = Look::at(self.source.files(), now);
        // Trouble is looked into each time: it may be over without a change, as when a certificate begins to be valid.
        let idle = occasion == Occasion::Interval && self.trouble.is_none() && !self.look.differs(&look);
        self.look = look;
        if idle {
            return Step::Same;
        }
        let read = self.source.read();
        let content = match &read {
            Ok(contents) => digest(contents),
            Err(why) => digest(&[why.as_bytes()]),
        };
        if content == self.content {
            let told = self.trouble.take().is_some_and(|trouble| trouble.told);
            return if told { Step::Recovered } else { Step::Same };
        }
        let made = read.and_then(|contents| self.source.make(&contents, Some(&self.current), now));
        match made {
            Ok(thing) => {
                self.current = Arc::new(thing);
                (self.content, self.trouble) = (content, None);
                Step::Renewed
            }
            Err(why) => self.refuse(content, why, occasion, instant),
        }
    }

    fn refuse(&mut self, content: [u8; 32], why: String, occasion: Occasion, instant: Instant) -> Step {
        let fresh = Trouble { content, since: instant, told: false };
        let trouble = match &mut self.trouble {
            Some(trouble) if trouble.content == content => trouble,
            other => other.insert(fresh),
        };
        let settled = instant.saturating_duration_since(trouble.since) >= SETTLE;
        if occasion == Occasion::Order || (settled && !trouble.told) {
            trouble.told = true;
            return Step::Refused(why);
        }
        Step::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files whose contents must be the same: a certificate and its key, without the cryptography.
    struct Twins([PathBuf; 2]);

    impl Source for Twins {
        type Thing = String;

        fn files(&self) -> &[PathBuf] {
            &self.0
        }

        fn make(&self, contents: &[Vec<u8>], _: Option<&String>, _: SystemTime) -> Result<String, String> {
            if contents[0] != contents[1] {
                return Err("they do not belong together".to_owned());
            }
            Ok(String::from_utf8(contents[0].clone()).unwrap())
        }
    }

    struct Bench {
        _folder: tempfile::TempDir,
        slot: Slot<Twins>,
        instant: Instant,
        files: [PathBuf; 2],
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = ["a", "b"].map(|name| folder.path().join(name));
            files.iter().for_each(|file| fs::write(file, "one").unwrap());
            let slot = Slot::open(Twins(files.clone()), later()).unwrap();
            Self { _folder: folder, slot, instant: Instant::now(), files }
        }

        /// Writes a file; `""` removes it.
        fn put(&self, file: usize, text: &str) {
            let replaced = self.files[file].with_extension("new");
            if text.is_empty() {
                return fs::remove_file(&self.files[file]).unwrap();
            }
            fs::write(&replaced, text).unwrap();
            fs::rename(replaced, &self.files[file]).unwrap();
        }

        fn after(&mut self, seconds: u64) -> Step {
            self.instant += Duration::from_secs(seconds);
            self.slot.step(Occasion::Interval, self.instant, later())
        }

        fn ordered(&mut self) -> Step {
            self.slot.step(Occasion::Order, self.instant, later())
        }
    }

    /// No file is young any more.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }

    fn refused() -> Step {
        Step::Refused("they do not belong together".to_owned())
    }

    #[test]
    fn tls_19_what_changes_is_renewed_once() {
        let mut bench = Bench::new();
        assert_eq!(bench.after(10), Step::Same);
        bench.put(0, "two");
        bench.put(1, "two");
        assert_eq!(bench.after(10), Step::Renewed);
        assert_eq!(**bench.slot.current(), "two");
        assert_eq!(bench.after(10), Step::Same);
        assert_eq!(bench.ordered(), Step::Same);
    }

    #[test]
    fn tls_19_a_pair_replaced_one_after_the_other_is_nothing_to_worry_about() {
        let mut bench = Bench::new();
        bench.put(0, "two");
        assert_eq!(bench.after(1), Step::Same);
        assert_eq!(**bench.slot.current(), "one");
        assert_eq!(bench.after(4), Step::Same);
        bench.put(1, "two");
        assert_eq!(bench.after(1), Step::Renewed);
    }

    #[test]
    fn tls_19_what_does_not_fit_after_a_while_is_refused_once_and_the_old_one_stays() {
        let mut bench = Bench::new();
        bench.put(0, "two");
        assert_eq!(bench.after(1), Step::Same);
        assert_eq!(bench.after(5), refused());
        assert_eq!(bench.after(100), Step::Same, "said once");
        assert_eq!(bench.ordered(), refused(), "and again to who asks");
        assert_eq!(**bench.slot.current(), "one");
        bench.put(1, "two");
        assert_eq!(bench.after(1), Step::Renewed);
    }

    #[test]
    fn tls_19_an_order_does_not_wait() {
        let mut bench = Bench::new();
        bench.put(0, "two");
        assert_eq!(bench.ordered(), refused());
    }

    #[test]
    fn tls_19_a_missing_file_is_refused_and_its_return_is_told() {
        let mut bench = Bench::new();
        bench.put(1, "");
        assert_eq!(bench.after(1), Step::Same);
        assert!(matches!(bench.after(5), Step::Refused(why) if why.contains("No such file")));
        bench.put(1, "one");
        assert_eq!(bench.after(1), Step::Recovered);
        assert_eq!(bench.after(1), Step::Same);
    }

    #[test]
    fn the_same_content_written_again_is_no_renewal() {
        let mut bench = Bench::new();
        bench.put(0, "one");
        assert_eq!(bench.after(10), Step::Same);
    }
}
