//! The examples of RFC 7573 with MESSAGE in place of MSRP, and those of RFC 3994 and RFC 5438 in its session: Juliet is at
//! example.com behind XMPP, Romeo at example.net behind SIP.

use nuncio_translate::judge::PartnerType;
use nuncio_world::xml::Element;

use super::*;

const JULIET: &str = "juliet@example.com";
const RESOURCE: &str = "juliet@example.com/yn0cl4bnw0yr3vym";
const THREAD: &str = "29377446-0CBB-4296-8958-590D79094C50";
const HIS_THREAD: &str = "F6989A8C-DE8A-4E21-8E07-F0898304796F";

fn verona() -> House {
    let partners = &[("example.com", PartnerType::Federated, true)];
    let plan = Plan { served: &["example.net"], partners, im: Im::Session, ..Plan::default() };
    let mut house = House::planned(plan);
    house.rule = Box::new(accepts);
    house
}

fn juliet_says(house: &mut House, from: &str, id: &str, children: &str) {
    let to = "romeo@example.net";
    let stanza = format!("<message from='{from}' to='{to}' id='{id}' type='chat'>{children}</message>");
    house.partner_says("example.com", &stanza);
}

/// Juliet's first words, with a state or without: the session that follows from them (F1 to F9).
fn juliet_begins(house: &mut House, state: &str) -> Chat {
    let words = format!("<thread>{THREAD}</thread><body>Art thou not Romeo, and a Montague?</body>{state}");
    juliet_says(house, RESOURCE, "a786hjs2", &words);
    let requests = house.requests();
    assert_eq!(methods(&requests), ["INVITE", "ACK", "MESSAGE"]);
    let (invite, message) = (&requests[0], &requests[2]);
    assert_eq!(invite.start, "INVITE sip:romeo@example.net SIP/2.0");
    assert_eq!(invite.address("From").unwrap(), "sip:juliet@example.com");
    assert_eq!(invite.header("Content-Type"), Some("application/sdp"));
    assert!(invite.must("Call-ID").unwrap().starts_with(THREAD), "{invite}");
    assert_eq!(message.body, "Art thou not Romeo, and a Montague?");
    assert_eq!(message.header("Call-ID"), invite.header("Call-ID"));
    Chat::of_gateway(house.front_end(), invite)
}

/// Romeo invites Juliet (F17 to F22).
fn romeo_begins(house: &mut House) -> Chat {
    let wire = house.front_end();
    let invitation = invitation(JULIET).set(|request| {
        request.from = "<sip:romeo@example.net>;tag=576".to_owned();
        request.call_id = HIS_THREAD.to_owned();
    });
    let (chat, answer) = Chat::invite(house, wire, invitation);
    assert_eq!(answer.status(), Some(200), "{answer}");
    chat.acknowledge(house);
    chat
}

/// The one stanza that reached Juliet.
fn heard(house: &mut House) -> Element {
    let mut stanzas = house.stanzas("example.com");
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    stanzas.remove(0)
}

fn thread(stanza: &Element) -> Option<&str> {
    stanza.child("thread").map(|thread| thread.text.as_str())
}

#[test]
fn tv_12_a_chat_that_juliet_begins() {
    let mut house = verona();
    let mut chat = juliet_begins(&mut house, "");
    assert_eq!(chat.say(&mut house, "Neither, fair saint, if either thee dislike.").status(), Some(200));
    let reply = heard(&mut house);
    assert_eq!((reply.attribute("from"), reply.attribute("to")), (Some("romeo@example.net"), Some(RESOURCE)));
    assert_eq!((reply.attribute("type"), thread(&reply)), (Some("chat"), Some(THREAD)));
    assert_eq!(reply.body(), Some("Neither, fair saint, if either thee dislike."));
    let bye = chat.next("BYE");
    assert_eq!(house.ask(chat.wire, bye.bytes()).status(), Some(200));
    assert!(house.stanzas("example.com").is_empty(), "she knows of no session");
}

#[test]
fn tv_12_a_chat_that_romeo_begins() {
    let mut house = verona();
    let mut chat = romeo_begins(&mut house);
    assert_eq!(chat.say(&mut house, "I take thee at thy word ...").status(), Some(200));
    let words = heard(&mut house);
    assert_eq!((words.attribute("from"), words.attribute("to")), (Some("romeo@example.net"), Some(JULIET)));
    assert_eq!((words.attribute("type"), thread(&words)), (Some("chat"), Some(HIS_THREAD)));
    assert_eq!(words.body(), Some("I take thee at thy word ..."));
    // As in the example, of another thread.
    juliet_says(
        &mut house,
        JULIET,
        "ms53b7z9",
        &format!("<thread>{THREAD}</thread><body>What man art thou ...?</body>"),
    );
    let reply = house.requests().remove(0);
    assert_eq!((reply.method(), reply.header("Call-ID")), (Some("MESSAGE"), Some(HIS_THREAD)));
    assert_eq!(reply.body, "What man art thou ...?");
    let bye = chat.next("BYE");
    assert_eq!(house.ask(chat.wire, bye.bytes()).status(), Some(200));
}

const GONE: &str = "<gone xmlns='http://jabber.org/protocol/chatstates'/>";
const ACTIVE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";

#[test]
fn tv_13_gone_is_bye() {
    let mut house = verona();
    let chat = juliet_begins(&mut house, ACTIVE);
    juliet_says(&mut house, RESOURCE, "nx62f197", &format!("<thread>{THREAD}</thread>{GONE}"));
    let bye = house.requests().remove(0);
    assert_eq!((bye.method(), bye.header("Call-ID")), (Some("BYE"), Some(chat.call_id.as_str())));
}

#[test]
fn tv_13_bye_is_gone() {
    let mut house = verona();
    let mut chat = romeo_begins(&mut house);
    chat.say(&mut house, "I take thee at thy word ...");
    juliet_says(&mut house, JULIET, "ms53b7z9", &format!("<body>What man art thou ...?</body>{ACTIVE}"));
    chat.say(&mut house, "By a name I know not how to tell thee who I am");
    house.stanzas("example.com");
    let bye = chat.next("BYE");
    assert_eq!(house.ask(chat.wire, bye.bytes()).status(), Some(200));
    let gone = heard(&mut house);
    assert!(gone.child("gone").is_some(), "{gone}");
    assert_eq!((gone.attribute("from"), gone.attribute("type")), (Some("romeo@example.net"), Some("chat")));
    assert_eq!(thread(&gone), Some(HIS_THREAD));
}

/// The flows of RFC 3261 §24 with messages in place of sound: Alice's INVITE as her proxy passes it on (F4), Bob's 200 (F11), her
/// ACK, and the BYE with which he ends it (F18). As printed, with sound, there is nothing to accept, and nobody registers here.
#[test]
fn tv_52_the_flows_of_rfc_3261() {
    let partners = &[("biloxi.com", PartnerType::Federated, true)];
    let mut house = House::planned(Plan { served: &["atlanta.com"], partners, ..Plan::default() });
    let wire = house.front_end();
    let vias = "SIP/2.0/TLS bigbox3.site3.atlanta.com;branch=z9hG4bK77ef4c2312983.1;received=192.0.2.2\r\n\
                Via: SIP/2.0/TLS pc33.atlanta.com;branch=z9hG4bKnashds8;received=192.0.2.1";
    let alices = |method: &'static str| {
        Request::new(method, "bob@biloxi.com").set(|request| {
            request.via = vias.to_owned();
            request.from = "Alice <sip:alice@atlanta.com>;tag=1928301774".to_owned();
            request.to = "Bob <sip:bob@biloxi.com>".to_owned();
            request.call_id = "a84b4c76e66710".to_owned();
            request.cseq = format!("314159 {method}");
            request.max_forwards = Some(69);
            request.more.push("Contact: <sip:alice@pc33.atlanta.com>".to_owned());
        })
    };
    let invite =
        |description: &str| alices("INVITE").with("Content-Type: application/sdp").with_body(description);
    let sound = DESCRIPTION.replace("m=message 5060 sip null", "m=audio 49172 RTP/AVP 0");
    let earlier = invite(&sound).set(|request| {
        request.cseq = "314158 INVITE".to_owned();
        request.via = vias.replace("83.1;", "82.1;");
    });
    let silent = house.ask(wire, earlier.bytes());
    assert_eq!(silent.status(), Some(488), "{silent}");
    assert_eq!(house.ask(wire, alices("REGISTER").bytes()).status(), Some(405));

    let (chat, answer) = Chat::invite(&mut house, wire, invite(DESCRIPTION));
    assert_eq!(answer.status(), Some(200), "{answer}");
    assert_eq!(answer.all("Via").count(), 2, "{answer}");
    assert_eq!(answer.header("CSeq"), Some("314159 INVITE"));
    let ack = chat.request("ACK", 314_159);
    house.send(wire, ack.bytes());
    house.partner_says(
        "biloxi.com",
        &format!("<message from='bob@biloxi.com/x' to='alice@atlanta.com' type='chat'>{GONE}</message>"),
    );
    let bye = house.requests().remove(0);
    assert_eq!(bye.start, "BYE sip:alice@pc33.atlanta.com SIP/2.0");
    assert_eq!(
        bye.must("From").unwrap().split_once(";tag="),
        answer.must("To").unwrap().split_once(";tag=").map(|(_, tag)| ("<sip:bob@biloxi.com>", tag))
    );
    assert!(bye.must("To").unwrap().ends_with("<sip:alice@atlanta.com>;tag=1928301774"), "{bye}");
    assert_eq!(bye.header("Call-ID"), Some("a84b4c76e66710"));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

/// With the misspelt location of the schema, as printed.
#[test]
fn tv_57_the_documents_of_rfc_3994() {
    let document = |inside: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"\r\n\
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\r\n\
             xsi:schemaLocation=\"urn:ietf:params:xml:ns:im-composing iscomposing.xsd\">{inside}</isComposing>"
        )
    };
    let active = document("<state>active</state><contenttype>text/plain</contenttype><refresh>90</refresh>");
    let idle = document(
        "<state>idle</state><lastactive>2003-01-27T10:43:00Z</lastactive><contenttype>audio</contenttype>",
    );
    let mut house = verona();
    let mut chat = juliet_begins(&mut house, ACTIVE);
    for (document, state) in [(active, "composing"), (idle, "active")] {
        let request =
            chat.next("MESSAGE").with("Content-Type: application/im-iscomposing+xml").with_body(document);
        assert_eq!(house.ask(chat.wire, request.bytes()).status(), Some(200));
        let stanza = heard(&mut house);
        assert!(stanza.child(state).is_some() && stanza.body().is_none(), "{state}: {stanza}");
    }
}

/// §7.1.1.3, §7.2.1.1 and §8 with the addresses of the house.
#[test]
fn tv_58_the_message_and_the_notification_of_rfc_5438() {
    let mut house = verona();
    let mut chat = romeo_begins(&mut house);
    let body = "From: Romeo <im:romeo@example.net>\r\nTo: Juliet <im:juliet@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
                imdn.Message-ID: 34jk324j\r\nDateTime: 2006-04-04T12:16:49-05:00\r\n\
                imdn.Disposition-Notification: positive-delivery, negative-delivery\r\n\r\n\
                Content-type: text/plain\r\nContent-length: 12\r\n\r\nHello World\n";
    let request = chat.next("MESSAGE").with("Content-Type: message/cpim").with_body(body);
    assert_eq!(house.ask(chat.wire, request.bytes()).status(), Some(200));
    let stanza = heard(&mut house);
    assert!(
        stanza.child("request").is_some()
            && stanza.body().is_some_and(|body| body.starts_with("Hello World"))
    );
    let id = stanza.attribute("id").unwrap();
    juliet_says(&mut house, RESOURCE, "r1", &format!("<received xmlns='urn:xmpp:receipts' id='{id}'/>"));
    let notification = house.requests().remove(0);
    assert_eq!(notification.address("From").unwrap(), "sip:juliet@example.com");
    for part in [
        "Content-Disposition: notification\r\n",
        "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>34jk324j</message-id>\
         <datetime>2006-04-04T12:16:49-05:00</datetime><recipient-uri>sip:juliet@example.com</recipient-uri>",
        "<delivery-notification><status><delivered/></status></delivery-notification></imdn>",
    ] {
        assert!(notification.body.contains(part), "{part}: {notification}");
    }
}
