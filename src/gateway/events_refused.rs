//! SUBSCRIBEs and NOTIFYs that get no 2xx: what the front end is told, and what the log says.

use nuncio_sip::event::Answer;
use nuncio_sip::{Message, Method, Uri};
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::pair::{Asked, PairKey};
use nuncio_translate::stanza_id::PairId;
use nuncio_translate::text::LogSafe;
use tracing::field::display;
use tracing::{debug, info};

use super::Gateway;
use super::answers::SipAnswer;
use crate::log_limit::{Cause, Source};

/// One refusal, as the log has it.
struct Line<'a> {
    /// Of the pair, if it came to one.
    id: Option<PairId<'a>>,
    /// If it did not.
    call_id: Option<&'a str>,
    notifies: bool,
    user: &'a str,
    contact: &'a str,
    /// Whose doing it is, and whose share of the lines.
    domain: &'a str,
    answer: &'a SipAnswer,
}

impl Gateway {
    /// An answer that a subscription has chosen, as it goes out: a refusal with its reason.
    pub(super) fn said(&self, answer: Answer) -> SipAnswer {
        let refuses = !answer.is_success();
        let mut out = SipAnswer::new(answer.status, answer.reason).with_body(answer.body);
        for (name, value) in answer.headers {
            out = out.with(name, value);
        }
        if let Some((code, text)) = answer.warning.as_deref() {
            out = out.warning(*code, text);
        }
        if !refuses {
            return out;
        }
        let why = if answer.why.is_empty() { out.reason.clone() } else { answer.why };
        out.because(Diagnostic::of_status(answer.status), &why)
    }

    /// A request that a pair has refused.
    pub(super) fn event_refused(&self, key: &PairKey, asked: Asked, answer: &SipAnswer, now: Moment) {
        let domain = if asked.notifies { key.local_domain() } else { key.remote_domain() };
        let (notifies, user, contact) = (asked.notifies, key.sip_user(), key.contact());
        let id = Some(self.id_of_pair(key));
        self.log_event_refused(&Line { id, call_id: None, notifies, user, contact, domain, answer }, now);
    }

    /// The same for a request that came to no pair.
    pub(super) fn stray_event_refused(&self, request: &Message, answer: &SipAnswer, now: Moment) {
        let notifies = request.method() != Method::Subscribe;
        let from = request.from_header().map_or("", |from| from.uri.as_str());
        let contact = match notifies {
            true => request.to_header().map_or("", |to| to.uri.as_str()),
            false => request.request_uri(),
        };
        let whose = if notifies { from } else { contact };
        let domain = Uri::parse(whose).map(|uri| uri.host().to_string()).unwrap_or_default();
        let call_id = request.call_id().ok();
        let line = Line { id: None, call_id, notifies, user: from, contact, domain: &domain, answer };
        self.log_event_refused(&line, now);
    }

    /// The line that says why a SIP user does not see somebody, or is not seen as he is. Clients ask for all of their
    /// contacts at once, and a front end whose documents cannot be read sends one for each of its users.
    fn log_event_refused(&self, line: &Line<'_>, now: Moment) {
        let (counter, cause) = match line.notifies {
            true => (&self.counters.notifies_refused, Cause::NotifyRefused),
            false => (&self.counters.subscribes_refused, Cause::SubscribeRefused),
        };
        counter.add(1);
        let (status, why) = (line.answer.status, LogSafe(line.answer.why()));
        let (user, contact) = (self.shown(line.user), self.shown(line.contact));
        let (id, call_id) = (line.id.map(display), line.call_id.map(|id| display(LogSafe(id))));
        // These two belong to the protocol: whoever gets them asks again, or stops, and all is well.
        let final_word = !matches!(status, 423 | 481);
        if !final_word || !self.log_budget.allows(cause, Source::Domain(line.domain), now.instant) {
            debug!(id, call_id, notify = line.notifies, %user, %contact, status, %why, "request of a front end refused");
        } else if line.notifies {
            info!(id, call_id, %user, %contact, status, %why, "NOTIFY of a front end refused: the contact goes on seeing what he saw");
        } else {
            info!(id, call_id, %user, %contact, status, %why, "SUBSCRIBE refused");
        }
    }
}
