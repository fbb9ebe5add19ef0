//! Who is let in, and whom we talk to: names and flaws of certificates on both sides (TLS-10…14, SIP-02…05).

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nuncio_world::pki::{Credential, Flaw, Usage};
use nuncio_world::process::Process;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::wait::within;
use nuncio_world::xmpp_peer::{Outcome, XmppPeer};
use rcgen::{CertificateParams, CustomExtension};

use crate::town::{ALICE, CAROL, Town, check_log, from_carol, takes_all};

/// A subject alternative name.
pub(crate) enum San {
    Dns(&'static str),
    Uri(&'static str),
    Srv(&'static str),
    XmppAddr(&'static str),
}

use San::{Dns, Srv, Uri, XmppAddr};

/// A certificate of the trusted authority with these names and none in its subject that counts.
pub(crate) fn named(town: &Town, label: &str, names: &[San]) -> Result<Credential> {
    town.pki.issue_as(label, Usage::ServerOnly, Flaw::None, |params| put_names(params, names))
}

fn put_names(params: &mut CertificateParams, names: &[San]) {
    if names.is_empty() {
        return;
    }
    let names: Vec<_> = names.iter().flat_map(general_name).collect();
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], der(0x30, &names)));
}

fn general_name(name: &San) -> Vec<u8> {
    // id-on-dnsSRV and id-on-xmppAddr below id-on.
    let other = |last, tag, text: &str| {
        let oid = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, last];
        der(0xa0, &[&oid[..], &der(0xa0, &der(tag, text.as_bytes()))].concat())
    };
    match name {
        Dns(name) => der(0x82, name.as_bytes()),
        Uri(uri) => der(0x86, uri.as_bytes()),
        Srv(name) => other(7, 0x16, name),
        XmppAddr(name) => other(5, 0x0c, name),
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    // Above 127 one octet says how many follow.
    let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
    [&[tag], &length[..], content].concat()
}

#[tokio::test]
async fn s2s_34_a_stream_is_reset_when_the_certificate_that_let_it_in_expires() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let short = town.pki.issue_as("short", Usage::Both, Flaw::None, |params| {
        put_names(params, &[Dns("wingtip.com")]);
        // He is let in before that, however much else the machine does.
        params.not_after = (SystemTime::now() + Duration::from_secs(15)).into();
    })?;
    let mut carol =
        XmppPeer::authenticated(&town.pki, &short, town.xmpp(), "wingtip.com", "contoso.com").await?;
    let error = carol.stream_error().await?;
    ensure!(error.child("reset").is_some(), "{error}");
    Ok(())
}

#[tokio::test]
async fn sip_02_and_03_names_of_front_ends_that_call() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let cases: [(&str, &[San], bool); 10] = [
        ("uri", &[Uri("sip:fe.contoso.com")], true),
        ("uri-in-capitals", &[Uri("SIP:FE.Contoso.Com")], true),
        ("dns", &[Dns("fe.contoso.com")], true),
        ("dns-among-others", &[Dns("a.contoso.com"), Dns("fe.contoso.com")], true),
        // A SIP URI there is what counts (RFC 5922 §7.1).
        ("uri-beats-dns", &[Uri("sip:other.contoso.com"), Dns("fe.contoso.com")], false),
        ("uri-of-a-user", &[Uri("sip:user@fe.contoso.com")], false),
        ("wildcard", &[Dns("*.contoso.com")], false),
        ("suffix", &[Dns("contoso.com")], false),
        ("xmpp", &[XmppAddr("fe.contoso.com")], false),
        ("newline", &[Dns("fe.contoso.com\nFORGED \x1b[31mline")], false),
    ];
    for (label, names, good) in cases {
        let credential = named(&town, label, names)?;
        let mut front_end = town.calls(Some(&credential)).await.context(label)?;
        let call = front_end.send_options("contoso.com").await?;
        let answer = front_end.final_answer(&call).await.context(label)?;
        if good {
            ensure!(answer.status() == Some(200), "{label}: {answer}");
            continue;
        }
        ensure!(answer.status() == Some(403), "{label}: {answer}");
        let why = answer.must("ms-diagnostics")?;
        ensure!(why.contains("fe.contoso.com"), "{label}: it does not say what was expected: {why}");
        ensure!(!why.contains('\x1b'), "{label}: {why:?}");
        // A second request is not even looked at.
        front_end.send_message(ALICE, CAROL, "this must not cross").await.ok();
        ensure!(front_end.next().await?.is_none(), "{label}: the connection goes on");
    }
    // The first thing that crosses is what may.
    let mut front_end = town.calls(Some(&town.good_front_end()?)).await?;
    front_end.send_message(ALICE, CAROL, "this may cross").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    let first = wingtip.element().await?;
    ensure!(first.body() == Some("this may cross"), "{first}");
    check_log(&town.log)
}

#[tokio::test]
async fn sip_05_flaws_of_front_ends_that_call() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let own = &["fe.contoso.com"];
    for (label, credential, word) in [
        ("none", None, "no certificate"),
        ("self", Some(town.pki.issue("self", own, Usage::Both, Flaw::SelfSigned)?), "not trusted"),
        ("expired", Some(town.pki.issue("expired", own, Usage::Both, Flaw::Expired)?), "expired"),
        ("unknown", Some(town.pki.issue("unknown", own, Usage::Both, Flaw::OtherAuthority)?), "not trusted"),
    ] {
        let mut front_end = town.calls(credential.as_ref()).await.context(label)?;
        let call = front_end.send_message(ALICE, CAROL, "this must not cross").await?;
        let answer = front_end.final_answer(&call).await.context(label)?;
        ensure!(answer.status() == Some(403), "{label}: {answer}");
        ensure!(answer.must("ms-diagnostics")?.contains(word), "{label}: {answer}");
        ensure!(front_end.next().await?.is_none(), "{label}: the connection goes on");
    }
    Ok(())
}

#[tokio::test]
async fn sip_04_front_ends_that_are_called_must_prove_who_they_are() -> Result<()> {
    let town = Town::found().await?;
    let own = &["fe.contoso.com"];
    let _gateway =
        town.gateway("sip.hold = \"5s\"\nsip.backoff_initial = \"10ms\"\nsip.backoff_max = \"10ms\"").await?;
    let mut carol = town.wingtip_speaks().await?;
    let listener = town.wingtip_listens().await?;
    let good = town.good_wingtip()?;
    let mut wingtip = None;
    for (label, presents) in [
        ("self", town.pki.issue("self", own, Usage::Both, Flaw::SelfSigned)?),
        ("expired", town.pki.issue("expired", own, Usage::Both, Flaw::Expired)?),
        ("unknown", town.pki.issue("unknown", own, Usage::Both, Flaw::OtherAuthority)?),
        ("other-name", town.pki.good("other-name", &["other.contoso.com"])?),
        ("wildcard", town.pki.good("wildcard", &["*.contoso.com"])?),
    ] {
        let mark = town.log.mark();
        let mut front_end = town.answers(&presents, takes_all).await?;
        carol.say(&from_carol(label, "this must not cross")).await?;
        let peer = match &mut wingtip {
            Some(peer) => peer,
            none => none.insert(listener.accept(&town.pki, &good, "wingtip.com").await?),
        };
        let error = peer.element().await?;
        ensure!(
            error.attribute("id") == Some(label) && error.attribute("type") == Some("error"),
            "{label}: {error}"
        );
        ensure!(front_end.waiting().is_empty(), "{label}: it was sent");
        town.log.line_after(mark, "no connection to front end pool1").await.context(label)?;
    }
    // And now the right one.
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    carol.say(&from_carol("good", "this may cross")).await?;
    ensure!(front_end.next_message().await?.body == "this may cross");
    check_log(&town.log)
}

/// An Access Edge knows its peers by the names in their certificates, and trusts each as its entry says.
#[tokio::test]
async fn front_ends_are_shown_the_certificate_of_the_partner_type() -> Result<()> {
    let mut town = Town::found().await?;
    let own = town.pki.good("gateway-federated", &["federated.contoso.com"])?;
    let pki = town.folder().join("pki");
    town.partner = format!(
        "[[sip.identity]]\nname = \"federated.contoso.com\"\ntypes = [\"federated\"]\n\
         certificate = \"{pki}/gateway-federated.pem\"\nkey = \"{pki}/gateway-federated.key\"",
        pki = pki.display()
    );
    let _gateway = town.gateway("file_check = \"100ms\"").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("first", "hello")).await?;
    let message = front_end.next_message().await?;
    ensure!(message.must("Via")?.contains(" federated.contoso.com;"), "{message}");
    ensure!(front_end.last_shown().await == Some(own.certificate), "another certificate was shown");
    // Who calls is shown what he asks for.
    let good = town.good_front_end()?;
    let calls = |name| SipConnection::connect(&town.pki, Some(&good), name, town.sip());
    let (all, federated) = (calls("nuncio.contoso.com").await?, calls("federated.contoso.com").await?);
    ensure!(all.shown().is_some() && all.shown() != federated.shown(), "one certificate for both");

    let mark = town.log.mark();
    let new = town.pki.good("gateway-federated", &["federated.contoso.com"])?;
    town.log.line_after(mark, "[[sip.identity]] certificate").await?;
    let renewed = calls("federated.contoso.com").await?;
    ensure!(renewed.shown() == Some(&new.certificate), "the old certificate was shown");
    Ok(())
}

/// What waits for a partner is given back as soon as he could not be reached once.
pub(crate) const ONE_ATTEMPT: &str = "xmpp.backoff_initial = \"1h\"\nxmpp.backoff_max = \"1h\"";

/// With [`ONE_ATTEMPT`]: the next message makes the next attempt.
pub(crate) async fn try_again(town: &Town, gateway: &Process) -> Result<()> {
    let mark = town.log.mark();
    gateway.signal("USR2").await?;
    town.log.line_after(mark, "SIGUSR2").await.map(drop)
}

const XMPP_NAMES: [(&str, &str, &[San], bool); 9] = [
    ("dns", "wingtip.com", &[Dns("wingtip.com")], true),
    ("srv", "wingtip.com", &[Srv("_xmpp-server.wingtip.com")], true),
    ("xmpp-addr", "wingtip.com", &[XmppAddr("wingtip.com")], true),
    ("wildcard", "chat.wingtip.com", &[Dns("*.wingtip.com")], true),
    ("wildcard-of-itself", "wingtip.com", &[Dns("*.wingtip.com")], false),
    ("half-wildcard", "chat.wingtip.com", &[Dns("c*.wingtip.com")], false),
    ("service-of-clients", "wingtip.com", &[Srv("_xmpp-client.wingtip.com")], false),
    ("user", "wingtip.com", &[XmppAddr("carol@wingtip.com")], false),
    ("uri", "wingtip.com", &[Uri("xmpp:wingtip.com")], false),
];

#[tokio::test]
async fn tls_10_to_13_names_of_partners_that_connect() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (label, domain, names, good) in XMPP_NAMES {
        let credential = named(&town, label, names)?;
        let (_, outcome) =
            XmppPeer::negotiate(&town.pki, Some(&credential), town.xmpp(), domain, "contoso.com")
                .await
                .context(label)?;
        ensure!(matches!(outcome, Outcome::Authenticated) == good, "{label}: {outcome:?}");
    }
    // The subject's common name never counts (RFC 9525 §2).
    let named_in_subject = town.pki.issue_as("wingtip.com", Usage::Both, Flaw::None, |_| {})?;
    let (_, outcome) =
        XmppPeer::negotiate(&town.pki, Some(&named_in_subject), town.xmpp(), "wingtip.com", "contoso.com")
            .await?;
    ensure!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn tls_10_to_13_names_of_partners_we_connect_to() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway(ONE_ATTEMPT).await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    // The refused ones first: a stream once open stays.
    let mut cases = XMPP_NAMES;
    cases.sort_by_key(|(.., good)| *good);
    for (label, domain, names, good) in cases {
        let credential = named(&town, label, names)?;
        let to = format!("carol@{domain}");
        let call = alice.send_message(ALICE, &to, label).await?;
        let accepting = async {
            loop {
                if let Ok(mut peer) = listener.accept(&town.pki, &credential, domain).await
                    && let Ok(element) = peer.element().await
                {
                    return (peer, element);
                }
            }
        };
        if good {
            let mark = town.log.mark();
            let crossing = async { tokio::join!(accepting, alice.final_answer(&call)) };
            let ((peer, element), answer) = within("the message to cross", crossing).await?;
            ensure!(element.body() == Some(label), "{label}: {element}");
            ensure!(answer?.status() == Some(200), "{label}");
            drop(peer);
            // The next one is to open a stream of its own.
            town.log.line_after(mark, "outbound stream closed").await?;
            try_again(&town, &gateway).await?;
            continue;
        }
        tokio::select! {
            (_, element) = accepting => anyhow::bail!("{label}: was sent {element}"),
            answer = alice.final_answer(&call) => {
                let answer = answer?;
                ensure!(answer.status() == Some(504), "{label}: {answer}");
                let why = answer.must("ms-diagnostics")?;
                ensure!(why.starts_with("1010;") && why.contains("certificate"), "{label}: {answer}");
                try_again(&town, &gateway).await?;
            }
        }
    }
    check_log(&town.log)
}

/// The peers check the name in our certificate against the domain they asked for.
#[tokio::test]
async fn tls_05_each_served_domain_shows_its_own_certificate() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let good = town.good_wingtip()?;
    for domain in ["contoso.com", "litware.com", "contoso.com"] {
        let mut peer = XmppPeer::authenticated(&town.pki, &good, town.xmpp(), "wingtip.com", domain).await?;
        peer.say("</stream:stream>").await?;
    }
    // A domain that is not served has no certificate to show.
    let mut peer = XmppPeer::dial(town.xmpp()).await?;
    peer.say_header("wingtip.com", "fabrikam.com").await?;
    let error = peer.stream_error().await?;
    ensure!(error.child("host-unknown").is_some(), "{error}");
    Ok(())
}
