//! Reads along at the gateway's ends of all connections, and books what it sees.

use nuncio_sip::{Frame, Framer, Message, Method, StatusCode};

use crate::ledger::PATIENCE;
use crate::net::{Micros, SECOND, Sent};
use crate::partner::Item;
use crate::pump::Kind;
use crate::world::World;

/// A SIP user's answer comes after this at the latest, and what waking up costs.
const ANSWERED_WITHIN: Micros = 10 * SECOND + SECOND / 4;

impl World {
    /// The gateway's end has read some bytes.
    pub(crate) fn observe_input(&mut self, pump: usize) {
        let (conn, side) = (self.pumps[pump].conn, self.pumps[pump].side);
        let read = self.conns[conn].dirs[1 - side].read;
        self.pumps[pump].last_read.clear();
        while let Some(sent) =
            self.conns[conn].book.pop_front_if(|(end, _)| *end <= read).map(|(_, sent)| sent)
        {
            if self.pumps[pump].poisoned {
                continue;
            }
            let now = self.now;
            if let Sent::Stanza(item) = sent {
                self.pumps[pump].last_read.push(item);
            }
            match sent {
                Sent::Stanza(Item::Message(id)) => {
                    self.note("arrived c", id as u64, pump as u64);
                    let message = &mut self.ledger.from_xmpp[id];
                    message.arrived = Some(now);
                    message.stream = pump;
                }
                Sent::Stanza(Item::Bounce(id)) => self.ledger.from_sip[id].bounce_arrived = true,
                Sent::Stanza(Item::Poison(_)) => self.pumps[pump].poisoned = true,
                Sent::Stanza(Item::Presence(id)) => self.contact_was_heard(id),
                Sent::Stanza(Item::Other) => {}
                Sent::Subscribe(id) => self.endpoint_was_heard(id),
                Sent::Request(id) => {
                    self.note("arrived s", id as u64, pump as u64);
                    let message = &mut self.ledger.from_sip[id];
                    message.arrived.get_or_insert(now);
                    message.copies += 1;
                }
                Sent::Accepted(id) => {
                    let message = &mut self.ledger.from_xmpp[id];
                    message.accepted = true;
                    if now < message.left_after + PATIENCE {
                        message.accepted_in_time.get_or_insert(now);
                    }
                }
            }
        }
    }

    /// A session of the gateway has put out some bytes; it could have done so since `since`.
    pub(crate) fn observe_output(&mut self, pump: usize, bytes: &[u8], since: Micros) {
        match self.pumps[pump].kind {
            Kind::Lane(_, lane) if self.presence.is_on() => {
                self.watch_stanzas(self.lanes[lane].partner, bytes);
            }
            Kind::Lane(_, lane) => self.observe_stanzas(self.lanes[lane].partner, bytes),
            Kind::Sip(_) => self.observe_sip(pump, bytes, since),
            // Where they go both ways (XEP-0288).
            Kind::In(_, partner) if self.presence.is_on() => self.watch_stanzas(partner, bytes),
            Kind::In(_, partner) => self.observe_stanzas(partner, bytes),
        }
    }

    fn observe_stanzas(&mut self, partner: usize, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.ledger.violation("the gateway wrote half a character".to_owned());
        };
        for id in numbers(text, "<body>s") {
            self.note("left s", id as u64, partner as u64);
            let enabled = self.is_enabled(partner);
            let message = &mut self.ledger.from_sip[id];
            message.left += 1;
            if message.evil || !enabled {
                self.ledger.violation(format!(
                    "no unauthorised from: s{id} left for partner {partner} against the policy"
                ));
            }
        }
        self.watch_states(partner, text);
        for id in numbers(text, " id='c") {
            self.note("reported c", id as u64, partner as u64);
            let (noted, now) = (self.is_noted(id), self.now);
            let message = &mut self.ledger.from_xmpp[id];
            message.errors.push(now);
            message.noted |= noted;
        }
    }

    fn observe_sip(&mut self, pump: usize, bytes: &[u8], since: Micros) {
        let fresh = || (Framer::new(nuncio_sip::Limits::default()), bytes::BytesMut::new());
        let (mut framer, mut buffer) = std::mem::replace(&mut self.pumps[pump].observed, fresh());
        buffer.extend_from_slice(bytes);
        loop {
            match framer.next(&mut buffer) {
                Ok(Some(Frame::Message(message))) => self.observe_message(pump, &message, since),
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    self.ledger.violation(format!("the gateway wrote something unreadable: {error}"));
                    break;
                }
            }
        }
        self.pumps[pump].observed = (framer, buffer);
    }

    fn observe_message(&mut self, pump: usize, message: &Message, since: Micros) {
        if !self.pumps[pump].peer_listed && message.status() != Some(StatusCode(403)) {
            return self.ledger.violation("a stranger got more than a refusal".to_owned());
        }
        if self.presence.is_on() {
            return self.watch_sip(message, since);
        }
        match message.status() {
            Some(StatusCode(100..200)) => {}
            Some(StatusCode(status)) => {
                let Some(id) = request_of(message) else { return };
                self.note("answered s", id as u64, status.into());
                let now = self.now;
                let request = &mut self.ledger.from_sip[id];
                request.finals.push((now, status));
                let arrived = request.arrived.unwrap_or(now);
                if since > arrived + ANSWERED_WITHIN {
                    self.ledger.violation(format!("s{id} was answered after {} s", (now - arrived) / SECOND));
                }
            }
            None if message.method() == Method::Message && !is_composing(message) => {
                self.observe_request(message, since);
            }
            None if self.sessions.is_on() => self.watch_session(message, since),
            None => self.ledger.violation("the gateway sent something else than MESSAGE".to_owned()),
        }
    }

    fn observe_request(&mut self, message: &Message, since: Micros) {
        let body = message.body();
        let text = String::from_utf8_lossy(&body);
        if let Some(id) = text.strip_prefix('c').and_then(|id| id.parse::<usize>().ok()) {
            self.note("left c", id as u64, 0);
            let record = &mut self.ledger.from_xmpp[id];
            record.left += 1;
            record.left_after = since;
            let (pair, evil) = (record.pair, record.evil);
            let partner = self.ledger.pairs[pair].partner;
            let wrote =
                self.ledger.from_sip.iter().any(|other| other.pair == pair && other.arrived.is_some());
            if evil || !self.was_enabled_since(partner, since) {
                self.ledger.violation(format!("no unauthorised from: c{id} left against the policy"));
            }
            if !wrote && !self.was_trusted_since(partner, since) {
                self.ledger.violation(format!(
                    "no unauthorised from: c{id} left though its user was to be written to first"
                ));
            }
            return;
        }
        let (from, to) = (address(message.from_header()), address(message.to_header()));
        match self.ledger.pair_of(&to, &from) {
            Some(pair) => {
                self.note("notice", pair as u64, 0);
                // In a session there may be several.
                let name = name_of(message);
                self.sessions.counts.notices += u64::from(message.to_tag().is_some());
                self.ledger.notice_left(&name, pair, &text);
            }
            None => self.ledger.violation(format!("a notice to {to} about {from}, who never met")),
        }
    }

    /// Every request of a SIP user that arrived was answered, or its connection died first.
    pub(crate) fn check_answered(&mut self) {
        for id in 0..self.ledger.from_sip.len() {
            let message = &self.ledger.from_sip[id];
            let Some(arrived) = message.arrived.filter(|_| message.finals.is_empty()) else { continue };
            let ended = self.pumps[message.pump].ended_at.unwrap_or(Micros::MAX);
            if ended > arrived + ANSWERED_WITHIN {
                self.ledger.violation(format!("delivered or reported: s{id} was never answered"));
            }
        }
    }
}

/// The message of a SIP user that this answers.
pub(crate) fn request_of(message: &Message) -> Option<usize> {
    let via = message.top_via().ok()?;
    let branch = via.params.get("branch")??;
    branch.strip_prefix("z9hG4bKs")?.split('.').next()?.parse().ok()
}

/// It says that the contact types, and is no message.
pub(crate) fn is_composing(message: &Message) -> bool {
    let media = message.content_type().ok().flatten();
    media.is_some_and(|media| media.is("application", "im-iscomposing+xml"))
}

/// `user@host` of a name-addr.
pub(crate) fn address(header: Result<nuncio_sip::NameAddr<'_>, nuncio_sip::HeaderError>) -> String {
    header.map_or_else(
        |_| String::new(),
        |name| format!("{}@{}", name.uri.user().unwrap_or_default(), name.uri.host()),
    )
}

/// The numbers that stand behind `mark`.
fn numbers(text: &str, mark: &str) -> Vec<usize> {
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    text.match_indices(mark)
        .map(|(at, _)| &text[at + mark.len()..])
        .filter_map(|rest| rest[..digits(rest)].parse().ok())
        .collect()
}

/// What tells one MESSAGE from another, whichever next hop it is offered to.
pub(crate) fn name_of(message: &Message) -> String {
    let (call_id, cseq) = (message.call_id().unwrap_or_default(), message.cseq());
    format!("{call_id} {}", cseq.map_or(0, |cseq| cseq.number))
}
