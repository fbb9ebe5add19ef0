use std::time::Duration;

use futures_util::FutureExt as _;
use nuncio_xmpp::dialback::DialbackSecret;
use nuncio_xmpp::lane::Output as LaneOutput;
use nuncio_xmpp::rate::Rate;
use nuncio_xmpp::stream::ChainStatus;
use nuncio_xmpp::{Domain, Negotiation, SaslUse, TlsUse};

use super::*;
use crate::gateway::testing::{gateway_of, lane_of, reaching};
use crate::gateway::{Federation, OutboundPlace, PartnerStreams, StreamRates};
use crate::net::now;

const LOCAL: &str = "contoso.example";
const SECOND: &str = "litware.example";
const REMOTE: &str = "fabrikam.example";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
    from='fabrikam.example' to='contoso.example' id='1' version='1.0'>";

/// A gateway whose partner takes dialback, and has room for one stream.
fn gateway(rates: StreamRates) -> Arc<Gateway> {
    let gateway = Arc::new(gateway_of(LOCAL, REMOTE));
    let negotiation = Negotiation { tls: TlsUse::Required, sasl: SaslUse::Optional, dialback: true };
    let partner = PartnerStreams { negotiation, rates, ..PartnerStreams::new(REMOTE, 1) };
    gateway.set_federation(Federation::new([(partner, vec![REMOTE.into()])]), now());
    gateway
}

fn key(local: &str) -> LaneKey {
    LaneKey { local: local.into(), remote: REMOTE.into() }
}

/// A stream of ours to fabrikam.example, and what it was opened for.
struct Stream {
    session: LaneSession,
    lane: Arc<LanePort>,
    _place: OutboundPlace,
}

impl Stream {
    /// Established by dialback, for contoso.example.
    fn open(gateway: &Arc<Gateway>, features: &str) -> Self {
        let mut stream = Self::before_the_answer(gateway, features);
        let heard = stream.lets_in(LOCAL);
        assert!(stream.session.was_open() && heard.contains("<iq"), "{heard}");
        stream
    }

    /// The partner has the key of contoso.example.
    fn before_the_answer(gateway: &Arc<Gateway>, features: &str) -> Self {
        let (key, lane) = (key(LOCAL), lane_of(gateway, &key(LOCAL)));
        wants_stream(&lane);
        let place = gateway.outbound_place(&key, &lane, now()).expect("there is a place");
        let domain = |name: &str| Domain::parse(name).unwrap();
        let config = OutboundConfig {
            terms: gateway.terms(REMOTE),
            dialback: Some(Arc::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck"))),
            ..OutboundConfig::new(domain(LOCAL), domain(REMOTE))
        };
        let session = LaneSession::new(Arc::clone(gateway), key, Arc::clone(&lane), config, now());
        let mut stream = Self { session, lane, _place: place };
        stream.hear();
        let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        stream.say(&format!("{HEADER}<stream:features>{starttls}</stream:features>"));
        stream.say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        assert_eq!(stream.session.next(), Next::StartTls);
        let facts = TlsFacts {
            chain: ChainStatus::Untrusted("nobody knows its issuer".into()),
            names: [].into(),
            protocol: "TLSv1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            expires_ms: None,
        };
        stream.session.tls_established(facts, now());
        stream.hear();
        let dialback = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
        stream.say(&format!("{HEADER}<stream:features>{dialback}{features}</stream:features>"));
        stream
    }

    /// The partner takes stanzas of this domain.
    fn lets_in(&mut self, local: &str) -> String {
        self.say(&format!("<db:result from='{REMOTE}' to='{local}' type='valid'/>"))
    }

    /// What the partner hears when it says this.
    fn say(&mut self, text: &str) -> String {
        self.session.receive(&mut BytesMut::from(text), now());
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut output = Vec::new();
        self.session.transmit(&mut output, now());
        self.session.written(now());
        String::from_utf8(output).unwrap()
    }
}

/// Something waits in the lane, which asks for a stream.
fn wants_stream(lane: &LanePort) {
    lane.step(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
    assert!(asks(lane));
}

/// Whether it asks for a stream now.
fn asks(lane: &LanePort) -> bool {
    lane.step(|lane| lane.poll_all().iter().any(|output| matches!(output, LaneOutput::Connect)))
}

/// A lane of litware.example that found no place for a stream of its own.
fn guest(gateway: &Arc<Gateway>) -> Arc<LanePort> {
    let lane = lane_of(gateway, &key(SECOND));
    wants_stream(&lane);
    assert!(gateway.outbound_place(&key(SECOND), &lane, now()).is_none());
    lane
}

fn is_open(lane: &LanePort) -> bool {
    lane.step(|lane| lane.is_open())
}

#[test]
fn a_session_that_is_dropped_gives_back_the_lanes_that_went_by_its_stream() {
    let gateway = gateway(StreamRates::default());
    let mut stream = Stream::open(&gateway, "<bidi xmlns='urn:xmpp:features:bidi'/>");
    let lane = guest(&gateway);
    assert!(stream.hear().contains("<db:result"));
    stream.lets_in(SECOND);
    assert!(is_open(&lane) && is_open(&stream.lane));
    let own = Arc::clone(&stream.lane);
    assert_eq!([LOCAL, SECOND].map(|local| reaching(&gateway, &key(local))), [1, 1]);
    // As after a panic in what should have said how it ended.
    drop(stream);
    assert!(!is_open(&lane) && !is_open(&own));
    assert_eq!([LOCAL, SECOND].map(|local| reaching(&gateway, &key(local))), [0, 0]);
    let failure = lane.step(|lane| lane.last_failure().cloned()).expect("it is said why");
    assert!(failure.text.contains("internal error"), "{failure}");
    // Each is served by its own task again.
    assert!([own, lane].iter().all(|lane| lane.wake().notified().now_or_never().is_some()));
}

#[test]
fn what_became_of_a_lane_that_shares_a_stream_is_remembered_like_any_other() {
    let gateway = gateway(StreamRates::default());
    let mut stream = Stream::open(&gateway, "");
    guest(&gateway);
    stream.hear();
    stream.lets_in(SECOND);
    let record = || gateway.attempts_with(REMOTE).first().expect("an attempt").to_string();
    let begin = record();
    assert!(begin.contains("litware.example to fabrikam.example"), "{begin}");
    assert!(begin.contains("by dialback on the stream of another domain of ours"), "{begin}");
    stream.session.closed(End::Broken("reset by the test".into()), now());
    let end = record();
    assert!(
        end.contains("litware.example") && end.contains("; ended: ") && end.contains("reset by"),
        "{end}"
    );
}

/// It waited for the answer to its key while the entry changed.
#[test]
fn a_stream_that_came_about_under_old_terms_ends_before_it_carries_anything() {
    let gateway = gateway(StreamRates::default());
    let mut stream = Stream::before_the_answer(&gateway, "");
    let negotiation = Negotiation { tls: TlsUse::Optional, sasl: SaslUse::Optional, dialback: true };
    let partner = PartnerStreams { negotiation, ..PartnerStreams::new(REMOTE, 1) };
    gateway.set_federation(Federation::new([(partner, vec![REMOTE.into()])]), now());
    let heard = stream.lets_in(LOCAL);
    assert!(heard.contains("<reset ") && !heard.contains("<iq"), "{heard}");
    assert!(!stream.session.was_open() && !is_open(&stream.lane));
    let why = stream.session.failure().expect("it is said why");
    assert!(why.text.contains("the terms for streams with this partner have changed"), "{why}");
}

/// The partner takes the second domain after a stream of his own took its lane; when that has ended, he is not asked again.
#[test]
fn a_guest_whose_lane_a_stream_of_the_partners_takes_meanwhile_goes_its_way_and_may_come_back() {
    let gateway = gateway(StreamRates::default());
    let mut stream = Stream::open(&gateway, "");
    let lane = guest(&gateway);
    assert!(stream.hear().contains("<db:result"));
    let bell = Arc::new(Notify::new());
    assert!(lane.hand_over(&bell, |lane| lane.opened_by_peer(now().instant)));
    assert!(!stream.lets_in(SECOND).contains("<iq"), "what waits leaves on the other one");
    assert!(gateway.attempts_with(REMOTE).iter().all(|attempt| attempt.local != SECOND));
    lane.hand_back(|lane| {
        lane.closed(None, 0, now().instant);
        lane.retry_now();
    });
    wants_stream(&lane);
    assert!(gateway.outbound_place(&key(SECOND), &lane, now()).is_none());
    let heard = stream.hear();
    assert!(heard.contains("<iq") && !heard.contains("<db:result"), "{heard}");
    assert!(is_open(&lane));
}

/// What he sends too fast is on the stream on which his answer comes: it waits behind it, and not longer.
#[test]
fn a_guest_of_a_partner_that_is_read_more_slowly_is_let_in_when_he_is_read_again() {
    let gateway = gateway(StreamRates { stanzas: Rate::new(1, 1), bytes: Rate::UNLIMITED });
    let mut stream = Stream::open(&gateway, "<bidi xmlns='urn:xmpp:features:bidi'/>");
    let ping = "<iq type='get' id='p' from='fabrikam.example' to='contoso.example'><ping xmlns='urn:xmpp:ping'/></iq>";
    stream.say(&ping.repeat(2));
    assert!(!stream.session.wants_read());
    let lane = guest(&gateway);
    assert!(stream.hear().contains("<db:result"), "he is asked at once");
    let later = now() + Duration::from_secs(1);
    stream.session.handle_timeout(later);
    assert!(stream.session.wants_read());
    stream.lets_in(SECOND);
    assert!(is_open(&lane));
    // His stanzas to the second domain are charged as well.
    let from_now = ping.replace(LOCAL, SECOND).repeat(2);
    stream.say(&from_now);
    assert!(!stream.session.wants_read());
}
