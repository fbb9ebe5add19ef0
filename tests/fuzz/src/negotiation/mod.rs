//! Negotiation of a stream, in both roles, with a peer that says anything at all, any handshake, any word of the caller's
//! and any moment.
//!
//! The input is a script. Its first line is the settings, a letter each: see [`Settings::read`]. Every other line is one
//! thing that happens, by its first letter: see [`Happening::read`]. No byte is illegal anywhere.

mod inbound;
mod outbound;
mod script;

use std::time::{Duration, Instant};

use nuncio_xmpp::dialback::VerifyOutcome;
use nuncio_xmpp::stream::{Evidence, Method, Output, StreamLimits, TlsFacts};
use nuncio_xmpp::{Domain, ReadLimits, StreamItem, StreamReader};

use script::{Happening, Settings};

/// Small ones, so that they are met.
const LIMITS: StreamLimits = StreamLimits {
    pre_auth_total: 4096,
    pre_auth: ReadLimits { stanza: 1024, tag: 512, ..ReadLimits::BEFORE_AUTHENTICATION },
    established: ReadLimits { stanza: 10_000, tag: 2048, ..ReadLimits::BEFORE_AUTHENTICATION },
};

/// How far a script came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The stream was one that a peer opens.
    pub inbound: bool,
    /// How the initiator was authenticated, if it was.
    pub method: Option<Method>,
    /// Stanzas that got through.
    pub stanzas: usize,
    /// Pairs of domains in the end.
    pub pairs: usize,
    /// What a stream was told that asked about a key.
    pub verified: Option<VerifyOutcome>,
}

/// Runs a script.
///
/// # Panics
/// If a stream is let through, says or keeps what its terms do not allow, or does not end properly.
pub fn negotiation(data: &[u8]) -> Reached {
    let mut lines = data.split(|&byte| byte == b'\n');
    let settings = Settings::read(lines.next().unwrap_or_default());
    let script: Vec<Happening<'_>> = lines.filter_map(Happening::read).collect();
    match settings.inbound {
        true => inbound::run(&settings, &script),
        false => outbound::run(&settings, &script),
    }
}

/// What both roles have in common.
trait Machine {
    fn receive(&mut self, bytes: &[u8], now: Instant);
    fn tls_established(&mut self, facts: TlsFacts, now: Instant);
    fn tls_failed(&mut self, why: &str);
    fn disconnected(&mut self, why: &str);
    fn close(&mut self, now: Instant);
    fn transmit(&mut self, out: &mut Vec<u8>);
    fn deadline(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Instant);
    fn held(&self) -> usize;
}

macro_rules! machine {
    ($type:ty) => {
        impl Machine for $type {
            fn receive(&mut self, bytes: &[u8], now: Instant) {
                self.receive(bytes, now);
            }
            fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
                self.tls_established(facts, now);
            }
            fn tls_failed(&mut self, why: &str) {
                self.tls_failed(why);
            }
            fn disconnected(&mut self, why: &str) {
                self.disconnected(why);
            }
            fn close(&mut self, now: Instant) {
                self.close(now, None);
            }
            fn transmit(&mut self, out: &mut Vec<u8>) {
                self.transmit(out);
            }
            fn deadline(&self) -> Option<Instant> {
                self.deadline()
            }
            fn handle_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn held(&self) -> usize {
                self.held()
            }
        }
    };
}
machine!(nuncio_xmpp::stream::Inbound);
machine!(nuncio_xmpp::stream::Outbound);

/// What holds for a stream of either role.
struct Watch {
    now: Instant,
    /// What TLS showed, once it is there.
    tls: Option<TlsFacts>,
    /// A handshake was asked for and is not over.
    handshake: bool,
    established: Option<Method>,
    closed: bool,
    ended: bool,
    /// Everything we said.
    said: Vec<u8>,
}

impl Watch {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            tls: None,
            handshake: false,
            established: None,
            closed: false,
            ended: false,
            said: Vec::new(),
        }
    }

    /// Does to the machine what can happen to either role; false for what cannot.
    fn happens(&mut self, machine: &mut impl Machine, settings: &Settings, what: &Happening<'_>) -> bool {
        match *what {
            Happening::Bytes(bytes) => machine.receive(bytes, self.now),
            Happening::Handshake => self.shake_hands(machine, settings),
            Happening::HandshakeFails(why) => {
                machine.tls_failed(why);
                self.handshake = false;
            }
            Happening::Seconds(seconds) => {
                self.now += Duration::from_secs(seconds);
                machine.handle_timeout(self.now);
            }
            Happening::Deadline => {
                self.now = machine.deadline().map_or(self.now, |deadline| self.now.max(deadline));
                machine.handle_timeout(self.now);
            }
            Happening::Close => machine.close(self.now),
            Happening::Disconnection(why) => machine.disconnected(why),
            Happening::Verified { .. } | Happening::Answer | Happening::Authorize(..) => return false,
        }
        true
    }

    /// Whether or not it was asked for: what nobody asked for must change nothing.
    fn shake_hands(&mut self, machine: &mut impl Machine, settings: &Settings) {
        machine.tls_established(settings.facts.clone(), self.now);
        if std::mem::take(&mut self.handshake) && !self.ended {
            self.tls = Some(settings.facts.clone());
        }
    }

    /// An output that both roles know.
    fn output(&mut self, output: &Output) {
        assert!(!self.ended, "{output:?} after the end");
        match output {
            Output::StartTls => self.handshake = true,
            Output::Closed(evidence) => {
                assert!(!self.closed, "closed twice");
                self.closed = true;
                check_words(evidence);
            }
            Output::ShutdownTls | Output::Abort => {
                assert!(self.closed, "the end without a reason");
                self.ended = true;
            }
            _ => {}
        }
    }

    /// After every happening: takes what was written, and looks at what is kept.
    fn settle(&mut self, machine: &mut impl Machine) -> Vec<u8> {
        let mut written = Vec::new();
        machine.transmit(&mut written);
        self.said.extend_from_slice(&written);
        let waiting = match self.established {
            _ if self.ended => 0,
            Some(_) => LIMITS.established.stanza,
            None => LIMITS.pre_auth_total,
        };
        assert!(machine.held() <= waiting, "{} octets are kept", machine.held());
        match machine.deadline() {
            Some(deadline) => {
                assert!(!self.ended, "a deadline after the end");
                assert!(deadline <= self.now + Duration::from_secs(60));
            }
            None => assert!(self.ended || self.established.is_some(), "neither waiting nor over"),
        }
        written
    }

    /// Whether the certificate proves the domain, by the last handshake.
    fn certified(&self, domain: &Domain) -> bool {
        self.tls.as_ref().is_some_and(|facts| facts.proves(domain))
    }

    /// At the end of the time.
    fn finish(&self) {
        assert!(self.closed && self.ended, "the stream has no end");
        let text = String::from_utf8(self.said.clone()).expect("what we say is text");
        for stanza in ["<message", "<presence", "<iq"] {
            assert!(!text.contains(stanza), "the machine wrote a stanza of its own: {text}");
        }
        // Every header of ours begins a document. The last one of a connection that was cut may lack its end.
        for document in text.split("<?xml version='1.0'?>").filter(|document| document.contains('<')) {
            let rest = document.split_once("</stream:stream>").map_or("", |(_, rest)| rest);
            assert_eq!(rest, "", "we wrote something after our closing tag");
            read(document);
        }
    }
}

/// What a peer reads of us.
fn read(document: &str) {
    // Without our header there is nothing but what answers STARTTLS or SASL right before a restart.
    let mut reader = StreamReader::new(ReadLimits::AUTHENTICATED);
    reader.push(document.as_bytes());
    loop {
        match reader.next() {
            Ok(Some(StreamItem::Close) | None) => return,
            Ok(Some(_)) => {}
            Err(error) => panic!("we wrote what nobody can read: {error} in {document}"),
        }
    }
}

fn check_words(evidence: &Evidence) {
    let words = evidence.to_string();
    assert!(!words.is_empty() && !words.chars().any(char::is_control), "{words:?}");
}
