//! Stream features (RFC 6120 §4.3.2): what a responder offers, kept as facts.

use super::evidence::PeerText;
use super::words::element_name;
use crate::xml::{Element, ns};

/// What a responder offered in one `<stream:features/>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFeatures {
    /// STARTTLS.
    pub starttls: bool,
    /// STARTTLS is mandatory.
    pub starttls_required: bool,
    /// SASL mechanisms in the peer's order, [`PeerFeatures::MECHANISMS`] at most.
    pub mechanisms: Vec<PeerText>,
    /// Server dialback (XEP-0220).
    pub dialback: bool,
    /// Dialback that survives errors (XEP-0220 §2.4.2).
    pub dialback_errors: bool,
    /// Bidirectional streams (XEP-0288).
    pub bidi: bool,
    /// Stream management (XEP-0198).
    pub stream_management: bool,
    /// Limits (XEP-0478).
    pub limits: PeerLimits,
    /// A feature that is mandatory and that we know nothing of.
    pub unknown_required: Option<PeerText>,
}

/// What a peer is willing to take (XEP-0478); `None` where it did not say, or nothing sensible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerLimits {
    /// Octets of one first-level element.
    pub max_bytes: Option<u32>,
    /// Seconds of silence after which it may look whether we are there.
    pub idle_seconds: Option<u32>,
}

impl PeerFeatures {
    /// Mechanisms that are kept.
    pub const MECHANISMS: usize = 16;

    /// Reads `<stream:features/>`.
    pub(super) fn read(features: &Element) -> Self {
        let mut read = Self::default();
        for feature in features.elements() {
            match (feature.name(), feature.ns()) {
                ("starttls", ns::TLS) => {
                    read.starttls = true;
                    read.starttls_required = feature.child("required", ns::TLS).is_some();
                }
                ("mechanisms", ns::SASL) => {
                    let names = feature.elements().filter(|child| child.is("mechanism", ns::SASL));
                    read.mechanisms
                        .extend(names.map(|name| PeerText::new(&name.text())).take(Self::MECHANISMS));
                    read.mechanisms.truncate(Self::MECHANISMS);
                }
                ("dialback", ns::DIALBACK_FEATURE) => {
                    read.dialback = true;
                    read.dialback_errors = feature.child("errors", ns::DIALBACK_FEATURE).is_some();
                }
                ("bidi", ns::BIDI_FEATURE) => read.bidi = true,
                ("sm", ns::STREAM_MANAGEMENT) => read.stream_management = true,
                ("limits", ns::STREAM_LIMITS) => {
                    read.limits = PeerLimits {
                        max_bytes: number(feature, "max-bytes"),
                        idle_seconds: number(feature, "idle-seconds"),
                    };
                }
                _ if feature.child("required", feature.ns()).is_some() => {
                    read.unknown_required.get_or_insert_with(|| element_name(feature));
                }
                _ => {}
            }
        }
        read
    }

    /// Whether SASL EXTERNAL is among the mechanisms.
    pub fn offers_external(&self) -> bool {
        self.mechanisms.iter().any(|name| name.as_str() == super::sasl::EXTERNAL)
    }
}

fn number(limits: &Element, name: &str) -> Option<u32> {
    limits.child(name, ns::STREAM_LIMITS)?.text().trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_we_know_is_kept_and_nothing_else() {
        let text = |name, ns, text: &str| Element::new(name, ns).with_text(text);
        let features = Element::new("features", ns::STREAMS)
            .with_child(Element::new("starttls", ns::TLS).with_child(Element::new("required", ns::TLS)))
            .with_child(
                Element::new("mechanisms", ns::SASL)
                    .with_child(text("mechanism", ns::SASL, "EXTERNAL"))
                    .with_child(text("mechanism", ns::SASL, "PLAIN"))
                    .with_child(text("hostname", "urn:xmpp:domain-based-name:1", "EXTERNAL")),
            )
            .with_child(
                Element::new("dialback", ns::DIALBACK_FEATURE)
                    .with_child(Element::new("errors", ns::DIALBACK_FEATURE)),
            )
            .with_child(Element::new("bidi", ns::BIDI_FEATURE))
            .with_child(Element::new("sm", ns::STREAM_MANAGEMENT))
            .with_child(
                Element::new("limits", ns::STREAM_LIMITS)
                    .with_child(text("max-bytes", ns::STREAM_LIMITS, "10000"))
                    .with_child(text("idle-seconds", ns::STREAM_LIMITS, "-1")),
            )
            .with_child(Element::new("c", ns::CAPS));
        let read = PeerFeatures::read(&features);
        assert_eq!(
            read,
            PeerFeatures {
                starttls: true,
                starttls_required: true,
                mechanisms: vec![PeerText::new("EXTERNAL"), PeerText::new("PLAIN")],
                dialback: true,
                dialback_errors: true,
                bidi: true,
                stream_management: true,
                limits: PeerLimits { max_bytes: Some(10000), idle_seconds: None },
                unknown_required: None,
            }
        );
        assert!(read.offers_external());
        assert_eq!(PeerFeatures::read(&Element::new("features", ns::STREAMS)), PeerFeatures::default());
    }

    #[test]
    fn a_mandatory_feature_nobody_knows_is_noticed() {
        let features = Element::new("features", ns::STREAMS)
            .with_child(Element::new("x", "urn:x").with_child(Element::new("required", "urn:x")));
        let unknown = PeerFeatures::read(&features).unknown_required;
        assert_eq!(unknown.unwrap().as_str(), "x (urn:x)");
    }
}
