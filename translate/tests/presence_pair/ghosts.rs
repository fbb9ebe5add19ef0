//! A contact who is known from before is not believed in for ever: ghosts are found out (RFC 6121 §4.3.1).

use std::time::Duration;

use crate::pair_rig::*;
use crate::presence_pair::user_watches::{add, notified, watching};

const MINUTE: Duration = Duration::from_secs(60);

/// The partner's streams are lost, and his contacts are to be asked after 10 s.
fn lose_partner(rig: &mut Rig) {
    rig.input(|pair, context| pair.partner_lost(Duration::from_secs(10), context));
}

#[test]
fn xi_10_a_contact_who_is_silent_for_long_is_asked_and_then_unknown() {
    let (mut rig, mut endpoint) = watching();
    for _ in 0..14 {
        rig.pass(MINUTE * 55);
        rig.in_dialog(&endpoint.subscribe(3600));
        notified(&mut rig);
    }
    assert_eq!(rig.told(), ["probe"; 6], "and again, but not for long");
    rig.pass(MINUTE);
    rig.in_dialog(&endpoint.subscribe(3600));
    assert_eq!(body(&rig.answer_all(200).pop().unwrap()), "");
}

#[test]
fn xi_10_an_answer_that_was_lost_is_asked_for_again() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe(0));
    add(&mut rig, "epid1", 3600);
    notified(&mut rig);
    assert_eq!(rig.told(), ["unavailable", "probe"]);
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.told(), [""; 0]);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.told(), ["probe"]);
    // Late, when the contact already counts as unknown.
    rig.pass(MINUTE);
    notified(&mut rig);
    rig.stanza("/balcony", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    let last = rig.answer_all(200).pop().unwrap();
    assert!(body(&last).contains("dnd"), "{}", body(&last));
    rig.told();
    rig.pass(MINUTE * 30);
    assert_eq!(rig.told(), [""; 0], "he was heard");
}

#[test]
fn xi_10_after_the_loss_of_its_streams_a_partners_contact_is_asked_and_nobody_sees_anything_of_it() {
    let (mut rig, _) = watching();
    lose_partner(&mut rig);
    rig.pass(Duration::from_secs(9));
    assert_eq!(rig.told(), [""; 0]);
    lose_partner(&mut rig);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.told(), ["probe"], "a second loss puts nothing off");
    rig.stanza("/garden", "", "<show>away</show><status>reading</status>");
    rig.pass(MINUTE);
    let last = rig.answer_all(200).pop().unwrap();
    assert!(body(&last).contains("<note>reading</note>"), "{}", body(&last));
    assert_eq!(rig.told(), [""; 0], "and that is all");
}

#[test]
fn xi_10_what_the_contact_answers_after_a_loss_takes_the_place_of_what_he_was() {
    let (mut rig, _) = watching();
    rig.stanza("/balcony", "", "");
    rig.pass(Duration::from_secs(6));
    notified(&mut rig);
    lose_partner(&mut rig);
    // The stream is there again before he is asked: that is no answer yet.
    rig.stanza("/balcony", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    let last = rig.answer_all(200).pop().unwrap();
    assert_eq!(body(&last).matches("<tuple").count(), 2, "{}", body(&last));
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.told(), ["probe"]);
    rig.stanza("/balcony", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    let last = rig.answer_all(200).pop().unwrap();
    assert!(!body(&last).contains("ID-garden") && body(&last).contains("ID-balcony"), "{}", body(&last));
}

#[test]
fn xi_10_the_contact_of_a_partner_that_stays_away_is_unknown_after_the_outage_and_not_before() {
    let (mut rig, mut endpoint) = watching();
    lose_partner(&mut rig);
    let mut probes = 0;
    for _ in 0..309 {
        rig.pass(Duration::from_secs(1));
        probes += rig.lose_stanzas();
    }
    assert!(probes >= 4, "{probes}");
    assert_eq!(notified(&mut rig), [""; 0]);
    rig.pass(Duration::from_secs(1));
    let notify = rig.answer_all(200);
    assert_eq!(notify.iter().map(body).collect::<Vec<_>>(), [""]);
    assert!(state_of(&notify[0]).starts_with("active;"), "{}", state_of(&notify[0]));
    for _ in 0..600 {
        rig.pass(Duration::from_secs(1));
        rig.lose_stanzas();
    }
    assert_eq!(notified(&mut rig), [""; 0], "that is said once");
    // The partner is back.
    rig.input(|pair, context| pair.reachable(Duration::from_secs(5), context));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.told(), ["probe"]);
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    assert!(body(&rig.answer_all(200).pop().unwrap()).contains("dnd"));
    rig.in_dialog(&endpoint.subscribe(0));
}

/// As without a crash: what is not known yet is not shown as unknown before its time.
#[test]
fn xi_10_after_a_crash_the_contact_of_a_partner_out_of_reach_is_unknown_after_the_outage_and_not_before() {
    let (mut rig, _) = watching();
    rig.crash();
    rig.answer_all(200);
    for _ in 0..299 {
        rig.lose_stanzas();
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.answer_all(200).is_empty());
    rig.lose_stanzas();
    rig.pass(Duration::from_secs(1));
    let notifys = rig.answer_all(200);
    assert_eq!(notifys.iter().map(body).collect::<Vec<_>>(), [""]);
    for _ in 0..600 {
        rig.lose_stanzas();
        rig.pass(Duration::from_secs(1));
    }
    assert!(rig.answer_all(200).is_empty(), "that is said once");
    rig.input(|pair, context| pair.reachable(Duration::from_secs(5), context));
    rig.pass(Duration::from_secs(5));
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    assert!(body(&rig.answer_all(200).pop().unwrap()).contains("dnd"));
}

#[test]
fn xi_10_a_contact_who_does_not_answer_after_a_loss_is_unknown() {
    let (mut rig, _) = watching();
    lose_partner(&mut rig);
    rig.pass(Duration::from_secs(39));
    assert_eq!(notified(&mut rig), [""; 0]);
    rig.pass(Duration::from_secs(1));
    let notify = rig.answer_all(200);
    assert_eq!(notify.iter().map(body).collect::<Vec<_>>(), [""]);
}

#[test]
fn xi_10_nobody_is_shown_a_ghost_who_comes_after_the_loss() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe(0));
    notified(&mut rig);
    rig.told();
    lose_partner(&mut rig);
    rig.pass(MINUTE);
    assert_eq!(rig.told(), [""; 0], "nobody wants to know");
    add(&mut rig, "epid1", 3600);
    assert_eq!(rig.told(), ["probe"]);
    assert_eq!(body(&rig.answer_all(200).pop().unwrap()), "");
}
