//! The configuration in force, and to read it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::applied::{answer, on_authority, schema};
use super::{Answer, Caller, Change, Endpoint, Problem, Role, Shared};
use crate::config::Severity;
use crate::context::Context;
use crate::policy::{self, Authority, Unread, keys};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let setting = json!({
        "type": "object",
        "required": ["path", "value", "origin"],
        "properties": { "path": { "type": "string" }, "value": {}, "origin": { "type": "string" } },
    });
    let settings = json!({
        "type": "object",
        "required": ["settings"],
        "properties": { "settings": { "type": "array", "items": setting } },
    });
    let texts = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
    let unread_schema = json!({
        "type": "object",
        "required": ["reload", "next_start", "unreadable"],
        "properties": {
            "reload": texts("Keys and entries that a reload would change."),
            "next_start": texts("Keys that wait for the next start, whether or not a reload has found them."),
            "unreadable": { "type": ["string", "null"], "description": "Why the files cannot be read." },
        },
    });
    vec![
        Endpoint::get(
            "/v1/config",
            Role::Viewer,
            "Every key that has a value, and where that comes from.",
            Answer::json(settings),
            show,
        ),
        Endpoint::get(
            "/v1/config/unread",
            Role::Viewer,
            "What the files say now that is not in force, by keys. Files that they name are not looked at: /v1/checks/config does.",
            Answer::json(unread_schema),
            unread,
        ),
        Endpoint::change(
            Change::Post,
            "/v1/reload",
            "Read the files again: all of it is put in force, or nothing.",
            Answer::json(schema()),
            reload,
        ),
    ]
}

async fn show(State(control): State<Shared>) -> Json<Value> {
    let in_force = control.authority.in_force();
    let settings: Vec<Value> = in_force
        .loaded
        .effective
        .iter()
        .map(|setting| {
            json!({ "path": setting.path, "value": setting.value, "origin": setting.origin.text() })
        })
        .collect();
    Json(json!({ "settings": settings }))
}

async fn unread(State(control): State<Shared>) -> Result<Json<Value>, Problem> {
    let authority = Arc::clone(&control.authority);
    let unread = spawn_blocking(move || authority.unread()).await.map_err(|_| Problem::failed())?;
    // Tokens and texts of administrators may be among the values: where it is different is enough.
    Ok(Json(match unread {
        Ok(Unread { reload, next_start }) => {
            json!({ "reload": keys(&reload), "next_start": keys(&next_start), "unreadable": null })
        }
        Err(report) => {
            let wrong = report.problems().iter().find(|problem| problem.severity == Severity::Error);
            let why = wrong.map(|problem| format!("{}: {}", problem.place, problem.text));
            json!({ "reload": [], "next_start": [], "unreadable": why.unwrap_or_else(|| report.to_string()) })
        }
    }))
}

async fn reload(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    if control.context.stop.is_cancelled() {
        return Err(Problem::conflict(
            "the gateway is stopping: nothing is read again; the next start reads it".to_owned(),
        ));
    }
    let read_again = move |authority: &Authority, _: &Context| {
        authority.reload(&caller.name).inspect_err(|refused| policy::tell(refused, &caller.name))
    };
    let applied = on_authority(&control, read_again).await;
    // Certificates are looked at whatever the files say.
    control.renew.notify_one();
    Ok(Json(answer(&applied?)))
}
