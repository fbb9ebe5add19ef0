//! The examples of RFC 8048, end to end: juliet@example.com behind XMPP, romeo@example.net behind SIP.

use nuncio_translate::judge::PartnerType;

use crate::house::{House, Plan};
use crate::text::Request;
use crate::watching::*;

const JULIET: &str = "juliet@example.com";
const XMPP: &str = "example.com";
const DOCUMENT: &str = "<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' \
    entity='pres:romeo@example.net'><tuple id='ID-dr4hcr0st3lup4c'><status><basic>open</basic>\
    <show xmlns='jabber:client'>away</show></status></tuple></presence>";

fn verona() -> House {
    let partners = &[(XMPP, PartnerType::Federated, true)];
    planned(Plan { served: &["example.net"], partners, ..Plan::default() })
}

fn juliet_says(house: &mut House, kind: &str, resource: &str) {
    let xml = format!("<presence from='{JULIET}{resource}' to='romeo@example.net' type='{kind}'/>");
    house.partner_says(XMPP, &xml);
}

fn romeo(call_id: &str) -> Request {
    Request::new("SUBSCRIBE", JULIET)
        .with("Event: presence")
        .with("Contact: <sip:romeo@example.net>;gr=dr4hcr0st3lup4c")
        .set(|request| {
            request.from = "<sip:romeo@example.net>;tag=xfg9".to_owned();
            request.call_id = call_id.to_owned();
        })
}

#[test]
fn tv_05_and_tv_10_juliet_subscribes_and_sees_romeo() {
    let mut house = verona();
    juliet_says(&mut house, "subscribe", "");
    let subscribe = house.request();
    assert_eq!(subscribe.start, "SUBSCRIBE sip:romeo@example.net SIP/2.0");
    assert!(subscribe.must("From").unwrap().starts_with("<sip:juliet@example.com>;tag="));
    for (name, value) in [("Event", "presence"), ("CSeq", "1 SUBSCRIBE"), ("Expires", "3600")] {
        assert_eq!(subscribe.header(name), Some(value), "{subscribe}");
    }
    assert!(subscribe.must("Accept").unwrap().contains(PIDF), "{subscribe}");
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&subscribe));
    assert_eq!(house.status(wire, &dialog.notify("pending;expires=499", "")), 200);
    assert!(house.stanzas(XMPP).is_empty());
    assert_eq!(house.status(wire, &dialog.notify("active;expires=499", DOCUMENT)), 200);
    let stanzas = house.stanzas(XMPP);
    let seen: Vec<_> = stanzas.iter().map(|stanza| stanza.attribute("from").unwrap()).collect();
    assert_eq!(seen, ["romeo@example.net", "romeo@example.net/dr4hcr0st3lup4c"]);
    assert_eq!(stanzas[0].attribute("type"), Some("subscribed"));
    assert_eq!(short(&stanzas[1]), "available dr4hcr0st3lup4c away");
    assert!(stanzas.iter().all(|stanza| stanza.attribute("to") == Some(JULIET)));
    // TV-10: he goes.
    let closed = DOCUMENT.replace("open", "closed").replace("<show xmlns='jabber:client'>away</show>", "");
    house.status(wire, &dialog.notify("active;expires=499", &closed));
    let told = house.told(XMPP);
    assert!(told.iter().all(|told| told.starts_with("unavailable")) && told.len() == 1, "{told:?}");
}

#[test]
fn tv_06_juliet_unsubscribes() {
    let mut house = verona();
    juliet_says(&mut house, "subscribe", "");
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&house.request()));
    house.status(wire, &dialog.notify("active;expires=499", DOCUMENT));
    house.told(XMPP);
    juliet_says(&mut house, "unsubscribe", "");
    let close = house.request();
    assert_eq!(close.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!((close.header("Expires"), close.header("Event")), (Some("0"), Some("presence")));
    assert_eq!(house.told(XMPP), ["unavailable dr4hcr0st3lup4c", "unsubscribed"]);
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=timeout", "")), 200);
}

#[test]
fn tv_07_and_tv_09_romeo_subscribes_and_sees_juliet() {
    let mut house = verona();
    let wire = house.front_end();
    let request = romeo("AA5A8BE5-CBB7-42B9-8181-6230012B1E11").with(format!("Accept: {PIDF}"));
    let answer = house.ask(wire, request.bytes());
    assert_eq!((answer.status(), answer.header("Expires")), (Some(200), Some("3600")));
    let stanzas = house.stanzas(XMPP);
    assert_eq!(stanzas[0].attribute("from"), Some("romeo@example.net"));
    assert_eq!(stanzas[0].attribute("to"), Some(JULIET));
    assert_eq!(stanzas[0].attribute("type"), Some("subscribe"));
    assert_eq!(house.states(), ["pending;expires=3600"]);
    house.advance(6 * SECOND);
    juliet_says(&mut house, "subscribed", "");
    let notify = house.request();
    assert!(notify.must("Subscription-State").unwrap().starts_with("active"), "{notify}");
    assert_eq!(notify.header("To"), Some("<sip:romeo@example.net>;tag=xfg9"));
    assert_eq!(
        (notify.header("Call-ID"), notify.header("Event")),
        (Some(&*request.call_id), Some("presence"))
    );
    assert_eq!(notify.body, "");
    house.partner_says(
        XMPP,
        "<presence from='juliet@example.com/yn0cl4bnw0yr3vym' to='romeo@example.net' id='D9B2C2D0'/>",
    );
    house.advance(6 * SECOND);
    let notify = house.request();
    assert_eq!(notify.header("Content-Type"), Some(PIDF));
    for part in
        ["entity='pres:juliet@example.com'", "<tuple id='ID-yn0cl4bnw0yr3vym'>", "<basic>open</basic>"]
    {
        assert!(notify.body.contains(part), "{notify}");
    }
}

#[test]
fn tv_07_juliet_refuses() {
    let mut house = verona();
    let wire = house.front_end();
    house.ask(wire, romeo("refused").bytes());
    house.requests();
    juliet_says(&mut house, "unsubscribed", "");
    assert_eq!(house.states(), ["terminated;reason=rejected"]);
}

#[test]
fn tv_08_romeo_ends_the_dialog() {
    let mut house = verona();
    let wire = house.front_end();
    let request = romeo("ended");
    let answer = house.ask(wire, request.bytes());
    let mut dialog = Dialog::made(&request, &answer);
    juliet_says(&mut house, "subscribed", "");
    house.advance(10 * SECOND);
    house.requests();
    house.told(XMPP);
    let close = dialog.subscribe(0).set(|request| request.more.retain(|line| !line.starts_with("Contact")));
    assert_eq!(house.status(wire, &close), 200);
    assert_eq!(house.states(), ["terminated;reason=timeout"]);
    assert_eq!(house.told(XMPP), ["unavailable"]);
}

#[test]
fn tv_11_probes_and_fetches() {
    let mut house = verona();
    juliet_says(&mut house, "probe", "/chamber");
    let fetch = house.request();
    assert_eq!(fetch.start, "SUBSCRIBE sip:romeo@example.net SIP/2.0");
    assert_eq!((fetch.header("Expires"), fetch.header("To")), (Some("0"), Some("<sip:romeo@example.net>")));
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&fetch));
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=timeout", DOCUMENT)), 200);
    let stanzas = house.stanzas(XMPP);
    assert_eq!(short(&stanzas[0]), "available dr4hcr0st3lup4c away");
    assert_eq!(stanzas[0].attribute("to"), Some("juliet@example.com/chamber"));

    let mut house = verona();
    let wire = house.front_end();
    let answer = house.ask(wire, romeo("717B1B84-F080-4F12-9F44-0EC1ADE767B9").with("Expires: 0").bytes());
    assert_eq!(answer.status(), Some(200));
    let stanzas = house.stanzas(XMPP);
    assert_eq!(short(&stanzas[0]), "probe");
    assert_eq!(
        (stanzas[0].attribute("from"), stanzas[0].attribute("to")),
        (Some("romeo@example.net"), Some(JULIET))
    );
}
