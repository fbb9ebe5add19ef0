//! What became of messages of SIP users, for those who asked (RFC 5438, XEP-0184, XEP-0333).

use nuncio_translate::errors::XmppFailure;
use nuncio_translate::judge::judge;
use nuncio_translate::message::to_sip::{self, Request};
use nuncio_translate::pair::{PairKey, Report, Telling, Way};
use nuncio_translate::receipt::imdn::{Envelope, Notification};
use nuncio_translate::receipt::xmpp::fates;
use nuncio_translate::{Moment, cpim, stanza_id};
use nuncio_xmpp::{Addresses, Element};
use tracing::warn;

use super::hops::message_of;
use super::outcomes::Word;
use super::releasing::{contact_of, user_of};
use super::{Gateway, Pair, ToSipEnvelope, ToXmppEnvelope};
use crate::log_limit::Cause;

impl Gateway {
    /// A stanza of a contact without text: that a message arrived, or was displayed, perhaps (IM-41, IM-43). It counts if its
    /// id is ours, and if he may write.
    pub(super) fn contact_tells(&self, stanza: &Element, addresses: &Addresses, now: Moment) {
        let mut fates = fates(stanza).peekable();
        if fates.peek().is_none() {
            return;
        }
        let (contact, user) = (addresses.from.bare_str(), addresses.to.bare_str());
        let Some(remote) = self.known_remote(addresses.from.domain()) else { return };
        let mut told = Vec::new();
        for (fate, id) in fates {
            match stanza_id::verify(&self.settings.node_key, id, user, contact) {
                Ok(id) if id.kind == stanza_id::Kind::Message => told.push((id, fate)),
                // To contacts' clients most messages are those of others.
                Ok(_) | Err(stanza_id::IdError::Foreign) => {}
                Err(stanza_id::IdError::Forged) => self.counters.forged_ids.add(1),
            }
        }
        if told.is_empty() {
            return;
        }
        let key = PairKey::new(user, contact);
        let tell = |key: &PairKey, pair: &mut Pair| {
            if judge(&self.policy.load(), &message_of(key), pair.consent(), now.unix()).is_err() {
                return;
            }
            for (id, fate) in &told {
                if pair.told(id, *fate) == Telling::NoRoom {
                    self.counters.reports_lost.add(1);
                }
            }
            self.run_pair(key, pair, now);
        };
        let (settings, timers) = (&self.settings.pair, &self.timers);
        if let Err(lost) = remote.pairs.with_existing(key.as_str(), settings, timers, now, tell) {
            self.pair_lost(key.as_str(), lost, now);
        }
        self.serve_route_of(key.local_domain(), now);
    }

    /// A message on its lane was refused: its sender has his answer, and hears no more of it.
    pub(super) fn asks_no_more(&self, envelope: &ToXmppEnvelope, now: Moment) {
        let Some(sequence) = envelope.asks else { return };
        let key = &envelope.pair;
        let Some(remote) = self.known_remote(key.remote_domain()) else { return };
        let (settings, timers) = (&self.settings.pair, &self.timers);
        let forget = |_: &PairKey, pair: &mut Pair| pair.awaits_no_more(sequence.get());
        if let Err(lost) = remote.pairs.with_existing(key.as_str(), settings, timers, now, forget) {
            self.pair_lost(key.as_str(), lost, now);
        }
    }

    /// Lets the next report leave: in a session if there is one that takes it, else alone.
    pub(super) fn run_report(&self, key: &PairKey, pair: &mut Pair, now: Moment) {
        let way = pair.way_of_report(pair.next_report().and_then(|report| report.thread.as_deref()));
        let Some((serial, report)) = pair.release_report() else { return };
        let body = self.notification(key, report, now);
        let sent = body.and_then(|body| match way {
            Way::Session(tag) => {
                self.say(key, pair, (serial, &tag), (&[], (cpim::MEDIA_TYPE, &body)), None, now)
            }
            Way::Pager | Way::Invite => {
                let envelope = ToSipEnvelope {
                    pair: key.clone(),
                    serial,
                    event: None,
                    sent_ms: now.unix_ms,
                    judged: None,
                };
                let write = |request: &Request<'_>, out: &mut Vec<u8>| {
                    to_sip::write_other((cpim::MEDIA_TYPE, &body), request, out)
                };
                self.send_alone(envelope, None, body.len(), write, now)
            }
        });
        if sent.is_err() {
            pair.settled(serial);
            self.counters.reports_lost.add(1);
        }
    }

    /// Its body.
    fn notification(&self, key: &PairKey, report: &Report, now: Moment) -> Result<Vec<u8>, XmppFailure> {
        let (contact, user) = (contact_of(key)?.uri(None), user_of(key)?.uri());
        let said = Notification {
            message_id: report.message_id.as_str().into(),
            date_time: report.date_time.as_str().into(),
            recipient: Some(contact.as_str().into()),
            fate: report.fate,
        };
        let message_id = self.token();
        let envelope = Envelope { from: &contact, to: &user, message_id: &message_id, unix_ms: now.unix_ms };
        let mut body = Vec::with_capacity(1024);
        said.write(&envelope, &mut body);
        Ok(body)
    }

    pub(super) fn settle_report(&self, key: &PairKey, word: &Word<'_>, now: Moment) {
        if word.is_delivered() {
            return self.counters.reports_delivered.add(1);
        }
        self.counters.reports_lost.add(1);
        if self.may_log(Cause::NoticeFailed, key, now) {
            warn!(contact = %self.shown(key.contact()), "word of what became of a message reached no front end");
        }
    }
}
