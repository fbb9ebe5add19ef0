//! What the gateway holds and has counted.

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::{Answer, Endpoint, Problem, Role, Shared};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let summary = "What the gateway holds now, and what it has counted since it started.";
    let schema = json!({
        "type": "object",
        "required": ["version", "holds", "counters"],
        "properties": {
            "version": { "type": "string" },
            "holds": { "type": "object", "additionalProperties": { "type": "integer" } },
            "counters": { "type": "object", "additionalProperties": { "type": "integer" } },
        },
    });
    vec![Endpoint::get("/v1/status", Role::Viewer, summary, Answer::json(schema), show)]
}

async fn show(State(control): State<Shared>) -> Result<Json<Value>, Problem> {
    let holds = control.walk(|context| context.gateway.holdings()).await?;
    let gateway = &control.context.gateway;
    let counters: Map<String, Value> =
        gateway.counters().list().into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "holds": {
            "pairs": holds.pairs,
            "messages_waiting": holds.waiting,
            "owed": holds.owed,
            "subscriptions": holds.subscriptions,
            "dialogs": holds.dialogs,
            "batches": holds.batches,
            "sip_connections": holds.connections,
            "inbound_streams": holds.streams.inbound,
            "outbound_streams": holds.streams.outbound,
        },
        "counters": counters,
    })))
}
