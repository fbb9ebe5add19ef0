//! Front ends, and the ways to the users behind them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::hop::{HopConfig, HopConnection, HopGroup, HopTarget};
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use nuncio_translate::trust::TrustModel;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::listed::Listed;
pub use super::listed::NextHop;
use super::no_sessions::NO_SESSIONS_FOR;
use super::port::Port;
use super::restart::Waiting;
use super::{ConnectionId, Gateway, IdentityNumber, SipPort, ToSipEnvelope};

/// The machine that chooses among the next hops of one route.
pub type HopPort = Port<HopGroup<ToSipEnvelope>>;

/// One front end, as it is recognised.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    pub name: CompactString,
    /// The served domains it speaks for.
    pub domains: Vec<CompactString>,
    /// Names of its hosts.
    pub hosts: Vec<CompactString>,
    /// What it takes us for.
    pub trust: TrustModel,
    /// Whether P-Asserted-Identity of its requests says who the sender is (RFC 3325).
    pub asserts_identities: bool,
    /// How messages go to its users.
    pub im: Im,
}

/// How messages go to the users of a front end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Im {
    /// Each alone, as MESSAGE, unless the user has begun a session himself.
    #[default]
    Pager,
    /// In sessions; alone where one is refused (CH-03).
    Session,
    /// In sessions as long as the front end knows what they are.
    Automatic,
}

/// A connection that a group of next hops wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectOrder {
    /// The number of the next hop.
    pub target: usize,
    /// The attempt has failed if it takes longer; if there is nobody else to try, it may take its time.
    pub within: Option<Duration>,
}

impl FrontEnd {
    pub fn new(name: &str, domains: Vec<CompactString>) -> Self {
        Self {
            name: name.into(),
            domains,
            hosts: Vec::new(),
            trust: TrustModel::Plain,
            asserts_identities: true,
            im: Im::default(),
        }
    }

    /// Messages go to its users in this way.
    #[must_use]
    pub fn with_im(mut self, im: Im) -> Self {
        self.im = im;
        self
    }

    /// With the names its hosts go by.
    #[must_use]
    pub fn with_hosts(mut self, hosts: impl IntoIterator<Item = CompactString>) -> Self {
        self.hosts = hosts.into_iter().collect();
        self
    }

    /// With what it takes us for, and whether the identities it asserts count.
    #[must_use]
    pub fn with_trust(mut self, trust: TrustModel, asserts_identities: bool) -> Self {
        (self.trust, self.asserts_identities) = (trust, asserts_identities);
        self
    }

    pub(super) fn speaks_for(&self, domain: &str) -> bool {
        self.domains.iter().any(|served| served == domain)
    }
}

/// The way to the users of some served domains: the next hops of all front ends that serve them, in order. Domains with
/// the same front ends in the same order share a route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The served domains whose users are reached this way; none if it is for dialogs only.
    pub domains: Vec<CompactString>,
    /// What we are to the front ends on it.
    pub(super) identity: IdentityNumber,
    /// The front end for whose dialogs it is, by its place in the configuration.
    pub(super) dialogs_of: Option<usize>,
    pub hops: Arc<HopPort>,
    /// The front ends that it leads to, by their places in the configuration.
    front_ends: Arc<[usize]>,
    /// What the targets of the group are.
    listed: Arc<Mutex<Listed>>,
    /// The connection that the group wants, until its driver takes the order.
    pub(super) connect: Arc<Mutex<Option<ConnectOrder>>>,
    /// Rung when the last next hop has failed, too; each domain that is looked up may wait for it.
    failed: Arc<Notify>,
    /// The deadline its driver sleeps towards.
    pub(super) armed: Arc<Mutex<Option<Instant>>>,
    /// Pairs of the process before this one that wait for room here, and those whose front end was away.
    pub(super) resuming: Waiting,
    /// Of the group's load, the requests of subscriptions. Nobody is owed their outcome.
    pub(super) events: Arc<AtomicUsize>,
    /// Until then nobody is invited this way where that is left to us: seconds of Unix time.
    no_sessions_until: Arc<AtomicU64>,
    /// The fingerprint of the user whose side said last that it knows no INVITE, if no session has come about since; else 0.
    refused_by: Arc<AtomicU64>,
}

impl Route {
    /// The way to the users of these domains over `next_hops`, in order of preference. `random` is the seed of the
    /// back-off's jitter.
    pub fn new(domains: Vec<CompactString>, next_hops: Vec<NextHop>, config: HopConfig, random: u64) -> Self {
        let labels = next_hops.iter().map(ToString::to_string);
        let hops = HopGroup::new(config, labels, random);
        let front_ends = next_hops.iter().map(|hop| hop.front_end).collect();
        Self {
            domains,
            identity: 0,
            dialogs_of: None,
            hops: Arc::new(Port::new(hops)),
            front_ends,
            listed: Arc::new(Mutex::new(Listed::new(next_hops))),
            connect: Arc::default(),
            failed: Arc::default(),
            armed: Arc::default(),
            resuming: Waiting::default(),
            events: Arc::default(),
            no_sessions_until: Arc::default(),
            refused_by: Arc::default(),
        }
    }

    /// The way to one front end among several of a domain, for requests inside the dialogs that it holds: the others know
    /// nothing of them. The group has the next hops of this one only.
    pub fn of_dialogs(front_end: usize, next_hops: Vec<NextHop>, config: HopConfig, random: u64) -> Self {
        let route = Self::new(Vec::new(), next_hops, config, random);
        Self { dialogs_of: Some(front_end), ..route.leading_to([front_end]) }
    }

    /// The same, also to these front ends, whose next hops will be [listed](Self::list).
    #[must_use]
    pub fn leading_to(mut self, front_ends: impl IntoIterator<Item = usize>) -> Self {
        self.front_ends = self.front_ends.iter().copied().chain(front_ends).collect();
        self
    }

    /// These are the next hops from now on, in order of preference; `evidence` says how that is known. Connections to others
    /// are used until there is a better one. Whoever calls this serves the route then. True if that changes anything.
    pub fn list(&self, next_hops: Vec<NextHop>, evidence: Vec<String>, now: Instant) -> bool {
        let (targets, changed) = self.listed.lock().replace(next_hops, evidence);
        let target = |(id, hop): (usize, NextHop)| HopTarget { id, label: hop.to_string(), rank: hop.rank };
        self.hops.step(|group| group.list(targets.into_iter().map(target), now));
        changed
    }

    /// Why no next hop is known of this domain, should somebody have to be told.
    pub fn nothing_listed(&self, domain: &str, why: &str) {
        self.listed.lock().evidence = vec![why.to_owned()];
        self.hops.step(|group| group.nothing_listed(domain, why));
    }

    /// The next hop of this number, also if it is not listed any more.
    pub fn next_hop(&self, target: usize) -> Option<NextHop> {
        self.listed.lock().get(target).cloned()
    }

    /// The next hops now, in order of preference.
    pub fn next_hops(&self) -> Vec<NextHop> {
        self.listed.lock().now().cloned().collect()
    }

    /// How the next hops are known, where DNS names them.
    pub fn evidence(&self) -> Vec<String> {
        self.listed.lock().evidence.clone()
    }

    /// For contacts on whose behalf we have this identity.
    #[must_use]
    pub fn under(mut self, identity: IdentityNumber) -> Self {
        self.identity = identity;
        self
    }

    /// Whether users of this domain are reached by it.
    pub(super) fn serves(&self, local_domain: &str) -> bool {
        self.domains.iter().any(|served| served == local_domain)
    }

    /// For the group's driver: the connection to make, if one is wanted.
    pub fn take_connect_order(&self) -> Option<ConnectOrder> {
        self.connect.lock().take()
    }

    /// For the group's driver: an attempt to connect came to nothing.
    pub fn connect_failed(&self, why: impl Into<String>, now: Instant) {
        let all_failed = self.hops.feed(|group| {
            group.connect_failed(why, now);
            group.is_backing_off(now)
        });
        if all_failed {
            self.failed.notify_waiters();
        }
    }

    /// Waits until every next hop has failed: perhaps there are others by now.
    pub async fn all_failed(&self) {
        self.failed.notified().await;
    }

    /// For the group's driver: when it has to wake by itself. It is woken if that becomes earlier.
    pub fn arm(&self) -> Option<Instant> {
        let deadline = self.hops.step(|group| group.deadline());
        *self.armed.lock() = deadline;
        deadline
    }

    /// The front end that it leads to, if that is only one.
    pub(super) fn only_front_end(&self) -> Option<usize> {
        let first = *self.front_ends.first()?;
        self.front_ends.iter().all(|other| *other == first).then_some(first)
    }

    /// Which front end a target of the group belongs to.
    pub fn front_end_of(&self, target: usize) -> Option<usize> {
        self.listed.lock().get(target).map(|hop| hop.front_end)
    }

    /// The names that next hops of this front end have to prove, as DNS has them.
    pub fn server_names(&self, front_end: usize) -> Vec<CompactString> {
        let listed = self.listed.lock();
        let own = listed.now().filter(|hop| hop.front_end == front_end);
        own.map(|hop| hop.server_name.clone()).collect()
    }

    /// This is where DNS says that the host of a next hop is.
    pub fn found(&self, hop: &NextHop, addresses: Vec<IpAddr>, now: Instant) {
        self.listed.lock().found(hop, addresses, now);
    }

    /// Where it said of late that those listed now are: each with the front end.
    pub(super) fn addresses(&self, now: Instant) -> Vec<(usize, IpAddr)> {
        self.listed.lock().addresses(now).collect()
    }

    /// Whether a next hop of this front end, now or of late, has such a host.
    pub(super) fn has_host(&self, front_end: usize, is_it: impl Fn(&str) -> bool) -> bool {
        let listed = self.listed.lock();
        listed.known().any(|hop| hop.front_end == front_end && is_it(&hop.host))
    }

    pub(super) fn leads_to(&self, front_end: usize) -> bool {
        self.front_ends.contains(&front_end)
    }

    /// Messages and notices taken and not yet given back.
    pub(super) fn owes(&self) -> usize {
        self.hops.step(|group| group.load()).saturating_sub(self.events.load(Ordering::Relaxed))
    }

    /// The connection in use, if it leads to this front end.
    fn connection_to(&self, front_end: usize) -> Option<HopConnection> {
        let (connection, target) = self.hops.step(|group| group.active())?;
        (self.front_end_of(target) == Some(front_end)).then_some(connection)
    }
}

impl Gateway {
    /// The front ends in the order of the configuration.
    pub fn front_ends(&self) -> &[FrontEnd] {
        &self.front_ends
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether the user of a pair is invited to sessions; nobody is when the process is going to end.
    pub(super) fn invites(&self, key: &PairKey, now: Moment) -> bool {
        if self.ending.load(Ordering::Relaxed) {
            return false;
        }
        let Some((_, route)) = self.numbered_route_of(key) else { return false };
        let im = |front_end: usize| self.front_ends.get(front_end).map_or(Im::Pager, |known| known.im);
        let mut modes = route.front_ends.iter().map(|front_end| im(*front_end));
        let Some(first) = modes.next() else { return false };
        let same = modes.all(|mode| mode == first);
        // Where they differ, the one in use decides.
        let active = || route.hops.step(|group| group.active()).and_then(|(_, hop)| route.front_end_of(hop));
        let knows_invite = || now.unix() >= route.no_sessions_until.load(Ordering::Relaxed);
        let front_end_takes = match if same { first } else { active().map_or(first, im) } {
            Im::Pager => false,
            Im::Session => true,
            Im::Automatic => knows_invite(),
        };
        front_end_takes && self.no_sessions.invites(key.sip_user(), now)
    }

    /// A front end has refused a session with this status. That user is not invited again for a while, and at front ends
    /// that do not know INVITE at all nobody is. It takes two users to tell, and no session in between: the status may be
    /// the word of one user's device.
    pub(super) fn sessions_refused(&self, key: &PairKey, status: Option<u16>, now: Moment) {
        let user = self.no_sessions.refused(key.sip_user(), now);
        if let (Some(405 | 501), Some((_, route))) = (status, self.numbered_route_of(key)) {
            let before = route.refused_by.swap(user, Ordering::Relaxed);
            if before != 0 && before != user {
                let until = now.unix().saturating_add(NO_SESSIONS_FOR.as_secs());
                route.no_sessions_until.store(until, Ordering::Relaxed);
            }
        }
    }

    /// A session with the user has come about, whoever began it: he may be invited, and so may others there.
    pub(super) fn sessions_taken(&self, key: &PairKey) {
        self.no_sessions.taken(key.sip_user());
        if let Some((_, route)) = self.numbered_route_of(key) {
            route.refused_by.store(0, Ordering::Relaxed);
            route.no_sessions_until.store(0, Ordering::Relaxed);
        }
    }

    /// The way of a request inside a dialog that the front end of this name holds, if there are others beside it.
    pub(super) fn dialog_route(
        &self,
        identity: IdentityNumber,
        local_domain: &str,
        front_end: &str,
    ) -> Option<&Route> {
        let known = |known: &FrontEnd| known.name == front_end && known.speaks_for(local_domain);
        let index = self.front_ends.iter().position(known)?;
        self.routes.iter().find(|route| route.identity == identity && route.dialogs_of == Some(index))
    }

    /// The name of a front end, if it matters which one holds a dialog.
    pub(super) fn holder(&self, front_end: usize) -> &str {
        let matters = self.routes.iter().any(|route| route.dialogs_of == Some(front_end));
        self.front_ends.get(front_end).filter(|_| matters).map_or("", |front_end| &front_end.name)
    }

    /// Has a connection to a front end made, if there is none and it has not failed a moment ago. Nothing waits for it.
    pub(super) fn call(&self, front_end: usize, now: Moment) {
        if let Some(route) = self.routes.iter().find(|route| route.only_front_end() == Some(front_end)) {
            route.hops.feed(|group| group.knock(now.instant));
        }
    }

    /// A connection that we hold to a front end, on whichever route.
    pub(super) fn connection_to(&self, front_end: usize) -> Option<Arc<SipPort>> {
        let connection = self.routes.iter().find_map(|route| route.connection_to(front_end))?;
        self.connection(ConnectionId(connection.0))
    }
}
