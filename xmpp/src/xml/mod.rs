//! Strict XML for XMPP: what arrives is framed, checked and turned into [`Element`]s; what leaves is escaped and declares
//! its own namespaces.
//!
//! The way in is: `framer` (finds the end of a first-level element, enforces sizes and depth while bytes arrive)
//! → quick-xml as tokeniser over the complete element → strict filter → [`Element`]. quick-xml alone is not a
//! well-formedness checker; everything RFC 6120 section 11 and XML Namespaces ask for beyond it is in `parse`. What is only
//! read, and not kept, is read as a [`Document`]: the same filter, but what comes out stands in the bytes that came in.

mod chars;
mod document;
mod element;
mod error;
pub mod escape;
mod framer;
mod header;
mod limits;
mod namespace;
pub mod ns;
mod parse;
mod reader;
mod scope;
mod tag;
mod tree;
mod write;

pub use document::{Document, ElementRef};
pub use element::{Attribute, Element, Node};
pub use error::{ReadError, ReadErrorKind};
pub use header::StreamHeader;
pub use limits::ReadLimits;
pub use namespace::Namespace;
pub use reader::{StreamItem, StreamReader};
pub use write::StartTag;
