//! Two front ends of one pool: the first is gone and comes back while messages are under way in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nuncio_world::gateway::Settings;
use nuncio_world::kamailio::{Behind, Edge};
use nuncio_world::pki::Credential;
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait::until_ok;
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::{PATIENCE, World};

use super::scene::{BOB, Scene, takes_all};

/// One that was away is tried again at once, not after a minute. There always is another one, and on a machine that does much else
/// it may take a while until it is found.
pub(crate) const QUICK: &str =
    "sip.backoff_initial = \"100ms\"\nsip.backoff_max = \"500ms\"\nsip.hold = \"30s\"";
/// Messages under way while something happens.
const BURST: usize = 40;

/// The front ends, and what has come to each.
struct Pool {
    world: World,
    credentials: [Credential; 2],
    servers: [Option<SipServer>; 2],
    silent: [Arc<AtomicBool>; 2],
    /// Number of a message of Bob's → the front end where it arrived.
    arrived: BTreeMap<usize, usize>,
}

impl Pool {
    async fn start(world: &World) -> Result<Self> {
        let [first, second] = world.edge().places().map(|place| world.pki().good(place.host, &[place.host]));
        let credentials = [first?, second?];
        let mut pool = Self {
            world: world.clone(),
            credentials,
            servers: [None, None],
            silent: Default::default(),
            arrived: BTreeMap::new(),
        };
        pool.start_one(0).await?;
        pool.start_one(1).await?;
        Ok(pool)
    }

    async fn start_one(&mut self, which: usize) -> Result<()> {
        self.world.open_edge_at(which, Behind::Agent).await?;
        let at = self.world.edge().places()[which].listens;
        let silent = Arc::clone(&self.silent[which]);
        silent.store(false, Ordering::Relaxed);
        let rule = move |request: &SipMessage| match silent.load(Ordering::Relaxed) {
            true => Reply::Silence,
            false => takes_all(request),
        };
        self.servers[which] =
            Some(SipServer::listen(self.world.pki(), &self.credentials[which], at, rule).await?);
        Ok(())
    }

    /// It takes requests and answers none, as one that is about to die.
    fn falls_silent(&self, which: usize) {
        self.silent[which].store(true, Ordering::Relaxed);
    }

    /// Gone, with its connections. What it had got by then is counted.
    async fn kill(&mut self, which: usize) -> Result<()> {
        if self.world.edge() == Edge::Kamailio {
            self.world.kill_edge_at(which).await?;
        }
        let server = self.servers[which].take().context("it is gone already")?;
        server.kill().await.into_iter().try_for_each(|request| self.note(which, &request))
    }

    /// Notes what has come.
    fn look(&mut self) -> Result<()> {
        for which in 0..2 {
            let waiting = self.servers[which].as_mut().map(SipServer::waiting).unwrap_or_default();
            waiting.iter().try_for_each(|request| self.note(which, request))?;
        }
        Ok(())
    }

    /// Nothing comes twice, wherever.
    fn note(&mut self, which: usize, request: &SipMessage) -> Result<()> {
        if request.method() == Some("MESSAGE") {
            let before = self.arrived.insert(number(&request.body)?, which);
            ensure!(before.is_none(), "at {which}, and before at {before:?}:\n{request}");
        }
        Ok(())
    }

    /// A connection of that front end's to the gateway, or of its pool's to it.
    async fn calls(&self, which: usize) -> Result<SipConnection> {
        let (name, address) = self.world.edge().places()[which].calls;
        SipConnection::connect(self.world.pki(), Some(&self.credentials[which]), name, address).await
    }
}

fn number(body: &str) -> Result<usize> {
    let digits = body.strip_prefix("letter ").with_context(|| format!("what is {body:?}?"))?;
    Ok(digits.parse()?)
}

/// Bob's messages, and which came back to him.
#[derive(Default)]
struct Letters {
    ids: BTreeMap<String, usize>,
    came_back: BTreeSet<usize>,
    /// Numbers of Alice's that have reached him.
    of_alice: BTreeSet<usize>,
}

impl Letters {
    /// Each to a user of his own: they do not wait for each other.
    async fn write(&mut self, bob: &mut XmppClient, count: usize) -> Result<()> {
        for _ in 0..count {
            let number = self.ids.len();
            let id =
                bob.send_message(&format!("user{number}@contoso.com"), &format!("letter {number}")).await?;
            self.ids.insert(id, number);
        }
        Ok(())
    }

    fn take(&mut self, stanza: &Element) -> Result<()> {
        if stanza.attribute("type") == Some("error") {
            let id = stanza.attribute("id").unwrap_or_default();
            let number = *self.ids.get(id).with_context(|| format!("whose error? {stanza}"))?;
            ensure!(self.came_back.insert(number), "reported twice: {stanza}");
            return Ok(());
        }
        let number = number(stanza.body().unwrap_or_default())?;
        ensure!(self.of_alice.insert(number), "twice: {stanza}");
        Ok(())
    }

    /// Reads until each has arrived or come back.
    async fn settle(&mut self, bob: &mut XmppClient, pool: &mut Pool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            pool.look()?;
            let known = |number: &usize| pool.arrived.contains_key(number) || self.came_back.contains(number);
            let open: Vec<usize> = self.ids.values().copied().filter(|number| !known(number)).collect();
            if open.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("neither arrived nor reported: {open:?}");
            }
            if let Some(stanza) = bob.next_within(Duration::from_millis(20)).await? {
                self.take(&stanza)?;
            }
        }
    }
}

/// Nothing is lost silently and nothing comes twice, in either direction: the first front end goes in the middle of traffic,
/// the second takes over, the first comes back, and the second goes.
pub(crate) async fn front_ends_take_over_from_each_other(world: World) -> Result<()> {
    let front_ends = &["fe.contoso.com", "fe2.contoso.com"];
    let mut pool = Pool::start(&world).await?;
    let mut scene =
        Scene::set_with(&world, &Settings { limits: QUICK, front_ends, ..Settings::default() }).await?;
    let mut letters = Letters::default();
    let bob = &mut scene.bob;
    letters.write(bob, BURST).await?;
    letters.settle(bob, &mut pool).await?;
    ensure!(letters.came_back.is_empty(), "{:?}", letters.came_back);
    ensure!(pool.arrived.values().all(|&which| which == 0), "not in their order: {:?}", pool.arrived);

    let (mut sent, mut taken) = (0, BTreeSet::new());
    for gone in [0, 1, 0] {
        let stays = 1 - gone;
        // The pool writes by both front ends, and the contact writes, while one of them goes.
        let mut lines = [pool.calls(0).await?, pool.calls(1).await?];
        pool.falls_silent(gone);
        let (before, from) = (pool.arrived.len(), letters.ids.len());
        letters.write(bob, BURST).await?;
        // It has them, and will never say so: nobody may get them again.
        until_ok("the letters at a front end", async || {
            pool.look()?;
            Ok(pool.arrived.len() >= before + BURST)
        })
        .await?;
        let mut pending = BTreeMap::new();
        for _ in 0..BURST {
            for (which, line) in lines.iter_mut().enumerate() {
                let from = format!("user{sent}@contoso.com");
                let call = line.send_message(&from, BOB, &format!("letter {sent}")).await?;
                if which == stays {
                    pending.insert(call, sent);
                }
                sent += 1;
            }
        }
        pool.kill(gone).await?;
        let [first, second] = lines;
        let mut line = if stays == 0 { first } else { second };
        letters.write(bob, BURST).await?;

        // Who is still there hears what became of each of his.
        while !pending.is_empty() {
            let answer = line.next().await?.context("the connection that stays has ended")?;
            let number = pending.remove(answer.must("Call-ID")?);
            ensure!(answer.status() == Some(200), "{answer}");
            taken.insert(number.with_context(|| format!("answered twice:\n{answer}"))?);
        }
        letters.settle(bob, &mut pool).await?;

        // What the one that is gone has taken without a word is reported, as it may have arrived or not.
        let unanswered: BTreeSet<_> =
            (from..from + BURST).filter(|number| pool.arrived.get(number) == Some(&gone)).collect();
        while !unanswered.is_subset(&letters.came_back) {
            letters.take(&bob.next_message().await?)?;
        }

        // The other one has taken over.
        let after = letters.ids.len();
        letters.write(bob, BURST).await?;
        letters.settle(bob, &mut pool).await?;
        let reported = letters.came_back.range(after..).next();
        ensure!(reported.is_none(), "{reported:?}, though one was there");
        let elsewhere = (after..letters.ids.len()).find(|number| pool.arrived.get(number) != Some(&stays));
        ensure!(elsewhere.is_none(), "{elsewhere:?}: {:?}", pool.arrived);
        pool.start_one(gone).await?;
    }

    for stanza in bob.stanzas_before_ping("end").await? {
        letters.take(&stanza)?;
    }
    pool.look()?;
    let lost: Vec<_> = taken.difference(&letters.of_alice).collect();
    ensure!(lost.is_empty(), "answered 200 and never seen: {lost:?}");
    world.note(&format!(
        "of {} messages of a contact {} arrived at one of two front ends, and {} were reported",
        letters.ids.len(),
        pool.arrived.len(),
        letters.came_back.len()
    ));
    scene.gateway.still_runs()
}
