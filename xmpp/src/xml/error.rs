use thiserror::Error;

use crate::conditions::StreamCondition;

/// Why what arrived is not acceptable XML. A stream on which this happened is over; see [`ReadError::stream_condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct ReadError {
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// The reasons for refusing XML, grouped by the stream condition they lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ReadErrorKind {
    // --- not-well-formed (RFC 6120 section 11.3)
    /// A character outside the XML 1.0 `Char` production, raw or as a reference.
    #[error("a character that XML does not allow")]
    Character,
    /// An element, attribute or prefix name that is not a (namespace-well-formed) name.
    #[error("a name that is not an XML name")]
    Name,
    /// A tag, attribute, reference or section that does not follow the grammar.
    #[error("broken markup")]
    Markup,
    /// The end tag does not match the start tag.
    #[error("an end tag that does not match its start tag")]
    EndTag,
    /// The same attribute twice, by name or by expanded name.
    #[error("the same attribute twice")]
    DuplicateAttribute,
    /// `]]>` in character data.
    #[error("the end of a CDATA section where none is open")]
    CdataEnd,
    /// A prefix nobody declared.
    #[error("an undeclared namespace prefix")]
    UnboundPrefix,
    /// A namespace declaration that XML Namespaces forbids (`xmlns:a=''`, rebinding `xml` …).
    #[error("a namespace declaration that is not allowed")]
    Declaration,
    // --- bad-format (RFC 6120 section 4.9.3.1)
    /// Text between first-level elements, or anything but a start tag where the stream header should be.
    #[error("something other than an element at the first level of the stream")]
    StrayContent,
    // --- restricted-xml (RFC 6120 section 11.1)
    /// A comment.
    #[error("a comment")]
    Comment,
    /// A processing instruction, or an XML declaration anywhere but at the start.
    #[error("a processing instruction")]
    ProcessingInstruction,
    /// A document type declaration.
    #[error("a document type declaration")]
    Doctype,
    /// A reference to an entity other than the five predefined ones.
    #[error("a reference to an entity that is not predefined")]
    EntityReference,
    // --- unsupported-encoding (RFC 6120 section 11.6)
    /// Bytes that are not UTF-8, or an XML declaration naming another encoding.
    #[error("an encoding other than UTF-8")]
    Encoding,
    // --- policy-violation (RFC 6120 section 13.12)
    /// [`ReadLimits::stanza`](super::ReadLimits::stanza) exceeded.
    #[error("an element larger than allowed")]
    StanzaTooBig,
    /// [`ReadLimits::tag`](super::ReadLimits::tag) exceeded.
    #[error("a tag longer than allowed")]
    TagTooLong,
    /// [`ReadLimits::depth`](super::ReadLimits::depth) exceeded.
    #[error("elements nested deeper than allowed")]
    TooDeep,
    /// [`ReadLimits::elements`](super::ReadLimits::elements) exceeded.
    #[error("more elements in one stanza than allowed")]
    TooManyElements,
    /// [`ReadLimits::attributes`](super::ReadLimits::attributes) exceeded.
    #[error("more attributes in one element than allowed")]
    TooManyAttributes,
    /// [`ReadLimits::name`](super::ReadLimits::name) or [`ReadLimits::namespace`](super::ReadLimits::namespace) exceeded.
    #[error("a name longer than allowed")]
    NameTooLong,
    /// [`ReadLimits::declarations`](super::ReadLimits::declarations) exceeded.
    #[error("more namespace declarations than allowed")]
    TooManyDeclarations,
    // --- documents only
    /// The document ends before its root element does, or holds nothing.
    #[error("the document is not complete")]
    Incomplete,
}

impl ReadError {
    /// The condition of the stream error that the peer is sent.
    pub fn stream_condition(&self) -> StreamCondition {
        use ReadErrorKind as K;
        match self.kind {
            K::Character
            | K::Name
            | K::Markup
            | K::EndTag
            | K::DuplicateAttribute
            | K::CdataEnd
            | K::UnboundPrefix
            | K::Declaration
            | K::Incomplete => StreamCondition::NotWellFormed,
            K::StrayContent => StreamCondition::BadFormat,
            K::Comment | K::ProcessingInstruction | K::Doctype | K::EntityReference => {
                StreamCondition::RestrictedXml
            }
            K::Encoding => StreamCondition::UnsupportedEncoding,
            K::StanzaTooBig
            | K::TagTooLong
            | K::TooDeep
            | K::TooManyElements
            | K::TooManyAttributes
            | K::NameTooLong
            | K::TooManyDeclarations => StreamCondition::PolicyViolation,
        }
    }

    /// True when `<stanza-too-big xmlns='urn:xmpp:errors'/>` belongs into the stream error (SEC-02, DEC-19).
    pub fn is_too_big(&self) -> bool {
        matches!(self.kind, ReadErrorKind::StanzaTooBig | ReadErrorKind::TagTooLong)
    }
}

impl From<ReadErrorKind> for ReadError {
    fn from(kind: ReadErrorKind) -> Self {
        Self { kind }
    }
}
