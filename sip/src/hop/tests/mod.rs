//! The machine on a virtual clock.

mod invite;
mod listing;
mod random;
mod redirect;
mod rules;

use std::time::Duration;

use super::*;

pub(super) const ONE: &[&str] = &["fe1.example:5061"];
pub(super) const TWO: &[&str] = &["fe1.example:5061", "fe2.example:5061"];

/// A group, its clock, and a driver that does nothing by itself.
pub(super) struct Rig {
    pub(super) group: HopGroup<u32>,
    pub(super) start: Instant,
    pub(super) now: Instant,
    /// What was sent and not handed back.
    pub(super) sent: Vec<Outgoing<u32>>,
    /// How long the last attempt to connect may take.
    pub(super) within: Option<Duration>,
}

/// An output, in short.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Did {
    Connect(usize),
    /// Connection, envelope.
    Send(u64, u32),
    Release(u64),
    Response(u32, u16),
    Failed(u32, HopFailure),
    /// Connection, branch.
    Cancel(u64, String),
    Acknowledged(u32),
}

impl Rig {
    pub(super) fn new(targets: &[&str]) -> Self {
        Self::with(targets, |_| {})
    }

    pub(super) fn with(targets: &[&str], change: impl FnOnce(&mut HopConfig)) -> Self {
        let mut config = HopConfig::default();
        change(&mut config);
        let now = Instant::now();
        let targets = targets.iter().map(|target| (*target).to_owned());
        Self { group: HopGroup::new(config, targets, 7), start: now, now, sent: Vec::new(), within: None }
    }

    pub(super) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    pub(super) fn tick(&mut self, millis: u64) -> Vec<Did> {
        self.at(millis);
        self.group.handle_timeout(self.now);
        self.poll()
    }

    pub(super) fn push(&mut self, envelope: u32) -> Vec<Did> {
        self.group.push(request(envelope), envelope, self.now).unwrap();
        self.poll()
    }

    pub(super) fn connected(&mut self, connection: u64) -> Vec<Did> {
        self.group.connected(HopConnection(connection), self.now);
        self.poll()
    }

    pub(super) fn connect_failed(&mut self, reason: &str) -> Vec<Did> {
        self.group.connect_failed(reason, self.now);
        self.poll()
    }

    pub(super) fn closed(&mut self, connection: u64) -> Vec<Did> {
        self.group.connection_closed(HopConnection(connection), self.now);
        self.poll()
    }

    pub(super) fn response(&mut self, envelope: u32, status: u16) -> Vec<Did> {
        self.response_with(envelope, status, "")
    }

    pub(super) fn response_with(&mut self, envelope: u32, status: u16, extra: &str) -> Vec<Did> {
        let outgoing = self.take(envelope);
        let message = answer(&outgoing, status, extra);
        self.group.response(outgoing, message, self.now);
        self.poll()
    }

    pub(super) fn failed(&mut self, envelope: u32, why: Failure) -> Vec<Did> {
        let outgoing = self.take(envelope);
        self.group.failed(outgoing, why, self.now);
        self.poll()
    }

    pub(super) fn take(&mut self, envelope: u32) -> Outgoing<u32> {
        let at = self.sent.iter().position(|sent| *sent.envelope() == envelope).expect("it was sent");
        self.sent.remove(at)
    }

    pub(super) fn branch(&self, envelope: u32) -> &str {
        self.sent.iter().find(|sent| *sent.envelope() == envelope).unwrap().request().branch()
    }

    pub(super) fn poll(&mut self) -> Vec<Did> {
        let mut did = Vec::new();
        while let Some(output) = self.group.poll() {
            did.push(match output {
                HopOutput::Connect { target, within } => {
                    self.within = within;
                    Did::Connect(target)
                }
                HopOutput::Send { connection, outgoing } => {
                    let envelope = *outgoing.envelope();
                    self.sent.push(outgoing);
                    Did::Send(connection.0, envelope)
                }
                HopOutput::Release { connection } => Did::Release(connection.0),
                HopOutput::Response { envelope, message, .. } => {
                    Did::Response(envelope, message.status().unwrap().0)
                }
                HopOutput::Failed { envelope, why, .. } => Did::Failed(envelope, why),
                HopOutput::Cancel { connection, branch, fields } => {
                    assert_eq!(*fields, [("Reason", "SIP;cause=403".to_owned())]);
                    Did::Cancel(connection.0, branch)
                }
                HopOutput::Acknowledged { envelope } => Did::Acknowledged(envelope),
            });
        }
        did
    }

    /// A group whose first connection, number 1, is up.
    pub(super) fn up(targets: &[&str]) -> Self {
        let mut rig = Self::new(targets);
        assert_eq!(rig.push(0), [Did::Connect(0)]);
        assert_eq!(rig.connected(1), [Did::Send(1, 0)]);
        assert_eq!(rig.response(0, 200), [Did::Response(0, 200)]);
        rig
    }
}

pub(super) fn request(envelope: u32) -> OutRequest {
    request_of("MESSAGE", envelope)
}

pub(super) fn request_of(method: &str, envelope: u32) -> OutRequest {
    let branch = format!("z9hG4bKn1-{envelope}");
    let text = format!(
        "{method} sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TLS nuncio.example;branch={branch}\r\n\
         From: <sip:romeo@contoso.example>;tag=f\r\nTo: <sip:juliet@example.com>\r\nCall-ID: {envelope}\r\n\
         CSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    OutRequest::new(text, &branch).unwrap()
}

pub(super) fn answer(outgoing: &Outgoing<u32>, status: u16, extra: &str) -> Message {
    let branch = outgoing.request().branch();
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/TLS nuncio.example;branch={branch}\r\n\
         From: <sip:romeo@contoso.example>;tag=f\r\nTo: <sip:juliet@example.com>;tag=t\r\n\
         Call-ID: {}\r\nCSeq: 1 MESSAGE\r\n{extra}Content-Length: 0\r\n\r\n",
        outgoing.envelope()
    );
    Message::parse(text.into()).unwrap()
}

pub(super) fn unreachable(target: &str, reason: &str) -> HopFailure {
    let failure = ConnectFailure { target: target.to_owned(), reason: reason.to_owned() };
    HopFailure::Unreachable { last: Some(Arc::new(failure)) }
}
