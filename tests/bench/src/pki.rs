//! A root and the certificates of everybody in the measurement, as files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use serde::Serialize;

use crate::job::{FRONT_END, SIP_DOMAIN};
use crate::template::gateway_names;

/// The certificates, by the names of their files.
pub(crate) const ROOT: &str = "root.pem";
pub(crate) const SIP: &str = "sip";
pub(crate) const XMPP: &str = "xmpp";
pub(crate) const FRONT: &str = "front";
pub(crate) const PARTNER: &str = "partner";

/// The kind of all keys of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Keys {
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "RSA-2048")]
    Rsa2048,
}

impl Keys {
    fn generate(self) -> Result<KeyPair> {
        Ok(match self {
            Self::P256 => KeyPair::generate()?,
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        })
    }
}

/// Makes them all.
pub(crate) fn make(folder: &Path, keys: Keys) -> Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params);
    let root = CertifiedIssuer::self_signed(params, keys.generate()?)?;
    fs::write(folder.join(ROOT), root.pem())?;
    let issue = |file, names| issue(folder, file, names, keys.generate()?, &root);
    issue(SIP, gateway_names())?;
    issue(XMPP, vec![SIP_DOMAIN.to_owned()])?;
    issue(FRONT, vec![FRONT_END.to_owned()])?;
    issue(PARTNER, vec!["*.bench.example".to_owned()])
}

fn issue(
    folder: &Path,
    file: &str,
    names: Vec<String>,
    key: KeyPair,
    root: &CertifiedIssuer<'static, KeyPair>,
) -> Result<()> {
    let mut params = CertificateParams::new(names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid(&mut params);
    let certificate = params.signed_by(&key, root)?;
    fs::write(folder.join(format!("{file}.pem")), certificate.pem())?;
    let private =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(format!("{file}.key")));
    private?.write_all(key.serialize_pem().as_bytes())?;
    Ok(())
}

fn valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
}
