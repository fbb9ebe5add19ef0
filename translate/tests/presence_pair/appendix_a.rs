//! RFC 6121, Appendix A: the whole pair in each of the nine states, and everything that may happen to it there.
//!
//! The SIP user is the user of the tables. What his server would say for him follows from what his front end and his endpoints
//! say: `subscribe` from the SUBSCRIBE of an endpoint, `subscribed` and `unsubscribed` from NOTIFY.

use std::time::Duration;

use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::*;

use crate::pair_rig::*;

const STATES: [(&str, To, From); 9] = [
    ("None", To::No, From::No),
    ("None+PendOut", To::Pending, From::No),
    ("None+PendIn", To::No, From::Pending),
    ("None+PendOut+In", To::Pending, From::Pending),
    ("To", To::Yes, From::No),
    ("To+PendIn", To::Yes, From::Pending),
    ("From", To::No, From::Yes),
    ("From+PendOut", To::Pending, From::Yes),
    ("Both", To::Yes, From::Yes),
];

/// A pair with whom it has dialogs.
struct Scene {
    rig: Rig,
    /// At the front end: the contact watches.
    front_end: Option<Remote>,
    /// Of the user's first endpoint: the user watches.
    endpoint: Option<Remote>,
}

impl Scene {
    /// A pair that came into this state by what both sides said.
    fn in_state(name: &str) -> Self {
        let (_, to, from) =
            *STATES.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name}"));
        let mut scene = Self { rig: Rig::new(PartnerType::Federated), front_end: None, endpoint: None };
        if to != To::No {
            scene.endpoint = Some(scene.endpoint_subscribes("first"));
            scene.settle();
        }
        if to == To::Yes {
            scene.contact("subscribed");
            scene.settle();
        }
        if from != From::No {
            scene.contact("subscribe");
            let subscribe = scene.rig.request();
            scene.rig.respond(&subscribe, 200, "Expires: 3600\r\n");
            scene.front_end = Some(Remote::of(&subscribe, "fe"));
            scene.notify("pending;expires=3600", "");
        }
        if from == From::Yes {
            scene.notify("active;expires=3600", &pidf(&[("desk", true, "", "")]));
        }
        scene.settle();
        assert_eq!(scene.state(), name);
        scene
    }

    fn contact(&mut self, kind: &str) {
        self.rig.stanza("", &format!("type='{kind}'"), "");
    }

    fn endpoint_subscribes(&mut self, name: &str) -> Remote {
        let mut endpoint = Remote::endpoint(name);
        let number = self.rig.subscribe(&endpoint.subscribe(3600), name);
        assert_eq!(self.rig.status(number), 200);
        endpoint.gateway_tag = self.rig.newest_tag();
        endpoint
    }

    fn endpoint_signs_out(&mut self) {
        let Some(endpoint) = &mut self.endpoint else { return };
        let number = self.rig.in_dialog(&endpoint.subscribe(0));
        assert_eq!(self.rig.status(number), 200);
    }

    /// The front end says what has become of the contact's subscription, if there is a dialog to say it in.
    fn notify(&mut self, state: &str, document: &str) {
        let Some(dialog) = &mut self.front_end else { return };
        let request = dialog.notify(state, document);
        let number = self.rig.in_dialog(&request);
        assert_eq!(self.rig.status(number), 200, "{state}");
    }

    /// What was sent so far is answered and forgotten, and what takes a while is done.
    fn settle(&mut self) {
        self.rig.pass(Duration::from_secs(10));
        for request in std::mem::take(&mut self.rig.requests) {
            self.rig.respond(&request, 200, "");
        }
        self.rig.told();
    }

    fn state(&self) -> &'static str {
        let now = (self.rig.pair.to(), self.rig.pair.from());
        STATES.iter().find(|(_, to, from)| (*to, *from) == now).map_or("another", |(name, ..)| *name)
    }

    /// What crossed, in order: requests to SIP, then stanzas to the contact.
    fn crossed(&mut self) -> Vec<String> {
        let requests = std::mem::take(&mut self.rig.requests);
        let mut all: Vec<String> = Vec::new();
        for request in &requests {
            let text = message(request);
            all.push(match text.method().as_str() {
                "NOTIFY" => format!("NOTIFY {}", state_of(request).split(';').next().unwrap_or_default()),
                method => format!("{method} {}", expires(request).unwrap()),
            });
        }
        all.extend(self.rig.told());
        all
    }
}

/// A row: the state before, the state after ("" is the same), what crosses.
type Row = (&'static str, &'static str, &'static [&'static str]);

fn check(rows: [Row; 9], what: impl Fn(&mut Scene)) {
    for ((before, after, crosses), (name, ..)) in rows.into_iter().zip(STATES) {
        assert_eq!(before, name, "every state once, in order");
        let mut scene = Scene::in_state(before);
        what(&mut scene);
        assert_eq!(scene.state(), if after.is_empty() { before } else { after }, "from {before}");
        assert_eq!(scene.crossed(), crosses, "from {before}");
    }
}

#[test]
fn tv_28_a_3_1_the_contact_asks() {
    // Asked already: not again. Agreed already: the answer is repeated, and the front end hears nothing.
    let rows: [Row; 9] = [
        ("None", "None+PendIn", &["SUBSCRIBE 3600"]),
        ("None+PendOut", "None+PendOut+In", &["SUBSCRIBE 3600"]),
        ("None+PendIn", "", &[]),
        ("None+PendOut+In", "", &[]),
        ("To", "To+PendIn", &["SUBSCRIBE 3600"]),
        ("To+PendIn", "", &[]),
        ("From", "", &["subscribed", "available desk"]),
        ("From+PendOut", "", &["subscribed", "available desk"]),
        ("Both", "", &["subscribed", "available desk"]),
    ];
    check(rows, |scene| scene.contact("subscribe"));
}

#[test]
fn tv_28_a_3_2_the_contact_does_not_want_to_see_any_more() {
    // Whose request nobody has answered gets no answer now.
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "", &[]),
        ("None+PendIn", "None", &["SUBSCRIBE 0"]),
        ("None+PendOut+In", "None+PendOut", &["SUBSCRIBE 0"]),
        ("To", "", &[]),
        ("To+PendIn", "To", &["SUBSCRIBE 0"]),
        ("From", "None", &["SUBSCRIBE 0", "unavailable desk", "unsubscribed"]),
        ("From+PendOut", "None+PendOut", &["SUBSCRIBE 0", "unavailable desk", "unsubscribed"]),
        ("Both", "To", &["SUBSCRIBE 0", "unavailable desk", "unsubscribed"]),
    ];
    check(rows, |scene| scene.contact("unsubscribe"));
}

#[test]
fn tv_28_a_3_3_the_contact_agrees() {
    // Only to a request: nobody can press himself upon the SIP user.
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "To", &["NOTIFY active"]),
        ("None+PendIn", "", &[]),
        ("None+PendOut+In", "To+PendIn", &["NOTIFY active"]),
        ("To", "", &[]),
        ("To+PendIn", "", &[]),
        ("From", "", &[]),
        ("From+PendOut", "Both", &["NOTIFY active"]),
        ("Both", "", &[]),
    ];
    check(rows, |scene| scene.contact("subscribed"));
}

#[test]
fn tv_28_a_3_4_the_contact_refuses_or_takes_back() {
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "None", &["NOTIFY terminated"]),
        ("None+PendIn", "", &[]),
        ("None+PendOut+In", "None+PendIn", &["NOTIFY terminated"]),
        ("To", "None", &["NOTIFY terminated"]),
        ("To+PendIn", "None+PendIn", &["NOTIFY terminated"]),
        ("From", "", &[]),
        ("From+PendOut", "From", &["NOTIFY terminated"]),
        ("Both", "From", &["NOTIFY terminated"]),
    ];
    check(rows, |scene| scene.contact("unsubscribed"));
}

#[test]
fn tv_28_a_2_1_an_endpoint_more_asks() {
    // The contact is asked once for all endpoints, and not at all if he has agreed.
    let rows: [Row; 9] = [
        ("None", "None+PendOut", &["NOTIFY pending", "subscribe"]),
        ("None+PendOut", "", &["NOTIFY pending"]),
        ("None+PendIn", "None+PendOut+In", &["NOTIFY pending", "subscribe"]),
        ("None+PendOut+In", "", &["NOTIFY pending"]),
        ("To", "", &["NOTIFY active"]),
        ("To+PendIn", "", &["NOTIFY active"]),
        ("From", "From+PendOut", &["NOTIFY pending", "subscribe"]),
        ("From+PendOut", "", &["NOTIFY pending"]),
        ("Both", "", &["NOTIFY active"]),
    ];
    check(rows, |scene| drop(scene.endpoint_subscribes("second")));
}

/// SIP knows no word for `unsubscribe`: who stops watching signs out, and is not to be asked for consent again (PR-35).
#[test]
fn tv_28_a_2_2_signing_out_is_no_unsubscribe() {
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "", &["NOTIFY terminated", "unavailable"]),
        ("None+PendIn", "", &[]),
        ("None+PendOut+In", "", &["NOTIFY terminated", "unavailable"]),
        ("To", "", &["NOTIFY terminated", "unavailable"]),
        ("To+PendIn", "", &["NOTIFY terminated", "unavailable"]),
        ("From", "", &[]),
        ("From+PendOut", "", &["NOTIFY terminated"]),
        ("Both", "", &["NOTIFY terminated"]),
    ];
    check(rows, Scene::endpoint_signs_out);
}

#[test]
fn tv_28_a_2_3_the_front_end_agrees() {
    // Without a request there is no dialog in which it could (no pre-approval), and what was agreed to is not said again.
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "", &[]),
        ("None+PendIn", "From", &["subscribed", "available desk"]),
        ("None+PendOut+In", "From+PendOut", &["subscribed", "available desk"]),
        ("To", "", &[]),
        ("To+PendIn", "Both", &["subscribed", "available desk"]),
        ("From", "", &[]),
        ("From+PendOut", "", &[]),
        ("Both", "", &[]),
    ];
    check(rows, |scene| scene.notify("active;expires=3600", &pidf(&[("desk", true, "", "")])));
}

#[test]
fn tv_28_a_2_4_the_front_end_refuses_or_takes_back() {
    // A refused request ends in silence (PR-22, DEC-03).
    let rows: [Row; 9] = [
        ("None", "", &[]),
        ("None+PendOut", "", &[]),
        ("None+PendIn", "None", &[]),
        ("None+PendOut+In", "None+PendOut", &[]),
        ("To", "", &[]),
        ("To+PendIn", "To", &[]),
        ("From", "None", &["unavailable desk", "unsubscribed"]),
        ("From+PendOut", "None+PendOut", &["unavailable desk", "unsubscribed"]),
        ("Both", "To", &["unavailable desk", "unsubscribed"]),
    ];
    check(rows, |scene| scene.notify("terminated;reason=rejected", ""));
}
