use super::*;
use crate::dns::DnsErrorKind;
use crate::dns::fake::FakeDns;

const SRV: &str = "_xmpp-server._tcp.fabrikam.com";
const DIRECT: &str = "_xmpps-server._tcp.fabrikam.com";

#[tokio::test]
async fn s2s_01_srv_records_lead_to_their_hosts_in_order() {
    let dns = FakeDns::new()
        .srv(SRV, (20, 0, 5270, "backup.example"))
        .srv(SRV, (10, 0, 5269, "main.example"))
        .host("main.example", &["2001:db8::1", "192.0.2.1"])
        .host("backup.example", &["192.0.2.2"])
        .host("fabrikam.com", &["192.0.2.99"]);
    let candidates = find(&dns, "fabrikam.com").await.unwrap();
    let main = Origin::Srv { priority: 10, weight: 0 };
    let backup = Origin::Srv { priority: 20, weight: 0 };
    assert_eq!(
        candidates,
        [
            candidate("[2001:db8::1]:5269", "main.example", main),
            candidate("192.0.2.1:5269", "main.example", main),
            candidate("192.0.2.2:5270", "backup.example", backup),
        ]
    );
    assert_eq!(dns.asked()[0], format!("SRV {SRV}"));
    assert!(!dns.asked().contains(&"fabrikam.com".to_owned()), "{:?}", dns.asked());
}

#[tokio::test]
async fn s2s_01_the_seed_decides_among_equals() {
    let mut dns = FakeDns::new();
    for n in 0..4 {
        let name = format!("h{n}.example");
        dns = dns.srv(SRV, (1, 1, 5269, &name)).host(&name, &[&format!("192.0.2.{n}")]);
    }
    let first = async |seed| {
        xmpp_server_candidates(&dns, "fabrikam.com", Reach::default(), seed)
            .await
            .unwrap()
            .candidates
            .swap_remove(0)
    };
    let mut seen = HashSet::new();
    for seed in 0..100 {
        let once = first(seed).await;
        assert_eq!(once, first(seed).await);
        seen.insert(once.address);
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn s2s_01_a_single_dot_means_no_service() {
    let dns = FakeDns::new().srv(SRV, (0, 0, 0, "")).host("fabrikam.com", &["192.0.2.99"]);
    let error = find(&dns, "fabrikam.com").await.unwrap_err();
    assert_eq!(error, DnsError::NoService { domain: "fabrikam.com".to_owned() });
    assert_eq!(error.kind(), DnsErrorKind::DoesNotExist);
    assert_eq!(dns.asked(), [format!("SRV {SRV}"), format!("SRV {DIRECT}")], "no fallback");
}

#[tokio::test]
async fn s2s_01_a_dot_beside_other_records_is_left_out() {
    let dns = FakeDns::new()
        .srv(SRV, (0, 0, 0, ""))
        .srv(SRV, (1, 0, 5269, "a.example"))
        .host("a.example", &["192.0.2.1"]);
    assert_eq!(addresses(&find(&dns, "fabrikam.com").await.unwrap()), ["192.0.2.1:5269"]);
}

#[tokio::test]
async fn s2s_02_all_addresses_of_a_target_come_before_the_next_target() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 0, 5269, "a.example"))
        .srv(SRV, (2, 0, 5269, "b.example"))
        .host("a.example", &["192.0.2.1", "192.0.2.2", "192.0.2.1"])
        .host("b.example", &["192.0.2.3", "192.0.2.2"]);
    // What was listed before is not tried twice.
    let found = find(&dns, "fabrikam.com").await.unwrap();
    assert_eq!(addresses(&found), ["192.0.2.1:5269", "192.0.2.2:5269", "192.0.2.3:5269"]);
}

#[tokio::test]
async fn s2s_03_without_srv_answer_the_domain_itself_is_tried_on_5269() {
    let host = || FakeDns::new().host("fabrikam.com", &["2001:db8::1", "192.0.2.1"]);
    let timeout = DnsError::Timeout { name: SRV.to_owned() };
    let servfail = DnsError::Failed { name: SRV.to_owned(), detail: "SERVFAIL".to_owned() };
    let cases = [
        (host(), Origin::NoSrv),
        (host().srv_answer(SRV, Ok(Vec::new())), Origin::NoSrv),
        (host().srv_answer(SRV, Err(timeout)), Origin::SrvUnanswered),
        (host().srv_answer(SRV, Err(servfail)), Origin::SrvUnanswered),
    ];
    for (dns, origin) in cases {
        assert_eq!(
            find(&dns, "fabrikam.com").await.unwrap(),
            [
                candidate("[2001:db8::1]:5269", "fabrikam.com", origin),
                candidate("192.0.2.1:5269", "fabrikam.com", origin),
            ]
        );
    }
}

#[tokio::test]
async fn s2s_03_no_fallback_when_srv_targets_lead_nowhere() {
    let dns = FakeDns::new().srv(SRV, (1, 0, 5269, "gone.example")).host("fabrikam.com", &["192.0.2.1"]);
    let error = find(&dns, "fabrikam.com").await.unwrap_err();
    assert_eq!(error, DnsError::NoSuchDomain { name: "gone.example".to_owned() });
    assert!(!dns.asked().contains(&"fabrikam.com".to_owned()));
}

#[tokio::test]
async fn s2s_02_a_dead_target_does_not_hide_the_others() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 0, 5269, "gone.example"))
        .srv(SRV, (2, 0, 5269, "bad name.example"))
        .srv(SRV, (3, 0, 5269, "here.example"))
        .host("here.example", &["192.0.2.1"]);
    assert_eq!(addresses(&find(&dns, "fabrikam.com").await.unwrap()), ["192.0.2.1:5269"]);
}

#[tokio::test]
async fn exs_16_what_does_not_exist_is_told_from_what_cannot_be_resolved() {
    use DnsErrorKind::{DoesNotExist, Timeout, Unresolvable};
    let timeout = |name: &str| DnsError::Timeout { name: name.to_owned() };
    let failed = |name: &str| DnsError::Failed { name: name.to_owned(), detail: "SERVFAIL".to_owned() };
    let one = |error| FakeDns::new().srv(SRV, (1, 0, 5269, "a.example")).host_error("a.example", error);
    let cases = [
        (FakeDns::new(), DoesNotExist),
        (FakeDns::new().host("fabrikam.com", &[]), DoesNotExist),
        (FakeDns::new().host_error("fabrikam.com", timeout("fabrikam.com")), Timeout),
        (FakeDns::new().host_error("fabrikam.com", failed("fabrikam.com")), Unresolvable),
        // The SRV question timed out, but then the domain turned out not to exist.
        (FakeDns::new().srv_answer(SRV, Err(timeout(SRV))), DoesNotExist),
        (one(timeout("a.example")), Timeout),
        // Of several targets the one that may come back counts.
        (one(timeout("a.example")).srv(SRV, (2, 0, 5269, "gone.example")), Timeout),
        (one(failed("a.example")).srv(SRV, (0, 0, 5269, "gone.example")), Unresolvable),
    ];
    for (dns, kind) in cases {
        let error = find(&dns, "fabrikam.com").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn s2s_08_a_foreign_zone_cannot_blow_up_the_list() {
    // One more record than is looked at: the one tried last is not even resolved.
    let mut dns = FakeDns::new();
    for n in 0..=MAX_SRV_RECORDS {
        let name = format!("h{n}.example");
        let address = format!("192.0.2.{n}");
        dns = dns.srv(SRV, (n as u16, 0, 5269, &name)).host(&name, &[&address]);
    }
    assert_eq!(find(&dns, "fabrikam.com").await.unwrap().len(), MAX_SRV_RECORDS);
    assert!(!dns.asked().contains(&format!("h{MAX_SRV_RECORDS}.example")));

    // One more address than is tried of one host, and in all.
    let many: Vec<_> = (0..=MAX_ADDRESSES_PER_HOST).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let dns = FakeDns::new().host("fabrikam.com", &many);
    assert_eq!(find(&dns, "fabrikam.com").await.unwrap().len(), MAX_ADDRESSES_PER_HOST);

    let mut dns = FakeDns::new();
    for host in 0..=MAX_CANDIDATES / MAX_ADDRESSES_PER_HOST {
        let name = format!("h{host}.example");
        let addresses: Vec<_> = (0..MAX_ADDRESSES_PER_HOST).map(|n| format!("192.0.{host}.{n}")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        dns = dns.srv(SRV, (host as u16, 0, 5269, &name)).host(&name, &addresses);
    }
    assert_eq!(find(&dns, "fabrikam.com").await.unwrap().len(), MAX_CANDIDATES);
}

#[tokio::test]
async fn the_family_decides_which_addresses_are_candidates() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 0, 5269, "both.example"))
        .srv(SRV, (2, 0, 5269, "six.example"))
        .host("both.example", &["2001:db8::1", "192.0.2.1"])
        .host("six.example", &["2001:db8::2"]);
    let find = async |family| {
        let reach = Reach { family, private: false };
        xmpp_server_candidates(&dns, "fabrikam.com", reach, 1).await.unwrap().candidates
    };
    assert_eq!(addresses(&find(Family::Ipv4).await), ["192.0.2.1:5269"]);
    assert_eq!(addresses(&find(Family::Ipv6).await), ["[2001:db8::1]:5269", "[2001:db8::2]:5269"]);
    assert_eq!(find(Family::Any).await.len(), 3);
}

#[tokio::test]
async fn domains_are_asked_for_as_a_labels_and_nonsense_is_not_asked_for() {
    let dns = FakeDns::new().host("xn--bcher-kva.example", &["192.0.2.1"]);
    assert_eq!(addresses(&find(&dns, "BÜCHER.example.").await.unwrap()), ["192.0.2.1:5269"]);
    let asked = |service: &str| format!("SRV {service}._tcp.xn--bcher-kva.example");
    assert_eq!(
        dns.asked(),
        [asked("_xmpp-server"), asked("_xmpps-server"), "xn--bcher-kva.example".to_owned()]
    );

    let dns = FakeDns::new();
    let long_label = format!("{}.ex", "a".repeat(64));
    let long_name = vec!["a".repeat(63); 4].join(".");
    for domain in
        ["", ".", "a..ex", ".ex", "a b.ex", "a\\.b", "a\n.ex", "a/b", "*.ex", &long_label, &long_name]
    {
        let error = find(&dns, domain).await.unwrap_err();
        assert!(matches!(error, DnsError::BadName { .. }), "{domain:?}: {error}");
        assert!(!error.to_string().contains(char::is_control));
    }
    assert!(dns.asked().is_empty());
    // The longest label that fits.
    let label = format!("{}.ex", "a".repeat(63));
    assert!(matches!(find(&dns, &label).await, Err(DnsError::NoSuchDomain { .. })));
}

#[tokio::test]
async fn s2s_06_configured_hosts_and_addresses_need_no_srv() {
    let dns = FakeDns::new().host("fe.contoso.com", &["2001:db8::1", "192.0.2.1"]);
    let find = async |host, family| host_candidates(&dns, host, 5061, family).await;
    assert_eq!(
        find("FE.contoso.com", Family::Any).await.unwrap(),
        [
            candidate("[2001:db8::1]:5061", "fe.contoso.com", Origin::Given),
            candidate("192.0.2.1:5061", "fe.contoso.com", Origin::Given),
        ]
    );
    assert_eq!(addresses(&find("fe.contoso.com", Family::Ipv4).await.unwrap()), ["192.0.2.1:5061"]);
    assert_eq!(dns.asked(), ["fe.contoso.com", "fe.contoso.com"]);

    assert_eq!(addresses(&find("192.0.2.7", Family::Any).await.unwrap()), ["192.0.2.7:5061"]);
    for host in ["[2001:db8::7]", "2001:db8::7"] {
        assert_eq!(addresses(&find(host, Family::Any).await.unwrap()), ["[2001:db8::7]:5061"]);
    }
    let error = find("192.0.2.7", Family::Ipv6).await.unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.7 has no IPv6 address in DNS");
    assert!(matches!(find("nowhere.example", Family::Any).await, Err(DnsError::NoSuchDomain { .. })));
}

#[tokio::test]
async fn an_xmpp_domain_that_is_an_address_is_connected_to_directly() {
    let dns = FakeDns::new();
    assert_eq!(addresses(&find(&dns, "[2001:db8::1]").await.unwrap()), ["[2001:db8::1]:5269"]);
    assert_eq!(addresses(&find(&dns, "192.0.2.1").await.unwrap()), ["192.0.2.1:5269"]);
    assert!(dns.asked().is_empty());
}

#[tokio::test]
async fn s2s_04_both_services_are_mixed_by_priority() {
    let dns = FakeDns::new()
        .srv(SRV, (10, 0, 5269, "a.example"))
        .srv(DIRECT, (20, 0, 5270, "b.example"))
        .srv(SRV, (30, 0, 5269, "c.example"))
        .host("a.example", &["192.0.2.1"])
        .host("b.example", &["192.0.2.2"])
        .host("c.example", &["192.0.2.3"]);
    let found = find(&dns, "fabrikam.com").await.unwrap();
    let tried: Vec<_> =
        found.iter().map(|candidate| (candidate.host.as_str(), candidate.direct_tls)).collect();
    assert_eq!(tried, [("a.example", false), ("b.example", true), ("c.example", false)]);
}

#[tokio::test]
async fn s2s_04_dec_15_of_equal_records_direct_tls_goes_first() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 5, 5269, "a.example"))
        .srv(SRV, (1, 5, 5269, "b.example"))
        .srv(DIRECT, (1, 5, 443, "a.example"))
        .srv(DIRECT, (1, 5, 443, "b.example"))
        .host("a.example", &["192.0.2.1"])
        .host("b.example", &["192.0.2.2"]);
    let mut first = HashSet::new();
    for seed in 0..50 {
        let found = xmpp_server_candidates(&dns, "fabrikam.com", Reach::default(), seed).await.unwrap();
        let ports: Vec<_> = found.candidates.iter().map(|candidate| candidate.address.port()).collect();
        assert_eq!(ports, [443, 443, 5269, 5269]);
        first.insert(found.candidates[0].address);
    }
    assert_eq!(first.len(), 2, "among those of one service chance decides");
}

#[tokio::test]
async fn s2s_04_the_same_address_is_tried_both_ways() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 0, 5269, "a.example"))
        .srv(DIRECT, (1, 0, 5269, "a.example"))
        .host("a.example", &["192.0.2.1"]);
    let found = find(&dns, "fabrikam.com").await.unwrap();
    assert_eq!(found.iter().map(|candidate| candidate.direct_tls).collect::<Vec<_>>(), [true, false]);
    assert!(!found[0].same_target(&found[1]));
}

#[tokio::test]
async fn s2s_04_direct_tls_alone_is_enough() {
    let timeout = DnsError::Timeout { name: SRV.to_owned() };
    for dns in
        [FakeDns::new(), FakeDns::new().srv(SRV, (0, 0, 0, "")), FakeDns::new().srv_answer(SRV, Err(timeout))]
    {
        let dns = dns
            .srv(DIRECT, (1, 0, 5270, "a.example"))
            .host("a.example", &["192.0.2.1"])
            .host("fabrikam.com", &["192.0.2.9"]);
        assert_eq!(addresses(&find(&dns, "fabrikam.com").await.unwrap()), ["192.0.2.1:5270"]);
    }
}

#[tokio::test]
async fn s2s_04_no_direct_tls_leaves_the_other_service() {
    let failed = DnsError::Failed { name: DIRECT.to_owned(), detail: "SERVFAIL".to_owned() };
    for dns in [FakeDns::new().srv(DIRECT, (0, 0, 0, "")), FakeDns::new().srv_answer(DIRECT, Err(failed))] {
        let dns = dns.srv(SRV, (1, 0, 5269, "a.example")).host("a.example", &["192.0.2.1"]);
        assert_eq!(addresses(&find(&dns, "fabrikam.com").await.unwrap()), ["192.0.2.1:5269"]);
    }
}

#[tokio::test]
async fn s2s_04_a_dot_for_direct_tls_and_nothing_else_is_no_reason_to_fall_back() {
    let dns = FakeDns::new().srv(DIRECT, (0, 0, 0, "")).host("fabrikam.com", &["192.0.2.9"]);
    let error = find(&dns, "fabrikam.com").await.unwrap_err();
    assert_eq!(error, DnsError::NoService { domain: "fabrikam.com".to_owned() });
}

#[tokio::test]
async fn s2s_08_sec_49_dns_does_not_lead_into_private_networks() {
    let dns = FakeDns::new()
        .srv(SRV, (1, 0, 5269, "inside.example"))
        .srv(SRV, (2, 0, 5269, "outside.example"))
        .host("inside.example", &["127.0.0.1", "fe80::1", "10.0.0.7"])
        .host("outside.example", &["192.0.2.1"]);
    let found = search(&dns, "fabrikam.com").await.unwrap();
    assert_eq!(addresses(&found.candidates), ["192.0.2.1:5269"]);
    assert_eq!(found.left_out.len(), 3);
    assert_eq!(
        found.left_out[0].to_string(),
        "inside.example has the private address 127.0.0.1, which DNS may not lead to (xmpp.connect.private_addresses)"
    );
}

#[tokio::test]
async fn s2s_08_sec_49_only_private_addresses_are_an_error_that_says_how_to_allow_them() {
    let by_srv = FakeDns::new().srv(SRV, (1, 0, 5269, "a.example")).host("a.example", &["10.0.0.7"]);
    let own = FakeDns::new().host("fabrikam.com", &["10.0.0.7"]);
    for dns in [by_srv, own] {
        let error = find(&dns, "fabrikam.com").await.unwrap_err();
        assert!(
            error.to_string().contains("10.0.0.7") && error.to_string().contains("private_addresses = true")
        );
        assert_eq!(error.kind(), DnsErrorKind::Unresolvable);
        let reach = Reach { family: Family::Any, private: true };
        let found = xmpp_server_candidates(&dns, "fabrikam.com", reach, 1).await.unwrap();
        assert_eq!(addresses(&found.candidates), ["10.0.0.7:5269"]);
    }
    assert!(find(&FakeDns::new(), "[::1]").await.is_err());
}

#[tokio::test]
async fn what_is_not_tried_is_remembered() {
    let timeout = DnsError::Timeout { name: DIRECT.to_owned() };
    let mut dns = FakeDns::new().srv_answer(DIRECT, Err(timeout.clone()));
    for n in 0..=MAX_SRV_RECORDS {
        let name = format!("h{n}.example");
        dns = dns.srv(SRV, (n as u16, 0, 5269, &name));
        if n > 0 {
            dns = dns.host(&name, &[&format!("192.0.2.{n}")]);
        }
    }
    let gone = DnsError::NoSuchDomain { name: "h0.example".to_owned() };
    let found = search(&dns, "fabrikam.com").await.unwrap();
    assert_eq!(found.left_out, [LeftOut::Unanswered(timeout), LeftOut::TooMany(1), LeftOut::Target(gone)]);
}

async fn find(dns: &FakeDns, domain: &str) -> Result<Vec<Candidate>, DnsError> {
    search(dns, domain).await.map(|found| found.candidates)
}

async fn search(dns: &FakeDns, domain: &str) -> Result<Found, DnsError> {
    xmpp_server_candidates(dns, domain, Reach::default(), 1).await
}

fn candidate(address: &str, host: &str, origin: Origin) -> Candidate {
    Candidate { address: address.parse().unwrap(), host: host.to_owned(), origin, direct_tls: false }
}

fn addresses(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|candidate| candidate.address.to_string()).collect()
}

#[tokio::test]
async fn s2s_30_another_host_is_looked_up_like_a_domain_unless_it_has_a_port() {
    let dns = FakeDns::new()
        .srv(SRV, (10, 0, 5270, "main.example"))
        .host("main.example", &["192.0.2.1"])
        .host("fabrikam.com", &["192.0.2.99"]);
    let follow = async |host, port| redirect_candidates(&dns, host, port, Reach::default(), 0).await;
    let found = follow("fabrikam.com", None).await.unwrap();
    assert_eq!(found.candidates[0].address, "192.0.2.1:5270".parse().unwrap());
    let found = follow("fabrikam.com", Some(9222)).await.unwrap();
    assert_eq!(found.candidates, [candidate("192.0.2.99:9222", "fabrikam.com", Origin::Given)]);
    let found = follow("[2001:db8::1]", Some(9222)).await.unwrap();
    assert_eq!(found.candidates[0].address, "[2001:db8::1]:9222".parse().unwrap());
}

#[tokio::test]
async fn s2s_30_sec_49_a_partner_cannot_send_us_into_our_own_network() {
    let dns = FakeDns::new().host("inside.example", &["10.0.0.7"]);
    for (host, port) in [("inside.example", Some(22)), ("127.0.0.1", Some(22)), ("10.0.0.7", None)] {
        let error = redirect_candidates(&dns, host, port, Reach::default(), 0).await.unwrap_err();
        assert!(matches!(error, DnsError::Private { .. }), "{host}: {error}");
    }
}
