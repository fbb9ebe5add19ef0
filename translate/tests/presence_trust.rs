//! Who sees what of a SIP user's presence: the table of `docs/trust.md` is true, and what nobody may see reaches nobody.

use std::collections::BTreeMap;
use std::path::Path;

use nuncio_translate::judge::PartnerType;
use nuncio_translate::presence::{Disclosure, Shown, pidf, to_xmpp};
use nuncio_xmpp::{BareJid, Jid};
use proptest::prelude::*;

const HEADER: &str = "| What the document holds | `federated` | `public-verified` | `public-unverified` |";
const PARTNERS: [PartnerType; 3] =
    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];

/// Everything a contact of such a partner is sent for this document.
fn told(document: &str, partner: PartnerType) -> String {
    let context = pidf::Context { idle: true, now_ms: 1_795_183_385_042, ..pidf::Context::default() };
    let now = pidf::read(document.as_bytes(), context).unwrap_or_else(|error| panic!("{document}: {error}"));
    let disclosure = Disclosure::to(partner);
    let (from, to) = (BareJid::parse("r@c.example").unwrap(), Jid::parse("j@f.example").unwrap());
    let mut out = Vec::new();
    for update in Shown::default().update(&now, disclosure) {
        to_xmpp::write_update(&update, to_xmpp::Ends { from: &from, to: &to, id: "" }, disclosure, &mut out);
    }
    String::from_utf8(out).unwrap()
}

/// A document: what stands in the tuple's status, in the tuple, in the person, and beside them.
fn document(id: &str, status: &str, tuple: &str, person: &str, beside: &str) -> String {
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
         xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid' xmlns:gp='urn:ietf:params:xml:ns:pidf:geopriv10' xmlns:x='urn:x' \
         entity='sip:r@c.example'><tuple id='{id}'><status><basic>open</basic>{status}</status>{tuple}</tuple>\
         {beside}<dm:person id='p'>{person}</dm:person></presence>"
    )
}

/// For each row of the table documents that hold it, and what is to be looked for.
fn rows() -> Vec<(&'static str, Vec<String>, &'static str)> {
    let activities = |inner: &str| format!("<rpid:activities>{inner}</rpid:activities>");
    let person = |inner: &str| document("t", "", "", inner, "");
    let tuple = |inner: &str| document("t", "", inner, "", "");
    let status = |inner: &str| document("t", inner, "", "", "");
    let beside = |inner: &str| document("t", "", "", "", inner);
    vec![
        ("that he is available", vec![person("")], "<presence "),
        (
            "show",
            vec![status("<show xmlns='jabber:client'>away</show>"), person(&activities("<rpid:away/>"))],
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
            "note of tuple, person or document",
            vec![tuple("<note>MARK</note>"), person("<dm:note>MARK</dm:note>"), beside("<note>MARK</note>")],
            "MARK",
        ),
        (
            "activity in words, if there is no note",
            ["<rpid:note>MARK</rpid:note><rpid:away/>", "<rpid:other>MARK</rpid:other>"]
                .map(|words| person(&activities(words)))
                .into(),
            "MARK",
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
            ],
            "MARK",
        ),
        (
            "mood, icon, device, contact address, any other element",
            vec![
                person("<rpid:mood><rpid:other>MARK</rpid:other></rpid:mood>"),
                person("<rpid:status-icon>http://MARK</rpid:status-icon>"),
                beside(
                    "<dm:device id='MARK'><dm:deviceID>MARK</dm:deviceID><dm:note>MARK</dm:note></dm:device>",
                ),
                tuple("<contact>sip:MARK@c.example</contact>"),
                status("<x:state>MARK</x:state>"),
                beside("<x:custom a='MARK'>MARK</x:custom>"),
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
            assert!(mark != "MARK" || document.contains(mark));
            let seen = PARTNERS.map(|partner| told(&document, partner).contains(mark));
            assert_eq!(seen, expected, "{what}: {document}");
        }
    }
    assert_eq!(table, BTreeMap::new(), "rows of docs/trust.md that no document stands for");
}

/// A word that says where it was planted and cannot come about by chance.
fn word(place: &str) -> String {
    format!("planted-{place}")
}

/// An element of any kind with planted text in it, around it and in its attributes.
fn element() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
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
    ]);
    let attributes = prop::sample::select(vec![
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
    ]);
    let leaf = (names.clone(), attributes.clone(), any::<bool>()).prop_map(|(name, attributes, basic)| {
        let text = if name == "basic" && basic { "open".into() } else { word(&name.replace(':', "-")) };
        format!("<{name}{attributes}>{text}</{name}>")
    });
    leaf.prop_recursive(4, 24, 5, move |inner| {
        (names.clone(), attributes.clone(), prop::collection::vec(inner, 0..5)).prop_map(
            |(name, attributes, children)| format!("<{name}{attributes}>{}</{name}>", children.concat()),
        )
    })
}

fn elements() -> impl Strategy<Value = String> {
    prop::collection::vec(element(), 0..4).prop_map(|elements| elements.concat())
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
            prop_assert!(told.starts_with("<presence from=") || tuple.contains("<rpid:relationship"), "{document}");
            prop_assert!(!told.contains("planted"), "{told}\n{document}");
            // Nothing is left but hashes and numbers.
            let rest = without_what_is_ours(&told);
            prop_assert!(rest.bytes().all(|b| b"/> ".contains(&b) || b.is_ascii_hexdigit()), "{}\n{}", rest, document);
        }
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
        prop_assert!(!told.contains("planted"), "{told}\n{document}");
    }
}
