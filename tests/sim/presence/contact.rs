//! The contacts, and their servers as RFC 6121 has them.

use std::collections::BTreeMap;

use nuncio_translate::pair::{From, To};
use nuncio_xmpp::{Element, Jid, ns};

use super::Said;
use crate::net::SECOND;
use crate::partner::Item;
use crate::world::World;

/// For so long after an endpoint asked for him the contact may be asked although he refuses meanwhile: his word may be
/// the answer to an earlier question (PR-36).
const CROSSING: u64 = 40 * SECOND;

/// The contact's side of the two subscriptions: `to` is what he may see, `from` what the SIP user may see.
#[derive(Debug, Default)]
pub(super) struct Contact {
    pub(super) to: To,
    pub(super) from: From,
    /// His own resources and their show.
    pub(super) online: BTreeMap<&'static str, &'static str>,
    /// What he sees of the SIP user: show and note by resource.
    pub(super) sees: BTreeMap<String, (String, String)>,
    /// His last refusal has not arrived.
    pub(super) refusal_lost: bool,
}

impl Contact {
    pub(super) fn has_refused(&self) -> bool {
        self.from == From::No
    }
}

impl World {
    fn contact_sends(&mut self, pair: usize, resource: &str, kind: &str, inside: &str) {
        let record = &self.presence.pairs[pair];
        let (user, contact, partner) =
            (&self.presence.users[record.user].address, &record.address, record.partner);
        let slash = if resource.is_empty() { "" } else { "/" };
        let attribute = if kind.is_empty() { String::new() } else { format!(" type='{kind}'") };
        let text =
            format!("<presence from='{contact}{slash}{resource}' to='{user}'{attribute}>{inside}</presence>");
        self.contact_says(pair, partner, false, text);
    }

    fn contact_says(&mut self, pair: usize, partner: usize, refusal: bool, text: String) {
        let id = self.presence.said.len();
        self.note("contact says", id as u64, pair as u64);
        if self.keep_trace {
            self.comment(format!("   {text}"));
        }
        self.presence.said.push(Said { pair, refusal });
        self.partner_says(partner, Item::Presence(id), text.into_bytes());
    }

    pub(super) fn contact_asks(&mut self, pair: usize) {
        let record = &mut self.presence.pairs[pair];
        match record.contact.to {
            To::No => record.contact.to = To::Pending,
            To::Yes => record.asked_again = Some(self.now),
            To::Pending => {}
        }
        self.contact_sends(pair, "", "subscribe", "<status>please</status>");
    }

    pub(super) fn contact_gives_up(&mut self, pair: usize) {
        let contact = &mut self.presence.pairs[pair].contact;
        contact.to = To::No;
        contact.sees.clear();
        self.contact_sends(pair, "", "unsubscribe", "");
    }

    /// He answers the prompt, or takes back what he agreed to.
    pub(super) fn contact_decides(&mut self, pair: usize, yes: bool) {
        match (self.presence.pairs[pair].contact.from, yes) {
            (From::Pending, true) => {
                self.presence.pairs[pair].contact.from = From::Yes;
                self.contact_sends(pair, "", "subscribed", "");
                self.contact_shows_all(pair);
            }
            (From::Pending | From::Yes, false) => self.contact_refuses(pair),
            _ => {}
        }
    }

    pub(super) fn contact_refuses(&mut self, pair: usize) {
        let record = &mut self.presence.pairs[pair];
        (record.contact.from, record.contact.refusal_lost) = (From::No, true);
        let (user, partner) = (&self.presence.users[record.user].address, record.partner);
        let text = format!("<presence from='{}' to='{user}' type='unsubscribed'/>", record.address);
        self.contact_says(pair, partner, true, text);
    }

    pub(super) fn contact_is(&mut self, pair: usize, resource: &'static str, show: Option<&'static str>) {
        let contact = &mut self.presence.pairs[pair].contact;
        let (to, from) = (contact.to, contact.from);
        match show {
            Some(show) => {
                let first = contact.online.is_empty();
                contact.online.insert(resource, show);
                if from == From::Yes {
                    self.contact_shows(pair, resource);
                }
                // Initial presence (RFC 6121 §4.2.2).
                if first && to == To::Yes {
                    self.contact_sends(pair, "", "probe", "");
                }
            }
            None if contact.online.remove(resource).is_some() && from == From::Yes => {
                self.contact_sends(pair, resource, "unavailable", "");
            }
            None => {}
        }
    }

    /// His client signs in anew: everybody hears of it, and what was not answered is asked again.
    pub(super) fn contact_signs_in(&mut self, pair: usize) {
        let Contact { to, from, refusal_lost, .. } = self.presence.pairs[pair].contact;
        if from == From::No && refusal_lost {
            self.contact_refuses(pair);
        }
        if from == From::Yes {
            self.contact_shows_all(pair);
        }
        match to {
            To::Yes => self.contact_sends(pair, "", "probe", ""),
            To::Pending => self.contact_sends(pair, "", "subscribe", ""),
            To::No => self.contact_gives_up(pair),
        }
    }

    pub(super) fn contact_writes_to_user(&mut self, pair: usize) {
        let record = &self.presence.pairs[pair];
        let (user, partner) = (&self.presence.users[record.user].address, record.partner);
        let id = self.presence.said.len();
        let text = format!(
            "<message from='{}/r' to='{user}' id='c0' type='chat'><body>p{id}</body></message>",
            record.address
        );
        self.contact_says(pair, partner, false, text);
    }

    fn contact_shows(&mut self, pair: usize, resource: &'static str) {
        let show = self.presence.pairs[pair].contact.online[resource];
        let inside = if show.is_empty() { String::new() } else { format!("<show>{show}</show>") };
        self.contact_sends(pair, resource, "", &inside);
    }

    fn contact_shows_all(&mut self, pair: usize) {
        let online: Vec<_> = self.presence.pairs[pair].contact.online.keys().copied().collect();
        if online.is_empty() {
            self.contact_sends(pair, "", "unavailable", "");
        }
        for resource in online {
            self.contact_shows(pair, resource);
        }
    }

    /// A stanza of the gateway.
    pub(crate) fn contact_gets(&mut self, element: &Element, from: &str, to: &str) {
        let Some(pair) = self.presence.pair_of(from, to) else {
            return self.ledger.violation(format!("{to} heard of {from}, whom he never met"));
        };
        if element.name() == "message" {
            return;
        }
        let from = Jid::parse(element.attr("from").unwrap_or_default()).unwrap();
        let resource = from.resource().unwrap_or_default().to_owned();
        let text = |name| element.child(name, ns::SERVER).map(|child| child.text().into_owned());
        self.note("contact got", pair as u64, element.attr("type").map_or(0, |kind| kind.len() as u64));
        let contact = &mut self.presence.pairs[pair].contact;
        match element.attr("type") {
            // Nobody is shown whom he does not want to see.
            None if contact.to == To::No => {}
            None => {
                let seen = (text("show").unwrap_or_default(), text("status").unwrap_or_default());
                contact.sees.insert(resource, seen);
            }
            Some("unavailable") if resource.is_empty() => contact.sees.clear(),
            Some("unavailable") => drop(contact.sees.remove(&resource)),
            Some("subscribe") => match contact.from {
                From::Yes => self.contact_sends(pair, "", "subscribed", ""),
                From::Pending | From::Kept => {}
                From::No => self.contact_is_prompted(pair, element.attr("id").unwrap_or_default()),
            },
            Some("subscribed") if contact.to == To::Pending => contact.to = To::Yes,
            Some("unsubscribed") => {
                contact.to = To::No;
                contact.sees.clear();
            }
            Some("unsubscribe") => {
                self.ledger.violation("somebody gave up for the SIP user".to_owned());
            }
            Some("probe") => match contact.from {
                From::Yes => self.contact_shows_all(pair),
                _ => self.contact_sends(pair, "", "unsubscribed", ""),
            },
            _ => {}
        }
    }

    /// He is asked for consent: not a second time, unless an endpoint asked for him after he said no.
    fn contact_is_prompted(&mut self, pair: usize, id: &str) {
        self.presence.counts.prompts += 1;
        let left = self.presence.watch.asks.get(id).copied().unwrap_or(self.now);
        let record = &mut self.presence.pairs[pair];
        record.contact.from = From::Pending;
        if let Some(refused) = record.refused_at
            && refused < left
            && record.asked_at.is_none_or(|asked| asked + CROSSING < refused)
        {
            let contact = &record.address;
            self.ledger.violation(format!("no second prompt: {contact} had refused, and nobody asked anew"));
        }
    }
}
