//! Front ends that say what became of messages of contacts, after they had accepted them (`application/ms-imdn+xml`).

use std::time::Duration;

use super::*;

const REQUEST: &str = "<body>x</body><request xmlns='urn:xmpp:receipts'/>";

/// A house whose front end keeps every message: 202 with an id.
fn keeping(sees: bool, im: Im) -> House {
    let mut house = beside::acquainted(sees, im);
    house.rule = Box::new(|request| match request.method() {
        Some("MESSAGE") => Reply::With(202, "Accepted", vec![("Message-Id", "kept-1".to_owned())]),
        _ => accepts(request),
    });
    house
}

fn document(message_id: &str, recipients: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><imdn xmlns=\"http://schemas.microsoft.com/rtc/2005/08/imdn\">\
         <message-id>{message_id}</message-id>{recipients}</imdn>"
    )
}

const LOST: &str = "<recipient uri=\"sip:alice@contoso.com\"><status>408</status></recipient>";

fn notifies(house: &mut House, message_id: &str, recipients: &str) -> Option<u16> {
    let wire = house.front_end();
    let request = Request::new("MESSAGE", BOB)
        .with("Content-Type: application/ms-imdn+xml")
        .with_body(document(message_id, recipients));
    house.ask(wire, request.bytes()).status()
}

/// The conditions of the errors that reached Bob, with the ids of his messages.
fn errors(house: &mut House) -> Vec<(String, String)> {
    let stanzas = house.stanzas("fabrikam.com");
    let of = |stanza: &nuncio_world::xml::Element| {
        let error = stanza.child("error")?;
        let condition = ["remote-server-timeout", "recipient-unavailable", "service-unavailable"]
            .into_iter()
            .find(|condition| error.child(condition).is_some())?;
        Some((stanza.attribute("id")?.to_owned(), condition.to_owned()))
    };
    stanzas.iter().filter_map(of).collect()
}

#[test]
fn im_41_what_failed_after_202_comes_back_to_the_contact_once() {
    let mut house = keeping(true, Im::Pager);
    bob_writes(&mut house, "b1", "<body>x</body>");
    assert_eq!(errors(&mut house), [], "accepted");
    assert_eq!(notifies(&mut house, "kept-1", LOST), Some(200));
    assert_eq!(errors(&mut house), [("b1".to_owned(), "remote-server-timeout".to_owned())]);
    assert_eq!(notifies(&mut house, "kept-1", LOST), Some(200));
    assert_eq!(errors(&mut house), [], "once");
    assert_eq!((house.count("xmpp_to_sip_failed_late"), house.count("notifications_of_nothing")), (1, 1));
}

#[test]
fn dec_03_a_stranger_learns_nothing_of_the_user_by_a_late_failure() {
    let busy = LOST.replace("408", "480");
    for (sees, condition) in [(true, "recipient-unavailable"), (false, "service-unavailable")] {
        let mut house = keeping(sees, Im::Pager);
        bob_writes(&mut house, "b1", "<body>x</body>");
        notifies(&mut house, "kept-1", &busy);
        assert_eq!(errors(&mut house), [("b1".to_owned(), condition.to_owned())], "{sees}");
    }
}

#[test]
fn im_40_what_arrived_after_202_is_a_receipt_for_who_asked_and_may_see_the_user() {
    for (sees, children, expected) in [(true, REQUEST, 1), (true, "<body>x</body>", 0), (false, REQUEST, 0)] {
        let mut house = keeping(sees, Im::Pager);
        bob_writes(&mut house, "b1", children);
        house.stanzas("fabrikam.com");
        let other = LOST.replace("alice", "carol");
        assert_eq!(notifies(&mut house, "kept-1", &other), Some(200));
        let stanzas = house.stanzas("fabrikam.com");
        assert_eq!(stanzas.iter().filter(|stanza| stanza.child("received").is_some()).count(), expected);
        assert_eq!(stanzas.len(), expected, "{sees} {children}");
    }
}

#[test]
fn im_41_word_that_comes_too_late_or_of_nothing_is_taken_and_counted() {
    let mut house = keeping(true, Im::Pager);
    assert_eq!(notifies(&mut house, "kept-1", LOST), Some(200), "nobody wrote anything");
    bob_writes(&mut house, "b1", "<body>x</body>");
    assert_eq!(notifies(&mut house, "another", LOST), Some(200));
    house.advance(Duration::from_secs(3600));
    assert_eq!(notifies(&mut house, "kept-1", LOST), Some(200));
    assert_eq!(house.count("notifications_of_nothing"), 3);
    assert_eq!(errors(&mut house), []);
}

#[test]
fn im_41_in_a_session_the_same() {
    let mut house = keeping(true, Im::Session);
    bob_writes(&mut house, "b1", "<body>x</body>");
    let invite = house.requests().remove(0);
    assert!(invite.body.contains("message/imdn+xml application/ms-imdn+xml"), "{}", invite.body);
    let mut chat = Chat::of_gateway(house.front_end(), &invite);
    let request = chat
        .next("MESSAGE")
        .with("Content-Type: application/ms-imdn+xml")
        .with_body(document("kept-1", LOST));
    assert_eq!(house.ask(chat.wire, request.bytes()).status(), Some(200));
    assert_eq!(errors(&mut house), [("b1".to_owned(), "remote-server-timeout".to_owned())]);
}

#[test]
fn im_41_a_notification_is_no_message_and_gets_no_notification() {
    let imdn = "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>1</message-id><datetime/>\
                <delivery-notification><status><delivered/></status></delivery-notification></imdn>";
    let body = |inside: &str| {
        format!(
            "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 2\r\nDateTime: 2006-04-04T12:16:49-05:00\r\n\
             imdn.Disposition-Notification: positive-delivery\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n{inside}"
        )
    };
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    for (inside, status) in [(imdn, 200), ("<imdn/>", 400)] {
        let alone = Request::new("MESSAGE", BOB);
        for request in [alone, chat.next("MESSAGE")] {
            let request = request.with("Content-Type: message/cpim").with_body(body(inside));
            assert_eq!(house.ask(wire, request.bytes()).status(), Some(status), "{inside}");
        }
    }
    assert!(house.stanzas("fabrikam.com").is_empty() && house.requests().is_empty());
    assert_eq!(house.count("notifications_of_nothing"), 2);
}
