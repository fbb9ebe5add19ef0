//! `<message/>` → SIP MESSAGE (RFC 7572 §4).

use std::borrow::Cow;

use nuncio_sip::{BuildError, CSeq, Method, RequestBuilder, Uri, UriError};
use nuncio_xmpp::{Condition, Element, Node, StanzaError, ns};

use smallvec::SmallVec;

use super::{HOPS, SHIM, SHIM_HOPS, body, language};
use crate::address::{Contact, SipUser};
use crate::errors::{UNIFORM_REFUSAL, XmppFailure};
use crate::text::{self, SUBJECT_CAP};

/// The cap RFC 3428 §8 sets on a MESSAGE outside a session, in octets of the whole request (DEC-11).
pub const PAGER_CAP: usize = 1300;
/// Longest thread taken into a Call-ID, in octets.
const THREAD_MAX: usize = 128;
/// What a corrected message begins with; SIP has no way to replace what was said (XEP-0308, IM-44).
pub const CORRECTION: &str = "[Correction] ";
/// Namespace of corrections.
const CORRECT: &str = "urn:xmpp:message-correct:0";
/// The one media type we send: what XMPP says never chooses it (SEC-36).
const MEDIA_TYPE: &str = "text/plain;charset=UTF-8";

/// What a `<message/>` is, as far as SIP is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// Something to be sent.
    Instant(Instant<'a>),
    /// Nothing to be sent: no body (IM-13). No answer either.
    Nothing,
    /// An error about something we sent; never an instant message (IM-12, ERR-02).
    Error(StanzaError),
    /// To be answered with this error.
    Refuse(XmppFailure),
}

/// An instant message on its way to SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instant<'a> {
    /// The text, line ends as XML has them.
    pub body: Cow<'a, str>,
    /// Its language.
    pub lang: Option<&'a str>,
    /// The subject; made one line when it is written.
    pub subject: Option<Cow<'a, str>>,
    /// The thread.
    pub thread: Option<Cow<'a, str>>,
    /// Max-Forwards of the request (ARC-07).
    pub hops: u8,
}

/// Languages that decide between several bodies (IM-13, IM-14).
#[derive(Clone, Copy, Debug, Default)]
pub struct Languages<'a> {
    /// What the SIP user reads, if known.
    pub recipient: Option<&'a str>,
    /// `xml:lang` of the stream, which holds where the stanza names none.
    pub stream: Option<&'a str>,
}

/// Everything about a request that is not the message itself.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The sender.
    pub sender: &'a Contact,
    /// His endpoint: the resource he wrote from.
    pub resource: Option<&'a str>,
    /// The recipient.
    pub recipient: &'a SipUser,
    /// `host[:port]` of our Via.
    pub sent_by: &'a str,
    /// Branch of our Via, with its magic cookie.
    pub branch: &'a str,
    /// Our From tag.
    pub tag: &'a str,
    /// Never used before: the Call-ID, or what makes it unique behind the thread. No `@`.
    pub call_token: &'a str,
    /// Further fields, `User-Agent` for one.
    pub extra: &'a [(&'a str, &'a str)],
    /// Longest request allowed, in octets; see [`PAGER_CAP`].
    pub cap: Option<usize>,
}

/// Why no request was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than allowed: the sender gets [`RequestError::failure`].
    #[error("the request would be longer than {cap} octets")]
    TooLarge {
        /// The limit.
        cap: usize,
    },
    /// One of our own parts is unusable.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An address of ours is unusable.
    #[error(transparent)]
    Uri(#[from] UriError),
}

/// Reads a `<message/>`.
pub fn read<'a>(stanza: &'a Element, languages: Languages<'a>) -> Reading<'a> {
    // A type nobody defined is `normal` (RFC 6121 §5.2.2), and `chat`, `normal` and `headline` are all delivered.
    match stanza.attr("type") {
        Some("error") => {
            return StanzaError::from_element(stanza).map_or(Reading::Nothing, Reading::Error);
        }
        Some("groupchat") => return Reading::Refuse(UNIFORM_REFUSAL),
        _ => {}
    }
    let default = stanza.lang().or(languages.stream);
    let Some((body, lang)) = choose(stanza, "body", default, languages.recipient) else {
        return Reading::Nothing;
    };
    let Some(hops) = hops(stanza) else {
        return Reading::Refuse(XmppFailure::new(
            Condition::NotAcceptable,
            "The message went round in a loop.",
        ));
    };
    Reading::Instant(Instant {
        body: if corrects(stanza) { Cow::Owned([CORRECTION, &body].concat()) } else { body },
        lang: lang.and_then(language),
        subject: choose(stanza, "subject", default, languages.recipient).map(|(subject, _)| subject),
        thread: thread(stanza),
        hops,
    })
}

/// Appends the MESSAGE request to `out`; on an error `out` is as it was.
///
/// # Errors
/// [`RequestError`].
pub fn write(instant: &Instant<'_>, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), RequestError> {
    let subject = subject(instant);
    let head = Head {
        hops: instant.hops,
        thread: instant.thread.as_deref(),
        subject: subject.as_deref(),
        lang: instant.lang,
    };
    build(&head, (MEDIA_TYPE, plain(&instant.body).as_bytes()), request, out)
}

/// The same for what is no instant message: `body` is its Content-Type and the body itself.
///
/// # Errors
/// [`RequestError`].
pub fn write_other(
    body: (&str, &[u8]),
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    build(&Head { hops: HOPS, ..Head::default() }, body, request, out)
}

/// What a MESSAGE has from what is said.
#[derive(Default)]
struct Head<'a> {
    hops: u8,
    thread: Option<&'a str>,
    subject: Option<&'a str>,
    lang: Option<&'a str>,
}

fn build(
    head: &Head<'_>,
    body: (&str, &[u8]),
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    let start = out.len();
    let (from, to) = (request.sender.uri(request.resource), request.recipient.uri());
    let (from, to) = (Uri::parse(&from)?, Uri::parse(&to)?);
    let call_id = call_id(head.thread, request.call_token);
    let mut builder = RequestBuilder::new(out, Method::Message, &to)
        .via("TLS", request.sent_by, request.branch)
        .max_forwards(head.hops)
        .from(None, &from, request.tag)
        .to(None, &to, None)
        .call_id(&call_id)
        .cseq(CSeq { number: 1, method: Method::Message });
    if let Some(subject) = head.subject {
        builder = builder.header("Subject", subject);
    }
    if let Some(lang) = head.lang {
        builder = builder.token_header("Content-Language", lang);
    }
    for (name, value) in request.extra {
        builder = builder.header(name, value);
    }
    builder.finish(Some(body))?;
    match request.cap {
        Some(cap) if out.len() - start > cap => {
            out.truncate(start);
            Err(RequestError::TooLarge { cap })
        }
        _ => Ok(()),
    }
}

/// A message as it goes in a session, where the dialog has the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionMessage {
    subject: Option<String>,
    lang: Option<String>,
    body: String,
}

impl From<&Instant<'_>> for SessionMessage {
    fn from(instant: &Instant<'_>) -> Self {
        Self {
            subject: subject(instant).map(Cow::into_owned),
            lang: instant.lang.map(str::to_owned),
            body: plain(&instant.body).into_owned(),
        }
    }
}

impl SessionMessage {
    /// Header fields of its own.
    pub fn fields(&self) -> SmallVec<[(&'static str, &str); 2]> {
        let lang = self.lang.as_deref().map(|lang| ("Content-Language", lang));
        self.subject.as_deref().map(|subject| ("Subject", subject)).into_iter().chain(lang).collect()
    }

    /// Content-Type and body.
    pub fn body(&self) -> (&'static str, &[u8]) {
        (MEDIA_TYPE, self.body.as_bytes())
    }
}

/// News that nobody is expected to answer (RFC 6121 §5.2.2).
pub fn is_headline(stanza: &Element) -> bool {
    stanza.attr("type") == Some("headline")
}

/// The thread of a message.
pub fn thread(stanza: &Element) -> Option<Cow<'_, str>> {
    stanza.child("thread", ns::SERVER).map(Element::text)
}

/// It replaces an earlier one of the same sender. Which one is not looked up: it goes to whom that one went, from the same
/// address.
fn corrects(stanza: &Element) -> bool {
    stanza
        .child("replace", CORRECT)
        .is_some_and(|replace| replace.attr("id").is_some_and(|id| !id.is_empty()))
}

/// It has text for everybody.
pub(super) fn has_body(stanza: &Element) -> bool {
    texts(stanza, "body").next().is_some()
}

fn subject<'a>(instant: &'a Instant<'_>) -> Option<Cow<'a, str>> {
    let subject = instant.subject.as_deref().map(|subject| text::one_line(subject, SUBJECT_CAP));
    subject.filter(|subject| !subject.is_empty())
}

impl RequestError {
    /// What the sender is told.
    pub fn failure(&self) -> XmppFailure {
        match self {
            Self::TooLarge { .. } => XmppFailure::new(
                Condition::PolicyViolation,
                "The message is too long for the recipient's server.",
            ),
            Self::Build(_) | Self::Uri(_) => {
                XmppFailure::new(Condition::InternalServerError, "The message could not be translated.")
            }
        }
    }
}

/// Child elements of that name that hold text.
fn texts<'a>(stanza: &'a Element, name: &str) -> impl Iterator<Item = &'a Element> {
    let has_text = |child: &Element| child.children().any(|node| matches!(node, Node::Text(_)));
    stanza.elements().filter(move |child| child.is(name, ns::SERVER) && has_text(child))
}

/// The text of the child element of that name in the best language, and that language: the recipient's, else the
/// stanza's own, else whatever comes first.
fn choose<'a>(
    stanza: &'a Element,
    name: &str,
    default: Option<&'a str>,
    wanted: Option<&str>,
) -> Option<(Cow<'a, str>, Option<&'a str>)> {
    let rank = |lang: Option<&str>| match (lang, wanted) {
        (Some(lang), Some(wanted)) if speaks(lang, wanted) => 2,
        _ => u8::from(lang == default),
    };
    let mut best: Option<(u8, &Element, Option<&str>)> = None;
    for child in texts(stanza, name) {
        let lang = child.lang().or(default);
        let rank = rank(lang);
        // The first of equals.
        if best.is_none_or(|(so_far, ..)| rank > so_far) {
            best = Some((rank, child, lang));
        }
    }
    best.map(|(_, child, lang)| (child.text(), lang))
}

/// Basic filtering (RFC 4647 §3.3.1): `de` is spoken by `de` and `de-AT`.
fn speaks(lang: &str, wanted: &str) -> bool {
    lang.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted))
        && lang.as_bytes().get(wanted.len()).is_none_or(|&byte| byte == b'-')
}

/// Max-Forwards for a stanza; `None` if it has none left.
fn hops(stanza: &Element) -> Option<u8> {
    let Some(headers) = stanza.child("headers", SHIM) else { return Some(HOPS) };
    let left = headers
        .elements()
        .filter(|header| header.is("header", SHIM) && header.attr("name") == Some(SHIM_HOPS))
        .filter_map(|header| header.text().trim().parse::<u8>().ok())
        .min();
    left.map_or(Some(HOPS), |left| left.checked_sub(1).map(|left| left.min(HOPS)))
}

/// thread → Call-ID (DEC-24): `thread@token`, so that the thread can be read again out of the Call-ID and no two requests
/// share one. A thread that is not plainly a word is left out.
fn call_id<'a>(thread: Option<&str>, token: &'a str) -> Cow<'a, str> {
    match thread.and_then(call_word) {
        Some(thread) => Cow::Owned([thread, "@", token].concat()),
        None => Cow::Borrowed(token),
    }
}

/// A thread, if it is plainly a word that a Call-ID may begin with.
pub(crate) fn call_word(thread: &str) -> Option<&str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!*+".contains(&byte);
    ((1..=THREAD_MAX).contains(&thread.len()) && thread.bytes().all(is_word)).then_some(thread)
}

/// XML line ends → text/plain line ends.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(['\r', '\n']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    body::lines(text, &mut out, String::push_str, |out| out.push_str("\r\n"));
    Cow::Owned(out)
}
