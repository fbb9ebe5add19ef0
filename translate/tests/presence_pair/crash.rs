//! What outlives the process: nothing but what was stored.

use std::time::Duration;

use nuncio_sip::event::Undelivered;
use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::*;

use crate::pair_rig::*;

/// Both users see each other: the front end's dialog with us, and the endpoint's.
fn both() -> (Rig, Remote, Remote) {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    let mut watched = Remote::of(&subscribe, "fe");
    rig.in_dialog(&watched.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    let mut endpoint = Remote::endpoint("c1");
    let request = endpoint.subscribe(3600);
    rig.subscribe(&request, "epid1");
    endpoint.gateway_tag = rig.newest_tag();
    rig.answer_all(200);
    rig.stanza("", "type='subscribed'", "");
    rig.stanza("/garden", "", "");
    rig.pass(Duration::from_secs(600));
    rig.answer_all(200);
    rig.told();
    rig.take_facts();
    rig.answers.clear();
    (rig, watched, endpoint)
}

#[test]
fn after_a_crash_dialogs_go_on_and_nobody_is_asked_for_consent() {
    let (mut rig, watched, mut endpoint) = both();
    rig.crash();
    // A yes that is young may not have been heard: he is told again, and ignores it.
    assert_eq!(rig.told(), ["subscribed", "probe"]);
    let refresh = rig.request();
    assert_eq!(message(&refresh).call_id().unwrap(), watched.call_id);
    rig.respond(&refresh, 200, "Expires: 3600\r\n");
    let mut watched = Remote { cseq: watched.cseq, ..Remote::of(&refresh, "fe") };
    let number = rig.in_dialog(&watched.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    assert_eq!(rig.status(number), 200);
    assert_eq!(rig.told(), ["available desk"]);
    let number = rig.in_dialog(&endpoint.subscribe(3600));
    assert_eq!(rig.status(number), 200);
}

#[test]
fn after_a_crash_nothing_is_shown_before_the_contact_is_heard() {
    let (mut rig, _, _) = both();
    rig.crash();
    rig.answer_all(200);
    rig.pass(Duration::from_secs(10));
    assert!(rig.answer_all(200).is_empty());
    rig.stanza("/garden", "", "");
    rig.stanza("/balcony", "", "");
    rig.pass(Duration::from_secs(2));
    let notifys = rig.answer_all(200);
    assert_eq!(notifys.len(), 1, "the picture is shown as a whole");
    assert_eq!(body(&notifys[0]).matches("<basic>open").count(), 2);
}

#[test]
fn after_a_crash_a_front_end_that_comes_back_late_is_asked_although_all_tries_were_in_vain() {
    let (mut rig, _, _) = both();
    rig.crash_and_wait();
    for _ in 0..50 {
        rig.pass_until_request(Duration::from_secs(3600));
        for request in std::mem::take(&mut rig.requests) {
            rig.fail(&request, Undelivered::NotSent);
        }
    }
    assert_eq!(rig.told(), ["unavailable desk"], "XI-09: he is not seen for ever");
    rig.pass_until_request(Duration::from_secs(24 * 3600));
    assert!(rig.requests.is_empty(), "{:?}", rig.requests);
    rig.input(|pair, context| pair.resume(context));
    let subscribe = rig.request();
    assert_eq!(expires(&subscribe), Some(3600));
}

/// Only the contact watches; he sees the SIP user at his desk.
fn watched() -> Rig {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    let mut dialog = Remote::of(&subscribe, "fe");
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    // A yes that is young is said again.
    rig.pass_until_request(Duration::from_secs(3600));
    rig.answer_all(200);
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    rig.pass_until_request(Duration::from_secs(3600));
    rig.answer_all(200);
    rig.told();
    rig
}

/// Time passes, and no request finds a way to the front end.
fn pass_without_front_end(rig: &mut Rig, time: u64) {
    for _ in 0..time {
        rig.pass(Duration::from_secs(1));
        for request in std::mem::take(&mut rig.requests) {
            rig.fail(&request, Undelivered::NotSent);
        }
    }
}

#[test]
fn xi_09_after_a_crash_the_user_of_a_front_end_that_stays_away_is_unavailable_after_the_outage_and_once() {
    let mut rig = watched();
    rig.crash();
    rig.told();
    pass_without_front_end(&mut rig, 299);
    assert_eq!(rig.told(), [""; 0]);
    pass_without_front_end(&mut rig, 1);
    assert_eq!(rig.told(), ["unavailable desk"]);
    pass_without_front_end(&mut rig, 3 * 3600);
    assert_eq!(rig.told(), [""; 0], "that is said once");
    rig.stanza("", "type='probe'", "");
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    let mut dialog = Remote::of(&subscribe, "fe");
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    assert!(rig.told().contains(&"available desk".to_owned()));
}

#[test]
fn xi_09_that_nobody_vouches_for_the_user_any_more_is_said_again_if_it_was_lost() {
    let mut rig = watched();
    rig.crash_and_wait();
    rig.input(|pair, context| pair.out_of_sight(context));
    assert_eq!(rig.lose_stanzas(), 1);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.told(), ["unavailable desk"]);
}

#[test]
fn xi_09_what_a_contact_may_have_seen_although_the_crash_swallowed_it_is_taken_back_too() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    let mut dialog = Remote::of(&subscribe, "fe");
    rig.in_dialog(&dialog.notify("active;expires=3600", ""));
    rig.commits = false;
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    rig.crash_and_wait();
    rig.told();
    rig.input(|pair, context| pair.out_of_sight(context));
    assert_eq!(rig.told(), ["unavailable"]);
}

#[test]
fn after_a_crash_a_silent_contact_is_unknown_after_half_a_minute() {
    let (mut rig, _, _) = both();
    rig.crash();
    rig.answer_all(200);
    rig.pass(Duration::from_secs(29));
    assert!(rig.answer_all(200).is_empty());
    rig.pass(Duration::from_secs(2));
    let notifys = rig.answer_all(200);
    assert_eq!(notifys.len(), 1);
    assert_eq!(body(&notifys[0]), "");
}

#[test]
fn a_contact_who_forgot_over_a_crash_is_not_asked_again_by_us() {
    let (mut rig, _, _) = both();
    rig.crash();
    rig.told();
    rig.requests.clear();
    rig.stanza("", "type='unsubscribed'", "");
    assert_eq!(rig.told(), [""; 0]);
    assert_eq!(state_of(&rig.request()), "terminated;reason=rejected");
}

#[test]
fn after_a_crash_only_a_document_takes_the_user_away() {
    let (mut rig, _, _) = both();
    rig.crash();
    rig.told();
    let refresh = rig.request();
    rig.respond(&refresh, 481, "");
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    assert_eq!(rig.told(), [""; 0]);
    let mut dialog = Remote::of(&subscribe, "fe2");
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", false, "", "")])));
    assert_eq!(rig.told(), ["unavailable"]);
}

#[test]
fn a_farewell_that_a_crash_swallowed_is_said_again() {
    let (mut rig, _, _) = both();
    rig.stanza("", "type='unsubscribe'", "");
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    rig.crash();
    assert_eq!(rig.told().iter().filter(|told| *told == "unsubscribed").count(), 1);
    assert_eq!(rig.pair.from(), From::No);
    rig.pass(Duration::from_secs(180));
    rig.crash();
    assert!(!rig.told().contains(&"unsubscribed".to_owned()), "he knows by now");
}

#[test]
fn a_request_of_an_endpoint_that_a_crash_swallowed_is_made_again() {
    let mut rig = Rig::new(PartnerType::Federated);
    let request = Remote::endpoint("c1").subscribe(3600);
    rig.subscribe(&request, "epid1");
    rig.answer_all(200);
    rig.told();
    rig.crash();
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.told(), ["subscribe"]);
}

#[test]
fn a_kept_request_outlives_the_process() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.stanza("", "type='subscribe'", "");
    rig.crash();
    assert_eq!(rig.pair.from(), From::Kept);
    assert_eq!(rig.places.held[&Place::KeptRequest], 1);
    assert!(rig.told().is_empty() && rig.requests.is_empty());
}

#[test]
fn replies_to_a_sip_user_outlive_the_process_for_unverified_partners() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.user_writes();
    rig.crash();
    assert_eq!(rig.message_of_contact(), Ok(()));
    rig.pass(Duration::from_secs(DAY));
    assert!(rig.message_of_contact().is_err());
    assert_eq!(rig.stored, None, "and nothing is left of it");
    assert!(rig.pair.is_idle(rig.now));
}

#[test]
fn messages_of_other_partners_are_not_worth_a_record() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.user_writes();
    assert_eq!(rig.stored, None);
    assert!(!rig.pair.has_output());
}

#[test]
fn the_rules_may_have_changed_while_nobody_was_there() {
    let (mut rig, _, _) = both();
    rig.snapshot = snapshot(2, PartnerType::Federated, true, {
        use nuncio_translate::judge::{UserPolicy, Verdict};
        UserPolicy::new(false, Verdict::Allow, vec![])
    });
    rig.crash();
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    assert!(rig.requests.iter().any(|request| state_of(request) == "terminated;reason=rejected"));
}

#[test]
fn ev_14_cseq_grows_through_one_crash_after_the_other() {
    let (mut rig, ..) = both();
    let mut last = 0;
    for crash in 1..4 {
        rig.crash();
        let refresh = rig.request();
        let cseq = message(&refresh).cseq().unwrap().number;
        assert!(cseq > last, "{cseq} after {last} with crash {crash}");
        last = cseq;
    }
}
