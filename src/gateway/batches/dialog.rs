//! The dialog of a batch with its front end.

use compact_str::CompactString;
use nuncio_sip::event::{self, Undelivered, check_subscribe, unknown_subscription};
use nuncio_sip::hop::{HopFailure, HopGroup, OutRequest};
use nuncio_sip::{HeaderName, Message, Method, Uri};
use nuncio_translate::Moment;
use nuncio_translate::batch::{Batch, BatchOutput, Change, EVENT_LIST, ListError, list};
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::judge::{Consent, Direction, Kind, Question, Snapshot, judge};
use nuncio_translate::pair::{Half, PairKey};
use std::sync::atomic::Ordering;

use super::{Held, Permitted};
use crate::gateway::answers::SipAnswer;
use crate::gateway::presence::Tokens;
use crate::gateway::timers::Due;
use crate::gateway::{Gateway, IdentityNumber, Judged, ReplyTo, Route, ToSipEnvelope};

/// What we are to the front end: a batch may be of contacts of every trust level, so it is no identity of one of them.
const OURSELVES: IdentityNumber = 0;

/// Whether a SUBSCRIBE has a list of resources.
pub(in crate::gateway) fn is_batch(request: &Message) -> bool {
    request.method() == Method::Subscribe
        && request.content_type().ok().flatten().is_some_and(|media| list::is_list(&media))
}

impl Gateway {
    /// A batched SUBSCRIBE outside of any dialog.
    pub(in crate::gateway) fn sip_batch(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let routable = |uri: &Uri<'_>| self.leads_inside(front_end, reply.connection, uri);
        let wanted =
            check_subscribe(request, &self.batches.events, routable).map_err(|answer| self.said(answer))?;
        if !request.supported().any(|tag| tag.eq_ignore_ascii_case(EVENT_LIST)) {
            let why = "it subscribes to a list of resources and does not say that it can read lists (Supported: eventlist)";
            let answer = SipAnswer::new(421, "Extension Required").with("Require", EVENT_LIST);
            return Err(answer.because(Diagnostic::RequestKind, why));
        }
        let user = self.sender(front_end, request)?;
        let changes = self.read_list(request)?;
        self.refuse_if_all_are(user.jid().as_str(), &changes, now)?;
        let port = self.connection(reply.connection);
        let tag = port.and_then(|port| {
            port.step(|connection| connection.to_tag(reply.transaction).map(CompactString::from))
        });
        let Some(tag) = tag else { return Ok(()) };
        let accepted = self.with_batch_context(now, |context| Batch::accept(request, &wanted, &tag, context));
        let (machine, answer) = accepted.map_err(|answer| self.said(answer))?;
        let user = user.jid().as_str();
        let held = Held {
            // Who asks once is answered at once.
            counts: !machine.fetches(),
            stopping: false,
            gathers: false,
            machine,
            key: PairKey::new(user, user),
            front_end: self.front_ends.get(front_end).map_or("", |front_end| &front_end.name).into(),
            watching: std::collections::BTreeMap::new(),
            cseq: 0,
            transaction: reply.transaction,
            refused: Default::default(),
            armed: None,
        };
        if let Some(oldest) = self.batches.insert(&tag, user, held) {
            self.make_room(&oldest, now);
        }
        self.change_members(&tag, &changes, wanted.expires, now);
        self.answer_batch(&tag, reply, answer, now);
        Ok(())
    }

    /// A request inside the dialog of a batch; `None`: it belongs to none.
    pub(in crate::gateway) fn sip_in_batch(
        &self,
        front_end: usize,
        reply: ReplyTo,
        tag: &str,
        request: &Message,
        now: Moment,
    ) -> Option<Result<(), SipAnswer>> {
        let held = self.batches.get(tag)?;
        let mut batch = held.lock();
        if request.method() != Method::Subscribe || !self.speaks_for(front_end, batch.key.local_domain()) {
            return Some(Err(self.said(unknown_subscription())));
        }
        let changes = match is_batch(request).then(|| self.read_list(request)).transpose() {
            Ok(changes) => changes.unwrap_or_default(),
            Err(answer) => return Some(Err(answer)),
        };
        if !batch.machine.has_room_for(&changes) {
            return Some(Err(self.bad_list(&ListError::TooMany)));
        }
        let routable = |uri: &Uri<'_>| self.leads_inside(front_end, reply.connection, uri);
        let answer =
            self.with_batch_context(now, |context| batch.machine.subscribe(request, routable, context));
        if !answer.is_success() {
            return Some(Err(self.said(answer)));
        }
        batch.transaction = reply.transaction;
        batch.front_end = self.front_ends.get(front_end).map_or("", |front_end| &front_end.name).into();
        let (tag, ended) = (CompactString::from(batch.machine.local_tag()), batch.machine.has_ended());
        drop(batch);
        if !ended {
            self.change_members(&tag, &changes, self.batches.events.max_expires, now);
        }
        self.answer_batch(&tag, reply, answer, now);
        Some(Ok(()))
    }

    /// The list in the body.
    fn read_list(&self, request: &Message) -> Result<Vec<Change>, SipAnswer> {
        let encoded =
            request.list(HeaderName::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case("identity"));
        if encoded {
            let why = "its list is compressed or encoded (Content-Encoding), which is not read";
            let answer = SipAnswer::new(415, "Unsupported Media Type").with("Accept-Encoding", "identity");
            return Err(answer.because(Diagnostic::RequestKind, why));
        }
        list::read(&request.body()).map_err(|error| self.bad_list(&error))
    }

    fn bad_list(&self, error: &ListError) -> SipAnswer {
        let (status, why) = (error.status(), error.to_string());
        let phrase = nuncio_sip::StatusCode(status).phrase();
        SipAnswer::new(status, phrase).because(Diagnostic::of_status(status), &why)
    }

    /// Everything of the members that can be known at once is known: the answer leaves, and then what follows from it.
    fn answer_batch(&self, tag: &str, reply: ReplyTo, answer: event::Answer, now: Moment) {
        let Some(held) = self.batches.get(tag) else { return };
        let mut batch = held.lock();
        let policy = self.policy.load();
        let answer = self.with_batch_context(now, |context| {
            batch.machine.gathered(answer, context, &mut |permitted| may_be_shown(&policy, permitted, now))
        });
        self.answers().refused(reply, self.said(answer), now);
        self.carry_under(&policy, &mut batch, now);
        drop(batch);
        // If it has ended, its members do not wait for its timer.
        self.visit_batch(tag, now);
    }

    /// A notification of a batch has its outcome, or has left (`None`). False: it is none of a batch.
    pub(in crate::gateway) fn batch_settled(
        &self,
        half: &Half,
        serial: u32,
        outcome: Option<&Result<Message, HopFailure>>,
        now: Moment,
    ) -> bool {
        let Half::Notifier(tag) = half else { return false };
        let Some(held) = self.batches.get(tag) else { return false };
        let mut batch = held.lock();
        self.with_batch_context(now, |context| match outcome {
            None => batch.machine.sent(serial, context),
            Some(Ok(response)) => batch.machine.response(serial, response, context),
            Some(Err(why)) => batch.machine.failed(serial, Undelivered::from(why), context),
        });
        self.carry_batch(&mut batch, now);
        true
    }

    /// Carries out what a batch wants. What it wants of pairs is left to its timer: a pair's guard may be held.
    pub(super) fn carry_batch(&self, batch: &mut Held, now: Moment) {
        let policy = self.policy.load();
        self.carry_under(&policy, batch, now);
    }

    /// The same: what leaves is judged by this policy, and says so. Under another one it is written anew before it is sent.
    pub(super) fn carry_under(&self, policy: &Snapshot, batch: &mut Held, now: Moment) {
        loop {
            let output = self.with_batch_context(now, |context| {
                batch.machine.poll(context, &mut |permitted| may_be_shown(policy, permitted, now))
            });
            let tag = || batch.machine.local_tag().into();
            match output {
                None => break,
                Some(BatchOutput::Send { serial, request }) => {
                    if !self.push_batch(policy, batch, serial, request, now) {
                        self.with_batch_context(now, |context| {
                            batch.machine.failed(serial, Undelivered::NotSent, context);
                        });
                    }
                }
                Some(BatchOutput::Gather) => {
                    self.timers.schedule(now.instant, Due::Batch(tag()));
                    batch.gathers = true;
                }
                Some(BatchOutput::Ended) => self.timers.schedule(now.instant, Due::Batch(tag())),
                Some(BatchOutput::Released) => self.timers.schedule(now.instant, Due::BatchGone(tag())),
            }
        }
        if let Some(at) = batch.machine.deadline()
            && batch.armed.is_none_or(|armed| at < armed)
        {
            batch.armed = Some(at);
            self.timers.schedule(at, Due::Batch(batch.machine.local_tag().into()));
        }
    }

    /// Hands a notification to the front end that holds the dialog. `false`: it was not taken.
    fn push_batch(
        &self,
        policy: &Snapshot,
        batch: &Held,
        serial: u32,
        request: OutRequest,
        now: Moment,
    ) -> bool {
        let Some(route) = self.route_of_batch(batch) else { return false };
        let envelope = ToSipEnvelope {
            pair: batch.key.clone(),
            serial: u64::from(serial),
            event: Some(Half::Notifier(batch.machine.local_tag().into())),
            sent_ms: now.unix_ms,
            // Under another policy it is written anew.
            judged: Some(Judged {
                generation: policy.generation(),
                consent: Consent::default(),
                kind: Kind::Presence,
                proved: None,
            }),
            brings: None,
        };
        route.events.fetch_add(1, Ordering::Relaxed);
        let push = |group: &mut HopGroup<_>| group.push(request, envelope, now.instant).is_ok();
        let taken = route.hops.feed(push);
        if !taken {
            route.events.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// The way to the front end that holds the dialog.
    pub(super) fn route_of_batch(&self, batch: &Held) -> Option<&Route> {
        let local_domain = batch.key.local_domain();
        let holder = self.dialog_route(OURSELVES, local_domain, &batch.front_end);
        holder.or_else(|| self.route_of(OURSELVES, local_domain))
    }

    pub(super) fn with_batch_context<R>(
        &self,
        now: Moment,
        step: impl FnOnce(&mut event::Context<'_>) -> R,
    ) -> R {
        let mut tokens = Tokens(self);
        step(&mut event::Context { config: &self.batches.events, tokens: &mut tokens, now: now.instant })
    }
}

/// Whether a member's document may still be shown.
fn may_be_shown(policy: &Snapshot, permitted: &Permitted, now: Moment) -> bool {
    let Permitted { pair, judged } = permitted;
    let Some(judged) = judged else { return true };
    let question = Question {
        sip_user: pair.sip_user(),
        contact: pair.contact(),
        contact_domain: pair.remote_domain(),
        direction: Direction::XmppToSip,
        kind: judged.kind,
    };
    judged.generation == policy.generation() || judge(policy, &question, &judged.consent, now.unix()).is_ok()
}
