//! The profile of a large public service as it was until 2014: no TLS, no SASL, dialback over plain TCP, no version and no
//! features, one connection per direction. An entry for such a partner is `tls = "not-supported"`,
//! `sasl = "not-supported"`, `dialback = true`.

use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::stream::{Method, Output, PartnerVerdict};

use crate::support::{In, MESSAGE, Out, db, our_key, secret, terms};

const THEIR_HEADER: &str = "<stream:stream from=\"fabrikam.com\" to=\"contoso.com\" \
     xmlns:stream=\"http://etherx.jabber.org/streams\" xmlns=\"jabber:server\" xmlns:db=\"jabber:server:dialback\">";
const THEIR_ANSWER: &str = "<stream:stream id=\"9D2F\" xmlns:stream=\"http://etherx.jabber.org/streams\" \
     xmlns=\"jabber:server\" xmlns:db=\"jabber:server:dialback\">";

#[test]
fn we_open_a_stream_to_it() {
    let mut side = Out::on(terms("N/N/on"));
    assert_eq!(side.send(THEIR_ANSWER), our_key("9D2F"));
    side.send(&db("result", "from='fabrikam.com' to='contoso.com' type='valid'", ""));
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!((established.method, established.stream_id.as_deref()), (Method::DialbackTcp, Some("9D2F")));
    assert!(side.machine.write_allowed());
}

#[test]
fn it_asks_about_our_key_on_a_stream_of_its_own() {
    let mut side = In::with(|config| config.dialback = Some(secret()));
    side.send(THEIR_HEADER);
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    let key = our_key("9D2F");
    let key = key.split_once('>').unwrap().1.split_once('<').unwrap().0;
    let written = side.send(&db("verify", "from='fabrikam.com' to='contoso.com' id='9D2F'", key));
    assert_eq!(written, "<db:verify from='contoso.com' id='9D2F' to='fabrikam.com' type='valid'/>");
}

#[test]
fn it_opens_a_stream_to_us() {
    let mut side = In::with(|config| config.dialback = Some(secret()));
    assert_eq!(side.send(THEIR_HEADER), "");
    assert_eq!(
        side.verdict(PartnerVerdict::Allowed(terms("N/N/on"))),
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' from='contoso.com' to='fabrikam.com' id='id-one' xml:lang='en'>"
    );
    side.send("<db:result from=\"fabrikam.com\" to=\"contoso.com\">CAESBxDL</db:result>");
    let request = side.take_request();
    assert_eq!((request.stream_id.as_str(), request.key.as_str()), ("id-one", "CAESBxDL"));
    let valid = "<db:result from='contoso.com' to='fabrikam.com' type='valid'/>";
    assert_eq!(side.verified(&request, VerifyOutcome::Valid), valid);
    side.established();
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]));
}
