//! Presence of a pair on which a step failed: it goes on as after a restart, from what a restart would have found.

use std::time::Duration;

use nuncio_translate::Moment;
use nuncio_translate::pair::{Budget, PairKey, Rescued};
use tracing::error;

use super::Gateway;
use super::port::Bells;
use super::presence::reply_to;
use super::timers::Due;

/// When it takes up its work. If that fails again, and again, it does so at this pace.
const AFTER: Duration = Duration::from_secs(10);

impl Gateway {
    pub(super) fn revive(&self, composed: &str, mut rescued: Rescued, now: Moment) {
        let key = PairKey::from_composed(composed);
        self.let_go(&key, &mut rescued, now);
        let remote = self.remote(key.remote_domain());
        let done = remote.pairs.with_pair(composed, &self.settings.pair, &self.timers, now, |key, pair| {
            self.in_context(key, now, |context| {
                pair.revive(*rescued.record, context);
                self.run_presence(pair, context, &mut Bells::default());
            });
        });
        match done {
            Ok(()) => self.timers.schedule(now.instant + AFTER, Due::Resume(key)),
            Err(lost) => {
                error!(id = %self.id_of_pair(&key), contact = %self.shown(key.contact()),
                    "the presence of a pair cannot be taken up again (see the panic above); it can after a restart");
                if let Some(mut presence) = lost.presence {
                    self.let_go(&key, &mut presence, now);
                }
            }
        }
    }

    /// What it held beyond itself is free again, and nobody waits for it.
    fn let_go(&self, key: &PairKey, rescued: &mut Rescued, now: Moment) {
        for tag in rescued.tags.drain(..) {
            self.dialogs.release(&tag);
        }
        for place in rescued.places.drain(..) {
            (&self.places).give_back(key, place);
        }
        for asked in rescued.asked.drain(..) {
            self.answers().refused(reply_to(asked), self.internal_error(), now);
        }
    }
}
