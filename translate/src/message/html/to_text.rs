//! HTML as plain text: what a reader would see, line for line (IM-04).

use super::entities;
use super::link;
use super::tokens::{Attributes, Name, Token, Tokens};

/// Most lists within lists that are numbered on their own.
const MOST_LISTS: usize = 16;

/// The text of `html`.
///
/// Lines end where HTML shows a new one; paragraphs, headings and quotations have an empty line around them. Addresses of
/// links stand in angle brackets behind their words, unless the words are the address. Images are their alternative text.
pub(in crate::message) fn to_text(html: &str) -> String {
    let mut text = Text { out: String::with_capacity(html.len() / 2), ..Text::default() };
    for token in Tokens::new(html) {
        match token {
            Token::Text(written) => text.write(&entities::resolve(written)),
            Token::Start(name, attributes) => text.start(name, attributes),
            Token::End(name) => text.end(name),
        }
    }
    text.end_link();
    text.out
}

#[derive(Default)]
struct Text {
    out: String,
    /// Line ends to be written before the next character.
    line_ends: usize,
    /// A space to be written before it.
    space: bool,
    /// Something stands on the current line.
    line: bool,
    /// PRE elements around.
    preformatted: usize,
    lists: Vec<List>,
    link: Option<Link>,
}

enum List {
    Dashes,
    Numbers(u32),
}

struct Link {
    address: String,
    /// Where its words begin in the output.
    from: usize,
}

impl Text {
    fn start(&mut self, name: Name, attributes: Attributes<'_>) {
        match name {
            Name::Br => self.new_line(),
            Name::P | Name::Heading(_) | Name::Blockquote => self.paragraph(),
            Name::Block | Name::Hr | Name::Tr => self.own_line(),
            Name::Pre => {
                self.paragraph();
                self.preformatted += 1;
            }
            Name::Ul => self.list(List::Dashes),
            Name::Ol => self.list(List::Numbers(0)),
            Name::Li => self.item(),
            // Cells stand beside each other.
            Name::Td if self.line => self.put("\t"),
            Name::Img => {
                let words = attributes.get("alt").unwrap_or_default();
                self.write(&words);
            }
            Name::A => {
                self.end_link();
                let address = attributes.get("href").and_then(|written| link::address(&written));
                self.link = address.map(|address| Link { address, from: self.out.len() });
            }
            _ => {}
        }
    }

    fn end(&mut self, name: Name) {
        match name {
            Name::P | Name::Heading(_) | Name::Blockquote => self.paragraph(),
            Name::Block | Name::Tr | Name::Li => self.own_line(),
            Name::Pre => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.paragraph();
            }
            Name::Ul | Name::Ol => {
                self.lists.pop();
                self.own_line();
            }
            Name::A => self.end_link(),
            _ => {}
        }
    }

    /// White space counts as one space, unless the text is preformatted.
    fn write(&mut self, text: &str) {
        if self.preformatted > 0 {
            crate::message::body::lines(text, self, Self::put, Self::new_line);
            return;
        }
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first.is_ascii_whitespace() {
                self.space = true;
                rest = rest.trim_ascii_start();
                continue;
            }
            let end = rest.bytes().position(|byte| byte.is_ascii_whitespace()).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            self.put(word);
            rest = after;
        }
    }

    /// Appends what is no white space, or preformatted, with what has to stand before it.
    fn put(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.out.is_empty() {
            self.out.extend(std::iter::repeat_n('\n', self.line_ends));
            if self.space && self.line {
                self.out.push(' ');
            }
        }
        (self.line_ends, self.space, self.line) = (0, false, true);
        self.out.push_str(text);
    }

    fn new_line(&mut self) {
        self.line_ends += 1;
        (self.space, self.line) = (false, false);
    }

    /// What comes next stands on a line of its own.
    fn own_line(&mut self) {
        if self.line {
            self.new_line();
        }
        self.space = false;
    }

    /// The same, with an empty line before it.
    fn paragraph(&mut self) {
        self.own_line();
        self.line_ends = self.line_ends.max(2);
    }

    fn list(&mut self, list: List) {
        self.own_line();
        if self.lists.len() < MOST_LISTS {
            self.lists.push(list);
        }
    }

    fn item(&mut self) {
        self.own_line();
        let mark = match self.lists.last_mut() {
            Some(List::Numbers(number)) => {
                *number = number.saturating_add(1);
                format!("{number}.")
            }
            _ => "-".to_owned(),
        };
        self.put(&mark);
        self.space = true;
    }

    fn end_link(&mut self) {
        let Some(Link { address, from }) = self.link.take() else { return };
        let words = self.out.get(from..).unwrap_or_default().trim();
        if link::says_the_same(words, &address) {
            return;
        }
        if !words.is_empty() {
            self.space = true;
        }
        let in_brackets = ["<", &address, ">"].concat();
        self.put(if words_are_missing(&self.out, from) { &address } else { &in_brackets });
    }
}

fn words_are_missing(out: &str, from: usize) -> bool {
    out.get(from..).unwrap_or_default().trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn im_04_lines_are_where_html_shows_them() {
        for (html, text) in [
            ("Hello", "Hello"),
            ("<b>Hello</b>, <i>you</i>!", "Hello, you!"),
            ("  a \r\n b\t<span> c</span> ", "a b c"),
            ("a<br>b<BR/>c", "a\nb\nc"),
            ("a<br><br>b", "a\n\nb"),
            ("<p>a</p><p>b</p>", "a\n\nb"),
            ("<p>a<p>b", "a\n\nb"),
            ("<div>a</div><div>b</div>", "a\nb"),
            ("<div>a</div><div><br></div><div>b</div>", "a\n\nb"),
            ("<div>a<br></div><div>b</div>", "a\nb"),
            ("<div><div><div>a</div></div></div>b", "a\nb"),
            ("<html><head><title>t</title></head><body>\n a\n</body></html>", "a"),
            ("<h1>Title</h1>text", "Title\n\ntext"),
            ("a<blockquote>b</blockquote>c", "a\n\nb\n\nc"),
            ("a<hr>b", "a\nb"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><th>c</th><td>d</td></tr></table>", "a\tb\nc\td"),
            ("x<ul><li>a</li><li>b<ul><li>c</ul></ul>y", "x\n- a\n- b\n- c\ny"),
            ("<ol><li>a<li>b</ol><li>c", "1. a\n2. b\n- c"),
            ("<pre>a\r\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd"),
            ("a&nbsp;b&#160;", "a\u{a0}b\u{a0}"),
            ("<img src='cid:1' alt='a smile'>", "a smile"),
            ("", ""),
            (" <br> <p> ", ""),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn im_04_links_keep_their_address_if_the_words_say_something_else() {
        for (html, text) in [
            (
                "see <a href='https://example.com/a?b=1&amp;c=2'>here</a>, please",
                "see here <https://example.com/a?b=1&c=2>, please",
            ),
            ("<a href='https://example.com/'>https://example.com/</a>", "https://example.com/"),
            ("<a href='https://example.com/'>example.com</a>!", "example.com!"),
            ("<a href='http://www.example.com'> www.example.com/ </a>", "www.example.com/"),
            ("<a href='mailto:a@example.com'>a@example.com</a>", "a@example.com"),
            ("<a href='sip:a@example.com'>Alice</a>", "Alice <sip:a@example.com>"),
            (
                "<a href='https://evil.example/'>https://bank.example/</a>",
                "https://bank.example/ <https://evil.example/>",
            ),
            ("<a href='https://example.com/'><img src=x></a>", "https://example.com/"),
            (
                "<a href='https://a.example/'>one<a href='https://b.example/'>two",
                "one <https://a.example/>two <https://b.example/>",
            ),
            ("<a name=x>anchor</a> <a href='#top'>up</a> <a href=page.html>page</a>", "anchor up page"),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn im_04_nothing_of_scripts_styles_and_their_addresses_is_left() {
        for html in [
            "<script>bad()</script>ok",
            "<SCRIPT SRC=bad>bad</SCRIPT >ok",
            "<style>bad{}</style>ok<style>bad",
            "<p onclick='bad()' style='bad:bad'>ok</p>",
            "<a href='javascript:bad()'>ok</a>",
            "<a href=' JAVA\tSCRIPT:bad'>ok</a>",
            "<a href='data:text/html,bad'>ok</a>",
            "<a href='vbscript:bad'>ok</a><img src=x onerror=bad>",
            "<!-- bad -->ok<!-- bad",
            "<!--[if bad]>bad<![endif]-->ok",
            "<svg><style>bad</style></svg>ok",
        ] {
            let text = to_text(html);
            assert!(text.contains("ok") && !text.contains("bad"), "{html}: {text}");
        }
    }

    #[test]
    fn lists_deeper_than_the_limit_are_read_all_the_same() {
        let nested =
            |depth: usize| to_text(&("<ol><li>x".repeat(depth) + &"</ol>".repeat(depth) + "<li>end"));
        assert_eq!(nested(MOST_LISTS).lines().filter(|line| *line == "1. x").count(), MOST_LISTS);
        assert!(nested(MOST_LISTS + 1).ends_with("- end") && nested(MOST_LISTS + 1).contains("2. x"));
    }

    proptest! {
        #[test]
        fn im_04_escaped_text_comes_back_word_for_word(text in r"[ a-zäß<>&;#'=/!€👋א-ת\n]{0,200}") {
            let html = text.replace('&', "&amp;").replace('<', "&lt;");
            let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(to_text(&html), words(&text));
        }

        #[test]
        fn any_html_is_read_without_trouble(html in r#"(<(/?)(a|p|b|br|ul|ol|li|pre|td|script|style|!--|x)( href="?http:x)?>?|&[a-z#0-9]{0,4};?|[a-z "'>-]){0,60}"#) {
            let text = to_text(&html);
            prop_assert!(!text.starts_with('\n') && text.len() <= html.len() * 4);
        }
    }
}
