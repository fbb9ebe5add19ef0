//! What is exported in any form, and what it becomes. The fixtures are written by us from the documented parameters.

use serde_json::json;

use super::value::{Object, Value};
use super::*;
use crate::config::{Config, Partner, Sources};

const PARTNERS: [(&str, &[u8]); 3] = [
    ("CLIXML", include_bytes!("../../../tests/import/partners.xml")),
    ("JSON", include_bytes!("../../../tests/import/partners.json")),
    ("CSV", include_bytes!("../../../tests/import/partners.csv")),
];
const GATEWAY: [(&str, &[u8]); 3] = [
    ("CLIXML", include_bytes!("../../../tests/import/gateway.xml")),
    ("JSON", include_bytes!("../../../tests/import/gateway.json")),
    ("CSV", include_bytes!("../../../tests/import/gateway.csv")),
];
const POLICIES: [(&str, &[u8]); 3] = [
    ("CLIXML", include_bytes!("../../../tests/import/policies.xml")),
    ("JSON", include_bytes!("../../../tests/import/policies.json")),
    ("CSV", include_bytes!("../../../tests/import/policies.csv")),
];

const RISKY: Choices<'_> = Choices { accept_spoofable: true, config: None, running: &[] };

fn export(files: &[&[u8]]) -> Export {
    let mut export = Export::default();
    for file in files {
        export.read(file).unwrap();
    }
    export
}

/// The plan of all that one form holds.
fn plan_of(form: usize, choices: &Choices<'_>) -> Plan {
    Plan::new(&export(&[PARTNERS[form].1, GATEWAY[form].1, POLICIES[form].1]), choices)
}

fn object(properties: &[(&str, Value)]) -> Object {
    Object {
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The plan of one partner with these properties besides his name.
fn partner(properties: &[(&str, Value)], choices: &Choices<'_>) -> Plan {
    let mut all = vec![("Identity", text("fabrikam.com"))];
    all.extend_from_slice(properties);
    Plan::new(&Export { objects: vec![(Kind::Partner, object(&all))] }, choices)
}

fn loaded(lines: &str) -> Config {
    let sources = Sources::new().toml("import", trial::with_base(lines)).trusting_paths();
    Config::load(&sources, &|_, _| Ok(())).unwrap().0
}

/// A partner of ours in the words of the cmdlet.
fn in_words_of_lync(partner: &Partner) -> Vec<String> {
    let word = |word: &str| word.split('-').map(capital).collect::<String>();
    vec![
        partner.domain.as_str().to_owned(),
        partner.additional_domains.iter().map(|domain| domain.as_str()).collect::<Vec<_>>().join(";"),
        partner.description.clone(),
        word(partner.partner_type.as_str()),
        word(partner.negotiation.tls.as_str()),
        word(partner.negotiation.sasl.as_str()),
        partner.negotiation.dialback.to_string(),
        partner.keep_alive.to_string(),
        partner.connection_limit.to_string(),
        partner.proxy.as_ref().map(ToString::to_string).unwrap_or_default(),
        partner.rules.as_str().to_owned(),
    ]
}

fn capital(word: &str) -> String {
    word.chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect()
}

#[test]
fn the_three_forms_of_an_export_make_one_plan() {
    let plans = [0, 1, 2].map(|form| plan_of(form, &RISKY));
    assert_eq!(plans[0].partners.len(), 6);
    assert_eq!(plans[0], plans[1], "CLIXML and JSON");
    assert_eq!(plans[0], plans[2], "CLIXML and CSV");
}

#[test]
fn partners_come_back_from_the_configuration_as_they_were_exported() {
    #[rustfmt::skip]
    let expected = [
        // Limits: of the partner, else the 30 of all, that the gateway configuration has.
        ["fabrikam.com", "corp.fabrikam.com;it.fabrikam.com", "Fabrikam & Co., \"the\" supplier", "Federated", "Required", "Required", "true", "true", "50", "", "strict"],
        ["wingtip.com", "xn--bcher-kva.example", "", "PublicVerified", "Required", "Optional", "true", "true", "30", "xmpp.wingtip.com:5269", "strict"],
        ["gmail.com", "", "Google Talk as it was", "PublicUnverified", "NotSupported", "NotSupported", "true", "false", "30", "", "strict"],
        ["litware.com", "", "", "PublicVerified", "NotSupported", "Optional", "true", "true", "30", "", "compat"],
        ["tailspin.com", "", "", "Federated", "Optional", "Required", "true", "true", "30", "", "strict"],
        ["proseware.com", "", "", "Federated", "Optional", "NotSupported", "true", "true", "30", "", "strict"],
    ];
    for (form, (name, _)) in PARTNERS.iter().enumerate() {
        let config = loaded(&plan_of(form, &RISKY).toml());
        let found: Vec<Vec<String>> = config.partners.iter().map(in_words_of_lync).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn limits_and_policy_come_back_from_the_configuration() {
    for form in 0..3 {
        let config = loaded(&plan_of(form, &RISKY).toml());
        let xmpp = &config.limits.xmpp;
        let seconds = [xmpp.keep_alive, xmpp.establishment, xmpp.inactivity, config.limits.presence.longest]
            .map(|duration| duration.as_secs());
        assert_eq!((xmpp.streams, xmpp.connections_per_partner), (2000, 30), "{form}");
        assert_eq!(seconds, [240, 45, 900, 14_400], "{form}");
        assert_eq!(config.policy.default, crate::config::Verdict::Deny, "{form}");
    }
}

#[test]
fn every_documented_parameter_is_in_the_fixtures_and_mapped_or_listed() {
    let other = |value: &Value| match value {
        Value::Bool(bool) => Value::Bool(!bool),
        Value::Number(number) => Value::Number(number + 60),
        Value::Text(word) => text(match word.as_str() {
            "Required" => "Optional",
            "Federated" => "PublicVerified",
            _ => "contoso.com",
        }),
        _ => Value::List(vec!["contoso.com".to_owned()]),
    };
    let partner = object(&[
        ("Identity", text("fabrikam.com")),
        ("AdditionalDomains", Value::List(Vec::new())),
        ("ConnectionLimit", Value::Number(50)),
        ("Description", text("x")),
        ("EnableKeepAlive", Value::Bool(true)),
        ("PartnerType", text("Federated")),
        ("ProxyFqdn", text("fabrikam.com")),
        ("SaslNegotiation", text("Required")),
        ("TlsNegotiation", text("Required")),
        ("SupportDialbackNegotiation", Value::Bool(true)),
    ]);
    let mut gateway = Object::default();
    let numbers = [2000, 30, 300, 60, 600, 28_800];
    let mut numbers = numbers.iter();
    for parameter in Kind::Gateway.parameters() {
        if matches!(parameter.fate, Fate::Key(_)) {
            let value = Value::Number(*numbers.next().unwrap());
            gateway.properties.push((parameter.name.to_owned(), value));
        }
    }
    let access = object(&[
        ("Identity", text("Global")),
        ("EnableXmppAccess", Value::Bool(true)),
        ("EnableFederationAccess", Value::Bool(true)),
    ]);
    let whole = plan_of(0, &RISKY);
    for (kind, whole_object) in [(Kind::Partner, partner), (Kind::Gateway, gateway), (Kind::Access, access)] {
        let toml = |object: Object| Plan::new(&Export { objects: vec![(kind, object)] }, &RISKY).toml();
        let before = toml(whole_object.clone());
        for parameter in kind.parameters() {
            match parameter.fate {
                // Another name of Identity.
                Fate::Key(_) if parameter.name == "Domain" => {}
                Fate::Key(key) => {
                    let mut changed = whole_object.clone();
                    let (_, value) =
                        changed.properties.iter_mut().find(|(name, _)| name == parameter.name).unwrap();
                    *value = other(value);
                    assert_ne!(toml(changed), before, "{} changes nothing in {key}", parameter.name);
                }
                Fate::Without(why) => {
                    let listed = whole.unmapped.iter().find(|listed| listed.parameter == parameter.name);
                    assert_eq!(listed.and_then(|listed| listed.why), Some(why), "{}", parameter.name);
                }
                Fate::OfTheCmdlet(_) | Fate::Aside => {}
            }
        }
    }
    let unknown: Vec<_> = whole.unmapped.iter().filter(|listed| listed.why.is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn each_of_the_18_combinations_is_strict_compat_or_left_out() {
    let words = ["Required", "Optional", "NotSupported"];
    let mut counts = [0; 3];
    for tls in words {
        for sasl in words {
            for dialback in [true, false] {
                let plan = partner(
                    &[
                        ("PartnerType", text("PublicVerified")),
                        ("TlsNegotiation", text(tls)),
                        ("SaslNegotiation", text(sasl)),
                        ("SupportDialbackNegotiation", Value::Bool(dialback)),
                    ],
                    &Choices::default(),
                );
                let row = format!("{tls} {sasl} {dialback}");
                match plan.partners.first() {
                    Some(taken) if taken.entry.negotiation_rules.is_none() => counts[0] += 1,
                    Some(taken) => {
                        assert_eq!(taken.entry.negotiation_rules, Some("compat"), "{row}");
                        assert_eq!(taken.ways, "dialback over plain TCP", "{row}");
                        counts[1] += 1;
                    }
                    None => {
                        assert!(plan.left_out[0].why[0].contains("no way to authenticate is left"), "{row}");
                        counts[2] += 1;
                    }
                }
                assert_eq!(plan.check(), Ok(()), "{row}");
            }
        }
    }
    assert_eq!(counts, [11, 2, 5]);
}

#[test]
fn a_federated_partner_whom_anybody_can_pose_as_is_taken_only_if_the_administrator_says_so() {
    let properties = [
        ("PartnerType", text("Federated")),
        ("SaslNegotiation", text("NotSupported")),
        ("TlsNegotiation", text("Optional")),
    ];
    let refused = partner(&properties, &Choices::default());
    assert!(refused.partners.is_empty());
    assert!(refused.left_out[0].why[0].contains("--accept-spoofable"), "{:?}", refused.left_out);
    let taken = partner(&properties, &RISKY);
    assert_eq!(taken.partners[0].entry.accept_spoofable, Some(true));
    assert_eq!(taken.check(), Ok(()));
}

#[test]
fn what_is_not_said_is_what_the_cmdlet_takes() {
    let plan = partner(&[], &Choices::default());
    let config = loaded(&plan.toml());
    let found = config.partners.iter().next().map(in_words_of_lync).unwrap();
    assert_eq!(found[3..7], ["PublicUnverified", "Required", "Required", "true"]);
}

#[test]
fn a_number_in_place_of_a_word_is_never_guessed() {
    let plan = partner(&[("PartnerType", Value::Number(0))], &Choices::default());
    assert!(plan.partners.is_empty());
    assert!(plan.left_out[0].why[0].contains("which word is not documented"), "{:?}", plan.left_out);
}

#[test]
fn a_list_that_csv_has_lost_is_not_taken_for_an_empty_one() {
    let lost = text("System.Collections.Generic.List`1[System.String]");
    let plan = partner(&[("AdditionalDomains", lost)], &Choices::default());
    assert!(plan.partners.is_empty());
    assert!(plan.left_out[0].why[0].contains("Export-Csv leaves lists out"), "{:?}", plan.left_out);
}

#[test]
fn what_is_wrong_with_a_partner_is_said_all_at_once_and_keeps_no_other_out() {
    let wrong = object(&[
        ("Identity", text("not a domain")),
        ("TlsNegotiation", text("Maybe")),
        ("ConnectionLimit", Value::Number(-1)),
    ]);
    let right = object(&[("Identity", text("wingtip.com")), ("PartnerType", text("Federated"))]);
    let export = Export { objects: vec![(Kind::Partner, wrong), (Kind::Partner, right)] };
    let plan = Plan::new(&export, &Choices::default());
    assert_eq!(plan.left_out[0].why.len(), 3, "{:?}", plan.left_out);
    assert_eq!(plan.partners.len(), 1);
    assert!(!plan.is_whole());
}

#[test]
fn a_domain_belongs_to_the_first_partner_that_has_it() {
    let one = object(&[
        ("Identity", text("fabrikam.com")),
        ("AdditionalDomains", Value::List(vec!["x.example".to_owned()])),
    ]);
    let two = object(&[("Identity", text("X.example"))]);
    let export = Export { objects: vec![(Kind::Partner, one), (Kind::Partner, two)] };
    let plan = Plan::new(&export, &Choices::default());
    assert_eq!(plan.partners.len(), 1);
    assert_eq!(plan.left_out[0].why, ["x.example is a domain of fabrikam.com already"]);
}

#[test]
fn what_is_configured_already_is_not_touched_and_own_domains_are_no_partners() {
    let lines = "[[partner]]\ndomain = \"fabrikam.com\"\nadditional_domains = [\"it.fabrikam.com\"]\ntype = \"federated\"\n";
    let file = trial::with_base(lines).replace("nuncio.invalid", "contoso.com");
    let sources = Sources::new().toml("nuncio.toml", file).trusting_paths();
    let config = Config::load(&sources, &|_, _| Ok(())).unwrap().0;
    let choices = Choices { config: Some(&config), ..Choices::default() };
    let known = partner(&[], &choices);
    assert_eq!(known.configured, ["fabrikam.com"]);
    assert!(known.partners.is_empty() && known.is_whole());
    // Whether there is anything to do about it.
    let [differing] = known.differing.as_slice() else { panic!("{:?}", known.differing) };
    assert!(known.to_string().contains("fabrikam.com is another one in the export: "), "{known}");
    assert_eq!(
        (differing.keys.join("; ").as_str(), differing.command.as_str()),
        (
            "type is \"federated\" here, \"public-unverified\" in the export; additional_domains is [\"it.fabrikam.com\"] here, [] in the \
             export",
            "nuncio partner set fabrikam.com type=public-unverified additional_domains="
        )
    );
    let same = [
        ("PartnerType", text("Federated")),
        ("AdditionalDomains", text("IT.fabrikam.com")),
        ("TlsNegotiation", text("Required")),
    ];
    let same = partner(&same, &choices);
    assert!(same.configured.len() == 1 && same.differing.is_empty(), "{same}");
    assert!(same.to_string().contains("none of them is another one"), "{same}");
    for (domain, why) in [
        ("contoso.com", "served here"),
        ("it.fabrikam.com", "a domain of the configured partner fabrikam.com"),
    ] {
        let object = object(&[("Identity", text(domain))]);
        let plan = Plan::new(&Export { objects: vec![(Kind::Partner, object)] }, &choices);
        assert!(plan.left_out[0].why[0].contains(why), "{:?}", plan.left_out);
    }
}

/// What a running gateway tells of fabrikam.com.
fn running(entry: serde_json::Value) -> [Known; 1] {
    let entry = entry.as_object().cloned().unwrap();
    [Known { domain: "fabrikam.com".to_owned(), additional_domains: Vec::new(), entry }]
}

#[test]
fn what_takes_over_a_difference_is_what_the_gateway_takes() {
    let risky = [
        ("PartnerType", text("Federated")),
        ("TlsNegotiation", text("NotSupported")),
        ("SaslNegotiation", text("Optional")),
    ];
    let there = running(
        json!({ "type": "federated", "negotiation_rules": "strict", "defaults": ["negotiation_rules"] }),
    );
    let plan = partner(&risky, &Choices { running: &there, ..RISKY });
    let [differing] = plan.differing.as_slice() else { panic!("{plan}") };
    assert!(
        differing.keys.contains(&"accept_spoofable is false here, true in the export".to_owned()),
        "{plan}"
    );
    let sets = differing.command.strip_prefix("nuncio partner set fabrikam.com ").unwrap();
    let line = |set: &str| {
        let (key, value) = set.split_once('=').unwrap();
        if ["true", "false"].contains(&value) { format!("{set}\n") } else { format!("{key} = {value:?}\n") }
    };
    let lines: String = sets.split(' ').map(line).collect();
    let taken = loaded(&format!("[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n{lines}"));
    // And then there is no difference any more.
    let again = partner(&risky, &Choices { config: Some(&taken), ..RISKY });
    assert!(again.configured == ["fabrikam.com"] && again.differing.is_empty(), "{again}");
}

#[test]
fn partners_who_differ_in_their_rules_or_in_a_risk_alone_are_other_ones() {
    let usual = [("PartnerType", text("Federated")), ("TlsNegotiation", text("Required"))];
    for (key, value, set) in [
        ("negotiation_rules", json!("compat"), Some("negotiation_rules=strict")),
        ("accept_spoofable", json!(true), Some("accept_spoofable=false")),
        ("negotiation_rules", json!("strict"), None),
    ] {
        let there = running(json!({ "type": "federated", key: value }));
        let plan = partner(&usual, &Choices { running: &there, ..Choices::default() });
        let commands: Vec<&str> = plan.differing.iter().map(|differing| differing.command.as_str()).collect();
        let expected = set.map(|set| format!("nuncio partner set fabrikam.com {set}"));
        assert_eq!(commands, expected.as_slice(), "{plan}");
    }
    // What holds for all is not his.
    let there =
        json!({ "type": "federated", "negotiation_rules": "compat", "defaults": ["negotiation_rules"] });
    let plan = partner(&usual, &Choices { running: &running(there), ..Choices::default() });
    assert!(plan.to_string().contains("none of them is another one in the export"), "{plan}");
}

#[test]
fn a_limit_out_of_range_leaves_the_default_and_says_so() {
    let object = object(&[
        ("StreamEstablishmentTimeout", Value::Number(3600)),
        ("ConnectionLimit", Value::Number(500)),
    ]);
    let plan = Plan::new(&Export { objects: vec![(Kind::Gateway, object)] }, &Choices::default());
    assert_eq!(plan.limits.len(), 1);
    assert!(
        plan.left_out[0].why[0].contains("the default of limits.xmpp.establishment stays"),
        "{:?}",
        plan.left_out
    );
}

#[test]
fn the_dialback_passphrase_is_shown_nowhere() {
    for form in 0..3 {
        let plan = plan_of(form, &RISKY);
        let all = format!("{plan}{}{}{plan:?}", plan.toml(), serde_json::to_string(&plan).unwrap());
        assert!(all.contains("DialbackPassphrase"));
        assert!(!all.contains("penSesame"), "{all}");
    }
}

#[test]
fn policies_of_sites_and_users_become_rules_to_write_by_hand() {
    let plan = plan_of(0, &RISKY);
    let others: Vec<_> =
        plan.other_policies.iter().map(|other| (&*other.identity, other.verdict, other.same)).collect();
    assert_eq!(others, [("Site:Redmond", "deny", true), ("Tag:XmppUsers", "allow", false)]);
    let toml = plan.toml();
    assert!(toml.contains("-eq \"XmppUsers\"") && toml.contains("# verdict = \"allow\""), "{toml}");
}

#[test]
fn no_value_leaves_its_comment_or_its_string() {
    let evil = "x\"\n[policy]\nenabled = false\n# \u{202E}";
    let plan =
        partner(&[("Description", text(evil)), ("PartnerType", text("Federated"))], &Choices::default());
    let config = loaded(&plan.toml());
    assert!(config.policy.enabled);
    assert_eq!(config.partners.iter().next().unwrap().description, evil.trim());
    let policy = object(&[("Identity", text("Tag:a\nb")), ("EnableXmppAccess", Value::Bool(true))]);
    let plan = Plan::new(&Export { objects: vec![(Kind::Access, policy)] }, &Choices::default());
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn a_file_may_be_as_large_as_the_limit_and_not_one_byte_larger() {
    let mut bytes = PARTNERS[2].1.to_vec();
    bytes.resize(MAX_FILE, b'\n');
    assert!(Export::default().read(&bytes).is_ok());
    bytes.push(b'\n');
    assert!(matches!(Export::default().read(&bytes), Err(ReadError::TooLarge)));
}

#[test]
fn there_may_be_as_many_objects_as_the_limit_and_not_one_more() {
    let csv =
        |objects: usize| format!("Identity,PartnerType\n{}", "fabrikam.com,Federated\n".repeat(objects));
    assert!(Export::default().read(csv(MAX_OBJECTS).as_bytes()).is_ok());
    assert!(matches!(Export::default().read(csv(MAX_OBJECTS + 1).as_bytes()), Err(ReadError::TooMany)));
    let mut several = Export::default();
    several.read(csv(MAX_OBJECTS).as_bytes()).unwrap();
    assert!(matches!(several.read(csv(1).as_bytes()), Err(ReadError::TooMany)));
}

#[test]
fn objects_of_other_cmdlets_are_refused_by_what_they_have() {
    let error = Export::default().read(b"Name,Id\nsvchost,4\n").unwrap_err().to_string();
    assert!(error.contains("\"Name\", \"Id\""), "{error}");
}

#[test]
fn any_bytes_are_read_or_refused() {
    let mut seen = 0;
    for (_, bytes) in [PARTNERS, GATEWAY, POLICIES].concat() {
        for cut in (0..bytes.len()).step_by(89) {
            let mut export = Export::default();
            seen += usize::from(export.read(&bytes[..cut]).is_err());
            let _ = Plan::new(&export, &RISKY);
            let mut flipped = bytes.to_vec();
            flipped[cut] ^= 0x15;
            let mut export = Export::default();
            let _ = export.read(&flipped);
            let plan = Plan::new(&export, &RISKY);
            assert_eq!(plan.check(), Ok(()), "byte {cut}");
        }
    }
    assert!(seen > 20, "{seen}");
}
