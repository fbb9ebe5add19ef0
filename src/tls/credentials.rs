//! What a peer presented at the handshake, kept to be judged again.

use std::sync::Arc;
use std::time::SystemTime;

use super::{ChainStatus, PeerFacts, Proof, Roots, RootsStore};

/// What a peer presented, and the roots of its side as they are at each moment: roots, pins and revocation lists change
/// while a connection lasts.
#[derive(Debug)]
pub struct Credentials {
    peer: PeerFacts,
    roots: Arc<RootsStore>,
}

impl Credentials {
    /// Of a handshake.
    pub fn new(peer: PeerFacts, roots: Arc<RootsStore>) -> Self {
        Self { peer, roots }
    }

    /// What was presented.
    pub fn peer(&self) -> &PeerFacts {
        &self.peer
    }

    /// The roots of this moment.
    pub fn roots(&self) -> Arc<Roots> {
        self.roots.current()
    }

    /// Whether it is to be believed now.
    pub fn judge(&self, proof: &Proof, now: SystemTime) -> ChainStatus {
        proof.judge(&self.peer, &self.roots(), now)
    }
}
