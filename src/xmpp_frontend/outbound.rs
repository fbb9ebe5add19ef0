//! Streams that we open, each for one lane, and what the partner sends on them where they go both ways.

mod told;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_translate::text::LogWhole;
use nuncio_xmpp::dialback::Pair;
use nuncio_xmpp::lane::{Failure, FailureKind, LaneCounters, Offer};
use nuncio_xmpp::stream::{
    Cause, Direction, Established, Method, Outbound, OutboundConfig, Output, Redirect, Retry,
    Step as Waiting, TlsFacts,
};
use nuncio_xmpp::{StreamCondition, stanza};
use tokio::sync::Notify;
use tracing::{debug, info};

use super::carrier::{Carrier, Ended, NOT_READ, NOTHING_ACKNOWLEDGED};
use super::expiry::EXPIRED;
use super::guests::Guests;
use super::intake::{Came, Intake};
use super::life::{Life, STOPPING};
use super::watch::{Ask, NO_LIFE, NO_LIFE_TOLD};
use crate::dns::Candidate;
use crate::gateway::attempts::{Recorder, Step};
use crate::gateway::{CameAbout, Dismissal, Gateway, KeyOut, LaneKey, LanePort, LaneWants, TermsOfNow};
use crate::net::session::{End, Next, Session};
use crate::tls::Credentials;

/// The session of one outbound stream and the lane it carries.
pub struct LaneSession {
    gateway: Arc<Gateway>,
    carrier: Carrier,
    stream: Outbound,
    /// What the partner sends, if the stream goes both ways.
    intake: Option<Box<Intake>>,
    /// As long as our key is out.
    key: Option<KeyOut>,
    /// Other lanes that go by the stream, if it can take any.
    guests: Option<Box<Guests>>,
    life: Life,
    /// The stream was established and the lane was told so.
    opened: bool,
    failure: Option<Failure>,
    /// What may be tried at once if the stream did not come about.
    retry: Option<Retry>,
    /// Where the partner says that he is to be found instead.
    redirect: Option<Redirect>,
    /// Where the connection leads, for people.
    peer: String,
    address: Option<IpAddr>,
    /// What the partner presented; held until the stream is established.
    credentials: Option<Arc<Credentials>>,
    /// The terms under which it is negotiated.
    under: TermsOfNow,
    /// Notes what happens until the stream is established.
    recorder: Option<Recorder>,
}

impl LaneSession {
    pub fn new(
        gateway: Arc<Gateway>,
        key: LaneKey,
        lane: Arc<LanePort>,
        config: OutboundConfig,
        now: Moment,
    ) -> Self {
        let (stream, under) = (Outbound::new(config, now.instant), gateway.terms_of_now());
        let carrier = Carrier::new(Arc::clone(&gateway), key, lane, now);
        Self {
            gateway,
            carrier,
            stream,
            intake: None,
            key: None,
            guests: None,
            life: Life::new(),
            opened: false,
            failure: None,
            retry: None,
            redirect: None,
            peer: String::new(),
            address: None,
            credentials: None,
            under,
            recorder: None,
        }
    }

    /// Notes what happens on the connection to this candidate.
    pub fn record(&mut self, candidate: &Candidate, recorder: Option<Recorder>) {
        self.peer = candidate.to_string();
        self.address = Some(candidate.address.ip());
        self.recorder = recorder;
    }

    /// The attempt began under these terms.
    pub fn begun_under(&mut self, under: TermsOfNow) {
        self.under = under;
    }

    /// What was noted, if no stream came of it.
    pub fn recorder(&mut self) -> Option<Recorder> {
        self.recorder.take()
    }

    /// What the partner presented at the handshake.
    pub fn presented(&mut self, credentials: Credentials) {
        self.credentials = Some(Arc::new(credentials));
    }

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.life.go_on();
        self.note(Step::tls(&facts), now);
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.life.go_on();
        self.note(Step::NoTls(why.to_owned()), now);
        self.stream.tls_failed(why);
        self.run(now);
    }

    /// The time that a stopping gateway has for its streams is over.
    pub fn abandon(&mut self) {
        self.life.abort();
    }

    /// Whether the stream ever carried the lane.
    pub fn was_open(&self) -> bool {
        self.opened
    }

    /// Why the stream ended.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What may be tried at once, on another connection, if the stream did not come about.
    pub fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// Where the partner says that he is to be found instead, if the stream did not come about.
    pub fn redirect(&mut self) -> Option<Redirect> {
        self.redirect.take()
    }

    /// What the lane wanted when it lost this connection.
    pub fn wants(&self) -> LaneWants {
        self.carrier.wants()
    }

    fn run(&mut self, now: Moment) {
        self.work(now);
        match self.stream.step() {
            Waiting::Dialback if self.key.is_none() => self.key = Some(self.gateway.key_out(self.remote())),
            Waiting::Dialback => {}
            _ => self.key = None,
        }
        if let Some(intake) = &mut self.intake {
            intake.pass_on(now);
        }
        self.serve_lane(now);
    }

    /// Ends the stream if it may not live any more; whether it does.
    fn dismiss(&mut self, now: Moment) -> bool {
        let Some(why) = self.life.dismissed() else { return false };
        self.dismissed(&why, now);
        self.work(now);
        true
    }

    fn dismissed(&mut self, why: &Dismissal, now: Moment) {
        let local = self.carrier.key().local.as_str();
        info!(partner = self.remote(), local, "outbound stream is being closed: {why}");
        self.failure.get_or_insert_with(|| Failure::new(FailureKind::Negotiation, why.to_string()));
        self.stream.close(now.instant, why.told());
    }

    fn work(&mut self, now: Moment) {
        if let Some(intake) = &mut self.intake {
            intake.settled().into_iter().for_each(|number| self.stream.settled(number));
            intake.retry(now);
        }
        if let Some(guests) = &mut self.guests {
            guests.ask(&mut self.stream, now);
        }
        self.leave(now);
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.life.start_tls(),
                Output::Established(established) => {
                    self.established(*established, now);
                }
                Output::Closed(mut evidence) => {
                    let text = evidence.to_string();
                    self.retry = evidence.retry;
                    self.redirect = evidence.redirect.take();
                    self.alarm(&evidence, now);
                    self.life.ended(&evidence, &self.gateway);
                    debug!(partner = %self.remote(), why = %LogWhole(&text), "outbound stream closed");
                    if let Some(intake) = &mut self.intake {
                        intake.stream_ended(now);
                    }
                    let kind = match evidence.cause {
                        Cause::Certificate { .. } => FailureKind::Certificate,
                        _ => FailureKind::Negotiation,
                    };
                    self.failure.get_or_insert_with(|| Failure::new(kind, text));
                }
                Output::ShutdownTls => {
                    self.life.leave();
                    self.leave(now);
                }
                Output::Abort => self.life.abort(),
                Output::Stanza(stanza) => {
                    self.life.came(stanza.kind, now);
                    self.take(Came::Stanza(stanza), now);
                }
                Output::BadAddress { element, number, .. } => {
                    self.take(Came::BadAddress(Box::new(element), number), now);
                }
                Output::Managed(said) => {
                    if let Err(misuse) = self.carrier.managed(&said, now) {
                        self.stream.misused(misuse, now.instant);
                    }
                }
                Output::Unasked(element) => {
                    debug!(partner = %self.remote(), element = element.name(), stanza = stanza::classify(&element).is_some(),
                        "element ignored: the partner may not send on a stream we opened");
                }
                Output::Unsolicited(element) => {
                    self.gateway.counters().dialback_unsolicited.add(1);
                    debug!(partner = %self.remote(), element = element.name(), "an answer to nothing we asked was dropped");
                }
                Output::PairAuthorized(pair) => self.let_in(&pair, now),
                Output::PairRefused { pair, why } => {
                    if let Some(guests) = &mut self.guests {
                        guests.refused(&pair, &format!("the partner {why}"), now);
                    }
                }
                // Only inbound streams say these, and streams that ask about keys.
                Output::AskPartner { .. }
                | Output::Verify(_)
                | Output::DialbackRefused { .. }
                | Output::KeyAnswered { .. }
                | Output::Verified(_) => {}
            }
        }
    }

    /// The partner takes stanzas of one more of our domains on the stream.
    fn let_in(&mut self, pair: &Pair, now: Moment) {
        self.life.joined(&self.gateway, &pair.from, &pair.to, self.under);
        if let Some(guests) = &mut self.guests {
            guests.let_in(pair, now);
        }
        if let Some(intake) = &mut self.intake {
            intake.enter_ours(&pair.from, &pair.to);
        }
    }

    fn remote(&self) -> &str {
        &self.carrier.key().remote
    }

    fn take(&mut self, came: Came, now: Moment) {
        if let Some(intake) = &mut self.intake {
            intake.take(came, now);
        }
    }

    /// Closes the connection of a stream that has ended, once nothing is held or the time for it is over.
    fn leave(&mut self, now: Moment) {
        let may = self.intake.as_ref().is_none_or(|intake| intake.may_leave(now));
        self.life.leave_if(may);
    }

    fn established(&mut self, established: Established, now: Moment) {
        self.tell_established(&established, now);
        if established.by_certificate && established.method == Method::SaslExternal {
            self.gateway.proved_by_certificate(self.remote(), now);
        }
        let (quiet, idle) = (self.gateway.quiet(self.remote()), established.features.limits.idle_seconds);
        self.life.established(&established, quiet, idle, now);
        let wake = self.carrier.wake();
        let stream = CameAbout {
            established: &established,
            direction: Direction::Outbound,
            peer: &self.peer,
            address: self.address,
            credentials: self.credentials.take(),
            under: self.under,
            wake,
        };
        self.life.enlist(self.gateway.enlist(stream, now));
        // A stream whose terms are no more carries nothing. Who the partner is, is not in doubt if only the policy has changed: what he
        // has sent already is refused, each by that rule. Else nothing of it is looked at.
        let dismissed = self.life.dismissed();
        if let Some(why) = dismissed.as_ref().filter(|why| **why != Dismissal::NotAllowed) {
            return self.dismissed(why, now);
        }
        let Established { local, remote, features, both_ways, lang, tls, by_certificate, .. } = established;
        let limits = features.limits;
        let offer = Offer {
            management: features.stream_management && self.gateway.terms(remote.as_str()).management,
            both_ways,
            max_bytes: limits.max_bytes.and_then(|max| max.try_into().ok()),
        };
        if both_ways {
            let mut intake = Box::new(Intake::new(Arc::clone(&self.gateway), self.carrier.wake()));
            intake.speaks(lang);
            intake.enter_ours(&local, &remote);
            intake.established(&remote, tls, by_certificate);
            self.intake = Some(intake);
        }
        if let Some(why) = dismissed {
            return self.dismissed(&why, now);
        }
        self.opened = self.carrier.open(offer, now);
        if !self.opened {
            // A stream of the partner's carries the lane meanwhile. What he sent on this one is taken.
            return self.stream.close(now.instant, None);
        }
        // Where stanzas are acknowledged, they are counted for one lane.
        let terms = self.gateway.terms(remote.as_str());
        if !offer.management && self.stream.may_authorize(&terms).is_ok() {
            let guests = Guests::new(Arc::clone(&self.gateway), &remote, offer, self.carrier.wake());
            self.guests = Some(Box::new(guests));
        }
    }

    /// Sees to it that a quiet stream stays alive, or ends.
    fn watch(&mut self, now: Moment) {
        if !self.stream.write_allowed() {
            return;
        }
        let (counters, mut empty) = self.look();
        if let Some(intake) = &self.intake {
            empty &= intake.is_empty() && !self.stream.has_unsettled();
        }
        self.life.look(counters, now);
        let mut give_up = false;
        while let Some(ask) = self.life.asks(now) {
            match ask {
                Ask::Probe => self.carrier.probe(),
                Ask::GiveUp => give_up = true,
                Ask::Abort => self.life.abort(),
                Ask::Close if empty => self.stream.close(now.instant, None),
                Ask::Close => {}
            }
        }
        if give_up {
            self.give_up(NO_LIFE, now);
        }
    }

    /// Ends the stream when the partner's certificate has expired. What is not answered then, his closing tag answers.
    fn expire(&mut self, now: Moment) {
        if self.life.has_expired(now) && self.stream.write_allowed() {
            let local = self.carrier.key().local.as_str();
            info!(partner = self.remote(), local, "outbound stream closed with reset: {}", EXPIRED.1);
            self.stream.close(now.instant, Some(EXPIRED));
        }
    }

    /// What all lanes on the stream have counted, and whether they have nothing to do.
    fn look(&self) -> (LaneCounters, bool) {
        let (mut counters, mut empty) = self.carrier.look();
        if let Some((of_guests, none)) = self.guests.as_ref().map(|guests| guests.look()) {
            counters += of_guests;
            empty &= none;
        }
        (counters, empty)
    }

    /// The partner does not answer: its stream ends.
    fn give_up(&mut self, why: &str, now: Moment) {
        info!(partner = %self.remote(), local = %self.carrier.key().local, why, "outbound stream given up");
        self.failure = Some(Failure::new(FailureKind::Unreachable, why));
        let error = (StreamCondition::ConnectionTimeout, NO_LIFE_TOLD);
        self.stream.close(now.instant, Some(error));
    }

    fn serve_lane(&mut self, now: Moment) {
        let wants = match self.opened {
            true => Some(self.carrier.serve(now)),
            false => self.carrier.serve_idle(now),
        };
        let Some(wants) = wants else {
            // A stream of the partner's carries the lane meanwhile: this one is not needed, unless he may be sending on it.
            if !self.stream.asked_for_both_ways() {
                self.abandon();
            }
            return;
        };
        let of_guests = self.guests.as_mut().map_or_else(LaneWants::default, |guests| guests.serve(now));
        let drained =
            self.carrier.wants().close && self.guests.as_ref().is_none_or(|guests| guests.are_drained());
        if wants.abort || of_guests.abort {
            self.failure = Some(Failure::new(FailureKind::Unreachable, NOT_READ));
            self.life.abort();
        }
        if wants.give_up {
            self.give_up(NOTHING_ACKNOWLEDGED, now);
            self.run(now);
        }
        if (wants.close || of_guests.close) && drained {
            self.stream.close(now.instant, Some(STOPPING));
            self.run(now);
        }
    }
}

impl Session for LaneSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.life.heard(now);
        let bytes = input.len();
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
        if let Some(intake) = &mut self.intake {
            intake.charge(bytes, now);
        }
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        let before = output.len();
        self.stream.transmit(output);
        if self.opened && self.stream.write_allowed() {
            self.life.write(output);
            let lanes = 1 + self.guests.as_ref().map_or(0, |guests| guests.len());
            let mut counters = self.carrier.write(output, lanes, now);
            if let Some(guests) = &self.guests {
                guests.write(output, lanes, now);
                counters += guests.look().0;
            }
            self.life.look(counters, now);
            if output.len() > before {
                self.life.wrote(now);
            }
            self.serve_lane(now);
        }
        // Not before what waits has been judged by the same rules, one by one: left alone it would want another stream at once.
        if self.dismiss(now) {
            self.stream.transmit(output);
        }
    }

    fn written(&mut self, now: Moment) {
        if self.opened {
            self.carrier.written(now);
        }
        if let Some(guests) = &self.guests {
            guests.written(now);
        }
        self.serve_lane(now);
    }

    fn closed(&mut self, end: End, now: Moment) {
        self.stream.disconnected(end.why());
        self.run(now);
        let (failure, answered) = (self.failure.as_ref(), self.stream.close_answered());
        let ended = Ended { failure, answered, lost: self.life.was_lost() };
        self.carrier.end(ended, now);
        if let Some(guests) = self.guests.take() {
            guests.end(ended, now);
        }
        if let Some(intake) = &mut self.intake {
            intake.end(self.life.was_lost(), now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let lane = self.carrier.deadline();
        let guests = self.guests.as_ref().and_then(|guests| guests.deadline());
        let life = self.life.deadline(self.stream.write_allowed());
        let intake = self.intake.as_ref().and_then(|intake| intake.deadline(self.life.is_leaving()));
        [self.stream.deadline(), lane, guests, life, intake].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        if let Some(intake) = &mut self.intake {
            if intake.is_slowed() {
                self.life.heard(now);
            }
            intake.handle_timeout(now);
        }
        self.stream.handle_timeout(now.instant);
        self.carrier.handle_timeout(now);
        self.expire(now);
        if let Some(guests) = &self.guests {
            guests.handle_timeout(now);
        }
        self.watch(now);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        self.intake.as_ref().is_none_or(|intake| intake.wants_read())
    }

    fn next(&self) -> Next {
        self.life.next()
    }

    fn wake(&self) -> Arc<Notify> {
        self.carrier.wake()
    }
}

#[cfg(test)]
mod tests;
