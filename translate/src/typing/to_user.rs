use std::time::{Duration, Instant};

use super::iscomposing::IsComposing;
use super::{ChatState, Typing, keyboard};

/// How often typing is said again to Lync, which takes 6 s without as its end.
const KEYBOARD_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is said again by isComposing, unless something else is asked for.
const COMPOSING_INTERVAL: Duration = Duration::from_secs(120);
/// The shortest interval there (RFC 3994 §3.2).
const COMPOSING_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// What is announced there is longer by so much: the next document is a while on its way.
const COMPOSING_SLACK: Duration = Duration::from_secs(5);
/// How long somebody may pause before isComposing calls him idle (RFC 3994 §3.2).
const COMPOSING_IDLE: Duration = Duration::from_secs(15);
/// A contact's `<composing/>` has no end of its own. One whose client has vanished does not type for ever.
const CONTACT_TYPES: Duration = Duration::from_secs(300);

/// How a SIP user's side speaks of typing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// [`keyboard`] in INFO.
    Keyboard,
    /// [`iscomposing`](super::iscomposing) in MESSAGE, said again after so long.
    IsComposing {
        /// `None`: 120 s. Less than 60 s counts as 60 s.
        refresh: Option<Duration>,
    },
}

/// A document to be sent to the SIP user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// As INFO.
    Keyboard(Typing),
    /// As MESSAGE.
    IsComposing(IsComposing),
}

/// What a SIP user is told about the contact's typing (RFC 3994 §3.2; IM-31, IM-32).
///
/// Nothing is said outside an established session, and nothing any more once the other side has refused it. While the
/// contact types, it is said again and again, as the dialect has it. However fast he starts and stops, the SIP user's side
/// gets no more than one `active` in an interval and one `idle` behind it; of isComposing, over time, no more documents than
/// intervals. A message of the contact begins a new count.
#[derive(Clone, Debug, Default)]
pub struct ToUser {
    /// `None`: no session, or refused.
    dialect: Option<Dialect>,
    /// The contact types, until then at the latest.
    types_until: Option<Instant>,
    /// What was sent last is that he does.
    told: bool,
    /// He is to be told that he does not any more.
    idle_at: Option<Instant>,
    /// Not again before.
    next_active: Option<Instant>,
    output: Option<Signal>,
}

impl ToUser {
    /// A session is established in which typing may be spoken of.
    pub fn opened(&mut self, dialect: Dialect, now: Instant) {
        self.dialect = Some(dialect);
        (self.told, self.idle_at, self.next_active) = (false, None, None);
        self.handle_timeout(now);
    }

    /// The session is over.
    pub fn closed(&mut self) {
        self.dialect = None;
        (self.told, self.idle_at, self.output) = (false, None, None);
    }

    /// What we sent was answered with this final status. Whoever does not want it gets no more of it (IM-32).
    pub fn answered(&mut self, status: u16) {
        if matches!(status, 405 | 406 | 415 | 420 | 488 | 489 | 501 | 606) {
            self.closed();
        }
    }

    /// The contact wrote a state, alone.
    pub fn state(&mut self, state: ChatState, now: Instant) {
        match state.typing() {
            Typing::Active => {
                self.types_until = Some(now + CONTACT_TYPES);
                self.idle_at = None;
            }
            Typing::Idle => self.stops(now),
        }
        self.handle_timeout(now);
    }

    /// The contact's client is gone.
    pub fn contact_left(&mut self, now: Instant) {
        self.state(ChatState::Gone, now);
    }

    /// A message of the contact is about to go to the SIP user, and ends his typing without a word (RFC 3994 §3.3).
    pub fn message(&mut self) {
        self.types_until = None;
        (self.told, self.idle_at, self.next_active, self.output) = (false, None, None, None);
    }

    /// Something to be sent.
    pub fn poll(&mut self) -> Option<Signal> {
        let signal = self.output.take()?;
        self.told = signal.typing() == Typing::Active;
        Some(signal)
    }

    /// When [`ToUser::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.dialect?;
        let again = self.types_until.and(self.next_active);
        [self.types_until, again, self.idle_at].into_iter().flatten().min()
    }

    /// Time has passed. Early and repeated calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(dialect) = self.dialect else { return };
        if self.types_until.is_some_and(|until| until <= now) {
            self.stops(now);
        }
        let may_speak = self.next_active.is_none_or(|next| next <= now);
        if self.types_until.is_some() && may_speak {
            self.next_active = Some(now + dialect.interval());
            self.output = Some(dialect.signal(Typing::Active));
        }
        if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            // Who was never told needs not be told of the end.
            self.output = self.told.then(|| dialect.signal(Typing::Idle));
            if self.told && matches!(dialect, Dialect::IsComposing { .. }) {
                self.next_active = self.next_active.map(|next| next.max(now) + dialect.interval());
            }
        }
    }

    fn stops(&mut self, now: Instant) {
        if self.types_until.take().is_some() {
            self.idle_at = Some(now + self.dialect.map_or(Duration::ZERO, Dialect::patience));
        }
    }
}

impl Dialect {
    fn interval(self) -> Duration {
        match self {
            Self::Keyboard => KEYBOARD_INTERVAL,
            Self::IsComposing { refresh } => {
                refresh.unwrap_or(COMPOSING_INTERVAL).clamp(COMPOSING_INTERVAL_MIN, super::LONGEST)
            }
        }
    }

    /// How long a pause is no end.
    fn patience(self) -> Duration {
        match self {
            Self::Keyboard => Duration::ZERO,
            Self::IsComposing { .. } => COMPOSING_IDLE,
        }
    }

    fn signal(self, typing: Typing) -> Signal {
        match self {
            Self::Keyboard => Signal::Keyboard(typing),
            Self::IsComposing { .. } => {
                let refresh = (typing == Typing::Active).then(|| self.interval() + COMPOSING_SLACK);
                Signal::IsComposing(IsComposing { typing, refresh })
            }
        }
    }
}

impl Signal {
    /// What it says.
    pub fn typing(&self) -> Typing {
        match self {
            Self::Keyboard(typing) | Self::IsComposing(IsComposing { typing, .. }) => *typing,
        }
    }

    /// The media type of the document.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Keyboard(_) => keyboard::MEDIA_TYPE,
            Self::IsComposing(_) => super::iscomposing::MEDIA_TYPE,
        }
    }

    /// Appends the document.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Keyboard(typing) => keyboard::write(*typing, out),
            Self::IsComposing(document) => document.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const COMPOSING: Dialect = Dialect::IsComposing { refresh: None };

    fn opened(dialect: Dialect, now: Instant) -> ToUser {
        let mut machine = ToUser::default();
        machine.opened(dialect, now);
        machine
    }

    /// Runs the machine's own timers up to `end`: when it said what.
    fn run(machine: &mut ToUser, start: Instant, end: Instant) -> Vec<(u64, Typing)> {
        let mut said = Vec::new();
        let mut now = start;
        loop {
            said.extend(machine.poll().map(|signal| ((now - start).as_secs(), signal.typing())));
            match machine.deadline() {
                Some(deadline) if deadline <= end => now = deadline.max(now),
                _ => return said,
            }
            machine.handle_timeout(now);
        }
    }

    #[test]
    fn im_31_lync_hears_it_every_five_seconds_and_of_its_end_at_once() {
        let now = Instant::now();
        let mut machine = opened(Dialect::Keyboard, now);
        machine.state(ChatState::Composing, now);
        let said = run(&mut machine, now, now + 17 * SECOND);
        assert_eq!(said, [0, 5, 10, 15].map(|second| (second, Typing::Active)));
        machine.state(ChatState::Paused, now + 17 * SECOND);
        assert_eq!(machine.poll(), Some(Signal::Keyboard(Typing::Idle)));
        assert_eq!((machine.poll(), machine.deadline()), (None, None));
    }

    #[test]
    fn im_31_is_composing_is_said_again_after_its_interval() {
        let now = Instant::now();
        for (refresh, interval) in
            [(None, 120), (Some(90), 90), (Some(60), 60), (Some(59), 60), (Some(0), 60)]
        {
            let dialect = Dialect::IsComposing { refresh: refresh.map(Duration::from_secs) };
            let mut machine = opened(dialect, now);
            machine.state(ChatState::Composing, now);
            let Some(Signal::IsComposing(first)) = machine.poll() else { panic!("nothing said") };
            assert_eq!(first.refresh, Some(Duration::from_secs(interval) + COMPOSING_SLACK));
            let said = run(&mut machine, now, now + Duration::from_secs(2 * interval));
            assert_eq!(said, [(interval, Typing::Active), (2 * interval, Typing::Active)]);
        }
    }

    #[test]
    fn im_31_a_short_pause_is_no_end_for_is_composing() {
        let now = Instant::now();
        let mut machine = opened(COMPOSING, now);
        machine.state(ChatState::Composing, now);
        machine.state(ChatState::Paused, now + SECOND);
        machine.state(ChatState::Composing, now + 15 * SECOND);
        assert_eq!(run(&mut machine, now, now + 100 * SECOND), [(0, Typing::Active)]);
        machine.state(ChatState::Paused, now + 100 * SECOND);
        assert_eq!(machine.deadline(), Some(now + 115 * SECOND));
        machine.handle_timeout(now + 115 * SECOND);
        assert_eq!(machine.poll().map(|signal| signal.typing()), Some(Typing::Idle));
    }

    #[test]
    fn im_31_who_starts_and_stops_quickly_costs_no_more() {
        let now = Instant::now();
        for (dialect, step) in [(Dialect::Keyboard, 100), (COMPOSING, 100), (COMPOSING, 20_000)] {
            let mut machine = opened(dialect, now);
            let (mut actives, mut idles) = (0, 0);
            for number in 0..600_000 / step {
                let at = now + Duration::from_millis(number * step);
                machine.handle_timeout(at);
                machine.state(if number % 2 == 0 { ChatState::Composing } else { ChatState::Paused }, at);
                match machine.poll().map(|signal| signal.typing()) {
                    Some(Typing::Active) => actives += 1,
                    Some(Typing::Idle) => idles += 1,
                    None => {}
                }
            }
            let intervals = 600 / dialect.interval().as_secs();
            assert!(
                actives > 0 && idles <= actives && actives <= intervals,
                "{dialect:?}: {actives}, {idles}"
            );
            assert!(dialect == Dialect::Keyboard || actives + idles <= intervals + 1, "{actives}, {idles}");
        }
    }

    #[test]
    fn im_31_a_message_ends_typing_without_a_word_and_begins_a_new_count() {
        let now = Instant::now();
        for dialect in [Dialect::Keyboard, COMPOSING] {
            let mut machine = opened(dialect, now);
            machine.state(ChatState::Composing, now);
            assert_eq!(machine.poll().map(|signal| signal.typing()), Some(Typing::Active));
            machine.message();
            assert_eq!((machine.poll(), machine.deadline()), (None, None));
            machine.state(ChatState::Active, now + SECOND);
            assert_eq!(machine.poll(), None);
            machine.state(ChatState::Composing, now + 2 * SECOND);
            assert_eq!(machine.poll().map(|signal| signal.typing()), Some(Typing::Active));
        }
    }

    #[test]
    fn im_32_after_a_415_nothing_more_is_said_in_the_session() {
        let now = Instant::now();
        for (status, goes_on) in
            [(200, true), (408, true), (481, true), (415, false), (405, false), (501, false)]
        {
            let mut machine = opened(COMPOSING, now);
            machine.state(ChatState::Composing, now);
            assert!(machine.poll().is_some());
            machine.answered(status);
            machine.message();
            machine.state(ChatState::Composing, now + SECOND);
            assert_eq!(machine.poll().is_some(), goes_on, "{status}");
        }
    }

    #[test]
    fn nothing_is_said_without_a_session() {
        let now = Instant::now();
        let mut machine = ToUser::default();
        machine.state(ChatState::Composing, now);
        assert_eq!((machine.poll(), machine.deadline()), (None, None));
        machine.opened(Dialect::Keyboard, now + SECOND);
        assert_eq!(machine.poll(), Some(Signal::Keyboard(Typing::Active)), "he still types");
        machine.closed();
        machine.state(ChatState::Paused, now + 2 * SECOND);
        assert_eq!((machine.poll(), machine.deadline()), (None, None));
    }

    #[test]
    fn a_contact_who_vanished_does_not_type_for_ever() {
        let now = Instant::now();
        let mut machine = opened(Dialect::Keyboard, now);
        machine.state(ChatState::Composing, now);
        let said = run(&mut machine, now, now + 10 * CONTACT_TYPES);
        assert_eq!(said.last(), Some(&(CONTACT_TYPES.as_secs(), Typing::Idle)));
        machine.state(ChatState::Composing, now + CONTACT_TYPES);
        machine.contact_left(now + CONTACT_TYPES);
        assert_eq!(
            machine.poll().map(|signal| signal.typing()),
            None,
            "told and taken back before anybody heard it"
        );
    }

    proptest! {
        #[test]
        fn im_31_whatever_happens_both_sides_agree_in_the_end(steps in prop::collection::vec((0u8..6, 0u64..40), 0..60), lync: bool) {
            let start = Instant::now();
            let mut now = start;
            let mut machine = opened(if lync { Dialect::Keyboard } else { COMPOSING }, now);
            // What the SIP user's client shows, with its own timer.
            let mut shown: Option<Instant> = None;
            let hear = |machine: &mut ToUser, now: Instant, shown: &mut Option<Instant>| {
                while let Some(signal) = machine.poll() {
                    *shown = match signal {
                        Signal::Keyboard(Typing::Active) => Some(now + crate::typing::KEYBOARD_LASTS),
                        Signal::IsComposing(document) if document.typing == Typing::Active => Some(now + document.lasts()),
                        _ => None,
                    };
                }
            };
            for (step, seconds) in steps {
                let end = now + Duration::from_secs(seconds);
                while let Some(deadline) = machine.deadline().filter(|deadline| *deadline <= end) {
                    now = deadline.max(now);
                    machine.handle_timeout(now);
                    hear(&mut machine, now, &mut shown);
                }
                now = end;
                match step {
                    0 | 1 => machine.state(ChatState::Composing, now),
                    2 => machine.state(ChatState::Paused, now),
                    3 => machine.state(ChatState::Gone, now),
                    4 => {
                        machine.message();
                        shown = None;
                    }
                    _ => machine.handle_timeout(now),
                }
                hear(&mut machine, now, &mut shown);
            }
            machine.state(ChatState::Active, now);
            hear(&mut machine, now, &mut shown);
            now += COMPOSING_IDLE;
            machine.handle_timeout(now);
            hear(&mut machine, now, &mut shown);
            prop_assert!(shown.is_none_or(|until| until <= now), "still shown as typing");
            prop_assert_eq!(machine.deadline(), None);
        }
    }
}
