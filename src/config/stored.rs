//! What was made while the gateway ran, kept in its store: partners, policies and blocks. They are one more source, and go
//! through the same reader and the same checks as what is in the file. The file wins.

use std::collections::BTreeMap;
use std::fmt;

use ::config::{Map, Value, ValueKind};
use serde_json::Value as Json;

use super::Domain;
use super::block::BlockAddress;
use super::problem::{Problem, Severity};
use super::source::{Part, PlaceId, Places};
use super::value::Text as _;

/// What can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A `[[partner]]`, by its primary domain.
    Partner,
    /// A `[[policy.rule]]`, by its name; [`GLOBAL`] are the keys of `[policy]` itself.
    Policy,
    /// A `[[block]]`, by its address.
    Block,
}

/// The name under which the keys of `[policy]` are stored.
pub const GLOBAL: &str = "global";

/// The keys of one entry, as in the file.
pub type Entry = serde_json::Map<String, Json>;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Partner, Self::Policy, Self::Block];

    /// The word for one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Partner => "partner",
            Self::Policy => "policy",
            Self::Block => "block",
        }
    }

    /// The key of an entry that names it.
    pub const fn named_by(self) -> &'static str {
        match self {
            Self::Partner => "domain",
            Self::Policy => "name",
            Self::Block => "address",
        }
    }

    /// Where its sections are in the file.
    const fn path(self) -> &'static [&'static str] {
        match self {
            Self::Partner => &["partner"],
            Self::Policy => &["policy", "rule"],
            Self::Block => &["block"],
        }
    }

    /// The name as it is compared; as it is if it is none.
    pub fn normalise(self, name: &str) -> String {
        let normal = match self {
            Self::Partner => Domain::new(name).ok().map(|domain| domain.as_str().to_owned()),
            Self::Block => BlockAddress::parse(name).ok().map(|address| address.to_string()),
            Self::Policy => None,
        };
        normal.unwrap_or_else(|| name.to_owned())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All stored entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    entries: BTreeMap<(Kind, String), Entry>,
}

impl Stored {
    /// The entry of this name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.entries.get(&(kind, kind.normalise(name)))
    }

    /// Puts an entry in the place of the one that has its name; what there was.
    pub fn put(&mut self, kind: Kind, name: &str, entry: Entry) -> Option<Entry> {
        self.entries.insert((kind, kind.normalise(name)), entry)
    }

    /// Takes an entry away.
    pub fn remove(&mut self, kind: Kind, name: &str) -> Option<Entry> {
        self.entries.remove(&(kind, kind.normalise(name)))
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, &Entry)> {
        self.entries.iter().map(|((kind, name), entry)| (*kind, name.as_str(), entry))
    }

    /// Without those that are set aside, and with what is in their place.
    #[must_use]
    pub fn without<'a>(&self, set_aside: impl IntoIterator<Item = &'a SetAside>) -> Self {
        let mut rest = self.clone();
        for SetAside { kind, name, instead, .. } in set_aside {
            match instead {
                Some(instead) => rest.put(*kind, name, instead.clone()),
                None => rest.remove(*kind, name),
            };
        }
        rest
    }

    /// Lays them behind what the files say. What the files say besides is told in `problems`; it comes back as set aside.
    pub(super) fn lay(
        &self,
        root: &mut Value,
        places: &mut Places,
        problems: &mut Vec<Problem>,
    ) -> Vec<SetAside> {
        let mut set_aside = Vec::new();
        let declared = declared_domains(root);
        let named = |root: &Value, path: &[&str], key, kind: Kind, name: &str| {
            let found = names(root, path, key).into_iter().find(|(other, _)| kind.normalise(other) == *name);
            found.map(|(_, place)| place)
        };
        for ((kind, name), entry) in &self.entries {
            let place = places.stored(*kind, name);
            let mut values = values(entry, place);
            if *kind != Kind::Partner
                && let Some(first) = named(root, kind.path(), kind.named_by(), *kind, name)
            {
                let why = format!("it is declared at {}, which wins", places.name(Some(first)));
                let given_way = SetAside::gives_way(*kind, name, why);
                problems.push(places.problem(Severity::Warning, Some(place), Part::Value, given_way.text()));
                set_aside.push(given_way);
                continue;
            }
            match kind {
                Kind::Partner => {
                    values.insert("domain".to_owned(), text(name, place));
                    if let Some((domain, first)) = clash(&values, &declared) {
                        let first = places.name(Some(first));
                        let why = format!("{} is declared at {first}, which wins", domain.to_unicode());
                        let given_way = SetAside::gives_way(*kind, name, why);
                        problems.push(places.problem(
                            Severity::Warning,
                            Some(place),
                            Part::Value,
                            given_way.text(),
                        ));
                        set_aside.push(given_way);
                        continue;
                    }
                    push(root, &["partner"], values, place);
                }
                Kind::Policy if name == GLOBAL => below(root, "policy", values),
                Kind::Policy => {
                    values.insert("name".to_owned(), text(name, place));
                    push(root, &["policy", "rule"], values, place);
                }
                Kind::Block => {
                    values.insert("address".to_owned(), text(name, place));
                    push(root, &["block"], values, place);
                }
            }
        }
        set_aside
    }
}

/// A stored entry that does not hold, because it does not go with the rest. It stays stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// What it is.
    pub kind: Kind,
    /// Its name, as it is compared.
    pub name: String,
    /// What is wrong, each in a sentence.
    pub why: Vec<String>,
    /// A file says something else, which holds.
    pub declared: bool,
    /// What holds in its place, allowing less.
    pub instead: Option<Entry>,
}

impl SetAside {
    fn gives_way(kind: Kind, name: &str, why: String) -> Self {
        Self { kind, name: name.to_owned(), why: vec![why], declared: true, instead: None }
    }

    /// Whether it is this entry.
    pub fn is(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name == kind.normalise(name)
    }

    /// For people, with what to do.
    pub fn text(&self) -> String {
        let Self { kind, name, why, .. } = self;
        format!("set aside: {}; remove this one: nuncio {kind} remove {name}", why.join("; "))
    }
}

/// The names of the entries in a list of sections.
fn names(root: &Value, path: &[&str], key: &str) -> Vec<(String, PlaceId)> {
    let mut at = root;
    for name in path {
        let ValueKind::Table(table) = &at.kind else { return Vec::new() };
        let Some(below) = table.get(*name) else { return Vec::new() };
        at = below;
    }
    let ValueKind::Array(list) = &at.kind else { return Vec::new() };
    let name = |entry: &Value| match &entry.kind {
        ValueKind::Table(values) => match values.get(key) {
            Some(value) => Some((value.clone().into_string().ok()?, PlaceId::of(value)?)),
            None => None,
        },
        _ => None,
    };
    list.iter().filter_map(name).collect()
}

/// The domains of partners in the files, each with its place.
fn declared_domains(root: &Value) -> BTreeMap<Domain, PlaceId> {
    let ValueKind::Table(root) = &root.kind else { return BTreeMap::new() };
    let partners = root.get("partner").map(|partners| &partners.kind);
    let Some(ValueKind::Array(partners)) = partners else { return BTreeMap::new() };
    let tables = partners.iter().filter_map(|partner| match &partner.kind {
        ValueKind::Table(values) => Some(values),
        _ => None,
    });
    tables.flat_map(domains).collect()
}

/// The domains of one partner.
fn domains(values: &Map<String, Value>) -> Vec<(Domain, PlaceId)> {
    let one = |value: &Value| match &value.kind {
        ValueKind::String(text) => Some((Domain::new(text).ok()?, PlaceId::of(value)?)),
        _ => None,
    };
    let additional = match values.get("additional_domains").map(|list| &list.kind) {
        Some(ValueKind::Array(list)) => list.iter().filter_map(one).collect(),
        _ => Vec::new(),
    };
    values.get("domain").and_then(one).into_iter().chain(additional).collect()
}

fn clash(values: &Map<String, Value>, declared: &BTreeMap<Domain, PlaceId>) -> Option<(Domain, PlaceId)> {
    let own = domains(values).into_iter();
    own.filter_map(|(domain, _)| declared.get(&domain).map(|place| (domain.clone(), *place))).next()
}

/// Appends to a list of sections. What stands there and is none was complained of before.
fn push(root: &mut Value, path: &[&str], values: Map<String, Value>, place: PlaceId) {
    let ValueKind::Table(table) = &mut root.kind else { return };
    match path {
        [] => {}
        [name] => {
            let list =
                table.entry((*name).to_owned()).or_insert_with(|| Value::new(None, Vec::<Value>::new()));
            if let ValueKind::Array(list) = &mut list.kind {
                list.push(Value::new(Some(&place.to_string()), values));
            }
        }
        [name, rest @ ..] => {
            let section = table
                .entry((*name).to_owned())
                .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
            push(section, rest, values, place);
        }
    }
}

/// Sets keys of a section that the files leave open.
fn below(root: &mut Value, name: &str, values: Map<String, Value>) {
    let ValueKind::Table(table) = &mut root.kind else { return };
    let section =
        table.entry(name.to_owned()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
    if let ValueKind::Table(section) = &mut section.kind {
        for (key, value) in values {
            section.entry(key).or_insert(value);
        }
    }
}

fn values(entry: &Entry, place: PlaceId) -> Map<String, Value> {
    // `null` says that a key is absent.
    let set = entry.iter().filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| (key.clone(), from_json(value, place))).collect()
}

fn from_json(value: &Json, place: PlaceId) -> Value {
    let kind = match value {
        Json::Null => ValueKind::Nil,
        Json::Bool(boolean) => ValueKind::Boolean(*boolean),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => ValueKind::I64(integer),
            None => ValueKind::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => ValueKind::String(text.clone()),
        Json::Array(list) => ValueKind::Array(list.iter().map(|value| from_json(value, place)).collect()),
        Json::Object(entry) => ValueKind::Table(values(entry, place)),
    };
    Value::new(Some(&place.to_string()), kind)
}

fn text(text: &str, place: PlaceId) -> Value {
    from_json(&Json::from(text), place)
}
