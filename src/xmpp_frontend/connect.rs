//! Serving a lane: finding the partner, opening a stream, and running it.

use std::sync::Arc;
use std::time::Instant;

use nuncio_xmpp::Domain;
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{OutboundConfig, Redirect, Retry};
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tracing::{debug, warn};

use super::outbound::LaneSession;
use super::reach::{Failures, dns_failure, follow, handshake, search, take_unusable};
use crate::context::Context;
use crate::dns::Candidate;
use crate::gateway::attempts::{Outcome, Recorder, Step};
use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants, TermsOfNow};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::dial::{Tried, dial, targets};
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::race::Race;
use crate::net::session::{End, Session};

/// Serves a lane until the gateway has stopped.
pub async fn serve(context: Arc<Context>, key: LaneKey, lane: Arc<LanePort>) {
    let open = || {
        let (context, key, lane) = (Arc::clone(&context), key.clone(), Arc::clone(&lane));
        async move { open(&context, &key, &lane).await }
    };
    keep(&context.gateway, &key, &lane, open).await;
}

/// Keeps the clock of a lane, and opens a stream when it asks. A panic on the way is a failure of the stream, never the
/// end of the lane.
async fn keep<F: Future<Output = LaneWants>>(
    gateway: &Gateway,
    key: &LaneKey,
    lane: &LanePort,
    open: impl Fn() -> F,
) {
    let panics = &gateway.counters().tasks_panicked;
    let mut wants = LaneWants::default();
    loop {
        let outputs = || gateway.serve_idle_lane(key, lane, now());
        let served =
            contained_now("a step of a lane", panics, outputs).unwrap_or_else(|_| Some(LaneWants::default()));
        let Some(now_wants) = served else {
            // A stream of the partner's carries it, whose session sees to everything until it gives the lane back.
            wants.connect = false;
            lane.wake().notified().await;
            continue;
        };
        wants |= now_wants;
        if wants.connect {
            // Asked each time: it may have been ordered by what the rules of then allowed.
            if let Err(refusal) = gateway.policy().open_partner(&key.remote).map(drop) {
                gateway.may_not_connect(key, lane, refusal);
                wants.connect = false;
                continue;
            }
            // Held until the stream has ended.
            let Some(_place) = gateway.outbound_place(key, lane, now()) else {
                wants.connect = false;
                continue;
            };
            // In a box: a lane without a stream needs no room for one.
            let opened = contained("a stream to a partner", panics, Box::pin(open())).await;
            wants = opened.unwrap_or_else(|_| {
                let failure = Failure::new(FailureKind::Negotiation, INTERNAL_ERROR);
                // Of a lane that it carried, its session has told already when it was dropped.
                let random = rand::random();
                lane.step(|lane| lane.connect_failed(failure, random, now().instant));
                LaneWants::default()
            });
        } else if wants.close {
            return;
        } else {
            idle(lane).await;
        }
    }
}

/// Waits until the lane has something to say or its time has come.
async fn idle(lane: &LanePort) {
    let wake = lane.wake();
    match lane.step(|lane| lane.deadline()) {
        None => wake.notified().await,
        Some(deadline) => tokio::select! {
            () = wake.notified() => {}
            () = sleep_until(deadline.into()) => lane.step(|lane| lane.handle_timeout(now().instant)),
        },
    }
}

/// Why what was under way is not needed any more.
enum GivenUp {
    /// The time that a stopping gateway has for its streams is over.
    Stopping,
    /// A stream that the partner opened carries the lane (XEP-0288).
    Superseded,
    /// One carried it, and a stopping gateway has nothing left to send.
    Drained,
}

impl From<GivenUp> for Failure {
    fn from(why: GivenUp) -> Self {
        match why {
            GivenUp::Stopping => Self::new(FailureKind::Shutdown, "the gateway is stopping"),
            GivenUp::Drained => Self::new(FailureKind::Shutdown, "nothing is left to send"),
            GivenUp::Superseded => {
                Self::new(FailureKind::Negotiation, "a stream of the partner's is used instead")
            }
        }
    }
}

/// Runs `work` while the lane's own clock goes on: what waits too long is reported meanwhile.
async fn meanwhile<T>(
    context: &Context,
    key: &LaneKey,
    lane: &LanePort,
    work: impl Future<Output = T>,
) -> Result<T, GivenUp> {
    tokio::select! {
        result = work => Ok(result),
        () = context.hurry.cancelled() => Err(GivenUp::Stopping),
        needless = not_needed(&context.gateway, key, lane) => Err(needless),
    }
}

/// Serves the lane until what is under way for it is not needed any more.
async fn not_needed(gateway: &Gateway, key: &LaneKey, lane: &LanePort) -> GivenUp {
    loop {
        idle(lane).await;
        match gateway.serve_idle_lane(key, lane, now()) {
            None => return GivenUp::Superseded,
            Some(LaneWants { close: true, .. }) => return GivenUp::Drained,
            // A connection is what is under way, also for a lane that lost another stream meanwhile and asks anew; the rest is
            // wanted of streams that are there.
            Some(_) => {}
        }
    }
}

/// Opens a stream to the partner and runs it to its end. Says what the lane wanted when it ended.
async fn open(context: &Arc<Context>, key: &LaneKey, lane: &Arc<LanePort>) -> LaneWants {
    let began = now();
    let mut attempt = Attempt {
        context,
        key,
        lane,
        recorder: Some(Recorder::outbound(&key.local, &key.remote, began)),
        failures: Failures::default(),
        redirect: None,
        under: context.gateway.terms_of_now(),
    };
    let mut failure = match attempt.run().await {
        Ok(wants) => return wants,
        Err(failure) => failure,
    };
    if lane.step(|lane| lane.is_open()) {
        debug!(partner = %key.remote, local = %key.local, "a stream of the partner's carries the lane meanwhile");
        return LaneWants::default();
    }
    if lane.step(|lane| lane.is_drained()) {
        return LaneWants { close: true, ..LaneWants::default() };
    }
    if context.stop.is_cancelled() {
        failure.kind = FailureKind::Shutdown;
    }
    let now = now();
    if let Some(recorder) = attempt.recorder.take() {
        let record = recorder.finish(Outcome::Failed(failure.text.to_string()), now.instant);
        context.gateway.keep_attempt(&key.remote, record);
    }
    warn!(partner = %key.remote, local = %key.local, "no stream to partner {}: {failure}", key.remote);
    let random = context.gateway.random();
    lane.step(|lane| lane.connect_failed(failure, random, now.instant));
    context.gateway.lane_unreachable(key);
    LaneWants::default()
}

/// One search for a stream, over all addresses of the partner.
struct Attempt<'a> {
    context: &'a Arc<Context>,
    key: &'a LaneKey,
    lane: &'a Arc<LanePort>,
    /// Notes what happens. A session has it while a stream is tried, and keeps it if it comes about.
    recorder: Option<Recorder>,
    failures: Failures,
    /// Where the partner says that he is to be found instead.
    redirect: Option<Redirect>,
    /// The terms under which it began.
    under: TermsOfNow,
}

/// Redirects that are followed one after the other; RFC 6120 §4.9.3.19 has 2 to 5.
const REDIRECTS: usize = 3;

impl Attempt<'_> {
    /// Up to the end of the stream, or why there is none. Terms that change on the way are a new beginning.
    async fn run(&mut self) -> Result<LaneWants, Failure> {
        loop {
            let ended = self.run_once().await;
            if ended.is_ok() || !self.is_outdated() {
                return ended;
            }
            self.under = self.context.gateway.terms_of_now();
            (self.failures, self.redirect) = (Failures::default(), None);
        }
    }

    /// Whether the partner is to be reached in another way than when this began, and at all.
    fn is_outdated(&self) -> bool {
        self.context.gateway.terms_changed(&self.key.remote, self.under) && self.allowed().is_ok()
    }

    /// Whether the rules of this moment let us connect at all.
    fn allowed(&self) -> Result<(), Failure> {
        let refused = self.context.gateway.policy().open_partner(&self.key.remote).map(drop);
        refused.map_err(|refusal| Failure::new(FailureKind::Negotiation, refusal.to_string()))
    }

    /// Under the terms of now.
    async fn run_once(&mut self) -> Result<LaneWants, Failure> {
        let search = search(self.context, &self.key.remote);
        let found = match meanwhile(self.context, self.key, self.lane, search).await? {
            Ok(found) => found,
            Err(error) => {
                self.note(Step::NotFound(error.to_string()));
                return Err(dns_failure(&error));
            }
        };
        let end = now().instant + self.context.xmpp.reach_time;
        let mut found = found;
        for _ in 0..=REDIRECTS {
            self.note(Step::found(&found));
            let candidates = self.usable(found.candidates);
            if let Some(wants) = self.over(&candidates, end).await? {
                return Ok(wants);
            }
            let Some(redirect) = self.redirect.take() else {
                return Err(std::mem::take(&mut self.failures).into_one());
            };
            let follow = follow(self.context, &self.key.remote, &redirect);
            found = meanwhile(self.context, self.key, self.lane, follow).await??;
        }
        let text = format!(
            "it sends us from one host to the next: {REDIRECTS} redirects were followed, not one more"
        );
        Err(Failure::new(FailureKind::Negotiation, text))
    }

    /// Over all addresses, up to the end of the stream that came about at one of them. `None`: none did, or the partner is to
    /// be found elsewhere.
    async fn over(&mut self, candidates: &[Candidate], end: Instant) -> Result<Option<LaneWants>, Failure> {
        let began = now().instant;
        let mut race = Race::new(targets(candidates), end.saturating_duration_since(began), began);
        loop {
            self.allowed()?;
            let Some((candidate, stream)) = self.connection(&mut race, candidates).await? else {
                return Ok(None);
            };
            if let Some(wants) = self.stream(candidate, stream).await? {
                return Ok(Some(wants));
            }
            let superseded = self.lane.step(|lane| lane.is_open());
            if self.redirect.is_some() || superseded || self.is_outdated() {
                return Ok(None);
            }
            race.lost(now().instant);
        }
    }

    fn note(&mut self, step: Step) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now().instant);
        }
    }

    /// Without those at which nothing could come about.
    fn usable(&mut self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        for candidate in take_unusable(&mut candidates, &self.context.gateway.terms(&self.key.remote)) {
            let why = "TLS is switched off for this partner";
            self.note(Step::Skipped { address: candidate.to_string(), why: why.to_owned() });
        }
        if candidates.is_empty() {
            let text = "DNS offers Direct TLS only (_xmpps-server), and TLS is switched off for this partner";
            self.failures.add(FailureKind::Negotiation, text.to_owned());
        }
        candidates
    }

    /// The next connection that comes about; `None`: there is no other.
    async fn connection<'c>(
        &mut self,
        race: &mut Race,
        candidates: &'c [Candidate],
    ) -> Result<Option<(&'c Candidate, TcpStream)>, Failure> {
        let (context, key, lane) = (self.context, self.key, self.lane);
        let told = |tried: Tried<'_>| self.tried(tried);
        let connection = dial(&context.xmpp.leave, race, candidates, told);
        Ok(meanwhile(context, key, lane, connection).await?)
    }

    fn tried(&mut self, tried: Tried<'_>) {
        match tried {
            Tried::Connected(candidate, took) => {
                self.note(Step::connected(candidate, took));
                debug!(partner = %self.key.remote, %candidate, "connected");
            }
            Tried::Failed(candidate, took, error) => {
                self.note(Step::not_connected(candidate, took, error));
                self.failures.add(FailureKind::Unreachable, format!("{candidate}: {error}"));
            }
            Tried::TimeOver(left) => {
                let limit = self.context.xmpp.reach_time;
                let text = format!(
                    "the time for it, {limit:?} (limits.xmpp.reach), is over, {left} addresses not tried"
                );
                self.failures.add(FailureKind::Unreachable, text);
            }
        }
    }

    /// Tries a stream on a connection, and runs it to its end; if a weaker way that the entry allows was advised, once more
    /// on another connection to the same address. `None`: none came about.
    async fn stream(
        &mut self,
        candidate: &Candidate,
        connection: TcpStream,
    ) -> Result<Option<LaneWants>, Failure> {
        let advised = match self.try_stream(candidate, connection, None).await? {
            Ended::Carried(wants) => return Ok(Some(wants)),
            Ended::Failed(None) => return Ok(None),
            Ended::Failed(Some(advised)) => advised,
        };
        let alone = std::slice::from_ref(candidate);
        let mut race = Race::new([1], self.context.xmpp.leave.timeout, now().instant);
        let Some((_, connection)) = self.connection(&mut race, alone).await? else { return Ok(None) };
        match self.try_stream(candidate, connection, Some(advised)).await? {
            Ended::Carried(wants) => Ok(Some(wants)),
            Ended::Failed(_) => Ok(None),
        }
    }

    async fn try_stream(
        &mut self,
        candidate: &Candidate,
        connection: TcpStream,
        retry: Option<Retry>,
    ) -> Result<Ended, Failure> {
        let (context, key) = (self.context, self.key);
        let (Ok(local), Ok(remote)) = (Domain::parse(&key.local), Domain::parse(&key.remote)) else {
            return Err(Failure::new(FailureKind::DomainNotFound, "the lane's domain is malformed"));
        };
        let config = OutboundConfig {
            limits: context.xmpp.limits,
            timeouts: context.xmpp.timeouts,
            terms: context.gateway.terms(&key.remote),
            dialback: context.xmpp.inbound.dialback.clone(),
            direct_tls: candidate.direct_tls,
            retry,
            ..OutboundConfig::new(local, remote)
        };
        let gateway = Arc::clone(&context.gateway);
        let mut session = LaneSession::new(gateway, key.clone(), Arc::clone(self.lane), config, now());
        session.begun_under(self.under);
        session.record(candidate, self.recorder.take());
        run(context, key, self.lane, candidate, connection, &mut session).await;
        if session.was_open() {
            return Ok(Ended::Carried(session.wants()));
        }
        self.recorder = session.recorder();
        let failure = session.failure();
        let why = failure.map_or("the connection ended", |failure| &failure.text);
        let kind = failure.map_or(FailureKind::Negotiation, |failure| failure.kind);
        self.note(Step::NoStream { address: candidate.to_string(), why: why.to_owned() });
        self.failures.add(kind, format!("{candidate}: {why}"));
        self.redirect = session.redirect();
        // It is where he says that he is, or nowhere.
        Ok(Ended::Failed(session.retry().filter(|_| self.redirect.is_none())))
    }
}

/// How an attempt at a stream ended.
enum Ended {
    /// It carried the lane, which wants this now.
    Carried(LaneWants),
    /// It did not come about; this may be tried at once.
    Failed(Option<Retry>),
}

/// Plain text up to STARTTLS (nothing at all with Direct TLS), the handshake, then the stream inside TLS.
async fn run(
    context: &Context,
    key: &LaneKey,
    lane: &LanePort,
    candidate: &Candidate,
    stream: TcpStream,
    session: &mut LaneSession,
) {
    let hurry = Some(&context.hurry);
    let abandon = |session: &mut LaneSession, _| session.abandon();
    let Pumped::StartTls(stream) = pump(stream, session, hurry, abandon).await else { return };
    let handshake = handshake(context, (&key.local, &key.remote), candidate.direct_tls, stream);
    let why = match meanwhile(context, key, lane, handshake).await {
        Ok(Ok((stream, facts, credentials))) => {
            session.presented(credentials);
            session.tls_established(facts, now());
            pump(Box::new(stream), session, hurry, abandon).await;
            return;
        }
        Ok(Err(why)) => why,
        Err(given_up) => Failure::from(given_up).to_string(),
    };
    session.tls_failed(&why, now());
    session.closed(End::Local, now());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
    use tokio::sync::Notify;

    use super::*;
    use crate::gateway::testing::{gateway_of, gateway_with, lane};

    const WHILE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_panic_while_connecting_counts_as_a_failed_attempt_and_the_next_one_follows() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let (key, lane) = lane("contoso.example", "fabrikam.example");
        let (attempts, second) = (AtomicUsize::new(0), Notify::new());
        let open = || async {
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("on purpose");
            }
            second.notify_one();
            std::future::pending().await
        };
        // A reply, which nobody waits for, makes the lane connect, and another one makes it connect again.
        lane.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
        let again = async {
            while gateway.counters().tasks_panicked.get() == 0
                || lane.step(|lane| lane.last_failure().is_none())
            {
                tokio::task::yield_now().await;
            }
            let failure = lane.step(|lane| lane.last_failure().cloned());
            assert_eq!(failure.map(|failure| failure.kind), Some(FailureKind::Negotiation));
            lane.feed(|lane| lane.retry_now());
            lane.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
            second.notified().await;
        };
        tokio::select! {
            () = keep(&gateway, &key, &lane, open) => panic!("the lane is served no longer"),
            () = again => {}
            () = tokio::time::sleep(WHILE) => panic!("there was no second attempt"),
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_partner_who_may_not_come_in_any_more_is_not_called_though_a_lane_asks_for_it() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let (key, lane) = lane("contoso.example", "fabrikam.example");
        lane.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
        let switched_off =
            Partner { domain: key.remote.clone(), partner_type: PartnerType::Federated, enabled: false };
        gateway.set_policy(Snapshot::new(2, [key.local.clone()], [(switched_off, Vec::new())]));
        let open = || async { panic!("he is called") };
        let why = || lane.step(|lane| lane.last_failure().cloned());
        let refused = async {
            while why().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = refused => {}
            () = keep(&gateway, &key, &lane, open) => panic!("the lane is served no longer"),
            () = tokio::time::sleep(WHILE) => panic!("nobody is told"),
        }
        assert_eq!(gateway.counters().tasks_panicked.get(), 0);
        assert_eq!(gateway.streams(), crate::gateway::StreamCount::default());
    }

    /// A stream of the partner's took the lane and ended, between two looks of the one who is on his way to him.
    #[tokio::test]
    async fn an_attempt_for_a_lane_that_has_nothing_left_to_send_ends_with_it() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let (key, lane) = lane("contoso.example", "fabrikam.example");
        lane.step(|lane| {
            lane.push_reply(b"<iq/>".to_vec(), now().instant);
            lane.poll_all();
            assert!(lane.opened_by_peer(now().instant));
            lane.drain();
            lane.closed(None, 0, now().instant);
            assert!(lane.is_drained());
        });
        lane.notify();
        tokio::select! {
            needless = not_needed(&gateway, &key, &lane) => assert!(matches!(needless, GivenUp::Drained)),
            () = tokio::time::sleep(WHILE) => panic!("it goes on"),
        }
    }

    /// The place is held while the way is gone and the stream lasts, and not longer.
    #[tokio::test]
    async fn sec_40_a_lane_beyond_the_limit_opens_no_stream_until_another_one_has_ended() {
        let gateway = gateway_with("contoso.example", "fabrikam.example", |settings| settings.streams = 1);
        let (key, first) = lane("contoso.example", "fabrikam.example");
        let (other, second) = lane("contoso.example", "wingtip.example");
        let partner = |domain: &str| {
            let partner =
                Partner { domain: domain.into(), partner_type: PartnerType::Federated, enabled: true };
            (partner, Vec::new())
        };
        let partners = [&key.remote, &other.remote].map(|domain| partner(domain));
        gateway.set_policy(Snapshot::new(2, [key.local.clone()], partners));
        let (opened, end, ended) = (Notify::new(), Notify::new(), Notify::new());
        let open = || async {
            opened.notify_one();
            end.notified().await;
            LaneWants { close: true, ..LaneWants::default() }
        };
        let first_lane = async {
            keep(&gateway, &key, &first, open).await;
            ended.notify_one();
            std::future::pending::<()>().await;
        };
        let second_open = || async { LaneWants { close: true, ..LaneWants::default() } };
        first.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
        let order = async {
            opened.notified().await;
            second.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
            let why = || second.step(|lane| lane.last_failure().cloned());
            let refused = async {
                while why().is_none() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = refused => {}
                () = keep(&gateway, &other, &second, second_open) => panic!("one past the limit was opened"),
            }
            assert_eq!(why().map(|failure| failure.kind), Some(FailureKind::TooManyStreams));
            end.notify_one();
            ended.notified().await;
            second.feed(|lane| lane.retry_now());
            second.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
            keep(&gateway, &other, &second, second_open).await;
        };
        tokio::select! {
            () = first_lane => {}
            () = order => {}
            () = tokio::time::sleep(WHILE) => panic!("the place was not given back"),
        }
        assert_eq!(gateway.streams(), crate::gateway::StreamCount::default());
    }
}
