//! What the contact is shown.

use std::num::NonZeroU64;
use std::time::Duration;

use compact_str::CompactString;
use smallvec::SmallVec;

use super::endings::{FAREWELL, FAREWELL_MOST};
use super::{Asks, ContactWatches, Rest};
use crate::pair::From;
use crate::pair::output::Sent;
use crate::pair::presence::Arrived;
use crate::pair::step::{Reply, Step, disclosure};
use crate::presence::to_xmpp::Subscription;
use crate::presence::{MAX_RESOURCES, Presentity, Shown};

impl ContactWatches {
    /// The contact is told what he has not seen yet, as far as the rules of this moment let him.
    pub(super) fn show(&mut self, step: &mut Step<'_, '_>) {
        self.tell(false, step);
    }

    /// The contact is told everything, whether he has seen it or not (XI-05).
    pub(super) fn show_everything(&mut self, step: &mut Step<'_, '_>) {
        self.tell(true, step);
    }

    /// It is time for something that the document foretold, such as the end of a note.
    pub(super) fn time_passed(&mut self, step: &mut Step<'_, '_>) {
        let now_ms = step.context.now.unix_ms;
        if self.document.as_mut().is_some_and(|document| document.time_passed(now_ms)) {
            // It may be small enough.
            self.passing.brief = false;
            self.show(step);
        }
        self.look_ahead(step);
    }

    /// Notes when that will be.
    pub(super) fn look_ahead(&mut self, step: &Step<'_, '_>) {
        let now = step.context.now;
        let at_ms = self.document.as_ref().and_then(Presentity::changes_at);
        if at_ms.is_none() && self.passing.changes_at.is_none() {
            return;
        }
        self.passing.changes_at = at_ms.map(|at_ms| {
            let wait = Duration::from_millis(at_ms.saturating_sub(now.unix_ms));
            now.instant + wait.min(LOOK_AGAIN)
        });
    }

    fn tell(&mut self, everything: bool, step: &mut Step<'_, '_>) {
        let Some(document) = &self.document else { return };
        if step.roster.from != From::Yes {
            return;
        }
        let Ok(permit) = step.contact_may_see() else { return };
        let before: Names = self.shown.names().cloned().collect();
        let brief = self.passing.brief;
        let disclosure = disclosure(&permit, brief, step.context);
        let updates = if everything {
            self.shown.all(document, disclosure)
        } else {
            self.shown.update(document, disclosure)
        };
        let shown = &self.shown;
        let was_shown = !before.is_empty();
        if shown.names().any(|name| !before.contains(name)) {
            step.saved.touch();
        }
        let gone = before.into_iter().filter(|name| !shown.has(name)).collect();
        // After a restart the record may lag behind what he saw: then "unavailable" is said once more.
        let say_so = std::mem::take(&mut self.unsure) && updates.is_empty() && self.shown.is_empty();
        step.show(permit, &updates, brief, Reply::default());
        drop(updates);
        if say_so {
            step.unavailable();
        }
        self.leave(gone, step);
        if self.shown.is_empty() && (was_shown || self.unavailable_since.is_none()) {
            self.unavailable_since = NonZeroU64::new(step.context.now.unix_ms);
        } else if !self.shown.is_empty() {
            self.unavailable_since = None;
        }
    }

    /// Answers a probe from what is known (PR-13, PR-14): about everything, or about one resource, of which nothing is said if
    /// there is none (RFC 6121 §4.3.2).
    pub(super) fn answer(&mut self, reply: Reply<'_>, about: Option<&str>, step: &mut Step<'_, '_>) {
        // What the others of the contact's resources have not seen yet must not be lost on them.
        self.show(step);
        let Some(document) = &self.document else { return };
        let Ok(permit) = step.contact_may_see() else { return };
        let brief = self.passing.brief;
        let mut updates = self.shown.all(document, disclosure(&permit, brief, step.context));
        if let Some(about) = about {
            updates.retain(|update| update.name() == about);
            step.show(permit, &updates, brief, reply);
        } else if updates.is_empty() {
            step.nothing_to_see(permit, reply, self.unavailable_since.map(NonZeroU64::get));
        } else {
            step.show(permit, &updates, brief, reply);
        }
    }

    /// Answers the probe that waited.
    pub(super) fn answer_asks(&mut self, step: &mut Step<'_, '_>) {
        if let Some(asks) = self.passing.existing().and_then(|passing| passing.asks.take()) {
            let reply = Reply { resource: asks.resource.as_deref(), id: &asks.id };
            self.answer(reply, asks.about.as_deref(), step);
        }
    }

    /// Answers a probe of somebody who has no subscription, with what the front end let us fetch (PR-12). It is not
    /// kept: who has no subscription is not told of changes.
    pub(super) fn answer_once(&mut self, document: &Presentity, step: &mut Step<'_, '_>) {
        let Some(asks) = self.passing.asks.take() else { return };
        let Ok(permit) = step.contact_may_see() else { return };
        let reply = Reply { resource: asks.resource.as_deref(), id: &asks.id };
        let brief = self.passing.brief;
        let mut shown = Shown::default();
        let mut updates = shown.update(document, disclosure(&permit, brief, step.context));
        if let Some(about) = &asks.about {
            updates.retain(|update| update.name() == about);
            step.show(permit, &updates, brief, reply);
        } else if updates.is_empty() {
            step.nothing_to_see(permit, reply, None);
        } else {
            step.show(permit, &updates, brief, reply);
        }
    }

    pub(super) fn ask_later(&mut self, probe: &Arrived<'_>, step: &Step<'_, '_>) {
        let until = step.context.now.instant + step.context.config.answer;
        let id: CompactString = probe.id.filter(|id| id.len() <= MAX_ID).unwrap_or_default().into();
        let (resource, about) = (probe.from.map(Into::into), probe.to.map(Into::into));
        self.passing.asks = Some(Asks { resource, about, id, until });
    }

    /// Nothing is known of the SIP user any more: the contact sees him as unavailable.
    pub(super) fn lose_sight(&mut self, step: &mut Step<'_, '_>) {
        self.document = None;
        self.passing.grace_until = None;
        // Whoever cannot be told goes on seeing what he saw: it is taken back, or shown anew, when he can be.
        if step.roster.from != From::Yes || !step.context.partner_is_open() {
            return;
        }
        // After a restart the record may lag behind what he saw.
        let unsure = std::mem::take(&mut self.unsure);
        if self.shown.is_empty() && !unsure {
            return;
        }
        self.unavailable_since = self.unavailable_since.or_else(|| NonZeroU64::new(step.context.now.unix_ms));
        if self.shown.is_empty() {
            return step.unavailable();
        }
        let names = self.shown.names().cloned().collect();
        let updates = self.shown.withdraw();
        step.hide(&updates);
        self.leave(names, step);
    }

    /// The contact is being told that these are gone.
    fn leave(&mut self, names: Names, step: &mut Step<'_, '_>) {
        if !names.is_empty() {
            self.passing.leaving.extend(names);
            self.passing.leaving.sort_unstable();
            self.passing.leaving.dedup();
            self.passing.leaving.truncate(MAX_RESOURCES);
            self.passing.leaving_until = Some(step.context.now.instant + FAREWELL);
            step.saved.touch();
        }
    }

    /// A stanza to the contact was lost. True if it was one of this half.
    pub(in crate::pair) fn lost(&mut self, sent: &Sent, step: &mut Step<'_, '_>) -> bool {
        match (sent, step.roster.from) {
            (Sent::Presence { resource }, From::Yes) => {
                self.shown.lost(resource);
                self.passing.owes.state = true;
            }
            (Sent::Subscription(Subscription::Subscribed), From::Yes) => {
                (self.passing.owes.subscribed, self.passing.owes.state) = (true, true);
            }
            (Sent::Subscription(Subscription::Unsubscribed) | Sent::Presence { .. }, from)
                if from != From::Yes && self.passing.farewell_until.is_some() =>
            {
                if from != From::No {
                    // He asked without having heard it.
                    self.shown.lost("");
                    step.saved.touch();
                }
                self.passing.owes.farewell = true;
                self.passing.farewell_until = None;
                if self.farewell_is_old(step) {
                    self.farewell_ends(step);
                    return true;
                }
            }
            _ => return false,
        }
        self.passing.backoff.lost(step.context);
        if self.passing.owes.farewell
            && let Some(at) = self.passing.backoff.deadline()
        {
            self.passing.farewell_until = Some(at + FAREWELL);
        }
        true
    }

    /// The partner takes no stanza as large as one to the contact. His presence is said again without texts; if it is too
    /// large then, it is left at that until it is another one. True if it was one of this half.
    pub(in crate::pair) fn too_large(&mut self, sent: &Sent, step: &mut Step<'_, '_>) -> bool {
        match (sent, step.roster.from) {
            (Sent::Presence { resource }, From::Yes) => {
                if !std::mem::replace(&mut self.passing.brief, true) {
                    self.shown.lost(resource);
                    self.show(step);
                }
            }
            // The next one who asks is answered so.
            (Sent::Reply, From::Yes) => self.passing.brief = true,
            // It will be as large the next time.
            (Sent::Subscription(Subscription::Subscribed), From::Yes)
            | (Sent::Subscription(Subscription::Unsubscribed) | Sent::Presence { .. }, From::No) => {}
            _ => return false,
        }
        true
    }

    /// Sends what was lost, as it is now.
    pub(super) fn send_again(&mut self, step: &mut Step<'_, '_>) {
        let owes = std::mem::take(&mut self.passing.owes);
        if owes.subscribed && step.roster.from == From::Yes {
            self.say_subscribed_again(step);
        }
        if owes.state {
            if self.document.is_some() {
                self.show(step);
            } else if self.rest != Rest::No || self.unavailable_since.is_some() {
                // What was lost is that he cannot be seen.
                self.lose_sight(step);
            }
        }
        if owes.farewell && step.roster.from != From::Yes {
            self.say_farewell_again(step);
        }
    }

    /// `subscribed` once more, when it may be said.
    pub(super) fn say_subscribed_again(&mut self, step: &mut Step<'_, '_>) {
        let permit = step.contact_may_see();
        // A disabled partner is told when he is enabled again.
        self.passing.owes.subscribed = permit.is_err();
        if let Ok(permit) = permit {
            step.cross(permit, Subscription::Subscribed, "", true);
        }
    }

    /// What the contact saw is taken back once more, and unless he asks for it anew by now, `unsubscribed` is said.
    pub(super) fn say_farewell_again(&mut self, step: &mut Step<'_, '_>) {
        self.passing.farewell_until = Some(step.context.now.instant + FAREWELL);
        // A disabled partner is told when he is enabled again.
        self.passing.owes.farewell = !step.context.partner_is_open();
        if !self.passing.owes.farewell {
            step.unavailable();
            if step.roster.from == From::No {
                step.take_back();
            }
        }
    }

    /// It has been said for so long that it is not said again. To a disabled partner nothing was said.
    fn farewell_is_old(&self, step: &Step<'_, '_>) -> bool {
        let most = step.roster.from_since.saturating_add(FAREWELL_MOST);
        step.unix() >= most && !step.context.partner_is_disabled()
    }

    /// Either he knows by now, or he never will.
    pub(super) fn farewell_ends(&mut self, step: &mut Step<'_, '_>) {
        if self.passing.owes.farewell && !self.farewell_is_old(step) {
            self.passing.farewell_until = Some(step.context.now.instant + FAREWELL);
            return;
        }
        self.passing.owes.farewell = false;
        if step.roster.from == From::No {
            step.roster.from_since = 0;
        }
        step.saved.touch();
    }
}

/// The wall clock may be set meanwhile: longer than this nobody waits for a time that it is to show.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

type Names = SmallVec<[CompactString; 2]>;

/// Longest id of a probe that is repeated in the answer.
const MAX_ID: usize = 1024;
