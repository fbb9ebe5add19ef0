use std::path::Path;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};

use super::*;
use crate::tls::testing::{Ca, Issued, San, eku, now, pem, san, self_signed, validity, version_1};

#[test]
fn tls_09_a_chain_to_a_root_is_valid_with_and_without_intermediate() {
    let ca = Ca::new("Root");
    assert_eq!(judge(&ca.server(&["a.ex"]), &ca), ChainStatus::Valid);
    let intermediate = ca.intermediate("Intermediate");
    let mut issued = intermediate.server(&["a.ex"]);
    assert_eq!(judge(&issued, &ca), ChainStatus::UnknownIssuer { issuer: "CN=Intermediate".to_owned() });
    issued.chain.push(intermediate.der());
    assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
    issued.chain.push(ca.der());
    assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
}

#[test]
fn tls_09_another_ca_is_an_unknown_issuer_by_the_name_where_the_chain_ends() {
    let (ours, theirs) = (Ca::new("Ours"), Ca::new("Theirs"));
    let intermediate = theirs.intermediate("Between");
    let mut issued = intermediate.server(&["a.ex"]);
    issued.chain.push(intermediate.der());
    assert_eq!(judge(&issued, &ours), ChainStatus::UnknownIssuer { issuer: "CN=Theirs".to_owned() });
    // The same name is not the same root.
    let impostor = Ca::new("Ours");
    assert_ne!(judge(&impostor.server(&["a.ex"]), &ours), ChainStatus::Valid);
}

#[test]
fn tls_09_expired_and_not_yet_valid() {
    let ca = Ca::new("Root");
    let expired = ca.issue("x", |params| validity(params, 2020, 2025));
    let ChainStatus::Expired { since } = judge(&expired, &ca) else { panic!("{:?}", judge(&expired, &ca)) };
    assert_eq!(date(since), "2025-01-01 00:00:00 UTC");
    assert_eq!(since, expired.facts().not_after);
    let early = ca.issue("x", |params| validity(params, 2030, 2035));
    let ChainStatus::NotYetValid { from } = judge(&early, &ca) else { panic!("{:?}", judge(&early, &ca)) };
    assert_eq!(from, early.facts().not_before);
    let old_ca = Ca::new("Root").intermediate("Old");
    let other = old_ca.issue("x", |params| validity(params, 2020, 2025));
    assert!(matches!(judge(&other, &ca), ChainStatus::Expired { .. }));
    // To the second: valid at notAfter, expired after it.
    let at = |offset| judge_chain(&expired.chain, &ca.roots(), since + Duration::from_secs(offset));
    assert_eq!((at(0), at(1)), (ChainStatus::Valid, ChainStatus::Expired { since }));
}

#[test]
fn tls_09_self_signed_even_if_it_claims_to_be_a_ca() {
    let ca = Ca::new("Root");
    assert_eq!(judge(&self_signed("a.ex", |_| ()), &ca), ChainStatus::SelfSigned);
    let as_ca = self_signed("a.ex", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    assert_eq!(judge(&as_ca, &ca), ChainStatus::SelfSigned);
}

#[test]
fn tls_09_a_self_signed_certificate_among_the_roots_is_valid_unless_it_is_a_ca() {
    let own_root =
        |issued: &Issued| Roots::from_pem(issued.pem().as_bytes(), Path::new("roots.pem")).unwrap();
    let plain = self_signed("a.ex", |_| ());
    assert_eq!(judge_chain(&plain.chain, &own_root(&plain), now()), ChainStatus::Valid);
    let as_ca = self_signed("a.ex", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let status = judge_chain(&as_ca.chain, &own_root(&as_ca), now());
    assert_eq!(status, ChainStatus::Other("it is a CA's certificate, not a server's".to_owned()));
}

/// Whatever single byte is changed, nothing panics and the chain is no longer valid.
#[test]
fn tls_09_no_changed_certificate_is_valid() {
    let ca = Ca::new("Root");
    let roots = ca.roots();
    let names =
        [San::Dns("a.ex"), San::Srv("_xmpp-server.a.ex"), San::XmppAddr("a.ex"), San::Ip([192, 0, 2, 1])];
    let issued = ca.issue("x", |params| {
        san(params, &names);
        eku(params, &[ServerAuth]);
    });
    assert_eq!(judge_chain(&issued.chain, &roots, now()), ChainStatus::Valid);
    let good = issued.chain[0].to_vec();
    for position in 0..good.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = good.clone();
            changed[position] ^= change;
            if let Ok(facts) = PeerCertificate::from_der(&changed) {
                let names = crate::tls::xmpp_names(&facts);
                let names = (names, crate::tls::sip_names_match(&facts, &["a.ex".to_owned()]));
                assert!(!format!("{facts} {names:?}").is_empty());
            }
            let status = judge_chain(&[changed.into()], &roots, now());
            assert!(!status.is_valid(), "byte {position} changed by {change:#x}");
            assert!(!status.to_string().contains(char::is_control));
        }
        assert!(!judge_chain(&[good[..position].to_vec().into()], &roots, now()).is_valid());
    }
}

#[test]
fn tls_09_nothing_presented_is_missing() {
    assert_eq!(judge_chain(&[], &Ca::new("Root").roots(), now()), ChainStatus::Missing);
}

#[test]
fn tls_18_the_usage_must_include_servers_or_be_open() {
    let ca = Ca::new("Root");
    let with = |usages: &[_]| judge(&ca.issue("x", |params| eku(params, usages)), &ca);
    assert_eq!(with(&[]), ChainStatus::Valid);
    assert_eq!(with(&[ServerAuth]), ChainStatus::Valid);
    assert_eq!(with(&[ServerAuth, ClientAuth]), ChainStatus::Valid);
    assert_eq!(with(&[ClientAuth]), ChainStatus::WrongUsage { has: "clientAuth".to_owned() });
    assert_eq!(
        with(&[ClientAuth, CodeSigning]),
        ChainStatus::WrongUsage { has: "clientAuth, codeSigning".to_owned() }
    );
}

#[test]
fn dec_25_an_empty_subject_does_not_matter() {
    let ca = Ca::new("Root");
    let issued = ca.issue("", |params| san(params, &[San::Dns("a.ex")]));
    assert_eq!(issued.facts().subject, "");
    assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
}

#[test]
fn dec_25_the_key_usage_of_a_ca_need_not_hold_digital_signature() {
    use rcgen::KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign};
    for usages in [vec![KeyCertSign, CrlSign], vec![KeyCertSign, CrlSign, DigitalSignature], Vec::new()] {
        let ca = Ca::with("Root", |params| params.key_usages = usages.clone());
        assert_eq!(judge(&ca.server(&["a.ex"]), &ca), ChainStatus::Valid, "{usages:?}");
    }
}

#[test]
fn tls_09_a_leaf_cannot_issue_and_a_wrong_signature_does_not_pass() {
    let ca = Ca::new("Root");
    let mut forged = ca.server(&["a.ex"]);
    let mut der = forged.chain[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    forged.chain[0] = der.into();
    assert!(matches!(judge(&forged, &ca), ChainStatus::Other(_) | ChainStatus::UnknownIssuer { .. }));
    let constrained = Ca::with("Narrow", |params| {
        let permitted = rcgen::GeneralSubtree::DnsName("ex".to_owned());
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![permitted],
            excluded_subtrees: Vec::new(),
        });
    });
    assert_eq!(judge(&constrained.server(&["a.ex"]), &constrained), ChainStatus::Valid);
    let ChainStatus::Other(detail) = judge(&constrained.server(&["a.com"]), &constrained) else { panic!() };
    assert_eq!(detail, "its names are outside those its issuer may certify");
}

#[test]
fn tls_09_unreadable_certificates_say_why() {
    let roots = Ca::new("Root").roots();
    let status = judge_chain(&version_1().chain, &roots, now()).to_string();
    assert!(status.contains("X.509 version 1"), "{status}");
    let status = judge_chain(&[b"nonsense".to_vec().into()], &roots, now());
    assert_eq!(status, ChainStatus::Other("it is not well-formed".to_owned()));
}

#[test]
fn tls_15_roots_come_from_a_file_or_say_what_is_wrong_with_it() {
    let (a, b) = (Ca::new("A"), Ca::new("B"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, format!("A comment\n{}{}", a.pem(), b.pem())).unwrap();
    let roots = Roots::from_pem_file(&file).unwrap();
    assert_eq!((roots.len(), roots.source()), (2, file.to_str().unwrap()));
    for ca in [&a, &b] {
        assert_eq!(judge_chain(&ca.server(&["x"]).chain, &roots, now()), ChainStatus::Valid);
    }

    let name = file.display();
    let key = a.server(&["x"]).key_pem();
    let cases = [
        (String::new(), format!("{name} has no certificate: it is empty")),
        (key, format!("{name} has no certificate: it has PRIVATE KEY")),
        (
            "hello".to_owned(),
            format!("{name} has no certificate: it is not PEM (there is no line “-----BEGIN …-----”)"),
        ),
        (
            pem(&[b"hello".to_vec().into()]),
            format!("certificate 1 in {name} cannot serve as a root: it is not well-formed"),
        ),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        assert_eq!(Roots::from_pem_file(&file).unwrap_err().to_string(), expected);
    }
    let missing = Roots::from_pem_file(Path::new("/no/such/file.pem")).unwrap_err().to_string();
    assert_eq!(missing, "cannot read /no/such/file.pem: No such file or directory (os error 2)");
}

fn judge(issued: &Issued, ca: &Ca) -> ChainStatus {
    judge_chain(&issued.chain, &ca.roots(), now())
}
