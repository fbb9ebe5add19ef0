//! Who may come in, and what they are shown: what of the control plane can change while it runs.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;

use super::Groups;
use super::tokens::Tokens;
use crate::config::{self, Config};
use crate::tls::{Identity, IdentityStore};

/// In use.
#[derive(Clone)]
pub struct Access {
    /// For the Unix socket.
    pub groups: Arc<ArcSwap<Groups>>,
    /// For TCP.
    pub tokens: Arc<ArcSwap<Tokens>>,
    /// For TCP; absent if it is not served.
    pub identity: Option<Arc<IdentityStore>>,
}

/// Loaded, and not in use yet.
pub struct NewAccess {
    groups: Groups,
    remote: Option<(Tokens, Arc<Identity>)>,
}

impl NewAccess {
    /// Loads what is configured.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let config::Control { admin_group, viewer_group, remote, .. } = &config.control;
        let groups = Groups { admin: admin_group.clone(), viewer: viewer_group.clone() };
        let remote = match remote {
            Some(remote) => {
                let config::Identity { certificate, key } = &remote.identity;
                let identity = Identity::load(certificate, key).context("control.certificate")?;
                let tokens =
                    Tokens::from_file(&remote.tokens).map_err(|why| anyhow!("control.tokens: {why}"))?;
                Some((tokens, Arc::new(identity)))
            }
            None => None,
        };
        Ok(Self { groups, remote })
    }
}

impl Access {
    /// To begin with.
    pub fn new(loaded: NewAccess) -> Self {
        let (tokens, identity) = loaded.remote.unzip();
        Self {
            groups: Arc::new(ArcSwap::from_pointee(loaded.groups)),
            tokens: Arc::new(ArcSwap::from_pointee(tokens.unwrap_or_default())),
            identity: identity.map(|identity| Arc::new(IdentityStore::single(identity))),
        }
    }

    /// What would be different for those who come with tokens, in lines.
    pub fn differences(&self, loaded: &NewAccess) -> Vec<String> {
        let none = Tokens::default();
        let new = loaded.remote.as_ref().map_or(&none, |(tokens, _)| tokens);
        self.tokens.load().differences(new)
    }

    /// Puts it in use for requests from now on.
    pub fn adopt(&self, loaded: NewAccess) {
        self.groups.store(Arc::new(loaded.groups));
        let (tokens, identity) = loaded.remote.unzip();
        self.tokens.store(Arc::new(tokens.unwrap_or_default()));
        if let (Some(store), Some(identity)) = (&self.identity, identity) {
            // One is enough, and there is one.
            let _ = store.replace(vec![(Vec::new(), identity)]);
        }
    }
}
