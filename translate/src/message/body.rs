//! The body of a MESSAGE as text (IM-03…IM-06, PD-09).
//!
//! Nearly every body is text/plain in UTF-8, and is handed on as it stands in the request. Others are taken apart, and the
//! best text in them is chosen: text/plain, else text/html made plain. What holds no text is refused, with what would have
//! been understood: the sender's client may have the same message in a simpler form.

use std::borrow::Cow;

use nuncio_sip::{ContentType, HeaderName, Message, multipart};

use super::entity::Entity;
use super::transfer::Transfer;
use super::{Formats, charset, html};
use crate::cpim::{self, Cpim, CpimError};
use crate::receipt::imdn::{self, Wishes};

/// Most parts of one body, those in parts included.
pub const MOST_PARTS: usize = 16;
/// How deep parts may be in parts: message/cpim around multipart/related around multipart/alternative.
pub const MOST_LEVELS: usize = 4;

/// Why a body is not text we can pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// A body without Content-Type, or with one that cannot be read.
    #[error("the Content-Type header field is missing or malformed")]
    ContentType,
    /// Nothing in it is text.
    #[error("there is no text in the body that can be passed on; understood are: {}", super::ACCEPT)]
    MediaType,
    /// A character set we do not convert.
    #[error("the character set is not supported")]
    Charset,
    /// Compressed, or encoded in another way.
    #[error("the content encoding is not supported")]
    Encoding,
    /// Bytes that are no text in the character set they claim, or in UTF-8 if they claim none.
    #[error("the body is not text in its character set")]
    Text,
    /// Parts or header fields inside the body are malformed.
    #[error("the structure of the body is malformed")]
    Structure,
    /// More than [`MOST_PARTS`] parts, or more than [`MOST_LEVELS`] levels of them.
    #[error("the body has more than {MOST_PARTS} parts, or more than {MOST_LEVELS} levels of them")]
    TooManyParts,
    /// A Require field of message/cpim names what we do not know (RFC 3862 §3.5).
    #[error("the body requires an extension of message/cpim that is not supported")]
    Requirement,
}

/// What a body says.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) text: Cow<'a, str>,
    /// The same as HTML, if there is any and it was asked for.
    pub(super) html: Option<Cow<'a, str>>,
    /// The Subject of message/cpim.
    pub(super) subject: Option<Cow<'a, str>>,
    /// What its sender wants to know of its fate, as message/cpim says.
    pub(super) wishes: Wishes<'a>,
}

/// Reads the body. `bytes` is `message.body()`, which the caller keeps alive.
pub(super) fn read<'a>(
    message: &Message,
    bytes: &'a [u8],
    formats: Formats,
) -> Result<Body<'a>, BodyRefusal> {
    let coded = |token: Result<nuncio_sip::Token<'_>, _>| {
        !token.is_ok_and(|t| t.token.eq_ignore_ascii_case("identity"))
    };
    if message.content_encoding().any(coded) {
        return Err(BodyRefusal::Encoding);
    }
    if message.header(HeaderName::ContentType).is_some_and(is_plain_utf8) {
        let text = charset::utf8(bytes)?;
        return Ok(Body { text, html: None, subject: None, wishes: Wishes::default() });
    }
    let kind = message.content_type().map_err(|_| BodyRefusal::ContentType)?;
    let Some(kind) = kind else {
        let empty = Body { text: Cow::Borrowed(""), html: None, subject: None, wishes: Wishes::default() };
        return if bytes.is_empty() { Ok(empty) } else { Err(BodyRefusal::ContentType) };
    };
    let mut reader = Reader { parts: 0 };
    let found = reader.content(&kind, Transfer::AsIs, bytes, 0)?;
    found.body(formats)
}

/// The two spellings nearly everybody uses, told apart from all others without reading parameters.
fn is_plain_utf8(value: &str) -> bool {
    let Some((media, rest)) = value.split_at_checked("text/plain".len()) else { return false };
    let charset = rest.strip_prefix(';').map(|parameter| parameter.trim_start_matches(' '));
    media.eq_ignore_ascii_case("text/plain")
        && (rest.is_empty() || charset.is_some_and(|charset| charset.eq_ignore_ascii_case("charset=utf-8")))
}

/// The texts found so far.
#[derive(Debug, Default)]
struct Found<'a> {
    plain: Option<Cow<'a, str>>,
    html: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    wishes: Wishes<'a>,
}

impl<'a> Found<'a> {
    /// The first of each kind that says something; of plain texts that say nothing the first.
    fn add(&mut self, other: Self) {
        let blank = |text: &Option<Cow<'_, str>>| text.as_deref().is_none_or(|text| text.trim().is_empty());
        if self.plain.is_none() || blank(&self.plain) && !blank(&other.plain) {
            self.plain = other.plain;
        }
        self.html = self.html.take().or(other.html);
    }

    fn says_something(&self) -> bool {
        self.plain.as_deref().is_some_and(|text| !text.trim().is_empty())
    }

    fn body(self, formats: Formats) -> Result<Body<'a>, BodyRefusal> {
        let says_something = self.says_something();
        let Self { plain, html, subject, wishes } = self;
        let text = match (plain, &html) {
            (Some(plain), None) => plain,
            (Some(plain), Some(_)) if says_something => plain,
            (plain, Some(html)) => {
                let text = html::to_text(html);
                match plain {
                    Some(plain) if text.is_empty() => plain,
                    // A picture, say. That nothing of it arrived has to be told.
                    None if text.is_empty() => return Err(BodyRefusal::MediaType),
                    _ => Cow::Owned(text),
                }
            }
            (None, None) => return Err(BodyRefusal::MediaType),
        };
        Ok(Body { text, html: html.filter(|_| formats.xhtml_im), subject, wishes })
    }
}

struct Reader {
    parts: usize,
}

impl Reader {
    fn content<'a>(
        &mut self,
        kind: &ContentType<'_>,
        transfer: Transfer,
        bytes: &'a [u8],
        level: usize,
    ) -> Result<Found<'a>, BodyRefusal> {
        if kind.is("text", "plain") {
            let plain = Some(text(kind, transfer, bytes)?);
            return Ok(Found { plain, ..Found::default() });
        }
        if kind.is("text", "html") {
            let html = Some(text(kind, transfer, bytes)?);
            return Ok(Found { html, ..Found::default() });
        }
        let is_cpim = kind.is("message", "cpim") && level == 0;
        let is_alternative = kind.is("multipart", "alternative");
        if !is_cpim && !is_alternative && !kind.is("multipart", "related") {
            return Err(BodyRefusal::MediaType);
        }
        // What holds parts is never encoded itself (RFC 2045 §6.4).
        if transfer != Transfer::AsIs {
            return Err(BodyRefusal::Encoding);
        }
        if level == MOST_LEVELS {
            return Err(BodyRefusal::TooManyParts);
        }
        if is_cpim {
            self.cpim(bytes, level + 1)
        } else if is_alternative {
            self.alternative(kind, bytes, level + 1)
        } else {
            self.related(kind, bytes, level + 1)
        }
    }

    /// Whatever can be read of it; the parts say the same in different forms (RFC 2046 §5.1.4).
    fn alternative<'a>(
        &mut self,
        kind: &ContentType<'_>,
        bytes: &'a [u8],
        level: usize,
    ) -> Result<Found<'a>, BodyRefusal> {
        let (mut found, mut refusal) = (Found::default(), None);
        // To the end, whatever was found: what is refused does not depend on what is made of the rest.
        for part in multipart::parts(bytes, &boundary(kind)?) {
            match self.part(part, level) {
                Ok(part) => found.add(part),
                Err(BodyRefusal::TooManyParts) => return Err(BodyRefusal::TooManyParts),
                // That there was text which cannot be read says more than that there was something else.
                Err(why) if refusal.is_none_or(|so_far| so_far == BodyRefusal::MediaType) => {
                    refusal = Some(why)
                }
                Err(_) => {}
            }
        }
        if found.plain.is_none() && found.html.is_none() {
            return Err(refusal.unwrap_or(BodyRefusal::Structure));
        }
        Ok(found)
    }

    /// The root, which the others belong to: the one that `start` names, else the first (RFC 2387 §3.2).
    fn related<'a>(
        &mut self,
        kind: &ContentType<'_>,
        bytes: &'a [u8],
        level: usize,
    ) -> Result<Found<'a>, BodyRefusal> {
        let boundary = boundary(kind)?;
        let mut parts = multipart::parts(bytes, &boundary).take(MOST_PARTS);
        let root = match kind.param("start") {
            Some(start) => {
                let is_root =
                    |part: &&[u8]| Entity::read(part).is_ok_and(|part| part.content_id == Some(&*start));
                parts.find(is_root)
            }
            None => parts.next(),
        };
        self.part(root.ok_or(BodyRefusal::Structure)?, level)
    }

    fn cpim<'a>(&mut self, bytes: &'a [u8], level: usize) -> Result<Found<'a>, BodyRefusal> {
        let cpim = Cpim::read(bytes).map_err(|error| match error {
            CpimError::Malformed => BodyRefusal::Structure,
            CpimError::TooLarge => BodyRefusal::TooManyParts,
        })?;
        if cpim.unmet(is_understood).is_some() {
            return Err(BodyRefusal::Requirement);
        }
        let mut found = self.part(cpim.entity, level)?;
        found.subject = cpim.field(cpim::CORE, "Subject").map(|subject| subject.text());
        found.wishes = Wishes::of(&cpim);
        Ok(found)
    }

    fn part<'a>(&mut self, part: &'a [u8], level: usize) -> Result<Found<'a>, BodyRefusal> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(BodyRefusal::TooManyParts);
        }
        let part = Entity::read(part)?;
        if part.is_attachment {
            return Err(BodyRefusal::MediaType);
        }
        // A part without a type is plain text (RFC 2046 §5.1).
        let kind = part.content_type.as_deref().unwrap_or("text/plain");
        let kind = ContentType::parse(kind).map_err(|_| BodyRefusal::Structure)?;
        self.content(&kind, part.transfer, part.content, level)
    }
}

/// The header fields of message/cpim that are done justice to (RFC 3862 §4, RFC 5438 §6).
fn is_understood(ns: &str, name: &str) -> bool {
    match ns {
        cpim::CORE => ["From", "To", "cc", "DateTime", "Subject", "NS", "Require"].contains(&name),
        imdn::FIELDS => ["Message-ID", "Disposition-Notification"].contains(&name),
        _ => false,
    }
}

fn boundary<'a>(kind: &ContentType<'a>) -> Result<Cow<'a, str>, BodyRefusal> {
    kind.param("boundary").ok_or(BodyRefusal::ContentType)
}

fn text<'a>(
    kind: &ContentType<'_>,
    transfer: Transfer,
    bytes: &'a [u8],
) -> Result<Cow<'a, str>, BodyRefusal> {
    let charset = kind.charset();
    match transfer.decode(bytes)? {
        Cow::Borrowed(bytes) => charset::decode(bytes, charset.as_deref()),
        Cow::Owned(bytes) => Ok(Cow::Owned(charset::decode(&bytes, charset.as_deref())?.into_owned())),
    }
}

/// Calls `piece` with the text between line ends and `line_end` for each of them: CRLF, CR and LF count alike. XML knows
/// LF only (XML 1.0 §2.11), text/plain CRLF only (RFC 2046 §4.1.1); each side gets its own.
pub(super) fn lines<'a, T>(text: &'a str, state: &mut T, piece: fn(&mut T, &'a str), line_end: fn(&mut T)) {
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let (line, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        piece(state, line);
        line_end(state);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    piece(state, rest);
}
