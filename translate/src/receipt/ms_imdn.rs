//! `application/ms-imdn+xml`: what servers of the Lync kind say about messages they had accepted with 202.
//!
//! It lists those whom the message did not reach. Whoever is not listed has it.

use nuncio_xmpp::{ElementRef, StartTag};

use super::{Fate, is_id};
use crate::document::{self, DocumentError};
use crate::text;

/// The media type.
pub const MEDIA_TYPE: &str = "application/ms-imdn+xml";
/// Most recipients read.
pub const MOST_RECIPIENTS: usize = 32;

const NS: &str = "http://schemas.microsoft.com/rtc/2005/08/imdn";
const DIAGNOSTICS: &str = "ms-diagnostics";

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsImdn {
    /// The Message-Id that the 202 gave the message.
    pub message_id: String,
    /// Those it was not simply delivered to.
    pub recipients: Vec<Recipient>,
}

/// What became of the message on its way to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// His address, as written.
    pub uri: String,
    /// As the final status of a request.
    pub status: u16,
    /// The reason, as in the header field of that name. For logs and front ends; partners never see it.
    pub diagnostics: Option<String>,
}

impl MsImdn {
    /// Reads a document. `charset` is the parameter of its Content-Type. A recipient without address or status says
    /// nothing; of more than [`MOST_RECIPIENTS`] the first count.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(document: &[u8], charset: Option<&str>) -> Result<Self, DocumentError> {
        let document = document::read(document, charset)?;
        let root = document.root();
        if !root.is("imdn", NS) {
            return Err(DocumentError::Root);
        }
        let message_id =
            root.child("message-id", NS).map(|id| id.text().trim().to_owned()).filter(|id| is_id(id));
        let recipients = root.elements().filter(|child| child.is("recipient", NS));
        Ok(Self {
            message_id: message_id.ok_or(DocumentError::Incomplete("message-id"))?,
            recipients: recipients.filter_map(Recipient::read).take(MOST_RECIPIENTS).collect(),
        })
    }

    /// What became of the message on its way to the recipient whose address `is_he` knows.
    pub fn fate(&self, is_he: impl Fn(&str) -> bool) -> Fate {
        let listed = self.recipients.iter().find(|recipient| is_he(&recipient.uri));
        match listed.map(|recipient| recipient.status) {
            None | Some(200..300) => Fate::Delivered,
            Some(300..) => Fate::Failed,
            Some(_) => Fate::Unknown,
        }
    }

    /// Appends the document.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        StartTag::open(out, "imdn").ns(NS).end();
        StartTag::text_element(out, "message-id", &self.message_id);
        for recipient in &self.recipients {
            StartTag::open(out, "recipient").attr("uri", &recipient.uri).end();
            StartTag::text_element(out, "status", &recipient.status.to_string());
            if let Some(diagnostics) = &recipient.diagnostics {
                StartTag::open(out, "entry").end();
                StartTag::text_element(out, "key", DIAGNOSTICS);
                StartTag::text_element(out, "value", diagnostics);
                StartTag::close(out, "entry");
            }
            StartTag::close(out, "recipient");
        }
        StartTag::close(out, "imdn");
    }
}

impl Recipient {
    fn read(element: ElementRef<'_>) -> Option<Self> {
        let status = element.child("status", NS)?.text().trim().parse().ok()?;
        let mut entries = element.elements().filter(|child| child.is("entry", NS));
        let named =
            entries.find(|entry| entry.child("key", NS).is_some_and(|key| key.text().trim() == DIAGNOSTICS));
        let value = named.and_then(|entry| entry.child("value", NS));
        let diagnostics = value.map(|value| text::one_line(&value.text(), text::SUBJECT_CAP).into_owned());
        Some(Self { uri: element.attr("uri")?.to_owned(), status, diagnostics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "<?xml version=\"1.0\"?>\r\n<imdn xmlns=\"http://schemas.microsoft.com/rtc/2005/08/imdn\">\r\n\
        <message-id>8a7b</message-id>\r\n<recipient uri=\"sip:bob@contoso.com\">\r\n<status>408</status>\r\n\
        <entry><key>other</key><value>x</value></entry>\r\n\
        <entry><key>ms-diagnostics</key><value>1007;reason=\"No\r\nroute\";source=\"fe\"</value></entry>\r\n\
        </recipient>\r\n</imdn>";

    #[test]
    fn who_is_listed_did_not_get_it_and_all_others_did() {
        let imdn = MsImdn::read(EXAMPLE.as_bytes(), None).unwrap();
        assert_eq!(imdn.message_id, "8a7b");
        let [bob] = imdn.recipients.as_slice() else { panic!("{imdn:?}") };
        assert_eq!(
            (bob.status, bob.diagnostics.as_deref()),
            (408, Some("1007;reason=\"No route\";source=\"fe\""))
        );
        assert_eq!(imdn.fate(|uri| uri == "sip:bob@contoso.com"), Fate::Failed);
        assert_eq!(imdn.fate(|uri| uri == "sip:carol@contoso.com"), Fate::Delivered);
    }

    #[test]
    fn the_status_says_what_it_says_in_an_answer() {
        for (status, fate) in [
            (100, Fate::Unknown),
            (200, Fate::Delivered),
            (202, Fate::Delivered),
            (302, Fate::Failed),
            (403, Fate::Failed),
            (603, Fate::Failed),
        ] {
            let document = EXAMPLE.replace("408", &status.to_string());
            assert_eq!(MsImdn::read(document.as_bytes(), None).unwrap().fate(|_| true), fate, "{status}");
        }
    }

    #[test]
    fn what_cannot_be_understood_says_nothing() {
        for (part, other) in [
            ("<status>408</status>", ""),
            ("408", "soon"),
            ("uri=", "url="),
            ("<recipient ", "<recipient xmlns='urn:x' "),
        ] {
            let document = EXAMPLE.replace(part, other);
            assert_eq!(MsImdn::read(document.as_bytes(), None).unwrap().recipients, [], "{document}");
        }
        let refused = |part: &str, other: &str| {
            MsImdn::read(EXAMPLE.replace(part, other).as_bytes(), None).unwrap_err()
        };
        assert_eq!(refused("8a7b", " "), DocumentError::Incomplete("message-id"));
        assert_eq!(refused("schemas.microsoft.com", "example.com"), DocumentError::Root);
        assert_eq!(refused("8a7b", "&x;").status(), 400);
        assert_eq!(MsImdn::read(EXAMPLE.as_bytes(), Some("utf-16")), Err(DocumentError::Charset));
    }

    #[test]
    fn recipients_have_a_limit() {
        let with = |count: usize| {
            let recipients = "<recipient uri='sip:a@b'><status>500</status></recipient>".repeat(count);
            let document = format!("<imdn xmlns='{NS}'><message-id>1</message-id>{recipients}</imdn>");
            MsImdn::read(document.as_bytes(), None).unwrap().recipients.len()
        };
        assert_eq!((with(MOST_RECIPIENTS), with(MOST_RECIPIENTS + 1)), (MOST_RECIPIENTS, MOST_RECIPIENTS));
    }

    #[test]
    fn what_is_written_is_read() {
        let recipient = |uri: &str, status, diagnostics: Option<&str>| Recipient {
            uri: uri.into(),
            status,
            diagnostics: diagnostics.map(Into::into),
        };
        let imdn = MsImdn {
            message_id: "<8a7b>".into(),
            recipients: vec![
                recipient("sip:bob@contoso.com;x='<y>'", 504, Some("29007;reason=\"<refused>\"")),
                recipient("sip:carol@contoso.com", 403, None),
            ],
        };
        let mut out = Vec::new();
        imdn.write(&mut out);
        assert_eq!(MsImdn::read(&out, None), Ok(imdn));
    }
}
