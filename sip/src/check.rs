//! What must be refused before anybody looks at the meaning of a message: RFC 3261 §8.2 and the verdicts on the
//! torture messages of RFC 4475 and RFC 5118.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{CSeq, Defect, HeaderError, HeaderName, Message, Method, NameAddr, Scheme, Via, lex};

/// The answer a request deserves instead of being processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Status code.
    pub status: u16,
    /// Reason phrase: for people, and fit for the wire.
    pub reason: Cow<'static, str>,
    /// Header fields the answer must carry.
    pub headers: SmallVec<[(HeaderName, String); 1]>,
}

impl Rejection {
    fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), headers: SmallVec::new() }
    }

    fn bad(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, what)
    }

    fn field(name: HeaderName, error: HeaderError) -> Self {
        Self::bad(match error {
            HeaderError::Missing(name) => format!("Missing {name} Header Field"),
            HeaderError::NotUtf8(name) => format!("{name} Header Field Is Not UTF-8"),
            _ => format!("Malformed {name} Header Field"),
        })
    }
}

/// [`check_request_with`] for an agent that supports no extension.
///
/// # Errors
/// [`Rejection`].
pub fn check_request(message: &Message) -> Result<(), Rejection> {
    check_request_with(message, &[])
}

/// Judges a request by its form alone: 400, 413, 416, 420, 505, 513. Whether the method is served (405, 501),
/// the user is known, the body is understood, the dialog exists is for the layers above. A rejected ACK is not
/// answered, and neither is one here: that, too, is up to the caller.
///
/// A method we do not know is not compared with CSeq, so that it gets its 501 (RFC 4475 §3.1.2.18). `sips:`
/// passes: what becomes of it depends on where it leads (DEC-17). Proxy-Require does not concern a user agent.
///
/// # Errors
/// [`Rejection`], for the first reason found. It is in the order in which a later answer would mislead.
pub fn check_request_with(message: &Message, supported: &[&str]) -> Result<(), Rejection> {
    read_request(message, message.top_via(), supported).map(drop)
}

/// What the check of a request has read of it, for those who go on with it.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    pub(crate) to: NameAddr<'a>,
}

/// The same, for callers that have read the top Via and want what the check reads besides.
///
/// # Errors
/// [`Rejection`].
pub(crate) fn read_request<'a>(
    message: &'a Message,
    top: Result<Via<'a>, HeaderError>,
    supported: &[&str],
) -> Result<Checked<'a>, Rejection> {
    if !message.version().eq_ignore_ascii_case("SIP/2.0") {
        return Err(Rejection::new(505, "Version Not Supported"));
    }
    if let Some(defect) = message.defect() {
        return Err(defect_rejection(defect));
    }
    let checked = check_mandatory(message, top)?;
    check_uri(message)?;
    check_optional(message)?;
    check_require(message, supported)?;
    Ok(checked)
}

fn defect_rejection(defect: Defect) -> Rejection {
    match defect {
        Defect::StartLineBlanks => Rejection::bad("Surplus Blanks in Request Line"),
        Defect::HeaderLine => Rejection::bad("Malformed Header Line"),
        Defect::Repeated(name) => Rejection::bad(format!("Repeated {name} Header Field")),
        Defect::HeaderTooLarge | Defect::TooManyHeaders => Rejection::new(513, "Message Too Large"),
        Defect::BodyTooLarge => Rejection::new(413, "Request Entity Too Large"),
    }
}

/// RFC 3261 §8.1.1: without these nothing can be matched, answered or attributed. Max-Forwards is the one that
/// RFC 2543 agents do not write. Vias below the top one are the affair of those who wrote them.
fn check_mandatory<'a>(
    message: &'a Message,
    top: Result<Via<'a>, HeaderError>,
) -> Result<Checked<'a>, Rejection> {
    let bad = |name| move |error| Rejection::field(name, error);
    let cseq = message.cseq().map_err(bad(HeaderName::CSeq))?;
    top.map_err(bad(HeaderName::Via))?;
    message.from_header().map_err(bad(HeaderName::From))?;
    let to = message.to_header().map_err(bad(HeaderName::To))?;
    message.call_id().map_err(bad(HeaderName::CallId))?;
    message.max_forwards().map_err(bad(HeaderName::MaxForwards))?;
    if message.method().is_known() && cseq.method != message.method() {
        return Err(Rejection::bad("CSeq Method Does Not Match Request Method"));
    }
    Ok(Checked { to })
}

fn check_uri(message: &Message) -> Result<(), Rejection> {
    let uri = message.uri().map_err(|_| Rejection::bad("Malformed Request-URI"))?;
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips if uri.headers().is_some() => {
            Err(Rejection::bad("Header Fields in Request-URI"))
        }
        Scheme::Sip | Scheme::Sips => Ok(()),
        Scheme::Tel | Scheme::Other(_) => Err(Rejection::new(416, "Unsupported URI Scheme")),
    }
}

/// Fields that need not be there, but steer where answers and later requests go if they are.
fn check_optional(message: &Message) -> Result<(), Rejection> {
    let bad = |name| move |error| Rejection::field(name, error);
    // A route set is learned where a dialog can begin, a remote target in these and in target refreshes.
    let steering: &[HeaderName] = match message.method() {
        Method::Invite | Method::Subscribe | Method::Notify | Method::Refer => {
            &[HeaderName::Contact, HeaderName::RecordRoute]
        }
        Method::Message | Method::Info | Method::Benotify | Method::Bye | Method::Cancel | Method::Ack => &[],
        _ => &[HeaderName::Contact],
    };
    for &name in steering {
        for value in message.headers_bytes(name) {
            let text = std::str::from_utf8(value).map_err(|_| HeaderError::NotUtf8(name));
            text.and_then(|text| check_list(text, |element| check_address(name, element)))
                .map_err(bad(name))?;
        }
    }
    message.expires().map_err(bad(HeaderName::Expires))?;
    message.content_type().map_err(bad(HeaderName::ContentType))?;
    message.event().map_err(bad(HeaderName::Event))?;
    message.subscription_state().map_err(bad(HeaderName::SubscriptionState))?;
    Ok(())
}

fn check_address(name: HeaderName, element: &str) -> Result<(), HeaderError> {
    if name == HeaderName::Contact && element == "*" {
        return Ok(());
    }
    NameAddr::parse(element).map(drop)
}

fn check_list(
    value: &str,
    mut check: impl FnMut(&str) -> Result<(), HeaderError>,
) -> Result<(), HeaderError> {
    crate::CommaList::new(value).try_for_each(&mut check)
}

/// RFC 3261 §8.2.2.3. CANCEL and ACK are never refused for an extension.
fn check_require(message: &Message, supported: &[&str]) -> Result<(), Rejection> {
    if matches!(message.method(), Method::Cancel | Method::Ack) {
        return Ok(());
    }
    let is_supported = |tag: &str| supported.iter().any(|s| s.eq_ignore_ascii_case(tag));
    let mut unsupported = String::new();
    for tag in message.require().filter(|tag| !is_supported(tag)) {
        if !lex::is_token(tag) {
            return Err(Rejection::bad("Malformed Require Header Field"));
        }
        if !unsupported.is_empty() {
            unsupported.push_str(", ");
        }
        unsupported.push_str(tag);
    }
    if unsupported.is_empty() {
        return Ok(());
    }
    let mut rejection = Rejection::new(420, "Bad Extension");
    rejection.headers.push((HeaderName::Unsupported, unsupported));
    Err(rejection)
}

/// Why a response is dropped without a word: nobody answers a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// Another version of SIP.
    #[error("the response is not SIP/2.0")]
    Version,
    /// The status code is not within 100–699 (RFC 4475 §3.1.2.19).
    #[error("the status code is not within 100 and 699")]
    Status,
    /// The structure is damaged.
    #[error("{0}")]
    Defect(Defect),
    /// A field without which it cannot be matched, or a number out of its range (RFC 4475 §3.1.2.5).
    #[error("{0}")]
    Header(HeaderError),
    /// More than one Via: it is not for us (SIP-45, RFC 4475 §3.3.10).
    #[error("the response carries more than one Via")]
    SeveralVias,
    /// The top Via does not name us (SIP-09).
    #[error("the Via of the response does not name us")]
    ForeignVia,
}

impl From<HeaderError> for DropReason {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// Judges a response by its form; `sent_by` is what we put into our Vias. A body that was too large does no
/// harm: the status is what counts.
///
/// # Errors
/// [`DropReason`].
pub fn check_response(message: &Message, sent_by: &str) -> Result<(), DropReason> {
    read_response(message, sent_by).map(drop)
}

/// The same, for callers that go on with what it reads: the Via, which is ours, and CSeq.
///
/// # Errors
/// [`DropReason`].
pub(crate) fn read_response<'a>(
    message: &'a Message,
    sent_by: &str,
) -> Result<(Via<'a>, CSeq<'a>), DropReason> {
    if !message.version().eq_ignore_ascii_case("SIP/2.0") {
        return Err(DropReason::Version);
    }
    if !message.status().is_some_and(crate::StatusCode::is_legal) {
        return Err(DropReason::Status);
    }
    match message.defect() {
        None | Some(Defect::BodyTooLarge) => {}
        Some(defect) => return Err(DropReason::Defect(defect)),
    }
    let mut vias = message.vias();
    let top = vias.next().ok_or(HeaderError::Missing(HeaderName::Via))??;
    if vias.next().is_some() {
        return Err(DropReason::SeveralVias);
    }
    if !top.is_sent_by(sent_by) {
        return Err(DropReason::ForeignVia);
    }
    let cseq = message.cseq()?;
    message.call_id()?;
    message.from_header()?;
    message.to_header()?;
    message.retry_after()?;
    message.expires()?;
    message.min_expires()?;
    Ok((top, cseq))
}

/// For callers that take a Request-URI apart before or without [`check_request`].
impl From<crate::UriError> for Rejection {
    fn from(_: crate::UriError) -> Self {
        Self::bad("Malformed Request-URI")
    }
}
