use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use smallvec::SmallVec;

use super::error::{ReadError, ReadErrorKind};
use super::framer::{Framer, Piece};
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::scope::{self, Scope};
use super::tag::{self, QName, RawAttributes};

/// Makes something of one complete element while it is read. What it is told stands in the input, wherever that can be.
///
/// The first call is an [`open`](Builder::open), the last one its [`close`](Builder::close), and those between nest. If
/// reading fails, no more calls come.
pub(super) trait Builder<'a> {
    /// A start tag with at most so many attributes. They follow at once.
    fn open(&mut self, name: &'a str, ns: Namespace, attributes: usize);
    /// An attribute of the element opened last; no declaration, and no other one like it.
    fn attribute(&mut self, name: &'a str, ns: Namespace, value: Cow<'a, str>);
    /// Character data, perhaps empty, perhaps only a piece of it.
    fn text(&mut self, text: Cow<'a, str>);
    /// A character that was written as a reference.
    fn character(&mut self, character: char);
    /// The end of the element opened last of those that are not closed yet.
    fn close(&mut self);
}

/// Reads one complete element, as the framer cut it out. `scope` holds what the stream header declared, and holds the
/// same afterwards.
pub(super) fn element<'a>(
    bytes: &'a [u8],
    scope: &mut Scope,
    limits: &ReadLimits,
    builder: &mut impl Builder<'a>,
) -> Result<(), ReadError> {
    let outer = scope.mark();
    let outcome = walk(scope::decode(bytes)?, scope, limits, builder);
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

/// Reads one whole document; see [`Element::parse_document`](super::Element::parse_document) and
/// [`Element::parse_utf8_document`](super::Element::parse_utf8_document).
pub(super) fn document<'a>(
    document: &'a [u8],
    encoding: Encoding,
    limits: &ReadLimits,
    builder: &mut impl Builder<'a>,
) -> Result<(), ReadError> {
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
            element(root, &mut Scope::default(), limits, builder)
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

fn walk<'a>(
    text: &'a str,
    scope: &mut Scope,
    limits: &ReadLimits,
    builder: &mut impl Builder<'a>,
) -> Result<(), ReadError> {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = true;
    config.allow_dangling_amp = false;
    // Where the declarations of each element begin whose end tag has not come yet.
    let mut open: SmallVec<[usize; 16]> = SmallVec::new();
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|error| syntax(&error))? {
            Event::Start(start) => {
                open.push(scope.mark());
                start_tag(content(text, at, &start)?, scope, limits, builder)?;
                continue;
            }
            Event::Empty(start) => {
                let mark = scope.mark();
                start_tag(content(text, at, &start)?, scope, limits, builder)?;
                scope.leave(mark);
            }
            Event::End(_) => scope.leave(open.pop().ok_or(ReadErrorKind::EndTag)?),
            Event::Text(text) => {
                let text = text.into_inner();
                tag::check_text(&text)?;
                inside(&open)?;
                builder.text(tag::normalise_lines(text));
                continue;
            }
            Event::CData(text) => {
                inside(&open)?;
                builder.text(tag::normalise_lines(text.into_inner()));
                continue;
            }
            Event::GeneralRef(name) => {
                let character = tag::reference(&name.into_inner())?;
                inside(&open)?;
                builder.character(character);
                continue;
            }
            Event::Comment(_) => return Err(ReadErrorKind::Comment.into()),
            Event::PI(_) | Event::Decl(_) => return Err(ReadErrorKind::ProcessingInstruction.into()),
            Event::DocType(_) => return Err(ReadErrorKind::Doctype.into()),
            Event::Eof => return Err(ReadErrorKind::Incomplete.into()),
        }
        builder.close();
        if open.is_empty() {
            // The framer cut here, so nothing can follow; that both see the same end is worth making sure of.
            return match reader.read_event() {
                Ok(Event::Eof) => Ok(()),
                _ => Err(ReadErrorKind::Markup.into()),
            };
        }
    }
}

/// Character data stands in an element.
fn inside(open: &[usize]) -> Result<(), ReadError> {
    if open.is_empty() { Err(ReadErrorKind::Markup.into()) } else { Ok(()) }
}

/// The name in the tag whose `<` is at `at`, and what stands behind it. quick-xml lends them only as long as its event
/// lives.
fn content<'a>(text: &'a str, at: u64, start: &BytesStart<'_>) -> Result<(&'a str, &'a str), ReadError> {
    let tag = usize::try_from(at).ok().and_then(|at| text.get(at + 1..)?.get(..start.len()));
    let parts = tag.and_then(|tag| tag.split_at_checked(start.name().0.len()));
    parts.ok_or_else(|| ReadErrorKind::Markup.into())
}

fn start_tag<'a>(
    (name, raw): (&'a str, &'a str),
    scope: &mut Scope,
    limits: &ReadLimits,
    builder: &mut impl Builder<'a>,
) -> Result<(), ReadError> {
    let name = QName::parse(name, limits)?;
    if raw.is_empty() {
        builder.open(name.local, scope.element(name)?, 0);
        return Ok(());
    }
    let mut attributes = RawAttributes::new();
    tag::attributes(raw, limits, &mut attributes)?;
    scope.declare(&attributes, limits)?;
    builder.open(name.local, scope.element(name)?, attributes.len());
    for (at, (name, raw)) in attributes.iter().enumerate() {
        if name.declared().is_some() {
            continue;
        }
        let ns = scope.attribute(*name)?;
        if !name.prefix.is_empty() && is_repeated(*name, &ns, attributes.get(..at).unwrap_or_default(), scope)
        {
            return Err(ReadErrorKind::DuplicateAttribute.into());
        }
        builder.attribute(name.local, ns, tag::value(raw)?);
    }
    Ok(())
}

/// Different prefixes may stand for one namespace.
fn is_repeated(name: QName<'_>, ns: &Namespace, earlier: &[(QName<'_>, &str)], scope: &Scope) -> bool {
    earlier.iter().any(|(other, _)| {
        other.local == name.local
            && !other.prefix.is_empty()
            && other.declared().is_none()
            && scope.attribute(*other).is_ok_and(|other| other == *ns)
    })
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
