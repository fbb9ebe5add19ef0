//! Pager-mode messages: SIP MESSAGE ⇄ `<message/>` (RFC 7572, RFC 3428; IM-01…IM-20).
//!
//! [`from_sip`] reads a MESSAGE and writes a stanza; [`to_sip`] reads a stanza and writes a MESSAGE. Both write bytes
//! straight into the caller's buffer. Bodies come in whatever form front ends write them: `body` chooses the text, `entity`
//! and `multipart` take parts apart, `transfer` and `charset` decode them, `html` reads HTML.
//!
//! Loops (ARC-07): XMPP has no hop counter, so two gateways with crossed domains could send one message round for ever.
//! A MESSAGE of ours starts with [`HOPS`]. One that arrives with that few hops left may have been through a gateway
//! before, and its stanza carries what remains in a SHIM header (XEP-0131), which the next gateway takes up again.
//! Ordinary messages start with 70 hops and carry nothing. A loop ends after [`HOPS`] rounds at most.

mod body;
mod charset;
mod code_pages;
mod delay;
pub mod encrypted;
mod entity;
pub mod from_sip;
mod html;
pub mod to_sip;
mod transfer;

pub use body::{MOST_LEVELS, MOST_PARTS};
pub use delay::{insert_delay, write_delay};
pub(crate) use entity::Entity;
pub(crate) use from_sip::thread_of;
pub(crate) use to_sip::call_word;

/// Max-Forwards of a MESSAGE that begins with us; see the loop guard above.
pub const HOPS: u8 = 60;
/// What we understand, for `Accept` of a 415 (IM-05) and of OPTIONS.
pub const ACCEPT: &str =
    "text/plain;charset=UTF-8, text/html, multipart/alternative, multipart/related, message/cpim";
/// What we understand inside a session, for its description (RFC 4975 §8.6): besides what is taken everywhere, typing, and
/// what became of messages.
pub const SESSION_READS: &[&str] = &[
    "text/plain",
    "text/html",
    "multipart/alternative",
    "multipart/related",
    "message/cpim",
    "application/im-iscomposing+xml",
    "message/imdn+xml",
    "application/ms-imdn+xml",
];
/// What we can decode, for `Accept-Encoding` of a 415 (IM-06).
pub const ACCEPT_ENCODING: &str = "identity";

/// Which forms of messages cross, beside plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// HTML also as XHTML-IM (XEP-0071, deprecated): some clients show it, and all show the plain text.
    pub xhtml_im: bool,
    /// What is encrypted from end to end goes back to its sender, even if it has a body for those who cannot read it.
    pub refuse_encrypted: bool,
}

/// Namespace of stanza headers (XEP-0131).
const SHIM: &str = "http://jabber.org/protocol/shim";
const SHIM_HOPS: &str = "Max-Forwards";

/// Longest language tag passed on (RFC 5646 §4.4.1).
const LANG_MAX: usize = 35;

/// A language tag as both sides can carry it. Anything else is dropped: it is a hint, and no hint is worth a header that
/// is not one line (SEC-30).
pub(crate) fn language(tag: &str) -> Option<&str> {
    let well_formed = !tag.is_empty()
        && tag.len() <= LANG_MAX
        && tag
            .split('-')
            .all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    well_formed.then_some(tag)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sec_30_only_language_tags_are_languages() {
        for tag in ["de", "de-AT", "zh-Hant-TW", "x-klingon"] {
            assert_eq!(super::language(tag), Some(tag));
        }
        for tag in ["", "de\r\nX: y", "de-", "-", "é", "de AT", "abcdefghi", &"ab-".repeat(12)] {
            assert_eq!(super::language(tag), None, "{tag:?}");
        }
    }
}
