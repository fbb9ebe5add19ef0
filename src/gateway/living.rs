//! Streams that are established: which there are, and how one is made to end. What the rules of this moment do not allow any
//! more ends at once; so does what an administrator wants to end.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use compact_str::CompactString;
use dashmap::DashMap;
use nuncio_translate::Moment;
use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::{Direction, Established, Method};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::Gateway;

/// Why a stream is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// The peer may not come in any more.
    NotAllowed,
    /// The terms are others: a new stream is to be made under them.
    OtherTerms,
    /// An administrator wants it so.
    Ordered,
}

impl Dismissal {
    const ALL: [Self; 3] = [Self::NotAllowed, Self::OtherTerms, Self::Ordered];

    /// What the peer is told. Who may not come in learns no more than a stranger.
    pub fn told(self) -> Option<(StreamCondition, &'static str)> {
        match self {
            Self::NotAllowed => {
                Some((StreamCondition::PolicyViolation, "this domain does not federate with yours"))
            }
            Self::OtherTerms => Some((StreamCondition::Reset, "the terms have changed; connect again")),
            Self::Ordered => None,
        }
    }

    /// For the log.
    pub fn why(self) -> &'static str {
        match self {
            Self::NotAllowed => "the partner may not come in any more",
            Self::OtherTerms => "the terms for streams with this partner have changed",
            Self::Ordered => "an administrator closed it",
        }
    }
}

/// All established streams.
#[derive(Debug, Default)]
pub(super) struct LivingStreams {
    next: AtomicU64,
    by_number: DashMap<u64, Arc<Living>>,
}

#[derive(Debug)]
struct Living {
    shown: StreamShown,
    address: Option<IpAddr>,
    method: Method,
    /// Further pairs of domains, ours first.
    more: Mutex<Vec<[String; 2]>>,
    /// 0: it may live; else the place of the reason in [`Dismissal::ALL`], and 1.
    dismissed: AtomicU8,
    /// Rings its session.
    wake: Arc<Notify>,
}

/// A stream for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamShown {
    /// Its number in this process.
    pub id: u64,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Our domain.
    pub local: String,
    /// The partner's domain.
    pub remote: String,
    /// Further pairs of domains that it may be used for, ours first.
    pub further: Vec<[String; 2]>,
    /// The other end.
    pub peer: String,
    /// How the partner proved his domain.
    pub method: String,
    /// The version of TLS; absent: none.
    pub tls: Option<String>,
    pub cipher: Option<String>,
    /// Whether stanzas go both ways.
    pub both_ways: bool,
    /// Seconds of Unix time.
    pub since: u64,
}

/// Keeps a stream among the living. It is none any more when this is dropped.
#[derive(Debug)]
pub struct Enlisted {
    living: Arc<Living>,
    streams: Arc<LivingStreams>,
}

impl Enlisted {
    /// Why it is to end, if it is.
    pub fn dismissed(&self) -> Option<Dismissal> {
        let reason = usize::from(self.living.dismissed.load(Ordering::Acquire)).checked_sub(1)?;
        Dismissal::ALL.get(reason).copied()
    }

    /// It may be used for one more pair of domains.
    pub fn joined(&self, local: &str, remote: &str) {
        self.living.more.lock().push([local.into(), remote.into()]);
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.streams.by_number.remove(&self.living.shown.id);
    }
}

impl Living {
    fn dismiss(&self, why: Dismissal) {
        let place = Dismissal::ALL.iter().position(|known| *known == why).unwrap_or_default();
        let code = u8::try_from(place + 1).unwrap_or(1);
        // The first reason stands.
        if self.dismissed.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.wake.notify_one();
        }
    }

    fn shown(&self) -> StreamShown {
        StreamShown { further: self.more.lock().clone(), ..self.shown.clone() }
    }

    /// The partner's domains on it.
    fn remotes(&self) -> Vec<String> {
        let more = self.more.lock();
        std::iter::once(&self.shown.remote).chain(more.iter().map(|[_, remote]| remote)).cloned().collect()
    }
}

impl Gateway {
    /// The stream of the session that `wake` rings is established.
    pub fn enlist(
        &self,
        established: &Established,
        direction: Direction,
        peer: &str,
        address: Option<IpAddr>,
        wake: &Arc<Notify>,
        now: Moment,
    ) -> Enlisted {
        let streams = &self.living;
        let tls = established.tls.as_ref();
        let shown = StreamShown {
            id: streams.next.fetch_add(1, Ordering::Relaxed) + 1,
            direction: match direction {
                Direction::Inbound => "inbound".into(),
                Direction::Outbound => "outbound".into(),
            },
            local: established.local.as_str().into(),
            remote: established.remote.as_str().into(),
            further: Vec::new(),
            peer: peer.into(),
            method: established.method.to_string(),
            tls: tls.map(|tls| tls.protocol.as_str().into()),
            cipher: tls.map(|tls| tls.cipher.as_str().into()),
            both_ways: established.both_ways,
            since: now.unix(),
        };
        let living = Arc::new(Living {
            address,
            method: established.method,
            more: Mutex::new(Vec::new()),
            dismissed: AtomicU8::new(0),
            wake: Arc::clone(wake),
            shown,
        });
        streams.by_number.insert(living.shown.id, Arc::clone(&living));
        // The rules may have changed while it came about; whoever changed them cannot have seen it.
        if let Some(why) = self.forbidden(&living) {
            living.dismiss(why);
        }
        Enlisted { living, streams: Arc::clone(streams) }
    }

    /// All established streams, in the order in which they came about.
    pub fn streams_shown(&self) -> Vec<StreamShown> {
        let mut list: Vec<StreamShown> = self.living.by_number.iter().map(|living| living.shown()).collect();
        list.sort_by_key(|stream| stream.id);
        list
    }

    /// Makes the streams end of which `which` says so; how many.
    pub fn close_streams(&self, which: impl Fn(&StreamShown) -> bool) -> usize {
        let list = self.living_streams();
        let closing = list.iter().filter(|living| which(&living.shown()));
        closing.inspect(|living| living.dismiss(Dismissal::Ordered)).count()
    }

    /// Makes streams end that the rules of this moment do not allow, and those with one of `domains`, whose terms are others
    /// now; how many.
    pub fn end_forbidden_streams(&self, domains: &[CompactString]) -> usize {
        let mut count = 0;
        for living in self.living_streams() {
            let renegotiate =
                || living.remotes().iter().any(|remote| domains.iter().any(|domain| domain == remote));
            let why = self.forbidden(&living).or_else(|| renegotiate().then_some(Dismissal::OtherTerms));
            if let Some(why) = why {
                living.dismiss(why);
                count += 1;
            }
        }
        count
    }

    fn living_streams(&self) -> Vec<Arc<Living>> {
        self.living.by_number.iter().map(|living| Arc::clone(&living)).collect()
    }

    fn forbidden(&self, living: &Living) -> Option<Dismissal> {
        let policy = self.policy();
        if living.address.is_some_and(|address| self.is_blocked(address)) {
            return Some(Dismissal::NotAllowed);
        }
        if living.remotes().iter().any(|remote| policy.open_partner(remote).is_err()) {
            return Some(Dismissal::NotAllowed);
        }
        let methods = self.partner_streams(&living.shown.remote).methods();
        let allowed = match living.method {
            Method::SaslExternal => methods.external,
            Method::DialbackTls => methods.dialback_tls,
            Method::DialbackTcp => methods.dialback_tcp,
            // One that is not known here is in no set of ways.
            _ => false,
        };
        (!allowed).then_some(Dismissal::OtherTerms)
    }

    /// Addresses from which nobody may connect.
    pub fn set_blocked_networks(&self, networks: Vec<crate::config::Network>) {
        self.blocked_networks.store(Arc::new(networks));
    }

    /// Whether nobody may connect from there (SEC-41).
    pub fn is_blocked(&self, address: IpAddr) -> bool {
        self.blocked_networks.load().iter().any(|network| network.contains(address))
    }
}
