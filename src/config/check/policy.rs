//! Rules about SIP users: they can only speak of users we serve and of partners we have.

use std::collections::HashMap;

use super::super::file::Root;
use super::super::problem::Severity;
use super::super::read::{At, Sections, Slot};
use super::super::source::{Part, PlaceId};
use super::super::stored::GLOBAL;
use super::super::value::{nearest, quoted};
use super::super::words::EntryName;
use super::super::{Domain, SipUsers};
use super::{Checker, Served, elements};

/// Whether any address in this domain matches a pattern.
fn may_be_in(pattern: &str, domain: &Domain) -> bool {
    [domain.as_str(), &domain.to_unicode()].iter().any(|domain| meet(pattern, &format!("*@{domain}")))
}

/// Whether two patterns, in which `*` stands for any text, have a text in common.
fn meet(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Whether what was taken of the one, up to here, and the first so many letters of the other have one.
    let mut row: Vec<bool> = vec![false; other.len() + 1];
    for taken in 0..=one.len() {
        let mut next: Vec<bool> = Vec::with_capacity(row.len());
        let letter = taken.checked_sub(1).and_then(|at| one.get(at));
        for reached in 0..=other.len() {
            let facing = reached.checked_sub(1).and_then(|at| other.get(at));
            let above = || row.get(reached).copied().unwrap_or_default();
            let beside = || next.last().copied().unwrap_or_default();
            let across = || reached.checked_sub(1).and_then(|at| row.get(at)).copied().unwrap_or_default();
            let meets = match (letter, facing) {
                (None, None) => true,
                // A star stands for nothing, or for one letter or star more of the other.
                (Some('*'), Some('*')) => above() || beside() || across(),
                (Some('*'), _) => above() || beside(),
                // What is in front of the @ has none.
                (Some('@'), Some('*')) => beside(),
                (_, Some('*')) => above() || beside(),
                (Some(letter), Some(facing)) => letter == facing && across(),
                _ => false,
            };
            next.push(meets);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

impl Checker<'_> {
    pub(super) fn policy(&mut self, root: &Root, served: &Served) {
        let Some(policy) = &root.policy.value else { return };
        let Some(Sections(rules)) = &policy.rules.value else { return };
        let mut names: HashMap<&str, Option<PlaceId>> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let rule = &rule.value;
            let label = match &rule.name.value {
                Some(name) => format!("[[policy.rule]] {name}:"),
                None => format!("[[policy.rule]] number {}:", index + 1),
            };
            self.rule_name(&label, &rule.name, &mut names);
            for users in elements(&rule.users) {
                self.users_are_served(&label, users, served);
            }
            for partner in rule.partners.value.iter().flatten() {
                self.partner_is_listed(&label, partner, root);
            }
        }
    }

    fn rule_name<'a>(
        &mut self,
        label: &str,
        name: &'a Slot<EntryName>,
        names: &mut HashMap<&'a str, Option<PlaceId>>,
    ) {
        let Some(EntryName(text)) = &name.value else { return };
        if text.trim().is_empty() || text == GLOBAL {
            self.error(
                name.place,
                format!(
                    "{label} name: {} cannot be the name of a rule; \"{GLOBAL}\" stands for [policy] itself",
                    quoted(text)
                ),
            );
        } else if let Some(first) = names.insert(text, name.place) {
            let first = self.places.name(first);
            self.error(name.place, format!("{label} name: another rule has this name, at {first}"));
        }
    }

    /// What a rule names that is not there. A stored rule stays when a partner or a domain goes: it then says nothing about it,
    /// and says it again when that comes back.
    fn idle(&mut self, place: Option<PlaceId>, text: String) {
        match place.is_some_and(|place| self.places.is_stored(place)) {
            true => self.problems.push(self.places.problem(Severity::Warning, place, Part::Value, text)),
            false => self.error(place, text),
        }
    }

    fn users_are_served(&mut self, label: &str, users: &At<SipUsers>, served: &Served) {
        let Some(domain) = users.value.domain() else {
            // The pattern reaches over domains, or none is whole in it.
            if let SipUsers::Matching(pattern) = &users.value
                && !served.domains.keys().any(|domain| may_be_in(pattern, domain))
            {
                self.warning(
                    users.place,
                    format!(
                        "{label} users: {} matches nobody: no address in a served domain can look like that; patterns are \
                         compared with USER@DOMAIN",
                        quoted(pattern)
                    ),
                );
            }
            return;
        };
        if users.place.is_some_and(|place| self.places.is_stored(place))
            && !served.domains.contains_key(&domain)
        {
            return self.idle(
                users.place,
                format!("{label} users: {domain} is not a served domain ([sip] domains)"),
            );
        }
        self.must_be_served(&format!("{label} users"), &At { value: domain, place: users.place }, served);
    }

    fn partner_is_listed(&mut self, label: &str, partner: &At<Domain>, root: &Root) {
        let Some(Sections(partners)) = &root.partners.value else { return };
        let domains = partners.iter().flat_map(|entry| {
            let additional =
                entry.value.additional_domains.value.iter().flatten().map(|domain| &domain.value);
            entry.value.domain.value.iter().chain(additional)
        });
        let known: Vec<String> = domains.map(|domain| domain.to_unicode().into_owned()).collect();
        let named = partner.value.to_unicode();
        if !root.partners.sound || known.iter().any(|domain| *domain == *named) {
            return;
        }
        let advice = match nearest(&named, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {}?", quoted(meant)),
            None => "list it in a [[partner]] first, or leave it out".to_owned(),
        };
        self.idle(partner.place, format!("{label} partners: {named} is no partner's domain; {advice}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_where_a_text_matches_both() {
        let domain = Domain::new("im.contoso.com").unwrap();
        for pattern in ["*", "*.com", "help*", "a*b@*", "*@*", "*@im.*", "a*@*.contoso.com", "*contoso*"] {
            assert!(may_be_in(pattern, &domain), "{pattern}");
        }
        for pattern in
            ["*.org", "a@*.litware.com", "*@contoso.*", "*@im.contoso.com.*", "*@im.contoso.co", "*#*.org"]
        {
            assert!(!may_be_in(pattern, &domain), "{pattern}");
        }
    }
}
