//! The fuzzers' corpus and arbitrary input, through the functions the fuzzers call.
//!
//! An arbitrary input that fails is kept among the fuzzers' artifacts (`tests/fuzz/artifacts`, not in git), and run with the
//! corpus from then on, until somebody makes it a part of the corpus or takes it away. `PROPTEST_CASES` says how many are
//! tried.

#[path = "common/cases.rs"]
#[expect(dead_code, reason = "the seed of a case says nothing here once the corpus has changed")]
mod cases;

#[path = "../../tests/fuzz/src/xmpp.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod xmpp;

#[path = "../../tests/fuzz/src/negotiation/mod.rs"]
#[allow(unreachable_pub, reason = "public for the fuzz targets")]
mod negotiation;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(kind).join(target)
}

fn inputs(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let inputs = inputs(&folder("corpus", target));
    assert!(inputs.len() >= 20, "{target}: the corpus is there");
    inputs
}

/// What failed in an earlier run. What the fuzzers themselves keep there may take any time, and is theirs.
fn failed(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = folder("artifacts", target);
    let all = if dir.exists() { inputs(&dir) } else { Vec::new() };
    all.into_iter().filter(|(path, _)| path.contains(KEPT)).collect()
}

fn replay(target: &str, run: fn(&[u8])) {
    for (path, bytes) in corpus(target).into_iter().chain(failed(target)) {
        assert!(std::panic::catch_unwind(|| run(&bytes)).is_ok(), "{path}");
    }
}

/// How the names of inputs begin that failed here.
const KEPT: &str = "proptest-";

/// Runs an arbitrary input, and keeps it if it fails.
fn try_out(test: &'static str, target: &str, run: fn(&[u8]), input: &[u8]) -> Result<(), TestCaseError> {
    std::panic::catch_unwind(|| run(input)).map_err(|_| {
        let path = keep(test, target, input);
        TestCaseError::fail(format!("kept as {}:\n{}", path.display(), String::from_utf8_lossy(input)))
    })
}

/// Of all that fail in one run of a test while the failure is made smaller, the last one stays.
fn keep(test: &'static str, target: &str, input: &[u8]) -> PathBuf {
    static LAST: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    let dir = folder("artifacts", target);
    let path = dir.join(format!("{KEPT}{test}-{:016x}", hash.finish()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(&path, input).unwrap();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match last.get_or_insert_default().insert(test, path.clone()) {
        Some(before) if before != path => std::fs::remove_file(before).unwrap(),
        _ => {}
    }
    path
}

fn negotiate(script: &[u8]) {
    negotiation::negotiation(script);
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
    replay("negotiation", negotiate);
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
    assert!(reached.iter().any(|r| !r.inbound && r.stanzas > 0), "no stanza came back on a stream we opened");
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

/// Two scripts of the corpus woven into one, with things said twice or left out, and moments in which they do not reckon
/// with time or an end.
fn woven() -> impl Strategy<Value = Vec<u8>> {
    let lines =
        |script: Vec<u8>| -> Vec<Vec<u8>> { script.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect() };
    let scripts: Vec<_> = corpus("negotiation").into_iter().map(|(_, script)| lines(script)).collect();
    let script = || prop::sample::select(scripts.clone());
    let moments = || {
        prop::sample::select(vec!["D", "Wz", "E", "Ereset", "C", "A", "T", "V01", "V11", "</stream:stream>"])
    };
    let changes = prop::collection::vec(
        (0usize..16, prop::sample::select(b"idoDvRON+-scpyktaoun!?123".to_vec())),
        0..3,
    );
    let weave = prop::collection::vec((0u8..16, moments()), 0..40);
    (script(), script(), changes, weave).prop_map(|(one, other, changes, weave)| {
        let mut settings = one.first().cloned().unwrap_or_default();
        for (place, letter) in changes {
            settings.get_mut(place).into_iter().for_each(|at| *at = letter);
        }
        let (mut one, mut other) = (one.into_iter().skip(1), other.into_iter().skip(1));
        let mut said = vec![settings];
        for (what, moment) in weave {
            let next = match what {
                0..9 => one.next(),
                9..12 => other.next(),
                12 => said.get(1..).and_then(<[_]>::last).cloned(),
                13 => {
                    one.next();
                    None
                }
                _ => Some(moment.as_bytes().to_vec()),
            };
            said.extend(next);
        }
        said.join(&b'\n')
    })
}

proptest! {
    #![proptest_config(cases::unkept(2000))]

    #[test]
    fn damaged_streams(input in damaged("xmpp_frame")) {
        try_out("damaged_streams", "xmpp_frame", xmpp::frame, &input)?;
    }

    #[test]
    fn damaged_negotiations(input in damaged("negotiation")) {
        try_out("damaged_negotiations", "negotiation", negotiate, &input)?;
    }

    #[test]
    fn shuffled_negotiations(input in shuffled()) {
        try_out("shuffled_negotiations", "negotiation", negotiate, &input)?;
    }

    #[test]
    fn woven_negotiations(input in woven()) {
        try_out("woven_negotiations", "negotiation", negotiate, &input)?;
    }

    #[test]
    fn damaged_documents(input in damaged("stanza")) {
        try_out("damaged_documents", "stanza", xmpp::stanza, &input)?;
    }

    #[test]
    fn damaged_presence_documents(input in damaged("pidf")) {
        try_out("damaged_presence_documents", "pidf", xmpp::document, &input)?;
    }
}
