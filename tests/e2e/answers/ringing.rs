//! Messages of contacts that wait while an invitation rings: they are noted, and whatever becomes of the process, nobody loses
//! one without a word.

use std::sync::Arc;
use std::time::Duration;

use nuncio::gateway::Im;
use nuncio::store::{Fault, PendingMessage};
use nuncio_translate::judge::{Snapshot, UserPolicy, Verdict};
use nuncio_world::sip_text::SipMessage;
use nuncio_xmpp::lane::{FailureKind, LaneConfig};

use crate::acknowledged::{ENABLE, REQUEST, handled, said};
use crate::house::{House, Plan, Reach, Reply};

const ALICE: &str = "alice@contoso.com";
const PARTNER: &str = "fabrikam.com";
const SECOND: Duration = Duration::from_secs(1);

/// A house whose user lets everything ring.
fn ringing() -> House {
    let mut house = House::planned(Plan { im: Im::Session, ..Plan::default() });
    house.rule = Box::new(rings);
    house
}

fn rings(request: &SipMessage) -> Reply {
    match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    }
}

fn writes(house: &mut House, id: &str) {
    let message = format!(
        "<message from='bob@fabrikam.com/home' to='{ALICE}' id='{id}' type='chat'><body>secret</body></message>"
    );
    house.partner_says(PARTNER, &message);
}

/// The next process, with what was on the disk of this one.
fn next(house: &House) -> House {
    let store = Arc::new(house.store.crash());
    let mut next = House::planned(Plan {
        im: Im::Session,
        store,
        unix_ms: (house.now + SECOND).unix_ms,
        ..Plan::default()
    });
    next.gateway.restore(next.now).unwrap();
    next.run();
    next
}

/// What contacts were told, by id: condition and words.
fn told(house: &mut House) -> Vec<(String, String, String)> {
    let stanzas = house.stanzas(PARTNER);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    stanzas
        .iter()
        .filter_map(|stanza| {
            let error = stanza.child("error")?;
            let words = error.child("text").map(|text| text.text.clone()).unwrap_or_default();
            let condition = error.children.first().map(|condition| condition.name.clone());
            Some((text(stanza.attribute("id")), text(condition.as_deref()), words))
        })
        .collect()
}

#[test]
fn a_message_that_waits_for_people_is_acknowledged_when_it_is_on_record_and_not_before() {
    let mut house = ringing();
    house.partner_says(PARTNER, ENABLE);
    said(&mut house);
    house.disk_hangs = true;
    writes(&mut house, "b1");
    house.partner_says(PARTNER, REQUEST);
    assert_eq!(said(&mut house), handled(0));
    house.advance(20 * SECOND);
    assert_eq!(said(&mut house), "", "the disk does not say that it stands there");
    house.disk_hangs = false;
    house.run();
    assert_eq!(said(&mut house), handled(1));
    assert_eq!(
        house.store.pending_messages(),
        [PendingMessage {
            sender: "bob@fabrikam.com/home".into(),
            recipient: ALICE.into(),
            stanza_id: Some("b1".into()),
            since: house.store.pending_messages()[0].since,
        }],
        "who, whom and which; not what it says"
    );
}

#[test]
fn a_message_that_waits_for_two_seconds_or_less_never_reaches_the_disk() {
    let mut house = ringing();
    house.partner_says(PARTNER, ENABLE);
    said(&mut house);
    writes(&mut house, "b1");
    house.partner_says(PARTNER, REQUEST);
    house.advance(2 * SECOND - Duration::from_millis(1));
    assert_eq!((said(&mut house), house.store.pending_messages()), (handled(0), vec![]));
    house.advance(Duration::from_millis(2));
    assert_eq!(said(&mut house), handled(1));
    assert_eq!(house.store.pending_messages().len(), 1);
}

#[test]
fn what_a_disk_refuses_is_acknowledged_when_it_has_come_to_its_end() {
    let mut house = ringing();
    house.partner_says(PARTNER, ENABLE);
    said(&mut house);
    writes(&mut house, "b1");
    house.partner_says(PARTNER, REQUEST);
    house.disk_hangs = true;
    house.advance(3 * SECOND);
    let (ticket, outcome) = house.store.fail().expect("somebody waits");
    house.gateway.committed(ticket, outcome, house.now);
    house.run();
    assert_eq!(said(&mut house), handled(0), "it stands nowhere");
    // Written later, when nobody waits for word of it any more.
    house.disk_hangs = false;
    house.run();
    assert_eq!(house.store.pending_messages().len(), 1);
    house.advance(5 * 60 * SECOND);
    assert_eq!(told(&mut house).len(), 1, "nobody answered the invitation");
    assert_eq!(said(&mut house).trim(), handled(1));
    assert_eq!(house.store.pending_messages(), []);
}

#[test]
fn what_waited_when_the_process_was_killed_is_told_to_its_sender_by_the_next_one() {
    for management in [true, false] {
        let mut house = ringing();
        if management {
            house.partner_says(PARTNER, ENABLE);
        }
        writes(&mut house, "b1");
        writes(&mut house, "b2");
        house.advance(5 * SECOND);
        let mut house = next(&house);
        house.advance(SECOND);
        let told = told(&mut house);
        let ids: Vec<_> = told.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!(ids, ["b1", "b2"], "{management}");
        assert_eq!(told[0].1, "internal-server-error");
        assert!(told[0].2.ends_with("it may not have been delivered"), "{told:?}");
        assert_eq!(house.count("xmpp_to_sip_failed"), 2);
        house.advance(60 * SECOND);
        assert!(house.requests().is_empty(), "and nothing goes to the user");
    }
}

#[test]
fn senders_are_told_again_by_the_one_after_it_until_that_has_surely_left() {
    let mut house = ringing();
    writes(&mut house, "b1");
    house.advance(5 * SECOND);
    let mut second = next(&house);
    second.advance(SECOND);
    assert_eq!(told(&mut second).len(), 1);
    let mut third = next(&second);
    third.advance(61 * SECOND);
    assert_eq!(told(&mut third).len(), 1, "the second one was killed at once");
    let mut fourth = next(&third);
    fourth.advance(61 * SECOND);
    assert_eq!(told(&mut fourth), []);
    assert_eq!(fourth.gateway.deadline(), None, "nothing is left to be done");
}

#[test]
fn a_message_that_came_to_its_end_is_on_record_no_more() {
    let mut house = ringing();
    house.front_end_takes = 6 * SECOND;
    house.rule = Box::new(crate::sessions::accepts);
    writes(&mut house, "b1");
    house.advance(5 * SECOND);
    assert_eq!(house.store.pending_messages().len(), 1, "it waits for the answer");
    house.front_end_takes = Duration::ZERO;
    house.advance(2 * SECOND);
    assert!(house.requests().iter().any(|request| request.method() == Some("MESSAGE")));
    assert_eq!(house.store.pending_messages(), []);
    let mut house = next(&house);
    house.advance(20 * SECOND);
    assert_eq!(told(&mut house), []);
}

#[test]
fn numbers_of_the_process_before_are_not_given_out_again() {
    let mut house = ringing();
    writes(&mut house, "b1");
    house.advance(5 * SECOND);
    let mut house = next(&house);
    house.rule = Box::new(rings);
    house.advance(40 * SECOND);
    writes(&mut house, "b2");
    house.advance(5 * SECOND);
    let ids = house.store.pending_messages().into_iter().filter_map(|message| message.stanza_id);
    assert_eq!(ids.collect::<Vec<_>>(), ["b1", "b2"], "one told of, one that waits");
    house.advance(30 * SECOND);
    let left = house.store.pending_messages();
    assert_eq!(left.iter().filter_map(|message| message.stanza_id.as_deref()).collect::<Vec<_>>(), ["b2"]);
}

/// A house after a crash in which so many messages waited.
fn after_a_crash_of(messages: usize, lane: LaneConfig) -> House {
    let mut house = ringing();
    for number in 0..messages {
        writes(&mut house, &format!("b{number}"));
    }
    house.advance(5 * SECOND);
    assert_eq!(house.store.pending_messages().len(), messages);
    let store = Arc::new(house.store.crash());
    House::planned(Plan { store, lane, unix_ms: (house.now + SECOND).unix_ms, ..Plan::default() })
}

#[test]
fn more_senders_than_a_lane_has_room_for_are_told_in_turns() {
    let mut house = after_a_crash_of(80, LaneConfig { capacity: 30, ..LaneConfig::default() });
    house.reach.insert(PARTNER, Reach::Pending);
    house.gateway.restore(house.now).unwrap();
    house.advance(2 * SECOND);
    assert_eq!(told(&mut house), [], "there is no stream");
    house.reach.remove(PARTNER);
    house.advance(5 * 60 * SECOND);
    let mut ids: Vec<_> = told(&mut house).into_iter().map(|(id, ..)| id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 80, "each of them");
    assert_eq!(house.store.pending_messages(), []);
}

#[test]
fn senders_whose_server_cannot_be_reached_are_told_when_it_can() {
    let mut house = after_a_crash_of(2, LaneConfig::default());
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    house.gateway.restore(house.now).unwrap();
    house.advance(10 * 60 * SECOND);
    assert_eq!((told(&mut house), house.store.pending_messages().len()), (vec![], 2));
    house.reach.remove(PARTNER);
    // The lane may have to wait for its own next attempt.
    house.advance(10 * 60 * SECOND);
    assert_eq!(told(&mut house).len(), 2);
    assert_eq!(house.store.pending_messages(), []);
    assert_eq!(house.gateway.deadline(), None, "nothing is left to be done");
}

#[test]
fn what_a_stream_took_with_it_unconfirmed_is_said_again() {
    let mut house = after_a_crash_of(1, LaneConfig::default());
    house.pings_answered = false;
    house.gateway.restore(house.now).unwrap();
    house.advance(SECOND);
    assert_eq!(told(&mut house).len(), 1);
    house.cut_line(PARTNER);
    house.pings_answered = true;
    house.advance(61 * SECOND);
    assert_eq!(told(&mut house).len(), 1, "once more");
    house.advance(61 * SECOND);
    assert_eq!((told(&mut house), house.store.pending_messages()), (vec![], vec![]));
}

#[test]
fn after_a_day_nobody_is_told_any_more() {
    let mut house = after_a_crash_of(1, LaneConfig::default());
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    house.gateway.restore(house.now).unwrap();
    house.advance(25 * 3600 * SECOND);
    house.reach.remove(PARTNER);
    house.advance(3600 * SECOND);
    assert_eq!((told(&mut house), house.store.pending_messages()), (vec![], vec![]));
    assert_eq!(house.gateway.deadline(), None, "nothing is left to be done");
}

#[test]
fn a_message_to_a_domain_that_is_ours_no_more_is_forgotten() {
    let mut house = ringing();
    writes(&mut house, "b1");
    house.advance(5 * SECOND);
    let store = Arc::new(house.store.crash());
    let mut house = House::planned(Plan { served: &["contoso.net"], store, ..Plan::default() });
    house.gateway.restore(house.now).unwrap();
    house.advance(SECOND);
    assert_eq!((told(&mut house), house.store.pending_messages()), (vec![], vec![]));
}

/// What is on record, by the ids of the messages.
fn on_record(house: &House) -> Vec<String> {
    let messages = house.store.pending_messages().into_iter();
    messages.filter_map(|message| message.stanza_id.map(Into::into)).collect()
}

/// A house in which one message waits, and is acknowledged, of a partner who then cannot be reached any more.
fn cut_off() -> House {
    let mut house = ringing();
    house.partner_says(PARTNER, ENABLE);
    writes(&mut house, "b1");
    house.advance(3 * SECOND);
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    house
}

#[test]
fn an_error_of_a_message_that_was_acknowledged_waits_for_its_partner() {
    let mut house = cut_off();
    house.advance(10 * 60 * SECOND);
    assert_eq!((told(&mut house), on_record(&house)), (vec![], vec!["b1".to_owned()]), "nobody answered");
    house.reach.remove(PARTNER);
    house.advance(10 * 60 * SECOND);
    let told = told(&mut house);
    assert_eq!(told.len(), 1);
    assert!(!told[0].2.contains("interrupted"), "what became of it: {told:?}");
    assert_eq!(on_record(&house), [""; 0]);
    assert_eq!(house.count("xmpp_to_sip_failed"), 1, "counted once");
    assert_eq!(house.gateway.deadline(), None, "nothing is left to be done");
}

#[test]
fn an_error_that_a_stop_could_not_deliver_is_told_by_the_next_process() {
    let mut house = cut_off();
    house.gateway.end_subscriptions();
    house.gateway.give_up(house.now);
    house.run();
    house.gateway.drain_lanes();
    house.advance(SECOND);
    assert_eq!((told(&mut house), on_record(&house)), (vec![], vec!["b1".to_owned()]));
    let mut house = next(&house);
    house.advance(SECOND);
    assert_eq!(told(&mut house).len(), 1);
}

#[test]
fn whom_the_rules_forbid_by_then_is_told_what_all_are_told_whom_they_forbid() {
    let mut house = ringing();
    writes(&mut house, "b1");
    house.advance(5 * SECOND);
    let store = Arc::new(house.store.crash());
    let mut house = House::planned(Plan { store, im: Im::Session, ..Plan::default() });
    let denied = UserPolicy::new(true, Verdict::Deny, Vec::new());
    let policy = Snapshot::clone(&house.gateway.policy()).with_generation(9).with_users(denied);
    house.gateway.set_policy(policy);
    house.gateway.restore(house.now).unwrap();
    house.advance(SECOND);
    let told = told(&mut house);
    let told: Vec<_> = told.iter().map(|(id, condition, words)| [id.as_str(), condition, words]).collect();
    assert_eq!(told, [["b1", "service-unavailable", ""]]);
}

#[test]
fn a_disk_that_hangs_under_what_waits_is_said_to_hang() {
    let mut house = ringing();
    house.partner_says(PARTNER, ENABLE);
    house.disk_hangs = true;
    writes(&mut house, "b1");
    house.advance(10 * SECOND);
    let failing = house.gateway.store_health(house.now).failing.expect("nothing is wrong?");
    assert_eq!(failing.fault, Fault::Silent);
    house.disk_hangs = false;
    house.run();
    assert_eq!(house.gateway.store_health(house.now).failing, None);
}

#[test]
fn an_error_that_is_larger_than_his_server_takes_is_given_up() {
    let mut house = ringing();
    house
        .features
        .insert(PARTNER, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>");
    writes(&mut house, &"x".repeat(11_000));
    house.advance(5 * SECOND);
    assert_eq!(on_record(&house).len(), 1);
    house.advance(5 * 60 * SECOND);
    assert_eq!((told(&mut house), on_record(&house)), (vec![], vec![]));
    assert_eq!(house.gateway.deadline(), None, "nothing is left to be done");
}
