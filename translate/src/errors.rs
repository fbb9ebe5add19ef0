//! Errors across the two protocols: RFC 7247 §7 with its notes, in both directions.
//!
//! XMPP conditions become SIP answers by the rows EXS-01…EXS-23 ([`to_sip`]), SIP answers become XMPP conditions by the
//! rows ESX-01…ESX-48 ([`to_xmpp`]). The tables, and the reason of every choice they leave open, stand in
//! `docs/mapping.md`.

use std::borrow::Cow;

use nuncio_sip::StatusCode;
use nuncio_xmpp::{Condition, ErrorType};

use crate::text::{self, REASON_CAP};

/// What an XMPP error is about, read off the address it was sent to (RFC 7247 §7.1 notes 1 and 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// One endpoint: the request went to a full JID.
    FullJid,
    /// The user with all his endpoints, or a domain.
    BareJid,
}

/// The SIP request that is to be answered: some codes are not for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// INVITE.
    Invite,
    /// Any other request: 408 must not be sent (RFC 4320 §4.1, SIP-27), 504 stands for it.
    NonInvite,
}

/// An error of the XMPP side, received or found by ourselves.
#[derive(Clone, Copy, Debug)]
pub struct XmppTrouble<'a> {
    /// The defined condition; an unknown one is `undefined-condition` (ERR-05).
    pub condition: Condition,
    /// The type that came with it; it decides `unexpected-request`.
    pub kind: ErrorType,
    /// What it is about.
    pub about: About,
    /// The SIP URI of the new address that `<gone/>` or `<redirect/>` names, already translated.
    pub new_address: Option<&'a str>,
    /// The text that came with it; sanitised here (ARC-08).
    pub text: Option<&'a str>,
    /// For `remote-server-not-found`: the domain does not exist at all, rather than cannot be resolved now.
    pub no_such_domain: bool,
}

impl<'a> XmppTrouble<'a> {
    /// An error that consists of its condition only.
    pub fn new(condition: Condition, about: About) -> Self {
        Self {
            condition,
            kind: condition.default_type(),
            about,
            new_address: None,
            text: None,
            no_such_domain: false,
        }
    }

    /// With the text of the other side.
    #[must_use]
    pub fn with_text(self, text: Option<&'a str>) -> Self {
        Self { text, ..self }
    }
}

/// A final SIP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipFailure {
    /// 301…699, never one that needs what we cannot give: 401 and 407 would need a challenge, 503 would take the whole
    /// gateway out of rotation.
    pub status: u16,
    /// One line, ready for the status line.
    pub reason: Cow<'static, str>,
    /// The URI for `Contact` of a 301 or 302.
    pub contact: Option<String>,
}

impl SipFailure {
    /// A failure with the registered phrase of its code.
    pub fn plain(status: u16) -> Self {
        Self { status, reason: Cow::Borrowed(StatusCode(status).phrase()), contact: None }
    }

    /// True if the answer must carry `Allow` (RFC 3261 §21.4.6); the list is the caller's.
    pub fn needs_allow(&self) -> bool {
        self.status == 405
    }
}

/// How a request of ours ended on the SIP side, if not well.
#[derive(Clone, Copy, Debug)]
pub enum SipTrouble<'a> {
    /// A final answer of 300 or more.
    Answered {
        /// The code as received.
        status: u16,
        /// Its phrase; sanitised here.
        reason: &'a str,
        /// For 301 and 302: the IRI of the new address, already translated (`xmpp:juliet@example.com`).
        new_address: Option<&'a str>,
    },
    /// No final answer in time: treated as 408 (ERR-07). The request may have been processed.
    Timeout,
    /// Connection refused or lost: treated as 503 (ERR-07).
    Transport {
        /// Bytes of the request had been written, so it may have been processed.
        written: bool,
    },
}

/// An XMPP stanza error to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmppFailure {
    /// `type` attribute.
    pub kind: ErrorType,
    /// The defined condition.
    pub condition: Condition,
    /// The IRI inside `<gone/>` or `<redirect/>`.
    pub new_address: Option<String>,
    /// The `<text/>`, English, one line.
    pub text: Option<Cow<'static, str>>,
}

/// The one answer for everything a remote user must not be able to tell apart: unknown user, blocked, refused by trust
/// or policy, not authorised (DEC-03, RFC 6120 §13.11).
pub const UNIFORM_REFUSAL: XmppFailure = XmppFailure {
    kind: ErrorType::Cancel,
    condition: Condition::ServiceUnavailable,
    new_address: None,
    text: None,
};

impl XmppFailure {
    /// A condition with its usual type and a text of ours.
    pub fn new(condition: Condition, text: &'static str) -> Self {
        Self { kind: condition.default_type(), condition, new_address: None, text: Some(Cow::Borrowed(text)) }
    }
}

/// Translates an XMPP error into the answer to a SIP request (EXS-01…EXS-23).
pub fn to_sip(trouble: &XmppTrouble<'_>, answering: Answering) -> SipFailure {
    let status = sip_status(trouble, answering);
    let reason = trouble.text.map(|text| text::one_line(text, REASON_CAP)).filter(|text| !text.is_empty());
    SipFailure {
        status,
        reason: reason
            .map_or_else(|| Cow::Borrowed(StatusCode(status).phrase()), |text| Cow::Owned(text.into_owned())),
        contact: trouble.new_address.filter(|_| matches!(status, 301 | 302)).map(str::to_owned),
    }
}

/// Translates the end of a SIP request into a stanza error (ESX-01…ESX-48, ERR-06, ERR-07).
///
/// `authorised_watcher`: the XMPP user may see the SIP user's presence anyway. Everybody else gets [`UNIFORM_REFUSAL`]
/// for whatever would tell him about the SIP user, and no word of the SIP side's own (DEC-03). `None` for 1xx and 2xx,
/// which are no errors.
pub fn to_xmpp(trouble: &SipTrouble<'_>, authorised_watcher: bool) -> Option<XmppFailure> {
    let (status, text, new_address) = match *trouble {
        SipTrouble::Answered { status: 0..300, .. } => return None,
        SipTrouble::Answered { status, reason, new_address } => {
            let reason = if authorised_watcher { reason } else { "" };
            (status, answer_text(status, reason), new_address)
        }
        SipTrouble::Timeout => (408, MAY_HAVE_ARRIVED.into(), None),
        SipTrouble::Transport { written: true } => (503, MAY_HAVE_ARRIVED.into(), None),
        SipTrouble::Transport { written: false } => {
            (503, "The recipient's server cannot be reached.".into(), None)
        }
    };
    let condition = xmpp_condition(status, new_address.is_some());
    if discloses(condition) && !authorised_watcher {
        return Some(UNIFORM_REFUSAL);
    }
    let carries_address = matches!((condition, status), (Condition::Gone, 301) | (Condition::Redirect, _));
    Some(XmppFailure {
        kind: condition.default_type(),
        condition,
        new_address: new_address.filter(|_| carries_address).map(str::to_owned),
        text: Some(text),
    })
}

const MAY_HAVE_ARRIVED: &str =
    "The recipient's server did not answer. The message may or may not have arrived.";

fn sip_status(trouble: &XmppTrouble<'_>, answering: Answering) -> u16 {
    let by_scope = |full, bare| if trouble.about == About::FullJid { full } else { bare };
    let timeout = if answering == Answering::Invite { 408 } else { 504 };
    match trouble.condition {
        Condition::BadRequest
        | Condition::Conflict
        | Condition::JidMalformed
        | Condition::SubscriptionRequired
        | Condition::Undefined => 400,
        Condition::FeatureNotImplemented => by_scope(405, 501),
        Condition::Forbidden => by_scope(403, 603),
        Condition::Gone if trouble.new_address.is_some() => 301,
        Condition::Gone => 410,
        Condition::InternalServerError | Condition::ResourceConstraint => 500,
        Condition::ItemNotFound => by_scope(404, 604),
        Condition::NotAcceptable => by_scope(406, 606),
        // EXS-11, EXS-15, EXS-23: 401 and 407 must carry a challenge, and we have no realm to offer for the XMPP side.
        Condition::NotAllowed
        | Condition::NotAuthorized
        | Condition::PolicyViolation
        | Condition::RegistrationRequired => 403,
        Condition::RecipientUnavailable => by_scope(480, 600),
        Condition::Redirect if trouble.new_address.is_some() => 302,
        // A 302 without Contact leaves the caller with nothing to do; temporary it is all the same.
        Condition::Redirect => 480,
        Condition::RemoteServerNotFound if trouble.no_such_domain => 404,
        Condition::RemoteServerNotFound | Condition::RemoteServerTimeout => timeout,
        // EXS-19: never 503. 403 rather than 405: it is about the user, and 405 would have to say what is allowed instead.
        Condition::ServiceUnavailable => 403,
        Condition::UnexpectedRequest if trouble.kind == ErrorType::Wait => 491,
        Condition::UnexpectedRequest => 400,
    }
}

fn xmpp_condition(status: u16, new_address: bool) -> Condition {
    match status {
        301 if new_address => Condition::Gone,
        // `<gone/>` for 301 must name the address (ESX-02), `<redirect/>` is nothing without one.
        300..=379 | 381..=399 if new_address => Condition::Redirect,
        300..=379 | 381..=399 => Condition::RecipientUnavailable,
        380 | 406 | 415 | 416 | 421 | 482 | 483 | 488 | 505 | 606 => Condition::NotAcceptable,
        401 => Condition::NotAuthorized,
        403 => Condition::Forbidden,
        404 | 481 | 484 | 485 | 604 => Condition::ItemNotFound,
        405 | 420 | 439 | 501 => Condition::FeatureNotImplemented,
        407 => Condition::RegistrationRequired,
        408 | 504 => Condition::RemoteServerTimeout,
        410 => Condition::Gone,
        413 | 414 | 440 | 489 | 513 => Condition::PolicyViolation,
        423 => Condition::ResourceConstraint,
        430 | 480 | 486 | 487 => Condition::RecipientUnavailable,
        491 => Condition::UnexpectedRequest,
        502 => Condition::RemoteServerNotFound,
        // ERR-06: the class decides about all others.
        400..=499 => Condition::BadRequest,
        500..=599 => Condition::InternalServerError,
        _ => Condition::RecipientUnavailable,
    }
}

/// Conditions that say something about the user rather than about the message or the way (RFC 6120 §13.11).
fn discloses(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Conflict
            | Condition::Forbidden
            | Condition::Gone
            | Condition::ItemNotFound
            | Condition::NotAllowed
            | Condition::NotAuthorized
            | Condition::RecipientUnavailable
            | Condition::Redirect
            | Condition::RegistrationRequired
            | Condition::SubscriptionRequired
    )
}

fn answer_text(status: u16, reason: &str) -> Cow<'static, str> {
    match text::one_line(reason, REASON_CAP) {
        reason if reason.is_empty() => Cow::Borrowed(StatusCode(status).phrase()),
        reason => Cow::Owned(reason.into_owned()),
    }
}
