//! TLS as the entry says: required, optional, switched off, and from the first byte.

use nuncio_xmpp::stream::{
    Cause, ChainStatus, Evidence, Inbound, InboundConfig, NoStartTlsAnswer, Note, Outbound, OutboundConfig,
    Output, PartnerVerdict, Retry, Step, StreamIds,
};

use crate::support::{
    ANSWER, AUTH, AUTH_CONTOSO, HEADER, In, OFFER_DIALBACK, OFFER_EXTERNAL, OFFER_TLS, Out, PROCEED,
    STARTTLS, SUCCESS, domain, facts, our_key, proof, secret, terms,
};

const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

fn ended(side: &mut Out) -> Evidence {
    let evidence = side.closed();
    assert!(!evidence.to_string().is_empty());
    evidence
}

#[test]
fn tls_02_optional_tls_is_tried_without_an_offer_and_given_up_on_a_new_connection_only() {
    let mut side = Out::on(terms("O/O/on"));
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_DIALBACK), STARTTLS);
    side.send(FAILURE);
    let evidence = ended(&mut side);
    assert_eq!(evidence.cause, Cause::NoStartTls { answer: NoStartTlsAnswer::Failure });
    assert_eq!(evidence.retry, Some(Retry::WithoutStartTls));
    assert!(evidence.to_string().ends_with("tried again without TLS, as the entry allows"), "{evidence}");

    let again = || {
        Out::with(|config| {
            (config.terms, config.dialback) = (terms("O/O/on"), Some(secret()));
            config.retry = Some(Retry::WithoutStartTls);
        })
    };
    let mut side = again();
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_DIALBACK), our_key("x"));
    let mut side = again();
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_TLS), STARTTLS, "it is used all the same where it is offered");
}

#[test]
fn tls_02_where_plain_tcp_is_not_allowed_nobody_advises_it() {
    for entry in ["R/O/on", "R/R/off", "O/O/off", "O/R/on"] {
        let mut side = Out::on(terms(entry));
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_DIALBACK), STARTTLS);
        side.send(FAILURE);
        assert_eq!(ended(&mut side).retry, None, "{entry}");
        // Nor is the advice followed.
        let mut side = Out::with(|config| {
            (config.terms, config.dialback) = (terms(entry), Some(secret()));
            config.retry = Some(Retry::WithoutStartTls);
        });
        side.send(ANSWER);
        assert_eq!(side.send(OFFER_DIALBACK), STARTTLS, "{entry}");
    }
}

#[test]
fn tls_02_tls_that_was_offered_and_failed_is_not_replaced_by_plain_tcp() {
    let mut side = Out::on(terms("O/O/on"));
    side.send(ANSWER);
    side.send(OFFER_TLS);
    side.send(FAILURE);
    let evidence = ended(&mut side);
    assert_eq!((evidence.cause, evidence.retry), (Cause::StartTlsFailed, None));
    assert_eq!(evidence.notes, [Note::NotInClear]);

    let mut side = Out::on(terms("O/O/on"));
    side.send(ANSWER);
    side.send(OFFER_TLS);
    side.send(PROCEED);
    side.outputs.clear();
    side.machine.tls_failed("no common version");
    side.written();
    let evidence = ended(&mut side);
    assert_eq!(evidence.retry, None);
    assert!(evidence.to_string().contains("plain TCP is not tried in its place"), "{evidence}");
}

#[test]
fn tls_switched_off_is_never_used() {
    let mut side = Out::on(terms("N/N/on"));
    side.send(ANSWER);
    let optional = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
         <dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
    assert_eq!(side.send(optional), our_key("x"));

    let mut side = Out::on(terms("N/N/on"));
    side.send(ANSWER);
    side.send(OFFER_TLS);
    assert_eq!(ended(&mut side).cause, Cause::TlsSwitchedOff);

    let mut side = In::on(terms("N/N/on"));
    assert_eq!(side.machine.step(), Step::Authentication);
    assert_eq!(side.send(STARTTLS), format!("{FAILURE}</stream:stream>"));
    assert_eq!(side.closed().cause, Cause::TlsSwitchedOff);
}

#[test]
fn s2s_17_starttls_is_offered_as_the_entry_says() {
    let offered = |entry: &str| {
        let mut side = In::with(|config| config.dialback = Some(secret()));
        side.send(HEADER);
        side.verdict(PartnerVerdict::Allowed(terms(entry)))
    };
    let required = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
    let optional = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>";
    for (entry, expected) in [
        ("R/R/on", Some(required)),
        ("R/N/on", Some(required)),
        // Nothing is left without it.
        ("O/R/on", Some(required)),
        ("O/O/off", Some(required)),
        ("O/O/on", Some(optional)),
        ("O/N/on", Some(optional)),
        ("N/N/on", None),
    ] {
        let written = offered(entry);
        assert_eq!(written.contains("starttls"), expected.is_some(), "{entry}: {written}");
        assert!(expected.is_none_or(|offer| written.contains(offer)), "{entry}: {written}");
    }
}

#[test]
fn s2s_17_who_does_not_say_who_he_is_is_offered_plain_tcp_only_if_anybody_may_use_it() {
    let offered = |in_clear: bool, version: &str| {
        let mut side = In::with(|config| {
            config.dialback = Some(secret());
            config.in_clear = in_clear;
        });
        let header = HEADER.replace(" from='fabrikam.com'", "").replace(" version='1.0'>", version);
        side.send(&header)
    };
    let required = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    let written = offered(false, " version='1.0'>");
    assert!(written.ends_with(required), "{written}");
    let written = offered(true, " version='1.0'>");
    assert!(!written.contains("<required/>") && written.contains("urn:xmpp:features:dialback"), "{written}");
    // A peer of XMPP 0.9 has no TLS, so it has no way at all.
    assert!(offered(false, ">").contains("<unsupported-version "), "{}", offered(false, ">"));
    assert!(
        offered(true, ">").ends_with('>') && !offered(true, ">").contains("error"),
        "{}",
        offered(true, ">")
    );
}

#[test]
fn s2s_04_direct_tls_begins_with_the_handshake() {
    let now = std::time::Instant::now();
    let config = OutboundConfig {
        direct_tls: true,
        ..OutboundConfig::new(domain("contoso.com"), domain("fabrikam.com"))
    };
    let mut side = Out::new(Outbound::new(config.clone(), now), now);
    assert_eq!(side.written(), "", "not a byte in clear");
    assert!(side.tls(proof("fabrikam.com")).contains("<stream:stream "));
    side.send(ANSWER);
    assert_eq!(side.send(OFFER_EXTERNAL), AUTH_CONTOSO, "and no STARTTLS inside");

    let mut side = Out::new(Outbound::new(config.clone(), now), now);
    assert!(matches!(side.outputs.pop(), Some(Output::StartTls)));
    side.send(ANSWER);
    assert_eq!(side.cut().cause, Cause::PlaintextAfterStartTls);

    let mut side = Out::new(Outbound::new(config.clone(), now), now);
    assert_eq!(side.tls(facts(ChainStatus::Absent, "fabrikam.com")), "");
    assert!(matches!(side.ended().cause, Cause::Certificate { .. }));

    let mut side = Out::new(Outbound::new(OutboundConfig { terms: terms("N/N/on"), ..config }, now), now);
    assert_eq!(side.written(), "");
    assert_eq!(side.cut().cause, Cause::TlsSwitchedOff);
}

fn direct() -> In {
    let now = std::time::Instant::now();
    let config = InboundConfig {
        dialback: Some(secret()),
        ..InboundConfig::new(std::sync::Arc::new([domain("contoso.com")]))
    };
    let ids = StreamIds(["id-one".into(), "id-two".into(), "id-three".into()]);
    In::new(Inbound::direct_tls(config, ids, now), now)
}

#[test]
fn s2s_04_a_peer_that_begins_with_tls() {
    let mut side = direct();
    assert_eq!(side.tls(proof("fabrikam.com")), "");
    side.send(HEADER);
    let written = side.verdict(PartnerVerdict::Allowed(terms("R/R/off")));
    assert!(
        written.contains("id='id-one'") && written.contains("<mechanism>EXTERNAL</mechanism>"),
        "{written}"
    );
    assert!(!written.contains("starttls"), "{written}");
    assert_eq!(side.send(AUTH), SUCCESS);
    side.send(HEADER);
    side.established();

    let mut side = direct();
    side.tls(proof("fabrikam.com"));
    side.send(HEADER);
    let written = side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    assert!(written.contains("<policy-violation "), "{written}");
    assert_eq!(side.closed().cause, Cause::TlsSwitchedOff);

    let mut side = direct();
    assert!(matches!(side.outputs.pop(), Some(Output::StartTls)));
    side.send(HEADER);
    assert_eq!(side.cut().cause, Cause::PlaintextAfterStartTls);
    let mut side = direct();
    assert!(matches!(side.outputs.pop(), Some(Output::StartTls)));
    assert_eq!(side.wait(), "");
    side.cut();
}
