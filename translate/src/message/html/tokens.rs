//! HTML as a stream of tokens (HTML §13.2.5, without what needs a document): never fails, and takes time in proportion to
//! its input whatever that holds.

use std::borrow::Cow;

use super::entities;

/// Longest element name told from others, in octets.
const NAME_MAX: usize = 10;
/// Most attributes of one element looked at.
const MOST_ATTRIBUTES: usize = 64;

/// A piece of HTML. Comments, declarations, and elements whose content is no text for readers, are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// References not yet resolved: see [`entities::resolve`].
    Text(&'a str),
    Start(Name, Attributes<'a>),
    End(Name),
}

/// The elements that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    A,
    B,
    Blockquote,
    Br,
    Code,
    Em,
    Font,
    /// H1 to H6.
    Heading(u8),
    Hr,
    Img,
    Li,
    Ol,
    P,
    Pre,
    /// S, STRIKE and DEL.
    Strike,
    Span,
    Td,
    Tr,
    /// U and INS.
    U,
    Ul,
    /// DIV and all others that stand on lines of their own.
    Block,
    /// Anything else.
    Other,
}

/// What stands between the name of a tag and its `>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes<'a>(&'a str);

impl Name {
    fn of(name: &str) -> Self {
        let mut lower = [0; NAME_MAX];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        match &*lower {
            b"a" => Self::A,
            b"b" | b"strong" => Self::B,
            b"blockquote" => Self::Blockquote,
            b"br" => Self::Br,
            b"code" | b"tt" | b"kbd" | b"samp" => Self::Code,
            b"em" | b"i" | b"cite" | b"var" | b"dfn" => Self::Em,
            b"font" => Self::Font,
            [b'h', level @ b'1'..=b'6'] => Self::Heading(level - b'0'),
            b"hr" => Self::Hr,
            b"img" => Self::Img,
            b"li" => Self::Li,
            b"ol" => Self::Ol,
            b"p" => Self::P,
            b"pre" | b"listing" => Self::Pre,
            b"s" | b"strike" | b"del" => Self::Strike,
            b"span" => Self::Span,
            b"td" | b"th" => Self::Td,
            b"tr" => Self::Tr,
            b"u" | b"ins" => Self::U,
            b"ul" | b"menu" | b"dir" => Self::Ul,
            b"div" | b"address" | b"article" | b"aside" | b"body" | b"center" | b"dd" | b"dl" | b"dt"
            | b"fieldset" | b"figure" | b"footer" | b"form" | b"header" | b"main" | b"nav" | b"section"
            | b"table" => Self::Block,
            _ => Self::Other,
        }
    }
}

/// Elements whose content is not read as HTML and is nothing a reader sees.
fn is_unseen(name: &str) -> bool {
    ["script", "style", "title", "iframe", "noembed", "noframes", "textarea"]
        .iter()
        .any(|unseen| name.eq_ignore_ascii_case(unseen))
}

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// A tag that never ends was found: from there on all is text. Looking for the end again and again would take time
    /// squared.
    only_text: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self { rest: html, only_text: false }
    }

    /// Up to the next `<` that may begin something, or all.
    fn text(&mut self) -> Option<Token<'a>> {
        let from = usize::from(self.rest.starts_with('<'));
        let next = memchr::memchr(b'<', self.rest.as_bytes().get(from..)?).map(|at| from + at);
        let next = next.filter(|_| !self.only_text).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(next)?;
        self.rest = rest;
        (!text.is_empty()).then_some(Token::Text(text))
    }

    /// Steps over a comment, a declaration or an instruction, for which `rest` begins with `<!` or `<?`.
    fn skip_markup(&mut self) {
        let (behind, end) = match self.rest.strip_prefix("<!--") {
            // `<!-->` and `<!--->` are whole comments.
            Some(comment) if comment.starts_with('>') => (comment, ">"),
            Some(comment) if comment.starts_with("->") => (comment, "->"),
            Some(comment) => (comment, "-->"),
            None => (self.rest, ">"),
        };
        let at = memchr::memmem::find(behind.as_bytes(), end.as_bytes());
        self.rest = at.and_then(|at| behind.get(at + end.len()..)).unwrap_or_default();
    }

    /// Steps over the content of an element and its end tag.
    fn skip_content(&mut self, name: &str) {
        let is_end = |at: &usize| {
            let tag = self.rest.as_bytes().get(at + 1..).unwrap_or_default();
            tag.first() == Some(&b'/')
                && tag.get(1..=name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
                && tag.get(name.len() + 1).is_none_or(|byte| is_space(*byte) || matches!(byte, b'/' | b'>'))
        };
        let end = memchr::memchr_iter(b'<', self.rest.as_bytes()).find(is_end);
        self.rest = end.and_then(|at| self.rest.get(at..)).unwrap_or_default();
    }

    /// The tag that `rest`, which begins with `<`, begins with.
    fn tag(&mut self) -> Option<Token<'a>> {
        let behind = self.rest.get(1..)?;
        let (inside, is_end) = behind.strip_prefix('/').map_or((behind, false), |inside| (inside, true));
        let name_end = inside.bytes().position(|byte| is_space(byte) || matches!(byte, b'/' | b'>'));
        let (name, attributes) = inside.split_at_checked(name_end.unwrap_or(inside.len()))?;
        let Some(tag_end) = tag_end(attributes) else {
            self.only_text = true;
            return self.text();
        };
        let (attributes, rest) = attributes.split_at_checked(tag_end)?;
        self.rest = rest.get(1..)?;
        if is_end {
            return Some(Token::End(Name::of(name)));
        }
        if is_unseen(name) {
            self.skip_content(name);
        }
        Some(Token::Start(Name::of(name), Attributes(attributes)))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let mut ahead = self.rest.bytes().skip(1);
            let begins = !self.only_text && self.rest.starts_with('<');
            match (begins, ahead.next(), ahead.next()) {
                (true, Some(b'!' | b'?'), _) => self.skip_markup(),
                (true, Some(b'/'), Some(letter)) if letter.is_ascii_alphabetic() => return self.tag(),
                (true, Some(letter), _) if letter.is_ascii_alphabetic() => return self.tag(),
                _ => return self.text(),
            }
        }
    }
}

/// Where the `>` is that ends a tag: not one in a quoted value.
fn tag_end(attributes: &str) -> Option<usize> {
    let bytes = attributes.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr3(b'>', b'"', b'\'', bytes.get(from..)?)?;
        let quote = match bytes.get(at)? {
            b'>' => return Some(at),
            quote => *quote,
        };
        from = at + 1;
        // A quote begins a value only behind `=`; elsewhere it is a letter like others.
        let before = bytes.get(..at)?.trim_ascii_end();
        if before.ends_with(b"=") {
            from += memchr::memchr(quote, bytes.get(from..)?)? + 1;
        }
    }
}

impl<'a> Attributes<'a> {
    /// The value of an attribute, references resolved.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| entities::resolve(value))
    }

    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        let next = move || {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            // An `=` where a name should begin is a part of it.
            let from = usize::from(rest.starts_with('='));
            let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '=');
            let name_end = rest.get(from..)?.find(is_end).map_or(rest.len(), |at| from + at);
            let (name, after) = rest.split_at_checked(name_end)?;
            let Some(value) = after.trim_ascii_start().strip_prefix('=') else {
                rest = after;
                return (!name.is_empty()).then_some((name, ""));
            };
            let value = value.trim_ascii_start();
            let (value, after) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value
                    .get(1..)?
                    .split_once(quote)
                    .unwrap_or_else(|| (value.get(1..).unwrap_or_default(), "")),
                _ => {
                    let end = value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len());
                    value.split_at_checked(end)?
                }
            };
            rest = after;
            Some((name, value))
        };
        std::iter::from_fn(next).take(MOST_ATTRIBUTES)
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text as it is, tags as `[Name]` and `[/Name]`.
    fn shown(html: &str) -> String {
        let show = |token| match token {
            Token::Text(text) => text.to_owned(),
            Token::Start(name, _) => format!("[{name:?}]"),
            Token::End(name) => format!("[/{name:?}]"),
        };
        Tokens::new(html).map(show).collect()
    }

    fn attribute(html: &str, name: &str) -> Option<String> {
        Tokens::new(html).find_map(|token| match token {
            Token::Start(_, attributes) => attributes.get(name).map(Cow::into_owned),
            _ => None,
        })
    }

    #[test]
    fn tags_are_told_from_text() {
        for (html, expected) in [
            ("a<b>b</B >c", "a[B]b[/B]c"),
            ("<br/><BR /><br>", "[Br][Br][Br]"),
            ("<h1>x</h1><h7>", "[Heading(1)]x[/Heading(1)][Other]"),
            ("1 < 2 <3 & <> </> < b", "1 < 2 <3 & <> </> < b"),
            ("<o:p>x</o:p><blockquotes>", "[Other]x[/Other][Other]"),
            ("<a title='>' b=\">\">x", "[A]x"),
            ("<a it's>x</a>", "[A]x[/A]"),
            ("x<", "x<"),
        ] {
            assert_eq!(shown(html), expected, "{html}");
        }
    }

    #[test]
    fn im_04_what_readers_do_not_see_is_left_out() {
        for html in [
            "a<!-- <b>x</b> -->b",
            "a<!-->b",
            "a<!--->b",
            "a<!DOCTYPE html>b",
            "a<?xml version='1.0'?>b",
            "a<![CDATA[x]]>b",
        ] {
            assert_eq!(shown(html), "ab", "{html}");
        }
        for element in ["script", "STYLE", "title", "iframe", "textarea"] {
            let html = format!("a<{element} x='y'>if (1</b>2) <!-- </{element}x> </{element} >b");
            assert_eq!(shown(&html), "a[Other][/Other]b", "{html}");
        }
        // As browsers do: what never ends takes all.
        for html in ["a<!-- b", "a<script>b</scrip>", "a<script>b</script"] {
            let shown = shown(html);
            assert!(!shown.contains('b') || shown == "a[Other]</script", "{html}: {shown}");
        }
    }

    #[test]
    fn a_tag_that_never_ends_is_text() {
        assert_eq!(shown("if a <b then </i> <c"), "if a [B] <c");
        assert_eq!(shown("if a <b then <i"), "if a <b then <i");
        assert_eq!(shown("x<a href='<b>y</b>"), "x<a href='<b>y</b>");
    }

    #[test]
    fn attributes_are_read_in_every_spelling() {
        for html in [
            "<a HREF=x>",
            "<a b href = 'x' c>",
            "<a b=1 href=\"x\"c=d>",
            "<a/href=x>",
            "<a = href=x>",
            "<a href=x href=y>",
        ] {
            assert_eq!(attribute(html, "href").as_deref(), Some("x"), "{html}");
        }
        assert_eq!(attribute("<a href='?a&amp;b=&#x3c;'>", "href").as_deref(), Some("?a&b=<"));
        assert_eq!(attribute("<a href>", "href").as_deref(), Some(""));
        assert_eq!(attribute("<a xhref=x title='href=y'>", "href"), None);
        let many = |count: usize| format!("<a {} href=x>", "b ".repeat(count));
        assert!(attribute(&many(MOST_ATTRIBUTES - 1), "href").is_some());
        assert!(attribute(&many(MOST_ATTRIBUTES), "href").is_none());
    }

    #[test]
    fn any_length_takes_time_in_proportion() {
        // A quarter of a megabyte of each; in time squared none of them would end while anybody waits.
        for piece in ["<a ", "<", "</", "<!", "<script>", "<a b='", "<!--", "&", "<a =", "<a ' \" =", "<x>"] {
            let html = piece.repeat(256 * 1024 / piece.len());
            assert!(Tokens::new(&html).count() > 0 || piece.starts_with("<!"), "{piece}");
        }
    }
}
