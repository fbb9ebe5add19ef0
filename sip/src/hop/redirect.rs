//! Redirects from one of the next hops to another (RFC 3261 §8.1.3.4).
//!
//! A front end may say that a user is to be found at another one. That is followed if the other one is listed as well, and
//! once; where else a redirect leads to is not our business, and it goes back to the caller as any other answer.

use std::time::Instant;

use super::{HopGroup, HopOutput, Outgoing, State};
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
        if !(300..400).contains(&status) || status == 380 || outgoing.redirected {
            return None;
        }
        if outgoing.pushed + self.config.hold <= now {
            return None;
        }
        let State::Up(active) = &self.state else { return None };
        let sent = outgoing.sent?;
        let request = Message::parse(outgoing.request.bytes().clone()).ok()?;
        if request.to_tag().is_some() || request.routes().next().is_some() {
            return None;
        }
        let asked = request.uri().ok()?;
        message.contacts().filter_map(Result::ok).find_map(|contact| {
            let (target, uri) = (self.named_by(&contact.uri)?, uri_at(&asked, &contact.uri, status)?);
            // To move, the connection in use is let go; an attempt to move elsewhere goes before.
            let possible = active.target == target || self.moving.is_none();
            (target != sent.target && possible).then_some(Redirect { target, uri })
        })
    }

    /// Sends it to that next hop, over the connection that all requests take from now on.
    pub(super) fn follow(&mut self, mut outgoing: Outgoing<E>, redirect: Redirect, message: Message) {
        let Redirect { target, uri } = redirect;
        if let State::Up(active) = &self.state
            && active.target != target
        {
            self.outputs.push_back(HopOutput::Release { connection: active.connection });
            self.connect_to(target);
        }
        outgoing.redirected = true;
        self.send_again(outgoing, message, uri.as_deref());
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
