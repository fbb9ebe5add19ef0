use compact_str::{CompactString, format_compact};
use nuncio_xmpp::{StartTag, escape, ns};

use super::state::availability;
use crate::address::Contact;
use crate::presence::Presentity;
use crate::presence::document::Stamp;
use crate::time;

/// See [`super::write()`].
pub(super) fn document(contact: &Contact, state: &Presentity, stamp: Stamp, out: &mut Vec<u8>) {
    let uri = contact.uri(None);
    let address = uri.strip_prefix("sip:").unwrap_or(&uri);
    let whole = state.whole();
    let availability = format_compact!("{}", availability(whole.state));
    let mut published = Vec::with_capacity(24);
    time::write_stamp(stamp.unix_ms(), &mut published);
    let category = Category {
        published: std::str::from_utf8(&published).unwrap_or_default(),
        version: format_compact!("{}", stamp.version()),
    };
    out.extend_from_slice(b"<?xml version='1.0' encoding='UTF-8'?>");
    StartTag::open(out, "categories").ns(ns::CATEGORIES).attr("uri", &uri).end();
    category.write("state", "1", out, |out| {
        StartTag::open(out, "state")
            .ns(ns::CATEGORY_STATE)
            .attr("xmlns:xsi", ns::XSI)
            .attr("xsi:type", "aggregateState")
            .end();
        StartTag::text_element(out, "availability", &availability);
        StartTag::close(out, "state");
    });
    // Without a note it says that there is none: what is not mentioned stays.
    category.write("note", "0", out, |out| {
        let tag = StartTag::open(out, "note").ns(ns::CATEGORY_NOTE);
        let Some(note) = whole.note else { return tag.empty() };
        tag.end();
        let lang = note.lang.as_deref();
        StartTag::open(out, "body").attr("type", "personal").attr("uri", "").opt_attr("xml:lang", lang).end();
        escape::text(out, &note.text);
        StartTag::close(out, "body");
        StartTag::close(out, "note");
    });
    // A name that he gave himself could be anybody's.
    category.write("contactCard", "0", out, |out| {
        StartTag::open(out, "contactCard").ns(ns::CATEGORY_CONTACT_CARD).end();
        out.extend_from_slice(b"<identity><name>");
        StartTag::text_element(out, "displayName", address);
        out.extend_from_slice(b"</name></identity>");
        StartTag::close(out, "contactCard");
    });
    // Text and nothing else: no calls.
    category.write("services", "0", out, |out| {
        StartTag::open(out, "services").ns(ns::CATEGORY_SERVICE).end();
        StartTag::open(out, "service").attr("uri", &uri).end();
        out.extend_from_slice(b"<capabilities>");
        StartTag::open(out, "text")
            .attr("render", "true")
            .attr("capture", "true")
            .attr("deviceAvailability", &availability)
            .empty();
        out.extend_from_slice(b"</capabilities></service></services>");
    });
    StartTag::close(out, "categories");
}

/// What all categories of a document have in common.
struct Category<'a> {
    published: &'a str,
    version: CompactString,
}

impl Category<'_> {
    fn write(
        &self,
        name: &'static str,
        instance: &'static str,
        out: &mut Vec<u8>,
        inside: impl FnOnce(&mut Vec<u8>),
    ) {
        StartTag::open(out, "category")
            .attr("name", name)
            .attr("instance", instance)
            .attr("publishTime", self.published)
            .attr("container", "2")
            .attr("version", &self.version)
            .end();
        inside(out);
        StartTag::close(out, "category");
    }
}
