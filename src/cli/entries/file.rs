//! Entries as sections of a file: what `export` prints, and what `apply` takes back.
//!
//! What an export prints begins and ends with a line that says so. Half of one, as a full disk or a broken connection leaves
//! it, is told from the whole by that, and nothing at all from the export of an empty list.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Names;
use crate::cli::client::{Failed, printable, text};
use crate::config::{GLOBAL, Kind, nearest, quoted, reference, written};

/// A line of the file, and what is wrong there.
struct Fault(usize, String);

impl Names {
    fn begins(&self) -> String {
        format!("# nuncio {} export: from here", self.kind)
    }

    fn ends(&self) -> String {
        format!("# nuncio {} export: up to here, and whole", self.kind)
    }

    /// As sections of a file, which `apply` takes.
    pub(super) fn export(&self, list: &Value, declared: bool) -> String {
        let (mut global, mut sections) = (String::new(), String::new());
        for entry in list.as_array().into_iter().flatten() {
            if !declared && entry.get("origin") != Some(&json!("stored")) {
                continue;
            }
            let said = ["origin", "defaults", "negotiation", "set_aside"];
            let keys = self.keys(entry).filter(|(key, _)| !said.contains(&key.as_str()));
            // It stands for the keys of [policy] itself, and is no rule.
            if self.kind == Kind::Policy && text(entry, "name") == GLOBAL {
                for (key, value) in keys.filter(|(key, _)| *key != "name") {
                    // Writing to a String cannot fail.
                    let _ = writeln!(global, "{key} = {}", written(value));
                }
                continue;
            }
            let mut section = format!("[[{}]]\n", self.section);
            for (key, value) in keys {
                let _ = writeln!(section, "{key} = {}", written(value));
            }
            let why = entry.get("set_aside").and_then(Value::as_array).into_iter().flatten();
            let why: Vec<&str> = why.filter_map(Value::as_str).collect();
            if why.is_empty() {
                let _ = writeln!(sections, "{section}");
                continue;
            }
            // It could not be applied.
            let why = printable(&why.join("; "));
            let lines: String = section.lines().map(|line| format!("# {line}\n")).collect();
            let _ = writeln!(sections, "# set aside: {why}\n{lines}");
        }
        if !global.is_empty() {
            global = format!("[policy]\n{global}\n");
        }
        format!("{}\n\n{global}{sections}{}\n", self.begins(), self.ends())
    }

    /// The sections of a file; `-` is standard input. Keys of `[policy]` itself are the rule that stands for it.
    pub(super) fn read(&self, file: &Path) -> Result<Vec<Value>, Failed> {
        let (content, called) = match file == Path::new("-") {
            false => (std::fs::read_to_string(file), file.display().to_string()),
            true => {
                let mut content = String::new();
                let read = std::io::stdin().lock().read_to_string(&mut content);
                (read.map(|_| content), "standard input".to_owned())
            }
        };
        let content = content.map_err(|error| Failed::new(format!("{called}: {error}")))?;
        let unusable = |why: &dyn std::fmt::Display| Failed::new(format!("{called}: {why}"));
        let table = DeTable::parse(&content).map_err(|error| unusable(&error))?;
        let read = self.entries(&content, table.get_ref()).map_err(|Fault(at, why)| {
            Failed::new(format!("{called}:{}: {why}; nothing was changed", line_of(&content, at)))
        })?;
        let exported = self.is_exported(&content).map_err(|why| unusable(&why))?;
        if read.is_empty() && !exported {
            return Err(unusable(&format!(
                "there is no [[{}]] in it, and it does not begin and end as “nuncio {} export” prints it where there is \
                 none; nothing was changed",
                self.section, self.kind
            )));
        }
        Ok(read)
    }

    /// Whether all of it was exported.
    fn is_exported(&self, content: &str) -> Result<bool, String> {
        let has = |wanted: &str| content.lines().any(|line| line.trim_end() == wanted);
        match (has(&self.begins()), has(&self.ends())) {
            (begins, ends) if begins == ends => Ok(begins),
            (true, _) => Err(format!(
                "it was exported, and its end is missing, for the last line is not “{}”: it is not whole; nothing was changed",
                self.ends()
            )),
            (false, _) => Err(format!(
                "it was exported, and its beginning is missing, for the first line is not “{}”: it is not whole; nothing \
                 was changed",
                self.begins()
            )),
        }
    }

    fn entries(&self, content: &str, table: &DeTable<'_>) -> Result<Vec<Value>, Fault> {
        let (outer, inner) = match self.section.split_once('.') {
            None => (self.section, None),
            Some((outer, inner)) => (outer, Some(inner)),
        };
        let mut list = Vec::new();
        for (key, value) in table {
            if key.get_ref() != outer {
                return Err(Fault(key.span().start, self.foreign(key.get_ref(), value.get_ref())));
            }
            let Some(inner) = inner else {
                list.extend(self.sections(content, value)?);
                continue;
            };
            let DeValue::Table(section) = value.get_ref() else { return Err(self.no_list(value)) };
            let mut global = Map::new();
            for (key, value) in section {
                if key.get_ref() == inner {
                    list.extend(self.sections(content, value)?);
                } else {
                    must_be_known(outer, &format!("[{outer}]"), key)?;
                    global.insert(key.get_ref().to_string(), plain(content, value)?);
                }
            }
            if !global.is_empty() {
                global.insert(self.kind.named_by().to_owned(), json!(GLOBAL));
                list.push(Value::Object(global));
            }
        }
        Ok(list)
    }

    fn sections(&self, content: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<Value>, Fault> {
        let DeValue::Array(list) = value.get_ref() else { return Err(self.no_list(value)) };
        // Where each name stands, and in which section.
        let mut known: HashMap<String, (usize, usize)> = HashMap::new();
        let section = |(number, section): (usize, &Spanned<DeValue<'_>>)| {
            let DeValue::Table(keys) = section.get_ref() else { return Err(self.no_list(section)) };
            for (name, at) in self.names_in(keys) {
                let (first, of) = *known.entry(self.kind.normalise(name)).or_insert((at, number));
                if of != number {
                    let (name, line) = (quoted(name), line_of(content, first));
                    return Err(Fault(
                        at,
                        format!(
                            "{name} is there twice: first in line {line}, of another [[{}]]",
                            self.section
                        ),
                    ));
                }
            }
            let mut entry = Map::new();
            for (key, value) in keys {
                must_be_known(self.section, &format!("[[{}]]", self.section), key)?;
                entry.insert(key.get_ref().to_string(), plain(content, value)?);
            }
            let named_by = self.kind.named_by();
            if !entry.contains_key(named_by) {
                return Err(Fault(
                    section.span().start,
                    format!("this [[{}]] has no {named_by}, by which each goes", self.section),
                ));
            }
            Ok(Value::Object(entry))
        };
        list.iter().enumerate().map(section).collect()
    }

    /// What a section is called, and where that stands; of a partner all his domains.
    fn names_in<'d>(&self, keys: &'d DeTable<'_>) -> Vec<(&'d str, usize)> {
        let mut names = Vec::new();
        for (key, value) in keys {
            let list = match value.get_ref() {
                DeValue::Array(list)
                    if self.kind == Kind::Partner && key.get_ref() == "additional_domains" =>
                {
                    list.iter().collect()
                }
                _ if key.get_ref() == self.kind.named_by() => vec![value],
                _ => Vec::new(),
            };
            names.extend(list.iter().filter_map(|name| match name.get_ref() {
                DeValue::String(text) => Some((text.as_ref(), name.span().start)),
                _ => None,
            }));
        }
        names
    }

    fn no_list(&self, value: &Spanned<DeValue<'_>>) -> Fault {
        Fault(value.span().start, format!("each {} is written under its own [[{}]]", self.kind, self.section))
    }

    fn foreign(&self, name: &str, value: &DeValue<'_>) -> String {
        let shown = match value {
            DeValue::Table(_) => format!("[{}]", quoted(name).trim_matches('"')),
            DeValue::Array(_) => format!("[[{}]]", quoted(name).trim_matches('"')),
            _ => format!("the key {}", quoted(name)),
        };
        format!("{shown} is none of what “nuncio {} apply” takes, which is [[{}]]", self.kind, self.section)
    }
}

/// The line in which a byte stands.
fn line_of(content: &str, at: usize) -> usize {
    content.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// What one of our sections has.
fn must_be_known(section: &str, header: &str, key: &Spanned<std::borrow::Cow<'_, str>>) -> Result<(), Fault> {
    let schema = reference::json_schema(section, None);
    let known = schema.get("properties").and_then(Value::as_object);
    let name = key.get_ref();
    if known.is_some_and(|known| known.contains_key(name.as_ref())) {
        return Ok(());
    }
    let names = || known.into_iter().flatten().map(|(name, _)| name.as_str());
    let advice = match nearest(name, names()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(Fault(key.span().start, format!("{header} has no key {}; {advice}", quoted(name))))
}

fn plain(content: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, Fault> {
    let unusable = |why: &dyn std::fmt::Display| Fault(value.span().start, why.to_string());
    let text = content.get(value.span()).unwrap_or_default();
    let value: toml::Value = text.parse().map_err(|error| unusable(&error))?;
    serde_json::to_value(value).map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests;
