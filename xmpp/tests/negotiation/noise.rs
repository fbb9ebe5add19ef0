//! Whatever arrives, a stream ends or waits with a deadline, and never panics.

use std::time::Duration;

use nuncio_xmpp::stream::Output;
use proptest::prelude::*;

use crate::support::{
    ANSWER, AUTH, HEADER, In, MESSAGE, Machine, OFFER_EXTERNAL, OFFER_TLS, Out, PROCEED, STARTTLS, SUCCESS,
    Side, proof,
};

/// Pieces of protocol in any order and any condition, and plain noise.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        HEADER,
        ANSWER,
        STARTTLS,
        PROCEED,
        OFFER_TLS,
        OFFER_EXTERNAL,
        AUTH,
        SUCCESS,
        MESSAGE,
        "</stream:stream>",
        "<stream:error/>",
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<db:verify xmlns:db='jabber:server:dialback'/>",
        " ",
    ]);
    prop_oneof![
        8 => piece.clone().prop_map(|piece| piece.as_bytes().to_vec()),
        1 => (piece, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(piece, at, byte)| {
            let mut piece = piece.as_bytes().to_vec();
            let at = at.index(piece.len());
            piece[at] = byte;
            piece
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// Sends everything, does what a driver does, and then lets time run out.
fn survive<M: Machine>(
    mut side: Side<M>,
    input: &[Vec<u8>],
    mut ask: impl FnMut(&mut M, std::time::Instant),
) {
    let (mut closed, mut ended, mut established) = (0, 0, false);
    let mut last = Vec::new();
    for step in 0..input.len() + 8 {
        match input.get(step) {
            Some(bytes) => side.machine.receive(bytes, side.now),
            None => {
                let Some(deadline) = side.machine.deadline() else { break };
                side.now = deadline;
                side.machine.handle_timeout(deadline);
            }
        }
        loop {
            let Some(output) = side.machine.poll() else { break };
            assert_eq!(ended, 0, "{output:?} after the end");
            match output {
                Output::StartTls => side.machine.tls_established(proof("fabrikam.com"), side.now),
                Output::AskPartner { .. } => ask(&mut side.machine, side.now),
                Output::Established(_) => established = true,
                Output::Closed(evidence) => {
                    assert!(!evidence.to_string().is_empty());
                    closed += 1;
                }
                Output::ShutdownTls | Output::Abort => {
                    assert_eq!(closed, 1, "the end without a reason");
                    ended += 1;
                }
                Output::Stanza(_) | Output::BadAddress { .. } | Output::Unasked(_) => {
                    assert!(established, "a stanza on a stream that is not established");
                }
                Output::Unsolicited(_) | Output::DialbackRefused { .. } | Output::KeyAnswered { .. } => {}
                Output::Verify(_)
                | Output::Verified(_)
                | Output::PairAuthorized(_)
                | Output::PairRefused { .. } => {
                    panic!("{output:?} where dialback is off");
                }
            }
        }
        let mut out = Vec::new();
        side.machine.transmit(&mut out);
        last.extend_from_slice(&out);
        let waiting = side.machine.deadline().is_some();
        assert!(waiting || ended == 1 || established, "neither waiting nor over");
        if let Some(deadline) = side.machine.deadline() {
            assert!(deadline <= side.now + Duration::from_secs(60));
        }
    }
    assert!(ended == 1 || established, "time ran out and it still waits");
    assert!(std::str::from_utf8(&last).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn inbound(input in prop::collection::vec(bytes(), 0..30), allow in any::<bool>()) {
        survive(In::fresh(), &input, |machine, now| {
            use nuncio_xmpp::stream::{PartnerVerdict, Refusal, Terms};
            let verdict = if allow {
                PartnerVerdict::Allowed(Terms::default())
            } else {
                PartnerVerdict::Refused { why: Refusal::Disabled, text: "no".into() }
            };
            machine.partner_verdict(verdict, now);
        });
    }

    #[test]
    fn outbound(input in prop::collection::vec(bytes(), 0..30)) {
        survive(Out::fresh(), &input, |_, _| {});
    }

    #[test]
    fn inbound_from_an_authenticated_peer(input in prop::collection::vec(bytes(), 0..30)) {
        let mut side = In::open();
        for bytes in &input {
            side.machine.receive(bytes, side.now);
            side.written();
        }
        let ends = side.outputs.iter().filter(|output| matches!(output, Output::ShutdownTls | Output::Abort)).count();
        prop_assert!(ends <= 1);
    }
}
