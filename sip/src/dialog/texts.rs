//! A list of texts in one allocation: there are several for each of hundreds of thousands of dialogs.

/// Texts that are set together. Each stands behind its length, which is written in characters of six bits, the lowest
/// first; the last of them has the seventh bit clear.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts(Box<str>);

const BITS: u32 = 6;
const MORE: usize = 1 << BITS;

impl Texts {
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let size = texts.clone().map(|text| text.len() + length(text.len()).count()).sum();
        let mut all = String::with_capacity(size);
        for text in texts {
            all.extend(length(text.len()));
            all.push_str(text);
        }
        Self(all.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (mut len, mut shift) = (0, 0);
            loop {
                let (digit, more) = rest.split_at_checked(1)?;
                let digit = usize::from(*digit.as_bytes().first()?);
                rest = more;
                len |= (digit & (MORE - 1)) << shift;
                shift += BITS;
                if digit & MORE == 0 {
                    break;
                }
            }
            let (text, more) = rest.split_at_checked(len)?;
            rest = more;
            Some(text)
        })
    }

    /// The text of that number; empty if there is none.
    pub(super) fn get(&self, number: usize) -> &str {
        self.iter().nth(number).unwrap_or_default()
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn length(len: usize) -> impl Iterator<Item = char> {
    let mut rest = Some(len);
    std::iter::from_fn(move || {
        let len = rest?;
        let more = len >> BITS;
        rest = (more > 0).then_some(more);
        let digit = (len & (MORE - 1)) | if more > 0 { MORE } else { 0 };
        Some(char::from(u8::try_from(digit).unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_at_every_length_at_which_the_length_grows() {
        let long: Vec<String> =
            [0, 1, 63, 64, 65, 4095, 4096, 4097, 300_000].map(|len| "ü".repeat(len)).into();
        let texts = Texts::of(long.iter().map(String::as_str));
        assert!(texts.iter().eq(long.iter().map(String::as_str)));
        assert_eq!((texts.get(2), texts.get(9)), (&*long[2], ""));
    }

    #[test]
    fn it_takes_what_the_texts_take_and_a_byte_or_two_for_each() {
        let texts = Texts::of(["", "tag", &"x".repeat(100)].into_iter());
        assert_eq!(texts.0.len(), 3 + 100 + 1 + 1 + 2);
    }
}
