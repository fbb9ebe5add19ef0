//! What front ends are told of how far contacts are trusted, and how far they are believed about their users; for each of
//! the models in which a Lync-style system takes us in.

use nuncio::gateway::Im;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_translate::trust::TrustModel;
use nuncio_world::sip_text::SipMessage;
use nuncio_xmpp::lane::FailureKind;

use crate::hearing::Log;
use crate::house::{House, Plan, Reach, Reply};
use crate::text::Request;
use crate::watching::*;

const FIELD: &str = "ms-edge-proxy-message-trust";
const FEDERATED: &str = "ms-source-type=DirectPartner;ms-ep-fqdn=nuncio.contoso.com;ms-source-verified-user=verified;\
                         ms-source-network=federation";

fn taken_for(trust: TrustModel) -> House {
    planned(Plan { trust, ..Plan::default() })
}

fn message(contact: &str, body: &str) -> String {
    format!("<message from='{contact}/home' to='{ALICE}' id='m'><body>{body}</body></message>")
}

/// What the front end is told of this contact when he writes to alice, who has written to him.
fn told_of(house: &mut House, contact: &str) -> SipMessage {
    let wire = house.front_end();
    house.ask(wire, Request::message(contact, "hi").bytes());
    let (_, domain) = contact.split_once('@').unwrap();
    house.partner_says(domain, &message(contact, "hello"));
    house.request()
}

#[test]
fn a_trusted_server_says_of_each_contact_how_far_he_is_trusted() {
    let mut house = taken_for(TrustModel::Server);
    assert_eq!(told_of(&mut house, BOB).header(FIELD), Some(FEDERATED));
    for (contact, user) in [("bob@verified.example", "verified"), ("bob@public.example", "unverified")] {
        let domain = contact.split_once('@').unwrap().1;
        let said = format!(
            "ms-source-type=AuthorizedServer;ms-ep-fqdn=nuncio.contoso.com;ms-source-verified-user={user};\
             ms-source-network=publiccloud;ms-remote-fqdn={domain}"
        );
        assert_eq!(told_of(&mut house, contact).header(FIELD), Some(said.as_str()));
    }
}

#[test]
fn every_request_on_behalf_of_a_contact_says_it() {
    let mut house = taken_for(TrustModel::Server);
    let wire = house.front_end();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    house.ask(wire, subscribe(BOB, 3600).bytes());
    house.partner_says(PARTNER, &message(BOB, "hello"));
    let requests = house.requests();
    for method in ["SUBSCRIBE", "NOTIFY", "MESSAGE"] {
        let mut of_method = requests.iter().filter(|request| request.method() == Some(method)).peekable();
        assert!(of_method.peek().is_some(), "{method}: {requests:?}");
        assert!(of_method.all(|request| request.header(FIELD) == Some(FEDERATED)), "{method}");
    }
}

#[test]
fn every_2xx_on_behalf_of_a_contact_says_it_and_no_other_answer_does() {
    let mut house = taken_for(TrustModel::Server);
    let wire = house.front_end();
    let said = |house: &mut House, request: Request, status: u16| {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        answer.header(FIELD).map(str::to_owned)
    };
    assert_eq!(said(&mut house, Request::message(BOB, "hi"), 200).as_deref(), Some(FEDERATED));
    assert_eq!(said(&mut house, subscribe(BOB, 3600), 200).as_deref(), Some(FEDERATED));
    let invite = crate::sessions::invitation(BOB);
    let answer = house.ask(wire, invite.bytes());
    assert_eq!(answer.header(FIELD), Some(FEDERATED), "{answer}");
    let mut chat = crate::sessions::Chat::of(wire, &invite, &answer);
    chat.acknowledge(&mut house);
    for answer in [chat.say(&mut house, "hi"), chat.types(&mut house, "on"), chat.bye(&mut house)] {
        assert_eq!((answer.status(), answer.header(FIELD)), (Some(200), Some(FEDERATED)), "{answer}");
    }
    let public = said(&mut house, Request::message("bob@public.example", "hi"), 200);
    assert!(public.is_some_and(|said| said.contains("=unverified;") && said.ends_with("=public.example")));
    // A refusal is ours, and health is nobody's.
    assert_eq!(said(&mut house, Request::message("bob@stranger.example", "hi"), 403), None);
    assert_eq!(said(&mut house, Request::new("OPTIONS", "nuncio.contoso.com"), 200), None);
}

/// A partner whose last stream came by dialback alone may be anybody, while it is up and until he proves himself again.
#[test]
fn a_contact_whose_domain_is_not_proved_is_not_called_verified() {
    let mut house = taken_for(TrustModel::Server);
    let said = |house: &mut House| told_of(house, BOB).must(FIELD).unwrap().contains("=verified;");
    assert!(said(&mut house));
    let weak = house.gateway.vouched(PARTNER, false);
    assert!(!said(&mut house));
    let strong = house.gateway.vouched(PARTNER, true);
    assert!(!said(&mut house), "the weak one is still up");
    drop(weak);
    assert!(!said(&mut house), "nobody knows who the last one was");
    let another = house.gateway.vouched(PARTNER, true);
    assert!(said(&mut house));
    drop((strong, another));
    assert!(said(&mut house), "it is known who he was");
}

/// Whoever proves himself later vouches for nothing that was said before, and who does not takes nothing back.
#[test]
fn what_is_said_of_a_message_is_what_was_proved_when_it_came() {
    for (im, proved) in [(Im::Pager, true), (Im::Pager, false), (Im::Session, true), (Im::Session, false)] {
        let mut house = planned(Plan { trust: TrustModel::Server, im, ..Plan::default() });
        house.rule = Box::new(crate::sessions::accepts);
        house.front_end_reach = Reach::Down(FailureKind::Unreachable);
        let before = house.gateway.vouched(PARTNER, proved);
        house.partner_says(PARTNER, &message(BOB, "hello"));
        drop(before);
        let _after = house.gateway.vouched(PARTNER, !proved);
        house.front_end_reach = Reach::Up;
        house.advance(5 * SECOND);
        let requests = house.requests();
        for method in if im == Im::Pager { &["MESSAGE"][..] } else { &["INVITE", "MESSAGE"] } {
            let request = requests.iter().find(|request| request.method() == Some(method)).expect(method);
            assert_eq!(request.must(FIELD).unwrap().contains("=verified;"), proved, "{im:?}: {request}");
        }
    }
}

#[test]
fn as_a_peer_of_the_edge_or_of_any_server_we_say_nothing_of_the_kind() {
    for trust in [TrustModel::Edge, TrustModel::Plain] {
        let mut house = taken_for(trust);
        let request = told_of(&mut house, BOB);
        assert!(!request.raw.to_lowercase().contains(FIELD), "{trust:?}: {request}");
        let wire = house.front_end();
        let answer = house.ask(wire, Request::message(BOB, "hi").bytes());
        assert_eq!((answer.status(), answer.header(FIELD)), (Some(200), None), "{answer}");
    }
}

/// Nobody inside the trust domain vouches for a contact (RFC 3325 §5).
#[test]
fn sip_38_no_identity_of_a_contact_is_asserted_and_none_of_a_user_goes_out() {
    for trust in [TrustModel::Edge, TrustModel::Plain, TrustModel::Server] {
        let mut house = taken_for(trust);
        let wire = house.front_end();
        let request = Request::message(BOB, "hi")
            .with("P-Asserted-Identity: <sip:alice@contoso.com>, <tel:+14255550100>")
            .with(format!(
                "{FIELD}: ms-source-type=InternetUser;ms-ep-fqdn=edge;ms-source-verified-user=verified"
            ));
        assert_eq!(house.status(wire, &request), 200);
        let stanza = house.stanzas(PARTNER).remove(0).raw;
        assert!(!stanza.contains("+1425") && !stanza.contains("ms-"), "{stanza}");
        house.partner_says(PARTNER, &message(BOB, "hello"));
        assert_eq!(house.request().header("P-Asserted-Identity"), None);
    }
}

#[test]
fn dec_11_what_is_said_of_the_contact_counts_as_part_of_the_message() {
    const CAP: usize = 1300;
    let longest = |trust| {
        let mut house = planned(Plan { trust, message_cap: Some(CAP), ..Plan::default() });
        let fits = |house: &mut House, size: usize| {
            house.partner_says(PARTNER, &message(BOB, &"x".repeat(size)));
            house.requests().pop().map(|request| request.raw.len())
        };
        let size = (1..CAP).rev().find(|size| fits(&mut house, *size).is_some()).unwrap();
        fits(&mut house, size).unwrap()
    };
    assert_eq!(longest(TrustModel::Plain), CAP);
    // Room is kept for the longest line there is.
    let with_trust = longest(TrustModel::Server);
    assert!((CAP - 64..=CAP).contains(&with_trust), "{with_trust}");
}

#[test]
fn sec_14_a_sender_whom_the_edge_has_not_verified_is_refused() {
    let unverified =
        format!("{FIELD}: ms-source-type=InternetUser;ms-ep-fqdn=edge;ms-source-verified-user=unverified");
    let requests = || [Request::message(BOB, "hi"), subscribe(BOB, 3600), Request::new("INVITE", BOB)];
    for (trust, why) in [(TrustModel::Edge, "ms-diagnostics-public"), (TrustModel::Server, "ms-diagnostics")]
    {
        for request in requests() {
            let mut house = taken_for(trust);
            let wire = house.front_end();
            let log = Log::listen();
            let answer = house.ask(wire, request.with(unverified.clone()).bytes());
            assert_eq!(answer.status(), Some(403), "{answer}");
            let said = answer.must(why).unwrap();
            assert!(said.starts_with("29005;") && said.contains("not verified"), "{answer}");
            assert_eq!(log.lines_with("the edge has not verified the sender"), 1);
            assert_eq!(house.count("sip_senders_doubted"), 1);
            assert!(house.stanzas(PARTNER).is_empty());
        }
    }
    let mut house = taken_for(TrustModel::Plain);
    let wire = house.front_end();
    assert_eq!(house.status(wire, &Request::message(BOB, "hi").with(unverified.clone())), 200, "not read");
    assert_eq!(house.status(wire, &Request::new("OPTIONS", "contoso.com").with(unverified)), 200);
}

/// What an edge says of a request raises nobody: a sender is of a served domain, or nobody.
#[test]
fn sec_14_no_word_of_an_edge_makes_a_foreign_sender_one_of_ours() {
    for trust in [TrustModel::Edge, TrustModel::Server, TrustModel::Plain] {
        let mut house = taken_for(trust);
        let wire = house.front_end();
        let request = Request::message(BOB, "hi")
            .set(|request| request.from = "<sip:mallory@evil.example>;tag=1".to_owned())
            .with(format!("{FIELD}: {FEDERATED}"));
        assert_eq!(house.status(wire, &request), 403, "{trust:?}");
        assert!(house.stanzas(PARTNER).is_empty());
    }
}

#[test]
fn sip_38_an_identity_counts_only_where_the_front_end_is_configured_to_assert_it() {
    let mut house = House::planned(Plan { asserted_identity: false, ..Plan::default() });
    let wire = house.front_end();
    let asserted = Request::message(BOB, "hi").with("P-Asserted-Identity: <sip:carol@contoso.com>");
    assert_eq!(house.status(wire, &asserted), 200);
    assert_eq!(house.stanzas(PARTNER)[0].attribute("from"), Some(ALICE));
    // It does not take a foreign sender's place either.
    let foreign = Request::message(BOB, "hi")
        .set(|request| request.from = "<sip:mallory@evil.example>;tag=1".to_owned())
        .with("P-Asserted-Identity: <sip:carol@contoso.com>");
    assert_eq!(house.status(wire, &foreign), 403);
}

/// An edge replaces what has no public reason by 1034, "the previous hop reported nothing".
#[test]
fn each_refusal_gives_an_edge_a_public_reason_and_no_name_of_ours() {
    let refused = [
        (Request::message("bob@stranger.example", "hi"), 403, "1005;"),
        (subscribe(BOB, 20), 423, "29006;"),
        (Request::new("BYE", BOB), 481, "1027;"),
        (Request::new("FOO", BOB), 501, "1027;"),
        (Request::message(BOB, "hi").with("Require: rocket"), 420, "29004;"),
        (Request::new("CANCEL", BOB), 481, "1027;"),
    ];
    for (request, status, number) in refused {
        for (trust, given, absent) in [
            (TrustModel::Edge, "ms-diagnostics-public", "ms-diagnostics"),
            (TrustModel::Server, "ms-diagnostics", "ms-diagnostics-public"),
        ] {
            let mut house = taken_for(trust);
            let wire = house.front_end();
            let answer = house.ask(wire, request.bytes());
            assert_eq!(answer.status(), Some(status), "{answer}");
            assert!(answer.must(given).unwrap().starts_with(number), "{answer}");
            assert_eq!(answer.header(absent), None, "{answer}");
            assert_eq!(answer.raw.contains("source="), trust == TrustModel::Server, "{answer}");
        }
    }
}

/// What cannot even be cut into messages is refused with a reason, too.
#[test]
fn a_message_of_no_length_is_refused_with_a_reason() {
    let mut house = taken_for(TrustModel::Edge);
    let wire = house.front_end();
    let request = String::from_utf8(Request::message(BOB, "hi").bytes()).unwrap();
    let answer = house.ask(wire, request.replace("Content-Length: 2", "Content-Length: many"));
    assert_eq!(answer.status(), Some(400), "{answer}");
    assert!(answer.must("ms-diagnostics-public").unwrap().starts_with("29004;"), "{answer}");
}

#[test]
fn the_last_notify_gives_an_edge_a_public_reason() {
    let mut house = taken_for(TrustModel::Edge);
    house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    let last = house.request();
    assert_eq!(last.header("Subscription-State"), Some("terminated;reason=rejected"));
    assert!(last.must("ms-diagnostics-public").unwrap().starts_with("29010;reason="), "{last}");
    assert_eq!(last.header("ms-diagnostics"), None);
}

#[test]
fn what_a_front_end_gives_as_its_reason_is_in_the_log() {
    let mut house = House::new();
    let reason = "1003;reason=\"User does not exist\";source=\"fe.contoso.com\"";
    house.rule =
        Box::new(move |_| Reply::With(404, "Not Found", vec![("ms-diagnostics", reason.to_owned())]));
    let log = Log::listen();
    house.partner_says(PARTNER, &message(BOB, "hello"));
    house.advance(MINUTE);
    assert_eq!(log.lines_with("status=404 why=1003;reason="), 1);
    assert!(!house.stanzas(PARTNER)[0].raw.contains("1003"), "and nowhere else");
}

/// Partner types in the order of their trust; what is said of one is never said of a less trusted one.
#[test]
fn a_partner_of_another_type_is_spoken_of_differently_at_once() {
    let mut house = taken_for(TrustModel::Server);
    assert_eq!(told_of(&mut house, BOB).header(FIELD), Some(FEDERATED));
    let partner =
        Partner { domain: PARTNER.into(), partner_type: PartnerType::PublicUnverified, enabled: true };
    let policy = Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]);
    house.gateway.set_policy(policy);
    let told = told_of(&mut house, BOB);
    assert!(told.must(FIELD).unwrap().contains("=unverified;ms-source-network=publiccloud"), "{told}");
}

/// As an edge wants it that has one entry, with one level of trust, for each name.
const BY_TYPE: &[(PartnerType, &str)] = &[
    (PartnerType::PublicVerified, "verified.contoso.com"),
    (PartnerType::PublicUnverified, "public.contoso.com:5071"),
];

fn by_type(trust: TrustModel) -> House {
    planned(Plan { trust, identities: BY_TYPE, ..Plan::default() })
}

#[test]
fn each_partner_type_has_its_name_and_its_connection() {
    let mut house = by_type(TrustModel::Edge);
    for (contact, name) in [
        (BOB, "nuncio.contoso.com"),
        ("bob@verified.example", "verified.contoso.com"),
        ("bob@public.example", "public.contoso.com:5071"),
    ] {
        let wires = house.wires.len();
        let told = told_of(&mut house, contact);
        assert!(told.must("Via").unwrap().starts_with(&format!("SIP/2.0/TLS {name};")), "{told}");
        let opened = house.wires[wires..].iter().filter(|wire| wire.hop).count();
        assert_eq!(opened, 1, "{contact}: a connection of its own");
        // The answer found the message it is for.
        let domain = contact.split_once('@').unwrap().1;
        house.advance(MINUTE);
        assert!(house.stanzas(domain).iter().all(|stanza| stanza.attribute("type") != Some("error")));
    }
    assert_eq!(house.count("xmpp_to_sip_delivered"), 3);
}

#[test]
fn dialogs_of_a_contact_lead_to_the_name_of_his_partner_type() {
    let mut house = by_type(TrustModel::Edge);
    let (_, dialog) = house.user_sees("bob@verified.example");
    assert!(dialog.target.contains("verified.contoso.com"), "the 200: {}", dialog.target);
    house.partner_says("verified.example", &stanza("bob@verified.example", "type='unsubscribed'", ""));
    let notify = house.request();
    house.partner_says("verified.example", &stanza("bob@verified.example", "type='subscribe'", ""));
    let subscribe = house.request();
    for (request, method) in [(notify, "NOTIFY"), (subscribe, "SUBSCRIBE")] {
        assert_eq!(request.method(), Some(method));
        assert!(request.must("Via").unwrap().contains("TLS verified.contoso.com;"), "{request}");
        assert!(request.must("Contact").unwrap().contains("verified.contoso.com"), "{request}");
    }
}

#[test]
fn a_trusted_server_names_itself_by_partner_type() {
    let mut house = by_type(TrustModel::Server);
    for (contact, name) in [(BOB, "nuncio.contoso.com"), ("bob@public.example", "public.contoso.com")] {
        let told = told_of(&mut house, contact);
        assert!(told.must(FIELD).unwrap().contains(&format!(";ms-ep-fqdn={name};")), "{told}");
    }
}

#[test]
fn a_refusal_names_us_as_we_are_called_on_its_connection() {
    let mut house = by_type(TrustModel::Server);
    told_of(&mut house, "bob@verified.example");
    let wire = house.hop();
    house.send(wire, Request::message("bob@stranger.example", "hi").bytes());
    let answer = house.relayed.pop().expect("an answer");
    assert!(answer.must("ms-diagnostics").unwrap().contains("source=\"verified.contoso.com\""), "{answer}");
}

#[test]
fn sip_37_what_left_under_one_name_and_comes_back_under_another_is_a_loop() {
    let mut house = by_type(TrustModel::Edge);
    let request = told_of(&mut house, "bob@public.example");
    let wire = house.front_end();
    let back = request.raw.replacen("Via: ", "Via: SIP/2.0/TLS fe;branch=z9hG4bK-fe\r\nVia: ", 1);
    assert_eq!(house.ask(wire, back).status(), Some(482));
}

#[test]
fn a_partner_whose_type_changes_goes_by_the_other_name_from_then_on() {
    let mut house = by_type(TrustModel::Edge);
    assert!(told_of(&mut house, BOB).must("Via").unwrap().contains("nuncio.contoso.com"));
    let partner =
        Partner { domain: PARTNER.into(), partner_type: PartnerType::PublicVerified, enabled: true };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    assert!(told_of(&mut house, BOB).must("Via").unwrap().contains("TLS verified.contoso.com;"));
}

/// Nobody is forbidden anything: who reads 403 would not write to the contact again.
#[test]
fn a_session_that_ends_for_our_other_name_says_that_it_may_begin_anew() {
    let mut house =
        planned(Plan { trust: TrustModel::Edge, identities: BY_TYPE, im: Im::Session, ..Plan::default() });
    house.rule = Box::new(crate::sessions::accepts);
    house.partner_says(PARTNER, &message(BOB, "hello"));
    house.requests();
    renames(&mut house);
    let bye = house.requests().into_iter().find(|request| request.method() == Some("BYE")).expect("a BYE");
    assert_eq!(bye.header("Reason"), Some("SIP;cause=480;text=\"Temporarily Unavailable\""));
    assert!(bye.must("ms-diagnostics-public").unwrap().contains("partner's type has changed"), "{bye}");
}

#[test]
fn a_warning_names_us_as_we_are_called_on_its_connection() {
    let mut house = by_type(TrustModel::Server);
    told_of(&mut house, "bob@verified.example");
    let wire = house.hop();
    let msrp = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=s\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=message 7654 TCP/MSRP *\r\n";
    let invite = Request::new("INVITE", "bob@verified.example")
        .with("Contact: <sip:alice@contoso.com;opaque=user:epid:x;gruu>")
        .with("Content-Type: application/sdp")
        .with_body(msrp);
    let secure = Request::message("bob@verified.example", "hi").set(|request| {
        request.uri = "sips:bob@verified.example".into();
    });
    for (request, status, code) in [(invite, 488, "302"), (secure, 480, "380")] {
        house.send(wire, request.bytes());
        let answer = house.relayed.pop().expect("an answer");
        assert_eq!(answer.status(), Some(status), "{answer}");
        let begins = format!("{code} verified.contoso.com \"");
        assert!(answer.must("Warning").unwrap().starts_with(&begins), "{answer}");
    }
}

/// The partner's type becomes another one, and with it our name.
fn renames(house: &mut House) {
    let partner =
        Partner { domain: PARTNER.into(), partner_type: PartnerType::PublicVerified, enabled: true };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    house.run();
}

/// Whether a request was sent by us under this name.
fn is_from(request: &SipMessage, name: &str) -> bool {
    request.must("Via").unwrap().contains(&format!("TLS {name};"))
        && request.header("Contact").is_none_or(|contact| contact.contains(name))
}

#[test]
fn trust_what_the_contact_sees_is_asked_for_anew_under_the_name_of_his_partners_new_type() {
    let mut house = by_type(TrustModel::Edge);
    let (wire, mut dialog) = house.seen_by(BOB);
    renames(&mut house);
    let end = house.request();
    assert_eq!((end.method(), end.header("Expires")), (Some("SUBSCRIBE"), Some("0")));
    assert_eq!(end.must("Call-ID").unwrap(), dialog.call_id);
    assert!(is_from(&end, "nuncio.contoso.com"), "it ends under its own: {end}");
    // What is asked for meanwhile waits for that.
    house.partner_says(PARTNER, &stanza(BOB, "type='probe'", ""));
    assert!(house.requests().is_empty());
    house.told(PARTNER);
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=timeout", "")), 200);
    let begin = house.request();
    assert_eq!((begin.method(), begin.header("Expires")), (Some("SUBSCRIBE"), Some("3600")));
    assert_ne!(begin.must("Call-ID").unwrap(), dialog.call_id);
    assert!(is_from(&begin, "verified.contoso.com"), "{begin}");
    let mut dialog = Dialog::of(&begin);
    let (desk, id) = (pidf(&[("desk", true, "", "")]), veiled(BOB, "desk"));
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &desk)), 200);
    let told = house.told(PARTNER);
    assert!(told.iter().all(|word| *word == format!("available {id}")), "nobody is gone: {told:?}");
    house.advance(HOUR);
    let refresh = house.requests().remove(0);
    assert_eq!(refresh.must("Call-ID").unwrap(), dialog.call_id);
    assert!(is_from(&refresh, "verified.contoso.com"), "{refresh}");
}

#[test]
fn trust_an_endpoint_is_to_subscribe_again_where_the_contact_is_trusted_otherwise() {
    let mut house = by_type(TrustModel::Edge);
    let (wire, dialog) = house.user_sees(BOB);
    renames(&mut house);
    let end = house.request();
    assert_eq!(end.must("Subscription-State").unwrap(), "terminated;reason=deactivated");
    assert_eq!(end.must("Call-ID").unwrap(), dialog.call_id);
    assert!(is_from(&end, "nuncio.contoso.com"), "it ends under its own: {end}");
    assert!(house.told(PARTNER).is_empty(), "nobody is gone");
    let request = subscribe(BOB, 3600);
    let answer = house.ask(wire, request.bytes());
    assert!(answer.must("Contact").unwrap().contains("verified.contoso.com"), "{answer}");
    assert!(is_from(&house.request(), "verified.contoso.com"));
}

#[test]
fn trust_a_subscription_goes_on_where_the_name_stays() {
    let mut house = by_type(TrustModel::Edge);
    let (.., seen) = house.seen_by(BOB);
    let partner = Partner { domain: PARTNER.into(), partner_type: PartnerType::Federated, enabled: true };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    house.run();
    assert!(house.requests().is_empty());
    assert_eq!(house.gateway.holdings().subscriptions, 1, "{}", seen.call_id);
}
