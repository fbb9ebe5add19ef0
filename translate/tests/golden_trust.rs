//! Golden pairs of trust: what a front end is told of a contact, for each partner type and each model; and whether the
//! sender of a request is believed.
//!
//! Each file of `golden_trust/` holds one case: a line that says what it shows, options, then what comes in and what comes
//! of it. Lines of SIP end with CRLF.

mod golden_case;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use nuncio_sip::connection::{Connection, ConnectionConfig};
use nuncio_sip::{Message, Method};
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::judge::PartnerType;
use nuncio_translate::message::to_sip::{self, Languages, Reading, Request};
use nuncio_translate::trust::{self, Stamps, TrustModel};
use nuncio_xmpp::{Element, Jid, ReadLimits};

use golden_case::{Case, for_each_case};

const OURS: &str = "nuncio.contoso.com:5061";
const BRANCH: &str = "z9hG4bKbranch";

fn model(case: &Case) -> TrustModel {
    match case.option("model") {
        Some("plain") => TrustModel::Plain,
        Some("edge") => TrustModel::Edge,
        Some("server") => TrustModel::Server,
        other => panic!("{}: model {other:?}", case.name),
    }
}

fn partner(case: &Case) -> PartnerType {
    match case.option("partner") {
        Some("federated") => PartnerType::Federated,
        Some("public-verified") => PartnerType::PublicVerified,
        Some("public-unverified") => PartnerType::PublicUnverified,
        other => panic!("{}: partner {other:?}", case.name),
    }
}

/// The request as a front end gets it.
fn sent(request: &[u8], lines: &[&str]) -> String {
    let peer: SocketAddr = "192.0.2.9:5061".parse().unwrap();
    let now = Instant::now();
    let mut connection = Connection::new(ConnectionConfig::new(peer, OURS, [0; 16]), now);
    connection.send_with(request, lines, BRANCH, Method::Message, (), now).unwrap();
    let mut out = Vec::new();
    connection.transmit(&mut out);
    String::from_utf8(out).unwrap()
}

fn check_from_xmpp(case: &Case) {
    let stanza = case.section("xmpp").replace('\n', "");
    let stanza = Element::parse_document(stanza.as_bytes(), &ReadLimits::default()).unwrap();
    let contact = Jid::parse(stanza.attr("from").unwrap()).unwrap();
    let user = Jid::parse(stanza.attr("to").unwrap()).unwrap();
    let (sender, recipient) =
        (Contact::from_jid(&contact.bare()).unwrap(), SipUser::from_jid(&user.bare()).unwrap());
    let Reading::Instant(instant) = to_sip::read(&stanza, Languages::default()) else {
        panic!("{}: no message", case.name)
    };
    let request = Request {
        sender: &sender,
        resource: None,
        recipient: &recipient,
        sent_by: OURS,
        branch: BRANCH,
        tag: "TAG",
        call_token: "TOKEN",
        extra: &[],
        cap: None,
    };
    let mut bytes = Vec::new();
    to_sip::write(&instant, &request, &mut bytes).unwrap();
    let stamps = Stamps::new(|_| OURS.to_owned());
    let proved = case.option("proved").is_some();
    let stamp = stamps.of(partner(case), proved, contact.domain());
    let lines = stamp.pieces();
    let written = sent(&bytes, if model(case).writes() { &lines } else { &[] });
    assert_eq!(written, case.section("sip").replace('\n', "\r\n"), "{}", case.name);
    // Whoever reads it reads the same request with one field more.
    let (before, after) =
        (Message::parse(bytes.into()).unwrap(), Message::parse(Bytes::from(written)).unwrap());
    assert_eq!(before.body(), after.body());
    nuncio_sip::check_request(&after).unwrap();
}

fn check_from_sip(case: &Case) {
    let text = case.section("sip").replace('\n', "\r\n") + "\r\n\r\n";
    let request = Message::parse(Bytes::from(text)).unwrap();
    let doubt = model(case).reads().then(|| trust::doubt(&request)).flatten();
    let verdict = doubt.map_or_else(|| "believed".to_owned(), |doubt| format!("refused: {doubt}"));
    assert_eq!(verdict, case.section("verdict"), "{}", case.name);
}

#[test]
fn golden_trust() {
    let (from_sip, from_xmpp) = for_each_case("golden_trust", check_from_sip, check_from_xmpp);
    assert!(from_sip >= 6 && from_xmpp >= 7, "{from_sip}, {from_xmpp}");
}
