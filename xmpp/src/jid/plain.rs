use super::MAX_PART;

/// Most octets of a domain and of a label; as in DNS.
const MAX_DNS: usize = 253;
const MAX_LABEL: usize = 63;

/// The short cut for addresses that are plainly normal already: ASCII, lower case, nothing that PRECIS or IDNA would want
/// to look at. Returns the lengths of the local part (0 without one) and of the bare address. `None` says nothing about
/// the address.
pub(super) fn split(address: &str) -> Option<(u16, u16)> {
    let bytes = address.as_bytes();
    let bare_end = memchr::memchr(b'/', bytes).unwrap_or(bytes.len());
    let (bare, resource) = bytes.split_at_checked(bare_end)?;
    let (local, domain) = match memchr::memchr(b'@', bare) {
        Some(at) => {
            let local = bare.get(..at)?;
            if !is_local(local) {
                return None;
            }
            (local, bare.get(at + 1..)?)
        }
        None => (&[][..], bare),
    };
    if !is_domain(domain) {
        return None;
    }
    if let Some((_, resource)) = resource.split_first() {
        let fits = !resource.is_empty() && resource.len() <= MAX_PART && resource.first() != Some(&b' ');
        if !fits || !all(resource, RESOURCE) {
            return None;
        }
    }
    Some((u16::try_from(local.len()).ok()?, u16::try_from(bare.len()).ok()?))
}

/// The same for a local part alone.
pub(super) fn is_local(local: &[u8]) -> bool {
    (1..=MAX_PART).contains(&local.len()) && all(local, LOCAL)
}

/// The same for a domain alone: labels of lower-case letters, digits and inner hyphens, none of them in the form of an
/// A-label.
pub(super) fn is_domain(domain: &[u8]) -> bool {
    if domain.len() > MAX_DNS || !all(domain, DOMAIN) {
        return false;
    }
    let is_label = |label: &[u8]| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
            && !matches!(label, [_, _, b'-', b'-', ..])
    };
    let mut rest = domain;
    while let Some(dot) = memchr::memchr(b'.', rest) {
        if !rest.get(..dot).is_some_and(is_label) {
            return false;
        }
        rest = rest.get(dot + 1..).unwrap_or_default();
    }
    is_label(rest)
}

/// Nothing excluded, nothing to fold, and no backslash: that may be an escaped space at the edge.
const LOCAL: u8 = 1;
/// Lower-case letters, digits, hyphens and dots.
const DOMAIN: u8 = 2;
/// Printable ASCII.
const RESOURCE: u8 = 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        let mut class = RESOURCE;
        if !matches!(
            byte,
            b' ' | b'A'..=b'Z' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@' | b'\\'
        ) {
            class |= LOCAL;
        }
        if matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.') {
            class |= DOMAIN;
        }
        #[expect(clippy::indexing_slicing, reason = "runs at compile time")]
        {
            table[byte as usize] = class;
        }
        byte += 1;
    }
    table
}

/// Every address of every message comes by here, and nearly all pass: no early exit, no branches.
fn all(bytes: &[u8], wanted: u8) -> bool {
    let class = |byte: u8| CLASS.get(usize::from(byte)).copied().unwrap_or(0);
    bytes.iter().fold(wanted, |so_far, &byte| so_far & class(byte)) == wanted
}
