//! Stream management on a stream the peer opened: acknowledging what is settled (XEP-0198).

use std::time::Instant;

use super::super::Output;
use super::super::evidence::{Fault, Step};
use super::super::words::element_name;
use super::Inbound;
use crate::conditions::StreamCondition;
use crate::sm::Management;
use crate::xml::{Element, StartTag, ns};

impl Inbound {
    /// Nobody has to do anything more for the stanza of this [number](super::super::Stanza::number): it may be
    /// acknowledged. [`transmit`](Self::transmit) has the acknowledgement when one is due.
    pub fn settled(&mut self, number: u64) {
        self.management.settle(number);
    }

    /// Whether a stanza came that is to be acknowledged and is not settled.
    pub fn has_unsettled(&self) -> bool {
        self.management.has_unsettled()
    }

    /// Whether the stream is established and nobody has closed it: then white space may be appended to what
    /// [`transmit`](Self::transmit) gave, to keep the connection alive (S2S-31).
    pub fn write_allowed(&self) -> bool {
        self.wire.step() == Step::Established && self.wire.is_open()
    }

    /// The feature, after authentication only, if it is to be offered.
    pub(super) fn write_management_feature(&mut self) {
        if !self.config.management {
            return;
        }
        StartTag::open(&mut self.wire.out, "sm").ns(ns::STREAM_MANAGEMENT).empty();
    }

    pub(super) fn manage(&mut self, element: &Element, now: Instant) {
        // What arrives after our closing tag gets no answer any more.
        if !self.wire.is_open() {
            return;
        }
        let offered = self.config.management && self.wire.step() == Step::Established;
        let out = &mut self.wire.out;
        let done = match Management::read(element) {
            Some(Ok(_)) if !offered => self.management.refuse(out),
            Some(Ok(element)) => self.management.handle(&element, out),
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

    /// Numbers a stanza that came, if it is to be acknowledged.
    pub(super) fn numbered(&mut self, mut output: Output) -> Output {
        match &mut output {
            Output::Stanza(stanza) => stanza.number = self.management.begin(),
            Output::BadAddress { number, .. } => *number = self.management.begin(),
            _ => {}
        }
        output
    }

    /// Writes the acknowledgement that is due.
    pub(super) fn acknowledge(&mut self) {
        if self.write_allowed() {
            self.management.write(&mut self.wire.out);
        }
    }

    /// Writes what can be acknowledged, before our closing tag.
    pub(super) fn acknowledge_last(&mut self) {
        if self.write_allowed() {
            self.management.write_last(&mut self.wire.out);
        }
    }
}
