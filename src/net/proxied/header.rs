//! The header of the PROXY protocol, version 2: what a load balancer says about a connection before the first byte of it
//! (haproxy, doc/proxy-protocol.txt, 2.2). No IO; the fuzz target includes this file as it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header begins with. No TLS handshake and no XML does.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Octets before the addresses: signature, version and command, family and protocol, length.
pub const FIXED: usize = 16;
/// Most octets behind them. Addresses take 36; what is said besides (TLS of the client, a certificate's name) a few hundred.
pub const MOST: usize = 2048;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The load balancer speaks for itself, to see whether we are there.
    Local,
    /// It hands on a connection.
    Proxied {
        /// Whose it is.
        source: SocketAddr,
        /// What he connected to.
        destination: SocketAddr,
    },
}

/// What the octets so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// At least so many more are needed, and all of them belong to the header.
    Needs(usize),
    /// That was it.
    Done(Header),
}

/// Why it is no header that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It begins differently: the load balancer does not speak version 2.
    NoHeader,
    /// A version other than 2.
    Version(u8),
    /// A command other than LOCAL and PROXY.
    Command(u8),
    /// A connection over something else than TCP with IPv4 or IPv6.
    Transport(u8),
    /// More than [`MOST`] octets, or fewer than the addresses take.
    Length(usize),
    /// What stands behind the addresses is cut off.
    Vector,
    /// The checksum is wrong.
    Checksum,
    /// Port 0, or an address that nobody connects from.
    Address,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => f.write_str(
                "no PROXY protocol header of version 2; has the load balancer been told to send it?",
            ),
            Self::Version(version) => {
                write!(f, "version {version} of the PROXY protocol; version 2 is expected")
            }
            Self::Command(command) => write!(f, "the unknown PROXY protocol command {command}"),
            Self::Transport(transport) => {
                write!(
                    f,
                    "a connection that is not TCP over IPv4 or IPv6 (family and protocol {transport:#04x})"
                )
            }
            Self::Length(length) => {
                write!(f, "{length} bytes behind the PROXY protocol header, where addresses are expected")
            }
            Self::Vector => f.write_str("a PROXY protocol header that is cut off"),
            Self::Checksum => f.write_str("a PROXY protocol header with a wrong checksum"),
            Self::Address => f.write_str("a PROXY protocol header with an address that nobody connects from"),
        }
    }
}

const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// The checksum over the whole header, the field itself taken as zeros.
const CRC32C: u8 = 0x03;

/// Reads a header from the beginning of a connection. `octets` never holds more than was asked for, so that nothing of what
/// comes behind it has been taken.
///
/// # Errors
/// It is no header, as soon as that is clear.
pub fn read(octets: &[u8]) -> Result<Progress, Refusal> {
    let begun = octets.iter().zip(SIGNATURE).all(|(octet, expected)| *octet == expected);
    if !begun {
        return Err(Refusal::NoHeader);
    }
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else {
        if let Some(version) = octets.get(SIGNATURE.len()) {
            command(*version)?;
        }
        return Ok(Progress::Needs(FIXED - octets.len()));
    };
    let [.., version_and_command, transport, high, low] = *fixed;
    let command = command(version_and_command)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let addresses = match (command, transport) {
        // Whatever is there is skipped.
        (LOCAL, _) => 0,
        (_, TCP4) => 12,
        (_, TCP6) => 36,
        (_, other) => return Err(Refusal::Transport(other)),
    };
    if !(addresses..=MOST).contains(&length) {
        return Err(Refusal::Length(length));
    }
    match length.checked_sub(rest.len()) {
        Some(0) | None => {}
        Some(missing) => return Ok(Progress::Needs(missing)),
    }
    let rest = rest.get(..length).ok_or(Refusal::Vector)?;
    if command == LOCAL {
        return Ok(Progress::Done(Header::Local));
    }
    let (addresses, vectors) = rest.split_at_checked(addresses).ok_or(Refusal::Vector)?;
    check(fixed, addresses, vectors)?;
    let (source, destination) = ends(addresses).ok_or(Refusal::Vector)?;
    if source.port() == 0 || source.ip().is_unspecified() || source.ip().is_multicast() {
        return Err(Refusal::Address);
    }
    Ok(Progress::Done(Header::Proxied { source, destination }))
}

fn command(version_and_command: u8) -> Result<u8, Refusal> {
    match (version_and_command >> 4, version_and_command & 0xF) {
        (2, command @ (LOCAL | PROXY)) => Ok(command),
        (2, command) => Err(Refusal::Command(command)),
        (version, _) => Err(Refusal::Version(version)),
    }
}

/// Source and destination: both addresses, then both ports.
fn ends(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (hosts, ports) = addresses.split_at_checked(addresses.len().checked_sub(4)?)?;
    let (source, destination) = hosts.split_at_checked(hosts.len() / 2)?;
    let host = |octets: &[u8]| -> Option<IpAddr> {
        Some(match octets.len() {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
            // An IPv4 client of a load balancer that listens on [::] is himself.
            16 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical(),
            _ => return None,
        })
    };
    let (source_port, destination_port) = ports.split_at_checked(2)?;
    let port = |octets: &[u8]| octets.try_into().ok().map(u16::from_be_bytes);
    let source = SocketAddr::new(host(source)?, port(source_port)?);
    Some((source, SocketAddr::new(host(destination)?, port(destination_port)?)))
}

/// What stands behind the addresses: types, lengths, values, none of which is needed, to the last octet; and the checksum, if
/// there is one.
fn check(fixed: &[u8; FIXED], addresses: &[u8], vectors: &[u8]) -> Result<(), Refusal> {
    let mut rest = vectors;
    while let Some((kind, behind)) = rest.split_first() {
        let (length, behind) = behind.split_first_chunk::<2>().ok_or(Refusal::Vector)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, behind) = behind.split_at_checked(length).ok_or(Refusal::Vector)?;
        if *kind == CRC32C {
            let said = value.try_into().map(u32::from_be_bytes).map_err(|_| Refusal::Vector)?;
            let before = vectors.len() - behind.len() - value.len();
            let (before, _) = vectors.split_at_checked(before).ok_or(Refusal::Vector)?;
            let whole = [&fixed[..], addresses, before, &[0; 4], behind];
            if said != crc32c(whole.into_iter().flatten()) {
                return Err(Refusal::Checksum);
            }
        }
        rest = behind;
    }
    Ok(())
}

/// CRC-32C (RFC 9260, appendix A), bit by bit: a header is short.
fn crc32c<'a>(octets: impl Iterator<Item = &'a u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    !octets.fold(u32::MAX, |sum, octet| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| match sum & 1 {
            0 => sum >> 1,
            _ => (sum >> 1) ^ POLYNOMIAL,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, transport: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, transport], &length, rest].concat()
    }

    /// 203.0.113.7:40122 connected to 192.0.2.10:5269.
    const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 10, 0x9C, 0xBA, 0x14, 0x95];

    fn v6(source: Ipv6Addr) -> Vec<u8> {
        let destination = "2001:db8::10".parse::<Ipv6Addr>().unwrap().octets();
        [&source.octets()[..], &destination, &[0x9C, 0xBA, 0x14, 0x95]].concat()
    }

    fn proxied(source: &str, destination: &str) -> Header {
        Header::Proxied { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn vector(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind][..], &length, value].concat()
    }

    /// A header that is right, with what it says.
    fn examples() -> Vec<(Vec<u8>, Header)> {
        let tls = [&V4[..], &vector(0x20, &[1; 60]), &vector(0x04, b"")].concat();
        let v4 = proxied("203.0.113.7:40122", "192.0.2.10:5269");
        vec![
            (header(0x21, TCP4, &V4), v4),
            (header(0x21, TCP4, &tls), v4),
            (
                header(0x21, TCP6, &v6("2001:db8::7".parse().unwrap())),
                proxied("[2001:db8::7]:40122", "[2001:db8::10]:5269"),
            ),
            (
                header(0x21, TCP6, &v6("::ffff:203.0.113.7".parse().unwrap())),
                proxied("203.0.113.7:40122", "[2001:db8::10]:5269"),
            ),
            (header(0x20, 0x00, b""), Header::Local),
            (header(0x20, TCP4, &[0xFF; 30]), Header::Local),
        ]
    }

    #[test]
    fn a_header_says_whose_connection_it_is() {
        for (octets, expected) in examples() {
            assert_eq!(read(&octets), Ok(Progress::Done(expected)), "{octets:02x?}");
        }
    }

    #[test]
    fn a_header_cut_anywhere_asks_for_no_more_than_is_its_own() {
        for (octets, expected) in examples() {
            for cut in 0..octets.len() {
                let Ok(Progress::Needs(more)) = read(&octets[..cut]) else { panic!("cut at {cut}") };
                assert!(more >= 1 && cut + more <= octets.len(), "cut at {cut}: {more}");
            }
            // As a reader reads it, whatever comes at a time.
            let (mut have, mut steps) = (0, 0);
            while let Ok(Progress::Needs(more)) = read(&octets[..have]) {
                have += more;
                steps += 1;
            }
            assert_eq!(read(&octets[..have]), Ok(Progress::Done(expected)));
            assert!(steps <= 2 && have == octets.len());
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_octet() {
        for octets in
            [&b"P"[..], b"\x16\x03\x01", b"<?xml", b"PROXY TCP4 203.0.113.7", b"\r\n\r\n\0\r\nQUIT\r"]
        {
            assert_eq!(read(octets), Err(Refusal::NoHeader), "{octets:?}");
        }
        assert_eq!(read(&[&SIGNATURE[..], &[0x11]].concat()), Err(Refusal::Version(1)));
    }

    #[test]
    fn only_tcp_over_ip_and_known_commands_are_taken() {
        for (octets, refusal) in [
            (header(0x22, TCP4, &V4), Refusal::Command(2)),
            (header(0x31, TCP4, &V4), Refusal::Version(3)),
            (header(0x21, 0x00, &V4), Refusal::Transport(0x00)),
            (header(0x21, 0x12, &V4), Refusal::Transport(0x12)),
            (header(0x21, 0x22, &[0; 36]), Refusal::Transport(0x22)),
            (header(0x21, 0x31, &[0; 216]), Refusal::Transport(0x31)),
            (header(0x21, TCP4, &[0; 12]), Refusal::Address),
            (header(0x21, TCP4, &[224, 0, 0, 1, 192, 0, 2, 10, 1, 1, 1, 1]), Refusal::Address),
            (header(0x21, TCP6, &[0; 36]), Refusal::Address),
        ] {
            assert_eq!(read(&octets), Err(refusal), "{octets:02x?}");
        }
    }

    #[test]
    fn a_header_has_room_for_its_addresses_and_no_more_than_the_limit() {
        assert_eq!(read(&header(0x21, TCP4, &V4[..11])), Err(Refusal::Length(11)));
        assert_eq!(read(&header(0x21, TCP6, &[1; 35])), Err(Refusal::Length(35)));
        let filled = |length: usize| {
            let rest = [&V4[..], &vector(0xE0, &vec![0; length - V4.len() - 3])].concat();
            header(0x21, TCP4, &rest)
        };
        assert!(matches!(read(&filled(MOST)), Ok(Progress::Done(_))));
        assert_eq!(read(&filled(MOST + 1)), Err(Refusal::Length(MOST + 1)));
        // Refused by what it announces, before it is waited for.
        assert_eq!(read(&filled(MOST + 1)[..FIXED]), Err(Refusal::Length(MOST + 1)));
    }

    #[test]
    fn what_stands_behind_the_addresses_has_to_fill_the_header() {
        for rest in [&[0x04][..], &[0x04, 0], &[0x04, 0, 5, 1, 2], &[0x04, 0, 0, 0x20]] {
            let octets = header(0x21, TCP4, &[&V4[..], rest].concat());
            assert_eq!(read(&octets), Err(Refusal::Vector), "{rest:?}");
        }
    }

    #[test]
    fn a_checksum_is_held_against_the_whole_header() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789".iter()), 0xE306_9283);
        let with = |sum: u32| {
            let sum = vector(CRC32C, &sum.to_be_bytes());
            header(0x21, TCP4, &[&V4[..], &vector(0x05, b"id"), &sum, &vector(0x04, b"pad")].concat())
        };
        let right = crc32c(with(0).iter());
        assert!(matches!(read(&with(right)), Ok(Progress::Done(_))));
        assert_eq!(read(&with(right ^ 1)), Err(Refusal::Checksum));
        let mut other = with(right);
        other[FIXED] ^= 1;
        assert_eq!(read(&other), Err(Refusal::Checksum), "one bit of the address");
    }
}
