//! What has become of numbered messages: each must be delivered or reported, and none twice.
//!
//! Every message has a SIP user of its own, so that a report can be told from another's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;

/// The book of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    call_of: BTreeMap<String, usize>,
    pub(crate) status_of: BTreeMap<usize, u16>,
    delivered: BTreeMap<usize, usize>,
    reported: BTreeSet<usize>,
    /// Those that a server may have taken with it.
    gone: BTreeSet<usize>,
}

impl Ledger {
    /// Sends the numbers to the contact.
    pub(crate) async fn send(
        &mut self,
        front_end: &mut SipConnection,
        to: &str,
        numbers: Range<usize>,
    ) -> Result<()> {
        for number in numbers {
            self.send_with(front_end, to, number, "").await?;
        }
        Ok(())
    }

    /// Sends one number, and more text behind it.
    pub(crate) async fn send_with(
        &mut self,
        front_end: &mut SipConnection,
        to: &str,
        number: usize,
        more: &str,
    ) -> Result<()> {
        let from = format!("user{number}@contoso.com");
        let call = front_end.send_message(&from, to, &format!("number {number} {more}")).await?;
        self.call_of.insert(call, number);
        Ok(())
    }

    /// Takes an answer to one of the messages.
    pub(crate) fn answered(&mut self, answer: &SipMessage) -> Result<()> {
        let status = answer.status().with_context(|| format!("not an answer:\n{answer}"))?;
        let number = self.call_of.get(answer.must("Call-ID")?).context("an answer to nothing")?;
        if status >= 200 {
            let before = self.status_of.insert(*number, status);
            ensure!(before.is_none(), "a second final answer to message {number}:\n{answer}");
        }
        Ok(())
    }

    /// Whether every message sent has its final answer.
    pub(crate) fn all_answered(&self) -> bool {
        self.status_of.len() == self.call_of.len()
    }

    /// Reads answers until every message sent has one.
    pub(crate) async fn answers(&mut self, front_end: &mut SipConnection) -> Result<()> {
        while !self.all_answered() {
            let answer = front_end.next().await?.context("the gateway closed the front end's connection")?;
            self.answered(&answer)?;
        }
        Ok(())
    }

    /// Takes what has come to the contact; false: it is not one of the numbers.
    pub(crate) fn arrived(&mut self, message: &Element) -> Result<bool> {
        let body = message.body().with_context(|| format!("no body: {message}"))?;
        let Some(number) = body.strip_prefix("number ").and_then(|rest| rest.split(' ').next()) else {
            return Ok(false);
        };
        let number = number.parse()?;
        *self.delivered.entry(number).or_default() += 1;
        Ok(true)
    }

    /// Takes a report that has come to a SIP user; false: it is for another user than those of the numbers.
    pub(crate) fn told(&mut self, report: &SipMessage) -> Result<bool> {
        let to = report.address("To")?;
        let Some(number) = to.strip_prefix("sip:user").and_then(|rest| rest.split('@').next()) else {
            return Ok(false);
        };
        self.reported.insert(number.parse()?);
        Ok(true)
    }

    /// The server is killed: what it had taken and not passed on goes with it, though it had proved that it has it. Whether it
    /// has is not for this book to say.
    pub(crate) fn server_is_gone(&mut self) {
        let taken = self.status_of.iter().filter(|&(_, &status)| status == 200);
        self.gone = taken.map(|(number, _)| *number).collect();
    }

    /// How many were answered with 200.
    pub(crate) fn accepted(&self) -> usize {
        self.status_of.values().filter(|&&status| status == 200).count()
    }

    /// How many have arrived.
    pub(crate) fn arrivals(&self) -> usize {
        self.delivered.len()
    }

    /// How many were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.status_of.values().filter(|&&status| status >= 300).count()
    }

    /// How many were reported after their answer.
    pub(crate) fn reports(&self) -> usize {
        self.reported.len()
    }

    /// Neither delivered nor reported.
    pub(crate) fn open(&self) -> Vec<usize> {
        let settled = |number: &usize| {
            self.delivered.contains_key(number)
                || self.reported.contains(number)
                || self.gone.contains(number)
                || self.status_of.get(number).is_some_and(|&status| status >= 300)
        };
        self.call_of.values().filter(|number| !settled(number)).copied().collect()
    }

    /// Nothing twice, and nothing that was refused. (Messages of different users have no order.)
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.delivered.values().all(|&times| times == 1), "doubled: {:?}", self.delivered);
        let refused_and_delivered: Vec<_> = self
            .status_of
            .iter()
            .filter(|&(number, &status)| (400..500).contains(&status) && self.delivered.contains_key(number))
            .collect();
        ensure!(refused_and_delivered.is_empty(), "refused, and yet delivered: {refused_and_delivered:?}");
        Ok(())
    }
}
