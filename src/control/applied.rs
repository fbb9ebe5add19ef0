//! What a change amounts to, as an answer.

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Problem, Shared};
use crate::context::Context;
use crate::policy::{Applied, Authority, Refused, lines};

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match &refused {
            Refused::Configuration(report) => {
                let reasons = match report.errors() {
                    1 => "this reason".to_owned(),
                    count => format!("these {count} reasons"),
                };
                Self::of_report(format!("nothing was changed: it could not be loaded, for {reasons}"), report)
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
        "streams_closed": applied.streams_closed,
        "saved": applied.unsaved.is_none(),
        "unsaved": applied.unsaved,
    })
}

pub(super) fn schema() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "type": "object",
        "required": ["changed", "lines", "with_the_next_start", "warnings", "streams_closed", "saved"],
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
            "streams_closed": { "type": "integer" },
            "saved": { "type": "boolean", "description": "Whether it is on the disk; it holds in any case." },
            "entry": { "type": "object", "description": "What was changed, if it is one: as it is then." },
            "unsaved": { "type": ["string", "null"], "description": "Why it is not." },
        },
    })
}
