//! What is made anew when its files change: certificates with their keys, and roots.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::slot::{Contents, Source};
use crate::checks::{self, Finding, Level};
use crate::config::{self, Config, Domain};
use crate::tls::{CertificateDer, Identity, Roots};

/// A certificate of ours with its key.
pub(super) struct IdentityFiles {
    config: Arc<Config>,
    /// The domains it speaks for on the XMPP side; `None`: it is the one for front ends.
    pub(super) domains: Option<Vec<Domain>>,
    files: [PathBuf; 2],
}

/// The roots of one side, from a file or from the system.
pub(super) struct RootsFile {
    files: Vec<PathBuf>,
}

impl IdentityFiles {
    pub(super) fn of_front_ends(config: &Arc<Config>) -> Self {
        Self::new(config, &config.sip.identity, None)
    }

    pub(super) fn of_domains(config: &Arc<Config>, files: &config::Identity, domains: Vec<Domain>) -> Self {
        Self::new(config, files, Some(domains))
    }

    fn new(config: &Arc<Config>, files: &config::Identity, domains: Option<Vec<Domain>>) -> Self {
        let files = [files.certificate.clone(), files.key.clone()];
        Self { config: Arc::clone(config), domains, files }
    }

    /// What it is called in the file, for people.
    pub(super) fn name(&self) -> String {
        let [certificate, _] = &self.files;
        let section = if self.domains.is_some() { "[[certificate]]" } else { "[sip] certificate" };
        format!("{section} {}", certificate.display())
    }

    /// What can be said of a certificate that these files may hold.
    pub(super) fn findings(&self, identity: &Identity, now: SystemTime) -> Vec<Finding> {
        let config = &self.config;
        let Some(domains) = &self.domains else {
            // Which roots front ends know is a guess, and no reason to call it wrong.
            let roots = Roots::from_pem_file(&config.sip.roots).ok();
            return roots
                .map(|roots| checks::sip_identity(identity, &roots, config, now))
                .unwrap_or_default();
        };
        let [certificate, key] = self.files.clone();
        let ours = config.xmpp.roots.as_ref().and_then(|file| Roots::from_pem_file(file).ok());
        let system = Roots::system().ok();
        let roots: Vec<&Roots> = ours.iter().chain(&system).collect();
        let domains: Vec<&Domain> = domains.iter().collect();
        checks::xmpp_identity(identity, &config::Identity { certificate, key }, &domains, &roots, now)
    }
}

impl Source for IdentityFiles {
    type Thing = Identity;

    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn read(&self) -> Result<Contents, String> {
        read(&self.files)
    }

    /// One that peers will refuse does not replace one that they take: expired, not valid yet, for other names, not for
    /// servers. When the one in use is no better, it may.
    fn make(
        &self,
        contents: &[Vec<u8>],
        in_use: Option<&Identity>,
        now: SystemTime,
    ) -> Result<Identity, String> {
        let [certificate_file, key_file] = &self.files;
        let [certificate, key] = contents else { return Err("a file was not read".to_owned()) };
        let made = Identity::from_pem(certificate, certificate_file, key, key_file)
            .map_err(|error| error.to_string())?;
        let Some(in_use) = in_use else { return Ok(made) };
        let wrong = |identity| {
            let findings = self.findings(identity, now).into_iter();
            findings.filter(|finding| finding.level == Level::Wrong).collect::<Vec<_>>()
        };
        match wrong(&made).as_slice() {
            [_, ..] if !wrong(in_use).is_empty() => Ok(made),
            [] => Ok(made),
            list => Err(list.iter().map(said).collect::<Vec<_>>().join("; ")),
        }
    }
}

impl RootsFile {
    /// `None`: those of the system, which are read again only when somebody says so.
    pub(super) fn new(file: Option<&PathBuf>) -> Self {
        Self { files: file.into_iter().cloned().collect() }
    }
}

impl Source for RootsFile {
    type Thing = Roots;

    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn read(&self) -> Result<Contents, String> {
        if self.files.is_empty() {
            let certificates = Roots::read_system().map_err(|error| error.to_string())?;
            return Ok(certificates.iter().map(|der| der.to_vec()).collect());
        }
        read(&self.files)
    }

    fn make(&self, contents: &[Vec<u8>], _: Option<&Roots>, _: SystemTime) -> Result<Roots, String> {
        let made = match (self.files.as_slice(), contents) {
            ([file], [text]) => Roots::from_pem(text, file),
            _ => {
                let certificates: Vec<_> =
                    contents.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
                Roots::from_system(&certificates)
            }
        };
        made.map_err(|error| error.to_string())
    }
}

/// A finding with what to do about it.
pub(super) fn said(finding: &Finding) -> String {
    match &finding.fix {
        Some(fix) => format!("{} ({fix})", finding.text),
        None => finding.text.clone(),
    }
}

fn read(files: &[PathBuf]) -> Result<Contents, String> {
    let one =
        |file: &PathBuf| fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    files.iter().map(one).collect()
}
