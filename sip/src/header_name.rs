//! The header fields we know, their compact forms, and which of them may stand only once.

use std::fmt;

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)? $([$single:ident])?;)*) => {
        /// Name of a header field; one table for names, compact forms (RFC 3261 §7.3.3) and multiplicity.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A name that is not in the table; [`Message::other`](crate::Message::other) finds such fields.
            Other,
        }

        impl HeaderName {
            /// Every name in the table, without `Other`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The long form as we write it; empty for `Other`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "",
                }
            }

            /// The compact form, if one is registered.
            pub const fn compact(self) -> Option<&'static str> {
                match self {
                    $($(Self::$variant => Some($compact),)?)*
                    _ => None,
                }
            }

            /// Whether a message may carry this field once at most. A second one is refused with 400: two
            /// readers of one message must not see two different senders.
            pub const fn is_single(self) -> bool {
                match self {
                    $($(Self::$variant => stringify!($single).len() > 0,)?)*
                    _ => false,
                }
            }
        }
    };
}

header_names! {
    Accept "Accept";
    AcceptContact "Accept-Contact" "a";
    AcceptEncoding "Accept-Encoding";
    AcceptLanguage "Accept-Language";
    AlertInfo "Alert-Info";
    Allow "Allow";
    AllowEvents "Allow-Events" "u";
    AuthenticationInfo "Authentication-Info";
    Authorization "Authorization";
    CallId "Call-ID" "i" [single];
    CallInfo "Call-Info";
    Contact "Contact" "m";
    ContentDisposition "Content-Disposition" [single];
    ContentEncoding "Content-Encoding" "e";
    ContentLanguage "Content-Language";
    ContentLength "Content-Length" "l" [single];
    ContentTransferEncoding "Content-Transfer-Encoding" [single];
    ContentType "Content-Type" "c" [single];
    CSeq "CSeq" [single];
    Date "Date" [single];
    ErrorInfo "Error-Info";
    Event "Event" "o" [single];
    Expires "Expires" [single];
    From "From" "f" [single];
    HistoryInfo "History-Info";
    Identity "Identity" "y";
    InReplyTo "In-Reply-To";
    MaxBreadth "Max-Breadth" [single];
    MaxForwards "Max-Forwards" [single];
    MimeVersion "MIME-Version" [single];
    MinExpires "Min-Expires" [single];
    MinSe "Min-SE" [single];
    MsClientDiagnostics "ms-client-diagnostics";
    MsConversationId "Ms-Conversation-ID";
    MsDiagnostics "ms-diagnostics";
    MsDiagnosticsPublic "ms-diagnostics-public";
    MsEdgeProxyMessageTrust "ms-edge-proxy-message-trust";
    MsKeepAlive "ms-keep-alive";
    MsSender "Ms-Sender";
    MsTextFormat "ms-text-format";
    MsUserData "ms-user-data";
    Organization "Organization";
    PAssertedIdentity "P-Asserted-Identity";
    PPreferredIdentity "P-Preferred-Identity";
    Path "Path";
    Priority "Priority" [single];
    Privacy "Privacy";
    ProxyAuthenticate "Proxy-Authenticate";
    ProxyAuthorization "Proxy-Authorization";
    ProxyRequire "Proxy-Require";
    RAck "RAck" [single];
    Reason "Reason";
    RecordRoute "Record-Route";
    ReferredBy "Referred-By" "b" [single];
    ReferTo "Refer-To" "r" [single];
    RejectContact "Reject-Contact" "j";
    Replaces "Replaces" [single];
    ReplyTo "Reply-To" [single];
    RequestDisposition "Request-Disposition" "d";
    Require "Require";
    RetryAfter "Retry-After" [single];
    Route "Route";
    RSeq "RSeq" [single];
    Server "Server";
    SessionExpires "Session-Expires" "x" [single];
    SipEtag "SIP-ETag" [single];
    SipIfMatch "SIP-If-Match" [single];
    Subject "Subject" "s" [single];
    SubscriptionState "Subscription-State" [single];
    SuppressIfMatch "Suppress-If-Match" [single];
    Supported "Supported" "k";
    Timestamp "Timestamp" [single];
    To "To" "t" [single];
    Unsupported "Unsupported";
    UserAgent "User-Agent";
    Via "Via" "v";
    Warning "Warning";
    WwwAuthenticate "WWW-Authenticate";
}

impl HeaderName {
    /// The table entry for a name on the wire: case-insensitive, long or compact.
    pub fn from_bytes(name: &[u8]) -> Self {
        let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return Self::Other };
        let mut slot = hash(first, last, name.len());
        loop {
            let Some(&entry) = TABLE.get(slot & MASK) else { return Self::Other };
            let Some((text, known)) = entry else { return Self::Other };
            // Most peers write names as we do; comparing bytes first is the faster way.
            if text == name || text.eq_ignore_ascii_case(name) {
                return known;
            }
            slot += 1;
        }
    }
}

impl From<&str> for HeaderName {
    fn from(name: &str) -> Self {
        Self::from_bytes(name.as_bytes())
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Entry = Option<(&'static [u8], HeaderName)>;

/// Slots of the open-addressed table; four times the number of names, so that probing almost never steps.
const SLOTS: usize = 512;
const MASK: usize = SLOTS - 1;

const fn hash(first: u8, last: u8, len: usize) -> usize {
    ((first | 0x20) as usize).wrapping_mul(31)
        ^ ((last | 0x20) as usize).wrapping_mul(7)
        ^ len.wrapping_mul(67)
}

#[allow(clippy::indexing_slicing, reason = "runs at compile time")]
static TABLE: [Entry; SLOTS] = {
    let mut table = [None; SLOTS];
    let mut i = 0;
    while i < HeaderName::ALL.len() {
        let name = HeaderName::ALL[i];
        insert(&mut table, name, name.as_str().as_bytes());
        if let Some(compact) = name.compact() {
            insert(&mut table, name, compact.as_bytes());
        }
        i += 1;
    }
    table
};

#[allow(clippy::indexing_slicing, reason = "runs at compile time")]
const fn insert(table: &mut [Entry; SLOTS], name: HeaderName, text: &'static [u8]) {
    let mut slot = hash(text[0], text[text.len() - 1], text.len());
    while table[slot & MASK].is_some() {
        slot += 1;
    }
    table[slot & MASK] = Some((text, name));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_every_spelling() {
        for &name in HeaderName::ALL {
            assert_eq!(HeaderName::from(name.as_str()), name);
            assert_eq!(HeaderName::from(name.as_str().to_ascii_uppercase().as_str()), name);
            assert_eq!(HeaderName::from(name.as_str().to_ascii_lowercase().as_str()), name);
            if let Some(compact) = name.compact() {
                assert_eq!(HeaderName::from(compact), name);
                assert_eq!(HeaderName::from(compact.to_ascii_uppercase().as_str()), name);
            }
        }
    }

    #[test]
    fn sip_15_compact_forms() {
        let forms = "i Call-ID,m Contact,e Content-Encoding,l Content-Length,c Content-Type,f From,s Subject,\
                     k Supported,t To,v Via,o Event,u Allow-Events,r Refer-To";
        for form in forms.split(',') {
            let (compact, long) = form.split_once(' ').unwrap();
            assert_eq!(HeaderName::from(compact).as_str(), long);
        }
    }

    #[test]
    fn strangers_are_other() {
        for name in ["", "q", "Fro", "Fromm", "X-From", "C%6Fntact", "Call_ID"] {
            assert_eq!(HeaderName::from(name), HeaderName::Other, "{name}");
        }
    }
}
