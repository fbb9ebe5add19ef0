//! Replays the corpus of the fuzz target `uri_jid`.

#[path = "../../tests/fuzz/checks/uri_jid.rs"]
mod uri_jid;

#[test]
fn uri_jid_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fuzz/corpus/uri_jid");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        uri_jid::check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 40, "{count} inputs");
}
