//! Documents that come in parts, and formats that were chosen.

use std::time::Duration;

use nuncio_sip::HeaderName;
use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::*;
use nuncio_translate::presence::Format;
use nuncio_translate::presence::document::LIMITS;
use nuncio_xmpp::{Element, ns};

use super::user_watches::notified;
use crate::pair_rig::*;

const MINUTE: Duration = Duration::from_secs(60);
const ACTIVE: &str = "active;expires=3600";

fn categories(inside: &[&str]) -> String {
    format!("<categories xmlns='{}'>{}</categories>", ns::CATEGORIES, inside.concat())
}

fn state(availability: u32) -> String {
    let xmlns = ns::CATEGORY_STATE;
    format!(
        "<category name='state'><state xmlns='{xmlns}'><availability>{availability}</availability></state></category>"
    )
}

fn note(text: &str) -> String {
    let xmlns = ns::CATEGORY_NOTE;
    format!(
        "<category name='note'><note xmlns='{xmlns}'><body type='personal'>{text}</body></note></category>"
    )
}

/// The front end accepts the SUBSCRIBE that came last.
fn accept(rig: &mut Rig) -> Remote {
    let subscribe = rig.request();
    rig.respond(&subscribe, 200, "Expires: 3600\r\n");
    Remote::of(&subscribe, "fe")
}

fn notify(rig: &mut Rig, dialog: &mut Remote, state: &str, inside: &[&str]) {
    let document = if inside.is_empty() { String::new() } else { categories(inside) };
    let number = rig.in_dialog(&dialog.notify_in(Format::Categories, state, &document));
    assert_eq!(rig.status(number), 200);
}

/// What the contact was sent since the last look: type, resource, show, status.
fn told(rig: &mut Rig) -> Vec<String> {
    let status = |stanza: &ToXmpp| {
        let element = parse(stanza);
        let status = element.child("status", ns::SERVER).map(Element::text).unwrap_or_default();
        format!("{} {status}", crate::pair_rig::told(stanza)).trim_end().to_owned()
    };
    std::mem::take(&mut rig.stanzas).iter().map(status).collect()
}

/// The contact sees the SIP user, available and with a note.
fn seen() -> (Rig, Remote) {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(3500), &note("reading")]);
    assert_eq!(told(&mut rig), ["subscribed", "available sip reading"]);
    (rig, dialog)
}

#[test]
fn what_a_part_leaves_out_stays() {
    let (mut rig, mut dialog) = seen();
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(15500)]);
    assert_eq!(told(&mut rig), ["available sip away reading"]);
    notify(&mut rig, &mut dialog, ACTIVE, &[&note("writing")]);
    assert_eq!(told(&mut rig), ["available sip away writing"]);
}

/// A personal note that holds between these times of the day on which the rig starts, at eight.
fn note_within(text: &str, start: &str, end: &str) -> String {
    let day = |time: &str| if time.is_empty() { String::new() } else { format!("2027-01-15T{time}:00") };
    let bounds = format!("type='personal' startTime='{}' endTime='{}'", day(start), day(end));
    note(text).replace("type='personal'", &bounds)
}

#[test]
fn a_note_goes_when_its_time_is_over_and_comes_when_it_begins() {
    let (mut rig, mut dialog) = seen();
    let breakfast = note_within("breakfast", "", "08:30");
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(15500), &breakfast]);
    assert_eq!(told(&mut rig), ["available sip away breakfast"]);
    rig.pass(29 * MINUTE);
    assert_eq!(told(&mut rig), [""; 0]);
    // What comes meanwhile and does not speak of the note leaves its end to it.
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(3500)]);
    assert_eq!(told(&mut rig), ["available sip breakfast"]);
    rig.pass(MINUTE);
    assert_eq!(told(&mut rig), ["available sip"]);
    notify(&mut rig, &mut dialog, ACTIVE, &[&note_within("lunch", "08:35", "08:45")]);
    assert_eq!(told(&mut rig), [""; 0]);
    for expected in ["available sip lunch", "available sip"] {
        rig.pass(10 * MINUTE);
        assert_eq!(told(&mut rig), [expected]);
    }
}

#[test]
fn a_note_that_was_taken_back_does_not_begin() {
    let (mut rig, mut dialog) = seen();
    notify(&mut rig, &mut dialog, ACTIVE, &[&note_within("lunch", "08:10", "13:00")]);
    assert_eq!(told(&mut rig), ["available sip"]);
    notify(&mut rig, &mut dialog, ACTIVE, &["<category name='note' instance='0'/>"]);
    rig.pass(20 * MINUTE);
    assert_eq!(told(&mut rig), [""; 0]);
}

#[test]
fn pd_08_an_activity_ends_when_it_says_so() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let mut dialog = accept(&mut rig);
    let activity = "<activities xmlns='urn:ietf:params:xml:ns:pidf:rpid' until='2027-01-15T08:20:00Z'><on-the-phone/></activities>";
    let document = pidf(&[("desk", true, "", "")]).replace(
        "</tuple>",
        &format!("</tuple><person xmlns='{}' id='p'>{activity}</person>", ns::PIDF_DATA_MODEL),
    );
    let number = rig.in_dialog(&dialog.notify_in(Format::Pidf, ACTIVE, &document));
    assert_eq!(rig.status(number), 200);
    assert_eq!(told(&mut rig), ["subscribed", "available desk dnd"]);
    rig.pass(20 * MINUTE);
    assert_eq!(told(&mut rig), ["available desk"]);
}

#[test]
fn pr_04_active_without_a_document_takes_everything_back() {
    let (mut rig, mut dialog) = seen();
    notify(&mut rig, &mut dialog, ACTIVE, &[]);
    assert_eq!(told(&mut rig), ["unavailable"]);
}

#[test]
fn a_part_is_not_added_to_what_an_earlier_subscription_told() {
    let (mut rig, mut dialog) = seen();
    rig.pass(2 * MINUTE);
    notify(&mut rig, &mut dialog, "terminated;reason=timeout", &[]);
    rig.pass_until_request(MINUTE);
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(15500)]);
    assert_eq!(told(&mut rig), ["available sip away Away"], "the note may be gone");
}

#[test]
fn a_part_without_state_shows_nobody_and_takes_nobody_back() {
    let mut rig = Rig::new(PartnerType::Federated);
    rig.stanza("", "type='subscribe'", "");
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, ACTIVE, &[&note("reading")]);
    assert_eq!(told(&mut rig), ["subscribed"]);
    // After a crash only the name of what was shown is known.
    let (mut rig, dialog) = seen();
    rig.crash();
    let refresh = rig.request();
    rig.respond(&refresh, 200, "Expires: 3600\r\n");
    let mut dialog = Remote { cseq: dialog.cseq, ..Remote::of(&refresh, "fe") };
    told(&mut rig);
    notify(&mut rig, &mut dialog, ACTIVE, &[&note("writing")]);
    assert_eq!(told(&mut rig), [""; 0]);
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(9500), &note("writing")]);
    assert_eq!(told(&mut rig), ["available sip dnd writing"]);
}

#[test]
fn trust_a_public_partner_gets_no_text_of_a_part() {
    let mut rig = Rig::new(PartnerType::PublicVerified);
    rig.stanza("", "type='subscribe'", "");
    let mut dialog = accept(&mut rig);
    notify(&mut rig, &mut dialog, ACTIVE, &[&state(15500), &note("reading")]);
    assert_eq!(told(&mut rig), ["subscribed", "available b2751edf07bc6b5f away"]);
    notify(&mut rig, &mut dialog, ACTIVE, &[&note("writing")]);
    assert_eq!(told(&mut rig), [""; 0]);
}

/// The media types of the NOTIFYs with a document since the last look.
fn media(rig: &mut Rig) -> Vec<String> {
    let requests = rig.answer_all(200);
    let media = |request| message(request).header(HeaderName::ContentType).map(str::to_owned);
    requests.iter().filter_map(media).collect()
}

#[test]
fn pr_43_the_format_of_a_watcher_outlives_refreshes_and_the_process() {
    for format in Format::ALL {
        let mut rig = Rig::new(PartnerType::Federated);
        let mut endpoint = Remote::endpoint("c1");
        let request = endpoint.subscribe_for(format, 3600);
        let number = rig.subscribe(&request, "epid1");
        assert_eq!(rig.status(number), 200);
        endpoint.gateway_tag = rig.newest_tag();
        notified(&mut rig);
        rig.stanza("", "type='subscribed'", "");
        rig.stanza("/garden", "", "");
        rig.pass(MINUTE);
        rig.stanza("/garden", "", "<show>away</show>");
        rig.pass(MINUTE);
        let before = media(&mut rig);
        assert!(!before.is_empty() && before.iter().all(|media| media == format.media_type()), "{before:?}");
        // A refresh that names another one.
        let number = rig.in_dialog(&endpoint.subscribe_for(Format::Pidf, 3600));
        assert_eq!(rig.status(number), 200);
        assert_eq!(media(&mut rig), [format.media_type()]);
        rig.crash();
        rig.answer_all(200);
        rig.stanza("/garden", "", "<show>dnd</show>");
        rig.pass(MINUTE);
        assert_eq!(media(&mut rig).last().map(String::as_str), Some(format.media_type()));
    }
}

/// The versions of the NOTIFYs in categories since the last look: each of them is the same in all categories of a document.
fn versions(rig: &mut Rig) -> Vec<u64> {
    let requests = rig.answer_all(200);
    let bodies = requests.iter().map(|request| message(request).body()).filter(|body| !body.is_empty());
    let version = |body: &[u8]| {
        let root = Element::parse_document(body, &LIMITS).unwrap();
        let mut versions: Vec<_> =
            root.elements().map(|category| category.attr("version").unwrap()).collect();
        versions.dedup();
        assert_eq!(versions.len(), 1, "{versions:?}");
        versions[0].parse().unwrap()
    };
    bodies.map(|body| version(&body)).collect()
}

#[test]
fn pd_05_documents_of_one_second_have_versions_that_grow() {
    let mut rig = Rig::new(PartnerType::Federated);
    let mut endpoint = Remote::endpoint("c1");
    let number = rig.subscribe(&endpoint.subscribe_for(Format::Categories, 3600), "epid1");
    assert_eq!(rig.status(number), 200);
    endpoint.gateway_tag = rig.newest_tag();
    notified(&mut rig);
    rig.stanza("", "type='subscribed'", "");
    rig.stanza("/garden", "", "");
    rig.pass(Duration::from_secs(10));
    let mut seen = versions(&mut rig);
    assert!(!seen.is_empty());
    for _ in 0..3 {
        // Each is answered with a document at once (RFC 6665 §4.2.1.2).
        let number = rig.in_dialog(&endpoint.subscribe_for(Format::Categories, 3600));
        assert_eq!(rig.status(number), 200);
        seen.extend(versions(&mut rig));
    }
    assert!(seen.len() >= 4 && seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}
