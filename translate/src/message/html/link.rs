//! Addresses of links (SEC-33).

/// The schemes that lead to places and people, and to no program.
const SCHEMES: [&str; 6] = ["http", "https", "mailto", "sip", "sips", "xmpp"];

/// The address as it may be passed on: absolute, of a scheme that runs nothing, and on one line. `None` for all others.
pub(super) fn address(written: &str) -> Option<String> {
    // Browsers ignore these within addresses, so a scheme could be hidden by them.
    let address: String = written.chars().filter(|character| !character.is_control()).collect();
    let address = address.trim_matches(' ');
    let (scheme, rest) = address.split_once(':')?;
    let is_known = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    // Whatever else has no place in an address is written as browsers write it.
    (is_known && !rest.is_empty()).then(|| escape(address))
}

fn escape(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for character in address.chars() {
        match character {
            ' ' => out.push_str("%20"),
            '"' => out.push_str("%22"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            _ => out.push(character),
        }
    }
    out
}

/// The words are the address, if not letter for letter.
pub(super) fn says_the_same(words: &str, address: &str) -> bool {
    let bare = |text: &str| {
        let text = text.trim().trim_end_matches('/');
        let scheme = ["https://", "http://", "mailto:", "sips:", "sip:", "xmpp:"]
            .into_iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        scheme.and_then(|scheme| text.get(scheme.len()..)).unwrap_or(text).to_owned()
    };
    // A page of another scheme is another page: `http` shown for `https` is not, and harms nobody.
    bare(words) == bare(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_33_only_addresses_that_run_nothing_pass() {
        for (written, passed) in [
            ("https://example.com/ü?a=b#c", Some("https://example.com/ü?a=b#c")),
            (" HTTP://example.com/a b\"c<d> ", Some("HTTP://example.com/a%20b%22c%3Cd%3E")),
            ("mailto:a@b.example", Some("mailto:a@b.example")),
            ("ht\ntps://exa\tmple.com", Some("https://example.com")),
            ("sip:a@b.example", Some("sip:a@b.example")),
            ("xmpp:a@b.example?message", Some("xmpp:a@b.example?message")),
            ("javascript:alert(1)", None),
            ("JaVa\u{0}Script:alert(1)", None),
            ("data:text/html,x", None),
            ("file:///etc/passwd", None),
            ("https:", None),
            ("/page", None),
            ("#top", None),
            ("", None),
        ] {
            assert_eq!(address(written).as_deref(), passed, "{written:?}");
        }
    }

    #[test]
    fn words_that_are_the_address_are_known_as_such() {
        for (words, address) in [
            ("example.com", "https://example.com/"),
            ("HTTP://example.com", "http://example.com"),
            ("a@b.example", "mailto:a@b.example"),
        ] {
            assert!(says_the_same(words, address), "{words}");
        }
        for (words, address) in
            [("example.com/a", "https://example.com/b"), ("", "https://example.com"), ("x", "sip:y@z")]
        {
            assert!(!says_the_same(words, address), "{words}");
        }
    }
}
