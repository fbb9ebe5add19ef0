//! The framer on a stream: Content-Length, limits while reading, keep-alive, and bytes in any pieces.

mod common;

use bytes::BytesMut;
use common::{LYNC_MESSAGE, Seen, frames_of, message, messages, try_message, wire, without_keep_alive};
use nuncio_sip::{
    Defect, Frame, FrameErrorKind, Framer, HeaderName, Limits, Message, ParseError, check_request,
};

const SMALL: &str = "OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/TLS c\nFrom: <sip:d@e>;tag=f\nTo: <sip:a@b>\n\
                     Call-ID: g\nCSeq: 1 OPTIONS\n\n";

fn kinds(bytes: &[u8]) -> (Vec<Message>, Option<FrameErrorKind>) {
    let (messages, error) = messages(bytes);
    (messages, error.map(|e| e.kind))
}

fn with_length(length: &str, body: &str) -> Vec<u8> {
    wire(&format!("{}Content-Length: {length}\n\n{body}", SMALL.trim_end_matches('\n').to_owned() + "\n"))
}

#[test]
fn sip_10_messages_are_cut_by_content_length() {
    let mut stream = wire(&format!("{SMALL}hello"));
    stream.extend_from_slice(&wire(LYNC_MESSAGE));
    stream.extend_from_slice(&wire(SMALL));
    let (messages, error) = kinds(&stream);
    assert_eq!(error, None);
    let bodies: Vec<_> = messages.iter().map(|m| m.body().to_vec()).collect();
    assert_eq!(bodies, [b"hello".to_vec(), b"ciao ab".to_vec(), Vec::new()]);
}

#[test]
fn sip_10_bad_lengths_end_the_stream_with_400() {
    use ParseError::{LengthInvalid, LengthMissing, LengthRepeated};
    for (length, why) in [
        ("-1", LengthInvalid),
        ("+5", LengthInvalid),
        ("five", LengthInvalid),
        ("0x5", LengthInvalid),
        ("", LengthInvalid),
        ("5 5", LengthInvalid),
        ("5, 5", LengthInvalid),
        ("5;q=1", LengthInvalid),
        ("99999999999999999999999999", LengthInvalid),
        ("5\nContent-Length: 6", LengthRepeated),
        ("5\nl: 5", LengthRepeated),
        ("5\nCONTENT-LENGTH : x", LengthRepeated),
    ] {
        let (before, error) = messages(&with_length(length, "hello"));
        let error = error.unwrap_or_else(|| panic!("{length} passed"));
        assert!(before.is_empty(), "{length}");
        assert_eq!((error.kind, error.status), (FrameErrorKind::Length(why), 400), "{length}");
        let head = error.head.unwrap();
        assert_eq!((head.call_id(), head.body().len()), (Ok("g"), 0), "{length}");
    }
    let missing = SMALL.replace('\n', "\r\n");
    assert_eq!(kinds(missing.as_bytes()).1, Some(FrameErrorKind::Length(LengthMissing)));
}

#[test]
fn lengths_may_have_zeros_in_front() {
    let (messages, error) = kinds(&with_length("0005", "hello"));
    assert_eq!((messages.len(), error), (1, None));
}

#[test]
fn after_an_error_nothing_more_comes() {
    let mut framer = Framer::new(Limits::default());
    let mut buf = BytesMut::from(&with_length("x", "")[..]);
    assert!(framer.next(&mut buf).is_err());
    buf.extend_from_slice(&wire(SMALL));
    assert!(framer.next(&mut buf).unwrap().is_none());
    assert!(buf.is_empty() && !framer.mid_message());
}

#[test]
fn sip_11_12_keep_alive() {
    use Seen::{Ping, Pong};
    let whole = |bytes: &[u8]| frames_of(Limits::default(), [bytes]).0;
    let drip = |bytes: &[u8]| frames_of(Limits::default(), bytes.chunks(1)).0;
    let message = Seen::Message(wire(SMALL));
    let after = |crlfs: &str| [crlfs.as_bytes(), &wire(SMALL)].concat();

    assert_eq!(whole(b"\r\n\r\n"), [Ping]);
    assert_eq!(whole(b"\r\n"), [Pong]);
    assert_eq!(whole(b"\r\n\r\n\r\n"), [Ping, Pong]);
    assert_eq!(whole(&after("\r\n")), [Pong, message.clone()]);
    assert_eq!(whole(&after("\r\n\r\n")), [Ping, message.clone()]);
    // The second half of a ping may be late; it is answered all the same.
    assert_eq!(drip(b"\r\n\r\n"), [Pong, Ping]);
    assert_eq!(drip(&after("\r\n")), [Pong, message.clone()]);
    // A pong, a message, a pong: not a ping.
    let stream = [&after("\r\n")[..], b"\r\n"].concat();
    assert_eq!(drip(&stream), [Pong, message, Pong]);
    assert_eq!(frames_of(Limits::default(), [&b"\r"[..]]), (vec![], true));
    // Inside a body CRLFs are content.
    let body = wire(&format!("{SMALL}\r\n\r\n"));
    assert_eq!(whole(&body), [Seen::Message(body.clone())]);
}

#[test]
fn every_split_gives_the_same_messages() {
    let folded = "MESSAGE sip:a@b SIP/2.0\nv: SIP/2.0/TLS c\nf: <sip:d@e>\n ;tag=f\nt:\n\t<sip:a@b>\ni: g\n\
                  CSeq: 1\n MESSAGE\n\nbody\n\nwith lines\n";
    let stream = [
        &b"\r\n"[..],
        &wire(LYNC_MESSAGE),
        b"\r\n\r\n",
        &wire(folded),
        &wire(
            "SIP/2.0 200 OK\nv: SIP/2.0/TLS c\nf: <sip:d@e>\nt: <sip:a@b>;tag=1\ni: g\nCSeq: 1 MESSAGE\n\n",
        ),
        &wire(SMALL),
    ]
    .concat();
    let expected = without_keep_alive(frames_of(Limits::default(), [&stream[..]]).0);
    assert_eq!(expected.len(), 4);
    for at in 0..=stream.len() {
        let (seen, waiting) = frames_of(Limits::default(), [&stream[..at], &stream[at..]]);
        assert_eq!(without_keep_alive(seen), expected, "split at {at}");
        assert!(!waiting);
    }
    assert_eq!(without_keep_alive(frames_of(Limits::default(), stream.chunks(1)).0), expected);
    assert_eq!(without_keep_alive(frames_of(Limits::default(), stream.chunks(7)).0), expected);
}

#[test]
fn mid_message_says_whether_silence_is_a_fault() {
    let bytes = wire(&format!("{SMALL}hello"));
    for at in 1..bytes.len() {
        assert!(frames_of(Limits::default(), [&bytes[..at]]).1, "{at}");
    }
    assert!(!frames_of(Limits::default(), [&bytes[..]]).1);
    assert!(!frames_of(Limits::default(), [&b"\r\n\r\n"[..]]).1);
}

fn limits() -> Limits {
    Limits { head: 400, header: 60, header_count: 8, body: 10 }
}

fn framed(bytes: &[u8]) -> Result<Vec<Message>, (u16, bool)> {
    let mut framer = Framer::new(limits());
    let mut buf = BytesMut::from(bytes);
    let mut out = Vec::new();
    loop {
        match framer.next(&mut buf) {
            Ok(Some(Frame::Message(m))) => out.push(m),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(out),
            Err(e) => return Err((e.status, e.head.is_some_and(|h| h.top_via().is_ok()))),
        }
    }
}

#[test]
fn sip_14_head_limit() {
    let exact = |size: usize| {
        let base = wire(&format!("{SMALL}hello")).len() - 5;
        let filler = |n: usize| format!("Z: {}\n", "y".repeat(n));
        // Two fields, so that the limit of one field is not what is met; each costs five bytes.
        let rest = size - base - 10;
        let text = SMALL.replace("\n\n", &format!("\n{}{}\n", filler(rest / 2), filler(rest - rest / 2)));
        wire(&text)
    };
    let wide = Limits { header: 400, ..limits() };
    assert_eq!(exact(400).len(), 400);
    assert_eq!(frames_of(wide, [&exact(400)[..]]).0.len(), 1);
    assert_eq!(frames_of(wide, [&exact(401)[..]]).0, [Seen::Error(513)]);
    // Without an end it is refused as soon as the limit is passed, and can be answered.
    let endless = &exact(500)[..401];
    assert!(frames_of(wide, [&endless[..400]]).0.is_empty());
    assert_eq!(framed(endless).unwrap_err(), (513, true));
}

#[test]
fn sip_14_header_limit_costs_the_message_only() {
    let with = |len: usize| wire(&SMALL.replace("\n\n", &format!("\nZ: {}\n\n", "y".repeat(len - 3))));
    let both = framed(&[with(60), with(61), with(60)].concat()).unwrap();
    let defects: Vec<_> = both.iter().map(Message::defect).collect();
    assert_eq!(defects, [None, Some(Defect::HeaderTooLarge), None]);
    assert_eq!(check_request(&both[1]).unwrap_err().status, 513);
}

#[test]
fn sip_14_header_count() {
    // Six fields with Content-Length, so two more are the limit.
    let with = |n: usize| wire(&SMALL.replace("\n\n", &format!("\n{}\n", "Z: y\n".repeat(n))));
    let both = framed(&[with(2), with(3)].concat()).unwrap();
    assert_eq!(both[0].defect(), None);
    assert_eq!(both[1].defect(), Some(Defect::TooManyHeaders));
    assert_eq!(check_request(&both[1]).unwrap_err().status, 513);
}

#[test]
fn sip_14_a_large_body_is_skipped_and_the_stream_lives_on() {
    let with = |n: usize| wire(&format!("{SMALL}{}", "z".repeat(n)));
    let stream = [with(10), with(11), with(3)].concat();
    let all = framed(&stream).unwrap();
    let bodies: Vec<_> = all.iter().map(|m| (m.body().len(), m.defect())).collect();
    assert_eq!(bodies, [(10, None), (0, Some(Defect::BodyTooLarge)), (3, None)]);
    assert_eq!(check_request(&all[1]).unwrap_err().status, 413);
    let drip = frames_of(limits(), stream.chunks(1)).0;
    assert_eq!(drip, frames_of(limits(), [&stream[..]]).0);
}

#[test]
fn sip_14_a_body_too_large_to_skip_ends_the_stream() {
    let with = |n: u64| with_length(&n.to_string(), "");
    let status = |n| frames_of(Limits::default(), [&with(n)[..]]);
    let (at_limit, waiting) = status(Framer::MAX_SKIPPED);
    assert!(matches!(at_limit[..], [Seen::Message(_)]) && waiting);
    assert_eq!(status(Framer::MAX_SKIPPED + 1).0, [Seen::Error(413)]);
    assert_eq!(status(u64::MAX).0, [Seen::Error(413)]);
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    for bad in [
        "OPTIONS sip:a@b SIP/2.0\nVia: x\n\n",
        "OPTIONS sip:a@b SIP/2.0\r\nVia: x\nl: 0\r\n\r\n",
        "OPTIONS sip:a@b SIP/2.0\r\nVia: x\ry\r\nl: 0\r\n\r\n",
        "OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\r\nl: 0\r\n\r\n",
    ] {
        assert_eq!(kinds(bad.as_bytes()).1, Some(FrameErrorKind::NotSip(ParseError::LineEnd)), "{bad:?}");
    }
    let folded_start = "OPTIONS sip:a@b SIP/2.0\r\n x\r\nl: 0\r\n\r\n";
    assert_eq!(kinds(folded_start.as_bytes()).1, Some(FrameErrorKind::NotSip(ParseError::FoldedStartLine)));
}

#[test]
fn other_protocols_are_no_sip() {
    for bad in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "SIP/2.0 OK\r\n\r\n",
        "SIP/2.0\r\n\r\n",
        "OPTIONS SIP/2.0\r\n\r\n",
        "O,S sip:a SIP/2.0\r\n\r\n",
    ] {
        assert_eq!(kinds(bad.as_bytes()).1, Some(FrameErrorKind::NotSip(ParseError::StartLine)), "{bad:?}");
    }
}

#[test]
fn a_damaged_header_line_costs_the_message_only() {
    for (line, defect) in [
        ("no colon here", Defect::HeaderLine),
        (": no name", Defect::HeaderLine),
        ("two words: x", Defect::HeaderLine),
        ("Subject: a\nsubject: b", Defect::Repeated(HeaderName::Subject)),
        ("f: <sip:x@y>", Defect::Repeated(HeaderName::From)),
        ("t: <sip:x@y>", Defect::Repeated(HeaderName::To)),
        ("i: h", Defect::Repeated(HeaderName::CallId)),
        ("cseq: 1 OPTIONS", Defect::Repeated(HeaderName::CSeq)),
    ] {
        let m = message(&SMALL.replace("\n\n", &format!("\n{line}\n\n")));
        assert_eq!(m.defect(), Some(defect), "{line}");
        assert_eq!(check_request(&m).unwrap_err().status, 400, "{line}");
    }
    let name = "n".repeat(256);
    assert_eq!(
        message(&SMALL.replace("\n\n", &format!("\n{name}: x\n\n"))).defect(),
        Some(Defect::HeaderLine)
    );
}

#[test]
fn parse_takes_exactly_one_message() {
    assert_eq!(try_message("").unwrap_err(), ParseError::StartLine);
    assert_eq!(
        Message::parse("OPTIONS sip:a SIP/2.0\r\nl: 0\r\n".into()).unwrap_err(),
        ParseError::Incomplete
    );
    let bytes = wire(&format!("{SMALL}hello"));
    assert!(Message::parse(bytes.clone().into()).is_ok());
    assert_eq!(Message::parse(bytes[..bytes.len() - 1].to_vec().into()).unwrap_err(), ParseError::BodyLength);
    assert_eq!(Message::parse([&bytes[..], b"x"].concat().into()).unwrap_err(), ParseError::BodyLength);
}
