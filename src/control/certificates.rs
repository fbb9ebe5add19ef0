//! Our own certificates: which there are, signing requests, and what the CA sends put in use. Private keys come in, if they were
//! made elsewhere, and never go out.

use std::path::{Path as File, PathBuf};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use rustix::fs::{Access, access};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::audit::note;
use super::{Answer, Body, Caller, Change, Endpoint, Problem, Role, Shared};
use crate::certs::{self, Assigned, Imported, KeyKind, Keys, Live, Place, Subject, Wish};
use crate::config::{Config, Domain};

/// It takes one listener after the other.
const WAITING: Duration = Duration::from_secs(900);

/// What a signing request is to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    r#for: Vec<String>,
    key_type: Option<String>,
    keep_key: bool,
    organisation: Option<String>,
    unit: Option<String>,
    locality: Option<String>,
    state: Option<String>,
    country: Option<String>,
    names: Vec<String>,
    leave_out: Vec<String>,
    xmpp_names: bool,
    replace: bool,
}

/// What somebody brings. It may have a private key in it: nothing shows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Brought {
    certificates: String,
    key: Option<String>,
    #[serde(default)]
    r#for: Vec<String>,
    #[serde(default)]
    assign: bool,
    #[serde(default)]
    anyway: bool,
    #[serde(default)]
    replace_key: bool,
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Assign {
    r#for: Vec<String>,
    undo: bool,
    anyway: bool,
    wait: bool,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    let text = || json!({ "type": ["string", "null"] });
    let switch = |about: &str| json!({ "type": "boolean", "default": false, "description": about });
    let list = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let which = || {
        list(
            "Which: one of the names that it has to carry, its file, \"sip\", \"xmpp\", \"control\" or \"all\". Absent: the \
             only one.",
        )
    };
    let kinds = json!({ "enum": KeyKind::ALL.map(|(word, _)| word), "default": "rsa2048" });
    let asked = object(
        &[],
        json!({
            "for": which(),
            "key_type": kinds,
            "keep_key": switch("The key in use, and no new one: partners may have pinned it."),
            "organisation": text(), "unit": text(), "locality": text(), "state": text(),
            "country": { "type": ["string", "null"], "description": "Two letters." },
            "names": list("More names to ask for."),
            "leave_out": list("Customary names not to ask for."),
            "xmpp_names": switch("SRVName and XmppAddr of each XMPP domain as well."),
            "replace": switch("Also if one is waiting for its certificate."),
        }),
    );
    let brought = object(
        &["certificates"],
        json!({
            "certificates": { "type": "string", "description": "The certificate and those up to the root, in PEM, in any order." },
            "key": { "type": ["string", "null"], "writeOnly": true, "description": "In PEM, if it was not made here." },
            "for": which(),
            "assign": switch("Put it in use at once."),
            "anyway": switch("Although peers will refuse it."),
            "replace_key": switch("Although another key waits there for its certificate; that one is kept beside it."),
            "wait": switch("Wait until the listeners show it."),
        }),
    );
    let assign = object(
        &[],
        json!({
            "for": which(),
            "undo": switch("Put back what was in use before."),
            "anyway": switch("Although peers will refuse it."),
            "wait": switch("Wait until the listeners show it."),
        }),
    );
    let any = || json!({ "type": "object" });
    let all = |items: &str| json!({ "type": "object", "required": [items], "properties": { items: { "type": "array", "items": any() } } });
    let certificate = json!({
        "type": "object",
        "required": ["certificate", "uses", "items", "waiting"],
        "properties": {
            "certificate": { "type": "string", "description": "Its file." },
            "uses": { "type": "array", "items": any() },
            "items": { "type": "array", "items": any(), "description": "What is in it." },
            "unreadable": text(),
            "waiting": {
                "type": "object",
                "description": "A key without certificate, a certificate that is not in use, one to go back to.",
            },
        },
    });
    let request = json!({
        "type": "object",
        "required": ["request", "file", "keys", "kept", "names"],
        "properties": {
            "request": { "type": "string", "description": "In PEM." },
            "file": { "type": "string" },
            "keys": list("Files with the new key; none: the key in use."),
            "kept": list("Files with keys that waited for their certificates, and gave way."),
            "names": { "type": "array", "items": any() },
        },
    });
    vec![
        Endpoint::get(
            "/v1/certificates",
            Role::Viewer,
            "Our certificates, what they are for, and what waits beside them. Keys are not shown.",
            Answer::json(json!({ "type": "array", "items": certificate })),
            show,
        ),
        Endpoint::change(Change::Post,
            "/v1/certificates/request",
            "Make a key and a signing request for it, with the names that the configuration asks for.",
            Answer::json(request),
            ask,
        )
        .takes(asked),
        Endpoint::change(Change::Post,
            "/v1/certificates/import",
            "Check what the CA sent, and keep it ready beside the place where it will be used.",
            Answer::json(all("imported")),
            import,
        )
        .takes(brought)
        .within(WAITING),
        Endpoint::change(Change::Post,
            "/v1/certificates/assign",
            "Put in use what was imported, or back in use what was there before. Connections that are open stay.",
            Answer::json(all("assigned")),
            assign_these,
        )
        .takes(assign)
        .within(WAITING),
        Endpoint::change(Change::Post,
            "/v1/certificates/look",
            "Look at the files at once, of keys, roots and revocation lists as well: somebody has replaced some.",
            Answer::json(object(&["looking"], json!({ "looking": { "type": "boolean" } }))),
            look_now,
        ),
    ]
}

/// Does something that reads and writes files.
async fn on_files<T: Send + 'static>(
    control: &Shared,
    work: impl FnOnce(&Config) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let in_force = control.authority.in_force();
    spawn_blocking(move || work(&in_force.running)).await.map_err(|_| Problem::failed())?
}

/// The same for something that leaves files beside those of the configuration. Where the system keeps the gateway from that, as the
/// package does, it says so with 403, and whoever asks may do it himself if he has the right to.
async fn on_files_there<T: Send + 'static>(
    control: &Shared,
    work: impl FnOnce(&Config) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let guarded = move |config: &Config| {
        for place in certs::places(config) {
            for file in [&place.certificate, &place.key] {
                let folder = file.parent().unwrap_or_else(|| File::new("/"));
                if let Err(why) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
                    let text = format!(
                        "the gateway itself may not write to {}: {why}; “nuncio cert” does it on this machine for who may, \
                         which is root as a rule",
                        folder.display()
                    );
                    return Err(Problem::new(StatusCode::FORBIDDEN, text));
                }
            }
        }
        work(config)
    };
    on_files(control, guarded).await
}

fn refused(why: impl std::fmt::Display) -> Problem {
    Problem::refused(why.to_string())
}

fn domains(names: &[String]) -> Result<Vec<Domain>, Problem> {
    names.iter().map(|name| Domain::new(name).map_err(|why| refused(format!("{name}: {why}")))).collect()
}

async fn show(State(control): State<Shared>) -> Result<Json<Value>, Problem> {
    let shown = on_files(&control, |config| {
        let places = certs::places(config);
        let waiting = certs::waiting(&places);
        let one = |place: &Place| {
            let items = read(&place.certificate);
            let (items, unreadable) = match items {
                Ok(items) => (items, None),
                Err(why) => (Vec::new(), Some(why)),
            };
            let waits = waiting.iter().find(|waiting| waiting.place == *place);
            json!({
                "certificate": place.certificate,
                "uses": place.uses,
                "items": items,
                "unreadable": unreadable,
                "waiting": {
                    "key": waits.is_some_and(|waits| waits.key),
                    "certificate": waits.is_some_and(|waits| waits.certificate),
                    "undo": waits.is_some_and(|waits| waits.undo),
                },
            })
        };
        Ok(places.iter().map(one).collect::<Value>())
    });
    shown.await.map(Json)
}

fn read(file: &File) -> Result<Vec<certs::ShownItem>, String> {
    let content = std::fs::read(file).map_err(|error| error.to_string())?;
    certs::show(&content).map_err(|error| error.to_string())
}

async fn ask(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    let kind = match asked.key_type.as_deref() {
        None => KeyKind::default(),
        Some(word) => match KeyKind::ALL.iter().find(|(known, _)| *known == word) {
            Some((_, kind)) => *kind,
            None => return Err(refused(format!("{word:?} is no kind of key; there are: {}", kinds()))),
        },
    };
    let Asked { organisation, unit, locality, state, country, .. } = asked;
    let wish = Wish {
        which: asked.r#for,
        key: (!asked.keep_key).then_some(kind),
        subject: Subject { organisation, unit, locality, state, country },
        more: domains(&asked.names)?,
        leave_out: domains(&asked.leave_out)?,
        xmpp_names: asked.xmpp_names,
        replace: asked.replace,
    };
    let (made, names) =
        on_files_there(&control, move |config| certs::ask(config, &wish).map_err(refused)).await?;
    note(&control, &caller, "certificate.requested", &made.file.display().to_string(), None);
    Ok(Json(
        json!({ "request": made.pem, "file": made.file, "keys": made.keys, "kept": made.kept, "names": names }),
    ))
}

fn kinds() -> String {
    KeyKind::ALL.map(|(word, _)| word).join(", ")
}

async fn import(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(brought): Body<Brought>,
) -> Result<Json<Value>, Problem> {
    let wait = brought.wait;
    let done = on_files_there(&control, move |config| {
        let places = certs::places(config);
        let named = !brought.r#for.is_empty();
        let wanted = if named { brought.r#for } else { vec!["all".to_owned()] };
        let chosen = certs::select(&places, &wanted).map_err(refused)?;
        let texts = [(PathBuf::from("the certificates given"), brought.certificates.into_bytes())];
        let given = brought.key.map(|key| (PathBuf::from("the key given"), key.into_bytes()));
        let now = SystemTime::now();
        let imported =
            certs::import(config, &chosen, &texts, &Keys { given, named }, now).map_err(refused)?;
        if !brought.anyway && imported.iter().any(Imported::is_wrong) {
            return Err(not_taken(&imported));
        }
        let kept = certs::store(&imported, brought.replace_key).map_err(refused)?;
        let mut assigned = Vec::new();
        if brought.assign {
            for imported in &imported {
                let done = certs::assign(config, &imported.place, brought.anyway, now);
                assigned.push(done.map_err(refused)?);
            }
        }
        Ok((imported, kept, assigned))
    });
    let (imported, kept, assigned) = done.await?;
    for Imported { place, serial, not_after, in_use, .. } in &imported {
        let file = place.certificate.display().to_string();
        let used = in_use.as_ref().map(|used| format!("; in use there: serial {used}")).unwrap_or_default();
        let to = format!("serial {serial}, valid until {not_after}{used}");
        note(&control, &caller, "certificate.imported", &file, Some(to));
    }
    let live = in_use(&control, &caller, &assigned, wait).await;
    Ok(Json(json!({ "imported": imported, "kept": kept, "assigned": assigned, "live": live })))
}

/// Peers would refuse it.
fn not_taken(imported: &[Imported]) -> Problem {
    use crate::checks::Level;
    let found = imported.iter().flat_map(|imported| &imported.findings);
    let wrong = found.filter(|finding| finding.level == Level::Wrong);
    let errors = wrong.map(|finding| super::problem::Fault {
        place: finding.subject.clone(),
        text: [Some(finding.text.as_str()), finding.fix.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("; "),
    });
    let detail = "it is not taken: peers would refuse it. Mend it as said below, or take it all the same with --anyway (\"anyway\": \
         true)";
    Problem { errors: errors.collect(), ..Problem::refused(detail) }
}

async fn assign_these(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<Assign>,
) -> Result<Json<Value>, Problem> {
    let wait = wanted.wait;
    let assigned = on_files_there(&control, move |config| {
        let places = certs::places(config);
        let chosen = certs::ready(&places, &wanted.r#for, wanted.undo).map_err(refused)?;
        let one = |place: &&Place| match wanted.undo {
            true => certs::undo(place),
            false => certs::assign(config, place, wanted.anyway, SystemTime::now()),
        };
        chosen.iter().map(one).collect::<Result<Vec<Assigned>, _>>().map_err(refused)
    });
    let assigned = assigned.await?;
    let live = in_use(&control, &caller, &assigned, wait).await;
    Ok(Json(json!({ "assigned": assigned, "live": live })))
}

/// Whoever has replaced files need not wait for the next look at them.
async fn look_now(State(control): State<Shared>) -> Json<Value> {
    control.renew.notify_one();
    Json(json!({ "looking": true }))
}

/// The gateway takes them up at once; what its listeners show then, if that is to be waited for.
async fn in_use(control: &Shared, caller: &Caller, assigned: &[Assigned], wait: bool) -> Vec<Live> {
    for Assigned { place, serial, not_after, replaced, .. } in assigned {
        let (file, from) = (place.certificate.display().to_string(), replaced.as_ref());
        let from = from.map(|replaced| format!("serial {replaced}"));
        let to = format!("serial {serial}, valid until {not_after}");
        control.authority.audit(&caller.name, "certificate.assigned", &file, from, Some(to));
    }
    if assigned.is_empty() {
        return Vec::new();
    }
    control.renew.notify_one();
    match wait {
        true => certs::live(&control.authority.in_force().running, assigned).await,
        false => Vec::new(),
    }
}
