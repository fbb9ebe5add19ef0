//! SIP MESSAGE → `<message/>` (RFC 7572 §5).

use std::time::{Duration, SystemTime};

use compact_str::CompactString;
use nuncio_sip::{HeaderError, HeaderName, Message, Scheme, Uri, UriError};
use nuncio_xmpp::{Jid, StartTag, escape};

use super::{ACCEPT, ACCEPT_ENCODING, Formats, HOPS, SHIM, SHIM_HOPS, body, html, language};
use crate::address::{self, Contact, SipUser, UriRefusal};
use crate::receipt::{self, imdn::Wishes};
use crate::text::{self, SUBJECT_CAP};
use crate::typing::ChatState;

pub use super::body::BodyRefusal;

/// Longest `<thread/>` made of a Call-ID, in octets.
const THREAD_MAX: usize = 256;

/// Who writes to whom: read first, because policy is asked before anything else is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The sender.
    pub sender: SipUser,
    /// The recipient.
    pub contact: Contact,
    /// The sender's endpoint, if he named it by a public GRUU (RFC 7572 Table 2 note 1).
    pub from: Option<Jid>,
    /// The recipient's endpoint, if the request went to one.
    pub to: Option<Jid>,
    /// Max-Forwards as received; 70 if the field is missing.
    pub hops: u8,
}

/// Why a MESSAGE does not become a stanza. Knows the whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefusal {
    /// The Request-URI cannot be read.
    #[error("the Request-URI is malformed: {0}")]
    RequestUri(UriError),
    /// The Request-URI names nobody on the XMPP side.
    #[error("{0}")]
    Recipient(UriRefusal),
    /// From, To or another field cannot be read.
    #[error("{0}")]
    Header(HeaderError),
    /// The sender's address has no XMPP form.
    #[error("the sender has no XMPP address: {0}")]
    Sender(UriRefusal),
    /// The sender is of a domain we do not speak for (ADR-21).
    #[error("the sender's domain is not served here")]
    ForeignSender,
    /// Max-Forwards ran out (SIP-33, ARC-07).
    #[error("the message passed too many hops")]
    TooManyHops,
    /// The body cannot be passed on.
    #[error("{0}")]
    Body(#[from] BodyRefusal),
}

/// Reads sender and recipient.
///
/// The sender is P-Asserted-Identity if it holds a SIP address, else From (SIP-38): call it for authenticated front ends
/// only. `serves` tells whether a domain (U-labels) is one of ours.
///
/// # Errors
/// [`MessageRefusal`].
pub fn ends(message: &Message, serves: impl FnOnce(&str) -> bool) -> Result<Ends, MessageRefusal> {
    ends_said_by(message, true, serves)
}

/// The same where it is known whether the front end's P-Asserted-Identity counts; if not, the sender is From.
///
/// # Errors
/// [`MessageRefusal`].
pub fn ends_said_by(
    message: &Message,
    asserts_identities: bool,
    serves: impl FnOnce(&str) -> bool,
) -> Result<Ends, MessageRefusal> {
    let target = message.uri().map_err(MessageRefusal::RequestUri)?;
    let contact = Contact::from_uri(&target).map_err(MessageRefusal::Recipient)?;
    if addressed_securely(message)? {
        return Err(MessageRefusal::Recipient(UriRefusal::Secure));
    }
    let source = source(message, asserts_identities)?;
    let sender = served(&source, serves)?;
    let hops = hops(message)?;
    let full = |uri: &Uri<'_>, bare| address::resource(uri).map(|r| address::full_jid(bare, Some(&r)));
    let (from, to) = (full(&source, sender.jid()), full(&target, contact.jid()));
    Ok(Ends { sender, contact, from, to, hops })
}

/// Reads the sender of a request that has no single recipient; see [`ends_said_by`].
///
/// # Errors
/// [`MessageRefusal`].
pub fn sender_said_by(
    message: &Message,
    asserts_identities: bool,
    serves: impl FnOnce(&str) -> bool,
) -> Result<SipUser, MessageRefusal> {
    served(&source(message, asserts_identities)?, serves)
}

fn source(message: &Message, asserts_identities: bool) -> Result<Uri<'_>, MessageRefusal> {
    let mut asserted = message.asserted_identities().filter_map(Result::ok).map(|id| id.uri);
    match asserted.find(|uri| asserts_identities && uri.is_sip()) {
        Some(uri) => Ok(uri),
        None => message.from_header().map(|from| from.uri).map_err(MessageRefusal::Header),
    }
}

fn served(source: &Uri<'_>, serves: impl FnOnce(&str) -> bool) -> Result<SipUser, MessageRefusal> {
    let sender = SipUser::from_uri(source).map_err(MessageRefusal::Sender)?;
    if serves(sender.domain()) { Ok(sender) } else { Err(MessageRefusal::ForeignSender) }
}

/// What a session is for the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Its `<thread/>` (CH-07).
    pub thread: CompactString,
    /// The resource he wrote from last (IM-21).
    pub resource: Option<CompactString>,
    /// The state that a message of the SIP user carries (IM-34).
    pub state: Option<ChatState>,
}

/// The same for a MESSAGE inside a session, whose two ends are known. It goes to the resource that the contact wrote from.
///
/// # Errors
/// [`MessageRefusal`]: of its fields only Max-Forwards counts.
pub fn ends_in_session(
    message: &Message,
    sender: SipUser,
    contact: Contact,
    chat: &Chat,
) -> Result<Ends, MessageRefusal> {
    let to = chat.resource.as_deref().map(|resource| address::full_jid(contact.jid(), Some(resource)));
    Ok(Ends { sender, contact, from: None, to, hops: hops(message)? })
}

fn hops(message: &Message) -> Result<u8, MessageRefusal> {
    match message.max_forwards().map_err(MessageRefusal::Header)?.unwrap_or(70) {
        0 => Err(MessageRefusal::TooManyHops),
        hops => Ok(hops),
    }
}

/// How long a message still counts at `now`, by its Expires and Date (RFC 3428 §4; IM-11); `None`: for ever. Without Date it
/// counts from its arrival; with a Date of the future as well, for clocks differ.
///
/// # Errors
/// [`MessageRefusal::Header`].
pub fn lasts(message: &Message, now: SystemTime) -> Result<Option<Duration>, MessageRefusal> {
    let Some(seconds) = message.expires().map_err(MessageRefusal::Header)? else { return Ok(None) };
    let age = message.date().and_then(|sent| now.duration_since(sent).ok()).unwrap_or_default();
    Ok(Some(Duration::from_secs(seconds.into()).saturating_sub(age)))
}

/// Appends the stanza to `out`; on an error `out` is as it was.
///
/// `id` is ours (see [`stanza_id`](crate::stanza_id)). The default namespace of the stream is `jabber:server`, so the
/// stanza declares none. No `type`: a pager-mode message is `normal` (RFC 7572 §5). One in a session is `chat` (CH-01), in
/// the thread of that. What the sender wants to know of its fate is asked of the contact in his own words (XEP-0184,
/// XEP-0333), and comes back.
///
/// # Errors
/// [`MessageRefusal::Body`].
pub fn write(
    message: &Message,
    ends: &Ends,
    id: &str,
    formats: Formats,
    chat: Option<&Chat>,
    out: &mut Vec<u8>,
) -> Result<Wishes<'static>, MessageRefusal> {
    let bytes = message.body();
    let body = body::read(message, &bytes, formats)?;
    let lang = message.content_language().next().and_then(Result::ok).and_then(|tag| language(tag.token));
    StartTag::open(out, "message")
        .attr("from", ends.from.as_ref().map_or_else(|| ends.sender.jid().as_str(), Jid::as_str))
        .attr("to", ends.to.as_ref().map_or_else(|| ends.contact.jid().as_str(), Jid::as_str))
        .attr("id", id)
        .opt_attr("type", chat.map(|_| "chat"))
        .opt_attr("xml:lang", lang)
        .end();
    let subject = message.header(HeaderName::Subject).or(body.subject.as_deref());
    let subject = subject.map(|subject| text::one_line(subject, SUBJECT_CAP));
    if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
        StartTag::text_element(out, "subject", &subject);
    }
    StartTag::open(out, "body").end();
    body::lines(&body.text, out, escape::text, |out| out.push(b'\n'));
    StartTag::close(out, "body");
    if let Some(markup) = &body.html {
        // Too long for an ornament: then the plain text stands alone.
        html::write_xhtml_im(markup, out);
    }
    if let Some(state) = chat.and_then(|chat| chat.state) {
        state.write(out);
    }
    if let Some(thread) = chat.map(|chat| chat.thread.as_str()).or_else(|| thread(message)) {
        StartTag::text_element(out, "thread", thread);
    }
    if body.wishes.delivered {
        receipt::xmpp::write_request(out);
    }
    if body.wishes.displayed {
        receipt::xmpp::write_markable(out);
    }
    if ends.hops <= HOPS {
        StartTag::open(out, "headers").ns(SHIM).end();
        StartTag::open(out, "header").attr("name", SHIM_HOPS).end();
        out.extend_from_slice((ends.hops - 1).to_string().as_bytes());
        StartTag::close(out, "header");
        StartTag::close(out, "headers");
    }
    StartTag::close(out, "message");
    Ok(body.wishes.into_owned())
}

/// Takes out of the stanza what is not necessary, for a partner that takes none as large: its markup (IM-04). False, and
/// nothing changed, if there is nothing of the kind.
pub fn make_brief(stanza: &mut Vec<u8>) -> bool {
    html::remove_xhtml_im(stanza)
}

impl MessageRefusal {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::RequestUri(_) | Self::Header(_) => 400,
            Self::Recipient(refusal) => refusal.status(),
            // Whatever is wrong with it, such a sender has no business here.
            Self::Sender(_) | Self::ForeignSender => 403,
            Self::TooManyHops => 483,
            Self::Body(BodyRefusal::ContentType | BodyRefusal::Text | BodyRefusal::Structure) => 400,
            Self::Body(BodyRefusal::TooManyParts) => 413,
            Self::Body(_) => 415,
        }
    }

    /// Its reason phrase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::RequestUri(_) => "Malformed Request-URI",
            Self::Recipient(refusal) => refusal.reason(),
            Self::Header(_) => "Malformed Header Field",
            Self::Sender(_) => "Sender Has No XMPP Address",
            Self::ForeignSender => "Sender's Domain Not Served Here",
            Self::TooManyHops => "Too Many Hops",
            Self::Body(BodyRefusal::ContentType) => "Missing or Malformed Content-Type",
            Self::Body(BodyRefusal::Text) => "Body Is Not Text in Its Character Set",
            Self::Body(BodyRefusal::MediaType) => "Unsupported Media Type",
            Self::Body(BodyRefusal::Charset) => "Unsupported Character Set",
            Self::Body(BodyRefusal::Encoding) => "Unsupported Content Encoding",
            Self::Body(BodyRefusal::Structure) => "Malformed Body",
            Self::Body(BodyRefusal::TooManyParts) => "Too Many Body Parts",
            Self::Body(BodyRefusal::Requirement) => "Unsupported CPIM Requirement",
        }
    }

    /// The header field that the answer must carry beside (RFC 3261 §21.4.13).
    pub fn header(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Body(BodyRefusal::MediaType | BodyRefusal::Charset | BodyRefusal::Requirement) => {
                Some(("Accept", ACCEPT))
            }
            Self::Body(BodyRefusal::Encoding) => Some(("Accept-Encoding", ACCEPT_ENCODING)),
            _ => None,
        }
    }

    /// Code and text of the `Warning` that it needs.
    pub fn warning(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Recipient(refusal) => refusal.warning(),
            _ => None,
        }
    }
}

/// To is `sips:` (ARC-05). Reading To costs more than looking whether it can be.
fn addressed_securely(message: &Message) -> Result<bool, MessageRefusal> {
    let to = message.required(HeaderName::To).map_err(MessageRefusal::Header)?;
    let is_sips = |colon: usize| {
        let scheme = colon.checked_sub(4).and_then(|start| to.as_bytes().get(start..colon));
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips"))
    };
    if !memchr::memchr_iter(b':', to.as_bytes()).any(is_sips) {
        return Ok(false);
    }
    Ok(message.to_header().map_err(MessageRefusal::Header)?.uri.scheme() == Scheme::Sips)
}

/// Call-ID → thread (DEC-24). What follows an `@` names a machine inside, and stays there; for a Call-ID of ours, which
/// is `thread@token`, what remains is the thread itself.
fn thread(message: &Message) -> Option<&str> {
    let word = thread_of(message.call_id().ok()?);
    (word.len() <= THREAD_MAX).then_some(word)
}

/// The part of a Call-ID that is the thread.
pub(crate) fn thread_of(call_id: &str) -> &str {
    call_id.split_once('@').map_or(call_id, |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn im_11_a_message_counts_from_its_date_and_without_one_from_its_arrival() {
        // Fri, 20 Nov 2026 14:18:05 GMT
        let now = UNIX_EPOCH + Duration::from_secs(1_795_184_285);
        for (fields, left) in [
            ("", None),
            ("Date: Fri, 20 Nov 2026 14:00:00 GMT\r\n", None),
            ("Expires: 60\r\n", Some(60)),
            ("Expires: 0\r\n", Some(0)),
            ("Expires: 60\r\nDate: Fri, 20 Nov 2026 14:18:00 GMT\r\n", Some(55)),
            ("Expires: 60\r\nDate: Fri, 20 Nov 2026 14:17:05 GMT\r\n", Some(0)),
            ("Expires: 60\r\nDate: Thu, 19 Nov 2026 14:17:05 GMT\r\n", Some(0)),
            ("Expires: 60\r\nDate: Fri, 20 Nov 2026 15:00:00 GMT\r\n", Some(60)),
            ("Expires: 60\r\nDate: yesterday\r\n", Some(60)),
            ("Expires: 4294967295\r\n", Some(4_294_967_295)),
        ] {
            let text = format!(
                "MESSAGE sip:b@d SIP/2.0\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\nFrom: <sip:a@c>;tag=1\r\nTo: <sip:b@d>\r\n\
                 Call-ID: 1\r\nCSeq: 1 MESSAGE\r\n{fields}Content-Length: 0\r\n\r\n"
            );
            let message = Message::parse(text.into_bytes().into()).unwrap();
            assert_eq!(lasts(&message, now), Ok(left.map(Duration::from_secs)), "{fields}");
        }
    }
}
