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
        unicode(resource)?
    };
    if normalised.len() > MAX_PART {
        return Err(JidProblem::TooLong);
    }
    if normalised.starts_with(' ') {
        return Err(JidProblem::Character);
    }
    Ok(normalised)
}

fn unicode(resource: &str) -> Result<Cow<'_, str>, JidProblem> {
    let once = OpaqueString::enforce(resource).map_err(|_| JidProblem::Character)?;
    // Normalisation can make a character that is not allowed where it stands (U+0387 becomes U+00B7): then the result
    // would be no address to the next who reads it (RFC 8264 section 7).
    match OpaqueString::enforce(once.as_ref()) {
        Ok(twice) if twice == once => Ok(once),
        _ => Err(JidProblem::Character),
    }
}
