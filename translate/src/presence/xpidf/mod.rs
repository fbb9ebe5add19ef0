//! `application/xpidf+xml`: the draft before PIDF, with a word of Windows Messenger beside the status. The tables stand in
//! `docs/mapping.md`. No notes.

mod doctype;

use nuncio_xmpp::{ElementRef, StartTag};

use super::document::{self, Context, DocumentError};
use super::model::Presentity;
use super::whole::State;
use crate::address::Contact;

/// Reads a document: full state of one SIP user, who is where he can be reached best.
///
/// # Errors
/// [`DocumentError`].
pub fn read(document: &[u8], context: Context<'_>) -> Result<Presentity, DocumentError> {
    let document = doctype::without(document);
    let document = document::parse(&document, &context)?;
    let root = document.root();
    if !root.is("presence", "") {
        return Err(DocumentError::Root { format: "XPIDF", name: "presence", ns: "no namespace" });
    }
    let atoms = root.elements().filter(|child| child.is("atom", ""));
    let addresses = atoms.flat_map(ElementRef::elements).filter(|child| child.is("address", ""));
    // The first of equals; `max_by_key` takes the last.
    let states = addresses.filter_map(|address| Some((reach(address)?, address))).collect::<Vec<_>>();
    let best = states.into_iter().rev().max_by_key(|(reach, address)| (*reach, priority(*address)));
    let Some((reach, address)) = best else { return Ok(Presentity::default()) };
    Ok(Presentity { resources: vec![state(reach, address).resource(None)] })
}

/// Appends the document that tells SIP watchers about a contact.
pub fn write(contact: &Contact, state: &Presentity, out: &mut Vec<u8>) {
    let uri = contact.uri(None);
    let address = uri.strip_prefix("sip:").unwrap_or(&uri);
    let (status, substatus) = words(state.whole().state);
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    out.extend_from_slice(doctype::OURS);
    out.extend_from_slice(b"<presence>");
    StartTag::open(out, "presentity").attr("uri", &uri).empty();
    StartTag::open(out, "display").attr("name", address).empty();
    StartTag::open(out, "atom").attr("id", "1").end();
    StartTag::open(out, "address").attr("uri", &uri).attr("priority", "0.800000").end();
    StartTag::open(out, "status").attr("status", status).empty();
    if let Some(substatus) = substatus {
        StartTag::open(out, "msnsubstatus").attr("substatus", substatus).empty();
    }
    out.extend_from_slice(b"</address></atom></presence>");
}

/// Whether somebody can be reached at an address; the last one best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Closed,
    InUse,
    Open,
}

/// `None`: nobody knows.
fn reach(address: ElementRef<'_>) -> Option<Reach> {
    match address.child("status", "")?.attr("status")?.trim() {
        "open" => Some(Reach::Open),
        "inuse" => Some(Reach::InUse),
        "closed" => Some(Reach::Closed),
        _ => None,
    }
}

/// In thousandths; what cannot be read is least wanted.
fn priority(address: ElementRef<'_>) -> u32 {
    let text = address.attr("priority").unwrap_or_default().trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) {
        return 0;
    }
    let digits = decimals.bytes().map(|byte| u32::from(byte - b'0')).chain(std::iter::repeat(0));
    let fraction = digits.take(3).fold(0, |sum, digit| sum * 10 + digit);
    if whole.bytes().all(|byte| byte == b'0') { fraction } else { 1000 }
}

fn state(reach: Reach, address: ElementRef<'_>) -> State {
    let otherwise = match reach {
        Reach::Closed => return State::Offline,
        Reach::InUse => State::Busy,
        Reach::Open => State::Available,
    };
    let word = address.child("msnsubstatus", "").and_then(|element| element.attr("substatus"));
    match word.unwrap_or_default().trim() {
        "online" => State::Available,
        "away" => State::Away,
        "idle" => State::Inactive,
        "busy" => State::Busy,
        "berightback" => State::BeRightBack,
        "onthephone" => State::InACall,
        "outtolunch" => State::OutToLunch,
        _ => otherwise,
    }
}

/// Status and substatus.
fn words(state: State) -> (&'static str, Option<&'static str>) {
    match state {
        State::Available => ("open", Some("online")),
        State::Inactive => ("open", Some("idle")),
        State::Busy | State::DoNotDisturb => ("inuse", Some("busy")),
        State::InACall => ("inuse", Some("onthephone")),
        State::BeRightBack => ("open", Some("berightback")),
        State::OutToLunch => ("open", Some("outtolunch")),
        State::Away => ("open", Some("away")),
        State::Offline => ("closed", None),
    }
}
