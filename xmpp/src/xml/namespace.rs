use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::ns;

/// A namespace name. Common ones are static, others are shared between the elements that inherit them.
#[derive(Clone)]
pub struct Namespace(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Namespace {
    /// No namespace: an unprefixed attribute, or an element outside every default declaration.
    pub const NONE: Self = Self(Repr::Static(""));
    /// [`ns::SERVER`].
    pub const SERVER: Self = Self(Repr::Static(ns::SERVER));
    /// [`ns::XML`].
    pub const XML: Self = Self(Repr::Static(ns::XML));

    /// The namespace with this name.
    pub fn new(name: &str) -> Self {
        // The end tells names of one length apart sooner than the start, which many share.
        let (length, last) = (name.len(), name.as_bytes().last());
        let same =
            |known: &&&str| known.len() == length && known.as_bytes().last() == last && **known == name;
        match ns::KNOWN.iter().find(same) {
            Some(known) => Self(Repr::Static(known)),
            None => Self(Repr::Shared(Arc::from(name))),
        }
    }

    /// The name, empty for none.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }

    /// True when this is no namespace at all.
    pub fn is_none(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        // Interned names meet at the same address far more often than not.
        let (a, b) = (self.as_str(), other.as_str());
        a.len() == b.len() && (std::ptr::eq(a, b) || a == b)
    }
}

impl Eq for Namespace {}

impl PartialEq<str> for Namespace {
    fn eq(&self, other: &str) -> bool {
        // Lengths tell most of them apart.
        let name = self.as_str();
        name.len() == other.len() && (std::ptr::eq(name, other) || name == other)
    }
}

impl Hash for Namespace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for Namespace {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_by_text_however_they_are_kept() {
        let kept = Namespace::new("urn:example:unknown");
        assert_eq!(kept, Namespace::new(&String::from("urn:example:unknown")));
        assert_ne!(kept, Namespace::SERVER);
        assert_eq!(Namespace::new("jabber:server"), Namespace::SERVER);
        assert!(matches!(Namespace::new(ns::PIDF).0, Repr::Static(_)));
        assert!(Namespace::new("").is_none());
    }
}
