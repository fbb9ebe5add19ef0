//! What we say of a contact to a front end that takes us for a trusted server.

use std::borrow::Cow;

use nuncio_xmpp::Domain;

use crate::judge::PartnerType;

/// All fields there are, rendered once: partner types, each unverified and verified.
#[derive(Clone, Debug)]
pub struct Stamps([[Box<str>; 2]; TYPES.len()]);

const TYPES: [PartnerType; 3] =
    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];

/// One whole header line, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    value: &'a str,
    /// The provider's domain, A-labels; empty for an organisation.
    provider: Cow<'a, str>,
}

impl Stamps {
    /// `name` is what we call ourselves on the SIP side to front ends, for partners of this type (`host[:port]`).
    pub fn new(name: impl Fn(PartnerType) -> String) -> Self {
        Self(TYPES.map(|partner| [false, true].map(|verified| value(partner, verified, &name(partner)))))
    }

    /// What is said of a contact. `verified`: his server proved by certificate that it speaks for his domain; whether it knows
    /// who its users are is another question, which the partner type answers.
    pub fn of<'a>(&'a self, partner: PartnerType, verified: bool, domain: &'a str) -> Stamp<'a> {
        let [federated, public_verified, public_unverified] = &self.0;
        let [unproved, proved] = match partner {
            PartnerType::Federated => federated,
            PartnerType::PublicVerified => public_verified,
            PartnerType::PublicUnverified => public_unverified,
        };
        let provider = match partner {
            PartnerType::Federated => Cow::Borrowed(""),
            _ => ascii(domain),
        };
        Stamp { value: if verified { proved } else { unproved }, provider }
    }

    /// The most octets that the line takes for a contact of this domain.
    pub fn longest(&self, domain: &str) -> usize {
        let value = self.0.as_flattened().iter().map(|value| value.len()).max().unwrap_or_default();
        NAME.len() + COLON.len() + value + ascii(domain).len() + LINE_END.len()
    }
}

impl Stamp<'_> {
    /// The line, with its end.
    pub fn pieces(&self) -> [&str; 5] {
        [NAME, COLON, self.value, &self.provider, LINE_END]
    }

    /// Name and value.
    pub fn field(&self) -> (&'static str, String) {
        (NAME, [self.value, &self.provider].concat())
    }
}

const NAME: &str = "ms-edge-proxy-message-trust";
const COLON: &str = ": ";
const LINE_END: &str = "\r\n";

/// The value up to where the provider's domain follows, if it is one.
fn value(partner: PartnerType, proved: bool, name: &str) -> Box<str> {
    let (source, network, remote) = match partner {
        // An entry of its own, with a name: what an allow list is to an edge.
        PartnerType::Federated => ("DirectPartner", "federation", ""),
        PartnerType::PublicVerified | PartnerType::PublicUnverified => {
            ("AuthorizedServer", "publiccloud", ";ms-remote-fqdn=")
        }
    };
    let user = match partner {
        PartnerType::PublicUnverified => "unverified",
        _ if proved => "verified",
        _ => "unverified",
    };
    let host = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    };
    format!(
        "ms-source-type={source};ms-ep-fqdn={host};ms-source-verified-user={user};\
         ms-source-network={network}{remote}"
    )
    .into()
}

fn ascii(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return Cow::Borrowed(domain);
    }
    Cow::Owned(Domain::parse(domain).map(|domain| domain.to_ascii().into_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps() -> Stamps {
        Stamps::new(|_| "nuncio.contoso.com:5061".to_owned())
    }

    #[test]
    fn a_public_provider_is_named_as_certificates_name_it() {
        let stamps = stamps();
        let stamp = stamps.of(PartnerType::PublicVerified, true, "bücher.example");
        assert!(stamp.pieces().concat().ends_with(";ms-remote-fqdn=xn--bcher-kva.example\r\n"), "{stamp:?}");
    }

    #[test]
    fn addresses_keep_their_colons_and_lose_their_port() {
        for (name, written) in
            [("[2001:db8::1]:5061", "[2001:db8::1]"), ("[2001:db8::1]", "[2001:db8::1]"), ("gw", "gw")]
        {
            let stamps = Stamps::new(|_| name.to_owned());
            let line = stamps.of(PartnerType::Federated, true, "x.example").pieces().concat();
            assert!(line.contains(&format!("ms-ep-fqdn={written};")), "{line}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_longest() {
        let stamps = stamps();
        let lengths = TYPES.iter().flat_map(|partner| {
            [false, true]
                .map(|verified| stamps.of(*partner, verified, "bücher.example").pieces().concat().len())
        });
        assert_eq!(lengths.max(), Some(stamps.longest("bücher.example")));
    }
}
