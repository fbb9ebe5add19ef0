//! What is in the database, for people and for programs.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::{FILE, Fault, StoreError, file, schema};

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Consent, subscriptions, dialogs.
    Pairs,
    /// Messages of contacts that wait for people, the oldest first.
    Pending,
    /// Who changed what, the latest first.
    Audit,
}

/// What to show, and how.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    pub table: Table,
    /// One JSON object per line instead of text.
    pub json: bool,
    /// Only what has this in one of its addresses.
    pub with: Option<&'a str>,
    /// At most so many.
    pub most: usize,
}

/// Gives one line after the other to `line`; no line of text has a control character in it. Secrets are never shown.
/// How many there were.
///
/// # Errors
/// There is no database, or it cannot be read.
pub fn show(
    state_dir: &Path,
    what: Shown<'_>,
    line: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<u64, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    let connection = file::open_to_read(&path)?;
    schema::identify(&path, &connection)?;
    rows(&connection, what, line).map_err(|error| StoreError::sqlite(&path, &error))
}

fn rows(
    connection: &Connection,
    what: Shown<'_>,
    line: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> rusqlite::Result<u64> {
    let (sql, text): (String, fn(&Row<'_>) -> rusqlite::Result<String>) = match (what.table, what.json) {
        (Table::Pairs, true) => (format!("SELECT {PAIR_JSON} {PAIRS}"), |row| row.get(0)),
        (Table::Pairs, false) => (format!("SELECT {PAIR_TEXT} {PAIRS}"), pair_text),
        (Table::Pending, true) => (format!("SELECT {PENDING_JSON} {PENDING}"), |row| row.get(0)),
        (Table::Pending, false) => (format!("SELECT {PENDING_TEXT} {PENDING}"), pending_text),
        (Table::Audit, true) => (format!("SELECT {AUDIT_JSON} {AUDIT}"), |row| row.get(0)),
        (Table::Audit, false) => (format!("SELECT {AUDIT_TEXT} {AUDIT}"), audit_text),
    };
    let mut statement = connection.prepare(&sql)?;
    let most = i64::try_from(what.most).unwrap_or(i64::MAX);
    // Addresses are kept without capitals (DEC-05), and people write them as they please.
    let with = what.with.unwrap_or_default().to_lowercase();
    let mut rows = statement.query((with, most))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let text: String = text(row)?.chars().map(crate::config::printable).collect();
        count += 1;
        if line(&text).is_err() {
            break;
        }
    }
    Ok(count)
}

const PAIRS: &str = "FROM pair WHERE instr(sip_user, ?1) > 0 OR instr(contact, ?1) > 0 \
    ORDER BY sip_user, contact LIMIT ?2";
const PENDING: &str = "FROM pending WHERE instr(lower(sender), ?1) > 0 OR instr(lower(recipient), ?1) > 0 \
    ORDER BY id LIMIT ?2";
const AUDIT: &str =
    "FROM audit WHERE instr(lower(subject), ?1) > 0 OR instr(lower(actor), ?1) > 0 ORDER BY id DESC LIMIT ?2";

const PAIR_TEXT: &str = "sip_user, contact, datetime(added_since, 'unixepoch'), \
    datetime(last_subscribe, 'unixepoch'), to_state, from_state, datetime(from_since, 'unixepoch'), \
    (SELECT count(*) FROM dialog WHERE pair = pair.id AND role = 'subscriber'), \
    (SELECT count(*) FROM dialog WHERE pair = pair.id AND role = 'notifier'), \
    (SELECT group_concat(resource, ', ') FROM shown WHERE shown.pair = pair.id)";

const PAIR_JSON: &str = "json_object('sip_user', sip_user, 'contact', contact, 'added_since', added_since, \
    'last_subscribe', last_subscribe, 'sip_user_wrote', sip_user_wrote, 'to', to_state, 'from', from_state, \
    'from_since', from_since, 'saved_at', saved_at, \
    'shown', json((SELECT json_group_array(resource) FROM shown WHERE shown.pair = pair.id)), \
    'dialogs', json((SELECT json_group_array(json_object('role', role, 'call_id', call_id, 'local_tag', local_tag, \
        'remote_tag', remote_tag, 'local_uri', local_uri, 'remote_uri', remote_uri, \
        'remote_target', remote_target, 'local_cseq', local_cseq, 'remote_cseq', remote_cseq, \
        'event_id', event_id, 'expires_at', expires_at, 'endpoint', endpoint, 'accept', accept, \
        'front_end', front_end, 'routes', json((SELECT json_group_array(route) FROM route \
            WHERE route.pair = dialog.pair AND route.role = dialog.role AND route.dialog = dialog.position)))) \
        FROM dialog WHERE dialog.pair = pair.id)))";

const PENDING_TEXT: &str = "datetime(since, 'unixepoch'), sender, recipient, stanza_id";

const PENDING_JSON: &str =
    "json_object('since', since, 'sender', sender, 'recipient', recipient, 'stanza_id', stanza_id)";

const AUDIT_TEXT: &str = "datetime(at, 'unixepoch'), actor, what, subject, was, became";

const AUDIT_JSON: &str =
    "json_object('at', at, 'actor', actor, 'what', what, 'subject', subject, 'from', was, 'to', became)";

fn pair_text(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    let added = match row.get::<_, Option<String>>(2)? {
        Some(since) => format!("added {since} UTC, last SUBSCRIBE {} UTC", text(3)?),
        None => "not added".to_owned(),
    };
    let contact_watches = match text(5)?.as_str() {
        "no" => "contact does not watch".to_owned(),
        state => format!("contact watches: {state} since {} UTC", text(6)?),
    };
    let shown = match text(9)? {
        shown if shown.is_empty() => String::new(),
        shown => format!("; seen available as {shown}"),
    };
    let dialogs = row.get::<_, i64>(7)? + row.get::<_, i64>(8)?;
    Ok(format!(
        "{} ⇄ {}: {added}; user watches: {}; {contact_watches}; {dialogs} SIP dialogs{shown}",
        text(0)?,
        text(1)?,
        text(4)?,
    ))
}

fn pending_text(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    Ok(format!("{} UTC  {} → {}  id {:?}", text(0)?, text(1)?, text(2)?, text(3)?))
}

fn audit_text(row: &Row<'_>) -> rusqlite::Result<String> {
    let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    let change = match (text(4)?, text(5)?) {
        (was, became) if was.is_empty() && became.is_empty() => String::new(),
        (was, became) if was.is_empty() => format!(": {became}"),
        (was, became) => format!(": {was} → {became}"),
    };
    Ok(format!("{} UTC  {}  {}  {}{change}", text(0)?, text(1)?, text(2)?, text(3)?))
}
