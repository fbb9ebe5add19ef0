//! Partners, policies and blocks: those of the files beside the stored ones, which can be changed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::applied::{answer, on_authority, schema as applied_schema};
use super::{Answer, Body, Caller, Checked, Endpoint, Problem, Role, Shared};
use crate::config::{Domain, Entry, GLOBAL, Kind, Origin, reference};
use crate::policy::{Edit, InForce};

/// What is said of an entry beside its keys.
const ORIGIN: &str = "origin";

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Dry {
    #[serde(default)]
    dry_run: bool,
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
    /// Whether those that are stored and not among them go.
    #[serde(default)]
    prune: bool,
}

macro_rules! endpoints_of {
    ($list:ident, $kind:expr, $all:literal, $one:literal, $apply:literal, $section:literal) => {{
        let (kind, word): (Kind, &str) = ($kind, $kind.as_str());
        let _ = word;
        let keys = || reference::json_schema($section, Some(kind.named_by()));
        let whole = || reference::json_schema($section, None);
        // A part of the keys is enough; `null` takes one away.
        let part = || {
            let mut schema = keys();
            if let Some(object) = schema.as_object_mut() {
                object.remove("required");
                for property in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
                    if let Some(property) = property.1.as_object_mut()
                        && let Some(Value::String(one)) = property.get("type").cloned()
                    {
                        property.insert("type".to_owned(), json!([one, "null"]));
                        if let Some(Value::Array(words)) = property.get_mut("enum") {
                            words.push(Value::Null);
                        }
                    }
                }
            }
            schema
        };
        let list = Answer::json(json!({ "type": "array", "items": { "type": "object" } }));
        let shown = || Answer::json(json!({ "type": "object" }));
        let applied = || Answer::json(applied_schema());
        let dry = || json!({ "type": "boolean", "default": false });
        const DRY: &str = "Only say what it would amount to.";
        $list.push(Endpoint::get($all, Role::Viewer, concat!("All of them: those of the files and those stored. ", $section, "."), list,
            |State(control): State<Shared>| async move { Json(all(&control.authority.in_force(), $kind)) }));
        $list.push(Endpoint::get($one, Role::Viewer, concat!("One of them. ", $section, "."), shown(),
            |State(control): State<Shared>, Checked(Path(name)): Name| async move {
                one(&control.authority.in_force(), $kind, &name).map(Json)
            }));
        $list.push(Endpoint::post($all, concat!("Make one that is not there. ", $section, "."), applied().with_status(StatusCode::CREATED),
            |State(control): State<Shared>, Extension(caller): Who, Checked(Query(dry)): DryRun, Body(entry): Body<Entry>| async move {
                create(&control, &caller, $kind, entry, dry).await
            }).takes(whole()).query("dry_run", DRY, dry()));
        $list.push(Endpoint::put($one, concat!("Let it be this, whatever it was. ", $section, "."), applied(),
            |State(control): State<Shared>, Extension(caller): Who, Checked(Path(name)): Name, Checked(Query(dry)): DryRun, Body(entry): Body<Entry>| async move {
                put(&control, &caller, $kind, name, entry, dry).await
            }).takes(keys()).query("dry_run", DRY, dry()));
        $list.push(Endpoint::patch($one, concat!("Change some of its keys; null takes one away. ", $section, "."), applied(),
            |State(control): State<Shared>, Extension(caller): Who, Checked(Path(name)): Name, Checked(Query(dry)): DryRun, Body(entry): Body<Entry>| async move {
                patch(&control, &caller, $kind, name, entry, dry).await
            }).takes(part()).query("dry_run", DRY, dry()));
        $list.push(Endpoint::delete($one, concat!("Remove it. ", $section, "."), applied(),
            |State(control): State<Shared>, Extension(caller): Who, Checked(Path(name)): Name, Checked(Query(dry)): DryRun| async move {
                change(&control, &caller, vec![Edit::Remove($kind, name)], dry).await.map(Json)
            }).query("dry_run", DRY, dry()));
        $list.push(Endpoint::post($apply, concat!("Bring many to what is given here, all or none. ", $section, "."), applied(),
            |State(control): State<Shared>, Extension(caller): Who, Checked(Query(dry)): DryRun, Body(wanted): Body<Apply>| async move {
                apply(&control, &caller, $kind, wanted, dry).await
            }).takes(json!({
                "type": "object",
                "required": ["entries"],
                "additionalProperties": false,
                "properties": {
                    "entries": { "type": "array", "items": whole() },
                    "prune": { "type": "boolean", "description": "Whether those that are stored and not among them go." },
                },
            })).query("dry_run", DRY, dry()));
    }};
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut list = Vec::new();
    endpoints_of!(
        list,
        Kind::Partner,
        "/v1/partners",
        "/v1/partners/{domain}",
        "/v1/apply/partners",
        "partner"
    );
    endpoints_of!(
        list,
        Kind::Policy,
        "/v1/policies",
        "/v1/policies/{name}",
        "/v1/apply/policies",
        "policy.rule"
    );
    endpoints_of!(list, Kind::Block, "/v1/blocks", "/v1/blocks/{address}", "/v1/apply/blocks", "block");
    list
}

async fn create(
    control: &Shared,
    caller: &Caller,
    kind: Kind,
    mut entry: Entry,
    dry: Dry,
) -> Result<Response, Problem> {
    let name = take_name(kind, &mut entry)?;
    if one(&control.authority.in_force(), kind, &name).is_ok() {
        return Err(Problem::conflict(format!("there is a {kind} {name} already; change that one")));
    }
    let done = change(control, caller, vec![Edit::Put(kind, name, entry)], dry).await?;
    let status = if dry.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(done)).into_response())
}

async fn put(
    control: &Shared,
    caller: &Caller,
    kind: Kind,
    name: String,
    mut entry: Entry,
    dry: Dry,
) -> Result<Json<Value>, Problem> {
    agree(kind, &name, &mut entry)?;
    change(control, caller, vec![Edit::Put(kind, name, entry)], dry).await.map(Json)
}

async fn patch(
    control: &Shared,
    caller: &Caller,
    kind: Kind,
    name: String,
    mut entry: Entry,
    dry: Dry,
) -> Result<Json<Value>, Problem> {
    agree(kind, &name, &mut entry)?;
    let mut whole = match control.authority.stored(kind, &name) {
        Ok(whole) => whole,
        // There is always a [policy].
        Err(_) if (kind, name.as_str()) == (Kind::Policy, GLOBAL) => Entry::new(),
        Err(refused) => return Err(refused.into()),
    };
    whole.extend(entry);
    change(control, caller, vec![Edit::Put(kind, name, whole)], dry).await.map(Json)
}

async fn apply(
    control: &Shared,
    caller: &Caller,
    kind: Kind,
    wanted: Apply,
    dry: Dry,
) -> Result<Json<Value>, Problem> {
    let in_force = control.authority.in_force();
    let mut edits = Vec::with_capacity(wanted.entries.len());
    let mut named: BTreeMap<String, ()> = BTreeMap::new();
    for mut entry in wanted.entries {
        let name = take_name(kind, &mut entry)?;
        let normal = kind.normalise(&name);
        if named.insert(normal.clone(), ()).is_some() {
            return Err(Problem::refused(format!("{name} is there twice")));
        }
        if in_force.stored.get(kind, &normal) != Some(&entry) {
            edits.push(Edit::Put(kind, name, entry));
        }
    }
    if wanted.prune {
        let stored =
            in_force.stored.iter().filter(|(other, name, _)| *other == kind && !named.contains_key(*name));
        edits.extend(stored.map(|(_, name, _)| Edit::Remove(kind, name.to_owned())));
    }
    change(control, caller, edits, dry).await.map(Json)
}

async fn change(control: &Shared, caller: &Caller, edits: Vec<Edit>, dry: Dry) -> Result<Value, Problem> {
    let who = caller.name.clone();
    let subject = match edits.as_slice() {
        [Edit::Put(kind, name, _)] => Some((*kind, name.clone())),
        _ => None,
    };
    let applied = on_authority(control, move |authority| authority.change(&who, &edits, dry.dry_run)).await?;
    let mut answer = answer(&applied);
    let entry = subject.and_then(|(kind, name)| one(&applied.in_force, kind, &name).ok());
    if let (Some(object), Some(entry)) = (answer.as_object_mut(), entry) {
        object.insert("entry".to_owned(), entry);
    }
    Ok(answer)
}

/// The name of an entry, which is not among its keys any more.
fn take_name(kind: Kind, entry: &mut Entry) -> Result<String, Problem> {
    entry.remove(ORIGIN);
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
        entry.remove(ORIGIN);
        return Ok(());
    }
    let inside = take_name(kind, entry)?;
    match kind.normalise(&inside) == kind.normalise(name) {
        true => Ok(()),
        false => Err(Problem::refused(format!(
            "this is {name}, and its {} cannot be changed to {inside}: make another one and remove this one",
            kind.named_by()
        ))),
    }
}

/// All entries of a kind, with every key that has a value.
pub(super) fn all(in_force: &InForce, kind: Kind) -> Value {
    entries(in_force, kind).into_iter().map(|(_, entry)| entry).collect()
}

fn one(in_force: &InForce, kind: Kind, name: &str) -> Result<Value, Problem> {
    let normal = kind.normalise(name);
    let found = entries(in_force, kind).into_iter().find(|(other, _)| *other == normal);
    found.map(|(_, entry)| entry).ok_or_else(|| Problem::not_found(format!("there is no {kind} {name}")))
}

fn entries(in_force: &InForce, kind: Kind) -> Vec<(String, Value)> {
    let section = match kind {
        Kind::Partner => "partner[",
        Kind::Policy => "policy.rule[",
        Kind::Block => "block[",
    };
    let mut list: Vec<(String, Map<String, Value>)> = Vec::new();
    if kind == Kind::Policy {
        let mut global = Map::new();
        global.insert("name".to_owned(), json!(GLOBAL));
        for setting in in_force.loaded.effective.iter() {
            if let Some(key) = setting.path.strip_prefix("policy.").filter(|key| !key.contains('[')) {
                global.insert(key.to_owned(), setting.value.clone());
            }
        }
        global.insert(
            ORIGIN.to_owned(),
            json!(if in_force.stored.get(kind, GLOBAL).is_some() { "stored" } else { "files" }),
        );
        list.push((GLOBAL.to_owned(), global));
    }
    for setting in in_force.loaded.effective.iter() {
        let Some((name, key)) = setting.path.strip_prefix(section).and_then(|rest| rest.rsplit_once("]."))
        else {
            continue;
        };
        if list.last().is_none_or(|(last, _)| last != name) {
            let origin = match &setting.origin {
                Origin::Stored => "stored",
                Origin::Declared(place) => place,
                Origin::Default => "default",
            };
            let mut entry = Map::new();
            entry.insert(ORIGIN.to_owned(), json!(origin));
            list.push((name.to_owned(), entry));
        }
        if let Some((_, entry)) = list.last_mut() {
            entry.insert(key.to_owned(), setting.value.clone());
        }
    }
    list.into_iter()
        .map(|(name, mut entry)| {
            if kind == Kind::Partner {
                verdict(in_force, &name, &mut entry);
            }
            (name, Value::Object(entry))
        })
        .collect()
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
