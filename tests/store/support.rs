//! Stores and records to play with.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nuncio::store::{Committed, FILE, Keep, Opened, Outcome, Store, StoreError, StoreOptions, Ticket};
use nuncio_sip::event::DialogRecord;
use nuncio_translate::judge::Added;
use nuncio_translate::pair::{From, NotifierRecord, PairKey, PairRecord, SubscriberRecord, To};

/// Only a store that hangs takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Hears what a store reports.
pub(crate) struct Ear(Receiver<(Ticket, Outcome)>);

struct Mouth(Mutex<Sender<(Ticket, Outcome)>>);

impl Committed for Mouth {
    fn committed(&self, up_to: Ticket, outcome: Outcome) {
        // Nobody may be listening any more.
        let _ = self.0.lock().unwrap().send((up_to, outcome));
    }
}

impl Ear {
    /// Waits until this ticket is done.
    pub(crate) fn hears(&self, ticket: Ticket) -> Outcome {
        loop {
            let (up_to, outcome) = self.0.recv_timeout(PATIENCE).expect("the store reports");
            if up_to >= ticket {
                return outcome;
            }
        }
    }
}

/// Waits until the store is well again.
pub(crate) fn well_again(store: &Store) {
    let deadline = Instant::now() + PATIENCE;
    while let Some(failing) = store.health().failing {
        assert!(Instant::now() < deadline, "{failing:?}");
        std::thread::yield_now();
    }
}

/// Tries again quickly.
pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        retry_initial: Duration::from_millis(10),
        retry_max: Duration::from_millis(50),
        ..StoreOptions::default()
    }
}

pub(crate) fn open(folder: &Path) -> Result<Opened, StoreError> {
    Store::open(folder, options())
}

pub(crate) fn start(folder: &Path) -> (Store, Ear) {
    start_with(folder, options())
}

pub(crate) fn start_with(folder: &Path, options: StoreOptions) -> (Store, Ear) {
    let opened = Store::open(folder, options).unwrap();
    opened.log();
    let store = opened.store;
    let (sender, receiver) = channel();
    store.start(Arc::new(Mouth(Mutex::new(sender)))).unwrap();
    (store, Ear(receiver))
}

/// Makes a database with a few pairs, closed as at a planned stop.
pub(crate) fn furnish(folder: &Path, pairs: u64) {
    let (store, ear) = start(folder);
    let tickets: Vec<_> = (1..=pairs).map(|n| store.save_pair(&key(n), record(n))).collect();
    if let Some(last) = tickets.last() {
        assert_eq!(ear.hears(*last), Outcome::Saved);
    }
    store.close(PATIENCE).unwrap();
    assert!(!folder.join(format!("{FILE}-wal")).exists(), "closed properly");
}

pub(crate) fn close(store: &Store) -> Result<(), StoreError> {
    store.close(PATIENCE)
}

/// All pairs, sorted.
pub(crate) fn pairs(store: &dyn Keep) -> Vec<(PairKey, PairRecord)> {
    let mut pairs = Vec::new();
    let count = store.load_pairs(&mut |key, record| pairs.push((key, record))).unwrap();
    assert_eq!(count, pairs.len() as u64);
    pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    pairs
}

pub(crate) fn key(n: u64) -> PairKey {
    PairKey::new(&format!("user{n:06}@contoso.example"), &format!("contact{}@partner.example", n % 100))
}

/// A record with something in every field, and different for every number.
pub(crate) fn record(n: u64) -> PairRecord {
    PairRecord {
        added: Some(Added { since: n, last_subscribe: n + 1 }),
        sip_user_wrote: Some(n + 2),
        to: To::Yes,
        from: From::Yes,
        from_since: n + 3,
        subscriber: Some(SubscriberRecord { dialog: dialog(n, 2), expires_at: n + 4 }),
        shown: vec!["phone".into(), format!("laptop-{n}").into()],
        notifiers: vec![
            NotifierRecord {
                dialog: dialog(n + 5, 0),
                endpoint: format!("epid={n:x}").into(),
                accept: "application/pidf+xml".into(),
                expires_at: n + 6,
                front_end: "pool1".into(),
            },
            NotifierRecord {
                dialog: dialog(n + 7, 1),
                endpoint: "".into(),
                accept: "".into(),
                expires_at: n + 8,
                front_end: "pool1".into(),
            },
        ],
    }
}

pub(crate) fn dialog(n: u64, routes: usize) -> DialogRecord {
    DialogRecord {
        call_id: format!("call-{n}").into(),
        local_tag: format!("l{n}").into(),
        remote_tag: "".into(),
        local_uri: "sip:romeo@partner.example".into(),
        remote_uri: format!("sip:user{n}@contoso.example;opaque=user:epid:{n};gruu").into(),
        remote_target: "sip:192.0.2.1:5061;transport=tls;ms-opaque=ab%20cd".into(),
        routes: (0..routes)
            .map(|hop| format!("<sip:edge{hop}.contoso.example;lr>;x=\"a, b\"").into())
            .collect(),
        local_cseq: u32::try_from(n).unwrap(),
        remote_cseq: n.is_multiple_of(2).then_some(u32::MAX),
        event_id: (!n.is_multiple_of(2)).then(|| "17".into()),
    }
}
