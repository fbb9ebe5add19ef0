//! The one document type declaration that is met: XPIDF documents begin with it.
//!
//! A declaration can define entities, so the reader of XML takes none (PD-10). This one defines nothing: it is a name and
//! where a definition could be found, which nobody looks for. Exactly this form is taken out before the document is read,
//! once. Any other one stays, and the reader refuses it.

use std::borrow::Cow;

/// As we write it.
pub(super) const OURS: &[u8] =
    b"<!DOCTYPE presence PUBLIC \"-//IETF//DTD RFCxxxx XPIDF 1.0//EN\" \"xpidf.dtd\">";

const PUBLIC_ID: &[u8] = b"-//IETF//DTD RFCxxxx XPIDF 1.0//EN";
/// Longest XML declaration that stands before it.
const MAX_DECLARATION: usize = 128;
/// Longest name of a file, or address, of the definition.
const MAX_SYSTEM_ID: usize = 256;

/// The document without `<!DOCTYPE presence>`, or with the public identifier of XPIDF in it, and without anything else.
pub(super) fn without(document: &[u8]) -> Cow<'_, [u8]> {
    let mut cursor = Cursor { rest: document };
    cursor.prolog();
    let before = document.len() - cursor.rest.len();
    if cursor.declaration().is_none() {
        return Cow::Borrowed(document);
    }
    let (head, tail) = (document.get(..before).unwrap_or_default(), cursor.rest);
    let mut plain = Vec::with_capacity(head.len() + tail.len());
    plain.extend_from_slice(head);
    plain.extend_from_slice(tail);
    Cow::Owned(plain)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Byte order mark, XML declaration and white space, as far as they are there. Whether they are right the reader says.
    fn prolog(&mut self) {
        let _ = self.take("\u{feff}".as_bytes());
        if self.rest.starts_with(b"<?xml") {
            let window = self.rest.get(..MAX_DECLARATION).unwrap_or(self.rest);
            if let Some(end) = window.windows(2).position(|two| two == b"?>") {
                self.rest = self.rest.get(end + 2..).unwrap_or_default();
            }
        }
        let _ = self.space();
    }

    fn declaration(&mut self) -> Option<()> {
        self.take(b"<!DOCTYPE")?;
        self.space()?;
        self.take(b"presence")?;
        if self.space().is_some() && self.take(b"PUBLIC").is_some() {
            self.space()?;
            self.literal().filter(|id| *id == PUBLIC_ID)?;
            self.space()?;
            let plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>&".contains(byte);
            self.literal().filter(|id| id.len() <= MAX_SYSTEM_ID && id.iter().all(plain))?;
            let _ = self.space();
        }
        self.take(b">")
    }

    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// At least one character of white space.
    fn space(&mut self) -> Option<()> {
        let rest = self.rest.trim_ascii_start();
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some.then_some(())
    }

    fn literal(&mut self) -> Option<&'a [u8]> {
        let (quote, rest) = self.rest.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        let end = rest.iter().take(MAX_SYSTEM_ID + 1).position(|byte| byte == quote)?;
        self.rest = rest.get(end + 1..)?;
        rest.get(..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "PUBLIC '-//IETF//DTD RFCxxxx XPIDF 1.0//EN'";

    fn plain(document: &str) -> String {
        String::from_utf8(without(document.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn the_declaration_of_xpidf_is_taken_out_and_nothing_else() {
        for declaration in [
            std::str::from_utf8(OURS).unwrap().to_owned(),
            "<!DOCTYPE presence>".into(),
            "<!DOCTYPE\n presence >".into(),
            format!("<!DOCTYPE presence\r\n{PUBLIC} 'http://x.example/xpidf.dtd' >"),
            format!("<!DOCTYPE presence {PUBLIC} \"{}\">", "x".repeat(MAX_SYSTEM_ID)),
        ] {
            for before in ["", "\u{feff}", "<?xml version='1.0'?>\r\n", " \n"] {
                let document = format!("{before}{declaration}\n<presence>{declaration}</presence>");
                assert_eq!(plain(&document), format!("{before}\n<presence>{declaration}</presence>"));
            }
        }
    }

    #[test]
    fn pd_10_any_other_declaration_stays_for_the_reader_to_refuse() {
        for declaration in [
            "<!DOCTYPE presence []>".to_owned(),
            "<!DOCTYPE presence [<!ENTITY a 'b'>]>".into(),
            "<!DOCTYPE presence SYSTEM 'file:///etc/passwd'>".into(),
            "<!DOCTYPE presence PUBLIC '-//IETF//DTD RFC3863//EN' 'xpidf.dtd'>".into(),
            format!("<!DOCTYPE presence {PUBLIC}>"),
            format!("<!DOCTYPE presence {PUBLIC} 'xpidf.dtd' [<!ENTITY a SYSTEM 'b'>]>"),
            format!("<!DOCTYPE presence {PUBLIC} 'xpidf.dtd' 'more'>"),
            format!("<!DOCTYPE presence {PUBLIC} 'a>b'>"),
            format!("<!DOCTYPE presence {PUBLIC}'xpidf.dtd'>"),
            format!("<!DOCTYPE presence {PUBLIC} '{}'>", "x".repeat(MAX_SYSTEM_ID + 1)),
            "<!DOCTYPE presences>".into(),
            "<!doctype presence>".into(),
            "<!DOCTYPE presence".into(),
            "<!-- x --><!DOCTYPE presence>".into(),
        ] {
            let document = format!("{declaration}<presence/>");
            assert_eq!(plain(&document), document);
        }
    }

    #[test]
    fn pd_10_a_second_declaration_stays() {
        assert_eq!(
            plain("<!DOCTYPE presence><!DOCTYPE presence><presence/>"),
            "<!DOCTYPE presence><presence/>"
        );
    }
}
