use std::fmt;

/// What the sender can do about an error (RFC 6120 section 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Authenticate and try again.
    Auth,
    /// Do not try again.
    Cancel,
    /// Go on; this was a warning.
    Continue,
    /// Change the data and try again.
    Modify,
    /// Wait and try again.
    Wait,
}

impl ErrorType {
    /// Value of the attribute `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

macro_rules! stanza_conditions {
    ($($variant:ident = $name:literal, $type:ident, $section:literal;)*) => {
        /// The defined conditions of stanza errors (RFC 6120 section 8.3.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Condition {
            $(#[doc = concat!("`", $name, "`, section 8.3.3.", $section, ".")] $variant,)*
        }

        impl Condition {
            /// Every defined condition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Name of the element.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The condition of that name; what nobody defined is [`Condition::Undefined`] (ERR-05).
            #[expect(clippy::should_implement_trait, reason = "it cannot fail")]
            pub fn from_str(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Undefined,
                }
            }

            /// The error type RFC 6120 gives or recommends for the condition.
            pub fn default_type(self) -> ErrorType {
                match self {
                    $(Self::$variant => ErrorType::$type,)*
                }
            }
        }
    };
}

stanza_conditions! {
    BadRequest = "bad-request", Modify, "1";
    Conflict = "conflict", Cancel, "2";
    FeatureNotImplemented = "feature-not-implemented", Cancel, "3";
    Forbidden = "forbidden", Auth, "4";
    Gone = "gone", Cancel, "5";
    InternalServerError = "internal-server-error", Cancel, "6";
    ItemNotFound = "item-not-found", Cancel, "7";
    JidMalformed = "jid-malformed", Modify, "8";
    NotAcceptable = "not-acceptable", Modify, "9";
    NotAllowed = "not-allowed", Cancel, "10";
    NotAuthorized = "not-authorized", Auth, "11";
    PolicyViolation = "policy-violation", Modify, "12";
    RecipientUnavailable = "recipient-unavailable", Wait, "13";
    Redirect = "redirect", Modify, "14";
    RegistrationRequired = "registration-required", Auth, "15";
    RemoteServerNotFound = "remote-server-not-found", Cancel, "16";
    RemoteServerTimeout = "remote-server-timeout", Wait, "17";
    ResourceConstraint = "resource-constraint", Wait, "18";
    ServiceUnavailable = "service-unavailable", Cancel, "19";
    SubscriptionRequired = "subscription-required", Auth, "20";
    Undefined = "undefined-condition", Cancel, "21";
    UnexpectedRequest = "unexpected-request", Wait, "22";
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
