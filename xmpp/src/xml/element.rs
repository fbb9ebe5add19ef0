use compact_str::CompactString;
use smallvec::SmallVec;

use super::error::ReadError;
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::tree::Tree;
use super::{ns, parse, write};

/// An XML element: name and namespace resolved, prefixes forgotten, neighbouring pieces of text joined.
///
/// Names given to the builder are literals of the program, so only names that were read strictly, or that we wrote
/// ourselves, can stand in one. Text and values may hold anything; the writer escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: CompactString,
    ns: Namespace,
    attrs: SmallVec<[Attribute; 2]>,
    children: SmallVec<[Node; 1]>,
}

/// An attribute. Unprefixed ones are in no namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub(super) name: CompactString,
    pub(super) ns: Namespace,
    pub(super) value: CompactString,
}

/// What an element holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Box<Element>),
    /// Character data, unescaped, never empty.
    Text(CompactString),
}

impl Element {
    /// An empty element.
    pub fn new(name: &'static str, ns: &str) -> Self {
        debug_assert!(super::chars::is_ncname(name), "{name:?} is no XML name");
        Self::from_parts(CompactString::const_new(name), Namespace::new(ns))
    }

    /// Adds or replaces an attribute in no namespace.
    #[must_use]
    pub fn with_attr(mut self, name: &'static str, value: &str) -> Self {
        self.set_attr(name, value);
        self
    }

    /// Adds or replaces an attribute in no namespace, or does nothing.
    #[must_use]
    pub fn with_opt_attr(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with_attr(name, value),
            None => self,
        }
    }

    /// Adds or replaces `xml:lang`.
    #[must_use]
    pub fn with_lang(mut self, lang: &str) -> Self {
        self.put("lang", Namespace::XML, lang);
        self
    }

    /// Adds a child element.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.push_boxed(Box::new(child));
        self
    }

    /// Adds character data.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.push_text(text);
        self
    }

    /// Adds or replaces an attribute in no namespace.
    pub fn set_attr(&mut self, name: &'static str, value: &str) {
        debug_assert!(super::chars::is_ncname(name), "{name:?} is no XML name");
        self.put(name, Namespace::NONE, value);
    }

    /// Reads one whole document: the one hardened path for every XML body (SEC-01).
    ///
    /// The rules are those of a stream: UTF-8, no DTD, no comments, no processing instructions, no entities but the
    /// predefined ones; an XML declaration and white space around the root are fine. A UTF-8 signature (U+FEFF) before
    /// the document is skipped, since files carry it.
    pub fn parse_document(document: &[u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        Tree::read(document, parse::Encoding::Declared, limits)
    }

    /// As [`Element::parse_document`], for a document that is said to be UTF-8 from outside, by a `charset` parameter: what
    /// its XML declaration says of the encoding does not count (RFC 7303 section 3).
    pub fn parse_utf8_document(document: &[u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        Tree::read(document, parse::Encoding::Known, limits)
    }

    /// Appends the element. Namespaces are declared where they differ from `parent_ns`, the default namespace in scope
    /// at the place of writing; element names carry no prefix (S2S-12, SEC-08).
    pub fn write(&self, out: &mut Vec<u8>, parent_ns: &str) {
        write::element(out, self, parent_ns);
    }

    /// Local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace name, empty for none.
    pub fn ns(&self) -> &str {
        self.ns.as_str()
    }

    /// True when the local name and the namespace are these.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name == name && self.ns == *ns
    }

    /// Value of the attribute of that name in no namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|attr| attr.ns.is_none() && attr.name == name).map(Attribute::value)
    }

    /// Value of the attribute of that local name in that namespace.
    pub fn attr_ns(&self, name: &str, ns: &str) -> Option<&str> {
        self.attrs.iter().find(|attr| attr.ns == *ns && attr.name == name).map(Attribute::value)
    }

    /// `xml:lang` of this very element.
    pub fn lang(&self) -> Option<&str> {
        self.attr_ns("lang", ns::XML)
    }

    /// Attributes in document order, without namespace declarations.
    pub fn attrs(&self) -> impl ExactSizeIterator<Item = &Attribute> {
        self.attrs.iter()
    }

    /// Children in document order.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.children.iter()
    }

    /// Child elements in document order.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(child) => Some(&**child),
            Node::Text(_) => None,
        })
    }

    /// First child element of that name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Self> {
        self.elements().find(|child| child.is(name, ns))
    }

    /// The character data of this element, not of its children; empty when there is none.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        let mut pieces = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        let Some(first) = pieces.next() else { return "".into() };
        let Some(second) = pieces.next() else { return first.into() };
        let mut all = String::from(first);
        all.push_str(second);
        pieces.for_each(|piece| all.push_str(piece));
        all.into()
    }

    pub(super) fn from_parts(name: CompactString, ns: Namespace) -> Self {
        Self { name, ns, attrs: SmallVec::new(), children: SmallVec::new() }
    }

    pub(super) fn attrs_mut(&mut self) -> &mut SmallVec<[Attribute; 2]> {
        &mut self.attrs
    }

    pub(super) fn push_boxed(&mut self, child: Box<Self>) {
        if self.children.len() == 1 {
            // Who has two children has four.
            self.children.reserve_exact(3);
        }
        self.children.push(Node::Element(child));
    }

    pub(super) fn push_text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.children.last_mut() {
            Some(Node::Text(last)) => last.push_str(text),
            _ => self.children.push(Node::Text(text.into())),
        }
    }

    fn put(&mut self, name: &'static str, ns: Namespace, value: &str) {
        match self.attrs.iter_mut().find(|attr| attr.name == name && attr.ns == ns) {
            Some(attr) => attr.value = value.into(),
            None => {
                self.attrs.push(Attribute { name: CompactString::const_new(name), ns, value: value.into() })
            }
        }
    }
}

impl Attribute {
    /// Local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace name, empty for none.
    pub fn ns(&self) -> &str {
        self.ns.as_str()
    }

    /// Normalised value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_small() {
        assert!(size_of::<Element>() <= 256, "{}", size_of::<Element>());
        assert_eq!(size_of::<Node>(), 24);
    }

    #[test]
    fn the_builder_replaces_attributes_and_joins_text() {
        let element = Element::new("a", "u").with_attr("b", "1").with_attr("b", "2").with_opt_attr("c", None);
        let element = element.with_lang("en").with_lang("de").with_text("x").with_text("").with_text("y");
        assert_eq!((element.attr("b"), element.attr("c"), element.lang()), (Some("2"), None, Some("de")));
        assert_eq!((element.attrs().len(), element.children().len()), (2, 1));
        let element = element.with_child(Element::new("c", "u")).with_text("z");
        assert_eq!((element.text().as_ref(), element.children().len()), ("xyz", 3));
        assert!(element.is("a", "u") && !element.is("a", "") && !element.is("b", "u"));
    }
}
