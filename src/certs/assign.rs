//! Putting what was imported in its place, and taking it back.
//!
//! Two files change places, one after the other; the running gateway waits until they fit each other ([`crate::renew`]). If
//! the machine stops in between, a second [`assign`] does the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use zeroize::Zeroizing;

use super::Place;
use super::files::{Access, FileError, beside, exchange, exists, rename, write};
use super::import::judged;
use crate::checks::{Finding, Level};
use crate::config::{Config, HANDED_OVER_FROM};
use crate::tls::{Identity, IdentityError, PeerCertificate, certificates, date};

/// What waits beside a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Where it belongs.
    pub place: Place,
    /// A key that has no certificate yet: a request is with the CA.
    pub key: bool,
    /// A certificate that was imported and is not in use.
    pub certificate: bool,
    /// What was in use before can be had back.
    pub undo: bool,
}

/// What was put in its place.
#[derive(Clone, Debug, Serialize)]
pub struct Assigned {
    /// The place.
    pub place: Place,
    /// Its serial number.
    pub serial: String,
    /// Until when it is valid.
    pub not_after: String,
    /// The serial number of the one that was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// Whether what was there before can be had back.
    pub undo: bool,
    /// SHA-256 of the certificate.
    #[serde(skip)]
    pub sha256: [u8; 32],
    /// The key is another one now, of which the gateway has a copy since its start (LoadCredential=): it takes both up with the
    /// next one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_restart: bool,
}

/// Why nothing was put in its place.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    /// Nothing was imported.
    #[error("there is no {}: import the certificate first", .0.display())]
    Nothing(PathBuf),
    /// There is nothing to go back to.
    #[error("there is no {}: nothing was in use before", .0.display())]
    NothingBefore(PathBuf),
    /// The two files do not fit.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Peers would refuse it.
    #[error("it is not put in use, for peers would refuse it: {}. Have it issued anew, or put it in use all the same with \
        --anyway", texts(.0))]
    Wrong(Vec<Finding>),
    /// A file could not be written or moved.
    #[error(transparent)]
    File(#[from] FileError),
}

fn texts(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("; ")
}

/// What waits beside each place.
pub fn waiting(places: &[Place]) -> Vec<Waiting> {
    let there = |path: &Path, ending| beside(path, ending).is_file();
    let look = |place: &Place| Waiting {
        key: there(&place.key, ".new"),
        certificate: there(&place.certificate, ".new"),
        undo: there(&place.certificate, ".old") && there(&place.key, ".old"),
        place: place.clone(),
    };
    places.iter().map(look).collect()
}

/// Puts what was imported for a place into it. What was there before is kept for [`undo`]. `anyway`: also what peers refuse.
///
/// # Errors
/// See [`AssignError`]; what is in use stays.
pub fn assign(
    config: &Config,
    place: &Place,
    anyway: bool,
    now: SystemTime,
) -> Result<Assigned, AssignError> {
    let (certificate, new_certificate) = (&place.certificate, beside(&place.certificate, ".new"));
    let (key, new_key) = (&place.key, beside(&place.key, ".new"));
    if !exists(&new_certificate)? {
        return Err(AssignError::Nothing(new_certificate));
    }
    // Both have to be files, before the first one is touched.
    let (has_certificate, has_key) = (exists(certificate)?, exists(key)?);
    // A key that was made for the next request waits while a certificate for the one in use comes in; and after an
    // interruption the key is in its place already.
    let fits = |key: &Path| Identity::load(&new_certificate, key);
    let (identity, moves_key) = match exists(&new_key)?.then(|| fits(&new_key)) {
        Some(Ok(identity)) => (identity, true),
        Some(Err(error)) => (fits(key).map_err(|_| error)?, false),
        None => (fits(key)?, false),
    };
    let wrong = || -> Vec<Finding> {
        let all = judged(config, place, &identity, now).into_iter();
        all.filter(|finding| finding.level == Level::Wrong).collect()
    };
    if !anyway && let wrong @ [_, ..] = &wrong()[..] {
        return Err(AssignError::Wrong(wrong.to_vec()));
    }
    let replaced = serial_in(place);
    if has_certificate && has_key && Identity::load(certificate, key).is_ok() {
        keep(certificate, Access::public(certificate))?;
        keep(key, Access::of_key(key))?;
    }
    if moves_key {
        Access::of_key(key).give(&new_key)?;
        rename(&new_key, key, true)?;
    }
    Access::public(certificate).give(&new_certificate)?;
    rename(&new_certificate, certificate, true)?;
    Ok(Assigned { replaced, ..Assigned::of(place, &identity, moves_key) })
}

/// Puts back what was in a place before the last [`assign`]. What is there now is kept in its stead: a second [`undo`] takes
/// back the first.
///
/// # Errors
/// See [`AssignError`]; what is in use stays.
pub fn undo(place: &Place) -> Result<Assigned, AssignError> {
    let old = |path: &Path| beside(path, ".old");
    let (old_certificate, old_key) = (old(&place.certificate), old(&place.key));
    for file in [&old_certificate, &old_key] {
        if !exists(file)? {
            return Err(AssignError::NothingBefore(file.clone()));
        }
    }
    let identity = Identity::load(&old_certificate, &old_key)?;
    let replaced = serial_in(place);
    let other_key = !exists(&place.key)? || read(&old_key)? != read(&place.key)?;
    for (path, old) in [(&place.key, &old_key), (&place.certificate, &old_certificate)] {
        match exists(path)? {
            true => exchange(old, path)?,
            false => rename(old, path, false)?,
        }
    }
    Ok(Assigned { replaced, ..Assigned::of(place, &identity, other_key) })
}

impl Assigned {
    fn of(place: &Place, identity: &Identity, other_key: bool) -> Self {
        let certificate = identity.certificate();
        Self {
            place: place.clone(),
            serial: certificate.serial.clone(),
            not_after: date(certificate.not_after),
            replaced: None,
            undo: waiting(std::slice::from_ref(place)).iter().any(|waiting| waiting.undo),
            sha256: certificate.sha256,
            needs_restart: other_key && place.key.starts_with(HANDED_OVER_FROM),
        }
    }
}

/// The serial number of the certificate that is in a place.
pub(super) fn serial_in(place: &Place) -> Option<String> {
    let text = fs::read(&place.certificate).ok()?;
    let own = certificates(&text, &place.certificate).ok()?.into_iter().next()?;
    PeerCertificate::from_der(&own).ok().map(|certificate| certificate.serial)
}

/// Keeps a copy of what is about to go.
fn keep(path: &Path, access: Access) -> Result<(), FileError> {
    write(&beside(path, ".old"), &read(path)?, access, true)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    fs::read(path).map(Zeroizing::new).map_err(|error| FileError::Io { path: path.into(), error })
}

#[cfg(test)]
mod tests;
