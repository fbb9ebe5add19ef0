//! Stream management as the responder: the peer opened the stream, and enables it (XEP-0198 §3).

use super::{Handled, Management, Misuse};
use crate::stanza::Condition;

/// The responder's end of stream management.
///
/// Sessions are not resumable: `<resume/>` fails, and the peer begins a new one.
#[derive(Debug, Default)]
pub struct Responder {
    /// Of the stanzas that came.
    pub handled: Handled,
    /// Something had to fail already.
    failed: bool,
}

impl Responder {
    /// Acts on an element of the peer; what it gets for it at once is appended to `out`. `both_ways`: stanzas of ours go
    /// out on the stream as well, and what the peer says of them is not judged here.
    ///
    /// # Errors
    /// The peer must be told, and the stream ended.
    pub fn handle(&mut self, element: &Management, both_ways: bool, out: &mut Vec<u8>) -> Result<(), Misuse> {
        match (element, self.handled.is_enabled()) {
            (Management::Enable { .. }, false) => {
                self.handled.enable();
                Management::Enabled { resumable: None }.write(out);
            }
            (Management::Enable { .. }, true) => return Err(Misuse::EnabledTwice),
            (Management::Resume { .. }, false) => return self.fail(Condition::FeatureNotImplemented, out),
            (Management::Request, true) => {
                self.handled.request();
            }
            // We send no stanzas on such a stream, so none can have been handled.
            (&Management::Answer { handled }, true) if handled != 0 && !both_ways => {
                return Err(Misuse::TooHigh { handled, sent: 0 });
            }
            (Management::Answer { .. }, true) => {}
            _ => return self.fail(Condition::UnexpectedRequest, out),
        }
        Ok(())
    }

    /// Once this costs nothing but itself. A peer that goes on like that may not be reading what it gets for it.
    fn fail(&mut self, condition: Condition, out: &mut Vec<u8>) -> Result<(), Misuse> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(Misuse::Unexpected);
        }
        Management::write_failed(out, condition);
        Ok(())
    }

    /// The same, before authentication, when nothing of it can be had (XEP-0198 §3).
    ///
    /// # Errors
    /// The peer must be told, and the stream ended.
    pub fn refuse(&mut self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        self.fail(Condition::UnexpectedRequest, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(responder: &mut Responder, element: Management) -> String {
        let mut out = Vec::new();
        responder.handle(&element, false, &mut out).unwrap();
        responder.handled.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn enabled() -> Responder {
        let mut responder = Responder::default();
        let answer = say(&mut responder, Management::Enable { resume: true });
        assert_eq!(answer, "<enabled xmlns='urn:xmpp:sm:3'/>", "acknowledgements, no resumption");
        responder
    }

    #[test]
    fn a_request_is_answered_once_it_is_enabled() {
        let mut responder = enabled();
        assert_eq!(responder.handled.begin(), Some(0));
        assert_eq!(say(&mut responder, Management::Request), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
    }

    #[test]
    fn sm_01_a_second_enable_and_too_high_a_count_end_the_stream() {
        let mut out = Vec::new();
        let second = enabled().handle(&Management::Enable { resume: false }, false, &mut out);
        assert_eq!(second, Err(Misuse::EnabledTwice));
        let one = Management::Answer { handled: 1 };
        let high = enabled().handle(&one, false, &mut out);
        assert_eq!(high, Err(Misuse::TooHigh { handled: 1, sent: 0 }));
        assert_eq!(enabled().handle(&one, true, &mut out), Ok(()), "who sends knows how many it sent");
        assert!(out.is_empty());
        assert_eq!(enabled().handle(&Management::Answer { handled: 0 }, false, &mut out), Ok(()));
    }

    #[test]
    fn what_cannot_be_done_fails_and_the_stream_goes_on() {
        let mut responder = Responder::default();
        let resume = Management::Resume { session: "s".into(), handled: 0 };
        assert!(say(&mut responder, resume).contains("<feature-not-implemented "));
        assert!(say(&mut responder, Management::Enable { resume: true }).contains("<enabled "));
        let mut responder = Responder::default();
        assert!(say(&mut responder, Management::Request).contains("<unexpected-request "), "not enabled");
        assert!(responder.handled.begin().is_none());
    }

    #[test]
    fn who_asks_for_the_impossible_again_ends_the_stream() {
        let mut responder = Responder::default();
        say(&mut responder, Management::Request);
        let mut out = Vec::new();
        assert_eq!(responder.handle(&Management::Request, false, &mut out), Err(Misuse::Unexpected));
        assert!(out.is_empty());
    }
}
