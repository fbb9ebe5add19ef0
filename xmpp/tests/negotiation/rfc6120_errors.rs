//! The errors of RFC 6120 by its own examples: §4.9.3.1–25 for streams, §6.5.1–11 for SASL. The examples of clients are put
//! on a stream between servers.

use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stream::{Cause, ChainStatus, Output, SaslCondition, Step};

use crate::support::{ANSWER, AUTH, HEADER, In, Machine, OFFER_EXTERNAL, Out, SUCCESS, Side, facts, proof};

/// The error each example of §4.9.3 shows, without the element around it, and what stands beside the condition.
const SHOWN: [(StreamCondition, &str); 25] = [
    (StreamCondition::BadFormat, "<bad-format\n            xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::BadNamespacePrefix,
        "<bad-namespace-prefix xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (StreamCondition::Conflict, "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::ConnectionTimeout, "<connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::HostGone, "<host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::HostUnknown, "<host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::ImproperAddressing,
        "<improper-addressing xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (
        StreamCondition::InternalServerError,
        "<internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (StreamCondition::InvalidFrom, "<invalid-from xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::InvalidNamespace, "<invalid-namespace xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::InvalidXml, "<invalid-xml xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::NotAuthorized, "<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (StreamCondition::NotWellFormed, "<not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::PolicyViolation,
        "<policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><stanza-too-big xmlns='urn:xmpp:errors'/>",
    ),
    (
        StreamCondition::RemoteConnectionFailed,
        "<remote-connection-failed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (StreamCondition::Reset, "<reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::ResourceConstraint,
        "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (StreamCondition::RestrictedXml, "<restricted-xml xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::SeeOtherHost,
        "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\n          [2001:41D0:1:A49b::1]:9222\n        \
         </see-other-host>",
    ),
    (StreamCondition::SystemShutdown, "<system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"),
    (
        StreamCondition::UndefinedCondition,
        "<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><app-error xmlns='http://example.org/ns'/>",
    ),
    (
        StreamCondition::UnsupportedEncoding,
        "<unsupported-encoding xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (
        StreamCondition::UnsupportedFeature,
        "<unsupported-feature xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (
        StreamCondition::UnsupportedStanzaType,
        "<unsupported-stanza-type xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
    (
        StreamCondition::UnsupportedVersion,
        "<unsupported-version xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>",
    ),
];

/// What the peer of that machine reports is kept as the cause, whatever it is, and answered with the closing tag.
fn reports<M: Machine>(mut side: Side<M>, condition: StreamCondition, shown: &str) {
    let written =
        side.send(&format!("<stream:error>\n        {shown}\n      </stream:error>\n      </stream:stream>"));
    assert!(
        written.ends_with("</stream:stream>") && !written.contains("<stream:error>"),
        "{shown}: {written}"
    );
    let Cause::PeerError { condition: read, text, other_host, application } = side.ended().cause else {
        panic!("{shown}")
    };
    assert_eq!((read, text), (condition, None));
    let other_host = other_host.as_ref().map(|host| host.as_str());
    assert_eq!(
        other_host,
        (condition == StreamCondition::SeeOtherHost).then_some("[2001:41D0:1:A49b::1]:9222")
    );
    let application = application.as_ref().map(|name| name.as_str());
    assert_eq!(
        application,
        match condition {
            StreamCondition::PolicyViolation => Some("stanza-too-big"),
            StreamCondition::UndefinedCondition => Some("app-error"),
            _ => None,
        }
    );
}

#[test]
fn tv_21_each_stream_error_shown_is_understood_from_a_peer_at_every_stage() {
    for (condition, shown) in SHOWN {
        for side in [Out::asking(), Out::authenticating(), Out::open()] {
            reports(side, condition, shown);
        }
        for side in [In::clear(), In::open()] {
            reports(side, condition, shown);
        }
    }
}

/// A peer that answers our closing tag has taken what we wrote before it. One that reports an error has not, though a closing tag follows:
/// the two have crossed.
fn answers<M: Machine>(side: impl Fn() -> Side<M>) {
    for (said, taken) in [
        ("</stream:stream>", true),
        (
            "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
            false,
        ),
    ] {
        let mut side = side();
        assert_eq!(side.close(None), "</stream:stream>");
        assert_eq!(side.closed().cause, Cause::WeClosed(None));
        assert_eq!(side.send(said), "");
        assert_eq!(side.machine.close_answered(), taken, "{said}");
    }
}

#[test]
fn s2s_29_a_stream_error_that_crosses_our_closing_tag_answers_nothing() {
    answers(Out::open);
    answers(In::open);
}

#[test]
fn tv_21_a_header_as_shown_gets_our_header_and_then_its_error() {
    let header = |attributes: &str| {
        format!(
            "<?xml version='1.0'?>\n      <stream:stream\n          {attributes}\n          \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        )
    };
    let peer = "from='fabrikam.com'\n          to='contoso.com'\n          version='1.0'";
    for (shown, condition) in [
        // 5 and 6: domains served once are not remembered.
        (
            header("from='fabrikam.com' to='foo.contoso.com' version='1.0' xmlns='jabber:server'"),
            "host-unknown",
        ),
        (header("from='fabrikam.com' to='example.org' version='1.0' xmlns='jabber:server'"), "host-unknown"),
        // 10
        (
            header(&format!("{peer} xmlns='jabber:server'"))
                .replace("http://etherx.jabber.org/streams", "http://wrong.namespace.example.org/"),
            "invalid-namespace",
        ),
        // The stream of a client.
        (header(&format!("{peer} xmlns='jabber:client'")), "invalid-namespace"),
        // 22
        (
            header(&format!("{peer} xmlns='jabber:server'"))
                .replace("<?xml version='1.0'?>", "<?xml version='1.0' encoding='UTF-16'?>"),
            "unsupported-encoding",
        ),
    ] {
        let mut side = In::fresh();
        let written = side.send(&shown);
        assert!(written.starts_with("<?xml version='1.0'?><stream:stream "), "{shown}: {written}");
        side.fault(&written, condition);
    }
}

/// 2 and 25: an unusual prefix is as good as any (RFC 6120 §4.8.5), and so is a version that we only know to be higher
/// (§4.7.5); we answer with ours.
#[test]
fn tv_21_a_prefix_and_a_version_that_others_refuse_are_answered() {
    for header in [
        HEADER.replace("stream:stream", "foobar:stream").replace("xmlns:stream", "xmlns:foobar"),
        HEADER.replace("version='1.0'>", "version='11.0'>"),
    ] {
        let mut side = In::fresh();
        side.send(&header);
        let written = side.allow();
        assert!(written.contains(" version='1.0' ") && written.contains("<starttls "), "{header}: {written}");
    }
}

#[test]
fn tv_21_a_stanza_as_shown_gets_its_error() {
    let addresses = "from='romeo@fabrikam.com' to='juliet@contoso.com'";
    for (shown, condition) in [
        // 1: the more specific error is the recommended one. A piece is judged when it is complete, by count of its tags: here
        // with the end of the stream.
        (
            format!("<message {addresses}>\n        <body>No closing tag!\n      </message></stream:stream>"),
            "not-well-formed",
        ),
        // 7
        (
            "<message from='romeo@fabrikam.com'>\n        <body>Wherefore art thou?</body>\n      </message>"
                .into(),
            "improper-addressing",
        ),
        // 9
        (
            "<message from='romeo@example.org' to='juliet@contoso.com'>\n        \
             <body>Neither, fair saint, if either thee dislike.</body>\n      </message>"
                .into(),
            "invalid-from",
        ),
        // 13
        (
            format!(
                "<message {addresses}>\n        <foo:body>What is this foo?</foo:body>\n      </message>"
            ),
            "not-well-formed",
        ),
        // 18
        (
            format!(
                "<message {addresses}>\n        <!--<subject/>-->\n        \
                 <body>This message has no subject.</body>\n      </message>"
            ),
            "restricted-xml",
        ),
        // 24
        (
            "<pubsub xmlns='jabber:server'>\n        <publish node='princely_musings'>\n          \
             <item id='ae890ac52d0df67ed7cfdf51b644e901'/>\n        </publish>\n      </pubsub>"
                .into(),
            "unsupported-stanza-type",
        ),
    ] {
        let mut side = In::open();
        let written = side.send(&shown);
        side.fault(&written, condition);
    }
}

/// 14: we say which policy, as the example does.
#[test]
fn tv_21_a_stanza_that_is_too_large_gets_policy_violation_and_the_name_of_the_policy() {
    let mut side = In::open();
    let body = "the-emacs-manual ".repeat(40_000);
    let written = side.send(&format!(
        "<message to='juliet@contoso.com' from='romeo@fabrikam.com' id='foo'><body>{body}</body></message>"
    ));
    assert!(written.contains("<stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>"), "{written}");
    assert!(written.starts_with("<stream:error><policy-violation "), "{written}");
}

/// 11: a stream carries many people's stanzas; one with a type that the schema does not know costs itself, and is answered
/// with a stanza error (XI-12).
#[test]
fn tv_21_an_iq_of_no_known_type_costs_no_stream() {
    let mut side = In::open();
    let written = side.send(
        "<iq from='fabrikam.com'\n          id='l3b1vs75'\n          to='contoso.com'\n          type='subscribe'>\n        \
         <ping xmlns='urn:xmpp:ping'/>\n      </iq>",
    );
    assert_eq!(written, "");
    assert!(
        matches!(&side.outputs[..], [Output::Stanza(stanza)] if stanza.element.attr("id") == Some("l3b1vs75"))
    );
}

/// 12
#[test]
fn tv_21_a_stanza_before_authentication_is_not_authorized() {
    let mut side = In::clear();
    let written = side.send(
        "<message to='juliet@contoso.com'>\n        <body>Wherefore art thou?</body>\n      </message>",
    );
    side.fault(&written, "not-authorized");
}

/// 23
#[test]
fn tv_21_a_mandatory_feature_that_nobody_knows_is_unsupported() {
    let mut side = Out::authenticating();
    side.send(SUCCESS);
    side.send(ANSWER);
    let written = side.send(
        "<stream:features>\n        <example xmlns='urn:xmpp:example'>\n          <required/>\n        </example>\n      \
         </stream:features>",
    );
    assert!(written.starts_with("<stream:error><unsupported-feature "), "{written}");
    assert!(matches!(side.closed().cause, Cause::UnknownFeature(_)));
}

/// 4, 8, 16, 17 and 20: those that nothing the peer sent provokes.
#[test]
fn tv_21_errors_of_our_own_accord_look_as_shown() {
    let shown = |name: &str| {
        format!(
            "<stream:error><{name} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        )
    };
    for condition in [
        StreamCondition::ConnectionTimeout,
        StreamCondition::InternalServerError,
        StreamCondition::Reset,
        StreamCondition::SystemShutdown,
    ] {
        assert_eq!(Out::open().close(Some((condition, ""))), shown(condition.as_str()));
        assert_eq!(In::open().close(Some((condition, ""))), shown(condition.as_str()));
    }
    assert_eq!(Out::asking().wait(), shown("connection-timeout"));
    // Nobody said in time whether the peer may come in.
    let mut side = In::fresh();
    side.send(HEADER);
    let written = side.wait();
    assert!(written.ends_with(&shown("resource-constraint")), "{written}");
}

fn auth(mechanism: &str, data: &str) -> String {
    format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'\n            mechanism='{mechanism}'>{data}</auth>"
    )
}

fn failure(condition: &str) -> String {
    format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>")
}

/// `PLAIN` with the credentials of the examples.
const PLAIN: &str = "AGp1bGlldAByMG0zMG15cjBtMzA=";

#[test]
fn tv_23_each_request_as_shown_gets_its_failure() {
    // §6.5.4, in clear.
    assert_eq!(In::clear().send(&auth("PLAIN", PLAIN)), failure("encryption-required"));
    for (shown, condition) in [
        // §6.5.1
        ("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "aborted"),
        // §6.5.5, `[ ... ]` as it stands
        (auth("EXTERNAL", "[ ... ]"), "incorrect-encoding"),
        // §6.5.6: example.org
        (auth("EXTERNAL", "ZXhhbXBsZS5vcmc="), "invalid-authzid"),
        // §6.5.7
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'\n            mechanism='CRAM-MD5'/>".into(),
            "invalid-mechanism",
        ),
        (auth("DIGEST-MD5", "[ ... ]"), "invalid-mechanism"),
        (auth("ANONYMOUS", &"x".repeat(256)), "invalid-mechanism"),
        // §6.5.9: a mechanism that is not offered is not there at all, so it cannot be too weak
        (auth("PLAIN", PLAIN), "invalid-mechanism"),
        // §6.5.8: data of a form that the mechanism does not have, and an answer to nothing
        (auth("EXTERNAL", "<x xmlns='urn:x'/>"), "malformed-request"),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>".into(), "malformed-request"),
    ] {
        let mut side = In::secure(proof("fabrikam.com"));
        assert_eq!(side.send(&shown), failure(condition), "{shown}");
        assert_eq!(side.machine.step(), Step::Authentication, "{shown}");
        assert_eq!(side.send(AUTH), SUCCESS, "the next try may be better");
    }
}

/// §6.5.3 and §6.5.10: what is wrong with a certificate is said in general, to everybody alike.
#[test]
fn tv_23_a_certificate_that_does_not_do_is_not_authorized() {
    let mut answers = [
        facts(ChainStatus::Untrusted("it expired on 2026-01-01".into()), "fabrikam.com"),
        facts(ChainStatus::Trusted, "example.org"),
        facts(ChainStatus::Absent, "fabrikam.com"),
    ]
    .map(|facts| In::secure(facts).send(AUTH));
    assert!(answers[0].starts_with(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text xml:lang='en'>"
    ));
    answers.sort();
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn tv_23_each_failure_shown_is_understood_from_a_peer() {
    for (condition, text) in [
        (SaslCondition::Aborted, ""),
        (
            SaslCondition::AccountDisabled,
            "\n        <text xml:lang='en'>Call 212-555-1212 for assistance.</text>",
        ),
        (SaslCondition::CredentialsExpired, ""),
        (SaslCondition::EncryptionRequired, ""),
        (SaslCondition::IncorrectEncoding, ""),
        (SaslCondition::InvalidAuthzid, ""),
        (SaslCondition::InvalidMechanism, ""),
        (SaslCondition::MalformedRequest, ""),
        (SaslCondition::MechanismTooWeak, ""),
        (SaslCondition::NotAuthorized, ""),
        (SaslCondition::TemporaryAuthFailure, ""),
    ] {
        let mut side = Out::secure();
        side.send(ANSWER);
        side.send(OFFER_EXTERNAL);
        let written = side.send(&format!(
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\n        <{condition}/>{text}\n      </failure>"
        ));
        assert_eq!(written, "</stream:stream>", "{condition}");
        let Cause::SaslFailed { condition: read, text: kept } = side.closed().cause else {
            panic!("{condition}")
        };
        assert_eq!(read, condition);
        let expected = (!text.is_empty()).then_some("Call 212-555-1212 for assistance.");
        assert_eq!(kept.as_ref().map(|kept| kept.as_str()), expected);
    }
}
