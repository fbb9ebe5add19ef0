//! Delivery receipts (XEP-0184; IM-40) and chat markers (XEP-0333; IM-43).

use nuncio_xmpp::{Element, StartTag, ns};

use super::{Fate, is_id};

/// Namespace of chat markers (XEP-0333).
const MARKERS: &str = "urn:xmpp:chat-markers:0";

/// What a `<message/>` says about receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipts<'a> {
    /// Nothing.
    None,
    /// Its sender wants to know whether the message of this id arrived: its own.
    Request(&'a str),
    /// The message of this id arrived. Nothing else in the stanza is a message.
    Received(&'a str),
}

/// A stanza that says that a message arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub from: &'a str,
    pub to: &'a str,
    /// Of this stanza.
    pub id: &'a str,
    /// Of the message that arrived, as its sender gave it.
    pub of: &'a str,
    /// The type of the message that arrived, which this one has too (§5.4); `None` where it had none.
    pub kind: Option<&'a str>,
}

/// Reads what a message says about receipts.
///
/// An error asks for nothing, nor does group chat, where everybody would answer. A request without an id of the message
/// cannot be answered. What is a receipt asks for none, whatever else stands in it: so nothing goes round in circles (§5.3).
pub fn read(message: &Element) -> Receipts<'_> {
    if is_error(message) {
        return Receipts::None;
    }
    if let Some(received) = message.child("received", ns::RECEIPTS) {
        return received.attr("id").filter(|id| is_id(id)).map_or(Receipts::None, Receipts::Received);
    }
    match message.attr("id").filter(|id| is_id(id)) {
        Some(id) if message.child("request", ns::RECEIPTS).is_some() => Receipts::Request(id),
        _ => Receipts::None,
    }
}

/// Or group chat, where everybody would answer.
fn is_error(message: &Element) -> bool {
    matches!(message.attr("type"), Some("error" | "groupchat"))
}

/// Appends `<request/>`, for a message that has an id.
pub fn write_request(out: &mut Vec<u8>) {
    StartTag::open(out, "request").ns(ns::RECEIPTS).empty();
}

/// Appends `<markable/>`: whether it was displayed is of interest, too (XEP-0333; IM-43).
pub fn write_markable(out: &mut Vec<u8>) {
    StartTag::open(out, "markable").ns(MARKERS).empty();
}

/// What a message that is none says of others: that one arrived, that one was displayed. A marker stands for all messages
/// before the one that it names, too; these are not looked for.
pub fn fates(message: &Element) -> impl Iterator<Item = (Fate, &str)> {
    let received = match read(message) {
        Receipts::Received(id) => Some((Fate::Delivered, id)),
        _ => None,
    };
    let marker = message.child("displayed", MARKERS).filter(|_| !is_error(message));
    let displayed = marker.and_then(|marker| marker.attr("id")).filter(|id| is_id(id));
    received.into_iter().chain(displayed.map(|id| (Fate::Displayed, id)))
}

impl Received<'_> {
    /// Appends the stanza: it holds the receipt and nothing else.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Of any other type no request is taken.
        let kind = self.kind.filter(|kind| matches!(*kind, "chat" | "normal" | "headline"));
        StartTag::open(out, "message")
            .attr("from", self.from)
            .attr("to", self.to)
            .attr("id", self.id)
            .opt_attr("type", kind)
            .end();
        StartTag::open(out, "received").ns(ns::RECEIPTS).attr("id", self.of).empty();
        StartTag::close(out, "message");
    }
}

/// Whether the final answer of SIP says that a message is with the recipient's client: 200 does. 202 says that somebody
/// keeps it, every other one that nobody has it (RFC 3428 §7; IM-08, IM-40).
pub fn is_received(status: u16) -> bool {
    status == 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::ID_MAX;
    use nuncio_xmpp::ReadLimits;

    fn stanza(attributes: &str, children: &str) -> Element {
        let stanza = format!("<message xmlns='jabber:server' {attributes}>{children}</message>");
        Element::parse_document(stanza.as_bytes(), &ReadLimits::default()).unwrap()
    }

    const REQUEST: &str = "<request xmlns='urn:xmpp:receipts'/>";
    const RECEIVED: &str = "<received xmlns='urn:xmpp:receipts' id='their-1'/>";

    #[test]
    fn im_43_markers_are_read_and_errors_and_rooms_mark_nothing() {
        let of = |attributes: &str, children: &str| {
            let stanza = stanza(attributes, children);
            fates(&stanza).map(|(fate, id)| (fate, id.to_owned())).collect::<Vec<_>>()
        };
        let displayed = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>";
        assert_eq!(of("id='a'", displayed), [(Fate::Displayed, "m1".to_owned())]);
        let both = [(Fate::Delivered, "their-1".to_owned()), (Fate::Displayed, "m1".to_owned())];
        assert_eq!(of("", &[RECEIVED, displayed].concat()), both);
        for kind in ["error", "groupchat"] {
            assert_eq!(of(&format!("type='{kind}'"), displayed), []);
        }
        for other in [
            "<markable xmlns='urn:xmpp:chat-markers:0'/>",
            "<displayed xmlns='urn:x' id='m1'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id=''/>",
            // Gone with version 1.0.
            "<received xmlns='urn:xmpp:chat-markers:0' id='m1'/>",
            "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='m1'/>",
        ] {
            assert_eq!(of("", other), [], "{other}");
        }
    }

    #[test]
    fn im_40_a_request_needs_an_id_and_is_no_error() {
        for (attributes, wanted) in [
            ("id='a'", Receipts::Request("a")),
            ("id='a' type='chat'", Receipts::Request("a")),
            ("id='a' type='headline'", Receipts::Request("a")),
            ("id='a' type='error'", Receipts::None),
            ("id='a' type='groupchat'", Receipts::None),
            ("id=''", Receipts::None),
            ("", Receipts::None),
        ] {
            assert_eq!(
                read(&stanza(attributes, &format!("<body>x</body>{REQUEST}"))),
                wanted,
                "{attributes}"
            );
        }
        assert_eq!(read(&stanza("id='a'", "<body>x</body>")), Receipts::None);
        assert_eq!(read(&stanza("id='a'", "<request xmlns='urn:other'/>")), Receipts::None);
        assert_eq!(read(&stanza("id='a'", &format!("<x xmlns='urn:x'>{REQUEST}</x>"))), Receipts::None);
    }

    #[test]
    fn im_40_a_receipt_names_the_message_and_asks_for_none() {
        assert_eq!(read(&stanza("id='b'", RECEIVED)), Receipts::Received("their-1"));
        assert_eq!(read(&stanza("id='b'", &format!("{REQUEST}{RECEIVED}"))), Receipts::Received("their-1"));
        assert_eq!(read(&stanza("id='b' type='error'", RECEIVED)), Receipts::None);
        let without = "<received xmlns='urn:xmpp:receipts'/>";
        assert_eq!(read(&stanza("id='b'", &format!("{without}{REQUEST}"))), Receipts::None);
        let long = |length| format!("<received xmlns='urn:xmpp:receipts' id='{}'/>", "x".repeat(length));
        assert!(matches!(read(&stanza("", &long(ID_MAX))), Receipts::Received(_)));
        assert_eq!(read(&stanza("", &long(ID_MAX + 1))), Receipts::None);
    }

    #[test]
    fn im_40_what_is_written_holds_the_receipt_and_nothing_else() {
        for (kind, attribute) in
            [(Some("chat"), " type='chat'"), (None, ""), (Some("groupchat"), ""), (Some("x"), "")]
        {
            let mut out = Vec::new();
            Received { from: "a@b", to: "c@d/e", id: "1", of: "<their>", kind }.write(&mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!(
                    "<message from='a@b' to='c@d/e' id='1'{attribute}>\
                     <received xmlns='urn:xmpp:receipts' id='&lt;their&gt;'/></message>"
                )
            );
        }
    }

    #[test]
    fn im_40_only_200_is_an_arrival() {
        let arrived: Vec<u16> = (100..700).filter(|status| is_received(*status)).collect();
        assert_eq!(arrived, [200]);
    }

    #[test]
    fn a_request_is_read_as_it_is_written() {
        let mut out = Vec::new();
        write_request(&mut out);
        let message = stanza("id='a'", std::str::from_utf8(&out).unwrap());
        assert_eq!(read(&message), Receipts::Request("a"));
    }
}
