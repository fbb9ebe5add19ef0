//! Session tickets that end with the certificates they were made under.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::ProducesTickets;

use super::{IdentityStore, TlsError};

/// Makes and opens tickets. When the identities are replaced the keys are as well: a peer that resumed an older session
/// would go on believing in a certificate of ours that we no longer show (TLS-19). Besides, keys change every six hours.
#[derive(Debug)]
pub(super) struct Tickets {
    store: Arc<IdentityStore>,
    current: ArcSwap<Keys>,
}

#[derive(Debug)]
struct Keys {
    /// Of the identities.
    generation: u64,
    /// `None`: there was no randomness for them; sessions are not resumed until the next generation.
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

impl Tickets {
    pub(super) fn new(store: Arc<IdentityStore>) -> Result<Self, TlsError> {
        let ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::setup)?;
        let keys = Keys { generation: store.generation(), ticketer: Some(ticketer) };
        Ok(Self { store, current: ArcSwap::from_pointee(keys) })
    }

    fn ticketer(&self) -> Option<Arc<dyn ProducesTickets>> {
        let keys = self.current.load();
        let generation = self.store.generation();
        if keys.generation == generation {
            return keys.ticketer.clone();
        }
        let fresh = Arc::new(Keys { generation, ticketer: aws_lc_rs::Ticketer::new().ok() });
        // Of several handshakes at this moment one makes the keys for all.
        let before = self.current.compare_and_swap(&*keys, fresh.clone());
        if Arc::ptr_eq(&before, &keys) { fresh.ticketer.clone() } else { before.ticketer.clone() }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.ticketer().map_or(0, |ticketer| ticketer.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.ticketer()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.ticketer()?.decrypt(cipher)
    }
}
