//! Whether partners let us in, and by what.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::{Cause, Evidence, OutboundConfig, Retry, Terms, TlsFacts};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::barred::{Barred, fix_of};
use super::{Named, PingOutcome, PingResult, Way, Whom};
use crate::checks::{Finding, Findings};
use crate::config::{self, Config, Partner};
use crate::dns::{Candidate, DnsError, DnsErrorKind, Found, host_candidates, xmpp_server_candidates};
use crate::gateway::attempts::{Outcome, Step, brief};
use crate::net::dial::{Tried, dial, targets};
use crate::net::now;
use crate::net::race::Race;
use crate::tls::{self, Proof, TlsStream};
use crate::xmpp_frontend::errand::{self, Came, Handshake, Pinged, Pinging};

/// Partners that are tried at a time.
const AT_ONCE: usize = 8;

/// How long an answer to a ping is waited for, for he may have to look us up and open a stream first; and not longer than we take
/// for that ourselves (limits.xmpp.reach).
const PATIENCE: Duration = Duration::from_secs(20);

/// A domain of a partner, and one of ours that calls it.
#[derive(Clone)]
pub(super) struct Pair<'a> {
    partner: &'a Partner,
    /// His place in the configuration.
    index: usize,
    remote: &'a config::Domain,
    local: &'a config::Domain,
    /// Somebody asked for it, and not for everybody.
    by_name: bool,
    barred: Option<Barred>,
}

/// The domains of those who were meant, each called by one domain of ours for every certificate that we show.
pub(super) fn named<'a>(config: &'a Config, whom: &Whom) -> Named<Pair<'a>> {
    let locals = callers(config);
    let (mut chosen, mut names) = (Vec::new(), Vec::new());
    for (index, partner) in config.partners.iter().enumerate() {
        names.extend(
            whom.names.iter().filter(|name| partner.domains().any(|domain| is(domain, name))).cloned(),
        );
        // The primary domain stands for all of them.
        let whole = whom.names.is_empty() || whom.names.iter().any(|name| is(&partner.domain, name));
        let meant = |domain: &&config::Domain| whole || whom.names.iter().any(|name| is(domain, name));
        for remote in partner.domains().filter(meant) {
            let (by_name, barred) = (!whom.names.is_empty(), Barred::of(config, partner, remote));
            chosen.extend(locals.iter().map(|&local| Pair {
                partner,
                index,
                remote,
                local,
                by_name,
                barred: barred.clone(),
            }));
        }
    }
    Named { chosen, names }
}

fn is(domain: &config::Domain, name: &str) -> bool {
    config::Domain::new(name).is_ok_and(|name| *domain == name)
}

/// One served domain for each certificate: what a partner makes of us depends on that.
fn callers(config: &Config) -> Vec<&config::Domain> {
    let mut shown = HashSet::new();
    config.sip.domains.iter().filter(|domain| shown.insert(config.certificates.of(domain))).collect()
}

pub(super) async fn check(way: &Way<'_>, pairs: &[Pair<'_>]) -> super::Tried {
    let mut each = Vec::with_capacity(pairs.len());
    for pair in pairs {
        each.push(Attempt::new(way, pair.clone()).run());
    }
    let found: Vec<(Vec<Finding>, Option<PingResult>)> = stream::iter(each).buffered(AT_ONCE).collect().await;
    let mut tried = super::Tried::default();
    for (findings, ping) in found {
        tried.findings.extend(findings);
        tried.pings.extend(ping);
    }
    tried
}

/// One attempt to open a stream.
struct Attempt<'a> {
    way: &'a Way<'a>,
    pair: Pair<'a>,
    terms: Terms,
    findings: Findings,
    /// What did not come about on the way, told once it is known whether anything did.
    failures: Vec<Failure>,
    /// What came of the ping on the stream that came about.
    ping: Option<PingResult>,
}

/// What did not come about, and what can be done about it.
struct Failure {
    text: String,
    fix: String,
}

impl<'a> Attempt<'a> {
    fn new(way: &'a Way<'a>, pair: Pair<'a>) -> Self {
        let mut findings = Findings::default();
        findings.about(format!("partner {} from {}", pair.remote.to_unicode(), pair.local.to_unicode()));
        let terms = Terms::new(pair.partner.negotiation, pair.partner.rules);
        // Nobody is there to take what a partner would send back on this stream; he answers on one of his own.
        let terms = Terms { both_ways: false, ..terms };
        Self { way, pair, terms, findings, failures: Vec::new(), ping: None }
    }

    async fn run(mut self) -> (Vec<Finding>, Option<PingResult>) {
        if let Some(barred) = &self.pair.barred {
            barred.tell(self.pair.by_name, &mut self.findings);
            return (self.findings.into_list(), None);
        }
        let asked = now().instant;
        let found = self.search().await;
        let took = brief(now().instant.saturating_duration_since(asked));
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let fix = self.by_proxy().unwrap_or_else(|| not_found(error.kind()).to_owned());
                let text = format!("{} (DNS took {took})", Step::NotFound(error.to_string()));
                self.findings.wrong(text, fix);
                return (self.findings.into_list(), None);
            }
        };
        let step = Step::found(&Found { left_out: Vec::new(), ..found.clone() });
        self.findings.good(format!("{step} (DNS took {took})"));
        for left_out in &found.left_out {
            let fix = "tell the partner; it is tried without";
            self.findings.warning(left_out.to_string(), fix.to_owned());
        }
        let connected = self.over(&found.candidates).await;
        for Failure { text, fix } in std::mem::take(&mut self.failures) {
            // What he says in DNS has nothing to do with it.
            let fix = match (connected, self.by_proxy()) {
                (false, Some(by_proxy)) => format!("{fix}; or {by_proxy}"),
                _ => fix,
            };
            match connected {
                true => self.findings.warning(text, fix),
                false => self.findings.wrong(text, fix),
            }
        }
        (self.findings.into_list(), self.ping)
    }

    /// What to do where the entry says where he is.
    fn by_proxy(&self) -> Option<String> {
        let (proxy, domain) = (self.pair.partner.proxy.as_ref()?, self.pair.partner.domain.as_str());
        Some(format!(
            "correct the proxy of his entry, {proxy}, which is used in place of what DNS says of him: nuncio partner set {domain} \
             proxy=HOST:PORT (proxy= to ask DNS again; where a file declares him, there)"
        ))
    }

    async fn search(&self) -> Result<Found, DnsError> {
        let Way { dns, xmpp, .. } = *self.way;
        match &self.pair.partner.proxy {
            Some(proxy) => {
                let host = proxy.host.to_string();
                let candidates = host_candidates(dns, &host, proxy.port, xmpp.reach.family).await?;
                Ok(Found { candidates, ..Found::default() })
            }
            None => xmpp_server_candidates(dns, self.pair.remote.as_str(), xmpp.reach, rand::random()).await,
        }
    }

    /// Over all addresses; whether one led to a stream, or to the point where only the running gateway can go on.
    async fn over(&mut self, candidates: &[Candidate]) -> bool {
        let (leave, time) = (&self.way.xmpp.leave, self.way.xmpp.reach_time);
        let mut race = Race::new(targets(candidates), time, now().instant);
        loop {
            let (failures, mut took) = (&mut self.failures, Duration::ZERO);
            let told = |tried: Tried<'_>| match tried {
                Tried::Connected(_, after) => took = after,
                failed => failures.extend(not_connected(failed)),
            };
            let Some((candidate, connection)) = dial(leave, &mut race, candidates, told).await else {
                return false;
            };
            if self.stream((candidate, took), connection, None).await {
                return true;
            }
            race.lost(now().instant);
        }
    }

    /// A stream on this connection, and if a weaker way that the entry allows is advised, on one more.
    async fn stream(
        &mut self,
        (candidate, took): (&Candidate, Duration),
        connection: TcpStream,
        retry: Option<Retry>,
    ) -> bool {
        let connected = now().instant;
        let (Ok(local), Ok(remote)) =
            (Domain::parse(self.pair.local.as_str()), Domain::parse(self.pair.remote.as_str()))
        else {
            return false;
        };
        let Way { xmpp, proofs, ref dialback, gateway, .. } = *self.way;
        let mut pinging = gateway.map(|gateway| {
            let ping = gateway.ping(local.as_str(), remote.as_str(), now());
            Pinging::new(ping, PATIENCE.min(xmpp.reach_time))
        });
        let config = OutboundConfig {
            limits: xmpp.limits,
            timeouts: xmpp.timeouts,
            terms: self.terms,
            dialback: dialback.clone(),
            direct_tls: candidate.direct_tls,
            retry,
            ..OutboundConfig::new(local, remote)
        };
        let proof = proofs.get(self.pair.index).cloned().unwrap_or_default();
        let mut shake =
            Shake { way: self.way, proof, pair: &self.pair, direct_tls: candidate.direct_tls, said: None };
        let came = errand::run(config, connection, &mut shake, pinging.as_mut()).await;
        let said = shake.said;
        self.findings.good(Step::connected(candidate, took).to_string());
        if let Some((step, took)) = said {
            self.findings.good(format!("{step} (the handshake took {})", brief(took)));
        }
        match came {
            Some(Came::Established(established, at)) => {
                let notes = established.other_notes().map(ToString::to_string).collect::<Vec<_>>();
                let offers_both_ways = established.features.bidi;
                let Outcome::Established { method, features, .. } = Outcome::established(&established) else {
                    return true;
                };
                let offers = if features.is_empty() { "nothing".to_owned() } else { features.join(", ") };
                let after = brief(at.saturating_duration_since(connected));
                self.findings
                    .good(format!("he lets us in by {method}, and offers: {offers} (after {after})"));
                notes.into_iter().for_each(|note| self.findings.note(note));
                if let Some(pinging) = pinging {
                    self.pinged(pinging.outcome(now().instant), offers_both_ways);
                }
                true
            }
            Some(Came::Ended(evidence)) => self.ended(candidate, &evidence, retry).await,
            // Nothing is asked.
            Some(Came::Verified(_)) | None => false,
        }
    }

    /// Whether what he sends reaches us.
    fn pinged(&mut self, pinged: Pinged, offers_both_ways: bool) {
        let both_ways = offers_both_ways && self.pair.partner.bidirectional;
        let (findings, local) = (&mut self.findings, self.pair.local.to_unicode());
        let fix = format!(
            "his server has to find ours and to be let in: “nuncio check dns” says whether {local} is found, and “nuncio check \
             connectivity” whether our listeners answer; the attempts below are those that came so far. If there is none, ask the \
             partner what his log says of streams to {local}"
        );
        let (outcome, time) = match pinged {
            Pinged::NotSent => return,
            Pinged::Answered { took, is_error: false } => {
                let took_ms = took.as_millis();
                findings.good(format!("he answers a ping after {took_ms} ms: what he sends reaches us"));
                (PingOutcome::Answered, took)
            }
            Pinged::Answered { took, is_error: true } => {
                findings.good(format!(
                    "he takes no pings, and says so after {} ms: what he sends reaches us",
                    took.as_millis()
                ));
                (PingOutcome::Refused, took)
            }
            Pinged::Unasked { took } => {
                let text = "he answers a ping on the stream that we opened, where he may not send anything: what he sends so is \
                    dropped (RFC 6120 §4.5)";
                findings.warning(text.to_owned(), fix);
                (PingOutcome::OnOurStream, took)
            }
            Pinged::Unanswered { after } => {
                let text =
                    format!("he has not answered a ping within {after:.1?}: what he sends does not reach us");
                match both_ways {
                    true => findings.warning(
                        format!(
                            "{text}, unless it comes on a stream of ours that goes both ways, as he offers"
                        ),
                        fix,
                    ),
                    false => findings.wrong(text, fix),
                }
                (PingOutcome::Unanswered, after)
            }
        };
        self.ping = Some(PingResult {
            partner: self.pair.remote.to_unicode().into_owned(),
            from: local.into_owned(),
            outcome,
            milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        });
    }

    async fn ended(&mut self, candidate: &Candidate, evidence: &Evidence, retry: Option<Retry>) -> bool {
        if matches!(evidence.cause, Cause::NoSecret) {
            let notes: Vec<_> = evidence.notes.iter().map(ToString::to_string).collect();
            notes.into_iter().for_each(|note| self.findings.note(note));
            self.findings.note(
                "what comes next is dialback: he asks our server whether a key is ours. That is for the running gateway; it is not \
                 tried from here"
                    .to_owned(),
            );
            return true;
        }
        if let (Some(advised), None) = (evidence.retry, retry) {
            let alone = std::slice::from_ref(candidate);
            let leave = &self.way.xmpp.leave;
            let mut race = Race::new([1], leave.timeout, now().instant);
            let mut took = Duration::ZERO;
            let told = |tried: Tried<'_>| {
                if let Tried::Connected(_, after) = tried {
                    took = after;
                }
            };
            if let Some((_, connection)) = dial(leave, &mut race, alone, told).await {
                return Box::pin(self.stream((candidate, took), connection, Some(advised))).await;
            }
        }
        let step = Step::NoStream { address: candidate.to_string(), why: evidence.to_string() };
        self.failures.push(Failure { text: step.to_string(), fix: fix(&evidence.cause).to_owned() });
        false
    }
}

/// The handshake of the running gateway.
struct Shake<'a> {
    way: &'a Way<'a>,
    proof: Arc<Proof>,
    pair: &'a Pair<'a>,
    direct_tls: bool,
    /// What it showed, and how long it took.
    said: Option<(Step, Duration)>,
}

impl Handshake for Shake<'_> {
    async fn shake(&mut self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, TlsFacts), String> {
        let xmpp = &self.way.xmpp;
        let identity = xmpp.identities.choose(Some(self.pair.local.as_str()));
        let to = self.pair.remote.as_str();
        let began = now().instant;
        let handshake = async {
            match self.direct_tls {
                true => tls::connect_direct(stream, &xmpp.client, to, Some(&identity)).await,
                false => tls::connect(stream, &xmpp.client, to, Some(&identity)).await,
            }
        };
        let (stream, facts) = timeout(xmpp.handshake, handshake)
            .await
            .map_err(|_| format!("the TLS handshake took longer than {:?}", xmpp.handshake))?
            .map_err(|error| error.to_string())?;
        let facts = xmpp.facts(&facts, &self.proof);
        self.said = Some((Step::tls(&facts), now().instant.saturating_duration_since(began)));
        Ok((stream, facts))
    }
}

/// What to do where his records cannot be had: that there are none is his to mend, and that nobody says so is ours first.
fn not_found(kind: DnsErrorKind) -> &'static str {
    match kind {
        DnsErrorKind::DoesNotExist => "ask the partner for his records, or name his host in the entry: proxy",
        DnsErrorKind::Timeout => {
            "see to the DNS servers that this gateway asks (dns.servers, else those of the machine): “nuncio check dns” asks them \
             about us. If they answer that, those of the partner do not: tell him"
        }
        DnsErrorKind::Unresolvable => {
            "see whether “nuncio check dns” fails as well: then it is the DNS servers that this gateway asks (dns.servers, else \
             those of the machine). If not, it is the partner's records: tell him, or name his host in the entry: proxy"
        }
    }
}

fn not_connected(tried: Tried<'_>) -> Option<Failure> {
    let (text, fix) = match tried {
        Tried::Connected(..) => return None,
        Tried::Failed(candidate, took, error) => (
            Step::not_connected(candidate, took, error).to_string(),
            fix_of(
                error,
                "see whether the firewall lets us out to that port; if it does, his server is down: tell him",
            ),
        ),
        Tried::TimeOver(left) => (
            format!("the time for it (limits.xmpp.reach) is over, {left} addresses not tried"),
            "see whether the firewall lets us out; or raise limits.xmpp.reach".to_owned(),
        ),
    };
    Some(Failure { text, fix })
}

/// What to do when a stream does not come about.
fn fix(cause: &Cause) -> &'static str {
    match cause {
        Cause::Certificate { .. } => {
            "ask the partner to mend his certificate; if he cannot, his entry can have roots or pins of his own, or sasl = \
             \"optional\" with dialback"
        }
        Cause::NoExternal { .. } | Cause::SaslFailed { .. } => {
            "he does not take our certificate: “nuncio check certs” says what he may dislike; or allow dialback in his entry, sasl \
             = \"optional\""
        }
        Cause::NoStartTls { .. } | Cause::StartTlsFailed | Cause::TlsFailed(_) => {
            "ask the partner to switch TLS on; docs/federation.md says what his entry can allow instead"
        }
        Cause::TlsSwitchedOff => {
            "his entry has tls = \"not-supported\", and he wants TLS: set it to \"required\""
        }
        Cause::NoDialback { .. } => {
            "he does not offer dialback, which is what his entry leaves: set sasl = \"optional\""
        }
        Cause::PeerError { .. } => {
            "ask the partner, with these words: his server may not know our domain as his partner"
        }
        _ => "ask the partner, with these words",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_mend_what_is_not_found_depends_on_who_said_so() {
        let fix = |error: DnsError| not_found(error.kind());
        let name = || "fabrikam.com".to_owned();
        assert!(fix(DnsError::NoSuchDomain { name: name() }).starts_with("ask the partner"));
        assert!(fix(DnsError::Timeout { name: name() }).contains("dns.servers"), "our own may be dead");
    }
}
