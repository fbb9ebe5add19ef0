//! Just enough PIDF to publish what a SIP user is, and to read what his contact is.
//!
//! Written apart from the code under test, as [`crate::xml`] is.

use anyhow::{Context, Result, ensure};

use crate::xml::{Element, complete, escape};

/// A presence document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Whom it is about.
    pub entity: String,
    /// Where he is.
    pub tuples: Vec<Tuple>,
}

/// One tuple of a document: one device, or one XMPP resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tuple {
    /// Its id.
    pub id: String,
    /// basic `open`.
    pub open: bool,
    /// `<show xmlns='jabber:client'>`.
    pub show: Option<String>,
    /// The priority of its contact, as written.
    pub priority: Option<String>,
    /// Its notes.
    pub notes: Vec<String>,
}

impl Tuple {
    /// An open tuple.
    pub fn open(id: &str) -> Self {
        Self { id: id.to_owned(), open: true, ..Self::default() }
    }

    /// A closed tuple.
    pub fn closed(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// The same with a show.
    #[must_use]
    pub fn show(mut self, show: &str) -> Self {
        self.show = Some(show.to_owned());
        self
    }

    /// The same with a note.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        self.notes.push(note.to_owned());
        self
    }

    /// The same with a contact priority.
    #[must_use]
    pub fn priority(mut self, priority: &str) -> Self {
        self.priority = Some(priority.to_owned());
        self
    }
}

impl Document {
    /// Reads a document; prefixes do not matter, namespaces are believed.
    pub fn read(text: &str) -> Result<Self> {
        let (declaration, rest) = text.split_once("?>").with_context(|| format!("no declaration: {text}"))?;
        ensure!(declaration.starts_with("<?xml") && declaration.contains("UTF-8"), "{text}");
        let (root, _) = complete(rest.trim_start())?.with_context(|| format!("not complete: {text}"))?;
        ensure!(local(&root) == "presence", "no presence document: {text}");
        ensure!(text.contains("urn:ietf:params:xml:ns:pidf"), "not PIDF: {text}");
        let entity = root.attribute("entity").with_context(|| format!("about nobody: {text}"))?.to_owned();
        let tuples: Vec<Tuple> =
            root.children.iter().filter(|child| local(child) == "tuple").map(tuple).collect::<Result<_>>()?;
        for (at, tuple) in tuples.iter().enumerate() {
            ensure!(tuples[..at].iter().all(|other| other.id != tuple.id), "an id twice: {text}");
        }
        Ok(Self { entity, tuples })
    }

    /// The document as a front end writes it.
    pub fn write(user: &str, tuples: &[Tuple]) -> String {
        let tuples: String = tuples.iter().map(|tuple| write_tuple(user, tuple)).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:{}\">\r\n{tuples}</presence>\r\n",
            escape(user)
        )
    }

    /// The tuple of that id.
    pub fn tuple(&self, id: &str) -> Option<&Tuple> {
        self.tuples.iter().find(|tuple| tuple.id == id)
    }

    /// Whether any tuple is open.
    pub fn is_open(&self) -> bool {
        self.tuples.iter().any(|tuple| tuple.open)
    }
}

fn write_tuple(user: &str, tuple: &Tuple) -> String {
    let basic = if tuple.open { "open" } else { "closed" };
    let show = tuple
        .show
        .as_deref()
        .map_or_else(String::new, |show| format!("<show xmlns=\"jabber:client\">{}</show>", escape(show)));
    let priority = tuple
        .priority
        .as_deref()
        .map_or_else(String::new, |priority| format!(" priority=\"{}\"", escape(priority)));
    let notes: String = tuple.notes.iter().map(|note| format!("<note>{}</note>", escape(note))).collect();
    format!(
        "<tuple id=\"{}\"><status><basic>{basic}</basic>{show}</status><contact{priority}>sip:{}</contact>{notes}</tuple>\r\n",
        escape(&tuple.id),
        escape(user)
    )
}

fn tuple(element: &Element) -> Result<Tuple> {
    let id = element.attribute("id").with_context(|| format!("a tuple without id: {element}"))?.to_owned();
    let status = child(element, "status").with_context(|| format!("a tuple without status: {element}"))?;
    let open = match child(status, "basic").map(|basic| basic.text.as_str()) {
        Some("open") => true,
        Some("closed") => false,
        other => anyhow::bail!("basic is {other:?}: {element}"),
    };
    let show = child(status, "show").map(|show| show.text.clone());
    let priority = child(element, "contact").and_then(|contact| contact.attribute("priority"));
    let notes = element.children.iter().filter(|child| local(child) == "note");
    Ok(Tuple {
        id,
        open,
        show,
        priority: priority.map(str::to_owned),
        notes: notes.map(|note| note.text.clone()).collect(),
    })
}

fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.children.iter().find(|child| local(child) == name)
}

fn local(element: &Element) -> &str {
    element.name.rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Document, Tuple};

    #[test]
    fn reads_what_it_writes() {
        let tuples =
            [Tuple::open("a").show("dnd").note("1 < 2").note("zwei").priority("0.5"), Tuple::closed("b")];
        let document = Document::read(&Document::write("alice@contoso.com", &tuples)).unwrap();
        assert_eq!(document.entity, "pres:alice@contoso.com");
        assert_eq!(document.tuples, tuples);
    }

    #[test]
    fn refuses_what_is_no_document() {
        for text in [
            "<presence/>",
            "<?xml version='1.0' encoding='UTF-8'?><presence entity='pres:a@b'/>",
            "<?xml version='1.0' encoding='UTF-8'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:a@b'>\
             <tuple id='x'><status/></tuple></presence>",
        ] {
            assert!(Document::read(text).is_err(), "{text}");
        }
    }
}
