use nuncio_xmpp::{Element, StartTag, ns};

use super::Typing;

/// What a contact does in a conversation (XEP-0085 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatState {
    Active,
    Composing,
    Paused,
    Inactive,
    Gone,
}

/// A message that says nothing but a state (XEP-0085 §5.5).
#[derive(Clone, Copy, Debug)]
pub struct Standalone<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub id: &'a str,
    /// Of the conversation, if it has one.
    pub thread: Option<&'a str>,
    pub state: ChatState,
}

impl ChatState {
    const ALL: [Self; 5] = [Self::Active, Self::Composing, Self::Paused, Self::Inactive, Self::Gone];

    /// The state in a `<message/>`. `None` without one, in an error, in group chat, and where there are several, which is
    /// none that anybody may send (XEP-0085 §5.5).
    pub fn of(message: &Element) -> Option<Self> {
        if matches!(message.attr("type"), Some("error" | "groupchat")) {
            return None;
        }
        let mut states = message.elements().filter(|child| child.ns() == ns::CHAT_STATES);
        let only = states.next().filter(|_| states.next().is_none())?;
        Self::ALL.into_iter().find(|state| state.name() == only.name())
    }

    /// Appends the element.
    pub fn write(self, out: &mut Vec<u8>) {
        StartTag::open(out, self.name()).ns(ns::CHAT_STATES).empty();
    }

    /// What it means for somebody who only knows typing (RFC 7573 §6.1).
    pub fn typing(self) -> Typing {
        match self {
            Self::Composing => Typing::Active,
            Self::Active | Self::Paused | Self::Inactive | Self::Gone => Typing::Idle,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Composing => "composing",
            Self::Paused => "paused",
            Self::Inactive => "inactive",
            Self::Gone => "gone",
        }
    }
}

impl Standalone<'_> {
    /// Appends the stanza: the state, the thread, and nothing else (IM-34).
    pub fn write(&self, out: &mut Vec<u8>) {
        StartTag::open(out, "message")
            .attr("from", self.from)
            .attr("to", self.to)
            .attr("id", self.id)
            .attr("type", "chat")
            .end();
        self.state.write(out);
        if let Some(thread) = self.thread {
            StartTag::text_element(out, "thread", thread);
        }
        StartTag::close(out, "message");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_xmpp::ReadLimits;

    fn state(attributes: &str, children: &str) -> Option<ChatState> {
        let stanza = format!("<message xmlns='jabber:server' {attributes}>{children}</message>");
        ChatState::of(&Element::parse_document(stanza.as_bytes(), &ReadLimits::default()).unwrap())
    }

    #[test]
    fn im_34_every_state_is_known_in_messages_with_and_without_content() {
        for known in ChatState::ALL {
            let element = format!("<{} xmlns='http://jabber.org/protocol/chatstates'/>", known.name());
            assert_eq!(state("type='chat'", &element), Some(known));
            assert_eq!(state("", &format!("<body>x</body>{element}<thread>t</thread>")), Some(known));
            assert_eq!(state("type='error'", &element), None);
            assert_eq!(state("type='groupchat'", &element), None);
        }
    }

    #[test]
    fn im_34_anything_else_is_no_state() {
        let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        for children in [
            "",
            "<composing/>",
            "<composing xmlns='urn:other'/>",
            "<typing xmlns='http://jabber.org/protocol/chatstates'/>",
            &format!("{composing}<active xmlns='http://jabber.org/protocol/chatstates'/>"),
            &format!("<x xmlns='urn:x'>{composing}</x>"),
        ] {
            assert_eq!(state("type='chat'", children), None, "{children}");
        }
    }

    #[test]
    fn im_34_a_standalone_state_carries_the_thread_and_nothing_else() {
        let mut out = Vec::new();
        let state = ChatState::Composing;
        Standalone { from: "a@b", to: "c@d/e", id: "1", thread: Some("t"), state }.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<message from='a@b' to='c@d/e' id='1' type='chat'>\
             <composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread></message>"
        );
    }
}
