//! The stream a peer opens, row by row.

use nuncio_xmpp::StreamCondition;
use nuncio_xmpp::stanza::Attr;
use nuncio_xmpp::stream::{
    Cause, ChainStatus, DialbackRefusal, Fault, Output, PartnerVerdict, Refusal, Step, StreamLimits, Terms,
    Waiting,
};

use crate::support::{AUTH, HEADER, In, MESSAGE, PROCEED, STARTTLS, SUCCESS, facts, proof};

/// Our header, with the id and from whom to whom.
fn ours(id: &str, from: &str, to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}'{to} id='{id}' version='1.0' xml:lang='en'>"
    )
}

#[test]
fn s2s_13_14_17_and_05_headers_and_features_of_each_stage() {
    let mut side = In::with(|config| config.idle_seconds = Some(600));
    assert_eq!(side.send(&HEADER.replace(" to=", " id='theirs' to=")), "");
    assert_eq!(side.machine.local().map(|local| local.as_str()), Some("contoso.com"));
    let header = |id| ours(id, "contoso.com", " to='fabrikam.com'");
    assert_eq!(
        side.allow(),
        header("id-one")
            + "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
               </stream:features>"
    );
    assert_eq!(side.machine.stream_id(), Some("id-one"));
    assert_eq!(side.send(STARTTLS), PROCEED);
    assert_eq!(side.tls(proof("fabrikam.com")), "");
    assert_eq!(
        side.send(HEADER),
        header("id-two")
            + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
               <mechanism>EXTERNAL</mechanism></mechanisms><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>"
    );
    assert_eq!(side.send(AUTH), SUCCESS);
    assert_eq!(
        side.send(HEADER),
        header("id-three")
            + "<stream:features><sm xmlns='urn:xmpp:sm:3'/><limits xmlns='urn:xmpp:stream-limits:0'>\
               <max-bytes>524288</max-bytes><idle-seconds>600</idle-seconds></limits></stream:features>"
    );
    assert_eq!(side.machine.stream_id(), Some("id-three"));
    side.established();
}

#[test]
fn s2s_10_a_header_of_another_kind_of_stream() {
    for header in [HEADER.replace("jabber:server", "jabber:client"), HEADER.replace("etherx", "otherx")] {
        let mut side = In::fresh();
        let written = side.send(&header);
        assert!(written.starts_with(&ours("id-one", "contoso.com", " to='fabrikam.com'")), "{written}");
        assert_eq!(side.fault(&written, "invalid-namespace"), Fault::Namespace);
    }
}

#[test]
fn s2s_11_a_peer_without_prefixes() {
    let header = "<stream xmlns='http://etherx.jabber.org/streams' from='fabrikam.com' to='contoso.com' version='1.0'>";
    let mut side = In::fresh();
    side.send(header);
    side.allow();
    side.send(STARTTLS);
    side.tls(proof("fabrikam.com"));
    side.send(header);
    assert_eq!(side.send(AUTH), SUCCESS);
    side.send(header);
    side.established();
    side.send(&MESSAGE.replace("<message", "<message xmlns='jabber:server'"));
    assert!(matches!(&side.outputs[..], [Output::Stanza(stanza)] if stanza.element.attr("to").is_some()));
}

#[test]
fn s2s_12_any_prefix_is_understood_and_ours_stays_the_same() {
    let mut side = In::fresh();
    side.send(&HEADER.replace("stream:stream", "foobar:stream").replace("xmlns:stream", "xmlns:foobar"));
    assert!(side.allow().contains("<stream:stream "));
    assert_eq!(side.send("</foobar:stream>"), "</stream:stream>");
}

#[test]
fn s2s_15_versions_compare_by_number() {
    for version in ["1.0", "1.1", "01.00", "11.0"] {
        let mut side = In::fresh();
        side.send(&HEADER.replace("version='1.0'>", &format!("version='{version}'>")));
        let written = side.allow();
        assert!(written.contains(" version='1.0' xml:lang"), "{version}: {written}");
    }
    for version in ["", "version='0.9'", "version='one'"] {
        let mut side = In::fresh();
        let written = side.send(&HEADER.replace("version='1.0'>", &format!("{version}>")));
        assert!(!written.contains("'1.0' xml:lang"), "{version}: {written}");
        assert!(!written.contains("features"), "{version}: {written}");
        assert_eq!(side.fault(&written, "unsupported-version"), Fault::Version);
    }
}

#[test]
fn s2s_16_a_domain_that_is_not_served() {
    let mut side = In::fresh();
    let written = side.send(&HEADER.replace("contoso.com", "nope"));
    assert!(written.starts_with(&ours("id-one", "contoso.com", " to='fabrikam.com'")), "{written}");
    assert!(
        matches!(side.fault(&written, "host-unknown"), Fault::HostUnknown(host) if host.as_str() == "nope")
    );

    let mut side = In::fresh();
    side.send(&HEADER.replace("contoso.com", "sales.contoso.com"));
    assert!(side.allow().starts_with(&ours("id-one", "sales.contoso.com", " to='fabrikam.com'")));
}

#[test]
fn s2s_16_addresses_that_are_none() {
    use Attr::{From, To};
    for (header, attr) in [
        (HEADER.replace(" to='contoso.com'", ""), To),
        (HEADER.replace("contoso.com", ""), To),
        (HEADER.replace("contoso.com", "a@contoso.com"), To),
        (HEADER.replace("fabrikam.com", "romeo@fabrikam.com"), From),
        (HEADER.replace("fabrikam.com", "fabrikam.com/x"), From),
        (HEADER.replace("fabrikam.com", "-"), From),
    ] {
        let mut side = In::fresh();
        let written = side.send(&header);
        assert!(written.starts_with("<?xml version='1.0'?><stream:stream "), "{written}");
        match side.fault(&written, "improper-addressing") {
            Fault::HeaderMissing(bad) | Fault::HeaderAddress(bad, _) => assert_eq!(bad, attr, "{header}"),
            other => panic!("{header}: {other:?}"),
        }
    }
}

#[test]
fn s2s_16_what_cannot_be_read_gets_our_header_and_the_right_error() {
    for (bytes, condition) in [
        ("hello", "not-well-formed"),
        ("<!-- hello --><stream:stream", "restricted-xml"),
        ("<!DOCTYPE stream><stream:stream", "restricted-xml"),
        ("<?xml version='1.0' encoding='latin1'?><stream:stream", "unsupported-encoding"),
        ("<stream:stream to='contoso.com'>", "not-well-formed"),
    ] {
        let mut side = In::fresh();
        let written = side.send(bytes);
        assert!(written.starts_with(&ours("id-one", "contoso.com", "")), "{bytes}: {written}");
        assert!(matches!(side.fault(&written, condition), Fault::Xml(_)), "{bytes}");
    }
}

#[test]
fn a_stranger_gets_our_header_policy_violation_and_the_text() {
    let mut side = In::fresh();
    assert_eq!(side.send(HEADER), "", "nothing before the verdict");
    assert!(matches!(
        &side.outputs[..],
        [Output::AskPartner { from, to }] if from.as_str() == "fabrikam.com" && to.as_str() == "contoso.com"
    ));
    let text = "Not a partner.".to_owned();
    let written = side.verdict(PartnerVerdict::Refused { why: Refusal::NotPartner, text });
    assert_eq!(
        written,
        ours("id-one", "contoso.com", " to='fabrikam.com'")
            + "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
               <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>Not a partner.</text>\
               </stream:error></stream:stream>"
    );
    side.send("</stream:stream>");
    let evidence = side.ended();
    assert_eq!(evidence.cause, Cause::Refused(Refusal::NotPartner));
    assert_eq!(evidence.remote.unwrap().as_str(), "fabrikam.com");
    assert_eq!(evidence.local.unwrap().as_str(), "contoso.com");
}

#[test]
fn nothing_is_read_before_the_verdict() {
    let mut side = In::fresh();
    assert_eq!(side.send(&format!("{HEADER}{STARTTLS}")), "");
    assert!(matches!(side.outputs[..], [Output::AskPartner { .. }]));
    assert!(side.allow().ends_with(PROCEED));
}

#[test]
fn a_peer_that_says_who_it_is_only_under_tls_is_asked_about_then() {
    let mut side = In::fresh();
    let written = side.send(&HEADER.replace(" from='fabrikam.com'", ""));
    assert!(written.starts_with(&ours("id-one", "contoso.com", "")), "{written}");
    side.send(STARTTLS);
    side.tls(proof("fabrikam.com"));
    assert_eq!(side.send(HEADER), "");
    assert!(side.allow().contains("<mechanism>EXTERNAL</mechanism>"));

    let mut side = In::handshaken(proof("fabrikam.com"));
    let written = side.send(&HEADER.replace(" from='fabrikam.com'", ""));
    assert_eq!(side.fault(&written, "improper-addressing"), Fault::HeaderMissing(Attr::From));
}

#[test]
fn s2s_18_an_authenticated_peer_need_not_repeat_its_addresses() {
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(AUTH);
    side.send(&HEADER.replace(" from='fabrikam.com' to='contoso.com'", ""));
    side.established();
}

#[test]
fn s2s_19_a_stanza_before_the_stream_is_established() {
    let strange = facts(ChainStatus::Trusted, "example.net");
    for mut side in [In::clear(), In::secure(proof("fabrikam.com")), In::secure(strange)] {
        let written = side.send(MESSAGE);
        assert_eq!(side.fault(&written, "not-authorized"), Fault::EarlyStanza);
    }
    // Where a header is due, it is not even a stanza.
    let mut side = In::fresh();
    let written = side.send(MESSAGE);
    assert_eq!(side.fault(&written, "invalid-namespace"), Fault::Namespace);
}

#[test]
fn s2s_20_stanzas_of_an_established_stream() {
    let message = |from: &str, to: &str| format!("<message from='{from}' to='{to}'><body>O</body></message>");
    for (from, to, condition) in [
        ("romeo@example.net", "juliet@contoso.com", "invalid-from"),
        ("romeo@fabrikam.com", "juliet@example.net", "host-unknown"),
        ("romeo@fabrikam.com", "juliet@sales.contoso.com", "host-unknown"),
        ("romeo@fabrikam.com", "", "improper-addressing"),
        ("romeo@-", "juliet@contoso.com", "improper-addressing"),
    ] {
        let mut side = In::open();
        // The bad one in the middle: the first one counts, the last one does not.
        let good = message("romeo@fabrikam.com", "juliet@contoso.com");
        let bad = message(from, to);
        let written = side.send(&format!("{good}{bad}{good}"));
        assert!(matches!(side.outputs.remove(0), Output::Stanza(_)));
        side.fault(&written, condition);
    }
    let mut side = In::open();
    let written = side.send("<presence to='juliet@contoso.com'/>");
    assert!(matches!(side.fault(&written, "improper-addressing"), Fault::Addressing(_)));
}

#[test]
fn s2s_20_a_bad_localpart_costs_that_stanza_only() {
    let mut side = In::open();
    let written = side.send(&format!("<message from='romeo@fabrikam.com' to='a b@contoso.com'/>{MESSAGE}"));
    assert_eq!(written, "");
    assert!(matches!(&side.outputs[..], [Output::BadAddress { which: Attr::To, .. }, Output::Stanza(_)]));
}

#[test]
fn s2s_21_cmp_01_and_sec_07_foreign_elements() {
    for element in [
        "<ns1:foo xmlns:ns1='urn:foo' to='juliet@contoso.com'/>",
        "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
        "<message xmlns='jabber:client' from='romeo@fabrikam.com' to='juliet@contoso.com'/>",
        "<stream:features/>",
    ] {
        for mut side in [In::clear(), In::secure(proof("fabrikam.com")), In::open()] {
            let written = side.send(element);
            assert!(matches!(side.fault(&written, "unsupported-stanza-type"), Fault::UnknownElement(_)));
        }
    }
}

#[test]
fn s2s_23_24_25_what_cannot_be_read_ends_the_stream() {
    for (text, condition) in [
        ("<!-- no -->", "restricted-xml"),
        ("<?no?>", "restricted-xml"),
        ("<message>&nbsp;</message>", "restricted-xml"),
        ("<message></body>", "not-well-formed"),
        ("<a:message/>", "not-well-formed"),
        ("<message>&#0;</message>", "not-well-formed"),
        ("text", "bad-format"),
    ] {
        let mut side = In::open();
        let written = side.send(text);
        assert!(matches!(side.fault(&written, condition), Fault::Xml(_)), "{text}");
    }
}

#[test]
fn sec_02_a_stanza_too_big() {
    let mut side = In::open();
    let mut written = side.send("<message from='romeo@fabrikam.com' to='juliet@contoso.com'><body>");
    let chunk = "x".repeat(64 * 1024);
    for _ in 0..9 {
        written += &side.send(&chunk);
        if !written.is_empty() {
            break;
        }
    }
    assert!(written.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>"), "{written}");
    assert!(matches!(side.fault(&written, "policy-violation"), Fault::Xml(_)));
}

/// A whole stanza of so many octets.
fn stanza_of(octets: usize) -> String {
    let (begin, end) =
        ("<message from='romeo@fabrikam.com' to='juliet@contoso.com'><body>", "</body></message>");
    let body = "x".repeat(octets - begin.len() - end.len());
    format!("{begin}{body}{end}")
}

#[test]
fn xe_15_a_partner_is_held_to_his_own_depth_and_number_of_attributes() {
    let deep = |depth: usize| {
        let (begin, end) = ("<message from='romeo@fabrikam.com' to='juliet@contoso.com'>", "</message>");
        format!("{begin}{}{}{end}", "<x>".repeat(depth - 1), "</x>".repeat(depth - 1))
    };
    // The two addresses are attributes too.
    let wide = |count: usize| {
        let more: String = (2..count).map(|number| format!(" a{number}=''")).collect();
        format!("<message from='romeo@fabrikam.com' to='juliet@contoso.com'{more}/>")
    };
    // Those of all are 32 and 64.
    for limit in [8, 100] {
        let depth = Terms { max_depth: Some(limit), ..Terms::default() };
        let attributes = Terms { max_attributes: Some(limit), ..Terms::default() };
        for (terms, stanza, taken) in [
            (depth, deep(limit), true),
            (depth, deep(limit + 1), false),
            (attributes, wide(limit), true),
            (attributes, wide(limit + 1), false),
        ] {
            let mut side = In::on_tls(terms, proof("fabrikam.com"));
            side.send(AUTH);
            side.send(HEADER);
            side.established();
            let written = side.send(&stanza);
            if taken {
                assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "{stanza}: {written}");
            } else {
                assert!(matches!(side.fault(&written, "policy-violation"), Fault::Xml(_)), "{stanza}");
            }
        }
    }
}

/// XE-15. Those of all are larger and smaller than these.
#[test]
fn xe_15_a_partner_is_told_his_own_limit_for_stanzas_and_held_to_it() {
    for limit in [20_000, 1_000_000] {
        for (octets, taken) in [(limit, true), (limit + 1, false)] {
            let terms = Terms { max_stanza: Some(limit), ..Terms::default() };
            let mut side = In::on_tls(terms, proof("fabrikam.com"));
            side.send(AUTH);
            let features = side.send(HEADER);
            assert!(features.contains(&format!("<max-bytes>{limit}</max-bytes>")), "{features}");
            side.established();
            let written = side.send(&stanza_of(octets));
            if taken {
                assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "{octets}: {written}");
            } else {
                assert!(written.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>"), "{octets}: {written}");
                assert!(matches!(side.fault(&written, "policy-violation"), Fault::Xml(_)));
            }
        }
    }
}

#[test]
fn sec_03_bytes_before_authentication_are_counted_all_together() {
    let limit = StreamLimits::PRE_AUTH_TOTAL;
    for (excess, over) in [(0, false), (1, true)] {
        let mut side = In::fresh();
        side.send(HEADER);
        side.allow();
        side.send(STARTTLS);
        side.tls(proof("fabrikam.com"));
        side.send(HEADER);
        let sent = 2 * HEADER.len() + STARTTLS.len();
        let mut written = String::new();
        for _ in 0..(limit - sent + excess) {
            written += &side.send(" ");
        }
        if over {
            assert_eq!(side.fault(&written, "policy-violation"), Fault::TooMuchBeforeAuth);
        } else {
            assert_eq!(written, "");
            assert_eq!(side.machine.step(), Step::Authentication);
        }
    }
    // What was spent before does not count afterwards.
    let mut side = In::open();
    side.send(&" ".repeat(limit * 2));
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]));
}

#[test]
fn s2s_27_and_31_white_space_keeps_a_stream_alive() {
    let mut side = In::open();
    assert_eq!(side.send(" \n\t \r\n"), "");
    side.send(&format!(" {MESSAGE} "));
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]));
}

#[test]
fn s2s_28_a_stream_error_of_the_peer() {
    for mut side in [In::clear(), In::secure(proof("fabrikam.com")), In::open()] {
        let written = side.send(
            "<stream:error><from-the-future xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>so long</text></stream:error></stream:stream>",
        );
        assert_eq!(written, "</stream:stream>");
        let evidence = side.ended();
        let Cause::PeerError { condition, text, .. } = evidence.cause else { panic!("{evidence:?}") };
        assert_eq!(condition, StreamCondition::UndefinedCondition);
        assert_eq!(text.unwrap().as_str(), "so long");
    }
}

#[test]
fn s2s_29_the_closing_handshake_both_ways() {
    for mut side in [In::clear(), In::secure(proof("fabrikam.com")), In::open()] {
        assert_eq!(side.send("</stream:stream>"), "</stream:stream>");
        assert_eq!(side.ended().cause, Cause::PeerClosed);
    }
    let mut side = In::open();
    assert_eq!(side.close(None), "</stream:stream>");
    assert!(matches!(side.outputs[..], [Output::Closed(_)]));
    side.send(MESSAGE);
    assert!(matches!(side.outputs.pop(), Some(Output::Stanza(_))), "it was on its way");
    assert_eq!(side.send("</stream:stream>"), "");
    assert_eq!(side.ended().cause, Cause::WeClosed(None));
}

#[test]
fn s2s_29_a_fault_while_we_close_ends_the_listening() {
    let mut side = In::open();
    side.close(None);
    assert_eq!(side.send(&format!("{}{MESSAGE}", MESSAGE.replace("fabrikam.com", "example.net"))), "");
    assert!(matches!(side.outputs[..], [Output::Closed(_)]), "{:?}", side.outputs);
    side.send("</stream:stream>");
    side.ended();
}

#[test]
fn s2s_29_after_a_stream_error_nothing_counts() {
    let mut side = In::open();
    let written = side.send("<foo xmlns='urn:foo'/>");
    side.send(MESSAGE);
    assert_eq!(side.outputs.len(), 1, "{:?}", side.outputs);
    side.fault(&written, "unsupported-stanza-type");
}

#[test]
fn s2s_32_every_step_has_its_time() {
    for (mut side, step) in [
        (In::fresh(), Step::Header),
        (In::clear(), Step::StartTls),
        (In::handshaken(proof("fabrikam.com")), Step::SecureHeader),
        (In::secure(proof("fabrikam.com")), Step::Authentication),
        (with(In::secure(proof("fabrikam.com")), AUTH), Step::FinalHeader),
    ] {
        let written = side.wait();
        assert!(written.contains("<connection-timeout "), "{step:?}: {written}");
        assert_eq!(
            written.starts_with("<?xml"),
            matches!(step, Step::Header | Step::SecureHeader | Step::FinalHeader)
        );
        assert_eq!(side.wait(), "");
        let evidence = side.ended();
        assert_eq!((evidence.step, evidence.cause), (step, Cause::Timeout(Waiting::Step)));
    }
    let mut side = with(In::clear(), STARTTLS);
    side.outputs.clear();
    assert_eq!(side.wait(), "", "nothing is written into a handshake");
    assert_eq!(side.cut().cause, Cause::Timeout(Waiting::Step));

    let mut side = with(In::fresh(), HEADER);
    side.outputs.clear();
    assert!(side.wait().contains("<resource-constraint "), "our own side did not answer");
    assert_eq!(side.closed().step, Step::Partner);
}

#[test]
fn s2s_33_shutdown_at_any_time() {
    for mut side in [In::fresh(), with(In::fresh(), HEADER), In::clear(), In::open()] {
        side.outputs.clear();
        let written = side.close(Some((StreamCondition::SystemShutdown, "See you.")));
        assert!(
            written.ends_with(
                "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
                 <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>See you.</text></stream:error>\
                 </stream:stream>"
            ),
            "{written}"
        );
        assert_eq!(side.closed().cause, Cause::WeClosed(Some(StreamCondition::SystemShutdown)));
    }
    // A verdict that comes too late changes nothing.
    let mut side = with(In::fresh(), HEADER);
    side.close(None);
    side.machine.partner_verdict(PartnerVerdict::Allowed(Terms::default()), side.now);
    assert_eq!(side.written(), "");
}

#[test]
fn tls_03_and_sec_06_what_came_along_with_starttls_is_not_taken() {
    for injected in [MESSAGE, HEADER, " ", "<"] {
        let mut side = In::clear();
        let written = side.send(&format!("{STARTTLS}{injected}"));
        assert_eq!(
            written, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>",
            "{injected:?}"
        );
        assert_eq!(side.ended().cause, Cause::PlaintextAfterStartTls);

        let mut side = with(In::clear(), STARTTLS);
        side.outputs.clear();
        assert_eq!(side.send(injected), "");
        assert_eq!(side.cut().cause, Cause::PlaintextAfterStartTls);
    }
}

#[test]
fn tls_01_a_second_starttls_fails() {
    let mut side = In::secure(proof("fabrikam.com"));
    let written = side.send(STARTTLS);
    assert_eq!(written, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>");
    assert!(matches!(side.closed().cause, Cause::Fault { fault: Fault::SecondStartTls, .. }));
}

#[test]
fn db_14_dialback_cannot_replace_tls_or_the_certificate() {
    let result =
        "<db:result xmlns:db='jabber:server:dialback' from='fabrikam.com' to='contoso.com'>key</db:result>";
    for mut side in [In::clear(), In::secure(proof("fabrikam.com")), In::open()] {
        assert_eq!(side.send(result), "", "dialback is off: not a word");
        assert!(matches!(&side.outputs[..], [Output::DialbackRefused { why: DialbackRefusal::Off, .. }]));
        assert_eq!(side.machine.pairs().len(), usize::from(side.machine.step() == Step::Established));
    }
}

#[test]
fn a_connection_that_breaks_is_dropped() {
    let mut side = In::open();
    side.machine.disconnected("");
    assert_eq!(side.written(), "");
    assert_eq!(side.cut().cause, Cause::Disconnected(None));
}

#[test]
fn the_language_of_the_header_is_known_for_its_stanzas() {
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(AUTH);
    side.send(&HEADER.replace(" to=", " xml:lang='de-CH' to="));
    assert!(matches!(
        &side.outputs[..],
        [Output::Established(established)] if established.lang.as_deref() == Some("de-CH")
    ));
}

fn with(mut side: In, text: &str) -> In {
    side.send(text);
    side
}
