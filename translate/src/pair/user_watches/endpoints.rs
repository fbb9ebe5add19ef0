//! The SIP user's endpoints: their SUBSCRIBEs, and what they are shown.

use std::time::{Duration, Instant};

use nuncio_sip::Message;
use nuncio_sip::event::{
    Answer, Document, Notifier, NotifierOutput, NotifyState, TerminateReason, Undelivered,
    unknown_subscription,
};
use nuncio_xmpp::BareJid;

use super::last_words::LastWords;
use super::{REPEAT, UserWatches, Watcher};
use crate::address::Contact;
use crate::judge::Permit;
use crate::pair::PairKey;
use crate::pair::To;
use crate::pair::output::{Fact, Half, Output, Request};
use crate::pair::presence::{Routable, Subscribing};
use crate::pair::roster::{self, Stanza};
use crate::pair::step::Step;
use crate::presence::document::Stamp;
use crate::presence::to_xmpp::Subscription;
use crate::presence::{Format, Presentity};

/// An endpoint whose subscription another one took the place of may subscribe again after this time. It must not do so
/// at once, or two that call themselves the same would chase each other.
const REPLACED: Duration = Duration::from_secs(3600);
/// How far the stored end of a subscription that its notifications extend may lag behind. After a restart it may end so
/// much earlier than the endpoint thinks, and is begun anew then.
const EXPIRY_LAG: Duration = Duration::from_secs(600);

impl UserWatches {
    /// A SUBSCRIBE outside of any dialog. Says whether its answer has to wait for the store.
    pub(in crate::pair) fn subscribes(
        &mut self,
        permit: Permit,
        subscribing: Subscribing<'_>,
        step: &mut Step<'_, '_>,
    ) -> (Answer, bool) {
        let Subscribing { request, wanted, tag, endpoint, front_end } = subscribing;
        let active = step.roster.to == To::Yes;
        let identity = step.context.identity();
        let accepted = Notifier::accept(request, wanted, tag, active, &mut step.event_under(identity));
        let (notifier, answer) = match accepted {
            Ok(accepted) => accepted,
            Err(answer) => return (answer, false),
        };
        let others = self.is_watched();
        let fetches = wanted.expires == 0;
        let watcher = Watcher {
            notifier,
            endpoint: endpoint.into(),
            front_end: front_end.into(),
            media: wanted.media,
            identity,
            fetches,
            stored_expiry: None,
        };
        if fetches {
            self.watchers.reserve_exact(1);
            self.watchers.push(watcher);
            self.poll_contact(permit, step);
            return (answer, false);
        }
        self.make_room(endpoint, step);
        self.watchers.reserve_exact(1);
        self.watchers.push(watcher);
        let rule = permit.rule();
        let first = step.consent.added.is_none();
        step.consent.subscribed(step.context.now.unix());
        step.saved.touch();
        if first {
            step.fact(Fact::Added(rule));
        }
        let was = step.roster.to;
        self.ask_contact(permit, others, step);
        let waits = first || was != step.roster.to;
        // What stands in an answer that waits would not be judged again when it leaves.
        let answer = if waits { answer } else { self.piggyback(tag, answer, step) };
        (answer, waits)
    }

    /// Puts the document into the answer, if the endpoint asked for that.
    fn piggyback(&mut self, tag: &str, answer: Answer, step: &mut Step<'_, '_>) -> Answer {
        let mut permit = step.user_may_see().ok();
        let Self { watchers, state, known, stamp, .. } = self;
        let Some(watcher) = watchers.iter_mut().find(|watcher| watcher.notifier.local_tag() == tag) else {
            return answer;
        };
        let mut view = View { known: known.then_some(state), stamp, now_ms: step.context.now.unix_ms };
        let (key, media, fetches) = (step.context.key, watcher.media, watcher.fetches);
        let mut write = |notify: NotifyState| view.written(notify, key, media, fetches, permit.take());
        watcher.notifier.piggyback(answer, &mut step.event_under(watcher.identity), &mut write)
    }

    /// A SUBSCRIBE inside the dialog with this tag; `None`: there is none.
    pub(in crate::pair) fn in_dialog(
        &mut self,
        tag: &str,
        request: &Message,
        front_end: &str,
        routable: Routable<'_>,
        step: &mut Step<'_, '_>,
    ) -> Option<Answer> {
        let watcher = self.watchers.iter_mut().find(|watcher| watcher.notifier.local_tag() == tag)?;
        if request.method() != nuncio_sip::Method::Subscribe {
            return Some(unknown_subscription());
        }
        let answer = watcher.notifier.subscribe(request, routable, &mut step.event_under(watcher.identity));
        if answer.is_success() && watcher.front_end != front_end {
            watcher.front_end = front_end.into();
            step.saved.touch();
        }
        if answer.is_success() && !watcher.notifier.has_ended() {
            step.consent.subscribed(step.context.now.unix());
            step.saved.touch();
            if step.roster.to == To::Pending
                && let Ok(permit) = step.user_may_ask()
            {
                self.remind(permit, step);
            }
            return Some(self.piggyback(tag, answer, step));
        }
        Some(answer)
    }

    pub(in crate::pair) fn response(
        &mut self,
        tag: &str,
        serial: u32,
        response: &Message,
        step: &mut Step<'_, '_>,
    ) {
        if let Some(watcher) = self.watcher(tag) {
            let ended = watcher.notifier.has_ended();
            watcher.notifier.response(serial, response, &mut step.event_under(watcher.identity));
            self.has_left(tag, ended);
        }
    }

    /// The endpoint does not remember what it was told.
    pub(in crate::pair) fn tell_again(&mut self, tag: &str, step: &mut Step<'_, '_>) {
        if let Some(watcher) = self.watcher(tag) {
            watcher.notifier.tell_again(&mut step.event_under(watcher.identity));
        }
    }

    /// A BENOTIFY is on its way.
    pub(in crate::pair) fn left(&mut self, tag: &str, serial: u32, step: &mut Step<'_, '_>) {
        if let Some(watcher) = self.watcher(tag) {
            let ended = watcher.notifier.has_ended();
            watcher.notifier.sent(serial, &mut step.event_under(watcher.identity));
            self.has_left(tag, ended);
        }
    }

    /// The end of a subscription that a stop has ended has been told.
    fn has_left(&mut self, tag: &str, ended: bool) {
        if let (true, Some(leaving)) = (ended, &mut self.leaving) {
            leaving.records.retain(|record| record.dialog.local_tag != tag);
        }
    }

    pub(in crate::pair) fn failed(
        &mut self,
        tag: &str,
        serial: u32,
        why: Undelivered,
        step: &mut Step<'_, '_>,
    ) {
        if let Some(watcher) = self.watcher(tag) {
            watcher.notifier.failed(serial, why, &mut step.event_under(watcher.identity));
        }
    }

    /// Carries out what the machines want.
    pub(in crate::pair) fn pump(&mut self, step: &mut Step<'_, '_>) {
        let mut at = 0;
        while at < self.watchers.len() {
            if self.pump_one(at, step) {
                self.watchers.remove(at);
            } else {
                at += 1;
            }
        }
        if self.watchers.is_empty() {
            self.watchers = Vec::new();
        }
    }

    /// True once it is done with.
    fn pump_one(&mut self, at: usize, step: &mut Step<'_, '_>) -> bool {
        loop {
            let Some(watcher) = self.watchers.get_mut(at) else { return true };
            // Most steps are not about this endpoint: no rule has to be asked.
            if watcher.notifier.is_quiet(step.context.now.instant) {
                watcher.keep_expiry(step);
                return false;
            }
            let permit = step.user_may_see().ok();
            let judged = permit.as_ref().map(|permit| crate::pair::output::Judged {
                rule: permit.rule(),
                kind: crate::judge::Kind::Presence,
                generation: permit.generation(),
                proved: None,
            });
            let Self { watchers, state, known, stamp, .. } = self;
            let Some(watcher) = watchers.get_mut(at) else { return true };
            let (key, media, fetches) = (step.context.key, watcher.media, watcher.fetches);
            let mut permit = permit;
            let mut view = View { known: known.then_some(state), stamp, now_ms: step.context.now.unix_ms };
            let mut write = |notify: NotifyState| view.written(notify, key, media, fetches, permit.take());
            let output = watcher.notifier.poll(&mut step.context.event_under(watcher.identity), &mut write);
            match output {
                None => {
                    watcher.keep_expiry(step);
                    return false;
                }
                Some(NotifierOutput::Bound(tag)) => step.push(Output::Bound(tag)),
                Some(NotifierOutput::Released(tag)) => {
                    step.push(Output::Released(tag));
                    return true;
                }
                Some(NotifierOutput::Send { serial, request }) => {
                    let half = Half::Notifier(watcher.notifier.local_tag().into());
                    let front_end = Some(watcher.front_end.clone());
                    // The end of a subscription shows nothing.
                    let judged = judged.filter(|_| !watcher.notifier.has_ended());
                    step.push(Output::Request(Request {
                        half,
                        serial,
                        request,
                        front_end,
                        identity: Some(watcher.identity.into()),
                        judged,
                    }));
                }
                Some(NotifierOutput::Ended(end)) => {
                    let last = !self.is_watched();
                    self.ended(end, last, step);
                }
                Some(NotifierOutput::Stalled(_)) => {}
            }
        }
    }

    fn watcher(&mut self, tag: &str) -> Option<&mut Watcher> {
        self.watchers.iter_mut().find(|watcher| watcher.notifier.local_tag() == tag)
    }

    /// A new subscription takes the place of an older one of the same endpoint, or of the one that ends first.
    fn make_room(&mut self, endpoint: &str, step: &mut Step<'_, '_>) {
        let end = |why: LastWords, watcher: &Watcher, step: &Step<'_, '_>| {
            why.of(watcher, TerminateReason::Probation, Some(REPLACED), step)
        };
        let live = |watcher: &&mut Watcher| !watcher.notifier.has_ended();
        for watcher in self.watchers.iter_mut().filter(live).filter(|watcher| *watcher.endpoint == *endpoint)
        {
            watcher
                .notifier
                .terminate(end(LastWords::Replaced, watcher, step), &mut step.event_under(watcher.identity));
        }
        if self.watchers.iter_mut().filter(live).count() >= step.context.config.endpoints {
            let expiry = |watcher: &&mut Watcher| watcher.notifier.expires_at();
            if let Some(watcher) = self.watchers.iter_mut().filter(live).min_by_key(expiry) {
                watcher.notifier.terminate(
                    end(LastWords::TooMany, watcher, step),
                    &mut step.event_under(watcher.identity),
                );
            }
        }
        // Their last NOTIFYs may take a while; no more of them than of living ones are waited for.
        let most = step.context.config.endpoints.saturating_mul(2);
        while self.watchers.len() >= most {
            let Some(at) = self.watchers.iter().position(|watcher| watcher.notifier.has_ended()) else {
                return;
            };
            let watcher = self.watchers.remove(at);
            step.push(Output::Released(watcher.notifier.local_tag().into()));
        }
    }

    /// An endpoint subscribed: the contact is asked for consent, or for his presence if he has given it (PR-36).
    fn ask_contact(&mut self, permit: Permit, others: bool, step: &mut Step<'_, '_>) {
        match step.roster.to {
            To::No => {
                let (mut to, mut from) = (step.roster.to, step.roster.from);
                roster::outbound(&mut to, &mut from, Stanza::Subscribe);
                step.set_to(to);
                self.ask(permit, Subscription::Subscribe, step);
            }
            To::Pending => self.remind(permit, step),
            To::Yes if others && self.known => {}
            To::Yes => {
                self.ask_again = true;
                if self.passing.answer_until.is_none() {
                    self.tries = 0;
                    self.ask(permit, Subscription::Probe, step);
                }
            }
        }
    }

    /// He may not have got the request; if he has, his server does not show it to him twice (RFC 6121 §A.3).
    fn remind(&mut self, permit: Permit, step: &mut Step<'_, '_>) {
        let now = step.context.now.instant;
        if self.asked.as_ref().is_none_or(|asked| asked.at + REPEAT <= now) {
            self.ask(permit, Subscription::Subscribe, step);
        }
    }

    /// Somebody wants to know once: what is known is shown at once, and what is not is asked for (PR-37).
    fn poll_contact(&mut self, permit: Permit, step: &mut Step<'_, '_>) {
        let now = step.context.now.instant;
        let lately = self.asked.as_ref().is_some_and(|asked| {
            asked.what == Subscription::Probe && asked.at + step.context.config.answer > now
        });
        if !self.known && !lately && step.roster.to != To::Pending {
            self.ask(permit, Subscription::Probe, step);
            self.passing.polled_until = Some(now + super::POLLED);
        }
    }
}

/// What there is to be seen of the contact.
struct View<'a> {
    /// `None`: nothing is known.
    known: Option<&'a mut Presentity>,
    stamp: &'a mut Stamp,
    now_ms: u64,
}

impl View<'_> {
    /// The document of a notification, or of the answer that stands for one.
    fn written(
        &mut self,
        notify: NotifyState,
        key: &PairKey,
        media: &str,
        fetches: bool,
        permit: Option<Permit>,
    ) -> Option<Document> {
        let shown = visible(notify, fetches, self.known.as_deref(), permit)?;
        *self.stamp = self.stamp.next(self.now_ms);
        written(key, shown, media, *self.stamp)
    }
}

impl Watcher {
    /// The time of its end is on record. What notifications add to it is not worth a write each.
    fn keep_expiry(&mut self, step: &mut Step<'_, '_>) {
        let expiry = self.notifier.expires_at();
        let lags = |(now, stored): (Instant, Instant)| stored <= now && now <= stored + EXPIRY_LAG;
        if expiry != self.stored_expiry && !expiry.zip(self.stored_expiry).is_some_and(lags) {
            self.stored_expiry = expiry;
            step.saved.touch();
        }
    }
}

/// What a NOTIFY shows: the contact, if he is known and may be seen, or at the end that there is nothing to be seen any
/// more (PR-35), which needs no permit.
fn visible(
    notify: NotifyState,
    fetches: bool,
    known: Option<&Presentity>,
    permit: Option<Permit>,
) -> Option<&Presentity> {
    static NOTHING: Presentity = Presentity { resources: Vec::new() };
    match notify {
        NotifyState::Active => known.filter(|_| permit.is_some()),
        NotifyState::Terminated(TerminateReason::Timeout) if fetches => known.filter(|_| permit.is_some()),
        NotifyState::Terminated(TerminateReason::Timeout) => Some(&NOTHING),
        NotifyState::Pending | NotifyState::Terminated(_) => None,
    }
}

fn written(key: &PairKey, shown: &Presentity, media: &str, stamp: Stamp) -> Option<Document> {
    let contact = Contact::from_jid(&BareJid::parse(key.contact()).ok()?).ok()?;
    let format = Format::named(media);
    let mut body = Vec::with_capacity(512);
    format.write(&contact, shown, stamp, &mut body);
    let language = format.language(shown).map(Into::into);
    Some(Document {
        media: format.media_type(),
        body: body.into(),
        language,
        require: None,
        fields: Vec::new(),
    })
}
