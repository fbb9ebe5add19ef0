//! What of a session outlives the process.

use std::time::Instant;

use bytes::Bytes;
use compact_str::CompactString;

use super::timer::Interval;
use super::{Context, Refresher, Role, Session};
use crate::dialog::{Dialog, DialogRecord};

/// An established session as plain data. What is under way is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub dialog: DialogRecord,
    /// We sent the first INVITE.
    pub caller: bool,
    pub conversation: Option<CompactString>,
    /// Media types the other side reads.
    pub accepts: Box<str>,
    /// The other side takes UPDATE.
    pub takes_update: bool,
    /// Our description, its number and version.
    pub description: Bytes,
    pub description_id: u32,
    pub description_version: u32,
    /// The session interval in seconds, and who refreshes it.
    pub interval: Option<(u32, Refresher)>,
    /// When the last message went.
    pub last_used: Instant,
}

impl Session {
    /// What has to outlive the process; `None` unless it is established.
    pub fn record(&self) -> Option<SessionRecord> {
        self.is_established().then(|| SessionRecord {
            dialog: self.dialog.record(),
            caller: self.role == Role::Caller,
            conversation: self.conversation.clone(),
            accepts: self.accepts.clone(),
            takes_update: self.takes_update,
            description: self.description.clone(),
            description_id: self.sdp.id,
            description_version: self.sdp.version,
            interval: self.interval.map(|interval| (interval.seconds, interval.refresher)),
            last_used: self.used,
        })
    }

    /// Goes on with a session of an earlier process. It is `Bound` at once, and its interval begins anew: a refresh of ours
    /// is due now. Save its record again: see [`RESTORE_JUMP`](crate::dialog::RESTORE_JUMP).
    pub fn restore(record: SessionRecord, context: &mut Context<'_>) -> Self {
        let role = if record.caller { Role::Caller } else { Role::Callee };
        let mut session = Self::with(Dialog::restore(record.dialog), role, context);
        session.confirmed = true;
        session.conversation = record.conversation;
        session.accepts = record.accepts;
        session.takes_update = record.takes_update;
        session.description = record.description;
        (session.sdp.id, session.sdp.version) = (record.description_id, record.description_version);
        session.used = record.last_used;
        session.idle_at = record.last_used + context.config.idle;
        session.interval =
            record.interval.map(|(seconds, refresher)| Interval { seconds, refresher, since: context.now });
        let ours = record.interval.is_some_and(|(_, refresher)| refresher == Refresher::Us);
        session.refresh_at = ours.then_some(context.now);
        session
    }
}
