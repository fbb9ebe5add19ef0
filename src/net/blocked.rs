//! Networks that nobody is let in from, and that nobody is called in (SEC-41).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Network;

/// Those of this moment, for all who accept and open connections.
#[derive(Debug, Clone, Default)]
pub struct BlockedNetworks(Arc<ArcSwap<Vec<Network>>>);

/// Why an address is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsBlocked(Network);

impl BlockedNetworks {
    /// To begin with.
    pub fn new(networks: Vec<Network>) -> Self {
        let blocked = Self::default();
        blocked.replace(networks);
        blocked
    }

    /// Others from now on.
    pub fn replace(&self, networks: Vec<Network>) {
        self.0.store(Arc::new(networks));
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.check(address).is_err()
    }

    /// The same, with the reason.
    ///
    /// # Errors
    /// It is in this one.
    pub fn check(&self, address: IpAddr) -> Result<(), IsBlocked> {
        match self.0.load().iter().find(|network| network.contains(address)) {
            Some(network) => Err(IsBlocked(*network)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for IsBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(network) = self;
        write!(f, "not called: there is a block for {network} (nuncio block remove {network})")
    }
}

impl std::error::Error for IsBlocked {}

impl From<IsBlocked> for io::Error {
    fn from(why: IsBlocked) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, why)
    }
}
