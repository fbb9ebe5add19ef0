//! What goes to and fro around a pair, written and read.

use nuncio_sip::{HeaderName, Message};
use nuncio_translate::pair::{Request, ToXmpp};
use nuncio_translate::presence::Format;
use nuncio_xmpp::{Element, Jid, ReadLimits};

use super::{CONTACT, USER};

/// `type resource show`, without what is not there.
pub(crate) fn told(stanza: &ToXmpp) -> String {
    let element = parse(stanza);
    let from = Jid::parse(element.attr("from").unwrap()).unwrap();
    let show = element.child("show", nuncio_xmpp::ns::SERVER).map(Element::text).unwrap_or_default();
    let words = [element.attr("type").unwrap_or("available"), from.resource().unwrap_or_default(), &show];
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

pub(crate) fn parse(stanza: &ToXmpp) -> Element {
    let text = String::from_utf8(stanza.stanza.clone()).unwrap();
    let text = text.replacen("<presence", "<presence xmlns='jabber:server'", 1);
    Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap()
}

pub(crate) fn message(request: &Request) -> Message {
    Message::parse(request.request.bytes().clone()).unwrap()
}

pub(crate) fn expires(request: &Request) -> Option<u32> {
    message(request).expires().unwrap()
}

pub(crate) fn state_of(request: &Request) -> String {
    message(request).header(HeaderName::SubscriptionState).unwrap_or_default().to_owned()
}

pub(crate) fn body(request: &Request) -> String {
    String::from_utf8(message(request).body().to_vec()).unwrap()
}

pub(crate) fn response(request: &Request, status: u16, headers: &str) -> Message {
    let request = message(request);
    let field = |name| request.header(name).unwrap();
    let to = field(HeaderName::To);
    let tag = if to.contains(";tag=") { "" } else { ";tag=fe" };
    let text = format!(
        "SIP/2.0 {status} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:fe.contoso.example;transport=tls>\r\n{headers}Content-Length: 0\r\n\r\n",
        field(HeaderName::Via),
        field(HeaderName::From),
        field(HeaderName::CallId),
        field(HeaderName::CSeq),
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

/// A dialog as the SIP side sees it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) call_id: String,
    /// Ours, that is the SIP side's.
    pub(crate) tag: String,
    pub(crate) gateway_tag: String,
    pub(crate) cseq: u32,
    pub(crate) subscriber: bool,
}

impl Remote {
    /// The dialog that a SUBSCRIBE of the gateway makes at the front end.
    pub(crate) fn of(request: &Request, tag: &str) -> Self {
        let message = message(request);
        Self {
            call_id: message.call_id().unwrap().to_owned(),
            tag: tag.to_owned(),
            gateway_tag: message.from_header().unwrap().tag().unwrap().to_owned(),
            cseq: 0,
            subscriber: false,
        }
    }

    /// A dialog that an endpoint begins.
    pub(crate) fn endpoint(call_id: &str) -> Self {
        Self {
            call_id: call_id.to_owned(),
            tag: format!("{call_id}-tag"),
            gateway_tag: String::new(),
            cseq: 0,
            subscriber: true,
        }
    }

    pub(crate) fn notify(&mut self, state: &str, document: &str) -> Message {
        self.notify_in(Format::Pidf, state, document)
    }

    pub(crate) fn notify_in(&mut self, format: Format, state: &str, document: &str) -> Message {
        let media = match document {
            "" => String::new(),
            _ => format!("Content-Type: {}\r\n", format.media_type()),
        };
        self.request("NOTIFY", &format!("Subscription-State: {state}\r\n{media}"), document)
    }

    pub(crate) fn subscribe(&mut self, expires: u32) -> Message {
        self.subscribe_for(Format::Pidf, expires)
    }

    pub(crate) fn subscribe_for(&mut self, format: Format, expires: u32) -> Message {
        let media = format.media_type();
        self.request("SUBSCRIBE", &format!("Expires: {expires}\r\nAccept: {media}\r\n"), "")
    }

    /// With everything that Lync adds.
    pub(crate) fn subscribe_with_extras(&mut self, expires: u32) -> Message {
        let media = Format::Pidf.media_type();
        let headers = format!(
            "Expires: {expires}\r\nAccept: {media}\r\nSupported: com.microsoft.autoextend, ms-benotify, \
             ms-piggyback-first-notify\r\nProxy-Require: ms-benotify\r\n"
        );
        self.request("SUBSCRIBE", &headers, "")
    }

    fn request(&mut self, method: &str, headers: &str, body: &str) -> Message {
        self.cseq += 1;
        let Self { call_id, tag, gateway_tag, cseq, .. } = self;
        let to = if gateway_tag.is_empty() { String::new() } else { format!(";tag={gateway_tag}") };
        let text = format!(
            "{method} sip:{CONTACT} SIP/2.0\r\nVia: SIP/2.0/TLS fe.contoso.example;branch=z9hG4bK{call_id}{cseq}\r\n\
             From: <sip:{USER}>;tag={tag}\r\nTo: <sip:{CONTACT}>{to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:fe.contoso.example;transport=tls>\r\n\
             Event: presence\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }
}

/// A document with these resources: id, open, show, note.
pub(crate) fn pidf(tuples: &[(&str, bool, &str, &str)]) -> String {
    let tuple = |(id, open, show, note): &(&str, bool, &str, &str)| {
        let basic = if *open { "open" } else { "closed" };
        let show = if show.is_empty() {
            String::new()
        } else {
            format!("<show xmlns='jabber:client'>{show}</show>")
        };
        let note = if note.is_empty() { String::new() } else { format!("<note>{note}</note>") };
        format!("<tuple id='ID-{id}'><status><basic>{basic}</basic>{show}</status>{note}</tuple>")
    };
    let tuples: String = tuples.iter().map(tuple).collect();
    format!("<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:{USER}'>{tuples}</presence>")
}
