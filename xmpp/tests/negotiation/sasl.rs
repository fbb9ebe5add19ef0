//! SASL EXTERNAL as the responder, row by row.

use nuncio_xmpp::stream::{Cause, ChainStatus, Evidence, Fault, Output, SaslCondition, Step};

use crate::support::{AUTH, HEADER, In, SUCCESS, facts, proof};

fn auth(mechanism: &str, text: &str) -> String {
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>")
}

fn failure(condition: &str) -> String {
    format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>")
}

/// The certificates that do not prove the peer to be fabrikam.com.
fn unproved() -> impl Iterator<Item = In> {
    [
        facts(ChainStatus::Trusted, "example.net"),
        facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com"),
        facts(ChainStatus::Absent, "fabrikam.com"),
    ]
    .into_iter()
    .map(In::secure)
}

fn assert_certificate(evidence: Evidence) {
    let Cause::Certificate { wanted, .. } = evidence.cause else { panic!("{evidence:?}") };
    assert_eq!(wanted.as_str(), "fabrikam.com");
}

#[test]
fn sasl_01_and_10_external_is_offered_to_who_can_use_it_and_nothing_else_ever() {
    let mut side = In::handshaken(proof("fabrikam.com"));
    let written = side.send(HEADER);
    assert_eq!(written.matches("<mechanism>").count(), 1);
    assert!(written.contains("<mechanism>EXTERNAL</mechanism>"));
    for wrong in [
        facts(ChainStatus::Trusted, "example.net"),
        facts(ChainStatus::Untrusted("expired".into()), "fabrikam.com"),
        facts(ChainStatus::Absent, "fabrikam.com"),
    ] {
        let mut side = In::handshaken(wrong);
        let written = side.send(HEADER);
        assert!(written.ends_with("<stream:features></stream:features>"), "{written}");
    }
}

#[test]
fn sasl_01_without_a_certificate_the_stream_ends_by_what_is_sent_first_or_by_time() {
    let end = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>A valid certificate for the domain of \
         this stream is required.</text></stream:error></stream:stream>";
    for mut side in unproved() {
        let begin = side.now;
        assert_eq!(side.wait(), end);
        assert_eq!((side.now - begin).as_secs(), 60);
        assert_certificate(side.closed());
    }
    for mut side in unproved() {
        let written = side.send(AUTH);
        assert!(written.starts_with(
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text xml:lang='en'>"
        ));
        assert!(written.ends_with("</failure></stream:stream>"), "{written}");
        assert_certificate(side.closed());
    }
    for mut side in unproved() {
        let result =
            "<db:result xmlns:db='jabber:server:dialback' from='fabrikam.com' to='contoso.com'>k</db:result>";
        assert_eq!(side.send(result), "", "dialback is off");
        side.outputs.clear();
        assert_eq!(side.wait(), end);
        assert_certificate(side.closed());
    }
    for mut side in unproved() {
        side.send("</stream:stream>");
        assert_certificate(side.ended());
    }
    for mut side in unproved() {
        side.machine.disconnected("");
        side.written();
        assert_certificate(side.cut());
    }
}

#[test]
fn sasl_02_both_forms_of_the_initial_response_and_none() {
    // fabrikam.com, FABRIKAM.com
    for text in ["=", "ZmFicmlrYW0uY29t", "RkFCUklLQU0uY29t"] {
        let mut side = In::secure(proof("fabrikam.com"));
        assert_eq!(side.send(&auth("EXTERNAL", text)), SUCCESS, "{text}");
        side.send(HEADER);
        side.established();
    }
    for response in [
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>ZmFicmlrYW0uY29t</response>",
    ] {
        let mut side = In::secure(proof("fabrikam.com"));
        assert_eq!(side.send(&auth("EXTERNAL", "")), "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        assert_eq!(side.send(response), SUCCESS);
    }
}

#[test]
fn sasl_03_and_04_identities_that_are_refused() {
    for (text, condition) in [
        // example.net, romeo@fabrikam.com
        ("ZXhhbXBsZS5uZXQ=", "invalid-authzid"),
        ("cm9tZW9AZmFicmlrYW0uY29t", "invalid-authzid"),
        ("=AAA", "incorrect-encoding"),
        ("BBBB=CCC", "incorrect-encoding"),
        ("ZmFicmlrYW0uY29", "incorrect-encoding"),
        ("<x/>", "malformed-request"),
    ] {
        let mut side = In::secure(proof("fabrikam.com"));
        assert_eq!(side.send(&auth("EXTERNAL", text)), failure(condition), "{text}");
        assert_eq!(side.send(AUTH), SUCCESS, "the next try may be better");
    }
}

#[test]
fn sasl_05_success_and_restart() {
    let mut side = In::secure(proof("fabrikam.com"));
    assert_eq!(side.send(AUTH), SUCCESS);
    assert!(side.outputs.is_empty(), "not before the restart: {:?}", side.outputs);
    assert_eq!(side.machine.step(), Step::FinalHeader);
    let written = side.send(HEADER);
    assert!(written.contains("id='id-three'"), "{written}");
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!((established.local.as_str(), established.remote.as_str()), ("contoso.com", "fabrikam.com"));
}

#[test]
fn sec_06_what_came_before_the_restart_ends_the_stream() {
    let mut side = In::secure(proof("fabrikam.com"));
    let written = side.send(&format!("{AUTH}{HEADER}"));
    assert_eq!(side.fault(&written, "policy-violation"), Fault::Pipelined);
    assert!(!written.contains("success"));

    let mut side = In::secure(proof("fabrikam.com"));
    assert_eq!(side.send(&format!("{AUTH}\n")), SUCCESS, "white space harms nobody");
}

#[test]
fn sasl_06_an_identity_that_changes_ends_the_stream() {
    let other = HEADER.replace("fabrikam.com", "example.net");
    let mut side = In::handshaken(proof("example.net"));
    let written = side.send(&other);
    assert!(matches!(side.fault(&written, "invalid-from"), Fault::HeaderChanged(..)), "after TLS");

    let mut side = In::secure(proof("fabrikam.com"));
    side.send(AUTH);
    let written = side.send(&other);
    assert!(matches!(side.fault(&written, "invalid-from"), Fault::HeaderChanged(..)), "after SASL");

    let other = HEADER.replace("contoso.com", "sales.contoso.com");
    let mut side = In::handshaken(proof("fabrikam.com"));
    let written = side.send(&other);
    assert!(matches!(side.fault(&written, "host-unknown"), Fault::HeaderChanged(..)), "our side of it");
}

#[test]
fn sasl_08_tries_are_counted() {
    for (configured, allowed) in [(0, 2), (2, 2), (3, 3), (5, 5), (100, 5)] {
        let mut side = In::with(|config| config.sasl_retries = configured);
        side.send(HEADER);
        side.allow();
        side.send(crate::support::STARTTLS);
        side.tls(proof("fabrikam.com"));
        side.send(HEADER);
        let bad = auth("EXTERNAL", "ZXhhbXBsZS5uZXQ=");
        for _ in 0..allowed {
            assert_eq!(side.send(&bad), failure("invalid-authzid"));
        }
        let written = side.send(&bad);
        assert!(written.starts_with(&failure("invalid-authzid")), "{written}");
        assert!(written.contains("<policy-violation "), "{written}");
        let cause = side.closed().cause;
        assert_eq!(cause, Cause::SaslFailed { condition: SaslCondition::InvalidAuthzid, text: None });
    }
}

#[test]
fn sasl_09_abort_second_auth_and_other_mechanisms() {
    let abort = "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    let response = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>";
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(&auth("EXTERNAL", ""));
    assert_eq!(side.send(abort), failure("aborted"));
    assert_eq!(side.send(response), failure("malformed-request"), "what it answered is gone");
    assert_eq!(side.send(&auth("PLAIN", "AGEAYg==")), failure("invalid-mechanism"));

    let mut side = In::secure(proof("fabrikam.com"));
    assert_eq!(
        side.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</auth>"),
        failure("invalid-mechanism")
    );
    side.send(&auth("EXTERNAL", ""));
    assert_eq!(side.send(AUTH), SUCCESS, "the second one replaces the first");
}

#[test]
fn sasl_before_tls_needs_encryption() {
    let mut side = In::clear();
    assert_eq!(side.send(AUTH), failure("encryption-required"));
    assert_eq!(side.machine.step(), Step::StartTls);
}
