use std::time::UNIX_EPOCH;

use super::*;
use crate::judge::{Direction, Kind, Partner, PartnerType, Question, Refusal, Rule, Snapshot, judge};

fn start() -> Moment {
    Moment { instant: Instant::now(), unix_ms: 1_800_000_000_000 }
}

fn snapshot() -> Snapshot {
    let partner = |domain: &str, partner_type| Partner { domain: domain.into(), partner_type, enabled: true };
    let partners = [
        (partner("fabrikam.example", PartnerType::Federated), vec![]),
        (partner("public.example", PartnerType::PublicUnverified), vec![]),
    ];
    Snapshot::new(1, ["contoso.example".into()], partners)
}

fn stanza(body: &str) -> Element {
    Element::new("message", "jabber:server").with_text(body)
}

fn permit(pair: &Pair, domain: &str, direction: Direction, now: Moment) -> Result<Permit, Refusal> {
    let question = Question {
        sip_user: "alice@contoso.example",
        contact: domain,
        contact_domain: domain,
        direction,
        kind: Kind::Message,
    };
    judge(&snapshot(), &question, pair.consent(), now.unix())
}

fn inbound(pair: &Pair, now: Moment) -> Permit {
    permit(pair, "fabrikam.example", Direction::XmppToSip, now).unwrap()
}

fn write(pair: &mut Pair, body: &str, now: Moment) {
    let permit = inbound(pair, now);
    pair.contact_writes(permit, stanza(body), &PairConfig::default(), now).unwrap();
}

#[test]
fn im_09_one_message_is_pending_and_the_order_is_kept() {
    let (mut pair, now) = (Pair::default(), start());
    write(&mut pair, "1", now);
    write(&mut pair, "2", now);
    let first = inbound(&pair, now);
    let (serial, leaving) = pair.release(first).unwrap();
    assert_eq!(leaving.text(), "1");
    assert_eq!(pair.next_for_sip(), NextForSip::Nothing, "the second waits for the answer to the first");
    let early = inbound(&pair, now);
    assert!(pair.release(early).is_none());
    assert!(pair.settled(serial + 1).is_none(), "an answer to something else settles nothing");
    assert!(matches!(pair.settled(serial), Some(ToSip::Message(stanza)) if stanza.text() == "1"));
    assert!(pair.settled(serial).is_none(), "settled once");
    assert_eq!(pair.next_for_sip(), NextForSip::Message);
    let second = inbound(&pair, now);
    assert_eq!(pair.release(second).unwrap().1.text(), "2");
}

#[test]
fn the_queue_is_bounded_and_the_stanza_comes_back() {
    let (mut pair, now) = (Pair::default(), start());
    let config = PairConfig { queue: 2, ..PairConfig::default() };
    for body in ["1", "2"] {
        let permit = inbound(&pair, now);
        pair.contact_writes(permit, stanza(body), &config, now).unwrap();
    }
    let permit = inbound(&pair, now);
    let back = pair.contact_writes(permit, stanza("3"), &config, now);
    assert_eq!(back.unwrap_err().text(), "3");
    assert_eq!(pair.waiting(), 2);
}

#[test]
fn what_waited_too_long_is_taken_out() {
    let (mut pair, now) = (Pair::default(), start());
    let config = PairConfig::default();
    write(&mut pair, "1", now);
    let later = now + Duration::from_secs(4);
    write(&mut pair, "2", later);
    assert_eq!(pair.deadline(&config, later), Some(now.instant + config.hold));
    assert!(pair.expired(&config, now + Duration::from_millis(9_999)).is_empty());
    let expired = pair.expired(&config, now + Duration::from_secs(10));
    assert_eq!(expired.iter().map(Element::text).collect::<Vec<_>>(), ["1"]);
    assert_eq!(pair.waiting(), 1);
}

#[test]
fn notices_go_before_messages() {
    let (mut pair, now) = (Pair::default(), start());
    write(&mut pair, "1", now);
    pair.notify(Notice::new(Cause::MayBeLost, UNIX_EPOCH));
    assert_eq!(pair.next_for_sip(), NextForSip::Notice);
    let (serial, _) = pair.release_notice().unwrap();
    assert_eq!(pair.next_for_sip(), NextForSip::Nothing);
    assert!(matches!(pair.settled(serial), Some(ToSip::Notice(_))));
    assert_eq!(pair.next_for_sip(), NextForSip::Message);
}

#[test]
fn an_unverified_contact_may_answer_for_a_day_after_the_last_message() {
    let (mut pair, now) = (Pair::default(), start());
    let answer = |pair: &Pair, now| permit(pair, "public.example", Direction::XmppToSip, now).map(drop);
    assert_eq!(answer(&pair, now), Err(Refusal::SipUserFirst));
    let write = permit(&pair, "public.example", Direction::SipToXmpp, now).unwrap();
    assert_eq!((write.rule(), write.generation()), (Rule::SipUserMayWrite, 1));
    pair.sip_user_writes(write, now);
    assert_eq!(answer(&pair, now + Duration::from_secs(86_399)), Ok(()));
    assert_eq!(answer(&pair, now + REPLY_WINDOW), Err(Refusal::SipUserFirst));
}

#[test]
fn a_pair_is_idle_once_nothing_waits_and_no_answer_is_expected() {
    let (mut pair, now) = (Pair::default(), start());
    assert!(pair.is_idle(now));
    let write = permit(&pair, "fabrikam.example", Direction::SipToXmpp, now).unwrap();
    pair.sip_user_writes(write, now);
    assert!(!pair.is_idle(now));
    let end = now + REPLY_WINDOW;
    assert_eq!(pair.deadline(&PairConfig::default(), now), Some(end.instant));
    assert!(pair.is_idle(end));
}

#[test]
fn salvage_gives_back_what_was_held_and_keeps_what_must_not_start_again() {
    let (mut pair, now) = (Pair::default(), start());
    let write_out = permit(&pair, "public.example", Direction::SipToXmpp, now).unwrap();
    pair.sip_user_writes(write_out, now);
    for body in ["1", "2"] {
        write(&mut pair, body, now);
    }
    let first = inbound(&pair, now);
    let (serial, _) = pair.release(first).unwrap();
    pair.notify(Notice::new(Cause::MayBeLost, UNIX_EPOCH));
    let salvage = pair.salvage(now);
    assert_eq!(salvage.messages.iter().map(Element::text).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(salvage.notices, 1);
    assert_eq!((pair.owes(), pair.next_for_sip()), (0, NextForSip::Nothing));
    assert!(pair.consent().replies_open(now.unix()));

    write(&mut pair, "3", now);
    let next = inbound(&pair, now);
    assert_ne!(pair.release(next).unwrap().0, serial);
    assert!(pair.settled(serial).is_none(), "an answer to what was pending before settles nothing");
}
