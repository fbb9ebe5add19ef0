//! What presence costs. `cargo bench -p nuncio-translate`; the figures are for comparison between revisions on one machine,
//! nothing is asserted.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nuncio_translate::address::Contact;
use nuncio_translate::presence::document::Stamp;
use nuncio_translate::presence::{Disclosure, Format, Presentity, Shown, document, from_xmpp, pidf, to_xmpp};
use nuncio_xmpp::{BareJid, Element, Jid, ReadLimits};

const DOCUMENT: &str = "<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' \
    xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid' \
    entity='pres:romeo@contoso.example'><tuple id='ID-dr4hcr0st3lup4c'><status><basic>open</basic>\
    <show xmlns='jabber:client'>away</show></status><contact priority='0.393'>sip:romeo@contoso.example</contact>\
    <note xml:lang='en'>Back in ten minutes</note><timestamp>2026-11-20T14:03:05.042Z</timestamp></tuple>\
    <dm:person id='p1'><rpid:activities><rpid:away/></rpid:activities></dm:person></presence>";

/// A document of 4 KB, as front ends in the style of Lync send them: most of it is nothing to us.
fn categories() -> String {
    let category = |name: &str, inside: &str| {
        format!(
            "<category name=\"{name}\" instance=\"0\" publishTime=\"2026-11-20T13:00:00.117\" container=\"100\" \
             version=\"7\">{inside}</category>"
        )
    };
    let state = "<state xsi:type=\"aggregateState\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
        xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\"><availability>6500</availability>\
        <activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/><device>computer</device></state>";
    let note = "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">\
        Back in ten minutes</body></note>";
    let card = "<contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\"><identity><name>\
        <displayName>Romeo Montague</displayName></name><email>romeo@contoso.example</email></identity></contactCard>";
    let capability = "<voice render=\"true\" capture=\"true\" deviceAvailability=\"6500\"/>";
    let services = format!(
        "<services xmlns=\"http://schemas.microsoft.com/2006/09/sip/service\"><service uri=\"sip:romeo@contoso.example\">\
         <capabilities>{}</capabilities></service></services>",
        capability.repeat(6)
    );
    let calendar =
        format!("<calendarData xmlns=\"urn:x\"><freeBusy>{}</freeBusy></calendarData>", "A".repeat(1_700));
    let categories = [
        ("state", state),
        ("note", note),
        ("contactCard", card),
        ("services", &services),
        ("calendarData", &calendar),
    ];
    let categories: String = categories.iter().map(|(name, inside)| category(name, inside)).collect();
    format!(
        "<categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"sip:romeo@contoso.example\">{categories}</categories>"
    )
}

const STANZA: &str = "<presence xmlns='jabber:server' from='juliet@fabrikam.example/Conversations.a7Rq' \
    to='romeo@contoso.example'><show>away</show><status xml:lang='en'>Back in ten minutes</status><priority>50</priority>\
    <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://conversations.im' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>\
    </presence>";

fn main() {
    let (Ok(from), Ok(to), Ok(jid)) = (
        BareJid::parse("romeo@contoso.example"),
        Jid::parse("juliet@fabrikam.example"),
        BareJid::parse("juliet@fabrikam.example"),
    ) else {
        return;
    };
    let Ok(contact) = Contact::from_jid(&jid) else { return };
    let mut out = Vec::new();
    println!("document of {} octets, stanza of {}", DOCUMENT.len(), STANZA.len());
    let context = document::Context { now_ms: 1_795_183_385_042, ..document::Context::default() };
    measure("read PIDF", || {
        black_box(pidf::read(black_box(DOCUMENT.as_bytes()), context).is_ok());
    });
    let large = categories();
    println!("document of categories of {} octets", large.len());
    measure("read categories", || {
        black_box(Format::Categories.read(black_box(large.as_bytes()), context).is_ok());
    });
    measure("NOTIFY body to stanza", || {
        let (mut known, mut shown) = (Presentity::default(), Shown::default());
        let Ok(document) = pidf::read(black_box(DOCUMENT.as_bytes()), context) else { return };
        known.supersede(document);
        out.clear();
        for update in shown.update(&known, Disclosure::Full) {
            let ends = to_xmpp::Ends { from: &from, to: &to, id: "" };
            to_xmpp::write_update(&update, ends, Disclosure::Full, &mut out);
        }
        black_box(&out);
    });
    let Ok(stanza) = Element::parse_document(STANZA.as_bytes(), &ReadLimits::default()) else { return };
    let mut known = Presentity::default();
    let mut priority = 0;
    measure("stanza to NOTIFY body", || {
        let reading =
            from_xmpp::read(black_box(&stanza), Some("Conversations.a7Rq"), from_xmpp::Context::default());
        let from_xmpp::Reading::Presence(mut report) = reading else { return };
        priority ^= 1;
        report.state.priority = Some(priority);
        black_box(known.report(report));
        out.clear();
        pidf::write(&contact, &known, Stamp::at(1_795_183_385_042), &mut out);
        black_box(&out);
    });
    measure("categories of a contact", || {
        out.clear();
        Format::Categories.write(&contact, black_box(&known), Stamp::at(1_795_183_385_042), &mut out);
        black_box(&out);
    });
}

/// The fastest of several rounds: what disturbs a round only makes it slower.
fn measure(name: &str, mut work: impl FnMut()) {
    const ROUNDS: usize = 20;
    const TIMES: u32 = 20_000;
    let round = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..TIMES).for_each(|_| work());
        start.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round(&mut work)).min().unwrap_or(Duration::ZERO);
    println!("{name}: {:.2} µs", best.as_secs_f64() * 1e6 / f64::from(TIMES));
}
