//! What became of the latest attempts to open streams with each partner, step by step: the evidence for whoever asks why
//! a partner cannot be reached, or how he was.
//!
//! Kept in memory only, and little of it: for each partner the latest few of each direction, those that came to a stream
//! apart from those that did not, so that failures, which anybody can provoke under a partner's name, push no success
//! out. All together they have a budget; when it is used up, the oldest goes.

mod record;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use compact_str::CompactString;
use nuncio_xmpp::stream::Direction;

pub(crate) use record::brief;
pub use record::{Attempt, MAX_BYTES, MAX_STEPS, Outcome, Recorder, Step};

use super::Gateway;

/// Attempts of one partner kept at most, for each direction, successes and failures apart.
pub const KEPT: usize = 5;
/// Bytes that all of them may take.
pub const BYTES: usize = 16 * 1024 * 1024;

/// Names a kept attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId(u64);

/// The latest attempts of all partners.
#[derive(Debug)]
pub struct Attempts {
    /// By age: the oldest first.
    kept: BTreeMap<AttemptId, Kept>,
    by_partner: HashMap<CompactString, [VecDeque<AttemptId>; 4]>,
    next: u64,
    bytes: usize,
    budget: usize,
}

#[derive(Debug)]
struct Kept {
    partner: CompactString,
    attempt: Arc<Attempt>,
}

impl Attempts {
    /// None yet; all together may take `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self { kept: BTreeMap::new(), by_partner: HashMap::new(), next: 0, bytes: 0, budget }
    }

    /// Keeps an attempt of a partner.
    pub fn add(&mut self, partner: &str, attempt: Attempt) -> AttemptId {
        let id = AttemptId(self.next);
        self.next += 1;
        self.bytes += attempt.size();
        let lists = self.by_partner.entry(partner.into()).or_default();
        if let Some(list) = lists.get_mut(shelf(&attempt)) {
            list.push_back(id);
            if list.len() > KEPT
                && let Some(oldest) = list.front().copied()
            {
                self.remove(oldest);
            }
        }
        self.kept.insert(id, Kept { partner: partner.into(), attempt: Arc::new(attempt) });
        while self.bytes > self.budget
            && let Some((oldest, _)) = self.kept.first_key_value()
        {
            self.remove(*oldest);
        }
        id
    }

    /// The stream that came of an attempt has ended.
    pub fn ended(&mut self, id: AttemptId, why: &str) {
        if let Some(kept) = self.kept.get_mut(&id) {
            let before = kept.attempt.size();
            Arc::make_mut(&mut kept.attempt).ended(why);
            self.bytes += kept.attempt.size().saturating_sub(before);
        }
    }

    /// Those of one partner, the latest first.
    pub fn of(&self, partner: &str) -> Vec<Arc<Attempt>> {
        let ids = self.by_partner.get(partner).into_iter().flatten().flatten();
        let mut ids: Vec<_> = ids.copied().collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.iter().filter_map(|id| self.kept.get(id)).map(|kept| Arc::clone(&kept.attempt)).collect()
    }

    /// The partners of whom there are any, by name.
    pub fn partners(&self) -> Vec<CompactString> {
        let mut partners: Vec<_> = self.by_partner.keys().cloned().collect();
        partners.sort_unstable();
        partners
    }

    fn remove(&mut self, id: AttemptId) {
        let Some(Kept { partner, attempt }) = self.kept.remove(&id) else { return };
        self.bytes -= attempt.size();
        let Some(lists) = self.by_partner.get_mut(&partner) else { return };
        lists.iter_mut().for_each(|list| list.retain(|kept| *kept != id));
        if lists.iter().all(VecDeque::is_empty) {
            self.by_partner.remove(&partner);
        }
    }
}

/// Which of a partner's lists it belongs to.
fn shelf(attempt: &Attempt) -> usize {
    let direction = match attempt.direction {
        Direction::Inbound => 0,
        Direction::Outbound => 2,
    };
    direction + usize::from(matches!(attempt.outcome, Outcome::Failed(_)))
}

impl Gateway {
    /// Keeps what became of an attempt with a partner. Strangers have only a place among the refused domains.
    pub fn keep_attempt(&self, remote: &str, attempt: Attempt) -> Option<AttemptId> {
        let took = matches!(attempt.outcome, Outcome::Established { .. }).then_some(attempt.took);
        self.count_attempt(remote, attempt.direction, took);
        let policy = self.policy();
        let partner = policy.partner(remote)?;
        Some(self.attempts.lock().add(&partner.domain, attempt))
    }

    /// The stream that came of it has ended.
    pub fn attempt_ended(&self, id: Option<AttemptId>, why: &str) {
        if let Some(id) = id {
            self.attempts.lock().ended(id, why);
        }
    }

    /// The latest attempts with a partner, by his primary domain, the latest first.
    pub fn attempts_with(&self, partner: &str) -> Vec<Arc<Attempt>> {
        self.attempts.lock().of(partner)
    }

    /// The partners with whom there were any lately.
    pub fn attempted_partners(&self) -> Vec<CompactString> {
        self.attempts.lock().partners()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use nuncio_translate::Moment;

    use super::super::testing::gateway_of;
    use super::*;

    fn attempt(direction: Direction, text: &str, failed: bool) -> Attempt {
        let now = Moment { instant: Instant::now(), unix_ms: 0 };
        let recorder = match direction {
            Direction::Inbound => Recorder::inbound("192.0.2.1:4711", now),
            Direction::Outbound => Recorder::outbound("contoso.example", "fabrikam.example", now),
        };
        let outcome = if failed { Outcome::Failed(text.to_owned()) } else { Outcome::extended(text) };
        recorder.finish(outcome, now.instant + Duration::from_secs(1))
    }

    fn outcomes(attempts: &Attempts, partner: &str) -> Vec<String> {
        let text = |attempt: &Arc<Attempt>| match &attempt.outcome {
            Outcome::Established { method, .. } => method.clone(),
            Outcome::Failed(why) => why.clone(),
        };
        attempts.of(partner).iter().map(text).collect()
    }

    #[test]
    fn the_latest_of_each_kind_stay_and_failures_push_no_success_out() {
        let mut attempts = Attempts::new(BYTES);
        attempts.add("a.example", attempt(Direction::Inbound, "success", false));
        attempts.add("a.example", attempt(Direction::Outbound, "out", true));
        for n in 0..=KEPT {
            attempts.add("a.example", attempt(Direction::Inbound, &n.to_string(), true));
        }
        // One more failure than is kept: the first one went.
        assert_eq!(outcomes(&attempts, "a.example"), ["5", "4", "3", "2", "1", "out", "success"]);
        assert_eq!(outcomes(&attempts, "b.example"), [""; 0]);
    }

    #[test]
    fn when_the_budget_is_used_up_the_oldest_of_all_goes() {
        let size = attempt(Direction::Outbound, "x", true).size();
        let mut attempts = Attempts::new(2 * size);
        attempts.add("a.example", attempt(Direction::Outbound, "1", true));
        attempts.add("b.example", attempt(Direction::Outbound, "2", true));
        assert_eq!(attempts.partners(), ["a.example", "b.example"]);
        attempts.add("b.example", attempt(Direction::Outbound, "3", true));
        assert_eq!((attempts.partners(), attempts.bytes), (vec!["b.example".into()], 2 * size));
        assert_eq!(outcomes(&attempts, "b.example"), ["3", "2"]);
    }

    #[test]
    fn how_a_stream_ended_is_added_to_how_it_began() {
        let mut attempts = Attempts::new(BYTES);
        let id = attempts.add("a.example", attempt(Direction::Outbound, "SASL EXTERNAL", false));
        attempts.ended(id, "the partner closed it");
        assert_eq!(attempts.of("a.example")[0].end.as_deref(), Some("the partner closed it"));
        attempts.remove(id);
        assert_eq!(attempts.bytes, 0, "what was added is counted");
        attempts.ended(id, "too late");
    }

    #[test]
    fn only_partners_attempts_are_kept_by_the_primary_domain() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        assert!(gateway.keep_attempt("stranger.example", attempt(Direction::Inbound, "x", true)).is_none());
        assert!(gateway.keep_attempt("fabrikam.example", attempt(Direction::Inbound, "x", true)).is_some());
        assert_eq!(gateway.attempted_partners(), ["fabrikam.example"]);
        assert_eq!(gateway.attempts_with("fabrikam.example").len(), 1);
    }
}
