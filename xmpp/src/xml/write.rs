use super::element::{Element, Node};
use super::{escape, ns};

/// A start tag under construction, written straight into the output: for the hot paths, where building an
/// [`Element`] first would cost more than the writing.
///
/// ```
/// use nuncio_xmpp::StartTag;
/// let mut out = Vec::new();
/// StartTag::open(&mut out, "message").attr("from", "romeo@example.net").attr("to", "juliet@example.com").end();
/// StartTag::text_element(&mut out, "body", "Wherefore <art> thou?");
/// StartTag::close(&mut out, "message");
/// assert_eq!(
///     String::from_utf8_lossy(&out),
///     "<message from='romeo@example.net' to='juliet@example.com'><body>Wherefore &lt;art&gt; thou?</body></message>",
/// );
/// ```
#[must_use = "the tag is open until `end` or `empty`"]
pub struct StartTag<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> StartTag<'a> {
    /// Writes `<name`.
    pub fn open(out: &'a mut Vec<u8>, name: &'static str) -> Self {
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        Self { out }
    }

    /// Writes ` name='value'`, escaped. The name may carry a prefix that is in scope (`xml:lang`, `xmlns:stream`).
    pub fn attr(self, name: &'static str, value: &str) -> Self {
        self.attr_pieces(name, &[value])
    }

    /// As [`StartTag::attr`], for a value in pieces that need not be joined first: `user@domain`, `/`, `resource`.
    pub fn attr_pieces(self, name: &'static str, pieces: &[&str]) -> Self {
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        pieces.iter().for_each(|piece| escape::attr(self.out, piece));
        self.out.push(b'\'');
        self
    }

    /// Writes the attribute if there is a value.
    pub fn opt_attr(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Declares the default namespace.
    pub fn ns(self, name: &str) -> Self {
        self.attr("xmlns", name)
    }

    /// Writes `>`.
    pub fn end(self) {
        self.out.push(b'>');
    }

    /// Writes `/>`.
    pub fn empty(self) {
        self.out.extend_from_slice(b"/>");
    }

    /// Writes `</name>`.
    pub fn close(out: &mut Vec<u8>, name: &'static str) {
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
    }

    /// Writes `<name>text</name>`, escaped.
    pub fn text_element(out: &mut Vec<u8>, name: &'static str, text: &str) {
        StartTag::open(out, name).end();
        escape::text(out, text);
        Self::close(out, name);
    }
}

/// See [`Element::write`]. Recursion is bounded by [`ReadLimits::depth`](super::ReadLimits::depth) for what was read, and
/// by the program for what it built.
pub(super) fn element(out: &mut Vec<u8>, element: &Element, parent_ns: &str) {
    // The one namespace that must not be declared as the default (XML Namespaces section 3); nobody uses it for elements,
    // which does not keep anybody from sending one.
    let (prefix, inner_ns) = if element.ns() == ns::XML { ("xml:", parent_ns) } else { ("", element.ns()) };
    out.push(b'<');
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(element.name().as_bytes());
    if inner_ns != parent_ns {
        attribute(out, &["xmlns"], inner_ns);
    }
    let mut prefixes = 0usize;
    for attr in element.attrs() {
        match attr.ns() {
            "" => attribute(out, &[attr.name()], attr.value()),
            ns::XML => attribute(out, &["xml:", attr.name()], attr.value()),
            other => {
                // Attributes cannot use the default namespace: each brings its own prefix.
                let number = compact_str::format_compact!("a{prefixes}");
                prefixes += 1;
                attribute(out, &["xmlns:", &number], other);
                attribute(out, &[&number, ":", attr.name()], attr.value());
            }
        }
    }
    let mut children = element.children().peekable();
    if children.peek().is_none() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for node in children {
        match node {
            Node::Element(child) => self::element(out, child, inner_ns),
            Node::Text(text) => escape::text(out, text),
        }
    }
    out.extend_from_slice(b"</");
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(element.name().as_bytes());
    out.push(b'>');
}

fn attribute(out: &mut Vec<u8>, name: &[&str], value: &str) {
    out.push(b' ');
    name.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
    out.extend_from_slice(b"='");
    escape::attr(out, value);
    out.push(b'\'');
}
