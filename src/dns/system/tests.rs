//! Hickory against a real server on loopback, packets and all.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, MessageType, OpCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NAPTR, SOA, SRV};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::dns::{Candidate, DnsErrorKind, Origin, Reach, xmpp_server_candidates};

const SRV_NAME: &str = "_xmpp-server._tcp.fabrikam.com";

#[tokio::test]
async fn s2s_01_srv_and_addresses_over_real_packets() {
    let server = Server::start(
        Zone::new()
            .record(SRV_NAME, srv(10, 5, 5270, "xmpp.example."))
            .record("xmpp.example", a("192.0.2.1"))
            .record("xmpp.example", a("192.0.2.2"))
            .record("xmpp.example", aaaa("2001:db8::1"))
            .record("xmpp.example", aaaa("2001:db8::2"))
            .record("xmpp.example", aaaa("2001:db8::3")),
    )
    .await;
    let found =
        xmpp_server_candidates(&server.dns(), "fabrikam.com", Reach::default(), 7).await.unwrap().candidates;
    let origin = Origin::Srv { priority: 10, weight: 5 };
    // The server may shuffle within one family; families take turns, IPv6 first.
    let families: Vec<_> = found.iter().map(|candidate| candidate.address.is_ipv6()).collect();
    assert_eq!(families, [true, false, true, false, true]);
    let mut found = found;
    found.sort_by_key(|candidate| candidate.address);
    let expected =
        ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|address| Candidate {
            address: SocketAddr::new(address.parse().unwrap(), 5270),
            host: "xmpp.example".to_owned(),
            origin,
            direct_tls: false,
        });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn sip_13_naptr_over_real_packets() {
    let text = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    let naptr = NAPTR::new(1, 2, text("s"), text("SIPS+D2T"), text(""), name("_sips._tcp.contoso.example."));
    let server = Server::start(Zone::new().record("contoso.example", RData::NAPTR(naptr))).await;
    let records = server.dns().naptr("contoso.example").await.unwrap();
    let expected = NaptrRecord {
        order: 1,
        preference: 2,
        flags: "s".to_owned(),
        service: "SIPS+D2T".to_owned(),
        regexp: String::new(),
        replacement: "_sips._tcp.contoso.example".to_owned(),
    };
    assert_eq!(records, [expected]);
    assert!(records[0].is_sip_over_tls());
}

#[tokio::test]
async fn s2s_01_the_target_dot_arrives_as_no_service() {
    let server = Server::start(Zone::new().record(SRV_NAME, srv(0, 0, 0, "."))).await;
    let error = xmpp_server_candidates(&server.dns(), "fabrikam.com", Reach::default(), 7).await.unwrap_err();
    assert_eq!(error, DnsError::NoService { domain: "fabrikam.com".to_owned() });
}

#[tokio::test]
async fn s2s_03_no_srv_falls_back_whether_nxdomain_or_empty() {
    for zone in [Zone::new(), Zone::new().empty(SRV_NAME)] {
        let server = Server::start(zone.record("fabrikam.com", a("192.0.2.1"))).await;
        let found = xmpp_server_candidates(&server.dns(), "fabrikam.com", Reach::default(), 7)
            .await
            .unwrap()
            .candidates;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address, "192.0.2.1:5269".parse().unwrap());
        assert_eq!(found[0].origin, Origin::NoSrv);
    }
}

#[tokio::test]
async fn exs_16_each_kind_of_failure_is_recognised() {
    let zone = Zone::new()
        .code("servfail.example", ResponseCode::ServFail)
        .code("refused.example", ResponseCode::Refused)
        .empty("empty.example")
        .record("four.example", a("192.0.2.1"))
        .silent("silent.example");
    let server = Server::start(zone).await;
    let dns = server.dns_with_timeout(Duration::from_secs(1));
    let ask = async |name, family| dns.addresses(name, family).await.unwrap_err();
    let nowhere = ask("nowhere.example", Family::Any).await;
    assert_eq!(nowhere, DnsError::NoSuchDomain { name: "nowhere.example".to_owned() });
    let empty = ask("empty.example", Family::Any).await;
    assert_eq!(empty.to_string(), "empty.example has no IPv4 or IPv6 address in DNS");
    assert_eq!(
        ask("four.example", Family::Ipv6).await.to_string(),
        "four.example has no IPv6 address in DNS"
    );
    for (name, code) in [("servfail.example", "SERVFAIL"), ("refused.example", "REFUSED")] {
        let error = ask(name, Family::Any).await;
        assert_eq!(error.kind(), DnsErrorKind::Unresolvable);
        assert_eq!(
            error.to_string(),
            format!("DNS cannot resolve {name} now: the DNS server answered {code}")
        );
    }
    let silent = ask("silent.example", Family::Any).await;
    assert_eq!(silent, DnsError::Timeout { name: "silent.example".to_owned() });
}

#[tokio::test]
async fn exs_16_a_server_that_does_not_listen_is_unresolvable() {
    // Bound and dropped: nothing listens there.
    let address = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = DnsConfig { servers: vec![address], timeout: Duration::from_millis(500) };
    let error = Dns::new(&config).unwrap().addresses("a.example", Family::Ipv4).await.unwrap_err();
    assert!(matches!(error.kind(), DnsErrorKind::Unresolvable | DnsErrorKind::Timeout), "{error}");
}

#[tokio::test]
async fn one_family_that_fails_does_not_hide_the_other() {
    let zone = Zone::new()
        .record("four.example", a("192.0.2.1"))
        .silent_for("four.example", RecordType::AAAA)
        .record("six.example", aaaa("2001:db8::1"))
        .silent_for("six.example", RecordType::A)
        .empty("none.example")
        .silent_for("none.example", RecordType::A);
    let server = Server::start(zone).await;
    let dns = server.dns_with_timeout(Duration::from_secs(1));
    let (four, six, none) = tokio::join!(
        dns.addresses("four.example", Family::Any),
        dns.addresses("six.example", Family::Any),
        dns.addresses("none.example", Family::Any),
    );
    assert_eq!(four.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(six.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    // Nothing is known to exist, and something may.
    assert_eq!(none.unwrap_err().kind(), DnsErrorKind::Timeout);
}

#[tokio::test]
async fn s2s_07_answers_are_cached_and_negative_ones_too() {
    let server = Server::start(Zone::new().record("a.example", a("192.0.2.1"))).await;
    let dns = server.dns();
    for _ in 0..3 {
        assert!(dns.addresses("a.example", Family::Ipv4).await.is_ok());
        assert!(dns.srv("_xmpp-server._tcp.nowhere.example").await.is_err());
    }
    assert_eq!(server.asked(), ["a.example A", "_xmpp-server._tcp.nowhere.example SRV"]);
}

#[tokio::test]
async fn s2s_07_a_time_to_live_of_zero_is_not_cached() {
    let server = Server::start(Zone::new().ttl(0).record("a.example", a("192.0.2.1"))).await;
    let dns = server.dns();
    for _ in 0..2 {
        assert!(dns.addresses("a.example", Family::Ipv4).await.is_ok());
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn aliases_are_followed_and_only_addresses_come_out() {
    let zone = Zone::new()
        .record("alias.example", RData::CNAME(CNAME(name("real.example."))))
        .record("real.example", a("192.0.2.1"));
    let server = Server::start(zone).await;
    assert_eq!(
        server.dns().addresses("alias.example", Family::Ipv4).await.unwrap(),
        ["192.0.2.1".parse::<IpAddr>().unwrap()]
    );
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let mut zone = Zone::new();
    for n in 0..100 {
        zone =
            zone.record(SRV_NAME, srv(n, 0, 5269, &format!("a-rather-long-host-name-{n}.fabrikam.example.")));
    }
    let server = Server::start(zone).await;
    let records = server.dns().srv(SRV_NAME).await.unwrap();
    assert_eq!(records.len(), 100);
    assert_eq!(server.asked(), [format!("{SRV_NAME} SRV"), format!("{SRV_NAME} SRV over TCP")]);
}

#[test]
fn families_take_turns_whatever_their_number() {
    let list = |addresses: &[&str]| addresses.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    let v6 = list(&["::1"]);
    let v4 = list(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(take_turns(v6.clone(), v4.clone()), list(&["::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]));
    assert_eq!(take_turns(Vec::new(), v4.clone()), v4);
    assert_eq!(take_turns(v6.clone(), Vec::new()), v6);
}

/// What the test's DNS server knows.
struct Zone {
    records: HashMap<String, Vec<RData>>,
    codes: HashMap<String, ResponseCode>,
    silent: Vec<(String, Option<RecordType>)>,
    ttl: u32,
}

impl Zone {
    fn new() -> Self {
        Self { records: HashMap::new(), codes: HashMap::new(), silent: Vec::new(), ttl: 300 }
    }

    fn record(mut self, name: &str, data: RData) -> Self {
        self.records.entry(name.to_owned()).or_default().push(data);
        self
    }

    fn empty(mut self, name: &str) -> Self {
        self.records.entry(name.to_owned()).or_default();
        self
    }

    fn code(mut self, name: &str, code: ResponseCode) -> Self {
        self.codes.insert(name.to_owned(), code);
        self
    }

    fn silent(mut self, name: &str) -> Self {
        self.silent.push((name.to_owned(), None));
        self
    }

    fn silent_for(mut self, name: &str, kind: RecordType) -> Self {
        self.silent.push((name.to_owned(), Some(kind)));
        self
    }

    fn ttl(mut self, ttl: u32) -> Self {
        self.ttl = ttl;
        self
    }

    fn answer(&self, question: &Message) -> Option<Message> {
        let query = question.queries.first()?;
        let asked = query.name().to_ascii().trim_end_matches('.').to_owned();
        let kind = query.query_type();
        if self.silent.iter().any(|(name, only)| *name == asked && only.is_none_or(|only| only == kind)) {
            return None;
        }
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        if let Some(code) = self.codes.get(&asked) {
            answer.metadata.response_code = *code;
            return Some(answer);
        }
        let mut asked = asked;
        loop {
            let Some(records) = self.records.get(&asked) else {
                answer.metadata.response_code = ResponseCode::NXDomain;
                break;
            };
            let owner = name(&format!("{asked}."));
            let alias = records.iter().find_map(|data| match data {
                RData::CNAME(alias) => Some(alias.0.to_ascii()),
                _ => None,
            });
            let fitting = records.iter().filter(|data| data.record_type() == kind || alias.is_some());
            answer.add_answers(fitting.map(|data| Record::from_rdata(owner.clone(), self.ttl, data.clone())));
            match alias {
                Some(alias) => asked = alias.trim_end_matches('.').to_owned(),
                None => break,
            }
        }
        if answer.answers.is_empty() {
            let soa = SOA::new(name("ns.example."), name("admin.example."), 1, 3600, 600, 86400, self.ttl);
            answer.add_authorities([Record::from_rdata(name("example."), self.ttl, RData::SOA(soa))]);
        }
        Some(answer)
    }
}

/// A DNS server on loopback, over UDP and TCP, that lives as long as the test's runtime.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(zone: Zone) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let zone = Arc::new(zone);
        let asked = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve_udp(udp, zone.clone(), asked.clone()));
        tokio::spawn(serve_tcp(tcp, zone, asked.clone()));
        Self { address, asked }
    }

    fn dns(&self) -> Dns {
        self.dns_with_timeout(Duration::from_secs(5))
    }

    fn dns_with_timeout(&self, timeout: Duration) -> Dns {
        Dns::new(&DnsConfig { servers: vec![self.address], timeout }).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, asked: Arc<Mutex<Vec<String>>>) {
    /// What every resolver takes (RFC 9715 speaks of 1400 and less).
    const LONGEST: usize = 1232;
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..length]).unwrap();
        note(&question, "", &asked);
        let Some(mut answer) = zone.answer(&question) else { continue };
        let mut bytes = answer.to_vec().unwrap();
        if bytes.len() > LONGEST {
            answer.answers.clear();
            answer.metadata.truncation = true;
            bytes = answer.to_vec().unwrap();
        }
        socket.send_to(&bytes, from).await.unwrap();
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, asked: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Ok(length) = stream.read_u16().await {
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes).unwrap();
            note(&question, " over TCP", &asked);
            let Some(answer) = zone.answer(&question) else { continue };
            let bytes = answer.to_vec().unwrap();
            stream.write_u16(bytes.len() as u16).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    }
}

fn note(question: &Message, how: &str, asked: &Mutex<Vec<String>>) {
    let query = &question.queries[0];
    let name = query.name().to_ascii();
    asked.lock().push(format!("{} {}{how}", name.trim_end_matches('.'), query.query_type()));
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn a(address: &str) -> RData {
    RData::A(A(address.parse().unwrap()))
}

fn aaaa(address: &str) -> RData {
    RData::AAAA(AAAA(address.parse().unwrap()))
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, name(target)))
}
