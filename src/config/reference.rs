//! The key tables of `docs/configuration.md`, made from the sections themselves.

use serde_json::{Map, Value, json};

use super::effective::to_json;
use super::file::Root;
use super::read::{Section, default_value};
use super::schema::{Key, Presence, Shape, walk};

/// Every key that can be set, as a dotted path: `sip.connect.family`.
pub fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    walk(&Root::keys(), "", &mut |_, path, key| {
        if matches!(key.shape, Shape::Value(_)) {
            keys.push(path.to_owned());
        }
    });
    keys
}

/// What holds where nobody sets this key, given as a dotted path: `partner.enabled`, `policy.rule.verdict`. Nothing if being
/// absent means something of its own, or there is no such key.
pub fn default_of(key: &str) -> Option<Value> {
    let mut found = None;
    walk(&Root::keys(), "", &mut |_, path, candidate| {
        if path == key
            && let (Shape::Value(_), Presence::Default(text)) = (&candidate.shape, &candidate.presence)
        {
            found = Some(to_json(&default_value(text)));
        }
    });
    found
}

/// A JSON schema of the keys of a section, given as a dotted path: `partner`, `policy.rule`. Sections below it are left out. The
/// key `named_by` is left out, too: it stands in the path of a request.
pub fn json_schema(section: &str, named_by: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    walk(&Root::keys(), "", &mut |header, _, key| {
        let Shape::Value(allowed) = &key.shape else { return };
        if header.trim_matches(['[', ']']) != section || Some(key.name) == named_by {
            return;
        }
        let about = format!("{} ({})", paragraph(key.doc), allowed.replace('`', ""));
        let kind = json_type(allowed);
        let required_here = key.presence == Presence::Required;
        // `null` leaves it at its default.
        let kinds = if required_here { json!(kind) } else { json!([kind, "null"]) };
        let mut schema = json!({ "type": kinds, "description": about });
        if let Some(object) = schema.as_object_mut() {
            if kind == "array" {
                object.insert("items".to_owned(), json!({ "type": "string" }));
            }
            if let Some(words) = words(allowed) {
                let null = (!required_here).then_some(Value::Null);
                let all = words.into_iter().map(Value::from).chain(null);
                object.insert("enum".to_owned(), all.collect());
            }
        }
        properties.insert(key.name.to_owned(), schema);
        if required_here {
            required.push(key.name);
        }
    });
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The words of which one may be written in the file, if it is one of several.
fn words(allowed: &str) -> Option<Vec<&str>> {
    fn word(part: &str) -> Option<&str> {
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        part.strip_prefix("`\"")?.strip_suffix("\"`").filter(is_word)
    }
    let words: Option<Vec<&str>> = allowed.split(", ").map(word).collect();
    words.filter(|words| words.len() > 1)
}

/// The type of JSON for what may be written in the file.
fn json_type(allowed: &str) -> &'static str {
    const NUMBERS: [&str; 5] = ["connections", "bytes", "levels", "attributes", "stanzas"];
    if allowed.starts_with("`true`") {
        "boolean"
    } else if allowed.starts_with("list of") {
        "array"
    } else if NUMBERS.iter().any(|unit| allowed.starts_with(unit)) {
        "integer"
    } else {
        "string"
    }
}

/// The keys of a section for the help of a command: what each may be, what holds without it, and the first sentence of what it
/// means.
pub fn help(section: &str, named_by: &str) -> String {
    let mut text =
        "Keys, each with what it may be and what holds without it (more in docs/configuration.md):\n"
            .to_owned();
    walk(&Root::keys(), "", &mut |header, _, key| {
        let Shape::Value(allowed) = &key.shape else { return };
        if header.trim_matches(['[', ']']) != section || key.name == named_by {
            return;
        }
        let default = match &key.presence {
            Presence::Required => "required".to_owned(),
            Presence::Optional => "not set".to_owned(),
            Presence::Default(value) => value.replace('"', ""),
        };
        let about = paragraph(key.doc).replace('`', "");
        let about = about.split_once(". ").map_or_else(|| about.trim_end_matches('.'), |(first, _)| first);
        let allowed = allowed.replace(['`', '"'], "");
        text.push_str(&format!("  {}: {allowed} [{default}]\n      {about}\n", key.name));
    });
    text
}

/// All sections with their keys, in Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    for key in Root::keys() {
        section(&mut text, &key, key.name);
    }
    text
}

fn section(text: &mut String, section_key: &Key, path: &str) {
    let (keys, header) = match &section_key.shape {
        Shape::Value(_) => return,
        Shape::Table(keys) => (keys(), format!("[{path}]")),
        Shape::Tables(keys) => (keys(), format!("[[{path}]]")),
    };
    text.push_str(&format!("### `{header}`\n\n{}", paragraph(section_key.doc)));
    if section_key.presence == Presence::Required {
        text.push_str(" Required.");
    }
    text.push_str("\n\n");
    if keys.iter().any(|key| matches!(key.shape, Shape::Value(_))) {
        text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for key in &keys {
            if let Shape::Value(allowed) = &key.shape {
                let default = match &key.presence {
                    Presence::Required => "required".to_owned(),
                    Presence::Optional => "–".to_owned(),
                    Presence::Default(value) => format!("`{value}`"),
                };
                text.push_str(&format!(
                    "| `{}` | {allowed} | {default} | {} |\n",
                    key.name,
                    paragraph(key.doc)
                ));
            }
        }
        text.push('\n');
    }
    for key in &keys {
        section(text, key, &format!("{path}.{}", key.name));
    }
}

fn paragraph(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}
