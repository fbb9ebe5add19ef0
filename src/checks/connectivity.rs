//! Whether partners and front ends can be reached, and we: DNS, TCP, TLS, certificates, and of partners what they offer and how
//! they let us in. Nothing is asked of anybody's users: no SIP request is sent, and of stanzas only a ping to a partner's domain,
//! by the running gateway.

mod barred;
mod front_ends;
mod listeners;
mod partners;

use std::sync::Arc;
use std::time::SystemTime;

use nuncio_xmpp::Domain;
use nuncio_xmpp::dialback::DialbackSecret;
use serde::Serialize;

use crate::checks::{Finding, Findings};
use crate::config::{Config, Partner, quoted};
use crate::context::{Context, SipSide, XmppSide};
use crate::dns::{Dns, DnsConfig};
use crate::gateway::Gateway;
use crate::net::blocked::BlockedNetworks;
use crate::policy::made;
use crate::renew::{InUse, Renewal};
use crate::run::setup;
use crate::tls::Proof;

/// What is to be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// A partner, by one of his domains, or a front end, by its name. None: everybody, and our own listeners.
    pub names: Vec<String>,
}

/// Why nobody was tried.
#[derive(Debug, thiserror::Error)]
pub enum ConnectivityError {
    /// Who was named is nobody.
    #[error("{} is neither a domain of a partner nor the name of a front end in the configuration", quoted(.0))]
    Unknown(String),
    /// What connections need cannot be had: a certificate, the resolver.
    #[error("no connection can be tried: {0:#}")]
    Setup(anyhow::Error),
}

/// Tries to reach everybody who is meant, as the running gateway would, up to the moment at which stanzas or requests could
/// flow. The time of each attempt is bounded as in the gateway.
///
/// # Errors
/// When there is nobody to try, or no way to.
pub async fn connectivity(config: &Config, whom: &Whom) -> Result<Vec<Finding>, ConnectivityError> {
    let partners = partners::named(config, whom);
    let front_ends = front_ends::named(config, whom);
    for name in &whom.names {
        let known = |of: &[String]| of.iter().any(|known| known == name);
        if !known(&partners.names) && !known(&front_ends.names) {
            return Err(ConnectivityError::Unknown(name.clone()));
        }
    }
    let means = Means::new(config).map_err(ConnectivityError::Setup)?;
    let mut findings = if partners.chosen.is_empty() { Vec::new() } else { policy_first(config, whom) };
    if whom.names.is_empty() {
        findings.extend(listeners::check(config, &means).await);
    }
    findings.extend(front_ends::check(&means, &front_ends.chosen).await);
    findings.extend(partners::check(&means.way(), &partners.chosen).await.findings);
    Ok(findings)
}

/// A way to partners is of no use while no SIP user may go it.
fn policy_first(config: &Config, whom: &Whom) -> Vec<Finding> {
    let mut findings = Findings::default();
    super::policy(config, !whom.names.is_empty(), &mut findings);
    findings.into_list()
}

/// Those who were meant, and by which names.
struct Named<T> {
    chosen: Vec<T>,
    names: Vec<String>,
}

/// Tries a partner out of the running gateway, with what it uses itself. Since it can answer for its keys, dialback is tried as
/// well; and since it is there that his answers arrive, so is whether he answers a ping.
///
/// # Errors
/// There is no such partner.
pub async fn from_gateway(
    context: &Context,
    config: &Config,
    whom: &Whom,
) -> Result<Tried, ConnectivityError> {
    let partners = partners::named(config, whom);
    if let Some(name) = whom.names.iter().find(|name| !partners.names.contains(name)) {
        return Err(ConnectivityError::Unknown(name.clone()));
    }
    let proof = |partner: &Partner| {
        let written = partner.domain.as_str();
        let domain = Domain::parse(written);
        let name = domain.as_ref().map_or(written, Domain::as_str);
        Arc::clone(&context.gateway.partner_streams(name).proof)
    };
    let way = Way {
        dns: &context.dns,
        xmpp: &context.xmpp,
        proofs: &config.partners.iter().map(proof).collect::<Vec<_>>(),
        dialback: context.xmpp.inbound.dialback.clone(),
        gateway: Some(&context.gateway),
    };
    let tried = partners::check(&way, &partners.chosen).await;
    Ok(Tried { findings: [policy_first(config, whom), tried.findings].concat(), ..tried })
}

/// What streams to partners are tried with.
struct Way<'a> {
    dns: &'a Dns,
    xmpp: &'a XmppSide,
    /// What each partner's certificates are held against, in their order.
    proofs: &'a [Arc<Proof>],
    /// Only the running gateway can answer for keys that are made with it.
    dialback: Option<Arc<DialbackSecret>>,
    /// Where answers to pings arrive: they come on streams of the partner's own.
    gateway: Option<&'a Gateway>,
}

/// What came of trying partners.
#[derive(Debug, Default)]
pub struct Tried {
    /// Step by step.
    pub findings: Vec<Finding>,
    /// Of each way on which a stream came about.
    pub pings: Vec<PingResult>,
}

/// What came of a ping to a partner's domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PingResult {
    /// The domain of the partner.
    pub partner: String,
    /// The domain of ours.
    pub from: String,
    pub outcome: PingOutcome,
    /// How long the answer took, or how long it was waited for.
    pub milliseconds: u64,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PingOutcome {
    /// A result.
    Answered,
    /// An error, which is an answer as well.
    Refused,
    /// An answer on the stream of ours, where nothing of his is taken.
    OnOurStream,
    /// Nothing.
    Unanswered,
}

impl PingOutcome {
    /// All of their words.
    pub const WORDS: [&'static str; 4] = ["answered", "refused", "on-our-stream", "unanswered"];
}

/// What connections are made with: the same as in the running gateway.
struct Means {
    dns: Dns,
    sip: SipSide,
    xmpp: XmppSide,
    in_use: InUse,
}

impl Means {
    fn way(&self) -> Way<'_> {
        Way { dns: &self.dns, xmpp: &self.xmpp, proofs: &self.in_use.proofs, dialback: None, gateway: None }
    }

    fn new(config: &Config) -> anyhow::Result<Self> {
        let in_use = Renewal::open(config, SystemTime::now())?.in_use()?;
        // Of streams that come in; there are none here.
        let secret = Arc::new(DialbackSecret::new(&rand::random::<[u8; 32]>()));
        let blocked = BlockedNetworks::new(made::networks(config));
        let servers = config.dns.servers.clone().unwrap_or_default();
        Ok(Self {
            dns: Dns::new(&DnsConfig { servers, timeout: config.dns.timeout })?,
            sip: setup::sip_side(config, &in_use, &blocked)?,
            xmpp: setup::xmpp_side(config, &in_use, secret, &blocked)?,
            in_use,
        })
    }
}
