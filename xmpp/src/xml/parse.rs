use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use smallvec::SmallVec;

use super::element::{Attribute, Element};
use super::error::{ReadError, ReadErrorKind};
use super::framer::{Framer, Piece};
use super::limits::ReadLimits;
use super::scope::{self, Scope};
use super::tag::{self, QName, RawAttributes};

/// Reads one complete element, as the framer cut it out. `scope` holds what the stream header declared, and holds the
/// same afterwards.
pub(super) fn element(bytes: &[u8], scope: &mut Scope, limits: &ReadLimits) -> Result<Element, ReadError> {
    let outer = scope.mark();
    let outcome = tree(scope::decode(bytes)?, scope, limits);
    scope.leave(outer);
    outcome
}

/// What an XML declaration may say about the encoding. All that is read is UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-8 or nothing.
    Declared,
    /// Anything: who brought the document said that it is UTF-8, and counts.
    Known,
}

/// See [`Element::parse_document`] and [`Element::parse_utf8_document`].
pub(super) fn document(
    document: &[u8],
    encoding: Encoding,
    limits: &ReadLimits,
) -> Result<Element, ReadError> {
    let mut rest = document.strip_prefix("\u{feff}".as_bytes()).unwrap_or(document);
    if let Some(end) = declaration(rest, encoding)? {
        rest = rest.get(end..).unwrap_or_default();
    }
    rest = rest.trim_ascii_start();
    match rest.first() {
        None => return Err(ReadErrorKind::Incomplete.into()),
        Some(b'<') => {}
        Some(_) if std::str::from_utf8(rest).is_err() => return Err(ReadErrorKind::Encoding.into()),
        Some(_) => return Err(ReadErrorKind::Markup.into()),
    }
    match Framer::default().next(rest, limits)? {
        Some(Piece::Element { end }) => {
            let (root, tail) = rest.split_at_checked(end).ok_or(ReadErrorKind::Incomplete)?;
            if !tag::is_blank(tail) {
                return Err(after_root(tail).into());
            }
            element(root, &mut Scope::default(), limits)
        }
        Some(_) => Err(ReadErrorKind::EndTag.into()),
        None => Err(ReadErrorKind::Incomplete.into()),
    }
}

/// Longest XML declaration; the longest sensible one is half of it.
const MAX_DECLARATION: usize = 128;

/// Reads the XML declaration that `bytes` may start with and says how long it is. What follows `<?xml` must be white
/// space: `<?xml-stylesheet` is another thing. `Incomplete`: all of `bytes` may be the beginning of one.
pub(super) fn declaration(bytes: &[u8], trusted: Encoding) -> Result<Option<usize>, ReadError> {
    const START: &[u8] = b"<?xml";
    let known = bytes.len().min(START.len());
    if bytes.get(..known) != START.get(..known) {
        return match bytes {
            [b'<', b'?', ..] => Err(ReadErrorKind::ProcessingInstruction.into()),
            _ => Ok(None),
        };
    }
    match bytes.get(START.len()) {
        None => return Err(ReadErrorKind::Incomplete.into()),
        Some(byte) if super::chars::is_space(*byte) => {}
        Some(_) => return Err(ReadErrorKind::ProcessingInstruction.into()),
    }
    let window = bytes.get(..MAX_DECLARATION).unwrap_or(bytes);
    let Some(end) = memchr::memmem::find(window, b"?>") else {
        let kind =
            if bytes.len() >= MAX_DECLARATION { ReadErrorKind::Markup } else { ReadErrorKind::Incomplete };
        return Err(kind.into());
    };
    let text = scope::decode(window.get(START.len()..end).unwrap_or_default())?;
    let mut attributes = RawAttributes::new();
    tag::attributes(text, &ReadLimits::BEFORE_AUTHENTICATION, &mut attributes)?;
    let mut attributes = attributes.iter().map(|(name, value)| (name.prefix, name.local, *value)).peekable();
    match attributes.next() {
        // XMPP is XML 1.0; a document that says 1.1 may mean other line ends and characters.
        Some(("", "version", "1.0")) => {}
        _ => return Err(ReadErrorKind::Markup.into()),
    }
    if let Some((_, _, encoding)) =
        attributes.next_if(|(prefix, local, _)| (*prefix, *local) == ("", "encoding"))
        && trusted == Encoding::Declared
        && !encoding.eq_ignore_ascii_case("UTF-8")
    {
        return Err(ReadErrorKind::Encoding.into());
    }
    // Without meaning where there is no DTD; ignored (S2S-26).
    let standalone = attributes.next_if(|(prefix, local, value)| {
        (*prefix, *local) == ("", "standalone") && matches!(*value, "yes" | "no")
    });
    match (standalone, attributes.next()) {
        (_, None) => Ok(Some(end + 2)),
        _ => Err(ReadErrorKind::Markup.into()),
    }
}

fn after_root(tail: &[u8]) -> ReadErrorKind {
    match tail.trim_ascii_start() {
        [b'<', b'!', b'-', ..] => ReadErrorKind::Comment,
        [b'<', b'?', ..] => ReadErrorKind::ProcessingInstruction,
        _ => ReadErrorKind::Markup,
    }
}

/// An element whose end tag has not come yet, and where its declarations begin.
type Open = (Box<Element>, usize);

fn tree(text: &str, scope: &mut Scope, limits: &ReadLimits) -> Result<Element, ReadError> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = true;
    config.allow_dangling_amp = false;
    let mut open: SmallVec<[Open; 4]> = SmallVec::new();
    loop {
        let closed = match reader.read_event().map_err(|error| syntax(&error))? {
            Event::Start(start) => {
                let mark = scope.mark();
                open.push((start_tag(&start, scope, limits)?, mark));
                continue;
            }
            Event::Empty(start) => {
                let mark = scope.mark();
                let element = start_tag(&start, scope, limits)?;
                scope.leave(mark);
                element
            }
            Event::End(_) => {
                let (element, mark) = open.pop().ok_or(ReadErrorKind::EndTag)?;
                scope.leave(mark);
                element
            }
            Event::Text(text) => {
                let text = text.into_inner();
                tag::check_text(&text)?;
                append(&mut open, &tag::normalise_lines(&text))?;
                continue;
            }
            Event::CData(text) => {
                append(&mut open, &tag::normalise_lines(&text.into_inner()))?;
                continue;
            }
            Event::GeneralRef(name) => {
                let mut utf8 = [0; 4];
                append(&mut open, tag::reference(&name.into_inner())?.encode_utf8(&mut utf8))?;
                continue;
            }
            Event::Comment(_) => return Err(ReadErrorKind::Comment.into()),
            Event::PI(_) | Event::Decl(_) => return Err(ReadErrorKind::ProcessingInstruction.into()),
            Event::DocType(_) => return Err(ReadErrorKind::Doctype.into()),
            Event::Eof => return Err(ReadErrorKind::Incomplete.into()),
        };
        match open.last_mut() {
            Some((parent, _)) => parent.push_boxed(closed),
            None => {
                // The framer cut here, so nothing can follow; that both see the same end is worth making sure of.
                return match reader.read_event() {
                    Ok(Event::Eof) => Ok(*closed),
                    _ => Err(ReadErrorKind::Markup.into()),
                };
            }
        }
    }
}

fn append(open: &mut [Open], text: &str) -> Result<(), ReadError> {
    let (element, _) = open.last_mut().ok_or(ReadErrorKind::Markup)?;
    element.push_text(text);
    Ok(())
}

/// Boxed at once, so that what is open is moved by pointer.
fn start_tag(
    start: &BytesStart<'_>,
    scope: &mut Scope,
    limits: &ReadLimits,
) -> Result<Box<Element>, ReadError> {
    let name = QName::parse(start.name().0, limits)?;
    let raw = start.attributes_raw();
    if raw.is_empty() {
        return Ok(Box::new(Element::from_parts(name.local.into(), scope.element(name)?)));
    }
    let mut attributes = RawAttributes::new();
    tag::attributes(raw, limits, &mut attributes)?;
    scope.declare(&attributes, limits)?;
    let mut element = Box::new(Element::from_parts(name.local.into(), scope.element(name)?));
    element.attrs_mut().reserve_exact(attributes.len());
    for (name, raw) in &attributes {
        if name.declared().is_some() {
            continue;
        }
        let ns = scope.attribute(*name)?;
        // Different prefixes may stand for one namespace.
        if !name.prefix.is_empty() && element.attr_ns(name.local, ns.as_str()).is_some() {
            return Err(ReadErrorKind::DuplicateAttribute.into());
        }
        element.attrs_mut().push(Attribute {
            name: name.local.into(),
            ns,
            value: tag::value(raw)?.as_ref().into(),
        });
    }
    Ok(element)
}

fn syntax(error: &quick_xml::Error) -> ReadError {
    use quick_xml::Error as E;
    use quick_xml::errors::IllFormedError as I;
    match error {
        E::IllFormed(I::MismatchedEndTag { .. } | I::UnmatchedEndTag(_)) => ReadErrorKind::EndTag,
        E::Encoding(_) => ReadErrorKind::Encoding,
        _ => ReadErrorKind::Markup,
    }
    .into()
}
