//! Golden transcripts: what a conversation of both sides looks like, SIP beside XMPP, whole messages and nothing left out
//! (docs/mapping.md: sessions, typing, receipts and notifications, subscriptions and what Lync adds to them, batches,
//! diagnostics, what domains and users are asked).
//!
//! Each file of `golden/` holds one: a line that says what it shows, options, rows of the mapping that it is a case of, then
//! sections in their order.
//!
//! - `sip in`, `xmpp in`: what front end and partner send. A response is written without what it copies from its request
//!   (RFC 3261 §8.2.6.2) but CSeq, and is given to the next request with that method, whenever that comes.
//! - `sip out`, `xmpp out`: what they get, each side in its order. When a file ends, nothing else may have come.
//! - `wait 10s`: time passes. Whatever else may happen stands in [`events`].
//!
//! `{name}` stands for something without white space that the gateway chose, and is the same wherever it stands. Lines of
//! SIP end with CRLF, and Content-Length is left out. Lines of XMPP are joined; `⏎` stands for a line feed in text.
//!
//! `BLESS=1` writes what came out into the files; into one that says nothing of what comes out, all of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nuncio_world::sip_text::SipMessage;

use crate::golden_events as events;
use crate::house::{House, Reply};

/// A file, taken apart.
pub(crate) struct Transcript {
    path: PathBuf,
    /// What stands before the first section.
    head: String,
    sections: Vec<(String, String)>,
}

impl Transcript {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut parts = text.split("\n=== ");
        let head = parts.next().unwrap().to_owned();
        let section = |part: &str| {
            let (name, content) = part.split_once('\n').unwrap_or((part, ""));
            (name.trim().to_owned(), content.trim_end_matches('\n').to_owned())
        };
        let sections = parts.map(section).collect();
        Self { path, head, sections }
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    fn write(&self) {
        let mut text = self.head.clone();
        for (name, content) in &self.sections {
            text += &format!("\n=== {name}\n{content}");
            text += if content.is_empty() { "" } else { "\n" };
        }
        std::fs::write(&self.path, text).unwrap();
    }
}

/// What the places in a transcript stand for.
#[derive(Default)]
struct Places {
    found: Vec<(String, String)>,
    /// All that comes in: what stands in it is no choice of the gateway's.
    given: String,
}

impl Places {
    fn fill(&self, text: &str) -> String {
        self.found
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// Whether the text is what the pattern says; places that stood nowhere before are those of this text from then on.
    fn matches(&mut self, pattern: &str, text: &str) -> bool {
        let pattern = self.fill(pattern);
        let Some((literal, rest)) = pattern.split_once('{') else { return pattern == text };
        let Some(text) = text.strip_prefix(literal) else { return false };
        let Some((name, rest)) = rest.split_once('}') else { return false };
        let end = rest.chars().next().map_or(Some(text.len()), |next| text.find(next));
        let Some((value, text)) = end.map(|end| text.split_at(end)) else { return false };
        if value.is_empty() || value.contains(char::is_whitespace) {
            return false;
        }
        self.found.push((name.to_owned(), value.to_owned()));
        self.matches(rest, text)
    }

    /// The text with places for what the gateway has chosen.
    fn bless(&mut self, text: &str) -> String {
        for (before, kind) in [
            ("branch=z9hG4bK", "branch"),
            (";tag=", "tag"),
            ("Call-ID: ", "call"),
            ("Ms-Conversation-ID: ", "conversation"),
            ("o=- ", "origin"),
            ("id='n1.", "id"),
            ("imdn.Message-ID: ", "notification"),
            ("rid='", "rid"),
        ] {
            for (at, _) in text.match_indices(before) {
                let value = &text[at + before.len()..];
                let end = value
                    .find(|next: char| next.is_whitespace() || ";,<>\"'@".contains(next))
                    .unwrap_or(value.len());
                let value = &value[..end];
                let given = self.given.contains(value);
                if !given && value.len() > 5 && !self.found.iter().any(|(_, known)| known == value) {
                    let number = self.found.iter().filter(|(name, _)| name.starts_with(kind)).count() + 1;
                    self.found.push((format!("{kind}{number}"), value.to_owned()));
                }
            }
        }
        self.found
            .iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("{{{name}}}")))
    }
}

/// A response that is due: the method of its request, its first line, fields and body.
struct Due {
    method: String,
    text: String,
}

impl Due {
    fn read(section: &str) -> Self {
        let cseq =
            section.lines().find_map(|line| line.strip_prefix("CSeq: ")).expect("a response has a CSeq");
        let (_, method) = cseq.split_once(' ').expect("a number and a method");
        Self { method: method.to_owned(), text: section.to_owned() }
    }

    fn answer(&self, request: &SipMessage) -> String {
        let (head, body) = self.text.split_once("\n\n").unwrap_or((&self.text, ""));
        let mut lines = head.lines();
        let (_, status) = lines.next().unwrap().split_once(' ').unwrap();
        let (status, reason) = status.split_once(' ').unwrap();
        let fields = lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "CSeq");
        let fields: Vec<(&str, &str)> = fields.collect();
        request.answer_with(status.parse().unwrap(), reason, &fields, &crlf(body)).unwrap()
    }
}

fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// A request as it stands on the wire.
fn request(section: &str) -> String {
    let (head, body) = section.split_once("\n\n").unwrap_or((section, ""));
    // The last line of a description or of parts ends, too; a text has no such line.
    let body = crlf(body);
    format!("{}\r\nContent-Length: {}\r\n\r\n{body}", crlf(head), body.len())
}

/// A message that came out, as it stands in files.
fn shown(message: &SipMessage) -> String {
    let mut text = message.start.clone();
    for (name, value) in message.headers.iter().filter(|(name, _)| name != "Content-Length") {
        text += &format!("\n{name}: {value}");
    }
    if !message.body.is_empty() {
        text += &format!("\n\n{}", message.body.replace("\r\n", "\n").trim_end_matches('\n'));
    }
    text
}

/// What came and was not looked at yet, each side in its order.
#[derive(Default)]
struct Came {
    responses: VecDeque<String>,
    requests: VecDeque<String>,
    stanzas: VecDeque<String>,
}

impl Came {
    fn take(&mut self, house: &mut House, wire: usize) {
        self.responses.extend(house.taken(wire).iter().map(shown));
        self.requests.extend(house.requests().iter().map(shown));
        self.stanzas.extend(house.stanzas("fabrikam.com").into_iter().map(|stanza| stanza.raw));
    }

    /// What a section of that name and content expects next.
    fn next(&mut self, name: &str, content: &str) -> Option<String> {
        match name {
            "xmpp out" => self.stanzas.pop_front(),
            _ if content.starts_with("SIP/2.0 ") => self.responses.pop_front(),
            _ => self.requests.pop_front(),
        }
    }

    /// All of it, as sections.
    fn sections(&mut self, places: &mut Places) -> Vec<(String, String)> {
        let sip = self.responses.drain(..).chain(self.requests.drain(..));
        let sip: Vec<_> = sip.map(|came| ("sip out".to_owned(), places.bless(&came))).collect();
        let xmpp = self.stanzas.drain(..).map(|came| ("xmpp out".to_owned(), in_lines(&places.bless(&came))));
        sip.into_iter().chain(xmpp).collect()
    }
}

/// Plays it, and returns what does not fit.
fn play(transcript: &mut Transcript, bless: bool) -> Vec<String> {
    let mut house = events::house(transcript);
    let wire = house.front_end();
    let is_response =
        |(name, content): &&(String, String)| name == "sip in" && content.starts_with("SIP/2.0 ");
    let due: VecDeque<Due> =
        transcript.sections.iter().filter(is_response).map(|(_, content)| Due::read(content)).collect();
    let due = Rc::new(RefCell::new(due));
    let answers = Rc::clone(&due);
    house.rule = Box::new(move |request| {
        let mut due = answers.borrow_mut();
        let at = due.iter().position(|due| Some(due.method.as_str()) == request.method());
        at.and_then(|at| due.remove(at)).map_or(Reply::Silence, |due| Reply::Raw(due.answer(request)))
    });

    let given = transcript.sections.iter().filter(|(name, _)| name.ends_with(" in"));
    let given = given.map(|(_, content)| content.as_str()).collect();
    let mut places = Places { found: Vec::new(), given };
    let fill = bless && !transcript.sections.iter().any(|(name, _)| name.ends_with(" out"));
    let (mut came, mut wrong, mut played) = (Came::default(), Vec::new(), Vec::new());
    for (name, mut content) in std::mem::take(&mut transcript.sections) {
        let responds = is_response(&&(name.clone(), content.clone()));
        if fill && !responds {
            played.extend(came.sections(&mut places));
        }
        match name.as_str() {
            "sip in" if responds => {}
            "sip in" => house.send(wire, request(&places.fill(&content))),
            "xmpp in" => house.partner_says("fabrikam.com", &joined(&places.fill(&content))),
            "sip out" | "xmpp out" => {
                let found = came.next(&name, &content).unwrap_or_else(|| "nothing".to_owned());
                let expected = if name == "xmpp out" { joined(&content) } else { content.clone() };
                if bless {
                    let blessed = places.bless(&found);
                    content = if name == "xmpp out" { in_lines(&blessed) } else { blessed };
                } else if !places.matches(&expected, &found) {
                    wrong.push(format!("expected\n{}\n— and not\n{found}", places.fill(&expected)));
                }
            }
            event => events::happens(&mut house, event),
        }
        came.take(&mut house, wire);
        played.push((name, content));
    }
    if fill {
        played.extend(came.sections(&mut places));
    }
    transcript.sections = played;
    let more = came.responses.into_iter().chain(came.requests).chain(came.stanzas);
    wrong.extend(more.map(|more| format!("nobody expects\n{more}")));
    wrong.extend(due.borrow().iter().map(|due| format!("this answers nothing:\n{}", due.text)));
    wrong
}

fn joined(section: &str) -> String {
    section.replace('\n', "").replace('⏎', "\n")
}

/// A stanza in lines of a readable length.
fn in_lines(stanza: &str) -> String {
    stanza.replace('\n', "⏎").replace("><", ">\n<")
}

#[test]
fn golden_transcripts() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for path in paths() {
        let mut transcript = Transcript::read(path.clone());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        wrong.extend(play(&mut transcript, bless).into_iter().map(|what| format!("{name}: {what}")));
        if bless {
            transcript.write();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What is never said cannot tell an attacker what to try: with this, [`golden_transcripts`] holds it for all that leaves.
#[test]
fn sip_44_nothing_says_what_program_this_is() {
    for path in paths() {
        for (name, content) in Transcript::read(path.clone()).sections {
            let says = |line: &str| ["Server:", "User-Agent:"].iter().any(|field| line.starts_with(field));
            assert!(name != "sip out" || !content.lines().any(says), "{}: {content}", path.display());
        }
    }
}

fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/answers/golden");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 128, "{}", paths.len());
    paths
}
