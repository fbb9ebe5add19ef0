//! The machine on a virtual clock.

mod callee;
mod caller;
mod hostile;
mod inside;
mod link;
mod random;
mod timers;

use std::time::{Duration, Instant};

use compact_str::{CompactString, format_compact};

use super::*;
use crate::ResponseHead;
use crate::dialog::{Answer, Tokens};

pub(super) const OURS: &str = "sip:romeo@im.example";
/// An INVITE of that user's.
pub(super) fn invitation(local_uri: &str) -> Invitation<'_> {
    Invitation { local_uri, remote_uri: THEIRS, conversation: Some("conv1"), call_word: None }
}

pub(super) const THEIRS: &str = "sip:juliet@sip.example";
pub(super) const OFFER: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
     m=message 5060 sip null\r\na=accept-types:text/plain text/html\r\n";
pub(super) const AUDIO: &str = "m=audio 49170 RTP/AVP 0\r\n";

/// Configuration, clock, chance.
pub(super) struct World {
    pub(super) config: SessionConfig,
    tokens: Counted,
    pub(super) start: Instant,
    pub(super) now: Instant,
}

struct Counted(u32);

impl Tokens for Counted {
    fn token(&mut self) -> CompactString {
        self.0 += 1;
        format_compact!("tok{}x", self.0)
    }

    fn random(&mut self) -> u64 {
        u64::MAX / 2
    }
}

impl World {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let config = SessionConfig::new("gw.example:5061", "gw.example:5061", [192, 0, 2, 1].into());
        Self { config, tokens: Counted(0), start: now, now }
    }

    pub(super) fn cx(&mut self) -> Context<'_> {
        Context { config: &self.config, tokens: &mut self.tokens, now: self.now }
    }

    pub(super) fn at(&mut self, millis: u64) {
        self.now = self.start + Duration::from_millis(millis);
    }
}

/// An output of a session, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Bound,
    Released,
    Send(String),
    Cancel,
    Repeat,
    Ringing(u16),
    Established,
    Failed(String),
    Message(u32, String),
    Ended(SessionEnd),
}

pub(super) fn send(method: &str) -> Did {
    Did::Send(method.to_owned())
}

pub(super) fn failed(why: &str) -> Did {
    Did::Failed(why.to_owned())
}

/// A session and what its caller holds.
pub(super) struct Rig {
    pub(super) world: World,
    pub(super) session: Session,
    /// Requests it sent, oldest first.
    pub(super) sent: Vec<(u32, Message)>,
    /// CSeq of the other side's last request.
    pub(super) cseq: u32,
    /// What stands on the last CANCEL.
    pub(super) parting: Fields,
}

impl Rig {
    /// INVITE has left.
    pub(super) fn inviting() -> Self {
        let mut world = World::new();
        let session = Session::invite(&invitation(OURS), &mut world.cx()).unwrap();
        let mut rig = Self { world, session, sent: Vec::new(), cseq: 0, parting: Fields::default() };
        assert_eq!(rig.did(), [Did::Bound, send("INVITE")]);
        rig
    }

    /// … and was accepted.
    pub(super) fn called() -> Self {
        let mut rig = Self::inviting();
        assert_eq!(rig.accepted(&[]), [send("ACK"), Did::Established]);
        rig
    }

    /// An INVITE with these fields was accepted.
    pub(super) fn invited_with(extra: &[&str]) -> (Self, Answer) {
        let mut world = World::new();
        let request = invite(extra, OFFER);
        let invited = check_invite(&request, &world.config).unwrap();
        let (session, answer) = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap();
        let mut rig = Self { world, session, sent: Vec::new(), cseq: 1, parting: Fields::default() };
        assert_eq!(rig.did(), [Did::Bound]);
        (rig, answer)
    }

    pub(super) fn invited() -> Self {
        Self::invited_with(&[]).0
    }

    /// … and acknowledged.
    pub(super) fn answering() -> Self {
        let mut rig = Self::invited();
        assert_eq!(rig.ack(1), [Did::Established]);
        rig
    }

    pub(super) fn did(&mut self) -> Vec<Did> {
        let mut did = Vec::new();
        while let Some(output) = self.session.poll() {
            did.push(match output {
                SessionOutput::Bound(_) => Did::Bound,
                SessionOutput::Released(_) => Did::Released,
                SessionOutput::Send { serial, request } => {
                    let request = Message::parse(request.bytes().clone()).unwrap();
                    crate::check_request_with(&request, &["timer"]).unwrap();
                    let method = request.method().as_str().to_owned();
                    self.sent.push((serial, request));
                    Did::Send(method)
                }
                SessionOutput::Cancel { branch, fields } => {
                    self.parting = fields;
                    let (_, invite) = self.sent.iter().rfind(|(_, m)| m.method() == Method::Invite).unwrap();
                    assert_eq!(invite.top_via().unwrap().branch(), Some(branch.as_str()));
                    Did::Cancel
                }
                SessionOutput::Repeat => Did::Repeat,
                SessionOutput::Report(report) => match report {
                    SessionReport::Ringing { status } => Did::Ringing(status),
                    SessionReport::Established => Did::Established,
                    SessionReport::Failed(why) => Did::Failed(match *why {
                        InviteFailure::Refused(message) => message.status().unwrap().to_string(),
                        why => format!("{why:?}"),
                    }),
                    SessionReport::Message { serial, outcome } => Did::Message(
                        serial,
                        match outcome {
                            MessageOutcome::Refused(message) => message.status().unwrap().to_string(),
                            outcome => format!("{outcome:?}"),
                        },
                    ),
                    SessionReport::Ended(why) => Did::Ended(why),
                },
            });
        }
        did
    }

    /// The last request of this method.
    pub(super) fn last(&self, method: &str) -> (u32, Message) {
        self.sent.iter().rfind(|(_, request)| request.method().as_str() == method).cloned().unwrap()
    }

    /// Answers the last request of this method.
    pub(super) fn answer(&mut self, method: &str, status: u16, extra: &[(&str, &str)]) -> Vec<Did> {
        let (serial, request) = self.last(method);
        let response = response(&request, status, "fe1", extra, "");
        self.session.response(serial, &response, &mut self.world.cx());
        self.did()
    }

    /// Accepts the INVITE.
    pub(super) fn accepted(&mut self, extra: &[(&str, &str)]) -> Vec<Did> {
        let (serial, request) = self.last("INVITE");
        let response = response(&request, 200, "fe1", &[&[CONTACT], extra].concat(), OFFER);
        self.session.response(serial, &response, &mut self.world.cx());
        self.did()
    }

    pub(super) fn early(&mut self, status: u16, tag: &str) -> Vec<Did> {
        let (_, request) = self.last("INVITE");
        let response = response(&request, status, tag, &[CONTACT], OFFER);
        self.session.early(&response, &mut self.world.cx());
        self.did()
    }

    pub(super) fn fails(&mut self, method: &str, why: Undelivered) -> Vec<Did> {
        let (serial, _) = self.last(method);
        self.session.failed(serial, why, &mut self.world.cx());
        self.did()
    }

    pub(super) fn tick(&mut self, millis: u64) -> Vec<Did> {
        self.world.at(millis);
        self.session.handle_timeout(&mut self.world.cx());
        self.did()
    }

    /// A request inside the session. `None`: the caller answers it.
    pub(super) fn request(&mut self, method: &str, extra: &[&str], body: &str) -> (Option<Answer>, Vec<Did>) {
        self.cseq += 1;
        self.request_as(method, self.cseq, extra, body)
    }

    pub(super) fn request_as(
        &mut self,
        method: &str,
        cseq: u32,
        extra: &[&str],
        body: &str,
    ) -> (Option<Answer>, Vec<Did>) {
        let request = self.inside(method, cseq, extra, body);
        let answer = match self.session.request(&request, &mut self.world.cx()) {
            Received::Answer(answer) => Some(answer),
            Received::Content => None,
        };
        (answer, self.did())
    }

    pub(super) fn status(&mut self, method: &str, extra: &[&str], body: &str) -> u16 {
        self.request(method, extra, body).0.map_or(0, |answer| answer.status)
    }

    pub(super) fn ack(&mut self, cseq: u32) -> Vec<Did> {
        self.ack_with(cseq, "")
    }

    pub(super) fn ack_with(&mut self, cseq: u32, body: &str) -> Vec<Did> {
        let ack = self.inside("ACK", cseq, &[], body);
        self.session.acknowledged(&ack, &mut self.world.cx());
        self.did()
    }

    fn inside(&self, method: &str, cseq: u32, extra: &[&str], body: &str) -> Message {
        let tag = Some(self.session.dialog.remote_tag()).filter(|tag| !tag.is_empty()).unwrap_or("fe1");
        let to = format!("To: <{OURS}>;tag={}", self.session.local_tag());
        let from = format!("From: <{THEIRS}>;tag={tag}");
        let call_id = format!("Call-ID: {}", self.session.call_id());
        let number = format!("CSeq: {cseq} {method}");
        message(&format!("{method} {OURS}"), &[&[&*to, &from, &call_id, &number], extra].concat(), body)
    }

    pub(super) fn say(&mut self) -> u32 {
        self.session.message(&[], ("text/plain", b"hi"), &mut self.world.cx()).unwrap()
    }
}

pub(super) const CONTACT: (&str, &str) = ("Contact", "<sip:juliet@pc.example;gruu>");

/// An INVITE as Lync sends it.
pub(super) fn invite(extra: &[&str], body: &str) -> Message {
    let lines = [
        "From: <sip:juliet@sip.example>;tag=fe1",
        "To: <sip:romeo@im.example>",
        "Call-ID: call1",
        "CSeq: 1 INVITE",
        "Contact: <sip:juliet@sip.example;opaque=user:epid:x;gruu>",
        "Record-Route: <sip:fe.example;lr;sig=x%2F>",
        "Allow: INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE, REFER, NOTIFY, BENOTIFY",
    ];
    message(&format!("INVITE {OURS}"), &[&lines, extra].concat(), body)
}

fn message(start: &str, lines: &[&str], body: &str) -> Message {
    let mut text =
        format!("{start} SIP/2.0\r\nVia: SIP/2.0/TLS fe.example;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n");
    lines.iter().for_each(|line| text.extend([line, "\r\n"]));
    let typed = lines.iter().any(|line| line.starts_with("Content-Type"));
    if !body.is_empty() && !typed {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Message::parse(text.into()).unwrap()
}

pub(super) fn response(
    request: &Message,
    status: u16,
    tag: &str,
    extra: &[(&str, &str)],
    body: &str,
) -> Message {
    let source = "192.0.2.1:5061".parse().unwrap();
    let body = (!body.is_empty()).then_some(("application/sdp", body.as_bytes()));
    let mut out = Vec::new();
    ResponseHead::from_request(request, tag, source).unwrap().write(&mut out, status, "", extra, body);
    Message::parse(out.into()).unwrap()
}

/// The `m=` lines of an answer.
pub(super) fn media(answer: &Answer) -> Vec<String> {
    let (media, body) = answer.body.as_deref().unwrap();
    assert_eq!(*media, MEDIA_TYPE);
    let text = std::str::from_utf8(body).unwrap();
    text.lines().filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
}

pub(super) const MESSAGES: &str = "m=message 5060 sip sip:romeo@im.example";
