//! The stream we open, row by row.

use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::{
    Cause, ChainStatus, Fault, NoStartTlsAnswer, Output, SaslCondition, Step, Waiting,
};

use crate::support::{
    ANSWER, AUTH_CONTOSO, MESSAGE, OFFER_EXTERNAL, OFFER_TLS, Out, PROCEED, STARTTLS, SUCCESS, facts, proof,
    terms,
};

const VOID: &str = "<stream:features/>";

#[test]
fn s2s_13_and_26_our_header_every_time() {
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
         xmlns:stream='http://etherx.jabber.org/streams' from='contoso.com' to='fabrikam.com' version='1.0' \
         xml:lang='en'>";
    let mut side = Out::asking();
    side.send(PROCEED);
    assert_eq!(side.tls(proof("fabrikam.com")), header);
    side.send(ANSWER);
    side.send(OFFER_EXTERNAL);
    assert_eq!(side.send(SUCCESS), header);
}

#[test]
fn tls_02_starttls_is_tried_without_an_offer() {
    let mut side = Out::fresh();
    side.send(ANSWER);
    assert_eq!(side.send(VOID), STARTTLS);
    side.send(PROCEED);
    side.tls(proof("fabrikam.com"));
    assert_eq!(side.machine.step(), Step::SecureHeader);
}

#[test]
fn tls_02_a_peer_without_tls_is_left_whatever_it_answers() {
    use NoStartTlsAnswer as Answer;
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let error =
        "<stream:error><unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    for (answer, expected) in [
        (failure, Answer::Failure),
        (error, Answer::StreamError(StreamCondition::UnsupportedStanzaType)),
        ("</stream:stream>", Answer::Closed),
    ] {
        let mut side = Out::fresh();
        side.send(ANSWER);
        side.send(VOID);
        assert_eq!(side.send(answer), "</stream:stream>", "{answer}");
        assert_eq!(side.closed().cause, Cause::NoStartTls { answer: expected });
    }

    let mut side = Out::fresh();
    side.send(ANSWER);
    side.send(VOID);
    side.send(MESSAGE);
    assert!(matches!(side.closed().cause, Cause::NoStartTls { answer: Answer::Other(_) }));

    let mut side = Out::fresh();
    side.send(ANSWER);
    side.send(VOID);
    assert!(side.wait().contains("<connection-timeout "));
    assert_eq!(side.closed().cause, Cause::NoStartTls { answer: Answer::Silence });

    let mut side = Out::fresh();
    side.send(ANSWER);
    side.send(VOID);
    side.machine.disconnected("");
    side.written();
    assert_eq!(side.cut().cause, Cause::NoStartTls { answer: Answer::Closed });
}

#[test]
fn tls_02_a_peer_of_xmpp_0_9_has_no_tls() {
    let mut side = Out::fresh();
    let written = side.send(&ANSWER.replace(" version='1.0'>", ">"));
    assert_eq!(written, "</stream:stream>");
    side.send("</stream:stream>");
    assert_eq!(side.ended().cause, Cause::NoStartTls { answer: NoStartTlsAnswer::OldVersion });
}

#[test]
fn tls_03_what_came_in_clear_after_proceed_ends_the_connection() {
    for injected in ["<stream:features/>", " ", "x", ANSWER] {
        let mut side = Out::asking();
        assert_eq!(side.send(&format!("{PROCEED}{injected}")), "");
        assert_eq!(side.cut().cause, Cause::PlaintextAfterStartTls, "{injected:?}");

        let mut side = Out::asking();
        side.send(PROCEED);
        assert!(matches!(side.outputs.pop(), Some(Output::StartTls)));
        side.send(injected);
        assert_eq!(side.cut().cause, Cause::PlaintextAfterStartTls, "{injected:?}");
    }
}

#[test]
fn tls_03_what_was_learned_in_clear_is_forgotten() {
    let mut side = Out::fresh();
    side.send(&ANSWER.replace("id='x'", "id='clear' xml:lang='fr'"));
    side.send(
        "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/>\
         <bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
    );
    side.send(PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(&ANSWER.replace(" id='x'", ""));
    side.send(OFFER_EXTERNAL);
    side.send(SUCCESS);
    side.send(&ANSWER.replace(" id='x'", ""));
    side.send(VOID);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!(established.features, Default::default());
    assert_eq!(established.stream_id, None);
    assert_eq!(established.lang, None);
}

#[test]
fn tls_10_and_14_a_wrong_certificate_ends_it_before_a_byte_is_sent() {
    for wrong in [
        facts(ChainStatus::Trusted, "example.net"),
        facts(ChainStatus::Untrusted("expired".into()), "fabrikam.com"),
        facts(ChainStatus::Absent, "fabrikam.com"),
    ] {
        let mut side = Out::asking();
        side.send(PROCEED);
        assert_eq!(side.tls(wrong.clone()), "");
        let evidence = side.ended();
        let Cause::Certificate { wanted, chain, names } = evidence.cause else { panic!("{evidence:?}") };
        assert_eq!(wanted.as_str(), "fabrikam.com");
        assert_eq!((chain, names), (wrong.chain, wrong.names));
    }
}

#[test]
fn sasl_01_without_external_the_stream_ends_with_what_was_offered() {
    let mut side = Out::secure();
    side.send(ANSWER);
    let written = side.send(
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
         </mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>",
    );
    assert_eq!(written, "</stream:stream>");
    side.send("</stream:stream>");
    let evidence = side.ended();
    let Cause::NoExternal { mechanisms, dialback } = evidence.cause else { panic!("{evidence:?}") };
    assert_eq!(mechanisms.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["PLAIN"]);
    assert!(dialback);
}

#[test]
fn sasl_02_the_identity_is_our_domain_unless_told_otherwise() {
    let mut side = Out::secure();
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_EXTERNAL), AUTH_CONTOSO);
}

#[test]
fn sasl_02_an_empty_challenge_is_answered_once() {
    let challenge = "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    let mut side = Out::authenticating();
    assert_eq!(
        side.send(challenge),
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Y29udG9zby5jb20=</response>"
    );
    let written = side.send(challenge);
    assert!(matches!(side.fault(&written, "unsupported-stanza-type"), Fault::UnknownElement(_)));
}

#[test]
fn sasl_09_the_peers_failure_is_kept_with_its_text() {
    let mut side = Out::authenticating();
    let written = side.send(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/>\
         <text xml:lang='en'>Call\n\u{202e}212-555-1212</text></failure>",
    );
    assert_eq!(written, "</stream:stream>");
    side.send("</stream:stream>");
    let evidence = side.ended();
    let Cause::SaslFailed { condition, text } = evidence.cause else { panic!("{evidence:?}") };
    assert_eq!(condition, SaslCondition::AccountDisabled);
    assert_eq!(text.unwrap().as_str(), "Call \u{fffd}212-555-1212", "SEC-35");
}

#[test]
fn sec_06_what_came_before_the_restart_after_success_ends_the_stream() {
    let mut side = Out::authenticating();
    let written = side.send(&format!("{SUCCESS}{ANSWER}"));
    assert_eq!(side.fault(&written, "policy-violation"), Fault::Pipelined);

    let mut side = Out::authenticating();
    side.send(&format!("{SUCCESS}\n"));
    assert_eq!(side.machine.step(), Step::FinalHeader, "white space harms nobody");
}

#[test]
fn s2s_10_a_header_of_another_kind_of_stream() {
    for header in [ANSWER.replace("jabber:server", "jabber:client"), ANSWER.replace("etherx", "otherx")] {
        let mut side = Out::fresh();
        let written = side.send(&header);
        assert_eq!(side.fault(&written, "invalid-namespace"), Fault::Namespace);
    }
}

#[test]
fn s2s_17_a_mandatory_feature_nobody_knows() {
    let mut side = Out::authenticating();
    side.send(SUCCESS);
    side.send(ANSWER);
    let written = side.send("<stream:features><x xmlns='urn:x'><required/></x></stream:features>");
    assert!(written.contains("<unsupported-feature "), "{written}");
    assert!(matches!(side.closed().cause, Cause::UnknownFeature(_)));
}

#[test]
fn s2s_17_features_are_kept_as_facts_and_later_ones_change_nothing() {
    let mut side = Out::authenticating();
    side.send(SUCCESS);
    side.send(ANSWER);
    side.send(
        "<stream:features><sm xmlns='urn:xmpp:sm:3'/><limits xmlns='urn:xmpp:stream-limits:0'>\
         <max-bytes>10000</max-bytes><idle-seconds>600</idle-seconds></limits></stream:features>",
    );
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert!(established.features.stream_management);
    assert_eq!(established.features.limits.max_bytes, Some(10000));
    assert_eq!(established.features.limits.idle_seconds, Some(600));
    assert_eq!(side.send(VOID), "");
    assert!(side.machine.write_allowed());
}

#[test]
fn s2s_19_a_stanza_before_the_stream_is_established() {
    for mut side in [Out::secure(), Out::authenticating()] {
        if side.machine.step() == Step::SecureHeader {
            side.send(ANSWER);
        }
        let written = side.send(MESSAGE);
        assert_eq!(side.fault(&written, "not-authorized"), Fault::EarlyStanza);
    }
}

#[test]
fn s2s_27_nothing_but_the_protocol_is_written() {
    let mut side = Out::fresh();
    let mut all = side.send(ANSWER);
    all += &side.send(OFFER_TLS);
    assert_eq!(all, STARTTLS);
    all = side.send(PROCEED);
    assert_eq!(all, "");
}

#[test]
fn s2s_28_stream_errors_of_the_peer() {
    for (error, condition, text) in [
        (
            "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>not here</text>",
            StreamCondition::HostUnknown,
            Some("not here"),
        ),
        (
            "<from-the-future xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
            StreamCondition::UndefinedCondition,
            None,
        ),
        (
            "<xml-not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
            StreamCondition::NotWellFormed,
            None,
        ),
        ("", StreamCondition::UndefinedCondition, None),
    ] {
        for mut side in [Out::asking(), Out::authenticating(), Out::open()] {
            let written = side.send(&format!("<stream:error>{error}</stream:error></stream:stream>"));
            assert_eq!(written, "</stream:stream>");
            let evidence = side.ended();
            let Cause::PeerError { condition: said, text: words, .. } = evidence.cause else {
                panic!("{evidence:?}")
            };
            assert_eq!(said, condition);
            assert_eq!(words.as_ref().map(|words| words.as_str()), text);
        }
    }
}

#[test]
fn s2s_29_the_closing_handshake_both_ways() {
    let mut side = Out::open();
    assert_eq!(side.send("</stream:stream>"), "</stream:stream>");
    assert_eq!(side.ended().cause, Cause::PeerClosed);

    let mut side = Out::open();
    assert_eq!(side.close(None), "</stream:stream>");
    assert_eq!(side.outputs.len(), 1, "the peer has not closed yet");
    side.send("</stream:stream>");
    assert_eq!(side.ended().cause, Cause::WeClosed(None));

    let mut side = Out::open();
    side.close(None);
    assert_eq!(side.wait(), "", "the peer does not close: it is over all the same");
    assert_eq!(side.ended().cause, Cause::WeClosed(None));

    let mut side = Out::open();
    side.close(None);
    side.machine.disconnected("");
    side.written();
    assert_eq!(side.cut().cause, Cause::WeClosed(None));
}

#[test]
fn s2s_29_answers_still_arrive_after_we_closed() {
    let mut side = Out::open();
    side.close(None);
    side.outputs.clear();
    side.send("<iq from='fabrikam.com' to='contoso.com' type='result' id='ping'/>");
    assert!(matches!(&side.outputs[..], [Output::Unasked(iq)] if iq.attr("id") == Some("ping")));
}

#[test]
fn s2s_32_every_step_has_its_time() {
    for (mut side, step) in [
        (Out::fresh(), Step::Header),
        (with(Out::fresh(), ANSWER), Step::Features),
        (Out::asking(), Step::StartTls),
        (Out::secure(), Step::SecureHeader),
        (with(Out::secure(), ANSWER), Step::SecureFeatures),
        (Out::authenticating(), Step::Authentication),
        (with(Out::authenticating(), SUCCESS), Step::FinalHeader),
    ] {
        let written = side.wait();
        assert!(
            written.ends_with(
                "<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
                 </stream:stream>"
            ),
            "{step:?}: {written}"
        );
        assert_eq!(side.wait(), "");
        let evidence = side.ended();
        assert_eq!((evidence.step, evidence.cause), (step, Cause::Timeout(Waiting::Step)));
    }
    let mut side = with(Out::asking(), PROCEED);
    side.outputs.clear();
    assert_eq!(side.wait(), "", "nothing is written into a handshake");
    assert_eq!(side.cut().cause, Cause::Timeout(Waiting::Step));
}

#[test]
fn s2s_32_the_whole_has_its_time_too() {
    let mut side = Out::with(|config| config.timeouts.step = config.timeouts.establishment * 2);
    let begin = side.now;
    side.send(ANSWER);
    side.wait();
    assert_eq!(side.now - begin, std::time::Duration::from_secs(60));
    assert_eq!(side.closed().cause, Cause::Timeout(Waiting::Establishment));
}

#[test]
fn s2s_33_shutdown() {
    for mut side in [Out::fresh(), Out::authenticating(), Out::open()] {
        let written = side.close(Some((StreamCondition::SystemShutdown, "")));
        assert_eq!(
            written,
            "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
             </stream:stream>"
        );
        side.send("</stream:stream>");
        assert_eq!(side.closed().cause, Cause::WeClosed(Some(StreamCondition::SystemShutdown)));
    }
    let mut side = with(Out::asking(), PROCEED);
    side.outputs.clear();
    assert_eq!(side.close(Some((StreamCondition::SystemShutdown, ""))), "");
    side.cut();
}

#[test]
fn s2s_31_a_connection_that_breaks_is_dropped() {
    let mut side = Out::open();
    side.machine.disconnected("connection reset by peer");
    assert_eq!(side.written(), "");
    let evidence = side.cut();
    assert!(
        matches!(evidence.cause, Cause::Disconnected(Some(why)) if why.as_str() == "connection reset by peer")
    );
}

#[test]
fn s2s_24_what_cannot_be_read_ends_the_stream() {
    let mut side = Out::open();
    let written = side.send("<iq></message>");
    assert!(matches!(side.fault(&written, "not-well-formed"), Fault::Xml(_)));
}

#[test]
fn nothing_that_comes_back_on_our_stream_is_routed() {
    let mut side = Out::open();
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Unasked(_)]));
    assert!(side.machine.write_allowed());
}

fn with(mut side: Out, text: &str) -> Out {
    side.send(text);
    side
}

const SEE_OTHER: &str = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
    other.fabrikam.com:9222</see-other-host></stream:error></stream:stream>";

#[test]
fn s2s_30_who_proved_himself_may_say_where_else_he_is() {
    for mut side in [Out::secure(), Out::authenticating()] {
        if side.machine.step() == Step::SecureHeader {
            side.send(ANSWER);
        }
        side.send(SEE_OTHER);
        let redirect = side.ended().redirect.expect("it is to be followed");
        assert_eq!((redirect.host.as_str(), redirect.port), ("other.fabrikam.com", Some(9222)));
    }
}

#[test]
fn s2s_30_nobody_else_sends_us_anywhere() {
    let mut clear = Out::fresh();
    clear.send(ANSWER);
    let untrusted = facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com");
    let open = Out::open();
    for (stage, mut side) in
        [("in clear", clear), ("by dialback", Out::on_tls(terms("R/N/on"), untrusted)), ("established", open)]
    {
        side.outputs.clear();
        side.send(SEE_OTHER);
        let evidence = side.ended();
        assert_eq!(evidence.redirect, None, "{stage}");
        assert!(evidence.to_string().contains("other.fabrikam.com:9222"), "{stage}: {evidence}");
    }
}
