//! Delivery receipts (XEP-0184; IM-40).

use nuncio_xmpp::{Element, StartTag, ns};

use super::is_id;

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
    if matches!(message.attr("type"), Some("error" | "groupchat")) {
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

/// Appends `<request/>`, for a message that has an id.
pub fn write_request(out: &mut Vec<u8>) {
    StartTag::open(out, "request").ns(ns::RECEIPTS).empty();
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
