//! `text/html` in messages: made plain text always, and XHTML-IM where that is wanted (IM-04, SEC-33).
//!
//! HTML from outside is read by a tokeniser that cannot fail, and what is written is made anew from what was understood: no
//! byte of a tag is ever copied.

mod entities;
mod link;
mod to_text;
mod tokens;
mod xhtml_im;

pub(super) use to_text::to_text;
pub(super) use xhtml_im::{remove as remove_xhtml_im, write as write_xhtml_im};
