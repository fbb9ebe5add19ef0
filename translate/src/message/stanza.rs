//! SIP MESSAGE → `<message/>` (RFC 7572 §5).

use nuncio_sip::{HeaderError, HeaderName, Message};
use nuncio_xmpp::{Jid, StartTag, escape};

use super::body::{self, BodyRefusal};
use super::{ACCEPT, ACCEPT_ENCODING, HOPS, SHIM, SHIM_HOPS, language};
use crate::address::{self, Contact, SipUser};
use crate::text::{self, SUBJECT_CAP};

/// Longest `<thread/>` made of a Call-ID, in octets.
const THREAD_MAX: usize = 256;

/// Hops assumed where a MESSAGE does not say (RFC 3261 §8.1.1.6).
const USUAL_HOPS: u8 = 70;

/// What the stanza needs beside the request. Who the two are has been settled, and judged, before.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The sender.
    pub from: &'a SipUser,
    /// The recipient.
    pub to: &'a Contact,
    /// The stanza's id (see [`stanza_id`](crate::stanza_id)).
    pub id: &'a str,
}

/// Why a MESSAGE does not become a stanza. Knows its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefusal {
    /// A header field that is needed cannot be read.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// Max-Forwards ran out (ARC-07).
    #[error("the message passed too many hops")]
    TooManyHops,
    /// The body cannot be passed on.
    #[error("{0}")]
    Body(#[from] BodyRefusal),
}

/// Appends the stanza to `out`; on an error `out` is as it was.
///
/// A public GRUU in the Request-URI or in From becomes the resource of `to` or `from` (RFC 7572 Table 2 note 1). The
/// stanza declares no namespace, since that of the stream holds, and has no `type`: a pager-mode message is `normal`
/// (RFC 7572 §5).
///
/// # Errors
/// [`MessageRefusal`].
pub fn to_xmpp(request: &Message, outbound: &Outbound<'_>, out: &mut Vec<u8>) -> Result<(), MessageRefusal> {
    let hops = request.max_forwards()?.unwrap_or(USUAL_HOPS);
    let left = hops.checked_sub(1).ok_or(MessageRefusal::TooManyHops)?;
    let bytes = request.body();
    let text = body::read(request, &bytes)?;
    let (from, to) = (sender_endpoint(request, outbound.from), recipient_endpoint(request, outbound.to));
    let lang = request.content_language().next().and_then(Result::ok).and_then(|tag| language(tag.token));
    StartTag::open(out, "message")
        .attr("from", from.as_ref().map_or_else(|| outbound.from.jid().as_str(), Jid::as_str))
        .attr("to", to.as_ref().map_or_else(|| outbound.to.jid().as_str(), Jid::as_str))
        .attr("id", outbound.id)
        .opt_attr("xml:lang", lang)
        .end();
    let subject = request.header(HeaderName::Subject).map(|subject| text::one_line(subject, SUBJECT_CAP));
    if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
        StartTag::text_element(out, "subject", &subject);
    }
    StartTag::open(out, "body").end();
    body::lines(&text, out, escape::text, |out| out.push(b'\n'));
    StartTag::close(out, "body");
    if let Some(thread) = thread(request) {
        StartTag::text_element(out, "thread", thread);
    }
    if hops <= HOPS {
        StartTag::open(out, "headers").ns(SHIM).end();
        StartTag::open(out, "header").attr("name", SHIM_HOPS).end();
        out.extend_from_slice(left.to_string().as_bytes());
        StartTag::close(out, "header");
        StartTag::close(out, "headers");
    }
    StartTag::close(out, "message");
    Ok(())
}

impl MessageRefusal {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Header(_) => 400,
            Self::TooManyHops => 483,
            Self::Body(BodyRefusal::ContentType | BodyRefusal::Text) => 400,
            Self::Body(_) => 415,
        }
    }

    /// Its reason phrase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Header(_) => "Malformed Header Field",
            Self::TooManyHops => "Too Many Hops",
            Self::Body(BodyRefusal::ContentType) => "Missing or Malformed Content-Type",
            Self::Body(BodyRefusal::Text) => "Body Is Not Text in Its Character Set",
            Self::Body(BodyRefusal::MediaType) => "Unsupported Media Type",
            Self::Body(BodyRefusal::Charset) => "Unsupported Character Set",
            Self::Body(BodyRefusal::Encoding) => "Unsupported Content Encoding",
        }
    }

    /// The header field the answer must carry (RFC 3261 §21.4.13).
    pub fn headers(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Body(BodyRefusal::MediaType | BodyRefusal::Charset) => Some(("Accept", ACCEPT)),
            Self::Body(BodyRefusal::Encoding) => Some(("Accept-Encoding", ACCEPT_ENCODING)),
            _ => None,
        }
    }
}

fn recipient_endpoint(request: &Message, to: &Contact) -> Option<Jid> {
    if !may_hold_gruu(request.request_uri()) {
        return None;
    }
    let resource = address::resource(&request.uri().ok()?)?;
    Some(address::full_jid(to.jid(), Some(&resource)))
}

/// From speaks of the sender only if it names the same user: his identity may have been asserted (SIP-38).
fn sender_endpoint(request: &Message, from: &SipUser) -> Option<Jid> {
    if !may_hold_gruu(request.header(HeaderName::From)?) {
        return None;
    }
    let uri = request.from_header().ok()?.uri;
    let resource = address::resource(&uri)?;
    (SipUser::from_uri(&uri).as_ref() == Ok(from)).then(|| address::full_jid(from.jid(), Some(&resource)))
}

/// Reading a URI costs more than looking whether it is worth it.
fn may_hold_gruu(text: &str) -> bool {
    text.as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b";gr="))
}

/// Call-ID → thread (DEC-24). What follows an `@` names a machine inside, and stays there; for a Call-ID of ours, which
/// is `thread@token`, what remains is the thread itself.
fn thread(request: &Message) -> Option<&str> {
    let call_id = request.call_id().ok()?;
    let word = call_id.split_once('@').map_or(call_id, |(word, _)| word);
    (word.len() <= THREAD_MAX).then_some(word)
}
