//! A database that is damaged under the gateway that has it open: a disk that loses what was written, or somebody who writes into it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nuncio::store::{FILE, Fault, Keep, Outcome, Store, Ticket, check};
use tempfile::TempDir;

use crate::support::{Ear, close, furnish, key, open, pairs, record, start};

const PAGE: usize = 4096;
/// More than SQLite keeps in memory: a page that it knows it does not read again.
const MANY: u64 = 6000;

/// Overwrites so many bytes of the file from there on, in place.
fn overwrite(file: &Path, from: usize, most: usize) {
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
fn killed() -> (TempDir, PathBuf) {
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
        assert_eq!((&error.fault, error.evidence.as_str()), (&Fault::Damaged, evidence));
        assert_eq!(check(left.path()).unwrap().findings, [evidence]);
        assert!(fs::read(&log).unwrap() == before, "the log was changed");
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
