//! Partners, policies and blocks: those of the files beside the stored ones, which can be changed.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::applied::{answer, on_authority, schema as applied_schema};
use super::{Answer, Body, Caller, Change, Checked, Endpoint, Problem, Role, Shared};
use crate::config::{
    Domain, Entry, GLOBAL, Kind, Origin, PartnerType, SPOOFABLE, SetAside, reference, shown,
};
use crate::context::Context;
use crate::policy::{Applied, Authority, Edit, InForce, Refused};

/// What is said of an entry beside its keys: where it comes from, which of them nobody has set, what comes of it, and why it
/// does not hold.
const SAID: [&str; 4] = [ORIGIN, DEFAULTS, "negotiation", SET_ASIDE];
/// Its keys that were not set.
const DEFAULTS: &str = "defaults";
const ORIGIN: &str = "origin";
const SET_ASIDE: &str = "set_aside";
/// The origin of what can be changed here.
const STORED: &str = "stored";

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Dry {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Listed {
    #[serde(default)]
    only_set: bool,
}

type Name = Checked<Path<String>>;
type DryRun = Checked<Query<Dry>>;
type Who = Extension<Caller>;

/// What `apply` takes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    /// All entries, each with the key that names it.
    entries: Vec<Entry>,
    /// Whether those that are stored and not among them go, unless they are set aside.
    #[serde(default)]
    prune: bool,
}

/// The paths of the endpoints of one kind, and its section in the file.
struct Paths {
    kind: Kind,
    all: &'static str,
    one: &'static str,
    apply: &'static str,
    section: &'static str,
}

const PATHS: [Paths; 3] = [
    Paths {
        kind: Kind::Partner,
        all: "/v1/partners",
        one: "/v1/partners/{domain}",
        apply: "/v1/apply/partners",
        section: "partner",
    },
    Paths {
        kind: Kind::Policy,
        all: "/v1/policies",
        one: "/v1/policies/{name}",
        apply: "/v1/apply/policies",
        section: "policy.rule",
    },
    Paths {
        kind: Kind::Block,
        all: "/v1/blocks",
        one: "/v1/blocks/{address}",
        apply: "/v1/apply/blocks",
        section: "block",
    },
];

pub(super) fn endpoints() -> Vec<Endpoint> {
    PATHS.into_iter().flat_map(of_kind).collect()
}

fn of_kind(Paths { kind, all, one, apply, section }: Paths) -> Vec<Endpoint> {
    let whole = reference::json_schema(section, None);
    let keys = reference::json_schema(section, Some(kind.named_by()));
    // The rule that stands for [policy] itself has other keys.
    let or_global = |rule: Value, named: bool| match kind {
        Kind::Policy => json!({ "anyOf": [rule, global_schema(named)] }),
        Kind::Partner | Kind::Block => rule,
    };
    let (one_word, all_word) = match kind {
        Kind::Partner => ("a partner", "partners"),
        Kind::Policy => {
            ("a rule about SIP users, or “global”, which stands for [policy] itself", "rules about SIP users")
        }
        Kind::Block => ("a block", "blocks"),
    };
    let about = |what: &str| format!("{what} {one_word}.");
    let flag = || json!({ "type": "boolean", "default": false });
    let applied = || Answer::json(applied_schema());
    let dry = |endpoint: Endpoint| endpoint.query("dry_run", "Only say what it would amount to.", flag());
    let list = Answer::json(json!({ "type": "array", "items": { "type": "object" } }));
    let many = json!({
        "type": "object",
        "required": ["entries"],
        "additionalProperties": false,
        "properties": {
            "entries": { "type": "array", "items": or_global(whole.clone(), true) },
            "prune": { "type": "boolean", "description": "Whether those that are stored and not among them go, unless they \
             are set aside." },
        },
    });
    let listed = move |State(control): State<Shared>, Checked(Query(wanted)): Checked<Query<Listed>>| async move {
        Json(
            entries(&control.authority.in_force(), kind, wanted.only_set)
                .into_iter()
                .map(|(_, entry)| entry)
                .collect::<Value>(),
        )
    };
    let found = move |State(control): State<Shared>, Checked(Path(name)): Name| async move {
        find(&control.authority.in_force(), kind, &name).map(Json)
    };
    let create = move |State(control): State<Shared>,
                       Extension(caller): Who,
                       Checked(Query(dry)): DryRun,
                       Body(mut entry): Body<Entry>| async move {
        let edit = take_name(kind, &mut entry).map(|name| Edit::Create(kind, name, entry))?;
        let done = change(&control, caller, edit, dry).await?;
        Ok::<_, Problem>((if dry.dry_run { StatusCode::OK } else { StatusCode::CREATED }, done))
    };
    let alter = |edit: fn(Kind, String, Entry) -> Edit| {
        move |State(control): State<Shared>,
              Extension(caller): Who,
              Checked(Path(name)): Name,
              Checked(Query(dry)): DryRun,
              Body(mut entry): Body<Entry>| async move {
            agree(kind, &name, &mut entry)?;
            change(&control, caller, edit(kind, name, entry), dry).await
        }
    };
    let remove = move |State(control): State<Shared>,
                       Extension(caller): Who,
                       Checked(Path(name)): Name,
                       Checked(Query(dry)): DryRun| async move {
        change(&control, caller, Edit::Remove(kind, name), dry).await
    };
    let bring = move |State(control): State<Shared>,
                      Extension(caller): Who,
                      Checked(Query(dry)): DryRun,
                      Body(wanted): Body<Apply>| async move {
        let edit = wanted.edit(kind)?;
        change(&control, caller, edit, dry).await
    };
    vec![
        Endpoint::get(
            all,
            Role::Viewer,
            format!("All {all_word}: those of the files and those stored."),
            list,
            listed,
        )
        .query(
            "only_set",
            "Only keys that were set: no defaults, and nothing else that is said of them.",
            flag(),
        ),
        Endpoint::get(one, Role::Viewer, about("Show"), Answer::json(json!({ "type": "object" })), found),
        dry(Endpoint::change(
            Change::Post,
            all,
            about("Make and store"),
            applied().with_status(StatusCode::CREATED),
            create,
        ))
        .takes(whole),
        dry(Endpoint::change(
            Change::Put,
            one,
            about("Store, whatever was stored under its name:"),
            applied(),
            alter(Edit::Put),
        ))
        .takes(or_global(keys.clone(), false)),
        dry(Endpoint::change(
            Change::Patch,
            one,
            format!("Change some keys of {one_word}; null takes a key away."),
            applied(),
            alter(Edit::Patch),
        ))
        .takes(or_global(part(keys), false)),
        dry(Endpoint::change(Change::Delete, one, about("Remove from the store"), applied(), remove)),
        dry(Endpoint::change(
            Change::Post,
            apply,
            format!("Bring the stored {all_word} to what is given, all or none."),
            applied(),
            bring,
        ))
        .takes(many),
    ]
}

/// The schema of the keys of `[policy]`, with the name that stands for it or without.
fn global_schema(named: bool) -> Value {
    let mut schema = part(reference::json_schema("policy", None));
    if named && let Some(object) = schema.as_object_mut() {
        object.insert("required".to_owned(), json!([Kind::Policy.named_by()]));
        if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert(Kind::Policy.named_by().to_owned(), json!({ "const": GLOBAL }));
        }
    }
    schema
}

/// The schema of some of the keys; `null` takes one away.
fn part(mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("required");
        let properties = object.get_mut("properties").and_then(Value::as_object_mut);
        for property in properties.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            if let Some(Value::String(one)) = property.get("type").cloned() {
                property.insert("type".to_owned(), json!([one, "null"]));
                if let Some(Value::Array(words)) = property.get_mut("enum") {
                    words.push(Value::Null);
                }
            }
        }
    }
    schema
}

impl Apply {
    fn edit(self, kind: Kind) -> Result<Edit, Problem> {
        let mut entries = Vec::with_capacity(self.entries.len());
        let mut named: HashSet<String> = HashSet::new();
        for mut entry in self.entries {
            let name = take_name(kind, &mut entry)?;
            if !named.insert(kind.normalise(&name)) {
                return Err(Problem::refused(format!("{} is there twice", shown(&name))));
            }
            entries.push((name, entry));
        }
        Ok(Edit::Bring { kind, entries, prune: self.prune })
    }
}

async fn change(control: &Shared, caller: Caller, edit: Edit, dry: Dry) -> Result<Json<Value>, Problem> {
    let subject = match &edit {
        Edit::Create(kind, name, _) | Edit::Put(kind, name, _) | Edit::Patch(kind, name, _) => {
            Some((*kind, name.clone()))
        }
        Edit::Remove(..) | Edit::Bring { .. } => None,
    };
    let several = match &edit {
        Edit::Bring { kind, .. } => Some(*kind),
        _ => None,
    };
    let change = move |authority: &Authority, _: &Context| authority.change(&caller.name, edit, dry.dry_run);
    let applied = on_authority::<_, Refused>(control, change).await?;
    let mut answer = answer(&applied);
    let entry = subject.and_then(|(kind, name)| find(&applied.in_force, kind, &name).ok());
    if let (Some(object), Some(entry)) = (answer.as_object_mut(), entry) {
        object.insert("entry".to_owned(), entry);
    }
    if let (Some(object), Some(kind)) = (answer.as_object_mut(), several) {
        object.insert("entries".to_owned(), changed_of(kind, &applied));
    }
    Ok(Json(answer))
}

/// Those of a kind of which any key has another value, and that are not gone.
fn changed_of(kind: Kind, applied: &Applied) -> Value {
    let paths = applied.changed.iter().map(|change| change.path.as_str());
    let names: HashSet<&str> = paths.filter_map(|path| Some(key_of(kind, path)?.0)).collect();
    let is_one = |(name, _): &(String, Value)| names.contains(name.as_str());
    entries(&applied.in_force, kind, false).into_iter().filter(is_one).map(|(_, entry)| entry).collect()
}

/// The entry that has the key of this path, by its name, and the key.
fn key_of(kind: Kind, path: &str) -> Option<(&str, &str)> {
    match path.strip_prefix("policy.").filter(|key| kind == Kind::Policy && !key.contains('[')) {
        Some(key) => Some((GLOBAL, key)),
        None => path.strip_prefix(section(kind))?.rsplit_once("]."),
    }
}

/// How the paths of keys of entries begin.
fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Partner => "partner[",
        Kind::Policy => "policy.rule[",
        Kind::Block => "block[",
    }
}

/// The name of an entry, which is not among its keys any more.
fn take_name(kind: Kind, entry: &mut Entry) -> Result<String, Problem> {
    SAID.iter().for_each(|said| drop(entry.remove(*said)));
    let key = kind.named_by();
    match entry.remove(key) {
        Some(Value::String(name)) if !name.trim().is_empty() => Ok(name),
        Some(_) => Err(Problem::refused(format!("{key}: expected a name as text"))),
        None => Err(Problem::refused(format!("the key \"{key}\" is missing, which names the {kind}"))),
    }
}

/// The name in the path and the one in the body, if there is one, are the same.
fn agree(kind: Kind, name: &str, entry: &mut Entry) -> Result<(), Problem> {
    if !entry.contains_key(kind.named_by()) {
        SAID.iter().for_each(|said| drop(entry.remove(*said)));
        return Ok(());
    }
    let inside = take_name(kind, entry)?;
    match kind.normalise(&inside) == kind.normalise(name) {
        true => Ok(()),
        false => Err(Problem::refused(format!(
            "this is {}, and its {} cannot be changed to {}: make another one and remove this one",
            shown(name),
            kind.named_by(),
            shown(&inside)
        ))),
    }
}

fn find(in_force: &InForce, kind: Kind, name: &str) -> Result<Value, Problem> {
    let normal = kind.normalise(name);
    let found = entries(in_force, kind, false).into_iter().find(|(other, _)| *other == normal);
    found
        .map(|(_, entry)| entry)
        .ok_or_else(|| Problem::not_found(format!("there is no {kind} {}", shown(name))))
}

/// All entries of a kind, each by its name: those that hold, and then those that are set aside.
fn entries(in_force: &InForce, kind: Kind, only_set: bool) -> Vec<(String, Value)> {
    let set_aside: Vec<&SetAside> =
        in_force.loaded.set_aside.iter().filter(|aside| aside.kind == kind).collect();
    let mut list: Vec<(String, Map<String, Value>)> = Vec::new();
    // Where its stored keys are set aside, they are shown as such.
    if kind == Kind::Policy && !set_aside.iter().any(|aside| aside.name == GLOBAL) {
        list.extend(global(in_force, only_set));
    }
    let section = section(kind);
    let holding = list.len();
    for setting in in_force.loaded.effective.iter() {
        let Some((name, key)) = setting.path.strip_prefix(section).and_then(|rest| rest.rsplit_once("]."))
        else {
            continue;
        };
        let stands_in = |aside: &&SetAside| !aside.declared && aside.is(kind, name);
        if set_aside.iter().any(stands_in) || (only_set && setting.origin == Origin::Default) {
            continue;
        }
        if list.len() == holding || list.last().is_none_or(|(last, _)| last != name) {
            let origin = setting.origin.text();
            list.push((name.to_owned(), Map::from_iter([(ORIGIN.to_owned(), json!(origin))])));
        }
        if let Some((_, entry)) = list.last_mut() {
            entry.insert(key.to_owned(), setting.value.clone());
            if setting.origin == Origin::Default {
                is_default(entry, key);
            }
        }
    }
    if kind == Kind::Partner && !only_set {
        list.iter_mut().for_each(|(name, entry)| {
            inherited(in_force, name, entry);
            verdict(in_force, name, entry);
        });
    }
    let aside = |aside: &SetAside| {
        let mut entry = in_force.stored.get(kind, &aside.name).cloned().unwrap_or_default();
        entry.insert(kind.named_by().to_owned(), json!(aside.name));
        entry.insert(ORIGIN.to_owned(), json!(STORED));
        entry.insert(SET_ASIDE.to_owned(), json!(aside.why));
        (aside.name.clone(), entry)
    };
    list.extend(set_aside.into_iter().map(aside));
    list.into_iter().map(|(name, entry)| (name, Value::Object(entry))).collect()
}

/// The keys of `[policy]`. With `only_set` those that are stored and those of the files are two entries.
fn global(in_force: &InForce, only_set: bool) -> Vec<(String, Map<String, Value>)> {
    let stored = in_force.stored.get(Kind::Policy, GLOBAL);
    let mut keys = Map::new();
    for setting in in_force.loaded.effective.iter() {
        let is_set = matches!(setting.origin, Origin::Declared(_));
        if let Some(key) = setting.path.strip_prefix("policy.").filter(|key| !key.contains('['))
            && (is_set || !only_set)
        {
            keys.insert(key.to_owned(), setting.value.clone());
            if setting.origin == Origin::Default {
                is_default(&mut keys, key);
            }
        }
    }
    let entry = |mut keys: Map<String, Value>, origin| {
        keys.insert(Kind::Policy.named_by().to_owned(), json!(GLOBAL));
        keys.insert(ORIGIN.to_owned(), json!(origin));
        (GLOBAL.to_owned(), keys)
    };
    if !only_set {
        return vec![entry(keys, if stored.is_some() { STORED } else { "files" })];
    }
    let stored = stored.map(|stored| entry(stored.clone(), STORED));
    stored.into_iter().chain((!keys.is_empty()).then(|| entry(keys, "files"))).collect()
}

/// Notes that nobody has set this key.
fn is_default(entry: &mut Map<String, Value>, key: &str) {
    let defaults = entry.entry(DEFAULTS).or_insert_with(|| json!([]));
    if let Some(defaults) = defaults.as_array_mut() {
        defaults.push(json!(key));
    }
}

/// What holds for a partner because it holds for all, if he has nothing of his own.
fn inherited(in_force: &InForce, name: &str, entry: &mut Map<String, Value>) {
    let domain = Domain::new(name).ok();
    let Some(partner) = domain.and_then(|domain| in_force.loaded.config.partners.of(&domain)) else { return };
    for (key, value) in [
        ("negotiation_rules", json!(partner.rules.to_string())),
        ("connection_limit", json!(partner.connection_limit)),
        ("stanza_limit", json!(partner.stanza_limit)),
        ("stanza_depth", json!(partner.stanza_depth)),
        ("stanza_attributes", json!(partner.stanza_attributes)),
        ("stanzas_per_second", json!(partner.stanzas_per_second)),
        ("bytes_per_second", json!(partner.bytes_per_second)),
    ] {
        if !entry.contains_key(key) {
            entry.insert(key.to_owned(), value);
            is_default(entry, key);
        }
    }
}

/// What comes of his TLS, SASL and dialback.
fn verdict(in_force: &InForce, name: &str, entry: &mut Map<String, Value>) {
    let Some(partner) =
        Domain::new(name).ok().and_then(|domain| in_force.loaded.config.partners.of(&domain).cloned())
    else {
        return;
    };
    use nuncio_xmpp::Verdict;
    let (verdict, reason) = match partner.negotiation.verdict(partner.rules) {
        // Only what is trusted like our own users has to be surer than that; it loads if somebody took the risk.
        Verdict::Clean(methods) if methods.dialback_tcp && partner.partner_type == PartnerType::Federated => {
            ("warned", Some(SPOOFABLE.to_owned()))
        }
        Verdict::Clean(_) => ("clean", None),
        Verdict::Warned(_, reason) => ("warned", Some(reason.to_string())),
        Verdict::Refused(reason) => ("refused", Some(reason.to_string())),
    };
    let methods = partner.methods();
    entry.insert(
        "negotiation".to_owned(),
        json!({ "verdict": verdict, "reason": reason, "methods": methods.to_string(), "means": methods.in_words().to_string() }),
    );
}
