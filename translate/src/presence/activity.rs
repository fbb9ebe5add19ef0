use super::Show;

/// What somebody does; the names are those of RFC 4480 §3.2, where they are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity {
    Appointment,
    Away,
    Breakfast,
    Busy,
    Dinner,
    Holiday,
    InTransit,
    LookingForWork,
    Lunch,
    Meal,
    Meeting,
    OnThePhone,
    Other,
    Performance,
    PermanentAbsence,
    Playing,
    Presentation,
    Shopping,
    Sleeping,
    Spectator,
    Steering,
    Travel,
    Tv,
    Unknown,
    Vacation,
    Working,
    Worship,
}

impl Activity {
    /// Every activity with its element name.
    const NAMES: [(Self, &'static str); 27] = [
        (Self::Appointment, "appointment"),
        (Self::Away, "away"),
        (Self::Breakfast, "breakfast"),
        (Self::Busy, "busy"),
        (Self::Dinner, "dinner"),
        (Self::Holiday, "holiday"),
        (Self::InTransit, "in-transit"),
        (Self::LookingForWork, "looking-for-work"),
        (Self::Lunch, "lunch"),
        (Self::Meal, "meal"),
        (Self::Meeting, "meeting"),
        (Self::OnThePhone, "on-the-phone"),
        (Self::Other, "other"),
        (Self::Performance, "performance"),
        (Self::PermanentAbsence, "permanent-absence"),
        (Self::Playing, "playing"),
        (Self::Presentation, "presentation"),
        (Self::Shopping, "shopping"),
        (Self::Sleeping, "sleeping"),
        (Self::Spectator, "spectator"),
        (Self::Steering, "steering"),
        (Self::Travel, "travel"),
        (Self::Tv, "tv"),
        (Self::Unknown, "unknown"),
        (Self::Vacation, "vacation"),
        (Self::Working, "working"),
        (Self::Worship, "worship"),
    ];

    /// The element that stands for it in RPID.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(activity, _)| *activity == self).map_or("unknown", |(_, name)| name)
    }

    /// The activity an RPID element stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(activity, _)| *activity)
    }

    /// What an XMPP user is shown for it.
    pub fn show(self) -> Option<Show> {
        match self {
            Self::Away => Some(Show::Away),
            Self::Vacation | Self::Holiday | Self::PermanentAbsence | Self::Sleeping => Some(Show::Xa),
            Self::Busy
            | Self::OnThePhone
            | Self::Meeting
            | Self::Appointment
            | Self::Presentation
            | Self::Performance => Some(Show::Dnd),
            _ => None,
        }
    }

    /// Calendars make it of their entries (RFC 4480 §3.2): words that stand beside it may be the subject of a meeting or an
    /// out-of-office note, and go nowhere.
    pub fn may_be_planned(self) -> bool {
        self.is_out_of_office()
            || matches!(
                self,
                Self::Appointment
                    | Self::Breakfast
                    | Self::Dinner
                    | Self::Lunch
                    | Self::Meal
                    | Self::Meeting
                    | Self::Performance
                    | Self::Presentation
            )
    }

    /// He is gone for days.
    pub fn is_out_of_office(self) -> bool {
        matches!(self, Self::Holiday | Self::PermanentAbsence | Self::Travel | Self::Vacation)
    }

    /// Of several, the one that most tells others not to write counts.
    pub(super) fn weight(self) -> u8 {
        match self.show() {
            Some(Show::Dnd) => 3,
            Some(Show::Xa) => 2,
            Some(Show::Away) => 1,
            Some(Show::Chat) | None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pd_08_every_activity_comes_back_from_its_name() {
        for (activity, name) in Activity::NAMES {
            assert_eq!((activity.as_str(), Activity::from_name(name)), (name, Some(activity)));
        }
        assert_eq!(Activity::from_name("Away"), None);
    }
}
