//! Addresses and networks, as they are written: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;

use super::value::{Text, ValueError, quoted};

/// The addresses whose first bits are these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// All bits behind `length` are 0.
    address: IpAddr,
    length: u8,
}

impl Network {
    /// `None`: that is no length.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let address = address.to_canonical();
        let behind = u32::from(bits_of(address).checked_sub(length)?);
        let address = match address {
            IpAddr::V4(v4) => (v4.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).to_be_bytes().into(),
            IpAddr::V6(v6) => {
                (v6.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).to_be_bytes().into()
            }
        };
        Some(Self { address, length })
    }

    /// Whether the address is one of these. An IPv4 address is the same in its IPv6 form.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::new(address, self.length) == Some(*self)
    }

    /// Whether it is every address of its kind.
    pub fn is_everybody(&self) -> bool {
        self.length == 0
    }
}

pub(super) const fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        if self.length < bits_of(self.address) { write!(f, "/{}", self.length) } else { Ok(()) }
    }
}

impl Text for Network {
    const WHAT: &'static str = "an address or network";

    fn allowed() -> String {
        "`\"192.0.2.1\"`, `\"10.0.0.0/8\"` or `\"2001:db8::/32\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &str| {
            ValueError::new(format!(
                "{} is not {}: {why}; expected an address such as \"192.0.2.1\", or a network such as \"10.0.0.0/8\"",
                quoted(text),
                Self::WHAT
            ))
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused("there is no IP address in it"))?;
        let length = match length {
            None => bits_of(address.to_canonical()),
            Some(length) => length.parse().map_err(|_| refused("this is no length of a prefix"))?,
        };
        Self::new(address, length).ok_or_else(|| refused("the prefix is longer than the address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.to_string(), network);
            assert!(parsed.contains(inside.parse().unwrap()), "{network} has {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} has not {outside}");
        }
        assert_eq!(Network::parse("192.0.2.77/24").unwrap().to_string(), "192.0.2.0/24");
    }

    #[test]
    fn what_is_no_network_is_refused_with_examples() {
        for (text, why) in [
            ("", "no IP address"),
            ("lb.contoso.com", "no IP address"),
            ("192.0.2.1/33", "longer than the address"),
            ("2001:db8::/129", "longer than the address"),
            ("10.0.0.0/", "no length"),
            ("10.0.0.0/-8", "no length"),
        ] {
            let error = Network::parse(text).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("10.0.0.0/8"), "{text}: {error}");
        }
    }
}
