//! The fuzzers' corpus, through the function the fuzzer calls.

#[path = "../../tests/fuzz/src/translate.rs"]
#[allow(unreachable_pub, reason = "it is the library of the fuzzers")]
mod fuzz;

use std::path::Path;

#[test]
fn uri_jid_corpus() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/uri_jid");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        fuzz::uri_jid(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 100, "{count} inputs");
}
