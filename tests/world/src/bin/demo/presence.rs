//! The steps about presence: who adds whom, what they see of each other, and what is left of it after a crash.

use anyhow::{Context, Result, ensure};
use nuncio_world::front_end::{Watch, Watcher};
use nuncio_world::pidf::Tuple;
use nuncio_world::screen::Screen;
use nuncio_world::xmpp_presence::{kind, text};

use super::{ALICE, BOB, Cast, DAVE};

impl Cast {
    pub(super) async fn sip_user_adds_xmpp_user(&mut self, screen: &mut Screen) -> Result<Watch> {
        screen.step("Alice (SIP) adds Bob (XMPP)");
        let (mut watch, answer) = self.front_end.watch(ALICE, BOB, "desk1", 3600).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let request = self.bob.next_presence_from(ALICE).await?;
        ensure!(kind(&request) == "subscribe", "{request}");
        screen.beside(("SIP: the front end sends", watch.last_sent()), ("XMPP: Bob receives", &request.raw));
        let pending = watch.next().await?;
        ensure!(pending.state == "pending" && pending.document.is_none(), "{}", pending.request);
        screen.done("Bob is asked; until he answers the subscription is pending and says nothing about him");

        self.bob.approve(ALICE).await?;
        let approval = self.bob.last_sent().to_owned();
        let notice = watch.until("Bob being there", |notice| notice.is_open()).await?;
        screen.beside(("SIP: the front end receives", &notice.request.raw), ("XMPP: Bob agrees", &approval));
        ensure!(notice.state == "active", "{}", notice.request);
        screen.done("he agreed: the subscription is active, and Alice sees that he is there");
        Ok(watch)
    }

    pub(super) async fn xmpp_user_adds_sip_user(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob (XMPP) adds Alice (SIP)");
        self.front_end.set_presence(ALICE, &[Tuple::open("desk").note("writing the manual")])?;
        self.bob.add_contact(ALICE).await?;
        let asked = self.bob.last_sent().to_owned();
        let request = self.front_end.next_is("SUBSCRIBE").await?.request;
        ensure!(request.address("From")? == format!("sip:{BOB}"), "{request}");
        screen.beside(("SIP: the front end receives", &request.raw), ("XMPP: Bob sends", &asked));
        ensure!(self.bob.subscription_with(ALICE).await? == ("from".to_owned(), true));
        screen.done("the front end asks Alice; Bob waits");

        let watcher = self.watcher(1)?;
        self.front_end.accept(&watcher).await?;
        let consent = self.bob.next_presence_from(ALICE).await?;
        let presence = self.bob.next_presence_from(ALICE).await?;
        screen.beside(
            ("SIP: Alice agrees", &self.front_end.last_sent()),
            ("XMPP: Bob receives", &format!("{}\n{}", consent.raw, presence.raw)),
        );
        ensure!(kind(&consent) == "subscribed", "{consent}");
        ensure!(
            kind(&presence).is_empty() && text(&presence, "status") == "writing the manual",
            "{presence}"
        );
        ensure!(self.bob.subscription_with(ALICE).await? == ("both".to_owned(), false));
        screen.done("ejabberd has them on Bob's contact list as seeing each other");
        Ok(())
    }

    pub(super) async fn presence_both_ways(&mut self, watch: &mut Watch, screen: &mut Screen) -> Result<()> {
        screen.step("Alice and Bob say what they are doing");
        let note = "In a call – back at 3 & a bit";
        self.front_end.publish(ALICE, &[Tuple::open("desk").show("dnd").note(note)]).await?;
        let seen = self.bob.next_presence_from(ALICE).await?;
        screen.beside(
            ("SIP: the front end notifies", &self.front_end.last_sent()),
            ("XMPP: Bob receives", &seen.raw),
        );
        ensure!(text(&seen, "show") == "dnd" && text(&seen, "status") == note, "{seen}");
        screen.done("Bob sees Alice busy, with her note");

        let note = "Gone fishing 🎣";
        self.bob.show("xa", note, 5).await?;
        let notice = watch.until("Bob's note", |notice| notice.notes(note)).await?;
        screen.beside(
            ("SIP: the front end is notified", &notice.request.raw),
            ("XMPP: Bob sends", self.bob.last_sent()),
        );
        let desk = notice.document.as_ref().and_then(|document| document.tuple("ID-desk"));
        let desk = desk.with_context(|| format!("no tuple for Bob's desk:\n{}", notice.request))?;
        ensure!(desk.show.as_deref() == Some("xa"), "{}", notice.request);
        screen.done("Alice sees Bob away, with his note");
        Ok(())
    }

    pub(super) async fn stranger_waits(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Dave of litware.com (public-unverified) adds Alice and writes to her");
        self.dave.add_contact(ALICE).await?;
        let asked = self.dave.last_sent().to_owned();
        let id = self.dave.send_message(ALICE, "Hi, you do not know me").await?;
        let error = self.dave.next_message().await?;
        screen.beside(
            ("XMPP: Dave sends", &format!("{asked}\n{}", self.dave.last_sent())),
            ("XMPP: and receives", &error.raw),
        );
        ensure!(error.attribute("id") == Some(&id), "{error}");
        ensure!(error.condition() == Some("service-unavailable"), "{error}");
        let crossed = self.front_end.waiting().await;
        ensure!(crossed.is_empty(), "it reached the front end: {crossed:?}");
        screen.done("his message is refused as if there were no Alice; nothing of it reached the front end");
        ensure!(self.dave.subscription_with(ALICE).await? == ("none".to_owned(), true));
        screen.done("his request is kept: he gets no answer");
        Ok(())
    }

    pub(super) async fn stranger_is_added(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice adds Dave");
        let (mut watch, answer) = self.front_end.watch(ALICE, DAVE, "desk1", 3600).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let request = self.front_end.next_is("SUBSCRIBE").await?.request;
        screen.beside(
            ("SIP: the front end sends", watch.last_sent()),
            ("SIP: and receives what was kept", &request.raw),
        );
        ensure!(request.address("From")? == format!("sip:{DAVE}"), "{request}");
        screen.done("the request that was kept is there now, and Alice may answer it");
        let asked = self.dave.next_presence_from(ALICE).await?;
        ensure!(kind(&asked) == "subscribe", "{asked}");
        screen.done("Dave is asked whether she may see him");

        let watcher = self.watcher(2)?;
        self.front_end.accept(&watcher).await?;
        let accepted = self.front_end.last_sent();
        self.dave.approve(ALICE).await?;
        let seen = self
            .dave
            .presence_until(ALICE, "Alice's presence", &["unsubscribed"], |seen| kind(seen).is_empty())
            .await?;
        screen.beside(("SIP: Alice agrees", &accepted), ("XMPP: Dave receives", &seen.raw));
        ensure!(text(&seen, "show") == "dnd" && seen.child("status").is_none(), "{seen}");
        screen.done("Dave sees that she is busy; her note is not for a public partner's eyes");
        watch.until("Dave being there", |notice| notice.state == "active" && notice.is_open()).await?;
        let note = "at the harbour";
        self.dave.show("away", note, 0).await?;
        let notice = watch.until("Dave's note", |notice| notice.notes(note)).await?;
        screen.beside(
            ("XMPP: Dave shows", self.dave.last_sent()),
            ("SIP: Alice receives", &notice.request.raw),
        );
        screen.done("Alice sees what he is and his note");
        self.dave.send_message(ALICE, "Hi again").await?;
        // She has chatted since she refused to: she is asked again.
        self.front_end.next_is("INVITE").await?;
        let message = self.front_end.next_is("MESSAGE").await?.request;
        ensure!(message.body == "Hi again" && message.address("From")?.contains("dave"), "{message}");
        screen.done("his messages arrive");
        Ok(())
    }

    pub(super) async fn crash(&mut self, watch: &mut Watch, screen: &mut Screen) -> Result<()> {
        screen.step("The gateway is killed (kill -9) and started again");
        self.gateway.kill().await?;
        self.gateway.start_again().await?;
        for _ in 0..2 {
            let arrival = self.front_end.next_is("SUBSCRIBE").await?;
            ensure!(arrival.request.must("To")?.contains(";tag="), "not refreshed: {}", arrival.request);
            ensure!(arrival.status == 200, "{}", arrival.request);
        }
        screen.done("it has refreshed both subscriptions in the dialogs that were there");
        let note = "still here";
        self.front_end.publish(ALICE, &[Tuple::open("desk").note(note)]).await?;
        let never = ["unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed"];
        let seen = self.bob.presence_until(ALICE, note, &never, |seen| text(seen, "status") == note).await?;
        self.bob.show("", note, 5).await?;
        let notice = watch
            .until(note, |notice| notice.notes(note) || notice.state != "active" || !notice.is_open())
            .await?;
        ensure!(notice.notes(note), "flapped:\n{}", notice.request);
        screen.beside(
            ("SIP: the front end is notified", &notice.request.raw),
            ("XMPP: Bob receives", &seen.raw),
        );
        screen.done("Alice and Bob go on; neither was asked again, neither saw the other go");
        Ok(())
    }

    pub(super) async fn leave(&mut self, watch: &mut Watch, screen: &mut Screen) -> Result<()> {
        screen.step("The gateway is told to go (SIGTERM)");
        self.gateway.terminate().await?;
        let last = watch.until("the end", |notice| notice.state == "terminated").await?;
        screen.note(last.request.must("Subscription-State")?);
        ensure!(last.reason.as_deref() == Some("deactivated"), "{}", last.request);
        screen.done("the front end was told to subscribe again later");
        screen.done("it drained, closed its streams and ended with exit code 0");
        Ok(())
    }

    /// Who has begun to watch Alice last; so many do.
    fn watcher(&self, count: usize) -> Result<Watcher> {
        let watchers = self.front_end.watchers(ALICE);
        ensure!(watchers.len() == count, "{watchers:?}");
        watchers.last().cloned().context("nobody watches")
    }
}
