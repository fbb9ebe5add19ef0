//! The demonstration's output: steps, and two texts side by side; coloured on a terminal only.

use std::io::IsTerminal;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const CYAN: &str = "36";
const YELLOW: &str = "33";

/// Narrower columns would tear every line.
const MIN_WIDTH: usize = 100;
const MAX_WIDTH: usize = 180;

/// Writes to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    colour: bool,
    column: usize,
    steps: usize,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// Looks at what standard output is.
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = if terminal { terminal_width() } else { None };
        let width = width.unwrap_or(132).clamp(MIN_WIDTH, MAX_WIDTH);
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { colour, column: (width - 3) / 2, steps: 0 }
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}", self.paint(BOLD, &format!("{}. {title}", self.steps)));
    }

    /// Something that was checked and holds.
    pub fn done(&self, text: &str) {
        println!("   {} {text}", self.paint(GREEN, "✓"));
    }

    /// A remark.
    pub fn note(&self, text: &str) {
        println!("   {}", self.paint(DIM, text));
    }

    /// Two texts beside each other.
    pub fn beside(&self, left: (&str, &str), right: (&str, &str)) {
        let (left_lines, right_lines) = (wrap(left.1, self.column), wrap(right.1, self.column));
        let bar = self.paint(DIM, "│");
        println!(
            "{} {bar} {}",
            self.paint(CYAN, &pad(left.0, self.column)),
            self.paint(YELLOW, &pad(right.0, self.column))
        );
        for row in 0..left_lines.len().max(right_lines.len()) {
            let at = |lines: &[String]| lines.get(row).cloned().unwrap_or_default();
            println!("{} {bar} {}", pad(&at(&left_lines), self.column), at(&right_lines));
        }
    }

    /// The last line.
    pub fn end(&self, text: &str) {
        println!("\n{}", self.paint(GREEN, text));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn terminal_width() -> Option<usize> {
    let output = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .stderr(std::process::Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}

fn pad(text: &str, width: usize) -> String {
    let length = text.chars().count();
    format!("{text}{}", " ".repeat(width.saturating_sub(length)))
}

/// Breaks at line ends, before tags, and where a line is too long; shows every other byte as it is.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.trim_end().replace("\r\n", "\n").replace("><", ">\n<").lines() {
        let mut rest = line;
        while rest.chars().count() > width {
            let limit = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
            // At a space if there is one in the second half.
            let cut = rest[..limit].rfind(' ').filter(|&at| at > limit / 2).map_or(limit, |at| at + 1);
            lines.push(rest[..cut].to_owned());
            rest = &rest[cut..];
        }
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn wraps_without_losing_anything() {
        let text = "MESSAGE sip:b@y SIP/2.0\r\nSubject: a rather long line with ümlauts and wordswithoutanend\r\n\r\nbody";
        let lines = wrap(text, 20);
        assert!(lines.iter().all(|line| line.chars().count() <= 20), "{lines:?}");
        assert_eq!(lines.concat(), text.replace("\r\n", ""));
        assert_eq!(wrap("<a><b/></a>", 20), ["<a>", "<b/>", "</a>"]);
    }
}
