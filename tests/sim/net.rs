//! Byte streams that split, coalesce, delay, stall, close and reset at any byte.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::partner::Item;
use crate::rng::Rng;

pub(crate) type Micros = u64;
pub(crate) const MILLI: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// Names a connection; never used again.
pub(crate) type ConnId = usize;
/// 0 opened the connection, 1 accepted it.
pub(crate) type Side = usize;

/// Who lives at an end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A session of the gateway.
    Gateway { pump: usize },
    /// A stream that partner number `partner` opened.
    PartnerOut { partner: usize },
    /// A stream that the gateway opened to it.
    PartnerIn { partner: usize },
    /// A SIP connection of the front end.
    FrontEnd,
}

/// One direction, named after its writer.
#[derive(Debug)]
pub(crate) struct Dir {
    /// Taken from the writer, not with the reader's system yet.
    pub(crate) flight: VecDeque<u8>,
    /// With the reader's system, not read yet.
    pub(crate) arrived: BytesMut,
    /// Bytes the two may hold together, for writers that obey.
    capacity: usize,
    pub(crate) stalled_until: Micros,
    /// The writer has closed.
    pub(crate) fin: bool,
    /// A delivery is scheduled.
    pub(crate) scheduled: bool,
    /// Bytes written, and bytes read, since the beginning.
    pub(crate) written: u64,
    pub(crate) read: u64,
}

/// What the observer remembers of something written towards the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    Stanza(Item),
    /// A MESSAGE of a SIP user.
    Request(usize),
    /// A 2xx for a message of a contact.
    Accepted(usize),
    /// A SUBSCRIBE of an endpoint.
    Subscribe(usize),
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) ends: [Owner; 2],
    pub(crate) dirs: [Dir; 2],
    /// It was reset: both ends find it broken.
    pub(crate) broken: bool,
    /// The end has let go of it.
    pub(crate) gone: [bool; 2],
    /// The end waits for the TLS handshake.
    pub(crate) tls: [bool; 2],
    /// What was written towards the gateway, by the place in the byte stream where it ends.
    pub(crate) book: VecDeque<(u64, Sent)>,
    /// Delay of a delivery.
    latency: (Micros, Micros),
    /// Per cent of deliveries that are cut at a random byte.
    fragmented: u64,
}

impl Conn {
    pub(crate) fn new(opener: Owner, acceptor: Owner, capacity: usize, rng: &mut Rng) -> Self {
        let dir = || Dir {
            flight: VecDeque::new(),
            arrived: BytesMut::new(),
            capacity,
            stalled_until: 0,
            fin: false,
            scheduled: false,
            written: 0,
            read: 0,
        };
        let latency = rng.pick(&[(50, 500), (MILLI, 5 * MILLI), (20 * MILLI, 90 * MILLI)]);
        let fragmented = rng.pick(&[2, 10, 40]);
        Self {
            ends: [opener, acceptor],
            dirs: [dir(), dir()],
            broken: false,
            gone: [false; 2],
            tls: [false; 2],
            book: VecDeque::new(),
            latency,
            fragmented,
        }
    }

    pub(crate) fn room(&self, side: Side) -> usize {
        let dir = &self.dirs[side];
        dir.capacity.saturating_sub(dir.flight.len() + dir.arrived.len())
    }

    /// Takes bytes from the writer on `side`.
    pub(crate) fn write(&mut self, side: Side, bytes: &[u8]) {
        let dir = &mut self.dirs[side];
        dir.written += bytes.len() as u64;
        // What goes to an end that has closed is lost.
        if !self.gone[1 - side] && !self.broken {
            dir.flight.extend(bytes);
        }
    }

    /// Moves what arrives now.
    pub(crate) fn deliver(&mut self, side: Side, rng: &mut Rng) {
        let dir = &mut self.dirs[side];
        let all = dir.flight.len();
        let count = if all > 1 && rng.chance(self.fragmented) { 1 + rng.index(all - 1) } else { all };
        let (front, back) = dir.flight.as_slices();
        let first = count.min(front.len());
        dir.arrived.extend_from_slice(&front[..first]);
        dir.arrived.extend_from_slice(&back[..count - first]);
        dir.flight.drain(..count);
    }

    pub(crate) fn delay(&self, rng: &mut Rng) -> Micros {
        rng.range(self.latency.0, self.latency.1)
    }

    /// The reader on the other side takes up to `most` bytes.
    pub(crate) fn read(&mut self, writer: Side, most: usize) -> BytesMut {
        let dir = &mut self.dirs[writer];
        let count = most.min(dir.arrived.len());
        dir.read += count as u64;
        dir.arrived.split_to(count)
    }

    /// Nothing more will come from that writer.
    pub(crate) fn at_end(&self, writer: Side) -> bool {
        let dir = &self.dirs[writer];
        dir.fin && dir.flight.is_empty() && dir.arrived.is_empty()
    }

    pub(crate) fn reset(&mut self) {
        self.broken = true;
        for dir in &mut self.dirs {
            dir.flight.clear();
            dir.arrived.clear();
        }
    }
}
