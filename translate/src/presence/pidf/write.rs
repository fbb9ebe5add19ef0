use nuncio_xmpp::{StartTag, escape};

use super::{priority, tuple_id};
use crate::address::Contact;
use crate::presence::document::Stamp;
use crate::presence::{Activity, Availability, Presentity, Resource, Show};
use crate::time;

/// See [`super::write()`].
pub(super) fn document(contact: &Contact, state: &Presentity, stamp: Stamp, out: &mut Vec<u8>) {
    let uri = contact.uri(None);
    let address = uri.strip_prefix("sip:").unwrap_or(&uri);
    let person = state.foremost().and_then(activity);
    let idle = state.open().any(|resource| resource.idle_since().is_some());
    out.extend_from_slice(
        b"<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf'",
    );
    // Declared only where they are used: every octet is sent hundreds of thousands of times.
    if person.is_some() {
        out.extend_from_slice(b" xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model'");
    }
    if person.is_some() || idle {
        out.extend_from_slice(b" xmlns:rpid='urn:ietf:params:xml:ns:pidf:rpid'");
    }
    out.extend_from_slice(b" entity='pres:");
    escape::attr(out, address);
    out.extend_from_slice(b"'>");
    if state.resources.is_empty() {
        tuple(&Resource::new("", Availability::Closed), address, stamp.unix_ms(), out);
    }
    for resource in &state.resources {
        tuple(resource, address, stamp.unix_ms(), out);
    }
    if let Some(activity) = person {
        out.extend_from_slice(b"<dm:person id='p1'><rpid:activities><rpid:");
        out.extend_from_slice(activity.as_str().as_bytes());
        out.extend_from_slice(b"/></rpid:activities></dm:person>");
    }
    out.extend_from_slice(b"</presence>");
}

/// Status, extensions, contact, notes, timestamp: in this order (PD-02).
fn tuple(resource: &Resource, address: &str, stamp_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<tuple id='");
    tuple_id::write(&resource.id, out);
    let open = resource.availability == Availability::Open;
    out.extend_from_slice(if open {
        b"'><status><basic>open</basic>"
    } else {
        b"'><status><basic>closed</basic>"
    });
    if let Some(show) = resource.show.filter(|_| open) {
        out.extend_from_slice(b"<show xmlns='jabber:client'>");
        out.extend_from_slice(show.as_str().as_bytes());
        out.extend_from_slice(b"</show>");
    }
    out.extend_from_slice(b"</status>");
    if open {
        if let Some(since) = resource.idle_since() {
            out.extend_from_slice(b"<rpid:user-input last-input='");
            time::write_stamp(since.saturating_mul(1000), out);
            out.extend_from_slice(b"'>idle</rpid:user-input>");
        }
        out.extend_from_slice(b"<contact");
        if let Some(thousandths) = resource.priority.and_then(priority::to_thousandths) {
            out.extend_from_slice(b" priority='");
            priority::write(thousandths, out);
            out.push(b'\'');
        }
        out.extend_from_slice(b">sip:");
        escape::text(out, address);
        out.extend_from_slice(b"</contact>");
    }
    for note in resource.notes().iter() {
        StartTag::open(out, "note").opt_attr("xml:lang", note.lang.as_deref()).end();
        escape::text(out, &note.text);
        StartTag::close(out, "note");
    }
    out.extend_from_slice(b"<timestamp>");
    time::write_stamp(stamp_ms, out);
    out.extend_from_slice(b"</timestamp></tuple>");
}

/// What front ends that do not know `<show/>` can read (DEC-06).
fn activity(resource: &Resource) -> Option<Activity> {
    match resource.show? {
        Show::Away | Show::Xa => Some(Activity::Away),
        Show::Dnd => Some(Activity::Busy),
        Show::Chat => None,
    }
}
