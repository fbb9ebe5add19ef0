//! The offer in a request: a session description, or several of them in a multipart body.
//!
//! Lync offers audio and video in `multipart/alternative`: first a description for servers of 2007
//! (`Content-Disposition: session;handling=optional;ms-proxy-2007fallback`), then the one it prefers.

use smallvec::SmallVec;

use crate::dialog::Answer;
use crate::multipart::{field, parts, unfolded};
use crate::sdp::{MEDIA_TYPE, Offer, SdpError, Unacceptable};
use crate::{ContentType, HeaderName, Message};

/// Most parts of one body, those in parts included.
const MOST_PARTS: usize = 16;
/// How deep parts may be in parts: `multipart/mixed`, with where the caller is, around `multipart/alternative`.
const MOST_LEVELS: usize = 2;
/// Most header fields of a part.
const MOST_FIELDS: usize = 32;

/// Reads the offer in a request; `None`: it holds none.
pub(super) fn offer<T>(
    request: &Message,
    read: impl FnOnce(&Offer<'_>) -> Result<T, Unacceptable>,
) -> Result<Option<T>, Answer> {
    let body = request.body();
    if body.is_empty() {
        return Ok(None);
    }
    let encoded = request.list(HeaderName::ContentEncoding).any(|c| !c.eq_ignore_ascii_case("identity"));
    if encoded {
        return Err(is_encoded());
    }
    let kind = match request.content_type() {
        Ok(kind) => kind.ok_or_else(no_description)?,
        Err(_) => return Err(Answer::new(400, "Malformed Content-Type Header Field")),
    };
    let mut found = Found::default();
    found.look_into(&kind, &body, 0)?;
    let offer = found.best()?;
    read(&offer)
        .map(Some)
        .map_err(|why| Answer::plain(488).warning(why.warning(), why.to_string()).because(why.to_string()))
}

/// What a body holds.
#[derive(Default)]
struct Found<'a> {
    /// Descriptions; who has a choice among them takes the first that he can.
    descriptions: SmallVec<[&'a [u8]; 2]>,
    /// An invitation to a conference.
    conference: bool,
    /// There is a part that has to be understood, and is not.
    foreign: bool,
    /// The same, for its encoding.
    encoded: bool,
    parts: usize,
}

impl<'a> Found<'a> {
    fn look_into(&mut self, kind: &ContentType<'_>, content: &'a [u8], level: usize) -> Result<(), Answer> {
        if kind.is("application", "sdp") {
            self.descriptions.push(content);
        } else if kind.is("multipart", "alternative") {
            let mut inside = Self { parts: self.parts, ..Self::default() };
            inside.look_into_parts(kind, content, level)?;
            // The last is the best (RFC 2046 §5.1.4), and of the others none has to be understood.
            let known = !inside.descriptions.is_empty();
            self.descriptions.extend(inside.descriptions.into_iter().rev());
            self.parts = inside.parts;
            self.conference |= inside.conference && !known;
            self.encoded |= inside.encoded && !known;
            self.foreign |= !known;
        } else if kind.is("multipart", "mixed") || kind.is("multipart", "related") {
            self.look_into_parts(kind, content, level)?;
        } else if kind.is("application", "ms-conf-invite+xml") {
            self.conference = true;
        } else {
            self.foreign = true;
        }
        Ok(())
    }

    fn look_into_parts(
        &mut self,
        kind: &ContentType<'_>,
        content: &'a [u8],
        level: usize,
    ) -> Result<(), Answer> {
        let boundary = kind.param("boundary");
        let Some(boundary) = boundary else {
            return Err(Answer::new(400, "Malformed Content-Type Header Field"));
        };
        let before = self.parts;
        for part in parts(content, &boundary) {
            self.parts += 1;
            if self.parts > MOST_PARTS || level >= MOST_LEVELS {
                let why = format!(
                    "the body of the INVITE has more than {MOST_PARTS} parts, or more than {MOST_LEVELS} levels of them"
                );
                return Err(Answer::plain(413).because(why));
            }
            let part = Part::read(part).ok_or_else(malformed_parts)?;
            let held = self.descriptions.len();
            let (conference, foreign, encoded) = (self.conference, self.foreign, self.encoded);
            if part.encoded {
                self.encoded = true;
            } else {
                // RFC 2045 §5.2: without a type it is text.
                let kind = part.kind.as_deref().unwrap_or("text/plain");
                let kind = ContentType::parse(kind).map_err(|_| malformed_parts())?;
                self.look_into(&kind, part.content, level + 1)?;
            }
            if part.optional && self.descriptions.len() == held {
                (self.conference, self.foreign, self.encoded) = (conference, foreign, encoded);
            }
        }
        if self.parts == before { Err(malformed_parts()) } else { Ok(()) }
    }

    /// The description to be answered, or the refusal. What it offers comes first: who asks for audio gets to know that there
    /// is none, whatever else stands in the body.
    fn best(&self) -> Result<Offer<'a>, Answer> {
        let mut best: Option<Result<Offer<'a>, SdpError>> = None;
        for description in &self.descriptions {
            let read = Offer::parse(description);
            let usable = read.as_ref().is_ok_and(|offer| offer.messages().is_ok());
            if usable || read.is_ok() && !matches!(best, Some(Ok(_))) || best.is_none() {
                best = Some(read);
            }
            if usable {
                break;
            }
        }
        match best {
            Some(Ok(offer)) if offer.messages().is_err() => Ok(offer),
            _ if self.conference => Err(is_conference()),
            _ if self.encoded => Err(is_encoded()),
            _ if self.foreign => Err(no_description()),
            Some(best) => best.map_err(malformed),
            None => Err(no_description()),
        }
    }
}

/// A part of the body.
#[derive(Default)]
struct Part<'a> {
    /// Content-Type.
    kind: Option<std::borrow::Cow<'a, str>>,
    /// `handling=optional`: otherwise it has to be understood (RFC 3261 §20.11, RFC 5621 §4).
    optional: bool,
    /// In something other than the bytes themselves.
    encoded: bool,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut rest = part;
        for _ in 0..=MOST_FIELDS {
            let (line, after) = field(rest);
            rest = after?;
            if line.is_empty() {
                read.content = rest;
                return Some(read);
            }
            let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
            let (name, value) = (name.trim_end(), value.trim());
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("Content-Type") {
                read.kind = Some(unfolded(value));
            } else if is("Content-Disposition") {
                let params = value.split(';').skip(1).filter_map(|param| param.split_once('='));
                let mut handling = params.filter(|(name, _)| name.trim().eq_ignore_ascii_case("handling"));
                read.optional = handling
                    .any(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("optional"));
            } else if is("Content-Encoding") {
                read.encoded |= !value.eq_ignore_ascii_case("identity");
            } else if is("Content-Transfer-Encoding") {
                read.encoded |=
                    !["7bit", "8bit", "binary"].iter().any(|known| value.eq_ignore_ascii_case(known));
            }
        }
        None
    }
}

fn is_encoded() -> Answer {
    let answer = Answer::plain(415).with(HeaderName::AcceptEncoding.as_str(), "identity");
    answer.because("the session description is in a Content-Encoding that is not supported")
}

/// Multiparty by design has no counterpart in a pair.
pub(super) fn is_conference() -> Answer {
    let why = "conferences do not cross to XMPP: invite the contact alone";
    Answer::new(488, "Conferences Not Supported").because(why)
}

fn no_description() -> Answer {
    let answer = Answer::plain(415).with(HeaderName::Accept.as_str(), MEDIA_TYPE);
    answer.because(
        "the body of the INVITE is no session description (application/sdp), or holds more than that",
    )
}

fn malformed_parts() -> Answer {
    Answer::new(400, "Malformed Multipart Body").because("the parts of the body of the INVITE cannot be read")
}

fn malformed(error: SdpError) -> Answer {
    let status = match error {
        SdpError::TooLarge | SdpError::TooManyLines | SdpError::TooManyMedia => 488,
        _ => 400,
    };
    let mut reason = error.to_string();
    // The others begin with a lower-case letter, for they stand in sentences; a phrase does not.
    if let Some(first) = reason.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let why = format!("the session description cannot be used: {error}");
    Answer::new(status, reason).because(why)
}
