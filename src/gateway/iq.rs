//! What our domains, and our users, answer for themselves.

use nuncio_translate::jid_escape::unescape;
use nuncio_xmpp::about::{self, About};
use nuncio_xmpp::stanza::IqKind;
use nuncio_xmpp::{Addresses, Condition, Element, StartTag, ns};

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The result was written.
    Result,
    /// The same refusal for everybody and about everybody, so that it may say what it is.
    Refuse(Condition),
    /// The uniform `service-unavailable` is due, after the uniform time.
    Uniform,
}

/// Answers a request that we understand.
///
/// Our domains answer everybody. A SIP user's bare JID answers who `sees_user`; anybody else gets the same refusal
/// whether the user exists or not (XE-02, XE-06). Nobody asks a resource anything: those are the front end's.
pub(super) fn answer(
    out: &mut Vec<u8>,
    about: &About,
    kind: IqKind,
    id: &str,
    payload: &Element,
    addresses: &Addresses,
    sees_user: impl Fn() -> bool,
) -> Answer {
    let request = match read(kind, payload) {
        Some(request) if addresses.to.resource().is_none() => request,
        _ => return Answer::Uniform,
    };
    match (addresses.to.local(), request) {
        // Nobody may change what he does not own, whoever it belongs to.
        (Some(_), Request::SetVcard) => return Answer::Refuse(Condition::Forbidden),
        (Some(_), Request::Info | Request::Items(_) | Request::Vcard) if !sees_user() => {
            return Answer::Uniform;
        }
        (Some(_), Request::Ping | Request::Version) | (None, Request::Vcard | Request::SetVcard) => {
            return Answer::Uniform;
        }
        (None, Request::Version) if about.version.is_none() => return Answer::Uniform,
        _ => {}
    }
    let result = StartTag::open(out, "iq")
        .attr("type", "result")
        .attr("id", id)
        .attr("from", addresses.to.as_str())
        .attr("to", addresses.from.as_str());
    if matches!(request, Request::Ping) {
        result.empty();
        return Answer::Result;
    }
    result.end();
    match (request, addresses.to.local()) {
        (Request::Items(node), _) => about::write_no_items(out, node),
        (Request::Info, None) => about.write_info(out),
        (Request::Info, Some(_)) => about::write_user_info(out),
        (Request::Vcard, user) => {
            about::write_vcard(out, &unescape(user.unwrap_or_default()), addresses.to.bare_str());
        }
        (Request::Version, _) => {
            about.write_version(out);
        }
        (Request::Ping | Request::SetVcard, _) => {}
    }
    StartTag::close(out, "iq");
    Answer::Result
}

/// The requests we understand.
#[derive(Debug, Clone, Copy)]
enum Request<'a> {
    /// disco#info. We have no nodes, so a request about one is none that we understand.
    Info,
    /// disco#items at a node, or at none.
    Items(Option<&'a str>),
    Ping,
    Version,
    Vcard,
    SetVcard,
}

fn read(kind: IqKind, payload: &Element) -> Option<Request<'_>> {
    let node = payload.attr("node");
    Some(match (kind, payload.name(), payload.ns()) {
        (IqKind::Get, "query", ns::DISCO_INFO) if node.is_none() => Request::Info,
        (IqKind::Get, "query", ns::DISCO_ITEMS) => Request::Items(node),
        (IqKind::Get, "ping", ns::PING) => Request::Ping,
        (IqKind::Get, "query", ns::VERSION) => Request::Version,
        (IqKind::Get, "vCard", ns::VCARD) => Request::Vcard,
        (IqKind::Set, "vCard", ns::VCARD) => Request::SetVcard,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::Jid;

    use super::*;

    struct Asked {
        version: Option<&'static str>,
        sees_user: bool,
        kind: IqKind,
    }

    const PLAINLY: Asked = Asked { version: None, sees_user: false, kind: IqKind::Get };
    const BY_A_FRIEND: Asked = Asked { sees_user: true, ..PLAINLY };

    impl Asked {
        fn of(&self, to: &str, payload: &Element) -> Result<String, Answer> {
            let addresses =
                Addresses { from: Jid::parse("fabrikam.example").unwrap(), to: Jid::parse(to).unwrap() };
            let version = self.version.map(Into::into);
            let about = About { name: "Nuncio".into(), version, contacts: Vec::new() };
            let mut out = Vec::new();
            let answer = answer(&mut out, &about, self.kind, "i1", payload, &addresses, || self.sees_user);
            let written = String::from_utf8(out).unwrap();
            if answer == Answer::Result {
                return Ok(written);
            }
            assert_eq!(written, "", "nothing is written when nothing is answered");
            Err(answer)
        }
    }

    #[test]
    fn pg_01_ping_gets_an_empty_result() {
        assert_eq!(
            PLAINLY.of("contoso.example", &Element::new("ping", ns::PING)).unwrap(),
            "<iq type='result' id='i1' from='contoso.example' to='fabrikam.example'/>"
        );
    }

    #[test]
    fn xe_01_disco_names_what_is_there() {
        let info = PLAINLY.of("contoso.example", &Element::new("query", ns::DISCO_INFO)).unwrap();
        assert!(info.contains("<identity category='gateway' type='simple' name='Nuncio'/>"), "{info}");
        assert!(info.contains(r"<feature var='jid\20escaping'/>"), "{info}");
        let items = PLAINLY.of("contoso.example", &Element::new("query", ns::DISCO_ITEMS)).unwrap();
        assert!(items.contains("<query xmlns='http://jabber.org/protocol/disco#items'/>"), "{items}");
    }

    #[test]
    fn xe_02_users_and_unknown_requests_get_no_answer_of_their_own() {
        let node = Element::new("query", ns::DISCO_INFO).with_attr("node", "http://nowhere.example#x");
        for (to, payload) in [
            ("alice@contoso.example", Element::new("query", ns::DISCO_INFO)),
            ("alice@contoso.example", Element::new("query", ns::DISCO_ITEMS)),
            ("alice@contoso.example", Element::new("ping", ns::PING)),
            ("contoso.example/node", Element::new("ping", ns::PING)),
            ("contoso.example", node),
        ] {
            assert_eq!(PLAINLY.of(to, &payload), Err(Answer::Uniform), "{to}");
        }
    }

    #[test]
    fn xe_11_and_xe_12_registration_and_reports_are_requests_like_any_unknown_one() {
        for (name, namespace) in [
            ("query", "jabber:iq:register"),
            ("query", "jabber:iq:gateway"),
            ("report", "urn:xmpp:incident:2"),
            ("report", "urn:xmpp:reporting:1"),
            ("block", "urn:xmpp:blocking"),
            ("query", ns::LAST_ACTIVITY),
            ("time", "urn:xmpp:time"),
        ] {
            for kind in [IqKind::Get, IqKind::Set] {
                for to in ["contoso.example", "alice@contoso.example"] {
                    let asked = Asked { kind, ..BY_A_FRIEND };
                    assert_eq!(
                        asked.of(to, &Element::new(name, namespace)),
                        Err(Answer::Uniform),
                        "{namespace}"
                    );
                }
            }
        }
    }

    #[test]
    fn xe_02_who_sees_the_user_gets_an_answer() {
        let info = BY_A_FRIEND.of("alice@contoso.example", &Element::new("query", ns::DISCO_INFO)).unwrap();
        assert!(info.contains("<identity category='account' type='registered'/>"), "{info}");
        assert!(!info.contains("gateway"), "{info}");
        let items = Element::new("query", ns::DISCO_ITEMS);
        assert!(BY_A_FRIEND.of("alice@contoso.example", &items).is_ok());
        let ping = Element::new("ping", ns::PING);
        assert_eq!(BY_A_FRIEND.of("alice@contoso.example", &ping), Err(Answer::Uniform));
        let info = Element::new("query", ns::DISCO_INFO);
        assert_eq!(BY_A_FRIEND.of("alice@contoso.example/fe", &info), Err(Answer::Uniform));
    }

    #[test]
    fn xe_04_the_version_is_for_those_who_may_know_it_and_nobody_asks_users_for_theirs() {
        let version = Element::new("query", ns::VERSION);
        let told = Asked { version: Some("1.0"), ..BY_A_FRIEND };
        let answer = told.of("contoso.example", &version).unwrap();
        assert!(answer.contains("<name>Nuncio</name><version>1.0</version></query></iq>"), "{answer}");
        assert!(!answer.contains("<os>"), "{answer}");
        assert_eq!(PLAINLY.of("contoso.example", &version), Err(Answer::Uniform));
        assert_eq!(told.of("alice@contoso.example", &version), Err(Answer::Uniform));
    }

    #[test]
    fn xe_06_a_vcard_is_for_those_who_see_the_user_and_nobody_writes_it() {
        let vcard = Element::new("vCard", ns::VCARD);
        let answer = BY_A_FRIEND.of(r"o\27hara@contoso.example", &vcard).unwrap();
        assert!(answer.contains(r"<FN>o'hara</FN><JABBERID>o\27hara@contoso.example</JABBERID>"), "{answer}");
        assert_eq!(PLAINLY.of("alice@contoso.example", &vcard), Err(Answer::Uniform));
        assert_eq!(BY_A_FRIEND.of("contoso.example", &vcard), Err(Answer::Uniform));
        for sees_user in [true, false] {
            let asked = Asked { sees_user, kind: IqKind::Set, ..PLAINLY };
            let refused = Err(Answer::Refuse(Condition::Forbidden));
            assert_eq!(asked.of("alice@contoso.example", &vcard), refused);
        }
    }
}
