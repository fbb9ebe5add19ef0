//! The schema and its versions.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{Fault, StoreError};

/// Says in the file's header whose it is: "Nncy".
pub(super) const APPLICATION_ID: i32 = 0x4E6E_6379;

/// Each takes the schema from the version of its place to the next. What has been released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// The version this program writes.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The version of a database that is ours and not from the future.
pub(super) fn identify(path: &Path, connection: &Connection) -> Result<u32, StoreError> {
    identify_for(path, connection, VERSION)
}

/// Brings the database to [`VERSION`], each step whole or not at all; the version it had.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<u32, StoreError> {
    migrate_with(path, connection, MIGRATIONS)
}

fn identify_for(path: &Path, connection: &Connection, known: u32) -> Result<u32, StoreError> {
    let pragma = |name| {
        connection.pragma_query_one::<i32>(None, name).map_err(|error| StoreError::sqlite(path, &error))
    };
    let id = pragma("application_id")?;
    if id != APPLICATION_ID {
        return Err(StoreError::new(path, Fault::Foreign, format!("its application id is {id:#x}")));
    }
    let found = u32::try_from(pragma("user_version")?).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::new(path, Fault::Future { found, known }, ""));
    }
    Ok(found)
}

fn migrate_with(path: &Path, connection: &mut Connection, steps: &[&str]) -> Result<u32, StoreError> {
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    let before = identify_for(path, connection, known)?;
    for (version, step) in (0u32..).zip(steps).skip(before as usize) {
        let mut one = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", version + 1)?;
            transaction.execute(
                "INSERT INTO meta (name, value) VALUES (?1, datetime() || ' UTC, nuncio ' || ?2)",
                (format!("schema {}", version + 1), env!("CARGO_PKG_VERSION")),
            )?;
            transaction.commit()
        };
        one().map_err(|error| StoreError::sqlite(path, &error))?;
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection
    }

    fn version(connection: &Connection) -> u32 {
        connection.pragma_query_one(None, "user_version").unwrap()
    }

    #[test]
    fn later_steps_are_taken_from_where_the_database_is() {
        let mut connection = database();
        let path = Path::new("x");
        let first = MIGRATIONS[0];
        assert_eq!(migrate_with(path, &mut connection, &[first]), Ok(0));
        connection.execute("INSERT INTO secret VALUES ('a', x'00', 1)", ()).unwrap();
        let second = "ALTER TABLE secret ADD COLUMN used INTEGER NOT NULL DEFAULT 7";
        assert_eq!(migrate_with(path, &mut connection, &[first, second]), Ok(1));
        assert_eq!(connection.query_row("SELECT used FROM secret", (), |row| row.get(0)), Ok(7));
        assert_eq!(version(&connection), 2);
        assert_eq!(migrate_with(path, &mut connection, &[first, second]), Ok(2), "nothing left to do");
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = database();
        let path = Path::new("x");
        let first = MIGRATIONS[0];
        let broken = "CREATE TABLE half (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)";
        assert!(migrate_with(path, &mut connection, &[first, broken]).is_err());
        assert_eq!(version(&connection), 1);
        assert!(connection.prepare("SELECT * FROM half").is_err());
    }

    #[test]
    fn the_version_that_this_program_knows_is_accepted_and_the_next_is_not() {
        let connection = database();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let path = Path::new("x");
        assert_eq!(identify_for(path, &connection, 3), Ok(3));
        let error = identify_for(path, &connection, 2).unwrap_err();
        assert_eq!(error.fault, Fault::Future { found: 3, known: 2 });
    }
}
