//! Where a request inside a dialog goes: Request-URI and Route (RFC 3261 §12.2.1.1, §16.12.1.2).

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::{HeaderError, NameAddr};

/// Route sets are short.
pub(super) type Routes<'a> = SmallVec<[&'a str; 4]>;

/// Request-URI and Route of a request.
pub(super) struct Path<'a> {
    pub(super) request_uri: Cow<'a, str>,
    pub(super) routes: Routes<'a>,
    pub(super) last: Option<String>,
}

impl<'a> Path<'a> {
    /// Loose routing: the remote target, and all routes. Strict routing: the first route's URI, then the others, then
    /// the remote target.
    pub(super) fn of(target: &'a str, routes: impl Iterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let mut routes: Routes<'a> = routes.collect();
        let Some(first) = routes.first() else {
            return Ok(Self { request_uri: request_uri(target), routes, last: None });
        };
        let first = NameAddr::parse(first)?.uri;
        if first.params().contains("lr") {
            return Ok(Self { request_uri: request_uri(target), routes, last: None });
        }
        let last = Some(["<", target, ">"].concat());
        routes.remove(0);
        Ok(Self { request_uri: request_uri(first.as_str()), routes, last })
    }
}

/// A URI without what may not stand in a Request-URI (RFC 3261 §19.1.1): headers and `method`.
fn request_uri(uri: &str) -> Cow<'_, str> {
    // In front of the `@`, `?` and `;` are letters of the user's name (§25.1); behind it there is no second one.
    let (user, rest) = uri.split_at(uri.find('@').map_or(0, |at| at + 1));
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    let is_method = |piece: &&str| piece.split('=').next().is_some_and(|n| n.eq_ignore_ascii_case("method"));
    let mut pieces = rest.split(';');
    if !pieces.clone().any(|piece| is_method(&piece)) {
        return uri.get(..user.len() + rest.len()).unwrap_or(uri).into();
    }
    let mut out = [user, pieces.next().unwrap_or_default()].concat();
    for piece in pieces.filter(|piece| !is_method(piece)) {
        out.push(';');
        out.push_str(piece);
    }
    out.into()
}
