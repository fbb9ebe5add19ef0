//! What is made anew when its files change: certificates with their keys, roots, revocation lists.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::slot::{Contents, Source, read};
use crate::checks::{self, Finding, Level};
use crate::config::{self, Config, Domain, Partner};
use crate::tls::{CertificateDer, Identity, Proof, Roots};

/// A certificate of ours with its key.
#[derive(Clone)]
pub(super) struct IdentityFiles {
    config: Arc<Config>,
    pub(super) of: IdentityOf,
    files: [PathBuf; 2],
}

/// Whom a certificate is for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum IdentityOf {
    /// Front ends; its place in [`config::Sip::called`].
    FrontEnds(usize),
    /// Partners; the domains it speaks for.
    Domains(Vec<Domain>),
    /// Whoever administers the gateway over TCP.
    Control,
}

/// The roots of one side, from a file or from the system.
#[derive(PartialEq, Eq)]
pub(super) struct RootsFile {
    files: Vec<PathBuf>,
}

impl IdentityFiles {
    /// Those of all that we are to front ends.
    pub(super) fn of_front_ends(config: &Arc<Config>) -> impl Iterator<Item = Self> {
        let called = config.sip.called().enumerate();
        called.map(|(place, called)| Self::new(config, called.identity, IdentityOf::FrontEnds(place)))
    }

    pub(super) fn of_domains(config: &Arc<Config>, files: &config::Identity, domains: Vec<Domain>) -> Self {
        Self::new(config, files, IdentityOf::Domains(domains))
    }

    /// The one for administration over TCP, if there is any.
    pub(super) fn of_control(config: &Arc<Config>) -> Option<Self> {
        let remote = config.control.remote.as_ref()?;
        Some(Self::new(config, &remote.identity, IdentityOf::Control))
    }

    fn new(config: &Arc<Config>, files: &config::Identity, of: IdentityOf) -> Self {
        let files = [files.certificate.clone(), files.key.clone()];
        Self { config: Arc::clone(config), of, files }
    }

    /// Whether it makes the same of the same files.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.files == other.files && self.of == other.of
    }

    /// The names by which those who connect ask for it; none if it is for whoever asks for none that is known.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.of {
            IdentityOf::Domains(domains) => domains.iter().map(|domain| domain.as_str().to_owned()).collect(),
            IdentityOf::FrontEnds(0) | IdentityOf::Control => Vec::new(),
            IdentityOf::FrontEnds(place) => self
                .config
                .sip
                .called()
                .nth(*place)
                .map(|called| called.name.host.to_string())
                .into_iter()
                .collect(),
        }
    }

    /// What it is called in the file, for people.
    pub(super) fn name(&self) -> String {
        let [certificate, _] = &self.files;
        let section = match &self.of {
            IdentityOf::Domains(_) => "[[certificate]]",
            IdentityOf::Control => "[control] certificate",
            IdentityOf::FrontEnds(place) => {
                self.config.sip.called().nth(*place).map_or("", |called| called.certificate_key)
            }
        };
        format!("{section} {}", certificate.display())
    }

    /// What can be said of a certificate that these files may hold.
    pub(super) fn findings(&self, identity: &Identity, now: SystemTime) -> Vec<Finding> {
        let config = &self.config;
        let [certificate, key] = self.files.clone();
        let files = config::Identity { certificate, key };
        let ours = || config.xmpp.roots.as_ref().and_then(|file| Roots::from_pem_file(file).ok());
        match &self.of {
            IdentityOf::FrontEnds(place) => {
                // Which roots front ends know is a guess, and no reason to call it wrong.
                let known = Roots::from_pem_file(&config.sip.roots).ok().zip(config.sip.called().nth(*place));
                known
                    .map(|(roots, called)| checks::sip_identity(identity, called, &roots, config, now))
                    .unwrap_or_default()
            }
            IdentityOf::Domains(domains) => {
                let (ours, system) = (ours(), Roots::system().ok());
                let roots: Vec<&Roots> = ours.iter().chain(&system).collect();
                let domains: Vec<&Domain> = domains.iter().collect();
                checks::xmpp_identity(identity, &files, &domains, &roots, now)
            }
            IdentityOf::Control => {
                let (ours, system) = (ours(), Roots::system().ok());
                let roots: Vec<&Roots> = ours.iter().chain(&system).collect();
                checks::control_identity(identity, &files, &roots, now)
            }
        }
    }
}

impl Source for IdentityFiles {
    type Thing = Identity;

    fn files(&self) -> &[PathBuf] {
        &self.files
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

/// What the certificates of one partner, or of front ends, are held against.
#[derive(PartialEq, Eq)]
pub(super) struct ProofFiles {
    name: String,
    pins: Vec<[u8; 32]>,
    pins_replace_roots: bool,
    roots: Option<PathBuf>,
    crls: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl ProofFiles {
    pub(super) fn of(partner: &Partner) -> Self {
        let proof =
            Self::new(format!("[[partner]] {}, roots and crls", partner.domain.to_unicode()), &partner.crls);
        Self {
            pins: partner.pins.iter().map(|pin| pin.0).collect(),
            pins_replace_roots: partner.pins_replace_roots,
            roots: partner.roots.clone(),
            files: partner.roots.iter().cloned().chain(proof.files).collect(),
            ..proof
        }
    }

    /// Beside the roots, which are looked at by themselves.
    pub(super) fn of_front_ends(config: &Config) -> Self {
        Self::new("sip.crls".to_owned(), &config.sip.crls)
    }

    fn new(name: String, crls: &Option<PathBuf>) -> Self {
        Self {
            name,
            pins: Vec::new(),
            pins_replace_roots: false,
            roots: None,
            crls: crls.clone(),
            files: crls.iter().cloned().collect(),
        }
    }

    /// What it is called, for people.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }
}

impl Source for ProofFiles {
    type Thing = Proof;

    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn make(&self, contents: &[Vec<u8>], _: Option<&Proof>, _: SystemTime) -> Result<Proof, String> {
        let mut contents = contents.iter();
        let mut proof = Proof::default().with_pins(self.pins.iter().copied(), self.pins_replace_roots);
        if let Some(file) = &self.roots
            && let Some(text) = contents.next()
        {
            let roots = Roots::from_pem(text, file).map_err(|error| error.to_string())?;
            proof = proof.with_roots(roots);
        }
        if let Some(file) = &self.crls
            && let Some(text) = contents.next()
        {
            proof = proof.with_crls_of(text, file).map_err(|error| error.to_string())?;
        }
        Ok(proof)
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

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::Sources;
    use crate::renew::slot::{Occasion, Slot, Step};
    use crate::tls::testing::{Ca, Issued, San, now, san, validity};
    use crate::tls::{ChainStatus, judge_chain};

    /// The least that a gateway needs, all files in one folder.
    fn config(folder: &Path, partner: &str) -> Arc<Config> {
        let text = include_str!("../../tests/config/right/minimal.toml");
        let text = text.replace("pki/", &format!("{}/", folder.display())) + partner;
        let sources = Sources::new().toml("nuncio.toml", &text).trusting_paths();
        Arc::new(Config::load(&sources, &|_, _| Ok(())).unwrap().0)
    }

    pub(in crate::renew) fn put(folder: &Path, issued: &Issued) {
        fs::write(folder.join("contoso.pem"), issued.pem()).unwrap();
        fs::write(folder.join("contoso.key"), issued.key_pem()).unwrap();
    }

    fn expired(ca: &Ca) -> Issued {
        ca.issue("contoso.com", |params| {
            san(params, &[San::Dns("contoso.com")]);
            validity(params, 2020, 2025);
        })
    }

    pub(in crate::renew) fn opened(folder: &Path) -> Slot<IdentityFiles> {
        let config = config(folder, "");
        let (files, domains) = config.certificates.iter().next().unwrap();
        let domains = domains.into_iter().cloned().collect();
        Slot::open(IdentityFiles::of_domains(&config, files, domains), now()).unwrap()
    }

    #[test]
    fn tls_19_an_expired_certificate_replaces_only_one_that_peers_refuse_already() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("Root");
        fs::write(folder.path().join("roots.pem"), ca.pem()).unwrap();
        put(folder.path(), &ca.server(&["contoso.com"]));
        let mut slot = opened(folder.path());
        put(folder.path(), &expired(&ca));
        let step = slot.step(Occasion::Order, Instant::now(), now());
        assert!(matches!(&step, Step::Refused(why) if why.contains("it expired on 2025-01-01")), "{step:?}");

        let mut slot = opened(folder.path());
        put(folder.path(), &expired(&ca));
        assert_eq!(slot.step(Occasion::Order, Instant::now(), now()), Step::Renewed);
    }

    #[test]
    fn tls_19_a_certificate_of_tomorrow_is_taken_tomorrow() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("Root");
        fs::write(folder.path().join("roots.pem"), ca.pem()).unwrap();
        put(folder.path(), &ca.server(&["contoso.com"]));
        let mut slot = opened(folder.path());
        let early = ca.issue("contoso.com", |params| {
            san(params, &[San::Dns("contoso.com")]);
            validity(params, 2030, 2035);
        });
        put(folder.path(), &early);
        let (instant, begins) = (Instant::now(), early.facts().not_before);
        assert!(matches!(slot.step(Occasion::Order, instant, now()), Step::Refused(_)));
        let before = begins - Duration::from_secs(1);
        assert_eq!(slot.step(Occasion::Interval, instant, before), Step::Same);
        assert_eq!(slot.step(Occasion::Interval, instant, begins), Step::Renewed);
    }

    #[test]
    fn tls_15_and_tls_19_roots_of_a_partner_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Ca::new("One"), Ca::new("Two"));
        let file = folder.path().join("partner.pem");
        fs::write(&file, one.pem()).unwrap();
        let config = config(folder.path(), &format!("roots = {file:?}\n"));
        let mut slot = Slot::open(ProofFiles::of(config.partners.iter().next().unwrap()), now()).unwrap();
        let judged = |slot: &Slot<ProofFiles>, ca: &Ca| {
            let chain = ca.server(&["fabrikam.com"]).chain;
            let roots = slot.current().own_roots().unwrap();
            judge_chain(&chain, roots, now())
        };
        assert_eq!(judged(&slot, &one), ChainStatus::Valid);
        fs::write(&file, two.pem()).unwrap();
        assert_eq!(slot.step(Occasion::Order, Instant::now(), now()), Step::Renewed);
        assert_eq!(judged(&slot, &two), ChainStatus::Valid);
        assert!(!judged(&slot, &one).is_valid());
        fs::write(&file, "").unwrap();
        assert!(matches!(slot.step(Occasion::Order, Instant::now(), now()), Step::Refused(_)));
        assert_eq!(judged(&slot, &two), ChainStatus::Valid, "what was in use stays");
    }

    #[test]
    fn tls_09_revocation_lists_are_taken_with_and_without_roots() {
        let folder = tempfile::tempdir().unwrap();
        let (roots, lists) = (folder.path().join("partner.pem"), folder.path().join("lists.pem"));
        fs::write(&roots, Ca::new("Own").pem()).unwrap();
        fs::write(&lists, "no list").unwrap();
        // Whether they are read shows in that they are refused.
        for partner in [format!("crls = {lists:?}\n"), format!("roots = {roots:?}\ncrls = {lists:?}\n")] {
            let config = config(folder.path(), &partner);
            let opened = Slot::open(ProofFiles::of(config.partners.iter().next().unwrap()), now());
            let error = opened.err().unwrap();
            assert!(error.contains("lists.pem has no revocation list"), "{error}");
        }
    }
}
