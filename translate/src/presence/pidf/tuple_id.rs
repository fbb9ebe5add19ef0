//! Resource ⇄ tuple id (PM-02).
//!
//! An id is an XML `NCName`, a resource any text. Ours are `ID-` and the resource, in which every character but ASCII
//! letters, digits, `-` and `.` is `_` + its code point in hexadecimal + `_`: legal, readable where it can be, and reversible.

use std::fmt::Write;
use std::hash::Hasher;

use compact_str::CompactString;
use nuncio_xmpp::Jid;
use siphasher::sip::SipHasher24;

const PREFIX: &str = "ID-";
/// Longest encoded resource; a longer one is named by its hash, which nobody can read back and nothing needs to.
const LONGEST: usize = 256;

/// Appends the tuple id for a resource.
pub(super) fn write(resource: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(PREFIX.as_bytes());
    let start = out.len();
    for character in resource.chars() {
        if is_plain(character) {
            // ASCII.
            out.push(u8::try_from(character).unwrap_or(b'-'));
        } else {
            let mut code = CompactString::const_new("");
            let _ = write!(code, "_{:x}_", u32::from(character));
            out.extend_from_slice(code.as_bytes());
        }
        if out.len() - start > LONGEST {
            out.truncate(start);
            // No resource is written with two of them in front.
            out.extend_from_slice(b"__");
            out.extend_from_slice(opaque(resource).as_bytes());
            return;
        }
    }
}

/// The resource a tuple id stands for: one of ours decoded, any other as it is. One that XMPP would not take as a resource
/// gets a name of its own.
pub(super) fn resource(id: &str) -> CompactString {
    let name = id.strip_prefix(PREFIX).unwrap_or(id);
    let decoded = if id.starts_with(PREFIX) { decode(name) } else { None };
    let name = decoded.as_deref().unwrap_or(name);
    if name.is_empty() || is_resource(name) { name.into() } else { opaque(id) }
}

/// A short name for what cannot be one. Whoever guesses what it stands for can see that he guessed right.
pub(super) fn opaque(text: &str) -> CompactString {
    let mut hasher = SipHasher24::new();
    hasher.write(text.as_bytes());
    compact_str::format_compact!("{:016x}", hasher.finish())
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.')
}

/// `None`: not what [`write()`] makes of any resource.
fn decode(name: &str) -> Option<CompactString> {
    let mut resource = CompactString::const_new("");
    let mut rest = name;
    while let Some((plain, tail)) = rest.split_once('_') {
        let (code, after) = tail.split_once('_')?;
        let canonical = !code.starts_with('0') || code == "0";
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let code = (canonical && code.bytes().all(hex)).then(|| u32::from_str_radix(code, 16).ok())??;
        let character = char::from_u32(code).filter(|character| !is_plain(*character))?;
        resource.push_str(plain);
        resource.push(character);
        rest = after;
    }
    resource.push_str(rest);
    Some(resource)
}

/// Short enough to be kept for every pair, and the same after XMPP's own normalisation.
fn is_resource(name: &str) -> bool {
    let mut jid = CompactString::const_new("x/");
    jid.push_str(name);
    name.len() <= LONGEST && Jid::parse(&jid).is_ok_and(|jid| jid.resource() == Some(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(resource: &str) -> String {
        let mut out = Vec::new();
        write(resource, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pm_02_plain_resources_stay_readable() {
        for (name, expected) in [
            ("balcony", "ID-balcony"),
            ("8-ball.2", "ID-8-ball.2"),
            ("my phone", "ID-my_20_phone"),
            ("a_b", "ID-a_5f_b"),
            ("東", "ID-_6771_"),
            ("", "ID-"),
        ] {
            assert_eq!(id(name), expected);
            assert_eq!(resource(expected), name);
        }
    }

    #[test]
    fn pm_02_ids_of_others_are_taken_as_they_are() {
        for (id, name) in [
            ("bs35r9", "bs35r9"),
            ("ID-a_b", "a_b"),
            ("ID-_05f_", "_05f_"),
            ("ID-_61_", "_61_"),
            ("ID-__1", "__1"),
            ("_20_", "_20_"),
        ] {
            assert_eq!(resource(id), name, "{id}");
        }
    }

    #[test]
    fn pm_02_an_id_that_is_no_resource_gets_a_name_of_its_own() {
        for id in ["\u{202e}", "ID-_a_", "a\nb", &"x".repeat(LONGEST + 1)] {
            assert_eq!(resource(id), opaque(id), "{id:?}");
        }
        assert_eq!(resource(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn pm_02_a_long_resource_is_named_by_its_hash() {
        let (fits, long) = ("x".repeat(LONGEST), "x".repeat(LONGEST + 1));
        assert_eq!(id(&fits), format!("ID-{fits}"));
        assert_eq!(id(&long), format!("ID-__{}", opaque(&long)));
    }

    proptest! {
        #[test]
        fn pm_02_every_resource_comes_back(name in "[a-z_0-9 @é東.-]{0,20}") {
            prop_assume!(name.is_empty() || is_resource(&name));
            let id = id(&name);
            prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)), "{}", id);
            prop_assert_eq!(resource(&id), name);
        }
    }
}
