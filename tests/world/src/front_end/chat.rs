//! Sessions of instant messages, in the way of Lync: whoever invites, the session is the front end's affair, and what is said
//! in it is not.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::FrontEnd;
use super::watched::{Reply, user_of};
use crate::sip_text::SipMessage;

/// What a description begins with, whoever writes it.
const HEAD: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.20\r\ns=session\r\nc=IN IP4 127.0.0.20\r\nt=0 0\r\n";
/// The media type of descriptions.
pub const DESCRIPTION: &str = "application/sdp";

/// Whose clients the users have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clients {
    /// Lync's.
    #[default]
    Lync,
    /// Some that read what RFCs have: message/cpim with notifications (RFC 5438), isComposing (RFC 3994).
    Rfc,
}

impl Clients {
    /// What they offer and accept.
    pub fn description(self) -> String {
        let accepted = match self {
            Self::Lync => {
                "text/plain multipart/alternative image/gif text/rtf text/html application/x-ms-ink \
                 application/ms-imdn+xml text/x-msmsgsinvite"
            }
            Self::Rfc => "text/plain message/cpim message/imdn+xml application/im-iscomposing+xml",
        };
        format!("{HEAD}m=message 5060 sip null\r\na=accept-types:{accepted}\r\n")
    }

    /// The same with a call beside the messages.
    pub fn with_audio(self) -> String {
        self.description() + "m=audio 4000 RTP/AVP 0\r\n"
    }

    /// A description of these media and no others, one line each.
    pub fn only(media: &str) -> String {
        format!("{HEAD}{media}\r\n")
    }
}

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
    clients: Clients,
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
    /// Where his client is.
    contact: String,
    /// The Contact of the gateway.
    target: String,
    /// Who stands in between, as seen from here.
    route: Vec<String>,
    cseq: u32,
}

impl FrontEnd {
    /// From now on the users have such clients.
    pub fn clients_are(&self, clients: Clients) {
        self.book().chats.clients = clients;
    }

    /// From now on invitations to the user are treated like this.
    pub fn when_invited(&self, user: &str, invited: Invited) {
        self.book().chats.users.insert(user.to_owned(), invited);
    }

    /// The user's client invites the contact; the session is there if the answer, whatever it is, is 200.
    pub async fn invite(&self, user: &str, contact: &str) -> Result<(Option<Chat>, SipMessage)> {
        let description = self.book().chats.clients.description();
        self.invite_with(user, contact, (DESCRIPTION, &description), &[]).await
    }

    /// As [`Self::invite`], with any body and further header fields.
    pub async fn invite_with(
        &self,
        user: &str,
        contact: &str,
        (media, body): (&str, &str),
        more: &[(&str, &str)],
    ) -> Result<(Option<Chat>, SipMessage)> {
        let (call_id, tag) = (self.fresh("i"), self.fresh("f"));
        let mut chat = Chat {
            front_end: self.clone(),
            call_id,
            from: format!("<sip:{user}>;tag={tag};epid=0123456789"),
            to: format!("<sip:{contact}>"),
            contact: client_of(user),
            target: format!("sip:{contact}"),
            route: Vec::new(),
            cseq: 1,
        };
        let own = format!("<{};lr;ms-route-sig=x/y=>", self.uri());
        let fields = [
            ("Record-Route", own.as_str()),
            ("Contact", &format!("<{}>", chat.contact)),
            ("Supported", "timer"),
            ("Supported", "ms-embedded-first-message"),
            ("ms-text-format", "text/plain; charset=UTF-8; ms-body=aGVsbG8="),
            ("Allow", "INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE"),
            ("Content-Type", media),
        ];
        let fields = [&fields, more].concat();
        let answer = self.ask(&chat.request("INVITE", &fields, body)).await?;
        if answer.status() != Some(200) {
            return Ok((None, answer));
        }
        ensure!(answer.body.contains("m=message"), "no session:\n{answer}");
        chat.to = answer.must("To")?.to_owned();
        chat.target = answer.address("Contact")?.to_owned();
        chat.route =
            answer.all("Record-Route").filter(|at| !at.contains(&self.uri())).map(str::to_owned).collect();
        chat.route.reverse();
        // Open before the ACK leaves: what is said in it may be here as soon as that is read.
        self.book().chats.open.push((chat.call_id.clone(), tag));
        self.tell(&chat.request("ACK", &[], "")).await?;
        Ok((Some(chat), answer))
    }

    /// The front end forgets all sessions, as after a restart: what comes in them gets 481.
    pub fn forget_chats(&self) {
        self.book().chats.open.clear();
    }

    /// Withdraws an invitation, whatever has become of it.
    pub async fn cancel(&self, invite: &str) -> Result<SipMessage> {
        let invite = SipMessage::take(&mut invite.as_bytes().to_vec())?.context("no request")?;
        let uri = invite.start.split(' ').nth(1).context("no Request-URI")?;
        let mut text = format!("CANCEL {uri} SIP/2.0\r\n");
        for name in ["Via", "Max-Forwards", "From", "To", "Call-ID"] {
            text += &format!("{name}: {}\r\n", invite.must(name)?);
        }
        self.ask(&(text + "CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n")).await
    }

    /// The session that an invitation of the gateway's has begun.
    pub fn chat_of(&self, invite: &SipMessage) -> Result<Chat> {
        Ok(Chat {
            front_end: self.clone(),
            call_id: invite.must("Call-ID")?.to_owned(),
            from: format!("{};tag={}", invite.must("To")?, tag_for(invite)?),
            to: invite.must("From")?.to_owned(),
            contact: client_of(&user_of(invite)?),
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
                    ("Contact", format!("<{}>", client_of(&user))),
                    ("Content-Type", DESCRIPTION.to_owned()),
                    ("Record-Route", self.record_route()),
                ];
                headers.extend(request.all("Record-Route").map(|entry| ("Record-Route", entry.to_owned())));
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let tag = tag_for(request)?;
                let answer = request.answer_with(200, "OK", &headers, &book.chats.clients.description())?;
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
        let open = line.as_ref().filter(|(_, line)| !line.has_ended());
        let (_, line) = open.context("no connection")?;
        line.send(request).await.map(drop)
    }
}

impl Chat {
    /// The user says something.
    pub async fn say(&mut self, body: &str) -> Result<SipMessage> {
        self.say_as("text/plain;charset=UTF-8", body).await
    }

    /// As [`Self::say`], of any media type.
    pub async fn say_as(&mut self, media: &str, body: &str) -> Result<SipMessage> {
        self.ask("MESSAGE", &[("Content-Type", media)], body).await
    }

    /// The user types, or has stopped.
    pub async fn types(&mut self, typing: bool) -> Result<SipMessage> {
        let status = if typing { "type" } else { "idle" };
        let body = format!("<KeyboardActivity><status status=\"{status}\"/></KeyboardActivity>");
        self.ask("INFO", &[("Content-Type", "application/xml")], &body).await
    }

    /// re-INVITE with this description, from this client of the user's; acknowledged if the answer is 200.
    pub async fn invite_again(&mut self, client: &str, description: &str) -> Result<SipMessage> {
        let contact = format!("<{client}>");
        let answer =
            self.ask("INVITE", &[("Contact", &contact), ("Content-Type", DESCRIPTION)], description).await?;
        if answer.status() == Some(200) {
            client.clone_into(&mut self.contact);
            self.target = answer.address("Contact")?.to_owned();
            self.front_end.tell(&self.request("ACK", &[], "")).await?;
        }
        Ok(answer)
    }

    /// UPDATE without a description, with further header fields.
    pub async fn update(&mut self, more: &[(&str, &str)]) -> Result<SipMessage> {
        let contact = format!("<{}>", self.contact);
        self.ask("UPDATE", &[&[("Contact", contact.as_str())], more].concat(), "").await
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

    /// The address of the user's client.
    pub fn client(&self) -> &str {
        &self.contact
    }

    /// Any request of the user's client.
    pub async fn ask(&mut self, method: &str, more: &[(&str, &str)], body: &str) -> Result<SipMessage> {
        self.cseq += 1;
        let text = self.request(method, more, body);
        self.front_end.ask(&text).await
    }

    fn request(&self, method: &str, more: &[(&str, &str)], body: &str) -> String {
        // An ACK, which follows its INVITE at once, has the number of that.
        let cseq = format!("{} {method}", self.cseq);
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

/// The GRUU of a client of the user's.
fn client_of(user: &str) -> String {
    format!("sip:{user};opaque=user:epid:chat;gruu")
}
