//! SUBSCRIBE, NOTIFY and presence stanzas of somebody who means no good, or counts wrongly (PS, EV, SEC).

use nuncio::gateway::NextHop;

use crate::text::Request;
use crate::watching::*;

fn desk(show_of_it: &str) -> String {
    pidf(&[("desk", true, &show(show_of_it), "")])
}

#[test]
fn ev_01_and_400_a_notify_without_subscription_state_changes_nothing() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let mut without = dialog.notify(OPEN, &desk("dnd"));
    without.more.retain(|line| !line.starts_with("Subscription-State"));
    assert_eq!(house.status(wire, &without), 400);
    let mut odd = dialog.notify(OPEN, &desk("dnd"));
    odd.more.retain(|line| !line.starts_with("Event"));
    assert_eq!(house.status(wire, &odd), 489, "EV-01");
    assert!(house.told(PARTNER).is_empty());
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &desk("dnd"))), 200, "the subscription lives");
    assert_eq!(house.told(PARTNER), ["available desk dnd"]);
}

#[test]
fn ev_01_and_ev_02_a_notify_of_another_package_is_489() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    for event in ["Event: dialog", "Event: Presence", "Event: presence.winfo"] {
        let notify = dialog.notify(OPEN, &desk("dnd")).set(|notify| {
            notify.more.retain(|line| !line.starts_with("Event"));
            notify.more.push(event.to_owned());
        });
        let answer = house.ask(wire, notify.bytes());
        assert_eq!(
            (answer.status(), answer.header("Allow-Events")),
            (Some(489), Some("presence")),
            "{event}"
        );
    }
    let id = dialog.notify(OPEN, &desk("dnd")).set(|notify| {
        notify.more.iter_mut().filter(|line| line.starts_with("Event")).for_each(|line| *line += ";id=7");
    });
    assert_eq!(house.status(wire, &id), 481, "of another subscription");
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn ev_14_a_lower_number_is_500_and_changes_nothing() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    dialog.cseq = 10;
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &desk("dnd"))), 200);
    assert_eq!(house.told(PARTNER), ["available desk dnd"]);
    dialog.cseq = 7;
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &desk("away"))), 500);
    assert!(house.told(PARTNER).is_empty(), "an older state replaces no newer one");
}

#[test]
fn ev_14_a_subscribe_out_of_order_is_500() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    dialog.cseq = 10;
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 200);
    house.requests();
    dialog.cseq = 5;
    assert_eq!(house.status(wire, &dialog.subscribe(0)), 500);
    assert!(house.requests().is_empty() && house.told(PARTNER).is_empty());
}

#[test]
fn ev_05_a_notify_that_matches_nothing_is_481() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let stray =
        Request::new("NOTIFY", ALICE).with("Event: presence").with(format!("Subscription-State: {OPEN}"));
    assert_eq!(house.status(wire, &stray), 481);
    assert_eq!(house.status(wire, &stray.clone().set(|r| r.to += ";tag=guessed")), 481);
    let call = dialog.notify(OPEN, &desk("dnd")).set(|notify| notify.call_id.push('x'));
    assert_eq!(house.status(wire, &call), 481, "our tag alone does not do");
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn ps_06_and_ev_18_a_contact_that_leads_elsewhere_is_refused() {
    let mut house = house();
    let wire = house.front_end();
    for contact in
        ["<sip:victim@victim.example>", "<sip:alice@evilcontoso.com>", "<sip:alice@198.51.100.7:5061>"]
    {
        let request =
            Request::new("SUBSCRIBE", BOB).with("Event: presence").with(format!("Contact: {contact}"));
        assert_eq!(house.status(wire, &request), 403, "{contact}");
    }
    assert!(house.requests().is_empty() && house.told(PARTNER).is_empty());
    assert_eq!(house.gateway.holdings().pairs, 0);
    // Nor later, in a dialog.
    let (wire, mut dialog) = house.user_sees(BOB);
    let moved = dialog.subscribe(3600).set(|request| {
        request.more.retain(|line| !line.starts_with("Contact"));
        request.more.push("Contact: <sip:victim@victim.example>".to_owned());
    });
    assert_eq!(house.status(wire, &moved), 403);
    house.requests();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>xa</show>"));
    house.advance(10 * SECOND);
    assert!(house.requests().iter().all(|request| request.start.contains("@fe.contoso.com")));
}

#[test]
fn ps_06_a_contact_at_a_host_that_dns_names_leads_inside() {
    let mut house = house();
    let wire = house.front_end();
    let subscribe = |host: &str, call: &str| {
        let contact = format!("Contact: <sip:alice@{host}>");
        let request = Request::new("SUBSCRIBE", BOB).with("Event: presence").with(contact);
        request.set(|request| request.call_id = call.to_owned())
    };
    assert_eq!(house.status(wire, &subscribe("edge.hoster.example", "1")), 403, "nobody has named it");
    let route = &house.gateway.routes()[0];
    let named = [(0, "edge.hoster.example"), (1, "edge.other.example")];
    let named = named.map(|(front_end, host)| NextHop::new(front_end, host, 5061));
    route.list(named.into(), Vec::new(), house.now.instant);
    assert_eq!(house.status(wire, &subscribe("edge.hoster.example", "2")), 200);
    assert_eq!(house.status(wire, &subscribe("edge.other.example", "3")), 403, "that is another front end's");
}

#[test]
fn ps_05_a_document_of_the_largest_size_is_read_and_one_octet_more_is_413() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let most = nuncio_translate::presence::document::LIMITS.stanza;
    let sized = |size: usize, text: &str| {
        let empty = pidf(&[("desk", true, &show(text), "<!---->")]).replace("<!---->", "<note></note>");
        pidf(&[("desk", true, &show(text), &format!("<note>{}</note>", "x".repeat(size - empty.len())))])
    };
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &sized(most + 1, "dnd"))), 413);
    assert!(house.told(PARTNER).is_empty());
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &sized(most, "away"))), 200);
    assert!(house.told(PARTNER)[0].starts_with("available desk away"));
}

#[test]
fn ps_03_one_tuple_too_many_is_413() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let names: Vec<_> = (0..33).map(|number| format!("t{number}")).collect();
    let tuples: Vec<_> = names.iter().map(|name| (name.as_str(), true, "", "")).collect();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&tuples))), 413);
    assert!(house.told(PARTNER).is_empty());
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&tuples[..32]))), 200);
    let shown = house.told(PARTNER).iter().filter(|told| told.starts_with("available")).count();
    assert_eq!(shown, nuncio_translate::presence::MAX_RESOURCES);
}

#[test]
fn sec_documents_that_declare_nest_or_multiply_are_400() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let laughs = "<?xml version='1.0'?><!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>\
         <!ENTITY c '&b;&b;&b;&b;'>]><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:alice@contoso.com'>\
         <note>&c;</note></presence>";
    let deep = pidf(&[("desk", true, "", &("<x>".repeat(500) + &"</x>".repeat(500)))]);
    let outside = "<?xml version='1.0'?><!DOCTYPE p SYSTEM 'file:///etc/passwd'><presence \
         xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:alice@contoso.com'/>";
    let half = &desk("dnd")[..200];
    for document in [laughs, &deep, outside, half, "no xml at all", "<presence/>"] {
        assert_eq!(house.status(wire, &dialog.notify(OPEN, document)), 400, "{document:.80}");
    }
    assert!(house.told(PARTNER).is_empty());
    // A last NOTIFY ends it, whatever it carries.
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=rejected", laughs)), 200);
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
}

#[test]
fn pd_a_body_of_a_type_that_we_do_not_read_is_415() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let other = dialog.notify(OPEN, &desk("dnd")).set(|notify| {
        notify.more.retain(|line| !line.starts_with("Content-Type"));
        notify.more.push("Content-Type: application/cpim-pidf+xml".to_owned());
    });
    let answer = house.ask(wire, other.bytes());
    assert_eq!(answer.status(), Some(415), "{answer}");
    assert!(answer.must("Accept").unwrap().contains(PIDF), "{answer}");
    let packed = dialog.notify(OPEN, &desk("dnd")).with("Content-Encoding: gzip");
    assert_eq!(house.status(wire, &packed), 415);
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn ps_notes_are_cut_and_cleaned_before_they_cross() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let note = format!("<note>{}\u{202e}&lt;b&gt; \u{7}</note>", "y".repeat(5_000)).replace('\u{7}', "");
    let document = pidf(&[("desk", true, "", &note)]);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &document)), 200);
    let told = house.stanzas(PARTNER);
    let status = &told[0].child("status").unwrap().text;
    assert!(status.chars().count() <= 1_000, "{}", status.len());
}

#[test]
fn sec_42_a_flood_of_subscribes_makes_one_dialog() {
    let mut house = house();
    for number in 0..50 {
        house.partner_says(PARTNER, &stanza(&format!("bob@fabrikam.com/r{number}"), "type='subscribe'", ""));
        house.partner_says(
            PARTNER,
            &stanza(&format!("bob@fabrikam.com/r{number}"), "type='probe' id='p'", ""),
        );
    }
    assert_eq!(house.requests().len(), 1, "PR-10");
    assert_eq!(house.gateway.holdings().dialogs, 1);
}

#[test]
fn ps_03_and_sec_42_the_ninth_endpoint_takes_the_place_of_the_oldest() {
    let mut house = house();
    let wire = house.front_end();
    for number in 0..9 {
        let request = Request::new("SUBSCRIBE", BOB)
            .with("Event: presence")
            .with("Expires: 3600")
            .with(format!("Contact: <sip:alice@fe{number}.contoso.com;transport=tls>"));
        assert_eq!(house.status(wire, &request), 200);
        house.advance(SECOND);
    }
    house.advance(MINUTE);
    assert_eq!(house.gateway.holdings().dialogs, 8);
    let ended: Vec<_> = house.states().into_iter().filter(|state| state.starts_with("terminated")).collect();
    assert_eq!(ended, ["terminated;reason=probation;retry-after=3600"]);
}

#[test]
fn sec_41_and_ps_03_a_contact_has_so_many_subscriptions_and_not_one_more() {
    let mut house = house();
    let most = nuncio::gateway::PlaceLimits::default().subscriptions_per_contact;
    for number in 0..=most {
        let to = format!("user{number}@contoso.com");
        let subscribe = format!("<presence from='{BOB}' to='{to}' type='subscribe'/>");
        house.partner_says(PARTNER, &subscribe);
    }
    assert_eq!(house.requests().len(), most);
    assert_eq!(house.gateway.holdings().subscriptions, most);
    assert!(house.told(PARTNER).is_empty(), "the one too many gets the silence of a user who is not there");
}
