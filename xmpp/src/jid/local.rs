use std::borrow::Cow;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

use super::{JidProblem, MAX_PART};

/// PRECIS UsernameCaseMapped without the characters RFC 7622 section 3.3.1 takes out, and without an escaped space at
/// either end.
pub(super) fn normalise(local: &str) -> Result<Cow<'_, str>, JidProblem> {
    if local.is_empty() {
        return Err(JidProblem::Empty);
    }
    let normalised = if local.is_ascii() { ascii(local)? } else { unicode(local)? };
    if normalised.len() > MAX_PART {
        return Err(JidProblem::TooLong);
    }
    if normalised.starts_with(r"\20") || normalised.ends_with(r"\20") {
        return Err(JidProblem::OuterSpace);
    }
    Ok(normalised)
}

fn ascii(local: &str) -> Result<Cow<'_, str>, JidProblem> {
    let mut upper = false;
    for byte in local.bytes() {
        if !byte.is_ascii_graphic() || excluded(byte) {
            return Err(JidProblem::Character);
        }
        upper |= byte.is_ascii_uppercase();
    }
    Ok(if upper { Cow::Owned(local.to_ascii_lowercase()) } else { Cow::Borrowed(local) })
}

fn unicode(local: &str) -> Result<Cow<'_, str>, JidProblem> {
    let once = UsernameCaseMapped::enforce(local).map_err(|_| JidProblem::Character)?;
    // Width mapping makes `＠` an `@`: look at what came out.
    if once.bytes().any(excluded) {
        return Err(JidProblem::Character);
    }
    // What is not stable under its own rules cannot be compared (RFC 8264 section 7).
    match UsernameCaseMapped::enforce(once.as_ref()) {
        Ok(twice) if twice == once => Ok(once),
        _ => Err(JidProblem::Character),
    }
}

fn excluded(byte: u8) -> bool {
    matches!(byte, b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@')
}
