//! A partner fails in the middle of traffic, in every way a machine can fail: delivered or reported, nothing twice, and
//! another partner's messages go through all the while: as many of them as before, while nothing of the failing one's gets
//! anywhere, each answered, delivered once and proved delivered, on the streams that there were.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::gateway::{Gateway, Partner, Settings};
use nuncio_world::network;
use nuncio_world::sip_agent::{SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::status::{LaneStatus, Status};
use nuncio_world::wait::until_ok;
use nuncio_world::within;
use nuncio_world::world::{FABRIKAM, NORTHWIND};
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_server::{Brand, SERVERS, Setup, Tls, XmppServer};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::bystander::{Bystander, CLARA, Conversation};
use super::ledger::Ledger;
use super::letters::Letters;
use super::scene::{BOB, FRONT_END_SIP, calls_with, takes_all};

/// The failing partner's messages are sent so often.
const PACE: Duration = Duration::from_millis(4);
/// So many before anything fails.
const BEFORE: usize = 300;
/// Nothing is tried more often.
const ATTEMPTS: usize = 30;
/// About as much as the buffers between two processes hold, if it is sent a thousand times.
const LONG: usize = 8 * 1024;

/// Streams both ways (XEP-0288).
const BOTH_WAYS: Setup = Setup { bidi: true, ..plain() };
/// Stream management (XEP-0198).
const ACKNOWLEDGED: Setup = Setup { acks: true, ..plain() };

const fn plain() -> Setup {
    Setup {
        tls: Tls::Required,
        dialback: false,
        knows_us: true,
        direct_tls: false,
        bidi: false,
        acks: false,
        throttled: false,
    }
}

/// Two partners and their messages.
struct Play {
    world: World,
    gateway: Gateway,
    /// The server of the partner that will fail, and how it is set up.
    server: XmppServer,
    setup: Setup,
    bob: Option<XmppClient>,
    calls: SipConnection,
    reports: mpsc::UnboundedReceiver<SipMessage>,
    ledger: Ledger,
    /// Messages to the partner.
    sent: usize,
    /// And from it.
    letters: Letters,
    bystander: Bystander,
    /// How many streams the bystander's partner had before anything failed.
    streams: usize,
    /// Serve the bystander.
    _northwind: XmppServer,
    _front_end: SipServer,
}

impl Play {
    /// The victim is the world's server, set up like that; the bystander has one of the other brand. Messages with so many
    /// further bytes go to the victim and come from it, and all of them arrive, and so do the bystander's.
    async fn begin(world: World, setup: Setup, bytes: usize) -> Result<Self> {
        let victim = world.brand();
        let other = if victim == Brand::Ejabberd { Brand::Prosody } else { Brand::Ejabberd };
        let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let northwind = world.pki().good("northwind", &["northwind.com"])?;
        let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
        let partners = ["fabrikam.com", "northwind.com"].map(Partner::federated).to_vec();
        // What Bob writes to a frozen server comes all at once: more than may wait for one reader.
        let limits = "xmpp.hold = \"5s\"\npair.queue = 20";
        let gateway = Gateway::start(&world, &Settings { partners, limits, ..Settings::default() }).await?;
        let domains = [("fabrikam.com", &fabrikam)];
        let server = XmppServer::start(&world, victim, ("fabrikam", FABRIKAM), &domains, &setup).await?;
        let domains = [("northwind.com", &northwind)];
        let at = ("northwind", NORTHWIND);
        let northwind = XmppServer::start(&world, other, at, &domains, &Setup::default()).await?;

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
            setup,
            bob: Some(bob),
            calls: calls_with(&world, Some(&front_end)).await?,
            reports,
            ledger: Ledger::default(),
            sent: 0,
            letters: Letters::default(),
            bystander: Bystander::start(clara, dave, for_clara),
            streams: 0,
            world,
            _northwind: northwind,
            _front_end: server_of_front_end,
        };
        // Streams are opened one after the other: where they go both ways, the first one serves.
        play.send(1, 0, |ledger| ledger.arrivals() == 1 && ledger.all_answered()).await?;
        play.letter_arrives().await?;
        play.bystander.rounds().await?;
        play.bystander.enter("before");
        let all = play.sent + BEFORE;
        play.send(BEFORE, bytes, |ledger| ledger.arrivals() == all && ledger.all_answered()).await?;
        play.bystander.rounds().await?;
        play.streams = play.bystanders_streams().await?;
        if setup.bidi {
            play.server.both_ways("fabrikam.com").await?;
        }
        if setup.acks {
            // A stream of ours is managed.
            play.server.log().line_with(&["Received[s2sin]: <enable "]).await?;
        }
        Ok(play)
    }

    /// Sends so many messages with so many further bytes each, and takes whatever comes, until that holds. Meanwhile the
    /// contact writes, too, as long as he is there.
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
                        self.letters.write_some(&mut self.bob).await;
                    }
                    answer = self.calls.next() => {
                        self.ledger.answered(&answer?.context("the gateway closed the connection")?)?;
                    }
                    message = message_for(&mut self.bob) => match message {
                        Some(message) => self.bob_has(&message)?,
                        None => self.bob = None,
                    },
                    request = self.reports.recv() => {
                        self.front_end_has(&request.context("the front end has ended")?)?;
                    }
                }
            }
            anyhow::Ok(())
        };
        let result = within("what was to become of these messages", run).await.and_then(|result| result);
        result.with_context(|| format!("of {} sent, open: {:?}", self.sent, self.ledger.open()))
    }

    fn bob_has(&mut self, message: &Element) -> Result<()> {
        ensure!(self.letters.came_back(message) || self.ledger.arrived(message)?, "unknown: {message}");
        Ok(())
    }

    /// What Bob's server has for him before it answers a ping.
    async fn bob_has_what_comes(&mut self) -> Result<()> {
        let bob = self.bob.as_mut().context("Bob is not there")?;
        for stanza in bob.stanzas_before_ping("end").await? {
            self.bob_has(&stanza)?;
        }
        Ok(())
    }

    fn front_end_has(&mut self, request: &SipMessage) -> Result<()> {
        ensure!(self.letters.arrived(request)? || self.ledger.told(request)?, "unknown: {request}");
        Ok(())
    }

    /// Bob writes until what he has written has arrived.
    async fn letter_arrives(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS {
            self.letters.write(self.bob.as_mut().context("Bob is not there")?).await?;
            let settled = within("what was to become of a letter", async {
                while !self.letters.is_settled() {
                    tokio::select! {
                        message = message_for(&mut self.bob) => {
                            self.bob_has(&message.context("Bob's connection has ended")?)?;
                        }
                        request = self.reports.recv() => {
                            self.front_end_has(&request.context("the front end has ended")?)?;
                        }
                    }
                }
                anyhow::Ok(())
            });
            settled.await??;
            if self.letters.has_last() {
                return Ok(());
            }
        }
        bail!("nothing of what Bob writes arrives")
    }

    /// Sends until not all of it fits any more. How much the operating system takes for the partner depends on how fast it went
    /// before: some megabytes, 32 at most.
    async fn fills_every_buffer(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS {
            self.send(1000, LONG, Ledger::all_answered).await?;
            if self.ledger.refusals() > 0 {
                return Ok(());
            }
        }
        bail!("all of it was taken by a server that takes nothing")
    }

    /// It happens: what follows is called so.
    fn fails(&mut self, phase: &'static str) {
        self.bystander.enter(phase);
    }

    /// The partner comes back to where it was, with its users.
    async fn comes_back(&mut self) -> Result<()> {
        self.server.start_again().await?;
        self.bob = Some(self.server.login("bob", "fabrikam.com").await?);
        Ok(())
    }

    /// The partner is well again: it is found again, and every message sent so far has been accounted for.
    async fn end(mut self, what: &str) -> Result<()> {
        self.bystander.enter("later");
        let mut attempts = 0;
        loop {
            let number = self.sent;
            self.send(1, 0, Ledger::all_answered).await?;
            if self.ledger.status_of.get(&number) == Some(&200) {
                break;
            }
            attempts += 1;
            ensure!(attempts < ATTEMPTS, "the partner is never found again");
        }
        self.letter_arrives().await?;
        self.send(0, 0, |ledger| ledger.open().is_empty()).await?;
        self.bystander.rounds().await?;
        let streams = self.bystanders_streams().await?;
        let conversation = self.bystander.stop().await?;
        self.bob_has_what_comes().await?;
        self.ledger.check()?;
        let ledger = &self.ledger;
        if self.setup.acks {
            ensure!(ledger.reports() == 0, "answered with 200 before it was acknowledged");
        }
        self.world.note(&format!(
            "{what}: {} messages, of these delivered {}, refused {}, reported later {}; {}",
            self.sent,
            ledger.arrivals(),
            ledger.refusals(),
            ledger.reports(),
            conversation.times,
        ));
        ensure!(streams == self.streams, "the bystander's streams were {}, and are {streams}", self.streams);
        let numbers = [ledger.accepted(), ledger.refusals()].map(|count| count as u64);
        // The proof of the last ones, the answer to the last ones, and the last letters that come back may still be on
        // their way.
        let mut wrong = String::new();
        let counted = until_ok("the gateway's counts to be what was seen", async || {
            let status = self.gateway.status().await?;
            self.bob_has_what_comes().await?;
            let checked = check_counts(&status, &conversation, numbers, &self.letters);
            Ok(checked.map_err(|error| wrong = error.to_string()).is_ok())
        });
        let counted = counted.await;
        counted.context(wrong)?;
        self.ledger.check()?;
        self.gateway.still_runs()
    }

    /// How many streams there have been with the bystander's partner.
    async fn bystanders_streams(&mut self) -> Result<usize> {
        // What the gateway has written into its log before it said how it is has been read when that has.
        self.gateway.status().await?;
        Ok(self.gateway.log().lines_with(&["stream established", "partner=\"northwind.com\""]).len())
    }
}

/// The gateway's own counts. Of the bystander's messages: each proved delivered, none refused, dropped or given up, nothing left
/// anywhere. What was refused is the failing partner's, all of it; and what was answered with 200 his server has proved to
/// have, or it was reported.
fn check_counts(
    status: &Status,
    conversation: &Conversation,
    [accepted, refused]: [u64; 2],
    letters: &Letters,
) -> Result<()> {
    let expected = LaneStatus {
        open: true,
        waiting: 0,
        unconfirmed: 0,
        confirmed: conversation.rounds,
        given_up: 0,
        replies_dropped: 0,
        failure: "none".to_owned(),
    };
    let lane = status.lane("northwind.com")?;
    ensure!(lane == expected, "the bystander's lane: {lane:?} instead of {expected:?}");
    let failing = status.lane("fabrikam.com")?;
    let too_many = letters.too_many() + failing.replies_dropped;
    for (counter, expected) in [
        ("sip_to_xmpp_failed", refused),
        ("xmpp_to_sip_failed", too_many),
        ("xmpp_to_sip_delivered", conversation.rounds + letters.arrivals()),
    ] {
        let count = status.count(counter)?;
        ensure!(count == expected, "{counter}: {count} instead of {expected}");
    }
    let proved = failing.confirmed;
    let reported = status.count("sip_to_xmpp_may_be_lost")?;
    ensure!(
        proved + reported == accepted,
        "of {accepted} answered with 200, {proved} are proved and {reported} reported"
    );
    Ok(())
}

/// The next message; none: the connection has ended. Without a connection it waits for ever.
async fn message_for(bob: &mut Option<XmppClient>) -> Option<Element> {
    match bob {
        Some(bob) => bob.next_message().await.ok(),
        None => std::future::pending().await,
    }
}

pub(crate) async fn partner_is_killed(world: World) -> Result<()> {
    killed(world, plain()).await
}

pub(crate) async fn partner_is_killed_both_ways(world: World) -> Result<()> {
    killed(world, BOTH_WAYS).await
}

pub(crate) async fn partner_is_killed_acknowledged(world: World) -> Result<()> {
    killed(world, ACKNOWLEDGED).await
}

/// `kill -9`, and later it is there again.
async fn killed(world: World, setup: Setup) -> Result<()> {
    let mut play = Play::begin(world, setup, 0).await?;
    // In the middle: some of these have arrived, others are on their way.
    play.send(50, 0, |_| true).await?;
    play.fails("killed");
    play.server.kill().await?;
    play.send(300, 0, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() > 0, "nothing was refused while nobody was there");
    play.ledger.server_is_gone();
    play.bystander.rounds().await?;
    play.comes_back().await?;
    play.end("killed").await
}

pub(crate) async fn partner_is_frozen(world: World) -> Result<()> {
    frozen(world, plain()).await
}

pub(crate) async fn partner_is_frozen_both_ways(world: World) -> Result<()> {
    frozen(world, BOTH_WAYS).await
}

pub(crate) async fn partner_is_frozen_acknowledged(world: World) -> Result<()> {
    frozen(world, ACKNOWLEDGED).await
}

/// It is there and does nothing: what it was sent fills every buffer, and what does not fit is refused.
async fn frozen(world: World, setup: Setup) -> Result<()> {
    let mut play = Play::begin(world, setup, LONG).await?;
    play.send(50, LONG, |_| true).await?;
    play.fails("frozen");
    play.server.freeze().await?;
    play.fills_every_buffer().await?;
    play.bystander.rounds().await?;
    play.server.thaw().await?;
    play.end("frozen").await
}

pub(crate) async fn partner_is_black_holed(world: World) -> Result<()> {
    black_holed(world, plain()).await
}

pub(crate) async fn partner_is_black_holed_both_ways(world: World) -> Result<()> {
    black_holed(world, BOTH_WAYS).await
}

pub(crate) async fn partner_is_black_holed_acknowledged(world: World) -> Result<()> {
    black_holed(world, ACKNOWLEDGED).await
}

/// Every packet to and from it is lost, and nobody says so.
async fn black_holed(world: World, setup: Setup) -> Result<()> {
    let mut play = Play::begin(world, setup, LONG).await?;
    play.send(50, LONG, |_| true).await?;
    play.fails("black-holed");
    let hole = network::BlackHole::dig(FABRIKAM, SERVERS).await?;
    play.fills_every_buffer().await?;
    play.bystander.rounds().await?;
    hole.fill().await?;
    play.end("black-holed").await
}

pub(crate) async fn partner_is_removed_from_dns(world: World) -> Result<()> {
    removed_from_dns(world, plain()).await
}

pub(crate) async fn partner_is_removed_from_dns_both_ways(world: World) -> Result<()> {
    removed_from_dns(world, BOTH_WAYS).await
}

pub(crate) async fn partner_is_removed_from_dns_acknowledged(world: World) -> Result<()> {
    removed_from_dns(world, ACKNOWLEDGED).await
}

/// Its names are gone from DNS: what is connected stays connected; what is not finds it no more.
async fn removed_from_dns(world: World, setup: Setup) -> Result<()> {
    let mut play = Play::begin(world, setup, 0).await?;
    play.send(50, 0, |_| true).await?;
    play.fails("not in DNS");
    play.world.change_dns(Changes { without: &["fabrikam.com"], ..Changes::default() }).await?;
    let all = play.sent + 200;
    play.send(200, 0, |ledger| ledger.arrivals() == all && ledger.all_answered()).await?;
    ensure!(play.ledger.refusals() == 0, "refused: {:?}", play.ledger.status_of);

    play.server.kill().await?;
    play.server.start_again().await?;
    play.send(200, 0, Ledger::all_answered).await?;
    ensure!(play.ledger.refusals() == 200, "delivered to a server that nobody can find");
    play.bob = Some(play.server.login("bob", "fabrikam.com").await?);
    if setup.bidi {
        // It finds us: what it opens takes our messages as well.
        play.letter_arrives().await?;
        let all = play.ledger.arrivals() + 50;
        play.send(50, 0, |ledger| ledger.arrivals() == all && ledger.all_answered()).await?;
        ensure!(play.ledger.refusals() == 200, "refused: {:?}", play.ledger.status_of);
    }
    play.bystander.rounds().await?;
    play.world.change_dns(Changes::default()).await?;
    play.end("not in DNS").await
}

/// Prosody as it comes: 30 KiB/s from another server. What it has not read yet is not lost.
pub(crate) async fn partner_reads_slowly(world: World) -> Result<()> {
    let mut play = Play::begin(world, Setup { throttled: true, ..plain() }, 0).await?;
    play.fails("throttled");
    // Ten seconds' worth.
    let all = play.sent + 200;
    play.send(200, 3 * 512, Ledger::all_answered).await?;
    play.bystander.rounds().await?;
    ensure!(play.ledger.arrivals() < all, "the limit is not there");
    play.send(0, 0, |ledger| ledger.arrivals() == all).await?;
    ensure!(play.ledger.refusals() == 0, "refused: {:?}", play.ledger.status_of);
    play.end("throttled").await
}
