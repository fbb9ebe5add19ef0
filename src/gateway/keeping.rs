//! What pairs have to keep, and what waits until it is kept; and what they have to say for log and audit trail.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::judge::Direction;
use nuncio_translate::pair::{AddedEnd, Attempt, Ended, Fact, PairKey, PairRecord};
use parking_lot::Mutex;
use tracing::{debug, error, info};

use super::Gateway;
use super::refusals::Refused;
use super::timers::Due;
use crate::log_limit::{Cause, Source};
use crate::store::{AuditEntry, Failing, Fault, Health, Outcome, Ticket};

/// How long the log stays quiet about a disk that stops answering again and again.
const QUIET: Duration = Duration::from_secs(600);

/// What pairs have given to the store, and how it takes it.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Tickets of the store that pairs wait for, oldest first.
    waiting: VecDeque<Waiting>,
    /// When the store last said anything.
    heard: Option<Instant>,
    /// A timer is going to look after it.
    watched: bool,
    /// It has not said anything for too long: nobody waits for it until it does.
    silence: Option<Silence>,
    /// When the log was told of a silence last.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    stored: Ticket,
    key: PairKey,
    /// What the pair calls it.
    ticket: u64,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Seconds of Unix time.
    since: u64,
    told: bool,
}

impl Keeping {
    /// Records that are not stored yet.
    pub(super) fn outstanding(&self) -> usize {
        self.inner.lock().waiting.len()
    }
}

impl Gateway {
    /// Gives a pair's record to the store. Called under the pair's guard. False: the pair must not wait for it, because
    /// the disk does not answer.
    #[must_use]
    pub(super) fn save(
        &self,
        key: &PairKey,
        ticket: u64,
        record: Option<Box<PairRecord>>,
        now: Moment,
    ) -> bool {
        // Held over both steps, so that the store cannot report the ticket before it stands here.
        let mut inner = self.keeping.inner.lock();
        let stored = match record {
            Some(record) => self.store.save_pair(key, *record),
            None => self.store.forget_pair(key),
        };
        if inner.silence.is_some() {
            return false;
        }
        inner.waiting.push_back(Waiting { stored, key: key.clone(), ticket, since: now.instant });
        self.watch(&mut inner, now);
        true
    }

    /// Somebody other than a pair waits for the store.
    pub(super) fn somebody_waits_for_the_store(&self, now: Moment) {
        let mut inner = self.keeping.inner.lock();
        if inner.silence.is_none() {
            self.watch(&mut inner, now);
        }
    }

    fn watch(&self, inner: &mut Inner, now: Moment) {
        if !std::mem::replace(&mut inner.watched, true) {
            self.timers.schedule(now.instant + self.settings.store_patience, Due::Store);
        }
    }

    /// The store is done with all tickets up to this one.
    pub fn committed(&self, up_to: Ticket, outcome: Outcome, now: Moment) {
        if outcome == Outcome::Unsaved {
            self.counters.store_unsaved.add(1);
        }
        self.pending.committed(up_to, outcome);
        let mut done = Vec::new();
        let silence = {
            let mut inner = self.keeping.inner.lock();
            inner.heard = Some(now.instant);
            while let Some(waiting) = inner.waiting.pop_front_if(|waiting| waiting.stored <= up_to) {
                done.push((waiting.key, waiting.ticket));
            }
            inner.silence.take()
        };
        self.errands.stored(done);
        // If it could not be written, the store itself has said so.
        if let Some(silence) = silence.filter(|silence| silence.told && outcome == Outcome::Saved) {
            let seconds = now.unix().saturating_sub(silence.since);
            info!("the disk of the store answers again, after {seconds} s; what waited is being written");
        }
    }

    /// Looks whether the store has left somebody waiting for too long. A disk that hangs says nothing at all, and is
    /// treated as one that refuses.
    pub(super) fn watch_store(&self, now: Moment) {
        let mut inner = self.keeping.inner.lock();
        inner.watched = false;
        let first = inner.waiting.front().map(|waiting| waiting.since);
        let Some(first) = first.into_iter().chain(self.pending.waits_since()).min() else { return };
        // As long as it writes, however slowly, it is not dead.
        let since = inner.heard.map_or(first, |heard| heard.max(first));
        let due = since + self.settings.store_patience;
        if now.instant < due {
            inner.watched = true;
            return self.timers.schedule(due, Due::Store);
        }
        let passed = now.instant.saturating_duration_since(since);
        let told = inner.told.is_none_or(|told| now.instant >= told + QUIET);
        inner.silence = Some(Silence { since: now.unix().saturating_sub(passed.as_secs()), told });
        if told {
            inner.told = Some(now.instant);
        }
        let let_go: Vec<_> = inner.waiting.drain(..).map(|waiting| (waiting.key, waiting.ticket)).collect();
        drop(inner);
        self.counters.store_unsaved.add(1);
        if told {
            error!(
                waiting = let_go.len(),
                "{}. The gateway goes on from memory, and writes as soon as the disk answers; what it could not write \
                 until it ends is lost",
                does_not_answer(passed.as_secs())
            );
        }
        self.errands.stored(let_go);
    }

    /// How the store is.
    pub fn store_health(&self, now: Moment) -> Health {
        let mut health = self.store.health();
        if let (None, Some(silence)) = (&health.failing, self.keeping.inner.lock().silence) {
            let text = does_not_answer(now.unix().saturating_sub(silence.since));
            health.failing =
                Some(Failing { fault: Fault::Silent, evidence: String::new(), text, since: silence.since });
        }
        health
    }

    /// Something an administrator may want to know of a pair.
    pub(super) fn note(&self, key: &PairKey, fact: Fact, now: Moment) {
        let Told { what, detail, who } = tell(&fact);
        // Conversations come and go; what is worth a line is said of their messages.
        if self.count_session(key, &fact, now) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            let id = self.id_of_pair(key);
            return debug!(%id, %user, %contact, "{what} {}", detail.unwrap_or_default());
        }
        if let Fact::Refused { what: attempt, refusal } = fact {
            let direction = match attempt {
                Attempt::UserSubscribes | Attempt::UserWatched => Direction::SipToXmpp,
                Attempt::ContactSubscribes
                | Attempt::ContactProbes
                | Attempt::ContactAppears
                | Attempt::ContactWaited => Direction::XmppToSip,
            };
            self.audit_refusal(&Refused::of(key, direction, what.trim_end_matches(':'), refusal), now);
        }
        // What contacts do is theirs to repeat; how much of it is kept, and what of others' it drives out, is not.
        let heard = |cause, source| self.log_budget.allows(cause, source, now.instant);
        let heard = match (&who, contact_repeats(&fact)) {
            (None, _) => heard(Cause::NothingSeen, Source::Domain(key.remote_domain())),
            (Some(_), true) => heard(Cause::ContactTurns, Source::Contact(key.contact())),
            (Some(_), false) => true,
        };
        if !heard {
            return;
        }
        let words = detail.as_ref().map_or_else(|| what.to_owned(), |detail| format!("{what} {detail}"));
        let id = self.id_of_pair(key);
        info!(%id, user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()), "{words}");
        let Some(who) = who else { return };
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
            to: detail.map(Into::into),
        });
    }
}

/// Whether a contact can make it happen as often as he likes: he asks, is let in by a front end that asks nobody, and takes
/// it back.
fn contact_repeats(fact: &Fact) -> bool {
    matches!(fact, Fact::Kept | Fact::ContactSees(_) | Fact::ContactSeesNoMore(Ended::ByContact))
}

fn does_not_answer(seconds: u64) -> String {
    format!(
        "the disk of the store has not answered for {seconds} s; dmesg may say why, and \"findmnt -T\" with node.state_dir \
         what it is on: a network disk whose server is gone does this"
    )
}

/// A fact in words.
struct Told {
    what: &'static str,
    detail: Option<String>,
    /// Who did it. It belongs into the audit trail then; what nobody did only into the log.
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
                Attempt::UserSubscribes => "subscription of a SIP user refused:",
                Attempt::ContactSubscribes => "subscription of a contact refused:",
                Attempt::ContactProbes => "probe of a contact refused:",
                Attempt::ContactAppears => "presence of a contact refused:",
                Attempt::UserWatched => "subscription of a SIP user ended by a rule:",
                Attempt::ContactWaited => "waiting request of a contact ended by a rule:",
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
        Fact::AddedEnded(AddedEnd::Forgotten) => told(
            "the contact does not count as added any more",
            Some("(the domain is not in the configuration any more)".into()),
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
        Fact::Undecided => {
            told("request of a contact dropped: the SIP user did not decide on it in time", None, None)
        }
        Fact::MixedScripts => told(
            "request of a contact dropped: his address mixes scripts and may be made to look like another's \
             (policy.mixed_scripts)",
            None,
            None,
        ),
        Fact::TooManyRequests => told(
            "request of a contact dropped: too many in an hour (limits.presence.requests_per_…)",
            None,
            None,
        ),
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
        Fact::TurnedAway { status } => {
            let said = status.map_or_else(|| "rejected".to_owned(), |status| format!("status {status}"));
            told("request of a contact refused by a front end; he is not told:", Some(said), None)
        }
        Fact::Silent { status } => {
            let status = status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
            told("the front end cannot be asked for the SIP user's presence:", Some(status), None)
        }
        Fact::SessionBegan => told("session established", None, None),
        Fact::SessionEnded(end) => told("session over:", Some(format!("{end:?}")), None),
        Fact::SessionRefused { status } => {
            let said =
                status.map_or_else(|| "accepted without use".to_owned(), |status| format!("status {status}"));
            told("session refused, messages go alone:", Some(said), None)
        }
    }
}

fn why(ended: &Ended) -> String {
    match ended {
        Ended::ByContact => "(the contact wanted it)".to_owned(),
        Ended::ByFrontEnd => "(the front end ended it)".to_owned(),
        Ended::ByRule(refusal) => format!("({refusal}: {})", refusal.name()),
        Ended::ByHand => "(an administrator ended it)".to_owned(),
        Ended::Undeliverable => "(the partner could not be reached, or returned the request)".to_owned(),
        Ended::TooLarge => "(the partner takes no stanza as large as the request)".to_owned(),
    }
}

fn by(ended: &Ended, front_end: Actor) -> Actor {
    match ended {
        Ended::ByContact => Actor::Contact,
        Ended::ByFrontEnd => front_end,
        Ended::ByRule(_) | Ended::ByHand | Ended::Undeliverable | Ended::TooLarge => Actor::Gateway,
    }
}
