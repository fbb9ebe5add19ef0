//! The examples of RFC 6121, the gateway being one of the two servers: subscriptions (§3.1 to §3.3), probes (§4.3), the session
//! of §7. And the flow of RFC 3856 §8 between the other two.

use nuncio_translate::judge::PartnerType;
use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Plan, Reply};
use crate::text::Request;
use crate::watching::*;

const ROMEO: &str = "romeo@example.net";
const JULIET: &str = "juliet@example.com";
const FEDERATED: (PartnerType, bool) = (PartnerType::Federated, true);

/// The gateway is the user's server: Romeo's is the SIP domain.
fn romeos() -> House {
    const PARTNERS: &[(&str, PartnerType, bool)] = &[
        ("example.com", FEDERATED.0, FEDERATED.1),
        ("example.org", FEDERATED.0, FEDERATED.1),
        ("chat.example.com", FEDERATED.0, FEDERATED.1),
    ];
    planned(Plan { served: &["example.net"], partners: PARTNERS, ..Plan::default() })
}

/// The gateway is the contact's server: Juliet's is the SIP domain.
fn juliets() -> House {
    const PARTNERS: &[(&str, PartnerType, bool)] = &[("example.net", FEDERATED.0, FEDERATED.1)];
    planned(Plan { served: &["example.com"], partners: PARTNERS, ..Plan::default() })
}

/// An endpoint of a SIP user subscribes to a contact; its dialog.
fn subscribes(house: &mut House, user: &str, contact: &str, endpoint: &str) -> Dialog {
    let wire = house.front_end();
    let request = Request::new("SUBSCRIBE", contact)
        .with("Event: presence")
        .with(format!("Accept: {PIDF}"))
        .with(format!("Contact: <sip:{user};gr={endpoint}>"))
        .with("Expires: 3600")
        .set(|request| request.from = format!("<sip:{user}>;tag={endpoint}"));
    let answer = house.ask(wire, request.bytes());
    Dialog::made(&request, &answer)
}

/// A document about a SIP user: of each tuple its id, whether it is open, and what else is in it.
fn document(user: &str, tuples: &[(&str, &str, &str)]) -> String {
    pidf(&tuples.iter().map(|&(id, status, more)| (id, true, status, more)).collect::<Vec<_>>())
        .replace(ALICE, user)
}

/// `from to type` of what a partner heard.
fn heard(house: &mut House, partner: &str) -> Vec<String> {
    let line = |stanza: &nuncio_world::xml::Element| {
        let [from, to] = ["from", "to"].map(|name| stanza.attribute(name).unwrap().to_owned());
        format!("{from} {to} {}", stanza.attribute("type").unwrap_or("available"))
    };
    house.stanzas(partner).iter().map(line).collect()
}

/// The front end tells in that dialog.
fn tells(house: &mut House, dialog: &mut Dialog, state: &str, document: &str) {
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(state, document)), 200);
}

/// What an endpoint was shown last, of all NOTIFYs since the last look.
fn shown(house: &mut House) -> SipMessage {
    house.requests().pop().expect("a NOTIFY")
}

/// Romeo asked, his front end and Juliet agreed: each sees the other; nothing of it is left to be looked at.
fn adds(house: &mut House, user: &str, contact: &str) -> Dialog {
    let (_, partner) = contact.split_once('@').unwrap();
    let dialog = subscribes(house, user, contact, "setup");
    house.partner_says(partner, &format!("<presence from='{contact}' to='{user}' type='subscribed'/>"));
    house.partner_says(partner, &format!("<presence from='{contact}' to='{user}' type='unavailable'/>"));
    house.advance(10 * SECOND);
    house.requests();
    house.stanzas(partner);
    dialog
}

/// An endpoint does not watch any more.
fn signs_out(house: &mut House, mut dialog: Dialog) {
    let wire = house.front_end();
    let close = dialog.subscribe(0).set(|request| request.more.retain(|line| !line.starts_with("Contact")));
    assert_eq!(house.status(wire, &close), 200);
}

/// A contact asked to see a SIP user, and the front end agreed; its dialog.
fn is_added(house: &mut House, user: &str, contact: &str, seen: &str) -> Dialog {
    let (_, partner) = contact.split_once('@').unwrap();
    house.partner_says(partner, &format!("<presence from='{contact}' to='{user}' type='subscribe'/>"));
    let mut dialog = Dialog::of(&house.request());
    tells(house, &mut dialog, OPEN, seen);
    house.stanzas(partner);
    dialog
}

/// §3.1.2, §3.1.6 and §3.2.3, as the user's server.
#[test]
fn tv_25_romeo_asks_and_is_accepted_and_later_cancelled() {
    let mut house = romeos();
    subscribes(&mut house, ROMEO, JULIET, "orchard");
    assert_eq!(heard(&mut house, "example.com"), ["romeo@example.net juliet@example.com subscribe"]);
    house.requests();
    house.partner_says(
        "example.com",
        "<presence from='juliet@example.com'\n id='h4v1c4kj'\n to='romeo@example.net'\n type='subscribed'/>",
    );
    for (resource, id) in [("balcony", "pw72bc5j"), ("chamber", "ux31da4q")] {
        house.partner_says(
            "example.com",
            &format!("<presence from='juliet@example.com/{resource}'\n id='{id}'\n to='romeo@example.net'/>"),
        );
    }
    house.advance(6 * SECOND);
    let notify = shown(&mut house);
    assert!(notify.must("Subscription-State").unwrap().starts_with("active"), "{notify}");
    for tuple in ["<tuple id='ID-balcony'><status><basic>open", "<tuple id='ID-chamber'><status><basic>open"]
    {
        assert!(notify.body.contains(tuple), "{notify}");
    }
    house.stanzas("example.com");
    house.partner_says(
        "example.com",
        "<presence from='juliet@example.com'\n id='ij5b1v7g'\n to='romeo@example.net'\n type='unsubscribed'/>",
    );
    assert_eq!(house.states(), ["terminated;reason=rejected"]);
    house.advance(MINUTE);
    assert!(heard(&mut house, "example.com").is_empty(), "nothing is answered, and nobody is asked again");
}

/// §3.1.6: an approval that nobody asked for, and the pre-approval of §3.4, are ignored.
#[test]
fn tv_25_what_nobody_asked_for_is_not_accepted() {
    let mut house = romeos();
    house.partner_says(
        "example.com",
        "<presence from='juliet@example.com' id='pg81vx64' to='romeo@example.net' type='subscribed'/>",
    );
    house.advance(MINUTE);
    assert!(heard(&mut house, "example.com").is_empty() && house.requests().is_empty());
    assert_eq!(house.gateway.holdings().pairs, 0, "and nothing is remembered");
}

/// §3.1.3 to §3.1.5 and §3.2.2, as the contact's server.
#[test]
fn tv_25_juliet_is_asked_and_accepts_and_later_cancels() {
    let mut house = juliets();
    let asks =
        "<presence from='romeo@example.net'\n id='xk3h1v69'\n to='juliet@example.com'\n type='subscribe'/>";
    house.partner_says("example.net", asks);
    let mut dialog = Dialog::of(&house.request());
    tells(&mut house, &mut dialog, "pending;expires=3600", "");
    assert!(heard(&mut house, "example.net").is_empty(), "nobody agrees in her place");
    let both = document(JULIET, &[("ID-balcony", "", ""), ("ID-chamber", "", "")]);
    tells(&mut house, &mut dialog, OPEN, &both);
    let accepted = [
        "juliet@example.com romeo@example.net subscribed",
        "juliet@example.com/balcony romeo@example.net available",
        "juliet@example.com/chamber romeo@example.net available",
    ];
    assert_eq!(heard(&mut house, "example.net"), accepted);
    // He asks again: §3.1.3 has her server answer.
    house.partner_says("example.net", asks);
    assert_eq!(heard(&mut house, "example.net"), accepted);
    assert!(house.requests().is_empty());
    tells(&mut house, &mut dialog, "terminated;reason=rejected", "");
    assert_eq!(
        heard(&mut house, "example.net"),
        [
            "juliet@example.com/balcony romeo@example.net unavailable",
            "juliet@example.com/chamber romeo@example.net unavailable",
            "juliet@example.com romeo@example.net unsubscribed",
        ]
    );
}

/// §3.3.3, as the contact's server.
#[test]
fn tv_25_romeo_unsubscribes_from_juliet() {
    let mut house = juliets();
    let both = document(JULIET, &[("ID-balcony", "", ""), ("ID-chamber", "", "")]);
    let dialog = is_added(&mut house, JULIET, ROMEO, &both);
    house.partner_says(
        "example.net",
        "<presence from='romeo@example.net'\n id='ul4bs71n'\n to='juliet@example.com'\n type='unsubscribe'/>",
    );
    let close = house.request();
    assert_eq!((close.must("Call-ID").unwrap(), close.header("Expires")), (&*dialog.call_id, Some("0")));
    assert_eq!(
        heard(&mut house, "example.net"),
        [
            "juliet@example.com/balcony romeo@example.net unavailable",
            "juliet@example.com/chamber romeo@example.net unavailable",
            "juliet@example.com romeo@example.net unsubscribed",
        ]
    );
}

/// §4.3.2, as the contact's server: here Romeo is the contact. The second rule has no meaning in SIP: who moved is reached.
#[test]
fn tv_26_probes_are_answered() {
    let mut house = romeos();
    let two = document(ROMEO, &[("ID-foo", "", ""), ("ID-bar", &show("away"), "")]);
    let mut dialog = is_added(&mut house, ROMEO, JULIET, &two);
    let probe = |id: &str| {
        format!("<presence from='juliet@example.com'\n id='{id}'\n to='romeo@example.net'\n type='probe'/>")
    };
    // Rule 4.
    house.partner_says("example.com", &probe("ign291v5"));
    let stanzas = house.stanzas("example.com");
    assert_eq!(stanzas.iter().map(short).collect::<Vec<_>>(), ["available foo", "available bar away"]);
    assert!(stanzas.iter().all(|stanza| stanza.attribute("to") == Some(JULIET)));
    // A resource.
    house.partner_says("example.com", &probe("x").replace("'romeo@example.net'", "'romeo@example.net/bar'"));
    assert_eq!(house.told("example.com"), ["available bar away"]);
    // Rule 3, and the second scenario of §4.3.2.1: the id of the probe comes back.
    tells(&mut house, &mut dialog, OPEN, &document(ROMEO, &[]));
    house.stanzas("example.com");
    house.partner_says("example.com", &probe("probe2"));
    let stanzas = house.stanzas("example.com");
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    let [from, id, kind] = ["from", "id", "type"].map(|name| stanzas[0].attribute(name));
    assert_eq!((from, id, kind), (Some(ROMEO), Some("probe2"), Some("unavailable")));
    assert!(stanzas[0].child("delay").is_some(), "since when: {stanzas:?}");
}

/// §4.3.2, rule 1: the SHOULD would tell strangers who exists. They hear nothing, whether he does or not (DEC-03, DEC-28).
#[test]
fn tv_26_a_probe_that_the_front_end_refuses_is_silence() {
    for status in [403, 404] {
        let mut house = romeos();
        house.rule = Box::new(move |_| Reply::Status(status, "No"));
        let probe =
            "<presence from='mercutio@example.com' id='xv291f38' to='romeo@example.net' type='probe'/>";
        house.partner_says("example.com", probe);
        assert_eq!(house.request().header("Expires"), Some("0"));
        house.advance(MINUTE);
        assert!(heard(&mut house, "example.com").is_empty(), "{status}");
    }
}

/// §4.3.2, the probe of a room for one resource, from an address that never subscribed.
#[test]
fn tv_26_a_resource_that_a_stranger_probes_is_fetched() {
    let mut house = romeos();
    let probe = "<presence from='lobby@chat.example.com' to='romeo@example.net/bar' type='probe'/>";
    house.partner_says("chat.example.com", probe);
    let mut fetch = Dialog::of(&house.request());
    let two = document(ROMEO, &[("ID-foo", "", ""), ("ID-bar", "", "")]);
    tells(&mut house, &mut fetch, "terminated;reason=timeout", &two);
    let answered = ["romeo@example.net/bar lobby@chat.example.com available"];
    assert_eq!(heard(&mut house, "chat.example.com"), answered);
}

/// §4.3.1 and what §4.3.2 answers, as the user's server.
#[test]
fn tv_26_what_a_probe_brings_is_what_the_endpoint_sees() {
    for (answers, open, closed) in [
        // Rule 4, §4.3.2.1.
        (
            &[
                "<presence from='juliet@example.com/chamber' to='romeo@example.net' id='pres1'><show>dnd</show>\
                 <status>busy!</status></presence>",
                "<presence from='juliet@example.com/balcony' to='romeo@example.net' id='pres2'><show>away</show>\
                 <status>stepped away</status></presence>",
            ][..],
            2,
            0,
        ),
        // Rule 3.
        (
            &["<presence from='juliet@example.com' id='xv291f38' to='romeo@example.net' type='unavailable'>\
               <delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:41:07Z'/></presence>"][..],
            0,
            1,
        ),
    ] {
        let mut house = romeos();
        let before = adds(&mut house, ROMEO, JULIET);
        signs_out(&mut house, before);
        house.requests();
        house.stanzas("example.com");
        subscribes(&mut house, ROMEO, JULIET, "orchard");
        assert_eq!(heard(&mut house, "example.com"), ["romeo@example.net juliet@example.com probe"]);
        house.requests();
        answers.iter().for_each(|answer| house.partner_says("example.com", answer));
        house.advance(10 * SECOND);
        let notify = shown(&mut house);
        let count = |basic: &str| notify.body.matches(&format!("<basic>{basic}</basic>")).count();
        assert_eq!((count("open"), count("closed")), (open, closed), "{notify}");
    }
}

/// §7. Romeo is at the SIP side; Juliet (both), Benvolio (to) and Mercutio (from) are at his partners. Example 8, directed
/// presence, is nothing that SIP could say; example 9 is messages.
#[test]
fn tv_27_the_sample_session() {
    const BENVOLIO: &str = "benvolio@example.org";
    const MERCUTIO: &str = "mercutio@example.org";
    let mut house = romeos();
    let offline = document(ROMEO, &[]);
    let mut to_juliet = is_added(&mut house, ROMEO, JULIET, &offline);
    let mut to_mercutio = is_added(&mut house, ROMEO, MERCUTIO, &offline);
    for contact in [JULIET, BENVOLIO] {
        let before = adds(&mut house, ROMEO, contact);
        signs_out(&mut house, before);
    }
    house.requests();
    for partner in ["example.com", "example.org"] {
        house.stanzas(partner);
    }

    // Examples 3 to 5 and 7: he signs in. His endpoint looks for whom he sees, his front end tells who sees him.
    for contact in [JULIET, BENVOLIO] {
        subscribes(&mut house, ROMEO, contact, "orchard");
    }
    let orchard = document(ROMEO, &[("ID-orchard", "", "")]);
    for dialog in [&mut to_juliet, &mut to_mercutio] {
        tells(&mut house, dialog, OPEN, &orchard);
    }
    assert_eq!(
        heard(&mut house, "example.com"),
        [
            "romeo@example.net juliet@example.com probe",
            "romeo@example.net/orchard juliet@example.com available"
        ]
    );
    assert_eq!(
        heard(&mut house, "example.org"),
        [
            "romeo@example.net benvolio@example.org probe",
            "romeo@example.net/orchard mercutio@example.org available",
        ]
    );
    house.requests();

    // Example 6.
    for (partner, answer) in [
        (
            "example.com",
            "<presence from='juliet@example.com/balcony' to='romeo@example.net' xml:lang='en'><show>away</show>\
             <status>be right back</status><priority>0</priority></presence>",
        ),
        (
            "example.com",
            "<presence from='juliet@example.com/chamber' to='romeo@example.net'><priority>1</priority></presence>",
        ),
        (
            "example.org",
            "<presence from='benvolio@example.org/pda' to='romeo@example.net' xml:lang='en'><show>dnd</show>\
             <status>gallivanting</status></presence>",
        ),
    ] {
        house.partner_says(partner, answer);
    }
    house.advance(10 * SECOND);
    let seen = house.requests();
    let last = |who: &str| {
        let of = |notify: &&SipMessage| notify.body.contains(&format!("entity='pres:{who}'"));
        seen.iter().rfind(of).map(|notify| notify.body.clone()).unwrap_or_else(|| panic!("{seen:?}"))
    };
    for (who, parts) in [
        (
            JULIET,
            &["ID-balcony", "ID-chamber", ">away</show>", "<note xml:lang='en'>be right back</note>"][..],
        ),
        (BENVOLIO, &["ID-pda", ">dnd</show>", "gallivanting"][..]),
    ] {
        let body = last(who);
        assert!(parts.iter().all(|part| body.contains(part)), "{body}");
    }

    // Examples 10 to 12.
    let away =
        document(ROMEO, &[("ID-orchard", &show("away"), "<note xml:lang='en'>I shall return!</note>")]);
    for (dialog, partner) in [(&mut to_juliet, "example.com"), (&mut to_mercutio, "example.org")] {
        tells(&mut house, dialog, OPEN, &away);
        assert_eq!(house.told(partner), ["available orchard away I shall return!"]);
    }

    // Examples 13 and 14.
    house.partner_says(
        "example.com",
        "<presence from='juliet@example.com/chamber' to='romeo@example.net' type='unavailable'/>",
    );
    house.advance(6 * SECOND);
    let body = shown(&mut house).body;
    let gone = body.split("<tuple").find(|tuple| tuple.contains("ID-chamber"));
    assert!(gone.is_none_or(|tuple| tuple.contains("closed")) && body.contains("open"), "{body}");

    // Examples 15 and 16. The reason of the SIP side stands in a closed tuple.
    let home =
        away.replace("open", "closed").replace(&show("away"), "").replace("I shall return!", "gone home");
    for (dialog, partner, contact) in
        [(&mut to_juliet, "example.com", JULIET), (&mut to_mercutio, "example.org", MERCUTIO)]
    {
        tells(&mut house, dialog, OPEN, &home);
        let stanzas = house.stanzas(partner);
        assert_eq!(stanzas.len(), 1, "{stanzas:?}");
        assert_eq!(
            short(&stanzas[0]),
            "unavailable gone home",
            "from the bare address: there is no other resource"
        );
        assert_eq!(stanzas[0].attribute("to"), Some(contact));
    }
}

/// RFC 3856 §8: the watcher was authorized before, and the server knows what the resource is.
#[test]
fn tv_54_the_flow_of_rfc_3856() {
    const RESOURCE: &str = "resource@example.com";
    let mut house = romeos();
    adds(&mut house, ROMEO, RESOURCE);
    house.partner_says("example.com", "<presence from='resource@example.com/desk' to='romeo@example.net'/>");
    house.advance(10 * SECOND);
    house.requests();
    house.stanzas("example.com");

    // F1 and F2
    let subscribe = Request::new("SUBSCRIBE", RESOURCE)
        .with("Event: presence")
        .with(format!("Accept: {PIDF}"))
        .with("Contact: <sip:romeo@watcherhost.example.net>")
        .with("Expires: 600")
        .set(|request| {
            request.from = "<sip:romeo@example.net>;tag=xfg9".into();
            request.call_id = "2010@watcherhost.example.com".into();
            request.cseq = "17766 SUBSCRIBE".into();
        });
    let wire = house.front_end();
    let ok = house.ask(wire, subscribe.bytes());
    assert_eq!((ok.status(), ok.header("Expires")), (Some(200), Some("600")), "{ok}");
    assert_eq!(ok.header("CSeq"), Some("17766 SUBSCRIBE"));
    assert_eq!(ok.header("From"), Some(&*subscribe.from));
    let to = ok.must("To").unwrap().to_owned();
    assert!(to.starts_with("<sip:resource@example.com>;tag="), "{ok}");

    // F3 and F4
    let first = house.request();
    assert_eq!(first.start, "NOTIFY sip:romeo@watcherhost.example.net SIP/2.0");
    for (name, value) in [
        ("From", &*to),
        ("To", &*subscribe.from),
        ("Call-ID", &*subscribe.call_id),
        ("Event", "presence"),
        ("Subscription-State", "active;expires=600"),
        ("Max-Forwards", "70"),
        ("Content-Type", PIDF),
    ] {
        assert_eq!(first.header(name), Some(value), "{first}");
    }
    assert!(first.body.contains("<tuple id='ID-desk'><status><basic>open"), "{first}");

    // F5 and F6
    house.advance(57 * SECOND);
    house.partner_says(
        "example.com",
        "<presence from='resource@example.com/desk' to='romeo@example.net'><show>dnd</show></presence>",
    );
    house.advance(6 * SECOND);
    let all = house.requests();
    let second = all.iter().find(|notify| notify.header("To") == Some(&*subscribe.from)).unwrap();
    assert_eq!(second.header("Subscription-State"), Some("active;expires=543"));
    assert!(second.body.contains(">dnd</show>"), "{second}");
    let number =
        |notify: &SipMessage| notify.must("CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(second), number(&first) + 1);
    assert_eq!((second.header("From"), second.header("Call-ID")), (Some(&*to), Some(&*subscribe.call_id)));
    assert!(heard(&mut house, "example.com").is_empty(), "the resource need not know");
}
