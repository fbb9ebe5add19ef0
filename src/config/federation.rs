//! How a partner's streams are negotiated and what his certificates are held against: the values of the file.

use std::fmt;
use std::path::Path;

use ::config::ValueKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nuncio_xmpp::{Negotiation, NegotiationRules, SaslUse, TlsUse};

use super::address::{HostPort, SentBy};
use super::read::{Node, Read, Reader};
use super::schema::Shape;
use super::value::{Text, ValueError, not_a_word, quoted, text_of_words};

text_of_words! { TlsUse: "a TLS negotiation setting" }
text_of_words! { SaslUse: "a SASL negotiation setting" }
text_of_words! { NegotiationRules: "a set of negotiation rules" }

/// A combination as it stands in the file.
pub(super) fn combination(negotiation: Negotiation) -> String {
    let Negotiation { tls, sasl, dialback } = negotiation;
    format!("tls = \"{tls}\", sasl = \"{sasl}\", dialback = {dialback}")
}

/// Where to connect instead of asking DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy(pub HostPort);

impl Proxy {
    /// The port of XMPP servers (RFC 6120 §14.7).
    pub const PORT: u16 = 5269;
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Text for Proxy {
    const WHAT: &'static str = "a host";

    fn allowed() -> String {
        SentBy::allowed()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let SentBy { host, port } = SentBy::parse(text)?;
        Ok(Self(HostPort { host, port: port.unwrap_or(Self::PORT) }))
    }
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo: its key, whoever certifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpkiPin(pub [u8; 32]);

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl Text for SpkiPin {
    const WHAT: &'static str = "a pin";

    fn allowed() -> String {
        "SHA-256 of a public key (SubjectPublicKeyInfo), 44 characters of base64".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| {
            ValueError::new(format!(
                "{} is not a pin; expected the SHA-256 of a public key, 44 characters of base64, as made by: openssl x509 \
                 -in FILE -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
                quoted(text)
            ))
        })
    }
}

/// How many connections a partner may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionLimit(pub(super) usize);

impl ConnectionLimit {
    const MAX: usize = 100_000;
}

impl Read for ConnectionLimit {
    fn shape() -> Shape {
        Shape::Value(format!("connections, 1 to {}", Self::MAX))
    }

    fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = format!("expected a whole number of connections from 1 to {}", Self::MAX);
        let number = reader.integer(node, &expected)?;
        match usize::try_from(number) {
            Ok(number @ 1..=Self::MAX) => Some(Self(number)),
            _ => {
                let off = if matches!(node.kind(), ValueKind::I64(0)) {
                    "; to keep a partner out, write enabled = false"
                } else {
                    ""
                };
                reader.refuse(node, format!("{number} is out of range; {expected}{off}"));
                None
            }
        }
    }
}

/// Numbers from the least to the most, or, of rates, 0 for any number.
macro_rules! numbers {
    ($zero:literal; $($(#[$meta:meta])* $name:ident: $unit:literal, $least:expr => $most:expr;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub(super) usize);

        impl Read for $name {
            fn shape() -> Shape {
                let zero = if $zero { "0 or " } else { "" };
                Shape::Value(format!("{}, {zero}{} to {}", $unit, $least, $most))
            }

            fn read(node: Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
                let zero = if $zero { ", or 0 for any number" } else { "" };
                let expected = format!("expected a whole number of {} from {} to {}{zero}", $unit, $least, $most);
                let number = reader.integer(node, &expected)?;
                match usize::try_from(number) {
                    Ok(number) if $zero && number == 0 || ($least..=$most).contains(&number) => Some(Self(number)),
                    _ => {
                        reader.refuse(node, format!("{number} is out of range; {expected}"));
                        None
                    }
                }
            }
        }
    )+};
}

numbers! {
    false;
    /// How long a stanza of a partner may be. The least is what RFC 6120 §13.12 wants to be taken.
    StanzaLimit: "bytes", 10_000 => 16 * 1024 * 1024;
    /// How deep its elements may be nested. The bounds of these two are those of `limits.xmpp.depth` and `attributes`.
    StanzaDepth: "levels", 8 => 256;
    /// How many attributes one of its elements may have.
    StanzaAttributes: "attributes", 16 => 1024;
}

/// The least number of stanzas of a partner in a second.
pub(super) const RATE_MIN_STANZAS: usize = 10;
/// The least number of bytes of a partner in a second: a stanza that RFC 6120 §13.12 wants to be taken.
pub(super) const RATE_MIN_BYTES: usize = 10_000;
/// The most: faster is no limit.
pub(super) const RATE_MAX_BYTES: usize = 1024 * 1024 * 1024;

numbers! {
    true;
    /// How many stanzas of a partner are taken in a second.
    StanzaRate: "stanzas", RATE_MIN_STANZAS => 10_000_000_usize;
    /// How many bytes.
    ByteRate: "bytes", RATE_MIN_BYTES => RATE_MAX_BYTES;
}

/// A secret that keys are made from. Its text shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Shorter ones can be guessed.
    pub const MIN: usize = 16;
    /// Longer ones are no secret, but some other file.
    pub const MAX: usize = 1024;

    /// Reads the first and only line of a file, without blanks around it.
    ///
    /// # Errors
    /// A sentence that names the file and what to do, and shows nothing of what is in it.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let make = format!("make one with: (umask 077; openssl rand -hex 32 > {shown})");
        let metadata =
            std::fs::metadata(path).map_err(|error| format!("{shown} cannot be read: {error}; {make}"))?;
        if !metadata.is_file() {
            return Err(format!("{shown} is not a file; expected a secret there, {make}"));
        }
        if metadata.len() > 2 * Self::MAX as u64 {
            return Err(format!("{shown} is too large for a secret; {make}"));
        }
        let bytes = std::fs::read(path).map_err(|error| {
            format!("{shown} cannot be read: {error}; the user that nuncio runs as needs read permission")
        })?;
        let secret = bytes.trim_ascii();
        if secret.contains(&b'\n') {
            return Err(format!("{shown} has several lines; expected the secret alone, {make}"));
        }
        match secret.len() {
            Self::MIN..=Self::MAX => Ok(Self(secret.to_vec())),
            0 => Err(format!("{shown} is empty; {make}")),
            length => Err(format!(
                "the secret in {shown} has {length} bytes; {} to {} are expected, {make}",
                Self::MIN,
                Self::MAX
            )),
        }
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2s_06_a_proxy_has_the_port_of_xmpp_servers_unless_it_says_otherwise() {
        for (text, expected) in [
            ("xmpp.fabrikam.com", "xmpp.fabrikam.com:5269"),
            ("xmpp.fabrikam.com:5270", "xmpp.fabrikam.com:5270"),
            ("[2001:db8::1]", "[2001:db8::1]:5269"),
            ("192.0.2.1:443", "192.0.2.1:443"),
        ] {
            assert_eq!(Proxy::parse(text).unwrap().to_string(), expected);
        }
        for text in ["", "xmpp://fabrikam.com", "fabrikam.com:0", "a b"] {
            assert!(Proxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sec_12_a_pin_is_the_base64_of_32_bytes() {
        let text = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(SpkiPin::parse(text).unwrap().to_string(), text);
        for text in ["", "47DEQpj8HBSa", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", &"A".repeat(48)] {
            let error = SpkiPin::parse(text).unwrap_err().to_string();
            assert!(error.contains("openssl dgst -sha256 -binary"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_one_line_of_16_bytes_or_more_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| {
            let path = folder.path().join("secret");
            std::fs::write(&path, content).unwrap();
            Secret::from_file(&path)
        };
        let secret = read(b"  s3cret-s3cret-16\n").unwrap();
        assert_eq!(secret.expose(), b"s3cret-s3cret-16");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(read(&[b'x'; Secret::MAX]).unwrap().expose().len(), Secret::MAX);
        for (content, part) in [
            (&b"s3cret-s3cret-1"[..], "has 15 bytes"),
            (&[b'x'; Secret::MAX + 1], "has 1025 bytes"),
            (&[b'x'; 3 * Secret::MAX], "too large"),
            (b" \n", "is empty"),
            (b"s3cret-s3cret-16\ns3cret-s3cret-17\n", "several lines"),
        ] {
            let error = read(content).unwrap_err();
            assert!(error.contains(part) && !error.contains("s3cret-"), "{error}");
        }
        assert!(Secret::from_file(folder.path()).unwrap_err().contains("is not a file"));
        assert!(Secret::from_file(&folder.path().join("absent")).unwrap_err().contains("openssl rand"));
    }
}
