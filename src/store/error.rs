//! What can be wrong with the database, and what an administrator does about it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::FILE;

/// Something about the database that needs an administrator: where, what was seen, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {fault}{}; {}", .path.display(), in_brackets(.evidence), .fault.advice(.path))]
pub struct StoreError {
    pub path: PathBuf,
    pub fault: Fault,
    /// What was seen, in the words of the system or of SQLite; may be empty.
    pub evidence: String,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("cannot be written: its disk is full")]
    Full,
    #[error("cannot be written: it, or the file system it is on, is read-only")]
    ReadOnly,
    #[error("may not be used by this user")]
    Denied,
    #[error("is damaged")]
    Damaged,
    /// Of the database itself nothing is known.
    #[error("is damaged")]
    DamagedLog,
    #[error(
        "was written by a newer Nuncio: its schema has version {found}, this program knows {known} at most"
    )]
    Future { found: u32, known: u32 },
    #[error("is a database, but not one of Nuncio")]
    Foreign,
    #[error("is in use by another gateway")]
    InUse,
    #[error("is missing, but its companion {FILE}-wal with the last changes is there")]
    Orphaned,
    #[error("does not exist")]
    Absent,
    #[error("already exists")]
    Exists,
    #[error("was removed or replaced while the gateway ran")]
    Replaced,
    #[error("is locked by another program")]
    Locked,
    #[error("cannot be written: its disk does not answer")]
    Silent,
    #[error("cannot be used")]
    Other,
}

impl Fault {
    /// What to do about it.
    pub(crate) fn advice(&self, path: &Path) -> String {
        let folder = path.parent().unwrap_or(path).display();
        match self {
            Self::Full => format!("free some space there (df {folder})"),
            Self::ReadOnly => {
                format!(
                    "make {folder} writable again (mount shows how it is mounted, dmesg why it may have changed)"
                )
            }
            Self::Denied => {
                format!(
                    "let the user of the service own {folder} and the files in it (ls -ln shows who does)"
                )
            }
            Self::Damaged => format!(
                "nothing in it was changed. See what is wrong with \"nuncio store check --state-dir {folder}\", then \
                 restore a backup; without one, move {FILE}, {FILE}-wal and {FILE}-shm away: Nuncio then starts empty, \
                 and users have to add their contacts again"
            ),
            Self::DamagedLog => format!(
                "nothing in it was changed. Keep a copy of {FILE}, {FILE}-wal and {FILE}-shm, then move {FILE}-wal and \
                 {FILE}-shm away, and those two only: {FILE} by itself holds everything up to when its log was last taken over \
                 into it. What changed since is lost: contacts added since have to be added again, and consent taken back since \
                 holds again. If \"nuncio store check --state-dir {folder}\" then finds anything, restore a backup"
            ),
            Self::Future { .. } => {
                "run the newer version, or restore the backup that was made before it was installed"
                    .to_owned()
            }
            Self::Foreign => {
                "move it away, or set node.state_dir to a folder that is Nuncio's own".to_owned()
            }
            Self::InUse => "stop that one, or give each gateway its own node.state_dir".to_owned(),
            Self::Orphaned => format!(
                "put {FILE} back beside it; or restore a backup, and move {FILE}-wal and {FILE}-shm away"
            ),
            Self::Absent => "the gateway makes it at its first start; is this its node.state_dir?".to_owned(),
            Self::Exists => "choose another name: nothing is overwritten".to_owned(),
            Self::Replaced => format!(
                "put the file that was there back, with {FILE}-wal; or restart the gateway, which then loses what it \
                 could not write since"
            ),
            Self::Locked => format!(
                "end what holds it (fuser -v {} shows the process); backups are made with \"nuncio store backup\"",
                path.display()
            ),
            Self::Silent => format!("dmesg may say why, and findmnt -T {folder} what it is on"),
            Self::Other => "the words in brackets and dmesg may say why".to_owned(),
        }
    }
}

impl StoreError {
    /// What was seen, without what to do about it.
    pub fn found(&self) -> String {
        format!("it {}{}", self.fault, in_brackets(&self.evidence))
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        self.fault.advice(&self.path)
    }

    /// The disk is in the way, and nothing is wrong with what is on it.
    pub(super) fn is_of_the_disk(&self) -> bool {
        matches!(self.fault, Fault::Full | Fault::ReadOnly)
    }

    /// Neither time nor another start mends it.
    pub fn needs_somebody(&self) -> bool {
        matches!(
            self.fault,
            Fault::Damaged | Fault::DamagedLog | Fault::Future { .. } | Fault::Foreign | Fault::Orphaned
        )
    }

    pub(super) fn new(path: &Path, fault: Fault, evidence: impl Into<String>) -> Self {
        Self { path: path.to_owned(), fault, evidence: evidence.into() }
    }

    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::PermissionDenied => Fault::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Fault::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
            io::ErrorKind::NotFound => Fault::Absent,
            io::ErrorKind::AlreadyExists => Fault::Exists,
            _ => Fault::Other,
        };
        Self::new(path, fault, error.to_string())
    }

    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::Error;
        let fault = match error {
            // A value that the schema does not allow to be there.
            Error::IntegralValueOutOfRange(..)
            | Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => Fault::Damaged,
            error => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Fault::Full,
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => why_not(path),
                Some(ErrorCode::PermissionDenied) => Fault::Denied,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
                Some(ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed) => Fault::Locked,
                // The shared-memory file could not grow: SQLite calls a full disk by this name there.
                Some(ErrorCode::SystemIoFailure)
                    if error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
                {
                    Fault::Full
                }
                _ => Fault::Other,
            },
        };
        Self::new(path, fault, error.to_string())
    }
}

/// SQLite only says that it cannot: the file system may say why.
pub(super) fn why_not(path: &Path) -> Fault {
    let probe = path.with_extension("db.probe");
    let write = || {
        OpenOptions::new().read(true).write(true).open(path)?;
        // Then it was the companions it could not make.
        OpenOptions::new().write(true).create_new(true).open(&probe)?;
        std::fs::remove_file(&probe)
    };
    write().map_or_else(|error| StoreError::io(path, &error).fault, |()| Fault::ReadOnly)
}

/// The record itself was refused, not the disk's fault.
pub(super) fn refuses_record(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
        )
    )
}

fn in_brackets(evidence: &str) -> String {
    if evidence.is_empty() { String::new() } else { format!(" ({evidence})") }
}
