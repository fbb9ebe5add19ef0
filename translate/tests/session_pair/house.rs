//! The caller of a pair with sessions: does what it wants, as the gateway does, and watches that nothing is lost, doubled or
//! out of order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::event::Undelivered;
use nuncio_sip::session::{Received, check_invite};
use nuncio_sip::{Fields, Method};
use nuncio_translate::judge::{Direction, Kind, PartnerType, Permit, Question, Refusal, UserPolicy, judge};
use nuncio_translate::pair::*;
use nuncio_translate::typing::{ChatState, Typing};
use nuncio_xmpp::Element;

use super::wire::{in_session, number, ours, response, stanza};
use crate::pair_rig::{CONTACT, Rig, USER, message};

/// Everything that waits for something has its end by then: an invitation and what its outcome may take, twice, for a
/// message may be sent once more.
const PATIENCE: Duration = Duration::from_secs(900);

/// What became of a message of the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Told,
}

/// The caller of the pair, and what it has seen.
pub(crate) struct House {
    pub(crate) rig: Rig,
    pub(crate) config: PairConfig,
    /// Whether the front end is to be invited at all.
    pub(crate) invites: bool,
    pub(crate) written: u32,
    /// Messages as they left, by number.
    pub(crate) left: Vec<u32>,
    /// Answered with 481: may leave once more.
    pub(crate) forgotten: BTreeSet<u32>,
    pub(crate) fates: BTreeMap<u32, Fate>,
    pub(crate) notices: u32,
    pub(crate) told: u32,
    /// Requests in sessions without an outcome.
    pub(crate) open: Vec<Request>,
    /// What went alone: serial, and number of a message.
    pub(crate) alone: Option<(u64, Option<u32>)>,
    /// Tags of sessions in which we may not say anything yet, or any more.
    pub(crate) talking: BTreeSet<CompactString>,
    /// Sessions of the SIP user: tag, last CSeq, last INVITE.
    pub(crate) theirs: Vec<Theirs>,
    pub(crate) calls: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Theirs {
    pub(crate) call_id: String,
    pub(crate) from_tag: String,
    pub(crate) tag: CompactString,
    pub(crate) cseq: u32,
    pub(crate) invite: u32,
}

impl House {
    pub(crate) fn new(invites: bool, idle: u64) -> Self {
        let mut rig = Rig::new(PartnerType::Federated);
        rig.sessions.idle = Duration::from_secs(idle);
        Self {
            rig,
            config: PairConfig { queue: 6, ..PairConfig::default() },
            invites,
            written: 0,
            left: Vec::new(),
            forgotten: BTreeSet::new(),
            fates: BTreeMap::new(),
            notices: 0,
            told: 0,
            open: Vec::new(),
            alone: None,
            talking: BTreeSet::new(),
            theirs: Vec::new(),
            calls: 0,
        }
    }

    /// Gives the pair something, and does what it wants.
    pub(crate) fn input(&mut self, input: impl FnOnce(&mut Pair, &mut Context<'_>)) {
        self.rig.input(input);
        self.run();
    }

    /// Lets leave what may leave, as the gateway does.
    pub(crate) fn run(&mut self) {
        loop {
            self.take_requests();
            match self.rig.pair.next_for_sip() {
                NextForSip::Nothing if self.rig.pair.sessions_stir() => {
                    self.rig.drain();
                    self.settle();
                }
                NextForSip::Nothing => break,
                NextForSip::Notice => self.notice(),
                NextForSip::Report => panic!("nobody has asked what became of what he wrote"),
                NextForSip::Message => match self.permit() {
                    Err(_) => {
                        let refused = self.rig.pair.refuse().unwrap();
                        self.fate(&refused, Fate::Told);
                    }
                    Ok(permit) => self.message(permit),
                },
            }
        }
        assert!(!self.rig.pair.sessions_stir(), "something is left to be done, and nobody comes back for it");
    }

    pub(crate) fn permit(&self) -> Result<Permit, Refusal> {
        let question = Question {
            sip_user: USER,
            contact: CONTACT,
            contact_domain: "fabrikam.example",
            direction: Direction::XmppToSip,
            kind: Kind::Message,
        };
        judge(&self.rig.snapshot, &question, self.rig.pair.consent(), self.rig.now.unix())
    }

    pub(crate) fn way(&mut self, thread: Option<&str>) -> Way {
        let (mut way, invites) = (Way::Pager, self.invites);
        self.rig.input(|pair, context| way = pair.way(thread, invites, context.now.instant));
        way
    }

    pub(crate) fn message(&mut self, permit: Permit) {
        let stanza = self.rig.pair.next_message().unwrap().clone();
        let thread = stanza.attr("thread").map(str::to_owned);
        match self.way(thread.as_deref()) {
            Way::Invite => self.invite(permit, thread.as_deref()),
            Way::Pager => {
                let (serial, _) = self.rig.pair.release(permit).unwrap();
                self.leaves(&stanza);
                self.alone = Some((serial, Some(number(&stanza))));
            }
            Way::Session(session) => {
                let (serial, judged, _) = self.rig.pair.release_judged(permit).unwrap();
                let text = stanza.text().into_owned();
                if self.say(serial, session, &text, Some(judged)) {
                    self.leaves(&stanza);
                } else {
                    assert!(self.rig.pair.settled(serial).is_some());
                    self.fate(&stanza, Fate::Told);
                }
            }
        }
    }

    pub(crate) fn notice(&mut self) {
        match self.way(None) {
            // Nobody is invited for it.
            Way::Invite | Way::Pager => {
                let (serial, _) = self.rig.pair.release_notice().unwrap();
                self.alone = Some((serial, None));
            }
            Way::Session(session) => {
                let (serial, _) = self.rig.pair.release_notice().unwrap();
                if !self.say(serial, session, "notice", None) {
                    self.rig.pair.settled(serial);
                    self.told += 1;
                }
            }
        }
    }

    pub(crate) fn invite(&mut self, permit: Permit, thread: Option<&str>) {
        let (contact, user) = (format!("sip:{CONTACT}"), format!("sip:{USER}"));
        let inviting = Inviting {
            contact_uri: &contact,
            user_uri: &user,
            thread,
            resource: Some("home"),
            state: None,
            proved: None,
        };
        self.rig.input(|pair, context| pair.invite(permit, &inviting, context).unwrap());
    }

    pub(crate) fn say(&mut self, serial: u64, session: u32, text: &str, judged: Option<Judged>) -> bool {
        let body = ("text/plain", text.as_bytes());
        let saying = Saying { serial, session, fields: &[], body, judged };
        let mut taken = false;
        self.rig.input(|pair, context| taken = pair.say(&saying, context));
        taken
    }

    /// A message of the contact leaves: in order, and once.
    pub(crate) fn leaves(&mut self, stanza: &Element) {
        let number = number(stanza);
        let again = self.forgotten.remove(&number);
        let before = self.left.last().copied().unwrap_or(0);
        assert!(number > before || (again && number == before), "{number} leaves after {before}");
        assert!(!self.fates.contains_key(&number), "{number} leaves when its sender has been told");
        self.left.push(number);
    }

    pub(crate) fn fate(&mut self, stanza: &Element, fate: Fate) {
        let number = number(stanza);
        let before = self.fates.insert(number, fate.clone());
        assert_eq!(before, None, "{number} comes to its end twice, now {fate:?}");
    }

    pub(crate) fn settle(&mut self) {
        while let Some(Settled { item, outcome }) = self.rig.pair.take_settled() {
            let delivered = matches!(outcome, Outcome::Delivered { .. });
            match item {
                ToSip::Message(stanza) => {
                    assert!(!delivered || self.left.contains(&number(&stanza)), "delivered, but never sent");
                    self.fate(&stanza, if delivered { Fate::Delivered } else { Fate::Told });
                }
                ToSip::Notice(notice) => self.told += notice.count,
                ToSip::Report(report) => panic!("nobody has asked: {report:?}"),
            }
        }
    }

    /// What the pair has sent: nothing in a session that is not established, and nothing behind BYE.
    pub(crate) fn take_requests(&mut self) {
        for request in std::mem::take(&mut self.rig.requests) {
            assert!(matches!(request.half, Half::Session(_)), "{request:?}");
            let (sent, tag) = (message(&request), ours(&request));
            match sent.method() {
                Method::Ack => drop(self.talking.insert(tag)),
                Method::Bye => drop(self.talking.remove(&tag)),
                Method::Message | Method::Info => {
                    assert!(self.talking.contains(&tag), "{} in no session", sent.method().as_str());
                }
                _ => {}
            }
            if sent.method() != Method::Ack {
                self.open.push(request);
            }
        }
    }

    pub(crate) fn respond(&mut self, request: &Request, status: u16, fork: bool) {
        let response = response(request, status, fork);
        if matches!(status, 405 | 481 | 501) && message(request).method() == Method::Message {
            let text = String::from_utf8_lossy(&message(request).body()).into_owned();
            // It may leave once more, if it has not done so; and alone in any case.
            if let Ok(number) = text.parse::<u32>()
                && (status != 481 || self.left.iter().filter(|left| **left == number).count() == 1)
            {
                self.forgotten.insert(number);
            }
        }
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.response(&half, serial, &response, context));
    }

    pub(crate) fn fail(&mut self, request: &Request, why: Undelivered) {
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.request_failed(&half, serial, why, context));
    }

    pub(crate) fn alone(&mut self, delivered: bool) {
        let Some((serial, number)) = self.alone.take() else { return };
        let item = self.rig.pair.settled(serial);
        match (item, number) {
            (Some(ToSip::Message(stanza)), Some(_)) => {
                self.fate(&stanza, if delivered { Fate::Delivered } else { Fate::Told });
            }
            (Some(ToSip::Notice(notice)), None) => self.told += notice.count,
            (item, number) => panic!("{item:?} for {number:?}"),
        }
        self.run();
    }

    /// As the gateway looks at a pair whose time has come, which may be once more at the same moment: what waited for an
    /// ACK that never came has then waited too long.
    pub(crate) fn visit(&mut self) {
        for _ in 0..2 {
            for _ in self.rig.pair.waits_long(self.rig.now) {}
            for stanza in self.rig.pair.expired(&self.config, self.rig.now) {
                self.fate(&stanza, Fate::Told);
            }
            self.input(|pair, context| pair.handle_timeout(context));
            let deadline = self.rig.pair.deadline(&self.config, self.rig.now);
            if deadline.is_none_or(|deadline| deadline > self.rig.now.instant) {
                return;
            }
        }
        panic!("the deadline stays in the past");
    }

    pub(crate) fn due(&mut self) {
        if let Some(deadline) = self.rig.pair.deadline(&self.config, self.rig.now) {
            let left = deadline.saturating_duration_since(self.rig.now.instant);
            // Not to the end of the time in which the contact may reply.
            if left < Duration::from_secs(4000) {
                // Whole milliseconds: both clocks go together.
                self.rig.now = self.rig.now + Duration::from_millis(left.as_millis() as u64 + 1);
                self.visit();
            }
        }
    }

    /// The answer to an INVITE of the SIP user: accepted, or refused for want of room.
    pub(crate) fn user_invites(&mut self) -> u16 {
        self.calls += 1;
        let call = self.calls;
        let theirs = Theirs {
            call_id: format!("call{call}"),
            from_tag: format!("from{call}"),
            tag: format!("ours{call}").into(),
            cseq: 1,
            invite: 1,
        };
        let request = in_session(&Theirs { tag: CompactString::default(), ..theirs.clone() }, "INVITE", 1);
        let invited = check_invite(&request, &self.rig.sessions).unwrap();
        let (asked, mut status) = (self.rig.ask(), 0);
        self.input(|pair, context| {
            status = pair.invited(asked, &request, invited, (&theirs.tag, ""), context).status;
        });
        let most = if status == 200 { 2 * MOST_SESSIONS } else { MOST_SESSIONS - 1 };
        let held = self.rig.pair.sessions();
        assert!(matches!(status, 200 | 486) && (status == 200) == (held <= most), "{status} with {held}");
        if status == 200 {
            self.theirs.push(theirs);
        }
        status
    }

    pub(crate) fn user(&mut self, place: usize, method: &'static str) {
        let Some(theirs) = self.theirs.iter_mut().rev().nth(place) else { return };
        theirs.cseq += 1;
        if method == "INVITE" {
            theirs.invite = theirs.cseq;
        }
        let (theirs, request) = (theirs.clone(), in_session(theirs, method, theirs.cseq));
        let (asked, mut received) = (self.rig.ask(), None);
        if method == "BYE" {
            self.talking.remove(&theirs.tag);
        }
        self.input(|pair, context| {
            let said = pair.session_request(asked, &theirs.tag, "", &request, context);
            if let (Received::Content, "INFO") = (&said, method) {
                pair.user_types(&theirs.tag, Typing::Active, Duration::from_secs(6), context);
            } else if matches!(said, Received::Content) {
                let chat = pair.user_says(&theirs.tag, context).expect("content of a session");
                pair.user_said(&theirs.tag, chat.state);
            }
            received = Some(said);
        });
        assert!(received.is_some());
    }

    pub(crate) fn acknowledge(&mut self, place: usize, distance: u32) {
        let Some(theirs) = self.theirs.iter().rev().nth(place).cloned() else { return };
        let ack = in_session(&theirs, "ACK", theirs.invite.saturating_sub(distance).max(1));
        if self.rig.bound.contains(&theirs.tag) {
            self.talking.insert(theirs.tag.clone());
        }
        self.rig.facts.clear();
        let tag = theirs.tag;
        self.input(|pair, context| {
            pair.session_acknowledged(&tag, &ack, context);
        });
        if self.rig.take_facts().contains(&Fact::SessionBegan) {
            self.check_called_off();
        }
    }

    /// No invitation of ours goes on ringing: a session of the SIP user's is there, or none may be.
    pub(crate) fn check_called_off(&self) {
        let known = |request: &Request| self.rig.bound.contains(&ours(request));
        let invites = |request: &&Request| known(request) && message(request).to_tag().is_none();
        for request in self.open.iter().filter(invites) {
            let branch = request.request.branch();
            let cancelled = self.rig.cancelled.iter().any(|cancelled| branch.starts_with(cancelled.as_str()));
            assert!(cancelled, "an INVITE of ours goes on ringing");
        }
    }

    pub(crate) fn salvage(&mut self) {
        let salvage = self.rig.pair.salvage(self.rig.now);
        for stanza in &salvage.messages {
            self.fate(stanza, Fate::Told);
        }
        self.told += salvage.notices as u32;
        let tags: BTreeSet<_> = salvage.tags.iter().cloned().collect();
        assert!(
            self.rig.bound.is_subset(&tags),
            "{:?} are bound, and {tags:?} are let go of",
            self.rig.bound
        );
        self.rig.cancelled.extend(salvage.invitations);
        self.check_called_off();
        self.rig.bound.clear();
        self.talking.clear();
        self.alone = None;
        assert_eq!(self.rig.pair.sessions(), 0);
        self.run();
    }

    /// As the gateway does it: what is forbidden ends, and what waits is refused, whatever it waits for.
    pub(crate) fn policy(&mut self, enabled: bool) {
        self.rig.policy(PartnerType::Federated, enabled, UserPolicy::default());
        self.input(|pair, context| pair.end_forbidden_sessions(|_, _| Fields::default(), context));
        if !enabled {
            while let Some(refused) = self.rig.pair.refuse() {
                self.fate(&refused, Fate::Told);
            }
            assert!(!matches!(self.way(None), Way::Session(_)), "a session goes on, and may not");
            self.check_called_off();
        }
        self.run();
    }

    pub(crate) fn contact_writes(&mut self, thread: Option<u8>, state: Option<ChatState>) {
        let Ok(permit) = self.permit() else { return };
        self.written += 1;
        let stanza = stanza(self.written, thread);
        let thread = stanza.attr("thread").map(str::to_owned);
        self.rig.input(|pair, context| {
            pair.contact_spoke(thread.as_deref(), Some("home"), (state, true), context);
        });
        let (config, now) = (&self.config, self.rig.now);
        if let Err(refused) = self.rig.pair.contact_writes(permit, stanza, config, now) {
            self.fate(&refused, Fate::Told);
        }
        self.run();
    }

    /// Left alone, everything ends.
    pub(crate) fn finish(mut self) {
        let end = self.rig.now + PATIENCE;
        while self.rig.now.instant < end.instant {
            self.alone(true);
            let before = self.rig.now.instant;
            self.due();
            if self.rig.now.instant == before {
                break;
            }
        }
        self.alone(true);
        assert_eq!((self.rig.pair.owes(), self.rig.pair.waiting()), (0, 0), "somebody waits for ever");
        let fates: Vec<_> = self.fates.keys().copied().collect();
        assert_eq!(fates, (1..=self.written).collect::<Vec<_>>(), "each comes to its end");
        assert_eq!(self.told, self.notices);
        // Sessions end for want of messages.
        for _ in 0..2000 {
            self.due();
        }
        assert_eq!((self.rig.pair.sessions(), self.rig.bound.len()), (0, 0), "{:?}", self.rig.bound);
    }
}
