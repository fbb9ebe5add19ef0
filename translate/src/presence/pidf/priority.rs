//! `<priority/>` 0…127 ⇄ contact priority 0…1 in thousandths (PM-07, PD-04).

/// The contact priority, in thousandths; `None` for negative ones, which must not be mapped.
pub(super) fn to_thousandths(priority: i8) -> Option<u16> {
    u32::try_from(priority).ok().and_then(|priority| u16::try_from(priority * 1000 / 127).ok())
}

/// Appends thousandths as a decimal number of as few digits as it takes.
pub(super) fn write(thousandths: u16, out: &mut Vec<u8>) {
    if thousandths >= 1000 {
        out.push(b'1');
        return;
    }
    out.push(b'0');
    let (mut rest, mut place) = (thousandths, 100);
    if rest > 0 {
        out.push(b'.');
    }
    while rest > 0 {
        out.push(b'0' + u8::try_from(rest / place).unwrap_or(0));
        rest %= place;
        place /= 10;
    }
}

/// Reads a contact priority; `None` if it is no decimal number between 0 and 1 with at most three decimals, which then is
/// as if it were not there.
pub(super) fn parse(text: &str) -> Option<i8> {
    let text = text.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = decimals.bytes().map(|byte| u16::from(byte - b'0')).chain(std::iter::repeat(0));
    let fraction = digits.take(3).fold(0, |sum, digit| sum * 10 + digit);
    let thousandths = match (whole, fraction) {
        ("0", fraction) => fraction,
        ("1", 0) => 1000,
        _ => return None,
    };
    // The inverse of cutting off is rounding.
    i8::try_from((u32::from(thousandths) * 127 + 500) / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(priority: i8) -> Option<String> {
        let mut out = Vec::new();
        write(to_thousandths(priority)?, &mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn pm_07_the_examples_of_the_rfc() {
        for (priority, expected) in
            [(0, "0"), (1, "0.007"), (2, "0.015"), (64, "0.503"), (126, "0.992"), (127, "1")]
        {
            assert_eq!(text(priority).as_deref(), Some(expected));
        }
    }

    #[test]
    fn pm_07_all_priorities_come_back_and_negative_ones_do_not_cross() {
        for priority in 0..=i8::MAX {
            assert_eq!(text(priority).as_deref().and_then(parse), Some(priority));
        }
        assert!((i8::MIN..0).all(|priority| to_thousandths(priority).is_none()));
    }

    #[test]
    fn pd_04_anything_else_is_ignored() {
        for good in ["0", "0.", "0.5", "1.00", "1.", " 1 "] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["1.5", "-1", "0.0215", "1.001", "", ".5", "2", "+0", "0.x", "0,5", "1e0", "0.-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
