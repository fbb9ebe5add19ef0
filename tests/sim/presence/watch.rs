//! An observer who knows the wire, and what the administrator has set: what crosses at a moment must be allowed then.

use std::collections::HashMap;

use nuncio_sip::{Message, Method};
use nuncio_translate::judge::PartnerType;

use super::{Question, SECRET, question_of};
use crate::net::{Micros, SECOND};
use crate::observer::address;
use crate::rules::was_ever;
use crate::world::{WAKING, World};

/// A NOTIFY says what was left of the subscription when it was put into a queue, and may stay there for so long.
const EXPIRY_LAG: Micros = 40 * SECOND;
/// After this time a contact may not answer any more (mission's trust table).
const REPLIES: Micros = 24 * 3600 * SECOND;

/// What it remembers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The last `CSeq` of a dialog in one direction, and the process that used it.
    cseqs: HashMap<(String, String), (u32, u64)>,
    /// When a subscription ends at the latest, by what its endpoint asked for.
    pub(super) bounds: HashMap<String, Micros>,
    /// When a `subscribe` left, by its id.
    pub(super) asks: HashMap<String, Micros>,
}

impl World {
    /// Whether anything may cross between the two.
    pub(super) fn is_open_since(&self, pair: usize, since: Micros) -> bool {
        let record = &self.presence.pairs[pair];
        let allowed = &self.presence.users[record.user].allowed;
        self.was_enabled_since(record.partner, since) && was_ever(allowed, since, |allowed| *allowed)
    }

    /// Whether the contact may see the SIP user.
    pub(super) fn contact_may_see_since(&self, pair: usize, since: Micros) -> bool {
        let record = &self.presence.pairs[pair];
        let added = was_ever(&record.added, since, |added| *added);
        self.is_open_since(pair, since) && (added || self.was_trusted_since(record.partner, since))
    }

    fn forbidden(&mut self, pair: usize, what: &str) {
        let record = &self.presence.pairs[pair];
        let (user, contact) = (&self.presence.users[record.user].address, &record.address);
        let text = format!("nothing crosses that is forbidden: {what}, between {user} and {contact}");
        self.ledger.violation(text);
    }

    /// Stanzas leave for a partner. Until a stream takes them they are the gateway's, so the rules of this very moment hold.
    pub(crate) fn watch_stanzas(&mut self, partner: usize, bytes: &[u8]) {
        let since = self.now;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.ledger.violation("the gateway wrote half a character".to_owned());
        };
        for stanza in ["presence", "message"].iter().flat_map(|name| elements(text, name)) {
            let (from, to) = (attribute(stanza, "from"), attribute(stanza, "to"));
            let bare = |jid: &str| jid.split('/').next().unwrap_or_default().to_owned();
            let Some(pair) = self.presence.pair_of(&bare(from), &bare(to)) else {
                self.ledger.violation(format!("no unauthorised from: {from} to {to}"));
                continue;
            };
            if self.keep_trace {
                self.comment(format!("   → {stanza}"));
            }
            if self.presence.pairs[pair].partner != partner {
                self.ledger.violation(format!("{to} is no user of partner {partner}"));
            }
            self.watch_stanza(pair, stanza, since);
        }
    }

    fn watch_stanza(&mut self, pair: usize, stanza: &str, since: Micros) {
        let partner = self.presence.pairs[pair].partner;
        let kind = attribute(stanza, "type");
        let allowed = match kind {
            _ if stanza.starts_with("<message") && kind == "error" => true,
            _ if stanza.starts_with("<message") => self.is_open_since(pair, since),
            "subscribe" | "probe" => self.is_open_since(pair, since),
            "" | "subscribed" => self.contact_may_see_since(pair, since),
            // What takes something back needs nobody's leave.
            "unavailable" | "unsubscribed" => self.was_enabled_since(partner, since),
            _ => false,
        };
        if !allowed {
            self.forbidden(pair, &format!("{stanza} left for the contact"));
        }
        let federated =
            was_ever(&self.types[partner], since, |partner_type| *partner_type == PartnerType::Federated);
        if !federated && stanza.contains(SECRET) {
            self.forbidden(pair, &format!("the text of a note left for a public partner: {stanza}"));
        }
        match kind {
            "subscribe" => {
                self.presence.watch.asks.insert(attribute(stanza, "id").to_owned(), self.now);
            }
            "" if stanza.starts_with("<presence") => self.presence.counts.shown_to_contacts += 1,
            _ => {}
        }
    }

    /// A SIP message leaves for the front end; it could have left since `since`. What was handed to a connection that is up has
    /// left, for all that the gateway can do about it: it goes as soon as the connection's task is woken.
    pub(crate) fn watch_sip(&mut self, message: &Message, since: Micros) {
        let since = since.saturating_sub(WAKING);
        if let Some(status) = message.status() {
            return self.watch_answer(message, status.0);
        }
        let (from, to) = (address(message.from_header()), address(message.to_header()));
        let Some(pair) = self.presence.pair_of(&to, &from) else {
            return self.ledger.violation(format!("no unauthorised from: {from} to {to}"));
        };
        if self.keep_trace {
            let state = message.header(nuncio_sip::HeaderName::SubscriptionState).unwrap_or_default();
            let (cseq, call_id) = (message.cseq().map_or(0, |cseq| cseq.number), message.call_id());
            let expires = message.expires();
            let body = message.body();
            let body = String::from_utf8_lossy(&body).into_owned();
            let method = message.method().as_str().to_owned();
            self.comment(format!("   → {method} {cseq} {call_id:?} {expires:?} {state} {from} {body}"));
        }
        self.watch_order(message);
        match message.method() {
            Method::Subscribe => {
                let ends = message.expires().ok().flatten() == Some(0) && message.to_tag().is_some();
                if !ends && !self.contact_may_see_since(pair, since) {
                    self.forbidden(pair, "the front end is asked for the contact");
                }
            }
            Method::Notify => self.watch_notify(pair, message, since),
            Method::Message => {
                let body = message.body();
                let wrote = self.presence.pairs[pair].wrote_at.is_some_and(|at| since <= at + REPLIES);
                let allowed =
                    self.contact_may_see_since(pair, since) || (wrote && self.is_open_since(pair, since));
                if body.starts_with(b"p") && !allowed {
                    self.forbidden(pair, "a message of the contact");
                }
                self.presence.counts.messages += 1;
            }
            _ => self.ledger.violation("the gateway sent a request of another kind".to_owned()),
        }
    }

    /// `CSeq` grows; only within one process a request may be offered to a second front end as it is.
    fn watch_order(&mut self, message: &Message) {
        let Ok(cseq) = message.cseq().map(|cseq| cseq.number) else { return };
        let call_id = message.call_id().unwrap_or_default().to_owned();
        let key = (call_id, message.from_tag().unwrap_or_default().to_owned());
        let process = self.process;
        let (last, by) = self.presence.watch.cseqs.get(&key).copied().unwrap_or((0, process));
        if cseq < last || (cseq == last && by != process) {
            self.ledger.violation(format!("CSeq grows: {cseq} after {last} in {}", key.0));
        }
        self.presence.watch.cseqs.insert(key, (cseq, process));
    }

    fn watch_notify(&mut self, pair: usize, message: &Message, since: Micros) {
        let state = message.subscription_state().ok().flatten();
        let active = state.as_ref().is_some_and(|state| state.is("active"));
        let body = message.body();
        let open = body.windows(11).any(|window| window == b"<basic>open");
        if (active || open) && !self.is_open_since(pair, since) {
            self.forbidden(pair, "the SIP user sees the contact");
        }
        if open {
            self.presence.counts.shown_to_users += 1;
        }
        let expires = state.as_ref().and_then(|state| state.expires());
        let call_id = message.call_id().unwrap_or_default();
        let bound = self.presence.watch.bounds.get(call_id).copied();
        if let (Some(expires), Some(bound)) = (expires, bound)
            // A process that starts after the clock was set back takes the end for later than it is.
            && since + Micros::from(expires) * SECOND > bound + EXPIRY_LAG + self.clock_steps
        {
            let late = (since + Micros::from(expires) * SECOND - bound) / SECOND;
            self.ledger.violation(format!("expiry is never lengthened: {call_id} by {late} s"));
        }
    }

    fn watch_answer(&mut self, message: &Message, status: u16) {
        let Some(number) = question_of(message) else { return };
        self.note("gateway answers", number as u64, status.into());
        let Question::Subscribe { seconds, .. } = &self.presence.questions[number] else { return };
        let granted = message.expires().ok().flatten();
        if (200..300).contains(&status) && granted.is_none_or(|granted| granted > *seconds) {
            let text = format!("expiry is never lengthened: {granted:?} for {seconds}");
            self.ledger.violation(text);
        }
    }
}

/// The elements of that name in a piece of a stream.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name} "), format!("</{name}>"));
    let starts: Vec<_> = text.match_indices(&begin).map(|(at, _)| at).collect();
    starts.into_iter().map(move |at| {
        let rest = &text[at..];
        let head = rest.find('>').map_or(rest.len(), |end| end + 1);
        let whole = rest.find(&end).map_or(rest.len(), |at| at + end.len());
        if rest[..head].ends_with("/>") { &rest[..head] } else { &rest[..whole] }
    })
}

/// An attribute of the outermost element; empty if there is none.
fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let head = element.split('>').next().unwrap_or_default();
    let mark = format!(" {name}='");
    let Some(at) = head.find(&mark) else { return "" };
    head[at + mark.len()..].split('\'').next().unwrap_or_default()
}
