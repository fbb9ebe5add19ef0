//! Translation: whatever address crosses comes back, of presence only what may be seen goes out, and a body becomes one
//! message or none.

use nuncio_sip::{Message, Uri};
use nuncio_translate::address::{Contact, SipUser, full_jid, iri_from_uri, resource, uri_from_iri};
use nuncio_translate::batch::{Change, MAX_MEMBERS, State, list, rlmi};
use nuncio_translate::cpim::{Cpim, MOST_FIELDS};
use nuncio_translate::message::{Formats, from_sip as message_from_sip};
use nuncio_translate::presence::document::Stamp;
use nuncio_translate::presence::{
    Disclosure, Format, MAX_NOTE, MAX_NOTES, MAX_RESOURCES, Presentity, Shown, Veil, document, from_xmpp,
    to_xmpp,
};
use nuncio_translate::receipt::imdn::{Envelope, Notification, Wishes};
use nuncio_translate::receipt::ms_imdn::{MOST_RECIPIENTS, MsImdn};
use nuncio_translate::typing::iscomposing::IsComposing;
use nuncio_translate::typing::{Typing, keyboard};
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

/// Reads the input as a list of resources, and writes what is known of them.
///
/// # Panics
/// If a limit does not hold, or if what is written is no list.
pub fn adrl(data: &[u8]) {
    let Ok(changes) = list::read(data) else { return };
    assert!(changes.len() <= MAX_MEMBERS + list::MAX_PARTS);
    let uris: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Add(uri) | Change::Remove(uri) => Some(&**uri),
            Change::Clear => None,
        })
        .collect();
    let resources: Vec<_> = (1..)
        .zip(&uris)
        .map(|(number, uri)| rlmi::Resource {
            number,
            uri,
            state: State::Active,
            document: Some(b"<a>\n</a>"),
        })
        .collect();
    let list =
        rlmi::List { uri: uris.first().copied().unwrap_or_default(), version: 0, full: true, media: "a/b" };
    let mut out = Vec::new();
    rlmi::write(&list, &resources, &mut out);
    let text = std::str::from_utf8(&out).expect("UTF-8");
    let (_, document) = text.split_once("\r\n\r\n").expect("a part");
    let (document, _) = document.split_once("\r\n--").expect("its end");
    let limits =
        ReadLimits { stanza: usize::MAX, tag: usize::MAX, elements: usize::MAX, ..ReadLimits::default() };
    let list = Element::parse_document(document.as_bytes(), &limits).expect("a list");
    let named = list.elements().map(|resource| resource.attr("uri").expect("a URI").to_owned());
    assert!(named.eq(uris.iter().map(|uri| (*uri).to_owned())));
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
    for disclosure in [Disclosure::Full, Disclosure::BasicOnly(Veil::default())] {
        shown(&state, disclosure);
    }
    // The same again, as the next document of the subscription, changes nothing.
    let again = format.read(data, document::Context { known: Some(&state), ..context });
    assert_eq!(again.expect("it was read before").as_ref(), Some(&state));
    let contact = Contact::from_jid(&BareJid::parse("j@f.example").expect("an address")).expect("a user");
    for written in Format::ALL {
        let mut out = Vec::new();
        written.write(&contact, &state, Stamp::at(NOW_MS), &mut out);
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
        if disclosure == Disclosure::BasicOnly(Veil::default()) {
            assert!(stanza.elements().all(|child| matches!(child.name(), "show" | "priority")));
            assert!(sender.resource().is_none_or(|name| name.bytes().all(|byte| byte.is_ascii_hexdigit())));
        }
    }
    assert_eq!(shown.names().len(), state.open().count());
    assert!(shown.update(state, disclosure).is_empty(), "nothing changed");
}

/// Reads the input as body of a MESSAGE, the first line as its Content-Type, and writes the stanza with and without form.
///
/// # Panics
/// If what is written cannot be read, if there is more in it than there may be, or if something is left after a refusal.
pub fn mime(data: &[u8]) {
    let (kind, body) = data.split_at(data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len()));
    let mut request = b"MESSAGE sip:j@f.example SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
        From: <sip:r@c.example>;tag=1\r\nTo: <sip:j@f.example>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Type: "
        .to_vec();
    request.extend(kind.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let body = body.get(1..).unwrap_or_default();
    request.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    let Ok(message) = Message::parse(request.into()) else { return };
    let ends = message_from_sip::ends(&message, |_| true).expect("good addresses");
    for xhtml_im in [false, true] {
        let mut out = b"before".to_vec();
        match message_from_sip::write(
            &message,
            &ends,
            "ID",
            Formats { xhtml_im, ..Formats::default() },
            None,
            &mut out,
        ) {
            Ok(wishes) => stanza(&out["before".len()..], xhtml_im, &wishes),
            Err(refusal) => {
                assert!((400..500).contains(&refusal.status()) && !refusal.reason().is_empty());
                assert_eq!(out, b"before");
            }
        }
    }
}

/// One body, and nothing but what belongs beside it.
fn stanza(written: &[u8], xhtml_im: bool, wishes: &Wishes<'_>) {
    let text = String::from_utf8(written.to_vec()).expect("text").replacen(
        "<message",
        "<message xmlns='jabber:server'",
        1,
    );
    // Markup has as many elements as its author wants, up to its own limit.
    let limits = ReadLimits { stanza: usize::MAX, elements: usize::MAX, ..ReadLimits::default() };
    let stanza = Element::parse_document(text.as_bytes(), &limits).expect("a stanza");
    assert_eq!(stanza.attr("from"), Some("r@c.example"), "nobody else");
    let children: Vec<_> = stanza.elements().map(Element::name).collect();
    assert_eq!(children.iter().filter(|name| **name == "body").count(), 1);
    assert!(children.iter().all(|name| match *name {
        "html" => xhtml_im,
        "request" => wishes.delivered,
        "markable" => wishes.displayed,
        name => ["subject", "body", "thread"].contains(&name),
    }));
    let mut rest: Vec<_> = stanza.elements().filter(|child| child.name() == "html").collect();
    while let Some(element) = rest.pop() {
        assert!(!["script", "style", "img", "object", "iframe"].contains(&element.name()));
        for attr in element.attrs() {
            let value = attr.value().to_ascii_lowercase();
            match attr.name() {
                "href" => assert!(
                    ["http", "mailto:", "sip", "xmpp:"].iter().any(|scheme| value.starts_with(scheme))
                ),
                "style" => assert!(!value.contains(['(', '\\', '@', '/', '<'])),
                other => panic!("an attribute {other}"),
            }
        }
        rest.extend(element.elements());
    }
}

/// Reads the input as each of the documents about typing and receipts, and as CPIM.
///
/// # Panics
/// If what was read is not the same when it is written and read again.
pub fn documents(data: &[u8]) {
    let again = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    if let Ok(read) = IsComposing::read(data, None) {
        let read = IsComposing { refresh: read.refresh.filter(|_| read.typing == Typing::Active), ..read };
        assert_eq!(IsComposing::read(&again(&|out| read.write(out)), None), Ok(read));
    }
    if let Ok(typing) = keyboard::read(data, None) {
        assert_eq!(keyboard::read(&again(&|out| keyboard::write(typing, out)), None), Ok(typing));
    }
    if let Ok(read) = MsImdn::read(data, None) {
        assert!(read.recipients.len() <= MOST_RECIPIENTS);
        assert_eq!(MsImdn::read(&again(&|out| read.write(out)), None), Ok(read));
    }
    if let Ok(read) = Notification::read(data, None) {
        notification(&read);
    }
    if let Ok(cpim) = Cpim::read(data) {
        let wishes = Wishes::of(&cpim);
        assert!(wishes == Wishes::default() || !wishes.message_id.is_empty());
        assert!(cpim.fields().count() <= MOST_FIELDS);
        if let Some(Ok(read)) = Notification::of(&cpim) {
            assert_eq!(wishes, Wishes::default());
            notification(&read);
        }
    }
}

fn notification(read: &Notification<'_>) {
    let id = "n1-\r\nRoute: <sip:evil>";
    let envelope = Envelope { from: "sip:j@f.example", to: "sip:r@c.example", message_id: id, unix_ms: 0 };
    let mut out = Vec::new();
    read.write(&envelope, &mut out);
    let cpim = Cpim::read(&out).expect("what we write, we read");
    assert_eq!(cpim.fields().count(), 5);
    assert_eq!(Notification::of(&cpim).expect("a notification").as_ref(), Ok(read));
}
