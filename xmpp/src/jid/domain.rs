use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use compact_str::{CompactString, ToCompactString};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use precis_profiles::precis_core::{IdentifierClass, StringClass};

use super::{JidError, JidPart, JidProblem, MAX_PART};

/// Most octets of a domain name as DNS sees it, A-labels and dots, without the root (RFC 1034 section 3.1).
const MAX_DNS: usize = 253;
/// Most octets of one label as DNS sees it.
const MAX_LABEL: usize = 63;

/// A domain as XMPP writes it: lower case, U-labels, no trailing dot (RFC 7622 section 3.2, ADR-08).
///
/// A-labels are accepted wherever an address or a name comes in and turned into U-labels; they go out only by
/// [`Domain::to_ascii`], to DNS, TLS and SIP.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(CompactString);

impl Domain {
    /// The domain of an address whose other parts may be anything (RFC 7622 §3.1).
    pub fn of_address(address: &str) -> Option<Self> {
        let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
        let domain = bare.split_once('@').map_or(bare, |(_, domain)| domain);
        Self::parse(domain).ok()
    }

    /// Parses and normalises: host names of letters, digits and hyphens, internationalised names that are valid under
    /// IDNA2008, IPv4 addresses and IPv6 addresses in brackets.
    pub fn parse(domain: &str) -> Result<Self, JidError> {
        normalise(domain).map(Self).map_err(|problem| JidError { part: JidPart::Domain, problem })
    }

    /// U-labels: what stands in JIDs and stream headers.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A-labels: what DNS, certificates, SNI and SIP URIs want.
    pub fn to_ascii(&self) -> Cow<'_, str> {
        if self.0.is_ascii() {
            return Cow::Borrowed(&self.0);
        }
        Uts46::new()
            .to_ascii(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Ignore)
            // `parse` did this very conversion.
            .unwrap_or(Cow::Borrowed(""))
    }

    /// For people: U-labels, and A-labels in brackets where they are others, so that look-alikes can be told apart
    /// (SEC-13).
    pub fn in_full(&self) -> impl fmt::Display {
        struct InFull<'d>(&'d Domain);
        impl fmt::Display for InFull<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.0)?;
                match self.0.0.is_ascii() {
                    true => Ok(()),
                    false => write!(f, " ({})", self.0.to_ascii()),
                }
            }
        }
        InFull(self)
    }

    /// Whether one of its labels [mixes scripts](super::BareJid::mixed_scripts).
    pub fn mixes_scripts(&self) -> bool {
        super::mixed_scripts(None, &self.0).is_some()
    }

    /// True for IPv4 and IPv6 addresses, which no certificate or partner list can speak for.
    pub fn is_address_literal(&self) -> bool {
        self.0.starts_with('[') || self.0.parse::<Ipv4Addr>().is_ok()
    }

    /// The domain of an address that is normalised already.
    pub(super) fn from_normalised(domain: &str) -> Self {
        Self(domain.into())
    }

    pub(super) fn into_inner(self) -> CompactString {
        self.0
    }
}

fn normalise(domain: &str) -> Result<CompactString, JidProblem> {
    // Before any other step (RFC 7622 section 3.2).
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if super::plain::is_domain(domain.as_bytes()) {
        return Ok(domain.into());
    }
    normalise_any(domain)
}

fn normalise_any(domain: &str) -> Result<CompactString, JidProblem> {
    if domain.is_empty() {
        return Err(JidProblem::Empty);
    }
    if domain.len() > MAX_PART {
        return Err(JidProblem::TooLong);
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(JidProblem::Character)?;
        let address: Ipv6Addr = literal.parse().map_err(|_| JidProblem::Character)?;
        return Ok(compact_str::format_compact!("[{address}]"));
    }
    match plain(domain)? {
        Some(plain) => Ok(plain),
        None => international(domain),
    }
}

/// ASCII without A-labels. `None` when IDNA has to look.
fn plain(domain: &str) -> Result<Option<CompactString>, JidProblem> {
    if !domain.is_ascii() {
        return Ok(None);
    }
    let mut upper = false;
    for label in domain.split('.') {
        let bytes = label.as_bytes();
        // IDNA reserves hyphens in third and fourth place, of which `xn--` is the one in use.
        if matches!(bytes, [_, _, b'-', b'-', ..]) {
            return Ok(None);
        }
        if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            || bytes.first() == Some(&b'-')
            || bytes.last() == Some(&b'-')
        {
            return Err(JidProblem::Character);
        }
        upper |= bytes.iter().any(u8::is_ascii_uppercase);
    }
    fits_dns(domain)?;
    let mut plain = domain.to_compact_string();
    if upper {
        plain.make_ascii_lowercase();
    }
    Ok(Some(plain))
}

fn international(domain: &str) -> Result<CompactString, JidProblem> {
    let (unicode, outcome) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    if outcome.is_err() {
        return Err(JidProblem::Character);
    }
    // UTS 46 maps as IDNA2008 wants but lets symbols pass that IDNA2008 does not; PRECIS derives its IdentifierClass from
    // the same tables.
    let identifiers = IdentifierClass::default();
    if unicode.split('.').any(|label| !label.is_ascii() && identifiers.allows(label).is_err()) {
        return Err(JidProblem::Character);
    }
    let ascii = Uts46::new()
        .to_ascii(unicode.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Ignore)
        .map_err(|_| JidProblem::Character)?;
    fits_dns(&ascii)?;
    if unicode.len() > MAX_PART {
        return Err(JidProblem::TooLong);
    }
    Ok(unicode.to_compact_string())
}

fn fits_dns(ascii: &str) -> Result<(), JidProblem> {
    if ascii.split('.').any(str::is_empty) {
        return Err(JidProblem::Empty);
    }
    if ascii.len() > MAX_DNS || ascii.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err(JidProblem::TooLong);
    }
    Ok(())
}

/// So that maps keyed by domains can be asked with text that is normalised already, such as [`Jid::domain`](super::Jid).
impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = JidError;

    fn from_str(domain: &str) -> Result<Self, JidError> {
        Self::parse(domain)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_cut_changes_nothing(domain in "[a-cA1.-]{0,8}([.][a-b]{60,66}){0,5}[.]?") {
            let rest = domain.strip_suffix('.').unwrap_or(&domain);
            prop_assert_eq!(normalise(&domain), normalise_any(rest));
        }
    }
}
