//! Keeping the next hops of a route as DNS has them (RFC 3263; SIP-13).
//!
//! A domain is asked for again every 30 s, and at once when every next hop has failed. Answers come from the
//! resolver's cache for as long as their TTL says, so DNS is asked no oftener than it allows. What it does not answer changes
//! nothing: who was known before is known on. Each domain has a pace of its own: one that nobody answers for is asked for ever
//! less often, and the others do not wait for it.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::{Lookup, NextHop as Place};
use crate::context::{Context, Source};
use crate::dns::{DnsError, DnsErrorKind, SipLookup, SipTargets, sip_targets};
use crate::gateway::{NextHop, Route};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::now;

/// How soon an answer that has run out in the cache is asked for anew, and a question that nobody answers at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How soon a question without an answer is asked again; each time it waits twice as long.
const LOOK_SOON: Duration = Duration::from_secs(2);

/// Each source has a range of ranks for itself, for the priorities and services of its records.
const RANKS_PER_SOURCE: u32 = 1 << 20;

/// The next hops that need no look-up.
pub fn given(sources: &[Source]) -> Vec<NextHop> {
    places(sources).filter_map(|(rank, source)| at(rank, source)).collect()
}

fn places(sources: &[Source]) -> impl Iterator<Item = (u32, &Source)> {
    (0u32..).step_by(RANKS_PER_SOURCE as usize).zip(sources)
}

fn at(rank: u32, source: &Source) -> Option<NextHop> {
    match &source.place {
        Place::At(at) => Some(NextHop::new(source.front_end, &at.host.to_string(), at.port).ranked(rank)),
        Place::Of(_) => None,
    }
}

/// Looks up what has to be looked up for the route of this number, again and again.
pub(super) async fn keep(context: &Context, index: usize, route: &Route) {
    let Some(hops) = context.sip.routes.get(index) else { return };
    let listing = Mutex::new(Listing::of(&hops.sources));
    // The same as long as the process lives, so that the same answer means the same hosts.
    let seed = context.gateway.random();
    let searches: Vec<_> = listing.lock().searches().collect();
    join_all(searches.into_iter().map(|search| keep_one(context, (index, route), &listing, search, seed)))
        .await;
    // Nothing is left to be looked up, and the route is served on.
    std::future::pending().await
}

async fn keep_one(
    context: &Context,
    (index, route): (usize, &Route),
    listing: &Mutex<Listing<'_>>,
    Search { place, front_end, domain, lookup }: Search<'_>,
    seed: u64,
) {
    let panics = &context.gateway.counters().tasks_panicked;
    let mut pace = Pace::default();
    loop {
        let known = listing.lock().known(place).cloned();
        let question = sip_targets(&context.dns, domain, lookup, seed, known.as_ref());
        let answer = contained("a look-up of front ends", panics, question).await.unwrap_or_else(|_| {
            Err(DnsError::Failed { name: domain.to_owned(), detail: INTERNAL_ERROR.to_owned() })
        });
        let wait = pace.after(&answer);
        let settled = answer.as_ref().map_or_else(|why| why.kind() == DnsErrorKind::DoesNotExist, |_| true);
        let _ = contained_now("a step of a list of front ends", panics, || {
            let mut listing = listing.lock();
            listing.answered(place, answer, |said| {
                let known = context.sip.front_ends.get(front_end);
                tell(known.map_or("", |front_end| &front_end.name), said);
            });
            listing.apply(route);
        });
        let _ = contained_now("a step of a route", panics, || {
            context.gateway.serve_route(route, now());
            context.gateway.judge_lending(index, now());
        });
        if settled {
            context.sip.unsettled.send_if_modified(|unsettled| unsettled.remove(&front_end));
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = route.all_failed() => {}
        }
    }
}

/// How soon a domain is asked for again.
#[derive(Default)]
struct Pace {
    /// Answers in a row that were none, or not whole.
    failures: u32,
}

impl Pace {
    fn after(&mut self, answer: &Result<SipTargets, DnsError>) -> Duration {
        if answer.as_ref().is_ok_and(|found| found.unanswered.is_none()) {
            self.failures = 0;
            return LOOK_AGAIN;
        }
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1).min(31);
        LOOK_SOON.saturating_mul(factor).min(LOOK_AGAIN)
    }
}

fn tell(front_end: &str, said: Said<'_>) {
    match said {
        Said::Named(found) => {
            let hosts: Vec<_> = found.targets.iter().map(ToString::to_string).collect();
            let (hosts, evidence) = (hosts.join(", "), found.evidence.join("; "));
            info!(%front_end, %hosts, %evidence, "DNS names the hosts of front end {front_end}");
        }
        Said::Nothing { error, left: Left::Before } => {
            warn!(%front_end, "DNS does not name the hosts of front end {front_end} any more, those known before are used: {error}");
        }
        Said::Nothing { error, left: Left::Others } => {
            warn!(%front_end, "DNS does not name all hosts of front end {front_end}, its other next hops are used: {error}");
        }
        Said::Nothing { error, left: Left::Nobody } => {
            warn!(%front_end, "DNS does not name the hosts of front end {front_end}, so it cannot be reached: {error}");
        }
    }
}

/// What is new about a domain.
#[derive(Debug, PartialEq)]
enum Said<'a> {
    /// Other hosts than before, or hosts again.
    Named(&'a SipTargets),
    /// No answer, or that there is nothing, for another reason than the last time.
    Nothing { error: &'a DnsError, left: Left },
}

/// Whom a front end is left with when DNS does not name the hosts of a domain.
#[derive(Debug, PartialEq)]
enum Left {
    /// Those that DNS named before.
    Before,
    /// Those of its other next hops.
    Others,
    Nobody,
}

/// The sources of a route, with the last good answer of each.
struct Listing<'a>(Vec<(&'a Source, Known)>);

#[derive(Default)]
struct Known {
    found: Option<SipTargets>,
    error: Option<DnsError>,
}

/// A domain to ask for.
struct Search<'a> {
    /// The place of its source among those of the route.
    place: usize,
    front_end: usize,
    domain: &'a str,
    lookup: SipLookup,
}

impl<'a> Listing<'a> {
    fn of(sources: &'a [Source]) -> Self {
        Self(sources.iter().map(|source| (source, Known::default())).collect())
    }

    /// The domains to ask for, in order.
    fn searches(&self) -> impl Iterator<Item = Search<'a>> {
        self.0.iter().enumerate().filter_map(|(place, &(source, _))| match &source.place {
            Place::At(_) => None,
            Place::Of(domain) => {
                let (front_end, lookup) = (source.front_end, by(source.lookup));
                Some(Search { place, front_end, domain: domain.as_str(), lookup })
            }
        })
    }

    fn known(&self, place: usize) -> Option<&SipTargets> {
        self.0.get(place).and_then(|(_, known)| known.found.as_ref())
    }

    /// Takes the answer for the domain at this place; `tell` hears what is new.
    fn answered(&mut self, place: usize, answer: Result<SipTargets, DnsError>, tell: impl FnOnce(Said<'_>)) {
        let left = self.left(place);
        let Some((_, known)) = self.0.get_mut(place) else { return };
        match answer {
            Ok(found) => {
                let again = known.error.take().is_some();
                let changed = known.found.as_ref().is_none_or(|before| !same(before, &found));
                if changed || again {
                    tell(Said::Named(&found));
                }
                known.found = Some(found);
            }
            Err(error) => {
                if known.error.as_ref() != Some(&error) {
                    tell(Said::Nothing { error: &error, left });
                }
                known.error = Some(error);
            }
        }
    }

    /// Whom the front end of this source has without a new answer.
    fn left(&self, place: usize) -> Left {
        let Some((of, known)) = self.0.get(place) else { return Left::Nobody };
        if known.found.is_some() {
            return Left::Before;
        }
        let has_some = |source: &Source, known: &Known| {
            source.front_end == of.front_end
                && (matches!(source.place, Place::At(_)) || known.found.is_some())
        };
        match self.0.iter().any(|(source, known)| has_some(source, known)) {
            true => Left::Others,
            false => Left::Nobody,
        }
    }

    fn apply(&self, route: &Route) {
        let sources = (0u32..).step_by(RANKS_PER_SOURCE as usize).zip(&self.0);
        let (mut hops, mut evidence) = (Vec::new(), Vec::new());
        for (rank, (source, known)) in sources {
            hops.extend(at(rank, source));
            let Place::Of(domain) = &source.place else { continue };
            if let Some(found) = &known.found {
                evidence.extend(found.evidence.iter().cloned());
                hops.extend(found.targets.iter().map(|target| {
                    let server_name = match source.lookup {
                        Lookup::Sip => domain.as_str().into(),
                        Lookup::Federation => target.host.as_str().into(),
                    };
                    let hop = NextHop::new(source.front_end, &target.host, target.port);
                    NextHop { server_name, ..hop.ranked(rank.saturating_add(target.rank)) }
                }));
            }
            evidence.extend(known.error.as_ref().map(ToString::to_string));
        }
        let first = self.0.iter().find_map(|(source, known)| Some((&source.place, known.error.as_ref()?)));
        if let (true, Some((domain, error))) = (hops.is_empty(), first) {
            route.nothing_listed(&domain.to_string(), &error.to_string());
        } else {
            route.list(hops, evidence, now().instant);
        }
    }
}

fn by(lookup: Lookup) -> SipLookup {
    match lookup {
        Lookup::Sip => SipLookup::Sip,
        Lookup::Federation => SipLookup::Federation,
    }
}

/// Whether both name the same hosts with the same priorities; among equals the order is chance.
fn same(one: &SipTargets, other: &SipTargets) -> bool {
    let sorted = |targets: &SipTargets| {
        let mut set = targets.targets.clone();
        set.sort_by(|a, b| (a.rank, &a.host, a.port).cmp(&(b.rank, &b.host, b.port)));
        set
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use nuncio_sip::hop::HopConfig;

    use super::*;
    use crate::config::{Domain, Host, HostPort};
    use crate::dns::SipTarget;

    fn domain(name: &str) -> Domain {
        Domain::new(name).unwrap()
    }

    /// A host, then a domain that is looked up.
    fn sources(lookup: Lookup) -> [Source; 2] {
        let at = HostPort { host: Host::Name(domain("fe.contoso.com")), port: 5061 };
        let source = |front_end, place| Source { front_end, place, lookup };
        [source(0, Place::At(at)), source(1, Place::Of(domain("litware.com")))]
    }

    fn found(hosts: &[(&str, u32)]) -> Result<SipTargets, DnsError> {
        let target = |&(host, rank): &(&str, u32)| SipTarget { host: host.to_owned(), port: 5061, rank };
        Ok(SipTargets {
            targets: hosts.iter().map(target).collect(),
            services: vec!["_sips._tcp.litware.com".to_owned()],
            unanswered: None,
            evidence: vec!["asked".to_owned()],
        })
    }

    fn timeout() -> Result<SipTargets, DnsError> {
        Err(DnsError::Timeout { name: "litware.com".to_owned() })
    }

    fn route(sources: &[Source]) -> Route {
        Route::new(Vec::new(), given(sources), HopConfig::default(), 1)
    }

    fn shown(route: &Route) -> Vec<String> {
        let hops = route.next_hops();
        hops.iter().map(|hop| format!("{} {hop} as {}", hop.front_end, hop.server_name)).collect()
    }

    /// What is told when the last of the sources gets this answer.
    fn told(listing: &mut Listing<'_>, answer: Result<SipTargets, DnsError>) -> String {
        let mut told = String::new();
        listing.answered(listing.0.len() - 1, answer, |said| {
            told = match said {
                Said::Named(_) => "named".to_owned(),
                Said::Nothing { left, .. } => format!("nothing, left {left:?}"),
            };
        });
        told
    }

    #[test]
    fn sip_04_who_was_asked_for_has_to_prove_it_and_not_where_dns_led() {
        for (lookup, name) in [(Lookup::Sip, "litware.com"), (Lookup::Federation, "sip.litware.com")] {
            let sources = sources(lookup);
            let (mut listing, route) = (Listing::of(&sources), route(&sources));
            told(&mut listing, found(&[("sip.litware.com", 0)]));
            listing.apply(&route);
            let looked_up = format!("1 sip.litware.com:5061 as {name}");
            assert_eq!(shown(&route), ["0 fe.contoso.com:5061 as fe.contoso.com", &looked_up]);
        }
    }

    #[test]
    fn sip_13_what_stands_first_in_the_configuration_is_preferred_whatever_dns_says() {
        let sources = sources(Lookup::Sip);
        let (mut listing, route) = (Listing::of(&sources), route(&sources));
        told(&mut listing, found(&[("a.litware.com", 0), ("b.litware.com", 65_535)]));
        listing.apply(&route);
        let ranks: Vec<u32> = route.next_hops().iter().map(|hop| hop.rank).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    #[test]
    fn sip_13_what_dns_does_not_answer_changes_nothing_and_is_told_once() {
        let sources = sources(Lookup::Sip);
        let (mut listing, route) = (Listing::of(&sources), route(&sources));
        assert_eq!(told(&mut listing, timeout()), "nothing, left Nobody");
        assert_eq!(told(&mut listing, timeout()), "");
        assert_eq!(told(&mut listing, found(&[("a.litware.com", 1), ("b.litware.com", 1)])), "named");
        assert_eq!(told(&mut listing, found(&[("b.litware.com", 1), ("a.litware.com", 1)])), "");
        listing.apply(&route);
        let before = shown(&route);
        assert_eq!(before.len(), 3);
        assert_eq!(told(&mut listing, timeout()), "nothing, left Before");
        listing.apply(&route);
        assert_eq!(shown(&route), before);
        assert!(route.evidence().iter().any(|line| line.contains("in time")), "{:?}", route.evidence());
        assert_eq!(told(&mut listing, found(&[("b.litware.com", 1), ("a.litware.com", 1)])), "named");
    }

    #[test]
    fn a_front_end_with_another_next_hop_is_not_said_to_be_out_of_reach() {
        let mut sources = sources(Lookup::Sip);
        sources[0].front_end = 1;
        assert_eq!(told(&mut Listing::of(&sources), timeout()), "nothing, left Others");
    }

    #[test]
    fn sip_13_what_has_answered_is_used_although_another_domain_has_not() {
        let [at, of] = sources(Lookup::Sip);
        let sources = [of.clone(), Source { place: Place::Of(domain("wingtip.com")), ..of }, at];
        let (mut listing, route) = (Listing::of(&sources), route(&sources));
        listing.answered(1, found(&[("sip.wingtip.com", 0)]), |_| ());
        listing.apply(&route);
        let hosts: Vec<_> = route.next_hops().iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["sip.wingtip.com:5061", "fe.contoso.com:5061"]);
        let places: Vec<_> = listing.searches().map(|search| (search.place, search.domain)).collect();
        assert_eq!(places, [(0, "litware.com"), (1, "wingtip.com")]);
    }

    #[test]
    fn sip_13_a_domain_that_nobody_answers_for_is_asked_for_ever_less_often() {
        let mut pace = Pace::default();
        let mut wait = |answer: &Result<SipTargets, DnsError>| pace.after(answer).as_secs();
        assert_eq!([(); 7].map(|()| wait(&timeout())), [2, 4, 8, 16, 30, 30, 30]);
        for _ in 0..40 {
            assert_eq!(wait(&timeout()), 30);
        }
        assert_eq!(wait(&found(&[("a.litware.com", 1)])), 30);
        // An answer that is not whole is worth another question.
        let part =
            found(&[("a.litware.com", 1)]).map(|found| SipTargets { unanswered: timeout().err(), ..found });
        assert_eq!([(); 2].map(|()| wait(&part)), [2, 4]);
    }

    #[test]
    fn without_any_next_hop_the_reason_is_known() {
        let sources = &sources(Lookup::Sip)[1..];
        let (mut listing, route) = (Listing::of(sources), route(sources));
        told(&mut listing, timeout());
        listing.apply(&route);
        let why = route.hops.step(|group| group.last_failure().map(ToString::to_string));
        let expected = "litware.com: no DNS server answered the question for litware.com in time";
        assert_eq!(why.as_deref(), Some(expected));
    }
}
