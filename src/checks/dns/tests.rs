use super::*;
use crate::certs::tests::config;
use crate::checks::Level;
use crate::dns::fake::FakeDns;

const LISTENER: &str = "[[xmpp.listener]]\nbind = \"0.0.0.0:5269\"\n";
const XMPP: &str = "_xmpp-server._tcp.contoso.com";
const DIRECT: &str = "_xmpps-server._tcp.contoso.com";
const HOST: &str = "nuncio.contoso.com";

/// A world in which everything but the records of the domain is as it should be.
fn world() -> FakeDns {
    FakeDns::new().host(HOST, &["203.0.113.7"]).host("fe.contoso.com", &["10.0.0.2"])
}

async fn found_with(change: &[(&str, &str)], dns: FakeDns) -> Vec<Finding> {
    compare(&config("/etc".as_ref(), change, ""), &dns).await
}

async fn found(dns: FakeDns) -> Vec<Finding> {
    found_with(&[], dns).await
}

/// The one thing that is not as it should be.
fn odd(findings: &[Finding]) -> (Level, &str, &str) {
    let odd: Vec<_> = findings.iter().filter(|finding| finding.level != Level::Good).collect();
    let [one] = odd.as_slice() else { panic!("{findings:#?}") };
    (one.level, one.text.as_str(), one.fix.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn s2s_01_what_is_as_it_should_be_is_good() {
    let findings = found(world().srv(XMPP, (10, 0, 5269, "Nuncio.Contoso.com"))).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:#?}");
    assert_eq!(findings.len(), 3, "the record, the host, the front end");
}

#[tokio::test]
async fn a_record_that_is_not_there_is_wrong_and_the_fix_is_the_record() {
    let findings = found(world().host("contoso.com", &["203.0.113.80"])).await;
    let (level, text, fix) = odd(&findings);
    assert_eq!(level, Level::Wrong);
    assert!(text.ends_with("partners try contoso.com itself, port 5269, at 203.0.113.80"), "{text}");
    assert_eq!(fix, "create “_xmpp-server._tcp.contoso.com. IN SRV 10 0 5269 nuncio.contoso.com.”");
}

#[tokio::test]
async fn a_record_that_leads_elsewhere_is_wrong_and_one_beside_ours_is_a_warning() {
    let elsewhere =
        || world().host("old.contoso.com", &["203.0.113.8"]).srv(XMPP, (20, 5, 5269, "old.contoso.com"));
    let findings = found(elsewhere()).await;
    let (level, text, _) = odd(&findings);
    assert_eq!(level, Level::Wrong);
    assert_eq!(text, format!("{XMPP} leads elsewhere: old.contoso.com:5269 (priority 20, weight 5)"));
    let findings = found(elsewhere().srv(XMPP, (10, 0, 5269, HOST))).await;
    let (level, text, _) = odd(&findings);
    assert_eq!(level, Level::Warning);
    assert!(text.contains("also leads to old.contoso.com:5269"), "{text}");
}

#[tokio::test]
async fn another_port_than_that_of_a_listener_is_a_warning_for_it_may_be_translated() {
    let findings = found(world().srv(XMPP, (10, 0, 443, HOST))).await;
    let (level, text, fix) = odd(&findings);
    assert_eq!(level, Level::Warning);
    assert!(text.contains("where no listener of this kind is: the configuration has port 5269"), "{text}");
    assert!(
        text.ends_with("translated on the way") && fix.ends_with("unless ports are translated"),
        "{text}"
    );
}

#[tokio::test]
async fn a_dot_says_that_there_is_no_service() {
    let findings = found(world().srv(XMPP, (0, 0, 0, ""))).await;
    let (level, text, _) = odd(&findings);
    assert_eq!(level, Level::Wrong);
    assert!(text.contains("says that there is no such service"), "{text}");
}

#[tokio::test]
async fn s2s_04_a_listener_for_direct_tls_wants_its_record_and_one_without_is_noted() {
    let direct = format!("{LISTENER}[[xmpp.listener]]\nbind = \"0.0.0.0:5270\"\ndirect_tls = true\n");
    let starttls = || world().srv(XMPP, (10, 0, 5269, HOST));
    let findings = found_with(&[(LISTENER, &direct)], starttls()).await;
    let (level, text, _) = odd(&findings);
    assert_eq!(level, Level::Warning);
    assert!(text.contains("nobody finds the listener for Direct TLS"), "{text}");
    // Its port is one for STARTTLS, which takes both.
    let findings = found(starttls().srv(DIRECT, (10, 0, 5269, HOST))).await;
    assert_eq!(odd(&findings).0, Level::Note);
}

#[tokio::test]
async fn an_alias_is_a_warning_with_the_real_name() {
    let findings = found(world().srv(XMPP, (10, 0, 5269, HOST)).alias_of(HOST, "edge.contoso.com")).await;
    let (level, text, fix) = odd(&findings);
    assert_eq!(level, Level::Warning);
    assert!(text.starts_with("it is an alias (CNAME) of edge.contoso.com"), "{text}");
    assert!(fix.contains("lead to edge.contoso.com"), "{fix}");
}

#[tokio::test]
async fn sec_49_private_addresses_are_wrong_unless_partners_are_in_the_same_network() {
    let dns = |addresses: &[&str]| world().srv(XMPP, (10, 0, 5269, HOST)).host(HOST, addresses);
    for (addresses, level) in
        [(&["10.0.0.1"][..], Level::Wrong), (&["203.0.113.7", "192.168.0.1"], Level::Warning)]
    {
        let findings = found(dns(addresses)).await;
        assert_eq!(odd(&findings).0, level, "{addresses:?}");
    }
    let inside = [("[xmpp]\n", "[xmpp]\nconnect.private_addresses = true\n")];
    let findings = found_with(&inside, dns(&["10.0.0.1"])).await;
    assert_eq!(odd(&findings).0, Level::Note);
}

#[tokio::test]
async fn families_of_addresses_and_of_listeners_belong_together() {
    let dns = |addresses: &[&str]| world().srv(XMPP, (10, 0, 5269, HOST)).host(HOST, addresses);
    let findings = found(dns(&["203.0.113.7", "2001:db8::7"])).await;
    assert!(odd(&findings).1.contains("no listener takes IPv6"), "{findings:?}");
    let both = [("bind = \"0.0.0.0:5269\"", "bind = \"[::]:5269\"")];
    let findings = found_with(&both, dns(&["203.0.113.7"])).await;
    assert_eq!(odd(&findings).0, Level::Note, "{findings:?}");
    let findings = found_with(&both, dns(&["2001:db8::7"])).await;
    assert!(odd(&findings).1.starts_with("it has no A record"), "{findings:?}");
    let findings = found_with(&both, dns(&["203.0.113.7", "2001:db8::7"])).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:?}");
}

#[tokio::test]
async fn a_host_without_an_address_is_wrong_and_so_is_a_front_end() {
    let dns = FakeDns::new().host("fe.contoso.com", &["10.0.0.2"]).srv(XMPP, (10, 0, 5269, HOST));
    let findings = found(dns).await;
    assert_eq!(odd(&findings).2, format!("create A or AAAA records for {HOST}"));
    let findings = found(FakeDns::new().host(HOST, &["203.0.113.7"]).srv(XMPP, (10, 0, 5269, HOST))).await;
    assert!(odd(&findings).1.starts_with("fe.contoso.com:5061 cannot be found"), "{findings:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_missing_record() {
    let timeout = DnsError::Timeout { name: XMPP.to_owned() };
    let findings = found(world().srv_answer(XMPP, Err(timeout))).await;
    let (level, text, fix) = odd(&findings);
    assert_eq!((level, fix), (Level::Wrong, ASK_AGAIN));
    assert!(text.contains("no DNS server answered"), "{text}");
}

#[tokio::test]
async fn who_federates_by_sip_is_not_us() {
    let federation = "_sipfederationtls._tcp.contoso.com";
    let dns = |target| world().srv(XMPP, (10, 0, 5269, HOST)).srv(federation, (0, 0, 5061, target));
    let findings = found(dns("edge.contoso.com")).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:?}");
    let findings = found(dns(HOST)).await;
    assert!(odd(&findings).1.contains("this gateway: SIP partners"), "{findings:?}");
}

#[tokio::test]
async fn other_hosts_are_named_in_the_configuration() {
    let hosts = [("[xmpp]\n", "[xmpp]\nhosts = [\"a.contoso.com\", \"b.contoso.com\"]\n")];
    let dns = || {
        let hosts = world().host("a.contoso.com", &["203.0.113.1"]).host("b.contoso.com", &["203.0.113.2"]);
        hosts.srv(XMPP, (1, 0, 5269, "a.contoso.com"))
    };
    let findings = found_with(&hosts, dns().srv(XMPP, (2, 0, 5269, "b.contoso.com"))).await;
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:?}");
    let findings = found_with(&hosts, dns()).await;
    assert_eq!(odd(&findings).1, format!("{XMPP} does not lead to b.contoso.com:5269"));
}
