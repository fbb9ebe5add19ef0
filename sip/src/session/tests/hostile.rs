//! Requests and responses inside a session with anything in them: each gets an answer that can be written, nothing that was
//! sent stands in it as a header field of its own, and the session still ends.

use proptest::prelude::*;

use super::*;

/// A change to the bytes of a message.
#[derive(Clone, Debug)]
enum Harm {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    Remove(prop::sample::Index, usize),
    /// A piece of it comes twice.
    Repeat(prop::sample::Index, usize),
}

fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let words = vec![
        "\r\n",
        "\r",
        "\n",
        "\0",
        "\u{fffd}",
        "<",
        ">",
        ";",
        "\"",
        "%0d%0a",
        ";tag=",
        "4294967296",
        "-1",
        ",",
        "\r\nSession-Expires: 0;refresher=\r\n",
        "\r\nContact: <sip:\u{1}>\r\n",
        "\r\nCSeq: 9 BYE\r\n",
        "m=message 5060 sip null\r\n",
        "a=accept-types:*\r\n",
        "m=audio 0\r\n",
    ];
    let at = || any::<prop::sample::Index>();
    let harm = prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Harm::Replace(at, byte)),
        3 => (at(), prop::sample::select(words)).prop_map(|(at, word)| Harm::Insert(at, word)),
        1 => (at(), 1usize..40).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => (at(), 1usize..80).prop_map(|(at, count)| Harm::Repeat(at, count)),
    ];
    prop::collection::vec(harm, 0..6)
}

fn harmed(message: &Message, harms: &[Harm]) -> Vec<u8> {
    let mut bytes = message.raw().to_vec();
    for harm in harms {
        if bytes.is_empty() {
            break;
        }
        match harm {
            Harm::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Harm::Insert(at, word) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, word.bytes());
            }
            Harm::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Harm::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn check(answer: &Answer, request: &Message) {
    assert!((200..700).contains(&answer.status), "{answer:?}");
    let values = answer.headers.iter().map(|(_, value)| value.as_str());
    for text in values.chain([&*answer.reason]) {
        assert!(!text.contains(['\r', '\n', '\0']), "{answer:?}");
    }
    let Ok(head) = ResponseHead::from_request(request, "tag", ([192, 0, 2, 1], 5061).into()) else { return };
    let fields: Vec<_> = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = answer.body.as_deref().map(|(media, body)| (*media, &body[..]));
    let mut out = Vec::new();
    head.write(&mut out, answer.status, &answer.reason, &fields, body);
    let written = Message::parse(out.into()).expect("an answer that can be read");
    assert_eq!(written.status().map(|status| status.0), Some(answer.status));
}

fn hear(rig: &mut Rig, bytes: Vec<u8>) {
    let Ok(message) = Message::parse(bytes.into()) else { return };
    if message.status().is_some() {
        let serials: Vec<_> = rig.sent.iter().map(|(serial, _)| *serial).collect();
        rig.session.early(&message, &mut rig.world.cx());
        for serial in serials {
            rig.session.response(serial, &message, &mut rig.world.cx());
        }
    } else if message.method() == Method::Ack {
        rig.session.acknowledged(&message, &mut rig.world.cx());
    } else if let Received::Answer(answer) = rig.session.request(&message, &mut rig.world.cx()) {
        check(&answer, &message);
    }
    rig.did();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_them_requests_inside_a_session_are_answered_and_it_ends(
        kind in 0u8..3,
        said in prop::collection::vec(
            (prop::sample::select(vec!["INVITE", "UPDATE", "MESSAGE", "INFO", "ACK", "OPTIONS", "BYE", "200"]), harms()),
            1..6,
        ),
    ) {
        let mut rig = match kind {
            0 => Rig::inviting(),
            1 => Rig::called(),
            _ => Rig::invited(),
        };
        for (method, harms) in said {
            rig.cseq += 1;
            let bytes = match rig.sent.last().filter(|_| method == "200") {
                Some((_, request)) => {
                    let extra = [CONTACT, ("Session-Expires", "200;refresher=uac"), ("Min-SE", "100")];
                    harmed(&response(request, 200, "fe1", &extra, OFFER), &harms)
                }
                None => {
                    let method = if method == "200" { "INVITE" } else { method };
                    let extra = ["Supported: timer", "Session-Expires: 120", "Contact: <sip:juliet@pc.example>"];
                    harmed(&rig.inside(method, rig.cseq, &extra, OFFER), &harms)
                }
            };
            hear(&mut rig, bytes);
        }
        rig.session.end(&mut rig.world.cx());
        rig.did();
        for _ in 0..200 {
            random::due(&mut rig);
            rig.did();
        }
        prop_assert!(rig.session.is_over(), "{:?}", rig.session);
    }
}
