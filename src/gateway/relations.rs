//! Who has added whom, and who sees whom: for administrators.

use nuncio_translate::Moment;
use nuncio_translate::pair::{From, PairKey, To};
use serde::Serialize;

use super::{Gateway, Pair};

/// What there is between a SIP user and a contact, beside messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Relation {
    pub sip_user: String,
    pub contact: String,
    /// Seconds of Unix time since which the SIP user has added the contact; absent: he has not.
    pub added_since: Option<u64>,
    /// His last SUBSCRIBE.
    pub last_subscribe: Option<u64>,
    /// Whether the SIP user sees the contact: `no`, `pending`, `yes`.
    pub user_sees: &'static str,
    /// Whether the contact sees the SIP user: the same, or `kept`, until the user adds him.
    pub contact_sees: &'static str,
    /// Subscriptions of the SIP user's endpoints.
    pub endpoints: usize,
}

impl Relation {
    fn of(key: &PairKey, pair: &Pair) -> Self {
        let added = pair.consent().added;
        Self {
            sip_user: key.sip_user().to_owned(),
            contact: key.contact().to_owned(),
            added_since: added.map(|added| added.since),
            last_subscribe: added.map(|added| added.last_subscribe),
            user_sees: match pair.to() {
                To::No => "no",
                To::Pending => "pending",
                To::Yes => "yes",
            },
            contact_sees: match pair.from() {
                From::No => "no",
                From::Kept => "kept",
                From::Pending => "pending",
                From::Yes => "yes",
            },
            endpoints: pair.endpoints(),
        }
    }
}

impl Gateway {
    /// The pairs with more between them than messages whose addresses are wanted, in their order, at most `most`. Walks all pairs:
    /// not for a thread that carries messages.
    pub fn relations(&self, most: usize, wanted: impl Fn(&Relation) -> bool) -> Vec<Relation> {
        let remotes: Vec<_> = self.remotes.iter().map(|remote| std::sync::Arc::clone(&remote)).collect();
        let mut list = Vec::new();
        for remote in remotes {
            for key in remote.pairs.keys() {
                let relation = remote.pairs.look(key.as_str(), |pair| Relation::of(&key, pair));
                list.extend(relation.filter(|relation| !relation.is_nothing() && wanted(relation)));
            }
        }
        list.sort_unstable();
        list.truncate(most);
        list
    }

    /// The administrator takes back that the SIP user added the contact, both as bare JIDs. What follows from it happens at once.
    /// `None`: nothing is known of the two; false: the user had not added him.
    pub fn take_back_consent(&self, sip_user: &str, contact: &str, now: Moment) -> Option<bool> {
        let key = PairKey::new(sip_user, contact);
        let remote = self.known_remote(key.remote_domain())?;
        let added = remote.pairs.look(key.as_str(), |pair| pair.consent().added.is_some())?;
        if added {
            self.remove_consent(&key, now);
        }
        Some(added)
    }
}

impl Relation {
    fn is_nothing(&self) -> bool {
        self.added_since.is_none()
            && self.endpoints == 0
            && [self.user_sees, self.contact_sees].into_iter().all(|state| state == "no")
    }
}
