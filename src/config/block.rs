//! Who is kept out, whatever the entries of partners say: how blocks name them.

use std::fmt;
use std::net::IpAddr;

use compact_str::CompactString;
use nuncio_xmpp::BareJid;

use super::Domain;
use super::network::{Network, bits_of};
use super::value::{Text, ValueError, quoted};

/// Somebody who is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Who.
    pub address: BlockAddress,
    /// Free text for administrators.
    pub description: String,
}

/// Who is kept out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BlockAddress {
    /// A contact, normalised.
    Contact(CompactString),
    /// Every contact of a domain, and its servers.
    Domain(Domain),
    /// Whoever connects from there.
    Network(Network),
}

impl fmt::Display for BlockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contact(jid) => f.write_str(jid),
            Self::Domain(domain) => f.write_str(domain.as_str()),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Text for BlockAddress {
    const WHAT: &'static str = "somebody to block";

    fn allowed() -> String {
        "`\"mallory@fabrikam.com\"`, `\"fabrikam.com\"`, `\"192.0.2.1\"` or `\"2001:db8::/32\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &dyn fmt::Display| {
            ValueError::new(format!(
                "{} cannot be blocked: {why}; expected a contact such as \"mallory@fabrikam.com\", a domain, an IP address, or \
                 a network such as \"192.0.2.0/24\"",
                quoted(text)
            ))
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) if !address.contains('@') => (address, Some(length)),
            _ => (text, None),
        };
        if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = address.to_canonical();
            let length = match length {
                Some(length) => length.parse().map_err(|_| refused(&"this is no length of a prefix"))?,
                None => bits_of(address),
            };
            let network = Network::new(address, length);
            return network
                .map(Self::Network)
                .ok_or_else(|| refused(&"the prefix is longer than the address"));
        }
        if let Some(length) = length
            && length.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(refused(&"what is in front of the length of the prefix is no IP address"));
        }
        if !text.contains('@') {
            return Domain::new(text).map(Self::Domain).map_err(|error| refused(&error));
        }
        if text.contains('*') {
            return Err(refused(&"it is no pattern; whoever blocks a domain keeps all its contacts out"));
        }
        let text = text.strip_prefix("xmpp:").unwrap_or(text);
        let bare = text.split_once('/').map(|(bare, _)| bare).filter(|bare| BareJid::parse(bare).is_ok());
        if let Some(bare) = bare {
            let why = format!(
                "it has a resource, and a contact is kept out with all of them: block {}",
                quoted(bare)
            );
            return Err(refused(&why));
        }
        let jid = BareJid::parse(text).map_err(|error| refused(&error))?;
        Domain::new(jid.domain()).map_err(|error| refused(&error))?;
        Ok(Self::Contact(jid.as_str().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_41_contacts_domains_and_networks_are_told_apart_and_normalised() {
        for (text, expected) in [
            ("Mallory@Fabrikam.COM", "mallory@fabrikam.com"),
            ("xmpp:mallory@fabrikam.com", "mallory@fabrikam.com"),
            ("Fabrikam.com", "fabrikam.com"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8:1::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(BlockAddress::parse(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["Mallory@fabrikam.com/home", "xmpp:Mallory@fabrikam.com/a/b"] {
            let error = BlockAddress::parse(text).unwrap_err().to_string();
            let instead = "it has a resource, and a contact is kept out with all of them: block \"Mallory@fabrikam.com\"";
            assert!(error.contains(instead), "{text}: {error}");
        }
        for text in [
            "",
            "@fabrikam.com",
            "192.0.2.1/33",
            "2001:db8::/129",
            "192.0.2.1/x",
            "a b@c",
            "mallory@fabrikam.com/home",
            "300.1.1.1",
            "192.168.1",
            "192.168.001.001",
            "192.168.1/24",
            "192.0.2.1-192.0.2.9",
            "*@fabrikam.com",
            "*.fabrikam.com",
            "mallory@300.1.1.1",
            "mallory@192.0.2.1",
        ] {
            let error = BlockAddress::parse(text).unwrap_err().to_string();
            assert!(error.contains("expected a contact such as"), "{text}: {error}");
        }
    }

    #[test]
    fn sec_41_a_network_ends_where_its_prefix_says() {
        let network = |text| match BlockAddress::parse(text).unwrap() {
            BlockAddress::Network(network) => network,
            other => panic!("{other:?}"),
        };
        let contains = |text, address: &str| network(text).contains(address.parse().unwrap());
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.9"), "as a socket for both families shows it");
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::"));
    }
}
