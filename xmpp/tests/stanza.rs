//! Stanzas: what they are, whom they are for, how they are refused.

mod common;

use common::read_stanza;
use nuncio_xmpp::stanza::{Attr, IqKind, write_error};
use nuncio_xmpp::{
    AddressError, Condition, Element, ErrorType, IqVerdict, JidPart, StanzaError, StanzaKind,
    StreamCondition, StreamError, addresses, check_iq, classify, ns, write_error_reply,
};

fn stanza(text: &str) -> Element {
    read_stanza(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn s2s_21_only_stanzas_of_the_content_namespace_are_stanzas() {
    for (text, kind) in [
        ("<message/>", Some(StanzaKind::Message)),
        ("<presence/>", Some(StanzaKind::Presence)),
        ("<iq/>", Some(StanzaKind::Iq)),
        ("<x:message xmlns:x='jabber:server'/>", Some(StanzaKind::Message)),
        ("<message xmlns='jabber:client'/>", None),
        ("<message xmlns=''/>", None),
        ("<stream:message/>", None),
        ("<foo/>", None),
        ("<Message/>", None),
    ] {
        assert_eq!(classify(&stanza(text)), kind, "{text}");
    }
}

#[test]
fn s2s_20_addresses_are_mandatory_and_a_bad_domain_ends_the_stream() {
    let good = addresses(&stanza("<message from='Romeo@example.net/x' to='juliet@example.com'/>"))
        .expect("addresses");
    assert_eq!((good.from.as_str(), good.to.as_str()), ("romeo@example.net/x", "juliet@example.com"));
    let improper = Some(StreamCondition::ImproperAddressing);
    for (attributes, attr, part, ends) in [
        ("to='a@b'", Attr::From, None, improper),
        ("from='a@b'", Attr::To, None, improper),
        ("", Attr::From, None, improper),
        ("from='' to='a@b'", Attr::From, None, improper),
        ("from='a@b' to=''", Attr::To, None, improper),
        ("from='a@-' to='a@b'", Attr::From, Some(JidPart::Domain), improper),
        ("from='a@b' to='@'", Attr::To, Some(JidPart::Domain), improper),
        ("from='a@b' to='a b@c'", Attr::To, Some(JidPart::Local), None),
        ("from='a@b/' to='a@b'", Attr::From, Some(JidPart::Resource), None),
        // The worse of two wins.
        ("from='a b@c' to='a@-'", Attr::To, Some(JidPart::Domain), improper),
        ("from='a b@c' to='a b@c'", Attr::From, Some(JidPart::Local), None),
        ("from='a b@c'", Attr::To, None, improper),
    ] {
        let error = addresses(&stanza(&format!("<message {attributes}/>"))).expect_err(attributes);
        assert_eq!(error.ends_stream(), ends, "{attributes}");
        let found = match error {
            AddressError::Missing(attr) => (attr, None),
            AddressError::Bad { attr, error } => (attr, Some(error.part)),
        };
        assert_eq!(found, (attr, part), "{attributes}");
    }
}

/// RFC 6120 section 8.3.3, in its order.
const CONDITIONS: [(&str, ErrorType); 22] = [
    ("bad-request", ErrorType::Modify),
    ("conflict", ErrorType::Cancel),
    ("feature-not-implemented", ErrorType::Cancel),
    ("forbidden", ErrorType::Auth),
    ("gone", ErrorType::Cancel),
    ("internal-server-error", ErrorType::Cancel),
    ("item-not-found", ErrorType::Cancel),
    ("jid-malformed", ErrorType::Modify),
    ("not-acceptable", ErrorType::Modify),
    ("not-allowed", ErrorType::Cancel),
    ("not-authorized", ErrorType::Auth),
    ("policy-violation", ErrorType::Modify),
    ("recipient-unavailable", ErrorType::Wait),
    ("redirect", ErrorType::Modify),
    ("registration-required", ErrorType::Auth),
    ("remote-server-not-found", ErrorType::Cancel),
    ("remote-server-timeout", ErrorType::Wait),
    ("resource-constraint", ErrorType::Wait),
    ("service-unavailable", ErrorType::Cancel),
    ("subscription-required", ErrorType::Auth),
    ("undefined-condition", ErrorType::Cancel),
    ("unexpected-request", ErrorType::Wait),
];

#[test]
fn tv_22_err_01_every_condition_is_written_and_read() {
    assert_eq!(Condition::ALL.len(), CONDITIONS.len());
    for (condition, (name, default)) in Condition::ALL.iter().zip(CONDITIONS) {
        assert_eq!((condition.as_str(), condition.default_type()), (name, default));
        assert_eq!(Condition::read(name), *condition);
        let original = stanza(
            "<message from='romeo@example.net/x' to='juliet@example.com' id='1' type='chat'><body>secret</body></message>",
        );
        let mut out = Vec::new();
        assert!(write_error_reply(
            &mut out,
            &original,
            ErrorType::Wait,
            *condition,
            Some("a < b"),
            Some("example.com")
        ));
        let reply = read_stanza(&out).expect(name);
        assert_eq!(classify(&reply), Some(StanzaKind::Message));
        assert_eq!(
            (reply.attr("from"), reply.attr("to")),
            (Some("juliet@example.com"), Some("romeo@example.net/x"))
        );
        assert_eq!((reply.attr("id"), reply.attr("type")), (Some("1"), Some("error")));
        assert_eq!(reply.elements().count(), 1, "one error and nothing of the payload (ERR-03)");
        let error = StanzaError::from_element(&reply).expect("an error");
        assert_eq!((error.condition, error.error_type), (*condition, ErrorType::Wait));
        assert_eq!((error.text.as_deref(), error.by.as_deref()), (Some("a < b"), Some("example.com")));
    }
}

#[test]
fn err_01_the_reply_is_exactly_this() {
    let original =
        stanza("<iq from='a@b/&apos;' to='c@d' id='&lt;1>' type='get'><query xmlns='urn:x'/></iq>");
    let mut out = Vec::new();
    assert!(write_error_reply(
        &mut out,
        &original,
        ErrorType::Cancel,
        Condition::ServiceUnavailable,
        None,
        None
    ));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<iq from='c@d' to='a@b/&apos;' id='&lt;1&gt;' type='error'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    let mut out = Vec::new();
    write_error(
        &mut out,
        StanzaKind::Presence,
        None,
        Some("a@b"),
        None,
        ErrorType::Modify,
        Condition::Gone,
        None,
        None,
    );
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<presence to='a@b' type='error'><error type='modify'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    );
}

#[test]
fn err_02_nothing_answers_an_error() {
    for text in [
        "<message from='a@b' to='c@d' type='error'/>",
        "<iq from='a@b' to='c@d' id='1' type='error'/>",
        "<iq from='a@b' to='c@d' id='1' type='result'/>",
        "<features from='a@b' to='c@d'/>",
    ] {
        let mut out = Vec::new();
        let replied =
            write_error_reply(&mut out, &stanza(text), ErrorType::Cancel, Condition::BadRequest, None, None);
        assert_eq!((replied, out.len()), (false, 0), "{text}");
    }
}

#[test]
fn err_05_odd_errors_are_read_as_far_as_they_go() {
    let read =
        |error: &str| StanzaError::from_element(&stanza(&format!("<message type='error'>{error}</message>")));
    let error = read("<error type='wait'><made-up xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
        .expect("an error");
    assert_eq!((error.condition, error.error_type), (Condition::Undefined, ErrorType::Wait));
    let error = read("<error type='odd'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
        .expect("an error");
    assert_eq!((error.condition, error.error_type), (Condition::Forbidden, ErrorType::Auth));
    let error = read("").expect("an error");
    assert_eq!((error.condition, error.error_type), (Condition::Undefined, ErrorType::Cancel));
    let error = read(
        "<error><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>moved</text><app xmlns='urn:app'/>\
         <gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:romeo@new.example</gone>\
         <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    )
    .expect("an error");
    assert_eq!(error.condition, Condition::Gone);
    assert_eq!(error.new_address.as_deref(), Some("xmpp:romeo@new.example"));
    assert_eq!(error.text.as_deref(), Some("moved"));
    assert_eq!(error.application, Some(("app".into(), "urn:app".into())));
    assert_eq!(StanzaError::from_element(&stanza("<message><error/></message>")), None);
}

#[test]
fn xi_12_requests_have_one_child_and_an_id() {
    let refuse = IqVerdict::Refuse(Condition::BadRequest);
    for (text, expected) in [
        ("<iq type='get' id='1'/>", refuse),
        ("<iq type='get' id='1'><a/><b/></iq>", refuse),
        ("<iq type='set' id='1'>text</iq>", refuse),
        ("<iq type='get'><a/></iq>", refuse),
        ("<iq type='get' id=''><a/></iq>", refuse),
        ("<iq type='odd' id='1'><a/></iq>", refuse),
        ("<iq id='1'><a/></iq>", refuse),
        ("<iq type='result'/>", IqVerdict::Ignore),
        ("<iq type='result' id='1'><a/><b/></iq>", IqVerdict::Ignore),
        ("<iq type='result' id='1'/>", IqVerdict::Result { id: "1", payload: None }),
        ("<iq type='error' id='1'><a/><error/></iq>", IqVerdict::Error { id: "1" }),
        ("<iq type='error'/>", IqVerdict::Ignore),
    ] {
        assert_eq!(check_iq(&stanza(text)), expected, "{text}");
    }
    let ping = stanza("<iq type='get' id='x'> <ping xmlns='urn:xmpp:ping'/> </iq>");
    let IqVerdict::Request { kind: IqKind::Get, id: "x", payload } = check_iq(&ping) else {
        panic!("{ping:?}")
    };
    assert!(payload.is("ping", ns::PING));
    let set = stanza("<iq type='set' id='y'><a/></iq>");
    assert!(matches!(check_iq(&set), IqVerdict::Request { kind: IqKind::Set, id: "y", .. }));
    let result = stanza("<iq type='result' id='z'><a/></iq>");
    assert!(matches!(check_iq(&result), IqVerdict::Result { id: "z", payload: Some(_) }));
}

#[test]
fn tv_21_s2s_28_stream_errors_are_written_and_read() {
    let names = [
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    ];
    assert_eq!(StreamCondition::ALL.iter().map(|condition| condition.as_str()).collect::<Vec<_>>(), names);
    for condition in StreamCondition::ALL {
        assert_eq!(StreamCondition::read(condition.as_str()), *condition);
        let mut out = Vec::new();
        StreamError::write(&mut out, *condition, Some("why & how"), Some("stanza-too-big"));
        let error =
            StreamError::from_element(&read_stanza(&out).expect("a stream error")).expect("a stream error");
        assert_eq!(error.condition, *condition);
        assert_eq!(error.text.as_deref(), Some("why & how"));
        assert_eq!(error.application.as_deref(), Some("stanza-too-big"));
    }
    let read = |inner: &str| {
        StreamError::from_element(&stanza(&format!("<stream:error>{inner}</stream:error>"))).expect(inner)
    };
    let other = read(
        "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[2001:db8::1]:5270</see-other-host>",
    );
    assert_eq!(other.other_host.as_deref(), Some("[2001:db8::1]:5270"));
    let alias = read("<xml-not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    assert_eq!(alias.condition, StreamCondition::NotWellFormed);
    assert_eq!(
        read("<odd xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>").condition,
        StreamCondition::UndefinedCondition
    );
    assert_eq!(read("").condition, StreamCondition::UndefinedCondition);
    assert_eq!(StreamError::from_element(&stanza("<error/>")), None);
}
