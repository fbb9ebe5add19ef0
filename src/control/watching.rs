//! For those who watch over the gateway: metrics, and whether it is alive and ready.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::problem::Fault;
use super::{Answer, Caller, Endpoint, Problem, Role, Shared};
use crate::health::{self, Check, State as Found};
use crate::metrics::{self, Format, Sources};
use crate::net::now;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let check = json!({
        "type": "object",
        "required": ["check", "state"],
        "properties": {
            "check": { "type": "string" },
            "state": { "type": "string", "enum": ["good", "degraded", "failed"] },
            "reason": { "type": "string" },
        },
    });
    let health = |name: &str| {
        let properties =
            json!({ name: { "type": "boolean" }, "checks": { "type": "array", "items": check } });
        Answer::json(json!({ "type": "object", "required": [name], "properties": properties }))
    };
    let about_metrics = "Metrics in Prometheus' text format, or in OpenMetrics for whoever accepts that.";
    let about_live =
        "Whether the gateway is alive: 503 means that only a restart helps. Viewers get reasons.";
    let about_ready = "Whether what comes now is served as promised; 503 if not. Viewers get reasons.";
    vec![
        Endpoint::get("/metrics", Role::Viewer, about_metrics, Answer::text("text/plain"), show),
        Endpoint::get("/health/live", Role::Anyone, about_live, health("live"), live),
        Endpoint::get("/health/ready", Role::Anyone, about_ready, health("ready"), ready),
    ]
}

async fn show(State(control): State<Shared>, headers: HeaderMap) -> Result<Response, Problem> {
    // It may come in several fields.
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::for_accept(Some(&accepted.collect::<Vec<_>>().join(",")));
    let administration = control.authority.control_identities().cloned();
    let written = control.walk(move |context| {
        let now = now();
        let mut certificates = metrics::certificates("sip", &context.sip.identities);
        certificates.extend(metrics::certificates("xmpp", &context.xmpp.identities));
        if let Some(identities) = &administration {
            certificates.extend(metrics::certificates("control", identities));
        }
        let ready = health::ready(&context.gateway, now);
        let sources = Sources { gateway: &context.gateway, certificates: &certificates, ready: &ready };
        metrics::render(&sources, format, now)
    });
    Ok(([(header::CONTENT_TYPE, format.content_type())], written.await?).into_response())
}

async fn live(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let found = health::live(control.context.gateway.pulse(), now().instant);
    answer(("live", found.live), &found.checks, &caller)
}

async fn ready(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let found = health::ready(&control.context.gateway, now());
    answer(("ready", found.ready), &found.checks, &caller)
}

/// Reasons name front ends and files: they are not for everybody.
fn answer((name, well): (&str, bool), checks: &[Check], caller: &Caller) -> Result<Json<Value>, Problem> {
    let sees = caller.role >= Role::Viewer;
    if well {
        return Ok(Json(if sees { json!({ name: true, "checks": checks }) } else { json!({ name: true }) }));
    }
    let failed = checks.iter().filter(|check| sees && check.state == Found::Failed);
    let errors = failed
        .map(|check| Fault { place: check.check.to_owned(), text: check.reason.clone().unwrap_or_default() });
    let detail =
        format!("the gateway is not {name}; who may see everything gets the reasons, and the log has them");
    Err(Problem { errors: errors.collect(), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) })
}
