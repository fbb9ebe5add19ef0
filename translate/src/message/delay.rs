//! `<delay/>`: when a message that had to wait was received (XEP-0203, IM-20).

use std::time::SystemTime;

use nuncio_xmpp::{StartTag, ns};

use crate::time;

const END: &[u8] = b"</message>";

/// Appends the element. `from` is the domain that noted the time: ours.
pub fn write_delay(received: SystemTime, from: &str, out: &mut Vec<u8>) {
    StartTag::open(out, "delay")
        .ns(ns::DELAY)
        .attr("from", from)
        .attr("stamp", &time::stamp(received))
        .empty();
}

/// Puts the element into a `<message/>` that was written before it was known to wait. False, and nothing changed, if
/// `stanza` does not end a message.
pub fn insert_delay(stanza: &mut Vec<u8>, received: SystemTime, from: &str) -> bool {
    if !stanza.ends_with(END) {
        return false;
    }
    stanza.truncate(stanza.len() - END.len());
    write_delay(received, from, stanza);
    stanza.extend_from_slice(END);
    true
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn im_20_the_element_goes_before_the_end_of_the_message() {
        let received = UNIX_EPOCH + Duration::from_millis(1_795_184_285_042);
        let mut stanza = b"<message to='a@b'><body>x</body></message>".to_vec();
        assert!(insert_delay(&mut stanza, received, "contoso.com"));
        assert_eq!(
            String::from_utf8(stanza).unwrap(),
            "<message to='a@b'><body>x</body><delay xmlns='urn:xmpp:delay' from='contoso.com' \
             stamp='2026-11-20T14:18:05.042Z'/></message>"
        );
        let mut other = b"<presence/>".to_vec();
        assert!(!insert_delay(&mut other, received, "contoso.com"));
        assert_eq!(other, b"<presence/>");
    }
}
