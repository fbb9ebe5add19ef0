//! Presence documents: what hostile ones cost, and how ours look.

use nuncio_translate::address::Contact;
use nuncio_translate::presence::document::{Context, DocumentError, LIMITS, Stamp};
use nuncio_translate::presence::pidf;
use nuncio_translate::presence::{Availability, MAX_NOTE, MAX_NOTES, MAX_RESOURCES, MAX_TUPLES};
use nuncio_translate::presence::{Notes, Presentity, Resource, Show};
use nuncio_xmpp::{BareJid, Element, ReadErrorKind, ns};
use proptest::prelude::*;

const STAMP: u64 = 1_795_183_385_042;

fn read(document: &str) -> Result<Presentity, DocumentError> {
    pidf::read(document.as_bytes(), Context { idle: true, now_ms: STAMP, ..Context::default() })
}

fn xml_error(document: &str) -> ReadErrorKind {
    match read(document) {
        Err(DocumentError::Xml(error)) => error.kind,
        other => panic!("{other:?}"),
    }
}

fn presence(inner: &str) -> String {
    format!("<presence xmlns='{}' entity='sip:r@c.example'>{inner}</presence>", ns::PIDF)
}

fn tuple(id: usize, inner: &str) -> String {
    format!("<tuple id='t{id}'><status><basic>open</basic></status>{inner}</tuple>")
}

fn written(state: &Presentity) -> String {
    let contact = Contact::from_jid(&BareJid::parse("juliet@fabrikam.example").unwrap()).unwrap();
    let mut out = b"before".to_vec();
    pidf::write(&contact, state, Stamp::at(STAMP), &mut out);
    String::from_utf8(out.split_off("before".len())).unwrap()
}

/// A contact with everything one usually has.
fn usual() -> Resource {
    let mut resource = Resource::new("Conversations.a7Rq", Availability::Open);
    resource.show = Some(Show::Away);
    resource.priority = Some(50);
    resource.set_idle_since(Some(STAMP / 1000 - 600));
    let mut notes = Notes::default();
    notes.add(Some("en"), "Back in ten minutes");
    resource.set_notes(notes);
    resource
}

#[test]
fn pd_10_entities_do_not_grow() {
    let entities: String =
        (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
    let bomb = format!("<!DOCTYPE p [<!ENTITY l0 'lol'>{entities}]>{}", presence("<note>&l9;</note>"));
    assert_eq!(xml_error(&bomb), ReadErrorKind::Doctype);
}

#[test]
fn pd_10_external_entities_are_not_looked_for() {
    let external = format!("<!DOCTYPE p SYSTEM 'file:///etc/passwd'>{}", presence(""));
    assert_eq!(xml_error(&external), ReadErrorKind::Doctype);
    assert_eq!(xml_error(&presence("<note>&xxe;</note>")), ReadErrorKind::EntityReference);
}

#[test]
fn pd_10_depth_is_limited() {
    let deep = |depth: usize| presence(&format!("{}{}", "<x>".repeat(depth - 1), "</x>".repeat(depth - 1)));
    assert_eq!(read(&deep(LIMITS.depth)), Ok(Presentity::default()));
    assert_eq!(xml_error(&deep(LIMITS.depth + 1)), ReadErrorKind::TooDeep);
    assert_eq!(xml_error(&deep(50_000)), ReadErrorKind::TooDeep);
}

#[test]
fn pd_10_elements_attributes_and_octets_are_limited() {
    let many = |elements: usize| presence(&"<x/>".repeat(elements - 1));
    assert_eq!(read(&many(LIMITS.elements)), Ok(Presentity::default()));
    assert_eq!(xml_error(&many(LIMITS.elements + 1)), ReadErrorKind::TooManyElements);

    let attributes = |count: usize| {
        presence(&format!("<x {}/>", (0..count).map(|n| format!("a{n}=''")).collect::<Vec<_>>().join(" ")))
    };
    assert_eq!(read(&attributes(LIMITS.attributes)), Ok(Presentity::default()));
    assert_eq!(xml_error(&attributes(LIMITS.attributes + 1)), ReadErrorKind::TooManyAttributes);

    let around = presence("").len();
    let long = |octets: usize| presence(&"x".repeat(octets - around));
    assert_eq!(read(&long(LIMITS.stanza)), Ok(Presentity::default()));
    let too_long = read(&long(LIMITS.stanza + 1)).unwrap_err();
    assert_eq!(too_long.status(), 413, "{too_long}");
}

#[test]
fn the_limit_of_tuples_passes_and_one_more_does_not() {
    let tuples = |count| presence(&(0..count).map(|id| tuple(id, "")).collect::<String>());
    assert_eq!(read(&tuples(MAX_TUPLES)).map(|state| state.resources.len()), Ok(MAX_RESOURCES));
    assert_eq!(read(&tuples(MAX_TUPLES + 1)), Err(DocumentError::TooManyTuples));
}

#[test]
fn where_a_user_can_be_reached_is_kept_when_not_all_can_be() {
    let closed = |id| format!("<tuple id='c{id}'><status><basic>closed</basic></status></tuple>");
    let tuples = (0..MAX_RESOURCES).map(closed).chain((0..MAX_RESOURCES).map(|id| tuple(id, "")));
    let state = read(&presence(&tuples.collect::<String>())).unwrap();
    assert_eq!(state.open().count(), MAX_RESOURCES);
}

#[test]
fn the_largest_document_of_the_largest_notes_is_read() {
    let note = |lang: usize| format!("<note xml:lang='x-{lang}'>{}</note>", "n".repeat(MAX_NOTE + 1));
    let notes: String = (0..=MAX_NOTES).map(note).collect();
    let tuples: String = (0..MAX_TUPLES - 8).map(|id| tuple(id, &notes)).collect();
    let state = read(&presence(&tuples)).unwrap();
    assert_eq!(state.resources[0].notes().iter().len(), MAX_NOTES);
    assert!(state.resources[0].notes().iter().all(|note| note.text.len() == MAX_NOTE));
}

#[test]
fn pd_01_the_root_says_what_it_is_and_whose() {
    let document = written(&Presentity { resources: vec![usual()] });
    assert!(document.starts_with("<?xml version='1.0' encoding='UTF-8'?><presence "));
    let root = Element::parse_document(document.as_bytes(), &LIMITS).unwrap();
    assert!(root.is("presence", ns::PIDF));
    assert_eq!(root.attr("entity"), Some("pres:juliet@fabrikam.example"));
}

#[test]
fn pd_02_what_a_tuple_holds_stands_in_its_order() {
    let root = Element::parse_document(written(&Presentity { resources: vec![usual()] }).as_bytes(), &LIMITS)
        .unwrap();
    let tuple = root.child("tuple", ns::PIDF).unwrap();
    let names: Vec<_> = tuple.elements().map(Element::name).collect();
    assert_eq!(names, ["status", "user-input", "contact", "note", "timestamp"]);
    let status: Vec<_> = tuple.child("status", ns::PIDF).unwrap().elements().map(Element::name).collect();
    assert_eq!(status, ["basic", "show"]);
    let all: Vec<_> = root.elements().map(Element::name).collect();
    assert_eq!(all, ["tuple", "person"]);
}

#[test]
fn a_usual_document_is_small() {
    let without_idle = {
        let mut resource = usual();
        resource.set_idle_since(None);
        resource
    };
    let length = written(&Presentity { resources: vec![without_idle] }).len();
    assert!(length <= 600, "{length} octets");
}

#[test]
fn pr_35_a_contact_of_whom_nothing_is_known_is_closed() {
    let document = written(&Presentity::default());
    let state = read(&document).unwrap();
    assert_eq!(state.resources.len(), 1, "{document}");
    assert_eq!(state.resources[0].availability, Availability::Closed);
}

#[test]
fn pd_05_no_two_documents_have_one_timestamp() {
    let stamp = Stamp::at(STAMP);
    assert_eq!(stamp.unix_ms(), STAMP);
    assert_eq!(stamp.next(STAMP).unix_ms(), STAMP + 1);
    assert_eq!(Stamp::at(STAMP + 5).next(STAMP).unix_ms(), STAMP + 6, "the clock was set back");
}

#[test]
fn pd_05_no_two_documents_have_one_version() {
    let second = u32::try_from(STAMP / 1000).unwrap();
    let stamp = Stamp::at(STAMP);
    assert_eq!(stamp.version(), second);
    assert_eq!(stamp.next(STAMP + 1).version(), second + 1, "of one second");
    assert_eq!(stamp.next(STAMP).next(STAMP).version(), second + 2);
    assert_eq!(stamp.next(STAMP).next(STAMP + 60_000).version(), second + 60);
    assert_eq!(Stamp::at(STAMP + 5_000).next(STAMP).version(), second + 6, "the clock was set back");
}

#[test]
fn pm_06_the_language_of_all_notes_is_the_language_of_the_document() {
    let with = |langs: &[Option<&str>]| {
        let resources = langs.iter().enumerate().map(|(number, lang)| {
            let mut resource = Resource::new(number.to_string(), Availability::Open);
            let mut notes = Notes::default();
            notes.add(*lang, "note");
            resource.set_notes(notes);
            resource
        });
        Presentity { resources: resources.collect() }
    };
    assert_eq!(with(&[Some("de"), Some("de")]).language(), Some("de"));
    for mixed in [&[Some("de"), Some("en")][..], &[Some("de"), None], &[None], &[]] {
        assert_eq!(with(mixed).language(), None);
    }
}

fn resource() -> impl Strategy<Value = Resource> {
    let show =
        prop::sample::select(vec![None, Some(Show::Away), Some(Show::Chat), Some(Show::Dnd), Some(Show::Xa)]);
    // XML has no way to write the two noncharacters.
    let text = any::<String>().prop_map(|text| text.replace(['\u{fffe}', '\u{ffff}'], ""));
    let notes = prop::collection::vec((prop::option::of("[a-z]{2}(-[A-Z]{2})?"), text), 0..10);
    (show, prop::option::of(any::<i8>()), notes, prop::option::of(0..STAMP / 1000)).prop_map(
        |(show, priority, texts, idle)| {
            let mut resource = Resource::new("", Availability::Open);
            (resource.show, resource.priority) = (show, priority);
            resource.set_idle_since(idle);
            let mut notes = Notes::default();
            texts.iter().for_each(|(lang, text)| notes.add(lang.as_deref(), text));
            resource.set_notes(notes);
            resource
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 200 } else { 20_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_is_read_again(resources in prop::collection::vec(resource(), 1..MAX_RESOURCES)) {
        let mut state = Presentity { resources };
        for (number, resource) in state.resources.iter_mut().enumerate() {
            resource.id = compact_str::format_compact!("{number} é_");
        }
        let mut read = read(&written(&state)).unwrap();
        for (read, known) in read.resources.iter_mut().zip(&mut state.resources) {
            // What has no place in a tuple: negative priorities; activities are the person's.
            known.priority = known.priority.filter(|priority| *priority >= 0);
            read.set_activity(None, None);
            // Activities of the best resource count where there is no show.
            read.show = if known.show.is_none() { None } else { read.show };
            prop_assert_eq!(read.updated_ms(), Some(STAMP));
            read.set_updated_ms(None);
        }
        prop_assert_eq!(read, state);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = pidf::read(&bytes, Context::default()) {
            prop_assert!(matches!(error.status(), 400 | 413 | 415));
        }
    }
}
