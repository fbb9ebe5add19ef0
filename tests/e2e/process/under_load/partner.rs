//! A partner's server under load: it takes the gateway's streams, holds one of its own, and sends over it.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Result, ensure};
use nuncio_world::pki::{Credential, Pki};
use nuncio_world::xml::Element;
use nuncio_world::xmpp_peer::{Outcome, XmppListener, XmppPeer};
use tokio::sync::{mpsc, watch};

use super::ledger::Ledger;
use super::rules::Way;

/// What is to be said on its own stream.
enum Order {
    /// A new message of a contact to a SIP user.
    Message(&'static str, &'static str),
    /// The answer to a question that came on a stream of the gateway's.
    Answer(String),
}

/// The server of one domain.
pub(crate) struct Partner<'a> {
    domain: &'static str,
    pki: &'a Pki,
    credential: Credential,
    /// Where the gateway is.
    gateway: SocketAddr,
    listener: XmppListener,
    ledger: &'a RefCell<Ledger>,
    orders: mpsc::UnboundedSender<Order>,
    /// Messages that it was given to send and has not sent yet.
    waiting: Cell<usize>,
    /// Whether its own stream is up.
    speaks: Cell<bool>,
    /// Streams so far: its own, and those of the gateway.
    pub(crate) opened: Cell<u64>,
    pub(crate) accepted: Cell<u64>,
}

impl<'a> Partner<'a> {
    /// Serves for ever; fails if something goes wrong that no rule explains. `changed` says when the rules are others.
    pub(crate) async fn found(
        domain: &'static str,
        pki: &'a Pki,
        address: SocketAddr,
        gateway: SocketAddr,
        ledger: &'a RefCell<Ledger>,
    ) -> Result<(Rc<Self>, Orders)> {
        let credential = pki.good(domain, &[domain])?;
        let listener = XmppListener::bind(address).await?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let (speaks, opened, accepted) = (Cell::new(false), Cell::new(0), Cell::new(0));
        let waiting = Cell::new(0);
        let partner = Self {
            domain,
            pki,
            credential,
            gateway,
            listener,
            ledger,
            orders,
            waiting,
            speaks,
            opened,
            accepted,
        };
        Ok((Rc::new(partner), Orders(ordered)))
    }

    pub(crate) fn is_of(&self, contact: &str) -> bool {
        contact.rsplit('@').next() == Some(self.domain)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.speaks.get()
    }

    /// Messages that wait for its stream.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// The turn of this contact has come: it sends a message of his; not if too many are under way, or its stream is down.
    pub(crate) fn has_turn(&self, contact: &'static str, user: &'static str) {
        let mut ledger = self.ledger.borrow_mut();
        if !ledger.turn(Way::ToSip, contact, self.waiting()) {
            return;
        }
        if !self.is_up() {
            return ledger.pace.away.push(contact);
        }
        self.waiting.set(self.waiting() + 1);
        self.orders.send(Order::Message(contact, user)).ok();
    }

    /// Sends at once what nobody answers, and much of it: answers to questions that nobody asked.
    pub(crate) fn floods(&self) {
        let answer = format!("<iq type='result' id='none' from='{}' to='contoso.com'/>", self.domain);
        self.orders.send(Order::Answer(answer.repeat(150))).ok();
    }

    /// Keeps a stream to the gateway, as far as the gateway lets it.
    pub(crate) async fn speaks(
        &self,
        mut orders: Orders,
        mut changed: watch::Receiver<u64>,
    ) -> Result<Infallible> {
        loop {
            changed.mark_unchanged();
            let (pki, good) = (self.pki, &self.credential);
            match XmppPeer::negotiate(pki, Some(good), self.gateway, self.domain, "contoso.com").await {
                Ok((peer, Outcome::Authenticated)) => {
                    self.opened.set(self.opened.get() + 1);
                    self.speaks.set(true);
                    self.carries(peer, &mut orders.0).await;
                    self.speaks.set(false);
                }
                // Not let in, or no longer.
                Ok((_, Outcome::Refused(_))) | Err(_) => changed.changed().await?,
            }
        }
    }

    /// Until the gateway ends it.
    async fn carries(&self, mut peer: XmppPeer, orders: &mut mpsc::UnboundedReceiver<Order>) {
        let mut sent = Vec::new();
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let text = match order {
                        Some(Order::Message(contact, user)) => {
                            self.waiting.set(self.waiting() - 1);
                            let number = self.ledger.borrow_mut().send(Way::ToSip, user, contact);
                            sent.push(number);
                            format!(
                                "<message from='{contact}/desk' to='{user}' id='m{number}' type='chat'>\
                                 <body>message {number}</body></message>"
                            )
                        }
                        Some(Order::Answer(text)) => text,
                        None => break,
                    };
                    if peer.say(&text).await.is_err() {
                        break;
                    }
                }
                element = peer.element() => match element {
                    Ok(element) if element.name != "stream:error" => {
                        self.ledger.borrow_mut().odd(format!("on a stream of {}'s own: {element}", self.domain));
                    }
                    _ => break,
                },
            }
        }
        peer.say("</stream:stream>").await.ok();
        self.ledger.borrow_mut().cut(&sent);
    }

    /// Takes what the gateway sends.
    pub(crate) async fn listens(self: Rc<Self>) -> Result<Infallible> {
        let (arrived, mut streams) = mpsc::unbounded_channel();
        let accepting = async {
            loop {
                // It gives up in the middle when the rules change; and it does not come at all while they forbid it.
                if let Ok(peer) = self.listener.accept(self.pki, &self.credential, self.domain).await {
                    self.accepted.set(self.accepted.get() + 1);
                    ensure!(arrived.send(peer).is_ok(), "nobody listens");
                }
            }
        };
        let listening = async {
            let mut open = futures_util::stream::FuturesUnordered::new();
            loop {
                tokio::select! {
                    peer = streams.recv() => match peer {
                        Some(peer) => open.push(self.hears(peer)),
                        None => anyhow::bail!("nobody accepts"),
                    },
                    Some(()) = futures_util::StreamExt::next(&mut open) => {}
                }
            }
        };
        tokio::select! {
            never = accepting => never,
            never = listening => never,
        }
    }

    /// Until the gateway ends it.
    async fn hears(&self, mut peer: XmppPeer) {
        while let Ok(element) = peer.element().await {
            self.takes(&element);
        }
        peer.say("</stream:stream>").await.ok();
    }

    fn takes(&self, element: &Element) {
        let value = |name| element.attribute(name).unwrap_or_default();
        let mut ledger = self.ledger.borrow_mut();
        match (element.name.as_str(), value("type")) {
            ("message", "error") => ledger.bounced(value("id"), element.condition().unwrap_or_default()),
            ("message", _) => {
                ledger.arrived(Way::ToXmpp, value("from"), value("to"), element.body().unwrap_or_default());
            }
            ("iq", "get") => {
                let answer = format!(
                    "<iq type='result' id='{}' from='{}' to='{}'/>",
                    value("id"),
                    value("to"),
                    value("from")
                );
                self.orders.send(Order::Answer(answer)).ok();
            }
            ("stream:error", _) => {}
            _ => ledger.odd(format!("{} is sent {element}", self.domain)),
        }
    }
}

/// What a partner has to say and has not said.
pub(crate) struct Orders(mpsc::UnboundedReceiver<Order>);
