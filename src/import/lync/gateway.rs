//! What becomes of the gateway configuration: limits of ours.

use serde::Serialize;

use super::parameters::{Fate, Kind};
use super::plan::{LeftOut, Mapping};
use super::trial;
use super::value::{Expected, Object, Value};
use crate::config::duration_text;

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitEntry {
    /// Its section, `xmpp` or `presence`, below `limits`.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// As it stands in the file: a number, or a duration in quotes.
    pub value: String,
    /// The parameter that it comes from.
    pub parameter: &'static str,
}

impl LimitEntry {
    /// The line in `[limits]`.
    pub fn line(&self) -> String {
        format!("{}.{} = {}", self.section, self.name, self.value)
    }
}

const WHAT: &str = "the gateway configuration";

/// What becomes of it. A value that cannot be taken over leaves the default.
pub(super) fn plan(object: &Object, mapping: &mut Mapping<'_>) -> (Vec<LimitEntry>, Vec<LeftOut>) {
    let (mut limits, mut left_out) = (Vec::new(), Vec::new());
    for parameter in Kind::Gateway.parameters() {
        let (Fate::Key(key), Some(value)) = (parameter.fate, object.get(parameter.name)) else { continue };
        let Some((section, name)) = key.strip_prefix("limits.").and_then(|path| path.split_once('.')) else {
            continue;
        };
        let mut wrong = |why: String| {
            left_out.push(LeftOut {
                of: Kind::Gateway,
                what: format!("{WHAT}: {}", parameter.name),
                why: vec![why],
            })
        };
        let text = match text(parameter.name, value) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(Expected(what)) => {
                wrong(format!("expected {what}, found {}; the default of {key} stays", value.shown()));
                continue;
            }
        };
        let entry = LimitEntry { section, name, value: text, parameter: parameter.name };
        match trial::limit(&entry) {
            Ok(()) => limits.push(entry),
            Err(why) => wrong(format!("{}; the default of {key} stays", why.join("; "))),
        }
    }
    mapping.note(Kind::Gateway, WHAT, object);
    (limits, left_out)
}

fn text(name: &str, value: &Value) -> Result<Option<String>, Expected> {
    if name.ends_with("Limit") {
        return Ok(value.number()?.map(|number| number.to_string()));
    }
    Ok(value.duration()?.map(|duration| format!("\"{}\"", duration_text(duration))))
}
