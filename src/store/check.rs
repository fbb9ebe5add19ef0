//! Whether the database is whole.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::lock::Lock;
use super::{FILE, Fault, StoreError, file, load, log, schema};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub path: PathBuf,
    pub schema: u32,
    /// Tables with the number of their rows.
    pub tables: Vec<(&'static str, u64)>,
    /// Of the database and its log.
    pub bytes: u64,
    /// What is wrong; empty: nothing.
    pub findings: Vec<String>,
    /// What kind of damage that is.
    pub fault: Option<Fault>,
    /// Why it cannot be written now, and what to do; `None`: nothing is in the way.
    pub unwritable: Option<StoreError>,
}

const TABLES: [&str; 11] = [
    "pair", "dialog", "route", "shown", "pending", "audit", "secret", "proved", "partner", "policy", "block",
];

/// Reads everything, changes nothing. The gateway may run.
///
/// # Errors
/// There is no database, or one that cannot even be opened.
pub fn check(state_dir: &Path) -> Result<Checked, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    let connection = file::open_to_read(&path)?;
    let schema = schema::identify(&path, &connection)?;
    // Damage may be such that SQLite's own check cannot run: then that is the finding.
    let mut findings = match file::examine(&path, &connection, true) {
        Err(error) if error.fault == Fault::Damaged => vec![error.evidence],
        findings => findings?,
    };
    let log = damage_of_log(state_dir, &path);
    match foreign_keys(&connection) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(error.to_string()),
    }
    if let Err(error) = load::pairs(&connection, &mut |_, _| {}) {
        findings.push(format!("a record cannot be read: {error}"));
    }
    let mut tables = Vec::new();
    for table in TABLES {
        match connection.query_one(&format!("SELECT count(*) FROM {table}"), (), |row| row.get::<_, i64>(0)) {
            Ok(count) => tables.push((table, u64::try_from(count).unwrap_or_default())),
            Err(error) => findings.push(format!("table {table}: {error}")),
        }
    }
    // The log alone is another matter than the database.
    let fault = if findings.is_empty() && log.is_some() { Fault::DamagedLog } else { Fault::Damaged };
    findings.extend(log);
    let fault = (!findings.is_empty()).then_some(fault);
    let size = |suffix| std::fs::metadata(file::with_suffix(&path, suffix)).map_or(0, |meta| meta.len());
    let unwritable = file::obstacle(&path);
    Ok(Checked { fault, unwritable, schema, tables, bytes: size("") + size("-wal"), findings, path })
}

/// Looks whether there is a database that this version can use, without reading through it; its schema, `None`
/// if there is none yet. Changes nothing. The gateway may run.
///
/// # Errors
/// It cannot be used; the text says what to do.
pub fn glance(state_dir: &Path) -> Result<Option<u32>, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Ok(None);
    }
    schema::identify(&path, &file::open_to_read(&path)?).map(Some)
}

/// Why the database cannot be written now, as far as can be seen without trying; `None`: there is none, or nothing is in
/// the way.
pub fn obstacle(state_dir: &Path) -> Option<StoreError> {
    let path = state_dir.join(FILE);
    path.exists().then(|| file::obstacle(&path)).flatten()
}

/// What a gateway would refuse to start with. One that runs changes the log while it is read.
pub(super) fn damage_of_log(state_dir: &Path, path: &Path) -> Option<String> {
    log::damage(path).ok()??;
    let _nobody_writes = Lock::take_as_it_is(state_dir).ok()?;
    log::damage(path).ok()?
}

fn foreign_keys(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let found = statement.query_map((), |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} belongs to no row of {parent}"))
    })?;
    found.take(20).collect()
}
