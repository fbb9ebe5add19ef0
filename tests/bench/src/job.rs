//! What the planning process tells the others, and what they answer: JSON, one value a line.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The SIP domain served by the gateway under test.
pub(crate) const SIP_DOMAIN: &str = "contoso.com";
/// The front end in front of the gateway, also the name in its certificate.
pub(crate) const FRONT_END: &str = "fe.contoso.com";
/// The name of the gateway (and of the relay) on the SIP side.
pub(crate) const GATEWAY: &str = "nuncio.contoso.com";
/// SIP connections that the load comes over.
pub(crate) const SIP_CONNECTIONS: usize = 4;

/// The partner domain with this number.
pub(crate) fn partner_domain(number: usize) -> String {
    format!("p{number:04}.bench.example")
}

/// The number of a [`partner_domain`].
pub(crate) fn partner_number(domain: &str) -> Option<usize> {
    domain.strip_prefix('p')?.strip_suffix(".bench.example")?.parse().ok()
}

/// Which messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Set {
    /// As in RFC 3428: a line of text, no header field too many.
    Small,
    /// As a Lync front end sends them: 700 bytes of text, 3 KB of header fields.
    Lync,
    /// The small ones, each pair's in a session of its own (RFC 7573).
    Session,
}

/// The two ways through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    SipToXmpp,
    XmppToSip,
}

/// How the answers to SIP requests are matched with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Matching {
    /// By the branch of the Via, as they come from a gateway.
    Branch,
    /// In the order of the requests, as the relay's constant answers come.
    Order,
}

/// Work for a generator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GeneratorJob {
    pub(crate) direction: Direction,
    pub(crate) set: Set,
    pub(crate) pairs: u32,
    /// Partner domains that the pairs are spread over; towards SIP also the streams.
    pub(crate) streams: usize,
    /// Where to connect to.
    pub(crate) target: SocketAddr,
    pub(crate) folder: PathBuf,
    pub(crate) matching: Matching,
    /// The socket on which the sink says which pairs' messages arrived (XMPP → SIP only, where nothing comes back to the
    /// sender of a message).
    pub(crate) feedback: PathBuf,
}

/// Work for a sink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SinkJob {
    pub(crate) plays: Plays,
    pub(crate) listen: SocketAddr,
    pub(crate) folder: PathBuf,
    pub(crate) pairs: u32,
    /// Partner domains that the pairs are spread over: those it answers for.
    pub(crate) streams: usize,
}

/// What the sink is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plays {
    /// XMPP servers of all partner domains. Pings are answered on streams to the gateway, or on its own if these may go
    /// `both_ways`.
    Partner { gateway: SocketAddr, both_ways: bool },
    /// A SIP front end that answers 200.
    FrontEnd { feedback: PathBuf },
    /// The far end of the bare relay; `acknowledges` what it has read.
    RelayEnd { acknowledges: bool },
}

/// In which form a front end says what its users are, and wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// PIDF of under 600 bytes, addresses with host and port, no routes.
    Pidf,
    /// As Lync does it: categories of 4 KB, GRUUs, two signed routes in each dialog.
    Categories,
}

/// Work for the two who know each other's presence: the front end with its users, or the contacts with their servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PresenceJob {
    /// Who sends in the rounds. The other one is the sink.
    pub(crate) direction: Direction,
    pub(crate) dialect: Dialect,
    pub(crate) pairs: u32,
    /// Partner domains that the pairs are spread over, each with a stream.
    pub(crate) streams: usize,
    /// Where the gateway takes connections of this side.
    pub(crate) target: SocketAddr,
    /// Where it finds this side.
    pub(crate) listen: SocketAddr,
    pub(crate) folder: PathBuf,
    /// The socket on which the sink tells whose presence has arrived.
    pub(crate) feedback: PathBuf,
}

/// Work for the bare relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RelayJob {
    pub(crate) listen: SocketAddr,
    pub(crate) sink: SocketAddr,
    pub(crate) folder: PathBuf,
    pub(crate) set: Set,
    /// Answers after the sink's acknowledgement instead of after the completed write.
    pub(crate) waits_for_acknowledgement: bool,
}

/// Work for one end of connections that are only opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HandshakeJob {
    pub(crate) end: End,
    /// Where it listens, or connects to.
    pub(crate) address: SocketAddr,
    pub(crate) folder: PathBuf,
}

/// What an end of connections does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// As partners, one after the other, opens streams to the gateway, and closes them unless it `keeps` them.
    OpensStreams { keeps: bool },
    /// As all partners, takes streams of the gateway.
    TakesStreams,
    /// With this certificate, opens connections to a `peer`, and closes them when TLS is there. If it `talks`, there is as much
    /// to and fro as on a stream.
    OpensTls { certificate: String, peer: String, talks: bool },
    /// Takes these.
    TakesTls { certificate: String, talks: bool },
}

/// Connections to open.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Handshakes {
    pub(crate) count: u32,
    /// At most so many at a time.
    pub(crate) window: u32,
}

/// An order to a running child.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// To a generator: send.
    Round(Round),
    /// To a generator of stanzas: open this many further streams and leave them idle.
    Dial(usize),
    /// To an end that opens connections: open so many.
    Handshakes(Handshakes),
    /// To a generator of requests: end the sessions.
    EndSessions,
    /// To a sink: how many messages came? To an end of connections: how many came, and how many are open?
    Count,
    /// To one side of presence: subscribe for these pairs, and wait until it sees the other.
    Establish(Range),
    /// To a front end: count subscriptions from nought, because the gateway makes them anew.
    Anew,
}

/// Pairs from the first up to, without, the last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// One load, until its end and the last answer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) pace: Pace,
    pub(crate) until: Until,
    /// Pairs that take part; at most as many as the job has.
    pub(crate) pairs: u32,
}

/// How fast a generator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// As fast as answers come, with at most this many messages on their way per SIP connection, and never two of one pair.
    /// Towards SIP, where there is one connection, four times as many in all.
    Window(u32),
    /// Messages per second, in all.
    Rate(u32),
}

/// When a generator stops sending.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    Seconds(f64),
    Messages(u64),
}

/// What a generator saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    /// Of these, answered with 200 (or reported by the sink as arrived).
    pub(crate) answered: u64,
    /// Of these, answered otherwise.
    pub(crate) refused: u64,
    /// The first thing that went wrong.
    pub(crate) trouble: Option<String>,
    /// From the first message to the last answer.
    pub(crate) seconds: f64,
    /// From sending to the answer, in microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// What a sink saw, since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Messages that came as expected: the next one of their pair.
    pub(crate) messages: u64,
    /// Messages that were not: doubled, out of order, unreadable.
    pub(crate) wrong: u64,
    pub(crate) trouble: Option<String>,
    /// Presence: pairs that the gateway has subscribed for, since the last [`Order::Anew`].
    pub(crate) subscriptions: u64,
    /// Presence: all requests answered, or all stanzas of presence received. Handshakes: streams that are open.
    pub(crate) everything: u64,
}
