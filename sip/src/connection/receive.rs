//! What becomes of a message that has arrived.

use std::time::Instant;

use bytes::Bytes;
use compact_str::CompactString;

use super::client::{Final, Known};
use super::keys::{Key, MethodlessKey};
use super::server::{Acknowledged, Finished, Kind, Pending, Repeat};
use super::{Connection, ConnectionConfig, Counters, Output, Phase, ServerTxn, probe, write_trying};
use crate::build::write_within_transaction;
use crate::{
    DropReason, HeaderName, Message, Method, ResponseHead, StatusCode, Via, read_request, read_response,
};

/// The port of SIP over TLS where none is written (RFC 3261 §18.2.2).
const SIPS_PORT: u16 = 5061;

impl<E> Connection<E> {
    pub(super) fn receive_request<T: AsRef<str>>(
        &mut self,
        message: Message,
        to_tag: impl FnOnce() -> T,
        now: Instant,
    ) {
        let method = message.method();
        let kind = match method {
            Method::Ack => return self.receive_ack(message),
            Method::Invite => Kind::Invite,
            Method::Benotify => Kind::Silent,
            _ => Kind::NonInvite,
        };
        let via = message.top_via();
        let methodless = via.as_ref().ok().and_then(|via| self.keys.server(&message, via));
        let key = methodless.as_ref().map(|methodless| methodless.with(method));
        if let Some(repeat) = key.and_then(|key| self.server.find(key, now)) {
            repeat_answer(repeat, &message, &self.config, &mut self.out, &mut self.counters);
            return;
        }
        let tag = CompactString::new(to_tag().as_ref());
        let checked = match read_request(&message, via, self.config.supported) {
            Ok(checked) => checked,
            Err(rejection) => {
                self.counters.rejected += 1;
                let extra: Vec<_> =
                    rejection.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let (status, reason) = (rejection.status, &rejection.reason);
                let mut why = reason.to_string();
                for (name, value) in &extra {
                    why.extend(["; ", name, ": ", value]);
                }
                self.refuse(&message, key, kind, tag, (status, reason, &why), &extra, now);
                return;
            }
        };
        let Some((methodless, key)) = methodless.zip(key) else {
            self.counters.unanswerable += 1;
            return;
        };
        if method == Method::Cancel {
            self.receive_cancel(&message, &methodless, key, tag, now);
            return;
        }
        let refusal = if self.phase == Phase::Draining {
            Some((&mut self.counters.refused_draining, 503, "this connection is being closed"))
        } else if self.server.is_full() {
            let why = "as many requests of this connection as may wait for an answer are waiting";
            Some((&mut self.counters.overloaded, 503, why))
        } else if has_been_here(&message, via.ok(), &self.config) {
            Some((&mut self.counters.looped, 482, "it has been here before: one of its Vias is our own"))
        } else {
            None
        };
        if let Some((counter, status, why)) = refusal {
            *counter += 1;
            let verdict = (status, StatusCode(status).phrase(), why);
            self.refuse(&message, Some(key), kind, tag, verdict, &[], now);
            return;
        }
        let head = ResponseHead::render(&message, via, Some(&checked.to), &tag, self.config.peer);
        let Ok(mut head) = head else {
            self.counters.unanswerable += 1;
            return;
        };
        if let Some(agreed) = message.header(HeaderName::MsKeepAlive).and_then(probe::agreed) {
            head = head.with_field(HeaderName::MsKeepAlive, &agreed);
        }
        // Nothing else speaks against it: from here on it is under way.
        let Ok(copies) = self.server.first_of(&message, now) else {
            self.counters.merged += 1;
            let verdict = (482, StatusCode(482).phrase(), "the same request has arrived over another way");
            self.refuse(&message, Some(key), kind, tag, verdict, &[], now);
            return;
        };
        if self.alias.is_none()
            && let Ok(via) = via
            && via.params.get("alias").is_some()
        {
            self.alias = Some(via.port.unwrap_or(SIPS_PORT));
        }
        let pending = Pending { key, copies, head, tag, kind, arrived: now, trying: false, answered: None };
        let txn = ServerTxn(self.server.begin(pending));
        self.counters.requests += 1;
        self.outputs.push_back(Output::Request { txn, message });
    }

    /// An ACK is never answered. One for a refusal belongs to the transaction and ends it; one for 2xx is a matter of the
    /// dialog (RFC 3261 §13.3.1.4), and goes to the caller.
    fn receive_ack(&mut self, message: Message) {
        self.counters.acks += 1;
        let Ok(via) = message.top_via() else { return };
        if read_request(&message, Ok(via), self.config.supported).is_err() {
            return;
        }
        let key = self.keys.server(&message, &via).map(|methodless| methodless.with(Method::Invite));
        let mut about = key.map_or(Acknowledged::Unknown, |key| self.server.acknowledge(key, None));
        if about == Acknowledged::Unknown
            && let Some(key) = self.keys.acknowledged_by_older_rules(&message, &via)
        {
            about = self.server.acknowledge(key, Some(message.to_tag().unwrap_or_default()));
        }
        match about {
            Acknowledged::Refusal => {}
            Acknowledged::Success | Acknowledged::Unknown => self.outputs.push_back(Output::Ack { message }),
        }
    }

    /// RFC 3261 §9.2: the match is by the transaction key with any method. A non-INVITE request goes on as if nothing had
    /// happened (SIP-28), and so does an INVITE that has its answer; of one that waits for it the caller is told.
    fn receive_cancel(
        &mut self,
        message: &Message,
        methodless: &MethodlessKey,
        key: Key,
        tag: CompactString,
        now: Instant,
    ) {
        let found = CANCELLABLE.iter().find_map(|method| self.server.find(methodless.with(*method), now));
        let (status, tag) = match found {
            // §9.2: the same To tag as the answer to the request itself.
            Some(Repeat::Pending(Pending { tag, .. }) | Repeat::Finished(Finished { tag, .. })) => {
                self.counters.cancels += 1;
                (200, tag.clone())
            }
            None => {
                self.counters.stray_cancels += 1;
                (481, tag)
            }
        };
        let why = "there is no request that it could cancel, or it has its answer";
        let verdict = (status, StatusCode(status).phrase(), why);
        self.refuse(message, Some(key), Kind::NonInvite, tag, verdict, &[], now);
        if let Some(invite) = self.server.pending_invite(methodless.with(Method::Invite)) {
            self.outputs.push_back(Output::Cancelled { txn: ServerTxn(invite) });
        }
    }

    /// Answers a request that the caller never sees, with a status, its phrase and the reason.
    #[expect(clippy::too_many_arguments, reason = "the parts of one response")]
    fn refuse(
        &mut self,
        message: &Message,
        key: Option<Key>,
        kind: Kind,
        tag: CompactString,
        (status, reason, why): (u16, &str, &str),
        extra: &[(&str, &str)],
        now: Instant,
    ) {
        let Ok(head) = ResponseHead::from_request(message, &tag, self.config.peer) else {
            self.counters.unanswerable += 1;
            return;
        };
        let explained = self.config.explain.filter(|_| status >= 300);
        let explained = explained.map(|explain| explain(&self.config.sent_by, status, why));
        let mut fields = extra.to_vec();
        fields.extend(explained.iter().map(|(name, value)| (*name, value.as_str())));
        match key {
            // Its ACK has to find it.
            Some(key) if kind == Kind::Invite => {
                let pending = Pending {
                    key,
                    copies: None,
                    head,
                    tag,
                    kind,
                    arrived: now,
                    trying: false,
                    answered: None,
                };
                let handle = self.server.begin(pending);
                let _ = self.answer_invite(handle, status, reason, &fields, None, now);
            }
            key => {
                let _ = self.answer(key, &head, tag, kind, status, reason, &fields, None, now);
            }
        }
    }

    pub(super) fn receive_response(&mut self, message: Message, now: Instant) {
        let (via, cseq) = match read_response(&message, &self.config.sent_by) {
            Ok(read) => read,
            Err(reason) => {
                match reason {
                    DropReason::ForeignVia => self.counters.foreign_responses += 1,
                    DropReason::SeveralVias => self.counters.multi_via_responses += 1,
                    _ => self.counters.malformed_responses += 1,
                }
                return;
            }
        };
        let key = via.branch().map(|branch| self.keys.client(branch, cseq.method));
        let (Some(key), Some(status)) = (key, message.status()) else {
            self.counters.stray_responses += 1;
            return;
        };
        if self.probe == Some(key) {
            if !status.is_provisional() {
                self.probe = None;
                let timeout = message.header(HeaderName::MsKeepAlive).and_then(probe::timeout);
                if let Some(keep_alive) = &mut self.keep_alive {
                    keep_alive.answered(timeout, now);
                }
            }
            return;
        }
        if cseq.method == Method::Cancel {
            return self.receive_answer_to_cancel(&via, now);
        }
        if status.is_provisional() {
            return self.receive_provisional(key, status, message, now);
        }
        match self.client.finish(key, status, now) {
            Final::First { envelope, invite } => {
                self.counters.responses += 1;
                self.answered = Some(now);
                if let Some(invite) = invite {
                    // RFC 3261 §17.1.1.3. The caller acknowledges 2xx.
                    self.acknowledge(&invite, &message);
                }
                self.outputs.push_back(Output::Response { envelope, message });
            }
            Final::Another => {
                self.counters.responses += 1;
                self.outputs.push_back(Output::Early { message });
            }
            Final::Stray => self.counters.stray_responses += 1,
        }
    }

    fn receive_provisional(&mut self, key: Key, status: StatusCode, message: Message, now: Instant) {
        match self.client.proceed(key, now) {
            Known::No => self.counters.stray_responses += 1,
            Known::Yes => self.has_proceeded(now),
            Known::Invite { cancel } => {
                self.has_proceeded(now);
                if let Some((invite, fields)) = cancel {
                    self.write_cancel(&invite, &fields);
                }
                if status.0 > 100 {
                    self.outputs.push_back(Output::Early { message });
                }
            }
        }
    }

    /// What was cancelled gets its own answer, whatever is said to CANCEL.
    fn receive_answer_to_cancel(&mut self, via: &Via<'_>, now: Instant) {
        let ours = via
            .branch()
            .is_some_and(|branch| self.client.is_cancelled(self.keys.client(branch, Method::Invite)));
        match ours {
            true => self.has_proceeded(now),
            false => self.counters.stray_responses += 1,
        }
    }

    fn has_proceeded(&mut self, now: Instant) {
        self.counters.provisional += 1;
        self.answered = Some(now);
    }

    fn acknowledge(&mut self, invite: &Bytes, response: &Message) {
        let to = response.header(HeaderName::To).unwrap_or_default();
        if let Ok(invite) = Message::parse(invite.clone()) {
            write_within_transaction(&mut self.out, &invite, Method::Ack, to, &[]);
        }
    }

    pub(super) fn write_cancel(&mut self, invite: &Bytes, fields: &[(&str, String)]) {
        if let Ok(invite) = Message::parse(invite.clone()) {
            let to = invite.header(HeaderName::To).unwrap_or_default();
            write_within_transaction(&mut self.out, &invite, Method::Cancel, to, fields);
            self.counters.cancels_sent += 1;
        }
    }
}

/// What a CANCEL may be meant for. Extension methods end at once with 501, so there is nothing left to
/// cancel.
pub(super) const CANCELLABLE: [Method<'static>; 15] = [
    Method::Message,
    Method::Invite,
    Method::Subscribe,
    Method::Notify,
    Method::Options,
    Method::Bye,
    Method::Info,
    Method::Update,
    Method::Refer,
    Method::Publish,
    Method::Register,
    Method::Prack,
    Method::Service,
    Method::Benotify,
    Method::Negotiate,
];

/// Whether a request of ours has come back (RFC 3261 §16.3 step 4). Whatever it met on its way, a spiral for a proxy (RFC 5393
/// §4.2), it is a loop for the one that wrote it: its sender is on the other side. A Via that cannot be read is nobody's.
fn has_been_here(message: &Message, top: Option<Via<'_>>, config: &ConnectionConfig) -> bool {
    let is_ours = |via: Via<'_>| {
        via.is_sent_by(&config.sent_by) || config.other_names.iter().any(|name| via.is_sent_by(name))
    };
    top.into_iter().chain(message.lower_vias().flatten()).any(is_ours)
}

/// A request has come again: a pending one is absorbed — or gets 100 again, once that is its latest
/// answer (RFC 3261 §17.2.2) —, a finished one gets its answer again (IM-17).
fn repeat_answer(
    repeat: Repeat<'_>,
    message: &Message,
    config: &ConnectionConfig,
    out: &mut Vec<u8>,
    counters: &mut Counters,
) {
    match repeat {
        Repeat::Pending(Pending { answered: Some(answered), .. }) => {
            // RFC 6026 §7.1: the caller repeats a 2xx, not the transaction.
            if (200..300).contains(&answered.status) {
                counters.repeats_absorbed += 1;
            } else {
                counters.repeats_answered += 1;
                out.extend_from_slice(&answered.response);
            }
        }
        Repeat::Pending(pending) => {
            counters.repeats_absorbed += 1;
            if pending.trying && pending.kind != Kind::Silent {
                counters.trying += 1;
                write_trying(out, &pending.head);
            }
        }
        Repeat::Finished(_) if message.method() == Method::Benotify => counters.repeats_absorbed += 1,
        Repeat::Finished(Finished { response: Some(response), .. }) => {
            counters.repeats_answered += 1;
            out.extend_from_slice(response);
        }
        Repeat::Finished(finished) => match ResponseHead::from_request(message, &finished.tag, config.peer) {
            Ok(head) => {
                counters.repeats_answered += 1;
                head.write(out, finished.status, StatusCode(finished.status).phrase(), &[], None);
            }
            Err(_) => counters.unanswerable += 1,
        },
    }
}
