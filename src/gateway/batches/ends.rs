//! What a batch does when its time comes, and how it ends.

use compact_str::CompactString;
use std::time::Duration;

use nuncio_sip::connection::ServerTxn;
use nuncio_sip::event::{Terminate, TerminateReason};
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::Diagnostic;

use super::{Held, PER_USER, Watching};
use crate::gateway::Gateway;
use crate::gateway::errands::STEP;

/// A front end whose batch made room for others may subscribe again after this time.
const MADE_ROOM: Duration = Duration::from_secs(3600);

/// What a batch wants of its members' pairs, of which there may be hundreds: an errand.
#[derive(Debug)]
pub(in crate::gateway) struct Visit {
    what: What,
    batch: CompactString,
    /// Who has not been seen to.
    pub(super) watching: Vec<Watching>,
    cseq: u32,
    transaction: ServerTxn,
    /// Of the user.
    domain: CompactString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    /// It is to be told of them again.
    TellsAgain,
    /// It has ended, and with it what they hold.
    Leaves,
    /// The same, with the process.
    Stops,
}

impl Visit {
    /// Members of this batch whom the SIP user has taken out of it leave.
    pub(super) fn leave(held: &Held, watching: Vec<Watching>) -> Self {
        Self::of(What::Leaves, held, watching)
    }

    fn of(what: What, held: &Held, watching: Vec<Watching>) -> Self {
        let (cseq, transaction) = (held.cseq, held.transaction);
        let (batch, domain) = (held.machine.local_tag().into(), held.key.local_domain().into());
        Self { what, batch, watching, cseq, transaction, domain }
    }

    /// Pairs to be visited.
    pub(in crate::gateway) fn pairs(&self) -> usize {
        self.watching.len()
    }
}

impl Gateway {
    /// A batch wants to be looked at. What it wants of its members' pairs is left as an errand. Called under no lock.
    pub(in crate::gateway) fn visit_batch(&self, tag: &str, now: Moment) {
        let Some(visit) = self.look_at_batch(tag, now) else { return };
        self.serve_route_of(&visit.domain, now);
        match visit.what {
            What::Nothing => {}
            // No pair is asked for it.
            What::Stops => visit.watching.iter().for_each(|watching| self.see_to(&visit, watching, now)),
            What::TellsAgain | What::Leaves => self.errands.visit(visit),
        }
    }

    /// Sees to some more members. True: there are others.
    pub(in crate::gateway) fn visit_some(&self, visit: &mut Visit, now: Moment) -> bool {
        let rest = visit.watching.split_off(visit.watching.len().min(STEP));
        visit.watching.iter().for_each(|watching| self.see_to(visit, watching, now));
        visit.watching = rest;
        let more = !visit.watching.is_empty();
        if visit.what == What::TellsAgain
            && !more
            && let Some(held) = self.batches.get(&visit.batch)
        {
            let mut batch = held.lock();
            batch.machine.told_again();
            self.carry_batch(&mut batch, now);
        }
        self.serve_route_of(&visit.domain, now);
        more
    }

    /// Does what is due, and takes down what it wants of its members' pairs.
    pub(super) fn look_at_batch(&self, tag: &str, now: Moment) -> Option<Visit> {
        let held = self.batches.get(tag)?;
        let mut batch = held.lock();
        // What is armed for later still comes.
        batch.armed.take_if(|at| *at <= now.instant);
        self.with_batch_context(now, |context| batch.machine.handle_timeout(context));
        self.carry_batch(&mut batch, now);
        let gathers = std::mem::take(&mut batch.gathers);
        let (what, watching) = match batch.machine.has_ended() {
            true => {
                let what = if batch.stopping { What::Stops } else { What::Leaves };
                (what, std::mem::take(&mut batch.watching).into_values().collect())
            }
            false if gathers => (What::TellsAgain, batch.watching.values().cloned().collect()),
            false => (What::Nothing, Vec::new()),
        };
        batch.cseq += 1;
        Some(Visit::of(what, &batch, watching))
    }

    /// Does what a batch wants of one of its members' pairs.
    pub(super) fn see_to(&self, visit: &Visit, watching: &Watching, now: Moment) {
        match visit.what {
            What::Nothing => {}
            What::TellsAgain => self.visit_presence(&watching.pair, now, |pair, context| {
                pair.tell_again(&watching.tag, context);
            }),
            What::Leaves => self.leave_pair(watching, (visit.cseq, visit.transaction), now),
            // The pairs end it themselves, or it ends with the process: contacts are not to see anybody go and come back.
            What::Stops => self.batches.release(&watching.tag),
        }
    }

    /// All batches, each with the place of the route that its last notification takes, one past the last if there is none.
    pub(in crate::gateway) fn batches_by_route(&self) -> Vec<(CompactString, usize)> {
        let place = |held: &Held| {
            let route = self.route_of_batch(held);
            let at = route.and_then(|route| self.routes.iter().position(|other| std::ptr::eq(other, route)));
            at.unwrap_or(self.routes.len())
        };
        self.batches.all().into_iter().map(|(tag, held)| (tag, place(&held.lock()))).collect()
    }

    /// The process is going to end: the front end is told to subscribe elsewhere (EV-15).
    pub(in crate::gateway) fn stop_batch(&self, tag: &str, now: Moment) {
        let why = "the gateway is shutting down; subscribe again";
        self.end_batch(tag, TerminateReason::Deactivated, None, (Diagnostic::Shutdown, why), now);
    }

    /// A user has too many.
    pub(super) fn make_room(&self, oldest: &str, now: Moment) {
        let why =
            format!("the user has more than {PER_USER} subscriptions to lists; the oldest one makes room");
        self.end_batch(oldest, TerminateReason::Probation, Some(MADE_ROOM), (Diagnostic::Limit, &why), now);
    }

    fn end_batch(
        &self,
        tag: &str,
        reason: TerminateReason,
        retry_after: Option<Duration>,
        because: (Diagnostic, &str),
        now: Moment,
    ) {
        let Some(held) = self.batches.get(tag) else { return };
        let mut batch = held.lock();
        let fields = vec![self.reason_for(&batch.front_end, because)];
        batch.stopping = reason == TerminateReason::Deactivated;
        let end = Terminate { reason, retry_after, fields };
        self.with_batch_context(now, |context| batch.machine.terminate(end, context));
        drop(batch);
        self.visit_batch(tag, now);
    }

    /// Its last notification is settled.
    pub(in crate::gateway) fn forget_batch(&self, tag: &str, now: Moment) {
        // Whoever still watches for it stops.
        self.visit_batch(tag, now);
        self.batches.remove(tag);
    }
}
