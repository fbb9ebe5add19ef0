//! A request and its key as files.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Place;
use super::files::{Access, FileError, beside, exists, write};
use super::keep::GaveWay;
use super::request::{KeyKind, Request, RequestError, request};

/// A request that waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// It in PEM.
    pub pem: String,
    /// Its file.
    pub file: PathBuf,
    /// The files of the new key; none if it is for the key in use.
    pub keys: Vec<PathBuf>,
    /// The files of keys that waited for their certificates, and gave way to it.
    pub kept: Vec<PathBuf>,
}

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nothing to prepare it for.
    #[error("there is no certificate to ask for")]
    NoPlace,
    /// A key is waiting for its certificate.
    #[error(
        "{} exists: a request is with the CA, and its certificate would be of no use without this key. With --replace a new one \
         takes its place, and this one is kept beside it", .0.display()
    )]
    Waiting(PathBuf),
    /// The key in use is not to be had.
    #[error("the key in use cannot be read: {}: {error}", .file.display())]
    KeyInUse {
        /// Its file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The request cannot be made.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes a request for one certificate in all these places, and with a `kind` a new key for it; without one it is for the key
/// in use at the first. `replace`: also if one is waiting for its certificate. Keys are written first: a request without its key
/// would be of no use.
///
/// # Errors
/// See [`PrepareError`].
pub fn prepare(
    places: &[&Place],
    kind: Option<KeyKind>,
    wanted: &Request,
    replace: bool,
) -> Result<Prepared, PrepareError> {
    let Some(first) = places.first() else { return Err(PrepareError::NoPlace) };
    let key = match kind {
        Some(kind) => kind.generate()?,
        None => {
            let in_use = |error| PrepareError::KeyInUse { file: first.key.clone(), error };
            Zeroizing::new(std::fs::read_to_string(&first.key).map_err(in_use)?)
        }
    };
    let made = request(&key, wanted)?;
    let (mut keys, mut gave_way) = (Vec::new(), GaveWay::default());
    let key = kind.map(|_| key.as_str());
    match written(places, first, key, &made.pem, replace, (&mut keys, &mut gave_way)) {
        Ok(file) => Ok(Prepared { pem: made.pem, file, keys, kept: gave_way.kept() }),
        Err(error) => {
            // No request is there for them, and they would stand in the way of the next one.
            keys.iter().for_each(|file| drop(std::fs::remove_file(file)));
            match error {
                PrepareError::File(error) => Err(gave_way.back(error).into()),
                error => Err(error),
            }
        }
    }
}

/// The file of the request. Those of its key, if that is a new one, are noted as they are written.
fn written(
    places: &[&Place],
    first: &Place,
    key: Option<&str>,
    pem: &str,
    replace: bool,
    (keys, gave_way): (&mut Vec<PathBuf>, &mut GaveWay),
) -> Result<PathBuf, PrepareError> {
    if let Some(key) = key {
        let file = |place: &&Place| beside(&place.key, ".new");
        for place in places {
            let file = file(place);
            if !replace && exists(&file)? {
                return Err(PrepareError::Waiting(file));
            }
        }
        for place in places {
            let file = file(place);
            if !keys.contains(&file) {
                if replace && exists(&file)? {
                    gave_way.put_by(&file)?;
                }
                write_key(&place.key, &file, key, replace)?;
                keys.push(file);
            }
        }
    }
    let file = beside(&first.certificate, ".csr");
    write(&file, pem.as_bytes(), Access::public(&first.certificate), true)?;
    Ok(file)
}

fn write_key(place: &Path, file: &Path, key: &str, replace: bool) -> Result<(), PrepareError> {
    match write(file, key.as_bytes(), Access::of_new_key(place), replace) {
        Err(FileError::Exists(file)) => Err(PrepareError::Waiting(file)),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::super::places::tests::config;
    use super::super::{Keys, import, places};
    use super::*;
    use crate::tls::public_key_of;

    fn wanted() -> Request {
        Request { names: vec!["contoso.com".into()], ..Request::default() }
    }

    #[test]
    fn a_key_is_private_and_waits_for_its_certificate_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let places = places(&config);
        let chosen: Vec<&Place> = places.iter().collect();
        let made = |replace| prepare(&chosen, Some(KeyKind::P256), &wanted(), replace);
        let first = made(false).unwrap();
        assert_eq!(first.keys, ["sip.key.new", "contoso.key.new"].map(|name| folder.path().join(name)));
        let read = || fs::read_to_string(&first.keys[1]).unwrap();
        let key = read();
        assert_eq!(key, fs::read_to_string(&first.keys[0]).unwrap(), "one certificate has one key");
        assert_eq!(fs::metadata(&first.keys[0]).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(folder.path().join("sip.pem.csr")).unwrap(), first.pem);
        assert!(matches!(made(false), Err(PrepareError::Waiting(_))));
        assert_eq!(read(), key);
        let again = made(true).unwrap();
        assert_eq!(again.kept, first.keys.iter().map(|file| beside(file, ".kept-1")).collect::<Vec<_>>());
        assert_ne!(read(), key);
        let kept = fs::read_to_string(folder.path().join("contoso.key.new.kept-1")).unwrap();
        assert_eq!(kept, key, "its certificate may still come");

        // Without its request a new key is of no use.
        let newest = read();
        let file = folder.path().join("sip.pem.csr");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(matches!(made(true), Err(PrepareError::File(_))));
        assert_eq!(read(), newest);
    }

    #[test]
    fn a_request_that_cannot_be_written_leaves_no_key_behind() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let places = places(&config);
        let chosen: Vec<&Place> = places.iter().collect();
        let made = || prepare(&chosen, Some(KeyKind::P256), &wanted(), false);
        let request = folder.path().join("sip.pem.csr");
        fs::create_dir(&request).unwrap();
        assert!(matches!(made(), Err(PrepareError::File(_))));
        let left = |name: &str| folder.path().join(name).exists();
        assert!(!left("sip.key.new") && !left("contoso.key.new"));
        fs::remove_dir(&request).unwrap();
        assert_eq!(made().unwrap().keys.len(), 2, "nothing stands in the way");
    }

    #[test]
    fn a_request_for_the_key_in_use_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let places = places(&config);
        let chosen = [&places[1]];
        assert!(matches!(prepare(&chosen, None, &wanted(), false), Err(PrepareError::KeyInUse { .. })));
        let ca = crate::tls::testing::Ca::new("Root");
        let issued = ca.server(&["contoso.com"]);
        fs::write(&places[1].key, issued.key_pem()).unwrap();
        assert!(prepare(&chosen, None, &wanted(), false).unwrap().keys.is_empty());
        assert!(!folder.path().join("contoso.key.new").exists());
    }

    /// From the request to the certificate in one's hand.
    #[test]
    fn what_is_signed_for_a_request_is_found_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[], "");
        let places = places(&config);
        let prepared = prepare(&[&places[1]], Some(KeyKind::Rsa2048), &wanted(), false).unwrap();
        let key = fs::read(&prepared.keys[0]).unwrap();
        let public = public_key_of(&key, &prepared.keys[0]).unwrap();
        let ca = crate::tls::testing::Ca::new("Root");
        let signed = ca.sign_for(std::str::from_utf8(&key).unwrap(), &["contoso.com"]);
        assert_eq!(signed.facts().spki_sha256, public);
        let texts = [("sent.pem".into(), signed.pem().into_bytes())];
        let all: Vec<&Place> = places.iter().collect();
        let now = crate::tls::testing::now();
        let imported = import(&config, &all, &texts, &Keys::default(), now).unwrap();
        assert_eq!(imported.len(), 1);
        assert_eq!(imported[0].place, places[1]);
    }
}
