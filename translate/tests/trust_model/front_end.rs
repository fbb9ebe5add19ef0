//! The SIP side: the SIP user's own presence, and his endpoints.

use nuncio_sip::Message;
use nuncio_translate::pair::Request;

use crate::pair_rig::{Remote, body, expires, message, pidf, state_of};

/// A word that no public partner may ever see.
pub(crate) const SECRET: &str = "at-the-dentist";

/// How the SIP user has decided about the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Asked,
    Allowed,
    Refused,
}

/// What goes to the gateway: a request inside or outside a dialog, of an endpoint by its number.
#[derive(Debug, Clone)]
pub(crate) enum FromSip {
    Notify(Remote, Message),
    Subscribe { endpoint: usize, request: Message, dialog: Remote },
    InDialog { endpoint: usize, request: Message },
}

#[derive(Debug)]
pub(crate) struct FrontEnd {
    pub(crate) decision: Decision,
    /// The SIP user's devices: open, show.
    pub(crate) devices: [Option<&'static str>; 2],
    /// The gateway's subscriptions.
    pub(crate) dialogs: Vec<Remote>,
    pub(crate) endpoints: [Endpoint; 2],
    pub(crate) out: Vec<FromSip>,
    number: u64,
}

/// An endpoint's subscription to the contact.
#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) dialog: Option<Remote>,
    /// Of the last NOTIFY.
    pub(crate) state: String,
    pub(crate) document: String,
}

pub(crate) const DEVICES: [&str; 2] = ["desk", "phone"];

impl FrontEnd {
    pub(crate) fn new() -> Self {
        Self {
            decision: Decision::Allowed,
            devices: [None, None],
            dialogs: Vec::new(),
            endpoints: Default::default(),
            out: Vec::new(),
            number: 0,
        }
    }

    fn document(&self) -> String {
        let tuples: Vec<_> = DEVICES
            .iter()
            .zip(self.devices)
            .map(|(device, show)| (*device, show.is_some(), show.unwrap_or_default(), SECRET))
            .collect();
        pidf(&tuples)
    }

    fn notify(&mut self, at: usize) {
        let document = self.document();
        let (state, document) = match self.decision {
            Decision::Asked => ("pending;expires=3600", String::new()),
            Decision::Allowed => ("active;expires=3600", document),
            Decision::Refused => ("terminated;reason=rejected", String::new()),
        };
        let dialog = &mut self.dialogs[at];
        let request = dialog.notify(state, &document);
        self.out.push(FromSip::Notify(dialog.clone(), request));
        if self.decision == Decision::Refused {
            self.dialogs.remove(at);
        }
    }

    /// The SIP user decides, or his presence changes: everybody who watches is told.
    pub(crate) fn tell(&mut self) {
        for at in (0..self.dialogs.len()).rev() {
            self.notify(at);
        }
    }

    /// A SUBSCRIBE of the gateway. Says the status of the answer.
    pub(crate) fn subscribed(&mut self, request: &Request) -> u16 {
        let text = message(request);
        let inside = text.to_header().unwrap().tag().is_some();
        let call_id = text.call_id().unwrap().to_owned();
        let at = self.dialogs.iter().position(|dialog| dialog.call_id == call_id);
        let ends = expires(request) == Some(0);
        match (inside, at) {
            (true, None) => 481,
            (true, Some(at)) if ends => {
                let mut dialog = self.dialogs.remove(at);
                let notify = dialog.notify("terminated;reason=timeout", "");
                self.out.push(FromSip::Notify(dialog, notify));
                200
            }
            (true, Some(at)) => {
                self.notify(at);
                200
            }
            (false, _) if ends => {
                let mut dialog = Remote::of(request, &self.tag());
                let document = self.document();
                let document = if self.decision == Decision::Allowed { document } else { String::new() };
                let notify = dialog.notify("terminated;reason=timeout", &document);
                self.out.push(FromSip::Notify(dialog, notify));
                200
            }
            (false, _) if self.decision == Decision::Refused => 603,
            (false, _) => {
                let dialog = Remote::of(request, &self.tag());
                self.dialogs.push(dialog);
                self.notify(self.dialogs.len() - 1);
                200
            }
        }
    }

    fn tag(&mut self) -> String {
        self.number += 1;
        format!("fe{}", self.number)
    }

    /// An endpoint adds the contact, anew if it had.
    pub(crate) fn add(&mut self, endpoint: usize, seconds: u32) {
        self.number += 1;
        let mut dialog = Remote::endpoint(&format!("e{endpoint}-{}", self.number));
        let request = dialog.subscribe(seconds);
        self.out.push(FromSip::Subscribe { endpoint, request, dialog });
    }

    /// An endpoint refreshes, or ends its subscription.
    pub(crate) fn refresh(&mut self, endpoint: usize, seconds: u32) {
        if let Some(dialog) = &mut self.endpoints[endpoint].dialog {
            let request = dialog.subscribe(seconds);
            self.out.push(FromSip::InDialog { endpoint, request });
        }
    }

    /// A NOTIFY of the gateway. Says the status of the answer.
    pub(crate) fn notified(&mut self, request: &Request) -> u16 {
        let text = message(request);
        let call_id = text.call_id().unwrap();
        let endpoint = self
            .endpoints
            .iter_mut()
            .find(|endpoint| endpoint.dialog.as_ref().is_some_and(|dialog| dialog.call_id == call_id));
        let Some(endpoint) = endpoint else { return 481 };
        endpoint.state = state_of(request);
        endpoint.document = body(request);
        if endpoint.state.starts_with("terminated") {
            endpoint.dialog = None;
        }
        200
    }
}
