//! SIP users who want to know what becomes of their messages (RFC 5438), alone and in sessions.

use std::time::Duration;

use super::*;

const WHEN: &str = "2026-11-20T15:18:05+01:00";

/// A message that asks for this.
fn asking(request: Request, wishes: &str) -> Request {
    let body = format!(
        "From: <im:alice@contoso.com>\r\nTo: <im:bob@fabrikam.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: 34jk324j\r\nDateTime: {WHEN}\r\nimdn.Disposition-Notification: {wishes}\r\n\r\n\
         Content-Type: text/plain;charset=utf-8\r\n\r\nhello"
    );
    request.with("Content-Type: message/cpim").with_body(body)
}

/// Alice asks, outside of any session; the id of her stanza.
fn asks(house: &mut House, to: &str, wishes: &str) -> String {
    let wire = house.front_end();
    assert_eq!(house.ask(wire, asking(Request::new("MESSAGE", to), wishes).bytes()).status(), Some(200));
    id_of_last(house, to)
}

fn id_of_last(house: &mut House, to: &str) -> String {
    let stanza = house.stanzas(to.rsplit('@').next().unwrap()).pop().unwrap();
    assert_eq!(stanza.body(), Some("hello"));
    stanza.attribute("id").unwrap().to_owned()
}

fn tells(house: &mut House, from: &str, children: &str) {
    let message = format!("<message from='{from}/home' to='{ALICE}' id='r1'>{children}</message>");
    house.partner_says(from.rsplit('@').next().unwrap(), &message);
}

fn received(id: &str) -> String {
    format!("<received xmlns='urn:xmpp:receipts' id='{id}'/>")
}

fn displayed(id: &str) -> String {
    format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{id}'/>")
}

fn fails(house: &mut House, id: &str) {
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    house.partner_says(
        "fabrikam.com",
        &format!("<message type='error' from='{BOB}' to='{ALICE}' id='{id}'>{error}</message>"),
    );
}

/// What Alice was told: the words of the notifications.
fn told(house: &mut House) -> Vec<&'static str> {
    let words = ["<delivered/>", "<failed/>", "<displayed/>"];
    let word = |request: &SipMessage| {
        assert_eq!(request.header("Content-Type"), Some("message/cpim"), "{request}");
        words.into_iter().find(|word| request.body.contains(word)).unwrap()
    };
    house.requests().iter().map(word).collect()
}

#[test]
fn im_41_a_receipt_of_the_contact_is_a_notification_of_delivery() {
    let mut house = House::new();
    let id = asks(&mut house, BOB, "positive-delivery");
    assert!(house.requests().is_empty(), "nothing is known yet");
    tells(&mut house, BOB, &received(&id));
    let notification = house.requests().remove(0);
    assert_eq!(notification.start, "MESSAGE sip:alice@contoso.com SIP/2.0");
    assert_eq!(notification.address("From").unwrap(), "sip:bob@fabrikam.com");
    assert_eq!(notification.header("Content-Type"), Some("message/cpim"));
    for line in [
        "From: <sip:bob@fabrikam.com>\r\n",
        "NS: imdn <urn:ietf:params:imdn>\r\n",
        "imdn.Message-ID: ",
        "Content-Type: message/imdn+xml\r\n",
        "Content-Disposition: notification\r\n",
        "<message-id>34jk324j</message-id>",
        &format!("<datetime>{WHEN}</datetime>"),
        "<recipient-uri>sip:bob@fabrikam.com</recipient-uri>",
        "<delivery-notification><status><delivered/></status></delivery-notification>",
    ] {
        assert!(notification.body.contains(line), "{line}: {notification}");
    }
    tells(&mut house, BOB, &received(&id));
    assert!(house.requests().is_empty(), "once");
    assert_eq!(house.count("reports_delivered"), 1);
}

#[test]
fn im_41_only_what_was_asked_for_is_told() {
    for (wishes, expected) in [
        ("positive-delivery", vec!["<delivered/>"]),
        ("display", vec!["<displayed/>"]),
        ("positive-delivery, display", vec!["<delivered/>", "<displayed/>"]),
        ("negative-delivery", vec![]),
        ("processing", vec![]),
    ] {
        let mut house = House::new();
        let id = asks(&mut house, BOB, wishes);
        tells(&mut house, BOB, &received(&id));
        tells(&mut house, BOB, &displayed(&id));
        assert_eq!(told(&mut house), expected, "{wishes}");
    }
}

#[test]
fn im_43_only_who_asks_for_it_makes_the_contact_say_what_was_displayed() {
    for (wishes, request, markable) in
        [("positive-delivery", true, false), ("display", false, true), ("negative-delivery", false, false)]
    {
        let mut house = House::new();
        let wire = house.front_end();
        house.ask(wire, asking(Request::new("MESSAGE", BOB), wishes).bytes());
        let stanza = house.stanzas("fabrikam.com").remove(0);
        let asked = (stanza.child("request").is_some(), stanza.child("markable").is_some());
        assert_eq!(asked, (request, markable), "{wishes}");
    }
}

#[test]
fn dec_02_a_late_error_is_a_notification_of_failure_for_who_asked_and_words_for_all_others() {
    for (wishes, asked) in [("negative-delivery", true), ("positive-delivery", false)] {
        let mut house = House::new();
        let id = asks(&mut house, BOB, wishes);
        fails(&mut house, &id);
        fails(&mut house, &id);
        let request = house.requests().remove(0);
        assert!(house.requests().is_empty(), "once");
        assert_eq!(request.body.contains("<failed/>"), asked, "{request}");
        assert_eq!(request.body.starts_with("Your message to bob@fabrikam.com"), !asked, "{request}");
        tells(&mut house, BOB, &received(&id));
        assert!(house.requests().is_empty(), "what failed has not arrived");
    }
}

#[test]
fn dec_02_a_notification_of_failure_that_nobody_takes_becomes_words() {
    for cap in [None, Some(700)] {
        let mut house = House::planned(Plan { message_cap: cap, ..Plan::default() });
        house.rule = Box::new(|request| match request.header("Content-Type") {
            Some("message/cpim") => Reply::Status(415, "Unsupported Media Type"),
            _ => Reply::Status(200, "OK"),
        });
        let id = asks(&mut house, BOB, "negative-delivery");
        fails(&mut house, &id);
        let requests = house.requests();
        assert_eq!(requests.len(), if cap.is_some() { 1 } else { 2 }, "one past the cap does not leave");
        let words = requests.last().unwrap();
        assert!(words.body.starts_with("Your message to bob@fabrikam.com"), "{words}");
        assert_eq!((house.count("reports_lost"), house.count("notices_delivered")), (1, 1));
    }
}

#[test]
fn im_41_nothing_is_told_of_what_was_refused() {
    let mut house = House::new();
    let wire = house.front_end();
    house.ask(wire, Request::message(BOB, "first").bytes());
    house.stanzas("fabrikam.com");
    house.line("fabrikam.com").stalled = true;
    house.send(wire, asking(Request::new("MESSAGE", BOB), "positive-delivery").bytes());
    house.advance(Duration::from_secs(11));
    assert_eq!(house.taken(wire).last().and_then(SipMessage::status), Some(504));
    house.line("fabrikam.com").stalled = false;
    house.run();
    let id = id_of_last(&mut house, BOB);
    tells(&mut house, BOB, &received(&id));
    assert!(house.requests().is_empty());
}

#[test]
fn im_41_another_contact_can_tell_nothing() {
    let mut house = House::new();
    let id = asks(&mut house, BOB, "positive-delivery");
    tells(&mut house, "mallory@fabrikam.com", &received(&id));
    tells(&mut house, "bob@public.example", &received(&id));
    assert_eq!(house.count("forged_ids"), 2);
    tells(&mut house, BOB, &received("purple1234"));
    assert!(house.requests().is_empty());
    tells(&mut house, BOB, &received(&id));
    assert_eq!(told(&mut house), ["<delivered/>"]);
}

#[test]
fn im_41_what_is_to_be_told_is_forgotten_with_the_ids_that_could_tell_it() {
    let mut house = House::new();
    let id = asks(&mut house, BOB, "positive-delivery");
    house.advance(Duration::from_secs(24 * 3600));
    assert_eq!(house.gateway.holdings().pairs, 0, "nothing is kept any longer");
    tells(&mut house, BOB, &received(&id));
    assert!(house.requests().is_empty());
}

/// A session of Alice's client, which understands message/cpim or does not.
fn session(house: &mut House, cpim: bool) -> Chat {
    let wire = house.front_end();
    let description = match cpim {
        true => DESCRIPTION.replace("text/html", "message/cpim"),
        false => DESCRIPTION.to_owned(),
    };
    let (chat, answer) = Chat::invite(house, wire, invitation(BOB).with_body(description));
    assert_eq!(answer.status(), Some(200), "{answer}");
    chat.acknowledge(house);
    chat
}

#[test]
fn ch_08_tv_14_in_a_session_the_notification_comes_in_it_if_its_side_reads_such_things() {
    for cpim in [true, false] {
        let mut house = House::new();
        let mut chat = session(&mut house, cpim);
        let request = asking(chat.next("MESSAGE"), "positive-delivery");
        assert_eq!(house.ask(chat.wire, request.bytes()).status(), Some(200));
        let stanza = house.stanzas("fabrikam.com").remove(0);
        assert!(stanza.child("request").is_some());
        tells(&mut house, BOB, &received(stanza.attribute("id").unwrap()));
        let notification = house.requests().remove(0);
        assert!(notification.body.contains("<delivered/>"), "{notification}");
        assert_eq!(notification.header("Call-ID") == Some(chat.call_id.as_str()), cpim, "{notification}");
    }
}

#[test]
fn ch_08_nobody_is_invited_to_hear_what_became_of_a_message() {
    let mut house = house();
    let id = asks(&mut house, BOB, "positive-delivery");
    tells(&mut house, BOB, &received(&id));
    assert_eq!(methods(&house.requests()), ["MESSAGE"]);
}
