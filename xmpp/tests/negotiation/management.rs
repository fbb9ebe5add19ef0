//! Stream management on the stream a peer opens (XEP-0198).

use nuncio_xmpp::stream::{Cause, Fault, Output, Terms};

use crate::support::{AUTH, HEADER, In, MESSAGE, Out, STARTTLS, proof};

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";
const CLOSE: &str = "</stream:stream>";

fn answer(handled: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")
}

fn enabled() -> In {
    let mut side = In::open();
    assert_eq!(side.send(ENABLE), "<enabled xmlns='urn:xmpp:sm:3'/>", "without resumption");
    side
}

/// The numbers of the stanzas that came.
fn numbers(side: &mut In) -> Vec<Option<u64>> {
    let number = |output| match output {
        Output::Stanza(stanza) => stanza.number,
        Output::BadAddress { number, .. } => number,
        other => panic!("{other:?}"),
    };
    side.outputs.drain(..).map(number).collect()
}

#[test]
fn sm_01_a_stanza_is_acknowledged_when_it_is_settled_and_all_before_it() {
    let mut side = enabled();
    assert_eq!(side.send(&format!("{MESSAGE}{MESSAGE}{REQUEST}")), answer(0), "at once, with what there is");
    let numbers = numbers(&mut side);
    side.machine.settled(numbers[1].unwrap());
    assert_eq!(side.written(), "");
    assert!(side.machine.has_unsettled());
    side.machine.settled(numbers[0].unwrap());
    assert_eq!(side.written(), answer(2), "without being asked again");
    assert!(!side.machine.has_unsettled());
}

#[test]
fn sm_01_stanzas_before_enable_are_not_counted_and_bad_addresses_are() {
    let mut side = In::open();
    let bad = MESSAGE.replace("romeo@", "ro meo@");
    side.send(&format!("{MESSAGE}{ENABLE}{bad}"));
    let numbers = numbers(&mut side);
    assert_eq!(numbers, [None, Some(0)]);
    side.machine.settled(0);
    assert_eq!(side.send(REQUEST), answer(1));
}

#[test]
fn who_enables_nothing_gets_stanzas_without_numbers() {
    let mut side = In::open();
    side.send(MESSAGE);
    assert_eq!(numbers(&mut side), [None]);
    assert!(!side.machine.has_unsettled());
}

#[test]
fn what_is_settled_is_acknowledged_before_the_stream_closes_whoever_closes_it() {
    for peer in [true, false] {
        let mut side = enabled();
        side.send(&format!("{MESSAGE}{MESSAGE}"));
        let numbers = numbers(&mut side);
        side.machine.settled(numbers[0].unwrap());
        let written = if peer { side.send(CLOSE) } else { side.close(None) };
        assert_eq!(written, answer(1) + CLOSE);
    }
}

#[test]
fn nothing_is_acknowledged_after_our_closing_tag() {
    let mut side = enabled();
    side.send(&format!("{MESSAGE}{REQUEST}"));
    let numbers = numbers(&mut side);
    assert_eq!(side.close(None), CLOSE);
    side.machine.settled(numbers[0].unwrap());
    assert_eq!(side.written(), "");
    assert_eq!(side.send(REQUEST), "");
}

#[test]
fn sm_01_a_second_enable_ends_the_stream() {
    let mut side = enabled();
    let written = side.send(ENABLE);
    assert!(written.contains("<policy-violation "), "{written}");
    let evidence = side.closed();
    assert!(matches!(evidence.cause, Cause::Fault { fault: Fault::Management(_), .. }), "{evidence:?}");
    assert!(evidence.to_string().contains("enabled already"), "{evidence}");
}

#[test]
fn sm_01_too_high_a_count_ends_the_stream_on_both_sides() {
    let high = answer(1);
    let expected = "<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>";
    let mut side = enabled();
    let written = side.send(&high);
    assert!(written.contains(expected), "{written}");
    assert!(written.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='1' send-count='0'/>"));
    assert!(written.ends_with("</stream:error></stream:stream>"), "{written}");

    // On a stream we open, the lane counts.
    let mut side = Out::open();
    side.send(&high);
    let Some(Output::Managed(said)) = side.outputs.pop() else { panic!("the caller got nothing") };
    assert_eq!(said, nuncio_xmpp::sm::Management::Answer { handled: 1 });
    side.machine.misused(nuncio_xmpp::sm::Misuse::TooHigh { handled: 1, sent: 0 }, side.now);
    let written = side.written();
    assert!(written.contains(expected) && written.contains(" h='1' send-count='0'/>"), "{written}");
}

#[test]
fn sm_01_before_authentication_nothing_is_enabled() {
    let mut side = In::secure(proof("fabrikam.com"));
    let failed = "<failed xmlns='urn:xmpp:sm:3'>\
        <unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    assert_eq!(side.send(ENABLE), failed);
    let written = side.send(ENABLE);
    assert!(written.contains("<policy-violation "), "once: {written}");
    side.closed();
    // Nor is it offered.
    let written = In::handshaken(proof("fabrikam.com")).send(HEADER);
    assert!(!written.contains("urn:xmpp:sm:3"), "{written}");
}

#[test]
fn what_is_not_offered_cannot_be_enabled() {
    let mut side = In::on(Terms { management: false, ..Terms::CERTIFICATES });
    side.send(STARTTLS);
    side.tls(proof("fabrikam.com"));
    side.send(HEADER);
    side.send(AUTH);
    let written = side.send(HEADER);
    assert!(!written.contains("urn:xmpp:sm:3"), "{written}");
    side.established();
    assert!(side.send(ENABLE).contains("<unexpected-request "));
}

#[test]
fn a_session_is_not_resumed_here_but_a_new_one_begins() {
    let mut side = In::open();
    let written = side.send("<resume xmlns='urn:xmpp:sm:3' previd='s1' h='0'/>");
    assert!(written.contains("<feature-not-implemented "), "{written}");
    assert_eq!(side.send(ENABLE), "<enabled xmlns='urn:xmpp:sm:3'/>");
}

#[test]
fn a_count_that_is_none_ends_the_stream() {
    let mut side = enabled();
    let written = side.send("<a xmlns='urn:xmpp:sm:3' h='many'/>");
    assert!(written.contains("<bad-format "), "{written}");
}
