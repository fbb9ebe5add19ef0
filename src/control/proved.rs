//! Which domains proved themselves by certificate once, and are not taken with less; and the administrator's word that one may be.

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde_json::{Value, json};

use super::applied::on_authority;
use super::{Answer, Caller, Change, Checked, Endpoint, Problem, Role, Shared};
use crate::net::now;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let domains = json!({ "type": "array", "items": { "type": "string" } });
    let allowed = json!({
        "type": "object",
        "required": ["domain", "saved", "unsaved"],
        "properties": {
            "domain": { "type": "string" },
            "saved": { "type": "boolean", "description": "Whether it is on the disk; it holds in any case." },
            "unsaved": { "type": ["string", "null"], "description": "Why it is not." },
        },
    });
    let proved = "Domains of partners that proved themselves by certificate (SASL EXTERNAL), and are not taken with dialback alone any \
        more.";
    let allow = "Take a domain with dialback alone again, as far as its partner's entry allows that. It holds until the domain proves \
        itself by certificate.";
    vec![
        Endpoint::get("/v1/proved", Role::Viewer, proved, Answer::json(domains), list),
        Endpoint::change(Change::Delete, "/v1/proved/{domain}", allow, Answer::json(allowed), forget),
    ]
}

async fn list(State(control): State<Shared>) -> Json<Vec<String>> {
    Json(control.context.gateway.all_proved().into_iter().map(String::from).collect())
}

async fn forget(
    State(control): State<Shared>,
    Extension(caller): Extension<Caller>,
    Checked(Path(name)): Checked<Path<String>>,
) -> Result<Json<Value>, Problem> {
    let domain = match nuncio_xmpp::Domain::parse(&name) {
        Ok(domain) => domain,
        Err(error) => return Err(Problem::refused(format!("{name:?} is not a domain: {error}"))),
    };
    let named = domain.clone();
    let forgotten = on_authority(&control, move |authority, context| {
        match context.gateway.allow_dialback(domain.as_str(), &caller.name, now()) {
            Some(ticket) => Ok(authority.wait(ticket)),
            None => Err(Problem::not_found(format!(
                "{domain} has not proved itself by certificate: nothing of this kind keeps it out. (Additional domains of a partner \
                 are to be named themselves.)"
            ))),
        }
    });
    let unsaved = forgotten.await?;
    Ok(Json(json!({ "domain": named.as_str(), "saved": unsaved.is_none(), "unsaved": unsaved })))
}
