//! `ms-diagnostics`: why a request was refused, in the form front ends log and show (MS-OCER §2.2.1).
//!
//! A refusal without one reaches the administrator as 1034, "the previous hop reported nothing".

use std::fmt::Write;

use nuncio_sip::{HeaderName, Message};

use crate::judge::Refusal;
use crate::message::from_sip::MessageRefusal;
use crate::text;

/// Which of the two fields a reason goes into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// `ms-diagnostics`, which names who refused.
    #[default]
    Inward,
    /// `ms-diagnostics-public`, without a source: it crosses the border of an enterprise (MS-OCER §2.2.1.2). An edge that
    /// gets none writes 1034, "the previous hop reported nothing".
    Public,
}

impl Form {
    /// Name of the header field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Inward => "ms-diagnostics",
            Self::Public => "ms-diagnostics-public",
        }
    }

    /// A field of ours in this form: `said` is the value that was written for our own side ([`Form::Inward`]).
    pub fn of(self, said: &str) -> (&'static str, String) {
        let value = match (self, said.split_once(";source=\"")) {
            (Self::Public, Some((id, rest))) => {
                let (_, rest) = rest.split_once('"').unwrap_or_default();
                [id, rest].concat()
            }
            _ => said.to_owned(),
        };
        (self.field(), value)
    }

    /// What a connection adds to refusals of its own: the [`Diagnostic::of_status`].
    pub fn explains(self) -> fn(&str, u16, &str) -> (&'static str, String) {
        match self {
            Self::Inward => {
                |source, status, why| Diagnostic::of_status(status).field(Self::Inward, source, why)
            }
            Self::Public => {
                |source, status, why| Diagnostic::of_status(status).field(Self::Public, source, why)
            }
        }
    }
}

/// Longest reason written, in octets.
const REASON_CAP: usize = 256;

/// A refusal as the SIP side identifies it. Numbers below 29000 are those front ends know; 29000–29099 are ours, outside
/// every range that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Diagnostic {
    /// The sender may not talk to federated partners.
    SenderNotAuthorised,
    /// The recipient does not exist, says his server.
    NoSuchUser,
    /// The recipient's domain is no partner, or one that is disabled or blocked.
    NoRoute,
    /// The partner cannot be reached now, or is too slow.
    NoRouteNow,
    /// The partner's domain has no `_xmpp-server` record and no address.
    NoDnsRecord,
    /// The certificate that the partner shows does not prove his domain.
    Certificate,
    /// A kind of request that does not cross.
    RequestKind,
    /// An address that cannot be one on the other side.
    Address,
    /// A body that cannot be passed on.
    Body,
    /// Max-Forwards ran out.
    TooManyHops,
    /// A header field or a document that cannot be read, or a number out of its turn.
    Malformed,
    /// The sender's domain is not served by the gateway, or the peer may not speak for it.
    ForeignSender,
    /// A limit of the gateway.
    Limit,
    /// The other side refused.
    RefusedByPartner,
    /// The gateway is shutting down.
    Shutdown,
    /// The gateway failed.
    Internal,
    /// The contact said no, or takes back that he said yes.
    Declined,
    /// An administrator ended it; nothing forbids a new one.
    ClosedByHand,
}

impl Diagnostic {
    /// The number.
    pub const fn id(self) -> u32 {
        match self {
            Self::SenderNotAuthorised => 1002,
            Self::NoSuchUser => 1003,
            Self::NoRoute => 1005,
            Self::NoRouteNow => 1007,
            Self::NoDnsRecord => 1008,
            Self::Certificate => 1010,
            Self::RequestKind => 1027,
            Self::Address => 29001,
            Self::Body => 29002,
            Self::TooManyHops => 29003,
            Self::Malformed => 29004,
            Self::ForeignSender => 29005,
            Self::Limit => 29006,
            Self::RefusedByPartner => 29007,
            Self::Shutdown => 29008,
            Self::Internal => 29009,
            Self::Declined => 29010,
            Self::ClosedByHand => 29011,
        }
    }

    /// That of an answer which the subscriptions, or the connection, have chosen by themselves.
    pub fn of_status(status: u16) -> Self {
        match status {
            406 | 415 => Self::Body,
            413 | 422 | 423 | 486 | 513 => Self::Limit,
            403 | 405 | 481 | 482 | 488 | 489 | 501 => Self::RequestKind,
            483 => Self::TooManyHops,
            408 | 503 => Self::NoRouteNow,
            _ => Self::Malformed,
        }
    }

    /// The field. `source` is our host name, `reason` a sentence for an administrator; both are made safe here.
    pub fn field(self, form: Form, source: &str, reason: &str) -> (&'static str, String) {
        let mut value = self.id().to_string();
        if form == Form::Inward {
            value.push_str(";source=");
            quote(source, &mut value);
        }
        value.push_str(";reason=");
        quote(reason, &mut value);
        (form.field(), value)
    }
}

impl From<&MessageRefusal> for Diagnostic {
    fn from(refusal: &MessageRefusal) -> Self {
        match refusal {
            MessageRefusal::RequestUri(_) | MessageRefusal::Recipient(_) | MessageRefusal::Sender(_) => {
                Self::Address
            }
            MessageRefusal::Header(_) => Self::Malformed,
            MessageRefusal::ForeignSender => Self::ForeignSender,
            MessageRefusal::TooManyHops => Self::TooManyHops,
            MessageRefusal::Body(_) => Self::Body,
        }
    }
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnlistedDomain | Refusal::PartnerDisabled | Refusal::DomainBlocked => Self::NoRoute,
            Refusal::DomainNotServed => Self::ForeignSender,
            Refusal::FederationOff
            | Refusal::UserDenied
            | Refusal::UserNotAllowed
            | Refusal::ContactBlocked
            | Refusal::SipUserFirst => Self::SenderNotAuthorised,
        }
    }
}

/// What a response of a front end says of its reason, as it stands there; it is text of somebody else's.
pub fn said_by(response: &Message) -> Option<&str> {
    [HeaderName::MsDiagnostics, HeaderName::MsDiagnosticsPublic]
        .into_iter()
        .find_map(|name| response.headers(name).next())
}

/// A refusal by rule in words, for a SIP user's request to somebody of `remote_domain`.
pub fn by_rule(refusal: Refusal, remote_domain: &str) -> String {
    format!("{remote_domain}: {refusal} ({})", refusal.name())
}

fn quote(content: &str, out: &mut String) {
    out.push('"');
    for character in text::one_line(content, REASON_CAP).chars() {
        match character {
            '"' | '\\' => {
                let _ = write!(out, "\\{character}");
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_has_the_form_front_ends_read() {
        let said =
            |form| Diagnostic::NoRoute.field(form, "edge.contoso.com", "the domain is in no partner entry");
        let value = "1005;source=\"edge.contoso.com\";reason=\"the domain is in no partner entry\"";
        assert_eq!(said(Form::Inward), ("ms-diagnostics", value.to_owned()));
        assert_eq!(Form::Inward.of(value), said(Form::Inward));
        assert_eq!(Form::Public.of(value), said(Form::Public));
        let value = "1005;reason=\"the domain is in no partner entry\"";
        assert_eq!(said(Form::Public), ("ms-diagnostics-public", value.to_owned()));
    }

    #[test]
    fn sec_30_nothing_breaks_out_of_the_quotes() {
        let (_, value) =
            Diagnostic::RefusedByPartner.field(Form::Inward, "x", "a\"b\\c\r\nRoute: <sip:evil>");
        assert_eq!(value, "29007;source=\"x\";reason=\"a\\\"b\\\\c Route: <sip:evil>\"");
        assert!(Diagnostic::Limit.field(Form::Inward, "x", &"\"".repeat(9999)).1.len() < 3 * REASON_CAP);
    }
}
