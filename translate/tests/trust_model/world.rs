//! The pair between the two sides, a network that delays and loses, and what happens to them.

#[path = "checks.rs"]
mod checks;
#[path = "queues.rs"]
mod queues;

use std::collections::VecDeque;
use std::time::Duration;

use nuncio_sip::HeaderName;
use nuncio_sip::event::{Tokens, Undelivered};
use nuncio_translate::judge::{PartnerType, UserPolicy, Verdict};
use nuncio_translate::pair::{From, Half, Request, To, ToXmpp};

use checks::Knows;

use super::contact::{Contact, NOTE, note};
use super::front_end::{DEVICES, Decision, FromSip, FrontEnd, SECRET};
use super::rules::Rules;
use crate::pair_rig::{Answered, DAY, Numbers, Rig, START_MS, body, expires, message, state_of, told};

const SHOWS: [&str; 3] = ["", "away", "dnd"];
const RESOURCES: [&str; 2] = ["orchard", "balcony"];

pub(crate) struct World {
    pub(crate) log: Vec<String>,
    rig: Rig,
    dice: Numbers,
    rules: Rules,
    contact: Contact,
    sip: FrontEnd,
    to_xmpp: VecDeque<ToXmpp>,
    to_sip: VecDeque<Request>,
    /// An endpoint asked for the contact since he last refused: so he may be asked, again and again until he answers.
    may_ask: bool,
    /// The contact asked when he might, or might once he is added, and nothing has ended that since: it has to be acted on.
    asked: bool,
    knows: Knows,
    lossy: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Numbers(seed.wrapping_mul(1_000_003));
        let partner = match dice.random() % 3 {
            0 => PartnerType::Federated,
            1 => PartnerType::PublicVerified,
            _ => PartnerType::PublicUnverified,
        };
        let asks_once = dice.random().is_multiple_of(2);
        Self {
            log: Vec::new(),
            rig: Rig::new(partner),
            dice,
            rules: Rules { partner, listed: true, enabled: true, user: true, added: None, wrote: None },
            contact: Contact { asks_once, ..Contact::default() },
            sip: FrontEnd::new(),
            to_xmpp: VecDeque::new(),
            to_sip: VecDeque::new(),
            may_ask: false,
            asked: false,
            knows: Knows::default(),
            lossy: true,
        }
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..40 {
            self.something_happens();
            for _ in 0..self.dice.random() % 6 {
                self.deliver_one();
            }
        }
        self.come_to_rest();
        self.agree();
        self.everybody_leaves();
    }

    fn say(&mut self, what: impl Into<String>) {
        let at = (self.rig.now.unix_ms - START_MS) / 1000;
        self.log.push(format!("{at:>8} {}", what.into()));
    }

    fn chance(&mut self, in_so_many: u64) -> bool {
        self.dice.random().is_multiple_of(in_so_many)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.dice.random() % from.len() as u64) as usize]
    }

    fn something_happens(&mut self) {
        let endpoint = (self.dice.random() % 2) as usize;
        match self.dice.random() % 30 {
            0..=3 => {
                self.say(format!("endpoint {endpoint} adds the contact"));
                self.sip.add(endpoint, 3600);
            }
            4 => {
                self.say(format!("endpoint {endpoint} refreshes"));
                self.sip.refresh(endpoint, 3600);
            }
            5 => {
                self.say(format!("endpoint {endpoint} signs out"));
                self.sip.refresh(endpoint, 0);
            }
            6 => {
                self.say("an endpoint asks once");
                self.sip.add(endpoint, 0);
            }
            7 | 8 => {
                self.say("the contact asks");
                self.contact.asks();
            }
            9 => {
                self.say("the contact gives up");
                self.contact.gives_up();
            }
            10 | 11 => {
                let yes = !self.chance(4);
                self.say(format!("the contact agrees: {yes}"));
                self.contact.agrees(yes);
            }
            12 | 13 => {
                let (resource, show) = (self.pick(&RESOURCES), self.pick(&SHOWS));
                self.say(format!("the contact is {resource} {show}"));
                self.contact.set(resource, Some(show));
            }
            14 => {
                let resource = self.pick(&RESOURCES);
                self.say(format!("the contact leaves {resource}"));
                self.contact.set(resource, None);
            }
            15 => {
                self.say("the contact signs in");
                self.contact.signs_in();
            }
            16 | 17 => {
                let device = (self.dice.random() % 2) as usize;
                let show = if self.chance(3) { None } else { Some(self.pick(&SHOWS)) };
                self.say(format!("the SIP user is {show:?} at {}", DEVICES[device]));
                self.sip.devices[device] = show;
                self.sip.tell();
            }
            18 => {
                let decision =
                    self.pick(&[Decision::Asked, Decision::Allowed, Decision::Allowed, Decision::Refused]);
                self.say(format!("the SIP user decides: {decision:?}"));
                self.sip.decision = decision;
                self.sip.tell();
            }
            19 | 27 => self.messages(),
            28 => self.turns_come(),
            20 => self.crash(),
            21 | 22 => self.policy(),
            23 => self.consent_is_taken_back(),
            29 => self.planned_stop(),
            24 => {
                self.rules.listed = !self.rules.listed;
                if self.rules.listed {
                    self.entry_is_back();
                } else {
                    self.entry_goes();
                }
            }
            _ => {
                let most = if self.chance(60) {
                    46 * DAY
                } else if self.chance(10) {
                    26 * 3600
                } else {
                    600
                };
                let seconds = self.dice.random() % most;
                self.say(format!("{seconds} s pass"));
                self.pass(Duration::from_secs(seconds));
            }
        }
        self.collect();
    }

    fn messages(&mut self) {
        let now = self.rig.now.unix();
        if self.chance(2) {
            let writes = self.rig.contact_tries_to_write().is_ok();
            self.say(format!("the contact writes: {writes}"));
            assert_eq!(writes, self.rules.contact_may_write(now), "a message of the contact");
            if writes {
                self.rig.input(|pair, context| pair.contact_is_there(context));
            }
            if self.chance(2) {
                self.turns_come();
            }
        } else {
            let before = self.rig.pair.consent().sip_user_wrote;
            let writes = self.rig.user_tries_to_write();
            self.say(format!("the SIP user writes: {writes:?}"));
            assert_eq!(writes.err(), self.rules.user_may_not_write(), "a message of the SIP user");
            match writes {
                Ok(()) => self.rules.wrote = Some(now),
                Err(_) => assert_eq!(before, self.rig.pair.consent().sip_user_wrote, "what was refused"),
            }
        }
    }

    /// What the contact wrote had to wait, and the rules may be others by now.
    fn turns_come(&mut self) {
        let now = self.rig.now.unix();
        while let Some(leaves) = self.rig.contact_is_heard() {
            self.say(format!("a message of the contact, when its turn comes: {leaves:?}"));
            assert_eq!(leaves.is_ok(), self.rules.contact_may_write(now), "a message that waited");
        }
    }

    fn policy(&mut self) {
        match self.dice.random() % 4 {
            0 => self.rules.enabled = !self.rules.enabled,
            1 => self.rules.user = !self.rules.user,
            _ => {
                let types =
                    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];
                self.rules.partner = self.pick(&types);
            }
        }
        self.apply_policy();
    }

    /// With the entry goes all that there was between the two.
    fn entry_goes(&mut self) {
        (self.rules.added, self.rules.wrote, self.may_ask) = (None, None, false);
        self.knows = Knows::default();
        self.apply_policy();
    }

    /// The contact has heard nothing of it, and removes whom he has not seen for so long; he may add him again.
    fn entry_is_back(&mut self) {
        self.apply_policy();
        self.contact.gives_up();
        self.contact.sees.clear();
        self.contact.agrees(false);
    }

    fn apply_policy(&mut self) {
        let Rules { partner, listed, enabled, user, .. } = self.rules;
        self.say(format!("policy: {partner}, listed {listed}, enabled {enabled}, user allowed {user}"));
        self.asked &= listed && user;
        let verdict = if user { Verdict::Allow } else { Verdict::Deny };
        let (stanzas, requests) = (std::mem::take(&mut self.to_xmpp), std::mem::take(&mut self.to_sip));
        let users = UserPolicy::new(true, verdict, vec![]);
        if listed {
            self.rig.policy(partner, enabled, users);
        } else {
            self.rig.partner_removed(users);
        }
        self.collect();
        let (newer, newer_requests) = (std::mem::take(&mut self.to_xmpp), std::mem::take(&mut self.to_sip));
        self.to_xmpp = stanzas;
        self.to_sip = requests;
        self.judged_again();
        self.to_xmpp.extend(newer);
        self.to_sip.extend(newer_requests);
        if !self.rules.is_connected() {
            // The streams of a disabled partner are closed.
            self.knows.doubt |= !self.to_xmpp.is_empty();
            for stanza in std::mem::take(&mut self.to_xmpp) {
                self.rig.input(|pair, context| pair.lost(&stanza.sent, context));
            }
            self.asked &= !self.contact.out.iter().any(|said| said.contains("subscribe'"));
            self.contact.out.clear();
        }
    }

    fn crash(&mut self) {
        self.say("kill -9");
        self.knows.doubt = true;
        // What was under way may have got there, or not.
        let arrived = (self.dice.random() as usize) % (self.to_xmpp.len() + 1);
        for stanza in std::mem::take(&mut self.to_xmpp).into_iter().take(arrived) {
            self.contact_receives(&stanza);
        }
        let arrived = (self.dice.random() as usize) % (self.to_sip.len() + 1);
        for request in std::mem::take(&mut self.to_sip).into_iter().take(arrived) {
            self.sip_receives(&request);
        }
        self.rig.answers.clear();
        self.rig.crash();
        // When he last wrote is stored once an hour, and only where it matters: it may be forgotten, never invented.
        let wrote = self.rig.pair.consent().sip_user_wrote;
        assert!(wrote <= self.rules.wrote, "a message was invented");
        self.rules.wrote = wrote;
        self.collect();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.rig.now + time;
        let mut steps = 0;
        self.lanes_empty(time);
        while self.rig.now.instant < end.instant {
            steps += 1;
            assert!(steps < 60_000, "it never comes to rest");
            let left = end.instant - self.rig.now.instant;
            let due =
                self.rig.deadline().map_or(left, |due| due.saturating_duration_since(self.rig.now.instant));
            self.rig.pass(due.min(left).max(Duration::from_millis(1)));
            self.collect();
            self.lanes_empty(time);
            // Over long times everything gets where it is going.
            if time > Duration::from_secs(600) || !self.lossy {
                self.deliver_all();
            }
        }
    }

    /// No lane holds anything for longer than ten seconds.
    fn lanes_empty(&mut self, time: Duration) {
        while time > Duration::from_secs(10) && !self.to_xmpp.is_empty() {
            self.deliver_one();
        }
    }

    /// Takes what the pair wants to be sent, and asks the rules.
    fn collect(&mut self) {
        for stanza in std::mem::take(&mut self.rig.stanzas) {
            self.say(format!("  → XMPP {}", told(&stanza)));
            self.check_stanza(&stanza);
            self.check_silence(&stanza);
            let asks = told(&stanza) == "subscribe";
            assert!(!asks || self.may_ask, "the contact is asked for consent twice");
            self.to_xmpp.push_back(stanza);
        }
        for request in std::mem::take(&mut self.rig.requests) {
            let text = message(&request);
            let line = text.method().as_str().to_owned();
            let detail = expires(&request).map_or_else(|| state_of(&request), |seconds| seconds.to_string());
            self.say(format!("  → SIP {line} {detail} {}", text.call_id().unwrap_or_default()));
            self.check_request(&request);
            self.to_sip.push_back(request);
        }
    }

    fn deliver_all(&mut self) {
        let mut steps = 0;
        while !(self.to_xmpp.is_empty()
            && self.to_sip.is_empty()
            && self.contact.out.is_empty()
            && self.sip.out.is_empty())
        {
            steps += 1;
            assert!(steps < 2_000, "it goes round in circles");
            self.deliver_one();
        }
    }

    /// One of the four ways moves on.
    fn deliver_one(&mut self) {
        match self.dice.random() % 4 {
            0 => {
                let Some(stanza) = self.to_xmpp.pop_front() else { return };
                if self.rules.is_connected() {
                    self.check_leaving(&stanza);
                }
                if !self.rules.is_connected() || self.lossy && self.chance(6) {
                    self.say(format!("  lost: {}", told(&stanza)));
                    self.knows.doubt = true;
                    // It may have arrived all the same.
                    if self.rules.is_connected() && self.chance(2) {
                        self.contact_receives(&stanza);
                    }
                    self.rig.input(|pair, context| pair.lost(&stanza.sent, context));
                } else {
                    self.contact_receives(&stanza);
                }
            }
            1 => {
                let Some(request) = self.to_sip.pop_front() else { return };
                self.check_leaving_request(&request);
                if self.lossy && self.chance(8) {
                    let why = self.pick(&[Undelivered::NotSent, Undelivered::Lost]);
                    self.say(format!("  failed: {why:?}"));
                    if why == Undelivered::Lost && self.chance(2) {
                        self.sip_receives(&request);
                    }
                    self.rig.fail(&request, why);
                } else {
                    let status = self.sip_receives(&request);
                    self.asked &= status != 603;
                    self.rig.respond(&request, status, "Expires: 3600\r\n");
                }
            }
            2 if !self.contact.out.is_empty() => {
                let text = self.contact.out.remove(0);
                // Streams of a disabled partner are closed.
                if !self.rules.is_connected() {
                    // What he says now nobody hears.
                    self.asked &= !text.contains("subscribe'");
                } else {
                    let kind = text.split("type='").nth(1).and_then(|rest| rest.split('\'').next());
                    self.say(format!("  ← XMPP {}", kind.unwrap_or("available")));
                    self.rig.element(&text);
                    match kind {
                        Some("subscribe") => self.asked |= self.rules.user,
                        Some("unsubscribe") => self.asked = false,
                        _ => {}
                    }
                    if kind == Some("unsubscribed") {
                        self.collect();
                        self.may_ask = self.rig.pair.to() == To::Pending;
                    }
                }
            }
            3 if !self.sip.out.is_empty() => {
                let request = self.sip.out.remove(0);
                self.gateway_receives(request);
            }
            _ => return,
        }
        self.collect();
    }

    fn contact_receives(&mut self, stanza: &ToXmpp) {
        self.contact.receive(stanza);
    }

    fn sip_receives(&mut self, request: &Request) -> u16 {
        match request.half {
            Half::Subscriber(_) => self.sip.subscribed(request),
            Half::Notifier(_) => self.sip.notified(request),
            Half::Session(_) => unreachable!("nobody is invited"),
        }
    }

    fn gateway_receives(&mut self, request: FromSip) {
        let now = self.rig.now.unix();
        match request {
            FromSip::Notify(dialog, request) => {
                let state = request.header(HeaderName::SubscriptionState).unwrap_or_default();
                self.asked &= !state.contains("rejected");
                self.knows.let_in |= state.starts_with("active");
                let number = self.rig.in_dialog(&request);
                let status = self.rig.status(number);
                if status != 200 {
                    self.sip.dialogs.retain(|known| known.call_id != dialog.call_id);
                }
            }
            FromSip::Subscribe { endpoint, request, mut dialog } => {
                let number = self.rig.subscribe(&request, &format!("epid{endpoint}"));
                let answer = self.rig.answer(number).expect("an answer at once");
                let allowed = self.rules.user_may_see();
                match answer {
                    Answered::Refused(_) => assert!(!allowed, "refused without a rule"),
                    Answered::With(answer) => {
                        assert!(allowed && answer.status == 200, "{answer:?}");
                        if request.expires().unwrap() != Some(0) {
                            self.rules.added = Some(now);
                            self.may_ask = true;
                        }
                        let last = self.rig.newest_tag();
                        dialog.gateway_tag = last;
                        self.sip.endpoints[endpoint].dialog = Some(dialog);
                    }
                }
            }
            FromSip::InDialog { endpoint, request } => {
                let number = self.rig.in_dialog(&request);
                match self.rig.answer(number).expect("an answer at once") {
                    Answered::With(answer) if answer.status == 200 => {
                        if request.expires().unwrap() != Some(0) {
                            self.rules.added = Some(now);
                            self.may_ask = true;
                        }
                    }
                    _ => {
                        let dialog = &self.sip.endpoints[endpoint].dialog;
                        let same = dialog
                            .as_ref()
                            .is_some_and(|dialog| dialog.call_id == request.call_id().unwrap());
                        if same {
                            self.sip.endpoints[endpoint].dialog = None;
                        }
                    }
                }
            }
        }
    }

    /// Nothing is lost any more, everybody may talk to everybody, and all sign in and refresh.
    fn come_to_rest(&mut self) {
        self.say("now everything works");
        self.lossy = false;
        self.rules.enabled = true;
        if self.rules.listed {
            self.apply_policy();
        } else {
            self.rules.listed = true;
            self.entry_is_back();
        }
        self.rig.input(|pair, context| pair.reachable(Duration::from_secs(5), context));
        self.deliver_all();
        for round in 0..15 {
            // A front end that failed often is asked again after an hour, unless the contact asks anew.
            let waits = self.contact.asks_once && self.asked && self.contact.to == To::Pending;
            if round >= 3 && !waits {
                break;
            }
            self.pass(Duration::from_secs(1200));
            self.sip.refresh(0, 3600);
            self.sip.refresh(1, 3600);
            self.contact.signs_in();
            self.deliver_all();
        }
        self.sip.tell();
        self.deliver_all();
        self.pass(Duration::from_secs(60));
    }

    /// The last state has arrived on both sides.
    fn agree(&mut self) {
        let now = self.rig.now.unix();
        let (to, from) = (self.rig.pair.to(), self.rig.pair.from());
        self.say(format!("at rest: {:?} {:?}, pair {to:?} {from:?}", self.contact.to, self.contact.from));
        let shown: Vec<&str> = self.sip.devices.iter().filter_map(|device| *device).collect();
        let may = self.rules.contact_may_see(now);
        let mut sees: Vec<&str> = self.contact.sees.values().map(String::as_str).collect();
        if self.contact.to == To::Yes {
            // If he has not heard that he did not, and asked all the same, and the SIP user has not decided anew, he goes on
            // thinking so.
            let undecided =
                from == From::Kept || from == From::Pending && self.sip.decision == Decision::Asked;
            assert!(may || from == From::Kept, "the contact thinks that he may see");
            assert!(from == From::Yes || undecided, "the contact thinks that he may see, and {from:?}");
            sees.sort_unstable();
            let mut is = shown;
            is.sort_unstable();
            if undecided {
                assert_eq!(sees.len(), 0, "the contact sees what nobody has shown him");
            } else if self.sip.decision == Decision::Allowed {
                // Who is asked anew by the front end keeps what he saw; it has said nothing else.
                assert_eq!(sees, is, "what the contact sees");
            }
        } else if !may {
            assert_eq!(sees.len(), 0, "the contact sees what he may not");
        }
        // Requests are kept for thirty days.
        let young = now < START_MS / 1000 + 29 * DAY;
        if may && self.contact.to == To::Pending && (!self.contact.asks_once || self.asked && young) {
            assert_ne!(self.sip.decision, Decision::Allowed, "the contact waits for nothing");
        }
        for endpoint in &self.sip.endpoints {
            let Some(dialog) = &endpoint.dialog else { continue };
            assert!(self.rules.user_may_see(), "an endpoint watches without leave");
            assert!(self.rig.bound.contains(dialog.gateway_tag.as_str()), "a dialog that the pair forgot");
            match self.contact.from {
                From::Yes => {
                    assert!(endpoint.state.starts_with("active"), "{}", endpoint.state);
                    let open = endpoint.document.matches("<basic>open").count();
                    assert_eq!(open, self.contact.online.len(), "{}", endpoint.document);
                    for (resource, show) in &self.contact.online {
                        assert!(endpoint.document.contains(&note(resource, show)), "{}", endpoint.document);
                        assert!(endpoint.document.contains(resource), "{}", endpoint.document);
                        assert!(show.is_empty() || endpoint.document.contains(show), "{}", endpoint.document);
                    }
                }
                From::Pending => assert!(endpoint.state.starts_with("pending"), "{}", endpoint.state),
                From::No | From::Kept => panic!("an endpoint watches somebody who does not know of it"),
            }
        }
    }

    /// No dialog is left behind.
    fn everybody_leaves(&mut self) {
        self.say("everybody leaves");
        self.sip.refresh(0, 0);
        self.sip.refresh(1, 0);
        self.contact.gives_up();
        self.deliver_all();
        self.pass(Duration::from_secs(7200));
        assert!(self.rig.bound.is_empty(), "dialogs are left: {:?}", self.rig.bound);
        assert!(self.sip.dialogs.is_empty(), "the front end has dialogs left");
        assert!(self.rig.places.held.values().all(|held| *held == 0), "{:?}", self.rig.places);
        self.pass(Duration::from_secs(46 * DAY));
        let record = &self.rig.stored;
        let only_to = record.as_ref().is_none_or(|record| {
            record.added.is_none() && record.from == From::No && record.notifiers.is_empty()
        });
        assert!(only_to, "{record:?}");
    }
}
