//! What can be wrong with the value of a header field.

use crate::{HeaderName, UriError};

/// A typed header field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The field is not there.
    #[error("the {0} header field is missing")]
    Missing(HeaderName),
    /// The value is not UTF-8.
    #[error("the {0} header field is not UTF-8")]
    NotUtf8(HeaderName),
    /// Display name, quotes or angle brackets.
    #[error("the address is malformed")]
    Address,
    /// The URI inside an address.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// `;name=value` list.
    #[error("the header parameters are malformed")]
    Params,
    /// A Via element.
    #[error("the Via header field is malformed")]
    Via,
    /// A number that is none or is too large.
    #[error("the {0} header field holds no number in its range")]
    Number(HeaderName),
    /// Any other value that does not follow its grammar.
    #[error("the {0} header field is malformed")]
    Malformed(HeaderName),
}
