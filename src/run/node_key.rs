//! The key of the checks in our stanza ids. It outlives the process, so that an error in answer to a
//! message sent before a restart is still recognised.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use nuncio_translate::stanza_id::Key;
use siphasher::sip::SipHasher24;

/// Its name in the state directory.
pub(crate) const FILE: &str = "node.key";
/// In octets.
pub(crate) const LENGTH: usize = 16;

/// The secret of this node.
pub(crate) struct NodeKey([u8; LENGTH]);

impl NodeKey {
    /// The key of the checks in stanza ids.
    pub(crate) fn of_ids(&self) -> Key {
        Key::new(self.0)
    }

    /// Another key made from it: tags of addresses in the log say nothing about the checks in ids.
    pub(crate) fn of_log(&self) -> [u8; LENGTH] {
        self.made_of(b"nuncio log addresses 1", b"nuncio log addresses 2")
    }

    /// Another one: the names under which public partners see resources.
    pub(crate) fn of_names(&self) -> [u8; LENGTH] {
        self.made_of(b"nuncio resource names 1", b"nuncio resource names 2")
    }

    fn made_of(&self, first: &[u8], second: &[u8]) -> [u8; LENGTH] {
        let half = |label: &[u8]| SipHasher24::new_with_key(&self.0).hash(label).to_le_bytes();
        let mut key = [0; LENGTH];
        let halves = [half(first), half(second)];
        key.iter_mut().zip(halves.as_flattened()).for_each(|(byte, made)| *byte = *made);
        key
    }
}

/// Reads the key from the state directory, or makes one there.
///
/// # Errors
/// The directory or the file cannot be used; the text says what to do.
pub(crate) fn load(state_dir: &Path) -> anyhow::Result<NodeKey> {
    let path = state_dir.join(FILE);
    match fs::File::open(&path) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
            match <[u8; LENGTH]>::try_from(bytes.as_slice()) {
                Ok(key) => Ok(NodeKey(key)),
                Err(_) => bail!(
                    "{} has {} bytes instead of {LENGTH}: it is damaged; delete it and a new one is made \
                     (late errors to messages sent before are then not recognised)",
                    path.display(),
                    bytes.len()
                ),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(state_dir, &path),
        Err(error) => Err(error).with_context(|| {
            format!("cannot open {}; set node.state_dir to a directory we may use", path.display())
        }),
    }
}

/// Written aside and renamed, so that a crash leaves a whole file or none.
fn make(state_dir: &Path, path: &Path) -> anyhow::Result<NodeKey> {
    fs::create_dir_all(state_dir).with_context(|| {
        format!(
            "cannot make the state directory {}; set node.state_dir to one we may write",
            state_dir.display()
        )
    })?;
    let key: [u8; LENGTH] = rand::random();
    let aside = path.with_extension("key.new");
    let _ = fs::remove_file(&aside);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().with_context(|| {
        format!("cannot write {}; may this user write the state directory?", path.display())
    })?;
    Ok(NodeKey(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_private_and_the_same_ever_after() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        load(&state).unwrap();
        let bytes = fs::read(state.join(FILE)).unwrap();
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        load(&state).unwrap();
        assert_eq!(fs::read(state.join(FILE)).unwrap(), bytes);
    }

    #[test]
    fn sec_35_the_key_of_log_tags_outlives_a_restart_and_differs_from_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path()).unwrap().of_log();
        assert_eq!(load(dir.path()).unwrap().of_log(), first);
        assert_ne!(fs::read(dir.path().join(FILE)).unwrap(), first);
        assert_ne!(load(tempfile::tempdir().unwrap().path()).unwrap().of_log(), first);
    }

    #[test]
    fn a_damaged_file_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"short").unwrap();
        let error = load(dir.path()).err().unwrap().to_string();
        assert!(error.contains("5 bytes instead of 16") && error.contains("delete it"), "{error}");
    }
}
