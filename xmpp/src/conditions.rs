//! Stream errors (RFC 6120 section 4.9).

use compact_str::CompactString;

use crate::named::named;
use crate::xml::{Element, StartTag, escape, ns};

macro_rules! stream_conditions {
    ($($variant:ident = $name:literal, $section:literal;)*) => {
        named! {
            /// The defined conditions of stream errors (RFC 6120 section 4.9.3).
            pub enum StreamCondition {
                $(#[doc = concat!("`", $name, "`, section 4.9.3.", $section, ".")] $variant = $name,)*
            }
        }
    };
}

stream_conditions! {
    BadFormat = "bad-format", "1";
    BadNamespacePrefix = "bad-namespace-prefix", "2";
    Conflict = "conflict", "3";
    ConnectionTimeout = "connection-timeout", "4";
    HostGone = "host-gone", "5";
    HostUnknown = "host-unknown", "6";
    ImproperAddressing = "improper-addressing", "7";
    InternalServerError = "internal-server-error", "8";
    InvalidFrom = "invalid-from", "9";
    InvalidNamespace = "invalid-namespace", "10";
    InvalidXml = "invalid-xml", "11";
    NotAuthorized = "not-authorized", "12";
    NotWellFormed = "not-well-formed", "13";
    PolicyViolation = "policy-violation", "14";
    RemoteConnectionFailed = "remote-connection-failed", "15";
    Reset = "reset", "16";
    ResourceConstraint = "resource-constraint", "17";
    RestrictedXml = "restricted-xml", "18";
    SeeOtherHost = "see-other-host", "19";
    SystemShutdown = "system-shutdown", "20";
    UndefinedCondition = "undefined-condition", "21";
    UnsupportedEncoding = "unsupported-encoding", "22";
    UnsupportedFeature = "unsupported-feature", "23";
    UnsupportedStanzaType = "unsupported-stanza-type", "24";
    UnsupportedVersion = "unsupported-version", "25";
}

impl StreamCondition {
    /// The condition of that name. The name RFC 3920 used for `not-well-formed` is understood; what nobody defined is
    /// `undefined-condition` (S2S-28).
    pub fn read(name: &str) -> Self {
        match name {
            "xml-not-well-formed" => Self::NotWellFormed,
            _ => Self::from_name(name).unwrap_or(Self::UndefinedCondition),
        }
    }
}

/// A stream error a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError {
    /// What it says; `undefined-condition` when it says nothing we know.
    pub condition: StreamCondition,
    /// Its text, as sent: unchecked, for the log's own escaping.
    pub text: Option<CompactString>,
    /// Where `see-other-host` points to.
    pub other_host: Option<CompactString>,
    /// Local name of the application-specific condition, if there is one.
    pub application: Option<CompactString>,
}

impl StreamError {
    /// Reads `<stream:error/>`; `None` when the element is something else.
    pub fn from_element(element: &Element) -> Option<Self> {
        if !element.is("error", ns::STREAMS) {
            return None;
        }
        let mut error = Self {
            condition: StreamCondition::UndefinedCondition,
            text: None,
            other_host: None,
            application: None,
        };
        let mut seen = false;
        for child in element.elements() {
            if child.ns() != ns::STREAM_ERRORS {
                error.application.get_or_insert_with(|| child.name().into());
            } else if child.name() == "text" {
                error.text.get_or_insert_with(|| child.text().into());
            } else if !seen {
                seen = true;
                error.condition = StreamCondition::read(child.name());
                if error.condition == StreamCondition::SeeOtherHost {
                    error.other_host = Some(child.text().into());
                }
            }
        }
        Some(error)
    }

    /// Appends a stream error. The prefix `stream` must be in scope, as our own headers declare it. `application` is the
    /// name of an application-specific condition in [`ns::ERRORS`].
    pub fn write(
        out: &mut Vec<u8>,
        condition: StreamCondition,
        text: Option<&str>,
        application: Option<&'static str>,
    ) {
        StartTag::open(out, "stream:error").end();
        StartTag::open(out, condition.as_str()).ns(ns::STREAM_ERRORS).empty();
        if let Some(text) = text {
            StartTag::open(out, "text").ns(ns::STREAM_ERRORS).attr("xml:lang", "en").end();
            escape::text(out, text);
            StartTag::close(out, "text");
        }
        if let Some(application) = application {
            StartTag::open(out, application).ns(ns::ERRORS).empty();
        }
        StartTag::close(out, "stream:error");
    }
}
