//! What scenarios of presence begin with, and what they look for.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Decision, FrontEnd, Notice, Watch, Watcher};
use nuncio_world::gateway::Settings;
use nuncio_world::pidf::Tuple;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_presence::kind;

use super::scene::{ALICE, BOB, Scene};

/// [`Scene`] with a front end that has presence; Alice accepts everybody unless told otherwise.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) front_end: FrontEnd,
}

impl Stage {
    pub(crate) async fn set(world: &World) -> Result<Self> {
        Self::set_with(world, &Settings::default()).await
    }

    pub(crate) async fn set_with(world: &World, settings: &Settings<'_>) -> Result<Self> {
        let scene = Scene::set_with(world, settings).await?;
        let front_end = FrontEnd::start(world, &scene.front_end).await?;
        front_end.decide(ALICE, Decision::Accept);
        Ok(Self { scene, front_end })
    }

    /// Bob adds Alice, and she accepts. What Bob sees of her is not looked at.
    pub(crate) async fn bob_sees_alice(&mut self, tuples: &[Tuple]) -> Result<Watcher> {
        self.front_end.decide(ALICE, Decision::Accept);
        self.front_end.set_presence(ALICE, tuples)?;
        self.scene.bob.add_contact(ALICE).await?;
        let watcher = new_watcher(&self.front_end).await?;
        let bob = &mut self.scene.bob;
        bob.presence_until(ALICE, "consent", &[], |presence| kind(presence) == "subscribed").await?;
        Ok(watcher)
    }

    /// Alice adds Bob, and he accepts. What she sees of him last is open.
    pub(crate) async fn alice_sees_bob(&mut self, endpoint: &str) -> Result<Watch> {
        let (mut watch, answer) = self.front_end.watch(ALICE, BOB, endpoint, 3600).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let bob = &mut self.scene.bob;
        bob.presence_until(ALICE, "request", &[], |presence| kind(presence) == "subscribe").await?;
        bob.approve(ALICE).await?;
        watch.until("Bob being there", |notice| notice.state == "active" && notice.is_open()).await?;
        Ok(watch)
    }
}

/// The next request at the front end must be a new subscription, and be accepted by it.
pub(crate) async fn new_watcher(front_end: &FrontEnd) -> Result<Watcher> {
    let arrival = front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 200, "{}\n{}", arrival.status, arrival.request);
    check_subscribe(&arrival.request)?;
    let watchers = front_end.watchers(ALICE);
    ensure!(watchers.len() == 1, "{watchers:?}");
    Ok(watchers[0].clone())
}

/// PR-01: Bob wants to see Alice.
pub(crate) fn check_subscribe(request: &SipMessage) -> Result<()> {
    ensure!(request.start == format!("SUBSCRIBE sip:{ALICE} SIP/2.0"), "{request}");
    ensure!(request.address("From")? == format!("sip:{BOB}"), "{request}");
    ensure!(request.must("To")? == format!("<sip:{ALICE}>"), "{request}");
    ensure!(request.must("Event")? == "presence", "{request}");
    ensure!(request.must("Accept")?.contains("application/pidf+xml"), "{request}");
    ensure!(request.must("Expires")?.parse::<u32>()? > 0, "{request}");
    ensure!(request.address("Contact")?.contains("nuncio.contoso.com"), "{request}");
    Ok(())
}

/// Everything that has come to Bob of what was sent to him until now: a message of Alice's goes the same way, behind it.
pub(crate) async fn until_a_message(front_end: &FrontEnd, bob: &mut XmppClient) -> Result<Vec<Element>> {
    let text = "so far";
    let (answer, before) = tokio::join!(front_end.send_message(ALICE, BOB, text), async {
        let mut before = Vec::new();
        loop {
            let stanza = bob.next().await?;
            if stanza.body() == Some(text) {
                return anyhow::Ok(before);
            }
            before.push(stanza);
        }
    });
    let answer = answer?;
    ensure!(answer.status() == Some(200), "{answer}");
    before
}

/// Everything that has come to the front end of what Bob's server has sent until now.
pub(crate) async fn until_a_request(front_end: &FrontEnd, bob: &mut XmppClient) -> Result<Vec<SipMessage>> {
    let text = "so far";
    bob.send_message(ALICE, text).await?;
    let mut before = Vec::new();
    loop {
        let arrival = front_end.next().await?;
        if arrival.request.body == text {
            return Ok(before);
        }
        before.push(arrival.request);
    }
}

/// A NOTIFY that ends a subscription.
pub(crate) fn check_end(notice: &Notice, reason: &str) -> Result<()> {
    ensure!(notice.state == "terminated", "{}", notice.request);
    ensure!(notice.reason.as_deref() == Some(reason), "{}", notice.request);
    Ok(())
}

/// The tuple of an XMPP resource.
pub(crate) fn tuple<'a>(notice: &'a Notice, resource: &str) -> Option<&'a Tuple> {
    notice.document.as_ref()?.tuple(&format!("ID-{resource}"))
}
