//! The SIP user watches the contact.

use std::time::Duration;

use nuncio_sip::event::Undelivered;
use nuncio_translate::judge::{Consent, PartnerType, Refusal, Snapshot, UserPolicy, Verdict};
use nuncio_translate::pair::*;
use nuncio_translate::presence::to_xmpp::Subscription;

use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);

/// An endpoint subscribes; its dialog.
pub(super) fn add(rig: &mut Rig, name: &str, seconds: u32) -> Remote {
    let mut endpoint = Remote::endpoint(&format!("{name}-{}", rig.numbers.0));
    let request = endpoint.subscribe(seconds);
    let number = rig.subscribe(&request, name);
    assert_eq!(rig.status(number), 200);
    endpoint.gateway_tag = rig.newest_tag();
    endpoint
}

/// The states of the NOTIFYs since the last look, all of them answered with 200.
pub(super) fn notified(rig: &mut Rig) -> Vec<String> {
    rig.answer_all(200).iter().map(state_of).collect()
}

/// An endpoint watches a contact who has agreed and is at home, in a garden.
pub(super) fn watching() -> (Rig, Remote) {
    let mut rig = Rig::new(PartnerType::Federated);
    let endpoint = add(&mut rig, "epid1", 3600);
    notified(&mut rig);
    rig.stanza("", "type='subscribed'", "");
    rig.stanza("/garden", "", "<show>away</show><status>reading</status>");
    rig.pass(MINUTE);
    rig.stanza("/garden", "", "<show>away</show><status>reading</status>");
    notified(&mut rig);
    rig.told();
    rig.take_facts();
    (rig, endpoint)
}

#[test]
fn pr_30_pr_31_and_dec_10_subscribe_is_answered_at_once_and_notified_as_pending() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 3600);
    assert_eq!(notified(&mut rig), ["pending;expires=3600"]);
    assert_eq!(rig.told(), ["subscribe"]);
    assert_eq!(rig.pair.to(), To::Pending);
    assert!(matches!(rig.take_facts()[..], [Fact::Added(_)]));
}

#[test]
fn pr_32_and_dec_22_the_contact_agrees_and_is_asked_what_he_is() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 3600);
    notified(&mut rig);
    rig.told();
    rig.stanza("", "type='subscribed'", "");
    rig.pass(Duration::from_secs(5));
    let notify = rig.answer_all(200);
    assert_eq!(state_of(&notify[0]), "active;expires=3595");
    assert_eq!(body(&notify[0]), "");
    assert_eq!(rig.told(), ["probe"]);
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(5));
    let notify = rig.answer_all(200);
    assert!(body(&notify[0]).contains("<show xmlns='jabber:client'>dnd</show>"), "{}", body(&notify[0]));
}

#[test]
fn pr_33_the_contact_refuses_or_takes_back_what_he_gave() {
    let mut pending = Rig::new(PartnerType::Federated);
    add(&mut pending, "epid1", 3600);
    notified(&mut pending);
    for mut rig in [pending, watching().0] {
        rig.stanza("", "type='unsubscribed'", "");
        let notify = rig.answer_all(200);
        assert_eq!(state_of(&notify[0]), "terminated;reason=rejected");
        assert_eq!(body(&notify[0]), "");
        assert_eq!((rig.pair.to(), rig.bound.len()), (To::No, 0));
    }
}

#[test]
fn pr_34_a_refresh_is_answered_with_what_is_known() {
    let (mut rig, mut endpoint) = watching();
    let number = rig.in_dialog(&endpoint.subscribe(3600));
    assert_eq!(rig.status(number), 200);
    let notify = rig.answer_all(200);
    assert!(body(&notify[0]).contains("open"));
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn pr_35_signing_out_ends_the_dialog_and_not_the_consent() {
    let (mut rig, mut endpoint) = watching();
    let number = rig.in_dialog(&endpoint.subscribe(0));
    assert_eq!(rig.status(number), 200);
    let notify = rig.answer_all(200);
    assert_eq!(state_of(&notify[0]), "terminated;reason=timeout");
    assert!(body(&notify[0]).contains("<basic>closed</basic>"), "{}", body(&notify[0]));
    assert_eq!(rig.told(), ["unavailable"]);
    assert_eq!(rig.pair.to(), To::Yes);
    assert!(rig.pair.consent().added.is_some());
}

#[test]
fn pr_35_only_the_last_endpoint_takes_the_user_away() {
    let (mut rig, mut endpoint) = watching();
    add(&mut rig, "epid2", 3600);
    rig.told();
    rig.in_dialog(&endpoint.subscribe(0));
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn pr_36_who_agreed_before_is_probed_and_asked_again_only_if_he_forgot() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe(0));
    notified(&mut rig);
    rig.told();
    add(&mut rig, "epid1", 3600);
    assert_eq!(rig.told(), ["probe"]);
    assert_eq!(notified(&mut rig), ["active;expires=3600"]);
    rig.stanza("", "type='unsubscribed'", "");
    assert_eq!(rig.told(), ["subscribe"]);
    rig.pass(Duration::from_secs(5));
    assert_eq!(notified(&mut rig), ["pending;expires=3595"]);
    rig.stanza("", "type='unsubscribed'", "");
    assert_eq!(rig.told(), [""; 0], "once");
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
}

#[test]
fn pr_36_a_refusal_that_cannot_answer_the_probe_counts() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe(0));
    notified(&mut rig);
    rig.told();
    add(&mut rig, "epid1", 3600);
    notified(&mut rig);
    rig.told();
    rig.input(|pair, context| pair.lost(&Sent::Subscription(Subscription::Probe), context));
    rig.stanza("", "type='unsubscribed'", "");
    assert_eq!(rig.told(), [""; 0], "the probe did not get to him, so he means it");
    rig.pass(Duration::from_secs(5));
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
}

#[test]
fn pr_37_a_fetch_says_at_once_what_is_known() {
    let mut stranger = Rig::new(PartnerType::Federated);
    add(&mut stranger, "epid1", 0);
    let notify = stranger.answer_all(200);
    assert_eq!(state_of(&notify[0]), "terminated;reason=timeout");
    assert_eq!(body(&notify[0]), "");
    assert_eq!(stranger.told(), ["probe"]);
    assert!(stranger.pair.consent().added.is_none(), "who asks once adds nobody");

    let (mut rig, _) = watching();
    add(&mut rig, "epid2", 0);
    let notify = rig.answer_all(200);
    assert!(body(&notify[0]).contains("away"));
    assert_eq!(rig.told(), [""; 0], "it is known");
}

#[test]
fn pr_40_who_does_not_refresh_is_gone() {
    let (mut rig, _) = watching();
    rig.pass(MINUTE * 60);
    assert_eq!(notified(&mut rig), ["terminated;reason=timeout"]);
    assert_eq!(rig.told(), ["unavailable"]);
    assert!(rig.bound.is_empty());
}

#[test]
fn pr_41_what_ends_a_subscription_ends_it() {
    for status in [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604] {
        let (mut rig, _) = watching();
        rig.stanza("/garden", "", "<show>dnd</show>");
        rig.pass(Duration::from_secs(6));
        assert_eq!(rig.answer_all(status).len(), 1, "{status}");
        assert!(rig.bound.is_empty(), "{status}");
        assert_eq!(rig.told(), ["unavailable"], "{status}");
    }
}

#[test]
fn pr_42_many_changes_make_few_notifys_and_the_last_one_arrives() {
    let (mut rig, _) = watching();
    let mut bodies = Vec::new();
    for number in 0..100 {
        let show = if number % 2 == 0 { "dnd" } else { "xa" };
        rig.stanza("/garden", "", &format!("<show>{show}</show>"));
        rig.pass(Duration::from_millis(100));
        bodies.extend(rig.answer_all(200).iter().map(body));
    }
    rig.pass(Duration::from_secs(5));
    bodies.extend(rig.answer_all(200).iter().map(body));
    assert!(bodies.len() <= 4, "{}", bodies.len());
    assert!(bodies.last().unwrap().contains("xa"));
}

#[test]
fn pr_45_unavailable_from_the_bare_jid_closes_everything() {
    let (mut rig, _) = watching();
    rig.stanza("/balcony", "", "");
    rig.stanza("", "type='unavailable'", "");
    rig.pass(Duration::from_secs(6));
    let last = rig.answer_all(200).pop().unwrap();
    assert!(!body(&last).contains("open"), "{}", body(&last));
}

#[test]
fn pm_27_directed_presence_of_a_stranger_is_taken_and_shown_to_nobody() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("/garden", "", "");
    assert!(rig.requests.is_empty() && rig.told().is_empty());
    assert!(rig.pair.is_idle(rig.now), "and not remembered");
}

#[test]
fn pm_25_a_resource_more_is_a_tuple_more() {
    let (mut rig, _) = watching();
    rig.stanza("/balcony", "", "");
    rig.pass(Duration::from_secs(6));
    let last = rig.answer_all(200).pop().unwrap();
    assert_eq!(body(&last).matches("<tuple").count(), 2, "{}", body(&last));
}

#[test]
fn a_new_subscription_of_an_endpoint_takes_the_place_of_its_old_one() {
    let (mut rig, _) = watching();
    add(&mut rig, "epid1", 3600);
    let mut states = notified(&mut rig);
    states.sort();
    assert_eq!(states, ["active;expires=3600", "terminated;reason=probation;retry-after=3600"]);
    assert_eq!(rig.bound.len(), 1);
    assert_eq!(rig.told(), [""; 0], "the user has not gone");
}

#[test]
fn ps_03_one_endpoint_too_many_takes_the_place_of_the_one_that_ends_first() {
    let (mut rig, _) = watching();
    for number in 2..=8 {
        add(&mut rig, &format!("epid{number}"), 3600);
    }
    notified(&mut rig);
    assert_eq!(rig.bound.len(), 8);
    add(&mut rig, "epid9", 3600);
    assert!(notified(&mut rig).iter().any(|state| state.starts_with("terminated;reason=probation")));
    assert_eq!(rig.bound.len(), 8);
}

#[test]
fn an_error_to_the_request_ends_it_by_its_type() {
    for (kind, condition, state) in [
        ("cancel", "item-not-found", "terminated;reason=noresource"),
        ("wait", "resource-constraint", "terminated;reason=probation;retry-after=3600"),
    ] {
        let mut rig = Rig::new(PartnerType::Federated);
        add(&mut rig, "epid1", 3600);
        notified(&mut rig);
        let id = parse(&rig.stanzas[0]).attr("id").unwrap().to_owned();
        let error = format!(
            "<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        );
        rig.stanza("", "type='error' id='another'", &error);
        assert!(rig.requests.is_empty(), "about something else");
        rig.stanza("", &format!("type='error' id='{id}'"), &error);
        assert_eq!(notified(&mut rig), [state]);
        assert_eq!(rig.pair.to(), To::No);
    }
}

#[test]
fn a_partner_who_cannot_be_reached_is_given_up_in_the_end() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 7200);
    let mut states = Vec::new();
    for _ in 0..400 {
        rig.lose_stanzas();
        states.extend(notified(&mut rig));
        rig.pass(Duration::from_secs(10));
    }
    assert_eq!(states, ["pending;expires=7200", "terminated;reason=giveup;retry-after=3600"]);
}

#[test]
fn a_request_that_still_waits_when_the_contact_answers_is_not_sent() {
    for answer in ["unsubscribed", "subscribed"] {
        let mut rig = Rig::new(PartnerType::Federated);
        let mut endpoint = add(&mut rig, "epid1", 7200);
        notified(&mut rig);
        rig.told();
        // An hour later it is repeated, and waits for the store.
        rig.pass(MINUTE * 61);
        rig.commits = false;
        rig.in_dialog(&endpoint.subscribe(7200));
        rig.stanza("", &format!("type='{answer}'"), "");
        assert_eq!(rig.recalled, [Sent::Subscription(Subscription::Subscribe)], "{answer}");
        rig.commit();
        assert_eq!(rig.told(), [""; 0], "{answer}");
    }
}

#[test]
fn dec_22_who_agrees_is_asked_once_also_when_something_is_heard_of_him() {
    for attributes in ["", "type='unavailable'"] {
        let mut rig = Rig::new(PartnerType::Federated);
        add(&mut rig, "epid1", 3600);
        notified(&mut rig);
        rig.told();
        rig.stanza("", "type='subscribed'", "");
        rig.stanza("/garden", attributes, "");
        rig.pass(Duration::from_secs(3));
        assert_eq!(rig.told(), ["probe"], "he may be elsewhere, too");
        rig.stanza("/garden", attributes, "");
        rig.pass(MINUTE);
        assert_eq!(rig.told(), [""; 0]);
    }
}

#[test]
fn policy_refuses_with_a_reason_and_nothing_is_seen_outside() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.policy(PartnerType::Federated, true, UserPolicy::new(false, Verdict::Allow, vec![]));
    let request = Remote::endpoint("c1").subscribe(3600);
    let number = rig.subscribe(&request, "epid1");
    assert_eq!(rig.answer(number), Some(Answered::Refused(Refusal::FederationOff)));
    assert_eq!(rig.told(), [""; 0]);
    assert!(rig.requests.is_empty() && rig.pair.consent().added.is_none());
    assert!(rig.pair.is_idle(rig.now));
}

#[test]
fn policy_that_changes_ends_what_there_is() {
    let (mut rig, _) = watching();
    rig.policy(PartnerType::Federated, true, UserPolicy::new(false, Verdict::Allow, vec![]));
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
    assert_eq!(rig.told(), ["unavailable"], "and no unsubscribe");
    assert_eq!(rig.pair.to(), To::Yes);
}

#[test]
fn policy_that_has_not_reached_the_pair_holds_when_the_contact_agrees() {
    let mut rig = Rig::new(PartnerType::Federated);
    add(&mut rig, "epid1", 3600);
    notified(&mut rig);
    let nobody = UserPolicy::new(false, Verdict::Allow, vec![]);
    rig.snapshot = snapshot(2, PartnerType::Federated, true, nobody);
    rig.stanza("", "type='subscribed'", "");
    rig.pass(MINUTE);
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
    assert_eq!(rig.pair.to(), To::Yes, "what he agreed to is not forgotten");
}

#[test]
fn trust_the_administrator_takes_consent_away() {
    let (mut rig, _) = watching();
    rig.input(|pair, context| pair.consent_removed(context));
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
    assert_eq!(rig.take_facts(), [Fact::AddedEnded(AddedEnd::Removed)]);
}

#[test]
fn trust_who_was_added_is_not_added_any_more_when_the_partner_comes_back_after_his_entry_was_gone() {
    let (mut rig, _) = watching();
    rig.take_facts();
    rig.snapshot = Snapshot::new(2, ["contoso.example".into()], []);
    rig.input(|pair, context| pair.policy_changed(context));
    assert_eq!(notified(&mut rig), ["terminated;reason=rejected"]);
    let refusal = Refusal::UnlistedDomain;
    assert_eq!(
        rig.take_facts(),
        [
            Fact::Refused { what: Attempt::UserWatched, refusal },
            Fact::UserSeesNoMore(Ended::ByRule(refusal)),
            Fact::AddedEnded(AddedEnd::Forgotten),
        ],
        "nobody attempted anything"
    );
    assert_eq!(*rig.pair.consent(), Consent::default());
    rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
    rig.stanza("", "type='subscribe'", "");
    assert_eq!((rig.pair.from(), rig.requests.len()), (From::Kept, 0), "the front end is not even asked");
}

#[test]
fn trust_that_the_user_wrote_is_forgotten_with_the_entry_too() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.user_writes();
    assert!(rig.stored.is_some());
    rig.snapshot = Snapshot::new(2, ["contoso.example".into()], []);
    rig.crash();
    assert_eq!((*rig.pair.consent(), rig.stored.clone()), (Consent::default(), None));
}

#[test]
fn trust_consent_lapses_after_forty_five_days_without_a_subscribe() {
    let (mut rig, mut endpoint) = watching();
    rig.in_dialog(&endpoint.subscribe(0));
    notified(&mut rig);
    rig.take_facts();
    rig.pass(Duration::from_secs(45 * DAY - 120));
    assert!(rig.pair.consent().added.is_some());
    rig.pass(Duration::from_secs(120));
    assert!(rig.pair.consent().added.is_none());
    assert_eq!(rig.take_facts(), [Fact::AddedEnded(AddedEnd::Lapsed)]);
}

#[test]
fn ev_15_a_planned_stop_sends_the_endpoints_elsewhere_and_tells_the_contact_nothing() {
    let (mut rig, _) = watching();
    rig.input(|pair, context| pair.shutdown(context));
    assert_eq!(notified(&mut rig), ["terminated;reason=deactivated"]);
    assert_eq!(rig.told(), [""; 0]);
    assert_eq!(rig.stored.as_ref().map(|record| record.to), Some(To::Yes));
}

#[test]
fn the_positive_answer_and_the_request_wait_for_the_store() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.commits = false;
    let request = Remote::endpoint("c1").subscribe(3600);
    let number = rig.subscribe(&request, "epid1");
    assert_eq!(rig.answer(number), None);
    assert!(rig.told().is_empty() && rig.requests.is_empty());
    assert_eq!(rig.uncommitted.len(), 1, "a record");
    rig.commit();
    assert_eq!(rig.status(number), 200);
    assert_eq!(rig.told(), ["subscribe"]);
}

#[test]
fn a_notify_that_does_not_arrive_is_repeated_with_the_newest_state() {
    let (mut rig, _) = watching();
    rig.stanza("/garden", "", "<show>dnd</show>");
    rig.pass(Duration::from_secs(6));
    let notify = rig.request();
    rig.fail(&notify, Undelivered::NotSent);
    rig.stanza("/garden", "", "<show>xa</show>");
    rig.pass(MINUTE);
    assert!(body(&rig.request()).contains("xa"));
}

#[test]
fn a_lost_request_is_repeated_while_somebody_waits_for_it() {
    let mut rig = Rig::new(PartnerType::Federated);
    let mut endpoint = add(&mut rig, "epid1", 3600);
    let sent = Sent::Subscription(Subscription::Subscribe);
    rig.told();
    rig.input(|pair, context| pair.lost(&sent, context));
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.told(), ["subscribe"]);
    rig.input(|pair, context| pair.lost(&sent, context));
    rig.in_dialog(&endpoint.subscribe(0));
    rig.told();
    rig.pass(MINUTE);
    assert_eq!(rig.told(), [""; 0]);
}

/// The endpoint has not answered its last NOTIFY when the process ends, so it is on record; the contact has declined meanwhile.
#[test]
fn ev_15_an_endpoint_does_not_come_back_from_a_stop_to_a_contact_who_has_declined() {
    let (mut rig, mut dialog) = watching();
    rig.input(|pair, context| pair.shutdown(context));
    rig.stanza("", "type='unsubscribed'", "");
    rig.crash();
    let number = rig.in_dialog(&dialog.subscribe(3600));
    assert_eq!(rig.status(number), 481, "it asks anew, and so is the contact");
    add(&mut rig, "c9", 3600);
    assert_eq!(rig.told().last().map(String::as_str), Some("subscribe"));
}
