//! Two front ends of one pool with sessions and subscriptions: one goes while both are in use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nuncio_world::front_end::{Chat, Decision, FrontEnd, Invited, Watch};
use nuncio_world::gateway::Settings;
use nuncio_world::kamailio::{Behind, Edge};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait::until_ok;
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_presence::kind;
use nuncio_world::{PATIENCE, World};
use tokio::task::JoinSet;

use super::failover::QUICK;
use super::scene::{BOB, Scene};

/// Each has a session with the contact, and sees his presence.
const USERS: usize = 8;

/// What has come to the pool, and what its users see.
struct Pool {
    front_end: FrontEnd,
    chats: BTreeMap<usize, Chat>,
    watches: Vec<(Watch, u32)>,
    /// Number of a message of Bob's → the front end where it arrived, and whether it was answered.
    arrived: BTreeMap<usize, (usize, bool)>,
}

/// Bob's messages, what came back of them, and what he has heard.
#[derive(Default)]
struct Contact {
    ids: BTreeMap<String, usize>,
    came_back: BTreeSet<usize>,
    heard: BTreeSet<usize>,
    mood: usize,
}

fn user(number: usize) -> String {
    format!("user{number}@contoso.com")
}

fn number(text: &str, prefix: &str) -> Result<usize> {
    let rest = text.strip_prefix(prefix).with_context(|| format!("what is {text:?}?"))?;
    let digits = rest.chars().take_while(char::is_ascii_digit);
    Ok(digits.collect::<String>().parse()?)
}

impl Pool {
    async fn start(world: &World, bob: &mut XmppClient) -> Result<Self> {
        let mut places = Vec::new();
        for (which, place) in world.edge().places().into_iter().enumerate() {
            world.open_edge_at(which, Behind::Agent).await?;
            places.push((place, world.pki().good(place.host, &[place.host])?));
        }
        let front_end = FrontEnd::start_pool(world, places).await?;
        let mut watches = Vec::new();
        for user in (0..USERS).map(user) {
            front_end.decide(&user, Decision::Accept);
            front_end.when_invited(&user, Invited::Accept);
            let (mut watch, answer) = front_end.watch(&user, BOB, "desk", 3600).await?;
            ensure!(answer.status() == Some(200), "{answer}");
            bob.presence_until(&user, "request", &[], |presence| kind(presence) == "subscribe").await?;
            bob.approve(&user).await?;
            let seen = watch.until("Bob", |notice| notice.state == "active" && notice.is_open()).await?;
            watches.push((watch, cseq(&seen.request)?));
        }
        Ok(Self { front_end, chats: BTreeMap::new(), watches, arrived: BTreeMap::new() })
    }

    /// One of them is gone: with Kamailio before it, where that is what the gateway knows.
    async fn kill(&self, world: &World, which: usize) -> Result<()> {
        if world.edge() == Edge::Kamailio {
            world.kill_edge_at(which).await?;
        }
        self.front_end.kill_one(which).await;
        Ok(())
    }

    async fn start_again(&self, world: &World, which: usize) -> Result<()> {
        self.front_end.start_one_again(which).await?;
        world.open_edge_at(which, Behind::Agent).await
    }

    /// Notes what has come: no message twice, wherever.
    async fn look(&mut self) -> Result<()> {
        for arrival in self.front_end.waiting().await {
            let (request, at) = (arrival.request, arrival.at);
            let whose = number(request.address("To")?, "sip:user")?;
            match request.method() {
                Some("MESSAGE") if [0, 200].contains(&arrival.status) => {
                    ensure!(request.must("To")?.contains(";tag="), "not in a session:\n{request}");
                    let before =
                        self.arrived.insert(number(&request.body, "letter ")?, (at, arrival.status == 200));
                    ensure!(before.is_none(), "at {at}, and before at {before:?}:\n{request}");
                }
                Some("INVITE") if arrival.status == 200 => {
                    self.chats.insert(whose, self.front_end.chat_of(&request)?);
                }
                Some("BYE") => {
                    let ended = |chat: &Chat| Some(chat.call_id()) == request.header("Call-ID");
                    if self.chats.get(&whose).is_some_and(ended) {
                        self.chats.remove(&whose);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every user sees this last, in the subscription that there is; nothing comes twice, and nothing older behind it.
    async fn sees(&mut self, mood: usize) -> Result<()> {
        for (watch, last) in &mut self.watches {
            let mut before = 0;
            while before < mood {
                let notice = watch.next().await.with_context(|| format!("mood {mood}"))?;
                let request = &notice.request;
                ensure!(notice.state == "active", "ended:\n{request}");
                let number_now = cseq(request)?;
                ensure!(number_now > *last, "{number_now} after {last}:\n{request}");
                *last = number_now;
                let tuples = notice.document.iter().flat_map(|document| &document.tuples);
                let moods = tuples.flat_map(|tuple| &tuple.notes).filter(|note| note.starts_with("mood "));
                let shown = moods.map(|note| number(note, "mood ")).next().transpose()?.unwrap_or_default();
                ensure!(shown >= before && shown <= mood, "{shown} after {before}:\n{request}");
                before = shown;
            }
        }
        Ok(())
    }
}

fn cseq(request: &SipMessage) -> Result<u32> {
    Ok(request.must("CSeq")?.split(' ').next().unwrap_or_default().parse()?)
}

impl Contact {
    /// One message to each user.
    async fn write(&mut self, bob: &mut XmppClient) -> Result<()> {
        for whose in 0..USERS {
            let number = self.ids.len();
            let id = bob.send_message(&user(whose), &format!("letter {number}")).await?;
            self.ids.insert(id, number);
        }
        Ok(())
    }

    async fn feels(&mut self, bob: &mut XmppClient) -> Result<()> {
        self.mood += 1;
        let show = if self.mood.is_multiple_of(2) { "away" } else { "dnd" };
        bob.show(show, &format!("mood {}", self.mood), 0).await
    }

    fn take(&mut self, stanza: &Element) -> Result<()> {
        if stanza.name != "message" {
            return Ok(());
        }
        if stanza.attribute("type") == Some("error") {
            let id = stanza.attribute("id").unwrap_or_default();
            let number = *self.ids.get(id).with_context(|| format!("whose error? {stanza}"))?;
            ensure!(self.came_back.insert(number), "reported twice: {stanza}");
        } else if let Some(body) = stanza.body() {
            ensure!(self.heard.insert(number(body, "word ")?), "twice: {stanza}");
        }
        Ok(())
    }

    /// Reads until each of these is known to be settled.
    async fn settle(
        &mut self,
        bob: &mut XmppClient,
        pool: &mut Pool,
        settled: impl Fn(&Self, &Pool, usize) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            pool.look().await?;
            let open: Vec<_> = (0..self.ids.len()).filter(|number| !settled(self, pool, *number)).collect();
            if open.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("neither arrived nor reported: {open:?} of {:?}", pool.arrived);
            }
            if let Some(stanza) = bob.next_within(Duration::from_millis(20)).await? {
                self.take(&stanza)?;
            }
        }
    }
}

/// Arrived and answered, or reported. What one has taken that never said so is reported, for it may have arrived or not.
fn known(contact: &Contact, pool: &Pool, number: usize) -> bool {
    contact.came_back.contains(&number) || pool.arrived.get(&number).is_some_and(|(_, answered)| *answered)
}

/// Sessions and subscriptions go on when the front end that serves them goes, in the middle of both: each message of the contact
/// arrives once or is reported, each of the users' that was answered has arrived once, and each user sees what the contact showed
/// last, in the subscription that there is.
pub(crate) async fn sessions_and_presence_go_on_at_another_front_end(world: World) -> Result<()> {
    let front_ends = &["fe.contoso.com", "fe2.contoso.com"];
    let settings = Settings { im: "session", limits: QUICK, front_ends, ..Settings::default() };
    let mut scene = Scene::set_with(&world, &settings).await?;
    let bob = &mut scene.bob;
    let mut pool = Pool::start(&world, bob).await?;
    let (mut contact, mut words, mut said) = (Contact::default(), 0, BTreeSet::new());
    for gone in [0, 1, 0] {
        let stays = 1 - gone;
        let from = contact.ids.len();
        contact.write(bob).await?;
        contact.feels(bob).await?;
        contact.settle(bob, &mut pool, known).await?;
        ensure!(contact.came_back.range(from..).next().is_none(), "both are there: {:?}", contact.came_back);
        pool.sees(contact.mood).await?;
        ensure!(pool.chats.len() == USERS, "{:?}", pool.chats.keys());

        // It takes what comes and says nothing; then it goes, while everybody writes.
        pool.front_end.falls_silent(gone);
        let before = pool.arrived.len();
        contact.write(bob).await?;
        contact.feels(bob).await?;
        until_ok("the letters at a front end", async || {
            pool.look().await?;
            Ok(pool.arrived.len() >= before + USERS)
        })
        .await?;
        let mut speaking = JoinSet::new();
        for (whose, mut chat) in std::mem::take(&mut pool.chats) {
            words += 1;
            let word = words;
            speaking.spawn(async move {
                let answer = chat.say(&format!("word {word}")).await;
                (whose, chat, word, answer)
            });
        }
        pool.kill(&world, gone).await?;
        contact.write(bob).await?;
        while let Some(spoken) = speaking.join_next().await {
            let (whose, chat, word, answer) = spoken?;
            match answer.ok().and_then(|answer| answer.status()) {
                Some(200) => drop(said.insert(word)),
                // It may have arrived, for all that its sender knows.
                None => {}
                Some(status) => ensure!(status == 481, "word {word}: {status}"),
            }
            pool.chats.insert(whose, chat);
        }
        contact.settle(bob, &mut pool, known).await?;

        // The other one has taken over, and nobody has been left behind.
        let after = contact.ids.len();
        contact.write(bob).await?;
        contact.feels(bob).await?;
        contact.settle(bob, &mut pool, known).await?;
        let reported = contact.came_back.range(after..).next();
        ensure!(reported.is_none(), "{reported:?}, though one was there");
        let elsewhere =
            (after..contact.ids.len()).find(|number| pool.arrived.get(number) != Some(&(stays, true)));
        ensure!(elsewhere.is_none(), "{elsewhere:?}: {:?}", pool.arrived);
        pool.sees(contact.mood).await?;
        pool.start_again(&world, gone).await?;
    }
    for stanza in bob.stanzas_before_ping("end").await? {
        contact.take(&stanza)?;
    }
    pool.look().await?;
    let lost: Vec<_> = said.difference(&contact.heard).collect();
    ensure!(lost.is_empty(), "answered 200 and never heard: {lost:?}");
    world.note(&format!(
        "of {} messages of a contact in sessions {} arrived at one of two front ends, and {} were reported; {} of {words} of \
         the users were answered",
        contact.ids.len(),
        pool.arrived.len(),
        contact.came_back.len(),
        said.len()
    ));
    scene.gateway.still_runs()
}
