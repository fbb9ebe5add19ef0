//! Front ends fail, come back, and are listed by DNS and no more, while messages go on: nothing is lost without a word and
//! nothing arrives twice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use nuncio::gateway::{Im, NextHop};
use nuncio_world::sip_text::SipMessage;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach, Reply};
use crate::watching::*;

const STEP: Duration = Duration::from_millis(50);

/// Messages of many contacts to alice, one after the other, and what became of each.
struct Traffic {
    house: House,
    sent: usize,
    /// How often each reached a front end that took it.
    taken: Rc<RefCell<BTreeMap<String, usize>>>,
}

impl Traffic {
    /// `house` takes a while to answer, so that there is always something under way. Whatever `rule` refuses is not taken.
    fn in_house(mut house: House, mut rule: impl FnMut(&SipMessage) -> Reply + 'static) -> Self {
        let taken = Rc::new(RefCell::new(BTreeMap::new()));
        let take = Rc::clone(&taken);
        house.front_end_takes = Duration::from_millis(120);
        house.rule = Box::new(move |request| {
            let reply = rule(request);
            if !matches!(reply, Reply::Status(503, _)) {
                *take.borrow_mut().entry(request.body.clone()).or_insert(0) += 1;
            }
            reply
        });
        Self { house, sent: 0, taken }
    }

    /// Messages one after the other for so long.
    fn flows(&mut self, time: Duration) {
        let end = self.house.now.instant + time;
        while self.house.now.instant < end {
            let id = self.sent;
            self.sent += 1;
            self.house.partner_says(
                PARTNER,
                &format!(
                    "<message from='u{}@fabrikam.com/home' to='alice@contoso.com' id='m{id}' type='chat'>\
                     <body>m{id}</body></message>",
                    id % 7
                ),
            );
            self.house.advance(STEP);
        }
    }

    /// When all is over: every message was taken once, or its sender was told; those that were taken although he was told,
    /// for nobody could know.
    fn account(&mut self) -> Vec<String> {
        self.house.advance(2 * MINUTE);
        let told: Vec<String> = self.house.stanzas(PARTNER).iter().map(|stanza| stanza.raw.clone()).collect();
        let mut both = Vec::new();
        for id in 0..self.sent {
            let name = format!("m{id}");
            let taken = self.taken.borrow().get(&name).copied().unwrap_or(0);
            let errors: Vec<_> = told.iter().filter(|raw| raw.contains(&format!("id='{name}'"))).collect();
            assert!(taken <= 1, "{name} arrived {taken} times");
            assert!(errors.len() <= 1, "{name}: {errors:?}");
            assert!(taken + errors.len() > 0, "{name} was lost without a word");
            if let (1, Some(error)) = (taken, errors.first()) {
                assert!(error.contains("may or may not have arrived"), "{error}");
                both.push(name);
            }
        }
        both
    }

    /// Which front ends were asked since that was last asked, in order, without repetitions.
    fn asked(&mut self) -> Vec<usize> {
        let mut asked: Vec<usize> = self.house.asked.drain(..).map(|(front_end, _)| front_end).collect();
        asked.dedup();
        asked
    }

    fn cut_hops(&mut self) {
        for wire in 0..self.house.wires.len() {
            if self.house.wires[wire].hop && self.house.wires[wire].open {
                self.house.cut(wire);
            }
        }
    }
}

fn two() -> House {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    House::planned(Plan { next_hops, ..Plan::default() })
}

fn takes(_: &SipMessage) -> Reply {
    Reply::Status(200, "OK")
}

#[test]
fn never_twice_a_front_end_that_dies_in_the_middle_of_traffic_and_comes_back_loses_and_doubles_nothing() {
    let mut traffic = Traffic::in_house(two(), takes);
    traffic.flows(SECOND);
    assert_eq!(traffic.asked(), [0]);
    traffic.house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
    traffic.cut_hops();
    traffic.flows(30 * SECOND);
    assert_eq!(traffic.asked(), [1], "the spare takes over");
    traffic.house.next_hop_reach.clear();
    traffic.flows(MINUTE);
    assert_eq!(traffic.asked(), [1, 0], "and gives back");
    traffic.flows(SECOND);
    assert_eq!(traffic.asked(), [0]);
    let doubtful = traffic.account();
    assert!(
        (1..=7).contains(&doubtful.len()),
        "those under way when it died, one of each pair: {doubtful:?}"
    );
}

#[test]
fn sip_13_going_back_costs_no_message() {
    let mut house = two();
    house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
    let mut traffic = Traffic::in_house(house, takes);
    traffic.flows(SECOND);
    traffic.house.next_hop_reach.clear();
    traffic.flows(MINUTE);
    assert_eq!(traffic.asked(), [1, 0]);
    assert_eq!(traffic.account(), [""; 0]);
    assert_eq!(traffic.taken.borrow().len(), traffic.sent, "all of them arrived");
}

#[test]
fn never_twice_503_in_the_middle_of_traffic_moves_it_and_costs_no_message() {
    let mut left = 40;
    let busy = move |_: &SipMessage| {
        left -= 1;
        match left {
            0 => Reply::Status(503, "Busy"),
            _ => Reply::Status(200, "OK"),
        }
    };
    let mut traffic = Traffic::in_house(two(), busy);
    traffic.flows(5 * SECOND);
    assert_eq!(traffic.asked()[..2], [0, 1]);
    assert_eq!(traffic.account(), [""; 0]);
    assert_eq!(traffic.taken.borrow().len(), traffic.sent);
}

#[test]
fn sip_13_hosts_that_dns_names_no_more_are_left_without_losing_a_message() {
    let mut traffic = Traffic::in_house(two(), takes);
    traffic.flows(SECOND);
    let connects = traffic.house.connects.len();
    let (gateway, now) = (traffic.house.gateway.clone(), traffic.house.now);
    let others = ["new1.contoso.com", "new2.contoso.com"].map(|host| NextHop::new(0, host, 5061));
    gateway.routes()[0].list(others.into(), Vec::new(), now.instant);
    traffic.flows(SECOND);
    assert_eq!(traffic.house.connects[connects..], [2], "one of the new ones");
    let open = traffic.house.wires.iter().filter(|wire| wire.hop && wire.open).count();
    assert_eq!(open, 1, "the old connection has ended, with what was under way on it");
    // DNS that names nobody is no reason to stop.
    gateway.routes()[0].list(Vec::new(), Vec::new(), traffic.house.now.instant);
    traffic.flows(SECOND);
    assert_eq!(traffic.account(), [""; 0]);
    assert_eq!(traffic.taken.borrow().len(), traffic.sent);
}

/// The first request of a kind that comes is redirected to there.
fn redirects(method: &'static str, contact: &'static str) -> impl FnMut(&SipMessage) -> Reply {
    let mut asked = 0;
    move |request| {
        asked += usize::from(request.method() == Some(method));
        match asked {
            1 => Reply::With(302, "Moved Temporarily", vec![("Contact", contact.to_owned())]),
            _ => Reply::Status(200, "OK"),
        }
    }
}

const HELLO: &str = "<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='b1' type='chat'><body>hello</body></message>";

#[test]
fn sip_13_a_redirect_to_another_front_end_is_followed_there() {
    let mut house = two();
    house.rule = Box::new(redirects("MESSAGE", "<sip:alice@spare.contoso.com;transport=tls>"));
    house.partner_says(PARTNER, HELLO);
    assert_eq!(house.asked.iter().map(|(front_end, _)| *front_end).collect::<Vec<_>>(), [0, 1]);
    let requests = house.requests();
    assert!(
        requests[1].start.starts_with("MESSAGE sip:alice@spare.contoso.com;transport=tls "),
        "{requests:?}"
    );
    assert_eq!(requests[0].header("Call-ID"), requests[1].header("Call-ID"));
    assert_eq!((house.count("xmpp_to_sip_delivered"), house.stanzas(PARTNER).len()), (1, 0));
}

#[test]
fn sip_13_a_redirect_out_of_the_list_is_told_to_the_contact() {
    let mut house = two();
    house.rule = Box::new(redirects("MESSAGE", "<sip:alice@elsewhere.example>"));
    house.partner_says(PARTNER, HELLO);
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.count("xmpp_to_sip_failed"), 1);
}

#[test]
fn sip_13_a_subscription_follows_a_redirect_and_stays_where_it_led() {
    let mut house = two();
    house.rule = Box::new(redirects("SUBSCRIBE", "<sip:alice@spare.contoso.com>"));
    house.partner_says(
        PARTNER,
        "<presence from='bob@fabrikam.com' to='alice@contoso.com' type='subscribe' id='s1'/>",
    );
    let asked: Vec<_> = house.asked.drain(..).collect();
    assert_eq!(asked, [(0, "SUBSCRIBE".to_owned()), (1, "SUBSCRIBE".to_owned())]);
}

#[test]
fn sip_13_an_invitation_follows_a_redirect() {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    let mut house = House::planned(Plan { next_hops, im: Im::Session, ..Plan::default() });
    let mut redirect = redirects("INVITE", "<sip:alice@spare.contoso.com>");
    house.rule = Box::new(move |request| match (redirect(request), request.method()) {
        (reply @ Reply::With(..), _) => reply,
        (_, Some("INVITE")) => Reply::Status(488, "Not Acceptable Here"),
        _ => Reply::Status(200, "OK"),
    });
    house.partner_says(PARTNER, HELLO);
    let invited: Vec<_> = house.asked.iter().filter(|(_, method)| method == "INVITE").collect();
    assert_eq!(invited, [&(0, "INVITE".to_owned()), &(1, "INVITE".to_owned())]);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1, "and alone it arrives in the end");
}
