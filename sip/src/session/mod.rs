//! Sessions of instant messages (RFC 7573 in SIP's session mode, as Lync does it), without IO, in both roles.
//!
//! A [`Session`] is one dialog that an INVITE began: messages go inside it as MESSAGE, typing as INFO, and BYE ends it.
//! It knows nothing of what the bodies say, of XMPP or of trust.
//!
//! ## Together with the caller
//!
//! Every input takes a [`Context`]. After each input drain [`Session::poll`]; then [`Session::deadline`] says when
//! [`Session::handle_timeout`] is due, early or late or twice is harmless.
//!
//! * [`SessionOutput::Send`] goes to [`HopGroup::push`](crate::hop::HopGroup::push) with its serial in the envelope, and
//!   the outcome comes back with that serial: [`Session::response`] or [`Session::failed`] (which a refused push is, too).
//!   ACKs need not be reported. Outcomes that do not matter any more are ignored.
//! * [`SessionOutput::Cancel`] goes to [`HopGroup::cancel`](crate::hop::HopGroup::cancel).
//! * [`SessionOutput::Repeat`] asks for [`Connection::repeat`](crate::connection::Connection::repeat) with the transaction
//!   of the last INVITE of this session that was answered with 2xx.
//! * [`Output::Ack`](crate::connection::Output::Ack) finds the session by its To tag, and
//!   [`Output::Early`](crate::connection::Output::Early) by its From tag: `Bound` and `Released` name them. A 2xx that
//!   finds none gets what [`decline`] says.
//!
//! Of an INVITE outside of any dialog, [`check_invite`] says what it asks for, or how it has to be refused; whether it is
//! welcome is up to the caller, who refuses with 403 or 480, or calls [`Session::accept`]. Until then it is the caller's,
//! who answers 487 if it is cancelled. Requests inside the dialog go to [`Session::request`].
//!
//! The first message that Lync embeds in an INVITE (`ms-text-format`) is never taken, and never said to be: the other side
//! sends it again as MESSAGE, so that it arrives once.

mod branches;
mod check;
mod config;
mod declined;
mod incoming;
mod offer;
mod outcome;
mod output;
#[cfg(test)]
mod tests;
mod timer;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compact_str::CompactString;
use smallvec::SmallVec;

pub use check::{Invited, check_invite, invite_cancelled, unknown_session};
pub use config::{Context, SessionConfig};
pub use declined::decline;
pub use incoming::Received;
pub use output::{InviteFailure, MessageOutcome, SessionEnd, SessionOutput, SessionReport};
pub use timer::{LEAST_INTERVAL, Refresher};

use crate::dialog::{Dialog, NoDialog, Unwritable};
use crate::event::Undelivered;
use crate::sdp::{AcceptTypes, Description, MEDIA_TYPE, Origin};
use crate::{Fields, HeaderName, Message, Method, UriError};
use branches::Branches;
use timer::Interval;

/// RFC 3261 §13.3.1.4: a 2xx is repeated after T1, then after twice as long each time …
const REPEAT_FIRST: Duration = Duration::from_millis(500);
/// … up to T2 …
const REPEAT_CAP: Duration = Duration::from_secs(4);
/// … until ACK, or for 64·T1.
pub const ACK_WITHIN: Duration = Duration::from_secs(32);
/// A request whose outcome nobody has told us by now is lost: hold time, Timer F and a reserve.
pub const OUTCOME_WITHIN: Duration = Duration::from_secs(120);
/// Requests inside the dialog that may be under way at once.
pub const MAX_UNDER_WAY: usize = 256;
/// Branches of one fork that are told BYE; further ones get nothing, and end by themselves for want of ACK.
pub const MAX_FORKS: usize = 32;

/// One session, from INVITE to BYE.
#[derive(Debug)]
pub struct Session {
    dialog: Dialog,
    role: Role,
    phase: Phase,
    outputs: VecDeque<SessionOutput>,
    under_way: SmallVec<[UnderWay; 2]>,
    serial: u32,
    conversation: Option<CompactString>,
    /// The media types the other side reads; empty: unknown.
    accepts: Box<str>,
    /// The other side takes UPDATE.
    takes_update: bool,
    /// Our description as it was sent last: a re-INVITE offers it again.
    description: Bytes,
    sdp: Origin,
    /// Tags of the other branches of a fork that have accepted, and were told BYE.
    forks: Vec<CompactString>,
    /// A 2xx of ours that has no ACK yet.
    unacknowledged: Option<Unacknowledged>,
    /// The first INVITE has its ACK.
    confirmed: bool,
    interval: Option<Interval>,
    /// When the next refresh, or the next try of one, is due.
    refresh_at: Option<Instant>,
    /// When the last message went in either direction.
    used: Instant,
    /// When it ends for want of messages.
    idle_at: Instant,
    /// What our BYE says beside, of why.
    parting: Fields,
}

/// An INVITE of ours.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// The XMPP user as SIP sees him.
    pub local_uri: &'a str,
    /// Whom he writes to.
    pub remote_uri: &'a str,
    /// `Ms-Conversation-ID`: a random one for each session, for a second one with the same is refused.
    pub conversation: Option<&'a str>,
    /// What the Call-ID is to begin with, without `@`: it stands before one.
    pub call_word: Option<&'a str>,
}

/// Who sent the first INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Caller,
    Callee,
}

#[derive(Debug)]
enum Phase {
    /// Our INVITE waits for its final response.
    Inviting(Inviting),
    /// Ours was cancelled, or nobody wants its outcome any more: whatever is accepted is ended at once.
    Abandoned,
    Live,
    /// BYE is on its way, in one dialog or several.
    Ending,
    /// The other side has said BYE, or has forgotten it: nothing more of it is taken. What of ours is under way still has
    /// its outcome.
    Left,
    Over,
}

#[derive(Debug)]
struct Inviting {
    /// As pushed.
    branch: String,
    cancel_at: Instant,
    /// It asks for an interval that a 422 has named.
    raised: bool,
    /// Who has said something in the session that it is to become.
    branches: Branches,
}

/// A request of ours on its way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    serial: u32,
    purpose: Purpose,
    /// Without an outcome by then it is lost.
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Invite,
    /// MESSAGE or INFO of the caller.
    Content {
        is_message: bool,
    },
    /// A refresh by UPDATE, …
    Update,
    /// … or by INVITE with this number, whose 2xx has to be acknowledged.
    Reinvite {
        number: u32,
    },
    Bye,
}

#[derive(Debug)]
struct Unacknowledged {
    /// CSeq of the INVITE.
    number: u32,
    repeat_at: Instant,
    wait: Duration,
    until: Instant,
    /// It held an offer: the ACK has to hold the answer.
    offered: bool,
}

impl Session {
    /// Invites. A report `Established` or `Failed` follows.
    ///
    /// # Errors
    /// [`UriError`]: one of the two is no SIP URI.
    pub fn invite(invitation: &Invitation<'_>, context: &mut Context<'_>) -> Result<Self, UriError> {
        let mut dialog = Dialog::outgoing(invitation.local_uri, invitation.remote_uri)?;
        dialog.begin_with(invitation.call_word, context.tokens);
        let mut session = Self::with(dialog, Role::Caller, context);
        session.conversation = invitation.conversation.map(CompactString::from);
        session.describe_offer(context);
        session.send_invite(None, context);
        Ok(session)
    }

    /// Accepts an INVITE that [`check_invite`] has passed. `local_tag` is the To tag its answer gets
    /// ([`Connection::to_tag`](crate::connection::Connection::to_tag)). The answer is repeated until ACK.
    ///
    /// # Errors
    /// The answer, if no dialog can be made.
    pub fn accept(
        request: &Message,
        invited: Invited,
        local_tag: &str,
        context: &mut Context<'_>,
    ) -> Result<(Self, crate::dialog::Answer), crate::dialog::Answer> {
        let dialog = Dialog::incoming(request, local_tag).map_err(NoDialog::answer)?;
        let mut session = Self::with(dialog, Role::Callee, context);
        let answer = session.accept_first(request, invited, context)?;
        Ok((session, answer))
    }

    fn with(dialog: Dialog, role: Role, context: &mut Context<'_>) -> Self {
        let bound = SessionOutput::Bound(dialog.local_tag().into());
        // RFC 4566 wants a number; half of 64 bits are safe in every reader of it.
        let id = u32::try_from(context.tokens.random() >> 33).unwrap_or_default();
        Self {
            dialog,
            role,
            phase: Phase::Live,
            outputs: VecDeque::from([bound]),
            under_way: SmallVec::new(),
            serial: 0,
            conversation: None,
            accepts: Box::default(),
            takes_update: false,
            description: Bytes::new(),
            sdp: Origin { id, version: 0, address: context.config.address },
            forks: Vec::new(),
            unacknowledged: None,
            confirmed: false,
            interval: None,
            refresh_at: None,
            used: context.now,
            idle_at: context.now + context.config.idle,
            parting: Fields::default(),
        }
    }

    /// Sends a MESSAGE in which something is said. `fields` stand behind those of the dialog. A report `Message` with this
    /// serial follows.
    ///
    /// # Errors
    /// [`NotReady`]: the session is not established, or too much is under way.
    pub fn message(
        &mut self,
        fields: &[(&str, &str)],
        body: (&str, &[u8]),
        context: &mut Context<'_>,
    ) -> Result<u32, NotReady> {
        let sent = self.content(Method::Message, fields, body, context);
        if sent.is_ok() {
            self.used(context);
        }
        sent
    }

    /// Sends a MESSAGE that is about messages: typing (RFC 3994), or what became of one (RFC 5438). It is no use of the
    /// session: nobody has said anything. The same report follows.
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn aside(
        &mut self,
        fields: &[(&str, &str)],
        body: (&str, &[u8]),
        context: &mut Context<'_>,
    ) -> Result<u32, NotReady> {
        self.content(Method::Message, fields, body, context)
    }

    /// Sends an INFO: typing. The same report follows.
    ///
    /// # Errors
    /// [`NotReady`].
    pub fn info(
        &mut self,
        fields: &[(&str, &str)],
        body: (&str, &[u8]),
        context: &mut Context<'_>,
    ) -> Result<u32, NotReady> {
        self.content(Method::Info, fields, body, context)
    }

    fn content(
        &mut self,
        method: Method<'_>,
        fields: &[(&str, &str)],
        body: (&str, &[u8]),
        context: &mut Context<'_>,
    ) -> Result<u32, NotReady> {
        if !self.is_established() || self.under_way.len() >= MAX_UNDER_WAY {
            return Err(NotReady);
        }
        let is_message = method == Method::Message;
        self.send(method, Purpose::Content { is_message }, fields, Some(body), context).ok_or(NotReady)
    }

    /// Ends it: BYE, or CANCEL while nobody has answered. A report `Ended`, or `Failed`, comes at once. An ACK that is
    /// still awaited is waited for first (RFC 3261 §15).
    pub fn end(&mut self, context: &mut Context<'_>) {
        self.end_saying(Fields::default(), context);
    }

    /// The same, with header fields on BYE or CANCEL that say why: `Reason` (RFC 3326) and whatever else the other side
    /// reads.
    pub fn end_saying(&mut self, fields: Fields, context: &mut Context<'_>) {
        match self.phase {
            Phase::Inviting(_) => {
                self.parting = fields;
                self.abandon(InviteFailure::Abandoned);
            }
            Phase::Live => {
                self.parting = fields;
                self.end_because(SessionEnd::Ours, context);
            }
            Phase::Abandoned | Phase::Ending | Phase::Left | Phase::Over => {}
        }
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(&mut self) -> Option<SessionOutput> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // Most sessions have nothing to say most of the time.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When [`Session::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let outcome = self.under_way.iter().map(|request| request.until).min();
        let phase = match &self.phase {
            Phase::Inviting(inviting) => Some(inviting.cancel_at),
            Phase::Live => {
                let idle = self.is_established().then_some(self.idle_at);
                let ends = self.interval.as_ref().map(Interval::ends_at);
                [idle, ends, self.refresh_at].into_iter().flatten().min()
            }
            Phase::Abandoned | Phase::Ending | Phase::Left | Phase::Over => None,
        };
        let ack = self.unacknowledged.as_ref().map(|answer| answer.repeat_at.min(answer.until));
        [outcome, phase, ack].into_iter().flatten().min()
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        while let Some(lost) = self.under_way.iter().find(|request| request.until <= now) {
            let serial = lost.serial;
            self.failed(serial, Undelivered::Lost, context);
        }
        self.repeat(context);
        match &self.phase {
            Phase::Inviting(inviting) if inviting.cancel_at <= now => self.abandon(InviteFailure::NoAnswer),
            Phase::Live if self.interval.as_ref().is_some_and(|interval| interval.ends_at() <= now) => {
                self.end_because(SessionEnd::NotRefreshed, context);
            }
            Phase::Live if self.is_established() && self.idle_at <= now => {
                self.end_because(SessionEnd::Idle, context);
            }
            Phase::Live if self.refresh_at.is_some_and(|at| at <= now) => self.refresh(context),
            _ => {}
        }
    }

    /// A 2xx without ACK: once more, or BYE (CH-11).
    fn repeat(&mut self, context: &mut Context<'_>) {
        let Some(answer) = &mut self.unacknowledged else { return };
        if answer.until <= context.now {
            self.unacknowledged = None;
            match self.phase {
                Phase::Live => self.end_because(SessionEnd::NoAck, context),
                // It was to be ended as soon as that is possible.
                Phase::Ending => self.send_bye(context),
                _ => {}
            }
        } else if answer.repeat_at <= context.now {
            answer.wait = (answer.wait * 2).min(REPEAT_CAP);
            answer.repeat_at = context.now + answer.wait;
            self.outputs.push_back(SessionOutput::Repeat);
        }
    }

    /// Messages can be sent.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Live) && self.confirmed
    }

    /// It has ended, or failed. Its last requests may still be on their way.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Abandoned | Phase::Ending | Phase::Left | Phase::Over)
    }

    /// We sent the first INVITE.
    pub fn is_ours(&self) -> bool {
        self.role == Role::Caller
    }

    /// The branch of our INVITE that waits for its answer.
    pub fn awaits(&self) -> Option<&str> {
        match &self.phase {
            Phase::Inviting(inviting) => Some(&inviting.branch),
            _ => None,
        }
    }

    /// There is nothing more to be done: it can be dropped.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The tag that names it.
    pub fn local_tag(&self) -> &str {
        self.dialog.local_tag()
    }

    /// What the thread of the conversation may follow (CH-07).
    pub fn call_id(&self) -> &str {
        self.dialog.call_id()
    }

    /// `Ms-Conversation-ID`.
    pub fn conversation(&self) -> Option<&str> {
        self.conversation.as_deref()
    }

    /// Whether the other side reads bodies of this type.
    pub fn accepts(&self, main: &str, sub: &str) -> bool {
        AcceptTypes(&self.accepts).contains(main, sub)
    }

    /// Whether the other side has named this type among those it reads, and not just left it open.
    pub fn names(&self, main: &str, sub: &str) -> bool {
        AcceptTypes(&self.accepts).names(main, sub)
    }

    /// When the last message went in either direction.
    pub fn last_used(&self) -> Instant {
        self.used
    }

    /// A message goes, or it begins. Of what comes in, only the caller knows whether it is one.
    pub fn used(&mut self, context: &Context<'_>) {
        self.used = context.now;
        self.idle_at = context.now + context.config.idle;
    }

    /// The first 2xx of ours has no ACK.
    fn awaits_first_ack(&self) -> bool {
        self.unacknowledged.is_some() && !self.confirmed
    }

    fn describe_offer(&mut self, context: &Context<'_>) {
        let accept_types = context.config.reads.join(" ");
        self.description = Description { origin: self.sdp, accept_types: &accept_types }.offer().into();
    }

    /// An INVITE outside of the dialog; `least` is what a 422 asked for.
    fn send_invite(&mut self, least: Option<u32>, context: &mut Context<'_>) {
        let config = context.config;
        let interval = least.map(|seconds| seconds.to_string());
        let conversation = self.conversation.clone();
        let mut fields: SmallVec<[(&str, &str); 8]> = SmallVec::new();
        fields.push((HeaderName::Allow.as_str(), config.allow));
        fields.push((HeaderName::Supported.as_str(), timer::OPTION));
        fields.extend(conversation.as_deref().map(|id| (HeaderName::MsConversationId.as_str(), id)));
        if let Some(interval) = &interval {
            fields.push((HeaderName::SessionExpires.as_str(), interval));
            fields.push((HeaderName::MinSe.as_str(), interval));
        }
        let body = (MEDIA_TYPE, self.description.clone());
        let sent = self.write(Method::Invite, Purpose::Invite, &fields, Some((body.0, &body.1)), context);
        match sent {
            Ok((_, branch)) => {
                self.phase = Phase::Inviting(Inviting {
                    branch,
                    cancel_at: context.now + config.answer_within,
                    raised: least.is_some(),
                    branches: Branches::default(),
                });
            }
            Err(_) => self.fail(InviteFailure::Unwritable),
        }
    }

    /// Nobody waits for an answer to our INVITE any more.
    fn abandon(&mut self, why: InviteFailure) {
        if let Phase::Inviting(inviting) = std::mem::replace(&mut self.phase, Phase::Abandoned) {
            let (branch, fields) = (inviting.branch, self.parting.clone());
            self.outputs.push_back(SessionOutput::Cancel { branch, fields });
            self.report(SessionReport::Failed(Box::new(why)));
        }
    }

    /// It never came about.
    fn fail(&mut self, why: InviteFailure) {
        self.report(SessionReport::Failed(Box::new(why)));
        self.release();
    }

    /// Ends an established session from our side.
    fn end_because(&mut self, why: SessionEnd, context: &mut Context<'_>) {
        self.report(SessionReport::Ended(why));
        self.phase = Phase::Ending;
        self.refresh_at = None;
        // The callee may not say BYE before ACK (RFC 3261 §15).
        if !self.awaits_first_ack() {
            self.send_bye(context);
        }
    }

    fn send_bye(&mut self, context: &mut Context<'_>) {
        self.unacknowledged = None;
        let parting = std::mem::take(&mut self.parting);
        let fields: SmallVec<[(&str, &str); 2]> =
            parting.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if self.send(Method::Bye, Purpose::Bye, &fields, None, context).is_none() {
            self.release();
        }
    }

    /// There is no dialog any more.
    fn release(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.phase = Phase::Over;
            self.unacknowledged = None;
            self.under_way.clear();
            self.outputs.push_back(SessionOutput::Released(self.dialog.local_tag().into()));
        }
    }

    /// Sends a request inside the dialog; `None`: it could not be written.
    fn send(
        &mut self,
        method: Method<'_>,
        purpose: Purpose,
        fields: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
        context: &mut Context<'_>,
    ) -> Option<u32> {
        self.write(method, purpose, fields, body, context).ok().map(|(serial, _)| serial)
    }

    fn write(
        &mut self,
        method: Method<'_>,
        purpose: Purpose,
        fields: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
        context: &mut Context<'_>,
    ) -> Result<(u32, String), Unwritable> {
        let origin = context.config.origin();
        let request = self.dialog.request(method, &origin, context.tokens, fields, body)?;
        let branch = request.branch().to_owned();
        let purpose = match purpose {
            Purpose::Reinvite { .. } => Purpose::Reinvite { number: self.dialog.last_number() },
            purpose => purpose,
        };
        self.serial = self.serial.wrapping_add(1);
        let within = match purpose {
            // It has a clock of its own, and CANCEL takes another 64·T1.
            Purpose::Invite => OUTCOME_WITHIN + context.config.answer_within,
            _ => OUTCOME_WITHIN,
        };
        self.under_way.push(UnderWay { serial: self.serial, purpose, until: context.now + within });
        self.outputs.push_back(SessionOutput::Send { serial: self.serial, request });
        Ok((self.serial, branch))
    }

    fn report(&mut self, report: SessionReport) {
        self.outputs.push_back(SessionOutput::Report(report));
    }
}

/// Nothing can be sent in this session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is not established, or too much waits in it")]
pub struct NotReady;
