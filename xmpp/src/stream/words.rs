//! The words of an [`Evidence`]: who, what was seen, what it means, what to do.

mod dialback;

use std::fmt::{self, Display, Formatter, Write};

use super::evidence::{
    Cause, DialbackRefusal, Direction, Evidence, Fault, NoStartTlsAnswer, Note, PeerText, Refusal, Retry,
    Step, Waiting,
};
use super::identity::{ChainStatus, PresentedName};
use super::sasl::SaslCondition;
use crate::conditions::StreamCondition;

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
            Some(Retry::WithoutExternal | Retry::WithoutUnansweredExternal) => {
                f.write_str("; tried again by dialback, as the entry allows")
            }
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
            (Cause::SaslFailed { condition, .. }, Note::SaslRefused { condition: noted, identity: None }) => {
                condition == noted
            }
            _ => false,
        }
    }

    fn who(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.remote {
            None => f.write_str("a peer that did not say who it is: "),
            // Not proved yet: anybody can put a name into a header.
            Some(remote) if self.direction == Direction::Inbound && self.step < Step::FinalHeader => {
                write!(f, "a peer calling itself {}: ", remote.in_full())
            }
            Some(remote) => write!(f, "partner {}: ", remote.in_full()),
        }
    }

    /// What it may mean that a peer leaves without a word while it has to judge our certificate.
    fn over_external(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.direction, self.step) {
            (Direction::Outbound, Step::Authentication) => f.write_str(
                "; it offered to accept our certificate (SASL EXTERNAL) and left when we used it: check that they trust its \
                 chain, that it names our domain, and that they take it from a client",
            ),
            _ => Ok(()),
        }
    }

    fn what(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::PeerClosed if self.step == Step::Established => f.write_str("closed the stream"),
            Cause::PeerClosed => {
                write!(f, "closed the stream without a reason while we waited for {}", self.step)?;
                self.over_external(f)
            }
            Cause::WeClosed(None) => f.write_str("we closed the stream"),
            Cause::WeClosed(Some(condition)) => write!(f, "we closed the stream with {condition}"),
            Cause::Disconnected(why) => {
                f.write_str("the connection broke")?;
                if self.step != Step::Established {
                    write!(f, " while we waited for {}", self.step)?;
                }
                suffix(f, ": ", why.as_ref())?;
                self.over_external(f)
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
                suffix(f, ", saying ", text.as_ref())?;
                match (condition, self.direction) {
                    (SaslCondition::NotAuthorized, Direction::Outbound) => f.write_str(
                        "; check that they trust its chain, that it names our domain, and that they take it from a client (some \
                         servers do not if it is for servers only, which is what public authorities issue); if they cannot, \
                         set sasl to \"optional\", with dialback on",
                    ),
                    _ => Ok(()),
                }
            }
            Cause::UnknownFeature(name) => write!(f, "demands the stream feature {name}, which is not supported"),
            _ => dialback::cause(f, &self.cause, self.direction),
        }
    }
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

fn suffix(f: &mut Formatter<'_>, before: &str, text: Option<&impl Display>) -> fmt::Result {
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
            Self::Disabled => "this partner is switched off; refused; enable its entry to let it in",
            Self::TooManyConnections => {
                "this partner has as many connections as its entry allows; refused; raise connection_limit if it needs more"
            }
        })
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
            Self::Management(misuse) => write!(f, "misused stream management: {misuse}"),
            Self::AnswersUnread => {
                f.write_str("asked one question after the other and did not read our answers")
            }
            Self::TooMuchUnread => f.write_str(
                "sent more than is kept while it was not known whether another domain may come in",
            ),
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
