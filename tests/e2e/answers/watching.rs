//! Presence as front ends and partners see it: dialogs, documents, stanzas.

use std::time::Duration;

use nuncio_translate::pair::PairKey;
use nuncio_translate::presence::{Disclosure, Veil};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;

use crate::house::{House, Plan, Reply};
use crate::text::Request;

pub(crate) const ALICE: &str = "alice@contoso.com";
pub(crate) const BOB: &str = "bob@fabrikam.com";
pub(crate) const PARTNER: &str = "fabrikam.com";
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// Where the front end wants requests inside of dialogs.
pub(crate) const HERE: &str = "<sip:alice@fe.contoso.com:5061;transport=tls>";
pub(crate) const PIDF: &str = "application/pidf+xml";
pub(crate) const OPEN: &str = "active;expires=3600";

/// A house whose front end accepts every subscription.
pub(crate) fn house() -> House {
    planned(Plan::default())
}

pub(crate) fn planned(plan: Plan) -> House {
    let mut house = House::planned(plan);
    house.rule = Box::new(accepts);
    house
}

/// What a front end says that accepts everything.
pub(crate) fn accepts(request: &SipMessage) -> Reply {
    match request.header("Expires").filter(|_| request.method() == Some("SUBSCRIBE")) {
        Some(expires) => {
            Reply::With(200, "OK", vec![("Expires", expires.to_owned()), ("Contact", HERE.to_owned())])
        }
        None => Reply::Status(200, "OK"),
    }
}

/// A dialog of the front end's with the gateway.
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) target: String,
    pub(crate) cseq: u32,
}

impl Dialog {
    /// Made by a SUBSCRIBE of the gateway that the front end has answered.
    pub(crate) fn of(subscribe: &SipMessage) -> Self {
        let to = subscribe.must("To").unwrap();
        Self {
            call_id: subscribe.must("Call-ID").unwrap().to_owned(),
            local: if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag=agent") },
            remote: subscribe.must("From").unwrap().to_owned(),
            target: subscribe.address("Contact").unwrap().to_owned(),
            cseq: 0,
        }
    }

    /// Made by a SUBSCRIBE of the front end that the gateway has answered.
    pub(crate) fn made(request: &Request, answer: &SipMessage) -> Self {
        assert_eq!(answer.status(), Some(200), "{answer}");
        Self {
            call_id: request.call_id.clone(),
            local: request.from.clone(),
            remote: answer.must("To").unwrap().to_owned(),
            target: answer.address("Contact").unwrap().to_owned(),
            cseq: 1,
        }
    }

    /// The next request in it.
    pub(crate) fn request(&mut self, method: &'static str) -> Request {
        self.cseq += 1;
        let (cseq, dialog) = (self.cseq, &*self);
        Request::new(method, ALICE).with("Event: presence").set(|request| {
            request.uri.clone_from(&dialog.target);
            request.from.clone_from(&dialog.local);
            request.to.clone_from(&dialog.remote);
            request.call_id.clone_from(&dialog.call_id);
            request.cseq = format!("{cseq} {method}");
        })
    }

    pub(crate) fn notify(&mut self, state: &str, document: &str) -> Request {
        let notify = self.request("NOTIFY").with(format!("Subscription-State: {state}"));
        let notify = notify.with(format!("Contact: {HERE}"));
        if document.is_empty() {
            notify
        } else {
            notify.with(format!("Content-Type: {PIDF}")).with_body(document)
        }
    }

    pub(crate) fn subscribe(&mut self, expires: u32) -> Request {
        self.request("SUBSCRIBE")
            .with(format!("Contact: {HERE}"))
            .with(format!("Accept: {PIDF}"))
            .with(format!("Expires: {expires}"))
    }
}

/// What a contact of a public partner sees of one of alice's tuples, whose id is free text as well. (In here our key is all zeros.)
pub(crate) fn veiled(contact: &str, tuple: &str) -> String {
    let veil = Veil::of(&[0; 16], PairKey::new(ALICE, contact).as_str());
    Disclosure::BasicOnly(veil).name(tuple).into()
}

/// A SUBSCRIBE of alice's.
pub(crate) fn subscribe(contact: &str, expires: u32) -> Request {
    Request::new("SUBSCRIBE", contact)
        .with("Event: presence")
        .with(format!("Accept: {PIDF}"))
        .with(format!("Contact: {HERE}"))
        .with(format!("Expires: {expires}"))
}

/// A document about alice: of each tuple its id, whether it is open, and what else is in its status and in itself.
pub(crate) fn pidf(tuples: &[(&str, bool, &str, &str)]) -> String {
    let tuples: String = tuples
        .iter()
        .map(|(id, open, status, more)| {
            let basic = if *open { "open" } else { "closed" };
            format!("<tuple id='{id}'><status><basic>{basic}</basic>{status}</status>{more}</tuple>")
        })
        .collect();
    format!(
        "<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' \
         entity='pres:{ALICE}'>{tuples}</presence>"
    )
}

pub(crate) fn show(show: &str) -> String {
    format!("<show xmlns='jabber:client'>{show}</show>")
}

/// A presence stanza of a contact to alice.
pub(crate) fn stanza(from: &str, attributes: &str, children: &str) -> String {
    format!("<presence from='{from}' to='{ALICE}' {attributes}>{children}</presence>")
}

/// A stanza of presence in short: its type or `available`, the resource it is of, its show, note and priority.
pub(crate) fn short(stanza: &Element) -> String {
    assert_eq!(stanza.name, "presence", "{}", stanza.raw);
    let mut text = stanza.attribute("type").unwrap_or("available").to_owned();
    let resource = stanza.attribute("from").unwrap().split_once('/').map(|(_, resource)| resource);
    let children = ["show", "status", "priority"].map(|name| stanza.child(name).map(|c| c.text.as_str()));
    for part in [resource].into_iter().chain(children).flatten() {
        text += " ";
        text += part;
    }
    text
}

impl House {
    /// The presence that reached a partner since it was last asked, in short.
    pub(crate) fn told(&mut self, remote: &str) -> Vec<String> {
        self.stanzas(remote).iter().map(short).collect()
    }

    /// The one request that reached the front end since it was last asked.
    pub(crate) fn request(&mut self) -> SipMessage {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// The Subscription-State of each NOTIFY that reached the front end since it was last asked.
    pub(crate) fn states(&mut self) -> Vec<String> {
        let state = |request: &SipMessage| {
            assert_eq!(request.method(), Some("NOTIFY"), "{request}");
            request.must("Subscription-State").unwrap().to_owned()
        };
        self.requests().iter().map(state).collect()
    }

    /// Lets time pass until a request reaches the front end.
    pub(crate) fn wait_for_request(&mut self, most: Duration) -> SipMessage {
        let mut requests = self.wait_for_requests(most);
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Lets time pass until presence reaches a partner.
    pub(crate) fn wait_for_word(&mut self, remote: &str, most: Duration) -> Vec<String> {
        let end = self.now.instant + most;
        loop {
            let told = self.told(remote);
            if !told.is_empty() {
                return told;
            }
            assert!(self.now.instant < end, "no word in {most:?}");
            self.advance(SECOND);
        }
    }

    /// The same for as many as come at once.
    pub(crate) fn wait_for_requests(&mut self, most: Duration) -> Vec<SipMessage> {
        let end = self.now.instant + most;
        while self.requests.is_empty() {
            assert!(self.now.instant < end, "no request in {most:?}");
            self.advance(SECOND);
        }
        self.requests()
    }

    /// The status of the answer to a request in a dialog.
    pub(crate) fn status(&mut self, wire: usize, request: &Request) -> u16 {
        self.ask(wire, request.bytes()).status().unwrap()
    }

    /// A contact asks to see alice, and the front end accepts.
    pub(crate) fn contact_asks(&mut self, contact: &str) -> (usize, Dialog) {
        let wire = self.front_end();
        let (_, remote) = contact.split_once('@').unwrap();
        self.partner_says(remote, &stanza(contact, "type='subscribe' id='s1'", ""));
        let subscribe = self.request();
        assert_eq!(subscribe.method(), Some("SUBSCRIBE"), "{subscribe}");
        (wire, Dialog::of(&subscribe))
    }

    /// A contact sees alice, who is open at `desk`.
    pub(crate) fn seen_by(&mut self, contact: &str) -> (usize, Dialog) {
        let (wire, mut dialog) = self.contact_asks(contact);
        assert_eq!(self.status(wire, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
        let (_, remote) = contact.split_once('@').unwrap();
        assert_eq!(self.told(remote), ["subscribed", "available desk"]);
        (wire, dialog)
    }

    /// Alice has asked to see a contact.
    pub(crate) fn user_asks(&mut self, contact: &str) -> (usize, Dialog) {
        let wire = self.front_end();
        let request = subscribe(contact, 3600);
        let answer = self.ask(wire, request.bytes());
        (wire, Dialog::made(&request, &answer))
    }

    /// Alice sees a contact, who is available at `home`.
    pub(crate) fn user_sees(&mut self, contact: &str) -> (usize, Dialog) {
        let (wire, dialog) = self.user_asks(contact);
        let (_, remote) = contact.split_once('@').unwrap();
        assert_eq!(self.told(remote), ["subscribe"]);
        self.partner_says(remote, &stanza(contact, "type='subscribed'", ""));
        self.partner_says(remote, &stanza(&format!("{contact}/home"), "", ""));
        self.advance(3 * SECOND);
        assert_eq!(self.told(remote), ["probe"]);
        self.partner_says(remote, &stanza(&format!("{contact}/home"), "", ""));
        self.advance(10 * SECOND);
        assert_eq!(self.states()[0].split(';').next(), Some("pending"));
        (wire, dialog)
    }
}
