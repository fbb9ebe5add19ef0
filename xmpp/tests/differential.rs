//! The strict reader against rxml, which was made for XMPP: the same documents are refused, and what is read is the same.
//! And against itself: as a tree and as a document that is only looked at.

#[path = "common/cases.rs"]
mod cases;
mod common;

use common::{borrowed, oracle};
use nuncio_xmpp::{Element, ReadLimits};
use proptest::prelude::*;

fn compare(document: &[u8]) -> Result<(), TestCaseError> {
    borrowed::assert_same(document, &ReadLimits::default());
    let ours = Element::parse_document(document, &ReadLimits::default());
    let theirs = oracle::rxml(&oracle::without_known_differences(document));
    let shown = String::from_utf8_lossy(document);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => prop_assert_eq!(&oracle::ours(ours), theirs, "{}", shown),
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => {
            prop_assert!(oracle::may_be_stricter(*error, document), "only we refuse {}: {}", shown, error)
        }
        (Ok(_), Err(error)) => {
            prop_assert!(oracle::may_be_milder(document), "only rxml refuses {}: {}", shown, error)
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases::cases(2000))]

    #[test]
    fn pieces_of_markup_in_any_order(pieces in prop::collection::vec(prop::sample::select(vec![
        "<a>", "</a>", "<a/>", "<a", "<b x='1'>", "</b>", "</b >", "<b\nx = \"1\"\t>", "<![CDATA[", "]]>", "]]", ">", "<!--x-->", "<?x y?>",
        "&amp;", "&lt;", "&apos;", "&quot;", "&gt;", "&#0;", "&#x41;", "&#65;", "&#xD;", "&#xD800;", "&#x1FFFF;", "&nbsp;", "&", ";", "&#",
        "<x:a xmlns:x='u'/>", "<x:a xmlns:x='u'>", "</x:a>", "<x:a/>", " x:y='1'", " xmlns:x='u'", " xmlns:y='u'", " y:y='2'", " xmlns='v'",
        " xmlns=''", " xmlns:x=''", " xml:lang='de'", " xmlns:xml='http://www.w3.org/XML/1998/namespace'", " xmlns:xml='u'", " a='1'", " a='2'",
        " xml:a='1'", " xml:a='2'", "'", "\"", "<", "/", "/>", " ", "\t", "\r\n", "\r", "text", "=", "é", "\u{ffff}", "\u{fffd}", "\u{7f}", "\u{1}", "😀", "1", "-", ":",
    ]), 0..10)) {
        compare(format!("<r xmlns='w'>{}</r>", pieces.concat()).as_bytes())?;
        compare(pieces.concat().as_bytes())?;
    }

    #[test]
    fn a_stanza_with_octets_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"<>/&;='\" \n\r:]x!?-[#"[..])], 0u8..3), 1..4),
    ) {
        let mut document = "<message xmlns='jabber:server' xmlns:x='urn:x' from=\"a@b/&lt;c\" to='d@e' xml:lang='en' x:y='1' y='&#x41;\n2'>\
            <body>a &amp; b &#65;<![CDATA[<c> ]] ]]></body><x:z x:a=''/><q xmlns=''><r xmlns='s' ></r></q>ü😀\r\n</message>".as_bytes().to_vec();
        for (at, byte, how) in &changes {
            let at = at.index(document.len());
            match how {
                0 => document[at] = *byte,
                1 => document.insert(at, *byte),
                _ => drop(document.remove(at)),
            }
        }
        compare(&document)?;
    }

    #[test]
    fn declarations(
        start in "(\u{feff}| )?",
        // Known differences: `standalone='no'` (S2S-26 lets us ignore it), and `standalone` without `encoding` before it.
        // Both are legal, and rxml refuses them; `strict.rs` has them.
        declaration in "(<\\?xml( |\n)(version( )?=( )?['\"]1[.][0-2]['\"])?( encoding=(\"utf-8\"|'UTF-8'|'latin1')( standalone='(yes|x)')?)?( )?\\?>)?",
        end in "( |\n|x|<!---->|<a/>)?",
    ) {
        compare(format!("{start}{declaration}\n<a/>{end}").as_bytes())?;
    }
}
