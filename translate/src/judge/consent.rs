//! What the two users of a pair agreed to by what they did.

use std::time::Duration;

/// For how long the contact may answer after the SIP user's last message.
pub const REPLY_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// For how long a SIP user who added a contact counts as having added him, after his last SUBSCRIBE.
pub const CONSENT_LIFETIME: Duration = Duration::from_secs(45 * 24 * 3600);

/// The SIP user added the contact: a SUBSCRIBE with Expires above 0 was accepted by policy. Seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    pub since: u64,
    /// The last such SUBSCRIBE; consent ends some time after it.
    pub last_subscribe: u64,
}

/// What the two users of a pair have agreed to by what they did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    pub added: Option<Added>,
    /// When the SIP user last wrote to the contact, in seconds of Unix time.
    pub sip_user_wrote: Option<u64>,
}

impl Consent {
    /// Whether the contact may answer now because the SIP user wrote to him lately.
    pub fn replies_open(&self, unix_now: u64) -> bool {
        self.sip_user_wrote.is_some_and(|wrote| unix_now < wrote.saturating_add(REPLY_WINDOW.as_secs()))
    }

    /// Whether the SIP user has added the contact and that has not lapsed. `lifetime`: of the policy.
    pub fn is_added(&self, lifetime: Duration, unix_now: u64) -> bool {
        self.added.is_some_and(|added| unix_now < added.last_subscribe.saturating_add(lifetime.as_secs()))
    }

    /// The SIP user subscribed to the contact, and policy accepted it.
    pub fn subscribed(&mut self, unix_now: u64) {
        let added = self.added.get_or_insert(Added { since: unix_now, last_subscribe: unix_now });
        added.last_subscribe = added.last_subscribe.max(unix_now);
    }
}
