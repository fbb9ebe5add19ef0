use std::borrow::Cow;

use smallvec::SmallVec;

use super::element::{Attribute, Element};
use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;
use super::namespace::Namespace;
use super::parse::{self, Builder};

/// Builds an [`Element`] of what is read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Those whose end has not come yet, outermost first. Boxed at once, so that they are moved by pointer.
    open: SmallVec<[Box<Element>; 4]>,
    root: Option<Box<Element>>,
}

impl Tree {
    /// Reads one whole document.
    pub(super) fn read(
        document: &[u8],
        encoding: parse::Encoding,
        limits: &ReadLimits,
    ) -> Result<Element, ReadError> {
        let mut tree = Self::default();
        parse::document(document, encoding, limits, &mut tree)?;
        tree.finish()
    }

    /// What was read.
    pub(super) fn finish(self) -> Result<Element, ReadError> {
        self.root.map(|root| *root).ok_or_else(|| ReadErrorKind::Incomplete.into())
    }
}

impl<'a> Builder<'a> for Tree {
    fn open(&mut self, name: &'a str, ns: Namespace, attributes: usize) {
        let mut element = Box::new(Element::from_parts(name.into(), ns));
        element.attrs_mut().reserve_exact(attributes);
        self.open.push(element);
    }

    fn attribute(&mut self, name: &'a str, ns: Namespace, value: Cow<'a, str>) {
        if let Some(element) = self.open.last_mut() {
            element.attrs_mut().push(Attribute { name: name.into(), ns, value: value.as_ref().into() });
        }
    }

    fn text(&mut self, text: Cow<'a, str>) {
        if let Some(element) = self.open.last_mut() {
            element.push_text(&text);
        }
    }

    fn character(&mut self, character: char) {
        if let Some(element) = self.open.last_mut() {
            element.push_text(character.encode_utf8(&mut [0; 4]));
        }
    }

    fn close(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => parent.push_boxed(closed),
            None => self.root = Some(closed),
        }
    }
}
