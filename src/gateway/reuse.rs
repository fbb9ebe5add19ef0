//! Requests to a front end on a connection that it opened to us (RFC 5923; SIP-06).
//!
//! It has to let us (`alias` in a Via), to be the front end whose next hop we look for, by its certificate, and to be that next
//! hop: the address that the connection comes from, with the port in that Via. One such connection carries the requests of
//! one route at most.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nuncio_sip::connection::Connection;
use nuncio_sip::hop::HopConnection;
use nuncio_translate::Moment;

use super::{ConnectionId, Gateway, SipLink, SipPeer};

/// Which route's requests a connection carries.
#[derive(Debug, Default)]
pub struct Carries {
    route: OnceLock<usize>,
    /// The peer opened it, and lends it.
    borrowed: AtomicBool,
    /// It was borrowed, and is not any more; nor will it be again.
    returned: AtomicBool,
}

impl Carries {
    /// The route with this number; also when it was returned, for answers may still come.
    pub fn route(&self) -> Option<usize> {
        self.route.get().copied()
    }

    /// A connection of ours is for this route.
    pub fn begin(&self, route: usize) {
        let _ = self.route.set(route);
    }

    fn borrow(&self, route: usize) -> bool {
        let free = !self.returned.load(Ordering::Relaxed) && self.route.set(route).is_ok();
        self.borrowed.fetch_or(free, Ordering::Relaxed);
        free
    }
}

impl Gateway {
    /// Has the requests of the route with this number carried by a connection that the front end opened from one of these
    /// addresses, if it lends one. The group is told.
    pub fn borrow_connection(
        &self,
        route: usize,
        front_end: usize,
        next_hops: &[SocketAddr],
        now: Moment,
    ) -> Option<SocketAddr> {
        // On it we are who it was opened to.
        let group = &self.routes.get(route).filter(|route| route.identity == 0)?.hops;
        let lends = |link: &SipLink| {
            let alias = link.port.step(|connection| connection.alias())?;
            let is_he = matches!(link.peer, SipPeer::FrontEnd(peer) if peer == front_end);
            (is_he && next_hops.contains(&alias)).then_some(alias)
        };
        let lent: Vec<_> = self
            .connections
            .iter()
            .filter_map(|link| Some((*link.key(), lends(link.value())?, link.value().clone())))
            .collect();
        let (id, alias, link) = lent.into_iter().find(|(.., link)| link.carries.borrow(route))?;
        let connection = HopConnection(id.0);
        group.step(|group| group.connected(connection, now.instant));
        // If it ended before it was borrowed, its session told nobody.
        if link.port.step(|connection| connection.is_closed()) {
            group.step(|group| group.connection_closed(connection, now.instant));
        }
        self.counters.connections_reused.add(1);
        if let Some(route) = self.routes.get(route) {
            self.serve_route(route, now);
        }
        Some(alias)
    }

    /// Nothing more of a route is sent on this connection. One of ours ends when nothing is under way on it; one that was
    /// borrowed goes on as its owner likes.
    pub(super) fn release_connection(&self, id: ConnectionId) {
        let Some(link) = self.connections.get(&id).map(|link| link.value().clone()) else { return };
        match link.carries.borrowed.load(Ordering::Relaxed) {
            true => link.carries.returned.store(true, Ordering::Relaxed),
            false => link.port.feed(Connection::retire),
        }
    }
}
