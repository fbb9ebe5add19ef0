//! The matrix as data: which server, set up how, with which certificate, under which partner entry; and what is to come of
//! a message in each direction.

use std::fmt;

use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::witness::Method;
use nuncio_world::xmpp_server::{Brand, Setup, Tls};

use Brand::{Ejabberd, Prosody};
use Certificate::{Expired, SelfSigned, ServerAuthOnly, Valid, WrongName};
use Expected::{By, TheyRefuse, WeRefuse};
use Method::{DialbackTcp, DialbackTls, External};
use Stance::{
    Acks, AcksDialback, Bidi, BidiAcks, BidiAcksDialback, BidiDialback, BidiNoTls, CertificatesOnly, Direct,
    DirectBidi, DirectDialback, Everything, NoTls, OursServerOnly, Stranger,
};

/// How a server is set up for other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stance {
    /// TLS and a certificate, or nothing.
    CertificatesOnly,
    /// Whatever the other server can.
    Everything,
    /// The same, but the authority of our certificate is nobody it knows.
    Stranger,
    /// The same, and our certificate is for servers only, which is what public authorities issue.
    OursServerOnly,
    /// Dialback, and no TLS.
    NoTls,
    /// TLS and a certificate, or nothing; streams both ways.
    Bidi,
    /// Whatever the other server can, and streams both ways.
    BidiDialback,
    /// Dialback, and no TLS; streams both ways.
    BidiNoTls,
    /// TLS and a certificate, or nothing; streams both ways, and stream management.
    BidiAcks,
    /// Whatever the other server can, streams both ways, and stream management.
    BidiAcksDialback,
    /// TLS and a certificate, or nothing; stream management.
    Acks,
    /// Whatever the other server can, and stream management, which it enables after SASL only.
    AcksDialback,
    /// TLS from the first byte, and a certificate.
    Direct,
    /// TLS from the first byte, and a certificate; streams both ways.
    DirectBidi,
    /// TLS from the first byte, and a certificate or dialback.
    DirectDialback,
}

impl Stance {
    pub(super) fn setup(self) -> Setup {
        let certificates = Setup { tls: Tls::Required, dialback: false, ..Setup::default() };
        let everything = Setup { tls: Tls::Optional, dialback: true, ..certificates };
        match self {
            Self::CertificatesOnly => certificates,
            Self::Everything | Self::OursServerOnly => everything,
            Self::Stranger => Setup { knows_us: false, ..everything },
            Self::NoTls => Setup { tls: Tls::Off, ..everything },
            Self::Bidi => Setup { bidi: true, ..certificates },
            Self::BidiDialback => Setup { bidi: true, ..everything },
            Self::BidiNoTls => Setup { tls: Tls::Off, bidi: true, ..everything },
            Self::BidiAcks => Setup { bidi: true, acks: true, ..certificates },
            Self::BidiAcksDialback => Setup { bidi: true, acks: true, ..everything },
            Self::Acks => Setup { acks: true, ..certificates },
            Self::AcksDialback => Setup { acks: true, ..everything },
            Self::Direct => Setup { direct_tls: true, ..certificates },
            Self::DirectBidi => Setup { direct_tls: true, bidi: true, ..certificates },
            Self::DirectDialback => Setup { direct_tls: true, ..everything },
        }
    }

    /// Whether stanzas are acknowledged, both ways.
    pub(super) fn acknowledges(self) -> bool {
        matches!(self, Self::Acks | Self::BidiAcks)
    }

    /// Whether one stream carries stanzas both ways.
    pub(super) fn goes_both_ways(self) -> bool {
        self.setup().bidi
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CertificatesOnly => "TLS required, EXTERNAL",
            Self::Everything => "TLS optional, EXTERNAL, dialback",
            Self::Stranger => "TLS optional, EXTERNAL, dialback; does not know our authority",
            Self::OursServerOnly => "TLS optional, EXTERNAL, dialback; our certificate is serverAuth only",
            Self::NoTls => "no TLS, dialback",
            Self::Bidi => "TLS required, EXTERNAL; `s2s_bidi`",
            Self::BidiDialback => "TLS optional, EXTERNAL, dialback; `s2s_bidi`",
            Self::BidiNoTls => "no TLS, dialback; `s2s_bidi`",
            Self::BidiAcks => "TLS required, EXTERNAL; `s2s_bidi`, `smacks`",
            Self::BidiAcksDialback => "TLS optional, EXTERNAL, dialback; `s2s_bidi`, `smacks`",
            Self::Acks => "TLS required, EXTERNAL; `smacks`",
            Self::AcksDialback => "TLS optional, EXTERNAL, dialback; `smacks`",
            Self::Direct => "Direct TLS, EXTERNAL",
            Self::DirectBidi => "Direct TLS, EXTERNAL; `s2s_bidi`",
            Self::DirectDialback => "Direct TLS, EXTERNAL, dialback",
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

/// What the gateway's partner entry says: TLS and SASL by the first letter (required, optional, not-supported).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    tls: char,
    sasl: char,
    dialback: bool,
    compat: bool,
}

impl Entry {
    /// Its lines in the configuration.
    pub(super) fn keys(self) -> String {
        let Self { tls, sasl, dialback, compat } = self;
        let (tls_word, sasl_word) = (word(tls), word(sasl));
        let mut keys = format!("tls = \"{tls_word}\"\nsasl = \"{sasl_word}\"\ndialback = {dialback}\n");
        if compat {
            keys += "negotiation_rules = \"compat\"\n";
        }
        // Everybody here is federated.
        if dialback && tls != 'R' && (compat || sasl != 'R') {
            keys += "accept_spoofable = true\n";
        }
        keys
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, sasl, dialback, compat } = *self;
        let dialback = if dialback { "on" } else { "off" };
        write!(formatter, "{}, {}, {dialback}", word(tls), word(sasl))?;
        if compat { formatter.write_str(" (compat)") } else { Ok(()) }
    }
}

fn word(letter: char) -> &'static str {
    match letter {
        'R' => "required",
        'O' => "optional",
        _ => "not-supported",
    }
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// It arrives, over a stream that was authenticated like this.
    By(Method),
    /// It does not, because of us; the gateway's log says this about it.
    WeRefuse(&'static str),
    /// It does not, because of the server; what the gateway's log says of it.
    TheyRefuse(&'static str),
}

impl Expected {
    /// What the gateway's log says where the message does not arrive.
    pub(super) fn refusal(self) -> Option<&'static str> {
        match self {
            Self::By(_) => None,
            Self::WeRefuse(why) | Self::TheyRefuse(why) => Some(why),
        }
    }
}

/// One line of the matrix: two tests, one in each direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) brands: &'static [Brand],
    pub(super) stance: Stance,
    pub(super) certificate: Certificate,
    pub(super) entry: Entry,
    /// From a SIP user to the server's user.
    pub(super) to_server: Expected,
    /// From the server's user to a SIP user.
    pub(super) from_server: Expected,
    /// Why it is no better, where neither the entry nor the certificate says so.
    pub(super) because: &'static str,
}

impl Row {
    const fn because(self, because: &'static str) -> Self {
        Self { because, ..self }
    }
}

const fn on(tls: char, sasl: char) -> Entry {
    Entry { tls, sasl, dialback: true, compat: false }
}

const fn off(tls: char, sasl: char) -> Entry {
    Entry { tls, sasl, dialback: false, compat: false }
}

const fn compat(tls: char, sasl: char) -> Entry {
    Entry { tls, sasl, dialback: true, compat: true }
}

const S: Expected = By(External);
const T: Expected = By(DialbackTls);
const C: Expected = By(DialbackTcp);
const SELF_SIGNED: Expected = WeRefuse("is self-signed");
const EXPIRED: Expected = WeRefuse("expired on 2021-01-01");
const OTHER_NAME: Expected = WeRefuse("is valid but not for");
const NO_TLS: Expected = WeRefuse("offers no STARTTLS");
const DEMANDS_TLS: Expected = WeRefuse("demands TLS, which the entry of this partner switches off");
const USES_TLS: Expected = WeRefuse("uses TLS, which the entry of this partner switches off");
const ONLY_DIRECT: Expected = WeRefuse("DNS offers Direct TLS only");
const NO_DIALBACK: Expected = WeRefuse("does not offer server dialback, the only way that is left");
const DIALBACK_OFF: Expected = WeRefuse("tried server dialback: it is off for this partner");
const DIALBACK_IN_THE_CLEAR: Expected =
    WeRefuse("tried server dialback: TLS is required for it and was not used");
const NO_EXTERNAL: Expected = WeRefuse("does not offer to accept our certificate (SASL EXTERNAL)");
// What they say themselves, or do.
const THEY_REFUSE_OUR_CERTIFICATE: Expected = TheyRefuse("refused our certificate with not-authorized");
const THEY_REFUSE_DIALBACK: Expected =
    TheyRefuse("ended the stream with not-authorized, while we waited for the answer to our dialback key");
const THEY_GO: Expected = TheyRefuse("the connection broke while we waited for authentication");
const THEY_LACK_A_METHOD: Expected = TheyRefuse("No viable authentication method offered");
const THEY_DEMAND_TLS: Expected = TheyRefuse("Use of STARTTLS required");
const THEY_HAVE_NO_TLS: Expected = TheyRefuse("STARTTLS is disabled in local configuration");

// Why it can do no better.
const NO_DIALBACK_THERE: &str = "dialback is off there";
const TLS_REQUIRED_THERE: &str = "TLS is required there";
const TLS_IS_OFF_THERE: &str = "TLS is off there";
const ASKS_WHEN_CALLED: &str = "it asks who we are only on streams that we open";
const CLIENTS_ONLY: &str =
    "on streams that we open it wants a certificate that is for clients; on its own it asks for none";
const BY_ITS_OWN_STREAM: &str = "on the stream that it opens to verify our key, which goes both ways as well";
const ACKS_AFTER_SASL: &str = "not acknowledged: it enables `smacks` after SASL only";
const DIRECT_TLS_ONLY: &str = "it is found by Direct TLS only";

const BOTH: &[Brand] = &[Ejabberd, Prosody];
const EJABBERD: &[Brand] = &[Ejabberd];
const PROSODY: &[Brand] = &[Prosody];

const fn row(
    brands: &'static [Brand],
    stance: Stance,
    certificate: Certificate,
    entry: Entry,
    to_server: Expected,
    from_server: Expected,
) -> Row {
    Row { brands, stance, certificate, entry, to_server, from_server, because: "" }
}

/// The whole matrix.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // Every entry that can be loaded, with a server that can do everything.
    row(BOTH, Everything, Valid, off('R', 'R'), S, S),
    row(BOTH, Everything, Valid, on ('R', 'R'), S, S),
    row(BOTH, Everything, Valid, off('O', 'R'), S, S),
    row(BOTH, Everything, Valid, on ('O', 'R'), S, S),
    row(BOTH, Everything, Valid, off('R', 'O'), S, S),
    row(BOTH, Everything, Valid, on ('R', 'O'), S, S),
    row(BOTH, Everything, Valid, off('O', 'O'), S, S),
    row(BOTH, Everything, Valid, on ('O', 'O'), S, S),
    row(BOTH, Everything, Valid, on ('R', 'N'), T, T),
    row(BOTH, Everything, Valid, on ('O', 'N'), T, T),
    row(BOTH, Everything, Valid, on ('N', 'N'), C, C),
    row(BOTH, Everything, Valid, compat('O', 'R'), S, S),
    row(BOTH, Everything, Valid, compat('N', 'R'), C, C),
    row(BOTH, Everything, Valid, compat('N', 'O'), C, C),
    // What its certificate is good for.
    row(BOTH, CertificatesOnly, ServerAuthOnly, off('R', 'R'), S, S),
    row(BOTH, CertificatesOnly, SelfSigned, off('R', 'R'), SELF_SIGNED, SELF_SIGNED),
    row(BOTH, CertificatesOnly, Expired,    off('R', 'R'), EXPIRED, EXPIRED),
    row(BOTH, CertificatesOnly, WrongName,  off('R', 'R'), OTHER_NAME, OTHER_NAME),
    row(BOTH, Everything, ServerAuthOnly, on ('R', 'O'), S, S),
    row(BOTH, Everything, SelfSigned,     on ('R', 'O'), T, T),
    row(BOTH, Everything, Expired,        on ('R', 'O'), T, T),
    row(BOTH, Everything, WrongName,      on ('R', 'O'), T, T),
    row(BOTH, Everything, SelfSigned,     on ('O', 'O'), T, T),
    row(BOTH, Everything, SelfSigned,     on ('R', 'N'), T, T),
    row(BOTH, Everything, SelfSigned,     off('R', 'O'), SELF_SIGNED, SELF_SIGNED),
    row(BOTH, Everything, SelfSigned,     on ('R', 'R'), SELF_SIGNED, SELF_SIGNED),
    row(BOTH, Everything, Expired,        on ('O', 'R'), EXPIRED, EXPIRED),
    // It can do less than we ask for.
    row(BOTH, CertificatesOnly, Valid, off('R', 'R'), S, S),
    row(BOTH, CertificatesOnly, Valid, on ('O', 'O'), S, S),
    row(EJABBERD, CertificatesOnly, Valid, on ('R', 'N'), THEY_REFUSE_DIALBACK, THEY_GO).because(NO_DIALBACK_THERE),
    row(PROSODY,  CertificatesOnly, Valid, on ('R', 'N'), NO_DIALBACK, THEY_LACK_A_METHOD).because(NO_DIALBACK_THERE),
    row(EJABBERD, CertificatesOnly, Valid, on ('N', 'N'), DEMANDS_TLS, THEY_DEMAND_TLS).because(TLS_REQUIRED_THERE),
    row(PROSODY,  CertificatesOnly, Valid, on ('N', 'N'), DEMANDS_TLS, USES_TLS).because(TLS_REQUIRED_THERE),
    row(EJABBERD, NoTls, Valid, off('R', 'R'), NO_TLS, THEY_HAVE_NO_TLS).because(TLS_IS_OFF_THERE),
    row(PROSODY,  NoTls, Valid, off('R', 'R'), NO_TLS, DIALBACK_OFF).because(TLS_IS_OFF_THERE),
    row(EJABBERD, NoTls, Valid, on ('R', 'O'), NO_TLS, THEY_HAVE_NO_TLS).because(TLS_IS_OFF_THERE),
    row(PROSODY,  NoTls, Valid, on ('R', 'O'), NO_TLS, DIALBACK_IN_THE_CLEAR).because(TLS_IS_OFF_THERE),
    row(EJABBERD, NoTls, Valid, on ('R', 'N'), NO_TLS, THEY_HAVE_NO_TLS).because(TLS_IS_OFF_THERE),
    row(PROSODY,  NoTls, Valid, on ('R', 'N'), NO_TLS, DIALBACK_IN_THE_CLEAR).because(TLS_IS_OFF_THERE),
    row(EJABBERD, NoTls, Valid, on ('O', 'R'), NO_TLS, THEY_HAVE_NO_TLS).because(TLS_IS_OFF_THERE),
    row(PROSODY,  NoTls, Valid, on ('O', 'R'), NO_TLS, DIALBACK_IN_THE_CLEAR).because(TLS_IS_OFF_THERE),
    row(BOTH, NoTls, Valid, on ('O', 'O'), C, C),
    row(BOTH, NoTls, Valid, on ('O', 'N'), C, C),
    row(BOTH, NoTls, Valid, on ('N', 'N'), C, C),
    row(BOTH, NoTls, Valid, compat('O', 'R'), C, C),
    // It does not believe our certificate.
    row(EJABBERD, Stranger, Valid, off('R', 'R'), THEY_REFUSE_OUR_CERTIFICATE, S).because(ASKS_WHEN_CALLED),
    row(PROSODY,  Stranger, Valid, off('R', 'R'), NO_EXTERNAL, S).because(ASKS_WHEN_CALLED),
    row(BOTH, Stranger, Valid, on ('R', 'O'), T, S).because(ASKS_WHEN_CALLED),
    // Our certificate is for servers only; we call with it, too.
    row(EJABBERD, OursServerOnly, Valid, off('R', 'R'), THEY_REFUSE_OUR_CERTIFICATE, S).because(CLIENTS_ONLY),
    row(EJABBERD, OursServerOnly, Valid, on ('R', 'O'), T, S).because(CLIENTS_ONLY),
    row(PROSODY,  OursServerOnly, Valid, off('R', 'R'), S, S),
    row(PROSODY,  OursServerOnly, Valid, on ('R', 'O'), S, S),
    // What Prosody has besides.
    row(PROSODY, Bidi, Valid, off('R', 'R'), S, S),
    row(PROSODY, Acks, Valid, off('R', 'R'), S, S),
    row(PROSODY, AcksDialback, SelfSigned, on('R', 'O'), T, T).because(ACKS_AFTER_SASL),
    row(PROSODY, BidiDialback, Valid,      on('R', 'O'), S, S),
    row(PROSODY, BidiDialback, SelfSigned, on('R', 'O'), T, T).because(BY_ITS_OWN_STREAM),
    row(PROSODY, BidiDialback, Valid,      on('R', 'N'), T, T).because(BY_ITS_OWN_STREAM),
    row(PROSODY, BidiDialback, Valid,      on('N', 'N'), C, C).because(BY_ITS_OWN_STREAM),
    row(PROSODY, BidiNoTls,    Valid,      on('O', 'O'), C, C).because(BY_ITS_OWN_STREAM),
    row(PROSODY, BidiAcks,     Valid,      off('R', 'R'), S, S),
    row(PROSODY, BidiAcksDialback, SelfSigned, on('R', 'O'), T, T).because(ACKS_AFTER_SASL),
    // TLS from the first byte, in both directions.
    row(BOTH, Direct,         Valid,          off('R', 'R'), S, S),
    row(BOTH, Direct,         ServerAuthOnly, off('R', 'R'), S, S),
    row(BOTH, Direct,         SelfSigned,     off('R', 'R'), SELF_SIGNED, SELF_SIGNED),
    row(BOTH, Direct,         Expired,        off('R', 'R'), EXPIRED, EXPIRED),
    row(BOTH, Direct,         WrongName,      off('R', 'R'), OTHER_NAME, OTHER_NAME),
    row(BOTH, DirectDialback, Valid,          on ('R', 'N'), T, T),
    row(BOTH, DirectDialback, ServerAuthOnly, on ('R', 'O'), S, S),
    row(BOTH, DirectDialback, SelfSigned,     on ('R', 'O'), T, T),
    row(BOTH, DirectDialback, Expired,        on ('R', 'O'), T, T),
    row(BOTH, DirectDialback, WrongName,      on ('R', 'O'), T, T),
    row(BOTH, DirectDialback, Valid,          on ('N', 'N'), ONLY_DIRECT, USES_TLS).because(DIRECT_TLS_ONLY),
    row(PROSODY, DirectBidi,  Valid,          off('R', 'R'), S, S),
];
