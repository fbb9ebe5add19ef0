//! The machines on a virtual clock.

mod check;
mod dialog;
mod extras;
mod hostile;
mod link;
mod notifier;
mod notifier_ends;
mod restore;
mod subscriber;
mod subscriber_ends;
mod subscriber_notify;
mod watcher;

use std::time::{Duration, Instant};

use compact_str::{CompactString, format_compact};

use super::*;
use crate::{HeaderName, Message, ResponseHead};
use watcher::{NotRig, Told, notify, subscribe};

/// What everybody shares: configuration, clock, chance.
pub(super) struct World {
    pub(super) config: EventConfig,
    pub(super) tokens: Seeded,
    pub(super) start: Instant,
    pub(super) now: Instant,
}

pub(super) struct Seeded {
    state: u64,
    given: u32,
}

impl Tokens for Seeded {
    fn token(&mut self) -> CompactString {
        self.given += 1;
        format_compact!("tok{}x", self.given)
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let config = EventConfig::presence("gw.example:5061", "gw.example:5061");
        Self { config, tokens: Seeded { state: seed, given: 0 }, start: now, now }
    }

    pub(super) fn cx(&mut self) -> Context<'_> {
        Context { config: &self.config, tokens: &mut self.tokens, now: self.now }
    }

    pub(super) fn at(&mut self, millis: u64) {
        self.now = self.start + Duration::from_millis(millis);
    }

    pub(super) fn chance(&mut self, of: u64) -> u64 {
        self.tokens.random() % of
    }
}

/// A message out of lines; the body's length is filled in.
pub(super) fn message(lines: &[&str], body: &str) -> Message {
    let mut text = lines.join("\r\n");
    text.push_str(&format!("\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    Message::parse(text.into()).unwrap()
}

/// The response to a request, as the front end writes it.
pub(super) fn response(request: &Message, status: u16, to_tag: &str, extra: &[(&str, &str)]) -> Message {
    let source = "192.0.2.1:5061".parse().unwrap();
    let mut out = Vec::new();
    ResponseHead::from_request(request, to_tag, source).unwrap().write(&mut out, status, "", extra, None);
    Message::parse(out.into()).unwrap()
}

/// What a front end sends for the SUBSCRIBE it got, unless told otherwise.
pub(super) struct Notify<'a> {
    pub(super) cseq: u32,
    pub(super) tag: &'a str,
    pub(super) event: &'a str,
    pub(super) state: &'a str,
    pub(super) body: &'a str,
    pub(super) extra: &'a [&'a str],
}

impl Default for Notify<'_> {
    fn default() -> Self {
        Self { cseq: 1, tag: "fe1", event: "presence", state: "active;expires=3600", body: "", extra: &[] }
    }
}

impl Notify<'_> {
    pub(super) fn to(&self, subscribe: &Message) -> Message {
        let from = subscribe.from_header().unwrap();
        let to = subscribe.to_header().unwrap();
        let target = subscribe.contacts().next().unwrap().unwrap();
        let mut lines = vec![
            format!("NOTIFY {} SIP/2.0", target.uri),
            "Via: SIP/2.0/TLS fe.example:5061;branch=z9hG4bKn".into(),
            "Max-Forwards: 70".into(),
            format!("From: <{}>;tag={}", to.uri, self.tag),
            format!("To: <{}>;tag={}", from.uri, from.tag().unwrap()),
            format!("Call-ID: {}", subscribe.call_id().unwrap()),
            format!("CSeq: {} NOTIFY", self.cseq),
        ];
        if !self.event.is_empty() {
            lines.push(format!("Event: {}", self.event));
        }
        if !self.state.is_empty() {
            lines.push(format!("Subscription-State: {}", self.state));
        }
        let typed = self.extra.iter().any(|line| line.starts_with("Content-Type"));
        if !self.body.is_empty() && !typed {
            lines.push("Content-Type: application/pidf+xml".into());
        }
        lines.extend(self.extra.iter().map(|line| (*line).to_owned()));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        message(&lines, self.body)
    }
}

pub(super) fn expires(request: &Message) -> u32 {
    request.expires().unwrap().unwrap()
}

pub(super) fn cseq(request: &Message) -> u32 {
    request.cseq().unwrap().number
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A subscriber and the other end of its wire.
pub(super) struct SubRig {
    pub(super) world: World,
    pub(super) machine: Subscriber,
    /// The last SUBSCRIBE it sent.
    pub(super) serial: u32,
    pub(super) sent: Option<Message>,
    /// Number of our last NOTIFY.
    pub(super) cseq: u32,
}

/// An output of a subscriber, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Bound,
    Released,
    /// SUBSCRIBE with this Expires.
    Send(u32),
    Pending,
    /// The body.
    Active(Option<String>),
    Ended(EndReason, Again),
    Refused(u16, bool),
    Failed(SubscribeFailure),
}

pub(super) const GONE: Did = Did::Ended(EndReason::Unsubscribed, Again::Never);

impl SubRig {
    pub(super) fn idle() -> Self {
        let machine = Subscriber::new("sip:juliet@im.example", "sip:romeo@sip.example").unwrap();
        Self { world: World::new(7), machine, serial: 0, sent: None, cseq: 0 }
    }

    /// SUBSCRIBE was sent.
    pub(super) fn trying() -> Self {
        let mut rig = Self::idle();
        rig.machine.subscribe(&mut rig.world.cx());
        assert_eq!(rig.did(), [Did::Bound, Did::Send(3600)]);
        rig
    }

    /// 2xx and the first NOTIFY have come.
    pub(super) fn live() -> Self {
        let mut rig = Self::trying();
        assert_eq!(rig.ok(), []);
        assert_eq!(rig.notify("active;expires=3600"), (200, vec![Did::Active(None)]));
        rig
    }

    /// … and the refresh was sent.
    pub(super) fn refreshing() -> Self {
        let mut rig = Self::live();
        rig.machine.refresh(&mut rig.world.cx());
        assert_eq!(rig.did(), [Did::Send(3600)]);
        rig
    }

    pub(super) fn sent(&self) -> &Message {
        self.sent.as_ref().unwrap()
    }

    pub(super) fn did(&mut self) -> Vec<Did> {
        let mut did = Vec::new();
        while let Some(output) = self.machine.poll() {
            did.push(match output {
                SubscriberOutput::Bound(_) => Did::Bound,
                SubscriberOutput::Released(_) => Did::Released,
                SubscriberOutput::Send { serial, request } => {
                    let request = Message::parse(request.bytes().clone()).unwrap();
                    assert_eq!(request.method(), crate::Method::Subscribe, "DEC-08: we never notify");
                    let did = Did::Send(expires(&request));
                    (self.serial, self.sent) = (serial, Some(request));
                    did
                }
                SubscriberOutput::Report(report) => match report {
                    SubscriberReport::Pending => Did::Pending,
                    SubscriberReport::Active { document } => Did::Active(document.as_ref().map(body)),
                    SubscriberReport::Ended { reason, again, .. } => Did::Ended(reason, again),
                    SubscriberReport::Refused { status, refresh, .. } => Did::Refused(status, refresh),
                    SubscriberReport::Failed { why } => Did::Failed(why),
                },
            });
        }
        did
    }

    pub(super) fn tick(&mut self, millis: u64) -> Vec<Did> {
        self.world.at(millis);
        self.machine.handle_timeout(&mut self.world.cx());
        self.did()
    }

    /// Lets the clock run to the deadline.
    pub(super) fn until_deadline(&mut self) -> Vec<Did> {
        self.world.now = self.machine.deadline().expect("a deadline");
        self.machine.handle_timeout(&mut self.world.cx());
        self.did()
    }

    pub(super) fn answer(&mut self, status: u16, extra: &[(&str, &str)]) -> Vec<Did> {
        let response = response(self.sent(), status, "fe1", extra);
        self.machine.response(self.serial, &response, &mut self.world.cx());
        self.did()
    }

    pub(super) fn ok(&mut self) -> Vec<Did> {
        let expires = expires(self.sent()).to_string();
        self.answer(200, &[("Expires", &expires), ("Contact", "<sip:romeo@fe.example:5061>")])
    }

    pub(super) fn fail(&mut self, why: Undelivered) -> Vec<Did> {
        self.machine.failed(self.serial, why, &mut self.world.cx());
        self.did()
    }

    pub(super) fn notify(&mut self, state: &str) -> (u16, Vec<Did>) {
        self.cseq += 1;
        self.notify_as(&Notify { cseq: self.cseq, state, ..Notify::default() })
    }

    pub(super) fn notify_as(&mut self, notify: &Notify<'_>) -> (u16, Vec<Did>) {
        let request = notify.to(self.sent());
        let answer = self.machine.notify(&request, &mut self.world.cx());
        (answer.status, self.did())
    }
}

pub(super) fn body(message: &Message) -> String {
    String::from_utf8_lossy(&message.body()).into_owned()
}

/// Beyond the bytes that are kept verbatim a pair has at most 1 KiB for both halves.
#[test]
fn the_machines_are_small() {
    let (subscriber, notifier) = (size_of::<Subscriber>(), size_of::<Notifier>());
    assert!(subscriber <= 144 && notifier <= 192, "{subscriber} and {notifier} bytes");
}
