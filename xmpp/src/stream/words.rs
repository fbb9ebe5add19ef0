//! The words of an [`Evidence`]: who, what was seen, what it means, what to do.

use std::fmt::{self, Display, Formatter, Write};

use super::evidence::{
    Cause, DialbackRefusal, Direction, Evidence, Fault, NoStartTlsAnswer, Note, PeerText, Refusal, Retry,
    Step, Waiting,
};
use super::identity::{ChainStatus, PresentedName};
use crate::conditions::StreamCondition;
use crate::dialback::DialbackCondition;

impl Display for Evidence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.who(f)?;
        self.what(f)?;
        for note in self.notes.iter().filter(|note| !self.cause_says(note)) {
            write!(f, "; {note}")?;
        }
        match self.retry {
            None => Ok(()),
            Some(Retry::WithoutStartTls) => f.write_str("; tried again without TLS, as the entry allows"),
            Some(Retry::WithoutExternal) => f.write_str("; tried again by dialback, as the entry allows"),
        }
    }
}

impl Evidence {
    /// What stands in the cause need not be said twice.
    fn cause_says(&self, note: &Note) -> bool {
        match (&self.cause, note) {
            (Cause::DialbackInvalid, Note::DialbackRefused(DialbackRefusal::Invalid))
            | (Cause::Downgrade, Note::DialbackRefused(DialbackRefusal::Downgrade))
            | (Cause::Certificate { .. }, Note::Certificate { .. })
            | (Cause::Refused(_), Note::DialbackRefused(DialbackRefusal::Refused(_))) => true,
            (Cause::DialbackRefused(why), Note::DialbackRefused(noted)) => why == noted,
            _ => false,
        }
    }

    fn who(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.remote {
            None => f.write_str("a peer that did not say who it is: "),
            // Not proved yet: anybody can put a name into a header.
            Some(remote) if self.direction == Direction::Inbound && self.step < Step::FinalHeader => {
                write!(f, "a peer calling itself {remote}: ")
            }
            Some(remote) => write!(f, "partner {remote}: "),
        }
    }

    fn what(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::PeerClosed if self.step == Step::Established => f.write_str("closed the stream"),
            Cause::PeerClosed => write!(f, "closed the stream without a reason while we waited for {}", self.step),
            Cause::WeClosed(None) => f.write_str("we closed the stream"),
            Cause::WeClosed(Some(condition)) => write!(f, "we closed the stream with {condition}"),
            Cause::Disconnected(why) => {
                f.write_str("the connection broke")?;
                if self.step != Step::Established {
                    write!(f, " while we waited for {}", self.step)?;
                }
                suffix(f, ": ", why.as_ref())
            }
            Cause::PeerError { condition, text, other_host, application } => {
                write!(f, "ended the stream with {condition}")?;
                suffix(f, " to ", other_host.as_ref())?;
                suffix(f, ", ", application.as_ref())?;
                suffix(f, ", saying ", text.as_ref())?;
                if self.step != Step::Established {
                    write!(f, ", while we waited for {}", self.step)?;
                }
                match peer_error_advice(*condition, self.direction) {
                    Some(advice) => write!(f, "; {advice}"),
                    None => Ok(()),
                }
            }
            Cause::Fault { condition, fault } => write!(f, "{fault}; answered with {condition}"),
            Cause::Timeout(Waiting::Step) => {
                write!(f, "no answer in time while we waited for {}", self.step)
            }
            Cause::Timeout(_) if self.step == Step::Dialback => f.write_str(
                "did not answer our dialback key in time; they may not get through to us to verify it: check that the SRV \
                 records of our domain lead here and that they can connect",
            ),
            Cause::Timeout(Waiting::Establishment) => {
                write!(f, "the stream was not established in time; it still waited for {}", self.step)
            }
            Cause::Refused(refusal) => write!(f, "{refusal}"),
            Cause::NoStartTls { answer } if self.retry.is_some() => write!(f, "offers no STARTTLS{answer}"),
            Cause::NoStartTls { answer } => write!(
                f,
                "offers no STARTTLS{answer}; TLS is required for this partner; ask them to enable encryption for s2s"
            ),
            Cause::StartTlsFailed => f.write_str(
                "offers STARTTLS but refused to start it; ask them to look for the certificate and the TLS errors \
                 of their server",
            ),
            Cause::PlaintextAfterStartTls => f.write_str(
                "sent bytes in clear where TLS had to begin; this is an attempt to inject data, or a broken server",
            ),
            Cause::TlsFailed(why) => write!(f, "the TLS handshake failed: {why}"),
            Cause::Certificate { wanted, chain, names } => certificate(f, wanted.as_str(), chain, names, self.direction),
            Cause::NoExternal { mechanisms, dialback } => {
                f.write_str("does not offer to accept our certificate (SASL EXTERNAL)")?;
                list(f, "; it offers ", mechanisms)?;
                if *dialback {
                    f.write_str("; it offers server dialback, which is not used for this partner")?;
                }
                f.write_str(
                    "; they probably do not trust our certificate: check its chain, that it names our domain, and \
                     that they take it from a client",
                )
            }
            Cause::SaslFailed { condition, text } => {
                match self.direction {
                    Direction::Outbound => write!(f, "refused our certificate with {condition}")?,
                    Direction::Inbound => write!(f, "failed to authenticate, last with {condition}")?,
                }
                suffix(f, ", saying ", text.as_ref())
            }
            Cause::UnknownFeature(name) => write!(f, "demands the stream feature {name}, which is not supported"),
            _ => dialback(f, &self.cause, self.direction),
        }
    }
}

/// The causes that have to do with what the entry leaves besides certificates.
fn dialback(f: &mut Formatter<'_>, cause: &Cause, direction: Direction) -> fmt::Result {
    match (cause, direction) {
        (Cause::TlsSwitchedOff, Direction::Outbound) => f.write_str(
            "demands TLS, which the entry of this partner switches off; set tls to \"required\" or \"optional\"",
        ),
        (Cause::TlsSwitchedOff, Direction::Inbound) => f.write_str(
            "uses TLS, which the entry of this partner switches off; refused; set tls to \"required\" or \"optional\"",
        ),
        (Cause::NoDialback { mechanisms }, _) => {
            f.write_str("does not offer server dialback, the only way that is left")?;
            list(f, "; it offers ", mechanisms)?;
            f.write_str("; ask them to switch dialback on, or to take our certificate")
        }
        (Cause::NoStreamId, _) => {
            f.write_str("gave its stream no id, which dialback needs; ask them to update their server")
        }
        (Cause::NoSecret, _) => f.write_str("there is no dialback secret here; set one, or switch dialback off"),
        (Cause::DialbackInvalid, Direction::Outbound) => f.write_str(
            "says that our dialback key is not valid; check that the SRV records of our domain lead here and nowhere \
             else, and that all our servers have the same dialback secret",
        ),
        (Cause::DialbackInvalid, Direction::Inbound) => f.write_str(
            "the server of that domain says that the dialback key is not its own; refused; somebody poses as this \
             partner, or its servers do not share their secret",
        ),
        (Cause::DialbackError(error), _) => {
            write!(f, "answered our dialback request with {}", error.condition)?;
            suffix(f, ", saying ", error.text.as_ref())?;
            match dialback_advice(error.condition) {
                Some(advice) => write!(f, "; {advice}"),
                None => Ok(()),
            }
        }
        (Cause::DialbackRefused(why), _) => write!(f, "tried server dialback: {why}"),
        (Cause::Downgrade, _) => f.write_str(
            "proved its domain by certificate before and now could only use dialback; refused; somebody may be posing \
             as this partner: if they gave their certificate up, confirm it for the partner",
        ),
        _ => Ok(()),
    }
}

fn dialback_advice(condition: DialbackCondition) -> Option<&'static str> {
    Some(match condition {
        DialbackCondition::ItemNotFound => {
            "that server does not serve the domain: check the DNS records of both domains"
        }
        DialbackCondition::RemoteConnectionFailed | DialbackCondition::RemoteServerTimeout => {
            "they do not get through to us to verify our key: check that they can connect to the hosts our SRV records name"
        }
        DialbackCondition::RemoteServerNotFound => {
            "they do not find our server: check the SRV records of our domain"
        }
        DialbackCondition::PolicyViolation => {
            "they want TLS before dialback: set tls to \"required\" or \"optional\""
        }
        DialbackCondition::NotAuthorized => {
            "they want a valid certificate: check ours, and set sasl to \"optional\""
        }
        DialbackCondition::Forbidden => {
            "they found our key invalid: check that our SRV records lead here and nowhere else, and that all our servers \
             have the same dialback secret"
        }
        _ => return None,
    })
}

fn certificate(
    f: &mut Formatter<'_>,
    wanted: &str,
    chain: &ChainStatus,
    names: &[PresentedName],
    direction: Direction,
) -> fmt::Result {
    match chain {
        ChainStatus::Absent => {
            return write!(f, "showed no certificate; ask them to present the one for {wanted}");
        }
        ChainStatus::Untrusted(why) => {
            // Our own words about it; names in them are printable already, and quotes stay quotes.
            f.write_str("its certificate is not acceptable: ")?;
            printable(f, why)?;
        }
        ChainStatus::Trusted => write!(f, "its certificate is valid but not for {wanted}")?,
    }
    list(f, "; it is for ", names)?;
    if names.is_empty() {
        f.write_str("; it names no domain")?;
    }
    match (chain, direction) {
        (ChainStatus::Trusted, Direction::Outbound) => {
            f.write_str("; check the domain of the partner entry and its DNS records, or ask them for a certificate with that name")
        }
        (ChainStatus::Trusted, Direction::Inbound) => write!(f, "; ask them for a certificate that names {wanted}"),
        _ => f.write_str("; ask them to renew it, or add the root that signed it"),
    }
}

/// What a peer's stream error usually means for the one who reads the log.
fn peer_error_advice(condition: StreamCondition, direction: Direction) -> Option<&'static str> {
    match (condition, direction) {
        (StreamCondition::HostUnknown | StreamCondition::HostGone, Direction::Outbound) => {
            Some("that server does not serve the partner's domain: check their DNS records")
        }
        (StreamCondition::PolicyViolation | StreamCondition::NotAuthorized, Direction::Outbound) => {
            Some("ask them whether our domain is on their list")
        }
        (StreamCondition::SystemShutdown, _) => Some("their server is going down"),
        _ => None,
    }
}

fn printable(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| f.write_char(if c.is_control() { '\u{fffd}' } else { c }))
}

fn suffix(f: &mut Formatter<'_>, before: &str, text: Option<&PeerText>) -> fmt::Result {
    match text {
        Some(text) => write!(f, "{before}{text}"),
        None => Ok(()),
    }
}

/// Names beyond these are counted, not listed.
const LISTED: usize = 8;

fn list<T: Display>(f: &mut Formatter<'_>, before: &str, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().take(LISTED).enumerate() {
        f.write_str(if index == 0 { before } else { ", " })?;
        write!(f, "{item}")?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the stream header",
            Self::Partner => "our own partner check",
            Self::Features => "the stream features",
            Self::StartTls => "STARTTLS",
            Self::TlsHandshake => "the TLS handshake",
            Self::SecureHeader => "the stream header after TLS",
            Self::SecureFeatures => "the stream features after TLS",
            Self::Authentication => "authentication",
            Self::Dialback => "the answer to our dialback key",
            Self::Verify => "the answer to our question about a dialback key",
            Self::FinalHeader => "the stream header after authentication",
            Self::FinalFeatures => "the stream features after authentication",
            Self::Established => "nothing more",
        })
    }
}

impl Display for NoStartTlsAnswer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldVersion => f.write_str(" (it speaks XMPP 0.9)"),
            Self::Failure => f.write_str(" and refused it when asked"),
            Self::StreamError(condition) => write!(f, " and answered the attempt with {condition}"),
            Self::Closed => f.write_str(" and closed at the attempt"),
            Self::Silence => f.write_str(" and did not answer the attempt"),
            Self::Other(name) => write!(f, " and answered the attempt with {name}"),
        }
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPartner => "no such partner; refused; add it as a partner to let it in",
            Self::Disabled => "this partner is switched off; refused",
            Self::TooManyConnections => "this partner has more connections than its entry allows; refused",
        })
    }
}

impl Display for DialbackRefusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "it is off for this partner and was ignored; switch dialback on in its entry to let it in that way",
            Self::TlsRequired => {
                "TLS is required for it and was not used; ask them to enable encryption for s2s, or allow plain TCP in the \
                 partner's entry"
            }
            Self::CertificateRequired => {
                "only a certificate counts for this partner; ask them to present a valid one, or set sasl to \"optional\""
            }
            Self::Downgrade => {
                "this partner proved its domain by certificate before and does not do so now; somebody may be posing as it"
            }
            Self::TlsSwitchedOff => "the stream is under TLS, which the entry of that domain switches off",
            Self::Refused(refusal) => return write!(f, "{refusal}"),
            Self::OurOwn => "it claimed to be one of our own domains",
            Self::UnknownTarget => "it asked for a domain that is not served here",
            Self::BadKey => "its key is missing or too long",
            Self::TooMany => "it has as many domains on this stream as are allowed",
            Self::NoVerdict => "we did not decide in time whether that domain may come in",
            Self::Invalid => {
                "the server of that domain says that the key is not its own; somebody poses as it, or its servers do not \
                 share their secret"
            }
            Self::Unverified(condition) => {
                return write!(
                    f,
                    "the key could not be verified with the server of that domain ({condition}); check their SRV \
                     records and that we can connect there"
                );
            }
        })
    }
}

impl Display for Note {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { chain: ChainStatus::Trusted, names } => {
                f.write_str("its certificate is not for this domain")?;
                list(f, "; it is for ", names)
            }
            Self::Certificate { chain: ChainStatus::Absent, .. } => f.write_str("it showed no certificate"),
            Self::Certificate { chain: ChainStatus::Untrusted(why), .. } => {
                f.write_str("its certificate is not acceptable: ")?;
                printable(f, why)
            }
            Self::NoExternal => f.write_str("it did not offer to accept our certificate (SASL EXTERNAL)"),
            Self::SaslFailed { condition, text } => {
                write!(f, "it refused our certificate with {condition}")?;
                suffix(f, ", saying ", text.as_ref())
            }
            Self::InClear => f.write_str("it has no TLS"),
            Self::NotInClear => f.write_str(
                "plain TCP is not tried in its place, since the partner offers TLS; set tls to \"not-supported\" if it \
                 cannot be repaired",
            ),
            Self::DialbackRefused(why) => write!(f, "it tried server dialback: {why}"),
            Self::KeyAnswered { valid: true } => f.write_str("it asked about a dialback key, which is ours"),
            Self::KeyAnswered { valid: false } => f.write_str(
                "it asked about a dialback key that is not ours; somebody poses as us, or our servers do not share their \
                 dialback secret",
            ),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xml(kind) => write!(f, "sent {kind}"),
            Self::Namespace => f.write_str("opened something that is no server-to-server stream"),
            Self::Version => f.write_str("speaks XMPP 0.9, which has no TLS"),
            Self::HeaderMissing(attr) => write!(f, "sent a stream header without {}", attr.as_str()),
            Self::HeaderAddress(attr, error) => {
                write!(f, "sent a stream header whose {} is no domain: {error}", attr.as_str())
            }
            Self::HostUnknown(host) => write!(f, "asked for the domain {host}, which is not served here"),
            Self::HeaderChanged(attr, value) => {
                write!(f, "changed the {} of its stream to {value} half-way", attr.as_str())
            }
            Self::TooMuchBeforeAuth => f.write_str("sent more than allowed before it was authenticated"),
            Self::Pipelined => f.write_str("went on before its authentication was answered"),
            Self::EarlyStanza => f.write_str("sent a stanza before it was authenticated"),
            Self::Unauthenticated(what) => write!(f, "did not authenticate by certificate but sent {what}"),
            Self::Dialback(name) => write!(f, "sent {name} without the domains it has to name"),
            Self::SecondStartTls => f.write_str("asked for TLS a second time"),
            Self::UnknownElement(name) => write!(f, "sent {name}, which has no place in this stream"),
            Self::Addressing(error) => write!(f, "sent {error}"),
            Self::StanzaTo(domain) => write!(f, "sent a stanza to {domain}, which this stream is not for"),
            Self::StanzaFrom(domain) => {
                write!(f, "sent a stanza from {domain}, which it did not prove to be")
            }
        }
    }
}

/// The name of an element with its namespace, for evidence.
pub(super) fn element_name(element: &crate::xml::Element) -> PeerText {
    let mut name = String::with_capacity(element.name().len() + element.ns().len() + 3);
    // Writing to a String does not fail.
    let _ = write!(name, "{} ({})", element.name(), element.ns());
    PeerText::new(&name)
}
