//! The same messages through rsip, rsipstack and ezk. Where one of them refuses a message or reads something else
//! out of it, it is listed here: a difference that appears or vanishes fails.

mod common;

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use common::{LYNC_MESSAGE, wire};
use nuncio_sip::{Message, Method};

/// What every reader must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    start: String,
    user: Option<String>,
    display: Option<String>,
    from_tag: Option<String>,
    to_tag: Option<String>,
    call_id: String,
    cseq: String,
    branch: Option<String>,
    body: Vec<u8>,
}

impl Reading {
    /// Names of the parts in which the two differ.
    fn differences(&self, other: &Self) -> String {
        let parts = [
            ("start", self.start == other.start),
            ("user", self.user == other.user),
            ("display", self.display == other.display),
            ("from-tag", self.from_tag == other.from_tag),
            ("to-tag", self.to_tag == other.to_tag),
            ("call-id", self.call_id == other.call_id),
            ("cseq", self.cseq == other.cseq),
            ("branch", self.branch == other.branch),
            ("body", self.body == other.body),
        ];
        let differing: Vec<_> = parts.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
        if differing.is_empty() { "=".into() } else { differing.join(" ") }
    }
}

fn ours(bytes: &[u8]) -> Option<Reading> {
    let m = Message::parse(Bytes::copy_from_slice(bytes)).ok()?;
    let (from, cseq) = (m.from_header().ok()?, m.cseq().ok()?);
    Some(Reading {
        start: m.status().map_or_else(|| m.method().to_string(), |status| status.to_string()),
        user: m.uri().ok().and_then(|u| u.user().map(str::to_owned)),
        display: from.display.as_deref().map(str::to_owned),
        from_tag: from.tag().map(str::to_owned),
        to_tag: m.to_header().ok()?.tag().map(str::to_owned),
        call_id: m.call_id().ok()?.to_owned(),
        cseq: format!("{} {}", cseq.number, cseq.method),
        branch: m.top_via().ok()?.branch().map(str::to_owned),
        body: m.body().to_vec(),
    })
}

fn rsip(bytes: &[u8]) -> Option<Reading> {
    use ::rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let m = ::rsip::SipMessage::try_from(bytes).ok()?;
    let from = m.from_header().ok()?.typed().ok()?;
    let to = m.to_header().ok()?.typed().ok()?;
    let cseq = m.cseq_header().ok()?.typed().ok()?;
    let via = m.via_header().ok()?.typed().ok()?;
    let (start, user) = match &m {
        ::rsip::SipMessage::Request(r) => {
            (Method::from(r.method).to_string(), r.uri.user().map(str::to_owned))
        }
        ::rsip::SipMessage::Response(r) => (u16::from(r.status_code.clone()).to_string(), None),
    };
    let body = match &m {
        ::rsip::SipMessage::Request(r) => r.body.clone(),
        ::rsip::SipMessage::Response(r) => r.body.clone(),
    };
    Some(Reading {
        start,
        user,
        display: from.display_name.clone().filter(|d| !d.is_empty()),
        from_tag: from.tag().map(|t| t.value().to_owned()),
        to_tag: to.tag().map(|t| t.value().to_owned()),
        call_id: m.call_id_header().ok()?.value().to_owned(),
        cseq: format!("{} {}", cseq.seq, Method::from(cseq.method)),
        branch: via.branch().map(|b| b.value().to_owned()),
        body,
    })
}

fn rsipstack(bytes: &[u8]) -> Option<Reading> {
    use rsipstack::sip::prelude::{HeadersExt, ToTypedHeader};
    use rsipstack::sip::{SipMessage, typed::Via};
    let m = SipMessage::try_from(bytes).ok()?;
    let from = m.from_header().ok()?.typed().ok()?;
    let to = m.to_header().ok()?.typed().ok()?;
    let cseq = m.cseq_header().ok()?.typed().ok()?;
    let via = Via::parse(m.top_via_header().ok()?.value()).ok()?;
    let (start, user, body) = match &m {
        SipMessage::Request(r) => {
            (r.method.to_string(), r.uri.auth.as_ref().map(|a| a.user.clone()), r.body.clone())
        }
        SipMessage::Response(r) => (u16::from(r.status_code.clone()).to_string(), None, r.body.clone()),
    };
    Some(Reading {
        start,
        user,
        display: from.display_name.clone().filter(|d| !d.is_empty()),
        from_tag: from.tag().map(|t| t.to_string()),
        to_tag: to.tag().map(|t| t.to_string()),
        call_id: m.call_id_header().ok()?.value().to_owned(),
        cseq: format!("{} {}", cseq.seq, cseq.method),
        branch: via.branch().map(|b| b.to_string()),
        body,
    })
}

fn ezk(bytes: &[u8]) -> Option<Reading> {
    use ezk_sip_types::header::typed::{CSeq, CallID, FromTo, Via};
    use ezk_sip_types::msg::{Line, MessageLine, PullParser};
    use ezk_sip_types::parse::Parse;
    use ezk_sip_types::uri::SipUriUserPart;
    use ezk_sip_types::{Headers, Name};
    let source = Bytes::copy_from_slice(bytes);
    let mut parser = PullParser::new(&source, 0);
    let start = MessageLine::parse_str(std::str::from_utf8(parser.next()?.ok()?).ok()?).ok()?;
    let mut headers = Headers::new();
    for line in &mut parser {
        let (_, line) = Line::parse(&source, std::str::from_utf8(line.ok()?).ok()?).ok()?;
        headers.insert(line.name, line.value);
    }
    let from: FromTo = headers.get(Name::FROM).ok()?;
    let to: FromTo = headers.get(Name::TO).ok()?;
    let cseq: CSeq = headers.get_named().ok()?;
    let call_id: CallID = headers.get_named().ok()?;
    let via: Via = headers.get_named().ok()?;
    let (start, user) = match &start {
        MessageLine::Request(r) => {
            let user = match &r.uri.user_part {
                SipUriUserPart::Empty => None,
                SipUriUserPart::User(user) => Some(user.to_string()),
                SipUriUserPart::UserPw(both) => Some(both.user.to_string()),
            };
            (r.method.to_string(), user)
        }
        MessageLine::Response(r) => (r.code.into_u16().to_string(), None),
    };
    Some(Reading {
        start,
        user,
        display: from.uri.name.map(|d| d.to_string()).filter(|d| !d.is_empty()),
        from_tag: from.tag.map(|t| t.to_string()),
        to_tag: to.tag.map(|t| t.to_string()),
        call_id: call_id.0.to_string(),
        cseq: format!("{} {}", cseq.cseq, cseq.method),
        branch: via.params.get_val("branch").map(|b| b.to_string()),
        body: bytes[parser.head_end()..].to_vec(),
    })
}

fn plain(change: &[(&str, &str)]) -> Vec<u8> {
    let mut text = "MESSAGE sip:romeo@example.net SIP/2.0\nVia: SIP/2.0/TLS 10.0.0.7:5061;branch=z9hG4bK1\n\
        From: \"Julia\" <sip:julia@contoso.com>;tag=a1\nTo: <sip:romeo@example.net>;tag=b2\nCall-ID: id@host\n\
        CSeq: 2 MESSAGE\nMax-Forwards: 70\nContent-Type: text/plain\n\nciao"
        .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    wire(&text)
}

fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("plain".into(), plain(&[])),
        ("lync".into(), wire(LYNC_MESSAGE)),
        ("no-branch".into(), plain(&[(";branch=z9hG4bK1", ";ms-received-port=5;ms-received-cid=26")])),
        ("compact".into(), plain(&[("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:")])),
        ("folding".into(), plain(&[(">;tag=a1", ">\n ;tag=a1")])),
        ("space-colon".into(), plain(&[("From:", "From :")])),
        ("lower-case".into(), plain(&[("Call-ID:", "call-id:"), ("CSeq:", "cseq:")])),
        ("benotify".into(), plain(&[("MESSAGE", "BENOTIFY")])),
        ("extension".into(), plain(&[("MESSAGE", "FOO")])),
        ("ipv6-via".into(), plain(&[("10.0.0.7:5061", "[2001:db8::7]:5061")])),
        ("ipv6-uri".into(), plain(&[("romeo@example.net SIP", "romeo@[2001:db8::7] SIP")])),
        ("gruu".into(), plain(&[("romeo@example.net SIP", "romeo@example.net;opaque=user:epid:X;gruu SIP")])),
        ("escaped-user".into(), plain(&[("romeo@example.net SIP", "romeo%40example.net@gw SIP")])),
        ("im".into(), plain(&[("sip:romeo@example.net SIP", "im:romeo@example.net SIP")])),
        ("tel".into(), plain(&[("sip:romeo@example.net SIP", "tel:+14255550100 SIP")])),
        ("quoted-escape".into(), plain(&[("\"Julia\"", "\"J \\\"x\\\", y; z\"")])),
        ("utf8-display".into(), plain(&[("\"Julia\" <", "Jülia<")])),
        ("no-angles".into(), plain(&[("\"Julia\" <sip:julia@contoso.com>", "sip:julia@contoso.com")])),
        ("two-vias".into(), plain(&[("z9hG4bK1", "z9hG4bK1, SIP/2.0/TLS b;branch=z9hG4bK2")])),
        ("spaced-params".into(), plain(&[(">;tag=a1", "> ; tag = a1")])),
        ("quoted-param".into(), plain(&[(">;tag=a1", ">;x=\"a;b,c\";tag=a1")])),
        ("binary".into(), [&wire("MESSAGE sip:a@b SIP/2.0\nVia: SIP/2.0/TLS c;branch=z\nFrom: <sip:d@e>;tag=1\nTo: <sip:a@b>\nCall-ID: x\nCSeq: 1 MESSAGE\nContent-Length: 3\n\n")[..], &[0, 0xff, 0xfe]].concat()),
        ("no-utf8-subject".into(), {
            let mut bytes = plain(&[("Max-Forwards: 70", "Subject: ?")]);
            let at = bytes.iter().position(|b| *b == b'?').unwrap();
            bytes[at] = 0xfc;
            bytes
        }),
        ("no-reason".into(), plain(&[("MESSAGE sip:romeo@example.net SIP/2.0", "SIP/2.0 200")])),
        ("reason".into(), plain(&[("MESSAGE sip:romeo@example.net SIP/2.0", "SIP/2.0 480 Не сейчас")])),
        ("lf-only".into(), plain(&[]).into_iter().filter(|b| *b != b'\r').collect()),
        ("two-froms".into(), plain(&[("To:", "From: <sip:evil@x>;tag=e\nTo:")])),
        ("cut-head".into(), plain(&[]).into_iter().take(150).collect()),
        ("negative-length".into(), plain(&[("Max-Forwards: 70", "Content-Length: -4")])),
        ("two-messages".into(), [plain(&[]), plain(&[])].concat()),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    for set in ["rfc4475", "rfc5118"] {
        let mut files: Vec<_> =
            std::fs::read_dir(root.join(set)).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for path in files {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.push((name, std::fs::read(&path).unwrap()));
        }
    }
    cases
}

fn compare(ours: Option<&Reading>, theirs: Option<Reading>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.differences(&theirs),
        (Some(_), None) => "refuses".into(),
        (None, Some(_)) => "accepts".into(),
        (None, None) => "=".into(),
    }
}

#[test]
fn known_differences() {
    let mut table = String::new();
    for (name, bytes) in cases() {
        let reading = ours(&bytes);
        let verdict = if reading.is_some() { "read" } else { "refused" };
        let row =
            [rsip(&bytes), rsipstack(&bytes), ezk(&bytes)].map(|theirs| compare(reading.as_ref(), theirs));
        if row.iter().any(|cell| cell != "=") {
            writeln!(table, "{name}: {verdict} | {}", row.join(" | ")).unwrap();
        }
    }
    let expected = include_str!("differential.txt");
    let known = expected.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    let known: String = known.flat_map(|l| [l, "\n"]).collect();
    assert!(table == known, "the differences are now:\n{table}");
}
