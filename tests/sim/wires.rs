//! Connections between everybody: bytes on their way, ends, resets, TLS.

use crate::net::{Conn, ConnId, MILLI, Micros, Owner, Side};
use crate::world::{Event, Task, World};

impl World {
    pub(crate) fn connect(&mut self, opener: Owner, acceptor: Owner) -> ConnId {
        let capacity = self.scale.capacity;
        let conn = Conn::new(opener, acceptor, capacity, &mut self.rng);
        self.conns.push(conn);
        self.conns.len() - 1
    }

    pub(crate) fn write(&mut self, conn: ConnId, side: Side, bytes: &[u8]) {
        self.conns[conn].write(side, bytes);
        self.schedule_delivery(conn, side);
    }

    pub(crate) fn schedule_delivery(&mut self, id: ConnId, side: Side) {
        let conn = &mut self.conns[id];
        if conn.dirs[side].scheduled || conn.broken {
            return;
        }
        conn.dirs[side].scheduled = true;
        let delay = conn.delay(&mut self.rng);
        let at = (self.now + delay).max(conn.dirs[side].stalled_until);
        self.at(at, Event::Deliver(id, side));
    }

    /// The end writes nothing more; the other one reads what is on its way first.
    pub(crate) fn fin(&mut self, conn: ConnId, side: Side) {
        self.conns[conn].dirs[side].fin = true;
        self.schedule_delivery(conn, side);
    }

    /// The end has let go of the connection.
    pub(crate) fn let_go(&mut self, id: ConnId, side: Side) {
        let conn = &mut self.conns[id];
        conn.gone[side] = true;
        let towards = &mut conn.dirs[1 - side];
        towards.flight.clear();
        towards.arrived.clear();
        self.fin(id, side);
        // A writer that waits for room must learn of it.
        self.poke(id, 1 - side);
    }

    pub(crate) fn reset(&mut self, id: ConnId) {
        if self.conns[id].broken {
            return;
        }
        self.note("reset", id as u64, 0);
        self.conns[id].reset();
        for side in [0, 1] {
            if !self.conns[id].gone[side] {
                let delay = self.rng.range(0, 40 * MILLI);
                self.poke_after(delay, id, side);
            }
        }
    }

    pub(crate) fn poke(&mut self, conn: ConnId, side: Side) {
        self.poke_after(0, conn, side);
    }

    fn poke_after(&mut self, delay: Micros, conn: ConnId, side: Side) {
        let event = match self.conns[conn].ends[side] {
            Owner::Gateway { pump } => Event::Run(Task::Pump(pump)),
            _ => Event::Poke(conn, side),
        };
        self.after(delay, event);
    }

    pub(crate) fn deliver(&mut self, id: ConnId, side: Side) {
        let now = self.now;
        let conn = &mut self.conns[id];
        conn.dirs[side].scheduled = false;
        if conn.broken {
            return;
        }
        if conn.dirs[side].stalled_until > now {
            return self.schedule_delivery(id, side);
        }
        conn.deliver(side, &mut self.rng);
        if conn.gone[1 - side] {
            conn.dirs[side].flight.clear();
            conn.dirs[side].arrived.clear();
        }
        let more = !conn.dirs[side].flight.is_empty();
        self.poke(id, 1 - side);
        if more {
            self.schedule_delivery(id, side);
        }
    }

    /// The end is ready for TLS.
    pub(crate) fn ready_for_tls(&mut self, id: ConnId, side: Side) {
        let conn = &mut self.conns[id];
        conn.tls[side] = true;
        if conn.tls == [true; 2] {
            let delay = conn.delay(&mut self.rng);
            self.after(delay, Event::Tls(id));
        }
    }

    pub(crate) fn tls(&mut self, id: ConnId) {
        let conn = &self.conns[id];
        let stalled = conn.dirs.iter().map(|dir| dir.stalled_until).max().unwrap_or(0);
        if conn.broken || conn.gone != [false; 2] {
            return;
        }
        if stalled > self.now {
            return self.at(stalled, Event::Tls(id));
        }
        for side in [0, 1] {
            match self.conns[id].ends[side] {
                Owner::Gateway { pump } => self.pump_tls(pump),
                Owner::PartnerOut { partner } | Owner::PartnerIn { partner } => {
                    self.partner_tls(partner, id);
                }
                Owner::FrontEnd => {}
            }
        }
    }
}
