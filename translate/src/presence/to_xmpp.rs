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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::{Availability, Notes, Resource, Show, Veil};

    fn written(write: impl FnOnce(Ends<'_>, &mut Vec<u8>)) -> String {
        let from = BareJid::parse("romeo@contoso.com").unwrap();
        let to = Jid::parse("juliet@fabrikam.com/balcony").unwrap();
        let mut out = Vec::new();
        write(Ends { from: &from, to: &to, id: "i1" }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn xi_01_subscriptions_go_from_bare_to_bare() {
        for (kind, name) in [
            (Subscription::Subscribe, "subscribe"),
            (Subscription::Subscribed, "subscribed"),
            (Subscription::Unsubscribe, "unsubscribe"),
            (Subscription::Unsubscribed, "unsubscribed"),
            (Subscription::Probe, "probe"),
        ] {
            assert_eq!(
                written(|ends, out| write_subscription(kind, ends, out)),
                format!(
                    "<presence from='romeo@contoso.com' to='juliet@fabrikam.com' id='i1' type='{name}'/>"
                )
            );
        }
    }

    #[test]
    fn pr_14_a_probe_is_answered_with_its_id_and_the_time_of_leaving() {
        assert_eq!(
            written(|ends, out| write_unavailable(ends, Some(1_795_184_285_042), out)),
            "<presence from='romeo@contoso.com' to='juliet@fabrikam.com/balcony' id='i1' type='unavailable'>\
             <delay xmlns='urn:xmpp:delay' from='contoso.com' stamp='2026-11-20T14:18:05.042Z'/></presence>"
        );
        assert_eq!(
            written(|ends, out| write_unavailable(ends, None, out)),
            "<presence from='romeo@contoso.com' to='juliet@fabrikam.com/balcony' id='i1' type='unavailable'/>"
        );
    }

    fn busy(availability: Availability) -> Resource {
        let mut resource = Resource::new("desk", availability);
        resource.show = Some(Show::Dnd);
        resource.priority = Some(-1);
        resource.set_idle_since(Some(1_795_184_285));
        let mut notes = Notes::default();
        notes.add(Some("de"), "Bin <weg>");
        resource.set_notes(notes);
        resource
    }

    #[test]
    fn an_available_resource_has_everything_it_may_have() {
        let resource = busy(Availability::Open);
        let update = Update::Available { name: "desk".into(), resource: &resource };
        assert_eq!(
            written(|ends, out| write_update(&update, ends, Disclosure::Full, out)),
            "<presence from='romeo@contoso.com/desk' to='juliet@fabrikam.com/balcony' id='i1' xml:lang='de'>\
             <show>dnd</show><status>Bin &lt;weg&gt;</status><priority>-1</priority>\
             <idle xmlns='urn:xmpp:idle:1' since='2026-11-20T14:18:05.000Z'/></presence>"
        );
        assert_eq!(
            written(|ends, out| write_update(&update, ends, Disclosure::BasicOnly(Veil::default()), out)),
            "<presence from='romeo@contoso.com/desk' to='juliet@fabrikam.com/balcony' id='i1'>\
             <show>dnd</show><priority>-1</priority></presence>"
        );
    }

    #[test]
    fn pm_22_unavailable_has_neither_show_nor_priority() {
        let resource = busy(Availability::Closed);
        let update = Update::AllUnavailable { resource: Some(&resource) };
        assert_eq!(
            written(|ends, out| write_update(&update, ends, Disclosure::Full, out)),
            "<presence from='romeo@contoso.com' to='juliet@fabrikam.com/balcony' id='i1' type='unavailable' \
             xml:lang='de'><status>Bin &lt;weg&gt;</status></presence>"
        );
        for update in [update, Update::AllUnavailable { resource: None }] {
            assert_eq!(
                written(|ends, out| write_update(&update, ends, Disclosure::BasicOnly(Veil::default()), out)),
                "<presence from='romeo@contoso.com' to='juliet@fabrikam.com/balcony' id='i1' type='unavailable'/>"
            );
        }
        let update = Update::Unavailable { name: "desk".into() };
        assert_eq!(
            written(|ends, out| write_update(&update, ends, Disclosure::Full, out)),
            "<presence from='romeo@contoso.com/desk' to='juliet@fabrikam.com/balcony' id='i1' type='unavailable'/>"
        );
    }
}
