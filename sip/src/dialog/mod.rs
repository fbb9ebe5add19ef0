//! Dialogs (RFC 3261 §12), without IO: what subscriptions ([`crate::event`]) and sessions have in common.

mod answer;
mod context;
mod path;
mod record;
#[cfg(test)]
mod tests;
mod texts;

use compact_str::CompactString;

pub use answer::Answer;
pub use context::{Context, Origin, Tokens};
pub use record::DialogRecord;

use crate::hop::OutRequest;
use crate::{
    BuildError, CSeq, HeaderError, HeaderName, Message, Method, NameAddr, RequestBuilder, Uri, UriError,
    escape,
};
use path::{Path, Routes};
use texts::Texts;

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
///
/// Its texts hardly ever change, so they stand in one piece, by the numbers below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    texts: Texts,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

const CALL_ID: usize = 0;
const LOCAL_TAG: usize = 1;
/// The tag, and behind it what else stands in From or To of the other side: Lync's `epid` names the endpoint there. Tags hold
/// no `;`.
const REMOTE_TAG: usize = 2;
const LOCAL_URI: usize = 3;
const REMOTE_URI: usize = 4;
const REMOTE_TARGET: usize = 5;
/// Behind [`PRESENT`]; empty: there is none.
const EVENT_ID: usize = 6;
/// From here on.
const ROUTES: usize = 7;
const PRESENT: char = '=';

/// Where a request stands in the order of its dialog (RFC 3261 §12.2.2; EV-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    New,
    /// The same number again: a repeat of the last one.
    Repeat,
    /// A lower number: answered 500, and nothing changes.
    Old,
}

impl Order {
    /// Of this number after that one.
    pub(crate) fn of(number: u32, last: Option<u32>) -> Self {
        match last {
            Some(last) if number < last => Self::Old,
            Some(last) if number == last => Self::Repeat,
            _ => Self::New,
        }
    }
}

/// Why a request does not make a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDialog {
    /// A field cannot be read, or is missing.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// From (To of a response) without a tag.
    #[error("the other side has no tag")]
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
        let answer = match self {
            Self::Header(HeaderError::Missing(name)) => {
                Answer::new(400, format!("Missing {name} Header Field"))
            }
            Self::Header(_) => Answer::plain(400),
            Self::NoTag => Answer::new(400, "Missing From Tag"),
            Self::Contact => Answer::new(400, "Missing or Unusable Contact Header Field"),
            Self::Route => Answer::new(400, "Unusable Record-Route Header Field"),
            Self::TooLarge => Answer::plain(513),
        };
        answer.because(self.to_string())
    }
}

/// A request of ours could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// An address, tag or Call-ID of the other side is unusable.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A route is.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its Contact is.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The branch cannot be found again.
    #[error(transparent)]
    Branch(#[from] crate::hop::NoBranch),
    /// `CSeq` numbers end.
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
        Ok(Self::of(&DialogRecord {
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
        self.begin_with(None, tokens);
    }

    /// The same; the Call-ID is `word@token`.
    pub fn begin_with(&mut self, word: Option<&str>, tokens: &mut dyn Tokens) {
        let (token, local_tag) = (tokens.token(), tokens.token());
        let call_id = word.map_or_else(|| token.clone(), |word| [word, "@", &token].concat().into());
        let mut fixed = self.fixed();
        (fixed[CALL_ID], fixed[LOCAL_TAG], fixed[REMOTE_TAG]) = (&call_id, &local_tag, "");
        fixed[REMOTE_TARGET] = fixed[REMOTE_URI];
        self.texts = Texts::of(fixed.into_iter());
        (self.local_cseq, self.remote_cseq) = (0, None);
    }

    /// The dialog that a request of the other side begins (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// [`NoDialog`].
    pub fn incoming(request: &Message, local_tag: &str) -> Result<Self, NoDialog> {
        let (from, to) = (request.from_header()?, request.to_header()?);
        let mut dialog = Self::of(&DialogRecord {
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
        let party = party(&request.from_header()?)?;
        let number = request.cseq()?.number;
        self.learn(&party, record_routes(request)?, request)?;
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// A dialog that an INVITE of ours began comes about with 2xx (RFC 3261 §12.1.2): the route set is its Record-Route,
    /// reversed.
    ///
    /// # Errors
    /// [`NoDialog`]; nothing has changed then.
    pub fn confirm(&mut self, response: &Message) -> Result<(), NoDialog> {
        let party = party(&response.to_header()?)?;
        let mut routes = record_routes(response)?;
        routes.reverse();
        if contact(response)?.is_none() {
            return Err(NoDialog::Contact);
        }
        self.learn(&party, routes, response)
    }

    /// The dialog that a 2xx to an INVITE of ours makes, of which nothing is known but that response.
    ///
    /// # Errors
    /// [`NoDialog`].
    pub fn answered(response: &Message) -> Result<Self, NoDialog> {
        let (from, to) = (response.from_header()?, response.to_header()?);
        let mut dialog = Self::of(&DialogRecord {
            call_id: response.call_id()?.into(),
            local_tag: from.tag().ok_or(NoDialog::NoTag)?.into(),
            remote_tag: CompactString::default(),
            local_uri: from.uri.as_str().into(),
            remote_uri: to.uri.as_str().into(),
            remote_target: Box::default(),
            routes: Box::default(),
            local_cseq: response.cseq()?.number,
            remote_cseq: None,
            event_id: None,
        });
        dialog.confirm(response)?;
        Ok(dialog)
    }

    /// The dialog of another branch of a fork: the same INVITE, another 2xx.
    ///
    /// # Errors
    /// [`NoDialog`].
    pub fn fork(&self, response: &Message) -> Result<Self, NoDialog> {
        let mut fork = self.clone();
        fork.confirm(response)?;
        Ok(fork)
    }

    fn learn(&mut self, party: &str, routes: Routes<'_>, message: &Message) -> Result<(), NoDialog> {
        let mut fixed = self.fixed();
        if let Some(target) = contact(message)? {
            fixed[REMOTE_TARGET] = target;
        }
        fixed[REMOTE_TAG] = party;
        let kept = fixed[CALL_ID].len()
            + fixed[REMOTE_TAG].len()
            + fixed[LOCAL_URI].len()
            + fixed[REMOTE_URI].len()
            + fixed[REMOTE_TARGET].len()
            + routes.iter().map(|route| route.len()).sum::<usize>();
        if kept > MAX_KEPT {
            return Err(NoDialog::TooLarge);
        }
        self.texts = Texts::of(fixed.into_iter().chain(routes.iter().copied()));
        Ok(())
    }

    /// Goes on with a dialog of an earlier process; `CSeq` jumps ahead by [`RESTORE_JUMP`].
    pub fn restore(mut record: DialogRecord) -> Self {
        record.local_cseq = record.local_cseq.saturating_add(RESTORE_JUMP);
        Self::of(&record)
    }

    fn of(record: &DialogRecord) -> Self {
        let event_id = record.event_id.as_ref().map(|id| format!("{PRESENT}{id}"));
        let fixed: [&str; ROUTES] = [
            &record.call_id,
            &record.local_tag,
            &record.remote_tag,
            &record.local_uri,
            &record.remote_uri,
            &record.remote_target,
            event_id.as_deref().unwrap_or_default(),
        ];
        let texts = fixed.into_iter().chain(record.routes.iter().map(|route| &**route));
        Self { texts: Texts::of(texts), local_cseq: record.local_cseq, remote_cseq: record.remote_cseq }
    }

    /// What is worth keeping.
    pub fn record(&self) -> DialogRecord {
        DialogRecord {
            call_id: self.text(CALL_ID).into(),
            local_tag: self.text(LOCAL_TAG).into(),
            remote_tag: self.text(REMOTE_TAG).into(),
            local_uri: self.text(LOCAL_URI).into(),
            remote_uri: self.text(REMOTE_URI).into(),
            remote_target: self.text(REMOTE_TARGET).into(),
            routes: self.routes().map(Into::into).collect(),
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq,
            event_id: self.event_id().map(Into::into),
        }
    }

    fn text(&self, number: usize) -> &str {
        self.texts.get(number)
    }

    /// All texts but the routes.
    fn fixed(&self) -> [&str; ROUTES] {
        let mut fixed = [""; ROUTES];
        fixed.iter_mut().zip(self.texts.iter()).for_each(|(fixed, text)| *fixed = text);
        fixed
    }

    fn routes(&self) -> impl Iterator<Item = &str> + Clone {
        self.texts.iter().skip(ROUTES)
    }

    /// The `id` parameter of Event.
    pub(crate) fn event_id(&self) -> Option<&str> {
        self.text(EVENT_ID).strip_prefix(PRESENT)
    }

    /// The other side has chosen its tag.
    pub fn is_established(&self) -> bool {
        !self.remote_tag().is_empty()
    }

    /// The tag of the other side; empty while it has not chosen one.
    pub fn remote_tag(&self) -> &str {
        tag_of(self.text(REMOTE_TAG))
    }

    /// The other side's Contact URI.
    pub fn remote_target(&self) -> &str {
        self.text(REMOTE_TARGET)
    }

    /// Call-ID and tags of a request of the other side are those of this dialog. One that the other side has not
    /// answered yet takes any tag of theirs.
    pub fn owns(&self, request: &Message) -> bool {
        let fixed = self.fixed();
        let same_tag = |tag: &str| fixed[REMOTE_TAG].is_empty() || tag_of(fixed[REMOTE_TAG]) == tag;
        request.call_id().is_ok_and(|call_id| fixed[CALL_ID] == call_id)
            && request.to_tag().is_some_and(|tag| fixed[LOCAL_TAG] == tag)
            && same_tag(request.from_tag().unwrap_or_default())
    }

    /// Where a request of the other side stands.
    pub fn order(&self, request: &Message) -> Result<Order, HeaderError> {
        Ok(Order::of(request.cseq()?.number, self.remote_cseq))
    }

    /// Takes note of the number of a request that refreshes no target, or was refused.
    pub fn noted(&mut self, request: &Message) {
        if let Ok(cseq) = request.cseq() {
            self.remote_cseq = Some(cseq.number);
        }
    }

    /// Takes note of a number of the other side's that no request has brought.
    pub(crate) fn noted_number(&mut self, number: u32) {
        self.remote_cseq = Some(number);
    }

    /// Whether the other side has used this number, or a higher one.
    pub(crate) fn has_seen(&self, number: u32) -> bool {
        self.remote_cseq.is_some_and(|last| number <= last)
    }

    /// Takes note of a request that was accepted: its number, and its Contact as new remote target (RFC 3261
    /// §12.2.2). The route set stays.
    pub fn accepted(&mut self, request: &Message) {
        self.noted(request);
        self.retarget(request);
    }

    /// Takes the Contact of a response of 2xx as new remote target, unless it comes from another dialog.
    pub fn responded(&mut self, response: &Message) {
        let tag = response.to_header().ok().and_then(|to| to.tag());
        if !self.is_established() || tag.is_some_and(|tag| self.remote_tag() == tag) {
            self.retarget(response);
        }
    }

    /// An unusable Contact, or one that is too long, leaves the target as it was.
    fn retarget(&mut self, message: &Message) {
        let Ok(Some(target)) = contact(message) else { return };
        let others = self.routes().map(str::len).sum::<usize>();
        let mut fixed = self.fixed();
        if fixed[REMOTE_TARGET] != target && others + target.len() <= MAX_KEPT {
            fixed[REMOTE_TARGET] = target;
            self.texts = Texts::of(fixed.into_iter().chain(self.routes()));
        }
    }

    /// Our Contact: it leads to this node and is that of no other dialog. `gr` says that it is a GRUU (EV-11).
    pub fn contact(&self, origin: &Origin<'_>) -> String {
        let local = Uri::parse(self.text(LOCAL_URI)).ok();
        own_contact(local.and_then(|uri| uri.user()), self.local_tag(), origin)
    }

    /// What all of its requests have in common.
    pub fn call_id(&self) -> &str {
        self.text(CALL_ID)
    }

    /// The URI of our From.
    pub fn local_uri(&self) -> &str {
        self.text(LOCAL_URI)
    }

    /// Uses up the number of a request that is not sent, because a 2xx stands for it. `None`: there are none left.
    pub(crate) fn spend_number(&mut self) -> Option<u32> {
        let number = self.local_cseq.checked_add(1).filter(|number| *number < CSEQ_END)?;
        self.local_cseq = number;
        Some(number)
    }

    /// The number of our last request.
    pub fn last_number(&self) -> u32 {
        self.local_cseq
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        self.text(LOCAL_TAG)
    }

    /// Writes the next request (RFC 3261 §12.2.1.1). `fields` stand behind those of the dialog. A number is used up even if
    /// writing fails.
    ///
    /// # Errors
    /// [`Unwritable`].
    pub fn request(
        &mut self,
        method: Method<'_>,
        origin: &Origin<'_>,
        tokens: &mut dyn Tokens,
        fields: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<OutRequest, Unwritable> {
        let number = self.local_cseq.saturating_add(1);
        if number >= CSEQ_END {
            return Err(Unwritable::Exhausted);
        }
        self.local_cseq = number;
        self.write(CSeq { number, method }, origin, tokens, fields, body)
    }

    /// Writes the ACK for a 2xx to the INVITE with this number (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    /// [`Unwritable`].
    pub fn ack(
        &self,
        number: u32,
        origin: &Origin<'_>,
        tokens: &mut dyn Tokens,
        body: Option<(&str, &[u8])>,
    ) -> Result<OutRequest, Unwritable> {
        self.write(CSeq { number, method: Method::Ack }, origin, tokens, &[], body)
    }

    fn write(
        &self,
        cseq: CSeq<'_>,
        origin: &Origin<'_>,
        tokens: &mut dyn Tokens,
        fields: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<OutRequest, Unwritable> {
        let branch = [COOKIE, &tokens.token()].concat();
        let fixed = self.fixed();
        let local = Uri::parse(fixed[LOCAL_URI])?;
        let path = Path::of(fixed[REMOTE_TARGET], self.routes())?;
        let room = self.routes().map(|route| route.len() + 9).sum::<usize>()
            + body.map_or(0, |(_, body)| body.len());
        let mut out = Vec::with_capacity(room + REQUEST_OVERHEAD);
        let mut builder = RequestBuilder::new(&mut out, cseq.method, &Uri::parse(&path.request_uri)?)
            .via("TLS", origin.sent_by, &branch)
            .max_forwards(HOPS)
            .from(None, &local, fixed[LOCAL_TAG])
            .to_party(&Uri::parse(fixed[REMOTE_URI])?, fixed[REMOTE_TAG])
            .call_id(fixed[CALL_ID])
            .cseq(cseq);
        if refreshes_target(cseq.method) {
            builder = builder.contact(&Uri::parse(&own_contact(local.user(), fixed[LOCAL_TAG], origin))?);
        }
        for route in path.routes.iter().copied().chain(path.last.as_deref()) {
            builder = builder.route(&NameAddr::parse(route)?);
        }
        for (name, value) in fields {
            builder = builder.header(name, value);
        }
        for (name, value) in origin.headers {
            builder = builder.header(name, value);
        }
        builder.finish(body)?;
        Ok(OutRequest::new(out, &branch)?)
    }
}

/// Requests that tell the other side our Contact; the others may not (MESSAGE, RFC 3428 §7) or need not carry one.
fn refreshes_target(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify)
}

/// The tag of the other side and its further parameters, which go back to it as they came.
fn party(address: &NameAddr<'_>) -> Result<CompactString, NoDialog> {
    let mut party = CompactString::from(address.tag().ok_or(NoDialog::NoTag)?);
    for (name, value) in address.params.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("tag")) {
        let parts = [";", name, if value.is_some() { "=" } else { "" }, value.unwrap_or_default()];
        // What is allowed inside quotes could end a line.
        if !parts.iter().any(|part| part.bytes().any(|byte| byte.is_ascii_control())) {
            parts.iter().for_each(|part| party.push_str(part));
        }
    }
    Ok(party)
}

/// The tag in what [`party`] has made.
fn tag_of(party: &str) -> &str {
    party.split_once(';').map_or(party, |(tag, _)| tag)
}

/// The addresses of Record-Route, in the order they stand in.
fn record_routes(message: &Message) -> Result<Routes<'_>, NoDialog> {
    let routes = message.record_routes().map(|route| {
        let route = route?;
        if route.uri.is_sip() { Ok(route.as_str()) } else { Err(NoDialog::Route) }
    });
    routes.collect()
}

/// See [`Dialog::contact`].
fn own_contact(user: Option<&str>, tag: &str, origin: &Origin<'_>) -> String {
    let (user, at) = user.map_or(("", ""), |user| (user, "@"));
    let gr = escape::encode_param(tag);
    ["sip:", user, at, origin.contact_host, ";transport=tls;gr=", &gr].concat()
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
