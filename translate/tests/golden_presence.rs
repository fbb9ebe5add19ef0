//! Golden pairs of presence: documents beside stanzas, both directions.
//!
//! Each file of `golden_presence/` holds one case: a line that says what it shows, options, then steps. A step is a section
//! with what comes in, and one with what goes out because of it. Lines are joined, but those of a document that comes in. A
//! section with a document is named by its format.
//!
//! The user is `romeo@contoso.com`, the contact `juliet@fabrikam.com`.

mod golden_case;

use nuncio_translate::address::Contact;
use nuncio_translate::presence::document::Stamp;
use nuncio_translate::presence::{
    Disclosure, Format, Presentity, Show, Shown, Veil, document, from_xmpp, to_xmpp,
};
use nuncio_translate::time;
use nuncio_xmpp::{BareJid, Element, Jid, ReadLimits};

use golden_case::{Case, for_each_case};

/// What comes in, and what goes out because of it: name and content of each.
fn steps(case: &Case) -> &[[(String, String); 2]] {
    let (steps, rest) = case.sections.as_chunks::<2>();
    assert!(rest.is_empty() && !steps.is_empty(), "{}: sections in pairs", case.name);
    steps
}

fn now_ms(case: &Case) -> u64 {
    case.option("now").map_or(1_795_183_385_042, |now| time::parse(now).unwrap())
}

/// A line that begins with blanks goes on with the tag of the one before it, unless it begins an element.
fn joined(section: &str) -> String {
    let mut whole = String::new();
    for line in section.lines() {
        let content = line.trim_start();
        if content.len() < line.len() && !content.starts_with('<') {
            whole.push(' ');
        }
        whole.push_str(content);
    }
    whole
}

/// The format that a section is named by.
fn format(name: &str) -> Format {
    match name {
        "categories" => Format::Categories,
        "msrtc" => Format::Msrtc,
        "pidf" => Format::Pidf,
        "xpidf" => Format::Xpidf,
        other => panic!("a section named {other}"),
    }
}

fn check_from_sip(case: &Case) {
    let disclosure = match case.option("partner") {
        None | Some("federated") => Disclosure::Full,
        Some("public") => Disclosure::BasicOnly(Veil::default()),
        Some(other) => panic!("{}: partner {other}", case.name),
    };
    let from = BareJid::parse("romeo@contoso.com").unwrap();
    let to = Jid::parse("juliet@fabrikam.com").unwrap();
    let (mut known, mut shown) = (Presentity::default(), Shown::default());
    for [(kind_of_document, document), (kind, expected)] in steps(case) {
        let mut out = Vec::new();
        let context = document::Context {
            charset: case.option("charset"),
            language: case.option("language"),
            idle: case.option("idle") == Some("yes"),
            now_ms: now_ms(case),
            known: Some(&known),
        };
        let read = format(kind_of_document).read(document.as_bytes(), context);
        if kind == "refused" {
            let refusal = read.expect_err(&case.name);
            assert_eq!(&format!("{} {refusal}", refusal.status()), expected, "{}", case.name);
            continue;
        }
        let read = read.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(read.is_none(), kind == "nothing", "{}", case.name);
        let Some(read) = read else { continue };
        known.supersede(read);
        for update in shown.update(&known, disclosure) {
            let ends = to_xmpp::Ends { from: &from, to: &to, id: "" };
            to_xmpp::write_update(&update, ends, disclosure, &mut out);
        }
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written, joined(expected), "{}", case.name);
        // What we write, we can read.
        let stream = format!("<stream xmlns='jabber:server'>{written}</stream>");
        for stanza in Element::parse_document(stream.as_bytes(), &ReadLimits::default()).unwrap().elements() {
            let from = Jid::parse(stanza.attr("from").unwrap()).unwrap();
            let reading = from_xmpp::read(stanza, from.resource(), from_xmpp::Context::default());
            assert!(matches!(reading, from_xmpp::Reading::Presence(_)), "{}", case.name);
        }
    }
}

fn check_from_xmpp(case: &Case) {
    let context = from_xmpp::Context {
        language: case.option("language"),
        idle: case.option("idle") == Some("yes"),
        now_ms: now_ms(case),
    };
    let mut known = Presentity::default();
    let mut stamp = Stamp::default();
    for [(_, stanza), (kind, expected)] in steps(case) {
        let stanza = Element::parse_document(joined(stanza).as_bytes(), &ReadLimits::default()).unwrap();
        let from = Jid::parse(stanza.attr("from").unwrap()).unwrap();
        let contact = Contact::from_jid(&from.bare()).unwrap();
        let reading = from_xmpp::read(&stanza, from.resource(), context);
        let from_xmpp::Reading::Presence(report) = reading else { panic!("{}: {reading:?}", case.name) };
        let changed = known.report(report);
        if kind == "nothing" {
            assert!(!changed, "{}", case.name);
            continue;
        }
        assert!(changed, "{}", case.name);
        stamp = stamp.next(now_ms(case));
        let mut out = Vec::new();
        let format = format(kind);
        format.write(&contact, &known, stamp, &mut out);
        let written = String::from_utf8(out).unwrap();
        assert_eq!(written, joined(expected), "{}", case.name);
        // What we write, we can read; only what has no place in it is lost.
        let context = document::Context { idle: true, now_ms: now_ms(case), ..document::Context::default() };
        let read = format.read(written.as_bytes(), context).unwrap().unwrap();
        match format {
            Format::Pidf => every_resource_comes_back(case, &read, &known, stamp),
            _ => the_whole_comes_back(case, format, &read, &known),
        }
    }
}

fn every_resource_comes_back(case: &Case, read: &Presentity, known: &Presentity, stamp: Stamp) {
    assert_eq!(read.open().count(), known.open().count(), "{}", case.name);
    for (read, known) in read.open().zip(known.open()) {
        assert_eq!((&read.id, read.show), (&known.id, known.show), "{}", case.name);
        assert_eq!(read.priority, known.priority.filter(|priority| *priority >= 0), "{}", case.name);
        assert_eq!((read.notes(), read.idle_since()), (known.notes(), known.idle_since()), "{}", case.name);
        assert_eq!(read.updated_ms(), Some(stamp.unix_ms()), "{}", case.name);
    }
}

fn the_whole_comes_back(case: &Case, format: Format, read: &Presentity, known: &Presentity) {
    let [resource] = &read.resources[..] else { panic!("{}: {read:?}", case.name) };
    assert_eq!(read.is_open(), known.is_open(), "{}", case.name);
    let as_a_whole = |show: Option<Show>| match show {
        Some(Show::Xa) => Some(Show::Away),
        Some(Show::Chat) => None,
        other => other,
    };
    let shows: Vec<_> = known.open().map(|resource| as_a_whole(resource.show)).collect();
    assert!(!read.is_open() || shows.contains(&resource.show), "{}", case.name);
    let notes: Vec<_> = known.resources.iter().flat_map(|resource| resource.notes().iter()).collect();
    let note = resource.notes().iter().next();
    assert!(note.is_none_or(|note| notes.iter().any(|known| known.text == note.text)), "{}", case.name);
    assert!(note.is_none() || format != Format::Xpidf, "{}", case.name);
}

#[test]
fn golden_presence() {
    let (from_sip, from_xmpp) = for_each_case("golden_presence", check_from_sip, check_from_xmpp);
    assert!(from_sip >= 30 && from_xmpp >= 10, "{from_sip}, {from_xmpp}");
}
