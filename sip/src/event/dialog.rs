//! Dialogs (RFC 3261 §12).

use compact_str::CompactString;

use super::{Answer, Context, DialogRecord, EventConfig, Tokens};
use crate::hop::OutRequest;
use crate::{
    BuildError, CSeq, HeaderError, HeaderName, Message, Method, NameAddr, RequestBuilder, Uri, UriError,
    escape,
};

/// How far the `CSeq` of a restored dialog jumps ahead. A record may lag behind what was sent: requests are not
/// worth a write to disk each. No subscription sends as many requests as this between two saves of its record — at
/// one NOTIFY in 5 s it takes 3.8 days —, and the numbers last for 32,767 restarts of one dialog.
///
/// Who restores a dialog saves its record again before the next restart: otherwise that one would jump to the same
/// numbers.
pub const RESTORE_JUMP: u32 = 1 << 16;
/// The other side's bytes that one dialog keeps: route set, remote target, addresses, Call-ID, tag. Above it there is
/// no dialog (513). Route sets that Lync signs reach 4 KiB.
pub const MAX_KEPT: usize = 16 * 1024;
/// `CSeq` numbers stay below this (RFC 3261 §8.1.1.5).
const CSEQ_END: u32 = 1 << 31;
/// Max-Forwards of requests that begin with us.
const HOPS: u8 = 70;
const COOKIE: &str = "z9hG4bK";
/// Room for what a request holds beside its dialog, so that writing it allocates once.
const REQUEST_OVERHEAD: usize = 768;

/// One dialog. What the other side chose is kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog(DialogRecord);

/// Where a request stands in the order of its dialog (RFC 3261 §12.2.2; EV-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    New,
    /// The same number again: a repeat of the last one.
    Repeat,
    /// A lower number: answered 500, and nothing changes.
    Old,
}

/// Why a request does not make a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    /// A field cannot be read, or is missing.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// From without a tag.
    #[error("the From header field has no tag")]
    NoTag,
    /// No Contact, several, or one that is no SIP URI.
    #[error("the Contact header field does not hold exactly one SIP address")]
    Contact,
    /// A Record-Route that is no SIP URI.
    #[error("a Record-Route header field does not hold a SIP address")]
    Route,
    /// More than [`MAX_KEPT`].
    #[error("route set, Contact and addresses are longer than {MAX_KEPT} bytes")]
    TooLarge,
}

impl NoDialog {
    /// What the request gets.
    pub fn answer(self) -> Answer {
        match self {
            Self::Header(HeaderError::Missing(name)) => {
                Answer::new(400, format!("Missing {name} Header Field"))
            }
            Self::Header(_) => Answer::plain(400),
            Self::NoTag => Answer::new(400, "Missing From Tag"),
            Self::Contact => Answer::new(400, "Missing or Unusable Contact Header Field"),
            Self::Route => Answer::new(400, "Unusable Record-Route Header Field"),
            Self::TooLarge => Answer::plain(513),
        }
    }
}

/// A request of ours could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Branch(#[from] crate::hop::NoBranch),
    #[error("the dialog has used up its numbers")]
    Exhausted,
}

impl Dialog {
    /// A dialog that requests of ours are to begin: see [`Dialog::begin`].
    ///
    /// # Errors
    /// [`UriError`]: one of the two is no SIP URI.
    pub fn outgoing(local_uri: &str, remote_uri: &str) -> Result<Self, UriError> {
        for uri in [local_uri, remote_uri] {
            if !Uri::parse(uri)?.is_sip() {
                return Err(UriError::Scheme);
            }
        }
        Ok(Self(DialogRecord {
            call_id: CompactString::default(),
            local_tag: CompactString::default(),
            remote_tag: CompactString::default(),
            local_uri: local_uri.into(),
            remote_uri: remote_uri.into(),
            remote_target: remote_uri.into(),
            routes: Box::default(),
            local_cseq: 0,
            remote_cseq: None,
            event_id: None,
        }))
    }

    /// Takes new names, as for every request outside of a dialog: what was learned before is forgotten.
    pub fn begin(&mut self, tokens: &mut dyn Tokens) {
        let record = &mut self.0;
        record.call_id = tokens.token();
        record.local_tag = tokens.token();
        record.remote_tag = CompactString::default();
        record.remote_target = record.remote_uri.clone();
        record.routes = Box::default();
        record.local_cseq = 0;
        record.remote_cseq = None;
    }

    /// The dialog that a request of the other side begins (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// [`NoDialog`].
    pub fn incoming(request: &Message, local_tag: &str) -> Result<Self, NoDialog> {
        let (from, to) = (request.from_header()?, request.to_header()?);
        let mut dialog = Self(DialogRecord {
            call_id: request.call_id()?.into(),
            local_tag: local_tag.into(),
            remote_tag: CompactString::default(),
            local_uri: to.uri.as_str().into(),
            remote_uri: from.uri.as_str().into(),
            remote_target: contact(request)?.ok_or(NoDialog::Contact)?.into(),
            routes: Box::default(),
            local_cseq: 0,
            remote_cseq: None,
            event_id: request.event()?.and_then(|event| event.id().map(CompactString::from)),
        });
        dialog.establish(request)?;
        Ok(dialog)
    }

    /// A dialog that a request of ours began comes about with the other side's first request in it (RFC 6665 §4.4.1;
    /// EV-04): tag and route set are those of that request, whatever the response to ours says.
    ///
    /// # Errors
    /// [`NoDialog`]; nothing has changed then.
    pub fn establish(&mut self, request: &Message) -> Result<(), NoDialog> {
        let tag = request.from_header()?.tag().ok_or(NoDialog::NoTag)?;
        let routes = request.record_routes().map(|route| {
            let route = route?;
            if route.uri.is_sip() { Ok(route.as_str().into()) } else { Err(NoDialog::Route) }
        });
        let routes = routes.collect::<Result<Box<[Box<str>]>, NoDialog>>()?;
        let target = contact(request)?;
        let kept = tag.len()
            + self.0.call_id.len()
            + self.0.local_uri.len()
            + self.0.remote_uri.len()
            + target.unwrap_or(&self.0.remote_target).len()
            + routes.iter().map(|route| route.len()).sum::<usize>();
        if kept > MAX_KEPT {
            return Err(NoDialog::TooLarge);
        }
        let number = request.cseq()?.number;
        if let Some(target) = target {
            self.0.remote_target = target.into();
        }
        self.0.remote_tag = tag.into();
        self.0.routes = routes;
        self.0.remote_cseq = Some(number);
        Ok(())
    }

    /// Goes on with a dialog of an earlier process; `CSeq` jumps ahead by [`RESTORE_JUMP`].
    pub fn restore(mut record: DialogRecord) -> Self {
        record.local_cseq = record.local_cseq.saturating_add(RESTORE_JUMP);
        Self(record)
    }

    /// What is worth keeping.
    pub fn record(&self) -> &DialogRecord {
        &self.0
    }

    /// The other side has chosen its tag.
    pub fn is_established(&self) -> bool {
        !self.0.remote_tag.is_empty()
    }

    /// Call-ID and tags of a request of the other side are those of this dialog. One that the other side has not
    /// answered yet takes any tag of theirs.
    pub fn owns(&self, request: &Message) -> bool {
        let same_tag = |tag: &str| !self.is_established() || self.0.remote_tag == tag;
        request.call_id().is_ok_and(|call_id| self.0.call_id == call_id)
            && request.to_header().is_ok_and(|to| to.tag().is_some_and(|tag| self.0.local_tag == tag))
            && request.from_header().is_ok_and(|from| same_tag(from.tag().unwrap_or_default()))
    }

    /// Where a request of the other side stands.
    pub fn order(&self, request: &Message) -> Result<Order, HeaderError> {
        let number = request.cseq()?.number;
        Ok(match self.0.remote_cseq {
            Some(last) if number < last => Order::Old,
            Some(last) if number == last => Order::Repeat,
            _ => Order::New,
        })
    }

    /// Takes note of a request that was accepted: its number, and its Contact as new remote target (RFC 3261
    /// §12.2.2). The route set stays.
    pub fn accepted(&mut self, request: &Message) {
        if let Ok(cseq) = request.cseq() {
            self.0.remote_cseq = Some(cseq.number);
        }
        self.retarget(request);
    }

    /// Takes the Contact of a response of 2xx as new remote target, unless it comes from another dialog.
    pub fn responded(&mut self, response: &Message) {
        let tag = response.to_header().ok().and_then(|to| to.tag());
        if !self.is_established() || tag.is_some_and(|tag| self.0.remote_tag == tag) {
            self.retarget(response);
        }
    }

    /// An unusable Contact, or one that is too long, leaves the target as it was.
    fn retarget(&mut self, message: &Message) {
        let Ok(Some(target)) = contact(message) else { return };
        let others = self.0.routes.iter().map(|route| route.len()).sum::<usize>();
        if *self.0.remote_target != *target && others + target.len() <= MAX_KEPT {
            self.0.remote_target = target.into();
        }
    }

    /// Our Contact: it leads to this node and is that of no other dialog. `gr` says that it is a GRUU (EV-11).
    pub fn contact(&self, config: &EventConfig) -> String {
        let user = Uri::parse(&self.0.local_uri).ok().and_then(|uri| uri.user());
        let (user, at) = user.map_or(("", ""), |user| (user, "@"));
        let gr = escape::encode_param(&self.0.local_tag);
        format!("sip:{user}{at}{};transport=tls;gr={gr}", config.contact_host)
    }

    /// The value of Event.
    pub(super) fn event(&self, config: &EventConfig) -> String {
        match &self.0.event_id {
            Some(id) => format!("{};id={id}", config.package),
            None => config.package.to_owned(),
        }
    }

    pub(super) fn local_tag(&self) -> &CompactString {
        &self.0.local_tag
    }

    /// Writes the next request (RFC 3261 §12.2.1.1). `fields` stand behind those of the dialog, `Contact` and
    /// `Event`. A number is used up even if writing fails.
    pub(super) fn request(
        &mut self,
        method: Method<'_>,
        context: &mut Context<'_>,
        fields: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<OutRequest, Unwritable> {
        let number = self.0.local_cseq.saturating_add(1);
        if number >= CSEQ_END {
            return Err(Unwritable::Exhausted);
        }
        self.0.local_cseq = number;
        let config = context.config;
        let branch = [COOKIE, &context.tokens.token()].concat();
        let (contact, event) = (self.contact(config), self.event(config));
        let record = &self.0;
        let path = Path::of(record)?;
        let tag = Some(record.remote_tag.as_str()).filter(|tag| !tag.is_empty());
        let room = record.routes.iter().map(|route| route.len() + 9).sum::<usize>()
            + body.map_or(0, |(_, body)| body.len());
        let mut out = Vec::with_capacity(room + REQUEST_OVERHEAD);
        let mut builder = RequestBuilder::new(&mut out, method, &Uri::parse(&path.request_uri)?)
            .via("TLS", &config.sent_by, &branch)
            .max_forwards(HOPS)
            .from(None, &Uri::parse(&record.local_uri)?, &record.local_tag)
            .to(None, &Uri::parse(&record.remote_uri)?, tag)
            .call_id(&record.call_id)
            .cseq(CSeq { number, method })
            .contact(&Uri::parse(&contact)?)
            .header(HeaderName::Event.as_str(), &event);
        for route in path.routes.iter().map(|route| &**route).chain(path.last.as_deref()) {
            builder = builder.route(&NameAddr::parse(route)?);
        }
        for (name, value) in fields {
            builder = builder.header(name, value);
        }
        for (name, value) in &config.headers {
            builder = builder.header(name, value);
        }
        builder.finish(body)?;
        Ok(OutRequest::new(out, &branch)?)
    }
}

/// Request-URI and Route of a request.
struct Path<'a> {
    request_uri: String,
    routes: &'a [Box<str>],
    last: Option<String>,
}

impl<'a> Path<'a> {
    /// Loose routing: the remote target, and all routes. Strict routing: the first route's URI, then the others, then
    /// the remote target.
    fn of(record: &'a DialogRecord) -> Result<Self, HeaderError> {
        let routes = &*record.routes;
        let target = &*record.remote_target;
        let Some((first, rest)) = routes.split_first() else {
            return Ok(Self { request_uri: request_uri(target), routes, last: None });
        };
        let first = NameAddr::parse(first)?.uri;
        if first.params().contains("lr") {
            return Ok(Self { request_uri: request_uri(target), routes, last: None });
        }
        let last = Some(["<", target, ">"].concat());
        Ok(Self { request_uri: request_uri(first.as_str()), routes: rest, last })
    }
}

/// A URI without what may not stand in a Request-URI (RFC 3261 §19.1.1): headers and `method`.
fn request_uri(uri: &str) -> String {
    let uri = uri.split_once('?').map_or(uri, |(uri, _)| uri);
    let is_method = |piece: &&str| piece.split('=').next().is_some_and(|n| n.eq_ignore_ascii_case("method"));
    let mut pieces = uri.split(';');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces.filter(|piece| !is_method(piece)) {
        out.push(';');
        out.push_str(piece);
    }
    out
}

/// The one Contact of a message that begins or refreshes a dialog; `None` without any.
fn contact(message: &Message) -> Result<Option<&str>, NoDialog> {
    let mut contacts = message.list(HeaderName::Contact);
    let Some(first) = contacts.next() else { return Ok(None) };
    let uri = NameAddr::parse(first)?.uri;
    if contacts.next().is_some() || !uri.is_sip() {
        return Err(NoDialog::Contact);
    }
    Ok(Some(uri.as_str()))
}
