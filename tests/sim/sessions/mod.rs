//! Sessions of instant messages, in a share of the seeds: front ends that accept late or never, refuse, fork, forget,
//! hang up at any time, invite at the same moment, and say strange things inside. What is said in them stands in the same
//! ledger as everything else.

mod callee;
mod caller;
mod watch;

use std::time::Duration;

use nuncio::gateway::Im;
use nuncio_sip::Message;

use crate::ledger::PairId;
use crate::net::{MILLI, Micros, SECOND};
use crate::rng::Rng;
use crate::world::{Event, LOCAL, World};

/// After nothing is said any more, all sessions end within this time; see [`Plan::idle`].
pub(crate) const REST: Micros = 900 * SECOND;
/// One seed of so many has sessions.
const SHARE: u64 = 5;
/// Times at which the front end does something of its own accord.
const STIRS: u64 = 60;

/// What both sides of every session offer.
const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                           m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
/// The same of a client that says that it types in RFC 3994's words.
const COMPOSING: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                         m=message 5060 sip null\r\na=accept-types:text/plain application/im-iscomposing+xml\r\n";
/// One that allows no messages.
const AUDIO: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                     m=audio 4000 RTP/AVP 0\r\n";

/// How a seed with sessions is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) im: Im,
    /// A session without messages ends after this.
    pub(crate) idle: Duration,
    pub(crate) answer_within: Duration,
}

impl Plan {
    /// `None`: this seed has no sessions.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        if !seed.is_multiple_of(SHARE) {
            return None;
        }
        let mut rng = Rng::new(!seed);
        Some(Self {
            im: rng.pick(&[Im::Session, Im::Session, Im::Automatic]),
            idle: Duration::from_secs(rng.pick(&[30, 300])),
            answer_within: Duration::from_secs(rng.pick(&[5, 60])),
        })
    }
}

/// What happens at its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    /// The front end does something of its own accord.
    Stir,
    /// The user accepts the invitation, if it still stands.
    Accept(usize),
    /// His acceptance has no ACK yet; the next time after so long.
    Repeat(usize, Micros),
    /// The front end acknowledges what the gateway accepted, by its question.
    Acknowledge(usize),
    HangUp(usize),
    /// All has been quiet for long.
    Rest,
}

/// A session as the front end knows it. Both of its nodes do.
#[derive(Debug)]
struct Dialog {
    pair: PairId,
    call_id: String,
    /// Our tag, and the gateway's.
    ours: String,
    theirs: String,
    /// Where requests go.
    target: String,
    cseq: u32,
    state: State,
    /// Where our answer to the INVITE goes.
    conn: usize,
    accepted: Vec<u8>,
    cancelled: Vec<u8>,
    accepted_at: Micros,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The gateway's INVITE has no final answer.
    Ringing,
    /// It has 2xx, and no ACK.
    Accepted,
    /// Ours waits for its answer, or for our ACK.
    Inviting,
    Live,
    /// Forgotten, whoever knows it still.
    Over,
}

/// A request of the front end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question {
    dialog: usize,
    cseq: u32,
    invites: bool,
    acknowledges: bool,
}

/// Everybody who is in session.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) plan: Option<Plan>,
    dialogs: Vec<Dialog>,
    questions: Vec<Question>,
    /// This front end knows no INVITE.
    knows_none: bool,
    /// Nothing goes wrong any more.
    pub(crate) calm: bool,
    /// The contacts that have shown a chat state, by pair.
    showed: Vec<PairId>,
    pub(crate) counts: Counts,
}

/// What happened, all seeds together: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) seeds: u64,
    pub(crate) users_invited: u64,
    pub(crate) invitations_refused: u64,
    pub(crate) invitations_cancelled: u64,
    pub(crate) forks: u64,
    pub(crate) contacts_invited: u64,
    /// Both invited each other at a time.
    pub(crate) glares: u64,
    pub(crate) messages_to_users: u64,
    pub(crate) messages_to_contacts: u64,
    pub(crate) notices: u64,
    pub(crate) typing_to_users: u64,
    pub(crate) states_to_contacts: u64,
    /// Requests of the gateway in sessions that the front end has forgotten.
    pub(crate) unknown: u64,
    pub(crate) byes_of_users: u64,
    pub(crate) byes_of_gateway: u64,
    pub(crate) refreshes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.users_invited += other.users_invited;
        self.invitations_refused += other.invitations_refused;
        self.invitations_cancelled += other.invitations_cancelled;
        self.forks += other.forks;
        self.contacts_invited += other.contacts_invited;
        self.glares += other.glares;
        self.messages_to_users += other.messages_to_users;
        self.messages_to_contacts += other.messages_to_contacts;
        self.notices += other.notices;
        self.typing_to_users += other.typing_to_users;
        self.states_to_contacts += other.states_to_contacts;
        self.unknown += other.unknown;
        self.byes_of_users += other.byes_of_users;
        self.byes_of_gateway += other.byes_of_gateway;
        self.refreshes += other.refreshes;
    }
}

impl Sessions {
    pub(crate) fn new(plan: Option<Plan>) -> Self {
        let counts = Counts { seeds: plan.is_some().into(), ..Counts::default() };
        Self { plan, counts, ..Self::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.plan.is_some()
    }

    /// The dialog that a request of the gateway belongs to.
    fn dialog_of(&self, message: &Message) -> Option<usize> {
        let (call_id, tag) = (message.call_id().ok()?, message.to_tag()?);
        self.dialogs.iter().position(|dialog| dialog.call_id == call_id && dialog.ours == tag)
    }

    fn all(&self, state: State) -> Vec<usize> {
        (0..self.dialogs.len()).filter(|dialog| self.dialogs[*dialog].state == state).collect()
    }
}

impl World {
    /// What happens to sessions in this run, beside what happens to messages.
    pub(crate) fn plan_sessions(&mut self, traffic: Micros, rest: Micros) {
        if !self.sessions.is_on() {
            return;
        }
        self.sessions.knows_none = self.rng.chance(8);
        for _ in 0..STIRS {
            let at = self.rng.range(0, traffic);
            self.at(at, Event::Session(Act::Stir));
        }
        self.at(traffic + rest - SECOND, Event::Session(Act::Rest));
    }

    pub(crate) fn session_act(&mut self, act: Act) {
        match act {
            Act::Stir => self.stir(),
            Act::Accept(dialog) => self.user_accepts(dialog),
            Act::Repeat(dialog, wait) => self.acceptance_again(dialog, wait),
            Act::Acknowledge(question) => self.user_acknowledges(question),
            Act::HangUp(dialog) => self.user_hangs_up(dialog),
            Act::Rest => self.sessions_rest(),
        }
    }

    /// The front end has lost its memory.
    pub(crate) fn forget_sessions(&mut self) {
        for dialog in &mut self.sessions.dialogs {
            dialog.state = State::Over;
        }
    }

    /// Everybody has been silent for longer than sessions last.
    fn sessions_rest(&mut self) {
        let held = self.gateway.holdings();
        if held.dialogs > 0 || held.owed > 0 {
            self.ledger.violation(format!("leak: when all was quiet, the gateway held {held:?}"));
        }
    }

    fn think(&mut self) -> Micros {
        let most = self.rng.pick(&[20 * MILLI, SECOND, 10 * SECOND, 30 * SECOND]);
        self.rng.range(0, most)
    }
}

/// The Contact of a SIP user's client.
fn contact_of(user: &str) -> String {
    format!("<sip:{user};opaque=user:epid:x;gruu>")
}

/// Where the gateway wants to be asked inside of a dialog.
fn target_of(message: &Message) -> String {
    match message.contacts().next() {
        Some(Ok(contact)) => contact.uri.as_str().to_owned(),
        _ => format!("sip:gw.{LOCAL}"),
    }
}
