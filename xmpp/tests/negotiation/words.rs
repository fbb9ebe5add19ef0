//! What evidence says to people.

use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome};
use nuncio_xmpp::stream::{ChainStatus, Established, Output, PartnerVerdict, Refusal, Retry};

use crate::support::{
    ANSWER, AUTH, HEADER, In, Machine, OFFER_EXTERNAL, OFFER_TLS, Out, PROCEED, STARTTLS, Side, db, facts,
    proof, proved, secret, terms, their_key,
};

fn said<M: Machine>(side: &Side<M>) -> String {
    match side.outputs.iter().find(|output| matches!(output, Output::Closed(_))) {
        Some(Output::Closed(evidence)) => evidence.to_string(),
        _ => panic!("{:?}", side.outputs),
    }
}

#[test]
fn no_starttls() {
    let mut side = Out::fresh();
    side.send(ANSWER);
    side.send("<stream:features/>");
    side.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert_eq!(
        said(&side),
        "partner fabrikam.com: offers no STARTTLS and refused it when asked; TLS is required for this partner; ask \
         them to enable encryption for s2s"
    );
}

#[test]
fn certificates() {
    let mut side = Out::asking();
    side.send(PROCEED);
    side.tls(facts(ChainStatus::Trusted, "*.example.net"));
    assert_eq!(
        said(&side),
        "partner fabrikam.com: its certificate is valid but not for fabrikam.com; it is for *.example.net; check \
         the domain of the partner entry and its DNS records, or ask them for a certificate with that name"
    );

    let mut side =
        In::secure(facts(ChainStatus::Untrusted("it expired on 2026-01-01".into()), "fabrikam.com"));
    side.send("</stream:stream>");
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: its certificate is not acceptable: it expired on 2026-01-01; it is for \
         fabrikam.com; ask them to renew it, or add the root that signed it"
    );
}

#[test]
fn no_external() {
    let mut side = Out::secure();
    side.send(ANSWER);
    side.send("<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    let said = said(&side);
    assert!(said.starts_with("partner fabrikam.com: does not offer to accept our certificate"), "{said}");
    assert!(said.contains("server dialback"), "{said}");
}

#[test]
fn a_certificate_of_ours_that_they_refuse() {
    let mut side = Out::authenticating();
    side.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>no</text></failure>");
    let said = said(&side);
    assert!(said.starts_with(
        "partner fabrikam.com: refused our certificate with not-authorized, saying “no”; check"
    ));
    assert!(said.ends_with("set sasl to \"optional\", with dialback on"), "{said}");
}

#[test]
fn a_stranger() {
    let mut side = In::fresh();
    side.send(HEADER);
    side.verdict(PartnerVerdict::Refused { why: Refusal::NotPartner, text: String::new() });
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: no such partner; refused; add it as a partner to let it in"
    );
}

#[test]
fn sasl_03_whom_a_peer_wanted_to_be() {
    let mut side = In::secure(proof("fabrikam.com"));
    side.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>ZXhhbXBsZS5uZXQ=</auth>");
    side.machine.disconnected("");
    side.written();
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: the connection broke while we waited for authentication; we refused its SASL \
         EXTERNAL with invalid-authzid: it wanted to be “example.net”, which is not this stream's"
    );
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth></stream:stream>",
    );
    assert!(said(&side).ends_with("; we refused its try at SASL with invalid-mechanism"), "{}", said(&side));
}

#[test]
fn dialback_we_asked_for() {
    let back = "from='fabrikam.com' to='contoso.com'";
    let mut side = Out::asking_in_clear();
    let error = "<error type='cancel'><remote-connection-failed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    side.send(&db("result", &format!("{back} type='error'"), error));
    assert_eq!(
        said(&side),
        "partner fabrikam.com: answered our dialback request with remote-connection-failed; they do not get through to \
         us to verify our key: check that they can connect to the hosts our SRV records name"
    );
    let mut side =
        Out::on_tls(terms("R/O/on"), facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com"));
    side.send(OFFER_EXTERNAL);
    assert_eq!(
        said(&side),
        "partner fabrikam.com: does not offer server dialback, the only way that is left; it offers “EXTERNAL”; ask them \
         to switch dialback on, or to take our certificate; its certificate is not acceptable: self-signed"
    );
}

#[test]
fn dialback_they_asked_for() {
    let mut side =
        In::on_tls(terms("R/R/off"), facts(ChainStatus::Untrusted("self-signed".into()), "fabrikam.com"));
    side.send(&their_key());
    side.wait();
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: its certificate is not acceptable: self-signed; it is for fabrikam.com; ask \
         them to renew it, or add the root that signed it; it tried server dialback: it is off for this partner and was \
         ignored; switch dialback on in its entry to let it in that way"
    );
    let mut side = In::on(terms("N/N/on"));
    side.send(&their_key());
    let request = side.take_request();
    let failed = VerifyOutcome::Failed(DialbackCondition::RemoteServerNotFound);
    side.verified(&request, failed);
    side.send("</stream:stream>");
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: tried server dialback: the key could not be verified with the server of that \
         domain (remote-server-not-found); check their SRV records and that we can connect there"
    );
    let mut side = In::on_tls(proved("R/O/on"), facts(ChainStatus::Absent, "fabrikam.com"));
    side.send(&their_key());
    side.send("</stream:stream>");
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: proved its domain by certificate before and now could only use dialback; \
         refused; somebody may be posing as this partner: if its administrator says, by other means, that they gave their \
         certificate up, run nuncio partner allow-dialback for the domain; \
         it showed no certificate"
    );
}

#[test]
fn keys_never_show_in_evidence_or_debug_output() {
    let mut side = In::on(terms("N/N/on"));
    side.send(&db("result", "from='fabrikam.com' to='contoso.com'", "s3cr3tk3y"));
    assert!(!format!("{:?}", side.outputs).contains("s3cr3tk3y"));
    assert!(!format!("{:?}", side.machine).contains("s3cr3tk3y"));
}

#[test]
fn sec_35_a_peer_cannot_write_into_our_log() {
    let mut side = Out::open();
    side.send(
        "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>no\nINFO all is well \u{9b}31m \u{202e}</text>\
         </stream:error>",
    );
    let said = said(&side);
    assert!(!said.contains(|character: char| character.is_control() || character == '\u{202e}'), "{said:?}");
    assert!(said.contains("ended the stream with policy-violation, saying “no INFO all is well"), "{said}");

    let mut side = In::fresh();
    side.send(&HEADER.replace("contoso.com", "contoso.com&#xA;INFO"));
    assert!(!self::said(&side).contains('\n'));
    let mut side = In::open();
    side.send("<x xmlns='a&#xA;b'/>");
    assert!(!self::said(&side).contains('\n'));
}

#[test]
fn sec_35_a_peers_words_cannot_leave_their_quotes() {
    let mut side = Out::open();
    side.send(
        "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>no”; set tls to “optional</text></stream:error>",
    );
    let said = said(&side);
    assert!(said.contains("saying “no\"; set tls to \"optional”;"), "{said}");
}

/// Our transport and our TLS layer say what they saw and what to do; nobody at the other end wrote that.
#[test]
fn our_own_words_are_not_quoted_and_not_cut() {
    let why = format!("the peer ended TLS with the alert “unknown_ca”: {} check our chain", "x".repeat(300));
    let mut side = Out::asking();
    side.send(PROCEED);
    side.machine.tls_failed(&why);
    side.written();
    assert_eq!(said(&side), format!("partner fabrikam.com: the TLS handshake failed: {why}"));

    let mut side = In::open();
    side.machine.disconnected(&why);
    side.written();
    assert_eq!(said(&side), format!("partner fabrikam.com: the connection broke: {why}"));
}

#[test]
fn every_end_has_words() {
    let mut side = In::handshaken(proof("fabrikam.com"));
    side.wait();
    assert_eq!(
        said(&side),
        "a peer calling itself fabrikam.com: no answer in time while we waited for the stream header after TLS"
    );
    let mut side = In::open();
    side.machine.disconnected("");
    side.written();
    assert_eq!(said(&side), "partner fabrikam.com: the connection broke");
    let mut side = In::fresh();
    side.machine.disconnected("");
    side.written();
    assert_eq!(
        said(&side),
        "a peer that did not say who it is: the connection broke while we waited for the stream header"
    );
    let mut side = In::clear();
    side.send(&format!("{STARTTLS}x"));
    assert!(said(&side).contains("in clear where TLS had to begin"));
}

/// The partner is let in by the key it gave.
fn let_in(mut side: In) -> Established {
    side.send(&their_key());
    let request = side.take_request();
    side.verified(&request, VerifyOutcome::Valid);
    opened(side)
}

fn opened<M: Machine>(mut side: Side<M>) -> Established {
    match side.outputs.pop() {
        Some(Output::Established(established)) => *established,
        other => panic!("not established: {other:?}"),
    }
}

#[test]
fn why_a_partner_came_in_by_less_than_external() {
    let expired = facts(ChainStatus::Untrusted("it expired on 2026-01-01".into()), "fabrikam.com");
    assert_eq!(
        let_in(In::on_tls(terms("R/O/on"), expired.clone())).how().to_string(),
        "dialback over TLS, EXTERNAL not used: its certificate is not acceptable: it expired on 2026-01-01"
    );
    // The entry allows nothing better.
    assert_eq!(let_in(In::on_tls(terms("R/N/on"), expired)).how().to_string(), "dialback over TLS");
    assert_eq!(let_in(In::on(terms("N/N/on"))).how().to_string(), "dialback over plain TCP");
    assert_eq!(
        let_in(In::on(terms("O/O/on"))).how().to_string(),
        "dialback over plain TCP, TLS not used: we offered STARTTLS, and it went on without; ask them to enable encryption \
         for s2s"
    );
    // Its certificate says enough, so its key is taken at its word (DB-16).
    let mut side = In::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(&their_key());
    assert_eq!(
        opened(side).how().to_string(),
        "dialback over TLS, EXTERNAL not used: its certificate is good and we offered to accept it (SASL EXTERNAL), but it \
         chose dialback; ask them whether their server can do EXTERNAL"
    );
    let mut side = In::secure(proof("fabrikam.com"));
    side.send(AUTH);
    side.send(HEADER);
    assert_eq!(opened(side).how().to_string(), "SASL EXTERNAL over TLS");
}

#[test]
fn why_a_partner_came_in_by_less_is_said_however_much_it_made_noted_before() {
    let mut side = In::on(terms("O/O/on"));
    let key = |from: &str, to: &str, text: &str| db("result", &format!("from='{from}' to='{to}'"), text);
    side.send(&key("fabrikam.com", "example.net", "key"));
    side.send(&key("contoso.com", "contoso.com", "key"));
    side.send(&key("fabrikam.com", "contoso.com", ""));
    for condition in DialbackCondition::ALL.iter().take(8) {
        side.send(&their_key());
        let asked = side.outputs.iter().rposition(|output| matches!(output, Output::Verify(_))).unwrap();
        let Output::Verify(request) = side.outputs.swap_remove(asked) else { panic!("asked") };
        side.verified(&request, VerifyOutcome::Failed(*condition));
    }
    let established = let_in(side);
    assert!(
        established.how().to_string().contains("TLS not used: we offered STARTTLS"),
        "{}",
        established.how()
    );
    assert!(established.other_notes().count() > 0, "the rest is told apart");
}

#[test]
fn sec_13_a_name_that_could_be_taken_for_another_is_written_both_ways() {
    // With a Cyrillic а.
    let mut side = Out::with(|config| config.remote = crate::support::domain("f\u{430}brikam.com"));
    side.machine.disconnected("");
    side.written();
    let words = said(&side);
    assert!(words.starts_with("partner f\u{430}brikam.com (xn--fbrikam-2fg.com): "), "{words}");
}

#[test]
fn why_we_proved_ourselves_by_less_than_external() {
    let valid = db("result", "from='fabrikam.com' to='contoso.com' type='valid'", "");
    let offer = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>";
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(offer);
    side.send(&valid);
    assert_eq!(
        opened(side).how().to_string(),
        "dialback over TLS, EXTERNAL not used: it did not offer to accept our certificate (SASL EXTERNAL)"
    );

    let both = format!(
        "{}{}",
        OFFER_EXTERNAL.replace("</stream:features>", ""),
        &offer["<stream:features>".len()..]
    );
    let mut side = Out::on_tls(terms("R/O/on"), proof("fabrikam.com"));
    side.send(&both);
    side.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>unknown CA</text></failure>");
    side.send(&valid);
    assert_eq!(
        opened(side).how().to_string(),
        "dialback over TLS, EXTERNAL not used: it refused our certificate with not-authorized, saying “unknown CA”"
    );

    let mut side = Out::with(|config| {
        config.terms = terms("R/O/on");
        config.dialback = Some(secret());
        config.retry = Some(Retry::WithoutExternal);
    });
    side.send(ANSWER);
    side.send(OFFER_TLS);
    side.send(PROCEED);
    side.tls(proof("fabrikam.com"));
    side.send(ANSWER);
    side.send(&both);
    side.send(&valid);
    assert_eq!(
        opened(side).how().to_string(),
        "dialback over TLS, EXTERNAL not used: it offered EXTERNAL and refused our certificate on the connection before this \
         one"
    );
}
