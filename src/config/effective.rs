//! What holds in the end, key by key: the value, and where it comes from. Made from the declaration of the sections, so that no
//! key is missing in it. Two of them tell what a change amounts to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use ::config::{Map, Value, ValueKind};
use serde_json::Value as Json;

use super::read::default_value;
use super::schema::{Key, Presence, Shape};
use super::source::{PlaceId, Places};
use super::stored::Kind;

/// Every key that has a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective {
    settings: Vec<Setting>,
    /// The place of each, by path.
    places: HashMap<String, usize>,
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `limits.xmpp.hold`, `partner[fabrikam.com].type`.
    pub path: String,
    /// Its value, as in the file.
    pub value: Json,
    /// Where it comes from.
    pub origin: Origin,
    /// The heading of its section: `[limits.xmpp]`, `[[partner]]`.
    header: String,
    key: &'static str,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything else.
    Default,
    /// A file with line, a variable of the environment, a flag.
    Declared(String),
    /// It was set while the gateway ran.
    Stored,
}

impl Origin {
    /// For people.
    pub fn text(&self) -> &str {
        match self {
            Self::Default => "default",
            Self::Declared(place) => place,
            Self::Stored => "stored",
        }
    }
}

/// A key whose value is another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// See [`Setting::path`].
    pub path: String,
    /// Absent: it had none.
    pub from: Option<Json>,
    /// Absent: it has none.
    pub to: Option<Json>,
}

impl Effective {
    pub(super) fn of(keys: &[Key], merged: &Map<String, Value>, places: &Places) -> Self {
        let mut settings = Vec::new();
        walk(keys, merged, places, Scope { path: "", header: "" }, &mut settings);
        let places = settings.iter().enumerate().map(|(at, setting)| (setting.path.clone(), at)).collect();
        Self { settings, places }
    }

    /// All keys, in the order of the documentation.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// The key of this path.
    pub fn get(&self, path: &str) -> Option<&Setting> {
        self.places.get(path).and_then(|at| self.settings.get(*at))
    }

    /// Whether the other one says the same in the same order. Where a value comes from makes no difference.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.settings.len() == other.settings.len()
            && self.settings.iter().zip(&other.settings).all(|(a, b)| a.path == b.path && a.value == b.value)
    }

    /// What is different in `new`, by path. Where a value comes from makes no difference.
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let by_path = |of: &Self| -> BTreeMap<String, Json> {
            of.settings.iter().map(|setting| (setting.path.clone(), setting.value.clone())).collect()
        };
        let (mut before, after) = (by_path(self), by_path(new));
        let mut differences = Vec::new();
        for (path, to) in after {
            let from = before.remove(&path);
            if from.as_ref() != Some(&to) {
                differences.push(Difference { path, from, to: Some(to) });
            }
        }
        let gone = before.into_iter().map(|(path, from)| Difference { path, from: Some(from), to: None });
        differences.extend(gone);
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        differences
    }

    /// As a file that says the same, each key with where it comes from.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for setting in &self.settings {
            let own = setting.path.rsplit_once('.').map_or("", |(own, _)| own);
            if own != section {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\n{}", setting.header);
                section = own;
            }
            let line = format!("{} = {}", setting.key, written(&setting.value));
            let _ = writeln!(text, "{line:<50} # {}", setting.origin.text());
        }
        text.trim_start().to_owned()
    }
}

/// A value as it is written in the file. Strings of JSON are strings of TOML, for what is in them.
pub fn written(value: &Json) -> String {
    match value {
        Json::Array(list) => format!("[{}]", list.iter().map(written).collect::<Vec<_>>().join(", ")),
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy)]
struct Scope<'a> {
    path: &'a str,
    header: &'a str,
}

impl Scope<'_> {
    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The dotted path of a section, without names of entries.
    fn section(&self, name: &str) -> String {
        match self.header.trim_matches(['[', ']']) {
            "" => name.to_owned(),
            outer => format!("{outer}.{name}"),
        }
    }
}

fn walk(
    keys: &[Key],
    values: &Map<String, Value>,
    places: &Places,
    scope: Scope<'_>,
    out: &mut Vec<Setting>,
) {
    for key in keys {
        if !matches!(key.shape, Shape::Value(_)) {
            continue;
        }
        let (value, origin) = match (values.get(key.name), &key.presence) {
            (Some(value), _) => (to_json(value), origin(value, places)),
            (None, Presence::Default(text)) => (to_json(&default_value(text)), Origin::Default),
            (None, Presence::Required | Presence::Optional) => continue,
        };
        let (path, header) = (scope.below(key.name), scope.header.to_owned());
        out.push(Setting { path, value, origin, header, key: key.name });
    }
    let empty = Map::new();
    for key in keys {
        let here = values.get(key.name).map(|value| &value.kind);
        let path = scope.below(key.name);
        match &key.shape {
            Shape::Value(_) => {}
            Shape::Table(below) => {
                let values = if let Some(ValueKind::Table(values)) = here { values } else { &empty };
                let header = format!("[{}]", scope.section(key.name));
                walk(&below(), values, places, Scope { path: &path, header: &header }, out);
            }
            Shape::Tables(below) => {
                let Some(ValueKind::Array(list)) = here else { continue };
                let (keys, header) = (below(), format!("[[{}]]", scope.section(key.name)));
                for (index, entry) in list.iter().enumerate() {
                    let ValueKind::Table(values) = &entry.kind else { continue };
                    let path = format!("{path}[{}]", name(&header, &keys, values, index));
                    walk(&keys, values, places, Scope { path: &path, header: &header }, out);
                }
            }
        }
    }
}

/// What one of several sections is called among its likes.
fn name(header: &str, keys: &[Key], values: &Map<String, Value>, index: usize) -> String {
    const NAMES: [&str; 4] = ["name", "domain", "address", "bind"];
    let known = NAMES.into_iter().find(|name| keys.iter().any(|key| key.name == *name));
    match known.and_then(|name| values.get(name)).map(|value| &value.kind) {
        Some(ValueKind::String(text)) => match header {
            "[[partner]]" => Kind::Partner.normalise(text),
            "[[block]]" => Kind::Block.normalise(text),
            _ => text.clone(),
        },
        _ => (index + 1).to_string(),
    }
}

fn origin(value: &Value, places: &Places) -> Origin {
    match PlaceId::of(value) {
        Some(place) if places.is_stored(place) => Origin::Stored,
        Some(place) => Origin::Declared(places.name(Some(place))),
        None => Origin::Default,
    }
}

pub(super) fn to_json(value: &Value) -> Json {
    match &value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(boolean) => Json::from(*boolean),
        ValueKind::I64(number) => Json::from(*number),
        ValueKind::U64(number) => Json::from(*number),
        ValueKind::I128(number) => Json::from(number.to_string()),
        ValueKind::U128(number) => Json::from(number.to_string()),
        ValueKind::Float(number) => Json::from(*number),
        ValueKind::String(text) => Json::from(text.as_str()),
        ValueKind::Array(list) => list.iter().map(to_json).collect(),
        ValueKind::Table(table) => {
            let sorted: BTreeMap<&String, &Value> = table.iter().collect();
            sorted.into_iter().map(|(key, value)| (key.clone(), to_json(value))).collect()
        }
    }
}
