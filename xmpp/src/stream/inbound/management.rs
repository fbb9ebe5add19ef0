//! Stream management on a stream the peer opened: acknowledging what is settled (XEP-0198).

use std::time::Instant;

use super::super::Output;
use super::super::evidence::{Fault, Step};
use super::super::words::element_name;
use super::Inbound;
use crate::conditions::StreamCondition;
use crate::sm::{Management, Misuse};
use crate::xml::{Element, StartTag, ns};

impl Inbound {
    /// Nobody has to do anything more for the stanza of this [number](super::super::Stanza::number): it may be
    /// acknowledged. [`transmit`](Self::transmit) has the acknowledgement when one is due.
    pub fn settled(&mut self, number: u64) {
        self.management.handled.settle(number);
    }

    /// The peer misused stream management with what it says of the stanzas it is sent: the stream ends with the error for
    /// it.
    pub fn misused(&mut self, misuse: Misuse, now: Instant) {
        self.wire.misuse(misuse, now);
    }

    /// Whether a stanza came that is to be acknowledged and is not settled.
    pub fn has_unsettled(&self) -> bool {
        self.management.handled.has_unsettled()
    }

    /// Whether the stream is established and nobody has closed it: then white space may be appended to what
    /// [`transmit`](Self::transmit) gave, to keep the connection alive (S2S-31).
    pub fn write_allowed(&self) -> bool {
        self.wire.step() == Step::Established && self.wire.is_open()
    }

    /// The feature, after authentication only, if it is to be offered.
    pub(super) fn write_management_feature(&mut self) {
        if !self.speaks_management() {
            return;
        }
        StartTag::open(&mut self.wire.out, "sm").ns(ns::STREAM_MANAGEMENT).empty();
    }

    fn speaks_management(&self) -> bool {
        self.terms.is_none_or(|terms| terms.management)
    }

    pub(super) fn manage(&mut self, element: &Element, now: Instant) {
        // What arrives after our closing tag gets no answer any more.
        if !self.wire.is_open() {
            return;
        }
        let offered = self.speaks_management() && self.wire.step() == Step::Established;
        let out = &mut self.wire.out;
        let done = match Management::read(element) {
            Some(Ok(_)) if !offered => self.management.refuse(out),
            Some(Ok(element)) => {
                let both_ways = self.both_ways;
                let done = self.management.handle(&element, both_ways, out);
                // What the peer says of our stanzas is the lane's.
                if done.is_ok() && both_ways && self.management.handled.is_enabled() {
                    self.wire.emit(Output::Managed(element));
                }
                done
            }
            Some(Err(malformed)) => Err(malformed.into()),
            None => {
                let fault = Fault::UnknownElement(element_name(element));
                return self.fault(StreamCondition::UnsupportedStanzaType, None, fault, now);
            }
        };
        if let Err(misuse) = done {
            self.open_header();
            self.wire.misuse(misuse, now);
        }
    }

    /// Writes the acknowledgement that is due.
    pub(super) fn acknowledge(&mut self) {
        if self.write_allowed() {
            self.management.handled.write(&mut self.wire.out);
        }
    }

    /// Writes what can be acknowledged, before our closing tag.
    pub(super) fn acknowledge_last(&mut self) {
        if self.write_allowed() {
            self.management.handled.write_last(&mut self.wire.out);
        }
    }
}
