//! What of presence crosses, by whose wish (PM, PS).

use nuncio_translate::pair::PresenceConfig;

use crate::house::Plan;
use crate::watching::*;

#[test]
fn pm_06_the_language_of_a_document_is_the_language_of_the_stanza_and_back() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let document = pidf(&[("desk", true, "", "<note>Mittag</note>")]);
    let notify = dialog.notify(OPEN, &document).with("Content-Language: de");
    assert_eq!(house.status(wire, &notify), 200);
    let stanzas = house.stanzas(PARTNER);
    assert!(stanzas[1].raw.contains("xml:lang='de'"), "{}", stanzas[1].raw);
    house.user_asks(BOB);
    house.requests();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/x", "xml:lang='fr'", "<status>Midi</status>"));
    house.advance(6 * SECOND);
    let notify = house.requests().pop().unwrap();
    assert_eq!(notify.header("Content-Language"), Some("fr"), "{notify}");
}

#[test]
fn pm_26_idle_times_cross_only_if_that_is_wanted() {
    for idle in [false, true] {
        let presence = PresenceConfig { idle, ..PresenceConfig::default() };
        let mut house = planned(Plan { presence, ..Plan::default() });
        let (wire, mut dialog) = house.contact_asks(BOB);
        let idle_since = "<user-input xmlns='urn:ietf:params:xml:ns:pidf:rpid' \
             last-input='2026-11-20T13:00:00Z'>idle</user-input>";
        house.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", idle_since)])));
        let stanzas = house.stanzas(PARTNER);
        assert_eq!(stanzas[1].child("idle").is_some(), idle, "{}", stanzas[1].raw);
        house.user_asks(BOB);
        house.requests();
        house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
        let idle_since = "<idle xmlns='urn:xmpp:idle:1' since='2026-11-20T13:00:00Z'/>";
        house.partner_says(PARTNER, &stanza("bob@fabrikam.com/x", "", idle_since));
        house.advance(6 * SECOND);
        let notify = house.requests().pop().unwrap();
        assert_eq!(notify.body.contains("last-input"), idle, "{notify}");
    }
}

#[test]
fn pr_44_and_ps_05_a_polite_block_of_the_front_end_is_a_user_who_is_offline() {
    let mut seen = Vec::new();
    for closed in [pidf(&[("desk", false, "", "")]), pidf(&[])] {
        let mut house = house();
        let (wire, mut dialog) = house.contact_asks(BOB);
        house.status(wire, &dialog.notify(OPEN, &closed));
        let told = house.told(PARTNER);
        assert_eq!(told[0], "subscribed");
        assert!(told.iter().all(|told| !told.starts_with("available")), "{told:?}");
        house.partner_says(PARTNER, &stanza("bob@fabrikam.com/x", "type='probe' id='p'", ""));
        seen.push(house.stanzas(PARTNER).iter().map(short).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], ["unavailable"]);
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn pm_03_from_and_to_of_the_stanza_are_those_of_the_dialog() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    // What the document says of whom it is about decides nothing.
    let document = pidf(&[("desk", true, "", "")]).replace(ALICE, "mallory@contoso.com");
    house.status(wire, &dialog.notify(OPEN, &document));
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas[1].attribute("from"), Some("alice@contoso.com/desk"));
    assert_eq!(stanzas[1].attribute("to"), Some(BOB));
    assert!(stanzas.iter().all(|stanza| !stanza.raw.contains("mallory")));
}

#[test]
fn pd_05_an_older_document_replaces_no_newer_one() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let at = |state: &str, time: &str| {
        pidf(&[("desk", true, &show(state), &format!("<timestamp>2026-11-20T{time}Z</timestamp>"))])
    };
    house.status(wire, &dialog.notify(OPEN, &at("dnd", "14:00:00")));
    assert_eq!(house.told(PARTNER).pop().unwrap(), "available desk dnd");
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &at("away", "13:00:00"))), 200);
    assert!(house.told(PARTNER).is_empty());
    house.status(wire, &dialog.notify(OPEN, &at("away", "15:00:00")));
    assert_eq!(house.told(PARTNER), ["available desk away"]);
}
