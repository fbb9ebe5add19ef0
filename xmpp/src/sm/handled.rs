//! What is told of the stanzas that came (XEP-0198 §4): the receiving side's part, whoever opened the stream.

use super::{Management, Settled};

/// Which stanzas of the peer are handled, and when the peer is told.
///
/// A stanza may be acknowledged when it is [settled](Self::settle) and every one before it is. A request is answered at
/// once with what can be said then, and again with every stanza settled afterwards, until the answer covers all that had
/// come when it was asked: so the peer need not ask twice.
#[derive(Debug, Default)]
pub struct Handled {
    /// Once it is enabled.
    stanzas: Option<Settled>,
    /// Stanzas that had come when the peer asked last.
    asked: u64,
    /// Stanzas in our last answer.
    told: u64,
    /// A request has had no answer yet.
    owes: bool,
}

impl Handled {
    /// Stanzas count from now on.
    pub fn enable(&mut self) {
        *self = Self { stanzas: Some(Settled::default()), ..Self::default() };
    }

    /// Whether stanzas count.
    pub fn is_enabled(&self) -> bool {
        self.stanzas.is_some()
    }

    /// The peer asks. Whether there is an answer: not before stanzas count.
    pub fn request(&mut self) -> bool {
        let Some(stanzas) = &self.stanzas else { return false };
        self.asked = stanzas.begun();
        self.owes = true;
        true
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

    fn enabled() -> Handled {
        let mut handled = Handled::default();
        handled.enable();
        handled
    }

    fn due(handled: &mut Handled) -> String {
        let mut out = Vec::new();
        handled.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn asked(handled: &mut Handled) -> String {
        assert!(handled.request());
        due(handled)
    }

    #[test]
    fn sm_01_a_request_is_answered_at_once_with_what_is_settled() {
        let mut handled = enabled();
        assert_eq!(asked(&mut handled), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
        let first = handled.begin().unwrap();
        let second = handled.begin().unwrap();
        handled.settle(second);
        assert_eq!(asked(&mut handled), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
        handled.settle(first);
        assert_eq!(due(&mut handled), "<a xmlns='urn:xmpp:sm:3' h='2'/>", "and again when more can be said");
        assert_eq!(due(&mut handled), "", "once");
    }

    #[test]
    fn who_does_not_ask_is_not_told_before_the_end() {
        let mut handled = enabled();
        let first = handled.begin().unwrap();
        handled.settle(first);
        assert_eq!(due(&mut handled), "");
        let mut out = Vec::new();
        handled.write_last(&mut out);
        handled.write_last(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    }

    #[test]
    fn what_came_after_the_request_is_not_pushed_upon_the_peer() {
        let mut handled = enabled();
        let first = handled.begin().unwrap();
        asked(&mut handled);
        let second = handled.begin().unwrap();
        handled.settle(first);
        assert_eq!(due(&mut handled), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
        handled.settle(second);
        assert_eq!(due(&mut handled), "", "all that it asked about is answered");
    }

    #[test]
    fn sm_01_stanzas_count_from_enable_on() {
        let mut handled = Handled::default();
        assert_eq!(handled.begin(), None);
        assert!(!handled.request());
        handled.enable();
        assert_eq!(handled.begin(), Some(0));
    }

    #[test]
    fn sm_01_the_count_goes_round() {
        let mut handled = enabled();
        handled.asked = u64::from(u32::MAX) + 5;
        for told in [u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            let mut stanzas = Settled::default();
            stanzas.pass(told);
            handled.stanzas = Some(stanzas);
            let expected = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", told % (1 << 32));
            assert_eq!(due(&mut handled), expected);
        }
    }
}
