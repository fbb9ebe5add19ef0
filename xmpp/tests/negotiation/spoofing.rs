//! Peers that want to be somebody else. Whatever they try, nothing of theirs gets across under another's name.

use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::stream::{ChainStatus, DialbackRefusal, Fault, Output, PartnerVerdict};

use crate::support::{
    ANSWER, AUTH, HEADER, In, OFFER_DIALBACK, Out, STARTTLS, SUCCESS, db, facts, proof, proved, secret,
    terms, their_key,
};

/// What dialback says when it is over, in every form, for every direction and domain.
fn unasked_answers() -> Vec<String> {
    let mut answers = Vec::new();
    for (from, to) in [
        ("fabrikam.com", "contoso.com"),
        ("contoso.com", "fabrikam.com"),
        ("example.net", "contoso.com"),
        ("contoso.com", "example.net"),
    ] {
        for kind in ["valid", "invalid", "error", "maybe", ""] {
            answers.push(db("result", &format!("from='{from}' to='{to}' type='{kind}'"), ""));
            for id in ["id-one", "id-two", "other"] {
                answers.push(db("verify", &format!("from='{from}' to='{to}' id='{id}' type='{kind}'"), ""));
            }
        }
    }
    answers
}

#[test]
fn db_06_and_sec_10_answers_that_nobody_asked_for_change_nothing_on_a_stream_a_peer_opens() {
    let untrusted = || facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com");
    for answer in unasked_answers() {
        for side in [In::on(terms("N/N/on")), In::on_tls(terms("R/O/on"), untrusted())] {
            let mut side = side;
            side.send(&their_key());
            side.take_request();
            assert_eq!(side.send(&answer), "", "{answer}");
            assert!(matches!(side.outputs[..], [Output::Unsolicited(_)]), "{answer}: {:?}", side.outputs);
            assert!(side.machine.pairs().is_empty());
        }
    }
}

#[test]
fn db_06_and_sec_10_answers_that_nobody_asked_for_change_nothing_on_a_stream_we_open() {
    for answer in unasked_answers() {
        let mut side = Out::on(terms("N/N/on"));
        side.send(ANSWER);
        assert_eq!(side.send(&answer), "", "{answer}");
        assert!(matches!(side.outputs[..], [Output::Unsolicited(_)]), "{answer}");
        assert!(!side.machine.write_allowed());
        assert!(side.send(OFFER_DIALBACK).starts_with("<db:result "), "and the stream goes its way");
    }
}

#[test]
fn a_key_for_one_domain_and_stanzas_of_another() {
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    side.established();
    let written = side.send("<message from='ceo@contoso.com' to='juliet@contoso.com'/>");
    assert!(matches!(side.fault(&written, "invalid-from"), Fault::StanzaFrom(_)));
}

#[test]
fn a_header_of_one_domain_and_a_key_of_another_is_a_question_about_the_other() {
    let mut side = In::on(terms("N/N/on"));
    side.send(&db("result", "from='example.net' to='contoso.com'", "key"));
    assert!(matches!(&side.outputs[..], [Output::AskPartner { from, .. }] if from.as_str() == "example.net"));
    // And the terms of the other are those that count.
    let written = side.verdict(PartnerVerdict::Allowed(terms("R/R/on")));
    assert!(written.contains("<policy-violation "), "{written}");
    assert_eq!(side.refused(), DialbackRefusal::TlsRequired);
}

#[test]
fn somebody_who_claims_to_be_us() {
    for from in ["contoso.com", "sales.contoso.com"] {
        let mut side = In::on(terms("N/N/on"));
        let written = side.send(&db("result", &format!("from='{from}' to='contoso.com'"), "key"));
        assert!(written.contains("<not-acceptable "), "{written}");
        let why = side.refused();
        assert!(why == DialbackRefusal::OurOwn && why.is_alarm());
    }
}

#[test]
fn external_with_the_identity_of_another() {
    let other = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>ZXhhbXBsZS5uZXQ=</auth>";
    let mut side = In::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    assert!(side.send(other).contains("<invalid-authzid/>"));
    assert!(side.machine.pairs().is_empty());
}

#[test]
fn another_name_after_tls_or_sasl() {
    let other = HEADER.replace("fabrikam.com", "example.net");
    let mut side = In::on(terms("O/O/on"));
    side.send(STARTTLS);
    side.tls(proof("example.net"));
    let written = side.send(&other);
    assert!(matches!(side.fault(&written, "invalid-from"), Fault::HeaderChanged(..)));

    let mut side = In::on_tls(terms("O/O/on"), proof("fabrikam.com"));
    assert_eq!(side.send(AUTH), SUCCESS);
    let written = side.send(&other);
    assert!(matches!(side.fault(&written, "invalid-from"), Fault::HeaderChanged(..)));
}

#[test]
fn a_certificate_of_another_does_not_help_dialback_along() {
    let mut side = In::on_tls(terms("R/O/on"), proof("example.net"));
    assert_eq!(side.send(&their_key()), "");
    side.take_request();
    let mut side = In::on_tls(proved("R/O/on"), proof("example.net"));
    side.send(&their_key());
    assert_eq!(side.refused(), DialbackRefusal::Downgrade);
}

#[test]
fn an_outcome_for_one_pair_authorizes_no_other() {
    let mut side = In::with(|config| config.dialback = Some(secret()));
    side.send(HEADER);
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    side.send(&their_key());
    let request = side.take_request();
    side.send(&db("result", "from='fabrikam.com' to='sales.contoso.com'", "other"));
    side.take_request();
    let mut forged = request;
    forged.to = crate::support::domain("sales.contoso.com");
    assert_eq!(side.verified(&forged, VerifyOutcome::Valid), "", "that key belongs to another pair");
    assert!(side.machine.pairs().is_empty());
}

#[test]
fn somebody_who_goes_on_as_if_he_had_been_let_in() {
    let message = "<message from='a@fabrikam.com' to='b@contoso.com'/>";
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Invalid);
    side.outputs.clear();
    side.send(message);
    assert!(side.outputs.is_empty(), "{:?}", side.outputs);

    let mut side = In::on(terms("R/O/on"));
    side.send(&their_key());
    side.outputs.clear();
    let written = side.send(message);
    assert_eq!(side.fault(&written, "not-authorized"), Fault::EarlyStanza);
}
