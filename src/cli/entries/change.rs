//! A change of entries: what it comes to is shown first, then it is done, and what became of it is told.

use axum::http::Method;
use serde_json::{Value, json};

use super::Names;
use crate::cli::client::{Failed, Gateway, Said, changes, is_as_it_was, pretty, text};
use crate::cli::report::say;
use crate::config::Kind;

/// What the gateway is asked for.
pub(super) struct Change {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// What is told first.
    pub(super) first: String,
    /// Why it would be refused: then it is only asked what it would come to.
    pub(super) refused: Option<String>,
}

impl Change {
    pub(super) fn new(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, first: String::new(), refused: None }
    }
}

impl Names {
    /// What it amounts to is shown first; then it is done.
    pub(super) fn change(
        &self,
        gateway: &Gateway,
        Change { method, path, body, first, refused }: &Change,
        dry_run: bool,
        json: bool,
    ) -> Result<Said, Failed> {
        let would = gateway.ask(method.clone(), &format!("{path}?dry_run=true"), body.as_ref())?;
        let expected = changes(&would);
        let out = format!("{}{first}{expected}", self.as_they_will_be(&would));
        if dry_run {
            let unchanged = format!("{out}Nothing was changed: this was a dry run.\n");
            return Ok(Said::would(if json { pretty(&would) } else { unchanged }, refused.clone()));
        }
        if !json {
            say(&out);
        }
        let done = gateway.ask(method.clone(), path, body.as_ref()).inspect_err(|failed| {
            if !json {
                say(match failed.is_refusal() {
                    true => "That was not done: nothing was changed.\n",
                    false => "Whether that was done is not known.\n",
                });
            }
        })?;
        if json {
            return Ok(Said::after(&done, pretty(&done)));
        }
        let same = is_as_it_was(&done) && first.is_empty();
        let end = if same { "It was so already." } else { "It is in force, and saved." };
        let end = if done.get("saved") == Some(&json!(false)) { "It is in force." } else { end };
        let expected: Vec<&str> = expected.lines().collect();
        let more = changes(&done);
        let more = more.lines().filter(|line| !expected.contains(line));
        let more: String = more.map(|line| format!("{line}\n")).collect();
        Ok(Said::after(&done, format!("{more}{end}\n")))
    }

    /// Partners, with what comes of their settings. Of several only what is worth a word is said at length.
    fn as_they_will_be(&self, would: &Value) -> String {
        let mut out = String::new();
        if self.kind != Kind::Partner {
            return out;
        }
        // What somebody has set, and not the default, is warned of below.
        let warnings: Vec<&str> = texts(would.get("warnings")).collect();
        let warned =
            |reason: &str| !reason.is_empty() && warnings.iter().any(|warning| warning.contains(reason));
        if let Some(entry) = would.get("entry") {
            out.push_str(&format!("{}\n", self.line(entry)));
            let said = |negotiation: &Value| match warned(text(negotiation, "reason")) {
                true => without_reason(negotiation),
                false => verdict(negotiation),
            };
            out.extend(entry.get("negotiation").map(|negotiation| format!("  {}\n", said(negotiation))));
        }
        for entry in would.get("entries").and_then(Value::as_array).into_iter().flatten() {
            out.push_str(&format!("{}\n", self.line(entry)));
            let negotiation =
                entry.get("negotiation").filter(|negotiation| text(negotiation, "verdict") != "clean");
            let why =
                negotiation.map(|negotiation| (text(negotiation, "verdict"), text(negotiation, "reason")));
            let why = why.filter(|(_, reason)| !warned(reason));
            out.extend(why.map(|(verdict, reason)| format!("  {verdict} ({reason})\n")));
        }
        out
    }
}

/// Those of a list that are texts.
fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// What comes of TLS, SASL and dialback.
pub(super) fn verdict(negotiation: &Value) -> String {
    let reason = Some(text(negotiation, "reason")).filter(|reason| !reason.is_empty());
    match (reason, without_reason(negotiation)) {
        (Some(reason), said) => said.replacen(':', &format!(" ({reason}):"), 1),
        (None, said) => said,
    }
}

/// The same, where why is said elsewhere.
fn without_reason(negotiation: &Value) -> String {
    format!(
        "{}: {}, {}",
        text(negotiation, "verdict"),
        text(negotiation, "methods"),
        text(negotiation, "means")
    )
}
