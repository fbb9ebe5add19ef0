//! TLS on both legs: our certificates, handshakes, and what the peer's certificate proves.
//!
//! The only place that knows rustls, and OpenSSL, which stands beside it for old SIP front ends ([`Backend`]): whoever has a
//! stream and its facts need not ask which of the two made them. Two rules shape it:
//!
//! * **Accept, then judge.** The handshake takes any certificate whose key the peer holds, and afterwards two separate facts
//!   are established: whether the chain leads to a root we trust ([`judge_chain`]), and which names it carries
//!   ([`xmpp_names`], [`sip_names_match`]). So a refusal can say what was presented and what was expected, and a peer
//!   with an imperfect certificate can still prove itself in another way where policy allows it.
//! * **A resumed session is judged like a new one.** The peer's chain comes back with the session, and time has passed: roots
//!   may have been changed, certificates expired.

pub use tokio_rustls::rustls::pki_types::CertificateDer;

pub use backend::Backend;
pub use certificate::{CertificateError, PeerCertificate, SanName, Usage};
pub(crate) use certificate::{digest, san_name, usages};
pub use chain::{ChainStatus, judge_chain};
pub use config::{ClientTls, ServerTls, TlsVersion};
pub use credentials::Credentials;
pub use error::TlsError;
pub use gather::Gathering;
pub use handshake::{
    PeerFacts, Presented, XMPP_SERVER_ALPN, accept, accept_direct, accept_for, connect, connect_by,
    connect_direct,
};
pub(crate) use identity::public_key_of;
pub use identity::{Identity, IdentityConcern, IdentityError};
pub use names::{MatchedName, NameKind, NameMatch, NameMismatch, sip_names_match, xmpp_names, xmpp_remark};
pub use pem::PemError;
pub(crate) use pem::{Section, certificates, is_pkcs7, pem_text, sections};
pub use proof::{CrlError, Proof};
pub use roots::{Roots, RootsError};
pub use store::{IdentityStore, NoIdentity, RootsStore};
pub use stream::TlsStream;

mod backend;
mod certificate;
mod chain;
mod config;
mod credentials;
mod error;
mod gather;
mod handshake;
#[cfg(feature = "openssl-legacy")]
mod hello;
mod identity;
#[cfg(feature = "openssl-legacy")]
mod legacy;
mod names;
mod pem;
mod proof;
mod roots;
mod store;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod tickets;
mod verifier;

/// Text of a foreign certificate made fit for logs and error messages: no control characters, no characters that change the
/// direction of writing, no quotation marks like those it is put in, and not longer than 200 characters (SEC-34, SEC-35).
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut printable: String = text
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            // It often stands between these.
            '“' | '”' => '"',
            c => c,
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        printable.push('…');
    }
    printable
}

/// A point in time for people, in UTC.
pub(crate) fn date(time: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| "a time beyond the calendar".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}
