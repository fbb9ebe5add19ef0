//! Whom people turn to about this gateway (XEP-0157): URIs that everybody may read.

use std::fmt;

use super::value::{Text, ValueError, quoted};

/// The address of a mailbox, a page or a person, as a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactUri(String);

impl ContactUri {
    /// Longer than any address that people have.
    const LONGEST: usize = 1024;

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for ContactUri {
    const WHAT: &'static str = "a contact URI";

    fn allowed() -> String {
        "`\"mailto:abuse@contoso.com\"`, `\"xmpp:…\"`, `\"https://…\"`, `\"sip:…\"` or `\"tel:…\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &str| {
            ValueError::new(format!(
                "{} is not {}: {why}; expected one such as \"mailto:abuse@contoso.com\" or \"https://contoso.com/abuse\"",
                quoted(text),
                Self::WHAT
            ))
        };
        if text.len() > Self::LONGEST {
            return Err(refused(&format!("it is longer than {} bytes", Self::LONGEST)));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"')) {
            return Err(refused("a URI has no spaces and only ASCII; encode others in percent"));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            let meant =
                if text.contains('@') { format!("; did you mean \"mailto:{text}\"?") } else { String::new() };
            return Err(refused(&format!("it has no scheme{meant}")));
        };
        let user_at_host =
            || rest.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        let (right, needs) = match scheme.to_ascii_lowercase().as_str() {
            "mailto" => (user_at_host(), "a mailbox has the form user@host"),
            "sip" | "sips" | "xmpp" | "tel" => (!rest.is_empty(), "nothing stands behind the scheme"),
            "https" | "http" => (
                rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
                "a host must stand behind //",
            ),
            _ => (false, "people can be reached by mailto, xmpp, https, http, sip, sips or tel"),
        };
        if right { Ok(Self(text.to_owned())) } else { Err(refused(needs)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xe_05_what_people_can_be_reached_by_is_taken() {
        for text in [
            "mailto:abuse@contoso.com",
            "MAILTO:abuse@contoso.com?subject=spam",
            "xmpp:admin@contoso.com",
            "https://contoso.com/.well-known/security.txt",
            "sips:helpdesk@contoso.com",
            "tel:+49-30-123",
        ] {
            assert_eq!(ContactUri::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_uri_is_refused_with_a_word_on_it() {
        for (text, word) in [
            ("abuse@contoso.com", "did you mean \"mailto:abuse@contoso.com\"?"),
            ("", "no scheme"),
            ("mailto:abuse", "user@host"),
            ("https:/contoso.com", "behind //"),
            ("https:///x", "behind //"),
            ("xmpp:", "nothing stands behind"),
            ("ftp://contoso.com", "reached by"),
            ("mailto:a b@contoso.com", "no spaces"),
            ("mailto:büro@contoso.com", "only ASCII"),
            ("https://x/\u{202e}", "only ASCII"),
        ] {
            let error = ContactUri::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn the_length_holds_at_the_limit_and_not_one_past_it() {
        let of = |length: usize| format!("tel:{}", "1".repeat(length - 4));
        assert!(ContactUri::parse(&of(ContactUri::LONGEST)).is_ok());
        assert!(ContactUri::parse(&of(ContactUri::LONGEST + 1)).is_err());
    }
}
