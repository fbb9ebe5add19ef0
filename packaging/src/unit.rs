//! Reading a unit file, as far as starting the service by it needs (systemd.syntax(7)).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The settings of a unit: section, name and value, in order, with those of drop-ins behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    settings: Vec<(String, String, String)>,
}

impl Unit {
    /// Reads `name` from the first of `folders` that has it, and the drop-ins of all of them.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn load(folders: &[&Path], name: &str) -> Result<Self> {
        let file = folders.iter().map(|folder| folder.join(name)).find(|file| file.exists());
        let file = file.with_context(|| format!("Unit {name} not found."))?;
        let mut unit = Self::default();
        unit.read(&fs::read_to_string(&file)?);
        let mut drop_ins = Vec::new();
        for folder in folders {
            let Ok(entries) = fs::read_dir(folder.join(format!("{name}.d"))) else { continue };
            drop_ins.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
        drop_ins.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
        drop_ins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        for file in drop_ins {
            unit.read(&fs::read_to_string(&file)?);
        }
        Ok(unit)
    }

    /// Adds the settings of a file.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.trim().to_owned();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            while let Some(begun) = line.strip_suffix('\\') {
                line = format!("{} {}", begun.trim_end(), lines.next().unwrap_or_default().trim());
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((name, value)) = line.split_once('=') {
                self.settings.push((section.clone(), name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// Every value of a setting; an empty one takes back those before it.
    pub fn all(&self, section: &str, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, _, value) in self.settings.iter().filter(|(of, own, _)| of == section && own == name) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value.as_str());
            }
        }
        values
    }

    /// The value that counts.
    pub fn last(&self, section: &str, name: &str) -> Option<&str> {
        self.all(section, name).pop()
    }

    /// Every word of every value.
    pub fn words(&self, section: &str, name: &str) -> Vec<String> {
        self.all(section, name).into_iter().flat_map(words).collect()
    }
}

/// Words apart by blanks; quotes hold one together.
pub fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_adds_and_an_empty_value_takes_back() {
        let mut unit = Unit::default();
        unit.read("[Service]\n# note\nExecStart=/usr/bin/nuncio \\\n  run\nEnvironment=A=1 \"B=2 3\"\nUser=nuncio\n");
        unit.read(
            "[Service]\nEnvironment=C=4\nExecStart=\nExecStart=/usr/bin/other\n[Install]\nUser=nobody\n",
        );
        assert_eq!(unit.words("Service", "Environment"), ["A=1", "B=2 3", "C=4"]);
        assert_eq!(unit.all("Service", "ExecStart"), ["/usr/bin/other"]);
        assert_eq!(unit.last("Service", "User"), Some("nuncio"));
        assert_eq!(unit.last("Service", "Group"), None);
    }
}
