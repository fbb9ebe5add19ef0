//! The sockets for front ends and partners.

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::config::Listener;
use crate::net::listener::{bind, take_over};
use crate::service::{Inherited, Role};

/// On which side a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Sip,
    Xmpp,
}

/// Binds all listeners of one side, or takes those over that the service manager has opened.
pub(super) fn listen(
    listeners: &[Listener],
    side: Side,
    inherited: &mut Inherited,
) -> anyhow::Result<Vec<TcpListener>> {
    let one = |listener: &Listener| {
        let (role, named) = match side {
            Side::Sip => (Role::Sip, "SIP"),
            Side::Xmpp if listener.direct_tls => (Role::Xmpps, "XMPP"),
            Side::Xmpp => (Role::Xmpp, "XMPP"),
        };
        let address = listener.bind;
        let socket = match inherited.take(role, address) {
            Some(socket) => take_over(socket),
            None => bind(address, listener.only_v6),
        };
        socket.with_context(|| format!("cannot listen on {address} for {named}"))
    };
    listeners.iter().map(one).collect()
}
