//! Dialback on a stream we open: asking to be let in (the initiating role), and asking about a key (the receiving role's
//! other half).

use std::time::Instant;

use thiserror::Error;

use super::Outbound;
use crate::dialback::{Content, DialbackElement, DialbackKind, Pair, VerifyOutcome, write_key};
use crate::stream::evidence::{Cause, Step};
use crate::stream::settings::Purpose;
use crate::stream::{Method, Output, PairRefusal};
use crate::xml::Element;

/// A pair whose key is out.
#[derive(Debug)]
pub(super) struct Asked {
    pair: Pair,
    /// The first pair of a stream has that of the establishment.
    deadline: Option<Instant>,
}

/// Why [`Outbound::authorize`] cannot ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PairError {
    /// The stream is not established, or being closed.
    #[error("the stream is not established")]
    NotEstablished,
    /// The terms allow no dialback on this stream.
    #[error("dialback may not be used on this stream")]
    NotAllowed,
    /// The peer does not know dialback, or not without losing the stream over an error (XEP-0220 §2.6.2).
    #[error("the peer does not know dialback, or not without losing the stream over an error")]
    NotOffered,
    /// The peer found a key of ours invalid.
    #[error("the peer refused a key on this stream")]
    KeyRefused,
    /// The pair is authorized, or asked for.
    #[error("the pair is authorized or asked for already")]
    Known,
    /// The stream has [`Outbound::PAIRS`] pairs.
    #[error("the stream has as many pairs as it may have")]
    TooMany,
}

impl Outbound {
    /// Pairs of domains that one stream may have.
    pub const PAIRS: usize = 64;

    /// Asks the peer to take stanzas of one more pair of domains on this established stream, by dialback (DB-13). Another
    /// target domain takes a peer that keeps streams with dialback errors, and that is the server to which the domain's
    /// own DNS records lead, which is the caller's to know. (Prosody 0.12 does not say that it keeps them, and takes further
    /// domains of ours.) The answer is [`Output::PairAuthorized`] or
    /// [`Output::PairRefused`].
    pub fn authorize(&mut self, pair: Pair, now: Instant) -> Result<(), PairError> {
        self.may_authorize()?;
        let known =
            |pair: &Pair| self.wire.pairs.contains(pair) || self.asked.iter().any(|a| a.pair == *pair);
        if known(&pair) {
            return Err(PairError::Known);
        }
        if pair.to != self.config.remote && !self.features.dialback_errors {
            return Err(PairError::NotOffered);
        }
        self.write_result_key(&pair);
        let deadline = Some(now + self.config.timeouts.establishment);
        self.asked.push(Asked { pair, deadline });
        Ok(())
    }

    /// Whether the peer can be asked for one more pair to the same domain.
    pub fn may_authorize(&self) -> Result<(), PairError> {
        if !self.write_allowed() {
            return Err(PairError::NotEstablished);
        }
        if self.no_more_pairs {
            return Err(PairError::KeyRefused);
        }
        if !self.may_use_dialback() {
            return Err(PairError::NotAllowed);
        }
        if !self.can_ask_to_be_let_in() {
            return Err(PairError::NotOffered);
        }
        if self.wire.pairs.len() + self.asked.len() >= Self::PAIRS {
            return Err(PairError::TooMany);
        }
        Ok(())
    }

    /// Sends the key for our own pair and waits for the result (DB-04).
    pub(super) fn ask_to_be_let_in(&mut self, now: Instant) {
        let cause = if self.config.dialback.is_none() {
            Cause::NoSecret
        } else if !self.peer_knows_dialback() {
            Cause::NoDialback { mechanisms: std::mem::take(&mut self.features.mechanisms) }
        } else if self.stream_id.is_none() {
            Cause::NoStreamId
        } else {
            let pair = Pair { from: self.config.local.clone(), to: self.config.remote.clone() };
            self.ask_for_both_ways();
            self.write_result_key(&pair);
            self.asked.push(Asked { pair, deadline: None });
            self.wire.enter(Step::Dialback, now);
            // The peer has to find and to ask our authoritative server first.
            return self.wire.wait_without_step_deadline();
        };
        self.wire.give_up(cause, now);
    }

    pub(super) fn can_ask_to_be_let_in(&self) -> bool {
        self.config.dialback.is_some() && self.peer_knows_dialback() && self.stream_id.is_some()
    }

    pub(super) fn peer_knows_dialback(&self) -> bool {
        self.features.dialback || self.dialback_declared
    }

    /// Sends the key that we were asked to verify (DB-08).
    pub(super) fn ask_about_key(&mut self, now: Instant) {
        let Purpose::Verify(request) = &self.config.purpose else { return };
        let declare = self.wire.declare_dialback();
        let id = Some(request.stream_id.as_str());
        write_key(&mut self.wire.out, declare, &request.to, &request.from, id, &request.key);
        self.wire.enter(Step::Verify, now);
    }

    /// An element of dialback's. Only answers to what was asked on this very stream count (DB-06).
    pub(super) fn dialback(&mut self, element: Element, now: Instant) {
        // After our closing tag nothing can be answered, and no pair be used (RFC 6120 §4.4).
        if !self.wire.is_open() {
            return;
        }
        match DialbackElement::read(&element) {
            Ok(answer) if self.wire.step() == Step::Verify && self.is_our_answer(&answer) => {
                self.key_verified(answer.content, now);
            }
            Ok(answer) if answer.kind == DialbackKind::Result => match self.take_asked(&answer) {
                Some(_) if self.wire.step() == Step::Dialback => self.let_in(answer.content, now),
                Some(asked) => self.pair_answered(asked.pair, answer.content),
                None if self.wire.both_ways && matches!(answer.content, Content::Key(_)) => {
                    self.refuse_key(&answer);
                }
                None => self.wire.emit(Output::Unsolicited(element)),
            },
            _ => self.wire.emit(Output::Unsolicited(element)),
        }
    }

    /// When the first of the pairs that were asked for has waited long enough.
    pub(super) fn pair_deadline(&self) -> Option<Instant> {
        self.asked.iter().filter_map(|asked| asked.deadline).min().filter(|_| self.wire.is_open())
    }

    pub(super) fn expire_pairs(&mut self, now: Instant) {
        if !self.wire.is_open() {
            return;
        }
        let late = |asked: &Asked| asked.deadline.is_some_and(|deadline| deadline <= now);
        while let Some(at) = self.asked.iter().position(late) {
            let pair = self.asked.swap_remove(at).pair;
            self.wire.emit(Output::PairRefused { pair, why: PairRefusal::Timeout });
        }
    }

    fn is_our_answer(&self, answer: &DialbackElement) -> bool {
        let Purpose::Verify(asked) = &self.config.purpose else { return false };
        answer.kind == DialbackKind::Verify
            && answer.from == asked.from
            && answer.to == asked.to
            && answer.id == asked.stream_id
            && matches!(answer.content, Content::Valid | Content::Invalid | Content::Error(_))
    }

    fn key_verified(&mut self, content: Content, now: Instant) {
        let outcome = match content {
            Content::Valid => VerifyOutcome::Valid,
            Content::Error(error) => return self.wire.give_up(Cause::DialbackError(error), now),
            _ => VerifyOutcome::Invalid,
        };
        self.wire.emit(Output::Verified(outcome));
        self.wire.close(None, now);
    }

    /// The request that a result answers: same stream, same domains the other way round.
    fn take_asked(&mut self, answer: &DialbackElement) -> Option<Asked> {
        if !matches!(answer.content, Content::Valid | Content::Invalid | Content::Error(_)) {
            return None;
        }
        let at = self.asked.iter().position(|a| a.pair.from == answer.to && a.pair.to == answer.from)?;
        Some(self.asked.swap_remove(at))
    }

    fn let_in(&mut self, content: Content, now: Instant) {
        match content {
            Content::Valid => {
                let method = if self.secure { Method::DialbackTls } else { Method::DialbackTcp };
                self.established(method, now);
            }
            Content::Error(error) => self.wire.give_up(Cause::DialbackError(error), now),
            _ => self.wire.give_up(Cause::DialbackInvalid, now),
        }
    }

    fn pair_answered(&mut self, pair: Pair, content: Content) {
        let why = match content {
            Content::Valid => {
                self.wire.pairs.push(pair.clone());
                return self.wire.emit(Output::PairAuthorized(pair));
            }
            Content::Error(error) => PairRefusal::Error(error),
            _ => {
                self.no_more_pairs = true;
                PairRefusal::Invalid
            }
        };
        self.wire.emit(Output::PairRefused { pair, why });
    }

    /// Whether the terms allow dialback on this established stream.
    fn may_use_dialback(&self) -> bool {
        match self.secure {
            true => self.config.terms.dialback_over_tls(self.certified),
            false => self.config.terms.clear(),
        }
    }

    fn write_result_key(&mut self, pair: &Pair) {
        let (Some(secret), Some(id)) = (&self.config.dialback, &self.stream_id) else { return };
        let key = secret.key(&pair.to, &pair.from, id);
        let declare = self.wire.declare_dialback();
        write_key(&mut self.wire.out, declare, &pair.from, &pair.to, None, &key);
    }
}
