//! Both machines over a link that splits and joins bytes as it likes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use nuncio_xmpp::stream::{
    Cause, ChainStatus, Inbound, InboundConfig, Outbound, OutboundConfig, Output, PartnerVerdict, StreamIds,
    Terms, TlsFacts,
};
use proptest::prelude::*;

use crate::support::{Machine, domain, facts, proof};

struct Link {
    outbound: Outbound,
    inbound: Inbound,
    to_inbound: VecDeque<u8>,
    to_outbound: VecDeque<u8>,
    handshakes: (bool, bool),
    events: Vec<String>,
    stanzas: Vec<String>,
    now: Instant,
    /// What each side sees of the other in the handshake.
    seen: (TlsFacts, TlsFacts),
}

impl Link {
    fn new(seen_by_outbound: TlsFacts, seen_by_inbound: TlsFacts) -> Self {
        let now = Instant::now();
        let (local, remote) = (domain("contoso.com"), domain("fabrikam.com"));
        let ids = StreamIds(["one".into(), "two".into(), "three".into()]);
        Self {
            outbound: Outbound::new(OutboundConfig::new(local, remote.clone()), now),
            inbound: Inbound::new(InboundConfig::new(Arc::new([remote])), ids, now),
            to_inbound: VecDeque::new(),
            to_outbound: VecDeque::new(),
            handshakes: (false, false),
            events: Vec::new(),
            stanzas: Vec::new(),
            now,
            seen: (seen_by_outbound, seen_by_inbound),
        }
    }

    /// Does what the drivers of both sides do, and moves `chunk` bytes at a time, until all is quiet.
    fn run(&mut self, mut chunk: impl FnMut() -> usize) {
        loop {
            let mut moved = false;
            let mut out = Vec::new();
            self.outbound.transmit(&mut out);
            self.to_inbound.extend(out.drain(..));
            self.inbound.transmit(&mut out);
            self.to_outbound.extend(out.drain(..));
            while let Some(output) = self.outbound.poll() {
                moved = true;
                match output {
                    Output::StartTls => self.handshakes.0 = true,
                    Output::Established(_) => {
                        for number in 0..3 {
                            self.to_inbound.extend(message(number).bytes());
                        }
                        self.outbound.close(self.now, None);
                        self.events.push("out established".into());
                    }
                    Output::Closed(evidence) => self.events.push(format!("out closed {:?}", evidence.cause)),
                    Output::ShutdownTls => self.events.push("out shutdown".into()),
                    other => panic!("{other:?}"),
                }
            }
            while let Some(output) = self.inbound.poll() {
                moved = true;
                match output {
                    Output::StartTls => self.handshakes.1 = true,
                    Output::AskPartner { .. } => {
                        self.inbound.partner_verdict(PartnerVerdict::Allowed(Terms::default()), self.now)
                    }
                    Output::Established(_) => self.events.push("in established".into()),
                    Output::Stanza(stanza) => self.stanzas.push(stanza.element.attr("id").unwrap().into()),
                    Output::Closed(evidence) => self.events.push(format!("in closed {:?}", evidence.cause)),
                    Output::ShutdownTls => self.events.push("in shutdown".into()),
                    other => panic!("{other:?}"),
                }
            }
            if self.handshakes == (true, true) && self.to_inbound.is_empty() && self.to_outbound.is_empty() {
                self.handshakes = (false, false);
                self.outbound.tls_established(self.seen.0.clone(), self.now);
                self.inbound.tls_established(self.seen.1.clone(), self.now);
                moved = true;
            }
            moved |= pass(&mut self.to_inbound, &mut self.inbound, chunk(), self.now);
            moved |= pass(&mut self.to_outbound, &mut self.outbound, chunk(), self.now);
            if !moved {
                return;
            }
        }
    }
}

fn pass(link: &mut VecDeque<u8>, machine: &mut impl Machine, chunk: usize, now: Instant) -> bool {
    let bytes: Vec<u8> = link.drain(..chunk.max(1).min(link.len())).collect();
    if !bytes.is_empty() {
        machine.receive(&bytes, now);
    }
    !bytes.is_empty()
}

fn message(number: usize) -> String {
    format!(
        "<message id='{number}' from='juliet@contoso.com' to='romeo@fabrikam.com'><body>{number}</body></message>"
    )
}

fn assert_whole(link: &Link) {
    assert_eq!(link.stanzas, ["0", "1", "2"]);
    let mut events = link.events.clone();
    events.sort();
    assert_eq!(
        events,
        [
            "in closed PeerClosed",
            "in established",
            "in shutdown",
            "out closed WeClosed(None)",
            "out established",
            "out shutdown"
        ]
    );
}

#[test]
fn the_two_machines_understand_each_other_however_bytes_are_packed() {
    for size in (1..64).chain([100, 1000, 100_000]) {
        let mut link = Link::new(proof("fabrikam.com"), proof("contoso.com"));
        link.run(|| size);
        assert_whole(&link);
    }
}

#[test]
fn tls_16_an_untrusted_initiator_gets_no_stanza_across() {
    let mut link =
        Link::new(proof("fabrikam.com"), facts(ChainStatus::Untrusted("expired".into()), "contoso.com"));
    link.run(|| 7);
    assert_eq!(link.stanzas, Vec::<String>::new());
    assert!(link.events.iter().any(|event| event.starts_with("out closed NoExternal")), "{:?}", link.events);
    assert!(link.events.iter().any(|event| event.starts_with("in closed Certificate")), "{:?}", link.events);
}

#[test]
fn an_impostor_as_responder_learns_nothing_under_tls() {
    let mut link = Link::new(proof("example.net"), proof("contoso.com"));
    link.run(|| 7);
    let cause = Cause::Certificate {
        wanted: domain("fabrikam.com"),
        chain: ChainStatus::Trusted,
        names: proof("example.net").names,
    };
    assert_eq!(link.events, [format!("out closed {cause:?}"), "out shutdown".to_owned()]);
}

proptest! {
    #[test]
    fn any_packing_gives_the_same_session(sizes in prop::collection::vec(1usize..200, 1..50)) {
        let mut sizes = sizes.into_iter().cycle();
        let mut link = Link::new(proof("fabrikam.com"), proof("contoso.com"));
        link.run(|| sizes.next().unwrap());
        assert_whole(&link);
    }
}
