//! What must hold of sessions at every moment, on the wire, and what contacts say in them beside messages.

use nuncio_sip::{Message, Method};
use nuncio_xmpp::{Element, ns};

use crate::ledger::PairId;
use crate::net::Micros;
use crate::observer::address;
use crate::partner::Item;
use crate::world::World;

const STATES: &str = "http://jabber.org/protocol/chatstates";

impl World {
    /// A request of a session leaves for the front end.
    pub(crate) fn watch_session(&mut self, message: &Message, since: Micros) {
        let (from, to) = (address(message.from_header()), address(message.to_header()));
        let Some(pair) = self.ledger.pair_of(&to, &from) else {
            return self.ledger.violation(format!("no unauthorised from: {from} to {to}"));
        };
        let method = message.method();
        match method {
            // What shows that the contact is there, and writes.
            Method::Info | Method::Message => self.watch_permit(pair, since, "typing of the contact"),
            Method::Invite if message.to_tag().is_none() => self.watch_invitation(pair, since),
            Method::Invite | Method::Update | Method::Ack | Method::Bye | Method::Cancel => {}
            _ => self.ledger.violation(format!("the gateway sent {}", method.as_str())),
        }
    }

    /// On behalf of the contact, or for a notice: that is only for who has written.
    fn watch_invitation(&mut self, pair: PairId, since: Micros) {
        if !self.user_wrote(pair) {
            self.watch_permit(pair, since, "an invitation");
        }
    }

    fn watch_permit(&mut self, pair: PairId, since: Micros, what: &str) {
        let partner = self.ledger.pairs[pair].partner;
        let trusted = self.user_wrote(pair) || self.was_trusted_since(partner, since);
        if !trusted || !self.was_enabled_since(partner, since) {
            self.ledger
                .violation(format!("no unauthorised from: {what} of pair {pair} left against the policy"));
        }
    }

    fn user_wrote(&self, pair: PairId) -> bool {
        self.ledger.from_sip.iter().any(|message| message.pair == pair && message.arrived.is_some())
    }

    /// Chat states that leave for a partner alone.
    pub(crate) fn watch_states(&mut self, partner: usize, text: &str) {
        if !self.sessions.is_on() {
            return;
        }
        let alone = text.split("<message ").skip(1).filter(|rest| {
            let stanza = rest.split("</message>").next().unwrap_or_default();
            stanza.contains(STATES) && !stanza.contains("<body>")
        });
        let count = alone.count();
        if count > 0 && !self.is_enabled(partner) {
            self.ledger.violation(format!("a chat state left for partner {partner} against the policy"));
        }
    }

    /// A partner got a message without text.
    pub(crate) fn contact_sees_state(&mut self, stanza: &Element, from: &str, to: &str) {
        let states = ["active", "composing", "paused", "inactive", "gone"];
        if !states.iter().any(|state| stanza.child(state, STATES).is_some()) {
            return self.ledger.violation("a partner got a message that says nothing".to_owned());
        }
        if stanza.child("body", ns::SERVER).is_some() {
            return;
        }
        self.sessions.counts.states_to_contacts += 1;
        match self.ledger.pair_of(from, to) {
            Some(pair) if self.sessions.showed.contains(&pair) => {}
            Some(pair) => {
                self.ledger.violation(format!("IM-34: the contact of pair {pair} never showed a state"))
            }
            None => self.ledger.violation(format!("no unauthorised from: {from} to {to}")),
        }
    }

    /// What a contact's message holds beside its text.
    pub(crate) fn contact_adds(&mut self, pair: PairId) -> String {
        if !self.sessions.is_on() {
            return String::new();
        }
        let thread = match self.rng.range(0, 4) {
            0 => format!("<thread>t{}</thread>", self.rng.range(0, 3)),
            1 if !self.sessions.dialogs.is_empty() => {
                let dialog = self.rng.index(self.sessions.dialogs.len());
                let call_id = self.sessions.dialogs[dialog].call_id.replace('@', "");
                format!("<thread>{call_id}</thread>")
            }
            _ => String::new(),
        };
        let state = self.rng.pick(&["", "active", "active", "composing"]);
        if state.is_empty() {
            return thread;
        }
        self.sessions.showed.push(pair);
        format!("{thread}<{state} xmlns='{STATES}'/>")
    }

    /// A contact types, stops, or goes.
    pub(crate) fn contact_asides(&mut self, pair: PairId, from: &str) {
        if !self.sessions.is_on() || !self.rng.chance(40) {
            return;
        }
        let state = self.rng.pick(&["active", "composing", "composing", "paused", "inactive", "gone"]);
        self.sessions.showed.push(pair);
        let record = &self.ledger.pairs[pair];
        let (partner, to) = (record.partner, &record.sip_user);
        let bytes =
            format!("<message from='{from}/r' to='{to}' type='chat'><{state} xmlns='{STATES}'/></message>");
        self.partner_says(partner, Item::Other, bytes.into_bytes());
    }
}
