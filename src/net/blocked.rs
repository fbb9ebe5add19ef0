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

/// An address is in this one: it is not called, and nobody is let in from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsBlocked(Network);

/// Why nobody was called.
#[derive(Debug)]
pub struct NotCalled(IsBlocked);

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

    /// Whether the address may be called.
    ///
    /// # Errors
    /// It is in one of them.
    pub fn may_be_called(&self, address: IpAddr) -> Result<(), NotCalled> {
        self.check(address).map_err(NotCalled)
    }

    /// Whether it is in none of them.
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
        write!(f, "there is a block for {network} (nuncio block remove {network})")
    }
}

impl std::error::Error for IsBlocked {}

impl fmt::Display for NotCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not called: {}", self.0)
    }
}

impl std::error::Error for NotCalled {}

impl From<NotCalled> for io::Error {
    fn from(why: NotCalled) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, why)
    }
}
