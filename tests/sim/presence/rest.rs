//! How a run ends: nothing goes wrong any more, so the last state arrives everywhere; then everybody leaves, and nothing
//! is left.

use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::{From, To};

use super::SECRET;
use super::server::Decision;
use crate::world::World;

impl World {
    /// Nothing goes wrong any more, and everybody may talk to everybody.
    pub(super) fn everything_works(&mut self) {
        self.heal();
        let now = self.now;
        for partner in 0..self.partners.len() {
            self.enabled[partner].push((now, true));
        }
        for user in &mut self.presence.users {
            user.allowed.push((now, true));
        }
        self.publish_policy();
    }

    /// Everybody signs in: contacts say what they are and ask what they want to know, endpoints subscribe again.
    pub(super) fn all_sign_in(&mut self) {
        for pair in 0..self.presence.pairs.len() {
            self.contact_signs_in(pair);
            for endpoint in 0..2 {
                self.endpoint_refreshes(pair, endpoint, 3600);
            }
        }
    }

    /// What changed a moment ago has arrived on both sides.
    pub(super) fn all_is_fresh(&mut self) {
        for pair in 0..self.presence.pairs.len() {
            self.lapsed_endpoints(pair);
            let problems = self.not_arrived(pair, "a change arrives soon");
            problems.into_iter().for_each(|problem| self.ledger.violation(problem));
        }
    }

    fn not_arrived(&mut self, pair: usize, rule: &str) -> Vec<String> {
        let record = &self.presence.pairs[pair];
        let who = format!("{} and {}", self.presence.users[record.user].address, record.address);
        let told = [self.contact_sees(pair), self.endpoints_see(pair)].concat();
        told.into_iter().map(|problem| format!("{rule}: {who}: {problem}")).collect()
    }

    /// The last state has arrived on both sides.
    pub(super) fn agree(&mut self) {
        let mut problems = Vec::new();
        let mut dialogs = 0;
        for pair in 0..self.presence.pairs.len() {
            self.lapsed_endpoints(pair);
            problems.extend(self.not_arrived(pair, "the last state arrives"));
            let record = &self.presence.pairs[pair];
            dialogs += record.dialogs.iter().filter(|dialog| dialog.ended.is_none()).count();
            dialogs += record.endpoints.iter().filter(|endpoint| endpoint.subscription.is_some()).count();
        }
        let held = self.gateway.holdings().dialogs;
        if held != dialogs {
            problems
                .push(format!("no dialog leak: the gateway holds {held} dialogs, the front end {dialogs}"));
        }
        problems.into_iter().for_each(|problem| self.ledger.violation(problem));
    }

    fn lapsed_endpoints(&mut self, pair: usize) {
        let now = self.now;
        for endpoint in &mut self.presence.pairs[pair].endpoints {
            endpoint.subscription.take_if(|subscription| subscription.expires_at.is_some_and(|at| at <= now));
        }
    }

    /// What is wrong with what the contact sees.
    fn contact_sees(&mut self, pair: usize) -> Vec<String> {
        let may = self.contact_may_see_since(pair, self.now);
        let record = &self.presence.pairs[pair];
        if record.adding_lost && !self.was_trusted_since(record.partner, self.now) {
            // Nobody but the gateway knows whether the SIP user has added the contact.
            return Vec::new();
        }
        let (user, contact) = (&self.presence.users[record.user], &record.contact);
        let mut sees: Vec<_> = contact.sees.values().map(|(show, _)| show.as_str()).collect();
        let mut is: Vec<_> = user.devices.iter().filter_map(|device| *device).collect();
        sees.sort_unstable();
        is.sort_unstable();
        let mut problems = Vec::new();
        match (contact.to, record.decision) {
            (To::Yes, Decision::Allowed) if may => {
                if sees != is {
                    problems.push(format!("the contact sees {sees:?} and not {is:?}"));
                }
                let federated = self.types[record.partner].last().map(|(_, kind)| *kind);
                let note = format!("{SECRET}-{}", user.version);
                let read = contact.sees.values().all(|(_, status)| *status == note);
                if federated == Some(PartnerType::Federated) && !read {
                    problems.push(format!("the contact reads {:?} and not {note}", contact.sees));
                }
                self.presence.counts.contacts_see += u64::from(!is.is_empty());
            }
            // He asked anew while the end of consent was on its way to him: his request is kept, in silence, in place of what he
            // had, and he goes on believing in that until he is added again or asks for less.
            (To::Yes, Decision::Allowed) if record.asked_while_it_ended() => {}
            (To::Yes, Decision::Allowed) => {
                problems.push("the contact thinks that he may see".to_owned());
            }
            (To::Yes, Decision::Refused) => {
                problems.push("the contact thinks that he may see whom he was refused".to_owned());
            }
            // He is asked anew by the front end, which has said nothing else.
            (To::Yes, Decision::Asked) => {}
            (To::Pending, Decision::Allowed) if may => {
                problems.push("the contact waits for nothing".to_owned());
            }
            (To::Pending | To::No, _) if !may && !sees.is_empty() => {
                problems.push(format!("the contact sees {sees:?}, which he may not"));
            }
            _ => {}
        }
        problems
    }

    /// What is wrong with what the endpoints see.
    fn endpoints_see(&mut self, pair: usize) -> Vec<String> {
        let record = &self.presence.pairs[pair];
        let contact = &record.contact;
        let (mut problems, mut seen) = (Vec::new(), 0);
        for subscription in record.endpoints.iter().filter_map(|endpoint| endpoint.subscription.as_ref()) {
            let (state, document) = (subscription.state.as_str(), subscription.document.as_str());
            let wanted = match contact.from {
                From::Yes => "active",
                From::Pending => "pending",
                From::No | From::Kept => {
                    problems.push(format!("an endpoint watches who has refused: {state}"));
                    continue;
                }
            };
            if state != wanted {
                problems.push(format!("an endpoint's subscription is {state} and not {wanted}"));
            }
            if contact.from == From::Yes {
                let open = document.matches("<basic>open").count();
                let shows = contact.online.iter().all(|(name, show)| {
                    document.contains(name) && (show.is_empty() || document.contains(&format!(">{show}<")))
                });
                if open != contact.online.len() || !shows {
                    problems.push(format!("an endpoint sees {document} and not {:?}", contact.online));
                }
                seen += u64::from(!contact.online.is_empty());
            }
        }
        self.presence.counts.users_see += seen;
        problems
    }

    pub(super) fn everybody_leaves(&mut self) {
        for pair in 0..self.presence.pairs.len() {
            self.contact_gives_up(pair);
            for endpoint in 0..2 {
                self.endpoint_refreshes(pair, endpoint, 0);
            }
        }
    }

    /// No dialog is left behind.
    pub(super) fn nothing_is_left(&mut self) {
        let holdings = self.gateway.holdings();
        if (holdings.dialogs, holdings.subscriptions, holdings.owed) != (0, 0, 0) {
            self.ledger.violation(format!("no dialog leak: when all have left there is {holdings:?}"));
        }
        let left: usize = self.presence.pairs.iter().map(|pair| pair.dialogs.len()).sum();
        if left > 0 {
            self.ledger.violation(format!("no dialog leak: the front end has {left} dialogs left"));
        }
        self.finish();
    }
}
