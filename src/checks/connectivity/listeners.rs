//! Whether our own listeners answer, here and under the names by which partners find them, and show the right certificate.

use std::net::SocketAddr;

use futures_util::future::join_all;

use super::Means;
use crate::certs::{Seen, Side, listening, places, see};
use crate::checks::dns::wanted;
use crate::checks::{Finding, Findings};
use crate::config::Config;
use crate::dns::host_candidates;
use crate::tls::date;

pub(super) async fn check(config: &Config, means: &Means) -> Vec<Finding> {
    let (here, outside) = tokio::join!(here(config, means), outside(config, means));
    here.into_iter().chain(outside).collect()
}

/// At the addresses that the configuration names, as they are reached from this machine.
async fn here(config: &Config, means: &Means) -> Vec<Finding> {
    let uses = places(config).into_iter().flat_map(|place| place.uses);
    let asked: Vec<(Side, SocketAddr, String)> = uses
        .flat_map(|used| {
            let addresses = listening(config, used.side).into_iter();
            // Administrators get the same whatever they ask for.
            let any = (used.side == Side::Control).then(|| config.sip.name.host.to_string());
            let names: Vec<String> = used.names.iter().cloned().chain(any).collect();
            let each = addresses.flat_map(|address| {
                names.iter().map(|name| (used.side, address, name.clone())).collect::<Vec<_>>()
            });
            each.collect::<Vec<_>>()
        })
        .collect();
    let seen = join_all(asked.iter().map(|(side, address, name)| see(*side, *address, name))).await;
    let mut findings = Findings::default();
    for ((side, address, name), seen) in asked.iter().zip(seen) {
        findings.about(format!("listener {address}"));
        if let Seen::NoConnection(why) = seen {
            findings.note(format!("nobody listens there now ({why}): if the gateway is to run, see its log"));
            continue;
        }
        shown(means, *side, name, seen, &mut findings);
    }
    let mut list = findings.into_list();
    // One word for each listener where nobody is.
    list.dedup();
    list
}

/// At the hosts that DNS is to name.
async fn outside(config: &Config, means: &Means) -> Vec<Finding> {
    let mut findings = Findings::default();
    for zone in wanted(config).zones {
        for record in zone.records.iter().filter(|record| !record.target.is_empty()) {
            findings.about(format!("{}:{} for {}", record.target, record.port, zone.domain));
            let family = means.xmpp.leave.family;
            let found = host_candidates(&means.dns, &record.target, record.port, family).await;
            // “check dns” is for that.
            let Ok(found) = found else { continue };
            for candidate in found {
                match see(Side::Xmpp, candidate.address, &zone.domain).await {
                    Seen::NoConnection(why) => findings.warning(
                        format!("nobody answers at {}: {why}", candidate.address),
                        "see whether the gateway runs and the firewall lets partners in; not every firewall lets its own \
                         network in by the outer address: then ask from outside"
                            .to_owned(),
                    ),
                    seen => shown(means, Side::Xmpp, &zone.domain, seen, &mut findings),
                }
            }
        }
    }
    findings.into_list()
}

fn shown(means: &Means, side: Side, name: &str, seen: Seen, findings: &mut Findings) {
    let identities = match side {
        Side::Sip => Some(&means.in_use.sip_identities),
        Side::Xmpp => Some(&means.in_use.xmpp_identities),
        Side::Control => means.in_use.control_identities.as_ref(),
    };
    let Some(ours) = identities.map(|identities| identities.choose(Some(name))) else { return };
    let what = match side {
        Side::Sip | Side::Xmpp => format!("the certificate for {name}"),
        Side::Control => "the certificate of [control]".to_owned(),
    };
    match seen {
        Seen::Certificate(seen) if seen.sha256 == ours.certificate().sha256 => {
            findings.good(format!("it shows {what}, valid until {}", date(seen.not_after)));
        }
        Seen::Certificate(seen) => findings.warning(
            format!("it shows another certificate than the file holds that is {what}: {seen}"),
            "if that is ours, the log of the gateway says why the new one is not used; otherwise somebody else answers there"
                .to_owned(),
        ),
        Seen::NoHandshake(why) => findings.warning(
            format!("it answers, but not with TLS: {why}"),
            "see whether the gateway is what listens there, and what its log says".to_owned(),
        ),
        Seen::NoConnection(_) => {}
    }
}
