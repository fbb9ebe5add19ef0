//! The store on disk: opening it, and its verbs. Everything that writes is in `writer`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_translate::pair::{PairKey, PairRecord};
use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tracing::{error, info, warn};

use super::file::{self, Found};
use super::lock::Lock;
use super::queue::{Change, Queue, Sealed};
use super::{
    AuditEntry, Committed, FILE, Failing, Fault, Health, Keep, PendingMessage, StoreError, Ticket, entries,
    load, log, pending, schema, writer,
};
use crate::config::{Entry, Kind, Stored};
use crate::net::now;

/// How the store behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// Audit entries older than this are deleted.
    pub audit_age: Duration,
    /// Most audit entries kept; the oldest go.
    pub audit_entries: usize,
    /// The first pause before a failed write is tried again; it doubles with each failure.
    pub retry_initial: Duration,
    pub retry_max: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            audit_age: Duration::from_secs(365 * 24 * 3600),
            audit_entries: 1_000_000,
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// A store that has been opened, and what happened on the way.
#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    /// There was none: it was made.
    pub created: bool,
    /// The program that wrote it last did not close it. It has been checked, and is whole.
    pub recovered: bool,
    /// The schema was of this version, and has been brought up to date.
    pub migrated_from: Option<u32>,
    /// Its disk is full or read-only: it has been read, and is written as soon as that is possible.
    pub unwritable: Option<StoreError>,
}

/// The database in the state directory. It takes what it is told to keep from the beginning, and writes once it is
/// [started](Store::start).
pub struct Store {
    idle: Mutex<Option<Idle>>,
    shared: Arc<Shared>,
}

/// What the writer begins with.
struct Idle {
    /// `None`: it could not be opened to write.
    connection: Option<Connection>,
}

/// What the verbs and the writer share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: StoreOptions,
    pub(super) state: Mutex<State>,
    /// Rung when there is something to do for the writer.
    pub(super) bell: Condvar,
    /// Rung when the writer has ended.
    pub(super) over: Condvar,
    /// Let go of when the database is closed.
    pub(super) lock: Mutex<Option<Lock>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: Queue,
    /// How many changes the writer has in hand.
    pub(super) in_hand: usize,
    pub(super) failing: Option<Failing>,
    pub(super) commits: u64,
    pub(super) failures: u64,
    pub(super) refused: u64,
    pub(super) stop: bool,
    /// The writer need not be woken for what comes.
    pub(super) gathering: Option<Gathering>,
    pub(super) running: bool,
    secrets: HashMap<CompactString, Sealed>,
    proved: BTreeSet<CompactString>,
    entries: Stored,
    /// As the process before this one left them.
    pending: BTreeMap<u64, PendingMessage>,
}

/// What the writer has before it while it lets more come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gathering {
    /// Nothing that anybody waits for.
    Notes,
    /// What somebody may wait for.
    Awaited,
}

impl Store {
    /// Opens the database in this directory, or makes one there; brings its schema up to date and checks it.
    /// A database that is damaged, of a newer version or not ours is left exactly as it is. One that is whole on a disk
    /// that takes nothing now is used, and written later.
    ///
    /// # Errors
    /// It cannot be used; the text says what to do.
    pub fn open(state_dir: &Path, options: StoreOptions) -> Result<Opened, StoreError> {
        let state_dir = std::path::absolute(state_dir).map_err(|error| StoreError::io(state_dir, &error))?;
        std::fs::create_dir_all(&state_dir).map_err(|error| StoreError::io(&state_dir, &error))?;
        let path = state_dir.join(FILE);
        let (lock, locked) = match Lock::take(&state_dir) {
            Ok(lock) => (Some(lock), Ok(())),
            Err(error) if error.is_of_the_disk() => (
                Lock::take_as_it_is(&state_dir)?,
                // It is the database that matters.
                Err(StoreError { path: path.clone(), ..error }),
            ),
            Err(error) => return Err(error),
        };
        let found = file::look(&path)?;
        if found == Found::Nothing {
            file::create(&path)?;
        }
        // Not while somebody else may be writing it.
        if lock.is_some() && found == (Found::Database { clean: false }) {
            log::check(&path)?;
        }
        // Not without the lock.
        let (mut connection, unwritable) = match locked.and_then(|()| file::open(&path)) {
            Ok(connection) => (connection, None),
            Err(error) if error.is_of_the_disk() => (file::open_to_read(&path)?, Some(error)),
            Err(error) => return Err(error),
        };
        // Before anything is changed. The load reads everything anyway: this costs a fraction of it.
        if let Some(finding) = file::examine(&path, &connection, false)?.into_iter().next() {
            return Err(StoreError::new(&path, Fault::Damaged, finding));
        }
        let version = match &unwritable {
            None => schema::migrate(&path, &mut connection)?,
            Some(error) => match schema::identify(&path, &connection)? {
                schema::VERSION => schema::VERSION,
                // This program reads its own schema only.
                _ => return Err(error.clone()),
            },
        };
        let secrets = secrets(&connection).map_err(|error| StoreError::sqlite(&path, &error))?;
        let proved = proved(&connection).map_err(|error| StoreError::sqlite(&path, &error))?;
        let entries = entries::load(&connection).map_err(|error| StoreError::sqlite(&path, &error))?;
        let pending = pending::load(&connection).map_err(|error| StoreError::sqlite(&path, &error))?;
        let failing = unwritable.as_ref().map(|error| Failing {
            fault: error.fault.clone(),
            evidence: error.evidence.clone(),
            text: error.to_string(),
            since: now().unix(),
        });
        let connection = unwritable.is_none().then_some(connection);
        let state = Mutex::new(State { secrets, proved, entries, pending, failing, ..State::default() });
        let shared = Shared {
            path,
            options,
            state,
            bell: Condvar::new(),
            over: Condvar::new(),
            lock: Mutex::new(lock),
        };
        Ok(Opened {
            store: Self { idle: Mutex::new(Some(Idle { connection })), shared: Arc::new(shared) },
            created: found == Found::Nothing,
            recovered: found == Found::Database { clean: false },
            unwritable,
            migrated_from: (version < schema::VERSION).then_some(version),
        })
    }

    /// Begins to write, and to report to `hook`. A second call does nothing.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn start(&self, hook: Arc<dyn Committed>) -> std::io::Result<()> {
        let Some(Idle { connection }) = self.idle.lock().take() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        self.shared.state.lock().running = true;
        let thread = std::thread::Builder::new().name("store".to_owned());
        let spawned = thread.spawn(move || writer::run(&shared, connection, &*hook));
        if spawned.is_err() {
            self.shared.state.lock().running = false;
        }
        spawned.map(drop)
    }

    /// Writes what waits, if the disk lets it, and ends. What is given to the store afterwards is lost.
    ///
    /// # Errors
    /// Something could not be written: why, and how much.
    pub fn close(&self, patience: Duration) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let deadline = Instant::now() + patience;
        let mut state = shared.state.lock();
        state.stop = true;
        shared.bell.notify_one();
        while state.running {
            if shared.over.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let waiting = state.queue.len() + state.in_hand;
        if waiting == 0 {
            return Ok(());
        }
        let (fault, evidence) = state.failing.as_ref().map_or_else(
            || (Fault::Silent, String::new()),
            |failing| (failing.fault.clone(), failing.evidence.clone()),
        );
        let changes =
            if waiting == 1 { "1 change was".to_owned() } else { format!("{waiting} changes were") };
        let why = if evidence.is_empty() { evidence } else { format!("; {evidence}") };
        Err(StoreError::new(&shared.path, fault, format!("{changes} not written{why}")))
    }

    fn push(&self, change: Change) -> Ticket {
        let mut state = self.shared.state.lock();
        match &change {
            Change::Secret(name, value) => drop(state.secrets.insert(name.clone(), value.clone())),
            Change::Proved(domain, true) => drop(state.proved.insert(domain.clone())),
            Change::Proved(domain, false) => drop(state.proved.remove(domain)),
            Change::Pair(..) | Change::Audit(_) | Change::Entry(..) | Change::Pending(..) => {}
        }
        let awaited = change.is_awaited();
        let ticket = state.queue.push(change);
        let wakes = match state.gathering {
            None => true,
            // Now somebody waits: it gathers for a shorter time.
            Some(Gathering::Notes) if awaited => {
                state.gathering = Some(Gathering::Awaited);
                true
            }
            Some(_) => false,
        };
        drop(state);
        if wakes {
            self.shared.bell.notify_one();
        }
        ticket
    }
}

impl Keep for Store {
    fn load_pairs(&self, each: &mut dyn FnMut(PairKey, PairRecord)) -> Result<u64, StoreError> {
        let path = &self.shared.path;
        let connection = file::open_to_read(path)?;
        load::pairs(&connection, each).map_err(|error| StoreError::sqlite(path, &error))
    }

    fn save_pair(&self, key: &PairKey, record: PairRecord) -> Ticket {
        let record = (!record.is_empty()).then(|| Box::new(record));
        self.push(Change::Pair(key.clone(), record))
    }

    fn forget_pair(&self, key: &PairKey) -> Ticket {
        self.push(Change::Pair(key.clone(), None))
    }

    fn audit(&self, entry: AuditEntry) -> Ticket {
        self.push(Change::Audit(entry))
    }

    fn secret(&self, name: &str) -> Option<Box<[u8]>> {
        self.shared.state.lock().secrets.get(name).map(|secret| secret.0.clone())
    }

    fn set_secret(&self, name: &str, value: &[u8]) -> Ticket {
        self.push(Change::Secret(name.into(), Sealed(value.into())))
    }

    fn proved(&self) -> Vec<CompactString> {
        self.shared.state.lock().proved.iter().cloned().collect()
    }

    fn set_proved(&self, domain: &str, proved: bool) -> Ticket {
        self.push(Change::Proved(domain.into(), proved))
    }

    fn entries(&self) -> Stored {
        self.shared.state.lock().entries.clone()
    }

    fn set_entry(&self, kind: Kind, name: &str, entry: Option<&Entry>) -> Ticket {
        let name = kind.normalise(name);
        let settings = entry.map(|entry| serde_json::Value::Object(entry.clone()).to_string().into());
        let mut state = self.shared.state.lock();
        match entry {
            Some(entry) => drop(state.entries.put(kind, &name, entry.clone())),
            None => drop(state.entries.remove(kind, &name)),
        }
        drop(state);
        self.push(Change::Entry(kind, name.into(), settings))
    }

    fn pending(&self) -> Vec<(u64, PendingMessage)> {
        std::mem::take(&mut self.shared.state.lock().pending).into_iter().collect()
    }

    fn note_pending(&self, number: u64, message: PendingMessage) -> Ticket {
        self.push(Change::Pending(number, Some(Box::new(message))))
    }

    fn clear_pending(&self, number: u64) -> Ticket {
        self.push(Change::Pending(number, None))
    }

    fn health(&self) -> Health {
        let state = self.shared.state.lock();
        Health {
            failing: state.failing.clone(),
            waiting: state.queue.len() + state.in_hand,
            commits: state.commits,
            failures: state.failures,
            audit_lost: state.queue.audit_lost(),
            refused: state.refused,
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let _ = self.close(PATIENCE);
    }
}

impl Opened {
    /// What happened, for the log.
    pub fn log(&self) {
        let path = self.store.shared.path.display();
        if self.created {
            info!("{path} made: it keeps what must survive a restart");
        }
        if self.recovered {
            warn!("{path} had not been closed: it was checked, and is whole");
        }
        if let Some(error) = &self.unwritable {
            error!(
                "{error}. The gateway starts with what is in it, goes on from memory and tries again by itself; what it \
                 cannot write before it ends is lost"
            );
        }
        if let Some(version) = self.migrated_from {
            info!("{path} brought from schema {version} to {}", schema::VERSION);
        }
    }
}

fn secrets(connection: &Connection) -> rusqlite::Result<HashMap<CompactString, Sealed>> {
    let mut statement = connection.prepare("SELECT name, value FROM secret")?;
    let rows = statement.query_map((), |row| {
        Ok((row.get_ref(0)?.as_str()?.into(), Sealed(row.get_ref(1)?.as_blob()?.into())))
    })?;
    rows.collect()
}

fn proved(connection: &Connection) -> rusqlite::Result<BTreeSet<CompactString>> {
    let mut statement = connection.prepare("SELECT domain FROM proved")?;
    let rows = statement.query_map((), |row| Ok(row.get_ref(0)?.as_str()?.into()))?;
    rows.collect()
}
