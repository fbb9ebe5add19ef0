//! Messages in the dialect of Lync: read, kept whole, and what of them goes into answers and later requests comes out as it
//! was: what a server has signed must come back byte for byte.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use common::{Seen, frames_of};

use nuncio_sip::{HeaderName, Limits, Message, Method, ResponseBuilder, ResponseHead, check_request};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lync");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "sip")).collect();
    files.sort();
    files
}

/// The file with `@…@` filled in where a test does not care.
fn read(path: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(path).unwrap();
    text.replace("@TARGET@", "sip:bob@nuncio.contoso.com:5061;transport=tls")
        .replace("@VIA@", "SIP/2.0/TLS nuncio.contoso.com:5061;branch=z9hG4bK1")
        .replace("@FROM@", "<sip:bob@fabrikam.com>;tag=ours")
        .replace("@WATCHER@", "<sip:bob@fabrikam.com>;tag=theirs")
        .replace("@TAG@", "theirs")
        .replace("@OURS@", "ours")
        .replace("@CALL-ID@", "c1")
        .into_bytes()
}

fn message(name: &str) -> Message {
    let path = files().into_iter().find(|path| path.ends_with(name)).unwrap();
    Message::parse(read(&path).into()).unwrap()
}

/// The lines of a head, without the start line.
fn lines(head: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(head).unwrap();
    text.split("\r\n\r\n").next().unwrap().split("\r\n").skip(1).collect()
}

#[test]
fn every_one_comes_whole_however_it_is_cut() {
    assert_eq!(files().len(), 9);
    for path in files() {
        let bytes = read(&path);
        for size in [1, 7, 1400, bytes.len()] {
            let (seen, rest) = frames_of(Limits::default(), bytes.chunks(size));
            assert_eq!(
                (seen, rest),
                (vec![Seen::Message(bytes.clone())], false),
                "{} by {size}",
                path.display()
            );
        }
        let message = Message::parse(bytes.clone().into()).unwrap();
        assert_eq!((&message.raw()[..], message.defect()), (&bytes[..], None), "{}", path.display());
        // Each line is found by its name, in its order, as it stands.
        let found: Vec<_> = message
            .fields()
            .map(|(_, name, value)| {
                format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
            })
            .collect();
        assert_eq!(found, lines(&bytes), "{}", path.display());
        if message.is_request() {
            assert_eq!(check_request(&message), Ok(()), "{}", path.display());
        }
    }
}

/// The lines of this name, as they stand.
fn named<'a>(head: &'a [u8], name: &str) -> Vec<&'a str> {
    let is = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    lines(head).into_iter().filter(is).collect()
}

#[test]
fn an_answer_gives_back_the_lines_of_vias_routes_and_names_as_they_came() {
    let source: SocketAddr = "10.30.1.44:52817".parse().unwrap();
    for path in files() {
        let request = Message::parse(read(&path).into()).unwrap();
        if !request.is_request() || matches!(request.method(), Method::Ack | Method::Benotify) {
            continue;
        }
        let mut out = Vec::new();
        let head = ResponseHead::from_request(&request, "ours", source).unwrap();
        let mut answer = ResponseBuilder::new(&mut out, &head, 200, "OK");
        for route in request.record_routes() {
            answer = answer.record_route(&route.unwrap());
        }
        answer.finish(None);
        for name in ["Record-Route", "From", "Call-ID", "CSeq"] {
            assert_eq!(named(&out, name), named(request.raw(), name), "{}", path.display());
        }
        let (back, mut sent) = (named(&out, "Via"), named(request.raw(), "Via"));
        // Only where the first one names another host than it came from, that is added (RFC 3261 §18.2.1).
        let first = match sent[0].contains(" 10.30.1.44:") {
            true => sent[0].to_owned(),
            false => format!("{};received=10.30.1.44", sent[0]),
        };
        sent[0] = &first;
        assert_eq!(back, sent, "{}", path.display());
        let to = named(request.raw(), "To")[0];
        let to = if request.to_tag().is_some() { to.to_owned() } else { format!("{to};tag=ours") };
        assert_eq!(named(&out, "To"), [to], "{}", path.display());
    }
}

#[test]
fn an_invite_with_all_that_a_client_adds_is_understood() {
    let invite = message("invite.sip");
    assert_eq!(invite.method(), Method::Invite);
    assert_eq!((invite.top_via().unwrap().branch(), invite.vias().count()), (None, 1));
    let supported: Vec<_> = invite.supported().collect();
    assert_eq!(invite.headers(HeaderName::Supported).count(), 15);
    assert_eq!((supported.len(), supported[6]), (15, "timer"));
    let from = invite.from_header().unwrap();
    assert_eq!(from.display.as_deref(), Some("Alíce Ångström"));
    assert_eq!((from.tag(), from.params.get("epid")), (Some("0f3c9a71de"), Some(Some("7b21e0c94d"))));
    let contact = invite.contacts().next().unwrap().unwrap();
    assert_eq!(contact.uri.as_str(), "sip:alice@contoso.com;opaque=user:epid:p7KdQ2mYv1yBz0aWtXcJfgAA;gruu");
    let formats: Vec<_> = invite.fields().filter(|(_, name, _)| *name == b"ms-im-format").collect();
    assert!(formats.len() == 2 && formats[1].2.len() > 3000, "{}", formats[1].2.len());
    let routes: Vec<_> = invite.record_routes().map(|route| route.unwrap().as_str().to_owned()).collect();
    assert_eq!(routes, invite.headers(HeaderName::RecordRoute).collect::<Vec<_>>());
    assert!(routes[0].contains(";ms-rrsig=") && routes[1].contains(";ms-ent-dest>"));
    assert_eq!(invite.header(HeaderName::MsConversationId), Some("AdGk3Xo9Qm7r4bT2R8uWpZy1LcVh5g=="));
}

#[test]
fn a_notify_with_categories_is_understood() {
    let notify = message("notify-categories.sip");
    let media = notify.content_type().unwrap().unwrap();
    assert!(media.is("application", "msrtc-event-categories+xml"));
    assert!(notify.body().len() > 3300, "{}", notify.body().len());
    let state = notify.subscription_state().unwrap().unwrap();
    assert_eq!((state.state, state.expires()), ("active", Some(28_367)));
}
