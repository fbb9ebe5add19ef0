//! What administrators themselves have put between us and a partner: then there is nothing to find out on the network.

use std::io;

use crate::checks::Findings;
use crate::config::{BlockAddress, Config, Domain, Partner};
use crate::net::blocked::NotCalled;

/// Why the gateway opens no stream to a domain of a partner, and takes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    /// His entry is switched off.
    Disabled(Domain),
    /// There is a block for this domain.
    Blocked { domain: Domain, why: String },
}

impl Barred {
    /// Whether a domain of a partner is.
    pub(super) fn of(config: &Config, partner: &Partner, remote: &Domain) -> Option<Self> {
        if !partner.enabled {
            return Some(Self::Disabled(partner.domain.clone()));
        }
        let block = config.blocks.iter().find(|block| match &block.address {
            BlockAddress::Domain(domain) => domain == remote,
            BlockAddress::Contact(_) | BlockAddress::Network(_) => false,
        })?;
        Some(Self::Blocked { domain: remote.clone(), why: block.description.clone() })
    }

    /// Says so. Whoever was asked for by name is to be reached; of all the others it may be meant so.
    pub(super) fn tell(&self, by_name: bool, findings: &mut Findings) {
        let (text, fix) = match self {
            Self::Disabled(domain) => (
                "he is disabled (enabled = false): there are no streams, and nothing is tried".to_owned(),
                format!(
                    "unless this is meant: nuncio partner enable {domain}; “nuncio partner list” says whether he is declared in a \
                     file, or set aside, and why"
                ),
            ),
            Self::Blocked { domain, why } => {
                let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
                (
                    format!(
                        "there is a block for {}{why}: there are no streams, and nothing is tried",
                        domain.to_unicode()
                    ),
                    format!(
                        "unless this is meant: nuncio block remove {domain}; “nuncio block list” says whether it is in a file"
                    ),
                )
            }
        };
        match (by_name, self) {
            (true, _) => findings.wrong(text, fix),
            (false, Self::Blocked { .. }) => findings.warning(text, fix),
            (false, Self::Disabled(_)) => findings.note(text),
        }
    }
}

/// What to do where there is no connection to an address: a block of ours is not the fault of anybody's firewall.
pub(super) fn fix_of(error: &io::Error, otherwise: &str) -> String {
    let blocked = error.get_ref().and_then(|inner| inner.downcast_ref::<NotCalled>());
    match blocked {
        Some(_) => "unless this is meant, take that block away; “nuncio block list” has it, and whether it is in a file".to_owned(),
        None => otherwise.to_owned(),
    }
}
