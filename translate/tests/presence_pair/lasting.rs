//! Requests that wait, words that are kept, and what the partner takes none of.

use std::time::Duration;

use nuncio_translate::judge::{PartnerType, Refusal, UserPolicy, Verdict};
use nuncio_translate::pair::*;

use super::contact_watches::{accept, asked, notify, seen};
use super::user_watches::add;
use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn sec_41_a_request_beyond_the_quota_goes_nowhere_and_he_may_ask_again() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.places.asks = 0;
    rig.stanza("", "type='subscribe'", "");
    assert_eq!(rig.take_facts(), [Fact::TooManyRequests]);
    assert!(rig.requests.is_empty());
    assert_eq!(rig.told(), [""; 0]);
    assert!(rig.pair.is_idle(rig.now), "nothing is remembered");
    assert_eq!(rig.places.held[&Place::Subscription], 0, "nor is a place");
    rig.places.asks = 1;
    rig.stanza("", "type='subscribe'", "");
    rig.request();
}

#[test]
fn trust_who_was_written_to_before_his_entry_went_may_not_answer_when_it_is_back() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    let users = || UserPolicy::new(true, Verdict::Allow, vec![]);
    rig.user_writes();
    assert_eq!(rig.message_of_contact(), Ok(()));
    rig.partner_removed(users());
    rig.policy(PartnerType::PublicUnverified, true, users());
    assert_eq!(rig.message_of_contact(), Err(Refusal::SipUserFirst), "the domain may be somebody else's");
    rig.user_writes();
    assert_eq!(rig.message_of_contact(), Ok(()));
}

#[test]
fn sec_13_a_stranger_whose_address_mixes_scripts_may_not_ask_unless_he_is_let() {
    // A Cyrillic letter stands for the second one.
    let mut rig = Rig::of("r\u{43e}meo@fabrikam.example", PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    assert_eq!(rig.take_facts(), [Fact::MixedScripts]);
    assert!(rig.requests.is_empty() && rig.told().is_empty());
    rig.config.mixed_scripts = true;
    rig.stanza("", "type='subscribe'", "");
    rig.request();
}

#[test]
fn sec_41_what_the_user_has_let_wait_for_a_month_is_over() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "pending;expires=3600", "");
    rig.take_facts();
    let asked_at = rig.now.unix_ms;
    let days = loop {
        rig.pass_until_request(Duration::from_secs(3600));
        let request = rig.request();
        let days = (rig.now.unix_ms - asked_at) / (DAY * 1000);
        if expires(&request) == Some(0) {
            break days;
        }
        assert!(days <= 30, "it waits for ever");
        rig.respond(&request, 200, "Expires: 3600\r\n");
        notify(&mut rig, &mut dialog, "pending;expires=3600", "");
    };
    assert_eq!(days, 30, "he may come back from a long holiday");
    assert_eq!(rig.take_facts(), [Fact::Undecided]);
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn dec_09_who_saw_the_user_goes_on_having_his_word_when_a_front_end_does_not_know_the_user() {
    for status in [404, 410, 485, 604] {
        let (mut rig, _) = seen(PartnerType::Federated);
        rig.pass_until_request(MINUTE * 60);
        let refresh = rig.request();
        // It was restarted, and has not loaded its users yet.
        rig.respond(&refresh, 481, "");
        rig.pass_until_request(MINUTE);
        let anew = rig.request();
        rig.respond(&anew, status, "");
        assert_eq!(rig.told(), [""; 0], "{status}: not at once");
        rig.pass_until_request(MINUTE);
        let mut dialog = accept(&mut rig);
        notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "")]));
        assert_eq!(rig.told(), ["available desk dnd"], "{status}");
    }
}

#[test]
fn dec_09_a_user_whom_no_front_end_knows_any_more_becomes_unavailable_and_no_word_is_taken_back() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    rig.pass(MINUTE * 2);
    notify(&mut rig, &mut dialog, "terminated;reason=deactivated", "");
    for _ in 0..8 {
        rig.pass_until_request(MINUTE * 60);
        let anew = rig.request();
        rig.respond(&anew, 404, "");
    }
    rig.pass(MINUTE * 10);
    assert_eq!(rig.told(), ["unavailable desk"]);
    assert_eq!(rig.pair.from(), From::Yes);
}

#[test]
fn pr_38_a_clock_that_was_set_back_makes_no_subscription_longer() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 3600);
    rig.answer_all(200);
    rig.stanza("", "type='subscribed'", "");
    rig.stanza("/garden", "", "");
    rig.pass(MINUTE);
    rig.answer_all(200);
    rig.now.unix_ms -= 10 * 365 * DAY * 1000;
    rig.crash();
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(MINUTE);
    let states: Vec<_> = rig.answer_all(200).iter().map(state_of).collect();
    assert!(!states.is_empty());
    for state in states {
        let left: u64 = state.strip_prefix("active;expires=").unwrap().parse().unwrap();
        assert!(left <= 24 * 3600, "{state}");
    }
}

#[test]
fn a_request_that_is_larger_than_the_partner_takes_is_the_end_of_it_and_the_user_hears_so() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 3600);
    rig.answer_all(200);
    too_large(&mut rig);
    let states: Vec<_> = rig.answer_all(200).iter().map(state_of).collect();
    assert_eq!(states, ["terminated;reason=giveup;retry-after=3600"]);
    assert!(rig.take_facts().contains(&Fact::UserSeesNoMore(Ended::TooLarge)));
    rig.input(|pair, context| pair.reachable(Duration::from_secs(5), context));
    rig.pass(Duration::from_secs(DAY));
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn a_word_that_is_larger_than_the_partner_takes_is_said_once() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", "");
    assert_eq!(rig.stanzas.len(), 1);
    too_large(&mut rig);
    rig.pass(MINUTE * 40);
    assert_eq!(rig.told(), [""; 0]);
}

/// Nothing of these stanzas left: the partner takes none as large.
fn too_large(rig: &mut Rig) {
    for stanza in std::mem::take(&mut rig.stanzas) {
        rig.input(|pair, context| pair.too_large(&stanza.sent, context));
    }
}

#[test]
fn presence_that_is_larger_than_the_partner_takes_is_said_once_more_without_the_note() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    let long = "lunch ".repeat(50);
    let away = pidf(&[("desk", true, "away", &long)]);
    notify(&mut rig, &mut dialog, "active;expires=3600", &away);
    too_large(&mut rig);
    assert_eq!(rig.stanzas.len(), 1);
    let said = parse(&rig.stanzas[0]);
    assert!(said.child("status", nuncio_xmpp::ns::SERVER).is_none(), "{said:?}");
    assert_eq!(rig.told(), ["available desk away"]);
    // The same again, and a probe.
    notify(&mut rig, &mut dialog, "active;expires=3600", &away);
    rig.pass(MINUTE * 24);
    assert_eq!(rig.told(), [""; 0]);
    rig.stanza("", "type='probe'", "");
    assert!(parse(&rig.stanzas[0]).child("status", nuncio_xmpp::ns::SERVER).is_none());
    rig.told();
    // What is another state may be small enough.
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "away", "tea")]));
    assert!(parse(&rig.stanzas[0]).child("status", nuncio_xmpp::ns::SERVER).is_some());
}

#[test]
fn presence_that_is_too_large_without_its_note_as_well_is_left_at_that_until_it_changes() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "away", "")]));
    too_large(&mut rig);
    too_large(&mut rig);
    rig.pass(MINUTE * 30);
    assert_eq!(rig.told(), [""; 0]);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "")]));
    assert_eq!(rig.told(), ["available desk dnd"]);
}
