//! Streams that are established: which there are, and how one is made to end. What the rules of this moment do not allow any
//! more ends at once; so does what an administrator wants to end.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use dashmap::DashMap;
use nuncio_translate::Moment;
use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::{Direction, Established, Method};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use super::{Gateway, TermsOfNow};
use crate::net::blocked::{BlockedNetworks, IsBlocked};
use crate::tls::{ChainStatus, Credentials};

/// Why a stream is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dismissal {
    /// The peer may not come in any more.
    NotAllowed,
    /// The address at its other end is blocked.
    Blocked(IsBlocked),
    /// The terms are others: a new stream is to be made under them.
    OtherTerms,
    /// The certificate that let the peer in is not believed any more; why, for people.
    NotBelieved(String),
    /// An administrator wants it so.
    Ordered,
}

impl Dismissal {
    /// What the peer is told. Who may not come in learns no more than a stranger.
    pub fn told(&self) -> Option<(StreamCondition, &'static str)> {
        match self {
            Self::NotAllowed | Self::Blocked(_) => {
                Some((StreamCondition::PolicyViolation, "this domain does not federate with yours"))
            }
            Self::OtherTerms => Some((StreamCondition::Reset, "the terms have changed; connect again")),
            Self::NotBelieved(_) => {
                Some((StreamCondition::Reset, "your certificate does not prove your domain any more"))
            }
            Self::Ordered => None,
        }
    }
}

/// For the log.
impl fmt::Display for Dismissal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("the partner may not come in any more"),
            Self::Blocked(why) => write!(f, "the address at its other end is blocked: {why}"),
            Self::OtherTerms => f.write_str("the terms for streams with this partner have changed"),
            Self::NotBelieved(why) => write!(
                f,
                "by the roots, pins and revocation lists of now the partner's certificate is not trusted: {why}"
            ),
            Self::Ordered => f.write_str("an administrator closed it"),
        }
    }
}

/// All established streams.
#[derive(Debug, Default)]
pub(super) struct LivingStreams {
    next: AtomicU64,
    by_number: DashMap<u64, Arc<Living>>,
}

/// A stream that has come about.
#[derive(Debug)]
pub struct CameAbout<'a> {
    pub established: &'a Established,
    pub direction: Direction,
    /// The other end, for people.
    pub peer: &'a str,
    pub address: Option<IpAddr>,
    /// What the peer presented, if that let it in.
    pub credentials: Option<Arc<Credentials>>,
    /// The terms under which it was negotiated.
    pub under: TermsOfNow,
    /// Rings its session.
    pub wake: Arc<Notify>,
}

#[derive(Debug)]
struct Living {
    shown: StreamShown,
    address: Option<IpAddr>,
    method: Method,
    credentials: Option<Arc<Credentials>>,
    under: TermsOfNow,
    /// Further pairs of domains, ours first, and under which terms each was let in.
    more: Mutex<Vec<([String; 2], TermsOfNow)>>,
    /// Why it is to end, if it is.
    dismissed: OnceLock<Dismissal>,
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
    pub fn dismissed(&self) -> Option<&Dismissal> {
        self.living.dismissed.get()
    }
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.streams.by_number.remove(&self.living.shown.id);
    }
}

impl Living {
    fn dismiss(&self, why: Dismissal) {
        // The first reason stands.
        if self.dismissed.set(why).is_ok() {
            self.wake.notify_one();
        }
    }

    fn shown(&self) -> StreamShown {
        let further = self.more.lock().iter().map(|(domains, _)| domains.clone()).collect();
        StreamShown { further, ..self.shown.clone() }
    }

    /// The partner's domains on it, each with the terms under which it was let in.
    fn remotes(&self) -> Vec<(String, TermsOfNow)> {
        let more = self.more.lock();
        let more = more.iter().map(|([_, remote], under)| (remote.clone(), *under));
        std::iter::once((self.shown.remote.clone(), self.under)).chain(more).collect()
    }
}

impl Gateway {
    /// A stream is established. Whether it may carry anything, [`Enlisted::dismissed`] says: the rules may have changed while
    /// it came about, and whoever changed them cannot have seen it.
    pub fn enlist(&self, stream: CameAbout<'_>, now: Moment) -> Enlisted {
        let CameAbout { established, direction, peer, address, credentials, under, wake } = stream;
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
            credentials: credentials.filter(|_| established.by_certificate),
            under,
            more: Mutex::new(Vec::new()),
            dismissed: OnceLock::new(),
            wake,
            shown,
        });
        streams.by_number.insert(living.shown.id, Arc::clone(&living));
        self.end_if_not_allowed(&living);
        Enlisted { living, streams: Arc::clone(streams) }
    }

    /// It may be used for one more pair of domains, let in under these terms. May dismiss it, as [`Self::enlist`] may.
    pub fn joined(&self, stream: &Enlisted, local: &str, remote: &str, under: TermsOfNow) {
        stream.living.more.lock().push(([local.into(), remote.into()], under));
        self.end_if_not_allowed(&stream.living);
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

    /// Makes streams end that the rules, terms, blocks, roots and revocation lists of this moment do not allow; how many. It
    /// judges certificates: not for a thread that carries messages.
    pub fn end_forbidden_streams(&self) -> usize {
        self.living_streams().iter().filter(|living| self.end_if_not_allowed(living)).count()
    }

    fn living_streams(&self) -> Vec<Arc<Living>> {
        self.living.by_number.iter().map(|living| Arc::clone(&living)).collect()
    }

    fn end_if_not_allowed(&self, living: &Living) -> bool {
        let why = self.forbidden(living);
        let ends = why.is_some();
        why.into_iter().for_each(|why| living.dismiss(why));
        ends
    }

    fn forbidden(&self, living: &Living) -> Option<Dismissal> {
        let policy = self.policy();
        if let Some(Err(why)) = living.address.map(|address| self.blocked_networks.check(address)) {
            return Some(Dismissal::Blocked(why));
        }
        let remotes = living.remotes();
        if remotes.iter().any(|(remote, _)| policy.open_partner(remote).is_err()) {
            return Some(Dismissal::NotAllowed);
        }
        if remotes.iter().any(|(remote, under)| self.terms_changed(remote, *under)) {
            return Some(Dismissal::OtherTerms);
        }
        // What let it in was the word of the first domain. Further ones came by dialback, each under its own terms: what changes in
        // those was seen above.
        let streams = self.partner_streams(&living.shown.remote);
        let methods = streams.methods();
        let allowed = match living.method {
            Method::SaslExternal => methods.external,
            Method::DialbackTls => methods.dialback_tls,
            Method::DialbackTcp => methods.dialback_tcp,
            // One that is not known here is in no set of ways.
            _ => false,
        };
        if !allowed {
            return Some(Dismissal::OtherTerms);
        }
        match living.credentials.as_ref()?.judge(&streams.proof, SystemTime::now()) {
            ChainStatus::Valid => None,
            status => Some(Dismissal::NotBelieved(status.to_string())),
        }
    }

    /// Networks that nobody may connect from, and that nobody is called in (SEC-41).
    pub fn blocked_networks(&self) -> &BlockedNetworks {
        &self.blocked_networks
    }
}

#[cfg(test)]
mod tests {
    use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
    use nuncio_xmpp::{Domain, Negotiation, SaslUse, TlsUse};

    use super::super::testing::{gateway_of, moment};
    use super::super::{Federation, PartnerStreams};
    use super::*;

    const LOCAL: &str = "contoso.example";
    const FIRST: &str = "fabrikam.example";
    const FURTHER: &str = "wingtip.example";

    fn policy(generation: u64, partners: &[&str]) -> Snapshot {
        let partner = |domain: &&str| {
            let domain = (*domain).into();
            (Partner { domain, partner_type: PartnerType::Federated, enabled: true }, Vec::new())
        };
        Snapshot::new(generation, [LOCAL.into()], partners.iter().map(partner))
    }

    /// Two partners; whether dialback is on with each.
    fn federation(first: bool, further: bool) -> Federation {
        let partner = |domain: &str, dialback| {
            let negotiation = Negotiation { tls: TlsUse::Required, sasl: SaslUse::Optional, dialback };
            (PartnerStreams { negotiation, ..PartnerStreams::new(domain, 20) }, vec![domain.into()])
        };
        Federation::new([partner(FIRST, first), partner(FURTHER, further)])
    }

    /// A stream by dialback, of the first one, that the further one has joined.
    fn shared() -> (Gateway, Enlisted) {
        let gateway = gateway_of(LOCAL, FIRST);
        gateway.set_policy(policy(2, &[FIRST, FURTHER]));
        gateway.set_federation(federation(true, true), moment());
        let established = Established {
            local: Domain::parse(LOCAL).unwrap(),
            remote: Domain::parse(FIRST).unwrap(),
            stream_id: None,
            method: Method::DialbackTls,
            tls: None,
            by_certificate: false,
            features: Default::default(),
            both_ways: false,
            notes: Vec::new(),
            lang: None,
        };
        let came = CameAbout {
            established: &established,
            direction: Direction::Inbound,
            peer: "192.0.2.1",
            address: None,
            credentials: None,
            under: gateway.terms_of_now(),
            wake: Arc::default(),
        };
        let enlisted = gateway.enlist(came, moment());
        gateway.joined(&enlisted, LOCAL, FURTHER, gateway.terms_of_now());
        assert_eq!((gateway.end_forbidden_streams(), enlisted.dismissed()), (0, None));
        (gateway, enlisted)
    }

    #[test]
    fn a_stream_ends_with_the_terms_of_any_domain_on_it() {
        for (first, further) in [(false, true), (true, false)] {
            let (gateway, enlisted) = shared();
            gateway.set_federation(federation(true, true), moment());
            assert_eq!(gateway.end_forbidden_streams(), 0, "they are the same");
            gateway.set_federation(federation(first, further), moment());
            assert_eq!(gateway.end_forbidden_streams(), 1);
            assert_eq!(enlisted.dismissed(), Some(&Dismissal::OtherTerms));
        }
    }

    #[test]
    fn a_stream_ends_with_the_leave_of_any_domain_on_it() {
        for left in [FIRST, FURTHER] {
            let (gateway, enlisted) = shared();
            gateway.set_policy(policy(3, &[left]));
            assert_eq!(gateway.end_forbidden_streams(), 1);
            assert_eq!(enlisted.dismissed(), Some(&Dismissal::NotAllowed));
        }
    }
}
