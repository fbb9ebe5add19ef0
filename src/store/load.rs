//! Records as rows: reading. Four tables, each in the order of the pairs, are read side by side, so that memory holds one
//! pair at a time however many there are.

use compact_str::CompactString;
use nuncio_sip::event::DialogRecord;
use nuncio_translate::judge::Added;
use nuncio_translate::pair::{NotifierRecord, PairKey, PairRecord, SubscriberRecord};
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, Error, Result, Row, Rows};

use super::rows::{SUBSCRIBER, from_state, to_state};

const PAIRS: &str = "SELECT id, sip_user, contact, added_since, last_subscribe, sip_user_wrote, to_state, from_state, \
    from_since FROM pair ORDER BY id";
const DIALOGS: &str = "SELECT pair, role, position, call_id, local_tag, remote_tag, local_uri, remote_uri, \
    remote_target, local_cseq, remote_cseq, event_id, expires_at, endpoint, accept, front_end FROM dialog \
    ORDER BY pair, role, position";
const ROUTES: &str = "SELECT pair, role, dialog, hop, route FROM route ORDER BY pair, role, dialog, hop";
const SHOWN: &str = "SELECT pair, position, resource FROM shown ORDER BY pair, position";

/// Gives every pair to `each`, as one consistent state; how many there were.
pub(super) fn pairs(connection: &Connection, each: &mut dyn FnMut(PairKey, PairRecord)) -> Result<u64> {
    let transaction = connection.unchecked_transaction()?;
    let mut statements = [PAIRS, DIALOGS, ROUTES, SHOWN].map(|sql| transaction.prepare(sql));
    let [Ok(pairs), Ok(dialogs), Ok(routes), Ok(shown)] = &mut statements else {
        // One of them is an error: this one.
        return statements.into_iter().find_map(Result::err).map_or(Ok(0), Err);
    };
    let mut pairs = pairs.query(())?;
    let mut dialogs = Cursor::new(dialogs.query(())?, dialog)?;
    let mut routes = Cursor::new(routes.query(())?, |row| {
        Ok((DialogName { pair: row.get(0)?, role: text(row, 1)?, position: row.get(2)? }, boxed(row, 4)?))
    })?;
    let mut shown = Cursor::new(shown.query(())?, |row| Ok((row.get::<_, i64>(0)?, text(row, 2)?)))?;
    let mut count = 0;
    while let Some(row) = pairs.next()? {
        let id: i64 = row.get(0)?;
        let (key, mut record) = pair(row)?;
        while let Some(mut found) = dialogs.next_if(|found| found.name.pair == id)? {
            let mut set = Vec::new();
            while let Some((_, route)) = routes.next_if(|(name, _)| *name == found.name)? {
                set.push(route);
            }
            found.dialog.routes = set.into();
            found.give(&mut record)?;
        }
        while let Some((_, resource)) = shown.next_if(|(pair, _)| *pair == id)? {
            record.shown.push(resource);
        }
        each(key, record);
        count += 1;
    }
    if dialogs.next.is_some() || routes.next.is_some() || shown.next.is_some() {
        return Err(wrong(0, "dialogs, routes or shown resources that belong to no pair"));
    }
    Ok(count)
}

/// Rows of one table, with a look at the next.
struct Cursor<'s, F, T> {
    rows: Rows<'s>,
    read: F,
    next: Option<T>,
}

impl<'s, T, F: FnMut(&Row<'_>) -> Result<T>> Cursor<'s, F, T> {
    fn new(rows: Rows<'s>, read: F) -> Result<Self> {
        let mut cursor = Self { rows, read, next: None };
        cursor.step()?;
        Ok(cursor)
    }

    fn next_if(&mut self, condition: impl FnOnce(&T) -> bool) -> Result<Option<T>> {
        let Some(next) = self.next.take_if(|next| condition(next)) else { return Ok(None) };
        self.step()?;
        Ok(Some(next))
    }

    fn step(&mut self) -> Result<()> {
        self.next = self.rows.next()?.map(&mut self.read).transpose()?;
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
struct DialogName {
    pair: i64,
    role: CompactString,
    position: i64,
}

struct FoundDialog {
    name: DialogName,
    dialog: DialogRecord,
    expires_at: u64,
    endpoint: Option<CompactString>,
    accept: Option<CompactString>,
    front_end: Option<CompactString>,
}

impl FoundDialog {
    fn give(self, record: &mut PairRecord) -> Result<()> {
        let Self { name, dialog, expires_at, endpoint, accept, front_end } = self;
        if name.role == SUBSCRIBER {
            let front_end = front_end.unwrap_or_default();
            record.subscriber = Some(SubscriberRecord { dialog, expires_at, front_end });
        } else {
            let (Some(endpoint), Some(accept), Some(front_end)) = (endpoint, accept, front_end) else {
                return Err(wrong(13, "a notifier dialog without endpoint, accept or front_end"));
            };
            record.notifiers.push(NotifierRecord { dialog, endpoint, accept, expires_at, front_end });
        }
        Ok(())
    }
}

fn pair(row: &Row<'_>) -> Result<(PairKey, PairRecord)> {
    let key = PairKey::new(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
    let record = PairRecord {
        added: match (optional_time(row, 3)?, optional_time(row, 4)?) {
            (Some(since), Some(last_subscribe)) => Some(Added { since, last_subscribe }),
            _ => None,
        },
        sip_user_wrote: optional_time(row, 5)?,
        to: to_state(row.get_ref(6)?.as_str()?).ok_or_else(|| wrong(6, "an unknown to_state"))?,
        from: from_state(row.get_ref(7)?.as_str()?).ok_or_else(|| wrong(7, "an unknown from_state"))?,
        from_since: time(row, 8)?,
        ..PairRecord::default()
    };
    Ok((key, record))
}

fn dialog(row: &Row<'_>) -> Result<FoundDialog> {
    Ok(FoundDialog {
        name: DialogName { pair: row.get(0)?, role: text(row, 1)?, position: row.get(2)? },
        dialog: DialogRecord {
            call_id: text(row, 3)?,
            local_tag: text(row, 4)?,
            remote_tag: text(row, 5)?,
            local_uri: boxed(row, 6)?,
            remote_uri: boxed(row, 7)?,
            remote_target: boxed(row, 8)?,
            routes: Box::default(),
            local_cseq: row.get(9)?,
            remote_cseq: row.get(10)?,
            event_id: optional_text(row, 11)?,
        },
        expires_at: time(row, 12)?,
        endpoint: optional_text(row, 13)?,
        accept: optional_text(row, 14)?,
        front_end: optional_text(row, 15)?,
    })
}

fn text(row: &Row<'_>, column: usize) -> Result<CompactString> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

fn boxed(row: &Row<'_>, column: usize) -> Result<Box<str>> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

fn optional_text(row: &Row<'_>, column: usize) -> Result<Option<CompactString>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.map(Into::into))
}

fn time(row: &Row<'_>, column: usize) -> Result<u64> {
    unsigned(column, row.get(column)?)
}

fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    <Option<i64> as FromSql>::column_result(row.get_ref(column)?)?
        .map(|value| unsigned(column, value))
        .transpose()
}

fn unsigned(column: usize, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

fn wrong(column: usize, what: &'static str) -> Error {
    Error::FromSqlConversionFailure(column, Type::Null, what.into())
}
