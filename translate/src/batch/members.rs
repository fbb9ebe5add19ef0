//! Who is in a batch, and what is known of him.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::Change;

/// Most members of one batch, and resources in one list. Lync's users have up to 250 contacts, those of its successors 1,000,
/// few of them with partners of ours.
pub const MAX_MEMBERS: usize = 500;

/// What a member is told of his subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<J> {
    pub state: State,
    /// The document, in the batch's media type, and what has to be judged again if it does not leave at once.
    pub document: Option<(Bytes, J)>,
    /// Why it has ended: name and value of a header field (`ms-diagnostics`).
    pub why: Option<(&'static str, String)>,
}

impl<J> Told<J> {
    /// A state, and nothing beside it.
    pub fn only(state: State) -> Self {
        Self { state, document: None, why: None }
    }
}

/// The state of a member's subscription (RFC 4662 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Active,
    /// With the reason.
    Terminated(&'static str),
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Terminated(_) => "terminated",
        }
    }

    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Terminated(reason) => Some(reason),
            Self::Pending | Self::Active => None,
        }
    }

    /// As a Subscription-State says it; a reason that nobody defined is none.
    pub fn read(state: &nuncio_sip::SubscriptionState<'_>) -> Self {
        const REASONS: [&str; 7] =
            ["deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant"];
        if state.is("active") {
            return Self::Active;
        }
        if !state.is("terminated") {
            return Self::Pending;
        }
        let said = state.reason().unwrap_or_default();
        let known = REASONS.into_iter().find(|reason| reason.eq_ignore_ascii_case(said));
        Self::Terminated(known.unwrap_or("giveup"))
    }
}

/// One of a batch.
#[derive(Debug)]
pub(super) struct Member<J> {
    /// Never given to another one of the same batch.
    pub(super) number: u32,
    pub(super) uri: Box<str>,
    /// Who has been asked and not heard has not decided.
    pub(super) state: State,
    /// The document, until it is in a notification: whoever has made it has it, and makes it again if need be.
    pub(super) document: Option<(Bytes, J)>,
    /// Why it has ended, until that is in a notification.
    pub(super) why: Option<(&'static str, String)>,
    /// The watcher has not been told that.
    pub(super) news: bool,
}

/// Who is in a batch.
#[derive(Debug)]
pub(super) struct Members<J> {
    list: Vec<Member<J>>,
    next_number: u32,
}

/// What became of the members when a list changed them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The numbers of those who are members no more.
    pub gone: Vec<u32>,
    /// The numbers of those whom the list named and who are members, old and new.
    pub named: Vec<u32>,
}

impl<J> Members<J> {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), next_number: 1 }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<J>> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member<J>> {
        self.list.iter_mut()
    }

    pub(super) fn numbered(&mut self, number: u32) -> Option<&mut Member<J>> {
        self.list.iter_mut().find(|member| member.number == number)
    }

    pub(super) fn remove(&mut self, number: u32) -> bool {
        let before = self.list.len();
        self.list.retain(|member| member.number != number);
        self.list.len() < before
    }

    /// How many there would be.
    pub(super) fn count_after(&self, changes: &[Change]) -> usize {
        self.after(changes).len()
    }

    /// Who is a member in the end counts, and not how the list came there: whoever is in it before and after stays who he is.
    pub(super) fn change(&mut self, changes: &[Change]) -> Changed {
        let after = self.after(changes);
        let named = |uri: &str| after.get(uri).copied() == Some(true);
        let numbers = |which: &dyn Fn(&str) -> bool| -> Vec<u32> {
            let those = self.list.iter().filter(|member| which(&member.uri));
            those.map(|member| member.number).collect()
        };
        let gone = numbers(&|uri| !after.contains_key(uri));
        let mut changed = Changed { gone, named: numbers(&named) };
        let mut known: BTreeSet<&str> = self.list.iter().map(|member| &*member.uri).collect();
        let added = changes.iter().filter_map(|change| match change {
            Change::Add(uri) if named(uri) && known.insert(uri) => Some(uri.clone()),
            _ => None,
        });
        let added: Vec<Box<str>> = added.collect();
        self.list.retain(|member| !changed.gone.contains(&member.number));
        for uri in added {
            if self.list.len() >= MAX_MEMBERS {
                break;
            }
            let number = self.next_number;
            self.next_number = number.wrapping_add(1);
            changed.named.push(number);
            let (state, news) = (State::Pending, false);
            self.list.push(Member { number, uri, state, document: None, why: None, news });
        }
        changed
    }

    /// The URIs of all members after these changes, and whether they name them.
    fn after<'a>(&'a self, changes: &'a [Change]) -> BTreeMap<&'a str, bool> {
        let mut after: BTreeMap<&str, bool> = self.list.iter().map(|member| (&*member.uri, false)).collect();
        for change in changes {
            match change {
                Change::Clear => after.clear(),
                Change::Add(uri) => {
                    after.insert(uri, true);
                }
                Change::Remove(uri) => {
                    after.remove(&**uri);
                }
            }
        }
        after
    }
}
