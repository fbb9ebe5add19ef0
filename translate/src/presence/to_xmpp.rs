//! The model → `<presence/>` (RFC 8048 §6.3, RFC 6121 §3 and §4).
//!
//! Stanzas are written for a stream whose default namespace is `jabber:server`, so they declare none.

use nuncio_xmpp::{BareJid, Jid};

use super::disclosure::Disclosure;
use super::shown::Update;

/// Who tells whom.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// The SIP user.
    pub from: &'a BareJid,
    /// The contact: the bare JID, or the resource that asked. Stanzas of subscriptions always go to the bare JID (XI-01).
    pub to: &'a Jid,
    /// The `id`; empty for none. The id of a probe in its answer (PR-14).
    pub id: &'a str,
}

/// The stanzas of subscriptions, and the probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subscription {
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Probe,
}

/// Appends a stanza of a subscription: bare JID to bare JID (XI-01, XI-08).
pub fn write_subscription(kind: Subscription, ends: Ends<'_>, out: &mut Vec<u8>) {
    let _ = (kind, ends, out);
}

/// Appends what an [`Update`] says, as far as `disclosure` lets it.
pub fn write_update(update: &Update<'_>, ends: Ends<'_>, disclosure: Disclosure, out: &mut Vec<u8>) {
    let _ = (update, ends, disclosure, out);
}

/// Appends the answer to a probe when the SIP user can be reached nowhere: `unavailable` from the bare JID. `since_ms`: since
/// when, in milliseconds of Unix time, if known (PR-14).
pub fn write_unavailable(ends: Ends<'_>, since_ms: Option<u64>, out: &mut Vec<u8>) {
    let _ = (ends, since_ms, out);
}
