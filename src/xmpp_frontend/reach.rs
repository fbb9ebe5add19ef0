//! How a partner is reached: where he is looked for, connecting, the handshake, and what is said when nothing comes of it.

use std::sync::Arc;

use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{Redirect, Terms, TlsFacts};
use nuncio_xmpp::{Domain, TlsUse};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::context::Context;
use crate::dns::{
    Candidate, DnsError, DnsErrorKind, Found, host_candidates, redirect_candidates, xmpp_server_candidates,
};
use crate::net::dial::told;
use crate::tls::{self, Credentials, TlsStream};

/// The addresses to try: those of the proxy, or what DNS says.
pub(super) async fn search(context: &Context, remote: &str) -> Result<Found, DnsError> {
    let streams = context.gateway.partner_streams(remote);
    let reach = context.xmpp.reach;
    match &streams.proxy {
        Some(proxy) => {
            let host = proxy.host.to_string();
            let candidates = host_candidates(&context.dns, &host, proxy.port, reach.family).await?;
            Ok(Found { candidates, ..Found::default() })
        }
        None => xmpp_server_candidates(&context.dns, remote, reach, context.gateway.random()).await,
    }
}

/// The addresses to try instead. Who is reached by a proxy is not left for another host.
pub(super) async fn follow(context: &Context, remote: &str, redirect: &Redirect) -> Result<Found, Failure> {
    if context.gateway.partner_streams(remote).proxy.is_some() {
        let text = format!("it sends us to {redirect}; his entry has a proxy, so that is not followed");
        return Err(Failure::new(FailureKind::Negotiation, text));
    }
    let (host, reach) = (redirect.host.to_ascii(), context.xmpp.reach);
    let found =
        redirect_candidates(&context.dns, &host, redirect.port, reach, context.gateway.random()).await;
    found.map_err(|error| {
        let Failure { kind, text } = dns_failure(&error);
        Failure::new(kind, format!("it sends us to {redirect}: {text}"))
    })
}

/// What a failed look-up means for a lane.
pub(super) fn dns_failure(error: &DnsError) -> Failure {
    let kind = match error.kind() {
        DnsErrorKind::DoesNotExist => FailureKind::DomainNotFound,
        DnsErrorKind::Unresolvable | DnsErrorKind::Timeout => FailureKind::Unresolvable,
    };
    Failure::new(kind, error.to_string())
}

/// Takes out those at which nothing could come about.
pub(super) fn take_unusable(candidates: &mut Vec<Candidate>, terms: &Terms) -> Vec<Candidate> {
    let useless = |candidate: &mut Candidate| candidate.direct_tls;
    match terms.negotiation.tls {
        TlsUse::NotSupported => candidates.extract_if(.., useless).collect(),
        TlsUse::Required | TlsUse::Optional => Vec::new(),
    }
}

/// The handshake on a connection from one of our domains to one of a partner's, and what it shows of him.
///
/// # Errors
/// Why it failed, for people.
pub(super) async fn handshake(
    context: &Context,
    (local, remote): (&str, &str),
    direct_tls: bool,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, TlsFacts, Credentials), String> {
    let (from, to) = (ascii(local), ascii(remote));
    let (client, limit) = (&context.xmpp.client, context.xmpp.handshake);
    let identity = context.xmpp.identities.choose(Some(&from));
    let handshake = async {
        match direct_tls {
            true => tls::connect_direct(stream, client, &to, Some(&identity)).await,
            false => tls::connect(stream, client, &to, Some(&identity)).await,
        }
    };
    match timeout(limit, handshake).await {
        Ok(Ok((stream, facts))) => {
            let partner = context.gateway.partner_streams(remote);
            let judged = context.xmpp.facts(&facts, &partner.proof);
            Ok((stream, judged, Credentials::new(facts, Arc::clone(&context.xmpp.roots))))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the TLS handshake took longer than {limit:?}")),
    }
}

fn ascii(domain: &str) -> String {
    Domain::parse(domain).map_or_else(|_| domain.to_owned(), |domain| domain.to_ascii().into_owned())
}

/// Why nothing came of several addresses.
#[derive(Default)]
pub(super) struct Failures {
    list: Vec<(FailureKind, String)>,
}

impl Failures {
    pub(super) fn add(&mut self, kind: FailureKind, text: String) {
        self.list.push((kind, text));
    }

    /// The failure of the whole. That a stream was refused says more than that a connection was.
    pub(super) fn into_one(self) -> Failure {
        let Some((last, _)) = self.list.last() else {
            return Failure::new(FailureKind::Unresolvable, "DNS gave no address to connect to");
        };
        let refused =
            |kind: &FailureKind| matches!(kind, FailureKind::Negotiation | FailureKind::Certificate);
        let kind = *self.list.iter().map(|(kind, _)| kind).rfind(|kind| refused(kind)).unwrap_or(last);
        Failure::new(kind, told(self.list.iter().map(|(_, text)| text.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of(failures: &[(FailureKind, &str)]) -> Failure {
        let mut all = Failures::default();
        failures.iter().for_each(|(kind, text)| all.add(*kind, (*text).to_owned()));
        all.into_one()
    }

    #[test]
    fn that_a_stream_was_refused_says_more_than_that_a_connection_was() {
        let (unreachable, negotiation) = (FailureKind::Unreachable, FailureKind::Negotiation);
        assert_eq!(one_of(&[(unreachable, "a")]).kind, unreachable);
        assert_eq!(one_of(&[(negotiation, "a"), (unreachable, "b")]).kind, negotiation);
        let certificate = FailureKind::Certificate;
        assert_eq!(one_of(&[(certificate, "a"), (unreachable, "b")]).kind, certificate);
        assert_eq!(one_of(&[]).kind, FailureKind::Unresolvable);
    }

    #[test]
    fn three_failures_are_told_and_the_others_counted() {
        let of = |texts: &[&str]| {
            let failures: Vec<_> = texts.iter().map(|text| (FailureKind::Unreachable, *text)).collect();
            one_of(&failures).text.to_string()
        };
        assert_eq!(of(&["a", "b", "c"]), "a; b; c");
        assert_eq!(of(&["a", "b", "c", "d"]), "b; c; d; and 1 more before");
    }
}
