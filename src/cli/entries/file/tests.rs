use std::path::Path;

use serde_json::{Value, json};

use super::super::names;
use crate::config::Kind;

/// What is read from a file with this content, or the refusal.
fn read(kind: Kind, content: &str) -> Result<Vec<Value>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let shown = file.path().display().to_string();
    names(kind).read(file.path()).map_err(|failed| failed.text().replace(&shown, "FILE"))
}

fn exported(kind: Kind, list: Value) -> String {
    names(kind).export(&list, false)
}

fn partners() -> String {
    exported(Kind::Partner, json!([{ "domain": "a.example", "type": "federated", "origin": "stored" }]))
}

#[test]
fn what_is_exported_is_read_and_nothing_exported_is_nothing() {
    let expected = json!([{ "domain": "a.example", "type": "federated" }]);
    assert_eq!(read(Kind::Partner, &partners()), Ok(expected.as_array().cloned().unwrap()));
    assert_eq!(read(Kind::Block, &exported(Kind::Block, json!([]))), Ok(Vec::new()));
    let policy = json!([
        { "name": "global", "default": "deny", "origin": "stored" },
        { "name": "wards", "users": ["*"], "verdict": "deny", "origin": "stored" },
    ]);
    let read = read(Kind::Policy, &exported(Kind::Policy, policy)).unwrap();
    assert_eq!(read.len(), 2, "{read:?}");
}

#[test]
fn no_half_of_an_export_is_taken_for_the_whole() {
    let whole = partners();
    let lines: Vec<&str> = whole.lines().collect();
    for kept in 0..lines.len() {
        let half = lines[..kept].join("\n");
        assert!(read(Kind::Partner, &half).is_err(), "{half}");
    }
    let error = read(Kind::Partner, &lines[..lines.len() - 1].join("\n")).unwrap_err();
    assert!(error.contains("it is not whole"), "{error}");
    assert!(read(Kind::Partner, &lines[1..].join("\n")).unwrap_err().contains("it is not whole"));
}

#[test]
fn what_has_nothing_of_the_kind_in_it_is_refused() {
    for content in ["", "\n", "# nothing\n", &exported(Kind::Block, json!([])), "policy = {}\n"] {
        let error = read(Kind::Partner, content).unwrap_err();
        assert!(error.contains("[[partner]]") && error.contains("nothing was changed"), "{content}: {error}");
    }
    assert!(read(Kind::Policy, "[policy]\n").unwrap_err().contains("[[policy.rule]]"));
}

#[test]
fn what_is_not_known_is_told_with_its_line() {
    let partner = "[[partner]]\ndomain = \"a.example\"\ntype = \"federated\"\n";
    for (kind, content, expected) in [
        (
            Kind::Partner,
            format!("{partner}typ = \"x\"\n"),
            "FILE:4: [[partner]] has no key \"typ\"; did you mean \"type\"?",
        ),
        (
            Kind::Partner,
            format!("{partner}origin = \"stored\"\n"),
            "FILE:4: [[partner]] has no key \"origin\"; there are: ",
        ),
        (
            Kind::Partner,
            format!("{partner}\n[sip]\nname = \"x\"\n"),
            "FILE:5: [sip] is none of what “nuncio partner apply” takes",
        ),
        (Kind::Partner, format!("{partner}\n[[partners]]\n"), "FILE:5: [[partners]] is none of what"),
        (
            Kind::Partner,
            "\ndomain = \"a.example\"\n".to_owned(),
            "FILE:2: the key \"domain\" is none of what",
        ),
        (
            Kind::Partner,
            "[partner]\ndomain = \"a.example\"\n".to_owned(),
            "FILE:1: each partner is written under its own [[partner]]",
        ),
        (
            Kind::Policy,
            "[policy]\ndefaults = \"deny\"\n".to_owned(),
            "FILE:2: [policy] has no key \"defaults\"; did you mean \"default\"?",
        ),
        (
            Kind::Policy,
            "[[policy.rule]]\nuser = [\"*\"]\n".to_owned(),
            "FILE:2: [[policy.rule]] has no key \"user\"; did you mean \"users\"?",
        ),
        (
            Kind::Block,
            "[[block]]\naddress = \"a.example\"\nuntil = 3\n".to_owned(),
            "FILE:3: [[block]] has no key \"until\"",
        ),
    ] {
        let error = read(kind, &content).unwrap_err();
        assert!(error.starts_with(expected) && error.ends_with("nothing was changed"), "{error}\n{expected}");
    }
}

#[test]
fn a_section_without_what_it_goes_by_is_told_with_its_line() {
    for (kind, content, said) in [
        (Kind::Partner, "\n[[partner]]\ntype = \"federated\"\n", "FILE:2: this [[partner]] has no domain"),
        (Kind::Policy, "[[policy.rule]]\nusers = [\"a@b\"]\n", "FILE:1: this [[policy.rule]] has no name"),
        (
            Kind::Block,
            "[[block]]\naddress = \"a@b.c\"\n\n[[block]]\n",
            "FILE:4: this [[block]] has no address",
        ),
    ] {
        let error = read(kind, content).unwrap_err();
        assert!(error.contains(said.trim_start_matches("FILE")), "{error}");
    }
}

#[test]
fn who_is_there_twice_is_told_with_both_lines() {
    let partner = |domain: &str, more: &str| format!("[[partner]]\ndomain = \"{domain}\"\n{more}\n");
    for (kind, content, expected) in [
        (
            Kind::Partner,
            partner("a.example", "") + &partner("b.example", "") + &partner("A.example", ""),
            "FILE:8: \"A.example\" is there twice: first in line 2, of another [[partner]]",
        ),
        (
            Kind::Partner,
            partner("a.example", "additional_domains = [\"c.example\",\n\"b.example\"]")
                + &partner("b.example", ""),
            "FILE:6: \"b.example\" is there twice: first in line 4, of another [[partner]]",
        ),
        (
            Kind::Block,
            "[[block]]\naddress = \"192.0.2.0/24\"\n[[block]]\naddress = \"192.0.2.9/24\"\n".to_owned(),
            "FILE:4: \"192.0.2.9/24\" is there twice: first in line 2, of another [[block]]",
        ),
    ] {
        let error = read(kind, &content).unwrap_err();
        assert!(error.starts_with(expected) && error.ends_with("nothing was changed"), "{error}\n{expected}");
    }
    // What the gateway itself says of one partner is its own to say.
    let once = partner("a.example", "additional_domains = [\"a.example\"]") + &partner("b.example", "");
    assert_eq!(read(Kind::Partner, &once).unwrap().len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_says_which() {
    let failed = names(Kind::Block).read(Path::new("/nowhere/blocks.toml")).unwrap_err();
    assert!(failed.text().starts_with("/nowhere/blocks.toml: "), "{}", failed.text());
}
