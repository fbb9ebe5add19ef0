//! The matrix as data: which server, set up how, with which certificate, under which partner entry; and what is to come of
//! a message in each direction.

use std::fmt;

use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::witness::Method;
use nuncio_world::xmpp_server::{Brand, Setup, Tls};

use Brand::{Ejabberd, Prosody};
use Certificate::{Expired, SelfSigned, ServerAuthOnly, Valid, WrongName};
use Expected::{By, Refused};
use Method::External;

/// How a server is set up for other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stance {
    /// TLS and a certificate, or nothing.
    CertificatesOnly,
    /// The same, with streams both ways.
    Bidi,
    /// The same, with stream management.
    Acks,
}

impl Stance {
    pub(super) fn setup(self) -> Setup {
        let setup = Setup { tls: Tls::Required, dialback: false, ..Setup::default() };
        match self {
            Self::CertificatesOnly => setup,
            Self::Bidi => Setup { bidi: true, ..setup },
            Self::Acks => Setup { acks: true, ..setup },
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CertificatesOnly => "TLS required, EXTERNAL only",
            Self::Bidi => "TLS required, EXTERNAL only; `s2s_bidi`",
            Self::Acks => "TLS required, EXTERNAL only; `smacks`",
        })
    }
}

/// The server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificate {
    Valid,
    ServerAuthOnly,
    SelfSigned,
    Expired,
    WrongName,
}

impl Certificate {
    pub(super) fn usage(self) -> Usage {
        if self == ServerAuthOnly { Usage::ServerOnly } else { Usage::Both }
    }

    pub(super) fn flaw(self) -> Flaw {
        match self {
            Valid | ServerAuthOnly | WrongName => Flaw::None,
            SelfSigned => Flaw::SelfSigned,
            Expired => Flaw::Expired,
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Valid => "valid",
            ServerAuthOnly => "serverAuth only",
            SelfSigned => "self-signed",
            Expired => "expired",
            WrongName => "wrong name",
        })
    }
}

/// What the gateway's partner entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tls: &'static str,
    pub(super) sasl: &'static str,
    pub(super) dialback: bool,
}

impl Entry {
    /// Its lines in the configuration.
    pub(super) fn keys(self) -> String {
        String::new()
    }
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// It arrives, over a stream that was authenticated like this.
    By(Method),
    /// It does not, and the gateway's log says this about it.
    Refused(&'static str),
}

/// One line of the matrix: two tests, one in each direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) brand: Brand,
    pub(super) stance: Stance,
    pub(super) certificate: Certificate,
    pub(super) entry: Entry,
    /// From a SIP user to the server's user.
    pub(super) to_server: Expected,
    /// From the server's user to a SIP user.
    pub(super) from_server: Expected,
}

const SASL_ONLY: Entry = Entry { tls: "required", sasl: "required", dialback: false };

const fn row(
    brand: Brand,
    stance: Stance,
    certificate: Certificate,
    entry: Entry,
    (to_server, from_server): (Expected, Expected),
) -> Row {
    Row { brand, stance, certificate, entry, to_server, from_server }
}

const SELF_SIGNED: (Expected, Expected) = both(Refused("is self-signed"));
const EXPIRED: (Expected, Expected) = both(Refused("expired on 2021-01-01"));
const OTHER_NAME: (Expected, Expected) = both(Refused("is valid but not for"));
const BY_EXTERNAL: (Expected, Expected) = both(By(External));

const fn both(expected: Expected) -> (Expected, Expected) {
    (expected, expected)
}

use Stance::{Acks, Bidi, CertificatesOnly};

/// The whole matrix.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    row(Ejabberd, CertificatesOnly, Valid,          SASL_ONLY, BY_EXTERNAL),
    row(Ejabberd, CertificatesOnly, ServerAuthOnly, SASL_ONLY, BY_EXTERNAL),
    row(Ejabberd, CertificatesOnly, SelfSigned,     SASL_ONLY, SELF_SIGNED),
    row(Ejabberd, CertificatesOnly, Expired,        SASL_ONLY, EXPIRED),
    row(Ejabberd, CertificatesOnly, WrongName,      SASL_ONLY, OTHER_NAME),
    row(Prosody,  CertificatesOnly, Valid,          SASL_ONLY, BY_EXTERNAL),
    row(Prosody,  CertificatesOnly, ServerAuthOnly, SASL_ONLY, BY_EXTERNAL),
    row(Prosody,  CertificatesOnly, SelfSigned,     SASL_ONLY, SELF_SIGNED),
    row(Prosody,  CertificatesOnly, Expired,        SASL_ONLY, EXPIRED),
    row(Prosody,  CertificatesOnly, WrongName,      SASL_ONLY, OTHER_NAME),
    row(Prosody,  Bidi,             Valid,          SASL_ONLY, BY_EXTERNAL),
    row(Prosody,  Acks,             Valid,          SASL_ONLY, BY_EXTERNAL),
];
