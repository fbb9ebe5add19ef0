//! SIPp, behind stunnel or Kamailio, as the front end.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::{Partner, Settings};
use nuncio_world::sipp::Sipp;

use super::scene::{ALICE, BOB, Scene, check_message};

const CONVERSATIONS: usize = 20;
const EACH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(40);

/// Done when: SIPp sends 10,000 MESSAGEs through stunnel and the gateway; ejabberd's user receives 10,000, in order per
/// conversation.
pub(crate) async fn ten_thousand_arrive_in_order(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut caller = Sipp::send_messages(&world, CONVERSATIONS, EACH, BOB)?;
    let mut received = vec![0_usize; CONVERSATIONS];
    for count in 0..CONVERSATIONS * EACH {
        let message = scene.bob.next_message().await.with_context(|| format!("after {count} messages"))?;
        let body = message.body().with_context(|| format!("no body: {message}"))?;
        let mut words = body.split(' ');
        let conversation: usize = words.next().context("no conversation")?.parse()?;
        // SIPp counts in floating point.
        let number: f64 = words.next().context("no number")?.parse()?;
        let from = message.attribute("from").unwrap_or_default();
        ensure!(from.starts_with(&format!("user{conversation}@contoso.com")), "{message}");
        received[conversation] += 1;
        ensure!(
            number == received[conversation] as f64,
            "number {} was due: {message}",
            received[conversation]
        );
    }
    ensure!(received.iter().all(|&count| count == EACH), "{received:?}");
    let status = caller.ended(Duration::from_secs(60)).await?;
    ensure!(status.success(), "not every MESSAGE was answered with 200: SIPp ended with {status}");
    let rest = scene.bob.stanzas_before_ping("end").await?;
    ensure!(rest.is_empty(), "more than were sent: {rest:?}");
    scene.gateway.still_runs()
}

/// SIPp takes a message, and then refuses one; it also asks with OPTIONS.
pub(crate) async fn sipp_front_end_answers(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut sipp = Sipp::answer_messages(&world, 200, "OK").await?;
    scene.bob.send_message(ALICE, "take this").await?;
    sipp.says("take this").await?;
    sipp.says("SIP/2.0 200 OK").await?;
    sipp.stop().await?;

    // The gateway finds out that its connection has ended, or the message fails and is reported; the next one arrives.
    let mut sipp = Sipp::answer_messages(&world, 500, "Server Internal Error").await?;
    let id = scene.bob.send_message(ALICE, "refuse this").await?;
    let error = scene.bob.next_message().await?;
    ensure!(error.attribute("id") == Some(&id) && error.attribute("type") == Some("error"), "{error}");
    sipp.stop().await?;

    let status = Sipp::ask_options(&world)?.ended(Duration::from_secs(30)).await?;
    ensure!(status.success(), "OPTIONS: SIPp ended with {status}");
    Ok(())
}

/// SIPp begins a session with Bob, and Bob one with SIPp; it is refused, and it rings until it is withdrawn.
pub(crate) async fn sipp_has_sessions(world: World) -> Result<()> {
    let limits = "sip.answer_within = \"5s\"\nsip.backoff_initial = \"100ms\"\nsip.backoff_max = \"500ms\"";
    let settings = Settings { im: "session", limits, ..Settings::default() };
    let mut scene = Scene::set_with(&world, &settings).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut caller = Sipp::session(&world, (ALICE, BOB), &["one", "two"])?;
    for text in ["one", "two"] {
        check_message(&scene.bob.next_message().await?, ALICE, BOB, text)?;
    }
    let status = caller.ended(Duration::from_secs(40)).await?;
    ensure!(status.success(), "the user's session: SIPp ended with {status}");

    let mut called = Sipp::answer_session(&world, ALICE).await?;
    scene.bob.send_message(ALICE, "do you hear me").await?;
    called.says("do you hear me").await?;
    check_message(&scene.bob.next_message().await?, ALICE, BOB, "heard")?;
    let status = called.ended(Duration::from_secs(40)).await?;
    ensure!(status.success(), "the contact's session: SIPp ended with {status}");
    let more = scene.bob.stanzas_before_ping("end").await?;
    ensure!(more.iter().all(|stanza| stanza.body().is_none()), "{more:?}");

    for withdrawn in [false, true] {
        let mut sipp = match withdrawn {
            false => Sipp::refuse_session(&world, 603, "Decline").await?,
            true => Sipp::ring(&world).await?,
        };
        // What goes out before the gateway sees that its connection has ended comes back as well; then he writes again.
        let mut attempt = 0;
        let mark = sipp.mark();
        while !sipp.has_said_after(mark, "INVITE sip:") {
            attempt += 1;
            ensure!(attempt < 30, "SIPp is never found again");
            let id = scene.bob.send_message(ALICE, "are you there").await?;
            let error = scene.bob.next_message().await?;
            ensure!(
                error.attribute("id") == Some(&id) && error.attribute("type") == Some("error"),
                "{error}"
            );
        }
        let status = sipp.ended(Duration::from_secs(40)).await?;
        ensure!(status.success(), "withdrawn: {withdrawn}: SIPp ended with {status}");
    }
    scene.gateway.still_runs()
}

/// An invitation that no message could follow is refused at once with the reason, and nothing of it crosses: 403 where policy or
/// trust forbids it, 480 where the partner was out of reach just now.
pub(crate) async fn sipp_is_refused_sessions(world: World) -> Result<()> {
    // Whoever was out of reach once is not tried again for longer than a message would wait.
    let limits = "xmpp.backoff_initial = \"10m\"\nxmpp.backoff_max = \"1h\"";
    let (mut off, mut wingtip) = (Partner::federated("off.example"), Partner::federated("wingtip.com"));
    off.keys = "enabled = false";
    wingtip.keys = "\n[[policy.rule]]\nusers = [\"dave@contoso.com\"]\nverdict = \"deny\"";
    let partners = vec![Partner::federated("fabrikam.com"), off, wingtip];
    let settings = Settings { im: "session", trust: "server", limits, partners, ..Settings::default() };
    let mut scene = Scene::set_with(&world, &settings).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    // Nobody is at home at wingtip.com: that is found out by a message.
    let mut message = Sipp::send_messages(&world, 1, 1, "carol@wingtip.com")?;
    scene.gateway.log().line_after(0, "no stream to partner wingtip.com").await?;
    message.stop().await?;
    let alice = (ALICE, "verified");
    for (user, to, status, reason) in [
        (alice, "bob@stranger.example", 403, "1005;.*stranger.example"),
        (alice, "bob@off.example", 403, "1005;.*disabled"),
        (("dave@contoso.com", "verified"), BOB, 403, "1002;.*policy rule"),
        ((ALICE, "unverified"), BOB, 403, "29005;"),
        (alice, "carol@wingtip.com", 480, "1007;.*wingtip.com"),
    ] {
        let ended = Sipp::refused(&world, user, to, (status, reason))?.ended(PATIENCE).await?;
        ensure!(ended.success(), "{user:?} to {to}, {status}: SIPp ended with {ended}");
    }
    let none = scene.bob.stanzas_before_ping("refused").await?;
    ensure!(none.is_empty(), "{none:?}");
    // Who may has his session, whatever was refused before.
    let ended = Sipp::session(&world, (ALICE, BOB), &["one"])?.ended(PATIENCE).await?;
    ensure!(ended.success(), "SIPp ended with {ended}");
    check_message(&scene.bob.next_message().await?, ALICE, BOB, "one")?;
    scene.gateway.still_runs()
}
