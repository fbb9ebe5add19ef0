//! Messages of contacts that wait for people, as far as their senders have to be told if the process ends before they have
//! come to their end: who, whom, which. Never what they say.

use std::collections::BTreeMap;

use compact_str::CompactString;
use rusqlite::{Connection, Result};

/// A message of a contact that waits for a SIP user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMessage {
    /// The address it came from, and the one it goes to, as they stood in it.
    pub sender: Box<str>,
    pub recipient: Box<str>,
    /// Its id, by which the sender knows it; messages may have none.
    pub stanza_id: Option<CompactString>,
    /// When it came, in seconds of Unix time.
    pub since: u64,
}

/// What the process before this one left behind, by number.
pub(super) fn load(connection: &Connection) -> Result<BTreeMap<u64, PendingMessage>> {
    let mut statement =
        connection.prepare("SELECT id, sender, recipient, stanza_id, since FROM pending ORDER BY id")?;
    let rows = statement.query_map((), |row| {
        let message = PendingMessage {
            sender: row.get_ref(1)?.as_str()?.into(),
            recipient: row.get_ref(2)?.as_str()?.into(),
            stanza_id: row.get_ref(3)?.as_str_or_null()?.map(Into::into),
            since: row.get::<_, i64>(4)?.try_into().unwrap_or_default(),
        };
        Ok((row.get::<_, i64>(0)?.try_into().unwrap_or_default(), message))
    })?;
    rows.collect()
}
