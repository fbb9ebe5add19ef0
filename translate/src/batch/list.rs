//! The list in the body of a batched SUBSCRIBE, in both forms there are.
//!
//! The older one (`application/adrl+xml`) creates a list, or adds to it and deletes from it. The newer one
//! (`application/msrtc-adrl-categorylist+xml`) says which action it wants; its list of categories is left alone, for a contact
//! has one document only.

use nuncio_sip::ContentType;
use nuncio_xmpp::{Document, ElementRef, ReadError, ReadErrorKind, ReadLimits, ns};

use super::MAX_MEMBERS;

/// Media types of lists.
pub const MEDIA: [&str; 2] = ["application/adrl+xml", "application/msrtc-adrl-categorylist+xml"];

/// Most parts of one list: `create`, `add` and `delete`, or lists in actions. Clients send one.
pub const MAX_PARTS: usize = 16;

/// What a list may cost: that many resources, each with what clients put into it.
const LIMITS: ReadLimits = ReadLimits {
    stanza: 256 * 1024,
    tag: 4 * 1024,
    depth: 12,
    elements: 8 * MAX_MEMBERS,
    attributes: 16,
    name: 128,
    namespace: 512,
    declarations: 64,
};

/// What a list wants changed, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Everybody who was in it before is not any more.
    Clear,
    /// The URI of a resource.
    Add(Box<str>),
    Remove(Box<str>),
}

/// Why a list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("the list is not acceptable as XML: {0}")]
    Xml(#[from] ReadError),
    #[error("the list is neither an <adhoclist/> nor a <batchSub/>")]
    Root,
    #[error("the list wants an action other than subscribe and unsubscribe")]
    Action,
    #[error("a resource of the list has no URI")]
    Resource,
    #[error("the list names more than {MAX_MEMBERS} resources")]
    TooMany,
    #[error("the list has more than {MAX_PARTS} parts")]
    TooManyParts,
}

impl ListError {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Xml(error) => match error.kind {
                ReadErrorKind::Encoding => 415,
                ReadErrorKind::StanzaTooBig => 413,
                _ => 400,
            },
            Self::TooMany | Self::TooManyParts => 413,
            Self::Root | Self::Action | Self::Resource => 400,
        }
    }
}

/// Whether a body of this type is a list.
pub fn is_list(media: &ContentType<'_>) -> bool {
    MEDIA.iter().any(|ours| ours.split_once('/').is_some_and(|(main, sub)| media.is(main, sub)))
}

/// Reads a list.
///
/// # Errors
/// [`ListError`].
pub fn read(body: &[u8]) -> Result<Vec<Change>, ListError> {
    let document = Document::parse(body, &LIMITS)?;
    let root = document.root();
    let mut parts = Parts::default();
    match (root.name(), root.ns()) {
        // Clients leave its namespace out.
        ("adhoclist", ns::ADHOC_LIST | "") => {
            for part in root.elements() {
                match part.name() {
                    "create" => {
                        parts.changes.push(Change::Clear);
                        parts.take(part, Change::Add)?;
                    }
                    "add" => parts.take(part, Change::Add)?,
                    "delete" | "remove" => parts.take(part, Change::Remove)?,
                    _ => {}
                }
            }
        }
        ("batchSub", ns::BATCH_SUBSCRIBE) => {
            for action in root.elements().filter(|part| part.name() == "action") {
                let change = match action.attr("name") {
                    Some("subscribe") => Change::Add,
                    Some("unsubscribe") => Change::Remove,
                    _ => return Err(ListError::Action),
                };
                for list in action.elements().filter(|part| part.name() == "adhocList") {
                    parts.take(list, change)?;
                }
            }
        }
        _ => return Err(ListError::Root),
    }
    Ok(parts.changes)
}

/// What has been read of a list.
#[derive(Default)]
struct Parts {
    changes: Vec<Change>,
    parts: usize,
    resources: usize,
}

impl Parts {
    fn take(&mut self, part: ElementRef<'_>, change: fn(Box<str>) -> Change) -> Result<(), ListError> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(ListError::TooManyParts);
        }
        for resource in part.elements().filter(|part| part.name() == "resource") {
            let uri = resource.attr("uri").map(str::trim).filter(|uri| !uri.is_empty());
            self.changes.push(change(uri.ok_or(ListError::Resource)?.into()));
            self.resources += 1;
            if self.resources > MAX_MEMBERS {
                return Err(ListError::TooMany);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(uris: &[&str]) -> Vec<Change> {
        uris.iter().map(|uri| Change::Add((*uri).into())).collect()
    }

    #[test]
    fn ev_19_the_older_form_creates_adds_and_deletes() {
        for ns in ["", " xmlns=\"urn:ietf:params:xml:ns:adrl\""] {
            let list = format!(
                "<adhoclist{ns} uri=\"sip:a@contoso.com\" name=\"sip:a@contoso.com\"><create>\
                 <resource uri=\"sip:b@x.example\"/><resource uri=\" sip:c@y.example \"/></create></adhoclist>"
            );
            let changes = read(list.as_bytes()).unwrap();
            assert_eq!(changes[0], Change::Clear, "{ns}");
            assert_eq!(changes[1..], added(&["sip:b@x.example", "sip:c@y.example"]), "{ns}");
        }
        let list = "<adhoclist uri='sip:a@b'><add><resource uri='sip:b@x'/></add><other/><delete><resource uri='sip:c@y'/>\
                    </delete></adhoclist>";
        let changes = [Change::Add("sip:b@x".into()), Change::Remove("sip:c@y".into())];
        assert_eq!(read(list.as_bytes()).unwrap(), changes);
    }

    fn batch(action: &str) -> String {
        format!(
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"sip:a@contoso.com\" \
             name=\"\"><action name=\"{action}\" id=\"63792024\"><adhocList><resource uri=\"sip:b@x.example\"/>\
             <resource uri=\"sip:c@y.example\"><context><subscriptionContext \
             xmlns=\"http://schemas.microsoft.com/2008/09/sip/SubscriptionContext\" majorVersion=\"1\"/></context></resource>\
             </adhocList><categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">\
             <category name=\"state\"/></categoryList></action></batchSub>"
        )
    }

    #[test]
    fn ev_19_the_newer_form_subscribes_and_unsubscribes() {
        let uris = ["sip:b@x.example", "sip:c@y.example"];
        assert_eq!(read(batch("subscribe").as_bytes()).unwrap(), added(&uris));
        let removed: Vec<_> = uris.iter().map(|uri| Change::Remove((*uri).into())).collect();
        assert_eq!(read(batch("unsubscribe").as_bytes()).unwrap(), removed);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (list, status) in [
            ("<list/>", 400),
            ("<adhoclist xmlns='urn:x'/>", 400),
            ("<batchSub><action name='subscribe'/></batchSub>", 400),
            ("<adhoclist><create><resource/></create></adhoclist>", 400),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><adhoclist>&b;</adhoclist>", 400),
            ("<adhoclist>", 400),
            ("", 400),
            (&batch("query"), 400),
        ] {
            assert_eq!(read(list.as_bytes()).map_err(|error| error.status()), Err(status), "{list}");
        }
    }

    #[test]
    fn as_many_as_may_be_and_one_more() {
        for part in ["create", "add"] {
            let of = |count: usize| {
                let all: String =
                    (0..count).map(|n| format!("<resource uri='sip:u{n}@x.example'/>")).collect();
                format!("<adhoclist><{part}>{all}</{part}></adhoclist>")
            };
            assert!(read(of(MAX_MEMBERS).as_bytes()).is_ok(), "{part}");
            assert_eq!(read(of(MAX_MEMBERS + 1).as_bytes()), Err(ListError::TooMany), "{part}");
        }
    }

    #[test]
    fn as_many_parts_as_may_be_and_one_more() {
        for part in ["<create/>", "<add/>", "<delete><resource uri='sip:a@b'/></delete>"] {
            let of = |count: usize| format!("<adhoclist>{}</adhoclist>", part.repeat(count));
            assert!(read(of(MAX_PARTS).as_bytes()).is_ok(), "{part}");
            assert_eq!(read(of(MAX_PARTS + 1).as_bytes()), Err(ListError::TooManyParts), "{part}");
        }
        let of = |count: usize| {
            let lists = "<adhocList/>".repeat(count);
            let ns = ns::BATCH_SUBSCRIBE;
            format!("<batchSub xmlns='{ns}'><action name='subscribe'>{lists}</action></batchSub>")
        };
        assert!(read(of(MAX_PARTS).as_bytes()).is_ok());
        assert_eq!(read(of(MAX_PARTS + 1).as_bytes()), Err(ListError::TooManyParts));
    }

    #[test]
    fn as_many_elements_as_may_be_and_one_more() {
        // Besides the root.
        let of = |count: usize| format!("<adhoclist>{}</adhoclist>", "<x/>".repeat(count - 1));
        assert!(read(of(LIMITS.elements).as_bytes()).is_ok());
        let error = read(of(LIMITS.elements + 1).as_bytes()).unwrap_err();
        assert!(matches!(error, ListError::Xml(_)) && error.status() == 400, "{error}");
    }
}
