//! Presence documents in the formats of front ends in the style of Lync, beside PIDF: written as these servers and their
//! clients write them, and read as far as scenarios look.
//!
//! Written apart from the code under test, as [`crate::xml`] is.

use anyhow::{Context, Result, bail, ensure};

use crate::pidf::{Document, Tuple};
use crate::xml::{Element, complete, escape};

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 3863.
    Pidf,
    /// `presentity` of Live Communications Server.
    Msrtc,
    /// The first draft of PIDF, with what Windows Messenger added.
    Xpidf,
    /// What servers since 2007 write.
    Categories,
}

/// What a document says, in the words of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whom it is about, without scheme and parameters.
    pub about: String,
    /// `availability`; the aggregate `activity`; `substatus`, else `status`; `show`, else `basic`.
    pub state: String,
    /// The note, where the format has one.
    pub note: Option<String>,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pidf, Self::Msrtc, Self::Xpidf, Self::Categories];

    /// Its media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::Pidf => "application/pidf+xml",
            Self::Msrtc => "text/xml+msrtc.pidf",
            Self::Xpidf => "application/xpidf+xml",
            Self::Categories => "application/msrtc-event-categories+xml",
        }
    }

    /// Somebody in a call; what he notes is left out where the format has no place for it.
    pub fn in_a_call(self, user: &str, note: &str) -> String {
        let (user, text) = (escape(user), escape(note));
        match self {
            Self::Pidf => Document::write(&user, &[Tuple::open("desk").show("dnd").note(note)]),
            Self::Msrtc => format!(
                "<presentity uri=\"{user}\" xmlns=\"http://schemas.microsoft.com/2002/09/sip/presence\">\r\n\
                 <availability aggregate=\"300\" description=\"\" epid=\"01010101\"/>\r\n\
                 <activity aggregate=\"600\" description=\"\" note=\"{text}\"/>\r\n\
                 <displayName displayName=\"{user}\"/><email email=\"{user}\"/><phoneNumber label=\"\" number=\"\"/>\r\n\
                 <devices><devicePresence epid=\"01010101\"><availability aggregate=\"300\"/></devicePresence></devices>\r\n\
                 </presentity>"
            ),
            Self::Xpidf => format!(
                "<?xml version=\"1.0\"?>\r\n\
                 <!DOCTYPE presence PUBLIC \"-//IETF//DTD RFCxxxx XPIDF 1.0//EN\" \"xpidf.dtd\">\r\n\
                 <presence>\r\n<presentity uri=\"sip:{user};method=SUBSCRIBE\"/>\r\n<atom id=\"1001\">\r\n\
                 <address uri=\"sip:{user};user=ip\" priority=\"0.800000\">\r\n<status status=\"inuse\"/>\r\n\
                 <msnsubstatus substatus=\"onthephone\"/>\r\n</address>\r\n</atom>\r\n</presence>\r\n"
            ),
            Self::Categories => categories(&user, &text),
        }
    }

    /// Reads a document of this format.
    pub fn read(self, text: &str) -> Result<Said> {
        if self == Self::Pidf {
            return read_pidf(text);
        }
        let root = root(text)?;
        let about = match self {
            Self::Xpidf => attribute(child(&root, "presentity")?, "uri")?,
            _ => attribute(&root, "uri")?,
        };
        let about = about.trim_start_matches("sip:").split(';').next().unwrap_or_default().to_owned();
        let (state, note) = match self {
            Self::Pidf => bail!("read above"),
            Self::Msrtc => {
                let activity = child(&root, "activity")?;
                (attribute(activity, "aggregate")?, activity.attribute("note").map(str::to_owned))
            }
            Self::Xpidf => {
                let address = child(child(&root, "atom")?, "address")?;
                let state = match address.child("msnsubstatus") {
                    Some(detail) => attribute(detail, "substatus")?,
                    None => attribute(child(address, "status")?, "status")?,
                };
                (state, None)
            }
            Self::Categories => {
                let state = child(category(&root, "state")?, "state")?;
                let note = child(child(category(&root, "note")?, "note")?, "body").ok();
                (child(state, "availability")?.text.clone(), note.map(|body| body.text.clone()))
            }
        };
        Ok(Said { about, state, note: note.filter(|note| !note.is_empty()) })
    }
}

/// State, note, services, card and calendar: some four thousand bytes, as they come when a subscription begins.
fn categories(user: &str, note: &str) -> String {
    let category = |name: &str, container: u32, inside: &str| {
        format!(
            "<category name=\"{name}\" instance=\"0\" publishTime=\"2026-11-20T13:00:00.117\" \
             container=\"{container}\" version=\"7\">{inside}</category>"
        )
    };
    let state = "<state xsi:type=\"aggregateState\" lastActive=\"2026-11-20T12:00:00\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
        xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\"><availability>6500</availability>\
        <activity token=\"on-the-phone\" minAvailability=\"6500\" maxAvailability=\"8999\"/>\
        <device>computer</device></state>";
    let note = format!(
        "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\">\
         <body type=\"personal\" uri=\"\">{note}</body></note>"
    );
    let ability = |name: &str| {
        format!(
            "<{name} render=\"true\" capture=\"true\" deviceAvailability=\"6500\" preferredDevice=\"false\"/>"
        )
    };
    let abilities: String = ["text", "voice", "video", "applicationSharing"].map(ability).concat();
    let services = format!(
        "<services xmlns=\"http://schemas.microsoft.com/2006/09/sip/service\"><service uri=\"{user}\">\
         <capabilities>{abilities}</capabilities></service></services>"
    );
    let card = format!(
        "<contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\"><identity>\
         <name><displayName>{user}</displayName></name><email>{user}</email></identity></contactCard>"
    );
    let calendar = format!(
        "<calendarData xmlns=\"http://schemas.microsoft.com/2006/09/sip/calendarData\" mailboxID=\"{user}\">\
         <freeBusy startTime=\"2026-11-20T00:00:00Z\" granularity=\"PT15M\" encodingVersion=\"1\">{}</freeBusy>\
         </calendarData>",
        "AAAAAAAA".repeat(200)
    );
    let inside: String = [
        ("state", 2, state),
        ("note", 100, &note),
        ("services", 100, &services),
        ("contactCard", 100, &card),
        ("calendarData", 300, &calendar),
    ]
    .map(|(name, container, inside)| category(name, container, inside))
    .concat();
    format!(
        "<categories xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\" uri=\"sip:{user}\">{inside}\
         </categories>"
    )
}

fn read_pidf(text: &str) -> Result<Said> {
    let document = Document::read(text)?;
    let open = document.tuples.iter().find(|tuple| tuple.open);
    let (state, note) = match open {
        Some(tuple) => (tuple.show.as_deref().unwrap_or("open"), tuple.notes.first().cloned()),
        None => ("closed", None),
    };
    let about = document.entity.trim_start_matches("pres:").to_owned();
    Ok(Said { about, state: state.to_owned(), note })
}

/// The root element, behind whatever stands in front of it.
fn root(text: &str) -> Result<Element> {
    let mut rest = text.trim_start();
    while rest.starts_with("<?") || rest.starts_with("<!") {
        rest = rest.split_once('>').with_context(|| format!("no element: {text}"))?.1.trim_start();
    }
    let (root, behind) = complete(rest)?.with_context(|| format!("not complete: {text}"))?;
    ensure!(rest[behind..].trim().is_empty(), "more than one element: {text}");
    Ok(root)
}

fn category<'a>(root: &'a Element, name: &str) -> Result<&'a Element> {
    let of_that_name = |child: &&Element| child.attribute("name") == Some(name);
    root.children.iter().find(of_that_name).with_context(|| format!("no category {name}: {root}"))
}

fn child<'a>(element: &'a Element, name: &str) -> Result<&'a Element> {
    element.child(name).with_context(|| format!("no <{name}/>: {element}"))
}

fn attribute(element: &Element, name: &str) -> Result<String> {
    element.attribute(name).map(str::to_owned).with_context(|| format!("no {name}: {element}"))
}

#[cfg(test)]
mod tests {
    use super::{Format, Said};

    #[test]
    fn reads_what_it_writes() {
        for (format, state, note) in [
            (Format::Pidf, "dnd", Some("1 < 2")),
            (Format::Msrtc, "600", Some("1 < 2")),
            (Format::Xpidf, "onthephone", None),
            (Format::Categories, "6500", Some("1 < 2")),
        ] {
            let said = format.read(&format.in_a_call("alice@contoso.com", "1 < 2")).unwrap();
            let about = "alice@contoso.com".to_owned();
            assert_eq!(said, Said { about, state: state.to_owned(), note: note.map(str::to_owned) });
        }
    }

    #[test]
    fn categories_are_as_long_as_real_ones() {
        let length = Format::Categories.in_a_call("alice@contoso.com", "Working at home").len();
        assert!((3500..4500).contains(&length), "{length}");
    }

    #[test]
    fn refuses_another_format() {
        let categories = Format::Categories.in_a_call("alice@contoso.com", "");
        for format in [Format::Pidf, Format::Msrtc, Format::Xpidf] {
            assert!(format.read(&categories).is_err(), "{format:?}");
        }
    }
}
