//! Who may see whom: the trust levels, consent and the policy for SIP users, on the wire on both sides.

use std::time::Duration;

use nuncio_translate::judge::{Partner, PartnerType, Snapshot, UserPolicy, UserRule, Verdict, Who};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach, Reply};
use crate::watching::*;

const EVE: &str = "eve@public.example";
const PUBLIC: &str = "public.example";
const VERA: &str = "vera@verified.example";
const VERIFIED: &str = "verified.example";

fn policy(generation: u64, partners: &[(&str, PartnerType, bool)]) -> Snapshot {
    let partners = partners.iter().map(|&(domain, partner_type, enabled)| {
        (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
    });
    Snapshot::new(generation, ["contoso.com".into()], partners)
}

fn with_note() -> String {
    pidf(&[("desk", true, &show("dnd"), "<note>in a merger talk</note>")])
}

/// What a contact gets for a message to alice, within two seconds.
fn answer_to_message(house: &mut House, contact: &str) -> Option<String> {
    let (_, remote) = contact.split_once('@').unwrap();
    let message = format!("<message from='{contact}/x' to='{ALICE}' id='m'><body>hi</body></message>");
    house.partner_says(remote, &message);
    house.advance(2 * SECOND);
    let messages = house.stanzas(remote);
    let error = messages.iter().find(|stanza| stanza.name == "message")?;
    Some(error.condition().unwrap().to_owned())
}

#[test]
fn trust_a_public_contact_meets_silence_and_uniform_refusals_until_he_is_added() {
    let mut house = house();
    for kind in ["subscribe", "probe", "unsubscribe", "subscribed", "unsubscribed"] {
        house.partner_says(PUBLIC, &stanza(EVE, &format!("type='{kind}' id='x'"), ""));
    }
    house.partner_says(PUBLIC, &stanza("eve@public.example/x", "", "<status>hello</status>"));
    house.advance(HOUR);
    assert!(house.requests().is_empty(), "nothing reaches the SIP side");
    assert!(house.stanzas(PUBLIC).is_empty(), "and nothing comes back");
    assert_eq!(answer_to_message(&mut house, EVE).as_deref(), Some("service-unavailable"));
    assert!(house.requests().is_empty());
}

#[test]
fn trust_and_xi_04_a_kept_request_is_acted_on_when_the_sip_user_adds_the_contact() {
    let mut house = house();
    for _ in 0..3 {
        house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    }
    house.advance(DAY);
    assert!(house.requests().is_empty());
    house.user_asks(EVE);
    let requests = house.requests();
    assert_eq!(requests.len(), 2, "the NOTIFY to the SIP user, and what was kept: {requests:?}");
    let kept = requests.iter().find(|request| request.method() == Some("SUBSCRIBE")).unwrap();
    assert_eq!(kept.address("From").unwrap(), "sip:eve@public.example");
    assert_eq!(house.told(PUBLIC), ["subscribe"]);
    // Both sides go on from there; the note stays at home.
    let (wire, mut dialog) = (house.front_end(), Dialog::of(kept));
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &with_note())), 200);
    let stanzas = house.stanzas(PUBLIC);
    assert_eq!(
        stanzas.iter().map(short).collect::<Vec<_>>(),
        ["subscribed", &format!("available {} dnd", veiled(EVE, "desk"))]
    );
    assert!(stanzas.iter().all(|stanza| !stanza.raw.contains("merger")), "{stanzas:?}");
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribed'", ""));
    house.partner_says(PUBLIC, &stanza("eve@public.example/x", "", "<status>hello</status>"));
    house.advance(6 * SECOND);
    assert!(house.requests().last().unwrap().body.contains("hello"), "the contact's own note crosses");
    assert_eq!(answer_to_message(&mut house, EVE), None);
    assert_eq!(house.request().body, "hi");
}

#[test]
fn trust_a_kept_request_is_forgotten_after_thirty_days() {
    let mut house = house();
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    house.advance(30 * DAY + MINUTE);
    assert_eq!(house.gateway.holdings().pairs, 0);
    house.user_asks(EVE);
    assert_eq!(house.states().len(), 1, "and no SUBSCRIBE");
}

#[test]
fn trust_a_fetch_of_the_sip_user_adds_nobody() {
    let mut house = house();
    let wire = house.front_end();
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    assert_eq!(house.status(wire, &subscribe(EVE, 0)), 200);
    assert_eq!(house.states().len(), 1, "no SUBSCRIBE for the contact");
    assert_eq!(answer_to_message(&mut house, EVE).as_deref(), Some("service-unavailable"));
}

#[test]
fn trust_a_verified_contact_needs_no_invitation_and_sees_no_note() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(VERA);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &with_note())), 200);
    let stanzas = house.stanzas(VERIFIED);
    assert_eq!(
        stanzas.iter().map(short).collect::<Vec<_>>(),
        ["subscribed", &format!("available {} dnd", veiled(VERA, "desk"))]
    );
    house.partner_says(VERIFIED, &stanza("vera@verified.example/x", "type='probe' id='p'", ""));
    let all: Vec<Element> = stanzas.into_iter().chain(house.stanzas(VERIFIED)).collect();
    assert_eq!(all.len(), 3);
    let silent = |stanza: &Element| !stanza.raw.contains("merger") && !stanza.raw.contains("desk");
    assert!(all.iter().all(silent), "{all:?}");
}

#[test]
fn trust_a_federated_contact_sees_the_note() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &with_note())), 200);
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk dnd in a merger talk"]);
}

#[test]
fn trust_consent_lapses_after_45_days_without_a_subscribe() {
    let mut house = house();
    let (wire, mut user) = house.user_asks(EVE);
    house.requests();
    house.told(PUBLIC);
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    house.status(wire, &contact.notify(OPEN, &with_note()));
    assert_eq!(house.told(PUBLIC), ["subscribed", &format!("available {} dnd", veiled(EVE, "desk"))]);
    // Expires 0 does not end it (PR-35).
    house.status(wire, &user.subscribe(0));
    let begin = house.now.instant;
    let mut told = Vec::new();
    while !told.iter().any(|told: &String| told == "unsubscribed") {
        assert!(house.now.instant < begin + 46 * DAY, "{told:?}");
        house.advance(MINUTE / 2);
        for request in house.requests() {
            if request.must("Call-ID").unwrap() == contact.call_id && request.method() == Some("SUBSCRIBE") {
                house.status(wire, &contact.notify(OPEN, &with_note()));
                // He shows interest.
                house.partner_says(PUBLIC, &stanza("eve@public.example/x", "type='probe' id='p'", ""));
                house.advance(41 * MINUTE);
            }
        }
        told.extend(house.told(PUBLIC));
    }
    let after = house.now.instant - begin;
    assert!(after >= 45 * DAY - MINUTE && after <= 45 * DAY + HOUR, "{after:?}");
    assert_eq!(
        told[told.len() - 2..],
        [format!("unavailable {}", veiled(EVE, "desk")), "unsubscribed".into()],
        "XI-06"
    );
    assert_eq!(answer_to_message(&mut house, EVE).as_deref(), Some("service-unavailable"));
}

#[test]
fn trust_a_partner_that_becomes_public_loses_the_note_and_the_consent_that_was_never_given() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    house.status(wire, &dialog.notify(OPEN, &with_note()));
    assert_eq!(house.told(PARTNER), ["subscribed", "available desk dnd in a merger talk"]);
    house.gateway.set_policy(policy(2, &[(PARTNER, PartnerType::PublicVerified, true)]));
    house.run();
    assert_eq!(
        house.told(PARTNER),
        [format!("available {} dnd", veiled(BOB, "desk")), "unavailable desk".into()],
        "without the note"
    );
    house.gateway.set_policy(policy(3, &[(PARTNER, PartnerType::PublicUnverified, true)]));
    house.run();
    assert_eq!(house.told(PARTNER), [format!("unavailable {}", veiled(BOB, "desk")), "unsubscribed".into()]);
    assert_eq!(house.request().header("Expires"), Some("0"), "and the dialog is closed");
}

#[test]
fn trust_a_disabled_partner_gets_nothing_and_goes_on_when_it_is_enabled_again() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.gateway.set_policy(policy(2, &[(PARTNER, PartnerType::Federated, false)]));
    house.run();
    let close = house.request();
    assert_eq!(close.header("Expires"), Some("0"));
    house.status(wire, &dialog.notify("terminated;reason=timeout", &with_note()));
    house.advance(HOUR);
    assert!(house.stanzas(PARTNER).is_empty(), "nothing at all");
    assert_eq!(house.status(wire, &subscribe(BOB, 3600)), 403);
    house.gateway.set_policy(policy(3, &[(PARTNER, PartnerType::Federated, true)]));
    house.run();
    let mut dialog = Dialog::of(&house.request());
    house.status(wire, &dialog.notify(OPEN, &with_note()));
    let told = house.told(PARTNER);
    assert_eq!(told.last().unwrap(), "available desk dnd in a merger talk");
    assert!(!told.contains(&"unsubscribed".to_owned()), "{told:?}");
}

#[test]
fn trust_what_waits_for_a_partner_who_is_disabled_meanwhile_waits_until_he_is_enabled_again() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let now = house.now;
    house.line(PARTNER).cut(now);
    house.reach.insert(PARTNER, Reach::Pending);
    house.status(wire, &dialog.notify("terminated;reason=rejected", ""));
    house.gateway.set_policy(policy(2, &[(PARTNER, PartnerType::Federated, false)]));
    house.reach.insert(PARTNER, Reach::Up);
    house.advance(HOUR);
    assert_eq!(house.told(PARTNER), [""; 0], "not even what takes something back");
    house.gateway.set_policy(policy(3, &[(PARTNER, PartnerType::Federated, true)]));
    house.advance(HOUR);
    assert!(house.told(PARTNER).contains(&"unsubscribed".to_owned()));
}

#[test]
fn trust_what_nothing_comes_of_leaves_no_pair() {
    let mut house = planned(Plan { kept_per_domain: 1, ..Plan::default() });
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    assert_eq!(house.gateway.holdings().pairs, 1, "it is kept");
    for number in 0..50 {
        let stranger = format!("stranger{number}@public.example");
        house.partner_says(PUBLIC, &stanza(&stranger, "type='subscribe'", ""));
        let message =
            format!("<message from='{stranger}/x' to='{ALICE}' type='chat' id='m'><body>hi</body></message>");
        house.partner_says(PUBLIC, &message);
    }
    assert_eq!(house.gateway.holdings().pairs, 1);
    house.advance(SECOND);
    assert_eq!(house.stanzas(PUBLIC).len(), 50, "each message is answered all the same");
    assert_eq!(house.count("xmpp_to_sip_refused"), 50);
}

#[test]
fn trust_a_domain_that_is_no_partner_any_more_gets_nothing() {
    let mut house = house();
    house.seen_by(BOB);
    house.user_asks(BOB);
    house.requests();
    house.told(PARTNER);
    house.gateway.set_policy(policy(2, &[]));
    house.advance(MINUTE);
    assert!(house.stanzas(PARTNER).is_empty());
    let requests = house.requests();
    let ends: Vec<_> = requests
        .iter()
        .map(|request| request.header("Subscription-State").or_else(|| request.header("Expires")).unwrap())
        .collect();
    assert!(ends.contains(&"0") && ends.contains(&"terminated;reason=rejected"), "{ends:?}");
}

#[test]
fn policy_a_denied_user_is_refused_with_a_reason_and_makes_no_pair() {
    let mut house = house();
    let rules = vec![UserRule {
        who: vec![Who::User(ALICE.into())],
        partners: vec![PARTNER.into()],
        verdict: Verdict::Deny,
    }];
    let users = UserPolicy::new(true, Verdict::Allow, rules);
    let all = [(PARTNER, PartnerType::Federated, true), (VERIFIED, PartnerType::PublicVerified, true)];
    house.gateway.set_policy(policy(2, &all).with_users(users));
    let wire = house.front_end();
    let answer = house.ask(wire, subscribe(BOB, 3600).bytes());
    assert_eq!(answer.status(), Some(403));
    assert!(answer.must("ms-diagnostics").unwrap().contains("user-denied"), "{answer}");
    assert!(house.stanzas(PARTNER).is_empty(), "silence outward");
    assert_eq!(house.gateway.holdings().pairs, 0);
    assert_eq!(house.status(wire, &subscribe(VERA, 3600)), 200, "only for that partner");
    // Whoever asks for her meets what he meets who asks for nobody.
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    house.partner_says(PARTNER, &stanza(BOB, "type='probe' id='p'", ""));
    house.advance(HOUR / 4);
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
    assert_eq!(answer_to_message(&mut house, BOB).as_deref(), Some("service-unavailable"));
}

#[test]
fn policy_of_a_restart_holds_before_a_pair_has_taken_up_its_work() {
    let mut before = house();
    before.user_asks(BOB);
    let store = std::sync::Arc::new(before.store.crash());
    let mut house = planned(Plan { store, unix_ms: (before.now + MINUTE).unix_ms, ..Plan::default() });
    let off = UserPolicy::new(false, Verdict::Allow, Vec::new());
    let partners = [(PARTNER, PartnerType::Federated, true)];
    house.gateway.set_policy(policy(2, &partners).with_users(off));
    house.gateway.restore(house.now).unwrap();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.advance(MINUTE);
    assert_eq!(house.states(), ["terminated;reason=rejected"], "never active");
}

#[test]
fn policy_that_denies_a_user_from_now_on_ends_everything_in_order() {
    let mut house = house();
    let (wire, mut user) = house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    house.status(wire, &contact.notify(OPEN, &with_note()));
    house.told(PARTNER);
    let off = policy(2, &[(PARTNER, PartnerType::Federated, true)]).with_users(UserPolicy::new(
        false,
        Verdict::Allow,
        Vec::new(),
    ));
    house.gateway.set_policy(off);
    house.run();
    let told = house.told(PARTNER);
    assert!(!told.contains(&"unsubscribe".to_owned()), "what the contact agreed to lasts: {told:?}");
    assert_eq!(told[..2], ["unavailable desk", "unsubscribed"], "{told:?}");
    let requests = house.requests();
    let rejected =
        |request: &SipMessage| request.header("Subscription-State") == Some("terminated;reason=rejected");
    assert!(requests.iter().any(rejected), "{requests:?}");
    let closed = requests.iter().any(|request| request.header("Expires") == Some("0"));
    assert!(closed, "{requests:?}");
    assert_ne!(house.status(wire, &user.subscribe(3600)), 200);
}

/// The front end cannot be reached, and consent goes before it can.
#[test]
pub(crate) fn trust_what_waits_for_the_front_end_does_not_leave_without_the_consent_it_was_judged_by() {
    let mut house = house();
    let (wire, _) = house.user_asks(EVE);
    house.requests();
    house.told(PUBLIC);
    house.front_end_reach = Reach::Down(FailureKind::Unreachable);
    let hop = house.hop();
    house.cut(hop);
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    let message =
        |from: &str| format!("<message from='{from}/x' to='{ALICE}' id='m'><body>hi</body></message>");
    house.partner_says(PUBLIC, &message(EVE));
    house.partner_says(PARTNER, &message(BOB));
    assert!(house.requests().is_empty());
    house.gateway.remove_consent(&nuncio_translate::pair::PairKey::new(ALICE, EVE), house.now);
    house.front_end_reach = Reach::Up;
    house.advance(5 * SECOND);
    let requests = house.requests();
    let of_eve = |request: &&SipMessage| request.address("From").is_ok_and(|from| from.contains(EVE));
    let crossed = requests.iter().filter(of_eve).filter(|request| request.method() != Some("NOTIFY"));
    assert_eq!(crossed.collect::<Vec<_>>().len(), 0, "{requests:?}");
    let messages = requests.iter().filter(|request| request.method() == Some("MESSAGE")).count();
    assert_eq!(messages, 1, "that of somebody else leaves: {requests:?}");
    let answers = house.stanzas(PUBLIC);
    let answer = answers.iter().find(|stanza| stanza.name == "message").expect("an answer");
    assert_eq!(answer.condition().unwrap(), "service-unavailable");
    // Her request is kept.
    let request = subscribe(EVE, 3600);
    house.ask(wire, request.bytes());
    let requests = house.requests();
    assert!(requests.iter().any(|request| request.method() == Some("SUBSCRIBE")), "{requests:?}");
}

/// The same towards the contact: her stream has not come about.
#[test]
pub(crate) fn trust_presence_that_waits_for_the_stream_does_not_leave_without_consent() {
    let mut house = house();
    house.user_asks(EVE);
    house.requests();
    let (wire, mut contact) = house.contact_asks(EVE);
    house.told(PUBLIC);
    house.reach.insert(PUBLIC, Reach::Pending);
    house.cut_line(PUBLIC);
    house.status(wire, &contact.notify(OPEN, &with_note()));
    house.gateway.remove_consent(&nuncio_translate::pair::PairKey::new(ALICE, EVE), house.now);
    house.reach.insert(PUBLIC, Reach::Up);
    house.advance(2 * MINUTE);
    let told = house.told(PUBLIC);
    let shows = told.iter().any(|told| told == "subscribed" || told.starts_with("available"));
    assert!(!shows && told.iter().any(|told| told == "unsubscribed"), "{told:?}");
}

#[test]
fn remove_consent_ends_what_it_allowed() {
    let mut house = house();
    let (wire, _) = house.user_asks(EVE);
    house.requests();
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    house.status(wire, &contact.notify(OPEN, &with_note()));
    house.told(PUBLIC);
    house.gateway.remove_consent(&nuncio_translate::pair::PairKey::new(ALICE, EVE), house.now);
    house.run();
    assert_eq!(
        house.told(PUBLIC)[..2],
        [format!("unavailable {}", veiled(EVE, "desk")), "unsubscribed".into()]
    );
    assert_eq!(answer_to_message(&mut house, EVE).as_deref(), Some("service-unavailable"));
    let trail = house.store.audit_trail();
    assert!(trail.iter().any(|entry| entry.actor == ALICE), "it was recorded: {trail:?}");
}

#[test]
fn trust_the_audit_trail_says_who_added_and_who_may_see() {
    let mut house = house();
    house.user_sees(BOB);
    house.seen_by(BOB);
    let trail = house.store.audit_trail();
    let lines: Vec<_> = trail.iter().map(|entry| (entry.actor.as_str(), entry.what.as_str())).collect();
    for expected in [(BOB, "the SIP user may see the contact"), (ALICE, "the contact may see the SIP user")] {
        assert!(lines.contains(&expected), "{lines:?}");
    }
}

/// Else a stranger could drive out of the trail what an administrator looks for in it.
#[test]
fn a_contact_who_asks_and_takes_it_back_again_and_again_does_not_fill_the_audit_trail() {
    let mut house = house();
    let ask = |house: &mut House, contact: &str| {
        house.partner_says(PUBLIC, &stanza(contact, "type='subscribe'", ""));
        house.partner_says(PUBLIC, &stanza(contact, "type='unsubscribe'", ""));
    };
    let of = |house: &House, contact: &str| {
        house.store.audit_trail().iter().filter(|entry| entry.actor == contact).count()
    };
    (0..10).for_each(|_| ask(&mut house, EVE));
    assert_eq!(of(&house, EVE), 10);
    (0..100).for_each(|_| ask(&mut house, EVE));
    assert_eq!(of(&house, EVE), 10);
    ask(&mut house, "mallory@public.example");
    assert_eq!(of(&house, "mallory@public.example"), 1);
    house.advance(Duration::from_secs(61));
    ask(&mut house, EVE);
    assert_eq!(of(&house, EVE), 11);
}

/// What the trail has of refusals: what, who, and the name of the rule.
fn refusals(house: &House) -> Vec<String> {
    let trail = house.store.audit_trail();
    let refused = trail.iter().filter(|entry| entry.what.contains("refused"));
    refused
        .map(|entry| format!("{} {} {}", entry.what, entry.subject, entry.to.as_deref().unwrap_or_default()))
        .collect()
}

#[test]
fn the_audit_trail_has_refusals_by_rule_of_both_directions_with_the_rule() {
    let mut house = house();
    let wire = house.front_end();
    assert_eq!(house.status(wire, &subscribe("carol@unlisted.example", 3600)), 403);
    house.partner_says(PUBLIC, &stanza(EVE, "type='probe'", ""));
    assert_eq!(answer_to_message(&mut house, EVE).as_deref(), Some("service-unavailable"));
    let lines = refusals(&house);
    let expected = [
        format!("subscription of a SIP user refused {ALICE} carol@unlisted.example "),
        format!("probe of a contact refused {ALICE} {EVE} "),
        format!("message of a contact refused {ALICE} {EVE} "),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for ((line, begins), rule) in
        lines.iter().zip(expected).zip(["(unlisted-domain)", "(sip-user-first)", "(sip-user-first)"])
    {
        assert!(line.starts_with(&begins) && line.ends_with(rule), "{line}");
    }
}

#[test]
fn who_is_refused_again_and_again_under_ever_new_names_does_not_fill_the_audit_trail() {
    let mut house = house();
    for number in 0..100 {
        answer_to_message(&mut house, &format!("mallory{number}@public.example"));
    }
    assert_eq!(refusals(&house).len(), 10);
    house.advance(Duration::from_secs(3601));
    answer_to_message(&mut house, EVE);
    let lines = refusals(&house);
    assert_eq!(lines.len(), 12, "{lines:#?}");
    assert!(lines[10].contains("90 more before this"), "{}", lines[10]);
}

#[test]
fn dec_03_who_may_see_the_user_learns_why_a_message_failed_and_a_stranger_does_not() {
    let mut house = house();
    house.seen_by(BOB);
    house.rule = Box::new(|_| Reply::Status(404, "Not Found"));
    assert_eq!(answer_to_message(&mut house, BOB).as_deref(), Some("item-not-found"));
    assert_eq!(answer_to_message(&mut house, "carol@fabrikam.com").as_deref(), Some("service-unavailable"));
}

#[test]
fn sec_43_subscribe_and_probe_for_nobody_and_for_somebody_look_alike_from_outside() {
    let mut seen = Vec::new();
    for status in [Some(404), Some(403), Some(603), Some(480), None] {
        let mut house = house();
        if let Some(status) = status {
            house.rule = Box::new(move |_| Reply::Status(status, "No"));
        }
        house.partner_says(PARTNER, &stanza(BOB, "type='subscribe' id='1'", ""));
        house.partner_says(PARTNER, &stanza(BOB, "type='probe' id='2'", ""));
        house.advance(Duration::from_secs(31));
        seen.push(house.told(PARTNER));
    }
    assert!(seen.iter().all(Vec::is_empty), "{seen:?}");
}

/// The answer to service discovery of alice.
fn disco(house: &mut House, from: &str, to: &str, what: &str) -> Element {
    let (_, remote) = from.split_once('@').unwrap();
    let query = format!("<query xmlns='http://jabber.org/protocol/disco#{what}'/>");
    house.partner_says(remote, &format!("<iq type='get' id='d' from='{from}/x' to='{to}'>{query}</iq>"));
    house.advance(2 * SECOND);
    let mut answers: Vec<_> =
        house.stanzas(remote).into_iter().filter(|stanza| stanza.name == "iq").collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

#[test]
fn xe_06_the_vcard_of_a_user_is_for_those_who_see_him() {
    let mut house = house();
    let _ = house.seen_by(BOB);
    let mut ask = |from: &str| {
        let iq = format!("<iq type='get' id='v' from='{from}' to='{ALICE}'><vCard xmlns='vcard-temp'/></iq>");
        house.partner_says("fabrikam.com", &iq);
        house.advance(Duration::from_secs(1));
        house.stanzas("fabrikam.com").remove(0)
    };
    let vcard = ask(BOB);
    let said = "<vCard xmlns='vcard-temp'><FN>alice</FN><JABBERID>alice@contoso.com</JABBERID></vCard>";
    assert!(vcard.raw.contains(said), "{}", vcard.raw);
    assert_eq!(ask("carol@fabrikam.com").condition(), Some("service-unavailable"));
}

#[test]
fn xe_08_who_sees_the_user_sees_that_he_knows_chat_states_and_receipts() {
    let mut house = house();
    let _seen = house.seen_by(BOB);
    let user = disco(&mut house, BOB, ALICE, "info");
    let domain = disco(&mut house, BOB, "contoso.com", "info");
    for feature in ["http://jabber.org/protocol/chatstates", "urn:xmpp:receipts"] {
        let told = format!("<feature var='{feature}'/>");
        assert!(user.raw.contains(&told), "{}", user.raw);
        assert!(!domain.raw.contains(&told), "nobody chats with a domain: {}", domain.raw);
    }
    assert!(!user.raw.contains("chat-markers"), "nobody here says what was displayed: {}", user.raw);
}

#[test]
fn xe_02_service_discovery_of_a_user_is_for_those_who_see_him() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let info = disco(&mut house, BOB, ALICE, "info");
    assert_eq!((info.attribute("type"), info.attribute("from")), (Some("result"), Some(ALICE)));
    assert!(info.raw.contains("<identity category='account' type='registered'/>"), "{}", info.raw);
    assert!(info.raw.contains("<feature var='http://jabber.org/protocol/disco#info'/>"), "{}", info.raw);
    let items = disco(&mut house, BOB, ALICE, "items");
    assert_eq!(items.attribute("type"), Some("result"));
    // Strangers, and he himself about others, get the same for users who are there and who are not.
    for (from, to) in [
        ("carol@fabrikam.com", ALICE),
        ("carol@fabrikam.com", "nobody@contoso.com"),
        (BOB, "nobody@contoso.com"),
        (EVE, ALICE),
    ] {
        for what in ["info", "items"] {
            assert_eq!(
                disco(&mut house, from, to, what).condition(),
                Some("service-unavailable"),
                "{from} {to}"
            );
        }
    }
    assert_eq!(house.gateway.holdings().pairs, 1, "asking makes no pair");
    // And he himself, once he sees her no more.
    house.status(wire, &dialog.notify("terminated;reason=rejected", ""));
    assert_eq!(disco(&mut house, BOB, ALICE, "info").condition(), Some("service-unavailable"));
}
