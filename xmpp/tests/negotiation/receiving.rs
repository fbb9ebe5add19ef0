//! Dialback on a stream a peer opens: the receiving role.

use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome};
use nuncio_xmpp::stream::{
    Cause, ChainStatus, DialbackRefusal, Fault, Method, Note, Output, PartnerVerdict, Refusal, Step, TlsFacts,
};

use crate::support::{
    AUTH, HEADER, In, MESSAGE, PROCEED, STARTTLS, SUCCESS, db, error_condition, facts, proof, proved, secret,
    terms, their_key,
};

pub(crate) const VALID: &str = "<db:result from='contoso.com' to='fabrikam.com' type='valid'/>";
const INVALID: &str = "<db:result from='contoso.com' to='fabrikam.com' type='invalid'/>";

pub(crate) fn untrusted() -> TlsFacts {
    facts(ChainStatus::Untrusted("it expired on 2026-01-01".into()), "fabrikam.com")
}

pub(crate) fn key_of(from: &str, to: &str) -> String {
    db("result", &format!("from='{from}' to='{to}'"), "key")
}

fn condition(written: &str) -> String {
    error_condition(written, "fabrikam.com", "contoso.com")
}

/// Nothing is said yet; some partner may come in by dialback in clear.
pub(crate) fn nameless() -> In {
    In::with(|config| {
        config.dialback = Some(secret());
        config.in_clear = true;
    })
}

/// Open by dialback in clear.
pub(crate) fn open() -> In {
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), VALID);
    side.established();
    side
}

#[test]
fn db_01_and_02_dialback_is_announced_where_it_may_be_used() {
    let feature =
        "<dialback xmlns='urn:xmpp:features:dialback'><errors></dialback>".replace("<errors>", "<errors/>");
    for (entry, clear, secure) in [
        ("R/R/off", false, false),
        ("R/O/on", false, true),
        ("R/N/on", false, true),
        ("O/O/on", true, true),
        ("O/N/on", true, true),
        ("N/N/on", true, false),
    ] {
        let mut side = In::with(|config| config.dialback = Some(secret()));
        side.send(HEADER);
        let written = side.verdict(PartnerVerdict::Allowed(terms(entry)));
        assert_eq!(
            written.contains(" xmlns:db='jabber:server:dialback' "),
            entry.ends_with("on"),
            "{written}"
        );
        assert_eq!(written.contains(&feature), clear, "{entry}: {written}");
        if !entry.starts_with('N') {
            side.send(STARTTLS);
            side.tls(untrusted());
            let written = side.send(HEADER);
            assert_eq!(written.contains(&feature), secure, "{entry}: {written}");
        }
    }
}

#[test]
fn db_07_and_08_a_key_is_given_to_be_verified_with_the_id_of_our_own_header() {
    let mut side = In::on(terms("N/N/on"));
    assert_eq!(side.send(&db("result", "from='fabrikam.com' to='contoso.com'", "\n k&lt;y \n")), "");
    let request = side.take_request();
    assert_eq!((request.from.as_str(), request.to.as_str()), ("fabrikam.com", "contoso.com"));
    assert_eq!((request.stream_id.as_str(), request.key.as_str()), ("id-one", "k<y"));

    let mut side = In::on_tls(terms("R/N/on"), untrusted());
    side.send(&their_key());
    assert_eq!(side.take_request().stream_id, "id-two");
}

#[test]
fn s2s_19_stanzas_flow_after_the_result_and_not_before() {
    for mut side in [In::on(terms("N/N/on")), In::on_tls(terms("R/N/on"), untrusted())] {
        side.send(&their_key());
        let written = side.send(MESSAGE);
        side.outputs.remove(0);
        assert_eq!(side.fault(&written, "not-authorized"), Fault::EarlyStanza);
    }
    for (mut side, method) in [
        (In::on(terms("N/N/on")), Method::DialbackTcp),
        (In::on(terms("O/O/on")), Method::DialbackTcp),
        (In::on_tls(terms("R/N/on"), untrusted()), Method::DialbackTls),
        (In::on_tls(terms("R/O/on"), untrusted()), Method::DialbackTls),
    ] {
        side.send(&their_key());
        let request = side.take_request();
        assert_eq!(side.verified(&request, VerifyOutcome::Valid), VALID);
        let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
        assert_eq!(established.method, method);
        assert_eq!(established.tls.is_some(), method == Method::DialbackTls);
        side.send(MESSAGE);
        assert!(matches!(side.outputs[..], [Output::Stanza(_)]));
    }
}

#[test]
fn db_07_a_target_that_is_not_served_costs_no_stream() {
    let mut side = In::on(terms("N/N/on"));
    let written = side.send(&key_of("fabrikam.com", "example.net"));
    assert_eq!(error_condition(&written, "fabrikam.com", "example.net"), "item-not-found");
    assert_eq!(side.refused(), DialbackRefusal::UnknownTarget);
    side.send(&their_key());
    side.take_request();
}

/// Whoever connects chooses its size.
#[test]
fn sec_03_the_names_of_a_certificate_are_kept_once_whatever_is_said_of_them() {
    let facts = untrusted();
    let mut side = In::on_tls(terms("R/O/on"), facts.clone());
    side.machine.disconnected("");
    side.written();
    let evidence = side.cut();
    let [Note::Certificate { names, .. }] = &evidence.notes[..] else { panic!("{:?}", evidence.notes) };
    assert!(std::sync::Arc::ptr_eq(names, &facts.names), "a copy is noted");

    let mut side = In::on_tls(terms("R/R/on"), facts.clone());
    side.machine.disconnected("");
    side.written();
    let Cause::Certificate { names, .. } = side.cut().cause else { panic!("not the certificate") };
    assert!(std::sync::Arc::ptr_eq(&names, &facts.names), "a copy is the cause");
}

#[test]
fn db_10_an_invalid_key_ends_a_stream_that_has_nothing_else() {
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    assert_eq!(side.verified(&request, VerifyOutcome::Invalid), format!("{INVALID}</stream:stream>"));
    let Output::DialbackRefused { why, .. } = side.outputs.remove(0) else { panic!("{:?}", side.outputs) };
    assert!(why.is_alarm());
    let evidence = side.closed();
    assert_eq!(evidence.cause, Cause::DialbackInvalid);
    assert!(evidence.to_string().contains("somebody poses as this partner"), "{evidence}");
}

#[test]
fn db_11_what_the_verification_came_to_is_what_the_peer_is_told() {
    for failed in [
        DialbackCondition::RemoteConnectionFailed,
        DialbackCondition::RemoteServerNotFound,
        DialbackCondition::RemoteServerTimeout,
        DialbackCondition::NotAcceptable,
        DialbackCondition::ResourceConstraint,
    ] {
        let mut side = In::on(terms("N/N/on"));
        side.send(&their_key());
        let request = side.take_request();
        let written = side.verified(&request, VerifyOutcome::Failed(failed));
        assert_eq!(condition(&written), failed.as_str());
        assert_eq!(side.refused(), DialbackRefusal::Unverified(failed));
        // The stream survives: the next try may be better.
        side.send(&their_key());
        let request = side.take_request();
        assert_eq!(side.verified(&request, VerifyOutcome::Valid), VALID);
        side.established();
    }
}

#[test]
fn db_11_and_14_dialback_in_clear_where_tls_is_required() {
    for entry in ["R/O/on", "R/N/on", "R/R/on", "O/R/on"] {
        let mut side = In::on(terms(entry));
        assert_eq!(condition(&side.send(&their_key())), "policy-violation", "{entry}");
        assert_eq!(side.refused(), DialbackRefusal::TlsRequired);
        assert_eq!(side.send(STARTTLS), PROCEED, "it may still mend its ways");
    }
    let mut side = In::on(terms("R/N/on"));
    side.send(&their_key());
    side.outputs.clear();
    assert!(side.wait().contains("<policy-violation "));
    let evidence = side.closed();
    assert_eq!(evidence.cause, Cause::DialbackRefused(DialbackRefusal::TlsRequired));
    assert!(evidence.to_string().contains("TLS is required"), "{evidence}");
}

#[test]
fn db_11_and_14_dialback_where_a_certificate_is_required() {
    for facts in [proof("fabrikam.com"), untrusted()] {
        let mut side = In::on_tls(terms("R/R/on"), facts);
        assert_eq!(condition(&side.send(&their_key())), "not-authorized");
        assert_eq!(side.refused(), DialbackRefusal::CertificateRequired);
    }
    let mut side = In::on_tls(terms("R/R/on"), proof("fabrikam.com"));
    side.send(&their_key());
    side.outputs.clear();
    assert_eq!(side.send(AUTH), SUCCESS, "the certificate is as good as before");
}

#[test]
fn dialback_that_is_off_is_ignored_until_the_time_is_over_and_the_evidence_says_why() {
    for (mut side, cause) in [
        (In::on_tls(terms("R/R/off"), proof("fabrikam.com")), "it is off for this partner and was ignored"),
        (In::on_tls(terms("R/R/off"), untrusted()), "it is off for this partner and was ignored"),
        (In::on(terms("O/O/off")), "it is off for this partner and was ignored"),
    ] {
        let begin = side.now;
        assert_eq!(side.send(&their_key()), "");
        assert_eq!(side.refused(), DialbackRefusal::Off);
        let written = side.wait();
        assert_eq!((side.now - begin).as_secs(), 60);
        assert!(written.contains("<policy-violation "), "{written}");
        let said = side.closed().to_string();
        assert!(said.contains(cause), "{said}");
    }
    // With a bad certificate, that is the first thing to mend.
    let mut side = In::on_tls(terms("R/R/off"), untrusted());
    side.send(&their_key());
    side.outputs.clear();
    side.wait();
    let evidence = side.closed();
    assert!(matches!(evidence.cause, Cause::Certificate { .. }));
    assert_eq!(evidence.notes, [Note::DialbackRefused(DialbackRefusal::Off)]);
}

#[test]
fn sec_11_dialback_alone_is_refused_once_a_certificate_was_shown() {
    let mut side = In::on_tls(proved("R/O/on"), untrusted());
    assert_eq!(condition(&side.send(&their_key())), "not-authorized");
    let why = side.refused();
    assert!(why == DialbackRefusal::Downgrade && why.is_alarm());
    side.wait();
    let evidence = side.closed();
    assert_eq!(evidence.cause, Cause::Downgrade);
    assert!(evidence.to_string().contains("it expired on 2026-01-01"), "{evidence}");

    for entry in ["O/O/on", "N/N/on"] {
        let mut side = In::on(proved(entry));
        assert_eq!(condition(&side.send(&their_key())), "not-authorized", "{entry}");
        assert_eq!(side.refused(), DialbackRefusal::Downgrade);
    }

    let mut side = In::on_tls(proved("R/O/on"), proof("fabrikam.com"));
    assert_eq!(side.send(&their_key()), VALID, "it shows one now, too");
}

#[test]
fn sec_11_a_key_counts_on_the_terms_of_when_it_is_verified() {
    let mut side = In::on_tls(terms("R/O/on"), untrusted());
    side.send(&their_key());
    let request = side.take_request();
    // Its server has shown a good certificate on another stream meanwhile.
    side.machine.terms_of_now(&request, proved("R/O/on"));
    let written = side.verified(&request, VerifyOutcome::Valid);
    assert_eq!(error_condition(&written, "fabrikam.com", "contoso.com"), "not-authorized");
    assert_eq!(side.refused(), DialbackRefusal::Downgrade);
}

#[test]
fn db_15_keys_have_256_octets_at_most() {
    for (length, taken) in [(256, true), (257, false), (0, false)] {
        let mut side = In::on(terms("N/N/on"));
        let written = side.send(&db("result", "from='fabrikam.com' to='contoso.com'", &"k".repeat(length)));
        if taken {
            assert_eq!(side.take_request().key.as_str().len(), length);
        } else {
            assert_eq!(condition(&written), "not-acceptable");
            assert_eq!(side.refused(), DialbackRefusal::BadKey);
        }
    }
}

#[test]
fn db_15_a_verification_has_its_time_and_the_same_key_is_verified_once() {
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    assert_eq!(side.send(&their_key()), "");
    assert!(side.outputs.is_empty(), "its answer is under way");
    let begin = side.now;
    assert_eq!(condition(&side.wait()), "remote-server-timeout");
    assert_eq!((side.now - begin).as_secs(), 30);
    side.refused();
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), "", "too late");
    assert!(side.outputs.is_empty() && side.machine.pairs().is_empty());
}

#[test]
fn db_16_a_certificate_that_proves_the_sender_is_proof_enough_while_it_is_fresh() {
    let mut side = In::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    assert_eq!(side.send(&their_key()), VALID);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert!(established.by_certificate && established.method == Method::DialbackTls);
    // On the established stream, the judgement of it may be days old.
    side.send(&key_of("fabrikam.com", "sales.contoso.com"));
    side.verdict(PartnerVerdict::Allowed(terms("R/O/on")));
    side.take_request();

    // Where certificates are not for this partner, none is looked at.
    let mut side = In::on_tls(terms("R/N/on"), proof("fabrikam.com"));
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert!(!established.by_certificate);
}

#[test]
fn tls_03_a_key_given_in_clear_does_not_count_under_tls() {
    let mut side = In::on(terms("O/O/on"));
    side.send(&their_key());
    let request = side.take_request();
    side.send(STARTTLS);
    side.tls(untrusted());
    side.send(HEADER);
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), "");
    assert!(side.machine.pairs().is_empty());
    // The same key again: it is another stream, with another id.
    side.send(&their_key());
    let again = side.take_request();
    assert_ne!(again, request);
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), "", "the outcome of the other one");
    assert_eq!(side.verified(&again, VerifyOutcome::Valid), VALID);
}

#[test]
fn sasl_07_after_a_failure_dialback_may_be_tried() {
    let mut side = In::on_tls(terms("R/O/on"), untrusted());
    assert!(side.send(AUTH).contains("<not-authorized/>"));
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!(established.method, Method::DialbackTls);
    let notes = &established.notes[..];
    assert!(matches!(notes, [Note::Certificate { .. }, Note::SaslRefused { .. }]), "{notes:?}");
}

const OLD_HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:db='jabber:server:dialback'>";

#[test]
fn s2s_15_an_old_peer_gets_a_header_and_no_features() {
    let with_names = OLD_HEADER.replace(" xmlns:db", " from='fabrikam.com' to='contoso.com' xmlns:db");
    let mut side = nameless();
    assert_eq!(side.send(&with_names), "");
    let written = side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    assert!(written.contains(" id='id-one' xml:lang='en'>") && !written.contains("features"), "{written}");
    side.send(&their_key());
    let request = side.take_request();
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), VALID);
    side.established();

    let mut side = nameless();
    side.send(&with_names);
    let written = side.verdict(PartnerVerdict::Allowed(terms("R/O/on")));
    assert_eq!(side.fault(&written, "unsupported-version"), Fault::Version);
}

#[test]
fn s2s_15_an_old_peer_may_say_who_it_is_with_its_key() {
    let mut side = nameless();
    assert!(side.send(OLD_HEADER).contains(" id='id-one' xml:lang='en'>"));
    assert_eq!(side.send(&their_key()), "");
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    let request = side.take_request();
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), VALID);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!((established.local.as_str(), established.remote.as_str()), ("contoso.com", "fabrikam.com"));

    let mut side = nameless();
    side.send(OLD_HEADER);
    side.send(&their_key());
    let written = side.verdict(PartnerVerdict::Refused { why: Refusal::NotPartner, text: String::new() });
    assert!(written.contains("<policy-violation "), "{written}");
    assert!(matches!(side.outputs.remove(0), Output::DialbackRefused { .. }));
    assert_eq!(side.closed().cause, Cause::Refused(Refusal::NotPartner));
}

#[test]
fn s2s_20_a_dialback_element_needs_its_two_domains() {
    for attributes in ["to='contoso.com'", "from='a@fabrikam.com' to='contoso.com'", "from='fabrikam.com'"] {
        let mut side = In::on(terms("N/N/on"));
        let written = side.send(&db("result", attributes, "key"));
        assert!(matches!(side.fault(&written, "improper-addressing"), Fault::Dialback(_)));
    }
    let mut side = In::on(terms("N/N/on"));
    let written = side.send(&db("results", "from='fabrikam.com' to='contoso.com'", "key"));
    assert!(matches!(side.fault(&written, "unsupported-stanza-type"), Fault::UnknownElement(_)));
}

#[test]
fn s2s_29_keys_and_questions_get_no_answer_after_our_closing_tag() {
    let question = db("verify", "from='fabrikam.com' to='contoso.com' id='id-one'", "key");
    for late in [
        their_key(),
        key_of("it.fabrikam.com", "contoso.com"),
        key_of("fabrikam.com", "example.org"),
        question,
    ] {
        let mut side = open();
        assert_eq!(side.close(None), "</stream:stream>");
        side.closed();
        assert_eq!(side.send(&late), "");
        assert!(side.outputs.is_empty(), "{late}: {:?}", side.outputs);
        side.send(MESSAGE);
        assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "what was on its way still counts");
    }
}

#[test]
fn s2s_35_limits_are_told_where_no_later_features_come() {
    let mut side = nameless();
    side.send(HEADER);
    let written = side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    assert!(written.contains("<max-bytes>524288</max-bytes>"), "{written}");
    assert_eq!(side.machine.step(), Step::Authentication);
}
