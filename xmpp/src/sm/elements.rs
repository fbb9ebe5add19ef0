//! The elements of stream management, read and written.

use std::fmt;

use compact_str::{CompactString, ToCompactString};

use crate::xml::{Element, StartTag, ns};

/// Longest SM-ID that is kept (XEP-0198 §5). A session with a longer one is not resumed.
pub const SM_ID_MAX: usize = 4000;

/// A first-level element of stream management. It is no stanza, and not counted.
///
/// `location` of `<enabled/>` is not read: where a partner is, the administrator and DNS say, not a stream. Nor is `max`: nothing
/// waits for longer than a lane holds it, which is less than any server keeps a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Management {
    /// The initiator wants stream management, and perhaps to be able to resume.
    Enable {
        /// Whether it would like to resume.
        resume: bool,
    },
    /// The responder agrees.
    Enabled {
        /// The name of the session, if it can be resumed.
        resumable: Option<CompactString>,
    },
    /// The initiator wants to go on with an earlier session.
    Resume {
        /// The name of that session.
        session: CompactString,
        /// How many stanzas the initiator has handled in it.
        handled: u32,
    },
    /// The responder agrees.
    Resumed {
        /// The name of that session.
        session: CompactString,
        /// How many stanzas the responder has handled in it.
        handled: u32,
    },
    /// The responder does not agree.
    Failed {
        /// How many stanzas it had handled in a session that it resumes no more.
        handled: Option<u32>,
    },
    /// How many stanzas were handled?
    Request,
    /// So many.
    Answer {
        /// Since the session began, modulo 2³².
        handled: u32,
    },
}

/// An element of stream management that lacks what it has to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Which attribute.
    attribute: &'static str,
}

impl Management {
    /// Reads an element of this namespace. `None`: it is none that is known here.
    ///
    /// # Errors
    /// It has no usable count, or does not name its session.
    pub fn read(element: &Element) -> Option<Result<Self, Malformed>> {
        if element.ns() != ns::STREAM_MANAGEMENT {
            return None;
        }
        Some(match element.name() {
            "enable" => Ok(Self::Enable { resume: flag(element, "resume") }),
            "enabled" => {
                let id = element.attr("id").filter(|id| !id.is_empty() && id.len() <= SM_ID_MAX);
                let resumable = id.filter(|_| flag(element, "resume")).map(CompactString::from);
                Ok(Self::Enabled { resumable })
            }
            "resume" => session(element).map(|(session, handled)| Self::Resume { session, handled }),
            "resumed" => session(element).map(|(session, handled)| Self::Resumed { session, handled }),
            "failed" => Ok(Self::Failed { handled: count(element).ok() }),
            "r" => Ok(Self::Request),
            "a" => count(element).map(|handled| Self::Answer { handled }),
            _ => return None,
        })
    }

    /// Appends the element.
    pub fn write(&self, out: &mut Vec<u8>) {
        let open = |out, name| StartTag::open(out, name).ns(ns::STREAM_MANAGEMENT);
        match self {
            Self::Enable { resume } => {
                open(out, "enable").opt_attr("resume", resume.then_some("true")).empty();
            }
            Self::Enabled { resumable } => {
                let id = resumable.as_deref();
                open(out, "enabled").opt_attr("id", id).opt_attr("resume", id.map(|_| "true")).empty();
            }
            Self::Resume { session, handled } => {
                let handled = handled.to_compact_string();
                open(out, "resume").attr("h", &handled).attr("previd", session).empty();
            }
            Self::Resumed { session, handled } => {
                let handled = handled.to_compact_string();
                open(out, "resumed").attr("h", &handled).attr("previd", session).empty();
            }
            Self::Failed { handled } => {
                let handled = handled.map(|handled| handled.to_compact_string());
                open(out, "failed").opt_attr("h", handled.as_deref()).empty();
            }
            Self::Request => {
                open(out, "r").empty();
            }
            Self::Answer { handled } => {
                open(out, "a").attr("h", &handled.to_compact_string()).empty();
            }
        }
    }

    /// Appends `<failed/>` with a condition of stanza errors (XEP-0198 §6).
    pub fn write_failed(out: &mut Vec<u8>, condition: crate::stanza::Condition) {
        StartTag::open(out, "failed").ns(ns::STREAM_MANAGEMENT).end();
        StartTag::open(out, condition.as_str()).ns(ns::STANZA_ERRORS).empty();
        StartTag::close(out, "failed");
    }
}

/// `xs:boolean`.
fn flag(element: &Element, name: &str) -> bool {
    matches!(element.attr(name).map(str::trim), Some("true" | "1"))
}

/// `xs:unsignedInt`.
fn count(element: &Element) -> Result<u32, Malformed> {
    element.attr("h").and_then(|h| h.trim().parse().ok()).ok_or(Malformed { attribute: "h" })
}

fn session(element: &Element) -> Result<(CompactString, u32), Malformed> {
    let session = element.attr("previd").filter(|id| id.len() <= SM_ID_MAX);
    Ok((session.ok_or(Malformed { attribute: "previd" })?.into(), count(element)?))
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an element of stream management has no usable attribute {}", self.attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &'static str, attributes: &[(&'static str, &str)]) -> Element {
        let element = Element::new(name, ns::STREAM_MANAGEMENT);
        attributes.iter().fold(element, |element, (name, value)| element.with_attr(name, value))
    }

    fn read(name: &'static str, attributes: &[(&'static str, &str)]) -> Result<Management, Malformed> {
        Management::read(&element(name, attributes)).unwrap()
    }

    #[test]
    fn every_element_is_read() {
        let session = CompactString::from("s1");
        for (name, attributes, expected) in [
            ("enable", &[][..], Management::Enable { resume: false }),
            ("enable", &[("resume", "1")], Management::Enable { resume: true }),
            ("enabled", &[("id", "s1")], Management::Enabled { resumable: None }),
            ("enabled", &[("resume", "true")], Management::Enabled { resumable: None }),
            (
                "enabled",
                &[("id", "s1"), ("resume", "true"), ("max", "60")],
                Management::Enabled { resumable: Some(session.clone()) },
            ),
            (
                "resume",
                &[("previd", "s1"), ("h", "0")],
                Management::Resume { session: session.clone(), handled: 0 },
            ),
            ("resumed", &[("previd", "s1"), ("h", "7")], Management::Resumed { session, handled: 7 }),
            ("failed", &[], Management::Failed { handled: None }),
            ("failed", &[("h", "3")], Management::Failed { handled: Some(3) }),
            ("r", &[], Management::Request),
            ("a", &[("h", " 4294967295 ")], Management::Answer { handled: u32::MAX }),
        ] {
            assert_eq!(read(name, attributes), Ok(expected), "{name} {attributes:?}");
        }
    }

    #[test]
    fn a_count_that_is_none_is_malformed() {
        for h in ["", "-1", "4294967296", "1.0", "x"] {
            assert!(read("a", &[("h", h)]).is_err(), "{h}");
        }
        assert!(read("a", &[]).is_err());
        assert!(read("resumed", &[("h", "1")]).is_err(), "no session is named");
    }

    #[test]
    fn a_session_with_too_long_a_name_is_not_resumed() {
        let resumable = |length: usize| match read("enabled", &[("resume", "1"), ("id", &"x".repeat(length))])
        {
            Ok(Management::Enabled { resumable }) => resumable.is_some(),
            other => panic!("{other:?}"),
        };
        assert!(resumable(SM_ID_MAX));
        assert!(!resumable(SM_ID_MAX + 1));
    }

    #[test]
    fn what_is_not_known_is_left_alone() {
        assert_eq!(Management::read(&element("throttle", &[])), None);
        assert_eq!(Management::read(&Element::new("a", "urn:xmpp:sm:2")), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for written in [
            Management::Enable { resume: true },
            Management::Enabled { resumable: Some("a'b".into()) },
            Management::Resume { session: "a<b".into(), handled: 0 },
            Management::Resumed { session: "s".into(), handled: 9 },
            Management::Failed { handled: Some(1) },
            Management::Request,
            Management::Answer { handled: u32::MAX },
        ] {
            let mut bytes = b"<stream:stream xmlns='jabber:server' \
                xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
                .to_vec();
            written.write(&mut bytes);
            let mut reader = crate::xml::StreamReader::new(crate::xml::ReadLimits::AUTHENTICATED);
            reader.push(&bytes);
            reader.next().unwrap();
            let Ok(Some(crate::xml::StreamItem::Element(element))) = reader.next() else {
                panic!("{}", String::from_utf8_lossy(&bytes));
            };
            assert_eq!(Management::read(&element), Some(Ok(written)));
        }
    }
}
