//! From values with places to sections with types, collecting everything that is wrong on the way.
//!
//! serde's derive would stop at the first error and give it as a string; here a wrong value becomes a [`Problem`] and an
//! empty [`Slot`], and reading goes on.

use std::borrow::Cow;
use std::path::Path;

use ::config::{Map, Value, ValueKind};

use super::problem::{Problem, Severity};
use super::schema::{Key, Presence, Shape};
use super::source::{Credentials, Part, PlaceId, Places};
use super::value::{Text, nearest, quoted};

/// Something that can be read from a value.
pub(super) trait Read: Sized {
    fn shape() -> Shape;
    /// `None` after at least one problem was reported.
    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A section: a struct whose fields are keys.
pub(super) trait Section: Sized {
    /// The key that names this section among its likes, if it is one of a list.
    const NAMED_BY: Option<&'static str> = None;
    fn keys() -> Vec<Key>;
    fn read(section: &mut Sectioned<'_, '_>) -> Self;
}

/// A value in the tree.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self(value)
    }

    pub(super) fn place(self) -> Option<PlaceId> {
        PlaceId::of(self.0)
    }

    pub(super) fn kind(self) -> &'a ValueKind {
        &self.0.kind
    }

    fn describe(self) -> String {
        match &self.0.kind {
            ValueKind::Nil => "nothing".to_owned(),
            ValueKind::Boolean(boolean) => boolean.to_string(),
            ValueKind::I64(number) => format!("the number {number}"),
            ValueKind::Float(number) => format!("the fraction {number}"),
            ValueKind::String(text) => format!("the text {}", quoted(text)),
            ValueKind::Table(_) => "a section".to_owned(),
            ValueKind::Array(array) => match array.first() {
                Some(Value { kind: ValueKind::Table(_), .. }) => "a list of sections".to_owned(),
                _ => "a list".to_owned(),
            },
            ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a number".to_owned(),
        }
    }
}

/// A key of a section: its value, if it is there and right.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) value: Option<T>,
    /// Where it stands; `None` for a default.
    pub(super) place: Option<PlaceId>,
    /// Nothing was wrong with it or in it: conclusions may be drawn from what it does not contain.
    pub(super) sound: bool,
}

/// An element of a list, with its place.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Option<PlaceId>,
}

/// A list with at least one element.
#[derive(Debug)]
pub(super) struct OneOrMore<T>(pub(super) Vec<At<T>>);

/// Several sections of one kind, `[[name]]`.
#[derive(Debug)]
pub(super) struct Sections<T>(pub(super) Vec<At<T>>);

/// Reads values, knows where in the file it is, and notes problems.
pub(super) struct Reader<'a> {
    places: &'a Places,
    problems: &'a mut Vec<Problem>,
    /// All layers are there: what is missing is missing.
    complete: bool,
    /// The sections that we are in.
    path: Vec<&'static str>,
    /// How the section that we are in is called in a message: `[sip]`, `[[partner]] fabrikam.com:`.
    section: String,
    /// The key that is being read.
    key: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(places: &'a Places, problems: &'a mut Vec<Problem>, complete: bool) -> Self {
        Self { places, problems, complete, path: Vec::new(), section: String::new(), key: "" }
    }

    /// Reads the outermost section.
    pub(super) fn root<T: Section>(&mut self, values: &Map<String, Value>) -> T {
        Sectioned::read(self, values, None, self.complete)
    }

    /// Whether the value came as text from the environment or a flag, where everything is text.
    pub(super) fn is_untyped(&self, node: Node<'_>) -> bool {
        self.places.is_untyped(node.place())
    }

    /// Whether the value came from the store, which is nowhere in particular.
    pub(super) fn is_stored(&self, node: Node<'_>) -> bool {
        node.place().is_some_and(|place| self.places.is_stored(place))
    }

    /// The folder of the file in which the value stands.
    pub(super) fn folder(&self, node: Node<'_>) -> Option<&Path> {
        self.places.folder(node.place())
    }

    /// Where files are that the service manager hands over.
    pub(super) fn credentials(&self) -> &Credentials {
        self.places.credentials()
    }

    /// Notes that the value of the current key is wrong.
    pub(super) fn refuse(&mut self, node: Node<'_>, sentence: impl AsRef<str>) {
        let label =
            [self.section.as_str(), self.key].iter().filter(|s| !s.is_empty()).copied().collect::<Vec<_>>();
        let text = format!("{}: {}", label.join(" "), sentence.as_ref());
        self.problems.push(self.places.problem(Severity::Error, node.place(), Part::Value, text));
    }

    pub(super) fn wrong_type(&mut self, node: Node<'_>, expected: &str, advice: &str) {
        self.refuse(node, format!("expected {expected}, found {}{advice}", node.describe()));
    }

    /// The text of a `T`.
    pub(super) fn text<'n, T: Text>(&mut self, node: Node<'n>) -> Option<&'n str> {
        let advice = "; text is written in quotes";
        self.text_or(node, T::WHAT, T::AS_NUMBER.unwrap_or(advice))
    }

    pub(super) fn text_or<'n>(&mut self, node: Node<'n>, expected: &str, advice: &str) -> Option<&'n str> {
        match &node.0.kind {
            ValueKind::String(text) => Some(text),
            ValueKind::Array(_) => {
                self.wrong_type(
                    node,
                    expected,
                    "; only one value is possible here, write it without brackets",
                );
                None
            }
            ValueKind::I64(_) => {
                self.wrong_type(node, expected, advice);
                None
            }
            _ => {
                self.wrong_type(node, expected, "");
                None
            }
        }
    }

    /// `expected` is the whole sentence: "expected a whole number of bytes from 1 to 5".
    pub(super) fn integer(&mut self, node: Node<'_>, expected: &str) -> Option<i64> {
        match &node.0.kind {
            ValueKind::I64(number) => return Some(*number),
            ValueKind::String(text) if self.is_untyped(node) => {
                if let Ok(number) = text.parse() {
                    return Some(number);
                }
            }
            _ => {}
        }
        let advice = match &node.0.kind {
            ValueKind::String(_) if !self.is_untyped(node) => {
                "; numbers are written without quotes and without unit"
            }
            _ => "",
        };
        self.refuse(node, format!("{expected}, found {}{advice}", node.describe()));
        None
    }

    pub(super) fn list<'n>(&mut self, node: Node<'n>, expected: &str) -> Option<Cow<'n, [Value]>> {
        match &node.0.kind {
            ValueKind::Array(values) => Some(Cow::Borrowed(values)),
            ValueKind::String(text) if self.is_untyped(node) => {
                let origin = node.0.origin().map(str::to_owned);
                Some(text.split(',').map(|item| Value::new(origin.as_ref(), item.trim())).collect())
            }
            ValueKind::String(text) => {
                let text = quoted(text);
                self.wrong_type(node, expected, &format!("; a list is written in brackets: [{text}]"));
                None
            }
            _ => {
                self.wrong_type(node, expected, "");
                None
            }
        }
    }

    /// Reads a section that stands at the current key.
    pub(super) fn section<T: Section>(&mut self, node: Node<'_>) -> Option<T> {
        let path = self.below();
        match &node.0.kind {
            ValueKind::Table(values) => {
                let place = node.place().or_else(|| self.places.section(&path));
                Some(self.within(format!("[{path}]"), |reader| {
                    Sectioned::read(reader, values, place, reader.complete)
                }))
            }
            ValueKind::Array(values) if values.iter().all(|v| matches!(v.kind, ValueKind::Table(_))) => {
                let place = values.first().map(Node::new).map_or(node, |first| first);
                let text = format!("[[{path}]]: there is only one such section; write it as [{path}]");
                self.problems.push(self.places.problem(Severity::Error, place.place(), Part::Value, text));
                None
            }
            _ => {
                self.refuse(node, format!("expected the section [{path}], found {}", node.describe()));
                None
            }
        }
    }

    pub(super) fn sections<T: Section>(&mut self, node: Node<'_>) -> Option<Vec<At<T>>> {
        let path = self.below();
        let ValueKind::Array(values) = &node.0.kind else {
            let advice = format!("each is written under its own [[{path}]]");
            match &node.0.kind {
                ValueKind::Table(_) => {
                    // The merged tree has no place for tables.
                    let place = node.place().or_else(|| self.places.section(&path));
                    let text =
                        format!("[{path}]: there can be several of these; {advice}, with double brackets");
                    self.problems.push(self.places.problem(Severity::Error, place, Part::Value, text));
                }
                _ => self.wrong_type(node, &format!("sections; {advice}"), ""),
            }
            return None;
        };
        let mut sections = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let node = Node(value);
            let ValueKind::Table(values) = &value.kind else {
                self.wrong_type(node, &format!("sections; each is written under its own [[{path}]]"), "");
                continue;
            };
            let label = section_label::<T>(&path, index, values);
            let place = node.place();
            let value = self.within(label, |reader| Sectioned::read(reader, values, place, true));
            sections.push(At { value, place });
        }
        Some(sections)
    }

    /// The section as the beginning of a sentence about it as a whole.
    fn section_prefix(&self) -> String {
        match self.section.as_str() {
            "" => String::new(),
            label if label.ends_with(':') => format!("{label} "),
            label => format!("{label}: "),
        }
    }

    /// The dotted path of the current key.
    fn below(&self) -> String {
        self.path.iter().copied().chain([self.key]).collect::<Vec<_>>().join(".")
    }

    fn within<R>(&mut self, label: String, read: impl FnOnce(&mut Self) -> R) -> R {
        let key = self.key;
        let section = std::mem::replace(&mut self.section, label);
        self.path.push(key);
        let result = read(self);
        self.path.pop();
        self.section = section;
        self.key = key;
        result
    }
}

/// How one of several sections is called: by the value of the key that names it, else by its number.
fn section_label<T: Section>(path: &str, index: usize, values: &Map<String, Value>) -> String {
    let name = T::NAMED_BY.and_then(|key| values.get(key)).and_then(|value| match &value.kind {
        ValueKind::String(text) if !text.is_empty() => Some(quoted(text).trim_matches('"').to_owned()),
        _ => None,
    });
    match name {
        Some(name) => format!("[[{path}]] {name}:"),
        None => format!("[[{path}]] number {}:", index + 1),
    }
}

/// A section that is being read.
pub(super) struct Sectioned<'r, 'a> {
    reader: &'r mut Reader<'a>,
    values: &'r Map<String, Value>,
    place: Option<PlaceId>,
    complete: bool,
    /// Keys that are there, but misspelt: they are not missing besides.
    meant: Vec<&'static str>,
}

impl<'r, 'a> Sectioned<'r, 'a> {
    fn read<T: Section>(
        reader: &'r mut Reader<'a>,
        values: &'r Map<String, Value>,
        place: Option<PlaceId>,
        complete: bool,
    ) -> T {
        let mut section = Sectioned { reader, values, place, complete, meant: Vec::new() };
        section.refuse_unknown(&T::keys());
        T::read(&mut section)
    }

    fn refuse_unknown(&mut self, keys: &[Key]) {
        for (name, value) in self.values {
            if keys.iter().any(|key| key.name == name) {
                continue;
            }
            let is_section = matches!(value.kind, ValueKind::Table(_));
            let outermost = self.reader.path.is_empty();
            let kind = if is_section || outermost { "section" } else { "key" };
            let advice = match nearest(name, keys.iter().map(|key| key.name)) {
                Some(meant) => {
                    self.meant.push(meant);
                    format!("did you mean \"{meant}\"?")
                }
                None => match elsewhere(name, &self.reader.path.join(".")) {
                    Some(section) => format!("it belongs into {section}"),
                    None => {
                        let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                        format!("known here: {}", known.join(", "))
                    }
                },
            };
            let section = self.reader.section_prefix();
            let text = format!("{section}unknown {kind} {}; {advice}", quoted(name));
            let problem = self.reader.places.problem(Severity::Error, PlaceId::of(value), Part::Key, text);
            self.reader.problems.push(problem);
        }
    }

    /// Calls `read` with the value of the key `name`, if it is there.
    pub(super) fn each(&mut self, name: &'static str, read: impl FnOnce(Node<'_>, &mut Reader<'_>)) {
        if let Some(value) = self.values.get(name) {
            self.reader.key = name;
            read(Node(value), self.reader);
        }
    }

    /// Reads the key `name`; its default if it is absent.
    pub(super) fn slot<T: Read>(&mut self, name: &'static str, doc: &str, presence: &Presence) -> Slot<T> {
        let problems = self.reader.problems.len();
        self.reader.key = name;
        let empty;
        let (value, place) = match (self.values.get(name), presence) {
            (Some(value), _) => (T::read(Node(value), self.reader), PlaceId::of(value)),
            (None, Presence::Optional) => (None, None),
            (None, Presence::Default(text)) => {
                empty = default_value(text);
                (T::read(Node(&empty), self.reader), None)
            }
            (None, Presence::Required) => {
                if self.complete && !self.meant.contains(&name) {
                    self.missing::<T>(name, doc);
                }
                (None, None)
            }
        };
        Slot {
            value,
            place,
            sound: self.reader.problems.len() == problems && (value_needed(presence, self.complete)),
        }
    }

    fn missing<T: Read>(&mut self, name: &'static str, doc: &str) {
        let path = self.reader.below();
        let section = self.reader.section_prefix();
        let required = |keys: Vec<Key>| {
            let keys = keys.iter().filter(|key| key.presence == Presence::Required);
            let names: Vec<String> = keys
                .map(|key| match key.shape {
                    Shape::Tables(_) => format!("[[{path}.{}]]", key.name),
                    _ => key.name.to_owned(),
                })
                .collect();
            names.join(", ")
        };
        let text = match T::shape() {
            Shape::Value(allowed) => {
                let allowed = allowed.replace('`', "");
                format!(
                    "{section}the key \"{name}\" is missing (expected: {allowed}). {}",
                    first_sentence(doc)
                )
            }
            Shape::Table(keys) => format!("the section [{path}] is missing; it needs {}", required(keys())),
            Shape::Tables(keys) => {
                format!("at least one [[{path}]] is needed, with {}", required(keys()))
            }
        };
        let place = self.place;
        self.reader.problems.push(self.reader.places.problem(Severity::Error, place, Part::Value, text));
    }
}

fn first_sentence(doc: &str) -> String {
    let doc = doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "");
    match doc.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => doc,
    }
}

/// An absent required key of an incomplete layer allows no conclusions.
fn value_needed(presence: &Presence, complete: bool) -> bool {
    complete || *presence != Presence::Required
}

/// The section in which a key of this name is known: below the section `path`, or the only one anywhere.
fn elsewhere(name: &str, path: &str) -> Option<String> {
    let mut found = Vec::new();
    super::schema::walk(&super::file::Root::keys(), "", &mut |header, _, key| {
        if key.name == name && !header.is_empty() {
            found.push(header.to_owned());
        }
    });
    let below =
        |header: &&String| !path.is_empty() && header.trim_matches('[').starts_with(&format!("{path}."));
    match found.as_slice() {
        [one] => Some(one.clone()),
        several => several.iter().find(below).cloned(),
    }
}

/// A default, written as in the file. The unit tests read every one of them.
pub(super) fn default_value(text: &str) -> Value {
    fn convert(value: &toml::Value) -> Value {
        match value {
            toml::Value::String(text) => Value::new(None, text.as_str()),
            toml::Value::Integer(number) => Value::new(None, *number),
            toml::Value::Boolean(boolean) => Value::new(None, *boolean),
            toml::Value::Array(array) => Value::new(None, array.iter().map(convert).collect::<Vec<_>>()),
            _ => Value::new(None, Map::<String, Value>::new()),
        }
    }
    let table: toml::Table = toml::from_str(&format!("it = {text}")).unwrap_or_default();
    table.get("it").map_or_else(|| Value::new(None, ValueKind::Nil), convert)
}
