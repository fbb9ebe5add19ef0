use std::path::Path;

use rcgen::ExtendedKeyUsagePurpose;

use super::super::{Finding, Level};
use super::*;
use crate::tls::testing::{Ca, Issued, San, eku, now, san, self_signed, validity as valid};

#[test]
fn a_certificate_for_all_its_domains_is_good() {
    let ca = Ca::new("Root");
    let issued = ca.issue("x", |params| {
        san(
            params,
            &[
                San::Dns("contoso.com"),
                San::Srv("_xmpp-server.b.example"),
                San::XmppAddr("c.example"),
                San::Dns("*.d.example"),
            ],
        );
    });
    let found = for_partners(&issued, &["contoso.com", "b.example", "c.example", "im.d.example"], &ca);
    assert_eq!(texts(&found, Level::Good)[0], "it is for b.example, c.example, contoso.com, im.d.example");
    assert_eq!(worst(&found), Level::Good, "{found:?}");
}

/// Where there is dialback, a certificate proves nothing, and need not.
#[test]
fn a_self_signed_one_is_warned_of_and_not_wrong() {
    let issued = self_signed("contoso.com", |params| san(params, &[San::Dns("contoso.com")]));
    let found = for_partners(&issued, &["contoso.com"], &Ca::new("Root"));
    assert_eq!(worst(&found), Level::Warning, "{found:?}");
    let said = |text: &&str| text.contains("self-signed") && text.contains("dialback");
    assert!(texts(&found, Level::Warning).iter().any(said), "{found:?}");
}

/// On the sides where roots are agreed upon it is no fault, and whoever has to be told of it is named.
#[test]
fn a_self_signed_one_for_front_ends_or_administrators_says_who_must_have_it() {
    let (issued, ca) =
        (self_signed("gw", |params| san(params, &[San::Dns("gw.contoso.com")])), Ca::new("Root"));
    let mut for_administrators = Findings::default();
    control(&identity(&issued), &[&ca.roots()], &mut for_administrators, now());
    for (found, who) in [
        (for_front_ends(&issued, &ca), "every front end must have it among its"),
        (for_administrators.list, "administrators must have it among their"),
    ] {
        assert!(worst(&found) <= Level::Note, "{found:?}");
        let expected = format!("it is self-signed: {who} trusted roots");
        assert!(texts(&found, Level::Note).contains(&expected.as_str()), "{found:?}");
    }
}

#[test]
fn each_domain_that_a_certificate_is_not_for_is_wrong_and_named() {
    let ca = Ca::new("Root");
    let issued =
        ca.issue("b.example", |params| san(params, &[San::Dns("contoso.com"), San::Dns("*.c.example")]));
    let found = for_partners(&issued, &["contoso.com", "b.example", "c.example"], &ca);
    assert_eq!(
        texts(&found, Level::Wrong),
        [
            "it is not for b.example: it is for contoso.com, *.c.example (the common name does not count)",
            "it is not for c.example: it is for contoso.com, *.c.example (*.c.example covers one label below, not the domain \
             itself)",
        ]
    );
    let fix = found.iter().find_map(|finding| finding.fix.as_deref()).unwrap();
    assert!(fix.contains("SAN DNS:b.example"), "{fix}");
}

#[test]
fn the_sip_certificate_is_for_the_name_that_front_ends_call() {
    let ca = Ca::new("Root");
    for (names, level, text) in [
        (&[San::Dns("gw.contoso.com")][..], Level::Good, "it is for gw.contoso.com (sip.name)"),
        (
            &[San::Dns("contoso.com")],
            Level::Wrong,
            "it is for contoso.com, but not for gw.contoso.com (sip.name), by which front ends look for it",
        ),
        (
            &[San::Dns("*.contoso.com")],
            Level::Wrong,
            "it is not for gw.contoso.com (sip.name): it is for *.contoso.com (wildcards do not count for SIP)",
        ),
    ] {
        let found = for_front_ends(&ca.issue("x", |params| san(params, names)), &ca);
        assert_eq!(worst(&found), level, "{found:?}");
        assert_eq!(texts(&found, level)[0], text);
    }
}

#[test]
fn fewer_than_30_days_to_go_is_a_warning_and_none_is_wrong() {
    let ca = Ca::new("Root");
    // Valid to midnight of the first of the year.
    let issued = ca.issue("x", |params| {
        san(params, &[San::Dns("contoso.com")]);
        valid(params, 2020, 2031);
    });
    let end = issued.facts().not_after;
    let days = |days: u64| Duration::from_secs(days * DAY);
    for (at, level, text) in [
        (end - days(30), Level::Good, "30 days from now"),
        (end - days(30) + Duration::from_secs(1), Level::Warning, "it expires in 29 days, on 20"),
        (end - days(1), Level::Warning, "it expires in 1 day, on 20"),
        (end - Duration::from_secs(1), Level::Warning, "it expires within a day, on 20"),
        (end + Duration::from_secs(1), Level::Wrong, "it expired on 20"),
    ] {
        let found = for_partners_at(&issued, &["contoso.com"], &ca, at);
        assert_eq!(worst(&found), level, "{found:?}");
        assert!(texts(&found, level).iter().any(|found| found.contains(text)), "{text}: {found:?}");
    }
}

#[test]
fn a_certificate_that_is_not_for_servers_is_wrong() {
    let ca = Ca::new("Root");
    let issued = ca.issue("x", |params| {
        san(params, &[San::Dns("contoso.com")]);
        eku(params, &[ExtendedKeyUsagePurpose::ClientAuth]);
    });
    let found = for_partners(&issued, &["contoso.com"], &ca);
    assert_eq!(texts(&found, Level::Wrong).len(), 1, "{found:?}");
    assert!(texts(&found, Level::Wrong)[0].contains("serverAuth"));
}

#[test]
fn a_missing_intermediate_is_a_warning_for_partners() {
    let (root, other) = (Ca::new("Root"), Ca::new("Other"));
    let between = root.intermediate("Between");
    let mut issued = between.server(&["contoso.com"]);
    let found = for_partners(&issued, &["contoso.com"], &root);
    assert_eq!(worst(&found), Level::Warning, "{found:?}");
    assert!(texts(&found, Level::Warning)[0].contains("only the server's certificate"), "{found:?}");
    issued.chain.push(between.der());
    // (Which notes that it is for servers only.)
    assert_eq!(worst(&for_partners(&issued, &["contoso.com"], &root)), Level::Note);
    let found = for_partners(&issued, &["contoso.com"], &other);
    assert!(texts(&found, Level::Warning)[0].contains("its chain ends at “CN=Root”"), "{found:?}");
}

#[test]
fn a_private_root_is_no_concern_on_the_sip_side() {
    let (private, other) = (Ca::new("Private"), Ca::new("Other"));
    let issued = private.server(&["gw.contoso.com"]);
    assert_eq!(worst(&for_front_ends(&issued, &private)), Level::Good);
    let found = for_front_ends(&issued, &other);
    assert_eq!(worst(&found), Level::Note, "{found:?}");
    assert!(!found.iter().any(|finding| finding.text.contains("peers know")), "{found:?}");
}

#[test]
fn a_root_in_the_file_is_worth_a_note() {
    let ca = Ca::new("Root");
    let mut issued = ca.server(&["contoso.com"]);
    issued.chain.push(ca.der());
    let found = for_partners(&issued, &["contoso.com"], &ca);
    assert_eq!(worst(&found), Level::Note, "{found:?}");
    assert!(texts(&found, Level::Note).iter().any(|text| text.contains("the root “CN=Root”")), "{found:?}");
}

/// Roots that were given for partners are not those of administrators.
#[test]
fn a_root_that_only_partners_are_believed_by_is_not_called_one_of_this_machine() {
    let ca = Ca::new("Root");
    let issued = ca.server(&["admin.contoso.com"]);
    let mut findings = Findings::default();
    control(&identity(&issued), &[&ca.roots()], &mut findings, now());
    let found = findings.list;
    assert_eq!(worst(&found), Level::Note, "{found:?}");
    assert!(texts(&found, Level::Note)[0].contains("administrators must trust that CA"), "{found:?}");
    assert!(!found.iter().any(|finding| finding.text.contains("this machine knows")), "{found:?}");
}

fn for_partners(issued: &Issued, domains: &[&str], roots: &Ca) -> Vec<Finding> {
    for_partners_at(issued, domains, roots, now())
}

fn for_partners_at(issued: &Issued, domains: &[&str], roots: &Ca, at: SystemTime) -> Vec<Finding> {
    let mut domains: Vec<_> = domains.iter().map(|domain| config::Domain::new(domain).unwrap()).collect();
    domains.sort_unstable();
    let mut findings = Findings::default();
    xmpp(&identity(issued), &domains.iter().collect::<Vec<_>>(), &[&roots.roots()], &mut findings, at);
    findings.list
}

fn for_front_ends(issued: &Issued, roots: &Ca) -> Vec<Finding> {
    let mut findings = Findings::default();
    let domains = ["contoso.com".to_owned()];
    let name =
        config::SentBy { host: Host::Name(config::Domain::new("gw.contoso.com").unwrap()), port: None };
    let files = config::Identity { certificate: "c.pem".into(), key: "k.pem".into() };
    let called =
        Called { key: "sip.name", certificate_key: "[sip] certificate", name: &name, identity: &files };
    sip(&identity(issued), called, &domains, &roots.roots(), &mut findings, now());
    findings.list
}

fn identity(issued: &Issued) -> Identity {
    let (chain, key) = (issued.pem(), issued.key_pem());
    Identity::from_pem(chain.as_bytes(), Path::new("c.pem"), key.as_bytes(), Path::new("k.pem")).unwrap()
}

fn worst(found: &[Finding]) -> Level {
    found.iter().map(|finding| finding.level).max().unwrap()
}

fn texts(found: &[Finding], level: Level) -> Vec<&str> {
    found.iter().filter(|finding| finding.level == level).map(|finding| finding.text.as_str()).collect()
}
