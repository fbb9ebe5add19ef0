//! What comes with every input of a pair's presence.

use nuncio_sip::event::{self, EventConfig, Tokens};
use nuncio_sip::session::{self, SessionConfig};

use super::{PairKey, PresenceConfig};
use crate::Moment;
use crate::judge::{Consent, Direction, Kind, Permit, Question, Refusal, Snapshot, judge};

/// The surroundings of a pair for one step. Nothing of it is kept.
pub struct Context<'a> {
    pub key: &'a PairKey,
    pub snapshot: &'a Snapshot,
    pub config: &'a PresenceConfig,
    pub events: &'a EventConfig,
    /// The number of what we are to front ends on behalf of this contact, now.
    pub identity: usize,
    /// Settings of subscriptions under the identity of a number: a dialog keeps that which it began under.
    pub events_under: &'a dyn Fn(usize) -> &'a EventConfig,
    /// The same of sessions.
    pub sessions: &'a dyn Fn(usize) -> &'a SessionConfig,
    pub tokens: &'a mut dyn Tokens,
    pub budget: &'a mut dyn Budget,
    pub now: Moment,
}

/// The number of an identity as subscriptions keep it. There is one for each type of partners at the most, and one for all.
pub(super) type Identity = u8;

/// Places that are counted beyond the single pair: by contact, by partner, in total (PS-03).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// A subscription of ours at a front end for the contact of this pair.
    Subscription,
    /// A kept request of the contact of this pair.
    KeptRequest,
    /// An invitation of the SIP user that he has not answered.
    Invitation,
}

/// Counts the places that pairs hold.
pub trait Budget {
    /// Takes a place for this pair; false: none is left.
    fn take(&mut self, key: &PairKey, place: Place) -> bool;
    /// Gives one back.
    fn give_back(&mut self, key: &PairKey, place: Place);
    /// The contact of this pair asks to see the SIP user, who is to be asked; false: there have been too many such requests
    /// (SEC-41).
    fn ask(&mut self, key: &PairKey, now: Moment) -> bool;
}

/// No bounds.
impl Budget for () {
    fn take(&mut self, _key: &PairKey, _place: Place) -> bool {
        true
    }

    fn give_back(&mut self, _key: &PairKey, _place: Place) {}

    fn ask(&mut self, _key: &PairKey, _now: Moment) -> bool {
        true
    }
}

impl Context<'_> {
    pub(super) fn event(&mut self) -> event::Context<'_> {
        event::Context { config: self.events, tokens: self.tokens, now: self.now.instant }
    }

    /// For a subscription under this identity.
    pub(super) fn event_under(&mut self, identity: Identity) -> event::Context<'_> {
        let config = (self.events_under)(identity.into());
        event::Context { config, tokens: self.tokens, now: self.now.instant }
    }

    /// That which a dialog that begins now begins under.
    pub(super) fn identity(&self) -> Identity {
        Identity::try_from(self.identity).unwrap_or_default()
    }

    /// For a session under this identity.
    pub(super) fn session(&mut self, identity: usize) -> session::Context<'_> {
        session::Context { config: (self.sessions)(identity), tokens: self.tokens, now: self.now.instant }
    }

    pub(super) fn judge(
        &self,
        direction: Direction,
        kind: Kind,
        consent: &Consent,
    ) -> Result<Permit, Refusal> {
        let question = Question {
            sip_user: self.key.sip_user(),
            contact: self.key.contact(),
            contact_domain: self.key.remote_domain(),
            direction,
            kind,
        };
        judge(self.snapshot, &question, consent, self.now.unix())
    }

    /// Whether the administrator has disabled the partner, perhaps for a while.
    pub(super) fn partner_is_disabled(&self) -> bool {
        self.snapshot.partner(self.key.remote_domain()).is_some_and(|partner| !partner.enabled)
    }

    /// Whether the configuration does not name the domain of one of the two any more.
    pub(super) fn domains_are_gone(&self) -> bool {
        let judged = self.judge(Direction::SipToXmpp, Kind::Subscribe, &Consent::default());
        judged.is_err_and(|refusal| matches!(refusal, Refusal::UnlistedDomain | Refusal::DomainNotServed))
    }

    /// Whether anything at all may be sent to the partner.
    pub(super) fn partner_is_open(&self) -> bool {
        self.snapshot.open_partner(self.key.remote_domain()).is_ok()
    }
}
