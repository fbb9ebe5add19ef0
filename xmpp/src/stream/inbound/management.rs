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
    /// The feature, if it is to be offered, with the last features that there are on a peer's way.
    pub(super) fn write_management_feature(&mut self) {
        if !self.speaks_management() {
            return;
        }
        StartTag::open(&mut self.wire.out, "sm").ns(ns::STREAM_MANAGEMENT).empty();
    }

    fn speaks_management(&self) -> bool {
        self.may_manage && self.terms.is_none_or(|terms| terms.management)
    }

    pub(super) fn manage(&mut self, element: &Element, now: Instant) {
        // What arrives after our closing tag gets no answer any more.
        if !self.wire.is_open() {
            return;
        }
        let offered = self.speaks_management() && self.wire.step() == Step::Established;
        let out = &mut self.wire.out;
        let done = match Management::read(element) {
            Some(Ok(_)) if !offered => self.wire.management.refuse(out),
            Some(Ok(element)) => {
                let both_ways = self.wire.both_ways;
                let done = self.wire.management.handle(&element, both_ways, out);
                // What the peer says of our stanzas is the lane's.
                if done.is_ok() && both_ways && self.wire.management.handled.is_enabled() {
                    self.wire.emit(Output::Managed(element));
                }
                done
            }
            Some(Err(malformed)) => Err(malformed.into()),
            None => {
                let fault = Fault::UnknownElement(element_name(element));
                return self.wire.fault(StreamCondition::UnsupportedStanzaType, None, fault, now);
            }
        };
        if let Err(misuse) = done {
            self.wire.misuse(misuse, now);
        }
    }
}
