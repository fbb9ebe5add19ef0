//! What of a pair outlives the process.

use compact_str::CompactString;
use nuncio_sip::event::DialogRecord;

use crate::judge::Added;

/// The SIP user's subscription to the contact's presence (RFC 6121 §2.1.2.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum To {
    #[default]
    No,
    /// Asked for, not answered.
    Pending,
    Yes,
}

/// The contact's subscription to the SIP user's presence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum From {
    #[default]
    No,
    /// Asked for, and kept until the SIP user adds the contact; nothing of it has crossed.
    Kept,
    /// Asked for, not answered by the SIP side.
    Pending,
    Yes,
}

/// A pair as plain data. Times are seconds of Unix time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairRecord {
    pub added: Option<Added>,
    /// When the SIP user last wrote to the contact.
    pub sip_user_wrote: Option<u64>,
    pub to: To,
    pub from: From,
    /// Since when `from` is what it is.
    pub from_since: u64,
    /// Our subscription to the SIP user, for the contact.
    pub subscriber: Option<SubscriberRecord>,
    /// The resources under which the contact has seen the SIP user as available.
    pub shown: Vec<CompactString>,
    /// The subscriptions of the SIP user's endpoints to the contact.
    pub notifiers: Vec<NotifierRecord>,
}

/// A subscription we hold at a front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberRecord {
    pub dialog: DialogRecord,
    pub expires_at: u64,
    /// The front end that holds the dialog, by name; empty: not known.
    pub front_end: CompactString,
}

/// A subscription an endpoint of the SIP user holds with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierRecord {
    pub dialog: DialogRecord,
    /// Which endpoint of the SIP user it is: a new subscription from the same one replaces this.
    pub endpoint: CompactString,
    /// The document types it accepts, as its Accept field said.
    pub accept: CompactString,
    pub expires_at: u64,
    /// The front end that holds the dialog, by name.
    pub front_end: CompactString,
}

impl PairRecord {
    /// There is nothing in it worth keeping.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
