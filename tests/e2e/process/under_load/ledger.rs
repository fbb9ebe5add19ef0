//! Every message by what its sender and its receiver saw of it.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::pace::Pace;
use super::rules::{History, Rules, URSULA, Way};

/// One message.
#[derive(Debug)]
struct Message {
    way: Way,
    user: &'static str,
    contact: &'static str,
    sent: Instant,
    /// What the front end was answered (to XMPP), and when.
    answered: Option<(Instant, u16)>,
    arrived: Vec<Instant>,
    /// The error that the partner got for it (to SIP).
    bounced: Vec<(Instant, String)>,
    /// The stream it was sent on ended first (to SIP), and when: his server tells him that it did not arrive.
    cut: Option<Instant>,
}

impl Message {
    fn is_settled(&self) -> bool {
        self.answered.is_some()
            || self.way == Way::ToSip
                && (self.cut.is_some() || !self.arrived.is_empty() || !self.bounced.is_empty())
    }
}

/// All of them.
pub(crate) struct Ledger {
    messages: Vec<Message>,
    pub(crate) history: History,
    pub(crate) pace: Pace,
    /// Of how many messages each SIP user was told later that they may not have arrived, by contact.
    told_later: HashMap<(String, String), u64>,
    /// How many have arrived.
    crossed: usize,
    /// The first messages that were sent after each change.
    stretches: Vec<usize>,
    /// How many of those sent since the last one have arrived: to XMPP, and to SIP.
    crossed_since: [usize; 2],
    /// What should not have happened.
    odd: Vec<String>,
}

/// What became of all.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) crossed: u64,
    pub(crate) refused: u64,
    pub(crate) cut: u64,
    /// Those of them that are lost indeed.
    pub(crate) told_later: u64,
    /// Of which senders were told that they may be.
    pub(crate) told: u64,
}

impl Ledger {
    pub(crate) fn new(first: Rules) -> Self {
        let history = History::new(first);
        let (pace, told_later) = (Pace::default(), HashMap::new());
        let (messages, stretches, odd) = (Vec::new(), Vec::new(), Vec::new());
        Self { messages, history, pace, told_later, crossed: 0, stretches, crossed_since: [0; 2], odd }
    }

    /// A message is being sent; its number.
    pub(crate) fn send(&mut self, way: Way, user: &'static str, contact: &'static str) -> usize {
        let (sent, arrived, bounced) = (Instant::now(), Vec::new(), Vec::new());
        self.messages.push(Message { way, user, contact, sent, answered: None, arrived, bounced, cut: None });
        self.messages.len() - 1
    }

    pub(crate) fn sent(&self) -> usize {
        self.messages.len()
    }

    /// How many have arrived so far.
    pub(crate) fn crossed(&self) -> usize {
        self.crossed
    }

    /// What is sent from now on is sent between two other changes.
    pub(crate) fn begins_stretch(&mut self) {
        self.stretches.push(self.messages.len());
        self.crossed_since = [0; 2];
    }

    /// Whether so many of those that were sent since then have arrived, each way.
    pub(crate) fn have_crossed_since(&self, many: usize) -> bool {
        self.crossed_since.iter().all(|crossed| *crossed >= many)
    }

    /// How many were sent and have arrived each way, from each change to the next.
    pub(crate) fn crossed_by_stretch(&self) -> Vec<[usize; 2]> {
        let ends = self.stretches.iter().skip(1).copied().chain([self.messages.len()]);
        let of = |(first, end): (&usize, usize)| {
            [Way::ToXmpp, Way::ToSip].map(|way| {
                let stretch = self.messages.get(*first..end).unwrap_or_default();
                stretch.iter().filter(|it| it.way == way && !it.arrived.is_empty()).count()
            })
        };
        self.stretches.iter().zip(ends).map(of).collect()
    }

    /// In the order of pairs and ways: how many of each have arrived.
    pub(crate) fn crossed_by_each(&self) -> HashMap<(Way, &'static str, &'static str), usize> {
        let mut crossed = HashMap::new();
        for Message { way, user, contact, arrived, .. } in &self.messages {
            *crossed.entry((*way, *user, *contact)).or_default() += arrived.len();
        }
        crossed
    }

    /// How many are under way. Of all that were sent the oldest that are settled are not looked at again.
    pub(crate) fn under_way(&self) -> usize {
        self.messages.iter().rev().take(2_000).filter(|it| !it.is_settled()).count()
    }

    /// The turn of who writes to this contact, or of the contact, has come. Whether he may write, with so many waiting that were
    /// not sent yet.
    pub(crate) fn turn(&mut self, way: Way, contact: &str, waiting: usize) -> bool {
        let partner = domain_of(contact);
        let with_him = |it: &&Message| it.way == way && !it.is_settled() && domain_of(it.contact) == partner;
        let under_way = self.messages.iter().rev().take(2_000).filter(with_him).count();
        self.pace.turn(under_way + waiting)
    }

    /// In the order of pairs and ways: how many each has sent.
    pub(crate) fn sent_by_each(&self) -> HashMap<(Way, &'static str, &'static str), usize> {
        let mut sent = HashMap::new();
        for Message { way, user, contact, .. } in &self.messages {
            *sent.entry((*way, *user, *contact)).or_default() += 1;
        }
        sent
    }

    /// The front end was answered.
    pub(crate) fn answered(&mut self, number: usize, status: u16) {
        match self.messages.get_mut(number) {
            Some(message) if message.answered.is_none() => message.answered = Some((Instant::now(), status)),
            _ => self.odd(format!("message {number} is answered a second time, with {status}")),
        }
    }

    /// It arrived where it was sent to.
    pub(crate) fn arrived(&mut self, way: Way, from: &str, to: &str, body: &str) {
        let number = body.strip_prefix("message ").and_then(|number| number.parse::<usize>().ok());
        let Some((number, message)) =
            number.and_then(|at| self.messages.get_mut(at).map(|message| (at, message)))
        else {
            return self.odd(format!("nobody sent {body:?}"));
        };
        let (sender, receiver) = match way {
            Way::ToXmpp => (message.user, message.contact),
            Way::ToSip => (message.contact, message.user),
        };
        // Without the resource, which SIP has in a parameter.
        let bare = from.split(['/', ';']).next().unwrap_or_default();
        if message.way == way && bare == sender && to == receiver {
            message.arrived.push(Instant::now());
            self.crossed += 1;
            if self.stretches.last().is_some_and(|first| number >= *first) {
                let [to_xmpp, to_sip] = &mut self.crossed_since;
                *match way {
                    Way::ToXmpp => to_xmpp,
                    Way::ToSip => to_sip,
                } += 1;
            }
        } else {
            self.odd(format!("message {number} comes from {from} to {to}"));
        }
    }

    /// The partner got an error for it.
    pub(crate) fn bounced(&mut self, id: &str, condition: &str) {
        let number = id.strip_prefix('m').and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| self.messages.get_mut(number)) {
            Some(message) if message.way == Way::ToSip => {
                message.bounced.push((Instant::now(), condition.to_owned()));
            }
            _ => self.odd(format!("an error for {id:?}, which nobody sent")),
        }
    }

    /// The stream ended that these were sent on.
    pub(crate) fn cut(&mut self, numbers: &[usize]) {
        for number in numbers {
            if let Some(message) = self.messages.get_mut(*number) {
                message.cut = (!message.is_settled()).then(Instant::now);
            }
        }
    }

    /// A SIP user reads that so many may not have arrived.
    pub(crate) fn told_later(&mut self, user: &str, contact: &str, notice: &str) {
        let many = notice.split(' ').next().and_then(|many| many.parse().ok()).unwrap_or(1);
        let contact = contact.split(';').next().unwrap_or_default();
        *self.told_later.entry((user.to_owned(), contact.to_owned())).or_default() += many;
    }

    /// Something that should not have happened.
    pub(crate) fn odd(&mut self, what: impl Into<String>) {
        self.odd.push(what.into());
    }

    /// Nothing lost, nothing doubled, and nothing crossed against the rules.
    pub(crate) fn check(&self) -> Result<Sum> {
        ensure!(self.odd.is_empty(), "{:#?}", self.odd);
        let mut sum = Sum::default();
        let mut missing: HashMap<(String, String), u64> = HashMap::new();
        for (number, message) in self.messages.iter().enumerate() {
            let about = || format!("message {number}: {message:?}");
            ensure!(message.arrived.len() <= 1, "doubled: {}", about());
            match message.way {
                Way::ToXmpp => {
                    let (when, status) =
                        message.answered.with_context(|| format!("no answer to {}", about()))?;
                    self.may_be(message, when, status == 200).with_context(about)?;
                    match (status, message.arrived.is_empty()) {
                        (200, false) => sum.crossed += 1,
                        (200, true) => {
                            *missing
                                .entry((message.user.to_owned(), message.contact.to_owned()))
                                .or_default() += 1;
                        }
                        (_, arrived_not) => {
                            ensure!(arrived_not, "refused, and it arrived: {}", about());
                            sum.refused += 1;
                        }
                    }
                }
                Way::ToSip => match (message.arrived.first(), message.bounced.as_slice()) {
                    (Some(when), []) => {
                        self.may_be(message, *when, true).with_context(about)?;
                        sum.crossed += 1;
                    }
                    (None, [(when, _)]) => {
                        self.may_be(message, *when, false).with_context(about)?;
                        sum.refused += 1;
                    }
                    (None, []) => {
                        let when = message.cut.with_context(|| format!("lost: {}", about()))?;
                        // Streams end in the middle for nothing but that their partner is switched off.
                        ensure!(message.contact == URSULA, "the stream of another ended: {}", about());
                        self.may_be(message, when, false).with_context(about)?;
                        sum.cut += 1;
                    }
                    _ => anyhow::bail!("it came to more than one end: {}", about()),
                },
            }
        }
        for (pair, many) in missing {
            let told = self.told_later.get(&pair).copied().unwrap_or_default();
            ensure!(many <= told, "{many} of {pair:?} are lost, and he was told of {told}");
            sum.told_later += many;
        }
        for ((_, contact), many) in &self.told_later {
            ensure!(contact == URSULA, "a user is told of {many} to {contact}, whose stream never ended");
            sum.told += many;
        }
        Ok(sum)
    }

    /// There was a moment between sending it and its end in which the rules let it pass, or did not.
    fn may_be(&self, message: &Message, end: Instant, passed: bool) -> Result<()> {
        let mut rules = self.history.between(message.sent, end);
        let could = rules.any(|it| it.allow(message.way, message.user, message.contact) == passed);
        let rules: Vec<_> = self.history.between(message.sent, end).collect();
        ensure!(
            could,
            "{} against all rules of its time: {rules:?}",
            if passed { "passed" } else { "refused" }
        );
        Ok(())
    }
}

fn domain_of(contact: &str) -> Option<&str> {
    contact.rsplit('@').next()
}
