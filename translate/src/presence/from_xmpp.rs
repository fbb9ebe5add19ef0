//! `<presence/>` → the model (RFC 8048 §6.2, RFC 6121 §4).

use compact_str::CompactString;
use nuncio_xmpp::{Condition, Element, StanzaError, ns};

use super::model::{Availability, Resource, Show};
use super::notes::Notes;
use crate::errors::XmppFailure;
use crate::time;

/// What a `<presence/>` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Available or unavailable: for [`Presentity::report`](super::Presentity::report).
    Presence(Report),
    /// `subscribe`
    Subscribe,
    /// `subscribed`
    Subscribed,
    /// `unsubscribe`
    Unsubscribe,
    /// `unsubscribed`
    Unsubscribed,
    /// `probe`
    Probe,
    /// An error about something we sent; never answered (ERR-02).
    Error(StanzaError),
    /// `error` without an error in it: nothing.
    Nothing,
    /// To be answered with this error (XI-11).
    Refuse(XmppFailure),
}

/// What one stanza says of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The resource it came from; `None` from the bare JID.
    pub resource: Option<CompactString>,
    /// Its state; the id is `resource`.
    pub state: Resource,
}

/// What reading depends on beside the stanza.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// `xml:lang` of the stream, which holds where the stanza names none.
    pub language: Option<&'a str>,
    /// Whether idle times are taken in at all (PM-26).
    pub idle: bool,
    /// Milliseconds of Unix time.
    pub now_ms: u64,
}

/// Reads a `<presence/>`. `resource`: the one of its sender, normalised. Extensions that we do not know are no matter
/// (XI-15); capabilities are none of ours.
pub fn read(stanza: &Element, resource: Option<&str>, context: Context<'_>) -> Reading {
    let availability = match stanza.attr("type") {
        None => Availability::Open,
        Some("unavailable") => Availability::Closed,
        Some("subscribe") => return Reading::Subscribe,
        Some("subscribed") => return Reading::Subscribed,
        Some("unsubscribe") => return Reading::Unsubscribe,
        Some("unsubscribed") => return Reading::Unsubscribed,
        Some("probe") => return Reading::Probe,
        Some("error") => return StanzaError::from_element(stanza).map_or(Reading::Nothing, Reading::Error),
        Some(_) => {
            return Reading::Refuse(XmppFailure::new(
                Condition::BadRequest,
                "There is no presence of this type.",
            ));
        }
    };
    let mut state = Resource::new(resource.unwrap_or_default(), availability);
    state.set_notes(notes(stanza, context.language));
    if availability == Availability::Open {
        let text = |name| stanza.child(name, ns::SERVER).map(|child| child.text());
        state.show = text("show").and_then(|show| Show::from_word(show.trim()));
        state.priority = text("priority").and_then(|priority| priority.trim().parse().ok());
        if context.idle {
            state.set_idle_since(idle_since(stanza, context.now_ms));
        }
    }
    Reading::Presence(Report { resource: resource.map(Into::into), state })
}

fn notes(stanza: &Element, stream: Option<&str>) -> Notes {
    let lang = stanza.lang().or(stream);
    let mut notes = Notes::NONE;
    for status in stanza.elements().filter(|child| child.is("status", ns::SERVER)) {
        notes.add(status.lang().or(lang), &status.text());
    }
    notes
}

/// XEP-0319, or what older clients send (XEP-0256); seconds of Unix time, never later than now.
fn idle_since(stanza: &Element, now_ms: u64) -> Option<u64> {
    let since = stanza.child("idle", ns::IDLE).and_then(|idle| idle.attr("since")).and_then(time::parse);
    if let Some(ms) = since {
        return Some(ms.min(now_ms) / 1000);
    }
    let seconds = stanza.child("query", ns::LAST_ACTIVITY)?.attr("seconds")?.parse::<u64>().ok()?;
    (now_ms / 1000).checked_sub(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_xmpp::ReadLimits;

    const NOW_MS: u64 = 1_795_184_285_000;

    fn element(inner: &str) -> Element {
        let text = format!("<presence xmlns='jabber:server' from='a@b/c' to='d@e'{inner}</presence>");
        Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap()
    }

    fn state(inner: &str) -> Resource {
        let context = Context { language: Some("cs"), idle: true, now_ms: NOW_MS };
        match read(&element(inner), Some("c"), context) {
            Reading::Presence(report) => report.state,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pm_01_only_available_and_unavailable_are_presence() {
        assert_eq!(state(">").availability, Availability::Open);
        assert_eq!(state(" type='unavailable'>").availability, Availability::Closed);
        for (kind, reading) in [
            ("subscribe", Reading::Subscribe),
            ("subscribed", Reading::Subscribed),
            ("unsubscribe", Reading::Unsubscribe),
            ("unsubscribed", Reading::Unsubscribed),
            ("probe", Reading::Probe),
        ] {
            assert_eq!(read(&element(&format!(" type='{kind}'>")), None, Context::default()), reading);
        }
        assert!(matches!(read(&element(" type='error'>"), None, Context::default()), Reading::Error(_)));
    }

    #[test]
    fn xi_11_an_unknown_type_is_a_bad_request() {
        for kind in ["foo", "", "Available", "available"] {
            let reading = read(&element(&format!(" type='{kind}'>")), None, Context::default());
            let Reading::Refuse(failure) = reading else { panic!("{kind}: {reading:?}") };
            assert_eq!(failure.condition, Condition::BadRequest);
        }
    }

    #[test]
    fn pm_24_an_unknown_show_is_plainly_available() {
        assert_eq!(state("><show>xa</show>").show, Some(Show::Xa));
        for show in ["hungry", "", "Away", "available"] {
            assert_eq!(state(&format!("><show>{show}</show>")).show, None, "{show}");
        }
        assert_eq!(state("><show xmlns='jabber:client'>xa</show>").show, None, "another namespace");
    }

    #[test]
    fn pm_23_the_first_show_and_the_first_priority_count() {
        let state = state("><show>away</show><show>dnd</show><priority> 5 </priority><priority>6</priority>");
        assert_eq!((state.show, state.priority), (Some(Show::Away), Some(5)));
    }

    #[test]
    fn pm_07_a_priority_out_of_range_is_none() {
        for (text, priority) in
            [("127", Some(127)), ("-128", Some(-128)), ("128", None), ("-129", None), ("x", None), ("", None)]
        {
            assert_eq!(state(&format!("><priority>{text}</priority>")).priority, priority, "{text}");
        }
    }

    #[test]
    fn pm_22_unavailable_has_a_status_and_nothing_else() {
        let state = state(" type='unavailable'><show>away</show><priority>5</priority><status>gone</status>");
        assert_eq!((state.show, state.priority), (None, None));
        assert_eq!(state.notes().iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["gone"]);
    }

    #[test]
    fn pm_06_the_language_is_that_of_the_nearest() {
        let langs = |inner: &str| -> Vec<_> {
            state(inner).notes().iter().map(|note| note.lang.clone().unwrap_or_default()).collect()
        };
        assert_eq!(langs("><status>a</status>"), ["cs"]);
        assert_eq!(langs(" xml:lang='de'><status>a</status><status xml:lang='en'>b</status>"), ["de", "en"]);
    }

    #[test]
    fn pm_26_idle_times_of_both_kinds_are_read() {
        let new = "><idle xmlns='urn:xmpp:idle:1' since='2026-11-20T14:00:00Z'/>";
        assert_eq!(state(new).idle_since(), Some(1_795_183_200));
        let old = "><query xmlns='jabber:iq:last' seconds='85'/>";
        assert_eq!(state(old).idle_since(), Some(1_795_184_200));
        let future = "><idle xmlns='urn:xmpp:idle:1' since='2036-11-20T14:00:00Z'/>";
        assert_eq!(state(future).idle_since(), Some(NOW_MS / 1000));
    }

    #[test]
    fn pm_26_idle_times_are_not_read_where_that_is_off() {
        let stanza = element("><idle xmlns='urn:xmpp:idle:1' since='2026-11-20T14:00:00Z'/>");
        let context = Context { now_ms: NOW_MS, ..Context::default() };
        let Reading::Presence(report) = read(&stanza, None, context) else { panic!("presence") };
        assert_eq!(report.state.idle_since(), None);
    }
}
