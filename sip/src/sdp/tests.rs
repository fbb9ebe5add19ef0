//! Offers as they come, and what is said to them.

use super::*;
use crate::Uri;

/// As a Lync client writes it.
const LYNC: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
     m=message 5060 sip null\r\na=accept-types:text/plain multipart/alternative text/html application/ms-imdn+xml\r\n";
const HEAD: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=-\r\nt=0 0\r\n";

fn ours() -> Description<'static> {
    let origin = Origin { id: 7, version: 1, address: [192, 0, 2, 1].into() };
    Description { origin, accept_types: "text/plain text/html" }
}

fn media(lines: &str) -> String {
    format!("{HEAD}{lines}")
}

/// The answer's media lines.
fn answered(offer: &str) -> Result<Vec<String>, Unacceptable> {
    let answer =
        ours().answer(&Offer::parse(offer.as_bytes()).unwrap(), &Uri::parse("sip:bob@x.example").unwrap())?;
    Offer::parse(answer.as_bytes()).unwrap();
    Ok(answer
        .lines()
        .filter(|line| line.starts_with("m=") || line.starts_with("a="))
        .map(str::to_owned)
        .collect())
}

const ACCEPTED: [&str; 2] = ["m=message 5060 sip sip:bob@x.example", "a=accept-types:text/plain text/html"];

#[test]
fn ch_04_the_offer_of_a_lync_client_is_answered_with_our_address() {
    assert_eq!(answered(LYNC).unwrap(), ACCEPTED);
    let offer = Offer::parse(LYNC.as_bytes()).unwrap();
    assert!(offer.media()[0].accepts().contains("application", "ms-imdn+xml"));
    assert!(!offer.media()[0].accepts().contains("text", "rtf"));
}

#[test]
fn ch_04_the_oldest_servers_call_it_x_ms_message() {
    assert_eq!(
        answered(&media("m=x-ms-message 5060 sip null\n")).unwrap()[0],
        "m=x-ms-message 5060 sip sip:bob@x.example"
    );
}

#[test]
fn ch_12_other_media_are_refused_with_port_0_in_their_place() {
    let offer = media(
        "m=audio 49170/2 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\nm=message 5060 sip null\r\nm=message 7654 TCP/MSRP *\r\n",
    );
    let expected = ["m=audio 0 RTP/AVP 0 8", ACCEPTED[0], ACCEPTED[1], "m=message 0 TCP/MSRP *"];
    assert_eq!(answered(&offer).unwrap(), expected);
}

#[test]
fn ch_10_msrp_alone_is_not_acceptable() {
    let offer =
        media("m=message 7654 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://a:7654/x;tcp\r\n");
    assert_eq!(answered(&offer), Err(Unacceptable::OtherTransport));
    assert_eq!(Unacceptable::OtherTransport.warning(), 302);
}

#[test]
fn ch_12_nothing_but_other_media_is_not_acceptable() {
    for (lines, why) in [
        ("m=audio 49170 RTP/AVP 0\r\nm=video 51372 RTP/AVP 31\r\n", Unacceptable::OtherMedia),
        ("m=message 0 sip null\r\n", Unacceptable::Refused),
        ("m=message 5060 sip null\r\na=accept-types:text/rtf\r\n", Unacceptable::NoPlainText),
        ("", Unacceptable::NoMedia),
    ] {
        assert_eq!(answered(&media(lines)), Err(why), "{lines}");
    }
}

#[test]
fn wildcards_accept_plain_text() {
    for types in ["*", "*/*", "text/*", "TEXT/Plain;charset=utf-8", "message/cpim text/plain"] {
        let offer = media(&format!("m=message 5060 sip null\r\na=accept-types:{types}\r\n"));
        assert!(answered(&offer).is_ok(), "{types}");
    }
}

#[test]
fn ch_02_our_offer_is_one_that_we_would_accept() {
    let offer = ours().offer();
    assert_eq!(
        offer,
        "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=session\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=message 5060 sip null\r\n\
         a=accept-types:text/plain text/html\r\n"
    );
    assert_eq!(Offer::parse(offer.as_bytes()).unwrap().messages(), Ok(0));
}

#[test]
fn our_address_may_be_of_the_other_family() {
    let origin = Origin { id: 7, version: 1, address: "2001:db8::1".parse().unwrap() };
    let offer = Description { origin, ..ours() }.offer();
    assert!(offer.contains("o=- 7 1 IN IP6 2001:db8::1\r\n"), "{offer}");
}

#[test]
fn what_is_no_description_is_refused_with_its_place() {
    for (text, error) in [
        ("", SdpError::Version),
        ("v=1\r\n", SdpError::Version),
        ("o=- 0 0 IN IP4 x\r\n", SdpError::Version),
        ("v=0\r\nnonsense\r\n", SdpError::Line(2)),
        ("v=0\r\n=x\r\n", SdpError::Line(2)),
        ("v=0\r\ns=a\rb\r\n", SdpError::Line(2)),
        ("v=0\r\ns=a\u{0}b\r\n", SdpError::Line(2)),
        ("v=0\r\nm=message\r\n", SdpError::Media(2)),
        ("v=0\r\nm=message 5060 sip \r\n", SdpError::Media(2)),
        ("v=0\r\nm=message 65536 sip null\r\n", SdpError::Media(2)),
        ("v=0\r\nm=mess(age 5060 sip null\r\n", SdpError::Media(2)),
        ("v=0\r\nm=message 5060 TCP//MSRP null\r\n", SdpError::Media(2)),
    ] {
        assert_eq!(Offer::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Offer::parse(b"v=0\r\ns=\xff\r\n"), Err(SdpError::NotUtf8));
}

#[test]
fn a_description_of_16_kib_is_read_and_one_byte_more_is_not() {
    let padded = |len: usize| format!("v=0\r\ns={}", "x".repeat(len - 7));
    assert!(Offer::parse(padded(MAX_SIZE).as_bytes()).is_ok());
    assert_eq!(Offer::parse(padded(MAX_SIZE + 1).as_bytes()), Err(SdpError::TooLarge));
}

#[test]
fn a_description_of_512_lines_is_read_and_one_line_more_is_not() {
    let lines = |count: usize| format!("v=0\n{}", "a=x\n".repeat(count - 1));
    assert!(Offer::parse(lines(MAX_LINES).as_bytes()).is_ok());
    assert_eq!(Offer::parse(lines(MAX_LINES + 1).as_bytes()), Err(SdpError::TooManyLines));
}

#[test]
fn a_description_of_32_media_is_read_and_one_more_is_not() {
    let many = |count: usize| media(&"m=audio 9 RTP/AVP 0\r\n".repeat(count));
    assert!(Offer::parse(many(MAX_MEDIA).as_bytes()).is_ok());
    assert_eq!(Offer::parse(many(MAX_MEDIA + 1).as_bytes()), Err(SdpError::TooManyMedia));
}
