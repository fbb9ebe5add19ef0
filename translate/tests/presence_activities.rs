//! The table of activities in `docs/mapping.md` is true.

use std::path::Path;

use nuncio_translate::presence::document::Context;
use nuncio_translate::presence::pidf;
use nuncio_translate::presence::{Activity, Presentity, Resource, Show};

const HEADER: &str = "| Activity in PIDF | Show | Words beside it |";

fn read(activities: &str) -> Resource {
    let document = format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
         entity='sip:r@c'><tuple id='t'><status><basic>open</basic></status></tuple>\
         <dm:person id='p'><activities xmlns='urn:ietf:params:xml:ns:pidf:rpid'>{activities}</activities></dm:person></presence>"
    );
    let Presentity { mut resources } = pidf::read(document.as_bytes(), Context::default()).unwrap();
    resources.pop().unwrap()
}

/// Activity, show, words.
fn table() -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mapping.md");
    let text = std::fs::read_to_string(path).unwrap();
    let lines =
        text.lines().skip_while(|line| *line != HEADER).skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|_| panic!("{line}"))
    };
    lines.map(row).collect()
}

#[test]
fn the_table_of_activities_is_true() {
    let table = table();
    assert_eq!(table.len(), 27, "all of RFC 4480");
    for [activity, show, words] in table {
        let name = activity.trim_matches('`');
        let read = read(&format!("<note>words</note><{name}/>"));
        assert_eq!(read.activity(), Activity::from_name(name), "{name}");
        assert!(read.activity().is_some(), "{name}");
        assert_eq!(read.show.map_or("–", Show::as_str), show, "{name}");
        let expected = match words.as_str() {
            "shown" => Some("words"),
            "never read" => None,
            _ => panic!("{words}"),
        };
        assert_eq!(read.activity_text(), expected, "{name}");
    }
}

#[test]
fn of_several_activities_the_first_of_dnd_xa_away_counts() {
    for (activities, show) in [
        ("<away/><vacation/><meeting/>", Show::Dnd),
        ("<meeting/><vacation/><away/>", Show::Dnd),
        ("<away/><vacation/>", Show::Xa),
        ("<working/><away/>", Show::Away),
    ] {
        assert_eq!(read(activities).show, Some(show), "{activities}");
    }
}
