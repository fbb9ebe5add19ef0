//! Just enough XML to read what a server sends on an XMPP stream: elements as text and as a small tree.
//!
//! This is the world's own reading, written apart from the one under test. It trusts its peer's XML to be well formed
//! and fails loudly when it is not; prefixes are kept as written.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use quick_xml::escape::unescape;

/// One element with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// The name as written, with its prefix.
    pub name: String,
    /// The attributes in order, unescaped.
    pub attributes: Vec<(String, String)>,
    /// The child elements.
    pub children: Vec<Self>,
    /// The text directly in this element, unescaped.
    pub text: String,
    /// The bytes as they came.
    pub raw: String,
}

impl Element {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of `<body/>`.
    pub fn body(&self) -> Option<&str> {
        self.child("body").map(|body| body.text.as_str())
    }

    /// The condition of a stanza's `<error/>`: the name of its first child that is not text.
    pub fn condition(&self) -> Option<&str> {
        self.child("error")?.children.iter().map(|child| child.name.as_str()).find(|&name| name != "text")
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// What arrives on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The opening tag of the stream.
    Header(Element),
    /// A complete element of the stream's first level.
    Element(Element),
    /// The closing tag of the stream.
    Close,
}

/// Cuts the bytes of a stream into [`Item`]s.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    opened: bool,
}

impl Splitter {
    /// Adds bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete item, if there is one.
    pub fn take(&mut self) -> Result<Option<Item>> {
        let text = match std::str::from_utf8(&self.buffer) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&self.buffer[..error.valid_up_to()])?,
        };
        let skipped = text.len() - text.trim_start().len();
        let text = text.trim_start();
        let Some(first) = Tag::scan(text)? else { return Ok(None) };
        let (item, used) = match first.kind {
            TagKind::Declaration => {
                self.buffer.drain(..skipped + first.length);
                return self.take();
            }
            TagKind::Close => (Item::Close, first.length),
            TagKind::Open if !self.opened => {
                (Item::Header(first.element(&text[..first.length])?), first.length)
            }
            TagKind::Open | TagKind::Empty => match complete(text)? {
                Some((element, length)) => (Item::Element(element), length),
                None => return Ok(None),
            },
        };
        self.buffer.drain(..skipped + used);
        self.opened |= matches!(item, Item::Header(_));
        Ok(Some(item))
    }

    /// Begins a new stream on the same connection (after STARTTLS and SASL).
    pub fn restart(&mut self) {
        self.opened = false;
    }

    /// What came and is not complete.
    pub fn rest(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

/// Reads one element that is complete at the beginning of the text.
pub fn complete(text: &str) -> Result<Option<(Element, usize)>> {
    let mut open: Vec<(Element, usize)> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(to_tag) = rest.find('<') else { return Ok(None) };
        if let Some((element, _)) = open.last_mut() {
            element.text.push_str(&unescape(&rest[..to_tag])?);
        }
        let begin = at + to_tag;
        let Some(tag) = Tag::scan(&text[begin..])? else { return Ok(None) };
        at = begin + tag.length;
        let done = match tag.kind {
            TagKind::Declaration => bail!("a declaration inside an element: {:?}", &text[begin..at]),
            TagKind::Open => {
                open.push((tag.element(&text[begin..at])?, begin));
                continue;
            }
            TagKind::Empty => tag.element(&text[begin..at])?,
            TagKind::Close => {
                let (mut element, from) = open.pop().context("a closing tag too many")?;
                ensure!(element.name == tag.name, "</{}> closes <{}>", tag.name, element.name);
                element.raw = text[from..at].to_owned();
                element
            }
        };
        match open.last_mut() {
            Some((parent, _)) => parent.children.push(done),
            None => return Ok(Some((done, at))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TagKind {
    Declaration,
    Open,
    Empty,
    Close,
}

#[derive(Debug)]
struct Tag {
    kind: TagKind,
    name: String,
    length: usize,
}

impl Tag {
    /// Finds the end of the tag at the beginning of the text; `None` when it has not arrived.
    fn scan(text: &str) -> Result<Option<Self>> {
        let mut quote = None;
        for (at, byte) in text.bytes().enumerate() {
            match (quote, byte) {
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                (None, b'>') => {
                    let inner = &text[1..at];
                    let kind = match inner.as_bytes() {
                        [b'?', ..] => TagKind::Declaration,
                        [b'/', ..] => TagKind::Close,
                        [.., b'/'] => TagKind::Empty,
                        _ => TagKind::Open,
                    };
                    let name = inner.trim_start_matches('/').split([' ', '/', '\n', '\t']).next();
                    let name = name.unwrap_or_default().to_owned();
                    return Ok(Some(Self { kind, name, length: at + 1 }));
                }
                _ => {}
            }
            ensure!(at > 0 || byte == b'<', "text where an element should be: {text:?}");
        }
        Ok(None)
    }

    fn element(&self, raw: &str) -> Result<Element> {
        let inner = raw.trim_start_matches('<').trim_end_matches('>').trim_end_matches('/');
        let mut rest = inner[self.name.len()..].trim_start();
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').with_context(|| format!("no value: {raw}"))?;
            let after = after.trim_start();
            let quote = after.chars().next().with_context(|| format!("no quote: {raw}"))?;
            let (value, after) =
                after[1..].split_once(quote).with_context(|| format!("no end of quote: {raw}"))?;
            attributes.push((name.trim().to_owned(), unescape(value)?.into_owned()));
            rest = after.trim_start();
        }
        Ok(Element { name: self.name.clone(), attributes, raw: raw.to_owned(), ..Element::default() })
    }
}

/// Escapes text for use in content and attribute values.
pub fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Item, Splitter};

    const STREAM: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' id=\"a>b\"> \
        <message to='b@x' from='a@y/&quot;'><body>1 &lt; 2 &amp; ü</body><x/></message>\n<presence/></stream:stream>";

    #[test]
    fn reads_the_same_however_it_is_cut() {
        let mut whole = Splitter::default();
        whole.push(STREAM.as_bytes());
        let items: Vec<Item> = std::iter::from_fn(|| whole.take().unwrap()).collect();
        assert_eq!(items.len(), 4);
        let Item::Header(header) = &items[0] else { panic!("{items:?}") };
        assert_eq!(header.attribute("id"), Some("a>b"));
        let Item::Element(message) = &items[1] else { panic!("{items:?}") };
        assert_eq!(message.body(), Some("1 < 2 & ü"));
        assert_eq!(message.attribute("from"), Some("a@y/\""));
        assert_eq!(message.children.len(), 2);
        assert_eq!(items[3], Item::Close);

        let mut cut = Splitter::default();
        let mut again = Vec::new();
        for byte in STREAM.bytes() {
            cut.push(&[byte]);
            again.extend(std::iter::from_fn(|| cut.take().unwrap()));
        }
        assert_eq!(again, items);
    }

    #[test]
    fn refuses_text_between_elements_and_crossed_tags() {
        let mut splitter = Splitter::default();
        splitter.push(b"<a>text");
        splitter.take().unwrap();
        assert!(splitter.take().is_err());
        assert!(super::complete("<a><b></a></b>").is_err());
    }
}
