//! By what everything about one message, one subscription or one session is found in the log.
//!
//! A message has an id of its own. That of a SIP user's is what the id of its stanza begins with, so that the partner's
//! administrator finds the same in his log; that of a contact's looks like it. Nothing is kept for it but a number and the time
//! it came, and nothing is written unless a line is. Subscriptions and sessions stand under their pair.

use nuncio_translate::pair::PairKey;
use nuncio_translate::stanza_id::{Kind, PairId, Stem};

use super::Gateway;

/// Where every step of every message is told, at level debug.
pub(super) const MESSAGES: &str = "nuncio::messages";

/// What a message is told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageNumber {
    pub sequence: u64,
    /// When it came, in milliseconds of Unix time.
    pub at_ms: u64,
}

impl Gateway {
    /// The id of a message of a SIP user.
    pub(super) fn id_from_sip(&self, sequence: u64, at_ms: u64) -> Stem<'_> {
        Stem { label: &self.settings.node_label, kind: Kind::Message, sequence, at_ms }
    }

    /// The id of a message of a contact.
    pub(super) fn id_from_xmpp(&self, number: MessageNumber) -> Stem<'_> {
        let MessageNumber { sequence, at_ms } = number;
        Stem { label: &self.settings.node_label, kind: Kind::Received, sequence, at_ms }
    }

    /// The id of what two users have with each other.
    pub(super) fn id_of_pair<'a>(&'a self, pair: &'a PairKey) -> PairId<'a> {
        PairId { key: &self.settings.node_key, sip_user: pair.sip_user(), contact: pair.contact() }
    }
}
