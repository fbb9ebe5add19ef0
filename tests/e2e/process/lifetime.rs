//! The process: how it ends, and why it does not begin.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_agent::Reply;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::XmppPeer;

use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// Every message is either delivered or refused, and said to be so, when the gateway is told to stop among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_what_is_in_flight_and_ends_with_success() -> Result<()> {
    const MESSAGES: usize = 300;
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut carol = town.wingtip_speaks().await?;
    let call = alice.send_message(ALICE, CAROL, "first").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));

    // In both directions at once; the signal comes in the middle.
    let reading = tokio::spawn(async move {
        let (mut bodies, mut errors) = (Vec::new(), 0);
        loop {
            match wingtip.item().await {
                Ok(Item::Element(element)) if element.attribute("type") == Some("error") => errors += 1,
                Ok(Item::Element(element)) => bodies.extend(element.body().map(str::to_owned)),
                Ok(Item::Close) => wingtip.say("</stream:stream>").await.unwrap_or_default(),
                Ok(Item::Header(_)) => {}
                Err(_) => return (bodies, errors),
            }
        }
    });
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    for number in 0..MESSAGES {
        // Once it stops, it may close before all is said.
        let Ok(call) = alice.send_message(ALICE, CAROL, &format!("out {number}")).await else { break };
        calls.push(call);
        carol.say(&from_carol(&format!("in{number}"), &format!("in {number}"))).await.ok();
        if number == MESSAGES / 2 {
            // It is at work, and most of what was sent is still in front of it or in it.
            answers.extend(alice.next().await?);
            gateway.signal("TERM").await?;
        }
    }
    // Carol's server answers the end of her stream, too.
    tokio::spawn(async move {
        while let Ok(item) = carol.item().await {
            if item == Item::Close {
                carol.say("</stream:stream>").await.ok();
            }
        }
    });
    let (mut accepted, mut refused) = (vec!["first".to_owned()], 0);
    while let Some(answer) = alice.next().await? {
        answers.push(answer);
    }
    for answer in answers {
        let number = calls.iter().position(|call| Some(call.as_str()) == answer.header("Call-ID"));
        let number = number.context("an answer to nothing")?;
        match answer.status() {
            Some(200) => accepted.push(format!("out {number}")),
            Some(100) => {}
            _ => refused += 1,
        }
    }
    let status = gateway.ended().await?;
    ensure!(status.success(), "{status}\n{}", town.log.tail(30).join("\n"));
    let (bodies, errors) = reading.await?;
    ensure!(accepted.len() > 1, "none was under way when the signal came");
    ensure!(bodies == accepted, "delivered is not what was accepted: {bodies:?}\n{accepted:?}");
    // What came too late was refused, or its connection was closed before it was read.
    ensure!(accepted.len() + refused <= MESSAGES + 1);
    // The other direction: each of those that were read was delivered or reported, none twice.
    let mut seen: Vec<_> = front_end.waiting().into_iter().map(|request| request.body).collect();
    let delivered = seen.len();
    seen.sort();
    seen.dedup();
    ensure!(seen.len() == delivered, "doubled");
    ensure!(delivered + errors <= MESSAGES, "{delivered} + {errors}");
    Ok(())
}

/// The first signal waits for what is under way; the second does not.
#[tokio::test]
async fn a_second_sigterm_ends_at_once() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, |_| Reply::Silence).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("x", "held")).await?;
    front_end.next_message().await?;
    let mark = town.log.mark();
    gateway.signal("TERM").await?;
    town.log.line_after(mark, "finishing what is under way").await?;
    ensure!(
        tokio::time::timeout(Duration::from_millis(500), gateway.ended()).await.is_err(),
        "it did not wait"
    );
    gateway.signal("TERM").await?;
    let status = gateway.ended().await?;
    ensure!(status.code() == Some(1), "{status}");
    town.log.line_after(mark, "again: stopped before everything was finished").await?;
    Ok(())
}

/// What it would change is about to be left.
#[tokio::test]
async fn a_gateway_that_is_told_to_stop_reads_nothing_again() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, |_| Reply::Silence).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("x", "held")).await?;
    front_end.next_message().await?;
    town.edit("domain = \"wingtip.com\"", "domain = \"wingtip.com\"\nenabled = false")?;
    let mark = town.log.mark();
    gateway.signal("TERM").await?;
    town.log.line_after(mark, "finishing what is under way").await?;
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "SIGHUP: nothing is read again").await?;
    let said = town.refused(&["reload"]).await?;
    ensure!(said.contains("the gateway is stopping"), "{said}");
    gateway.signal("TERM").await?;
    gateway.ended().await?;
    ensure!(town.log.lines_with(&["partner[wingtip.com].enabled"]).is_empty(), "it was read again");
    Ok(())
}

/// A contact is owed word of his message: success would say that he got it.
#[tokio::test]
async fn a_stop_that_leaves_the_fate_of_a_message_open_is_no_success() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("drain = \"2s\"").await?;
    let mut front_end = town.answers(&town.good_front_end()?, |_| Reply::Silence).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("x", "held")).await?;
    front_end.next_message().await?;
    let mark = town.log.mark();
    gateway.signal("TERM").await?;
    let status = gateway.ended().await?;
    ensure!(status.code() == Some(1), "{status}");
    town.log.line_after(mark, "stopped: stopped after 2s: not everything that is owed").await?;
    Ok(())
}

/// Nobody is owed the end of a subscription: it stays on record.
#[tokio::test]
async fn ev_15_a_front_end_that_leaves_the_end_of_a_subscription_unanswered_does_not_spoil_a_stop()
-> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("drain = \"2s\"").await?;
    let deactivated = |request: &SipMessage| {
        request.header("Subscription-State").is_some_and(|state| state.contains("deactivated"))
    };
    let rule = move |request: &SipMessage| match deactivated(request) {
        true => Reply::Silence,
        false => takes_all(request),
    };
    let mut front_end = town.answers(&town.good_front_end()?, rule).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    alice
        .send_raw(&format!(
            "SUBSCRIBE sip:{CAROL} SIP/2.0\r\nVia: SIP/2.0/TLS fe.contoso.com;branch=z9hG4bK-s\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{ALICE}>;tag=f\r\nTo: <sip:{CAROL}>\r\nCall-ID: s\r\n\
             CSeq: 1 SUBSCRIBE\r\nContact: <sip:alice@fe.contoso.com:5061;transport=tls>\r\nEvent: presence\r\n\
             Expires: 3600\r\nAccept: application/pidf+xml\r\nContent-Length: 0\r\n\r\n"
        ))
        .await?;
    ensure!(alice.final_answer("s").await?.status() == Some(200));
    let begun = front_end.next().await?;
    ensure!(begun.must("Subscription-State")?.starts_with("pending"), "{begun}");
    let mark = town.log.mark();
    gateway.signal("TERM").await?;
    let ended = front_end.next().await?;
    ensure!(deactivated(&ended), "{ended}");
    let status = gateway.ended().await?;
    ensure!(status.success(), "{status}\n{}", town.log.tail(20).join("\n"));
    let said = town.log.line_after(mark, "the next start takes them up again").await?;
    ensure!(said.contains("subscriptions=1"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_used_is_named_with_what_to_do() -> Result<()> {
    let town = Town::found().await?;
    // Root may write anywhere, but not below a file.
    let file = town.folder().join("file");
    std::fs::write(&file, "")?;
    let mut gateway = town.start("", &file.join("state"))?;
    ensure!(gateway.ended().await?.code() == Some(1));
    let said = town.log.line_after(0, "state_dir").await?;
    ensure!(
        said.contains(&format!("{}/state", file.display())) && said.contains("a directory we may use"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn an_address_in_use_is_named() -> Result<()> {
    let town = Town::found().await?;
    for (address, side) in [(town.sip(), "SIP"), (town.xmpp(), "XMPP")] {
        let taken = TcpListener::bind(address)?;
        let mark = town.log.mark();
        let mut gateway = town.start("", &town.folder().join("state"))?;
        ensure!(gateway.ended().await?.code() == Some(1));
        let said = town.log.line_after(mark, &format!("cannot listen on {address} for {side}")).await?;
        ensure!(said.contains("in use"), "{said}");
        drop(taken);
    }
    // Nobody holds them any more: the same configuration starts.
    let mut gateway = town.gateway("").await?;
    ensure!(gateway.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn sigusr1_writes_what_is_held_and_counted_into_the_log() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "secret words").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    wingtip.element().await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let mut stranger = XmppPeer::dial(town.xmpp()).await?;
    stranger.say_header("stranger.example", "contoso.com").await?;
    stranger.stream_error().await?;

    let mark = town.log.mark();
    gateway.signal("USR1").await?;
    for (line, words) in [
        ("status: held now", &["pairs=1", "inbound_streams=0", "sip_connections=1"][..]),
        (
            "status: way to front ends",
            &["domains=\"contoso.com, litware.com\"", "requests=0", "connected_to=\"none\""],
        ),
        (
            "status: lane to a partner",
            &["from=contoso.com", "to=wingtip.com", "stream=\"open\"", "waiting=0", "unconfirmed=1"],
        ),
        ("status: refused domain", &["domain=stranger.example", "attempts=1"]),
        ("status: counted since the start", &["counter=\"sip_to_xmpp_delivered\"", "count=1"]),
    ] {
        let said = town.log.line_after(mark, line).await?;
        for word in words {
            ensure!(said.contains(word), "{word} is missing in {said}");
        }
    }
    gateway.still_runs()
}

/// An error to a message sent before a restart is still recognised: the key of the ids outlives the process.
#[tokio::test]
async fn a_late_error_is_recognised_after_a_restart() -> Result<()> {
    let town = Town::found().await?;
    let good = town.good_wingtip()?;
    let mut gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "secret words").await?;
    let mut wingtip = listener.accept(&town.pki, &good, "wingtip.com").await?;
    let id = wingtip.element().await?.attribute("id").context("no id")?.to_owned();
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    gateway.kill().await?;

    let _gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol
        .say(&format!(
            "<message type='error' from='{CAROL}' to='{ALICE}' id='{id}'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ))
        .await?;
    let notice = front_end.next_message().await?;
    ensure!(notice.body.contains("was not delivered: the recipient does not exist"), "{notice}");
    ensure!(!notice.raw.contains("secret words"), "{notice}");
    Ok(())
}
