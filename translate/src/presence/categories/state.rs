//! Availability as a number, and what tokens add to it. The tables stand in `docs/mapping.md`.

use crate::presence::Show;
use crate::presence::whole::State;

/// The least availability of each state; it reaches up to the next one.
const RANGES: [(u32, State); 8] = [
    (0, State::Available),
    (4_500, State::Inactive),
    (6_000, State::Busy),
    (7_500, State::Busy),
    (9_000, State::DoNotDisturb),
    (12_000, State::BeRightBack),
    (15_000, State::Away),
    (18_000, State::Offline),
];

/// The state that an availability stands for.
pub(super) fn of_availability(availability: u32) -> State {
    let reached = RANGES.iter().take_while(|(least, _)| *least <= availability).last();
    reached.map_or(State::Available, |(_, state)| *state)
}

/// The availability that clients publish for a state.
pub(super) fn availability(state: State) -> u32 {
    match state {
        State::Available => 3_500,
        State::Inactive => 5_000,
        State::Busy | State::InACall => 6_500,
        State::DoNotDisturb => 9_500,
        State::BeRightBack => 12_500,
        State::OutToLunch | State::Away => 15_500,
        State::Offline => 18_500,
    }
}

/// What somebody does, in a word of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    OnThePhone,
    InAConference,
    InAMeeting,
    UrgentInterruptionsOnly,
    InPresentation,
    OutOfOffice,
    OffWork,
}

impl Token {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "on-the-phone" => Self::OnThePhone,
            "in-a-conference" => Self::InAConference,
            "in-a-meeting" => Self::InAMeeting,
            "urgent-interruptions-only" => Self::UrgentInterruptionsOnly,
            "in-presentation" => Self::InPresentation,
            "out-of-office" => Self::OutOfOffice,
            "off-work" => Self::OffWork,
            _ => return None,
        })
    }

    /// What is shown for it. That he is out of office his calendar says, so it is not told.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::OnThePhone => "In a call",
            Self::InAConference => "In a conference",
            Self::InAMeeting => "In a meeting",
            Self::UrgentInterruptionsOnly => "Do not disturb",
            Self::InPresentation => "Presenting",
            Self::OutOfOffice => "Away",
            Self::OffWork => "Off work",
        }
    }

    /// Calendars make it of their entries: words that stand beside it may be the subject of a meeting or an out-of-office
    /// note, and go nowhere.
    pub(super) fn may_be_planned(self) -> bool {
        matches!(self, Self::InAConference | Self::InAMeeting | Self::InPresentation | Self::OutOfOffice)
    }

    /// Of the ways to be away it tells the one that lasts.
    pub(super) fn show(self, state: State) -> Option<Show> {
        match self {
            Self::OutOfOffice | Self::OffWork if state == State::Away => Some(Show::Xa),
            _ => state.show(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_for_a_state_is_read_as_that_state() {
        for state in [
            State::Available,
            State::Inactive,
            State::Busy,
            State::DoNotDisturb,
            State::BeRightBack,
            State::Away,
            State::Offline,
        ] {
            assert_eq!(of_availability(availability(state)), state);
        }
        assert_eq!(of_availability(u32::MAX), State::Offline);
    }
}
