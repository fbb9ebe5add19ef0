//! Streams on which nothing happens: they are kept alive, given up, or closed (RFC 6120 §4.6).

use std::time::Duration;

use nuncio::gateway::{Federation, PartnerStreams};
use nuncio_xmpp::stream::Quiet;

use crate::house::{House, Plan};
use crate::partner::CERTIFICATES_END;
use crate::text::Request;

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";
const PARTNER: &str = "fabrikam.com";

/// A house with a stream to the partner, on which a message went and was confirmed.
fn opened() -> House {
    let mut house = House::new();
    write(&mut house);
    house.stanzas(PARTNER);
    house.line(PARTNER).last_ping = None;
    house
}

fn write(house: &mut House) {
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "hi").bytes()).status(), Some(200));
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn s2s_31_a_silent_partner_is_asked_after_five_minutes_by_a_space_and_one_ping() {
    let mut house = opened();
    house.advance(seconds(299));
    assert_eq!((house.line(PARTNER).spaces, house.line(PARTNER).last_ping.take()), (0, None));
    house.advance(seconds(1));
    assert_eq!(house.line(PARTNER).spaces, 1);
    assert!(house.line(PARTNER).last_ping.take().is_some());
    house.advance(seconds(60));
    assert!(house.line(PARTNER).is_open(), "the answer came on the partner's own stream");
}

#[test]
fn s2s_31_a_partner_that_does_not_answer_loses_the_stream_with_connection_timeout() {
    let mut house = opened();
    house.pings_answered = false;
    house.advance(seconds(359));
    assert!(house.line(PARTNER).errors.is_empty());
    house.advance(seconds(1));
    assert!(house.line(PARTNER).errors[0].child("connection-timeout").is_some());
    house.advance(seconds(6));
    assert!(!house.line(PARTNER).is_open());
}

#[test]
fn s2s_31_any_byte_is_an_answer() {
    let mut house = opened();
    house.pings_answered = false;
    house.advance(seconds(330));
    house.line_says(PARTNER, " ");
    house.advance(seconds(60));
    assert!(house.line(PARTNER).errors.is_empty());
}

#[test]
fn with_keep_alive_off_nothing_is_sent_and_nothing_expected() {
    let mut house = House::new();
    let quiet = PartnerStreams { keep_alive: false, ..PartnerStreams::new(PARTNER, 20) };
    house.gateway.set_federation(Federation::new([(quiet, vec![PARTNER.into()])]), house.now);
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>60</idle-seconds></limits>";
    house.features.insert(PARTNER, limits);
    write(&mut house);
    house.pings_answered = false;
    house.line(PARTNER).last_ping = None;
    house.advance(seconds(590));
    let line = house.line(PARTNER);
    assert_eq!((line.spaces, line.last_ping.take(), line.is_open()), (0, None, true));
}

#[test]
fn a_stream_without_stanzas_is_closed_in_good_order_and_opened_again_when_needed() {
    let mut house = opened();
    house.advance(seconds(599));
    assert!(house.line(PARTNER).is_open());
    house.advance(seconds(1));
    assert!(!house.line(PARTNER).is_open(), "our pings are no use of it");
    assert!(house.line(PARTNER).errors.is_empty());
    write(&mut house);
    assert_eq!(house.stanzas(PARTNER).len(), 1);
}

#[test]
fn a_stream_with_something_unconfirmed_is_not_closed_for_its_quiet() {
    let quiet = Quiet { inactivity: seconds(30), ..Quiet::default() };
    let mut house = House::planned(Plan { quiet, ..Plan::default() });
    house.pings_answered = false;
    write(&mut house);
    house.advance(seconds(31));
    assert!(house.line(PARTNER).is_open(), "its ping has 60 s");
    house.advance(seconds(39));
    assert!(!house.line(PARTNER).is_open(), "and nothing is unconfirmed after them");
}

#[test]
fn s2s_35_white_space_goes_out_before_the_partner_takes_the_stream_for_idle() {
    let mut house = House::new();
    house
        .features
        .insert(PARTNER, "<limits xmlns='urn:xmpp:stream-limits:0'><idle-seconds>60</idle-seconds></limits>");
    write(&mut house);
    house.advance(seconds(44));
    assert_eq!(house.line(PARTNER).spaces, 0);
    house.advance(seconds(46));
    assert_eq!(house.line(PARTNER).spaces, 2);
}

#[test]
fn a_managed_stream_is_asked_for_an_acknowledgement_instead_of_a_ping() {
    let mut house = House::new();
    house.features.insert(PARTNER, "<sm xmlns='urn:xmpp:sm:3'/>");
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "hi").bytes());
    house.line_says(PARTNER, "<enabled xmlns='urn:xmpp:sm:3'/>");
    house.line_says(PARTNER, "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    house.line(PARTNER).managed.clear();
    house.advance(seconds(300));
    let line = house.line(PARTNER);
    assert_eq!((line.spaces, line.managed.join(" "), line.last_ping.take()), (1, "r".to_owned(), None));
}

// --- streams of the partner ---------------------------------------------------------------------

/// The partner has a stream to us, and we have one to it if `lane`.
fn visited(lane: bool) -> House {
    let mut house = House::new();
    if lane {
        write(&mut house);
    } else {
        // Presence asks for no answer, and so for no lane.
        house.partner_says(PARTNER, &format!("<presence from='{BOB}/home' to='{ALICE}'/>"));
    }
    house.pings_answered = false;
    house
}

fn transcript(house: &House) -> String {
    house.streams[0].transcript()
}

#[test]
fn s2s_31_a_silent_stream_of_the_partner_is_probed_on_the_lane_and_given_up() {
    let mut house = visited(true);
    house.line(PARTNER).last_ping = None;
    house.advance(seconds(300));
    assert_eq!(transcript(&house), " ", "white space, and nothing else: it carries no stanzas of ours");
    assert!(house.line(PARTNER).last_ping.is_some());
    house.advance(seconds(60));
    assert!(transcript(&house).contains("<connection-timeout "), "{}", transcript(&house));
    house.advance(seconds(6));
    assert!(!house.streams[0].open);
}

#[test]
fn a_silent_stream_of_a_partner_without_a_lane_gets_white_space_and_time() {
    let mut house = visited(false);
    house.advance(seconds(599));
    assert_eq!(transcript(&house), " ");
    house.advance(seconds(1));
    assert_eq!(transcript(&house), " </stream:stream>", "closed in good order after ten minutes");
    assert!(house.lines.is_empty(), "and no stream was opened for its sake");
}

#[test]
fn pings_do_not_keep_a_stream_of_the_partner_open_for_ever() {
    let mut house = visited(false);
    let ping =
        format!("<iq type='get' id='p' from='{PARTNER}' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>");
    for _ in 0..3 {
        house.advance(seconds(150));
        house.partner_says(PARTNER, &ping);
    }
    house.advance(seconds(149));
    assert!(house.streams[0].open);
    house.advance(seconds(1));
    assert!(transcript(&house).ends_with("</stream:stream>"));
}

/// A house, so many seconds before the certificates of all partners expire.
fn before_the_certificates_end(count: u64) -> House {
    House::planned(Plan { unix_ms: CERTIFICATES_END - count * 1000, ..Plan::default() })
}

#[test]
fn s2s_34_our_stream_is_reset_when_the_partners_certificate_expires_and_a_new_one_opened_when_needed() {
    let mut house = before_the_certificates_end(100);
    write(&mut house);
    house.stanzas(PARTNER);
    house.advance(seconds(99));
    assert!(house.line(PARTNER).errors.is_empty());
    house.advance(seconds(1));
    assert!(house.line(PARTNER).errors[0].child("reset").is_some());
    assert!(!house.line(PARTNER).is_open());
    write(&mut house);
    assert_eq!(house.stanzas(PARTNER).len(), 1);
    house.advance(seconds(60));
    assert!(house.line(PARTNER).is_open(), "by the certificate that he shows now");
}

#[test]
fn s2s_34_the_partners_stream_is_reset_when_his_certificate_expires() {
    let mut house = before_the_certificates_end(100);
    let stream = house.another_stream(PARTNER);
    house.advance(seconds(99));
    assert!(!house.streams[stream].transcript().contains("<stream:error>"));
    house.advance(seconds(1));
    let said = house.streams[stream].transcript();
    assert!(said.contains("<reset ") && said.ends_with("</stream:stream>"), "{said}");
}
