//! `nuncio check config` on wrong and right files, run as an administrator runs it.
//!
//! `tests/config/wrong/NAME.toml` has the exact text on standard error beside it in `NAME.txt`. After a deliberate
//! change, `BLESS=1 cargo test --test config_files` writes the texts anew; read the difference before committing it.

mod config_support;

use std::path::Path;

use config_support::{Run, Workspace};
use nuncio_xmpp::{Negotiation, NegotiationRules, SaslUse, TlsUse, Verdict};

/// A state directory in the workspace, not the machine's.
const STATE: (&str, &str) = ("NUNCIO_NODE__STATE_DIR", "state");

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");

#[test]
fn every_wrong_file_gets_an_error_to_act_on() {
    let workspace = Workspace::new();
    let mut names: Vec<String> = std::fs::read_dir(Path::new(FOLDER).join("wrong"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 10, "only {} wrong files", names.len());
    let mut differences = Vec::new();
    for name in names {
        let file = format!("{name}.toml");
        std::fs::copy(Path::new(FOLDER).join("wrong").join(&file), workspace.path().join(&file)).unwrap();
        let Run { code, stdout, stderr } = workspace.nuncio(&["check", "config", "--config", &file], &[]);
        assert_eq!(code, Some(1), "{name}: {stderr}");
        assert_eq!(stdout, "", "{name}");
        let snapshot = Path::new(FOLDER).join("wrong").join(format!("{name}.txt"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&snapshot, &stderr).unwrap();
        }
        let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
        if stderr != expected {
            differences.push(format!("=== {name}: expected\n{expected}=== {name}: found\n{stderr}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_minimal_file_is_right_and_summed_up() {
    let workspace = Workspace::new();
    std::fs::copy(Path::new(FOLDER).join("right/minimal.toml"), workspace.path().join("nuncio.toml"))
        .unwrap();
    let run = workspace.nuncio(&["check", "config", "--config", "nuncio.toml"], &[STATE]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let expected = "\
The configuration can be used. It says:

node           n1, state in state
domains        contoso.com
SIP            listens on 0.0.0.0:5061, calls itself nuncio.contoso.com
  front end    pool1: fe.contoso.com:5061 for contoso.com, certificate fe.contoso.com
policy         on, default allow, no rules, consent for 45d
XMPP           listens on 0.0.0.0:5269
  certificate  pki/contoso.pem for contoso.com
  roots        pki/roots.pem
DNS            those of the system
partners       1
  partner      fabrikam.com: federated, SASL EXTERNAL over TLS

What it names was looked at, as user UID:

[sip] certificate pki/sip.pem
  good     it is for nuncio.contoso.com (sip.name)
  good     it is valid until 4096-01-01 00:00:00 UTC, DAYS days from now
  good     its key is good (ECDSA, P-256)
  good     its chain is complete, and leads to one of sip.roots

[[certificate]] pki/contoso.pem
  good     it is for contoso.com
  good     it is valid until 4096-01-01 00:00:00 UTC, DAYS days from now
  good     its key is good (ECDSA, P-256)
  good     its chain is complete, and leads to a root of xmpp.roots or of this machine

[node] state_dir state
  note     it does not exist yet; the gateway makes it when it starts first

Everything is right.
";
    // These depend on who looks, and when.
    let known = |line: &str| match (line.split_once("as user "), line.split_once(" UTC, ")) {
        (Some((before, _)), _) => format!("{before}as user UID:"),
        (_, Some((before, _))) => format!("{before} UTC, DAYS days from now"),
        _ => line.to_owned(),
    };
    let found: Vec<_> = run.stdout.lines().map(known).collect();
    assert_eq!(found.join("\n") + "\n", expected);
    assert!(!workspace.path().join("state").exists(), "checking changes nothing");
}

#[test]
fn an_old_front_end_is_summed_up_as_one_and_refused_by_a_build_without_openssl() {
    let workspace = Workspace::new();
    let minimal = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    let hops = "next_hops = [\"fe.contoso.com:5061\"]\n";
    let old = minimal.replace(hops, &format!("{hops}tls_backend = \"openssl-legacy\"\n"));
    assert_ne!(old, minimal);
    workspace.write("nuncio.toml", &old);
    let run = workspace.nuncio(&["check", "config", "--config", "nuncio.toml"], &[STATE]);
    if cfg!(feature = "openssl-legacy") {
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        let said =
            "pool1: fe.contoso.com:5061 for contoso.com, certificate fe.contoso.com, TLS 1.2 also with CBC\n";
        assert!(run.stdout.contains(said), "{}", run.stdout);
    } else {
        assert_ne!(run.code, Some(0));
        assert!(
            run.stderr.contains("pool1: tls_backend: this program was built without OpenSSL"),
            "{}",
            run.stderr
        );
    }
}

/// The partners in `docs/federation.md` that an administrator would copy.
fn documented_partners() -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(FOLDER).join("../../docs/federation.md")).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.filter(|block| block.contains("[[partner]]")).collect()
}

/// What `check config` says when the partner of the minimal file is replaced by this one.
fn checked_with(partner: &str) -> Run {
    let workspace = Workspace::new();
    let minimal = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    let (before, _) = minimal.split_once("[[partner]]").unwrap();
    workspace.write("nuncio.toml", &format!("{before}{partner}"));
    workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE])
}

#[test]
fn a_policy_that_lets_nobody_talk_is_shown_and_warned_of() {
    for (policy, line, warning) in [
        (
            "enabled = false",
            "policy         OFF, default allow, no rules, consent for 45d",
            "it is off (enabled = false)",
        ),
        (
            "default = \"deny\"\nconsent = \"30d\"",
            "policy         on, default deny, no rules, consent for 30d",
            "default is \"deny\" and no rule allows anybody",
        ),
        (
            "[[policy.rule]]\nname = \"all\"\nusers = [\"*\"]\nverdict = \"deny\"",
            "policy         on, default allow, 1 rule, consent for 45d",
            "the rule all denies every SIP user anything",
        ),
    ] {
        let run = checked_with(&format!(
            "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n\n[policy]\n{policy}\n"
        ));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stdout.contains(line), "{}", run.stdout);
        assert!(run.stdout.contains(&format!("[policy]\n  WARNING  {warning}")), "{}", run.stdout);
        assert!(run.stdout.ends_with("It works, with 1 warning.\n"), "{}", run.stdout);
    }
    let rule = "[[policy.rule]]\nusers = [\"alice@contoso.com\"]\nverdict = \"allow\"";
    let run = checked_with(&format!(
        "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n\n[policy]\ndefault = \"deny\"\n{rule}\n"
    ));
    assert!(run.stdout.contains("default deny, 1 rule"), "{}", run.stdout);
    assert!(run.stdout.ends_with("Everything is right.\n"), "one is let in: {}", run.stdout);
}

#[test]
fn the_documented_partners_are_right_without_a_warning() {
    let ways: Vec<String> = documented_partners()
        .iter()
        .map(|partner| {
            let run = checked_with(partner);
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{partner}");
            let line = run.stdout.lines().find_map(|line| line.strip_prefix("  partner      "));
            line.unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(
        ways,
        [
            "fabrikam.com: federated, SASL EXTERNAL over TLS",
            "fabrikam.com: federated, SASL EXTERNAL over TLS, dialback over TLS",
            "fabrikam.com: federated, SASL EXTERNAL over TLS",
            // Google Talk.
            "gmail.com: public-unverified, dialback over plain TCP",
        ]
    );
}

#[test]
fn the_documented_table_is_what_the_rules_say() {
    let text = std::fs::read_to_string(Path::new(FOLDER).join("../../docs/federation.md")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains("| on |") || line.contains("| off |")).collect();
    let mut expected = Vec::new();
    for sasl in SaslUse::ALL {
        for tls in TlsUse::ALL {
            for dialback in [true, false] {
                let negotiation = Negotiation { tls: *tls, sasl: *sasl, dialback };
                let result = |rules| match negotiation.verdict(rules) {
                    Verdict::Clean(methods) => methods.to_string(),
                    Verdict::Warned(methods, _) => format!("{methods}, warning"),
                    Verdict::Refused(_) => "refused".to_owned(),
                };
                let on = if dialback { "on" } else { "off" };
                let (strict, compat) = (result(NegotiationRules::Strict), result(NegotiationRules::Compat));
                expected.push(format!("| {tls} | {sasl} | {on} | {strict} | {compat} |"));
            }
        }
    }
    assert_eq!(rows, expected);
}

#[test]
fn a_combination_that_is_hardly_meant_is_a_warning_with_what_results() {
    let partner = "[[partner]]\ndomain = \"a.example\"\ntype = \"federated\"\n";
    let run = checked_with(&format!("{partner}tls = \"optional\"\n"));
    assert_eq!(run.code, Some(0));
    let expected = "nuncio.toml:32:7: warning: [[partner]] a.example: tls = \"optional\", sasl = \"required\", \
                    dialback = true: SASL needs TLS: ";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert!(run.stderr.contains("what can result is S: SASL EXTERNAL over TLS\n"), "{}", run.stderr);
    assert!(run.stdout.ends_with("It works, with 1 warning.\n"), "{}", run.stdout);
    // What holds by default is no other for being written out.
    for default in ["dialback = true", "sasl = \"required\"", "tls = \"required\""] {
        assert_eq!(checked_with(&format!("{partner}{default}\n")).stderr, "", "{default}");
    }
}

/// Each lane has a stream of its own: whoever serves many domains is told before his users find out.
#[test]
fn streams_that_cannot_all_be_open_are_a_warning_with_the_number_to_set() {
    let further = |count: usize| {
        let domains: Vec<_> = (0..count).map(|number| format!("\"d{number}.example\"")).collect();
        format!(
            "[[partner]]\ndomain = \"a.example\"\ntype = \"federated\"\nadditional_domains = [{}]\n",
            domains.join(", ")
        )
    };
    assert_eq!(checked_with(&further(18)).stderr, "", "one place is left for him");
    let run = checked_with(&further(19));
    let expected = "nuncio.toml:30:10: warning: [[partner]] a.example: each served domain (1) needs a stream to each of his \
                    (20), and he opens streams too; limits.xmpp.connections_per_partner allows 20 together, and messages that \
                    find no place come back; 40 is enough if he does as we do\n";
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    assert_eq!(checked_with(&format!("{}connection_limit = 21\n", further(19))).stderr, "");
    let run = checked_with(&format!("{}connection_limit = 20\n", further(19)));
    assert!(run.stderr.contains("; connection_limit allows 20 together"), "{}", run.stderr);
}

#[test]
fn a_pattern_that_no_served_user_can_match_is_a_warning() {
    let rule =
        |users: &str| format!("[[policy.rule]]\nname = \"x\"\nusers = [\"{users}\"]\nverdict = \"deny\"\n");
    let run = checked_with(&rule("*@*.org"));
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("\"*@*.org\" matches nobody: "), "{}", run.stderr);
    assert_eq!(checked_with(&rule("help*@*.com")).stderr, "");
}

#[test]
fn plain_dialback_of_a_federated_partner_has_to_be_accepted() {
    let partner = |kind: &str, accept: &str| {
        format!(
            "[[partner]]\ndomain = \"a.example\"\ntype = \"{kind}\"\ntls = \"not-supported\"\n\
             sasl = \"not-supported\"\n{accept}"
        )
    };
    let accept = "accept_spoofable = true\n";
    let refused = checked_with(&partner("federated", ""));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("or accept_spoofable = true"), "{}", refused.stderr);
    let taken = checked_with(&partner("federated", accept));
    assert_eq!(taken.code, Some(0));
    assert!(
        taken.stderr.contains("warning: [[partner]] a.example: accept_spoofable: by dialback over"),
        "{}",
        taken.stderr
    );
    assert_eq!(checked_with(&partner("public-verified", "")).stderr, "");
    let needless = checked_with(&partner("public-verified", accept));
    assert_eq!(needless.code, Some(0));
    assert!(needless.stderr.contains("accept_spoofable: has nothing to accept"), "{}", needless.stderr);
}

#[test]
fn files_of_a_partner_that_cannot_be_used_are_errors_with_their_fix() {
    let workspace = Workspace::new();
    let minimal = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    workspace.write("list.pem", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    workspace.write("nuncio.toml", &format!("{minimal}crls = \"list.pem\"\n"));
    let run = workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    let expected = "\n[[partner]] fabrikam.com\n  ERROR    revocation list 1 in list.pem cannot be used: ";
    assert!(run.stdout.contains(expected), "{}", run.stdout);
}

#[test]
fn roots_for_partners_that_cannot_be_used_are_an_error() {
    let workspace = Workspace::new();
    let minimal = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    workspace.write("xmpp-roots.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let text = minimal.replace("[xmpp]\nroots = \"pki/roots.pem\"", "[xmpp]\nroots = \"xmpp-roots.pem\"");
    assert_ne!(text, minimal);
    workspace.write("nuncio.toml", &text);
    let run = workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    let expected = "\n[xmpp] roots xmpp-roots.pem\n  ERROR    ";
    assert!(run.stdout.contains(expected), "{}", run.stdout);
}

#[test]
fn sec_35_the_dialback_secret_is_judged_and_not_shown() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    let text = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    workspace.write("nuncio.toml", &text.replace("[xmpp]\n", "[xmpp]\ndialback_secret = \"secret\"\n"));
    let path = workspace.path().join("secret");
    let check = |content: &str, mode: u32| {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let run = workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE]);
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("hush"), "{}", run.stderr);
        (run.code, run.stderr)
    };
    assert_eq!(check("hush-hush-hush-1", 0o600), (Some(0), String::new()));
    let (code, short) = check("hush-hush-hush-", 0o600);
    assert!(code == Some(1) && short.contains("has 15 bytes; 16 to 1024 are expected"), "{short}");
    let (code, open) = check("hush-hush-hush-1", 0o644);
    assert!(code == Some(0) && open.contains("every user of this machine may read secret"), "{open}");
}

#[test]
fn what_peers_would_refuse_is_an_error_with_its_fix() {
    let workspace = Workspace::new();
    let text = std::fs::read_to_string(Path::new(FOLDER).join("right/minimal.toml")).unwrap();
    // The certificate is for contoso.com only, and the gateway's name is another.
    let text = text
        .replace("domains = [\"contoso.com\"]", "domains = [\"contoso.com\", \"litware.com\"]")
        .replace("name = \"nuncio.contoso.com\"", "name = \"gw.contoso.com\"");
    workspace.write("nuncio.toml", &text);
    let run = workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
    for part in [
        "\n  ERROR    it is not for litware.com: it is for contoso.com\n           fix: have it issued for the domain itself",
        "\n  ERROR    it is not for gw.contoso.com (sip.name): it is for nuncio.contoso.com\n           fix: ",
        "\n  good     it is for contoso.com\n",
        "\n2 errors: what is named there will not work.\n",
    ] {
        assert!(run.stdout.contains(part), "{part} is missing in\n{}", run.stdout);
    }
}

#[test]
fn a_state_directory_that_anybody_may_write_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    std::fs::copy(Path::new(FOLDER).join("right/minimal.toml"), workspace.path().join("nuncio.toml"))
        .unwrap();
    let state = workspace.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = workspace.nuncio(&["check", "config", "nuncio.toml"], &[STATE]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("(mode 777)\n           fix: chmod 700 state\n"), "{}", run.stdout);
}

#[test]
fn the_file_is_given_by_flag_or_by_place_or_by_the_environment() {
    let workspace = Workspace::new();
    std::fs::copy(Path::new(FOLDER).join("right/minimal.toml"), workspace.path().join("nuncio.toml"))
        .unwrap();
    workspace.write("label.toml", "[node]\nlabel = \"n7\"\n");
    let named = ("NUNCIO_CONFIG", "nuncio.toml");
    for (arguments, environment, label) in [
        (&["--config", "nuncio.toml", "--config", "label.toml"][..], &[STATE][..], "n7"),
        (&["nuncio.toml", "label.toml"], &[STATE], "n7"),
        (&["nuncio.toml"], &[STATE, ("NUNCIO_CONFIG", "absent.toml")], "n1"),
        (&[], &[STATE, named], "n1"),
    ] {
        let run = workspace.nuncio(&[&["check", "config"][..], arguments].concat(), environment);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
        assert!(run.stdout.contains(&format!("\nnode           {label}, ")), "{arguments:?}: {}", run.stdout);
    }
    let run = workspace.nuncio(&["check", "config", "--config", "nuncio.toml", "label.toml"], &[STATE]);
    assert_eq!(run.code, Some(2), "which one wins would be a guess");
    let run = workspace.nuncio(&["check", "config"], &[]);
    assert!(run.stderr.starts_with("/etc/nuncio/nuncio.toml: "), "{}", run.stderr);
}

#[test]
fn relative_paths_begin_at_the_folder_of_their_file() {
    let workspace = Workspace::new();
    std::fs::copy(Path::new(FOLDER).join("right/minimal.toml"), workspace.path().join("nuncio.toml"))
        .unwrap();
    std::fs::create_dir(workspace.path().join("elsewhere")).unwrap();
    let run = workspace.nuncio_in("elsewhere", &["check", "config", "--config", "../nuncio.toml"], &[STATE]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_key_that_everybody_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::new();
    std::fs::copy(Path::new(FOLDER).join("right/minimal.toml"), workspace.path().join("nuncio.toml"))
        .unwrap();
    let key = workspace.path().join("pki/sip.key");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = workspace.nuncio(&["check", "config", "--config", "nuncio.toml"], &[STATE]);
    assert_eq!(run.code, Some(0));
    assert!(run.stdout.ends_with("\nIt works, with 1 warning.\n"), "{}", run.stdout);
    let first = run.stderr.lines().next().unwrap();
    assert_eq!(
        first,
        "nuncio.toml:7:7: warning: [sip] key: every user of this machine may read pki/sip.key; chmod o= pki/sip.key"
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_named() {
    let workspace = Workspace::new();
    let run = workspace.nuncio(&["check", "config", "--config", "absent.toml"], &[]);
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.stderr,
        "absent.toml: there is no such file; NUNCIO_CONFIG or --config FILE names the configuration file\n\n\
         The configuration has 1 error.\n"
    );
    std::fs::write(workspace.path().join("latin1.toml"), b"# fine\n[node]\nlabel = \"\xFC\"\n").unwrap();
    let run = workspace.nuncio(&["check", "config", "--config", "latin1.toml"], &[]);
    assert_eq!(run.code, Some(1));
    assert_eq!(
        run.stderr,
        "latin1.toml: the file is not UTF-8 text (line 3); save it as UTF-8\n\nThe configuration has 1 error.\n"
    );
}

#[test]
fn run_refuses_a_wrong_file_with_the_same_words() {
    let workspace = Workspace::new();
    std::fs::copy(
        Path::new(FOLDER).join("wrong/partner_type.toml"),
        workspace.path().join("partner_type.toml"),
    )
    .unwrap();
    let run = workspace.nuncio(&["run", "--config", "partner_type.toml"], &[]);
    assert_eq!(run.code, Some(1));
    let expected = std::fs::read_to_string(Path::new(FOLDER).join("wrong/partner_type.txt")).unwrap();
    assert_eq!(run.stderr, expected);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let workspace = Workspace::new();
    for arguments in [
        &["check", "everything"][..],
        &["run", "--log-format", "xml"],
        &["walk"],
        &["run", "--conf", "x"],
        &[],
    ] {
        let run = workspace.nuncio(arguments, &[]);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn help_and_version_are_worth_asking_for() {
    let workspace = Workspace::new();
    let run = workspace.nuncio(&["--version"], &[]);
    assert_eq!((run.code, run.stdout), (Some(0), format!("nuncio {}\n", env!("CARGO_PKG_VERSION"))));
    let help = workspace.nuncio(&["--help"], &[]).stdout;
    for part in ["run", "check", "Exit codes:", "NUNCIO_SECTION__KEY", "docs/configuration.md"] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    let help = workspace.nuncio(&["run", "--help"], &[]).stdout;
    for part in [
        "--config <FILE>",
        "--log-level",
        "--log-format",
        "SIGTERM",
        "/etc/nuncio/nuncio.toml",
        "human, json",
    ] {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
}
