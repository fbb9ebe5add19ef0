//! Presence of a pair: what joins its two halves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_sip::event::{Undelivered, Wanted, unknown_subscription};
use nuncio_sip::{Message, Uri};

use super::contact_watches::{ContactWatches, Told};
use super::output::{AddedEnd, Asked, Attempt, Fact, Half, Output, Sent};
use super::saved::Saved;
use super::step::{Orders, Roster, Step, instant_at};
use super::user_watches::UserWatches;
use super::{Context, From, Pair, PairRecord, To};
use crate::Moment;
use crate::judge::Consent;
use crate::presence::Availability;
use crate::presence::from_xmpp::Reading;

/// Whether NOTIFY may go to a Contact (PS-06).
pub type Routable<'a> = &'a dyn Fn(&Uri<'_>) -> bool;

/// A SUBSCRIBE outside of any dialog, checked by
/// [`check_subscribe`](nuncio_sip::event::check_subscribe).
#[derive(Clone, Copy)]
pub struct Subscribing<'a> {
    pub request: &'a Message,
    pub wanted: &'a Wanted,
    /// The To tag that the answer gets: the connection has chosen it, and it becomes the dialog's.
    pub tag: &'a str,
    /// Which endpoint of the SIP user it is: its instance, epid or Contact.
    pub endpoint: &'a str,
    /// The front end it came from, by name.
    pub front_end: &'a str,
}

/// A presence stanza of the contact. One that reads as [`Reading::Refuse`] is answered by the caller.
#[derive(Debug, Clone)]
pub struct Arrived<'a> {
    /// The resource it came from.
    pub from: Option<&'a str>,
    /// The resource of the SIP user it is for.
    pub to: Option<&'a str>,
    pub id: Option<&'a str>,
    pub reading: Reading,
}

/// Everything about presence that a pair has to remember; pairs that only exchange messages have none of it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    pub(super) roster: Roster,
    /// `None`: there is nothing to be remembered of that half. Most pairs have one.
    pub(super) contact: Option<Box<ContactWatches>>,
    pub(super) user: Option<Box<UserWatches>>,
    pub(super) orders: Orders,
    /// When consent lapses, or a kept request has waited for long enough.
    lapse_at: Option<Instant>,
}

impl<M> Pair<M> {
    /// The SIP user subscribes to the contact, or asks for his presence once (PR-30, PR-31, PR-37).
    pub fn sip_subscribes(&mut self, asked: Asked, subscribing: Subscribing<'_>, context: &mut Context<'_>) {
        self.step(context, |contact, user, step| match step.user_may_ask() {
            Err(refusal) => {
                step.refused(Attempt::UserSubscribes, refusal);
                step.push(Output::Refuse { asked, refusal });
            }
            Ok(permit) => {
                let place = step.orders.len();
                let (answer, waits) = user.subscribes(permit, subscribing, step);
                let after = if waits { step.saved.awaited() } else { 0 };
                // Before everything that follows from it, NOTIFY and `subscribe` alike.
                step.orders.insert(place, (after, Output::Answer { asked, answer }));
                // What was kept until the SIP user adds the contact is acted on.
                contact.reconsider(step);
            }
        });
    }

    /// A request inside a dialog, found by its local tag: SUBSCRIBE or NOTIFY. The front end it came from, by name, is
    /// where requests in the other direction go.
    pub fn in_dialog(
        &mut self,
        asked: Asked,
        tag: &str,
        request: &Message,
        front_end: &str,
        routable: Routable<'_>,
        context: &mut Context<'_>,
    ) {
        self.step(context, |contact, user, step| {
            if contact.is_bound_to(tag) {
                let (answer, told) = contact.notify(request, front_end, step);
                step.push(Output::Answer { asked, answer });
                return contact.pump(told, step);
            }
            if step.consent.added.is_none() {
                // It was taken away while nobody was there to end this.
                user.consent_removed(step);
            }
            if request.method() == nuncio_sip::Method::Subscribe
                && let Err(refusal) = step.user_may_ask()
            {
                // The change of policy may be on its way here: it ends the subscription.
                user.reconsider(step);
                return step.push(Output::Refuse { asked, refusal });
            }
            let answer =
                user.in_dialog(tag, request, front_end, routable, step).unwrap_or_else(unknown_subscription);
            step.push(Output::Answer { asked, answer });
            contact.reconsider(step);
        });
    }

    /// The final response to a request.
    pub fn response(&mut self, half: &Half, serial: u32, response: &Message, context: &mut Context<'_>) {
        if let Half::Session(number) = half {
            return self.session_response(*number, serial, response, context);
        }
        self.known_step(context, |contact, user, step| match half {
            Half::Subscriber(epoch) => {
                let told = contact.response(*epoch, serial, response, step);
                contact.pump(told, step);
            }
            Half::Notifier(tag) => user.response(tag, serial, response, step),
            Half::Session(_) => {}
        });
    }

    /// A request that nobody answers has left: a BENOTIFY.
    pub fn request_left(&mut self, half: &Half, serial: u32, context: &mut Context<'_>) {
        self.known_step(context, |_, user, step| match half {
            Half::Subscriber(_) | Half::Session(_) => {}
            Half::Notifier(tag) => user.left(tag, serial, step),
        });
    }

    /// The endpoint with this tag is told again what there is to be seen, at once: it is a member of a [batch](crate::batch),
    /// which keeps nothing that it has told.
    pub fn tell_again(&mut self, tag: &str, context: &mut Context<'_>) {
        self.known_step(context, |_, user, step| user.tell_again(tag, step));
    }

    /// Whether there is such an endpoint, and its subscription has not ended.
    pub fn is_watched_by(&self, tag: &str) -> bool {
        let user = self.presence.as_ref().and_then(|presence| presence.user.as_ref());
        user.is_some_and(|user| user.is_watched_by(tag))
    }

    /// A request that gets no response, or was not taken at all.
    pub fn request_failed(&mut self, half: &Half, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        if let Half::Session(number) = half {
            return self.session_failed(*number, serial, why, context);
        }
        self.known_step(context, |contact, user, step| match half {
            Half::Subscriber(epoch) => contact.failed(*epoch, serial, why, step),
            Half::Notifier(tag) => user.failed(tag, serial, why, step),
            Half::Session(_) => {}
        });
    }

    /// A presence stanza of the contact. No rule ever makes it be answered with an error: silence is the answer that
    /// everybody gets.
    pub fn contact_presence(&mut self, arrived: Arrived<'_>, context: &mut Context<'_>) {
        if matches!(arrived.reading, Reading::Presence(_)) {
            self.unlock_resources();
        }
        self.step(context, |contact, user, step| match arrived.reading {
            Reading::Subscribe => contact.asks_to_see(step),
            Reading::Unsubscribe => contact.gives_up(step),
            Reading::Probe => contact.probes(&arrived, step),
            Reading::Subscribed => user.agreed(step),
            Reading::Unsubscribed => user.refused(step),
            Reading::Presence(report) => {
                if arrived.to.is_some_and(|resource| !contact.shows(resource)) {
                    return;
                }
                let available = report.state.availability == Availability::Open;
                match step.user_may_see() {
                    Ok(permit) => user.appears(permit, report, step),
                    Err(refusal) => user.may_not_appear(refusal, step),
                }
                if available {
                    contact.there(false, step);
                }
            }
            Reading::Error(error) => user.returned(&error, arrived.id, step),
            Reading::Nothing | Reading::Refuse(_) => {}
        });
    }

    /// A message of the contact that may cross: evidence that he is there.
    pub fn contact_is_there(&mut self, context: &mut Context<'_>) {
        self.known_step(context, |contact, _, step| contact.there(false, step));
    }

    /// A stanza surely or possibly did not arrive. The state of then is sent after a while.
    pub fn lost(&mut self, sent: &Sent, context: &mut Context<'_>) {
        self.known_step(context, |contact, user, step| {
            if !contact.lost(sent, step) {
                user.lost(sent, step);
            }
        });
    }

    /// A stanza was not sent, for it is larger than the partner takes any. Poll afterwards.
    pub fn too_large(&mut self, sent: &Sent, context: &mut Context<'_>) {
        self.known_step(context, |contact, user, step| {
            if !contact.too_large(sent, step) {
                user.too_large(sent, step);
            }
        });
    }

    /// The partner can be reached again: what was lost is sent within this time.
    pub fn reachable(&mut self, within: Duration, context: &mut Context<'_>) {
        self.known_step(context, |contact, user, step| {
            contact.reachable(within, step);
            user.reachable(within, step);
        });
    }

    /// The streams of the partner were lost, and with them perhaps what the contact is by now: he is asked after this
    /// time (XI-10).
    pub fn partner_lost(&mut self, after: Duration, context: &mut Context<'_>) {
        self.known_step(context, |_, user, step| user.partner_lost(after, step));
    }

    /// The contact is taken to be available, and nobody has begun to doubt it.
    pub fn may_be_ghost(&self) -> bool {
        self.presence
            .as_ref()
            .is_some_and(|presence| presence.user.as_ref().is_some_and(|user| user.may_be_ghost()))
    }

    /// Something was lost, and waits for its time to be sent again.
    pub fn waits_for_partner(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| {
            presence.contact.as_ref().is_some_and(|contact| contact.waits())
                || presence.user.as_ref().is_some_and(|user| user.waits())
        })
    }

    /// The policy is another one. Everything that it forbids from now on ends.
    pub fn policy_changed(&mut self, context: &mut Context<'_>) {
        self.forget_words_to_nobody(context);
        self.known_step(context, |contact, user, step| {
            contact.reconsider(step);
            user.reconsider(step);
        });
    }

    /// The administrator takes back that the SIP user added the contact.
    pub fn consent_removed(&mut self, context: &mut Context<'_>) {
        self.known_step(context, |contact, user, step| {
            if step.consent.added.take().is_some() {
                step.saved.touch();
                step.fact(Fact::AddedEnded(AddedEnd::Removed));
            }
            withdraw_forbidden(contact, step);
            contact.reconsider(step);
            user.consent_removed(step);
        });
    }

    /// An administrator ends the subscriptions of the SIP user's endpoints to the contact. They may ask anew at once; what the
    /// contact agreed to lasts. False: there is none.
    pub fn user_closed(&mut self, context: &mut Context<'_>) -> bool {
        let mut closed = false;
        self.known_step(context, |_, user, step| closed = user.closed(step));
        closed
    }

    /// An administrator ends what the contact sees of the SIP user, or asks to see. He may ask anew. False: nothing.
    pub fn contact_closed(&mut self, context: &mut Context<'_>) -> bool {
        let mut closed = false;
        self.known_step(context, |contact, _, step| closed = contact.closed(step));
        closed
    }

    /// The record with this ticket is stored, or cannot be. A ticket of an earlier pair of the same name means nothing
    /// here. Poll afterwards.
    pub fn committed(&mut self, ticket: u64) {
        self.saved.committed(ticket);
    }

    /// A pair of an earlier process. Poll it for the tags it is bound to; it sends nothing before
    /// [`Pair::resume`], but what falls due meanwhile.
    pub fn restored(mut record: PairRecord, context: &mut Context<'_>) -> Self {
        let mut pair = Self {
            consent: Consent { added: record.added, sip_user_wrote: record.sip_user_wrote },
            saved: Saved::restored(&record),
            ..Self::default()
        };
        let only_wrote = PairRecord { sip_user_wrote: record.sip_user_wrote, ..PairRecord::default() };
        if record != only_wrote {
            let PairRecord { to, from, from_since, .. } = record;
            let roster = Roster { to, from, from_since };
            pair.presence = Some(Box::new(Presence { roster, ..Presence::default() }));
            pair.step(context, |contact, user, step| {
                *contact = ContactWatches::restore(&mut record, step);
                *user = UserWatches::restore(&mut record, step);
            });
        }
        pair
    }

    /// Where there is nothing between the two but that he wrote to the contact, that ends with the partner's entry, as it does
    /// where there is more: when the domain comes back, it may be somebody else's.
    fn forget_words_to_nobody(&mut self, context: &Context<'_>) {
        if self.presence.is_none() && self.consent != Consent::default() && context.domains_are_gone() {
            self.consent = Consent::default();
            self.saved.touch();
        }
    }

    /// Takes up again what was restored. The rules may have changed meanwhile.
    pub fn resume(&mut self, context: &mut Context<'_>) {
        self.forget_words_to_nobody(context);
        // Restored dialogs have jumped ahead with their CSeq: before that is seen it has to be on record, or the process
        // after the next crash would jump to the same numbers.
        let record = self.record(context.now);
        let jumped = record.subscriber.is_some() || !record.notifiers.is_empty();
        let ticket = if jumped { self.saved.awaited() } else { 0 };
        self.known_step(context, |contact, user, step| {
            lapse(contact, step);
            contact.reconsider(step);
            user.reconsider(step);
            if step.consent.added.is_none() {
                // It was taken away between the two processes. As long as there is an endpoint, nothing else ends it.
                user.consent_removed(step);
            }
            contact.resume(step);
            user.resume(step);
        });
        for (after, _) in self.presence.iter_mut().flat_map(|presence| &mut presence.orders) {
            *after = (*after).max(ticket);
        }
    }

    /// A restored pair has waited for its front end for so long that what it showed before the restart cannot be left
    /// standing: the contact sees the SIP user as unavailable, until the front end says what he is (XI-09).
    pub fn out_of_sight(&mut self, context: &mut Context<'_>) {
        self.known_step(context, |contact, _, step| contact.out_of_sight(step));
    }

    /// The front end that holds the subscription was away and is back: it is asked for the state, and for the subscription
    /// if it has forgotten that.
    pub fn front_end_is_back(&mut self, context: &mut Context<'_>) {
        self.known_step(context, |contact, _, step| contact.front_end_is_back(step));
    }

    /// The front end that holds the subscription has been away for too long. Where there are others, one of them is asked;
    /// where there are none, the contact sees the SIP user as unavailable until it is back (XI-09).
    pub fn front_end_stays_away(&mut self, others: bool, context: &mut Context<'_>) {
        self.known_step(context, |contact, _, step| contact.front_end_stays_away(others, step));
    }

    /// What the contact sees, or waits for, comes from a front end.
    pub fn needs_front_end(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| {
            let from = presence.roster.from;
            presence.contact.as_ref().is_some_and(|contact| contact.needs_front_end(from))
        })
    }

    /// The contact watches by a subscription that this front end holds, or is to; `None`: the only one, or whichever takes it.
    pub fn watches_at(&self, front_end: Option<&str>) -> bool {
        self.presence.as_ref().is_some_and(|presence| {
            let from = presence.roster.from;
            presence.contact.as_ref().is_some_and(|contact| contact.watches_at(front_end, from))
        })
    }

    /// The process is going to end: tells the SIP user's endpoints to subscribe elsewhere (EV-15). Our own subscriptions
    /// are left to the record.
    pub fn shutdown(&mut self, context: &mut Context<'_>) {
        self.end_sessions(context);
        self.known_step(context, |_, user, step| user.shutdown(step));
    }

    /// A stop has ended subscriptions of endpoints, and they may still answer.
    pub fn is_ending(&self) -> bool {
        let of_user = |presence: &Presence| presence.user.as_ref().is_some_and(|user| user.is_ending());
        self.has_sessions() || self.presence.as_deref().is_some_and(of_user)
    }

    /// Subscriptions of the SIP user's endpoints, without members of batches. Those that a stop has ended count until the
    /// endpoint has answered.
    pub fn endpoints(&self) -> usize {
        self.presence.as_ref().map_or(0, |presence| presence.user.as_ref().map_or(0, |user| user.endpoints()))
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        self.sessions_timeout(context);
        self.tidy(context.now);
        if self.consent.sip_user_wrote.is_some() && !self.consent.replies_open(context.now.unix()) {
            self.consent.sip_user_wrote = None;
            if !self.saved.is_nothing() {
                self.saved.touch();
            }
        }
        self.known_step(context, |contact, user, step| {
            lapse(contact, step);
            step.contact_is_seen = user.sees_contact(step.roster.to);
            contact.handle_timeout(step);
            user.handle_timeout(step);
        });
    }

    /// The next thing to do; drain it after every input of presence, after [`Pair::committed`], and when
    /// [`Pair::has_output`].
    pub fn poll(&mut self, context: &mut Context<'_>) -> Option<Output> {
        if self.saved.is_dirty() {
            let record = self.record(context.now);
            if let Some((ticket, record)) = self.saved.next(record) {
                return Some(Output::Save { ticket, record });
            }
        }
        if let Some(output) = self.talk.as_mut().and_then(|talk| talk.sessions.pop_output()) {
            return Some(output);
        }
        let presence = self.presence.as_deref_mut()?;
        match presence.orders.front() {
            Some((after, _)) if !self.saved.has(*after) => None,
            Some(_) => presence.orders.pop_front().map(|(_, output)| output),
            None => {
                // Hundreds of thousands of pairs have nothing to say at any one time.
                presence.orders = VecDeque::new();
                if presence.is_nothing(&self.consent) {
                    self.presence = None;
                }
                None
            }
        }
    }

    /// Whether [`Pair::poll`] has to be called after an input that belongs to messages.
    pub fn has_output(&self) -> bool {
        self.saved.is_dirty()
            || self.talk.as_ref().is_some_and(|talk| talk.sessions.has_output())
            || self.presence.as_ref().is_some_and(|presence| !presence.orders.is_empty())
    }

    /// There is more between the two than messages.
    pub fn has_presence(&self) -> bool {
        self.presence.is_some()
    }

    /// What has to outlive the process.
    pub fn record(&self, now: Moment) -> PairRecord {
        let mut record = PairRecord {
            added: self.consent.added,
            sip_user_wrote: self.consent.sip_user_wrote,
            ..PairRecord::default()
        };
        if let Some(presence) = &self.presence {
            (record.to, record.from) = (presence.roster.to, presence.roster.from);
            record.from_since = presence.roster.from_since;
            presence.contact.iter().for_each(|contact| contact.record(&mut record, now));
            presence.user.iter().for_each(|user| user.record(&mut record, now));
        }
        record
    }

    /// What the SIP user may see of the contact.
    pub fn to(&self) -> To {
        self.presence.as_ref().map_or(To::No, |presence| presence.roster.to)
    }

    /// What the contact may see of the SIP user.
    pub fn from(&self) -> From {
        self.presence.as_ref().map_or(From::No, |presence| presence.roster.from)
    }

    /// A step of a pair that has something to do with presence already.
    fn known_step(
        &mut self,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut ContactWatches, &mut UserWatches, &mut Step<'_, '_>),
    ) {
        if self.presence.is_some() {
            self.step(context, work);
        }
    }

    fn step(
        &mut self,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut ContactWatches, &mut UserWatches, &mut Step<'_, '_>),
    ) {
        let Self { consent, saved, presence, .. } = self;
        let Presence { roster, contact, user, orders, lapse_at } = &mut **presence.get_or_insert_default();
        // A half of which nothing is to be remembered is made for the step. It stands in its place, so that a step that
        // fails leaves behind what it has taken.
        let (contact_half, user_half) = (contact.get_or_insert_default(), user.get_or_insert_default());
        let contact_sees_user = contact_half.is_shown();
        let mut step =
            Step { consent, roster, saved, orders, context, contact_sees_user, contact_is_seen: false };
        work(contact_half, user_half, &mut step);
        contact_half.pump(Told::Nothing, &mut step);
        user_half.pump(&mut step);
        contact_half.tidy();
        user_half.tidy();
        let lifetime = step.context.snapshot.consent_lifetime().as_secs();
        let lapses = step.consent.added.map(|added| added.last_subscribe.saturating_add(lifetime));
        let next = lapses.into_iter().chain(contact_half.kept_until(&step)).min();
        *lapse_at = next.map(|unix| instant_at(unix, step.context.now));
        contact.take_if(|contact| contact.is_nothing());
        user.take_if(|user| user.is_nothing());
    }
}

impl Presence {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let contact = self.contact.as_ref().and_then(|contact| contact.deadline());
        let user = self.user.as_ref().and_then(|user| user.deadline());
        [contact, user, self.lapse_at].into_iter().flatten().min()
    }

    /// Nothing would be lost with it.
    pub(super) fn is_nothing(&self, consent: &Consent) -> bool {
        (self.roster.to, self.roster.from, self.roster.from_since) == (To::No, From::No, 0)
            && consent.added.is_none()
            && self.orders.is_empty()
            && self.contact.as_ref().is_none_or(|contact| contact.is_idle())
            && self.user.as_ref().is_none_or(|user| user.is_idle())
    }
}

/// Consent lapses when no SUBSCRIBE came for long.
fn lapse(contact: &mut ContactWatches, step: &mut Step<'_, '_>) {
    let lifetime = step.context.snapshot.consent_lifetime();
    if step.consent.added.is_some() && !step.consent.is_added(lifetime, step.unix()) {
        step.consent.added = None;
        step.saved.touch();
        step.fact(Fact::AddedEnded(AddedEnd::Lapsed));
        withdraw_forbidden(contact, step);
        contact.reconsider(step);
    }
}

/// What consent let pass, and has not left the pair yet, does not.
fn withdraw_forbidden(contact: &mut ContactWatches, step: &mut Step<'_, '_>) {
    for (half, serial) in step.withdraw_forbidden() {
        // Only requests for the contact need it.
        if let Half::Subscriber(epoch) = half {
            contact.failed(epoch, serial, Undelivered::NotSent, step);
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_sip::event::Subscriber;

    use super::*;

    /// Without texts and what is known of resources. A step beyond these numbers costs every pair there is.
    #[test]
    fn a_pair_is_small_and_one_without_presence_is_smaller() {
        assert!(size_of::<Pair>() <= 104, "{}", size_of::<Pair>());
        let both = size_of::<Pair>() + size_of::<Presence>();
        let contact = size_of::<ContactWatches>() + size_of::<Subscriber>();
        let user = size_of::<UserWatches>() + UserWatches::WATCHER;
        assert!(both + contact <= 408, "the contact watches: {both} + {contact}");
        assert!(both + user <= 568, "the user watches: {both} + {user}");
    }
}
