//! What is known of the members, as one body: the list (`application/rlmi+xml`, RFC 4662 §5) and their documents beside it, in
//! `multipart/related`, as Lync writes it.

use nuncio_xmpp::{StartTag, ns};

use super::State;

/// The media type of such a body. The delimiter need not be a secret: no part has a line break, so none can hold it.
pub const MEDIA: &str =
    "multipart/related;type=\"application/rlmi+xml\";start=resourceList;boundary=nuncio-part-of-a-batch";
const DELIMITER: &str = "--nuncio-part-of-a-batch";

/// A member, as the list shows him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Names his part.
    pub number: u32,
    pub uri: &'a str,
    pub state: State,
    pub document: Option<&'a [u8]>,
}

/// The list itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a> {
    pub uri: &'a str,
    pub version: u32,
    /// It names all members.
    pub full: bool,
    /// The type of the documents.
    pub media: &'a str,
}

/// Appends the body.
pub fn write(list: &List<'_>, resources: &[Resource<'_>], out: &mut Vec<u8>) {
    part(out, "resourceList", "application/rlmi+xml");
    out.extend_from_slice(b"<?xml version='1.0' encoding='UTF-8'?>");
    let (version, full) = (list.version.to_string(), if list.full { "true" } else { "false" });
    StartTag::open(out, "list")
        .ns(ns::RESOURCE_LIST)
        .attr("uri", list.uri)
        .attr("version", &version)
        .attr("fullState", full)
        .end();
    for resource in resources {
        StartTag::open(out, "resource").attr("uri", resource.uri).end();
        let cid = resource.document.map(|_| name(resource.number));
        StartTag::open(out, "instance")
            .attr("id", "0")
            .attr("state", resource.state.name())
            .opt_attr("reason", resource.state.reason())
            .opt_attr("cid", cid.as_deref())
            .empty();
        StartTag::close(out, "resource");
    }
    StartTag::close(out, "list");
    for resource in resources {
        if let Some(document) = resource.document {
            out.extend_from_slice(b"\r\n");
            part(out, &name(resource.number), list.media);
            in_one_line(document, out);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(DELIMITER.as_bytes());
    out.extend_from_slice(b"--\r\n");
}

fn name(number: u32) -> String {
    format!("member{number}@batch")
}

/// The head of a part.
fn part(out: &mut Vec<u8>, name: &str, media: &str) {
    for piece in [
        DELIMITER,
        "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: ",
        name,
        "\r\nContent-Type: ",
        media,
        "\r\n\r\n",
    ] {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Line breaks of a document in another form: before its root they mean nothing, inside they are what people wrote.
fn in_one_line(document: &[u8], out: &mut Vec<u8>) {
    let mut inside = false;
    for (at, byte) in document.iter().enumerate() {
        let opens = *byte == b'<' && document.get(at + 1).is_some_and(|next| !matches!(next, b'?' | b'!'));
        inside |= opens;
        match byte {
            b'\n' if inside => out.extend_from_slice(b"&#10;"),
            b'\r' if inside => out.extend_from_slice(b"&#13;"),
            b'\n' | b'\r' => out.push(b' '),
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::{Element, ReadLimits};
    use proptest::prelude::*;

    use super::*;

    /// The parts of a body: Content-ID, Content-Type, content.
    fn parts(body: &[u8]) -> Vec<(String, String, String)> {
        let text = std::str::from_utf8(body).unwrap();
        let text = text.strip_prefix(DELIMITER).unwrap();
        let (text, rest) = text.rsplit_once(&format!("\r\n{DELIMITER}--\r\n")).unwrap();
        assert_eq!(rest, "");
        let read = |part: &str| {
            let (head, content) = part.split_once("\r\n\r\n").unwrap();
            let field = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap().strip_prefix(": ").unwrap().to_owned()
            };
            (field("Content-ID"), field("Content-Type"), content.to_owned())
        };
        text.split(&format!("\r\n{DELIMITER}")).map(read).collect()
    }

    fn list(full: bool) -> List<'static> {
        List { uri: "sip:a@contoso.com", version: 7, full, media: "application/pidf+xml" }
    }

    #[test]
    fn ev_19_the_list_says_of_each_what_is_known() {
        let of = |number, uri, state, document| Resource { number, uri, state, document };
        let mut out = Vec::new();
        let resources = [
            of(1, "sip:b@x.example", State::Active, Some(&b"<b/>"[..])),
            of(2, "sip:c@y.example", State::Terminated("rejected"), None),
            of(9, "sip:e&f@y.example", State::Pending, None),
        ];
        write(&list(true), &resources, &mut out);
        let parts = parts(&out);
        assert_eq!((parts[0].0.as_str(), parts[0].1.as_str()), ("resourceList", "application/rlmi+xml"));
        assert_eq!(
            parts[0].2,
            "<?xml version='1.0' encoding='UTF-8'?><list xmlns='urn:ietf:params:xml:ns:rlmi' uri='sip:a@contoso.com' \
             version='7' fullState='true'><resource uri='sip:b@x.example'><instance id='0' state='active' \
             cid='member1@batch'/></resource><resource uri='sip:c@y.example'><instance id='0' state='terminated' \
             reason='rejected'/></resource><resource uri='sip:e&amp;f@y.example'>\
             <instance id='0' state='pending'/></resource></list>"
        );
        assert_eq!(parts[1], ("member1@batch".into(), "application/pidf+xml".into(), "<b/>".into()));
        assert_eq!(parts.len(), 2);
    }

    #[test]
    fn a_line_break_of_a_document_stays_what_it_is() {
        let document = "<?xml version='1.0'?>\r\n<!DOCTYPE a>\n<a b='1\n2'>3\r\n4</a>";
        let mut out = Vec::new();
        in_one_line(document.as_bytes(), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<?xml version='1.0'?>  <!DOCTYPE a> <a b='1&#10;2'>3&#13;&#10;4</a>"
        );
    }

    proptest! {
        /// Whatever contacts write, it ends no part and begins none.
        #[test]
        fn ev_19_as_many_parts_as_documents(
            notes in prop::collection::vec("[ -~\r\n]{0,40}(\r\n--nuncio-part-of-a-batch(--)?\r\n)?[a-z\n]{0,9}", 0..6),
            full in any::<bool>(),
        ) {
            let documents: Vec<Vec<u8>> = notes
                .iter()
                .map(|note| {
                    let mut out = Vec::new();
                    StartTag::text_element(&mut out, "note", note);
                    out
                })
                .collect();
            let resources: Vec<_> = documents
                .iter()
                .zip(1..)
                .map(|(document, number)| Resource {
                    number,
                    uri: "sip:b@x.example",
                    state: State::Active,
                    document: Some(document),
                })
                .collect();
            let mut out = Vec::new();
            write(&list(full), &resources, &mut out);
            let parts = parts(&out);
            prop_assert_eq!(parts.len(), notes.len() + 1);
            for ((_, _, content), note) in parts.iter().skip(1).zip(&notes) {
                let element = Element::parse_document(content.as_bytes(), &ReadLimits::default()).unwrap();
                let plain = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
                prop_assert_eq!(plain(&element.text()), plain(note));
            }
        }
    }
}
