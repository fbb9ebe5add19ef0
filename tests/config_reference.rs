//! What `docs/configuration.md` and `examples/nuncio.toml` say is what the program reads.

use std::path::Path;

use nuncio::config::{Config, Sources, reference};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MINIMAL: &str = include_str!("config/right/minimal.toml");

fn load(text: &str) -> Config {
    let sources = Sources::new().toml("nuncio.toml", text).trusting_paths();
    match Config::load(&sources, &|_, _| Ok(())) {
        Ok((config, report)) if report.is_empty() => config,
        Ok((_, report)) | Err(report) => panic!("{report}in\n{text}"),
    }
}

#[test]
fn the_documentation_has_every_key_and_no_other() {
    let path = Path::new(ROOT).join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let end_of_prose = text.find("-->\n\n").map(|at| at + "-->\n\n".len()).unwrap();
    let expected = format!("{}{}", &text[..end_of_prose], reference::markdown());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/configuration.md is out of date; renew it: BLESS=1 cargo test --test config_reference"
        );
    }
}

/// The rows of the key tables: section header, key, default.
fn documented() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs/configuration.md")).unwrap();
    let mut rows = Vec::new();
    let mut header = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("### `") {
            header = rest.trim_end_matches('`');
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split(" | ").collect();
            rows.push((
                header.to_owned(),
                cells[0].trim_end_matches('`').to_owned(),
                cells[2].trim_matches('`').to_owned(),
            ));
        }
    }
    rows
}

#[test]
fn every_documented_key_is_a_key() {
    let mut documented: Vec<String> = documented()
        .into_iter()
        .map(|(header, key, _)| format!("{}.{key}", header.trim_matches(['[', ']'])))
        .collect();
    assert!(documented.len() > 50, "{documented:?}");
    let mut known = reference::keys();
    known.sort();
    documented.sort();
    assert_eq!(documented, known);
}

#[test]
fn a_documented_default_written_out_changes_nothing() {
    let plain = format!("{:?}", load(MINIMAL));
    let mut written = 0;
    for (header, key, default) in documented() {
        if header.starts_with("[[") || default == "required" || default == "–" {
            continue;
        }
        let path = format!("{}.{key}", header.trim_matches(['[', ']']));
        // In front of the first section, where dotted keys are allowed; but not into one that the file opens itself.
        let text = match path.split_once('.') {
            Some((section @ ("sip" | "xmpp"), rest)) => {
                MINIMAL.replacen(&format!("[{section}]\n"), &format!("[{section}]\n{rest} = {default}\n"), 1)
            }
            _ => format!("{path} = {default}\n{MINIMAL}"),
        };
        assert_ne!(text, MINIMAL, "{path}");
        assert_eq!(format!("{:?}", load(&text)), plain, "{path} = {default}");
        written += 1;
    }
    assert!(written > 40, "only {written} defaults");
}

#[test]
fn the_example_is_right_with_and_without_its_comments() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("examples/nuncio.toml")).unwrap();
    assert!(load(&text).partners.is_empty(), "nobody is federated with unasked");
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with("[[")
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = load(&all.replace("family = \"any\"                        # with", "# "));
    assert!(config.sip.connect.source_address.is_some() && config.xmpp.roots.is_some());
    assert_eq!(config.partners.len(), 1);
    // The example shows every key but the limits.
    for key in reference::keys().iter().filter(|key| !key.starts_with("limits.")) {
        let name = key.rsplit('.').next().unwrap();
        assert!(all.contains(&format!("{name} = ")), "{key} is not in the example");
    }
}
