//! A resolver that answers from a table, for tests of whatever asks DNS.

use std::collections::HashMap;
use std::net::IpAddr;

use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use super::{DnsError, Family, NaptrRecord, Resolve, SrvRecord};

/// Answers from a table; a name that is not in it does not exist.
#[derive(Default)]
pub(crate) struct FakeDns {
    srv: HashMap<String, Result<Vec<SrvRecord>, DnsError>>,
    naptr: HashMap<String, Result<Vec<NaptrRecord>, DnsError>>,
    aliases: HashMap<String, String>,
    addresses: HashMap<String, Result<Vec<IpAddr>, DnsError>>,
    asked: Mutex<Vec<String>>,
}

impl FakeDns {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an SRV record: `(priority, weight, port, target)`; the target “.” is given as an empty text.
    pub(crate) fn srv(mut self, name: &str, (priority, weight, port, target): (u16, u16, u16, &str)) -> Self {
        let record = SrvRecord { priority, weight, port, target: target.to_owned() };
        let entry = self.srv.entry(name.to_owned()).or_insert_with(|| Ok(Vec::new()));
        if let Ok(records) = entry {
            records.push(record);
        }
        self
    }

    /// Sets what the question for SRV records is answered with.
    pub(crate) fn srv_answer(mut self, name: &str, answer: Result<Vec<SrvRecord>, DnsError>) -> Self {
        self.srv.insert(name.to_owned(), answer);
        self
    }

    /// Adds a NAPTR record.
    pub(crate) fn naptr(mut self, name: &str, record: NaptrRecord) -> Self {
        if let Ok(records) = self.naptr.entry(name.to_owned()).or_insert_with(|| Ok(Vec::new())) {
            records.push(record);
        }
        self
    }

    /// Sets what the question for NAPTR records is answered with.
    pub(crate) fn naptr_answer(mut self, name: &str, answer: Result<Vec<NaptrRecord>, DnsError>) -> Self {
        self.naptr.insert(name.to_owned(), answer);
        self
    }

    /// Makes a name an alias; its addresses are set apart.
    pub(crate) fn alias_of(mut self, name: &str, real: &str) -> Self {
        self.aliases.insert(name.to_owned(), real.to_owned());
        self
    }

    /// Sets the addresses of a host.
    pub(crate) fn host(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().expect("an IP address")).collect();
        self.addresses.insert(name.to_owned(), Ok(addresses));
        self
    }

    /// Lets the question for a host's addresses fail.
    pub(crate) fn host_error(mut self, name: &str, error: DnsError) -> Self {
        self.addresses.insert(name.to_owned(), Err(error));
        self
    }

    /// Every name asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Resolve for FakeDns {
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<SrvRecord>, DnsError>> {
        self.asked.lock().push(format!("SRV {name}"));
        let missing = || Err(DnsError::NoSuchDomain { name: name.to_owned() });
        Box::pin(ready(self.srv.get(name).cloned().unwrap_or_else(missing)))
    }

    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<NaptrRecord>, DnsError>> {
        self.asked.lock().push(format!("NAPTR {name}"));
        let missing = || Err(DnsError::NoSuchDomain { name: name.to_owned() });
        Box::pin(ready(self.naptr.get(name).cloned().unwrap_or_else(missing)))
    }

    fn alias<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, DnsError>> {
        Box::pin(ready(Ok(self.aliases.get(name).cloned())))
    }

    fn addresses<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        self.asked.lock().push(host.to_owned());
        let missing = || Err(DnsError::NoSuchDomain { name: host.to_owned() });
        let answer = self.addresses.get(host).cloned().unwrap_or_else(missing);
        Box::pin(ready(answer.and_then(|mut addresses| {
            addresses.retain(|address| family.admits(*address));
            if addresses.is_empty() {
                return Err(DnsError::NoAddress { name: host.to_owned(), wanted: family.as_str() });
            }
            Ok(addresses)
        })))
    }
}
