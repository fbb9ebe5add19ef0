//! What goes to and fro around a pair with sessions.

use compact_str::CompactString;
use nuncio_sip::{Message, Method, ResponseHead};
use nuncio_translate::pair::Request;
use nuncio_xmpp::{Element, ReadLimits};

use super::house::Theirs;
use crate::pair_rig::{CONTACT, USER, message};

const OFFER: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                     m=message 5060 sip null\r\na=accept-types:text/plain\r\n";

/// Our tag in the dialog of a request.
pub(crate) fn ours(request: &Request) -> CompactString {
    message(request).from_tag().unwrap().into()
}

pub(crate) fn number(stanza: &Element) -> u32 {
    stanza.text().parse().unwrap()
}

pub(crate) fn stanza(number: u32, thread: Option<u8>) -> Element {
    let thread = thread.map(|thread| format!(" thread='t{thread}'")).unwrap_or_default();
    let text = format!("<message xmlns='jabber:server'{thread}>{number}</message>");
    Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap()
}

pub(crate) fn in_session(theirs: &Theirs, method: &str, cseq: u32) -> Message {
    let Theirs { call_id, from_tag, tag, .. } = theirs;
    let to_tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let body = if method == "INVITE" { OFFER } else { "" };
    let media = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let text = format!(
        "{method} sip:{CONTACT} SIP/2.0\r\nVia: SIP/2.0/TLS fe.example;branch=z9hG4bK{call_id}{cseq}\r\n\
         From: <sip:{USER}>;tag={from_tag}\r\nTo: <sip:{CONTACT}>{to_tag}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:pc.contoso.example>\r\n\
         Allow: INVITE, ACK, BYE, UPDATE\r\n{media}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

pub(crate) fn response(request: &Request, status: u16, fork: bool) -> Message {
    let request = message(request);
    let head =
        ResponseHead::from_request(&request, if fork { "fork" } else { "fe" }, ([192, 0, 2, 1], 5061).into());
    let body = (request.method() == Method::Invite && status == 200)
        .then_some(("application/sdp", OFFER.as_bytes()));
    let fields = [("Contact", "<sip:pc.contoso.example>"), ("Min-SE", "300")];
    let mut out = Vec::new();
    head.unwrap().write(&mut out, status, "", &fields, body);
    Message::parse(out.into()).unwrap()
}
