//! rxml as an oracle: what it makes of a document, in a form that our trees can be compared with.

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
