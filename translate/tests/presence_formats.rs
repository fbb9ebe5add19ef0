//! Documents of front ends in the style of Lync: the tables of `docs/mapping.md` are true, and what hostile ones cost.

use std::path::Path;

use nuncio_translate::address::Contact;
use nuncio_translate::presence::document::{Context, DocumentError, LIMITS, Stamp};
use nuncio_translate::presence::{
    Availability, Format, MAX_FORESEEN, Notes, Presentity, Resource, Show, WHOLE,
};
use nuncio_xmpp::{BareJid, Element, ReadErrorKind, ns};
use proptest::prelude::*;

const STAMP: u64 = 1_795_183_385_042;

fn context() -> Context<'static> {
    Context { idle: true, now_ms: STAMP, ..Context::default() }
}

fn read(format: Format, document: &str) -> Result<Option<Presentity>, DocumentError> {
    format.read(document.as_bytes(), context())
}

/// What the document says of the whole user.
fn whole(format: Format, document: &str) -> Resource {
    let Presentity { mut resources } = read(format, document).unwrap().unwrap();
    assert_eq!(resources.len(), 1, "{document}");
    resources.pop().filter(|resource| resource.id == WHOLE).unwrap()
}

fn written(format: Format, state: &Presentity) -> String {
    let contact = Contact::from_jid(&BareJid::parse("juliet@fabrikam.example").unwrap()).unwrap();
    let mut out = b"before".to_vec();
    format.write(&contact, state, Stamp::at(STAMP), &mut out);
    String::from_utf8(out.split_off("before".len())).unwrap()
}

fn categories(inside: &str) -> String {
    format!("<categories xmlns='{}' uri='sip:r@c.example'>{inside}</categories>", ns::CATEGORIES)
}

fn state(availability: impl std::fmt::Display, inside: &str) -> String {
    let state = ns::CATEGORY_STATE;
    categories(&format!(
        "<category name='state'><state xmlns='{state}'><availability>{availability}</availability>{inside}</state></category>"
    ))
}

fn msrtc(availability: impl std::fmt::Display, activity: impl std::fmt::Display) -> String {
    format!(
        "<presentity xmlns='{}'><availability aggregate='{availability}'/><activity aggregate='{activity}'/></presentity>",
        ns::MSRTC
    )
}

fn xpidf(status: &str, substatus: &str) -> String {
    let substatus = match substatus {
        "–" => String::new(),
        word => format!("<msnsubstatus substatus='{word}'/>"),
    };
    format!(
        "<!DOCTYPE presence><presence><atom><address><status status='{status}'/>{substatus}</address></atom></presence>"
    )
}

/// The rows of the table of `docs/mapping.md` that has this header.
fn table<const N: usize>(header: &str) -> Vec<[String; N]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mapping.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| *line != header).skip(2);
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{line}"))
    };
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).map(row).collect();
    assert!(!rows.is_empty(), "{header}");
    rows
}

/// A state is as the table of states says.
fn assert_is(resource: &Resource, state: &str, case: &str) {
    let states = table::<3>("| State | Show | Words where the document has neither note nor words |");
    let [_, show, words] =
        states.iter().find(|[name, ..]| name == state).unwrap_or_else(|| panic!("{state}"));
    let seen = match resource.availability {
        Availability::Open => resource.show.map_or("–", Show::as_str),
        Availability::Closed => "`unavailable`",
    };
    assert_eq!((seen, resource.activity_text().unwrap_or("–")), (show.as_str(), words.as_str()), "{case}");
}

/// Both ends of `from–to`.
fn ends(range: &str) -> [u32; 2] {
    let (from, to) = range.split_once('–').unwrap();
    [from.parse().unwrap(), to.parse().unwrap()]
}

/// The ranges leave no gap.
fn assert_whole<const N: usize>(table: &[[String; N]]) {
    assert_eq!(ends(&table[0][0])[0], 0);
    assert_eq!(ends(&table.last().unwrap()[0])[1], u32::MAX);
    for pair in table.windows(2) {
        assert_eq!(ends(&pair[0][0])[1] + 1, ends(&pair[1][0])[0]);
    }
}

#[test]
fn the_table_of_availabilities_is_true() {
    let table = table::<2>("| Availability | State |");
    assert_whole(&table);
    for [range, expected] in table {
        for availability in ends(&range) {
            assert_is(&whole(Format::Categories, &state(availability, "")), &expected, &range);
        }
    }
}

#[test]
fn the_table_of_tokens_is_true() {
    let table = table::<3>("| Token of the activity | Words | Words in the document |");
    assert_eq!(table.len(), 7);
    for [token, words, others] in table {
        let token = token.trim_matches('`');
        let busy = whole(Format::Categories, &state(6500, &format!("<activity token='{token}'/>")));
        assert_eq!((busy.show, busy.activity_text()), (Some(Show::Dnd), Some(words.as_str())), "{token}");
        let away = whole(Format::Categories, &state(15500, &format!("<activity token='{token}'/>")));
        let xa = matches!(token, "out-of-office" | "off-work");
        assert_eq!(away.show, Some(if xa { Show::Xa } else { Show::Away }), "{token}");
        let custom = format!("<activity token='{token}'><custom>own</custom></activity>");
        let expected = match others.as_str() {
            "shown instead" => "own",
            "never read" => words.as_str(),
            other => panic!("{other}"),
        };
        assert_eq!(
            whole(Format::Categories, &state(6500, &custom)).activity_text(),
            Some(expected),
            "{token}"
        );
    }
}

#[test]
fn the_table_of_activities_of_msrtc_is_true() {
    let table = table::<2>("| Activity | State |");
    assert_whole(&table);
    for [range, expected] in table {
        for activity in ends(&range) {
            assert_is(&whole(Format::Msrtc, &msrtc(300, activity)), &expected, &range);
            assert_is(&whole(Format::Msrtc, &msrtc(100, activity)), &expected, &range);
            assert_is(&whole(Format::Msrtc, &msrtc(99, activity)), "Offline", &range);
        }
    }
}

#[test]
fn the_table_of_substatuses_is_true() {
    for [status, substatus, expected] in table::<3>("| Status | Substatus | State |") {
        let case = format!("{status} {substatus}");
        assert_is(&whole(Format::Xpidf, &xpidf(&status, &substatus)), &expected, &case);
    }
}

#[test]
fn the_table_of_what_a_contact_becomes_is_true() {
    let header = "| Contact | availability in categories | availability and activity in MSRTC | status and substatus in XPIDF |";
    let table = table::<4>(header);
    assert_eq!(table.len(), 6, "each show, none, and unavailable");
    for [contact, availability, in_msrtc, in_xpidf] in table {
        let open = if contact == "unavailable" { Availability::Closed } else { Availability::Open };
        let mut resource = Resource::new("a", open);
        resource.show = Show::from_word(&contact);
        let known = Presentity { resources: vec![resource] };
        let has = |format: Format, part: String| {
            let document = written(format, &known);
            assert!(document.contains(&part), "{contact}: {part}: {document}");
        };
        has(Format::Categories, format!("<availability>{availability}</availability>"));
        let (reachable, activity) = in_msrtc.split_once(", ").unwrap();
        has(Format::Msrtc, format!("<availability aggregate='{reachable}' "));
        has(Format::Msrtc, format!("<activity aggregate='{activity}' "));
        let (status, substatus) = in_xpidf.split_once(", ").unwrap();
        let substatus = match substatus {
            "–" => String::new(),
            word => format!("<msnsubstatus substatus='{word}'/>"),
        };
        has(Format::Xpidf, format!("<status status='{status}'/>{substatus}</address>"));
    }
}

#[test]
fn the_table_of_formats_names_their_media_types_in_order() {
    let table = table::<3>("| Format | Media type | Holds |");
    let named: Vec<_> = table.iter().map(|[_, media, _]| media.trim_matches('`')).collect();
    assert_eq!(named, Format::ALL.map(Format::media_type));
}

#[test]
fn services_are_text_and_nothing_else() {
    let document = written(Format::Categories, &Presentity::default());
    let root = Element::parse_document(document.as_bytes(), &LIMITS).unwrap();
    let services = root.elements().find(|category| category.attr("name") == Some("services")).unwrap();
    let services = services.child("services", ns::CATEGORY_SERVICE).unwrap();
    let service = services.child("service", ns::CATEGORY_SERVICE).unwrap();
    let capabilities = service.child("capabilities", ns::CATEGORY_SERVICE).unwrap();
    assert_eq!(capabilities.elements().map(Element::name).collect::<Vec<_>>(), ["text"]);
}

/// A state of that instance; without a type and an availability it is taken back.
fn instance(number: u32, state: Option<(&str, u32)>) -> String {
    let inside = state.map(|(kind, availability)| {
        let xsi = format!("xmlns:xsi='{}' {kind}", ns::XSI);
        format!(
            "<state xmlns='{}' {xsi}><availability>{availability}</availability></state>",
            ns::CATEGORY_STATE
        )
    });
    format!("<category name='state' instance='{number}'>{}</category>", inside.unwrap_or_default())
}

const AGGREGATE: &str = "xsi:type='aggregateState'";
const MACHINE: &str = "xsi:type='machineState'";
const UNTYPED: &str = "";

/// What is seen of somebody after each of these documents of categories: show, or closed.
fn seen_after(documents: &[String]) -> Vec<&'static str> {
    let mut known: Option<Presentity> = None;
    let mut read = |inside: &String| {
        let context = Context { known: known.as_ref(), ..context() };
        known =
            Format::Categories.read(categories(inside).as_bytes(), context).unwrap().or_else(|| known.take());
        let resource = known.as_ref()?.resource(WHOLE)?;
        let open = resource.availability == Availability::Open;
        Some(if open { resource.show.map_or("plain", Show::as_str) } else { "closed" })
    };
    documents.iter().map(|document| read(document).unwrap_or("nothing")).collect()
}

#[test]
fn an_instance_of_state_that_is_taken_back_takes_only_what_it_told() {
    let aggregate = |availability| instance(1, Some((AGGREGATE, availability)));
    let gone = |number| instance(number, None);
    assert_eq!(
        seen_after(&[aggregate(3500), gone(0x3000_0001), gone(2), aggregate(9500), gone(1)]),
        ["plain", "plain", "plain", "dnd", "closed"]
    );
    assert_eq!(seen_after(&[gone(1)]), ["closed"], "of one of whom nothing is known nothing can be seen");
}

#[test]
fn only_what_is_made_of_all_endpoints_counts_beside_others() {
    let of = |number, kind, availability| instance(number, Some((kind, availability)));
    let aggregate = of(1, AGGREGATE, 3500);
    assert_eq!(
        seen_after(&[of(7, MACHINE, 3500), aggregate.clone(), of(7, MACHINE, 18500), of(8, UNTYPED, 18500)]),
        ["nothing", "plain", "plain", "plain"]
    );
    let both = [instance(1, None), of(8, UNTYPED, 9500)].concat();
    assert_eq!(
        seen_after(&[aggregate.clone(), both, of(9, UNTYPED, 15500), instance(8, None), instance(9, None)]),
        ["plain", "dnd", "away", "away", "closed"]
    );
    assert_eq!(
        seen_after(&[aggregate.clone(), instance(1, None), of(8, UNTYPED, 9500)])[1..],
        ["closed", "dnd"]
    );
    assert_eq!(seen_after(&[of(8, UNTYPED, 9500), aggregate, instance(8, None)])[1..], ["plain", "plain"]);
}

#[test]
fn an_instance_of_note_that_is_taken_back_takes_only_what_it_told() {
    let note = |number: u32, kind: &str, text: &str| {
        let xmlns = ns::CATEGORY_NOTE;
        format!(
            "<category name='note' instance='{number}'><note xmlns='{xmlns}'><body type='{kind}'>{text}</body></note></category>"
        )
    };
    let gone = |number: u32| format!("<category name='note' instance='{number}'/>");
    let known = |inside: String, known: &Presentity| {
        let context = Context { known: Some(known), ..context() };
        Format::Categories.read(categories(&inside).as_bytes(), context).unwrap().unwrap()
    };
    let note_of =
        |known: &Presentity| known.resources[0].notes().iter().next().map(|note| note.text.to_string());
    let open = instance(1, Some((AGGREGATE, 3500)));
    let first = known(open + &note(0, "personal", "reading"), &Presentity::default());
    for other in [gone(1), note(1, "OOF", "at sea"), note(1, "OOF", "")] {
        assert_eq!(note_of(&known(other.clone(), &first)).as_deref(), Some("reading"), "{other}");
    }
    for same in [gone(0), note(0, "OOF", "at sea")] {
        assert_eq!(note_of(&known(same.clone(), &first)), None, "{same}");
    }
    let second = known(note(3, "personal", "writing"), &first);
    assert_eq!(note_of(&second).as_deref(), Some("writing"));
    assert_eq!(note_of(&known(gone(0), &second)).as_deref(), Some("writing"));
    assert_eq!(note_of(&known(gone(3), &second)), None);
}

#[test]
fn so_many_times_are_looked_ahead_to_and_no_more() {
    // Each note ends a second after the one before, and is the one of its language.
    let note = |number: usize| {
        let end = format!("2099-01-01T00:00:{number:02}Z");
        format!("<body type='personal' xml:lang='x-{}' endTime='{end}'>n{number}</body>", number % 8)
    };
    let changes = |count: usize| {
        let bodies: String = (1..=count).map(note).collect();
        let note =
            format!("<category name='note'><note xmlns='{}'>{bodies}</note></category>", ns::CATEGORY_NOTE);
        let state = instance(1, Some((AGGREGATE, 3500)));
        let mut known = read(Format::Categories, &categories(&(state + &note))).unwrap().unwrap();
        std::iter::from_fn(|| known.changes_at().inspect(|at| assert!(known.time_passed(*at)))).count()
    };
    assert_eq!(changes(MAX_FORESEEN), MAX_FORESEEN);
    assert_eq!(changes(MAX_FORESEEN + 1), MAX_FORESEEN);
}

#[test]
fn pd_10_the_reader_takes_from_no_format_what_it_takes_from_nobody() {
    let long = |root: &str, xmlns: &str, octets: usize| {
        let around = format!("<{root} xmlns='{xmlns}'></{root}>").len();
        format!("<{root} xmlns='{xmlns}'>{}</{root}>", "x".repeat(octets - around))
    };
    for (format, root, xmlns) in [
        (Format::Categories, "categories", ns::CATEGORIES),
        (Format::Msrtc, "presentity", ns::MSRTC),
        (Format::Xpidf, "presence", ""),
    ] {
        let open = format!("<{root} xmlns='{xmlns}'>");
        let entities: String =
            (1..10).map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10))).collect();
        let bomb = format!("<!DOCTYPE presence [<!ENTITY l0 'lol'>{entities}]>{open}&l9;</{root}>");
        for (document, expected) in [
            (bomb, ReadErrorKind::Doctype),
            (
                format!("<!DOCTYPE presence SYSTEM 'file:///etc/passwd'>{open}</{root}>"),
                ReadErrorKind::Doctype,
            ),
            (format!("{open}&xxe;</{root}>"), ReadErrorKind::EntityReference),
            (format!("{open}{}</{root}>", "<x>".repeat(50_000)), ReadErrorKind::TooDeep),
            (format!("{open}{}</{root}>", "<x/>".repeat(LIMITS.elements)), ReadErrorKind::TooManyElements),
            (long(root, xmlns, LIMITS.stanza + 1), ReadErrorKind::StanzaTooBig),
        ] {
            match read(format, &document) {
                Err(DocumentError::Xml(error)) => assert_eq!(error.kind, expected, "{format:?}"),
                other => panic!("{format:?}: {other:?}"),
            }
        }
        assert!(read(format, &long(root, xmlns, LIMITS.stanza)).is_ok(), "{format:?}");
    }
}

#[test]
fn pd_01_the_charset_counts_for_every_format() {
    for (format, document) in [
        (Format::Categories, state(3500, "")),
        (Format::Msrtc, msrtc(300, 400)),
        (Format::Xpidf, xpidf("open", "online")),
    ] {
        let with = |charset| format.read(document.as_bytes(), Context { charset, ..context() });
        assert!(with(Some("UTF-8")).is_ok() && with(None).is_ok(), "{format:?}");
        assert_eq!(with(Some("utf-16")).unwrap_err().status(), 415, "{format:?}");
        assert_eq!(read(format, "<other/>").unwrap_err().status(), 400, "{format:?}");
    }
}

fn resource() -> impl Strategy<Value = Resource> {
    let show =
        prop::sample::select(vec![None, Some(Show::Away), Some(Show::Chat), Some(Show::Dnd), Some(Show::Xa)]);
    // XML has no way to write the two noncharacters.
    let text = any::<String>().prop_map(|text| text.replace(['\u{fffe}', '\u{ffff}'], ""));
    (show, prop::option::of(any::<i8>()), prop::option::of(text), any::<bool>()).prop_map(
        |(show, priority, text, open)| {
            let mut resource =
                Resource::new("", if open { Availability::Open } else { Availability::Closed });
            (resource.show, resource.priority) = (show, priority);
            let mut notes = Notes::default();
            text.iter().for_each(|text| notes.add(None, text));
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
    fn what_is_written_is_read_again(resource in resource()) {
        let known = Presentity { resources: vec![resource] };
        let resource = &known.resources[0];
        for format in [Format::Categories, Format::Msrtc, Format::Xpidf] {
            let read = whole(format, &written(format, &known));
            prop_assert_eq!(read.availability, resource.availability);
            let show = match resource.show.filter(|_| known.is_open()) {
                Some(Show::Xa) => Some(Show::Away),
                Some(Show::Chat) => None,
                other => other,
            };
            prop_assert_eq!(read.show, show);
            if format == Format::Xpidf {
                prop_assert!(read.notes().is_empty());
            } else {
                prop_assert_eq!(read.notes(), resource.notes());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            if let Err(error) = format.read(&bytes, Context::default()) {
                prop_assert!(matches!(error.status(), 400 | 413 | 415));
            }
        }
    }
}
