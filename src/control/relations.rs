//! Consent and subscriptions: who has added whom, who sees whom; and to take consent back.

use axum::Json;
use axum::extract::{Extension, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::dialogs::address;
use super::extract::at_most;
use super::{Answer, Caller, Checked, Endpoint, Problem, Role, Shared};
use crate::gateway::Relation;
use crate::net::now;
use crate::store::{AuditEntry, Keep};

/// So many, unless more are asked for.
const USUAL: usize = 1000;
/// Never more.
const MOST: usize = 1_000_000;

#[derive(Debug, Clone, Default, Deserialize)]
struct Wanted {
    with: Option<String>,
    most: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
struct Between {
    user: String,
    contact: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let relation = || {
        let number = json!({ "type": ["integer", "null"], "description": "Seconds of Unix time." });
        json!({
            "type": "object",
            "required": ["sip_user", "contact", "user_sees", "contact_sees", "endpoints"],
            "properties": {
                "sip_user": { "type": "string" },
                "contact": { "type": "string" },
                "added_since": number,
                "last_subscribe": number,
                "user_sees": { "enum": ["no", "pending", "yes"] },
                "contact_sees": { "enum": ["no", "kept", "pending", "yes"] },
                "endpoints": { "type": "integer" },
            },
        })
    };
    let list = || Answer::json(json!({ "type": "array", "items": relation() }));
    let filtered = |endpoint: Endpoint| {
        let most = json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL });
        endpoint
            .query("with", "Only those with this in one of the addresses.", json!({ "type": "string" }))
            .query("most", "At most so many.", most)
    };
    let removed = json!({
        "type": "object",
        "required": ["removed"],
        "properties": { "removed": { "type": "boolean", "description": "Whether the user had added the contact." } },
    });
    let consents = "Whom SIP users have added, and so given leave to write to them and to see them.";
    let subscriptions = "Who sees whom, or asks to.";
    let remove = "Take back that a SIP user has added a contact: what follows from it happens at once.";
    vec![
        filtered(Endpoint::get("/v1/consents", Role::Viewer, consents, list(), added)),
        filtered(Endpoint::get("/v1/subscriptions", Role::Viewer, subscriptions, list(), all)),
        Endpoint::delete("/v1/consents", remove, Answer::json(removed), take_back)
            .needs("user", "The SIP user.", json!({ "type": "string" }))
            .needs("contact", "The contact.", json!({ "type": "string" })),
    ]
}

async fn added(
    State(control): State<Shared>,
    Checked(Query(wanted)): Checked<Query<Wanted>>,
) -> Result<Json<Vec<Relation>>, Problem> {
    list(&control, wanted, |relation| relation.added_since.is_some()).await
}

async fn all(
    State(control): State<Shared>,
    Checked(Query(wanted)): Checked<Query<Wanted>>,
) -> Result<Json<Vec<Relation>>, Problem> {
    list(&control, wanted, |relation| {
        relation.endpoints > 0 || relation.contact_sees != "no" || relation.user_sees != "no"
    })
    .await
}

async fn list(
    control: &Shared,
    wanted: Wanted,
    is_one: fn(&Relation) -> bool,
) -> Result<Json<Vec<Relation>>, Problem> {
    let gateway = std::sync::Arc::clone(&control.context.gateway);
    let with = wanted.with.unwrap_or_default().to_lowercase();
    let most = at_most(wanted.most, USUAL, MOST)?;
    let listed = spawn_blocking(move || {
        gateway.relations(most, |relation| {
            is_one(relation) && (relation.sip_user.contains(&with) || relation.contact.contains(&with))
        })
    });
    let failed = |_| Problem::internal("an internal error, which the log of the gateway shows");
    listed.await.map(Json).map_err(failed)
}

async fn take_back(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Query(between)): Checked<Query<Between>>,
) -> Result<Json<Value>, Problem> {
    let (user, contact) = (address(&between.user)?, address(&between.contact)?);
    let removed = control.context.gateway.take_back_consent(user.as_str(), contact.as_str(), now());
    match removed {
        None => Err(Problem::not_found(format!("nothing is known of {user} and {contact}"))),
        Some(removed) => {
            if removed {
                let entry = AuditEntry {
                    at: now().unix(),
                    actor: caller.name,
                    what: "consent.removed".into(),
                    subject: format!("{user} {contact}").into(),
                    from: None,
                    to: None,
                };
                let _ = control.context.store.audit(entry);
            }
            Ok(Json(json!({ "removed": removed })))
        }
    }
}
