//! A set of up to 64 members, one bit per slot.

use core::fmt;

/// A member's place in a [`NodeSet`], 0..[`NODES_MAX`]. Fixed for the life of a configuration.
pub type Slot = u8;

/// The most members one system may name.
pub const NODES_MAX: usize = base::limits::MEMBERS_MAX;
const _: () = assert!(NODES_MAX == u64::BITS as usize, "a set is one word");

/// A set of slots.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeSet(pub(crate) u64);

impl NodeSet {
    /// No slot at all.
    pub const EMPTY: Self = Self(0);

    /// As [`NodeSet::EMPTY`].
    pub const fn new() -> Self {
        Self(0)
    }

    /// The slots 0..count; `count` is at most [`NODES_MAX`].
    pub fn first(count: usize) -> Self {
        assert!(count <= NODES_MAX, "a node set holds at most 64 slots");
        if count == NODES_MAX { Self(u64::MAX) } else { Self((1 << count) - 1) }
    }

    /// Bit i of `bits` is slot i.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Slot i is bit i.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// True when the slot was not in the set before.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let before = self.0;
        self.0 |= bit(slot);
        before != self.0
    }

    /// True when the slot was in the set.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let before = self.0;
        self.0 &= !bit(slot);
        before != self.0
    }

    /// A slot out of range is in no set.
    pub const fn contains(self, slot: Slot) -> bool {
        (slot as usize) < NODES_MAX && self.0 >> slot & 1 == 1
    }

    /// Slots of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Slots of both.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Slots of this one only.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no slot is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `other` has every slot of this one; so has every set those of the empty one.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// How many slots are set. **For display only**: a decision is never a count, it is
    /// [`crate::Family::is_quorum`]; a count is wrong under weights, zones and joint systems.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Slots in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let slot = rest.trailing_zeros() as Slot;
            rest &= rest - 1;
            Some(slot)
        })
    }
}

fn bit(slot: Slot) -> u64 {
    assert!((slot as usize) < NODES_MAX, "slot out of range");
    1 << slot
}

impl FromIterator<Slot> for NodeSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::new();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
