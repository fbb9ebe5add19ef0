//! Signed certificates, looked at before they are taken: do they belong to a key of ours, are they whole and in order, are they
//! for all that they have to serve for.

mod reach;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nuncio_xmpp::Domain as XmppDomain;
use serde::Serialize;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::files::{Access, FileError, beside, write};
use super::keep::kept_at;
use super::{Place, Side, Use};
use crate::checks::{self, Finding, Findings, Level};
use crate::config::{Config, Domain, Identity as Files};
use crate::tls::{
    CertificateDer, ChainStatus, Identity, IdentityError, PeerCertificate, PemError, Roots, certificates,
    date, judge_chain, pem_text, printable, public_key_of, sip_names_match, xmpp_names,
};

/// So many certificates that do not belong to a chain are named one by one; who brings the roots of a whole system has 140.
const STRANGERS: usize = 5;

/// What somebody brings.
#[derive(Clone, Default)]
pub struct Keys {
    /// A private key in PEM, and the file it came from. Without it, it has to be one that is here already.
    pub given: Option<(PathBuf, Vec<u8>)>,
    /// Take only what is for the places that were named; otherwise for whichever place there is a key.
    pub named: bool,
}

/// A certificate for one place, looked at and not written yet.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// Where it belongs.
    pub place: Place,
    /// Which key it is for.
    pub key: PathBuf,
    /// Its serial number.
    pub serial: String,
    /// Until when it is valid.
    pub not_after: String,
    /// The serial number of the one in use there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it has all names that it needs there.
    #[serde(skip)]
    fits: bool,
    /// The chain in PEM, in order.
    #[serde(skip)]
    chain: String,
    /// The key, if it is neither in its place nor waiting for it.
    #[serde(skip)]
    given: Option<Secret>,
}

/// A key that nothing shows.
struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(never shown)")
    }
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is not what it should be.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate of the file cannot be read.
    #[error("certificate {number} in {} is unusable: {why}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Its number there, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A key of ours, or the given one, cannot be used.
    #[error(transparent)]
    Key(#[from] IdentityError),
    /// No certificate belongs to a key.
    #[error(
        "none of these certificates ({}) belongs to a key that was looked at: {}. {}",
        .certificates.join(", "), .keys.join(", "), other_key(.kept)
    )]
    NoKey {
        /// Whose they are.
        certificates: Vec<String>,
        /// Where keys were looked for.
        keys: Vec<String>,
        /// Keys that they belong to, and that gave way to others.
        kept: Vec<PathBuf>,
    },
    /// Nobody said where it belongs, and it is right for no place.
    #[error(
        "it is not right for any certificate of the configuration; say with --for which one is meant, and why not is told"
    )]
    NoPlace,
}

/// Which key it may be instead.
fn other_key(kept: &[PathBuf]) -> String {
    match kept.first() {
        Some(kept) => format!(
            "It belongs to one that was kept when another took its place. To import it with that: nuncio cert import CERT --key {} \
             (and --replace-key, if the other one is to give way)",
            kept.display()
        ),
        None => "The request has to be the last one that “nuncio cert request” made; a key that was made elsewhere is given \
                 with --key"
            .to_owned(),
    }
}

/// Looks at certificates for these places. What is wrong with them is in the findings; whoever takes them in spite of
/// it knows better.
///
/// # Errors
/// When there is nothing that could be taken.
pub fn import(
    config: &Config,
    places: &[&Place],
    texts: &[(PathBuf, Vec<u8>)],
    keys: &Keys,
    now: SystemTime,
) -> Result<Vec<Imported>, ImportError> {
    let pool = pool(texts)?;
    let (mut imported, mut looked_at) = (Vec::new(), Vec::new());
    for &place in places {
        for (file, key) in candidates(place, keys) {
            let public = public_key_of(&key, &file);
            // A key that was given is tried for each place.
            let shown = match &public {
                Ok(_) => file.display().to_string(),
                Err(error) => format!("{} ({error})", file.display()),
            };
            if !looked_at.contains(&shown) {
                looked_at.push(shown);
            }
            let public = match public {
                Ok(public) => public,
                Err(error) if keys.given.is_some() => return Err(error.into()),
                // Another one may fit.
                Err(_) => continue,
            };
            if let Some(leaf) = pool.iter().find(|found| found.facts.spki_sha256 == public) {
                // It has to be brought to where it is waited for.
                let brings = keys.given.is_some() || file == beside(&place.key, ".old");
                imported.push(look(config, place, leaf, &pool, (&file, &key), brings, now)?);
                break;
            }
        }
    }
    if imported.is_empty() {
        let certificates = pool.iter().map(|found| shown(&found.facts)).collect();
        let is_theirs = |file: &PathBuf| {
            let public = fs::read(file).ok().and_then(|key| public_key_of(&key, file).ok());
            public.is_some_and(|public| pool.iter().any(|found| found.facts.spki_sha256 == public))
        };
        let kept = places.iter().flat_map(|place| kept_at(&place.key)).filter(is_theirs).collect();
        return Err(ImportError::NoKey { certificates, keys: looked_at, kept });
    }
    // A key from elsewhere says nothing of where it belongs; what the certificate is for does.
    if keys.given.is_some() && !keys.named && imported.len() > 1 {
        imported.retain(|imported| imported.fits);
        if imported.is_empty() {
            return Err(ImportError::NoPlace);
        }
    }
    Ok(imported)
}

impl Imported {
    /// Whether peers would refuse it.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Wrong)
    }

    /// The key that comes with it.
    pub(super) fn brings_key(&self) -> Option<&[u8]> {
        self.given.as_ref().map(|Secret(key)| key.as_slice())
    }

    /// Writes it beside its place, where [`assign`](super::assign()) takes it from. An earlier one that waits there goes.
    ///
    /// # Errors
    /// What could not be written.
    pub(super) fn store(&self) -> Result<(), FileError> {
        let Place { certificate, key, .. } = &self.place;
        if let Some(Secret(given)) = &self.given {
            write(&beside(key, ".new"), given, Access::of_new_key(key), true)?;
        }
        write(&beside(certificate, ".new"), self.chain.as_bytes(), Access::public(certificate), true)
    }
}

/// A certificate that somebody brought.
struct Found {
    der: CertificateDer<'static>,
    facts: PeerCertificate,
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

fn pool(texts: &[(PathBuf, Vec<u8>)]) -> Result<Vec<Found>, ImportError> {
    let mut pool: Vec<Found> = Vec::new();
    for (file, text) in texts {
        // CAs hand them out as DER, too.
        let certificates = match X509Certificate::from_der(text) {
            Ok(([], _)) => vec![CertificateDer::from(text.clone())],
            _ => certificates(text, file)?,
        };
        for (index, der) in certificates.into_iter().enumerate() {
            let found = Found::read(der);
            let found = found.map_err(|why| ImportError::Certificate {
                file: file.clone(),
                number: index + 1,
                why,
            })?;
            if !pool.iter().any(|known| known.der == found.der) {
                pool.push(found);
            }
        }
    }
    Ok(pool)
}

impl Found {
    fn read(der: CertificateDer<'static>) -> Result<Self, String> {
        let facts = PeerCertificate::from_der(&der).map_err(|error| error.to_string())?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| printable(&error.to_string()))?;
        let (subject, issuer) = (parsed.subject().as_raw().to_vec(), parsed.issuer().as_raw().to_vec());
        Ok(Self { facts, subject, issuer, der })
    }

    /// Whether `other` signed this one.
    fn is_signed_by(&self, other: &Self) -> bool {
        let (Ok((_, this)), Ok((_, other))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&other.der))
        else {
            return false;
        };
        this.verify_signature(Some(other.public_key())).is_ok()
    }
}

/// The keys that a certificate for this place may belong to: the given one, or the one that was made last, the one in use, and
/// the one that was before it, which after an undo is that of the newest certificate.
fn candidates(place: &Place, keys: &Keys) -> Vec<(PathBuf, Vec<u8>)> {
    if let Some(given) = &keys.given {
        return vec![given.clone()];
    }
    let files = [beside(&place.key, ".new"), place.key.clone(), beside(&place.key, ".old")];
    files.into_iter().filter_map(|file| Some((file.clone(), fs::read(file).ok()?))).collect()
}

fn look(
    config: &Config,
    place: &Place,
    leaf: &Found,
    pool: &[Found],
    (key_file, key): (&Path, &[u8]),
    given: bool,
    now: SystemTime,
) -> Result<Imported, ImportError> {
    let mut findings = Findings::default();
    findings.about("the file".to_owned());
    findings.good(format!(
        "its certificate {} and {} belong together",
        shown(&leaf.facts),
        key_file.display()
    ));
    let used = in_use(place);
    let Arranged { chain, root } = arrange(leaf, pool, &used, &mut findings);
    if root.is_none() {
        reach::check(config, &chain, &used, &mut findings, now);
    }
    let chain = pem_text(chain.iter().map(|found| &found.der));
    let identity = Identity::from_pem(chain.as_bytes(), &place.certificate, key, key_file)?;
    let mut findings = findings.into_list();
    findings.extend(judged(config, place, &identity, now));
    let given = given.then(|| Secret(Zeroizing::new(key.to_vec())));
    let names_fit = place.uses.iter().all(|used| carries(&leaf.facts, place, used));
    let fits = names_fit && front_ends_go_on_believing(config, place, &identity, now);
    Ok(Imported {
        place: place.clone(),
        key: key_file.into(),
        serial: leaf.facts.serial.clone(),
        not_after: date(leaf.facts.not_after),
        in_use: used.first().map(|used| used.facts.serial.clone()),
        findings,
        fits,
        chain,
        given,
    })
}

/// Whether a certificate has all names for this, by the rules of its side (DEC-13).
fn carries(certificate: &PeerCertificate, place: &Place, used: &Use) -> bool {
    let presented = xmpp_names(certificate);
    used.names.iter().all(|name| match used.side {
        // It has no names.
        Side::Control => true,
        Side::Sip => sip_names_match(certificate, std::slice::from_ref(name)).is_match(),
        Side::Xmpp => XmppDomain::parse(name)
            .is_ok_and(|name| presented.iter().any(|presented| presented.covers(&name))),
    }) && (used.side != Side::Control || has_names_in_use(certificate, place))
}

/// Whether front ends, who as a rule know the roots that we know their certificates by, would believe the chain if they believe
/// that of the one in use: a certificate of a public CA does not take the place of one of theirs unless somebody says so.
fn front_ends_go_on_believing(config: &Config, place: &Place, new: &Identity, now: SystemTime) -> bool {
    if !place.uses.iter().any(|used| used.side == Side::Sip) {
        return true;
    }
    let Ok(roots) = Roots::from_pem_file(&config.sip.roots) else { return true };
    let read = fs::read(&place.certificate).ok();
    let used = read.and_then(|text| certificates(&text, &place.certificate).ok()).unwrap_or_default();
    let believed = |chain: &[CertificateDer<'_>]| {
        matches!(judge_chain(chain, &roots, now), ChainStatus::Valid | ChainStatus::Expired { .. })
    };
    !believed(&used) || believed(new.chain())
}

/// Whether a certificate has all the names of the one in use: all that is known of the names by which administrators call the
/// gateway. Without one nothing is known, and somebody has to say that this is the place for it.
fn has_names_in_use(certificate: &PeerCertificate, place: &Place) -> bool {
    let read = fs::read(&place.certificate).ok();
    let chain = read.and_then(|text| certificates(&text, &place.certificate).ok()).unwrap_or_default();
    let in_use = chain.into_iter().next().and_then(|der| Found::read(der).ok());
    in_use.is_some_and(|used| {
        let names = used.facts.names();
        !names.is_empty() && names.iter().all(|name| certificate.names().contains(name))
    })
}

/// What can be said of a certificate in this place, for everything that it has to serve for.
pub(super) fn judged(config: &Config, place: &Place, identity: &Identity, now: SystemTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    let here = |files: &Files| files.certificate == place.certificate && files.key == place.key;
    let system = Roots::system().ok();
    if place.uses.iter().any(|used| used.side == Side::Sip) {
        let own = Roots::from_pem_file(&config.sip.roots).ok();
        // Which roots front ends know is a guess either way.
        if let Some(roots) = own.as_ref().or(system.as_ref()) {
            for called in config.sip.called().filter(|called| here(called.identity)) {
                findings.extend(checks::sip_identity(identity, called, roots, config, now));
            }
        }
    }
    let own = config.xmpp.roots.as_ref().and_then(|file| Roots::from_pem_file(file).ok());
    let roots: Vec<&Roots> = own.iter().chain(&system).collect();
    for (files, domains) in config.certificates.iter().filter(|(files, _)| here(files)) {
        let domains: Vec<&Domain> = domains;
        findings.extend(checks::xmpp_identity(identity, files, &domains, &roots, now));
    }
    if let Some(remote) = config.control.remote.as_ref().filter(|remote| here(&remote.identity)) {
        let roots: Vec<&Roots> = roots.into_iter().rev().collect();
        findings.extend(checks::control_identity(identity, &remote.identity, &roots, now));
    }
    findings
}

/// The chain in use: a renewed certificate often comes without its issuers.
fn in_use(place: &Place) -> Vec<Found> {
    let read = fs::read(&place.certificate).ok();
    let chain = read.and_then(|text| certificates(&text, &place.certificate).ok()).unwrap_or_default();
    chain.into_iter().filter_map(|der| Found::read(der).ok()).collect()
}

/// What was brought, in order.
struct Arranged<'a> {
    /// From the leaf on, each certificate signed by the next, without the root.
    chain: Vec<&'a Found>,
    /// The root, if it was brought as well.
    root: Option<&'a Found>,
}

fn arrange<'a>(
    leaf: &'a Found,
    pool: &'a [Found],
    used: &'a [Found],
    findings: &mut Findings,
) -> Arranged<'a> {
    let known = used.get(1..).unwrap_or_default();
    let mut chain = vec![leaf];
    let (mut last, mut root) = (leaf, None);
    while last.subject != last.issuer {
        let signs = |other: &&Found| other.subject == last.issuer && last.is_signed_by(other);
        let brought = pool.iter().find(signs);
        let Some(issuer) = brought.or_else(|| known.iter().find(signs)) else { break };
        if issuer.subject == issuer.issuer {
            root = Some(issuer);
            break;
        }
        if chain.iter().any(|link| link.der == issuer.der) {
            break;
        }
        if brought.is_none() {
            let subject = &issuer.facts.subject;
            findings
                .note(format!("its issuer “{subject}” was not brought, and is taken from the file in use"));
        }
        chain.push(issuer);
        last = issuer;
    }
    let place = |link: &&Found| pool.iter().position(|found| found.der == link.der);
    let places: Vec<usize> = chain.iter().filter_map(place).collect();
    if !places.is_sorted() {
        findings.note("its certificates were not in order; they are written in order".to_owned());
    }
    let is_root = |found: &Found| root.is_some_and(|root| root.der == found.der);
    if let Some(root) = pool.iter().find(|found| is_root(found)) {
        let subject = &root.facts.subject;
        findings.note(format!("the root “{subject}” is left out: peers have it, or do not believe it"));
    }
    let strange = |found: &&Found| !is_root(found) && !chain.iter().any(|link| link.der == found.der);
    let strangers: Vec<&Found> = pool.iter().filter(strange).collect();
    for stranger in strangers.iter().take(STRANGERS) {
        findings.note(format!("“{}” does not belong to the chain, and is left out", stranger.facts.subject));
    }
    if let Some(more @ 1..) = strangers.len().checked_sub(STRANGERS) {
        findings.note(format!("{more} more do not belong to the chain either, and are left out"));
    }
    Arranged { chain, root }
}

/// A certificate in a word.
fn shown(facts: &PeerCertificate) -> String {
    match facts.names().first() {
        Some(name) => name.to_string(),
        None if facts.subject.is_empty() => facts.serial.clone(),
        None => facts.subject.clone(),
    }
}

#[cfg(test)]
mod tests;
