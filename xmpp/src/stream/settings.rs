//! What the machines are told at birth: who we are, limits and times.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::evidence::Retry;
use super::terms::Terms;
use crate::dialback::{DialbackSecret, VerifyRequest};
use crate::jid::Domain;
use crate::xml::ReadLimits;

/// Settings of a stream we open.
#[derive(Clone, Debug)]
pub struct OutboundConfig {
    /// The served domain that speaks.
    pub local: Domain,
    /// The domain to reach; the peer's certificate has to be for it (TLS-10), where a certificate counts.
    pub remote: Domain,
    /// What the partner's entry allows.
    pub terms: Terms,
    /// Our secret; without one, dialback cannot be used to prove ourselves.
    pub dialback: Option<Arc<DialbackSecret>>,
    /// The connection begins with the TLS handshake (XEP-0368): the machine asks for it at once. Not for a partner whose
    /// entry switches TLS off.
    pub direct_tls: bool,
    /// What the stream is for.
    pub purpose: Purpose,
    /// What the evidence of an attempt right before this one advised.
    pub retry: Option<Retry>,
    /// How SASL EXTERNAL names us.
    pub authzid: Authzid,
    /// Sizes.
    pub limits: StreamLimits,
    /// Times.
    pub timeouts: Timeouts,
}

/// Settings of a stream a peer opens.
#[derive(Clone, Debug)]
pub struct InboundConfig {
    /// The domains served here. The first one stands in the header of an answer to a peer that
    /// asked for none of them.
    pub served: Arc<[Domain]>,
    /// Our secret, with which keys are recognised. `None`: dialback is switched off altogether, whatever the terms say.
    pub dialback: Option<Arc<DialbackSecret>>,
    /// How often a peer may try SASL again after a failure; RFC 6120 §6.4.5 wants 2 to 5.
    pub sasl_retries: u8,
    /// Told to the peer as `idle-seconds` (XEP-0478), if set.
    pub idle_seconds: Option<u32>,
    /// Sizes.
    pub limits: StreamLimits,
    /// Times.
    pub timeouts: Timeouts,
}

impl InboundConfig {
    /// Settings with the defaults for everything but the domains.
    pub fn new(served: Arc<[Domain]>) -> Self {
        Self {
            served,
            dialback: None,
            sasl_retries: 3,
            idle_seconds: None,
            limits: StreamLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl OutboundConfig {
    /// Settings of a stream that asks about a key, on the terms of the key's sender domain.
    pub fn verify(request: VerifyRequest, terms: Terms) -> Self {
        let purpose = Purpose::Verify(request.clone());
        Self { purpose, terms, ..Self::new(request.to, request.from) }
    }

    /// Settings with the defaults for everything but the two domains: certificates only.
    pub fn new(local: Domain, remote: Domain) -> Self {
        Self {
            local,
            remote,
            terms: Terms::default(),
            dialback: None,
            direct_tls: false,
            purpose: Purpose::Carry,
            retry: None,
            authzid: Authzid::default(),
            limits: StreamLimits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// What a stream we open is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To carry stanzas.
    #[default]
    Carry,
    /// To ask the server whether it knows this key, and nothing else: no authentication, no stanzas. The stream goes
    /// from the request's target to its sender domain.
    Verify(VerifyRequest),
}

/// The authorization identity in our SASL EXTERNAL (SASL-02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authzid {
    /// Our domain: what old peers need (XEP-0178 §3).
    #[default]
    Domain,
    /// None, sent as `=`: what RFC 6120 §6.3.8 prefers.
    Empty,
}

/// Sizes that a peer may reach. Before authentication they are separate and small (SEC-03).
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Bytes that may arrive before the stream is established, all together.
    pub pre_auth_total: usize,
    /// What one element may be before the stream is established.
    pub pre_auth: ReadLimits,
    /// What one element may be afterwards. `stanza` is told to the peer as `max-bytes` (XEP-0478).
    pub established: ReadLimits,
}

impl StreamLimits {
    /// Bytes that may arrive before the stream is established.
    pub const PRE_AUTH_TOTAL: usize = 16 * 1024;
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            pre_auth_total: Self::PRE_AUTH_TOTAL,
            pre_auth: ReadLimits::BEFORE_AUTHENTICATION,
            established: ReadLimits::AUTHENTICATED,
        }
    }
}

/// Times that a peer may take (S2S-32).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From one header of ours (or the connection) to the peer's.
    pub header: Duration,
    /// For each answer after that, and for the caller's [`PartnerVerdict`](super::PartnerVerdict).
    pub step: Duration,
    /// For the TLS handshake.
    pub tls: Duration,
    /// For the whole of it. The answer to a dialback key has all of it, and as much again on an established stream.
    pub establishment: Duration,
    /// For the caller to have a dialback key verified.
    pub verification: Duration,
    /// From our `</stream>` to the peer's.
    pub close: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(15),
            step: Duration::from_secs(20),
            tls: Duration::from_secs(20),
            establishment: Duration::from_secs(60),
            verification: Duration::from_secs(30),
            close: Duration::from_secs(5),
        }
    }
}

/// The ids of the headers an inbound stream can need: at first, after TLS and after SASL. Each has
/// to be unpredictable and never used before (S2S-14); dialback keys depend on it.
#[derive(Clone, Debug)]
pub struct StreamIds(pub [CompactString; 3]);
