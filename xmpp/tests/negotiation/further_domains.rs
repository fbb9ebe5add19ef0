//! Dialback for further domains on a stream that a peer opened: each on its own terms, and none on those of another.

use nuncio_xmpp::dialback::{Pair, VerifyOutcome};
use nuncio_xmpp::stream::{DialbackRefusal, Inbound, Output, PartnerVerdict, Refusal, Terms};

use crate::receiving::{VALID, key_of, nameless, open, untrusted};
use crate::support::{AUTH, HEADER, In, MESSAGE, domain, error_condition, proof, proved, terms, their_key};

#[test]
fn db_10_and_11_an_invalid_key_on_a_stream_that_serves_others_is_forbidden() {
    let mut side = open();
    side.send(&key_of("it.fabrikam.com", "contoso.com"));
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    let request = side.take_request();
    let written = side.verified(&request, VerifyOutcome::Invalid);
    assert_eq!(error_condition(&written, "it.fabrikam.com", "contoso.com"), "forbidden");
    assert_eq!(side.refused(), DialbackRefusal::Invalid);
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "the other pair goes on");
}

#[test]
fn db_13_several_domains_on_one_stream_each_on_its_own_terms() {
    let mut side = open();
    // A further target of the same sender, then a further sender.
    side.send(&key_of("fabrikam.com", "sales.contoso.com"));
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    let request = side.take_request();
    assert_eq!(request.to.as_str(), "sales.contoso.com");
    side.verified(&request, VerifyOutcome::Valid);
    let pair = Pair { from: domain("fabrikam.com"), to: domain("sales.contoso.com") };
    assert!(matches!(side.outputs.pop(), Some(Output::PairAuthorized(said)) if said == pair));

    let key = key_of("it.fabrikam.com", "contoso.com");
    assert_eq!(side.send(&format!("{key}{MESSAGE}")), "");
    assert!(matches!(
        &side.outputs[..],
        [Output::AskPartner { from, to }] if from.as_str() == "it.fabrikam.com" && to.as_str() == "contoso.com"
    ));
    side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
    assert!(matches!(side.outputs[..], [Output::Verify(_), Output::Stanza(_)]), "{:?}", side.outputs);
    side.outputs.pop();
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    assert!(matches!(side.outputs.pop(), Some(Output::PairAuthorized(_))));
    assert_eq!(side.machine.pairs().len(), 3);

    for (entry, condition) in [("R/N/on", "policy-violation"), ("R/R/off", "")] {
        let written = side.send(&key_of("hr.fabrikam.com", "contoso.com"));
        assert_eq!(written, "");
        let written = side.verdict(PartnerVerdict::Allowed(terms(entry)));
        match condition {
            "" => assert_eq!(written, "", "its dialback is off"),
            expected => assert_eq!(error_condition(&written, "hr.fabrikam.com", "contoso.com"), expected),
        }
        side.refused();
    }
    side.send(&key_of("example.net", "contoso.com"));
    let refused = PartnerVerdict::Refused { why: Refusal::NotPartner, text: "no".to_owned() };
    let written = side.verdict(refused);
    assert_eq!(error_condition(&written, "example.net", "contoso.com"), "not-acceptable");
    assert_eq!(side.refused(), DialbackRefusal::Refused(Refusal::NotPartner));
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "and the stream lives");
}

/// The stream may be open for long, and the domain have proved itself by certificate since.
#[test]
fn sec_11_a_further_key_of_the_headers_domain_is_taken_on_the_terms_of_now() {
    let mut side = open();
    let key = key_of("fabrikam.com", "sales.contoso.com");
    assert_eq!(side.send(&key), "");
    let written = side.verdict(PartnerVerdict::Allowed(proved("N/N/on")));
    assert_eq!(error_condition(&written, "fabrikam.com", "sales.contoso.com"), "not-authorized");
    assert_eq!(side.refused(), DialbackRefusal::Downgrade);

    let mut side = In::on_tls(terms("R/O/on"), untrusted());
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    side.established();
    side.send(&key);
    let written = side.verdict(PartnerVerdict::Allowed(proved("R/O/on")));
    assert_eq!(error_condition(&written, "fabrikam.com", "sales.contoso.com"), "not-authorized");
    assert_eq!(side.refused(), DialbackRefusal::Downgrade);
    side.send(MESSAGE);
    assert!(matches!(side.outputs[..], [Output::Stanza(_)]), "the stream goes on for the first");
}

#[test]
fn db_13_a_caller_that_does_not_answer_costs_the_pair() {
    let mut side = open();
    side.send(&format!("{}{MESSAGE}", key_of("it.fabrikam.com", "contoso.com")));
    side.outputs.clear();
    let written = side.wait();
    assert_eq!(error_condition(&written, "it.fabrikam.com", "contoso.com"), "resource-constraint");
    assert!(matches!(
        side.outputs[..],
        [Output::DialbackRefused { why: DialbackRefusal::NoVerdict, .. }, Output::Stanza(_)]
    ));
    side.machine.partner_verdict(PartnerVerdict::Allowed(terms("N/N/on")), side.now);
    assert_eq!(side.written(), "", "too late");
    assert_eq!(side.machine.pairs().len(), 1);
}

#[test]
fn db_15_only_so_many_keys_of_a_stream_are_verified_at_a_time() {
    let mut side = In::on(terms("N/N/on"));
    for number in 0..=Inbound::VERIFYING {
        let from = format!("d{number}.fabrikam.com");
        let written = side.send(&key_of(&from, "contoso.com"));
        if number < Inbound::VERIFYING {
            side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
            side.take_request();
        } else {
            assert_eq!(error_condition(&written, &from, "contoso.com"), "resource-constraint");
            assert_eq!(side.refused(), DialbackRefusal::TooMany);
        }
    }
}

#[test]
fn db_15_a_stream_has_only_so_many_pairs() {
    let mut side = open();
    for number in 1..=Inbound::PAIRS {
        let from = format!("d{number}.fabrikam.com");
        let written = side.send(&key_of(&from, "contoso.com"));
        if number < Inbound::PAIRS {
            side.verdict(PartnerVerdict::Allowed(terms("N/N/on")));
            let request = side.take_request();
            side.verified(&request, VerifyOutcome::Valid);
            side.outputs.clear();
        } else {
            assert_eq!(error_condition(&written, &from, "contoso.com"), "resource-constraint");
        }
    }
    assert_eq!(side.machine.pairs().len(), Inbound::PAIRS);
}

#[test]
fn db_16_a_certificate_is_judged_for_the_domain_of_the_header_and_proves_no_other() {
    let mut facts = proof("fabrikam.com");
    facts.names = facts.names.iter().chain(&*proof("tailspin.com").names).cloned().collect();
    let mut side = In::on_tls(terms("R/O/on"), facts);
    side.send(&key_of("tailspin.com", "contoso.com"));
    // Roots and pins of the one partner may have made it good, and are not for the other.
    side.verdict(PartnerVerdict::Allowed(terms("R/O/on")));
    side.take_request();
    assert!(side.machine.pairs().is_empty());
    side.send(&key_of("northwind.com", "contoso.com"));
    side.verdict(PartnerVerdict::Allowed(proved("R/O/on")));
    assert_eq!(side.refused(), DialbackRefusal::Downgrade);
}

#[test]
fn db_16_what_the_domain_of_the_header_proved_before_is_not_asked_of_another() {
    let mut side = In::on_tls(proved("R/O/on"), proof("fabrikam.com"));
    side.send(&key_of("tailspin.com", "contoso.com"));
    side.verdict(PartnerVerdict::Allowed(terms("R/N/on")));
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    let Some(Output::Established(established)) = side.outputs.pop() else { panic!("not established") };
    assert_eq!(established.remote.as_str(), "tailspin.com");
    assert!(!established.by_certificate, "its own entry takes no certificates");
}

#[test]
fn db_17_a_result_counts_for_its_pair_only() {
    for (from, to, condition) in [
        ("a@it.fabrikam.com", "b@contoso.com", "invalid-from"),
        ("a@fabrikam.com", "b@sales.contoso.com", "host-unknown"),
        ("a@contoso.com", "b@contoso.com", "invalid-from"),
    ] {
        let mut side = open();
        let written = side.send(&format!("<message from='{from}' to='{to}'/>"));
        side.fault(&written, condition);
    }
}

#[test]
fn after_external_a_further_domain_may_come_by_dialback_if_its_entry_allows_it() {
    let mut side = In::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(AUTH);
    assert!(side.send(HEADER).contains("<dialback xmlns='urn:xmpp:features:dialback'>"));
    side.established();
    assert_eq!(side.send(&their_key()), VALID, "that pair has got it");
    assert!(side.outputs.is_empty());
    side.send(&key_of("it.fabrikam.com", "contoso.com"));
    side.verdict(PartnerVerdict::Allowed(terms("R/N/on")));
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    assert!(matches!(side.outputs.pop(), Some(Output::PairAuthorized(_))));
}

/// The domain of the header was told its limit; without one in the header, the key says whose limit it is.
#[test]
fn xe_15_the_size_of_stanzas_is_that_of_the_headers_domain_else_of_the_first_that_got_in() {
    const OLD: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
        xmlns:db='jabber:server:dialback'>";
    let sized = |limit| Terms { max_stanza: Some(limit), ..terms("N/N/on") };
    let message = |octets| {
        let (begin, end) = ("<message from='a@fabrikam.com' to='b@contoso.com'><body>", "</body></message>");
        format!("{begin}{}{end}", "x".repeat(octets - begin.len() - end.len()))
    };
    for (old, octets, taken) in
        [(false, 20_000, true), (false, 20_001, false), (true, 30_000, true), (true, 30_001, false)]
    {
        let mut side = match old {
            false => In::on(sized(20_000)),
            true => nameless(),
        };
        if old {
            side.send(OLD);
            side.send(&their_key());
            side.verdict(PartnerVerdict::Allowed(sized(30_000)));
        } else {
            side.send(&key_of("it.fabrikam.com", "contoso.com"));
            side.verdict(PartnerVerdict::Allowed(sized(30_000)));
            let request = side.take_request();
            side.verified(&request, VerifyOutcome::Valid);
            side.established();
            side.send(&their_key());
            side.verdict(PartnerVerdict::Allowed(sized(20_000)));
        }
        let request = side.take_request();
        side.verified(&request, VerifyOutcome::Valid);
        side.outputs.clear();
        side.send(&message(octets));
        assert_eq!(matches!(side.outputs[..], [Output::Stanza(_)]), taken, "{old} {octets}");
    }
}
