use std::borrow::Cow;

use compact_str::CompactString;
use smallvec::SmallVec;

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

/// At most [`MAX_NOTES`] notes, of different languages. Hardly anybody has two, so the first one needs no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes(SmallVec<[Note; 1]>);

impl Notes {
    /// No notes.
    pub const NONE: Self = Self(SmallVec::new_const());

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

    pub(super) fn as_slice(&self) -> &[Note] {
        &self.0
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(notes: &Notes) -> Vec<(Option<&str>, &str)> {
        notes.iter().map(|note| (note.lang.as_deref(), note.text.as_str())).collect()
    }

    #[test]
    fn pm_23_there_is_one_note_for_a_language() {
        let mut notes = Notes::default();
        for (lang, text) in
            [(None, "a"), (Some("de"), "b"), (Some("DE"), "c"), (None, "d"), (Some("en"), "e")]
        {
            notes.add(lang, text);
        }
        assert_eq!(texts(&notes), [(None, "a"), (Some("de"), "b"), (Some("en"), "e")]);
    }

    #[test]
    fn sec_30_a_language_that_is_none_is_dropped() {
        let mut notes = Notes::default();
        notes.add(Some("de\r\nX: y"), "a");
        assert_eq!(texts(&notes), [(None, "a")]);
    }

    #[test]
    fn sec_34_notes_are_one_line_without_tricks() {
        let mut notes = Notes::default();
        notes.add(None, " a\r\nb\u{202e}c\0 ");
        assert_eq!(texts(&notes), [(None, "a bc")]);
        notes.add(Some("de"), "\u{200b}\r\n");
        assert_eq!(notes.iter().len(), 1, "nothing remains of the second");
    }

    #[test]
    fn notes_are_cut_at_the_limit() {
        let mut notes = Notes::default();
        notes.add(Some("de"), &"ä".repeat(MAX_NOTE));
        notes.add(Some("en"), &"ä".repeat(MAX_NOTE + 1));
        let lengths: Vec<_> = notes.iter().map(|note| note.text.chars().count()).collect();
        assert_eq!(lengths, [MAX_NOTE, MAX_NOTE]);
    }

    #[test]
    fn there_are_no_more_notes_than_the_limit() {
        let mut notes = Notes::default();
        for number in 0..=MAX_NOTES {
            notes.add(Some(&format!("x-{number}")), "a");
        }
        assert_eq!(notes.iter().len(), MAX_NOTES);
    }
}
