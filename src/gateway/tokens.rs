//! Names that nobody can guess.

use compact_str::CompactString;

use super::Gateway;

impl Gateway {
    /// A fresh name that nobody can guess: the node's label and 128 random bits. For tags, branches, Call-IDs
    /// and stream ids; a pool finds the node by its label.
    pub fn token(&self) -> CompactString {
        let mut token = CompactString::with_capacity(self.settings.node_label.len() + 33);
        token.push_str(&self.settings.node_label);
        token.push('.');
        for random in [self.random(), self.random()] {
            let digits = hex(random);
            token.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        }
        token
    }
}

/// Sixteen digits, by arithmetic on all of them at a time rather than one by one: tokens are made for each message.
fn hex(number: u64) -> [u8; 16] {
    const LOW: u128 = 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    // One nibble into each byte: halves, quarters, … move apart.
    let mut nibbles = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff_u128),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, LOW),
    ] {
        nibbles = (nibbles | nibbles << shift) & mask;
    }
    // 6 lifts the digits from `a` on over the next sixteen.
    let letters = ((nibbles + 6 * ONES) >> 4) & ONES;
    (nibbles + u128::from(b'0') * ONES + u128::from(b'a' - b'0' - 10) * letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_writes_what_the_formatter_writes() {
        for number in [0, 1, 9, 10, 15, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 1 << 63] {
            assert_eq!(std::str::from_utf8(&hex(number)), Ok(format!("{number:016x}").as_str()));
        }
    }
}
