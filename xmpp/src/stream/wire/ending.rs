//! The ways in which a stream ends (RFC 6120 §4.4, §4.9).

use std::time::Instant;

use super::{Ending, Wire};
use crate::conditions::{StreamCondition, StreamError};
use crate::sm::Misuse;
use crate::stanza::classify;
use crate::stream::Output;
use crate::stream::evidence::{Cause, Evidence, Fault, Step};
use crate::stream::words::element_name;
use crate::xml::{Element, ReadError, StartTag};

impl Wire {
    /// The peer broke a rule: stream error, closing tag. What it sends from now on is nothing.
    pub(in crate::stream) fn fault(
        &mut self,
        condition: StreamCondition,
        text: Option<&str>,
        fault: Fault,
        now: Instant,
    ) {
        self.fail(condition, text, Cause::Fault { condition, fault }, now);
    }

    /// What arrived is no XML we accept. Nothing after it can be read, so nothing is waited for.
    pub(in crate::stream) fn unreadable(&mut self, error: ReadError, now: Instant) {
        if self.ending == Ending::No {
            self.open_header();
            let condition = error.stream_condition();
            let application = error.is_too_big().then_some("stanza-too-big");
            StreamError::write(&mut self.out, condition, None, application);
            self.say_closed(Cause::Fault { condition, fault: Fault::Xml(error.kind) });
            self.closing_tag(Ending::Discarding, now);
        }
        self.finish();
    }

    /// Stream error, closing tag, for any cause. They need our header before them, even if the peer's was never good
    /// (S2S-16).
    pub(in crate::stream) fn fail(
        &mut self,
        condition: StreamCondition,
        text: Option<&str>,
        cause: Cause,
        now: Instant,
    ) {
        match self.ending {
            Ending::No => {
                self.open_header();
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
    pub(in crate::stream) fn misuse(&mut self, misuse: Misuse, now: Instant) {
        let (condition, fault) = (misuse.condition(), Fault::Management(misuse));
        if self.ending == Ending::No {
            self.open_header();
            misuse.write(&mut self.out);
            self.say_closed(Cause::Fault { condition, fault });
            self.closing_tag(Ending::Discarding, now);
        }
    }

    /// An element that has no place where it came.
    pub(in crate::stream) fn unexpected(&mut self, element: &Element, now: Instant) {
        let (condition, fault) = match classify(element) {
            Some(_) => (StreamCondition::NotAuthorized, Fault::EarlyStanza),
            None => (StreamCondition::UnsupportedStanzaType, Fault::UnknownElement(element_name(element))),
        };
        self.fault(condition, None, fault, now);
    }

    /// Closing tag without stream error: negotiation failed and both sides know why.
    pub(in crate::stream) fn give_up(&mut self, cause: Cause, now: Instant) {
        if self.ending == Ending::No {
            self.say_closed(cause);
            self.closing_tag(Ending::Discarding, now);
        }
    }

    /// The peer's stream error: answered with our closing tag. If that went out already, the peer's, which follows, does not answer it:
    /// who gives up takes nothing any more of what we wrote before it (RFC 6120 §4.9.1.1).
    pub(in crate::stream) fn peer_failed(&mut self, cause: Cause, now: Instant) {
        if self.ending == Ending::Draining {
            self.ending = Ending::Discarding;
        }
        self.give_up(cause, now);
    }

    /// We close because the caller wants to; the peer may finish what it is sending.
    pub(in crate::stream) fn close(&mut self, error: Option<(StreamCondition, &str)>, now: Instant) {
        if self.step == Step::TlsHandshake {
            return self.abort(Cause::WeClosed(error.map(|(condition, _)| condition)));
        }
        if self.ending == Ending::No {
            self.open_header();
            self.acknowledge_last();
            if let Some((condition, text)) = error {
                let text = (!text.is_empty()).then_some(text);
                StreamError::write(&mut self.out, condition, text, None);
            }
            self.say_closed(Cause::WeClosed(error.map(|(condition, _)| condition)));
            self.closing_tag(Ending::Draining, now);
        }
    }

    /// The peer's closing tag: answered with ours, unless ours went first (S2S-29).
    pub(in crate::stream) fn peer_closed(&mut self, cause: Cause, now: Instant) {
        if self.ending == Ending::No {
            self.acknowledge_last();
            self.say_closed(cause);
            self.closing_tag(Ending::Discarding, now);
        }
        self.close_answered |= self.ending == Ending::Draining;
        self.finish();
    }

    /// Whether the peer answered our closing tag, sent in good order, with its own.
    pub(in crate::stream) fn close_answered(&self) -> bool {
        self.close_answered
    }

    /// The last thing: the driver writes what there is and shuts the connection down.
    pub(in crate::stream) fn finish(&mut self) {
        self.over(Output::ShutdownTls);
    }

    /// The end without another word on the XML level, and with the TLS level in good order.
    pub(in crate::stream) fn finish_silently(&mut self, cause: Cause) {
        self.out.clear();
        self.say_closed(cause);
        self.finish();
    }

    /// The end without another byte.
    pub(in crate::stream) fn abort(&mut self, cause: Cause) {
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
}
