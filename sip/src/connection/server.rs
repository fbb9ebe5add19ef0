//! Server transactions (RFC 3261 §17.2 on a reliable transport, RFC 6026; DEC-27).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;

use super::arena::{Arena, Handle};
use super::keys::{Key, KeyMap};
use super::{
    ABANDONED_AFTER, Copies, INVITE_ABANDONED_AFTER, INVITE_TRYING_AFTER, Merging, RING, RING_AGE,
    SETTLED_FOR, TRYING_AFTER,
};
use crate::{Message, ResponseHead};

/// The server transactions of one connection: those that wait for the caller's answer, INVITEs that have it and
/// wait for ACK or for their end, and the last [`RING`] others that have it.
#[derive(Debug)]
pub(super) struct Server {
    pending: Arena<Pending, LANES>,
    /// How many of them are answered INVITEs.
    settled: usize,
    /// Bytes that are kept for these.
    settled_bytes: usize,
    finished: VecDeque<Finished>,
    /// Number of the first entry of `finished`, counted over the life of the connection.
    first_finished: u64,
    table: KeyMap<Place>,
    merging: Option<Arc<dyn Merging>>,
    max_pending: usize,
}

/// A request that the caller has not answered yet, or an INVITE that has its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: Key,
    /// What other copies of this request share with it, as long as they are one too many; none inside a dialog.
    pub(super) copies: Option<Copies>,
    pub(super) head: ResponseHead,
    /// Our To tag.
    pub(super) tag: CompactString,
    pub(super) kind: Kind,
    pub(super) arrived: Instant,
    /// 100 Trying has been sent.
    pub(super) trying: bool,
    /// What an INVITE has been answered last, apart from 100.
    pub(super) answered: Option<Box<Answered>>,
}

/// An answer to INVITE as it was sent.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// Empty once a 2xx is acknowledged.
    pub(super) response: Box<[u8]>,
    /// When it was given; once a 2xx is acknowledged, when that was.
    pub(super) at: Instant,
}

/// What decides which answers may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invite,
    NonInvite,
    /// BENOTIFY: nothing may be answered at all.
    Silent,
}

/// The memory of an answered request.
#[derive(Debug)]
pub(super) struct Finished {
    key: Key,
    at: Instant,
    pub(super) status: u16,
    pub(super) tag: CompactString,
    /// The answer as it was sent, where status and tag do not say it all.
    pub(super) response: Option<Box<[u8]>>,
}

/// What is known of a request that came before.
pub(super) enum Repeat<'a> {
    Pending(&'a Pending),
    Finished(&'a Finished),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Pending(Handle),
    Finished(u64),
}

/// Bytes of INVITEs that have their final answer, on one connection.
const SETTLED_BYTES: usize = 1024 * 1024;

/// Lane of requests that got nothing yet.
const TRYING: usize = 0;
/// Lane of requests that got 100 Trying.
const PROCEEDING: usize = 1;
/// The same for INVITE.
const INVITE_TRYING: usize = 2;
/// INVITEs that got 100 Trying and nothing else.
const INVITE_PROCEEDING: usize = 3;
/// INVITEs that got another provisional answer, the last one longest ago first.
const RINGING: usize = 4;
/// INVITEs that were refused and wait for ACK: Completed.
const REFUSED: usize = 5;
/// INVITEs that got 2xx and wait for ACK: Accepted.
const ACCEPTED: usize = 6;
/// INVITEs whose 2xx has its ACK, the one acknowledged longest ago first. They stand apart from those that may have to be
/// repeated, so that nobody who looks for these has to pass them by.
const ACKNOWLEDGED: usize = 7;
const LANES: usize = 8;

/// A timer that fired.
pub(super) enum Fired<'a> {
    Trying(&'a mut Pending),
    Abandoned,
    /// An INVITE that nobody has answered.
    InviteAbandoned(Handle),
    /// Nobody has acknowledged an answer to INVITE other than 2xx (Timer H).
    Unacknowledged,
    /// An INVITE answered with 2xx need not be remembered any longer (Timer L).
    Over,
}

/// Another copy of the request has come before.
#[derive(Debug)]
pub(super) struct Merges;

/// What an ACK is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// An answer other than 2xx: the transaction has ended.
    Refusal,
    /// A 2xx, as an RFC 2543 client does it: within the transaction.
    Success,
    /// Nothing that is known here.
    Unknown,
}

impl Server {
    pub(super) fn new(max_pending: usize, merging: Option<Arc<dyn Merging>>) -> Self {
        Self {
            pending: Arena::new(),
            settled: 0,
            settled_bytes: 0,
            finished: VecDeque::new(),
            first_finished: 0,
            table: KeyMap::default(),
            merging,
            max_pending,
        }
    }

    /// Requests that wait for the caller's answer.
    pub(super) fn len(&self) -> usize {
        self.pending.len() - self.settled
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.max_pending
    }

    /// Looks for the transaction a request belongs to. The memory of a finished one ends after
    /// [`RING_AGE`], also when nothing has pushed it out of the ring.
    pub(super) fn find(&self, key: Key, now: Instant) -> Option<Repeat<'_>> {
        match *self.table.get(&key)? {
            Place::Pending(handle) => self.pending.get(handle).map(Repeat::Pending),
            Place::Finished(number) => {
                let index = usize::try_from(number.checked_sub(self.first_finished)?).ok()?;
                self.finished.get(index).filter(|f| !f.is_old(now)).map(Repeat::Finished)
            }
        }
    }

    /// Whether a request is the first of its copies (RFC 3261 §8.2.2.2). What is found is to go into its transaction.
    pub(super) fn first_of(&self, request: &Message, now: Instant) -> Result<Option<Copies>, Merges> {
        let Some(merging) = &self.merging else { return Ok(None) };
        match Copies::of(request, merging.secret()) {
            Some(copies) if !merging.begin(copies, now) => Err(Merges),
            copies => Ok(copies),
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, pending: Pending) -> Handle {
        let key = pending.key;
        let lane = if pending.kind == Kind::Invite { INVITE_TRYING } else { TRYING };
        let handle = self.pending.push(lane, pending);
        self.table.insert(key, Place::Pending(handle));
        handle
    }

    /// A request that waits for the caller's answer.
    pub(super) fn get(&self, handle: Handle) -> Option<&Pending> {
        self.pending.get(handle).filter(|pending| !pending.is_settled())
    }

    /// An INVITE answered with 2xx (RFC 6026 Accepted).
    pub(super) fn accepted(&self, handle: Handle) -> Option<&Pending> {
        self.pending.get(handle).filter(|pending| pending.accepted().is_some())
    }

    /// Notes that 100 Trying has been sent.
    pub(super) fn proceed(&mut self, handle: Handle) {
        let Some(pending) = self.pending.get_mut(handle) else { return };
        pending.trying = true;
        match (pending.kind, &pending.answered) {
            // 100 is no news to who has heard it ring.
            (Kind::Invite, Some(_)) => {}
            (Kind::Invite, None) => self.pending.shift(handle, INVITE_PROCEEDING),
            (Kind::NonInvite | Kind::Silent, _) => self.pending.shift(handle, PROCEEDING),
        }
    }

    /// Notes another provisional answer to INVITE, which repeats get again.
    pub(super) fn ring(&mut self, handle: Handle, answered: Answered) {
        let Some(pending) = self.pending.get_mut(handle) else { return };
        pending.trying = true;
        pending.answered = Some(Box::new(answered));
        self.pending.shift(handle, RINGING);
    }

    /// Notes the final answer to INVITE. What is refused may come again on another way. So many are remembered at most as may
    /// wait for an answer, and so many bytes of them: the oldest is let go, for over TLS nothing is sent twice.
    pub(super) fn settle(&mut self, handle: Handle, answered: Answered) {
        let Some(pending) = self.pending.get_mut(handle) else { return };
        self.settled += usize::from(!pending.is_settled());
        self.settled_bytes = self.settled_bytes.saturating_sub(pending.settled_bytes()) + answered.bytes();
        let refused = (answered.status >= 300).then(|| pending.copies.take()).flatten();
        let lane = if answered.is_success() { ACCEPTED } else { REFUSED };
        pending.answered = Some(Box::new(answered));
        self.pending.shift(handle, lane);
        self.may_come_again(refused);
        while let Some(oldest) = self.one_too_many() {
            self.end(oldest);
        }
    }

    /// The answered INVITE to let go first, if there are too many of them or too many bytes are kept for them.
    fn one_too_many(&self) -> Option<Handle> {
        // Nothing is kept of those that are acknowledged but that they were there.
        let lanes = match self.settled > self.max_pending {
            true => &[REFUSED, ACCEPTED, ACKNOWLEDGED][..],
            false if self.settled_bytes > SETTLED_BYTES => &[REFUSED, ACCEPTED],
            false => return None,
        };
        let oldest = lanes.iter().filter_map(|lane| self.pending.first(*lane));
        oldest.min_by_key(|(_, pending)| pending.since()).map(|(handle, _)| handle)
    }

    /// An ACK has come that belongs to the transaction with this key (RFC 3261 §17.2.1), if our answer had this tag.
    pub(super) fn acknowledge(&mut self, key: Key, our_tag: Option<&str>) -> Acknowledged {
        let Some(Place::Pending(handle)) = self.table.get(&key).copied() else {
            return Acknowledged::Unknown;
        };
        let Some(pending) = self.pending.get(handle) else { return Acknowledged::Unknown };
        let ours = our_tag.is_none_or(|tag| pending.tag == tag);
        match pending.answered.as_ref().filter(|_| ours).map_or(0, |answered| answered.status) {
            ..200 => Acknowledged::Unknown,
            200..300 => Acknowledged::Success,
            _ => {
                self.end(handle);
                Acknowledged::Refusal
            }
        }
    }

    /// The 2xx to this INVITE has its ACK: it is not repeated any more (RFC 3261 §13.3.1.4), so it is not kept, nor is what
    /// another answer would need: nothing counts the bytes of these any more. That there was such an INVITE is, for repeats of it
    /// (RFC 6026 §7.1).
    pub(super) fn acknowledged(&mut self, handle: Handle, now: Instant) {
        let Some(pending) = self.pending.get_mut(handle) else { return };
        if pending.repeated().is_none() {
            return;
        }
        let before = pending.settled_bytes();
        if let Some(answered) = pending.answered.as_mut() {
            (answered.response, answered.at) = (Box::default(), now);
            pending.head = ResponseHead::default();
            self.settled_bytes = self.settled_bytes.saturating_sub(before);
            self.pending.shift(handle, ACKNOWLEDGED);
        }
    }

    /// The bytes that are kept of a transaction and its answer.
    #[cfg(test)]
    pub(super) fn kept(&self, handle: Handle) -> Option<usize> {
        let pending = self.pending.get(handle)?;
        Some(pending.head.len() + pending.answered.as_ref().map_or(0, |answered| answered.bytes()))
    }

    /// The handle of a pending INVITE.
    pub(super) fn pending_invite(&self, key: Key) -> Option<Handle> {
        let Some(Place::Pending(handle)) = self.table.get(&key).copied() else { return None };
        self.get(handle).filter(|pending| pending.kind == Kind::Invite).map(|_| handle)
    }

    /// Takes a transaction out. Further copies of its request are not one too many any more.
    pub(super) fn end(&mut self, handle: Handle) -> Option<Pending> {
        let mut pending = self.take(handle)?;
        self.may_come_again(pending.copies.take());
        Some(pending)
    }

    /// The same of one that gets this final answer now: what is delivered by it is not to come again.
    pub(super) fn end_with(&mut self, handle: Handle, status: u16, now: Instant) -> Option<Pending> {
        let mut pending = self.take(handle)?;
        match pending.copies.take_if(|copies| copies.delivers() && (200..300).contains(&status)) {
            Some(copies) => self.merging.iter().for_each(|merging| merging.end(copies, Some(now))),
            None => self.may_come_again(pending.copies.take()),
        }
        Some(pending)
    }

    fn may_come_again(&self, copies: Option<Copies>) {
        if let (Some(merging), Some(copies)) = (&self.merging, copies) {
            merging.end(copies, None);
        }
    }

    fn take(&mut self, handle: Handle) -> Option<Pending> {
        let pending = self.pending.remove(handle)?;
        self.settled -= usize::from(pending.is_settled());
        self.settled_bytes = self.settled_bytes.saturating_sub(pending.settled_bytes());
        self.table.remove(&pending.key);
        Some(pending)
    }

    /// Remembers an answer for repeats of the request.
    pub(super) fn remember(
        &mut self,
        key: Key,
        status: u16,
        tag: CompactString,
        response: Option<Box<[u8]>>,
        now: Instant,
    ) {
        self.forget_old(now);
        if self.finished.len() >= RING {
            self.forget_first();
        }
        let number = self.first_finished + self.finished.len() as u64;
        self.finished.push_back(Finished { key, at: now, status, tag, response });
        self.table.insert(key, Place::Finished(number));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = LANE_TIMERS.iter().filter_map(|(lane, after)| {
            self.pending.first(*lane).map(|(_, pending)| pending.since() + *after)
        });
        waiting.min()
    }

    pub(super) fn repeats_until(&self) -> Option<Instant> {
        self.pending.first(ACCEPTED).map(|(_, pending)| pending.since() + SETTLED_FOR)
    }

    /// The next timer that has fired.
    pub(super) fn fired(&mut self, now: Instant) -> Option<Fired<'_>> {
        let due = LANE_TIMERS.iter().find_map(|(lane, after)| {
            let (handle, pending) = self.pending.first(*lane)?;
            (pending.since() + *after <= now).then_some((*lane, handle))
        });
        match due? {
            (TRYING | INVITE_TRYING, handle) => {
                self.proceed(handle);
                self.pending.get_mut(handle).map(Fired::Trying)
            }
            (INVITE_PROCEEDING | RINGING, handle) => Some(Fired::InviteAbandoned(handle)),
            (REFUSED, handle) => self.end(handle).map(|_| Fired::Unacknowledged),
            (ACCEPTED | ACKNOWLEDGED, handle) => self.end(handle).map(|_| Fired::Over),
            (_, handle) => self.end(handle).map(|_| Fired::Abandoned),
        }
    }

    /// Forgets answers older than [`RING_AGE`].
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.finished.front().is_some_and(|finished| finished.is_old(now)) {
            self.forget_first();
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.finished.len()
    }

    fn forget_first(&mut self) {
        let Some(finished) = self.finished.pop_front() else { return };
        // The request may have come again since, and be pending.
        if let Some(Place::Finished(number)) = self.table.get(&finished.key)
            && *number == self.first_finished
        {
            self.table.remove(&finished.key);
        }
        self.first_finished += 1;
    }
}

/// The table of copies is not ours alone.
impl Drop for Server {
    fn drop(&mut self) {
        for lane in 0..LANES {
            while let Some((handle, _)) = self.pending.first(lane) {
                self.end(handle);
            }
        }
    }
}

/// How long a request stays in a lane: after its arrival, after its last answer other than 100, or after its ACK. A lane is in
/// the order of these times, so that its first one is due first.
const LANE_TIMERS: [(usize, Duration); LANES] = [
    (TRYING, TRYING_AFTER),
    (INVITE_TRYING, INVITE_TRYING_AFTER),
    (PROCEEDING, ABANDONED_AFTER),
    (INVITE_PROCEEDING, INVITE_ABANDONED_AFTER),
    (RINGING, INVITE_ABANDONED_AFTER),
    (REFUSED, SETTLED_FOR),
    (ACCEPTED, SETTLED_FOR),
    (ACKNOWLEDGED, SETTLED_FOR),
];

impl Answered {
    fn bytes(&self) -> usize {
        self.response.len().saturating_mul(2)
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Pending {
    /// It is an INVITE that has its final answer.
    pub(super) fn is_settled(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.status >= 200)
    }

    /// The 2xx it was answered with.
    pub(super) fn accepted(&self) -> Option<&Answered> {
        self.answered.as_deref().filter(|answered| answered.is_success())
    }

    /// The same, as long as it has no ACK.
    pub(super) fn repeated(&self) -> Option<&Answered> {
        self.accepted().filter(|answered| !answered.response.is_empty())
    }

    /// What is kept of it once it is settled: the answer, and nearly as much of the request.
    fn settled_bytes(&self) -> usize {
        self.answered.as_ref().filter(|_| self.is_settled()).map_or(0, |answered| answered.bytes())
    }

    fn since(&self) -> Instant {
        self.answered.as_ref().map_or(self.arrived, |answered| answered.at)
    }
}

impl Finished {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > RING_AGE
    }
}
