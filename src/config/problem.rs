//! What is wrong with a configuration, and how a person is told.

use std::fmt;
use std::ops::Range;

use super::stored::Kind;
use super::value::printable;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where the value came from: `file:line:column`, `environment variable X` or `flag --x`.
    pub place: String,
    /// The section and key, what is wrong with them, and what to do about it.
    pub text: String,
    /// The line of the file with a mark under the spot, if it is in a file.
    pub excerpt: Option<String>,
    /// The stored entry it is in, if it is in one.
    pub stored: Option<(Kind, String)>,
    /// It is with a file that the configuration names, and not with what it says.
    pub of_file: bool,
    /// Sorts problems into the order of their sources.
    pub(super) order: (usize, usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{}: {warning}{}", self.place, self.text)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        Ok(())
    }
}

/// Everything that was found, in the order of the sources.
#[derive(Clone, Debug, Default)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// Sorts, and drops what was found twice: each file is read once by itself and once with the others.
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.order, &a.text).cmp(&(b.order, &b.text)));
        problems.dedup();
        Self { problems }
    }

    /// Of what was found in files that the configuration names: each with its place, the stored entry it is of, if it is of one,
    /// and a sentence.
    pub fn of_files(found: impl IntoIterator<Item = (String, Option<(Kind, String)>, String)>) -> Self {
        let problem = |(place, stored, text): (String, _, String)| Problem {
            severity: Severity::Error,
            place,
            text: text.chars().map(printable).collect(),
            excerpt: None,
            stored,
            of_file: true,
            order: (usize::MAX - 2, 0),
        };
        Self::new(found.into_iter().map(problem).collect())
    }

    /// The same as warnings, beside what was found already.
    #[must_use]
    pub fn with_warnings(
        mut self,
        found: impl IntoIterator<Item = (String, Option<(Kind, String)>, String)>,
    ) -> Self {
        let found = Self::of_files(found).problems.into_iter();
        self.problems.extend(found.map(|problem| Problem { severity: Severity::Warning, ..problem }));
        Self::new(self.problems)
    }

    /// Of stored entries that do not go with the rest, found as [`of_files`](Self::of_files) is, and not with their files.
    pub fn of_entries(found: impl IntoIterator<Item = (String, Option<(Kind, String)>, String)>) -> Self {
        let mut report = Self::of_files(found);
        report.problems.iter_mut().for_each(|problem| problem.of_file = false);
        report
    }

    /// The problems in the order of the sources.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many errors there are, without the warnings.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// Whether nothing was found, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    /// Each problem with its excerpt, and an empty line between two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index != 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// The text of a file, able to say in which line a byte stands.
#[derive(Debug)]
pub(super) struct Lines {
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn new(text: String) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column, both from 1; columns are characters.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let (line, start) = self.line_at(byte);
        let before = self.text.get(start..byte).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The line in which `span` begins, with carets below the part of it that is in this line.
    pub(super) fn excerpt(&self, span: &Range<usize>) -> String {
        const WIDTH: usize = 110;
        let (number, start) = self.line_at(span.start);
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let column = self.text.get(start..span.start).unwrap_or_default().chars().count();
        let marked = self
            .text
            .get(span.clone())
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        // A line too long for a terminal is cut around the spot.
        let skipped =
            if column + marked.min(WIDTH / 2) > WIDTH { column.saturating_sub(WIDTH / 3) } else { 0 };
        let mut shown: String = line.chars().skip(skipped).take(WIDTH).map(tab_or_printable).collect();
        let mut below: String = line
            .chars()
            .skip(skipped)
            .take(column - skipped)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        // The spot may be the end of the line, where something is missing.
        let spaces = below.chars().count();
        below.extend(std::iter::repeat_n(' ', (column - skipped).saturating_sub(spaces)));
        let visible = shown.chars().count().saturating_sub(column - skipped);
        below.extend(std::iter::repeat_n('^', marked.min(visible).max(1)));
        if skipped > 0 {
            shown.insert(0, '…');
            below.insert(0, ' ');
        }
        let number = number.to_string();
        let margin = " ".repeat(number.len());
        format!(" {number} | {shown}\n {margin} | {below}")
    }

    fn line_at(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte);
        (line, self.starts.get(line.wrapping_sub(1)).copied().unwrap_or(0))
    }
}

fn tab_or_printable(c: char) -> char {
    if c == '\t' { c } else { printable(c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_counted_in_lines_and_characters() {
        let lines = Lines::new("a = 1\nü = \"x\"\n".to_owned());
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(4), (1, 5));
        assert_eq!(lines.position(6), (2, 1));
        assert_eq!(lines.position(11), (2, 5));
        assert_eq!(lines.position(14), (2, 8));
        assert_eq!(lines.position(15), (3, 1));
    }

    #[test]
    fn the_excerpt_marks_the_spot() {
        let lines = Lines::new("a = 1\n\tkey = \"ü\" # x\n".to_owned());
        assert_eq!(lines.excerpt(&(13..17)), " 2 | \tkey = \"ü\" # x\n   | \t      ^^^");
        let end = lines.text.len();
        assert_eq!(lines.excerpt(&(end..end)), " 3 | \n   | ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_spot() {
        let text = format!("a = [{}\"here\"{}]", "\"x\", ".repeat(100), ", \"y\"".repeat(100));
        let at = text.find("\"here\"").unwrap();
        let excerpt = Lines::new(text).excerpt(&(at..at + 6));
        let (shown, below) = excerpt.split_once('\n').unwrap();
        assert!(shown.chars().count() < 120, "{shown}");
        let marked: String =
            shown.chars().zip(below.chars()).filter(|(_, b)| *b == '^').map(|(a, _)| a).collect();
        assert_eq!(marked, "\"here\"");
    }

    #[test]
    fn a_span_over_lines_is_marked_in_its_first() {
        let lines = Lines::new("a = [\n1,\n2]\n".to_owned());
        assert_eq!(lines.excerpt(&(4..10)), " 1 | a = [\n   |     ^");
    }
}
