//! Client transactions (RFC 3261 §17.1 on a reliable transport, RFC 6026).

use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::arena::{Arena, Handle};
use super::keys::{Key, KeyMap};
use super::{INVITE_ABANDONED_AFTER, SETTLED_FOR, SendRefused, TIMER_F, Why};
use crate::{Fields, StatusCode};

/// The client transactions of one connection.
#[derive(Debug)]
pub(super) struct Client<E> {
    pending: Arena<Pending<E>, LANES>,
    table: KeyMap<Handle>,
    /// Those among `pending` that have their response.
    accepted: usize,
    max_pending: usize,
}

#[derive(Debug)]
struct Pending<E> {
    key: Key,
    /// When the timer of its lane began.
    since: Instant,
    /// Where the request begins in the stream of all bytes ever queued.
    begins: u64,
    /// Gone with the final response.
    envelope: Option<E>,
    invite: Option<Box<Invite>>,
}

/// What an INVITE has besides.
#[derive(Debug)]
struct Invite {
    /// The whole request: ACK and CANCEL are made of it.
    request: Bytes,
    /// To be cancelled with the first provisional response, by a CANCEL with these fields.
    cancel_wanted: Option<Fields>,
}

/// Sent, in the order of sending. Timer F, or B of an INVITE without any response: they are equally long.
const SENT: usize = 0;
/// INVITEs with a provisional response.
const PROCEEDING: usize = 1;
/// INVITEs that were cancelled (RFC 3261 §9.1).
const CANCELLED: usize = 2;
/// INVITEs with 2xx; another one may follow (Timer M).
const ACCEPTED: usize = 3;
const LANES: usize = 4;

/// How long a transaction stays in each lane.
const LANE_TIMERS: [Duration; LANES] = [TIMER_F, INVITE_ABANDONED_AFTER, SETTLED_FOR, SETTLED_FOR];

/// What a final response is.
pub(super) enum Final<E> {
    /// The one that settles the request; with the INVITE that has to be acknowledged here.
    First {
        envelope: E,
        invite: Option<Bytes>,
    },
    /// Another 2xx to an INVITE that has one.
    Another,
    Stray,
}

/// What a provisional response is about.
pub(super) enum Known {
    No,
    Yes,
    /// With the INVITE that has to be cancelled now, and the fields that say why.
    Invite {
        cancel: Option<(Bytes, Fields)>,
    },
}

/// A timer that fired.
pub(super) enum Expired<E> {
    /// The request of this envelope, sent or cancelled then, got no final response.
    Failed { envelope: E, since: Instant },
    /// An INVITE that was left without a final response has to be cancelled.
    Cancel(Bytes),
    /// Timer M.
    Over,
}

impl<E> Client<E> {
    pub(super) fn new(max_pending: usize) -> Self {
        Self { pending: Arena::new(), table: KeyMap::default(), accepted: 0, max_pending }
    }

    /// Requests without final response.
    pub(super) fn len(&self) -> usize {
        self.pending.len() - self.accepted
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.max_pending
    }

    /// Remembers a request that begins at `begins`.
    pub(super) fn begin(
        &mut self,
        key: Key,
        begins: u64,
        invite: Option<Bytes>,
        envelope: E,
        now: Instant,
    ) -> Result<(), SendRefused<E>> {
        if self.is_full() {
            return Err(SendRefused { why: Why::Full, envelope });
        }
        match self.table.entry(key) {
            Entry::Occupied(_) => Err(SendRefused { why: Why::BranchInUse, envelope }),
            Entry::Vacant(vacant) => {
                let invite = invite.map(|request| Box::new(Invite { request, cancel_wanted: None }));
                let pending = Pending { key, since: now, begins, envelope: Some(envelope), invite };
                vacant.insert(self.pending.push(SENT, pending));
                Ok(())
            }
        }
    }

    /// Takes note of a final response.
    pub(super) fn finish(&mut self, key: Key, status: StatusCode, now: Instant) -> Final<E> {
        let Some(handle) = self.table.get(&key).copied() else { return Final::Stray };
        let Some(pending) = self.pending.get_mut(handle) else { return Final::Stray };
        match (pending.envelope.take(), &pending.invite) {
            (Some(envelope), Some(_)) if status.is_success() => {
                pending.invite = None;
                self.accept(handle, now);
                Final::First { envelope, invite: None }
            }
            // Timer D is zero over a reliable transport.
            (Some(envelope), _) => {
                let invite = self.take(handle).and_then(|pending| pending.invite);
                Final::First { envelope, invite: invite.map(|invite| invite.request) }
            }
            (None, _) if status.is_success() => Final::Another,
            (None, _) => Final::Stray,
        }
    }

    /// So many are remembered at most as may be without response: the oldest is let go.
    fn accept(&mut self, handle: Handle, now: Instant) {
        self.accepted += 1;
        self.move_to(handle, ACCEPTED, now);
        if self.accepted > self.max_pending
            && let Some((oldest, _)) = self.pending.first(ACCEPTED)
        {
            self.take(oldest);
        }
    }

    /// Takes note of a provisional response.
    pub(super) fn proceed(&mut self, key: Key, now: Instant) -> Known {
        let Some(handle) = self.table.get(&key).copied() else { return Known::No };
        let Some(pending) = self.pending.get_mut(handle) else { return Known::No };
        let (answered, lane) = (pending.envelope.is_none(), self.pending.lane(handle));
        let Some(invite) = self.pending.get_mut(handle).and_then(|pending| pending.invite.as_mut()) else {
            return if answered { Known::No } else { Known::Yes };
        };
        let cancel = invite.cancel_wanted.take().map(|fields| (invite.request.clone(), fields));
        match (lane, &cancel) {
            (_, Some(_)) => self.move_to(handle, CANCELLED, now),
            // Every provisional response but 100 makes a proxy wait anew (Timer C); so do we for any.
            (Some(SENT | PROCEEDING), None) => self.move_to(handle, PROCEEDING, now),
            _ => {}
        }
        Known::Invite { cancel }
    }

    /// The INVITE with this key is not wanted any more: returns it if CANCEL may leave now.
    pub(super) fn cancel(&mut self, key: Key, fields: Fields, now: Instant) -> Option<(Bytes, Fields)> {
        let handle = *self.table.get(&key)?;
        let lane = self.pending.lane(handle);
        let invite = self.pending.get_mut(handle)?.invite.as_mut()?;
        match lane {
            Some(SENT) => {
                invite.cancel_wanted.get_or_insert(fields);
                None
            }
            Some(PROCEEDING) => {
                let request = invite.request.clone();
                self.move_to(handle, CANCELLED, now);
                Some((request, fields))
            }
            _ => None,
        }
    }

    /// A CANCEL of the INVITE with this key has left.
    pub(super) fn is_cancelled(&self, key: Key) -> bool {
        self.table.get(&key).is_some_and(|handle| self.pending.lane(*handle) == Some(CANCELLED))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = |(lane, after): (usize, &Duration)| {
            self.pending.first(lane).map(|(_, pending)| pending.since + *after)
        };
        LANE_TIMERS.iter().enumerate().filter_map(first).min()
    }

    /// Fires the next timer that is due.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Expired<E>> {
        let (lane, handle) = LANE_TIMERS.iter().enumerate().find_map(|(lane, after)| {
            let (handle, pending) = self.pending.first(lane)?;
            (pending.since + *after <= now).then_some((lane, handle))
        })?;
        if lane == PROCEEDING
            && let Some(invite) = self.pending.get(handle).and_then(|pending| pending.invite.as_ref())
        {
            let request = invite.request.clone();
            self.move_to(handle, CANCELLED, now);
            return Some(Expired::Cancel(request));
        }
        let Pending { envelope, since, .. } = self.take(handle)?;
        Some(envelope.map_or(Expired::Over, |envelope| Expired::Failed { envelope, since }))
    }

    /// Takes all requests without response, each with where it begins in the stream.
    pub(super) fn lost(&mut self) -> Vec<(u64, E)> {
        let mut lost = Vec::new();
        for lane in 0..LANES {
            while let Some((handle, _)) = self.pending.first(lane) {
                let pending = self.take(handle);
                lost.extend(pending.and_then(|pending| Some((pending.begins, pending.envelope?))));
            }
        }
        lost
    }

    fn move_to(&mut self, handle: Handle, lane: usize, now: Instant) {
        if let Some(pending) = self.pending.get_mut(handle) {
            pending.since = now;
        }
        self.pending.shift(handle, lane);
    }

    fn take(&mut self, handle: Handle) -> Option<Pending<E>> {
        let lane = self.pending.lane(handle);
        let pending = self.pending.remove(handle)?;
        self.accepted -= usize::from(lane == Some(ACCEPTED));
        self.table.remove(&pending.key);
        Some(pending)
    }
}
