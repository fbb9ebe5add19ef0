//! It explains itself to its own side: each refusal of a SUBSCRIBE or NOTIFY says why, on the wire and in the log, and so
//! does each subscription that the gateway ends.

use nuncio_translate::judge::{Partner, PartnerType, Snapshot};

use crate::hearing::Log;
use crate::text::Request;
use crate::watching::*;

fn without(request: Request, field: &str) -> Request {
    request.set(|request| request.more.retain(|line| !line.starts_with(field)))
}

fn instead(request: Request, field: &str, line: &str) -> Request {
    without(request, field).with(line)
}

/// What a request of alice's endpoint gets: status, and what `ms-diagnostics` says.
type Refusal = (u16, &'static str, &'static str);

#[test]
fn a_subscribe_that_is_refused_says_why_with_the_evidence() {
    let asks = || subscribe(BOB, 3600);
    let refused: [(Request, Refusal); 7] = [
        (instead(asks(), "Event", "Event: dialog"), (489, "1027;", r#"its event package is \"dialog\""#)),
        (without(asks(), "Event"), (489, "1027;", "its event package is not named")),
        (
            instead(asks(), "Accept", "Accept: text/plain"),
            (406, "29002;", r#"it accepts \"text/plain\"; what is written is "#),
        ),
        (
            instead(asks(), "Contact", "Contact: <sip:victim@victim.example>"),
            (403, "1027;", "its Contact leads to victim.example"),
        ),
        (without(asks(), "Contact"), (400, "29004;", "the Contact header field does not hold exactly one")),
        (subscribe(BOB, 20), (423, "29006;", "it asks for 20 s; the least is")),
        (asks().with("Require: rocket"), (420, "29004;", "Unsupported: rocket")),
    ];
    for (request, (status, number, words)) in refused {
        let mut house = house();
        let wire = house.front_end();
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        let why = answer.must("ms-diagnostics").unwrap();
        assert!(why.starts_with(number) && why.contains(words), "{answer}");
    }
}

#[test]
fn a_notify_that_is_refused_says_why_to_the_front_end_and_in_the_log() {
    let broken: [(&str, &str, u16, &str); 4] = [
        (OPEN, "<presence", 400, "the document is not acceptable as XML"),
        (OPEN, "<other xmlns='urn:x'/>", 400, "the document is no PIDF"),
        ("", "", 400, "Subscription-State"),
        (OPEN, "text", 415, r#"its body has the type \"text/plain\""#),
    ];
    for (state, document, status, words) in broken {
        let mut house = house();
        let (wire, mut dialog) = house.seen_by(BOB);
        let log = Log::listen();
        let mut notify = dialog.notify(state, document);
        if state.is_empty() {
            notify = without(notify, "Subscription-State");
        }
        if document == "text" {
            notify = instead(notify, "Content-Type", "Content-Type: text/plain");
        }
        let answer = house.ask(wire, notify.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert!(answer.must("ms-diagnostics").unwrap().contains(words), "{words}: {answer}");
        let line = format!("user={ALICE} contact={BOB} status={status} why=");
        assert_eq!(log.lines_with("NOTIFY of a front end refused"), 1, "{words}");
        assert_eq!(log.lines_with(&line), 1, "both of them, {words}");
        assert_eq!(house.count("notifies_refused"), 1);
        assert!(house.told(PARTNER).is_empty(), "silence outward");
    }
}

#[test]
fn refusals_inside_a_dialog_are_logged_as_those_outside_are() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    let log = Log::listen();
    let moved = instead(dialog.subscribe(3600), "Contact", "Contact: <sip:victim@victim.example>");
    let answer = house.ask(wire, moved.bytes());
    assert_eq!(answer.status(), Some(403));
    assert!(answer.must("ms-diagnostics").unwrap().contains("victim.example"), "{answer}");
    assert_eq!(log.lines_with(&format!("user={ALICE} contact={BOB} status=403")), 1);
    assert_eq!(log.lines_with("SUBSCRIBE refused"), 1);
    assert_eq!(house.count("subscribes_refused"), 1);
}

#[test]
fn a_front_end_whose_documents_cannot_be_read_fills_no_log() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let log = Log::listen();
    for _ in 0..50 {
        assert_eq!(house.status(wire, &dialog.notify(OPEN, "<presence")), 400);
    }
    assert_eq!(log.lines_with("NOTIFY of a front end refused"), 10);
    assert_eq!(house.count("notifies_refused"), 50, "and all are counted");
}

#[test]
fn a_subscription_that_ends_for_a_reason_says_which() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribed'", ""));
    let last = house.request();
    assert_eq!(last.header("Subscription-State"), Some("terminated;reason=rejected"));
    assert!(last.must("ms-diagnostics").unwrap().starts_with("29010;"), "the contact: {last}");

    let mut house = crate::watching::house();
    house.user_sees(BOB);
    let nobody = Snapshot::new(2, ["contoso.com".into()], []);
    house.gateway.set_policy(nobody);
    house.advance(MINUTE);
    let last = house.request();
    assert_eq!(last.header("Subscription-State"), Some("terminated;reason=rejected"));
    let why = last.must("ms-diagnostics").unwrap();
    assert!(why.starts_with("1005;") && why.contains("(unlisted-domain)"), "the rule: {last}");
}

#[test]
fn an_endpoint_that_ends_its_own_subscription_is_given_no_reason_for_it() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    assert_eq!(house.status(wire, &dialog.subscribe(0)), 200);
    let last = house.request();
    assert_eq!(last.header("Subscription-State"), Some("terminated;reason=timeout"));
    assert_eq!(last.header("ms-diagnostics"), None, "{last}");
}

#[test]
fn a_disabled_partner_is_named_as_such() {
    let mut house = house();
    house.user_sees(BOB);
    let partner = Partner { domain: PARTNER.into(), partner_type: PartnerType::Federated, enabled: false };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    house.advance(MINUTE);
    let last = house.request();
    assert!(last.must("ms-diagnostics").unwrap().contains("(partner-disabled)"), "{last}");
}
