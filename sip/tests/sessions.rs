//! INVITEs as others write them, at the door of a session: those of RFC 4475 and RFC 5118, and one of a Lync client.

mod common;

use std::path::Path;
use std::time::Instant;

use common::{message, messages};
use nuncio_sip::dialog::Tokens;
use nuncio_sip::session::{Context, Session, SessionConfig, SessionOutput, check_invite};
use nuncio_sip::{HeaderName, Message, Method, check_request_with};

fn config() -> SessionConfig {
    SessionConfig::new("gw.example.com:5061", "gw.example.com:5061", [192, 0, 2, 1].into())
}

/// What the well-formed INVITEs among the torture messages get: most offer audio and video, and nothing else.
const TORTURE: [(&str, &str, u16); 10] = [
    // It claims to be in a dialog.
    ("rfc4475", "wsinv", 481),
    ("rfc4475", "esc01", 488),
    ("rfc4475", "longreq", 488),
    // Its description says "m =video".
    ("rfc4475", "dblreq", 400),
    ("rfc4475", "baddate", 488),
    // A body of an unknown type.
    ("rfc4475", "invut", 415),
    // It takes no description back.
    ("rfc4475", "sdp01", 406),
    ("rfc5118", "ipv6-in-sdp", 488),
    ("rfc5118", "ipv4-mapped-ipv6", 488),
    ("rfc5118", "mult-ip-in-sdp", 488),
];

/// The INVITEs of a file that are well formed.
fn invites(path: &Path) -> Vec<Message> {
    let (messages, _) = messages(&std::fs::read(path).unwrap());
    let well_formed = |m: &Message| m.is_request() && check_request_with(m, &["timer"]).is_ok();
    messages.into_iter().filter(|m| m.method() == Method::Invite && well_formed(m)).collect()
}

#[test]
fn torture_invites_get_the_answers_of_a_gateway_for_messages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let mut found = Vec::new();
    for set in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(root.join(set)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for invite in invites(&path) {
                let status = check_invite(&invite, &config()).map_or_else(|answer| answer.status, |_| 200);
                found.push((set, name.clone(), status));
            }
        }
    }
    found.sort();
    let mut expected: Vec<_> =
        TORTURE.iter().map(|(set, name, status)| (*set, (*name).to_owned(), *status)).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// An INVITE as a Lync client behind a front end sends it: no branch, a GRUU without port, signed routes, Supported line
/// by line, and the first message in three forms.
fn lync_invite() -> Message {
    let supported: String = [
        "ms-dialog-route-set-update",
        "ms-embedded-first-message",
        "ms-delayed-accept",
        "ms-renders-isf",
        "ms-renders-gif",
        "ms-renders-mime-alternative",
        "timer",
        "histinfo",
        "ms-safe-transfer",
        "ms-sender",
        "ms-early-media",
        "com.microsoft.rtc-multiparty",
        "ms-conf-invite",
        "gruu-10",
        "ms-forking",
    ]
    .iter()
    .map(|tag| format!("Supported: {tag}\n"))
    .collect();
    let rtf = "e1xydGYx".repeat(400);
    message(&format!(
        "INVITE sip:romeo@example.net SIP/2.0
Record-Route: <sip:fe1.contoso.com:5061;transport=tls;ms-fe=fe1.contoso.com;opaque=state:T:F:Ci.R3f4;lr;ms-route-sig=aa1b>;ms-rrsig=bbzQ;tag=9F8E
Via: SIP/2.0/TLS 10.0.0.7:50123;ms-received-port=50123;ms-received-cid=2600
From: \"Jülia Öz\"<sip:julia@contoso.com>;tag=a1b2c3;epid=0123456789
To: <sip:romeo@example.net>
Call-ID: 6f0e1a2b3c4d5e6f
CSEQ: 1 INVITE
Max-Forwards: 69
Contact: <sip:julia@contoso.com;opaque=user:epid:AbCdEf;gruu>
Allow: INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE, REFER, NOTIFY, BENOTIFY
{supported}Ms-Conversation-ID: Ac3f8eB0=
Session-Expires: 1800
ms-text-format: text/plain; charset=UTF-8; ms-body=aGk=
ms-im-format: text/html; charset=UTF-8; ms-body=PGI+aGk8L2I+
ms-im-format: text/rtf; charset=UTF-8; ms-body={rtf}
Roster-Manager: sip:julia@contoso.com
EndPoints: <sip:julia@contoso.com>, <sip:romeo@example.net>
Content-Type: application/sdp

v=0
o=- 0 0 IN IP4 10.0.0.7
s=session
c=IN IP4 10.0.0.7
t=0 0
m=message 5060 sip null
a=accept-types:text/plain multipart/alternative image/gif text/rtf text/html application/x-ms-ink application/ms-imdn+xml
"
    ))
}

struct Fixed(u32);

impl Tokens for Fixed {
    fn token(&mut self) -> compact_str::CompactString {
        self.0 += 1;
        compact_str::format_compact!("tok{}", self.0)
    }

    fn random(&mut self) -> u64 {
        7
    }
}

#[test]
fn ch_04_a_lync_client_gets_a_session_and_its_routes_come_back_byte_for_byte() {
    let (invite, config) = (lync_invite(), config());
    check_request_with(&invite, &["timer"]).unwrap();
    let invited = check_invite(&invite, &config).unwrap();
    assert_eq!(invited.conversation.as_deref(), Some("Ac3f8eB0="));
    let mut context = Context { config: &config, tokens: &mut Fixed(0), now: Instant::now() };
    let (mut session, answer) = Session::accept(&invite, invited, "ours", &mut context).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Record-Route"), invite.header(HeaderName::RecordRoute));
    assert_eq!(answer.header("Supported"), Some("timer"), "the embedded message is not taken");
    assert_eq!(answer.header("Session-Expires"), Some("1800;refresher=uac"));
    let ack = message(
        "ACK sip:romeo@gw.example.com SIP/2.0
Via: SIP/2.0/TLS 10.0.0.7:50123
From: <sip:julia@contoso.com>;tag=a1b2c3;epid=0123456789
To: <sip:romeo@example.net>;tag=ours
Call-ID: 6f0e1a2b3c4d5e6f
CSeq: 1 ACK
Max-Forwards: 69
",
    );
    session.acknowledged(&ack, &mut context);
    session.message(&[], ("text/plain", b"ciao"), &mut context).unwrap();
    let request = std::iter::from_fn(|| session.poll()).find_map(|output| match output {
        SessionOutput::Send { request, .. } => Some(Message::parse(request.bytes().clone()).unwrap()),
        _ => None,
    });
    let request = request.unwrap();
    assert_eq!(request.request_uri(), "sip:julia@contoso.com;opaque=user:epid:AbCdEf;gruu");
    assert_eq!(request.header(HeaderName::Route), invite.header(HeaderName::RecordRoute));
}
