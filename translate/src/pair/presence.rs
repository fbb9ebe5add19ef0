//! Presence of a pair: what joins its two halves.

use nuncio_sip::event::{Undelivered, Wanted};
use nuncio_sip::{Message, Uri};

use super::output::{Asked, Half, Output, Sent};
use super::{Context, Pair, PairRecord};
use crate::presence::from_xmpp::Reading;

/// Whether NOTIFY may go to a Contact (PS-06).
pub type Routable<'a> = &'a dyn Fn(&Uri<'_>) -> bool;

/// A SUBSCRIBE outside of any dialog, checked by
/// [`check_subscribe`](nuncio_sip::event::check_subscribe).
#[derive(Clone, Copy)]
pub struct Subscribing<'a> {
    pub request: &'a Message,
    pub wanted: &'a Wanted,
    /// Which endpoint of the SIP user it is: its instance, epid or Contact.
    pub endpoint: &'a str,
    /// The front end it came from, by name.
    pub front_end: &'a str,
}

/// A presence stanza of the contact. One that reads as [`Reading::Refuse`] is answered by the caller.
#[derive(Debug, Clone)]
pub struct Arrived<'a> {
    /// The resource it came from.
    pub from: Option<&'a str>,
    /// The resource of the SIP user it is for.
    pub to: Option<&'a str>,
    pub id: Option<&'a str>,
    pub reading: Reading,
}

impl Pair {
    /// The SIP user subscribes to the contact, or asks for his presence once.
    pub fn sip_subscribes(&mut self, asked: Asked, subscribing: Subscribing<'_>, context: &mut Context<'_>) {
        let _ = (asked, subscribing, context);
    }

    /// A request inside a dialog, found by its local tag: SUBSCRIBE or NOTIFY.
    pub fn in_dialog(
        &mut self,
        asked: Asked,
        tag: &str,
        request: &Message,
        routable: Routable<'_>,
        context: &mut Context<'_>,
    ) {
        let _ = (asked, tag, request, routable, context);
    }

    /// The final response to a request.
    pub fn response(&mut self, half: &Half, serial: u32, response: &Message, context: &mut Context<'_>) {
        let _ = (half, serial, response, context);
    }

    /// A request that gets no response.
    pub fn request_failed(&mut self, half: &Half, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        let _ = (half, serial, why, context);
    }

    /// A presence stanza of the contact.
    pub fn contact_presence(&mut self, arrived: Arrived<'_>, context: &mut Context<'_>) {
        let _ = (arrived, context);
    }

    /// A message of the contact that may cross: evidence that he is there.
    pub fn contact_is_there(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// A stanza surely or possibly did not arrive. The state of then is sent after a while.
    pub fn lost(&mut self, sent: &Sent, context: &mut Context<'_>) {
        let _ = (sent, context);
    }

    /// The partner can be reached again: what was lost is sent soon.
    pub fn reachable(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The policy is another one. Everything that it forbids from now on ends.
    pub fn policy_changed(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The administrator takes back that the SIP user added the contact.
    pub fn consent_removed(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The record with this ticket is stored, or cannot be.
    pub fn committed(&mut self, ticket: u64) {
        let _ = ticket;
    }

    /// A pair of an earlier process. Poll it for the tags it is bound to; it sends nothing before
    /// [`Pair::resume`].
    pub fn restored(record: PairRecord, context: &mut Context<'_>) -> Self {
        let _ = (record, context);
        Self::default()
    }

    /// Takes up again what was restored.
    pub fn resume(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The process is going to end: tells the SIP user's endpoints to subscribe elsewhere (EV-15).
    pub fn shutdown(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// The next thing to do; drain it after every input of presence, and when [`Pair::has_output`].
    pub fn poll(&mut self, context: &mut Context<'_>) -> Option<Output> {
        let _ = context;
        None
    }

    /// Whether [`Pair::poll`] has to be called after an input that belongs to messages.
    pub fn has_output(&self) -> bool {
        false
    }
}
