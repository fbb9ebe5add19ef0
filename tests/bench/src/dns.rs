//! The smallest name server that the gateway can find its peers with: every name has an address, every domain an SRV record.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
const HEADER: usize = 12;
const SECONDS_TO_LIVE: u32 = 3600;

/// Where names lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    /// Of names that begin with `fe.`.
    pub(crate) front_end: Ipv4Addr,
    /// Of all others.
    pub(crate) partner: Ipv4Addr,
    /// In the SRV records.
    pub(crate) port: u16,
}

/// Answers questions until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn serve(address: SocketAddr, zone: Zone) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || {
        let mut question = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            if let Some(answer) = question.get(..length).and_then(|question| answer(question, zone)) {
                // Who asked and went away needs no answer.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

/// The answer to a message with one question (RFC 1035 §4); `None` if it is none.
fn answer(message: &[u8], zone: Zone) -> Option<Vec<u8>> {
    let name = message.get(HEADER..)?;
    let name_length = name.iter().position(|&byte| byte == 0)? + 1;
    let kind = u16::from_be_bytes(name.get(name_length..name_length + 2)?.try_into().ok()?);
    let question = message.get(HEADER..HEADER + name_length + 4)?;

    let data = match kind {
        TYPE_A if name.starts_with(b"\x02fe") => Some(zone.front_end.octets().to_vec()),
        TYPE_A => Some(zone.partner.octets().to_vec()),
        // Nobody speaks Direct TLS: no record, and an answer that says so, or whoever asks waits for it.
        TYPE_SRV => name.get(..name_length)?.strip_prefix(b"\x0c_xmpp-server\x04_tcp").map(|domain| {
            let target_is_the_domain = [&[0, 0, 0, 0], &zone.port.to_be_bytes()[..], domain];
            target_is_the_domain.concat()
        }),
        _ => None,
    };

    let mut out = message.get(..2)?.to_vec();
    // An answer, authoritative, recursion desired and available, no error; one question, no or one answer.
    out.extend_from_slice(&[0x85, 0x80, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    out.extend_from_slice(question);
    if let Some(data) = data {
        out.extend_from_slice(&[0xc0, HEADER as u8]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        out.extend_from_slice(&SECONDS_TO_LIVE.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&data);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Zone = Zone { front_end: Ipv4Addr::LOCALHOST, partner: Ipv4Addr::LOCALHOST, port: 5269 };

    /// The number of answers to a question for SRV records.
    fn answers_to(name: &[u8]) -> Option<u8> {
        let question = [&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 33, 0, 1]].concat();
        answer(&question, ZONE).map(|message| message[7])
    }

    #[test]
    fn a_service_that_nobody_has_is_answered_too() {
        assert_eq!(answers_to(b"\x0c_xmpp-server\x04_tcp\x01p\x00"), Some(1));
        assert_eq!(answers_to(b"\x0d_xmpps-server\x04_tcp\x01p\x00"), Some(0));
    }
}
