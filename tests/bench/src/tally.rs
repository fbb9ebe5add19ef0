//! Counting messages as a sink: each pair's messages bear running numbers, and must come in order, each once.

/// Digits of a pair's number.
pub(crate) const PAIR_DIGITS: usize = 6;
/// Digits of a running number.
pub(crate) const SEQUENCE_DIGITS: usize = 8;
/// Digits of both, as they stand at the beginning of each text.
pub(crate) const ID_DIGITS: usize = PAIR_DIGITS + SEQUENCE_DIGITS;

/// What has come so far.
#[derive(Debug)]
pub(crate) struct Tally {
    last: Vec<u32>,
    pub(crate) messages: u64,
    pub(crate) wrong: u64,
    pub(crate) trouble: Option<String>,
}

impl Tally {
    pub(crate) fn new(pairs: u32) -> Self {
        Self { last: vec![0; pairs as usize], messages: 0, wrong: 0, trouble: None }
    }

    /// Counts a message whose text begins with these bytes; returns its pair.
    pub(crate) fn message(&mut self, text: &[u8]) -> Option<u32> {
        let Some((pair, sequence)) = identify(text) else {
            self.complain(format!("a message without a number: {}", String::from_utf8_lossy(text)));
            return None;
        };
        match self.last.get_mut(pair as usize) {
            Some(last) if *last + 1 == sequence => {
                *last = sequence;
                self.messages += 1;
            }
            last => {
                let last = last.copied().unwrap_or_default();
                self.complain(format!("message {sequence} of pair {pair} came after {last}"));
            }
        }
        Some(pair)
    }

    /// Counts something that should not have come.
    pub(crate) fn complain(&mut self, trouble: String) {
        self.wrong += 1;
        self.trouble.get_or_insert(trouble);
    }

    /// Counts messages that bear no numbers.
    pub(crate) fn anonymous(&mut self, count: u64) {
        self.messages += count;
    }
}

/// Pair and running number at the beginning of `text`.
pub(crate) fn identify(text: &[u8]) -> Option<(u32, u32)> {
    let (pair, rest) = text.split_at_checked(PAIR_DIGITS)?;
    Some((number(pair)?, number(rest.get(..SEQUENCE_DIGITS)?)?))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u32::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_messages_come_in_order_and_once() {
        let mut tally = Tally::new(8);
        assert_eq!(tally.message(b"00000700000001 Hello"), Some(7));
        assert_eq!(tally.message(b"00000700000002"), Some(7));
        assert_eq!((tally.messages, tally.wrong), (2, 0));
        for wrong in [
            &b"00000700000002 twice"[..],
            b"00000700000004 one is missing",
            b"00000800000001 nobody",
            b"Hello",
            b"00000700000",
        ] {
            let before = tally.wrong;
            tally.message(wrong);
            assert_eq!((tally.messages, tally.wrong), (2, before + 1), "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(tally.trouble.as_deref(), Some("message 2 of pair 7 came after 2"));
    }
}
