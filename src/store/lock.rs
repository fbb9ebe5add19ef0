//! One gateway for one state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

use super::{FILE, Fault, StoreError};

const LOCK: &str = "nuncio.lock";

/// Held as long as this lives; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started still has a copy of the descriptor.
        let _ = self.0.unlock();
    }
}

impl Lock {
    pub(super) fn take(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(LOCK);
        let mut file = open(&path, state_dir).map_err(|error| StoreError::io(&path, &error))?;
        hold(&mut file, state_dir)?;
        // On a full disk there is no room for the number, and the lock holds all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }

    /// The same where nothing can be written: the kernel locks a file that can only be read as well. `None`: there is no
    /// such file, so no gateway has it.
    pub(super) fn take_as_it_is(state_dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = state_dir.join(LOCK);
        match File::open(&path) {
            Ok(mut file) => hold(&mut file, state_dir).map(|()| Some(Self(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&path, &error)),
        }
    }
}

/// Opens the file, or makes it. A link is not followed: what is in the directory is the service's to decide, and who opens it
/// may be root.
fn open(path: &Path, state_dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // An administrator makes it as root, by a command; the gateway has to be able to open it afterwards.
            let (folder, made) = (std::fs::metadata(state_dir)?, file.metadata()?);
            if folder.uid() != made.uid() && rustix::process::geteuid().is_root() {
                fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

fn hold(file: &mut File, state_dir: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who it is only helps; not being able to read it changes nothing.
            let _ = file.take(32).read_to_string(&mut holder);
            let evidence = format!("process {} holds {LOCK}", holder.trim());
            Err(StoreError::new(&state_dir.join(FILE), Fault::InUse, evidence))
        }
        Err(TryLockError::Error(error)) => Err(StoreError::io(&state_dir.join(LOCK), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As root it is somebody else's directory, as it is when an administrator runs a command; otherwise it is our own.
    #[test]
    fn the_lock_belongs_to_whom_the_directory_belongs() {
        let folder = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(folder.path(), Some(12345), Some(12346)).unwrap();
        }
        let lock = Lock::take(folder.path()).unwrap();
        let (folder, lock) = (std::fs::metadata(folder.path()).unwrap(), lock.0.metadata().unwrap());
        assert_eq!((lock.uid(), lock.gid()), (folder.uid(), folder.gid()));
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "not to be touched").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join(LOCK)).unwrap();
        assert!(Lock::take(folder.path()).is_err());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "not to be touched");
    }
}
