//! A peer without any will to cooperate, at every stage of a stream: what it sends ends the stream with the error that is
//! due, gets no stanza across, and leaves nothing behind that is larger than what was configured.

use nuncio_xmpp::stream::{ChainStatus, Fault, InboundConfig, Output, StreamLimits};

use crate::support::{
    ANSWER, AUTH, HEADER, In, MESSAGE, Machine, OFFER_DIALBACK, OFFER_EXTERNAL, OFFER_TLS, Out, STARTTLS,
    Side, db, facts, proof, terms, their_key,
};

/// Where a peer can be on a stream that it opens, before it is authenticated.
fn inbound() -> Vec<(&'static str, In)> {
    let untrusted = facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com");
    let mut verifying = In::on(terms("N/N/on"));
    verifying.send(&their_key());
    verifying.take_request();
    vec![
        ("before TLS", In::clear()),
        ("under TLS", In::secure(proof("fabrikam.com"))),
        ("with a certificate of its own making", In::secure(untrusted)),
        ("while its key is verified", verifying),
    ]
}

/// And on one that we open.
fn outbound() -> Vec<(&'static str, Out)> {
    let mut header = Out::fresh();
    header.send(ANSWER);
    vec![
        ("instead of features", header),
        ("instead of <proceed/>", Out::asking()),
        ("instead of <success/>", Out::authenticating()),
        ("instead of a result", Out::asking_in_clear()),
    ]
}

/// What is no XML of a stream, and the error for it. Each is an attack of its own (SEC-01 to SEC-05). What is too large for a
/// peer that proved itself, too, is `times` as large.
fn poison(times: usize) -> Vec<(String, &'static str)> {
    let laughs = "<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'>]><x>&b;</x>";
    let external = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>";
    let deep = "<a>".repeat(200);
    let attributes: String = (0..200).map(|number| format!(" a{number}=''")).collect();
    let prefixes: String = (0..200).map(|number| format!(" xmlns:p{number}='urn:{number}'")).collect();
    let children = "<b/>".repeat(200 * times);
    vec![
        (laughs.to_owned(), "restricted-xml"),
        (external.to_owned(), "restricted-xml"),
        ("<x>&e;</x>".to_owned(), "restricted-xml"),
        ("<!-- -->".to_owned(), "restricted-xml"),
        ("<?php ?>".to_owned(), "restricted-xml"),
        ("<x></y>".to_owned(), "not-well-formed"),
        // Its end is not waited for.
        ("<x><y></x>".to_owned(), "not-well-formed"),
        ("<x a='1' a='2'/>".to_owned(), "not-well-formed"),
        ("<x>\u{1}</x>".to_owned(), "not-well-formed"),
        ("<p:x/>".to_owned(), "not-well-formed"),
        (format!("<x xmlns='urn:x'>{deep}"), "policy-violation"),
        (format!("<x xmlns='urn:x'{attributes}/>"), "policy-violation"),
        (format!("<x xmlns='urn:x'{prefixes}/>"), "policy-violation"),
        (format!("<x xmlns='urn:x'>{children}</x>"), "policy-violation"),
        (format!("<{}/>", "x".repeat(1000)), "policy-violation"),
        (format!("<x xmlns='{}'/>", "x".repeat(2000)), "policy-violation"),
        (format!("<x xmlns='urn:x' a='{}'/>", "x".repeat(20_000 * times)), "policy-violation"),
        (format!("<x xmlns='urn:x'>{}", "x".repeat(20_000 * times)), "policy-violation"),
    ]
}

fn ends_with<M: Machine>(mut side: Side<M>, attack: &str, condition: &str, stage: &str) {
    let shown: String = attack.chars().take(60).collect();
    side.outputs.clear();
    let written = side.send(attack);
    let error = format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    assert!(written.contains(&error), "{stage}: {shown}: {written}");
    assert!(written.ends_with("</stream:stream>"), "{stage}: {shown}: {written}");
    // Even if it goes on with what would have been right.
    side.send(&[MESSAGE, STARTTLS, AUTH, HEADER, MESSAGE].concat());
    let crossed =
        |output: &Output| matches!(output, Output::Stanza(_) | Output::Established(_) | Output::StartTls);
    assert!(!side.outputs.iter().any(crossed), "{stage}: {shown}: {:?}", side.outputs);
    let closed = side.outputs.iter().filter(|output| matches!(output, Output::Closed(_))).count();
    assert_eq!(closed, 1, "{stage}: {shown}: {:?}", side.outputs);
}

#[test]
fn sec_01_to_sec_05_poison_ends_a_stream_that_a_peer_opens_at_every_stage() {
    for (attack, condition) in poison(1) {
        for (stage, side) in inbound() {
            ends_with(side, &attack, condition, stage);
        }
    }
}

#[test]
fn sec_01_to_sec_05_poison_ends_the_stream_of_an_authenticated_partner_too() {
    for (attack, condition) in poison(30) {
        ends_with(In::open(), &attack, condition, "authenticated");
    }
}

#[test]
fn sec_01_to_sec_05_poison_ends_a_stream_that_we_open_at_every_stage() {
    for (attack, condition) in poison(1) {
        for (stage, side) in outbound() {
            ends_with(side, &attack, condition, stage);
        }
    }
}

#[test]
fn s2s_19_a_stanza_before_its_time_is_not_authorized_at_any_stage() {
    for stanza in [MESSAGE, "<presence/>", "<iq type='get' id='1'/>"] {
        for (stage, side) in inbound() {
            ends_with(side, stanza, "not-authorized", stage);
        }
        for (stage, side) in outbound().into_iter().filter(|(stage, _)| *stage != "instead of <proceed/>") {
            ends_with(side, stanza, "not-authorized", stage);
        }
    }
}

/// So much may wait in a stream whose peer did not prove itself.
fn most() -> usize {
    StreamLimits::default().pre_auth_total
}

#[test]
fn sec_02_and_sec_03_what_comes_drop_by_drop_is_kept_up_to_the_limit_and_no_further() {
    let beginnings = ["<x xmlns='urn:x' a='", "<x xmlns='urn:x'>", "<x xmlns='urn:x'><![CDATA[", " "];
    for beginning in beginnings {
        for (stage, mut side) in inbound() {
            side.outputs.clear();
            side.send(beginning);
            let mut sent = 0;
            while !side.outputs.iter().any(|output| matches!(output, Output::Closed(_))) {
                side.send(&if beginning == " " { " " } else { "y" }.repeat(97));
                sent += 97;
                let held = side.machine.held();
                assert!(held <= most(), "{stage}: {beginning}: {held} octets");
                assert!(sent <= most() + 97, "{stage}: {beginning}: no end");
            }
        }
    }
}

#[test]
fn sec_02_of_an_authenticated_partner_one_stanza_is_kept_and_no_more() {
    let most = StreamLimits::default().established.stanza;
    let mut side = In::open();
    side.send("<message from='a@fabrikam.com' to='b@contoso.com'><body>");
    let mut sent = 0;
    while side.outputs.is_empty() {
        let written = side.send(&"y".repeat(9973));
        sent += 9973;
        assert!(side.machine.held() <= most, "{} octets", side.machine.held());
        assert!(sent <= most + 9973, "no end");
        assert!(side.outputs.is_empty() || written.contains("<stanza-too-big "), "{written}");
    }
    assert!(sent > most / 10 * 9, "ended after {sent} octets");
}

/// What is sent to a stream whose caller does not say whether a domain may come in, until it is shown out.
fn floods(side: &mut In, chunk: usize) -> (usize, String) {
    let mut sent = 0;
    side.outputs.clear();
    loop {
        let written = side.send(&MESSAGE.repeat(chunk / MESSAGE.len()));
        sent += chunk / MESSAGE.len() * MESSAGE.len();
        if let Some(Output::Closed(_)) = side.outputs.last() {
            return (sent, written);
        }
        assert_eq!((written.as_str(), side.outputs.len()), ("", 0), "nothing is read");
        assert_eq!(side.machine.held(), sent);
        assert!(sent < 1 << 21, "no end");
    }
}

#[test]
fn sec_03_nobody_floods_a_stream_while_its_header_waits_for_a_word() {
    let mut side = In::fresh();
    side.send(HEADER);
    let (sent, written) = floods(&mut side, 1000);
    assert!(sent + HEADER.len() <= most() + 1000, "{sent} octets");
    assert!(written.contains("<policy-violation "), "{written}");
}

#[test]
fn sec_02_nobody_floods_a_stream_while_a_further_domain_waits_for_a_word() {
    let limit = StreamLimits::default().established.stanza;
    let mut side = In::on_tls(terms("R/R/on"), proof("fabrikam.com"));
    side.send(AUTH);
    side.send(HEADER);
    side.established();
    side.send(&db("result", "from='it.fabrikam.com' to='contoso.com'", "key"));
    assert!(matches!(side.outputs[..], [Output::AskPartner { .. }]));
    let (sent, written) = floods(&mut side, 1000);
    assert!((limit..=limit + 1000).contains(&sent), "{sent} octets");
    side.outputs.retain(|output| matches!(output, Output::Closed(_)));
    assert_eq!(side.fault(&written, "resource-constraint"), Fault::TooMuchUnread);
}

#[test]
fn sec_02_a_partner_that_asks_and_does_not_read_is_shown_out() {
    const MOST: usize = 512 * 1024;
    let mut side = In::on_tls(terms("R/R/on"), proof("fabrikam.com"));
    side.send(AUTH);
    side.send(HEADER);
    side.established();
    let question = db("verify", "from='fabrikam.com' to='contoso.com' id='1'", "key");
    let answer = side.send(&question).len();
    for _ in 0..MOST / answer {
        side.machine.receive(question.as_bytes(), side.now);
    }
    assert!(side.machine.write_allowed(), "at the limit");
    let written = side.send(&question);
    assert!(written.len() < MOST + 2 * answer + 200, "{}", written.len());
    side.outputs.retain(|output| matches!(output, Output::Closed(_)));
    assert_eq!(side.fault(&written, "policy-violation"), Fault::AnswersUnread);
}

#[test]
fn sec_03_nothing_is_kept_of_a_stream_that_is_over() {
    for (attack, _) in poison(1) {
        for (stage, mut side) in inbound() {
            side.send(&attack);
            while side.machine.deadline().is_some() {
                side.wait();
            }
            side.send(&attack);
            assert_eq!(side.machine.held(), 0, "{stage}");
        }
    }
}

#[test]
fn sec_03_questions_without_end_are_answered_within_what_may_come_before_authentication() {
    let mut side = In::on(terms("N/N/on"));
    let question = db("verify", "from='fabrikam.com' to='contoso.com' id='1'", "key");
    let (mut asked, mut answered) = (0, 0);
    while !side.outputs.iter().any(|output| matches!(output, Output::Closed(_))) {
        asked += question.len();
        answered += side.send(&question).matches("<db:verify ").count();
        assert!(asked <= most() + question.len(), "no end");
        side.outputs.retain(|output| matches!(output, Output::Closed(_)));
    }
    assert!(answered > 0 && answered <= most() / question.len());
}

#[test]
fn tls_01_proceed_success_and_results_that_nobody_asked_for_lead_nowhere() {
    for early in [
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    ] {
        let mut header = Out::fresh();
        header.send(ANSWER);
        ends_with(header, early, "unsupported-stanza-type", "instead of features");
        ends_with(Out::asking_in_clear(), early, "unsupported-stanza-type", "instead of a result");
    }
    // Features that come twice begin nothing anew.
    for offer in [OFFER_TLS, OFFER_EXTERNAL, OFFER_DIALBACK] {
        ends_with(Out::asking(), offer, "unsupported-stanza-type", "instead of <proceed/>");
        ends_with(Out::authenticating(), offer, "unsupported-stanza-type", "instead of <success/>");
    }
}

#[test]
fn sec_02_the_limits_of_the_configuration_are_the_limits_of_the_stream() {
    let small = |config: &mut InboundConfig| config.limits.pre_auth_total = 600;
    let mut side = In::with(small);
    side.send(HEADER);
    side.allow();
    side.send(&" ".repeat(600 - HEADER.len()));
    assert!(side.outputs.is_empty(), "at the limit: {:?}", side.outputs);
    let written = side.send(" ");
    assert!(written.contains("<policy-violation "), "one past it: {written}");
}
