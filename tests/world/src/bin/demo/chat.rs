//! The steps about chats: sessions, as clients of Lync have them, that either side begins.

use anyhow::{Context, Result, ensure};
use nuncio_world::front_end::Invited;
use nuncio_world::screen::Screen;

use super::{ALICE, BOB, Cast};

impl Cast {
    pub(super) async fn sip_user_begins_a_chat(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice (SIP) opens a chat with Bob (XMPP), as clients of Lync do");
        let (chat, answer) = self.front_end.invite(ALICE, BOB).await?;
        screen.beside(
            ("SIP: the front end sends", &self.front_end.last_sent()),
            ("SIP: and is answered", &answer.raw),
        );
        let mut chat = chat.context("the invitation was refused")?;
        let heard = self.bob.stanzas_before_ping("invited").await?;
        ensure!(heard.is_empty(), "Bob knows of no chats, and received {heard:?}");
        screen.done("accepted on behalf of Bob, who hears nothing of it before she says something");

        let answer = chat.say("Do you have a minute?").await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let said = self.front_end.last_sent();
        let message = self.bob.next_message().await?;
        screen.beside(("SIP: the front end sends", &said), ("XMPP: Bob receives", &message.raw));
        ensure!(message.body() == Some("Do you have a minute?"), "{message}");
        let thread = message.child("thread").context("no thread")?.text.clone();
        ensure!(chat.call_id().starts_with(&thread), "{message}");
        screen.done("the chat is a thread for Bob");

        self.bob.send_message(ALICE, "For you, always").await?;
        let request = self.front_end.next_is("MESSAGE").await?.request;
        screen
            .beside(("SIP: the front end receives", &request.raw), ("XMPP: Bob sends", self.bob.last_sent()));
        ensure!(request.must("Call-ID")? == chat.call_id() && request.body == "For you, always", "{request}");
        let answer = chat.bye().await?;
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done("his answer came in the chat, and Alice closed it (BYE)");
        Ok(())
    }

    pub(super) async fn xmpp_user_begins_a_chat(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob (XMPP) begins one with Carol (SIP)");
        const CAROL: &str = "carol@contoso.com";
        self.front_end.when_invited(CAROL, Invited::Accept);
        self.bob.send_message(CAROL, "Are you there?").await?;
        let sent = self.bob.last_sent().to_owned();
        let invite = self.front_end.next_is("INVITE").await?.request;
        screen.beside(("SIP: the front end receives", &invite.raw), ("XMPP: Bob sends", &sent));
        ensure!(invite.address("From")? == format!("sip:{BOB}"), "{invite}");
        let mut chat = self.front_end.chat_of(&invite)?;
        let first = self.front_end.next_is("MESSAGE").await?.request;
        ensure!(first.body == "Are you there?" && first.must("Call-ID")? == chat.call_id(), "{first}");
        screen.done("his first message invites her, and follows when she has accepted");

        let answer = chat.say("I am").await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let said = self.front_end.last_sent();
        let message = self.bob.next_message().await?;
        screen.beside(("SIP: the front end sends", &said), ("XMPP: Bob receives", &message.raw));
        ensure!(message.body() == Some("I am"), "{message}");
        let answer = chat.bye().await?;
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done("she answered in it, and closed it");
        Ok(())
    }
}
