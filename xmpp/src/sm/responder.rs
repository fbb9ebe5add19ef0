//! Stream management where the peer opened the stream and sends (XEP-0198 §3, §4).

use super::{Management, Misuse, Settled};
use crate::stanza::Condition;

/// The receiving end of stream management on a stream the peer opened.
///
/// A stanza is acknowledged when it is [settled](Self::settle) and every one before it is. A request is answered at
/// once with what can be said then, and again with every stanza settled afterwards, until the answer covers all that had come
/// when it was asked: so the peer need not ask twice.
///
/// Sessions are not resumable: `<resume/>` fails, and the peer begins a new one.
#[derive(Debug, Default)]
pub struct Responder {
    /// Once it is enabled.
    stanzas: Option<Settled>,
    /// Stanzas that had come when the peer asked last.
    asked: u64,
    /// Stanzas in our last answer.
    told: u64,
    /// A request has had no answer yet.
    owes: bool,
    /// Something had to fail already.
    failed: bool,
}

impl Responder {
    /// Acts on an element of the peer; what it gets for it at once is appended to `out`.
    ///
    /// # Errors
    /// The peer must be told, and the stream ended.
    pub fn handle(&mut self, element: &Management, out: &mut Vec<u8>) -> Result<(), Misuse> {
        match (element, &self.stanzas) {
            (Management::Enable { .. }, None) => {
                self.stanzas = Some(Settled::default());
                Management::Enabled { resumable: None }.write(out);
            }
            (Management::Enable { .. }, Some(_)) => return Err(Misuse::EnabledTwice),
            (Management::Resume { .. }, None) => return self.fail(Condition::FeatureNotImplemented, out),
            (Management::Request, Some(stanzas)) => {
                self.asked = stanzas.begun();
                self.owes = true;
            }
            // We send no stanzas on a stream of the peer's, so none can have been handled.
            (&Management::Answer { handled }, Some(_)) if handled != 0 => {
                return Err(Misuse::TooHigh { handled, sent: 0 });
            }
            (Management::Answer { .. }, Some(_)) => {}
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

    /// A stanza came. Its number goes into [`settle`](Self::settle); `None` while nothing is acknowledged here.
    pub fn begin(&mut self) -> Option<u64> {
        self.stanzas.as_mut().map(Settled::begin)
    }

    /// Nobody has to do anything more for this stanza.
    pub fn settle(&mut self, number: u64) {
        if let Some(stanzas) = &mut self.stanzas {
            stanzas.settle(number);
        }
    }

    /// Whether a stanza came that is not settled.
    pub fn has_unsettled(&self) -> bool {
        self.stanzas.as_ref().is_some_and(|stanzas| stanzas.settled() < stanzas.begun())
    }

    /// Whether [`write`](Self::write) would say something.
    pub fn is_due(&self) -> bool {
        self.owes || (self.told < self.asked && self.settled() > self.told)
    }

    /// Appends the acknowledgement that is due, if one is.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        if self.is_due() {
            self.answer(out);
        }
    }

    /// Appends what was not acknowledged yet: the stream is about to be closed (XEP-0198 §4).
    pub fn write_last(&mut self, out: &mut Vec<u8>) {
        if self.owes || self.settled() > self.told {
            self.answer(out);
        }
    }

    fn answer(&mut self, out: &mut Vec<u8>) {
        self.owes = false;
        self.told = self.settled();
        // The count goes round at 2³² (XEP-0198 §4).
        Management::Answer { handled: (self.told & u64::from(u32::MAX)) as u32 }.write(out);
    }

    fn settled(&self) -> u64 {
        self.stanzas.as_ref().map_or(0, Settled::settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(responder: &mut Responder, element: Management) -> String {
        let mut out = Vec::new();
        responder.handle(&element, &mut out).unwrap();
        responder.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn due(responder: &mut Responder) -> String {
        let mut out = Vec::new();
        responder.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn enabled() -> Responder {
        let mut responder = Responder::default();
        let answer = say(&mut responder, Management::Enable { resume: true });
        assert_eq!(answer, "<enabled xmlns='urn:xmpp:sm:3'/>", "acknowledgements, no resumption");
        responder
    }

    #[test]
    fn sm_01_a_request_is_answered_at_once_with_what_is_settled() {
        let mut responder = enabled();
        assert_eq!(say(&mut responder, Management::Request), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
        let first = responder.begin().unwrap();
        let second = responder.begin().unwrap();
        responder.settle(second);
        assert_eq!(say(&mut responder, Management::Request), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
        responder.settle(first);
        assert_eq!(
            due(&mut responder),
            "<a xmlns='urn:xmpp:sm:3' h='2'/>",
            "and again when more can be said"
        );
        assert_eq!(due(&mut responder), "", "once");
    }

    #[test]
    fn who_does_not_ask_is_not_told_before_the_end() {
        let mut responder = enabled();
        let first = responder.begin().unwrap();
        responder.settle(first);
        assert_eq!(due(&mut responder), "");
        let mut out = Vec::new();
        responder.write_last(&mut out);
        responder.write_last(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    }

    #[test]
    fn what_came_after_the_request_is_not_pushed_upon_the_peer() {
        let mut responder = enabled();
        let first = responder.begin().unwrap();
        say(&mut responder, Management::Request);
        let second = responder.begin().unwrap();
        responder.settle(first);
        assert_eq!(due(&mut responder), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
        responder.settle(second);
        assert_eq!(due(&mut responder), "", "all that it asked about is answered");
    }

    #[test]
    fn sm_01_stanzas_count_from_enable_on() {
        let mut responder = Responder::default();
        assert_eq!(responder.begin(), None);
        let mut responder = enabled();
        assert_eq!(responder.begin(), Some(0));
    }

    #[test]
    fn sm_01_a_second_enable_and_too_high_a_count_end_the_stream() {
        let mut out = Vec::new();
        let second = enabled().handle(&Management::Enable { resume: false }, &mut out);
        assert_eq!(second, Err(Misuse::EnabledTwice));
        let high = enabled().handle(&Management::Answer { handled: 1 }, &mut out);
        assert_eq!(high, Err(Misuse::TooHigh { handled: 1, sent: 0 }));
        assert!(out.is_empty());
        assert_eq!(enabled().handle(&Management::Answer { handled: 0 }, &mut out), Ok(()));
    }

    #[test]
    fn what_cannot_be_done_fails_and_the_stream_goes_on() {
        let mut responder = Responder::default();
        let resume = Management::Resume { session: "s".into(), handled: 0 };
        assert!(say(&mut responder, resume).contains("<feature-not-implemented "));
        assert!(say(&mut responder, Management::Enable { resume: true }).contains("<enabled "));
        let mut responder = Responder::default();
        assert!(say(&mut responder, Management::Request).contains("<unexpected-request "), "not enabled");
        assert!(responder.begin().is_none());
    }

    #[test]
    fn who_asks_for_the_impossible_again_ends_the_stream() {
        let mut responder = Responder::default();
        say(&mut responder, Management::Request);
        let mut out = Vec::new();
        assert_eq!(responder.handle(&Management::Request, &mut out), Err(Misuse::Unexpected));
        assert!(out.is_empty());
    }

    #[test]
    fn sm_01_the_count_goes_round() {
        let mut responder = enabled();
        responder.asked = u64::from(u32::MAX) + 5;
        for told in [u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            let mut stanzas = Settled::default();
            stanzas.pass(told);
            responder.stanzas = Some(stanzas);
            let expected = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", told % (1 << 32));
            assert_eq!(due(&mut responder), expected);
        }
    }
}
