//! Translation: whatever address crosses comes back, and of presence only what may be seen goes out.

use nuncio_sip::Uri;
use nuncio_translate::address::{Contact, SipUser, full_jid, iri_from_uri, resource, uri_from_iri};
use nuncio_translate::presence::{
    Disclosure, Format, MAX_NOTE, MAX_NOTES, MAX_RESOURCES, Presentity, Shown, document, from_xmpp, to_xmpp,
};
use nuncio_xmpp::{BareJid, Element, Jid, ReadLimits};

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

/// Reads the input as PIDF.
///
/// # Panics
/// See [`presence`].
pub fn pidf(data: &[u8]) {
    presence(Format::Pidf, data);
}

/// Reads the input as a document of categories.
///
/// # Panics
/// See [`presence`].
pub fn categories(data: &[u8]) {
    presence(Format::Categories, data);
}

/// Reads the input as an MSRTC document.
///
/// # Panics
/// See [`presence`].
pub fn msrtc(data: &[u8]) {
    presence(Format::Msrtc, data);
}

/// Reads the input as XPIDF.
///
/// # Panics
/// See [`presence`].
pub fn xpidf(data: &[u8]) {
    presence(Format::Xpidf, data);
}

/// Reads the input as a presence document, shows it to partners of both kinds, and writes it as a document of ours in each
/// format.
///
/// # Panics
/// If a limit does not hold, if what is written cannot be read, or if a public partner gets text.
pub fn presence(format: Format, data: &[u8]) {
    const NOW_MS: u64 = 1_795_183_385_042;
    let context = document::Context { idle: true, now_ms: NOW_MS, ..document::Context::default() };
    let Ok(Some(state)) = format.read(data, context) else { return };
    assert!(state.resources.len() <= MAX_RESOURCES);
    for resource in &state.resources {
        assert!(resource.notes().iter().len() <= MAX_NOTES);
        assert!(resource.notes().iter().all(|note| note.text.chars().count() <= MAX_NOTE));
        assert!(resource.activity_text().is_none_or(|text| text.chars().count() <= MAX_NOTE));
        assert!(resource.idle_since().is_none_or(|since| since <= NOW_MS / 1000));
    }
    for disclosure in [Disclosure::Full, Disclosure::BasicOnly] {
        shown(&state, disclosure);
    }
    // The same again, as the next document of the subscription, changes nothing.
    let again = format.read(data, document::Context { known: Some(&state), ..context });
    assert_eq!(again.expect("it was read before").as_ref(), Some(&state));
    let contact = Contact::from_jid(&BareJid::parse("j@f.example").expect("an address")).expect("a user");
    for written in Format::ALL {
        let mut out = Vec::new();
        written.write(&contact, &state, NOW_MS, &mut out);
        let back = written.read(&out, context).expect("what we write, we read").expect("with a state");
        match written {
            Format::Pidf => assert_eq!(back.open().count(), state.open().count()),
            _ => assert_eq!((back.resources.len(), back.is_open()), (1, state.is_open())),
        }
    }
}

fn shown(state: &Presentity, disclosure: Disclosure) {
    let (from, to) = (BareJid::parse("r@c.example"), Jid::parse("j@f.example"));
    let (from, to) = (from.expect("an address"), to.expect("an address"));
    let mut shown = Shown::default();
    for update in shown.update(state, disclosure) {
        let mut out = Vec::new();
        to_xmpp::write_update(&update, to_xmpp::Ends { from: &from, to: &to, id: "" }, disclosure, &mut out);
        let text =
            String::from_utf8(out).expect("text").replacen("<presence", "<presence xmlns='jabber:server'", 1);
        let stanza = Element::parse_document(text.as_bytes(), &ReadLimits::default()).expect("a stanza");
        let sender = Jid::parse(stanza.attr("from").expect("a sender")).expect("a legal sender");
        assert_eq!(sender.bare_str(), "r@c.example");
        let reading = from_xmpp::read(&stanza, sender.resource(), from_xmpp::Context::default());
        assert!(matches!(reading, from_xmpp::Reading::Presence(_)));
        if disclosure == Disclosure::BasicOnly {
            assert!(stanza.elements().all(|child| matches!(child.name(), "show" | "priority")));
            assert!(sender.resource().is_none_or(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit())));
        }
    }
    assert_eq!(shown.names().len(), state.open().count());
    assert!(shown.update(state, disclosure).is_empty(), "nothing changed");
}
