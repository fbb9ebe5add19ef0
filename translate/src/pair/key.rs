//! The name of a pair.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Stands between the two halves; it cannot occur in a JID (RFC 7622 §3).
const SEPARATOR: u8 = 0;

/// The two users of a pair, both as normalised bare JIDs: the SIP user first, then the XMPP contact.
/// Cheap to clone and to look up by a borrowed string made with [`PairKey::compose`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairKey(Arc<str>);

impl PairKey {
    pub fn new(sip_user: &str, contact: &str) -> Self {
        let mut composed = String::new();
        Self::compose(sip_user, contact, &mut composed);
        Self(composed.into())
    }

    /// Writes the key's text into a buffer the caller keeps, so that a lookup allocates nothing.
    pub fn compose(sip_user: &str, contact: &str, buffer: &mut String) {
        buffer.clear();
        buffer.reserve(sip_user.len() + contact.len() + 1);
        buffer.push_str(sip_user);
        buffer.push(char::from(SEPARATOR));
        buffer.push_str(contact);
    }

    /// A key from text made by [`PairKey::compose`].
    pub fn from_composed(composed: &str) -> Self {
        Self(composed.into())
    }

    /// The SIP user, as the bare JID he has on the XMPP side.
    pub fn sip_user(&self) -> &str {
        self.halves().0
    }

    /// The XMPP contact's bare JID.
    pub fn contact(&self) -> &str {
        self.halves().1
    }

    /// The SIP user's domain: one of ours.
    pub fn local_domain(&self) -> &str {
        domain(self.sip_user())
    }

    /// The contact's domain: the partner's.
    pub fn remote_domain(&self) -> &str {
        domain(self.contact())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn halves(&self) -> (&str, &str) {
        let at = memchr::memchr(SEPARATOR, self.0.as_bytes()).unwrap_or(self.0.len());
        (self.0.get(..at).unwrap_or_default(), self.0.get(at + 1..).unwrap_or_default())
    }
}

fn domain(bare_jid: &str) -> &str {
    let after = memchr::memrchr(b'@', bare_jid.as_bytes()).map_or(0, |at| at + 1);
    bare_jid.get(after..).unwrap_or_default()
}

impl Borrow<str> for PairKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ⇄ {}", self.sip_user(), self.contact())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_both_halves_and_their_domains() {
        let key = PairKey::new(r"bob\40corp.example@contoso.example", "romeo@fabrikam.example");
        assert_eq!(key.sip_user(), r"bob\40corp.example@contoso.example");
        assert_eq!(key.contact(), "romeo@fabrikam.example");
        assert_eq!(key.local_domain(), "contoso.example");
        assert_eq!(key.remote_domain(), "fabrikam.example");
    }

    #[test]
    fn is_found_by_its_composed_text() {
        let mut buffer = String::from("something longer than the key that was here before");
        PairKey::compose("a@b", "c@d", &mut buffer);
        let map = std::collections::HashMap::from([(PairKey::new("a@b", "c@d"), 1)]);
        assert_eq!(map.get(buffer.as_str()), Some(&1));
        assert_eq!(PairKey::from_composed(&buffer), PairKey::new("a@b", "c@d"));
    }

    #[test]
    fn different_splits_are_different_pairs() {
        assert_ne!(PairKey::new("a@b", "c@d"), PairKey::new("a@bc", "@d"));
    }
}
