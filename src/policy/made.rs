//! From the configuration to what the rules are judged by, and to how streams with partners are made.

use std::sync::Arc;

use anyhow::anyhow;
use compact_str::CompactString;
use nuncio_translate::judge::{self, Snapshot, UserPolicy, UserRule, Verdict, Who};
use nuncio_xmpp::Domain;
use nuncio_xmpp::rate::Rate;

use crate::config::{self, BlockAddress, Config, Network, PartnerType, SipUsers};
use crate::gateway::{Federation, PartnerStreams, StreamRates};
use crate::tls::Proof;

/// A partner type as the rules have it.
pub(crate) fn partner_type(configured: PartnerType) -> judge::PartnerType {
    match configured {
        PartnerType::Federated => judge::PartnerType::Federated,
        PartnerType::PublicVerified => judge::PartnerType::PublicVerified,
        PartnerType::PublicUnverified => judge::PartnerType::PublicUnverified,
    }
}

/// The normalised form of a configured domain, as it stands in JIDs.
///
/// # Errors
/// It has none.
pub(crate) fn domain(configured: &config::Domain) -> anyhow::Result<Domain> {
    Domain::parse(configured.as_str()).map_err(|error| anyhow!("{}: {error}", configured.as_str()))
}

/// The same of several.
///
/// # Errors
/// One has none.
pub(crate) fn names<'a>(
    configured: impl IntoIterator<Item = &'a config::Domain>,
) -> anyhow::Result<Vec<CompactString>> {
    configured.into_iter().map(|name| Ok(domain(name)?.as_str().into())).collect()
}

/// The rules, as the first of their kind.
pub(crate) fn snapshot(config: &Config) -> anyhow::Result<Snapshot> {
    let mut partners = Vec::with_capacity(config.partners.len());
    for partner in config.partners.iter() {
        let entry = judge::Partner {
            domain: domain(&partner.domain)?.as_str().into(),
            partner_type: partner_type(partner.partner_type),
            enabled: partner.enabled,
        };
        partners.push((entry, names(&partner.additional_domains)?));
    }
    let snapshot = Snapshot::new(1, names(&config.sip.domains)?, partners);
    let blocked = config.blocks.iter().filter_map(|block| match &block.address {
        BlockAddress::Contact(jid) => Some(Ok(jid.clone())),
        BlockAddress::Domain(name) => Some(domain(name).map(|domain| domain.as_str().into())),
        BlockAddress::Network(_) => None,
    });
    let blocked: Vec<CompactString> = blocked.collect::<anyhow::Result<_>>()?;
    let snapshot = snapshot.with_users(users(&config.policy)?).with_blocked(blocked);
    Ok(snapshot.with_consent_lifetime(config.policy.consent))
}

/// What a partner may send: after a quiet time five seconds' worth may come at once.
fn rate(per_second: usize) -> Rate {
    const SECONDS_AT_ONCE: u64 = 5;
    Rate::new(u64::try_from(per_second).unwrap_or(u64::MAX), SECONDS_AT_ONCE)
}

/// How streams with each partner are made; the proofs are in the order of the partners.
pub(crate) fn federation(config: &Config, proofs: &[Arc<Proof>]) -> anyhow::Result<Federation> {
    let mut partners = Vec::with_capacity(config.partners.len());
    for (partner, proof) in config.partners.iter().zip(proofs) {
        let streams = PartnerStreams {
            partner: domain(&partner.domain)?.as_str().into(),
            enabled: partner.enabled,
            negotiation: partner.negotiation,
            rules: partner.rules,
            keep_alive: partner.keep_alive,
            both_ways: partner.bidirectional,
            management: partner.stream_management,
            connection_limit: partner.connection_limit,
            max_stanza: Some(partner.stanza_limit),
            max_depth: Some(partner.stanza_depth),
            max_attributes: Some(partner.stanza_attributes),
            rates: StreamRates {
                stanzas: rate(partner.stanzas_per_second),
                bytes: rate(partner.bytes_per_second),
            },
            proxy: partner.proxy.clone(),
            proof: Arc::clone(proof),
        };
        partners.push((streams, names(partner.domains())?));
    }
    Ok(Federation::new(partners))
}

fn users(policy: &config::Policy) -> anyhow::Result<UserPolicy> {
    let verdict = |verdict| match verdict {
        config::Verdict::Allow => Verdict::Allow,
        config::Verdict::Deny => Verdict::Deny,
    };
    let mut rules = Vec::with_capacity(policy.rules.len());
    for rule in &policy.rules {
        rules.push(UserRule {
            who: rule.users.iter().map(who).collect::<anyhow::Result<_>>()?,
            partners: names(&rule.partners)?,
            verdict: verdict(rule.verdict),
        });
    }
    Ok(UserPolicy::new(policy.enabled, verdict(policy.default), rules))
}

/// Whom a rule is about.
///
/// # Errors
/// The domain has no normalised form.
pub(super) fn who(users: &SipUsers) -> anyhow::Result<Who> {
    Ok(match users {
        SipUsers::One(user) => Who::User(user.clone()),
        SipUsers::Domain(name) => Who::Domain(domain(name)?.as_str().into()),
        SipUsers::Matching(pattern) => Who::Pattern(pattern.clone()),
    })
}

/// The addresses from which nobody may connect.
pub(crate) fn networks(config: &Config) -> Vec<Network> {
    let networks = config.blocks.iter().filter_map(|block| match block.address {
        BlockAddress::Network(network) => Some(network),
        BlockAddress::Contact(_) | BlockAddress::Domain(_) => None,
    });
    networks.collect()
}
