//! Streams that carry stanzas both ways (XEP-0288), as initiator and as responder.

use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::sm::Management;
use nuncio_xmpp::stream::{Fault, Output, Stanza, Terms};

use crate::support::{
    ANSWER, AUTH, AUTH_CONTOSO, HEADER, In, MESSAGE, OFFER_TLS, Out, PROCEED, STARTTLS, SUCCESS, db, our_key,
    proof, terms, their_key,
};

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const FEATURE: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3'/>";
const ENABLED: &str = "<enabled xmlns='urn:xmpp:sm:3'/>";
const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn answer(handled: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")
}

/// EXTERNAL is offered, and both ways.
fn offer_external() -> String {
    format!(
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
         <mechanism>EXTERNAL</mechanism></mechanisms>{FEATURE}</stream:features>"
    )
}

fn offer_dialback() -> String {
    format!(
        "<stream:features>{FEATURE}<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
         </stream:features>"
    )
}

/// Takes the output that says that the stream is established; whether it goes both ways.
fn established(outputs: &mut Vec<Output>) -> bool {
    match (outputs.pop(), outputs.len()) {
        (Some(Output::Established(established)), 0) => established.both_ways,
        other => panic!("not established: {other:?}"),
    }
}

/// A stream we opened by SASL that goes both ways.
fn out_open() -> Out {
    let mut side = Out::secure();
    side.send(ANSWER);
    assert_eq!(side.send(&offer_external()), format!("{BIDI}{AUTH_CONTOSO}"));
    side.send(SUCCESS);
    side.send(ANSWER);
    side.send("<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>");
    assert!(established(&mut side.outputs));
    side
}

/// A stream the peer opened by SASL that goes both ways.
fn in_open() -> In {
    let mut side = In::secure(proof("fabrikam.com"));
    assert_eq!(side.send(BIDI), "");
    assert_eq!(side.send(AUTH), SUCCESS);
    side.send(HEADER);
    assert!(established(&mut side.outputs));
    side
}

fn stanza(side: &mut Out) -> Box<Stanza> {
    match (side.outputs.pop(), side.outputs.len()) {
        (Some(Output::Stanza(stanza)), 0) => stanza,
        other => panic!("no stanza: {other:?}"),
    }
}

// === as initiator

#[test]
fn bi_01_it_is_asked_for_after_tls_and_before_we_prove_ourselves() {
    let mut side = Out::fresh();
    side.send(ANSWER);
    let offer = OFFER_TLS.replace("</stream:features>", &format!("{FEATURE}</stream:features>"));
    assert_eq!(side.send(&offer), STARTTLS, "not in clear");
    side.send(PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(ANSWER);
    assert_eq!(side.send(&offer_external()), format!("{BIDI}{AUTH_CONTOSO}"));
}

#[test]
fn bi_01_before_a_key_as_well_and_once_only() {
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    assert_eq!(side.send(&offer_dialback()), format!("{BIDI}{}", our_key("x")));

    // After a failure of SASL the same stream goes on by dialback.
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    let both = offer_external()
        .replace(FEATURE, &format!("{FEATURE}<dialback xmlns='urn:xmpp:features:dialback'/>"));
    assert_eq!(side.send(&both), format!("{BIDI}{AUTH_CONTOSO}"));
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    assert_eq!(side.send(failure), our_key("x"));
}

#[test]
fn it_is_not_asked_for_where_it_is_not_offered_or_not_wanted() {
    assert!(!Out::authenticating().outputs.iter().any(|output| matches!(output, Output::Established(_))));
    let mut side = Out::with(|config| config.terms.both_ways = false);
    side.send(ANSWER);
    side.send(OFFER_TLS);
    side.send(PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(ANSWER);
    assert_eq!(side.send(&offer_external()), AUTH_CONTOSO);
    side.send(SUCCESS);
    side.send(ANSWER);
    side.send("<stream:features/>");
    assert!(!established(&mut side.outputs));
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Unasked(_)]), "{:?}", side.outputs);
}

#[test]
fn the_responders_stanzas_are_taken_between_the_same_two_domains_only() {
    let mut side = out_open();
    side.send(MESSAGE);
    let taken = stanza(&mut side);
    assert_eq!((taken.addresses.from.domain(), taken.addresses.to.domain()), ("fabrikam.com", "contoso.com"));

    for (message, condition) in [
        (MESSAGE.replace("@fabrikam.com", "@example.net"), "invalid-from"),
        (MESSAGE.replace("@fabrikam.com", "@contoso.com"), "invalid-from"),
        (MESSAGE.replace("@contoso.com", "@sales.contoso.com"), "host-unknown"),
        ("<message to='juliet@contoso.com'/>".to_owned(), "improper-addressing"),
        ("<what xmlns='urn:what'/>".to_owned(), "unsupported-stanza-type"),
    ] {
        let mut side = out_open();
        let written = side.send(&message);
        side.fault(&written, condition);
    }
}

#[test]
fn a_stanza_before_the_stream_is_established_ends_it() {
    let mut side = Out::secure();
    side.send(ANSWER);
    side.send(&offer_external());
    let written = side.send(MESSAGE);
    assert!(matches!(side.fault(&written, "not-authorized"), Fault::EarlyStanza));
}

#[test]
fn a_bad_localpart_costs_only_its_stanza() {
    let mut side = out_open();
    side.send(&MESSAGE.replace("romeo@", "ro meo@"));
    assert!(matches!(side.outputs[..], [Output::BadAddress { .. }]), "{:?}", side.outputs);
    assert!(side.machine.write_allowed());
}

#[test]
fn sm_01_what_comes_back_is_counted_from_enabled_on_and_acknowledged_when_settled() {
    let mut side = out_open();
    assert_eq!(side.send(REQUEST), "", "nothing is enabled");
    side.outputs.clear();
    side.send(MESSAGE);
    assert_eq!(stanza(&mut side).number, None);
    side.send(ENABLED);
    assert!(matches!(side.outputs.pop(), Some(Output::Managed(Management::Enabled { .. }))));
    side.send(MESSAGE);
    let number = stanza(&mut side).number.expect("a number");
    assert_eq!(side.send(REQUEST), answer(0));
    assert!(side.machine.has_unsettled() && side.outputs.is_empty());
    side.machine.settled(number);
    assert_eq!(side.written(), answer(1), "without being asked again");
}

#[test]
fn what_is_settled_is_acknowledged_before_we_close() {
    let mut side = out_open();
    side.send(ENABLED);
    side.outputs.clear();
    side.send(MESSAGE);
    let number = stanza(&mut side).number.unwrap();
    side.machine.settled(number);
    assert_eq!(side.close(None), format!("{}</stream:stream>", answer(1)));
}

#[test]
fn bi_03_a_key_on_a_stream_of_ours_is_refused_and_costs_no_stream() {
    let mut side = out_open();
    let written = side.send(&db("result", "from='muc.fabrikam.com' to='contoso.com'", "key"));
    assert!(written.contains("<not-acceptable "), "{written}");
    assert!(written.contains(" from='contoso.com' to='muc.fabrikam.com' "), "{written}");
    assert!(side.machine.write_allowed());
    // Answers to what nobody asked change nothing, whichever way the stream goes.
    for kind in ["valid", "invalid", "error"] {
        let attributes = format!("from='muc.fabrikam.com' to='contoso.com' type='{kind}'");
        assert_eq!(side.send(&db("result", &attributes, "")), "");
        assert!(matches!(side.outputs.pop(), Some(Output::Unsolicited(_))), "{kind}");
    }
    let written = side.send(&MESSAGE.replace("@fabrikam.com", "@muc.fabrikam.com"));
    side.fault(&written, "invalid-from");
}

#[test]
fn sec_02_a_partner_that_goes_on_offering_keys_and_does_not_read_is_shown_out() {
    const MOST: usize = 512 * 1024;
    let mut side = out_open();
    let key = db("result", "from='muc.fabrikam.com' to='contoso.com'", "key");
    let answer = side.send(&key).len();
    for _ in 0..MOST / answer {
        side.machine.receive(key.as_bytes(), side.now);
    }
    assert!(side.machine.write_allowed(), "at the limit");
    let written = side.send(&key);
    assert!(written.len() < MOST + 2 * answer + 200, "{}", written.len());
    side.outputs.retain(|output| matches!(output, Output::Closed(_)));
    assert_eq!(side.fault(&written, "policy-violation"), Fault::AnswersUnread);
}

#[test]
fn sm_01_on_a_stream_of_ours_the_peer_enables_nothing() {
    let mut side = out_open();
    for element in [ENABLE, "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>"] {
        assert_eq!(side.send(element), "");
        assert!(matches!(side.outputs.pop(), Some(Output::Unasked(_))), "{element}");
    }
    assert!(side.machine.write_allowed());
}

// === as responder

#[test]
fn bi_01_it_is_offered_under_tls_to_whoever_has_a_way_to_prove_himself() {
    let mut side = In::handshaken(proof("fabrikam.com"));
    assert!(side.send(HEADER).contains(FEATURE));
    let mut side = In::handshaken(proof("somebody.example"));
    assert!(!side.send(HEADER).contains(FEATURE), "nobody that could authenticate");
    for (entry, offered) in [("N/N/on", true), ("R/O/on", false)] {
        let mut side = In::with(|config| config.dialback = Some(crate::support::secret()));
        side.send(HEADER);
        let written = side.verdict(nuncio_xmpp::stream::PartnerVerdict::Allowed(terms(entry)));
        assert_eq!(written.contains(FEATURE), offered, "in clear, {entry}: {written}");
    }
    let mut side = In::on(Terms { both_ways: false, ..Terms::CERTIFICATES });
    side.send(STARTTLS);
    side.tls(proof("fabrikam.com"));
    assert!(!side.send(HEADER).contains(FEATURE), "switched off");
    let written = side.send(BIDI);
    side.fault(&written, "unsupported-stanza-type");
}

#[test]
fn bi_02_nothing_may_be_written_before_the_initiator_is_authenticated() {
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(BIDI);
    assert!(!side.machine.write_allowed());
    side.send(AUTH);
    assert!(!side.machine.write_allowed());
    side.send(HEADER);
    assert!(established(&mut side.outputs));
    assert!(side.machine.write_allowed());
    let pairs: Vec<_> =
        side.machine.pairs().iter().map(|pair| (pair.from.as_str(), pair.to.as_str())).collect();
    assert_eq!(pairs, [("fabrikam.com", "contoso.com")], "for these two and no others");
}

#[test]
fn tls_03_what_was_asked_in_clear_does_not_count_under_tls() {
    let mut side = In::on(terms("O/O/on"));
    assert_eq!(side.send(BIDI), "", "it was offered");
    assert_eq!(side.send(STARTTLS), PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(HEADER);
    side.send(AUTH);
    side.send(HEADER);
    assert!(!established(&mut side.outputs));
}

#[test]
fn who_does_not_ask_gets_nothing_back_on_his_stream() {
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(AUTH);
    side.send(HEADER);
    assert!(!established(&mut side.outputs));
    let written = side.send(BIDI);
    side.fault(&written, "unsupported-stanza-type");
}

#[test]
fn db_12_by_dialback_it_goes_both_ways_once_the_key_was_verified_elsewhere() {
    let mut side = In::on_tls(terms("R/N/on"), proof("somebody.example"));
    assert_eq!(side.send(BIDI), "");
    assert_eq!(side.send(&their_key()), "", "the question goes out on another connection");
    assert!(!side.machine.write_allowed());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    assert!(established(&mut side.outputs));
    assert!(side.machine.write_allowed());
}

#[test]
fn sm_01_the_initiator_says_what_it_has_handled_to_whoever_sends() {
    let mut side = in_open();
    assert_eq!(side.send(ENABLE), ENABLED);
    assert!(matches!(side.outputs.pop(), Some(Output::Managed(Management::Enable { .. }))));
    assert_eq!(side.send(&answer(3)), "", "the lane counts");
    let said = side.outputs.pop();
    assert!(matches!(said, Some(Output::Managed(Management::Answer { handled: 3 }))), "{said:?}");
    side.machine.misused(nuncio_xmpp::sm::Misuse::TooHigh { handled: 3, sent: 2 }, side.now);
    assert!(side.written().contains(" h='3' send-count='2'/>"));
}

// === the sessions printed in XEP-0288 §3, from both ends

/// A header of `from` to `to`; `id` as an attribute, if there is one.
fn header(from: &str, to: &str, id: &str) -> String {
    format!(
        "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:server' \
         xmlns:db='jabber:server:dialback' to='{to}' from='{from}' {id} xml:lang='en' version='1.0'>"
    )
}

const PING: &str = "<iq from='juliet@capulet.lit/balcony' to='montague.lit' type='get' id='8dfc70af'>\
    <query xmlns='urn:xmpp:ping'/></iq>";
const PONG: &str = "<iq from='montague.lit' to='juliet@capulet.lit/balcony' type='result' id='8dfc70af'>\
    <query xmlns='urn:xmpp:ping'/></iq>";
/// `capulet.lit`.
const CAPULET: &str = "Y2FwdWxldC5saXQ=";

fn capulet(entry: &str) -> Out {
    use nuncio_xmpp::stream::{Outbound, OutboundConfig};
    let now = std::time::Instant::now();
    let mut config =
        OutboundConfig::new(crate::support::domain("capulet.lit"), crate::support::domain("montague.lit"));
    config.terms = terms(entry);
    config.dialback = Some(crate::support::secret());
    let mut side = Out::new(Outbound::new(config, now), now);
    let features = format!(
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{FEATURE}</stream:features>"
    );
    side.written();
    side.send(&header("montague.lit", "capulet.lit", "id='65b3'"));
    assert_eq!(side.send(&features), STARTTLS);
    side.send(PROCEED);
    side.tls(proof("montague.lit"));
    side.send(&header("montague.lit", "capulet.lit", "id='b5cd'"));
    side
}

fn montague(entry: &str) -> In {
    use nuncio_xmpp::stream::{Inbound, InboundConfig, PartnerVerdict, StreamIds};
    let now = std::time::Instant::now();
    let mut config = InboundConfig::new(std::sync::Arc::new([crate::support::domain("montague.lit")]));
    config.dialback = Some(crate::support::secret());
    let ids = StreamIds(["65b3".into(), "b5cd".into(), "last".into()]);
    let mut side = In::new(Inbound::new(config, ids, now), now);
    side.send(&header("capulet.lit", "montague.lit", ""));
    side.verdict(PartnerVerdict::Allowed(terms(entry)));
    assert_eq!(side.send(STARTTLS), PROCEED);
    side.tls(proof("capulet.lit"));
    assert!(side.send(&header("capulet.lit", "montague.lit", "")).contains(FEATURE));
    side
}

#[test]
fn tv_35_xep_0288_by_sasl_as_capulet() {
    let mut side = capulet("R/R/off");
    assert_eq!(
        side.send(&offer_external()),
        format!("{BIDI}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{CAPULET}</auth>")
    );
    side.send(SUCCESS);
    side.send(&header("montague.lit", "capulet.lit", "id='b5cd'"));
    side.send("<stream:features/>");
    assert!(established(&mut side.outputs));
    side.send(PONG);
    assert_eq!(stanza(&mut side).element.attr("type"), Some("result"));
}

#[test]
fn tv_35_xep_0288_by_sasl_as_montague() {
    let mut side = montague("R/R/off");
    let auth = AUTH.replace(">=<", &format!(">{CAPULET}<"));
    assert_eq!(side.send(&format!("{BIDI}{auth}")), SUCCESS);
    side.send(&header("capulet.lit", "montague.lit", ""));
    assert!(established(&mut side.outputs));
    side.send(PING);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "{:?}", side.outputs);
    assert!(side.machine.write_allowed(), "so the answer can go back on it");
}

#[test]
fn tv_35_xep_0288_by_dialback_as_capulet() {
    let mut side = capulet("R/N/on");
    let key = crate::support::secret().key(
        &crate::support::domain("montague.lit"),
        &crate::support::domain("capulet.lit"),
        "b5cd",
    );
    let expected =
        format!("{BIDI}<db:result from='capulet.lit' to='montague.lit'>{}</db:result>", key.as_str());
    assert_eq!(side.send(&offer_dialback()), expected);
    side.send("<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
    assert!(established(&mut side.outputs));
    side.send(PONG);
    assert_eq!(stanza(&mut side).element.attr("id"), Some("8dfc70af"));
    // montague.lit wants to speak for its rooms as well: on a stream of their own.
    let room = side.send("<db:result from='conference.montague.lit' to='capulet.lit'>1bac3ef5</db:result>");
    assert!(room.contains(" type='error'") && side.machine.write_allowed(), "{room}");
}

#[test]
fn tv_35_xep_0288_by_dialback_as_montague() {
    let mut side = montague("R/N/on");
    assert_eq!(
        side.send(&format!("{BIDI}<db:result from='capulet.lit' to='montague.lit'>e3f5</db:result>")),
        ""
    );
    let request = side.take_request();
    let valid = side.verified(&request, VerifyOutcome::Valid);
    assert_eq!(valid, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
    assert!(established(&mut side.outputs));
    side.send(PING);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "{:?}", side.outputs);
}
