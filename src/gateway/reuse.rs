//! Requests to a front end on a connection that it opened to us (RFC 5923; SIP-06).
//!
//! It has to let us (`alias` in a Via), to be the front end whose next hop we look for, by its certificate, and to be that next
//! hop: the address that the connection comes from, with the port in that Via. One such connection carries the requests of
//! one route at most. Who it is, is asked again while it is lent: a certificate that has run out, was revoked, or is not that
//! of the front end any more ends the lending, as no connection of ours would come about.

use std::fmt;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nuncio_sip::connection::Connection;
use nuncio_sip::hop::HopConnection;
use nuncio_translate::Moment;

use tracing::info;

use super::{ConnectionId, Gateway, NextHop, SipLink, SipPeer};

/// Says whether who opened a connection is, now, the one that a next hop leads to.
pub struct Owner(Box<dyn Fn(&NextHop) -> bool + Send + Sync>);

impl Owner {
    pub fn new(is: impl Fn(&NextHop) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(is))
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

/// Which route's requests a connection carries.
#[derive(Debug, Default)]
pub struct Carries {
    route: OnceLock<usize>,
    /// The peer opened it, and lends it.
    borrowed: AtomicBool,
    /// It was borrowed, and is not any more; nor will it be again.
    returned: AtomicBool,
    /// Who opened it; of nobody else it can be borrowed.
    owner: OnceLock<Owner>,
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

    /// The peer opened it, and this says who he is.
    pub fn belongs_to(&self, owner: Owner) {
        let _ = self.owner.set(owner);
    }

    /// Whether it carries our requests, although the peer opened it.
    pub fn is_lent(&self) -> bool {
        self.borrowed.load(Ordering::Relaxed) && !self.returned.load(Ordering::Relaxed)
    }

    fn leads_to(&self, hop: &NextHop) -> bool {
        self.owner.get().is_some_and(|Owner(is)| is(hop))
    }

    fn borrow(&self, route: usize) -> bool {
        let free = !self.returned.load(Ordering::Relaxed) && self.route.set(route).is_ok();
        self.borrowed.fetch_or(free, Ordering::Relaxed);
        free
    }
}

impl Gateway {
    /// Has the requests of the route with this number carried by a connection that the front end opened from one of the
    /// addresses of this next hop, if it lends one. The group is told.
    pub fn borrow_connection(
        &self,
        route: usize,
        hop: &NextHop,
        addresses: &[SocketAddr],
        now: Moment,
    ) -> Option<SocketAddr> {
        // On it we are who it was opened to.
        let group = &self.routes.get(route).filter(|route| route.identity == 0)?.hops;
        let lends = |link: &SipLink| {
            let alias = link.port.step(|connection| connection.alias())?;
            let is_he = matches!(link.peer, SipPeer::FrontEnd(peer) if peer == hop.front_end);
            (is_he && addresses.contains(&alias)).then_some(alias)
        };
        let lent: Vec<_> = self
            .connections
            .iter()
            .filter_map(|link| Some((*link.key(), lends(link.value())?, link.value().clone())))
            .collect();
        let is_he = |link: &SipLink| link.carries.leads_to(hop) && link.carries.borrow(route);
        let (id, alias, link) = lent.into_iter().find(|(.., link)| is_he(link))?;
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

    /// Ends the lending of the connection that carries this route's requests, if it is lent by somebody who is not the next hop
    /// any more.
    pub fn judge_lending(&self, route: usize, now: Moment) {
        let Some(route) = self.routes.get(route) else { return };
        let Some((connection, target)) = route.hops.step(|group| group.active()) else { return };
        let Some(link) = self.link(ConnectionId(connection.0)).filter(|link| link.carries.is_lent()) else {
            return;
        };
        if route.next_hop(target).is_some_and(|hop| link.carries.leads_to(&hop)) {
            return;
        }
        info!(
            connection = connection.0,
            "requests go no longer over the connection that the front end opened: its certificate does not prove any more that \
             it is the next hop"
        );
        self.counters.lendings_ended.add(1);
        route.hops.step(|group| group.give_up(connection, now.instant));
        self.serve_route(route, now);
    }

    /// Nothing more of a route is sent on this connection. One of ours ends when nothing is under way on it; one that was
    /// borrowed goes on as its owner likes.
    pub(super) fn release_connection(&self, id: ConnectionId) {
        let Some(link) = self.connections.get(&id).map(|link| link.value().clone()) else { return };
        match link.carries.borrowed.load(Ordering::Relaxed) {
            true => {
                link.carries.returned.store(true, Ordering::Relaxed);
                // It may have been kept for this alone.
                link.port.notify();
            }
            false => link.port.feed(Connection::retire),
        }
    }
}
