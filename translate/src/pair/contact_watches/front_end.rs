//! What the front end says to our subscription.

use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::event::{
    Again, Answer, EndReason, SubscriberOutput, SubscriberReport, Undelivered, unknown_subscription,
};
use nuncio_sip::{HeaderName, Message};

use super::{ContactWatches, Rest};
use crate::judge::{Direction, Kind, Refusal};
use crate::pair::From;
use crate::pair::output::{Attempt, Ended, Fact, Half, Judged, Output, Request};
use crate::pair::step::Step;
use crate::presence::to_xmpp::Subscription;
use crate::presence::{DocumentError, Format, Presentity, document};

/// What a NOTIFY says of the SIP user.
#[derive(Debug, Default)]
pub(in crate::pair) enum Told {
    /// It has no document: nothing is known of him.
    #[default]
    Nothing,
    /// Full state.
    All(Presentity),
    /// It has one that is about something else.
    Other,
}

/// A front end that ends subscriptions as soon as they are made is asked again at once only after this time.
const AT_ONCE_EVERY: Duration = Duration::from_secs(60);

impl ContactWatches {
    /// A NOTIFY arrived. Its document is read first: what cannot be read is refused and changes nothing.
    /// Pump what it told afterwards.
    pub(in crate::pair) fn notify(
        &mut self,
        request: &Message,
        front_end: &str,
        step: &mut Step<'_, '_>,
    ) -> (Answer, Told) {
        let told = match read(request, self.document.as_ref(), step) {
            Ok(told) => told,
            Err(_) if ends(request) => Told::Nothing,
            Err(error) => {
                let answer = Answer::plain(error.status()).because(error.to_string());
                return (answer, Told::Nothing);
            }
        };
        let identity = self.identity(step);
        match &mut self.subscriber {
            Some(subscriber) => {
                let answer = subscriber.notify(request, &mut step.event_under(identity));
                if answer.is_success() && self.front_end().unwrap_or_default() != front_end {
                    self.front_end = (!front_end.is_empty()).then(|| Box::new(front_end.into()));
                }
                (answer, told)
            }
            None => (unknown_subscription(), Told::Nothing),
        }
    }

    /// The answer to a request of ours. It may hold a document (`ms-piggyback-first-notify`): pump what it told afterwards. Of
    /// one that cannot be read only the state of the subscription counts, for no answer to it could say so.
    pub(in crate::pair) fn response(
        &mut self,
        epoch: u32,
        serial: u32,
        response: &Message,
        step: &mut Step<'_, '_>,
    ) -> Told {
        let identity = self.identity(step);
        let Some(subscriber) = self.subscriber.as_mut().filter(|_| epoch == self.epoch) else {
            return Told::Nothing;
        };
        subscriber.response(serial, response, &mut step.event_under(identity));
        match response.header(HeaderName::MsPiggybackCSeq) {
            Some(_) => read(response, self.document.as_ref(), step).unwrap_or(Told::Other),
            None => Told::Nothing,
        }
    }

    /// Whether a request with this tag in To is for this half.
    pub(in crate::pair) fn is_bound_to(&self, tag: &str) -> bool {
        self.bound_tag() == Some(tag)
    }

    /// Carries out what the machine wants.
    pub(in crate::pair) fn pump(&mut self, mut told: Told, step: &mut Step<'_, '_>) {
        let mut begins_anew = false;
        loop {
            let Some(output) = self.subscriber.as_mut().and_then(|subscriber| subscriber.poll()) else {
                // All that was said of the one before has been heard.
                if !std::mem::take(&mut begins_anew) {
                    break;
                }
                if self.needs_front_end(step.roster.from) {
                    self.begin(step);
                }
                continue;
            };
            match output {
                SubscriberOutput::Bound(tag) => step.push(Output::Bound(tag)),
                SubscriberOutput::Released(tag) => {
                    // What comes next begins elsewhere, if need be.
                    self.front_end = None;
                    if let Some(document) = &mut self.document {
                        document.outlive_subscription();
                    }
                    step.push(Output::Released(tag));
                    if std::mem::take(&mut self.moves) {
                        begins_anew = true;
                    }
                }
                SubscriberOutput::Send { serial, request } => {
                    let ends = self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_closing());
                    let judged = match step.judge(Direction::XmppToSip, Kind::Subscribe) {
                        // What ends a subscription needs no permit.
                        _ if ends => None,
                        Ok(permit) => Some(Judged::new(permit, Kind::Subscribe)),
                        Err(refusal) => {
                            self.may_not_ask(serial, refusal, step);
                            continue;
                        }
                    };
                    let half = Half::Subscriber(self.epoch);
                    let front_end = self.front_end().map(CompactString::from);
                    step.push(Output::Request(Request {
                        half,
                        serial,
                        request,
                        front_end,
                        identity: Some(self.identity.into()),
                        judged,
                    }));
                }
                SubscriberOutput::Report(report) => self.report(report, std::mem::take(&mut told), step),
            }
        }
        self.settle(step);
    }

    /// It was permitted when it was wanted, and is no more when its time comes: the change of policy is on its way here. It
    /// does not leave, and what the rules forbid ends now.
    fn may_not_ask(&mut self, serial: u32, refusal: Refusal, step: &mut Step<'_, '_>) {
        if self.fetching {
            step.refused(Attempt::ContactProbes, refusal);
        }
        let identity = self.identity(step);
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.failed(serial, Undelivered::NotSent, &mut step.event_under(identity));
        }
        self.reconsider(step);
    }

    fn report(&mut self, report: SubscriberReport, told: Told, step: &mut Step<'_, '_>) {
        match report {
            // PR-02: nothing is known, and nothing is said.
            SubscriberReport::Pending => self.retry.succeeded(),
            SubscriberReport::Active { .. } if self.fetching => self.fetched(told, step),
            SubscriberReport::Active { .. } => self.active(told, step),
            SubscriberReport::Ended { .. } if self.fetching => {
                self.fetching = false;
                self.fetched(told, step);
                self.passing.asks = None;
            }
            SubscriberReport::Refused { .. } | SubscriberReport::Failed { .. } if self.fetching => {
                self.fetching = false;
                self.passing.asks = None;
            }
            SubscriberReport::Ended { reason, again, .. } => self.ended(reason, again, step),
            SubscriberReport::Refused { status, retry_after, refresh } => {
                self.refused(status, retry_after, refresh, step);
            }
            // Nobody wants one.
            SubscriberReport::Failed { .. } if self.rest != Rest::No => {}
            SubscriberReport::Failed { .. } => self.try_later(None, None, step),
        }
    }

    fn active(&mut self, told: Told, step: &mut Step<'_, '_>) {
        self.retry.succeeded();
        self.passing.existing().map(|passing| passing.grace_until.take());
        let before = self.passing.brief.then(|| self.document.clone());
        let document = match told {
            Told::Nothing => Some(Presentity::default()),
            Told::All(document) => Some(document),
            Told::Other => None,
        };
        match (&mut self.document, document) {
            (Some(known), Some(document)) => known.supersede(document),
            (unknown, document @ Some(_)) => *unknown = document,
            (_, None) => {}
        }
        if before.is_some_and(|before| before != self.document) {
            // It may be small enough.
            self.passing.brief = false;
        }
        self.look_ahead(step);
        if step.roster.from == From::Pending
            && let Ok(permit) = step.contact_may_see()
        {
            step.set_from(From::Yes);
            self.farewell_is_over();
            step.fact(Fact::ContactSees(permit.rule()));
            // XI-05: then the presence. A crash between the two is healed at the restart, see `restart`.
            step.cross(permit, Subscription::Subscribed, "", true);
        }
        if step.roster.from == From::Yes {
            self.show(step);
            self.answer_asks(step);
        }
    }

    /// Who has got a subscription meanwhile is told by that.
    fn fetched(&mut self, told: Told, step: &mut Step<'_, '_>) {
        if let Told::All(document) = told
            && step.roster.from == From::No
        {
            self.answer_once(&document, step);
        }
    }

    /// PR-20…PR-28.
    fn ended(&mut self, reason: EndReason, again: Again, step: &mut Step<'_, '_>) {
        if self.rest != Rest::No || !matches!(step.roster.from, From::Yes | From::Pending) {
            return;
        }
        match reason {
            // The machine begins anew by itself if that is wanted by now.
            EndReason::Unsubscribed => return,
            EndReason::Rejected | EndReason::NoResource => return self.turned_away(None, step),
            EndReason::Invariant => {
                self.rest = Rest::Frozen;
                return self.answer_asks(step);
            }
            EndReason::Probation => self.lose_sight(step),
            _ => {}
        }
        match again {
            Again::AtOnce if self.may_begin_at_once(step) => self.begin(step),
            Again::After(wait) => self.try_later(None, Some(wait), step),
            _ => self.try_later(None, None, step),
        }
    }

    /// DEC-09 and DEC-28; see [`ContactWatches::turned_away`].
    fn refused(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
        refresh: bool,
        step: &mut Step<'_, '_>,
    ) {
        if self.rest != Rest::No {
            return;
        }
        match (status, step.roster.from) {
            (403 | 489 | 603, From::Yes | From::Pending) => self.turned_away(Some(status), step),
            // Nobody of that name. In a dialog it may be that nobody remembers the dialog. And of somebody who was seen it may
            // be that a front end has just started, or another one was asked that does not know him: what he agreed to is
            // not given up for that.
            (404 | 410 | 485 | 604, From::Pending) if !refresh => self.turned_away(Some(status), step),
            _ => self.try_later(Some(status), retry_after, step),
        }
    }

    /// The front end does not let the contact see the SIP user, or knows of none. Who has seen nobody yet may not tell the two
    /// apart, nor either from a rule of ours (mission, rule 3): he is told nothing. Who has is told that it is over.
    fn turned_away(&mut self, status: Option<u16>, step: &mut Step<'_, '_>) {
        let told = step.roster.from == From::Yes || self.is_shown();
        self.end(Ended::ByFrontEnd, step);
        if !told {
            step.fact(Fact::TurnedAway { status });
        }
    }

    /// Tries again after a while, a few times. What the contact sees stays as it is for a moment (XI-09).
    fn try_later(&mut self, status: Option<u16>, wait: Option<Duration>, step: &mut Step<'_, '_>) {
        if !matches!(step.roster.from, From::Yes | From::Pending) {
            return;
        }
        match self.retry.failed(wait, &mut step.event()) {
            Some(wait) => {
                if let Some(subscriber) = &mut self.subscriber {
                    subscriber.subscribe_after(wait, &mut step.event());
                }
                if self.document.is_some() || self.is_shown() {
                    let until = step.context.now.instant + step.context.config.grace;
                    self.passing.grace_until.get_or_insert(until);
                }
            }
            None => {
                self.rest = Rest::Exhausted;
                self.lose_sight(step);
                step.fact(Fact::Silent { status });
            }
        }
    }

    fn may_begin_at_once(&self, step: &Step<'_, '_>) -> bool {
        self.begun.is_none_or(|begun| begun.get() + AT_ONCE_EVERY <= step.context.now.instant)
    }

    fn begin(&mut self, step: &mut Step<'_, '_>) {
        if let Ok(permit) = step.contact_may_ask() {
            self.want(permit, step);
        }
    }
}

/// The document of a NOTIFY. A body of a type that we do not read is the machine's to refuse.
fn read(request: &Message, known: Option<&Presentity>, step: &Step<'_, '_>) -> Result<Told, DocumentError> {
    let body = request.body();
    let media = request.content_type().ok().flatten();
    let format = media.as_ref().map_or(Some(Format::Pidf), Format::of);
    let Some(format) = format.filter(|_| !body.is_empty()) else { return Ok(Told::Nothing) };
    let language = request.content_language().find_map(Result::ok);
    let charset = media.as_ref().and_then(|media| media.param("charset"));
    let context = document::Context {
        charset: charset.as_deref(),
        language: language.as_ref().map(|language| language.token),
        idle: step.context.config.idle,
        now_ms: step.context.now.unix_ms,
        known,
    };
    Ok(format.read(&body, context)?.map_or(Told::Other, Told::All))
}

fn ends(request: &Message) -> bool {
    request.subscription_state().ok().flatten().is_some_and(|state| state.is("terminated"))
}
