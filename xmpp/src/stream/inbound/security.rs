//! How the stream gets under TLS, and how it begins again.

use std::time::Instant;

use super::{Inbound, Phase};
use crate::conditions::StreamCondition;
use crate::stream::Output;
use crate::stream::evidence::{Cause, Fault, Step};
use crate::xml::{StartTag, ns};

impl Inbound {
    pub(super) fn starttls(&mut self, now: Instant) {
        // The answer to bytes that came along with the command is that of RFC 6120 §5.4.2.2: they
        // would otherwise be taken for something said under TLS (TLS-03).
        if self.wire.has_unread() {
            StartTag::open(&mut self.wire.out, "failure").ns(ns::TLS).empty();
            self.wire.give_up(Cause::PlaintextAfterStartTls, now);
            return self.wire.finish();
        }
        StartTag::open(&mut self.wire.out, "proceed").ns(ns::TLS).empty();
        self.restart();
        self.wire.both_ways = false;
        self.wire.enter(Step::TlsHandshake, now);
        self.wire.emit(Output::StartTls);
    }

    /// It was not offered: the stream is under TLS, or the entry switches TLS off.
    pub(super) fn no_starttls(&mut self, now: Instant) {
        StartTag::open(&mut self.wire.out, "failure").ns(ns::TLS).empty();
        let cause = match self.phase {
            Phase::Clear => Cause::TlsSwitchedOff,
            _ => {
                Cause::Fault { condition: StreamCondition::UnsupportedFeature, fault: Fault::SecondStartTls }
            }
        };
        self.wire.give_up(cause, now);
    }

    /// What was asked and learned on the stream so far does not count for the one that begins (TLS-03).
    pub(super) fn restart(&mut self) {
        self.wire.restart();
        self.wire.lang = None;
        self.verifying.clear();
        self.turned_down = None;
    }
}
