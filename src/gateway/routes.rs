//! Front ends, and the ways to the users behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use compact_str::CompactString;
use nuncio_sip::hop::{HopConnection, HopGroup};
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use nuncio_translate::trust::TrustModel;
use parking_lot::Mutex;

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
    /// Whose each target of the group is, by the front end's place in the configuration.
    targets: Arc<[usize]>,
    /// The next hop the group wants a connection to, until its driver takes the order.
    pub(super) connect: Arc<Mutex<Option<usize>>>,
    /// The deadline its driver sleeps towards.
    pub(super) armed: Arc<Mutex<Option<Instant>>>,
    /// Pairs of the process before this one that wait for room here, and those whose front end was away.
    pub(super) resuming: Waiting,
    /// Of the group's load, the requests of subscriptions. Nobody is owed their outcome.
    pub(super) events: Arc<AtomicUsize>,
    /// Until then nobody is invited this way where that is left to us: seconds of Unix time.
    no_sessions_until: Arc<AtomicU64>,
}

impl Route {
    /// `targets` says for each target of the group which front end it belongs to.
    pub fn new(domains: Vec<CompactString>, targets: &[usize], hops: HopGroup<ToSipEnvelope>) -> Self {
        Self {
            domains,
            identity: 0,
            dialogs_of: None,
            hops: Arc::new(Port::new(hops)),
            targets: targets.into(),
            connect: Arc::default(),
            armed: Arc::default(),
            resuming: Waiting::default(),
            events: Arc::default(),
            no_sessions_until: Arc::default(),
        }
    }

    /// The way to one front end among several of a domain, for requests inside the dialogs that it holds: the others know
    /// nothing of them. The group has the next hops of this one only.
    pub fn of_dialogs(front_end: usize, next_hops: usize, hops: HopGroup<ToSipEnvelope>) -> Self {
        let targets = vec![front_end; next_hops];
        Self { dialogs_of: Some(front_end), ..Self::new(Vec::new(), &targets, hops) }
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

    /// For the group's driver: the number of the next hop to connect to, if one is wanted.
    pub fn take_connect_order(&self) -> Option<usize> {
        self.connect.lock().take()
    }

    /// For the group's driver: when it has to wake by itself. It is woken if that becomes earlier.
    pub fn arm(&self) -> Option<Instant> {
        let deadline = self.hops.step(|group| group.deadline());
        *self.armed.lock() = deadline;
        deadline
    }

    /// Which front end a target of the group belongs to.
    pub fn front_end_of(&self, target: usize) -> Option<usize> {
        self.targets.get(target).copied()
    }

    pub(super) fn leads_to(&self, front_end: usize) -> bool {
        self.targets.contains(&front_end)
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
        let mut modes = route.targets.iter().map(|front_end| im(*front_end));
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
    /// that do not know INVITE at all nobody is.
    pub(super) fn sessions_refused(&self, key: &PairKey, status: Option<u16>, now: Moment) {
        self.no_sessions.refused(key.sip_user(), now);
        if let (Some(405 | 501), Some((_, route))) = (status, self.numbered_route_of(key)) {
            let until = now.unix().saturating_add(NO_SESSIONS_FOR.as_secs());
            route.no_sessions_until.store(until, Ordering::Relaxed);
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

    /// A connection that we hold to a front end, on whichever route.
    pub(super) fn connection_to(&self, front_end: usize) -> Option<Arc<SipPort>> {
        let connection = self.routes.iter().find_map(|route| route.connection_to(front_end))?;
        self.connection(ConnectionId(connection.0))
    }
}
