//! Who may come in, and what they are shown: what of the control plane can change while it runs.

use std::sync::Arc;

use anyhow::anyhow;
use arc_swap::ArcSwap;

use super::Groups;
use super::tokens::Tokens;
use crate::config::{self, Config};

/// In use.
#[derive(Clone)]
pub struct Access {
    /// For the Unix socket.
    pub groups: Arc<ArcSwap<Groups>>,
    /// For TCP.
    pub tokens: Arc<ArcSwap<Tokens>>,
}

/// Loaded, and not in use yet.
pub struct NewAccess {
    groups: Groups,
    tokens: Tokens,
}

impl NewAccess {
    /// Loads what is configured.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let config::Control { admin_group, viewer_group, remote, .. } = &config.control;
        let groups = Groups { admin: admin_group.clone(), viewer: viewer_group.clone() };
        let tokens = match remote {
            Some(remote) => {
                Tokens::from_file(&remote.tokens).map_err(|why| anyhow!("control.tokens: {why}"))?
            }
            // They open nothing.
            None => Tokens::default(),
        };
        Ok(Self { groups, tokens })
    }
}

impl Access {
    /// To begin with.
    pub fn new(loaded: NewAccess) -> Self {
        Self {
            groups: Arc::new(ArcSwap::from_pointee(loaded.groups)),
            tokens: Arc::new(ArcSwap::from_pointee(loaded.tokens)),
        }
    }

    /// What would be different for those who come with tokens, in lines.
    pub fn differences(&self, loaded: &NewAccess) -> Vec<String> {
        self.tokens.load().differences(&loaded.tokens)
    }

    /// Puts it in use for requests from now on.
    pub fn adopt(&self, loaded: NewAccess) {
        self.groups.store(Arc::new(loaded.groups));
        self.tokens.store(Arc::new(loaded.tokens));
    }
}
