//! Where values come from: TOML files, the environment, flags. Every value keeps its place.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ::config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Root;
use super::problem::{Lines, Problem, Severity};
use super::read::Section;
use super::schema::{Key, Shape};
use super::stored::{Kind, Stored};
use super::value::{nearest, printable, quoted, shown, with_words_cut};

/// What a configuration is made from; later sources win over earlier ones, flags over the environment over files.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<TomlFile>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
    pub(super) stored: Stored,
    pub(super) trust_paths: bool,
    /// Stored partners whose files stay unopened.
    pub(super) held: Vec<String>,
}

#[derive(Clone, Debug)]
struct TomlFile {
    name: PathBuf,
    text: Text,
}

/// What a file says.
#[derive(Clone, Debug)]
enum Text {
    /// Given by the caller instead of read from the disk.
    Given(String),
    /// Read when it is needed.
    OnDisk,
    /// As it was read, or why it could not be.
    Read(Result<String, String>),
}

#[derive(Clone, Debug)]
struct Flag {
    name: &'static str,
    key: &'static str,
    value: String,
}

impl Sources {
    /// No source at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(TomlFile { name: path.into(), text: Text::OnDisk });
        self
    }

    /// Adds a TOML document that is not on the disk; `name` stands in for its path.
    pub fn toml(mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push(TomlFile { name: name.into(), text: Text::Given(text.into()) });
        self
    }

    /// Reads the files now. What they say later goes unheard until this is called again: whoever loads several times, as with
    /// other stored entries, loads the same.
    pub fn read_now(mut self) -> Self {
        for file in &mut self.files {
            if !matches!(file.text, Text::Given(_)) {
                file.text = Text::Read(read_text(&file.name));
            }
        }
        self
    }

    /// Adds environment variables; those that are not `NUNCIO_SECTION__KEY` are passed over.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Adds the flag `name`, if it was given: it sets `key`, such as `log.level`.
    pub fn flag(mut self, name: &'static str, key: &'static str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| Flag { name, key, value }));
        self
    }

    /// With these stored entries in place of those there were.
    pub fn stored(mut self, stored: Stored) -> Self {
        self.stored = stored;
        self
    }

    /// Leaves the files that the configuration names (certificates, keys, roots) unopened.
    pub fn trusting_paths(mut self) -> Self {
        self.trust_paths = true;
        self
    }

    /// Leaves the files of these stored partners unopened: what was made of them before stays in use.
    #[must_use]
    pub fn holding(mut self, partners: impl IntoIterator<Item = String>) -> Self {
        self.held = partners.into_iter().collect();
        self
    }

    /// Whether those files stay unopened.
    pub fn trusts_paths(&self) -> bool {
        self.trust_paths
    }

    /// Whether the files of this stored partner do.
    pub fn holds(&self, partner: &str) -> bool {
        self.held.iter().any(|held| held == partner)
    }

    /// The stored entries among them.
    pub fn stored_entries(&self) -> &Stored {
        &self.stored
    }

    /// How many files there are.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Where the environment says that files are which the service manager hands over.
    fn credentials(&self) -> Credentials {
        let named =
            |(name, folder): &(OsString, OsString)| name == "CREDENTIALS_DIRECTORY" && !folder.is_empty();
        match self.environment.iter().find(|variable| named(variable)) {
            Some((_, folder)) => Credentials::In(folder.into()),
            None if self.trust_paths => Credentials::NotAsked,
            None => Credentials::None,
        }
    }

    /// Reads everything. The layers come in the order in which they are laid over each other.
    pub(super) fn read(&self, problems: &mut Vec<Problem>) -> (Places, Vec<Layer>) {
        let mut places = Places { credentials: self.credentials(), ..Places::default() };
        let mut layers = Vec::new();
        for file in &self.files {
            layers.extend(places.read_file(file, problems));
        }
        let keys = Root::keys();
        layers.push(places.read_environment(&self.environment, &keys, problems));
        layers.push(places.read_flags(&self.flags));
        (places, layers)
    }
}

/// Where files are that the service manager hands over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    /// In this folder.
    In(PathBuf),
    /// Nowhere.
    #[default]
    None,
    /// Files are not opened anyway.
    NotAsked,
}

/// The values of one source.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) values: Map<String, Value>,
    /// A TOML file, to be judged by itself first.
    pub(super) is_file: bool,
}

impl ::config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        // An unknown section was reported already; the crate would take its name for a path expression.
        let known = Root::keys();
        let values = self.values.iter().filter(|(name, _)| known.iter().any(|key| key.name == name.as_str()));
        Ok(values.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

/// Number of a place in [`Places`]; it travels through the crate `config` as the origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PlaceId(usize);

impl std::fmt::Display for PlaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl PlaceId {
    pub(super) fn of(value: &Value) -> Option<Self> {
        value.origin()?.parse().ok().map(Self)
    }
}

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

#[derive(Debug)]
enum Place {
    File { file: usize, key: Range<usize>, value: Range<usize> },
    Environment { name: String },
    Flag { name: &'static str },
    Stored { kind: Kind, name: String },
}

/// Where every value stands.
#[derive(Debug, Default)]
pub(super) struct Places {
    files: Vec<(PathBuf, Lines)>,
    places: Vec<Place>,
    /// Where a section is opened. Laying layers over each other makes tables anew, without origin.
    sections: HashMap<String, PlaceId>,
    credentials: Credentials,
}

impl Places {
    /// Reads one TOML file; nothing comes back if it is not TOML.
    fn read_file(&mut self, file: &TomlFile, problems: &mut Vec<Problem>) -> Option<Layer> {
        let index = self.files.len();
        let text = match &file.text {
            Text::Given(text) => Ok(text.clone()),
            Text::OnDisk => read_text(&file.name),
            Text::Read(text) => text.clone(),
        };
        let (text, unreadable) = match text {
            Ok(text) => (text, None),
            Err(sentence) => (String::new(), Some(sentence)),
        };
        self.files.push((file.name.clone(), Lines::new(text.clone())));
        if let Some(sentence) = unreadable {
            problems.push(self.about_file(index, sentence));
            return None;
        }
        let (document, errors) = DeTable::parse_recoverable(&text);
        // Only the first syntax error: behind it the parser has to guess, and most of what it says is a consequence.
        if let Some(error) = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) {
            let span = error.span().unwrap_or(0..0);
            let place = self.add(Place::File { file: index, key: span.clone(), value: span.clone() });
            let hint = if is_bare_text(&text, span.start) { "; text is written in quotes" } else { "" };
            let text = format!("not valid TOML: {}{hint}", error.message());
            problems.push(self.problem(Severity::Error, Some(place), Part::Value, text));
            return None;
        }
        let values = self.table(index, document.get_ref(), &mut Vec::new(), problems);
        Some(Layer { values, is_file: true })
    }

    fn table(
        &mut self,
        file: usize,
        table: &DeTable<'_>,
        path: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            path.push(name.clone());
            let place = self.add(Place::File { file, key: key.span(), value: value.span() });
            if value.get_ref().is_table() {
                self.sections.insert(path.join("."), place);
            }
            if let Some(value) = self.value(file, value, place, path, problems) {
                values.insert(name, value);
            }
            path.pop();
        }
        values
    }

    fn value(
        &mut self,
        file: usize,
        value: &Spanned<DeValue<'_>>,
        place: PlaceId,
        path: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<Value> {
        let kind = match value.get_ref() {
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Boolean(boolean) => ValueKind::Boolean(*boolean),
            DeValue::Integer(integer) => {
                let digits = integer.as_str().replace('_', "");
                match i64::from_str_radix(&digits, integer.radix()) {
                    Ok(number) => ValueKind::I64(number),
                    Err(_) => {
                        let text = format!("{}: this number is too large for any setting", label(path));
                        problems.push(self.problem(Severity::Error, Some(place), Part::Value, text));
                        return None;
                    }
                }
            }
            DeValue::Float(float) => {
                ValueKind::Float(float.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
            }
            DeValue::Datetime(_) => {
                let text = format!("{}: no setting is a date or time", label(path));
                problems.push(self.problem(Severity::Error, Some(place), Part::Value, text));
                return None;
            }
            DeValue::Array(array) => {
                let mut values = Vec::with_capacity(array.len());
                for element in array.iter() {
                    let place = self.add(Place::File { file, key: element.span(), value: element.span() });
                    values.extend(self.value(file, element, place, path, problems));
                }
                ValueKind::Array(values)
            }
            DeValue::Table(table) => ValueKind::Table(self.table(file, table, path, problems)),
        };
        Some(Value::new(Some(&place.0.to_string()), kind))
    }

    fn read_environment(
        &mut self,
        variables: &[(OsString, OsString)],
        keys: &[Key],
        problems: &mut Vec<Problem>,
    ) -> Layer {
        let mut values = Map::new();
        let mut sorted: Vec<_> = variables.iter().collect();
        sorted.sort();
        for (name, value) in sorted {
            let Some(name) = name.to_str() else { continue };
            // Names with single underscores belong to others: container platforms make NUNCIO_PORT for a service
            // that is called nuncio.
            let Some(("", path)) = name.split_once("NUNCIO_").filter(|(_, path)| path.contains("__")) else {
                continue;
            };
            let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
            let place = self.add(Place::Environment { name: name.to_owned() });
            let mut refuse =
                |text: String| problems.push(self.problem(Severity::Error, Some(place), Part::Value, text));
            if let Err(sentence) = settable(&path, keys) {
                refuse(sentence);
                continue;
            }
            match value.to_str() {
                Some(value) => insert(&mut values, &path, Value::new(Some(&place.0.to_string()), value)),
                None => refuse(format!("{}: the value is not UTF-8", path.join("."))),
            }
        }
        Layer { values, is_file: false }
    }

    fn read_flags(&mut self, flags: &[Flag]) -> Layer {
        let mut values = Map::new();
        for flag in flags {
            let place = self.add(Place::Flag { name: flag.name });
            let path: Vec<String> = flag.key.split('.').map(str::to_owned).collect();
            insert(&mut values, &path, Value::new(Some(&place.0.to_string()), flag.value.as_str()));
        }
        Layer { values, is_file: false }
    }

    /// The place of everything in a stored entry.
    pub(super) fn stored(&mut self, kind: Kind, name: &str) -> PlaceId {
        self.add(Place::Stored { kind, name: name.to_owned() })
    }

    /// Whether it is one of these.
    pub(super) fn is_stored(&self, id: PlaceId) -> bool {
        matches!(self.get(id), Some(Place::Stored { .. }))
    }

    fn add(&mut self, place: Place) -> PlaceId {
        self.places.push(place);
        PlaceId(self.places.len() - 1)
    }

    fn get(&self, id: PlaceId) -> Option<&Place> {
        self.places.get(id.0)
    }

    /// Where the section `path` ("sip.connect") is opened.
    pub(super) fn section(&self, path: &str) -> Option<PlaceId> {
        self.sections.get(path).copied()
    }

    /// Where files are that the service manager hands over.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether the value came as text from outside a file, where everything is text.
    pub(super) fn is_untyped(&self, id: Option<PlaceId>) -> bool {
        matches!(id.and_then(|id| self.get(id)), Some(Place::Environment { .. } | Place::Flag { .. }))
    }

    /// The folder of the file in which the value stands: relative paths start there.
    pub(super) fn folder(&self, id: Option<PlaceId>) -> Option<&Path> {
        match id.and_then(|id| self.get(id)) {
            Some(Place::File { file, .. }) => self.files.get(*file).and_then(|(path, _)| path.parent()),
            _ => None,
        }
    }

    /// The place in words, for a sentence about another place.
    pub(super) fn name(&self, id: Option<PlaceId>) -> String {
        self.locate(id, Part::Value).0
    }

    fn locate(&self, id: Option<PlaceId>, part: Part) -> (String, Option<String>, (usize, usize)) {
        match id.and_then(|id| self.get(id)) {
            Some(Place::File { file, key, value }) => {
                let span = if part == Part::Key { key } else { value };
                let Some((path, lines)) = self.files.get(*file) else { return Default::default() };
                let (line, column) = lines.position(span.start);
                (
                    format!("{}:{line}:{column}", path.display()),
                    Some(lines.excerpt(span)),
                    (*file, span.start + 1),
                )
            }
            Some(Place::Environment { name }) => {
                (format!("environment variable {name}"), None, (usize::MAX - 1, id.map_or(0, |id| id.0)))
            }
            Some(Place::Flag { name }) => {
                (format!("flag {name}"), None, (usize::MAX, id.map_or(0, |id| id.0)))
            }
            Some(Place::Stored { kind, name }) => {
                (format!("stored {kind} {}", shown(name)), None, (usize::MAX - 2, id.map_or(0, |id| id.0)))
            }
            // Nothing stands anywhere: the last file is where it would be added.
            None => match self.files.last() {
                Some((path, _)) => (path.display().to_string(), None, (self.files.len() - 1, 0)),
                None => ("configuration".to_owned(), None, (0, 0)),
            },
        }
    }

    pub(super) fn problem(
        &self,
        severity: Severity,
        id: Option<PlaceId>,
        part: Part,
        text: String,
    ) -> Problem {
        let (place, excerpt, order) = self.locate(id, part);
        // Keys and messages of others get in here; none of them commands a terminal.
        let text = with_words_cut(&text).chars().map(printable).collect();
        let stored = match id.and_then(|id| self.get(id)) {
            Some(Place::Stored { kind, name }) => Some((*kind, name.clone())),
            _ => None,
        };
        Problem { severity, place, text, excerpt, stored, of_file: false, order }
    }

    fn about_file(&self, file: usize, text: String) -> Problem {
        let place = self.files.get(file).map(|(path, _)| path.display().to_string()).unwrap_or_default();
        Problem {
            severity: Severity::Error,
            place,
            text,
            excerpt: None,
            stored: None,
            of_file: false,
            order: (file, 0),
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "there is no such file; NUNCIO_CONFIG or --config FILE names the configuration file".to_owned()
        }
        ErrorKind::PermissionDenied => "the file may not be read by this user".to_owned(),
        ErrorKind::IsADirectory => "this is a folder, a TOML file is expected".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count()
                + 1;
        format!("the file is not UTF-8 text (line {line}); save it as UTF-8")
    })
}

/// Whether a variable can set the key at `path`.
fn settable(path: &[String], keys: &[Key]) -> Result<(), String> {
    let mut keys = keys.to_vec();
    let mut before: Vec<&'static str> = Vec::new();
    let mut rest = path.iter();
    while let Some(name) = rest.next() {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let whole = match before.as_slice() {
                [] => "there is no section".to_owned(),
                sections => format!("[{}] has no key", sections.join(".")),
            };
            let advice = nearest(name, keys.iter().map(|key| key.name))
                .map(|meant| format!("; did you mean {}?", variable(&before, meant)))
                .unwrap_or_default();
            return Err(format!("{whole} {}{advice}", quoted(name)));
        };
        before.push(key.name);
        let so_far = before.join(".");
        match key.shape {
            Shape::Value(_) if rest.len() == 0 => return Ok(()),
            Shape::Value(_) => return Err(format!("{so_far} is a value, there is nothing below it")),
            Shape::Table(below) => keys = below(),
            Shape::Tables(_) => {
                return Err(format!("[[{so_far}]] cannot be set from the environment, only in the file"));
            }
        }
    }
    let example = variable(&before, keys.first().map_or("", |key| key.name));
    Err(format!("[{}] is a section; name a key in it, such as {example}", before.join(".")))
}

/// The variable that sets the key `name` of the section `path`.
fn variable(path: &[&str], name: &str) -> String {
    let path: Vec<String> = path.iter().chain([&name]).map(|part| part.to_ascii_uppercase()).collect();
    format!("NUNCIO_{}", path.join("__"))
}

fn label(path: &[String]) -> String {
    match path {
        [key] => key.clone(),
        [sections @ .., key] => format!("[{}] {key}", sections.join(".")),
        [] => String::new(),
    }
}

fn insert(values: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            values.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let table =
                values.entry(name.clone()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            if let ValueKind::Table(table) = &mut table.kind {
                insert(table, rest, value);
            }
        }
    }
}

/// Whether what stands at `at` begins a value that is a word or a number: text somebody forgot to quote, most often.
fn is_bare_text(text: &str, at: usize) -> bool {
    text.split_at_checked(at).is_some_and(|(before, value)| {
        before.trim_end_matches([' ', '\t']).ends_with('=')
            && value.starts_with(|c: char| c.is_alphanumeric())
    })
}
