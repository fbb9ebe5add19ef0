//! Entries that are found by handle, removed in any order and visited in the order they came.
//!
//! All timeouts of one kind are equally long, so the entry that came first is the one that expires
//! first: a linked queue answers "what is due next?" without a heap. Entries that end early — nearly
//! all of them — leave the queue at once, so one stuck transaction never pins its successors.

/// Names one entry of an [`Arena`]. A handle whose entry is gone finds nothing, also when the slot
/// has been used again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handle(u64);

/// A slab whose entries stand in one of `LANES` first-in-first-out queues.
#[derive(Debug)]
pub(super) struct Arena<T, const LANES: usize> {
    slots: Vec<Slot<T>>,
    free: u32,
    lanes: [Lane; LANES],
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Neighbours in the lane; `next` links the free list while the slot is empty.
    previous: u32,
    next: u32,
    lane: u32,
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    head: u32,
    tail: u32,
}

/// The end of a chain.
const NONE: u32 = u32::MAX;

impl<T, const LANES: usize> Arena<T, LANES> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, lanes: [Lane { head: NONE, tail: NONE }; LANES], len: 0 }
    }

    /// Puts an entry at the end of `lane`.
    pub(super) fn push(&mut self, lane: usize, value: T) -> Handle {
        let index = self.vacant(value);
        self.attach(index, lane);
        self.len += 1;
        self.handle(index)
    }

    /// Takes an entry out, wherever it stands.
    pub(super) fn remove(&mut self, handle: Handle) -> Option<T> {
        let index = self.index(handle)?;
        self.detach(index);
        let free = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take();
        slot.generation = slot.generation.wrapping_add(1);
        slot.next = free;
        self.free = index;
        self.len -= 1;
        value
    }

    /// Moves an entry to the end of `lane`.
    pub(super) fn shift(&mut self, handle: Handle, lane: usize) {
        if let Some(index) = self.index(handle) {
            self.detach(index);
            self.attach(index, lane);
        }
    }

    /// The oldest entry of `lane`.
    pub(super) fn first(&self, lane: usize) -> Option<(Handle, &T)> {
        let index = self.lanes.get(lane)?.head;
        let value = self.slots.get(index as usize)?.value.as_ref()?;
        Some((self.handle(index), value))
    }

    /// The entries of `lane`, the oldest first.
    #[cfg(test)]
    pub(super) fn iter(&self, lane: usize) -> impl Iterator<Item = &T> {
        let mut index = self.lanes.get(lane).map_or(NONE, |ends| ends.head);
        std::iter::from_fn(move || {
            let slot = self.slots.get(index as usize)?;
            index = slot.next;
            slot.value.as_ref()
        })
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&T> {
        self.slots.get(self.index(handle)? as usize)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let index = self.index(handle)?;
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    /// The lane an entry stands in.
    pub(super) fn lane(&self, handle: Handle) -> Option<usize> {
        self.slots.get(self.index(handle)? as usize).map(|slot| slot.lane as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn vacant(&mut self, value: T) -> u32 {
        let index = self.free;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            self.free = slot.next;
            slot.value = Some(value);
            return index;
        }
        // Tables are bounded far below 2^32 entries by their owners.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, previous: NONE, next: NONE, lane: 0, value: Some(value) });
        index
    }

    fn attach(&mut self, index: u32, lane: usize) {
        let Some(ends) = self.lanes.get_mut(lane) else { return };
        let tail = std::mem::replace(&mut ends.tail, index);
        if tail == NONE {
            ends.head = index;
        }
        if let Some(last) = self.slots.get_mut(tail as usize) {
            last.next = index;
        }
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.previous = tail;
            slot.next = NONE;
            slot.lane = lane as u32;
        }
    }

    fn detach(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index as usize) else { return };
        let (previous, next, lane) = (slot.previous, slot.next, slot.lane);
        let Some(ends) = self.lanes.get_mut(lane as usize) else { return };
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => ends.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => ends.tail = previous,
        }
    }

    fn handle(&self, index: u32) -> Handle {
        let generation = self.slots.get(index as usize).map_or(0, |slot| slot.generation);
        Handle(u64::from(generation) << 32 | u64::from(index))
    }

    fn index(&self, handle: Handle) -> Option<u32> {
        let index = handle.0 as u32;
        let slot = self.slots.get(index as usize)?;
        (slot.generation == (handle.0 >> 32) as u32 && slot.value.is_some()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_handle_finds_nothing_after_the_slot_is_used_again() {
        let mut arena = Arena::<_, 1>::new();
        let old = arena.push(0, 'a');
        assert_eq!(arena.remove(old), Some('a'));
        let new = arena.push(0, 'b');
        assert_eq!((old.0 as u32, new.0 as u32), (0, 0), "the slot was not used again");
        assert_eq!(arena.remove(old), None);
        assert_eq!(arena.get(new), Some(&'b'));
    }

    #[test]
    fn memory_follows_the_entries_alive_not_the_entries_seen() {
        let mut arena = Arena::<_, 1>::new();
        let stuck = arena.push(0, 0);
        for n in 1..10_000 {
            let handle = arena.push(0, n);
            arena.remove(handle);
        }
        assert_eq!(arena.slots.len(), 2);
        assert_eq!(arena.first(0), Some((stuck, &0)));
    }

    proptest! {
        /// Against the obvious model: two queues searched from the front.
        #[test]
        fn behaves_like_two_plain_queues(steps in proptest::collection::vec((0u8..4, 0usize..8), 0..200)) {
            let mut arena = Arena::<u32, 2>::new();
            let mut model: [VecDeque<(Handle, u32)>; 2] = Default::default();
            for (number, (step, pick)) in steps.into_iter().enumerate() {
                let lane = pick % 2;
                let target = model[lane].get(pick / 2).copied();
                match (step, target) {
                    (0 | 1, _) => {
                        let handle = arena.push(lane, number as u32);
                        model[lane].push_back((handle, number as u32));
                    }
                    (2, Some((handle, value))) => {
                        prop_assert_eq!(arena.remove(handle), Some(value));
                        model[lane].retain(|entry| entry.0 != handle);
                        prop_assert_eq!(arena.remove(handle), None);
                    }
                    (3, Some((handle, value))) => {
                        arena.shift(handle, 1 - lane);
                        model[lane].retain(|entry| entry.0 != handle);
                        model[1 - lane].push_back((handle, value));
                    }
                    _ => {}
                }
                for (lane, model) in model.iter().enumerate() {
                    prop_assert!(arena.iter(lane).eq(model.iter().map(|(_, value)| value)));
                    prop_assert_eq!(arena.first(lane).map(|(h, v)| (h, *v)), model.front().copied());
                }
                prop_assert_eq!(arena.len(), model[0].len() + model[1].len());
            }
        }
    }
}
