//! The front end as presence server: the gateway subscribes to its users.

use nuncio_sip::Message;

use super::{Act, Question, SECRET, Watched};
use crate::net::{MILLI, Micros, SECOND};
use crate::observer::address;
use crate::world::{Event, World};

/// How the SIP user has decided about the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Asked,
    Allowed,
    Refused,
}

/// Seconds it grants at most.
const GRANTED: u32 = 600;
/// It repeats a NOTIFY without an answer after so long.
const PATIENCE: Micros = 8 * SECOND;
/// The devices of every user.
pub(super) const DEVICES: [&str; 2] = ["desk", "phone"];

/// One subscription of the gateway.
#[derive(Debug)]
pub(super) struct Notifying {
    pub(super) call_id: String,
    tag: String,
    gateway_tag: String,
    cseq: u32,
    expires_at: Micros,
    /// It has something to say.
    dirty: bool,
    /// The NOTIFY that waits for its answer, and since when.
    pending: Option<(usize, Micros)>,
    /// It ends, for that reason.
    pub(super) ended: Option<&'static str>,
}

impl World {
    /// The user's presence changed, or his mind: all who watch are told.
    pub(super) fn user_changes(&mut self, user: usize) {
        for pair in 0..self.presence.pairs.len() {
            if self.presence.pairs[pair].user == user {
                self.pair_changes(pair);
            }
        }
    }

    /// It was restarted, say: it knows nothing of the gateway's subscriptions any more, and tells nobody.
    pub(super) fn front_end_forgets(&mut self, pair: usize) {
        let dialogs = &mut self.presence.pairs[pair].dialogs;
        self.presence.counts.forgotten += dialogs.len() as u64;
        dialogs.clear();
    }

    pub(super) fn pair_changes(&mut self, pair: usize) {
        let refused = self.presence.pairs[pair].decision == Decision::Refused;
        for dialog in &mut self.presence.pairs[pair].dialogs {
            dialog.dirty = true;
            if refused {
                dialog.ended.get_or_insert("rejected");
            }
        }
        let calls: Vec<_> =
            self.presence.pairs[pair].dialogs.iter().map(|dialog| dialog.call_id.clone()).collect();
        for call_id in calls {
            self.after(0, Event::Presence(Act::Tell { pair, call_id }));
        }
    }

    /// A SUBSCRIBE of the gateway: status, To tag, Expires of the answer.
    pub(super) fn gateway_subscribes(&mut self, request: &Message) -> (u16, Option<String>, Option<u32>) {
        let (from, to) = (address(request.from_header()), address(request.to_header()));
        let Some(pair) = self.presence.pair_of(&to, &from) else {
            self.ledger.violation(format!("a SUBSCRIBE for {from}, who never met {to}"));
            return (404, None, None);
        };
        let call_id = request.call_id().unwrap_or_default().to_owned();
        let granted = request.expires().ok().flatten().unwrap_or(GRANTED).min(GRANTED);
        let expires_at = self.now + Micros::from(granted) * SECOND;
        let inside = request.to_tag().is_some();
        let refused = self.presence.pairs[pair].decision == Decision::Refused;
        let known = self.presence.pairs[pair].dialogs.iter_mut().find(|dialog| dialog.call_id == call_id);
        let tag = match known {
            Some(dialog) if dialog.ended.is_some() && inside => return (481, None, None),
            Some(dialog) => {
                dialog.dirty = true;
                dialog.expires_at = expires_at;
                if granted == 0 {
                    dialog.ended = Some("timeout");
                }
                dialog.tag.clone()
            }
            None if inside => return (481, None, None),
            None if refused => return (603, None, None),
            None => {
                let tag = format!("fe{}", self.rng.next());
                self.presence.counts.subscribed_to_users += 1;
                self.presence.pairs[pair].dialogs.push(Notifying {
                    call_id: call_id.clone(),
                    tag: tag.clone(),
                    gateway_tag: request.from_tag().unwrap_or_default().to_owned(),
                    cseq: 0,
                    expires_at,
                    dirty: true,
                    pending: None,
                    ended: (granted == 0).then_some("timeout"),
                });
                tag
            }
        };
        // Now and then the NOTIFY comes before the answer.
        let delay = self.rng.range(0, 30 * MILLI);
        self.after(delay, Event::Presence(Act::Tell { pair, call_id: call_id.clone() }));
        self.at(expires_at, Event::Presence(Act::Expires { pair, call_id }));
        (200, Some(tag), Some(granted))
    }

    pub(super) fn gateway_lapses(&mut self, pair: usize, call_id: &str) {
        let now = self.now;
        let Some(dialog) = self.dialog(pair, call_id) else { return };
        if dialog.expires_at <= now && dialog.ended.is_none() {
            (dialog.ended, dialog.dirty) = (Some("timeout"), true);
            self.tell_gateway(pair, call_id);
        }
    }

    pub(super) fn tell_gateway(&mut self, pair: usize, call_id: &str) {
        let now = self.now;
        let Some(dialog) = self.dialog(pair, call_id) else { return };
        if !dialog.dirty || dialog.pending.is_some_and(|(_, since)| now < since + PATIENCE) {
            return;
        }
        dialog.cseq += 1;
        let (cseq, ended) = (dialog.cseq, dialog.ended);
        let (tag, gateway_tag) = (dialog.tag.clone(), dialog.gateway_tag.clone());
        let left = dialog.expires_at.saturating_sub(now) / SECOND;
        let record = &self.presence.pairs[pair];
        let (state, body) = match (ended, record.decision) {
            (Some("timeout"), Decision::Allowed) => {
                ("terminated;reason=timeout".to_owned(), self.document(record))
            }
            (Some(reason), _) => (format!("terminated;reason={reason}"), String::new()),
            (None, Decision::Allowed) => (format!("active;expires={left}"), self.document(record)),
            (None, _) => (format!("pending;expires={left}"), String::new()),
        };
        let media = if body.is_empty() { "" } else { "Content-Type: application/pidf+xml\r\n" };
        let headers = format!(
            "Contact: <sip:fe.contoso.example;transport=tls>\r\nEvent: presence\r\nSubscription-State: {state}\r\n{media}"
        );
        let question = Question::Tell { pair, call_id: call_id.to_owned() };
        let tags = (tag.as_str(), Some(gateway_tag.as_str()));
        let sent = self.front_end_sends(question, "NOTIFY", (call_id, cseq), tags, (&headers, &body));
        let again = Act::Tell { pair, call_id: call_id.to_owned() };
        if let Some(dialog) = self.dialog(pair, call_id) {
            dialog.pending = sent.map(|number| (number, now));
            dialog.dirty = sent.is_none();
        }
        if sent.is_none() {
            self.after(SECOND / 2, Event::Presence(again));
        } else {
            // Without an answer by then it is said once more.
            self.after(PATIENCE, Event::Presence(Act::Unanswered(self.presence.questions.len() - 1)));
        }
    }

    /// The gateway answered a NOTIFY, or did not.
    pub(super) fn told_gateway(
        &mut self,
        pair: usize,
        call_id: &str,
        number: usize,
        answer: Option<&Message>,
    ) {
        let Some(dialog) = self.dialog(pair, call_id) else { return };
        if dialog.pending.is_none_or(|(pending, _)| pending != number) {
            return;
        }
        dialog.pending = None;
        let status = answer.and_then(Message::status).map_or(408, |status| status.0);
        match status {
            200..300 if dialog.ended.is_some() && !dialog.dirty => self.drop_dialog(pair, call_id),
            200..300 => self.tell_gateway(pair, call_id),
            408 | 500..600 => {
                dialog.dirty = true;
                let delay = if status == 408 { 0 } else { 2 * SECOND };
                let call_id = call_id.to_owned();
                self.after(delay, Event::Presence(Act::Tell { pair, call_id }));
            }
            _ => self.drop_dialog(pair, call_id),
        }
    }

    fn dialog(&mut self, pair: usize, call_id: &str) -> Option<&mut Notifying> {
        self.presence.pairs[pair].dialogs.iter_mut().find(|dialog| dialog.call_id == call_id)
    }

    fn drop_dialog(&mut self, pair: usize, call_id: &str) {
        self.presence.pairs[pair].dialogs.retain(|dialog| dialog.call_id != call_id);
    }

    /// What the contact may know of the user, as the front end says it.
    fn document(&self, record: &Watched) -> String {
        let user = &self.presence.users[record.user];
        let tuples: String = DEVICES
            .iter()
            .zip(user.devices)
            .map(|(device, show)| {
                let basic = if show.is_some() { "open" } else { "closed" };
                let show = show.filter(|show| !show.is_empty());
                let show =
                    show.map(|show| format!("<show xmlns='jabber:client'>{show}</show>")).unwrap_or_default();
                let note = format!("<note>{SECRET}-{}</note>", user.version);
                format!("<tuple id='{device}'><status><basic>{basic}</basic>{show}</status>{note}</tuple>")
            })
            .collect();
        format!(
            "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:{}'>{tuples}</presence>",
            user.address
        )
    }
}
