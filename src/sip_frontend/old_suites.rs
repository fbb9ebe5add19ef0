//! What to do about a front end that shares no cipher suite with us (`tls_backend`).

use crate::context::FrontEndNames;
use crate::tls::{Backend, TlsError};

/// The setting, as it is written in the file.
const SETTING: &str = "tls_backend = \"openssl-legacy\"";

/// Why TLS with a front end that we called came to nothing, with what may help.
pub(crate) fn why_not_called(error: &TlsError, front_end: &FrontEndNames) -> String {
    match front_end.backend {
        Backend::Rustls if error.suggests_old_suites() => format!(
            "{error}; if it is as old as Lync Server 2013, it may have no cipher suite of ours: set {SETTING} in \
             [[sip.front_end]] {}",
            front_end.name
        ),
        Backend::Rustls | Backend::OpensslLegacy => error.to_string(),
    }
}

/// Why TLS with a peer that called us came to nothing, with what may help. Who it was is not known; where one of the front ends
/// has the setting already, old suites are served to all who call.
pub(super) fn why_not_accepted(error: &TlsError, front_ends: &[FrontEndNames]) -> String {
    let is_set = front_ends.iter().any(|front_end| front_end.backend == Backend::OpensslLegacy);
    match error {
        TlsError::NoCommonSuite(_) if !is_set => format!(
            "{error}; if it is a front end as old as Lync Server 2013, set {SETTING} in its [[sip.front_end]]"
        ),
        error => error.to_string(),
    }
}

/// Why this front end is not taken in over what OpenSSL agreed with it, if it is not: others may be, but for this one
/// nobody has said so.
pub(super) fn why_not_taken(used: Backend, suite: &str, front_end: &FrontEndNames) -> Option<String> {
    if used == Backend::Rustls || used == front_end.backend {
        return None;
    }
    Some(format!(
        "it is front end {}, but came with the old cipher suite {suite}; if that is all it has, set {SETTING} in its \
         [[sip.front_end]]",
        front_end.name
    ))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn front_end(backend: Backend) -> FrontEndNames {
        FrontEndNames { name: "pool1".to_owned(), certificate_names: Vec::new(), backend }
    }

    #[test]
    fn a_server_that_hangs_up_may_be_too_old_and_one_that_cannot_be_reached_is_not() {
        let text = |error: io::Error, backend| why_not_called(&error.into(), &front_end(backend));
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset] {
            let said = text(kind.into(), Backend::Rustls);
            assert!(
                said.ends_with("set tls_backend = \"openssl-legacy\" in [[sip.front_end]] pool1"),
                "{said}"
            );
            let said = text(kind.into(), Backend::OpensslLegacy);
            assert!(!said.contains("tls_backend"), "it is set already: {said}");
        }
        let said = text(io::ErrorKind::TimedOut.into(), Backend::Rustls);
        assert!(!said.contains("tls_backend"), "{said}");
    }

    #[test]
    fn who_calls_with_nothing_in_common_is_not_told_of_a_setting_that_is_there() {
        let error = TlsError::NoCommonSuite("nothing in common");
        let said = why_not_accepted(&error, &[front_end(Backend::Rustls)]);
        assert!(said.contains("tls_backend"), "{said}");
        let said = why_not_accepted(&error, &[front_end(Backend::Rustls), front_end(Backend::OpensslLegacy)]);
        assert_eq!(said, error.to_string());
    }

    #[test]
    fn only_the_front_ends_that_were_named_may_come_with_old_suites() {
        let suite = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
        let why = |used, configured| why_not_taken(used, suite, &front_end(configured));
        assert_eq!(why(Backend::Rustls, Backend::Rustls), None);
        assert_eq!(why(Backend::Rustls, Backend::OpensslLegacy), None, "better than what was asked for");
        assert_eq!(why(Backend::OpensslLegacy, Backend::OpensslLegacy), None);
        let said = why(Backend::OpensslLegacy, Backend::Rustls).unwrap();
        assert!(said.contains("pool1") && said.contains(suite) && said.contains("tls_backend"), "{said}");
    }
}
