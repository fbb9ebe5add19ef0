//! A partner fails in the middle of traffic, in every way a machine can fail: delivered or reported, nothing twice, and
//! another partner's messages go through all the while.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::gateway::{Gateway, Partner, Settings};
use nuncio_world::network;
use nuncio_world::sip_agent::{SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::within;
use nuncio_world::world::{FABRIKAM, NORTHWIND};
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_server::{Brand, SERVERS, Setup, XmppServer};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::bystander::{Bystander, CLARA};
use super::ledger::Ledger;
use super::scene::{BOB, FRONT_END_SIP, calls_with, takes_all};

/// The failing partner's messages are sent so often.
const PACE: Duration = Duration::from_millis(4);
/// The other partner has so many rounds in each phase, at least.
const ROUNDS: usize = 200;
/// More than all buffers between two processes hold, if it is sent a thousand times.
const LONG: usize = 8 * 1024;

/// Two partners and their messages.
struct Play {
    world: World,
    gateway: Gateway,
    /// The server of the partner that will fail.
    server: XmppServer,
    bob: Option<XmppClient>,
    calls: SipConnection,
    reports: mpsc::UnboundedReceiver<SipMessage>,
    ledger: Ledger,
    sent: usize,
    bystander: Bystander,
    /// Serve the bystander.
    _northwind: XmppServer,
    _front_end: SipServer,
}

impl Play {
    /// The victim is the world's server, set up like that; the bystander has one of the other brand. All messages arrive.
    async fn begin(world: World, setup: &Setup) -> Result<Self> {
        let victim = world.brand();
        let other = if victim == Brand::Ejabberd { Brand::Prosody } else { Brand::Ejabberd };
        let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let northwind = world.pki().good("northwind", &["northwind.com"])?;
        let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
        let partners = ["fabrikam.com", "northwind.com"].map(Partner::federated).to_vec();
        let limits = "xmpp.hold = \"2s\"";
        let gateway = Gateway::start(&world, &Settings { partners, limits, ..Settings::default() }).await?;
        let domains = [("fabrikam.com", &fabrikam)];
        let server = XmppServer::start(&world, victim, ("fabrikam", FABRIKAM), &domains, setup).await?;
        let domains = [("northwind.com", &northwind)];
        let (at, setup) = (("northwind", NORTHWIND), Setup::default());
        let northwind = XmppServer::start(&world, other, at, &domains, &setup).await?;

        let (to_clara, for_clara) = mpsc::unbounded_channel();
        let (to_others, reports) = mpsc::unbounded_channel();
        let server_of_front_end = SipServer::listen(world.pki(), &front_end, FRONT_END_SIP, move |request| {
            let clara = request.address("To").is_ok_and(|to| to == format!("sip:{CLARA}"));
            let to = if clara { &to_clara } else { &to_others };
            to.send(request.clone()).ok();
            takes_all(request)
        })
        .await?;
        let dave = northwind.user("dave", "northwind.com").await?;
        let bob = server.user("bob", "fabrikam.com").await?;
        let clara = calls_with(&world, Some(&front_end)).await?;
        let mut play = Self {
            gateway,
            server,
            bob: Some(bob),
            calls: calls_with(&world, Some(&front_end)).await?,
            reports,
            ledger: Ledger::default(),
            sent: 0,
            bystander: Bystander::start(clara, dave, for_clara, "before"),
            world,
            _northwind: northwind,
            _front_end: server_of_front_end,
        };
        play.send(100, 0, |ledger| ledger.arrivals() == 100 && ledger.all_answered()).await?;
        play.bystander.rounds(ROUNDS).await?;
        Ok(play)
    }

    /// Sends so many messages with so many further bytes each, and takes whatever comes, until that holds.
    async fn send(&mut self, count: usize, bytes: usize, until: impl Fn(&Ledger) -> bool) -> Result<()> {
        let last = self.sent + count;
        let more = "x".repeat(bytes);
        let mut pace = interval(PACE);
        let run = async {
            while self.sent < last || !until(&self.ledger) {
                tokio::select! {
                    _ = pace.tick(), if self.sent < last => {
                        self.ledger.send_with(&mut self.calls, BOB, self.sent, &more).await?;
                        self.sent += 1;
                    }
                    answer = self.calls.next() => {
                        self.ledger.answered(&answer?.context("the gateway closed the connection")?)?;
                    }
                    message = message_for(&mut self.bob) => match message {
                        Some(message) => ensure!(self.ledger.arrived(&message)?, "unknown: {message}"),
                        None => self.bob = None,
                    },
                    report = self.reports.recv() => {
                        let report = report.context("the front end has ended")?;
                        ensure!(self.ledger.told(&report)?, "{report}");
                    }
                }
            }
            anyhow::Ok(())
        };
        let result = within("what was to become of these messages", run).await.and_then(|result| result);
        result.with_context(|| format!("of {} sent, open: {:?}", self.sent, self.ledger.open()))
    }

    /// The partner comes back to where it was, with its users.
    async fn comes_back(&mut self) -> Result<()> {
        self.server.start_again().await?;
        self.bob = Some(self.server.login("bob", "fabrikam.com").await?);
        Ok(())
    }

    /// The partner is well again: it is found again, and every message sent so far has been accounted for.
    async fn end(mut self, what: &str) -> Result<()> {
        self.bystander.rounds(ROUNDS).await?;
        self.bystander.enter("later");
        let mut attempts = 0;
        loop {
            let number = self.sent;
            self.send(1, 0, Ledger::all_answered).await?;
            if self.ledger.status_of.get(&number) == Some(&200) {
                break;
            }
            attempts += 1;
            ensure!(attempts < 30, "the partner is never found again");
        }
        self.send(0, 0, |ledger| ledger.open().is_empty()).await?;
        self.bystander.rounds(ROUNDS).await?;
        let times = self.bystander.stop().await?;
        // Whatever was still on its way has come before the answer to this.
        let bob = self.bob.as_mut().context("Bob is not there")?;
        for stanza in bob.stanzas_before_ping("end").await? {
            ensure!(self.ledger.arrived(&stanza)?, "{stanza}");
        }
        self.ledger.check()?;
        let ledger = &self.ledger;
        self.world.note(&format!(
            "{what}: {} messages, of these delivered {}, refused {}, reported later {}; {times}",
            self.sent,
            ledger.arrivals(),
            ledger.refusals(),
            ledger.reports(),
        ));
        self.gateway.still_runs()
    }
}

/// The next message; none: the connection has ended. Without a connection it waits for ever.
async fn message_for(bob: &mut Option<XmppClient>) -> Option<Element> {
    match bob {
        Some(bob) => bob.next_message().await.ok(),
        None => std::future::pending().await,
    }
}

/// `kill -9`, and later it is there again.
pub(crate) async fn partner_is_killed(world: World) -> Result<()> {
    let mut play = Play::begin(world, &Setup::default()).await?;
    // In the middle: some of these have arrived, others are on their way.
    play.send(50, 0, |_| true).await?;
    play.bystander.enter("killed");
    play.server.kill().await?;
    play.send(300, 0, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() > 0, "nothing was refused while nobody was there");
    play.comes_back().await?;
    play.end("killed").await
}

/// It is there and does nothing: what it was sent fills every buffer, and what does not fit is refused.
pub(crate) async fn partner_is_frozen(world: World) -> Result<()> {
    let mut play = Play::begin(world, &Setup::default()).await?;
    play.send(50, 0, |_| true).await?;
    play.bystander.enter("frozen");
    play.server.freeze().await?;
    play.send(1000, LONG, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() > 0, "all of it was taken by a server that does nothing");
    play.server.thaw().await?;
    play.end("frozen").await
}

/// Every packet to and from it is lost, and nobody says so.
pub(crate) async fn partner_is_black_holed(world: World) -> Result<()> {
    let mut play = Play::begin(world, &Setup::default()).await?;
    play.send(50, 0, |_| true).await?;
    play.bystander.enter("black-holed");
    let hole = network::BlackHole::dig(FABRIKAM, SERVERS).await?;
    play.send(1000, LONG, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() > 0, "all of it was taken by nobody");
    hole.fill().await?;
    play.end("black-holed").await
}

/// Its names are gone from DNS: what is connected stays connected; what is not finds it no more.
pub(crate) async fn partner_is_removed_from_dns(world: World) -> Result<()> {
    let mut play = Play::begin(world, &Setup::default()).await?;
    play.send(50, 0, |_| true).await?;
    play.bystander.enter("not in DNS");
    play.world.change_dns(Changes { without: &["fabrikam.com"], ..Changes::default() }).await?;
    play.send(200, 0, |ledger| ledger.arrivals() == 350 && ledger.all_answered()).await?;
    ensure!(play.ledger.refusals() == 0, "refused: {:?}", play.ledger.status_of);

    play.server.kill().await?;
    play.comes_back().await?;
    play.send(200, 0, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() > 0, "delivered to a server that nobody can find");
    play.world.change_dns(Changes::default()).await?;
    play.end("not in DNS").await
}

/// Prosody as it comes: 30 KiB/s from another server. What it has not read yet is not lost.
pub(crate) async fn partner_reads_slowly(world: World) -> Result<()> {
    let setup = Setup { throttled: true, ..Setup::default() };
    let mut play = Play::begin(world, &setup).await?;
    play.bystander.enter("throttled");
    // Ten seconds' worth.
    play.send(200, 3 * 512, Ledger::all_answered).await?;
    play.bystander.rounds(ROUNDS).await?;
    ensure!(play.ledger.arrivals() < 300, "the limit is not there");
    play.send(0, 0, |ledger| ledger.arrivals() == 300).await?;
    ensure!(play.ledger.refusals() == 0, "refused: {:?}", play.ledger.status_of);
    play.end("throttled").await
}
