//! Names on the XMPP side. What a name is for is judged in one place, [`PresentedName::covers`]; here is only what a
//! certificate presents.

use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::PresentedName;

use super::normalise;
use crate::tls::{PeerCertificate, SanName, printable};

/// The names of a certificate that can speak for an XMPP domain (TLS-11). The common name is never one.
pub fn xmpp_names(certificate: &PeerCertificate) -> Vec<PresentedName> {
    let presented = |name: &SanName| match name {
        SanName::Dns(name) => Some(PresentedName::Dns(name.into())),
        SanName::SrvName(name) => Some(PresentedName::Srv(name.into())),
        SanName::XmppAddr(name) => Some(PresentedName::XmppAddr(name.into())),
        SanName::Uri(_) | SanName::Other(_) => None,
    };
    certificate.names().iter().filter_map(presented).collect()
}

/// What an administrator is likely to have overlooked, in a certificate that does not speak for the domain.
pub fn xmpp_remark(certificate: &PeerCertificate, domain: &Domain) -> Option<String> {
    let wanted = domain.to_ascii();
    let same = |name: &str| name.eq_ignore_ascii_case(&wanted);
    if certificate.common_name.as_deref().is_some_and(same) {
        return Some("the common name does not count".to_owned());
    }
    certificate.names().iter().find_map(|name| match name {
        SanName::Dns(name) if name.strip_prefix("*.").is_some_and(same) => {
            Some(format!("{} covers one label below, not the domain itself", printable(name)))
        }
        SanName::Dns(name) if normalise(name).is_some_and(|name| same(&name)) => {
            Some(format!("{} should stand in it as {wanted}", printable(name)))
        }
        SanName::SrvName(name)
            if name
                .split_once('.')
                .is_some_and(|(service, domain)| same(domain) && service.starts_with('_')) =>
        {
            Some(format!("{} is for another service", printable(name)))
        }
        _ => None,
    })
}
