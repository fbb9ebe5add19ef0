//! Reading single values and lists of them.

use std::path::{Path, PathBuf};

use ::config::ValueKind;

use super::HANDED_OVER_FROM;
use super::read::{At, Node, OneOrMore, Read, Reader, Section, Sections};
use super::schema::Shape;
use super::source::Credentials;
use super::value::{Text, quoted};

impl<T: Text> Read for T {
    fn shape() -> Shape {
        Shape::Value(T::allowed())
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text::<T>(node)?;
        T::parse(text).map_err(|error| reader.refuse(node, error.to_string())).ok()
    }
}

impl Read for bool {
    fn shape() -> Shape {
        Shape::Value("`true` or `false`".to_owned())
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match node.kind() {
            ValueKind::Boolean(boolean) => Some(*boolean),
            ValueKind::String(text) if reader.is_untyped(node) && text == "true" => Some(true),
            ValueKind::String(text) if reader.is_untyped(node) && text == "false" => Some(false),
            ValueKind::String(text) if text == "true" || text == "false" => {
                reader.wrong_type(node, "true or false", "; it is written without quotes");
                None
            }
            _ => {
                reader.wrong_type(node, "true or false", "");
                None
            }
        }
    }
}

impl Read for String {
    fn shape() -> Shape {
        Shape::Value("text".to_owned())
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text_or(node, "text", "; text is written in quotes").map(str::to_owned)
    }
}

/// A path; a relative one starts at the folder of the file in which it is written, one with `${CREDENTIALS_DIRECTORY}/` in front
/// where the service manager says.
impl Read for PathBuf {
    fn shape() -> Shape {
        Shape::Value("path".to_owned())
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text_or(node, "a path", "; text is written in quotes")?;
        if text.is_empty() {
            reader.refuse(node, "a path is expected, this is empty");
            return None;
        }
        if let Some(name) = text.strip_prefix(CREDENTIALS) {
            return credential(node, reader, text, name);
        }
        if reader.is_stored(node) && !Path::new(text).is_absolute() {
            reader.refuse(
                node,
                format!("{} has to be a path from the root on, with a / in front", quoted(text)),
            );
            return None;
        }
        match reader.folder(node) {
            Some(folder) => Some(folder.join(text)),
            None => Some(Self::from(text)),
        }
    }
}

/// What a path begins with that names a file which systemd hands over (LoadCredential=, systemd.exec(5)).
const CREDENTIALS: &str = "${CREDENTIALS_DIRECTORY}/";
/// What the names of those begin with that the unit of the package hands over: `LoadCredential=keys:/etc/nuncio/keys`.
const HANDED_OVER: &str = "keys_";

fn credential(node: Node<'_>, reader: &mut Reader<'_>, text: &str, name: &str) -> Option<PathBuf> {
    if name.is_empty() || name.contains('/') || name == ".." || name == "." {
        reader.refuse(
            node,
            format!("{} names no credential; expected {CREDENTIALS} and the name of one", quoted(text)),
        );
        return None;
    }
    // Only the service has the copies. Whoever else asks means what they are copies of, as far as that is known.
    let original = name.strip_prefix(HANDED_OVER).map(|file| Path::new(HANDED_OVER_FROM).join(file));
    match (reader.credentials(), original) {
        (Credentials::In(folder), _) => Some(folder.join(name)),
        (Credentials::NotAsked, Some(original)) => Some(original),
        (Credentials::NotAsked, None) => Some(PathBuf::from(text)),
        (Credentials::None, Some(original)) if original.exists() => Some(original),
        (Credentials::None, _) => {
            reader.refuse(
                node,
                format!(
                    "{} is handed over by systemd, to a service with LoadCredential= only; root can check what is handed over \
                     from {HANDED_OVER_FROM}; anybody who may read the copies, while the service runs: \
                     CREDENTIALS_DIRECTORY=/run/credentials/nuncio.service nuncio check config",
                    quoted(text)
                ),
            );
            None
        }
    }
}

/// A list that may be empty.
impl<T: Text> Read for Vec<At<T>> {
    fn shape() -> Shape {
        Shape::Value(format!("list of: {}", T::allowed()))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let values = reader.list(node, "a list")?;
        let mut list = Self::with_capacity(values.len());
        for value in values.iter() {
            let node = Node::new(value);
            list.extend(T::read(node, reader).map(|value| At { value, place: node.place() }));
        }
        Some(list)
    }
}

impl<T: Text> Read for OneOrMore<T> {
    fn shape() -> Shape {
        Shape::Value(format!("list of one or more: {}", T::allowed()))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind(), ValueKind::Array(values) if values.is_empty()) {
            reader.refuse(node, format!("the list is empty; expected at least one entry, each {}", T::WHAT));
            return None;
        }
        Vec::read(node, reader).map(Self)
    }
}

impl<T: Section> Read for Sections<T> {
    fn shape() -> Shape {
        Shape::Tables(T::keys)
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.sections(node).map(Self)
    }
}
