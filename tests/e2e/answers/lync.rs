//! The messages of `sip/tests/lync/` at a whole gateway: they are understood, what is not ours comes back byte for byte, and
//! nothing of what is in them but the words goes further.
//!
//! What comes back is compared line by line as it stands on the wire, not as values somebody has read out of it.

use nuncio::gateway::Im;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;

use crate::house::{FRONT_END, House, Plan, Reply};
use crate::watching::*;

const INVITE: &str = include_str!("../../../sip/tests/lync/invite.sip");
const ACK: &str = include_str!("../../../sip/tests/lync/ack.sip");
const MESSAGE: &str = include_str!("../../../sip/tests/lync/message.sip");
const INFO: &str = include_str!("../../../sip/tests/lync/info-typing.sip");
const BYE: &str = include_str!("../../../sip/tests/lync/bye.sip");
const INVITE_OK: &str = include_str!("../../../sip/tests/lync/invite-ok.sip");
const SUBSCRIBE: &str = include_str!("../../../sip/tests/lync/subscribe.sip");
const NOTIFY: &str = include_str!("../../../sip/tests/lync/notify-categories.sip");
const BENOTIFY: &str = include_str!("../../../sip/tests/lync/benotify.sip");

/// Where a client wants its requests: no port, and nothing that could be looked up.
const GRUU: &str = "sip:alice@contoso.com;opaque=user:epid:p7KdQ2mYv1yBz0aWtXcJfgAA;gruu";
const STATES: &str = "http://jabber.org/protocol/chatstates";

fn parsed(text: &str) -> SipMessage {
    SipMessage::take(&mut text.as_bytes().to_vec()).unwrap().unwrap()
}

fn filled(text: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
}

/// The lines of a head that have this name, as they stand on the wire.
fn lines(message: &SipMessage, name: &str) -> Vec<String> {
    let (head, _) = message.raw.split_once("\r\n\r\n").unwrap();
    let named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    head.split("\r\n").skip(1).filter(named).map(str::to_owned).collect()
}

/// The only line of this name.
fn line(message: &SipMessage, name: &str) -> String {
    let mut lines = lines(message, name);
    assert_eq!(lines.len(), 1, "{name} of\n{message}");
    lines.remove(0)
}

/// The same line under another name.
fn renamed(line: &str, name: &str) -> String {
    format!("{name}:{}", line.split_once(':').unwrap().1)
}

/// The tag that the gateway has given.
fn tag(header: &str) -> &str {
    header.split_once(";tag=").unwrap().1.split(';').next().unwrap()
}

/// Every line of an answer that is not ours is the line of the request; a To without tag gets ours behind it.
fn check_answer(answer: &SipMessage, request: &SipMessage, status: u16) {
    assert_eq!(answer.status(), Some(status), "{answer}");
    for name in ["From", "Call-ID", "CSeq"] {
        assert_eq!(line(answer, name), line(request, name), "{answer}");
    }
    let (to, sent) = (line(answer, "To"), line(request, "To"));
    let ours = if sent.contains(";tag=") { String::new() } else { format!(";tag={}", tag(&to)) };
    assert_eq!(to, sent + &ours, "{answer}");
    let mut vias = lines(request, "Via");
    // What is added to the first says where it came from (RFC 3261 s18.2.1).
    vias[0] += &format!(";received={}", FRONT_END.ip());
    assert_eq!(lines(answer, "Via"), vias, "{answer}");
    if request.method() == Some("INVITE") || request.method() == Some("SUBSCRIBE") {
        assert_eq!(lines(answer, "Record-Route"), lines(request, "Record-Route"), "{answer}");
    }
}

/// How the gateway's requests within a dialog have to look, as lines.
struct Path {
    target: String,
    routes: Vec<String>,
    from: String,
    to: String,
    call_id: String,
}

impl Path {
    /// The dialog that this request of theirs has begun, and this answer of ours.
    fn begun(request: &SipMessage, answer: &SipMessage) -> Self {
        Self {
            target: request.address("Contact").unwrap().to_owned(),
            routes: lines(request, "Record-Route").iter().map(|route| renamed(route, "Route")).collect(),
            from: renamed(&line(answer, "To"), "From"),
            to: to_of(&line(request, "From")),
            call_id: line(request, "Call-ID"),
        }
    }

    /// The dialog that this request of ours has begun, and this message of theirs, whose lines name it as `their`.
    fn begun_by_us(request: &SipMessage, theirs: &SipMessage, their: &str, routes: Vec<String>) -> Self {
        Self {
            target: theirs.address("Contact").unwrap().to_owned(),
            routes: routes.iter().map(|route| renamed(route, "Route")).collect(),
            from: line(request, "From"),
            to: to_of(&line(theirs, their)),
            call_id: line(request, "Call-ID"),
        }
    }

    fn check(&self, request: &SipMessage) {
        let method = request.method().unwrap();
        assert_eq!(request.start, format!("{method} {} SIP/2.0", self.target), "{request}");
        assert_eq!(lines(request, "Route"), self.routes, "{request}");
        assert_eq!(line(request, "From"), self.from, "{request}");
        assert_eq!(line(request, "To"), self.to, "{request}");
        assert_eq!(line(request, "Call-ID"), self.call_id, "{request}");
    }
}

/// A user's address with all its parameters, which name the endpoint (epid); what he is called is no part of a dialog.
fn to_of(line: &str) -> String {
    format!("To: {}", &line[line.find('<').unwrap()..])
}

/// A chat message of Bob's.
fn bob_says(house: &mut House, inside: &str) {
    house.partner_says(
        PARTNER,
        &format!("<message type='chat' from='{BOB}/home' to='{ALICE}' id='b'>{inside}</message>"),
    );
}

/// What comes to the contact is words, and nothing that tells of the inside.
fn check_words(house: &mut House, words: &str) {
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    assert_eq!(stanzas[0].body(), Some(words));
    for secret in ["epid", "gruu", "ms-", "10.30.1.44", "RTF", "rtf", "msgr"] {
        assert!(!stanzas[0].raw.contains(secret), "{secret}: {}", stanzas[0].raw);
    }
}

#[test]
fn a_client_invites_speaks_and_is_answered_on_the_way_that_its_servers_signed() {
    let mut house = House::new();
    let wire = house.front_end();
    let invite = parsed(INVITE);
    let answer = house.ask(wire, INVITE);
    check_answer(&answer, &invite, 200);
    assert!(!answer.header("Supported").unwrap_or_default().contains("ms-"), "{answer}");
    let path = Path::begun(&invite, &answer);
    assert_eq!(path.target, GRUU);
    let (target, ours) = (answer.address("Contact").unwrap(), tag(answer.must("To").unwrap()));
    let places = [("@TARGET@", target), ("@TAG@", ours)];
    house.send(wire, filled(ACK, &places));
    assert!(house.stanzas(PARTNER).is_empty(), "the message in the INVITE comes again by itself");

    let message = filled(MESSAGE, &places);
    check_answer(&house.ask(wire, &message), &parsed(&message), 200);
    check_words(&mut house, "hello");

    bob_says(&mut house, &format!("<body>hi</body><active xmlns='{STATES}'/>"));
    let request = house.request();
    assert_eq!((request.method(), request.body.as_str()), (Some("MESSAGE"), "hi"));
    path.check(&request);

    let typing = filled(INFO, &places);
    check_answer(&house.ask(wire, &typing), &parsed(&typing), 200);
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    assert!(stanzas[0].child("composing").is_some() && stanzas[0].body().is_none(), "{}", stanzas[0].raw);
    bob_says(&mut house, &format!("<composing xmlns='{STATES}'/>"));
    let request = house.request();
    assert_eq!((request.method(), request.header("Content-Type")), (Some("INFO"), Some("application/xml")));
    path.check(&request);

    let bye = filled(BYE, &places);
    check_answer(&house.ask(wire, &bye), &parsed(&bye), 200);
    let stanzas = house.stanzas(PARTNER);
    assert!(stanzas.len() == 1 && stanzas[0].child("gone").is_some(), "{stanzas:?}");
    assert!(!stanzas[0].raw.contains("51004") && !stanzas[0].raw.contains("initiated"), "{}", stanzas[0].raw);
}

#[test]
fn a_session_ends_on_the_way_that_its_servers_signed() {
    let mut house = House::new();
    let wire = house.front_end();
    let invite = parsed(INVITE);
    let answer = house.ask(wire, INVITE);
    let path = Path::begun(&invite, &answer);
    let places =
        [("@TARGET@", answer.address("Contact").unwrap()), ("@TAG@", tag(answer.must("To").unwrap()))];
    house.send(wire, filled(ACK, &places));
    house.advance(11 * MINUTE);
    let bye = house.request();
    assert_eq!(bye.method(), Some("BYE"), "nobody says anything for ten minutes: {bye}");
    path.check(&bye);
}

#[test]
fn a_client_that_is_invited_answers_and_is_spoken_to_on_the_way_that_its_servers_signed() {
    let mut house = House::planned(Plan { im: Im::Session, ..Plan::default() });
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Raw(invite_ok(request)),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_says(&mut house, "<body>hi</body>");
    house.advance(11 * MINUTE);
    let requests = house.requests();
    let methods: Vec<_> = requests.iter().filter_map(SipMessage::method).collect();
    assert_eq!(methods, ["INVITE", "ACK", "MESSAGE", "BYE"]);
    let ok = parsed(&invite_ok(&requests[0]));
    // From the caller's end the route is the other way round (RFC 3261 s12.1.2).
    let routes = lines(&ok, "Record-Route").into_iter().rev().collect();
    let path = Path::begun_by_us(&requests[0], &ok, "To", routes);
    assert!(path.target == GRUU && path.routes.len() == 2 && path.to.contains(";tag=d41c7e90ab"));
    requests[1..].iter().for_each(|request| path.check(request));
}

/// What a client of Skype for Business answers to an invitation of ours.
fn invite_ok(invite: &SipMessage) -> String {
    let header = |name| invite.must(name).unwrap();
    let places = [("@VIA@", header("Via")), ("@FROM@", header("From")), ("@CALL-ID@", header("Call-ID"))];
    filled(INVITE_OK, &places)
}

#[test]
fn a_client_subscribes_and_is_notified_on_the_way_that_its_servers_signed() {
    let mut house = house();
    let wire = house.front_end();
    let subscribe = parsed(SUBSCRIBE);
    let answer = house.ask(wire, SUBSCRIBE);
    check_answer(&answer, &subscribe, 200);
    let path = Path::begun(&subscribe, &answer);
    assert_eq!(path.target, GRUU);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<status>Here</status>"));
    house.advance(6 * SECOND);
    let told = house.requests();
    assert!(told.iter().all(|request| request.method() == Some("BENOTIFY")), "{told:?}");
    told.iter().for_each(|request| path.check(request));
    let last = told.last().unwrap();
    assert_eq!(last.header("Content-Type"), Some("application/msrtc-event-categories+xml"));
    assert!(last.body.contains(">Here</body>"), "{last}");
}

#[test]
fn categories_say_state_and_note_and_no_more_and_are_asked_for_on_the_way_that_servers_signed() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let subscribe = house.request();
    let wire = house.front_end();
    let places = [
        ("@TARGET@", subscribe.address("Contact").unwrap()),
        ("@WATCHER@", subscribe.must("From").unwrap()),
        ("@CALL-ID@", subscribe.must("Call-ID").unwrap()),
        ("@OURS@", "agent"),
    ];
    let notify = parsed(&filled(NOTIFY, &places));
    check_answer(&house.ask(wire, &notify.raw), &notify, 200);
    let mut stanzas = house.stanzas(PARTNER);
    check_presence(stanzas.last().unwrap(), "dnd", "Working at home");

    // What follows is not answered, whatever is in it.
    house.send(wire, filled(BENOTIFY, &places));
    assert!(house.taken(wire).is_empty(), "an answer to BENOTIFY");
    let more = house.stanzas(PARTNER);
    check_presence(more.last().unwrap(), "away", "Gone for a walk");
    stanzas.extend(more);
    for secret in ["Rome", "Merger", "AAAA", "Engineer", "computer"] {
        assert!(stanzas.iter().all(|stanza| !stanza.raw.contains(secret)), "{secret}");
    }

    // The dialog is that of the first NOTIFY (RFC 6665 s4.4.1), and so is the way.
    let path = Path::begun_by_us(&subscribe, &notify, "From", lines(&notify, "Record-Route"));
    assert_eq!(path.routes.len(), 1);
    let refresh = house.wait_for_request(8 * HOUR);
    assert_eq!(refresh.method(), Some("SUBSCRIBE"));
    path.check(&refresh);
}

fn check_presence(presence: &Element, show: &str, note: &str) {
    assert_eq!(presence.child("show").map(|show| show.text.as_str()), Some(show), "{presence}");
    assert_eq!(presence.child("status").map(|note| note.text.as_str()), Some(note), "{presence}");
}
