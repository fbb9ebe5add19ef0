//! What became of messages of SIP users, for those who asked (RFC 5438, XEP-0184, XEP-0333).

use nuncio_sip::{Message, StatusCode, Uri};
use nuncio_translate::address::SipUser;
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::document::DocumentError;
use nuncio_translate::errors::{self, SipTrouble, XmppFailure};
use nuncio_translate::judge::{Direction, judge};
use nuncio_translate::message::from_sip::Ends;
use nuncio_translate::message::to_sip::{self, Request};
use nuncio_translate::pair::{self, From, PairKey, Report, Telling, ToSip, Way};
use nuncio_translate::receipt::imdn::{Envelope, Notification};
use nuncio_translate::receipt::notification::{self, Notified};
use nuncio_translate::receipt::xmpp::{Receipts, fates};
use nuncio_translate::receipt::{self, Fate};
use nuncio_translate::{Moment, cpim, stanza_id};
use nuncio_xmpp::{Addresses, Element, ns};
use tracing::warn;

use super::answers::SipAnswer;
use super::hops::message_of;
use super::incoming::{Incoming, ReplySlot};
use super::outcomes::Word;
use super::releasing::{alone, contact_of, say, user_of};
use super::{Gateway, Pair, ToXmppEnvelope};
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
        let (key, mut sends) = (PairKey::new(user, contact), false);
        let tell = |key: &PairKey, pair: &mut Pair| {
            if judge(&self.policy.load(), &message_of(key), pair.consent(), now.unix()).is_err() {
                return;
            }
            for (id, fate) in &told {
                if pair.told(id, *fate) == Telling::NoRoom {
                    self.counters.reports_lost.add(1);
                }
            }
            sends = self.run_pair_alone(key, pair, now);
        };
        let (settings, timers) = (&self.settings.pair, &self.timers);
        if let Err(lost) = remote.pairs.with_existing(key.as_str(), settings, timers, now, tell) {
            self.pair_lost(key.as_str(), lost, now);
        }
        if sends {
            self.serve_route_of(key.local_domain(), now);
        }
    }

    /// A MESSAGE outside of any session that says what became of messages of a contact: taken, whether it is of use or not.
    /// `None`: it is an instant message.
    pub(super) fn sip_notifies(&self, ends: &Ends, request: &Message, now: Moment) -> Option<SipAnswer> {
        let notified = notification::read(request)?;
        let key = PairKey::new(ends.sender.jid().as_str(), ends.contact.jid().as_str());
        let mut answer = None;
        let act = |key: &PairKey, pair: &mut Pair| answer = Some(self.notified(key, pair, &notified, now));
        if let Some(remote) = self.known_remote(key.remote_domain())
            && let Err(lost) =
                remote.pairs.with_existing(key.as_str(), &self.settings.pair, &self.timers, now, act)
        {
            self.pair_lost(key.as_str(), lost, now);
        }
        Some(answer.unwrap_or_else(|| self.notified_in_vain(&notified)))
    }

    /// The same in a session. Called under the pair's guard.
    pub(super) fn notified(
        &self,
        key: &PairKey,
        pair: &mut Pair,
        notified: &Result<Notified, DocumentError>,
        now: Moment,
    ) -> SipAnswer {
        let known = match notified {
            Ok(Notified::MsImdn(imdn)) => pair.take_kept(&imdn.message_id, now).map(|stanza| (imdn, stanza)),
            Ok(Notified::Imdn) | Err(_) => None,
        };
        let Some((imdn, stanza)) = known else { return self.notified_in_vain(notified) };
        let lane = self.known_lane(key.local_domain(), key.remote_domain());
        let message = Incoming::new(stanza, lane.as_ref().and_then(ReplySlot::reserve), now);
        let is_he = |uri: &str| {
            let user = Uri::parse(uri).ok().and_then(|uri| SipUser::from_uri(&uri).ok());
            user.is_some_and(|user| user.jid().as_str() == key.sip_user())
        };
        // Who may see the SIP user may learn what became of him (DEC-03).
        let authorised = pair.from() == From::Yes;
        match imdn.fate(is_he) {
            Fate::Failed => {
                let listed = imdn.recipients.iter().find(|recipient| is_he(&recipient.uri));
                let status = listed.map_or(500, |recipient| recipient.status);
                let trouble = SipTrouble::Answered { status, reason: "", new_address: None };
                self.counters.xmpp_to_sip_failed_late.add(1);
                self.tally(key.remote_domain()).came_to(Direction::XmppToSip, super::Fate::FailedLate);
                match errors::to_xmpp(&trouble, authorised) {
                    Some(failure) => message.fail(&failure, now),
                    None => message.done(),
                }
            }
            Fate::Delivered if authorised => self.acknowledge_receipt(message, now),
            _ => message.done(),
        }
        taken()
    }

    fn notified_in_vain(&self, notified: &Result<Notified, DocumentError>) -> SipAnswer {
        match notified {
            Ok(_) => {
                self.counters.notifications_of_nothing.add(1);
                taken()
            }
            Err(error) => {
                let (status, why) = (error.status(), format!("the notification cannot be read: {error}"));
                SipAnswer::new(status, StatusCode(status).phrase()).because(Diagnostic::Malformed, &why)
            }
        }
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

    /// Lets the next report leave: in a session if there is one that takes it, else alone. True: there is something new on
    /// the route.
    pub(super) fn run_report(&self, pair: &mut Pair, context: &mut pair::Context<'_>) -> bool {
        let way = pair.way_of_report(pair.next_report().and_then(|report| report.thread.as_deref()));
        let Some((serial, report)) = pair.release_report() else { return false };
        let body = self.notification(context.key, report, context.now);
        let sent = body.and_then(|body| match way {
            Way::Session(session) => {
                say(pair, (serial, session), (&[], (cpim::MEDIA_TYPE, &body)), None, context).map(|()| false)
            }
            Way::Pager | Way::Invite => {
                let write = |request: &Request<'_>, out: &mut Vec<u8>| {
                    to_sip::write_other((cpim::MEDIA_TYPE, &body), request, out)
                };
                let envelope = alone(context, serial, None);
                self.send_alone(envelope, None, body.len(), write, context).map(|()| true)
            }
        });
        if sent.is_err()
            && let Some(ToSip::Report(report)) = pair.settled(serial)
        {
            self.report_lost(pair, report);
        }
        sent.unwrap_or(false)
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

    /// What was asked for may not be understood after all. A failure is told in words then.
    fn report_lost(&self, pair: &mut Pair, report: Report) {
        self.counters.reports_lost.add(1);
        if let Some(notice) = report.instead {
            pair.notify(notice);
        }
    }

    pub(super) fn settle_report(
        &self,
        key: &PairKey,
        pair: &mut Pair,
        report: Report,
        word: &Word<'_>,
        now: Moment,
    ) {
        if word.is_delivered() {
            return self.counters.reports_delivered.add(1);
        }
        self.report_lost(pair, report);
        if self.may_log(Cause::NoticeFailed, key, now) {
            let (id, contact) = (self.id_of_pair(key), self.shown(key.contact()));
            warn!(%id, %contact, "word of what became of a message reached no front end");
        }
    }
}

fn taken() -> SipAnswer {
    SipAnswer::new(200, "OK")
}

/// What has to be known of a message of a contact to answer it later.
pub(super) fn what_is_left_of(stanza: &Element) -> Element {
    let mut left = Element::new("message", ns::SERVER);
    for name in ["from", "to", "id", "type"] {
        left = left.with_opt_attr(name, stanza.attr(name));
    }
    match receipt::xmpp::read(stanza) {
        Receipts::Request(_) => left.with_child(Element::new("request", ns::RECEIPTS)),
        Receipts::Received(_) | Receipts::None => left,
    }
}
