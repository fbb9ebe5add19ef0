//! Which stanzas a stream lets through: the right two domains, and two addresses (RFC 6120 §8.1).

use super::evidence::{Fault, PeerText};
use super::words::element_name;
use super::{Output, Stanza};
use crate::conditions::StreamCondition;
use crate::jid::Domain;
use crate::stanza::{AddressError, Attr, addresses, classify};
use crate::xml::Element;

/// The domains of a sender and a receiver between which stanzas may flow.
pub(super) type Flow<'p> = (&'p Domain, &'p Domain);

/// Judges a first-level element of an established stream: what the caller gets of it, or the stream error and the
/// rule it broke.
pub(super) fn screen<'p>(
    element: Element,
    pairs: impl Iterator<Item = Flow<'p>> + Clone,
) -> Result<Output, (StreamCondition, Fault)> {
    let Some(kind) = classify(&element) else {
        let fault = Fault::UnknownElement(element_name(&element));
        return Err((StreamCondition::UnsupportedStanzaType, fault));
    };
    match addresses(&element) {
        Ok(addresses) => {
            known(addresses.from.domain(), addresses.to.domain(), pairs)?;
            Ok(Output::Stanza(Box::new(Stanza { kind, addresses, element, number: None })))
        }
        Err(error) => bad_addresses(element, error, pairs),
    }
}

/// A bad localpart or resource costs one stanza, but not before the domains of that stanza are known to be right: a peer
/// must not buy itself an answer to a foreign address with a bad localpart.
fn bad_addresses<'p>(
    element: Element,
    bad: AddressError,
    pairs: impl Iterator<Item = Flow<'p>> + Clone,
) -> Result<Output, (StreamCondition, Fault)> {
    if let (AddressError::Bad { attr: which, error }, None) = (bad, bad.ends_stream()) {
        let domain = |attr: Attr| element.attr(attr.as_str()).and_then(Domain::of_address);
        if let (Some(from), Some(to)) = (domain(Attr::From), domain(Attr::To)) {
            known(from.as_str(), to.as_str(), pairs)?;
            return Ok(Output::BadAddress { element, which, error, number: None });
        }
    }
    Err((StreamCondition::ImproperAddressing, Fault::Addressing(bad)))
}

/// S2S-20, DB-17: the pair as a whole counts, not each half of it.
fn known<'p>(
    from: &str,
    to: &str,
    mut pairs: impl Iterator<Item = Flow<'p>> + Clone,
) -> Result<(), (StreamCondition, Fault)> {
    let sender = |(sender, _): &Flow<'p>| sender.as_str() == from;
    if pairs.clone().any(|flow| sender(&flow) && flow.1.as_str() == to) {
        Ok(())
    } else if pairs.any(|flow| sender(&flow)) {
        Err((StreamCondition::HostUnknown, Fault::StanzaTo(PeerText::new(to))))
    } else {
        Err((StreamCondition::InvalidFrom, Fault::StanzaFrom(PeerText::new(from))))
    }
}

impl Output {
    /// Gives a stanza its number, where stanzas are acknowledged.
    pub(super) fn number_by(&mut self, next: impl FnOnce() -> Option<u64>) {
        match self {
            Self::Stanza(stanza) => stanza.number = next(),
            Self::BadAddress { number, .. } => *number = next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::ns;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn verdict(from: &str, to: &str) -> Result<Output, StreamCondition> {
        let pairs = [("fabrikam.com", "contoso.com"), ("it.fabrikam.com", "sales.contoso.com")]
            .map(|(from, to)| (domain(from), domain(to)));
        let message = Element::new("message", ns::SERVER).with_attr("from", from).with_attr("to", to);
        screen(message, pairs.iter().map(|(from, to)| (from, to))).map_err(|(condition, _)| condition)
    }

    #[test]
    fn s2s_20_the_pair_of_domains_decides() {
        use StreamCondition::{HostUnknown, ImproperAddressing, InvalidFrom};
        for (from, to, expected) in [
            ("a@fabrikam.com/x", "b@contoso.com", None),
            ("fabrikam.com", "contoso.com", None),
            ("a@Fabrikam.COM", "b@contoso.com.", None),
            ("a@it.fabrikam.com", "b@sales.contoso.com", None),
            ("a@fabrikam.com", "b@sales.contoso.com", Some(HostUnknown)),
            ("a@fabrikam.com", "b@example.net", Some(HostUnknown)),
            ("a@example.net", "b@contoso.com", Some(InvalidFrom)),
            ("a@sub.fabrikam.com", "b@contoso.com", Some(InvalidFrom)),
            ("a@contoso.com", "b@contoso.com", Some(InvalidFrom)),
            ("a@example.net", "b@example.org", Some(InvalidFrom)),
            ("", "b@contoso.com", Some(ImproperAddressing)),
            ("a@fabrikam.com", "", Some(ImproperAddressing)),
            ("a@", "b@contoso.com", Some(ImproperAddressing)),
            ("a@fabrikam.com", "b@con toso.com", Some(ImproperAddressing)),
            ("a@-", "b@contoso.com", Some(ImproperAddressing)),
        ] {
            let verdict = verdict(from, to);
            assert_eq!(verdict.as_ref().err(), expected.as_ref(), "{from:?} to {to:?}: {verdict:?}");
            assert!(matches!(verdict, Err(_) | Ok(Output::Stanza(_))));
        }
    }

    #[test]
    fn s2s_20_a_bad_localpart_costs_its_stanza_only_between_the_right_domains() {
        for (from, to, which) in [
            ("a b@fabrikam.com", "b@contoso.com", Attr::From),
            ("a@fabrikam.com", "@contoso.com", Attr::To),
            ("a@fabrikam.com/", "b@contoso.com", Attr::From),
        ] {
            match verdict(from, to) {
                Ok(Output::BadAddress { which: bad, .. }) => assert_eq!(bad, which, "{from:?} to {to:?}"),
                other => panic!("{from:?} to {to:?}: {other:?}"),
            }
        }
        assert_eq!(verdict("a b@example.net", "b@contoso.com").err(), Some(StreamCondition::InvalidFrom));
        assert_eq!(verdict("a@fabrikam.com", "b c@example.net").err(), Some(StreamCondition::HostUnknown));
        assert_eq!(verdict("a b@fabrikam.com", "b@-").err(), Some(StreamCondition::ImproperAddressing));
    }

    #[test]
    fn s2s_20_a_missing_address_ends_the_stream() {
        let message = Element::new("message", ns::SERVER).with_attr("to", "b@contoso.com");
        let (from, to) = (domain("fabrikam.com"), domain("contoso.com"));
        let verdict = screen(message, [(&from, &to)].into_iter());
        assert!(
            matches!(verdict, Err((StreamCondition::ImproperAddressing, Fault::Addressing(_)))),
            "{verdict:?}"
        );
    }

    #[test]
    fn s2s_21_and_cmp_01_what_is_no_stanza_is_never_routed() {
        let (from, to) = (domain("fabrikam.com"), domain("contoso.com"));
        for element in [
            Element::new("foo", "urn:foo"),
            Element::new("message", ns::CLIENT),
            Element::new("message", ""),
            Element::new("mess", ns::SERVER),
            Element::new("compress", "http://jabber.org/protocol/compress"),
        ] {
            let element = element.with_attr("from", "a@fabrikam.com").with_attr("to", "b@contoso.com");
            let verdict = screen(element, [(&from, &to)].into_iter());
            assert!(matches!(verdict, Err((StreamCondition::UnsupportedStanzaType, _))), "{verdict:?}");
        }
    }
}
