//! SIP connections, as long as somebody may need them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

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
    /// Once it is gone: when it is looked at next, whether anything has to be remembered of it.
    looked_at: Option<Instant>,
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
        self.connections.insert(id, SipLink { port, peer, carries, standing, looked_at: None });
        registered
    }

    /// A SIP connection ended. It is remembered while requests that came on it wait for their answer, and while an answer may
    /// have to be repeated: both go another way then (RFC 3261 §18.2.2).
    pub fn forget_connection(&self, id: ConnectionId, now: Moment) {
        let mut look_at = None;
        self.connections.remove_if_mut(&id, |_, link| {
            // What a stranger was not answered goes nowhere else.
            if matches!(link.peer, SipPeer::Unlisted(_)) {
                return true;
            }
            let (repeats, idle) = link.port.step(|connection| {
                connection.handle_timeout(now.instant);
                (connection.repeats_until(), connection.is_idle())
            });
            // Each answer and each ACK that comes late is asked about here: one timer serves them all, for those of longest ago
            // are forgotten first.
            if repeats.is_some() && link.looked_at.is_none_or(|at| at <= now.instant) {
                (link.looked_at, look_at) = (repeats, repeats);
            }
            repeats.is_none() && idle
        });
        if let Some(at) = look_at {
            self.timers.schedule(at, Due::Connection(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nuncio_sip::Message;
    use nuncio_sip::connection::{ConnectionConfig, Output};

    use super::*;
    use crate::gateway::testing::{gateway_of, moment};

    const SESSIONS: usize = 5;

    fn invite(number: usize) -> Message {
        let text = format!(
            "INVITE sip:bob@fabrikam.example SIP/2.0\r\nVia: SIP/2.0/TLS fe;branch=z9hG4bK{number}\r\n\
             From: <sip:alice@contoso.example>;tag=fe\r\nTo: <sip:bob@fabrikam.example>\r\nCall-ID: c{number}\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:fe;transport=tls>\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    /// A connection that ended when as many INVITEs had a 2xx, a second apart, and no ACK.
    fn gone(gateway: &Gateway, start: Moment) -> (ConnectionId, Moment) {
        let peer: std::net::SocketAddr = "192.0.2.1:5061".parse().unwrap();
        let config = ConnectionConfig::new(peer, "gw", [0; 16]);
        let connection = Connection::new(config, start.instant);
        let Registered { id, port, .. } =
            gateway.register_connection(SipPeer::FrontEnd(0), peer.ip(), connection);
        let mut now = start;
        for number in 0..SESSIONS {
            now = start + Duration::from_secs(number as u64);
            port.step(|connection| {
                connection.receive(invite(number), || "ours", now.instant);
                let Some(Output::Request { txn, .. }) = connection.poll() else { panic!("no request") };
                let _ = connection.respond(txn, 200, "OK", &[], None, now.instant);
            });
        }
        port.step(Connection::closed);
        (id, now)
    }

    /// With thousands of sessions each ACK would add another, and each of these would look at all the rest.
    #[test]
    fn ch_11_one_timer_serves_all_answers_that_are_remembered_of_a_connection_that_is_gone() {
        let (gateway, start) = (gateway_of("contoso.example", "fabrikam.example"), moment());
        let (id, now) = gone(&gateway, start);
        // The connection ends, and late answers and ACKs come.
        for _ in 0..10 {
            gateway.forget_connection(id, now);
        }
        let mut looks = Vec::new();
        while let Some(at) = gateway.timers.deadline() {
            let due = gateway.timers.all_until(at);
            assert!(matches!(due[..], [Due::Connection(one)] if one == id), "{due:?}");
            looks.push(at.duration_since(start.instant).as_secs());
            gateway.forget_connection(id, start + at.duration_since(start.instant));
        }
        assert_eq!(looks, [32, 33, 34, 35, 36], "as each of them is forgotten");
        assert_eq!(gateway.connections.len(), 0);
    }
}
