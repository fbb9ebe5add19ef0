//! The names that a certificate is asked for, computed from the configuration.
//!
//! All are dNSNames. A SIP URI would be the end of them on the SIP side: a certificate that has one speaks for its SIP URIs
//! only (RFC 5922 §7.1). Wildcards are never asked for: they count for nothing on the SIP side (SIP-03), and cover no domain
//! itself on the XMPP side (TLS-12).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Place, Side};
use crate::config::{Config, Domain};

/// A name to ask for, in A-labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Why it is asked for.
    pub why: Why,
}

/// Why a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Front ends call the gateway by it.
    SipName,
    /// Partners look for it (RFC 6120 §13.7.1.2).
    XmppDomain,
    /// `sip.` and a domain: what clients and edges of the Lync kind look for in its name.
    SipOfDomain,
    /// Partners' connections lead to it.
    SrvTarget,
    /// Somebody asked for it.
    Extra,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SipName => "front ends call the gateway by it",
            Self::XmppDomain => "partners look for it",
            Self::SipOfDomain => "by convention the SIP host of the domain",
            Self::SrvTarget => "partners connect to this host",
            Self::Extra => "asked for by --name",
        })
    }
}

/// What a certificate for these places is asked for: what it has to carry first, then what is customary, then `extra`; without
/// what is to be `left_out`, unless it has to be there.
pub fn names(config: &Config, places: &[&Place], extra: &[Domain], left_out: &[Domain]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    let mut add = |name: String, why: Why| {
        let needed = matches!(why, Why::SipName | Why::XmppDomain);
        let unwanted = !needed && left_out.iter().any(|other| other.as_str() == name);
        if !unwanted && !names.iter().any(|known| known.name == name) {
            names.push(Name { name, why });
        }
    };
    let uses = || places.iter().flat_map(|place| &place.uses);
    for used in uses() {
        let why = match used.side {
            Side::Sip => Why::SipName,
            Side::Xmpp => Why::XmppDomain,
            // The configuration knows no name by which administrators call it.
            Side::Control => continue,
        };
        used.names.iter().for_each(|name| add(name.clone(), why));
    }
    if uses().any(|used| used.side == Side::Xmpp) {
        config.xmpp_hosts().into_iter().for_each(|host| add(host.as_str().to_owned(), Why::SrvTarget));
    }
    if uses().any(|used| used.side == Side::Sip) {
        let conventional = config.sip.domains.iter().map(|domain| format!("sip.{domain}"));
        // One that is too long to be a name is none.
        conventional.filter(|name| Domain::new(name).is_ok()).for_each(|name| add(name, Why::SipOfDomain));
    }
    extra.iter().for_each(|name| add(name.as_str().to_owned(), Why::Extra));
    names
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::places::tests::config;
    use super::super::{places, select};
    use super::*;

    fn asked(wanted: &str, more: &str, extra: &[&str], left_out: &[&str]) -> Vec<String> {
        let domains = [("domains = [\"contoso.com\"]", "domains = [\"contoso.com\", \"bücher.example\"]")];
        let config = config(Path::new("/etc"), &domains, more);
        let places = places(&config);
        let chosen = select(&places, &[wanted.to_owned()]).unwrap();
        let domains =
            |list: &[&str]| -> Vec<Domain> { list.iter().map(|name| Domain::new(name).unwrap()).collect() };
        let names = names(&config, &chosen, &domains(extra), &domains(left_out));
        names.into_iter().map(|name| name.name).collect()
    }

    #[test]
    fn the_names_for_partners_are_the_domains_in_a_labels_and_the_hosts_they_connect_to() {
        assert_eq!(
            asked("xmpp", "", &[], &[]),
            ["contoso.com", "xn--bcher-kva.example", "nuncio.contoso.com"]
        );
    }

    #[test]
    fn the_names_for_front_ends_are_what_they_call_us_and_the_sip_hosts_of_the_domains() {
        let identity = "[[sip.identity]]\nname = \"public.contoso.com\"\ntypes = [\"public-verified\"]\n\
                        certificate = \"/etc/sip.pem\"\nkey = \"/etc/sip.key\"\n";
        assert_eq!(
            asked("sip", identity, &["Extra.example"], &[]),
            [
                "nuncio.contoso.com",
                "public.contoso.com",
                "sip.contoso.com",
                "sip.xn--bcher-kva.example",
                "extra.example"
            ]
        );
    }

    #[test]
    fn what_is_customary_can_be_left_out_and_what_is_needed_cannot() {
        let left_out = ["sip.contoso.com", "sip.bücher.example", "nuncio.contoso.com", "contoso.com"];
        assert_eq!(
            asked("all", "", &[], &left_out),
            ["nuncio.contoso.com", "contoso.com", "xn--bcher-kva.example"]
        );
    }
}
