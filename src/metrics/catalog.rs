//! Every family of metrics there is: its name, what it is, and what its labels are.
//!
//! The page `docs/monitoring/metrics.md` is made of this; what is not here cannot be written.

use crate::gateway::Counters;

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Counts up, from the start of the process. Its samples end with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
    /// Always 1, for its labels. Its samples end with `_info`.
    Info,
}

/// A family of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family<'a> {
    /// Without what the names of its samples end with.
    pub name: &'a str,
    pub kind: Kind,
    /// A base unit, which is the end of the name, too.
    pub unit: Option<&'a str>,
    /// In a sentence.
    pub help: &'a str,
    pub labels: &'a [&'a str],
}

/// One without unit.
pub(super) const fn family<'a>(
    name: &'a str,
    kind: Kind,
    help: &'a str,
    labels: &'a [&'a str],
) -> Family<'a> {
    Family { name, kind, unit: None, help, labels }
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal $([$unit:literal])? {$($label:literal),*} $help:literal;)*) => {
        $(pub(super) const $id: Family<'static> = Family {
            unit: families!(@unit $($unit)?),
            ..family($name, Kind::$kind, $help, &[$($label),*])
        };)*

        /// Those that are more than a counter of the gateway as a whole.
        pub const FAMILIES: &[Family<'static>] = &[$($id,)*];
    };
    (@unit) => { None };
    (@unit $unit:literal) => { Some($unit) };
}

families! {
    BUILD: Info "nuncio_build" {"version"}
        "The program that runs.";
    READY: Gauge "nuncio_ready" {}
        "Whether the gateway is ready, as /health/ready says: 1 or 0.";
    STARTED: Gauge "process_start_time_seconds" ["seconds"] {}
        "When the process started, in Unix time.";
    CPU: Counter "process_cpu_seconds" ["seconds"] {}
        "CPU time of the process.";
    RESIDENT: Gauge "process_resident_memory_bytes" ["bytes"] {}
        "Memory of the process that is in use.";
    OPEN_FILES: Gauge "process_open_fds" {}
        "Files and sockets that are open.";
    MOST_FILES: Gauge "process_max_fds" {}
        "Files and sockets that may be open.";

    PARTNER: Info "nuncio_partner" {"partner", "type"}
        "A partner, and how far he is trusted.";
    ENABLED: Gauge "nuncio_partner_enabled" {"partner"}
        "Whether the partner's entry is enabled: 1 or 0.";
    MESSAGES: Counter "nuncio_messages" {"partner", "direction", "outcome"}
        "Messages, by what became of them in the end. Those that may be lost, or failed late, were counted as delivered before.";
    MESSAGE_TIME: Histogram "nuncio_message_duration_seconds" ["seconds"] {"partner", "direction"}
        "From the arrival of a message that was delivered to the evidence for it.";
    REFUSALS: Counter "nuncio_refusals" {"partner", "direction", "rule"}
        "Messages, subscriptions and presence that a rule refused.";
    STREAMS: Gauge "nuncio_streams" {"partner", "direction", "method", "tls"}
        "Streams that are up.";
    ESTABLISHED: Counter "nuncio_streams_established" {"partner", "direction", "method", "tls"}
        "Streams that came about.";
    STREAM_FAILURES: Counter "nuncio_stream_attempts_failed" {"partner", "direction"}
        "Attempts at streams that came to nothing.";
    STREAM_TIME: Histogram "nuncio_stream_setup_duration_seconds" ["seconds"] {"partner", "direction"}
        "How long it took until a stream was established.";
    PROVED_UNTIL: Gauge "nuncio_partner_certificate_expiry_timestamp_seconds" ["seconds"] {"partner"}
        "When the first certificate of those expires that prove who the partner is on streams that are up, in Unix time.";
    LANES: Gauge "nuncio_lanes" {"partner", "state"}
        "Ways from a domain of ours to a domain of the partner: open, with a stream; idle, without need of one; failing, as the last attempt failed.";
    LANE_QUEUE: Gauge "nuncio_lane_stanzas" {"partner", "state"}
        "Stanzas on their way to the partner: waiting; replies, queued or with a place kept for them; unconfirmed, written and not proved processed.";
    WAITING: Gauge "nuncio_messages_waiting" {"partner"}
        "Messages of contacts that wait for their turn towards a front end.";
    PAIRS: Gauge "nuncio_pairs" {"partner"}
        "Pairs of a SIP user and a contact that there is something to know of.";
    SUBSCRIPTIONS: Gauge "nuncio_subscriptions" {"partner", "direction", "state"}
        "Subscriptions to presence: sip-to-xmpp are those of SIP users to contacts. Pending ones are not answered.";
    ENDPOINTS: Gauge "nuncio_subscribed_endpoints" {"partner"}
        "Subscriptions that endpoints of SIP users hold at the gateway for contacts.";
    SESSIONS: Gauge "nuncio_sessions" {"partner"}
        "Sessions of messages with SIP users.";

    FRONT_END_CONNECTIONS: Gauge "nuncio_front_end_connections" {"front_end"}
        "SIP connections with the front end, in both directions; other is those of nobody's front end.";
    FRONT_END_REQUESTS: Counter "nuncio_front_end_requests" {"front_end", "method"}
        "Requests of the front end.";
    FRONT_END_RESPONSES: Counter "nuncio_front_end_responses" {"front_end", "class"}
        "Final responses of the front end to requests of ours; none is those that nobody answered.";
    FRONT_END_TIME: Histogram "nuncio_front_end_response_duration_seconds" ["seconds"] {"front_end"}
        "How long a request of ours took to be answered, with the time it waited for a connection.";
    ROUTES: Gauge "nuncio_routes" {"domains", "dialogs_of", "state"}
        "Ways to front ends, by the domains of their users, or the front end for whose dialogs they are: connected, idle, or failing, as the last attempt failed.";
    ROUTE_QUEUE: Gauge "nuncio_route_requests" {"domains", "dialogs_of"}
        "Requests that wait for a front end or its answer.";

    OWED: Gauge "nuncio_owed" {}
        "What has been taken on and is not finished: messages, notices, answers.";
    REFUSED_DOMAINS: Gauge "nuncio_refused_domains" {}
        "Domains on record that knocked and are no partners.";
    OUR_SUBSCRIPTIONS: Gauge "nuncio_front_end_subscriptions" {}
        "Subscriptions of the gateway at front ends, on behalf of contacts.";
    DIALOGS: Gauge "nuncio_dialogs" {}
        "SIP dialogs, in both roles.";
    BATCHES: Gauge "nuncio_batches" {}
        "Batched subscriptions of front ends.";

    STORE_FAILING: Gauge "nuncio_store_failing" {}
        "Whether nothing can be saved at the moment: 1 or 0.";
    STORE_WAITING: Gauge "nuncio_store_waiting_records" {}
        "Records that are not on the disk yet.";
    STORE_COMMITS: Counter "nuncio_store_transactions" {"outcome"}
        "Transactions of the store: committed or failed.";
    STORE_AUDIT_LOST: Counter "nuncio_store_audit_entries_lost" {}
        "Entries of the audit trail that were given up because too many waited.";
    STORE_REFUSED: Counter "nuncio_store_records_refused" {}
        "Records that the database refused for what is in them. Always a bug.";
    CERTIFICATE: Gauge "nuncio_certificate_expiry_timestamp_seconds" ["seconds"] {"side", "name"}
        "When a certificate of ours expires, in Unix time.";
}

/// Counters of the gateway that [`MESSAGES`] has, by partner.
pub(super) const COVERED: [&str; 7] = [
    "sip_to_xmpp_delivered",
    "sip_to_xmpp_failed",
    "sip_to_xmpp_may_be_lost",
    "xmpp_to_sip_delivered",
    "xmpp_to_sip_failed",
    "xmpp_to_sip_failed_late",
    "xmpp_to_sip_refused",
];

/// Counters whose metric is called otherwise: to those who read metrics, `us` are microseconds.
const RENAMED: [(&str, &str); 1] = [("sip_requests_not_for_us", "nuncio_sip_requests_not_crossing")];

/// The counters of the gateway as a whole that stand for themselves, in the order of [`Counters::list`]: each with its name
/// there.
pub(super) fn counters() -> impl Iterator<Item = (&'static str, Family<'static>)> {
    let own = Counters::ALL.iter().filter(|(name, ..)| !COVERED.contains(name));
    own.map(|(name, metric, help)| {
        let renamed = RENAMED.iter().find(|(renamed, _)| renamed == name).map(|(_, metric)| *metric);
        (*name, family(renamed.unwrap_or(metric), Kind::Counter, help.trim_start(), &[]))
    })
}

/// Every family there is.
pub fn all() -> Vec<Family<'static>> {
    FAMILIES.iter().copied().chain(counters().map(|(_, family)| family)).collect()
}

impl Family<'_> {
    /// The names of its samples.
    pub fn samples(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            other => &[other.suffix()],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_end_of_the_name_and_no_name_is_there_twice() {
        let all = all();
        for family in &all {
            assert!(
                family.unit.is_none_or(|unit| family.name.ends_with(&format!("_{unit}"))),
                "{}",
                family.name
            );
            assert!(family.help.ends_with('.'), "{}: {}", family.name, family.help);
        }
        let mut names: Vec<_> = all.iter().flat_map(Family::samples).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }

    #[test]
    fn what_is_counted_by_partner_is_a_counter() {
        let known = |covered: &&str| Counters::ALL.iter().any(|(name, ..)| name == covered);
        assert!(COVERED.iter().all(known));
    }
}
