//! Fills the families from the gateway.

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal;

use super::Sources;
use super::catalog::*;
use super::exposition::{Exposition, Format};
use super::process::Process;
use crate::gateway::{Fate, Gateway, Measures, OTHERS, PartnerMeasures, RouteMeasures};

/// In the order of `PartnerMeasures::messages`.
const DIRECTIONS: [&str; 2] = ["sip-to-xmpp", "xmpp-to-sip"];
/// In the order of `PartnerMeasures::attempts`.
const STREAM_DIRECTIONS: [&str; 2] = ["inbound", "outbound"];

pub(super) fn all(sources: &Sources<'_>, format: Format, now: Moment) -> String {
    let measures = sources.gateway.measures();
    let mut out = Exposition::new(format);
    of_process(&mut out, sources);
    of_partners(&mut out, &measures.partners);
    of_streams(&mut out, &measures.partners);
    of_pairs(&mut out, &measures.partners);
    of_front_ends(&mut out, &measures);
    of_routes(&mut out, &measures.routes);
    of_the_whole(&mut out, &measures);
    of_store(&mut out, sources.gateway, now);
    let mut certificates = out.family(&CERTIFICATE);
    for certificate in sources.certificates {
        certificates.add(&[certificate.side, &certificate.name], certificate.not_after);
    }
    let counted = sources.gateway.counters().list();
    for (name, family) in counters() {
        let count = counted.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count);
        out.family(&family).add(&[], count);
    }
    out.finish()
}

fn of_process(out: &mut Exposition, sources: &Sources<'_>) {
    out.family(&BUILD).add(&[env!("CARGO_PKG_VERSION")], 1);
    out.family(&READY).flag(&[], sources.ready.ready);
    let started = sources.gateway.settings().started_ms;
    out.family(&STARTED).real(&[], started as f64 / 1000.0);
    let Process { cpu, resident, open_files, most_files } = Process::read();
    if let Some(cpu) = cpu {
        out.family(&CPU).real(&[], cpu);
    }
    for (family, number) in [(&RESIDENT, resident), (&OPEN_FILES, open_files), (&MOST_FILES, most_files)] {
        if let Some(number) = number {
            out.family(family).add(&[], number);
        }
    }
}

type Partners = [(CompactString, PartnerMeasures)];

fn of_partners(out: &mut Exposition, partners: &Partners) {
    let mut samples = out.family(&PARTNER);
    for (name, of) in partners {
        if let Some((kind, _)) = of.entry {
            samples.add(&[name, &kind.to_string()], 1);
        }
    }
    let mut samples = out.family(&ENABLED);
    for (name, of) in partners {
        if let Some((_, enabled)) = of.entry {
            samples.flag(&[name], enabled);
        }
    }
    let mut samples = out.family(&MESSAGES);
    for (name, of) in partners {
        for (direction, messages) in DIRECTIONS.into_iter().zip(&of.messages) {
            samples.add(&[name, direction, "delivered"], messages.delivered.count());
            for (fate, count) in Fate::ALL.into_iter().zip(messages.fates) {
                samples.add(&[name, direction, fate.name()], count);
            }
        }
    }
    let mut samples = out.family(&MESSAGE_TIME);
    for (name, of) in partners {
        for (direction, messages) in DIRECTIONS.into_iter().zip(&of.messages) {
            samples.distribution(&[name, direction], &messages.delivered);
        }
    }
    let mut samples = out.family(&REFUSALS);
    for (name, of) in partners {
        for (direction, refusals) in DIRECTIONS.into_iter().zip(&of.refusals) {
            for (refusal, count) in Refusal::ALL.into_iter().zip(refusals) {
                samples.add(&[name, direction, refusal.name()], *count);
            }
        }
    }
}

fn of_streams(out: &mut Exposition, partners: &Partners) {
    let mut samples = out.family(&STREAMS);
    for (name, of) in partners {
        for (kind, (up, _)) in &of.streams {
            samples.add(&[name, kind.direction, kind.method, &kind.tls], *up);
        }
    }
    let mut samples = out.family(&ESTABLISHED);
    for (name, of) in partners {
        for (kind, (_, established)) in &of.streams {
            samples.add(&[name, kind.direction, kind.method, &kind.tls], *established);
        }
    }
    let mut samples = out.family(&STREAM_FAILURES);
    for (name, of) in partners {
        for (direction, attempts) in STREAM_DIRECTIONS.into_iter().zip(&of.attempts) {
            samples.add(&[name, direction], attempts.failed);
        }
    }
    let mut samples = out.family(&STREAM_TIME);
    for (name, of) in partners {
        for (direction, attempts) in STREAM_DIRECTIONS.into_iter().zip(&of.attempts) {
            samples.distribution(&[name, direction], &attempts.took);
        }
    }
    let mut samples = out.family(&PROVED_UNTIL);
    for (name, of) in partners {
        if let Some(until) = of.proved_until {
            samples.add(&[name], until);
        }
    }
    let mut samples = out.family(&LANES);
    for (name, of) in partners {
        let lanes = of.lanes;
        for (state, count) in [("open", lanes.open), ("idle", lanes.idle), ("failing", lanes.failing)] {
            samples.add(&[name, state], count as u64);
        }
    }
    let mut samples = out.family(&LANE_QUEUE);
    for (name, of) in partners {
        let lanes = of.lanes;
        let states =
            [("waiting", lanes.waiting), ("replies", lanes.replies), ("unconfirmed", lanes.unconfirmed)];
        for (state, count) in states {
            samples.add(&[name, state], count as u64);
        }
    }
}

fn of_pairs(out: &mut Exposition, partners: &Partners) {
    let mut gauge = |family, number: fn(&PartnerMeasures) -> usize| {
        let mut samples = out.family(family);
        for (name, of) in partners {
            samples.add(&[name], number(of) as u64);
        }
    };
    gauge(&WAITING, |of| of.waiting);
    gauge(&PAIRS, |of| of.pairs);
    gauge(&ENDPOINTS, |of| of.endpoints);
    gauge(&SESSIONS, |of| of.sessions);
    let mut samples = out.family(&SUBSCRIPTIONS);
    for (name, of) in partners {
        for (direction, (pending, active)) in DIRECTIONS.into_iter().zip([of.users_watch, of.contacts_watch])
        {
            samples.add(&[name, direction, "pending"], pending as u64);
            samples.add(&[name, direction, "active"], active as u64);
        }
    }
}

fn of_front_ends(out: &mut Exposition, measures: &Measures<'_>) {
    let front_ends = &measures.front_ends;
    let mut samples = out.family(&FRONT_END_CONNECTIONS);
    for of in front_ends {
        samples.add(&[of.name], of.connections as u64);
    }
    samples.add(&[OTHERS], measures.unlisted_connections as u64);
    let mut samples = out.family(&FRONT_END_REQUESTS);
    for of in front_ends {
        for (method, count) in of.tally.requests() {
            samples.add(&[of.name, method], count);
        }
    }
    let mut samples = out.family(&FRONT_END_RESPONSES);
    for of in front_ends {
        for (class, count) in of.tally.answers() {
            samples.add(&[of.name, class], count);
        }
    }
    let mut samples = out.family(&FRONT_END_TIME);
    for of in front_ends {
        samples.distribution(&[of.name], &of.tally.took());
    }
}

/// Routes under one name are told together: identities have routes of their own to the same front ends.
fn of_routes(out: &mut Exposition, routes: &[RouteMeasures]) {
    let mut named: Vec<(String, &str, [u64; 3], u64)> = Vec::new();
    for route in routes {
        let (domains, holder) = (domains_of(route), route.dialogs_of.as_deref().unwrap_or_default());
        let states = [route.connected, !route.connected && !route.failing, route.failing].map(u64::from);
        let load = route.load as u64;
        match named.iter_mut().find(|(name, of, ..)| *name == domains && *of == holder) {
            Some((.., known, queued)) => {
                known.iter_mut().zip(states).for_each(|(known, more)| *known += more);
                *queued += load;
            }
            None => named.push((domains, holder, states, load)),
        }
    }
    let mut samples = out.family(&ROUTES);
    for (domains, holder, states, _) in &named {
        for (state, count) in ["connected", "idle", "failing"].into_iter().zip(states) {
            samples.add(&[domains, holder, state], *count);
        }
    }
    let mut samples = out.family(&ROUTE_QUEUE);
    for (domains, holder, _, load) in &named {
        samples.add(&[domains, holder], *load);
    }
}

/// The first of them, and how many more there are: a list of hundreds is no label.
fn domains_of(route: &RouteMeasures) -> String {
    match route.domains.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} and {} more", more.len()),
    }
}

fn of_the_whole(out: &mut Exposition, measures: &Measures<'_>) {
    let numbers = [
        (&OWED, measures.owed),
        (&REFUSED_DOMAINS, measures.refused_domains),
        (&OUR_SUBSCRIPTIONS, measures.subscriptions_at_front_ends),
        (&DIALOGS, measures.dialogs),
        (&BATCHES, measures.batches),
    ];
    for (family, number) in numbers {
        out.family(family).add(&[], number as u64);
    }
}

fn of_store(out: &mut Exposition, gateway: &Gateway, now: Moment) {
    let health = gateway.store_health(now);
    out.family(&STORE_FAILING).flag(&[], health.failing.is_some());
    out.family(&STORE_WAITING).add(&[], health.waiting as u64);
    let mut samples = out.family(&STORE_COMMITS);
    samples.add(&["committed"], health.commits).add(&["failed"], health.failures);
    out.family(&STORE_AUDIT_LOST).add(&[], health.audit_lost);
    out.family(&STORE_REFUSED).add(&[], health.refused);
}
