//! The files that the configuration names: whether they are there, and are what they should be.

use std::path::{Path, PathBuf};

use super::super::federation::Secret;
use super::super::file::Root;
use super::super::pem::{self, Holds};
use super::super::problem::{Problem, Severity};
use super::super::read::Slot;
use super::super::source::{Part, Sources};
use super::{Checker, sip_identities};

impl Checker<'_> {
    pub(super) fn files(
        &mut self,
        root: &Root,
        sources: &Sources,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) {
        if let Some(node) = &root.node.value
            && let Some(folder) = &node.state_dir.value
            && folder.exists()
            && !folder.is_dir()
        {
            let text = format!("[node] state_dir: {} is not a folder", folder.display());
            self.error(node.state_dir.place, text);
        }
        if let Some(sip) = &root.sip.value {
            self.identity("[sip]", &sip.certificate, &sip.key, identity);
            self.file("[sip] roots", &sip.roots, Holds::Roots);
            self.file("[sip] crls", &sip.crls, Holds::Crls);
            for section in sip.identities.value.iter().flat_map(|list| &list.0) {
                let own = &section.value;
                self.identity(&sip_identities::label(own), &own.certificate, &own.key, identity);
            }
        }
        if let Some(xmpp) = &root.xmpp.value {
            self.file("[xmpp] roots", &xmpp.roots, Holds::Roots);
            self.secret("[xmpp] dialback_secret", &xmpp.dialback_secret);
        }
        self.partner_files(root, sources);
        self.control_files(root, identity);
        for (index, certificate) in root.certificates.value.iter().flat_map(|list| &list.0).enumerate() {
            let label = format!("[[certificate]] number {}:", index + 1);
            self.identity(&label, &certificate.value.certificate, &certificate.value.key, identity);
        }
    }

    pub(super) fn identity(
        &mut self,
        label: &str,
        certificate: &Slot<PathBuf>,
        key: &Slot<PathBuf>,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) {
        let right = self.file(&format!("{label} certificate"), certificate, Holds::Chain)
            & self.file(&format!("{label} key"), key, Holds::Key);
        let (Some(chain), Some(secret)) = (&certificate.value, &key.value) else { return };
        if right && let Err(sentence) = identity(chain, secret) {
            self.error(certificate.place, format!("{label} certificate: {sentence}"));
        }
        if right {
            self.keep_private(&format!("{label} key"), key);
        }
    }

    fn secret(&mut self, label: &str, path: &Slot<PathBuf>) {
        let Some(file) = &path.value else { return };
        if let Err(sentence) = Secret::from_file(file) {
            self.error(path.place, format!("{label}: {sentence}"));
        }
        self.keep_private(label, path);
    }

    /// Warns if everybody on the machine may read the file.
    pub(super) fn keep_private(&mut self, label: &str, path: &Slot<PathBuf>) {
        if let Some(file) = path.value.as_deref().filter(|file| pem::readable_by_all(file)) {
            let text =
                format!("{label}: every user of this machine may read {0}; chmod o= {0}", file.display());
            self.problems.push(self.places.problem(Severity::Warning, path.place, Part::Value, text));
        }
    }

    pub(super) fn file(&mut self, label: &str, path: &Slot<PathBuf>, holds: Holds) -> bool {
        let Some(file) = &path.value else { return false };
        match pem::check(file, holds) {
            Ok(()) => true,
            Err(sentence) => {
                let text = format!("{label}: {sentence}");
                let problem = self.places.problem(Severity::Error, path.place, Part::Value, text);
                self.problems.push(Problem { of_file: true, ..problem });
                false
            }
        }
    }
}
