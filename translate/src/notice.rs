//! What a SIP user reads when something he sent did not arrive, after his client was told that it did (DEC-02).
//!
//! One line of plain text, sent from the contact's address: when the message was sent, what became of it, who says so. Never
//! the body: the notice may reach another device, another log, another pair of eyes.

use std::borrow::Cow;

use nuncio_xmpp::Condition;

use crate::address::Contact;
use crate::message::{HOPS, to_sip::Instant};
use crate::pair::{Cause, Notice};
use crate::text;
use crate::time::readable;

/// Longest name of a reporter shown, in octets.
const BY_CAP: usize = 128;

/// The notice as an instant message from `contact`, for [`to_sip::write`](crate::message::to_sip::write).
pub fn instant(notice: &Notice, contact: &Contact) -> Instant<'static> {
    Instant {
        body: Cow::Owned(line(notice, contact)),
        lang: Some("en"),
        subject: None,
        thread: None,
        hops: HOPS,
    }
}

/// The text: one line, printable.
pub fn line(notice: &Notice, contact: &Contact) -> String {
    let contact = text::displayable(contact.jid().as_str(), text::DISPLAY_CAP);
    let (first, last) = (readable(notice.first_sent), readable(notice.last_sent));
    let (subject, plural) = match notice.count {
        0 | 1 => (format!("Your message to {contact} of {first}"), false),
        many if first == last => (format!("{many} of your messages to {contact}, all of {first},"), true),
        many => (format!("{many} of your messages to {contact}, sent from {first} to {last},"), true),
    };
    let were = if plural { "were" } else { "was" };
    match &notice.cause {
        Cause::MayBeLost => format!(
            "{subject} may not have arrived: the connection to {} ended before it could be confirmed.",
            contact.rsplit('@').next().unwrap_or_default()
        ),
        Cause::Error { condition, by } => {
            let by = text::displayable(by, BY_CAP);
            let reporter = if by.is_empty() { String::new() } else { format!(" (reported by {by})") };
            format!("{subject} {were} not delivered: {}{reporter}.", reason(*condition))
        }
        Cause::Several => {
            format!("{subject} {were} not delivered or may not have arrived, for several different reasons.")
        }
    }
}

/// A condition in words for somebody who has never heard of XMPP.
pub fn reason(condition: Condition) -> &'static str {
    match condition {
        Condition::BadRequest => "the other side could not process it",
        Condition::Conflict => "it conflicts with something else on the other side",
        Condition::FeatureNotImplemented => "the other side does not support such messages",
        Condition::Forbidden => "the other side does not permit it",
        Condition::Gone => "the recipient no longer uses this address",
        Condition::InternalServerError => "the other side has a technical problem",
        Condition::ItemNotFound => "the recipient does not exist",
        Condition::JidMalformed => "the other side does not accept this address",
        Condition::NotAcceptable => "the other side does not accept such messages",
        Condition::NotAllowed => "the other side does not allow it to anybody",
        Condition::NotAuthorized => "the other side wants proof of your identity",
        Condition::PolicyViolation => "it goes against a rule of the other side, such as a size limit",
        Condition::RecipientUnavailable => "the recipient is not available at the moment",
        Condition::Redirect => "the recipient wants to be contacted at another address",
        Condition::RegistrationRequired => "the other side wants you to register first",
        Condition::RemoteServerNotFound => "the recipient's server cannot be found",
        Condition::RemoteServerTimeout => "the recipient's server cannot be reached",
        Condition::ResourceConstraint => "the other side is too busy",
        Condition::ServiceUnavailable => {
            "the recipient does not exist, is offline, or does not accept your messages"
        }
        Condition::SubscriptionRequired => {
            "the recipient accepts messages only from people on his contact list"
        }
        Condition::Undefined => "the other side gave no reason that is known here",
        Condition::UnexpectedRequest => "the other side did not expect it now",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use nuncio_xmpp::BareJid;

    use super::*;

    fn contact() -> Contact {
        Contact::from_jid(&BareJid::parse("juliet@fabrikam.com").unwrap()).unwrap()
    }

    fn notice(cause: Cause, count: u32, seconds: u64) -> Notice {
        let first_sent = UNIX_EPOCH + Duration::from_secs(1_795_184_285);
        Notice { cause, first_sent, last_sent: first_sent + Duration::from_secs(seconds), count }
    }

    fn error(condition: Condition, by: &str) -> Cause {
        Cause::Error { condition, by: by.into() }
    }

    #[test]
    fn one_message_refused() {
        let notice = notice(error(Condition::ItemNotFound, "fabrikam.com"), 1, 0);
        assert_eq!(
            line(&notice, &contact()),
            "Your message to juliet@fabrikam.com of 2026-11-20 14:18:05 UTC was not delivered: the recipient does not \
             exist (reported by fabrikam.com)."
        );
    }

    #[test]
    fn several_messages_in_doubt() {
        assert_eq!(
            line(&notice(Cause::MayBeLost, 3, 60), &contact()),
            "3 of your messages to juliet@fabrikam.com, sent from 2026-11-20 14:18:05 UTC to 2026-11-20 14:19:05 UTC, may not \
             have arrived: the connection to fabrikam.com ended before it could be confirmed."
        );
        assert_eq!(
            line(&notice(Cause::Several, 2, 0), &contact()),
            "2 of your messages to juliet@fabrikam.com, all of 2026-11-20 14:18:05 UTC, were not delivered or may not have \
             arrived, for several different reasons."
        );
    }

    #[test]
    fn sec_34_the_reporter_cannot_forge_text() {
        let by = "x\r\n\u{202e}Your account was closed".to_owned() + &"!".repeat(500);
        let line = line(&notice(error(Condition::Forbidden, &by), 1, 0), &contact());
        assert!(!line.chars().any(|c| text::is_control(c) || c == '\u{202e}'));
        assert!(line.len() < 400);
        let silent = self::line(&notice(error(Condition::Forbidden, ""), 1, 0), &contact());
        assert!(silent.ends_with("the other side does not permit it."));
    }

    #[test]
    fn every_condition_has_words_of_its_own() {
        let words: HashSet<_> = Condition::ALL.iter().map(|&condition| reason(condition)).collect();
        assert_eq!(words.len(), Condition::ALL.len());
    }
}
