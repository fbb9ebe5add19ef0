//! Answers to SIP requests: what they say, and how a batch of them finds its connections.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use nuncio_sip::HeaderName;
use nuncio_sip::connection::{Responded, ServerTxn};
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::errors::SipFailure;
use smallvec::SmallVec;

use super::{ConnectionId, Fate, Gateway, ReplyTo, SipLink, SipPeer, SipPort};

/// What the front ends may send us.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, UPDATE, SUBSCRIBE, NOTIFY, BENOTIFY, OPTIONS";
/// The extensions that we know: session timers (RFC 4028), and what batched subscriptions may require.
pub const SUPPORTED: &[&str] = &["timer", "adhoclist", "categoryList"];

/// A final answer other than 200.
#[derive(Debug, Clone)]
pub(super) struct SipAnswer {
    pub(super) status: u16,
    pub(super) reason: Cow<'static, str>,
    pub(super) headers: SmallVec<[(&'static str, String); 1]>,
    /// What it says of its reason to our own side, and how the log has it. Which field that becomes, whoever reads it decides.
    because: Option<Box<Because>>,
    /// Content-Type and body; few answers have one.
    body: Option<Box<(&'static str, Bytes)>>,
    /// A rule forbids what was asked for.
    by_rule: bool,
    /// The domain of the contact on whose behalf it is given.
    contact_domain: Option<Box<str>>,
    /// Code and text of a Warning (RFC 3261 §20.43).
    warning: Option<Box<(u16, String)>>,
}

#[derive(Debug, Clone)]
struct Because {
    diagnostic: Diagnostic,
    why: String,
}

impl SipAnswer {
    pub(super) fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: reason.into(),
            headers: SmallVec::new(),
            because: None,
            body: None,
            by_rule: false,
            contact_domain: None,
            warning: None,
        }
    }

    pub(super) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    /// With a Warning. Who warns is a matter of the connection, too.
    pub(super) fn warning(mut self, code: u16, text: &str) -> Self {
        self.warning = Some(Box::new((code, text.to_owned())));
        self
    }

    /// A rule forbids what was asked for.
    pub(super) fn by_rule(mut self) -> Self {
        self.by_rule = true;
        self
    }

    /// What becomes of a message that is answered so.
    pub(super) fn fate(&self) -> Fate {
        if self.by_rule { Fate::Refused } else { Fate::Failed }
    }

    /// It is given on behalf of a contact of this domain, unless it refuses: that we do ourselves.
    pub(super) fn of_contact(mut self, domain: &str) -> Self {
        self.contact_domain = (self.status < 300).then(|| domain.into());
        self
    }

    pub(super) fn with_body(mut self, body: Option<Box<(&'static str, Bytes)>>) -> Self {
        self.body = body;
        self
    }

    /// What [`SipAnswer::because`] said, else the reason phrase.
    pub(super) fn why(&self) -> &str {
        self.because.as_ref().map_or(&self.reason, |because| &because.why)
    }

    /// Says to our own side why (`ms-diagnostics`, mission: it explains itself).
    /// What we are called there is a matter of the connection.
    pub(super) fn because(mut self, diagnostic: Diagnostic, why: &str) -> Self {
        self.because = Some(Box::new(Because { diagnostic, why: why.to_owned() }));
        self
    }
}

impl From<SipFailure> for SipAnswer {
    fn from(failure: SipFailure) -> Self {
        let allow = failure.needs_allow();
        let mut answer = Self::new(failure.status, failure.reason);
        if allow {
            answer = answer.with("Allow", ALLOW);
        }
        match failure.contact {
            Some(uri) => answer.with("Contact", format!("<{uri}>")),
            None => answer,
        }
    }
}

/// Collects answers that belong to the same connection, so that it is locked and woken once for all.
pub(super) struct Answers<'a> {
    gateway: &'a Gateway,
    connection: Option<(ConnectionId, SipLink)>,
    batch: Vec<(ServerTxn, Option<Box<SipAnswer>>)>,
    now: Option<Moment>,
}

impl Gateway {
    pub(super) fn answers(&self) -> Answers<'_> {
        Answers { gateway: self, connection: None, batch: Vec::new(), now: None }
    }

    /// Answers whose connection is gone: they go over the connection we hold to the same front end, which
    /// is the one its Via leads to (SIP-07). Without one, the sender's transaction times out.
    fn send_orphans(&self, id: ConnectionId, responses: Vec<Bytes>, now: Moment) {
        let peer = self.connections.get(&id).map(|link| link.peer.clone());
        self.forget_connection(id, now);
        let Some(SipPeer::FrontEnd(index)) = peer else { return };
        let Some(port) = self.connection_to(index) else {
            self.counters.answers_lost.add(responses.len() as u64);
            return;
        };
        port.feed(|connection| responses.iter().for_each(|response| connection.relay(response)));
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<Arc<SipPort>> {
        self.connections.get(&id).map(|link| Arc::clone(&link.port))
    }

    pub(super) fn link(&self, id: ConnectionId) -> Option<SipLink> {
        self.connections.get(&id).map(|link| link.clone())
    }
}

impl Answers<'_> {
    /// A bare 200 on behalf of a contact of this domain.
    pub(super) fn accepted(&mut self, reply: ReplyTo, contact_domain: &str, now: Moment) {
        self.turn_to(reply.connection);
        let said = self.word_of(contact_domain);
        let answer =
            said.map(|said| Box::new(SipAnswer { headers: [said].into(), ..SipAnswer::new(200, "OK") }));
        self.put(reply, answer, now);
    }

    pub(super) fn refused(&mut self, reply: ReplyTo, mut answer: SipAnswer, now: Moment) {
        self.turn_to(reply.connection);
        let said = answer.contact_domain.as_deref().and_then(|domain| self.word_of(domain));
        answer.headers.extend(said);
        self.put(reply, Some(Box::new(answer)), now);
    }

    /// How far the contact is trusted, where the front end asked on this connection believes us.
    fn word_of(&self, contact_domain: &str) -> Option<(&'static str, String)> {
        let (_, link) = self.connection.as_ref()?;
        self.gateway.word_of(contact_domain, &link.peer)
    }

    fn turn_to(&mut self, connection: ConnectionId) {
        if self.connection.as_ref().is_none_or(|(id, _)| *id != connection) {
            self.flush();
            // A connection that is gone took its sender with it: there is nobody to answer.
            self.connection = self.gateway.link(connection).map(|link| (connection, link));
        }
    }

    fn put(&mut self, reply: ReplyTo, answer: Option<Box<SipAnswer>>, now: Moment) {
        self.now = Some(now);
        self.batch.push((reply.transaction, answer));
    }

    fn flush(&mut self) {
        let (Some((_, link)), Some(now)) = (&self.connection, self.now) else {
            self.batch.clear();
            return;
        };
        if self.batch.is_empty() {
            return;
        }
        let mut orphans = Vec::new();
        let form = self.gateway.trust_model(&link.peer).diagnostics();
        link.port.feed(|connection| {
            for (transaction, answer) in self.batch.drain(..) {
                let responded = match answer {
                    None => connection.respond(transaction, 200, "OK", &[], None, now.instant),
                    Some(answer) => {
                        let because = answer.because.as_deref();
                        let source = &connection.config().sent_by;
                        let because =
                            because.map(|Because { diagnostic, why }| diagnostic.field(form, source, why));
                        let warning = answer.warning.as_deref().map(|(code, text)| {
                            (HeaderName::Warning.as_str(), format!("{code} {source} \"{text}\""))
                        });
                        let headers: SmallVec<[(&str, &str); 4]> = answer
                            .headers
                            .iter()
                            .chain(&warning)
                            .chain(&because)
                            .map(|(name, value)| (*name, value.as_str()))
                            .collect();
                        let (status, reason) = (answer.status, &answer.reason);
                        let body = answer.body.as_deref().map(|(media, body)| (*media, &body[..]));
                        connection.respond(transaction, status, reason, &headers, body, now.instant)
                    }
                };
                if let Responded::Orphaned(response) = responded {
                    orphans.push(response);
                }
            }
        });
        if let (false, Some((id, _))) = (orphans.is_empty(), &self.connection) {
            self.gateway.send_orphans(*id, orphans, now);
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
