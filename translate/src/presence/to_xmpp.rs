//! The model → `<presence/>` (RFC 8048 §6.3, RFC 6121 §3 and §4).
//!
//! Stanzas are written for a stream whose default namespace is `jabber:server`, so they declare none.

use nuncio_xmpp::{BareJid, Jid, StartTag, escape};

use super::disclosure::{Disclosure, Visible};
use super::shown::Update;
use crate::Moment;
use crate::message::write_delay;
use crate::time;

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
    open(ends, "", ends.to.bare_str(), out).attr("type", kind.as_str()).empty();
}

/// Appends what an [`Update`] says, as far as `disclosure` lets it.
pub fn write_update(update: &Update<'_>, ends: Ends<'_>, disclosure: Disclosure, out: &mut Vec<u8>) {
    let (name, resource, kind) = match update {
        Update::Available { name, resource } => (name.as_str(), Some(*resource), None),
        Update::Unavailable { name } => (name.as_str(), None, Some("unavailable")),
        Update::AllUnavailable { resource } => ("", *resource, Some("unavailable")),
    };
    let visible = resource.map(|resource| disclosure.of(resource));
    let lang = visible.and_then(Visible::language);
    let tag = open(ends, name, ends.to.as_str(), out).opt_attr("type", kind).opt_attr("xml:lang", lang);
    match visible.filter(|visible| !visible.is_empty()) {
        Some(visible) => {
            tag.end();
            children(visible, lang, out);
            StartTag::close(out, "presence");
        }
        None => tag.empty(),
    }
}

/// Appends the answer to a probe when the SIP user can be reached nowhere: `unavailable` from the bare JID. `since_ms`: since
/// when, in milliseconds of Unix time, if known (PR-14).
pub fn write_unavailable(ends: Ends<'_>, since_ms: Option<u64>, out: &mut Vec<u8>) {
    let tag = open(ends, "", ends.to.as_str(), out).attr("type", "unavailable");
    let Some(since_ms) = since_ms else { return tag.empty() };
    tag.end();
    write_delay(Moment::wall_at(since_ms), ends.from.domain(), out);
    StartTag::close(out, "presence");
}

impl Subscription {
    /// The `type` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Subscribed => "subscribed",
            Self::Unsubscribe => "unsubscribe",
            Self::Unsubscribed => "unsubscribed",
            Self::Probe => "probe",
        }
    }
}

fn open<'a>(ends: Ends<'_>, resource: &str, to: &str, out: &'a mut Vec<u8>) -> StartTag<'a> {
    let bare = ends.from.as_str();
    let (slash, id) = (if resource.is_empty() { "" } else { "/" }, Some(ends.id).filter(|id| !id.is_empty()));
    StartTag::open(out, "presence")
        .attr_pieces("from", &[bare, slash, resource])
        .attr("to", to)
        .opt_attr("id", id)
}

fn children(visible: Visible<'_>, lang: Option<&str>, out: &mut Vec<u8>) {
    if let Some(show) = visible.show {
        StartTag::text_element(out, "show", show.as_str());
    }
    for (own, text) in visible.texts() {
        // What the stanza says already is not said again.
        StartTag::open(out, "status").opt_attr("xml:lang", own.filter(|_| own != lang)).end();
        escape::text(out, text);
        StartTag::close(out, "status");
    }
    if let Some(priority) = visible.priority {
        StartTag::text_element(out, "priority", &compact_str::format_compact!("{priority}"));
    }
    if let Some(since) = visible.idle_since {
        out.extend_from_slice(b"<idle xmlns='urn:xmpp:idle:1' since='");
        time::write_stamp(since.saturating_mul(1000), out);
        out.extend_from_slice(b"'/>");
    }
}
