use compact_str::CompactString;

use super::namespace::Namespace;
use super::ns;
use crate::conditions::StreamCondition;

/// The opening tag of a stream, as facts. Well-formedness is settled; whether it is the header of *our* kind of stream is
/// what [`StreamHeader::check`] says, so that a refusal can still be addressed to the one who asked (S2S-16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// Local name of the root element; `stream` on every honest stream.
    pub name: CompactString,
    /// Namespace of the root element.
    pub stream_ns: Namespace,
    /// Its prefix; RFC 6120 allows any, and none (S2S-11, S2S-12).
    pub stream_prefix: Option<CompactString>,
    /// The default namespace declared beside it, which is the content namespace. `None` in the prefix-free style, where
    /// every stanza declares its own (S2S-11).
    pub content_ns: Option<Namespace>,
    /// True when the dialback namespace is declared (XEP-0220 section 2.3), which is how servers before 1.0 announce it.
    pub dialback_ns: bool,
    /// `from`, as sent.
    pub from: Option<CompactString>,
    /// `to`, as sent.
    pub to: Option<CompactString>,
    /// `id`, as sent. An initiator's is to be ignored (S2S-14).
    pub id: Option<CompactString>,
    /// `version` as (major, minor). `None` when missing, which means 0.9, or when it is not two numbers (S2S-15).
    pub version: Option<(u32, u32)>,
    /// `xml:lang`, which stanzas without their own inherit.
    pub lang: Option<CompactString>,
}

impl StreamHeader {
    /// Judges name and namespaces for a server-to-server stream (S2S-10). Addresses and version are the caller's to judge.
    pub fn check(&self) -> Result<(), StreamCondition> {
        if self.stream_ns != *ns::STREAMS {
            return Err(StreamCondition::InvalidNamespace);
        }
        if self.name != "stream" {
            return Err(StreamCondition::BadFormat);
        }
        match &self.content_ns {
            Some(content) if *content != *ns::SERVER => Err(StreamCondition::InvalidNamespace),
            _ => Ok(()),
        }
    }

    /// True when the peer speaks XMPP 1.0 or later, that is, expects stream features (S2S-15).
    pub fn has_features(&self) -> bool {
        self.version.is_some_and(|(major, _)| major >= 1)
    }
}
