//! The files of golden cases: a line that says what the case shows, options, then sections below `=== name`.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;

/// A case file, taken apart.
pub(crate) struct Case {
    pub(crate) name: String,
    options: Vec<(String, String)>,
    /// Name and content of each, in order.
    pub(crate) sections: Vec<(String, String)>,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut parts = text.split("\n=== ");
        let options = parts.next().unwrap().lines().skip(1).filter_map(|line| line.split_once(": "));
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            options: options.map(|(key, value)| (key.into(), value.into())).collect(),
            sections: parts
                .map(|part| {
                    let (name, content) = part.split_once('\n').unwrap_or((part, ""));
                    (name.trim().into(), content.trim_end_matches('\n').into())
                })
                .collect(),
        }
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The content of the section of this name.
    pub(crate) fn section(&self, name: &str) -> &str {
        let found = self.sections.iter().find(|(key, _)| key == name);
        &found.unwrap_or_else(|| panic!("{}: no section {name}", self.name)).1
    }
}

/// Checks the cases of a folder, by the side they come from; so many there were.
pub(crate) fn for_each_case(folder: &str, from_sip: fn(&Case), from_xmpp: fn(&Case)) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let case = Case::read(&entry.unwrap().path());
        if case.name.starts_with("from-sip-") {
            from_sip(&case);
            cases.0 += 1;
        } else {
            assert!(case.name.starts_with("from-xmpp-"), "{}", case.name);
            from_xmpp(&case);
            cases.1 += 1;
        }
    }
    cases
}
