use compact_str::CompactString;

use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::ns;
use super::scope::{self, Scope};
use super::tag::{self, QName, RawAttributes};
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

/// Reads the tag of a stream header. Leaves its declarations in `scope` and returns, besides the facts, the name that the
/// closing tag has to repeat.
pub(super) fn read(
    bytes: &[u8],
    scope: &mut Scope,
    limits: &ReadLimits,
) -> Result<(StreamHeader, CompactString), ReadError> {
    let inner = scope::decode(bytes)?.strip_prefix('<').and_then(|tag| tag.strip_suffix('>'));
    let inner = inner.ok_or(ReadErrorKind::Markup)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let (written, raw) = inner.split_at(inner.find([' ', '\t', '\n', '\r']).unwrap_or(inner.len()));
    let name = QName::parse(written, limits)?;
    let mut attributes = RawAttributes::new();
    tag::attributes(raw, limits, &mut attributes)?;
    scope.declare(&attributes, limits)?;
    let stream_ns = scope.element(name)?;
    let mut header = StreamHeader {
        name: name.local.into(),
        content_ns: scope.default_namespace().filter(|default| *default != *ns::STREAMS),
        dialback_ns: scope.declares(ns::DIALBACK),
        stream_ns,
        stream_prefix: (!name.prefix.is_empty()).then(|| name.prefix.into()),
        from: None,
        to: None,
        id: None,
        version: None,
        lang: None,
    };
    let mut seen: smallvec::SmallVec<[(&str, Namespace); 8]> = smallvec::SmallVec::new();
    for (name, raw) in &attributes {
        if name.declared().is_some() {
            continue;
        }
        let attribute = (name.local, scope.attribute(*name)?);
        if seen.contains(&attribute) {
            return Err(ReadErrorKind::DuplicateAttribute.into());
        }
        let value = tag::value(raw)?;
        match (attribute.1.as_str(), name.local) {
            ("", "from") => header.from = Some(value.into()),
            ("", "to") => header.to = Some(value.into()),
            ("", "id") => header.id = Some(value.into()),
            ("", "version") => header.version = version(&value),
            (ns::XML, "lang") => header.lang = Some(value.into()),
            _ => {}
        }
        seen.push(attribute);
    }
    Ok((header, written.into()))
}

/// Checks the tag that closes the stream.
pub(super) fn check_close(bytes: &[u8], root: &str) -> Result<(), ReadError> {
    let name = scope::decode(bytes)?
        .strip_prefix("</")
        .and_then(|tag| tag.strip_suffix('>'))
        .map(|name| name.trim_end_matches([' ', '\t', '\n', '\r']));
    if name == Some(root) { Ok(()) } else { Err(ReadErrorKind::EndTag.into()) }
}

/// Two numbers, compared as numbers, leading zeros ignored (S2S-15).
fn version(value: &str) -> Option<(u32, u32)> {
    let number = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let (major, minor) = value.split_once('.')?;
    Some((number(major)?, number(minor)?))
}
