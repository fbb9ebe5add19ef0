use std::borrow::Cow;

use compact_str::CompactString;

use super::{MAX_NOTE, MAX_NOTES};
use crate::text;

/// A note: text of a user's own, or `<status/>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Language tag, well-formed.
    pub lang: Option<CompactString>,
    /// One line, without controls and direction tricks, never empty.
    pub text: CompactString,
}

/// At most [`MAX_NOTES`] notes, of different languages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// No notes.
    pub const NONE: Self = Self(Vec::new());

    /// Adds a note, cleaned and cut at [`MAX_NOTE`] characters. Nothing happens if nothing remains of it, if there is one
    /// of that language, or if there are enough.
    pub fn add(&mut self, lang: Option<&str>, text: &str) {
        let lang = lang.and_then(crate::message::language);
        if self.0.len() == MAX_NOTES || self.has(lang) {
            return;
        }
        if let Some(text) = clean(text) {
            self.0.reserve_exact(1);
            self.0.push(Note { lang: lang.map(Into::into), text });
        }
    }

    /// The notes, in the order they came.
    pub fn iter(&self) -> std::slice::Iter<'_, Note> {
        self.0.iter()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, lang: Option<&str>) -> bool {
        let same = |note: &Note| match (note.lang.as_deref(), lang) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        self.0.iter().any(same)
    }
}

/// One line without controls and direction tricks, at most [`MAX_NOTE`] characters; `None` if nothing remains.
pub(super) fn clean(text: &str) -> Option<CompactString> {
    let shown: Cow<'_, str> = text::displayable(text, usize::MAX);
    let cut =
        shown.char_indices().nth(MAX_NOTE).map_or(&*shown, |(at, _)| shown.get(..at).unwrap_or_default());
    let cut = cut.trim_end();
    (!cut.is_empty()).then(|| cut.into())
}
