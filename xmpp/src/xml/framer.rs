use memchr::{memchr, memchr2, memchr3};
use smallvec::SmallVec;

use super::chars;
use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;

/// Finds where the next complete piece of a stream ends, without looking at anything twice however slowly the bytes
/// arrive, and enforces sizes, depth and the number of elements meanwhile (SEC-02, SEC-04).
///
/// It knows just enough XML not to be fooled about where a tag ends: quotes, CDATA sections, empty-element tags. What
/// XMPP forbids outright it refuses on sight, before the rest arrives (SEC-01), and so an end tag that is not that of the
/// element it would end. All other grammar is judged on the complete piece.
#[derive(Debug, Default)]
pub(super) struct Framer {
    state: State,
    /// First octet not looked at, counted from the start of the piece.
    at: usize,
    /// Where the tag that `at` stands in has its `<`.
    tag: usize,
    /// Where the start tags of the open elements have their `<`.
    open: SmallVec<[usize; 4]>,
    elements: usize,
    /// The start tag is the piece: a stream header, whose element ends with the stream.
    header: bool,
}

/// A complete piece. `end` is the number of octets it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// An element with everything in it.
    Element { end: usize },
    /// An end tag where none of our elements is open: the stream's.
    Close { end: usize },
    /// A start tag alone, where a stream header was looked for. `empty`: it is an empty-element tag.
    Header { end: usize, empty: bool },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In character data, or between first-level elements.
    #[default]
    Content,
    /// Behind a `<`.
    Less,
    /// In a start tag, outside quotes.
    StartTag,
    /// In an attribute value.
    Quoted(u8),
    /// In an end tag.
    EndTag,
    /// Behind `<!`.
    Bang,
    /// Behind `<![CDATA[`.
    Cdata,
}

const CDATA_START: &[u8] = b"<![CDATA[";

impl Framer {
    /// A framer that takes the first start tag for a piece of its own.
    pub(super) fn for_header() -> Self {
        Self { header: true, ..Self::default() }
    }

    /// Looks on in `bytes`, which start with the `<` of the piece, as they did in every call before, and end wherever
    /// the network left off. `None`: more is needed. After a piece the framer is ready for the next.
    pub(super) fn next(&mut self, bytes: &[u8], limits: &ReadLimits) -> Result<Option<Piece>, ReadError> {
        // Cut at the limit, not at what happens to have arrived: the verdict must not depend on how bytes were packed.
        let window = bytes.get(..limits.stanza).unwrap_or(bytes);
        let piece = self.scan(window, limits)?;
        if piece.is_some() {
            self.start_over();
        } else if bytes.len() >= limits.stanza {
            return Err(ReadErrorKind::StanzaTooBig.into());
        }
        Ok(piece)
    }

    fn scan(&mut self, bytes: &[u8], limits: &ReadLimits) -> Result<Option<Piece>, ReadError> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            match self.state {
                State::Content => {
                    let Some(found) = memchr(b'<', rest) else { return Ok(self.wait(bytes)) };
                    self.tag = self.at + found;
                    self.at = self.tag + 1;
                    self.state = State::Less;
                }
                State::Less => {
                    let Some(&byte) = rest.first() else { return Ok(None) };
                    self.at += 1;
                    self.state = match byte {
                        b'/' => State::EndTag,
                        b'!' => State::Bang,
                        b'?' => return Err(ReadErrorKind::ProcessingInstruction.into()),
                        byte if chars::may_start_name(byte) => {
                            self.open(limits)?;
                            State::StartTag
                        }
                        _ => return Err(ReadErrorKind::Name.into()),
                    };
                }
                State::StartTag => {
                    let rest = self.in_tag(rest, limits);
                    let Some(found) = memchr3(b'>', b'"', b'\'', rest) else {
                        return self.wait_in_tag(bytes, limits);
                    };
                    let byte = rest.get(found).copied().unwrap_or_default();
                    let end = self.at + found;
                    self.at = end + 1;
                    if byte != b'>' {
                        self.state = State::Quoted(byte);
                        continue;
                    }
                    self.state = State::Content;
                    let empty = bytes.get(end.wrapping_sub(1)) == Some(&b'/');
                    if self.header {
                        return Ok(Some(Piece::Header { end: self.at, empty }));
                    }
                    if empty {
                        self.open.pop();
                        if self.open.is_empty() {
                            return Ok(Some(Piece::Element { end: self.at }));
                        }
                    }
                }
                State::Quoted(quote) => {
                    let rest = self.in_tag(rest, limits);
                    let Some(found) = memchr2(quote, b'<', rest) else {
                        return self.wait_in_tag(bytes, limits);
                    };
                    if rest.get(found) == Some(&b'<') {
                        return Err(ReadErrorKind::Markup.into());
                    }
                    self.at += found + 1;
                    self.state = State::StartTag;
                }
                State::EndTag => {
                    let rest = self.in_tag(rest, limits);
                    let Some(found) = memchr(b'>', rest) else { return self.wait_in_tag(bytes, limits) };
                    let end = self.at + found;
                    self.at = end + 1;
                    self.state = State::Content;
                    let Some(start) = self.open.pop() else {
                        return Ok(Some(Piece::Close { end: self.at }));
                    };
                    if !is_end_of(bytes.get(start..self.tag), bytes.get(self.tag..end)) {
                        return Err(ReadErrorKind::EndTag.into());
                    }
                    if self.open.is_empty() {
                        return Ok(Some(Piece::Element { end: self.at }));
                    }
                }
                State::Bang => {
                    let so_far = bytes.get(self.tag..).unwrap_or_default();
                    let known = so_far.len().min(CDATA_START.len());
                    if so_far.get(..known) != CDATA_START.get(..known) {
                        return Err(declaration(so_far).into());
                    }
                    if known < CDATA_START.len() {
                        return Ok(None);
                    }
                    if self.open.is_empty() {
                        return Err(ReadErrorKind::StrayContent.into());
                    }
                    self.at = self.tag + CDATA_START.len();
                    self.state = State::Cdata;
                }
                State::Cdata => {
                    let Some(found) = memchr(b'>', rest) else { return Ok(self.wait(bytes)) };
                    let end = self.at + found;
                    self.at = end + 1;
                    // `<![CDATA[]>` has a `]` too few, whatever stands before the section's content.
                    let content = self.tag + CDATA_START.len();
                    if bytes.get(content..end).is_some_and(|section| section.ends_with(b"]]")) {
                        self.state = State::Content;
                    }
                }
            }
        }
    }

    fn open(&mut self, limits: &ReadLimits) -> Result<(), ReadError> {
        if self.open.len() >= limits.depth {
            return Err(ReadErrorKind::TooDeep.into());
        }
        self.open.push(self.tag);
        self.elements += 1;
        if self.elements > limits.elements {
            return Err(ReadErrorKind::TooManyElements.into());
        }
        Ok(())
    }

    /// Ready for the next piece; keeps the room for open elements.
    fn start_over(&mut self) {
        (self.state, self.at, self.tag, self.elements, self.header) = (State::Content, 0, 0, 0, false);
        self.open.clear();
    }

    /// What of `rest` still fits into the tag.
    fn in_tag<'a>(&self, rest: &'a [u8], limits: &ReadLimits) -> &'a [u8] {
        let room = limits.tag.saturating_sub(self.at - self.tag);
        rest.get(..room).unwrap_or(rest)
    }

    fn wait(&mut self, bytes: &[u8]) -> Option<Piece> {
        self.at = bytes.len();
        None
    }

    fn wait_in_tag(&mut self, bytes: &[u8], limits: &ReadLimits) -> Result<Option<Piece>, ReadError> {
        if bytes.len() - self.tag >= limits.tag {
            return Err(ReadErrorKind::TagTooLong.into());
        }
        Ok(self.wait(bytes))
    }
}

/// Whether an end tag, up to its `>`, has the name of the element that begins with `start`.
fn is_end_of(start: Option<&[u8]>, end: Option<&[u8]>) -> bool {
    let (Some([b'<', start @ ..]), Some([b'<', b'/', name @ ..])) = (start, end) else { return false };
    let mut name = name;
    while let [before @ .., last] = name
        && chars::is_space(*last)
    {
        name = before;
    }
    match start.strip_prefix(name) {
        Some([after, ..]) => matches!(after, b'>' | b'/') || chars::is_space(*after),
        _ => false,
    }
}

/// What `<!` starts when it is no CDATA section. One more octet tells.
fn declaration(so_far: &[u8]) -> ReadErrorKind {
    match so_far.get(2) {
        Some(b'-') => ReadErrorKind::Comment,
        Some(b'D') => ReadErrorKind::Doctype,
        _ => ReadErrorKind::Markup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<Piece>, ReadErrorKind> {
        Framer::default().next(bytes, &ReadLimits::default()).map_err(|error| error.kind)
    }

    fn dripped(bytes: &[u8], limits: &ReadLimits) -> Result<Option<Piece>, ReadErrorKind> {
        let mut framer = Framer::default();
        for end in 0..=bytes.len() {
            let (sent, _) = bytes.split_at(end);
            if let Some(piece) = framer.next(sent, limits).map_err(|error| error.kind)? {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    #[test]
    fn ends_are_found_however_the_bytes_arrive() {
        let cases: &[(&str, usize)] = &[
            ("<a/>x", 4),
            ("<a></a><b/>", 7),
            ("<a b='>' c=\"/>'\">t</a> ", 22),
            ("<a><a/><b><c/></b></a>", 22),
            ("<a><![CDATA[</a>]]]></a>", 24),
            ("<a><![CDATA[]]></a>", 19),
            ("<a><![CDATA[]>]]></a>", 21),
            ("<a>]]></a>", 10),
            ("<a b='/'></a>", 13),
            ("<é>></é>", 10),
        ];
        for (input, end) in cases {
            let expected = Ok(Some(Piece::Element { end: *end }));
            assert_eq!(whole(input.as_bytes()), expected, "{input}");
            assert_eq!(dripped(input.as_bytes(), &ReadLimits::default()), expected, "{input}, dripped");
        }
        assert_eq!(whole(b"</stream:stream>"), Ok(Some(Piece::Close { end: 16 })));
        for (input, empty) in [("<s:s a='/>'>", false), ("<s:s a='/>'/>", true)] {
            let expected = Ok(Some(Piece::Header { end: input.len(), empty }));
            assert_eq!(Framer::for_header().next(input.as_bytes(), &ReadLimits::default()), expected);
        }
        for open in [
            "<",
            "<a",
            "<a b='",
            "<a b='>",
            "<a>",
            "<a></a",
            "<a><![CDATA[",
            "<a><![CDATA[]]></a",
            "<a><!",
            "<a><![CDA",
        ] {
            assert_eq!(whole(open.as_bytes()), Ok(None), "{open}");
        }
    }

    #[test]
    fn sec_01_forbidden_markup_is_refused_on_sight() {
        for (input, kind) in [
            ("<a><!-", ReadErrorKind::Comment),
            ("<!-", ReadErrorKind::Comment),
            ("<!D", ReadErrorKind::Doctype),
            ("<a><!D", ReadErrorKind::Doctype),
            ("<a><!E", ReadErrorKind::Markup),
            ("<a><![I", ReadErrorKind::Markup),
            ("<a><?", ReadErrorKind::ProcessingInstruction),
            ("<![CDATA[", ReadErrorKind::StrayContent),
            ("<a>< ", ReadErrorKind::Name),
            ("<a><1", ReadErrorKind::Name),
            ("<a><>", ReadErrorKind::Name),
            ("<a b='<", ReadErrorKind::Markup),
        ] {
            assert_eq!(whole(input.as_bytes()), Err(kind), "{input}");
            assert_eq!(dripped(input.as_bytes(), &ReadLimits::default()), Err(kind), "{input}, dripped");
        }
    }

    #[test]
    fn sec_02_an_end_tag_of_another_element_is_refused_as_soon_as_it_is_complete() {
        for (input, rest) in [
            ("<a><b></a>", "</b></a>"),
            ("<a></b>", ""),
            ("<a></A>", ""),
            ("<ab></a>", "</ab>"),
            ("<a></ab>", "</a>"),
            ("<p:a></a>", "</p:a>"),
            ("<a b='a>'></b>", ""),
            ("<a><b/></b>", "</a>"),
            ("<a></ a>", "</a>"),
            ("<a></>", "</a>"),
        ] {
            let (before, _) = input.split_at(input.len() - 1);
            assert_eq!(dripped(before.as_bytes(), &ReadLimits::default()), Ok(None), "{before}");
            let whole_input = input.to_owned() + rest;
            for input in [input, &whole_input] {
                assert_eq!(whole(input.as_bytes()), Err(ReadErrorKind::EndTag), "{input}");
                let dripped = dripped(input.as_bytes(), &ReadLimits::default());
                assert_eq!(dripped, Err(ReadErrorKind::EndTag), "{input}, dripped");
            }
        }
        for input in ["<a><b c='d'></b\n></a >", "<a/>", "<é a=''></é\t>", "<a\n></a>"] {
            assert_eq!(whole(input.as_bytes()), Ok(Some(Piece::Element { end: input.len() })), "{input}");
        }
    }

    #[test]
    fn what_is_open_is_forgotten_with_its_piece() {
        let mut framer = Framer::default();
        let deep = "<a>".repeat(20) + &"</a>".repeat(20);
        for piece in [deep.as_str(), "<b></b>", &deep] {
            let end = framer.next(piece.as_bytes(), &ReadLimits::default()).unwrap();
            assert_eq!(end, Some(Piece::Element { end: piece.len() }));
        }
        assert_eq!(framer.next(b"</s>", &ReadLimits::default()), Ok(Some(Piece::Close { end: 4 })));
    }

    #[test]
    fn limits_hold_at_the_limit_and_not_one_past_it() {
        let small = ReadLimits { stanza: 40, tag: 12, depth: 3, elements: 4, ..ReadLimits::default() };
        let at_stanza = format!("<a>{}</a>", "x".repeat(33));
        let past_stanza = format!("<a>{}</a>", "x".repeat(34));
        let fits: &[&str] = &[&at_stanza, "<a b='12345'/>"];
        assert_eq!("<b c='123'/>".len(), small.tag);
        for input in ["<a><b><c/></b></a>", "<a><b/><b/><b/></a>", "<b c='123'/>", fits[0]] {
            let expected = Ok(Some(Piece::Element { end: input.len() }));
            assert_eq!(
                Framer::default().next(input.as_bytes(), &small).map_err(|e| e.kind),
                expected,
                "{input}"
            );
            assert_eq!(dripped(input.as_bytes(), &small), expected, "{input}, dripped");
        }
        for (input, kind) in [
            (past_stanza.as_str(), ReadErrorKind::StanzaTooBig),
            ("<b c='1234'/>", ReadErrorKind::TagTooLong),
            ("<b c=1234567/>", ReadErrorKind::TagTooLong),
            ("<a></a            >", ReadErrorKind::TagTooLong),
            ("<a><b><c><d/></c></b></a>", ReadErrorKind::TooDeep),
            ("<a><b/><b/><b/><b/></a>", ReadErrorKind::TooManyElements),
        ] {
            assert_eq!(
                Framer::default().next(input.as_bytes(), &small).map_err(|e| e.kind),
                Err(kind),
                "{input}"
            );
            assert_eq!(dripped(input.as_bytes(), &small), Err(kind), "{input}, dripped");
        }
    }

    #[test]
    fn sec_02_a_stanza_too_big_is_refused_before_it_ends() {
        let limits = ReadLimits { stanza: 100, ..ReadLimits::default() };
        let endless = [b"<a>".as_slice(), &[b'x'; 97]].concat();
        assert_eq!(dripped(&endless[..99], &limits), Ok(None));
        assert_eq!(dripped(&endless, &limits), Err(ReadErrorKind::StanzaTooBig));
    }

    #[test]
    fn sec_02_nothing_is_looked_at_twice_however_slowly_it_comes() {
        let long = "x".repeat(3000);
        let input =
            format!("<a b='{long}'><![CDATA[{long}]>{long}]]>{long}<c/>{long}</a{}>", " ".repeat(3000));
        let mut framer = Framer::default();
        for end in 0..input.len() {
            let (sent, _) = input.as_bytes().split_at(end);
            assert_eq!(framer.next(sent, &ReadLimits::default()), Ok(None));
            // What decides whether `<!` starts a CDATA section is the most that is kept for a second look.
            assert!(framer.at + CDATA_START.len() > end, "{} of {end}", framer.at);
        }
    }
}
