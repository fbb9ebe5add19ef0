//! Whatever arrives, a stream ends or waits with a deadline, and never panics.

use std::time::Duration;

use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome};
use nuncio_xmpp::stream::{ChainStatus, Output, PartnerVerdict};
use proptest::prelude::*;

use crate::support::{
    ANSWER, AUTH, HEADER, In, MESSAGE, Machine, OFFER_BOTH, OFFER_EXTERNAL, OFFER_TLS, Out, PROCEED,
    STARTTLS, SUCCESS, Side, db, facts, proof, secret, terms,
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

/// The same with dialback in every form, of and to every domain.
fn dialback_bytes() -> impl Strategy<Value = Vec<u8>> {
    let name = || {
        prop::sample::select(vec!["fabrikam.com", "it.fabrikam.com", "contoso.com", "sales.contoso.com", "-"])
    };
    let element = (
        any::<bool>(),
        name(),
        name(),
        prop::sample::select(vec!["", " type='valid'", " type='invalid'", " type='error'", " id='id-one'"]),
        prop::sample::select(vec!["", "key", "k", "<error/>"]),
    );
    let element = element.prop_map(|(result, from, to, rest, content)| {
        let name = if result { "result" } else { "verify" };
        db(name, &format!("from='{from}' to='{to}'{rest}"), content).into_bytes()
    });
    let message = (name(), name())
        .prop_map(|(from, to)| format!("<message from='a@{from}' to='b@{to}'/>").into_bytes());
    let start = prop::sample::select(vec![HEADER, ANSWER, STARTTLS, PROCEED, OFFER_BOTH]);
    prop_oneof![2 => bytes(), 2 => start.prop_map(|text| text.as_bytes().to_vec()), 5 => element, 3 => message]
}

fn outcome() -> impl Strategy<Value = VerifyOutcome> {
    prop_oneof![
        3 => Just(VerifyOutcome::Valid),
        1 => Just(VerifyOutcome::Invalid),
        1 => Just(VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout)),
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
                Output::Stanza(_) | Output::BadAddress { .. } | Output::Unasked(_) | Output::Managed(_) => {
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
    #![proptest_config(crate::cases::cases(2000))]

    #[test]
    fn inbound(input in prop::collection::vec(bytes(), 0..30), allow in any::<bool>()) {
        survive(In::fresh(), &input, |machine, now| {
            use nuncio_xmpp::stream::{Refusal, Terms};
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
    fn inbound_with_dialback(
        input in prop::collection::vec(dialback_bytes(), 0..30),
        entry in prop::sample::select(vec!["N/N/on", "O/O/on", "R/O/on", "R/N/on", "O/N/on", "R/R/off"]),
        outcomes in prop::collection::vec(outcome(), 1..8),
    ) {
        let terms = terms(entry);
        let mut side = In::with(|config| config.dialback = Some(secret()));
        let mut outcomes = outcomes.into_iter().cycle();
        let mut valid = Vec::new();
        for bytes in &input {
            side.machine.receive(bytes, side.now);
            let mut written = Vec::new();
            while let Some(output) = side.machine.poll() {
                match output {
                    Output::StartTls => {
                        // Whatever was said in clear is over.
                        valid.clear();
                        side.machine.tls_established(facts(ChainStatus::Absent, ""), side.now);
                    }
                    Output::AskPartner { .. } => {
                        side.machine.partner_verdict(PartnerVerdict::Allowed(terms), side.now);
                    }
                    Output::Verify(request) => {
                        let outcome = outcomes.next().unwrap();
                        if outcome == VerifyOutcome::Valid {
                            valid.push(request.pair());
                        }
                        side.machine.verified(&request, outcome, side.now);
                    }
                    Output::Established(established) => prop_assert!(terms.allow(established.method)),
                    Output::Stanza(stanza) => {
                        let (from, to) = (stanza.addresses.from.domain(), stanza.addresses.to.domain());
                        let known = valid.iter().any(|pair| pair.from.as_str() == from && pair.to.as_str() == to);
                        prop_assert!(known, "{from} to {to} of {valid:?}");
                    }
                    _ => {}
                }
            }
            side.machine.transmit(&mut written);
            prop_assert!(std::str::from_utf8(&written).is_ok());
        }
        for pair in side.machine.pairs() {
            prop_assert!(valid.contains(pair), "{pair:?} was never verified");
        }
    }

    #[test]
    fn outbound_with_dialback(
        input in prop::collection::vec(dialback_bytes(), 0..30),
        entry in prop::sample::select(vec!["N/N/on", "O/O/on", "R/O/on", "R/N/on", "O/N/on", "R/R/off"]),
    ) {
        let terms = terms(entry);
        let mut side = Out::on(terms);
        for bytes in &input {
            side.machine.receive(bytes, side.now);
            while let Some(output) = side.machine.poll() {
                match output {
                    Output::StartTls => side.machine.tls_established(facts(ChainStatus::Absent, ""), side.now),
                    Output::Established(established) => prop_assert!(terms.allow(established.method)),
                    Output::PairAuthorized(_) | Output::Verified(_) => prop_assert!(false, "nobody asked"),
                    _ => {}
                }
            }
        }
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
