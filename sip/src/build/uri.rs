//! SIP URIs out of decoded parts (SEC-31).

use super::BuildError;
use crate::{Host, escape};

/// Makes a `sip:` URI. Every part is encoded here, so that none can become another.
#[derive(Clone, Debug)]
pub struct UriBuilder {
    text: String,
}

impl UriBuilder {
    /// `sip:host[:port]`.
    ///
    /// # Errors
    /// [`BuildError::Host`].
    pub fn domain(host: &str) -> Result<Self, BuildError> {
        Host::parse_with_port(host).filter(|_| !host.contains([' ', '\t'])).ok_or(BuildError::Host)?;
        Ok(Self { text: format!("sip:{host}") })
    }

    /// `sip:user@host[:port]`; `user` is plain text, not escaped.
    ///
    /// # Errors
    /// [`BuildError::User`], [`BuildError::Host`].
    pub fn user(user: &str, host: &str) -> Result<Self, BuildError> {
        if user.is_empty() {
            return Err(BuildError::User);
        }
        let Self { text } = Self::domain(host)?;
        let host = text.strip_prefix("sip:").unwrap_or_default();
        Ok(Self { text: format!("sip:{}@{host}", escape::encode_user(user)) })
    }

    /// Adds a URI parameter; name and value are plain text, not escaped.
    ///
    /// # Errors
    /// [`BuildError::Param`] for an empty name.
    pub fn param(mut self, name: &str, value: Option<&str>) -> Result<Self, BuildError> {
        if name.is_empty() {
            return Err(BuildError::Param);
        }
        self.text.push(';');
        self.text.push_str(&escape::encode_param(name));
        if let Some(value) = value {
            self.text.push('=');
            self.text.push_str(&escape::encode_param(value));
        }
        Ok(self)
    }

    /// The finished URI.
    pub fn build(self) -> String {
        self.text
    }
}
