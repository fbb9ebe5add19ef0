//! Tokens for those who come over TCP: a file with the name, the role and the SHA-256 of each. The tokens themselves are
//! nowhere: they are made of 256 random bits, so nothing slower than SHA-256 is needed to keep them from being guessed.

use std::fmt::Write as _;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use compact_str::{CompactString, format_compact};

use super::{Caller, Role};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Begins every token, so that one is recognised where it does not belong.
const PREFIX: &str = "nuncio_";

/// Who may come over TCP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    list: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    name: CompactString,
    role: Role,
    sha256: [u8; 32],
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct Made {
    /// To be shown once, to whom it is for.
    pub token: String,
    /// What goes into the file.
    pub line: String,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// In a sentence that names the file and the line.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let unreadable = |error| format!("{shown} cannot be read: {error}");
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.len() > LARGEST {
            return Err(format!("{shown} is too large for a file of tokens"));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|(line, why)| format!("{shown}:{line}: {why}"))
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut list: Vec<Token> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let wrong = |why: &str| {
                (
                    index + 1,
                    format!("{why}; expected: NAME viewer|admin SHA-256, as \"nuncio token\" prints it"),
                )
            };
            let [name, role, sha256] = words.as_slice() else {
                return Err(wrong("this is not a token's line"));
            };
            let Some(role) = Role::GIVEN.into_iter().find(|known| known.as_str() == *role) else {
                return Err(wrong("there is no such role"));
            };
            let Some(sha256) = from_hex(sha256) else {
                return Err(wrong("the last word is not a SHA-256 in hexadecimal"));
            };
            if list.iter().any(|token| token.name == *name) {
                return Err(wrong("there is another token of this name"));
            }
            list.push(Token { name: (*name).into(), role, sha256 });
        }
        Ok(Self { list })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none: then nobody can come over TCP.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What is different in `new`, a line for each token. None shows more of one than its name.
    pub fn differences(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for Token { name, role, sha256 } in &self.list {
            lines.extend(match new.list.iter().find(|token| token.name == *name) {
                None => Some(format!("token {name}: removed")),
                Some(after) if after.role != *role && after.sha256 != *sha256 => {
                    Some(format!("token {name}: {role} → {}, and another one", after.role))
                }
                Some(after) if after.role != *role => Some(format!("token {name}: {role} → {}", after.role)),
                Some(after) if after.sha256 != *sha256 => Some(format!("token {name}: another one")),
                Some(_) => None,
            });
        }
        let known = |name: &str| self.list.iter().any(|token| token.name == name);
        let added = new.list.iter().filter(|token| !known(&token.name));
        lines.extend(added.map(|Token { name, role, .. }| format!("token {name}: added ({role})")));
        lines
    }

    /// Whose token this is. All are compared, each in constant time, so the time tells nothing.
    pub fn caller(&self, shown: Option<&str>) -> Caller {
        let stranger = |why: &str| Caller {
            name: "somebody without a token".into(),
            role: Role::Anyone,
            why: why.into(),
            by_token: true,
        };
        let Some(shown) = shown else {
            return stranger("none was sent; send it as \"Authorization: Bearer TOKEN\"");
        };
        let sha256 = digest(&SHA256, shown.as_bytes());
        let mut found = None;
        for token in &self.list {
            if verify_slices_are_equal(&token.sha256, sha256.as_ref()).is_ok() {
                found = Some(token);
            }
        }
        match found {
            Some(Token { name, role, .. }) => Caller {
                name: format_compact!("token {name}"),
                role: *role,
                why: "its line in the file of control.tokens says so".into(),
                by_token: true,
            },
            None => stranger("the one that was sent is not in the file of control.tokens"),
        }
    }
}

/// Makes a token for somebody.
pub fn make(name: &str, role: Role) -> Made {
    let secret: [u8; 32] = rand::random();
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let mut line = format!("{name} {role} ");
    for byte in digest(&SHA256, token.as_bytes()).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    Made { token, line }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    // A sign would be taken for a digit.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_a_token_gets_the_role_of_its_line() {
        let (admin, viewer) = (make("ops", Role::Admin), make("grafana", Role::Viewer));
        let tokens =
            Tokens::parse(&format!("# people\n{}\n\n{} # dashboard\n", admin.line, viewer.line)).unwrap();
        assert_eq!(tokens.len(), 2);
        let role = |shown: &str| tokens.caller(Some(shown)).role;
        assert_eq!(role(&admin.token), Role::Admin);
        assert_eq!(role(&viewer.token), Role::Viewer);
        assert_eq!(tokens.caller(Some(&viewer.token)).name, "token grafana");
        for wrong in ["", "nuncio_", admin.line.as_str(), &admin.token[1..], &format!("{} ", admin.token)] {
            assert_eq!(role(wrong), Role::Anyone, "{wrong}");
        }
        assert_eq!(tokens.caller(None).role, Role::Anyone);
    }

    #[test]
    fn what_is_different_is_told_by_name() {
        let (ops, grafana, backup) =
            (make("ops", Role::Admin), make("grafana", Role::Viewer), make("backup", Role::Viewer));
        let tokens = |lines: &[&str]| Tokens::parse(&lines.join("\n")).unwrap();
        let old = tokens(&[&ops.line, &grafana.line, &backup.line]);
        assert!(old.differences(&old.clone()).is_empty());
        let lesser = ops.line.replace("admin", "viewer");
        let new = tokens(&[&make("new", Role::Viewer).line, &lesser, &make("backup", Role::Viewer).line]);
        assert_eq!(
            old.differences(&new),
            [
                "token ops: admin → viewer",
                "token grafana: removed",
                "token backup: another one",
                "token new: added (viewer)"
            ]
        );
    }

    #[test]
    fn a_line_that_is_none_is_named_with_what_is_expected() {
        let sha256 = "0".repeat(64);
        for (text, line, why) in [
            ("ops admin\n".to_owned(), 1, "not a token's line"),
            (format!("\nops root {sha256}\n"), 2, "no such role"),
            (format!("ops anyone {sha256}\n"), 1, "no such role"),
            (format!("ops admin {}\n", &sha256[1..]), 1, "not a SHA-256"),
            (format!("ops admin +{}\n", &sha256[1..]), 1, "not a SHA-256"),
            (format!("ops admin {sha256}\nops viewer {sha256}\n"), 2, "another token of this name"),
        ] {
            let (found, text) = Tokens::parse(&text).unwrap_err();
            assert_eq!(found, line, "{text}");
            assert!(text.contains(why) && text.contains("NAME viewer|admin SHA-256"), "{text}");
        }
    }

    #[test]
    fn two_tokens_are_never_the_same_and_their_lines_do_not_show_them() {
        let (one, two) = (make("a", Role::Admin), make("a", Role::Admin));
        assert_ne!(one.token, two.token);
        assert!(!one.line.contains(&one.token) && one.token.len() == PREFIX.len() + 43);
    }
}
