//! Sessions as an administrator sees them, and the dialogs with front ends that he ends by hand.

use std::collections::BTreeSet;
use std::time::Instant;

use nuncio_sip::Fields;
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::pair::{PairKey, SessionView};
use serde::Serialize;

use super::Gateway;

/// One session of instant messages between a SIP user and a contact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SessionShown {
    pub sip_user: String,
    pub contact: String,
    /// Seconds of Unix time.
    pub since: u64,
    /// Names it: the tag that is ours in its dialog.
    pub id: String,
    pub call_id: String,
    /// The front end that holds its dialog; absent: any of them.
    pub front_end: Option<String>,
    /// Who began it: `user` or `contact`.
    pub begun_by: &'static str,
    /// `inviting`, `established`, `ending`.
    pub state: &'static str,
    /// Seconds since something was said in it.
    pub idle: u64,
    /// Messages of the SIP user that went in it.
    pub from_user: u32,
    /// Messages of the contact.
    pub from_contact: u32,
}

/// Which of the two subscriptions of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhoSees {
    /// The SIP user's endpoints, who see the contact.
    User,
    /// The contact, who sees the SIP user.
    Contact,
}

impl SessionShown {
    fn of(key: &PairKey, view: SessionView, now: Instant) -> Self {
        Self {
            sip_user: key.sip_user().to_owned(),
            contact: key.contact().to_owned(),
            since: view.began_ms / 1000,
            id: view.tag.into(),
            call_id: view.call_id,
            front_end: view.front_end.map(Into::into),
            begun_by: if view.of_contact { "contact" } else { "user" },
            state: view.state.as_str(),
            idle: now.saturating_duration_since(view.last_used).as_secs(),
            from_user: view.from_user,
            from_contact: view.from_contact,
        }
    }
}

impl Gateway {
    /// The sessions that are wanted, by pair and age, the first `most`. Walks all pairs, and keeps no more than it gives: not for a
    /// thread that carries messages.
    pub fn sessions_shown(
        &self,
        most: usize,
        wanted: impl Fn(&SessionShown) -> bool,
        now: Moment,
    ) -> Vec<SessionShown> {
        let remotes: Vec<_> = self.remotes.iter().map(|remote| std::sync::Arc::clone(&remote)).collect();
        let mut list = BTreeSet::new();
        for remote in remotes {
            for key in remote.pairs.keys() {
                let views = remote.pairs.look(key.as_str(), super::Pair::session_views).unwrap_or_default();
                let shown = views.into_iter().map(|view| SessionShown::of(&key, view, now.instant));
                for session in shown.filter(|session| wanted(session)) {
                    list.insert(session);
                    if list.len() > most {
                        list.pop_last();
                    }
                }
            }
        }
        list.into_iter().collect()
    }

    /// Ends a session with BYE, or with CANCEL if the SIP user has not accepted it yet. Whose it was; `None`: there is none of
    /// this name that has not ended.
    pub fn close_session(&self, id: &str, now: Moment) -> Option<PairKey> {
        let key = self.dialogs.pair_of(id)?;
        let why = "an administrator has ended the session; a new one is not refused";
        // RFC 3326: no status says it, for a new request would be taken.
        let parting =
            |identity| Fields::from([self.parting_word(&key, Diagnostic::ClosedByHand, why, identity)]);
        let mut closed = false;
        self.visit_session(&key, now, |pair, context| closed = pair.close_session(id, parting, context));
        closed.then_some(key)
    }

    /// Ends one of the two subscriptions between a SIP user and a contact, both as bare JIDs. `None`: nothing is known of the
    /// two; false: there is no such subscription.
    pub fn close_subscription(
        &self,
        sip_user: &str,
        contact: &str,
        who: WhoSees,
        now: Moment,
    ) -> Option<bool> {
        let key = PairKey::new(sip_user, contact);
        self.known_remote(key.remote_domain())?.pairs.look(key.as_str(), |_| ())?;
        let mut closed = false;
        self.visit_session(&key, now, |pair, context| {
            closed = match who {
                WhoSees::User => pair.user_closed(context),
                WhoSees::Contact => pair.contact_closed(context),
            };
        });
        Some(closed)
    }
}
