//! The fuzzers' corpus and arbitrary input, through the functions the fuzzers call.

#[path = "../../tests/fuzz/src/xmpp.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod xmpp;

#[path = "../../tests/fuzz/src/negotiation/mod.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod negotiation;

use std::path::Path;

use proptest::prelude::*;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "{target}: the corpus is there");
    inputs
}

fn replay(target: &str, run: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        assert!(std::panic::catch_unwind(|| run(&bytes)).is_ok(), "{path}");
    }
}

#[test]
fn xmpp_frame_corpus() {
    replay("xmpp_frame", xmpp::frame);
}

#[test]
fn stanza_corpus() {
    replay("stanza", xmpp::stanza);
}

#[test]
fn presence_documents_are_the_same_as_tree_and_document() {
    replay("pidf", xmpp::document);
}

#[test]
fn negotiation_corpus() {
    replay("negotiation", |script| {
        negotiation::negotiation(script);
    });
}

#[test]
fn the_scripts_of_the_corpus_come_as_far_as_streams_can() {
    use nuncio_xmpp::stream::Method::{DialbackTcp, DialbackTls, SaslExternal};
    let reached: Vec<_> =
        corpus("negotiation").iter().map(|(_, script)| negotiation::negotiation(script)).collect();
    for inbound in [true, false] {
        for method in [SaslExternal, DialbackTls, DialbackTcp] {
            let there = |r: &&negotiation::Reached| r.inbound == inbound && r.method == Some(method);
            let there: Vec<_> = reached.iter().filter(there).collect();
            assert!(!there.is_empty(), "{method}, inbound: {inbound}");
            assert!(!inbound || there.iter().any(|r| r.stanzas > 0), "no stanza by {method}");
        }
        assert!(
            reached.iter().any(|r| r.inbound == inbound && r.pairs > 1),
            "no further pair, inbound: {inbound}"
        );
    }
    assert!(reached.iter().any(|r| r.verified.is_some()), "no key was verified");
}

/// Inputs of a corpus with a few bytes exchanged, cut out or doubled.
fn damaged(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let inputs: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    let place = any::<prop::sample::Index>;
    let changes = prop::collection::vec((place(), any::<u8>(), 0u8..4, place()), 0..5);
    (prop::sample::select(inputs), changes).prop_map(|(mut bytes, changes)| {
        for (at, byte, how, to) in changes {
            if bytes.is_empty() {
                break;
            }
            let (at, to) = (at.index(bytes.len()), to.index(bytes.len()));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.drain(at.min(to)..at.max(to))),
                _ => {
                    let piece = bytes[at.min(to)..at.max(to)].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    })
}

/// Things that happen in the scripts of the corpus, in any order and under any settings.
fn shuffled() -> impl Strategy<Value = Vec<u8>> {
    let scripts: Vec<Vec<u8>> = corpus("negotiation").into_iter().map(|(_, bytes)| bytes).collect();
    let (mut settings, mut happenings) = (Vec::new(), Vec::new());
    for script in &scripts {
        let mut lines = script.split(|&byte| byte == b'\n').map(<[u8]>::to_vec);
        settings.extend(lines.next());
        happenings.extend(lines);
    }
    let happening = prop::sample::select(happenings);
    // A beginning that leads somewhere, and then anything.
    let beginning = prop::sample::select(scripts).prop_flat_map(|script| {
        let lines: Vec<Vec<u8>> = script.split(|&byte| byte == b'\n').skip(1).map(<[u8]>::to_vec).collect();
        (0..=lines.len()).prop_map(move |count| lines[..count].to_vec())
    });
    let letters = prop::collection::vec(any::<u8>().prop_filter("no line end", |&byte| byte != b'\n'), 16);
    let settings = prop_oneof![prop::sample::select(settings), letters];
    (settings, beginning, prop::collection::vec(happening, 0..12)).prop_map(|(settings, beginning, rest)| {
        let lines: Vec<Vec<u8>> = [vec![settings], beginning, rest].concat();
        lines.join(&b'\n')
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams(input in damaged("xmpp_frame")) {
        xmpp::frame(&input);
    }

    #[test]
    fn damaged_negotiations(input in damaged("negotiation")) {
        let _ = negotiation::negotiation(&input);
    }

    #[test]
    fn shuffled_negotiations(input in shuffled()) {
        let _ = negotiation::negotiation(&input);
    }

    #[test]
    fn damaged_documents(input in damaged("stanza")) {
        xmpp::stanza(&input);
    }

    #[test]
    fn damaged_presence_documents(input in damaged("pidf")) {
        xmpp::document(&input);
    }
}
