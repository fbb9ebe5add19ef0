//! KeyboardActivity: what Lync and its kin send in an INFO of a session while somebody types.
//!
//! `application/xml` says little about what it is: an INFO with another document of that type is not about typing.

use nuncio_xmpp::StartTag;

use super::Typing;
use crate::document::{self, DocumentError};

/// The media type.
pub const MEDIA_TYPE: &str = "application/xml";

/// Reads a document. `charset` is the parameter of its Content-Type. A status that nobody knows is [`Typing::Idle`].
///
/// # Errors
/// [`DocumentError`]; [`DocumentError::Root`] if it is about something else.
pub fn read(document: &[u8], charset: Option<&str>) -> Result<Typing, DocumentError> {
    let document = document::read(document, charset)?;
    let root = document.root();
    if root.name() != "KeyboardActivity" {
        return Err(DocumentError::Root);
    }
    let status = root.elements().find(|child| child.name() == "status");
    let status = status.ok_or(DocumentError::Incomplete("status"))?;
    let types = status.attr("status").is_some_and(|status| status.eq_ignore_ascii_case("type"));
    Ok(if types { Typing::Active } else { Typing::Idle })
}

/// Appends the document.
pub fn write(typing: Typing, out: &mut Vec<u8>) {
    let status = match typing {
        Typing::Active => "type",
        Typing::Idle => "idle",
    };
    out.extend_from_slice(b"<?xml version=\"1.0\"?>\r\n");
    StartTag::open(out, "KeyboardActivity").end();
    StartTag::open(out, "status").attr("status", status).empty();
    StartTag::close(out, "KeyboardActivity");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn im_30_keyboard_activity_is_read_in_every_spelling() {
        for (document, typing) in [
            (
                "<?xml version=\"1.0\"?>\r\n<KeyboardActivity>\r\n  <status status=\"type\" />\r\n</KeyboardActivity>",
                Typing::Active,
            ),
            ("<KeyboardActivity xmlns='urn:any'><status status='type'/></KeyboardActivity>", Typing::Active),
            ("<KeyboardActivity><status status='idle'/></KeyboardActivity>", Typing::Idle),
            ("<KeyboardActivity><status/></KeyboardActivity>", Typing::Idle),
            ("<KeyboardActivity><status status='dance'/></KeyboardActivity>", Typing::Idle),
        ] {
            assert_eq!(read(document.as_bytes(), None), Ok(typing), "{document}");
        }
    }

    #[test]
    fn other_documents_are_not_about_typing() {
        assert_eq!(read(b"<media_control/>", None), Err(DocumentError::Root));
        assert_eq!(read(b"<KeyboardActivity/>", None), Err(DocumentError::Incomplete("status")));
        assert_eq!(read(b"type", None).unwrap_err().status(), 400);
    }

    #[test]
    fn what_is_written_is_read() {
        for typing in [Typing::Active, Typing::Idle] {
            let mut out = Vec::new();
            write(typing, &mut out);
            assert_eq!(read(&out, None), Ok(typing));
        }
        let mut out = Vec::new();
        write(Typing::Active, &mut out);
        assert_eq!(
            out,
            b"<?xml version=\"1.0\"?>\r\n<KeyboardActivity><status status='type'/></KeyboardActivity>"
        );
    }
}
