//! Whether the gateway is alive, and whether it is ready: for whoever restarts it, and for whoever sends it traffic.
//!
//! *Alive* means that the tasks move on which everything depends that has to happen by itself: the one that keeps time and the
//! one that runs errands. Only a restart helps a gateway that is not alive, so nothing else is asked here.
//!
//! *Ready* means that what comes now is served as promised. A partner who is out of reach, or a disk that is full, does not
//! count: the first is one partner's trouble, the second is told loudly and costs nothing unless the process dies
//! (docs/operations.md, "The database"). Such things are told beside, as degraded.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use serde::Serialize;

use crate::gateway::{Gateway, RouteStatus};
use crate::store::Fault;

/// How often a task that waits says that it still does.
pub const BEAT: Duration = Duration::from_secs(5);
/// A task that has said nothing for so long is stuck. Long steps say so in between.
pub const STUCK: Duration = Duration::from_secs(30);

/// The signs of life of the tasks that serve all others, and how far the start has come.
#[derive(Debug, Default)]
pub struct Pulse {
    /// The task that calls the gateway when something is due.
    pub timers: Beat,
    /// The task that does what concerns many pairs.
    pub errands: Beat,
    listening: AtomicBool,
}

/// The last sign of life of one task.
#[derive(Debug, Default)]
pub struct Beat {
    first: OnceLock<Instant>,
    /// Milliseconds after the first.
    last: AtomicU64,
}

impl Beat {
    /// The task moves.
    pub fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(*self.first.get_or_init(|| now));
        self.last.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago it said so last; nothing before it has begun.
    fn silent(&self, now: Instant) -> Duration {
        let Some(first) = self.first.get() else { return Duration::ZERO };
        now.saturating_duration_since(*first + Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

impl Pulse {
    /// What the process before this one kept is restored, all listeners are bound, and all tasks run.
    pub fn listens(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Good,
    /// Somebody should look at it; what comes is served all the same.
    Degraded,
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub state: State,
    /// Why it is not good, and what to do about it; or what is not known of it although it counts as good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the gateway is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    pub live: bool,
    pub checks: Vec<Check>,
}

/// Whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    pub ready: bool,
    pub checks: Vec<Check>,
}

impl Check {
    fn good(check: &'static str) -> Self {
        Self { check, state: State::Good, reason: None }
    }

    fn not(check: &'static str, state: State, reason: impl Into<String>) -> Self {
        Self { check, state, reason: Some(reason.into()) }
    }
}

fn none_failed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.state != State::Failed)
}

/// Looks whether it is alive.
pub fn live(pulse: &Pulse, now: Instant) -> Live {
    let one = |check, beat: &Beat| match beat.silent(now) {
        silent if silent <= STUCK => Check::good(check),
        silent => {
            let seconds = silent.as_secs();
            let reason = format!(
                "the task has not moved for {seconds} s; restart the gateway, and report it with the log: it is a bug, unless \
                 the machine had no time for the process"
            );
            Check::not(check, State::Failed, reason)
        }
    };
    let checks = vec![one("timers", &pulse.timers), one("errands", &pulse.errands)];
    Live { live: none_failed(&checks), checks }
}

/// Looks whether it is ready.
pub fn ready(gateway: &Gateway, now: Moment) -> Ready {
    let checks = vec![listening(gateway), store(gateway, now), front_ends(&gateway.route_statuses())];
    Ready { ready: none_failed(&checks), checks }
}

fn listening(gateway: &Gateway) -> Check {
    const NAME: &str = "listening";
    if !gateway.pulse().listening.load(Ordering::Relaxed) {
        return Check::not(
            NAME,
            State::Failed,
            "the gateway is starting: it has not bound all its listeners yet",
        );
    }
    if gateway.is_stopping() {
        let reason = "the gateway is stopping: it finishes what is under way and takes nothing new";
        return Check::not(NAME, State::Failed, reason);
    }
    Check::good(NAME)
}

fn store(gateway: &Gateway, now: Moment) -> Check {
    const NAME: &str = "store";
    match gateway.store_health(now).failing {
        None => Check::good(NAME),
        Some(failing) => Check::not(NAME, severity(failing.fault), failing.text),
    }
}

/// What is kept in memory meanwhile is written once the disk takes it. That is no prospect where the database itself is not what
/// it was: the longer the gateway takes on what it cannot keep, the more is lost at its end.
const fn severity(fault: Fault) -> State {
    match fault {
        Fault::Full | Fault::ReadOnly | Fault::Denied | Fault::Locked | Fault::Silent | Fault::Other => {
            State::Degraded
        }
        Fault::Damaged
        | Fault::DamagedLog
        | Fault::Future { .. }
        | Fault::Foreign
        | Fault::InUse
        | Fault::Orphaned
        | Fault::Absent
        | Fault::Exists
        | Fault::Replaced => State::Failed,
    }
}

/// A way to front ends that is idle is good: without traffic there need be no connection. Not ready is a gateway of which none
/// of its ways leads anywhere: another one of the pool may have better luck.
fn front_ends(routes: &[RouteStatus]) -> Check {
    const NAME: &str = "front-ends";
    let users: Vec<_> = routes.iter().filter(|route| route.dialogs_of.is_none()).collect();
    let failing: Vec<String> = users
        .iter()
        .filter(|route| route.connected.is_none())
        .filter_map(|route| {
            let failure = route.failure.as_ref()?;
            Some(format!("no front end of {} is reached: {failure}", route.domains.join(", ")))
        })
        .collect();
    let unknown = users.iter().filter(|route| route.connected.is_none() && route.failure.is_none());
    let unknown: Vec<String> = unknown.map(|route| route.domains.join(", ")).collect();
    match failing.len() {
        // Whoever waits for traffic before he sends any would wait for ever: it counts as good, and says what that rests on.
        0 if !unknown.is_empty() => Check {
            check: NAME,
            state: State::Good,
            reason: Some(format!(
                "whether a front end of {} is reached is not known: there is no connection, and nothing was sent that needed one; \
                 “nuncio check connectivity” tries it",
                unknown.join("; ")
            )),
        },
        0 => Check::good(NAME),
        all if all == users.len() => Check::not(NAME, State::Failed, failing.join("; ")),
        _ => Check::not(NAME, State::Degraded, failing.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing;

    fn listening_gateway() -> Gateway {
        let gateway = testing::gateway_of("contoso.example", "fabrikam.example");
        gateway.pulse().listens();
        gateway
    }

    fn states(checks: &[Check]) -> Vec<State> {
        checks.iter().map(|check| check.state).collect()
    }

    fn route(failure: Option<&str>, connected: bool) -> RouteStatus {
        RouteStatus {
            domains: vec!["contoso.example".into()],
            dialogs_of: None,
            load: 0,
            connected: connected.then(|| "pool".into()),
            next_hops: Vec::new(),
            evidence: Vec::new(),
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn a_task_is_alive_until_it_has_said_nothing_for_long() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        pulse.timers.beat(start);
        pulse.errands.beat(start);
        let later = start + Duration::from_secs(3600);
        pulse.timers.beat(later);
        pulse.errands.beat(later);
        assert!(live(&pulse, later + STUCK).live);
        pulse.errands.beat(later + STUCK);
        let found = live(&pulse, later + STUCK + Duration::from_millis(1));
        assert!(!found.live);
        assert_eq!(states(&found.checks), [State::Failed, State::Good]);
    }

    #[test]
    fn nothing_is_stuck_before_it_has_begun() {
        assert!(live(&Pulse::default(), Instant::now()).live);
    }

    #[test]
    fn it_is_ready_from_when_it_listens_until_it_stops() {
        let gateway = testing::gateway_of("contoso.example", "fabrikam.example");
        let now = testing::moment();
        assert!(!ready(&gateway, now).ready, "it has not started");
        gateway.pulse().listens();
        assert!(ready(&gateway, now).ready);
        gateway.end_subscriptions();
        assert!(!ready(&gateway, now).ready, "it stops");
    }

    #[test]
    fn a_full_disk_degrades_and_a_database_that_is_another_one_ends_readiness() {
        assert_eq!(severity(Fault::Full), State::Degraded);
        assert_eq!(severity(Fault::Silent), State::Degraded);
        assert_eq!(severity(Fault::Replaced), State::Failed);
        assert_eq!(severity(Fault::Damaged), State::Failed);
    }

    #[test]
    fn one_way_to_front_ends_is_enough_and_none_is_not() {
        let (idle, up, down) = (route(None, false), route(None, true), route(Some("refused"), false));
        assert_eq!(front_ends(std::slice::from_ref(&up)), Check::good("front-ends"));
        let unknown = front_ends(&[up, idle.clone()]);
        assert_eq!(unknown.state, State::Good, "a load balancer sends nothing before it is ready");
        assert!(unknown.reason.unwrap().contains("contoso.example is reached is not known"));
        assert_eq!(front_ends(&[idle, down.clone()]).state, State::Degraded);
        assert_eq!(front_ends(&[down.clone(), down]).state, State::Failed);
        assert_eq!(front_ends(&[route(Some("the one before"), true)]).state, State::Good);
    }

    #[test]
    fn it_is_written_down_with_its_reasons() {
        let gateway = listening_gateway();
        gateway.end_subscriptions();
        let text = serde_json::to_string(&ready(&gateway, testing::moment())).unwrap();
        assert_eq!(
            text,
            "{\"ready\":false,\"checks\":[{\"check\":\"listening\",\"state\":\"failed\",\"reason\":\"the gateway is \
             stopping: it finishes what is under way and takes nothing new\"},{\"check\":\"store\",\"state\":\"good\"},\
             {\"check\":\"front-ends\",\"state\":\"good\",\"reason\":\"whether a front end of contoso.example is reached is not \
             known: there is no connection, and nothing was sent that needed one; “nuncio check connectivity” tries it\"}]}"
        );
    }
}
