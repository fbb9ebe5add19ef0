//! A copy of the database, while the gateway runs or not.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::check::damage_of_log;
use super::{FILE, Fault, StoreError, file, schema};

/// Writes a whole, consistent and compact copy to `target`, readable for its owner only; its size in bytes.
/// The gateway may run and write meanwhile: the copy is of the moment it began.
///
/// # Errors
/// There is nothing to copy, it is damaged, or `target` exists or cannot be written. No half copy stays behind.
pub fn backup(state_dir: &Path, target: &Path) -> Result<u64, StoreError> {
    let path = state_dir.join(FILE);
    if file::look(&path)? == file::Found::Nothing {
        return Err(StoreError::new(&path, Fault::Absent, ""));
    }
    let connection = file::open_to_read(&path)?;
    schema::identify(&path, &connection)?;
    // A copy of a damaged database is no backup, and might take the place of one that is.
    if let Some(finding) = file::examine(&path, &connection, false)?.into_iter().next() {
        return Err(StoreError::new(&path, Fault::Damaged, finding));
    }
    if let Some(damage) = damage_of_log(state_dir, &path) {
        return Err(StoreError::new(&path, Fault::DamagedLog, damage));
    }
    let io = |error: std::io::Error| StoreError::io(target, &error);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).map_err(io)?;
    let copy = || {
        let Some(name) = target.to_str() else {
            return Err(StoreError::new(target, Fault::Other, "its name is not UTF-8"));
        };
        connection
            .execute("VACUUM main INTO ?1", [name])
            .map_err(|error| StoreError::sqlite(target, &error))?;
        let copy = File::open(target).map_err(io)?;
        copy.sync_all().map_err(io)?;
        // A name is for good only when its folder is on the disk, too.
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(copy.metadata().map_err(io)?.len())
    };
    let copied = copy();
    if copied.is_err() {
        let _ = fs::remove_file(target);
    }
    copied
}
