//! Which instance of a category told what is known. A document of categories takes back one instance of several, and only
//! what came from that one is gone then.

use std::num::NonZeroU32;

/// The instance that a user's state comes from. Small, because it is kept for every pair: of large numbers, four look the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateInstance(NonZeroU32);

/// What kind of state an instance holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a front end made of all endpoints: nothing of another kind counts beside it.
    Aggregate,
    /// A state that does not say what it is, or one that was taken back.
    Plain,
}

const AGGREGATE: u32 = 1 << 31;

impl StateInstance {
    pub(super) fn new(kind: Kind, instance: u32) -> Self {
        let kind = if kind == Kind::Aggregate { AGGREGATE } else { 0 };
        // The lowest bit is always set.
        Self(NonZeroU32::MIN | (kind | print(instance)))
    }

    pub(super) fn kind(self) -> Kind {
        if self.0.get() & AGGREGATE == 0 { Kind::Plain } else { Kind::Aggregate }
    }

    /// The same instance, without the state that counted before others.
    pub(super) fn taken_back(self) -> Self {
        Self(NonZeroU32::MIN | (self.0.get() & !AGGREGATE))
    }

    /// The state comes from this instance.
    pub(super) fn is(self, instance: u32) -> bool {
        Self::new(self.kind(), instance) == self
    }
}

/// 30 bits, above the lowest. Front ends number endpoints by a hash below a nibble that says what publishes: neither end
/// of the number may just be cut off.
fn print(instance: u32) -> u32 {
    (instance.wrapping_mul(0x9e37_79b1) >> 2) << 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_told_from_others_and_knows_its_kind() {
        for instance in [0, 1, 2, 0x3000_0001, 0x4000_0001, u32::MAX] {
            for kind in [Kind::Aggregate, Kind::Plain] {
                let of = StateInstance::new(kind, instance);
                assert_eq!(of.kind(), kind);
                assert!(of.is(instance), "{instance}");
                assert_eq!(of.taken_back(), StateInstance::new(Kind::Plain, instance));
                for other in [instance ^ 1, instance ^ 0x1000_0000, instance ^ 0x8000_0000] {
                    assert!(!of.is(other), "{instance} and {other}");
                }
            }
        }
    }
}
