//! HTML as the subset of XHTML that XEP-0071 has for messages (IM-04, SEC-33). The plain body always stands beside it.
//!
//! Written from an allow-list of elements, attributes, schemes and style properties: whatever is not on it does not exist
//! here. Elements are closed in order, whatever the input does.

use nuncio_xmpp::escape;
use smallvec::SmallVec;

use super::entities;
use super::link;
use super::tokens::{Attributes, Name, Token, Tokens};

/// Elements that may be open at a time; deeper ones lose their form and keep their text.
const DEPTH_MAX: usize = 24;
/// Longest value of a `style` attribute, in octets.
const STYLE_MAX: usize = 256;
/// Longest markup written, in octets. It is an ornament: what is longer goes out as plain text alone.
pub(in crate::message) const XHTML_MAX: usize = 64 * 1024;

/// The style properties of XEP-0071 §7.5.
const PROPERTIES: [&str; 10] = [
    "background-color",
    "color",
    "font-family",
    "font-size",
    "font-style",
    "font-weight",
    "margin-left",
    "margin-right",
    "text-align",
    "text-decoration",
];

const START: &str =
    "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>";
const END: &str = "</body></html>";

/// Takes the `<html/>` out of a `<message/>` that was written by us: without the ornament it may have a place where
/// stanzas are limited. False, and nothing changed, if there is none.
pub(in crate::message) fn remove(stanza: &mut Vec<u8>) -> bool {
    // Neither stands in any text: there every `<` is escaped.
    let start = memchr::memmem::find(stanza, START.as_bytes());
    let end = memchr::memmem::find(stanza, END.as_bytes()).map(|end| end + END.len());
    let (Some(start), Some(end)) = (start, end) else { return false };
    if start < end {
        stanza.drain(start..end);
    }
    start < end
}

/// Appends the `<html/>` of a message. False, and nothing appended, if it would be longer than [`XHTML_MAX`].
pub(in crate::message) fn write(html: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut markup = Markup { out, open: SmallVec::new() };
    markup.raw(START);
    for token in Tokens::new(html) {
        match token {
            Token::Text(text) => markup.text(&entities::resolve(text)),
            Token::Start(name, attributes) => markup.start(name, attributes),
            Token::End(name) => markup.end(name),
        }
        if markup.out.len() - start > XHTML_MAX {
            markup.out.truncate(start);
            return false;
        }
    }
    markup.close_to(0);
    markup.raw(END);
    true
}

struct Markup<'a> {
    out: &'a mut Vec<u8>,
    /// Element by element: what it was, and what it is written as.
    open: SmallVec<[(Name, &'static str); DEPTH_MAX]>,
}

impl Markup<'_> {
    fn start(&mut self, name: Name, attributes: Attributes<'_>) {
        if name == Name::Br {
            return self.raw("<br/>");
        }
        if name == Name::Img {
            let words = attributes.get("alt").unwrap_or_default();
            return self.text(&words);
        }
        let Some(element) = element(name) else {
            // What stands in a cell of its own must not grow together with its neighbour.
            if name == Name::Td {
                self.raw(" ");
            }
            return;
        };
        self.make_room(name);
        if self.open.len() == DEPTH_MAX {
            return;
        }
        self.open.push((name, element));
        self.raw("<");
        self.raw(element);
        if name == Name::A
            && let Some(address) = attributes.get("href").and_then(|written| link::address(&written))
        {
            self.attribute("href", &address);
        }
        let style = style(name, attributes);
        if !style.is_empty() {
            self.attribute("style", &style);
        }
        self.raw(">");
    }

    /// Closes what cannot go on around an element of this name.
    fn make_room(&mut self, name: Name) {
        let ends = |open: Name| match name {
            Name::A => open == Name::A,
            Name::Li => open == Name::Li,
            _ if is_block(name) => open == Name::P,
            _ => false,
        };
        // An item ends the one before it of its own list, not one around the list.
        let list = self.open.iter().rposition(|(open, _)| matches!(open, Name::Ul | Name::Ol));
        let from = if name == Name::Li { list.map_or(0, |list| list + 1) } else { 0 };
        let found = self.open.iter().skip(from).position(|(open, _)| ends(*open));
        if let Some(found) = found {
            self.close_to(from + found);
        }
    }

    fn end(&mut self, name: Name) {
        if let Some(at) = self.open.iter().rposition(|(open, _)| *open == name) {
            self.close_to(at);
        } else if name == Name::Tr {
            self.raw("<br/>");
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some((_, element)) = self.open.pop() else { return };
            self.raw("</");
            self.raw(element);
            self.raw(">");
        }
    }

    fn text(&mut self, text: &str) {
        crate::message::body::lines(text, self.out, escape::text, |out| out.push(b'\n'));
    }

    fn attribute(&mut self, name: &str, value: &str) {
        for piece in [" ", name, "='"] {
            self.raw(piece);
        }
        escape::attr(self.out, value);
        self.raw("'");
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// What it is written as; `None` for what keeps its text only.
fn element(name: Name) -> Option<&'static str> {
    Some(match name {
        Name::A => "a",
        Name::B => "strong",
        Name::Blockquote => "blockquote",
        Name::Code => "code",
        Name::Em => "em",
        Name::Font | Name::Span | Name::Strike | Name::U => "span",
        Name::Heading(1) => "h1",
        Name::Heading(2) => "h2",
        Name::Heading(3) => "h3",
        Name::Heading(4) => "h4",
        Name::Heading(5) => "h5",
        Name::Heading(_) => "h6",
        Name::Li => "li",
        Name::Ol => "ol",
        Name::P => "p",
        Name::Pre => "pre",
        Name::Ul => "ul",
        Name::Block => "div",
        Name::Br | Name::Hr | Name::Img | Name::Td | Name::Tr | Name::Other => return None,
    })
}

fn is_block(name: Name) -> bool {
    matches!(
        name,
        Name::P | Name::Block | Name::Blockquote | Name::Pre | Name::Ul | Name::Ol | Name::Heading(_)
    )
}

/// The style of the element: what its name meant, and of its own what may pass.
fn style(name: Name, attributes: Attributes<'_>) -> String {
    let mut style = String::new();
    let mut add = |property: &str, value: &str| {
        if is_harmless(value) && style.len() + property.len() + value.len() + 3 <= STYLE_MAX {
            if !style.is_empty() {
                style.push(';');
            }
            style.extend([property, ":", value]);
        }
    };
    match name {
        Name::U => add("text-decoration", "underline"),
        Name::Strike => add("text-decoration", "line-through"),
        Name::Font => {
            for (attribute, property) in [("color", "color"), ("face", "font-family")] {
                if let Some(value) = attributes.get(attribute) {
                    add(property, value.trim());
                }
            }
        }
        _ => {}
    }
    let own = attributes.get("style").unwrap_or_default();
    for declaration in own.split(';') {
        let Some((property, value)) = declaration.split_once(':') else { continue };
        let known = PROPERTIES.iter().find(|known| property.trim().eq_ignore_ascii_case(known));
        if let Some(property) = known {
            add(property, value.trim());
        }
    }
    style
}

/// Words, numbers, colours and names of fonts: nothing that calls or fetches (`url(…)`, `expression(…)`), or hides it.
fn is_harmless(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || " #%.,-'\"".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_xmpp::{Element, ReadLimits};
    use proptest::prelude::*;

    /// What stands in the body, and the element read again.
    fn written(html: &str) -> (String, Element) {
        let mut out = Vec::new();
        assert!(write(html, &mut out));
        let limits = ReadLimits { elements: usize::MAX, ..ReadLimits::default() };
        let element = Element::parse_document(&out, &limits).unwrap();
        let text = String::from_utf8(out).unwrap();
        let inside = text.split_once("xhtml'>").unwrap().1.strip_suffix("</body></html>").unwrap();
        (inside.to_owned(), element)
    }

    #[test]
    fn im_04_form_that_xep_0071_knows_stays() {
        for (html, expected) in [
            ("<b>a</b> <i>b</i><br>c &amp; d", "<strong>a</strong> <em>b</em><br/>c &amp; d"),
            ("<P>a<P>b", "<p>a</p><p>b</p>"),
            ("<p>a<div>b</div>", "<p>a</p><div>b</div>"),
            ("<b>a<i>b</b>c</i>", "<strong>a<em>b</em></strong>c"),
            ("<ul><li>a<li>b<ol><li>c</ol></ul>", "<ul><li>a</li><li>b<ol><li>c</li></ol></li></ul>"),
            (
                "<u>a</u><font color=red face='Segoe UI'>b</font>",
                "<span style='text-decoration:underline'>a</span><span style='color:red;font-family:Segoe UI'>b</span>",
            ),
            (
                "<span STYLE='font-family: \"Segoe UI\"; COLOR: #1f497d; position: fixed'>a</span>",
                "<span style='font-family:&quot;Segoe UI&quot;;color:#1f497d'>a</span>",
            ),
            (
                "<a href='https://example.com/?a&amp;b' target=_blank>a</a>",
                "<a href='https://example.com/?a&amp;b'>a</a>",
            ),
            ("<table><tr><td>a<td>b</tr></table>", "<div> a b<br/></div>"),
            ("a\r\nb<img src=x alt='&lt;smile&gt;'>", "a\nb&lt;smile&gt;"),
            ("</b>a</p>", "a"),
        ] {
            assert_eq!(written(html).0, expected, "{html}");
        }
    }

    #[test]
    fn im_04_nothing_that_runs_fetches_or_hides_stays() {
        for html in [
            "<script>bad()</script>ok",
            "<p onclick='bad()' onmouseover=bad class=bad id=bad>ok</p>",
            "<a href='javascript:bad()'>ok</a>",
            "<a href='jav&#x09;ascript:bad()'>ok</a>",
            "<img src='https://bad/' onerror='bad()'>ok",
            "<span style='background-color:url(bad)'>ok</span>",
            "<span style='color:expression(bad)'>ok</span>",
            "<span style='color:\\65xpression(bad)'>ok</span>",
            "<span style='color:/**/bad'>ok</span>",
            "<object data=bad></object><iframe src=bad></iframe><embed src=bad>ok",
            "<style>@import bad</style><link href=bad rel=stylesheet>ok",
            "<svg onload=bad><foreignObject>ok</foreignObject></svg>",
            "<form action=bad><input value=bad>ok</form>",
            "<meta http-equiv=refresh content=bad>ok<base href=bad>",
        ] {
            let (inside, _) = written(html);
            assert!(inside.contains("ok") && !inside.contains("bad"), "{html}: {inside}");
        }
    }

    #[test]
    fn markup_has_limits() {
        let nested = |depth| written(&"<b>".repeat(depth)).0.matches("<strong>").count();
        assert_eq!((nested(DEPTH_MAX), nested(DEPTH_MAX + 1)), (DEPTH_MAX, DEPTH_MAX));
        let empty = written("").0.len()
            + "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
                .len();
        let mut out = b"before".to_vec();
        assert!(write(&"x".repeat(XHTML_MAX - empty), &mut out));
        let mut out = b"before".to_vec();
        assert!(!write(&"x".repeat(XHTML_MAX - empty + 1), &mut out));
        assert_eq!(out, b"before");
        let style = |length: usize| written(&format!("<b style='color:{}'>x", "a".repeat(length - 8))).0;
        assert!(style(STYLE_MAX).contains("style="));
        assert!(!style(STYLE_MAX + 1).contains("style="));
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_well_formed_and_on_the_list(html in r#"(<(/?)(a|p|b|div|ul|li|font|span|script|table|td|x)( (href|style|onx|color)=["']?[a-z:;(#&<'"]{0,8})?>?|&[a-z#0-9]{0,4};?|[a-zä<>&\x00-\x1f]){0,60}"#) {
            let (_, element) = written(&html);
            let mut rest: Vec<_> = element.elements().flat_map(Element::elements).collect();
            while let Some(element) = rest.pop() {
                prop_assert!(element.name() != "script" && element.name() != "table");
                prop_assert!(element.attrs().all(|attr| matches!(attr.name(), "href" | "style")));
                rest.extend(element.elements());
            }
        }
    }
}
