//! XMPP addresses (RFC 7622). A value of these types is normalised: equal addresses are equal strings.

mod domain;
mod local;
mod plain;
mod resource;
mod scripts;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use compact_str::CompactString;
use thiserror::Error;

pub use domain::Domain;

/// Most octets of one part after normalisation (RFC 7622 sections 3.2 to 3.4).
pub const MAX_PART: usize = 1023;

/// An address with or without local part and resource: `[local@]domain[/resource]`.
#[derive(Clone)]
pub struct Jid {
    text: CompactString,
    /// Octets of the local part; 0 when there is none, since an empty one is no address.
    local: u16,
    /// Where the domain ends; the resource follows after a slash if there is more text.
    bare: u16,
}

/// An address without resource: `[local@]domain`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BareJid {
    text: CompactString,
    local: u16,
}

/// Which part of an address is wrong, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{part} of the address {problem}")]
pub struct JidError {
    /// Where.
    pub part: JidPart,
    /// How.
    pub problem: JidProblem,
}

/// A part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JidPart {
    /// What stands before the `@`.
    Local,
    /// The domain.
    Domain,
    /// What stands after the `/`.
    Resource,
}

/// What can be wrong with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum JidProblem {
    /// Nothing there, although its separator is, or although it must be.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_PART`] octets, or more than DNS allows.
    #[error("is too long")]
    TooLong,
    /// A character that PRECIS, IDNA or RFC 7622 section 3.3.1 does not allow there.
    #[error("holds a character that is not allowed there")]
    Character,
    /// An escaped space (`\20`) at the start or the end (XEP-0106 section 4.1, ADR-15).
    #[error("starts or ends with an escaped space")]
    OuterSpace,
}

impl Jid {
    /// Parses and normalises (ADR-17): cut at the first `/`, then at the first `@`.
    pub fn parse(address: &str) -> Result<Self, JidError> {
        if let Some((local, bare)) = plain::split(address) {
            return Ok(Self { text: address.into(), local, bare });
        }
        Self::parse_any(address)
    }

    fn parse_any(address: &str) -> Result<Self, JidError> {
        let (bare, resource) = match address.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (address, None),
        };
        let bare = BareJid::parse_any(bare)?;
        match resource {
            Some(resource) => bare.with_resource(resource),
            None => Ok(bare.into()),
        }
    }

    /// Local part.
    pub fn local(&self) -> Option<&str> {
        (self.local > 0).then(|| self.text.get(..usize::from(self.local)).unwrap_or_default())
    }

    /// Domain, U-labels.
    pub fn domain(&self) -> &str {
        domain_of(self.bare_str(), self.local)
    }

    /// Domain, as a value of its own.
    pub fn to_domain(&self) -> Domain {
        Domain::from_normalised(self.domain())
    }

    /// Resource.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.bare) + 1..)
    }

    /// The address without its resource.
    pub fn bare(&self) -> BareJid {
        BareJid { text: self.bare_str().into(), local: self.local }
    }

    /// The address without its resource, as text.
    pub fn bare_str(&self) -> &str {
        self.text.get(..usize::from(self.bare)).unwrap_or_default()
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part that [mixes scripts](BareJid::mixed_scripts), if one does; of its resource nothing is asked.
    pub fn mixed_scripts(&self) -> Option<JidPart> {
        mixed_scripts(self.local(), self.domain())
    }

    /// True when there is no resource.
    pub fn is_bare(&self) -> bool {
        self.text.len() == usize::from(self.bare)
    }
}

impl BareJid {
    /// Parses and normalises. A resource is an error of the resource part.
    pub fn parse(address: &str) -> Result<Self, JidError> {
        if address.contains('/') {
            return Err(JidError { part: JidPart::Resource, problem: JidProblem::Character });
        }
        Self::parse_bare(address)
    }

    /// Puts together a local part, which is normalised here, and a domain.
    pub fn new(local: Option<&str>, domain: &Domain) -> Result<Self, JidError> {
        let Some(local) = local else { return Ok(domain.clone().into()) };
        let local = local::normalise(local).map_err(|problem| JidError { part: JidPart::Local, problem })?;
        let mut text = CompactString::with_capacity(local.len() + 1 + domain.as_str().len());
        text.push_str(&local);
        text.push('@');
        text.push_str(domain.as_str());
        Ok(Self { text, local: index(local.len()) })
    }

    /// Puts together two parts that are plainly normal already: ASCII, lower case, nothing that PRECIS or IDNA would want
    /// to look at. `None` says nothing about the address.
    pub fn plain(local: &str, domain: &str) -> Option<Self> {
        if !plain::is_local(local.as_bytes()) || !plain::is_domain(domain.as_bytes()) {
            return None;
        }
        let mut text = CompactString::with_capacity(local.len() + 1 + domain.len());
        text.push_str(local);
        text.push('@');
        text.push_str(domain);
        Some(Self { text, local: index(local.len()) })
    }

    /// Adds a resource, which is normalised here.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        let resource =
            resource::normalise(resource).map_err(|problem| JidError { part: JidPart::Resource, problem })?;
        let mut text = CompactString::with_capacity(self.text.len() + 1 + resource.len());
        text.push_str(&self.text);
        text.push('/');
        text.push_str(&resource);
        Ok(Jid { text, local: self.local, bare: index(self.text.len()) })
    }

    /// Local part.
    pub fn local(&self) -> Option<&str> {
        (self.local > 0).then(|| self.text.get(..usize::from(self.local)).unwrap_or_default())
    }

    /// Domain, U-labels.
    pub fn domain(&self) -> &str {
        domain_of(&self.text, self.local)
    }

    /// Domain, as a value of its own.
    pub fn to_domain(&self) -> Domain {
        Domain::from_normalised(self.domain())
    }

    /// The part that mixes scripts, if one does, such as a Latin name with a Cyrillic letter that looks like one of its own
    /// (SEC-13). It is a legal address; whether a stranger may come with it is for the caller to say. Each label of the
    /// domain is looked at by itself, for a domain may well stand in another script than the registry above it.
    pub fn mixed_scripts(&self) -> Option<JidPart> {
        mixed_scripts(self.local(), self.domain())
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parse_bare(address: &str) -> Result<Self, JidError> {
        if let Some((local, bare)) = plain::split(address)
            && usize::from(bare) == address.len()
        {
            return Ok(Self { text: address.into(), local });
        }
        Self::parse_any(address)
    }

    fn parse_any(address: &str) -> Result<Self, JidError> {
        let (local, domain) = match address.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, address),
        };
        Self::new(local, &Domain::parse(domain)?)
    }
}

fn mixed_scripts(local: Option<&str>, domain: &str) -> Option<JidPart> {
    if local.is_some_and(scripts::mixed) {
        return Some(JidPart::Local);
    }
    domain.split('.').any(scripts::mixed).then_some(JidPart::Domain)
}

fn domain_of(bare: &str, local: u16) -> &str {
    if local == 0 { bare } else { bare.get(usize::from(local) + 1..).unwrap_or_default() }
}

/// Lengths of parts that were checked against [`MAX_PART`].
fn index(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

impl From<BareJid> for Jid {
    fn from(bare: BareJid) -> Self {
        let end = index(bare.text.len());
        Self { text: bare.text, local: bare.local, bare: end }
    }
}

impl From<Domain> for BareJid {
    fn from(domain: Domain) -> Self {
        Self { text: domain.into_inner(), local: 0 }
    }
}

impl From<Domain> for Jid {
    fn from(domain: Domain) -> Self {
        BareJid::from(domain).into()
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jid {}

impl Hash for Jid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jid({})", self.text)
    }
}

impl fmt::Display for BareJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BareJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BareJid({})", self.text)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(address: &str) -> Result<Self, JidError> {
        Self::parse(address)
    }
}

impl FromStr for BareJid {
    type Err = JidError;

    fn from_str(address: &str) -> Result<Self, JidError> {
        Self::parse(address)
    }
}

impl fmt::Display for JidPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "the local part",
            Self::Domain => "the domain",
            Self::Resource => "the resource",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_cut_changes_nothing(address in "([a-cA-C.\\\\20'&-]{0,4}@)?[a-bA\\[:.\\-]{0,6}([.][a-b]{1,64})?(/[ -~\t]{0,5})?") {
            let short = Jid::parse(&address);
            let long = Jid::parse_any(&address);
            prop_assert_eq!(&short, &long);
            if let (Ok(short), Ok(long)) = (short, long) {
                prop_assert_eq!((short.local(), short.domain(), short.resource()), (long.local(), long.domain(), long.resource()));
            }
        }
    }
}
