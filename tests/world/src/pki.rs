//! Certificate authorities and certificates, good and bad.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RevokedCertParams,
    RsaKeySize, SanType, SerialNumber, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Which extended key usages a certificate carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// clientAuth and serverAuth, as older authorities issued them.
    Both,
    /// serverAuth only: what public authorities issue since 2026.
    ServerOnly,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Its own issuer.
    SelfSigned,
    /// Its time is over.
    Expired,
    /// Issued by an authority that nobody here knows.
    OtherAuthority,
}

/// A certificate with its key, in memory and on disk.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The certificate, PEM.
    pub certificate_file: PathBuf,
    /// The private key, PEM (PKCS #8).
    pub key_file: PathBuf,
    /// Certificate and key in one file, as ejabberd wants them.
    pub bundle_file: PathBuf,
    /// The certificate, DER.
    pub certificate: CertificateDer<'static>,
    key: Vec<u8>,
    serial: u64,
}

impl Credential {
    /// The private key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// The serial number of the next certificate.
static CERTIFICATES: AtomicU64 = AtomicU64::new(1000);

/// The authorities of a world.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    trusted: CertifiedIssuer<'static, KeyPair>,
    unknown: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    /// Makes the authorities; their files go to the folder.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let trusted = authority("World Root")?;
        let unknown = authority("Nobody's Root")?;
        let pki = Self { folder: folder.to_owned(), trusted, unknown };
        fs::write(pki.roots_file(), pki.trusted.pem())?;
        fs::write(pki.other_roots_file(), pki.unknown.pem())?;
        write_secret(&pki.root_key_file(), &pki.trusted.key().serialize_pem())?;
        Ok(pki)
    }

    /// The root that everybody in the world trusts, PEM.
    pub fn roots_file(&self) -> PathBuf {
        self.folder.join("roots.pem")
    }

    /// Its private key, for whoever signs requests, PEM.
    pub fn root_key_file(&self) -> PathBuf {
        self.folder.join("root.key")
    }

    /// The root that nobody trusts but who wants to trust nobody else, PEM.
    pub fn other_roots_file(&self) -> PathBuf {
        self.folder.join("other-roots.pem")
    }

    /// The same root as in [`Self::roots_file`], DER.
    pub fn root(&self) -> CertificateDer<'static> {
        self.trusted.der().clone()
    }

    /// A good certificate for these names.
    pub fn good(&self, label: &str, names: &[&str]) -> Result<Credential> {
        self.issue(label, names, Usage::Both, Flaw::None)
    }

    /// A revocation list of the authority that everybody trusts, PEM, with these certificates.
    pub fn revocations(&self, revoked: &[&Credential]) -> Result<String> {
        let revoked = revoked.iter().map(|credential| RevokedCertParams {
            serial_number: SerialNumber::from(credential.serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.trusted)?.pem()?)
    }

    /// A certificate for these names (dNSName), with usages and a flaw.
    pub fn issue(&self, label: &str, names: &[&str], usage: Usage, flaw: Flaw) -> Result<Credential> {
        let names = dns_names(names)?;
        self.issue_as(label, usage, flaw, |params| params.subject_alt_names = names)
    }

    /// The same with an RSA key, as old servers have them.
    pub fn issue_rsa(&self, label: &str, names: &[&str], flaw: Flaw) -> Result<Credential> {
        let names = dns_names(names)?;
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        self.issue_for(key, label, Usage::Both, flaw, |params| params.subject_alt_names = names)
    }

    /// A certificate with whatever names the caller puts into it.
    pub fn issue_as(
        &self,
        label: &str,
        usage: Usage,
        flaw: Flaw,
        name: impl FnOnce(&mut CertificateParams),
    ) -> Result<Credential> {
        self.issue_for(KeyPair::generate()?, label, usage, flaw, name)
    }

    fn issue_for(
        &self,
        key: KeyPair,
        label: &str,
        usage: Usage,
        flaw: Flaw,
        name: impl FnOnce(&mut CertificateParams),
    ) -> Result<Credential> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, label);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if usage == Usage::Both {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(if flaw == Flaw::Expired { 2021 } else { 2120 }, 1, 1);
        let serial = CERTIFICATES.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        name(&mut params);
        let certificate = match flaw {
            Flaw::None | Flaw::Expired => params.signed_by(&key, &self.trusted)?,
            Flaw::OtherAuthority => params.signed_by(&key, &self.unknown)?,
            Flaw::SelfSigned => params.self_signed(&key)?,
        };
        let credential = Credential {
            certificate_file: self.folder.join(format!("{label}.pem")),
            key_file: self.folder.join(format!("{label}.key")),
            bundle_file: self.folder.join(format!("{label}.bundle.pem")),
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            serial,
        };
        fs::write(&credential.certificate_file, certificate.pem())?;
        write_secret(&credential.key_file, &key.serialize_pem())?;
        write_secret(&credential.bundle_file, &(certificate.pem() + &key.serialize_pem()))?;
        Ok(credential)
    }
}

fn dns_names(names: &[&str]) -> Result<Vec<SanType>> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    Ok(CertificateParams::new(names)?.subject_alt_names)
}

/// Everybody in a world is the same user; servers warn of keys that others may read.
fn write_secret(file: &Path, text: &str) -> Result<()> {
    // A label may be issued again, and the mode is for new files only.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}
