//! The contact watches the SIP user.

use std::time::Duration;

use nuncio_sip::event::Undelivered;
use nuncio_translate::judge::{PartnerType, Refusal, UserPolicy, Verdict};
use nuncio_translate::pair::*;

use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The contact has asked, and the front end has this dialog with us.
pub(super) fn asked(partner_type: PartnerType) -> (Rig, Remote) {
    let mut rig = Rig::new(partner_type);
    rig.stanza("", "type='subscribe'", "");
    let dialog = accept(&mut rig);
    (rig, dialog)
}

/// The front end accepts the SUBSCRIBE that came last.
pub(super) fn accept(rig: &mut Rig) -> Remote {
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    Remote::of(&subscribe, "fe")
}

pub(super) fn notify(rig: &mut Rig, dialog: &mut Remote, state: &str, document: &str) -> u16 {
    let notify = dialog.notify(state, document);
    let number = rig.in_dialog(&notify);
    rig.status(number)
}

/// The contact sees the SIP user, who is open at `desk`.
pub(super) fn seen(partner_type: PartnerType) -> (Rig, Remote) {
    let (mut rig, mut dialog) = asked(partner_type);
    let document = pidf(&[("desk", true, "", "lunch")]);
    assert_eq!(notify(&mut rig, &mut dialog, "active;expires=3600", &document), 200);
    rig.told();
    rig.take_facts();
    (rig, dialog)
}

#[test]
fn pr_01_subscribe_becomes_subscribe() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("/orchard", "type='subscribe'", "");
    let request = rig.request();
    assert_eq!(expires(&request), Some(3600));
    let text = String::from_utf8(request.request.bytes().to_vec()).unwrap();
    assert!(text.starts_with("SUBSCRIBE sip:alice@contoso.example SIP/2.0\r\n"), "{text}");
    assert!(text.contains("From: <sip:romeo@fabrikam.example>;tag="), "{text}");
    assert_eq!(rig.pair.from(), From::Pending);
}

#[test]
fn pr_02_pending_is_answered_and_says_nothing() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    for _ in 0..3 {
        assert_eq!(notify(&mut rig, &mut dialog, "pending;expires=3600", ""), 200);
    }
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn pr_03_and_xi_05_active_is_subscribed_and_then_the_presence() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    let document = pidf(&[("desk", true, "away", ""), ("phone", true, "", "")]);
    assert_eq!(notify(&mut rig, &mut dialog, "active;expires=3600", &document), 200);
    assert_eq!(rig.told(), ["subscribed", "available desk away", "available phone"]);
    assert_eq!(rig.pair.from(), From::Yes);
}

#[test]
fn pr_04_active_without_a_document_shows_nobody() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    assert_eq!(notify(&mut rig, &mut dialog, "active;expires=3600", ""), 200);
    assert_eq!(rig.told(), ["subscribed"]);
}

#[test]
fn pr_06_and_sec_43_a_refused_request_and_one_for_nobody_are_silence_alike() {
    for status in [403, 489, 603, 404, 410, 485, 604] {
        let mut rig = Rig::new(PartnerType::Federated);
        rig.stanza("", "type='subscribe'", "");
        let subscribe = rig.request();
        rig.respond(&subscribe, status, "");
        assert_eq!(rig.take_facts(), [Fact::TurnedAway { status: Some(status) }]);
        rig.pass(Duration::from_secs(DAY));
        assert_eq!(rig.told(), [""; 0], "{status}");
        assert!(rig.requests.is_empty(), "{status}: no further try");
        assert!(rig.pair.is_idle(rig.now), "{status}: and nothing is remembered");
        // He asks again: so do we.
        rig.stanza("", "type='subscribe'", "");
        rig.request();
    }
}

#[test]
fn pr_06_who_saw_the_user_is_told_that_it_is_over_when_he_is_refused() {
    for status in [403, 489, 603] {
        let (mut rig, mut dialog) = seen(PartnerType::Federated);
        rig.pass(MINUTE * 2);
        notify(&mut rig, &mut dialog, "terminated;reason=deactivated", "");
        let anew = rig.request();
        rig.respond(&anew, status, "");
        assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"], "{status}");
        assert_eq!(rig.pair.from(), From::No);
    }
}

#[test]
fn pr_07_and_dec_09_what_ends_only_the_dialog_keeps_consent() {
    for status in [404, 481, 480, 405] {
        let (mut rig, _) = seen(PartnerType::Federated);
        rig.pass_until_request(MINUTE * 60);
        let refresh = rig.request();
        rig.respond(&refresh, status, "");
        rig.pass_until_request(Duration::from_secs(31));
        let mut dialog = accept(&mut rig);
        assert_ne!(dialog.call_id, message(&refresh).call_id().unwrap(), "{status}: a new dialog");
        assert_eq!(rig.told(), [""; 0], "{status}");
        notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "")]));
        assert_eq!(rig.told(), ["available desk dnd"], "{status}: and no second subscribed");
    }
}

#[test]
fn pr_08_and_xi_07_unsubscribe_takes_everything_back() {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.stanza("", "type='unsubscribe'", "");
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    let close = rig.request();
    assert_eq!(expires(&close), Some(0));
    assert_eq!(rig.pair.from(), From::No);
}

#[test]
fn pr_09_the_last_notify_is_answered_and_then_nothing_is_left() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    rig.stanza("", "type='unsubscribe'", "");
    let close = rig.request();
    rig.respond(&close, 200, "Expires: 0\r\n");
    assert_eq!(notify(&mut rig, &mut dialog, "terminated;reason=timeout", ""), 200);
    assert!(rig.bound.is_empty());
    rig.pass(MINUTE * 3);
    assert_eq!(rig.stored, None);
    assert!(rig.pair.is_idle(rig.now));
}

#[test]
fn pr_10_a_second_subscribe_is_confirmed_at_once() {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    assert_eq!(rig.told(), ["subscribed", "available desk"]);
    assert!(rig.requests.is_empty());
}

#[test]
fn pr_10_five_subscribes_make_one_dialog() {
    let mut rig = Rig::new(PartnerType::Federated);
    for _ in 0..5 {
        rig.stanza("", "type='subscribe'", "");
    }
    rig.request();
}

#[test]
fn pr_12_and_pr_14_and_xi_08_a_probe_of_a_stranger_fetches_once() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("/orchard", "type='probe' id='p1'", "");
    let fetch = rig.request();
    assert_eq!(expires(&fetch), Some(0));
    rig.respond(&fetch, 200, "Expires: 0\r\n");
    let mut dialog = Remote::of(&fetch, "fe");
    notify(&mut rig, &mut dialog, "terminated;reason=timeout", &pidf(&[("desk", true, "", "")]));
    let stanza = parse(&rig.stanzas[0]);
    assert_eq!(stanza.attr("to"), Some("romeo@fabrikam.example/orchard"));
    assert_eq!(stanza.attr("id"), Some("p1"));
    assert_eq!(rig.told(), ["available desk"]);
    assert_eq!(rig.pair.from(), From::No, "he has no subscription");
}

#[test]
fn dec_28_a_probe_for_nobody_is_silence() {
    for status in [404, 410, 485, 604, 403] {
        let mut rig = Rig::new(PartnerType::Federated);
        rig.stanza("", "type='probe'", "");
        let fetch = rig.request();
        rig.respond(&fetch, status, "");
        rig.pass(MINUTE);
        assert_eq!(rig.told(), [""; 0], "{status}");
        assert!(rig.pair.is_idle(rig.now), "{status}");
    }
}

#[test]
fn pr_13_probes_are_answered_from_what_is_known() {
    let (mut rig, _) = seen(PartnerType::Federated);
    for _ in 0..100 {
        rig.stanza("", "type='probe'", "");
    }
    assert_eq!(rig.told(), vec!["available desk"; 100]);
    assert!(rig.requests.is_empty());
}

#[test]
fn pr_14_nobody_to_be_seen_is_unavailable_since_then() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", false, "", "")]));
    assert_eq!(rig.told(), ["unavailable"]);
    rig.pass(MINUTE);
    rig.stanza("", "type='probe' id='p2'", "");
    let stanza = parse(&rig.stanzas[0]);
    assert_eq!((stanza.attr("type"), stanza.attr("id")), (Some("unavailable"), Some("p2")));
    let delay = stanza.child("delay", "urn:xmpp:delay").expect("since when");
    assert_eq!(delay.attr("stamp"), Some("2027-01-15T08:00:00.000Z"));
}

#[test]
fn dec_28_what_may_pass_is_tried_eight_times_and_then_not() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let mut tries = 0;
    while !rig.requests.is_empty() {
        tries += 1;
        let request = rig.request();
        if tries % 2 == 0 {
            rig.fail(&request, Undelivered::Timeout);
        } else {
            rig.respond(&request, 480, "");
        }
        rig.pass_until_request(Duration::from_secs(3600));
    }
    assert_eq!(tries, 9);
    assert_eq!(rig.told(), [""; 0]);
    // He asks again: so do we (PR-11).
    rig.stanza("", "type='subscribe'", "");
    rig.request();
}

/// reason, what the contact is told, whether it is tried again within a minute
type Row = (&'static str, &'static [&'static str], bool);

#[test]
fn pr_20_to_28_why_the_front_end_ended_it() {
    const TABLE: &[Row] = &[
        ("reason=deactivated", &[], true),
        ("reason=probation;retry-after=40", &["unavailable desk"], true),
        ("reason=probation;retry-after=400", &["unavailable desk"], false),
        ("reason=rejected", &["unavailable desk", "unsubscribed"], false),
        ("reason=timeout", &[], true),
        ("reason=giveup;retry-after=400", &[], false),
        ("reason=noresource", &["unavailable desk", "unsubscribed"], false),
        ("reason=invariant;retry-after=5", &[], false),
        ("reason=whatever;retry-after=400;expires=1", &[], false),
        ("expires=3600", &[], true),
    ];
    for (parameters, told, again) in TABLE {
        let (mut rig, mut dialog) = seen(PartnerType::Federated);
        rig.pass(MINUTE * 10);
        let state = format!("terminated;{parameters}");
        assert_eq!(notify(&mut rig, &mut dialog, &state, ""), 200, "{parameters}");
        rig.pass(MINUTE);
        assert_eq!(rig.told(), *told, "{parameters}");
        assert_eq!(!rig.requests.is_empty(), *again, "{parameters}");
    }
}

#[test]
fn pr_22_and_pr_25_rejected_while_pending_is_silence() {
    for reason in ["rejected", "noresource"] {
        let (mut rig, mut dialog) = asked(PartnerType::Federated);
        notify(&mut rig, &mut dialog, &format!("terminated;reason={reason}"), "");
        rig.pass(Duration::from_secs(DAY));
        assert_eq!(rig.told(), [""; 0], "{reason}");
        assert!(rig.requests.is_empty() && rig.pair.is_idle(rig.now), "{reason}");
    }
}

#[test]
fn a_front_end_that_ends_everything_at_once_is_not_asked_in_circles() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    for _ in 0..5 {
        notify(&mut rig, &mut dialog, "terminated;reason=deactivated", "");
        match rig.requests.is_empty() {
            true => return,
            false => dialog = accept(&mut rig),
        }
    }
    panic!("five subscriptions in no time");
}

#[test]
fn xi_09_a_front_end_that_is_gone_makes_the_user_unavailable() {
    let (mut rig, _) = seen(PartnerType::Federated);
    for _ in 0..20 {
        rig.pass(MINUTE * 5);
        for request in std::mem::take(&mut rig.requests) {
            rig.fail(&request, Undelivered::NotSent);
        }
    }
    assert_eq!(rig.told(), ["unavailable desk"]);
    assert_eq!(rig.pair.from(), From::Yes, "consent lasts");
}

#[test]
fn pm_20_and_pm_21_a_document_is_the_whole_state() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("phone", true, "", "")]));
    assert_eq!(rig.told(), ["available phone", "unavailable desk"]);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[]));
    assert_eq!(rig.told(), ["unavailable"]);
}

#[test]
fn a_document_that_cannot_be_read_changes_nothing() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    assert_eq!(notify(&mut rig, &mut dialog, "active;expires=3600", "<presence"), 400);
    assert_eq!(rig.told(), [""; 0]);
    assert_eq!(notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "xa", "")])), 200);
    assert_eq!(rig.told(), ["available desk xa"]);
}

#[test]
fn pm_28_presence_for_a_resource_that_is_not_shown_is_nobodys() {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.pass(Duration::from_secs(DAY - 60));
    rig.requests.clear();
    let to = |resource: &str| {
        format!("<presence xmlns='jabber:server' from='{CONTACT}/x' to='{USER}/{resource}'/>")
    };
    let before = rig.deadline();
    rig.element(&to("nowhere"));
    assert_eq!(rig.deadline(), before, "it is no evidence of interest either");
}

#[test]
fn dec_07_without_interest_the_dialog_ends_and_consent_lasts() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    let mut closed = None;
    while closed.is_none() && rig.now.unix_ms < START_MS + 2 * DAY * 1000 {
        rig.pass_until_request(Duration::from_secs(3600));
        for request in std::mem::take(&mut rig.requests) {
            closed = (expires(&request) == Some(0)).then_some(rig.now);
            rig.respond(&request, 200, "Expires: 3600\r\n");
            let state = if closed.is_some() { "terminated;reason=timeout" } else { "active;expires=3600" };
            notify(&mut rig, &mut dialog, state, &pidf(&[("desk", true, "", "lunch")]));
        }
    }
    let after = closed.expect("it ends").unix_ms - START_MS;
    assert_eq!(after, DAY * 1000);
    assert_eq!(rig.told(), ["unavailable desk"], "and no unsubscribed");
    assert_eq!(rig.pair.from(), From::Yes);
    // He comes back: silently (standards table, Dormant).
    rig.stanza("/orchard", "type='probe' id='p3'", "");
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "", "")]));
    let told = rig.told();
    assert!(told.iter().all(|stanza| stanza == "available desk") && !told.is_empty(), "{told:?}");
}

#[test]
fn ps_03_sec_41_without_a_place_nothing_is_begun_and_nothing_charged() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.places.asks = 1;
    rig.places.most = 0;
    rig.stanza("", "type='subscribe'", "");
    assert!(rig.requests.is_empty());
    assert_eq!(rig.take_facts(), [Fact::NoPlace]);
    rig.places.most = 1;
    rig.stanza("", "type='subscribe'", "");
    rig.request();
}

#[test]
fn xi_04_an_unverified_contact_is_kept_in_silence_until_he_is_added() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    for _ in 0..3 {
        rig.stanza("", "type='subscribe'", "<status>let me in</status>");
    }
    rig.stanza("", "type='probe'", "");
    assert!(rig.requests.is_empty());
    assert_eq!(rig.told(), [""; 0]);
    assert_eq!(rig.places.held[&Place::KeptRequest], 1, "one of a pair");
    let mut endpoint = Remote::endpoint("c1");
    let subscribe = endpoint.subscribe(3600);
    let number = rig.subscribe(&subscribe, "epid1");
    assert_eq!(rig.status(number), 200);
    assert!(rig.requests.iter().any(|request| matches!(request.half, Half::Subscriber(_))), "acted on");
    assert_eq!(rig.pair.from(), From::Pending);
    assert_eq!(rig.places.held[&Place::KeptRequest], 0);
}

#[test]
fn trust_a_kept_request_is_kept_for_thirty_days() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.stanza("", "type='subscribe'", "");
    rig.pass(Duration::from_secs(30 * DAY - 1));
    assert_eq!(rig.pair.from(), From::Kept);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.pair.from(), From::No);
    assert!(rig.pair.is_idle(rig.now));
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn trust_there_is_not_room_for_all_kept_requests() {
    let mut rig = Rig::new(PartnerType::PublicUnverified);
    rig.places.most = 0;
    rig.stanza("", "type='subscribe'", "");
    assert_eq!(rig.pair.from(), From::No);
    assert_eq!(rig.take_facts(), [Fact::NotKept]);
}

#[test]
fn xi_06_a_rule_that_forbids_it_ends_it_in_order() {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    assert_eq!(expires(&rig.request()), Some(0));
    assert_eq!(rig.pair.from(), From::No);
}

/// A new policy is in force at once, and the walk over all pairs takes a while.
fn policy_on_its_way(rig: &mut Rig, enabled: bool) {
    let off = UserPolicy::new(false, Verdict::Allow, vec![]);
    rig.snapshot = snapshot(2, PartnerType::Federated, enabled, off);
}

#[test]
fn trust_a_refresh_that_the_rules_of_the_moment_forbid_does_not_leave_and_ends_what_it_would_go_on_with() {
    let (mut rig, _) = seen(PartnerType::Federated);
    policy_on_its_way(&mut rig, true);
    rig.pass_until_request(Duration::from_secs(3600));
    assert_eq!(rig.requests.iter().map(expires).collect::<Vec<_>>(), [Some(0)]);
    assert_eq!(rig.told(), ["unavailable desk", "unsubscribed"]);
    assert_eq!(rig.take_facts(), [Fact::ContactSeesNoMore(Ended::ByRule(Refusal::FederationOff))]);
}

#[test]
fn trust_a_try_that_the_rules_of_the_moment_forbid_is_refused_as_the_request_would_be_now() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let subscribe = rig.request();
    rig.fail(&subscribe, Undelivered::Timeout);
    policy_on_its_way(&mut rig, true);
    rig.pass(MINUTE);
    assert!(rig.requests.is_empty(), "{:?}", rig.requests);
    assert_eq!((rig.pair.from(), rig.told()), (From::No, vec![]), "silence, as for anybody");
    let what = Attempt::ContactWaited;
    assert_eq!(rig.take_facts(), [Fact::Refused { what, refusal: Refusal::FederationOff }]);
}

#[test]
fn trust_a_try_for_a_partner_who_is_being_disabled_waits_until_he_is_enabled() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let subscribe = rig.request();
    rig.fail(&subscribe, Undelivered::Timeout);
    policy_on_its_way(&mut rig, false);
    rig.pass(MINUTE);
    assert!(rig.requests.is_empty(), "{:?}", rig.requests);
    rig.policy(PartnerType::Federated, true, UserPolicy::default());
    assert_eq!(expires(&rig.request()), Some(3600));
}

#[test]
fn trust_a_pending_request_of_a_partner_who_became_unverified_is_kept() {
    let (mut rig, _) = asked(PartnerType::Federated);
    rig.policy(PartnerType::PublicUnverified, true, UserPolicy::default());
    assert_eq!(rig.pair.from(), From::Kept);
    assert_eq!(rig.told(), [""; 0]);
}

#[test]
fn trust_a_disabled_partner_is_suspended_and_nothing_is_forgotten() {
    let (mut rig, _) = seen(PartnerType::Federated);
    rig.policy(PartnerType::Federated, false, UserPolicy::default());
    assert_eq!(rig.told(), [""; 0], "nothing may be sent to him");
    let close = rig.request();
    assert_eq!(expires(&close), Some(0));
    rig.fail(&close, Undelivered::Timeout);
    rig.policy(PartnerType::Federated, true, UserPolicy::default());
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[]));
    assert_eq!(rig.told(), ["unavailable"], "and no second subscribed");
}

#[test]
fn trust_what_a_public_partner_sees() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    rig.policy(PartnerType::PublicVerified, true, UserPolicy::default());
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "lunch")]));
    for stanza in &rig.stanzas {
        let text = String::from_utf8(stanza.stanza.clone()).unwrap();
        assert!(!text.contains("lunch"), "{text}");
    }
    assert!(rig.told().iter().any(|told| told.ends_with("dnd")));
}

#[test]
fn what_was_lost_is_sent_as_it_is_then_and_never_older() {
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "away", "")]));
    rig.lose_stanzas();
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "")]));
    assert_eq!(rig.told(), ["available desk dnd"]);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.told(), ["subscribed"]);
}

#[test]
fn losses_are_repeated_more_and_more_slowly() {
    let (mut rig, mut dialog) = seen(PartnerType::Federated);
    notify(&mut rig, &mut dialog, "active;expires=3600", &pidf(&[("desk", true, "dnd", "")]));
    let mut sent = 0;
    for _ in 0..600 {
        sent += rig.lose_stanzas();
        rig.pass(Duration::from_secs(3));
    }
    assert!((8..=14).contains(&sent), "{sent} times in half an hour");
    rig.input(|pair, context| pair.reachable(Duration::from_secs(5), context));
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.told(), ["available desk dnd"]);
}

/// RFC 6121 §4.3.2: a probe of one resource is about nothing else.
#[test]
fn tv_26_and_pr_14_a_probe_of_a_resource_is_answered_for_that_resource_only() {
    let probe = |rig: &mut Rig, resource: &str| {
        rig.element(&format!(
            "<presence xmlns='jabber:server' from='{CONTACT}' to='{USER}{resource}' id='p1' type='probe'/>"
        ));
    };
    let (mut rig, mut dialog) = asked(PartnerType::Federated);
    let document = pidf(&[("foo", true, "", ""), ("bar", true, "away", "")]);
    notify(&mut rig, &mut dialog, "active;expires=3600", &document);
    rig.told();
    for (resource, told) in [
        ("", vec!["available foo", "available bar away"]),
        ("/bar", vec!["available bar away"]),
        ("/nowhere", vec![]),
        ("", vec!["available foo", "available bar away"]),
    ] {
        probe(&mut rig, resource);
        assert_eq!(rig.told(), told, "{resource}");
    }
    // The same where it has to be fetched first.
    let mut rig = Rig::new(PartnerType::Federated);
    probe(&mut rig, "/bar");
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, "terminated;reason=timeout", &document);
    assert_eq!(rig.told(), ["available bar away"]);
}
