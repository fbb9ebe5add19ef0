//! [`Resolve`] by hickory: UDP with TCP after truncation, answers cached for as long as their TTL says (S2S-07).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as HickoryDnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{DnsError, Family, NaptrRecord, Resolve, SrvRecord};

#[cfg(test)]
mod tests;

/// Answers kept at most.
const CACHED_ANSWERS: u64 = 16_384;
/// Questions that may be under way at once over one connection to a DNS server.
const QUESTIONS_AT_ONCE: usize = 256;

/// Which DNS servers to ask, and how long to wait.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsConfig {
    /// Servers asked over UDP, and over TCP when an answer is too long. Empty: those of the system's `resolv.conf`; then
    /// the system's hosts file counts, too.
    pub servers: Vec<SocketAddr>,
    /// The longest that one question may take, repetitions included.
    pub timeout: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Duration::from_secs(5) }
    }
}

/// The resolver of the running program. Cheap to clone; clones share the cache.
#[derive(Clone, Debug)]
pub struct Dns {
    resolver: TokioResolver,
    timeout: Duration,
}

impl Dns {
    /// Sets up the resolver; asks nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`DnsError::Setup`] if no servers are configured and the system's configuration cannot be read.
    pub fn new(config: &DnsConfig) -> Result<Self, DnsError> {
        let setup = |error: NetError| DnsError::Setup { detail: error.to_string() };
        let mut builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| DnsError::Setup {
                detail: format!("no servers are configured, and /etc/resolv.conf is of no help: {error}"),
            })?
        } else {
            let servers = config.servers.iter().copied().map(name_server).collect();
            let servers = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        if !config.servers.is_empty() {
            options.use_hosts_file = ResolveHosts::Never;
        }
        // One repetition fits into the time: a lost datagram costs half of it.
        options.timeout = config.timeout / 2;
        options.attempts = 1;
        options.edns0 = true;
        options.cache_size = CACHED_ANSWERS;
        options.max_active_requests = QUESTIONS_AT_ONCE;
        Ok(Self { resolver: builder.build().map_err(setup)?, timeout: config.timeout })
    }

    /// The data of the answer, which may have other kinds of records (aliases) beside those asked for.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        // Absolute, so that no search list of the system is tried.
        let query =
            Name::from_ascii(format!("{name}.")).map_err(|_| DnsError::BadName { name: name.to_owned() })?;
        match tokio::time::timeout(self.timeout, self.resolver.lookup(query, kind)).await {
            Ok(Ok(answer)) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Ok(Err(error)) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Vec::new()),
            Ok(Err(error)) => Err(translate(name, &error)),
            Err(_) => Err(DnsError::Timeout { name: name.to_owned() }),
        }
    }

    async fn addresses_of(&self, host: &str, kind: RecordType) -> Result<Vec<IpAddr>, DnsError> {
        let address = |data: RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        Ok(self.ask(host, kind).await?.into_iter().filter_map(address).collect())
    }
}

impl Resolve for Dns {
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<SrvRecord>, DnsError>> {
        Box::pin(async move {
            let record = |data: RData| match data {
                RData::SRV(srv) => Some(SrvRecord {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            };
            Ok(self.ask(name, RecordType::SRV).await?.into_iter().filter_map(record).collect())
        })
    }

    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<NaptrRecord>, DnsError>> {
        Box::pin(async move {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let record = |data: RData| match data {
                RData::NAPTR(naptr) => Some(NaptrRecord {
                    order: naptr.order,
                    preference: naptr.preference,
                    flags: text(&naptr.flags),
                    service: text(&naptr.services),
                    regexp: text(&naptr.regexp),
                    replacement: naptr.replacement.to_ascii().trim_end_matches('.').to_owned(),
                }),
                _ => None,
            };
            Ok(self.ask(name, RecordType::NAPTR).await?.into_iter().filter_map(record).collect())
        })
    }

    fn alias<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, DnsError>> {
        Box::pin(async move {
            let real = |data: RData| match data {
                RData::CNAME(real) => Some(real.0.to_ascii().trim_end_matches('.').to_owned()),
                _ => None,
            };
            Ok(self.ask(name, RecordType::CNAME).await?.into_iter().find_map(real))
        })
    }

    fn addresses<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(async move {
            let (v6, v4) = tokio::join!(
                async {
                    if family == Family::Ipv4 {
                        Ok(Vec::new())
                    } else {
                        self.addresses_of(host, RecordType::AAAA).await
                    }
                },
                async {
                    if family == Family::Ipv6 {
                        Ok(Vec::new())
                    } else {
                        self.addresses_of(host, RecordType::A).await
                    }
                },
            );
            // One family's failure does not hide the other's addresses, but explains their absence.
            let (v6, v4, failure) = match (v6, v4) {
                (Ok(v6), Ok(v4)) => (v6, v4, None),
                (Ok(v6), Err(error)) => (v6, Vec::new(), Some(error)),
                (Err(error), Ok(v4)) => (Vec::new(), v4, Some(error)),
                (Err(_), Err(error)) => return Err(error),
            };
            let addresses = take_turns(v6, v4);
            if addresses.is_empty() {
                let none = || DnsError::NoAddress { name: host.to_owned(), wanted: family.as_str() };
                return Err(failure.unwrap_or_else(none));
            }
            Ok(addresses)
        })
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    NameServerConfig::new(address.ip(), true, connections)
}

fn translate(name: &str, error: &NetError) -> DnsError {
    let name = name.to_owned();
    match error {
        _ if error.is_nx_domain() => DnsError::NoSuchDomain { name },
        NetError::Timeout => DnsError::Timeout { name },
        NetError::Dns(HickoryDnsError::ResponseCode(code)) => {
            let detail = match *code {
                ResponseCode::ServFail => "the DNS server answered SERVFAIL".to_owned(),
                ResponseCode::Refused => "the DNS server answered REFUSED".to_owned(),
                code => format!("the DNS server answered “{code}”"),
            };
            DnsError::Failed { name, detail }
        }
        NetError::NoConnections => {
            DnsError::Failed { name, detail: "no DNS server can be reached".to_owned() }
        }
        other => DnsError::Failed { name, detail: other.to_string() },
    }
}

fn take_turns(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        addresses.extend(pair.0);
        addresses.extend(pair.1);
        if pair == (None, None) {
            return addresses;
        }
    }
}
