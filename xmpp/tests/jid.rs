//! Addresses: the tables of RFC 7622, lengths, escaped spaces, domains, and the crate `jid` as an oracle.

use nuncio_xmpp::jid::{JidProblem, MAX_PART};
use nuncio_xmpp::{BareJid, Domain, Jid, JidError, JidPart};
use proptest::prelude::*;

fn parts(jid: &Jid) -> (Option<&str>, &str, Option<&str>) {
    (jid.local(), jid.domain(), jid.resource())
}

fn error(part: JidPart, problem: JidProblem) -> Result<Jid, JidError> {
    Err(JidError { part, problem })
}

#[test]
fn tv_29_adr_17_legal_addresses_of_rfc_7622() {
    type Case<'a> = (u8, &'a str, Option<&'a str>, &'a str, Option<&'a str>);
    let table: &[Case<'_>] = &[
        (1, "juliet@example.com", Some("juliet"), "example.com", None),
        (2, "juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
        (3, "juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
        (4, "juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
        (5, r"foo\20bar@example.com", Some(r"foo\20bar"), "example.com", None),
        (6, "fussball@example.com", Some("fussball"), "example.com", None),
        (7, "fu\u{df}ball@example.com", Some("fu\u{df}ball"), "example.com", None),
        (8, "\u{3c0}@example.com", Some("\u{3c0}"), "example.com", None),
        // Capital sigma folds to the small one, and to nothing else.
        (9, "\u{3a3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        (10, "\u{3c3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
        (11, "\u{3c2}@example.com/foo", Some("\u{3c2}"), "example.com", Some("foo")),
        (12, "king@example.com/\u{265a}", Some("king"), "example.com", Some("\u{265a}")),
        (13, "example.com", None, "example.com", None),
        (14, "example.com/foobar", None, "example.com", Some("foobar")),
        (15, "a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
    ];
    for (number, text, local, domain, resource) in table {
        let jid = Jid::parse(text).unwrap_or_else(|error| panic!("example {number}: {error}"));
        assert_eq!(parts(&jid), (*local, *domain, *resource), "example {number}");
        assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "example {number} is stable");
        assert_eq!(jid.is_bare(), resource.is_none());
        assert_eq!(jid.bare().as_str(), jid.bare_str());
    }
}

#[test]
fn tv_29_adr_17_illegal_strings_of_rfc_7622_and_which_part_is_bad() {
    for (number, text, expected) in [
        (16, "\"juliet\"@example.com", error(JidPart::Local, JidProblem::Character)),
        (17, "foo bar@example.com", error(JidPart::Local, JidProblem::Character)),
        (18, "juliet@example.com/ foo", error(JidPart::Resource, JidProblem::Character)),
        (19, "@example.com/", error(JidPart::Local, JidProblem::Empty)),
        (20, "henry\u{2163}@example.com", error(JidPart::Local, JidProblem::Character)),
        (21, "\u{265a}@example.com", error(JidPart::Local, JidProblem::Character)),
        (22, "juliet@", error(JidPart::Domain, JidProblem::Empty)),
        (23, "/foobar", error(JidPart::Domain, JidProblem::Empty)),
        (0, "", error(JidPart::Domain, JidProblem::Empty)),
        (0, "juliet@example.com/", error(JidPart::Resource, JidProblem::Empty)),
        (0, "a@b@example.com", error(JidPart::Domain, JidProblem::Character)),
        (0, "juliet@example.com/a\u{7}", error(JidPart::Resource, JidProblem::Character)),
        (0, "juliet@example.com/a\u{200b}", error(JidPart::Resource, JidProblem::Character)),
        // Allowed as it is, but not as what it is normalised to.
        (0, "juliet@example.com/x\u{387}y", error(JidPart::Resource, JidProblem::Character)),
        (0, "jul\0iet@example.com", error(JidPart::Local, JidProblem::Character)),
    ] {
        assert_eq!(Jid::parse(text), expected, "example {number}: {text}");
    }
    for excluded in ['"', '&', '\'', ':', '<', '>', ' ', '\u{7f}'] {
        let text = format!("a{excluded}b@example.com");
        assert_eq!(Jid::parse(&text), error(JidPart::Local, JidProblem::Character), "{text}");
    }
    // The full-width forms map to excluded characters.
    for excluded in ['\u{ff20}', '\u{ff0f}', '\u{ff1c}', '\u{ff1a}', '\u{ff06}', '\u{ff02}', '\u{ff07}'] {
        let text = format!("a{excluded}b@example.com");
        assert_eq!(Jid::parse(&text), error(JidPart::Local, JidProblem::Character), "{text}");
    }
}

#[test]
fn adr_17_parts_have_one_to_1023_octets() {
    let fits = "a".repeat(MAX_PART);
    let long = "a".repeat(MAX_PART + 1);
    assert!(Jid::parse(&format!("{fits}@example.com/{fits}")).is_ok());
    assert_eq!(Jid::parse(&format!("{long}@example.com")), error(JidPart::Local, JidProblem::TooLong));
    assert_eq!(Jid::parse(&format!("a@example.com/{long}")), error(JidPart::Resource, JidProblem::TooLong));
    // Counted after normalisation and in octets: 341 times three is 1023.
    let three = "\u{4e00}".repeat(341);
    assert!(Jid::parse(&format!("{three}@example.com/{three}")).is_ok());
    assert_eq!(Jid::parse(&format!("{three}a@example.com")), error(JidPart::Local, JidProblem::TooLong));
    assert_eq!(Jid::parse(&format!("a@example.com/{three}a")), error(JidPart::Resource, JidProblem::TooLong));
}

#[test]
fn adr_15_an_escaped_space_is_never_first_or_last() {
    for bad in [r"\20a@example.com", r"a\20@example.com", r"\20@example.com", r"\20ü@example.com"] {
        assert_eq!(Jid::parse(bad), error(JidPart::Local, JidProblem::OuterSpace), "{bad}");
    }
    for good in [r"a\20b@example.com", r"\2@example.com", r"\5c20@example.com", r"a\200b@example.com"] {
        assert_eq!(Jid::parse(good).map(|jid| jid.to_string()).as_deref(), Ok(good));
    }
}

#[test]
fn addresses_are_normalised() {
    for (text, normal) in [
        ("Romeo@Example.NET/Orchard", "romeo@example.net/Orchard"),
        ("romeo@example.net./x", "romeo@example.net/x"),
        ("TSCHÜSS@BÜCHER.example", "tschüss@bücher.example"),
        ("u\u{308}@example.net", "\u{fc}@example.net"),
        ("\u{ff41}@example.net", "a@example.net"),
        ("a@example.net/u\u{308}", "a@example.net/\u{fc}"),
        ("a@example.net/x\u{a0}y\u{3000}", "a@example.net/x y "),
        ("a@example.net/😀", "a@example.net/😀"),
        ("a@example.net/\u{2163}", "a@example.net/\u{2163}"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@XN--BCHER-KVA.example", "a@bücher.example"),
    ] {
        assert_eq!(Jid::parse(text).map(|jid| jid.to_string()).as_deref(), Ok(normal), "{text}");
    }
}

#[test]
fn adr_08_domains_stand_as_u_labels_and_leave_as_a_labels() {
    for (text, unicode, ascii) in [
        ("Example.COM", "example.com", "example.com"),
        ("example.com.", "example.com", "example.com"),
        ("localhost", "localhost", "localhost"),
        ("bücher.example", "bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.EXAMPLE", "bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "straße.example", "xn--strae-oqa.example"),
        ("пример.example", "пример.example", "xn--e1afmkfd.example"),
        ("例え。example", "例え.example", "xn--r8jz45g.example"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("[2001:DB8::0:1]", "[2001:db8::1]", "[2001:db8::1]"),
        ("3com.example", "3com.example", "3com.example"),
        ("a--b.example", "a--b.example", "a--b.example"),
    ] {
        let domain = Domain::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((domain.as_str(), &*domain.to_ascii()), (unicode, ascii), "{text}");
        assert_eq!(Domain::parse(&domain.to_ascii()).as_ref(), Ok(&domain), "{text} back from A-labels");
    }
    assert!(Domain::parse("192.0.2.1").is_ok_and(|domain| domain.is_address_literal()));
    assert!(Domain::parse("[::1]").is_ok_and(|domain| domain.is_address_literal()));
    assert!(!Domain::parse("example.com").is_ok_and(|domain| domain.is_address_literal()));
}

#[test]
fn domains_that_are_none() {
    for (text, problem) in [
        ("", JidProblem::Empty),
        (".", JidProblem::Empty),
        ("..", JidProblem::Empty),
        (".example", JidProblem::Empty),
        ("a..example", JidProblem::Empty),
        ("example..", JidProblem::Empty),
        ("-a.example", JidProblem::Character),
        ("a-.example", JidProblem::Character),
        ("a_b.example", JidProblem::Character),
        ("a b.example", JidProblem::Character),
        ("exa\nmple", JidProblem::Character),
        ("a:5269", JidProblem::Character),
        ("a%2e.example", JidProblem::Character),
        ("☃.example", JidProblem::Character),
        ("😀.example", JidProblem::Character),
        ("xn--n3h.example", JidProblem::Character),
        ("xn--.example", JidProblem::Character),
        ("xn--a.example", JidProblem::Character),
        ("xn--bcher-kvz9.example", JidProblem::Character),
        ("ab--cd.example", JidProblem::Character),
        ("[::1", JidProblem::Character),
        ("[example]", JidProblem::Character),
        ("[]", JidProblem::Character),
    ] {
        assert_eq!(Domain::parse(text), Err(JidError { part: JidPart::Domain, problem }), "{text:?}");
    }
    let label = |length: usize| "a".repeat(length);
    assert!(Domain::parse(&format!("{}.example", label(63))).is_ok());
    assert!(
        Domain::parse(&format!("{}.example", label(64))).is_err_and(|e| e.problem == JidProblem::TooLong)
    );
    let long = |length: usize| format!("{}.{}.{}.{}", label(63), label(63), label(63), label(length));
    assert_eq!(long(61).len(), 253);
    assert!(Domain::parse(&long(61)).is_ok());
    assert!(Domain::parse(&long(62)).is_err_and(|e| e.problem == JidProblem::TooLong));
}

#[test]
fn parts_put_together_are_the_address() {
    let domain = Domain::parse("example.com").expect("a domain");
    let bare = BareJid::new(Some("Romeo"), &domain).expect("an address");
    assert_eq!(
        (bare.as_str(), bare.local(), bare.domain()),
        ("romeo@example.com", Some("romeo"), "example.com")
    );
    assert_eq!(BareJid::parse("ROMEO@example.com"), Ok(bare.clone()));
    let full = bare.with_resource("a/b").expect("an address");
    assert_eq!(parts(&full), (Some("romeo"), "example.com", Some("a/b")));
    assert_eq!(full.bare(), bare);
    assert_eq!((full.to_domain(), bare.to_domain()), (domain.clone(), domain.clone()));
    let map = std::collections::HashMap::from([(domain.clone(), 1)]);
    assert_eq!(map.get(full.domain()), Some(&1));
    assert_eq!(Jid::from(domain.clone()), Jid::parse("example.com").expect("an address"));
    assert!(BareJid::new(Some(""), &domain).is_err());
    assert!(BareJid::parse("a@b/c").is_err_and(|error| error.part == JidPart::Resource));
}

#[test]
fn errors_speak_to_people() {
    let said = |text: &str| Jid::parse(text).expect_err(text).to_string();
    assert_eq!(said("a b@c"), "the local part of the address holds a character that is not allowed there");
    assert_eq!(said("a@"), "the domain of the address is empty");
}

/// Where the crate `jid` (stringprep, RFC 6122) and we (PRECIS, RFC 7622) are known to differ, and why.
#[test]
fn known_differences_to_the_oracle() {
    let verdicts = |text: &str| {
        let ours = Jid::parse(text).ok().map(|jid| jid.to_string());
        let theirs = jid::Jid::new(text).ok().map(|jid| jid.to_string());
        (ours, theirs)
    };
    let some = |text: &str| Some(text.to_string());
    for (text, ours, theirs, why) in [
        ("a@b.example/😀", some("a@b.example/😀"), None, "unassigned in Unicode 3.2"),
        ("a\u{2163}@b.example", None, some("aiv@b.example"), "compatibility characters fold under Nodeprep"),
        (
            "a@b.example/\u{2163}",
            some("a@b.example/\u{2163}"),
            some("a@b.example/IV"),
            "and under Resourceprep",
        ),
        (
            "\u{3c2}@b.example",
            some("\u{3c2}@b.example"),
            some("\u{3c3}@b.example"),
            "final sigma folds under Nodeprep",
        ),
        (
            "fu\u{df}@b.example",
            some("fu\u{df}@b.example"),
            some("fuss@b.example"),
            "sharp s folds under Nodeprep",
        ),
        ("a@b.example/ x", None, some("a@b.example/ x"), "example 18 of RFC 7622"),
        (r"\20a@b.example", None, some(r"\20a@b.example"), "XEP-0106"),
        ("\u{265a}@b.example", None, some("\u{265a}@b.example"), "symbols are not for identifiers"),
    ] {
        assert_eq!(verdicts(text), (ours, theirs), "{text}: {why}");
    }
}

#[test]
fn sec_13_a_look_alike_of_mixed_scripts_is_told_apart() {
    let mixed = |address: &str| Jid::parse(address).unwrap().mixed_scripts();
    // A Cyrillic а.
    assert_eq!(mixed("p\u{430}ul@example.com/x"), Some(JidPart::Local));
    assert_eq!(mixed("paul@ex\u{430}mple.com"), Some(JidPart::Domain));
    assert_eq!(mixed("paul@example.com/\u{430}x"), None, "a resource names nobody");
    assert_eq!(mixed("иван@почта.example"), None, "a label stands for itself");
    assert_eq!(mixed("иван@example.com"), None, "and so does each part");
    assert_eq!(BareJid::parse("p\u{430}ul@example.com").unwrap().mixed_scripts(), Some(JidPart::Local));
    let domain = Domain::parse("ex\u{430}mple.com").unwrap();
    assert!(domain.mixes_scripts() && !Domain::parse("example.com").unwrap().mixes_scripts());
    assert_eq!(domain.in_full().to_string(), "ex\u{430}mple.com (xn--exmple-4nf.com)");
    assert_eq!(Domain::parse("example.com").unwrap().in_full().to_string(), "example.com");
}

proptest! {
    #[test]
    fn the_oracle_agrees_on_ascii(
        // No slash: what stands before it would be the domain, where the oracle takes an underscore and we do not.
        local in prop::option::of("[!-.0-~]{1,8}"),
        domain in "([a-zA-Z0-9]([a-zA-Z0-9-]{0,4}[a-zA-Z0-9])?)([.][a-z0-9]{1,3}){0,2}",
        resource in prop::option::of("[!-~][ -~]{0,8}"),
    ) {
        let text = match (&local, &resource) {
            (Some(local), Some(resource)) => format!("{local}@{domain}/{resource}"),
            (Some(local), None) => format!("{local}@{domain}"),
            (None, Some(resource)) => format!("{domain}/{resource}"),
            (None, None) => domain.clone(),
        };
        // Known differences: XEP-0106, and what IDNA2008 reserves.
        prop_assume!(!text.contains(r"\20") && !domain.contains("--"));
        let ours = Jid::parse(&text).ok().map(|jid| jid.to_string());
        let theirs = jid::Jid::new(&text).ok().map(|jid| jid.to_string());
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn normal_forms_are_stable(text in "\\PC{0,6}(@\\PC{0,6})?(/\\PC{0,6})?|[a-zü]{1,3}@[a-zü.ß例]{1,6}(/.{0,4})?") {
        if let Ok(jid) = Jid::parse(&text) {
            prop_assert_eq!(Jid::parse(jid.as_str()), Ok(jid.clone()));
            prop_assert_eq!(BareJid::parse(jid.bare_str()), Ok(jid.bare()));
            let domain = Domain::parse(jid.domain());
            prop_assert!(domain.is_ok());
            if let Ok(domain) = domain {
                prop_assert!(domain.to_ascii().is_ascii() && !domain.to_ascii().is_empty());
                prop_assert_eq!(Domain::parse(&domain.to_ascii()), Ok(domain));
            }
        }
    }
}
