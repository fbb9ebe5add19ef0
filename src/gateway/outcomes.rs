//! What became of messages and notices for SIP users, and who is told.

use std::fmt;

use nuncio_sip::Message;
use nuncio_sip::event::Undelivered;
use nuncio_sip::hop::HopFailure;
use nuncio_translate::errors::{self, SipTrouble};
use nuncio_translate::pair::{From, Outcome, PairKey, ToSip};
use nuncio_translate::receipt::xmpp::{Receipts, Received, is_received, read};
use nuncio_translate::text::LogSafe;
use nuncio_translate::{Moment, diagnostics};
use tracing::{debug, info, warn};

use super::from_xmpp::took;
use super::incoming::Incoming;
use super::log_ids::MESSAGES;
use super::receipts::what_is_left_of;
use super::{Fate, Gateway, MessageNumber, Pair};
use crate::log_limit::Cause;

/// The last word of the SIP side on one of them.
pub(super) enum Word<'a> {
    Answered {
        status: u16,
        reason: &'a str,
        /// `ms-diagnostics` of the front end.
        why: &'a str,
        /// Under which somebody keeps it.
        message_id: Option<&'a str>,
    },
    /// The SIP user did not take part in the session that it waited for, for this reason.
    NoSession(&'static str),
    /// There is no answer, for this reason.
    Failed { kind: Undelivered, why: &'a dyn fmt::Display },
}

impl<'a> Word<'a> {
    pub(super) fn of(outcome: &'a Result<Message, HopFailure>) -> Self {
        match outcome {
            Ok(response) => Self::response(response),
            Err(why) => Self::Failed { kind: Undelivered::from(why), why },
        }
    }

    fn response(response: &'a Message) -> Self {
        Self::Answered {
            status: response.status().map_or(500, |status| status.0),
            reason: response.reason(),
            why: diagnostics::said_by(response).unwrap_or_default(),
            message_id: response.other("Message-Id"),
        }
    }

    pub(super) fn is_delivered(&self) -> bool {
        matches!(self, Self::Answered { status: ..300, .. })
    }

    /// `None`: a rule forbids it since it left.
    fn trouble(&self) -> Option<SipTrouble<'a>> {
        Some(match *self {
            Self::Answered { status, reason, .. } => {
                SipTrouble::Answered { status, reason, new_address: None }
            }
            Self::NoSession(_) => SipTrouble::Answered { status: 480, reason: "", new_address: None },
            Self::Failed { kind: Undelivered::Timeout, .. } => SipTrouble::Timeout,
            Self::Failed { kind: Undelivered::Lost, .. } => SipTrouble::Transport { written: true },
            Self::Failed { kind: Undelivered::NotSent, .. } => SipTrouble::Transport { written: false },
            Self::Failed { kind: Undelivered::Withdrawn, .. } => return None,
        })
    }
}

impl Gateway {
    /// Tells the senders of what went in sessions, or waited for one.
    pub(super) fn settle_sessions(&self, key: &PairKey, pair: &mut Pair, sent_ms: Option<u64>, now: Moment) {
        while let Some(settled) = pair.take_settled() {
            let words = match &settled.outcome {
                Outcome::Undelivered(kind) | Outcome::Uninvited(kind) => words_of(*kind),
                _ => "",
            };
            let word = match &settled.outcome {
                Outcome::Delivered { status, message_id } => {
                    Word::Answered { status: *status, reason: "", why: "", message_id: message_id.as_deref() }
                }
                Outcome::Refused(response) => Word::response(response),
                Outcome::NoAnswer => Word::NoSession("the invitation was not answered"),
                Outcome::CalledOff => {
                    Word::NoSession("an administrator ended the session that it waited for")
                }
                // Whatever became of the invitation, what it was for has not been sent.
                Outcome::Uninvited(_) => Word::Failed { kind: Undelivered::NotSent, why: &words },
                Outcome::Undelivered(kind) => Word::Failed { kind: *kind, why: &words },
            };
            self.tell_sender(key, pair, settled.item, &word, sent_ms, now);
        }
    }

    /// Tells whoever waits for it. `sent_ms`: when it left, if that is known.
    pub(super) fn tell_sender(
        &self,
        key: &PairKey,
        pair: &mut Pair,
        item: ToSip<Incoming>,
        word: &Word<'_>,
        sent_ms: Option<u64>,
        now: Moment,
    ) {
        match item {
            // Who may see the SIP user may learn what became of him (DEC-03).
            ToSip::Message(message) => {
                let authorised = pair.from() == From::Yes;
                if let Word::Answered { status: 202, message_id: Some(message_id), .. } = *word {
                    pair.kept(message_id, what_is_left_of(message.stanza()), now);
                }
                self.settle_message(key, message, word, authorised, sent_ms, now);
            }
            ToSip::Notice(_) => self.settle_notice(key, word, now),
            ToSip::Report(report) => self.settle_report(key, pair, report, word, now),
        }
    }

    fn settle_message(
        &self,
        key: &PairKey,
        message: Incoming,
        word: &Word<'_>,
        authorised: bool,
        sent_ms: Option<u64>,
        now: Moment,
    ) {
        let Some(trouble) = word.trouble() else {
            self.counters.xmpp_to_sip_refused.add(1);
            message.came_to(Fate::Refused);
            return self.reply_uniform(message, now);
        };
        let Some(failure) = errors::to_xmpp(&trouble, authorised) else {
            self.counters.xmpp_to_sip_delivered.add(1);
            message.delivered(now);
            if let Word::Answered { status, .. } = word {
                debug!(target: MESSAGES, id = %self.id_from_xmpp(message.number()), status, "a front end has taken it");
            }
            return match word {
                Word::Answered { status, .. } if authorised && is_received(*status) => {
                    self.acknowledge_receipt(message, now);
                }
                _ => message.done(),
            };
        };
        self.counters.xmpp_to_sip_failed.add(1);
        message.came_to(Fate::Failed);
        match word {
            Word::Answered { status, why, .. } => {
                if failure == errors::UNIFORM_REFUSAL
                    && let Some(sent_ms) = sent_ms
                {
                    self.pace.lock().observe(took(sent_ms, now));
                }
                self.log_contact_declined(*status, why, message.number(), key, now);
            }
            Word::NoSession(why) => self.log_contact_failed(why, message.number(), key, now),
            Word::Failed { why, .. } => self.log_contact_failed(why, message.number(), key, now),
        }
        message.fail(&failure, now);
    }

    /// The contact wants to know that his message arrived, and may (IM-40).
    pub(super) fn acknowledge_receipt(&self, message: Incoming, now: Moment) {
        let stanza = message.stanza();
        let (Receipts::Request(of), Some(from), Some(to)) =
            (read(stanza), stanza.attr("to"), stanza.attr("from"))
        else {
            return message.done();
        };
        let (id, mut receipt) = (self.token(), Vec::with_capacity(256));
        Received { from, to, id: &id, of, kind: stanza.attr("type") }.write(&mut receipt);
        message.answer(receipt, now);
    }

    fn log_contact_declined(
        &self,
        status: u16,
        why: &str,
        number: MessageNumber,
        key: &PairKey,
        now: Moment,
    ) {
        if self.may_log(Cause::ContactDeclined, key, now) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            let (id, why) = (self.id_from_xmpp(number), LogSafe(why));
            info!(%id, %user, %contact, status, %why, "message of a contact refused by a front end");
        }
    }

    pub(super) fn log_contact_failed(
        &self,
        why: impl fmt::Display,
        number: MessageNumber,
        key: &PairKey,
        now: Moment,
    ) {
        if self.may_log(Cause::ContactFailed, key, now) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            let id = self.id_from_xmpp(number);
            warn!(%id, %user, %contact, %why, "message of a contact did not reach a front end");
        }
    }

    fn settle_notice(&self, key: &PairKey, word: &Word<'_>, now: Moment) {
        if word.is_delivered() {
            self.counters.notices_delivered.add(1);
        } else {
            self.counters.notices_lost.add(1);
            if self.may_log(Cause::NoticeFailed, key, now) {
                let (id, contact) = (self.id_of_pair(key), self.shown(key.contact()));
                warn!(%id, %contact, "a failure notice reached no front end");
            }
        }
    }
}

fn words_of(kind: Undelivered) -> &'static str {
    match kind {
        Undelivered::NotSent => "no front end could be reached",
        Undelivered::Lost => "the connection to the front end was lost before the answer came",
        Undelivered::Timeout => "the front end did not answer",
        Undelivered::Withdrawn => "it was taken back when it was about to be sent",
    }
}
