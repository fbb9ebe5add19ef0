use std::time::{Duration, Instant};

use super::{ChatState, LONGEST, Typing};

/// What the contact of a conversation is told about the SIP user's typing (XEP-0085; IM-30, IM-34).
///
/// Standalone states are sent only to who has shown that he knows them, and never the same twice in a row. Until he has
/// answered, messages carry `<active/>`, which asks for it; an answer without a state is a no, until one comes with a state.
#[derive(Clone, Debug, Default)]
pub struct ToContact {
    knows: Option<bool>,
    /// The state he was told last.
    told: Option<ChatState>,
    /// The SIP user types, as far as is known, until then.
    typing_until: Option<Instant>,
    output: Option<ChatState>,
}

impl ToContact {
    /// The SIP user's side said something about typing; it counts for so long.
    pub fn indication(&mut self, typing: Typing, lasts: Duration, now: Instant) {
        self.typing_until = (typing == Typing::Active).then(|| now + lasts.min(LONGEST));
        self.tell();
    }

    /// The state that a message of the SIP user carries.
    pub fn carried(&self) -> Option<ChatState> {
        (self.knows != Some(false)).then_some(ChatState::Active)
    }

    /// A message of the SIP user is on its way to the contact with this state, and ends his typing. One that does not get
    /// there ends nothing: the contact would go on seeing him type, and nobody would tell him of the end.
    pub fn message(&mut self, carried: Option<ChatState>) {
        self.typing_until = None;
        self.output = None;
        self.told = carried;
    }

    /// The contact wrote: a state, a message, or both.
    pub fn contact_wrote(&mut self, state: Option<ChatState>, is_message: bool) {
        match state {
            Some(_) => self.knows = Some(true),
            None if is_message => self.knows = Some(false),
            None => {}
        }
        self.tell();
    }

    /// The conversation is over: the session was ended. He is told that the user is gone if he was told anything before
    /// (CH-05, CH-06); what comes later begins anew.
    pub fn ended(&mut self) {
        self.typing_until = None;
        let was_told = self.told.take().is_some();
        self.output = (self.knows == Some(true) && was_told).then_some(ChatState::Gone);
    }

    /// A standalone state to be sent.
    pub fn poll(&mut self) -> Option<ChatState> {
        self.output.take()
    }

    /// When [`ToContact::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.typing_until
    }

    /// Time has passed: nothing more was heard of the SIP user.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.typing_until.is_some_and(|until| until <= now) {
            self.typing_until = None;
            self.tell();
        }
    }

    fn tell(&mut self) {
        if self.knows != Some(true) {
            return;
        }
        let now = match (self.typing_until, self.told) {
            (Some(_), _) => ChatState::Composing,
            // Who was not told of any typing needs not be told of its end.
            (None, Some(ChatState::Composing)) => ChatState::Active,
            (None, _) => return,
        };
        if self.told != Some(now) {
            self.told = Some(now);
            self.output = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::typing::{COMPOSING_LASTS, KEYBOARD_LASTS};

    fn said(machine: &mut ToContact) -> Vec<ChatState> {
        std::iter::from_fn(|| machine.poll()).collect()
    }

    /// A message of the SIP user crosses.
    fn crosses(machine: &mut ToContact) -> Option<ChatState> {
        let state = machine.carried();
        machine.message(state);
        state
    }

    /// A conversation with somebody who knows chat states.
    fn in_conversation() -> ToContact {
        let mut machine = ToContact::default();
        assert_eq!(crosses(&mut machine), Some(ChatState::Active));
        machine.contact_wrote(Some(ChatState::Active), true);
        machine
    }

    #[test]
    fn im_34_nothing_stands_alone_before_the_contact_has_shown_that_he_knows_states() {
        let (mut machine, now) = (ToContact::default(), Instant::now());
        machine.indication(Typing::Active, KEYBOARD_LASTS, now);
        assert_eq!(said(&mut machine), []);
        assert_eq!(crosses(&mut machine), Some(ChatState::Active), "asks");
        machine.indication(Typing::Active, KEYBOARD_LASTS, now);
        assert_eq!(said(&mut machine), []);
        machine.contact_wrote(Some(ChatState::Composing), false);
        assert_eq!(said(&mut machine), [ChatState::Composing], "he still types");
    }

    #[test]
    fn im_34_an_answer_without_state_is_a_no_until_one_has_a_state() {
        let (mut machine, now) = (ToContact::default(), Instant::now());
        machine.contact_wrote(None, true);
        assert_eq!(crosses(&mut machine), None);
        machine.indication(Typing::Active, KEYBOARD_LASTS, now);
        machine.ended();
        assert_eq!(said(&mut machine), []);
        machine.contact_wrote(Some(ChatState::Active), true);
        assert_eq!(crosses(&mut machine), Some(ChatState::Active));
    }

    #[test]
    fn im_34_the_same_state_never_comes_twice_in_a_row() {
        let (mut machine, now) = (in_conversation(), Instant::now());
        let mut hear = |typing, second| {
            machine.indication(typing, KEYBOARD_LASTS, now + Duration::from_secs(second));
            machine.poll()
        };
        let typed: Vec<_> = (0..20).map(|number| hear(Typing::Active, 5 * number)).collect();
        assert_eq!((typed[0], typed.iter().flatten().count()), (Some(ChatState::Composing), 1));
        let stopped: Vec<_> = (100..103).map(|second| hear(Typing::Idle, second)).collect();
        assert_eq!(stopped, [Some(ChatState::Active), None, None]);
    }

    #[test]
    fn im_30_typing_ends_when_it_is_not_said_again() {
        let now = Instant::now();
        for lasts in [KEYBOARD_LASTS, COMPOSING_LASTS] {
            let mut machine = in_conversation();
            machine.indication(Typing::Active, lasts, now);
            let again = now + lasts - Duration::from_secs(1);
            machine.handle_timeout(again);
            machine.indication(Typing::Active, lasts, again);
            assert_eq!(
                (said(&mut machine).as_slice(), machine.deadline()),
                ([ChatState::Composing].as_slice(), Some(again + lasts))
            );
            machine.handle_timeout(again + lasts - Duration::from_millis(1));
            assert_eq!(said(&mut machine), []);
            machine.handle_timeout(again + lasts);
            assert_eq!(
                (said(&mut machine).as_slice(), machine.deadline()),
                ([ChatState::Active].as_slice(), None)
            );
        }
    }

    #[test]
    fn im_30_a_message_ends_typing_without_a_word() {
        let (mut machine, now) = (in_conversation(), Instant::now());
        machine.indication(Typing::Active, KEYBOARD_LASTS, now);
        assert_eq!(said(&mut machine), [ChatState::Composing]);
        assert_eq!(crosses(&mut machine), Some(ChatState::Active));
        assert_eq!((said(&mut machine).as_slice(), machine.deadline()), ([].as_slice(), None));
        machine.indication(Typing::Idle, KEYBOARD_LASTS, now);
        assert_eq!(said(&mut machine), []);
        machine.indication(Typing::Active, KEYBOARD_LASTS, now);
        assert_eq!(said(&mut machine), [ChatState::Composing]);
    }

    #[test]
    fn ch_06_the_end_of_a_session_is_told_once() {
        let mut machine = in_conversation();
        machine.ended();
        assert_eq!(said(&mut machine), [ChatState::Gone]);
        machine.ended();
        assert_eq!(said(&mut machine), []);
        assert_eq!(crosses(&mut machine), Some(ChatState::Active));
    }

    #[test]
    fn no_typing_lasts_longer_than_an_hour() {
        let (mut machine, now) = (in_conversation(), Instant::now());
        machine.indication(Typing::Active, Duration::MAX, now);
        assert_eq!(machine.deadline(), Some(now + LONGEST));
    }
}
