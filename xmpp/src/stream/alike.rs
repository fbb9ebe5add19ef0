//! What both machines answer alike.

use std::time::Instant;

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::{Output, Step};
use crate::dialback::Pair;
use crate::sm::Misuse;

macro_rules! alike {
    ($machine:ty) => {
        impl $machine {
            /// Moves everything that is to be written to the end of `out`.
            pub fn transmit(&mut self, out: &mut Vec<u8>) {
                self.wire.acknowledge();
                self.wire.transmit(out);
            }

            /// The next output.
            pub fn poll(&mut self) -> Option<Output> {
                self.wire.poll()
            }

            /// Whether the stream is established and nobody has closed it: then the driver may append to what
            /// [`transmit`](Self::transmit) gave. White space keeps the connection alive (S2S-31).
            pub fn write_allowed(&self) -> bool {
                self.wire.write_allowed()
            }

            /// The pairs of domains that this stream is authenticated for.
            pub fn pairs(&self) -> &[Pair] {
                &self.wire.pairs
            }

            /// Nobody has to do anything more for the stanza of this [number](super::Stanza::number): it may be
            /// acknowledged. [`transmit`](Self::transmit) has the acknowledgement when one is due.
            pub fn settled(&mut self, number: u64) {
                self.wire.management.handled.settle(number);
            }

            /// Whether a stanza came that is to be acknowledged and is not settled.
            pub fn has_unsettled(&self) -> bool {
                self.wire.management.handled.has_unsettled()
            }

            /// The peer misused the stream management that the caller speaks with it, by what it says of the stanzas it is
            /// sent: the stream ends with the error for it.
            pub fn misused(&mut self, misuse: Misuse, now: Instant) {
                self.wire.misuse(misuse, now);
            }

            /// Whether the peer answered our [`close`](Self::close) with its closing tag. It reads a stream in order
            /// (RFC 6120 §10.1), so then it has taken everything that was sent before.
            pub fn close_answered(&self) -> bool {
                self.wire.close_answered()
            }

            /// Octets that the stream keeps: those that arrived and were not read yet, or are part of something
            /// unfinished, and those that wait for [`transmit`](Self::transmit).
            pub fn held(&self) -> usize {
                self.wire.held()
            }

            /// How far the stream has come.
            pub fn step(&self) -> Step {
                self.wire.step()
            }
        }
    };
}
alike!(Inbound);
alike!(Outbound);
