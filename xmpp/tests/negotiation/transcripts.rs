//! The sessions printed in RFC 6120 §9.2 and XEP-0178 §3, both ends of each.

use std::sync::Arc;

use nuncio_xmpp::stream::{
    Authzid, Cause, Inbound, InboundConfig, Method, Outbound, OutboundConfig, Output, SaslCondition,
    StreamIds,
};

use crate::support::{In, MESSAGE, Out, domain, proof};

const SERVER1_HEADER: &str = "<stream:stream
     from='im.example.com'
     to='example.net'
     version='1.0'
     xmlns='jabber:server'
     xmlns:stream='http://etherx.jabber.org/streams'>";
/// Server2 writes without prefixes.
const SERVER2_HEADER: &str = "<stream
     from='example.net'
     id='hTiXkW+ih9k2SqdGkk/AZi0OJ/Q='
     to='im.example.com'
     version='1.0'
     xmlns='http://etherx.jabber.org/streams'>";
const SERVER2_TLS: &str = "<features xmlns='http://etherx.jabber.org/streams'>
     <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>
       <required/>
     </starttls>
   </features>";
const SERVER2_SASL: &str = "<features xmlns='http://etherx.jabber.org/streams'>
     <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
       <mechanism>EXTERNAL</mechanism>
     </mechanisms>
   </features>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'
          mechanism='EXTERNAL'>=</auth>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const OUR_HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
     xmlns:stream='http://etherx.jabber.org/streams' from='im.example.com' to='example.net' version='1.0' \
     xml:lang='en'>";

/// We are Server1 of RFC 6120 §9.2.
fn server1() -> Out {
    let now = std::time::Instant::now();
    let mut config = OutboundConfig::new(domain("im.example.com"), domain("example.net"));
    config.authzid = Authzid::Empty;
    let mut side = Out::new(Outbound::new(config, now), now);
    assert_eq!(side.written(), OUR_HEADER);
    side
}

/// We are Server2.
fn server2() -> In {
    let now = std::time::Instant::now();
    let config = InboundConfig::new(Arc::new([domain("example.net")]));
    let ids = StreamIds(["one".into(), "two".into(), "three".into()]);
    In::new(Inbound::new(config, ids, now), now)
}

#[test]
fn tv_20_rfc_6120_9_2_as_server1() {
    let mut side = server1();
    assert_eq!(side.send(SERVER2_HEADER), "");
    assert_eq!(side.send(SERVER2_TLS), STARTTLS);
    assert_eq!(side.send(PROCEED), "");
    assert_eq!(side.tls(proof("example.net")), OUR_HEADER);
    side.send(SERVER2_HEADER);
    assert_eq!(
        side.send(SERVER2_SASL),
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
    );
    assert_eq!(side.send(SUCCESS), OUR_HEADER);
    side.send(SERVER2_HEADER);
    assert!(!side.machine.write_allowed());
    side.send("<features xmlns='http://etherx.jabber.org/streams'/>");
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!((established.local, established.remote), (domain("im.example.com"), domain("example.net")));
    assert_eq!(established.stream_id.as_deref(), Some("hTiXkW+ih9k2SqdGkk/AZi0OJ/Q="));
    assert_eq!(established.method, Method::SaslExternal);
    assert!(side.machine.write_allowed());

    assert_eq!(side.close(None), "</stream:stream>");
    assert!(!side.machine.write_allowed());
    assert_eq!(side.send("</stream>"), "");
    assert_eq!(side.ended().cause, Cause::WeClosed(None));
}

#[test]
fn tv_20_rfc_6120_9_2_as_server2() {
    let mut side = server2();
    assert_eq!(side.send(SERVER1_HEADER), "");
    let written = side.allow();
    assert!(written.ends_with(
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
         </stream:features>"
    ));
    assert_eq!(side.send(STARTTLS), PROCEED);
    side.tls(proof("im.example.com"));
    let written = side.send(SERVER1_HEADER);
    assert!(written.contains("<mechanism>EXTERNAL</mechanism>"), "{written}");
    assert_eq!(side.send(AUTH), SUCCESS);
    let written = side.send(SERVER1_HEADER);
    assert!(written.ends_with(
        "<stream:features><sm xmlns='urn:xmpp:sm:3'/><limits xmlns='urn:xmpp:stream-limits:0'>\
         <max-bytes>524288</max-bytes></limits></stream:features>"
    ));
    side.established();
    side.send(
        "<message from='juliet@im.example.com/balcony' id='ju2ba41c' to='romeo@example.net' type='chat' \
         xml:lang='en'><body>Art thou not Romeo, and a Montague?</body></message>",
    );
    let Some(Output::Stanza(stanza)) = side.outputs.pop() else { panic!("no stanza") };
    assert_eq!(stanza.addresses.from.as_str(), "juliet@im.example.com/balcony");
    assert_eq!(stanza.element.attr("id"), Some("ju2ba41c"));

    assert_eq!(side.send("</stream:stream>"), "</stream:stream>");
    assert_eq!(side.ended().cause, Cause::PeerClosed);
}

#[test]
fn tv_20_step_5_alt_starttls_fails() {
    let mut side = server1();
    side.send(SERVER2_HEADER);
    side.send(SERVER2_TLS);
    assert_eq!(side.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream>"), "</stream:stream>");
    assert_eq!(side.ended().cause, Cause::StartTlsFailed);
}

#[test]
fn tv_20_step_7_alt_the_handshake_fails() {
    let mut side = server1();
    side.send(SERVER2_HEADER);
    side.send(SERVER2_TLS);
    side.send(PROCEED);
    side.outputs.clear();
    side.machine.tls_failed("handshake_failure");
    assert_eq!(side.written(), "", "TLS-04: no closing tag");
    assert!(matches!(side.cut().cause, Cause::TlsFailed(why) if why.as_str() == "handshake_failure"));

    let mut side = server2();
    side.send(SERVER1_HEADER);
    side.allow();
    side.send(STARTTLS);
    side.outputs.clear();
    side.machine.tls_failed("bad_certificate");
    assert_eq!(side.written(), "", "TLS-04: no closing tag");
    assert!(matches!(side.cut().cause, Cause::TlsFailed(why) if why.as_str() == "bad_certificate"));
}

#[test]
fn tv_20_step_10_alt_authentication_fails() {
    let mut side = server1();
    side.send(SERVER2_HEADER);
    side.send(SERVER2_TLS);
    side.send(PROCEED);
    side.tls(proof("example.net"));
    side.send(SERVER2_HEADER);
    side.send(SERVER2_SASL);
    let written = side.send(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
           <not-authorized/>
         </failure>
         </stream>",
    );
    assert_eq!(written, "</stream:stream>");
    let cause = Cause::SaslFailed { condition: SaslCondition::NotAuthorized, text: None };
    assert_eq!(side.ended().cause, cause);
}

/// XEP-0178 §3, with its misprinted end tag put right.
#[test]
fn tv_36_xep_0178_both_ends() {
    let server1 = "<stream:stream
        xmlns:stream='http://etherx.jabber.org/streams'
        xmlns='jabber:server'
        from='conference.example.org'
        to='example.com'
        version='1.0'>";
    let server2 = |id: &str| {
        format!(
            "<stream:stream
        xmlns:stream='http://etherx.jabber.org/streams'
        xmlns='jabber:server'
        id='{id}'
        from='example.com'
        to='conference.example.org'
        version='1.0'>"
        )
    };
    let now = std::time::Instant::now();
    let mut config = OutboundConfig::new(domain("conference.example.org"), domain("example.com"));
    config.authzid = Authzid::Empty;
    let mut us = Out::new(Outbound::new(config, now), now);
    us.written();
    us.send(&server2("s2s_234"));
    us.send(
        "<stream:features>
           <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>
             <required/>
           </starttls>
         </stream:features>",
    );
    us.send(PROCEED);
    us.tls(proof("example.com"));
    us.send(&server2("s2s_345"));
    let auth = us.send(
        "<stream:features>
           <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>
             <mechanism>EXTERNAL</mechanism>
           </mechanisms>
         </stream:features>",
    );
    assert!(auth.ends_with(">=</auth>"), "{auth}");
    us.send(SUCCESS);
    us.send(&server2("s2s_456"));
    us.send("<stream:features/>");
    us.established();

    let config = InboundConfig::new(Arc::new([domain("example.com")]));
    let ids = StreamIds(["s2s_234".into(), "s2s_345".into(), "s2s_456".into()]);
    let mut us = In::new(Inbound::new(config, ids, now), now);
    us.send(server1);
    assert!(us.allow().contains("id='s2s_234'"));
    us.send(STARTTLS);
    us.tls(proof("*.example.org"));
    assert!(us.send(server1).contains("id='s2s_345'"));
    assert_eq!(us.send(AUTH), SUCCESS);
    assert!(us.send(server1).contains("id='s2s_456'"));
    us.established();
    let fault = us.send(MESSAGE);
    assert!(fault.contains("<invalid-from "), "the sample of another session is foreign here: {fault}");
}
