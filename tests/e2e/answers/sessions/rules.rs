//! Sessions that the rules forbid from now on.

use nuncio_translate::judge::{Partner, PartnerType, Snapshot, UserPolicy, UserRule, Verdict, Who};
use nuncio_translate::pair::PairKey;
use nuncio_translate::trust::TrustModel;
use nuncio_xmpp::lane::FailureKind;

use super::*;
use crate::house::Reach;
use crate::watching::{MINUTE, SECOND};

const ACTIVE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
const PUBLIC: &str = "bob@public.example";

/// Partners, of the second generation.
fn policy(partners: &[(&str, PartnerType, bool)]) -> Snapshot {
    let partners = partners.iter().map(|&(domain, partner_type, enabled)| {
        (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
    });
    Snapshot::new(2, ["contoso.com".into()], partners)
}

fn open() -> Snapshot {
    policy(&[("fabrikam.com", PartnerType::Federated, true)])
}

fn denying(enabled: bool) -> UserPolicy {
    let rule = UserRule { who: vec![Who::User(ALICE.into())], partners: Vec::new(), verdict: Verdict::Deny };
    UserPolicy::new(enabled, Verdict::Allow, vec![rule])
}

/// Each way to forbid it, and the number of its reason.
fn all_that_forbids() -> Vec<(&'static str, Snapshot, &'static str)> {
    vec![
        ("disabled", policy(&[("fabrikam.com", PartnerType::Federated, false)]), "1005;"),
        ("removed", policy(&[]), "1005;"),
        ("denied", open().with_users(denying(true)), "1002;"),
        ("off", open().with_users(denying(false)), "1002;"),
        ("not served", Snapshot::new(2, ["other.example".into()], []), "29005;"),
    ]
}

fn forbid(house: &mut House, policy: Snapshot) {
    house.gateway.set_policy(policy);
    house.run();
}

fn rings(request: &SipMessage) -> Reply {
    match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    }
}

#[test]
fn trust_what_a_new_policy_forbids_ends_with_its_reason_and_without_a_word_to_the_contact() {
    for (what, forbids, number) in all_that_forbids() {
        let mut house = house();
        let wire = house.front_end();
        let mut chat = Chat::open(&mut house, wire);
        // He would be told that the user has gone.
        bob_writes(&mut house, "b1", &format!("<body>x</body>{ACTIVE}"));
        chat.say(&mut house, "hello");
        house.requests();
        house.stanzas("fabrikam.com");
        forbid(&mut house, forbids);
        let requests = house.requests();
        assert_eq!(methods(&requests), ["BYE"], "{what}");
        let bye = &requests[0];
        assert_eq!(bye.must("Call-ID").unwrap(), chat.call_id);
        assert_eq!(bye.header("Reason"), Some("SIP;cause=403;text=\"Forbidden\""), "{what}");
        let why = bye.must("ms-diagnostics").unwrap();
        assert!(why.starts_with(number) && why.contains("source=\"nuncio.contoso.com\""), "{what}: {why}");
        assert!(house.stanzas("fabrikam.com").is_empty(), "{what}");
        assert_eq!(house.gateway.holdings().dialogs, 0, "{what}");
    }
}

#[test]
fn a_policy_that_forbids_nothing_ends_nothing() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    forbid(&mut house, open());
    assert!(house.requests().is_empty());
    bob_writes(&mut house, "b2", "<body>x</body>");
    assert_eq!(methods(&house.requests()), ["MESSAGE"]);
}

#[test]
fn what_rings_is_cancelled_with_the_reason_and_what_waits_for_it_is_refused_as_all_is() {
    let mut house = house();
    house.rule = Box::new(rings);
    for number in 1..=2 {
        bob_writes(&mut house, &format!("b{number}"), "<body>x</body>");
    }
    assert_eq!(methods(&house.requests()), ["INVITE"]);
    forbid(&mut house, open().with_users(denying(true)));
    let requests = house.requests();
    assert_eq!(methods(&requests), ["CANCEL"]);
    assert!(requests[0].must("ms-diagnostics").unwrap().starts_with("1002;"), "{}", requests[0]);
    assert_eq!(requests[0].header("Reason"), Some("SIP;cause=403;text=\"Forbidden\""));
    house.advance(SECOND);
    let told = house.stanzas("fabrikam.com");
    let ids: Vec<_> = told.iter().map(|stanza| stanza.attribute("id").unwrap()).collect();
    assert_eq!(ids, ["b1", "b2"]);
    assert!(told.iter().all(|stanza| stanza.raw.contains("<service-unavailable")), "{told:?}");
    house.advance(MINUTE);
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn a_refusal_to_the_user_in_a_session_does_not_tell_the_contact_more_than_silence() {
    let mut house = house();
    house.front_end_takes = 2 * SECOND;
    bob_writes(&mut house, "b1", "<body>1</body>");
    house.advance(3 * SECOND);
    // One is under way, and one behind it.
    bob_writes(&mut house, "b2", "<body>2</body>");
    house.requests();
    forbid(&mut house, open().with_users(denying(true)));
    assert_eq!(methods(&house.requests()), ["BYE"]);
    house.advance(SECOND / 10);
    let told = house.stanzas("fabrikam.com");
    assert_eq!(told.iter().map(|stanza| stanza.attribute("id").unwrap()).collect::<Vec<_>>(), ["b2"]);
    house.advance(MINUTE);
    assert!(house.stanzas("fabrikam.com").is_empty(), "what was under way has arrived");
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
}

#[test]
fn an_edge_gets_the_reason_in_public_form() {
    let mut house = House::planned(Plan { im: Im::Session, trust: TrustModel::Edge, ..Plan::default() });
    house.rule = Box::new(accepts);
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    forbid(&mut house, policy(&[]));
    let bye = house.requests().remove(0);
    assert!(bye.must("ms-diagnostics-public").unwrap().starts_with("1005;reason="), "{bye}");
    assert_eq!(bye.header("ms-diagnostics"), None);
}

/// A contact of an unverified partner may write only to who has added him or written to him.
#[test]
fn trust_what_the_contact_may_not_begin_any_more_ends_and_what_the_user_began_does_not() {
    let unverified = || policy(&[("fabrikam.com", PartnerType::PublicUnverified, true)]);
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    forbid(&mut house, unverified());
    assert_eq!(methods(&house.requests()), ["BYE"]);

    let mut house = self::house();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    forbid(&mut house, unverified());
    assert!(house.requests().is_empty());
    assert_eq!(chat.say(&mut house, "still there").status(), Some(200));
}

#[test]
fn a_session_ends_with_the_consent_that_it_was_begun_under() {
    let mut house = house();
    let wire = house.front_end();
    let subscribe = crate::watching::subscribe(PUBLIC, 3600);
    house.ask(wire, subscribe.bytes());
    house.requests();
    house.partner_says(
        "public.example",
        &format!("<message from='{PUBLIC}/home' to='{ALICE}' id='m'><body>x</body></message>"),
    );
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"]);
    house.gateway.remove_consent(&PairKey::new(ALICE, PUBLIC), house.now);
    house.run();
    assert!(methods(&house.requests()).contains(&"BYE"));
}

/// As an edge wants it that has one entry, with one level of trust, for each name.
fn by_type() -> House {
    let identities = &[(PartnerType::PublicVerified, "verified.contoso.com")];
    House::planned(Plan { im: Im::Session, trust: TrustModel::Edge, identities, ..Plan::default() })
}

fn trusted_otherwise() -> Snapshot {
    policy(&[("fabrikam.com", PartnerType::PublicVerified, true)])
}

#[test]
fn trust_a_session_does_not_go_on_under_a_name_that_is_trusted_otherwise_and_ends_under_its_own() {
    let mut house = by_type();
    house.rule = Box::new(accepts);
    bob_writes(&mut house, "b1", "<body>x</body>");
    let invite = house.requests().remove(0);
    forbid(&mut house, trusted_otherwise());
    let requests = house.requests();
    assert_eq!(methods(&requests), ["BYE"]);
    assert!(requests[0].must("Via").unwrap().contains("TLS nuncio.contoso.com;"), "{}", requests[0]);
    assert_eq!(requests[0].must("Call-ID").unwrap(), invite.must("Call-ID").unwrap());
    assert_eq!(house.gateway.holdings().dialogs, 0, "its answer is ours");
    bob_writes(&mut house, "b2", "<body>x</body>");
    let next = house.requests().remove(0);
    assert_eq!(next.method(), Some("INVITE"));
    assert!(next.must("Via").unwrap().contains("TLS verified.contoso.com;"), "{next}");
}

#[test]
fn sip_28_cancel_goes_the_way_of_its_invite_whatever_we_are_called_by_then() {
    let mut house = by_type();
    house.rule = Box::new(rings);
    bob_writes(&mut house, "b1", "<body>x</body>");
    let invite = house.requests().remove(0);
    let wires = house.wires.len();
    forbid(&mut house, trusted_otherwise());
    let requests = house.requests();
    let cancel = requests.iter().find(|request| request.method() == Some("CANCEL")).expect("it is cancelled");
    assert_eq!(cancel.must("Via").unwrap(), invite.must("Via").unwrap());
    // What waited is asked for anew under the other name.
    assert!(methods(&requests).contains(&"INVITE"), "{:?}", methods(&requests));
    assert!(house.wires.len() > wires, "over a connection of its own");
}

#[test]
fn sip_28_cancel_goes_the_way_of_its_invite_though_another_front_end_has_a_part_in_it() {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    let mut house = House::planned(Plan { im: Im::Session, next_hops, ..Plan::default() });
    house.rule = Box::new(rings);
    bob_writes(&mut house, "b1", "<body>x</body>");
    let invite = house.requests().remove(0);
    assert_eq!(std::mem::take(&mut house.asked), [(0, "INVITE".to_owned())]);
    // What is said in the session overtakes the answer to the invitation, by way of the other one.
    let other = house.connect_as(nuncio::gateway::SipPeer::FrontEnd(1), false);
    assert_eq!(Chat::of_gateway(other, &invite).say(&mut house, "early").status(), Some(200));
    house.next_hop_reach.insert(1, Reach::Down(FailureKind::Unreachable));
    house.advance(61 * SECOND);
    assert_eq!(house.asked, [(0, "CANCEL".to_owned())]);
}
