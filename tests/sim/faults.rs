//! What goes wrong, and when it is mended.

use nuncio_translate::judge::PartnerType;

use crate::net::{ConnId, MILLI, Micros, SECOND};
use crate::world::World;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Some connection is reset.
    Reset,
    /// Some connection stands still for so long, in one direction or both.
    Stall(Micros),
    /// A partner closes its streams in good order.
    PartnerCloses(usize),
    PartnerDies(usize),
    PartnerFreezes(usize),
    /// Packets from and to it vanish.
    PartnerVanishes(usize),
    PartnerLosesName(usize),
    NodeDies(usize),
    NodeFreezes(usize),
    NodeVanishes(usize),
    /// It answers everything with 503.
    NodeBusy(usize),
    /// The administrator switches a partner off.
    Disable(usize),
    /// The administrator makes it a public provider.
    Demote(usize),
}

impl Fault {
    pub(crate) fn draw(world: &mut World) -> (Self, Micros) {
        let partner = world.rng.index(world.partners.len());
        let node = world.rng.index(2);
        let span = world.rng.pick(&[
            (300 * MILLI, 3 * SECOND),
            (3 * SECOND, 15 * SECOND),
            (30 * SECOND, 100 * SECOND),
        ]);
        let duration = world.rng.range(span.0, span.1);
        let fault = match world.rng.range(0, 20) {
            0..4 => Self::Reset,
            4..8 => Self::Stall(duration),
            8 | 9 => Self::PartnerCloses(partner),
            10 => Self::PartnerDies(partner),
            11 => Self::PartnerFreezes(partner),
            12 => Self::PartnerVanishes(partner),
            13 => Self::PartnerLosesName(partner),
            14 => Self::NodeDies(node),
            15 => Self::NodeFreezes(node),
            16 => Self::NodeVanishes(node),
            17 => Self::NodeBusy(node),
            18 => Self::Disable(partner),
            _ => Self::Demote(partner),
        };
        (fault, duration)
    }

    fn number(self) -> u64 {
        match self {
            Self::Reset => 0,
            Self::Stall(_) => 1,
            Self::PartnerCloses(n) => 10 + n as u64,
            Self::PartnerDies(n) => 20 + n as u64,
            Self::PartnerFreezes(n) => 30 + n as u64,
            Self::PartnerVanishes(n) => 40 + n as u64,
            Self::PartnerLosesName(n) => 50 + n as u64,
            Self::NodeDies(n) => 60 + n as u64,
            Self::NodeFreezes(n) => 70 + n as u64,
            Self::NodeVanishes(n) => 80 + n as u64,
            Self::NodeBusy(n) => 90 + n as u64,
            Self::Disable(n) => 100 + n as u64,
            Self::Demote(n) => 110 + n as u64,
        }
    }
}

impl World {
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.note("fault", fault.number(), 0);
        self.faults += 1;
        match fault {
            Fault::Reset => {
                if let Some(conn) = self.some_conn() {
                    self.reset(conn);
                }
            }
            Fault::Stall(duration) => {
                if let Some(conn) = self.some_conn() {
                    let which = self.rng.range(1, 4);
                    self.stall(conn, which, duration);
                }
            }
            Fault::PartnerCloses(partner) => self.partner_closes(partner),
            Fault::PartnerDies(partner) => self.partner_dies(partner),
            Fault::PartnerFreezes(partner) => self.partners[partner].frozen = true,
            Fault::PartnerVanishes(partner) => {
                self.partners[partner].unreachable = true;
                for conn in self.partners[partner].conns() {
                    self.stall(conn, 3, 200 * SECOND);
                }
            }
            Fault::PartnerLosesName(partner) => self.partners[partner].nameless = true,
            Fault::NodeDies(node) => self.node_dies(node),
            Fault::NodeFreezes(node) => self.pool.nodes[node].frozen = true,
            Fault::NodeVanishes(node) => {
                self.pool.nodes[node].unreachable = true;
                for conn in self.pool.conns(node) {
                    self.stall(conn, 3, 200 * SECOND);
                }
            }
            Fault::NodeBusy(node) => self.pool.nodes[node].busy = true,
            Fault::Disable(partner) => {
                self.enabled[partner].push((self.now, false));
                self.publish_policy();
            }
            Fault::Demote(partner) => {
                self.types[partner].push((self.now, PartnerType::PublicUnverified));
                self.publish_policy();
            }
        }
    }

    pub(crate) fn repair(&mut self, fault: Fault) {
        self.note("repair", fault.number(), 0);
        match fault {
            Fault::Reset | Fault::Stall(_) | Fault::PartnerCloses(_) => {}
            Fault::PartnerDies(partner) => self.partners[partner].down = false,
            Fault::PartnerFreezes(partner) => {
                self.partners[partner].frozen = false;
                self.partner_wakes(partner);
            }
            Fault::PartnerVanishes(partner) => {
                self.partners[partner].unreachable = false;
                for conn in self.partners[partner].conns() {
                    self.flow(conn);
                }
            }
            Fault::PartnerLosesName(partner) => self.partners[partner].nameless = false,
            Fault::NodeDies(node) => {
                self.pool.nodes[node].down = false;
                self.node_wakes(node);
            }
            Fault::NodeFreezes(node) => {
                self.pool.nodes[node].frozen = false;
                self.node_wakes(node);
            }
            Fault::NodeVanishes(node) => {
                self.pool.nodes[node].unreachable = false;
                for conn in self.pool.conns(node) {
                    self.flow(conn);
                }
            }
            Fault::NodeBusy(node) => self.pool.nodes[node].busy = false,
            Fault::Disable(partner) => {
                self.enabled[partner].push((self.now, true));
                self.publish_policy();
            }
            Fault::Demote(partner) => {
                self.types[partner].push((self.now, PartnerType::PublicVerified));
                self.publish_policy();
            }
        }
    }

    fn some_conn(&mut self) -> Option<ConnId> {
        let living: Vec<_> = (0..self.conns.len())
            .filter(|conn| !self.conns[*conn].broken && self.conns[*conn].gone == [false; 2])
            .collect();
        (!living.is_empty()).then(|| self.rng.pick(&living))
    }

    fn stall(&mut self, conn: ConnId, which: u64, duration: Micros) {
        for side in [0, 1] {
            if which & (1 << side) != 0 {
                self.conns[conn].dirs[side].stalled_until = self.now + duration;
            }
        }
        self.note("stall", conn as u64, duration);
    }

    /// Packets get through again. A connection that lost too many of them may have been given up.
    fn flow(&mut self, conn: ConnId) {
        if self.rng.chance(50) {
            return self.reset(conn);
        }
        for side in [0, 1] {
            self.conns[conn].dirs[side].stalled_until = 0;
            self.conns[conn].dirs[side].scheduled = false;
            self.schedule_delivery(conn, side);
        }
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.pool.moody = 0;
        self.sessions.calm = true;
        for conn in 0..self.conns.len() {
            for side in [0, 1] {
                let dir = &mut self.conns[conn].dirs[side];
                dir.stalled_until = dir.stalled_until.min(self.now);
            }
        }
        self.note("healed", 0, 0);
    }

    /// Everybody outside goes home.
    pub(crate) fn close_all(&mut self) {
        self.over = true;
        self.note("everybody goes home", 0, 0);
        for partner in 0..self.partners.len() {
            self.partner_closes(partner);
        }
        for node in 0..2 {
            for conn in self.pool.conns(node) {
                self.close_link(conn);
            }
        }
    }
}
