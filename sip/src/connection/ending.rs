//! How a connection ends: when the socket is gone, at shutdown, and when nothing more is sent on it.

use super::{Connection, Failure, Output, Phase};

impl<E> Connection<E> {
    /// The socket is gone. Every request without response fails, in the order they were sent; requests
    /// that wait for our answer stay until answered ([`Responded::Orphaned`](super::Responded::Orphaned)).
    pub fn closed(&mut self) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.keep_alive = None;
        self.out = Vec::new();
        let unanswered = std::mem::take(&mut self.unanswered).into_iter();
        let mut lost = self.client.lost();
        lost.extend(unanswered.map(|request| (request.begins, request.envelope)));
        lost.sort_by_key(|(begins, _)| *begins);
        for (begins, envelope) in lost {
            self.counters.lost += 1;
            let written = begins < self.taken;
            self.outputs.push_back(Output::Failed { envelope, why: Failure::ConnectionLost { written } });
        }
    }

    /// Shutdown has begun: new requests of the peer get 503, what is under way is finished.
    pub fn drain(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
    }

    /// Nothing more of ours is sent on it: it is to be closed once nothing is under way. Requests of the peer
    /// are served until then.
    pub fn retire(&mut self) {
        self.retiring = true;
    }

    /// The socket is gone.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// It was to end, and nothing keeps it any more.
    pub fn is_done(&self) -> bool {
        (self.retiring || self.phase == Phase::Draining) && self.is_idle()
    }

    /// If it [is done](Connection::is_done), nothing is sent on it any more from now on, and the driver closes it: a request
    /// that came between the two would be lost with it. Until then a connection that is to end takes requests as any other.
    pub fn finish(&mut self) -> bool {
        self.finished |= self.is_done();
        self.finished
    }

    pub(super) fn takes_nothing(&self) -> bool {
        self.phase == Phase::Closed || self.finished
    }
}
