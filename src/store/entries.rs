//! Partners, policies and blocks that administrators made while the gateway ran.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::{FILE, StoreError, file, schema};
use crate::config::{Entry, Kind, Stored};

/// Table and column of its names.
const fn place(kind: Kind) -> (&'static str, &'static str) {
    (kind.as_str(), kind.named_by())
}

/// What is stored, for whoever checks a configuration beside the gateway. Nothing, if there is no database.
///
/// # Errors
/// It cannot be read.
pub fn stored(state_dir: &Path) -> Result<Stored, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Ok(Stored::default());
    }
    let connection = file::open_to_read(&path)?;
    // Older ones have none of it.
    if schema::identify(&path, &connection)? < 3 {
        return Ok(Stored::default());
    }
    load(&connection).map_err(|error| StoreError::sqlite(&path, &error))
}

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Stored> {
    let mut stored = Stored::default();
    for kind in Kind::ALL {
        let (table, name) = place(kind);
        let mut statement = connection.prepare(&format!("SELECT {name}, settings FROM {table}"))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let (name, settings): (String, String) = (row.get(0)?, row.get(1)?);
            // An object, unless somebody has been at it by hand: then the reader says what is missing.
            let settings: Entry = serde_json::from_str(&settings).unwrap_or_default();
            stored.put(kind, &name, settings);
        }
    }
    Ok(stored)
}

/// Puts an entry in its table, or takes it out.
pub(super) fn write(
    transaction: &Transaction<'_>,
    kind: Kind,
    name: &str,
    settings: Option<&str>,
    now: i64,
) -> rusqlite::Result<()> {
    let (table, column) = place(kind);
    let written = match settings {
        Some(settings) => transaction.execute(
            &format!(
                "INSERT INTO {table} ({column}, settings, changed_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT ({column}) DO UPDATE SET settings = ?2, changed_at = ?3"
            ),
            (name, settings, now),
        ),
        None => transaction.execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [name]),
    };
    written.map(drop)
}
