//! Texts of administrators. Everybody who lists what there is reads them, the audit trail keeps them, and each is copied with every
//! change: they are as long as somebody reads.

use std::fmt;

use super::value::{Text, ValueError, quoted};

/// A description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FreeText(pub(super) String);

/// What something is called in lists and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryName(pub(super) String);

/// Words of so many characters at most.
trait Words: Sized {
    const WHAT: &'static str;
    /// The longest ones, in characters.
    const MAX: usize;

    fn of(text: &str) -> Result<Self, ValueError>;
}

impl<W: Words> Text for W {
    const WHAT: &'static str = W::WHAT;

    fn allowed() -> String {
        format!("text, {} characters at most", W::MAX)
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (characters, most) = (text.chars().count(), W::MAX);
        match characters > most {
            true => Err(ValueError::new(format!(
                "{} has {characters} characters; expected {most} at most",
                quoted(text)
            ))),
            false => W::of(text),
        }
    }
}

impl Words for FreeText {
    const WHAT: &'static str = "a text";
    const MAX: usize = 1000;

    fn of(text: &str) -> Result<Self, ValueError> {
        Ok(Self(text.to_owned()))
    }
}

impl Words for EntryName {
    const WHAT: &'static str = "a name";
    const MAX: usize = 100;

    fn of(text: &str) -> Result<Self, ValueError> {
        match text.chars().any(char::is_control) {
            true => Err(ValueError::new(format!(
                "{} has line breaks or other controls in it; expected a name in one line",
                quoted(text)
            ))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_have_an_end() {
        assert!(FreeText::parse(&"ü".repeat(1000)).is_ok() && EntryName::parse(&"ü".repeat(100)).is_ok());
        for error in [
            FreeText::parse(&"ü".repeat(1001)).unwrap_err().to_string(),
            EntryName::parse(&"ü".repeat(101)).unwrap_err().to_string(),
        ] {
            assert!(error.contains("01 characters; expected 100") && error.len() < 300, "{error}");
        }
        assert!(EntryName::parse("a\nb").unwrap_err().to_string().contains("in one line"));
    }
}
