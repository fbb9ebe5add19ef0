//! File, environment and flags over each other; where each value came from is still known at the end.

mod config_support;

use std::ffi::OsString;

use config_support::Workspace;
use nuncio::config::{Config, Family, LogFormat, PartnerType, Report, Sources};

const BASE: &str = include_str!("config/right/minimal.toml");

fn load(sources: Sources) -> Result<Config, Report> {
    Config::load(&sources.trusting_paths(), &|_, _| Ok(())).map(|(config, _)| config)
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn base() -> Sources {
    Sources::new().toml("nuncio.toml", BASE)
}

/// The first line of each problem.
fn problems(report: &Report) -> Vec<String> {
    report.problems().iter().map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
}

#[test]
fn flags_win_over_environment_over_later_over_earlier_files() {
    let second = "[log]\nlevel = \"warn\"\nformat = \"json\"\n[node]\nlabel = \"n2\"\n";
    let config = load(base()).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Human));
    assert_eq!(config.node.label.as_str(), "n1");

    let sources = base().toml("second.toml", second);
    let config = load(sources.clone()).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("warn", LogFormat::Json));
    assert_eq!(config.node.label.as_str(), "n2");

    let sources =
        sources.environment(environment(&[("NUNCIO_LOG__LEVEL", "debug"), ("NUNCIO_NODE__LABEL", "n3")]));
    let config = load(sources.clone()).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug", LogFormat::Json));
    assert_eq!(config.node.label.as_str(), "n3");

    let config = load(sources.flag("--log-level", "log.level", Some("trace".to_owned()))).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("trace", LogFormat::Json));
    assert_eq!(config.node.label.as_str(), "n3");
}

#[test]
fn a_later_file_adds_to_sections_and_replaces_lists() {
    let second = "\
[sip]
connect.family = \"ipv4\"

[[partner]]
domain = \"example.org\"
type = \"public-unverified\"
";
    let config = load(base().toml("second.toml", second)).unwrap();
    assert_eq!(config.sip.connect.family, Family::Ipv4);
    assert_eq!(config.sip.name.to_string(), "nuncio.contoso.com");
    let partners: Vec<_> = config.partners.iter().map(|p| (p.domain.as_str(), p.partner_type)).collect();
    assert_eq!(partners, [("example.org", PartnerType::PublicUnverified)]);
}

#[test]
fn a_file_may_be_incomplete_if_another_completes_it() {
    let (first, second) = BASE.split_at(BASE.find("[xmpp]").unwrap());
    load(Sources::new().toml("sip.toml", first).toml("xmpp.toml", second)).unwrap();
    let report = load(Sources::new().toml("sip.toml", first)).unwrap_err();
    assert_eq!(
        problems(&report),
        [
            "sip.toml: at least one [[certificate]] is needed, with domains, certificate, key",
            "sip.toml: the section [xmpp] is missing; it needs [[xmpp.listener]]",
        ]
    );
}

#[test]
fn what_is_wrong_in_a_file_stays_wrong_when_it_is_covered() {
    let sources = base()
        .toml("second.toml", "[log]\nlevel = \"loud\"\n")
        .environment(environment(&[("NUNCIO_LOG__LEVEL", "debug")]));
    let report = load(sources).unwrap_err();
    assert_eq!(
        problems(&report),
        [
            "second.toml:2:9: [log] level: \"loud\" is not a log level; expected \"off\", \"error\", \"warn\", \"info\", \
          \"debug\" or \"trace\""
        ]
    );
}

#[test]
fn the_environment_is_text_and_becomes_numbers_lists_and_durations() {
    let config = load(base().environment(environment(&[
        ("NUNCIO_LIMITS__SIP__BODY", "65536"),
        ("NUNCIO_LIMITS__XMPP__HOLD", "3s"),
        ("NUNCIO_DNS__SERVERS", "127.0.0.53, [::1]:5353"),
        ("NUNCIO_SIP__CONNECT__SOURCE_ADDRESS", "127.0.0.2"),
        ("NUNCIO_NODE__STATE_DIR", "relative/state"),
    ])))
    .unwrap();
    assert_eq!(config.limits.sip.body, 65_536);
    assert_eq!(config.limits.xmpp.hold.as_secs(), 3);
    let servers = config.dns.servers.unwrap();
    assert_eq!(servers, ["127.0.0.53:53".parse().unwrap(), "[::1]:5353".parse().unwrap()]);
    assert_eq!(config.sip.connect.source_address, Some([127, 0, 0, 2].into()));
    // Nothing says where it should begin: it is the working folder's.
    assert_eq!(config.node.state_dir, std::path::Path::new("relative/state"));
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let report = load(base().environment(environment(&[
        ("NUNCIO_LOG__FORMAT", "jsno"),
        ("NUNCIO_LOG__LEVL", "debug"),
        ("NUNCIO_LIMITS__SIP__BODY", "64K"),
        ("NUNCIO_SIP__DOMAINS", "contoso.com,Fabrikam.com"),
        ("NUNCIO_SIP__LISTENER", "0.0.0.0:1"),
        ("NUNCIO_SIP__CONNECT", "x"),
        ("NUNCIO_NODE__LABEL__X", "x"),
        ("NUNCIO_STORE__PATH", "x"),
    ])))
    .unwrap_err();
    assert_eq!(
        problems(&report),
        [
            "nuncio.toml:30:10: [[partner]] fabrikam.com: domain: fabrikam.com is served by this gateway itself ([sip] \
             domains, environment variable NUNCIO_SIP__DOMAINS); a partner's domain is somebody else's",
            "environment variable NUNCIO_LIMITS__SIP__BODY: [limits.sip] body: expected a whole number of bytes from \
             4096 to 16777216, found the text \"64K\"",
            "environment variable NUNCIO_LOG__FORMAT: [log] format: \"jsno\" is not a log format; expected \"human\" \
             or \"json\"; did you mean \"json\"?",
            "environment variable NUNCIO_LOG__LEVL: [log] has no key \"levl\"; did you mean NUNCIO_LOG__LEVEL?",
            "environment variable NUNCIO_NODE__LABEL__X: node.label is a value, there is nothing below it",
            "environment variable NUNCIO_SIP__CONNECT: [sip.connect] is a section; name a key in it, such as \
             NUNCIO_SIP__CONNECT__SOURCE_ADDRESS",
            "environment variable NUNCIO_SIP__DOMAINS: [sip] domains: fabrikam.com has no certificate for the XMPP \
             side; add it to the domains of a [[certificate]]",
            "environment variable NUNCIO_SIP__LISTENER: [[sip.listener]] cannot be set from the environment, only in \
             the file",
            "environment variable NUNCIO_STORE__PATH: there is no section \"store\"",
        ]
    );
}

#[test]
fn variables_of_others_are_passed_over() {
    // Kubernetes sets the first three for a service that is called nuncio.
    let config = load(base().environment(environment(&[
        ("NUNCIO_PORT", "tcp://10.0.0.1:5061"),
        ("NUNCIO_SERVICE_HOST", "10.0.0.1"),
        ("NUNCIO_PORT_5061_TCP", "tcp://10.0.0.1:5061"),
        ("NUNCIO_CONFIG", "x"),
        ("MY_NUNCIO_LOG__LEVEL", "loud"),
        ("nuncio_log__level", "loud"),
    ])))
    .unwrap();
    assert_eq!(config.log.level.as_str(), "info");
}

#[test]
fn problems_of_a_flag_name_the_flag() {
    let report = load(base().flag("--log-level", "log.level", Some("inof".to_owned()))).unwrap_err();
    assert_eq!(
        problems(&report),
        [
            "flag --log-level: [log] level: \"inof\" is not a log level; expected \"off\", \"error\", \"warn\", \"info\", \
          \"debug\" or \"trace\"; did you mean \"info\"?"
        ]
    );
}

#[test]
fn a_served_domain_knows_its_front_ends_certificate_and_a_partner_his_domains() {
    let text = BASE.replace("domains = [\"contoso.com\"]", "domains = [\"contoso.com\", \"Bücher.example\"]")
        + "\n[[partner]]\ndomain = \"example.org\"\nadditional_domains = [\"IM.example.org.\"]\nenabled = false\n\
           type = \"public-verified\"\n\
           [[sip.front_end]]\nname = \"pool2\"\ncertificate_names = [\"b.example\"]\nnext_hops = [\"[::1]:5061\"]\n\
           domains = [\"xn--bcher-kva.example\"]\n";
    let config = load(Sources::new().toml("nuncio.toml", text)).unwrap();
    let domain = |text: &str| nuncio::config::Domain::new(text).unwrap();
    let pools =
        |name: &str| config.sip.front_ends_of(&domain(name)).map(|f| f.name.clone()).collect::<Vec<_>>();
    assert_eq!(pools("contoso.com"), ["pool1"]);
    assert_eq!(pools("bücher.example"), ["pool1", "pool2"]);
    assert!(pools("fabrikam.com").is_empty());
    assert!(config.serves(&domain("BÜCHER.example")) && !config.serves(&domain("fabrikam.com")));
    let certificate = config.certificates.of(&domain("bücher.example")).unwrap();
    assert_eq!(certificate.certificate, std::path::Path::new("pki/contoso.pem"));
    assert_eq!(config.certificates.default_identity(), Some(certificate));
    let partner = config.partners.of(&domain("im.example.org")).unwrap();
    assert_eq!((partner.domain.as_str(), partner.enabled), ("example.org", false));
    assert!(config.partners.of(&domain("x.example.org")).is_none());
}

#[test]
fn the_verdict_about_certificate_and_key_is_passed_on() {
    let workspace = Workspace::new();
    workspace.write("nuncio.toml", BASE);
    let sources = Sources::new().file(workspace.path().join("nuncio.toml"));
    let verdict = |certificate: &std::path::Path, _: &std::path::Path| {
        if certificate.ends_with("contoso.pem") {
            Err("it does not belong to the key".to_owned())
        } else {
            Ok(())
        }
    };
    let report = Config::load(&sources, &verdict).unwrap_err();
    let text = report.problems()[0].text.clone();
    assert_eq!(
        (report.errors(), text.as_str()),
        (1, "[[certificate]] number 1: certificate: it does not belong to the key")
    );
}

#[test]
fn the_program_reads_environment_and_flags() {
    let workspace = Workspace::new();
    workspace.write("nuncio.toml", BASE);
    let check = ["check", "config", "--config", "nuncio.toml"];
    let run = workspace.nuncio(&check, &[("NUNCIO_NODE__LABEL", "edge7")]);
    assert!(run.stdout.contains("node           edge7, state in"), "{}{}", run.stdout, run.stderr);
    let run = workspace.nuncio(&["check", "config"], &[("NUNCIO_CONFIG", "nuncio.toml")]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let run = workspace.nuncio(&["run", "--config", "nuncio.toml", "--log-level", "inof"], &[]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("flag --log-level: [log] level: \"inof\""), "{}", run.stderr);
}

#[test]
fn front_ends_of_one_domain_make_one_route_in_their_order() {
    let more = "
[[sip.front_end]]
name = \"spare\"
certificate_names = [\"spare.contoso.com\"]
next_hops = [\"spare.contoso.com:5061\", \"fe.contoso.com:5061\"]
domains = [\"contoso.com\"]
";
    let base = BASE
        .replace("domains = [\"contoso.com\"]", "domains = [\"contoso.com\", \"a.example\", \"b.example\"]");
    let config = load(Sources::new().toml("nuncio.toml", base + more)).unwrap();
    let routes: Vec<_> = config
        .sip
        .routes()
        .into_iter()
        .map(|route| {
            let domains: Vec<_> = route.domains.iter().map(|domain| domain.as_str()).collect();
            let hops: Vec<_> =
                route.next_hops.iter().map(|(front_end, hop)| format!("{front_end} {hop}")).collect();
            (domains.join(" "), hops.join(", "))
        })
        .collect();
    let expected = [
        ("contoso.com", "0 fe.contoso.com:5061, 1 spare.contoso.com:5061, 1 fe.contoso.com:5061"),
        ("a.example b.example", "0 fe.contoso.com:5061"),
    ];
    assert_eq!(routes, expected.map(|(domains, hops)| (domains.to_owned(), hops.to_owned())));
    let holders = config.sip.dialog_holders();
    assert_eq!(
        holders.iter().map(|(front_end, hops)| (*front_end, hops.len())).collect::<Vec<_>>(),
        [(0, 1), (1, 2)]
    );
    let config = load(Sources::new().toml("nuncio.toml", BASE)).unwrap();
    assert!(config.sip.dialog_holders().is_empty(), "it is alone");
}

#[test]
fn a_domain_has_at_most_64_next_hops() {
    let with = |count: usize| {
        let hops: Vec<_> = (0..count).map(|n| format!("\"fe{n}.contoso.com:5061\"")).collect();
        load(Sources::new().toml(
            "nuncio.toml",
            BASE.replace("[\"fe.contoso.com:5061\"]", &format!("[{}]", hops.join(", "))),
        ))
    };
    assert!(with(64).is_ok());
    let report = with(65).unwrap_err();
    assert!(
        problems(&report)[0].contains("65 next hops; only 64 would ever be tried"),
        "{:?}",
        problems(&report)
    );
}

#[test]
fn dec_11_a_cap_on_messages_is_0_or_at_least_1300() {
    let with = |cap: usize| {
        let text = format!("{BASE}\n[limits]\nsip.message = {cap}\n");
        load(Sources::new().toml("nuncio.toml", text)).map(|config| config.limits.sip.message)
    };
    assert_eq!(with(0).unwrap(), 0);
    assert_eq!(with(1300).unwrap(), 1300);
    for cap in [1, 1299] {
        let report = with(cap).unwrap_err();
        assert!(problems(&report)[0].contains("1300 (RFC 3428) is the least"), "{:?}", problems(&report));
    }
}

#[test]
fn xe_15_a_partners_own_limits_go_before_those_of_all() {
    let text = format!(
        "limits.xmpp.bytes_per_second = 20000\nlimits.xmpp.stanza = 30000\n{}stanzas_per_second = 10\n\n\
         [[partner]]\ndomain = \"wingtip.example\"\ntype = \"federated\"\nbytes_per_second = 0\nstanza_limit = 10000\n\
         stanza_depth = 8\nstanza_attributes = 16\n",
        include_str!("config/right/minimal.toml")
    );
    let sources = Sources::new().toml("nuncio.toml", &text).trusting_paths();
    let (config, _) = Config::load(&sources, &|_, _| Ok(())).unwrap();
    let limits: Vec<_> = config
        .partners
        .iter()
        .map(|partner| (partner.stanzas_per_second, partner.bytes_per_second, partner.stanza_limit))
        .collect();
    assert_eq!(limits, [(10, 20_000, 30_000), (5000, 0, 10_000)]);
    let of_stanzas = config.partners.iter().map(|partner| (partner.stanza_depth, partner.stanza_attributes));
    assert_eq!(of_stanzas.collect::<Vec<_>>(), [(32, 64), (8, 16)]);
}

#[test]
fn a_credential_is_where_the_service_manager_says() {
    let file = BASE.replace("key = \"pki/sip.key\"", "key = \"${CREDENTIALS_DIRECTORY}/keys_sip.key\"");
    assert_ne!(file, BASE);
    let sources = Sources::new().toml("/etc/nuncio/nuncio.toml", file);
    let given = environment(&[("CREDENTIALS_DIRECTORY", "/run/credentials/nuncio.service")]);
    let config = load(sources.clone().environment(given)).unwrap();
    assert_eq!(config.sip.identity.key.to_str(), Some("/run/credentials/nuncio.service/keys_sip.key"));
    // Others than the service have no copies: they mean what those are made of.
    let config = load(sources).unwrap();
    assert_eq!(config.sip.identity.key.to_str(), Some("/etc/nuncio/keys/sip.key"));
    // As far as the unit of the package says what that is.
    let file = BASE.replace("key = \"pki/sip.key\"", "key = \"${CREDENTIALS_DIRECTORY}/sip.key\"");
    let config = load(Sources::new().toml("/etc/nuncio/nuncio.toml", file)).unwrap();
    assert_eq!(config.sip.identity.key.to_str(), Some("${CREDENTIALS_DIRECTORY}/sip.key"));
}

#[test]
fn load_balancers_are_listed_with_the_listener_that_they_stand_before() {
    let lines = "proxy_protocol = true\nproxies = [\"10.0.0.0/8\", \"2001:db8::1\"]\n";
    let file = BASE.replace("[[xmpp.listener]]\n", &format!("[[xmpp.listener]]\n{lines}"));
    let config = load(Sources::new().toml("nuncio.toml", file)).unwrap();
    let shown: Vec<String> = config.xmpp.listeners[0].proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "2001:db8::1"]);
    assert!(config.sip.listeners[0].proxies.is_empty());
}
