//! Servers that go and come back, and a gateway that is told to go: delivered or reported, and nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::within;
use nuncio_world::xmpp_client::XmppClient;

use super::scene::{ALICE, BOB, Scene, check_request, takes_all};

/// What has become of the messages of one run; every message has a SIP user of its own, so that a report can be told
/// from another's.
#[derive(Debug, Default)]
struct Ledger {
    call_of: BTreeMap<String, usize>,
    status_of: BTreeMap<usize, u16>,
    delivered: BTreeMap<usize, usize>,
    reported: BTreeSet<usize>,
}

impl Ledger {
    async fn send(&mut self, front_end: &mut SipConnection, numbers: std::ops::Range<usize>) -> Result<()> {
        for number in numbers {
            let from = format!("user{number}@contoso.com");
            let call = front_end.send_message(&from, BOB, &format!("number {number}")).await?;
            self.call_of.insert(call, number);
        }
        Ok(())
    }

    /// Reads answers until every message sent has one.
    async fn answers(&mut self, front_end: &mut SipConnection) -> Result<()> {
        while self.status_of.len() < self.call_of.len() {
            let answer = front_end.next().await?.context("the gateway closed the front end's connection")?;
            let status = answer.status().with_context(|| format!("not an answer:\n{answer}"))?;
            let number = self.call_of.get(answer.must("Call-ID")?).context("an answer to nothing")?;
            if status >= 200 {
                let before = self.status_of.insert(*number, status);
                ensure!(before.is_none(), "a second final answer to message {number}:\n{answer}");
            }
        }
        Ok(())
    }

    /// Reads what has come to Bob up to the message with the text.
    async fn deliveries_until(&mut self, bob: &mut XmppClient, last: &str) -> Result<()> {
        loop {
            let message = bob.next_message().await?;
            let body = message.body().with_context(|| format!("no body: {message}"))?;
            if body == last {
                return Ok(());
            }
            match body.strip_prefix("number ").and_then(|number| number.parse().ok()) {
                Some(number) => *self.delivered.entry(number).or_default() += 1,
                None if body.starts_with("last ") => {}
                None => bail!("an unknown message: {message}"),
            }
        }
    }

    fn open(&self) -> Vec<usize> {
        let settled = |number: &usize| {
            self.delivered.contains_key(number)
                || self.reported.contains(number)
                || self.status_of.get(number).is_some_and(|&status| status >= 300)
        };
        self.call_of.values().filter(|number| !settled(number)).copied().collect()
    }
}

/// Done when: ejabberd stopped and started in between; delivered or reported, nothing doubled.
pub(crate) async fn ejabberd_stops_and_starts(world: World) -> Result<()> {
    // Shorter than the defaults, to make the outage longer than both.
    let limits = "xmpp.hold = \"3s\"";
    let mut scene = Scene::set_with(&world, &Settings { limits, ..Settings::default() }).await?;
    let mut reports = scene.answers(&world, takes_all).await?;
    let mut front_end = scene.calls(&world).await?;
    let mut ledger = Ledger::default();

    ledger.send(&mut front_end, 0..50).await?;
    ledger.answers(&mut front_end).await?;
    ensure!(ledger.status_of.values().all(|&status| status == 200), "{:?}", ledger.status_of);
    scene.bob.send_message(ALICE, "before").await?;
    check_request(&reports.next_message().await?, BOB, ALICE, "before")?;

    // Fifty under way while the server goes; ten more while it is gone.
    ledger.send(&mut front_end, 50..100).await?;
    // What reached Bob until then is read from the connection that ends with the server.
    scene.server.stop().await?;
    while let Ok(Ok(message)) = within("the end", scene.bob.next_message()).await {
        let number = message.body().and_then(|body| body.strip_prefix("number ")).context("what is this?")?;
        *ledger.delivered.entry(number.parse()?).or_default() += 1;
    }
    ledger.send(&mut front_end, 100..110).await?;
    ledger.answers(&mut front_end).await?;
    let while_down: Vec<_> = (100..110).filter_map(|number| ledger.status_of.get(&number)).collect();
    ensure!(while_down.iter().all(|&&status| status >= 400), "positive answers while down: {while_down:?}");

    scene.server.start_again().await?;
    let mut bob = scene.server.login("bob", "fabrikam.com").await?;
    ledger.send(&mut front_end, 110..130).await?;
    ledger.answers(&mut front_end).await?;

    // The way is open again when one is answered 200.
    let mut attempt = 0;
    let last = loop {
        attempt += 1;
        ensure!(attempt < 30, "ejabberd is never found again");
        let text = format!("last {attempt}");
        let call = front_end.send_message(ALICE, BOB, &text).await?;
        if front_end.final_answer(&call).await?.status() == Some(200) {
            break text;
        }
    };
    ledger.deliveries_until(&mut bob, &last).await?;
    while !ledger.open().is_empty() {
        let open = ledger.open();
        let report = reports.next_message().await.with_context(|| format!("neither nor: {open:?}"))?;
        let to = report.address("To")?.to_owned();
        let number =
            to.strip_prefix("sip:user").and_then(|rest| rest.split('@').next()).context(to.clone())?;
        ledger.reported.insert(number.parse()?);
    }
    ensure!(ledger.delivered.values().all(|&times| times == 1), "doubled: {:?}", ledger.delivered);
    let refused_and_delivered: Vec<_> = ledger
        .status_of
        .iter()
        .filter(|&(number, &status)| (400..500).contains(&status) && ledger.delivered.contains_key(number))
        .collect();
    ensure!(refused_and_delivered.is_empty(), "refused, and yet delivered: {refused_and_delivered:?}");
    let rest = bob.stanzas_before_ping("end").await?;
    ensure!(rest.is_empty(), "came late: {rest:?}");

    bob.send_message(ALICE, "after").await?;
    loop {
        let request = reports.next_message().await?;
        if request.address("To")? == "sip:alice@contoso.com" && request.body == "after" {
            return scene.gateway.still_runs();
        }
    }
}

/// SIGTERM: what is under way is finished, the streams are closed, and the exit code is 0.
pub(crate) async fn sigterm_drains(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let mut front_end = scene.calls(&world).await?;
    let call = front_end.send_message(ALICE, BOB, "before the end").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    let (ended, last) = tokio::join!(scene.gateway.terminate(), front_end.next());
    ended?;
    ensure!(last?.is_none(), "the front end's connection was used after the end");
    ensure!(scene.bob.next_message().await?.body() == Some("before the end"));
    // Nothing is doubled by the next run.
    scene.gateway.start_again().await?;
    let mut front_end = scene.calls(&world).await?;
    let call = front_end.send_message(ALICE, BOB, "after the start").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    ensure!(scene.bob.next_message().await?.body() == Some("after the start"));
    let rest = scene.bob.next_within(Duration::ZERO).await?;
    ensure!(rest.is_none(), "{rest:?}");
    Ok(())
}
