//! What the file may contain, as data: the sections and keys with their types, defaults and meaning.

/// A key of a section.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Its name in the file.
    pub(super) name: &'static str,
    /// What it means, for the documentation.
    pub(super) doc: &'static str,
    /// Whether it has to be there.
    pub(super) presence: Presence,
    /// What it holds.
    pub(super) shape: Shape,
}

/// Whether a key has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has to.
    Required,
    /// It need not, and being absent means something of its own.
    Optional,
    /// This value, written as in the file, holds when the key is absent.
    Default(String),
}

/// What a key holds.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A value; what may be written.
    Value(String),
    /// A section.
    Table(fn() -> Vec<Key>),
    /// A list of sections.
    Tables(fn() -> Vec<Key>),
}

/// Visits every key below `keys`: `visit(header, path, key)` with the header of the section as it stands in the file
/// (`[sip]`, `[[sip.listener]]`, nothing at the top) and the dotted path of the key.
pub(super) fn walk(keys: &[Key], header: &str, visit: &mut impl FnMut(&str, &str, &Key)) {
    let section = header.trim_matches(['[', ']']);
    for key in keys {
        let path = if section.is_empty() { key.name.to_owned() } else { format!("{section}.{}", key.name) };
        visit(header, &path, key);
        match &key.shape {
            Shape::Value(_) => {}
            Shape::Table(below) => walk(&below(), &format!("[{path}]"), visit),
            Shape::Tables(below) => walk(&below(), &format!("[[{path}]]"), visit),
        }
    }
}
