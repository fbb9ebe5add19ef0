//! What the front end does in sessions of its own accord.

use nuncio_sip::{Message, Method};

use super::{Act, COMPOSING, DESCRIPTION, Dialog, Question, State, contact_of, target_of};
use crate::ledger::PairId;
use crate::net::{MILLI, SECOND};
use crate::world::{Event, LOCAL, World};

/// Something strange to say inside a session: method, type and body.
const STRANGE: [(&str, &str, &str); 9] = [
    ("INFO", "application/xml", "<KeyboardActivity>"),
    ("INFO", "application/dtmf-relay", "Signal=1"),
    ("MESSAGE", "application/im-iscomposing+xml", "<isComposing/>"),
    ("MESSAGE", "application/x-ms-ink", "\u{1}\u{2}"),
    ("REFER", "text/plain", ""),
    ("PRACK", "text/plain", ""),
    ("SUBSCRIBE", "text/plain", ""),
    ("NOTIFY", "text/plain", ""),
    ("UPDATE", "application/sdp", "v=0\r\n"),
];

impl World {
    pub(super) fn stir(&mut self) {
        if self.over || self.sessions.calm {
            return;
        }
        let live = self.sessions.all(State::Live);
        if live.is_empty() || self.rng.chance(30) {
            let pairs = self.ledger.pairs.len();
            let pair = self.rng.index(pairs).min(self.rng.index(pairs));
            return self.user_invites(pair);
        }
        let dialog = self.rng.pick(&live);
        match self.rng.range(0, 20) {
            0..4 => self.user_hangs_up(dialog),
            4 | 5 => {
                self.note("user forgets", dialog as u64, 0);
                self.sessions.dialogs[dialog].state = State::Over;
            }
            6..12 => {
                let status = self.rng.pick(&["type", "idle"]);
                let body = format!("<KeyboardActivity><status status=\"{status}\"/></KeyboardActivity>");
                self.user_asks(dialog, "INFO", ("application/xml", &body));
            }
            12 | 13 => {
                let offer = self.rng.pick(&["", DESCRIPTION]);
                self.user_asks(dialog, "UPDATE", ("application/sdp", offer));
            }
            14 | 15 => {
                let offer = self.rng.pick(&["", DESCRIPTION, COMPOSING]);
                self.user_asks(dialog, "INVITE", ("application/sdp", offer));
            }
            16 => {
                // As if it had come late.
                let cseq = self.sessions.dialogs[dialog].cseq;
                self.sessions.dialogs[dialog].cseq = cseq.saturating_sub(2);
                self.user_asks(dialog, "INFO", ("application/xml", ""));
                self.sessions.dialogs[dialog].cseq = cseq;
            }
            _ => {
                let (method, media, body) = self.rng.pick(&STRANGE);
                self.user_asks(dialog, method, (media, body));
            }
        }
    }

    /// A user invites a contact.
    pub(super) fn user_invites(&mut self, pair: PairId) {
        let number = self.sessions.dialogs.len();
        let record = &self.ledger.pairs[pair];
        let target = format!("sip:{}", record.contact);
        self.sessions.counts.contacts_invited += 1;
        self.sessions.dialogs.push(Dialog {
            pair,
            call_id: format!("v{number}"),
            ours: format!("d{number}"),
            theirs: String::new(),
            target,
            cseq: 0,
            state: State::Inviting,
            conn: 0,
            accepted: Vec::new(),
            cancelled: Vec::new(),
            accepted_at: 0,
        });
        self.user_asks(number, "INVITE", ("application/sdp", DESCRIPTION));
    }

    pub(super) fn user_hangs_up(&mut self, dialog: usize) {
        if self.sessions.dialogs[dialog].state == State::Over {
            return;
        }
        self.sessions.counts.byes_of_users += 1;
        self.user_asks(dialog, "BYE", ("text/plain", ""));
        self.sessions.dialogs[dialog].state = State::Over;
    }

    /// Sends a request of the front end in a session, or for one.
    fn user_asks(&mut self, dialog: usize, method: &'static str, (media, body): (&str, &str)) {
        let Some((conn, side)) = self.some_link() else {
            if self.sessions.dialogs[dialog].state == State::Inviting {
                self.sessions.dialogs[dialog].state = State::Over;
            }
            return;
        };
        self.sessions.dialogs[dialog].cseq += 1;
        let cseq = self.sessions.dialogs[dialog].cseq;
        let number = self.sessions.questions.len();
        let invites = method == "INVITE";
        // Now and then nobody acknowledges.
        let acknowledges = self.sessions.calm || self.rng.chance(88);
        self.sessions.questions.push(Question { dialog, cseq, invites, acknowledges });
        let mut more = String::new();
        if body.is_empty() {
            // There is none to be described.
        } else {
            more = format!("Content-Type: {media}\r\n");
        }
        if invites || method == "UPDATE" {
            more.push_str("Supported: timer\r\nAllow: INVITE, ACK, BYE, CANCEL, MESSAGE, INFO, UPDATE\r\n");
            more.push_str(self.rng.pick(&[
                "",
                "",
                "Session-Expires: 90;refresher=uac\r\n",
                "Session-Expires: 90;refresher=uas\r\n",
            ]));
        }
        let branch = format!("z9hG4bKv{number}.x");
        let text = self.in_session(dialog, (method, cseq), &branch, &more, body);
        self.note("front end asks", number as u64, dialog as u64);
        self.write(conn, side, text.as_bytes());
        if invites && self.rng.chance(6) {
            let text = self.in_session(dialog, ("CANCEL", cseq), &branch, "", "");
            self.write(conn, side, text.as_bytes());
        }
    }

    fn in_session(
        &self,
        dialog: usize,
        (method, cseq): (&str, u32),
        branch: &str,
        more: &str,
        body: &str,
    ) -> String {
        let dialog = &self.sessions.dialogs[dialog];
        let pair = &self.ledger.pairs[dialog.pair];
        let (user, contact) = (&pair.sip_user, &pair.contact);
        let to_tag = if dialog.theirs.is_empty() { String::new() } else { format!(";tag={}", dialog.theirs) };
        format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/TLS fe.{LOCAL};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}>;tag={}\r\nTo: <sip:{contact}>{to_tag}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: {}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            dialog.target,
            dialog.ours,
            dialog.call_id,
            contact_of(user),
            body.len()
        )
    }

    /// A message of a user, in a session if there is one and he likes; `evil`: in somebody else's.
    pub(crate) fn message_in_session(&mut self, id: usize, pair: PairId, evil: bool) -> Option<String> {
        if !self.sessions.is_on() {
            return None;
        }
        let mut live = self.sessions.all(State::Live);
        live.retain(|dialog| self.sessions.dialogs[*dialog].pair == pair);
        if live.is_empty() || !(evil || self.rng.chance(80)) {
            return None;
        }
        let dialog = self.rng.pick(&live);
        self.sessions.counts.messages_to_contacts += 1;
        self.sessions.dialogs[dialog].cseq += 1;
        let cseq = self.sessions.dialogs[dialog].cseq;
        let more = "Content-Type: text/plain\r\n";
        Some(self.in_session(dialog, ("MESSAGE", cseq), &format!("z9hG4bKs{id}.x"), more, &format!("s{id}")))
    }

    /// His message was answered with 481: there is no such session.
    pub(crate) fn session_is_unknown(&mut self, response: &Message) {
        let (call_id, tag) = (response.call_id().unwrap_or_default(), response.from_tag());
        for dialog in &mut self.sessions.dialogs {
            if dialog.call_id == call_id && tag == Some(dialog.ours.as_str()) {
                dialog.state = State::Over;
            }
        }
    }

    /// An answer of the gateway. False: it is about something else.
    pub(crate) fn session_answered(&mut self, response: &Message) -> bool {
        let Some(number) = question_of(response) else { return false };
        let status = response.status().map_or(0, |status| status.0);
        let Some(question) = self.sessions.questions.get(number).copied() else {
            self.ledger.violation(format!("an answer to a request nobody sent: {number}"));
            return true;
        };
        let of_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        if status < 200 || !question.invites || !of_invite {
            if status == 481 && !question.invites {
                self.session_is_unknown(response);
            }
            return true;
        }
        self.note("front end answered", number as u64, status.into());
        let dialog = &mut self.sessions.dialogs[question.dialog];
        if status >= 300 {
            if dialog.state == State::Inviting {
                dialog.state = State::Over;
            }
            if self.rng.chance(80) {
                // Behind the request, over any connection: that is what a proxy would do.
                let tag = response.to_tag().unwrap_or_default();
                let before =
                    std::mem::replace(&mut self.sessions.dialogs[question.dialog].theirs, tag.to_owned());
                self.acknowledge(number);
                self.sessions.dialogs[question.dialog].theirs = before;
            }
            return true;
        }
        if dialog.state == State::Inviting {
            dialog.theirs = response.to_tag().unwrap_or_default().to_owned();
            dialog.target = target_of(response);
        }
        if question.acknowledges {
            let delay =
                if self.rng.chance(20) { self.rng.range(0, 40 * SECOND) } else { self.rng.range(0, MILLI) };
            self.after(delay, Event::Session(Act::Acknowledge(number)));
        }
        true
    }

    pub(super) fn user_acknowledges(&mut self, number: usize) {
        let dialog = self.sessions.questions[number].dialog;
        if self.over || self.sessions.dialogs[dialog].state == State::Over {
            return;
        }
        self.acknowledge(number);
        if self.sessions.dialogs[dialog].state == State::Inviting {
            self.note("contact in session", dialog as u64, 0);
            self.sessions.dialogs[dialog].state = State::Live;
            if self.rng.chance(15) {
                let delay = self.think();
                self.after(delay, Event::Session(Act::HangUp(dialog)));
            }
        }
    }

    fn acknowledge(&mut self, number: usize) {
        let Some((conn, side)) = self.some_link() else { return };
        let Question { dialog, cseq, .. } = self.sessions.questions[number];
        let text = self.in_session(dialog, ("ACK", cseq), &format!("z9hG4bKv{number}.x"), "", "");
        self.write(conn, side, text.as_bytes());
    }
}

/// The request of the front end that this answers.
fn question_of(response: &Message) -> Option<usize> {
    let via = response.top_via().ok()?;
    let branch = via.params.get("branch")??;
    branch.strip_prefix("z9hG4bKv")?.split('.').next()?.parse().ok()
}
