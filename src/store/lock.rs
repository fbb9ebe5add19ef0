//! One gateway for one state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is only helps; not being able to read it changes nothing.
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                let evidence = format!("process {} holds {LOCK}", holder.trim());
                return Err(StoreError::new(&state_dir.join(FILE), Fault::InUse, evidence));
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, &error)),
        }
        // On a full disk there is no room for the number, and the lock holds all the same.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}
