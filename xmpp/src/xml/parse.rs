use super::element::Element;
use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;

/// See [`Element::parse_document`].
pub(super) fn document(_document: &[u8], _limits: &ReadLimits) -> Result<Element, ReadError> {
    Err(ReadErrorKind::Incomplete.into())
}
