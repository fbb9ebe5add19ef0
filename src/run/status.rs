//! The state of the gateway, written into the log when somebody asks for it (SIGUSR1); and what he
//! can have done at once (SIGUSR2).

use jiff::Timestamp;
use tracing::info;

use crate::gateway::Gateway;
use crate::net::now;

/// Lanes and refused domains listed; the rest is only counted.
const LISTED: usize = 100;

/// Writes what the gateway holds and has counted into the log, a line each.
pub(super) fn log(gateway: &Gateway) {
    let holds = gateway.holdings();
    info!(
        pairs = holds.pairs,
        messages_waiting = holds.waiting,
        most_of_one_pair = holds.waiting_most,
        owed = gateway.owes(),
        subscriptions = holds.subscriptions,
        dialogs = holds.dialogs,
        batches = holds.batches,
        sip_connections = holds.connections,
        inbound_streams = holds.streams.inbound,
        outbound_streams = holds.streams.outbound,
        "status: held now"
    );
    let store = gateway.store_health(now());
    let failing = store.failing.as_ref().map_or("none", |failing| &failing.text);
    info!(waiting = store.waiting, failing, "status: store");
    for route in gateway.route_statuses() {
        let (domains, front_end) = (route.domains.join(", "), route.connected.as_deref().unwrap_or("none"));
        let failure = route.failure.as_deref().unwrap_or("none");
        let requests = route.load;
        let next_hops = route.next_hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match route.dialogs_of {
            Some(dialogs_of) => {
                info!(%dialogs_of, requests, connected_to = front_end, next_hops, failure, "status: way to the holder of dialogs");
            }
            None => info!(
                domains,
                requests,
                connected_to = front_end,
                next_hops,
                failure,
                "status: way to front ends"
            ),
        }
        for said in &route.evidence {
            info!("status: DNS on front ends: {said}");
        }
    }
    let lanes = gateway.lane_statuses();
    for lane in lanes.iter().take(LISTED) {
        info!(
            from = %lane.key.local,
            to = %lane.key.remote,
            stream = if lane.open { "open" } else { "none" },
            waiting = lane.waiting,
            replies = lane.replies,
            unconfirmed = lane.unconfirmed,
            confirmed_since_start = lane.counters.confirmed,
            given_up_unconfirmed = lane.counters.unconfirmed,
            replies_dropped = lane.counters.replies_dropped,
            failure = lane.failure.as_deref().unwrap_or("none"),
            "status: lane to a partner"
        );
    }
    more(lanes.len(), "lanes with less in them");
    attempts(gateway);
    let refused = gateway.refused_domains();
    for (domain, attempts) in refused.iter().take(LISTED) {
        let (count, first, last) = (attempts.count, time(attempts.first), time(attempts.last));
        info!(%domain, attempts = count, first, last, "status: refused domain");
    }
    more(refused.len(), "refused domains, silent for longer");
    counters(gateway, "status: counted since the start");
}

/// Ends every back-off and says how many there were (SIGUSR2).
pub(super) fn retry(gateway: &Gateway) {
    let retried = gateway.retry_now(now().instant);
    info!(
        lanes_to_partners = retried.lanes,
        ways_to_front_ends = retried.routes,
        not_to_the_preferred_one = retried.second_best,
        "SIGUSR2: those that were in back-off need not wait any more; what is queued is tried now, and so are preferred front \
         ends that were away"
    );
}

/// The latest attempts to open streams with partners, a line each, those of one partner together.
fn attempts(gateway: &Gateway) {
    let partners = gateway.attempted_partners();
    for partner in partners.iter().take(LISTED) {
        for attempt in gateway.attempts_with(partner) {
            info!(%partner, "status: attempt: {attempt}");
        }
    }
    more(partners.len(), "partners with attempts");
}

/// Every counter that is not 0, a line each.
pub(super) fn counters(gateway: &Gateway, text: &str) {
    for (name, count) in gateway.counters().list() {
        if count > 0 {
            info!(counter = name, count, "{text}");
        }
    }
}

fn more(count: usize, what: &str) {
    if let Some(more @ 1..) = count.checked_sub(LISTED) {
        info!(more, "status: not listed: {what}");
    }
}

fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}
