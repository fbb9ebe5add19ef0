use nuncio_xmpp::Domain;
use rcgen::{CertificateParams, KeyPair};

use super::{NameKind, NameMatch, NameMismatch, sip_names_match, xmpp_names, xmpp_remark};
use crate::tls::testing::{Ca, San, raw_san, san};
use crate::tls::{PeerCertificate, SanName};

#[test]
fn tls_11_each_kind_of_name_speaks_for_its_domain() {
    for name in [
        San::XmppAddr("fabrikam.com"),
        San::Srv("_xmpp-server.fabrikam.com"),
        San::SrvUtf8("_xmpp-server.fabrikam.com"),
        San::Dns("fabrikam.com"),
        San::Dns("FABRIKAM.Com"),
        San::Srv("_XMPP-Server.Fabrikam.com"),
        San::XmppAddr("Fabrikam.COM"),
    ] {
        let certificate = certificate("", &[San::Uri("https://other.example"), name]);
        assert!(speaks_for(&certificate, "fabrikam.com"), "{:?}", certificate.names());
        for other in ["mail.fabrikam.com", "fabrikam.net", "com", "xfabrikam.com", "192.0.2.1"] {
            assert!(!speaks_for(&certificate, other), "{other}");
        }
    }
}

#[test]
fn tv_24_the_certificates_of_rfc_6120_13_7_1_2_2() {
    let simple = [
        San::Srv("_xmpp-client.im.example.com"),
        San::Srv("_xmpp-server.im.example.com"),
        San::Dns("im.example.com"),
        San::XmppAddr("im.example.com"),
    ];
    let simple_one = certificate("Example Products, Inc.", &simple);
    assert_eq!(simple_one.names().len(), 4);
    assert!(speaks_for(&simple_one, "im.example.com"));
    for other in ["example.com", "x.example.com", "conference.im.example.com"] {
        assert!(!speaks_for(&simple_one, other), "{other}: the host of an SRV record is nobody's identity");
    }
    // Each of them alone does, but that for clients.
    for (name, speaks) in simple.into_iter().zip([false, true, true, true]) {
        assert_eq!(speaks_for(&certificate("", &[name]), "im.example.com"), speaks);
    }

    let complex_one = certificate(
        "Example Internet Services",
        &[
            San::Srv("_xmpp-client.example.net"),
            San::Srv("_xmpp-server.example.net"),
            San::Srv("_xmpp-server.chat.example.net"),
            San::Dns("example.net"),
            San::Dns("*.example.net"),
            San::XmppAddr("example.net"),
            San::XmppAddr("chat.example.net"),
        ],
    );
    for domain in ["example.net", "chat.example.net", "x1.example.net", "future.example.net"] {
        assert!(speaks_for(&complex_one, domain), "{domain}");
    }
    for other in ["example.com", "a.chat.example.net", "net"] {
        assert!(!speaks_for(&complex_one, other), "{other}");
    }
}

#[test]
fn tls_11_the_common_name_never_counts_on_the_xmpp_side() {
    let without_san = Ca::new("CA").issue("fabrikam.com", |_| ()).facts();
    assert_eq!(without_san.alternative_names, None);
    let with_other_san = certificate("fabrikam.com", &[San::Dns("mail.fabrikam.com")]);
    for certificate in [without_san, with_other_san] {
        assert!(!speaks_for(&certificate, "fabrikam.com"));
        assert_eq!(remark(&certificate, "fabrikam.com").as_deref(), Some("the common name does not count"));
    }
}

#[test]
fn tls_12_a_wildcard_is_one_whole_left_most_label() {
    let cases = [
        ("*.ex", "a.ex", true),
        ("*.EX", "A.ex", true),
        ("*.ex", "xn--bcher-kva.ex", true),
        ("*.ex", "a.b.ex", false),
        ("*.ex", "ex", false),
        ("f*.ex", "foo.ex", false),
        ("*f.ex", "of.ex", false),
        ("*.*.ex", "a.b.ex", false),
        ("a.*.ex", "a.b.ex", false),
        ("*", "ex", false),
        ("*.", "ex", false),
        ("**.ex", "a.ex", false),
        ("*.a.ex", "b.a.ex", true),
        ("*.a.ex", "b.ex", false),
    ];
    for (presented, domain, expected) in cases {
        let certificate = certificate("", &[San::Dns(presented)]);
        assert_eq!(speaks_for(&certificate, domain), expected, "{presented} for {domain}");
    }
    assert_eq!(
        remark(&certificate("", &[San::Dns("*.fabrikam.com")]), "fabrikam.com").as_deref(),
        Some("*.fabrikam.com covers one label below, not the domain itself")
    );
}

#[test]
fn tls_12_wildcards_stand_only_in_dns_names() {
    for name in [San::Srv("_xmpp-server.*.ex"), San::XmppAddr("*.ex"), San::Uri("xmpp:*.ex")] {
        assert!(!speaks_for(&certificate("", &[name]), "a.ex"));
    }
}

#[test]
fn tls_12_international_names_compare_as_a_labels() {
    for name in [
        San::Dns("xn--bcher-kva.example"),
        San::Dns("XN--Bcher-KVA.example"),
        San::Srv("_xmpp-server.xn--bcher-kva.example"),
        San::XmppAddr("bücher.example"),
        San::XmppAddr("xn--bcher-kva.example"),
    ] {
        let certificate = certificate("", &[name]);
        for domain in ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "bu\u{308}cher.example"]
        {
            assert!(speaks_for(&certificate, domain), "{domain}");
        }
        assert!(!speaks_for(&certificate, "bucher.example"));
        // Cyrillic “с”.
        assert!(!speaks_for(&certificate, "bü\u{441}her.example"));
    }
    // A dNSName is an IA5String: U-labels in it are invalid.
    let sloppy = certificate("", &[San::Dns("bücher.example")]);
    assert!(!speaks_for(&sloppy, "bücher.example"));
    assert_eq!(
        remark(&sloppy, "bücher.example").as_deref(),
        Some("bücher.example should stand in it as xn--bcher-kva.example")
    );
}

#[test]
fn tls_13_a_name_of_another_service_does_not_count() {
    let certificate =
        certificate("", &[San::Srv("_xmpp-client.fabrikam.com"), San::Srv("_sip.fabrikam.com")]);
    assert!(!speaks_for(&certificate, "fabrikam.com"));
    assert_eq!(
        remark(&certificate, "fabrikam.com").as_deref(),
        Some("_xmpp-client.fabrikam.com is for another service")
    );
    for name in ["_xmpp-server", "_xmpp-server.", "xmpp-server.fabrikam.com", "_xmpp-serverfabrikam.com", "é"]
    {
        assert!(!speaks_for(&self::certificate("", &[San::Srv(name)]), "fabrikam.com"), "{name}");
    }
}

#[test]
fn tls_11_an_address_of_a_user_is_no_server() {
    for jid in ["root@fabrikam.com", "fabrikam.com/x", "@fabrikam.com", "fabrikam.com@"] {
        assert!(!speaks_for(&certificate("", &[San::XmppAddr(jid)]), "fabrikam.com"), "{jid}");
    }
}

#[test]
fn tls_11_hidden_characters_do_not_match() {
    let certificate =
        certificate("", &[San::Dns("fabrikam.com\0.evil.example"), San::XmppAddr("fabrikam.com\n\u{202e}x")]);
    assert!(!speaks_for(&certificate, "fabrikam.com"));
}

#[test]
fn tls_11_broken_other_names_are_no_names() {
    let cases: [&[u8]; 8] = [
        b"",
        b"\xa0\x0e\x0c\x0cfabrikam.co",
        b"\xa0\x0e\x0c\x0dfabrikam.com",
        b"\xa0\x0e\x04\x0cfabrikam.com",
        b"\xa0\x04\x0c\x02\xff\xfe",
        b"\xa0\x0f\x0c\x0cfabrikam.comx",
        b"\xa0\x0e\x0c\x0cfabrikam.comx",
        b"\xa0\x80\x0c\x0cfabrikam.com",
    ];
    for content in cases {
        let certificate = certificate("", &[San::XmppAddrRaw(content)]);
        assert!(matches!(certificate.names(), [SanName::Other(_)]), "{content:?}: {:?}", certificate.names());
        assert!(!speaks_for(&certificate, "fabrikam.com"));
    }
    // The control: the same bytes unbroken.
    let good = certificate("", &[San::XmppAddrRaw(b"\xa0\x0e\x0c\x0cfabrikam.com")]);
    assert!(speaks_for(&good, "fabrikam.com"));
}

#[test]
fn a_mismatch_lists_a_few_names_and_counts_the_rest() {
    let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].map(San::Dns).into_iter().collect();
    assert_eq!(
        sip_mismatch(&certificate("", &many), &["fe.contoso.com"]).to_string(),
        "certificate is for a, b, c, d, e and 2 more, expected fe.contoso.com (SAN dNSName or URI sip:host)"
    );
}

#[test]
fn sip_02_a_uri_without_user_is_the_identity() {
    for uri in [
        "sip:fe.contoso.com",
        "SIP:FE.contoso.com",
        "sip:fe.contoso.com:5061",
        "sip:fe.contoso.com;transport=tls",
    ] {
        let certificate = certificate("", &[San::Uri(uri)]);
        assert_eq!(
            sip_kind(&certificate, &["other.contoso.com", "fe.contoso.com"]),
            Some(NameKind::SipUri),
            "{uri}"
        );
        assert_eq!(sip_kind(&certificate, &["contoso.com"]), None);
    }
    for uri in [
        "sips:fe.contoso.com",
        "sip:user@fe.contoso.com",
        "sip:@fe.contoso.com",
        "https:fe.contoso.com",
        "sip:",
    ] {
        assert_eq!(sip_kind(&certificate("", &[San::Uri(uri)]), &["fe.contoso.com"]), None, "{uri}");
    }
}

#[test]
fn sip_02_dns_names_count_only_without_a_sip_uri() {
    let both = certificate("", &[San::Dns("fe.contoso.com"), San::Uri("sip:contoso.com")]);
    assert_eq!(sip_kind(&both, &["contoso.com"]), Some(NameKind::SipUri));
    assert_eq!(
        sip_mismatch(&both, &["fe.contoso.com"]).to_string(),
        "certificate is for contoso.com, expected fe.contoso.com (SAN URI sip:host); its DNS names do not count because it \
         has a SIP URI"
    );
    // A URI with user, or of another scheme, is no identity, so that the DNS name counts.
    for uri in ["sip:user@contoso.com", "https://contoso.com"] {
        let certificate = certificate("", &[San::Uri(uri), San::Dns("fe.contoso.com")]);
        assert_eq!(sip_kind(&certificate, &["fe.contoso.com"]), Some(NameKind::Dns), "{uri}");
    }
}

#[test]
fn sip_02_the_common_name_counts_only_without_any_alternative_name() {
    let bare = Ca::new("CA").issue("FE.contoso.com", |_| ()).facts();
    assert_eq!(sip_kind(&bare, &["fe.contoso.com"]), Some(NameKind::CommonName));
    for san in [vec![], vec![San::Ip([192, 0, 2, 1])], vec![San::Dns("other.contoso.com")]] {
        let certificate = certificate("fe.contoso.com", &san);
        let mismatch = sip_mismatch(&certificate, &["fe.contoso.com"]).to_string();
        assert!(
            mismatch.ends_with("its common name does not count because it has alternative names"),
            "{mismatch}"
        );
    }
}

#[test]
fn sip_02_an_unreadable_extension_is_not_an_absent_one() {
    let issued = Ca::new("CA").issue("fe.contoso.com", |params| raw_san(params, vec![0x30, 0x05, 0x82]));
    let error = PeerCertificate::from_der(&issued.chain[0]).unwrap_err();
    assert!(error.to_string().contains("not a well-formed"), "{error}");
}

#[test]
fn sip_03_wildcards_and_suffixes_do_not_match() {
    let cases = [
        ("*.pool.example", "fe.pool.example"),
        (".pool.example", "fe.pool.example"),
        ("pool.example", "fe.pool.example"),
        ("fe.pool.example", "pool.example"),
    ];
    for (presented, expected) in cases {
        assert_eq!(sip_kind(&certificate("", &[San::Dns(presented)]), &[expected]), None, "{presented}");
        let uri = format!("sip:{presented}");
        assert_eq!(sip_kind(&certificate("", &[San::Uri(&uri)]), &[expected]), None, "{uri}");
    }
    let wildcard = certificate("", &[San::Dns("*.pool.example")]);
    assert_eq!(
        sip_mismatch(&wildcard, &["fe.pool.example", "fe2.pool.example"]).to_string(),
        "certificate is for *.pool.example, expected fe.pool.example or fe2.pool.example (SAN dNSName or URI sip:host); \
         wildcards do not count for SIP"
    );
    assert_eq!(sip_kind(&wildcard, &["*.pool.example"]), None);
    assert_eq!(sip_kind(&wildcard, &[]), None);
}

#[test]
fn sip_03_international_names_compare_as_a_labels() {
    let certificate = certificate("", &[San::Uri("sip:xn--bcher-kva.example")]);
    assert_eq!(sip_kind(&certificate, &["Bücher.example"]), Some(NameKind::SipUri));
}

fn certificate(common_name: &str, names: &[San<'_>]) -> PeerCertificate {
    // Signed by itself, because only the names matter here.
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    }
    san(&mut params, names);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    PeerCertificate::from_der(certificate.der()).unwrap()
}

fn speaks_for(certificate: &PeerCertificate, domain: &str) -> bool {
    let domain = Domain::parse(domain).unwrap();
    xmpp_names(certificate).iter().any(|name| name.covers(&domain))
}

fn remark(certificate: &PeerCertificate, domain: &str) -> Option<String> {
    xmpp_remark(certificate, &Domain::parse(domain).unwrap())
}

fn sip_kind(certificate: &PeerCertificate, names: &[&str]) -> Option<NameKind> {
    match sip_names_match(certificate, &owned(names)) {
        NameMatch::Matched(name) => Some(name.kind),
        NameMatch::Mismatch(_) => None,
    }
}

fn sip_mismatch(certificate: &PeerCertificate, names: &[&str]) -> NameMismatch {
    match sip_names_match(certificate, &owned(names)) {
        NameMatch::Matched(name) => panic!("{name:?} matched"),
        NameMatch::Mismatch(mismatch) => mismatch,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
