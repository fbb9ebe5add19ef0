//! A partner is tried by the gateway itself.

use axum::Json;
use axum::extract::{Extension, Path, State};
use nuncio_xmpp::stream::Direction;
use serde_json::{Value, json};
use tracing::info;

use super::checks::{PATIENCE, findings_schema, one_at_a_time};
use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Shared};
use crate::checks::connectivity::{Whom, from_gateway};
use crate::checks::{Checked as Looked, Report, What};
use crate::config::Domain;
use crate::gateway::attempts::{Attempt, Outcome};

pub(super) fn endpoints() -> Vec<Endpoint> {
    let attempt = json!({
        "type": "object",
        "required": ["direction", "began", "established", "text"],
        "properties": {
            "direction": { "type": "string", "enum": ["inbound", "outbound"] },
            "began": { "type": "integer", "description": "Seconds of Unix time." },
            "established": { "type": "boolean", "description": "Whether a stream came of it." },
            "text": { "type": "string", "description": "All of it in a line, step by step." },
        },
    });
    let tried = json!({
        "type": "object",
        "required": ["partner", "level", "errors", "warnings", "findings", "attempts"],
        "properties": {
            "partner": { "type": "string", "description": "His primary domain." },
            "level": { "type": "string", "enum": ["good", "note", "warning", "wrong"] },
            "errors": { "type": "integer" },
            "warnings": { "type": "integer" },
            "findings": findings_schema(),
            "attempts": {
                "type": "array",
                "description": "The latest ones before it, of either side, the latest first.",
                "items": attempt,
            },
        },
    });
    let about = "Try a partner as his entry says: DNS, connection, TLS, and whether he lets us in, by his certificate or by \
        dialback. No stanza is sent.";
    vec![
        Endpoint::change(Change::Post, "/v1/partners/{domain}/test", about, Answer::json(tried), test)
            .within(PATIENCE),
    ]
}

async fn test(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<String>>,
) -> Result<Json<Value>, Problem> {
    let in_force = control.authority.in_force();
    let config = &in_force.running;
    let partner = Domain::new(&name).ok().and_then(|domain| config.partners.of(&domain));
    let partner = partner.ok_or_else(|| Problem::not_found(format!("there is no partner {name}")))?;
    if !partner.enabled {
        return Err(Problem::conflict(format!(
            "{name} is disabled, and nothing is to be tried: nuncio partner enable {name}"
        )));
    }
    let _turn = one_at_a_time()?;
    info!(partner = %partner.domain.as_str(), by = %caller.name, "a partner is being tried");
    let primary = nuncio_xmpp::Domain::parse(partner.domain.as_str());
    let primary = primary.as_ref().map_or(partner.domain.as_str(), nuncio_xmpp::Domain::as_str);
    // Before the trial, which is none of them: its own streams carry nothing.
    let attempts = control.context.gateway.attempts_with(primary);
    let whom = Whom { names: vec![name] };
    let findings = from_gateway(&control.context, config, &whom).await;
    let findings = findings.map_err(|error| Problem::not_found(error.to_string()))?;
    let Report { level, errors, warnings, checks } =
        Report::new(vec![Looked { check: What::Connectivity, findings }]);
    let findings: Vec<_> = checks.into_iter().flat_map(|looked| looked.findings).collect();
    Ok(Json(json!({
        "partner": primary,
        "level": level,
        "errors": errors,
        "warnings": warnings,
        "findings": findings,
        "attempts": attempts.iter().map(|attempt| shown(attempt)).collect::<Vec<_>>(),
    })))
}

fn shown(attempt: &Attempt) -> Value {
    json!({
        "direction": match attempt.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        },
        "began": attempt.began_ms / 1000,
        "established": matches!(attempt.outcome, Outcome::Established { .. }),
        "text": attempt.to_string(),
    })
}
