//! Keeping the next hops of a route as DNS has them (RFC 3263; SIP-13).
//!
//! A domain is asked for again every 30 s, and at once when every next hop has failed. Answers come from the
//! resolver's cache for as long as their TTL says, so DNS is asked no oftener than it allows. What it does not answer changes
//! nothing: who was known before is known on.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::{Lookup, NextHop as Place};
use crate::context::{Context, Source};
use crate::dns::{DnsError, SipLookup, SipTargets, sip_targets};
use crate::gateway::{NextHop, Route};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::now;

/// How soon an answer that has run out in the cache is asked for anew.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The same while no answer has come at all.
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
    let mut listing = Listing::of(&hops.sources);
    if !listing.is_needed() {
        return std::future::pending().await;
    }
    let panics = &context.gateway.counters().tasks_panicked;
    loop {
        let seed = context.gateway.random();
        let look = join_all(listing.searches().map(|(domain, lookup)| async move {
            let (look, question) =
                ("a look-up of front ends", sip_targets(&context.dns, domain, lookup, seed));
            contained(look, panics, question).await.unwrap_or_else(|_| {
                Err(DnsError::Failed { name: domain.to_owned(), detail: INTERNAL_ERROR.to_owned() })
            })
        }));
        let answers = look.await;
        listing.answered(answers, |source, said| {
            let name = context.sip.front_ends.get(source.front_end).map_or("", |front_end| &front_end.name);
            tell(name, said);
        });
        let _ = contained_now("a step of a list of front ends", panics, || {
            listing.apply(route);
            context.gateway.serve_route(route, now());
        });
        let wait = if listing.is_complete() { LOOK_AGAIN } else { LOOK_SOON };
        tokio::select! {
            () = sleep(wait) => {}
            () = route.all_failed() => {}
        }
    }
}

fn tell(front_end: &str, said: Said<'_>) {
    match said {
        Said::Named(found) => {
            let hosts: Vec<_> = found.targets.iter().map(ToString::to_string).collect();
            let (hosts, evidence) = (hosts.join(", "), found.evidence.join("; "));
            info!(%front_end, %hosts, %evidence, "DNS names the hosts of front end {front_end}");
        }
        Said::Nothing { error, known: true } => {
            warn!(%front_end, "DNS does not name the hosts of front end {front_end} any more, those known before are used: {error}");
        }
        Said::Nothing { error, known: false } => {
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
    Nothing { error: &'a DnsError, known: bool },
}

/// The sources of a route, with the last good answer of each.
struct Listing<'a>(Vec<(&'a Source, Known)>);

#[derive(Default)]
struct Known {
    found: Option<SipTargets>,
    error: Option<DnsError>,
}

impl<'a> Listing<'a> {
    fn of(sources: &'a [Source]) -> Self {
        Self(sources.iter().map(|source| (source, Known::default())).collect())
    }

    /// The domains to ask for, in order.
    fn searches(&self) -> impl Iterator<Item = (&'a str, SipLookup)> {
        self.0.iter().filter_map(|(source, _)| match &source.place {
            Place::At(_) => None,
            Place::Of(domain) => Some((domain.as_str(), by(source.lookup))),
        })
    }

    fn is_needed(&self) -> bool {
        self.searches().next().is_some()
    }

    fn is_complete(&self) -> bool {
        self.0.iter().all(|(source, known)| matches!(source.place, Place::At(_)) || known.found.is_some())
    }

    /// Takes the answers to [`Self::searches`]; `tell` hears what is new.
    fn answered(
        &mut self,
        answers: Vec<Result<SipTargets, DnsError>>,
        mut tell: impl FnMut(&Source, Said<'_>),
    ) {
        let asked = self.0.iter_mut().filter(|(source, _)| matches!(source.place, Place::Of(_)));
        for ((source, known), answer) in asked.zip(answers) {
            match answer {
                Ok(found) => {
                    let again = known.error.take().is_some();
                    let changed = known.found.as_ref().is_none_or(|before| !same(before, &found));
                    if changed || again {
                        tell(source, Said::Named(&found));
                    }
                    known.found = Some(found);
                }
                Err(error) => {
                    if known.error.as_ref() != Some(&error) {
                        tell(source, Said::Nothing { error: &error, known: known.found.is_some() });
                    }
                    known.error = Some(error);
                }
            }
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
        Ok(SipTargets { targets: hosts.iter().map(target).collect(), evidence: vec!["asked".to_owned()] })
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

    /// What is told when this is answered.
    fn told(listing: &mut Listing<'_>, answer: Result<SipTargets, DnsError>) -> Vec<String> {
        let mut told = Vec::new();
        listing.answered(vec![answer], |_, said| {
            told.push(match said {
                Said::Named(_) => "named".to_owned(),
                Said::Nothing { known, .. } => format!("nothing, known {known}"),
            });
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
        assert_eq!(told(&mut listing, timeout()), ["nothing, known false"]);
        assert!(!listing.is_complete());
        assert_eq!(told(&mut listing, timeout()), [""; 0]);
        assert_eq!(told(&mut listing, found(&[("a.litware.com", 1), ("b.litware.com", 1)])), ["named"]);
        assert_eq!(told(&mut listing, found(&[("b.litware.com", 1), ("a.litware.com", 1)])), [""; 0]);
        listing.apply(&route);
        let before = shown(&route);
        assert_eq!(before.len(), 3);
        assert_eq!(told(&mut listing, timeout()), ["nothing, known true"]);
        listing.apply(&route);
        assert_eq!(shown(&route), before);
        assert!(route.evidence().iter().any(|line| line.contains("in time")), "{:?}", route.evidence());
        assert_eq!(told(&mut listing, found(&[("b.litware.com", 1), ("a.litware.com", 1)])), ["named"]);
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
