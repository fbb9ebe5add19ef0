//! rxml as an oracle: what it makes of a document, in a form that our trees can be compared with.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by several tests and the fuzzers, each of which uses a part"
)]

use std::fmt::Write as _;

use nuncio_xmpp::{Element, Node};
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

/// Known differences, all of them things that XML 1.0 allows and rxml does not, are taken out for it.
pub fn without_known_differences(document: &[u8]) -> Vec<u8> {
    // A UTF-8 signature; we skip it on documents (on streams we refuse it as rxml does).
    let document = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    // White space before a root element without XML declaration.
    let trimmed = document.trim_ascii_start();
    let document = if trimmed.starts_with(b"<?") { document } else { trimmed };
    // A CR without LF in an attribute value. It counts as an LF (XML 1.0 section 2.11).
    let mut out = document.to_vec();
    for at in 0..out.len() {
        if out[at] == b'\r' && out.get(at + 1) != Some(&b'\n') {
            out[at] = b'\n';
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
