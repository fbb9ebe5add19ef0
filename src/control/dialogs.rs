//! Dialogs with front ends: sessions of instant messages, and subscriptions; to see the former, and to end either.

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use nuncio_xmpp::BareJid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::audit::note;
use super::extract::at_most;
use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Role, Shared};
use crate::gateway::{SessionShown, WhoSees};
use crate::net::now;

/// So many sessions, unless more are asked for.
const USUAL: usize = 1000;
/// Never more.
const MOST: usize = 1_000_000;

#[derive(Debug, Clone, Default, Deserialize)]
struct Wanted {
    with: Option<String>,
    most: Option<usize>,
}

/// Which subscription is meant.
#[derive(Debug, Clone, Deserialize)]
struct Meant {
    user: String,
    contact: String,
    who: Who,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    User,
    Contact,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let text = || json!({ "type": "string" });
    let number = |about: &str| json!({ "type": "integer", "description": about });
    let session = json!({
        "type": "object",
        "required": ["id", "sip_user", "contact", "since", "begun_by", "state", "from_user", "from_contact"],
        "properties": {
            "id": text(),
            "sip_user": text(),
            "contact": text(),
            "call_id": text(),
            "front_end": { "type": ["string", "null"], "description": "Which one holds its dialog; null: any." },
            "begun_by": { "type": "string", "enum": ["user", "contact"] },
            "state": { "type": "string", "enum": ["inviting", "established", "ending"] },
            "since": number("Seconds of Unix time."),
            "idle": number("Seconds since something was said in it."),
            "from_user": number("Messages of the SIP user that went in it."),
            "from_contact": number("Messages of the contact."),
        },
    });
    let closed = || {
        let properties = json!({ "closed": { "type": "boolean" } });
        Answer::json(json!({ "type": "object", "required": ["closed"], "properties": properties }))
    };
    let most = json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL });
    let end_subscription = "End what one of the two sees of the other. Nothing forbids him to ask anew: for that there are \
        blocks and policies.";
    vec![
        Endpoint::get(
            "/v1/sessions",
            Role::Viewer,
            "Sessions of instant messages with front ends.",
            Answer::json(json!({ "type": "array", "items": session })),
            list,
        )
        .query("with", "Only those with this in one of the addresses.", text())
        .query("most", "At most so many.", most),
        Endpoint::change(
            Change::Delete,
            "/v1/sessions/{id}",
            "End a session with BYE. The next message begins another one.",
            closed(),
            close,
        ),
        Endpoint::change(Change::Delete, "/v1/subscriptions", end_subscription, closed(), close_subscription)
            .needs("user", "The SIP user.", text())
            .needs("contact", "The contact.", text())
            .needs(
                "who",
                "Whose it is: who sees the other.",
                json!({ "type": "string", "enum": ["user", "contact"] }),
            ),
    ]
}

async fn list(
    State(control): State<Shared>,
    Checked(Query(wanted)): Checked<Query<Wanted>>,
) -> Result<Json<Vec<SessionShown>>, Problem> {
    let gateway = std::sync::Arc::clone(&control.context.gateway);
    let with = wanted.with.unwrap_or_default().to_lowercase();
    let most = at_most(wanted.most, USUAL, MOST)?;
    let listed = spawn_blocking(move || {
        let is_meant =
            |session: &SessionShown| session.sip_user.contains(&with) || session.contact.contains(&with);
        gateway.sessions_shown(most, is_meant, now())
    });
    listed.await.map(Json).map_err(|_| Problem::failed())
}

async fn close(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Path(id)): Checked<Path<String>>,
) -> Result<Json<Value>, Problem> {
    let Some(key) = control.context.gateway.close_session(&id, now()) else {
        return Err(Problem::not_found(format!("there is no session {id}, or it is over")));
    };
    note(&control, &caller, "session.closed", &format!("{} {}", key.sip_user(), key.contact()), None);
    Ok(Json(json!({ "closed": true })))
}

async fn close_subscription(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Query(meant)): Checked<Query<Meant>>,
) -> Result<Json<Value>, Problem> {
    let (user, contact) = (address(&meant.user)?, address(&meant.contact)?);
    let (who, word) = match meant.who {
        Who::User => (WhoSees::User, "user sees contact"),
        Who::Contact => (WhoSees::Contact, "contact sees user"),
    };
    let closed = control.context.gateway.close_subscription(user.as_str(), contact.as_str(), who, now());
    let Some(closed) = closed else {
        return Err(Problem::not_found(format!("nothing is known of {user} and {contact}")));
    };
    if closed {
        let subject = format!("{user} {contact}");
        note(&control, &caller, "subscription.closed", &subject, Some(word.to_owned()));
    }
    Ok(Json(json!({ "closed": closed })))
}

/// The address of somebody, as users write it.
pub(super) fn address(text: &str) -> Result<BareJid, Problem> {
    match BareJid::parse(text.strip_prefix("sip:").unwrap_or(text)) {
        Ok(address) if address.local().is_some() => Ok(address),
        _ => Err(Problem::refused(format!(
            "{text:?} is no address of a user; it has to look like alice@contoso.com"
        ))),
    }
}
