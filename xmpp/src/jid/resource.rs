use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

use super::{JidProblem, MAX_PART};

/// PRECIS OpaqueString; a leading space is refused as example 18 of RFC 7622 has it.
pub(super) fn normalise(resource: &str) -> Result<Cow<'_, str>, JidProblem> {
    if resource.is_empty() {
        return Err(JidProblem::Empty);
    }
    let normalised = if resource.is_ascii() {
        if resource.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(JidProblem::Character);
        }
        Cow::Borrowed(resource)
    } else {
        OpaqueString::enforce(resource).map_err(|_| JidProblem::Character)?
    };
    if normalised.len() > MAX_PART {
        return Err(JidProblem::TooLong);
    }
    if normalised.starts_with(' ') {
        return Err(JidProblem::Character);
    }
    Ok(normalised)
}
