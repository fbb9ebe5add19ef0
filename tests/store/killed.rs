//! `kill -9` in the middle of writing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use nuncio::store::{Committed, Keep, Outcome, Store, Ticket};

use crate::child;
use crate::support::{key, open, options, pairs, record};

/// Tells the parent what it may rely on from now on.
struct Tell {
    before: u64,
}

impl Committed for Tell {
    fn committed(&self, up_to: Ticket, outcome: Outcome) {
        assert_eq!(outcome, Outcome::Saved);
        println!("\nsaved {}", self.before + up_to.0);
    }
}

/// Saves pair after pair, as fast as it can, until it is killed.
fn write_until_killed(folder: &Path) -> ! {
    let store = Store::open(folder, options()).unwrap().store;
    let before = pairs(&store).len() as u64;
    store.start(Arc::new(Tell { before })).unwrap();
    for n in before + 1.. {
        store.save_pair(&key(n), record(n));
        while store.health().waiting > 200 {
            std::thread::yield_now();
        }
    }
    unreachable!()
}

#[test]
fn whatever_was_reported_as_saved_survives_kill_9() {
    if let Some(folder) = child::folder() {
        write_until_killed(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut promised = 0;
    for round in 1..=8 {
        let name = "killed::whatever_was_reported_as_saved_survives_kill_9";
        let mut process = child::again(name, folder.path(), &["env"]).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // A different moment each time.
        for line in
            lines.map_while(Result::ok).filter(|line| line.starts_with("saved ")).take(1 + round * 3 % 7)
        {
            promised = line["saved ".len()..].parse().unwrap();
        }
        process.kill().unwrap();
        process.wait().unwrap();

        let opened = open(folder.path()).unwrap();
        assert!(opened.recovered, "it was not closed");
        let found = pairs(&opened.store);
        assert!(found.len() as u64 >= promised, "round {round}: {} of {promised} pairs", found.len());
        for (n, pair) in (1..).zip(found) {
            assert_eq!(pair, (key(n), record(n)), "round {round}: whole and without gaps");
        }
    }
    assert!(promised > 0);
}
