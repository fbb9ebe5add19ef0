//! Routes, targets, numbers.

use super::*;

const SIGNED: &str = "<sip:fe.example:5061;transport=tls;ms-fe=A.b;opaque=state:F:Ci.R1;lr;ms-route-sig=x%2F-_>;ms-rrsig=\"a,b\";tag=7";

/// A dialog begun by us, made by a NOTIFY with these fields, and its next request.
fn refresh_with(extra: &[&str]) -> Message {
    let mut rig = SubRig::trying();
    rig.ok();
    let notify = Notify { extra, ..Notify::default() };
    assert_eq!(rig.notify_as(&notify).0, 200);
    rig.machine.refresh(&mut rig.world.cx());
    rig.did();
    rig.sent().clone()
}

fn routes(message: &Message) -> Vec<&str> {
    message.headers(HeaderName::Route).collect()
}

#[test]
fn sip_30_loose_routes_go_out_byte_for_byte() {
    let second = "Phil <sip:p2.example;lr>;x=\"q\"";
    let rows = [format!("Record-Route: {SIGNED},{second}"), "Record-Route:   <sip:p3.example;lr>".into()];
    let contact = "Contact: <sip:romeo@sip.example;opaque=user:epid:Aq;gruu>";
    let request = refresh_with(&[&rows[0], &rows[1], contact]);
    assert_eq!(routes(&request), [SIGNED, second, "<sip:p3.example;lr>"]);
    assert_eq!(request.request_uri(), "sip:romeo@sip.example;opaque=user:epid:Aq;gruu");
}

#[test]
fn sip_30_a_strict_router_gets_the_request_uri() {
    let rows = "Record-Route: <sip:strict.example;maddr=192.0.2.1;method=NOTIFY>, <sip:p2.example;lr>";
    let request = refresh_with(&[rows, "Contact: <sip:romeo@pc.example;x=1>"]);
    assert_eq!(request.request_uri(), "sip:strict.example;maddr=192.0.2.1");
    assert_eq!(routes(&request), ["<sip:p2.example;lr>", "<sip:romeo@pc.example;x=1>"]);
}

#[test]
fn a_route_that_is_no_sip_address_makes_no_dialog() {
    let request = subscribe(1, "", &["Record-Route: <tel:+1>"]);
    assert_eq!(Dialog::incoming(&request, "t").unwrap_err().answer().status, 400);
}

#[test]
fn headers_of_a_contact_do_not_enter_the_request_uri() {
    let request = refresh_with(&["Contact: <sip:romeo@pc.example;x=1?Subject=hi>"]);
    assert_eq!(request.request_uri(), "sip:romeo@pc.example;x=1");
}

#[test]
fn a_watchers_route_set_is_in_the_order_received() {
    let rows = [format!("Record-Route: {SIGNED}"), "Record-Route: <sip:p2.example;lr>".into()];
    let (mut rig, answer) = NotRig::accepted(&[&rows[0], &rows[1], "Expires: 600"]);
    let copied: Vec<_> =
        answer.headers.iter().filter(|(name, _)| *name == "Record-Route").map(|(_, value)| value).collect();
    assert_eq!(copied, [SIGNED, "<sip:p2.example;lr>"]);
    rig.told();
    let notify = rig.sent.unwrap();
    assert_eq!(routes(&notify), [SIGNED, "<sip:p2.example;lr>"]);
    assert_eq!(notify.request_uri(), "sip:romeo@sip.example;opaque=user:epid:x;gruu");
}

#[test]
fn a_record_route_leaves_in_an_answer_as_it_came() {
    let long = format!("<sip:fe.example;lr;sig={}>", "x".repeat(crate::MAX_TEXT));
    let request = subscribe(1, "", &[]);
    let answered = response(&request, 200, "ours", &[("Record-Route", &long)]);
    assert_eq!(answered.header(HeaderName::RecordRoute), Some(long.as_str()));
}

#[test]
fn a_target_refresh_moves_the_target_and_not_the_route() {
    let mut rig = SubRig::trying();
    let extra = ["Record-Route: <sip:p1.example;lr>", "Contact: <sip:romeo@one.example>"];
    rig.notify_as(&Notify { extra: &extra, ..Notify::default() });
    let target = |rig: &SubRig| rig.machine.record().unwrap().0.remote_target.to_string();
    let extra = ["Record-Route: <sip:p2.example;lr>", "Contact: <sip:romeo@two.example>"];
    rig.notify_as(&Notify { cseq: 2, extra: &extra, ..Notify::default() });
    assert_eq!(target(&rig), "sip:romeo@two.example");
    rig.answer(200, &[("Contact", "<sip:romeo@three.example>")]);
    assert_eq!(target(&rig), "sip:romeo@three.example");
    // What cannot be a target leaves it.
    for (cseq, contact) in
        [(3, "Contact: <tel:+123>"), (4, "Contact: <sip:a@x.example>, <sip:b@x.example>"), (5, "X: y")]
    {
        assert_eq!(rig.notify_as(&Notify { cseq, extra: &[contact], ..Notify::default() }).0, 200);
        assert_eq!(target(&rig), "sip:romeo@three.example");
    }
    assert_eq!(*rig.machine.record().unwrap().0.routes, ["<sip:p1.example;lr>".into()]);
}

#[test]
fn a_refused_notify_moves_nothing() {
    let mut rig = SubRig::trying();
    rig.notify_as(&Notify { cseq: 5, extra: &["Contact: <sip:romeo@one.example>"], ..Notify::default() });
    let evil = Notify { cseq: 4, extra: &["Contact: <sip:evil@two.example>"], ..Notify::default() };
    assert_eq!(rig.notify_as(&evil).0, 500);
    assert_eq!(&*rig.machine.record().unwrap().0.remote_target, "sip:romeo@one.example");
}

#[test]
fn what_a_dialog_keeps_is_bounded() {
    let long = |len: usize| format!("Record-Route: <sip:{}.example;lr>", "x".repeat(len));
    let kept = |dialog: &Dialog| {
        let record = dialog.record();
        record.call_id.len()
            + record.remote_tag.len()
            + record.local_uri.len()
            + record.remote_uri.len()
            + record.remote_target.len()
            + record.routes.iter().map(|route| route.len()).sum::<usize>()
    };
    let small = kept(&Dialog::incoming(&subscribe(1, "", &[&long(1)]), "t").unwrap());
    let room = MAX_KEPT - small + 1;
    // Two rows: one field alone must not pass the limit of a field.
    let rows = |len: usize| [long(len / 2), long(len - len / 2)];
    let overhead = long(0).len() - "Record-Route: ".len();
    for (more, fits) in [(0, true), (1, false)] {
        let [a, b] = rows(room - overhead + more);
        let request = subscribe(1, "", &[&a, &b]);
        let dialog = Dialog::incoming(&request, "t");
        match dialog {
            Ok(dialog) => assert!(fits && kept(&dialog) == MAX_KEPT),
            Err(error) => assert!(!fits && error.answer().status == 513, "{error}"),
        }
    }
}

#[test]
fn a_dialog_ends_before_its_numbers_do() {
    let mut record = SubRig::live().machine.record().unwrap().0;
    record.local_cseq = (1 << 31) - 2 - RESTORE_JUMP;
    let expires_at = Instant::now() + secs(600);
    let mut rig = SubRig { machine: Subscriber::restore(record, expires_at), ..SubRig::idle() };
    rig.machine.refresh(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Bound, Did::Send(3600)]);
    assert_eq!(cseq(rig.sent()), (1 << 31) - 1);
    rig.ok();
    rig.machine.refresh(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Released, Did::Failed(SubscribeFailure::Unwritable)]);
}

#[test]
fn only_sip_addresses_subscribe() {
    for (from, to) in [("tel:+1", "sip:a@x"), ("sip:a@x", "xmpp:a@x"), ("sip:a@x", "no uri")] {
        assert!(Subscriber::new(from, to).is_err(), "{from} {to}");
    }
}
