//! The fuzzers' corpus, through the function the fuzzer calls.

#[path = "../../tests/fuzz/src/translate.rs"]
#[allow(unreachable_pub, reason = "it is the library of the fuzzers")]
mod fuzz;

use std::path::Path;

#[test]
fn uri_jid_corpus() {
    let count = replay("uri_jid", fuzz::uri_jid);
    assert!(count >= 100, "{count} inputs");
}

#[test]
fn pidf_corpus() {
    let count = replay("pidf", fuzz::pidf);
    assert!(count >= 80, "{count} inputs");
}

#[test]
fn categories_corpus() {
    let count = replay("categories", fuzz::categories);
    assert!(count >= 60, "{count} inputs");
}

#[test]
fn adrl_corpus() {
    let count = replay("adrl", fuzz::adrl);
    assert!(count >= 20, "{count} inputs");
}

#[test]
fn msrtc_corpus() {
    let count = replay("msrtc", fuzz::msrtc);
    assert!(count >= 30, "{count} inputs");
}

#[test]
fn xpidf_corpus() {
    let count = replay("xpidf", fuzz::xpidf);
    assert!(count >= 30, "{count} inputs");
}

#[test]
fn mime_corpus() {
    let count = replay("mime", fuzz::mime);
    assert!(count >= 70, "{count} inputs");
}

#[test]
fn documents_corpus() {
    let count = replay("documents", fuzz::documents);
    assert!(count >= 40, "{count} inputs");
}

fn replay(target: &str, run: fn(&[u8])) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let inputs = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    inputs.map(|input| run(&input)).count()
}
