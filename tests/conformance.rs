//! `docs/conformance.md` is true: every requirement stands in it once, every test it names exists, its sums are right.
//!
//! Whether a test really exercises its requirement is for people to judge. Here it can only be kept from naming one that
//! was renamed, moved or removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STATUSES: [&str; 5] = ["met", "partly", "departed", "not yet", "not applicable"];
/// With what something comes that is not there yet.
const SUBJECTS: [&str; 4] = ["presence", "federation", "administration", "not planned"];
const HEADER: &str = "| Id | Requirement | Source | Priority | Status | Evidence |";
/// Cases that one test goes through, and that test.
const GOLDEN: [(&str, &str); 3] = [
    ("translate/tests/golden/", "translate/tests/golden.rs::golden_pairs"),
    ("translate/tests/golden_presence/", "translate/tests/golden_presence.rs::golden_presence"),
    ("tests/e2e/answers/golden/", "tests/e2e/answers/golden.rs::golden_transcripts"),
];
/// Tests of a runner of its own, and the list it runs.
const SCENARIOS: (&str, &str) =
    ("tests/world/tests/scenarios/", include_str!("world/tests/scenarios/mod.rs"));

struct Row {
    id: String,
    priority: u8,
    status: String,
    evidence: String,
}

impl Row {
    fn tests(&self) -> Vec<&str> {
        let quoted = self.evidence.split('`').skip(1).step_by(2);
        let is_case = |quoted: &str| GOLDEN.iter().any(|(folder, _)| quoted.starts_with(folder));
        quoted.filter(|quoted| quoted.contains(".rs::") || is_case(quoted)).collect()
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of the tables with this header.
fn cells<'a>(document: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let mut cells = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        inside = line == header || (inside && line.starts_with('|'));
        if inside && line != header && !line.starts_with("|---") {
            let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).expect(line);
            cells.push(line.split('|').map(str::trim).collect());
        }
    }
    cells
}

fn rows() -> Vec<Row> {
    let document = read("docs/conformance.md");
    let row = |cells: Vec<&str>| {
        let [id, requirement, source, priority, status, evidence] = cells[..] else {
            panic!("not six cells: {cells:?}")
        };
        assert!(!requirement.is_empty() && !source.is_empty(), "{id}: an empty cell");
        let priority = priority.parse().unwrap_or_else(|_| panic!("{id}: priority {priority:?}"));
        Row { id: id.into(), priority, status: status.into(), evidence: evidence.into() }
    };
    cells(&document, HEADER).into_iter().map(row).collect()
}

#[test]
fn every_requirement_stands_there_once() {
    let list = read("tests/conformance/ids.txt");
    let mut known = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let (id, priority) = line.split_once(' ').expect(line);
        assert!(known.insert(id, priority.parse().expect(line)).is_none(), "{id} is listed twice");
    }
    let rows = rows();
    let mut found = BTreeMap::new();
    for row in &rows {
        assert!(found.insert(row.id.as_str(), row.priority).is_none(), "{} stands there twice", row.id);
    }
    let differences: Vec<_> =
        known.keys().chain(found.keys()).filter(|id| known.get(*id) != found.get(*id)).collect();
    assert!(differences.is_empty(), "not in both with the same priority: {differences:?}");
}

#[test]
fn every_status_has_its_evidence() {
    for Row { id, status, evidence, .. } in &rows() {
        assert!(STATUSES.contains(&status.as_str()), "{id}: {status:?} is no status");
        assert!(!evidence.is_empty(), "{id} has no evidence");
    }
    for row in &rows() {
        let (id, tests, evidence) = (&row.id, row.tests(), row.evidence.as_str());
        // Behind the semicolon stands what is missing.
        let missing = evidence.split_once("; ").map(|(_, missing)| missing.trim());
        match row.status.as_str() {
            "met" => {
                assert!(!tests.is_empty(), "{id} is met without a test");
                assert_eq!(missing, None, "{id} is met and something is missing");
            }
            "partly" => {
                assert!(!tests.is_empty(), "{id} is partly met without a test");
                assert!(missing.is_some_and(|missing| !missing.is_empty()), "{id}: what is missing?");
            }
            "departed" => {
                assert!(!tests.is_empty(), "{id} is done otherwise, without a test");
                let linked = missing.is_some_and(|reason| reason.contains("](architecture.md#"));
                assert!(linked, "{id}: for which reason?");
            }
            "not yet" => {
                assert!(
                    SUBJECTS.iter().any(|subject| evidence.starts_with(subject)),
                    "{id}: {evidence:?} is no subject it could come with"
                );
            }
            _ => {}
        }
    }
}

/// `| Flow | … |` of docs/interop.md against the list of scenarios: each is named, and runs by way of Kamailio where it says so.
#[test]
fn the_table_of_flows_is_that_of_the_scenarios() {
    let (mut direct, mut by_kamailio) = (BTreeSet::new(), BTreeSet::new());
    for entry in SCENARIOS.1.split("scenario!(").skip(1) {
        let entry = entry.split_once(')').expect(entry).0;
        let name = entry.split_whitespace().next().expect(entry);
        if entry.contains("through Kamailio") {
            by_kamailio.insert(name);
        } else if !entry.contains("with Prosody") {
            direct.insert(name);
        }
    }
    let twin = |name: &str| by_kamailio.get(format!("{name}_kamailio").as_str()).copied();
    let (document, mut named) = (read("docs/interop.md"), BTreeSet::new());
    for row in cells(&document, "| Flow | Directly | By way of Kamailio | With SIPp |") {
        let [flow, directly, kamailio, sipp] = row[..] else { panic!("not four cells: {row:?}") };
        for name in quoted(directly).chain(quoted(sipp)) {
            assert!(direct.contains(name), "{flow}: {name} is no scenario");
            named.insert(name);
        }
        for name in quoted(directly) {
            assert_eq!(twin(name).is_some(), kamailio == "yes", "{flow}: {name} by way of Kamailio");
        }
        named.extend(quoted(directly).chain(quoted(sipp)).filter_map(twin));
        named.extend(quoted(kamailio).filter_map(|name| by_kamailio.get(name).copied()));
        assert!(
            kamailio == "yes" || kamailio.starts_with("no: ") || kamailio.starts_with('`'),
            "{flow}: {kamailio}"
        );
        assert!(quoted(sipp).all(|name| twin(name).is_some()), "{flow}: SIPp by way of Kamailio");
        let says = ["`", "no: ", "the same"].iter().any(|begin| sipp.starts_with(begin));
        assert!(says, "{flow}: with SIPp, or why not: {sipp:?}");
    }
    let missing: Vec<_> = direct.union(&by_kamailio).filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
}

/// What stands in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether the source holds a test function of that name that is run.
fn holds_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| is_it(line)).any(|(at, _)| {
        let above =
            lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        let attributes: Vec<_> = above.filter(|line| line.starts_with("#[")).collect();
        attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
            && !attributes.iter().any(|line| line.starts_with("#[ignore"))
    })
}

#[test]
fn only_functions_that_are_run_are_tests() {
    let run = "#[test]\nfn a() {}\n\n    /// What it is for.\n    #[tokio::test]\n    async fn b() {}\n";
    assert!(holds_test(run, "a") && holds_test(run, "b"));
    let not_run =
        "fn a() {}\n#[test]\n#[ignore]\nfn b() {}\n#[test]\nfn abc() {}\n// fn c()\nfn d() { a() }\n";
    for name in ["a", "b", "ab", "c", "d", ""] {
        assert!(!holds_test(not_run, name), "{name}");
    }
}

#[test]
fn every_test_named_exists() {
    let rows = rows();
    let named: BTreeSet<&str> =
        rows.iter().flat_map(Row::tests).chain(GOLDEN.map(|(_, test)| test)).collect();
    let mut missing = Vec::new();
    for named in named {
        let exists = match named.split_once("::") {
            None => Path::new(ROOT).join(named).is_file(),
            Some((path, name)) => {
                let source = std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default();
                if path.starts_with(SCENARIOS.0) {
                    source.contains(&format!("async fn {name}("))
                        // Alone, or with whom and through whom.
                        && [")", " "].iter().any(|end| SCENARIOS.1.contains(&format!("scenario!({name}{end}")))
                } else {
                    holds_test(&source, name)
                }
            }
        };
        if !exists {
            missing.push(named);
        }
    }
    assert!(missing.is_empty(), "named, but not there: {missing:#?}");
}

/// Messages, the SIP side, and the specifications' own examples.
const NAMED: [&str; 16] =
    ["IM", "CH", "GC", "SIP", "EV", "PD", "TV", "S2S", "SASL", "DB", "TLS", "SEC", "SM", "BI", "XE", "XI"];

#[test]
fn what_is_met_of_the_sip_side_is_named_by_a_test() {
    let ours = |row: &&Row| {
        let exercised = ["met", "partly", "departed"].contains(&row.status.as_str());
        exercised && row.priority <= 1 && NAMED.contains(&row.id.split('-').next().unwrap_or_default())
    };
    let rows = rows();
    let nameless =
        rows.iter().filter(ours).filter(|row| !row.tests().iter().any(|test| is_named(test, &row.id)));
    let nameless: Vec<&str> = nameless.map(|row| row.id.as_str()).collect();
    assert!(nameless.is_empty(), "no test is named after these: {nameless:?}");
}

/// Whether the name of a test has the id, or the first line of a golden file: there one test goes through many files, and the
/// line is what each has for a name.
fn is_named(test: &str, id: &str) -> bool {
    let Some((_, name)) = test.split_once("::") else {
        return read(test).lines().next().is_some_and(|line| line.contains(id));
    };
    let (family, number) = id.split_once('-').expect(id);
    let (family, number): (_, u32) = (family.to_lowercase(), number.parse().expect(id));
    let words: Vec<&str> = name.split('_').collect();
    let families = words.iter().enumerate().filter(|(_, word)| **word == family);
    families.map(|(at, _)| &words[at + 1..]).any(|behind| {
        let (mut last, mut to) = (0, false);
        for word in behind {
            match (*word, word.parse()) {
                (_, Ok(found)) if found == number || to && (last..=found).contains(&number) => return true,
                (_, Ok(found)) => (last, to) = (found, false),
                ("to", _) => to = true,
                ("and", _) => {}
                _ => return false,
            }
        }
        false
    })
}

#[test]
fn names_of_tests_have_ids_alone_in_lists_and_in_ranges() {
    let has = |name, id| is_named(&format!("a.rs::{name}"), id);
    assert!(has("im_30_and_33_to_35_x", "IM-30") && has("im_30_and_33_to_35_x", "IM-34"));
    assert!(has("db_03_and_tv_30_to_32_keys", "TV-31") && has("sip_11_12_x", "SIP-12"));
    assert!(!has("im_30_and_33_to_35_x", "IM-31") && !has("sip_34_adr_09_x", "SIP-09"));
    assert!(!has("dec_10_200_and", "SIP-10") && !has("im_1_x_40", "IM-40"));
}

#[test]
fn the_sums_are_right() {
    let (document, rows) = (read("docs/conformance.md"), rows());
    let header = format!("| Priority | {} | all |", STATUSES.join(" | "));
    let table = cells(&document, &header);
    assert_eq!(table.len(), 5, "four priorities and all of them");
    for line in table {
        let of_priority = |row: &&Row| line[0] == "all" || line[0] == row.priority.to_string();
        let of_status = |status| rows.iter().filter(of_priority).filter(|row| row.status == status).count();
        let sums = STATUSES.map(|status| of_status(status).to_string());
        assert_eq!(line[1..=STATUSES.len()], sums, "priority {}", line[0]);
        assert_eq!(
            line[STATUSES.len() + 1],
            rows.iter().filter(of_priority).count().to_string(),
            "priority {}",
            line[0]
        );
    }
}
