//! A contact sees a SIP user (PR-01 to PR-28, XI), on the wire on both sides.

use crate::house::Reply;
use crate::watching::*;

#[test]
fn xi_02_a_subscribe_to_a_full_address_is_one_to_the_bare_address() {
    let mut house = house();
    house.partner_says(
        PARTNER,
        "<presence from='bob@fabrikam.com' to='alice@contoso.com/desk' type='subscribe' id='s1'/>",
    );
    let request = house.request();
    assert_eq!(request.start, "SUBSCRIBE sip:alice@contoso.com SIP/2.0");
    assert_eq!(request.header("To").unwrap(), "<sip:alice@contoso.com>");
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn pr_01_subscribe_becomes_a_subscribe_from_bare_to_bare() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/orchard", "type='subscribe' id='s1'", ""));
    let request = house.request();
    assert_eq!(request.start, "SUBSCRIBE sip:alice@contoso.com SIP/2.0");
    assert_eq!(request.address("To").unwrap(), "sip:alice@contoso.com");
    assert_eq!(request.header("To").unwrap(), "<sip:alice@contoso.com>", "outside of any dialog");
    assert_eq!(request.address("From").unwrap(), "sip:bob@fabrikam.com");
    assert!(request.must("From").unwrap().contains(";tag="), "{request}");
    for (name, value) in [("Event", "presence"), ("Expires", "3600"), ("Max-Forwards", "70")] {
        assert_eq!(request.header(name), Some(value), "{request}");
    }
    assert!(request.must("Accept").unwrap().contains(PIDF), "{request}");
    assert!(request.address("Contact").unwrap().contains("nuncio.contoso.com"), "EV-11: {request}");
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn pr_02_and_xi_03_nothing_is_said_while_it_is_pending() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    for _ in 0..3 {
        assert_eq!(house.status(wire, &dialog.notify("pending;expires=3600", "")), 200);
    }
    house.advance(MINUTE);
    assert!(house.told(PARTNER).is_empty(), "nobody agrees for the SIP user");
}

#[test]
fn pr_03_and_xi_05_active_is_subscribed_and_then_the_presence_of_each_tuple() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let document = pidf(&[
        (
            "desk",
            true,
            &show("dnd"),
            "<contact priority='0.8'>sip:alice@contoso.com</contact><note>Busy</note>",
        ),
        ("phone", true, "", ""),
    ]);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &document)), 200);
    let stanzas = house.stanzas(PARTNER);
    let kinds: Vec<_> = stanzas.iter().map(short).collect();
    assert_eq!(kinds, ["subscribed", "available desk dnd Busy 102", "available phone"]);
    assert_eq!(stanzas[0].attribute("from"), Some(ALICE), "XI-01");
    assert!(stanzas.iter().all(|stanza| stanza.attribute("to") == Some(BOB)), "{stanzas:?}");
    // The next document is the whole state: what is missing in it has gone (PM-20), and nothing is said twice.
    let document = pidf(&[("phone", true, "", "")]);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &document)), 200);
    assert_eq!(house.told(PARTNER), ["unavailable desk"]);
}

#[test]
fn pr_04_active_without_a_document_shows_nobody() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, "")), 200);
    assert_eq!(house.told(PARTNER), ["subscribed"]);
}

#[test]
fn pr_05_the_gateway_refreshes_in_time_inside_the_dialog() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let begin = house.now.instant;
    let refresh = house.wait_for_request(HOUR);
    let after = house.now.instant - begin;
    assert!(after > 40 * MINUTE && after < 55 * MINUTE, "{after:?}");
    assert_eq!(refresh.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!(refresh.must("To").unwrap(), dialog.local, "inside the dialog");
    assert_eq!(refresh.must("CSeq").unwrap(), "2 SUBSCRIBE");
    assert_eq!(refresh.start, "SUBSCRIBE sip:alice@fe.contoso.com:5061;transport=tls SIP/2.0", "its target");
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    assert!(house.told(PARTNER).is_empty(), "nothing has changed");
}

#[test]
fn pr_06_and_dec_09_a_refusal_ends_the_request_without_a_word() {
    for (status, reason) in [(403, "Forbidden"), (489, "Bad Event"), (603, "Decline")] {
        let mut house = house();
        house.rule = Box::new(move |_| Reply::Status(status, reason));
        house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
        house.advance(HOUR);
        assert_eq!(house.told(PARTNER), [""; 0], "{status}");
        assert_eq!(house.requests().len(), 1, "{status}: and no further try");
    }
}

#[test]
fn pr_22_rejected_while_pending_is_silence() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=rejected", "")), 200);
    house.advance(HOUR);
    assert_eq!(house.told(PARTNER), [""; 0]);
    assert!(house.requests().is_empty(), "PR-22: no further try");
}

#[test]
fn pr_22_and_xi_06_rejected_later_takes_back_what_was_shown_first() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=rejected", "")), 200);
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
}

#[test]
fn pr_20_and_pr_23_ended_for_no_reason_of_the_users_is_begun_anew_without_a_word() {
    for reason in ["deactivated", "timeout"] {
        let mut house = house();
        let (wire, mut dialog) = house.seen_by(BOB);
        house.advance(2 * MINUTE);
        let state = format!("terminated;reason={reason}");
        assert_eq!(house.status(wire, &dialog.notify(&state, "")), 200);
        let again = house.wait_for_request(MINUTE);
        assert_ne!(again.must("Call-ID").unwrap(), dialog.call_id, "{reason}: a new dialog");
        let mut dialog = Dialog::of(&again);
        assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
        assert!(house.told(PARTNER).is_empty(), "{reason}: no flapping, no second subscribed");
    }
}

#[test]
fn pr_24_giveup_waits_as_long_as_it_is_told() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=giveup;retry-after=120", "")), 200);
    house.advance(115 * SECOND);
    assert!(house.requests().is_empty());
    assert_eq!(house.wait_for_request(MINUTE).method(), Some("SUBSCRIBE"));
}

#[test]
fn dec_28_and_pr_15_a_user_whom_nobody_knows_is_silence() {
    let mut house = house();
    house.rule = Box::new(|_| Reply::Status(404, "Not Found"));
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    assert_eq!(house.request().method(), Some("SUBSCRIBE"));
    house.advance(DAY);
    assert!(house.told(PARTNER).is_empty());
    assert!(house.requests().is_empty(), "and no further try");
}

#[test]
fn pr_08_and_xi_07_unsubscribe_ends_the_dialog_and_takes_everything_back() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribe'", ""));
    let close = house.request();
    assert_eq!((close.header("Expires"), close.must("Call-ID").unwrap()), (Some("0"), &*dialog.call_id));
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
    // PR-09, DEC-08: the last NOTIFY is answered, and then there is nothing left.
    let last = dialog.notify("terminated;reason=timeout", &pidf(&[("desk", true, "", "")]));
    assert_eq!(house.status(wire, &last), 200);
    assert!(house.told(PARTNER).is_empty());
    house.advance(10 * MINUTE);
    assert_eq!(house.gateway.holdings().dialogs, 0);
    assert_eq!(house.gateway.holdings().subscriptions, 0);
    assert_eq!(house.gateway.holdings().pairs, 0);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, "")), 481, "EV-05");
}

#[test]
fn pr_10_a_second_subscribe_is_confirmed_and_makes_no_second_dialog() {
    let mut house = house();
    house.seen_by(BOB);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/other", "type='subscribe'", ""));
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk"]);
    assert!(house.requests().is_empty());
}

#[test]
fn pr_07_and_dec_09_423_and_481_are_worked_around() {
    let mut house = house();
    house.rule = Box::new(|request| match request.must("Expires").unwrap() {
        "7200" => accepts(request),
        _ => Reply::With(423, "Interval Too Brief", vec![("Min-Expires", "7200".to_owned())]),
    });
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let requests = house.requests();
    let asked: Vec<_> = requests.iter().map(|request| request.must("Expires").unwrap()).collect();
    assert_eq!(asked, ["3600", "7200"]);
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&requests[1]));
    house.status(wire, &dialog.notify("active;expires=7200", &pidf(&[("desk", true, "", "")])));
    house.told(PARTNER);
    // The front end was restarted and knows nothing.
    house.rule = Box::new(|request| match request.must("To").unwrap().contains("tag=") {
        true => Reply::Status(481, "Subscription does not exist"),
        false => accepts(request),
    });
    let mut again = house.wait_for_requests(2 * HOUR);
    if again.len() == 1 {
        again = house.wait_for_requests(MINUTE);
    }
    let again = again.iter().find(|request| !request.must("To").unwrap().contains("tag=")).unwrap();
    assert_ne!(again.must("Call-ID").unwrap(), dialog.call_id);
    let mut dialog = Dialog::of(again);
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("away"), "")])));
    assert_eq!(house.told(PARTNER), ["available desk away"], "no second subscribed");
}

#[test]
fn pr_13_a_probe_is_answered_from_what_is_known() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe' id='p7'", ""));
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.iter().map(short).collect::<Vec<_>>(), ["available desk"]);
    assert_eq!(
        stanzas[0].attribute("to"),
        Some("bob@fabrikam.com/home"),
        "PM-25: who asked, and nobody else"
    );
    assert_eq!(stanzas[0].attribute("id"), Some("p7"), "PR-14");
    assert!(house.requests().is_empty());
    // PR-14: everything closed.
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", false, "", "")])));
    assert_eq!(house.told(PARTNER).len(), 1);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe' id='p8'", ""));
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    assert_eq!(stanzas[0].attribute("type"), Some("unavailable"));
}

#[test]
fn pr_12_and_xi_08_a_probe_without_subscription_fetches_once() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe' id='p1'", ""));
    let fetch = house.request();
    assert_eq!(fetch.header("Expires"), Some("0"), "{fetch}");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe' id='p1'", ""));
    assert!(house.requests().is_empty(), "PR-13: not as often as he likes");
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&fetch));
    let last = dialog.notify("terminated;reason=timeout", &pidf(&[("desk", true, &show("xa"), "")]));
    assert_eq!(house.status(wire, &last), 200);
    assert_eq!(house.told(PARTNER), ["available desk xa"]);
    house.advance(10 * MINUTE);
    assert_eq!(house.gateway.holdings().pairs, 0, "nothing remains of it");
}

#[test]
fn ev_04_a_notify_may_come_before_the_2xx() {
    let mut house = house();
    house.front_end_takes = 2 * SECOND;
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk"]);
    house.advance(HOUR / 2);
    assert!(house.requests().is_empty(), "the late 2xx makes no second dialog");
}

#[test]
fn ev_08_and_dec_21_a_further_fork_gets_481() {
    let mut house = house();
    let (wire, dialog) = house.seen_by(BOB);
    let mut fork = Dialog { local: dialog.local.replace("tag=agent", "tag=other"), cseq: 0, ..dialog };
    assert_eq!(house.status(wire, &fork.notify(OPEN, &pidf(&[("fork", true, "", "")]))), 481);
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn ev_06_without_a_notify_there_was_no_subscription() {
    let mut house = house();
    house.contact_asks(BOB);
    let again = house.wait_for_request(5 * MINUTE);
    assert!(!again.must("To").unwrap().contains("tag="), "it is begun anew: {again}");
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn dec_07_without_interest_the_dialog_ends_and_the_consent_lasts() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let mut closed = false;
    for _ in 0..26 * 120 {
        house.advance(MINUTE / 2);
        for request in house.requests() {
            closed |= request.header("Expires") == Some("0");
            let state = if closed { "terminated;reason=timeout" } else { OPEN };
            house.status(wire, &dialog.notify(state, &pidf(&[("desk", true, "", "")])));
        }
    }
    assert!(closed, "nobody has asked for a day");
    assert_eq!(house.told(PARTNER), ["unavailable desk"], "and no unsubscribed");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe' id='p1'", ""));
    let mut dialog = Dialog::of(&house.request());
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")])));
    let told = house.told(PARTNER);
    assert!(told.iter().all(|told| told == "available desk") && !told.is_empty(), "{told:?}");
}

#[test]
fn xi_09_a_front_end_that_is_gone_makes_the_user_unavailable() {
    let mut house = house();
    house.seen_by(BOB);
    house.rule = Box::new(|_| Reply::Status(503, "Service Unavailable"));
    house.advance(HOUR + 10 * MINUTE);
    assert_eq!(house.told(PARTNER), ["unavailable desk"]);
}

#[test]
fn pr_25_noresource_ends_it_and_pr_26_invariant_keeps_what_is_seen() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.status(wire, &dialog.notify("terminated;reason=noresource", ""));
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
    let (wire, mut dialog) = house.seen_by("carol@fabrikam.com");
    house.status(wire, &dialog.notify("terminated;reason=invariant", ""));
    house.advance(2 * HOUR);
    assert!(house.told(PARTNER).is_empty() && house.requests().is_empty());
    house.partner_says(PARTNER, &stanza("carol@fabrikam.com/x", "type='probe' id='p'", ""));
    assert_eq!(house.told(PARTNER), ["available desk"]);
}

#[test]
fn pr_21_probation_is_unavailable_until_it_may_be_tried_again() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.status(wire, &dialog.notify("terminated;reason=probation;retry-after=60", ""));
    assert_eq!(house.told(PARTNER), ["unavailable desk"]);
    house.advance(55 * SECOND);
    assert!(house.requests().is_empty());
    let mut dialog = Dialog::of(&house.wait_for_request(MINUTE));
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")])));
    assert_eq!(house.told(PARTNER), ["available desk"], "and no second subscribed");
}

#[test]
fn pm_25_each_contact_has_a_dialog_of_his_own_and_hears_of_no_other() {
    let mut house = house();
    let (wire, mut bobs) = house.seen_by(BOB);
    let (_, mut carols) = house.seen_by("carol@fabrikam.com");
    assert_ne!(bobs.call_id, carols.call_id);
    house.status(wire, &bobs.notify(OPEN, &pidf(&[("desk", true, &show("dnd"), "")])));
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1);
    assert_eq!(stanzas[0].attribute("to"), Some(BOB));
    house.status(wire, &carols.notify(OPEN, &pidf(&[("desk", true, &show("away"), "")])));
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1);
    assert_eq!(stanzas[0].attribute("to"), Some("carol@fabrikam.com"));
}

#[test]
fn pm_20_and_21_all_closed_is_unavailable_from_the_bare_address() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let document = pidf(&[("desk", true, "", ""), ("phone", true, "", "")]);
    house.status(wire, &dialog.notify(OPEN, &document));
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk", "available phone"]);
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", false, "", ""), ("phone", false, "", "")])));
    assert_eq!(house.told(PARTNER), ["unavailable"]);
}

#[test]
fn pr_27_and_pr_28_an_end_without_a_known_reason_is_begun_anew_and_its_expires_means_nothing() {
    for state in ["terminated", "terminated;reason=unheard-of", "terminated;reason=deactivated;expires=3600"]
    {
        let mut house = house();
        let (wire, mut dialog) = house.seen_by(BOB);
        house.advance(2 * MINUTE);
        house.status(wire, &dialog.notify(state, ""));
        let again = house.wait_for_request(MINUTE);
        assert_ne!(again.must("Call-ID").unwrap(), dialog.call_id, "{state}");
        assert!(house.told(PARTNER).is_empty(), "{state}");
    }
}

#[test]
fn pr_11_who_asks_again_later_is_asked_for_again() {
    let mut house = house();
    house.rule = Box::new(|_| Reply::Status(503, "Service Unavailable"));
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    house.advance(DAY);
    let tries = house.requests().len();
    assert!((2..=20).contains(&tries), "DEC-28: a bounded number of tries: {tries}");
    house.rule = Box::new(accepts);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&house.request()));
    house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")])));
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk"]);
}

#[test]
fn ev_07_and_dec_09_failures_of_a_refresh_cost_the_dialog_and_not_the_consent() {
    for (status, reason) in [(404, "Not Found"), (405, "Not Allowed"), (481, "Gone"), (480, "Away")] {
        let mut house = house();
        let (wire, dialog) = house.seen_by(BOB);
        house.rule = Box::new(move |request| match request.must("To").unwrap().contains("tag=") {
            true => Reply::Status(status, reason),
            false => accepts(request),
        });
        let mut requests = house.wait_for_requests(HOUR);
        while requests.iter().all(|request| request.must("Call-ID").unwrap() == dialog.call_id) {
            requests.extend(house.wait_for_requests(10 * MINUTE));
        }
        let mut dialog = Dialog::of(requests.last().unwrap());
        house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("xa"), "")])));
        assert_eq!(house.told(PARTNER), ["available desk xa"], "{status}: no second subscribed, no flapping");
    }
}

#[test]
fn s2s_35_presence_above_the_partners_limit_goes_without_its_note_and_is_counted() {
    let mut house = house();
    house
        .features
        .insert(PARTNER, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>400</max-bytes></limits>");
    let (wire, mut dialog) = house.contact_asks(BOB);
    let long = format!("<note>{}</note>", "lunch ".repeat(80));
    // The first one finds out on the stream that it opens, the second one before.
    for (name, expected) in [("away", "available desk away"), ("dnd", "available desk dnd")] {
        house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show(name), &long)])));
        assert!(house.told(PARTNER).contains(&expected.to_owned()), "{name}");
    }
    assert_eq!(house.count("presence_too_large"), 2);
    house.advance(HOUR / 2);
    assert!(house.told(PARTNER).is_empty(), "and that is all");
    assert_eq!(house.count("presence_too_large"), 2);
}
