//! The configuration: one TOML file, overridden by environment and flags.
//!
//! The way of a value:
//!
//! 1. `source` reads each TOML file and notes where every value stands;
//! 2. `read` checks each file by itself, strictly, against the sections of `file`: unknown keys, wrong types and
//!    impossible values are all reported, not only the first;
//! 3. the crate `config` lays files, environment (`NUNCIO_SECTION__KEY`) and flags over each other, each value still
//!    knowing where it came from;
//! 4. the result is read again, now complete, and `check` judges what only shows between values;
//! 5. `resolve` makes the [`Config`], in which nothing is wrong or missing any more.
//!
//! The sections are declared once, in `file` and `limits`: types, defaults, suggestions for misspelt keys and the
//! tables of `docs/configuration.md` come from that declaration.

mod address;
mod block;
mod certificates;
mod check;
mod contact;
mod effective;
mod federation;
mod file;
mod leaf;
mod limits;
mod network;
mod pem;
mod policy;
mod problem;
mod read;
pub mod reference;
mod resolve;
mod schema;
mod source;
mod stored;
mod value;
mod words;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nuncio_xmpp::{Methods, Negotiation, NegotiationRules};

pub(crate) use address::both_forms;
pub use address::{
    Bind, CertificateName, DnsServer, Domain, DomainError, Host, HostPort, NextHop, SentBy, SourceAddress,
};
pub use block::{Block, BlockAddress};
pub use certificates::Certificates;
pub use check::partners::SPOOFABLE;
pub use contact::ContactUri;
pub use effective::{Difference, Effective, Origin, Setting, written};
pub use federation::{Proxy, Secret, SpkiPin};
pub use limits::{Limits, PairLimits, PresenceLimits, SipLimits, StoreLimits, XmppLimits};
pub use network::Network;
pub use policy::SipUsers;
pub use problem::{Problem, Report, Severity};
pub use source::Sources;
pub use stored::{Entry, GLOBAL, Kind, SetAside, Stored};
pub use value::{
    Family, Im, LogAddresses, LogFilter, LogFormat, Lookup, NodeLabel, PartnerType, Text, TlsBackend,
    TrustModel, ValueError, Verdict,
};
pub(crate) use value::{duration_text, nearest, printable, quoted, shown, with_words_cut};

/// Where the configuration is looked for unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/nuncio/nuncio.toml";
/// Where root keeps keys that the unit of the package hands over at the start, as copies.
pub const HANDED_OVER_FROM: &str = "/etc/nuncio/keys";

/// A configuration in which every value is right by itself and all fit together.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[log]`
    pub log: Log,
    /// `[dns]`
    pub dns: Dns,
    /// `[sip]`
    pub sip: Sip,
    /// `[xmpp]`
    pub xmpp: Xmpp,
    /// `[[certificate]]`
    pub certificates: Certificates,
    /// `[control]`
    pub control: Control,
    /// `[limits]`
    pub limits: Limits,
    /// `[policy]`
    pub policy: Policy,
    /// `[[partner]]`
    pub partners: Partners,
    /// `[[block]]`
    pub blocks: Vec<Block>,
}

/// A configuration with what is known of its making.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Warnings.
    pub report: Report,
    /// The same key by key, with where each value comes from.
    pub effective: Effective,
    /// Stored entries that do not hold.
    pub set_aside: Vec<SetAside>,
}

impl Config {
    /// Loads and checks the configuration. `identity` judges whether a certificate and a key belong together; it gets
    /// files that exist, can be read and look like what they should be, and answers with a sentence.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place; see [`Report`]. Warnings come with the configuration.
    pub fn load(
        sources: &Sources,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) -> Result<(Self, Report), Report> {
        Self::load_whole(sources, identity).map(|Loaded { config, report, .. }| (config, report))
    }

    /// The same with where each value comes from.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_whole(
        sources: &Sources,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) -> Result<Loaded, Report> {
        resolve::load(sources, identity)
    }

    /// The state directory, however wrong everything else may be: what is stored there belongs to the configuration.
    pub fn state_dir(sources: &Sources) -> Option<PathBuf> {
        resolve::state_dir(sources)
    }

    /// Where the control socket is, however wrong everything else may be, and what is wrong with what was read: who cannot read
    /// it all does not know that it says nothing of the socket.
    pub fn control_socket(sources: &Sources) -> (Option<PathBuf>, Report) {
        resolve::control_socket(sources)
    }

    /// The names of the hosts that partners connect to, in order of preference. None if there is no name for them.
    pub fn xmpp_hosts(&self) -> Vec<&Domain> {
        match (self.xmpp.hosts.as_slice(), &self.sip.name.host) {
            ([], Host::Name(name)) => vec![name],
            (hosts, _) => hosts.iter().collect(),
        }
    }

    /// Whether `domain` is a SIP domain that we serve.
    pub fn serves(&self, domain: &Domain) -> bool {
        self.sip.routes.contains_key(domain)
    }
}

/// This node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Goes into every identifier that we generate.
    pub label: NodeLabel,
    /// Where what must survive a restart is kept.
    pub state_dir: PathBuf,
}

/// Logging.
#[derive(Clone, Debug)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogFilter,
    /// How addresses of users appear.
    pub addresses: LogAddresses,
}

/// DNS.
#[derive(Clone, Debug)]
pub struct Dns {
    /// The servers asked, in this order; `None`: those of the system.
    pub servers: Option<Vec<SocketAddr>>,
    /// Time for one query.
    pub timeout: Duration,
}

/// Certificate chain and key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The chain, own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How outbound connections leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Their local address; `None`: the system chooses.
    pub source_address: Option<IpAddr>,
    /// The protocols used. Never contradicts `source_address`.
    pub family: Family,
}

/// How connections to partners leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmppConnect {
    /// As for any other connection.
    pub connect: Connect,
    /// DNS may lead to private, loopback and link-local addresses.
    pub private_addresses: bool,
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// For `[::]` only: take IPv6 connections only (`IPV6_V6ONLY`), or IPv4 too.
    pub only_v6: bool,
    /// Of the XMPP side only: connections have to begin with TLS.
    pub direct_tls: bool,
    /// The load balancers that connect, and say whose connection it is; empty: peers connect themselves.
    pub proxies: Vec<Network>,
}

/// The SIP side.
#[derive(Clone, Debug)]
pub struct Sip {
    /// The SIP domains served, in the order of the file; never empty. They are our XMPP domains too.
    pub domains: Vec<Domain>,
    /// What we call ourselves in Via and Contact.
    pub name: SentBy,
    /// Used on the listeners and towards front ends.
    pub identity: Identity,
    /// The roots that front ends' certificates must chain to, a PEM file.
    pub roots: PathBuf,
    /// Revocation lists that front ends' certificates are looked up in, a PEM file.
    pub crls: Option<PathBuf>,
    /// Towards front ends.
    pub connect: Connect,
    /// Never empty.
    pub listeners: Vec<Listener>,
    /// For partners of some types.
    pub identities: Vec<SipIdentity>,
    /// Never empty.
    pub front_ends: Vec<FrontEnd>,
    routes: HashMap<Domain, Vec<usize>>,
}

/// What we call ourselves to front ends, and what proves it.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The key of the name in the file.
    pub key: &'static str,
    /// The key of the certificate there.
    pub certificate_key: &'static str,
    /// The name.
    pub name: &'a SentBy,
    /// The certificate.
    pub identity: &'a Identity,
}

impl Sip {
    /// What we are to front ends: the identity for all, then those for partners of some types, in the order of the file.
    pub fn called(&self) -> impl Iterator<Item = Called<'_>> {
        let all = Called {
            key: "sip.name",
            certificate_key: "[sip] certificate",
            name: &self.name,
            identity: &self.identity,
        };
        let others = self.identities.iter().map(|SipIdentity { name, identity, .. }| Called {
            key: "sip.identity.name",
            certificate_key: "[[sip.identity]] certificate",
            name,
            identity,
        });
        std::iter::once(all).chain(others)
    }

    /// The front ends that serve `domain`, in the order in which they are tried; none if `domain` is not served,
    /// at least one if it is.
    pub fn front_ends_of(&self, domain: &Domain) -> impl Iterator<Item = &FrontEnd> {
        self.routes.get(domain).into_iter().flatten().filter_map(|index| self.front_ends.get(*index))
    }

    /// The ways to all served domains: those with the same front ends in the same order share one.
    pub fn routes(&self) -> Vec<Route<'_>> {
        let mut routes: Vec<(&[usize], Route<'_>)> = Vec::new();
        for domain in &self.domains {
            let order = self.routes.get(domain).map_or(&[][..], Vec::as_slice);
            if let Some((_, route)) = routes.iter_mut().find(|(other, _)| *other == order) {
                route.domains.push(domain);
                continue;
            }
            let front_ends = order
                .iter()
                .filter_map(|index| self.front_ends.get(*index).map(|front_end| (*index, front_end)));
            let next_hops = front_ends
                .flat_map(|(index, front_end)| front_end.next_hops.iter().map(move |hop| (index, hop)))
                .collect();
            routes.push((order, Route { domains: vec![domain], next_hops }));
        }
        routes.into_iter().map(|(_, route)| route).collect()
    }

    /// The front ends that are not alone on some route, each with its next hops: there a request inside a dialog has to go
    /// to the one that holds it.
    pub fn dialog_holders(&self) -> Vec<(usize, &[NextHop])> {
        let shares =
            |index: usize| self.routes.values().any(|order| order.len() > 1 && order.contains(&index));
        let front_ends = self.front_ends.iter().enumerate().filter(|(index, _)| shares(*index));
        front_ends.map(|(index, front_end)| (index, front_end.next_hops.as_slice())).collect()
    }
}

/// The way to the users of some served domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The domains; never empty.
    pub domains: Vec<&'a Domain>,
    /// The next hops of their front ends in the order in which they are tried, each with its front end's place in
    /// [`Sip::front_ends`].
    pub next_hops: Vec<(usize, &'a NextHop)>,
}

/// What we are to front ends for partners of some types.
#[derive(Clone, Debug)]
pub struct SipIdentity {
    /// What we call ourselves in Via and Contact.
    pub name: SentBy,
    /// Their types; never empty, and no type is in two identities.
    pub types: Vec<PartnerType>,
    /// Used towards front ends.
    pub identity: Identity,
}

/// A front end or pool of them.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// Its name in logs.
    pub name: String,
    /// The names that its certificates may carry. None: of each host its own name, in a domain looked up by its federation
    /// record.
    pub certificate_names: Vec<CertificateName>,
    /// Where requests are sent, tried in this order; never empty.
    pub next_hops: Vec<NextHop>,
    /// By which records domains among `next_hops` are looked up.
    pub lookup: Lookup,
    /// The served domains whose users it has; never empty.
    pub domains: Vec<Domain>,
    /// What it takes us for.
    pub trust: TrustModel,
    /// Whether P-Asserted-Identity of its requests counts.
    pub asserted_identity: bool,
    /// How messages go to its users.
    pub im: Im,
    /// Which library does TLS with it; one that this build has.
    pub tls_backend: TlsBackend,
}

impl FrontEnd {
    /// Who serves a domain by RFC 3263 shows the name of the domain, unless other names are given (RFC 5922 §7.3).
    fn named_by_its_domains(mut self) -> Self {
        if self.certificate_names.is_empty() && self.lookup == Lookup::Sip {
            let domains = self.next_hops.iter().filter_map(|hop| match hop {
                NextHop::Of(domain) => Some(domain.clone().into()),
                NextHop::At(_) => None,
            });
            self.certificate_names = domains.collect();
        }
        self
    }
}

/// The XMPP side.
#[derive(Clone, Debug)]
pub struct Xmpp {
    /// The hosts that partners connect to, in order of preference; empty: that of `sip.name`. See [`Config::xmpp_hosts`].
    pub hosts: Vec<Domain>,
    /// The roots that partners' certificates must chain to, a PEM file; `None`: those of the system.
    pub roots: Option<PathBuf>,
    /// The file with the secret of dialback keys; `None`: it is generated. [`Secret::from_file`] reads it.
    pub dialback_secret: Option<PathBuf>,
    /// Towards partners.
    pub connect: XmppConnect,
    /// Never empty.
    pub listeners: Vec<Listener>,
    /// Whether who asks is told which version this is.
    pub tell_version: bool,
    /// Whether HTML keeps its form (XEP-0071).
    pub xhtml_im: bool,
    /// Whether what is encrypted from end to end goes back (XEP-0380).
    pub refuse_encrypted: bool,
    /// Whom people turn to.
    pub contacts: Contacts,
}

/// Whom people turn to about this gateway (XEP-0157).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// `xmpp.contacts.abuse`
    pub abuse: Vec<ContactUri>,
    /// `xmpp.contacts.admin`
    pub admin: Vec<ContactUri>,
    /// `xmpp.contacts.feedback`
    pub feedback: Vec<ContactUri>,
    /// `xmpp.contacts.sales`
    pub sales: Vec<ContactUri>,
    /// `xmpp.contacts.security`
    pub security: Vec<ContactUri>,
    /// `xmpp.contacts.status`
    pub status: Vec<ContactUri>,
    /// `xmpp.contacts.support`
    pub support: Vec<ContactUri>,
}

/// Administration while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket; `None`: the usual place, if there can be one.
    pub socket: Option<PathBuf>,
    /// Its members may do everything.
    pub admin_group: String,
    /// Its members may see everything.
    pub viewer_group: String,
    /// The same over TCP.
    pub remote: Option<ControlRemote>,
}

/// Administration over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRemote {
    /// Address and port.
    pub listen: SocketAddr,
    /// What is shown there.
    pub identity: Identity,
    /// The file of tokens.
    pub tokens: PathBuf,
}

/// Which SIP users may talk to partners, and for how long a contact counts as added.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The global switch; off refuses everybody.
    pub enabled: bool,
    /// For users no rule speaks of.
    pub default: Verdict,
    /// How long a SIP user who added a contact counts as having added him after his last SUBSCRIBE.
    pub consent: Duration,
    /// Whether idle times cross.
    pub idle_times: bool,
    /// Whether contacts whose addresses mix scripts may ask to see SIP users.
    pub mixed_scripts: bool,
    /// In the order of the file; a rule that denies wins.
    pub rules: Vec<PolicyRule>,
}

/// One rule about SIP users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What it is called, if it has a name.
    pub name: Option<String>,
    /// Never empty.
    pub users: Vec<SipUsers>,
    /// Domains of partners; empty: all partners.
    pub partners: Vec<Domain>,
    /// What it says.
    pub verdict: Verdict,
}

/// A federated organisation or provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Its primary domain.
    pub domain: Domain,
    /// Its further domains; subdomains are not included by themselves.
    pub additional_domains: Vec<Domain>,
    /// Free text for administrators.
    pub description: String,
    /// Off: treated like a domain that is not listed, but says so in the log.
    pub enabled: bool,
    /// The trust level.
    pub partner_type: PartnerType,
    /// How his streams are negotiated. [`Negotiation::verdict`] by `rules` is never a refusal.
    pub negotiation: Negotiation,
    /// His own rules, or those of all.
    pub rules: NegotiationRules,
    /// Whether silence on his streams is looked into.
    pub keep_alive: bool,
    /// Whether stanzas may go both ways on one stream.
    pub bidirectional: bool,
    /// Whether stream management is spoken.
    pub stream_management: bool,
    /// Most streams with all his domains at a time, whoever opens them.
    pub connection_limit: usize,
    /// Longest of his stanzas, in octets.
    pub stanza_limit: usize,
    /// Deepest nesting in one of them.
    pub stanza_depth: usize,
    /// Most attributes of one element in them.
    pub stanza_attributes: usize,
    /// Most of his stanzas in a second; 0: any number.
    pub stanzas_per_second: usize,
    /// Most of his bytes in a second; 0: any number.
    pub bytes_per_second: usize,
    /// Where to connect instead of asking DNS.
    pub proxy: Option<HostPort>,
    /// Roots instead of those of all, a PEM file.
    pub roots: Option<PathBuf>,
    /// The keys his certificates may have; empty: any.
    pub pins: Vec<SpkiPin>,
    /// A pinned key is believed without a chain.
    pub pins_replace_roots: bool,
    /// Revocation lists, a PEM file.
    pub crls: Option<PathBuf>,
}

impl Partner {
    /// The primary domain and the additional ones.
    pub fn domains(&self) -> impl Iterator<Item = &Domain> {
        std::iter::once(&self.domain).chain(&self.additional_domains)
    }

    /// The ways to authenticate his streams; never none.
    pub fn methods(&self) -> Methods {
        self.negotiation.verdict(self.rules).methods()
    }
}

/// The partners, enabled or not. A domain belongs to one partner at most, and never is a served domain.
#[derive(Clone, Debug, Default)]
pub struct Partners {
    list: Vec<Partner>,
    of_domain: HashMap<Domain, usize>,
}

impl Partners {
    /// The partner to which `domain` belongs, enabled or not.
    pub fn of(&self, domain: &Domain) -> Option<&Partner> {
        self.of_domain.get(domain).and_then(|index| self.list.get(*index))
    }

    /// All partners in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Partner> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
