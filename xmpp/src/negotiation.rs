//! What may be negotiated with a partner: TLS × SASL × dialback as its administrator sets them, the ways to
//! authenticate a stream that follow, and whether the combination is a sensible one.
//!
//! Everything follows from rules; the tests hold them against the full table of 18 combinations.

use std::fmt;

use crate::named::named;

named! {
    /// Whether TLS is used on the streams of a partner.
    #[derive(Default)]
    pub enum TlsUse {
        /// No stream without it.
        #[default]
        Required = "required",
        /// Used whenever the partner can.
        Optional = "optional",
        /// Never used.
        NotSupported = "not-supported",
    }
}

named! {
    /// Whether SASL EXTERNAL is used on the streams of a partner.
    #[derive(Default)]
    pub enum SaslUse {
        /// No stream without it.
        #[default]
        Required = "required",
        /// Used whenever the partner can.
        Optional = "optional",
        /// Never used.
        NotSupported = "not-supported",
    }
}

named! {
    /// By which rules a combination is judged.
    #[derive(Default)]
    pub enum NegotiationRules {
        /// Words mean what they say: SASL required leaves no way past SASL, and SASL needs TLS. 11 of the 18 combinations
        /// can be used.
        #[default]
        Strict = "strict",
        /// Those of Lync Server 2013, where SASL required is given up for dialback if TLS does not come about. 13 of the
        /// 18 combinations can be used.
        Compat = "compat",
    }
}

/// What is set for one partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Negotiation {
    /// TLS.
    pub tls: TlsUse,
    /// SASL EXTERNAL.
    pub sasl: SaslUse,
    /// Server dialback (XEP-0220). Off: a request for it is not answered.
    pub dialback: bool,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self { tls: TlsUse::Required, sasl: SaslUse::Required, dialback: true }
    }
}

/// The ways to authenticate a stream. `Display` lists them by their letters: `S, T, C`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods {
    /// S: SASL EXTERNAL over TLS.
    pub external: bool,
    /// T: dialback over TLS.
    pub dialback_tls: bool,
    /// C: dialback over plain TCP. Whoever controls the network or DNS can pose as the partner.
    pub dialback_tcp: bool,
}

impl Methods {
    /// No way at all.
    pub const NONE: Self = Self { external: false, dialback_tls: false, dialback_tcp: false };

    /// Whether nothing is left.
    pub const fn is_empty(self) -> bool {
        !(self.external || self.dialback_tls || self.dialback_tcp)
    }

    /// Whether one of the ways is dialback.
    pub const fn dialback(self) -> bool {
        self.dialback_tls || self.dialback_tcp
    }

    /// Whether one of the ways runs over TLS.
    pub const fn tls(self) -> bool {
        self.external || self.dialback_tls
    }

    /// The ways in words, for people.
    pub fn in_words(self) -> impl fmt::Display {
        Listed(self, ["SASL EXTERNAL over TLS", "dialback over TLS", "dialback over plain TCP"])
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Listed(*self, ["S", "T", "C"]).fmt(f)
    }
}

struct Listed(Methods, [&'static str; 3]);

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(methods, [external, dialback_tls, dialback_tcp]) = self;
        let all = [
            (methods.external, external),
            (methods.dialback_tls, dialback_tls),
            (methods.dialback_tcp, dialback_tcp),
        ];
        let mut separator = "";
        for (_, name) in all.iter().filter(|(there, _)| *there) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        if methods.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// What comes of a combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It can be used, with these ways.
    Clean(Methods),
    /// It can be used, but is hardly what somebody wants.
    Warned(Methods, Reason),
    /// It is never put to use.
    Refused(Reason),
}

impl Verdict {
    /// The ways that result; none if it is refused.
    pub const fn methods(self) -> Methods {
        match self {
            Self::Clean(methods) | Self::Warned(methods, _) => methods,
            Self::Refused(_) => Methods::NONE,
        }
    }

    /// What speaks against it, if anything does.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Clean(_) => None,
            Self::Warned(_, reason) | Self::Refused(reason) => Some(reason),
        }
    }

    /// Whether it can be used.
    pub const fn loads(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

/// What speaks against a combination; `Display` says it to administrators, with the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Warned of: with TLS and SASL required, dialback is on for nothing.
    DialbackNeverRuns,
    /// Warned of: SASL is wanted, and TLS, which it needs, may be left out.
    SaslNeedsOptionalTls,
    /// Warned of under compat rules: SASL is wanted without TLS, so that plain dialback takes its place.
    DialbackInPlaceOfSasl,
    /// Refused by strict rules: SASL is wanted without TLS.
    SaslWithoutTls,
    /// Refused: SASL cannot run without TLS, and dialback is off.
    SaslWithoutTlsNoDialback,
    /// Refused: neither SASL nor dialback.
    NoAuthentication,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DialbackNeverRuns => {
                "dialback never runs when TLS and SASL are both required; set dialback = false, or sasl = \"optional\" to \
                 let the partner in by dialback too"
            }
            Self::SaslNeedsOptionalTls => {
                "SASL needs TLS: if TLS, which is optional, does not come about, SASL cannot run, and streams may fail or \
                 be weaker than meant; tls = \"required\" is surer"
            }
            Self::DialbackInPlaceOfSasl => {
                "SASL cannot run without TLS, so dialback over plain TCP takes its place; sasl = \"not-supported\" says \
                 so plainly"
            }
            Self::SaslWithoutTls => {
                "SASL cannot run without TLS; set tls to \"required\" or \"optional\", or sasl = \"not-supported\" if the \
                 partner can do nothing but dialback over plain TCP"
            }
            Self::SaslWithoutTlsNoDialback => {
                "SASL cannot run without TLS, and dialback is off: no way to authenticate is left; set tls to \
                 \"required\" or \"optional\", or dialback = true and sasl = \"not-supported\""
            }
            Self::NoAuthentication => {
                "neither SASL nor dialback is on: no way to authenticate is left; set sasl to \"required\" or \
                 \"optional\" (with TLS), or dialback = true"
            }
        })
    }
}

impl Negotiation {
    /// What comes of this combination.
    pub const fn verdict(self, rules: NegotiationRules) -> Verdict {
        let wants_sasl = !matches!(self.sasl, SaslUse::NotSupported);
        let no_tls = matches!(self.tls, TlsUse::NotSupported);
        if !wants_sasl && !self.dialback {
            return Verdict::Refused(Reason::NoAuthentication);
        }
        if wants_sasl && no_tls {
            return match rules {
                _ if !self.dialback => Verdict::Refused(Reason::SaslWithoutTlsNoDialback),
                NegotiationRules::Strict => Verdict::Refused(Reason::SaslWithoutTls),
                NegotiationRules::Compat => {
                    Verdict::Warned(self.methods(rules), Reason::DialbackInPlaceOfSasl)
                }
            };
        }
        let methods = self.methods(rules);
        match (self.tls, self.sasl) {
            (TlsUse::Required, SaslUse::Required) if self.dialback => {
                Verdict::Warned(methods, Reason::DialbackNeverRuns)
            }
            (TlsUse::Optional, _) if wants_sasl => Verdict::Warned(methods, Reason::SaslNeedsOptionalTls),
            _ => Verdict::Clean(methods),
        }
    }

    /// The ways that are open, whatever is thought of the combination.
    const fn methods(self, rules: NegotiationRules) -> Methods {
        let tls = !matches!(self.tls, TlsUse::NotSupported);
        let tls_required = matches!(self.tls, TlsUse::Required);
        let sasl_required = matches!(self.sasl, SaslUse::Required);
        // With TLS there is SASL: a partner who has to use it does. Without, compat rules let dialback pass.
        let dialback = self.dialback && !(sasl_required && matches!(rules, NegotiationRules::Strict));
        Methods {
            external: tls && !matches!(self.sasl, SaslUse::NotSupported),
            dialback_tls: tls && dialback && !(tls_required && sasl_required),
            dialback_tcp: !tls_required && dialback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use NegotiationRules::{Compat, Strict};
    use Reason::*;

    /// TLS, SASL (R, O or N), dialback; then by compat and by strict rules: `ok`, `warn` or `no`, the ways, the reason.
    type Row = (
        char,
        char,
        bool,
        (&'static str, &'static str, Option<Reason>),
        (&'static str, &'static str, Option<Reason>),
    );

    #[rustfmt::skip]
    const TABLE: [Row; 18] = [
        ('R', 'R', true,  ("warn", "S", Some(DialbackNeverRuns)),          ("warn", "S", Some(DialbackNeverRuns))),
        ('R', 'R', false, ("ok", "S", None),                               ("ok", "S", None)),
        ('O', 'R', true,  ("warn", "S, T, C", Some(SaslNeedsOptionalTls)), ("warn", "S", Some(SaslNeedsOptionalTls))),
        ('O', 'R', false, ("warn", "S", Some(SaslNeedsOptionalTls)),       ("warn", "S", Some(SaslNeedsOptionalTls))),
        ('N', 'R', true,  ("warn", "C", Some(DialbackInPlaceOfSasl)),      ("no", "none", Some(SaslWithoutTls))),
        ('N', 'R', false, ("no", "none", Some(SaslWithoutTlsNoDialback)),  ("no", "none", Some(SaslWithoutTlsNoDialback))),
        ('R', 'O', true,  ("ok", "S, T", None),                            ("ok", "S, T", None)),
        ('R', 'O', false, ("ok", "S", None),                               ("ok", "S", None)),
        ('O', 'O', true,  ("warn", "S, T, C", Some(SaslNeedsOptionalTls)), ("warn", "S, T, C", Some(SaslNeedsOptionalTls))),
        ('O', 'O', false, ("warn", "S", Some(SaslNeedsOptionalTls)),       ("warn", "S", Some(SaslNeedsOptionalTls))),
        ('N', 'O', true,  ("warn", "C", Some(DialbackInPlaceOfSasl)),      ("no", "none", Some(SaslWithoutTls))),
        ('N', 'O', false, ("no", "none", Some(SaslWithoutTlsNoDialback)),  ("no", "none", Some(SaslWithoutTlsNoDialback))),
        ('R', 'N', true,  ("ok", "T", None),                               ("ok", "T", None)),
        ('R', 'N', false, ("no", "none", Some(NoAuthentication)),          ("no", "none", Some(NoAuthentication))),
        ('O', 'N', true,  ("ok", "T, C", None),                            ("ok", "T, C", None)),
        ('O', 'N', false, ("no", "none", Some(NoAuthentication)),          ("no", "none", Some(NoAuthentication))),
        ('N', 'N', true,  ("ok", "C", None),                               ("ok", "C", None)),
        ('N', 'N', false, ("no", "none", Some(NoAuthentication)),          ("no", "none", Some(NoAuthentication))),
    ];

    fn negotiation(tls: char, sasl: char, dialback: bool) -> Negotiation {
        let tls = match tls {
            'R' => TlsUse::Required,
            'O' => TlsUse::Optional,
            _ => TlsUse::NotSupported,
        };
        let sasl = match sasl {
            'R' => SaslUse::Required,
            'O' => SaslUse::Optional,
            _ => SaslUse::NotSupported,
        };
        Negotiation { tls, sasl, dialback }
    }

    fn word(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Clean(_) => "ok",
            Verdict::Warned(..) => "warn",
            Verdict::Refused(_) => "no",
        }
    }

    #[test]
    fn each_of_the_18_combinations_has_its_verdict_reason_and_methods() {
        for (tls, sasl, dialback, compat, strict) in TABLE {
            for (rules, expected) in [(Compat, compat), (Strict, strict)] {
                let verdict = negotiation(tls, sasl, dialback).verdict(rules);
                let seen = (word(verdict), verdict.methods().to_string(), verdict.reason());
                let expected = (expected.0, expected.1.to_owned(), expected.2);
                assert_eq!(seen, expected, "{tls} {sasl} {dialback} by {rules} rules");
            }
        }
    }

    #[test]
    fn the_table_has_every_combination_once() {
        let rows: std::collections::HashSet<_> =
            TABLE.iter().map(|row| negotiation(row.0, row.1, row.2)).collect();
        assert_eq!(rows.len(), TlsUse::ALL.len() * SaslUse::ALL.len() * 2);
    }

    #[test]
    fn thirteen_combinations_load_by_compat_and_eleven_by_strict_rules() {
        let loading = |rules| {
            TABLE.iter().filter(|row| negotiation(row.0, row.1, row.2).verdict(rules).loads()).count()
        };
        assert_eq!((loading(Compat), loading(Strict)), (13, 11));
    }

    #[test]
    fn what_loads_has_a_way_and_what_is_refused_has_none() {
        for (tls, sasl, dialback, ..) in TABLE {
            for rules in [Compat, Strict] {
                let verdict = negotiation(tls, sasl, dialback).verdict(rules);
                assert_eq!(
                    verdict.loads(),
                    !verdict.methods().is_empty(),
                    "{tls} {sasl} {dialback} by {rules} rules"
                );
            }
        }
    }

    #[test]
    fn methods_are_listed_in_letters_and_in_words() {
        let methods = Methods { external: true, dialback_tls: false, dialback_tcp: true };
        assert_eq!(methods.to_string(), "S, C");
        assert_eq!(methods.in_words().to_string(), "SASL EXTERNAL over TLS, dialback over plain TCP");
        assert_eq!(Methods::NONE.in_words().to_string(), "none");
    }
}
