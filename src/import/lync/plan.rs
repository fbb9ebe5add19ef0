//! The plan: what is taken over, what is not and why.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::access::{self, OtherPolicy, PolicyEntry};
use super::differs::{Differs, differs, told};
use super::gateway::{self, LimitEntry};
use super::parameters::{Fate, Kind};
use super::partner::{self, PartnerPlan};
use super::value::{Object, Value};
use super::{Export, trial};
use crate::config::Config;

/// What the administrator has decided.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choices<'a> {
    /// Federated partners may come in by dialback over plain TCP.
    pub accept_spoofable: bool,
    /// What is configured already: the domains served, and partners.
    pub config: Option<&'a Config>,
    /// The partners that a running gateway has, stored ones among them.
    pub running: &'a [Known],
}

/// A partner that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What he goes by.
    pub domain: String,
    /// His others.
    pub additional_domains: Vec<String>,
    /// His entry, as the control API tells it.
    pub entry: Map<String, Json>,
}

/// What an import comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Partners to add, in the order of the files.
    pub partners: Vec<PartnerPlan>,
    /// Limits to set.
    pub limits: Vec<LimitEntry>,
    /// The policy for users no rule speaks of.
    pub policy: Option<PolicyEntry>,
    /// Policies of sites and users, for which rules have to be written by hand.
    pub other_policies: Vec<OtherPolicy>,
    /// Partners that are configured already, by their domain.
    pub configured: Vec<String>,
    /// Those of them who are other ones than in the files.
    pub differing: Vec<Differs>,
    /// What cannot be taken over.
    pub left_out: Vec<LeftOut>,
    /// Parameters without counterpart that are in the files, and what nothing is known of.
    pub unmapped: Vec<Unmapped>,
}

/// Something that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// What kind of object it is, or is in.
    #[serde(skip)]
    pub of: Kind,
    /// The partner, policy or parameter.
    pub what: String,
    /// Everything that is wrong with it.
    pub why: Vec<String>,
}

/// A parameter for which nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    /// The cmdlet.
    pub cmdlet: &'static str,
    /// The parameter.
    pub parameter: String,
    /// The object that has it first, and its value there; the value of a secret is not shown.
    pub first: String,
    /// How many objects have it.
    pub objects: usize,
    /// Why there is no counterpart; `None`: it is no documented parameter.
    pub why: Option<&'static str>,
}

impl Plan {
    /// What to do with what was exported.
    pub fn new(export: &Export, choices: &Choices<'_>) -> Self {
        let mut plan = Self::default();
        let mut unmapped = Vec::new();
        let mut mapping = Mapping { unmapped: &mut unmapped };
        plan.partners(export, choices, &mut mapping);
        let mut gateways = export.of(Kind::Gateway);
        if let Some(object) = gateways.next() {
            let (limits, left_out) = gateway::plan(object, &mut mapping);
            plan.limits = limits;
            plan.left_out.extend(left_out);
        }
        if gateways.any(|other| Some(other) != export.of(Kind::Gateway).next()) {
            let why = "there is another one, which says otherwise; the first is used".to_owned();
            plan.left_out.push(LeftOut {
                of: Kind::Gateway,
                what: "a gateway configuration".to_owned(),
                why: vec![why],
            });
        }
        let (policy, others, left_out) = access::plan(export.of(Kind::Access), &mut mapping);
        plan.policy = policy;
        plan.other_policies = others;
        plan.left_out.extend(left_out);
        plan.unmapped = unmapped;
        plan
    }

    /// Whether everything is taken over that has a counterpart. What policies grant to some users has one, and has to be
    /// written by hand.
    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.other_policies.iter().all(|other| other.same)
    }

    /// What the policy does to users of whom nothing is known here, where that is more than to leave things as they are.
    pub fn warning(&self) -> Option<String> {
        let policy = self.policy.filter(|policy| policy.default == "deny")?;
        let others: Vec<&str> = self
            .other_policies
            .iter()
            .filter(|other| !other.same)
            .map(|other| other.identity.as_str())
            .collect();
        let others = match others.as_slice() {
            [] => String::new(),
            others => format!(
                ", also those to whom {} is granted, who are in no export of policies",
                others.join(", ").chars().map(crate::config::printable).collect::<String>()
            ),
        };
        Some(format!(
            "WARNING: policy.default = \"{}\": no SIP user may talk to any partner before a rule allows it{others}",
            policy.default
        ))
    }

    /// Whether all that is written would load.
    ///
    /// # Errors
    /// Why not, as sentences.
    pub fn check(&self) -> Result<(), Vec<String>> {
        trial::loads(&self.toml())
    }

    fn partners(&mut self, export: &Export, choices: &Choices<'_>, mapping: &mut Mapping<'_>) {
        // Which partner a domain went to.
        let mut taken: HashMap<String, String> = HashMap::new();
        for (index, object) in export.of(Kind::Partner).enumerate() {
            let what = match partner::domain(object) {
                Some(domain) => format!("partner {}", crate::config::quoted(domain).trim_matches('"')),
                None => format!("partner number {}", index + 1),
            };
            let planned = match partner::plan(object, choices, mapping) {
                Ok(planned) => planned,
                Err(why) => {
                    self.left_out.push(LeftOut { of: Kind::Partner, what, why });
                    continue;
                }
            };
            let own = || std::iter::once(&planned.entry.domain).chain(&planned.entry.additional_domains);
            let mut why: Vec<String> = own()
                .filter_map(|domain| {
                    taken.get(domain).map(|other| format!("{domain} is a domain of {other} already"))
                })
                .collect();
            let mut known = false;
            for domain in own() {
                match clash(choices, &planned.entry.domain, domain) {
                    Clash::None => {}
                    Clash::Same => known = true,
                    Clash::With(text) => why.push(text),
                }
            }
            if known && why.is_empty() {
                let there = there(choices, &planned.entry.domain);
                self.differing.extend(there.and_then(|there| differs(&planned.entry, &there)));
                self.configured.push(planned.entry.domain);
                continue;
            }
            if !why.is_empty() {
                self.left_out.push(LeftOut { of: Kind::Partner, what, why });
                continue;
            }
            taken.extend(own().map(|domain| (domain.clone(), planned.entry.domain.clone())));
            self.partners.push(planned);
        }
    }
}

/// The entry of a partner who is there.
fn there(choices: &Choices<'_>, primary: &str) -> Option<Map<String, Json>> {
    let domain = crate::config::Domain::new(primary).ok()?;
    let configured = choices.config.and_then(|config| config.partners.of(&domain)).map(told);
    configured.or_else(|| {
        let mut running = choices.running.iter();
        running.find(|known| known.domain == domain.as_str()).map(|known| known.entry.clone())
    })
}

enum Clash {
    None,
    /// It is the entry itself that is there.
    Same,
    With(String),
}

fn clash(choices: &Choices<'_>, primary: &str, domain: &str) -> Clash {
    let Ok(domain) = crate::config::Domain::new(domain) else { return Clash::None };
    if choices.config.is_some_and(|config| config.serves(&domain)) {
        return Clash::With(format!(
            "{} is served here ([sip] domains), and no partner's",
            domain.to_unicode()
        ));
    }
    let configured = choices.config.and_then(|config| config.partners.of(&domain));
    let configured = configured.map(|partner| (partner.domain.as_str(), "configured partner"));
    let has = |known: &&Known| {
        std::iter::once(&known.domain).chain(&known.additional_domains).any(|known| known == domain.as_str())
    };
    let running = || choices.running.iter().find(has).map(|known| (known.domain.as_str(), "partner"));
    match configured.or_else(running) {
        None => Clash::None,
        Some((other, _)) if other == primary => Clash::Same,
        Some((other, what)) => Clash::With(format!(
            "{} is a domain of the {what} {} already",
            domain.to_unicode(),
            crate::config::both_forms(other).1
        )),
    }
}

/// Notes what has no counterpart.
pub(super) struct Mapping<'a> {
    unmapped: &'a mut Vec<Unmapped>,
}

impl Mapping<'_> {
    /// Looks at all properties of an object that is taken over.
    pub(super) fn note(&mut self, kind: Kind, of: &str, object: &Object) {
        for (name, value) in &object.properties {
            let why = match kind.fate(name) {
                Some(Fate::Without(why)) => Some(why),
                None => None,
                Some(Fate::Key(_) | Fate::Aside | Fate::OfTheCmdlet(_)) => continue,
            };
            if *value == Value::Nothing {
                continue;
            }
            let known = self
                .unmapped
                .iter_mut()
                .find(|known| known.cmdlet == kind.cmdlet() && known.parameter.eq_ignore_ascii_case(name));
            if let Some(known) = known {
                known.objects += 1;
                continue;
            }
            let secret = name.to_ascii_lowercase().contains("passphrase");
            let shown = if secret { "(not shown)".to_owned() } else { value.shown() };
            self.unmapped.push(Unmapped {
                cmdlet: kind.cmdlet(),
                parameter: crate::config::quoted(name).trim_matches('"').to_owned(),
                first: format!("{of}: {shown}"),
                objects: 1,
                why,
            });
        }
    }
}
