//! What remains of a pair when a step on it failed half way.

use compact_str::CompactString;

use super::output::{Asked, Output};
use super::presence::Presence;
use super::sessions::Abandoned;
use super::{Context, From, Pair, PairRecord, Place, Talk, ToSip};
use crate::Moment;

/// What a pair held that can be held no longer.
#[derive(Debug)]
pub struct Salvage<M> {
    /// Messages of the contact: the one that was on its way to the SIP user, which may have arrived, then those
    /// that waited.
    pub messages: Vec<M>,
    /// Messages of the SIP user that he was to be told of.
    pub notices: u64,
    /// Local tags of sessions, which are over for the other side when it asks next.
    pub tags: Vec<CompactString>,
    /// Places of the budget that they held.
    pub places: Vec<Place>,
    /// Branches of INVITEs of ours that wait for their answer: nobody is there to take it.
    pub invitations: Vec<String>,
    /// Let go of what it names, then [`Pair::revive`] it.
    pub presence: Option<Box<Rescued>>,
}

/// The presence of a pair, as far as a restart would bring it back.
#[derive(Debug)]
pub struct Rescued {
    /// Its local tags. Some may be bound no more.
    pub tags: Vec<CompactString>,
    /// Places of the budget that it held.
    pub places: Vec<Place>,
    /// Requests whose answers it had not given out.
    pub asked: Vec<Asked>,
    pub record: Box<PairRecord>,
}

impl<M> Default for Salvage<M> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            notices: 0,
            tags: Vec::new(),
            places: Vec::new(),
            invitations: Vec::new(),
            presence: None,
        }
    }
}

impl<M> Pair<M> {
    /// Empties a pair that a failed step may have left in any state. Who wrote to whom, what was reported and the
    /// count of serials stay, so that an answer to what was pending settles nothing that comes later; so does what is
    /// known of the store.
    pub fn salvage(&mut self, now: Moment) -> Salvage<M> {
        let record = Box::new(self.record(now));
        let presence = self.presence.take().map(|presence| Box::new(presence.rescue(record)));
        let (consent, serial) = (self.consent, self.serial);
        let (saved, talk) = (std::mem::take(&mut self.saved), self.talk.take());
        *self = Self { consent, serial, saved, ..Self::default() };
        let (mut messages, mut notices) = (Vec::new(), 0);
        let mut abandoned = Abandoned::default();
        if let Some(talk) = talk {
            let Talk { waiting, notices: told, reported, awaited, reports, kept, pending, sessions, settled } =
                *talk;
            abandoned = sessions.rescue();
            notices = told.count() + reports.len() as u64;
            let pending = pending.into_iter().map(|pending| pending.item);
            for item in settled.into_iter().map(|settled| settled.item).chain(pending) {
                match item {
                    ToSip::Message(message) => messages.push(message),
                    ToSip::Notice(notice) => notices += u64::from(notice.count),
                    ToSip::Report(_) => notices += 1,
                }
            }
            messages.extend(waiting.into_iter().map(|waiting| waiting.stanza));
            self.talk = Some(Box::new(Talk { reported, awaited, kept, ..Talk::default() }));
        }
        let Abandoned { tags, places, invitations } = abandoned;
        Salvage { messages, notices, tags, places, invitations, presence }
    }

    /// Takes presence up again as after a restart: poll it, and call [`Pair::resume`] after a while. Nothing happens if
    /// somebody has begun anew meanwhile.
    pub fn revive(&mut self, record: PairRecord, context: &mut Context<'_>) {
        if self.presence.is_none() {
            self.presence = Self::restored(record, context).presence;
            // What had changed may not be stored yet.
            self.saved.touch();
        }
    }
}

impl Presence {
    fn rescue(self, record: Box<PairRecord>) -> Rescued {
        let contact = self.contact.as_deref();
        let user = self.user.iter().flat_map(|user| user.bound_tags());
        let tags = contact.and_then(|contact| contact.bound_tag()).into_iter().chain(user);
        let mut tags: Vec<_> = tags.map(CompactString::from).collect();
        let kept = (self.roster.from == From::Kept).then_some(Place::KeptRequest);
        let places = contact.and_then(|contact| contact.held_place()).into_iter().chain(kept).collect();
        let mut asked = Vec::new();
        for (_, output) in self.orders {
            match output {
                Output::Answer { asked: request, .. } | Output::Refuse { asked: request, .. } => {
                    asked.push(request);
                }
                Output::Released(tag) => tags.push(tag),
                _ => {}
            }
        }
        Rescued { tags, places, asked, record }
    }
}
