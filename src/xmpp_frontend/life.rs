//! How long a stream lasts that carries stanzas, and the connection under it: what keeps it, what ends it, and what is to be
//! remembered of its end.

use std::time::Instant;

use nuncio_translate::Moment;
use nuncio_xmpp::lane::LaneCounters;
use nuncio_xmpp::stream::{Established, Evidence, Quiet};
use nuncio_xmpp::{Domain, StanzaKind, StreamCondition};
use smallvec::SmallVec;

use super::expiry::Expiry;
use super::watch::{Ask, Watch};
use crate::gateway::attempts::AttemptId;
use crate::gateway::{Dismissal, Enlisted, Gateway, StreamUp, TermsOfNow, was_lost};
use crate::net::session::Next;

/// Why a stream ends when the gateway does.
pub(super) const STOPPING: (StreamCondition, &str) =
    (StreamCondition::SystemShutdown, "the server is being shut down");

/// The life of one stream, whoever opened it.
pub(super) struct Life {
    /// What the driver of the connection is to do.
    next: Next,
    /// The stream is over: the connection is to be closed as soon as nothing is held.
    leaving: bool,
    /// It ended though nobody closed it.
    lost: bool,
    /// Since it is established.
    watch: Option<Watch>,
    /// Since then, if the peer's certificate proves who it is.
    expiry: Option<Expiry>,
    /// What was noted of how it came about, and of further domains that it may be used for.
    attempts: SmallVec<[AttemptId; 1]>,
    /// Since it is established: among the living.
    enlisted: Option<Enlisted>,
    /// It is counted as long as it is up.
    up: Option<StreamUp>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            next: Next::Run,
            leaving: false,
            lost: false,
            watch: None,
            expiry: None,
            attempts: SmallVec::new(),
            enlisted: None,
            up: None,
        }
    }

    /// The stream is among the living.
    pub(super) fn enlist(&mut self, enlisted: Enlisted) {
        self.enlisted = Some(enlisted);
    }

    /// It may be used for one more pair of domains, let in under these terms.
    pub(super) fn joined(&self, gateway: &Gateway, local: &Domain, remote: &Domain, under: TermsOfNow) {
        if let Some(enlisted) = &self.enlisted {
            gateway.joined(enlisted, local.as_str(), remote.as_str(), under);
        }
    }

    /// Why the stream is to end, if somebody wants that; said once.
    pub(super) fn dismissed(&mut self) -> Option<Dismissal> {
        let why = self.enlisted.as_ref()?.dismissed()?.clone();
        self.enlisted = None;
        Some(why)
    }

    /// What the driver is to do.
    pub(super) fn next(&self) -> Next {
        self.next
    }

    /// The driver is to do the TLS handshake.
    pub(super) fn start_tls(&mut self) {
        self.next = Next::StartTls;
    }

    /// That is over.
    pub(super) fn go_on(&mut self) {
        self.next = Next::Run;
    }

    /// The connection is to end at once.
    pub(super) fn abort(&mut self) {
        self.next = Next::Abort;
    }

    /// The stream is established; `idle_seconds`: after so many the peer closes one on which nothing comes.
    pub(super) fn established(
        &mut self,
        established: &Established,
        quiet: Quiet,
        idle_seconds: Option<u32>,
        now: Moment,
    ) {
        self.watch = Some(Watch::new(quiet, idle_seconds, now.instant));
        self.expiry = Expiry::of(established, now);
    }

    /// What was noted of it.
    pub(super) fn noted(&mut self, attempt: Option<AttemptId>) {
        self.attempts.extend(attempt);
    }

    /// It is counted from now on.
    pub(super) fn holds(&mut self, up: StreamUp) {
        self.up = Some(up);
    }

    /// The stream has ended, which is noted too.
    pub(super) fn ended(&mut self, evidence: &Evidence, gateway: &Gateway) {
        self.lost = was_lost(&evidence.cause);
        self.enlisted = None;
        self.up = None;
        let attempts = std::mem::take(&mut self.attempts);
        if !attempts.is_empty() {
            let why = evidence.to_string();
            attempts.into_iter().for_each(|attempt| gateway.attempt_ended(Some(attempt), &why));
        }
    }

    /// Whether it ended though nobody closed it.
    pub(super) fn was_lost(&self) -> bool {
        self.lost
    }

    /// The stream is over: its connection is to be closed.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Closes the connection of a stream that is over, if it may: once nothing is held, or the time for it has passed.
    pub(super) fn leave_if(&mut self, may: bool) {
        if self.is_leaving() && may {
            self.next = Next::Close;
        }
    }

    /// Whether the stream is over and the connection is kept for what is held.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving && self.next == Next::Run
    }

    /// Bytes of the peer came, or are not read for a while: not to be read is not to be silent.
    pub(super) fn heard(&mut self, now: Moment) {
        if let Some(watch) = &mut self.watch {
            watch.heard(now.instant);
        }
    }

    /// A stanza of the peer's came.
    pub(super) fn came(&mut self, kind: StanzaKind, now: Moment) {
        if let (Some(watch), false) = (&mut self.watch, kind == StanzaKind::Iq) {
            watch.active(now.instant);
        }
    }

    /// What the lanes on the stream have counted.
    pub(super) fn look(&mut self, counters: LaneCounters, now: Moment) {
        if let Some(watch) = &mut self.watch {
            watch.look(counters, now.instant);
        }
    }

    /// The same of a lane that goes by another stream.
    pub(super) fn look_aside(&mut self, counters: LaneCounters, now: Moment) {
        if let Some(watch) = &mut self.watch {
            watch.look_aside(counters, now.instant);
        }
    }

    /// Appends white space if it is due.
    pub(super) fn write(&mut self, output: &mut Vec<u8>) {
        if let Some(watch) = &mut self.watch {
            watch.write(output);
        }
    }

    /// Something was written on the stream.
    pub(super) fn wrote(&mut self, now: Moment) {
        if let Some(watch) = &mut self.watch {
            watch.wrote(now.instant);
        }
    }

    /// What a quiet stream asks for now; to be asked until it is `None`.
    pub(super) fn asks(&mut self, now: Moment) -> Option<Ask> {
        self.watch.as_mut()?.handle_timeout(now.instant)
    }

    /// Whether the certificate has expired; said once.
    pub(super) fn has_expired(&mut self, now: Moment) -> bool {
        let over = self.expiry.as_mut().is_some_and(|expiry| expiry.is_over(now));
        if over {
            self.expiry = None;
        }
        over
    }

    /// When the next of all this is due; `stands`: the stream is established and not over.
    pub(super) fn deadline(&self, stands: bool) -> Option<Instant> {
        let quiet = self.watch.as_ref().filter(|_| stands).map(Watch::deadline);
        [quiet, self.expiry.as_ref().map(Expiry::deadline)].into_iter().flatten().min()
    }
}
