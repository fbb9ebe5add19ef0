//! Streams with partners: which there are, and to end one.

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Role, Shared};
use crate::gateway::StreamShown;

#[derive(Debug, Clone, Default, Deserialize)]
struct With {
    domain: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let text = || json!({ "type": "string" });
    let stream = json!({
        "type": "object",
        "required": ["id", "direction", "local", "remote", "peer", "method", "since"],
        "properties": {
            "id": { "type": "integer" },
            "direction": { "enum": ["inbound", "outbound"] },
            "local": text(),
            "remote": text(),
            "further": { "type": "array", "items": { "type": "array", "items": text() } },
            "peer": text(),
            "method": text(),
            "tls": { "type": ["string", "null"] },
            "cipher": { "type": ["string", "null"] },
            "both_ways": { "type": "boolean" },
            "since": { "type": "integer", "description": "Seconds of Unix time." },
        },
    });
    let closed = json!({
        "type": "object",
        "required": ["closed"],
        "properties": { "closed": { "type": "integer", "description": "How many." } },
    });
    let domain = "Only those with this domain, ours or a partner's.";
    vec![
        Endpoint::get(
            "/v1/streams",
            Role::Viewer,
            "Established streams with partners.",
            Answer::json(json!({ "type": "array", "items": stream })),
            list,
        )
        .query("domain", domain, text()),
        Endpoint::change(
            Change::Delete,
            "/v1/streams/{id}",
            "End a stream in good order. If it is needed, there is a new one soon.",
            Answer::json(closed),
            close,
        )
        .numbered(),
    ]
}

async fn list(
    State(control): State<Shared>,
    Checked(Query(with)): Checked<Query<With>>,
) -> Json<Vec<StreamShown>> {
    let mut streams = control.context.gateway.streams_shown();
    if let Some(domain) = with.domain {
        let domain = domain.to_lowercase();
        let has = |stream: &StreamShown| {
            let mut further = stream.further.iter().flatten();
            stream.local == domain || stream.remote == domain || further.any(|name| *name == domain)
        };
        streams.retain(has);
    }
    Json(streams)
}

async fn close(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Path(id)): Checked<Path<u64>>,
) -> Result<Json<Value>, Problem> {
    let gateway = &control.context.gateway;
    let shown = gateway.streams_shown().into_iter().find(|stream| stream.id == id);
    let closed = gateway.close_streams(|stream| stream.id == id);
    if closed == 0 {
        return Err(Problem::not_found(format!("there is no stream {id}")));
    }
    info!(stream = id, by = %caller.name, "a stream is being closed");
    let subject = shown.map_or_else(
        || format!("stream {id}"),
        |stream| format!("stream {id}, {}, {} and {}", stream.direction, stream.local, stream.remote),
    );
    control.authority.audit(&caller.name, "stream.closed", &subject, None, None);
    Ok(Json(json!({ "closed": closed })))
}
