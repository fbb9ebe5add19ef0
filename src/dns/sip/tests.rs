use super::*;
use crate::dns::fake::FakeDns;
use crate::dns::{DnsErrorKind, NaptrRecord};

const SIPS: &str = "_sips._tcp.contoso.com";
const FEDERATION: &str = "_sipfederationtls._tcp.contoso.com";

async fn find(dns: &FakeDns, lookup: SipLookup) -> Result<SipTargets, DnsError> {
    sip_targets(dns, "contoso.com", lookup, 1, None).await
}

async fn hosts(dns: &FakeDns, lookup: SipLookup) -> Vec<(String, u32)> {
    let found = find(dns, lookup).await.unwrap();
    found.targets.iter().map(|target| (target.to_string(), target.rank)).collect()
}

fn host(text: &str, rank: u32) -> (String, u32) {
    (text.to_owned(), rank)
}

fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> NaptrRecord {
    NaptrRecord {
        order,
        preference,
        flags: "s".to_owned(),
        service: service.to_owned(),
        regexp: String::new(),
        replacement: replacement.to_owned(),
    }
}

#[tokio::test]
async fn sip_13_and_tv_63_naptr_leads_to_srv_and_that_to_hosts() {
    let dns = FakeDns::new()
        .naptr("contoso.com", naptr(50, 50, "SIPS+D2T", "_sips._tcp.elsewhere.example"))
        .naptr("contoso.com", naptr(10, 10, "SIP+D2U", "_sip._udp.contoso.com"))
        .srv("_sips._tcp.elsewhere.example", (20, 0, 5071, "spare.example"))
        .srv("_sips._tcp.elsewhere.example", (10, 0, 5061, "fe.example"))
        .srv(SIPS, (0, 0, 5061, "not-asked.example"));
    assert_eq!(
        hosts(&dns, SipLookup::Sip).await,
        [host("fe.example:5061", 10), host("spare.example:5071", 20)]
    );
    assert_eq!(dns.asked(), ["NAPTR contoso.com", "SRV _sips._tcp.elsewhere.example"]);
}

#[tokio::test]
async fn sip_13_naptr_records_are_followed_by_order_and_preference() {
    let dns = FakeDns::new()
        .naptr("contoso.com", naptr(2, 0, "SIPS+D2T", "_sips._tcp.c.example"))
        .naptr("contoso.com", naptr(1, 9, "sips+d2t", "_sips._tcp.b.example"))
        .naptr("contoso.com", naptr(1, 5, "SIPS+D2T", "_sips._tcp.a.example"))
        .srv("_sips._tcp.a.example", (7, 0, 1, "a.example"))
        .srv("_sips._tcp.b.example", (7, 0, 2, "b.example"))
        .srv("_sips._tcp.c.example", (7, 0, 3, "c.example"));
    let found = hosts(&dns, SipLookup::Sip).await;
    assert_eq!(found, [host("a.example:1", 7), host("b.example:2", 65_543), host("c.example:3", 131_079)]);
}

#[tokio::test]
async fn sip_13_without_a_naptr_of_ours_srv_is_asked_for_tls() {
    let bad =
        NaptrRecord { regexp: "!.*!x!".to_owned(), ..naptr(1, 1, "SIPS+D2T", "_sips._tcp.trap.example") };
    let servfail = DnsError::Failed { name: "contoso.com".to_owned(), detail: "SERVFAIL".to_owned() };
    for dns in [
        FakeDns::new(),
        FakeDns::new().naptr("contoso.com", naptr(1, 1, "SIP+D2T", "_sip._tcp.contoso.com")),
        FakeDns::new().naptr("contoso.com", bad),
        FakeDns::new().naptr_answer("contoso.com", Err(servfail)),
    ] {
        let dns = dns.srv(SIPS, (1, 0, 5061, "fe.contoso.com"));
        assert_eq!(hosts(&dns, SipLookup::Sip).await, [host("fe.contoso.com:5061", 1)]);
    }
}

#[tokio::test]
async fn sip_13_without_srv_the_domain_is_the_host_and_5061_the_port() {
    let dns = FakeDns::new().host("contoso.com", &["192.0.2.1"]);
    assert_eq!(hosts(&dns, SipLookup::Sip).await, [host("contoso.com:5061", 0)]);
    let nowhere = find(&FakeDns::new(), SipLookup::Sip).await.unwrap_err();
    assert_eq!(nowhere.kind(), DnsErrorKind::DoesNotExist);
}

#[tokio::test]
async fn sip_13_a_question_for_srv_without_answer_is_no_reason_to_go_elsewhere() {
    let timeout = DnsError::Timeout { name: SIPS.to_owned() };
    let dns = FakeDns::new().srv_answer(SIPS, Err(timeout.clone())).host("contoso.com", &["192.0.2.1"]);
    assert_eq!(find(&dns, SipLookup::Sip).await, Err(timeout));
    let dot = FakeDns::new().srv(SIPS, (0, 0, 0, "")).host("contoso.com", &["192.0.2.1"]);
    let error = find(&dot, SipLookup::Sip).await.unwrap_err();
    assert!(error.to_string().contains("_sips._tcp.contoso.com says that it offers no"), "{error}");
}

async fn again(dns: &FakeDns, known: &SipTargets) -> Result<SipTargets, DnsError> {
    sip_targets(dns, "contoso.com", SipLookup::Sip, 1, Some(known)).await
}

fn timeout(name: &str) -> DnsError {
    DnsError::Timeout { name: name.to_owned() }
}

#[tokio::test]
async fn sip_13_a_question_for_naptr_without_answer_does_not_lead_to_the_domains_own_address() {
    let silent = || FakeDns::new().naptr_answer("contoso.com", Err(timeout("contoso.com")));
    let dns = silent().host("contoso.com", &["192.0.2.1"]);
    assert_eq!(find(&dns, SipLookup::Sip).await, Err(timeout("contoso.com")));
    assert!(!dns.asked().contains(&"contoso.com".to_owned()));

    // Where it led before it still leads, and there the records are those of now.
    let elsewhere = "_sips._tcp.elsewhere.example";
    let before = FakeDns::new()
        .naptr("contoso.com", naptr(1, 1, "SIPS+D2T", elsewhere))
        .srv(elsewhere, (1, 0, 5061, "old.example"));
    let known = find(&before, SipLookup::Sip).await.unwrap();
    let dns = silent().srv(elsewhere, (1, 0, 5061, "new.example")).srv(SIPS, (1, 0, 5061, "fe.contoso.com"));
    let found = again(&dns, &known).await.unwrap();
    assert_eq!(found.targets[0].to_string(), "new.example:5061");
    assert_eq!((found.targets.len(), found.unanswered), (1, Some(timeout("contoso.com"))));
    let dns =
        silent().srv_answer(elsewhere, Err(timeout(elsewhere))).srv(SIPS, (1, 0, 5061, "fe.contoso.com"));
    assert_eq!(again(&dns, &known).await, Err(timeout("contoso.com")), "nothing is known anew");
}

#[tokio::test]
async fn sip_13_of_several_services_the_one_without_an_answer_stays_as_it_was() {
    let (a, b) = ("_sips._tcp.a.example", "_sips._tcp.b.example");
    let both = |first: u16, second: u16| {
        FakeDns::new()
            .naptr("contoso.com", naptr(first, 0, "SIPS+D2T", a))
            .naptr("contoso.com", naptr(second, 0, "SIPS+D2T", b))
    };
    let before = both(1, 2).srv(a, (7, 0, 1, "a.example")).srv(b, (7, 0, 2, "b.example"));
    let known = find(&before, SipLookup::Sip).await.unwrap();
    // Their preference has changed, too.
    let dns = both(2, 1).srv(a, (7, 0, 1, "new.example")).srv_answer(b, Err(timeout(b)));
    let found = again(&dns, &known).await.unwrap();
    let hosts: Vec<_> = found.targets.iter().map(|target| (target.to_string(), target.rank)).collect();
    assert_eq!(hosts, [host("b.example:2", 7), host("new.example:1", 65_543)]);
    assert_eq!(found.unanswered, Some(timeout(b)));
    // “Not offered” is an answer.
    let dns = both(1, 2).srv(a, (7, 0, 1, "new.example")).srv(b, (0, 0, 0, ""));
    let found = again(&dns, &known).await.unwrap();
    assert_eq!((found.targets.len(), found.unanswered), (1, None));
    // Without anything known, what there is is better than nothing.
    let dns = both(1, 2).srv(a, (7, 0, 1, "new.example")).srv_answer(b, Err(timeout(b)));
    assert_eq!(find(&dns, SipLookup::Sip).await.unwrap().targets.len(), 1);
}

#[tokio::test]
async fn the_same_records_are_chosen_from_in_the_same_way_whatever_order_they_come_in() {
    let names: Vec<_> = (0..40).map(|n| format!("fe{n}.contoso.com")).collect();
    let dns = |names: &mut dyn Iterator<Item = &String>| {
        names.fold(FakeDns::new(), |dns, name| dns.srv(SIPS, (1, 5, 5061, name)))
    };
    let (forth, back) = (dns(&mut names.iter()), dns(&mut names.iter().rev()));
    let found = hosts(&forth, SipLookup::Sip).await;
    assert_eq!(found.len(), MAX_SRV_RECORDS);
    assert_eq!(hosts(&back, SipLookup::Sip).await, found);
    let other = sip_targets(&forth, "contoso.com", SipLookup::Sip, 2, None).await.unwrap();
    assert_ne!(other.targets[0].to_string(), found[0].0, "others choose others");
}

#[tokio::test]
async fn the_federation_record_counts_and_nothing_else() {
    let dns = FakeDns::new()
        .srv(FEDERATION, (0, 0, 5061, "sip.contoso.com"))
        .srv(SIPS, (0, 0, 5061, "fe.contoso.com"))
        .host("contoso.com", &["192.0.2.1"]);
    assert_eq!(hosts(&dns, SipLookup::Federation).await, [host("sip.contoso.com:5061", 0)]);
    assert_eq!(dns.asked(), [format!("SRV {FEDERATION}")]);
    let none = FakeDns::new().host("contoso.com", &["192.0.2.1"]);
    let error = find(&none, SipLookup::Federation).await.unwrap_err();
    assert_eq!(error, DnsError::NoSuchDomain { name: FEDERATION.to_owned() });
}

#[tokio::test]
async fn a_federation_record_may_not_lead_out_of_the_domain() {
    for foreign in ["sip.hoster.example", "sip.evilcontoso.com", "com", "contoso.com.evil.example"] {
        let dns = FakeDns::new().srv(FEDERATION, (0, 0, 5061, foreign));
        let error = find(&dns, SipLookup::Federation).await.unwrap_err();
        let expected = DnsError::OtherDomain { domain: "contoso.com".to_owned(), target: foreign.to_owned() };
        assert_eq!(error, expected);
    }
    let dns = FakeDns::new()
        .srv(FEDERATION, (0, 0, 5061, "sip.hoster.example"))
        .srv(FEDERATION, (1, 0, 5061, "a.b.Contoso.com"))
        .srv(FEDERATION, (2, 0, 5061, "contoso.com"));
    let found = hosts(&dns, SipLookup::Federation).await;
    assert_eq!(found, [host("a.b.contoso.com:5061", 1), host("contoso.com:5061", 2)]);
    let found = find(&dns, SipLookup::Federation).await.unwrap();
    let said = "sip.hoster.example left out: it is not in contoso.com";
    assert!(found.evidence.iter().any(|line| line == said), "{:?}", found.evidence);
}

#[tokio::test]
async fn a_zone_cannot_blow_up_the_list() {
    let mut dns = FakeDns::new();
    for n in 0..=MAX_SRV_RECORDS {
        let n = u16::try_from(n).unwrap();
        dns =
            dns.srv(SIPS, (n, 0, 5061, &format!("fe{n}.contoso.com"))).srv(SIPS, (n, 0, 5061, "a b.example"));
    }
    let found = find(&dns, SipLookup::Sip).await.unwrap();
    assert_eq!(found.targets.len(), MAX_SRV_RECORDS);
    assert_eq!(found.targets[0].to_string(), "fe0.contoso.com:5061");
    assert!(found.evidence.iter().any(|line| line == "1 records more than are looked at"));
}

#[tokio::test]
async fn the_evidence_says_what_was_asked_and_answered() {
    let dns = FakeDns::new()
        .naptr("contoso.com", naptr(1, 1, "SIP+D2T", "_sip._tcp.contoso.com"))
        .srv(SIPS, (1, 2, 5061, "fe.contoso.com"));
    assert_eq!(
        find(&dns, SipLookup::Sip).await.unwrap().evidence,
        [
            "NAPTR contoso.com not followed: SIP+D2T",
            "SRV _sips._tcp.contoso.com: fe.contoso.com:5061 (priority 1, weight 2)",
        ]
    );
}
