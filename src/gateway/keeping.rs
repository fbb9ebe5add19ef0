//! What pairs have to keep, and what waits until it is kept; and what they have to say for log and audit trail.

use std::collections::VecDeque;

use nuncio_translate::Moment;
use nuncio_translate::pair::{AddedEnd, Attempt, Ended, Fact, PairKey, PairRecord};
use parking_lot::Mutex;
use tracing::{debug, info};

use super::Gateway;
use crate::log_limit::{Cause, Source};
use crate::store::{AuditEntry, Health, Outcome, Ticket};

/// Tickets of the store that pairs wait for, oldest first.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    waiting: Mutex<VecDeque<(Ticket, PairKey, u64)>>,
}

impl Keeping {
    /// Records that are not stored yet.
    pub(super) fn outstanding(&self) -> usize {
        self.waiting.lock().len()
    }
}

impl Gateway {
    /// Gives a pair's record to the store. Called under the pair's guard.
    pub(super) fn save(&self, key: &PairKey, ticket: u64, record: Option<Box<PairRecord>>) {
        // Held over both steps, so that the store cannot report the ticket before it stands here.
        let mut waiting = self.keeping.waiting.lock();
        let stored = match record {
            Some(record) => self.store.save_pair(key, *record),
            None => self.store.forget_pair(key),
        };
        waiting.push_back((stored, key.clone(), ticket));
    }

    /// The store is done with all tickets up to this one.
    pub fn committed(&self, up_to: Ticket, outcome: Outcome, now: Moment) {
        if outcome == Outcome::Unsaved {
            self.counters.store_unsaved.add(1);
        }
        let mut done = Vec::new();
        {
            let mut waiting = self.keeping.waiting.lock();
            while waiting.front().is_some_and(|(stored, ..)| *stored <= up_to) {
                done.extend(waiting.pop_front());
            }
        }
        let keys = done.iter().map(|(_, key, ticket)| (key, *ticket));
        self.visit_all(keys, now, |pair, _, ticket| pair.committed(ticket));
    }

    /// How the store is.
    pub fn store_health(&self) -> Health {
        self.store.health()
    }

    /// Something an administrator may want to know of a pair.
    pub(super) fn note(&self, key: &PairKey, fact: Fact, now: Moment) {
        let Told { what, detail, who } = tell(&fact);
        let detail = detail.as_deref().unwrap_or_default();
        match who {
            None if matches!(fact, Fact::Refused { .. }) => {
                // What contacts try is theirs to repeat.
                let source = Source::Domain(key.remote_domain());
                if self.log_budget.allows(Cause::ContactRefused, source, now.instant) {
                    info!(user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()), "{what}: {detail}");
                }
            }
            None => {
                debug!(user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()), "{what} {detail}")
            }
            Some(who) => {
                info!(user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()), "{what} {detail}");
                let actor = match who {
                    Actor::SipUser => key.sip_user(),
                    Actor::Contact => key.contact(),
                    Actor::Gateway => "nuncio",
                };
                self.store.audit(AuditEntry {
                    at: now.unix(),
                    actor: actor.into(),
                    what: what.into(),
                    subject: format!("{} {}", key.sip_user(), key.contact()).into(),
                    from: None,
                    to: (!detail.is_empty()).then(|| detail.into()),
                });
            }
        }
    }
}

/// A fact in words.
struct Told {
    what: &'static str,
    detail: Option<String>,
    /// Who did it, if it belongs into the audit trail.
    who: Option<Actor>,
}

enum Actor {
    SipUser,
    Contact,
    Gateway,
}

fn tell(fact: &Fact) -> Told {
    let told = |what, detail: Option<String>, who| Told { what, detail, who };
    match fact {
        Fact::Refused { what, refusal } => {
            let what = match what {
                Attempt::UserSubscribes => "subscription of a SIP user refused",
                Attempt::ContactSubscribes => "subscription of a contact refused",
                Attempt::ContactProbes => "probe of a contact refused",
                Attempt::ContactAppears => "presence of a contact refused",
            };
            told(what, Some(format!("{refusal} ({})", refusal.name())), None)
        }
        Fact::Added(rule) => {
            told("the SIP user added the contact", Some(format!("({rule})")), Some(Actor::SipUser))
        }
        Fact::AddedEnded(AddedEnd::Lapsed) => told(
            "the contact does not count as added any more",
            Some("(no SUBSCRIBE for too long)".into()),
            Some(Actor::Gateway),
        ),
        Fact::AddedEnded(AddedEnd::Removed) => told(
            "the contact does not count as added any more",
            Some("(removed)".into()),
            Some(Actor::Gateway),
        ),
        Fact::Kept => {
            told("request of a contact kept until the SIP user adds him", None, Some(Actor::Contact))
        }
        Fact::NotKept => told("request of a contact dropped: too many of them are kept", None, None),
        Fact::KeptEnded => {
            told("kept request of a contact dropped: the SIP user did not add him in time", None, None)
        }
        Fact::ContactSees(rule) => {
            told("the contact may see the SIP user", Some(format!("({rule})")), Some(Actor::SipUser))
        }
        Fact::ContactSeesNoMore(ended) => told(
            "the contact may not see the SIP user any more",
            Some(why(ended)),
            Some(by(ended, Actor::SipUser)),
        ),
        Fact::UserSees => told("the SIP user may see the contact", None, Some(Actor::Contact)),
        Fact::UserSeesNoMore(ended) => told(
            "the SIP user may not see the contact any more",
            Some(why(ended)),
            Some(by(ended, Actor::Contact)),
        ),
        Fact::NoPlace => told("no subscription at the front end: there are too many", None, None),
        Fact::Silent { status } => {
            let status = status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
            told("the front end cannot be asked for the SIP user's presence:", Some(status), None)
        }
    }
}

fn why(ended: &Ended) -> String {
    match ended {
        Ended::ByContact => "(the contact wanted it)".to_owned(),
        Ended::ByFrontEnd => "(the front end ended it)".to_owned(),
        Ended::ByRule(refusal) => format!("({refusal}: {})", refusal.name()),
        Ended::Undeliverable => "(the partner could not be reached, or returned the request)".to_owned(),
    }
}

fn by(ended: &Ended, front_end: Actor) -> Actor {
    match ended {
        Ended::ByContact => Actor::Contact,
        Ended::ByFrontEnd => front_end,
        Ended::ByRule(_) | Ended::Undeliverable => Actor::Gateway,
    }
}
