//! Which SIP users may talk to partners: how rules name them.

use std::fmt;
use std::time::Duration;

use compact_str::CompactString;
use nuncio_translate::address::SipUser;

use super::value::{Text, ValueError, duration_text, quoted};
use super::{Domain, Policy, Verdict};

impl Policy {
    /// No SIP user may talk to any partner.
    pub fn refuses_everybody(&self) -> bool {
        let allows =
            self.default == Verdict::Allow || self.rules.iter().any(|rule| rule.verdict == Verdict::Allow);
        !self.enabled || !allows
    }
}

/// What it amounts to, in a line.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switch = if self.enabled { "on" } else { "OFF" };
        let rules = match self.rules.len() {
            0 => "no rules".to_owned(),
            1 => "1 rule".to_owned(),
            many => format!("{many} rules"),
        };
        let (default, consent) = (self.default, duration_text(self.consent));
        write!(f, "{switch}, default {default}, {rules}, consent for {consent}")
    }
}

/// The SIP users a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SipUsers {
    /// One user; his address as it is on the XMPP side.
    One(CompactString),
    /// Every user of a domain.
    Domain(Domain),
    /// Every user whose address on the XMPP side matches; `*` stands for any text.
    Matching(CompactString),
}

impl SipUsers {
    /// The domain they are all in, if that is known.
    pub fn domain(&self) -> Option<Domain> {
        match self {
            Self::Domain(domain) => Some(domain.clone()),
            Self::One(address) | Self::Matching(address) => {
                let (_, domain) = address.rsplit_once('@')?;
                Domain::new(domain).ok().filter(|_| !domain.contains('*'))
            }
        }
    }
}

impl fmt::Display for SipUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) | Self::Matching(address) => f.write_str(address),
            Self::Domain(domain) => f.write_str(&domain.to_unicode()),
        }
    }
}

impl Text for SipUsers {
    const WHAT: &'static str = "a SIP user, a domain or a pattern";

    fn allowed() -> String {
        "`\"alice@contoso.com\"`, `\"contoso.com\"` or a pattern such as `\"*-ext@contoso.com\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &dyn fmt::Display| {
            ValueError::new(format!(
                "{} is not {}: {why}; expected an address such as \"alice@contoso.com\", a served domain, or a pattern \
                 with * such as \"*-ext@contoso.com\"",
                quoted(text),
                Self::WHAT
            ))
        };
        let address = text.strip_prefix("sip:").unwrap_or(text);
        if address.contains('*') {
            // Addresses on the XMPP side have no capitals (DEC-05), spaces or controls.
            let plain = |c: char| !c.is_whitespace() && !c.is_control();
            if !address.chars().all(plain) {
                return Err(refused(&"an address has no spaces"));
            }
            if let Some((_, domain)) = address.rsplit_once('@')
                && !domain.contains('*')
            {
                Domain::new(domain).map_err(|error| refused(&error))?;
            }
            return Ok(Self::Matching(address.to_lowercase().into()));
        }
        if !address.contains('@') {
            return Domain::new(address).map(Self::Domain).map_err(|error| refused(&error));
        }
        let uri = format!("sip:{address}");
        let uri = nuncio_sip::Uri::parse(&uri).map_err(|error| refused(&error))?;
        let user = SipUser::from_uri(&uri).map_err(|error| refused(&error))?;
        Domain::new(user.jid().domain()).map_err(|error| refused(&error))?;
        Ok(Self::One(user.jid().as_str().into()))
    }
}

/// How long consent lasts after it was last shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConsentLifetime(pub(super) Duration);

impl ConsentLifetime {
    /// A SUBSCRIBE is repeated about once in this time at most, so a shorter consent would end while it is in use.
    const LEAST: Duration = Duration::from_secs(24 * 3600);
    const MOST: Duration = Duration::from_secs(3650 * 24 * 3600);
}

impl Text for ConsentLifetime {
    const WHAT: &'static str = "a duration";
    const AS_NUMBER: Option<&'static str> = Duration::AS_NUMBER;

    fn allowed() -> String {
        "duration, `\"1d\"` to `\"3650d\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let duration = <Duration as Text>::parse(text)?;
        if (Self::LEAST..=Self::MOST).contains(&duration) {
            return Ok(Self(duration));
        }
        Err(ValueError::new(format!(
            "{} is out of range; expected a duration from \"1d\" to \"3650d\"",
            quoted(text)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_domains_and_patterns_are_told_apart() {
        for (text, expected) in [
            ("alice@contoso.com", SipUsers::One("alice@contoso.com".into())),
            // As it is compared: without capitals, escaped as on the XMPP side.
            ("sip:Alice@Contoso.COM", SipUsers::One("alice@contoso.com".into())),
            ("o'hara@contoso.com", SipUsers::One("o\\27hara@contoso.com".into())),
            ("contoso.com", SipUsers::Domain(Domain::new("contoso.com").unwrap())),
            ("*-EXT@contoso.com", SipUsers::Matching("*-ext@contoso.com".into())),
            ("*", SipUsers::Matching("*".into())),
        ] {
            assert_eq!(SipUsers::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_names_nobody_is_refused_with_examples() {
        for text in [
            "",
            "alice@",
            "@contoso.com",
            "alice smith@contoso.com",
            "* @contoso.com",
            "contoso..com",
            "300.1.1.1",
            "192.168.1",
            "*@192.168.1",
            "*@",
            "alice@300.1.1.1",
        ] {
            let error = SipUsers::parse(text).unwrap_err().to_string();
            assert!(error.contains("expected an address such as \"alice@contoso.com\""), "{text}: {error}");
        }
    }

    #[test]
    fn the_domain_is_known_unless_a_star_hides_it() {
        let domain = |text| SipUsers::parse(text).unwrap().domain().map(|domain| domain.as_str().to_owned());
        assert_eq!(domain("alice@contoso.com").as_deref(), Some("contoso.com"));
        assert_eq!(domain("*@contoso.com").as_deref(), Some("contoso.com"));
        assert_eq!(domain("alice@*.com"), None);
    }
}
