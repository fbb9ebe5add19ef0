//! Answering for our own keys: the authoritative role.

use nuncio_xmpp::dialback::DialbackKey;
use nuncio_xmpp::stream::{Cause, ChainStatus, DialbackRefusal, Note, Output, Step};

use crate::support::{HEADER, In, STARTTLS, db, domain, facts, proof, secret, terms};

fn our_key(id: &str) -> DialbackKey {
    secret().key(&domain("fabrikam.com"), &domain("contoso.com"), id)
}

fn question(from: &str, to: &str, id: &str, key: &str) -> String {
    db("verify", &format!("from='{from}' id='{id}' to='{to}'"), key)
}

fn answer(kind: &str) -> String {
    format!("<db:verify from='contoso.com' id='D6' to='fabrikam.com' type='{kind}'/>")
}

#[test]
fn db_09_answered_before_the_stream_is_authenticated() {
    let untrusted = || facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com");
    for mut side in [
        In::on(terms("N/N/on")),
        In::on(terms("O/O/on")),
        In::on_tls(terms("R/O/on"), untrusted()),
        In::on_tls(terms("R/R/on"), proof("fabrikam.com")),
    ] {
        let written = side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str()));
        assert_eq!(written, answer("valid"));
        assert!(matches!(side.outputs.pop(), Some(Output::KeyAnswered { valid: true, .. })));
        assert!(side.machine.pairs().is_empty(), "an answer lets nobody in");
    }
}

#[test]
fn db_09_answered_to_somebody_who_does_not_say_who_he_is() {
    let mut side = In::with(|config| config.dialback = Some(secret()));
    side.send(&HEADER.replace(" from='fabrikam.com'", ""));
    let written = side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str()));
    assert_eq!(written, answer("valid"));
}

#[test]
fn db_09_a_key_that_is_not_ours_is_invalid() {
    for (id, key) in [
        ("D6", "wrong".to_owned()),
        ("D6", our_key("D7").as_str().to_owned()),
        ("D6", String::new()),
        ("D6", "k".repeat(257)),
        ("D6", our_key("D6").as_str()[..63].to_owned()),
    ] {
        let mut side = In::on(terms("N/N/on"));
        assert_eq!(side.send(&question("fabrikam.com", "contoso.com", id, &key)), answer("invalid"), "{key}");
        assert!(matches!(side.outputs.pop(), Some(Output::KeyAnswered { valid: false, .. })));
    }
    // The right key for another pair of domains.
    let mut side = In::on(terms("N/N/on"));
    let written = side.send(&question("example.net", "contoso.com", "D6", our_key("D6").as_str()));
    assert!(written.contains("type='invalid'"), "{written}");
}

#[test]
fn db_09_a_domain_that_is_not_served_is_an_error_and_costs_no_stream() {
    let mut side = In::on(terms("N/N/on"));
    let written = side.send(&question("fabrikam.com", "example.net", "D6", "key"));
    assert_eq!(
        written,
        "<db:verify from='example.net' id='D6' to='fabrikam.com' type='error'><error type='cancel'><item-not-found \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>"
    );
    assert_eq!(side.refused(), DialbackRefusal::UnknownTarget);
    assert_eq!(side.machine.step(), Step::Authentication);
}

#[test]
fn db_11_asked_in_clear_where_tls_is_required() {
    let mut side = In::on(terms("R/O/on"));
    let written = side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str()));
    assert!(written.contains("type='error'") && written.contains("<policy-violation "), "{written}");
    assert_eq!(side.refused(), DialbackRefusal::TlsRequired);
    side.send(STARTTLS);
    side.tls(proof("fabrikam.com"));
    side.send(HEADER);
    let written = side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str()));
    assert_eq!(written, answer("valid"));
}

#[test]
fn dialback_that_is_off_answers_for_no_key() {
    let mut side = In::on_tls(terms("R/R/off"), proof("fabrikam.com"));
    assert_eq!(side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str())), "");
    assert_eq!(side.refused(), DialbackRefusal::Off);
}

#[test]
fn a_stream_that_only_asked_about_a_key_blames_nobody() {
    let mut side = In::on_tls(terms("R/R/on"), facts(ChainStatus::Absent, "fabrikam.com"));
    side.send(&question("fabrikam.com", "contoso.com", "D6", our_key("D6").as_str()));
    side.outputs.clear();
    side.send("</stream:stream>");
    let evidence = side.ended();
    assert_eq!(
        (evidence.cause, evidence.notes),
        (Cause::PeerClosed, vec![Note::KeyAnswered { valid: true }])
    );
}
