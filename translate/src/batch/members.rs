//! Who is in a batch, and what is known of him.

use bytes::Bytes;

/// Most members of one batch, and resources in one list. Lync's users have up to 250 contacts, those of its successors 1,000,
/// few of them with partners of ours.
pub const MAX_MEMBERS: usize = 500;

/// What a member is told of his subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<J> {
    pub state: State,
    /// The document, in the batch's media type, and what has to be judged again if it does not leave at once.
    pub document: Option<(Bytes, J)>,
}

/// The state of a member's subscription (RFC 4662 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Active,
    /// With the reason.
    Terminated(&'static str),
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Terminated(_) => "terminated",
        }
    }

    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Terminated(reason) => Some(reason),
            Self::Pending | Self::Active => None,
        }
    }

    /// As a Subscription-State says it; a reason that nobody defined is none.
    pub fn read(state: &nuncio_sip::SubscriptionState<'_>) -> Self {
        const REASONS: [&str; 7] =
            ["deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant"];
        if state.is("active") {
            return Self::Active;
        }
        if !state.is("terminated") {
            return Self::Pending;
        }
        let said = state.reason().unwrap_or_default();
        let known = REASONS.into_iter().find(|reason| reason.eq_ignore_ascii_case(said));
        Self::Terminated(known.unwrap_or("giveup"))
    }
}

/// One of a batch.
#[derive(Debug)]
pub(super) struct Member<J> {
    /// Never given to another one of the same batch.
    pub(super) number: u32,
    pub(super) uri: Box<str>,
    /// `None`: nothing has been heard yet.
    pub(super) told: Option<Told<J>>,
    /// The watcher has not been told that.
    pub(super) news: bool,
}
