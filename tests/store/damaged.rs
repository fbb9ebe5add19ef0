//! A database that is damaged under the gateway that has it open: a disk that loses what was written, or somebody who writes
//! into it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nuncio::store::{FILE, Fault, Keep, Opened, Outcome, Store, Ticket, check};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use crate::support::{Ear, close, furnish, key, open, pairs, record, start};

const PAGE: usize = 4096;
/// More than SQLite keeps in memory: a page that it knows it does not read again.
const MANY: u64 = 6000;

/// Overwrites so many bytes of the file from there on, in place.
pub(crate) fn overwrite(file: &Path, from: usize, most: usize) {
    let size = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
    let open = fs::OpenOptions::new().write(true).open(file).unwrap();
    open.write_all_at(&vec![0x5a; (size - from).min(most)], from as u64).unwrap();
}

/// Saves the records of so many pairs, other ones than before, and waits for the last.
fn save_all(store: &Store, ear: &Ear, most: u64, add: u64) -> Outcome {
    let tickets: Vec<Ticket> = (1..=most).map(|n| store.save_pair(&key(n), record(n + add))).collect();
    ear.hears(*tickets.last().unwrap())
}

/// The gateway that has it open notices as soon as it comes to such a page, says so, and goes on from memory: nobody waits for
/// the disk. A stop says how much is not written, and the next start refuses the file and leaves it alone.
#[test]
fn pages_that_are_overwritten_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), MANY);
    let path = folder.path().join(FILE);
    let (store, ear) = start(folder.path());
    overwrite(&path, PAGE, usize::MAX);
    assert_eq!(save_all(&store, &ear, MANY, 10_000), Outcome::Unsaved);
    let failing = store.health().failing.unwrap();
    assert_eq!(failing.fault, Fault::Damaged, "{failing:?}");
    assert!(
        failing.text.contains("is damaged (") && failing.text.contains("nuncio store check"),
        "{failing:?}"
    );
    assert_eq!(ear.hears(store.save_pair(&key(MANY + 1), record(1))), Outcome::Unsaved);
    let found = check(folder.path()).map(|checked| checked.findings);
    assert!(
        found.as_ref().map_or_else(|error| error.fault == Fault::Damaged, |found| !found.is_empty()),
        "{found:?}"
    );
    let error = close(&store).unwrap_err();
    assert_eq!(error.fault, Fault::Damaged);
    assert!(error.to_string().contains("changes were not written"), "{error}");
    drop(store);
    let before = fs::read(&path).unwrap();
    assert_eq!(open(folder.path()).map(|_| ()).unwrap_err().fault, Fault::Damaged);
    assert!(fs::read(&path).unwrap() == before, "the file was changed");
}

/// What it has in memory it does not read again, so it may not notice. The next start does.
#[test]
fn pages_that_nobody_reads_again_are_found_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 200);
    let (store, ear) = start(folder.path());
    overwrite(&folder.path().join(FILE), PAGE, usize::MAX);
    ear.hears(store.save_pair(&key(1), record(2)));
    // Whether it says so depends on what SQLite has read.
    let _ = close(&store);
    drop(store);
    assert_eq!(open(folder.path()).map(|_| ()).unwrap_err().fault, Fault::Damaged);
}

/// What a gateway that was killed has left, once three transactions have been reported as saved.
pub(crate) fn killed() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 200);
    let (store, ear) = start(folder.path());
    for round in 1..=3 {
        assert_eq!(save_all(&store, &ear, 200, 1000 * round), Outcome::Saved);
    }
    let left = tempfile::tempdir().unwrap();
    for file in [FILE.to_owned(), format!("{FILE}-wal")] {
        fs::copy(folder.path().join(&file), left.path().join(&file)).unwrap();
    }
    let log = left.path().join(format!("{FILE}-wal"));
    (left, log)
}

/// SQLite passes over everything in the log from the first frame on that is not right, without a word.
#[test]
fn a_log_that_is_overwritten_is_not_passed_over_after_a_crash() {
    for (from, evidence) in [
        (0, "its log, nuncio.db-wal, has lost its beginning"),
        (32, "its log, nuncio.db-wal, is not what was written from frame 0 on"),
        (32 + 2 * (24 + PAGE) + 100, "its log, nuncio.db-wal, is not what was written from frame 2 on"),
    ] {
        let (left, log) = killed();
        overwrite(&log, from, 16);
        let before = fs::read(&log).unwrap();
        let error = open(left.path()).map(|_| ()).unwrap_err();
        assert_eq!((&error.fault, error.evidence.as_str()), (&Fault::DamagedLog, evidence));
        assert_eq!(check(left.path()).unwrap().findings, [evidence]);
        assert!(fs::read(&log).unwrap() == before, "the log was changed");
    }
}

/// The database by itself is as good as it was when the log was taken over.
#[test]
fn what_is_advised_when_the_log_alone_is_damaged_saves_what_is_in_the_database() {
    let (left, log) = killed();
    overwrite(&log, 32, 16);
    let error = open(left.path()).map(|_| ()).unwrap_err();
    let advice = error.advice();
    assert!(
        advice.contains("then move nuncio.db-wal and nuncio.db-shm away, and those two only"),
        "{advice}"
    );
    assert!(!advice.contains("empty") && error.needs_somebody(), "{advice}");
    for suffix in ["-wal", "-shm"] {
        let file = left.path().join(format!("{FILE}{suffix}"));
        let away = left.path().join(format!("away{suffix}"));
        assert!(fs::rename(file, away).is_ok() || suffix == "-shm", "{suffix}");
    }
    assert_eq!(check(left.path()).unwrap().findings, [""; 0]);
    assert_eq!(pairs(&open(left.path()).unwrap().store).len(), 200);
}

/// Lets SQLite take all of the log over, and leave it.
fn take_over(database: &Connection) {
    let took = database.query_one("PRAGMA wal_checkpoint(PASSIVE)", (), |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    });
    let (busy, frames, taken) = took.unwrap();
    assert!(busy == 0 && frames > 0 && frames == taken, "{busy} {frames} {taken}");
}

/// When all is taken over SQLite begins the log again, with a header in the place of the one before: a power cut may tear it.
#[test]
fn a_log_whose_header_was_torn_when_it_was_begun_again_has_lost_nothing() {
    for (changes, lost) in [(&[true][..], false), (&[true, true], false), (&[true, false], true)] {
        let (left, log) = killed();
        let database = Connection::open(left.path().join(FILE)).unwrap();
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        let size = fs::metadata(&log).unwrap().len();
        for (number, taken) in changes.iter().enumerate() {
            // The next ones begin the log again, and leave most of what was there behind them.
            if number > 0 {
                database
                    .execute("INSERT INTO secret (name, value, since) VALUES ('x', x'01', 0)", ())
                    .unwrap();
            }
            if *taken {
                take_over(&database);
            }
        }
        database.close().unwrap();
        assert_eq!(fs::metadata(&log).unwrap().len(), size);
        overwrite(&log, 16, 16);
        match open(left.path()) {
            Ok(Opened { store, .. }) => {
                let saved = pairs(&store);
                assert!((1..=200).all(|n| saved.contains(&(key(n), record(n + 3000)))), "{changes:?}");
                assert_eq!(store.secret("x").is_some(), changes.len() > 1);
                assert!(!lost, "{changes:?}");
            }
            Err(error) => assert!(lost && error.fault == Fault::DamagedLog, "{changes:?}: {error}"),
        }
    }
}

/// A power cut leaves a transaction half written at the end, and that was never reported as saved.
#[test]
fn a_log_that_ends_in_the_middle_of_a_transaction_is_as_good_as_before_it() {
    for cut in [1, 100, 24 + PAGE as u64 + 7] {
        let (left, log) = killed();
        let size = fs::metadata(&log).unwrap().len();
        fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(size - cut).unwrap();
        let opened = open(left.path()).unwrap();
        assert!(opened.recovered);
        let saved = pairs(&opened.store);
        let before = |n| saved.contains(&(key(n), record(n + 2000)));
        let lasts = |n| saved.contains(&(key(n), record(n + 3000)));
        assert!((1..=200).all(|n| before(n) || lasts(n)) && before(200), "all but the last transaction");
    }
    let (left, _) = killed();
    let saved = pairs(&open(left.path()).unwrap().store);
    assert!((1..=200).all(|n| saved.contains(&(key(n), record(n + 3000)))), "whole, it is all there");
}
