//! Redirects (RFC 3261 §8.1.3.4).

use super::Did::*;
use super::*;

/// A request that is sent to the first next hop, which redirects it to there.
fn redirected(rig: &mut Rig, envelope: u32, status: u16, contact: &str) -> Vec<Did> {
    rig.response_with(envelope, status, &format!("Contact: {contact}\r\n"))
}

fn request_uri(rig: &Rig, envelope: u32) -> &str {
    let sent = rig.sent.iter().find(|sent| *sent.envelope() == envelope).unwrap();
    std::str::from_utf8(sent.request().bytes()).unwrap().split(' ').nth(1).unwrap()
}

#[test]
fn sip_13_a_redirect_to_another_of_the_next_hops_is_followed_there() {
    for (status, contact, uri) in [
        (
            301,
            "<sip:juliet@fe2.example:5061;transport=tls?Subject=x>",
            "sip:juliet@fe2.example:5061;transport=tls",
        ),
        (302, "<sip:FE2.example>", "sip:juliet@example.com"),
        (305, "<sip:juliet@fe2.example;lr>", "sip:juliet@example.com"),
        (300, "<sip:juliet@elsewhere.example>, <sips:Juliet@fe2.example>;q=0.5", "sips:Juliet@fe2.example"),
    ] {
        let mut rig = Rig::up(TWO);
        rig.push(1);
        let branch = rig.branch(1).to_owned();
        assert_eq!(redirected(&mut rig, 1, status, contact), [Connect(1)], "{contact}");
        assert_eq!(rig.connected(2), [Send(2, 1), Release(2)]);
        assert_eq!((request_uri(&rig, 1), rig.branch(1)), (uri, &*format!("{branch}.2")), "{contact}");
        assert_eq!(rig.response(1, 200), [Response(1, 200)]);
        assert!(rig.group.is_idle());
    }
}

#[test]
fn sip_13_a_redirect_out_of_the_list_or_to_somebody_else_goes_to_the_caller() {
    for (status, contact) in [
        (302, "<sip:juliet@elsewhere.example>"),
        (302, "<sip:juliet@fe2.example:5099>"),
        (302, "<sip:juliet@fe2.example;transport=tcp>"),
        (302, "<sip:juliet@fe2.example;maddr=192.0.2.1>"),
        (302, "<sip:rosaline@fe2.example>"),
        (302, "<sip:juliet:secret@fe2.example>"),
        (302, "<sip:juliet@fe1.example>"),
        (302, "<tel:+15551234>"),
        (302, "*"),
        (380, "<sip:juliet@fe2.example>"),
        (404, "<sip:juliet@fe2.example>"),
    ] {
        let mut rig = Rig::up(TWO);
        rig.push(1);
        assert_eq!(redirected(&mut rig, 1, status, contact), [Response(1, status)], "{contact}");
    }
}

#[test]
fn sip_13_a_redirect_is_followed_once() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    redirected(&mut rig, 1, 302, "<sip:juliet@fe2.example>");
    rig.connected(2);
    let did = redirected(&mut rig, 1, 302, "<sip:juliet@fe1.example>");
    assert_eq!(did, [Response(1, 302)]);
}

const THERE: &str = "<sip:juliet@fe2.example>";

#[test]
fn sip_41_what_is_redirected_goes_there_alone_and_the_others_stay_where_they_are() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.push(2);
    assert_eq!(redirected(&mut rig, 1, 302, THERE), [Connect(1)]);
    assert_eq!(rig.within, Some(rig.group.config.attempt()));
    assert_eq!(rig.push(3), [Send(1, 3)], "nobody waits for it");
    assert_eq!(redirected(&mut rig, 2, 302, THERE), [], "it goes there as well");
    assert_eq!(rig.connected(2), [Send(2, 1), Send(2, 2), Release(2)]);
    assert_eq!(rig.push(4), [Send(1, 4)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.group.active(), Some((HopConnection(1), 0)));
}

#[test]
fn sip_41_a_redirect_to_one_that_cannot_be_reached_comes_back_and_costs_nobody_else_anything() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.push(2);
    redirected(&mut rig, 1, 302, THERE);
    assert_eq!(rig.connect_failed("refused"), [Response(1, 302)]);
    assert_eq!(rig.push(3), [Send(1, 3)]);
    redirected(&mut rig, 2, 302, THERE);
    assert_eq!(rig.tick(10_000), [Response(2, 302)], "nor does it wait for ever");
    assert_eq!(rig.connected(2), [Release(2)]);
}

#[test]
fn sip_41_what_could_not_be_sent_there_is_sent_nowhere_else() {
    let lost = Failure::ConnectionLost { written: false };
    for end in [None, Some(503)] {
        let mut rig = Rig::up(TWO);
        rig.push(1);
        redirected(&mut rig, 1, 302, THERE);
        rig.connected(2);
        match end {
            None => assert_eq!(rig.failed(1, lost), [Response(1, 302)]),
            Some(status) => assert_eq!(rig.response(1, status), [Response(1, status)]),
        }
        assert_eq!(rig.push(2), [Send(1, 2)]);
    }
}

#[test]
fn sip_41_without_any_other_connection_the_one_that_a_redirect_asked_for_is_for_all() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    redirected(&mut rig, 1, 302, THERE);
    assert_eq!(rig.closed(1), []);
    assert_eq!(rig.push(2), []);
    assert_eq!(rig.connected(2), [Send(2, 1), Send(2, 2)]);
}

#[test]
fn sip_41_a_redirect_to_where_all_go_by_now_needs_no_connection_of_its_own() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.push(2);
    assert_eq!(rig.response(1, 503), [Release(1), Connect(1)]);
    assert_eq!(rig.connected(2), [Send(2, 1)]);
    assert_eq!(redirected(&mut rig, 2, 302, THERE), [Send(2, 2)]);
}

#[test]
fn sip_41_a_redirect_waits_for_the_attempt_that_is_under_way() {
    let mut rig = Rig::up(&["fe1.example:5061", "fe2.example:5061", "fe3.example:5061"]);
    for envelope in [1, 2] {
        rig.push(envelope);
    }
    assert_eq!(redirected(&mut rig, 1, 302, THERE), [Connect(1)]);
    assert_eq!(redirected(&mut rig, 2, 302, "<sip:juliet@fe3.example>"), [], "one at a time");
    assert_eq!(rig.connected(2), [Send(2, 1), Release(2), Connect(2)]);
    assert_eq!(rig.connected(3), [Send(3, 2), Release(3)]);
}

#[test]
fn sip_13_inside_a_dialog_no_redirect_is_followed() {
    let mut rig = Rig::up(TWO);
    let text = "MESSAGE sip:juliet@example.com SIP/2.0\r\nVia: SIP/2.0/TLS nuncio.example;branch=z9hG4bKd\r\n\
                From: <sip:romeo@contoso.example>;tag=f\r\nTo: <sip:juliet@example.com>;tag=t\r\nCall-ID: 1\r\n\
                CSeq: 2 MESSAGE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    rig.group.push(OutRequest::new(text, "z9hG4bKd").unwrap(), 1, rig.now).unwrap();
    assert_eq!(rig.poll(), [Send(1, 1)]);
    assert_eq!(redirected(&mut rig, 1, 302, "<sip:juliet@fe2.example>"), [Response(1, 302)]);
}
