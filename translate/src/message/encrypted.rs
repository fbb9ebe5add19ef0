//! Messages that are encrypted from end to end (XEP-0380; IM-48).
//!
//! Nothing on the SIP side can read them. Most carry a body beside the secret, for those who cannot: words chosen by the
//! sender's client that say so. Whether the SIP user gets these, or the sender gets his message back, is a matter of policy;
//! without such a body there is only the latter.

use nuncio_xmpp::{Condition, Element};

use super::{Formats, to_sip};
use crate::errors::XmppFailure;

/// What encrypted messages carry: explicit encryption (XEP-0380), OMEMO in three versions (XEP-0384), OpenPGP new and old
/// (XEP-0373, XEP-0027).
const MARKS: [(&str, &str); 6] = [
    ("encryption", "urn:xmpp:eme:0"),
    ("encrypted", "eu.siacs.conversations.axolotl"),
    ("encrypted", "urn:xmpp:omemo:1"),
    ("encrypted", "urn:xmpp:omemo:2"),
    ("openpgp", "urn:xmpp:openpgp:0"),
    ("x", "jabber:x:encrypted"),
];

/// What the sender of a `<message/>` is told if the SIP user cannot read it, or is not to be bothered with what stands in its
/// place; `None`: it goes on like any other.
pub fn refusal(stanza: &Element, formats: Formats) -> Option<XmppFailure> {
    if matches!(stanza.attr("type"), Some("error" | "groupchat")) || !says_something_secret(stanza) {
        return None;
    }
    let refused = formats.refuse_encrypted || !to_sip::has_body(stanza);
    refused.then(|| {
        XmppFailure::new(Condition::NotAcceptable, "Encrypted messages cannot be read on the other side.")
    })
}

/// It is encrypted, and not only about keys: OMEMO sends those alone, without payload, and nobody waits for an answer.
fn says_something_secret(stanza: &Element) -> bool {
    let is_mark = |child: &&Element| MARKS.iter().any(|(name, ns)| child.is(name, ns));
    let has_payload = |child: &Element| child.elements().any(|part| part.name() == "payload");
    let mut marks = stanza.elements().filter(is_mark).peekable();
    marks.peek().is_some() && marks.all(|mark| mark.name() != "encrypted" || has_payload(mark))
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::ReadLimits;

    use super::*;

    const OMEMO: &str =
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/><payload>AAAA</payload></encrypted>";
    const KEYS: &str = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>\
                        <encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>";

    fn refused(attributes: &str, children: &str, refuse_encrypted: bool) -> bool {
        let text =
            format!("<message xmlns='jabber:server' from='b@d' to='a@c' {attributes}>{children}</message>");
        let stanza = Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap();
        refusal(&stanza, Formats { refuse_encrypted, ..Formats::default() }).is_some()
    }

    #[test]
    fn im_48_the_body_for_those_who_cannot_read_it_crosses_unless_policy_says_otherwise() {
        let message = format!("{OMEMO}<body>I sent you an encrypted message.</body>");
        assert!(!refused("", &message, false));
        assert!(refused("", &message, true));
    }

    #[test]
    fn im_48_what_has_nothing_for_others_goes_back() {
        for secret in [
            OMEMO,
            "<encrypted xmlns='urn:xmpp:omemo:2'><header/><payload/></encrypted>",
            "<openpgp xmlns='urn:xmpp:openpgp:0'>AAAA</openpgp>",
            "<x xmlns='jabber:x:encrypted'>AAAA</x>",
            "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:other'/>",
        ] {
            assert!(refused("", secret, false), "{secret}");
            assert!(refused("type='chat'", &format!("{secret}<body/>"), false), "{secret}");
            for kind in ["error", "groupchat"] {
                assert!(!refused(&format!("type='{kind}'"), secret, true), "{kind} {secret}");
            }
        }
    }

    #[test]
    fn im_48_keys_alone_and_what_is_not_encrypted_are_no_secrets() {
        for plain in [
            KEYS,
            "<body>x</body>",
            "<encrypted xmlns='urn:x'/>",
            "<active xmlns='http://jabber.org/protocol/chatstates'/>",
        ] {
            assert!(!refused("", plain, true), "{plain}");
        }
    }
}
