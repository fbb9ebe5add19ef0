use super::condition::Condition;
use crate::xml::Element;

/// What an `<iq/>` asks for, or answers (RFC 6120 section 8.2.3, XI-12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IqVerdict<'a> {
    /// A request; every one must be answered.
    Request {
        /// Read or change.
        kind: IqKind,
        /// To be mirrored in the answer (XI-13).
        id: &'a str,
        /// The one child.
        payload: &'a Element,
    },
    /// An answer to one of our requests; never answered.
    Result {
        /// The id of our request.
        id: &'a str,
        /// What it brings.
        payload: Option<&'a Element>,
    },
    /// An error in answer to one of our requests; never answered.
    Error {
        /// The id of our request.
        id: &'a str,
    },
    /// A request that breaks the rules: answer it with this condition.
    Refuse(Condition),
    /// Breaks the rules and cannot or must not be answered.
    Ignore,
}

/// The two kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IqKind {
    /// `get`
    Get,
    /// `set`
    Set,
}

/// Applies the rules for `<iq/>` to an element that is one.
pub fn check_iq(iq: &Element) -> IqVerdict<'_> {
    let id = iq.attr("id").filter(|id| !id.is_empty());
    let mut children = iq.elements();
    let (first, more) = (children.next(), children.next().is_some());
    let kind = match iq.attr("type") {
        Some("get") => IqKind::Get,
        Some("set") => IqKind::Set,
        Some("result") => {
            return match id {
                Some(id) if !more => IqVerdict::Result { id, payload: first },
                _ => IqVerdict::Ignore,
            };
        }
        Some("error") => return id.map_or(IqVerdict::Ignore, |id| IqVerdict::Error { id }),
        _ => return IqVerdict::Refuse(Condition::BadRequest),
    };
    match (id, first, more) {
        (Some(id), Some(payload), false) => IqVerdict::Request { kind, id, payload },
        _ => IqVerdict::Refuse(Condition::BadRequest),
    }
}
