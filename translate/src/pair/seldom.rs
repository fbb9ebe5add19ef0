//! What most pairs do not have at most times.

use std::ops::{Deref, DerefMut};

/// State that is nothing most of the time, and takes no room then: there are hundreds of thousands of pairs. Reading it
/// costs nothing; writing makes room, which [`Seldom::tidy`] gives back.
#[derive(Debug)]
pub(super) struct Seldom<T>(Option<Box<T>>);

/// What there is when there is nothing.
pub(super) trait Nothing: Default + PartialEq + 'static {
    const NOTHING: &'static Self;
}

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Nothing> Seldom<T> {
    /// What is there, for whoever only wants to end something.
    pub(super) fn existing(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(super) fn is_nothing(&self) -> bool {
        **self == *T::NOTHING
    }

    /// Gives back the room if nothing is in it.
    pub(super) fn tidy(&mut self) {
        self.0.take_if(|state| **state == *T::NOTHING);
    }
}

impl<T: Nothing> Deref for Seldom<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

impl<T: Nothing> DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Wait(u8);

    impl Nothing for Wait {
        const NOTHING: &'static Self = &Self(0);
    }

    #[test]
    fn there_is_room_for_it_while_there_is_something() {
        let mut wait = Seldom::<Wait>::default();
        assert_eq!((wait.0.is_some(), wait.0.is_none()), (false, true));
        assert!(wait.is_nothing() && wait.existing().is_none());
        (*wait).0 = 3;
        wait.tidy();
        assert_eq!(*wait, Wait(3));
        (*wait).0 = 0;
        wait.tidy();
        assert!(wait.existing().is_none());
    }
}
