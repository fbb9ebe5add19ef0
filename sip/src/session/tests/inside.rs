//! What happens inside a session.

use super::*;

const TEXT: &[&str] = &["Content-Type: text/plain"];

#[test]
fn messages_and_typing_are_the_callers_to_answer() {
    let mut rig = Rig::answering();
    assert_eq!(rig.status("MESSAGE", TEXT, "hi"), 0);
    assert_eq!(rig.status("INFO", &["Content-Type: application/xml"], "<x/>"), 0);
}

#[test]
fn our_messages_are_numbered_and_settled_one_by_one() {
    let mut rig = Rig::answering();
    let first = rig.say();
    let typing = rig.session.info(&[], ("application/xml", b"<x/>"), &mut rig.world.cx()).unwrap();
    assert_eq!(rig.did(), [send("MESSAGE"), send("INFO")]);
    assert_eq!(rig.last("MESSAGE").1.header(HeaderName::CSeq), Some("1 MESSAGE"));
    assert_eq!(rig.last("INFO").1.header(HeaderName::CSeq), Some("2 INFO"));
    assert_eq!(rig.answer("INFO", 415, &[]), [Did::Message(typing, "415".into())]);
    assert_eq!(
        rig.answer("MESSAGE", 200, &[]),
        [Did::Message(first, "Delivered { status: 200, message_id: None }".into())]
    );
    assert_eq!(rig.answer("MESSAGE", 200, &[]), [], "settled once");
}

#[test]
fn fields_of_the_caller_stand_in_his_message() {
    let mut rig = Rig::called();
    let fields = [("Content-Disposition", "render")];
    rig.session.message(&fields, ("text/plain;charset=UTF-8", "ä".as_bytes()), &mut rig.world.cx()).unwrap();
    rig.did();
    let (_, message) = rig.last("MESSAGE");
    assert_eq!(message.header(HeaderName::ContentDisposition), Some("render"));
    assert_eq!(message.body(), "ä".as_bytes());
    assert!(message.header(HeaderName::Contact).is_none());
}

#[test]
fn so_many_may_be_under_way_and_no_more() {
    let mut rig = Rig::called();
    for _ in 0..MAX_UNDER_WAY {
        rig.say();
    }
    assert!(rig.session.message(&[], ("text/plain", b"hi"), &mut rig.world.cx()).is_err());
    rig.did();
    rig.answer("MESSAGE", 200, &[]);
    rig.say();
}

#[test]
fn sip_29_a_request_of_another_dialog_is_481_and_a_lower_number_500() {
    let mut rig = Rig::answering();
    assert_eq!(rig.request_as("MESSAGE", 9, TEXT, "hi").0.map(|answer| answer.status), None, "gaps are fine");
    for number in [8, 9] {
        assert_eq!(rig.request_as("MESSAGE", number, TEXT, "hi").0.unwrap().status, 500);
    }
    let foreign = rig.inside("MESSAGE", 10, TEXT, "hi");
    let foreign = String::from_utf8(foreign.raw().to_vec()).unwrap().replace("tag=fe1", "tag=fe2");
    let foreign = Message::parse(foreign.into()).unwrap();
    let Received::Answer(answer) = rig.session.request(&foreign, &mut rig.world.cx()) else { panic!() };
    assert_eq!(answer.status, 481);
}

#[test]
fn sip_31_bye_gets_200_and_what_comes_after_it_481() {
    let mut rig = Rig::answering();
    let (answer, did) = rig.request("BYE", &[], "");
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(did, [Did::Ended(SessionEnd::Theirs), Did::Released]);
    assert_eq!(rig.status("BYE", &[], ""), 481);
    assert_eq!(rig.status("MESSAGE", TEXT, "hi"), 481);
}

#[test]
fn what_is_under_way_at_their_bye_still_has_its_outcome() {
    let mut rig = Rig::answering();
    let serial = rig.say();
    rig.did();
    assert_eq!(rig.request("BYE", &[], "").1, [Did::Ended(SessionEnd::Theirs)]);
    assert_eq!(rig.answer("MESSAGE", 487, &[]), [Did::Message(serial, "487".into()), Did::Released]);
}

#[test]
fn sip_31_after_their_bye_nothing_more_of_theirs_is_taken_whatever_of_ours_is_under_way() {
    for ends_too in [false, true] {
        let mut rig = Rig::answering();
        rig.say();
        if ends_too {
            rig.session.end(&mut rig.world.cx());
        }
        rig.did();
        assert_eq!(rig.status("BYE", &[], ""), 200);
        for (method, body) in [("MESSAGE", "hi"), ("INFO", "<x/>"), ("BYE", "")] {
            assert_eq!(rig.status(method, TEXT, body), 481, "{method}, {ends_too}");
        }
        let rest = rig.answer("MESSAGE", 200, &[]);
        assert_eq!(
            rest.last() == Some(&Did::Released),
            !ends_too,
            "the outcome is still waited for: {rest:?}"
        );
    }
}

#[test]
fn our_bye_ends_it_whatever_comes_of_it() {
    for outcome in [Ok(200), Ok(481), Err(Undelivered::Timeout)] {
        let mut rig = Rig::called();
        rig.session.end(&mut rig.world.cx());
        assert_eq!(rig.did(), [Did::Ended(SessionEnd::Ours), send("BYE")]);
        let did = match outcome {
            Ok(status) => rig.answer("BYE", status, &[]),
            Err(why) => rig.fails("BYE", why),
        };
        assert_eq!(did, [Did::Released], "{outcome:?}");
    }
}

#[test]
fn a_message_that_crosses_our_bye_is_taken_and_two_byes_meet() {
    let mut rig = Rig::called();
    rig.session.end(&mut rig.world.cx());
    rig.did();
    assert_eq!(rig.status("MESSAGE", TEXT, "hi"), 0);
    assert_eq!(rig.status("BYE", &[], ""), 200);
    assert_eq!(rig.answer("BYE", 481, &[]), [Did::Released]);
}

#[test]
fn ch_05_a_session_without_messages_ends_after_ten_minutes() {
    let mut rig = Rig::answering();
    rig.world.at(100_000);
    rig.status("MESSAGE", TEXT, "hi");
    rig.session.used(&rig.world.cx());
    assert_eq!(rig.tick(699_999), []);
    rig.world.at(200_000);
    rig.say();
    rig.did();
    rig.answer("MESSAGE", 200, &[]);
    assert_eq!(rig.tick(799_999), []);
    assert_eq!(rig.tick(800_000), [Did::Ended(SessionEnd::Idle), send("BYE")]);
}

#[test]
fn ch_05_typing_alone_keeps_no_session_alive() {
    let composing = "application/im-iscomposing+xml";
    let mut rig = Rig::answering();
    rig.world.at(500_000);
    rig.status("INFO", &["Content-Type: application/xml"], "<x/>");
    rig.status("MESSAGE", &[&format!("Content-Type: {composing}")], "<x/>");
    rig.session.aside(&[], (composing, b"<x/>"), &mut rig.world.cx()).unwrap();
    rig.session.info(&[], ("application/xml", b"<x/>"), &mut rig.world.cx()).unwrap();
    assert_eq!(rig.tick(599_999), [send("MESSAGE"), send("INFO")]);
    assert_eq!(rig.session.last_used(), rig.world.start);
    assert_eq!(rig.tick(600_000)[0], Did::Ended(SessionEnd::Idle));
}

#[test]
fn sip_29_481_to_a_message_ends_the_session_without_bye() {
    let mut rig = Rig::called();
    let serial = rig.say();
    rig.did();
    let ended = Did::Ended(SessionEnd::Gone(481));
    assert_eq!(rig.answer("MESSAGE", 481, &[]), [Did::Message(serial, "481".into()), ended, Did::Released]);
}

#[test]
fn sip_29_408_or_silence_ends_the_session_with_bye() {
    let ended = Did::Ended(SessionEnd::Gone(408));
    let mut rig = Rig::called();
    let serial = rig.say();
    rig.did();
    assert_eq!(
        rig.answer("MESSAGE", 408, &[]),
        [Did::Message(serial, "408".into()), ended.clone(), send("BYE")]
    );
    let mut rig = Rig::called();
    let serial = rig.say();
    rig.did();
    let silent = Did::Message(serial, "Undelivered(Timeout)".into());
    assert_eq!(rig.fails("MESSAGE", Undelivered::Timeout), [silent, ended, send("BYE")]);
}

#[test]
fn other_refusals_of_a_message_leave_the_session() {
    for status in [400, 403, 415, 480, 486, 500, 503] {
        let mut rig = Rig::called();
        let serial = rig.say();
        rig.did();
        assert_eq!(rig.answer("MESSAGE", status, &[]), [Did::Message(serial, status.to_string())]);
        assert!(rig.session.is_established());
    }
}

#[test]
fn a_session_without_message_is_useless_and_one_without_info_is_not() {
    let mut rig = Rig::called();
    rig.session.info(&[], ("application/xml", b"<x/>"), &mut rig.world.cx()).unwrap();
    rig.did();
    rig.answer("INFO", 405, &[]);
    assert!(rig.session.is_established());
    rig.say();
    rig.did();
    assert_eq!(rig.answer("MESSAGE", 405, &[]).last(), Some(&send("BYE")));
}

#[test]
fn an_outcome_that_nobody_tells_is_a_loss_after_two_minutes() {
    let mut rig = Rig::called();
    let serial = rig.say();
    rig.did();
    assert_eq!(rig.tick(119_999), []);
    assert_eq!(rig.tick(120_000), [Did::Message(serial, "Undelivered(Lost)".into())]);
}

#[test]
fn ch_12_a_re_invite_refreshes_target_and_description_and_keeps_messages() {
    let mut rig = Rig::answering();
    let offer = format!("{OFFER}{AUDIO}");
    let (answer, did) = rig.request("INVITE", &["Contact: <sip:juliet@new.example>"], &offer);
    let answer = answer.unwrap();
    assert_eq!((answer.status, did), (200, vec![]));
    assert_eq!(media(&answer), [MESSAGES, "m=audio 0 RTP/AVP 0"]);
    assert!(answer.header("Record-Route").is_none(), "the route set stays");
    assert_eq!(rig.ack(2), [], "it was established before");
    rig.say();
    rig.did();
    assert_eq!(rig.last("MESSAGE").1.request_uri(), "sip:juliet@new.example");
}

#[test]
fn ch_12_each_description_of_ours_has_its_own_version() {
    let mut rig = Rig::answering();
    let version = |answer: &Answer| {
        let body = String::from_utf8(answer.body.as_ref().unwrap().1.to_vec()).unwrap();
        body.lines().find_map(|line| line.strip_prefix("o=- ").map(str::to_owned)).unwrap()
    };
    let first = version(&rig.request("INVITE", &[], OFFER).0.unwrap());
    rig.ack(2);
    let second = version(&rig.request("INVITE", &[], OFFER).0.unwrap());
    let (id, number) = first.split_once(' ').unwrap();
    let (same, next) = second.split_once(' ').unwrap();
    assert_eq!(id, same);
    assert_ne!(number, next);
}

#[test]
fn ch_12_a_re_invite_without_messages_is_refused_and_changes_nothing() {
    let mut rig = Rig::answering();
    let contact = ["Contact: <sip:juliet@new.example>"];
    assert_eq!(rig.status("INVITE", &contact, &format!("v=0\r\n{AUDIO}")), 488);
    assert!(rig.session.is_established());
    rig.say();
    rig.did();
    assert_ne!(rig.last("MESSAGE").1.request_uri(), "sip:juliet@new.example");
}

#[test]
fn ch_11_a_re_invite_without_ack_ends_the_session_too() {
    let mut rig = Rig::answering();
    rig.request("INVITE", &[], OFFER);
    assert_eq!(rig.tick(500), [Did::Repeat]);
    rig.tick(31_999);
    assert_eq!(rig.tick(32_000), [Did::Ended(SessionEnd::NoAck), send("BYE")]);
}

#[test]
fn ch_12_update_is_answered_with_and_without_an_offer() {
    let mut rig = Rig::answering();
    let (answer, _) = rig.request("UPDATE", &["Contact: <sip:juliet@new.example>"], "");
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.is_none()), (200, true));
    let (answer, _) = rig.request("UPDATE", &[], &format!("{OFFER}{AUDIO}"));
    assert_eq!(media(&answer.unwrap()), [MESSAGES, "m=audio 0 RTP/AVP 0"]);
    rig.say();
    rig.did();
    assert_eq!(rig.last("MESSAGE").1.request_uri(), "sip:juliet@new.example");
}

#[test]
fn what_makes_a_conference_of_it_is_not_allowed() {
    let mut rig = Rig::answering();
    for (method, status) in
        [("REFER", 405), ("SUBSCRIBE", 403), ("NOTIFY", 481), ("FOO", 501), ("OPTIONS", 200)]
    {
        assert_eq!(rig.status(method, &["Event: refer"], ""), status, "{method}");
    }
    assert!(rig.session.is_established());
}

#[test]
fn ch_11_who_goes_on_inviting_without_ack_does_not_put_off_the_end() {
    for first in [true, false] {
        let mut rig = if first { Rig::invited() } else { Rig::answering() };
        if !first {
            rig.request("INVITE", &[], OFFER);
        }
        for at in [1_000, 20_000, 31_999] {
            rig.tick(at);
            let answer = rig.request("INVITE", &[], OFFER).0.unwrap();
            assert_eq!(answer.status, 500, "RFC 3261 §14.2");
            let seconds: u32 = answer.header("Retry-After").unwrap().parse().unwrap();
            assert!(seconds <= 10, "{seconds}");
        }
        assert_eq!(rig.tick(32_000), [Did::Ended(SessionEnd::NoAck), send("BYE")]);
    }
}

#[test]
fn a_re_invite_while_our_offer_waits_for_its_answer_gets_491() {
    let mut rig = Rig::answering();
    assert_eq!(rig.status("INVITE", &[], ""), 200, "our offer");
    assert_eq!(rig.status("INVITE", &[], OFFER), 491);
    let number = rig.cseq - 1;
    rig.ack_with(number, OFFER);
    assert_eq!(rig.status("INVITE", &[], OFFER), 200);
}

#[test]
fn who_ends_it_says_why_on_bye_and_cancel_alike() {
    let why = || Fields::from([("Reason", "SIP;cause=403".to_owned())]);
    let on_bye = |rig: &Rig| rig.last("BYE").1.other("Reason").map(str::to_owned);
    let mut rig = Rig::called();
    rig.session.end_saying(why(), &mut rig.world.cx());
    rig.did();
    assert_eq!(on_bye(&rig).as_deref(), Some("SIP;cause=403"));

    let mut rig = Rig::invited();
    rig.session.end_saying(why(), &mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Ended(SessionEnd::Ours)], "not before ACK");
    rig.ack(1);
    assert_eq!(on_bye(&rig).as_deref(), Some("SIP;cause=403"));

    let mut rig = Rig::inviting();
    rig.session.end_saying(why(), &mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Cancel, failed("Abandoned")]);
    assert_eq!(rig.parting, why());
    assert_eq!(rig.accepted(&[]), [send("ACK"), send("BYE")], "it crossed our CANCEL");
    assert_eq!(on_bye(&rig).as_deref(), Some("SIP;cause=403"));

    let mut rig = Rig::called();
    rig.session.end(&mut rig.world.cx());
    rig.did();
    assert_eq!(on_bye(&rig), None);
}
