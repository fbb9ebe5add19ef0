use std::sync::Mutex;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SignatureScheme, version,
};

use super::*;
use crate::tls::testing::{Ca, Issued, eku, now, self_signed, validity, version_1};
use crate::tls::verifier::AcceptThenJudge;
use crate::tls::{IdentityStore, NameMatch, sip_names_match, xmpp_names};

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

type Done = (TlsStream<DuplexStream>, PeerFacts);

#[tokio::test]
async fn tls_06_both_sides_see_each_other_in_both_versions() {
    let ca = Ca::new("Root");
    let (ours, theirs) = (ca.server(&["contoso.com"]), ca.server(&["fabrikam.com"]));
    for version in VERSIONS {
        let server = ServerTls::only(single(&ours), version).unwrap();
        let client = ClientTls::only(version).unwrap();
        let (accepted, connected) = both(&server, &client, "contoso.com", Some(&theirs.identity())).await;
        let ((_, of_client), (_, of_server)) = (accepted.unwrap(), connected.unwrap());
        for facts in [&of_client, &of_server] {
            assert_eq!((facts.version, facts.resumed), (version, false));
            assert_eq!(facts.server_name.as_deref(), Some("contoso.com"));
            assert!(
                facts.cipher_suite.starts_with("TLS") && facts.cipher_suite.contains("_AES_"),
                "{facts:?}"
            );
            assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
        }
        assert_eq!(of_client.chain, theirs.chain);
        assert_eq!(of_client.certificate(), Some(&theirs.facts()));
        assert_eq!(of_server.certificate(), Some(&ours.facts()));
        let contoso = nuncio_xmpp::Domain::parse("contoso.com").unwrap();
        let speaks = |facts: &PeerFacts| {
            xmpp_names(facts.certificate().unwrap()).iter().any(|name| name.covers(&contoso))
        };
        assert!(speaks(&of_server) && !speaks(&of_client));
    }
}

#[tokio::test]
async fn tls_06_the_newest_version_is_taken() {
    let server = ServerTls::new(single(&Ca::new("Root").server(&["a.ex"]))).unwrap();
    let (accepted, _) = both(&server, &ClientTls::new().unwrap(), "a.ex", None).await;
    assert_eq!(accepted.unwrap().1.version, TlsVersion::Tls13);
}

#[tokio::test]
async fn sip_05_a_client_without_certificate_finishes_the_handshake_and_is_seen_to_have_none() {
    let ca = Ca::new("Root");
    for version in VERSIONS {
        let server = ServerTls::only(single(&ca.server(&["a.ex"])), version).unwrap();
        let (accepted, _) = both(&server, &ClientTls::only(version).unwrap(), "a.ex", None).await;
        let facts = accepted.unwrap().1;
        assert_eq!((facts.presented.clone(), facts.chain.len()), (Presented::Nothing, 0));
        assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Missing);
    }
}

/// The point of judging afterwards: each of these gets through the handshake, and then exactly one fact is wrong.
#[tokio::test]
async fn tls_18_every_certificate_passes_the_handshake_and_is_judged_after_it() {
    let ca = Ca::new("Root");
    let stranger = Ca::new("Stranger");
    let expired = ca.issue("x", |params| validity(params, 2020, 2025));
    let since = expired.facts().not_after;
    let cases = [
        (ca.issue("x", |_| ()), ChainStatus::Valid),
        (ca.issue("x", |params| eku(params, &[ServerAuth])), ChainStatus::Valid),
        (ca.issue("x", |params| eku(params, &[ClientAuth, ServerAuth])), ChainStatus::Valid),
        (
            ca.issue("x", |params| eku(params, &[ClientAuth])),
            ChainStatus::WrongUsage { has: "clientAuth".into() },
        ),
        (expired, ChainStatus::Expired { since }),
        (self_signed("x", |_| ()), ChainStatus::SelfSigned),
        (stranger.server(&["x"]), ChainStatus::UnknownIssuer { issuer: "CN=Stranger".into() }),
    ];
    for (issued, status) in &cases {
        for version in VERSIONS {
            let server = ServerTls::only(single(issued), version).unwrap();
            let client = ClientTls::only(version).unwrap();
            let (accepted, connected) = both(&server, &client, "x", Some(&issued.identity())).await;
            let (of_client, of_server) = (accepted.unwrap().1, connected.unwrap().1);
            assert_eq!(of_client.judge(&ca.roots(), now()), *status);
            assert_eq!(of_server.judge(&ca.roots(), now()), *status);
        }
    }
}

#[tokio::test]
async fn sip_02_chain_and_names_are_two_facts() {
    let ca = Ca::new("Root");
    let stranger = ca.server(&["other.contoso.com"]);
    let server = ServerTls::new(single(&ca.server(&["nuncio.contoso.com"]))).unwrap();
    let client = ClientTls::new().unwrap();
    let (accepted, _) = both(&server, &client, "nuncio.contoso.com", Some(&stranger.identity())).await;
    let facts = accepted.unwrap().1;
    assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
    let names = sip_names_match(facts.certificate().unwrap(), &["fe.contoso.com".to_owned()]);
    let NameMatch::Mismatch(mismatch) = names else { panic!("{names:?}") };
    assert_eq!(
        mismatch.to_string(),
        "certificate is for other.contoso.com, expected fe.contoso.com (SAN dNSName or URI sip:host)"
    );
}

#[tokio::test]
async fn sec_10_a_certificate_without_its_key_does_not_pass() {
    let ca = Ca::new("Root");
    let (real, thief) = (ca.server(&["fabrikam.com"]), ca.server(&["evil.ex"]));
    let stolen = Arc::new(Identity::unchecked(real.chain.clone(), &thief.key_pem(), real.facts()));
    for version in VERSIONS {
        let server = ServerTls::only(single(&ca.server(&["contoso.com"])), version).unwrap();
        let client = ClientTls::only(version).unwrap();
        let (accepted, _) = both(&server, &client, "contoso.com", Some(&stolen)).await;
        assert!(matches!(accepted.unwrap_err(), TlsError::BadSignature), "as client, {version}");

        let server = ServerTls::only(Arc::new(IdentityStore::single(stolen.clone())), version).unwrap();
        let (_, connected) = both(&server, &client, "fabrikam.com", None).await;
        assert!(matches!(connected.unwrap_err(), TlsError::BadSignature), "as server, {version}");
    }
}

#[tokio::test]
async fn tls_09_an_x509_version_1_certificate_is_refused_with_that_reason() {
    let ca = Ca::new("Root");
    let good = ca.server(&["a.ex"]);
    let old = version_1();
    let old = Arc::new(Identity::unchecked(old.chain.clone(), &old.key_pem(), good.facts()));
    for version in VERSIONS {
        let client = ClientTls::only(version).unwrap();
        let server = ServerTls::only(single(&good), version).unwrap();
        let (accepted, connected) = both(&server, &client, "a.ex", Some(&old)).await;
        let text = accepted.unwrap_err().to_string();
        assert!(text.contains("X.509 version 1"), "{version}: {text}");
        // The client learns of it at once with TLS 1.2, by the first read with TLS 1.3.
        let error = match connected {
            Ok((mut stream, _)) => TlsError::from(stream.read_u8().await.unwrap_err()),
            Err(error) => error,
        };
        assert!(matches!(error, TlsError::Alert { .. }), "{version}: {error}");

        let server = ServerTls::only(Arc::new(IdentityStore::single(old.clone())), version).unwrap();
        let (accepted, connected) = both(&server, &client, "a.ex", None).await;
        let text = connected.unwrap_err().to_string();
        assert!(text.contains("X.509 version 1"), "{version}: {text}");
        assert!(matches!(accepted.unwrap_err(), TlsError::Alert { .. }));
    }
}

#[tokio::test]
async fn tls_06_no_common_version_says_so_on_both_sides() {
    let issued = Ca::new("Root").server(&["a.ex"]);
    for (of_server, of_client) in
        [(TlsVersion::Tls13, TlsVersion::Tls12), (TlsVersion::Tls12, TlsVersion::Tls13)]
    {
        let server = ServerTls::only(single(&issued), of_server).unwrap();
        let (accepted, connected) = both(&server, &ClientTls::only(of_client).unwrap(), "a.ex", None).await;
        let text = accepted.unwrap_err().to_string();
        assert_eq!(text, "the peer and we have no common version of TLS (ours are 1.2 and 1.3)");
        let text = connected.unwrap_err().to_string();
        let expected =
            "the peer ended TLS with the alert “protocol_version”: it knows neither TLS 1.2 nor TLS 1.3";
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn tls_06_no_common_cipher_suite_says_so() {
    let server = ServerTls::new(single(&Ca::new("Root").server(&["a.ex"]))).unwrap();
    // Suites for RSA certificates only, while the server's is ECDSA.
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let config = foreign_client(provider).with_no_client_auth();
    let (accepted, _) = against(&server, config).await;
    let text = accepted.unwrap_err().to_string();
    assert!(text.starts_with("the peer and we have no common cipher suite"), "{text}");
}

/// Peers that judge our client certificate themselves refuse it with an alert.
#[tokio::test]
async fn tls_14_a_peer_that_refuses_our_certificate_is_quoted() {
    let ca = Ca::new("Root");
    let (theirs, open, server_only) =
        (ca.server(&["a.ex"]), ca.issue("x", |_| ()), ca.server(&["contoso.com"]));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(Ca::new("Elsewhere").der()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(ALL_VERSIONS)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(theirs.identity().key().clone())));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for version in VERSIONS {
        for (identity, alert, hint) in [
            (Some(open.identity()), "unknown_ca", "does not know the issuer of our certificate"),
            (Some(server_only.identity()), "unsupported_certificate", "its key usage is not for TLS clients"),
            (None, "certificate_required", "it wants a certificate from us"),
        ] {
            let (near, far) = duplex(1 << 16);
            let client = ClientTls::only(version).unwrap();
            let (accepted, connected) = tokio::join!(
                acceptor.accept(near),
                flushed(connect(far, &client, "a.ex", identity.as_ref()))
            );
            assert!(accepted.is_err());
            let error = match connected {
                Ok((mut stream, _)) => TlsError::from(stream.read_u8().await.unwrap_err()),
                Err(error) => error,
            };
            let TlsError::Alert { alert: seen, meaning } = &error else { panic!("{error}") };
            assert_eq!(seen, alert, "{version}");
            assert!(meaning.contains(hint), "{meaning}");
        }
    }
}

#[tokio::test]
async fn tls_04_plain_text_and_a_closed_connection_are_named() {
    let server = ServerTls::new(single(&Ca::new("Root").server(&["a.ex"]))).unwrap();
    for (sent, expected) in [
        (&b"<?xml version='1.0'?><stream:stream>"[..], "does not speak TLS"),
        (b"OPTIONS sip:a.ex SIP/2.0\r\n\r\n", "does not speak TLS"),
        (b"", "closed the connection in the middle of TLS"),
        (b"\x16\x03\x01", "closed the connection in the middle of TLS"),
    ] {
        let (mut far, near) = duplex(4096);
        far.write_all(sent).await.unwrap();
        far.shutdown().await.unwrap();
        let text = accept(near, &server).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{sent:?}: {text}");

        let (mut far, near) = duplex(4096);
        far.write_all(sent).await.unwrap();
        far.shutdown().await.unwrap();
        let text = connect(near, &ClientTls::new().unwrap(), "a.ex", None).await.unwrap_err().to_string();
        assert!(text.contains(expected), "{sent:?}: {text}");
    }
}

#[tokio::test]
async fn tls_04_a_name_that_is_none_is_refused_before_anything_is_sent() {
    for name in ["", "a b.ex", "a..ex", ".ex", "x/y"] {
        let (mut far, near) = duplex(4096);
        let error = connect(near, &ClientTls::new().unwrap(), name, None).await.unwrap_err();
        assert!(matches!(error, TlsError::ServerName(_)), "{name}: {error}");
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn tls_05_the_certificate_is_chosen_by_domain_then_sni_then_default() {
    let ca = Ca::new("Root");
    let issued = ["contoso.com", "tailspin.com", "xn--bcher-kva.example"].map(|name| ca.server(&[name]));
    let domains =
        [vec!["contoso.com"], vec!["Tailspin.com", "wingtip.com", "contoso.com"], vec!["bücher.example"]];
    let identities = issued
        .iter()
        .zip(domains)
        .map(|(issued, domains)| (domains.into_iter().map(str::to_owned).collect(), issued.identity()));
    let store = Arc::new(IdentityStore::new(identities.collect()).unwrap());
    // (SNI, domain of the stream header, certificate)
    let cases = [
        ("contoso.com", None, 0),
        ("TAILSPIN.com", None, 1),
        ("wingtip.com", None, 1),
        ("bücher.example", None, 2),
        ("unknown.example", None, 0),
        ("192.0.2.1", None, 0),
        ("contoso.com", Some("tailspin.com"), 1),
        ("unknown.example", Some("BÜCHER.example"), 2),
        ("tailspin.com", Some("unknown.example"), 1),
        ("unknown.example", Some("unknown.example"), 0),
    ];
    for version in VERSIONS {
        let server = ServerTls::only(store.clone(), version).unwrap();
        for (sni, domain, expected) in &cases {
            let client = ClientTls::only(version).unwrap();
            let (near, far) = duplex(1 << 16);
            let accepting = async {
                match domain {
                    Some(domain) => accept_for(near, &server, domain).await,
                    None => accept(near, &server).await,
                }
            };
            let (accepted, connected) =
                tokio::join!(flushed(accepting), flushed(connect(far, &client, sni, None)));
            let ((_, of_client), (_, of_server)) = (accepted.unwrap(), connected.unwrap());
            assert_eq!(of_server.chain, issued[*expected].chain, "SNI {sni}, domain {domain:?}");
            assert_eq!(of_client.server_name.is_none(), *sni == "192.0.2.1");
        }
    }
}

#[tokio::test]
async fn tls_05_a_client_is_asked_for_a_certificate_without_a_list_of_cas() {
    #[derive(Debug, Default)]
    struct Asked(Mutex<Vec<usize>>);
    impl ResolvesClientCert for Asked {
        fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            self.0.lock().unwrap().push(hints.len());
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    for version in VERSIONS {
        let server = ServerTls::only(single(&Ca::new("Root").server(&["a.ex"])), version).unwrap();
        let asked = Arc::new(Asked::default());
        let config = foreign_client(aws_lc_rs::default_provider()).with_client_cert_resolver(asked.clone());
        let (accepted, connected) = against(&server, config).await;
        accepted.unwrap();
        connected.unwrap();
        assert_eq!(*asked.0.lock().unwrap(), [0], "{version}");
    }
}

#[tokio::test]
async fn tls_19_a_replaced_identity_serves_new_connections_while_old_ones_go_on() {
    let ca = Ca::new("Root");
    let (old, new) = (ca.server(&["a.ex"]), ca.server(&["a.ex"]));
    let store = single(&old);
    let server = ServerTls::new(store.clone()).unwrap();
    let (accepted, connected) = both(&server, &ClientTls::new().unwrap(), "a.ex", None).await;
    let ((mut near, _), (mut far, facts)) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(facts.chain, old.chain);

    store.replace(vec![(vec!["a.ex".to_owned()], new.identity())]).unwrap();
    let (_, connected) = both(&server, &ClientTls::new().unwrap(), "a.ex", None).await;
    assert_eq!(connected.unwrap().1.chain, new.chain);
    exchange(&mut near, &mut far).await;

    assert!(store.replace(Vec::new()).is_err(), "there must be one");
    assert_eq!(store.choose(None).chain(), new.chain);
}

#[tokio::test]
async fn tls_19_a_new_identity_of_ours_is_presented_although_the_session_could_be_resumed() {
    let ca = Ca::new("Root");
    let (old, new) = (ca.server(&["contoso.com"]), ca.server(&["contoso.com"]));
    for version in VERSIONS {
        let server = ServerTls::only(single(&ca.server(&["a.ex"])), version).unwrap();
        let client = ClientTls::only(version).unwrap();
        for issued in [&old, &new] {
            let facts = session(&server, &client, Some(&issued.identity())).await.0;
            assert_eq!((facts.resumed, &facts.chain), (false, &issued.chain), "{version}");
        }
    }
}

#[tokio::test]
async fn tls_19_no_session_from_before_a_new_certificate_is_resumed() {
    let ca = Ca::new("Root");
    let (old, new) = (ca.server(&["a.ex"]), ca.server(&["a.ex"]));
    for version in VERSIONS {
        let store = single(&old);
        let server = ServerTls::only(store.clone(), version).unwrap();
        let client = ClientTls::only(version).unwrap();
        session(&server, &client, None).await;
        assert!(
            session(&server, &client, None).await.1.resumed,
            "{version}: the sessions of this test resume"
        );
        store.replace(vec![(Vec::new(), new.identity())]).unwrap();
        for resumed in [false, true] {
            let facts = session(&server, &client, None).await.1;
            assert_eq!((facts.resumed, &facts.chain), (resumed, &new.chain), "{version}");
        }
    }
}

#[tokio::test]
async fn s2s_05_a_resumed_session_is_judged_anew() {
    let ca = Ca::new("Root");
    let (ours, theirs) = (ca.server(&["a.ex"]), ca.server(&["fabrikam.com"]));
    for version in VERSIONS {
        let server = ServerTls::only(single(&ours), version).unwrap();
        let client = ClientTls::only(version).unwrap();
        let identity = theirs.identity();
        let first = session(&server, &client, Some(&identity)).await;
        assert!(!first.0.resumed && !first.1.resumed);
        let second = session(&server, &client, Some(&identity)).await;
        for (facts, issued) in [(&second.0, &theirs), (&second.1, &ours)] {
            assert!(facts.resumed, "{version}");
            assert_eq!(facts.chain, issued.chain, "the chain comes back with the session");
            assert_eq!(facts.certificate(), Some(&issued.facts()));
            assert_eq!(facts.judge(&ca.roots(), now()), ChainStatus::Valid);
            let since = issued.facts().not_after;
            assert_eq!(
                facts.judge(&ca.roots(), since + Duration::from_secs(1)),
                ChainStatus::Expired { since }
            );
            let elsewhere = Ca::new("Elsewhere").roots();
            let issuer = "CN=Root".to_owned();
            assert_eq!(facts.judge(&elsewhere, now()), ChainStatus::UnknownIssuer { issuer });
        }
        // Another identity of ours has sessions of its own, and so has none.
        let other = ca.server(&["tailspin.com"]);
        let third = session(&server, &client, Some(&other.identity())).await.0;
        assert_eq!((third.resumed, third.chain), (false, other.chain.clone()));
        let fourth = session(&server, &client, None).await.0;
        assert_eq!((fourth.resumed, fourth.presented), (false, Presented::Nothing));
    }
}

/// One connection with traffic both ways (a session's ticket comes after the handshake), then closed: the facts that the
/// server and the client have of each other.
async fn session(
    server: &ServerTls,
    client: &ClientTls,
    identity: Option<&Arc<Identity>>,
) -> (PeerFacts, PeerFacts) {
    let (accepted, connected) = both(server, client, "a.ex", identity).await;
    let ((mut near, of_client), (mut far, of_server)) = (accepted.unwrap(), connected.unwrap());
    exchange(&mut near, &mut far).await;
    (of_client, of_server)
}

async fn exchange(near: &mut TlsStream<DuplexStream>, far: &mut TlsStream<DuplexStream>) {
    let mut buffer = [0; 4];
    far.write_all(b"ping").await.unwrap();
    near.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    near.write_all(b"pong").await.unwrap();
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"pong");
}

async fn both(
    server: &ServerTls,
    client: &ClientTls,
    name: &str,
    identity: Option<&Arc<Identity>>,
) -> (Result<Done, TlsError>, Result<Done, TlsError>) {
    let (near, far) = duplex(1 << 16);
    tokio::join!(flushed(accept(near, server)), flushed(connect(far, client, name, identity)))
}

/// Up to what the handshake ends with.
async fn flushed(handshake: impl Future<Output = Result<Done, TlsError>>) -> Result<Done, TlsError> {
    let (mut stream, facts) = handshake.await?;
    stream.flush().await?;
    Ok((stream, facts))
}

/// A handshake with a client that is not ours.
async fn against(
    server: &ServerTls,
    config: ClientConfig,
) -> (Result<Done, TlsError>, std::io::Result<tokio_rustls::client::TlsStream<DuplexStream>>) {
    let (near, far) = duplex(1 << 16);
    let connecting = async {
        let name = ServerName::try_from("a.ex").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, far).await
    };
    tokio::join!(flushed(accept(near, server)), connecting)
}

fn foreign_client(
    provider: tokio_rustls::rustls::crypto::CryptoProvider,
) -> tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::client::WantsClientCert> {
    let provider = Arc::new(provider);
    let has_tls13 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_some());
    let versions = if has_tls13 { ALL_VERSIONS } else { &[&version::TLS12] };
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptThenJudge { provider }))
}

fn single(issued: &Issued) -> Arc<IdentityStore> {
    Arc::new(IdentityStore::single(issued.identity()))
}
