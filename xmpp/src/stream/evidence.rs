//! Why a stream ended: the step it had reached, what was seen, and what can be done about it.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;

use super::identity::{ChainStatus, PresentedName};
use super::redirect::Redirect;
use super::sasl::SaslCondition;
use crate::conditions::{StreamCondition, StreamError};
use crate::dialback::{DialbackCondition, DialbackError};
use crate::jid::{Domain, JidError};
use crate::sm::Misuse;
use crate::stanza::{AddressError, Attr};
use crate::xml::ReadErrorKind;

/// Everything there is to say about the end of a stream, for programs; `Display` says it to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who opened the stream.
    pub direction: Direction,
    /// The domain of ours, once it is known.
    pub local: Option<Domain>,
    /// The peer's domain: the one we wanted to reach, or the one it claimed or proved to be.
    pub remote: Option<Domain>,
    /// How far the stream had come.
    pub step: Step,
    /// What ended it.
    pub cause: Cause,
    /// What happened before that explains it.
    pub notes: Vec<Note>,
    /// What may be tried at once on a new connection, by setting [`OutboundConfig::retry`](super::OutboundConfig).
    pub retry: Option<Retry>,
    /// Where the service may be found instead, said by a peer whose certificate proved who he is, before the stream was
    /// established (S2S-30).
    pub redirect: Option<Redirect>,
}

impl Evidence {
    /// Notes that are kept.
    pub const NOTES: usize = 8;
}

/// How a stream that failed may be tried again, as the entry allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The peer neither offered STARTTLS nor took it, and dialback over plain TCP is allowed: STARTTLS is not tried
    /// without an offer then.
    WithoutStartTls,
    /// The peer offered EXTERNAL, refused our certificate and ended the stream, and dialback over TLS is allowed.
    WithoutExternal,
    /// The peer offered EXTERNAL and, when we used it, ended the stream or the connection instead of answering, and
    /// dialback over TLS is allowed.
    WithoutUnansweredExternal,
}

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// We.
    Outbound,
}

/// The steps of a stream in their order; each is named after what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The peer's first header, before TLS.
    Header,
    /// The caller's word whether the peer may come in. Inbound only.
    Partner,
    /// The features before TLS. Outbound only.
    Features,
    /// `<starttls/>` (inbound) or the answer to it (outbound).
    StartTls,
    /// The handshake.
    TlsHandshake,
    /// The peer's header under TLS.
    SecureHeader,
    /// The features under TLS. Outbound only.
    SecureFeatures,
    /// The peer's `<auth/>` or dialback key, or the answer to our `<auth/>`.
    Authentication,
    /// The answer to our dialback key. Outbound only.
    Dialback,
    /// The answer to our question about a peer's dialback key. Outbound only.
    Verify,
    /// The peer's header after authentication.
    FinalHeader,
    /// The features after authentication. Outbound only.
    FinalFeatures,
    /// Nothing: stanzas flow.
    Established,
}

/// What ended a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The peer closed in good order.
    PeerClosed,
    /// We closed: the caller asked for it, with this stream error if any.
    WeClosed(Option<StreamCondition>),
    /// The connection ended without a closing tag, with our transport's own words.
    Disconnected(Option<OurText>),
    /// The peer sent a stream error.
    PeerError {
        /// Its condition.
        condition: StreamCondition,
        /// Its text.
        text: Option<PeerText>,
        /// Where `see-other-host` points to.
        other_host: Option<PeerText>,
        /// The name of its application-specific condition.
        application: Option<PeerText>,
    },
    /// The peer broke a rule; we told it so with this stream error.
    Fault {
        /// The stream error we sent.
        condition: StreamCondition,
        /// The rule.
        fault: Fault,
    },
    /// Nothing came in time.
    Timeout(Waiting),
    /// The caller did not let the peer in.
    Refused(Refusal),
    /// The peer cannot do TLS: it does not offer STARTTLS (and answered our attempt as said), or it
    /// speaks XMPP 0.9, which has none.
    NoStartTls {
        /// What it answered to `<starttls/>` all the same.
        answer: NoStartTlsAnswer,
    },
    /// The peer offers STARTTLS and answered `<failure/>`.
    StartTlsFailed,
    /// Bytes in clear where the TLS handshake had to begin: an attempt at injection, or a broken
    /// peer (TLS-03).
    PlaintextAfterStartTls,
    /// The handshake failed, with our TLS layer's own words.
    TlsFailed(OurText),
    /// The certificate does not prove that the peer is `wanted`.
    Certificate {
        /// The name that had to be proved.
        wanted: Domain,
        /// Whether the chain holds.
        chain: ChainStatus,
        /// The names the certificate carries.
        names: Arc<[PresentedName]>,
    },
    /// The peer does not offer SASL EXTERNAL.
    NoExternal {
        /// What it offers instead.
        mechanisms: Vec<PeerText>,
        /// Whether it offers server dialback.
        dialback: bool,
    },
    /// SASL failed: the peer refused us, or we refused the peer for the last time.
    SaslFailed {
        /// The condition.
        condition: SaslCondition,
        /// The text that came with it.
        text: Option<PeerText>,
    },
    /// The peer demands a feature of which we know nothing.
    UnknownFeature(PeerText),
    /// The peer demands TLS, or began with it, which the entry switches off.
    TlsSwitchedOff,
    /// Dialback is what the entry leaves, and the peer does not offer it.
    NoDialback {
        /// What it offers instead.
        mechanisms: Vec<PeerText>,
    },
    /// The peer gave its stream no id, for which a dialback key could be made.
    NoStreamId,
    /// We have no dialback secret.
    NoSecret,
    /// Outbound: the peer says that our dialback key is not valid. Inbound: the server that is authoritative for the
    /// peer's domain says so of the peer's.
    DialbackInvalid,
    /// The peer answered our dialback key, or our question about its own, with an error.
    DialbackError(DialbackError),
    /// The peer did not authenticate but by dialback, which it may not.
    DialbackRefused(DialbackRefusal),
    /// The partner, which proved its domain by certificate before, now could do nothing but dialback (SEC-11).
    Downgrade,
}

/// Why a request to be let in by dialback was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DialbackRefusal {
    /// Dialback is off for the partner: ignored.
    Off,
    /// It came in clear, and TLS is required.
    TlsRequired,
    /// Dialback does not replace the certificate for this partner.
    CertificateRequired,
    /// The partner proved its domain by certificate before and does not do so now (SEC-11).
    Downgrade,
    /// The stream is under TLS, which is switched off for that domain.
    TlsSwitchedOff,
    /// The sender domain may not come in.
    Refused(Refusal),
    /// The sender domain is one of ours.
    OurOwn,
    /// The target domain is not served here.
    UnknownTarget,
    /// There is no key, or one that is too long.
    BadKey,
    /// The stream has as many pairs, or as many that wait, as it may have.
    TooMany,
    /// Our caller did not say in time whether the domain may come in.
    NoVerdict,
    /// The authoritative server says that the key is not its own.
    Invalid,
    /// The key could not be verified.
    Unverified(DialbackCondition),
}

impl DialbackRefusal {
    /// Whether somebody may be posing as the partner.
    pub fn is_alarm(self) -> bool {
        matches!(self, Self::Downgrade | Self::Invalid | Self::OurOwn)
    }
}

/// What happened on the way of a stream without ending it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The certificate does not prove the peer's domain, so it had to be dialback.
    Certificate {
        /// Whether the chain holds.
        chain: ChainStatus,
        /// The names the certificate carries.
        names: Arc<[PresentedName]>,
    },
    /// The peer did not offer EXTERNAL, so it had to be dialback.
    NoExternal,
    /// We offered EXTERNAL, and the peer chose dialback.
    ExternalNotTaken,
    /// The peer refused our certificate on the attempt right before this one, which advised
    /// [`Retry::WithoutExternal`].
    ExternalRefusedBefore,
    /// The peer ended the attempt right before this one over EXTERNAL, which advised
    /// [`Retry::WithoutUnansweredExternal`].
    ExternalUnansweredBefore,
    /// The dialback key was for another domain than that of the header, for which alone the certificate was judged.
    OtherDomain,
    /// SASL failed, so it had to be dialback.
    SaslFailed {
        /// The condition.
        condition: SaslCondition,
        /// The text that came with it.
        text: Option<PeerText>,
    },
    /// We refused the peer's try at SASL.
    SaslRefused {
        /// The condition that we sent.
        condition: SaslCondition,
        /// Whom it wanted to be, if that is why.
        identity: Option<PeerText>,
    },
    /// TLS did not come about, so it had to be plain TCP.
    InClear,
    /// We offered STARTTLS, and the peer chose dialback over plain TCP.
    TlsNotTaken,
    /// TLS was offered and failed: plain TCP is not tried though the entry allows it.
    NotInClear,
    /// A request to be let in by dialback was turned down.
    DialbackRefused(DialbackRefusal),
    /// We were asked about a key, and said whether it is ours.
    KeyAnswered {
        /// The answer.
        valid: bool,
    },
}

/// What a peer without STARTTLS did with our attempt at it (TLS-02).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoStartTlsAnswer {
    /// It was not attempted: the peer speaks XMPP 0.9.
    OldVersion,
    /// `<failure/>`.
    Failure,
    /// A stream error.
    StreamError(StreamCondition),
    /// It closed the stream or the connection.
    Closed,
    /// Nothing.
    Silence,
    /// Some other element, by name.
    Other(PeerText),
}

/// Which time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// That of the step.
    Step,
    /// That of the whole establishment.
    Establishment,
}

/// A rule the peer broke.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What it sent is no XML we accept.
    Xml(ReadErrorKind),
    /// Its header is not that of a server-to-server stream.
    Namespace,
    /// It speaks XMPP 0.9 (sent no version), which knows no TLS.
    Version,
    /// An address in its header is missing.
    HeaderMissing(Attr),
    /// An address in its header is no domain.
    HeaderAddress(Attr, JidError),
    /// It asked for a domain that is not served.
    HostUnknown(PeerText),
    /// An address in its header changed across a restart (SASL-06).
    HeaderChanged(Attr, PeerText),
    /// More bytes before establishment than allowed.
    TooMuchBeforeAuth,
    /// Bytes before the restart that follows SASL (SEC-06).
    Pipelined,
    /// A stanza before establishment.
    EarlyStanza,
    /// It wanted to authenticate otherwise than by what was offered, or not at all.
    Unauthenticated(PeerText),
    /// It asked for TLS twice.
    SecondStartTls,
    /// A dialback element without the addresses it needs.
    Dialback(PeerText),
    /// A first-level element that is no stanza and belongs to no negotiation.
    UnknownElement(PeerText),
    /// A stanza whose addresses are missing or unusable.
    Addressing(AddressError),
    /// A stanza to a domain that is not this stream's.
    StanzaTo(PeerText),
    /// A stanza from a domain that is not authenticated on this stream.
    StanzaFrom(PeerText),
    /// It misused stream management.
    Management(Misuse),
    /// It goes on asking, and does not read our answers.
    AnswersUnread,
    /// It goes on sending, while our caller does not say whether another domain may come in.
    TooMuchUnread,
}

/// Why a peer was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is no partner.
    NotPartner,
    /// It is one, switched off.
    Disabled,
    /// It is one with too many connections.
    TooManyConnections,
}

/// What our own side says: the transport, the TLS layer. It stands in the evidence as it is, whole and without quotes, so
/// whatever of a peer's is in it has to be short, and quoted, already. It is made harmless all the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OurText(CompactString);

impl OurText {
    /// Takes a text.
    pub fn new(text: &str) -> Self {
        Self(text.trim().chars().map(harmless).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text a peer chose, shown in quotes that it cannot close: shortened to [`PeerText::MAX`] characters and without anything that could
/// forge a line of a log or turn the direction of its text (SEC-35).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerText(CompactString);

impl PeerText {
    /// Characters that are kept.
    pub const MAX: usize = 200;

    /// Takes the harmless beginning of a text.
    pub fn new(text: &str) -> Self {
        let mut characters = text.trim().chars();
        let kept = characters.by_ref().take(Self::MAX).map(harmless).map(unquoted);
        let mut kept: CompactString = kept.collect();
        if characters.next().is_some() {
            kept.push('…');
        }
        Self(kept)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Quotation marks as they stand around what peers said.
pub(super) fn unquoted(character: char) -> char {
    if matches!(character, '“' | '”') { '"' } else { character }
}

fn harmless(character: char) -> char {
    match character {
        // Line and paragraph separators, bidirectional and zero-width controls.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        '\n' | '\r' | '\t' => ' ',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

impl From<&StreamError> for Cause {
    fn from(error: &StreamError) -> Self {
        let kept = |text: &Option<CompactString>| text.as_deref().map(PeerText::new);
        Self::PeerError {
            condition: error.condition,
            text: kept(&error.text),
            other_host: kept(&error.other_host),
            application: kept(&error.application),
        }
    }
}

impl fmt::Debug for OurText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for OurText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}”", self.as_str())
    }
}
