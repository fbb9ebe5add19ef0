//! A queue for what comes seldom and in small numbers.

/// Hundreds of thousands of subscriptions have nothing to say at any one time: an empty queue is one word. What is put into it
/// has an allocation of its own, and the last place is found by going there.
#[derive(Debug)]
pub(super) struct Few<T>(Option<Box<Link<T>>>);

#[derive(Debug)]
struct Link<T> {
    item: T,
    next: Few<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Few<T> {
    pub(super) fn push_back(&mut self, item: T) {
        let mut end = &mut self.0;
        while let Some(link) = end {
            end = &mut link.next.0;
        }
        *end = Some(Box::new(Link { item, next: Self::default() }));
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let Link { item, next } = *self.0.take()?;
        *self = next;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first_and_nothing_takes_one_word() {
        let mut few = Few::default();
        assert_eq!(few.pop_front(), None);
        few.push_back(1);
        few.push_back(2);
        assert_eq!(few.pop_front(), Some(1));
        few.push_back(3);
        assert_eq!([few.pop_front(), few.pop_front(), few.pop_front()], [Some(2), Some(3), None]);
        assert_eq!(size_of::<Few<[u8; 100]>>(), size_of::<usize>());
    }
}
