use super::MAX_RESOURCES;
use super::from_xmpp::Report;
use super::model::{Availability, Presentity, Resource};

impl Presentity {
    /// Takes in what a contact's stanza says, presence sent to this user alone included (PM-27). True if that changed
    /// anything a watcher can see.
    ///
    /// A resource that closed stays until something else changes, so that one document says so; the last ones stay, because
    /// a user who can be reached nowhere is something else than one of whom nothing is known.
    pub fn report(&mut self, report: Report) -> bool {
        let Report { resource, state } = report;
        match (resource, state.availability) {
            (_, Availability::Open) => self.opened(state),
            (Some(_), Availability::Closed) => self.closed(state),
            (None, Availability::Closed) => self.all_closed(&state),
        }
    }

    /// Takes in a document, which is full state (PM-20): what it does not mention is gone. A tuple whose timestamp is older
    /// than the one known of it stays as it is known (PD-05).
    pub fn supersede(&mut self, document: Self) {
        let known = std::mem::replace(self, document);
        for old in known.resources {
            let newer = |new: &&mut Resource| new.id == old.id && new.updated_ms() < old.updated_ms();
            if let Some(new) = self.resources.iter_mut().filter(|new| new.updated_ms().is_some()).find(newer)
            {
                *new = old;
            }
        }
    }

    /// The subscription that told this has ended. Another one may be answered by another clock, and what its documents
    /// leave out is not to be found in those of this one.
    pub fn outlive_subscription(&mut self) {
        for resource in &mut self.resources {
            resource.set_updated_ms(None);
            resource.set_part(None);
        }
    }

    fn opened(&mut self, state: Resource) -> bool {
        let known = self.resource(&state.id);
        if known == Some(&state) {
            return false;
        }
        self.resources
            .retain(|resource| resource.availability == Availability::Open && resource.id != state.id);
        if self.resources.len() == MAX_RESOURCES {
            // The one not heard of for longest; most likely a ghost.
            self.resources.remove(0);
        }
        self.resources.reserve_exact(1);
        self.resources.push(state);
        true
    }

    fn closed(&mut self, state: Resource) -> bool {
        let Some(at) = self.resources.iter().position(|resource| resource.id == state.id) else {
            // Of one who was never there only the first word is news: that he is nowhere.
            let news = self.resources.is_empty();
            if news {
                self.resources.push(state);
            }
            return news;
        };
        let Some(known) = self.resources.get_mut(at).filter(|known| **known != state) else { return false };
        let id = state.id.clone();
        *known = state;
        if self.is_open() {
            self.resources
                .retain(|resource| resource.availability == Availability::Open || resource.id == id);
        }
        true
    }

    /// From the bare JID it counts for all resources (PR-45).
    fn all_closed(&mut self, state: &Resource) -> bool {
        if self.resources.is_empty() {
            self.resources.push(state.clone());
            return true;
        }
        let mut changed = false;
        for resource in self.resources.iter_mut().filter(|r| r.availability == Availability::Open) {
            let id = std::mem::take(&mut resource.id);
            *resource = state.clone();
            resource.id = id;
            changed = true;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::Show;

    fn report(resource: Option<&str>, availability: Availability) -> Report {
        let state = Resource::new(resource.unwrap_or_default(), availability);
        Report { resource: resource.map(Into::into), state }
    }

    fn open(resource: &str) -> Report {
        report(Some(resource), Availability::Open)
    }

    fn closed(resource: &str) -> Report {
        report(Some(resource), Availability::Closed)
    }

    /// `a+` open, `a-` closed.
    fn state(presentity: &Presentity) -> String {
        let word = |resource: &Resource| {
            let sign = if resource.availability == Availability::Open { '+' } else { '-' };
            format!("{}{sign}", resource.id)
        };
        presentity.resources.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    fn after(reports: impl IntoIterator<Item = Report>) -> Presentity {
        let mut presentity = Presentity::default();
        for report in reports {
            presentity.report(report);
        }
        presentity
    }

    #[test]
    fn resources_come_and_go_one_by_one() {
        assert_eq!(state(&after([open("a"), open("b")])), "a+ b+");
        assert_eq!(state(&after([open("a"), open("b"), closed("a")])), "a- b+");
        assert_eq!(state(&after([open("a"), open("b"), open("c"), closed("a"), closed("b")])), "b- c+");
        assert_eq!(state(&after([open("a"), open("b"), closed("a"), open("c")])), "b+ c+");
    }

    #[test]
    fn pr_45_unavailable_from_the_bare_jid_closes_all_resources() {
        let mut presentity = after([open("a"), open("b")]);
        assert!(presentity.report(report(None, Availability::Closed)));
        assert_eq!(state(&presentity), "a- b-");
        assert!(!presentity.report(report(None, Availability::Closed)), "once is enough");
    }

    #[test]
    fn who_is_nowhere_is_known_to_be() {
        let mut presentity = Presentity::default();
        assert!(presentity.report(report(None, Availability::Closed)));
        assert_eq!(state(&presentity), "-");
        assert!(!presentity.report(closed("a")));
    }

    #[test]
    fn repeated_presence_is_no_change() {
        let mut presentity = Presentity::default();
        let mut away = open("a");
        assert!(presentity.report(away.clone()));
        assert!(!presentity.report(away.clone()));
        away.state.show = Some(Show::Away);
        assert!(presentity.report(away));
    }

    #[test]
    fn pm_27_directed_presence_goes_with_unavailable() {
        let mut presentity = after([open("a")]);
        assert!(presentity.is_open());
        assert!(presentity.report(closed("a")));
        assert!(!presentity.is_open());
    }

    #[test]
    fn pm_28_a_resource_nobody_knows_cannot_go() {
        let mut presentity = after([open("a")]);
        assert!(!presentity.report(closed("b")));
        assert_eq!(state(&presentity), "a+");
    }

    #[test]
    fn one_resource_past_the_limit_takes_the_place_of_the_oldest() {
        let names = || (0..MAX_RESOURCES).map(|number| open(&number.to_string()));
        let mut presentity = after(names());
        assert_eq!(presentity.resources.len(), MAX_RESOURCES);
        presentity.report(open("new"));
        assert_eq!(presentity.resources.len(), MAX_RESOURCES);
        assert!(presentity.resource("0").is_none() && presentity.resource("new").is_some());
    }

    #[test]
    fn pd_05_a_tuple_older_than_the_one_known_is_ignored() {
        let stamped = |id: &str, show, at| {
            let mut resource = Resource::new(id, Availability::Open);
            resource.show = show;
            resource.set_updated_ms(at);
            resource
        };
        let document = |show, at| Presentity { resources: vec![stamped("a", show, at)] };
        let mut presentity = document(Some(Show::Away), Some(10));
        presentity.supersede(document(None, Some(9)));
        assert_eq!(presentity.resources[0].show, Some(Show::Away));
        presentity.supersede(document(None, Some(10)));
        assert_eq!(presentity.resources[0].show, None);
        presentity.supersede(document(Some(Show::Dnd), None));
        assert_eq!(presentity.resources[0].show, Some(Show::Dnd), "one without a timestamp is believed");
        presentity.supersede(document(Some(Show::Xa), Some(9)));
        presentity.outlive_subscription();
        presentity.supersede(document(None, Some(1)));
        assert_eq!(presentity.resources[0].show, None);
    }

    #[test]
    fn pm_20_what_a_document_does_not_mention_is_gone() {
        let mut presentity = after([open("a"), open("b")]);
        presentity.supersede(after([open("b")]));
        assert_eq!(state(&presentity), "b+");
    }
}
