//! A file system that has become read-only: a small one in memory, seen by a child process only.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nuncio::store::{FILE, Fault, Keep, Outcome};
use rusqlite::Connection;

use crate::child;
use crate::support::{
    PATIENCE, close, furnish, key, open, options, pairs, record, start, start_with, well_again,
};

fn remount(folder: &Path, how: &str) {
    let status = Command::new("mount").args(["-o", &format!("remount,{how},size=8m")]).arg(folder).status();
    assert!(status.unwrap().success(), "remount {how}");
}

/// A database as a crash leaves it: with its last changes in the log.
fn crashed(into: &Path, companions: &[&str]) {
    let elsewhere = tempfile::tempdir().unwrap();
    let (store, ear) = start(elsewhere.path());
    for n in 1..=20 {
        ear.hears(store.save_pair(&key(n), record(n)));
    }
    for suffix in companions {
        let name = format!("{FILE}{suffix}");
        fs::copy(elsewhere.path().join(&name), into.join(&name)).unwrap();
    }
}

/// Runs the test again in a process of its own on a small disk, unless this is that process; what it logged.
fn on_a_small_disk(test: &str, live: impl FnOnce(&Path)) -> Option<String> {
    if let Some(folder) = child::folder() {
        child::log();
        live(&folder);
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    let log = child::run(&format!("read_only::{test}"), folder.path(), &wrapper);
    Some(log.replace(&folder.path().display().to_string(), "DIR"))
}

/// In the child: a gateway starts, serves, and writes once it may.
fn live_through_it(folder: &Path) {
    furnish(folder, 20);
    remount(folder, "ro");
    let (store, ear) = start(folder);
    let before: Vec<_> = (1..=20).map(|n| (key(n), record(n))).collect();
    assert_eq!(pairs(&store), before, "what is there is served");
    assert_eq!(store.health().failing.unwrap().fault, Fault::ReadOnly);
    assert_eq!(ear.hears(store.save_pair(&key(1), record(99))), Outcome::Unsaved, "nobody waits");
    assert_eq!(open(folder).map(|_| ()).unwrap_err().fault, Fault::InUse, "it has the lock all the same");
    let check = Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args(["store", "check", "--state-dir"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(check.status.success(), "it is whole");
    eprintln!("{}", String::from_utf8(check.stderr).unwrap());
    remount(folder, "rw");
    well_again(&store);
    assert_eq!(ear.hears(store.save_pair(&key(21), record(21))), Outcome::Saved);
    let after = pairs(&store);
    assert_eq!((after.len(), &after[0]), (21, &(key(1), record(99))), "what came meanwhile is written");
    close(&store).unwrap();
}

#[test]
fn a_gateway_starts_serves_what_is_there_and_writes_when_it_may() {
    let name = "a_gateway_starts_serves_what_is_there_and_writes_when_it_may";
    let Some(log) = on_a_small_disk(name, live_through_it) else { return };
    let fault = "DIR/nuncio.db cannot be written: it, or the file system it is on, is read-only (";
    let advice = "make DIR writable again (mount shows how it is mounted, dmesg why it may have changed). ";
    let said = format!(
        "{advice}The gateway starts with what is in it, goes on from memory and tries again by itself"
    );
    assert!(log.contains(&format!("ERROR nuncio::store::sqlite: {fault}")) && log.contains(&said), "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "once: {log}");
    assert_eq!(log.matches("the store works again, after ").count(), 1, "{log}");
    assert!(log.contains(&format!("But {fault}")), "and nuncio store check says so: {log}");
    assert!(log.contains(&format!("{advice}A gateway serves with what is in it")), "{log}");
}

#[test]
fn what_a_crash_left_in_the_log_is_read_too() {
    on_a_small_disk("what_a_crash_left_in_the_log_is_read_too", |folder| {
        crashed(folder, &["", "-wal", "-shm"]);
        remount(folder, "ro");
        let store = open(folder).unwrap().store;
        assert_eq!(pairs(&store).len(), 20);
    });
}

/// Better no start than one that has forgotten who may see whom.
#[test]
fn a_log_that_cannot_be_read_is_not_passed_over() {
    on_a_small_disk("a_log_that_cannot_be_read_is_not_passed_over", |folder| {
        crashed(folder, &["", "-wal"]);
        remount(folder, "ro");
        assert_eq!(open(folder).map(|_| ()).unwrap_err().fault, Fault::ReadOnly);
        remount(folder, "rw");
        assert_eq!(pairs(&open(folder).unwrap().store).len(), 20);
    });
}

#[test]
fn damage_and_a_schema_from_the_future_are_refused_there_too() {
    on_a_small_disk("damage_and_a_schema_from_the_future_are_refused_there_too", |folder| {
        furnish(folder, 200);
        let path = folder.join(FILE);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2 / 4096 * 4096;
        damaged[middle..middle + 4096].fill(0x5a);
        fs::write(&path, damaged).unwrap();
        remount(folder, "ro");
        assert_eq!(open(folder).map(|_| ()).unwrap_err().fault, Fault::Damaged);
        remount(folder, "rw");
        fs::write(&path, whole).unwrap();
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        remount(folder, "ro");
        let error = open(folder).map(|_| ()).unwrap_err();
        assert_eq!(error.fault, Fault::Future { found: 99, known: 4 });
    });
}

#[test]
fn a_first_start_there_is_refused() {
    on_a_small_disk("a_first_start_there_is_refused", |folder| {
        remount(folder, "ro");
        assert_eq!(open(folder).map(|_| ()).unwrap_err().fault, Fault::ReadOnly);
    });
}

/// The lock is missing, so it cannot be held before something can be written.
#[test]
fn without_a_lock_to_hold_it_is_taken_before_the_first_write() {
    on_a_small_disk("without_a_lock_to_hold_it_is_taken_before_the_first_write", |folder| {
        furnish(folder, 1);
        fs::remove_file(folder.join("nuncio.lock")).unwrap();
        remount(folder, "ro");
        let (first, _ear) = start_with(folder, options());
        let (second, _other) = start_with(folder, options());
        remount(folder, "rw");
        let well = |store: &nuncio::store::Store| store.health().failing.is_none();
        let deadline = Instant::now() + PATIENCE;
        while !well(&first) && !well(&second) {
            assert!(Instant::now() < deadline, "neither of them writes");
            std::thread::yield_now();
        }
        let faults = [&first, &second].map(|store| store.health().failing.map(|failing| failing.fault));
        assert!(
            faults.contains(&None) && faults.iter().any(Option::is_some),
            "one of them writes: {faults:?}"
        );
    });
}
