/// What one stream, or one document, may cost while it is being read (SEC-02, SEC-03, SEC-04).
///
/// Every limit is inclusive: exactly the limit passes, one more is refused. Sizes count octets as they arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Octets of one first-level element, from its `<` to its `>`; also of everything up to the end of the stream header.
    /// RFC 6120 section 13.12 forbids anything below 10,000 for authenticated peers.
    pub stanza: usize,
    /// Octets of one tag, from `<` to `>`.
    pub tag: usize,
    /// Depth of nesting; a first-level element without children has depth 1. Trees are written and dropped by recursion:
    /// nothing above a few hundred is sensible.
    pub depth: usize,
    /// Elements in one first-level element, itself included.
    pub elements: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Octets of one element name, attribute name or prefix.
    pub name: usize,
    /// Octets of one namespace name.
    pub namespace: usize,
    /// Namespace declarations in scope at any one element, those of the stream header included.
    pub declarations: usize,
}

impl ReadLimits {
    /// For peers that have proved who they are.
    pub const AUTHENTICATED: Self = Self {
        stanza: 512 * 1024,
        tag: 64 * 1024,
        depth: 32,
        elements: 4096,
        attributes: 64,
        name: 256,
        namespace: 1024,
        declarations: 64,
    };

    /// For peers that have not: enough for features, STARTTLS, SASL and dialback with the longest of domains.
    pub const BEFORE_AUTHENTICATION: Self = Self {
        stanza: 16 * 1024,
        tag: 8 * 1024,
        depth: 8,
        elements: 128,
        attributes: 32,
        name: 128,
        namespace: 512,
        declarations: 32,
    };
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self::AUTHENTICATED
    }
}
