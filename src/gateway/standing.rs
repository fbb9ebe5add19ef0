//! SIP connections that may not go on: their address was blocked, or the certificate that made their peer a front end is
//! not believed any more.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Gateway, SipLink, SipPeer};

/// Why the certificate that a peer showed is not believed now, if it is not.
pub struct Believed(Box<dyn Fn() -> Option<String> + Send + Sync>);

impl Believed {
    pub fn new(why_not: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Box::new(why_not))
    }
}

impl fmt::Debug for Believed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Believed")
    }
}

/// Whether a SIP connection may go on.
#[derive(Debug)]
pub struct Standing {
    address: IpAddr,
    /// Of a stranger nothing is believed.
    believed: OnceLock<Believed>,
    /// Why it has to end.
    over: OnceLock<String>,
}

impl Standing {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { address, believed: OnceLock::new(), over: OnceLock::new() }
    }

    /// Says whether the certificate of the peer is believed.
    pub fn rests_on(&self, believed: Believed) {
        let _ = self.believed.set(believed);
    }

    /// Why the connection has to end, if it has.
    pub fn over(&self) -> Option<&str> {
        self.over.get().map(String::as_str)
    }

    fn judge(&self, gateway: &Gateway) -> Option<String> {
        if let Err(why) = gateway.blocked_networks.check(self.address) {
            return Some(why.to_string());
        }
        let Believed(why_not) = self.believed.get()?;
        why_not().map(|why| format!("its certificate is not trusted any more: {why}"))
    }
}

impl Gateway {
    /// Ends the SIP connections that the blocks, roots and revocation lists of this moment do not allow; how many.
    pub fn end_forbidden_connections(&self) -> usize {
        let links: Vec<SipLink> = self.connections.iter().map(|link| link.value().clone()).collect();
        links.iter().filter(|link| self.end_if_forbidden(link)).count()
    }

    /// The same for one that has just come about: whoever changed the rules meanwhile cannot have seen it.
    pub fn end_if_forbidden_connection(&self, standing: &Standing) {
        if let Some(why) = standing.judge(self) {
            let _ = standing.over.set(why);
        }
    }

    fn end_if_forbidden(&self, link: &SipLink) -> bool {
        // What is only remembered for the answers it is owed has ended already.
        if link.standing.over().is_some() || link.port.step(|connection| connection.is_closed()) {
            return false;
        }
        let Some(why) = link.standing.judge(self) else { return false };
        let ended = link.standing.over.set(why).is_ok();
        link.port.notify();
        ended
    }

    /// Front ends with which there are connections that these networks would end, and those whose hosts were there when DNS was
    /// asked last, unless that was long ago.
    pub fn front_ends_within(&self, within: impl Fn(IpAddr) -> bool, now: Instant) -> Vec<(&str, IpAddr)> {
        let mut found: Vec<(&str, IpAddr)> = Vec::new();
        for link in &self.connections {
            let SipPeer::FrontEnd(index) = link.peer else { continue };
            let Some(front_end) = self.front_ends.get(index) else { continue };
            let address = link.standing.address;
            if link.port.step(|connection| connection.is_closed()) {
                continue;
            }
            if within(address) && !found.contains(&(front_end.name.as_str(), address)) {
                found.push((&front_end.name, address));
            }
        }
        for (index, address) in self.routes.iter().flat_map(|route| route.addresses(now)) {
            if let Some(front_end) = self.front_ends.get(index).filter(|_| within(address)) {
                found.push((&front_end.name, address));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}
