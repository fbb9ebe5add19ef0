//! The fuzzers' corpus and arbitrary input, through the functions the fuzzers call.

#[path = "../../tests/fuzz/src/sip.rs"]
#[allow(unreachable_pub, reason = "it is the library of the fuzzers")]
mod sip;

use std::path::Path;

use proptest::prelude::*;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| run(&bytes)).is_err() {
            panic!("{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 20, "{target}: the corpus is there");
}

#[test]
fn sip_frame_corpus() {
    replay("sip_frame", sip::frame);
}

#[test]
fn sip_message_corpus() {
    replay("sip_message", sip::message);
}

#[test]
fn sdp_corpus() {
    replay("sdp", sip::sdp);
}

/// The torture messages are a corpus, too.
fn torture() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|set| std::fs::read_dir(root.join(set)).unwrap())
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn torture_messages() {
    for bytes in torture() {
        sip::message(&bytes);
        if let Ok(message) = nuncio_sip::Message::parse(bytes.clone().into()) {
            sip::sdp(&message.body());
        }
        for size in [1, 2, 3, 7, 64] {
            sip::frame(&[&[size][..], &bytes].concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Torture messages with a few bytes exchanged, cut out or doubled.
    #[test]
    fn damaged_messages(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..6),
        size in 1u8..80,
    ) {
        let all = torture();
        let mut bytes = which.get(&all).clone();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            let until = (at + 3).min(bytes.len());
            match change {
                Damage::Put(what) => { bytes.splice(at..at, what.iter().copied()); }
                Damage::Replace(byte) => bytes[at] = byte,
                Damage::Cut => { bytes.drain(at..until); }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        sip::message(&bytes);
        sip::frame(&[&[size][..], &bytes].concat());
    }

    #[test]
    fn any_description(
        head in prop::sample::select(vec!["v=0\r\n", "v=0\n", ""]),
        lines in prop::collection::vec(
            prop_oneof![
                "m=(message|audio|x-ms-message|[a-z(]{1,3}) [0-9/]{1,6} (sip|TCP/MSRP|[A-Z/]{0,4}) [a-z* \\PC]{0,6}",
                "a=accept-types:[*/a-z ;]{0,20}",
                "[a-z]=\\PC{0,8}",
                "\\PC{0,8}",
            ],
            0..40,
        ),
    ) {
        sip::sdp(format!("{head}{}", lines.join("\r\n")).as_bytes());
    }

    #[test]
    fn any_text(text in "\\PC{0,40}", sip in "(sips?:)?[a-z%@:;=?<>\"\\\\\\[\\],. 0-9é]{0,30}") {
        sip::message(text.as_bytes());
        sip::message(sip.as_bytes());
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Put(&'static [u8]),
    Replace(u8),
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces: Vec<&'static [u8]> = vec![
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\r\n ",
        b"\"",
        b"\\",
        b"<",
        b">",
        b";",
        b";;",
        b",",
        b"@",
        b"%",
        b"%00",
        b":",
        b"\0",
        b"\xff",
        b"[",
        b"]",
        b"l: 5\r\n",
        b"SIP/2.0",
        b"=",
        b"?",
        b"9999999999",
    ];
    prop_oneof![
        4 => prop::sample::select(pieces).prop_map(Damage::Put),
        2 => any::<u8>().prop_map(Damage::Replace),
        1 => Just(Damage::Cut),
    ]
}
