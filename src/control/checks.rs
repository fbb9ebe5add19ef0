//! The checks, made by the gateway itself; and the records that have to be in DNS.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use super::{Answer, Checked, Endpoint, Problem, Role, Shared};
use crate::checks::connectivity::Whom;
use crate::checks::dns::wanted;
use crate::checks::{Checked as Looked, Finding, Level, Report, What, look, problems, set_aside};
use crate::policy::Refused;

/// Whoever does not answer is waited for, and there may be many of them.
pub(super) const PATIENCE: Duration = Duration::from_secs(1800);

/// Checks that are under way.
static UNDER_WAY: Semaphore = Semaphore::const_new(2);

#[derive(Debug, Clone, Default, Deserialize)]
struct Meant {
    whom: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let report = || {
        let word = json!({ "type": "string", "enum": What::ALL.map(What::as_str) });
        let check = json!({
            "type": "object",
            "required": ["check", "findings"],
            "properties": { "check": word, "findings": findings_schema() },
        });
        Answer::json(json!({
            "type": "object",
            "required": ["level", "errors", "warnings", "checks"],
            "properties": {
                "level": { "type": "string", "enum": ["good", "note", "warning", "wrong"] },
                "errors": { "type": "integer", "description": "How many things do not work." },
                "warnings": { "type": "integer" },
                "checks": { "type": "array", "items": check },
            },
        }))
    };
    let records = json!({
        "type": "object",
        "required": ["zones", "hosts", "text"],
        "properties": {
            "zones": { "type": "array", "items": { "type": "object" } },
            "hosts": { "type": "array", "items": { "type": "object" } },
            "text": { "type": "string", "description": "The same as lines of a zone file." },
        },
    });
    let config = "What a reload would find: the files and the stored entries as they are now.";
    let certs = "Certificates and keys, ours and what those of others are held against.";
    let store = "The state directory, and the database from end to end.";
    let dns = "What DNS says of us, against what it has to say.";
    let reach = "Try partners, front ends and our own listeners. It may take as long as limits.xmpp.reach for each who does \
        not answer.";
    let whom = "Only these, separated by commas: a domain of a partner, or the name of a front end.";
    let dns_records = "The records that have to be in DNS.";
    vec![
        Endpoint::get("/v1/checks/config", Role::Viewer, config, report(), check_config).within(PATIENCE),
        Endpoint::get("/v1/checks/certs", Role::Viewer, certs, report(), |State(control): State<Shared>| {
            check(control, What::Certs, Whom::default())
        }),
        Endpoint::get("/v1/checks/store", Role::Viewer, store, report(), |State(control): State<Shared>| {
            check(control, What::Store, Whom::default())
        })
        .within(PATIENCE),
        Endpoint::get("/v1/checks/dns", Role::Viewer, dns, report(), |State(control): State<Shared>| {
            check(control, What::Dns, Whom::default())
        })
        .within(PATIENCE),
        // Others notice it.
        Endpoint::get("/v1/checks/connectivity", Role::Admin, reach, report(), check_connectivity)
            .query("whom", whom, json!({ "type": "string" }))
            .within(PATIENCE),
        Endpoint::get("/v1/dns", Role::Viewer, dns_records, Answer::json(records), dns_wanted),
    ]
}

/// The schema of what was found.
pub(super) fn findings_schema() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["level", "subject", "text"],
            "properties": {
                "level": { "type": "string", "enum": ["good", "note", "warning", "wrong"] },
                "subject": { "type": "string", "description": "What was looked at." },
                "text": { "type": "string", "description": "What was seen." },
                "fix": { "type": "string", "description": "What to do about it." },
            },
        },
    })
}

/// A check costs the gateway, and others, something: there are few at a time.
pub(super) fn one_at_a_time() -> Result<SemaphorePermit<'static>, Problem> {
    UNDER_WAY.try_acquire().map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "other checks are under way; try again when they are done",
        )
    })
}

async fn check_config(State(control): State<Shared>) -> Result<Json<Report>, Problem> {
    // Where a network is blocked DNS is asked where the front ends are.
    let _turn = one_at_a_time()?;
    let authority = std::sync::Arc::clone(&control.authority);
    let looked = spawn_blocking(move || authority.look()).await.map_err(|_| Problem::failed())?;
    let findings = match looked {
        Ok(in_force) => {
            let loaded = &in_force.loaded;
            let mut findings = problems(&loaded.report);
            findings.extend(set_aside(&loaded.set_aside));
            let more = look(&loaded.config, What::Config, &Whom::default(), SystemTime::now()).await;
            findings.extend(more.findings);
            findings
        }
        Err(Refused::Configuration(report) | Refused::StaysAside { report, .. }) => problems(&report),
        Err(refused) => vec![Finding {
            level: Level::Wrong,
            subject: "configuration".to_owned(),
            text: refused.to_string(),
            fix: Some("mend that; what is in force stays in force until then".to_owned()),
        }],
    };
    Ok(Json(Report::new(vec![Looked { check: What::Config, findings }])))
}

async fn check(control: Shared, what: What, whom: Whom) -> Result<Json<Report>, Problem> {
    let turn = one_at_a_time()?;
    let in_force = control.authority.in_force();
    // Files are read, and the database.
    let looked = spawn_blocking(move || {
        let _turn = turn;
        Handle::current().block_on(look(&in_force.running, what, &whom, SystemTime::now()))
    });
    looked.await.map(|looked| Json(Report::new(vec![looked]))).map_err(|_| Problem::failed())
}

async fn check_connectivity(
    State(control): State<Shared>,
    Checked(Query(meant)): Checked<Query<Meant>>,
) -> Result<Json<Report>, Problem> {
    let whom = meant.whom.unwrap_or_default();
    let names = whom.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    check(control, What::Connectivity, Whom { names }).await
}

async fn dns_wanted(State(control): State<Shared>) -> Json<Value> {
    let wanted = wanted(&control.authority.in_force().running);
    Json(json!({ "zones": wanted.zones, "hosts": wanted.hosts, "text": wanted.to_string() }))
}
