//! A folder with certificates in which the real program runs.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

/// A temporary folder with `pki/`: `roots.pem`, `sip.{pem,key}`, `contoso.{pem,key,der}`.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

/// What a run of the program ended with.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        std::fs::create_dir(&pki).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(pki.join("roots.pem"), root.pem()).unwrap();
        for (name, host) in [("sip", "nuncio.contoso.com"), ("contoso", "contoso.com")] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &root).unwrap();
            std::fs::write(pki.join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(pki.join(format!("{name}.der")), certificate.der()).unwrap();
            let path = pki.join(format!("{name}.key"));
            std::fs::write(&path, key.serialize_pem()).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// Runs the program in the folder, with this environment and no other.
    pub(crate) fn nuncio(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        self.nuncio_in(".", arguments, environment)
    }

    /// The same in a folder below.
    pub(crate) fn nuncio_in(&self, folder: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_nuncio"))
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(self.path().join(folder))
            .output()
            .unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
