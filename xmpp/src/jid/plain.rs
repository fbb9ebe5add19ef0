use super::MAX_PART;

/// Most octets of a domain and of a label; as in DNS.
const MAX_DNS: usize = 253;
const MAX_LABEL: usize = 63;

/// The short cut for addresses that are plainly normal already: ASCII, lower case, nothing that PRECIS or IDNA would want
/// to look at. Returns the lengths of the local part (0 without one) and of the bare address. `None` says nothing about
/// the address.
pub(super) fn split(address: &str) -> Option<(u16, u16)> {
    let bytes = address.as_bytes();
    let bare_end = bytes.iter().position(|&byte| byte == b'/').unwrap_or(bytes.len());
    let (bare, resource) = bytes.split_at_checked(bare_end)?;
    let (local, domain) = match bare.iter().position(|&byte| byte == b'@') {
        Some(at) => (bare.get(..at)?, bare.get(at + 1..)?),
        None => (&[][..], bare),
    };
    let has_local = local.len() < bare.len() && domain.len() < bare.len();
    if has_local && (local.is_empty() || local.len() > MAX_PART || !local.iter().all(|&byte| is_local(byte)))
    {
        return None;
    }
    if !is_domain(domain) {
        return None;
    }
    if let Some((_, resource)) = resource.split_first() {
        let printable = resource.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !printable || resource.len() > MAX_PART || matches!(resource.first(), None | Some(b' ')) {
            return None;
        }
    }
    Some((u16::try_from(local.len()).ok()?, u16::try_from(bare.len()).ok()?))
}

/// Nothing excluded, nothing to fold, and no backslash: that may be an escaped space at the edge.
fn is_local(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
        && !matches!(byte, b'A'..=b'Z' | b'"' | b'&' | b'\'' | b'/' | b':' | b'<' | b'>' | b'@' | b'\\')
}

fn is_domain(domain: &[u8]) -> bool {
    domain.len() <= MAX_DNS
        && domain.split(|&byte| byte == b'.').all(|label| {
            !label.is_empty()
                && label.len() <= MAX_LABEL
                && label.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && label.first() != Some(&b'-')
                && label.last() != Some(&b'-')
                && !matches!(label, [_, _, b'-', b'-', ..])
        })
}
