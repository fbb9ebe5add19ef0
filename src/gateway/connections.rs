//! SIP connections, as long as somebody may need them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nuncio_sip::connection::{Connection, Merging};
use nuncio_sip::hop::Outgoing;
use nuncio_translate::Moment;

use super::port::Port;
use super::timers::Due;
use super::{Carries, ConnectionId, Gateway, SipPeer, SipPort, Standing, ToSipEnvelope};

/// A SIP connection as others find it.
#[derive(Debug, Clone)]
pub(super) struct SipLink {
    pub(super) port: Arc<SipPort>,
    pub(super) peer: SipPeer,
    pub(super) carries: Arc<Carries>,
    pub(super) standing: Arc<Standing>,
}

/// What the session of a SIP connection shares with others.
#[derive(Debug)]
pub struct Registered {
    pub id: ConnectionId,
    pub port: Arc<SipPort>,
    pub carries: Arc<Carries>,
    pub standing: Arc<Standing>,
}

impl Gateway {
    /// Where requests of this peer are held against those that came on other connections. What a stranger sends is refused
    /// each time, and is no copy of anything.
    pub fn merging(&self, peer: &SipPeer) -> Option<Arc<dyn Merging>> {
        let merged = Arc::clone(&self.merged) as Arc<dyn Merging>;
        matches!(peer, SipPeer::FrontEnd(_)).then_some(merged)
    }

    /// Makes a SIP connection known, so that answers find it.
    pub fn register_connection(
        &self,
        peer: SipPeer,
        address: IpAddr,
        connection: Connection<Outgoing<ToSipEnvelope>>,
    ) -> Registered {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let port = Arc::new(Port::new(connection));
        let carries = Arc::new(Carries::default());
        let standing = Arc::new(Standing::new(address));
        let registered = Registered {
            id,
            port: Arc::clone(&port),
            carries: Arc::clone(&carries),
            standing: Arc::clone(&standing),
        };
        self.connections.insert(id, SipLink { port, peer, carries, standing });
        registered
    }

    /// A SIP connection ended. It is remembered while requests that came on it wait for their answer, and while an answer may
    /// have to be repeated: both go another way then (RFC 3261 §18.2.2).
    pub fn forget_connection(&self, id: ConnectionId, now: Moment) {
        let mut repeats = None;
        self.connections.remove_if(&id, |_, link| {
            // What a stranger was not answered goes nowhere else.
            matches!(link.peer, SipPeer::Unlisted(_))
                || link.port.step(|connection| {
                    connection.handle_timeout(now.instant);
                    repeats = connection.repeats_until();
                    repeats.is_none() && connection.is_idle()
                })
        });
        if let Some(until) = repeats {
            self.timers.schedule(until, Due::Connection(id));
        }
    }
}
