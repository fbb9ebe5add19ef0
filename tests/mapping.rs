//! `docs/mapping.md` is held by golden cases: each row of its tables has at least one that names it, and each name leads to a row.
//!
//! A golden file names rows between its first line and its first section: `row: 3.1 BYE | – | 10 minutes`, the chapter and as much
//! of the row as tells it from the others of that chapter. Tables that a test goes through by itself are listed here.
//!
//! Whether a case really shows its row is for people to judge, as it is with `docs/conformance.md`.

use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FOLDERS: [&str; 4] = [
    "translate/tests/golden",
    "translate/tests/golden_presence",
    "translate/tests/golden_trust",
    "tests/e2e/answers/golden",
];

/// Tables without golden cases, by chapter and the begin of their header; and the test that reads the table, or goes through
/// what stands in it.
const OTHERWISE: [(&str, &str, &str); 14] = [
    ("1.1 Step", "translate/tests/addresses.rs", "a16_what_names_nobody_is_refused_with_its_status"),
    ("1.2 Step", "translate/tests/addresses.rs", "adr_23_every_sip_user_that_crosses_comes_back"),
    ("1.3 SIP", "translate/tests/addresses.rs", "tv_01_a1_to_a15_both_ways"),
    ("2.1 Condition", "translate/tests/errors.rs", "exs_01_to_23_every_condition_has_its_answer"),
    ("2.2 Answer", "translate/tests/errors.rs", "esx_01_to_48_every_code_has_its_condition"),
    ("4.3 Activity", "translate/tests/presence_activities.rs", "the_table_of_activities_is_true"),
    ("4.5 Format", FORMATS, "the_table_of_formats_names_their_media_types_in_order"),
    // Each row is what those of the tables behind it lead to.
    ("4.6 State", FORMATS, "the_table_of_availabilities_is_true"),
    ("4.6 Contact", FORMATS, "the_table_of_what_a_contact_becomes_is_true"),
    ("4.7 Availability", FORMATS, "the_table_of_availabilities_is_true"),
    ("4.7 Token", FORMATS, "the_table_of_tokens_is_true"),
    ("4.8 Activity", FORMATS, "the_table_of_activities_of_msrtc_is_true"),
    ("4.9 Status", FORMATS, "the_table_of_substatuses_is_true"),
    ("5 To", "translate/tests/injection.rs", "sec_30_and_sec_36_xmpp_text_never_makes_a_header_field"),
];
const FORMATS: &str = "translate/tests/presence_formats.rs";

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tables of the document: chapter and header, chapter and content of each row.
fn tables() -> Vec<(String, Vec<String>)> {
    let (mut chapter, mut tables, mut inside) = (String::new(), Vec::<(String, Vec<String>)>::new(), false);
    for line in read("docs/mapping.md").lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let number = heading.trim_start_matches('#').split_whitespace().next().unwrap_or_default();
            number.trim_end_matches('.').clone_into(&mut chapter);
        }
        let Some(row) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        match tables.last_mut().filter(|_| inside) {
            None => tables.push((format!("{chapter} {}", cells.join(" | ")), Vec::new())),
            Some(_) if row.starts_with("--") => {}
            // Two tables beside each other.
            Some((header, rows)) if header.ends_with("Id | Meaning | Id | Meaning") => {
                let halves = cells.chunks(2).filter(|half| !half[0].is_empty());
                rows.extend(halves.map(|half| format!("{chapter} {}", half.join(" | "))));
            }
            Some((_, rows)) => rows.push(format!("{chapter} {}", cells.join(" | "))),
        }
        inside = true;
    }
    tables
}

/// What golden files name: path and row.
fn named() -> Vec<(String, String)> {
    let mut named = Vec::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = read(&path);
            let head = text.lines().take_while(|line| !line.starts_with("=== "));
            let rows = head.filter_map(|line| line.strip_prefix("row: "));
            named.extend(rows.map(|row| (path.display().to_string(), row.to_owned())));
        }
    }
    named
}

fn is_otherwise(header: &str) -> bool {
    OTHERWISE.iter().any(|(table, ..)| header.starts_with(table))
}

#[test]
fn every_row_has_a_golden_case_and_every_case_its_row() {
    let (tables, named) = (tables(), named());
    let rows: Vec<_> =
        tables.iter().filter(|(header, _)| !is_otherwise(header)).flat_map(|(_, rows)| rows).collect();
    assert!(rows.len() >= 200, "{}", rows.len());
    let without = rows.iter().filter(|row| !named.iter().any(|(_, name)| row.starts_with(name)));
    let without: Vec<_> = without.map(|row| format!("no golden case names: {row}")).collect();
    let of = |name: &str| rows.iter().filter(|row| row.starts_with(name)).count();
    let lost = named.iter().map(|(path, name)| (path, name, of(name))).filter(|(.., rows)| *rows != 1);
    let lost: Vec<_> = lost.map(|(path, name, rows)| format!("{path}: {rows} rows are {name}")).collect();
    assert!(without.is_empty() && lost.is_empty(), "{}\n{}", without.join("\n"), lost.join("\n"));
}

#[test]
fn every_table_without_golden_cases_has_a_test_that_is_there() {
    let tables = tables();
    for (table, path, test) in OTHERWISE {
        let headers = tables.iter().filter(|(header, _)| header.starts_with(table)).count();
        assert_eq!(headers, 1, "tables that begin with {table}");
        assert!(read(path).contains(&format!("fn {test}(")), "{path}::{test}");
    }
}
