//! The store: what must survive the process, behind verbs of the domain.
//!
//! Memory is served first. Everything here that a caller of the message path or of a pair can reach returns at once:
//! what is to be kept goes into a queue, and one thread of the store's own writes it, as much as there is in one
//! transaction. A caller whose promise depends on the disk keeps the [`Ticket`] and waits until [`Committed`] reports it.

mod audit;
mod backup;
mod census;
mod check;
mod confirm;
mod consent;
mod entries;
mod error;
mod file;
mod load;
mod lock;
mod log;
mod memory;
mod pending;
mod queue;
mod rows;
mod schema;
mod show;
mod sqlite;
mod writer;

use compact_str::CompactString;
use nuncio_translate::pair::{PairKey, PairRecord};

use crate::config::{Entry, Kind, Stored};

pub use audit::{AUDIT_MOST, AuditQuery, AuditRow, audit};
pub use backup::backup;
pub use census::{Census, census};
pub use check::{Checked, check, glance, obstacle};
pub use confirm::allow_dialback;
pub use consent::{Forgotten, forget_consent};
pub use entries::stored;
pub use error::{Fault, StoreError};
pub use memory::Memory;
pub use pending::PendingMessage;
pub use show::{Shown, Table, show};
pub use sqlite::{Opened, Store, StoreOptions};

/// The name of the database in the state directory.
pub const FILE: &str = "nuncio.db";

/// The number of something that was given to the store to keep. Later ones are larger; the first is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the disk, and survives a power cut.
    Saved,
    /// It could not be written now. It is kept in memory, and tried again until it can: whoever waited goes on without.
    Unsaved,
}

/// Hears what became of tickets. Called on the store's thread, never from inside a verb of [`Keep`].
pub trait Committed: Send + Sync {
    /// All tickets up to this one are done. Within one process it only grows.
    fn committed(&self, up_to: Ticket, outcome: Outcome);
}

/// The verbs. [`Store`] keeps things on disk, [`Memory`] for tests that decide themselves what reaches it.
///
/// None of those that return a [`Ticket`] blocks, whatever state the disk is in.
pub trait Keep: Send + Sync {
    /// Every pair on record, in no particular order; how many there were.
    ///
    /// # Errors
    /// They cannot be read; the text says what to do. Some may have been given to `each` before.
    fn load_pairs(&self, each: &mut dyn FnMut(PairKey, PairRecord)) -> Result<u64, StoreError>;

    /// Keeps the record in place of what was kept of that pair. An empty record is the same as [`Keep::forget_pair`].
    fn save_pair(&self, key: &PairKey, record: PairRecord) -> Ticket;

    /// Nothing of the pair is to survive.
    fn forget_pair(&self, key: &PairKey) -> Ticket;

    /// Adds to the audit trail.
    fn audit(&self, entry: AuditEntry) -> Ticket;

    /// A secret of this node by its name, as last set.
    fn secret(&self, name: &str) -> Option<Box<[u8]>>;

    fn set_secret(&self, name: &str, value: &[u8]) -> Ticket;

    /// The domains of partners that have proved themselves by certificate (SEC-11), in order.
    fn proved(&self) -> Vec<CompactString>;

    fn set_proved(&self, domain: &str, proved: bool) -> Ticket;

    /// The partners, policies and blocks that administrators made, as last set.
    fn entries(&self) -> Stored;

    /// Keeps an entry in place of the one of its name; `None`: there is to be none.
    fn set_entry(&self, kind: Kind, name: &str, entry: Option<&Entry>) -> Ticket;

    /// The messages that waited for people when the process before this one ended, by the numbers it gave them; once. What this
    /// one notes is not among them.
    fn pending(&self) -> Vec<(u64, PendingMessage)>;

    /// Notes a message that waits for people under a number of its own: who sent it is to be told if it comes to nothing.
    fn note_pending(&self, number: u64, message: PendingMessage) -> Ticket;

    /// The message has come to its end, or its sender has been told.
    fn clear_pending(&self, number: u64) -> Ticket;

    fn health(&self) -> Health;
}

/// Who changed what, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditEntry {
    /// Seconds of Unix time.
    pub at: u64,
    /// Who did it: a user's address, an administrator, `nuncio` itself.
    pub actor: CompactString,
    /// What was done, as a word of the domain: `pair.added`.
    pub what: CompactString,
    /// What it was done to.
    pub subject: CompactString,
    pub from: Option<Box<str>>,
    pub to: Option<Box<str>>,
}

impl AuditEntry {
    /// `actor` has said that a domain, which proved itself by certificate before, may come in by dialback alone again.
    pub fn dialback_allowed(domain: &str, actor: &str, at: u64) -> Self {
        Self {
            at,
            actor: actor.into(),
            what: "partner.dialback_allowed".into(),
            subject: domain.into(),
            from: Some("proved by certificate".into()),
            to: None,
        }
    }
}

/// The state of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be saved at the moment; `None`: all is well.
    pub failing: Option<Failing>,
    /// What is not on the disk yet: pairs, audit entries, messages that wait for people, and so on.
    pub waiting: usize,
    /// Transactions since the start, those that worked and those that did not.
    pub commits: u64,
    pub failures: u64,
    /// Audit entries that were given up because too many waited, since the start.
    pub audit_lost: u64,
    /// Records that the database refused for what is in them, since the start. Always a bug.
    pub refused: u64,
}

/// Something is wrong with the disk or the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub fault: Fault,
    /// What was seen, in the words of the system or of SQLite; may be empty.
    pub evidence: String,
    /// What is wrong and what to do, for people.
    pub text: String,
    /// Seconds of Unix time.
    pub since: u64,
}
