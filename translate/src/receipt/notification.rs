//! Notifications that come from SIP. They are no instant messages, whatever carries them (IM-41).

use nuncio_sip::{HeaderName, Message};

use super::imdn::{self, Notification};
use super::ms_imdn::{self, MsImdn};
use crate::cpim::{self, Cpim};
use crate::document::DocumentError;

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notified {
    /// About a message that was answered with 202 and an id.
    MsImdn(MsImdn),
    /// About a message whose sender had asked for it: none of ours, for contacts are not asked for in these terms.
    Imdn,
}

/// Reads a MESSAGE that is a notification; `None`: it is something else.
pub fn read(message: &Message) -> Option<Result<Notified, DocumentError>> {
    // Nearly all messages are text: one look is all they cost.
    let field = message.header(HeaderName::ContentType)?;
    if field.get(..5).is_none_or(|start| start.eq_ignore_ascii_case("text/")) {
        return None;
    }
    let kind = message.content_type().ok().flatten()?;
    let (body, charset) = (message.body(), kind.charset());
    let charset = charset.as_deref();
    let is = |media: &str| media.split_once('/').is_some_and(|(main, sub)| kind.is(main, sub));
    if is(ms_imdn::MEDIA_TYPE) {
        Some(MsImdn::read(&body, charset).map(Notified::MsImdn))
    } else if is(imdn::MEDIA_TYPE) {
        Some(Notification::read(&body, charset).map(|_| Notified::Imdn))
    } else if is(cpim::MEDIA_TYPE) {
        let cpim = Cpim::read(&body).ok()?;
        Some(Notification::of(&cpim)?.map(|_| Notified::Imdn))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMDN: &str = "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>1</message-id><datetime/>\
                        <delivery-notification><status><delivered/></status></delivery-notification></imdn>";

    fn message(media: &str, body: &str) -> Message {
        let length = body.len();
        let text = format!(
            "MESSAGE sip:b@d SIP/2.0\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\nFrom: <sip:a@c>;tag=1\r\nTo: <sip:b@d>\r\n\
             Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    #[test]
    fn im_41_what_is_a_notification_is_told_by_its_type() {
        let of = |media: &str, body: &str| read(&message(media, body));
        let wrapped = |media: &str, body: &str| {
            format!("NS: imdn <urn:ietf:params:imdn>\r\n\r\nContent-Type: {media}\r\n\r\n{body}")
        };
        assert_eq!(of("message/imdn+xml", IMDN), Some(Ok(Notified::Imdn)));
        assert_eq!(of("Message/CPIM", &wrapped("message/imdn+xml", IMDN)), Some(Ok(Notified::Imdn)));
        let ms =
            "<imdn xmlns='http://schemas.microsoft.com/rtc/2005/08/imdn'><message-id>7</message-id></imdn>";
        let read = of("application/ms-imdn+xml", ms);
        assert!(matches!(&read, Some(Ok(Notified::MsImdn(imdn))) if imdn.message_id == "7"), "{read:?}");
        for (media, body) in [
            ("text/plain", IMDN),
            ("Text/plain;charset=utf-8", IMDN),
            ("multipart/mixed;boundary=b", IMDN),
            ("message/cpim", &wrapped("text/plain", IMDN)),
            ("message/cpim", IMDN),
        ] {
            assert_eq!(of(media, body), None, "{media}");
        }
        for (media, body) in [
            ("application/ms-imdn+xml", IMDN),
            ("message/imdn+xml", ms),
            ("message/cpim", &wrapped("message/imdn+xml", "<imdn>")),
        ] {
            assert!(matches!(of(media, body), Some(Err(_))), "{media}");
        }
    }
}
