//! `application/im-iscomposing+xml` (RFC 3994; IM-30, IM-33).

use std::time::Duration;

use nuncio_xmpp::{ElementRef, StartTag};

use super::{COMPOSING_LASTS, LONGEST, Typing};
use crate::document::{self, DocumentError};

/// The media type.
pub const MEDIA_TYPE: &str = "application/im-iscomposing+xml";

const NS: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// What a document says. What else may stand in it, kinds of media and times, is nobody's business on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsComposing {
    /// States that nobody knows are [`Typing::Idle`] (§3.5).
    pub typing: Typing,
    /// After how long the next document comes; whole seconds.
    pub refresh: Option<Duration>,
}

impl IsComposing {
    /// How long it counts, if nothing follows (IM-30).
    pub fn lasts(&self) -> Duration {
        self.refresh.unwrap_or(COMPOSING_LASTS).min(LONGEST)
    }

    /// Reads a document. `charset` is the parameter of its Content-Type.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(document: &[u8], charset: Option<&str>) -> Result<Self, DocumentError> {
        let document = document::read(document, charset)?;
        let root = document.root();
        if !root.is("isComposing", NS) {
            return Err(DocumentError::Root);
        }
        let state = root.child("state", NS).ok_or(DocumentError::Incomplete("state"))?;
        let typing = if state.text().trim() == "active" { Typing::Active } else { Typing::Idle };
        Ok(Self { typing, refresh: root.child("refresh", NS).and_then(seconds) })
    }

    /// Appends the document.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        StartTag::open(out, "isComposing").ns(NS).end();
        let state = match self.typing {
            Typing::Active => "active",
            Typing::Idle => "idle",
        };
        StartTag::text_element(out, "state", state);
        if self.typing == Typing::Active {
            StartTag::text_element(out, "contenttype", "text/plain");
            if let Some(refresh) = self.refresh {
                StartTag::text_element(out, "refresh", &refresh.as_secs().max(1).to_string());
            }
        }
        StartTag::close(out, "isComposing");
    }
}

/// An `xs:positiveInteger`; `None` if it is none. One too large for a number is only too large.
fn seconds(refresh: ElementRef<'_>) -> Option<Duration> {
    let text = refresh.text();
    let digits = text.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let is_positive =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0');
    is_positive.then(|| digits.parse().map_or(LONGEST, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<IsComposing, DocumentError> {
        let document = format!("<isComposing xmlns='{NS}'>{inside}</isComposing>");
        IsComposing::read(document.as_bytes(), None)
    }

    #[test]
    fn im_33_the_examples_of_the_rfc() {
        let schema = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\n\
                      xsi:schemaLocation=\"urn:ietf:params:xml:ns:im-composing\niscomposing.xsd\"";
        let active = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<isComposing xmlns=\"{NS}\"\n{schema}>\n  <state>active</state>\n\
             <contenttype>text/plain</contenttype>\n  <refresh>90</refresh>\n</isComposing>"
        );
        let read = IsComposing::read(active.as_bytes(), Some("UTF-8")).unwrap();
        assert_eq!(read, IsComposing { typing: Typing::Active, refresh: Some(Duration::from_secs(90)) });
        assert_eq!(read.lasts(), Duration::from_secs(90));
        let idle = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<isComposing xmlns=\"{NS}\"\n{schema}>\n  <state>idle</state>\n\
             <lastactive>2003-01-27T10:43:00Z</lastactive>\n  <contenttype>audio</contenttype>\n</isComposing>"
        );
        assert_eq!(IsComposing::read(idle.as_bytes(), None).unwrap().typing, Typing::Idle);
    }

    #[test]
    fn im_30_unknown_states_are_idle_and_a_refresh_must_be_a_number() {
        assert_eq!(read("<state>thinking</state>").unwrap().typing, Typing::Idle);
        assert_eq!(read("<state>ACTIVE</state>").unwrap().typing, Typing::Idle);
        for (refresh, lasts) in [
            ("60", 60),
            (" +061 ", 61),
            ("0", 120),
            ("-5", 120),
            ("soon", 120),
            ("", 120),
            ("3600", 3600),
            ("3601", 3600),
            ("99999999999999999999999", 3600),
        ] {
            let read = read(&format!("<state>active</state><refresh>{refresh}</refresh>")).unwrap();
            assert_eq!(read.lasts(), Duration::from_secs(lasts), "{refresh}");
        }
        assert_eq!(read("<state>active</state>").unwrap().lasts(), COMPOSING_LASTS);
    }

    #[test]
    fn im_33_other_documents_are_refused() {
        assert_eq!(read("").unwrap_err(), DocumentError::Incomplete("state"));
        assert_eq!(
            read("<state xmlns='urn:x'>active</state>").unwrap_err(),
            DocumentError::Incomplete("state")
        );
        for document in
            ["<isComposing><state>active</state></isComposing>".to_owned(), format!("<is xmlns='{NS}'/>")]
        {
            assert_eq!(IsComposing::read(document.as_bytes(), None).unwrap_err(), DocumentError::Root);
        }
        let bomb = format!(
            "<!DOCTYPE x [<!ENTITY a 'b'>]><isComposing xmlns='{NS}'><state>&a;</state></isComposing>"
        );
        assert_eq!(IsComposing::read(bomb.as_bytes(), None).unwrap_err().status(), 400);
    }

    #[test]
    fn im_33_what_is_written_is_read_and_has_the_order_of_the_schema() {
        for written in [
            IsComposing { typing: Typing::Active, refresh: Some(Duration::from_secs(125)) },
            IsComposing { typing: Typing::Active, refresh: None },
            IsComposing { typing: Typing::Idle, refresh: None },
        ] {
            let mut out = Vec::new();
            written.write(&mut out);
            assert_eq!(IsComposing::read(&out, None), Ok(written));
        }
        let mut out = Vec::new();
        IsComposing { typing: Typing::Active, refresh: Some(Duration::from_secs(60)) }.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'>\
             <state>active</state><contenttype>text/plain</contenttype><refresh>60</refresh></isComposing>"
        );
    }
}
