//! Redirects from one of the next hops to another (RFC 3261 §8.1.3.4).
//!
//! A front end may say that a user is to be found at another one. That is followed if the other one is listed as well, and
//! once; where else a redirect leads to is not our business, and it goes back to the caller as any other answer.
//!
//! It is word about one request: only that goes there, on a connection for what is redirected to there at that time. What
//! all other requests take stays as it is, also if the other one cannot be reached: then the redirect goes to the caller.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Beside, HopConnection, HopGroup, HopOutput, Outgoing, Sent, State};
use crate::{Message, Scheme, Uri};

/// The port of SIP over TLS (RFC 3261 §19.1.2).
const SIPS_PORT: u16 = 5061;

/// Where a redirect leads to.
pub(super) struct Redirect {
    target: usize,
    /// The Request-URI there, if it is another one.
    uri: Option<String>,
}

impl<E> HopGroup<E> {
    /// Whether this answer is a redirect that may be followed. Inside a dialog none is: the others know nothing of it.
    pub(super) fn redirect(
        &self,
        outgoing: &Outgoing<E>,
        status: u16,
        message: &Message,
        now: Instant,
    ) -> Option<Redirect> {
        // 380 names another service, not another place.
        if !(300..400).contains(&status) || status == 380 || outgoing.redirected || outgoing.cancelled {
            return None;
        }
        if outgoing.pushed + self.config.hold <= now {
            return None;
        }
        let sent = outgoing.sent?;
        let request = Message::parse(outgoing.request.bytes().clone()).ok()?;
        if request.to_tag().is_some() || request.routes().next().is_some() {
            return None;
        }
        let asked = request.uri().ok()?;
        message.contacts().filter_map(Result::ok).find_map(|contact| {
            let (target, uri) = (self.named_by(&contact.uri)?, uri_at(&asked, &contact.uri, status)?);
            (target != sent.target).then_some(Redirect { target, uri })
        })
    }

    /// Has it sent to that next hop.
    pub(super) fn follow(&mut self, outgoing: Outgoing<E>, redirect: Redirect, message: Message) {
        let Redirect { target, uri } = redirect;
        let mut again = self.renewed(outgoing, message, uri.as_deref());
        again.redirected = true;
        self.diverted.push(target, again);
    }

    /// Connects to where redirected requests are to go, if that is not where all go.
    pub(super) fn look_for_redirected(&mut self) {
        while let State::Up(active) = &self.state
            && self.beside.is_none()
            && let Some(target) = self.diverted.other_than(active.target)
        {
            if !self.targets.is_listed(target) {
                self.turn_back(target);
                continue;
            }
            self.beside = Some(Beside::Redirect(target));
            let within = Some(self.config.attempt());
            self.outputs.push_back(HopOutput::Connect { target, within });
        }
    }

    /// A connection for what was redirected to there. It ends with the last answer.
    pub(super) fn arrive(&mut self, connection: HopConnection, target: usize, now: Instant) {
        self.expire_due(now);
        while let Some(outgoing) = self.diverted.pop_for(target) {
            self.send(outgoing, Sent { connection, target, at: now });
        }
        self.outputs.push_back(HopOutput::Release { connection });
        self.advance(now);
    }

    /// That next hop is not to be had: the callers hear of the redirect.
    pub(super) fn turn_back(&mut self, target: usize) {
        while let Some(outgoing) = self.diverted.pop_for(target) {
            self.expire(outgoing);
        }
    }

    /// The next hop that a URI leads to over TLS.
    fn named_by(&self, uri: &Uri<'_>) -> Option<usize> {
        let secure = match uri.params().value("transport") {
            None => true,
            Some(transport) => transport.eq_ignore_ascii_case("tls") || uri.scheme() == Scheme::Sips,
        };
        if !uri.is_sip() || !secure || uri.params().contains("maddr") {
            return None;
        }
        self.targets.labelled(&format!("{}:{}", uri.host(), uri.port().unwrap_or(SIPS_PORT)))
    }
}

/// Redirected requests that wait for a connection, each with its next hop, in the order in which they were pushed.
#[derive(Debug)]
pub(super) struct Diverted<E>(VecDeque<(usize, Outgoing<E>)>);

impl<E> Diverted<E> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    fn push(&mut self, target: usize, outgoing: Outgoing<E>) {
        let place = self.0.partition_point(|(_, other)| other.number < outgoing.number);
        self.0.insert(place, (target, outgoing));
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Outgoing<E>> {
        self.0.front().map(|(_, outgoing)| outgoing)
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing<E>> {
        self.0.pop_front().map(|(_, outgoing)| outgoing)
    }

    /// The oldest that is to go to this next hop.
    pub(super) fn pop_for(&mut self, target: usize) -> Option<Outgoing<E>> {
        self.remove(|to, _| to == target)
    }

    /// Takes out the one with this branch, as the caller chose it.
    pub(super) fn take(&mut self, branch: &str) -> Option<Outgoing<E>> {
        self.remove(|_, outgoing| outgoing.request.base_branch() == branch)
    }

    /// Takes out those that are `unwanted`, in their order.
    pub(super) fn take_all(&mut self, unwanted: &mut impl FnMut(&E) -> bool) -> Vec<Outgoing<E>> {
        let mut found = Vec::new();
        while let Some(place) = self.0.iter().position(|(_, outgoing)| unwanted(&outgoing.envelope)) {
            found.extend(self.0.remove(place).map(|(_, outgoing)| outgoing));
        }
        found
    }

    /// Where the oldest goes that does not go to this next hop.
    fn other_than(&self, target: usize) -> Option<usize> {
        self.0.iter().map(|(to, _)| *to).find(|to| *to != target)
    }

    fn remove(&mut self, is_it: impl Fn(usize, &Outgoing<E>) -> bool) -> Option<Outgoing<E>> {
        let place = self.0.iter().position(|(to, outgoing)| is_it(*to, outgoing))?;
        self.0.remove(place).map(|(_, outgoing)| outgoing)
    }
}

/// The Request-URI at the new place: the same user. `None`: it leads to somebody else, whom nobody wrote to.
fn uri_at(asked: &Uri<'_>, contact: &Uri<'_>, status: u16) -> Option<Option<String>> {
    let Some(user) = contact.user() else { return Some(None) };
    if !asked.user().is_some_and(|asked| asked.eq_ignore_ascii_case(user)) || contact.password().is_some() {
        return None;
    }
    // 305: through that place, to whom it was.
    if status == 305 {
        return Some(None);
    }
    // Header fields and a method are for who clicks on it.
    let bare = contact.as_str().split('?').next().unwrap_or_default();
    let bare: Vec<_> =
        bare.split(';').filter(|part| !part.to_ascii_lowercase().starts_with("method=")).collect();
    Some(Some(bare.join(";")))
}
