//! What sessions there are, for whoever administers the gateway; and the end of one by his word.

use std::time::Instant;

use compact_str::CompactString;
use nuncio_sip::Fields;

use super::super::{Context, Pair};
use super::Outcome;

/// One session of a pair, as it is at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The local tag of its dialog; no other session has it.
    pub tag: CompactString,
    pub call_id: String,
    /// The front end that holds its dialog, by name; `None`: any.
    pub front_end: Option<CompactString>,
    /// It was begun on the contact's behalf, and not by the SIP user.
    pub of_contact: bool,
    pub state: SessionState,
    /// When it was begun, in milliseconds of Unix time.
    pub began_ms: u64,
    /// When something was said in it last.
    pub last_used: Instant,
    /// Messages of the SIP user that went in it.
    pub from_user: u32,
    /// Messages of the contact.
    pub from_contact: u32,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The INVITE has no final answer yet, or that no ACK.
    Inviting,
    /// Messages go in it.
    Established,
    /// BYE or CANCEL is under way.
    Ending,
}

impl SessionState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inviting => "inviting",
            Self::Established => "established",
            Self::Ending => "ending",
        }
    }
}

impl<M> Pair<M> {
    /// All sessions that there are.
    pub fn session_views(&self) -> Vec<SessionView> {
        let all = self.talk.iter().flat_map(|talk| &talk.sessions.all);
        all.map(|talk| SessionView {
            tag: talk.session.local_tag().into(),
            call_id: talk.session.call_id().to_owned(),
            front_end: talk.holder(),
            of_contact: talk.session.is_ours(),
            state: match (talk.session.has_ended(), talk.session.is_established()) {
                (true, _) => SessionState::Ending,
                (false, true) => SessionState::Established,
                (false, false) => SessionState::Inviting,
            },
            began_ms: talk.began_ms,
            last_used: talk.session.last_used(),
            from_user: talk.messages.of_user,
            from_contact: talk.messages.of_contact,
        })
        .collect()
    }

    /// An administrator ends a session. `parting` makes the header fields that tell the other side why, under the identity of
    /// a number. What waited for it to be established has its outcome, unless there is another one to wait for: that the
    /// SIP user's side rings again at once is not what he means. False: there is none of this tag that has not ended.
    pub fn close_session(
        &mut self,
        tag: &str,
        parting: impl FnOnce(usize) -> Fields,
        context: &mut Context<'_>,
    ) -> bool {
        let (mut closed, mut awaited) = (false, false);
        self.with_session(tag, context, |talk, context| {
            if !talk.session.has_ended() {
                awaited = !talk.session.is_established();
                talk.session.end_saying(parting(talk.identity), &mut context.session(talk.identity));
                closed = true;
            }
        });
        if awaited && let Some(talk) = self.talk.as_mut().filter(|talk| !talk.sessions.any_lives()) {
            talk.nothing_leaves(&Outcome::CalledOff);
        }
        closed
    }
}
