//! Pairs that could not tell their partner something: they are called as soon as he proves that he is there again.

use std::collections::HashSet;

use dashmap::DashMap;
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;

use super::{Gateway, LaneKey};

/// By lane. A pair stands here once, however much it lost.
#[derive(Debug, Default)]
pub(super) struct Lost(DashMap<LaneKey, HashSet<PairKey>>);

impl Gateway {
    /// The pair sends again after a back-off, or when the partner is [reached](Gateway::reached) before.
    pub(super) fn remember_lost(&self, key: &PairKey) {
        let lane = LaneKey { local: key.local_domain().into(), remote: key.remote_domain().into() };
        self.lost.0.entry(lane).or_default().insert(key.clone());
    }

    /// The partner has proved that he processes what is sent on this lane. The pairs spread what they then send.
    pub(super) fn reached(&self, local: &str, remote: &str, now: Moment) {
        if self.lost.0.is_empty() {
            return;
        }
        let lane = LaneKey { local: local.into(), remote: remote.into() };
        let Some((_, pairs)) = self.lost.0.remove(&lane) else { return };
        for key in pairs {
            self.visit_presence(&key, now, |pair, context| pair.reachable(context));
        }
    }
}
