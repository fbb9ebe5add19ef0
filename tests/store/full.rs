//! A disk without room: a file system in memory of 8 MiB, seen by a child process only.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use nuncio::store::{AuditEntry, Fault, Keep, Outcome, check};

use crate::child;
use crate::support::{close, furnish, key, open, pairs, record, start, well_again};

/// Takes all room that is left; returns the file that does.
fn fill(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}

fn nuncio(folder: &Path, verb: &str) -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .args(["store", verb, "--state-dir"])
        .arg(folder)
        .output()
        .unwrap();
    output.status.success()
}

/// In the child: everything that a running gateway does while its disk is full, and after.
fn live_through_it(folder: &Path) {
    child::log();
    let (store, ear) = start(folder);
    for n in 1..=20 {
        assert_eq!(ear.hears(store.save_pair(&key(n), record(n))), Outcome::Saved);
    }
    let filler = fill(folder);

    // Whoever waits is let go, again and again; the newest record of each pair is kept.
    for round in 1..=3 {
        let mut last = store.audit(AuditEntry { at: round, ..AuditEntry::default() });
        for n in 1..=500 {
            last = store.save_pair(&key(n), record(n + round));
        }
        assert_eq!(ear.hears(last), Outcome::Unsaved);
    }
    let health = store.health();
    assert_eq!(health.failing.map(|failing| failing.fault), Some(Fault::Full));
    assert_eq!(health.waiting, 503, "500 pairs and 3 audit entries");
    assert!(health.failures > 0);

    // What was there is still there, and whole.
    let before: Vec<_> = (1..=20).map(|n| (key(n), record(n))).collect();
    assert_eq!(pairs(&store), before);
    assert!(nuncio(folder, "check"));

    fs::remove_file(filler).unwrap();
    well_again(&store);
    assert_eq!(ear.hears(store.save_pair(&key(501), record(501))), Outcome::Saved);
    let mut expected: Vec<_> = (1..=500).map(|n| (key(n), record(n + 3))).collect();
    expected.push((key(501), record(501)));
    assert_eq!(pairs(&store), expected);
    assert!(nuncio(folder, "check"));
    close(&store).unwrap();
}

#[test]
fn a_running_gateway_goes_on_and_loses_nothing() {
    if let Some(folder) = child::folder() {
        return live_through_it(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    let log = child::run("full::a_running_gateway_goes_on_and_loses_nothing", folder.path(), &wrapper);
    let path = folder.path().display();
    let said = format!(
        "ERROR nuncio::store::writer: {path}/nuncio.db cannot be written: its disk is full (database or disk is \
         full); free some space there (df {path}). The gateway goes on from memory and tries again by itself; a \
         crash before it can write would lose these changes"
    );
    assert_eq!(log.matches(&said).count(), 1, "once, and in these words: {log}");
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    assert_eq!(log.matches("the store works again, after ").count(), 1, "{log}");
}

#[test]
fn a_stop_while_it_is_full_says_what_is_lost() {
    if let Some(folder) = child::folder() {
        let (store, ear) = start(&folder);
        fill(&folder);
        let tickets: Vec<_> = (1..=500).map(|n| store.save_pair(&key(n), record(n))).collect();
        ear.hears(tickets[499]);
        eprintln!("{}", close(&store).unwrap_err());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    let text = child::run("full::a_stop_while_it_is_full_says_what_is_lost", folder.path(), &wrapper);
    assert!(
        text.contains(
            "its disk is full (500 changes were not written; database or disk is full); free some space"
        ),
        "{text}"
    );
}

/// In the child: a gateway starts, serves, and writes once there is room.
fn start_and_live(folder: &Path) {
    furnish(folder, 20);
    let filler = fill(folder);
    child::log();
    let (store, ear) = start(folder);
    let before: Vec<_> = (1..=20).map(|n| (key(n), record(n))).collect();
    assert_eq!(pairs(&store), before, "what is there is served");
    assert_eq!(ear.hears(store.save_pair(&key(1), record(99))), Outcome::Unsaved, "nobody waits");
    assert!(nuncio(folder, "check"), "it is whole");
    fs::remove_file(filler).unwrap();
    well_again(&store);
    assert_eq!(ear.hears(store.save_pair(&key(21), record(21))), Outcome::Saved);
    let after = pairs(&store);
    assert_eq!((after.len(), &after[0]), (21, &(key(1), record(99))), "what came meanwhile is written");
    close(&store).unwrap();
}

#[test]
fn a_start_on_a_full_disk_serves_what_is_there_and_writes_when_there_is_room() {
    if let Some(folder) = child::folder() {
        return start_and_live(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    let name = "full::a_start_on_a_full_disk_serves_what_is_there_and_writes_when_there_is_room";
    let log = child::run(name, folder.path(), &wrapper);
    let path = folder.path().display();
    assert!(log.contains(&format!("{path}/nuncio.db cannot be written: its disk is full (")), "{log}");
    let said = format!(
        "free some space there (df {path}). The gateway starts with what is in it, goes on from memory and tries again \
         by itself; what it cannot write before it ends is lost"
    );
    assert_eq!(log.matches(&said).count(), 1, "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "once: {log}");
    assert_eq!(log.matches("the store works again, after ").count(), 1, "{log}");
}

#[test]
fn the_check_says_that_a_whole_database_cannot_be_written() {
    if let Some(folder) = child::folder() {
        furnish(&folder, 20);
        let roomy = check(&folder).unwrap();
        assert_eq!((roomy.findings, roomy.unwritable), (Vec::<String>::new(), None));
        fill(&folder);
        let full = check(&folder).unwrap();
        assert_eq!((full.findings, full.tables), (Vec::<String>::new(), roomy.tables));
        assert_eq!(
            full.unwritable.map(|error| (error.fault, error.evidence)),
            Some((Fault::Full, "0 KiB are free".into()))
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    child::run("full::the_check_says_that_a_whole_database_cannot_be_written", folder.path(), &wrapper);
}

#[test]
fn allow_dialback_says_why_it_could_not() {
    const DOMAIN: &str = "fabrikam.com";
    let Some(folder) = child::folder() else {
        let folder = tempfile::tempdir().unwrap();
        let wrapper = child::small_disk(folder.path());
        child::run("full::allow_dialback_says_why_it_could_not", folder.path(), &wrapper);
        return;
    };
    let (store, _ear) = start(&folder);
    store.set_proved(DOMAIN, true);
    close(&store).unwrap();
    drop(store);
    let filler = fill(&folder);
    let allow = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        command.args(["store", "allow-dialback", DOMAIN, "--state-dir"]).arg(&folder).output().unwrap()
    };
    let said = allow();
    assert!(!said.status.success());
    let path = folder.display();
    let begins = format!("nuncio: {path}/nuncio.db cannot be written: its disk is full (");
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(text.starts_with(&begins) && !text.contains("above"), "{text}");
    assert!(text.ends_with(&format!("); free some space there (df {path})\n")), "{text}");
    fs::remove_file(filler).unwrap();
    assert!(allow().status.success(), "it was not forgotten before");
}

#[test]
fn a_first_start_on_a_full_disk_leaves_no_half_database() {
    if let Some(folder) = child::folder() {
        let filler = fill(&folder);
        eprintln!("{}", open(&folder).map(|_| ()).unwrap_err());
        fs::remove_file(filler).unwrap();
        assert!(open(&folder).unwrap().created);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wrapper = child::small_disk(folder.path());
    let text =
        child::run("full::a_first_start_on_a_full_disk_leaves_no_half_database", folder.path(), &wrapper);
    assert!(text.contains("its disk is full"), "{text}");
}
