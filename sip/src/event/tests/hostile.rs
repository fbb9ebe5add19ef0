//! NOTIFY and SUBSCRIBE, damaged at random: whatever passes the checks before us does no harm.

use super::*;

const PIECES: &[&str] = &[
    "\r\nContact: *",
    "\r\nContact: <sip:a@b>, <sip:c@d>",
    "\r\nRecord-Route: <sip:x;lr>",
    "\r\nRecord-Route: ,",
    "\r\nEvent: presence;id=\"a b\"",
    "\r\nEvent: ;",
    "\r\nSubscription-State: active;expires=99999999999",
    "\r\nSubscription-State: terminated;retry-after=-1;reason=\"x\"",
    "\r\nExpires: 4294967296",
    "\r\nExpires: 0",
    "\r\nAccept: */*;q=abc",
    "\r\nAccept: ,,,",
    "\r\nContent-Encoding: gzip",
    "\r\nMin-Expires: 9",
    "\0",
    "é",
    "\"",
    "<",
    ">",
    ";",
    ",",
    "=",
    "%",
    "%zz",
    " ",
    "\t",
    "0",
    "9",
    "-",
    "tag",
    ";tag=x",
    "sip:",
    "tel:+1",
    "?x=y",
    "\r\n ",
];

/// The request with one to four changes, if it still is one that the connection would hand on.
fn damaged(world: &mut World, original: &Message) -> Option<Message> {
    let mut bytes = original.raw().to_vec();
    for _ in 0..=world.chance(4) {
        let len = bytes.len() as u64;
        let at = usize::try_from(world.chance(len)).unwrap();
        match world.chance(5) {
            0 => bytes[at] = u8::try_from(world.chance(256)).unwrap(),
            1 => drop(bytes.remove(at)),
            2 => {
                let until = (at + usize::try_from(world.chance(30)).unwrap()).min(bytes.len());
                bytes.drain(at..until);
            }
            _ => {
                let piece = PIECES[usize::try_from(world.chance(PIECES.len() as u64)).unwrap()];
                // Half of them at the end of a line, where most of them mean something.
                let lines: Vec<_> = memchr::memmem::find_iter(&bytes, "\r\n").collect();
                let line = lines.get(usize::try_from(world.chance(lines.len().max(1) as u64)).unwrap());
                let at = line.filter(|_| world.chance(2) == 0).map_or(at, |line| *line);
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    let message = Message::parse(bytes.into()).ok()?;
    (message.is_request() && crate::check_request(&message).is_ok()).then_some(message)
}

#[test]
fn a_notify_that_is_refused_changes_nothing() {
    let mut world = World::new(11);
    let (mut refused, mut taken) = (0, 0);
    for round in 0..6_000 {
        let mut rig = if round % 2 == 0 { SubRig::live() } else { SubRig::trying() };
        let extra = ["Contact: <sip:romeo@fe.example>", "Record-Route: <sip:p.example;lr>"];
        let notify = Notify { cseq: 2, body: "<presence/>", extra: &extra, ..Notify::default() };
        let Some(request) = damaged(&mut world, &notify.to(rig.sent())) else { continue };
        let before = rig.machine.record();
        let answer = rig.machine.notify(&request, &mut rig.world.cx());
        assert!([200, 400, 415, 481, 489, 500, 513].contains(&answer.status), "{answer:?}");
        let did = rig.did();
        if answer.is_success() {
            taken += 1;
            // Whatever it is now, it can go on: a request can be written, or it says that it cannot.
            rig.machine.unsubscribe(&mut rig.world.cx());
            rig.did();
        } else {
            refused += 1;
            assert_eq!(did, [], "{answer:?}");
            assert_eq!(rig.machine.record(), before);
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn a_subscribe_that_is_refused_changes_nothing() {
    let mut world = World::new(12);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..4_000 {
        let mut rig = NotRig::active();
        let original = subscribe(2, "ours", &["Expires: 600", "Accept: application/pidf+xml"]);
        let Some(request) = damaged(&mut world, &original) else { continue };
        let before = rig.machine.record();
        let answer = rig.machine.subscribe(&request, |_| true, &mut rig.world.cx());
        assert!([200, 400, 403, 406, 423, 481, 489, 500].contains(&answer.status), "{answer:?}");
        let told = rig.told();
        if answer.is_success() {
            taken += 1;
            assert!(!told.is_empty() || cseq(&request) == 1, "EV-03: a NOTIFY has to follow");
        } else {
            refused += 1;
            assert_eq!(told, []);
            assert_eq!(rig.machine.record(), before);
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn a_first_subscribe_makes_a_dialog_or_an_answer() {
    let mut world = World::new(13);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..4_000 {
        let original = subscribe(1, "", &["Expires: 600", "Record-Route: <sip:p.example;lr>"]);
        let Some(request) = damaged(&mut world, &original) else { continue };
        let accepted = check_subscribe(&request, &world.config, |_| true)
            .and_then(|wanted| Notifier::accept(&request, &wanted, "ours", true, &mut world.cx()));
        match accepted {
            Err(answer) => {
                refused += 1;
                assert!((400..=513).contains(&answer.status));
            }
            Ok((mut notifier, _)) => {
                taken += 1;
                let mut sent = 0;
                while let Some(output) = notifier.poll(&mut world.cx(), &mut |_| None) {
                    if let NotifierOutput::Send { request, .. } = output {
                        let written = Message::parse(request.bytes().clone()).unwrap();
                        crate::check_request(&written).unwrap();
                        sent += 1;
                    }
                }
                assert!(sent == 1 || notifier.has_ended(), "neither a NOTIFY nor an end");
            }
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}
