//! Keys that wait for their certificate are not lost: a certificate that a CA has signed is of no use without its key.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{FileError, beside, exists, rename};
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

/// Writes what was imported beside its places, all or nothing of it. A key that waits for its certificate is in the way, unless it is to be
/// replaced; then it is kept, and its file is in the answer.
///
/// # Errors
/// See [`StoreError`].
pub fn store(imported: &[Imported], replace_key: bool) -> Result<Vec<PathBuf>, StoreError> {
    let mut in_the_way = Vec::new();
    for imported in imported {
        let Some(key) = imported.brings_key() else { continue };
        if waits_without_certificate(&imported.place, key)? {
            in_the_way.push(beside(&imported.place.key, ".new"));
        }
    }
    in_the_way.dedup();
    if let (Some(file), false) = (in_the_way.first(), replace_key) {
        return Err(StoreError::Waiting(file.clone()));
    }
    let kept = in_the_way.iter().map(|file| put_by(file)).collect::<Result<Vec<_>, _>>()?;
    imported.iter().try_for_each(Imported::store)?;
    Ok(kept)
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

/// Moves a file out of the way, to a name that nobody has.
pub(super) fn put_by(file: &Path) -> Result<PathBuf, FileError> {
    let mut number = 1;
    loop {
        let to = beside(file, &format!(".kept-{number}"));
        match rename(file, &to, false) {
            Err(FileError::Exists(_)) => number += 1,
            other => return other.map(|()| to),
        }
    }
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
    }
}
