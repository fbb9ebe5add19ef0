//! XEP-0344 §2: orchard.capulet.example opens a stream for capulet.example to montague.example, and authenticates by dialback
//! under TLS, with and without its short cuts. We are each of the two in turn.

use std::sync::Arc;
use std::time::Instant;

use nuncio_xmpp::dialback::{DialbackSecret, VerifyOutcome};
use nuncio_xmpp::stream::{
    ChainStatus, Inbound, InboundConfig, Method, Outbound, OutboundConfig, Output, PartnerVerdict, StreamIds,
    Terms, TlsFacts,
};

use crate::support::{In, Out, PROCEED, STARTTLS, domain, facts, proof, terms};

/// That of the examples, made with the secret of XEP-0220 for the stream `D60000229F`.
const KEY: &str = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3";
const CAPULET: &str = "<stream:stream
        xmlns:stream='http://etherx.jabber.org/streams'
        xmlns='jabber:server'
        xmlns:db='jabber:server:dialback'
        from='capulet.example'
        to='montague.example'
        version='1.0'>";
const MONTAGUE: &str = "<stream:stream
        xmlns:stream='http://etherx.jabber.org/streams'
        xmlns='jabber:server'
        xmlns:db='jabber:server:dialback'
        id='D60000229F'
        from='montague.example'
        to='capulet.example'
        version='1.0'>";
const OFFER_STARTTLS: &str = "<stream:features>
  <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>
    <required/>
  </starttls>
</stream:features>";
/// The header of the authoritative server.
const AUTHORITY: &str = "<stream:stream
        xmlns:stream='http://etherx.jabber.org/streams'
        xmlns='jabber:server'
        xmlns:db='jabber:server:dialback'
        id='417GAF25'
        from='capulet.example'
        to='montague.example'
        version='1.0'>";
/// As in the classic flow, where the certificate proves nothing.
const NO_MECHANISM: &str = "  <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
  </mechanisms>";
/// As where it proves the sender; the mechanism is misprinted there.
const EXTERNAL: &str = "  <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
    <mechanism>EXTERNAL</mechanism>
  </mechanisms>";
/// The examples leave it out.
const DIALBACK: &str = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";

fn result_step_1() -> String {
    format!("<db:result\n    from='capulet.example'\n    to='montague.example'>\n  {KEY}\n</db:result>")
}

fn secret() -> Arc<DialbackSecret> {
    Arc::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck"))
}

fn self_signed(name: &str) -> TlsFacts {
    facts(ChainStatus::Untrusted("self-signed".into()), name)
}

/// We are capulet.example, under TLS, and montague.example offers that.
fn capulet(entry: &str, certificate: TlsFacts, mechanisms: &str) -> (Out, String) {
    let now = Instant::now();
    let config = OutboundConfig {
        terms: terms(entry),
        dialback: Some(secret()),
        ..OutboundConfig::new(domain("capulet.example"), domain("montague.example"))
    };
    let mut side = Out::new(Outbound::new(config, now), now);
    side.written();
    side.send(MONTAGUE);
    assert_eq!(side.send(OFFER_STARTTLS), STARTTLS);
    side.send(PROCEED);
    side.tls(certificate);
    side.send(MONTAGUE);
    let written = side.send(&format!("<stream:features>\n{mechanisms}\n{DIALBACK}</stream:features>"));
    (side, written)
}

/// We are montague.example, capulet.example has given its key.
fn montague(terms: Terms, certificate: TlsFacts) -> (In, String) {
    let now = Instant::now();
    let config = InboundConfig {
        dialback: Some(secret()),
        ..InboundConfig::new(Arc::new([domain("montague.example")]))
    };
    let ids = StreamIds(["first".into(), "D60000229F".into(), "third".into()]);
    let mut side = In::new(Inbound::new(config, ids, now), now);
    side.send(CAPULET);
    assert!(side.verdict(PartnerVerdict::Allowed(terms)).contains("<required/>"));
    assert_eq!(side.send(STARTTLS), PROCEED);
    side.tls(certificate);
    side.send(CAPULET);
    let written = side.send(&result_step_1());
    (side, written)
}

fn valid() -> &'static str {
    "<db:result from='montague.example' to='capulet.example' type='valid'/>"
}

fn method(side: &mut In) -> Method {
    match side.outputs.pop() {
        Some(Output::Established(established)) => established.method,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tv_38_we_give_the_key_of_the_examples_and_are_let_in() {
    // §2.3, and §2.5 where montague.example would take a certificate and the entry leaves it at dialback.
    for (entry, certificate, mechanisms) in [
        ("R/O/on", self_signed("montague.example"), NO_MECHANISM),
        ("R/O/on", proof("montague.example"), NO_MECHANISM),
        ("R/N/on", proof("montague.example"), EXTERNAL),
    ] {
        let (mut side, written) = capulet(entry, certificate, mechanisms);
        assert_eq!(
            written,
            format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>")
        );
        side.send("<db:result\n  from='montague.example'\n  to='capulet.example'\n  type='valid'/>");
        let Some(Output::Established(established)) = side.outputs.pop() else { panic!("{:?}", side.outputs) };
        assert_eq!(established.method, Method::DialbackTls);
    }
}

/// §2.5 wonders why capulet.example makes nothing of the offer. We do.
#[test]
fn tv_38_external_is_used_where_it_is_offered() {
    let (_, written) = capulet("R/O/on", proof("montague.example"), EXTERNAL);
    assert!(written.starts_with("<auth "), "{written}");
}

/// §2.3, steps 1 to 4, with what is asked of the authoritative server.
#[test]
fn tv_38_a_key_is_verified_where_the_certificate_proves_nothing() {
    let (mut side, written) = montague(terms("R/O/on"), self_signed("capulet.example"));
    assert_eq!(written, "");
    let request = side.take_request();
    assert_eq!((request.stream_id.as_str(), request.key.as_str()), ("D60000229F", KEY));

    let now = Instant::now();
    let config = OutboundConfig::verify(request.clone(), terms("R/O/on"));
    let mut asking = Out::new(Outbound::new(config, now), now);
    asking.written();
    asking.send(AUTHORITY);
    asking.send(OFFER_STARTTLS);
    asking.send(PROCEED);
    asking.tls(self_signed("capulet.example"));
    asking.send(AUTHORITY);
    let question = asking.send(&format!("<stream:features>\n{NO_MECHANISM}\n{DIALBACK}</stream:features>"));
    assert_eq!(
        question,
        format!("<db:verify from='montague.example' id='D60000229F' to='capulet.example'>{KEY}</db:verify>")
    );
    asking.send(
        "<db:verify\n  from='capulet.example'\n  id='D60000229F'\n  to='montague.example'\n  type='valid'/>",
    );
    assert!(matches!(asking.outputs[0], Output::Verified(VerifyOutcome::Valid)), "{:?}", asking.outputs);

    assert_eq!(side.verified(&request, VerifyOutcome::Valid), valid());
    assert_eq!(method(&mut side), Method::DialbackTls);
}

/// §2.5, and DEC-16: only a certificate that proves the sender, while it does.
#[test]
fn tv_38_without_dialback_where_the_certificate_proves_the_sender() {
    let (mut side, written) = montague(terms("R/O/on"), proof("capulet.example"));
    assert_eq!(written, valid());
    assert_eq!(method(&mut side), Method::DialbackTls);
    for useless in [proof("orchard.example"), self_signed("capulet.example")] {
        let (mut side, written) = montague(terms("R/O/on"), useless);
        assert_eq!(written, "");
        side.take_request();
    }
}

/// §2.6 lets a certificate that nobody trusts pass, if the authoritative server shows the same one. DEC-16 does not: the key
/// is verified like any other.
#[test]
fn tv_38_the_same_certificate_at_both_servers_is_no_short_cut() {
    let certificate = self_signed("capulet.example");
    let (mut side, written) = montague(terms("R/O/on"), certificate.clone());
    assert_eq!(written, "");
    let request = side.take_request();
    let now = Instant::now();
    let mut asking = Out::new(Outbound::new(OutboundConfig::verify(request, terms("R/O/on")), now), now);
    asking.written();
    asking.send(AUTHORITY);
    asking.send(OFFER_STARTTLS);
    asking.send(PROCEED);
    asking.tls(certificate);
    asking.send(AUTHORITY);
    let written = asking.send(&format!("<stream:features>{DIALBACK}</stream:features>"));
    assert!(written.starts_with("<db:verify "), "the certificate was seen, and still it is asked: {written}");
    assert!(asking.outputs.is_empty(), "{:?}", asking.outputs);
}
