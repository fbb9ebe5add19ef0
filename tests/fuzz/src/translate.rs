//! Translation: whatever address crosses comes back.

use nuncio_sip::Uri;
use nuncio_translate::address::{Contact, SipUser, full_jid, iri_from_uri, resource, uri_from_iri};
use nuncio_xmpp::{BareJid, Jid};

/// Reads the input as SIP URI, as JID and as IRI of an error.
///
/// # Panics
/// If an address does not come back as it went.
pub fn uri_jid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(uri) = Uri::parse(text) {
        from_sip(&uri);
    }
    if let Ok(jid) = Jid::parse(text) {
        from_xmpp(&jid);
    }
    if let Some(uri) = uri_from_iri(text) {
        assert!(Uri::parse(&uri).is_ok(), "{uri}");
    }
}

fn from_sip(uri: &Uri<'_>) {
    let _ = iri_from_uri(uri);
    let Ok(user) = SipUser::from_uri(uri) else { return };
    assert_eq!(BareJid::parse(user.jid().as_str()).as_ref(), Ok(user.jid()));
    assert_eq!(SipUser::from_jid(user.jid()).as_ref(), Ok(&user));
    let back = user.uri();
    let back = Uri::parse(&back).expect("what we write, SIP reads");
    assert!(back.params().is_empty() && back.headers().is_none() && back.password().is_none());
    assert_eq!(SipUser::from_uri(&back), Ok(user));
}

fn from_xmpp(jid: &Jid) {
    // A few resources are not stable under their own normalisation; XMPP itself could not read them again.
    if Jid::parse(jid.as_str()).as_ref() != Ok(jid) {
        return;
    }
    let Ok(contact) = Contact::from_jid(&jid.bare()) else { return };
    let text = contact.uri(jid.resource());
    let uri = Uri::parse(&text).expect("what we write, SIP reads");
    assert_eq!(uri.params().iter().count(), usize::from(jid.resource().is_some()));
    match Contact::from_uri(&uri) {
        Ok(back) => assert_eq!(&full_jid(back.jid(), resource(&uri).as_deref()), jid),
        // Nobody's front end is at an IP address.
        Err(refusal) => assert_eq!(refusal.status(), 404, "{jid}"),
    }
}
