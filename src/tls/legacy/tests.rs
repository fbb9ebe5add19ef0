use std::io::ErrorKind;

use openssl::ssl::Ssl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::tls::testing::{Ca, Issued, San, now, san, validity};
use crate::tls::{ChainStatus, ClientTls, IdentityStore, Presented, ServerTls, accept, connect, connect_by};

type Ours = Result<(TlsStream<DuplexStream>, PeerFacts), TlsError>;
type Theirs = (SslStream<DuplexStream>, Result<(), openssl::ssl::Error>);

/// What Windows Server 2012 has for RSA certificates, by OpenSSL's names and by IANA's.
const OLD: [(&str, &str); 4] = [
    ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    ("ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
];

fn rsa(ca: &Ca, name: &str) -> Issued {
    ca.issue_rsa("server", |params| san(params, &[San::Dns(name)]))
}

/// A peer with these suites, and what it presents.
fn peer(suites: &str, presents: Option<&Issued>) -> SslContextBuilder {
    let mut context = SslContext::builder(SslMethod::tls()).unwrap();
    context.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
    context.set_cipher_list(suites).unwrap();
    context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    if let Some(issued) = presents {
        let key = PKey::private_key_from_pem(issued.key_pem().as_bytes()).unwrap();
        context.set_certificate(&X509::from_der(&issued.chain[0]).unwrap()).unwrap();
        context.set_private_key(&key).unwrap();
    }
    context
}

/// What the handshake ends with goes out only with what follows.
async fn accepted(stream: DuplexStream, server: &ServerTls) -> Ours {
    let (mut stream, facts) = accept(stream, server).await?;
    stream.flush().await?;
    Ok((stream, facts))
}

/// Somebody with this set-up calls us.
async fn called(server: &ServerTls, client: SslContextBuilder) -> (Ours, Theirs) {
    called_as(Some("a.ex"), server, client).await
}

/// The same, asking for this name.
async fn called_as(name: Option<&str>, server: &ServerTls, client: SslContextBuilder) -> (Ours, Theirs) {
    // So small that a hello comes in many pieces.
    let (near, far) = duplex(64);
    let mut ssl = Ssl::new(&client.build()).unwrap();
    if let Some(name) = name {
        ssl.set_hostname(name).unwrap();
    }
    let mut far = SslStream::new(ssl, far).unwrap();
    let (ours, theirs) = tokio::join!(accepted(near, server), Pin::new(&mut far).connect());
    (ours, (far, theirs))
}

/// We call somebody with this set-up.
async fn calling(backend: Backend, own: &Issued, server: SslContextBuilder) -> (Ours, Theirs) {
    let (near, far) = duplex(64);
    let client = ClientTls::new().unwrap();
    let mut far = SslStream::new(Ssl::new(&server.build()).unwrap(), far).unwrap();
    let identity = own.identity();
    let ours = connect_by(backend, near, &client, "a.ex", &identity);
    let (ours, theirs) = tokio::join!(ours, Pin::new(&mut far).accept());
    (ours, (far, theirs))
}

fn server(own: &Issued) -> ServerTls {
    let store = IdentityStore::single(own.identity());
    ServerTls::new(Arc::new(store)).unwrap().also_by(Backend::OpensslLegacy).unwrap()
}

#[tokio::test]
async fn tls_07_who_calls_with_old_suites_only_is_served_and_seen() {
    let ca = Ca::new("Root");
    let (own, theirs) = (rsa(&ca, "a.ex"), rsa(&ca, "fe.ex"));
    let server = server(&own);
    for (suite, name) in OLD {
        let (ours, (_, done)) = called(&server, peer(suite, Some(&theirs))).await;
        done.unwrap();
        let (_, facts) = ours.unwrap();
        assert_eq!((facts.backend, facts.version), (Backend::OpensslLegacy, TlsVersion::Tls12));
        assert_eq!((facts.cipher_suite, facts.resumed), (name, false));
        assert_eq!(facts.server_name.as_deref(), Some("a.ex"));
        assert_eq!(facts.chain, theirs.chain);
        assert_eq!(facts.certificate(), Some(&theirs.facts()));
        assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
    }
}

#[tokio::test]
async fn tls_07_who_has_only_old_suites_is_called_and_seen() {
    let ca = Ca::new("Root");
    // Our own certificate may have any key there.
    let (own, theirs) = (ca.server(&["gateway.ex"]), rsa(&ca, "a.ex"));
    for (suite, name) in OLD {
        let (ours, (far, done)) = calling(Backend::OpensslLegacy, &own, peer(suite, Some(&theirs))).await;
        done.unwrap();
        let (_, facts) = ours.unwrap();
        assert_eq!((facts.backend, facts.cipher_suite), (Backend::OpensslLegacy, name));
        assert_eq!((facts.server_name.as_deref(), &facts.chain), (Some("a.ex"), &theirs.chain));
        assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
        assert_eq!(far.ssl().peer_certificate().unwrap().to_der().unwrap(), own.chain[0].to_vec());
        assert_eq!(far.ssl().servername(openssl::ssl::NameType::HOST_NAME), Some("a.ex"));
    }
}

#[tokio::test]
async fn tls_07_without_the_setting_both_ways_end_and_the_error_knows_why() {
    let ca = Ca::new("Root");
    let own = rsa(&ca, "a.ex");
    let plain = ServerTls::new(Arc::new(IdentityStore::single(own.identity()))).unwrap();
    let (ours, _) = called(&plain, peer("ECDHE-RSA-AES128-SHA256", Some(&own))).await;
    let error = ours.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::NoCommonSuite(_)), "{error}");
    let (ours, _) = calling(Backend::Rustls, &own, peer("ECDHE-RSA-AES128-SHA256", Some(&own))).await;
    let error = ours.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Alert { .. }) && error.suggests_old_suites(), "{error}");
}

#[tokio::test]
async fn tls_06_who_offers_better_gets_it_also_where_old_suites_are_served() {
    let ca = Ca::new("Root");
    let own = rsa(&ca, "a.ex");
    let server = server(&own);
    let (near, far) = duplex(4096);
    let client = ClientTls::new().unwrap();
    let far = async {
        let (mut stream, _) = connect(far, &client, "a.ex", None).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let (ours, _far) = tokio::join!(accepted(near, &server), far);
    let (_, facts) = ours.unwrap();
    assert_eq!((facts.backend, facts.version), (Backend::Rustls, TlsVersion::Tls13));
    let (ours, _) = called(&server, peer("ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256", None)).await;
    let (_, facts) = ours.unwrap();
    assert_eq!((facts.backend, facts.presented), (Backend::Rustls, Presented::Nothing));
}

/// Windows has authenticated encryption for ECDSA. What it offers for RSA does not count if our key is no RSA one, and the
/// other way round.
#[tokio::test]
async fn tls_06_what_is_in_common_depends_on_our_certificate() {
    const WINDOWS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256";
    let ca = Ca::new("Root");
    let (ecdsa, rsa) = (ca.server(&["a.ex"]), rsa(&ca, "a.ex"));
    for (own, backend) in [(&ecdsa, Backend::Rustls), (&rsa, Backend::OpensslLegacy)] {
        let (ours, _) = called(&server(own), peer(WINDOWS, None)).await;
        assert_eq!(ours.unwrap().1.backend, backend);
    }
}

#[tokio::test]
async fn tls_06_below_the_floor_nobody_is_served() {
    let ca = Ca::new("Root");
    let own = rsa(&ca, "a.ex");
    for suite in ["AES128-SHA", "AES256-GCM-SHA384", "DHE-RSA-AES256-SHA"] {
        let (ours, _) = called(&server(&own), peer(suite, None)).await;
        let error = ours.map(drop).unwrap_err();
        assert!(
            matches!(error, TlsError::NoCommonSuite(_) | TlsError::NothingInCommon(_)),
            "{suite}: {error}"
        );
        let (ours, _) = calling(Backend::OpensslLegacy, &own, peer(suite, Some(&own))).await;
        let error = ours.map(drop).unwrap_err().to_string();
        assert!(error.contains("handshake_failure"), "{suite}: {error}");
    }
    // Signatures with SHA-1, and TLS 1.1.
    let mut old = peer("ECDHE-RSA-AES128-SHA:@SECLEVEL=0", None);
    old.set_sigalgs_list("rsa_pkcs1_sha1").unwrap();
    let error = called(&server(&own), old).await.0.map(drop).unwrap_err();
    assert!(error.to_string().contains("signature scheme"), "{error}");
    let mut old = peer("ECDHE-RSA-AES128-SHA:@SECLEVEL=0", Some(&own));
    old.set_min_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    let (ours, _) = calling(Backend::OpensslLegacy, &own, old).await;
    let error = ours.map(drop).unwrap_err();
    assert!(error.to_string().contains("TLS 1.2"), "{error}");
}

/// A client certificate of its own making with an RSA key of this size.
fn self_made(bits: u32) -> SslContextBuilder {
    let key = PKey::from_rsa(openssl::rsa::Rsa::generate(bits).unwrap()).unwrap();
    let mut made = X509::builder().unwrap();
    made.set_pubkey(&key).unwrap();
    made.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    made.set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    made.sign(&key, openssl::hash::MessageDigest::sha256()).unwrap();
    let mut context = peer("ECDHE-RSA-AES128-SHA:@SECLEVEL=0", None);
    context.set_certificate(&made.build()).unwrap();
    context.set_private_key(&key).unwrap();
    context
}

#[tokio::test]
async fn tls_06_a_short_rsa_key_is_refused_here_as_by_rustls() {
    let ca = Ca::new("Root");
    let own = rsa(&ca, "a.ex");
    let (ours, _) = called(&server(&own), self_made(1024)).await;
    let error = ours.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Certificate(why) if why.contains("2048")), "{error}");
    let (ours, _) = called(&server(&own), self_made(2048)).await;
    assert!(ours.is_ok());
}

/// The point of judging afterwards holds here as well.
#[tokio::test]
async fn tls_18_every_certificate_passes_the_handshake_and_is_judged_after_it() {
    let ca = Ca::new("Root");
    let (own, stranger) = (rsa(&ca, "a.ex"), Ca::new("Stranger"));
    let server = server(&own);
    let expired = ca.issue_rsa("x", |params| validity(params, 2020, 2025));
    let since = expired.facts().not_after;
    let issuer = "CN=Stranger".to_owned();
    let cases = [
        (Some(expired), ChainStatus::Expired { since }),
        (Some(rsa(&stranger, "fe.ex")), ChainStatus::UnknownIssuer { issuer }),
        (None, ChainStatus::Missing),
    ];
    for (presents, status) in cases {
        let (ours, _) = called(&server, peer("ECDHE-RSA-AES128-SHA256", presents.as_ref())).await;
        assert_eq!(ours.unwrap().1.judge(&ca.roots(), now()), status);
        if presents.is_none() {
            continue;
        }
        let there = peer("ECDHE-RSA-AES128-SHA256", presents.as_ref());
        let (ours, _) = calling(Backend::OpensslLegacy, &own, there).await;
        assert_eq!(ours.unwrap().1.judge(&ca.roots(), now()), status);
    }
}

#[tokio::test]
async fn intermediate_certificates_come_with_the_chain_both_ways() {
    let ca = Ca::new("Root");
    let below = ca.intermediate("Below");
    let mut own = rsa(&below, "a.ex");
    own.chain.push(below.der());
    let server = server(&own);
    let (near, far) = duplex(4096);
    let (client, identity) = (ClientTls::new().unwrap(), own.identity());
    // Both by OpenSSL: what one sends the other sees.
    let legacy = server.legacy().unwrap();
    let of_server = server.identity(None);
    let near = async {
        let (mut stream, facts) = legacy.accept(Gathering::new(near), &of_server, None).await?;
        stream.flush().await?;
        Ok::<_, TlsError>(facts)
    };
    let far = connect_by(Backend::OpensslLegacy, far, &client, "a.ex", &identity);
    let (of_client, of_server) = tokio::join!(near, far);
    for facts in [of_client.unwrap(), of_server.unwrap().1] {
        assert_eq!(facts.chain, own.chain);
        assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
    }
}

#[tokio::test]
async fn tls_19_a_replaced_certificate_is_shown_from_then_on() {
    let ca = Ca::new("Root");
    let (before, after) = (rsa(&ca, "a.ex"), rsa(&ca, "a.ex"));
    let store = Arc::new(IdentityStore::single(before.identity()));
    let server = ServerTls::new(store.clone()).unwrap().also_by(Backend::OpensslLegacy).unwrap();
    for own in [&before, &after] {
        store.replace(vec![(Vec::new(), own.identity())]).unwrap();
        let (ours, (far, done)) = called(&server, peer("ECDHE-RSA-AES128-SHA", None)).await;
        done.unwrap();
        ours.unwrap();
        assert_eq!(far.ssl().peer_certificate().unwrap().to_der().unwrap(), own.chain[0].to_vec());
    }
    assert_eq!(server.legacy().unwrap().contexts.lock().len(), 1, "what is replaced is not kept");
}

#[tokio::test]
async fn much_goes_both_ways_and_the_end_is_told_from_a_break() {
    let ca = Ca::new("Root");
    let server = server(&rsa(&ca, "a.ex"));
    for in_order in [true, false] {
        let (ours, (mut far, _)) = called(&server, peer("ECDHE-RSA-AES256-SHA384", None)).await;
        let (mut near, _) = ours.unwrap();
        let much: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        let (mut there, mut here) = (vec![0; much.len()], vec![0; much.len()]);
        let ours = async {
            near.write_all(&much).await.unwrap();
            near.flush().await.unwrap();
            near.read_exact(&mut here).await.unwrap();
        };
        let theirs = async {
            far.read_exact(&mut there).await.unwrap();
            far.write_all(&much).await.unwrap();
            far.flush().await.unwrap();
        };
        tokio::join!(ours, theirs);
        assert!(here == much && there == much);
        let theirs = async move {
            if in_order {
                far.shutdown().await.unwrap();
            }
        };
        let mut byte = [0];
        let (end, ()) = tokio::join!(near.read(&mut byte), theirs);
        match in_order {
            true => assert_eq!(end.unwrap(), 0),
            false => assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof),
        }
    }
}

#[tokio::test]
async fn plain_text_is_seen_to_be_none_of_it() {
    let ca = Ca::new("Root");
    let server = server(&rsa(&ca, "a.ex"));
    let (near, mut far) = duplex(4096);
    far.write_all(b"OPTIONS sip:gateway SIP/2.0\r\n\r\n").await.unwrap();
    let error = accept(near, &server).await.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::NotTls), "{error}");
    // It hangs up in the middle of its hello.
    let (near, mut far) = duplex(4096);
    far.write_all(&[0x16, 3, 1, 0, 100, 1]).await.unwrap();
    drop(far);
    let error = accept(near, &server).await.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::Closed), "{error}");
}

/// Tells the test below that it runs in a process of its own, with that configuration.
const CHILD: &str = "NUNCIO_TEST_OF_OPENSSL_CNF";

/// OpenSSL reads its configuration once in a process.
#[test]
fn tls_06_what_the_configuration_of_the_system_allows_is_not_allowed_here() {
    let ca = Ca::new("Root");
    let own = rsa(&ca, "a.ex");
    let wanted = SslOptions::NO_RENEGOTIATION
        | SslOptions::NO_COMPRESSION
        | SslOptions::NO_TICKET
        | SslOptions::CIPHER_SERVER_PREFERENCE;
    if std::env::var_os(CHILD).is_some() {
        let others = SslContext::builder(SslMethod::tls()).unwrap().options();
        assert!(others.contains(SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION | SslOptions::NO_TLSV1_2));
        let ours = set_up(&own.identity()).unwrap().options();
        assert_eq!(ours, wanted);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openssl.cnf");
    let text = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = weak\n[weak]\n\
                Options = UnsafeLegacyRenegotiation\nProtocol = -TLSv1.2\nCipherString = ALL:@SECLEVEL=0\n";
    std::fs::write(&file, text).unwrap();
    let name = "tls::legacy::tests::tls_06_what_the_configuration_of_the_system_allows_is_not_allowed_here";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").env("OPENSSL_CONF", &file);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// As with rustls: who asks for a name is shown its certificate, and what is in common depends on that one.
#[tokio::test]
async fn tls_05_the_certificate_is_chosen_by_sni_and_with_it_the_library() {
    let ca = Ca::new("Root");
    let (default, named, ecdsa) = (rsa(&ca, "gateway.ex"), rsa(&ca, "a.ex"), ca.server(&["b.ex"]));
    let of = |issued: &Issued, names: &[&str]| {
        (names.iter().map(|name| (*name).to_owned()).collect(), issued.identity())
    };
    let store = IdentityStore::new(vec![of(&default, &[]), of(&named, &["a.ex"]), of(&ecdsa, &["b.ex"])]);
    let server = ServerTls::new(Arc::new(store.unwrap())).unwrap().also_by(Backend::OpensslLegacy).unwrap();
    let windows = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA256";
    for (sni, shown, backend) in [
        (Some("a.ex"), &named, Backend::OpensslLegacy),
        (Some("A.EX"), &named, Backend::OpensslLegacy),
        (Some("b.ex"), &ecdsa, Backend::Rustls),
        (Some("unknown.ex"), &default, Backend::OpensslLegacy),
        (None, &default, Backend::OpensslLegacy),
    ] {
        let (ours, (far, done)) = called_as(sni, &server, peer(windows, None)).await;
        done.unwrap();
        let (_, facts) = ours.unwrap();
        let certificate = far.ssl().peer_certificate().unwrap().to_der().unwrap();
        assert_eq!((certificate, facts.backend), (shown.chain[0].to_vec(), backend), "{sni:?}");
    }
}
