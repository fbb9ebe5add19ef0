//! Everything else that can be wrong with the database, and what the administrator is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nuncio::store::{FILE, Fault, Keep, Outcome};
use rusqlite::Connection;

use crate::child;
use crate::support::{close, furnish, key, open, pairs, record, start, well_again};

struct Furnished {
    folder: tempfile::TempDir,
    path: PathBuf,
}

fn furnished() -> Furnished {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 200);
    let path = folder.path().join(FILE);
    Furnished { folder, path }
}

impl Furnished {
    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(&self.path, bytes).unwrap();
    }

    /// The gateway does not start, and the file stays as it is. What it says, and why.
    fn refused(&self) -> (String, Fault) {
        let before = self.bytes();
        let error = refusal(self.folder.path());
        assert!(self.bytes() == before, "the file was changed");
        (error.0.replace(&self.folder.path().display().to_string(), "DIR"), error.1)
    }
}

fn refusal(folder: &Path) -> (String, Fault) {
    let error = open(folder).map(|_| ()).unwrap_err();
    (error.to_string(), error.fault)
}

const DAMAGED: &str = "; nothing in it was changed. See what is wrong with \"nuncio store check --state-dir DIR\", \
    then restore a backup; without one, move nuncio.db, nuncio.db-wal and nuncio.db-shm away: Nuncio then starts \
    empty, and users have to add their contacts again";

#[test]
fn a_truncated_file() {
    let at = furnished();
    let whole = at.bytes();
    at.write(&whole[..whole.len() - 1]);
    let evidence = format!("it has {} bytes of {}: its end is missing", whole.len() - 1, whole.len());
    assert_eq!(at.refused(), (format!("DIR/nuncio.db is damaged ({evidence}){DAMAGED}"), Fault::Damaged));
}

#[test]
fn an_empty_file_is_not_taken_for_a_first_start() {
    let at = furnished();
    at.write(b"");
    let evidence = "it has 0 bytes, too few for any database";
    assert_eq!(at.refused(), (format!("DIR/nuncio.db is damaged ({evidence}){DAMAGED}"), Fault::Damaged));
}

#[test]
fn a_page_full_of_something_else() {
    let at = furnished();
    let mut bytes = at.bytes();
    let pages = bytes.len() / 4096;
    bytes[4096 * (pages / 2)..][..4096].fill(0x5a);
    at.write(&bytes);
    let (text, fault) = at.refused();
    assert_eq!(fault, Fault::Damaged);
    assert!(text.starts_with("DIR/nuncio.db is damaged (") && text.ends_with(DAMAGED), "{text}");
}

#[test]
fn something_that_is_no_database() {
    let at = furnished();
    at.write(
        "nuncio = \"a file of a hundred bytes or so that somebody copied to the wrong place\""
            .repeat(2)
            .as_bytes(),
    );
    let evidence = "it does not begin like an SQLite database";
    assert_eq!(at.refused(), (format!("DIR/nuncio.db is damaged ({evidence}){DAMAGED}"), Fault::Damaged));
}

#[test]
fn a_database_of_another_program() {
    let at = furnished();
    fs::remove_file(&at.path).unwrap();
    Connection::open(&at.path).unwrap().execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    let said = "DIR/nuncio.db is a database, but not one of Nuncio (its application id is 0x0); move it away, or set \
        node.state_dir to a folder that is Nuncio's own";
    assert_eq!(at.refused(), (said.to_owned(), Fault::Foreign));
}

#[test]
fn a_schema_from_the_future() {
    let at = furnished();
    Connection::open(&at.path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let said = "DIR/nuncio.db was written by a newer Nuncio: its schema has version 99, this program knows 4 at most; \
        run the newer version, or restore the backup that was made before it was installed";
    assert_eq!(at.refused(), (said.to_owned(), Fault::Future { found: 99, known: 4 }));
}

#[test]
fn a_second_gateway_in_the_same_place() {
    let at = furnished();
    let (store, ear) = start(at.folder.path());
    let (text, fault) = refusal(at.folder.path());
    assert_eq!(fault, Fault::InUse);
    let said = format!(
        "nuncio.db is in use by another gateway (process {} holds nuncio.lock); stop that one, or give each gateway \
         its own node.state_dir",
        std::process::id()
    );
    assert!(text.ends_with(&said), "{text}");
    assert_eq!(ear.hears(store.save_pair(&key(1), record(2))), Outcome::Saved, "the first goes on");
}

#[test]
fn a_log_without_its_database() {
    let at = furnished();
    fs::write(at.folder.path().join("nuncio.db-wal"), b"changes").unwrap();
    fs::remove_file(&at.path).unwrap();
    let (text, fault) = refusal(at.folder.path());
    assert_eq!(fault, Fault::Orphaned);
    assert!(
        text.contains("is missing, but its companion nuncio.db-wal with the last changes is there; put"),
        "{text}"
    );
    assert!(!at.path.exists(), "none was made in its place");
}

/// Says what the gateway says when it starts as somebody whom permissions bind.
fn refused_when_bound(test: &str, folder: &Path) -> String {
    let text = child::run(test, folder, &child::bound_by_permissions());
    text.replace(&folder.display().to_string(), "DIR")
}

#[test]
fn permission_denied() {
    if let Some(folder) = child::folder() {
        return eprintln!("{}", refusal(&folder).0);
    }
    let at = furnished();
    fs::set_permissions(&at.path, fs::Permissions::from_mode(0o000)).unwrap();
    let text = refused_when_bound("faults::permission_denied", at.folder.path());
    let said = "DIR/nuncio.db may not be used by this user (Permission denied (os error 13)); let the user of the \
        service own DIR and the files in it (ls -ln shows who does)";
    assert!(text.contains(said), "{text}");
}

#[test]
fn permission_denied_to_write() {
    if let Some(folder) = child::folder() {
        return eprintln!("{}", refusal(&folder).0);
    }
    let at = furnished();
    fs::set_permissions(&at.path, fs::Permissions::from_mode(0o400)).unwrap();
    let text = refused_when_bound("faults::permission_denied_to_write", at.folder.path());
    assert!(
        text.contains("DIR/nuncio.db may not be used by this user (it can only be read); let the user"),
        "{text}"
    );
}

#[test]
fn permission_denied_in_the_folder() {
    if let Some(folder) = child::folder() {
        return eprintln!("{}", refusal(&folder).0);
    }
    let at = furnished();
    fs::set_permissions(at.folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let text = refused_when_bound("faults::permission_denied_in_the_folder", at.folder.path());
    fs::set_permissions(at.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(text.contains("may not be used by this user"), "{text}");
}

/// What "nuncio store check" says beside that it is whole.
fn checked_when_bound(test: &str, folder: &Path, may: u32) -> String {
    fs::set_permissions(folder, fs::Permissions::from_mode(may)).unwrap();
    let text = refused_when_bound(test, folder);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    text
}

#[test]
fn check_says_that_a_gateway_does_not_start_with_what_it_may_not_write() {
    const TEST: &str = "faults::check_says_that_a_gateway_does_not_start_with_what_it_may_not_write";
    if let Some(folder) = child::folder() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        let output = command.args(["store", "check", "--state-dir"]).arg(&folder).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        return eprintln!("{}{}", text(output.stdout), text(output.stderr));
    }
    let at = furnished();
    let folder = at.folder.path();
    let advice = "let the user of the service own DIR and the files in it (ls -ln shows who does). A gateway does not \
        start with it as user ";
    let shm = folder.join("nuncio.db-shm");
    fs::write(&shm, "").unwrap();
    for (file, may) in [(&at.path, 0o400), (&shm, 0o400)] {
        fs::set_permissions(file, fs::Permissions::from_mode(may)).unwrap();
        let text = checked_when_bound(TEST, folder, 0o700);
        assert!(
            text.contains("It is whole.\n")
                && text.contains("may not be used by this user (")
                && text.contains(advice),
            "{text}"
        );
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::remove_file(shm).unwrap();
    let text = checked_when_bound(TEST, folder, 0o500);
    assert!(text.contains("(unable to open database file); ") && text.contains(advice), "{text}");
}

#[test]
fn a_file_that_is_replaced_while_the_gateway_runs() {
    let at = furnished();
    let (store, ear) = start(at.folder.path());
    assert_eq!(ear.hears(store.save_pair(&key(1), record(2))), Outcome::Saved);
    let aside = at.folder.path().join("aside");
    fs::rename(&at.path, &aside).unwrap();
    assert_eq!(ear.hears(store.save_pair(&key(1), record(3))), Outcome::Unsaved);
    let failing = store.health().failing.unwrap();
    assert_eq!(failing.fault, Fault::Replaced);
    assert!(
        failing.text.contains("was removed or replaced while the gateway ran (it is gone); put the file"),
        "{failing:?}"
    );
    // Put back, it goes on.
    fs::rename(&aside, &at.path).unwrap();
    well_again(&store);
    assert_eq!(pairs(&store)[0], (key(1), record(3)));
    close(&store).unwrap();
}

/// A backup with another tool, or somebody with `sqlite3`.
#[test]
fn a_database_that_somebody_else_holds() {
    let at = furnished();
    let (store, ear) = start(at.folder.path());
    ear.hears(store.save_pair(&key(1), record(2)));
    let other = Connection::open(&at.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(ear.hears(store.save_pair(&key(1), record(3))), Outcome::Unsaved);
    let failing = store.health().failing.unwrap();
    assert_eq!(failing.fault, Fault::Locked);
    assert!(
        failing.text.contains("is locked by another program (database is locked); end what holds it"),
        "{failing:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    well_again(&store);
    assert_eq!(pairs(&store)[0], (key(1), record(3)));
}
