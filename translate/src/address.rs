//! Addresses: SIP URI ⇄ JID (RFC 7247 §6 with full XEP-0106, ADR-01…ADR-23).
//!
//! An address crosses only if it comes back: what [`SipUser`] or [`Contact`] hold can be written in either protocol, and
//! mapping it over and back gives the same address. So two users never share one address on the other side.
//!
//! Both types keep the JID form and write the SIP form when it is needed: JIDs are normalised, hence comparable; SIP
//! user parts are folded in case on the way in (DEC-05).

use std::borrow::Cow;
use std::fmt;

use compact_str::CompactString;
use nuncio_sip::{EscapeError, Host, Scheme, Uri, escape};
use nuncio_xmpp::{BareJid, Domain, Jid, JidError};
use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::Rules;

use crate::jid_escape;

/// A user of the SIP side: the half of a pair that a front end answers for.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SipUser(BareJid);

/// A user of the XMPP side, without resource.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Contact(BareJid);

/// Why a SIP URI names nobody on the XMPP side. Each variant knows the answer to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriRefusal {
    /// `tel:`, `im:` or any other scheme (ADR-09).
    #[error("only sip: addresses lead to XMPP users")]
    Scheme,
    /// `sips:` promises TLS to the very end, which XMPP cannot keep (ARC-05, DEC-17).
    #[error("sips: addresses do not lead to XMPP users")]
    Secure,
    /// A host without a user.
    #[error("the address has no user part")]
    NoUser,
    /// Escapes that stand for no text (ADR-18).
    #[error("the user part cannot be read: {0}")]
    Escape(#[from] EscapeError),
    /// A user part no localpart can stand for.
    #[error("the user part has no equivalent in XMPP")]
    User,
    /// An IP address instead of a domain (ADR-20).
    #[error("the address names a host by its IP address")]
    AddressLiteral,
    /// A port other than those of SIP: an address of some other service (ADR-20).
    #[error("the address carries a port")]
    Port,
    /// The host is no domain name.
    #[error("the host of the address is no domain name: {0}")]
    Host(JidError),
}

/// Why a JID names nobody on the SIP side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JidRefusal {
    /// A domain, not a user.
    #[error("the address has no local part")]
    NoLocalpart,
    /// It would come back as another JID (ADR-23).
    #[error("the address would come back from SIP as another one")]
    Ambiguous,
}

impl SipUser {
    /// The user a SIP URI names. Parameters, headers and password have no part in it (ADR-10, ADR-19). A sender may
    /// write himself `sips:`; only a recipient may not (ARC-05).
    ///
    /// # Errors
    /// [`UriRefusal`], never [`UriRefusal::Secure`].
    pub fn from_uri(uri: &Uri<'_>) -> Result<Self, UriRefusal> {
        bare_jid(uri).map(Self)
    }

    /// The user a JID of a SIP domain names.
    ///
    /// # Errors
    /// [`JidRefusal`].
    pub fn from_jid(jid: &BareJid) -> Result<Self, JidRefusal> {
        jid.clone().try_into()
    }

    /// The address as XMPP writes it.
    pub fn jid(&self) -> &BareJid {
        &self.0
    }

    /// The SIP domain, U-labels.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// Appends `sip:user@domain`.
    pub fn write_uri(&self, out: &mut Vec<u8>) {
        write_uri(&self.0, None, &mut |part| out.extend_from_slice(part.as_bytes()));
    }

    /// The URI as text.
    pub fn uri(&self) -> CompactString {
        uri_text(&self.0, None)
    }
}

impl Contact {
    /// The contact a JID names.
    ///
    /// # Errors
    /// [`JidRefusal`].
    pub fn from_jid(jid: &BareJid) -> Result<Self, JidRefusal> {
        jid.clone().try_into()
    }

    /// The contact a SIP URI names.
    ///
    /// # Errors
    /// [`UriRefusal`].
    pub fn from_uri(uri: &Uri<'_>) -> Result<Self, UriRefusal> {
        if uri.scheme() == Scheme::Sips {
            return Err(UriRefusal::Secure);
        }
        bare_jid(uri).map(Self)
    }

    /// The address as XMPP writes it.
    pub fn jid(&self) -> &BareJid {
        &self.0
    }

    /// The XMPP domain, U-labels.
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// Appends `sip:user@domain`, with the resource as `;gr=` if there is one (ADR-12).
    pub fn write_uri(&self, resource: Option<&str>, out: &mut Vec<u8>) {
        write_uri(&self.0, resource, &mut |part| out.extend_from_slice(part.as_bytes()));
    }

    /// The URI as text.
    pub fn uri(&self, resource: Option<&str>) -> CompactString {
        uri_text(&self.0, resource)
    }
}

impl TryFrom<BareJid> for SipUser {
    type Error = JidRefusal;

    fn try_from(jid: BareJid) -> Result<Self, JidRefusal> {
        comes_back(jid.local())?;
        Ok(Self(jid))
    }
}

impl TryFrom<BareJid> for Contact {
    type Error = JidRefusal;

    fn try_from(jid: BareJid) -> Result<Self, JidRefusal> {
        comes_back(jid.local())?;
        Ok(Self(jid))
    }
}

/// The resource a SIP URI carries as public GRUU (ADR-11).
///
/// A `gr` without value marks a temporary GRUU, which says nothing about its user, and never becomes a resource. Nor does
/// a value that cannot be read: the bare address is still right.
pub fn resource<'a>(uri: &Uri<'a>) -> Option<Cow<'a, str>> {
    let value = uri.params().get("gr").flatten().filter(|value| !value.is_empty())?;
    escape::decode_param(value).ok()
}

/// Bare JID and resource together: `user@domain/resource`, or the bare one if XMPP would not take the resource.
pub fn full_jid(bare: &BareJid, resource: Option<&str>) -> Jid {
    resource.and_then(|resource| bare.with_resource(resource).ok()).unwrap_or_else(|| bare.clone().into())
}

/// The SIP URI for an address of an XMPP error (`<gone/>`, `<redirect/>`): `xmpp:` IRIs only, those that name a user.
pub fn uri_from_iri(iri: &str) -> Option<CompactString> {
    let iri = iri.trim();
    let address =
        iri.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("xmpp:")).and_then(|_| iri.get(5..))?;
    // An authority (`xmpp://…`) names the account that acts, not the address.
    if address.starts_with("//") {
        return None;
    }
    let address = address.split(['?', '#']).next().unwrap_or_default();
    let jid = Jid::parse(&escape::decode_user(address).ok()?).ok()?;
    let contact = Contact::from_jid(&jid.bare()).ok()?;
    Some(contact.uri(jid.resource()))
}

/// The `xmpp:` IRI for an address of a SIP answer (`Contact` of a 301 or 302).
pub fn iri_from_uri(uri: &Uri<'_>) -> Option<String> {
    let jid = bare_jid(uri).ok()?;
    let keep = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$()*+,;=".contains(c);
    let mut iri = String::from("xmpp:");
    for character in jid.local().unwrap_or_default().chars() {
        match character {
            // Everything else in a localpart is printable ASCII: two digits are enough.
            escaped if !keep(escaped) => iri.push_str(&format!("%{:02X}", u32::from(escaped))),
            kept => iri.push(kept),
        }
    }
    iri.push('@');
    iri.push_str(jid.domain());
    Some(iri)
}

impl UriRefusal {
    /// The status a request with such an address gets.
    pub fn status(&self) -> u16 {
        match self {
            Self::Scheme => 416,
            Self::Secure => 480,
            Self::Escape(_) => 400,
            Self::NoUser | Self::User | Self::AddressLiteral | Self::Port | Self::Host(_) => 404,
        }
    }

    /// Its reason phrase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Scheme => "Unsupported URI Scheme",
            Self::Secure => "SIPS Not Allowed",
            Self::Escape(_) => "Malformed User Part",
            Self::NoUser => "No User in Address",
            Self::User => "Not an XMPP Address",
            Self::AddressLiteral => "IP Address Instead of Domain",
            Self::Port => "Port in Address",
            Self::Host(_) => "Not a Domain Name",
        }
    }

    /// Code and text of the `Warning` that the answer needs (RFC 5630 §5.1.1.2): only `sips:` has one.
    pub fn warning(&self) -> Option<(u16, &'static str)> {
        (*self == Self::Secure).then_some((380, "SIPS Not Allowed"))
    }
}

impl fmt::Display for SipUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for SipUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SipUser({})", self.0)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contact({})", self.0)
    }
}

fn bare_jid(uri: &Uri<'_>) -> Result<BareJid, UriRefusal> {
    if !uri.is_sip() {
        return Err(UriRefusal::Scheme);
    }
    let user = uri.user().ok_or(UriRefusal::NoUser)?;
    if !matches!(uri.port(), None | Some(5060 | 5061)) {
        return Err(UriRefusal::Port);
    }
    let Host::Name(host) = uri.host() else { return Err(UriRefusal::AddressLiteral) };
    // Of four digits and dots an address could be made; who ends otherwise is a name.
    if !host.ends_with(|c: char| c.is_ascii_digit())
        && user.bytes().all(is_plain)
        && let Some(jid) = BareJid::plain(user, host)
    {
        return Ok(jid);
    }
    any_bare_jid(user, host)
}

/// [`bare_jid`] without the short cut.
fn any_bare_jid(user: &str, host: &str) -> Result<BareJid, UriRefusal> {
    let domain = Domain::parse(host).map_err(UriRefusal::Host)?;
    // `192.0.2.1.` is a name to SIP and an address to XMPP, which drops the last dot.
    if domain.as_str().ends_with(|c: char| c.is_ascii_digit()) && domain.is_address_literal() {
        return Err(UriRefusal::AddressLiteral);
    }
    if user.bytes().all(is_plain) {
        return BareJid::new(Some(user), &domain).map_err(|_| UriRefusal::User);
    }
    let local = localpart(&escape::decode_user(user)?).ok_or(UriRefusal::User)?;
    let jid = BareJid::new(Some(&local), &domain).map_err(|_| UriRefusal::User)?;
    // The escapes may have met a combining character behind them; then the JID stands for another user.
    if jid.local() == Some(&local) { Ok(jid) } else { Err(UriRefusal::User) }
}

/// Characters that are the same in a SIP user part and in a localpart, letter case apart.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(byte, b'%' | b'\\' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@')
}

/// Unescaped user part → escaped localpart. Folding comes first: `\2F` or a full-width `＼` would turn into a sequence of
/// XEP-0106 after the escaping otherwise.
fn localpart(text: &str) -> Option<String> {
    if jid_escape::has_outer_space(text) {
        return None;
    }
    let folded = fold(text)?;
    let mut local = String::with_capacity(folded.len() + 8);
    jid_escape::escape(&folded, &mut local);
    Some(local)
}

/// What UsernameCaseMapped maps, without what it forbids: width, case, composition (RFC 8265 §3.3).
fn fold(text: &str) -> Option<Cow<'_, str>> {
    if text.is_ascii() {
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        return Some(if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) });
    }
    let profile = UsernameCaseMapped::new();
    let wide = profile.width_mapping_rule(text).ok()?;
    let lower = profile.case_mapping_rule(wide).ok()?;
    profile.normalization_rule(lower).ok()
}

/// Whether the user a JID names has an address in SIP: a [`SipUser`] or [`Contact`] can be made of it.
pub fn has_uri(jid: &Jid) -> bool {
    comes_back(jid.local()).is_ok()
}

/// The guard of ADR-23.
fn comes_back(local: Option<&str>) -> Result<(), JidRefusal> {
    let local = local.ok_or(JidRefusal::NoLocalpart)?;
    if local.bytes().all(is_plain) {
        return Ok(());
    }
    let back = localpart(&jid_escape::unescape(local)).ok_or(JidRefusal::Ambiguous)?;
    if back == local { Ok(()) } else { Err(JidRefusal::Ambiguous) }
}

/// Hands the parts of the URI to `out`, in order.
fn write_uri(jid: &BareJid, resource: Option<&str>, out: &mut impl FnMut(&str)) {
    out("sip:");
    let user = jid_escape::unescape(jid.local().unwrap_or_default());
    out(&escape::encode_user(&user));
    out("@");
    out(&ascii_domain(jid.domain()));
    if let Some(resource) = resource {
        out(";gr=");
        out(&escape::encode_param(resource));
    }
}

fn uri_text(jid: &BareJid, resource: Option<&str>) -> CompactString {
    let length =
        "sip:".len() + jid.as_str().len() + resource.map_or(0, |resource| ";gr=".len() + resource.len());
    let mut out = CompactString::with_capacity(length);
    write_uri(jid, resource, &mut |part| out.push_str(part));
    out
}

/// U-labels → A-labels (ADR-08).
fn ascii_domain(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() {
        return Cow::Borrowed(domain);
    }
    // A domain out of a JID always converts: reading it did so already.
    Domain::parse(domain).map_or(Cow::Borrowed(""), |domain| Cow::Owned(domain.to_ascii().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_cut_changes_nothing(
            user in "[a-cB0-1%2540.!'&_-]{1,6}",
            host in "([a-c1B-]{1,4}[.]){0,3}([a-b1-]{1,3}|[a-b]{60,66}|192[.]0[.]2[.]1)[.]?",
        ) {
            let text = format!("sip:{user}@{host}");
            let Ok(uri) = Uri::parse(&text) else { return Ok(()) };
            prop_assume!(matches!(uri.host(), Host::Name(_)));
            prop_assert_eq!(bare_jid(&uri), any_bare_jid(&user, &host));
        }
    }
}
