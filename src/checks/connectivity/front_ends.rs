//! Whether front ends take our connections, every address of every host.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::barred::fix_of;
use super::{Means, Named, Whom};
use crate::checks::{Finding, Findings};
use crate::config::{Config, FrontEnd, HostPort, Lookup, NextHop};
use crate::context::FrontEndNames;
use crate::dns::{Candidate, SipLookup, host_candidates, sip_targets};
use crate::gateway::IdentityNumber;
use crate::sip_frontend::old_suites::why_not_called;
use crate::tls::{self, ChainStatus, NameMatch, sip_names_match};

pub(super) fn named<'a>(config: &'a Config, whom: &Whom) -> Named<(usize, &'a FrontEnd)> {
    let all = config.sip.front_ends.iter().enumerate();
    let meant = |name: &str| whom.names.is_empty() || whom.names.iter().any(|wanted| wanted == name);
    let chosen: Vec<_> = all.filter(|(_, front_end)| meant(&front_end.name)).collect();
    let names = chosen.iter().map(|(_, front_end)| front_end.name.clone()).collect();
    Named { chosen, names }
}

pub(super) async fn check(means: &Means, front_ends: &[(usize, &FrontEnd)]) -> Vec<Finding> {
    let each = front_ends.iter().map(|(index, front_end)| one(means, *index, front_end));
    join_all(each).await.into_iter().flatten().collect()
}

/// A host, its port, and the name that its certificate may carry.
struct Hop {
    host: String,
    port: u16,
    server_name: String,
}

async fn one(means: &Means, index: usize, front_end: &FrontEnd) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.about(format!("front end {}", front_end.name));
    let Some(names) = means.sip.front_ends.get(index) else { return findings.into_list() };
    let mut hops = Vec::new();
    for next_hop in &front_end.next_hops {
        match next_hop {
            NextHop::At(HostPort { host, port }) => {
                let host = host.to_string();
                hops.push(Hop { server_name: host.clone(), host, port: *port });
            }
            NextHop::Of(domain) => {
                of_domain(means, domain.as_str(), front_end.lookup, &mut hops, &mut findings).await
            }
        }
    }
    for hop in &hops {
        let family = means.sip.leave.family;
        match host_candidates(&means.dns, &hop.host, hop.port, family).await {
            Ok(candidates) => {
                for candidate in &candidates {
                    // What is used for partners of some types only is shown nowhere else.
                    for identity in 0..means.sip.names.len() {
                        call(means, names, hop, candidate, identity, &mut findings).await;
                    }
                }
            }
            Err(error) => findings.wrong(
                format!("{}:{}: {error}", hop.host, hop.port),
                "create A or AAAA records for it, or correct next_hops".to_owned(),
            ),
        }
    }
    findings.into_list()
}

async fn of_domain(
    means: &Means,
    domain: &str,
    lookup: Lookup,
    hops: &mut Vec<Hop>,
    findings: &mut Findings,
) {
    let how = match lookup {
        Lookup::Sip => SipLookup::Sip,
        Lookup::Federation => SipLookup::Federation,
    };
    match sip_targets(&means.dns, domain, how, rand::random(), None).await {
        Ok(found) => hops.extend(found.targets.into_iter().map(|target| Hop {
            // Whom DNS leads to has to be the domain (SIP-04); an edge is itself.
            server_name: match lookup {
                Lookup::Sip => domain.to_owned(),
                Lookup::Federation => target.host.clone(),
            },
            host: target.host,
            port: target.port,
        })),
        Err(error) => {
            findings.wrong(error.to_string(), "“nuncio check dns” says which records to create".to_owned())
        }
    }
}

/// TCP, TLS with the certificate of one name of ours, and a look at his.
async fn call(
    means: &Means,
    names: &FrontEndNames,
    hop: &Hop,
    candidate: &Candidate,
    identity: IdentityNumber,
    findings: &mut Findings,
) {
    let sip = &means.sip;
    let shown = match sip.names.get(identity) {
        Some(name) if sip.names.len() > 1 => format!("{candidate}, as {}", name.sent_by),
        _ => candidate.to_string(),
    };
    let stream = match sip.leave.connect(candidate.address).await {
        Ok(stream) => stream,
        Err(error) => {
            let fix =
                fix_of(&error, "see whether it runs, and whether the firewall lets us through to that port");
            return findings.wrong(format!("{shown}: {error}"), fix);
        }
    };
    let identity = sip.identity_of(identity);
    let handshake = tls::connect_by(names.backend, stream, &sip.client, &hop.server_name, &identity);
    let (stream, facts) = match timeout(sip.handshake, handshake).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => {
            let fix = "see whether it trusts the CA of sip.certificate, and of that in [[sip.identity]]; docs/operations.md, “Old front ends”, if it is old";
            return findings.wrong(format!("{shown}: {}", why_not_called(&error, names)), fix.to_owned());
        }
        Err(_) => {
            let text = format!("{shown}: the TLS handshake took longer than {:?}", sip.handshake);
            return findings.wrong(text, "see whether SIP over TLS is what listens there".to_owned());
        }
    };
    drop(stream);
    let (version, cipher) = (facts.version, facts.cipher_suite);
    match sip.judge(&facts) {
        ChainStatus::Valid => {}
        status => {
            let fix = "put the root of its CA into the file that sip.roots names";
            return findings
                .wrong(format!("{shown}: its certificate is not trusted: {status}"), fix.to_owned());
        }
    }
    let Some(certificate) = facts.certificate() else { return };
    let own = [hop.server_name.clone()];
    let expected = if names.certificate_names.is_empty() { &own[..] } else { &names.certificate_names };
    match sip_names_match(certificate, expected) {
        NameMatch::Matched(name) => findings.good(format!(
            "{shown}: {version} with {cipher}, its certificate is for {}, valid until {}",
            name.presented,
            tls::date(certificate.not_after)
        )),
        NameMatch::Mismatch(mismatch) => findings.wrong(
            format!("{shown}: {mismatch}"),
            "if it is the right server, add its name to certificate_names".to_owned(),
        ),
    }
}
