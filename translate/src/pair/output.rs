//! What a pair's presence wants of its caller, as plain data.

use compact_str::CompactString;
use nuncio_sip::Fields;
use nuncio_sip::connection::ServerTxn;
use nuncio_sip::event::Answer;
use nuncio_sip::hop::OutRequest;
use nuncio_sip::session::SessionEnd;

use super::PairRecord;
use crate::judge::{Kind, Permit, Refusal, Rule};
use crate::presence::to_xmpp::Subscription;

/// An order or a piece of news. Carry them out in the order they come.
#[derive(Debug)]
pub enum Output {
    /// Put this on the lane to the partner. If it is not delivered for sure, call [`Pair::lost`](super::Pair::lost).
    ToXmpp(ToXmpp),
    /// Take out of the lane what waits there of this, and do not report it: it would say what is so no more.
    Recall(Sent),
    /// Send this to a front end; the outcome comes back with half and serial.
    Request(Request),
    /// Answer a request.
    Answer { asked: Asked, answer: Answer },
    /// Answer a request with 403 and the rule.
    Refuse { asked: Asked, refusal: Refusal },
    /// Requests inside a dialog with this local tag are for this pair, from now on.
    Bound(CompactString),
    /// … and no more.
    Released(CompactString),
    /// Cancel the INVITE that was sent with this branch, wherever that went, with these fields on the CANCEL.
    Cancel { branch: String, fields: Fields },
    /// Send the 2xx to this INVITE once more.
    Repeat(Asked),
    /// Replace what is stored of the pair by this, `None`: by nothing, and call
    /// [`Pair::committed`](super::Pair::committed) with the ticket. Orders that must not come first wait for it.
    Save { ticket: u64, record: Option<Box<PairRecord>> },
    /// For log and audit trail.
    Fact(Fact),
}

/// A stanza for the contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToXmpp {
    pub stanza: Vec<u8>,
    /// What it is. While an older stanza of the same pair with the same [`Sent::Presence`] waits in the lane, it may be
    /// taken out; this one goes to the end all the same.
    pub sent: Sent,
    /// The judgement it crosses under, to be renewed if it has to wait; `None`: it only takes something back.
    pub judged: Option<Judged>,
}

/// What a stanza was, for the report that it was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sent {
    Subscription(Subscription),
    /// The state of a resource; empty: from the bare JID.
    Presence {
        resource: CompactString,
    },
    /// The answer to one of the contact's resources that asked. It takes no other one's place, and may be lost: who
    /// asked asks again.
    Reply,
    /// What goes beside messages, such as typing. Whoever misses it misses little.
    Aside,
}

/// What has to be asked again when something had to wait and the policy has another generation by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub rule: Rule,
    pub kind: Kind,
    pub generation: u64,
    /// Whether the partner had proved itself by certificate when the stanza came that this passes on; `None`: it passes on
    /// none, and what holds when it leaves counts.
    pub proved: Option<bool>,
}

impl Judged {
    /// Uses up the permit.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is good for one crossing")]
    pub(super) fn new(permit: Permit, kind: Kind) -> Self {
        Self { rule: permit.rule(), kind, generation: permit.generation(), proved: None }
    }

    /// For something that passes on a stanza which came under this evidence.
    #[must_use]
    pub fn with_proof(self, proved: Option<bool>) -> Self {
        Self { proved, ..self }
    }
}

/// The name of the front end of a watcher who is a member of a [batch](crate::batch): none that there is. His dialog is with
/// the batch, in this process, and does not outlive it.
pub const BATCH: &str = "#batch";

/// A request for a front end.
#[derive(Debug)]
pub struct Request {
    pub half: Half,
    pub serial: u32,
    pub request: OutRequest,
    /// The front end that holds its dialog, by name: no other one knows of it. `None`: any that serves the SIP user's
    /// domain.
    pub front_end: Option<CompactString>,
    /// The number of what we are to front ends in its dialog; `None`: what we are on behalf of the contact now.
    pub identity: Option<usize>,
    /// As for [`ToXmpp::judged`], in the direction to SIP.
    pub judged: Option<Judged>,
}

/// Which machine of the pair sent a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Half {
    /// Our subscription to the SIP user. The number tells it from an earlier one.
    Subscriber(u32),
    /// A subscription of the SIP user's, by its local tag.
    Notifier(CompactString),
    /// A session, by its number in the pair.
    Session(u32),
}

/// The request that an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// A NOTIFY, and no SUBSCRIBE.
    pub notifies: bool,
    /// The connection it came on.
    pub connection: u64,
    pub transaction: ServerTxn,
}

/// Something an administrator may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A rule kept something from crossing. The SIP user learns it, the contact does not.
    Refused { what: Attempt, refusal: Refusal },
    /// The SIP user added the contact.
    Added(Rule),
    /// He does not count as having added him any more.
    AddedEnded(AddedEnd),
    /// A request of the contact is kept until the SIP user adds him.
    Kept,
    /// There was no room to keep it.
    NotKept,
    /// A request was kept for as long as requests are.
    KeptEnded,
    /// The SIP user has not decided on a request for as long.
    Undecided,
    /// A request was not taken on, for the contact's address mixes scripts; he is not told.
    MixedScripts,
    /// A request was not taken on, for there were too many in a short time; he is not told.
    TooManyRequests,
    /// The contact may see the SIP user.
    ContactSees(Rule),
    /// … and no more.
    ContactSeesNoMore(Ended),
    /// The SIP user may see the contact.
    UserSees,
    /// … and no more.
    UserSeesNoMore(Ended),
    /// A subscription at a front end was not begun, because there are too many.
    NoPlace,
    /// A front end refused what the contact asked for, or knows nobody of that name; he is not told. `None`: it said so in a
    /// NOTIFY.
    TurnedAway { status: Option<u16> },
    /// A front end cannot be asked for the SIP user's presence; no more tries for now.
    Silent { status: Option<u16> },
    /// A session is established.
    SessionBegan,
    /// … and is over.
    SessionEnded(SessionEnd),
    /// The SIP user's side takes no sessions; messages go alone. `None`: it accepted one that is of no use.
    SessionRefused { status: Option<u16> },
}

/// What was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// The SIP user asked to see the contact.
    UserSubscribes,
    /// The contact asked to see the SIP user.
    ContactSubscribes,
    /// The contact asked for the presence of the SIP user.
    ContactProbes,
    /// The contact showed himself to the SIP user.
    ContactAppears,
    /// Nobody attempted anything: subscriptions of the SIP user's endpoints, which the rules allowed, go on no more.
    UserWatched,
    /// The same of a request of the contact that waited at the front end.
    ContactWaited,
}

/// How consent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddedEnd {
    /// No SUBSCRIBE for too long.
    Lapsed,
    /// The administrator took it away.
    Removed,
    /// The domain of one of the two is not in the configuration any more.
    Forgotten,
}

/// Why a subscription came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The contact wanted it.
    ByContact,
    /// The front end refused it.
    ByFrontEnd,
    /// A rule forbids it from now on.
    ByRule(Refusal),
    /// An administrator ended it.
    ByHand,
    /// The partner could not be reached, or returned the request.
    Undeliverable,
    /// The partner takes no stanza as large as the request.
    TooLarge,
}
