use std::time::Duration;

use futures_util::FutureExt as _;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_xmpp::dialback::{DialbackSecret, VerifyOutcome};
use nuncio_xmpp::stream::{ChainStatus, PresentedName};
use nuncio_xmpp::{Negotiation, SaslUse, TlsUse};

use super::*;
use crate::gateway::testing::{Keys, gateway_and_keys, gateway_of, interrupted, lane, lane_of, reaching};
use crate::gateway::{Federation, LaneKey, OutboundPlace, PartnerStreams, StreamCount};
use crate::net::now;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' from='fabrikam.example' to='contoso.example' version='1.0'>";

/// What the partner hears when it says this.
fn say(session: &mut InboundSession, text: &str) -> String {
    session.receive(&mut BytesMut::from(text), now());
    hear(session)
}

fn hear(session: &mut InboundSession) -> String {
    let mut output = Vec::new();
    session.transmit(&mut output, now());
    session.written(now());
    String::from_utf8(output).unwrap()
}

/// A stream of fabrikam.example under TLS, with a good certificate; its header is answered with features.
fn secured(gateway: &Arc<Gateway>) -> InboundSession {
    let served: Arc<[Domain]> = Arc::from([Domain::parse("contoso.example").unwrap()]);
    let secret = Some(Arc::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck")));
    let config = InboundConfig { dialback: secret, ..InboundConfig::new(served) };
    let ids = StreamIds(["1".into(), "2".into(), "3".into()]);
    let peer = "192.0.2.1:50000".parse().unwrap();
    let mut session = InboundSession::new(Arc::clone(gateway), config, ids, peer, now());
    say(&mut session, HEADER);
    say(&mut session, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(session.next(), Next::StartTls);
    let facts = TlsFacts {
        chain: ChainStatus::Trusted,
        names: [PresentedName::Dns("fabrikam.example".into())].into(),
        protocol: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        expires_ms: None,
    };
    session.tls_established(facts, now());
    assert!(say(&mut session, HEADER).contains("urn:xmpp:features:bidi"));
    session
}

/// A stream of fabrikam.example on which stanzas may go back.
fn both_ways() -> (Arc<Gateway>, InboundSession) {
    let gateway = Arc::new(gateway_of("contoso.example", "fabrikam.example"));
    let session = both_ways_with(&gateway);
    (gateway, session)
}

fn both_ways_with(gateway: &Arc<Gateway>) -> InboundSession {
    let mut session = secured(gateway);
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    say(&mut session, &format!("<bidi xmlns='urn:xmpp:bidi'/>{auth}"));
    say(&mut session, HEADER);
    session
}

#[test]
fn a_stop_lets_the_lane_on_the_partners_stream_write_what_it_has() {
    let (gateway, mut session) = both_ways();
    let lane = gateway.lanes().pop().expect("the stream carries a lane");
    lane.feed(|lane| lane.push_reply(b"<iq id='waits'/>".to_vec(), now().instant));
    session.shut_down(now());
    assert_eq!(hear(&mut session), "<iq id='waits'/>");
    lane.feed(|lane| lane.drain());
    let end = hear(&mut session);
    assert!(end.contains("<system-shutdown ") && end.ends_with("</stream:stream>"), "{end}");
}

#[test]
fn a_lane_takes_the_partners_stream_when_the_session_it_had_to_resume_is_given_up() {
    let gateway = Arc::new(gateway_of("contoso.example", "fabrikam.example"));
    let key = LaneKey { local: "contoso.example".into(), remote: "fabrikam.example".into() };
    let lane = interrupted(&gateway, &key, now().instant);
    let mut session = both_ways_with(&gateway);
    assert!(!lane.step(|lane| lane.is_open()), "it is resumed on a stream of ours, or nowhere");
    assert!(session.wake().notified().now_or_never().is_none());
    let later = now() + Duration::from_secs(10);
    lane.step(|lane| lane.handle_timeout(later.instant));
    gateway.serve_idle_lane(&key, &lane, later);
    assert!(session.wake().notified().now_or_never().is_some(), "somebody tells the session");
    hear(&mut session);
    assert!(lane.step(|lane| lane.is_open()));
}

#[test]
fn a_session_that_is_dropped_gives_back_the_lane_on_its_stream_and_offers_it_no_more() {
    let (gateway, session) = both_ways();
    let key = LaneKey { local: "contoso.example".into(), remote: "fabrikam.example".into() };
    let lane = gateway.lanes().pop().expect("the stream carries a lane");
    assert!(lane.step(|lane| lane.is_open()) && reaching(&gateway, &key) == 1);
    lane.wake().notified().now_or_never();
    let bell = session.wake();
    // As after a panic in what should have said how it ended.
    drop(session);
    assert!(lane.wake().notified().now_or_never().is_some(), "its own task has it again");
    assert!(!lane.step(|lane| lane.is_open()) && reaching(&gateway, &key) == 0);
    assert_eq!(gateway.streams(), StreamCount::default());
    bell.notified().now_or_never();
    gateway.ring_ways_back(&key);
    assert!(bell.notified().now_or_never().is_none(), "the stream is offered still");
}

/// A gateway whose partner may have one stream, and has it: one of ours.
fn with_one_place() -> (Arc<Gateway>, OutboundPlace) {
    let gateway = Arc::new(gateway_of("contoso.example", "fabrikam.example"));
    let partner = PartnerStreams::new("fabrikam.example", 1);
    gateway.set_federation(Federation::new([(partner, vec!["fabrikam.example".into()])]), now());
    let (key, lane) = lane("contoso.example", "fabrikam.example");
    let place = gateway.outbound_place(&key, &lane, now()).expect("there is one");
    (gateway, place)
}

#[test]
fn a_stream_let_in_for_the_sake_of_a_key_is_closed_in_good_order_when_the_key_is_back() {
    let (gateway, _place) = with_one_place();
    let key = gateway.key_out("fabrikam.example");
    let mut session = both_ways_with(&gateway);
    assert_eq!(hear(&mut session), "", "it stays as long as the key is out");
    session.wake().notified().now_or_never();
    drop(key);
    assert!(session.wake().notified().now_or_never().is_some());
    assert_eq!(hear(&mut session), "</stream:stream>");
    let ping = "<iq type='get' id='p' from='fabrikam.example' to='contoso.example'><ping xmlns='urn:xmpp:ping'/></iq>";
    let said = say(&mut session, &format!("{ping}</stream:stream>"));
    assert_eq!(said, "", "what was under way is taken, and answered on another stream");
    let lane = gateway.lanes().pop().expect("its lane");
    assert!(lane.step(|lane| lane.has_queue()));
}

#[test]
fn a_stream_let_in_for_the_sake_of_a_key_stays_if_there_is_a_place_meanwhile() {
    let (gateway, place) = with_one_place();
    let key = gateway.key_out("fabrikam.example");
    let mut session = both_ways_with(&gateway);
    drop(place);
    hear(&mut session);
    drop(key);
    assert_eq!(hear(&mut session), "");
    assert_eq!(gateway.streams(), StreamCount { inbound: 1, ..StreamCount::default() });
}

/// Two partners whose entries allow dialback, the second with room for one stream.
fn two_partners() -> (Arc<Gateway>, Keys) {
    let (gateway, keys) = gateway_and_keys("contoso.example", "fabrikam.example");
    let negotiation = Negotiation { tls: TlsUse::Required, sasl: SaslUse::Optional, dialback: true };
    let partners = [("fabrikam.example", 20), ("wingtip.example", 1)];
    gateway.set_federation(
        Federation::new(partners.map(|(domain, limit)| {
            let streams = PartnerStreams { negotiation, ..PartnerStreams::new(domain, limit) };
            (streams, vec![domain.into()])
        })),
        now(),
    );
    gateway.set_policy(Snapshot::new(
        2,
        ["contoso.example".into()],
        partners.map(|(domain, _)| {
            let partner =
                Partner { domain: domain.into(), partner_type: PartnerType::Federated, enabled: true };
            (partner, Vec::new())
        }),
    ));
    (Arc::new(gateway), keys)
}

/// A key for a domain, on whatever stream.
fn key_of(from: &str) -> String {
    format!("<db:result xmlns:db='jabber:server:dialback' from='{from}' to='contoso.example'>key</db:result>")
}

/// The only key that was given to be verified is found valid; what the partner hears then.
fn found_valid(keys: &Keys, session: &mut InboundSession) -> String {
    let key = keys.lock().pop().expect("a key to verify");
    key.answer(VerifyOutcome::Valid, "found valid by the test".to_owned());
    hear(session)
}

#[test]
fn db_13_a_further_domain_without_a_place_is_refused_and_costs_the_others_nothing() {
    let (gateway, keys) = two_partners();
    let mut session = both_ways_with(&gateway);
    say(&mut session, &key_of("wingtip.example"));
    // The place that was there when the key came is taken before the key is found valid.
    let (key, waits) = lane("contoso.example", "wingtip.example");
    let place = gateway.outbound_place(&key, &waits, now()).expect("there is one");
    let said = found_valid(&keys, &mut session);
    assert!(said.contains("type='error'") && said.contains("<resource-constraint"), "{said}");
    assert!(!said.contains("stream:error") && session.stream.write_allowed(), "{said}");
    let record = gateway.attempts_with("wingtip.example").pop().expect("an attempt").to_string();
    assert!(record.contains("found valid by the test") && record.contains("dialback refused"), "{record}");
    let said = say(&mut session, &key_of("wingtip.example"));
    assert!(said.contains("type='error'") && keys.lock().is_empty(), "nobody is asked about it: {said}");
    drop(place);
    say(&mut session, &key_of("wingtip.example"));
    let said = found_valid(&keys, &mut session);
    assert!(said.contains("type='valid'"), "{said}");
    assert!(gateway.outbound_place(&key, &waits, now()).is_none(), "it has the place");
    assert_eq!(gateway.streams(), StreamCount { inbound: 1, ..StreamCount::default() }, "one in all");
    let records = gateway.attempts_with("wingtip.example");
    assert!(records.iter().any(|record| {
        let record = record.to_string();
        record.contains("found valid by the test") && record.contains("dialback on an established stream")
    }));
}

#[test]
fn a_key_of_a_domain_whose_entry_is_gone_when_it_is_found_valid_lets_nobody_in() {
    let (gateway, keys) = two_partners();
    let mut session = both_ways_with(&gateway);
    say(&mut session, &key_of("wingtip.example"));
    let fabrikam =
        Partner { domain: "fabrikam.example".into(), partner_type: PartnerType::Federated, enabled: true };
    gateway.set_policy(Snapshot::new(3, ["contoso.example".into()], [(fabrikam, Vec::new())]));
    let said = found_valid(&keys, &mut session);
    assert!(said.contains("type='error'") && said.contains("<not-acceptable"), "{said}");
    assert!(session.stream.write_allowed(), "the stream goes on for the first");
}

#[test]
fn a_key_that_is_found_valid_too_late_takes_no_place() {
    let (gateway, keys) = two_partners();
    let mut session = both_ways_with(&gateway);
    say(&mut session, &key_of("wingtip.example"));
    let late = now() + Duration::from_secs(30);
    session.stream.handle_timeout(late.instant);
    let said = found_valid(&keys, &mut session);
    assert!(said.contains("<remote-server-timeout"), "{said}");
    let (key, waits) = lane("contoso.example", "wingtip.example");
    assert!(gateway.outbound_place(&key, &waits, now()).is_some());
}

#[test]
fn that_a_partner_is_back_is_not_said_of_one_whose_stream_had_no_place() {
    let (gateway, _place) = with_one_place();
    let waits =
        lane_of(&gateway, &LaneKey { local: "litware.example".into(), remote: "fabrikam.example".into() });
    waits.step(|lane| {
        lane.push_reply(b"<iq/>".to_vec(), now().instant);
        lane.poll_all();
        lane.connect_failed(Failure::new(FailureKind::Unreachable, "nobody listens"), 0, now().instant);
    });
    let mut session = both_ways_with(&gateway);
    assert!(!session.stream.write_allowed(), "it is one too many");
    hear(&mut session);
    let connects = waits.step(|lane| {
        lane.push_reply(b"<iq/>".to_vec(), now().instant);
        lane.has_outputs()
    });
    assert!(!connects, "its back-off goes on");
}

#[test]
fn the_record_of_a_stream_says_why_external_was_not_used() {
    let gateway = Arc::new(gateway_of("contoso.example", "fabrikam.example"));
    let negotiation = Negotiation { tls: TlsUse::Required, sasl: SaslUse::Optional, dialback: true };
    let partner = PartnerStreams { negotiation, ..PartnerStreams::new("fabrikam.example", 20) };
    gateway.set_federation(Federation::new([(partner, vec!["fabrikam.example".into()])]), now());
    let mut session = secured(&gateway);
    let key = "<db:result xmlns:db='jabber:server:dialback' from='fabrikam.example' to='contoso.example'>key</db:result>";
    assert!(say(&mut session, key).contains("type='valid'"), "the certificate says enough");
    let record = gateway.attempts_with("fabrikam.example").pop().expect("an attempt").to_string();
    let why = " by dialback over TLS, EXTERNAL not used: its certificate is good and we offered to accept it";
    assert!(record.contains(why), "{record}");
}
