//! What our domains answer for themselves: service discovery and ping.

use nuncio_xmpp::stanza::IqKind;
use nuncio_xmpp::{Addresses, Element, StartTag, ns};

/// Features of a served domain (XEP-0030), exactly what is true (XE-01, XE-09, XE-10).
const FEATURES: [&str; 4] = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, r"jid\20escaping"];
/// The same of a SIP user.
const USER_FEATURES: [&str; 2] = [ns::DISCO_INFO, ns::DISCO_ITEMS];

/// Writes the answer to a request we understand. `false`: the uniform `service-unavailable` is due.
///
/// Our domains answer everybody. A SIP user's bare JID answers who `sees_user`; anybody else gets the same refusal
/// whether the user exists or not (XE-02).
pub(super) fn answer(
    out: &mut Vec<u8>,
    kind: IqKind,
    id: &str,
    payload: &Element,
    addresses: &Addresses,
    sees_user: impl FnOnce() -> bool,
) -> bool {
    if kind != IqKind::Get || addresses.to.resource().is_some() {
        return false;
    }
    let of_user = addresses.to.local().is_some();
    let node = payload.attr("node");
    let info = payload.is("query", ns::DISCO_INFO) && node.is_none();
    let items = payload.is("query", ns::DISCO_ITEMS);
    if payload.is("ping", ns::PING) && !of_user {
        open(out, id, addresses).empty();
        return true;
    }
    if !(info || items) || (of_user && !sees_user()) {
        return false;
    }
    open(out, id, addresses).end();
    if items {
        StartTag::open(out, "query").ns(ns::DISCO_ITEMS).opt_attr("node", node).empty();
    } else {
        StartTag::open(out, "query").ns(ns::DISCO_INFO).end();
        if of_user {
            identity(out, "account", "registered", None);
        } else {
            identity(out, "server", "im", Some("Nuncio"));
            identity(out, "gateway", "simple", Some("Nuncio"));
        }
        for feature in if of_user { &USER_FEATURES[..] } else { &FEATURES[..] } {
            StartTag::open(out, "feature").attr("var", feature).empty();
        }
        StartTag::close(out, "query");
    }
    StartTag::close(out, "iq");
    true
}

fn open<'a>(out: &'a mut Vec<u8>, id: &str, addresses: &Addresses) -> StartTag<'a> {
    StartTag::open(out, "iq")
        .attr("type", "result")
        .attr("id", id)
        .attr("from", addresses.to.as_str())
        .attr("to", addresses.from.as_str())
}

fn identity(out: &mut Vec<u8>, category: &str, kind: &str, name: Option<&str>) {
    StartTag::open(out, "identity")
        .attr("category", category)
        .attr("type", kind)
        .opt_attr("name", name)
        .empty();
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::Jid;

    use super::*;

    fn ask(to: &str, payload: &Element) -> Option<String> {
        ask_as(false, to, payload)
    }

    fn ask_as(sees_user: bool, to: &str, payload: &Element) -> Option<String> {
        let addresses =
            Addresses { from: Jid::parse("fabrikam.example").unwrap(), to: Jid::parse(to).unwrap() };
        let mut out = Vec::new();
        let answered = answer(&mut out, IqKind::Get, "i1", payload, &addresses, || sees_user);
        answered.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn pg_01_ping_gets_an_empty_result() {
        assert_eq!(
            ask("contoso.example", &Element::new("ping", ns::PING)).unwrap(),
            "<iq type='result' id='i1' from='contoso.example' to='fabrikam.example'/>"
        );
    }

    #[test]
    fn xe_01_disco_names_what_is_there() {
        let info = ask("contoso.example", &Element::new("query", ns::DISCO_INFO)).unwrap();
        assert!(info.contains("<identity category='gateway' type='simple' name='Nuncio'/>"), "{info}");
        assert!(info.contains(r"<feature var='jid\20escaping'/>"), "{info}");
        let items = ask("contoso.example", &Element::new("query", ns::DISCO_ITEMS)).unwrap();
        assert!(items.contains("<query xmlns='http://jabber.org/protocol/disco#items'/>"), "{items}");
    }

    #[test]
    fn xe_02_users_and_unknown_requests_get_no_answer_of_their_own() {
        assert_eq!(ask("alice@contoso.example", &Element::new("query", ns::DISCO_INFO)), None);
        assert_eq!(ask("alice@contoso.example", &Element::new("ping", ns::PING)), None);
        assert_eq!(ask("contoso.example", &Element::new("query", "jabber:iq:register")), None);
        let node = Element::new("query", ns::DISCO_INFO).with_attr("node", "http://nowhere.example#x");
        assert_eq!(ask("contoso.example", &node), None);
    }
    #[test]
    fn xe_02_who_sees_the_user_gets_an_answer() {
        let info = ask_as(true, "alice@contoso.example", &Element::new("query", ns::DISCO_INFO)).unwrap();
        assert!(info.contains("<identity category='account' type='registered'/>"), "{info}");
        assert!(!info.contains("gateway"), "{info}");
        assert!(ask_as(true, "alice@contoso.example", &Element::new("query", ns::DISCO_ITEMS)).is_some());
        for payload in [Element::new("ping", ns::PING), Element::new("vCard", "vcard-temp")] {
            assert_eq!(ask_as(true, "alice@contoso.example", &payload), None);
        }
        assert_eq!(ask_as(true, "alice@contoso.example/fe", &Element::new("query", ns::DISCO_INFO)), None);
    }
}
