//! Sessions that we begin.

use super::*;

#[test]
fn ch_02_an_invite_offers_messages_and_names_the_conversation() {
    let rig = Rig::inviting();
    let (_, invite) = rig.last("INVITE");
    assert_eq!(invite.request_uri(), THEIRS);
    assert_eq!(invite.header(HeaderName::MsConversationId), Some("conv1"));
    assert_eq!(invite.supported().collect::<Vec<_>>(), ["timer"]);
    assert!(invite.header(HeaderName::MsTextFormat).is_none());
    assert!(invite.contacts().count() == 1 && invite.allow().count() > 0);
    let world = World::new();
    assert_eq!(check_invite(&invite, &world.config).unwrap().conversation.as_deref(), Some("conv1"));
}

#[test]
fn ch_02_a_2xx_is_acknowledged_and_then_messages_can_be_sent() {
    let mut rig = Rig::inviting();
    assert!(rig.session.message(&[], ("text/plain", b"hi"), &mut rig.world.cx()).is_err());
    assert_eq!(rig.accepted(&[]), [send("ACK"), Did::Established]);
    let (_, ack) = rig.last("ACK");
    assert_eq!(ack.header(HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(ack.request_uri(), "sip:juliet@pc.example;gruu");
    rig.say();
    rig.did();
    assert_eq!(rig.last("MESSAGE").1.header(HeaderName::CSeq), Some("2 MESSAGE"));
}

#[test]
fn somebody_being_asked_is_reported() {
    let mut rig = Rig::inviting();
    assert_eq!(rig.early(180, "fe1"), [Did::Ringing(180)]);
    assert_eq!(rig.early(183, "fe2"), [Did::Ringing(183)]);
}

#[test]
fn what_is_said_early_to_another_dialog_is_ignored() {
    let mut rig = Rig::inviting();
    let (_, request) = rig.last("INVITE");
    let text = String::from_utf8(response(&request, 200, "fe1", &[CONTACT], OFFER).raw().to_vec()).unwrap();
    for (ours, other) in [("Call-ID: ", "Call-ID: x"), ("CSeq: 1 INVITE", "CSeq: 1 MESSAGE")] {
        let foreign = Message::parse(text.replace(ours, other).into()).unwrap();
        rig.session.early(&foreign, &mut rig.world.cx());
        assert_eq!(rig.did(), [], "{other}");
    }
}

#[test]
fn a_repeated_2xx_is_acknowledged_again() {
    let mut rig = Rig::called();
    assert_eq!(rig.early(200, "fe1"), [send("ACK")]);
    assert_eq!(rig.last("ACK").1.header(HeaderName::CSeq), Some("1 ACK"));
}

#[test]
fn of_a_fork_the_first_2xx_wins_and_the_others_get_ack_and_bye() {
    let mut rig = Rig::called();
    assert_eq!(rig.early(200, "fe2"), [send("ACK"), send("BYE")]);
    let (serial, bye) = rig.last("BYE");
    assert_eq!(bye.to_tag(), Some("fe2"));
    assert!(rig.session.is_established());
    // The end of the fork is not the end of the session.
    rig.session.response(serial, &response(&bye, 200, "fe2", &[], ""), &mut rig.world.cx());
    rig.say();
    rig.did();
    assert_eq!(rig.last("MESSAGE").1.to_tag(), Some("fe1"));
}

#[test]
fn a_fork_that_repeats_its_2xx_gets_ack_again_and_no_second_bye() {
    let mut rig = Rig::called();
    rig.early(200, "fe2");
    assert_eq!(rig.early(200, "fe2"), [send("ACK")]);
    assert_eq!(rig.last("ACK").1.to_tag(), Some("fe2"));
}

#[test]
fn a_2xx_whose_session_is_no_more_gets_ack_and_bye_in_its_own_dialog() {
    let mut rig = Rig::called();
    let (_, invite) = rig.last("INVITE");
    let routes = ("Record-Route", "<sip:fe.example;lr;sig=x%2F>");
    let late = response(&invite, 200, "fork", &[CONTACT, routes], OFFER);
    let [ack, bye] = decline(&late, &mut rig.world.cx()).unwrap().map(|request| {
        let request = Message::parse(request.bytes().clone()).unwrap();
        crate::check_request_with(&request, &[]).unwrap();
        request
    });
    for (request, method, number) in [(&ack, Method::Ack, 1), (&bye, Method::Bye, 2)] {
        assert_eq!(request.cseq().unwrap(), crate::CSeq { number, method });
        assert_eq!(request.request_uri(), "sip:juliet@pc.example;gruu");
        assert_eq!(request.header(HeaderName::Route), Some(routes.1));
        assert_eq!((request.call_id(), request.from_tag()), (invite.call_id(), invite.from_tag()));
        assert_eq!(request.to_tag(), Some("fork"));
    }
    let busy = response(&invite, 486, "fork", &[CONTACT], "");
    let contactless = response(&invite, 200, "fork", &[], OFFER);
    let message = rig.inside("MESSAGE", 1, &[], "");
    let said = response(&message, 200, "fork", &[CONTACT], "");
    for other in [busy, contactless, said] {
        assert!(decline(&other, &mut rig.world.cx()).is_none());
    }
}

#[test]
fn so_many_forks_are_told_bye_and_no_more() {
    let mut rig = Rig::called();
    for n in 0..MAX_FORKS {
        assert_eq!(rig.early(200, &format!("fork{n}")), [send("ACK"), send("BYE")]);
    }
    assert_eq!(rig.early(200, "another"), []);
    assert_eq!(rig.early(200, "fork0"), [send("ACK")]);
}

#[test]
fn ch_03_refusals_challenges_and_redirections_are_reported_with_all_they_say() {
    for status in [301, 302, 401, 403, 404, 405, 407, 415, 480, 486, 488, 501, 503, 600, 603, 606] {
        let mut rig = Rig::inviting();
        let (serial, invite) = rig.last("INVITE");
        let extra =
            [("Retry-After", "7"), ("Warning", "304 fe \"no\""), ("Contact", "<sip:j@other.example>")];
        rig.session.response(serial, &response(&invite, status, "fe1", &extra, ""), &mut rig.world.cx());
        let Some(SessionOutput::Report(SessionReport::Failed(why))) = rig.session.poll() else {
            panic!("{status}")
        };
        let InviteFailure::Refused(message) = *why else { panic!("{status}: {why:?}") };
        assert_eq!(message.status().unwrap().0, status);
        assert_eq!(message.retry_after().unwrap().unwrap().seconds, 7);
        assert_eq!(rig.did(), [Did::Released], "{status}");
    }
}

#[test]
fn an_invite_that_does_not_get_there_fails() {
    for why in [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout] {
        let mut rig = Rig::inviting();
        assert_eq!(rig.fails("INVITE", why), [failed(&format!("Undelivered({why:?})")), Did::Released]);
    }
}

#[test]
fn sip_28_an_invite_without_answer_is_cancelled_in_time() {
    let mut rig = Rig::inviting();
    rig.early(180, "fe1");
    assert_eq!(rig.tick(59_999), []);
    assert_eq!(rig.tick(60_000), [Did::Cancel, failed("NoAnswer")]);
    assert_eq!(rig.answer("INVITE", 487, &[]), [Did::Released]);
}

#[test]
fn sip_28_what_is_abandoned_is_cancelled() {
    let mut rig = Rig::inviting();
    rig.session.end(&mut rig.world.cx());
    rig.session.end(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Cancel, failed("Abandoned")]);
    assert_eq!(rig.fails("INVITE", Undelivered::NotSent), [Did::Released]);
}

#[test]
fn sip_28_a_2xx_that_crosses_cancel_is_ended_at_once() {
    let mut rig = Rig::inviting();
    rig.session.end(&mut rig.world.cx());
    rig.did();
    assert_eq!(rig.accepted(&[]), [send("ACK"), send("BYE")]);
    assert_eq!(rig.answer("BYE", 200, &[]), [Did::Released]);
}

#[test]
fn a_2xx_without_messages_is_ended_at_once() {
    for (body, why) in
        [("v=0\r\nm=message 0 sip null\r\n", "Unacceptable(Refused)"), ("", "Undescribed(Version)")]
    {
        let mut rig = Rig::inviting();
        let (serial, invite) = rig.last("INVITE");
        let response = response(&invite, 200, "fe1", &[CONTACT], body);
        rig.session.response(serial, &response, &mut rig.world.cx());
        assert_eq!(rig.did(), [send("ACK"), failed(why), send("BYE")]);
    }
}

#[test]
fn a_2xx_that_makes_no_dialog_fails() {
    let mut rig = Rig::inviting();
    assert_eq!(rig.answer("INVITE", 200, &[]), [failed("NoDialog"), Did::Released]);
}

#[test]
fn a_message_that_overtakes_the_2xx_is_taken() {
    let mut rig = Rig::inviting();
    assert_eq!(rig.status("MESSAGE", &["Content-Type: text/plain"], "hi"), 0);
    assert_eq!(rig.status("BYE", &[], ""), 481);
    assert_eq!(rig.accepted(&[]), [send("ACK"), Did::Established]);
    assert_eq!(rig.request_as("MESSAGE", 1, &[], "").0.unwrap().status, 500, "its number counts");
}

/// A MESSAGE of that branch of the fork; its status, 0 if it is taken.
fn branch_says(rig: &mut Rig, tag: &str, number: u32) -> u16 {
    let said = rig.inside("MESSAGE", number, &["Content-Type: text/plain"], "hi");
    let from = format!("From: <{THEIRS}>;tag=");
    let text = String::from_utf8(said.raw().to_vec()).unwrap();
    let text = text.replace(&format!("{from}fe1"), &format!("{from}{tag}"));
    match rig.session.request(&Message::parse(text.into()).unwrap(), &mut rig.world.cx()) {
        Received::Answer(answer) => answer.status,
        Received::Content => 0,
    }
}

#[test]
fn sip_29_the_numbers_of_one_branch_of_a_fork_do_not_count_in_another() {
    let mut rig = Rig::inviting();
    assert_eq!(branch_says(&mut rig, "fe2", 1000), 0);
    assert_eq!(branch_says(&mut rig, "fe1", 5), 0, "each has its own");
    assert_eq!(branch_says(&mut rig, "fe1", 5), 500);
    assert_eq!(rig.accepted(&[]), [send("ACK"), Did::Established]);
    assert_eq!(branch_says(&mut rig, "fe1", 5), 500, "its number counts");
    assert_eq!(branch_says(&mut rig, "fe1", 6), 0);
    assert_eq!(branch_says(&mut rig, "fe2", 1001), 481);
}

#[test]
fn so_many_branches_of_a_fork_are_heard_and_no_more() {
    let mut rig = Rig::inviting();
    for n in 0..MAX_FORKS {
        assert_eq!(branch_says(&mut rig, &format!("fork{n}"), 1), 0);
    }
    assert_eq!(branch_says(&mut rig, "another", 1), 481);
    assert_eq!(branch_says(&mut rig, "fork0", 2), 0);
}

#[test]
fn only_sip_addresses_meet_in_sessions() {
    let mut world = World::new();
    assert!(Session::invite(&invitation("xmpp:a@x"), &mut world.cx()).is_err());
}
