//! What is kept, and what reports it.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use compact_str::CompactString;
use nuncio::store::{
    AuditEntry, FILE, Keep, Outcome, PendingMessage, Shown, StoreOptions, Table, Ticket, check, show,
};
use nuncio_sip::event::DialogRecord;
use nuncio_translate::judge::Added;
use nuncio_translate::pair::{From, NotifierRecord, PairKey, PairRecord, SubscriberRecord, To};
use proptest::prelude::*;

use crate::support::{close, furnish, key, open, options, pairs, record, start, start_with};

#[test]
fn the_first_start_makes_a_private_database() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    assert!(open(&state).unwrap().created);
    let mode = std::fs::metadata(state.join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!open(&state).unwrap().created, "the second finds it");
}

#[test]
fn its_companions_are_private_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    ear.hears(store.save_pair(&key(1), record(1)));
    for name in [format!("{FILE}-wal"), format!("{FILE}-shm"), "nuncio.lock".to_owned()] {
        let mode = std::fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_pair_comes_back_as_it_was_saved_last() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    store.save_pair(&key(1), record(1));
    store.save_pair(&key(2), record(2));
    ear.hears(store.save_pair(&key(1), record(3)));
    // Fewer dialogs and resources than before: the others must not stay behind.
    let slim = PairRecord { from: From::Kept, from_since: 9, ..PairRecord::default() };
    ear.hears(store.save_pair(&key(2), slim.clone()));
    close(&store).unwrap();
    drop(store);
    let store = open(folder.path()).unwrap().store;
    assert_eq!(pairs(&store), [(key(1), record(3)), (key(2), slim)]);
}

#[test]
fn what_is_forgotten_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    for n in 1..=3 {
        ear.hears(store.save_pair(&key(n), record(n)));
    }
    store.forget_pair(&key(1));
    ear.hears(store.save_pair(&key(2), PairRecord::default()));
    assert_eq!(pairs(&store), [(key(3), record(3))]);
    let rows = check(folder.path()).unwrap().tables;
    assert_eq!(
        rows,
        [
            ("pair", 1),
            ("dialog", 3),
            ("route", 3),
            ("shown", 2),
            ("pending", 0),
            ("audit", 0),
            ("secret", 0),
            ("proved", 0),
            ("partner", 0),
            ("policy", 0),
            ("block", 0)
        ]
    );
}

#[test]
fn a_ticket_is_reported_when_a_reader_can_see_the_change() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    for n in 1..=50 {
        let ticket = store.save_pair(&key(n), record(n));
        assert_eq!(ear.hears(ticket), Outcome::Saved);
        assert_eq!(pairs(&store).len() as u64, n);
    }
}

#[test]
fn what_came_before_the_start_is_written_after_it() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path(), 1);
    let (store, ear) = start(folder.path());
    assert_eq!(ear.hears(store.save_pair(&key(2), record(2))), Outcome::Saved);
    let waiting = open(folder.path());
    assert!(waiting.is_err(), "one store for one folder");
    close(&store).unwrap();
    drop(store);
    let store = open(folder.path()).unwrap().store;
    assert_eq!(store.save_pair(&key(3), record(3)), Ticket(1), "takes before it is started");
    assert_eq!((pairs(&store).len(), store.health().waiting), (2, 1));
}

#[test]
fn many_changes_are_few_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    let mut last = Ticket(0);
    for round in 0..20 {
        for n in 0..1000 {
            last = store.save_pair(&key(n), record(n + round));
        }
    }
    assert_eq!(ear.hears(last), Outcome::Saved);
    let health = store.health();
    assert_eq!((health.waiting, health.failing), (0, None));
    assert!(health.commits < 2000, "{} transactions for 20,000 changes", health.commits);
    assert_eq!(pairs(&store)[999], (key(999), record(999 + 19)));
}

#[test]
fn messages_that_wait_come_back_until_they_are_cleared_and_only_those_of_the_process_before() {
    let folder = tempfile::tempdir().unwrap();
    let message = |id: Option<&str>| PendingMessage {
        sender: "romeo@fabrikam.example/orchard".into(),
        recipient: "juliet@contoso.example".into(),
        stanza_id: id.map(Into::into),
        since: NOW,
    };
    let (store, ear) = start(folder.path());
    store.note_pending(7, message(Some("m1")));
    ear.hears(store.note_pending(8, message(None)));
    store.note_pending(9, message(Some("never")));
    store.clear_pending(9);
    assert_eq!(store.pending(), [], "its own");
    close(&store).unwrap();
    drop(store);
    let (store, ear) = start(folder.path());
    assert_eq!(store.pending(), [(7, message(Some("m1"))), (8, message(None))]);
    assert_eq!(shown(folder.path(), Table::Pending, "ROMEO").len(), 2);
    assert!(shown(folder.path(), Table::Pending, "mercutio").is_empty());
    store.clear_pending(7);
    // Nobody waits for what is only cleared, and what comes next is written with it.
    ear.hears(store.save_pair(&key(1), record(1)));
    close(&store).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().store.pending(), [(8, message(None))]);
}

fn shown(folder: &std::path::Path, table: Table, with: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for json in [false, true] {
        let what = Shown { table, json, with: Some(with), most: 9 };
        let mut found = Vec::new();
        show(folder, what, &mut |line| {
            found.push(line.to_owned());
            Ok(())
        })
        .unwrap();
        assert!(found.iter().all(|line| line.contains("juliet@contoso.example")), "{found:?}");
        lines = found;
    }
    lines
}

#[test]
fn secrets_outlive_the_process_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start(folder.path());
    assert_eq!(store.secret("dialback"), None);
    store.set_secret("dialback", b"first");
    let ticket = store.set_secret("dialback", b"s3cr3t-\xff");
    assert_eq!(store.secret("dialback").as_deref(), Some(&b"s3cr3t-\xff"[..]), "at once");
    ear.hears(ticket);
    assert!(!format!("{store:?}").contains("115, 51"), "not in debug output either");
    close(&store).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().store.secret("dialback").as_deref(), Some(&b"s3cr3t-\xff"[..]));
}

fn entry(at: u64, subject: &str) -> AuditEntry {
    AuditEntry {
        at,
        actor: "alice@contoso.example".into(),
        what: "pair.added".into(),
        subject: subject.into(),
        from: None,
        to: Some("added".into()),
    }
}

fn trail(folder: &std::path::Path) -> Vec<String> {
    let mut lines = Vec::new();
    let what = Shown { table: Table::Audit, json: false, with: None, most: usize::MAX };
    show(folder, what, &mut |line| {
        lines.push(line.to_owned());
        Ok(())
    })
    .unwrap();
    lines
}

const NOW: u64 = 1_800_000_000;

#[test]
fn the_audit_trail_keeps_the_latest_entries() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start_with(folder.path(), StoreOptions { audit_entries: 3, ..options() });
    for n in 0..3 {
        ear.hears(store.audit(entry(NOW + n, "at the limit")));
    }
    assert_eq!(trail(folder.path()).len(), 3);
    ear.hears(store.audit(entry(NOW + 3, "one past it")));
    let trail = trail(folder.path());
    assert_eq!(trail.len(), 3);
    assert_eq!(trail[0], "2027-01-15 08:00:03 UTC  alice@contoso.example  pair.added  one past it: added");
}

#[test]
fn old_audit_entries_go_and_young_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let (store, ear) = start_with(folder.path(), StoreOptions { audit_age: hour, ..options() });
    store.audit(entry(1_000_000, "long ago"));
    // The clock of the machine says now; this is later.
    ear.hears(store.audit(entry(u64::from(u32::MAX), "young")));
    let trail = trail(folder.path());
    assert!(trail.len() == 1 && trail[0].contains("young"), "{trail:?}");
}

#[test]
fn a_start_with_the_clock_years_ahead_deletes_no_audit_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ear) = start_with(folder.path(), StoreOptions { audit_age: Duration::MAX, ..options() });
    // To these, the clock of this machine is decades ahead.
    ear.hears(store.audit(entry(1_000_000, "the trail")));
    ear.hears(store.audit(entry(1_000_060, "its end")));
    close(&store).unwrap();
    drop(store);
    let year = Duration::from_secs(365 * 24 * 3600);
    let (store, ear) = start_with(folder.path(), StoreOptions { audit_age: year, ..options() });
    ear.hears(store.audit(entry(NOW, "today")));
    assert_eq!(trail(folder.path()).len(), 3);
}

fn text() -> impl Strategy<Value = CompactString> {
    prop_oneof![Just(String::new()), "\\PC{1,12}", "[\\x00-\\x7f]{1,12}"].prop_map(Into::into)
}

fn dialogs() -> impl Strategy<Value = DialogRecord> {
    let names = (text(), text(), text(), text(), text(), text());
    let rest =
        (prop::collection::vec(text(), 0..4), any::<u32>(), any::<Option<u32>>(), prop::option::of(text()));
    (names, rest).prop_map(|((a, b, c, d, e, f), (routes, local_cseq, remote_cseq, event_id))| DialogRecord {
        call_id: a,
        local_tag: b,
        remote_tag: c,
        local_uri: d.as_str().into(),
        remote_uri: e.as_str().into(),
        remote_target: f.as_str().into(),
        routes: routes.iter().map(|route| route.as_str().into()).collect(),
        local_cseq,
        remote_cseq,
        event_id,
    })
}

fn records() -> impl Strategy<Value = PairRecord> {
    let time = || 0..=u64::from(u32::MAX) * 1000;
    let notifier = (dialogs(), text(), text(), time(), text()).prop_map(
        |(dialog, endpoint, accept, expires_at, front_end)| NotifierRecord {
            dialog,
            endpoint,
            accept,
            expires_at,
            front_end,
        },
    );
    (
        prop::option::of(
            (time(), time()).prop_map(|(since, last_subscribe)| Added { since, last_subscribe }),
        ),
        prop::option::of(time()),
        prop::sample::select(vec![To::No, To::Pending, To::Yes]),
        prop::sample::select(vec![From::No, From::Kept, From::Pending, From::Yes]),
        time(),
        prop::option::of(
            // Nobody by no name is nobody.
            (dialogs(), time(), text()).prop_map(|(dialog, expires_at, front_end)| SubscriberRecord {
                dialog,
                expires_at,
                front_end,
            }),
        ),
        prop::collection::vec(text(), 0..4),
        prop::collection::vec(notifier, 0..4),
    )
        .prop_map(|(added, sip_user_wrote, to, from, from_since, subscriber, shown, notifiers)| {
            PairRecord { added, sip_user_wrote, to, from, from_since, subscriber, shown, notifiers }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// 16 × up to 40 records, with every character that text can have.
    #[test]
    fn any_record_comes_back_unchanged(records in prop::collection::vec(records(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let (store, ear) = start(folder.path());
        let mut expected = Vec::new();
        let mut last = Ticket(0);
        for (n, record) in records.into_iter().enumerate() {
            let key = PairKey::new(&format!("{n:03}@a.example"), "ä\u{1f600}@b.example");
            last = store.save_pair(&key, record.clone());
            if !record.is_empty() {
                expected.push((key, record));
            }
        }
        ear.hears(last);
        prop_assert_eq!(pairs(&store), expected);
        prop_assert_eq!(check(folder.path()).unwrap().findings, Vec::<String>::new());
    }

    /// With more or fewer dialogs, routes and resources than before.
    #[test]
    fn a_newer_record_replaces_the_older_one_whole(before in records(), after in records()) {
        let folder = tempfile::tempdir().unwrap();
        let (store, ear) = start(folder.path());
        let (key, other) = (PairKey::new("a@a.example", "b@b.example"), PairKey::new("b@a.example", "b@b.example"));
        store.save_pair(&other, before.clone());
        ear.hears(store.save_pair(&key, before.clone()));
        ear.hears(store.save_pair(&key, after.clone()));
        let expected: Vec<_> =
            [(key, after), (other, before)].into_iter().filter(|(_, record)| !record.is_empty()).collect();
        prop_assert_eq!(pairs(&store), expected);
        prop_assert_eq!(check(folder.path()).unwrap().findings, Vec::<String>::new());
    }
}
