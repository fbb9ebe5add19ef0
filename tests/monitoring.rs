//! What `docs/monitoring/` has is what the gateway gives: metrics, alert rules, dashboard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nuncio::metrics::{catalog, reference};
use nuncio_world::promtool::promtool;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The names of all samples there can be.
fn samples() -> BTreeSet<String> {
    catalog::all().iter().flat_map(|family| family.samples()).collect()
}

/// The metrics that a text in PromQL names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("nuncio_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("expr", Value::String(expr)) => into.push(expr.clone()),
                        _ => collect(value, into),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let mut queries = Vec::new();
    collect(&serde_json::from_str(&read("dashboard.json")).unwrap(), &mut queries);
    queries
}

#[test]
fn every_metric_stands_in_the_documentation_and_no_other() {
    let text = read("metrics.md");
    let end_of_prose = text.find(reference::MARK).unwrap() + reference::MARK.len();
    let expected = format!("{}{}", &text[..end_of_prose], reference::markdown());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(folder().join("metrics.md"), expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/monitoring/metrics.md is out of date; renew it: BLESS=1 cargo test -p nuncio --test monitoring"
        );
    }
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let samples = samples();
    for (place, text) in [("alerts.yml", read("alerts.yml")), ("dashboard.json", read("dashboard.json"))] {
        let named = named(&text);
        assert!(named.len() > 10, "{place}: {named:?}");
        let unknown: Vec<_> = named.difference(&samples).collect();
        assert!(unknown.is_empty(), "{place} names metrics that there are not: {unknown:?}");
    }
}

#[test]
fn promtool_takes_the_rules() {
    let said = promtool([Path::new("check"), "rules".as_ref(), &folder().join("alerts.yml")], "");
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{said:?}");
}

#[test]
fn the_rules_say_what_they_should_of_synthetic_series() {
    let said = promtool([Path::new("test"), "rules".as_ref(), &folder().join("alerts_test.yml")], "");
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{}", said.unwrap_or_else(|said| said));
}

#[test]
fn promtool_takes_every_query_of_the_dashboard() {
    let queries = queries();
    assert!(queries.len() > 30, "{queries:?}");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for (number, query) in queries.iter().enumerate() {
        // What Grafana puts in.
        let query = query.replace("$__rate_interval", "1m");
        rules += &format!("  - record: query_{number}\n    expr: {}\n", Value::String(query));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, &rules).unwrap();
    let said = promtool([Path::new("check"), "rules".as_ref(), &file], "");
    assert!(said.is_ok(), "{said:?}\n{rules}");
}

/// The names of all alerts.
fn alerts() -> Vec<String> {
    let rules = read("alerts.yml");
    let named = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<_> = named.map(str::to_owned).collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    alerts
}

#[test]
fn every_alert_was_seen_to_come_and_to_stay_away() {
    let tests = read("alerts_test.yml");
    let has = |wanted: &str| tests.lines().any(|line| line.trim().ends_with(wanted));
    let untried: Vec<_> = alerts()
        .into_iter()
        // One for which alerts are expected has them in lines of their own.
        .filter(|alert| {
            let comes = has(&format!("alertname: {alert}"));
            let stays_away = has(&format!("alertname: {alert}, exp_alerts: [] }}"));
            !(comes && stays_away)
        })
        .collect();
    assert!(untried.is_empty(), "alerts_test.yml does not try {untried:?}");
}

#[test]
fn operations_say_what_to_do_about_every_alert() {
    let alerts = alerts();
    let operations = std::fs::read_to_string(folder().join("../operations.md")).unwrap();
    let missing: Vec<_> = alerts.iter().filter(|alert| !operations.contains(&format!("`{alert}`"))).collect();
    assert!(missing.is_empty(), "docs/operations.md has no row about {missing:?}");
}
