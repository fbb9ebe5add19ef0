//! The fuzzers' corpus and arbitrary input, through the functions the fuzzers call.

use std::path::Path;

use nuncio::net::proxied::header;
use proptest::prelude::*;

#[path = "fuzz/src/proxied.rs"]
#[allow(unreachable_pub, reason = "it is the library of the fuzzers")]
mod proxied;

#[test]
fn proxied_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/proxied");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| proxied::header(&bytes)).is_err() {
            panic!("{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 20, "the corpus is there");
}

proptest! {
    #[test]
    fn any_bytes_behind_a_signature_are_a_header_or_refused(
        command in any::<u8>(), transport in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..64)
    ) {
        proxied::header(&[&header::SIGNATURE[..], &[command, transport], &rest].concat());
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let whole = [&header::SIGNATURE[..], &[0x21, transport & 0x31 | 0x01], &length, &rest].concat();
        proxied::header(&whole);
    }
}
