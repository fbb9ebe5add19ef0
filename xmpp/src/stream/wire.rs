//! What both machines share: the two byte streams, the clocks, and the ways to end.

use std::collections::VecDeque;
use std::time::Instant;

use super::Output;
use super::evidence::{Cause, Direction, Evidence, Fault, Note, OurText, Retry, Step, Waiting};
use super::redirect::Redirect;
use super::settings::{StreamLimits, Timeouts};
use crate::conditions::{StreamCondition, StreamError};
use crate::jid::Domain;
use crate::sm::Misuse;
use crate::xml::{ReadError, ReadLimits, StartTag, StreamItem, StreamReader, ns};

/// Octets of our own that may wait for a peer to read them: more than any one read can have asked for.
const UNREAD: usize = 512 * 1024;

/// The stanza size below which RFC 6120 §13.12 does not let anybody go.
const SMALLEST_STANZA_LIMIT: usize = 10_000;

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) direction: Direction,
    pub(super) local: Option<Domain>,
    pub(super) remote: Option<Domain>,
    pub(super) out: Vec<u8>,
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
    /// In place of that of the limits.
    max_stanza: Option<usize>,
    timeouts: Timeouts,
    /// Bytes that arrived before establishment.
    received: usize,
    step_deadline: Option<Instant>,
    establish_deadline: Option<Instant>,
    close_deadline: Option<Instant>,
}

/// What stands in a header of ours.
pub(super) struct OurHeader<'a> {
    pub(super) from: &'a str,
    pub(super) to: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) version: bool,
    /// Whether dialback is announced (DB-01).
    pub(super) dialback: bool,
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

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    Close,
    Waiting(Waiting),
}

impl Wire {
    pub(super) fn new(direction: Direction, limits: StreamLimits, timeouts: Timeouts, now: Instant) -> Self {
        Self {
            direction,
            local: None,
            remote: None,
            out: Vec::new(),
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
            max_stanza: None,
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
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        if self.ending == Ending::No && self.step != Step::Established {
            self.received = self.received.saturating_add(bytes.len());
            if self.received > self.limits.pre_auth_total {
                return false;
            }
        }
        self.reader.push(bytes);
        true
    }

    pub(super) fn next(&mut self) -> Result<Option<StreamItem>, ReadError> {
        self.reader.next()
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

    /// Writes our opening tag (S2S-13, S2S-26).
    pub(super) fn write_header(&mut self, header: OurHeader<'_>) {
        self.header_sent = true;
        self.dialback_declared = header.dialback;
        self.out.extend_from_slice(b"<?xml version='1.0'?>");
        StartTag::open(&mut self.out, "stream:stream")
            .ns(ns::SERVER)
            .attr("xmlns:stream", ns::STREAMS)
            .opt_attr("xmlns:db", header.dialback.then_some(ns::DIALBACK))
            .attr("from", header.from)
            .opt_attr("to", header.to)
            .opt_attr("id", header.id)
            .opt_attr("version", header.version.then_some("1.0"))
            .attr("xml:lang", "en")
            .end();
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

    /// What was noted, for the one who is told that the stream is established.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn emit(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    // === ways to end

    /// The peer broke a rule: stream error, closing tag. What it sends from now on is nothing.
    pub(super) fn fault(
        &mut self,
        condition: StreamCondition,
        text: Option<&str>,
        fault: Fault,
        now: Instant,
    ) {
        self.fail(condition, text, Cause::Fault { condition, fault }, now);
    }

    /// What arrived is no XML we accept. Nothing after it can be read, so nothing is waited for.
    pub(super) fn unreadable(&mut self, error: ReadError, now: Instant) {
        if self.ending == Ending::No {
            let condition = error.stream_condition();
            let application = error.is_too_big().then_some("stanza-too-big");
            StreamError::write(&mut self.out, condition, None, application);
            self.say_closed(Cause::Fault { condition, fault: Fault::Xml(error.kind) });
            self.closing_tag(Ending::Discarding, now);
        }
        self.finish();
    }

    /// Stream error, closing tag, for any cause.
    pub(super) fn fail(
        &mut self,
        condition: StreamCondition,
        text: Option<&str>,
        cause: Cause,
        now: Instant,
    ) {
        match self.ending {
            Ending::No => {
                StreamError::write(&mut self.out, condition, text, None);
                self.say_closed(cause);
                self.closing_tag(Ending::Discarding, now);
            }
            // Our closing tag is out, so it cannot be told; but it is not to be trusted any further either.
            Ending::Draining => self.ending = Ending::Discarding,
            Ending::Discarding | Ending::Over => {}
        }
    }

    /// The peer misused stream management.
    pub(super) fn misuse(&mut self, misuse: Misuse, now: Instant) {
        let (condition, fault) = (misuse.condition(), Fault::Management(misuse));
        if self.ending == Ending::No {
            misuse.write(&mut self.out);
            self.say_closed(Cause::Fault { condition, fault });
            self.closing_tag(Ending::Discarding, now);
        }
    }

    /// Closing tag without stream error: negotiation failed and both sides know why.
    pub(super) fn give_up(&mut self, cause: Cause, now: Instant) {
        if self.ending == Ending::No {
            self.say_closed(cause);
            self.closing_tag(Ending::Discarding, now);
        }
    }

    /// We close because the caller wants to; the peer may finish what it is sending.
    pub(super) fn close(&mut self, error: Option<(StreamCondition, &str)>, now: Instant) {
        if self.ending == Ending::No {
            if let Some((condition, text)) = error {
                let text = (!text.is_empty()).then_some(text);
                StreamError::write(&mut self.out, condition, text, None);
            }
            self.say_closed(Cause::WeClosed(error.map(|(condition, _)| condition)));
            self.closing_tag(Ending::Draining, now);
        }
    }

    /// The peer's closing tag: answered with ours, unless ours went first (S2S-29).
    pub(super) fn peer_closed(&mut self, cause: Cause, now: Instant) {
        if self.ending == Ending::No {
            self.say_closed(cause);
            self.closing_tag(Ending::Discarding, now);
        }
        self.close_answered |= self.ending == Ending::Draining;
        self.finish();
    }

    /// Whether the peer answered our closing tag, sent in good order, with its own.
    pub(super) fn close_answered(&self) -> bool {
        self.close_answered
    }

    /// The last thing: the driver writes what there is and shuts the connection down.
    pub(super) fn finish(&mut self) {
        self.over(Output::ShutdownTls);
    }

    /// The end without another word on the XML level, and with the TLS level in good order.
    pub(super) fn finish_silently(&mut self, cause: Cause) {
        self.out.clear();
        self.say_closed(cause);
        self.finish();
    }

    /// The end without another byte.
    pub(super) fn abort(&mut self, cause: Cause) {
        self.out.clear();
        self.say_closed(cause);
        self.over(Output::Abort);
    }

    fn say_closed(&mut self, cause: Cause) {
        if self.ending == Ending::No {
            let evidence = Evidence {
                direction: self.direction,
                local: self.local.clone(),
                remote: self.remote.clone(),
                step: self.step,
                cause,
                notes: std::mem::take(&mut self.notes),
                retry: self.retry,
                redirect: self.redirect.take(),
            };
            self.ending = Ending::Discarding;
            self.emit(Output::Closed(Box::new(evidence)));
        }
    }

    fn closing_tag(&mut self, ending: Ending, now: Instant) {
        if self.header_sent {
            StartTag::close(&mut self.out, "stream:stream");
        }
        self.ending = ending;
        self.step_deadline = None;
        self.establish_deadline = None;
        self.close_deadline = Some(now + self.timeouts.close);
    }

    fn over(&mut self, last: Output) {
        if self.ending != Ending::Over {
            self.ending = Ending::Over;
            self.step_deadline = None;
            self.establish_deadline = None;
            self.close_deadline = None;
            self.reader.reset();
            self.emit(last);
        }
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
    pub(super) fn listens(&self) -> bool {
        match self.ending {
            Ending::No => true,
            Ending::Draining => self.step == Step::Established,
            Ending::Discarding | Ending::Over => false,
        }
    }

    pub(super) fn header_sent(&self) -> bool {
        self.header_sent
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
        let most = self.max_stanza.unwrap_or(self.limits.established.stanza);
        self.step == Step::Established && self.reader.buffered() > most
    }

    /// Whether the peer goes on asking, and does not read what it is told.
    pub(super) fn is_choked(&self) -> bool {
        self.ending == Ending::No && self.out.len() > UNREAD
    }

    /// Octets of the largest stanza an established stream takes.
    pub(super) fn max_stanza(&self) -> usize {
        self.max_stanza.unwrap_or(self.limits.established.stanza).max(SMALLEST_STANZA_LIMIT)
    }

    /// Another one holds for this peer. To be said before the stream is established.
    pub(super) fn set_max_stanza(&mut self, octets: Option<usize>) {
        self.max_stanza = octets;
    }
}

/// What a disconnection is, in words that are safe to keep.
pub(super) fn disconnection(why: &str) -> Option<OurText> {
    (!why.is_empty()).then(|| OurText::new(why))
}
