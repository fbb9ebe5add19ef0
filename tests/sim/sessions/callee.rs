//! The gateway invites, and sends what belongs to sessions: what the front end does with it.

use nuncio_sip::{Message, Method, ResponseHead, StatusCode};

use super::{AUDIO, Act, COMPOSING, DESCRIPTION, Dialog, State, contact_of, target_of};
use crate::net::{ConnId, MILLI, Micros, SECOND};
use crate::observer::{address, is_composing, name_of};
use crate::world::{Event, World};

/// A 2xx is repeated for so long (64·T1).
const ACK_WITHIN: Micros = 32 * SECOND;
const REPEAT_CAP: Micros = 4 * SECOND;

/// What becomes of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Accepts,
    /// Two clients do.
    Forks,
    /// With a description that is of no use.
    AcceptsAudio,
    /// And never answers.
    Rings,
    Silent,
    Refuses(u16),
}

impl World {
    /// A request of the gateway that is about sessions. False: it is something else.
    pub(crate) fn session_request(&mut self, conn: ConnId, busy: bool, request: &Message) -> bool {
        let known = self.sessions.dialog_of(request);
        let live = known.filter(|dialog| self.sessions.dialogs[*dialog].state != State::Over);
        let refusal = if busy { Some(503) } else { live.is_none().then_some(481) };
        match request.method() {
            Method::Invite if request.to_tag().is_none() => self.user_is_invited(conn, busy, request),
            Method::Cancel => self.user_is_called_off(conn, request),
            Method::Ack => self.user_is_acknowledged(live),
            Method::Message if request.to_tag().is_none() => return false,
            Method::Message | Method::Info | Method::Bye | Method::Update | Method::Invite => {
                self.sessions.counts.unknown += u64::from(refusal == Some(481));
                match (request.method(), refusal) {
                    // A message is taken as any other one.
                    (Method::Message, None) if !is_composing(request) => {
                        self.sessions.counts.messages_to_users += 1;
                        return false;
                    }
                    (Method::Message | Method::Info, None) => self.sessions.counts.typing_to_users += 1,
                    (Method::Bye, None) => {
                        self.sessions.counts.byes_of_gateway += 1;
                        live.into_iter().for_each(|it| self.sessions.dialogs[it].state = State::Over);
                    }
                    _ => self.sessions.counts.refreshes += 1,
                }
                if request.method() == Method::Message && refusal == Some(481) {
                    self.ledger.notice_refused(&name_of(request));
                }
                let moody = !self.sessions.calm && self.rng.chance(5);
                let odd = self.rng.pick(&[405, 415, 480, 481, 491, 500]);
                let status = refusal.unwrap_or(if moody { odd } else { 200 });
                self.session_answers(conn, request, status);
            }
            _ => return false,
        }
        true
    }

    fn session_answers(&mut self, conn: ConnId, request: &Message, status: u16) {
        let Ok(head) = ResponseHead::from_request(request, "fe", ([192, 0, 2, 7], 5061).into()) else {
            return self.ledger.violation("a request nobody can answer".to_owned());
        };
        let contact = contact_of(&address(request.to_header()));
        let mut headers = vec![("Contact", contact.as_str())];
        let refresh = matches!(request.method(), Method::Update | Method::Invite) && status == 200;
        if refresh {
            headers.push(("Session-Expires", "90;refresher=uac"));
        }
        let offers = request.method() == Method::Invite && status == 200;
        let body = offers.then_some(("application/sdp", DESCRIPTION.as_bytes()));
        let answer = written(&head, status, &headers, body);
        let delay = self.rng.range(0, 20 * MILLI);
        self.after(delay, Event::Answer(conn, answer));
    }

    fn user_is_invited(&mut self, conn: ConnId, busy: bool, request: &Message) {
        let (from, to) = (address(request.from_header()), address(request.to_header()));
        let Some(pair) = self.ledger.pair_of(&to, &from) else { return };
        self.note("user invited", pair as u64, busy.into());
        self.sessions.counts.users_invited += 1;
        let mood = self.mood(busy);
        match mood {
            Mood::Silent => return,
            Mood::Refuses(status) => {
                self.sessions.counts.invitations_refused += 1;
                let Ok(head) = head(request, "refusing") else { return };
                let answer = written(&head, status, &[("Min-SE", "120")], None);
                let delay = self.rng.range(0, 50 * MILLI);
                return self.after(delay, Event::Answer(conn, answer));
            }
            _ => {}
        }
        if self.rng.chance(60) || mood == Mood::Rings {
            let Ok(head) = head(request, "ringing") else { return };
            self.after(0, Event::Answer(conn, written(&head, 180, &[], None)));
        }
        // Now and then he has begun to write himself.
        if !self.sessions.calm && self.rng.chance(20) {
            self.sessions.counts.glares += 1;
            self.user_invites(pair);
        }
        let clients = if mood == Mood::Forks { 2 } else { 1 };
        self.sessions.counts.forks += clients - 1;
        for _ in 0..clients {
            let dialog = self.sessions.dialogs.len();
            let tag = format!("d{dialog}");
            let Ok(head) = head(request, &tag) else { return };
            let offer = match mood {
                Mood::AcceptsAudio => AUDIO,
                _ => self.rng.pick(&[DESCRIPTION, DESCRIPTION, COMPOSING]),
            };
            let contact = contact_of(&to);
            let mut headers = vec![("Contact", contact.as_str())];
            if self.rng.chance(50) {
                headers.push(("Allow", "INVITE, ACK, BYE, CANCEL, MESSAGE, INFO, UPDATE"));
            }
            match self.rng.range(0, 4) {
                0 => headers.push(("Session-Expires", "90;refresher=uac")),
                1 => headers.push(("Session-Expires", "90;refresher=uas")),
                _ => {}
            }
            self.sessions.dialogs.push(Dialog {
                pair,
                call_id: request.call_id().unwrap_or_default().to_owned(),
                ours: tag,
                theirs: request.from_tag().unwrap_or_default().to_owned(),
                target: target_of(request),
                cseq: 0,
                state: State::Ringing,
                conn,
                accepted: written(&head, 200, &headers, Some(("application/sdp", offer.as_bytes()))),
                cancelled: written(&head, 487, &[], None),
                accepted_at: 0,
            });
            if mood != Mood::Rings {
                let delay = self.think();
                self.after(delay, Event::Session(Act::Accept(dialog)));
            }
        }
    }

    fn mood(&mut self, busy: bool) -> Mood {
        if busy {
            return Mood::Refuses(503);
        }
        if self.sessions.knows_none {
            return Mood::Refuses(self.rng.pick(&[405, 501]));
        }
        if self.sessions.calm {
            return Mood::Accepts;
        }
        match self.rng.range(0, 100) {
            0..8 => Mood::Forks,
            8..11 => Mood::AcceptsAudio,
            11..18 => Mood::Rings,
            18..21 => Mood::Silent,
            21..34 => Mood::Refuses(self.rng.pick(&[302, 401, 403, 404, 408, 422, 480, 486, 487, 500, 603])),
            34..37 => Mood::Refuses(self.rng.pick(&[488, 415, 405, 501])),
            _ => Mood::Accepts,
        }
    }

    pub(super) fn user_accepts(&mut self, dialog: usize) {
        let record = &mut self.sessions.dialogs[dialog];
        if record.state != State::Ringing || self.over {
            return;
        }
        (record.state, record.accepted_at) = (State::Accepted, self.now);
        self.note("user accepts", dialog as u64, 0);
        self.acceptance_again(dialog, SECOND / 2);
    }

    pub(super) fn acceptance_again(&mut self, dialog: usize, wait: Micros) {
        let record = &mut self.sessions.dialogs[dialog];
        if record.state != State::Accepted || self.over {
            return;
        }
        if self.now >= record.accepted_at + ACK_WITHIN {
            return self.user_hangs_up(dialog);
        }
        let (conn, answer) = (record.conn, record.accepted.clone());
        self.front_end_answers(conn, &answer);
        self.after(wait, Event::Session(Act::Repeat(dialog, (wait * 2).min(REPEAT_CAP))));
    }

    fn user_is_acknowledged(&mut self, dialog: Option<usize>) {
        let Some(dialog) = dialog.filter(|it| self.sessions.dialogs[*it].state == State::Accepted) else {
            return;
        };
        self.note("user in session", dialog as u64, 0);
        self.sessions.dialogs[dialog].state = State::Live;
    }

    /// CANCEL: mostly the invitation ends with 487; now and then the user has just accepted.
    fn user_is_called_off(&mut self, conn: ConnId, request: &Message) {
        let call_id = request.call_id().unwrap_or_default();
        let ringing = self.sessions.all(State::Ringing);
        let ringing = ringing.into_iter().filter(|it| self.sessions.dialogs[*it].call_id == call_id);
        let ringing: Vec<_> = ringing.collect();
        self.session_answers(conn, request, if ringing.is_empty() { 481 } else { 200 });
        for (place, dialog) in ringing.into_iter().enumerate() {
            self.sessions.counts.invitations_cancelled += 1;
            if self.rng.chance(20) {
                self.user_accepts(dialog);
            } else {
                self.sessions.dialogs[dialog].state = State::Over;
                let answer = self.sessions.dialogs[dialog].cancelled.clone();
                if place == 0 {
                    self.after(MILLI, Event::Answer(conn, answer));
                }
            }
        }
    }
}

fn head(request: &Message, tag: &str) -> Result<ResponseHead, nuncio_sip::HeaderError> {
    ResponseHead::from_request(request, tag, ([192, 0, 2, 7], 5061).into())
}

/// An answer as [`Event::Answer`] wants it: it is about no message.
fn written(
    head: &ResponseHead,
    status: u16,
    headers: &[(&str, &str)],
    body: Option<(&str, &[u8])>,
) -> Vec<u8> {
    let mut answer = u64::MAX.to_be_bytes().to_vec();
    head.write(&mut answer, status, StatusCode(status).phrase(), headers, body);
    answer
}
