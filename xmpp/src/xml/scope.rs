use compact_str::CompactString;
use smallvec::SmallVec;

use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::tag::{QName, RawAttributes, value};
use super::{chars, ns};

/// The namespace declarations in force while a tree is read, innermost last.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    bindings: SmallVec<[Binding; 8]>,
}

#[derive(Debug, Clone)]
struct Binding {
    /// Empty for the default namespace.
    prefix: CompactString,
    ns: Namespace,
}

impl Scope {
    /// Where to return to with [`Scope::leave`].
    pub(super) fn mark(&self) -> usize {
        self.bindings.len()
    }

    /// Forgets what was declared since.
    pub(super) fn leave(&mut self, mark: usize) {
        self.bindings.truncate(mark);
    }

    /// Takes in the declarations among the attributes of one tag (XML Namespaces section 3).
    pub(super) fn declare(
        &mut self,
        attributes: &RawAttributes<'_>,
        limits: &ReadLimits,
    ) -> Result<(), ReadError> {
        for (name, raw) in attributes {
            let Some(prefix) = name.declared() else { continue };
            let namespace = value(raw)?;
            if namespace.len() > limits.namespace {
                return Err(ReadErrorKind::NameTooLong.into());
            }
            let allowed = match (prefix, &*namespace) {
                ("xml", ns::XML) => true,
                ("xml" | "xmlns", _) | (_, ns::XML | ns::XMLNS) => false,
                ("", _) => true,
                (_, namespace) => !namespace.is_empty(),
            };
            if !allowed {
                return Err(ReadErrorKind::Declaration.into());
            }
            if self.bindings.len() >= limits.declarations {
                return Err(ReadErrorKind::TooManyDeclarations.into());
            }
            self.bindings.push(Binding { prefix: prefix.into(), ns: Namespace::new(&namespace) });
        }
        Ok(())
    }

    /// The namespace of an element.
    pub(super) fn element(&self, name: QName<'_>) -> Result<Namespace, ReadError> {
        self.lookup(name.prefix)
            .or_else(|error| if name.prefix.is_empty() { Ok(Namespace::NONE) } else { Err(error) })
    }

    /// The namespace of an attribute that is no declaration.
    pub(super) fn attribute(&self, name: QName<'_>) -> Result<Namespace, ReadError> {
        if name.prefix.is_empty() { Ok(Namespace::NONE) } else { self.lookup(name.prefix) }
    }

    /// The default namespace, if one was declared.
    pub(super) fn default_namespace(&self) -> Option<Namespace> {
        self.lookup("").ok()
    }

    /// True when any prefix, or the default, stands for this namespace.
    pub(super) fn declares(&self, namespace: &str) -> bool {
        self.bindings.iter().any(|binding| binding.ns == *namespace)
    }

    fn lookup(&self, prefix: &str) -> Result<Namespace, ReadError> {
        let same = |binding: &&Binding| {
            binding.prefix.len() == prefix.len() && (prefix.is_empty() || binding.prefix == prefix)
        };
        if let Some(binding) = self.bindings.iter().rev().find(same) {
            return Ok(binding.ns.clone());
        }
        match prefix {
            "xml" => Ok(Namespace::XML),
            _ => Err(ReadErrorKind::UnboundPrefix.into()),
        }
    }
}

/// The bytes of one piece as text (SEC-05): UTF-8 without overlong forms and surrogates, XML characters only. Checked
/// here once, before anything else looks at it.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReadErrorKind::Encoding)?;
    if chars::all_chars(text) { Ok(text) } else { Err(ReadErrorKind::Character.into()) }
}
