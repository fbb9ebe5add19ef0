//! What both machines share: the two byte streams, the clocks, what flows once the stream is established, and the ways to
//! end.

mod ending;
mod greeting;
mod stanzas;

use std::collections::VecDeque;
use std::time::Instant;

use compact_str::CompactString;

use super::Output;
use super::evidence::{Cause, Direction, Evidence, Fault, Note, OurText, Retry, Step, Waiting};
use super::identity::TlsFacts;
use super::redirect::Redirect;
use super::settings::{StreamLimits, Timeouts};
use super::terms::Terms;
use crate::conditions::{StreamCondition, StreamError};
use crate::dialback::Pair;
use crate::jid::Domain;
use crate::sm::Responder;
use crate::xml::{Element, ReadLimits, StreamHeader, StreamItem, StreamReader};

pub(super) use greeting::Greeting;
pub(super) use stanzas::Proof;

/// Octets of our own that may wait for a peer to read them: more than any one read can have asked for.
const UNREAD: usize = 512 * 1024;

/// The stanza size below which RFC 6120 §13.12 does not let anybody go.
const SMALLEST_STANZA_LIMIT: usize = 10_000;

#[derive(Debug)]
pub(super) struct Wire {
    direction: Direction,
    /// Whose stream it is, for the evidence.
    pub(super) local: Option<Domain>,
    pub(super) remote: Option<Domain>,
    pub(super) greeting: Greeting,
    pub(super) out: Vec<u8>,
    /// What TLS showed; given away with the establishment.
    pub(super) tls: Option<TlsFacts>,
    /// Of the peer's header; given away as well.
    pub(super) lang: Option<CompactString>,
    /// The pairs of domains that the stream is authenticated for.
    pub(super) pairs: Vec<Pair>,
    /// Stanzas go both ways (XEP-0288), or will.
    pub(super) both_ways: bool,
    /// What is acknowledged of the stanzas that come.
    pub(super) management: Responder,
    step: Step,
    ending: Ending,
    /// The peer answered our closing tag with its own.
    close_answered: bool,
    /// Our opening tag is on the wire, and no restart came after it.
    header_sent: bool,
    /// It declared the prefix of dialback.
    dialback_declared: bool,
    notes: Vec<Note>,
    /// What is advised if the stream ends now.
    pub(super) retry: Option<Retry>,
    /// Where the peer says that the service is.
    pub(super) redirect: Option<Redirect>,
    reader: StreamReader,
    outputs: VecDeque<Output>,
    limits: StreamLimits,
    timeouts: Timeouts,
    /// Bytes that arrived before establishment.
    received: usize,
    step_deadline: Option<Instant>,
    establish_deadline: Option<Instant>,
    close_deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nobody closed.
    No,
    /// We closed in good order: what the peer still sends counts (RFC 6120 §4.4 rule 2).
    Draining,
    /// The stream is in error: what the peer still sends is nothing.
    Discarding,
    /// The connection is the driver's to close.
    Over,
}

/// What the peer says.
#[derive(Debug)]
pub(super) enum Heard {
    Header(StreamHeader),
    Element(Element),
    /// A stream error.
    Error(StreamError),
    /// Its closing tag.
    Close,
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Close,
    Waiting(Waiting),
}

impl Wire {
    pub(super) fn new(
        direction: Direction,
        greeting: Greeting,
        limits: StreamLimits,
        timeouts: Timeouts,
        now: Instant,
    ) -> Self {
        Self {
            direction,
            local: None,
            remote: None,
            greeting,
            out: Vec::new(),
            tls: None,
            lang: None,
            pairs: Vec::new(),
            both_ways: false,
            management: Responder::default(),
            step: Step::Header,
            ending: Ending::No,
            close_answered: false,
            header_sent: false,
            dialback_declared: false,
            notes: Vec::new(),
            retry: None,
            redirect: None,
            reader: StreamReader::new(limits.pre_auth),
            outputs: VecDeque::new(),
            limits,
            timeouts,
            received: 0,
            step_deadline: Some(now + timeouts.header),
            establish_deadline: Some(now + timeouts.establishment),
            close_deadline: None,
        }
    }

    /// Goes on to the next step, with its time.
    pub(super) fn enter(&mut self, step: Step, now: Instant) {
        self.step = step;
        let time = match step {
            Step::Header | Step::SecureHeader | Step::FinalHeader => self.timeouts.header,
            Step::TlsHandshake => self.timeouts.tls,
            Step::Established => {
                self.step_deadline = None;
                self.establish_deadline = None;
                let stanza = self.max_stanza();
                self.reader.set_limits(ReadLimits { stanza, ..self.limits.established });
                return;
            }
            _ => self.timeouts.step,
        };
        self.step_deadline = Some(now + time);
    }

    /// Lets the present step take as long as the whole establishment may.
    pub(super) fn wait_without_step_deadline(&mut self) {
        self.step_deadline = None;
    }

    /// Takes bytes that arrived. False when they are more than a peer that has not proved itself may
    /// send; they are dropped then.
    fn push(&mut self, bytes: &[u8]) -> bool {
        if self.ending == Ending::No && self.step != Step::Established {
            self.received = self.received.saturating_add(bytes.len());
            if self.received > self.limits.pre_auth_total {
                return false;
            }
        }
        self.reader.push(bytes);
        true
    }

    /// Takes bytes that arrived. False when nothing is to be read: the stream is over, or ended by them.
    #[must_use]
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) -> bool {
        if self.is_over() {
            return false;
        }
        if self.step == Step::TlsHandshake {
            self.abort(Cause::PlaintextAfterStartTls);
            return false;
        }
        if !self.push(bytes) {
            let text = "Too much data before authentication.";
            self.fault(StreamCondition::PolicyViolation, Some(text), Fault::TooMuchBeforeAuth, now);
            return false;
        }
        true
    }

    /// The next thing that the peer says and that means something, up to a point where somebody else has to act first: who
    /// does TLS, or who `waits`. What cannot be read ends the stream.
    pub(super) fn next(&mut self, waits: bool, now: Instant) -> Option<Heard> {
        loop {
            if self.is_choked() {
                self.fault(StreamCondition::PolicyViolation, None, Fault::AnswersUnread, now);
            }
            let suspended = self.is_open() && (waits || self.step == Step::TlsHandshake);
            if self.is_over() || suspended {
                return None;
            }
            match self.reader.next() {
                Ok(Some(StreamItem::Close)) => return Some(Heard::Close),
                Ok(Some(_)) if !self.listens() => {}
                Ok(Some(StreamItem::Header(header))) => return Some(Heard::Header(header)),
                Ok(Some(StreamItem::Element(element))) => {
                    let error = StreamError::from_element(&element);
                    return Some(error.map_or(Heard::Element(element), Heard::Error));
                }
                Ok(None) => return None,
                Err(error) => self.unreadable(error, now),
            }
        }
    }

    /// Begins a new stream on the same connection. Returns whether nothing had arrived that belongs
    /// to neither the old nor the new one (SEC-06).
    pub(super) fn restart(&mut self) -> bool {
        self.header_sent = false;
        self.reader.reset() == 0
    }

    /// Whether nothing but white space arrived that was not read yet. Reads on: to be asked right
    /// before a restart, where whatever it might swallow is discarded anyway.
    pub(super) fn nothing_pipelined(&mut self) -> bool {
        matches!(self.reader.next(), Ok(None)) && self.reader.buffered() == 0
    }

    /// Whether a dialback element has to declare its prefix itself.
    pub(super) fn declare_dialback(&self) -> bool {
        !self.dialback_declared
    }

    /// Keeps what explains how the negotiation may end, once.
    pub(super) fn note(&mut self, note: Note) {
        let room = self.notes.len() < Evidence::NOTES && self.step != Step::Established;
        if room && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Keeps why the stream was established as it is, of which there is one reason: whatever else was noted leaves room
    /// for it.
    pub(super) fn note_the_way(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub(super) fn has_note(&self, which: impl FnMut(&Note) -> bool) -> bool {
        self.notes.iter().any(which)
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    // === the driver's side

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn transmit(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.step_deadline, self.establish_deadline, self.close_deadline].into_iter().flatten().min()
    }

    pub(super) fn expired(&self, now: Instant) -> Option<Expired> {
        let passed = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if passed(self.close_deadline) {
            Some(Expired::Close)
        } else if passed(self.establish_deadline) {
            Some(Expired::Waiting(Waiting::Establishment))
        } else if passed(self.step_deadline) {
            Some(Expired::Waiting(Waiting::Step))
        } else {
            None
        }
    }

    // === questions

    pub(super) fn step(&self) -> Step {
        self.step
    }

    /// Nobody closed yet.
    pub(super) fn is_open(&self) -> bool {
        self.ending == Ending::No
    }

    pub(super) fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    /// Whether elements still mean something.
    fn listens(&self) -> bool {
        match self.ending {
            Ending::No => true,
            Ending::Draining => self.step == Step::Established,
            Ending::Discarding | Ending::Over => false,
        }
    }

    /// Bytes that arrived and were not read yet.
    pub(super) fn has_unread(&self) -> bool {
        self.reader.buffered() > 0
    }

    /// Octets that are kept: arrived and not read, or written and not taken.
    pub(super) fn held(&self) -> usize {
        self.reader.buffered() + self.out.len()
    }

    /// Whether more waits unread on an established stream than a stanza may have.
    pub(super) fn is_flooded(&self) -> bool {
        self.step == Step::Established && self.reader.buffered() > self.limits.established.stanza
    }

    /// Whether the peer goes on asking, and does not read what it is told.
    fn is_choked(&self) -> bool {
        self.ending == Ending::No && self.out.len() > UNREAD
    }

    /// Octets of the largest stanza an established stream takes.
    pub(super) fn max_stanza(&self) -> usize {
        self.limits.established.stanza.max(SMALLEST_STANZA_LIMIT)
    }

    /// XE-15: what holds for this peer in place of what holds for all. To be said before the stream is established.
    pub(super) fn limit_by(&mut self, terms: &Terms) {
        let limits = &mut self.limits.established;
        limits.stanza = terms.max_stanza.unwrap_or(limits.stanza);
        limits.depth = terms.max_depth.unwrap_or(limits.depth);
        limits.attributes = terms.max_attributes.unwrap_or(limits.attributes);
    }
}

/// What a disconnection is, in words that are safe to keep.
pub(super) fn disconnection(why: &str) -> Option<OurText> {
    (!why.is_empty()).then(|| OurText::new(why))
}
