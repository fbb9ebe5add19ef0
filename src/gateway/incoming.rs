//! What the sender of a stanza is owed: one answer at most, in a place that was reserved for it.
//!
//! Both types here settle their debt when they are dropped, so that no path through the code, and no panic in it, can
//! keep a place for ever, give it back twice, or lose a message without a word to its sender.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nuncio_translate::Moment;
use nuncio_translate::errors::XmppFailure;
use nuncio_translate::judge::Direction;
use nuncio_xmpp::{Condition, Element, write_error_reply};
use tracing::error;

use super::pending::{Noted, Pending};
use super::{Fate, LanePort, MessageNumber, Tally, Unsettled};

/// A reserved place for one reply in a lane. Dropped unused, it is free again.
#[derive(Debug)]
pub struct ReplySlot {
    /// Gone once the place is used.
    lane: Option<Arc<LanePort>>,
    /// The stanza it is kept for is acknowledged when it is used or given back, and no sooner: that a refusal by rule
    /// takes as long as one of a front end must not be told by the acknowledgement either.
    unsettled: Option<Unsettled>,
    /// It waits for people, and stands in the store for as long as its sender is owed something.
    noted: Option<Box<Noted>>,
}

impl ReplySlot {
    pub(super) fn reserve(lane: &Arc<LanePort>) -> Option<Self> {
        lane.step(|lane| lane.reserve_reply()).then(|| Self {
            lane: Some(Arc::clone(lane)),
            unsettled: None,
            noted: None,
        })
    }

    /// The stanza that the place is kept for is to be acknowledged.
    pub fn settles(mut self, unsettled: Option<Unsettled>) -> Self {
        self.unsettled = unsettled;
        self
    }

    pub(super) fn send(mut self, bytes: Vec<u8>, now: Moment) {
        match (self.noted.take(), &self.lane) {
            // A reply is lost if his server cannot be reached. He may have an acknowledgement: this one must not be.
            (Some(noted), Some(lane)) => noted.say(bytes, lane, now),
            _ => {
                if let Some(lane) = self.lane.take() {
                    lane.feed(|lane| lane.push_reply(bytes, now.instant));
                }
            }
        }
    }

    /// There is nothing to be said.
    fn done(mut self) {
        if let Some(noted) = self.noted.take() {
            noted.done();
        }
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.feed_if(|lane| {
                lane.release_reply();
                lane.has_outputs()
            });
        }
    }
}

/// A stanza of a partner whose sender gets an answer if things go wrong. Whoever is done with it says so; one that
/// is merely dropped was lost by an internal error, and its sender is told that.
#[derive(Debug)]
pub(super) struct Incoming {
    stanza: Element,
    /// Gone once the sender's due is settled.
    slot: Option<ReplySlot>,
    arrival: Moment,
    /// Where it is counted what becomes of it, if it is a message that may cross.
    tally: Option<Arc<Tally>>,
    /// What it is told by then.
    sequence: u64,
    /// Whether the partner had proved itself by certificate then, if anybody is to be told.
    proved: Option<bool>,
}

impl Incoming {
    pub(super) fn new(stanza: Element, slot: Option<ReplySlot>, now: Moment) -> Self {
        Self { stanza, slot, arrival: now, tally: None, sequence: 0, proved: None }
    }

    pub(super) fn under_proof(mut self, proved: Option<bool>) -> Self {
        self.proved = proved;
        self
    }

    pub(super) fn proved(&self) -> Option<bool> {
        self.proved
    }

    pub(super) fn stanza(&self) -> &Element {
        &self.stanza
    }

    /// It is a message, counts there, and has this number.
    pub(super) fn counted_in(&mut self, tally: &Arc<Tally>, sequence: u64) {
        (self.tally, self.sequence) = (Some(Arc::clone(tally)), sequence);
    }

    /// What it is told by in the log.
    pub(super) fn number(&self) -> MessageNumber {
        MessageNumber { sequence: self.sequence, at_ms: self.arrival.unix_ms }
    }

    /// A front end has taken it.
    pub(super) fn delivered(&self, now: Moment) {
        if let Some(tally) = &self.tally {
            let took = now.instant.saturating_duration_since(self.arrival.instant);
            tally.delivered(Direction::XmppToSip, took);
        }
    }

    /// Something else became of it.
    pub(super) fn came_to(&self, fate: Fate) {
        if let Some(tally) = &self.tally {
            tally.came_to(Direction::XmppToSip, fate);
        }
    }

    /// It waits for people. Once that is noted, its stream need not wait any longer for what becomes of it; its sender is told
    /// all the same if it comes to nothing.
    pub(super) fn take_on(&mut self, pending: &Arc<Pending>, now: Moment) {
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.noted.is_none()) {
            slot.noted = Some(Box::new(pending.note(&self.stanza, slot.unsettled.take(), self.arrival, now)));
        }
    }

    /// Its sender is owed nothing more.
    pub(super) fn done(mut self) {
        if let Some(slot) = self.slot.take() {
            slot.done();
        }
    }

    pub(super) fn answer(mut self, bytes: Vec<u8>, now: Moment) {
        if let Some(slot) = self.slot.take() {
            slot.send(bytes, now);
        }
    }

    pub(super) fn fail(mut self, failure: &XmppFailure, now: Moment) {
        self.settle(failure, now);
    }

    /// The error in its wording, and the place for it, to be sent later. Nothing if there is none to send.
    pub(super) fn fail_later(mut self, failure: &XmppFailure) -> Option<(ReplySlot, Vec<u8>)> {
        let slot = self.slot.take()?;
        match self.error(failure) {
            Some(bytes) => Some((slot, bytes)),
            None => {
                slot.done();
                None
            }
        }
    }

    fn settle(&mut self, failure: &XmppFailure, now: Moment) {
        match (self.slot.take(), self.error(failure)) {
            (Some(slot), Some(bytes)) => slot.send(bytes, now),
            (Some(slot), None) => slot.done(),
            (None, _) => {}
        }
    }

    fn error(&self, failure: &XmppFailure) -> Option<Vec<u8>> {
        let (kind, condition, text) = (failure.kind, failure.condition, failure.text.as_deref());
        let mut bytes = Vec::new();
        write_error_reply(&mut bytes, &self.stanza, kind, condition, text, None).then_some(bytes)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.slot.is_none() {
            return;
        }
        error!("a stanza was lost to an internal error; its sender is told");
        // This may well be part of a panic already: another one must not leave from here.
        let now = self.arrival;
        let _ = catch_unwind(AssertUnwindSafe(|| self.settle(&lost(), now)));
    }
}

/// What senders are told of messages that an internal error cost.
pub(super) fn lost() -> XmppFailure {
    XmppFailure::new(
        Condition::InternalServerError,
        "the gateway met an internal error; the message may not have been delivered",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nuncio_xmpp::lane::{Lane, LaneConfig, Offer};
    use nuncio_xmpp::ns;

    use super::*;
    use crate::gateway::port::Port;

    fn lane(replies: usize) -> Arc<LanePort> {
        Arc::new(Port::new(Lane::new(LaneConfig { reply_capacity: replies, ..LaneConfig::default() })))
    }

    fn now() -> Moment {
        Moment { instant: Instant::now(), unix_ms: 1_795_184_285_000 }
    }

    fn message() -> Element {
        let addressed = Element::new("message", ns::SERVER).with_attr("id", "m1");
        addressed.with_attr("from", "bob@fabrikam.example").with_attr("to", "alice@contoso.example")
    }

    /// Places taken, reserved or by a queued reply.
    fn taken(lane: &LanePort) -> usize {
        lane.step(|lane| lane.occupancy().1)
    }

    #[test]
    fn a_place_is_given_back_once_however_it_is_let_go() {
        let lane = lane(2);
        let first = ReplySlot::reserve(&lane).unwrap();
        let second = Incoming::new(message(), ReplySlot::reserve(&lane), now());
        assert!(ReplySlot::reserve(&lane).is_none(), "one past the limit");
        drop(first);
        assert_eq!(taken(&lane), 1);
        second.done();
        assert_eq!(taken(&lane), 0);
        ReplySlot::reserve(&lane).unwrap().send(b"<message/>".to_vec(), now());
        assert_eq!(taken(&lane), 1, "the reply takes the place until it is written");
    }

    #[test]
    fn a_stanza_that_a_panic_takes_is_reported_in_its_place() {
        let lane = lane(1);
        let incoming = Incoming::new(message(), ReplySlot::reserve(&lane), now());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = incoming;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        lane.step(|lane| lane.opened(Offer::default(), Instant::now()));
        let mut written = Vec::new();
        struct Hooks;
        impl nuncio_xmpp::lane::WriteHooks<crate::gateway::ToXmppEnvelope> for Hooks {
            fn admit(&mut self, _: nuncio_xmpp::lane::Outgoing<'_, crate::gateway::ToXmppEnvelope>) -> bool {
                true
            }
            fn ping(&mut self, _: u64, _: &mut Vec<u8>) {}
        }
        lane.step(|lane| lane.take(1 << 16, &mut written, &mut Hooks, Instant::now()));
        let written = String::from_utf8(written).unwrap();
        assert!(written.contains("<internal-server-error"), "{written}");
        assert!(written.contains("to='bob@fabrikam.example' id='m1' type='error'"), "{written}");
    }
}
