//! SIP URI ⇄ JID: the published tables, what is refused, and the laws of the round trip.

use nuncio_sip::Uri;
use nuncio_translate::address::{
    Contact, JidRefusal, SipUser, UriRefusal, full_jid, iri_from_uri, resource, uri_from_iri,
};
use nuncio_xmpp::{BareJid, Jid};
use proptest::prelude::*;

fn to_jid(uri: &str) -> Result<String, UriRefusal> {
    let uri = Uri::parse(uri).unwrap_or_else(|error| panic!("{uri}: {error}"));
    let contact = Contact::from_uri(&uri)?;
    Ok(full_jid(contact.jid(), resource(&uri).as_deref()).to_string())
}

fn to_uri(jid: &str) -> Result<String, JidRefusal> {
    let jid = Jid::parse(jid).unwrap_or_else(|error| panic!("{jid}: {error}"));
    Ok(Contact::from_jid(&jid.bare())?.uri(jid.resource()).to_string())
}

/// Vectors A2–A13, A15 of the address tables (RFC 7247 §6.4 and §6.5, XEP-0106 §5.3): both ways.
const BOTH_WAYS: [(&str, &str); 21] = [
    ("sip:o'malley@sip.example", r"o\27malley@sip.example"),
    ("sip:foo@sip.example;gr=bar", "foo@sip.example/bar"),
    ("sip:m&m@xmpp.example", r"m\26m@xmpp.example"),
    ("sip:tsch%C3%BCss@xmpp.example", "tschüss@xmpp.example"),
    ("sip:baz@xmpp.example;gr=qux", "baz@xmpp.example/qux"),
    ("sip:a/b@d", r"a\2fb@d"),
    ("sip:user%40other.example@d", r"user\40other.example@d"),
    ("sip:space%20cadet@d", r"space\20cadet@d"),
    ("sip:a%5C27b@d", r"a\5c27b@d"),
    ("sip:a%5Cb@d", r"a\b@d"),
    ("sip:a%23b%25c%5Bd%5D@d", "a#b%c[d]@d"),
    ("sip:%22q%22%3Ax%3Cy%3E@d", r"\22q\22\3ax\3cy\3e@d"),
    (
        "sip:here's_a_wild_&_/cr%25zy/_address@example.com",
        r"here\27s_a_wild_\26_\2fcr%zy\2f_address@example.com",
    ),
    // ADR-14: no sequence of XEP-0106.
    ("sip:foo%5C41r@d", r"foo\41r@d"),
    // ADR-16, XEP-0106 §5.5.
    ("sip:%5C3and%5C2is%5C5cool@example.com", r"\5c3and\2is\5c5cool@example.com"),
    // ADR-10, telephone numbers.
    ("sip:+14255550100@d", "+14255550100@d"),
    // ADR-08.
    ("sip:u@xn--bcher-kva.example", "u@bücher.example"),
    // ADR-12: nothing in a resource can become another parameter.
    ("sip:u@d;gr=x%3Btransport%3Dudp", "u@d/x;transport=udp"),
    ("sip:u@d;gr=a%20b%22%3F%40%3C%3E%2C%C3%A9", "u@d/a b\"?@<>,é"),
    ("sip:u@d;gr=a/b:c&d+e$[f]", "u@d/a/b:c&d+e$[f]"),
    // Everything Table 1 of RFC 7247 allows in both.
    ("sip:!$()*+,-.;=?_~@d", "!$()*+,-.;=?_~@d"),
];

#[test]
fn tv_01_a1_to_a15_both_ways() {
    for (uri, jid) in BOTH_WAYS {
        assert_eq!(to_jid(uri).as_deref(), Ok(jid), "{uri}");
        assert_eq!(to_uri(jid).as_deref(), Ok(uri), "{jid}");
    }
}

#[test]
fn adr_one_way_what_sip_may_write_otherwise() {
    for (uri, jid) in [
        // A1.
        ("sip:f%C3%BC@sip.example", "fü@sip.example"),
        // A14, DEC-05.
        ("sip:ALICE@Example.COM", "alice@example.com"),
        ("SIP:%41lice@example.com", "alice@example.com"),
        // XEP-0106 §5.3, percent signs escaped as a URI must.
        (
            "sip:here%27s_a_wild_%26_%2Fcr%25zy%2F_address@example.com",
            r"here\27s_a_wild_\26_\2fcr%zy\2f_address@example.com",
        ),
        // ADR-10, ADR-19: parameters, password, headers and the usual ports have no part in the address.
        ("sip:+14255550100@d;user=phone", "+14255550100@d"),
        ("sip:alice:secret@example.com;transport=tls?Subject=x", "alice@example.com"),
        ("sip:alice@example.com:5061", "alice@example.com"),
        ("sip:alice@example.com.", "alice@example.com"),
        // ADR-11: a temporary GRUU, or one that cannot be read, is no resource.
        ("sip:alice@d;gr", "alice@d"),
        ("sip:alice@d;gr=", "alice@d"),
        ("sip:alice@d;gr=%00", "alice@d"),
        ("sip:alice@d;opaque=user:epid:abc;gruu", "alice@d"),
        // Folding comes before escaping: neither the case of a digit nor a full-width sign makes a sequence.
        ("sip:a%5C2Fb@d", r"a\5c2fb@d"),
        ("sip:a%EF%BC%BC2fb@d", r"a\5c2fb@d"),
        ("sip:a%EF%BC%8Fb@d", r"a\2fb@d"),
        // Raw UTF-8 and backslashes, as front ends write them.
        ("sip:müller@d", "müller@d"),
        (r"sip:a\27b@d", r"a\5c27b@d"),
        // Decomposed, with capitals.
        ("sip:MU%CC%88ller@d", "müller@d"),
    ] {
        assert_eq!(to_jid(uri).as_deref(), Ok(jid), "{uri}");
    }
}

#[test]
fn a16_what_names_nobody_is_refused_with_its_status() {
    let cases: [(&str, u16); 18] = [
        ("sip:%00a@d", 400),
        ("sip:a%0D%0Ab@d", 400),
        ("sip:%C3%28@d", 400),
        ("sip:%C2%85@d", 400),
        ("sip:%20a@d", 404),
        ("sip:a%20@d", 404),
        ("sip:%20@d", 404),
        ("sip:d", 404),
        ("sip:a@192.0.2.1", 404),
        ("sip:a@192.0.2.1.", 404),
        ("sip:a@[2001:db8::1]", 404),
        ("sip:a@example.com:8080", 404),
        ("sip:a@under_score.example", 404),
        ("sip:%F0%9F%98%80@d", 404), // a symbol: PRECIS has no room for it
        ("tel:+14255550100", 416),
        ("im:juliet@example.com", 416),
        ("pres:juliet@example.com", 416),
        ("sips:juliet@example.com", 480),
    ];
    for (uri, status) in cases {
        let refusal = to_jid(uri).expect_err(uri);
        assert_eq!(refusal.status(), status, "{uri}");
        assert!(!refusal.reason().is_empty());
    }
    for uri in ["sip:@d", "sip:a%zy@d", "sip:a@b@d"] {
        assert!(Uri::parse(uri).is_err(), "{uri}");
    }
}

#[test]
fn adr_17_a_localpart_that_would_be_too_long_is_refused() {
    let at_limit = format!("sip:{}@d", "a".repeat(1023));
    assert!(to_jid(&at_limit).is_ok());
    assert_eq!(to_jid(&format!("sip:{}@d", "a".repeat(1024))), Err(UriRefusal::User));
    assert_eq!(to_jid(&format!("sip:{}@d", "'".repeat(342))), Err(UriRefusal::User));
}

#[test]
fn arc_05_only_sips_recipients_are_refused_and_the_answer_warns() {
    let uri = Uri::parse("sips:romeo@contoso.com").unwrap();
    assert_eq!(Contact::from_uri(&uri), Err(UriRefusal::Secure));
    assert_eq!(UriRefusal::Secure.warning(), Some((380, "SIPS Not Allowed")));
    assert_eq!(UriRefusal::NoUser.warning(), None);
    assert_eq!(SipUser::from_uri(&uri).unwrap().uri(), "sip:romeo@contoso.com");
}

#[test]
fn adr_18_a_combining_mark_behind_an_escaped_character_is_refused() {
    // `>` + U+0301 would be `\3e` + U+0301, and NFC makes `\3é` of that: another user.
    assert_eq!(to_jid("sip:a%3E%CC%81@d"), Err(UriRefusal::User));
    assert_eq!(to_uri(r"a\3é@d").unwrap(), "sip:a%5C3%C3%A9@d");
}

#[test]
fn adr_23_jids_with_a_twin_on_the_sip_side_are_refused() {
    for jid in [r"a\5cb@d", r"\5c@d", r"x\5c41@d"] {
        assert_eq!(to_uri(jid), Err(JidRefusal::Ambiguous), "{jid}");
        let bare = BareJid::parse(jid).unwrap();
        assert_eq!(SipUser::from_jid(&bare), Err(JidRefusal::Ambiguous), "{jid}");
    }
    assert_eq!(to_uri("d"), Err(JidRefusal::NoLocalpart));
}

#[test]
fn exs_05_addresses_of_errors_are_translated_or_left_out() {
    assert_eq!(
        uri_from_iri(" xmpp:romeo@afterlife.example.net\n").as_deref(),
        Some("sip:romeo@afterlife.example.net")
    );
    assert_eq!(uri_from_iri("xmpp:o%5C27malley@d/x%20y?message").as_deref(), Some("sip:o'malley@d;gr=x%20y"));
    for iri in
        ["", "xmpp:", "xmpp:d", "http://evil.example", "xmpp://me@d/you@d", "xmpp:a%00@d", "romeo@d", "é"]
    {
        assert_eq!(uri_from_iri(iri), None, "{iri}");
    }
    let iri = |uri| iri_from_uri(&Uri::parse(uri).unwrap());
    assert_eq!(iri("sip:o'malley@d;transport=tls").as_deref(), Some("xmpp:o%5C27malley@d"));
    assert_eq!(iri("sip:f%C3%BC%23x@xn--bcher-kva.example").as_deref(), Some("xmpp:fü%23x@bücher.example"));
    assert_eq!(iri("tel:+1"), None);
}

/// What people and machines put into user parts, hostile things included.
fn user_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => r"[a-zA-Z0-9._'&/\\%#\[\]^{|}`!~*()+,;=?$ @:<>-]{1,20}",
        2 => r"(\\[0-9a-fA-F]{2}|[a-c\\2350é́ ／＼]){1,12}",
        1 => r"\PC{1,12}",
    ]
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Debug builds are some thirty times slower; the law is the same.
        failure_persistence: None,
        cases: if cfg!(debug_assertions) { 5_000 } else { 200_000 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn adr_23_every_sip_user_that_crosses_comes_back(text in user_text()) {
        let uri = format!("sip:{}@contoso.com", escaped(&text));
        let Ok(user) = SipUser::from_uri(&Uri::parse(&uri).unwrap()) else { return Ok(()) };
        // Over: a JID that XMPP takes as it is.
        let jid = user.jid().as_str();
        let parsed_again = BareJid::parse(jid).unwrap();
        prop_assert_eq!(parsed_again.as_str(), jid);
        prop_assert_eq!(&SipUser::from_jid(user.jid()).unwrap(), &user);
        // And back: the same user, and the same text but for case, width and composition.
        let back = user.uri();
        let parsed = Uri::parse(&back).unwrap();
        prop_assert_eq!(&SipUser::from_uri(&parsed).unwrap(), &user);
        if text.is_ascii() {
            let decoded = nuncio_sip::escape::decode_user(parsed.user().unwrap()).unwrap().into_owned();
            prop_assert_eq!(decoded, text.to_ascii_lowercase());
        }
    }

    #[test]
    fn ascii_users_with_something_inside_all_cross(text in r"[!-~]([ -~]{0,18}[!-~])?") {
        let uri = format!("sip:{}@contoso.com", escaped(&text));
        prop_assert!(SipUser::from_uri(&Uri::parse(&uri).unwrap()).is_ok());
    }

    #[test]
    fn every_jid_that_crosses_comes_back(local in r"(\\[2-5][0-9a-f]|[a-z0-9\\#%é.]){1,12}", gr in r"\PC{0,12}") {
        let Ok(jid) = Jid::parse(&format!("{local}@fabrikam.com/{gr}")) else { return Ok(()) };
        // A few resources turn under normalisation into what a resource may not be (U+0387 → U+00B7); XMPP itself could
        // not read them again.
        prop_assume!(Jid::parse(jid.as_str()).as_ref() == Ok(&jid));
        let Ok(contact) = Contact::from_jid(&jid.bare()) else { return Ok(()) };
        let text = contact.uri(jid.resource());
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!(uri.params().iter().count(), 1, "a resource makes one parameter");
        let back = Contact::from_uri(&uri).unwrap();
        prop_assert_eq!(full_jid(back.jid(), resource(&uri).as_deref()), jid);
    }

    #[test]
    fn different_sip_users_are_different_contacts(one in user_text(), other in user_text()) {
        let user = |text: &str| SipUser::from_uri(&Uri::parse(&format!("sip:{}@d", escaped(text))).unwrap()).ok();
        if let (Some(a), Some(b)) = (user(&one), user(&other)) && one.is_ascii() && other.is_ascii() {
            prop_assert_eq!(a == b, one.eq_ignore_ascii_case(&other));
        }
    }
}
