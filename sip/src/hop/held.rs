//! Requests that wait for a connection.

use std::collections::VecDeque;

use super::Outgoing;

/// Held requests in the order in which they were pushed.
///
/// What comes back to be sent again was pushed before everything that was never sent: two queues, the
/// first of them nearly always empty, are one order.
#[derive(Debug)]
pub(super) struct Held<E> {
    again: VecDeque<Outgoing<E>>,
    fresh: VecDeque<Outgoing<E>>,
}

impl<E> Held<E> {
    pub(super) fn new() -> Self {
        Self { again: VecDeque::new(), fresh: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.fresh.is_empty()
    }

    /// Puts a new request last.
    pub(super) fn push(&mut self, outgoing: Outgoing<E>) {
        self.fresh.push_back(outgoing);
    }

    /// Puts a request that was sent before back in its place.
    pub(super) fn put_back(&mut self, outgoing: Outgoing<E>) {
        let place = self.again.partition_point(|other| other.number < outgoing.number);
        self.again.insert(place, outgoing);
    }

    /// The oldest.
    pub(super) fn first(&self) -> Option<&Outgoing<E>> {
        self.again.front().or_else(|| self.fresh.front())
    }

    /// Takes out the one with this branch, as the caller chose it.
    pub(super) fn take(&mut self, branch: &str) -> Option<Outgoing<E>> {
        [&mut self.again, &mut self.fresh].into_iter().find_map(|queue| {
            let place = queue.iter().position(|outgoing| outgoing.request.base_branch() == branch)?;
            queue.remove(place)
        })
    }

    /// Takes out those that are `unwanted`, in their order.
    pub(super) fn take_all(&mut self, unwanted: &mut impl FnMut(&E) -> bool) -> Vec<Outgoing<E>> {
        let mut found = Vec::new();
        for queue in [&mut self.again, &mut self.fresh] {
            if !queue.iter().any(|outgoing| unwanted(&outgoing.envelope)) {
                continue;
            }
            for outgoing in std::mem::take(queue) {
                if unwanted(&outgoing.envelope) {
                    found.push(outgoing);
                } else {
                    queue.push_back(outgoing);
                }
            }
        }
        found
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing<E>> {
        self.again.pop_front().or_else(|| self.fresh.pop_front())
    }
}
