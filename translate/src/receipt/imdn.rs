//! Instant message disposition notifications (RFC 5438; IM-41, IM-42).
//!
//! A message whose sender wants to know of its fate is `message/cpim` with an id and a wish list: [`Wishes`]. What tells him
//! is `message/cpim` around `message/imdn+xml`: [`Notification`]. Ways back that the message names (IMDN-Record-Route) are
//! not gone: a notification goes where SIP says that the message came from (SEC-37).

use std::borrow::Cow;

use nuncio_sip::ContentType;
use nuncio_xmpp::{ElementRef, StartTag};

use super::{Fate, is_id};
use crate::cpim::{self, Cpim};
use crate::document::{self, DocumentError};
use crate::message::Entity;
use crate::time;

/// The media type of the document inside.
pub const MEDIA_TYPE: &str = "message/imdn+xml";
/// The namespace of its header fields in CPIM.
pub const FIELDS: &str = "urn:ietf:params:imdn";

/// Longest DateTime taken from a message, in octets; the form of RFC 3339 needs less.
const DATE_MAX: usize = 64;

const NS: &str = "urn:ietf:params:xml:ns:imdn";

/// What the sender of a message wants to know. Only from a message that names itself: without an id nothing could be told
/// about it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Wishes<'a> {
    /// Message-ID of CPIM; empty without one.
    pub message_id: Cow<'a, str>,
    /// DateTime of CPIM, as written; it goes back with the notification.
    pub date_time: Cow<'a, str>,
    /// `positive-delivery`.
    pub delivered: bool,
    /// `negative-delivery`.
    pub failed: bool,
    /// `display`.
    pub displayed: bool,
}

/// A notification: what became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Message-ID of the message.
    pub message_id: Cow<'a, str>,
    /// DateTime of the message, as its sender wrote it.
    pub date_time: Cow<'a, str>,
    /// Whom it was for.
    pub recipient: Option<Cow<'a, str>>,
    pub fate: Fate,
}

/// Everything about a notification that is ours to say.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Address of whom the message was for, with scheme.
    pub from: &'a str,
    /// Address of who wrote the message, with scheme.
    pub to: &'a str,
    /// Of the notification itself: never used before, and not to be guessed (§6.3).
    pub message_id: &'a str,
    /// Now, in milliseconds of Unix time.
    pub unix_ms: u64,
}

impl<'a> Wishes<'a> {
    /// The wishes of a message; none of one that is a notification itself (§7.2.1), has no id or no time (IM-42).
    pub fn of(cpim: &Cpim<'a>) -> Self {
        let text = |ns, name| cpim.field(ns, name).map(|field| field.text()).unwrap_or_default();
        let (message_id, date_time) = (text(FIELDS, "Message-ID"), text(cpim::CORE, "DateTime"));
        if is_notification(cpim) || !is_id(&message_id) || !(1..=DATE_MAX).contains(&date_time.len()) {
            return Self::default();
        }
        let mut wishes = Self { message_id, date_time, ..Self::default() };
        for field in cpim.fields().filter(|field| field.is(FIELDS, "Disposition-Notification")) {
            for wish in field.value.split(',') {
                let name = wish.split(';').next().unwrap_or_default().trim();
                match name {
                    "positive-delivery" => wishes.delivered = true,
                    "negative-delivery" => wishes.failed = true,
                    "display" => wishes.displayed = true,
                    // Processing is told by those who keep messages, others by nobody we know.
                    _ => {}
                }
            }
        }
        wishes
    }

    /// There are any.
    pub fn any(&self) -> bool {
        self.delivered || self.failed || self.displayed
    }

    /// The same, for as long as anybody likes.
    pub fn into_owned(self) -> Wishes<'static> {
        Wishes {
            message_id: Cow::Owned(self.message_id.into_owned()),
            date_time: Cow::Owned(self.date_time.into_owned()),
            ..self
        }
    }

    /// Whether that is to be told. `answered` is the final status that the message was answered with: after a refusal the
    /// sender knows it already, and is not told again (§12.1.3.1).
    pub fn includes(&self, fate: Fate, answered: u16) -> bool {
        let wanted = match fate {
            Fate::Delivered => self.delivered,
            Fate::Displayed => self.displayed,
            Fate::Failed => self.failed,
            Fate::Unknown => false,
        };
        wanted && (200..300).contains(&answered)
    }
}

/// The message is a notification, and no instant message (§9).
pub fn is_notification(cpim: &Cpim<'_>) -> bool {
    carried(cpim).is_some()
}

impl Notification<'_> {
    /// Reads a document of `message/imdn+xml`. `charset` is the parameter of its Content-Type.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(document: &[u8], charset: Option<&str>) -> Result<Notification<'static>, DocumentError> {
        let document = document::read(document, charset)?;
        let root = document.root();
        if !root.is("imdn", NS) {
            return Err(DocumentError::Root);
        }
        let text = |name| root.child(name, NS).map(|child| child.text().trim().to_owned());
        let message_id = text("message-id").filter(|id| is_id(id));
        Ok(Notification {
            message_id: message_id.ok_or(DocumentError::Incomplete("message-id"))?.into(),
            date_time: text("datetime").unwrap_or_default().into(),
            recipient: text("original-recipient-uri").or_else(|| text("recipient-uri")).map(Cow::Owned),
            fate: fate(root),
        })
    }

    /// Reads it out of the message that carries it; `None` if that is no notification.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn of(cpim: &Cpim<'_>) -> Option<Result<Notification<'static>, DocumentError>> {
        let (entity, charset) = carried(cpim)?;
        let document = entity.transfer.decode(entity.content).map_err(|_| DocumentError::Encoding);
        Some(document.and_then(|document| Self::read(&document, charset.as_deref())))
    }

    /// Appends the whole body of type [`cpim::MEDIA_TYPE`].
    pub fn write(&self, envelope: &Envelope<'_>, out: &mut Vec<u8>) {
        cpim::write_field("From", &in_brackets(envelope.from), out);
        cpim::write_field("To", &in_brackets(envelope.to), out);
        let mut now = Vec::new();
        time::write_stamp(envelope.unix_ms, &mut now);
        cpim::write_field("DateTime", &String::from_utf8_lossy(&now), out);
        cpim::write_field("NS", &["imdn <", FIELDS, ">"].concat(), out);
        cpim::write_field("imdn.Message-ID", envelope.message_id, out);
        let mut document = Vec::new();
        self.write_document(&mut document);
        out.extend_from_slice(
            format!(
                "\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Disposition: notification\r\nContent-Length: {}\r\n\r\n",
                document.len()
            )
            .as_bytes(),
        );
        out.append(&mut document);
    }

    fn write_document(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        StartTag::open(out, "imdn").ns(NS).end();
        StartTag::text_element(out, "message-id", &self.message_id);
        StartTag::text_element(out, "datetime", &self.date_time);
        if let Some(recipient) = &self.recipient {
            // The schema wants both or none.
            StartTag::text_element(out, "recipient-uri", recipient);
            StartTag::text_element(out, "original-recipient-uri", recipient);
        }
        let (kind, status) = match self.fate {
            Fate::Delivered => ("delivery-notification", "delivered"),
            Fate::Failed => ("delivery-notification", "failed"),
            Fate::Unknown => ("delivery-notification", "error"),
            Fate::Displayed => ("display-notification", "displayed"),
        };
        StartTag::open(out, kind).end();
        StartTag::open(out, "status").end();
        StartTag::open(out, status).empty();
        StartTag::close(out, "status");
        StartTag::close(out, kind);
        StartTag::close(out, "imdn");
    }
}

/// The part with the document, and its character set, if the message carries one.
fn carried<'a>(cpim: &Cpim<'a>) -> Option<(Entity<'a>, Option<String>)> {
    let entity = Entity::read(cpim.entity).ok()?;
    let kind = ContentType::parse(entity.content_type.as_deref()?).ok()?;
    let charset = kind.charset().map(Cow::into_owned);
    kind.is("message", "imdn+xml").then_some(())?;
    Some((entity, charset))
}

/// What the document says; `error` and `forbidden` say nothing of the message (§11.1.7).
fn fate(root: ElementRef<'_>) -> Fate {
    let says = |kind: &str, status: &str| {
        root.child(kind, NS)
            .and_then(|kind| kind.child("status", NS))
            .is_some_and(|s| s.child(status, NS).is_some())
    };
    if says("delivery-notification", "delivered") {
        Fate::Delivered
    } else if says("delivery-notification", "failed") {
        Fate::Failed
    } else if says("display-notification", "displayed") {
        Fate::Displayed
    } else {
        Fate::Unknown
    }
}

/// Addresses of ours hold no brackets; should one come from elsewhere, it does not end its own.
fn in_brackets(address: &str) -> String {
    format!("<{}>", address.replace(['<', '>'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::ID_MAX;
    use proptest::prelude::*;

    fn cpim(fields: &str, entity: &str) -> String {
        format!("{fields}\n\n{entity}").replace('\n', "\r\n")
    }

    /// The message of §7.1.1.3, with other wishes.
    fn message(wishes: &str) -> String {
        cpim(
            &format!(
                "From: Alice <im:alice@example.com>\nTo: Bob <im:bob@example.com>\nNS: imdn <urn:ietf:params:imdn>\n\
                 imdn.Message-ID: 34jk324j\nDateTime: 2006-04-04T12:16:49-05:00\n\
                 imdn.Disposition-Notification: {wishes}"
            ),
            "Content-type: text/plain\nContent-length: 12\n\nHello World",
        )
    }

    fn wishes(message: &str) -> (bool, bool, bool) {
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        let wishes = Wishes::of(&cpim);
        (wishes.delivered, wishes.failed, wishes.displayed)
    }

    #[test]
    fn im_42_the_request_of_the_rfc_is_understood() {
        let message = message("positive-delivery, negative-delivery");
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        assert_eq!(
            Wishes::of(&cpim),
            Wishes {
                message_id: "34jk324j".into(),
                date_time: "2006-04-04T12:16:49-05:00".into(),
                delivered: true,
                failed: true,
                displayed: false
            }
        );
    }

    #[test]
    fn im_42_wishes_are_a_list_of_words() {
        for (written, expected) in [
            ("display", (false, false, true)),
            ("positive-delivery;x=y , processing,display", (true, false, true)),
            ("Positive-Delivery", (false, false, false)),
            ("", (false, false, false)),
        ] {
            assert_eq!(wishes(&message(written)), expected, "{written}");
        }
    }

    #[test]
    fn im_42_a_request_needs_id_and_time_in_the_right_namespace() {
        let whole = message("positive-delivery");
        for (part, other) in [
            ("imdn.Message-ID: 34jk324j", "X: y"),
            ("Message-ID: 34jk324j", &format!("Message-ID: {}", "x".repeat(ID_MAX + 1))),
            ("DateTime: ", "Date: "),
            ("2006-04-04T12:16:49-05:00", &"2".repeat(DATE_MAX + 1)),
            ("urn:ietf:params:imdn", "urn:other"),
            ("NS: imdn <", "NS: i <"),
        ] {
            let message = whole.replace(part, other);
            assert_ne!(message, whole);
            assert_eq!(wishes(&message), (false, false, false), "{message}");
        }
        let other_prefix = whole.replace("imdn.", "i.").replace("NS: imdn", "NS: i");
        assert_eq!(wishes(&other_prefix), (true, false, false));
    }

    #[test]
    fn im_41_what_was_refused_is_not_told_again_and_what_was_not_wished_never() {
        let message = message("negative-delivery");
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        let wishes = Wishes::of(&cpim);
        assert!(wishes.includes(Fate::Failed, 200) && wishes.includes(Fate::Failed, 202));
        for (fate, answered) in [
            (Fate::Failed, 403),
            (Fate::Failed, 504),
            (Fate::Delivered, 200),
            (Fate::Displayed, 200),
            (Fate::Unknown, 200),
        ] {
            assert!(!wishes.includes(fate, answered), "{fate:?} {answered}");
        }
    }

    #[test]
    fn im_41_there_is_no_notification_of_a_notification() {
        let notification = message("positive-delivery").replace("text/plain", "message/imdn+xml");
        assert_eq!(wishes(&notification), (false, false, false));
        assert!(is_notification(&Cpim::read(notification.as_bytes()).unwrap()));
    }

    fn document(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">{inside}</imdn>"
        )
    }

    #[test]
    fn im_41_the_notification_of_the_rfc_is_understood() {
        let xml = document(
            "\n<message-id>34jk324j</message-id>\n<datetime>2008-04-04T12:16:49-05:00</datetime>\n\
             <recipient-uri>im:bob@example.com</recipient-uri>\n<original-recipient-uri\n>im:bob2@example.com</original-recipient-uri>\n\
             <delivery-notification>\n<status>\n<delivered/>\n</status>\n</delivery-notification>\n",
        );
        let message = cpim(
            "From: Bob <im:bob@example.com>\nTo: Alice <im:alice@example.com>\nNS: imdn <urn:ietf:params:imdn>\n\
             imdn.Message-ID: d834jied93rf",
            &format!(
                "Content-type: message/imdn+xml\nContent-Disposition: notification\nContent-length: 500\n\n{xml}"
            ),
        );
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        assert_eq!(
            Notification::of(&cpim).unwrap().unwrap(),
            Notification {
                message_id: "34jk324j".into(),
                date_time: "2008-04-04T12:16:49-05:00".into(),
                recipient: Some("im:bob2@example.com".into()),
                fate: Fate::Delivered
            }
        );
        assert!(Notification::of(&Cpim::read(self::message("").as_bytes()).unwrap()).is_none());
    }

    #[test]
    fn im_41_what_tells_nothing_of_the_message_is_unknown() {
        let with = |kind: &str, status: &str| {
            let xml = document(&format!(
                "<message-id>1</message-id><datetime/><{kind}><status>{status}</status></{kind}>"
            ));
            Notification::read(xml.as_bytes(), None).unwrap().fate
        };
        for (kind, status, fate) in [
            ("delivery-notification", "<delivered/>", Fate::Delivered),
            ("delivery-notification", "<failed/>", Fate::Failed),
            ("delivery-notification", "<forbidden/>", Fate::Unknown),
            ("delivery-notification", "<error/>", Fate::Unknown),
            ("delivery-notification", "<displayed/>", Fate::Unknown),
            ("delivery-notification", "<delivered xmlns='urn:x'/>", Fate::Unknown),
            ("display-notification", "<displayed/>", Fate::Displayed),
            ("processing-notification", "<stored/>", Fate::Unknown),
        ] {
            assert_eq!(with(kind, status), fate, "{kind} {status}");
        }
    }

    #[test]
    fn im_41_other_documents_are_refused() {
        let read = |xml: &str| Notification::read(xml.as_bytes(), None).unwrap_err();
        assert_eq!(read(&document("<datetime/>")), DocumentError::Incomplete("message-id"));
        assert_eq!(read(&document("<message-id> </message-id>")), DocumentError::Incomplete("message-id"));
        assert_eq!(
            read("<imdn xmlns='http://schemas.microsoft.com/rtc/2005/08/imdn'/>"),
            DocumentError::Root
        );
        assert_eq!(
            read("<!DOCTYPE imdn SYSTEM 'file:///x'><imdn xmlns='urn:ietf:params:xml:ns:imdn'/>").status(),
            400
        );
    }

    #[test]
    fn im_41_a_notification_is_written_as_the_rfc_wants_it() {
        let notification = Notification {
            message_id: "34jk<324j".into(),
            date_time: "2006-04-04T12:16:49-05:00".into(),
            recipient: Some("sip:bob@example.com".into()),
            fate: Fate::Failed,
        };
        let envelope = Envelope {
            from: "sip:bob@example.com",
            to: "sip:alice@example.net",
            message_id: "n1x",
            unix_ms: 1_795_184_285_042,
        };
        let mut out = Vec::new();
        notification.write(&envelope, &mut out);
        let text = String::from_utf8(out.clone()).unwrap();
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns='urn:ietf:params:xml:ns:imdn'>\
                   <message-id>34jk&lt;324j</message-id><datetime>2006-04-04T12:16:49-05:00</datetime>\
                   <recipient-uri>sip:bob@example.com</recipient-uri>\
                   <original-recipient-uri>sip:bob@example.com</original-recipient-uri>\
                   <delivery-notification><status><failed/></status></delivery-notification></imdn>";
        assert_eq!(
            text,
            format!(
                "From: <sip:bob@example.com>\r\nTo: <sip:alice@example.net>\r\nDateTime: 2026-11-20T14:18:05.042Z\r\n\
                 NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: n1x\r\n\r\nContent-Type: message/imdn+xml\r\n\
                 Content-Disposition: notification\r\nContent-Length: {}\r\n\r\n{xml}",
                xml.len()
            )
        );
        let cpim = Cpim::read(&out).unwrap();
        assert_eq!(Notification::of(&cpim).unwrap().unwrap(), notification);
        assert_eq!(Wishes::of(&cpim), Wishes::default());
    }

    proptest! {
        #[test]
        fn sec_37_whatever_the_message_called_itself_stays_text(
            id in r#"[a-z<>&"'\\:;\x01-\x1f]{1,20}"#, time in r#"[0-9TZ<>&\x00-\x1f]{0,20}"#, to in r#"sip:[a-z<>&\\\x01-\x1f]{0,20}"#,
        ) {
            let mut out = Vec::new();
            let notification =
                Notification { message_id: id.as_str().into(), date_time: time.into(), recipient: None, fate: Fate::Delivered };
            notification.write(&Envelope { from: "sip:a@b", to: &to, message_id: &id, unix_ms: 0 }, &mut out);
            let cpim = Cpim::read(&out).unwrap();
            prop_assert_eq!(cpim.fields().count(), 5);
            // Blanks around an id, and nothing else, are not of it.
            let read = Notification::of(&cpim).unwrap();
            prop_assert!(read.is_err() || read.unwrap().fate == Fate::Delivered);
        }
    }
}
