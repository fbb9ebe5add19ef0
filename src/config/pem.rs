//! A first look at the files that the configuration names: are they there, and are they what they should be.

use std::io::ErrorKind;
use std::path::Path;

/// What a PEM file is expected to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Chain,
    Key,
    Roots,
    Crls,
}

impl Holds {
    const fn name(self) -> &'static str {
        match self {
            Self::Chain => "a certificate chain",
            Self::Key => "a private key",
            Self::Roots => "root certificates",
            Self::Crls => "revocation lists",
        }
    }
}

/// PEM files are small; a larger one is something else.
const MAX: u64 = 16 * 1024 * 1024;

/// Looks into the file; the sentence says what is wrong and what to do.
pub(super) fn check(path: &Path, holds: Holds) -> Result<(), String> {
    let shown = path.display();
    let what = holds.name();
    let unreadable = |error: std::io::Error| match error.kind() {
        // A gateway that runs does not know of it yet: the command has to go by the file.
        ErrorKind::NotFound if holds == Holds::Chain => format!(
            "{shown} does not exist; expected {what} in PEM there (to have one issued: nuncio cert request --here --for {shown})"
        ),
        ErrorKind::NotFound => format!("{shown} does not exist; expected {what} in PEM there"),
        ErrorKind::PermissionDenied => {
            format!(
                "{shown} may not be read by this user; the user that nuncio runs as needs read permission"
            )
        }
        _ => format!("{shown} cannot be read: {error}"),
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file; expected {what} in PEM"));
    }
    if metadata.len() > MAX {
        return Err(format!("{shown} is larger than 16 MiB; expected {what} in PEM"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let has = |needle: &str| contains(&bytes, needle.as_bytes());
    let certificate = has("-----BEGIN CERTIFICATE-----");
    let key = has("PRIVATE KEY-----");
    let list = has("-----BEGIN X509 CRL-----");
    match holds {
        Holds::Chain | Holds::Roots if certificate => Ok(()),
        Holds::Crls if list => Ok(()),
        Holds::Key if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") => {
            Err(format!(
                "{shown} is protected by a passphrase, and nobody is there to type it; \
             remove it with: openssl pkey -in FILE -out NEWFILE"
            ))
        }
        Holds::Key if key => Ok(()),
        Holds::Chain | Holds::Roots if key => {
            Err(format!("{shown} holds a private key and no certificate; are certificate and key swapped?"))
        }
        Holds::Key if certificate => {
            Err(format!("{shown} holds a certificate and no private key; are certificate and key swapped?"))
        }
        // An ASN.1 SEQUENCE.
        _ if bytes.first() == Some(&0x30) => {
            let command = match holds {
                Holds::Key => "pkey",
                Holds::Crls => "crl",
                Holds::Chain | Holds::Roots => "x509",
            };
            Err(format!(
                "{shown} looks like DER; expected {what} in PEM, convert it with: \
                 openssl {command} -inform der -in FILE -out NEWFILE"
            ))
        }
        _ if bytes.is_empty() => Err(format!("{shown} is empty; expected {what} in PEM")),
        _ => Err(format!(
            "{shown} holds no {}; expected {what} in PEM",
            match holds {
                Holds::Key => "private key",
                Holds::Crls => "revocation list (X509 CRL)",
                Holds::Chain | Holds::Roots => "certificate",
            }
        )),
    }
}

/// Whether everybody on the machine may read the file.
pub(super) fn readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_must_be_what_it_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let certificate = file("certificate", b"subject=x\n-----BEGIN CERTIFICATE-----\n");
        let key = file("key", b"-----BEGIN EC PRIVATE KEY-----\n");
        let cases = [
            (certificate.clone(), Holds::Chain, None),
            (certificate.clone(), Holds::Roots, None),
            (key.clone(), Holds::Key, None),
            (certificate, Holds::Key, Some("swapped")),
            (key, Holds::Chain, Some("swapped")),
            (file("locked", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), Holds::Key, Some("passphrase")),
            (
                file("locked1", b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"),
                Holds::Key,
                Some("passphrase"),
            ),
            (file("der", b"\x30\x82\x01\x01"), Holds::Chain, Some("openssl x509 -inform der")),
            (file("der1", b"\x30\x82\x01\x01"), Holds::Key, Some("openssl pkey -inform der")),
            (file("crl", b"-----BEGIN X509 CRL-----\n"), Holds::Crls, None),
            (file("der2", b"\x30\x82\x01\x01"), Holds::Crls, Some("openssl crl -inform der")),
            (file("root", b"-----BEGIN CERTIFICATE-----\n"), Holds::Crls, Some("holds no revocation list")),
            (file("empty", b""), Holds::Chain, Some("is empty")),
            (file("text", b"hello"), Holds::Roots, Some("holds no certificate")),
            (folder.path().join("absent"), Holds::Roots, Some("does not exist")),
            (folder.path().to_owned(), Holds::Roots, Some("is not a file")),
        ];
        for (path, holds, expected) in cases {
            let found = check(&path, holds);
            match (expected, &found) {
                (None, Ok(())) => {}
                (Some(part), Err(sentence)) if sentence.contains(part) => {}
                _ => panic!("{} as {holds:?}: {found:?}", path.display()),
            }
        }
    }
}
