//! Keys that wait for their certificate are not lost: a certificate that a CA has signed is of no use without its key.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::files::{FileError, beside, exists, folder, rename};
use super::{Imported, Place};
use crate::tls::{Identity, public_key_of};

/// Why nothing was kept ready.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another key is waiting where the one that was brought would be put.
    #[error(
        "{} is a key whose certificate is not here yet: a request is with the CA, and what the CA sends would be of no use without \
         this key. Import that first; or say --replace-key, and the key that was given takes its place, while this one is kept beside it",
        .0.display()
    )]
    Waiting(PathBuf),
    /// A file cannot be written or moved.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes what was imported beside its places. A key that waits for its certificate is in the way, unless it is to be replaced;
/// then it is kept, and its file is in the answer. If something cannot be written, the keys that gave way are where they were.
///
/// # Errors
/// See [`StoreError`].
pub fn store(imported: &[Imported], replace_key: bool) -> Result<Vec<PathBuf>, StoreError> {
    let mut in_the_way = Vec::new();
    for imported in imported {
        let Some(key) = imported.brings_key() else { continue };
        let file = beside(&imported.place.key, ".new");
        // Several certificates may share a key.
        if !in_the_way.contains(&file) && waits_without_certificate(&imported.place, key)? {
            in_the_way.push(file);
        }
    }
    if let (Some(file), false) = (in_the_way.first(), replace_key) {
        return Err(StoreError::Waiting(file.clone()));
    }
    let mut gave_way = GaveWay::default();
    let moved = in_the_way.iter().try_for_each(|file| gave_way.put_by(file));
    match moved.and_then(|()| imported.iter().try_for_each(Imported::store)) {
        Ok(()) => Ok(gave_way.kept()),
        Err(error) => Err(gave_way.back(error).into()),
    }
}

/// Whether another key than this one waits at a place, and has no certificate yet.
fn waits_without_certificate(place: &Place, key: &[u8]) -> Result<bool, FileError> {
    let file = beside(&place.key, ".new");
    if !exists(&file)? {
        return Ok(false);
    }
    let there = fs::read(&file).map_err(|error| FileError::Io { path: file.clone(), error })?;
    let public = |key: &[u8]| public_key_of(key, &file).ok();
    let same = there == key || public(&there).is_some_and(|there| public(key) == Some(there));
    let certificate = beside(&place.certificate, ".new");
    Ok(!same && Identity::load(&certificate, &file).is_err())
}

/// Keys that gave way to others: where each was, and where it is kept.
#[derive(Debug, Default)]
pub(super) struct GaveWay(Vec<(PathBuf, PathBuf)>);

impl GaveWay {
    /// Moves a file out of the way, to a name that nobody has.
    pub(super) fn put_by(&mut self, file: &Path) -> Result<(), FileError> {
        let mut number = 1;
        loop {
            let to = beside(file, &format!(".kept-{number}"));
            match rename(file, &to, false) {
                Err(FileError::Exists(_)) => number += 1,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.0.push((file.into(), to));
                    return Ok(());
                }
            }
        }
    }

    /// Where they are kept.
    pub(super) fn kept(self) -> Vec<PathBuf> {
        self.0.into_iter().map(|(_, to)| to).collect()
    }

    /// After an error: each is where it was. What may have been written there meanwhile is a copy, or a key that nobody has
    /// asked a certificate for.
    pub(super) fn back(self, error: FileError) -> FileError {
        let away: Vec<_> = self.0.into_iter().filter(|(from, to)| rename(to, from, true).is_err()).collect();
        match away.as_slice() {
            [] => error,
            _ => FileError::Away {
                error: Box::new(error),
                files: away.into_iter().map(|(_, to)| to).collect(),
            },
        }
    }
}

/// The keys that once waited at a place and gave way.
pub(super) fn kept_at(key: &Path) -> Vec<PathBuf> {
    let begins = beside(key, ".new.kept-");
    let begins = begins.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let is_kept = |path: &PathBuf| {
        let rest = path.file_name().and_then(|name| name.as_bytes().strip_prefix(begins));
        rest.is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
    };
    let there = fs::read_dir(folder(key)).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kept: Vec<PathBuf> = there.filter(is_kept).collect();
    kept.sort();
    kept
}

#[cfg(test)]
mod tests {
    use super::super::places::tests::config;
    use super::super::{Keys, import, places};
    use super::*;
    use crate::config::Config;
    use crate::tls::testing::{Ca, Issued, now};

    /// A key from elsewhere, with its certificate, for the XMPP side.
    fn brought(config: &Config, issued: &Issued) -> Vec<Imported> {
        let places = places(config);
        let given = Some((PathBuf::from("given.key"), issued.key_pem().into_bytes()));
        let texts = [(PathBuf::from("brought.pem"), issued.pem().into_bytes())];
        import(config, &[&places[1]], &texts, &Keys { given, named: true }, now()).unwrap()
    }

    #[test]
    fn a_key_whose_request_is_with_the_ca_is_not_overwritten_and_never_lost() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let file = folder.path().join("contoso.key.new");
        let ca = Ca::new("Root");
        let (waiting, issued) = (ca.server(&["contoso.com"]).key_pem(), ca.server(&["contoso.com"]));
        fs::write(&file, &waiting).unwrap();
        let imported = brought(&config, &issued);
        let refused = store(&imported, false).unwrap_err().to_string();
        assert!(refused.contains("contoso.key.new") && refused.contains("--replace-key"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), waiting);
        assert!(!folder.path().join("contoso.pem.new").exists(), "half of it");

        let kept = store(&imported, true).unwrap();
        assert_eq!(kept, [folder.path().join("contoso.key.new.kept-1")]);
        assert_eq!(fs::read_to_string(&kept[0]).unwrap(), waiting);
        assert_eq!(fs::read_to_string(&file).unwrap(), issued.key_pem());

        // Its certificate is here: nothing of it is with a CA, and a newer one may come.
        assert!(store(&imported, false).unwrap().is_empty());
        assert!(store(&brought(&config, &ca.server(&["contoso.com"])), false).unwrap().is_empty());

        fs::write(&file, &waiting).unwrap();
        assert_eq!(store(&imported, true).unwrap(), [folder.path().join("contoso.key.new.kept-2")]);
        let kept = [1, 2].map(|number| folder.path().join(format!("contoso.key.new.kept-{number}")));
        assert_eq!(kept_at(&folder.path().join("contoso.key")), kept);
    }

    /// The certificates of three places, of which the first and the last have one key.
    fn three(config: &Config, folder: &Path, issued: &Issued) -> Vec<Imported> {
        let at = |certificate: &str, key: &str| {
            let mut imported = brought(config, issued).remove(0);
            imported.place.certificate = folder.join(certificate);
            imported.place.key = folder.join(key);
            imported
        };
        vec![at("a.pem", "shared.key"), at("b.pem", "own.key"), at("c.pem", "shared.key")]
    }

    #[test]
    fn a_key_that_several_certificates_share_gives_way_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let ca = Ca::new("Root");
        for name in ["shared.key.new", "own.key.new"] {
            fs::write(folder.path().join(name), ca.server(&["contoso.com"]).key_pem()).unwrap();
        }
        let imported = three(&config, folder.path(), &ca.server(&["contoso.com"]));
        let kept = store(&imported, true).unwrap();
        assert_eq!(
            kept,
            ["shared.key.new.kept-1", "own.key.new.kept-1"].map(|name| folder.path().join(name))
        );
    }

    #[test]
    fn keys_that_gave_way_are_where_they_were_when_something_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let ca = Ca::new("Root");
        let waiting = ["shared.key.new", "own.key.new"]
            .map(|name| (folder.path().join(name), ca.server(&["contoso.com"]).key_pem()));
        waiting.iter().for_each(|(file, key)| fs::write(file, key).unwrap());
        // The last of all that is written.
        fs::create_dir(folder.path().join("c.pem.new")).unwrap();
        let imported = three(&config, folder.path(), &ca.server(&["contoso.com"]));
        let refused = store(&imported, true).unwrap_err().to_string();
        assert!(refused.contains("c.pem.new"), "{refused}");
        for (file, key) in &waiting {
            assert_eq!(&fs::read_to_string(file).unwrap(), key, "{}", file.display());
        }
        assert!(kept_at(&folder.path().join("shared.key")).is_empty());
    }
}
