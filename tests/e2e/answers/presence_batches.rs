//! One subscription to many contacts, as front ends in the style of Lync ask for (RFC 4662; EV-19). Requests and lists have the
//! form in which they send them.

use std::sync::Arc;

use nuncio::gateway::GOODBYES_AHEAD;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_translate::pair::PairKey;
use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Plan, Reply};
use crate::presence_formats::{CATEGORIES, subscribe_with};
use crate::text::Request;
use crate::watching::*;

const ACCEPT: &str = "application/msrtc-event-categories+xml, application/rlmi+xml, multipart/related";
const VERA: &str = "vera@verified.example";

/// The newer form of a list.
fn list(action: &str, members: &[&str]) -> String {
    let resources: String =
        members.iter().map(|member| format!("<resource uri=\"sip:{member}\"/>")).collect();
    format!(
        "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"sip:{ALICE}\" name=\"\">\
         <action name=\"{action}\" id=\"63792024\"><adhocList>{resources}</adhocList><categoryList \
         xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\"><category name=\"note\"/><category name=\"state\"/>\
         </categoryList></action></batchSub>"
    )
}

fn listing(request: Request, body: impl AsRef<[u8]>) -> Request {
    request
        .with("Require: adhoclist, categoryList")
        .with("Supported: eventlist")
        .with("Content-Type: application/msrtc-adrl-categorylist+xml")
        .with_body(body)
}

/// Alice's client subscribes to all of these, without what Lync adds.
fn batch(members: &[&str]) -> Request {
    let request = Request::new("SUBSCRIBE", ALICE)
        .with("Event: presence")
        .with(format!("Accept: {ACCEPT}"))
        .with(format!("Contact: {HERE}"))
        .with("Expires: 1800");
    listing(request, list("subscribe", members))
}

/// The same, with it.
fn lync_batch(members: &[&str]) -> Request {
    let mut request = subscribe_with(ACCEPT);
    (request.uri, request.to) = (format!("sip:{ALICE}"), format!("<sip:{ALICE}>"));
    listing(request, list("subscribe", members))
}

/// What a list says of each member: the user part, state, reason, and the availability in his document.
fn members(message: &SipMessage) -> Vec<String> {
    let body = &message.body;
    let (_, listed) = body.split_once("<list ").expect("a list");
    let (listed, _) = listed.split_once("</list>").unwrap();
    let of = |resource: &str| {
        let value = |name: &str| {
            let (_, rest) = resource.split_once(&format!(" {name}='"))?;
            rest.split('\'').next().map(str::to_owned)
        };
        let (user, _) = resource.split_once('@').unwrap();
        let document = value("cid").map(|cid| {
            let (_, part) = body.split_once(&format!("Content-ID: {cid}\r\n")).expect("a part");
            let (_, rest) = part.split_once("<availability>").expect("an availability");
            rest.split('<').next().unwrap().to_owned()
        });
        let words = [Some(user.to_owned()), value("state"), value("reason"), document];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    listed.split("<resource uri='sip:").skip(1).map(of).collect()
}

fn version(message: &SipMessage) -> (u32, bool) {
    let (_, list) = message.body.split_once("<list ").expect("a list");
    let (_, version) = list.split_once("version='").unwrap();
    (version.split('\'').next().unwrap().parse().unwrap(), list.contains("fullState='true'"))
}

/// Both have agreed, and are available.
fn agree(house: &mut House, contacts: &[&str]) {
    for contact in contacts {
        let (_, remote) = contact.split_once('@').unwrap();
        house.partner_says(remote, &stanza(contact, "type='subscribed'", ""));
        house.advance(3 * SECOND);
        house.partner_says(remote, &stanza(&format!("{contact}/home"), "", ""));
    }
    house.advance(10 * SECOND);
}

/// Alice's client sees bob and vera, of two partners.
fn seen() -> (House, usize, Dialog) {
    let mut house = house();
    let wire = house.front_end();
    let request = batch(&[BOB, VERA]);
    let answer = house.ask(wire, request.bytes());
    let dialog = Dialog::made(&request, &answer);
    agree(&mut house, &[BOB, VERA]);
    house.requests();
    house.told(PARTNER);
    house.told("verified.example");
    (house, wire, dialog)
}

#[test]
fn ev_19_a_batch_is_answered_by_a_list_of_its_members() {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, batch(&[BOB, VERA]).bytes());
    assert_eq!((answer.status(), answer.header("Require")), (Some(200), Some("eventlist")), "{answer}");
    let first = house.request();
    assert_eq!((first.method(), first.header("Require")), (Some("NOTIFY"), Some("eventlist")));
    assert_eq!(first.must("Subscription-State").unwrap(), "active;expires=1800");
    let media = first.must("Content-Type").unwrap();
    assert!(
        media.starts_with("multipart/related;type=\"application/rlmi+xml\";start=resourceList"),
        "{media}"
    );
    assert_eq!(
        (version(&first), members(&first)),
        ((0, true), vec!["bob pending".into(), "vera pending".into()])
    );
    // Each of them is asked by his own partner.
    assert_eq!(house.told(PARTNER), ["subscribe"]);
    assert_eq!(house.told("verified.example"), ["subscribe"]);
}

#[test]
fn ev_19_of_whom_there_is_news_stands_in_the_next_list() {
    let mut house = house();
    let wire = house.front_end();
    house.ask(wire, batch(&[BOB, VERA]).bytes());
    house.requests();
    agree(&mut house, &[BOB]);
    let last = house.requests().pop().unwrap();
    assert_eq!(members(&last), ["bob active 3500"]);
    assert!(!version(&last).1);
    assert!(last.body.contains(&format!("Content-Type: {CATEGORIES}")));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    let next = house.request();
    assert_eq!(members(&next), ["bob active 9500"]);
    assert_eq!(version(&next).0, version(&last).0 + 1);
}

#[test]
fn ev_19_a_second_endpoint_gets_the_list_with_the_answer_and_news_by_benotify() {
    let (mut house, wire, _) = seen();
    let mut request = lync_batch(&[BOB, VERA]);
    request.from += ";epid=second";
    let answer = house.ask(wire, request.bytes());
    assert_eq!(members(&answer), ["bob active 3500", "vera active 3500"]);
    assert_eq!(answer.header("ms-piggyback-cseq"), Some("1"), "{answer}");
    // Not com.microsoft.autoextend.
    assert_eq!(answer.header("Supported"), Some("ms-benotify"), "{answer}");
    assert!(answer.to_string().contains("Require: eventlist"), "{answer}");
    house.advance(MINUTE);
    assert!(house.requests().is_empty());
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    let mut methods: Vec<_> = house
        .requests()
        .iter()
        .map(|request| (request.method().unwrap().to_owned(), members(request)))
        .collect();
    methods.sort();
    let told = vec!["bob active 9500".to_owned()];
    assert_eq!(methods, [("BENOTIFY".to_owned(), told.clone()), ("NOTIFY".to_owned(), told)]);
}

#[test]
fn ev_19_the_older_form_of_a_list_is_understood() {
    let mut house = house();
    let wire = house.front_end();
    let body = format!(
        "<adhoclist uri=\"sip:{ALICE}\" name=\"sip:{ALICE}\"><create><resource uri=\"sip:{BOB}\"/></create></adhoclist>"
    );
    let request = Request::new("SUBSCRIBE", ALICE)
        .with("Event: presence")
        .with("Accept: application/rlmi+xml, text/xml+msrtc.pidf, multipart/related")
        .with(format!("Contact: {HERE}"))
        .with("Require: adhoclist")
        .with("Supported: eventlist")
        .with("Content-Type: application/adrl+xml")
        .with_body(body);
    assert_eq!(house.status(wire, &request), 200);
    assert_eq!(members(&house.request()), ["bob pending"]);
}

#[test]
fn trust_a_member_who_may_not_be_watched_ends_in_the_list_and_nothing_of_it_crosses() {
    let mut house = house();
    let wire = house.front_end();
    let strangers = ["eve@nowhere.example", "no-domain", "bob@contoso.com"];
    let mut all = strangers.to_vec();
    all.push(BOB);
    house.ask(wire, batch(&all).bytes());
    let list = house.request();
    let body = &list.body;
    for (uri, reason) in [
        ("sip:eve@nowhere.example", "rejected"),
        ("sip:no-domain", "noresource"),
        ("sip:bob@contoso.com", "rejected"),
    ] {
        let expected = format!(
            "<resource uri='{uri}'><instance id='0' state='terminated' reason='{reason}'/></resource>"
        );
        assert!(body.contains(&expected), "{expected}: {body}");
    }
    assert!(body.contains("<instance id='0' state='pending'/>"), "{body}");
    assert_eq!(house.told(PARTNER), ["subscribe"]);
}

#[test]
fn trust_what_the_contact_ends_is_over_in_the_list() {
    let (mut house, _, _) = seen();
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    house.advance(6 * SECOND);
    let list = house.request();
    let ended = members(&list);
    assert!(ended.len() == 1 && ended[0].starts_with("bob terminated"), "{ended:?}");
    assert!(!list.body.contains("<availability>"), "{}", list.body);
}

#[test]
fn trust_who_ended_it_is_asked_again_only_when_the_user_names_him() {
    let (mut house, wire, mut dialog) = seen();
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    house.advance(6 * SECOND);
    house.requests();
    house.told(PARTNER);
    let refresh = |dialog: &mut Dialog| {
        dialog
            .request("SUBSCRIBE")
            .with(format!("Contact: {HERE}"))
            .with(format!("Accept: {ACCEPT}"))
            .with("Expires: 1800")
    };
    assert_eq!(house.status(wire, &refresh(&mut dialog)), 200);
    house.run();
    assert!(house.told(PARTNER).is_empty(), "a refresh has no hand of the user in it");
    assert!(members(&house.request()).iter().any(|member| member.starts_with("bob terminated")));
    assert_eq!(house.status(wire, &listing(refresh(&mut dialog), list("subscribe", &[BOB]))), 200);
    house.run();
    assert_eq!(house.told(PARTNER), ["subscribe"]);
}

#[test]
fn trust_who_is_refused_by_rule_is_refused_once_and_asked_for_again_under_another_policy() {
    let mut house = house();
    let policy = |generation, enabled| {
        let partner = |domain: &str, enabled| {
            let partner_type = PartnerType::Federated;
            (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
        };
        let partners = [partner(PARTNER, true), partner("verified.example", enabled)];
        Snapshot::new(generation, ["contoso.com".into()], partners)
    };
    house.gateway.set_policy(policy(2, false));
    let wire = house.front_end();
    let request = batch(&[BOB, VERA]);
    let answer = house.ask(wire, request.bytes());
    let mut dialog = Dialog::made(&request, &answer);
    let mut refreshed = |house: &mut House| {
        house.advance(1700 * SECOND);
        house.requests();
        let refresh = dialog
            .request("SUBSCRIBE")
            .with(format!("Contact: {HERE}"))
            .with(format!("Accept: {ACCEPT}"))
            .with("Expires: 1800");
        assert_eq!(house.status(wire, &refresh), 200);
        house.run();
        members(&house.request())
    };
    for _ in 0..4 {
        assert_eq!(refreshed(&mut house)[1], "vera terminated rejected");
    }
    let refused = |house: &House| {
        house
            .store
            .audit_trail()
            .iter()
            .filter(|entry| entry.what.contains("refused") && entry.subject.contains(VERA))
            .count()
    };
    assert_eq!(refused(&house), 1, "though two hours have passed");
    house.gateway.set_policy(policy(3, true));
    assert_eq!(refreshed(&mut house)[1], "vera pending");
    assert_eq!(refused(&house), 1);
}

#[test]
fn trust_what_a_new_policy_forbids_is_over_in_the_list_and_the_others_go_on() {
    let (mut house, _, _) = seen();
    let partner = |domain: &str, partner_type, enabled| {
        (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
    };
    let partners = [
        partner(PARTNER, PartnerType::Federated, false),
        partner("verified.example", PartnerType::PublicVerified, true),
    ];
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], partners));
    house.advance(6 * SECOND);
    let list = house.request();
    assert_eq!(members(&list), ["bob terminated rejected"]);
    let why = list.must("ms-diagnostics").unwrap();
    assert!(why.starts_with("1005;source=") && why.contains("fabrikam.com"), "{why}");
    assert!(!list.body.contains("<availability>"), "{}", list.body);
    house.partner_says("verified.example", &stanza(&format!("{VERA}/home"), "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert_eq!(members(&house.request()), ["vera active 9500"]);
}

#[test]
fn ev_19_a_refresh_names_everybody_and_may_change_who_that_is() {
    let (mut house, wire, mut dialog) = seen();
    let refresh = |dialog: &mut Dialog| {
        dialog
            .request("SUBSCRIBE")
            .with(format!("Contact: {HERE}"))
            .with(format!("Accept: {ACCEPT}"))
            .with("Expires: 1800")
    };
    assert_eq!(house.status(wire, &refresh(&mut dialog)), 200);
    assert_eq!(members(&house.request()), ["bob active 3500", "vera active 3500"]);
    let body = list("unsubscribe", &[VERA]);
    assert_eq!(house.status(wire, &listing(refresh(&mut dialog), body)), 200);
    let list_of_one = house.request();
    assert_eq!((version(&list_of_one).1, members(&list_of_one)), (true, vec!["bob active 3500".to_owned()]));
    house.run();
    assert_eq!(house.told("verified.example"), ["unavailable"], "nobody watches vera any more");
    assert!(house.told(PARTNER).is_empty());
    let body = list("subscribe", &[VERA]);
    assert_eq!(house.status(wire, &listing(refresh(&mut dialog), body)), 200);
    assert_eq!(members(&house.requests()[0])[0], "bob active 3500");
    assert_eq!(house.told("verified.example"), ["probe"]);
}

#[test]
fn ev_19_the_end_of_a_batch_ends_what_its_members_hold() {
    let (mut house, wire, mut dialog) = seen();
    assert_eq!(house.status(wire, &dialog.subscribe(0)), 200);
    assert_eq!(house.states(), ["terminated;reason=timeout"]);
    house.run();
    assert_eq!(house.told(PARTNER), ["unavailable"]);
    assert_eq!(house.told("verified.example"), ["unavailable"]);
    assert_eq!(house.status(wire, &dialog.subscribe(600)), 481);
    house.advance(SECOND);
    let holdings = house.gateway.holdings();
    assert_eq!((holdings.batches, holdings.dialogs), (0, 0));
}

#[test]
fn ev_19_so_does_a_front_end_that_does_not_know_it_any_more() {
    let (mut house, _, _) = seen();
    house.rule = Box::new(|_| Reply::Status(481, "Call/Transaction Does Not Exist"));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.told(PARTNER), ["unavailable"]);
    assert_eq!(house.told("verified.example"), ["unavailable"]);
}

#[test]
fn a_batch_lasts_for_an_hour_at_most_and_lapses() {
    let mut house = house();
    let wire = house.front_end();
    let mut request = batch(&[BOB]);
    request.more.retain(|line| !line.starts_with("Expires"));
    let answer = house.ask(wire, request.with("Expires: 28800").bytes());
    assert_eq!(answer.header("Expires"), Some("3600"), "{answer}");
    agree(&mut house, &[BOB]);
    house.requests();
    house.told(PARTNER);
    house.advance(HOUR);
    let last = house.requests().pop().unwrap();
    assert_eq!(last.must("Subscription-State").unwrap(), "terminated;reason=timeout");
    house.run();
    assert_eq!(house.told(PARTNER), ["unavailable"]);
}

#[test]
fn ev_19_what_a_batch_must_not_be() {
    let mut house = house();
    let wire = house.front_end();
    let with = |body: &str| {
        let mut request = batch(&[]);
        request.body = body.as_bytes().to_vec();
        request
    };
    let mut unable = batch(&[BOB]);
    unable.more.retain(|line| line != "Supported: eventlist");
    let many: Vec<String> = (0..=500).map(|number| format!("u{number}@fabrikam.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (request, status) in [
        (unable, 421),
        (with("<batchSub/>"), 400),
        (with("nothing"), 400),
        (batch(&many), 413),
        (batch(&[BOB]).with("Content-Encoding: gzip"), 415),
        (batch(&[BOB]).set(|request| request.from = "<sip:mallory@elsewhere.example>;tag=1".into()), 403),
    ] {
        assert_eq!(house.status(wire, &request), status, "{:?}", request.more);
    }
    assert!(house.told(PARTNER).is_empty() && house.requests().is_empty());
}

#[test]
fn ev_15_a_planned_stop_ends_batches_waits_for_the_answer_and_tells_no_contact() {
    let (mut house, wire, _) = seen();
    house.front_end_takes = 2 * SECOND;
    house.gateway.end_subscriptions();
    house.run();
    let last = house.request();
    assert_eq!(last.must("Subscription-State").unwrap(), "terminated;reason=deactivated");
    assert!(last.must("ms-diagnostics").unwrap().starts_with("29008;"), "{last}");
    assert!(!house.gateway.has_said_goodbye(), "the front end has not answered");
    house.advance(6 * SECOND);
    assert!(house.gateway.has_said_goodbye() && house.requests().is_empty());
    assert_eq!((house.told(PARTNER), house.told("verified.example")), (vec![], vec![]), "no flapping");
    assert_eq!(house.status(wire, &batch(&[BOB])), 503);
    let holdings = house.gateway.holdings();
    assert_eq!(holdings.batches, 0);
}

#[test]
fn ev_15_a_planned_stop_ends_many_batches_as_fast_as_the_front_end_takes_it() {
    const COUNT: usize = GOODBYES_AHEAD + 100;
    let mut house = house();
    let wire = house.front_end();
    for number in 0..COUNT {
        let mut request = batch(&[BOB]);
        let user = format!("sip:u{number}@contoso.com");
        request.from = format!("<{user}>;tag=1");
        (request.to, request.call_id) = (format!("<{user}>"), format!("call-{number}"));
        house.send(wire, request.bytes());
    }
    house.advance(10 * SECOND);
    house.requests();
    house.rule = Box::new(|_| Reply::Silence);
    house.gateway.end_subscriptions();
    house.advance(6 * SECOND);
    assert_eq!(house.requests().len(), GOODBYES_AHEAD, "so many are sent ahead, and no more");
    assert_eq!(house.gateway.stop_ending_subscriptions(), COUNT);
}

#[test]
fn ev_19_two_lists_of_one_device_have_a_member_in_common() {
    let (mut house, wire, _) = seen();
    assert_eq!(house.status(wire, &batch(&[BOB])), 200);
    house.advance(6 * SECOND);
    assert_eq!(
        house.requests().iter().map(members).collect::<Vec<_>>(),
        [["bob active 3500"]],
        "and nobody is taken out"
    );
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert_eq!(
        house.requests().iter().map(members).collect::<Vec<_>>(),
        [["bob active 9500"], ["bob active 9500"]]
    );
}

#[test]
fn ev_19_a_list_of_which_nobody_may_be_watched_is_refused_with_the_reason() {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, batch(&["no-domain", "eve@nowhere.example", "eva@nowhere.example"]).bytes());
    assert_eq!(answer.status(), Some(403), "{answer}");
    let why = answer.must("ms-diagnostics").unwrap();
    assert!(why.starts_with("1005;") && why.contains("nowhere.example"), "{why}");
    assert_eq!(house.status(wire, &batch(&["no-domain"])), 404);
    assert_eq!(house.status(wire, &batch(&[])), 200, "an empty list is one to be added to");
    assert_eq!(house.gateway.holdings().batches, 1);
}

#[test]
fn who_asks_once_needs_no_place_among_the_lists_of_a_user() {
    let mut house = house();
    let wire = house.front_end();
    let once = || {
        let mut request = batch(&[BOB]);
        request.more.retain(|line| !line.starts_with("Expires"));
        request.with("Expires: 0")
    };
    for _ in 0..16 {
        assert_eq!(house.status(wire, &batch(&[VERA])), 200);
    }
    house.advance(6 * SECOND);
    house.requests();
    assert_eq!(house.status(wire, &once()), 200);
    house.advance(6 * SECOND);
    assert_eq!(house.states(), ["terminated;reason=timeout"], "its own");
    assert_eq!(house.gateway.holdings().batches, 16);
}

#[test]
fn as_many_batches_as_a_user_may_have_and_one_more() {
    let mut house = house();
    let wire = house.front_end();
    for _ in 0..16 {
        assert_eq!(house.status(wire, &batch(&[VERA])), 200);
    }
    house.run();
    assert_eq!(house.gateway.holdings().batches, 16);
    house.advance(6 * SECOND);
    house.requests();
    assert_eq!(house.status(wire, &batch(&[BOB])), 200);
    house.advance(6 * SECOND);
    let requests = house.requests();
    let why = requests.iter().find_map(|request| request.header("ms-diagnostics"));
    let ends: Vec<_> = requests
        .iter()
        .filter_map(|request| request.header("Subscription-State").map(str::to_owned))
        .filter(|state| state.starts_with("terminated"))
        .collect();
    assert_eq!(ends, ["terminated;reason=probation;retry-after=3600"]);
    assert!(why.unwrap().starts_with("29006;"));
    assert_eq!(house.gateway.holdings().batches, 16);
}

#[test]
fn restart_a_batch_is_begun_anew_and_nothing_of_it_is_on_record() {
    let (house, _, mut dialog) = seen();
    let pair = house.store.crash().pair(&PairKey::new(ALICE, BOB)).expect("a record");
    assert!(pair.added.is_some() && pair.notifiers.is_empty(), "{pair:?}");
    let mut next = planned(Plan { store: Arc::new(house.store.crash()), ..Plan::default() });
    next.gateway.restore(next.now).unwrap();
    next.advance(SECOND);
    let wire = next.front_end();
    assert_eq!(next.status(wire, &dialog.subscribe(1800)), 481);
    let answer = next.ask(wire, batch(&[BOB, VERA]).bytes());
    assert_eq!(answer.status(), Some(200), "{answer}");
    assert_eq!(next.told(PARTNER), ["probe"], "he has agreed before");
}

#[test]
fn a_member_whose_pair_was_lost_watches_again_with_the_next_refresh() {
    let (mut house, wire, mut dialog) = seen();
    house.panic_once();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert!(house.requests().is_empty(), "what was said is lost");
    let refresh = dialog
        .request("SUBSCRIBE")
        .with(format!("Contact: {HERE}"))
        .with(format!("Accept: {ACCEPT}"))
        .with("Expires: 1800");
    assert_eq!(house.status(wire, &refresh), 200);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>xa</show>"));
    house.advance(6 * SECOND);
    let last = house.requests().pop().unwrap();
    assert_eq!(members(&last), ["bob active 15500"]);
}

#[test]
fn ev_19_who_was_told_nothing_is_told_everything_as_it_is_by_then() {
    let (mut house, _, _) = seen();
    house.rule = Box::new(|_| Reply::Status(500, "Server Internal Error"));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.wait_for_request(6 * SECOND);
    house.rule = Box::new(accepts);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>xa</show>"));
    house.partner_says("verified.example", &stanza(&format!("{VERA}/home"), "", "<show>dnd</show>"));
    let next = house.wait_for_request(6 * SECOND);
    assert_eq!(
        (version(&next).1, members(&next)),
        (true, vec!["bob active 15500".into(), "vera active 9500".into()])
    );
    house.advance(MINUTE);
    assert!(house.requests().is_empty(), "nothing is left to be told");
}
