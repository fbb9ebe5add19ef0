//! Documents of front ends in the style of Lync, both ways, chosen by Accept (PR-43). The SUBSCRIBE and the documents have
//! the form in which Lync Server 2013 and Skype for Business send them.

use crate::text::Request;
use crate::watching::*;

pub(crate) const CATEGORIES: &str = "application/msrtc-event-categories+xml";
pub(crate) const MSRTC: &str = "text/xml+msrtc.pidf";
const XPIDF: &str = "application/xpidf+xml";
/// What a client in the style of Lync takes.
pub(crate) const LYNC: &str = "application/msrtc-event-categories+xml, application/xpidf+xml, text/xml+msrtc.pidf, \
                    application/pidf+xml, application/rlmi+xml, multipart/related";

/// A SUBSCRIBE of alice's client for bob.
pub(crate) fn subscribe_with(accept: &str) -> Request {
    Request::new("SUBSCRIBE", BOB)
        .with("Event: presence")
        .with(format!("Accept: {accept}"))
        .with("Supported: com.microsoft.autoextend")
        .with("Supported: ms-piggyback-first-notify")
        .with("Supported: ms-benotify")
        .with("Proxy-Require: ms-benotify")
        .with("ms-user-data: ms-publiccloud=true;ms-federation=true")
        .with(format!("Contact: {HERE}"))
        .with("Expires: 28800")
}

/// The last NOTIFY to a client with this Accept: bob is busy and says why.
fn told_of_bob(accept: &str) -> (Option<String>, String) {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, subscribe_with(accept).bytes());
    assert_eq!(answer.status(), Some(200), "{answer}");
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    let busy = "<show>dnd</show><status>Not now</status>";
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "xml:lang='en'", busy));
    house.advance(6 * SECOND);
    let notify = house.requests().pop().unwrap();
    (notify.header("Content-Type").map(str::to_owned), notify.body)
}

fn category(name: &str, inside: &str) -> String {
    format!(
        "<category name=\"{name}\" instance=\"0\" publishTime=\"2026-11-20T13:00:00.117\" container=\"100\" \
         version=\"7\">{inside}</category>"
    )
}

pub(crate) fn state(availability: u32, inside: &str) -> String {
    let state = format!(
        "<state xsi:type=\"aggregateState\" lastActive=\"2026-11-20T12:00:00\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\"><availability>{availability}</availability>\
         {inside}<device>computer</device><meetingSubject>Merger</meetingSubject></state>"
    );
    category("state", &state)
}

pub(crate) fn note(text: &str) -> String {
    let note = format!(
        "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">{text}</body>\
         <body type=\"OOF\" uri=\"\">In Rome</body></note>"
    );
    category("note", &note)
}

/// A document about alice.
pub(crate) fn categories(inside: &[String]) -> String {
    format!(
        "<categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"sip:{ALICE}\">{}</categories>",
        inside.concat()
    )
}

fn notify(dialog: &mut Dialog, media: &str, document: &str) -> Request {
    dialog
        .request("NOTIFY")
        .with(format!("Subscription-State: {OPEN}"))
        .with(format!("Contact: {HERE}"))
        .with(format!("Content-Type: {media}"))
        .with_body(document)
}

#[test]
fn pr_43_a_client_in_the_style_of_lync_is_told_in_categories() {
    let (media, document) = told_of_bob(LYNC);
    assert_eq!(media.as_deref(), Some(CATEGORIES));
    for part in [
        "uri='sip:bob@fabrikam.com'",
        "xsi:type='aggregateState'><availability>9500</availability>",
        "<body type='personal' uri='' xml:lang='en'>Not now</body>",
        "<displayName>bob@fabrikam.com</displayName>",
        "<capabilities><text render='true' capture='true' deviceAvailability='9500'/></capabilities>",
    ] {
        assert!(document.contains(part), "{part}: {document}");
    }
}

#[test]
fn pr_43_everybody_is_told_in_the_first_of_ours_that_he_takes() {
    for (accept, expected, part) in [
        (
            format!("{XPIDF}, {MSRTC}, {PIDF}"),
            MSRTC,
            "<activity aggregate='600' description='' note='Not now'/>",
        ),
        (format!("{XPIDF}, {PIDF}"), PIDF, "<note xml:lang='en'>Not now</note>"),
        (XPIDF.to_owned(), XPIDF, "<status status='inuse'/><msnsubstatus substatus='busy'/>"),
        (PIDF.to_owned(), PIDF, "<note xml:lang='en'>Not now</note>"),
        ("*/*".to_owned(), PIDF, "<note xml:lang='en'>Not now</note>"),
        (format!("{CATEGORIES};q=0.5, {PIDF}"), PIDF, "<note xml:lang='en'>Not now</note>"),
    ] {
        let (media, document) = told_of_bob(&accept);
        assert_eq!(media.as_deref(), Some(expected), "{accept}");
        assert!(document.contains(part), "{accept}: {document}");
    }
}

#[test]
fn pr_43_a_refresh_keeps_the_format() {
    let mut house = house();
    let wire = house.front_end();
    let request = subscribe_with(LYNC);
    let answer = house.ask(wire, request.bytes());
    let mut dialog = Dialog::made(&request, &answer);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(6 * SECOND);
    house.requests();
    // This one names PIDF alone.
    assert_eq!(house.status(wire, &dialog.subscribe(1200)), 200);
    assert_eq!(house.request().header("Content-Type"), Some(CATEGORIES));
}

#[test]
fn pr_43_who_takes_none_of_ours_gets_406() {
    let mut house = house();
    let wire = house.front_end();
    assert_eq!(house.status(wire, &subscribe_with("application/rlmi+xml, multipart/related")), 406);
    assert!(house.told(PARTNER).is_empty());
}

#[test]
fn pr_43_we_ask_for_everything_we_read_categories_first() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    assert_eq!(
        house.request().header("Accept"),
        Some(format!("{CATEGORIES}, {MSRTC}, {PIDF}, {XPIDF}").as_str())
    );
}

#[test]
fn a_contact_sees_state_and_note_of_categories_and_what_is_left_out_stays() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let busy = "<activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/>";
    let all = categories(&[state(6500, busy), note("Working at home"), category("contactCard", "<x/>")]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &all)), 200);
    assert_eq!(house.told(PARTNER), ["subscribed", "available sip dnd Working at home"]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &categories(&[state(15500, "")]))), 200);
    assert_eq!(house.told(PARTNER), ["available sip away Working at home"]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &categories(&[note("")]))), 200);
    assert_eq!(house.told(PARTNER), ["available sip away Away"]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &categories(&[state(18500, "")]))), 200);
    assert_eq!(house.told(PARTNER), ["unavailable"]);
}

#[test]
fn a_contact_sees_what_the_older_documents_say() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let msrtc = format!(
        "<presentity uri=\"{ALICE}\" xmlns=\"http://schemas.microsoft.com/2002/09/sip/presence\">\
         <availability aggregate=\"300\" description=\"\" epid=\"01010101\"/>\
         <activity aggregate=\"150\" description=\"\" note=\"Back at two\"/></presentity>"
    );
    assert_eq!(house.status(wire, &notify(&mut dialog, MSRTC, &msrtc)), 200);
    assert_eq!(house.told(PARTNER), ["subscribed", "available sip away Back at two"]);
    let xpidf = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE presence PUBLIC \"-//IETF//DTD RFCxxxx XPIDF 1.0//EN\" \"xpidf.dtd\">\n\
         <presence><presentity uri=\"sip:{ALICE};method=SUBSCRIBE\"/><atom id=\"1001\"><address uri=\"sip:{ALICE};user=ip\" \
         priority=\"0.800000\"><status status=\"inuse\"/><msnsubstatus substatus=\"onthephone\"/></address></atom></presence>"
    );
    assert_eq!(house.status(wire, &notify(&mut dialog, XPIDF, &xpidf)), 200);
    assert_eq!(house.told(PARTNER), ["available sip dnd In a call"]);
}

#[test]
fn trust_a_public_contact_gets_the_show_of_categories_and_no_text() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks("vera@verified.example");
    let custom = "<activity token=\"on-the-phone\"><custom LCID=\"1033\">Helpline</custom></activity>";
    let all = categories(&[state(6500, custom), note("Working at home")]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &all)), 200);
    let stanzas = house.stanzas("verified.example");
    let kinds: Vec<_> = stanzas.iter().map(short).collect();
    let seen = format!("available {} dnd", veiled("vera@verified.example", "sip"));
    assert_eq!(kinds, ["subscribed", &seen]);
    for text in ["Helpline", "Working", "In a call", "Rome", "Merger"] {
        assert!(stanzas.iter().all(|stanza| !stanza.raw.contains(text)), "{text}");
    }
}

#[test]
fn pd_10_what_cannot_be_read_is_refused_and_changes_nothing() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let away = categories(&[state(15500, "")]);
    assert_eq!(house.status(wire, &notify(&mut dialog, CATEGORIES, &away)), 200);
    house.told(PARTNER);
    let entity = format!("<!DOCTYPE categories [<!ENTITY a 'b'>]>{}", categories(&[state(3500, "")]));
    for (media, document, status) in [
        (CATEGORIES, entity.as_str(), 400),
        (MSRTC, away.as_str(), 400),
        (XPIDF, "<!DOCTYPE presence SYSTEM 'file:///etc/passwd'><presence/>", 400),
        ("application/rlmi+xml", "<list/>", 415),
    ] {
        assert_eq!(house.status(wire, &notify(&mut dialog, media, document)), status, "{media}");
    }
    assert!(house.told(PARTNER).is_empty());
}
