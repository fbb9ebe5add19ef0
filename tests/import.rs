//! `nuncio import lync`, and what `docs/import.md` says of it.

use std::path::Path;
use std::process::{Command, Output};

use nuncio::import::lync;

#[test]
fn the_documentation_has_every_parameter() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/import.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let end_of_prose = text.find("-->\n\n").map(|at| at + "-->\n\n".len()).unwrap();
    let expected = format!("{}{}", &text[..end_of_prose], lync::markdown());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(
            text == expected,
            "docs/import.md is out of date; renew it: BLESS=1 cargo test -p nuncio --test import"
        );
    }
}

/// Runs it in the folder of the fixtures, with no configuration but the given one.
fn import(arguments: &[&str], config: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import"));
    command.args(["import", "lync"]).args(arguments).env_remove("NUNCIO_CONFIG");
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const ALL: [&str; 3] = ["partners.xml", "gateway.json", "policies.csv"];

#[test]
fn the_plan_is_shown_and_what_is_left_out_costs_the_exit_code() {
    let output = import(&ALL, None);
    let plan = text(&output.stdout);
    assert!(plan.contains("Partners to add: 5") && plan.contains("NOT taken over:"), "{plan}");
    assert_eq!(output.status.code(), Some(1));
    for count in ["Partners in the files: 7", "Not taken over: 2"] {
        assert!(plan.contains(count), "{count}: {plan}");
    }
    let whole = import(&["gateway.xml"], None);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stdout));
}

#[test]
fn what_is_granted_to_some_users_only_is_left_to_be_done_and_that_is_said() {
    let output = import(&["policies.csv"], None);
    let plan = text(&output.stdout);
    assert!(
        plan.contains("WARNING: policy.default = \"deny\": no SIP user may talk to any partner"),
        "{plan}"
    );
    assert!(plan.contains("Tag:XmppUsers is granted"), "{plan}");
    assert_eq!(output.status.code(), Some(1), "{plan}");
}

#[test]
fn with_toml_only_what_can_be_loaded_goes_to_standard_output() {
    let output = import(&[&ALL[..], &["--toml"]].concat(), None);
    let lines: toml::Table = toml::from_str(text(&output.stdout)).unwrap();
    assert_eq!(lines["partner"].as_array().unwrap().len(), 5);
    assert_eq!(lines["policy"]["default"].as_str(), Some("deny"));
    assert!(text(&output.stderr).contains("Partners to add: 5"));
}

#[test]
fn with_json_the_plan_is_one_object_with_the_keys_of_the_file() {
    let output = import(&[&ALL[..], &["--json", "--accept-spoofable"]].concat(), None);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["partners"].as_array().unwrap().len(), 6);
    assert_eq!(plan["partners"][0]["entry"]["type"], "federated");
}

#[test]
fn a_partner_of_the_configuration_is_not_added_again() {
    let minimal = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/right/minimal.toml");
    let output = import(&["partners.csv"], Some(&minimal));
    let plan = text(&output.stdout);
    assert!(plan.contains("Configured already, and not touched: fabrikam.com"), "{plan}");
    assert!(plan.contains("Partners to add: 4"), "{plan}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    for (file, why) in [("absent.xml", "No such file"), ("../import.rs", "as CSV")] {
        let output = import(&[file], None);
        let said = text(&output.stderr);
        assert!(said.contains(file) && said.contains(why), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}
