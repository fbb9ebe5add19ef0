//! Domains, hosts and socket addresses.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use compact_str::CompactString;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::value::{Text, ValueError, quoted};

/// A domain, in the one form in which it is compared: lower case, A-labels (`xn--…`), no trailing dot.
///
/// `BÜCHER.example.` and `xn--bcher-kva.example` are the same `Domain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(CompactString);

/// Why something is not a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing there, or only a dot.
    #[error("a domain is expected, this is empty")]
    Empty,
    /// `*` in it.
    #[error("wildcards are not allowed here, each domain is listed by itself")]
    Wildcard,
    /// An IPv4 or IPv6 address.
    #[error("this is an IP address, a domain name is expected")]
    Address,
    /// `300.1.1.1`, `192.168.1`: no top-level domain is a number (RFC 3696 §2), and what was meant is an address.
    #[error(
        "a domain does not end in a number, and an IP address it is not either: one of IPv4 has four numbers from 0 to 255, without \
         zeros in front"
    )]
    Number,
    /// `user@domain`.
    #[error("only the domain is expected, without the user in front of the @")]
    User,
    /// `sip:…`, `xmpp:…`, `https://…`, or a port behind the name.
    #[error("only the domain is expected, without scheme, port or path")]
    Decorated,
    /// Characters or label lengths that no domain has, or an IDN that IDNA 2008 (UTS 46) refuses.
    #[error("letters, digits and hyphens are expected, in labels of 1 to 63 separated by dots, 253 in all")]
    Syntax,
}

impl Domain {
    /// Normalises and checks a domain given as U-labels or A-labels, in any case, with or without trailing dot.
    ///
    /// # Errors
    /// Says what kind of thing it is instead.
    pub fn new(text: &str) -> Result<Self, DomainError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if text.contains('*') {
            return Err(DomainError::Wildcard);
        }
        if text.parse::<IpAddr>().is_ok() || text.starts_with('[') {
            return Err(DomainError::Address);
        }
        if text.contains('@') {
            return Err(DomainError::User);
        }
        if text.contains([':', '/']) {
            return Err(DomainError::Decorated);
        }
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map_err(|_| DomainError::Syntax)?;
        // Full-width digits and the like become an address only by the mapping.
        if ascii.parse::<IpAddr>().is_ok() {
            return Err(DomainError::Address);
        }
        if ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(DomainError::Number);
        }
        Ok(Self(ascii.as_ref().into()))
    }

    /// The A-label form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The U-label form, as XMPP carries it and people read it.
    pub fn to_unicode(&self) -> Cow<'_, str> {
        let (text, _) =
            Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
        text
    }
}

/// A domain, or an address at one, in A-labels and in U-labels: partners are on record by the ones, contacts by the others, and
/// people read the others. What is neither comes back as it is.
pub(crate) fn both_forms(text: &str) -> (String, String) {
    let (user, domain) = match text.rfind('@') {
        Some(at) => text.split_at(at + 1),
        None => ("", text),
    };
    match Domain::new(domain) {
        Ok(domain) => (format!("{user}{}", domain.as_str()), format!("{user}{}", domain.to_unicode())),
        Err(_) => (text.to_owned(), text.to_owned()),
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for Domain {
    const WHAT: &'static str = "a domain";

    fn parse(text: &str) -> Result<Self, ValueError> {
        Self::new(text).map_err(|error| refused(text, Self::WHAT, error))
    }
}

fn refused(text: &str, what: &str, error: impl fmt::Display) -> ValueError {
    ValueError::new(format!("{} is not {what}: {error}", quoted(text)))
}

/// A name that a front end's certificate must carry (SAN URI `sip:name` or dNSName).
///
/// Never a wildcard: SIP domain certificates are matched in full (RFC 5922 §7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateName(Domain);

impl CertificateName {
    /// The name in A-label form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name as a domain.
    pub fn domain(&self) -> &Domain {
        &self.0
    }
}

impl From<Domain> for CertificateName {
    fn from(domain: Domain) -> Self {
        Self(domain)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Text for CertificateName {
    const WHAT: &'static str = "a certificate name";

    fn allowed() -> String {
        "host name, no wildcard".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        match Domain::new(text) {
            Ok(domain) => Ok(Self(domain)),
            Err(DomainError::Wildcard) => Err(refused(
                text,
                Self::WHAT,
                "names of SIP certificates are compared in full, wildcards match nothing (RFC 5922 §7.2); \
                 list the name of each front end as its certificate carries it",
            )),
            Err(DomainError::Decorated) => Err(refused(
                text,
                Self::WHAT,
                "only the host name is expected, without \"sip:\" and port; it is compared with SAN URI and dNSName alike",
            )),
            Err(error) => Err(refused(text, Self::WHAT, error)),
        }
    }
}

/// A host: a name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name.
    Name(Domain),
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// IPv6 addresses in brackets, as in a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Splits `host[:port]`, IPv6 in brackets; the sentence says what is wrong.
fn split_host_port(text: &str) -> Result<(Host, Option<u16>), Cow<'static, str>> {
    if text.contains("://") || text.starts_with("sip:") || text.starts_with("sips:") {
        return Err("only the host and port are expected, without scheme".into());
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inner, behind) =
            rest.split_once(']').ok_or("the closing bracket of the IPv6 address is missing")?;
        let address: Ipv6Addr =
            inner.parse().map_err(|_| "an IPv6 address is expected between the brackets")?;
        let port = match behind.strip_prefix(':') {
            Some(port) => Some(port),
            None if behind.is_empty() => None,
            None => return Err("a colon and the port are expected behind the bracket".into()),
        };
        (Host::Address(address.into()), port)
    } else if text.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address is written in brackets, such as \"[2001:db8::1]:5061\"".into());
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(Domain::new(host).map_err(|error| error.to_string())?),
        };
        (host, port)
    };
    let port = match port {
        None => None,
        Some(port) => Some(parse_port(port)?),
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, Cow<'static, str>> {
    let refused = || format!("{} is not a port, a number from 1 to 65535 is expected", quoted(text));
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refused().into());
    }
    match text.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(refused().into()),
    }
}

/// Where to connect: host and port, both given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Text for HostPort {
    const WHAT: &'static str = "a host with port";

    fn allowed() -> String {
        "`\"host:port\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (host, port) = split_host_port(text).map_err(|error| refused(text, Self::WHAT, error))?;
        match port {
            Some(port) => Ok(Self { host, port }),
            None => Err(ValueError::new(format!(
                "{} has no port; expected host:port, such as \"{host}:5061\"",
                quoted(text)
            ))),
        }
    }
}

/// Where requests to a front end are sent: a host, or a domain whose hosts DNS names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// This one.
    At(HostPort),
    /// Those that serve this domain.
    Of(Domain),
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(host) => host.fmt(f),
            Self::Of(domain) => domain.fmt(f),
        }
    }
}

impl Text for NextHop {
    const WHAT: &'static str = "a next hop";

    fn allowed() -> String {
        "`\"host:port\"`, or `\"domain\"` to have its hosts looked up in DNS".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (host, port) = split_host_port(text).map_err(|error| refused(text, Self::WHAT, error))?;
        match (host, port) {
            (host, Some(port)) => Ok(Self::At(HostPort { host, port })),
            (Host::Name(domain), None) => Ok(Self::Of(domain)),
            (host @ Host::Address(_), None) => Err(ValueError::new(format!(
                "{} has no port; expected host:port, such as \"{host}:5061\"",
                quoted(text)
            ))),
        }
    }
}

/// What we call ourselves in Via and Contact: host, and port where it is not the default one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentBy {
    /// Name or address.
    pub host: Host,
    /// Absent: the default port of the transport.
    pub port: Option<u16>,
}

impl fmt::Display for SentBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

impl Text for SentBy {
    const WHAT: &'static str = "a host";

    fn allowed() -> String {
        "`\"host\"` or `\"host:port\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (host, port) = split_host_port(text).map_err(|error| refused(text, Self::WHAT, error))?;
        Ok(Self { host, port })
    }
}

/// Where a listener binds: IP address and port. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bind(pub SocketAddr);

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Text for Bind {
    const WHAT: &'static str = "an address to listen on";

    fn allowed() -> String {
        "`\"address:port\"`, IPv6 in brackets".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(|_| {
            let why = if text.parse::<IpAddr>().is_ok() {
                "the port is missing"
            } else {
                "an IP address with port is expected"
            };
            refused(text, Self::WHAT, format_args!("{why}, such as \"0.0.0.0:5061\" or \"[::]:5061\""))
        })
    }
}

/// A DNS server: IP address, port 53 unless given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DnsServer(pub SocketAddr);

impl Text for DnsServer {
    const WHAT: &'static str = "the address of a DNS server";

    fn allowed() -> String {
        "`\"address\"` or `\"address:port\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(address, 53)));
        }
        match text.parse::<SocketAddr>() {
            Ok(server) if server.port() != 0 => Ok(Self(server)),
            _ => Err(refused(
                text,
                Self::WHAT,
                "an IP address is expected, with or without port, such as \"127.0.0.53:53\"",
            )),
        }
    }
}

/// The local address that outbound connections leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceAddress(pub IpAddr);

impl Text for SourceAddress {
    const WHAT: &'static str = "a source address";

    fn allowed() -> String {
        "IP address".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        match text.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => {
                Err(refused(text, Self::WHAT, "leave the key out to let the system choose"))
            }
            Ok(address) => Ok(Self(address)),
            Err(_) => {
                Err(refused(text, Self::WHAT, "an IP address of this machine is expected, without port"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_that_are_the_same_are_equal() {
        let domain = Domain::new("xn--bcher-kva.example").unwrap();
        for text in ["BÜCHER.example", "bücher.example.", "XN--BCHER-KVA.EXAMPLE", "bücher。example"] {
            assert_eq!(Domain::new(text).as_ref(), Ok(&domain), "{text}");
        }
        assert_eq!(domain.to_unicode(), "bücher.example");
        assert_eq!(Domain::new("localhost").unwrap().as_str(), "localhost");
    }

    #[test]
    fn what_is_no_domain_is_named() {
        use DomainError::*;
        let long_label = format!("{}.example", "a".repeat(64));
        let cases = [
            ("", Empty),
            (".", Empty),
            ("*.contoso.com", Wildcard),
            ("192.0.2.1", Address),
            ("2001:db8::1", Address),
            ("[2001:db8::1]", Address),
            ("alice@contoso.com", User),
            ("sip:contoso.com", Decorated),
            ("contoso.com:5269", Decorated),
            ("https://contoso.com/", Decorated),
            ("con toso.com", Syntax),
            ("contoso..com", Syntax),
            ("contoso.com..", Syntax),
            ("_xmpp.contoso.com", Syntax),
            ("-contoso.com", Syntax),
            (&long_label, Syntax),
            ("contoso.com\n", Syntax),
            ("１９２.0.2.1", Address),
        ];
        for (text, error) in cases {
            assert_eq!(Domain::new(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_host_and_port_is_read_and_written_alike() {
        for text in ["fe.contoso.com:5061", "192.0.2.1:5061", "[2001:db8::1]:5061"] {
            assert_eq!(HostPort::parse(text).map(|h| h.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "fe.contoso.com",
            "fe:0",
            "fe:65536",
            "fe:+1",
            "fe:",
            ":5061",
            "2001:db8::1",
            "[2001:db8::1]",
            "[::1]5061",
            "[::1:5061",
            "sip:fe:5061",
            "a b:1",
        ] {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
        assert_eq!(SentBy::parse("[::1]").map(|h| h.to_string()).as_deref(), Ok("[::1]"));
        assert_eq!(
            SentBy::parse("Nuncio.Contoso.com").map(|h| h.to_string()).as_deref(),
            Ok("nuncio.contoso.com")
        );
    }

    #[test]
    fn a_next_hop_without_a_port_is_a_domain_to_look_up() {
        assert!(matches!(NextHop::parse("fe.contoso.com:5061"), Ok(NextHop::At(_))));
        assert!(matches!(NextHop::parse("[2001:db8::1]:5061"), Ok(NextHop::At(_))));
        assert_eq!(NextHop::parse("Contoso.com"), Ok(NextHop::Of(Domain::new("contoso.com").unwrap())));
        let error = NextHop::parse("192.0.2.1").unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:5061"), "{error}");
    }

    #[test]
    fn a_certificate_name_is_never_a_wildcard() {
        let error = CertificateName::parse("*.contoso.com").unwrap_err().to_string();
        assert!(error.contains("RFC 5922 §7.2"), "{error}");
    }

    #[test]
    fn addresses_need_what_they_need() {
        assert!(Bind::parse("[::]:5061").is_ok());
        assert!(Bind::parse("127.0.0.1:0").is_ok());
        for text in ["0.0.0.0", "localhost:5061", ":5061", "0.0.0.0:65536"] {
            assert!(Bind::parse(text).is_err(), "{text}");
        }
        assert_eq!(DnsServer::parse("127.0.0.53"), Ok(DnsServer("127.0.0.53:53".parse().unwrap())));
        assert!(DnsServer::parse("127.0.0.53:0").is_err());
        assert!(SourceAddress::parse("0.0.0.0").is_err());
        assert!(SourceAddress::parse("127.0.0.2:1").is_err());
    }
}
