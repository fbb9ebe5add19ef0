//! The configuration in force, and to read it again.

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Value, json};

use super::applied::{answer, on_authority, schema};
use super::{Answer, Caller, Change, Endpoint, Problem, Role, Shared};
use crate::context::Context;
use crate::policy::{self, Authority};

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
    vec![
        Endpoint::get(
            "/v1/config",
            Role::Viewer,
            "Every key that has a value, and where that comes from.",
            Answer::json(settings),
            show,
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
