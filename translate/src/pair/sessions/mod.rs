//! Sessions of instant messages between the two (RFC 7573; CH-01…CH-13): which one a message goes in, and what is said in
//! them beside messages.
//!
//! The contact's side knows of no sessions. His messages go in the one of their thread, else in the one used last, else the
//! pair invites the SIP user on his behalf, and they wait, in order, until that is accepted (CH-02). Where sessions are
//! refused as such, they go alone (CH-03). What the SIP user says in a session reaches the contact as chat, in its thread.

mod inputs;
mod news;
mod settled;
mod shown;
mod threads;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::event::Undelivered;
use nuncio_sip::session::{MessageOutcome, Session};

pub use inputs::{Forbidden, Inviting, Saying};
pub use settled::{Outcome, Settled};
pub use shown::{SessionState, SessionView};
use threads::Threads;
pub use threads::{CONVERSATION_LASTS, MOST_CONVERSATIONS};

use super::Talk;
use super::output::{Asked, Half, Judged, Output, Request, Sent, ToXmpp};
use super::{Context, Place};
use crate::judge::{Consent, Direction, Kind};
use crate::typing::{Signal, Standalone, ToContact, ToUser, iscomposing, keyboard};

/// Sessions that a pair may have at a time; one more ends the one that was used least recently. One that waits for its ACK
/// cannot be ended (RFC 3261 §15): where only such could make room, the next one is refused.
pub const MOST_SESSIONS: usize = 8;
/// The same with those that have ended and whose last requests are still on their way.
const MOST_HELD: usize = 2 * MOST_SESSIONS;

/// How the next message goes to the SIP user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a MESSAGE of its own.
    Pager,
    /// In the session of this number.
    Session(u32),
    /// The SIP user is to be invited first: [`Pair::invite`](super::Pair::invite).
    Invite,
}

/// All sessions of a pair.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: Vec<Conversation>,
    outputs: VecDeque<Output>,
    /// Until then messages go alone, for the SIP user's side has refused a session as such.
    by_pager_until: Option<Instant>,
    /// An invitation was lost with its connection, and none has come about since.
    lost: bool,
    /// What conversations were about whose sessions may be over.
    threads: Threads,
}

/// One session, and what it is for the contact.
#[derive(Debug)]
struct Conversation {
    /// No other one of the pair has it.
    number: u32,
    session: Session,
    /// The number of what we are to front ends in it.
    identity: usize,
    /// The front end that holds its dialog, by name; empty: any.
    front_end: CompactString,
    /// The INVITE of the SIP user that began it.
    asked: Option<Asked>,
    thread: CompactString,
    resource: Option<CompactString>,
    to_contact: ToContact,
    to_user: ToUser,
    /// The number that a message of the contact has in the session while it is under way.
    message: Option<u32>,
    /// It holds a place among the invitations under way ([`Place::Invitation`]).
    holds_place: bool,
    /// When it was begun, in milliseconds of Unix time.
    began_ms: u64,
    /// Messages that went in it so far, of each of the two.
    messages: Messages,
}

/// How many there were.
#[derive(Debug, Clone, Copy, Default)]
struct Messages {
    of_user: u32,
    of_contact: u32,
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.outputs.is_empty()
    }

    /// Messages wait for one that has been begun, and there is no other one to take them.
    pub(super) fn must_wait(&self) -> bool {
        !self.all.iter().any(|talk| talk.session.is_established()) && self.any_lives()
    }

    /// There is one that has not ended, established or not.
    fn any_lives(&self) -> bool {
        self.all.iter().any(|talk| !talk.session.has_ended())
    }

    /// One more has a place, perhaps in place of one that is established.
    fn have_room(&self) -> bool {
        let live = || self.all.iter().filter(|talk| !talk.session.has_ended());
        let makes_room = || live().any(|talk| talk.session.is_established());
        self.all.len() < MOST_HELD && (live().count() < MOST_SESSIONS || makes_room())
    }

    /// When something is due in any of them.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of = |talk: &Conversation| {
            [talk.session.deadline(), talk.to_contact.deadline(), talk.to_user.deadline()]
        };
        self.all.iter().flat_map(of).flatten().min()
    }

    pub(super) fn pop_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs = VecDeque::new();
        }
        output
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// How long what it knows of conversations may still be of use.
    pub(super) fn needed_for(&self, now: Instant) -> Option<Duration> {
        self.threads.needed_for(now)
    }

    /// What others hold for it.
    pub(super) fn rescue(self) -> Abandoned {
        let held = self.all.iter().filter(|talk| talk.holds_place);
        let mut abandoned = Abandoned {
            tags: self.all.iter().map(|talk| talk.session.local_tag().into()).collect(),
            places: held.map(|_| Place::Invitation).collect(),
            invitations: self.all.iter().filter_map(|talk| talk.session.awaits()).map(Into::into).collect(),
        };
        for output in self.outputs {
            match output {
                Output::Released(tag) => abandoned.tags.push(tag),
                Output::Cancel { branch, .. } => abandoned.invitations.push(branch),
                _ => {}
            }
        }
        abandoned
    }

    fn find(&mut self, tag: &str) -> Option<&mut Conversation> {
        self.all.iter_mut().find(|talk| talk.session.local_tag() == tag)
    }

    fn numbered(&mut self, number: u32) -> Option<&mut Conversation> {
        self.all.iter_mut().find(|talk| talk.number == number)
    }

    /// The session that a state belongs to: that of its thread; without one, that which was used last.
    fn meant(&self, thread: Option<&str>) -> Option<&Conversation> {
        let chosen = self.choose(thread)?;
        thread.is_none_or(|thread| chosen.thread == thread).then_some(chosen)
    }

    /// The session for a message of this thread.
    fn choose(&self, thread: Option<&str>) -> Option<&Conversation> {
        let established = || self.all.iter().filter(|talk| talk.session.is_established());
        let of_thread = established().filter(|talk| thread.is_some_and(|thread| talk.thread == thread));
        let last = |talk: &&Conversation| talk.session.last_used();
        of_thread.max_by_key(last).or_else(|| established().max_by_key(last))
    }
}

/// What is held outside of a pair for sessions that it has no more.
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    /// Local tags, also of sessions whose end nobody has heard of.
    pub(super) tags: Vec<CompactString>,
    pub(super) places: Vec<Place>,
    /// Branches of INVITEs that wait for their answer.
    pub(super) invitations: Vec<String>,
}

impl Conversation {
    fn new(number: u32, session: Session, identity: usize, thread: CompactString, began_ms: u64) -> Self {
        Self {
            number,
            session,
            identity,
            front_end: CompactString::default(),
            asked: None,
            thread,
            resource: None,
            to_contact: ToContact::default(),
            to_user: ToUser::default(),
            message: None,
            holds_place: false,
            began_ms,
            messages: Messages::default(),
        }
    }

    fn half(&self) -> Half {
        Half::Session(self.number)
    }

    fn holder(&self) -> Option<CompactString> {
        (!self.front_end.is_empty()).then(|| self.front_end.clone())
    }

    /// What is to be said of typing, in either direction; what it was judged by if something was put into the session.
    fn say_typing(
        &mut self,
        consent: &Consent,
        outputs: &mut VecDeque<Output>,
        context: &mut Context<'_>,
    ) -> Option<Judged> {
        while let Some(state) = self.to_contact.poll() {
            let Ok(permit) = context.judge(Direction::SipToXmpp, Kind::Message, consent) else { continue };
            let contact = context.key.contact();
            let to = self.resource.as_ref().map(|resource| [contact, "/", resource].concat());
            let id = context.tokens.token();
            let mut stanza = Vec::with_capacity(256);
            let said = Standalone {
                from: context.key.sip_user(),
                to: to.as_deref().unwrap_or(contact),
                id: &id,
                thread: Some(&self.thread),
                state,
            };
            said.write(&mut stanza);
            let judged = Some(Judged::new(permit, Kind::Message));
            outputs.push_back(Output::ToXmpp(ToXmpp { stanza, sent: Sent::Aside, judged }));
        }
        let mut leaves = None;
        while let Some(signal) = self.to_user.poll() {
            let Ok(permit) = context.judge(Direction::XmppToSip, Kind::Message, consent) else { continue };
            let mut document = Vec::new();
            let sent = match signal {
                Signal::Keyboard(typing) => {
                    keyboard::write(typing, &mut document);
                    let body = (keyboard::MEDIA_TYPE, &document[..]);
                    self.session.info(&[], body, &mut context.session(self.identity))
                }
                Signal::IsComposing(composing) => {
                    composing.write(&mut document);
                    let body = (iscomposing::MEDIA_TYPE, &document[..]);
                    self.session.aside(&[], body, &mut context.session(self.identity))
                }
            };
            // Too much is under way: he types again soon.
            if sent.is_ok() {
                leaves = Some(Judged::new(permit, Kind::Message));
            }
        }
        leaves
    }
}

impl<M> Talk<M> {
    /// Carries out what the sessions want; `judged` is what a message, an INFO or an INVITE goes under that was just made.
    fn pump(&mut self, judged: Option<Judged>, consent: &Consent, context: &mut Context<'_>) {
        let mut at = 0;
        while at < self.sessions.all.len() {
            let mut judged = judged;
            while let Some(talk) = self.sessions.all.get_mut(at) {
                if let Some(output) = talk.session.poll() {
                    self.carry_out(at, output, judged, context);
                    continue;
                }
                judged = talk.say_typing(consent, &mut self.sessions.outputs, context);
                if judged.is_none() {
                    break;
                }
            }
            let placed = self.sessions.all.get_mut(at).filter(|talk| talk.holds_place);
            if let Some(talk) =
                placed.filter(|talk| talk.session.is_established() || talk.session.has_ended())
            {
                talk.holds_place = false;
                context.budget.give_back(context.key, Place::Invitation);
            }
            if self.sessions.all.get(at).is_some_and(|talk| talk.session.is_over()) {
                // What went in it has had its outcome, unless not even BYE could be written.
                if self.sessions.all.swap_remove(at).message.is_some() {
                    self.message_settled(MessageOutcome::Undelivered(Undelivered::Lost), false, context);
                }
            } else {
                at += 1;
            }
        }
    }
}
