//! Negotiation of server-to-server streams (RFC 6120 §4–6, XEP-0178), without IO.
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
//! Nothing is decided by text: why a stream ended is an [`Evidence`], which has words for people in
//! its `Display` and types for programs.

mod alive;
mod evidence;
mod features;
mod identity;
mod inbound;
mod outbound;
mod sasl;
mod screen;
mod settings;
mod wire;
mod words;

pub use alive::{Alive, KeepAlive, Quiet, Sign};
pub use evidence::{Cause, Direction, Evidence, Fault, NoStartTlsAnswer, PeerText, Refusal, Step, Waiting};
pub use features::{PeerFeatures, PeerLimits};
pub use identity::{ChainStatus, PresentedName, TlsFacts};
pub use inbound::{Inbound, PartnerVerdict};
pub use outbound::Outbound;
pub use sasl::SaslCondition;
pub use settings::{Authzid, InboundConfig, OutboundConfig, StreamIds, StreamLimits, Timeouts};

use compact_str::CompactString;

use crate::jid::{Domain, JidError};
use crate::stanza::{Addresses, Attr, StanzaKind};
use crate::xml::Element;

/// What a machine wants done, or has to tell. Drain with `poll()` until `None`.
#[derive(Debug)]
pub enum Output {
    /// Write what `transmit` gives, then do the TLS handshake: as client on an [`Outbound`], as
    /// server (asking for a certificate) on an [`Inbound`].
    StartTls,
    /// May this peer speak to this domain of ours? Answer with [`Inbound::partner_verdict`].
    /// Nothing more of the stream is read until then.
    AskPartner {
        /// The domain the peer claims, not authenticated yet.
        from: Domain,
        /// The served domain it wants to reach.
        to: Domain,
    },
    /// Negotiation is complete: stanzas may flow in the stream's one direction.
    Established(Box<Established>),
    /// A stanza whose two addresses are good, whose sender's domain is authenticated on this
    /// stream and whose receiver's domain is served (RFC 6120 §8.1). Inbound only.
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
    /// An element that came where it must not be acted upon: anything on an established stream that
    /// we opened (that direction is not authenticated, RFC 6120 §4.5; XEP-0288 is not negotiated), or
    /// dialback on a stream that was authenticated otherwise. It must not be routed. It is handed
    /// over because nothing is to vanish uncounted, and because it may be the answer to a ping.
    Unasked(Element),
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
    /// How each side proved itself.
    pub method: Method,
    /// What TLS showed.
    pub tls: TlsFacts,
    /// What the peer offered last. Empty on an inbound stream: only responders announce features.
    pub features: PeerFeatures,
    /// The `xml:lang` of the peer's header, default of its stanzas (RFC 6120 §4.7.4).
    pub lang: Option<CompactString>,
}

/// How a stream's initiator was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// SASL EXTERNAL over TLS (XEP-0178).
    SaslExternal,
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
