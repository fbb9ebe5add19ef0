//! The key tables of `docs/configuration.md`, made from the sections themselves.

use super::file::Root;
use super::read::Section;
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
