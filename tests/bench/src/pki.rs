//! A root and the certificates of everybody in the measurement, as files.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::job::{FRONT_END, SIP_DOMAIN};
use crate::template::gateway_names;

/// The certificates, by the names of their files.
pub(crate) const ROOT: &str = "root.pem";
pub(crate) const SIP: &str = "sip";
pub(crate) const XMPP: &str = "xmpp";
pub(crate) const FRONT: &str = "front";
pub(crate) const PARTNER: &str = "partner";

/// Makes them all.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join(ROOT), root.pem())?;
    issue(folder, SIP, gateway_names(), &root)?;
    issue(folder, XMPP, vec![SIP_DOMAIN.to_owned()], &root)?;
    issue(folder, FRONT, vec![FRONT_END.to_owned()], &root)?;
    issue(folder, PARTNER, vec!["*.bench.example".to_owned()], &root)
}

fn issue(
    folder: &Path,
    file: &str,
    names: Vec<String>,
    root: &CertifiedIssuer<'static, KeyPair>,
) -> Result<()> {
    let mut params = CertificateParams::new(names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid(&mut params);
    let key = KeyPair::generate()?;
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
