//! Our own certificates, seen with the eyes of those who will be shown them.

mod strength;

use std::time::{Duration, SystemTime};

use nuncio_xmpp::Domain;

use super::Findings;
use crate::config::{self, Called, Host};
use crate::tls::{
    ChainStatus, Identity, IdentityConcern, NameMatch, PeerCertificate, Roots, SanName, Usage, date,
    judge_chain, sip_names_match, xmpp_names, xmpp_remark,
};

/// Shorter than this to go: time to renew.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// A certificate for partners, against the domains that it is configured for.
pub(super) fn xmpp(
    identity: &Identity,
    domains: &[&config::Domain],
    roots: &[&Roots],
    findings: &mut Findings,
    now: SystemTime,
) {
    let certificate = identity.certificate();
    let names = xmpp_names(certificate);
    let mut covered = Vec::new();
    for domain in domains {
        let shown = domain.to_unicode();
        // The same rules as for the certificates of partners.
        let parsed = Domain::parse(domain.as_str()).ok();
        if parsed.as_ref().is_some_and(|domain| names.iter().any(|name| name.covers(domain))) {
            covered.push(shown.into_owned());
            continue;
        }
        let remark = parsed.as_ref().and_then(|domain| xmpp_remark(certificate, domain));
        let listed = names.iter().map(ToString::to_string);
        let text = format!(
            "it is not for {shown}: {}{}",
            its_names(listed),
            remark.map(|r| format!(" ({r})")).unwrap_or_default()
        );
        let ascii = domain.as_str();
        findings.wrong(
            text,
            format!(
                "have it issued for the domain itself, SAN DNS:{ascii}, or give {shown} a \
            [[certificate]] of its own"
            ),
        );
    }
    if !covered.is_empty() {
        findings.good(format!("it is for {}", covered.join(", ")));
    }
    if !validity(certificate, findings, now) {
        return;
    }
    usage(identity, findings, now);
    strength::check(identity, false, findings);
    software(certificate, findings);
    match best_status(identity, roots, now) {
        ChainStatus::Valid => findings.good("its chain is complete, and leads to a root of xmpp.roots or of this \
            machine".to_owned()),
        ChainStatus::SelfSigned => findings.warning(
            "it is self-signed: no partner lets us in by it (SASL EXTERNAL) who has not been told to; where a partner \
             allows dialback, that is left"
                .to_owned(),
            "have it signed by a CA that partners know".to_owned(),
        ),
        ChainStatus::UnknownIssuer { issuer } => match alone(identity, now) {
            Some(concern) => findings.warning(
                concern.to_string(),
                format!("append the certificate of “{issuer}”, and those between it and the root"),
            ),
            None => findings.warning(
                format!("its chain ends at “{issuer}”, a root that this machine does not know; partners may not either"),
                "have it signed by a CA that partners know, or make sure that they trust this one".to_owned(),
            ),
        },
        // Said before.
        ChainStatus::WrongUsage { .. } => {}
        status => findings.wrong(status.to_string(), "have it issued anew, and put the chain that comes with it into the \
            file".to_owned()),
    }
}

/// Whose software will not take a certificate that is good in itself.
fn software(certificate: &PeerCertificate, findings: &mut Findings) {
    let restricted = |usages: &Vec<Usage>| {
        usages.contains(&Usage::ServerAuth)
            && !usages.contains(&Usage::ClientAuth)
            && !usages.contains(&Usage::Any)
    };
    if certificate.usages.as_ref().is_some_and(restricted) {
        findings.note(
            "it is for TLS servers only, as public CAs issue them since 2026. On streams that we open, ejabberd before 25.08, \
             Openfire before its update of 2026, and probably Cisco Expressway and Lync's own gateway refuse it, and leave \
             dialback where both sides allow it; Prosody takes it"
                .to_owned(),
        );
    }
    let names = certificate.names();
    let dns = names.iter().any(|name| matches!(name, SanName::Dns(_)));
    let others = names.iter().any(|name| matches!(name, SanName::SrvName(_) | SanName::XmppAddr(_)));
    if others && !dns {
        findings.warning(
            "it names domains by SRVName or XmppAddr only: servers that look at DNS names alone refuse it"
                .to_owned(),
            "have it issued with SAN DNS: for each domain as well".to_owned(),
        );
    }
    if certificate.subject.is_empty() {
        findings.note(
            "its subject is empty, which RFC 6120 §13.7.1.1 does not allow; hardly any server minds"
                .to_owned(),
        );
    }
}

/// The certificate for front ends, against the name by which they call us.
pub(super) fn sip(
    identity: &Identity,
    called: Called<'_>,
    domains: &[String],
    roots: &Roots,
    findings: &mut Findings,
    now: SystemTime,
) {
    let certificate = identity.certificate();
    let (host, key) = (&called.name.host, called.key);
    let name = &host.to_string();
    if let Host::Address(_) = host {
        findings.note(format!("{key} is an address, {name}: front ends have no name to look for in it"));
    } else {
        sip_names(certificate, (name, key), domains, findings);
    }
    if !validity(certificate, findings, now) {
        return;
    }
    usage(identity, findings, now);
    strength::check(identity, true, findings);
    // Which roots front ends know cannot be seen from here; those of their own certificates are a guess, and a private
    // root is as it should be.
    match best_status(identity, &[roots], now) {
        ChainStatus::Valid => {
            findings.good("its chain is complete, and leads to one of sip.roots".to_owned())
        }
        ChainStatus::SelfSigned => findings
            .note("it is self-signed: every front end must have it among its trusted roots".to_owned()),
        ChainStatus::UnknownIssuer { issuer } => {
            findings.note(format!(
                "its chain ends at “{issuer}”, which is none of sip.roots: front ends must trust that CA"
            ));
        }
        ChainStatus::WrongUsage { .. } => {}
        status => findings.wrong(
            status.to_string(),
            "have it issued anew, and put the chain that comes with it into the file".to_owned(),
        ),
    }
}

/// The certificate for administrators, who call us by names that nobody has written down.
pub(super) fn control(identity: &Identity, roots: &[&Roots], findings: &mut Findings, now: SystemTime) {
    let certificate = identity.certificate();
    let names = certificate.names();
    match names.is_empty() {
        true => findings.warning(
            "it carries no name that counts: whoever checks names refuses it".to_owned(),
            "have it issued with the name by which administrators call this gateway: nuncio cert request --for control --name NAME"
                .to_owned(),
        ),
        false => findings.good(its_names(names.iter().map(ToString::to_string))),
    }
    if !validity(certificate, findings, now) {
        return;
    }
    usage(identity, findings, now);
    strength::check(identity, true, findings);
    match best_status(identity, roots, now) {
        ChainStatus::Valid => {
            let knows = |roots: &&Roots| judge_chain(identity.chain(), roots, now).is_valid();
            match roots.iter().copied().find(knows).filter(|roots| !roots.is_system()) {
                None => findings
                    .good("its chain is complete, and leads to a root that this machine knows".to_owned()),
                Some(roots) => findings.note(format!(
                    "its chain is complete, and leads to a root in {}, where roots of partners are: administrators must \
                     trust that CA",
                    roots.source()
                )),
            }
        }
        // Administrators can be told which one to believe, and a private root is as it should be.
        ChainStatus::SelfSigned => {
            findings.note("it is self-signed: administrators must have it among their trusted roots".to_owned());
        }
        ChainStatus::UnknownIssuer { issuer } => findings.note(format!(
            "its chain ends at “{issuer}”, a root that this machine does not know: administrators must trust that CA"
        )),
        ChainStatus::WrongUsage { .. } => {}
        status => findings.wrong(
            status.to_string(),
            "have it issued anew, and put the chain that comes with it into the file".to_owned(),
        ),
    }
}

fn sip_names(
    certificate: &PeerCertificate,
    (name, key): (&str, &str),
    domains: &[String],
    findings: &mut Findings,
) {
    let fix = format!(
        "have it issued for the name by which front ends call this gateway, SAN DNS:{name}, or correct {key}"
    );
    match sip_names_match(certificate, &[name.to_owned()]) {
        NameMatch::Matched(_) => findings.good(format!("it is for {name} ({key})")),
        NameMatch::Mismatch(mismatch) => match sip_names_match(certificate, domains) {
            NameMatch::Matched(domain) => findings.wrong(
                format!(
                    "it is for {}, but not for {name} ({key}), by which front ends look for it",
                    domain.expected
                ),
                fix,
            ),
            NameMatch::Mismatch(_) => {
                let remark = mismatch.remark.map(|remark| format!(" ({remark})")).unwrap_or_default();
                let names = its_names(mismatch.presented.into_iter());
                findings.wrong(format!("it is not for {name} ({key}): {names}{remark}"), fix);
            }
        },
    }
}

/// Whether it is valid now; if not, nothing else about its chain is worth saying.
fn validity(certificate: &PeerCertificate, findings: &mut Findings, now: SystemTime) -> bool {
    let until = date(certificate.not_after);
    let renew = "renew it".to_owned();
    match certificate.not_after.duration_since(now) {
        Err(_) => {
            findings.wrong(format!("it expired on {until}"), renew);
            return false;
        }
        Ok(_) if certificate.not_before > now => {
            let text = format!("it is not valid before {}", date(certificate.not_before));
            findings.wrong(text, "wait until then, or look at the clock of this machine".to_owned());
            return false;
        }
        Ok(left) if left < RENEW_BEFORE => {
            let days = match left.as_secs() / DAY {
                0 => "within a day".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            findings.warning(format!("it expires {days}, on {until}"), renew);
        }
        Ok(left) => {
            findings.good(format!("it is valid until {until}, {} days from now", left.as_secs() / DAY))
        }
    }
    true
}

fn usage(identity: &Identity, findings: &mut Findings, now: SystemTime) {
    for concern in identity.concerns(now) {
        match concern {
            IdentityConcern::NotForServers => {
                findings.wrong(
                    concern.to_string(),
                    "have it issued for serverAuth, or without restriction".to_owned(),
                );
            }
            IdentityConcern::RootIncluded { .. } => findings.note(concern.to_string()),
            // Judged by whoever knows the roots.
            IdentityConcern::IssuerNotIncluded { .. } => {}
            // Said with the dates.
            IdentityConcern::Expired { .. } | IdentityConcern::NotYetValid { .. } => {}
        }
    }
}

/// That the certificate stands alone in its file, if it does.
fn alone(identity: &Identity, now: SystemTime) -> Option<IdentityConcern> {
    identity
        .concerns(now)
        .into_iter()
        .find(|concern| matches!(concern, IdentityConcern::IssuerNotIncluded { .. }))
}

/// The best that any of these roots make of the chain.
fn best_status(identity: &Identity, roots: &[&Roots], now: SystemTime) -> ChainStatus {
    let mut statuses = roots.iter().map(|roots| judge_chain(identity.chain(), roots, now));
    let Some(first) = statuses.next() else {
        return ChainStatus::UnknownIssuer { issuer: identity.certificate().issuer.clone() };
    };
    if first.is_valid() { first } else { statuses.find(ChainStatus::is_valid).unwrap_or(first) }
}

fn its_names(names: impl Iterator<Item = String>) -> String {
    const LISTED: usize = 5;
    let names: Vec<String> = names.collect();
    match names.len() {
        0 => "it carries no name that counts".to_owned(),
        count if count > LISTED => format!(
            "it is for {} and {} more",
            names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", "),
            count - LISTED
        ),
        _ => format!("it is for {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
