//! Sessions of instant messages, in the way of Lync: whoever invites, the session is the front end's affair, and what is said
//! in it is not.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::watched::{Reply, user_of};
use super::{FrontEnd, Line};
use crate::sip_text::SipMessage;

/// What a client of Lync offers and accepts.
const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.20\r\ns=session\r\nc=IN IP4 127.0.0.20\r\nt=0 0\r\n\
    m=message 5060 sip null\r\na=accept-types:text/plain multipart/alternative image/gif text/rtf text/html \
    application/x-ms-ink application/ms-imdn+xml text/x-msmsgsinvite\r\n";

/// What becomes of invitations to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invited {
    /// One of his clients accepts at once.
    Accept,
    /// It rings, until the gateway gives up.
    Ring,
    /// This status and reason.
    Refuse(u16, &'static str),
}

/// What is known of sessions.
#[derive(Debug, Default)]
pub(super) struct Chats {
    /// Who is not in here is not there.
    users: HashMap<String, Invited>,
    /// Call-ID and our tag of the sessions that there are.
    open: Vec<(String, String)>,
    /// Invitations that ring.
    ringing: Vec<SipMessage>,
}

/// A session, as the SIP user's side has it.
#[derive(Debug)]
pub struct Chat {
    front_end: FrontEnd,
    call_id: String,
    /// From and To of our requests, tags and all.
    from: String,
    to: String,
    /// The Contact of the gateway.
    target: String,
    /// Who stands in between, as seen from here.
    route: Vec<String>,
    cseq: u32,
}

impl FrontEnd {
    /// From now on invitations to the user are treated like this.
    pub fn when_invited(&self, user: &str, invited: Invited) {
        self.book().chats.users.insert(user.to_owned(), invited);
    }

    /// The user's client invites the contact; the session is there if the answer, whatever it is, is 200.
    pub async fn invite(&self, user: &str, contact: &str) -> Result<(Option<Chat>, SipMessage)> {
        let (call_id, tag) = (self.fresh("i"), self.fresh("f"));
        let mut chat = Chat {
            front_end: self.clone(),
            call_id,
            from: format!("<sip:{user}>;tag={tag};epid=0123456789"),
            to: format!("<sip:{contact}>"),
            target: format!("sip:{contact}"),
            route: Vec::new(),
            cseq: 1,
        };
        let own = format!("<{};lr;ms-route-sig=x/y=>", self.uri());
        let media = ("Content-Type", "application/sdp");
        let more = [
            ("Record-Route", own.as_str()),
            ("Contact", &format!("<sip:{user};opaque=user:epid:chat;gruu>")),
            ("Supported", "timer"),
            ("Supported", "ms-embedded-first-message"),
            ("ms-text-format", "text/plain; charset=UTF-8; ms-body=aGVsbG8="),
            ("Allow", "INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE"),
            media,
        ];
        let answer = self.ask(&chat.request("INVITE", &more, DESCRIPTION)).await?;
        if answer.status() != Some(200) {
            return Ok((None, answer));
        }
        ensure!(answer.body.contains("m=message"), "no session:\n{answer}");
        chat.to = answer.must("To")?.to_owned();
        chat.target = answer.address("Contact")?.to_owned();
        chat.route =
            answer.all("Record-Route").filter(|at| !at.contains(&self.uri())).map(str::to_owned).collect();
        chat.route.reverse();
        self.tell(&chat.request("ACK", &[], "")).await?;
        self.book().chats.open.push((chat.call_id.clone(), tag));
        Ok((Some(chat), answer))
    }

    /// The front end forgets all sessions, as after a restart: what comes in them gets 481.
    pub fn forget_chats(&self) {
        self.book().chats.open.clear();
    }

    /// The session that an invitation of the gateway's has begun.
    pub fn chat_of(&self, invite: &SipMessage) -> Result<Chat> {
        Ok(Chat {
            front_end: self.clone(),
            call_id: invite.must("Call-ID")?.to_owned(),
            from: format!("{};tag={}", invite.must("To")?, tag_for(invite)?),
            to: invite.must("From")?.to_owned(),
            target: invite.address("Contact")?.to_owned(),
            route: invite.all("Record-Route").map(str::to_owned).collect(),
            cseq: 0,
        })
    }

    /// The answer to an invitation.
    pub(super) fn take_invite(&self, request: &SipMessage) -> Result<Reply> {
        let user = user_of(request)?;
        let mut book = self.book();
        let (status, answer) = match book.chats.users.get(&user) {
            None => (404, request.answer(404, "Not Found", &[])?),
            Some(&Invited::Refuse(status, reason)) => (status, request.answer(status, reason, &[])?),
            Some(Invited::Ring) => {
                book.chats.ringing.push(request.clone());
                (180, request.answer(180, "Ringing", &[])?)
            }
            Some(Invited::Accept) => {
                ensure!(request.body.contains("m=message"), "no session of messages:\n{request}");
                let mut headers = vec![
                    ("Contact", format!("<sip:{user};opaque=user:epid:chat;gruu>")),
                    ("Content-Type", "application/sdp".to_owned()),
                    ("Record-Route", self.record_route()),
                ];
                headers.extend(request.all("Record-Route").map(|entry| ("Record-Route", entry.to_owned())));
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let tag = tag_for(request)?;
                let answer = request.answer_with(200, "OK", &headers, DESCRIPTION)?;
                book.chats.open.push((request.must("Call-ID")?.to_owned(), tag.clone()));
                (200, answer.replace(";tag=agent", &format!(";tag={tag}")))
            }
        };
        Ok((status, answer, None))
    }

    /// The gateway gives up: 200 to that, and 487 to the invitation itself.
    pub(super) fn take_cancel(&self, request: &SipMessage) -> Result<Reply> {
        let mut book = self.book();
        let ringing = &mut book.chats.ringing;
        let at = ringing.iter().position(|invite| invite.header("Call-ID") == request.header("Call-ID"));
        let Some(at) = at else {
            return Ok((481, request.answer(481, "Call/Transaction Does Not Exist", &[])?, None));
        };
        let invite = ringing.remove(at);
        let both = request.answer(200, "OK", &[])? + &invite.answer(487, "Request Terminated", &[])?;
        Ok((200, both, None))
    }

    /// The answer to what belongs to a session; none: it belongs to none.
    pub(super) fn take_in_chat(&self, request: &SipMessage) -> Result<Option<Reply>> {
        let Some((_, tag)) = request.must("To")?.split_once(";tag=") else { return Ok(None) };
        let tag = tag.split(';').next().unwrap_or_default();
        let call_id = request.must("Call-ID")?;
        let mut book = self.book();
        let at = book.chats.open.iter().position(|(of, ours)| of == call_id && ours == tag);
        let Some(at) = at else {
            return Ok(Some((481, request.answer(481, "Call/Transaction Does Not Exist", &[])?, None)));
        };
        if request.method() == Some("BYE") {
            book.chats.open.remove(at);
        }
        Ok(Some((200, request.answer(200, "OK", &[])?, None)))
    }

    /// Sends something that has no answer.
    async fn tell(&self, request: &str) -> Result<()> {
        let line = self.inner.line.lock().await;
        let line = line.as_ref().filter(|line| !Line::has_ended(line)).context("no connection")?;
        line.send(request).await.map(drop)
    }
}

impl Chat {
    /// The user says something.
    pub async fn say(&mut self, body: &str) -> Result<SipMessage> {
        self.ask("MESSAGE", "text/plain;charset=UTF-8", body).await
    }

    /// The user types, or has stopped.
    pub async fn types(&mut self, typing: bool) -> Result<SipMessage> {
        let status = if typing { "type" } else { "idle" };
        let body = format!("<KeyboardActivity><status status=\"{status}\"/></KeyboardActivity>");
        self.ask("INFO", "application/xml", &body).await
    }

    /// The user closes the window.
    pub async fn bye(mut self) -> Result<SipMessage> {
        self.cseq += 1;
        let text = self.request("BYE", &[], "");
        let call_id = self.call_id.clone();
        self.front_end.book().chats.open.retain(|(open, _)| *open != call_id);
        self.front_end.ask(&text).await
    }

    /// The Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    async fn ask(&mut self, method: &str, media: &str, body: &str) -> Result<SipMessage> {
        self.cseq += 1;
        let text = self.request(method, &[("Content-Type", media)], body);
        self.front_end.ask(&text).await
    }

    fn request(&self, method: &str, more: &[(&str, &str)], body: &str) -> String {
        // An ACK has the number of its INVITE.
        let cseq = format!("{} {method}", if method == "ACK" { 1 } else { self.cseq });
        let mut headers = vec![
            ("From", self.from.as_str()),
            ("To", self.to.as_str()),
            ("Call-ID", self.call_id.as_str()),
            ("CSeq", cseq.as_str()),
        ];
        headers.extend(more);
        self.front_end.request((method, &self.target), &self.route, &headers, body)
    }
}

/// The tag that we give the session of an invitation.
fn tag_for(invite: &SipMessage) -> Result<String> {
    Ok(format!("s{}", invite.must("Call-ID")?.split('@').next().unwrap_or_default()))
}
