//! How the bytes of an input are read as settings and as things that happen.

use nuncio_xmpp::stream::{ChainStatus, PresentedName, Terms, TlsFacts};
use nuncio_xmpp::{Domain, Negotiation, NegotiationRules, SaslUse, TlsUse};

/// Whom everything is about; also by number in a script.
pub(super) const DOMAINS: [&str; 6] =
    ["fabrikam.com", "it.fabrikam.com", "example.net", "contoso.com", "sales.contoso.com", "example.org"];
/// The served ones among them.
pub(super) const SERVED: [&str; 2] = ["contoso.com", "sales.contoso.com"];

/// The first line.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) inbound: bool,
    /// The connection begins with TLS.
    pub(super) direct_tls: bool,
    /// The stream is to ask about a key.
    pub(super) verify: bool,
    /// Of fabrikam.com.
    terms: Terms,
    /// Of everybody else; `None`: not let in.
    others: Option<Terms>,
    /// Dialback is configured.
    pub(super) secret: bool,
    /// What every handshake shows.
    pub(super) facts: TlsFacts,
    /// Questions are answered at once. Otherwise the script says when.
    pub(super) prompt: bool,
    /// What the attempt before this one advised.
    pub(super) retry: u8,
}

impl Settings {
    /// By position: the role (`i`nbound, `d`irect TLS inbound, `o`utbound, `D`irect TLS outbound, `v`erification), of
    /// fabrikam.com TLS and SASL (`R`equired, `O`ptional, `N`ot supported), dialback (`+`, `-`), rules (`s`trict,
    /// `c`ompat) and whether it proved itself before (`p`, `-`), the same five for the others, whether these are let in
    /// (`y`, `n`), the secret (`k`, `-`), the certificate (`t`rusted, for `a`ll of fabrikam.com's, for an`o`ther,
    /// `u`ntrusted, `n`one), promptness (`!`, `?`), and the retry (`-`, `1`, `2`, `3`).
    pub(super) fn read(line: &[u8]) -> Self {
        let at = |place: usize, table: &[u8]| {
            let byte = line.get(place).copied().unwrap_or_default();
            let known = table.iter().position(|&letter| letter == byte);
            known.unwrap_or_else(|| usize::from(byte) % table.len())
        };
        let terms = |place: usize| {
            let tls = [TlsUse::Required, TlsUse::Optional, TlsUse::NotSupported];
            let sasl = [SaslUse::Required, SaslUse::Optional, SaslUse::NotSupported];
            let rules = [NegotiationRules::Strict, NegotiationRules::Compat];
            let negotiation = Negotiation {
                tls: tls[at(place, b"RON")],
                sasl: sasl[at(place + 1, b"RON")],
                dialback: at(place + 2, b"+-") == 0,
            };
            let external_proved = at(place + 4, b"p-") == 0;
            Terms { external_proved, ..Terms::new(negotiation, rules[at(place + 3, b"sc")]) }
        };
        let role = at(0, b"idoDv");
        let untrusted = || ChainStatus::Untrusted("self-signed".into());
        let (chain, names) = match at(13, b"taoun") {
            0 => (ChainStatus::Trusted, vec!["fabrikam.com"]),
            1 => (ChainStatus::Trusted, vec!["fabrikam.com", "*.fabrikam.com"]),
            2 => (ChainStatus::Trusted, vec!["example.net"]),
            3 => (untrusted(), vec!["fabrikam.com"]),
            _ => (ChainStatus::Absent, vec![]),
        };
        Self {
            inbound: role < 2,
            direct_tls: role == 1 || role == 3,
            verify: role == 4,
            terms: terms(1),
            others: (at(11, b"yn") == 0).then(|| terms(6)),
            secret: at(12, b"k-") == 0,
            facts: TlsFacts {
                chain,
                names: names.into_iter().map(|name| PresentedName::Dns(name.into())).collect(),
                protocol: "TLSv1.3".into(),
                cipher: "TLS13_AES_128_GCM_SHA256".into(),
                expires_ms: None,
            },
            prompt: at(14, b"!?") == 0,
            retry: at(15, b"-123") as u8,
        }
    }

    /// What the entry of this domain allows; `None`: it has none.
    pub(super) fn terms(&self, of: &Domain) -> Option<Terms> {
        if of.as_str() == "fabrikam.com" { Some(self.terms) } else { self.others }
    }
}

/// Any other line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening<'a> {
    /// The peer sends.
    Bytes(&'a [u8]),
    /// A handshake is done.
    Handshake,
    HandshakeFails(&'a str),
    /// The caller says whether the peer is let in.
    Answer,
    /// A verification is over: that one of those that were asked for, with this outcome.
    Verified {
        number: usize,
        outcome: u8,
    },
    /// We want one more pair of domains.
    Authorize(usize, usize),
    /// Time passes.
    Seconds(u64),
    /// Time passes to the next deadline.
    Deadline,
    Close,
    Disconnection(&'a str),
}

impl<'a> Happening<'a> {
    /// `T` handshake, `F` with words: it failed, `A` answer, `V` with two digits: a verification, `P` with two digits: a
    /// pair, `W` with a letter: so many seconds, `D` deadline, `C` close, `E` with words: the connection ends, `+` with
    /// more: these bytes and the end of the line. Anything else is bytes that the peer sends.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let (&letter, rest) = line.split_first()?;
        let digit =
            |place: usize| usize::from(rest.get(place).copied().unwrap_or_default().wrapping_sub(b'0'));
        let words = || std::str::from_utf8(rest).unwrap_or("\u{1b}[31m\r\n");
        Some(match letter {
            b'T' => Self::Handshake,
            b'F' => Self::HandshakeFails(words()),
            b'A' => Self::Answer,
            b'V' => Self::Verified { number: digit(0), outcome: digit(1) as u8 },
            b'P' => Self::Authorize(digit(0), digit(1)),
            b'W' => Self::Seconds(u64::from(rest.first().copied().unwrap_or_default()) / 4),
            b'D' => Self::Deadline,
            b'C' => Self::Close,
            b'E' => Self::Disconnection(words()),
            b'+' => Self::Bytes(rest),
            _ => Self::Bytes(line),
        })
    }
}

/// The domain with this number.
pub(super) fn domain(number: usize) -> Domain {
    Domain::parse(DOMAINS[number % DOMAINS.len()]).expect("a domain")
}
