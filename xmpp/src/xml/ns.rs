//! Namespace names. Those listed in `KNOWN` cost nothing to keep in an [`Element`](super::Element).

/// Content namespace of a server-to-server stream (RFC 6120 section 4.8.2).
pub const SERVER: &str = "jabber:server";
/// Content namespace of a client stream; on a server-to-server stream it is an error.
pub const CLIENT: &str = "jabber:client";
/// The stream element itself (RFC 6120 section 4.8.1).
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// Defined conditions of stream errors (RFC 6120 section 4.9.2).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Defined conditions of stanza errors (RFC 6120 section 8.3.2).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS negotiation (RFC 6120 section 5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL negotiation (RFC 6120 section 6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Server dialback (XEP-0220).
pub const DIALBACK: &str = "jabber:server:dialback";
/// Stream feature that announces dialback (XEP-0220 section 2.3).
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// Bidirectional streams, the element (XEP-0288).
pub const BIDI: &str = "urn:xmpp:bidi";
/// Bidirectional streams, the feature (XEP-0288).
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// Stream management (XEP-0198).
pub const STREAM_MANAGEMENT: &str = "urn:xmpp:sm:3";
/// Stream limits (XEP-0478).
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Application-specific error conditions such as `<stanza-too-big/>` (XEP-0205).
pub const ERRORS: &str = "urn:xmpp:errors";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Service discovery, information (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery, items (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Entity capabilities (XEP-0115).
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// Chat states (XEP-0085).
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// Delivery receipts (XEP-0184).
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// Unique and stable stanza ids (XEP-0359).
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// Message processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Message carbons (XEP-0280).
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// Rosters (RFC 6121 section 2).
pub const ROSTER: &str = "jabber:iq:roster";
/// Software version (XEP-0092).
pub const VERSION: &str = "jabber:iq:version";
/// Data forms (XEP-0004).
pub const DATA_FORM: &str = "jabber:x:data";
/// vCards (XEP-0054).
pub const VCARD: &str = "vcard-temp";
/// vCard avatars in presence (XEP-0153).
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// XHTML-IM (XEP-0071).
pub const XHTML_IM: &str = "http://jabber.org/protocol/xhtml-im";
/// XHTML.
pub const XHTML: &str = "http://www.w3.org/1999/xhtml";
/// Presence Information Data Format (RFC 3863).
pub const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
/// Persons and devices in PIDF (RFC 4479).
pub const PIDF_DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
/// Rich presence in PIDF (RFC 4480).
pub const PIDF_RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
/// A presence document in categories, as Lync Server has it.
pub const CATEGORIES: &str = "http://schemas.microsoft.com/2006/09/sip/categories";
/// The category `state`.
pub const CATEGORY_STATE: &str = "http://schemas.microsoft.com/2006/09/sip/state";
/// The category `note`.
pub const CATEGORY_NOTE: &str = "http://schemas.microsoft.com/2006/09/sip/note";
/// The category `contactCard`.
pub const CATEGORY_CONTACT_CARD: &str = "http://schemas.microsoft.com/2006/09/sip/contactcard";
/// The category `services`.
pub const CATEGORY_SERVICE: &str = "http://schemas.microsoft.com/2006/09/sip/service";
/// A presence document as Live Communications Server had it.
pub const MSRTC: &str = "http://schemas.microsoft.com/2002/09/sip/presence";
/// A list of resources to subscribe to, as Live Communications Server had it.
pub const ADHOC_LIST: &str = "urn:ietf:params:xml:ns:adrl";
/// The same, as its successors have it.
pub const BATCH_SUBSCRIBE: &str = "http://schemas.microsoft.com/2006/01/sip/batch-subscribe";
/// What is known of the resources of a list (RFC 4662).
pub const RESOURCE_LIST: &str = "urn:ietf:params:xml:ns:rlmi";
/// Types of elements that stand in the document itself (XML Schema part 1, section 2.6).
pub const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Idle time in presence (XEP-0319).
pub const IDLE: &str = "urn:xmpp:idle:1";
/// Last activity, idle time in old presence (XEP-0012, XEP-0256).
pub const LAST_ACTIVITY: &str = "jabber:iq:last";
/// What the prefix `xml` is bound to, always.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// What the prefix `xmlns` is bound to; nothing may be declared with it.
pub const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Namespaces kept as static strings.
pub(super) const KNOWN: &[&str] = &[
    "",
    SERVER,
    STREAMS,
    STANZA_ERRORS,
    STREAM_ERRORS,
    CHAT_STATES,
    RECEIPTS,
    CAPS,
    DELAY,
    STANZA_ID,
    HINTS,
    PING,
    TLS,
    SASL,
    DIALBACK,
    DIALBACK_FEATURE,
    BIDI,
    BIDI_FEATURE,
    STREAM_MANAGEMENT,
    STREAM_LIMITS,
    ERRORS,
    DISCO_INFO,
    DISCO_ITEMS,
    CARBONS,
    ROSTER,
    VERSION,
    VCARD,
    VCARD_UPDATE,
    XHTML_IM,
    XHTML,
    PIDF,
    PIDF_DATA_MODEL,
    PIDF_RPID,
    IDLE,
    CATEGORIES,
    CATEGORY_STATE,
    CATEGORY_NOTE,
    CATEGORY_CONTACT_CARD,
    CATEGORY_SERVICE,
    MSRTC,
    ADHOC_LIST,
    BATCH_SUBSCRIBE,
    XSI,
    CLIENT,
    XML,
];
