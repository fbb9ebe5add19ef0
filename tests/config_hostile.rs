//! Whatever the file says, loading it ends with a configuration or with a report that a terminal can show.

use nuncio::config::{Config, Sources};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../examples/nuncio.toml");

fn load(text: &str) {
    let sources = Sources::new().toml("nuncio.toml", text).trusting_paths();
    if let Err(report) = Config::load(&sources, &|_, _| Ok(())) {
        assert!(report.errors() > 0, "refused without an error");
        let shown = report.to_string();
        let odd = shown.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t');
        assert_eq!(odd, None, "in {shown:?}");
        for problem in report.problems() {
            assert!(!problem.text.contains('\n') && !problem.place.is_empty(), "{problem:?}");
        }
    }
}

/// Pieces that TOML and our keys are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,6}",
        "[\\x00-\\x7f]{0,4}",
        prop::sample::select(vec![
            "\"",
            "'",
            "\"\"\"",
            "\n",
            "\r\n",
            "\t",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            "=",
            ".",
            ",",
            "#",
            "\\u0007",
            "true",
            "-1",
            "1e9",
            "nan",
            "0x7fffffffffffffff",
            "1979-05-27",
            "ü",
            "\u{202e}",
            "sip",
            "partner",
            "type",
            "limits",
            "*",
            "[::]:0",
        ])
        .prop_map(str::to_owned),
    ]
}

fn boundary(text: &str, at: prop::sample::Index) -> usize {
    let at = at.index(text.len() + 1);
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_reported_not_feared(
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, piece()), 1..6)
    ) {
        let mut text = EXAMPLE.to_owned();
        for (at, removed, piece) in damages {
            let start = boundary(&text, at);
            let mut end = (start + removed).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(start..end, &piece);
        }
        load(&text);
    }

    #[test]
    fn pieces_make_no_file_that_is_feared(pieces in prop::collection::vec(piece(), 0..30)) {
        load(&pieces.concat());
    }
}

#[test]
fn no_text_of_the_file_commands_the_terminal() {
    let escape = "\\u001b[2J\\u202e";
    load(&format!("\"{escape}\" = 99999999999999999999\n"));
    load(&format!("[\"{escape}\"]\nx = 1\n"));
    load(&format!("[[partner]]\ndomain = \"{escape}\"\n\"{escape}\" = 1\n"));
    load(&format!("[log]\nlevel = \"info,x[{escape}=debug\"\nformat = \"{escape}\"\n"));
}
