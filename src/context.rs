//! What every connection task shares: the gateway and the means to reach the world.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use nuncio_sip::Limits as SipLimits;
use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::{ChainStatus, InboundConfig, StreamLimits, Timeouts, TlsFacts};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Lookup, NextHop};
use crate::dns::{Dns, Family, Reach};
use crate::gateway::{Gateway, IdentityNumber};
use crate::net::blocked::BlockedNetworks;
use crate::net::listener::connect;
use crate::store::Store;
use crate::tls::{
    self, Backend, ClientTls, Identity, IdentityStore, PeerFacts, Proof, Roots, RootsStore, ServerTls,
};

/// Shared by all tasks of the running program.
pub struct Context {
    pub gateway: Arc<Gateway>,
    pub store: Arc<Store>,
    pub dns: Dns,
    pub sip: SipSide,
    pub xmpp: XmppSide,
    /// Set once the gateway is told to stop: no new connections, finish what is under way.
    pub stop: CancellationToken,
    /// Set when a stopping gateway has waited long enough for streams to partners.
    pub hurry: CancellationToken,
    /// Set last: nothing more goes to front ends.
    pub release: CancellationToken,
    /// The tasks of all lanes.
    pub lanes: TaskTracker,
    /// The tasks of all other connections.
    pub tasks: TaskTracker,
}

/// The means of the SIP side.
pub struct SipSide {
    /// What we call ourselves: the name for all, then those for partners of some types. The certificate of each of the latter is
    /// found in `identities` by its host.
    pub names: Arc<[SipName]>,
    pub identities: Arc<IdentityStore>,
    pub server: ServerTls,
    pub client: ClientTls,
    pub roots: Arc<RootsStore>,
    /// Revocation lists, beside the roots.
    pub proof: Arc<ArcSwap<Proof>>,
    pub leave: Leave,
    pub limits: SipLimits,
    pub max_pending: usize,
    pub handshake: Duration,
    /// How long requests wait for a connection.
    pub hold: Duration,
    /// How often it is looked whether who lends a connection is still who he was.
    pub lending_check: Duration,
    /// Time for a message to arrive whole, and for a stranger's first request.
    pub arrival: Duration,
    /// Same order as in the gateway.
    pub front_ends: Vec<FrontEndNames>,
    /// The front ends of which DNS has not said yet who they are, or that there is nobody.
    pub unsettled: watch::Sender<BTreeSet<usize>>,
    /// Where the next hops of each route come from; routes in the order of the gateway.
    pub routes: Vec<RouteHops>,
}

impl SipSide {
    /// The certificate that we show under this of our names.
    pub fn identity_of(&self, number: IdentityNumber) -> Arc<Identity> {
        let own = (number > 0).then(|| self.names.get(number)).flatten();
        self.identities.choose(own.map(|name| name.host.as_str()))
    }

    /// Whether what a front end presented is to be believed now.
    pub fn judge(&self, peer: &PeerFacts) -> tls::ChainStatus {
        self.proof.load().judge(peer, &self.roots.current(), SystemTime::now())
    }
}

/// A name of ours on the SIP side.
pub struct SipName {
    /// `host[:port]`, as it stands in Via.
    pub sent_by: String,
    pub host: String,
}

/// Where the next hops of one route come from, and what we are to them.
pub struct RouteHops {
    pub identity: IdentityNumber,
    /// In order of preference.
    pub sources: Vec<Source>,
}

/// How a front end is recognised.
pub struct FrontEndNames {
    pub name: String,
    /// None: those that DNS names.
    pub certificate_names: Vec<String>,
    /// Which library does TLS with it.
    pub backend: Backend,
}

impl FrontEndNames {
    /// The names that its certificates may carry: those of its entry, else those of the next hop.
    pub fn names_or<'a>(&'a self, of_hop: &'a [String]) -> &'a [String] {
        if self.certificate_names.is_empty() { of_hop } else { &self.certificate_names }
    }
}

/// Where one next hop, or several, come from.
#[derive(Clone)]
pub struct Source {
    /// The front end's place in [`SipSide::front_ends`].
    pub front_end: usize,
    pub place: NextHop,
    pub lookup: Lookup,
}

/// The means of the XMPP side.
pub struct XmppSide {
    pub identities: Arc<IdentityStore>,
    pub server: ServerTls,
    pub client: ClientTls,
    pub roots: Arc<RootsStore>,
    pub leave: Leave,
    pub inbound: InboundConfig,
    pub limits: StreamLimits,
    pub timeouts: Timeouts,
    /// Time to have a dialback key verified.
    pub verification: Duration,
    pub handshake: Duration,
    /// Where DNS may lead.
    pub reach: Reach,
    /// Time for one attempt to reach a partner, over all addresses.
    pub reach_time: Duration,
}

/// How outbound connections leave this machine.
#[derive(Debug, Clone)]
pub struct Leave {
    pub source: Option<IpAddr>,
    pub family: Family,
    pub timeout: Duration,
    /// Where none leads.
    pub blocked: BlockedNetworks,
}

impl Leave {
    /// Opens a connection. Whoever does so comes by here, so no block is forgotten.
    ///
    /// # Errors
    /// The operating system's, `TimedOut`, or `PermissionDenied` where the address is blocked.
    pub async fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        self.blocked.may_be_called(target.ip())?;
        connect(target, self.source, self.timeout).await
    }
}

impl XmppSide {
    /// What TLS showed about a partner, judged now against what is asked of him (resumed sessions as well).
    pub fn facts(&self, peer: &PeerFacts, proof: &Proof) -> TlsFacts {
        facts(peer, proof, &self.roots.current())
    }

    /// Our domains, for stream headers.
    pub fn served(&self) -> &[Domain] {
        &self.inbound.served
    }
}

/// What TLS showed about a peer, judged now.
pub(crate) fn facts(peer: &PeerFacts, proof: &Proof, roots: &Roots) -> TlsFacts {
    let (status, until) = proof.judge_lasting(peer, roots, SystemTime::now());
    let chain = match status {
        tls::ChainStatus::Valid => ChainStatus::Trusted,
        tls::ChainStatus::Missing => ChainStatus::Absent,
        other => ChainStatus::Untrusted(other.to_string().into()),
    };
    let names = peer.certificate().map(tls::xmpp_names);
    TlsFacts {
        chain,
        names: names.unwrap_or_default().into(),
        protocol: peer.version.to_string().into(),
        cipher: peer.cipher_suite.into(),
        expires_ms: until.map(unix_ms),
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
