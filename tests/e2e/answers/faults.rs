//! Internal errors, and streams that end while something waits: nobody is left without a word, and nothing leaks.

use std::time::Duration;

use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_world::xml::Element;
use nuncio_xmpp::lane::LaneConfig;

use crate::house::{House, Plan, Reach, Reply};

fn from_bob(id: &str) -> String {
    format!("<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='{id}'><body>x</body></message>")
}

fn outcomes(stanzas: &[Element]) -> Vec<(&str, &str)> {
    stanzas.iter().map(|stanza| (stanza.attribute("id").unwrap(), stanza.condition().unwrap())).collect()
}

fn policy(generation: u64, enabled: bool) -> Snapshot {
    let partner = Partner { domain: "fabrikam.com".into(), partner_type: PartnerType::Federated, enabled };
    Snapshot::new(generation, ["contoso.com".into()], [(partner, Vec::new())])
}

/// A house whose front end answers nothing, and whose partners can be owed one reply at a time.
fn narrow_house() -> House {
    let lane = LaneConfig { reply_capacity: 1, ..LaneConfig::default() };
    let mut house = House::planned(Plan { lane, ..Plan::default() });
    house.rule = Box::new(|_| Reply::Silence);
    house
}

/// The front end answers the oldest request it has not answered.
fn answer_first(house: &mut House) {
    let request = house.requests.pop_front().unwrap();
    let hop = house.hop();
    house.send(hop, request.answer(200, "OK", &[]).unwrap());
}

#[test]
fn a_panic_in_a_pair_is_told_to_the_senders_of_all_it_held() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    for id in ["m0", "m1", "m2"] {
        house.partner_says("fabrikam.com", &from_bob(id));
    }
    // m0 is settled by its answer; making the request for m1 fails.
    house.panic_once();
    answer_first(&mut house);
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(outcomes(&errors), [("m1", "internal-server-error"), ("m2", "internal-server-error")]);
    assert!(errors[0].raw.contains("may not have been delivered"), "{}", errors[0]);
    assert_eq!(
        (house.count("pairs_lost"), house.count("xmpp_to_sip_failed"), house.count("xmpp_to_sip_delivered")),
        (1, 2, 1)
    );
    assert_eq!(house.gateway.owes(), 0, "a reservation leaked");
    // The pair goes on.
    house.partner_says("fabrikam.com", &from_bob("m3"));
    answer_first(&mut house);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 2);
    assert_eq!(house.gateway.owes(), 0);
}

#[test]
fn a_stanza_whose_own_step_panics_is_told_to_its_sender_and_gives_back_its_place() {
    let mut house = narrow_house();
    house.panic_once();
    house.partner_says("fabrikam.com", &from_bob("m0"));
    assert_eq!(outcomes(&house.stanzas("fabrikam.com")), [("m0", "internal-server-error")]);
    // There is one place only, and it is free again.
    house.partner_says("fabrikam.com", &from_bob("m1"));
    answer_first(&mut house);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
}

#[test]
fn an_answer_to_a_message_from_before_a_panic_settles_nothing_that_came_after() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", &from_bob("before"));
    let before = house.requests.pop_front().unwrap();
    // What he is told waits for a stream meanwhile.
    house.reach.insert("fabrikam.com", Reach::Pending);
    house.gateway.set_policy(policy(2, false));
    house.panic_once();
    house.partner_says("fabrikam.com", &from_bob("refused"));
    house.gateway.set_policy(policy(3, true));
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    let lost = house.stanzas("fabrikam.com");
    assert_eq!(outcomes(&lost), [("refused", "internal-server-error"), ("before", "internal-server-error")]);

    house.partner_says("fabrikam.com", &from_bob("after"));
    let hop = house.hop();
    house.send(hop, before.answer(404, "Not Found", &[]).unwrap());
    house.advance(Duration::from_secs(1));
    assert!(house.stanzas("fabrikam.com").is_empty(), "the answer was taken for one to the new message");
    answer_first(&mut house);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
    assert_eq!(house.gateway.owes(), 0);
}

#[test]
fn a_stream_that_holds_a_stanza_is_closed_in_time_all_the_same() {
    let mut house = narrow_house();
    house.partner_says("fabrikam.com", &from_bob("pending"));
    house.partner_says("fabrikam.com", &from_bob("held"));
    let now = house.now;
    house.streams[0].shut_down(now);
    house.run();
    assert!(house.streams[0].transcript().contains("<system-shutdown"), "{}", house.streams[0].transcript());
    assert!(house.streams[0].open, "the partner may still answer");
    house.advance(Duration::from_secs(6));
    assert!(!house.streams[0].open, "the time for closing is over");
    assert_eq!(house.count("stanzas_dropped"), 1);
}

#[test]
fn what_is_held_when_the_partner_closes_still_gets_room_that_comes_in_time() {
    let mut house = narrow_house();
    house.partner_says("fabrikam.com", &from_bob("pending"));
    house.partner_says("fabrikam.com", &format!("{}</stream:stream>", from_bob("held")));
    assert!(house.streams[0].transcript().contains("</stream:stream>"), "the closing waits for nothing");
    house.advance(Duration::from_millis(4_900));
    assert!(house.streams[0].open);
    answer_first(&mut house);
    answer_first(&mut house);
    assert_eq!((house.count("xmpp_to_sip_delivered"), house.count("stanzas_dropped")), (2, 0));
    assert!(!house.streams[0].open);
}

#[test]
fn what_is_held_when_the_partner_closes_does_not_keep_the_connection_longer_than_that() {
    let mut house = narrow_house();
    house.partner_says("fabrikam.com", &from_bob("pending"));
    house.partner_says("fabrikam.com", &format!("{}</stream:stream>", from_bob("held")));
    house.advance(Duration::from_secs(5));
    assert!(!house.streams[0].open);
    assert_eq!(house.count("stanzas_dropped"), 1);
}

#[test]
fn a_bad_address_waits_for_room_for_its_answer_too() {
    let mut house = narrow_house();
    house.partner_says("fabrikam.com", &from_bob("pending"));
    house.partner_says(
        "fabrikam.com",
        "<message from='bob@fabrikam.com' to='&lt;&gt;@contoso.com' id='bad'><body>x</body></message>",
    );
    assert!(!house.streams[0].reads(), "the stream is read although nothing more can be answered");
    assert!(house.stanzas("fabrikam.com").is_empty());
    answer_first(&mut house);
    assert_eq!(outcomes(&house.stanzas("fabrikam.com")), [("bad", "jid-malformed")]);
    assert!(house.streams[0].reads());
}

#[test]
fn what_needs_no_answer_overtakes_what_waits_for_room() {
    let mut house = narrow_house();
    house.partner_says("fabrikam.com", &from_bob("pending"));
    let error = "<message type='error' from='bob@fabrikam.com' to='alice@contoso.com' id='theirs'><error \
        type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>";
    house.partner_says("fabrikam.com", &format!("{}{error}", from_bob("held")));
    assert_eq!(house.count("foreign_errors"), 1);
}
