//! Sessions of instant messages through the whole gateway (CH, RFC 7573).

mod beside;
mod ends;
mod from_contact;
mod from_user;
mod imdn;
mod notified;
mod rules;
mod threads;
mod vectors;

use nuncio::gateway::Im;
use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Plan, Reply};
use crate::text::Request;

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";

/// What a Lync client offers and accepts.
const DESCRIPTION: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                           m=message 5060 sip null\r\na=accept-types:text/plain text/html application/x-ms-ink\r\n";

/// A session as Alice's side knows it.
pub(crate) struct Chat {
    wire: usize,
    pub(crate) call_id: String,
    ours: String,
    theirs: String,
    /// Where requests go: the gateway's Contact.
    target: String,
    number: u32,
}

impl Chat {
    /// Alice invites Bob; he is accepted, and she acknowledges it.
    pub(crate) fn open(house: &mut House, wire: usize) -> Self {
        let (chat, answer) = Self::invite(house, wire, invitation(BOB));
        assert_eq!(answer.status(), Some(200), "{answer}");
        chat.acknowledge(house);
        chat
    }

    /// Without ACK.
    fn invite(house: &mut House, wire: usize, invitation: Request) -> (Self, SipMessage) {
        let answer = house.ask(wire, invitation.bytes());
        (Self::of(wire, &invitation, &answer), answer)
    }

    /// Of an INVITE of hers and its answer.
    pub(crate) fn of(wire: usize, invitation: &Request, answer: &SipMessage) -> Self {
        let (call_id, ours) = (invitation.call_id.clone(), invitation.from.clone());
        let theirs = answer.must("To").unwrap().to_owned();
        let target = answer.header("Contact").unwrap_or("<sip:none>").trim_matches(['<', '>']).to_owned();
        Self { wire, call_id, ours, theirs, target, number: 1 }
    }

    /// One that the gateway has begun, as its INVITE says.
    fn of_gateway(wire: usize, invite: &SipMessage) -> Self {
        Self {
            wire,
            call_id: invite.must("Call-ID").unwrap().to_owned(),
            ours: format!("{};tag=agent", invite.must("To").unwrap()),
            theirs: invite.must("From").unwrap().to_owned(),
            target: invite.address("Contact").unwrap().to_owned(),
            number: 0,
        }
    }

    pub(crate) fn acknowledge(&self, house: &mut House) {
        let ack = self.request("ACK", 1);
        house.send(self.wire, ack.bytes());
    }

    fn request(&self, method: &'static str, number: u32) -> Request {
        Request::new(method, ALICE).set(|request| {
            request.uri.clone_from(&self.target);
            request.call_id.clone_from(&self.call_id);
            (request.from, request.to) = (self.ours.clone(), self.theirs.clone());
            request.cseq = format!("{number} {method}");
        })
    }

    fn next(&mut self, method: &'static str) -> Request {
        self.number += 1;
        self.request(method, self.number)
    }

    /// Alice says something in it.
    pub(crate) fn say(&mut self, house: &mut House, body: &str) -> SipMessage {
        let request = self.next("MESSAGE").with("Content-Type: text/plain;charset=UTF-8").with_body(body);
        house.ask(self.wire, request.bytes())
    }

    pub(crate) fn bye(&mut self, house: &mut House) -> SipMessage {
        let bye = self.next("BYE");
        house.ask(self.wire, bye.bytes())
    }

    pub(crate) fn types(&mut self, house: &mut House, status: &str) -> SipMessage {
        let body = format!("<KeyboardActivity><status status=\"{status}\"/></KeyboardActivity>");
        let request = self.next("INFO").with("Content-Type: application/xml").with_body(body);
        house.ask(self.wire, request.bytes())
    }
}

/// An INVITE of Alice's.
pub(crate) fn invitation(to: &str) -> Request {
    Request::new("INVITE", to)
        .with("Contact: <sip:alice@contoso.com;opaque=user:epid:x;gruu>")
        .with("Supported: timer, ms-embedded-first-message")
        .with("Allow: INVITE, BYE, ACK, CANCEL, INFO, MESSAGE, UPDATE")
        .with("Content-Type: application/sdp")
        .with_body(DESCRIPTION)
}

/// A house whose front end is invited to sessions, and accepts them.
pub(crate) fn house() -> House {
    let mut house = House::planned(Plan { im: Im::Session, ..Plan::default() });
    house.rule = Box::new(accepts);
    house
}

pub(crate) fn accepts(request: &SipMessage) -> Reply {
    match request.method() {
        Some("INVITE") => {
            let contact = ("Contact", "<sip:alice@contoso.com;opaque=user:epid:x;gruu>".to_owned());
            let media = ("Content-Type", "application/sdp".to_owned());
            Reply::Body(200, "OK", vec![contact, media], DESCRIPTION)
        }
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    }
}

pub(crate) fn bob_writes(house: &mut House, id: &str, children: &str) {
    house.partner_says(
        "fabrikam.com",
        &format!(
            "<message from='bob@fabrikam.com/home' to='{ALICE}' id='{id}' type='chat'>{children}</message>"
        ),
    );
}

/// The methods of the requests that reached the front end.
pub(crate) fn methods(requests: &[SipMessage]) -> Vec<&str> {
    requests.iter().filter_map(SipMessage::method).collect()
}
