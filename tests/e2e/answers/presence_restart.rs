//! What outlives lost connections, crashes and planned stops.

use std::sync::Arc;

use nuncio::store::Keep;
use nuncio_translate::pair::{PairKey, PairRecord};
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach};
use crate::watching::*;

const EVE: &str = "eve@public.example";
const PUBLIC: &str = "public.example";

/// The process after this one, with what reached the disk; it has taken up its work.
fn restarted(house: &House, later: std::time::Duration) -> House {
    let mut next = asleep(house, later);
    next.advance(SECOND / 4);
    next
}

/// The same before that.
fn asleep(house: &House, later: std::time::Duration) -> House {
    let unix_ms = (house.now + later).unix_ms;
    let next = planned(Plan { store: Arc::new(house.store.crash()), unix_ms, ..Plan::default() });
    next.gateway.restore(next.now).unwrap();
    next
}

fn cseq(request: &nuncio_world::sip_text::SipMessage) -> u32 {
    request.must("CSeq").unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_subscribe_that_met_a_dead_partner_is_sent_again_when_he_lives() {
    let mut house = house();
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    house.user_asks(BOB);
    house.advance(3 * MINUTE);
    assert_eq!(house.states(), ["pending;expires=3600"]);
    assert!(house.stanzas(PARTNER).is_empty());
    house.reach.remove(PARTNER);
    house.advance(15 * MINUTE);
    assert_eq!(house.told(PARTNER), ["subscribe"]);
    house.advance(HOUR / 4);
    assert!(house.told(PARTNER).is_empty(), "once");
}

#[test]
fn presence_that_met_a_dead_partner_is_sent_as_it_is_then_and_never_as_it_was() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    let now = house.now;
    house.line(PARTNER).cut(now);
    for state in ["away", "dnd", "xa"] {
        house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show(state), "")])));
        house.advance(20 * SECOND);
    }
    house.reach.remove(PARTNER);
    house.advance(12 * MINUTE);
    let told = house.told(PARTNER);
    assert_eq!(told.last().unwrap(), "available desk xa");
    assert!(told.iter().all(|told| told == "available desk xa"), "{told:?}");
}

#[test]
fn pr_24_a_partner_that_is_gone_for_an_hour_ends_the_request_with_giveup() {
    let mut house = house();
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    let (wire, mut dialog) = house.user_asks(BOB);
    house.requests();
    for _ in 0..5 {
        house.advance(HOUR / 4);
        if house.status(wire, &dialog.subscribe(3600)) != 200 {
            break;
        }
    }
    let states = house.states();
    assert_eq!(states.last().unwrap(), "terminated;reason=giveup;retry-after=3600", "{states:?}");
    house.reach.remove(PARTNER);
    house.advance(HOUR);
    assert!(house.stanzas(PARTNER).is_empty(), "nobody waits for it any more");
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn restart_the_dialog_of_a_watching_contact_goes_on() {
    let mut before = house();
    let (_, mut dialog) = before.seen_by(BOB);
    let mut house = restarted(&before, MINUTE);
    let refresh = house.request();
    assert_eq!(refresh.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!(
        (refresh.must("From").unwrap(), refresh.must("To").unwrap()),
        (&*dialog.remote, &*dialog.local)
    );
    assert!(cseq(&refresh) > 1, "larger than any before: {refresh}");
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    let told = house.told(PARTNER);
    assert!(
        told.iter().all(|told| told == "subscribed" || told == "available desk"),
        "no flapping: {told:?}"
    );
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, &show("xa"), "")]))), 200);
    assert_eq!(house.told(PARTNER), ["available desk xa"]);
}

#[test]
fn restart_what_has_gone_meanwhile_is_taken_back() {
    let mut before = house();
    let (_, mut dialog) = before.seen_by(BOB);
    let mut house = restarted(&before, MINUTE);
    let wire = house.front_end();
    house.requests();
    house.told(PARTNER);
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("phone", true, "", "")]))), 200);
    let mut told = house.told(PARTNER);
    told.sort_unstable();
    assert_eq!(told, ["available phone", "unavailable desk"]);
}

#[test]
fn restart_a_front_end_that_has_forgotten_gets_a_new_subscription_and_the_contact_no_prompt() {
    let mut before = house();
    before.seen_by(BOB);
    let mut house = asleep(&before, MINUTE);
    house.rule = Box::new(|request| match request.must("To").unwrap().contains("tag=") {
        true => crate::house::Reply::Status(481, "Subscription does not exist"),
        false => accepts(request),
    });
    house.advance(SECOND);
    let requests = house.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&requests[1]));
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    let told = house.told(PARTNER);
    assert!(told.iter().all(|told| told == "subscribed" || told == "available desk"), "{told:?}");
}

#[test]
fn restart_the_dialog_of_a_watching_user_goes_on_and_the_contact_is_asked_for_presence_only() {
    let mut before = house();
    let (_, mut dialog) = before.user_sees(BOB);
    let mut house = restarted(&before, MINUTE);
    assert_eq!(house.told(PARTNER), ["probe"]);
    assert!(house.requests().is_empty(), "no NOTIFY before the contact is heard");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>away</show>"));
    house.advance(3 * SECOND);
    let notify = house.request();
    assert_eq!(notify.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!((notify.must("From").unwrap(), notify.must("To").unwrap()), (&*dialog.remote, &*dialog.local));
    assert!(cseq(&notify) > 10, "larger than any before: {notify}");
    assert!(notify.must("Subscription-State").unwrap().starts_with("active;expires=35"), "{notify}");
    assert!(notify.body.contains("away"), "{notify}");
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 200, "and he refreshes it as ever");
    assert!(house.told(PARTNER).is_empty(), "no prompt");
}

#[test]
fn restart_a_contact_who_says_nothing_is_unknown_after_a_while_and_not_before() {
    let mut before = house();
    before.user_sees(BOB);
    let mut house = restarted(&before, MINUTE);
    house.advance(25 * SECOND);
    assert!(house.requests().is_empty());
    house.advance(20 * SECOND);
    let notify = house.request();
    assert!(notify.must("Subscription-State").unwrap().starts_with("active"), "{notify}");
    assert!(!notify.body.contains("<basic>open"), "{notify}");
}

#[test]
fn restart_a_kept_request_and_consent_outlive_it() {
    let mut before = house();
    before.partner_says("public.example", &stanza("eve@public.example", "type='subscribe'", ""));
    let mut house = restarted(&before, DAY);
    assert!(house.requests().is_empty() && house.stanzas("public.example").is_empty());
    house.user_asks("eve@public.example");
    assert!(house.requests().iter().any(|request| request.method() == Some("SUBSCRIBE")));
    let mut house = restarted(&house, MINUTE);
    let message = format!("<message from='eve@public.example/x' to='{ALICE}'><body>hi</body></message>");
    house.partner_says("public.example", &message);
    assert!(house.requests().iter().any(|request| request.body == "hi"), "she is added still");
}

#[test]
fn restart_an_expired_subscription_ends_and_the_contact_is_told() {
    let mut before = house();
    before.user_sees(BOB);
    let mut house = restarted(&before, 2 * HOUR);
    house.advance(MINUTE);
    assert_eq!(house.states(), ["terminated;reason=timeout"]);
    assert!(house.told(PARTNER).contains(&"unavailable".to_owned()));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn restart_200_to_the_subscribe_that_adds_waits_for_the_disk() {
    let mut before = house();
    before.user_asks(BOB);
    let record = before.store.pair(&PairKey::new(ALICE, BOB)).unwrap();
    assert!(record.added.is_some() && record.notifiers.len() == 1, "{record:?}");
}

#[test]
fn restart_pairs_take_up_their_work_one_after_the_other() {
    let mut before = house();
    for number in 0..200 {
        before.partner_says(PARTNER, &stanza(&format!("bob{number}@fabrikam.com"), "type='subscribe'", ""));
    }
    let mut house = asleep(&before, MINUTE);
    house.advance(SECOND);
    let soon = house.requests().len();
    assert!((80..=120).contains(&soon), "{soon} in the first second, at 100 per second");
    house.advance(2 * SECOND);
    assert_eq!(soon + house.requests().len(), 200);
}

/// A refresh that fails is tried again after a good part of the time that the subscription has left, which is right for one
/// and wrong for all of them: so they wait for the front end instead of failing.
#[test]
fn restart_pairs_wait_for_a_front_end_that_cannot_be_reached_yet() {
    let mut before = house();
    for number in 0..200 {
        let contact = format!("bob{number}@fabrikam.com");
        before.partner_says(PARTNER, &stanza(&contact, "type='subscribe'", ""));
    }
    let wire = before.front_end();
    for subscribe in before.requests() {
        assert_eq!(before.status(wire, &Dialog::of(&subscribe).notify(OPEN, "")), 200);
    }
    let mut house = asleep(&before, MINUTE);
    house.front_end_reach = Reach::Down(FailureKind::Unreachable);
    house.advance(15 * SECOND);
    assert!(house.requests().is_empty());
    house.front_end_reach = Reach::Up;
    house.advance(30 * SECOND);
    let there = house.requests().len();
    assert!((197..=200).contains(&there), "{there} of 200, and those that knocked a little later");
}

/// So many contacts have seen Alice at her desk, and the process after that finds no front end.
fn seen_before_by(contacts: usize) -> (House, Vec<Dialog>) {
    let mut before = house();
    for number in 0..contacts {
        let contact = format!("bob{number}@fabrikam.com");
        before.partner_says(PARTNER, &stanza(&contact, "type='subscribe'", ""));
    }
    let (wire, document) = (before.front_end(), pidf(&[("desk", true, "", "")]));
    let mut dialogs: Vec<_> = before.requests().iter().map(Dialog::of).collect();
    for dialog in &mut dialogs {
        assert_eq!(before.status(wire, &dialog.notify(OPEN, &document)), 200);
    }
    let mut house = asleep(&before, MINUTE);
    house.front_end_reach = Reach::Down(FailureKind::Unreachable);
    (house, dialogs)
}

#[test]
fn xi_09_restart_contacts_hear_of_a_front_end_that_stays_away_although_their_pairs_wait_for_it() {
    const CONTACTS: usize = 800;
    let unavailable = |told: &[String]| told.iter().filter(|told| *told == "unavailable desk").count();
    let (mut house, _) = seen_before_by(CONTACTS);
    // The first pair waits from the first moment on, the last one has its turn after eight seconds.
    house.advance(5 * MINUTE - SECOND);
    assert_eq!(unavailable(&house.told(PARTNER)), 0);
    house.advance(30 * SECOND);
    assert_eq!(unavailable(&house.told(PARTNER)), CONTACTS);
    house.advance(HOUR);
    assert_eq!(unavailable(&house.told(PARTNER)), 0, "that is said once");
    house.front_end_reach = Reach::Up;
    house.advance(2 * MINUTE);
    assert!(house.requests().len() >= CONTACTS, "all of them ask anew");
}

#[test]
fn xi_09_restart_a_front_end_that_is_back_in_time_makes_nobody_unavailable() {
    let (mut house, mut dialogs) = seen_before_by(200);
    house.advance(4 * MINUTE);
    house.front_end_reach = Reach::Up;
    let (wire, document) = (house.front_end(), pidf(&[("desk", true, "", "")]));
    let mut asked = 0;
    for _ in 0..50 {
        house.advance(SECOND);
        for refresh in house.requests() {
            asked += 1;
            let call_id = refresh.must("Call-ID").unwrap();
            let dialog = dialogs.iter_mut().find(|dialog| dialog.call_id == call_id).unwrap();
            assert_eq!(house.status(wire, &dialog.notify(OPEN, &document)), 200);
        }
    }
    assert_eq!(asked, dialogs.len(), "all of them ask, also those that knocked in vain");
    house.advance(10 * MINUTE);
    let told = house.told(PARTNER);
    assert!(!told.iter().any(|told| told.starts_with("unavailable")), "{told:?}");
}

#[test]
fn xi_10_restart_the_contacts_of_a_partner_that_stays_away_are_unknown_after_five_minutes() {
    let mut before = house();
    before.user_sees(BOB);
    let mut house = asleep(&before, MINUTE);
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    house.advance(4 * MINUTE + 50 * SECOND);
    assert!(house.requests().is_empty(), "as he was before");
    house.advance(30 * SECOND);
    let notify = house.request();
    assert_eq!(notify.body, "");
    house.reach.insert(PARTNER, Reach::Up);
    house.advance(15 * MINUTE);
    assert!(house.told(PARTNER).contains(&"probe".to_owned()));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert!(house.request().body.contains("dnd"));
}

#[test]
fn ev_15_a_planned_stop_says_deactivated_and_takes_no_new_subscriptions() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    house.requests();
    house.gateway.end_subscriptions();
    house.run();
    assert_eq!(house.states(), ["terminated;reason=deactivated"]);
    assert!(house.told(PARTNER).is_empty(), "they will be back");
    assert_eq!(house.status(wire, &subscribe(BOB, 3600)), 503);
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 481);
}

#[test]
fn ev_15_after_a_planned_stop_what_we_subscribed_to_goes_on() {
    let mut before = house();
    let (_, dialog) = before.seen_by(BOB);
    before.gateway.end_subscriptions();
    before.run();
    assert!(before.requests().is_empty() && before.told(PARTNER).is_empty());
    let mut house = restarted(&before, MINUTE);
    assert_eq!(house.request().must("Call-ID").unwrap(), dialog.call_id);
}

#[test]
fn a_panic_in_a_pair_costs_neither_its_dialogs_nor_a_word_to_the_contact() {
    let mut house = house();
    let (wire, mut user) = house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    house.status(wire, &contact.notify(OPEN, &pidf(&[("desk", true, "", "")])));
    house.told(PARTNER);
    let before = house.gateway.holdings();
    house.panic_once();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>away</show>"));
    assert_eq!(house.count("pairs_lost"), 1);
    assert_eq!(house.gateway.holdings(), before, "neither too few nor too many");
    assert!(house.requests().is_empty() && house.told(PARTNER).is_empty());
    // It goes on as after a restart.
    house.advance(11 * SECOND);
    let refresh = house.request();
    assert_eq!(refresh.must("Call-ID").unwrap(), contact.call_id);
    assert_eq!(house.status(wire, &contact.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    let told = house.told(PARTNER);
    assert!(told.contains(&"probe".to_owned()), "{told:?}");
    let fine = ["probe", "subscribed", "available desk"];
    assert!(told.iter().all(|told| fine.contains(&told.as_str())), "{told:?}");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>away</show>"));
    house.advance(3 * SECOND);
    let notify = house.request();
    assert_eq!(notify.must("Call-ID").unwrap(), user.call_id);
    assert!(notify.body.contains("away"), "{notify}");
    assert_eq!(house.status(wire, &user.subscribe(3600)), 200);
    assert_eq!(house.gateway.holdings(), before);
}

#[test]
fn a_subscribe_whose_own_step_panics_is_answered_once_and_can_be_sent_again() {
    let mut house = house();
    let wire = house.front_end();
    // The first two make the tag of the answer.
    house.panic_at(3);
    assert_eq!(house.status(wire, &subscribe(BOB, 3600)), 500);
    assert_eq!(house.count("pairs_lost"), 1);
    house.advance(MINUTE);
    house.requests();
    let (_, mut dialog) = house.user_asks(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.advance(MINUTE);
    let states = house.states();
    assert!(states.iter().any(|state| state.starts_with("active")), "{states:?}");
    assert_eq!(house.status(wire, &dialog.subscribe(0)), 200);
    house.advance(MINUTE);
    assert_eq!(house.gateway.holdings().dialogs, 0, "nothing leaked");
}

#[test]
fn a_panic_for_every_step_of_a_contact_leaks_no_place() {
    let mut house = house();
    for number in 0..20 {
        house.panic_once();
        house.partner_says(PARTNER, &stanza(&format!("bob{number}@fabrikam.com"), "type='subscribe'", ""));
    }
    assert_eq!(house.count("pairs_lost"), 20);
    house.advance(HOUR / 4);
    for number in 0..20 {
        house.partner_says(PARTNER, &stanza(&format!("bob{number}@fabrikam.com"), "type='unsubscribe'", ""));
    }
    house.advance(HOUR);
    let holdings = house.gateway.holdings();
    assert_eq!((holdings.subscriptions, holdings.dialogs, holdings.pairs), (0, 0, 0));
}

#[test]
fn what_waited_for_a_dead_partner_does_not_wait_once_he_is_reached() {
    let mut house = house();
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    let (wire, mut dialog) = house.user_asks(BOB);
    // By now it is tried every few minutes only.
    for _ in 0..10 {
        house.advance(5 * MINUTE);
        house.status(wire, &dialog.subscribe(3600));
    }
    house.reach.remove(PARTNER);
    let begin = house.now.instant;
    let mut stanzas = Vec::new();
    while !stanzas.iter().any(|stanza: &nuncio_world::xml::Element| stanza.name == "message") {
        assert!(house.now.instant < begin + 15 * MINUTE);
        house.send(wire, crate::text::Request::message("carol@fabrikam.com", "are you there?").bytes());
        house.advance(SECOND);
        house.taken(wire);
        stanzas = house.stanzas(PARTNER);
    }
    // A stream stands again, and carried a message of somebody else.
    house.advance(6 * SECOND);
    stanzas.extend(house.stanzas(PARTNER));
    let asked = |stanza: &nuncio_world::xml::Element| stanza.attribute("type") == Some("subscribe");
    assert_eq!(stanzas.iter().filter(|stanza| asked(stanza)).count(), 1, "{stanzas:?}");
}

/// What an administrator does to the record while the gateway is stopped.
fn forget_consent(house: &House, contact: &str) {
    let key = PairKey::new(ALICE, contact);
    let record = PairRecord { added: None, ..house.store.pair(&key).unwrap() };
    house.store.save_pair(&key, record);
    house.store.commit(usize::MAX);
}

/// Alice has added eve of a public-unverified partner, and each sees the other.
fn both_see(house: &mut House) -> (usize, Dialog) {
    let (wire, dialog) = house.user_asks(EVE);
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribed'", ""));
    house.partner_says(PUBLIC, &stanza("eve@public.example/home", "", ""));
    house.advance(10 * SECOND);
    house.requests();
    house.partner_says(PUBLIC, &stanza(EVE, "type='subscribe'", ""));
    let mut contact = Dialog::of(&house.request());
    assert_eq!(house.status(wire, &contact.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    house.told(PUBLIC);
    (wire, dialog)
}

#[test]
fn consent_that_was_taken_away_while_the_gateway_was_stopped_ends_what_it_allowed_at_the_start() {
    let mut house = house();
    both_see(&mut house);
    forget_consent(&house, EVE);
    let mut house = restarted(&house, MINUTE);
    house.advance(MINUTE);
    let told = house.told(PUBLIC);
    assert!(told[0].starts_with("unavailable ") && told.contains(&"unsubscribed".to_owned()), "{told:?}");
    let requests = house.requests();
    let notify = requests.iter().find(|request| request.method() == Some("NOTIFY")).unwrap();
    assert_eq!(notify.header("Subscription-State"), Some("terminated;reason=rejected"));
    let subscribe = requests.iter().find(|request| request.method() == Some("SUBSCRIBE")).unwrap();
    assert_eq!(subscribe.header("Expires"), Some("0"));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn a_refresh_before_the_pair_takes_up_its_work_does_not_bring_consent_back() {
    let mut house = house();
    let (_, mut dialog) = both_see(&mut house);
    forget_consent(&house, EVE);
    let mut house = asleep(&house, MINUTE);
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.subscribe(3600)), 481);
    house.advance(MINUTE);
    let key = PairKey::new(ALICE, EVE);
    assert_eq!(house.store.pair(&key).and_then(|record| record.added), None);
    assert!(house.told(PUBLIC).contains(&"unsubscribed".to_owned()));
}

#[test]
fn restart_a_repeated_request_is_not_sent_after_the_contact_has_refused() {
    let mut before = house();
    before.user_asks(BOB);
    let mut house = restarted(&before, MINUTE);
    house.reach.insert(PARTNER, Reach::Pending);
    house.advance(SECOND * 11);
    assert_eq!(house.line(PARTNER).key.remote, PARTNER, "it waits in the lane");
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    house.reach.remove(PARTNER);
    house.advance(MINUTE);
    assert!(house.told(PARTNER).is_empty(), "no second prompt");
    assert_eq!(house.states().last().unwrap(), "terminated;reason=rejected");
}
