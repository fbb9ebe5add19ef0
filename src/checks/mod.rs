//! Whether what the configuration names will do its work: certificates, the state directory, DNS, the way to partners and front
//! ends. For `nuncio check`, which shows everything, and for `nuncio run`, which logs what is not well with what can be seen
//! without asking anybody.

pub mod blocks;
mod certificates;
pub mod connectivity;
pub mod dns;
mod keys;
mod report;
mod state;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::{self, Called, Config, Domain};
use crate::policy::sweeping;
use crate::tls::{Identity, IdentityError, Proof, Roots};

pub use report::{Checked, Report, What, look, problems, set_aside};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: `[sip] certificate /etc/nuncio/sip.pem`.
    pub subject: String,
    /// What was seen.
    pub text: String,
    /// What to do about it; nothing if it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How good or bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Right, and worth knowing.
    Note,
    /// It works, perhaps not with everybody or not for long.
    Warning,
    /// It does not work.
    Wrong,
}

/// Looks at everything the configuration names. Writes nothing, connects to nothing.
pub fn all(config: &Config, now: SystemTime) -> Vec<Finding> {
    let mut findings = Findings::default();
    sip_certificates(config, &mut findings, now);
    xmpp_certificates(config, &mut findings, now);
    control_certificate(config, &mut findings, now);
    policy(config, false, &mut findings);
    partners(config, &mut findings);
    state::check(config, &mut findings);
    findings.list
}

/// Looks at the certificates and keys that the configuration names, ours and those that others' are held against.
pub fn certificates(config: &Config, now: SystemTime) -> Vec<Finding> {
    let mut findings = Findings::default();
    sip_certificates(config, &mut findings, now);
    xmpp_certificates(config, &mut findings, now);
    control_certificate(config, &mut findings, now);
    partners(config, &mut findings);
    findings.list
}

/// Looks at who may read the keys that the configuration names.
pub fn keys(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    keys::check(config, &mut findings);
    findings.list
}

/// Looks at a certificate for front ends.
pub fn sip_identity(
    identity: &Identity,
    called: Called<'_>,
    roots: &Roots,
    config: &Config,
    now: SystemTime,
) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.about(about(called));
    let domains: Vec<String> = config.sip.domains.iter().map(|domain| domain.as_str().to_owned()).collect();
    certificates::sip(identity, called, &domains, roots, &mut findings, now);
    findings.list
}

fn about(called: Called<'_>) -> String {
    format!("{} {}", called.certificate_key, called.identity.certificate.display())
}

/// Looks at a certificate for partners and the domains it is configured for. `roots`: the best guess at those of partners.
pub fn xmpp_identity(
    identity: &Identity,
    files: &config::Identity,
    domains: &[&Domain],
    roots: &[&Roots],
    now: SystemTime,
) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.about(format!("[[certificate]] {}", files.certificate.display()));
    certificates::xmpp(identity, domains, roots, &mut findings, now);
    findings.list
}

/// Looks at the certificate for administration over TCP. `roots`: the best guess at those of administrators.
pub fn control_identity(
    identity: &Identity,
    files: &config::Identity,
    roots: &[&Roots],
    now: SystemTime,
) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.about(about_control(files));
    certificates::control(identity, roots, &mut findings, now);
    findings.list
}

fn about_control(files: &config::Identity) -> String {
    format!("[control] certificate {}", files.certificate.display())
}

fn control_certificate(config: &Config, findings: &mut Findings, now: SystemTime) {
    let Some(remote) = &config.control.remote else { return };
    let files = &remote.identity;
    findings.about(about_control(files));
    let system = Roots::system().ok();
    let ours = config.xmpp.roots.as_ref().and_then(|file| Roots::from_pem_file(file).ok());
    // Those of the machine first: they are what administrators are most likely to know.
    let roots: Vec<&Roots> = system.iter().chain(&ours).collect();
    match Identity::load(&files.certificate, &files.key) {
        Ok(identity) => findings.list.extend(control_identity(&identity, files, &roots, now)),
        Err(error) => unusable(files, &error, findings),
    }
}

fn sip_certificates(config: &Config, findings: &mut Findings, now: SystemTime) {
    config.sip.called().for_each(|called| sip_certificate(config, called, findings, now));
}

fn sip_certificate(config: &Config, called: Called<'_>, findings: &mut Findings, now: SystemTime) {
    let files = called.identity;
    findings.about(about(called));
    match (Identity::load(&files.certificate, &files.key), Roots::from_pem_file(&config.sip.roots)) {
        (Ok(identity), Ok(roots)) => {
            findings.list.extend(sip_identity(&identity, called, &roots, config, now))
        }
        (Err(error), _) => unusable(files, &error, findings),
        (_, Err(error)) => findings.wrong(error.to_string(), "mend the file that sip.roots names".to_owned()),
    }
    if let Some(Err(error)) = config.sip.crls.as_deref().map(|file| Proof::default().with_crls(file)) {
        findings.wrong(error.to_string(), "mend the file that sip.crls names".to_owned());
    }
}

fn xmpp_certificates(config: &Config, findings: &mut Findings, now: SystemTime) {
    // Partners judge us by their roots, not by ours: those of the system are the best guess at them.
    let system = Roots::system().ok();
    let ours = config.xmpp.roots.as_ref().and_then(|file| Roots::from_pem_file(file).ok());
    let roots: Vec<&Roots> = ours.iter().chain(&system).collect();
    if let Some(file) = &config.xmpp.roots {
        findings.about(format!("[xmpp] roots {}", file.display()));
        if let Err(error) = Roots::from_pem_file(file) {
            findings.wrong(error.to_string(), "mend the file that xmpp.roots names".to_owned());
        }
    }
    for (files, domains) in config.certificates.iter() {
        findings.about(format!("[[certificate]] {}", files.certificate.display()));
        match Identity::load(&files.certificate, &files.key) {
            Ok(identity) => findings.list.extend(xmpp_identity(&identity, files, &domains, &roots, now)),
            Err(error) => unusable(files, &error, findings),
        }
    }
}

/// A certificate and key of ours that cannot even be loaded.
fn unusable(files: &config::Identity, error: &IdentityError, findings: &mut Findings) {
    let there = files.certificate.exists() && files.key.exists();
    let fix = match there {
        true => "mend the file".to_owned(),
        false => format!("have one issued: nuncio cert request --for {}", files.certificate.display()),
    };
    findings.wrong(error.to_string(), fix);
}

/// Right as it is written, and perhaps not as it is meant: then nothing works, and nothing else says why. Who asks for somebody
/// `by_name` wants it to work.
fn policy(config: &Config, by_name: bool, findings: &mut Findings) {
    findings.about("[policy]".to_owned());
    let (text, fix) = if !config.policy.enabled {
        (
            "it is off (enabled = false): no SIP user may talk to any partner, and for contacts none exists".to_owned(),
            "unless this is meant: nuncio policy set global enabled=true, or policy.enabled = true in the file that says it".to_owned(),
        )
    } else if config.policy.refuses_everybody() {
        (
            "default is \"deny\" and no rule allows anybody: no SIP user may talk to any partner".to_owned(),
            "unless this is meant: nuncio policy new NAME verdict=allow, or a [[policy.rule]] with verdict = \"allow\"".to_owned(),
        )
    } else if let Some((index, rule)) = sweeping::denies_everybody(config) {
        let name = sweeping::name_of(rule, index);
        (
            format!(
                "the rule {name} denies every SIP user anything with any partner, whatever other rules allow"
            ),
            format!(
                "unless this is meant: nuncio policy remove {name}, or take it out of the file that says it"
            ),
        )
    } else {
        return;
    };
    match by_name {
        true => findings.wrong(text, fix),
        false => findings.warning(text, fix),
    }
}

/// What the certificates of partners are held against; it is only spoken of if it cannot be used.
fn partners(config: &Config, findings: &mut Findings) {
    for partner in config.partners.iter() {
        findings.about(format!("[[partner]] {}", partner.domain.to_unicode()));
        if let Some(Err(error)) = partner.roots.as_deref().map(Roots::from_pem_file) {
            findings.wrong(error.to_string(), "mend the file that roots names".to_owned());
        }
        if let Some(Err(error)) = partner.crls.as_deref().map(|file| Proof::default().with_crls(file)) {
            findings.wrong(error.to_string(), "mend the file that crls names".to_owned());
        }
    }
}

/// Collects findings about one subject after the other.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    subject: String,
}

impl Findings {
    pub(crate) fn about(&mut self, subject: String) {
        self.subject = subject;
    }

    pub(crate) fn good(&mut self, text: String) {
        self.add(Level::Good, text, None);
    }

    pub(crate) fn note(&mut self, text: String) {
        self.add(Level::Note, text, None);
    }

    pub(crate) fn warning(&mut self, text: String, fix: String) {
        self.add(Level::Warning, text, Some(fix));
    }

    pub(crate) fn wrong(&mut self, text: String, fix: String) {
        self.add(Level::Wrong, text, Some(fix));
    }

    /// What was found.
    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.list
    }

    fn add(&mut self, level: Level, text: String, fix: Option<String>) {
        self.list.push(Finding { level, subject: self.subject.clone(), text, fix });
    }
}
