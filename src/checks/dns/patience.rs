//! Questions to servers that may all be dead: each would be waited for in vain, one after the other.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::BoxFuture;

use crate::dns::{DnsError, DnsErrorKind, Family, NaptrRecord, Resolve, SrvRecord};

/// So many questions without any answer: one may be lost, or be about somebody whose servers are dead.
const ENOUGH: u32 = 2;

/// A resolver that is not asked any more when it has answered nothing at all.
pub(super) struct Patience<'a> {
    resolver: &'a dyn Resolve,
    in_vain: AtomicU32,
    answers: AtomicBool,
}

impl<'a> Patience<'a> {
    pub(super) fn with(resolver: &'a dyn Resolve) -> Self {
        Self { resolver, in_vain: AtomicU32::new(0), answers: AtomicBool::new(false) }
    }

    async fn ask<'q, T>(
        &self,
        name: &str,
        question: impl FnOnce() -> BoxFuture<'q, Result<T, DnsError>>,
    ) -> Result<T, DnsError> {
        if !self.answers.load(Ordering::Relaxed) && self.in_vain.load(Ordering::Relaxed) >= ENOUGH {
            return Err(DnsError::Timeout { name: name.to_owned() });
        }
        let answer = question().await;
        match &answer {
            Err(error) if error.kind() == DnsErrorKind::Timeout => {
                self.in_vain.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.answers.store(true, Ordering::Relaxed),
        }
        answer
    }
}

impl Resolve for Patience<'_> {
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<SrvRecord>, DnsError>> {
        Box::pin(self.ask(name, || self.resolver.srv(name)))
    }

    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<NaptrRecord>, DnsError>> {
        Box::pin(self.ask(name, || self.resolver.naptr(name)))
    }

    fn alias<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, DnsError>> {
        Box::pin(self.ask(name, || self.resolver.alias(name)))
    }

    fn addresses<'a>(
        &'a self,
        host: &'a str,
        family: Family,
    ) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(self.ask(host, move || self.resolver.addresses(host, family)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::fake::FakeDns;

    fn timeout(name: &str) -> DnsError {
        DnsError::Timeout { name: name.to_owned() }
    }

    #[tokio::test]
    async fn servers_that_have_answered_nothing_are_not_asked_a_third_time() {
        let dns = FakeDns::new()
            .srv_answer("_a", Err(timeout("_a")))
            .host_error("b", timeout("b"))
            .host("c", &["192.0.2.1"]);
        let patience = Patience::with(&dns);
        assert!(patience.srv("_a").await.is_err());
        assert!(patience.addresses("b", Family::Any).await.is_err());
        assert_eq!(patience.addresses("c", Family::Any).await, Err(timeout("c")));
        assert_eq!(dns.asked(), ["SRV _a", "b"]);
    }

    #[tokio::test]
    async fn those_that_have_answered_anything_are() {
        let dns = FakeDns::new().srv_answer("_a", Err(timeout("_a"))).host_error("b", timeout("b"));
        let patience = Patience::with(&dns);
        assert!(patience.addresses("nobody", Family::Any).await.is_err(), "there is none: that is an answer");
        assert!(patience.srv("_a").await.is_err());
        assert!(patience.addresses("b", Family::Any).await.is_err());
        assert!(patience.srv("_a").await.is_err());
        assert_eq!(dns.asked(), ["nobody", "SRV _a", "b", "SRV _a"]);
    }
}
