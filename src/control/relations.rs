//! Consent and subscriptions: who has added whom, who sees whom; and to take consent back.

use axum::Json;
use axum::extract::{Extension, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::applied::on_authority;
use super::dialogs::address;
use super::extract::at_most;
use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Role, Shared};
use crate::gateway::Relation;
use crate::net::now;
use crate::store::Ticket;

/// So many, unless more are asked for.
const USUAL: usize = 1000;
/// Never more at a time; the next page is asked for with `after`.
pub(crate) const MOST: usize = 10_000;

#[derive(Debug, Clone, Default, Deserialize)]
struct Wanted {
    with: Option<String>,
    most: Option<usize>,
    after: Option<String>,
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
            .query(
                "after",
                "Only those after the one between these two: the next page. They are `sip_user` and `contact` of the last one, \
                 with a space between them.",
                json!({ "type": "string" }),
            )
    };
    let removed = json!({
        "type": "object",
        "required": ["removed", "saved"],
        "properties": {
            "removed": { "type": "boolean", "description": "Whether the user had added the contact." },
            "saved": { "type": "boolean", "description": "Whether it is on the disk; it holds in any case." },
            "unsaved": { "type": ["string", "null"], "description": "Why it is not." },
        },
    });
    let consents = "Whom SIP users have added, and so given leave to write to them and to see them.";
    let subscriptions = "Who sees whom, or asks to.";
    let remove = "Take back that a SIP user has added a contact: what follows from it happens at once.";
    vec![
        filtered(Endpoint::get("/v1/consents", Role::Viewer, consents, list(), added)),
        filtered(Endpoint::get("/v1/subscriptions", Role::Viewer, subscriptions, list(), all)),
        Endpoint::change(Change::Delete, "/v1/consents", remove, Answer::json(removed), take_back)
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
    let with = wanted.with.unwrap_or_default().to_lowercase();
    let most = at_most(wanted.most, USUAL, MOST)?;
    let after = match wanted.after {
        None => None,
        Some(text) => match text.split_once(' ') {
            Some((user, contact)) => Some((user.to_owned(), contact.to_owned())),
            None => {
                return Err(Problem::refused(format!(
                    "after={text:?}: expected a SIP user, a space, and a contact"
                )));
            }
        },
    };
    let listed = control.walk(move |context| {
        context.gateway.relations(most, after, |relation| {
            is_one(relation) && (relation.sip_user.contains(&with) || relation.contact.contains(&with))
        })
    });
    listed.await.map(Json)
}

async fn take_back(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Query(between)): Checked<Query<Between>>,
) -> Result<Json<Value>, Problem> {
    let (user, contact) = (address(&between.user)?, address(&between.contact)?);
    let taken = on_authority(&control, move |authority, context| {
        let removed = context.gateway.take_back_consent(user.as_str(), contact.as_str(), now());
        // What the pair gave to the store is older than this entry of the trail.
        let subject = format!("{user} {contact}");
        let ticket = match removed {
            Some(true) => authority.audit(&caller.name, "consent.removed", &subject, None, None),
            Some(false) | None => Ticket::default(),
        };
        match removed {
            Some(removed) => Ok((removed, authority.wait(ticket))),
            None => Err(Problem::not_found(format!("nothing is known of {user} and {contact}"))),
        }
    });
    let (removed, unsaved) = taken.await?;
    Ok(Json(json!({ "removed": removed, "saved": unsaved.is_none(), "unsaved": unsaved })))
}
