//! Certificates that expire while the stream lasts that they opened (S2S-34, RFC 6120 §13.7.2.3).

use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::Established;

/// What a peer is told then: it has to show a certificate on a new stream.
pub(super) const EXPIRED: (StreamCondition, &str) =
    (StreamCondition::Reset, "your certificate, or that of one of its issuers, has expired");

/// The wall clock may be set while we wait: it is looked at as often as this.
const GLANCE: Duration = Duration::from_secs(3600);

/// The end of a certificate that proves who the peer of an established stream is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    /// In milliseconds of Unix time.
    at_ms: u64,
    /// When the wall clock is looked at next.
    look_at: Instant,
}

impl Expiry {
    /// `None`: the stream was not let in by its certificate, or this one is good for ever.
    pub(super) fn of(established: &Established, now: Moment) -> Option<Self> {
        let at_ms = established.tls.as_ref().filter(|_| established.by_certificate)?.expires_ms?;
        let mut expiry = Self { at_ms, look_at: now.instant };
        expiry.plan(now);
        Some(expiry)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.look_at
    }

    /// Whether it has expired.
    pub(super) fn is_over(&mut self, now: Moment) -> bool {
        if now.instant < self.look_at {
            return false;
        }
        self.plan(now);
        now.unix_ms >= self.at_ms
    }

    fn plan(&mut self, now: Moment) {
        let left = Duration::from_millis(self.at_ms.saturating_sub(now.unix_ms));
        self.look_at = now.instant + left.min(GLANCE);
    }
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::Domain;
    use nuncio_xmpp::stream::{ChainStatus, Method, TlsFacts};

    use super::*;

    const END: u64 = 10_000_000;

    fn at(unix_ms: u64) -> Moment {
        Moment { instant: Instant::now(), unix_ms }
    }

    fn expiry(by_certificate: bool, expires_ms: Option<u64>, now: Moment) -> Option<Expiry> {
        let domain = Domain::parse("fabrikam.example").unwrap();
        let tls = TlsFacts {
            chain: ChainStatus::Trusted,
            names: [].into(),
            protocol: "TLSv1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            expires_ms,
        };
        let established = Established {
            local: domain.clone(),
            remote: domain,
            stream_id: None,
            method: Method::SaslExternal,
            tls: Some(tls),
            by_certificate,
            features: Default::default(),
            both_ways: false,
            notes: Vec::new(),
            lang: None,
        };
        Expiry::of(&established, now)
    }

    #[test]
    fn s2s_34_it_is_over_when_the_time_has_come_and_not_before() {
        let now = at(END - 1000);
        let mut expiry = expiry(true, Some(END), now).unwrap();
        assert_eq!(expiry.deadline(), now.instant + Duration::from_secs(1));
        assert!(!expiry.is_over(now + Duration::from_millis(999)));
        assert!(expiry.is_over(now + Duration::from_secs(1)));
    }

    #[test]
    fn s2s_34_only_who_was_let_in_by_certificate_is_concerned() {
        let now = at(END - 1000);
        assert!(expiry(false, Some(END), now).is_none());
        assert!(expiry(true, None, now).is_none());
    }

    #[test]
    fn s2s_34_a_clock_that_is_set_meanwhile_is_believed() {
        let now = at(0);
        let mut forward = expiry(true, Some(END), now).unwrap();
        let mut back = forward;
        let later = now.instant + GLANCE;
        assert_eq!(forward.deadline(), later.min(now.instant + Duration::from_millis(END)));
        assert!(forward.is_over(Moment { instant: later, unix_ms: END }), "it was put forward");
        let later = back.deadline();
        assert!(!back.is_over(Moment { instant: later, unix_ms: END - 5000 }), "it was put back");
        assert_eq!(back.deadline(), later + Duration::from_secs(5));
    }
}
