//! Who sees what of a SIP user's presence: the table of `docs/trust.md` is true, and what nobody may see reaches nobody.

use std::collections::BTreeMap;
use std::path::Path;

use nuncio_translate::judge::PartnerType;
use nuncio_translate::presence::{Disclosure, Format, Shown, Veil, document, to_xmpp};
use nuncio_xmpp::{BareJid, Jid};
use proptest::prelude::*;

const HEADER: &str = "| What the document holds | `federated` | `public-verified` | `public-unverified` |";
const PARTNERS: [PartnerType; 3] =
    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];

/// A document and what it is sent as.
type Document = (Format, String);

/// Everything a contact of such a partner is sent for this document.
fn told((format, document): &Document, partner: PartnerType) -> String {
    let context = document::Context { idle: true, now_ms: 1_795_183_385_042, ..document::Context::default() };
    let read = format.read(document.as_bytes(), context);
    let now = read.unwrap_or_else(|error| panic!("{document}: {error}")).unwrap_or_default();
    let disclosure = Disclosure::to(partner, Veil::default);
    let (from, to) = (BareJid::parse("r@c.example").unwrap(), Jid::parse("j@f.example").unwrap());
    let mut out = Vec::new();
    for update in Shown::default().update(&now, disclosure) {
        to_xmpp::write_update(&update, to_xmpp::Ends { from: &from, to: &to, id: "" }, disclosure, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// PIDF: what stands in the tuple's status, in the tuple, in the person, and beside them.
fn document(id: &str, status: &str, tuple: &str, person: &str, beside: &str) -> Document {
    let document = format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
         xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid' xmlns:gp='urn:ietf:params:xml:ns:pidf:geopriv10' xmlns:x='urn:x' \
         entity='sip:r@c.example'><tuple id='{id}'><status><basic>open</basic>{status}</status>{tuple}</tuple>\
         {beside}<dm:person id='p'>{person}</dm:person></presence>"
    );
    (Format::Pidf, document)
}

/// A document of categories: a state with this availability and what stands in it beside that, and further categories.
fn categories(availability: u32, state: &str, beside: &str) -> Document {
    let document = format!(
        "<categories xmlns='http://schemas.microsoft.com/2006/09/sip/categories' \
         xmlns:c='http://schemas.microsoft.com/2006/09/sip/categories' \
         xmlns:s='http://schemas.microsoft.com/2006/09/sip/state' \
         xmlns:n='http://schemas.microsoft.com/2006/09/sip/note' \
         xmlns:k='http://schemas.microsoft.com/2006/09/sip/contactcard' xmlns:x='urn:x' \
         xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' uri='sip:r@c.example'>{}{beside}</categories>",
        state_of("aggregateState", availability, state)
    );
    (Format::Categories, document)
}

fn state_of(kind: &str, availability: u32, inside: &str) -> String {
    format!(
        "<category name='state' instance='1' publishTime='2026-11-20T13:00:00' container='100' version='1'>\
         <s:state xsi:type='{kind}'><s:availability>{availability}</s:availability>{inside}</s:state></category>"
    )
}

fn category(name: &str, inside: &str) -> String {
    format!("<category name='{name}' instance='0' container='100' version='1'>{inside}</category>")
}

fn msrtc(activity: u32, attributes: &str, beside: &str) -> Document {
    let document = format!(
        "<presentity xmlns='http://schemas.microsoft.com/2002/09/sip/presence' xmlns:x='urn:x' uri='r@c.example'>\
         <availability aggregate='300'/><activity aggregate='{activity}'{attributes}/>{beside}</presentity>"
    );
    (Format::Msrtc, document)
}

fn xpidf(status: &str, substatus: &str, attributes: &str, beside: &str) -> Document {
    let document = format!(
        "<!DOCTYPE presence PUBLIC '-//IETF//DTD RFCxxxx XPIDF 1.0//EN' 'xpidf.dtd'><presence xmlns:x='urn:x'>\
         <presentity uri='sip:r@c.example'/><atom id='1'><address{attributes}><status status='{status}'/>\
         <msnsubstatus substatus='{substatus}'/></address></atom>{beside}</presence>"
    );
    (Format::Xpidf, document)
}

/// For each row of the table documents that hold it, and what is to be looked for.
fn rows() -> Vec<(&'static str, Vec<Document>, &'static str)> {
    let activities = |inner: &str| format!("<rpid:activities>{inner}</rpid:activities>");
    let person = |inner: &str| document("t", "", "", inner, "");
    let tuple = |inner: &str| document("t", "", inner, "", "");
    let status = |inner: &str| document("t", inner, "", "", "");
    let beside = |inner: &str| document("t", "", "", "", inner);
    let state = |inner: &str| categories(6_500, inner, "");
    let one = |name: &str, inside: &str| categories(3_500, "", &category(name, inside));
    let note = |inside: &str| one("note", &format!("<n:note>{inside}</n:note>"));
    vec![
        (
            "that he is available",
            vec![person(""), categories(3_500, "", ""), msrtc(400, "", ""), xpidf("open", "online", "", "")],
            "<presence ",
        ),
        (
            "show",
            vec![
                status("<show xmlns='jabber:client'>away</show>"),
                person(&activities("<rpid:away/>")),
                categories(15_500, "", ""),
                msrtc(100, "", ""),
                xpidf("open", "away", "", ""),
            ],
            "<show>away</show>",
        ),
        (
            "contact priority",
            vec![tuple("<contact priority='0.5'>sip:r@c</contact>")],
            "<priority>64</priority>",
        ),
        (
            "id of the tuple",
            vec![document("MARK", "", "", "", ""), document("ID-MARK", "", "", "", "")],
            "MARK",
        ),
        (
            "note of tuple, person, document or activity, personal note",
            vec![
                tuple("<note>MARK</note>"),
                person("<dm:note>MARK</dm:note>"),
                beside("<note>MARK</note>"),
                note("<n:body type='personal'>MARK</n:body>"),
                msrtc(400, " note='MARK'", ""),
            ],
            "MARK",
        ),
        (
            "activity in words, if there is no note",
            ["<rpid:note>MARK</rpid:note><rpid:away/>", "<rpid:other>MARK</rpid:other>"]
                .map(|words| person(&activities(words)))
                .into_iter()
                .chain([
                    state("<s:activity><s:custom LCID='1033'>MARK</s:custom></s:activity>"),
                    state("<s:activity token='on-the-phone'><s:custom>MARK</s:custom></s:activity>"),
                    msrtc(600, " description='MARK'", ""),
                ])
                .collect(),
            "MARK",
        ),
        (
            "activity in our words, if the document has none",
            vec![
                state("<s:activity token='on-the-phone'/>"),
                msrtc(500, "", ""),
                xpidf("inuse", "onthephone", "", ""),
            ],
            "In a call",
        ),
        (
            "idle time, if that is switched on",
            vec![tuple("<rpid:user-input last-input='2026-11-20T12:00:00Z'>idle</rpid:user-input>")],
            "2026-11-20T12:00:00",
        ),
        (
            "words of a planned activity: subject of a meeting",
            ["appointment", "meeting", "presentation", "performance", "lunch", "dinner"]
                .into_iter()
                .flat_map(|name| {
                    ["note", "other"].map(|words| {
                        person(&activities(&format!("<rpid:{name}/><rpid:{words}>MARK</rpid:{words}>")))
                    })
                })
                .chain(["in-a-meeting", "in-a-conference", "in-presentation"].map(|token| {
                    state(&format!("<s:activity token='{token}'><s:custom>MARK</s:custom></s:activity>"))
                }))
                .chain([state("<s:meetingSubject>MARK</s:meetingSubject>")])
                .collect(),
            "MARK",
        ),
        (
            "out-of-office note",
            ["vacation", "holiday", "permanent-absence", "travel"]
                .into_iter()
                .flat_map(|name| {
                    let gone = format!("<rpid:{name}/>");
                    let with_words = format!("<rpid:note>MARK</rpid:note>{gone}");
                    [
                        person(&activities(&with_words)),
                        person(&format!("{}<dm:note>MARK</dm:note>", activities(&gone))),
                        document("t", "", "", &activities(&gone), "<note>MARK</note>"),
                        tuple(&format!("{}<note>MARK</note>", activities(&gone))),
                        person(&(activities("<rpid:note>MARK</rpid:note><rpid:away/>") + &activities(&gone))),
                    ]
                })
                .chain([
                    note("<n:body type='OOF'>MARK</n:body>"),
                    note("<n:body>MARK</n:body>"),
                    state("<s:activity token='out-of-office'><s:custom>MARK</s:custom></s:activity>"),
                ])
                .collect(),
            "MARK",
        ),
        (
            "anything of a person that a calendar made",
            vec![
                person("<rpid:class>calendar</rpid:class><dm:note>MARK</dm:note>"),
                person(&format!(
                    "<rpid:class>calendar</rpid:class>{}",
                    activities("<rpid:other>MARK</rpid:other>")
                )),
                one("calendarData", "<x:calendarData><x:freeBusy>MARK</x:freeBusy></x:calendarData>"),
                categories(
                    3_500,
                    "",
                    &state_of("calendarState", 6_500, "<s:activity><s:custom>MARK</s:custom></s:activity>"),
                ),
            ],
            "MARK",
        ),
        (
            "location",
            vec![
                status(
                    "<gp:geopriv><gp:location-info><x:civic>MARK</x:civic></gp:location-info></gp:geopriv>",
                ),
                person("<rpid:place-type><rpid:other>MARK</rpid:other></rpid:place-type>"),
                person("<rpid:place-is><rpid:note>MARK</rpid:note></rpid:place-is>"),
                person("<rpid:sphere>MARK</rpid:sphere>"),
                person("<rpid:time-offset description='MARK'>60</rpid:time-offset>"),
                state("<s:meetingLocation>MARK</s:meetingLocation>"),
                state("<s:endpointLocation>MARK</s:endpointLocation>"),
            ],
            "MARK",
        ),
        (
            "mood, icon, device, contact card, address, any other element",
            vec![
                person("<rpid:mood><rpid:other>MARK</rpid:other></rpid:mood>"),
                person("<rpid:status-icon>http://MARK</rpid:status-icon>"),
                beside(
                    "<dm:device id='MARK'><dm:deviceID>MARK</dm:deviceID><dm:note>MARK</dm:note></dm:device>",
                ),
                tuple("<contact>sip:MARK@c.example</contact>"),
                status("<x:state>MARK</x:state>"),
                beside("<x:custom a='MARK'>MARK</x:custom>"),
                state("<s:device>MARK</s:device>"),
                one(
                    "contactCard",
                    "<k:contactCard><k:identity><k:name><k:displayName>MARK</k:displayName></k:name>\
                     <k:email>MARK</k:email></k:identity><k:title>MARK</k:title></k:contactCard>",
                ),
                one("services", "<x:services><x:service uri='MARK'/></x:services>"),
                one("MARK", "<x:any>MARK</x:any>"),
                msrtc(
                    400,
                    "",
                    "<displayName displayName='MARK'/><email email='MARK'/><devices>MARK</devices>",
                ),
                xpidf("open", "online", " uri='sip:MARK@c'", "<display name='MARK'/><x:any>MARK</x:any>"),
                xpidf("open", "MARK", "", ""),
            ],
            "MARK",
        ),
        (
            "a tuple about somebody else",
            vec![document("MARK", "", "<rpid:relationship><rpid:assistant/></rpid:relationship>", "", "")],
            "MARK",
        ),
    ]
}

fn table() -> BTreeMap<String, [bool; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trust.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lines =
        text.lines().skip_while(|line| *line != HEADER).skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[what, a, b, c] = &cells[..] else { panic!("{line}") };
        let yes = |cell| match cell {
            "yes" => true,
            "no" => false,
            _ => panic!("{line}"),
        };
        (what.to_owned(), [yes(a), yes(b), yes(c)])
    };
    lines.map(row).collect()
}

#[test]
fn the_table_of_what_partners_see_is_true() {
    let (mut table, rows) = (table(), rows());
    for (what, documents, mark) in rows {
        let expected = table.remove(what).unwrap_or_else(|| panic!("`{what}` is not in docs/trust.md"));
        for document in documents {
            assert!(mark != "MARK" || document.1.contains(mark));
            let seen = PARTNERS.map(|partner| told(&document, partner).contains(mark));
            assert_eq!(seen, expected, "{what}: {}", document.1);
        }
    }
    assert_eq!(table, BTreeMap::new(), "rows of docs/trust.md that no document stands for");
}

#[test]
fn public_partners_cannot_tell_why_somebody_is_gone_for_long() {
    let activity = |token: &str| categories(15500, &format!("<s:activity token='{token}'/>"), "");
    let in_rpid =
        |name: &str| document("t", "", "", &format!("<rpid:activities><rpid:{name}/></rpid:activities>"), "");
    let of_lync = ["out-of-office", "off-work"].map(activity);
    let of_rpid = ["vacation", "holiday", "permanent-absence", "sleeping"].map(in_rpid);
    for partner in [PartnerType::PublicVerified, PartnerType::PublicUnverified] {
        for of_one_format in [of_lync.as_slice(), of_rpid.as_slice()] {
            let told = of_one_format.iter().map(|document| told(document, partner));
            let told: std::collections::BTreeSet<_> = told.collect();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told.iter().all(|stanza| stanza.contains("<show>xa</show></presence>")), "{told:?}");
        }
    }
}

/// A word that says where it was planted and cannot come about by chance.
fn word(place: &str) -> String {
    format!("planted-{place}")
}

/// Elements of PIDF, and where documents of it could hide text.
const NAMES: &[&str] = &[
    "tuple",
    "status",
    "basic",
    "contact",
    "note",
    "timestamp",
    "show",
    "dm:person",
    "dm:device",
    "dm:deviceID",
    "dm:note",
    "dm:timestamp",
    "rpid:activities",
    "rpid:note",
    "rpid:other",
    "rpid:meeting",
    "rpid:vacation",
    "rpid:away",
    "rpid:busy",
    "rpid:class",
    "rpid:mood",
    "rpid:place-is",
    "rpid:place-type",
    "rpid:privacy",
    "rpid:relationship",
    "rpid:self",
    "rpid:service-class",
    "rpid:sphere",
    "rpid:status-icon",
    "rpid:time-offset",
    "rpid:user-input",
    "gp:geopriv",
    "gp:location-info",
    "x:any",
    "x:note",
    "x:person",
];

/// Their attributes.
const ATTRIBUTES: &[&str] = &[
    "",
    " id='planted-id'",
    " from='planted-from'",
    " until='planted-until'",
    " priority='planted-priority'",
    " last-input='planted-input'",
    " xml:lang='planted'",
    " description='planted-description'",
    " x:a='planted-attribute'",
    " xmlns='jabber:client'",
    " xmlns='urn:ietf:params:xml:ns:pidf:data-model'",
];

/// Elements of documents of categories.
const NAMES_OF_CATEGORIES: &[&str] = &[
    "c:category",
    "s:state",
    "s:availability",
    "s:activity",
    "s:custom",
    "s:device",
    "s:meetingSubject",
    "s:meetingLocation",
    "s:endpointLocation",
    "n:note",
    "n:body",
    "k:contactCard",
    "k:displayName",
    "x:calendarData",
    "x:any",
];

const ATTRIBUTES_OF_CATEGORIES: &[&str] = &[
    "",
    " name='state'",
    " name='note'",
    " name='contactCard'",
    " name='planted-name'",
    " type='personal'",
    " type='OOF'",
    " type='planted-type'",
    " xsi:type='aggregateState'",
    " xsi:type='planted-state'",
    " token='on-the-phone'",
    " token='planted-token'",
    " publishTime='planted-time'",
    " uri='planted-uri'",
    " startTime='planted-start'",
    " xml:lang='planted'",
];

/// Elements of MSRTC documents and of XPIDF.
const NAMES_OF_OTHERS: &[&str] = &[
    "availability",
    "activity",
    "displayName",
    "email",
    "phoneNumber",
    "devices",
    "userInfo",
    "note",
    "presentity",
    "atom",
    "address",
    "status",
    "msnsubstatus",
    "display",
    "x:any",
];

const ATTRIBUTES_OF_OTHERS: &[&str] = &[
    "",
    " aggregate='planted-aggregate'",
    " aggregate='300'",
    " description='planted-description'",
    " note='planted-note'",
    " displayName='planted-display-name'",
    " id='planted-id'",
    " uri='planted-uri'",
    " priority='planted-priority'",
    " status='open'",
    " status='planted-status'",
    " substatus='planted-substatus'",
    " name='planted-name'",
    " xml:lang='planted'",
];

/// An element of one of those kinds with planted text in it, around it and in its attributes.
fn element(
    names: &'static [&'static str],
    attributes: &'static [&'static str],
) -> impl Strategy<Value = String> {
    let (names, attributes) = (prop::sample::select(names), prop::sample::select(attributes));
    let leaf = (names.clone(), attributes.clone(), any::<bool>()).prop_map(|(name, attributes, usable)| {
        let text = match name {
            "basic" if usable => "open".into(),
            "s:availability" if usable => "9500".into(),
            _ => word(&name.replace(':', "-")),
        };
        format!("<{name}{attributes}>{text}</{name}>")
    });
    leaf.prop_recursive(4, 24, 5, move |inner| {
        (names.clone(), attributes.clone(), prop::collection::vec(inner, 0..5)).prop_map(
            |(name, attributes, children)| format!("<{name}{attributes}>{}</{name}>", children.concat()),
        )
    })
}

fn some_of(
    names: &'static [&'static str],
    attributes: &'static [&'static str],
) -> impl Strategy<Value = String> {
    prop::collection::vec(element(names, attributes), 0..4).prop_map(|elements| elements.concat())
}

fn elements() -> impl Strategy<Value = String> {
    some_of(NAMES, ATTRIBUTES)
}

/// A document of any format but PIDF, with text planted wherever the format has room for some, and where it has none.
fn front_ends_document() -> impl Strategy<Value = Document> {
    let inside = || some_of(NAMES_OF_CATEGORIES, ATTRIBUTES_OF_CATEGORIES);
    let others = || some_of(NAMES_OF_OTHERS, ATTRIBUTES_OF_OTHERS);
    let tokens = prop::sample::select(vec!["", "on-the-phone", "off-work", "planted-token"]);
    let number = prop::sample::select(vec![0, 3_500, 5_000, 6_500, 9_500, 12_500, 15_500]);
    let in_categories = (number, tokens, inside(), inside(), inside()).prop_map(|(number, token, state, note, beside)| {
        let state = format!("<s:activity token='{token}'><s:custom>planted-s-custom</s:custom></s:activity>{state}");
        let note = format!(
            "<n:note><n:body type='OOF'>planted-oof</n:body><n:body type='personal'>planted-n-body</n:body>{note}</n:note>"
        );
        categories(number, &state, &(category("note", &note) + &beside))
    });
    let activity = prop::sample::select(vec![0, 100, 150, 200, 300, 400, 500, 600, 700]);
    let in_msrtc = (activity, any::<bool>(), others()).prop_map(|(activity, note, beside)| {
        let note = if note { " note='planted-note'" } else { "" };
        msrtc(activity, &format!(" description='planted-description'{note}"), &beside)
    });
    let words = prop::sample::select(vec!["online", "away", "busy", "planted-word"]);
    let in_xpidf =
        (words, others()).prop_map(|(word, beside)| xpidf("open", word, " uri='sip:planted-uri'", &beside));
    prop_oneof![in_categories, in_msrtc, in_xpidf]
}

/// All that may ever stand in a stanza for a public partner: what we wrote ourselves.
fn without_what_is_ours(stanzas: &str) -> String {
    let mut rest = stanzas.to_owned();
    for word in [
        "<presence from='r@c.example",
        "' to='j@f.example'",
        " type='unavailable'",
        "<show>",
        "</show>",
        "away",
        "chat",
        "dnd",
        "xa",
        "<priority>",
        "</priority>",
        "</presence>",
    ] {
        rest = rest.replace(word, "");
    }
    rest
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 2_000 } else { 50_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_text_ever_reaches_a_public_partner(
        id in "[a-z <]{0,6}", status in elements(), tuple in elements(), person in elements(), beside in elements(),
    ) {
        let id = format!("planted-{}", id.replace('<', "&lt;"));
        let document = document(&id, &status, &tuple, &person, &beside);
        for partner in [PartnerType::PublicVerified, PartnerType::PublicUnverified] {
            let told = told(&document, partner);
            // He is seen, unless the tuple claims to be about somebody else.
            prop_assert!(told.starts_with("<presence from=") || tuple.contains("<rpid:relationship"), "{document:?}");
            prop_assert!(!told.contains("planted"), "{told}\n{document:?}");
            // Nothing is left but hashes and numbers.
            let rest = without_what_is_ours(&told);
            prop_assert!(rest.bytes().all(|b| b"/> ".contains(&b) || b.is_ascii_hexdigit()), "{}\n{:?}", rest, document);
        }
    }

    #[test]
    fn no_text_of_any_format_ever_reaches_a_public_partner(document in front_ends_document()) {
        for partner in [PartnerType::PublicVerified, PartnerType::PublicUnverified] {
            let told = told(&document, partner);
            prop_assert!(!told.contains("planted"), "{told}\n{document:?}");
            let rest = without_what_is_ours(&told);
            prop_assert!(rest.bytes().all(|b| b"/> ".contains(&b) || b.is_ascii_hexdigit()), "{}\n{:?}", rest, document);
        }
    }

    #[test]
    fn of_any_format_a_federated_partner_gets_one_note_or_words_of_an_activity(document in front_ends_document()) {
        let mut told = told(&document, PartnerType::Federated);
        for place in ["n-body", "s-custom", "note", "description"] {
            told = told.replace(&format!(">{}</status>", word(place)), ">");
        }
        let rest = told.replace("xml:lang='planted'", "");
        prop_assert!(!rest.contains("planted"), "{rest}\n{document:?}");
    }

    #[test]
    fn a_federated_partner_gets_notes_and_activities_and_nothing_else(
        status in elements(), tuple in elements(), person in elements(), beside in elements(),
    ) {
        let document = document("t", &status, &tuple, &person, &beside);
        let mut told = told(&document, PartnerType::Federated);
        // Text of these places may be seen: notes, and the words of an activity. Ids name resources, languages notes.
        for place in ["dm-note", "rpid-note", "rpid-other", "note"] {
            told = told.replace(&format!(">{}</status>", word(place)), ">");
        }
        told = told.replace("/planted-id'", "'").replace("xml:lang='planted'", "");
        prop_assert!(!told.contains("planted"), "{told}\n{document:?}");
    }
}
