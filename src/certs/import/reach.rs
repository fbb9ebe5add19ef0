//! Whether a chain leads anywhere. Peers have roots and no intermediate certificates: a chain that stops short of a root is
//! believed by nobody who has not met the missing part by chance, and nothing on our side shows it.

use std::time::SystemTime;

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Found;
use crate::checks::Findings;
use crate::config::Config;
use crate::tls::{CertificateDer, ChainStatus, Roots, judge_chain, printable};

/// id-ad-caIssuers (RFC 5280 §4.2.2.1): where the issuer's certificate can be had.
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// Says so if the chain ends at an issuer that is no root which is known here. `used`: the chain in use in that place.
pub(super) fn check(
    config: &Config,
    chain: &[&Found],
    used: &[Found],
    findings: &mut Findings,
    now: SystemTime,
) {
    let Some(last) = chain.last() else { return };
    // Of one that nobody else signed something else is said.
    if last.subject == last.issuer || is_known(config, chain, now) {
        return;
    }
    let issuer = &last.facts.issuer;
    // A CA of somebody's own, which was taken once: its renewal does not fail.
    if used.last().is_some_and(|used| used.issuer == last.issuer) {
        findings.note(format!(
            "its chain ends at “{issuer}”, which is not known here, as that of the one in use does"
        ));
        return;
    }
    let had = match ca_issuers(&last.der) {
        Some(url) => format!(" (the CA has it at {url})"),
        None => String::new(),
    };
    findings.wrong(
        format!(
            "its chain ends at “{issuer}”, which is no root of this machine, of sip.roots or of xmpp.roots, and whose \
             certificate was not brought: an intermediate certificate is missing, and without it peers refuse it"
        ),
        format!(
            "name the file with the certificate of “{issuer}” as well{had}: nuncio cert import CERT INTERMEDIATE; an ACME \
             client has both in fullchain.pem. If that is the root of a CA of your own, name its certificate as well: it is \
             looked at, and not sent"
        ),
    );
}

/// Whether the chain leads to a root that is known here, whoever it is for. What else is wrong with it is not asked.
fn is_known(config: &Config, chain: &[&Found], now: SystemTime) -> bool {
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|found| found.der.clone()).collect();
    let files = std::iter::once(&config.sip.roots).chain(&config.xmpp.roots);
    let files = files.filter_map(|file| Roots::from_pem_file(file).ok());
    let mut roots = files.chain(Roots::system().ok());
    roots.any(|roots| !matches!(judge_chain(&chain, &roots, now), ChainStatus::UnknownIssuer { .. }))
}

/// Where the certificate of its issuer is, if it says so in letters that nothing makes more of.
fn ca_issuers(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let access =
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityInfoAccess(access) => Some(access),
            _ => None,
        })?;
    access.accessdescs.iter().find_map(|access| match &access.access_location {
        GeneralName::URI(url)
            if access.access_method.to_id_string() == CA_ISSUERS && url.starts_with("http") =>
        {
            Some(printable(url))
        }
        _ => None,
    })
}
