//! What becomes of an allowed partner.

use nuncio_xmpp::{Negotiation, NegotiationRules, SaslUse, TlsUse};
use serde::Serialize;

use super::parameters::Kind;
use super::plan::{Choices, Mapping};
use super::trial;
use super::value::{Expected, Object, Value};
use crate::config::{Domain, PartnerType};

/// An entry as it stands in the file, or goes to the control API. What is not said has the default of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PartnerEntry {
    /// `domain`
    pub domain: String,
    /// `type`
    #[serde(rename = "type")]
    pub partner_type: &'static str,
    /// `additional_domains`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_domains: Vec<String>,
    /// `description`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `tls`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<&'static str>,
    /// `sasl`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<&'static str>,
    /// `dialback`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialback: Option<bool>,
    /// `negotiation_rules`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negotiation_rules: Option<&'static str>,
    /// `accept_spoofable`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_spoofable: Option<bool>,
    /// `keep_alive`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<bool>,
    /// `connection_limit`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u64>,
    /// `proxy`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// A partner that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartnerPlan {
    /// The entry.
    pub entry: PartnerEntry,
    /// The ways to authenticate his streams, in words.
    pub ways: String,
    /// What an administrator should know about it.
    pub notes: Vec<String>,
}

/// The two domains of a partner's own, if they can be read, for telling him from others.
pub(super) fn domain(object: &Object) -> Option<&str> {
    let named = |name| object.get(name).and_then(|value| value.text().ok().flatten());
    named("Identity").or_else(|| named("Domain"))
}

/// What becomes of one, or why it cannot be taken over.
pub(super) fn plan(
    object: &Object,
    choices: &Choices<'_>,
    mapping: &mut Mapping<'_>,
) -> Result<PartnerPlan, Vec<String>> {
    let mut reading = Reading { object, wrong: Vec::new() };
    let named = domain(object).map(Domain::new).transpose();
    let named = match named {
        Ok(Some(domain)) => domain.as_str().to_owned(),
        Ok(None) => {
            reading.wrong.push("it has neither Identity nor Domain".to_owned());
            String::new()
        }
        Err(error) => {
            reading.wrong.push(format!("Identity: {error}"));
            String::new()
        }
    };
    reading.agree("Identity", "Domain");
    let negotiation = Negotiation {
        tls: reading.word("TlsNegotiation", &TLS).unwrap_or_default(),
        sasl: reading.word("SaslNegotiation", &SASL).unwrap_or_default(),
        dialback: reading.get("SupportDialbackNegotiation", Value::bool).unwrap_or(true),
    };
    // What the cmdlet takes if nothing is said.
    let partner_type = reading.word("PartnerType", &TYPES).unwrap_or(PartnerType::PublicUnverified);
    let additional = reading.domains("AdditionalDomains", &named);
    let limit = reading.get("ConnectionLimit", Value::number);
    let mut entry = PartnerEntry {
        domain: named,
        partner_type: partner_type.as_str(),
        additional_domains: additional,
        description: reading.get("Description", |value| value.text().map(|text| text.map(str::to_owned))),
        tls: (negotiation.tls != TlsUse::Required).then(|| negotiation.tls.as_str()),
        sasl: (negotiation.sasl != SaslUse::Required).then(|| negotiation.sasl.as_str()),
        dialback: (!negotiation.dialback).then_some(false),
        keep_alive: reading.get("EnableKeepAlive", Value::bool).filter(|on| !on),
        connection_limit: limit.filter(|limit| *limit > 0),
        proxy: reading.get("ProxyFqdn", |value| value.text().map(|text| text.map(str::to_owned))),
        ..PartnerEntry::default()
    };
    let mut notes = Vec::new();
    if limit == Some(0) {
        notes.push("ConnectionLimit is 0; the limit of all partners is used".to_owned());
    }
    let verdict = negotiation.verdict(NegotiationRules::Strict);
    let (rules, verdict) = if verdict.loads() {
        (NegotiationRules::Strict, verdict)
    } else {
        (NegotiationRules::Compat, negotiation.verdict(NegotiationRules::Compat))
    };
    let methods = verdict.methods();
    match verdict.reason() {
        Some(reason) if !verdict.loads() => {
            reading.wrong.push(format!("{}: {reason}", combination(negotiation)))
        }
        Some(reason) => notes.push(format!("{}: {reason}", combination(negotiation))),
        None => {}
    }
    if rules == NegotiationRules::Compat && verdict.loads() {
        entry.negotiation_rules = Some(rules.as_str());
        notes.push(
            "strict rules refuse this combination; it is taken over with negotiation_rules = \"compat\""
                .to_owned(),
        );
    }
    let before = negotiation.verdict(NegotiationRules::Compat).methods();
    if rules == NegotiationRules::Strict && before != methods {
        notes.push(format!(
            "Lync also let him in by other ways ({}); negotiation_rules = \"compat\" would do so here",
            before.in_words()
        ));
    }
    if partner_type == PartnerType::Federated && methods.dialback_tcp {
        if choices.accept_spoofable {
            entry.accept_spoofable = Some(true);
            notes.push(
                "whoever controls the network or DNS can pose as him, and is trusted like our own users"
                    .to_owned(),
            );
        } else {
            reading.wrong.push(
                "it is Federated, trusted like our own users, and may come in by dialback over plain TCP, where whoever \
                 controls the network or DNS can pose as him; change TlsNegotiation or PartnerType, or import with \
                 --accept-spoofable"
                    .to_owned(),
            );
        }
    }
    if !reading.wrong.is_empty() {
        return Err(reading.wrong);
    }
    // The last word has the reader of the configuration: names, hosts and ranges.
    trial::partner(&entry)?;
    mapping.note(Kind::Partner, &entry.domain, object);
    Ok(PartnerPlan { ways: methods.in_words().to_string(), entry, notes })
}

fn combination(negotiation: Negotiation) -> String {
    let Negotiation { tls, sasl, dialback } = negotiation;
    format!("TLS {tls}, SASL {sasl}, dialback {}", if dialback { "on" } else { "off" })
}

const TLS: [(&str, TlsUse); 3] =
    [("Required", TlsUse::Required), ("Optional", TlsUse::Optional), ("NotSupported", TlsUse::NotSupported)];
const SASL: [(&str, SaslUse); 3] = [
    ("Required", SaslUse::Required),
    ("Optional", SaslUse::Optional),
    ("NotSupported", SaslUse::NotSupported),
];
const TYPES: [(&str, PartnerType); 3] = [
    ("Federated", PartnerType::Federated),
    ("PublicVerified", PartnerType::PublicVerified),
    ("PublicUnverified", PartnerType::PublicUnverified),
];

/// An object of which values are taken; everything that is wrong is noted.
struct Reading<'a> {
    object: &'a Object,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    fn get<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a Value) -> Result<Option<T>, Expected>,
    ) -> Option<T> {
        let value = self.object.get(name)?;
        match read(value) {
            Ok(read) => read,
            Err(Expected(what)) => {
                self.wrong.push(format!("{name}: expected {what}, found {}", value.shown()));
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = match self.object.get(name)? {
            value @ Value::Number(_) => {
                self.wrong.push(format!(
                    "{name}: {} is the number of a word, as ConvertTo-Json writes it, and which word is not documented; export \
                     with Export-Clixml, or make words of them first (docs/import.md)",
                    value.shown()
                ));
                return None;
            }
            _ => self.get(name, Value::text)?,
        };
        let word = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if word.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong.push(format!(
                "{name}: expected {}, found {}",
                known.join(", "),
                crate::config::quoted(text)
            ));
        }
        word.map(|(_, value)| *value)
    }

    /// Further domains, normalised, without the one that he is named by.
    fn domains(&mut self, name: &str, own: &str) -> Vec<String> {
        let Some(value) = self.object.get(name) else { return Vec::new() };
        let list = match value.list() {
            Ok(list) => list,
            Err(Expected(what)) => {
                self.wrong.push(format!(
                    "{name}: expected {what}, found {}; Export-Csv leaves lists out: export with Export-Clixml, or join the \
                     names first (docs/import.md)",
                    value.shown()
                ));
                return Vec::new();
            }
        };
        let mut domains: Vec<String> = Vec::with_capacity(list.len());
        for text in list {
            match Domain::new(text) {
                Ok(domain)
                    if domain.as_str() == own || domains.iter().any(|known| known == domain.as_str()) => {}
                Ok(domain) => domains.push(domain.as_str().to_owned()),
                Err(error) => self.wrong.push(format!("{name}: {}: {error}", crate::config::quoted(text))),
            }
        }
        domains
    }

    /// Two names of one value.
    fn agree(&mut self, one: &str, other: &str) {
        let text = |name| self.object.get(name).and_then(|value| value.text().ok().flatten());
        if let (Some(a), Some(b)) = (text(one), text(other))
            && !a.eq_ignore_ascii_case(b)
        {
            self.wrong.push(format!(
                "{one} is {}, and {other} is {}; one partner has one",
                crate::config::quoted(a),
                crate::config::quoted(b)
            ));
        }
    }
}
