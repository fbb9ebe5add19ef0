use crate::named::named;
use crate::stanza::ErrorType;
use crate::stream::PeerText;
use crate::xml::{Element, ns};

macro_rules! dialback_conditions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $type:ident;)*) => {
        named! {
            /// The conditions of dialback errors (XEP-0220 §2.5). One of them is no stanza error condition, though it
            /// stands in that namespace.
            pub enum DialbackCondition {
                $($(#[$doc])* $variant = $name,)*
            }
        }

        impl DialbackCondition {
            /// The condition of that name; any other is [`DialbackCondition::Undefined`].
            pub fn read(name: &str) -> Self {
                Self::from_name(name).unwrap_or(Self::Undefined)
            }

            /// The `type` of the error.
            pub(super) fn error_type(self) -> ErrorType {
                match self { $(Self::$variant => ErrorType::$type,)* }
            }
        }
    };
}

dialback_conditions! {
    /// The target domain is not served there.
    ItemNotFound = "item-not-found", Cancel;
    /// The authoritative server could not be reached.
    RemoteConnectionFailed = "remote-connection-failed", Cancel;
    /// The authoritative server could not be found, or does not serve the sender domain.
    RemoteServerNotFound = "remote-server-not-found", Cancel;
    /// The authoritative server did not answer, or the connection to it broke.
    RemoteServerTimeout = "remote-server-timeout", Wait;
    /// TLS comes before dialback here.
    PolicyViolation = "policy-violation", Cancel;
    /// A certificate is required.
    NotAuthorized = "not-authorized", Auth;
    /// The authoritative server says that the key is not its own.
    Forbidden = "forbidden", Auth;
    /// The asserted identity could not be established.
    NotAcceptable = "not-acceptable", Cancel;
    /// There is no room for one more domain pair on this stream.
    ResourceConstraint = "resource-constraint", Wait;
    /// Any other.
    Undefined = "undefined-condition", Cancel;
}

/// A dialback error that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialbackError {
    /// Its condition.
    pub condition: DialbackCondition,
    /// Its text.
    pub text: Option<PeerText>,
}

impl DialbackError {
    /// Reads what a `db:result` or `db:verify` of type `error` holds.
    pub(super) fn read(element: &Element) -> Self {
        let mut read = Self { condition: DialbackCondition::Undefined, text: None };
        // In the content namespace; some servers leave it in dialback's.
        let error = element.elements().find(|child| child.name() == "error");
        let mut seen = false;
        for child in error.iter().flat_map(|error| error.elements()).filter(|e| e.ns() == ns::STANZA_ERRORS) {
            if child.name() == "text" {
                read.text = Some(PeerText::new(&child.text()));
            } else if !seen {
                seen = true;
                read.condition = DialbackCondition::read(child.name());
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn db_11_every_condition_is_read_back_by_its_name() {
        for &condition in DialbackCondition::ALL {
            assert_eq!(DialbackCondition::read(condition.as_str()), condition);
        }
        assert_eq!(DialbackCondition::read("from-the-future"), DialbackCondition::Undefined);
    }

    #[test]
    fn db_11_an_error_without_a_condition_is_undefined() {
        let element = Element::new("result", ns::DIALBACK).with_attr("type", "error");
        let undefined = DialbackError { condition: DialbackCondition::Undefined, text: None };
        assert_eq!(DialbackError::read(&element), undefined);
        let element = element.with_child(Element::new("error", ns::SERVER).with_text("?"));
        assert_eq!(DialbackError::read(&element), undefined);
    }
}
