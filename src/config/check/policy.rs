//! Rules about SIP users: they can only speak of users we serve and of partners we have.

use super::super::file::Root;
use super::super::read::{At, Sections};
use super::super::value::{nearest, quoted};
use super::super::{Domain, SipUsers};
use super::{Checker, Served, elements};

impl Checker<'_> {
    pub(super) fn policy(&mut self, root: &Root, served: &Served) {
        let Some(policy) = &root.policy.value else { return };
        let Some(Sections(rules)) = &policy.rules.value else { return };
        for (index, rule) in rules.iter().enumerate() {
            let rule = &rule.value;
            let label = format!("[[policy.rule]] number {}:", index + 1);
            for users in elements(&rule.users) {
                self.users_are_served(&label, users, served);
            }
            for partner in rule.partners.value.iter().flatten() {
                self.partner_is_listed(&label, partner, root);
            }
        }
    }

    fn users_are_served(&mut self, label: &str, users: &At<SipUsers>, served: &Served) {
        let Some(domain) = users.value.domain() else { return };
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
        self.error(partner.place, format!("{label} partners: {named} is no partner's domain; {advice}"));
    }
}
