//! Request methods.

use std::fmt;

use crate::lex;

/// A request method. Names are case-sensitive (RFC 3261 §7.1): `Invite` is an extension method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'a> {
    /// RFC 3261 §13.
    Invite,
    /// RFC 3261 §13.2.2.4.
    Ack,
    /// RFC 3261 §15.
    Bye,
    /// RFC 3261 §9.
    Cancel,
    /// RFC 3261 §11.
    Options,
    /// RFC 3261 §10.
    Register,
    /// RFC 3428.
    Message,
    /// RFC 6665.
    Subscribe,
    /// RFC 6665.
    Notify,
    /// Microsoft's NOTIFY that wants no answer.
    Benotify,
    /// RFC 6086.
    Info,
    /// RFC 3311.
    Update,
    /// RFC 3515.
    Refer,
    /// RFC 3903.
    Publish,
    /// RFC 3262.
    Prack,
    /// Microsoft.
    Service,
    /// Microsoft: hop-by-hop compression.
    Negotiate,
    /// Any other token.
    Extension(&'a str),
}

impl<'a> Method<'a> {
    /// The method with this exact name. No check that it is a token: see [`Method::is_token`].
    pub fn new(name: &'a str) -> Self {
        match name {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "OPTIONS" => Self::Options,
            "REGISTER" => Self::Register,
            "MESSAGE" => Self::Message,
            "SUBSCRIBE" => Self::Subscribe,
            "NOTIFY" => Self::Notify,
            "BENOTIFY" => Self::Benotify,
            "INFO" => Self::Info,
            "UPDATE" => Self::Update,
            "REFER" => Self::Refer,
            "PUBLISH" => Self::Publish,
            "PRACK" => Self::Prack,
            "SERVICE" => Self::Service,
            "NEGOTIATE" => Self::Negotiate,
            other => Self::Extension(other),
        }
    }

    /// The name on the wire.
    pub fn as_str(&self) -> &'a str {
        match *self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Message => "MESSAGE",
            Self::Subscribe => "SUBSCRIBE",
            Self::Notify => "NOTIFY",
            Self::Benotify => "BENOTIFY",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Refer => "REFER",
            Self::Publish => "PUBLISH",
            Self::Prack => "PRACK",
            Self::Service => "SERVICE",
            Self::Negotiate => "NEGOTIATE",
            Self::Extension(name) => name,
        }
    }

    /// Whether the name is one the grammar allows. Always true for the named methods.
    pub fn is_token(&self) -> bool {
        match *self {
            Self::Extension(name) => lex::is_token(name),
            _ => true,
        }
    }

    /// Whether we know what the method means; the others are answered 501 rather than 405 (SIP-24).
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Extension(_))
    }

    /// The same method in rsip's vocabulary, which has no extension and no Microsoft methods.
    pub fn to_rsip(&self) -> Option<rsip::Method> {
        Some(match self {
            Self::Invite => rsip::Method::Invite,
            Self::Ack => rsip::Method::Ack,
            Self::Bye => rsip::Method::Bye,
            Self::Cancel => rsip::Method::Cancel,
            Self::Options => rsip::Method::Options,
            Self::Register => rsip::Method::Register,
            Self::Message => rsip::Method::Message,
            Self::Subscribe => rsip::Method::Subscribe,
            Self::Notify => rsip::Method::Notify,
            Self::Info => rsip::Method::Info,
            Self::Update => rsip::Method::Update,
            Self::Refer => rsip::Method::Refer,
            Self::Publish => rsip::Method::Publish,
            Self::Prack => rsip::Method::PRack,
            Self::Benotify | Self::Service | Self::Negotiate | Self::Extension(_) => return None,
        })
    }
}

impl From<rsip::Method> for Method<'static> {
    fn from(method: rsip::Method) -> Self {
        match method {
            rsip::Method::Invite => Self::Invite,
            rsip::Method::Ack => Self::Ack,
            rsip::Method::Bye => Self::Bye,
            rsip::Method::Cancel => Self::Cancel,
            rsip::Method::Options => Self::Options,
            rsip::Method::Register => Self::Register,
            rsip::Method::Message => Self::Message,
            rsip::Method::Subscribe => Self::Subscribe,
            rsip::Method::Notify => Self::Notify,
            rsip::Method::Info => Self::Info,
            rsip::Method::Update => Self::Update,
            rsip::Method::Refer => Self::Refer,
            rsip::Method::Publish => Self::Publish,
            rsip::Method::PRack => Self::Prack,
        }
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
