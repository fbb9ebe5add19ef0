//! The database file: making it, looking at it before SQLite does, opening it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::error::why_not;
use super::schema::{self, APPLICATION_ID};
use super::{Fault, StoreError};

/// How long a lock of somebody else on the database is waited for: a backup made with another program, say.
const PATIENCE: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this when it has been larger.
const LOG_SIZE: i64 = 16 << 20;

/// With less room than this on its disk, SQLite cannot even open it to write.
const LEAST_ROOM: u64 = 64 << 10;

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A database, and whether the program that wrote it last closed it properly.
    Database {
        clean: bool,
    },
}

/// Looks at the file without changing anything.
pub(super) fn look(path: &Path) -> Result<Found, StoreError> {
    let log = log_size(path)?;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return if log > 0 {
                Err(StoreError::new(path, Fault::Orphaned, ""))
            } else {
                Ok(Found::Nothing)
            };
        }
        Err(error) => return Err(StoreError::io(path, &error)),
    };
    let size = file.metadata().map_err(|error| StoreError::io(path, &error))?.len();
    let mut head = [0; 32];
    let damaged = |evidence: String| Err(StoreError::new(path, Fault::Damaged, evidence));
    match file.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return damaged(format!("it has {size} bytes, too few for any database"));
        }
        Err(error) => return Err(StoreError::io(path, &error)),
    }
    let Some(rest) = head.strip_prefix(MAGIC) else {
        return damaged("it does not begin like an SQLite database".to_owned());
    };
    // With a log beside it, the file may lag behind its own header.
    if log == 0
        && let ([page_high, page_low, ..], [.., a, b, c, d]) = (rest, rest)
    {
        let page = match u16::from_be_bytes([*page_high, *page_low]) {
            1 => 65_536,
            page => u64::from(page),
        };
        let expected = page * u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        if size < expected {
            return damaged(format!("it has {size} bytes of {expected}: its end is missing"));
        }
    }
    Ok(Found::Database { clean: log == 0 })
}

/// Makes an empty database, readable for its owner only. Written aside and renamed: a crash leaves a whole one or none, so
/// an empty file is always the sign of damage.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let aside = path.with_extension("db.new");
    let io = |error: io::Error| StoreError::io(path, &error);
    let sqlite = |error: rusqlite::Error| StoreError::sqlite(path, &error);
    for leftover in [aside.clone(), with_suffix(&aside, "-journal")] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).map_err(io)?;
    let mut connection = Connection::open_with_flags(&aside, flags(true)).map_err(sqlite)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sqlite)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    schema::migrate(path, &mut connection)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    fs::rename(&aside, path).map_err(io)?;
    // Renamed for good only when the folder is on the disk, too.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(io)
}

/// Opens it for the gateway, if it is ours to write.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |error| StoreError::sqlite(path, &error);
    let connection = Connection::open_with_flags(path, flags(true)).map_err(sqlite)?;
    careful(&connection).map_err(sqlite)?;
    // What follows changes the file: not before it is known whose it is.
    schema::identify(path, &connection)?;
    let prepare = || {
        // A commit is on the disk when it returns, not only with the operating system: tickets promise it.
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_SIZE, |_| Ok(()))
    };
    prepare().map_err(sqlite)?;
    match connection.is_readonly("main") {
        Ok(false) => Ok(connection),
        // SQLite settles for reading when it may not write.
        _ => Err(StoreError::new(path, why_not(path), "it can only be read")),
    }
}

/// Opens it for looking only, beside a gateway that may be running.
///
/// SQLite shares an index of the log through a file that it makes even for a reader. On a disk that takes no file it
/// cannot; if there is no log, it does not need to: then nobody has the database open, and it is read as it lies there.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |error| StoreError::sqlite(path, &error);
    let connection = Connection::open_with_flags(path, flags(false)).map_err(sqlite)?;
    careful(&connection).map_err(sqlite)?;
    // The last one who closes it tidies up, and with the log the sign would go that the gateway had no time to.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    // The file is not touched before something is asked. What else may be wrong with it is for the caller to find.
    match connection.pragma_query_one::<i32>(None, "user_version").map_err(sqlite) {
        Err(error) if error.is_of_the_disk() && log_size(path)? == 0 => {
            let flags = flags(false) | OpenFlags::SQLITE_OPEN_URI;
            let connection = Connection::open_with_flags(as_it_lies(path), flags).map_err(sqlite)?;
            careful(&connection).map_err(sqlite)?;
            Ok(connection)
        }
        _ => Ok(connection),
    }
}

/// What keeps the database from being written, as far as can be seen without trying. Changes nothing.
pub(super) fn obstacle(path: &Path) -> Option<StoreError> {
    for file in ["", "-wal", "-shm"].map(|suffix| with_suffix(path, suffix)) {
        match OpenOptions::new().write(true).open(&file) {
            // Companions come and go.
            Err(error) if error.kind() == ErrorKind::NotFound && file != path => {}
            Err(error) => return Some(StoreError::io(&file, &error)),
            Ok(_) => {}
        }
    }
    let folder = path.parent().unwrap_or(path);
    if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return Some(StoreError::io(path, &error.into())).map(|error| StoreError {
            evidence: format!("no files can be made beside it: {}", error.evidence),
            ..error
        });
    }
    let disk = rustix::fs::statvfs(path).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free < LEAST_ROOM).then(|| StoreError::new(path, Fault::Full, format!("{} KiB are free", free / 1024)))
}

/// The name of the file in SQLite's manner, with the word that nobody changes it.
fn as_it_lies(path: &Path) -> OsString {
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            byte => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    OsString::from_vec(name)
}

/// SQLite's own check of the whole file; `Err` has what it found.
pub(super) fn examine(
    path: &Path,
    connection: &Connection,
    thorough: bool,
) -> Result<Vec<String>, StoreError> {
    let examine = || {
        let pragma = if thorough { "PRAGMA integrity_check(20)" } else { "PRAGMA quick_check(20)" };
        let mut statement = connection.prepare(pragma)?;
        let mut findings = Vec::new();
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let finding: String = row.get(0)?;
            findings.extend(finding.lines().filter(|line| *line != "ok").map(str::to_owned));
        }
        Ok(findings)
    };
    examine().map_err(|error| StoreError::sqlite(path, &error))
}

/// What the file is, whatever its name: to notice that it is not the same any more.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

fn careful(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn flags(write: bool) -> OpenFlags {
    let mode = if write { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn log_size(path: &Path) -> Result<u64, StoreError> {
    let log = with_suffix(path, "-wal");
    match fs::metadata(&log) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StoreError::io(&log, &error)),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
