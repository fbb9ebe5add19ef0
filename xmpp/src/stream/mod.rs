//! Negotiation of server-to-server streams (RFC 6120 §4–6, XEP-0178, XEP-0220), without IO.
//!
//! Two machines: [`Outbound`] for a stream we open, [`Inbound`] for one a peer opens. Both take
//! bytes and time, and give bytes, outputs and a deadline:
//!
//! ```text
//! receive(bytes, now)   tls_established(facts, now)   disconnected(why, now)   handle_timeout(now)
//!          then poll() until None, then transmit(&mut buffer), then deadline()
//! ```
//!
//! What the driver owes them:
//!
//! * write what [`transmit`](Outbound::transmit) gives before it acts on an output: `<proceed/>`
//!   has to be on the wire before the handshake that [`Output::StartTls`] asks for begins;
//! * after [`Output::StartTls`] read nothing for the machine until the handshake is over, and then
//!   say [`tls_established`](Outbound::tls_established) or [`tls_failed`](Outbound::tls_failed);
//! * end the connection when, and only when, [`Output::ShutdownTls`] or [`Output::Abort`] says so.
//!
//! How a stream may be authenticated is what its [`Terms`] say; the caller makes them of the partner's entry. The weaker
//! ways are used only where the terms allow them, and the [`Evidence`] says which were taken and why.
//!
//! Nothing is decided by text: why a stream ended is an [`Evidence`], which has words for people in
//! its `Display` and types for programs.

mod alike;
mod alive;
mod evidence;
mod features;
mod identity;
mod inbound;
mod outbound;
mod redirect;
mod sasl;
mod screen;
mod settings;
mod terms;
mod wire;
mod words;

pub use alive::{Alive, KeepAlive, Quiet, Sign};
pub use evidence::{
    Cause, DialbackRefusal, Direction, Evidence, Fault, NoStartTlsAnswer, Note, OurText, PeerText, Refusal,
    Retry, Step, Waiting,
};
pub use features::{PeerFeatures, PeerLimits};
pub use identity::{ChainStatus, PresentedName, TlsFacts};
pub use inbound::{Inbound, PartnerVerdict};
pub use outbound::{Outbound, PairError};
pub use redirect::Redirect;
pub use sasl::SaslCondition;
pub use settings::{Authzid, InboundConfig, OutboundConfig, Purpose, StreamIds, StreamLimits, Timeouts};
pub use terms::Terms;

use compact_str::CompactString;

use crate::dialback::{DialbackError, Pair, VerifyOutcome, VerifyRequest};
use crate::jid::{Domain, JidError};
use crate::sm::Management;
use crate::stanza::{Addresses, Attr, StanzaKind};
use crate::xml::Element;

/// What a machine wants done, or has to tell. Drain with `poll()` until `None`.
#[derive(Debug)]
pub enum Output {
    /// Write what `transmit` gives, then do the TLS handshake: as client on an [`Outbound`], as
    /// server (asking for a certificate) on an [`Inbound`].
    StartTls,
    /// May this peer speak to this domain of ours, and on which terms? Answer with [`Inbound::partner_verdict`].
    /// Nothing more of the stream is read until then; what comes meanwhile is kept, as much as one stanza may have. Asked about the domain of the header, and about every further one
    /// that a peer wants to speak for on the same stream.
    AskPartner {
        /// The domain the peer claims, not authenticated yet.
        from: Domain,
        /// The served domain it wants to reach.
        to: Domain,
    },
    /// Negotiation is complete: stanzas may flow from the stream's initiator, and the other way too if both agreed upon
    /// that.
    Established(Box<Established>),
    /// Stanzas of one more pair of domains may flow on the established stream.
    PairAuthorized(Pair),
    /// A pair that [`Outbound::authorize`] asked for was not authorized; the stream goes on for the others. Outbound only.
    PairRefused {
        /// The pair.
        pair: Pair,
        /// Why.
        why: PairRefusal,
    },
    /// Have a dialback key verified, on a new connection to the server of its sender domain (DB-07, DB-12), and answer with
    /// [`Inbound::verified`]. If it takes longer than [`Timeouts::verification`] the peer is told so without an answer.
    Verify(Box<VerifyRequest>),
    /// The answer to the question of a stream with [`Purpose::Verify`]; the stream closes. A stream that ends without it
    /// has failed to get one.
    Verified(VerifyOutcome),
    /// A peer wanted to be let in by dialback, or to know whether a key is ours, and was turned down. Worth counting, and
    /// an alarm where the reason [is one](DialbackRefusal::is_alarm).
    DialbackRefused {
        /// The `from` of its request.
        from: Domain,
        /// The `to` of its request.
        to: Domain,
        /// Why not.
        why: DialbackRefusal,
    },
    /// We were asked whether a key is ours, and answered. `false` means that somebody posed as us, that our servers do not
    /// share their secret, or that whoever asks made the key up: he has proved nothing.
    KeyAnswered {
        /// Who was given the key, by his own word.
        from: Domain,
        /// The domain of ours that it speaks for.
        to: Domain,
        /// The answer.
        valid: bool,
    },
    /// An answer that belongs to no question asked on this stream: dropped, and worth counting (DB-06).
    Unsolicited(Element),
    /// A stanza whose two addresses are good, whose sender's domain is authenticated on this
    /// stream and whose receiver's domain is served (RFC 6120 §8.1). Of the initiator; of the responder where it goes
    /// [both ways](Established::both_ways).
    Stanza(Box<Stanza>),
    /// A stanza between the right two domains with an unusable localpart or resource. It costs only
    /// itself: answer it with `jid-malformed` if it is of a kind that may be answered.
    BadAddress {
        /// The stanza.
        element: Element,
        /// Which of its addresses is bad.
        which: Attr,
        /// What is wrong with it; never its domain.
        error: JidError,
        /// As in [`Stanza`].
        number: Option<u64>,
    },
    /// An element that came where it must not be acted upon: on an established stream that we opened and that does
    /// not go both ways (RFC 6120 §4.5). It must not be routed. It is handed over because nothing is to vanish uncounted.
    Unasked(Element),
    /// What the peer says of the stanzas it is sent (XEP-0198): for the [lane](crate::lane::Lane::managed) on the stream.
    Managed(Management),
    /// The stream is over: nothing more can be sent, and this is why. Said exactly once. Stanzas
    /// may still follow if it was us who closed in good order. The connection is still up.
    Closed(Box<Evidence>),
    /// The end: write what `transmit` gives, send close_notify (or shut TCP down where there is no
    /// TLS), read and discard until the peer does the same or a short time passed, then close TCP.
    /// Closing TCP over unread bytes would reset it and could cost the peer our stream error.
    ShutdownTls,
    /// The end: close TCP at once and write nothing (RFC 6120 §5.4.3.2).
    Abort,
}

/// A stream whose negotiation is complete.
#[derive(Clone, Debug)]
pub struct Established {
    /// The domain of ours at this end.
    pub local: Domain,
    /// The domain at the other end, authenticated.
    pub remote: Domain,
    /// The id of the stream, chosen by the responder. Some old responders send none.
    pub stream_id: Option<CompactString>,
    /// How the initiator proved itself.
    pub method: Method,
    /// What TLS showed; `None` on a stream in clear.
    pub tls: Option<TlsFacts>,
    /// The peer is who it is because its certificate says so, whatever the method. If more is asked of the certificate
    /// than [`TlsFacts`] could tell when they were made, it has to be judged again. Always false in clear.
    pub by_certificate: bool,
    /// What the peer offered last. Empty on an inbound stream: only responders announce features.
    pub features: PeerFeatures,
    /// Stanzas flow both ways (XEP-0288): from the local domain to the remote one, and back.
    pub both_ways: bool,
    /// What is worth knowing about the way that led here.
    pub notes: Vec<Note>,
    /// The `xml:lang` of the peer's header, default of its stanzas (RFC 6120 §4.7.4).
    pub lang: Option<CompactString>,
}

/// How a stream's initiator was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// SASL EXTERNAL over TLS (XEP-0178).
    SaslExternal,
    /// Server dialback over TLS (XEP-0220).
    DialbackTls,
    /// Server dialback over plain TCP. Whoever controls the network or DNS can pose as the partner.
    DialbackTcp,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SaslExternal => "SASL EXTERNAL over TLS",
            Self::DialbackTls => "dialback over TLS",
            Self::DialbackTcp => "dialback over plain TCP",
        })
    }
}

/// Why a further pair was not authorized on a stream we opened. The text is for administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairRefusal {
    /// The peer says that our key is not valid; the stream is not used for new pairs any more (DB-05).
    Invalid,
    /// The peer sent a dialback error.
    Error(DialbackError),
    /// The peer did not answer in time.
    Timeout,
}

/// A stanza that passed the address rules of its stream.
#[derive(Debug)]
pub struct Stanza {
    /// Message, presence or iq.
    pub kind: StanzaKind,
    /// Its sender, whose domain is authenticated, and its receiver, whose domain is served.
    pub addresses: Addresses,
    /// All of it.
    pub element: Element,
    /// Its number, if it is to be acknowledged: say [`Inbound::settled`] when nothing is left to be done for it.
    pub number: Option<u64>,
}
