//! The audit trail: who changed what.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::extract::at_most;
use super::{Answer, Caller, Checked, Control, Endpoint, Problem, Role, Shared};
use crate::store::{AUDIT_MOST, AuditQuery, AuditRow, audit};

/// So many entries, unless more are asked for.
const USUAL: usize = 100;

#[derive(Debug, Clone, Default, Deserialize)]
struct Wanted {
    with: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<u64>,
    before: Option<i64>,
    most: Option<usize>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let text = || json!({ "type": ["string", "null"] });
    let entry = json!({
        "type": "object",
        "required": ["id", "at", "actor", "what", "subject"],
        "properties": {
            "id": { "type": "integer", "description": "Grows with each entry." },
            "at": { "type": "integer", "description": "Seconds of Unix time." },
            "actor": { "type": "string" },
            "what": { "type": "string" },
            "subject": { "type": "string" },
            "from": text(),
            "to": text(),
        },
    });
    let about = "Who changed what, the latest first.";
    vec![
        Endpoint::get(
            "/v1/audit",
            Role::Viewer,
            about,
            Answer::json(json!({ "type": "array", "items": entry })),
            list,
        )
        .query("with", "Only entries whose subject or actor has this in it.", json!({ "type": "string" }))
        .query("actor", "Only entries whose actor has this in it.", json!({ "type": "string" }))
        .query("subject", "Only entries whose subject has this in it.", json!({ "type": "string" }))
        .query(
            "since",
            "Only entries of this second of Unix time, or later.",
            json!({ "type": "integer", "minimum": 0 }),
        )
        .query(
            "before",
            "Only entries before the one with this id: the next page.",
            json!({ "type": "integer" }),
        )
        .query(
            "most",
            "At most so many.",
            json!({ "type": "integer", "minimum": 1, "maximum": AUDIT_MOST, "default": USUAL }),
        ),
    ]
}

/// Adds to the trail what somebody did beside the entries.
pub(super) fn note(
    control: &Control,
    caller: &Caller,
    what: &'static str,
    subject: &str,
    to: Option<String>,
) {
    control.authority.audit(&caller.name, what, subject, None, to);
}

async fn list(
    State(control): State<Shared>,
    Checked(Query(wanted)): Checked<Query<Wanted>>,
) -> Result<Json<Vec<AuditRow>>, Problem> {
    let limit = at_most(wanted.most, USUAL, AUDIT_MOST)?;
    let state_dir = control.authority.in_force().running.node.state_dir.clone();
    let read = spawn_blocking(move || {
        let query = AuditQuery {
            since: wanted.since,
            before: wanted.before,
            with: wanted.with.as_deref(),
            subject: wanted.subject.as_deref(),
            actor: wanted.actor.as_deref(),
            limit,
        };
        audit(&state_dir, &query)
    });
    match read.await {
        Ok(Ok(entries)) => Ok(Json(entries)),
        Ok(Err(error)) => Err(Problem::internal(error.to_string())),
        Err(_) => Err(Problem::internal("an internal error, which the log of the gateway shows")),
    }
}
