//! How many cases a property is tried with, and where a failing one is kept.

use proptest::test_runner::{Config, FileFailurePersistence};

/// So many cases, or as many as `PROPTEST_CASES` asks for. What fails is kept beside the test, in
/// `<name>.proptest-regressions`, and tried first from then on.
pub(crate) fn cases(usual: u32) -> Config {
    let kept = FileFailurePersistence::WithSource("proptest-regressions");
    Config { failure_persistence: Some(Box::new(kept)), ..unkept(usual) }
}

/// The same for what depends on more than the seed, and keeps its failures itself.
pub(crate) fn unkept(usual: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases: usual, ..config },
    }
}
