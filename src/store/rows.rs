//! Records as rows: writing. Reading is in `load`.

use nuncio_sip::event::DialogRecord;
use nuncio_translate::pair::{From as FromState, NotifierRecord, PairKey, PairRecord, To as ToState};
use rusqlite::{CachedStatement, Result, Transaction};

use super::queue::Change;
use super::{AuditEntry, PendingMessage, entries};

pub(super) const SUBSCRIBER: &str = "subscriber";
pub(super) const NOTIFIER: &str = "notifier";

/// Writes changes inside one transaction. The connection keeps the compiled statements: many transactions are small, and to
/// compile them takes longer than to run one.
pub(super) struct Writer<'t> {
    pair: CachedStatement<'t>,
    id: CachedStatement<'t>,
    forget: CachedStatement<'t>,
    clear_dialogs: CachedStatement<'t>,
    clear_shown: CachedStatement<'t>,
    dialog: CachedStatement<'t>,
    route: CachedStatement<'t>,
    shown: CachedStatement<'t>,
    secret: CachedStatement<'t>,
    prove: CachedStatement<'t>,
    unprove: CachedStatement<'t>,
    audit: CachedStatement<'t>,
    pending: CachedStatement<'t>,
    clear_pending: CachedStatement<'t>,
    transaction: &'t Transaction<'t>,
    now: i64,
}

impl<'t> Writer<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, now: u64) -> Result<Self> {
        Ok(Self {
            pair: transaction.prepare_cached(
                "INSERT INTO pair (sip_user, contact, added_since, last_subscribe, sip_user_wrote, to_state, \
                 from_state, from_since, saved_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
                 ON CONFLICT (sip_user, contact) DO UPDATE SET added_since = excluded.added_since, \
                 last_subscribe = excluded.last_subscribe, sip_user_wrote = excluded.sip_user_wrote, \
                 to_state = excluded.to_state, from_state = excluded.from_state, \
                 from_since = excluded.from_since, saved_at = excluded.saved_at",
            )?,
            // Not by RETURNING: SQLite makes a table for that, with a page cache of its own, for each record.
            id: transaction.prepare_cached("SELECT id FROM pair WHERE sip_user = ?1 AND contact = ?2")?,
            forget: transaction.prepare_cached("DELETE FROM pair WHERE sip_user = ?1 AND contact = ?2")?,
            clear_dialogs: transaction.prepare_cached("DELETE FROM dialog WHERE pair = ?1")?,
            clear_shown: transaction.prepare_cached("DELETE FROM shown WHERE pair = ?1")?,
            dialog: transaction.prepare_cached(
                "INSERT INTO dialog (pair, role, position, call_id, local_tag, remote_tag, local_uri, remote_uri, \
                 remote_target, local_cseq, remote_cseq, event_id, expires_at, endpoint, accept, front_end) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?,
            route: transaction
                .prepare_cached("INSERT INTO route (pair, role, dialog, hop, route) VALUES (?1, ?2, ?3, ?4, ?5)")?,
            shown: transaction.prepare_cached("INSERT INTO shown (pair, position, resource) VALUES (?1, ?2, ?3)")?,
            secret: transaction.prepare_cached(
                "INSERT INTO secret (name, value, since) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, since = excluded.since",
            )?,
            prove: transaction
                .prepare_cached("INSERT INTO proved (domain, since) VALUES (?1, ?2) ON CONFLICT (domain) DO NOTHING")?,
            unprove: transaction.prepare_cached("DELETE FROM proved WHERE domain = ?1")?,
            audit: transaction.prepare_cached(
                "INSERT INTO audit (at, actor, what, subject, was, became) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            pending: transaction.prepare_cached(
                "INSERT OR REPLACE INTO pending (id, sender, recipient, stanza_id, since) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            clear_pending: transaction.prepare_cached("DELETE FROM pending WHERE id = ?1")?,
            transaction,
            now: integer(now),
        })
    }

    pub(super) fn write(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Pair(key, Some(record)) => self.pair(key, record),
            Change::Pair(key, None) => self.forget.execute((key.sip_user(), key.contact())).map(drop),
            Change::Secret(name, value) => {
                self.secret.execute((name.as_str(), &value.0[..], self.now)).map(drop)
            }
            Change::Proved(domain, true) => self.prove.execute((domain.as_str(), self.now)).map(drop),
            Change::Proved(domain, false) => self.unprove.execute([domain.as_str()]).map(drop),
            Change::Audit(entry) => self.audit(entry),
            Change::Pending(number, Some(message)) => self.pending(*number, message),
            Change::Pending(number, None) => self.clear_pending.execute([integer(*number)]).map(drop),
            // Seldom: its statement is not kept.
            Change::Entry(kind, name, settings) => {
                entries::write(self.transaction, *kind, name, settings.as_deref(), self.now)
            }
        }
    }

    pub(super) fn audit(&mut self, entry: &AuditEntry) -> Result<()> {
        let AuditEntry { at, actor, what, subject, from, to } = entry;
        self.audit
            .execute((
                integer(*at),
                actor.as_str(),
                what.as_str(),
                subject.as_str(),
                from.as_deref(),
                to.as_deref(),
            ))
            .map(drop)
    }

    fn pending(&mut self, number: u64, message: &PendingMessage) -> Result<()> {
        let PendingMessage { sender, recipient, stanza_id, since } = message;
        let (number, since) = (integer(number), integer(*since));
        self.pending.execute((number, &**sender, &**recipient, stanza_id.as_deref(), since)).map(drop)
    }

    fn pair(&mut self, key: &PairKey, record: &PairRecord) -> Result<()> {
        let added = record.added.as_ref();
        self.pair.execute((
            key.sip_user(),
            key.contact(),
            added.map(|added| integer(added.since)),
            added.map(|added| integer(added.last_subscribe)),
            record.sip_user_wrote.map(integer),
            to_word(record.to),
            from_word(record.from),
            integer(record.from_since),
            self.now,
        ))?;
        let id: i64 = self.id.query_row((key.sip_user(), key.contact()), |row| row.get(0))?;
        // What hangs on it is replaced whole; routes go with their dialogs.
        self.clear_dialogs.execute([id])?;
        self.clear_shown.execute([id])?;
        if let Some(subscriber) = &record.subscriber {
            let front_end = Some(subscriber.front_end.as_str()).filter(|name| !name.is_empty());
            self.dialog(id, (SUBSCRIBER, 0), &subscriber.dialog, subscriber.expires_at, front_end, None)?;
        }
        for (position, notifier) in (0i64..).zip(&record.notifiers) {
            let front_end = Some(notifier.front_end.as_str());
            let place = (NOTIFIER, position);
            self.dialog(id, place, &notifier.dialog, notifier.expires_at, front_end, Some(notifier))?;
        }
        for (position, resource) in (0i64..).zip(&record.shown) {
            self.shown.execute((id, position, resource.as_str()))?;
        }
        Ok(())
    }

    fn dialog(
        &mut self,
        pair: i64,
        (role, position): (&str, i64),
        dialog: &DialogRecord,
        expires_at: u64,
        front_end: Option<&str>,
        notifier: Option<&NotifierRecord>,
    ) -> Result<()> {
        self.dialog.execute((
            pair,
            role,
            position,
            dialog.call_id.as_str(),
            dialog.local_tag.as_str(),
            dialog.remote_tag.as_str(),
            &*dialog.local_uri,
            &*dialog.remote_uri,
            &*dialog.remote_target,
            dialog.local_cseq,
            dialog.remote_cseq,
            dialog.event_id.as_deref(),
            integer(expires_at),
            notifier.map(|notifier| notifier.endpoint.as_str()),
            notifier.map(|notifier| notifier.accept.as_str()),
            front_end,
        ))?;
        for (hop, route) in (0i64..).zip(&dialog.routes) {
            self.route.execute((pair, role, position, hop, &**route))?;
        }
        Ok(())
    }
}

/// SQLite's integers are signed. No time comes near the end of them.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

const fn to_word(state: ToState) -> &'static str {
    match state {
        ToState::No => "no",
        ToState::Pending => "pending",
        ToState::Yes => "yes",
    }
}

const fn from_word(state: FromState) -> &'static str {
    match state {
        FromState::No => "no",
        FromState::Kept => "kept",
        FromState::Pending => "pending",
        FromState::Yes => "yes",
    }
}

pub(super) fn to_state(word: &str) -> Option<ToState> {
    [ToState::No, ToState::Pending, ToState::Yes].into_iter().find(|state| to_word(*state) == word)
}

pub(super) fn from_state(word: &str) -> Option<FromState> {
    [FromState::No, FromState::Kept, FromState::Pending, FromState::Yes]
        .into_iter()
        .find(|state| from_word(*state) == word)
}
