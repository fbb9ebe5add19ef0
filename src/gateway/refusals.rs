//! Refusals by rule, for the audit trail: enough of them to see who was turned away and why, and not so many that whoever is
//! turned away decides what else the trail has room for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::judge::{Direction, Refusal};
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;

use super::Gateway;
use crate::store::AuditEntry;

/// How long the same refusal of the same two users stands for all of its repetitions.
const WINDOW: Duration = Duration::from_secs(3600);
/// Entries of one window and direction about users of one partner, and about all. A whole year of as many as that fills a
/// third of the trail that is kept by default.
const PER_PARTNER: u32 = 10;
const ALL: u32 = 20;

/// Who was refused what.
pub(super) struct Refused<'a> {
    pub(super) sip_user: &'a str,
    pub(super) contact: &'a str,
    /// The contact's domain.
    pub(super) partner: &'a str,
    pub(super) direction: Direction,
    /// In words.
    pub(super) what: &'a str,
    pub(super) refusal: Refusal,
}

impl<'a> Refused<'a> {
    pub(super) fn of(pair: &'a PairKey, direction: Direction, what: &'a str, refusal: Refusal) -> Self {
        let (sip_user, contact, partner) = (pair.sip_user(), pair.contact(), pair.remote_domain());
        Self { sip_user, contact, partner, direction, what, refusal }
    }
}

/// What the trail got of late, in both directions.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    to_xmpp: Mutex<Window>,
    to_sip: Mutex<Window>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Window {
    /// Since the first refusal in it.
    since: Option<Instant>,
    /// Fingerprints of what is in the trail: at most [`ALL`].
    told: Vec<u64>,
    /// By the fingerprint of the partner.
    of_partner: HashMap<u64, u32>,
    left_out: u64,
}

/// What becomes of one refusal.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    told: bool,
    /// So many of the window before are not in the trail.
    left_out: u64,
}

impl Window {
    fn admit(&mut self, refusal: u64, partner: u64, now: Instant) -> Verdict {
        let over = self.since.is_none_or(|since| since + WINDOW <= now);
        let left_out = if over { std::mem::take(self).left_out } else { 0 };
        self.since.get_or_insert(now);
        if self.told.contains(&refusal) {
            return Verdict { told: false, left_out };
        }
        // Nobody is counted who is not told of, so what is counted is bounded.
        let of_partner = self.of_partner.get(&partner).copied().unwrap_or_default();
        let told = self.told.len() < ALL as usize && of_partner < PER_PARTNER;
        if told {
            self.told.push(refusal);
            self.of_partner.insert(partner, of_partner + 1);
        } else {
            self.left_out += 1;
        }
        Verdict { told, left_out }
    }
}

impl Gateway {
    /// Puts it into the audit trail, if there is room for it.
    pub(super) fn audit_refusal(&self, refused: &Refused<'_>, now: Moment) {
        let Refused { sip_user, contact, partner, direction, what, refusal } = *refused;
        self.count_refusal(partner, direction, refusal);
        let refusals = &self.refusals;
        let window = match direction {
            Direction::SipToXmpp => &refusals.to_xmpp,
            Direction::XmppToSip => &refusals.to_sip,
        };
        let same = refusals.hasher.hash_one((sip_user, contact, what, refusal.name()));
        // Whatever a SIP user types is a domain; those that are no partners share their part.
        let listed = refusal != Refusal::UnlistedDomain;
        let partner = refusals.hasher.hash_one(listed.then_some(partner));
        let verdict = window.lock().admit(same, partner, now.instant);
        let entry = |what: &str, subject: String, to: String| AuditEntry {
            at: now.unix(),
            actor: "nuncio".into(),
            what: what.into(),
            subject: subject.into(),
            from: None,
            to: Some(to.into()),
        };
        if verdict.left_out > 0 {
            let count = format!("{} more before this, which only the log may have", verdict.left_out);
            self.store.audit(entry("refused by rule", String::new(), count));
        }
        if verdict.told {
            let rule = format!("{refusal} ({})", refusal.name());
            self.store.audit(entry(what, format!("{sip_user} {contact}"), rule));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Verdict = Verdict { told: true, left_out: 0 };
    const NOT: Verdict = Verdict { told: false, left_out: 0 };

    #[test]
    fn the_same_refusal_is_told_once_in_a_window_and_is_not_left_out() {
        let (mut window, now) = (Window::default(), Instant::now());
        assert_eq!(window.admit(1, 1, now), TOLD);
        assert_eq!(window.admit(1, 1, now + WINDOW - Duration::from_nanos(1)), NOT);
        assert_eq!(window.admit(1, 1, now + WINDOW), TOLD);
    }

    #[test]
    fn one_partner_leaves_room_for_the_others() {
        let (mut window, now) = (Window::default(), Instant::now());
        for refusal in 0..u64::from(PER_PARTNER) {
            assert_eq!(window.admit(refusal, 1, now), TOLD);
        }
        assert_eq!(window.admit(100, 1, now), NOT);
        assert_eq!(window.admit(101, 2, now), TOLD);
    }

    #[test]
    fn all_partners_together_have_their_bound_and_what_is_left_out_is_counted() {
        let (mut window, now) = (Window::default(), Instant::now());
        for refusal in 0..u64::from(ALL) {
            assert_eq!(window.admit(refusal, refusal, now), TOLD);
        }
        for refusal in 1000..1003 {
            assert_eq!(window.admit(refusal, refusal, now), NOT);
        }
        assert_eq!((window.told.len(), window.of_partner.len()), (20, 20));
        assert_eq!(window.admit(1003, 1, now + WINDOW), Verdict { told: true, left_out: 3 });
        assert_eq!(window.admit(1004, 1, now + 2 * WINDOW), TOLD);
    }
}
