use compact_str::CompactString;
use smallvec::SmallVec;

use super::MAX_RESOURCES;
use super::disclosure::Disclosure;
use super::model::{Presentity, Resource};

/// What a contact has been shown of a SIP user: names of resources, and a fingerprint of what was sent for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: CompactString,
    /// Of the stanza, or [`UNKNOWN`].
    print: u64,
}

/// What the contact saw is not known, so that it is sent again.
const UNKNOWN: u64 = 0;

/// One stanza for the contact; [`to_xmpp::write_update`](super::to_xmpp::write_update) writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update<'a> {
    /// The resource is available, like this.
    Available {
        /// The resource as the contact sees it; empty: the bare JID.
        name: CompactString,
        /// Its state.
        resource: &'a Resource,
    },
    /// The resource is gone; others are not.
    Unavailable {
        /// The resource as the contact saw it.
        name: CompactString,
    },
    /// Everything is gone: from the bare JID (PM-21). The resource says why, if one does.
    AllUnavailable {
        /// The closed tuple.
        resource: Option<&'a Resource>,
    },
}

impl Update<'_> {
    /// The resource the stanza comes from, empty for the bare JID: a newer stanza of the same one makes this one
    /// superfluous, and [`Shown::lost`] wants to know it.
    pub fn name(&self) -> &str {
        match self {
            Self::Available { name, .. } | Self::Unavailable { name } => name,
            Self::AllUnavailable { .. } => "",
        }
    }
}

/// What one change leads to.
pub type Updates<'a> = SmallVec<[Update<'a>; 2]>;

impl Shown {
    /// The resources under which a contact sees the user, from a record; what exactly he saw is not known.
    pub fn from_names(names: impl IntoIterator<Item = CompactString>) -> Self {
        Self(names.into_iter().map(|name| Entry { name, print: UNKNOWN }).collect())
    }

    /// The resources under which the contact sees the user as available: for the record.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &CompactString> {
        self.0.iter().map(|entry| &entry.name)
    }

    /// The contact sees the user under that resource. What he sends to any other one is not for anybody (PM-28).
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|entry| entry.name == name)
    }

    /// The contact sees the user as unavailable.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the contact is to be sent so that he sees `now`, as far as `disclosure` lets him; it counts as shown from here
    /// on. Nothing if he sees it already.
    pub fn update<'a>(&mut self, now: &'a Presentity, disclosure: Disclosure) -> Updates<'a> {
        let open: SmallVec<[(&Resource, CompactString); 2]> = now
            .open()
            .take(MAX_RESOURCES)
            .map(|resource| (resource, disclosure.name(&resource.id)))
            .collect();
        let mut updates = Updates::new();
        if open.is_empty() {
            if !self.0.is_empty() {
                self.0.clear();
                let says_something = |resource: &&Resource| disclosure.of(resource).texts().next().is_some();
                updates.push(Update::AllUnavailable { resource: now.resources.iter().find(says_something) });
            }
            return updates;
        }
        let mut gone = Updates::new();
        self.0.retain(|entry| {
            let stays = open.iter().any(|(_, name)| *name == entry.name);
            if !stays {
                gone.push(Update::Unavailable { name: entry.name.clone() });
            }
            stays
        });
        // From the bare JID it counts for all resources, so the others must come after it, all of them (RFC 6121 §4.5.4).
        if let Some(at) = gone.iter().position(|update| update.name().is_empty()) {
            updates.push(gone.remove(at));
            self.0.iter_mut().for_each(|entry| entry.print = UNKNOWN);
        }
        for (resource, name) in open {
            let print = disclosure.of(resource).print();
            match self.0.iter_mut().find(|entry| entry.name == name) {
                Some(entry) if entry.print == print => continue,
                Some(entry) => entry.print = print,
                None => {
                    self.0.reserve_exact(1);
                    self.0.push(Entry { name: name.clone(), print });
                }
            }
            updates.push(Update::Available { name, resource });
        }
        // Who moves from one resource to another is never seen as gone.
        updates.extend(gone);
        updates
    }

    /// What an available contact who asks is to be sent: everything, whether he has seen it or not (PR-14, XI-05). Also
    /// takes back what is no longer so.
    pub fn all<'a>(&mut self, now: &'a Presentity, disclosure: Disclosure) -> Updates<'a> {
        self.0.iter_mut().for_each(|entry| entry.print = UNKNOWN);
        self.update(now, disclosure)
    }

    /// Takes everything back: one `unavailable` for each resource (XI-06, XI-07). Afterwards nothing is shown.
    pub fn withdraw(&mut self) -> Updates<'static> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|entry| Update::Unavailable { name: entry.name })
            .collect()
    }

    /// The stanza for that resource did not arrive for sure: the next [`Shown::update`] sends the state of then.
    pub fn lost(&mut self, name: &str) {
        match self.0.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.print = UNKNOWN,
            None => self.0.push(Entry { name: name.into(), print: UNKNOWN }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::{Availability, Notes, Show, Veil};

    fn resource(id: &str, availability: Availability) -> Resource {
        Resource::new(id, availability)
    }

    fn open(ids: &[&str]) -> Presentity {
        Presentity { resources: ids.iter().map(|id| resource(id, Availability::Open)).collect() }
    }

    fn closed(ids: &[&str]) -> Presentity {
        Presentity { resources: ids.iter().map(|id| resource(id, Availability::Closed)).collect() }
    }

    /// `+name`, `-name`, `--` for all.
    fn told(updates: &[Update<'_>]) -> Vec<String> {
        let word = |update: &Update<'_>| match update {
            Update::Available { name, .. } => format!("+{name}"),
            Update::Unavailable { name } => format!("-{name}"),
            Update::AllUnavailable { .. } => "--".into(),
        };
        updates.iter().map(word).collect()
    }

    fn full(shown: &mut Shown, now: &Presentity) -> Vec<String> {
        told(&shown.update(now, Disclosure::Full))
    }

    #[test]
    fn pm_20_a_tuple_that_vanished_is_unavailable_and_unchanged_ones_are_silent() {
        let mut shown = Shown::default();
        assert_eq!(full(&mut shown, &open(&["a", "b"])), ["+a", "+b"]);
        assert_eq!(full(&mut shown, &open(&["b"])), ["-a"]);
        assert_eq!(full(&mut shown, &open(&["b"])), [""; 0]);
        assert_eq!(shown.names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn pm_20_a_new_resource_comes_before_the_old_one_goes() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a"]));
        assert_eq!(full(&mut shown, &open(&["b"])), ["+b", "-a"]);
    }

    #[test]
    fn pm_21_all_closed_and_no_tuples_are_unavailable_from_the_bare_jid_once() {
        for gone in [closed(&["a", "b"]), Presentity::default()] {
            let mut shown = Shown::default();
            full(&mut shown, &open(&["a", "b"]));
            assert_eq!(full(&mut shown, &gone), ["--"]);
            assert_eq!(full(&mut shown, &gone), [""; 0]);
            assert!(shown.is_empty());
        }
    }

    #[test]
    fn pr_04_who_was_never_shown_is_not_taken_back() {
        assert_eq!(full(&mut Shown::default(), &closed(&["a"])), [""; 0]);
    }

    #[test]
    fn one_closed_of_two_is_unavailable_alone() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a", "b"]));
        let mut now = open(&["a", "b"]);
        now.resources[0].availability = Availability::Closed;
        assert_eq!(full(&mut shown, &now), ["-a"]);
    }

    #[test]
    fn every_visible_change_is_sent() {
        let mut shown = Shown::default();
        let mut now = open(&["a"]);
        full(&mut shown, &now);
        let changes: [fn(&mut Resource); 5] = [
            |resource| resource.show = Some(Show::Away),
            |resource| resource.priority = Some(0),
            |resource| resource.set_activity(None, Some("reading")),
            |resource| resource.set_idle_since(Some(1)),
            |resource| {
                let mut notes = Notes::default();
                notes.add(None, "note");
                resource.set_notes(notes);
            },
        ];
        for change in changes {
            change(&mut now.resources[0]);
            assert_eq!(full(&mut shown, &now), ["+a"], "{now:?}");
            now.resources[0].set_updated_ms(Some(5));
            assert_eq!(full(&mut shown, &now), [""; 0], "{now:?}");
        }
    }

    #[test]
    fn what_a_public_partner_may_not_see_is_no_change_for_him() {
        let (mut shown, mut now) = (Shown::default(), open(&["Room 7"]));
        let first = told(&shown.update(&now, Disclosure::BasicOnly(Veil::default())));
        assert_eq!(first.len(), 1);
        assert!(!first[0].contains("Room"), "{first:?}");
        now.resources[0].set_activity(None, Some("reading"));
        now.resources[0].set_idle_since(Some(1));
        assert_eq!(told(&shown.update(&now, Disclosure::BasicOnly(Veil::default()))), [""; 0]);
    }

    #[test]
    fn a_partner_who_becomes_public_sees_another_resource() {
        let (mut shown, now) = (Shown::default(), open(&["a"]));
        full(&mut shown, &now);
        let name = Disclosure::BasicOnly(Veil::default()).name("a");
        assert_eq!(
            told(&shown.update(&now, Disclosure::BasicOnly(Veil::default()))),
            [format!("+{name}"), "-a".into()]
        );
    }

    #[test]
    fn what_was_lost_is_sent_as_it_is_then() {
        let (mut shown, now) = (Shown::default(), open(&["a", "b"]));
        full(&mut shown, &now);
        shown.lost("a");
        assert_eq!(full(&mut shown, &now), ["+a"]);
        full(&mut shown, &open(&["a"]));
        shown.lost("b");
        assert_eq!(full(&mut shown, &open(&["a"])), ["-b"]);
    }

    #[test]
    fn a_bare_unavailable_that_was_lost_does_not_hide_who_came_back() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a"]));
        full(&mut shown, &closed(&["a"]));
        shown.lost("");
        assert_eq!(full(&mut shown, &open(&["a"])), ["-", "+a"]);
        assert_eq!(full(&mut shown, &open(&["a"])), [""; 0]);
    }

    #[test]
    fn after_a_restart_everything_is_sent_again() {
        let mut shown = Shown::from_names(["a".into(), "b".into()]);
        assert_eq!(full(&mut shown, &open(&["a"])), ["+a", "-b"]);
    }

    #[test]
    fn xi_05_who_asks_is_told_everything() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a", "b"]));
        assert_eq!(told(&shown.all(&open(&["a", "b"]), Disclosure::Full)), ["+a", "+b"]);
    }

    #[test]
    fn xi_06_withdrawing_is_one_unavailable_for_each_resource() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a", "b"]));
        assert_eq!(told(&shown.withdraw()), ["-a", "-b"]);
        assert!(shown.is_empty());
    }

    #[test]
    fn no_more_resources_are_shown_than_the_limit() {
        let names: Vec<_> = (0..=MAX_RESOURCES).map(|number| number.to_string()).collect();
        let ids: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(full(&mut Shown::default(), &open(&ids[..MAX_RESOURCES])).len(), MAX_RESOURCES);
        assert_eq!(full(&mut Shown::default(), &open(&ids)).len(), MAX_RESOURCES);
    }

    #[test]
    fn pm_28_only_what_is_shown_is_there() {
        let mut shown = Shown::default();
        full(&mut shown, &open(&["a"]));
        assert!(shown.has("a") && !shown.has("b"));
    }
}
