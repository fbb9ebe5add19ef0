//! The fuzzers' corpus and arbitrary input, through the functions the fuzzers call.

#[path = "../../tests/fuzz/src/xmpp.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod xmpp;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams(input in damaged("xmpp_frame")) {
        xmpp::frame(&input);
    }

    #[test]
    fn damaged_documents(input in damaged("stanza")) {
        xmpp::stanza(&input);
    }
}
