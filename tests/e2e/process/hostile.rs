//! Peers that mean no good: plain text where TLS is due, too much, too slowly, and words for the log.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::process::Process;
use nuncio_world::wait::within;
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::XmppPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::certificates::{San, named};
use crate::town::{ALICE, CAROL, Town, check_log, from_carol, takes_all};

/// The gateway does its work as before.
async fn serves(town: &Town, gateway: &mut Process) -> Result<()> {
    gateway.still_runs()?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_options("contoso.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    drop(town.wingtip_speaks().await?);
    Ok(())
}

#[tokio::test]
async fn plain_text_where_tls_is_due() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    for text in
        ["OPTIONS sip:contoso.com SIP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\0\0", "\r\n\r\n\r\n\r\n"]
    {
        let mark = town.log.mark();
        let mut tcp = TcpStream::connect(town.sip()).await?;
        tcp.write_all(text.as_bytes()).await?;
        // Not if the gateway has closed it already.
        tcp.shutdown().await.ok();
        let mut answer = Vec::new();
        within("the gateway to close", tcp.read_to_end(&mut answer)).await?.ok();
        ensure!(!answer.starts_with(b"SIP/2.0"), "it answered: {:?}", String::from_utf8_lossy(&answer));
        town.log.line_after(mark, "TLS handshake failed").await?;
    }
    // A web browser where a stream should begin.
    let mut tcp = TcpStream::connect(town.xmpp()).await?;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut answer = String::new();
    within("the gateway to close", tcp.read_to_string(&mut answer)).await??;
    ensure!(answer.contains("<stream:error>") && answer.ends_with("</stream:stream>"), "{answer}");
    // What begins like TLS gets no word of XML, whatever follows.
    for bytes in
        [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], b"\x16<stream:stream xmlns='jabber:server'"]
    {
        let mut tcp = TcpStream::connect(town.xmpp()).await?;
        tcp.write_all(bytes).await?;
        // Not if the gateway has closed it already.
        tcp.shutdown().await.ok();
        let mut answer = Vec::new();
        within("the gateway to close", tcp.read_to_end(&mut answer)).await?.ok();
        ensure!(!answer.contains(&b'<'), "{answer:?}");
    }
    serves(&town, &mut gateway).await
}

/// What arrives in the clear behind `<starttls/>` is never taken for what was said inside (TLS-03, SEC-06).
#[tokio::test]
async fn tls_03_nothing_passes_from_plain_text_into_tls() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut peer = XmppPeer::dial(town.xmpp()).await?;
    peer.open("wingtip.com", "contoso.com").await?;
    let smuggled = from_carol("x", "this must not cross");
    peer.say(&format!("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{smuggled}")).await?;
    while peer.item().await.is_ok() {}
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("y", "this may cross")).await?;
    ensure!(front_end.next_message().await?.body == "this may cross");
    serves(&town, &mut gateway).await
}

#[tokio::test]
async fn sec_02_a_stanza_at_the_limit_crosses_and_one_octet_more_ends_the_stream() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let stanza = |size: usize| {
        let empty = from_carol("x", "").len();
        from_carol("x", &"b".repeat(size - empty))
    };
    let limit = 512 * 1024;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&stanza(limit)).await?;
    ensure!(front_end.next_message().await?.body.len() > limit - 200, "it was cut");
    carol.say(&stanza(limit + 1)).await?;
    let error = carol.stream_error().await?;
    ensure!(error.child("policy-violation").is_some(), "{error}");
    ensure!(error.child("stanza-too-big").is_some(), "{error}");
    // Before authentication there is much less.
    let mut early = XmppPeer::dial(town.xmpp()).await?;
    early.open("wingtip.com", "contoso.com").await?;
    early.say(&format!("<x xmlns='y'>{}</x>", "z".repeat(17 * 1024))).await?;
    let error = early.stream_error().await?;
    ensure!(error.child("policy-violation").is_some(), "{error}");
    ensure!(front_end.waiting().is_empty());
    serves(&town, &mut gateway).await
}

#[tokio::test]
async fn sip_14_a_body_at_the_limit_crosses_and_one_octet_more_gets_413() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let limit = 256 * 1024;
    let call = alice.send_message(ALICE, CAROL, &"b".repeat(limit)).await?;
    let mut carol = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(carol.element().await?.body().map(str::len) == Some(limit));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let call = alice.send_message(ALICE, CAROL, &"b".repeat(limit + 1)).await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(413));
    // The connection is many people's; it goes on.
    let call = alice.send_message(ALICE, CAROL, "after").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    loop {
        let element = carol.element().await?;
        if element.name == "message" {
            ensure!(element.body() == Some("after"), "{element}");
            return Ok(());
        }
    }
}

#[tokio::test]
async fn sec_03_who_drips_is_shown_out() -> Result<()> {
    let town = Town::found().await?;
    // Time enough, on a machine that does much else, for those who do it right.
    let limits = "sip.handshake = \"5s\"\nxmpp.handshake = \"5s\"\nxmpp.establishment = \"8s\"";
    let mut gateway = town.gateway(limits).await?;
    // Silence, and a drop now and then, before TLS on both sides, and inside TLS before authentication.
    let mut silent = TcpStream::connect(town.sip()).await?;
    let mut drip = TcpStream::connect(town.sip()).await?;
    let mut header = TcpStream::connect(town.xmpp()).await?;
    let good = town.good_wingtip()?;
    let mut secured =
        XmppPeer::secured(&town.pki, Some(&good), town.xmpp(), "wingtip.com", "contoso.com").await?;
    let dripping = async {
        loop {
            drip.write_all(b"\x16").await.ok();
            header.write_all(b" ").await.ok();
            secured.say(" ").await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut left = Vec::new();
    tokio::select! {
        () = dripping => {}
        ended = within("the silent one to be shown out", silent.read_to_end(&mut left)) => { ended?.ok(); }
    }
    within("the dripping one to be shown out", drip.read_to_end(&mut left)).await?.ok();
    let mut said = String::new();
    within("the slow header to be shown out", header.read_to_string(&mut said)).await?.ok();
    ensure!(said.contains("<connection-timeout ") || said.contains("<policy-violation "), "{said}");
    let error = secured.stream_error().await?;
    ensure!(
        error.child("connection-timeout").or_else(|| error.child("policy-violation")).is_some(),
        "{error}"
    );
    serves(&town, &mut gateway).await
}

/// What others write into addresses, reasons, certificates and errors stands escaped in the log (SEC-35).
#[tokio::test]
async fn sec_35_nobody_else_writes_our_log() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("xmpp.hold = \"6s\"\nsip.hold = \"6s\"\nxmpp.backoff_max = \"10ms\"\nxmpp.backoff_initial = \"10ms\"").await?;
    const EVIL: &str = "x\u{9b}31m\u{202e}\u{2028}FORGED";
    // A SIP peer: certificate, User-Agent, From, Request-URI, reason phrase, Call-ID.
    let credential =
        named(&town, "evil", &[San::Dns("a\r\nFORGED \x1b[31mb"), San::Uri("sip:\x1b]0;FORGED\x07")])?;
    let mut stranger = town.calls(Some(&credential)).await?;
    stranger.send_options("contoso.com").await?;
    while stranger.next().await?.is_some() {}
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let evil = "\x1b[31m\u{9b}2J FORGED";
    for (uri, from) in [
        (format!("sip:a{EVIL}@x"), "a@contoso.com".to_owned()),
        ("sip:a@b%0AFORGED.example".to_owned(), format!("{EVIL}@contoso.com")),
    ] {
        alice
            .send_raw(&format!(
                "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK{}\r\nMax-Forwards: 70\r\nFrom: <sip:{from}>;tag=1\r\n\
                 To: <sip:a@b>\r\nCall-ID: {}\r\nCSeq: 1 MESSAGE\r\nUser-Agent: {evil}\r\nSubject: {evil}\r\nContent-Length: 0\r\n\r\n",
                uri.len(), uri.len(),
            ))
            .await?;
        ensure!(alice.next().await?.context("an answer")?.status().is_some_and(|status| status >= 400));
    }
    // A front end whose refusal is colourful.
    let _front_end = town
        .answers(&town.good_front_end()?, |_| {
            nuncio_world::sip_agent::Reply::Status(404, "No\u{9b}31m\u{2028}FORGED")
        })
        .await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    carol
        .say(&format!(
            "<message from='carol@wingtip.com/{EVIL}' to='{ALICE}' id='{EVIL}'><body>x</body></message>"
        ))
        .await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.attribute("type") == Some("error"));
    // Ends of streams: our own end, theirs with a text, headers of strangers.
    let text = format!(
        "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text \
        xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{EVIL}&#10;FORGED</text></stream:error></stream:stream>"
    );
    let mark = town.log.mark();
    carol.say(&text).await?;
    wingtip.say(&text).await?;
    town.log.line_after(mark, "inbound stream closed").await?;
    town.log.line_after(mark, "outbound stream closed").await?;
    drop((carol, wingtip, listener));
    let mut stranger = XmppPeer::dial(town.xmpp()).await?;
    stranger.say_header("evil.example&#10;FORGED", "contoso.com").await?;
    stranger.stream_error().await?;
    let mut stranger = XmppPeer::dial(town.xmpp()).await?;
    stranger.say_header(&format!("{EVIL}.example"), "contoso.com").await?;
    stranger.stream_error().await?;
    // A partner that answers our header with an error: its words reach the log and the SIP user's front end.
    let rude = TcpListener::bind(town.wingtip()).await?;
    let answering = async {
        loop {
            let (mut tcp, _) = rude.accept().await?;
            let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                from='wingtip.com' id='1' version='1.0'>";
            // Not if the gateway has given up this attempt.
            tcp.write_all(format!("{header}{text}").as_bytes()).await.ok();
            let mut rest = Vec::new();
            tcp.read_to_end(&mut rest).await.ok();
        }
        #[expect(unreachable_code, reason = "it names the type of the error")]
        anyhow::Ok(())
    };
    // The first may still have met the stream that was ending.
    let asking = async {
        for _ in 0..20 {
            let call = alice.send_message(ALICE, CAROL, "x").await?;
            let answer = alice.final_answer(&call).await?;
            let why = answer.must("ms-diagnostics")?;
            ensure!(!why.contains(['\u{9b}', '\u{2028}', '\u{202e}']), "{why:?}");
            if why.contains("conflict") {
                return Ok(());
            }
        }
        anyhow::bail!("no answer says what the partner said")
    };
    tokio::select! {
        asked = asking => asked?,
        failed = answering => { failed?; unreachable!() }
    }
    town.log.line_after(0, "no stream to partner wingtip.com").await?;
    serves(&town, &mut gateway).await?;
    ensure!(town.log.text().contains("FORGED"), "none of it was logged: the test proves nothing");
    check_log(&town.log)
}

/// A stanza to a domain that is not ours ends the stream; nothing is relayed (XI-14).
#[tokio::test]
async fn xi_14_nothing_is_relayed() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    for to in ["dave@chat.wingtip.com", "dave@fabrikam.com", "dave@sub.contoso.com"] {
        let mut carol = town.wingtip_speaks().await?;
        carol.say(&format!("<message from='{CAROL}' to='{to}'><body>x</body></message>")).await?;
        let error = carol.stream_error().await?;
        ensure!(
            error.child("host-unknown").or_else(|| error.child("improper-addressing")).is_some(),
            "{to}: {error}"
        );
    }
    // Another served domain than the one the stream is for is ours all the same, but not this stream's.
    let mut carol = town.wingtip_speaks().await?;
    carol
        .say("<iq type='get' id='p' from='wingtip.com' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    let listener = town.wingtip_listens().await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    let Item::Element(pong) = wingtip.item().await? else { anyhow::bail!("no answer") };
    ensure!(pong.attribute("type") == Some("result"), "{pong}");
    serves(&town, &mut gateway).await
}

#[tokio::test]
async fn sec_11_who_claims_to_be_a_domain_of_ours_is_told_apart_from_strangers() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    for (claims, expected) in [
        ("contoso.com", "it claims to come from a domain that is served here"),
        ("stranger.example", "add a [[partner]] entry"),
    ] {
        let mark = town.log.mark();
        let mut peer = XmppPeer::dial(town.xmpp()).await?;
        peer.say_header(claims, "contoso.com").await?;
        let told = peer.stream_error().await?;
        ensure!(format!("{told:?}").contains("olicy"), "both are told the same: {told:?}");
        town.log.line_after(mark, expected).await?;
    }
    ensure!(gateway.stop().await?.success());
    Ok(())
}
