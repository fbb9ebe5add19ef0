//! The peer's stanzas on a stream we opened (XEP-0288), and stream management there (XEP-0198).

use std::time::Instant;

use super::Outbound;
use crate::dialback::{DialbackCondition, DialbackElement, DialbackKind, write_answer};
use crate::sm::Management;
use crate::stream::Output;
use crate::xml::{Element, StartTag, ns};

impl Outbound {
    /// Whether the peer was asked to send its stanzas on this stream: it may do so as soon as it has let us in, which is before
    /// we know that it has.
    pub fn asked_for_both_ways(&self) -> bool {
        self.wire.both_ways
    }

    /// Asks the peer to send its stanzas on this stream, if it can: before we prove ourselves, and after TLS (BI-01).
    /// What the peer has to prove for that, it has proved, or the stream will not be established: to send to a domain and
    /// to hear from it, the entry asks for the same.
    pub(super) fn ask_for_both_ways(&mut self) {
        if self.config.terms.both_ways && self.features.bidi && !self.wire.both_ways {
            self.wire.both_ways = true;
            StartTag::open(&mut self.wire.out, "bidi").ns(ns::BIDI).empty();
        }
    }

    /// An element of stream management: what is said of our stanzas is the lane's, what is asked about the peer's is
    /// answered here.
    pub(super) fn managed(&mut self, element: Element, now: Instant) {
        match Management::read(&element) {
            // Whoever opened the stream enables it (XEP-0198 §3), and that are we.
            Some(Ok(Management::Enable { .. } | Management::Resume { .. })) => {
                self.wire.emit(Output::Unasked(element));
            }
            Some(Ok(management)) => {
                if !self.wire.management.handled.is_enabled()
                    && matches!(management, Management::Enabled { .. } | Management::Resumed { .. })
                {
                    self.wire.management.handled.enable();
                }
                if management != Management::Request || !self.wire.management.handled.request() {
                    self.wire.emit(Output::Managed(management));
                }
            }
            Some(Err(malformed)) => self.wire.misuse(malformed.into(), now),
            None => self.wire.emit(Output::Unasked(element)),
        }
    }

    /// A key of another domain at the other end, which wants to send on this stream as well. Who speaks for several domains
    /// does so on streams of its own here; the peer is told at once instead of waiting for nothing (XEP-0288 §2).
    pub(super) fn refuse_key(&mut self, asked: &DialbackElement) {
        let declare = self.wire.declare_dialback();
        let request = (DialbackKind::Result, &asked.from, &asked.to, "");
        let text = "Open a stream of your own for further domains.";
        write_answer(&mut self.wire.out, declare, request, Err(DialbackCondition::NotAcceptable), Some(text));
    }
}
