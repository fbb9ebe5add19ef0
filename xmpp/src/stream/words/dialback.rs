//! The words of dialback, and of what a stream passed on its way.

use std::fmt::{self, Display, Formatter};

use super::{list, printable, suffix};
use crate::dialback::{DialbackCondition, DialbackError};
use crate::stream::PairRefusal;
use crate::stream::evidence::{Cause, DialbackRefusal, Direction, Note};
use crate::stream::identity::ChainStatus;
use crate::stream::{Established, Method};

/// The causes that have to do with what the entry leaves besides certificates.
pub(super) fn cause(f: &mut Formatter<'_>, cause: &Cause, direction: Direction) -> fmt::Result {
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
        (Cause::DialbackError(error), _) => answered(f, error),
        (Cause::DialbackRefused(why), _) => write!(f, "tried server dialback: {why}"),
        (Cause::Downgrade, _) => f.write_str(
            "proved its domain by certificate before and now could only use dialback; refused; somebody may be posing \
             as this partner: if its administrator says, by other means, that they gave their certificate up, \
             run nuncio partner allow-dialback for the domain",
        ),
        _ => Ok(()),
    }
}

fn answered(f: &mut Formatter<'_>, error: &DialbackError) -> fmt::Result {
    write!(f, "answered our dialback request with {}", error.condition)?;
    suffix(f, ", saying ", error.text.as_ref())?;
    match dialback_advice(error.condition) {
        Some(advice) => write!(f, "; {advice}"),
        None => Ok(()),
    }
}

/// The end of a sentence that begins with the partner.
impl Display for PairRefusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("says that our dialback key is not valid"),
            Self::Error(error) => answered(f, error),
            Self::Timeout => f.write_str("did not answer our dialback key in time"),
        }
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

/// See [`Established::how`].
struct How<'a>(&'a Established);

impl Display for How<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Established { method, notes, .. } = self.0;
        write!(f, "{method}")?;
        for (index, note) in notes.iter().filter(|note| note.explains(*method)).enumerate() {
            f.write_str(match (index, method) {
                (0, Method::DialbackTcp) => ", TLS not used: ",
                (0, _) => ", EXTERNAL not used: ",
                _ => "; ",
            })?;
            write!(f, "{note}")?;
        }
        Ok(())
    }
}

impl Established {
    /// How the initiator proved itself and, where that was not the best that the entry allows, why: in words.
    pub fn how(&self) -> impl Display {
        How(self)
    }

    /// What is worth knowing about the way besides that.
    pub fn other_notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| !note.explains(self.method))
    }
}

impl Note {
    /// Whether it is a reason why the stream came to no better method than this one.
    const fn explains(&self, method: Method) -> bool {
        match method {
            Method::SaslExternal => false,
            Method::DialbackTls => matches!(
                self,
                Self::Certificate { .. }
                    | Self::NoExternal
                    | Self::ExternalNotTaken
                    | Self::ExternalRefusedBefore
                    | Self::ExternalUnansweredBefore
                    | Self::OtherDomain
                    | Self::SaslFailed { .. }
                    | Self::SaslRefused { .. }
            ),
            Method::DialbackTcp => matches!(self, Self::InClear | Self::TlsNotTaken),
        }
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
            Self::ExternalNotTaken => f.write_str(
                "its certificate is good and we offered to accept it (SASL EXTERNAL), but it chose dialback; ask them whether \
                 their server can do EXTERNAL",
            ),
            Self::ExternalRefusedBefore => {
                f.write_str("it offered EXTERNAL and refused our certificate on the connection before this one")
            }
            Self::ExternalUnansweredBefore => {
                f.write_str("it offered EXTERNAL and ended the connection before this one when we used it")
            }
            Self::OtherDomain => f.write_str(
                "its key is for another domain than that of its stream header, for which alone its certificate counts",
            ),
            Self::SaslFailed { condition, text } => {
                write!(f, "it refused our certificate with {condition}")?;
                suffix(f, ", saying ", text.as_ref())
            }
            Self::SaslRefused { condition, identity: Some(identity) } => {
                write!(f, "we refused its SASL EXTERNAL with {condition}: it wanted to be {identity}, which is not this stream's")
            }
            Self::SaslRefused { condition, identity: None } => {
                write!(f, "we refused its try at SASL with {condition}")
            }
            Self::InClear => f.write_str("it has no TLS"),
            Self::TlsNotTaken => f.write_str(
                "we offered STARTTLS, and it went on without; ask them to enable encryption for s2s",
            ),
            Self::NotInClear => f.write_str(
                "plain TCP is not tried in its place, since the partner offers TLS; set tls to \"not-supported\" if it \
                 cannot be repaired",
            ),
            Self::DialbackRefused(why) => write!(f, "it tried server dialback: {why}"),
            Self::KeyAnswered { valid: true } => f.write_str("it asked about a dialback key, which is ours"),
            Self::KeyAnswered { valid: false } => f.write_str(
                "it asked about a dialback key that is not ours; unless it made that up, somebody gave it the key in our name, \
                 or our servers do not share their dialback secret",
            ),
        }
    }
}
