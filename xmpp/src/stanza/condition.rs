use crate::named::named;

named! {
    /// What the sender can do about an error (RFC 6120 section 8.3.2).
    pub enum ErrorType {
        /// Authenticate and try again.
        Auth = "auth",
        /// Do not try again.
        Cancel = "cancel",
        /// Go on; this was a warning.
        Continue = "continue",
        /// Change the data and try again.
        Modify = "modify",
        /// Wait and try again.
        Wait = "wait",
    }
}

macro_rules! stanza_conditions {
    ($($variant:ident = $name:literal, $type:ident, $section:literal;)*) => {
        named! {
            /// The defined conditions of stanza errors (RFC 6120 section 8.3.3).
            pub enum Condition {
                $(#[doc = concat!("`", $name, "`, section 8.3.3.", $section, ".")] $variant = $name,)*
            }
        }

        impl Condition {
            /// The condition of that name; what nobody defined is [`Condition::Undefined`] (ERR-05).
            pub fn read(name: &str) -> Self {
                Self::from_name(name).unwrap_or(Self::Undefined)
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
