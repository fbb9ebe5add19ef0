//! The lane's state machine. See the module above for the life of a stanza.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::acknowledged::Managed;
use super::{
    Backoff, Envelope, Failure, FailureKind, LaneConfig, LaneCounters, Offer, Output, PushError, PushRefusal,
};

/// A stream that lived this long, or on which something was proved processed, was a working one: when
/// it ends, the next attempt is made at once instead of after a back-off.
const WORKING_STREAM: Duration = Duration::from_secs(10);

/// The ordered way from one local domain to one remote domain.
#[derive(Debug)]
pub struct Lane<E: Envelope> {
    pub(super) config: LaneConfig,
    pub(super) state: State,
    pub(super) backoff: Backoff,
    pub(super) last_failure: Option<Failure>,
    /// When a sign of life last ended a back-off.
    pub(super) heeded: Option<Instant>,
    pub(super) draining: bool,

    pub(super) queue: VecDeque<Entry<E>>,
    pub(super) queued_tracked: usize,
    pub(super) queued_bytes: usize,
    /// The batch handed out by [`Lane::take`], until [`Lane::written`].
    pub(super) writing: Option<Batch<E>>,
    pub(super) unconfirmed: VecDeque<Unconfirmed<E::Receipt>>,
    pub(super) ping: Option<Ping>,
    /// A ping, or a request for an acknowledgement, is wanted whether anything waits for it or not.
    pub(super) probe: bool,
    /// Stream management, where the peer speaks it.
    pub(super) managed: Managed<E>,
    /// Octets of the largest stanza the peer takes, as it said last.
    pub(super) max_bytes: Option<usize>,
    /// Sequence number of the last tracked stanza handed to a connection.
    sequence: u64,
    pub(super) pings: u64,

    /// Replies reserved but not yet pushed.
    reserved: usize,
    /// Replies queued or being written.
    replies: usize,
    reply_waiters: bool,

    pub(super) outputs: VecDeque<Output<E>>,
    pub(super) counters: LaneCounters,
}

#[derive(Debug)]
pub(super) enum State {
    /// No connection and none wanted.
    Idle,
    /// [`Output::Connect`] was given; the driver is at it.
    Connecting,
    /// A stream is established.
    Open { since: Instant, proved: bool },
    /// The last attempt failed; the next one is due at `until`.
    BackOff { until: Instant },
}

#[derive(Debug)]
pub(super) struct Entry<E> {
    pub(super) bytes: Vec<u8>,
    /// `None`: a reply, which nobody waits for.
    pub(super) envelope: Option<E>,
    pub(super) arrival: Instant,
}

impl<E> Entry<E> {
    /// Of a stanza that the peer counts, and that is not sent again.
    pub(super) fn only_counted(arrival: Instant) -> Self {
        Self { bytes: Vec::new(), envelope: None, arrival }
    }
}

#[derive(Debug)]
pub(super) struct Batch<E> {
    pub(super) tracked: VecDeque<(E, Instant)>,
    pub(super) replies: usize,
    /// The ping at the end of the batch, which covers everything before it.
    pub(super) ping: Option<u64>,
    /// The answer to that ping came before the write was over.
    pub(super) answered: bool,
    /// What becomes of its stanzas, stream management knows.
    pub(super) managed: bool,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct Unconfirmed<R> {
    sequence: u64,
    receipt: R,
}

#[derive(Debug)]
pub(super) struct Ping {
    id: u64,
    covers: u64,
    deadline: Instant,
}

impl<E: Envelope> Lane<E> {
    pub fn new(config: LaneConfig) -> Self {
        let backoff = Backoff::new(config.backoff_initial, config.backoff_max);
        Self {
            config,
            state: State::Idle,
            backoff,
            last_failure: None,
            heeded: None,
            draining: false,
            queue: VecDeque::new(),
            queued_tracked: 0,
            queued_bytes: 0,
            writing: None,
            unconfirmed: VecDeque::new(),
            ping: None,
            probe: false,
            managed: Managed::new(),
            max_bytes: None,
            sequence: 0,
            pings: 0,
            reserved: 0,
            replies: 0,
            reply_waiters: false,
            outputs: VecDeque::new(),
            counters: LaneCounters::default(),
        }
    }

    // --- traffic in -----------------------------------------------------------------------------

    /// Queues a stanza whose sender waits for the outcome; it is reported by exactly one of [`Output::Written`],
    /// [`Output::Expired`], [`Output::Refused`], [`Output::TooLarge`] and [`Output::InFlight`].
    ///
    /// # Errors
    /// The lane is full, out of reach for longer than the hold time, or shutting down, or the stanza too large for the
    /// partner; the envelope comes back and nothing was queued.
    pub fn push(&mut self, bytes: Vec<u8>, envelope: E, now: Instant) -> Result<(), PushError<E>> {
        if let Some(reason) = self.refusal(bytes.len(), now) {
            return Err(PushError { envelope, reason });
        }
        self.queued_tracked += 1;
        self.queued_bytes += bytes.len();
        self.queue.push_back(Entry { bytes, envelope: Some(envelope), arrival: now });
        self.connect_if_idle();
        Ok(())
    }

    /// Takes out the tracked stanzas that still wait and are wanted no more. Nothing is reported of them: here they are.
    pub fn recall(&mut self, unwanted: impl Fn(&E) -> bool) -> Vec<E> {
        let is_unwanted = |entry: &Entry<E>| entry.envelope.as_ref().is_some_and(&unwanted);
        if !self.queue.iter().any(is_unwanted) {
            return Vec::new();
        }
        let mut recalled = Vec::new();
        for entry in std::mem::take(&mut self.queue) {
            if is_unwanted(&entry) {
                self.queued_tracked -= 1;
                self.queued_bytes = self.queued_bytes.saturating_sub(entry.bytes.len());
                recalled.extend(entry.envelope);
            } else {
                self.queue.push_back(entry);
            }
        }
        self.drained_if_written();
        recalled
    }

    /// Reserves room for one reply. Requests from the partner are only worked on with a reservation in
    /// hand, so that their answer always has a place. On `false`, [`Output::ReplyRoom`] will follow.
    pub fn reserve_reply(&mut self) -> bool {
        if self.reserved + self.replies >= self.config.reply_capacity {
            self.reply_waiters = true;
            return false;
        }
        self.reserved += 1;
        true
    }

    /// Gives back a reservation that was not needed.
    pub fn release_reply(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
        self.offer_reply_room();
    }

    /// Queues a reply, using up a reservation.
    pub fn push_reply(&mut self, bytes: Vec<u8>, now: Instant) {
        self.reserved = self.reserved.saturating_sub(1);
        if self.draining && !matches!(self.state, State::Open { .. }) {
            self.drop_replies_count(1);
            return;
        }
        self.replies += 1;
        self.queue.push_back(Entry { bytes, envelope: None, arrival: now });
        self.connect_if_idle();
    }

    // --- connection -----------------------------------------------------------------------------

    /// A stream that the peer opened carries the lane from now on (XEP-0288), whether one was asked for or not. False: another
    /// one does; or the lane has a session to resume, which takes a stream of ours; or nothing is to leave any more.
    #[must_use]
    pub fn opened_by_peer(&mut self, now: Instant) -> bool {
        if self.needs_stream_of_ours() {
            return false;
        }
        // What it takes, a peer says on our streams only.
        self.opened(Offer { management: false, both_ways: true, max_bytes: self.max_bytes }, now)
    }

    /// Whether there is a session to resume, which takes a stream of ours. [`Output::Free`] says when it is given up.
    pub fn needs_stream_of_ours(&self) -> bool {
        self.managed.is_resumable()
    }

    /// The stream that [`Output::Connect`] asked for is established and may carry stanzas. False: another one carries the
    /// lane meanwhile, or nothing is to leave any more.
    #[must_use]
    pub fn opened(&mut self, offer: Offer, now: Instant) -> bool {
        let late = self.draining && !matches!(self.state, State::Connecting);
        if self.is_open() || late {
            return false;
        }
        self.state = State::Open { since: now, proved: false };
        // Whoever waits for too long from now on is not told of what is over.
        self.last_failure = None;
        self.max_bytes = offer.max_bytes;
        self.open_managed(offer);
        self.drained_if_written();
        true
    }

    /// The stream that carries the lane is given up, whatever is under way on it: [`Output::Abort`] follows.
    pub fn abandon(&mut self) {
        if self.is_open() {
            self.outputs.push_back(Output::Abort);
        }
    }

    /// The stream ended, whoever ended it.
    pub fn closed(&mut self, failure: Option<Failure>, random: u64, now: Instant) {
        self.fail_batch(failure.as_ref());
        self.lose_managed(failure.as_ref());
        self.ping = None;
        self.probe = false;
        self.outputs.extend(self.unconfirmed.drain(..).map(|entry| Output::MayBeLost(entry.receipt)));

        let worked = match self.state {
            State::Open { since, proved } => proved || now.duration_since(since) >= WORKING_STREAM,
            _ => false,
        };
        if failure.is_some() {
            self.last_failure = failure;
        }
        if worked {
            self.backoff.reset();
            self.state = State::Idle;
            if self.draining {
                self.give_up_queue();
            } else if self.wants_stream() {
                self.connect_if_idle();
            }
        } else {
            self.back_off(random, now);
        }
    }

    /// The peer answered the closing of the stream: it has taken all that was written. [`Lane::closed`]
    /// follows.
    pub fn close_answered(&mut self) {
        self.counters.confirmed += self.forget_unconfirmed(self.sequence);
        if let State::Open { proved, .. } = &mut self.state {
            *proved = true;
        }
    }

    /// Takes nothing new any more. [`Output::Drained`] says that the stream may be closed, because all is
    /// written, and again, after [`Lane::closed`], that nothing is left. What is not proved processed by
    /// then is proved by the peer's answer to the closing ([`Lane::close_answered`]).
    pub fn drain(&mut self) {
        self.draining = true;
        if !matches!(self.state, State::Open { .. } | State::Connecting) {
            self.give_up_queue();
        }
        self.drained_if_written();
    }

    // --- proof ----------------------------------------------------------------------------------

    /// The batch handed out by [`Lane::take`] was written completely.
    pub fn written(&mut self, now: Instant) {
        let Some(batch) = self.writing.take() else { return };
        self.free_replies(batch.replies);
        self.outputs.reserve(batch.tracked.len());
        for (envelope, _) in batch.tracked {
            self.sequence += 1;
            self.unconfirmed.push_back(Unconfirmed { sequence: self.sequence, receipt: envelope.receipt() });
            self.outputs.push_back(Output::Written(envelope));
        }
        if let Some(id) = batch.ping {
            let deadline = now + self.config.ping_timeout;
            self.ping = Some(Ping { id, covers: self.sequence, deadline });
            if batch.answered {
                self.ping_answered(id);
            }
        }
        self.drained_if_written();
    }

    /// An answer to the ping `id` came, on whichever stream; an error answer counts as well.
    pub fn ping_answered(&mut self, id: u64) {
        // The peer can be quicker than the write that carries the ping returns here.
        if let Some(batch) = self.writing.as_mut().filter(|batch| batch.ping == Some(id)) {
            batch.answered = true;
            return;
        }
        let Some(ping) = self.ping.take_if(|ping| ping.id == id) else { return };
        self.counters.proofs += 1;
        self.counters.confirmed += self.forget_unconfirmed(ping.covers);
        if let State::Open { proved, .. } = &mut self.state {
            *proved = true;
        }
        self.backoff.reset();
    }

    // --- time and outputs -----------------------------------------------------------------------

    pub fn poll(&mut self) -> Option<Output<E>> {
        self.outputs.pop_front()
    }

    /// When [`Lane::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let hold = self.config.hold;
        let connection = match self.state {
            State::BackOff { until } if self.wants_stream() => Some(until),
            _ => None,
        };
        [
            connection,
            self.managed.deadline(&self.config),
            self.queue.front().map(|entry| entry.arrival + hold),
            self.writing.as_ref().map(|batch| batch.since + self.config.stall),
            self.writing.as_ref().and_then(|b| b.tracked.front()).map(|(_, arrival)| *arrival + hold),
            self.ping.as_ref().map(|ping| ping.deadline),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.managed_timeout(now);
        self.expire_queue(now);
        self.expire_batch(now);
        if let Some(ping) = self.ping.take_if(|ping| ping.deadline <= now) {
            self.give_up_unconfirmed(ping.covers);
        }
        if matches!(self.state, State::BackOff { until } if until <= now) {
            self.state = State::Idle;
            if self.wants_stream() {
                self.connect_if_idle();
            }
        }
    }

    /// Everything [`Lane::poll`] would give, at once.
    pub fn poll_all(&mut self) -> VecDeque<Output<E>> {
        std::mem::take(&mut self.outputs)
    }

    /// Whether [`Lane::poll`] would give something.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Whether stanzas or replies wait to be written. While some do, the driver needs no word of another.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// What [`Output::Drained`] says holds now.
    pub fn is_drained(&self) -> bool {
        let written = self.queue.is_empty() && self.writing.is_none() && self.managed.is_settled();
        self.draining && written && !matches!(self.state, State::Connecting)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Nothing is queued, being written, or waiting for proof.
    pub fn is_empty(&self) -> bool {
        let settled = self.unconfirmed.is_empty() && self.managed.is_settled();
        self.queue.is_empty() && self.writing.is_none() && settled
    }

    /// Whether the partner takes a stanza of so many octets (XEP-0478), as far as is known.
    pub fn takes(&self, octets: usize) -> bool {
        self.max_bytes.is_none_or(|limit| octets <= limit)
    }

    /// Stanzas and replies queued or being written: never above the configured bounds.
    pub fn occupancy(&self) -> (usize, usize) {
        let writing = self.writing.as_ref().map_or(0, |batch| batch.tracked.len());
        (self.queued_tracked + writing, self.replies + self.reserved)
    }

    /// Tracked stanzas written and not proved processed.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed.len() + self.managed.unacked()
    }

    pub fn counters(&self) -> LaneCounters {
        self.counters
    }

    /// Why the last attempt or stream failed.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    /// Why a small stanza would be refused now; `None`: it would be taken.
    pub fn would_refuse(&self, now: Instant) -> Option<PushRefusal> {
        self.refusal(0, now)
    }

    // --- details --------------------------------------------------------------------------------

    fn refusal(&self, size: usize, now: Instant) -> Option<PushRefusal> {
        if self.draining {
            return Some(PushRefusal::ShuttingDown);
        }
        if let Some(limit) = self.max_bytes.filter(|limit| size > *limit) {
            return Some(PushRefusal::TooLarge(limit));
        }
        if let (State::BackOff { until }, Some(failure)) = (&self.state, &self.last_failure)
            && until.saturating_duration_since(now) > self.config.hold
        {
            return Some(PushRefusal::Unreachable(failure.clone()));
        }
        let full = self.occupancy().0 >= self.config.capacity
            || (self.queued_bytes + size > self.config.capacity_bytes && self.queued_tracked > 0);
        full.then_some(PushRefusal::Full)
    }

    fn forget_unconfirmed(&mut self, covers: u64) -> u64 {
        let mut count = 0;
        while self.unconfirmed.front().is_some_and(|entry| entry.sequence <= covers) {
            self.unconfirmed.pop_front();
            count += 1;
        }
        count
    }

    /// No proof came in time. On a stream that has brought proof before, that says something.
    fn give_up_unconfirmed(&mut self, covers: u64) {
        let proved = matches!(self.state, State::Open { proved: true, .. });
        while let Some(entry) = self.unconfirmed.pop_front_if(|entry| entry.sequence <= covers) {
            self.counters.unconfirmed += 1;
            if proved {
                self.outputs.push_back(Output::Unproved(entry.receipt));
            }
        }
    }

    fn expire_queue(&mut self, now: Instant) {
        let hold = self.config.hold;
        while self.queue.front().is_some_and(|entry| entry.arrival + hold <= now) {
            self.expire_front();
        }
        self.drained_if_written();
    }

    pub(super) fn expire_front(&mut self) {
        let Some(entry) = self.queue.pop_front() else { return };
        self.queued_bytes = self.queued_bytes.saturating_sub(entry.bytes_if_tracked());
        match entry.envelope {
            None => {
                self.replies = self.replies.saturating_sub(1);
                self.drop_replies_count(1);
            }
            Some(envelope) => {
                self.queued_tracked -= 1;
                self.outputs.push_back(Output::Expired { envelope, failure: self.last_failure.clone() });
            }
        }
    }

    /// The sender's answer is due even when the write stands still; the stanza may yet arrive.
    fn expire_batch(&mut self, now: Instant) {
        let hold = self.config.hold;
        let Some(batch) = &mut self.writing else { return };
        while batch.tracked.front().is_some_and(|(_, arrival)| *arrival + hold <= now) {
            if let Some((envelope, _)) = batch.tracked.pop_front() {
                self.outputs.push_back(Output::InFlight { envelope, failure: None });
            }
        }
        if batch.since + self.config.stall <= now {
            // Asked again only after another stall time, should the driver be slow to act.
            batch.since = now;
            self.outputs.push_back(Output::Abort);
        }
    }

    fn fail_batch(&mut self, failure: Option<&Failure>) {
        let Some(batch) = self.writing.take() else { return };
        self.free_replies(batch.replies);
        if !batch.managed {
            self.drop_replies_count(batch.replies);
        }
        for (envelope, _) in batch.tracked {
            self.outputs.push_back(Output::InFlight { envelope, failure: failure.cloned() });
        }
    }

    /// Draining without a connection: nothing will leave any more.
    pub(super) fn give_up_queue(&mut self) {
        if self.last_failure.is_none() && self.wants_stream() {
            self.last_failure = Some(Failure::new(FailureKind::Shutdown, "the gateway is stopping"));
        }
        while !self.queue.is_empty() {
            self.expire_front();
        }
        self.give_up_again();
        self.give_up_unacked(None);
        self.drained_if_written();
    }

    pub(super) fn drained_if_written(&mut self) {
        if self.is_drained() {
            self.outputs.push_back(Output::Drained);
        }
    }

    pub(super) fn drop_replies(&mut self, count: usize) {
        self.free_replies(count);
        self.drop_replies_count(count);
    }

    fn drop_replies_count(&mut self, count: usize) {
        self.counters.replies_dropped += count as u64;
        self.offer_reply_room();
    }

    pub(super) fn free_replies(&mut self, count: usize) {
        self.replies = self.replies.saturating_sub(count);
        self.offer_reply_room();
    }

    fn offer_reply_room(&mut self) {
        if self.reply_waiters && self.reserved + self.replies < self.config.reply_capacity {
            self.reply_waiters = false;
            self.outputs.push_back(Output::ReplyRoom);
        }
    }
}

impl<E> Entry<E> {
    pub(super) fn bytes_if_tracked(&self) -> usize {
        if self.envelope.is_some() { self.bytes.len() } else { 0 }
    }
}
