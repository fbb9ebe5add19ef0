use std::fs;

use rcgen::ExtendedKeyUsagePurpose;
use tempfile::TempDir;

use super::*;
use crate::tls::testing::{Ca, eku, now, pem as to_pem, validity, version_1};

#[test]
fn tls_19_a_chain_with_its_key_is_loaded() {
    let ca = Ca::new("Root");
    let intermediate = ca.intermediate("Between");
    let mut issued = intermediate.server(&["a.ex"]);
    issued.chain.push(intermediate.der());
    let identity = load(&issued.pem(), &issued.key_pem()).unwrap();
    assert_eq!(identity.chain(), issued.chain);
    assert_eq!(identity.certificate().subject, "CN=server");
    assert_eq!(identity.concerns(now()), []);
    assert!(!format!("{identity:?}").contains("key:"), "the key must not be printable");
}

#[test]
fn tls_19_chain_and_key_may_share_a_file() {
    let issued = Ca::new("Root").server(&["a.ex"]);
    let both = format!("{}{}", issued.key_pem(), issued.pem());
    assert!(load(&both, &both).is_ok());
}

#[test]
fn errors_say_which_file_is_wrong_and_how() {
    let ca = Ca::new("Root");
    let (one, two) = (ca.server(&["one.ex"]), ca.server(&["two.ex"]));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let reversed = to_pem(&[ca.der(), one.chain[0].clone()]);
    let cut = one.pem().replace("-----END CERTIFICATE-----", "");
    let csr = "-----BEGIN CERTIFICATE REQUEST-----\r\nAAAA\r\n-----END CERTIFICATE REQUEST-----\r\n";
    let cases = [
        (
            one.pem(),
            two.key_pem(),
            "the private key in KEY does not belong to the first certificate in CERT (“CN=server”)",
        ),
        (String::new(), one.key_pem(), "CERT has no certificate: it is empty"),
        (one.key_pem(), one.key_pem(), "CERT has no certificate: it has PRIVATE KEY"),
        (csr.to_owned(), one.key_pem(), "CERT has no certificate: it has CERTIFICATE REQUEST"),
        (one.pem(), one.pem(), "KEY has no private key: it has CERTIFICATE"),
        (
            one.pem(),
            "hello".to_owned(),
            "KEY has no private key: it is not PEM (there is no line “-----BEGIN …-----”)",
        ),
        (
            one.pem(),
            encrypted.to_owned(),
            "the private key in KEY is encrypted; remove the password (for example with `openssl pkey`) and protect the \
             file by its permissions",
        ),
        (
            one.pem(),
            one.key_pem() + &two.key_pem(),
            "KEY has 2 private keys; leave only the one that belongs to the certificate",
        ),
        (
            reversed,
            one.key_pem(),
            "certificate 2 in CERT (“CN=server”) is not the issuer of the one before it (“CN=Root”): the file must have \
             the server's certificate first, then its issuer's, and so on; leave out what does not belong there",
        ),
        (cut, one.key_pem(), "CERT is broken PEM: the line “-----END CERTIFICATE-----” is missing"),
        (
            version_1().pem(),
            one.key_pem(),
            "certificate 1 in CERT is unusable: it is an X.509 version 1 certificate; only version 3 is accepted: have \
             it issued anew",
        ),
    ];
    for (certificate, key, expected) in cases {
        assert_eq!(load(&certificate, &key).unwrap_err(), expected);
    }
    let garbage = to_pem(&[b"garbage".to_vec().into()]);
    assert!(
        load(&garbage, &one.key_pem())
            .unwrap_err()
            .starts_with("certificate 1 in CERT is unusable: it is not a")
    );
    let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(load(&one.pem(), broken_key).unwrap_err().starts_with("the private key in KEY is unusable: "));
}

#[test]
fn a_missing_file_and_der_are_named() {
    let issued = Ca::new("Root").server(&["a.ex"]);
    let folder = TempDir::new().unwrap();
    let (certificate, key) = (folder.path().join("c.der"), folder.path().join("k.pem"));
    let error = Identity::load(&certificate, &key).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot read {}: No such file or directory (os error 2)", certificate.display())
    );
    fs::write(&certificate, &issued.chain[0]).unwrap();
    fs::write(&key, issued.key_pem()).unwrap();
    let error = Identity::load(&certificate, &key).unwrap_err().to_string();
    assert!(
        error.ends_with("has no certificate: it seems to be DER, not PEM (convert it with `openssl`)"),
        "{error}"
    );
}

#[test]
fn concerns_name_what_peers_will_object_to() {
    let ca = Ca::new("Root").intermediate("Between");
    let issued = ca.issue("x", |params| {
        validity(params, 2020, 2025);
        eku(params, &[ExtendedKeyUsagePurpose::ClientAuth]);
    });
    let identity = load(&issued.pem(), &issued.key_pem()).unwrap();
    assert_eq!(
        identity.concerns(now()),
        [
            IdentityConcern::Expired { since: issued.facts().not_after },
            IdentityConcern::IssuerNotIncluded { issuer: "CN=Between".to_owned() },
            IdentityConcern::NotForServers,
        ]
    );
    let early = ca.issue("x", |params| validity(params, 2030, 2031));
    let identity = load(&early.pem(), &early.key_pem()).unwrap();
    assert_eq!(identity.concerns(now())[0], IdentityConcern::NotYetValid { from: early.facts().not_before });
}

/// Loads from real files; in errors their names become CERT and KEY.
fn load(certificate: &str, key: &str) -> Result<Identity, String> {
    let folder = TempDir::new().unwrap();
    let (certificate_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    fs::write(&certificate_file, certificate).unwrap();
    fs::write(&key_file, key).unwrap();
    let plain = |path: &Path| path.display().to_string();
    Identity::load(&certificate_file, &key_file).map_err(|error| {
        error.to_string().replace(&plain(&certificate_file), "CERT").replace(&plain(&key_file), "KEY")
    })
}

/// Made by `openssl req -x509 -newkey rsa:1024 -nodes`: no library of ours makes such a key.
#[test]
fn an_rsa_key_that_is_too_short_is_called_so() {
    let error = load(include_str!("samples/rsa1024.pem"), include_str!("samples/rsa1024.key")).unwrap_err();
    assert!(error.contains("an RSA key of 1024 bits is too short, 2048 is the least"), "{error}");
}
