//! What flows on an established stream, whoever opened it: stanzas of the pairs, and what is said of them (XEP-0198).

use std::time::Instant;

use compact_str::CompactString;

use super::Wire;
use crate::dialback::Pair;
use crate::stream::evidence::{Direction, Step};
use crate::stream::features::PeerFeatures;
use crate::stream::screen::{Flow, screen};
use crate::stream::{Established, Method, Output};
use crate::xml::Element;

/// What the initiator of a stream proved, and how.
pub(in crate::stream) struct Proof {
    pub(in crate::stream) pair: Pair,
    pub(in crate::stream) method: Method,
    pub(in crate::stream) by_certificate: bool,
    pub(in crate::stream) stream_id: Option<CompactString>,
    /// Of the responder, if that is the peer.
    pub(in crate::stream) features: PeerFeatures,
}

impl Wire {
    pub(in crate::stream) fn established(&mut self, proof: Proof, now: Instant) {
        let Proof { pair, method, by_certificate, stream_id, features } = proof;
        let (remote, local) = flow(self.direction, &pair);
        let established = Established {
            local: local.clone(),
            remote: remote.clone(),
            stream_id,
            method,
            tls: self.tls.take(),
            by_certificate,
            features,
            both_ways: self.both_ways,
            notes: std::mem::take(&mut self.notes),
            lang: self.lang.take(),
        };
        (self.local, self.remote) = (Some(local.clone()), Some(remote.clone()));
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
        self.enter(Step::Established, now);
        self.emit(Output::Established(Box::new(established)));
    }

    /// A first-level element of the peer, where its stanzas may come.
    pub(in crate::stream) fn stanza(&mut self, element: Element, now: Instant) {
        let direction = self.direction;
        match screen(element, self.pairs.iter().map(|pair| flow(direction, pair))) {
            Ok(mut output) => {
                output.number_by(|| self.management.handled.begin());
                self.emit(output);
            }
            Err((condition, fault)) => self.fault(condition, None, fault, now),
        }
    }

    /// Whether something may be appended to what is transmitted.
    pub(in crate::stream) fn write_allowed(&self) -> bool {
        self.step == Step::Established && self.is_open()
    }

    /// Writes the acknowledgement that is due.
    pub(in crate::stream) fn acknowledge(&mut self) {
        if self.write_allowed() {
            self.management.handled.write(&mut self.out);
        }
    }

    /// Writes what can be acknowledged, before our closing tag.
    pub(super) fn acknowledge_last(&mut self) {
        if self.write_allowed() {
            self.management.handled.write_last(&mut self.out);
        }
    }
}

/// From the peer to us. A pair goes from the stream's initiator to its responder.
fn flow(direction: Direction, pair: &Pair) -> Flow<'_> {
    match direction {
        Direction::Inbound => (&pair.from, &pair.to),
        Direction::Outbound => (&pair.to, &pair.from),
    }
}
