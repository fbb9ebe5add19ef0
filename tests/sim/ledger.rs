//! What happened to every message, as an all-seeing observer saw it, and what must be true of that.

use std::collections::BTreeMap;

use crate::net::{Micros, SECOND};

/// For so long the gateway waits for an answer of the front end (Timer F).
pub(crate) const PATIENCE: Micros = 32 * SECOND;

/// Which of a pair's notices are meant.
type Told = fn(&mut PairRecord) -> &mut u64;

/// Names one of the pairs of a run.
pub(crate) type PairId = usize;

/// One pair of users.
#[derive(Debug)]
pub(crate) struct PairRecord {
    pub(crate) sip_user: String,
    pub(crate) contact: String,
    pub(crate) partner: usize,
    /// The contact does not exist.
    pub(crate) unknown_contact: bool,
    /// Messages of the SIP user, by number, as the partner processed them.
    pub(crate) at_partner: Vec<usize>,
    /// Messages of the contact, by number, as the front end processed them.
    pub(crate) at_front_end: Vec<usize>,
    /// Of distinct notices that left for the front end.
    pub(crate) noticed_lost: u64,
    pub(crate) noticed_error: u64,
    pub(crate) noticed_mixed: u64,
}

/// A message of a SIP user.
#[derive(Debug, Default)]
pub(crate) struct FromSip {
    pub(crate) pair: PairId,
    pub(crate) evil: bool,
    /// The gateway session it was sent to.
    pub(crate) pump: usize,
    /// Its last byte was read by the gateway.
    pub(crate) arrived: Option<Micros>,
    /// Copies that arrived.
    pub(crate) copies: u32,
    /// Final answers the gateway put out.
    pub(crate) finals: Vec<(Micros, u16)>,
    /// The stanza left the gateway.
    pub(crate) left: u32,
    pub(crate) processed: u32,
    /// The partner sent an error, which the gateway has read.
    pub(crate) bounce_arrived: bool,
    /// The error had arrived when its stream ended, behind something that waited for room.
    pub(crate) bounce_excused: bool,
}

/// A message of a contact.
#[derive(Debug, Default)]
pub(crate) struct FromXmpp {
    pub(crate) pair: PairId,
    pub(crate) evil: bool,
    pub(crate) arrived: Option<Micros>,
    /// The gateway session it came on.
    pub(crate) stream: usize,
    /// It did not find room for its answer at once, or stood behind one that did not.
    pub(crate) waited_for_room: bool,
    /// The MESSAGE left the gateway (once more for every next hop it was offered to).
    pub(crate) left: u32,
    /// No earlier than this, the last time.
    pub(crate) left_after: Micros,
    pub(crate) processed: u32,
    /// The front end's 2xx was read by the gateway.
    pub(crate) accepted: bool,
    /// The same, when it surely still waited for it.
    pub(crate) accepted_in_time: Option<Micros>,
    /// It had arrived when its stream ended, but waited for room for its answer.
    pub(crate) excused: bool,
    /// The gateway acknowledged it.
    pub(crate) acknowledged: Option<Micros>,
    /// It stood in the gateway's store when the word of that arrived, or when its error left.
    pub(crate) noted: bool,
    /// The stanza error left the gateway.
    pub(crate) errors: Vec<Micros>,
}

/// The observer's book.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) pairs: Vec<PairRecord>,
    pub(crate) from_sip: Vec<FromSip>,
    pub(crate) from_xmpp: Vec<FromXmpp>,
    /// Distinct notices that left, by Call-ID and number.
    pub(crate) notices: BTreeMap<String, (PairId, Told, u64)>,
    pub(crate) violations: Vec<String>,
}

/// What the gateway counted, where a single message cannot be told.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counted {
    /// Per partner: messages given up as unconfirmed on a living stream, replies dropped.
    pub(crate) unconfirmed: u64,
    pub(crate) replies_dropped: u64,
}

impl Ledger {
    pub(crate) fn violation(&mut self, text: String) {
        if self.violations.len() < 20 {
            self.violations.push(text);
        }
    }

    pub(crate) fn pair_of(&self, sip_user: &str, contact: &str) -> Option<PairId> {
        self.pairs.iter().position(|pair| pair.sip_user == sip_user && pair.contact == contact)
    }

    /// The partner processed a message of a SIP user.
    pub(crate) fn partner_processed(&mut self, id: usize, to: &str, from: &str, now: Micros) {
        let Some(message) = self.from_sip.get_mut(id) else {
            return self.violation(format!("a partner got s{id}, which nobody sent"));
        };
        message.processed += 1;
        let (pair, count, evil) = (message.pair, message.processed, message.evil);
        if count > 1 {
            self.violation(format!("never twice: s{id} was processed {count} times"));
        }
        let record = &self.pairs[pair];
        if evil || record.sip_user != from || record.contact != to {
            self.violation(format!("no unauthorised from: s{id} reached {to} as from {from}"));
            return;
        }
        // Order counts from the gateway on: what overtook another on its way there is not its doing.
        let came_first = |other: &usize| self.from_sip[*other].arrived < self.from_sip[id].arrived;
        let late = |id: &usize| match self.from_sip[*id].finals.first() {
            Some((_, status)) => *status == 504,
            None => now >= self.from_sip[*id].arrived.unwrap_or(0) + 10 * SECOND,
        };
        let lost = record.noticed_lost + record.noticed_mixed > 0;
        if let Some(after) = record.at_partner.iter().find(|other| **other > id && !came_first(other))
            && !late(&id)
            && !lost
        {
            self.violation(format!("order: s{id} came after s{after} of the same pair"));
        }
        self.pairs[pair].at_partner.push(id);
    }

    /// The front end processed a message of a contact.
    pub(crate) fn front_end_processed(&mut self, id: usize, to: &str, from: &str, now: Micros) {
        let Some(message) = self.from_xmpp.get_mut(id) else {
            return self.violation(format!("the front end got c{id}, which nobody sent"));
        };
        message.processed += 1;
        let (pair, count, evil) = (message.pair, message.processed, message.evil);
        if count > 1 {
            self.violation(format!("never twice: c{id} was processed {count} times"));
        }
        let record = &self.pairs[pair];
        if evil || record.sip_user != to || record.contact != from {
            self.violation(format!("no unauthorised from: c{id} reached {to} as from {from}"));
            return;
        }
        // One that was given up, and reported as in doubt, may come whenever it likes.
        // What waits for room holds up its own stream, and no other of the same partner.
        let apart = |other: &FromXmpp, this: &FromXmpp| other.stream != this.stream && this.waited_for_room;
        let came_first = |other: &usize| {
            let (other, this) = (&self.from_xmpp[*other], &self.from_xmpp[id]);
            other.arrived < this.arrived || apart(other, this)
        };
        let reported =
            !self.from_xmpp[id].errors.is_empty() || now >= self.from_xmpp[id].left_after + PATIENCE;
        if let Some(after) = record.at_front_end.iter().find(|other| **other > id && !came_first(other))
            && !reported
        {
            self.violation(format!("order: c{id} came after c{after} of the same pair"));
        }
        self.pairs[pair].at_front_end.push(id);
    }

    /// A notice left for the front end.
    pub(crate) fn notice_left(&mut self, name: &str, pair: PairId, text: &str) {
        if self.notices.contains_key(name) {
            return;
        }
        let count = match text.split(' ').next().and_then(|word| word.parse::<u64>().ok()) {
            Some(count) => count,
            None if text.starts_with("Your message to ") => 1,
            None => return self.violation(format!("a notice nobody understands: {text}")),
        };
        let told: Told = if text.contains("several different reasons") {
            |record| &mut record.noticed_mixed
        } else if text.contains("may not have arrived") {
            |record| &mut record.noticed_lost
        } else {
            |record| &mut record.noticed_error
        };
        *told(&mut self.pairs[pair]) += count;
        self.notices.insert(name.to_owned(), (pair, told, count));
    }

    /// A notice came in a session that the front end has forgotten: nobody has read it, and it goes once more, alone.
    pub(crate) fn notice_refused(&mut self, name: &str) {
        if let Some((pair, told, count)) = self.notices.remove(name) {
            *told(&mut self.pairs[pair]) -= count;
        }
    }

    /// Everything is over: what must be true of every message.
    pub(crate) fn close(&mut self, counted: &[Counted], notices_settled: u64, notices_lost: u64) {
        self.close_sip(counted, notices_settled, notices_lost);
        self.close_xmpp(counted);
    }

    fn close_sip(&mut self, counted: &[Counted], notices_settled: u64, notices_lost: u64) {
        let mut problems = Vec::new();
        // Messages answered 200 that the partner never saw, and errors of the partner, by pair.
        let mut missing = vec![0u64; self.pairs.len()];
        let mut bounced = vec![0u64; self.pairs.len()];
        let mut excused = vec![0u64; self.pairs.len()];
        for (id, message) in self.from_sip.iter().enumerate() {
            if message.finals.len() > message.copies as usize {
                problems.push(format!("s{id} got {:?} for {} requests", message.finals, message.copies));
            }
            let status = message.finals.first().map(|(_, status)| *status);
            match status {
                Some(200) if message.processed == 0 && !message.evil => missing[message.pair] += 1,
                Some(200) if message.evil => problems.push(format!("s{id} is evil and was accepted")),
                Some(200 | 504) | None => {}
                Some(status) if message.processed > 0 => {
                    problems.push(format!("s{id} was refused with {status} and processed all the same"));
                }
                Some(_) => {}
            }
            bounced[message.pair] += u64::from(message.bounce_arrived);
            excused[message.pair] += u64::from(message.bounce_excused);
        }
        let mut by_partner = vec![0u64; counted.len()];
        let mut pairs_short = 0;
        for (pair, record) in self.pairs.iter().enumerate() {
            let told = record.noticed_lost + record.noticed_mixed;
            let short = missing[pair].saturating_sub(told);
            by_partner[record.partner] += short;
            if short > 0 {
                pairs_short += 1;
            }
            if record.noticed_error > bounced[pair] {
                problems.push(format!(
                    "{} was told of {} errors about {}, who sent {}",
                    record.sip_user, record.noticed_error, record.contact, bounced[pair]
                ));
            }
            let told = record.noticed_error + record.noticed_mixed + excused[pair];
            let errors_short = bounced[pair].saturating_sub(told);
            if errors_short > 0 {
                pairs_short += 1;
                if notices_lost == 0 {
                    problems.push(format!(
                        "{} was not told of {errors_short} errors of {}",
                        record.sip_user, record.contact
                    ));
                }
            }
        }
        // Notices that no front end could be given: they were tried, and are counted.
        let unsent = notices_settled.saturating_sub(self.notices.len() as u64);
        for (partner, short) in by_partner.iter().enumerate() {
            if *short > counted[partner].unconfirmed && unsent.min(notices_lost) == 0 {
                problems.push(format!(
                    "delivered or reported: {short} messages to partner {partner} were answered 200, and neither \
                     processed nor reported; {} were counted as unconfirmed",
                    counted[partner].unconfirmed
                ));
            }
        }
        let unconfirmed: u64 = counted.iter().map(|counted| counted.unconfirmed).sum();
        if pairs_short > unsent.min(notices_lost) + unconfirmed {
            problems.push(format!(
                "delivered or reported: {pairs_short} pairs were not told; {unsent} notices could not be sent"
            ));
        }
        problems.into_iter().for_each(|problem| self.violation(problem));
    }

    /// The gateway's acknowledgement of a message arrived while it stood on disk or not, as `noted` says.
    pub(crate) fn contact_is_acknowledged(&mut self, id: usize, noted: bool, now: Micros) {
        let Some(message) = self.from_xmpp.get_mut(id) else { return };
        message.acknowledged.get_or_insert(now);
        message.noted |= noted;
    }

    fn close_xmpp(&mut self, counted: &[Counted]) {
        let mut problems = Vec::new();
        let mut unaccounted = vec![Vec::new(); counted.len()];
        for (id, message) in self.from_xmpp.iter().enumerate() {
            // Of what is noted a sender is told again if the stream ends before his server has confirmed it.
            if message.errors.len() > 1 && !message.noted {
                problems.push(format!("c{id} was reported {} times", message.errors.len()));
            }
            if let (Some(accepted), Some(error)) = (message.accepted_in_time, message.errors.first())
                && accepted < *error
            {
                problems.push(format!("c{id} was accepted by the front end and reported as failed"));
            }
            // What was reported may have been accepted all the same, later.
            if let (Some(accepted), Some(acknowledged), true) =
                (message.accepted_in_time, message.acknowledged, message.errors.is_empty())
                && acknowledged < accepted
                && !message.noted
            {
                problems.push(format!(
                    "c{id} was acknowledged before the front end had accepted it, and stood nowhere"
                ));
            }
            let settled = message.accepted || message.excused || !message.errors.is_empty();
            if message.arrived.is_some() && !message.evil && !settled {
                unaccounted[self.pairs[message.pair].partner].push(id);
            }
        }
        for (partner, ids) in unaccounted.iter().enumerate() {
            if ids.len() as u64 > counted[partner].replies_dropped {
                problems.push(format!(
                    "delivered or reported: {ids:?} of partner {partner} were neither delivered nor reported; {} replies \
                     were dropped because it could not be reached",
                    counted[partner].replies_dropped
                ));
            }
        }
        problems.into_iter().for_each(|problem| self.violation(problem));
    }
}
