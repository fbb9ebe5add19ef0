//! One attempt, while it is made and afterwards.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nuncio_translate::Moment;
use nuncio_translate::text::LogWhole;
use nuncio_xmpp::stream::{ChainStatus, Direction, Established, Note, PeerFeatures, TlsFacts};

use crate::dns::{Candidate, Found};

/// Steps of one attempt that are kept.
pub const MAX_STEPS: usize = 64;
/// Bytes that they may take. A step that would be too many is left out as a whole.
pub const MAX_BYTES: usize = 64 * 1024;
/// Texts of one step that are kept: addresses, names.
const MAX_LIST: usize = 32;

/// What became of one attempt to open a stream.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub direction: Direction,
    /// The domain of ours, as far as it is known.
    pub local: String,
    /// The partner's domain: the one to reach, or the one it claimed or proved to be.
    pub remote: String,
    /// The address it came from; on outbound attempts each step names its own.
    pub peer: Option<String>,
    /// When it began, in milliseconds of Unix time.
    pub began_ms: u64,
    /// How long it took.
    pub took: Duration,
    /// What happened, each with the time since the beginning.
    pub steps: Vec<(Duration, Step)>,
    /// Steps that were too many to keep.
    pub left_out: usize,
    pub outcome: Outcome,
    /// How the stream ended that came of it.
    pub end: Option<String>,
}

/// A step of an attempt. Its texts are ours and kept whole, for what to do stands at their end: what peers wrote was
/// shortened where it was read (`PeerText`, names of certificates, names in DNS), and everything is made harmless when it
/// is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// DNS, or the configuration, gave these addresses, in the order of trying.
    Found { addresses: Vec<String>, left_out: Vec<String> },
    /// It gave none.
    NotFound(String),
    /// An address that is not tried.
    Skipped { address: String, why: String },
    /// A connection was made.
    Connected { address: String, took: Duration },
    /// None was made.
    NotConnected { address: String, took: Duration, why: String },
    /// TLS was negotiated.
    Tls { version: String, cipher: String, chain: String, names: Vec<String> },
    /// It was not.
    NoTls(String),
    /// A dialback key of the partner was checked with his own server, or could not be.
    KeyChecked(String),
    /// No stream came of the connection.
    NoStream { address: String, why: String },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a stream, authenticated in this way, and if the entry allows better, why not so; the partner offers these
    /// features, and this is worth knowing besides.
    Established { method: String, features: Vec<String>, notes: Vec<String> },
    /// Without.
    Failed(String),
}

impl Step {
    /// What a search for addresses found.
    pub fn found(found: &Found) -> Self {
        Self::Found { addresses: texts(&found.candidates), left_out: texts(&found.left_out) }
    }

    pub fn connected(candidate: &Candidate, took: Duration) -> Self {
        Self::Connected { address: candidate.to_string(), took }
    }

    pub fn not_connected(candidate: &Candidate, took: Duration, why: impl fmt::Display) -> Self {
        Self::NotConnected { address: candidate.to_string(), took, why: why.to_string() }
    }

    /// What TLS showed.
    pub fn tls(facts: &TlsFacts) -> Self {
        Self::Tls {
            version: facts.protocol.to_string(),
            cipher: facts.cipher.to_string(),
            chain: match &facts.chain {
                ChainStatus::Trusted => "the chain holds".to_owned(),
                ChainStatus::Absent => "no certificate was presented".to_owned(),
                ChainStatus::Untrusted(why) => why.to_string(),
            },
            names: texts(&facts.names),
        }
    }

    /// What came of a dialback key.
    pub fn key_checked(what: impl fmt::Display) -> Self {
        Self::KeyChecked(what.to_string())
    }

    fn size(&self) -> usize {
        let list = |list: &[String]| list.iter().map(|text| size_of::<String>() + text.len()).sum::<usize>();
        size_of::<(Duration, Self)>()
            + match self {
                Self::Found { addresses, left_out } => list(addresses) + list(left_out),
                Self::NotFound(text) | Self::NoTls(text) | Self::KeyChecked(text) => text.len(),
                Self::Connected { address, .. } => address.len(),
                Self::Skipped { address, why }
                | Self::NotConnected { address, why, .. }
                | Self::NoStream { address, why } => address.len() + why.len(),
                Self::Tls { version, cipher, chain, names } => {
                    version.len() + cipher.len() + chain.len() + list(names)
                }
            }
    }
}

impl Outcome {
    /// A stream.
    pub fn established(established: &Established) -> Self {
        let notes = established.other_notes().map(Note::to_string).collect();
        Self::Established {
            method: established.how().to_string(),
            features: offered(&established.features),
            notes,
        }
    }

    /// An established stream that may be used for further domains.
    pub fn extended(method: impl fmt::Display) -> Self {
        Self::Established { method: method.to_string(), features: Vec::new(), notes: Vec::new() }
    }

    fn size(&self) -> usize {
        match self {
            Self::Established { method, features, notes } => {
                let lists = features.iter().chain(notes);
                method.len() + lists.map(|text| size_of::<String>() + text.len()).sum::<usize>()
            }
            Self::Failed(why) => why.len(),
        }
    }
}

impl Attempt {
    /// The stream that came of it has ended.
    pub(super) fn ended(&mut self, why: &str) {
        self.end = Some(why.to_owned());
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let steps: usize = self.steps.iter().map(|(_, step)| step.size()).sum();
        let texts = self.local.len() + self.remote.len();
        let optional = self.peer.as_ref().map_or(0, String::len) + self.end.as_ref().map_or(0, String::len);
        size_of::<Self>() + texts + optional + steps + self.outcome.size()
    }
}

/// Notes the steps of an attempt that is under way.
#[derive(Debug)]
pub struct Recorder {
    attempt: Attempt,
    began: Instant,
    /// What the steps take.
    bytes: usize,
}

impl Recorder {
    /// We try to reach `remote`.
    pub fn outbound(local: &str, remote: &str, now: Moment) -> Self {
        Self::new(Direction::Outbound, local.to_owned(), remote.to_owned(), None, now)
    }

    /// Somebody connected to us.
    pub fn inbound(peer: impl fmt::Display, now: Moment) -> Self {
        Self::new(Direction::Inbound, String::new(), String::new(), Some(peer.to_string()), now)
    }

    fn new(direction: Direction, local: String, remote: String, peer: Option<String>, now: Moment) -> Self {
        let attempt = Attempt {
            direction,
            local,
            remote,
            peer,
            began_ms: now.unix_ms,
            took: Duration::ZERO,
            steps: Vec::new(),
            left_out: 0,
            outcome: Outcome::Failed(String::new()),
            end: None,
        };
        Self { attempt, began: now.instant, bytes: 0 }
    }

    /// Who it is between, as far as that is known.
    pub fn between(&mut self, local: &str, remote: &str) {
        (self.attempt.local, self.attempt.remote) = (local.to_owned(), remote.to_owned());
    }

    pub fn step(&mut self, step: Step, now: Instant) {
        let bytes = self.bytes + step.size();
        if self.attempt.steps.len() < MAX_STEPS && bytes <= MAX_BYTES {
            self.bytes = bytes;
            self.attempt.steps.push((now.saturating_duration_since(self.began), step));
        } else {
            self.attempt.left_out += 1;
        }
    }

    /// How long it has taken.
    pub fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    pub fn finish(mut self, outcome: Outcome, now: Instant) -> Attempt {
        self.attempt.took = self.took(now);
        self.attempt.outcome = outcome;
        // What was grown for more is given back: it is kept for long.
        self.attempt.steps.shrink_to_fit();
        self.attempt
    }
}

impl fmt::Display for Attempt {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = LogWhole(if self.local.is_empty() { "?" } else { &self.local });
        let remote = LogWhole(if self.remote.is_empty() { "?" } else { &self.remote });
        match self.direction {
            Direction::Outbound => write!(f, "{}, {local} to {remote}", time(self.began_ms))?,
            Direction::Inbound => {
                let peer = self.peer.as_deref().unwrap_or("?");
                write!(f, "{}, {remote} at {peer} to {local}", time(self.began_ms))?;
            }
        }
        match &self.outcome {
            Outcome::Established { method, features, notes } => {
                write!(f, ": stream after {} by {}", brief(self.took), LogWhole(method))?;
                if !features.is_empty() {
                    write!(f, "; offered: {}", Joined(features))?;
                }
                if !notes.is_empty() {
                    write!(f, "; noted: {}", Joined(notes))?;
                }
            }
            Outcome::Failed(why) => write!(f, ": no stream after {}: {}", brief(self.took), LogWhole(why))?,
        }
        for (after, step) in &self.steps {
            write!(f, "; [{}] {step}", brief(*after))?;
        }
        if self.left_out > 0 {
            write!(f, "; and {} more steps", self.left_out)?;
        }
        match &self.end {
            Some(end) => write!(f, "; ended: {}", LogWhole(end)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { addresses, left_out } => {
                write!(f, "to try: {}", Joined(addresses))?;
                if !left_out.is_empty() {
                    write!(f, " (left out: {})", Joined(left_out))?;
                }
                Ok(())
            }
            Self::NotFound(why) => write!(f, "no address: {}", LogWhole(why)),
            Self::Skipped { address, why } => write!(f, "{} not tried: {}", LogWhole(address), LogWhole(why)),
            Self::Connected { address, took } => {
                write!(f, "connected to {} in {}", LogWhole(address), brief(*took))
            }
            Self::NotConnected { address, took, why } => {
                write!(f, "no connection to {} in {}: {}", LogWhole(address), brief(*took), LogWhole(why))
            }
            Self::Tls { version, cipher, chain, names } => {
                write!(f, "{version} with {cipher}, {}, names: {}", LogWhole(chain), Joined(names))
            }
            Self::NoTls(why) => write!(f, "no TLS: {}", LogWhole(why)),
            Self::KeyChecked(what) => write!(f, "dialback key {}", LogWhole(what)),
            Self::NoStream { address, why } => {
                write!(f, "no stream at {}: {}", LogWhole(address), LogWhole(why))
            }
        }
    }
}

/// The names of what a partner offers.
fn offered(features: &PeerFeatures) -> Vec<String> {
    let known = [
        (features.dialback, "dialback"),
        (features.bidi, "bidirectional streams"),
        (features.stream_management, "stream management"),
        (features.limits != Default::default(), "limits"),
    ];
    let known = known.iter().filter(|(there, _)| *there).map(|(_, name)| (*name).to_owned());
    known.chain(texts(&features.mechanisms)).collect()
}

/// Texts of a list, each harmless by itself.
struct Joined<'a>(&'a [String]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, LogWhole(text))?;
        }
        if self.0.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

fn texts<T: fmt::Display>(list: &[T]) -> Vec<String> {
    let mut texts: Vec<String> = list.iter().take(MAX_LIST).map(T::to_string).collect();
    if let Some(more @ 1..) = list.len().checked_sub(MAX_LIST) {
        texts.push(format!("and {more} more"));
    }
    texts
}

/// A duration for people: `12 ms`, `3.4 s`.
pub(crate) fn brief(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ ..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

fn time(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::Domain;
    use nuncio_xmpp::stream::{Cause, Evidence, PresentedName};

    use super::*;

    fn begin() -> Moment {
        Moment { instant: Instant::now(), unix_ms: 1_795_184_285_000 }
    }

    #[test]
    fn an_attempt_reads_as_one_line() {
        let now = begin();
        let at = |ms| now.instant + Duration::from_millis(ms);
        let mut recorder = Recorder::outbound("contoso.com", "fabrikam.com", now);
        let (first, second) = ("a.example ([2001:db8::1]:5269)", "a.example (192.0.2.1:5269)");
        let addresses = vec![first.to_owned(), second.to_owned()];
        recorder.step(Step::Found { addresses, left_out: Vec::new() }, at(12));
        let took = Duration::from_millis(1);
        let why = "Connection refused".to_owned();
        recorder.step(Step::NotConnected { address: first.to_owned(), took, why }, at(13));
        recorder.step(Step::Connected { address: second.to_owned(), took }, at(14));
        let tls = TlsFacts {
            chain: ChainStatus::Untrusted("it expired".into()),
            names: [].into(),
            protocol: "TLSv1.3".into(),
            cipher: "AES".into(),
            expires_ms: None,
        };
        recorder.step(Step::tls(&tls), at(30));
        let attempt = recorder.finish(Outcome::Failed("not proved".to_owned()), at(1_500));
        assert_eq!(
            attempt.to_string(),
            "2026-11-20 14:18:05 UTC, contoso.com to fabrikam.com: no stream after 1.5 s: not proved; [12 ms] to try: \
             a.example ([2001:db8::1]:5269), a.example (192.0.2.1:5269); [13 ms] no connection to \
             a.example ([2001:db8::1]:5269) in 1 ms: Connection refused; [14 ms] connected to \
             a.example (192.0.2.1:5269) in 1 ms; [30 ms] TLSv1.3 with AES, it expired, names: none"
        );
    }

    #[test]
    fn sec_35_what_a_peer_wrote_makes_no_line_of_its_own() {
        let mut recorder = Recorder::inbound("192.0.2.1:4711", begin());
        recorder.between("contoso.com", "evil\nfabrikam.com");
        let failed = Outcome::Failed("he said:\r\nERROR all is lost \u{202e}".to_owned());
        let line = recorder.finish(failed, Instant::now()).to_string();
        assert!(!line.contains(['\n', '\r', '\u{202e}']), "{line:?}");
    }

    #[test]
    fn steps_and_lists_have_a_limit() {
        let now = begin();
        let mut recorder = Recorder::outbound("a", "b", now);
        for _ in 0..=MAX_STEPS {
            recorder.step(Step::NoTls("x".to_owned()), now.instant);
        }
        let attempt = recorder.finish(Outcome::Failed("y".to_owned()), now.instant);
        assert_eq!((attempt.steps.len(), attempt.left_out), (MAX_STEPS, 1));

        let mut recorder = Recorder::outbound("a", "b", now);
        let room = MAX_BYTES - Step::key_checked("").size();
        recorder.step(Step::key_checked("x".repeat(room)), now.instant);
        recorder.step(Step::key_checked(""), now.instant);
        let attempt = recorder.finish(Outcome::Failed("y".to_owned()), now.instant);
        assert_eq!(
            (attempt.steps.len(), attempt.left_out),
            (1, 1),
            "as much as there is room for, and one past it"
        );

        assert_eq!(texts(&["x"; MAX_LIST + 2]).last().map(String::as_str), Some("and 2 more"));
        assert_eq!(texts(&["x"; MAX_LIST]).len(), MAX_LIST);
    }

    /// As much as a peer can write into one: what to do still stands at the end.
    #[test]
    fn the_advice_at_the_end_of_the_evidence_is_never_cut_off() {
        let evidence = Evidence {
            direction: Direction::Inbound,
            local: None,
            remote: Domain::parse("fabrikam.example").ok(),
            step: nuncio_xmpp::stream::Step::Authentication,
            cause: Cause::Certificate {
                wanted: Domain::parse("fabrikam.example").unwrap(),
                chain: ChainStatus::Untrusted("it expired".into()),
                names: vec![PresentedName::Dns("x".repeat(60_000).into()); 99].into(),
            },
            notes: Vec::new(),
            retry: None,
            redirect: None,
        };
        let now = begin();
        let mut recorder = Recorder::inbound("192.0.2.1:4711", now);
        recorder.step(Step::key_checked(&evidence), now.instant);
        let attempt = recorder.finish(Outcome::Failed(evidence.to_string()), now.instant);
        let line = attempt.to_string();
        let advice = "ask them to renew it, or add the root that signed it";
        assert_eq!(line.matches(advice).count(), 2, "{line}");
        assert!(line.contains("x…, x") && attempt.size() < 16 * 1024, "{} bytes: {line}", attempt.size());
    }
}
