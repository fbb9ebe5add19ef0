//! Streams that come and go, and what that says about the contacts of a partner (XI-10).
//!
//! A server that dies takes its users with it and tells nobody. All that is seen of it here is that its streams end without
//! having been closed. So the loss of the last stream in one direction is taken as a sign that what its contacts are known
//! to be may be true no more: whoever is seen as available is asked, and goes on being seen so until he answers, is silent,
//! or the partner is out of reach for too long. The pairs do that; this is when they are told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::Cause;
use tracing::info;

use super::errands::Word;
use super::{Gateway, LaneKey, Pair};
use crate::log_limit::{self, Source};

/// A server that was restarted, or lost its way to us for a moment, has so long to be there again before it is asked.
const SETTLE: Duration = Duration::from_secs(2);
/// Over this time at least everybody is asked, or comes back who waited for a partner.
const RETURN: Duration = Duration::from_secs(5);

/// Whether a stream that was established and ended so was lost: something may have been under way on it, or can be sent no
/// more. Whoever closes it in good order, or because it was idle, has nothing to say and is still there.
pub fn was_lost(cause: &Cause) -> bool {
    match cause {
        // We say so to whoever gives no sign of life.
        Cause::WeClosed(error) => *error == Some(StreamCondition::ConnectionTimeout),
        Cause::PeerClosed => false,
        // Servers say so of a stream on which nothing came for long.
        Cause::PeerError { condition, .. } => *condition != StreamCondition::ConnectionTimeout,
        _ => true,
    }
}

impl Gateway {
    /// The partner has a stream to us on which its stanzas are taken.
    pub fn partner_reaches(&self, local: &str, remote: &str) {
        self.remote(remote).reached(local);
    }

    /// Such a stream has ended.
    pub fn partner_reaches_no_more(&self, local: &str, remote: &str, lost: bool) {
        if self.remote(remote).reached_no_more(local) == 0 && lost {
            self.lane_lost(&LaneKey { local: local.into(), remote: remote.into() });
        }
    }

    /// A stream to the partner is established: what of presence did not arrive before is sent soon.
    pub fn lane_opened(&self, lane: &LaneKey) {
        self.errands.tell(lane, Word::Reached);
    }

    /// A stream to or from the partner has ended, though nobody closed it.
    pub fn lane_lost(&self, lane: &LaneKey) {
        if !self.draining.load(Ordering::SeqCst) && !self.ending.load(Ordering::SeqCst) {
            self.errands.tell(lane, Word::Lost);
        }
    }

    /// An attempt to reach the partner has failed. While it reaches us it is there.
    pub fn lane_unreachable(&self, lane: &LaneKey) {
        if self.known_remote(&lane.remote).is_some_and(|remote| remote.reaching(&lane.local) == 0) {
            self.lane_lost(lane);
        }
    }

    /// The pairs that have to hear it.
    pub(super) fn concerned(&self, lane: &LaneKey, word: Word, now: Moment) -> Vec<PairKey> {
        let Some(remote) = self.known_remote(&lane.remote) else { return Vec::new() };
        if word == Word::Reached {
            return remote.pairs.pairs_of(&lane.local, Pair::waits_for_partner);
        }
        let seen = remote.pairs.pairs_of(&lane.local, Pair::may_be_ghost);
        let source = Source::Domain(&lane.remote);
        if !seen.is_empty() && self.log_budget.allows(log_limit::Cause::PartnerLost, source, now.instant) {
            info!(
                partner = %lane.remote,
                local = %lane.local,
                contacts = seen.len(),
                "the streams of the partner were lost; its available contacts are asked whether they still are"
            );
        }
        seen
    }

    pub(super) fn tell_pair(&self, key: &PairKey, word: Word, within: Duration, now: Moment) {
        self.visit_presence(key, now, |pair, context| match word {
            Word::Reached => pair.reachable(within, context),
            Word::Lost => {
                let share = self.environment.random() as f64 / u64::MAX as f64;
                pair.partner_lost(SETTLE + within.mul_f64(share), context);
            }
        });
    }

    /// The time over which so many pairs do something.
    pub(super) fn spread_over(&self, pairs: usize) -> Duration {
        let each = Duration::from_secs(1) / self.settings.restart_rate.max(1);
        RETURN.max(each.saturating_mul(u32::try_from(pairs).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::stream::Fault;

    use super::*;

    fn said(condition: StreamCondition) -> Cause {
        Cause::PeerError { condition, text: None, other_host: None, application: None }
    }

    #[test]
    fn xi_10_a_stream_is_lost_unless_it_was_closed() {
        for cause in [
            Cause::Disconnected(None),
            said(StreamCondition::SystemShutdown),
            said(StreamCondition::Reset),
            Cause::WeClosed(Some(StreamCondition::ConnectionTimeout)),
            Cause::Fault { condition: StreamCondition::PolicyViolation, fault: Fault::Pipelined },
        ] {
            assert!(was_lost(&cause), "{cause:?}");
        }
        let shutdown = Cause::WeClosed(Some(StreamCondition::SystemShutdown));
        for cause in
            [Cause::PeerClosed, Cause::WeClosed(None), shutdown, said(StreamCondition::ConnectionTimeout)]
        {
            assert!(!was_lost(&cause), "{cause:?}");
        }
    }
}
