//! Taking consent away while no gateway runs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nuncio_translate::pair::PairKey;
use rusqlite::{Connection, OptionalExtension, Result, Transaction};

use super::lock::Lock;
use super::rows::integer;
use super::{FILE, Fault, StoreError, file, log, schema};

/// What there was to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is on record of the two.
    Unknown,
    /// The SIP user does not count as having added the contact.
    NotAdded,
    /// He did until now.
    Taken {
        /// Subscriptions of his endpoints, which end when the gateway starts.
        endpoints: usize,
        /// The contact sees him, or waits to. Whether that ends depends on the type of the partner.
        contact_watches: bool,
    },
}

/// From now on the SIP user has not added the contact. The audit trail says so; what follows from it happens when the
/// gateway starts: see `Pair::resume`.
///
/// # Errors
/// A gateway runs on this directory, there is no database in it, or it cannot be read or written. Nothing is changed then.
pub fn forget_consent(
    state_dir: &Path,
    key: &PairKey,
    who: &str,
) -> std::result::Result<Forgotten, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    let _lock = Lock::take(state_dir)?;
    log::check(&path)?;
    let mut connection = file::open(&path)?;
    if let Some(finding) = file::examine(&path, &connection, false)?.into_iter().next() {
        return Err(StoreError::new(&path, Fault::Damaged, finding));
    }
    schema::migrate(&path, &mut connection)?;
    take(&mut connection, key, who).map_err(|error| StoreError::sqlite(&path, &error))
}

fn take(connection: &mut Connection, key: &PairKey, who: &str) -> Result<Forgotten> {
    let transaction = connection.transaction()?;
    let found = transaction.query_row(FIND, (key.sip_user(), key.contact()), |row| {
        let (id, added): (i64, bool) = (row.get(0)?, row.get(1)?);
        let (endpoints, contact_watches): (i64, bool) = (row.get(2)?, row.get(3)?);
        Ok((id, added, usize::try_from(endpoints).unwrap_or_default(), contact_watches))
    });
    let Some((id, added, endpoints, contact_watches)) = found.optional()? else {
        return Ok(Forgotten::Unknown);
    };
    if !added {
        return Ok(Forgotten::NotAdded);
    }
    forget(&transaction, id, key, who)?;
    transaction.commit()?;
    Ok(Forgotten::Taken { endpoints, contact_watches })
}

fn forget(transaction: &Transaction<'_>, id: i64, key: &PairKey, who: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| integer(since.as_secs()));
    transaction.execute(FORGET, (id, now))?;
    transaction.execute(FORGET_EMPTY, [id])?;
    let subject = format!("{} {}", key.sip_user(), key.contact());
    transaction.execute(TELL, (now, who, WHAT, subject))?;
    Ok(())
}

/// In the words of the gateway, when it is the one that does it.
const WHAT: &str = "the contact does not count as added any more";

const FIND: &str = "SELECT id, added_since IS NOT NULL, \
    (SELECT count(*) FROM dialog WHERE pair = pair.id AND role = 'notifier'), from_state <> 'no' \
    FROM pair WHERE sip_user = ?1 AND contact = ?2";
const FORGET: &str = "UPDATE pair SET added_since = NULL, last_subscribe = NULL, saved_at = ?2 WHERE id = ?1";
/// A record with nothing in it is none.
const FORGET_EMPTY: &str = "DELETE FROM pair WHERE id = ?1 AND to_state = 'no' AND from_state = 'no' \
    AND from_since = 0 AND sip_user_wrote IS NULL \
    AND NOT EXISTS (SELECT 1 FROM dialog WHERE pair = ?1) AND NOT EXISTS (SELECT 1 FROM shown WHERE pair = ?1)";
const TELL: &str =
    "INSERT INTO audit (at, actor, what, subject, became) VALUES (?1, ?2, ?3, ?4, '(removed)')";
