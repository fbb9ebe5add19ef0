//! A disk that does not answer.

use std::time::Duration;

use nuncio::store::Fault;
use nuncio_translate::pair::PairKey;

use crate::hearing::Log;
use crate::house::House;
use crate::text::Request;
use crate::watching::*;

const MILLI: Duration = Duration::from_millis(1);

/// Alice adds a contact; the wire on which the answer will come.
fn adds(house: &mut House, contact: &str) -> usize {
    let wire = house.front_end();
    house.send(wire, subscribe(contact, 3600).bytes());
    wire
}

fn answered(house: &mut House, wire: usize) -> bool {
    house.taken(wire).iter().any(|answer| answer.status() == Some(200))
}

#[test]
fn a_disk_that_hangs_holds_up_a_first_subscribe_for_its_patience_and_no_longer() {
    let mut house = house();
    house.disk_hangs = true;
    let wire = adds(&mut house, BOB);
    house.advance(3 * SECOND - MILLI);
    assert!(!answered(&mut house, wire) && house.stanzas(PARTNER).is_empty());
    house.advance(MILLI);
    assert!(answered(&mut house, wire));
    assert_eq!(house.told(PARTNER), ["subscribe"], "in its turn");
    assert_eq!(house.count("store_unsaved"), 1);
    let failing = house.gateway.store_health(house.now).failing.unwrap();
    assert_eq!(failing.fault, Fault::Silent);
    assert!(failing.text.contains("has not answered for 3 s"), "{}", failing.text);
}

#[test]
fn while_a_disk_hangs_nobody_waits_for_it_and_messages_never_did() {
    let mut house = house();
    house.disk_hangs = true;
    let wire = adds(&mut house, BOB);
    assert_eq!(house.ask(wire, Request::message("carol@fabrikam.com", "hi").bytes()).status(), Some(200));
    house.advance(3 * SECOND);
    let wire = adds(&mut house, "carol@fabrikam.com");
    assert!(answered(&mut house, wire), "at once");
}

#[test]
fn when_the_disk_answers_again_it_gets_everything_and_is_waited_for_again() {
    let mut house = house();
    house.disk_hangs = true;
    adds(&mut house, BOB);
    house.advance(3 * SECOND);
    adds(&mut house, "carol@fabrikam.com");
    house.advance(MINUTE);
    house.disk_hangs = false;
    house.run();
    for contact in [BOB, "carol@fabrikam.com"] {
        let record = house.store.pair(&PairKey::new(ALICE, contact)).unwrap();
        assert!(record.added.is_some(), "{contact}: {record:?}");
    }
    assert_eq!(house.gateway.store_health(house.now).failing, None);
    house.disk_hangs = true;
    let wire = adds(&mut house, "dave@fabrikam.com");
    house.advance(3 * SECOND - MILLI);
    assert!(!answered(&mut house, wire));
    house.disk_hangs = false;
    house.run();
    assert!(answered(&mut house, wire));
}

#[test]
fn a_disk_that_is_slow_and_writes_is_waited_for() {
    let mut house = house();
    house.disk_hangs = true;
    let wires: Vec<_> = (0..10).map(|n| adds(&mut house, &format!("bob{n}@fabrikam.com"))).collect();
    for wire in wires {
        house.advance(2 * SECOND);
        assert!(!answered(&mut house, wire), "ahead of the disk");
        // The record, and the entry of the audit trail.
        while !answered(&mut house, wire) {
            let (ticket, outcome) = house.store.commit(1).unwrap();
            house.gateway.committed(ticket, outcome, house.now);
            house.run();
        }
    }
    assert_eq!(house.count("store_unsaved"), 0);
}

#[test]
fn the_log_says_once_that_the_disk_hangs_and_once_that_it_answers() {
    let log = Log::listen();
    let mut house = house();
    house.disk_hangs = true;
    adds(&mut house, BOB);
    house.advance(MINUTE);
    adds(&mut house, "carol@fabrikam.com");
    house.advance(MINUTE);
    let said = "the disk of the store has not answered for 3 s; dmesg may say why, and \"findmnt -T\" with";
    assert_eq!(log.lines_with(said), 1);
    house.disk_hangs = false;
    house.run();
    assert_eq!(log.lines_with("the disk of the store answers again, after 120 s"), 1);
    // One that comes and goes does not fill the log.
    for _ in 0..10 {
        house.disk_hangs = true;
        adds(&mut house, "dave@fabrikam.com");
        house.advance(5 * SECOND);
        house.disk_hangs = false;
        house.run();
    }
    assert_eq!((log.lines_with(said), log.lines_with("answers again")), (1, 1));
}
