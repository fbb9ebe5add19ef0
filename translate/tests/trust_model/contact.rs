//! The contact and his server, as RFC 6121 has them.

use std::collections::BTreeMap;

use nuncio_translate::pair::{From, To, ToXmpp};
use nuncio_xmpp::Jid;

use crate::pair_rig::{CONTACT, USER, parse};

/// The contact's side of the two subscriptions: `to` is what he may see, `from` what the SIP user may see.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    pub(crate) to: To,
    pub(crate) from: From,
    /// His own resources and their show.
    pub(crate) online: BTreeMap<&'static str, &'static str>,
    /// What he sees of the SIP user.
    pub(crate) sees: BTreeMap<String, String>,
    pub(crate) out: Vec<String>,
    /// His server asks once, and not again whenever his client signs in.
    pub(crate) asks_once: bool,
}

/// A word that stands in each of his notes.
pub(crate) const NOTE: &str = "reading-the-news";

/// His note, which the SIP user sees whatever the type of the partner.
pub(crate) fn note(resource: &str, show: &str) -> String {
    format!("{NOTE} {resource} {show}.")
}

impl Contact {
    fn send(&mut self, resource: &str, kind: &str, inside: &str) {
        let slash = if resource.is_empty() { "" } else { "/" };
        let kind = if kind.is_empty() { String::new() } else { format!(" type='{kind}'") };
        self.out.push(format!(
            "<presence xmlns='jabber:server' from='{CONTACT}{slash}{resource}' to='{USER}'{kind}>{inside}</presence>"
        ));
    }

    pub(crate) fn asks(&mut self) {
        if self.to == To::No {
            self.to = To::Pending;
        }
        self.send("", "subscribe", "<status>please</status>");
    }

    pub(crate) fn gives_up(&mut self) {
        self.to = To::No;
        self.send("", "unsubscribe", "");
    }

    /// He answers the prompt, or takes back what he agreed to.
    pub(crate) fn agrees(&mut self, yes: bool) {
        match (self.from, yes) {
            (From::Pending, true) => {
                self.from = From::Yes;
                self.send("", "subscribed", "");
                self.show_all();
            }
            (From::Pending | From::Yes, false) => {
                self.from = From::No;
                self.send("", "unsubscribed", "");
            }
            _ => {}
        }
    }

    pub(crate) fn set(&mut self, resource: &'static str, show: Option<&'static str>) {
        match show {
            Some(show) => {
                let first = self.online.is_empty();
                self.online.insert(resource, show);
                if self.from == From::Yes {
                    self.show(resource);
                }
                // Initial presence (RFC 6121 §4.2.2).
                if first && self.to == To::Yes {
                    self.send("", "probe", "");
                }
            }
            None if self.online.remove(resource).is_some() && self.from == From::Yes => {
                self.send(resource, "unavailable", "");
            }
            None => {}
        }
    }

    /// His client signs in anew: what was not answered is asked again.
    pub(crate) fn signs_in(&mut self) {
        match self.to {
            To::Yes => self.send("", "probe", ""),
            To::Pending if !self.asks_once => self.send("", "subscribe", ""),
            To::Pending | To::No => {}
        }
    }

    fn show(&mut self, resource: &'static str) {
        let show = self.online[resource];
        let inside = if show.is_empty() { String::new() } else { format!("<show>{show}</show>") };
        let inside = format!("{inside}<status>{}</status>", note(resource, show));
        self.send(resource, "", &inside);
    }

    fn show_all(&mut self) {
        for resource in self.online.keys().copied().collect::<Vec<_>>() {
            self.show(resource);
        }
    }

    /// A stanza of the gateway arrives.
    pub(crate) fn receive(&mut self, stanza: &ToXmpp) {
        let element = parse(stanza);
        let from = Jid::parse(element.attr("from").unwrap()).unwrap();
        let resource = from.resource().unwrap_or_default().to_owned();
        match element.attr("type") {
            None => {
                let show = element.child("show", nuncio_xmpp::ns::SERVER).map(|show| show.text());
                self.sees.insert(resource, show.unwrap_or_default().to_string());
            }
            Some("unavailable") if resource.is_empty() => self.sees.clear(),
            Some("unavailable") => drop(self.sees.remove(&resource)),
            Some("subscribe") => match self.from {
                From::Yes => self.send("", "subscribed", ""),
                From::Pending | From::Kept => {}
                From::No => self.from = From::Pending,
            },
            Some("subscribed") if self.to == To::Pending => self.to = To::Yes,
            Some("unsubscribed") => {
                self.to = To::No;
                self.sees.clear();
            }
            Some("unsubscribe") => panic!("nobody ever gives up for the SIP user"),
            Some("probe") => match self.from {
                From::Yes if self.online.is_empty() => self.send("", "unavailable", ""),
                From::Yes => self.show_all(),
                _ => self.send("", "unsubscribed", ""),
            },
            _ => {}
        }
    }
}
