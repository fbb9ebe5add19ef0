//! Dialback on a stream we open: the initiating role, and asking about keys.

use nuncio_xmpp::dialback::{
    DialbackCondition, DialbackError, DialbackKey, Pair, VerifyOutcome, VerifyRequest,
};
use nuncio_xmpp::stream::{
    Cause, ChainStatus, Evidence, Method, NoStartTlsAnswer, Note, Outbound, OutboundConfig, Output,
    PairError, PairRefusal, Retry, SaslCondition, Step, Waiting,
};

use crate::support::{
    ANSWER, AUTH_CONTOSO, MESSAGE, OFFER_BOTH, OFFER_DIALBACK, Out, STARTTLS, SUCCESS, db, domain, facts,
    our_key, proof, secret, terms,
};

const OLD_ANSWER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
     xmlns:db='jabber:server:dialback' from='fabrikam.com' to='contoso.com' id='x'>";
const BACK: &str = "from='fabrikam.com' to='contoso.com'";

fn result(attributes: &str) -> String {
    db("result", attributes, "")
}

fn untrusted() -> nuncio_xmpp::stream::TlsFacts {
    facts(ChainStatus::Untrusted("it expired on 2026-01-01".into()), "fabrikam.com")
}

/// The evidence of a stream that gave up without a stream error.
fn gave_up(side: &mut Out, written: &str) -> Evidence {
    assert_eq!(written, "</stream:stream>");
    side.send("</stream:stream>");
    side.ended()
}

/// The stream carries stanzas, by this method.
fn opened(side: &mut Out) -> Method {
    match (side.outputs.pop(), side.outputs.len()) {
        (Some(Output::Established(established)), 0) => {
            assert!(side.machine.write_allowed());
            assert_eq!(established.tls.is_some(), established.method != Method::DialbackTcp);
            established.method
        }
        other => panic!("not established: {other:?}"),
    }
}

#[test]
fn db_01_the_prefix_is_declared_where_dialback_is_allowed() {
    for (entry, declared) in [("N/N/on", true), ("R/O/on", true), ("R/R/on", false), ("R/R/off", false)] {
        let mut machine = Outbound::new(
            OutboundConfig {
                terms: terms(entry),
                ..OutboundConfig::new(domain("contoso.com"), domain("fabrikam.com"))
            },
            std::time::Instant::now(),
        );
        let mut header = Vec::new();
        machine.transmit(&mut header);
        let header = String::from_utf8(header).unwrap();
        assert_eq!(header.contains(" xmlns:db='jabber:server:dialback' "), declared, "{entry}: {header}");
    }
}

#[test]
fn db_04_nothing_is_sent_but_the_key_before_the_result_is_valid() {
    let mut side = Out::asking_in_clear();
    assert_eq!(side.machine.step(), Step::Dialback);
    assert!(!side.machine.write_allowed());
    assert_eq!(side.send(&result(&format!("{BACK} type='valid'"))), "");
    assert_eq!(opened(&mut side), Method::DialbackTcp);

    let mut side = Out::on_tls(terms("R/N/on"), untrusted());
    assert_eq!(side.send(OFFER_BOTH), our_key("x"), "EXTERNAL is not for this partner");
    side.send(&result(&format!("{BACK} type='valid'")));
    assert_eq!(opened(&mut side), Method::DialbackTls);
}

#[test]
fn db_04_the_wait_is_limited_and_says_what_to_look_at() {
    let mut side = Out::asking_in_clear();
    let begin = side.now;
    assert!(side.wait().contains("<connection-timeout "));
    assert_eq!((side.now - begin).as_secs(), 60);
    let evidence = side.closed();
    assert_eq!((evidence.step, &evidence.cause), (Step::Dialback, &Cause::Timeout(Waiting::Establishment)));
    assert!(
        evidence.to_string().contains("check that the SRV records of our domain lead here"),
        "{evidence}"
    );
}

#[test]
fn db_05_a_result_that_is_not_valid_ends_it() {
    let mut side = Out::asking_in_clear();
    let written = side.send(&result(&format!("{BACK} type='invalid'")));
    let evidence = gave_up(&mut side, &written);
    assert_eq!(evidence.cause, Cause::DialbackInvalid);
    assert!(evidence.to_string().contains("the same dialback secret"), "{evidence}");

    let mut side = Out::asking_in_clear();
    let error = "<error type='cancel'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no\nway</text></error>";
    let written = side.send(&db("result", &format!("{BACK} type='error'"), error));
    let evidence = gave_up(&mut side, &written);
    let Cause::DialbackError(DialbackError { condition, text }) = &evidence.cause else {
        panic!("{evidence:?}")
    };
    assert_eq!(*condition, DialbackCondition::RemoteServerTimeout);
    assert_eq!(text.as_ref().unwrap().as_str(), "no way");

    let mut side = Out::asking_in_clear();
    side.send("</stream:stream>");
    assert_eq!(side.ended().cause, Cause::PeerClosed);
}

#[test]
fn db_06_only_the_answer_to_our_own_request_counts() {
    for answer in [
        result("from='fabrikam.com' to='example.net' type='valid'"),
        result("from='example.net' to='contoso.com' type='valid'"),
        result("from='contoso.com' to='fabrikam.com' type='valid'"),
        result(&format!("{BACK} type='maybe'")),
        result(BACK),
        db("result", BACK, "key"),
        db("verify", &format!("{BACK} id='x' type='valid'"), ""),
        db("verify", &format!("{BACK} id='x'"), "key"),
        db("results", "", ""),
        db("result", "type='valid'", ""),
    ] {
        let mut side = Out::asking_in_clear();
        assert_eq!(side.send(&answer), "", "{answer}");
        assert!(matches!(side.outputs[..], [Output::Unsolicited(_)]), "{answer}: {:?}", side.outputs);
        side.outputs.clear();
        assert_eq!(side.machine.step(), Step::Dialback);
        side.send(&result(&format!("{BACK} type='valid'")));
        assert_eq!(opened(&mut side), Method::DialbackTcp);
        side.send(&answer);
        assert!(matches!(side.outputs[..], [Output::Unsolicited(_)]), "later: {answer}");
    }
}

#[test]
fn db_06_a_result_before_the_request_is_dropped() {
    let valid = result(&format!("{BACK} type='valid'"));
    for (mut side, next) in [
        (Out::on(terms("N/N/on")), ANSWER),
        (with(Out::on(terms("N/N/on")), ANSWER), OFFER_DIALBACK),
        (with(Out::on(terms("R/O/on")), ANSWER), OFFER_DIALBACK),
        (Out::on_tls(terms("R/N/on"), untrusted()), OFFER_BOTH),
    ] {
        if side.machine.step() == Step::Header {
            side.send(next);
        }
        assert_eq!(side.send(&valid), "");
        assert!(matches!(side.outputs[..], [Output::Unsolicited(_)]), "{:?}", side.outputs);
    }
}

#[test]
fn s2s_15_an_old_peer_gets_the_key_at_once_where_plain_tcp_is_allowed() {
    for entry in ["N/N/on", "O/N/on", "O/O/on"] {
        let mut side = Out::on(terms(entry));
        assert_eq!(side.send(OLD_ANSWER), our_key("x"), "{entry}");
        side.send(&result(&format!("{BACK} type='valid'")));
        assert_eq!(opened(&mut side), Method::DialbackTcp);
    }
    for entry in ["R/N/on", "R/O/on", "R/R/off", "O/O/off"] {
        let mut side = Out::on(terms(entry));
        let written = side.send(OLD_ANSWER);
        let cause = gave_up(&mut side, &written).cause;
        assert_eq!(cause, Cause::NoStartTls { answer: NoStartTlsAnswer::OldVersion }, "{entry}");
    }
}

#[test]
fn dialback_takes_a_peer_that_knows_it_and_gives_its_stream_an_id() {
    let mut side = Out::on(terms("N/N/on"));
    let written = side.send(&OLD_ANSWER.replace(" xmlns:db='jabber:server:dialback'", ""));
    assert_eq!(gave_up(&mut side, &written).cause, Cause::NoDialback { mechanisms: vec![] });
    let mut side = Out::on(terms("N/N/on"));
    let written = side.send(&OLD_ANSWER.replace(" id='x'", ""));
    assert_eq!(gave_up(&mut side, &written).cause, Cause::NoStreamId);
    let mut side = Out::with(|config| config.terms = terms("N/N/on"));
    let written = side.send(OLD_ANSWER);
    assert_eq!(gave_up(&mut side, &written).cause, Cause::NoSecret);
}

#[test]
fn external_is_used_whenever_both_can() {
    for entry in ["R/O/on", "O/O/on", "O/R/off"] {
        let mut side = Out::on_tls(terms(entry), proof("fabrikam.com"));
        assert_eq!(side.send(OFFER_BOTH), AUTH_CONTOSO, "{entry}");
        side.send(SUCCESS);
        side.send(ANSWER);
        side.send("<stream:features/>");
        assert_eq!(opened(&mut side), Method::SaslExternal);
    }
}

#[test]
fn a_certificate_that_proves_nothing_leaves_dialback_where_it_is_allowed() {
    for wrong in [untrusted(), proof("example.net"), facts(ChainStatus::Absent, "fabrikam.com")] {
        let mut side = Out::on_tls(terms("R/O/on"), wrong.clone());
        assert_eq!(side.send(OFFER_BOTH), our_key("x"));
        side.send(&result(&format!("{BACK} type='valid'")));
        let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
        assert_eq!(established.method, Method::DialbackTls);
        let (chain, names) = (wrong.chain, wrong.names);
        assert_eq!(established.notes, [Note::Certificate { chain, names }]);
    }
}

#[test]
fn sec_11_a_partner_that_proved_itself_before_is_not_taken_with_less() {
    let mut side = Out::on(crate::support::proved("R/O/on"));
    side.send(ANSWER);
    side.send("<stream:features/>");
    side.send(crate::support::PROCEED);
    assert_eq!(side.tls(untrusted()), "", "not a byte");
    let evidence = side.ended();
    assert_eq!(evidence.cause, Cause::Downgrade);
    assert!(evidence.to_string().contains("it expired on 2026-01-01"), "{evidence}");

    // In clear as little, whatever the entry says otherwise.
    let mut side = Out::on(crate::support::proved("O/O/on"));
    let written = side.send(OLD_ANSWER);
    assert!(matches!(gave_up(&mut side, &written).cause, Cause::NoStartTls { .. }));
    let mut side = Out::on(crate::support::proved("N/N/on"));
    assert!(side.send(OLD_ANSWER).contains("<policy-violation "));
    assert_eq!(side.closed().cause, Cause::Downgrade);

    // It still proves itself: that it does not take our certificate is no reason.
    let mut side = Out::on_tls(crate::support::proved("R/O/on"), proof("fabrikam.com"));
    assert_eq!(side.send(OFFER_DIALBACK), our_key("x"));
}

/// The attempt that an evidence advised, under TLS, where EXTERNAL and dialback may be used.
fn again(retry: Option<Retry>) -> Out {
    let mut side = Out::with(|config| {
        (config.terms, config.dialback) = (terms("R/O/on"), Some(secret()));
        config.retry = retry;
    });
    side.send(ANSWER);
    side.send(crate::support::OFFER_TLS);
    side.send(crate::support::PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(ANSWER);
    side
}

#[test]
fn sasl_07_after_a_failure_dialback_is_tried_where_it_is_allowed() {
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(OFFER_BOTH);
    assert_eq!(side.send(failure), our_key("x"));
    // It closes over the failure: dialback is for the next connection.
    side.send("</stream:stream>");
    let evidence = side.ended();
    assert_eq!(evidence.retry, Some(Retry::WithoutExternal));
    let failed = Note::SaslFailed { condition: SaslCondition::NotAuthorized, text: None };
    assert_eq!(evidence.notes, [failed]);
    let mut side = again(evidence.retry);
    assert_eq!(side.send(OFFER_BOTH), our_key("x"));

    let mut side = Out::on_tls(terms("R/R/on"), proof("fabrikam.com"));
    side.send(OFFER_BOTH);
    let written = side.send(failure);
    let evidence = gave_up(&mut side, &written);
    assert!(matches!(evidence.cause, Cause::SaslFailed { .. }), "SASL is required");
    assert_eq!(evidence.retry, None);
}

/// What a peer does to our use of EXTERNAL instead of answering it.
fn left_over_external(entry: nuncio_xmpp::stream::Terms, offer: &str, leave: &dyn Fn(&mut Out)) -> Evidence {
    let mut side = Out::on_tls(entry, proof("fabrikam.com"));
    assert_eq!(side.send(offer), AUTH_CONTOSO);
    leave(&mut side);
    side.written();
    side.closed()
}

fn drops(side: &mut Out) {
    side.machine.disconnected("reset");
}

#[test]
fn sasl_07_a_connection_dropped_over_external_is_followed_by_one_with_dialback() {
    let error = |condition: &str| {
        format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        )
    };
    let (refuses, violates) = (error("not-authorized"), error("policy-violation"));
    let leaves: [&dyn Fn(&mut Out); 4] =
        [&drops, &|side| drop(side.send("</stream:stream>")), &|side| drop(side.send(&refuses)), &|side| {
            drop(side.send(&violates))
        }];
    for leave in leaves {
        let evidence = left_over_external(terms("R/O/on"), OFFER_BOTH, leave);
        assert_eq!(evidence.retry, Some(Retry::WithoutUnansweredExternal), "{evidence}");
        assert_eq!(evidence.step, Step::Authentication);
    }
    let evidence = left_over_external(terms("R/O/on"), OFFER_BOTH, &drops);
    assert_eq!(
        evidence.to_string(),
        "partner fabrikam.com: the connection broke while we waited for authentication: reset; it offered to accept our \
         certificate (SASL EXTERNAL) and left when we used it: check that they trust its chain, that it names our domain, \
         and that they take it from a client; tried again by dialback, as the entry allows"
    );

    let mut side = again(evidence.retry);
    assert_eq!(side.send(OFFER_BOTH), our_key("x"), "our key, and no EXTERNAL");
    side.send(&result(&format!("{BACK} type='valid'")));
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!(
        established.how().to_string(),
        "dialback over TLS, EXTERNAL not used: it offered EXTERNAL and ended the connection before this one when we used it"
    );
}

#[test]
fn sec_11_a_connection_dropped_over_external_is_not_repeated_without_but_as_the_entry_allows() {
    let offer_external = crate::support::OFFER_EXTERNAL;
    for (why, entry, offer) in [
        ("SASL is required", "R/R/on", OFFER_BOTH),
        ("dialback is off", "R/O/off", OFFER_BOTH),
        ("the peer does not know dialback", "R/O/on", offer_external),
    ] {
        assert_eq!(left_over_external(terms(entry), offer, &drops).retry, None, "{why}");
    }
    // What proved the partner before proves it on this stream: that it does not take our certificate is no reason.
    let proved = crate::support::proved("R/O/on");
    assert!(left_over_external(proved, OFFER_BOTH, &drops).retry.is_some());

    // Something else ended it.
    let busy = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let others: [&dyn Fn(&mut Out); 2] = [&|side| drop(side.send(busy)), &|side| drop(side.wait())];
    for other in others {
        let evidence = left_over_external(terms("R/O/on"), OFFER_BOTH, other);
        assert_eq!(evidence.retry, None, "{evidence}");
    }

    // EXTERNAL was taken.
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(OFFER_BOTH);
    side.send(SUCCESS);
    drops(&mut side);
    side.written();
    assert_eq!(side.closed().retry, None);
}

#[test]
fn db_08_a_question_about_a_key_is_exactly_this_and_ends_with_its_answer() {
    let request = VerifyRequest {
        from: domain("fabrikam.com"),
        to: domain("contoso.com"),
        stream_id: "417GAF25".into(),
        key: DialbackKey::parse("225cc5aa").unwrap(),
    };
    let ask = |entry: &str| {
        let config = OutboundConfig::verify(request.clone(), terms(entry));
        let now = std::time::Instant::now();
        let mut side = Out::new(Outbound::new(config, now), now);
        assert!(side.written().contains(" from='contoso.com' to='fabrikam.com' "));
        side
    };
    let question = "<db:verify from='contoso.com' id='417GAF25' to='fabrikam.com'>225cc5aa</db:verify>";
    for (kind, outcome) in [("valid", VerifyOutcome::Valid), ("invalid", VerifyOutcome::Invalid)] {
        let mut side = ask("N/N/on");
        side.send(ANSWER);
        assert_eq!(side.send("<stream:features/>"), question);
        for wrong in [
            format!("from='fabrikam.com' id='other' to='contoso.com' type='{kind}'"),
            format!("from='example.net' id='417GAF25' to='contoso.com' type='{kind}'"),
            format!("from='fabrikam.com' id='417GAF25' to='example.net' type='{kind}'"),
            "from='fabrikam.com' id='417GAF25' to='contoso.com' type='maybe'".to_owned(),
            "from='fabrikam.com' id='417GAF25' to='contoso.com'".to_owned(),
        ] {
            side.send(&db("verify", &wrong, ""));
            assert!(matches!(side.outputs.pop(), Some(Output::Unsolicited(_))), "DB-06: {wrong}");
        }
        let answer = format!("from='fabrikam.com' id='417GAF25' to='contoso.com' type='{kind}'");
        assert_eq!(side.send(&db("verify", &answer, "")), "</stream:stream>");
        assert!(matches!(side.outputs.remove(0), Output::Verified(said) if said == outcome));
        assert_eq!(side.closed().cause, Cause::WeClosed(None));
    }
    // TLS first where the entry wants it, and nothing after it: the question needs no authentication.
    let mut side = ask("R/O/on");
    side.send(ANSWER);
    assert_eq!(side.send("<stream:features/>"), STARTTLS);
    side.send(crate::support::PROCEED);
    side.tls(untrusted());
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_BOTH), question);
    assert!(side.wait().contains("<connection-timeout "));
    let evidence = side.closed();
    let timeout = VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout);
    assert_eq!(VerifyOutcome::of_failure(&evidence), timeout);
}

#[test]
fn db_11_what_becomes_of_a_question_that_is_not_answered() {
    let request = VerifyRequest {
        from: domain("fabrikam.com"),
        to: domain("contoso.com"),
        stream_id: "id".into(),
        key: DialbackKey::parse("key").unwrap(),
    };
    let host_unknown =
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let error = db(
        "verify",
        "from='fabrikam.com' id='id' to='contoso.com' type='error'",
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    );
    for (entry, answer, condition) in [
        ("N/N/on", &*error, DialbackCondition::RemoteServerNotFound),
        ("N/N/on", host_unknown, DialbackCondition::RemoteServerNotFound),
        ("N/N/on", "</stream:stream>", DialbackCondition::RemoteServerTimeout),
        (
            "R/N/on",
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            DialbackCondition::RemoteConnectionFailed,
        ),
    ] {
        let now = std::time::Instant::now();
        let config = OutboundConfig::verify(request.clone(), terms(entry));
        let mut side = Out::new(Outbound::new(config, now), now);
        side.send(ANSWER);
        side.send("<stream:features/>");
        side.send(answer);
        let evidence = side.closed();
        assert_eq!(VerifyOutcome::of_failure(&evidence), VerifyOutcome::Failed(condition), "{answer}");
    }
}

fn with(mut side: Out, text: &str) -> Out {
    side.send(text);
    side
}

/// Open by dialback in clear, in front of a peer that keeps streams with errors.
fn open() -> Out {
    let mut side = Out::asking_in_clear();
    side.send(&result(&format!("{BACK} type='valid'")));
    assert_eq!(opened(&mut side), Method::DialbackTcp);
    side
}

fn pair(from: &str, to: &str) -> Pair {
    Pair { from: domain(from), to: domain(to) }
}

#[test]
fn db_13_more_pairs_on_an_open_stream() {
    let mut side = open();
    let (sender, target) =
        (pair("sales.contoso.com", "fabrikam.com"), pair("contoso.com", "it.fabrikam.com"));
    side.machine.authorize(sender.clone(), side.now).unwrap();
    let key = secret().key(&sender.to, &sender.from, "x");
    let expected =
        format!("<db:result from='sales.contoso.com' to='fabrikam.com'>{}</db:result>", key.as_str());
    assert_eq!(side.written(), expected);
    assert_eq!(side.machine.authorize(sender.clone(), side.now), Err(PairError::Known));
    assert!(side.machine.write_allowed(), "the first pair goes on");
    side.send(&result("from='fabrikam.com' to='sales.contoso.com' type='valid'"));
    assert!(matches!(side.outputs.pop(), Some(Output::PairAuthorized(pair)) if pair == sender));
    assert_eq!(side.machine.pairs(), [pair("contoso.com", "fabrikam.com"), sender]);

    side.machine.authorize(target.clone(), side.now).unwrap();
    let error =
        "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    side.send(&db("result", "from='it.fabrikam.com' to='contoso.com' type='error'", error));
    assert!(matches!(
        side.outputs.pop(),
        Some(Output::PairRefused { pair, why: PairRefusal::Error(error) })
            if pair == target && error.condition == DialbackCondition::ResourceConstraint
    ));
    assert!(side.machine.write_allowed(), "an error costs its pair only");
}

#[test]
fn db_05_after_an_invalid_key_a_stream_gets_no_new_pairs() {
    let mut side = open();
    side.machine.authorize(pair("sales.contoso.com", "fabrikam.com"), side.now).unwrap();
    side.send(&result("from='fabrikam.com' to='sales.contoso.com' type='invalid'"));
    assert!(matches!(side.outputs.pop(), Some(Output::PairRefused { why: PairRefusal::Invalid, .. })));
    let again = side.machine.authorize(pair("hr.contoso.com", "fabrikam.com"), side.now);
    assert_eq!(again, Err(PairError::KeyRefused));
}

#[test]
fn db_13_another_target_takes_a_peer_that_survives_errors() {
    let mut side = Out::on(terms("N/N/on"));
    side.send(OLD_ANSWER);
    side.send(&result(&format!("{BACK} type='valid'")));
    side.outputs.clear();
    let target = side.machine.authorize(pair("contoso.com", "it.fabrikam.com"), side.now);
    assert_eq!(target, Err(PairError::NotOffered));
    assert_eq!(side.machine.authorize(pair("sales.contoso.com", "fabrikam.com"), side.now), Ok(()));
}

#[test]
fn db_13_pairs_are_for_streams_where_dialback_is_allowed_and_only_so_many() {
    let mut side = Out::on(terms("N/N/on"));
    let other = || pair("sales.contoso.com", "fabrikam.com");
    assert_eq!(side.machine.authorize(other(), side.now), Err(PairError::NotEstablished));

    let mut side = Out::on_tls(terms("R/R/on"), proof("fabrikam.com"));
    side.send(OFFER_BOTH);
    side.send(SUCCESS);
    side.send(ANSWER);
    side.send(OFFER_DIALBACK);
    assert_eq!(opened(&mut side), Method::SaslExternal);
    assert_eq!(side.machine.authorize(other(), side.now), Err(PairError::NotAllowed));

    let mut side = open();
    for number in 1..Outbound::PAIRS {
        side.machine.authorize(pair(&format!("d{number}.contoso.com"), "fabrikam.com"), side.now).unwrap();
    }
    assert_eq!(side.machine.authorize(other(), side.now), Err(PairError::TooMany));
}

#[test]
fn db_04_a_further_pair_waits_no_longer_than_the_first() {
    let mut side = open();
    side.written();
    let begin = side.now;
    side.machine.authorize(pair("sales.contoso.com", "fabrikam.com"), side.now).unwrap();
    side.written();
    assert_eq!(side.wait(), "");
    assert_eq!((side.now - begin).as_secs(), 60);
    assert!(matches!(side.outputs.pop(), Some(Output::PairRefused { why: PairRefusal::Timeout, .. })));
    assert!(side.machine.write_allowed() && side.machine.deadline().is_none());
    side.send(&result("from='fabrikam.com' to='sales.contoso.com' type='valid'"));
    assert!(matches!(side.outputs.pop(), Some(Output::Unsolicited(_))), "too late");
}

#[test]
fn a_stream_that_is_over_says_no_more_of_pairs_that_were_asked_for() {
    let mut side = open();
    side.machine.authorize(pair("sales.contoso.com", "fabrikam.com"), side.now).unwrap();
    side.written();
    side.machine.disconnected("reset");
    side.written();
    side.cut();
    side.now += std::time::Duration::from_secs(60);
    side.machine.handle_timeout(side.now);
    assert_eq!(side.written(), "");
    assert!(matches!(side.outputs[..], [Output::Abort]), "{:?}", side.outputs);
}

#[test]
fn s2s_29_a_pair_is_not_authorized_after_our_closing_tag() {
    let mut side = open();
    side.machine.authorize(pair("sales.contoso.com", "fabrikam.com"), side.now).unwrap();
    side.written();
    assert_eq!(side.close(None), "</stream:stream>");
    side.closed();
    assert_eq!(side.send(&result("from='fabrikam.com' to='sales.contoso.com' type='valid'")), "");
    assert!(side.outputs.is_empty(), "{:?}", side.outputs);
    assert_eq!(side.machine.pairs().len(), 1);
}

#[test]
fn nothing_but_answers_comes_back_on_a_stream_opened_by_dialback() {
    let mut side = open();
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Unasked(_)]));
}
