//! Certificates for tests, made on the spot: good ones with rcgen, odd ones by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData, SigningKey, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Backend, Identity, PeerCertificate, PeerFacts, Presented, Roots, TlsVersion};

/// When the tests take place: 2026-06-01. Certificates are valid 2020 to 2040 unless a test says otherwise.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_272_000)
}

/// A subject alternative name as DER.
pub(crate) enum San<'a> {
    Dns(&'a str),
    Uri(&'a str),
    Ip([u8; 4]),
    /// id-on-dnsSRV as IA5String, as RFC 4985 says.
    Srv(&'a str),
    /// id-on-dnsSRV as UTF8String, as some tools do.
    SrvUtf8(&'a str),
    /// id-on-xmppAddr as UTF8String.
    XmppAddr(&'a str),
    /// Any bytes for the content of id-on-xmppAddr.
    XmppAddrRaw(&'a [u8]),
}

/// A CA of the tests.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key; the chain is sent as given.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, |_| ())
    }

    pub(crate) fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// A CA below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| ())
    }

    pub(crate) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Self { issuer }
    }

    pub(crate) fn issue(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue_for(KeyPair::generate().unwrap(), common_name, change)
    }

    /// With an RSA key, as old servers have them.
    #[cfg(feature = "openssl-legacy")]
    pub(crate) fn issue_rsa(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        self.issue_for(key, common_name, change)
    }

    fn issue_for(
        &self,
        key: KeyPair,
        common_name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = params(common_name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: vec![certificate.der().clone()], key }
    }

    /// A server's certificate for DNS names.
    pub(crate) fn server(&self, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|name| San::Dns(name)).collect();
        self.issue("server", |params| {
            san(params, &names);
            eku(params, &[ExtendedKeyUsagePurpose::ServerAuth]);
        })
    }

    /// For a key that somebody else made.
    pub(crate) fn sign_for(&self, key_pem: &str, names: &[&str]) -> Issued {
        let names: Vec<_> = names.iter().map(|name| San::Dns(name)).collect();
        self.issue_for(KeyPair::from_pem(key_pem).unwrap(), "server", |params| san(params, &names))
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// What signs in its name.
    pub(crate) fn issuer(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.issuer
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes(), Path::new("roots.pem")).unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        pem(&[self.der()])
    }
}

impl Issued {
    pub(crate) fn pem(&self) -> String {
        pem(&self.chain)
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn facts(&self) -> PeerCertificate {
        PeerCertificate::from_der(&self.chain[0]).unwrap()
    }

    /// What a handshake shows of a peer that presents it.
    pub(crate) fn presented(&self) -> PeerFacts {
        PeerFacts {
            backend: Backend::Rustls,
            version: TlsVersion::Tls13,
            cipher_suite: "TLS13_AES_128_GCM_SHA256",
            resumed: false,
            server_name: None,
            presented: Presented::Certificate(Box::new(self.facts())),
            chain: self.chain.clone(),
        }
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        let (certificate, key) = (self.pem(), self.key_pem());
        Arc::new(
            Identity::from_pem(
                certificate.as_bytes(),
                Path::new("c.pem"),
                key.as_bytes(),
                Path::new("k.pem"),
            )
            .unwrap(),
        )
    }
}

/// A certificate signed by its own key.
pub(crate) fn self_signed(common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let mut params = params(common_name);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Issued { chain: vec![certificate.der().clone()], key }
}

/// An X.509 version 1 certificate: no version field, no extensions.
pub(crate) fn version_1() -> Issued {
    const ECDSA_WITH_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
    let key = KeyPair::generate().unwrap();
    let algorithm = der(0x30, &[ECDSA_WITH_SHA256]);
    let name = der(0x30, &[&der(0x31, &[&der(0x30, &[COMMON_NAME, &der(0x0c, &[b"old"])])])]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"400101000000Z"])]);
    let spki = key.subject_public_key_info();
    let tbs = der(0x30, &[&der(0x02, &[&[1]]), &algorithm, &name, &validity, &name, &spki]);
    let signature = key.sign(&tbs).unwrap();
    let certificate = der(0x30, &[&tbs, &algorithm, &der(0x03, &[&[0], &signature])]);
    Issued { chain: vec![certificate.into()], key }
}

/// Adds a subjectAltName extension.
pub(crate) fn san(params: &mut CertificateParams, names: &[San<'_>]) {
    let names: Vec<_> = names.iter().map(general_name).collect();
    let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
    raw_san(params, der(0x30, &names));
}

/// Adds a subjectAltName extension with this content, well-formed or not.
pub(crate) fn raw_san(params: &mut CertificateParams, content: Vec<u8>) {
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], content));
}

pub(crate) fn eku(params: &mut CertificateParams, usages: &[ExtendedKeyUsagePurpose]) {
    params.extended_key_usages = usages.to_vec();
}

pub(crate) fn validity(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

pub(crate) fn pem(chain: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let section = |der: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    chain.iter().map(section).collect()
}

/// One DER value.
pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut value = vec![tag];
    match length {
        0..=0x7f => value.push(length as u8),
        0x80..=0xff => value.extend([0x81, length as u8]),
        _ => {
            value.push(0x82);
            value.extend((length as u16).to_be_bytes());
        }
    }
    value.extend(content);
    value
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    validity(&mut params, 2020, 2040);
    params
}

fn general_name(name: &San<'_>) -> Vec<u8> {
    const XMPP_ADDR: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x05];
    const DNS_SRV: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, 0x07];
    let other =
        |oid: &[u8], tag: u8, text: &str| der(0xa0, &[oid, &der(0xa0, &[&der(tag, &[text.as_bytes()])])]);
    match name {
        San::Dns(name) => der(0x82, &[name.as_bytes()]),
        San::Uri(uri) => der(0x86, &[uri.as_bytes()]),
        San::Ip(address) => der(0x87, &[address]),
        San::Srv(name) => other(DNS_SRV, 0x16, name),
        San::SrvUtf8(name) => other(DNS_SRV, 0x0c, name),
        San::XmppAddr(jid) => other(XMPP_ADDR, 0x0c, jid),
        San::XmppAddrRaw(content) => der(0xa0, &[XMPP_ADDR, content]),
    }
}
