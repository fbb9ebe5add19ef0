//! Sessions that the other side begins.

use super::*;

fn refused(extra: &[&str], body: &str) -> Answer {
    check_invite(&invite(extra, body), &World::new().config).unwrap_err()
}

#[test]
fn ch_04_an_invite_is_answered_with_our_description_and_contact() {
    let (rig, answer) = Rig::invited_with(&["Ms-Conversation-ID: AbC=="]);
    assert_eq!(answer.status, 200);
    assert_eq!(media(&answer), [MESSAGES]);
    assert_eq!(answer.header("Contact"), Some("<sip:romeo@gw.example:5061;transport=tls;gr=ours1>"));
    assert_eq!(rig.session.conversation(), Some("AbC=="));
    assert!(rig.session.accepts("text", "html") && !rig.session.accepts("text", "rtf"));
}

#[test]
fn sip_30_the_2xx_copies_record_route_and_requests_follow_it() {
    let (mut rig, answer) = Rig::invited_with(&["Record-Route: <sip:p2.example;lr>"]);
    let copied: Vec<_> =
        answer.headers.iter().filter(|(name, _)| *name == "Record-Route").map(|(_, v)| v).collect();
    assert_eq!(copied, ["<sip:fe.example;lr;sig=x%2F>", "<sip:p2.example;lr>"]);
    rig.ack(1);
    rig.say();
    rig.did();
    let (_, message) = rig.last("MESSAGE");
    let routes: Vec<_> = message.headers(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:fe.example;lr;sig=x%2F>", "<sip:p2.example;lr>"]);
    assert_eq!(message.request_uri(), "sip:juliet@sip.example;opaque=user:epid:x;gruu");
}

#[test]
fn the_embedded_first_message_is_never_said_to_be_taken() {
    let supported = "Supported: ms-embedded-first-message, ms-text-format, ms-delayed-accept, timer";
    let embedded = "ms-text-format: text/plain; charset=UTF-8; ms-body=aGk=";
    let (_, answer) = Rig::invited_with(&[supported, embedded]);
    assert_eq!(answer.header("Supported"), Some("timer"));
}

#[test]
fn ch_02_nothing_can_be_sent_before_ack() {
    let mut rig = Rig::invited();
    assert!(!rig.session.is_established());
    assert_eq!(rig.session.message(&[], ("text/plain", b"hi"), &mut rig.world.cx()), Err(NotReady));
    assert_eq!(rig.ack(1), [Did::Established]);
    rig.say();
    assert_eq!(rig.did(), [send("MESSAGE")]);
}

#[test]
fn ch_11_a_2xx_is_repeated_from_t1_to_t2_until_ack() {
    let mut rig = Rig::invited();
    for at in [500, 1_500, 3_500, 7_500, 11_500, 15_500] {
        assert_eq!(rig.tick(at - 1), [], "{at}");
        assert_eq!(rig.tick(at), [Did::Repeat], "{at}");
    }
    rig.ack(1);
    assert_eq!(rig.tick(19_500), []);
}

#[test]
fn ch_11_without_ack_for_32_s_bye_ends_it() {
    let mut rig = Rig::invited();
    rig.tick(31_999);
    assert_eq!(rig.tick(32_000), [Did::Ended(SessionEnd::NoAck), send("BYE")]);
    assert_eq!(rig.answer("BYE", 200, &[]), [Did::Released]);
    assert!(rig.session.is_over());
}

#[test]
fn an_ack_for_another_number_or_from_another_dialog_is_none() {
    let mut rig = Rig::invited();
    assert_eq!(rig.ack(2), []);
    let foreign = rig.inside("ACK", 1, &[], "");
    let foreign = String::from_utf8(foreign.raw().to_vec()).unwrap().replace("tag=fe1", "tag=fe2");
    rig.session.acknowledged(&Message::parse(foreign.into()).unwrap(), &mut rig.world.cx());
    assert_eq!(rig.did(), []);
    assert!(!rig.session.is_established());
}

#[test]
fn the_callee_says_bye_only_after_ack() {
    let mut rig = Rig::invited();
    rig.session.end(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Ended(SessionEnd::Ours)]);
    assert_eq!(rig.tick(500), [Did::Repeat], "it still has to hear of its 2xx");
    assert_eq!(rig.ack(1), [send("BYE")]);
}

#[test]
fn an_invite_without_offer_gets_ours_and_its_ack_the_answer() {
    let mut world = World::new();
    let request = invite(&[], "");
    let invited = check_invite(&request, &world.config).unwrap();
    let (session, answer) = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap();
    assert_eq!(media(&answer), ["m=message 5060 sip null"]);
    let mut rig = Rig { world, session, sent: Vec::new(), cseq: 1, parting: Fields::default() };
    rig.did();
    assert_eq!(rig.ack_with(1, OFFER), [Did::Established]);
    assert!(rig.session.accepts("text", "html"));
}

#[test]
fn an_ack_that_answers_our_offer_with_nothing_usable_ends_the_session() {
    for body in ["", "v=0\r\nm=message 0 sip null\r\n"] {
        let mut world = World::new();
        let request = invite(&[], "");
        let invited = check_invite(&request, &world.config).unwrap();
        let (session, _) = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap();
        let mut rig = Rig { world, session, sent: Vec::new(), cseq: 1, parting: Fields::default() };
        rig.did();
        assert_eq!(rig.ack_with(1, body), [Did::Ended(SessionEnd::Unacceptable), send("BYE")]);
    }
}

#[test]
fn ch_10_what_offers_no_messages_gets_488_with_the_reason() {
    let msrp = "v=0\r\nm=message 7654 TCP/MSRP *\r\n";
    let answer = refused(&[], msrp);
    assert_eq!(answer.status, 488);
    let (code, text) = answer.warning.as_deref().expect("a warning");
    assert_eq!((*code, text.as_str()), (302, "instant messages go as SIP MESSAGE here, not over MSRP"));
    crate::WarningValue::parse(&format!("{code} gw.example:5061 \"{text}\"")).unwrap();
    assert_eq!(refused(&[], &format!("v=0\r\n{AUDIO}")).status, 488);
}

#[test]
fn what_is_no_description_is_refused() {
    assert_eq!(refused(&[], "nonsense").status, 400);
    assert_eq!(refused(&[], &format!("v=0\r\n{}", "a=x\r\n".repeat(600))).status, 488);
    let html = refused(&["Content-Type: text/html"], "<p>");
    assert_eq!((html.status, html.header("Accept")), (415, Some("application/sdp")));
    let gzip = refused(&["Content-Encoding: gzip"], OFFER);
    assert_eq!((gzip.status, gzip.header("Accept-Encoding")), (415, Some("identity")));
    assert_eq!(refused(&["Content-Type: application/ms-conf-invite+xml"], "<x/>").status, 488);
}

const MIXED: &str = "Content-Type: multipart/mixed;boundary=b";
const ALTERNATIVE: &str = "Content-Type: multipart/alternative;boundary=\"b\"";

/// A body of these parts: type, further fields, content.
fn parted(boundary: &str, parts: &[(&str, &str, &str)]) -> String {
    let part = |(kind, fields, content): &(&str, &str, &str)| {
        format!("--{boundary}\r\nContent-Type: {kind}\r\n{fields}\r\n{content}\r\n")
    };
    parts.iter().map(part).collect::<String>() + &format!("--{boundary}--\r\n")
}

const SDP: &str = "application/sdp";
const OLDER: &str =
    "Content-ID: <a@b>\r\nContent-Disposition: session; handling=optional; ms-proxy-2007fallback\r\n";

#[test]
fn ch_10_audio_as_lync_offers_it_gets_488_with_the_reason() {
    let audio = format!("v=0\r\n{AUDIO}");
    let session = "Content-Disposition: session\r\n";
    let lync = parted("b", &[(SDP, OLDER, &audio), (SDP, session, &audio)]);
    let nested =
        parted("c", &[("multipart/alternative;boundary=b", "", &lync), ("application/pidf+xml", "", "<x/>")]);
    for (kind, body) in
        [(ALTERNATIVE, &lync), (MIXED, &lync), ("Content-Type: multipart/mixed;boundary=c", &nested)]
    {
        let answer = refused(&[kind], body);
        let (code, text) = answer.warning.as_deref().expect("a warning");
        let expected = (488, 304, "only instant messages cross here, neither audio nor video");
        assert_eq!((answer.status, *code, text.as_str()), expected, "{kind}");
    }
}

#[test]
fn ch_10_messages_in_one_part_of_several_are_taken() {
    let audio = format!("v=0\r\n{AUDIO}");
    let both = format!("{OFFER}{AUDIO}");
    let optional = "Content-Disposition: render;handling=optional\r\n";
    for (kind, body, answered) in [
        (ALTERNATIVE, parted("b", &[(SDP, OLDER, &audio), (SDP, "", OFFER)]), 1),
        (ALTERNATIVE, parted("b", &[(SDP, "", OFFER), (SDP, "", &audio)]), 1),
        (ALTERNATIVE, parted("b", &[(SDP, "", OFFER), (SDP, "", &both)]), 2),
        (ALTERNATIVE, parted("b", &[(SDP, "", OFFER), ("text/plain", "", "x"), (SDP, "", "nonsense")]), 1),
        (
            MIXED,
            parted(
                "b",
                &[("text/plain", optional, "x"), (SDP, "Content-Transfer-Encoding: 8bit\r\n", OFFER)],
            ),
            1,
        ),
        (
            MIXED,
            parted("b", &[("multipart/alternative;boundary=c", "", &parted("c", &[(SDP, "", OFFER)]))]),
            1,
        ),
    ] {
        let request = invite(&[kind], &body);
        let mut world = World::new();
        let invited = check_invite(&request, &world.config).unwrap_or_else(|why| panic!("{body}: {why:?}"));
        let (session, answer) = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap();
        assert_eq!((media(&answer).len(), media(&answer)[0].as_str()), (answered, MESSAGES), "{body}");
        assert!(session.accepts("text", "html"), "{body}");
    }
}

#[test]
fn what_has_to_be_understood_beside_a_description_and_is_not_refuses_it() {
    let conference = "application/ms-conf-invite+xml";
    for (body, status) in [
        // A text in it would be lost without a word.
        (parted("b", &[(SDP, "", OFFER), ("text/plain", "", "hello")]), 415),
        (parted("b", &[(SDP, "", OFFER), (conference, "", "<x/>")]), 488),
        (parted("b", &[("text/plain", "", "x")]), 415),
        (parted("b", &[(SDP, "Content-Encoding: gzip\r\n", OFFER)]), 415),
        (parted("b", &[(SDP, "Content-Transfer-Encoding: base64\r\n", OFFER)]), 415),
        (parted("b", &[(SDP, "", "nonsense")]), 400),
        (parted("b", &[("no type", "", OFFER)]), 400),
        ("--b\r\nno end".to_owned(), 400),
        (parted("b", &[(SDP, "", OFFER); 17]), 413),
    ] {
        assert_eq!(refused(&[MIXED], &body).status, status, "{body}");
    }
    let alternative = |parts: &[(&str, &str, &str)]| refused(&[ALTERNATIVE], &parted("b", parts)).status;
    assert_eq!(alternative(&[("text/plain", "", "x"), (conference, "", "<x/>")]), 488);
    assert_eq!(alternative(&[("text/plain", "", "x")]), 415);
    assert_eq!(refused(&["Content-Type: multipart/mixed"], "x").status, 400);
    let mut deep = OFFER.to_owned();
    let mut kind = SDP.to_owned();
    for boundary in ["d", "c", "b"] {
        deep = parted(boundary, &[(&kind, "", &deep)]);
        kind = format!("multipart/mixed;boundary={boundary}");
    }
    assert_eq!(refused(&[MIXED], &deep).status, 413);
}

#[test]
fn ch_12_conversations_of_several_are_refused_and_those_of_two_are_not() {
    let two = "EndPoints: \"Capulet, Juliet\" <sip:juliet@sip.example>, <sip:romeo@im.example>";
    for lines in [&[two][..], &[two, "TriggeredInvite: FALSE"]] {
        assert!(check_invite(&invite(lines, OFFER), &World::new().config).is_ok(), "{lines:?}");
    }
    let three = format!("{two},<sip:paris@sip.example>");
    for line in [three.as_str(), "TriggeredInvite: TRUE"] {
        let answer = refused(&[line], OFFER);
        assert_eq!((answer.status, answer.reason.as_ref()), (488, "Conferences Not Supported"), "{line}");
    }
}

#[test]
fn who_takes_no_description_back_gets_406() {
    assert_eq!(refused(&["Accept: text/plain"], OFFER).status, 406);
    assert_eq!(refused(&["Accept: application/sdp;q=0, */*"], OFFER).status, 406);
    for accept in ["Accept: application/sdp, text/plain", "Accept: application/*", "Accept: */*;q=0.1"] {
        assert!(check_invite(&invite(&[accept], OFFER), &World::new().config).is_ok(), "{accept}");
    }
}

#[test]
fn ch_12_media_beside_the_messages_get_port_0() {
    let request = invite(&[], &format!("{OFFER}{AUDIO}"));
    let mut world = World::new();
    let invited = check_invite(&request, &world.config).unwrap();
    let (_, answer) = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap();
    assert_eq!(media(&answer), [MESSAGES, "m=audio 0 RTP/AVP 0"]);
}

#[test]
fn sip_29_an_invite_in_a_dialog_that_nobody_knows_is_481() {
    let text = String::from_utf8(invite(&[], OFFER).raw().to_vec()).unwrap();
    let request =
        Message::parse(text.replace("To: <sip:romeo@im.example>", "To: <sip:romeo@im.example>;tag=x").into());
    assert_eq!(check_invite(&request.unwrap(), &World::new().config).unwrap_err().status, 481);
}

#[test]
fn an_invite_that_makes_no_dialog_is_refused() {
    let request = invite(&["Contact: <sip:second@pc.example>"], OFFER);
    let mut world = World::new();
    let invited = check_invite(&request, &world.config).unwrap();
    let refusal = Session::accept(&request, invited, "ours1", &mut world.cx()).unwrap_err();
    assert_eq!(refusal.status, 400);
}
