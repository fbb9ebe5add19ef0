//! What others do is logged, but how much is not theirs to decide.
//!
//! Whatever a peer can make happen as often as it likes asks here before it becomes a line. In one window each source
//! gets a few lines per cause, and a cause a few more in all; the rest is counted and told in one line at
//! the end of the window: "1,203 more in the last minute from 17 addresses". Memory is bounded by the number
//! of causes, whatever arrives.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::net::origin::Origin;

/// How long lines are counted before the rest is summed up.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Sources told apart in one window of one cause. What comes from further ones is only counted.
pub const MOST_SOURCES: usize = 1024;

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident: $severity:ident, $per_source:literal of $all:literal, $text:literal;)*) => {
        /// What happened. Each has its own budget.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Cause { $($(#[$doc])* $cause,)* }

        impl Cause {
            const ALL: [Self; [$(Self::$cause),*].len()] = [$(Self::$cause),*];

            const fn budget(self) -> Budget {
                match self { $(Self::$cause => Budget { per_source: $per_source, all: $all },)* }
            }

            const fn severity(self) -> Severity {
                match self { $(Self::$cause => Severity::$severity,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$cause => $text,)* }
            }
        }
    };
}

causes! {
    AcceptFailed: Warn, 1 of 1, "connections that could not be accepted";
    ListenerFull: Warn, 2 of 10, "connections closed because a listener had no room for them";
    NotProxied: Warn, 2 of 10, "connections closed because no load balancer of ours said whose they were";
    SipHandshake: Info, 5 of 20, "SIP connections whose TLS handshake failed";
    SipStranger: Warn, 5 of 20, "SIP connections of peers that are no front ends of ours";
    MayBeLost: Info, 30 of 300, "messages that may not have arrived";
    SipGarbage: Warn, 5 of 20, "SIP connections closed because what came was no SIP";
    SipSlow: Info, 5 of 20, "SIP connections closed because nothing arrived whole";
    StreamRefused: Warn, 1 of 20, "streams refused because the domain is no partner";
    StreamOpened: Info, 30 of 300, "inbound streams of partners";
    StreamEnded: Info, 30 of 300, "ends of inbound streams of partners";
    PartnerLost: Info, 5 of 100, "partners whose streams were lost";
    StrangerStreamEnded: Info, 5 of 20, "ends of inbound streams that nobody had authenticated";
    DialbackRefused: Info, 5 of 50, "requests for dialback that were turned down";
    Downgrade: Warn, 1 of 10, "partners refused because they offered less than the certificate they had shown before";
    DialbackBusy: Warn, 1 of 10, "dialback keys that were not verified because too many were";
    DialbackNotOurs: Info, 1 of 10, "questions about dialback keys that are not ours";
    TooManyStreams: Warn, 1 of 10, "streams refused, or not opened, because there were as many as there may be";
    PartnerSlowed: Warn, 1 of 10, "times that a partner sent more than he may and was read more slowly";
    ContactRefused: Info, 10 of 100, "messages of contacts that the rules refused";
    SubscribeRefused: Info, 10 of 100, "SUBSCRIBEs of SIP users that were refused";
    MemberEnded: Info, 10 of 100, "members of subscriptions to lists that are not watched";
    NotifyRefused: Info, 10 of 100, "NOTIFYs of front ends that were refused";
    NothingSeen: Info, 10 of 100, "subscriptions and presence that came to nothing";
    PresenceTooLarge: Info, 10 of 100, "stanzas of presence that were larger than their partners take";
    ContactTurns: Info, 10 of 2000, "changes of contacts' subscriptions, which are missing in the audit trail, too";
    SenderDoubted: Warn, 10 of 100, "requests of senders whom the edge has not verified";
    ContactDeclined: Info, 10 of 100, "messages of contacts that front ends refused";
    ContactFailed: Warn, 10 of 100, "messages of contacts that reached no front end";
    NoticeFailed: Warn, 10 of 100, "failure notices that reached no front end";
    StanzaDropped: Warn, 1 of 10, "stanzas dropped because their stream ended while no answer had room";
    ControlRefused: Warn, 3 of 10, "requests to the control plane that were refused, which are missing in the audit trail, too";
    ForgedId: Info, 1 of 10, "stanza errors whose id fails its check";
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    per_source: u32,
    all: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Info,
    Warn,
}

/// Who makes it happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source<'a> {
    Address(Origin),
    Domain(&'a str),
    /// A user of a partner, by his bare address.
    Contact(&'a str),
    /// Somebody who asks the control plane, as the audit trail calls him.
    Caller(&'a str),
    /// Nobody else: one of our own listeners.
    Listener(&'a str),
}

impl Source<'_> {
    /// What one and several such sources are called.
    const fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Address(_) => ("address", "addresses"),
            Self::Domain(_) => ("domain", "domains"),
            Self::Contact(_) => ("contact", "contacts"),
            Self::Caller(_) => ("caller", "callers"),
            Self::Listener(_) => ("listener", "listeners"),
        }
    }
}

impl From<IpAddr> for Source<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.into())
    }
}

/// What was not said of one cause in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub cause: Cause,
    pub count: u64,
    /// Different sources of what is counted here; [`MOST_SOURCES`] stands for that many or more.
    pub sources: usize,
    /// What one and several of them are called.
    pub nouns: (&'static str, &'static str),
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.sources == 1 { self.nouns.0 } else { self.nouns.1 };
        let or_more = if self.sources >= MOST_SOURCES { " or more" } else { "" };
        let (count, sources) = (grouped(self.count), grouped(self.sources as u64));
        write!(f, "{}: {count} more in the last minute from {sources}{or_more} {noun}", self.cause.text())
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The machine: what may be said, and what has to be summed up when.
#[derive(Debug)]
pub struct LogLimit {
    windows: Vec<Window>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Window {
    cause: Cause,
    /// `None`: nothing happened for a while.
    until: Option<Instant>,
    said: u32,
    /// Lines of each source, and whether something of it was left out. Sources by a hash nobody can foresee.
    sources: HashMap<u64, Seen>,
    left_out: u64,
    left_out_sources: usize,
    nouns: (&'static str, &'static str),
}

#[derive(Debug, Default)]
struct Seen {
    said: u32,
    left_out: bool,
}

impl Default for LogLimit {
    fn default() -> Self {
        let windows = Cause::ALL.into_iter().map(Window::new).collect();
        Self { windows, hasher: RandomState::new() }
    }
}

impl LogLimit {
    /// Whether this may become a line. If not, it is counted.
    pub fn admit(&mut self, cause: Cause, source: Source<'_>, now: Instant) -> Admission {
        let hash = self.hasher.hash_one(source);
        let Some(window) = self.windows.iter_mut().find(|window| window.cause == cause) else {
            return Admission { said: true, summary: None };
        };
        let summary = window.turn(now);
        window.until.get_or_insert(now + WINDOW);
        window.nouns = source.nouns();
        Admission { said: window.admit(hash), summary }
    }

    /// When [`LogLimit::handle_timeout`] has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.windows.iter().filter(|window| window.left_out > 0).filter_map(|window| window.until).min()
    }

    /// What was left out in the windows that are over.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Summary> {
        self.windows.iter_mut().filter_map(|window| window.turn(now)).collect()
    }

    /// What was left out so far: the program ends.
    pub fn finish(&mut self) -> Vec<Summary> {
        self.windows.iter_mut().filter_map(Window::close).collect()
    }
}

/// The answer of [`LogLimit::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// It may become a line.
    pub said: bool,
    /// The window before was over and nobody had asked yet: this comes first.
    pub summary: Option<Summary>,
}

impl Window {
    fn new(cause: Cause) -> Self {
        Self {
            cause,
            until: None,
            said: 0,
            sources: HashMap::new(),
            left_out: 0,
            left_out_sources: 0,
            nouns: ("", ""),
        }
    }

    fn admit(&mut self, source: u64) -> bool {
        let budget = self.cause.budget();
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&source) {
            self.left_out += 1;
            self.left_out_sources = MOST_SOURCES;
            return false;
        }
        let seen = self.sources.entry(source).or_default();
        if self.said < budget.all && seen.said < budget.per_source {
            self.said += 1;
            seen.said += 1;
            return true;
        }
        self.left_out += 1;
        if !std::mem::replace(&mut seen.left_out, true) {
            self.left_out_sources += 1;
        }
        false
    }

    /// Ends the window if its time is over.
    fn turn(&mut self, now: Instant) -> Option<Summary> {
        self.until.is_some_and(|until| until <= now).then(|| self.close())?
    }

    fn close(&mut self) -> Option<Summary> {
        let old = std::mem::replace(self, Self::new(self.cause));
        (old.left_out > 0).then_some(Summary {
            cause: old.cause,
            count: old.left_out,
            sources: old.left_out_sources.min(MOST_SOURCES),
            nouns: old.nouns,
        })
    }
}

/// The machine as all tasks share it.
#[derive(Debug)]
pub struct LogBudget {
    limit: Mutex<LogLimit>,
    wake: Arc<Notify>,
}

impl LogBudget {
    /// `wake` rings when [`LogBudget::deadline`] came closer.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { limit: Mutex::default(), wake }
    }

    /// Whether this may become a line; a summary that is due comes before it.
    pub fn allows<'a>(&self, cause: Cause, source: impl Into<Source<'a>>, now: Instant) -> bool {
        let (admission, sooner) = {
            let mut limit = self.limit.lock();
            let before = limit.deadline();
            let admission = limit.admit(cause, source.into(), now);
            (admission, limit.deadline() != before)
        };
        if sooner {
            self.wake.notify_one();
        }
        admission.summary.iter().for_each(say);
        admission.said
    }

    /// When [`LogBudget::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.limit.lock().deadline()
    }

    /// Says what was left out in the windows that are over.
    pub fn handle_timeout(&self, now: Instant) {
        let summaries = self.limit.lock().handle_timeout(now);
        summaries.iter().for_each(say);
    }

    /// Says what was left out so far.
    pub fn finish(&self) {
        let summaries = self.limit.lock().finish();
        summaries.iter().for_each(say);
    }
}

fn say(summary: &Summary) {
    match summary.cause.severity() {
        Severity::Info => info!("{summary}"),
        Severity::Warn => warn!("{summary}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSE: Cause = Cause::SipStranger;

    fn address(number: u32) -> Source<'static> {
        Source::Address(Origin::V4(number.into()))
    }

    fn said(limit: &mut LogLimit, source: Source<'_>, now: Instant) -> bool {
        limit.admit(CAUSE, source, now).said
    }

    #[test]
    fn a_source_has_its_lines_and_not_one_more() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        let per_source = CAUSE.budget().per_source;
        assert!((0..per_source).all(|_| said(&mut limit, address(1), now)));
        assert!(!said(&mut limit, address(1), now));
        assert!(said(&mut limit, address(2), now), "another source still has its own");
    }

    #[test]
    fn a_cause_has_its_lines_and_not_one_more_whoever_comes() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        let all = CAUSE.budget().all;
        assert_eq!(all, 20);
        assert!((0..all).all(|number| said(&mut limit, address(number), now)));
        assert!(!said(&mut limit, address(all), now));
        assert!(limit.admit(Cause::ListenerFull, address(1), now).said, "another cause has its own");
    }

    #[test]
    fn what_was_left_out_is_summed_up_when_the_window_is_over_and_then_lines_are_said_again() {
        let (mut limit, start) = (LogLimit::default(), Instant::now());
        for round in 0..1_221 {
            said(&mut limit, address(round % 17), start);
        }
        assert_eq!(limit.deadline(), Some(start + WINDOW));
        assert_eq!(limit.handle_timeout(start + WINDOW - Duration::from_millis(1)), []);
        let summaries = limit.handle_timeout(start + WINDOW);
        let text: Vec<_> = summaries.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "SIP connections of peers that are no front ends of ours: 1,201 more in the last minute from 17 addresses"
            ]
        );
        assert_eq!(limit.deadline(), None);
        assert!(said(&mut limit, address(1), start + WINDOW));
    }

    #[test]
    fn nothing_left_out_nothing_summed_up() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        assert!(said(&mut limit, address(1), now));
        assert_eq!(limit.deadline(), None);
        assert_eq!(limit.handle_timeout(now + WINDOW), []);
    }

    #[test]
    fn a_summary_nobody_came_for_is_said_before_the_next_line() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        for _ in 0..=CAUSE.budget().per_source {
            said(&mut limit, Source::Domain("a.example"), now);
        }
        let admission = limit.admit(CAUSE, address(1), now + WINDOW);
        assert!(admission.said);
        assert_eq!(
            admission.summary,
            Some(Summary { cause: CAUSE, count: 1, sources: 1, nouns: ("domain", "domains") })
        );
    }

    #[test]
    fn memory_is_bounded_and_every_event_is_counted() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        let events = 4 * MOST_SOURCES as u32;
        let lines = (0..events).filter(|number| said(&mut limit, address(*number), now)).count();
        let window = limit.windows.iter().find(|window| window.cause == CAUSE).unwrap();
        assert_eq!(window.sources.len(), MOST_SOURCES);
        let summary = limit.finish().remove(0);
        assert_eq!(lines as u64 + summary.count, u64::from(events));
        assert!(summary.to_string().ends_with("from 1,024 or more addresses"), "{summary}");
    }

    #[test]
    fn numbers_are_grouped() {
        let texts = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
