use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::ns;
use super::parse::{self, Builder};

/// A document to be looked at and dropped: names, values and text stand in the bytes it was read from, unless a reference
/// or a line end had to be resolved in them. What an [`Element`](super::Element) takes for each element and each text, this
/// takes once.
///
/// What is refused, and why, and what is found inside are the same.
///
/// ```
/// use nuncio_xmpp::{Document, ReadLimits};
/// let bytes = b"<note xmlns='urn:x' to='juliet'>It is the <b>east</b>.</note>";
/// let Ok(document) = Document::parse(bytes, &ReadLimits::default()) else { panic!("a document") };
/// let note = document.root();
/// assert!(note.is("note", "urn:x"));
/// assert_eq!((note.attr("to"), &*note.text()), (Some("juliet"), "It is the ."));
/// assert_eq!(note.child("b", "urn:x").map(|b| b.text()).as_deref(), Some("east"));
/// ```
#[derive(Debug, Clone)]
pub struct Document<'a> {
    root: Tag<'a>,
    /// What the root contains, each element before what it contains.
    nodes: Vec<Node<'a>>,
    /// Of all elements, in the same order.
    attrs: Vec<Attr<'a>>,
}

/// An element of a [`Document`]: name and namespace resolved, prefixes forgotten.
#[derive(Debug, Clone, Copy)]
pub struct ElementRef<'d> {
    tag: &'d Tag<'d>,
    inside: &'d [Node<'d>],
    /// Those of the whole document.
    attrs: &'d [Attr<'d>],
}

#[derive(Debug, Clone)]
enum Node<'a> {
    Element(Tag<'a>),
    /// Unescaped, never empty.
    Text(Cow<'a, str>),
}

#[derive(Debug, Clone)]
struct Tag<'a> {
    name: &'a str,
    ns: Namespace,
    attrs: Range<usize>,
    /// How many of the nodes that follow are inside.
    inside: usize,
}

#[derive(Debug, Clone)]
struct Attr<'a> {
    name: &'a str,
    ns: Namespace,
    value: Cow<'a, str>,
}

impl<'a> Document<'a> {
    /// Reads one whole document, as [`Element::parse_document`](super::Element::parse_document) does.
    pub fn parse(document: &'a [u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        Draft::read(document, parse::Encoding::Declared, limits)
    }

    /// As [`Element::parse_utf8_document`](super::Element::parse_utf8_document).
    pub fn parse_utf8(document: &'a [u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        Draft::read(document, parse::Encoding::Known, limits)
    }

    /// The element around everything.
    pub fn root(&self) -> ElementRef<'_> {
        ElementRef { tag: &self.root, inside: &self.nodes, attrs: &self.attrs }
    }
}

impl<'d> ElementRef<'d> {
    /// Local name.
    pub fn name(self) -> &'d str {
        self.tag.name
    }

    /// Namespace name, empty for none.
    pub fn ns(self) -> &'d str {
        self.tag.ns.as_str()
    }

    /// True when the local name and the namespace are these.
    pub fn is(self, name: &str, ns: &str) -> bool {
        self.tag.name == name && self.tag.ns == *ns
    }

    /// Value of the attribute of that name in no namespace.
    pub fn attr(self, name: &str) -> Option<&'d str> {
        self.own_attrs().iter().find(|attr| attr.ns.is_none() && attr.name == name).map(|attr| &*attr.value)
    }

    /// Value of the attribute of that local name in that namespace.
    pub fn attr_ns(self, name: &str, ns: &str) -> Option<&'d str> {
        self.own_attrs().iter().find(|attr| attr.ns == *ns && attr.name == name).map(|attr| &*attr.value)
    }

    /// `xml:lang` of this very element.
    pub fn lang(self) -> Option<&'d str> {
        self.attr_ns("lang", ns::XML)
    }

    /// Attributes in document order, without namespace declarations: local name, namespace name, normalised value.
    pub fn attrs(self) -> impl ExactSizeIterator<Item = (&'d str, &'d str, &'d str)> {
        self.own_attrs().iter().map(|attr| (attr.name, attr.ns.as_str(), &*attr.value))
    }

    /// Child elements in document order.
    pub fn elements(self) -> impl Iterator<Item = Self> {
        let mut rest = self.inside;
        std::iter::from_fn(move || {
            loop {
                let (first, behind) = rest.split_first()?;
                rest = behind;
                if let Node::Element(tag) = first {
                    let (inside, behind) = rest.split_at_checked(tag.inside)?;
                    rest = behind;
                    return Some(Self { tag, inside, attrs: self.attrs });
                }
            }
        })
    }

    /// First child element of that name and namespace.
    pub fn child(self, name: &str, ns: &str) -> Option<Self> {
        self.elements().find(|child| child.is(name, ns))
    }

    /// The character data of this element, not of its children; empty when there is none.
    pub fn text(self) -> Cow<'d, str> {
        let mut all = Cow::Borrowed("");
        let mut rest = self.inside;
        while let Some((first, behind)) = rest.split_first() {
            rest = match first {
                Node::Element(tag) => behind.get(tag.inside..).unwrap_or_default(),
                Node::Text(text) => {
                    // The first one is not copied.
                    all += &**text;
                    behind
                }
            };
        }
        all
    }

    fn own_attrs(self) -> &'d [Attr<'d>] {
        self.attrs.get(self.tag.attrs.clone()).unwrap_or_default()
    }
}

/// Builds a [`Document`] of what is read.
#[derive(Debug, Default)]
struct Draft<'a> {
    root: Option<Tag<'a>>,
    nodes: Vec<Node<'a>>,
    attrs: Vec<Attr<'a>>,
    /// Where the elements are in `nodes` whose end has not come yet, without the root.
    open: SmallVec<[usize; 16]>,
    /// How many nodes there were when the last element ended: what stands before is no neighbour of what comes.
    closed: usize,
}

impl<'a> Draft<'a> {
    fn read(
        document: &'a [u8],
        encoding: parse::Encoding,
        limits: &ReadLimits,
    ) -> Result<Document<'a>, ReadError> {
        let mut draft = Self::default();
        parse::document(document, encoding, limits, &mut draft)?;
        let Self { root, nodes, attrs, .. } = draft;
        Ok(Document { root: root.ok_or(ReadErrorKind::Incomplete)?, nodes, attrs })
    }

    /// The element opened last of those that are not closed yet.
    fn last(&mut self) -> Option<&mut Tag<'a>> {
        let Some(at) = self.open.last() else { return self.root.as_mut() };
        match self.nodes.get_mut(*at) {
            Some(Node::Element(tag)) => Some(tag),
            _ => None,
        }
    }

    /// The text that what comes follows at once: a long text of references must not take a node for each.
    fn neighbour(&mut self) -> Option<&mut Cow<'a, str>> {
        match self.nodes.get_mut(self.closed..)?.last_mut()? {
            Node::Text(text) => Some(text),
            Node::Element(_) => None,
        }
    }
}

/// The usual document has no more nodes and attributes than these, so that it takes two allocations.
const USUAL_NODES: usize = 32;
const USUAL_ATTRS: usize = 8;

impl<'a> Builder<'a> for Draft<'a> {
    fn open(&mut self, name: &'a str, ns: Namespace, _: usize) {
        let tag = Tag { name, ns, attrs: self.attrs.len()..self.attrs.len(), inside: 0 };
        if self.root.is_none() {
            self.root = Some(tag);
            self.nodes.reserve(USUAL_NODES);
            self.attrs.reserve(USUAL_ATTRS);
        } else {
            self.open.push(self.nodes.len());
            self.nodes.push(Node::Element(tag));
        }
    }

    fn attribute(&mut self, name: &'a str, ns: Namespace, value: Cow<'a, str>) {
        self.attrs.push(Attr { name, ns, value });
        let end = self.attrs.len();
        if let Some(tag) = self.last() {
            tag.attrs.end = end;
        }
    }

    fn text(&mut self, text: Cow<'a, str>) {
        if text.is_empty() {
            return;
        }
        match self.neighbour() {
            Some(before) => before.to_mut().push_str(&text),
            None => self.nodes.push(Node::Text(text)),
        }
    }

    fn character(&mut self, character: char) {
        match self.neighbour() {
            Some(before) => before.to_mut().push(character),
            None => self.nodes.push(Node::Text(Cow::Owned(character.into()))),
        }
    }

    fn close(&mut self) {
        // The root contains whatever is there.
        let Some(at) = self.open.pop() else { return };
        self.closed = self.nodes.len();
        if let Some(Node::Element(tag)) = self.nodes.get_mut(at) {
            tag.inside = self.closed - at - 1;
        }
    }
}
