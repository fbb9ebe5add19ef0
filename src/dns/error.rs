//! Why a name led nowhere.

/// A look-up that gave no address to connect to. The text is for people; branch on [`DnsError::kind`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The name itself cannot be asked for: empty, too long, or with characters no host name has.
    #[error("“{name}” is not a name that DNS can hold")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The DNS server's answer: there is no such name (NXDOMAIN).
    #[error("there is no such domain as {name} (DNS answered NXDOMAIN)")]
    NoSuchDomain {
        /// The name asked for.
        name: String,
    },
    /// The domain says that it has no such server: its only SRV record has the target “.” (RFC 2782).
    #[error("{domain} says that it offers no such service (its SRV record has the target “.”)")]
    NoService {
        /// The XMPP domain, or the name of the SRV records.
        domain: String,
    },
    /// Every host of the federation record is in another domain, and an Edge server does not accept that either.
    #[error(
        "the federation record (_sipfederationtls._tcp) of {domain} leads to {target}, which is not in {domain}: whoever \
         calls there could not tell who answers; name a host of the domain in it, or list the front ends in next_hops"
    )]
    OtherDomain {
        /// The SIP domain.
        domain: String,
        /// The first such host.
        target: String,
    },
    /// Every address found is one of our own network, which DNS may not lead to.
    #[error(
        "DNS leads from {domain} to {address}, which is a private address: a server of a partner cannot be there, but ours may \
         be; if his really is, set xmpp.connect.private_addresses = true, or name it as the partner's proxy"
    )]
    Private {
        /// The domain asked for.
        domain: String,
        /// The first such address.
        address: std::net::IpAddr,
    },
    /// The name exists, but has no address of the family asked for.
    #[error("{name} has no {wanted} address in DNS")]
    NoAddress {
        /// The name, or the names, asked for.
        name: String,
        /// “IPv4”, “IPv6” or “IPv4 or IPv6”.
        wanted: &'static str,
    },
    /// No DNS server answered in time.
    #[error("no DNS server answered the question for {name} in time")]
    Timeout {
        /// The name asked for.
        name: String,
    },
    /// A DNS server answered that it cannot answer (SERVFAIL, REFUSED …), or the question could not be sent.
    #[error("DNS cannot resolve {name} now: {detail}")]
    Failed {
        /// The name asked for.
        name: String,
        /// The response code or the error met.
        detail: String,
    },
    /// The resolver could not be set up.
    #[error("the DNS resolver cannot start: {detail}")]
    Setup {
        /// What is wrong.
        detail: String,
    },
}

/// What a failed look-up means for the message that waits on it (EXS-16, ERR-04).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DnsErrorKind {
    /// DNS says with certainty that there is nothing: asking again soon is useless.
    DoesNotExist,
    /// DNS could not say, or what it said may not be followed: it may work later.
    Unresolvable,
    /// As [`Self::Unresolvable`], because nothing answered in time.
    Timeout,
}

impl DnsError {
    /// What the error means to whoever waits.
    pub fn kind(&self) -> DnsErrorKind {
        match self {
            Self::BadName { .. }
            | Self::NoSuchDomain { .. }
            | Self::NoService { .. }
            | Self::NoAddress { .. } => DnsErrorKind::DoesNotExist,
            Self::Timeout { .. } => DnsErrorKind::Timeout,
            Self::Failed { .. } | Self::Setup { .. } | Self::Private { .. } | Self::OtherDomain { .. } => {
                DnsErrorKind::Unresolvable
            }
        }
    }
}
