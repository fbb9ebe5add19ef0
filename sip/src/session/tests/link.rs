//! Two sessions with each other: what one writes, the other reads.

use super::*;

/// Idleness is another matter.
const IDLE: Duration = Duration::from_secs(100_000);

/// What one end sent, until nothing is left; answers come back at once.
fn carry(from: &mut Rig, to: &mut Rig) {
    while let Some(output) = from.session.poll() {
        let SessionOutput::Send { serial, request } = output else { continue };
        let request = Message::parse(request.bytes().clone()).unwrap();
        if request.method() == Method::Ack {
            to.session.acknowledged(&request, &mut to.world.cx());
            continue;
        }
        let answer = match to.session.request(&request, &mut to.world.cx()) {
            Received::Answer(answer) => answer,
            Received::Content => Answer::plain(200),
        };
        from.session.response(serial, &as_response(&request, &answer, ""), &mut from.world.cx());
    }
}

fn as_response(request: &Message, answer: &Answer, tag: &str) -> Message {
    let headers: Vec<_> = answer.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = answer.body.as_deref().map_or("", |(_, body)| std::str::from_utf8(body).unwrap());
    response(request, answer.status, tag, &headers, body)
}

/// A session of both, established.
fn linked(interval: Option<u32>) -> (Rig, Rig) {
    let mut caller = Rig::inviting();
    caller.world.config.idle = IDLE;
    let (serial, mut invite) = caller.last("INVITE");
    if let Some(seconds) = interval {
        let text = String::from_utf8(invite.raw().to_vec()).unwrap();
        let asked = format!("Session-Expires: {seconds}\r\nContent-Length");
        invite = Message::parse(text.replacen("Content-Length", &asked, 1).into()).unwrap();
    }
    let mut world = World::new();
    world.start = caller.world.start;
    world.now = world.start;
    world.config.idle = IDLE;
    let invited = check_invite(&invite, &world.config).unwrap();
    let (session, answer) = Session::accept(&invite, invited, "callee", &mut world.cx()).unwrap();
    let mut callee = Rig { world, session, sent: Vec::new(), cseq: 0, parting: Fields::default() };
    caller.session.response(serial, &as_response(&invite, &answer, "callee"), &mut caller.world.cx());
    carry(&mut caller, &mut callee);
    carry(&mut callee, &mut caller);
    assert!(caller.session.is_established() && callee.session.is_established());
    (caller, callee)
}

#[test]
fn messages_go_both_ways_and_bye_ends_it_on_both_sides() {
    let (mut caller, mut callee) = linked(None);
    assert_eq!(caller.session.call_id(), callee.session.call_id());
    assert_eq!(callee.session.conversation(), Some("conv1"));
    caller.say();
    carry(&mut caller, &mut callee);
    callee.say();
    carry(&mut callee, &mut caller);
    caller.session.end(&mut caller.world.cx());
    carry(&mut caller, &mut callee);
    carry(&mut callee, &mut caller);
    assert!(caller.session.is_over() && callee.session.is_over());
    assert_eq!((caller.session.deadline(), callee.session.deadline()), (None, None));
}

#[test]
fn ch_13_both_sides_keep_the_interval_for_an_hour() {
    let (mut caller, mut callee) = linked(Some(120));
    for second in 0..3_600 {
        for rig in [&mut caller, &mut callee] {
            rig.world.at(second * 1_000);
            rig.session.handle_timeout(&mut rig.world.cx());
        }
        carry(&mut caller, &mut callee);
        carry(&mut callee, &mut caller);
    }
    assert!(caller.session.is_established() && callee.session.is_established());
}
