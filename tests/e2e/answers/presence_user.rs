//! A SIP user sees a contact (PR-30 to PR-42, PM, XI), on the wire on both sides.

use nuncio::gateway::SipPeer;

use crate::house::Plan;
use crate::text::Request;
use crate::watching::*;

#[test]
fn pr_30_pr_31_and_dec_10_subscribe_is_answered_at_once_and_notified_as_pending() {
    let mut house = house();
    let wire = house.front_end();
    let request = subscribe(BOB, 3600);
    let answer = house.ask(wire, request.bytes());
    assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some("3600")), "EV-10: {answer}");
    assert!(answer.must("To").unwrap().contains(";tag="), "{answer}");
    assert!(answer.address("Contact").unwrap().contains("nuncio.contoso.com"), "EV-11: {answer}");
    let notify = house.request();
    assert_eq!(notify.start, "NOTIFY sip:alice@fe.contoso.com:5061;transport=tls SIP/2.0");
    assert_eq!(notify.header("Subscription-State"), Some("pending;expires=3600"));
    assert_eq!(notify.header("Event"), Some("presence"));
    assert_eq!(notify.header("From"), answer.header("To"), "the same dialog");
    assert_eq!(notify.header("To"), Some(request.from.as_str()));
    assert_eq!(notify.header("Call-ID"), Some(request.call_id.as_str()));
    assert_eq!(notify.body, "");
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.iter().map(short).collect::<Vec<_>>(), ["subscribe"]);
    assert_eq!((stanzas[0].attribute("from"), stanzas[0].attribute("to")), (Some(ALICE), Some(BOB)), "XI-01");
}

#[test]
fn xe_03_capabilities_are_neither_sent_nor_asked_after_nor_believed() {
    let presence_after = |children: &str| {
        let mut house = house();
        house.user_asks(BOB);
        house.requests();
        house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
        house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", children));
        house.advance(6 * SECOND);
        let stanzas = house.stanzas(PARTNER);
        assert!(stanzas.iter().all(|sent| sent.name == "presence"), "a question about it: {stanzas:?}");
        house.requests().pop().unwrap().body
    };
    // A hash of something else altogether.
    let poisoned =
        "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://x.example' ver='AAAA='/>";
    assert_eq!(presence_after(poisoned), presence_after(""));

    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let away = pidf(&[("desk", true, &show("away"), "")]);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &away)), 200);
    let sent = house.stanzas(PARTNER);
    assert!(!sent.is_empty() && sent.iter().all(|sent| sent.child("c").is_none()), "{sent:?}");
}

#[test]
fn pr_32_subscribed_is_notify_active_and_the_presence_follows_in_pidf() {
    let mut house = house();
    house.user_asks(BOB);
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(
        PARTNER,
        &stanza(
            "bob@fabrikam.com/home",
            "xml:lang='de'",
            "<show>dnd</show><status>Nicht jetzt</status><priority>5</priority>",
        ),
    );
    house.advance(6 * SECOND);
    let requests = house.requests();
    let last = requests.last().unwrap();
    let expected = ["active;expires=3594", "active;expires=3595"];
    assert!(expected.contains(&last.header("Subscription-State").unwrap()), "{last}");
    assert_eq!(last.header("Content-Type"), Some(PIDF));
    for part in [
        "entity='pres:bob@fabrikam.com'",
        "<tuple id='ID-home'>",
        "<basic>open</basic><show xmlns='jabber:client'>dnd</show>",
        "<rpid:busy/>",
        "<note xml:lang='de'>Nicht jetzt</note>",
        "priority='0.039'",
        "<timestamp>",
    ] {
        assert!(last.body.contains(part), "{part}: {last}");
    }
}

#[test]
fn pm_several_resources_are_several_tuples_and_what_leaves_goes() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/phone", "", "<show>away</show>"));
    house.advance(6 * SECOND);
    let both = house.request();
    assert!(
        both.body.contains("<tuple id='ID-home'>") && both.body.contains("<tuple id='ID-phone'>"),
        "{both}"
    );
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='unavailable'", ""));
    house.advance(6 * SECOND);
    let one = house.request();
    assert!(one.body.contains("<tuple id='ID-phone'>"), "{one}");
    assert_eq!(one.body.matches("<basic>open</basic>").count(), 1, "{one}");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/phone", "type='unavailable'", ""));
    house.advance(6 * SECOND);
    let none = house.request();
    assert!(none.body.contains("<basic>closed</basic>") && !none.body.contains("<basic>open"), "{none}");
    assert!(none.must("Subscription-State").unwrap().starts_with("active"), "PM: offline is not the end");
}

#[test]
fn pr_33_unsubscribed_is_terminated_rejected() {
    for agreed_before in [false, true] {
        let mut house = house();
        if agreed_before {
            house.user_sees(BOB);
        } else {
            house.user_asks(BOB);
        }
        house.requests();
        house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
        assert_eq!(house.states(), ["terminated;reason=rejected"]);
    }
}

#[test]
fn pr_34_a_refresh_is_answered_with_the_state_as_known() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    house.advance(HOUR / 2);
    house.told(PARTNER);
    let answer = house.ask(wire, dialog.subscribe(1200).bytes());
    assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some("1200")));
    let notify = house.request();
    assert_eq!(notify.header("Subscription-State"), Some("active;expires=1200"));
    assert!(notify.body.contains("ID-home"), "EV-03: {notify}");
    assert!(house.told(PARTNER).is_empty(), "nobody is asked again");
}

#[test]
fn pr_35_expires_0_ends_it_with_timeout_and_unavailable_and_no_unsubscribe() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    let answer = house.ask(wire, dialog.subscribe(0).bytes());
    assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some("0")));
    let last = house.request();
    assert_eq!(last.header("Subscription-State"), Some("terminated;reason=timeout"));
    assert!(!last.body.contains("<basic>open"), "{last}");
    assert_eq!(house.told(PARTNER), ["unavailable"]);
    house.advance(MINUTE);
    assert_eq!(house.gateway.holdings().dialogs, 0);
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 481, "PR-35: the dialog is gone");
    // What the contact agreed to lasts: he is asked for his presence, and for nothing else (PR-36).
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"]);
}

#[test]
fn pr_40_who_does_not_refresh_is_gone() {
    let mut house = house();
    house.user_sees(BOB);
    house.advance(HOUR + MINUTE);
    let states = house.states();
    assert_eq!(states.last().unwrap(), "terminated;reason=timeout");
    assert!(house.told(PARTNER).contains(&"unavailable".to_owned()));
}

#[test]
fn pr_37_and_ev_09_a_fetch_is_one_notify_and_asks_nobody_for_consent() {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, subscribe(BOB, 0).bytes());
    assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some("0")));
    assert_eq!(house.states().len(), 1);
    assert_eq!(house.told(PARTNER), ["probe"], "a probe, and no subscribe");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    // What was heard meanwhile is the answer to his next question.
    house.ask(wire, subscribe(BOB, 0).bytes());
    let notify = house.request();
    assert!(notify.must("Subscription-State").unwrap().starts_with("terminated"), "{notify}");
    assert!(notify.body.contains("<basic>open</basic>"), "{notify}");
}

#[test]
fn pr_38_and_pr_42_news_are_gathered_and_expires_never_grows() {
    let mut house = house();
    house.user_sees(BOB);
    for number in 0..20 {
        let text = format!("<status>{number}</status>");
        house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", &text));
    }
    house.advance(20 * SECOND);
    let requests = house.requests();
    assert!(requests.len() <= 2, "{requests:?}");
    assert!(requests.last().unwrap().body.contains("<note>19</note>"), "the last state arrives");
    house.advance(MINUTE);
    assert!(house.requests().is_empty());
}

#[test]
fn pr_39_ev_01_pr_43_and_ev_05_what_a_subscribe_must_not_be() {
    let mut house = house();
    let wire = house.front_end();
    let base = || Request::new("SUBSCRIBE", BOB).with(format!("Contact: {HERE}"));
    for (request, status, header) in [
        (subscribe(BOB, 30), 423, "Min-Expires"),
        (base().with("Expires: 3600"), 489, "Allow-Events"),
        (base().with("Event: dialog"), 489, "Allow-Events"),
        (base().with("Event: Presence"), 489, "Allow-Events"),
        (base().with("Event: presence.winfo"), 489, "Allow-Events"),
        (base().with("Event: presence").with("Accept: application/cpim-pidf+xml"), 406, ""),
        (base().with("Event: presence").set(|r| r.to += ";tag=x"), 481, ""),
        (Request::new("SUBSCRIBE", BOB).with("Event: presence"), 400, ""),
        (base().with("Event: presence").with("Contact: <sip:x@y>"), 400, ""),
    ] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert!(header.is_empty() || answer.header(header).is_some(), "{answer}");
    }
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
    assert_eq!(house.gateway.holdings().pairs, 0, "a refused one leaves nothing");
}

#[test]
fn ev_13_options_and_answers_name_the_package() {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, Request::new("OPTIONS", "nuncio.contoso.com").bytes());
    assert_eq!(answer.header("Allow-Events"), Some("presence"));
}

#[test]
fn pr_36_a_new_subscription_of_the_same_endpoint_replaces_the_old_one() {
    let mut house = house();
    let (_, old) = house.user_sees(BOB);
    let (_, new) = house.user_asks(BOB);
    let requests = house.requests();
    let of = |dialog: &Dialog| {
        let mine = requests.iter().filter(|request| request.must("Call-ID").unwrap() == dialog.call_id);
        mine.map(|request| request.must("Subscription-State").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&old), ["terminated;reason=probation;retry-after=3600"]);
    assert!(of(&new)[0].starts_with("active;"), "{requests:?}");
    assert!(house.told(PARTNER).is_empty(), "the contact sees no change");
}

#[test]
fn two_endpoints_have_a_dialog_each_and_see_the_same() {
    let mut house = house();
    let (_, _first) = house.user_sees(BOB);
    let wire = house.front_end();
    let contact = "Contact: <sip:alice@fe2.contoso.com:5061;transport=tls>";
    let second = Request::new("SUBSCRIBE", BOB).with("Event: presence").with(contact).with("Expires: 3600");
    assert_eq!(house.ask(wire, second.bytes()).status(), Some(200));
    house.requests();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>xa</show>"));
    house.advance(6 * SECOND);
    let requests = house.requests();
    let mut targets: Vec<_> = requests.iter().map(|request| request.start.as_str()).collect();
    targets.sort_unstable();
    assert_eq!(targets.len(), 2, "{requests:?}");
    assert!(targets[0].contains("@fe.") && targets[1].contains("@fe2."), "{targets:?}");
    assert!(requests.iter().all(|request| request.body.contains("xa")), "{requests:?}");
}

#[test]
fn pr_41_a_watcher_that_knows_nothing_of_it_is_removed() {
    let mut house = house();
    house.user_sees(BOB);
    house.rule = Box::new(|_| crate::house::Reply::Status(481, "Subscription does not exist"));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>xa</show>"));
    house.advance(6 * SECOND);
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.told(PARTNER), ["unavailable"]);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(MINUTE);
    assert!(house.requests().is_empty());
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn dec_22_a_contact_who_agrees_and_says_no_more_is_asked() {
    let mut house = house();
    house.user_asks(BOB);
    house.told(PARTNER);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    assert!(house.told(PARTNER).is_empty());
    house.advance(3 * SECOND);
    assert_eq!(house.told(PARTNER), ["probe"]);
}

#[test]
fn xi_10_a_contact_who_is_silent_for_long_is_asked_and_then_unknown() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    for _ in 0..14 * 4 {
        house.advance(HOUR / 4);
        house.status(wire, &dialog.subscribe(3600));
    }
    assert!(house.told(PARTNER).contains(&"probe".to_owned()));
    let last = house.requests().pop().unwrap();
    assert!(!last.body.contains("<basic>open"), "a ghost: {last}");
}

#[test]
fn pm_27_presence_that_nobody_asked_for_goes_nowhere() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<status>hello</status>"));
    house.advance(MINUTE);
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
    assert_eq!(house.gateway.holdings().pairs, 0);
}

#[test]
fn adr_21_and_ps_07_a_front_end_that_may_not_speak_for_the_domain_gets_nowhere_in_its_dialogs() {
    let plan = Plan {
        served: &["contoso.com", "tailspin.com"],
        second_serves: Some(&["tailspin.com"]),
        ..Plan::default()
    };
    let mut house = planned(plan);
    let (wire, mut dialog) = house.user_sees(BOB);
    let other = house.connect_as(SipPeer::FrontEnd(1), false);
    let unlisted = house.connect_as(SipPeer::Unlisted("test".into()), false);
    assert_eq!(house.status(other, &dialog.subscribe(0)), 481);
    assert_eq!(house.status(unlisted, &dialog.subscribe(0)), 403);
    assert_eq!(house.status(other, &subscribe(BOB, 3600)), 403, "nor outside of them");
    assert!(house.told(PARTNER).is_empty() && house.requests().is_empty(), "nothing has changed");
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 200);
}

#[test]
fn adr_21_a_notify_of_a_front_end_that_may_not_speak_for_the_domain_shows_nothing() {
    let plan = Plan {
        served: &["contoso.com", "tailspin.com"],
        second_serves: Some(&["tailspin.com"]),
        ..Plan::default()
    };
    let mut house = planned(plan);
    let (wire, mut dialog) = house.seen_by(BOB);
    let other = house.connect_as(SipPeer::FrontEnd(1), false);
    assert_eq!(house.status(other, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("dnd"), "")]))), 481);
    assert!(house.told(PARTNER).is_empty());
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("dnd"), "")]))), 200);
    assert_eq!(house.told(PARTNER), ["available desk dnd"]);
}

#[test]
fn pm_28_presence_for_a_resource_that_nobody_was_shown_is_ignored() {
    let mut house = house();
    house.user_sees(BOB);
    let elsewhere =
        format!("<presence from='bob@fabrikam.com/home' to='{ALICE}/nowhere'><show>xa</show></presence>");
    house.partner_says(PARTNER, &elsewhere);
    house.advance(MINUTE);
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
}

#[test]
fn both_directions_interleave_and_neither_ends_the_other() {
    let mut house = house();
    let (wire, mut user) = house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    house.status(wire, &contact.notify(OPEN, &pidf(&[("desk", true, "", "")])));
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk"]);
    // The SIP user stops watching: he is still there, for his front end says so.
    house.status(wire, &user.subscribe(0));
    assert_eq!(house.states(), ["terminated;reason=timeout"]);
    assert!(house.told(PARTNER).is_empty());
    house.status(wire, &contact.notify(OPEN, &pidf(&[("desk", true, &show("xa"), "")])));
    assert_eq!(house.told(PARTNER), ["available desk xa"]);
    // The contact stops watching: what he agreed to lasts.
    let (_, _) = house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"]);
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribe'", ""));
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
    house.requests();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>chat</show>"));
    house.advance(6 * SECOND);
    assert!(house.request().body.contains("chat"));
}

#[test]
fn pr_30_pr_39_and_ev_10_how_long_is_granted() {
    let mut house = house();
    let wire = house.front_end();
    let plain = || Request::new("SUBSCRIBE", BOB).with("Event: presence").with(format!("Contact: {HERE}"));
    for (request, granted) in [
        (plain(), "3600"),
        (plain().with("Expires: 60"), "60"),
        (plain().with("Expires: 28800"), "28800"),
        (plain().with("Expires: 99999999"), "28800"),
    ] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some(granted)), "{answer}");
    }
    let brief = house.ask(wire, plain().with("Expires: 59").bytes());
    assert_eq!((brief.status(), brief.header("Min-Expires")), (Some(423), Some("60")));
}

#[test]
fn pr_45_unavailable_from_the_bare_address_closes_every_resource() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/phone", "", ""));
    house.advance(6 * SECOND);
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='unavailable'", ""));
    house.advance(6 * SECOND);
    let notify = house.request();
    assert!(notify.body.contains("<basic>closed") && !notify.body.contains("<basic>open"), "{notify}");
}

#[test]
fn pr_36_a_contact_who_has_forgotten_is_asked_for_consent_again_once() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    house.status(wire, &dialog.subscribe(0));
    house.advance(MINUTE);
    house.told(PARTNER);
    house.user_asks(BOB);
    assert_eq!(house.told(PARTNER), ["probe"]);
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    assert_eq!(house.told(PARTNER), ["subscribe"]);
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    assert!(house.told(PARTNER).is_empty());
    assert_eq!(house.states().last().unwrap(), "terminated;reason=rejected");
}
