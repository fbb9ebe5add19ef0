//! What travels with stanzas and requests while they wait: enough to answer, account and judge them again.

use std::num::NonZeroU64;

use compact_str::CompactString;
use nuncio_sip::connection::ServerTxn;
use nuncio_translate::Moment;
use nuncio_translate::judge::{Consent, Kind, Refusal};
use nuncio_translate::pair::{Half, PairKey, Sent};
use nuncio_xmpp::lane::Envelope;

use super::{ConnectionId, MessageNumber};

/// What a lane is called: from one of our domains to one of a partner's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    pub local: CompactString,
    pub remote: CompactString,
}

/// Travels with what a pair sends through the lane.
#[derive(Debug)]
pub struct ToXmppEnvelope {
    pub pair: PairKey,
    pub cargo: Cargo,
    /// Milliseconds of Unix time at which the message came in.
    pub sent_ms: u64,
    /// In the id of the stanza of a message.
    pub sequence: u64,
    /// Policy generation of the permit it crosses under.
    pub generation: u64,
    /// The rule that kept it from leaving when its turn came.
    pub refused: Option<Refusal>,
    /// Its sender wants to know what becomes of it, and its pair knows that by this number.
    pub asks: Option<NonZeroU64>,
    /// Milliseconds of Unix time from which on it is not to be delivered any more; the largest number: never.
    pub expires_ms: u64,
}

impl ToXmppEnvelope {
    pub(super) fn has_expired(&self, now: Moment) -> bool {
        self.expires_ms <= now.unix_ms
    }
}

/// What it is.
#[derive(Debug)]
pub enum Cargo {
    /// A message of the SIP user, who waits for his answer.
    Message(ReplyTo),
    /// Presence, or a stanza of a subscription: if it is lost, the pair sends what is true then.
    /// `takes_back`: it only takes something back, and always may.
    Presence { sent: Box<Sent>, takes_back: bool },
    /// Word to the sender of a message that waited, noted under this number, when the process before this one ended.
    Failure(u64),
}

/// Where the SIP sender waits for his answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    pub connection: ConnectionId,
    pub transaction: ServerTxn,
}

/// What is kept of a written stanza until it is proved processed.
#[derive(Debug)]
pub struct Receipt {
    pub pair: PairKey,
    pub sent_ms: u64,
    pub sequence: u64,
    pub what: Written,
}

/// What was written.
#[derive(Debug)]
pub enum Written {
    Message,
    Presence(Box<Sent>),
    /// As [`Cargo::Failure`].
    Failure(u64),
}

impl Envelope for ToXmppEnvelope {
    type Receipt = Receipt;

    fn receipt(&self) -> Receipt {
        let what = match &self.cargo {
            Cargo::Message(_) => Written::Message,
            Cargo::Presence { sent, .. } => Written::Presence(sent.clone()),
            Cargo::Failure(number) => Written::Failure(*number),
        };
        Receipt { pair: self.pair.clone(), sent_ms: self.sent_ms, sequence: self.sequence, what }
    }
}

/// Travels with a request to a front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSipEnvelope {
    pub pair: PairKey,
    pub serial: u64,
    /// Which machine of the pair sent it; `None`: it is a MESSAGE.
    pub event: Option<Half>,
    /// Milliseconds of Unix time at which it left the pair.
    pub sent_ms: u64,
    /// What it was judged by; a notice needs no permit.
    pub judged: Option<Judged>,
    /// The message of the contact that it brings.
    pub brings: Option<MessageNumber>,
}

impl ToSipEnvelope {
    /// It is a notification of a batch, which has no contact: its user's name stands for both.
    pub(super) fn is_of_batch(&self) -> bool {
        self.pair.sip_user() == self.pair.contact()
    }
}

/// What is needed to judge a message again that had to wait for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Policy generation of the permit it left the pair under.
    pub generation: u64,
    /// The pair's consent at that time.
    pub consent: Consent,
    pub kind: Kind,
    /// Whether the partner had proved itself by certificate when the stanza came that this passes on; `None`: what holds
    /// when it leaves counts.
    pub proved: Option<bool>,
}
