//! Which names a certificate carries, compared with the names expected. Two sides, two sets of rules (DEC-13): those of SIP
//! are here, those of XMPP in [`nuncio_xmpp::stream::PresentedName`].

use std::fmt;

pub use sip::sip_names_match;
pub use xmpp::{xmpp_names, xmpp_remark};

mod sip;
#[cfg(test)]
mod tests;
mod xmpp;

/// How many of the presented names an error message lists.
const LISTED: usize = 5;

/// The outcome of a comparison.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NameMatch {
    /// A name of the certificate is one of those expected.
    Matched(MatchedName),
    /// None is.
    Mismatch(NameMismatch),
}

/// What matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatchedName {
    /// The expected name, as it was given.
    pub expected: String,
    /// The certificate's name.
    pub presented: String,
    /// Where in the certificate it stands.
    pub kind: NameKind,
}

/// Where in a certificate a name stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameKind {
    /// dNSName, letter by letter.
    Dns,
    /// A SIP URI.
    SipUri,
    /// The common name, for want of any alternative name.
    CommonName,
}

/// What was presented instead of what was expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameMismatch {
    /// The names that the certificate has and that could have counted, and those that look as if they did, printable.
    pub presented: Vec<String>,
    /// The names expected.
    pub expected: Vec<String>,
    /// In which fields of the certificate a name counts.
    pub counts: &'static str,
    /// A remark on a name that nearly matches, with what is wrong with it.
    pub remark: Option<String>,
}

impl NameMatch {
    /// Whether a name matched.
    pub fn is_match(&self) -> bool {
        matches!(self, Self::Matched(_))
    }
}

impl fmt::Display for NameMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.presented.as_slice() {
            [] => f.write_str("certificate has no name that counts")?,
            names => {
                let listed = names.get(..LISTED).unwrap_or(names);
                write!(f, "certificate is for {}", listed.join(", "))?;
                if names.len() > listed.len() {
                    write!(f, " and {} more", names.len() - listed.len())?;
                }
            }
        }
        write!(f, ", expected {} ({})", self.expected.join(" or "), self.counts)?;
        match &self.remark {
            Some(remark) => write!(f, "; {remark}"),
            None => Ok(()),
        }
    }
}

/// A domain for comparison: A-labels, lower case, no trailing dot. `None` for what is no domain name.
fn normalise(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let ascii = idna::domain_to_ascii(domain).ok()?;
    let labels = ascii.split('.').all(|label| !label.is_empty()) && !ascii.contains('*');
    (labels && ascii.parse::<std::net::IpAddr>().is_err()).then_some(ascii)
}
