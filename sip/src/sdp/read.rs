//! Descriptions of the other side: hostile input.

use super::{MAX_LINES, MAX_MEDIA, MAX_SIZE};
use crate::{ContentType, lex};

/// A description, read as far as its media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    media: Vec<Media<'a>>,
}

/// One stream of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// `message`, `audio`, …
    pub kind: &'a str,
    pub port: u16,
    /// `sip`, `TCP/MSRP`, …
    pub protocol: &'a str,
    /// What follows the protocol.
    pub formats: &'a str,
    /// The value of `a=accept-types`.
    pub accept_types: Option<&'a str>,
}

/// Why a description cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// More than [`MAX_SIZE`].
    #[error("the session description is longer than {MAX_SIZE} bytes")]
    TooLarge,
    /// More than [`MAX_LINES`].
    #[error("the session description has more than {MAX_LINES} lines")]
    TooManyLines,
    /// More than [`MAX_MEDIA`].
    #[error("the session description has more than {MAX_MEDIA} media")]
    TooManyMedia,
    /// Bytes that are no text.
    #[error("the session description is not UTF-8")]
    NotUtf8,
    /// It does not begin with `v=0`.
    #[error("the session description does not begin with v=0")]
    Version,
    /// A line that is not `letter=value`, or holds control characters.
    #[error("line {0} of the session description is malformed")]
    Line(usize),
    /// An `m=` line without kind, port, protocol and format.
    #[error("line {0} of the session description describes no media")]
    Media(usize),
}

/// Why nothing of an offer can be accepted. Every reason is answered with 488 (CH-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// No `m=` line at all.
    #[error("the offer has no media")]
    NoMedia,
    /// Messages, but not inside the dialog: MSRP (RFC 4975).
    #[error("instant messages go as SIP MESSAGE here, not over MSRP")]
    OtherTransport,
    /// Audio, video, …
    #[error("only instant messages cross here, neither audio nor video")]
    OtherMedia,
    /// The stream of messages has port 0.
    #[error("the offer refuses instant messages itself")]
    Refused,
    /// The other side does not read plain text.
    #[error("the other side takes no text/plain")]
    NoPlainText,
}

impl Unacceptable {
    /// The code of a Warning header field (RFC 3261 §20.43).
    pub fn warning(self) -> u16 {
        match self {
            Self::NoMedia | Self::OtherMedia | Self::Refused => 304,
            Self::OtherTransport => 302,
            Self::NoPlainText => 305,
        }
    }
}

impl<'a> Offer<'a> {
    /// Reads a body of [`MEDIA_TYPE`](super::MEDIA_TYPE). Lines end with CRLF or LF; what is not about media is passed over.
    ///
    /// # Errors
    /// [`SdpError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, SdpError> {
        if body.len() > MAX_SIZE {
            return Err(SdpError::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| SdpError::NotUtf8)?;
        let mut media: Vec<Media<'a>> = Vec::new();
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        if lines.next().is_none_or(|(_, line)| line != "v=0") {
            return Err(SdpError::Version);
        }
        for (number, line) in lines {
            if number > MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            if line.is_empty() {
                continue;
            }
            let (name, value) = lex::cut(line, b'=').ok_or(SdpError::Line(number))?;
            let is_letter = name.len() == 1 && name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !is_letter || value.chars().any(|c| c.is_control() && c != '\t') {
                return Err(SdpError::Line(number));
            }
            match name {
                "m" if media.len() == MAX_MEDIA => return Err(SdpError::TooManyMedia),
                "m" => media.push(Media::parse(value).ok_or(SdpError::Media(number))?),
                "a" => {
                    if let (Some(media), Some(types)) =
                        (media.last_mut(), value.strip_prefix("accept-types:"))
                    {
                        media.accept_types.get_or_insert(types);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { media })
    }

    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// The place of the stream of messages: `m=message … sip …`, or `m=x-ms-message` of the oldest servers.
    ///
    /// # Errors
    /// [`Unacceptable`]: there is none that can be used.
    pub fn messages(&self) -> Result<usize, Unacceptable> {
        let usable =
            |media: &Media<'_>| media.is_messages() && media.port != 0 && media.accepts().plain_text();
        if let Some(place) = self.media.iter().position(usable) {
            return Ok(place);
        }
        let any = |is: fn(&Media<'_>) -> bool| self.media.iter().any(is);
        Err(if self.media.is_empty() {
            Unacceptable::NoMedia
        } else if any(|media| media.is_messages() && media.port != 0) {
            Unacceptable::NoPlainText
        } else if any(|media| media.is_messages()) {
            Unacceptable::Refused
        } else if any(|media| media.kind.eq_ignore_ascii_case("message")) {
            Unacceptable::OtherTransport
        } else {
            Unacceptable::OtherMedia
        })
    }
}

impl<'a> Media<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (kind, rest) = lex::cut(value, b' ')?;
        let (port, rest) = lex::cut(rest, b' ')?;
        let (protocol, formats) = lex::cut(rest, b' ')?;
        let port = lex::cut_before(port, b'/').0;
        let port = lex::number(port).and_then(|port| u16::try_from(port).ok())?;
        let protocol_ok = protocol.split('/').all(lex::is_token);
        let formats_ok = !formats.is_empty() && !formats.contains('\t');
        (lex::is_token(kind) && protocol_ok && formats_ok).then_some(Self {
            kind,
            port,
            protocol,
            formats,
            accept_types: None,
        })
    }

    /// Messages inside the dialog.
    pub fn is_messages(&self) -> bool {
        let kind = ["message", "x-ms-message"].iter().any(|kind| self.kind.eq_ignore_ascii_case(kind));
        kind && self.protocol.eq_ignore_ascii_case("sip")
    }

    /// What the other side reads.
    pub fn accepts(&self) -> AcceptTypes<'a> {
        AcceptTypes(self.accept_types.unwrap_or("*"))
    }
}

/// The media types of `a=accept-types` (RFC 4975 §8.6): separated by blanks, `*` stands for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptTypes<'a>(pub &'a str);

impl<'a> AcceptTypes<'a> {
    /// Without parameters, as received.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split_ascii_whitespace().map(|media| lex::cut_before(media, b';').0)
    }

    /// Whether this type itself is among them.
    pub fn names(self, main: &str, sub: &str) -> bool {
        self.iter().any(|range| ContentType::parse(range).is_ok_and(|range| range.is(main, sub)))
    }

    /// Whether a body of this type may be sent.
    pub fn contains(self, main: &str, sub: &str) -> bool {
        self.iter().any(|range| match ContentType::parse(range) {
            _ if range == "*" => true,
            Ok(range) => range.is(main, sub) || range.is(main, "*") || range.is("*", "*"),
            Err(_) => false,
        })
    }

    fn plain_text(self) -> bool {
        self.contains("text", "plain")
    }
}
