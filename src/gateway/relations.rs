//! Who has added whom, and who sees whom: for administrators.

use std::collections::BTreeSet;

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
    /// The pairs with more between them than messages whose addresses are wanted, in the order of their addresses, the first `most`
    /// after the one between these two. Walks all pairs, and keeps no more than it gives: not for a thread that carries messages.
    pub fn relations(
        &self,
        most: usize,
        after: Option<(String, String)>,
        wanted: impl Fn(&Relation) -> bool,
    ) -> Vec<Relation> {
        let comes_after = |key: &PairKey| {
            after.as_ref().is_none_or(|(user, contact)| {
                (key.sip_user(), key.contact()) > (user.as_str(), contact.as_str())
            })
        };
        let remotes: Vec<_> = self.remotes.iter().map(|remote| std::sync::Arc::clone(&remote)).collect();
        let mut list = BTreeSet::new();
        for remote in remotes {
            for key in remote.pairs.keys().into_iter().filter(comes_after) {
                let relation = remote.pairs.look(key.as_str(), |pair| Relation::of(&key, pair));
                list.extend(relation.filter(|relation| !relation.is_nothing() && wanted(relation)));
                if list.len() > most {
                    list.pop_last();
                }
            }
        }
        list.into_iter().collect()
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

#[cfg(test)]
mod tests {
    use nuncio_translate::pair::PairRecord;

    use super::super::testing::{gateway_on, moment};
    use super::*;
    use crate::store::{Keep, Memory};

    #[test]
    fn page_after_page_gives_each_relation_once_and_in_order() {
        let before = Memory::new();
        // A contact may have several users, and a user several contacts.
        for number in 0..25 {
            let key = PairKey::new(
                &format!("u{}@contoso.example", number % 4),
                &format!("c{number}@fabrikam.example"),
            );
            before.save_pair(
                &key,
                PairRecord {
                    sip_user_wrote: Some(moment().unix()),
                    from: From::Yes,
                    ..PairRecord::default()
                },
            );
        }
        before.commit(usize::MAX);
        let gateway = gateway_on(before.crash().into(), "contoso.example", "fabrikam.example");
        gateway.restore(moment()).unwrap();
        let all = gateway.relations(usize::MAX, None, |_| true);
        assert!(all.len() == 25 && all.is_sorted());
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = gateway.relations(10, after, |_| true);
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 10);
            after = Some((last.sip_user.clone(), last.contact.clone()));
            pages.extend(page);
        }
        assert_eq!(pages, all);
    }
}
