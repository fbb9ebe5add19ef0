//! The contact is told that he sees no more, and what he asks for after that.

use std::time::Duration;

use nuncio_translate::judge::{PartnerType, UserPolicy};
use nuncio_translate::pair::*;

use super::contact_watches::{asked, notify, seen};
use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The contact saw the SIP user, and may not any more: that is what is on its way to him.
fn unseen() -> Rig {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
    rig.answer_all(200);
    rig
}

fn adds(rig: &mut Rig, call_id: &str) -> Request {
    let request = Remote::endpoint(call_id).subscribe(3600);
    let number = rig.subscribe(&request, "epid1");
    assert_eq!(rig.status(number), 200);
    let at = rig.requests.iter().position(|request| matches!(request.half, Half::Subscriber(_)));
    rig.requests.remove(at.expect("his request goes to the front end"))
}

#[test]
fn trust_a_request_that_answers_a_farewell_is_kept_in_silence() {
    let mut rig = unseen();
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    rig.stanza("", "type='subscribe'", "");
    assert_eq!((rig.pair.from(), rig.told()), (From::Kept, vec![]), "as of anybody");
    rig.pass(Duration::from_secs(3 * DAY));
    rig.crash();
    assert_eq!(rig.told(), [""; 0]);
    let mut dialog = Remote::of(&adds(&mut rig, "c9"), "fe9");
    rig.told();
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    assert_eq!(rig.told()[0], "subscribed");
}

#[test]
fn trust_after_a_farewell_that_was_lost_what_he_saw_is_taken_back_and_his_request_is_not_refused() {
    for crash in [false, true] {
        let mut rig = unseen();
        if crash {
            rig.stanzas.clear();
            rig.stanza("", "type='subscribe'", "");
            rig.crash();
        } else {
            assert_eq!(rig.lose_stanzas(), 2);
            rig.stanza("", "type='subscribe'", "");
        }
        rig.pass(MINUTE);
        assert_eq!((rig.pair.from(), rig.told()), (From::Kept, vec!["unavailable".to_owned()]), "{crash}");
        rig.stanza("", "type='subscribe'", "");
        rig.pass(MINUTE);
        assert_eq!(rig.told(), [""; 0], "it has arrived");
        adds(&mut rig, "c9");
    }
}

#[test]
fn trust_a_farewell_that_never_arrives_is_said_for_a_day() {
    for asks in [false, true] {
        let mut rig = unseen();
        rig.lose_stanzas();
        if asks {
            rig.stanza("", "type='subscribe'", "");
        }
        let lost_in = |rig: &mut Rig, hours: u64| {
            let mut lost = 0;
            for _ in 0..hours * 60 {
                rig.pass(MINUTE);
                lost += rig.lose_stanzas();
            }
            lost
        };
        assert!(lost_in(&mut rig, 22) > 0 && lost_in(&mut rig, 1) > 0, "asks: {asks}");
        lost_in(&mut rig, 2);
        assert_eq!(lost_in(&mut rig, 24), 0, "asks: {asks}");
        rig.crash();
        assert_eq!(rig.told(), [""; 0], "asks: {asks}");
    }
}

#[test]
fn trust_a_farewell_to_a_partner_that_was_disabled_for_days_is_said_when_he_is_enabled() {
    let mut rig = unseen();
    rig.lose_stanzas();
    rig.policy(PartnerType::PublicUnverified, false, UserPolicy::default());
    rig.pass(Duration::from_secs(3 * DAY));
    assert_eq!(rig.told(), [""; 0]);
    rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
    rig.pass(MINUTE);
    assert!(rig.told().contains(&"unsubscribed".to_owned()));
}

#[test]
fn trust_a_farewell_is_not_said_when_the_domain_may_be_somebody_elses() {
    for asks in [false, true] {
        let mut rig = unseen();
        rig.lose_stanzas();
        if asks {
            rig.stanza("", "type='subscribe'", "");
        }
        rig.partner_removed(UserPolicy::default());
        rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
        rig.pass(MINUTE);
        rig.crash();
        assert_eq!((rig.pair.from(), rig.told()), (From::No, vec![]), "asks: {asks}");
    }
}

#[test]
fn trust_a_subscribed_that_was_lost_on_a_disabled_partner_is_said_when_he_is_enabled() {
    for crash in [false, true] {
        let (mut rig, mut dialog) = asked(PartnerType::Federated);
        notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "", "")]));
        rig.policy(PartnerType::Federated, false, UserPolicy::default());
        assert_eq!(rig.lose_stanzas(), 2);
        rig.pass(MINUTE);
        if crash {
            rig.crash();
        }
        assert_eq!(rig.told(), [""; 0]);
        rig.policy(PartnerType::Federated, true, UserPolicy::default());
        rig.pass(MINUTE);
        assert!(rig.told().contains(&"subscribed".to_owned()), "crash: {crash}");
    }
}

fn takes_consent_away(rig: &mut Rig) {
    rig.input(|pair, context| pair.consent_removed(context));
    rig.commit();
}

/// What the contact asked for waits until it is stored that the SIP user has added him.
#[test]
fn trust_what_waits_for_the_store_is_not_asked_for_without_the_consent_it_was_judged_by() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.stanza("", "type='subscribe'", "");
    rig.commits = false;
    let request = Remote::endpoint("c1").subscribe(3600);
    rig.subscribe(&request, "epid1");
    assert!(rig.requests.is_empty(), "{:?}", rig.requests);
    takes_consent_away(&mut rig);
    let asks = |request: &Request| matches!(request.half, Half::Subscriber(_));
    assert!(!rig.requests.iter().any(asks), "{:?}", rig.requests);
    assert_eq!(rig.pair.from(), From::Kept);
    // The machine that wanted it is free: the next one who adds him gets through.
    rig.answer_all(200);
    adds(&mut rig, "c2");
}

#[test]
fn trust_what_waits_for_the_store_is_not_shown_without_the_consent_it_was_judged_by() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.stanza("", "type='subscribe'", "");
    let mut dialog = Remote::of(&adds(&mut rig, "c1"), "fe1");
    rig.told();
    rig.commits = false;
    rig.in_dialog(&dialog.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
    assert_eq!(rig.told(), [""; 0], "it is to be stored first");
    takes_consent_away(&mut rig);
    let told = rig.told();
    assert!(!told.iter().any(|told| told == "subscribed" || told.starts_with("available")), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("unsubscribed"));
}
