//! `nuncio store`

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nuncio::store::{AuditEntry, FILE, Keep};
use nuncio_translate::pair::{PairKey, PairRecord};

use crate::damaged::{killed, overwrite};
use crate::support::{close, furnish, key, open, pairs, record, start};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn nuncio(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_nuncio"))
        .arg("store")
        .args(arguments)
        .arg("--state-dir")
        .arg(folder)
        .output()
        .unwrap();
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&folder.display().to_string(), "DIR");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn check_counts_what_is_there_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    ear.hears(store.save_pair(&key(1), record(1)));
    let said = nuncio(folder.path(), &["check"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.starts_with("DIR/nuncio.db: schema 4, "), "{}", said.out);
    assert!(
        said.out.contains("  dialog           3\n") && said.out.ends_with("It is whole.\n"),
        "{}",
        said.out
    );
    assert_eq!(ear.hears(store.save_pair(&key(2), record(2))), nuncio::store::Outcome::Saved);
}

#[test]
fn show_finds_an_address_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 3);
    let user = key(1).sip_user().to_owned();
    for written in [user.clone(), user.to_uppercase()] {
        let said = nuncio(folder.path(), &["show", "--with", &written]);
        assert!(said.code == Some(0) && said.out.contains(&user), "{written}: {}{}", said.out, said.err);
    }
}

#[test]
fn check_says_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 200);
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let said = nuncio(folder.path(), &["check"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("damaged: ") && said.err.contains("restore the last backup"), "{}", said.err);
    assert!(fs::read(&path).unwrap() == bytes, "nothing was changed");
}

#[test]
fn a_log_that_is_damaged_is_told_from_the_database_and_passed_over_by_nothing() {
    let (left, log) = killed();
    overwrite(&log, 32, 16);
    let said = nuncio(left.path(), &["check"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.starts_with("damaged: its log, nuncio.db-wal, is not what was written"), "{}", said.err);
    assert!(
        said.err.contains("move nuncio.db-wal and nuncio.db-shm away, and those two only"),
        "{}",
        said.err
    );
    // Nor is it passed over by what writes, or taken for all that there was.
    let whole = fs::read(&log).unwrap();
    let copy = left.path().join("copy").display().to_string();
    for command in [&FORGET[..], &["backup", &copy]] {
        let said = nuncio(left.path(), command);
        assert_ne!(said.code, Some(0), "{command:?}");
        assert!(said.err.contains("move nuncio.db-wal and nuncio.db-shm away"), "{command:?}: {}", said.err);
        assert!(fs::read(&log).unwrap() == whole, "{command:?}");
    }
    assert!(!Path::new(&copy).exists());
}

#[test]
fn check_of_what_cannot_be_read_says_so_and_sends_nobody_in_circles() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 20);
    let path = folder.path().join(FILE);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let said = nuncio(folder.path(), &["check"]);
    let evidence = format!(
        "damaged: DIR/nuncio.db: it has {} bytes of {}: its end is missing\n",
        whole.len() - 1,
        whole.len()
    );
    assert!(said.code == Some(1) && said.err.starts_with(&evidence), "{}", said.err);
    assert!(said.err.contains("restore the last backup"), "{}", said.err);
    for advised in ["store check", "store show"] {
        assert!(!said.err.contains(advised), "{advised} helps nobody here: {}", said.err);
    }
}

fn with_configuration(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    let output = command.arg("store").args(arguments).env_remove("NUNCIO_CONFIG").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_verb_takes_a_configuration_file_as_check_config_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.toml");
    fs::write(&file, "[nod]\n").unwrap();
    let file = file.to_str().unwrap();
    for verb in [
        &["check"][..],
        &["backup", "copy.db"],
        &["forget-consent", "alice@contoso.com", "bob@fabrikam.com"],
        &["allow-dialback", "fabrikam.com"],
        &["show"],
        &["show", "audit"],
    ] {
        let (code, said) = with_configuration(&[verb, &[file]].concat());
        assert_eq!(code, Some(1), "{verb:?}: {said}");
        assert!(said.contains(file) && said.contains("nod"), "{verb:?}: {said}");
        let (code, said) = with_configuration(&[verb, &[file, "--state-dir", "/nowhere"]].concat());
        assert_eq!(code, Some(2), "it would not be read: {verb:?}: {said}");
    }
    let (code, said) = with_configuration(&["show", "pears"]);
    assert!(code == Some(2) && said.contains("neither \"pairs\", \"pending\" nor \"audit\""), "{said}");
}

#[test]
fn check_of_nothing_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let said = nuncio(folder.path(), &["check"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.err,
        "nuncio: DIR/nuncio.db does not exist; the gateway makes it at its first start; is this its node.state_dir?\n"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_backup_made_while_the_gateway_runs_can_be_started_from() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (store, ear) = start(&state);
    for n in 1..=100 {
        store.save_pair(&key(n), record(n));
    }
    ear.hears(store.set_secret("dialback", b"secret"));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let copy = other.join(FILE);
    let said = nuncio(&state, &["backup", copy.to_str().unwrap()]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    assert!(said.out.contains("keep it as safe as its keys"), "{}", said.out);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    // It is one file, and what comes later is not in it.
    ear.hears(store.save_pair(&key(101), record(101)));
    let restored = open(&other).unwrap();
    assert!(!restored.recovered && !restored.created);
    let expected: Vec<_> = (1..=100).map(|n| (key(n), record(n))).collect();
    assert_eq!(pairs(&restored.store), expected);
    assert_eq!(restored.store.secret("dialback").as_deref(), Some(&b"secret"[..]));
}

#[test]
fn a_backup_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 1);
    let target = folder.path().join("precious");
    for content in ["", "precious"] {
        fs::write(&target, content).unwrap();
        let said = nuncio(folder.path(), &["backup", target.to_str().unwrap()]);
        assert_eq!(said.code, Some(1));
        assert!(
            said.err.contains("DIR/precious already exists") && said.err.contains("choose another name"),
            "{}",
            said.err
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), content);
    }
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 1);
    let said = nuncio(folder.path(), &["backup", "/nonexistent/folder/copy"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("/nonexistent/folder/copy does not exist"), "{}", said.err);
}

#[test]
fn show_speaks_to_people() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    store.save_pair(&key(1), record(1));
    ear.hears(store.save_pair(&key(2), PairRecord { sip_user_wrote: Some(1), ..PairRecord::default() }));
    let said = nuncio(folder.path(), &["show"]);
    assert_eq!(
        said.out,
        "user000001@contoso.example ⇄ contact1@partner.example: added 1970-01-01 00:00:01 UTC, last SUBSCRIBE \
         1970-01-01 00:00:02 UTC; user watches: yes; contact watches: yes since 1970-01-01 00:00:04 UTC; 3 SIP \
         dialogs; seen available as phone, laptop-1\n\
         user000002@contoso.example ⇄ contact2@partner.example: not added; user watches: no; contact does not watch; \
         0 SIP dialogs\n"
    );
    let one = nuncio(folder.path(), &["show", "pair", "--with", "user000002"]);
    assert_eq!(one.out.lines().count(), 1);
    assert_eq!(nuncio(folder.path(), &["show", "--most", "1"]).out.lines().count(), 1);
}

#[test]
fn show_speaks_to_programs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    let record = PairRecord { shown: vec!["a \"b\"\n".into()], ..PairRecord::default() };
    ear.hears(store.save_pair(&key(1), record));
    let said = nuncio(folder.path(), &["show", "pairs", "--json"]);
    let (_, saved_at) = said.out.split_once("\"saved_at\":").unwrap();
    let (saved_at, _) = saved_at.split_once(',').unwrap();
    assert_eq!(
        said.out.replace(saved_at, "NOW"),
        "{\"sip_user\":\"user000001@contoso.example\",\"contact\":\"contact1@partner.example\",\"added_since\":null,\
         \"last_subscribe\":null,\"sip_user_wrote\":null,\"to\":\"no\",\"from\":\"no\",\"from_since\":0,\
         \"saved_at\":NOW,\"shown\":[\"a \\\"b\\\"\\n\"],\"dialogs\":[]}\n"
    );
}

#[test]
fn nothing_shown_can_act_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    store.audit(AuditEntry {
        at: u64::from(u32::MAX),
        subject: "a\u{1b}[31m\nFORGED".into(),
        ..AuditEntry::default()
    });
    let nasty = PairKey::new("a\u{1b}[2J\u{202e}@x", "b\u{9b}\r@y");
    ear.hears(store.save_pair(&nasty, record(1)));
    for arguments in [
        &["show", "pairs"][..],
        &["show", "pairs", "--json"],
        &["show", "audit"],
        &["show", "audit", "--json"],
    ] {
        let said = nuncio(folder.path(), arguments);
        assert_eq!(said.out.lines().count(), 1, "{arguments:?}");
        assert!(
            !said.out.trim_end().contains(char::is_control) && !said.out.contains('\u{202e}'),
            "{}",
            said.out
        );
    }
}

#[test]
fn secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    store.save_pair(&key(1), record(1));
    ear.hears(store.set_secret("dialback", b"TopSecret"));
    for arguments in [&["check"][..], &["show", "pairs", "--json"], &["show", "audit", "--json"]] {
        let said = nuncio(folder.path(), arguments);
        assert_eq!(said.code, Some(0));
        assert!(!said.out.contains("TopSecret") && !said.err.contains("TopSecret"), "{arguments:?}");
    }
}

const FORGET: [&str; 3] = ["forget-consent", "user000001@contoso.example", "contact1@partner.example"];

#[test]
fn forget_consent_takes_it_away_and_says_what_follows() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 2);
    let said = nuncio(folder.path(), &FORGET);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    for part in [
        "user000001@contoso.example does not count as having added contact1@partner.example any more.",
        "subscriptions of his endpoints (2)",
        "public-unverified",
        "[policy]",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let expected = [(key(1), PairRecord { added: None, ..record(1) }), (key(2), record(2))];
    assert_eq!(pairs(&open(folder.path()).unwrap().store), expected, "and nothing else");
    let trail = nuncio(folder.path(), &["show", "audit"]).out;
    assert!(
        trail.contains("administrator")
            && trail.contains("(removed)")
            && trail.contains("user000001@contoso.example"),
        "{trail}"
    );
    let again = nuncio(folder.path(), &FORGET);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("has not added"), "{}", again.err);
}

#[test]
fn forget_consent_leaves_no_empty_record() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    ear.hears(store.save_pair(&key(1), PairRecord { added: record(1).added, ..PairRecord::default() }));
    close(&store).unwrap();
    assert_eq!(nuncio(folder.path(), &FORGET).code, Some(0));
    assert_eq!(pairs(&open(folder.path()).unwrap().store), []);
}

#[test]
fn forget_consent_refuses_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    ear.hears(store.save_pair(&key(1), record(1)));
    let said = nuncio(folder.path(), &FORGET);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("have it do that, with nuncio consent remove"), "{}", said.err);
    assert_eq!(pairs(&store), [(key(1), record(1))]);
}

#[test]
fn forget_consent_says_what_is_wrong_with_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let said = nuncio(folder.path(), &FORGET);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("DIR/nuncio.db does not exist"), "{}", said.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "and nothing was made");
    furnish(folder.path(), 1);
    let said =
        nuncio(folder.path(), &["forget-consent", "user9@contoso.example", "contact1@partner.example"]);
    assert!(said.code == Some(1) && said.err.contains("nothing is on record"), "{}", said.err);
    let said = nuncio(folder.path(), &["forget-consent", "contoso.example", "contact1@partner.example"]);
    assert!(said.code == Some(1) && said.err.contains("has to look like alice@contoso.com"), "{}", said.err);
    let said = nuncio(folder.path(), &["forget-consent", "sip:USER000001@contoso.example", FORGET[2]]);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn show_says_that_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 1);
    let silent = nuncio(folder.path(), &["show", "pairs", "--with", "nobody", "--json"]);
    assert_eq!((silent.code, silent.out.as_str(), silent.err.as_str()), (Some(0), "", ""));
    let said = nuncio(folder.path(), &["show", "pairs", "--with", "nobody"]);
    assert_eq!(said.code, Some(0));
    assert_eq!(said.err, "There are no pairs on record with \"nobody\" in an address.\n");
    let said = nuncio(folder.path(), &["show", "audit"]);
    assert_eq!(
        (said.out.as_str(), said.err.as_str()),
        ("", "There are no entries of the audit trail on record.\n")
    );
}
