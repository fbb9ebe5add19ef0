//! Stream management with partners (XEP-0198), both ways: the acknowledgement of a stanza is the word about it.

use std::time::Duration;

use nuncio_translate::message::Formats;

use crate::house::{House, Plan, Reply};
use crate::text::Request;

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";
const PARTNER: &str = "fabrikam.com";
const MANAGEMENT: &str = "<sm xmlns='urn:xmpp:sm:3'/>";
const RESUMABLE: &str = "<enabled xmlns='urn:xmpp:sm:3' id='s1' resume='true'/>";

pub(crate) fn handled(count: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>")
}

/// A house whose partner speaks stream management, and the front end's connection. Alice has written `first`.
fn first_written() -> (House, usize) {
    let mut house = House::new();
    house.features.insert(PARTNER, MANAGEMENT);
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "first").bytes());
    assert_eq!(house.line(PARTNER).managed, ["enable"]);
    assert!(house.stanzas(PARTNER).is_empty(), "nothing goes before it is agreed");
    house.line_says(PARTNER, RESUMABLE);
    assert_eq!(bodies(&mut house), ["first"]);
    (house, wire)
}

/// The bodies that reached the partner since it was last asked.
fn bodies(house: &mut House) -> Vec<String> {
    house.stanzas(PARTNER).iter().map(|stanza| stanza.body().unwrap().to_owned()).collect()
}

fn statuses(house: &mut House, wire: usize) -> Vec<u16> {
    house.taken(wire).iter().map(|answer| answer.status().unwrap()).collect()
}

#[test]
fn sm_02_the_200_waits_for_the_acknowledgement() {
    let (mut house, wire) = first_written();
    house.advance(Duration::from_secs(3));
    assert!(house.taken(wire).is_empty(), "written is not handled");
    house.line_says(PARTNER, &handled(0));
    assert!(house.taken(wire).is_empty());
    house.line_says(PARTNER, &handled(1));
    assert_eq!(statuses(&mut house, wire), [200]);
    assert_eq!(house.line(PARTNER).last_ping, None, "there is no ping where there are acknowledgements");
}

#[test]
fn sm_02_an_acknowledgement_that_does_not_come_in_time_leaves_the_message_in_doubt() {
    let (mut house, wire) = first_written();
    house.advance(Duration::from_secs(11));
    let answers = house.taken(wire);
    let last = answers.last().unwrap();
    assert_eq!(last.status(), Some(504));
    assert!(last.must("ms-diagnostics").unwrap().contains("may or may not have arrived"), "{last}");
    house.line_says(PARTNER, &handled(1));
    assert!(house.taken(wire).is_empty(), "one answer");
}

#[test]
fn sm_02_a_lost_stream_is_resumed_and_what_is_missing_sent_again() {
    let (mut house, wire) = first_written();
    house.send(wire, Request::message(BOB, "second").bytes());
    house.line_says(PARTNER, &handled(1));
    assert_eq!(statuses(&mut house, wire), [200]);
    assert_eq!(bodies(&mut house), ["second"]);
    house.line(PARTNER).managed.clear();
    house.cut_line(PARTNER);
    assert_eq!(house.line(PARTNER).managed, ["resume 0"]);
    house.line_says(PARTNER, "<resumed xmlns='urn:xmpp:sm:3' previd='s1' h='1'/>");
    assert_eq!(bodies(&mut house), ["second"], "and not the first");
    house.line_says(PARTNER, &handled(2));
    assert_eq!(statuses(&mut house, wire), [200]);
    assert_eq!(house.requests().len(), 0, "nobody is told of a loss");
}

#[test]
fn im_20_what_is_sent_again_carries_the_time_it_was_sent_once() {
    let (mut house, wire) = first_written();
    house.cut_line(PARTNER);
    house.advance(Duration::from_secs(3));
    for _ in 0..2 {
        house.line_says(PARTNER, "<resumed xmlns='urn:xmpp:sm:3' previd='s1' h='0'/>");
        let stanza = house.stanzas(PARTNER).remove(0);
        let delays = stanza.children.iter().filter(|child| child.name == "delay").count();
        assert_eq!(delays, 1, "{}", stanza.raw);
        house.cut_line(PARTNER);
        house.advance(Duration::from_millis(2500));
    }
    house.advance(Duration::from_secs(5));
    assert_eq!(statuses(&mut house, wire), [100, 504]);
}

#[test]
fn sm_02_a_session_that_is_gone_leaves_its_messages_in_doubt_and_sends_none_again() {
    let (mut house, wire) = first_written();
    house.cut_line(PARTNER);
    house.advance(Duration::from_secs(2));
    house.line_says(
        PARTNER,
        "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    );
    let answers = house.taken(wire);
    assert_eq!(answers[0].status(), Some(504), "{answers:?}");
    assert!(bodies(&mut house).is_empty());
    assert_eq!(house.line(PARTNER).managed.last().unwrap(), "enable", "on the same stream");
}

#[test]
fn sm_01_a_partner_that_acknowledges_what_it_never_got_loses_its_stream() {
    let (mut house, wire) = first_written();
    house.line_says(PARTNER, &handled(2));
    let error = &house.line(PARTNER).errors[0];
    assert!(error.child("undefined-condition").is_some(), "{}", error.raw);
    assert_eq!(error.child("handled-count-too-high").unwrap().attribute("send-count"), Some("1"));
    assert_eq!(statuses(&mut house, wire), [504]);
}

#[test]
fn a_partner_that_acknowledges_nothing_loses_its_stream_after_a_minute() {
    let (mut house, _) = first_written();
    house.advance(Duration::from_secs(59));
    assert!(house.line(PARTNER).errors.is_empty());
    house.advance(Duration::from_secs(1));
    assert!(house.line(PARTNER).errors[0].child("connection-timeout").is_some());
}

// --- streams of the partner ---------------------------------------------------------------------

pub(crate) const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
pub(crate) const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn from_bob(id: &str, to: &str) -> String {
    format!("<message from='bob@fabrikam.com/home' to='{to}' id='{id}'><body>hi</body></message>")
}

/// What the gateway has said on the partner's own stream since it was last asked.
pub(crate) fn said(house: &mut House) -> String {
    let stream = house.streams.iter_mut().find(|stream| stream.is(PARTNER, "contoso.com")).unwrap();
    let said = stream.transcript();
    stream.bytes.clear();
    said
}

/// A house to which the partner has opened a stream with management.
fn enabled() -> House {
    let mut house = House::new();
    house.partner_says(PARTNER, ENABLE);
    assert_eq!(said(&mut house), "<enabled xmlns='urn:xmpp:sm:3'/>");
    house
}

#[test]
fn a_message_of_a_contact_is_acknowledged_when_the_front_end_has_answered() {
    for status in [200, 486] {
        let mut house = enabled();
        house.front_end_takes = Duration::from_secs(4);
        house.rule = Box::new(move |_| Reply::Status(status, "Whatever"));
        house.partner_says(PARTNER, &(from_bob("m1", ALICE) + REQUEST));
        assert_eq!(said(&mut house), handled(0), "asked, and told at once what there is");
        house.advance(Duration::from_millis(3900));
        assert_eq!(said(&mut house), "");
        house.advance(Duration::from_millis(200));
        assert_eq!(said(&mut house), handled(1), "{status}");
    }
}

#[test]
fn a_message_the_front_end_never_answers_is_acknowledged_with_its_error() {
    let mut house = enabled();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says(PARTNER, &(from_bob("m1", ALICE) + REQUEST));
    house.advance(Duration::from_secs(31));
    assert_eq!(said(&mut house), handled(0));
    assert!(house.stanzas(PARTNER).is_empty());
    house.advance(Duration::from_secs(2));
    assert_eq!(said(&mut house), handled(1));
    assert_eq!(house.stanzas(PARTNER).remove(0).attribute("id"), Some("m1"));
}

#[test]
fn acknowledgements_keep_the_order_in_which_stanzas_came() {
    let mut house = enabled();
    house.front_end_takes = Duration::from_secs(4);
    let ping =
        format!("<iq type='get' id='p' from='{PARTNER}' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>");
    house.partner_says(PARTNER, &(from_bob("m1", ALICE) + &ping + REQUEST));
    assert_eq!(house.stanzas(PARTNER).remove(0).attribute("id"), Some("p"), "the ping is answered");
    assert_eq!(said(&mut house), handled(0), "but it came second");
    house.advance(Duration::from_secs(5));
    assert_eq!(said(&mut house), handled(2));
}

/// A refusal by rule takes as long as one of a front end. If its acknowledgement came sooner, that would tell them apart.
#[test]
fn a_refusal_by_rule_is_acknowledged_no_sooner_than_it_is_sent() {
    let mut house = House::new();
    let remote = "public.example";
    house.partner_says(remote, ENABLE);
    house.partner_says(
        remote,
        &format!(
            "<message from='eve@public.example/x' to='{ALICE}' id='e'><body>hi</body></message>{REQUEST}"
        ),
    );
    let acknowledged = |house: &House| {
        let stream = house.streams.iter().find(|stream| stream.is(remote, "contoso.com")).unwrap();
        stream.transcript().contains("h='1'")
    };
    assert!(house.stanzas(remote).is_empty());
    assert!(!acknowledged(&house));
    house.advance(Duration::from_millis(5));
    assert_eq!(house.stanzas(remote).len(), 1);
    assert!(acknowledged(&house));
}

#[test]
fn errors_and_presence_are_acknowledged_as_soon_as_they_are_worked_on() {
    let mut house = enabled();
    let error = format!("<message type='error' from='{BOB}' to='{ALICE}' id='x'/>");
    let presence = format!("<presence from='{BOB}/home' to='{ALICE}'/>");
    house.partner_says(PARTNER, &(error + &presence + REQUEST));
    assert_eq!(said(&mut house), handled(2));
}

#[test]
fn a_partner_that_closes_is_told_first_how_far_we_are() {
    let mut house = enabled();
    house.partner_says(PARTNER, &from_bob("m1", ALICE));
    assert_eq!(said(&mut house), "", "nobody asked");
    let index = house.streams.iter().position(|stream| stream.is(PARTNER, "contoso.com")).unwrap();
    house.partner_says(PARTNER, "</stream:stream>");
    assert_eq!(house.streams[index].transcript(), handled(1) + "</stream:stream>");
}

// --- limits -------------------------------------------------------------------------------------

#[test]
fn s2s_35_a_message_above_the_partners_limit_is_refused_with_the_limit() {
    let mut house = House::new();
    house
        .features
        .insert(PARTNER, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>");
    let wire = house.front_end();
    let long = "x".repeat(10_000);
    // The first one finds out on the stream that it opens, the second one before.
    for _ in 0..2 {
        let answer = house.ask(wire, Request::message(BOB, &long).bytes());
        assert_eq!(answer.status(), Some(513));
        assert!(answer.must("ms-diagnostics").unwrap().contains("10000 bytes"), "{answer}");
    }
    assert!(house.stanzas(PARTNER).is_empty());
    assert_eq!(house.ask(wire, Request::message(BOB, &long[..9000]).bytes()).status(), Some(200));
}

#[test]
fn im_04_s2s_35_a_message_that_is_too_large_with_its_form_goes_without() {
    let formats = Formats { xhtml_im: true, ..Formats::default() };
    let mut house = House::planned(Plan { formats, ..Plan::default() });
    house
        .features
        .insert(PARTNER, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>");
    let wire = house.front_end();
    let html = |octets: usize| format!("<b>{}</b>", "x".repeat(octets));
    let typed = |html: &str| Request::new("MESSAGE", BOB).with("Content-Type: text/html").with_body(html);
    // The first one finds out on the stream that it opens, the second one before; then one that fits with it.
    for (octets, with_form) in [(6_000, false), (6_000, false), (3_000, true)] {
        let answer = house.ask(wire, typed(&html(octets)).bytes());
        assert_eq!(answer.status(), Some(200));
        let stanza = house.stanzas(PARTNER).remove(0);
        assert_eq!(stanza.body().map(str::len), Some(octets));
        assert_eq!(stanza.child("html").is_some(), with_form, "{octets}");
    }
    assert_eq!(house.ask(wire, typed(&html(10_000)).bytes()).status(), Some(513), "nor without it");
}
