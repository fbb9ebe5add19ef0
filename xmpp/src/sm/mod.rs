//! Stream management (XEP-0198, `urn:xmpp:sm:3`): which stanzas of a stream its receiver has *handled*.
//!
//! Handled means that the receiver has taken the stanza upon itself; until then its sender answers for it. Each side
//! numbers the stanzas of a stream, from `<enable/>` on and without saying so, and the receiver tells how far it is
//! with `<a h='…'/>`, asked by `<r/>` or of its own accord. The numbers are 32 bits wide and go round.
//!
//! * Where we send, the [lane](crate::lane) speaks it: the acknowledgement is the proof that answers a sender, and a
//!   lost stream can be resumed.
//! * Where we receive, [`Handled`] says what is acknowledged and when, and [`Settled`] knows which stanzas that are, in
//!   whatever order they were done with. On a stream the peer opened, [`Responder`] agrees upon it.

mod elements;
mod handled;
mod responder;
mod settled;

use std::fmt;

pub use elements::{Malformed, Management, SM_ID_MAX};
pub use handled::Handled;
pub use responder::Responder;
pub use settled::Settled;

use crate::conditions::StreamCondition;
use crate::xml::{StartTag, ns};

/// A use of stream management that ends the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The peer says that it has handled more than it was sent (XEP-0198 §6). A count that goes back is the same,
    /// because counts go round.
    TooHigh {
        /// What it says.
        handled: u32,
        /// How many it was sent.
        sent: u32,
    },
    /// An element without what it has to carry.
    Malformed(Malformed),
    /// `<enable/>` on a stream on which stream management is enabled (XEP-0198 §3).
    EnabledTwice,
    /// What makes no sense where it came, for the second time.
    Unexpected,
    /// `<resumed/>` that is no answer to what was asked.
    Unasked,
}

impl From<Malformed> for Misuse {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl Misuse {
    /// The stream error the peer gets.
    pub fn condition(&self) -> StreamCondition {
        match self {
            Self::TooHigh { .. } | Self::Unasked => StreamCondition::UndefinedCondition,
            Self::Malformed(_) => StreamCondition::BadFormat,
            Self::EnabledTwice | Self::Unexpected => StreamCondition::PolicyViolation,
        }
    }

    /// Appends that stream error. The prefix `stream` must be in scope, as our own headers declare it.
    pub fn write(&self, out: &mut Vec<u8>) {
        StartTag::open(out, "stream:error").end();
        StartTag::open(out, self.condition().as_str()).ns(ns::STREAM_ERRORS).empty();
        StartTag::open(out, "text").ns(ns::STREAM_ERRORS).attr("xml:lang", "en").end();
        out.extend_from_slice(self.to_string().as_bytes());
        StartTag::close(out, "text");
        if let Self::TooHigh { handled, sent } = self {
            StartTag::open(out, "handled-count-too-high")
                .ns(ns::STREAM_MANAGEMENT)
                .attr("h", &handled.to_string())
                .attr("send-count", &sent.to_string())
                .empty();
        }
        StartTag::close(out, "stream:error");
    }
}

/// Nothing in these words comes from a peer, nor needs escaping.
impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooHigh { handled, sent } => {
                write!(f, "{handled} stanzas were acknowledged, and {sent} were sent")
            }
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::EnabledTwice => f.write_str("stream management was enabled already"),
            Self::Unexpected => f.write_str("stream management was used where it is not enabled"),
            Self::Unasked => f.write_str("a session was resumed that nobody wanted to resume"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::StreamError;
    use crate::xml::{ReadLimits, StreamItem, StreamReader};

    #[test]
    fn sm_01_too_high_a_count_is_told_with_both_counts() {
        let mut out =
            b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
            version='1.0'>"
                .to_vec();
        Misuse::TooHigh { handled: 10, sent: 8 }.write(&mut out);
        let mut reader = StreamReader::new(ReadLimits::AUTHENTICATED);
        reader.push(&out);
        let StreamItem::Header(_) = reader.next().unwrap().unwrap() else { panic!("no header") };
        let StreamItem::Element(element) = reader.next().unwrap().unwrap() else { panic!("no element") };
        let error = StreamError::from_element(&element).unwrap();
        assert_eq!(error.condition, StreamCondition::UndefinedCondition);
        assert_eq!(error.text.as_deref(), Some("10 stanzas were acknowledged, and 8 were sent"));
        let counts = element.child("handled-count-too-high", ns::STREAM_MANAGEMENT).unwrap();
        assert_eq!((counts.attr("h"), counts.attr("send-count")), (Some("10"), Some("8")));
    }
}
