use super::Show;

/// What somebody does (RFC 4480 §3.2).
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
}
