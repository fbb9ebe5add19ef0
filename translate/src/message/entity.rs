//! A part: header fields, an empty line, content (RFC 2045 §3).

use std::borrow::Cow;

use nuncio_sip::multipart::{field, unfolded};

use super::body::BodyRefusal;
use super::transfer::Transfer;

/// Longest head of a part, in octets.
const HEAD_MAX: usize = 8 * 1024;
/// Most header fields of a part.
const MOST_FIELDS: usize = 32;

/// A part, taken apart; of its header fields what decides how it is read.
#[derive(Debug, Default)]
pub(crate) struct Entity<'a> {
    /// Unfolded.
    pub(crate) content_type: Option<Cow<'a, str>>,
    pub(crate) content_id: Option<&'a str>,
    /// A file that goes with a message, and is none (RFC 2183 §2.2).
    pub(crate) is_attachment: bool,
    pub(crate) transfer: Transfer,
    /// As it stands there.
    pub(crate) content: &'a [u8],
}

impl<'a> Entity<'a> {
    /// Reads a part.
    pub(crate) fn read(part: &'a [u8]) -> Result<Self, BodyRefusal> {
        let mut entity = Self::default();
        let mut rest = part;
        for _ in 0..=MOST_FIELDS {
            let (field, after) = field(rest);
            let Some(after) = after.filter(|after| part.len() - after.len() <= HEAD_MAX) else {
                return Err(BodyRefusal::Structure);
            };
            rest = after;
            if field.is_empty() {
                entity.content = rest;
                return Ok(entity);
            }
            let field = std::str::from_utf8(field).map_err(|_| BodyRefusal::Structure)?;
            let (name, value) = field.split_once(':').ok_or(BodyRefusal::Structure)?;
            entity.take(name.trim_end(), value.trim())?;
        }
        Err(BodyRefusal::Structure)
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), BodyRefusal> {
        if name.eq_ignore_ascii_case("Content-Type") {
            self.content_type = Some(unfolded(value));
        } else if name.eq_ignore_ascii_case("Content-Transfer-Encoding") {
            self.transfer = Transfer::of(value).ok_or(BodyRefusal::Encoding)?;
        } else if name.eq_ignore_ascii_case("Content-Encoding") && !value.eq_ignore_ascii_case("identity") {
            return Err(BodyRefusal::Encoding);
        } else if name.eq_ignore_ascii_case("Content-ID") {
            self.content_id = Some(value);
        } else if name.eq_ignore_ascii_case("Content-Disposition") {
            let kind = value.split(';').next().unwrap_or_default();
            self.is_attachment = kind.trim().eq_ignore_ascii_case("attachment");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_count_whatever_their_case_and_folding() {
        let part = b"content-TYPE: text/plain;\r\n\tcharset=UTF-8\r\nX-Other: a: b\r\nContent-ID: <a@b>\r\n\
                     Content-Transfer-Encoding: base64\nContent-Disposition: inline\r\n\r\nline 1\r\n\r\nline 2";
        let entity = Entity::read(part).unwrap();
        assert_eq!(entity.content_type.as_deref(), Some("text/plain;\tcharset=UTF-8"));
        assert_eq!((entity.content_id, entity.transfer), (Some("<a@b>"), Transfer::Base64));
        assert!(!entity.is_attachment);
        assert_eq!(entity.content, b"line 1\r\n\r\nline 2");
    }

    #[test]
    fn files_are_known_as_such() {
        for (field, is_attachment) in [
            ("Content-Disposition: Attachment;\r\n filename=\"a;b\"", true),
            ("Content-Disposition: attachment", true),
            ("Content-Disposition: inline; filename=attachment", false),
            ("Content-Description: attachment", false),
        ] {
            let part = format!("{field}\r\n\r\nx");
            assert_eq!(Entity::read(part.as_bytes()).unwrap().is_attachment, is_attachment, "{field}");
        }
    }

    #[test]
    fn a_part_may_have_no_fields_and_no_content() {
        assert_eq!(Entity::read(b"\r\nx").unwrap().content, b"x");
        assert_eq!(Entity::read(b"\r\n").unwrap().content, b"");
        assert!(Entity::read(b"\n x").unwrap().content_type.is_none());
    }

    #[test]
    fn what_has_no_end_or_is_no_field_is_refused() {
        for part in [
            b"".as_slice(),
            b"Content-Type: text/plain",
            b"Content-Type: text/plain\r\n",
            b"no colon\r\n\r\n",
            b"\xff: x\r\n\r\n",
        ] {
            assert_eq!(Entity::read(part).unwrap_err(), BodyRefusal::Structure, "{part:?}");
        }
        for part in ["Content-Encoding: gzip\r\n\r\n", "Content-Transfer-Encoding: x-own\r\n\r\n"] {
            assert_eq!(Entity::read(part.as_bytes()).unwrap_err(), BodyRefusal::Encoding);
        }
        assert!(Entity::read(b"Content-Encoding: identity\r\n\r\n").is_ok());
    }

    #[test]
    fn the_head_of_a_part_has_limits() {
        let fields = |count| "X: y\r\n".repeat(count) + "\r\n";
        assert!(Entity::read(fields(MOST_FIELDS).as_bytes()).is_ok());
        assert!(Entity::read(fields(MOST_FIELDS + 1).as_bytes()).is_err());
        let long = |length: usize| format!("X: {}\r\n\r\n", "y".repeat(length - 7));
        assert!(Entity::read(long(HEAD_MAX).as_bytes()).is_ok());
        assert!(Entity::read(long(HEAD_MAX + 1).as_bytes()).is_err());
    }
}
