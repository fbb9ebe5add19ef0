//! Endpoints that ask for what Lync adds: BENOTIFY, the document in the answer, a subscription that notifications extend.

use std::time::Duration;

use nuncio_sip::Method;
use nuncio_sip::event::Answer;
use nuncio_translate::judge::{PartnerType, Refusal, UserPolicy, Verdict};
use nuncio_translate::pair::*;

use super::user_watches::{notified, watching};
use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Another endpoint of the same user subscribes; its dialog, and the answer it gets.
fn another(rig: &mut Rig) -> (Remote, Answered) {
    let mut endpoint = Remote::endpoint("another");
    let number = rig.subscribe(&endpoint.subscribe_with_extras(3600), "epid2");
    endpoint.gateway_tag = rig.newest_tag();
    (endpoint, rig.answer(number).expect("an answer"))
}

fn answer(answered: Answered) -> Answer {
    let Answered::With(answer) = answered else { panic!("{answered:?}") };
    answer
}

#[test]
fn the_answer_holds_the_document_and_nothing_follows() {
    let (mut rig, _) = watching();
    let answer = answer(another(&mut rig).1);
    let (media, body) = *answer.body.unwrap();
    assert_eq!(media, "application/pidf+xml");
    assert!(String::from_utf8_lossy(&body).contains("reading"));
    rig.pass(MINUTE);
    assert!(rig.requests.is_empty());
}

#[test]
fn an_answer_that_waits_for_the_store_holds_none() {
    let (mut rig, _) = watching();
    rig.input(|pair, context| pair.consent_removed(context));
    notified(&mut rig);
    rig.commits = false;
    let mut endpoint = Remote::endpoint("another");
    let number = rig.subscribe(&endpoint.subscribe_with_extras(3600), "epid2");
    assert_eq!(rig.answer(number), None);
    rig.commit();
    let answered = rig.answer(number).expect("an answer");
    assert_eq!(answer(answered).body, None);
    assert_eq!(message(&rig.request()).method(), Method::Benotify);
}

#[test]
fn trust_what_the_rules_forbid_stands_in_no_answer() {
    let (mut rig, mut endpoint) = watching();
    rig.policy(PartnerType::Federated, true, UserPolicy::new(false, Verdict::Allow, vec![]));
    let (_, answered) = another(&mut rig);
    assert_eq!(answered, Answered::Refused(Refusal::FederationOff));
    let number = rig.in_dialog(&endpoint.subscribe_with_extras(3600));
    match rig.answer(number).expect("an answer") {
        Answered::Refused(refusal) => assert_eq!(refusal, Refusal::FederationOff),
        Answered::With(answer) => assert_eq!((answer.status, answer.body), (481, None)),
    }
}

#[test]
fn a_benotify_is_done_with_when_it_has_left() {
    let (mut rig, _) = watching();
    another(&mut rig);
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(MINUTE);
    let benotify = |request: &Request| message(request).method() == Method::Benotify;
    let at = rig.requests.iter().position(benotify).expect("a BENOTIFY");
    let request = rig.requests.remove(at);
    rig.leave(&request);
    notified(&mut rig);
    rig.stanza("/garden", "", "<show>xa</show>");
    assert_eq!(rig.requests.iter().filter(|request| benotify(request)).count(), 1);
}

#[test]
fn what_notifications_add_is_not_written_each_time() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe_with_extras(3600));
    let stored = rig.stored.clone().unwrap().notifiers[0].expires_at;
    for (minutes, show) in [(4, "dnd"), (4, "xa")] {
        rig.pass(minutes * MINUTE);
        rig.stanza("/garden", "", &format!("<show>{show}</show>"));
        let request = rig.request();
        assert_eq!(state_of(&request), "active;expires=3600");
        rig.leave(&request);
        assert_eq!(rig.stored.clone().unwrap().notifiers[0].expires_at, stored);
    }
    rig.pass(4 * MINUTE);
    rig.stanza("/garden", "", "");
    let request = rig.request();
    rig.leave(&request);
    assert!(rig.stored.clone().unwrap().notifiers[0].expires_at >= stored + 12 * 60);
}

#[test]
fn restart_until_the_next_subscribe_it_is_a_notify() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe_with_extras(3600));
    rig.crash();
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(MINUTE);
    assert_eq!(message(&rig.requests[0]).method(), Method::Notify);
}
