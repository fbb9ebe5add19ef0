//! Which addresses are nobody's on the internet: a foreign zone that leads there leads into our own network
//! (S2S-08, SEC-49).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address is a private, loopback, link-local or otherwise special one, that no server of a partner out
/// there can have.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => private_v4(address),
        IpAddr::V6(address) => private_v6(address),
    }
}

/// The special-purpose registry of RFC 6890, as far as something could listen there.
fn private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0)
            | (198, 18..=19, _)
    )
}

fn private_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded_v4(address) {
        return private_v4(inner);
    }
    match address.segments() {
        // Unspecified, loopback and the old IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, ..] => true,
        // Translation within a network (RFC 8215).
        [0x64, 0xff9b, 1, ..] => true,
        // Discard only.
        [0x100, 0, 0, 0, ..] => true,
        // Unique local, link-local, site-local, multicast.
        [first, ..] => matches!(first, 0xfc00..=0xfdff | 0xfe80..=0xfeff | 0xff00..=0xffff),
    }
}

/// The IPv4 address to which a packet for this one is translated.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // Mapped (RFC 4291), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(addresses: &[&str], expected: bool) {
        for address in addresses {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn sec_49_addresses_within_networks_are_private_to_their_first_and_last() {
        judged(
            &[
                "0.0.0.0",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.169.254",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.8",
                "192.168.0.1",
                "198.18.0.1",
                "198.19.255.255",
                "224.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "::127.0.0.1",
                "fc00::1",
                "fdff:ffff::1",
                "fe80::1",
                "fec0::1",
                "ff02::1",
                "64:ff9b:1::a00:1",
            ],
            true,
        );
    }

    #[test]
    fn sec_49_an_ipv4_address_in_an_ipv6_one_counts_as_what_it_is() {
        judged(&["::ffff:127.0.0.1", "::ffff:10.1.2.3", "64:ff9b::192.168.0.1", "2002:a00:1::1"], true);
        judged(&["::ffff:203.0.113.7", "64:ff9b::203.0.113.7", "2002:cb00:7107::1"], false);
    }

    #[test]
    fn sec_49_the_neighbours_of_those_networks_are_public() {
        judged(
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2001:db8::1",
                "2606:4700::1",
                "fbff::1",
            ],
            false,
        );
    }
}
