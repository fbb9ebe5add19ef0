//! The one thread that writes. It takes what waits, as much as one transaction may have, and commits it. While the disk
//! refuses, it keeps everything, lets go those who wait, and tries again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::{error, info, warn};

use super::error::refuses_record;
use super::lock::Lock;
use super::queue::Change;
use super::rows::{self, integer};
use super::sqlite::{Gathering, Shared, State, StoreOptions};
use super::{AuditEntry, Committed, Failing, Fault, Outcome, StoreError, Ticket, file};
use crate::net::now;

/// Most changes in one transaction.
const BATCH: usize = 4096;

/// After a transaction the next one gathers for so long what comes: each costs as much as writing many records. What comes
/// alone is written at once.
const GATHER: Duration = Duration::from_millis(5);

/// The same for what nobody waits for: hundreds of partners that prove themselves at once make a few transactions.
const GATHER_NOTES: Duration = Duration::from_millis(50);

/// Most audit entries that one transaction deletes for either reason: more than it can add.
const PRUNE: i64 = 2 * BATCH as i64;

/// How often old audit entries are looked for when there is nothing else to write.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// How often the log is reminded of a store that cannot write.
const REMIND_EVERY: Duration = Duration::from_secs(600);

/// Runs until the store is closed.
pub(super) fn run(shared: &Shared, connection: Option<Connection>, hook: &dyn Committed) {
    let identity = file::identity(&shared.path).ok();
    let mut writer = Writer {
        shared,
        hook,
        connection,
        identity,
        reported: Ticket(0),
        retry_at: Instant::now(),
        pause: shared.options.retry_initial,
        reminded: Instant::now(),
        committed: None,
        age_from: None,
        audit_lost: 0,
        singly: 0,
        last_attempt: false,
    };
    writer.write(Vec::new());
    while let Some(step) = writer.next() {
        match step {
            Step::LetGo(up_to) => writer.report(up_to, Outcome::Unsaved),
            Step::Write(changes) => writer.write(changes),
        }
    }
    // Closed before anybody hears that it is over, so that the next one finds it closed.
    drop(writer.connection.take());
    drop(shared.lock.lock().take());
    shared.state.lock().running = false;
    shared.over.notify_all();
}

enum Step {
    Write(Vec<(u64, Change)>),
    /// Nothing can be written now: nobody is to wait for it.
    LetGo(Ticket),
}

enum Failure {
    Store(StoreError),
    /// The database refuses a record for what is in it.
    Record(rusqlite::Error),
}

struct Writer<'s> {
    shared: &'s Shared,
    hook: &'s dyn Committed,
    connection: Option<Connection>,
    /// The file that was opened.
    identity: Option<(u64, u64)>,
    reported: Ticket,
    retry_at: Instant,
    pause: Duration,
    reminded: Instant,
    /// When the last transaction was over.
    committed: Option<Instant>,
    age_from: Option<AgeFrom>,
    /// Lost audit entries that the trail already tells of.
    audit_lost: u64,
    /// So many changes are to be written one by one, to find the one that is refused.
    singly: usize,
    last_attempt: bool,
}

impl Writer<'_> {
    /// What is to be done next; waits for it. `None`: end.
    fn next(&mut self) -> Option<Step> {
        let mut state = self.shared.state.lock();
        loop {
            if state.failing.is_some() {
                let last = state.queue.last();
                if last > self.reported {
                    return Some(Step::LetGo(last));
                }
                // Told to stop while it fails: one last attempt, now.
                if state.stop && std::mem::replace(&mut self.last_attempt, true) {
                    return None;
                }
                if state.stop || Instant::now() >= self.retry_at {
                    break;
                }
                self.shared.bell.wait_until(&mut state, self.retry_at);
            } else if !state.queue.is_empty() {
                break;
            } else if state.stop {
                return None;
            } else if self.shared.bell.wait_for(&mut state, PRUNE_EVERY).timed_out() {
                break;
            }
        }
        // Nothing is gathered where one change is looked for among others that wait.
        if let (Some(committed), None, 0) = (self.committed, &state.failing, self.singly) {
            let awaited = state.queue.is_empty() || state.queue.is_awaited();
            state.gathering = Some(if awaited { Gathering::Awaited } else { Gathering::Notes });
            let end = |state: &State| match state.gathering {
                Some(Gathering::Notes) => committed + GATHER_NOTES,
                _ => committed + GATHER,
            };
            while !state.stop {
                let end = end(&state);
                if self.shared.bell.wait_until(&mut state, end).timed_out() {
                    break;
                }
            }
            state.gathering = None;
        }
        let changes = state.queue.take(if self.singly > 0 { 1 } else { BATCH });
        self.singly = self.singly.saturating_sub(1);
        state.in_hand = changes.len();
        Some(Step::Write(changes))
    }

    fn write(&mut self, changes: Vec<(u64, Change)>) {
        let lost = self.shared.state.lock().queue.audit_lost();
        // A panic in here must not leave everybody waiting.
        let attempt = catch_unwind(AssertUnwindSafe(|| self.attempt(&changes, lost)));
        match attempt {
            Ok(Ok(())) => self.succeeded(changes.len(), lost),
            Ok(Err(Failure::Record(error))) => self.refused(changes, &error),
            Ok(Err(Failure::Store(error))) => self.failed(changes, &error),
            Err(_) => {
                let error = StoreError::new(&self.shared.path, Fault::Other, "an internal error, see above");
                self.failed(changes, &error);
            }
        }
    }

    fn attempt(&mut self, changes: &[(u64, Change)], lost: u64) -> Result<(), Failure> {
        let path = &self.shared.path;
        // SQLite would go on writing into a file that has no name any more.
        match file::identity(path) {
            Ok(identity) if Some(identity) == self.identity => {}
            Ok(_) => return Err(Failure::Store(StoreError::new(path, Fault::Replaced, ""))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Failure::Store(StoreError::new(path, Fault::Replaced, "it is gone")));
            }
            Err(error) => return Err(Failure::Store(StoreError::io(path, &error))),
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                // The start may have had to go without.
                let mut lock = self.shared.lock.lock();
                if let (None, Some(state_dir)) = (&*lock, path.parent()) {
                    *lock = Some(Lock::take(state_dir).map_err(Failure::Store)?);
                }
                none.insert(file::open(path).map_err(Failure::Store)?)
            }
        };
        let news = lost - self.audit_lost;
        let age_from = *self.age_from.get_or_insert_with(|| AgeFrom::of(connection));
        transact(connection, &self.shared.options, changes, news, age_from).map_err(|error| {
            if refuses_record(&error) {
                Failure::Record(error)
            } else {
                Failure::Store(StoreError::sqlite(path, &error))
            }
        })
    }

    fn succeeded(&mut self, written: usize, lost: u64) {
        self.audit_lost = lost;
        self.pause = self.shared.options.retry_initial;
        self.committed = Some(Instant::now());
        let mut state = self.shared.state.lock();
        state.in_hand = 0;
        state.commits += u64::from(written > 0);
        let recovered = state.failing.take();
        let (done, waiting) = (state.queue.done(), state.queue.len());
        drop(state);
        if let Some(failing) = recovered {
            let seconds = now().unix().saturating_sub(failing.since);
            info!(written, waiting, "the store works again, after {seconds} s; what waited is being written");
        }
        self.report(done, Outcome::Saved);
    }

    fn failed(&mut self, changes: Vec<(u64, Change)>, error: &StoreError) {
        // A full or locked database is the same one when there is room again; anything else is opened anew.
        if !matches!(error.fault, Fault::Full | Fault::Locked | Fault::Replaced) {
            self.connection = None;
        }
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(self.shared.options.retry_max);
        let text = error.to_string();
        let mut state = self.shared.state.lock();
        state.queue.put_back(changes);
        state.in_hand = 0;
        state.failures += 1;
        let since = state.failing.as_ref().map_or_else(|| now().unix(), |failing| failing.since);
        let failing = Failing {
            fault: error.fault.clone(),
            evidence: error.evidence.clone(),
            text: text.clone(),
            since,
        };
        let changed = state.failing.as_ref().is_none_or(|before| before.fault != failing.fault);
        state.failing = Some(failing);
        let (waiting, last) = (state.queue.len(), state.queue.last());
        drop(state);
        if changed {
            self.reminded = Instant::now();
            error!(
                waiting,
                "{text}. The gateway goes on from memory and tries again by itself; a crash before it can write \
                 would lose these changes"
            );
        } else if self.reminded.elapsed() >= REMIND_EVERY {
            self.reminded = Instant::now();
            warn!(waiting, "still nothing can be saved: {text}");
        }
        self.report(last, Outcome::Unsaved);
    }

    /// The one that is refused is given up; the others must not suffer for it.
    fn refused(&mut self, changes: Vec<(u64, Change)>, error: &rusqlite::Error) {
        let mut state = self.shared.state.lock();
        state.in_hand = 0;
        if let [(_, change)] = changes.as_slice() {
            state.refused += 1;
            let (done, what) = (state.queue.done(), name(change));
            drop(state);
            error!("the database refuses {what}: {error}. It is not saved; this is a bug, please report it");
            self.report(done, Outcome::Unsaved);
        } else {
            self.singly = changes.len();
            state.queue.put_back(changes);
        }
    }

    fn report(&mut self, up_to: Ticket, outcome: Outcome) {
        if up_to > self.reported {
            self.reported = up_to;
            if catch_unwind(AssertUnwindSafe(|| self.hook.committed(up_to, outcome))).is_err() {
                error!("an internal error after saving, see above; the store goes on");
            }
        }
    }
}

/// A clock that is wrong when a machine starts is set right by then, or nobody will.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// By which time the age of audit entries is counted. A machine that starts with its clock years ahead would delete them all: so
/// it goes on from the latest entry at first, and follows the clock when that has been so for an hour.
#[derive(Clone, Copy)]
struct AgeFrom {
    start: Instant,
    /// The latest entry of before the start, in seconds of Unix time.
    latest: Option<u64>,
}

impl AgeFrom {
    fn of(connection: &Connection) -> Self {
        let latest =
            connection.query_row("SELECT at FROM audit ORDER BY id DESC LIMIT 1", (), |row| row.get(0));
        let latest = latest.ok().and_then(|at: i64| u64::try_from(at).ok());
        Self { start: Instant::now(), latest }
    }

    /// Seconds of Unix time.
    fn time(self, unix_now: u64, now: Instant) -> u64 {
        let lived = now.saturating_duration_since(self.start);
        match self.latest {
            Some(latest) if lived < BELIEVED_AFTER => unix_now.min(latest.saturating_add(lived.as_secs())),
            _ => unix_now,
        }
    }
}

/// One transaction with all of this.
fn transact(
    connection: &mut Connection,
    options: &StoreOptions,
    changes: &[(u64, Change)],
    lost: u64,
    age_from: AgeFrom,
) -> rusqlite::Result<()> {
    let now = now().unix();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut writer = rows::Writer::new(&transaction, now)?;
    if lost > 0 {
        writer.audit(&gap(now, lost))?;
    }
    for (_, change) in changes {
        writer.write(change)?;
    }
    drop(writer);
    if lost > 0 || changes.is_empty() || changes.iter().any(|(_, change)| matches!(change, Change::Audit(_)))
    {
        prune(&transaction, options, age_from.time(now, Instant::now()))?;
    }
    transaction.commit()
}

fn prune(transaction: &Transaction<'_>, options: &StoreOptions, now: u64) -> rusqlite::Result<()> {
    let oldest = integer(now.saturating_sub(options.audit_age.as_secs()));
    transaction
        .prepare_cached(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute((oldest, PRUNE))?;
    let most = i64::try_from(options.audit_entries).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit \
             WHERE id <= (SELECT max(id) FROM audit) - ?1 ORDER BY id LIMIT ?2)",
        )?
        .execute((most, PRUNE))?;
    Ok(())
}

/// A trail with a hole says so.
fn gap(now: u64, lost: u64) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: "nuncio".into(),
        what: "audit.lost".into(),
        subject: "audit".into(),
        from: None,
        to: Some(format!("{lost} entries were lost while nothing could be written").into()),
    }
}

/// What it is, without what is in it and whose it is: users' addresses may not belong in the log.
fn name(change: &Change) -> String {
    match change {
        Change::Pair(..) => "the record of a pair".to_owned(),
        Change::Secret(name, _) => format!("the secret {name:?}"),
        Change::Proved(domain, _) => format!("what {domain:?} proved"),
        Change::Entry(kind, name, _) => format!("the {kind} {name:?}"),
        Change::Pending(..) => "a message that waits".to_owned(),
        Change::Audit(entry) => format!("an audit entry {:?}", entry.what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 24 * 3600;

    #[test]
    fn a_clock_that_is_ahead_at_the_start_makes_nothing_old() {
        let start = Instant::now();
        let age = AgeFrom { start, latest: Some(1000) };
        assert_eq!(age.time(1000 + YEAR, start), 1000);
        let almost = start + BELIEVED_AFTER - Duration::from_secs(1);
        assert_eq!(age.time(1000 + YEAR, almost), 1000 + 3599);
        assert_eq!(age.time(1000 + YEAR, start + BELIEVED_AFTER), 1000 + YEAR, "that is how late it is");
    }

    #[test]
    fn a_clock_that_is_back_makes_nothing_old_either_and_without_a_trail_there_is_nothing_to_go_by() {
        let start = Instant::now();
        assert_eq!(AgeFrom { start, latest: Some(1000 + YEAR) }.time(1000, start), 1000);
        assert_eq!(AgeFrom { start, latest: None }.time(1000, start), 1000);
    }
}
