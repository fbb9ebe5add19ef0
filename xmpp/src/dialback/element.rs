//! `db:result` and `db:verify`, read and written.

use compact_str::CompactString;

use super::condition::{DialbackCondition, DialbackError};
use super::secret::DialbackKey;
use crate::jid::{Domain, JidError};
use crate::stanza::{Attr, write_reason};
use crate::xml::{Element, StartTag, escape, ns};

/// Which of the two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialbackKind {
    /// Between initiating and receiving server.
    Result,
    /// Between receiving and authoritative server.
    Verify,
}

/// A dialback element, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialbackElement {
    pub(crate) kind: DialbackKind,
    pub(crate) from: Domain,
    pub(crate) to: Domain,
    /// Of a `db:verify` only; empty where it is missing.
    pub(crate) id: CompactString,
    pub(crate) content: Content,
}

/// What it says: a request has a key and no `type`, an answer has a `type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A key; `None` if there is none, or one that is too long.
    Key(Option<DialbackKey>),
    Valid,
    Invalid,
    Error(DialbackError),
    /// Of a type that nobody defined.
    Unknown,
}

/// What makes a dialback element useless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MalformedDialback {
    /// Neither `result` nor `verify`.
    Name,
    /// An address is missing.
    Missing(Attr),
    /// An address is no domain.
    Address(Attr, JidError),
}

impl DialbackElement {
    /// Reads an element of dialback's namespace.
    pub(crate) fn read(element: &Element) -> Result<Self, MalformedDialback> {
        let kind = match element.name() {
            "result" => DialbackKind::Result,
            "verify" => DialbackKind::Verify,
            _ => return Err(MalformedDialback::Name),
        };
        let address = |attr: Attr| match element.attr(attr.as_str()) {
            None | Some("") => Err(MalformedDialback::Missing(attr)),
            Some(value) => Domain::parse(value).map_err(|error| MalformedDialback::Address(attr, error)),
        };
        Ok(Self {
            kind,
            from: address(Attr::From)?,
            to: address(Attr::To)?,
            id: element.attr("id").unwrap_or_default().into(),
            content: match element.attr("type") {
                None => Content::Key(DialbackKey::parse(&element.text())),
                Some("valid") => Content::Valid,
                Some("invalid") => Content::Invalid,
                Some("error") => Content::Error(DialbackError::read(element)),
                Some(_) => Content::Unknown,
            },
        })
    }
}

impl DialbackKind {
    /// DB-01: what servers older than XML namespaces understand.
    fn tag(self) -> &'static str {
        match self {
            Self::Result => "db:result",
            Self::Verify => "db:verify",
        }
    }
}

/// Writes a key: `db:result` without an id, `db:verify` with one. `declare`: our header did not declare the prefix.
pub(crate) fn write_key(
    out: &mut Vec<u8>,
    declare: bool,
    from: &Domain,
    to: &Domain,
    id: Option<&str>,
    key: &DialbackKey,
) {
    let kind = if id.is_some() { DialbackKind::Verify } else { DialbackKind::Result };
    open(out, kind, declare, from, to, id).end();
    escape::text(out, key.as_str());
    StartTag::close(out, kind.tag());
}

/// Writes the answer to `request`, addresses swapped and id repeated, with a text for people if it is an error.
pub(crate) fn write_answer(
    out: &mut Vec<u8>,
    declare: bool,
    request: (DialbackKind, &Domain, &Domain, &str),
    answer: Result<bool, DialbackCondition>,
    text: Option<&str>,
) {
    let (kind, from, to, id) = request;
    let id = (kind == DialbackKind::Verify).then_some(id);
    let tag = open(out, kind, declare, to, from, id);
    match answer {
        Ok(true) => tag.attr("type", "valid").empty(),
        Ok(false) => tag.attr("type", "invalid").empty(),
        Err(condition) => {
            tag.attr("type", "error").end();
            write_reason(out, condition.error_type(), None, condition.as_str(), text);
            StartTag::close(out, kind.tag());
        }
    }
}

fn open<'a>(
    out: &'a mut Vec<u8>,
    kind: DialbackKind,
    declare: bool,
    from: &Domain,
    to: &Domain,
    id: Option<&str>,
) -> StartTag<'a> {
    StartTag::open(out, kind.tag())
        .opt_attr("xmlns:db", declare.then_some(ns::DIALBACK))
        .attr("from", from.as_str())
        .opt_attr("id", id)
        .attr("to", to.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{ReadLimits, StreamItem, StreamReader};

    const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams'>";

    fn read(text: &str) -> Result<DialbackElement, MalformedDialback> {
        let mut reader = StreamReader::new(ReadLimits::BEFORE_AUTHENTICATION);
        reader.push(HEADER.as_bytes());
        reader.push(text.as_bytes());
        assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
        match reader.next() {
            Ok(Some(StreamItem::Element(element))) => DialbackElement::read(&element),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn element(kind: DialbackKind, from: &str, to: &str, id: &str, content: Content) -> DialbackElement {
        DialbackElement { kind, from: domain(from), to: domain(to), id: id.into(), content }
    }

    #[test]
    fn tv_33_every_form_of_xep_0220_is_read() {
        use DialbackKind::{Result, Verify};
        let (capulet, montague) = ("capulet.example", "montague.example");
        let key = || Content::Key(DialbackKey::parse("b4835385"));
        let error =
            || Content::Error(DialbackError { condition: DialbackCondition::ItemNotFound, text: None });
        for (text, expected) in [
            (
                "<db:result from='capulet.example' to='montague.example'>\n  b4835385\n</db:result>",
                element(Result, capulet, montague, "", key()),
            ),
            (
                "<db:result from='montague.example' to='capulet.example' type='valid'/>",
                element(Result, montague, capulet, "", Content::Valid),
            ),
            (
                "<db:result from='montague.example' to='capulet.example' type='invalid'/>",
                element(Result, montague, capulet, "", Content::Invalid),
            ),
            (
                "<db:result from='montague.example' to='capulet.example' type='error'><error type='cancel'>\
                 <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
                element(Result, montague, capulet, "", error()),
            ),
            (
                "<db:verify from='capulet.example' id='417GAF25' to='montague.example'>b4835385</db:verify>",
                element(Verify, capulet, montague, "417GAF25", key()),
            ),
            (
                "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='valid'/>",
                element(Verify, montague, capulet, "417GAF25", Content::Valid),
            ),
            (
                "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='invalid'/>",
                element(Verify, montague, capulet, "417GAF25", Content::Invalid),
            ),
            (
                "<db:verify from='montague.example' id='417GAF25' to='capulet.example' type='error'>\
                 <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>\
                 </db:verify>",
                element(Verify, montague, capulet, "417GAF25", error()),
            ),
            (
                "<db:result from='A.example.' to='b.example' type='maybe'>x</db:result>",
                element(Result, "a.example", "b.example", "", Content::Unknown),
            ),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_two_domains_is_malformed() {
        use MalformedDialback::{Address, Missing, Name};
        assert_eq!(read("<db:results from='a.example' to='b.example'/>"), Err(Name));
        assert_eq!(read("<db:result to='b.example'/>"), Err(Missing(Attr::From)));
        assert_eq!(read("<db:result from='a.example' to=''/>"), Err(Missing(Attr::To)));
        assert!(matches!(read("<db:verify from='a@a.example' to='b'/>"), Err(Address(Attr::From, _))));
        assert!(matches!(read("<db:verify from='a.example' to='b/c'/>"), Err(Address(Attr::To, _))));
    }

    #[test]
    fn tv_33_what_is_written_is_read_back_whether_the_prefix_was_declared_or_not() {
        let (a, b) = (domain("a.example"), domain("b.example"));
        let key = DialbackKey::parse("<&>'\"").unwrap();
        for declare in [false, true] {
            let mut out = Vec::new();
            write_key(&mut out, declare, &a, &b, None, &key);
            let content = Content::Key(Some(key.clone()));
            let written = String::from_utf8(out).unwrap();
            let expected = element(DialbackKind::Result, "a.example", "b.example", "", content.clone());
            assert_eq!(read(&written), Ok(expected));

            let mut out = Vec::new();
            write_key(&mut out, declare, &a, &b, Some("i'd"), &key);
            let written = String::from_utf8(out).unwrap();
            let expected = element(DialbackKind::Verify, "a.example", "b.example", "i'd", content);
            assert_eq!(read(&written), Ok(expected));
        }
        for (answer, content) in [(Ok(true), Content::Valid), (Ok(false), Content::Invalid)] {
            let mut out = Vec::new();
            write_answer(&mut out, false, (DialbackKind::Verify, &a, &b, "id"), answer, None);
            let written = String::from_utf8(out).unwrap();
            let expected = element(DialbackKind::Verify, "b.example", "a.example", "id", content);
            assert_eq!(read(&written), Ok(expected));
        }
        for &condition in DialbackCondition::ALL {
            let mut out = Vec::new();
            let request = (DialbackKind::Result, &a, &b, "");
            write_answer(&mut out, false, request, Err(condition), Some("why"));
            let written = String::from_utf8(out).unwrap();
            let error = DialbackError { condition, text: Some(crate::stream::PeerText::new("why")) };
            let expected = element(DialbackKind::Result, "b.example", "a.example", "", Content::Error(error));
            assert_eq!(read(&written), Ok(expected), "{written}");
        }
    }
}
