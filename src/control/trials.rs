//! A partner is tried by the gateway itself.

use axum::Json;
use axum::extract::{Extension, Path, State};
use nuncio_xmpp::stream::Direction;
use serde_json::{Value, json};
use tracing::info;

use super::checks::{PATIENCE, findings_schema, one_at_a_time};
use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Shared};
use crate::checks::connectivity::{PingOutcome, Tried, Whom, from_gateway};
use crate::checks::{Checked as Looked, Report, What};
use crate::config::{Domain, Kind};
use crate::gateway::attempts::{Attempt, Outcome};
use crate::policy;

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
    let ping = json!({
        "type": "object",
        "required": ["partner", "from", "outcome", "milliseconds"],
        "properties": {
            "partner": { "type": "string", "description": "The domain of his that was asked." },
            "from": { "type": "string", "description": "The domain of ours that asked." },
            "outcome": {
                "type": "string",
                "enum": PingOutcome::WORDS,
                "description": "`refused`: by an error, which is an answer as well. `on-our-stream`: where nothing of his is taken.",
            },
            "milliseconds": { "type": "integer", "description": "Until the answer, or until it was given up." },
        },
    });
    let tried = json!({
        "type": "object",
        "required": ["partner", "level", "errors", "warnings", "findings", "pings", "attempts"],
        "properties": {
            "partner": { "type": "string", "description": "His primary domain." },
            "level": { "type": "string", "enum": ["good", "note", "warning", "wrong"] },
            "errors": { "type": "integer" },
            "warnings": { "type": "integer" },
            "findings": findings_schema(),
            "pings": {
                "type": "array",
                "description": "What came of the ping on each stream that came about.",
                "items": ping,
            },
            "attempts": {
                "type": "array",
                "description": "The latest ones, of either side, the latest first; none of them is a stream of this trial.",
                "items": attempt,
            },
        },
    });
    let about = "Try a partner as his entry says: DNS, connection, TLS, and whether he lets us in, by his certificate or by \
        dialback; then whether he answers a ping. No other stanza is sent.";
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
    let set_aside = in_force.loaded.set_aside.iter().filter(|aside| !aside.declared);
    let domain = partner.domain.as_str();
    if let Some(aside) = set_aside.clone().find(|aside| aside.is(Kind::Partner, domain)) {
        return Err(Problem::conflict(format!("nothing is to be tried: {}", policy::set_aside(aside))));
    }
    if !partner.enabled {
        return Err(Problem::conflict(format!(
            "{name} is disabled, and nothing is to be tried: nuncio partner enable {name}, or enabled = true in the file that declares him"
        )));
    }
    let _turn = one_at_a_time()?;
    info!(partner = %partner.domain.as_str(), by = %caller.name, "a partner is being tried");
    let primary = nuncio_xmpp::Domain::parse(partner.domain.as_str());
    let primary = primary.as_ref().map_or(partner.domain.as_str(), nuncio_xmpp::Domain::as_str);
    let whom = Whom { names: vec![name] };
    let tried = from_gateway(&control.context, config, &whom).await;
    let Tried { findings, pings } = tried.map_err(|error| Problem::not_found(error.to_string()))?;
    // After the trial, whose own streams are none of them: the stream that he may have opened for his answer is one.
    let attempts = control.context.gateway.attempts_with(primary);
    let Report { level, errors, warnings, checks } =
        Report::new(vec![Looked { check: What::Connectivity, findings }]);
    let findings: Vec<_> = checks.into_iter().flat_map(|looked| looked.findings).collect();
    Ok(Json(json!({
        "partner": primary,
        "level": level,
        "errors": errors,
        "warnings": warnings,
        "findings": findings,
        "pings": pings,
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
