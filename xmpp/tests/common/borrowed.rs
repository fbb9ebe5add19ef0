//! A document that is read to be dropped holds what the tree of it holds, or is refused for the same reason.
#![allow(dead_code, unreachable_pub, reason = "shared by several tests and the fuzzers")]

use nuncio_xmpp::{Document, Element, ElementRef, ReadLimits};

/// # Panics
/// If [`Document`] and [`Element`] are not of one mind.
pub fn assert_same(bytes: &[u8], limits: &ReadLimits) {
    same(Element::parse_document(bytes, limits), Document::parse(bytes, limits), bytes);
    same(Element::parse_utf8_document(bytes, limits), Document::parse_utf8(bytes, limits), bytes);
}

fn same<E: PartialEq + std::fmt::Debug>(
    tree: Result<Element, E>,
    document: Result<Document<'_>, E>,
    bytes: &[u8],
) {
    match (&tree, &document) {
        (Ok(tree), Ok(document)) => assert_element(tree, document.root()),
        (tree, document) => {
            let (tree, document) = (tree.as_ref().err(), document.as_ref().err());
            assert_eq!(tree, document, "{}", String::from_utf8_lossy(bytes));
        }
    }
}

fn assert_element(tree: &Element, element: ElementRef<'_>) {
    assert_eq!((tree.name(), tree.ns(), tree.text()), (element.name(), element.ns(), element.text()));
    assert!(element.is(tree.name(), tree.ns()));
    let attrs: Vec<_> = tree.attrs().map(|attr| (attr.name(), attr.ns(), attr.value())).collect();
    assert_eq!(attrs, element.attrs().collect::<Vec<_>>());
    for (name, ns, value) in attrs {
        assert_eq!(element.attr_ns(name, ns), Some(value));
        assert_eq!(element.attr(name), tree.attr(name));
    }
    assert_eq!(tree.elements().count(), element.elements().count());
    for (tree, element) in tree.elements().zip(element.elements()) {
        assert_element(tree, element);
    }
}
