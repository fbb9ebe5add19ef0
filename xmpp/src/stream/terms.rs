//! What a partner's entry allows on one stream.

use super::Method;
use crate::negotiation::{Methods, Negotiation, NegotiationRules, SaslUse, TlsUse};

/// What the entry of a partner allows on a stream with it. A stream whose method is not among `methods` never carries
/// a stanza.
///
/// *Optional* means used whenever both sides can, so a weaker way is taken only where the stronger one did not come
/// about for want of the peer's offer, or of a certificate, and only if the weaker one is among `methods`:
///
/// * STARTTLS is tried even if it is not offered, for the offer may have been taken away on its way (RFC 7590 §3.1). If
///   it was neither offered nor taken, and dialback over plain TCP is allowed, the evidence advises
///   [`Retry::WithoutStartTls`](super::Retry::WithoutStartTls). A handshake that failed is never followed by plain text.
/// * SASL EXTERNAL that is not offered, or that the peer refuses, is followed by dialback over TLS where that is allowed. If
///   the peer refuses it by ending the stream or the connection, the evidence advises
///   [`Retry::WithoutExternal`](super::Retry::WithoutExternal), or
///   [`Retry::WithoutUnansweredExternal`](super::Retry::WithoutUnansweredExternal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the entry says.
    pub negotiation: Negotiation,
    /// What follows from it, by the rules in force.
    pub methods: Methods,
    /// The partner proved its domain by certificate before. Dialback alone is then refused (SEC-11): on a stream where
    /// the partner's certificate does not prove its domain again. To be cleared when an administrator says so, and when
    /// the entry does not allow EXTERNAL any more.
    pub external_proved: bool,
    /// Octets of the largest stanza that is taken of the partner, in place of
    /// [`StreamLimits::established`](super::StreamLimits::established)`.stanza`; `None`: that one. Told to the peer as
    /// `max-bytes` (XEP-0478). On a stream of several domains, it is what holds for the domain of its header.
    pub max_stanza: Option<usize>,
    /// Depth of nesting in a stanza of the partner, in place of that of
    /// [`StreamLimits::established`](super::StreamLimits::established), for the same domain as `max_stanza`.
    pub max_depth: Option<usize>,
    /// Attributes of one element in a stanza of the partner, likewise.
    pub max_attributes: Option<usize>,
    /// Whether stanzas may go both ways on one stream, where the partner can do that (XEP-0288).
    pub both_ways: bool,
    /// Whether stream management is spoken, where the partner can do that (XEP-0198).
    pub management: bool,
}

impl Terms {
    /// TLS and SASL EXTERNAL, nothing else.
    pub const CERTIFICATES: Self = Self {
        negotiation: Negotiation { tls: TlsUse::Required, sasl: SaslUse::Required, dialback: false },
        methods: Methods { external: true, dialback_tls: false, dialback_tcp: false },
        external_proved: false,
        max_stanza: None,
        max_depth: None,
        max_attributes: None,
        both_ways: true,
        management: true,
    };

    /// What an entry allows by these rules; nothing if it is one that is refused.
    pub const fn new(negotiation: Negotiation, rules: NegotiationRules) -> Self {
        Self { negotiation, methods: negotiation.verdict(rules).methods(), ..Self::CERTIFICATES }
    }

    /// Whether a stream authenticated this way may carry stanzas.
    pub const fn allow(&self, method: Method) -> bool {
        match method {
            Method::SaslExternal => self.methods.external,
            Method::DialbackTls => self.methods.dialback_tls,
            Method::DialbackTcp => self.methods.dialback_tcp,
        }
    }

    pub(super) const fn tls(&self) -> bool {
        !matches!(self.negotiation.tls, TlsUse::NotSupported)
    }

    /// Whether the stream may go on without TLS.
    pub(super) const fn clear(&self) -> bool {
        self.methods.dialback_tcp && !self.external_proved
    }

    /// Whether dialback may authenticate under TLS; `certified`: the certificate proves the domain.
    pub(super) const fn dialback_over_tls(&self, certified: bool) -> bool {
        self.methods.dialback_tls && (certified || !self.external_proved)
    }
}

/// Certificates only.
impl Default for Terms {
    fn default() -> Self {
        Self::CERTIFICATES
    }
}
