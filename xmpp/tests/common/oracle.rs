//! rxml as an oracle: what it makes of a document, in a form that our trees can be compared with.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by several tests and the fuzzers, each of which uses a part"
)]

use std::fmt::Write as _;

use nuncio_xmpp::{Element, Node, ReadError, ReadErrorKind, StreamCondition};
use rxml::{Event, Parse, Parser};

/// The document as rxml reads it, or that it refuses it.
pub fn rxml(document: &[u8]) -> Result<String, rxml::Error> {
    let mut parser = Parser::new();
    let mut rest = document;
    let (mut out, mut text) = (String::new(), String::new());
    loop {
        let event = match parser.parse(&mut rest, true) {
            Ok(event) => event,
            Err(rxml::error::EndOrError::Error(error)) => return Err(error),
            Err(rxml::error::EndOrError::NeedMoreData) => return Err(rxml::Error::InvalidEof(None)),
        };
        match event {
            Some(Event::Text(_, piece)) => text.push_str(&piece),
            Some(Event::StartElement(_, (namespace, name), attributes)) => {
                flush(&mut out, &mut text);
                let mut sorted: Vec<_> = attributes
                    .iter()
                    .map(|((ns, name), value)| (ns.to_string(), name.to_string(), value.clone()))
                    .collect();
                sorted.sort();
                let _ = write!(out, "<{{{namespace}}}{name} {sorted:?}>");
            }
            Some(Event::EndElement(_)) => {
                flush(&mut out, &mut text);
                out.push_str("</>");
            }
            Some(_) => {}
            None => return Ok(out),
        }
    }
}

/// Known differences: where we refuse, rightly, what rxml takes.
pub fn may_be_stricter(error: ReadError, document: &[u8]) -> bool {
    let contains = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    match error.kind {
        // The two reserved namespaces stand for their own prefixes only (XML Namespaces section 3).
        ReadErrorKind::Declaration => contains(document, b"http://www.w3.org/"),
        // The same declaration twice is the same attribute twice (XML 1.0 section 3.1).
        ReadErrorKind::DuplicateAttribute => contains(document, b"xmlns"),
        // Behind the root element there is white space, but no reference to it, and no CDATA section, not even an empty one
        // (XML 1.0 section 2.8).
        ReadErrorKind::Markup => {
            let tail = document.rsplit(|&byte| byte == b'>').next().unwrap_or_default();
            let empty = contains(document, b"<![CDATA[]]>");
            empty || contains(tail, b"&#") || document.trim_ascii_start().starts_with(b"&#")
        }
        // Limits of this kind rxml has not.
        _ => error.stream_condition() == StreamCondition::PolicyViolation,
    }
}

/// Known differences: where rxml refuses, wrongly, what we take: its names lack U+FDF0 to U+FFFD (XML 1.0 section 2.3).
pub fn may_be_milder(document: &[u8]) -> bool {
    String::from_utf8_lossy(document).contains(|c| ('\u{fdf0}'..='\u{fffd}').contains(&c))
}

/// Known differences, all of them things that XML 1.0 allows and rxml does not, are taken out for it.
pub fn without_known_differences(document: &[u8]) -> Vec<u8> {
    // A UTF-8 signature; we skip it on documents (on streams we refuse it as rxml does).
    let document = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    // White space before a root element without XML declaration.
    let trimmed = document.trim_ascii_start();
    let document = if trimmed.starts_with(b"<?") { document } else { trimmed };
    // Line ends (XML 1.0 section 2.11): a CR without LF in an attribute value, CR and LF behind a `]` in a CDATA section.
    let mut out = Vec::with_capacity(document.len());
    for (at, &byte) in document.iter().enumerate() {
        match (byte, document.get(at + 1)) {
            (b'\r', Some(b'\n')) if out.last() == Some(&b']') => {}
            (b'\r', next) if next != Some(&b'\n') => out.push(b'\n'),
            _ => out.push(byte),
        }
    }
    out
}

/// True when the document starts with `<?`, white space and a signature aside.
pub fn has_declaration(document: &[u8]) -> bool {
    document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document).trim_ascii_start().starts_with(b"<?")
}

/// Our tree in the same form.
pub fn ours(element: &Element) -> String {
    let mut out = String::new();
    render(&mut out, element);
    out
}

fn render(out: &mut String, element: &Element) {
    let mut sorted: Vec<_> =
        element.attrs().map(|a| (a.ns().to_string(), a.name().to_string(), a.value().to_string())).collect();
    sorted.sort();
    let _ = write!(out, "<{{{}}}{} {sorted:?}>", element.ns(), element.name());
    for node in element.children() {
        match node {
            Node::Element(child) => render(out, child),
            Node::Text(text) => flush(out, &mut text.to_string()),
        }
    }
    out.push_str("</>");
}

fn flush(out: &mut String, text: &mut String) {
    if !text.is_empty() {
        let _ = write!(out, "{text:?}");
        text.clear();
    }
}
