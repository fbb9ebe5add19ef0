//! What a change amounts to, as an answer.

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Problem, Shared};
use crate::config::{Report, shown};
use crate::context::Context;
use crate::policy::{Applied, Authority, Refused, lines};

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let reasons = |report: &Report| match report.errors() {
            1 => "this reason".to_owned(),
            count => format!("these {count} reasons"),
        };
        match &refused {
            Refused::Configuration(report) => {
                let why = reasons(report);
                Self::of_report(format!("nothing was changed: it could not be loaded, for {why}"), report)
            }
            Refused::StaysAside { kind, name, report } => {
                let (name, why) = (shown(name), reasons(report));
                let detail = format!(
                    "nothing was changed: the {kind} {name} is set aside, and can only be changed together with what keeps it from \
                     holding (nuncio {kind} set {name} KEY=VALUE, where KEY= takes a key away), or be removed (nuncio {kind} remove \
                     {name}); it still could not be loaded, for {why}"
                );
                Self::of_report(detail, report)
            }
            Refused::Unusable(why) => Self::refused(format!("nothing was changed: {why}")),
            Refused::Absent(..) => Self::not_found(refused.to_string()),
            Refused::Declared { .. } | Refused::Exists(..) => Self::conflict(refused.to_string()),
        }
    }
}

/// Does something that reads files and waits for the disk.
pub(super) async fn on_authority<T: Send + 'static, E: Send + 'static>(
    control: &Shared,
    work: impl FnOnce(&Authority, &Context) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    Problem: From<E>,
{
    let control = std::sync::Arc::clone(control);
    match spawn_blocking(move || work(&control.authority, &control.context)).await {
        Ok(done) => done.map_err(Problem::from),
        Err(_) => Err(Problem::internal("an internal error, which the log of the gateway shows")),
    }
}

pub(super) fn answer(applied: &Applied) -> Value {
    let changes = lines(&applied.changed).into_iter().chain(applied.tokens.iter().cloned());
    json!({
        "changed": applied.changed,
        "lines": changes.collect::<Vec<_>>(),
        "with_the_next_start": lines(&applied.pending),
        "warnings": applied.warnings,
        "stored": applied.unseen,
        "streams_closed": applied.streams_closed,
        "saved": !applied.dry_run && applied.unsaved.is_none(),
        "unsaved": applied.unsaved,
    })
}

pub(super) fn schema() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "required": ["changed", "lines", "with_the_next_start", "warnings", "stored", "streams_closed", "saved"],
        "properties": {
            "changed": {
                "type": "array",
                "description": "Every key that has another value.",
                "items": {
                    "type": "object",
                    "required": ["path", "takes_effect"],
                    "properties": {
                        "path": { "type": "string" },
                        "from": {},
                        "to": {},
                        "takes_effect": { "enum": ["now", "new-connections", "next-start"] },
                    },
                },
            },
            "lines": texts,
            "with_the_next_start": texts,
            "warnings": texts,
            "stored": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Stored entries that are other ones although no key has another value: set aside for a file, perhaps.",
            },
            "streams_closed": { "type": "integer" },
            "saved": {
                "type": "boolean",
                "description": "Whether it is on the disk; it holds in any case, unless dry_run asked only what it would come to.",
            },
            "entry": { "type": "object", "description": "What was changed, if it is one: as it is then." },
            "entries": {
                "type": "array",
                "items": { "type": "object" },
                "description": "The same where several were given: those of which any key has another value.",
            },
            "unsaved": { "type": ["string", "null"], "description": "Why it is not." },
        },
    })
}
