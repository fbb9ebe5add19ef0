//! One gateway for one state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io(&path, &error))?;
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
